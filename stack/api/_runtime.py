"""Where programs meet the host: the one place that knows which host is running.

`current()` gives the Runtime that stack/boot.py installed. It owns the pattern of
every call: take the lock, look, leave the lock, wait. Work that takes several
steps is a generator which yields `(endpoint, mask, deadline)` for "wait until the
endpoint is ready or the time has come"; `run` finishes it by waiting, `run_async`
is the same as something to await, so both kinds of program share each operation.
"""

from micropython import const

from stack.core import errors
from stack.core.timers import NEVER

# Sockets that are collected without close are noticed by a scan of one byte each.
_SLOTS = const(1024)
_SCAN_EVENTS = const(64)

_installed = None


def install(runtime):
    """Make `runtime` the one that programs use; None when the host goes away."""
    global _installed
    _installed = runtime


def current():
    """The Runtime. OSError(ENETDOWN) where no host was started."""
    if _installed is None:
        raise OSError(errors.ENETDOWN)
    return _installed


class Runtime:
    def __init__(self, host, hw, devices=None):
        self.host = host
        self.hw = hw
        self.devices = devices  # a stack.devices.Devices
        self._noisy = devices.all() if devices is not None else ()  # what interrupts besides
        self.lock = hw.lock
        self.unlock = hw.unlock
        self.now = hw.ticks_us
        self.wait = hw.wait
        self._timer = hw.timer
        self._resolver = None
        self.recursor = None  # a net.dns.Resolver, where names go down from the root
        self._guards = None
        self._countdown = _SCAN_EVENTS
        self.hostname = host.hostname
        self.in_main = False
        self.put_off = False  # something is to be sent when the tasks of asyncio have run
        self.prefer = 6  # 4: IPv4 addresses of a name first; 6: as RFC 6724 orders them
        self.dns_servers = []  # as configured; empty: what DHCP said, else the defaults
        # Lent under the lock to who needs bytes for a moment.
        self.scratch = hw.dma(65536 if hw.ram() >= 64 << 20 else 8192)
        self.scratch_view = memoryview(self.scratch)
        self.scratch_len = len(self.scratch)

    def watch_cards(self, hotplug):
        """Interfaces go with their cards. hotplug: a drivers.hotplug.Hotplug, or None."""
        if hotplug is not None:
            hotplug.pulled = lambda: self.host.look_for_gone(self.now())
            self._noisy = list(self._noisy) + [hotplug]

    # The host's side.

    def on_event(self):
        """Interrupt or timer: run the stack, and say when it wants to run again."""
        host = self.host
        for device in self._noisy:
            device.on_interrupt()
        if self.put_off:
            self.put_off = False
        host.poll(self.now())
        self._timer(host.poll_at())
        self._countdown -= 1
        if not self._countdown:
            self._countdown = _SCAN_EVENTS
            if self._guards is not None:
                self._guards.scan(self.now())

    def stop(self):
        """Before a reset: no device reads or writes memory after this."""
        if self._resolver is not None:
            self._resolver.stop()
        self.host.stop()
        if self.devices is not None:
            self.devices.stop()

    def kick(self, now):
        """After a call that gave the stack something to send or to wait for; under the lock."""
        host = self.host
        if self.put_off:
            self.put_off = False
        host.flush(now)
        at = host.poll_at()
        if at <= now:
            # Most often a frame to ourselves: take it in at once, not by way of an interrupt.
            host.poll(now)
            at = host.poll_at()
        self._timer(at)

    # Steps.

    def run(self, steps):
        """Finish a generator of steps by waiting; returns its value."""
        try:
            while True:
                _, _, deadline = steps.send(None)
                self.wait(deadline)
        except StopIteration as e:
            return e.value
        finally:
            steps.close()

    def run_async(self, steps):
        """The same, to be awaited under asyncio."""
        from asyncio import core

        waiter = Waiter(self)
        try:
            while True:
                endpoint, mask, deadline = steps.send(None)
                waiter.begin(endpoint, mask, deadline)
                yield core._io_queue.queue_read(waiter)
                waiter.end()
        except StopIteration as e:
            return e.value
        finally:
            waiter.end()
            steps.close()

    # What is made when it is first used.

    @property
    def resolver(self):
        """The host's dns.stub.Resolver, its servers brought up to date."""
        if self._resolver is None:
            from stack.api import _resolve

            self._resolver = _resolve.make(self)
        return self._resolver

    @property
    def guards(self):
        if self._guards is None:
            self._guards = Guards(self.hw)
        return self._guards


class Waiter:
    """A pollable that is ready when an endpoint is, or when a time has come."""

    def __init__(self, runtime):
        self._rt = runtime
        self._endpoint = None
        self._mask = 0
        self._until = self._timer_at = NEVER
        self._poll_entry = None
        self.waker = None
        self.timer_at = 0
        self.timer_index = -1

    def begin(self, endpoint, mask, deadline):
        rt = self._rt
        rt.lock()
        try:
            self._endpoint = endpoint
            self._mask = mask | errors.POLLERR | errors.POLLHUP
            self._until = self._timer_at = deadline
            if endpoint is not None:
                endpoint.waker = self
            if deadline < NEVER:
                rt.host.timers.arm(self, deadline)
                rt._timer(rt.host.poll_at())
        finally:
            rt.unlock()

    def end(self):
        rt = self._rt
        rt.lock()
        try:
            if self._endpoint is not None:
                self._endpoint.waker = None
                self._endpoint = None
            rt.host.timers.cancel(self)
        finally:
            rt.unlock()

    def events(self):
        e = self._endpoint
        if e is not None and e.events() & self._mask or self._rt.now() >= self._until:
            return errors.POLLIN
        return 0

    def poll_attach(self, waker):
        self.waker = waker

    def poll_detach(self, _waker):
        self.waker = None

    def wake(self, _endpoint):
        if self.waker is not None:
            self.waker.wake(self)

    def poll_at(self):
        return self._timer_at

    def on_timer(self, now):
        self._timer_at = NEVER
        self.wake(None)


class Guards:
    """Endpoints whose owner may be collected without having closed them.

    Each owner holds a hw.Guard, which writes 1 to its slot's byte when the
    collector frees it. A Guard that was given back is lent again.
    """

    def __init__(self, hw):
        self._hw = hw
        self._table = hw.dma(_SLOTS)
        self._table[:] = bytes(_SLOTS)
        self._base = hw.addr(self._table)
        self._endpoints = [None] * _SLOTS
        self._free = []
        self._used = 0

    def take(self, endpoint):
        """(slot, guard) for an owner to keep; (-1, None) when all slots are taken."""
        if self._free:
            slot, guard = self._free.pop()
        elif self._used < _SLOTS:
            slot = self._used
            self._used += 1
            guard = self._hw.Guard(self._base + slot)
        else:
            return -1, None
        self._endpoints[slot] = endpoint
        return slot, guard

    def give_back(self, slot, guard):
        """The owner has closed its endpoint itself."""
        if slot >= 0:
            self._endpoints[slot] = None
            self._free.append((slot, guard))

    def scan(self, now):
        """Close what has lost its owner; how many."""
        n = 0
        table = self._table
        while True:
            slot = table.find(b"\x01")
            if slot < 0:
                return n
            table[slot] = 0
            endpoint = self._endpoints[slot]
            self._endpoints[slot] = None
            self._free.append((slot, self._hw.Guard(self._base + slot)))
            if endpoint is not None:
                endpoint.close(now)
                n += 1
