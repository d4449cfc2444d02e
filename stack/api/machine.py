"""machine: the stock names that make sense on a virtual PC.

Disks: `disks()` are the volumes by name, `format_disk(name)` makes a file system anew.
fw_cfg: `fw_cfg()` names the files that QEMU hands over, `fw_cfg(name)` reads one.

The watchdog is QEMU's i6300esb where there is one. Else it is a timer of the stack's, which resets
a machine whose program has stopped feeding it, not one whose stack hangs.

Not implemented: pins and buses (there are none), sleep modes that save more than halting does.
"""

import hw
import micropython
from micropython import const

from stack.api import _runtime
from stack.api._uart import UART  # noqa: F401
from stack.core import errors
from stack.core.timers import NEVER

PWRON_RESET = const(1)
HARD_RESET = const(2)
WDT_RESET = const(3)
DEEPSLEEP_RESET = const(4)
SOFT_RESET = const(5)
IDLE = const(1)
SLEEP = const(2)
DEEPSLEEP = const(4)

mem8 = hw.mem8
mem16 = hw.mem16
mem32 = hw.mem32


def _watchdog():
    """The watchdog card, or None."""
    from drivers import i6300esb

    devices = _runtime.current().devices
    return i6300esb.find(devices.at) if devices is not None else None


def reset():
    """Reset the machine as its button would."""
    card = _watchdog()
    if card is not None:
        card.forget()
    hw.reset()


def soft_reset():
    """Restart MicroPython. From a main program: the machine."""
    if _runtime.current().in_main:
        hw.reset()
    raise SystemExit


def reset_cause():
    """WDT_RESET after a reset by the watchdog card; else PWRON_RESET."""
    card = _watchdog()
    return WDT_RESET if card is not None and card.has_reset() else PWRON_RESET


def bootloader(timeout=None):
    hw.reset()


def unique_id():
    """The MAC address of the first card; the CPU's signature where there is none."""
    for i in _runtime.current().host.interfaces:
        if not i.loopback:
            return i.mac.to_bytes(6, "big")
    return hw.cpuid(1)[0].to_bytes(4, "big")


def freq(_hz=None):
    """The CPU's base frequency in Hz as it tells it; 0 if it does not."""
    if hw.cpuid(0)[0] < 0x16:
        return 0
    return (hw.cpuid(0x16)[0] & 0xFFFF) * 1000000


def idle():
    """Halt until something happens, at most a millisecond."""
    hw.wait(hw.ticks_us() + 1000)


def lightsleep(ms=None):
    end = NEVER if ms is None else hw.ticks_us() + ms * 1000
    while hw.ticks_us() < end:
        hw.wait(end)


def deepsleep(ms=None):
    lightsleep(ms)
    hw.reset()


def sleep():
    """The old name of lightsleep without an end."""
    lightsleep()


def rng():
    """24 random bits."""
    return int.from_bytes(_runtime.current().host.rng(3), "big")


def disable_irq():
    """Keep events and Ctrl-C off until enable_irq."""
    hw.lock()
    return True


def enable_irq(_state=True):
    hw.unlock()


def disks():
    """{name: volume}: whole disks (vda) and partitions (vda1), block devices for `vfs`."""
    devices = _runtime.current().devices
    return {} if devices is None else dict(devices.volumes)


def format_disk(name, kind="littlefs"):
    """Overwrite volume `name` with an empty "littlefs" or "fat"; the volume to mount it by.

    Unmount it first if it is mounted. KeyError, OSError."""
    from stack.disks import format_volume

    devices = _runtime.current().devices
    devices.volumes[name] = v = format_volume(disks()[name], kind)
    return v


def random_sources():
    """What makes os.urandom unpredictable: of "RDRAND" and "virtio-rng". []: it refuses."""
    return _runtime.current().host.rng.sources()


def fw_cfg(name=None):
    """The names of QEMU's fw_cfg files, or the bytes of one. OSError(ENODEV), (ENOENT)."""
    devices = _runtime.current().devices
    if devices is None or devices.fw_cfg is None:
        raise OSError(errors.ENODEV)
    return devices.fw_cfg.names() if name is None else devices.fw_cfg.read(name)


