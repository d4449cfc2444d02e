"""Intel's 6300ESB watchdog (QEMU's `-device i6300esb`): it resets a machine that hangs in any way.

Intel 6300ESB I/O Controller Hub, datasheet 300641, section 15. Two stages count down, each from
its preload in ticks of 2^15 / 33 MHz, 0.993 ms; the end of the second resets the machine. Each
write to a register of memory is unlocked by 80h and 86h at RELOAD.

Not implemented: an interrupt at the end of the first stage, stopping.
"""

from micropython import const

_VENDOR = const(0x8086)
_DEVICE = const(0x25AB)

# Configuration space
_CONFIG = const(0x60)  # 16 bits: 3 no interrupt, bit 2 ticks of 1 us, bit 5 no reset
_LOCK = const(0x68)  # 8 bits: bit 1 counts
_NO_INTERRUPT = const(3)
_ENABLE = const(2)

# Memory
_PRELOAD1 = const(0x00)
_PRELOAD2 = const(0x04)
_RELOAD = const(0x0C)
_RESTART = const(1 << 8)
_WAS_RESET = const(1 << 9)

_PRELOAD_MAX = const((1 << 20) - 1)


def find(places):
    """The Watchdog among drivers.probe's places, or None."""
    for place in places:
        if getattr(place, "vendor", 0) == _VENDOR and place.device == _DEVICE:
            return Watchdog(place.hw, place)
    return None


class Watchdog:
    """max_ms: the longest time. DeviceError where the function has no address."""

    max_ms = _PRELOAD_MAX * 2 * 32768 // 33000

    def __init__(self, hw, function):
        self._hw = hw
        self._function = function
        function.enable()
        self._at = function.bar(0)[0]

    def start(self, ms):
        """Reset the machine unless `feed` is called every `ms`; once begun it goes on for ever."""
        f = self._function
        ticks = min(max(ms * 33000 // 65536, 1), _PRELOAD_MAX)
        f.write16(_CONFIG, _NO_INTERRUPT)
        for register in (_PRELOAD1, _PRELOAD2):
            self._unlock()
            self._hw.mem32[self._at + register] = ticks
        self.feed()
        f.write8(_LOCK, _ENABLE)

    def feed(self):
        self._unlock()
        self._hw.mem16[self._at + _RELOAD] = _RESTART

    def has_reset(self):
        """Whether the last reset was by this, as far as nobody has said `forget` since."""
        return self._hw.mem16[self._at + _RELOAD] & _WAS_RESET != 0

    def forget(self):
        self._unlock()
        self._hw.mem16[self._at + _RELOAD] = _WAS_RESET

    def _unlock(self):
        self._hw.mem16[self._at + _RELOAD] = 0x80
        self._hw.mem16[self._at + _RELOAD] = 0x86
