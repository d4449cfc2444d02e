"""The virtio entropy device (virtio 1.2, section 5.4): bytes from the host's random source.

One buffer is always with the device; `take` returns what came and asks for more. So a
program never waits for the host, except where `within_us` says so.

Not implemented: the "leak" queues of later drafts.
"""

from micropython import const

from drivers.device import DeviceError
from drivers.virtio.request import RequestDevice

_SIZE = const(64)  # bytes asked for at once: twice what SHA-256 keeps
_TELLING = const(16)  # so many zeroes are no chance: they were never written
_NAP_US = const(1_000)


class VirtioRng(RequestDevice):
    """Starts the device and asks it for the first bytes. DeviceError."""

    driver = "virtio-rng"

    def __init__(self, hw, transport):
        super().__init__(hw, transport, 0, (2,))
        self._buf = hw.dma(_SIZE)
        self._at = hw.addr(self._buf)
        self._ask()

    def _ask(self):
        # What comes is told from what lay there: nothing is taken twice.
        self._buf[:] = bytes(_SIZE)
        q = self._queues[0]
        q.add(self._at, _SIZE, True)
        q.submit()
        q.kick()

    def take(self, within_us=0):
        """Bytes that were never given before, up to 64; b"" if none came `within_us`.

        A device that answers nonsense is stopped, and gives nothing more."""
        hw = self._hw
        until = hw.ticks_us() + within_us
        while self.error is None:
            try:
                head = self._queues[0].take()
            except DeviceError as e:
                self.stop(str(e))
                break
            if head >= 0:
                # "The device MUST place one or more random bytes into the buffer" (5.4.6.2)
                n = self._queues[0].length
                fresh = bytes(self._buf[:n])
                if not n or n >= _TELLING and fresh == bytes(n):
                    self.stop("virtio: the entropy device gives none")
                    break
                self._ask()
                return fresh
            now = hw.ticks_us()
            if now >= until:
                break
            hw.wait(min(until, now + _NAP_US))
        return b""