class RTC:
    """The clock of the date: RTC().datetime() is (year, month, day, weekday, h, m, s, us)."""

    ALARM0 = const(0)
    _handler = None

    def __init__(self, _id=0, datetime=None):
        if datetime is not None:
            self.datetime(datetime)

    def datetime(self, new=None):
        import time

        if new is None:
            us = hw.unix_us()
            t = time.gmtime(us // 1000000)
            return t[0], t[1], t[2], t[6], t[3], t[4], t[5], us % 1000000
        s = time.mktime((new[0], new[1], new[2], new[4], new[5], new[6], 0, 0))
        hw.set_unix_us(s * 1000000 + new[7])

    def init(self, new):
        """new: (year, month, day, hour, minute, second, us, tz), the order of CC3200 and ESP32."""
        self.datetime((new[0], new[1], new[2], 0) + tuple(new[3:6]) + (new[6],))

    def now(self):
        t = self.datetime()
        return t[:3] + t[4:] + (None,)

    def deinit(self):
        """The clock begins again, at 2015 as the documentation has it."""
        self.alarm_cancel()
        self.datetime((2015, 1, 1, 0, 0, 0, 0, 0))

    def alarm(self, id=0, time=0, *, repeat=False):
        """Call irq's handler in `time` ms, or at a datetime tuple (year, month, day, h, m, s)."""
        if not isinstance(time, int):
            import time as _time

            t = tuple(time) + (0,) * 6
            at = _time.mktime((t[0], t[1], t[2], t[3], t[4], t[5], 0, 0)) * 1000
            time = max(1, at - hw.unix_us() // 1000)
        mode = Timer.PERIODIC if repeat else Timer.ONE_SHOT
        _alarm.init(mode=mode, period=time, callback=self._on_alarm)

    def _on_alarm(self, _timer):
        if RTC._handler is not None:
            RTC._handler(self)

    def alarm_left(self, id=0):
        """Milliseconds until the alarm."""
        return _alarm.value() // 1000 if _alarm.poll_at() < NEVER else 0

    def alarm_cancel(self, id=0):
        _alarm.deinit()

    def irq(self, *, trigger=ALARM0, handler=None, wake=IDLE):
        """handler(rtc) is called by the alarm."""
        RTC._handler = handler
        return self


class Timer:
    """A timer whose callback runs between two bytecodes of the program."""

    ONE_SHOT = const(0)
    PERIODIC = const(1)

    def __init__(self, _id=-1, **options):
        self.timer_at = 0
        self.timer_index = -1
        self._at = NEVER
        self._period_us = 0
        self._mode = 1
        self._callback = None
        if options:
            self.init(**options)

    def init(self, *, mode=1, period=-1, freq=-1, callback=None, hard=False):
        us = int(1000000 / freq) if freq > 0 else period * 1000
        if us <= 0:
            raise ValueError("a timer needs period or freq")
        self.deinit()
        rt = _runtime.current()
        self._period_us = us
        self._mode = mode
        self._callback = callback
        self._at = rt.now() + us
        rt.lock()
        try:
            rt.host.timers.arm(self, self._at)
            rt.kick(rt.now())
        finally:
            rt.unlock()

    def deinit(self):
        rt = _runtime.current()
        rt.lock()
        self._at = NEVER
        rt.host.timers.cancel(self)
        rt.unlock()

    def value(self):
        """Microseconds until the callback."""
        return max(0, self._at - hw.ticks_us())

    def poll_at(self):
        return self._at

    def on_timer(self, now):
        if self._mode:
            # Late ones are not made up for.
            self._at = max(self._at + self._period_us, now)
        else:
            self._at = NEVER
        if self._callback is not None:
            try:
                micropython.schedule(self._callback, self)
            except RuntimeError:
                pass  # the program is behind with its callbacks


_alarm = Timer()


class WDT:
    """Resets the machine unless feed() is called every `timeout` ms; there is no way to stop it."""

    _until = 0

    def __init__(self, id=0, timeout=5000):
        if id != 0:
            raise ValueError("WDT(%s) doesn't exist" % (id,))
        if timeout < 1:
            raise ValueError("WDT timeout too short")
        self.timer_at = 0
        self.timer_index = -1
        self._timeout_us = timeout * 1000
        self._card = card = _watchdog()
        if card is not None:
            if timeout > card.max_ms:
                raise ValueError("WDT timeout too long")
            card.start(timeout)
        else:
            self.feed()

    def feed(self):
        if self._card is not None:
            self._card.feed()
            return
        rt = _runtime.current()
        rt.lock()
        try:
            self._until = rt.now() + self._timeout_us
            rt.host.timers.arm(self, self._until)
            rt.kick(rt.now())
        finally:
            rt.unlock()

    def poll_at(self):
        return self._until

    def on_timer(self, now):
        hw.reset()
