"""The virtio console (virtio 1.2, section 5.3): its first port, as a byte pipe.

    recv_into(buf) -> int     bytes that have come; 0: none now
    send(buf, off, n) -> int  bytes taken; 0: the host takes none now
    events() -> int           POLLIN, POLLOUT; POLLERR | POLLHUP once stopped
    idle() -> bool            the host has taken all that was sent
    waker                     None, or an object whose wake(console) is called when that may change
    listener                  None, or a function that is called when bytes have come

Memory: 16 buffers of 256 bytes in, 16 out, 8 KB in all; what does not fit waits at the host.

Not implemented: several ports and the control queue (MULTIPORT), so the port is always
open; the window's size; emergency write.
"""

from micropython import const

from drivers.device import DeviceError
from drivers.virtio.request import RequestDevice
from stack.core.errors import POLLERR, POLLHUP, POLLIN, POLLOUT
from stack.core.mem import copy

_BUFFERS = const(16)  # a power of two; each way
_SIZE = const(256)


class VirtioConsole(RequestDevice):
    """Starts the device behind `transport`. DeviceError."""

    driver = "virtio-console"

    def __init__(self, hw, transport, name="hvc0"):
        self.name = name
        self.waker = None
        self.listener = None
        super().__init__(hw, transport, 0, (_BUFFERS, _BUFFERS))
        # 5.3.2: queue 0 receives, queue 1 transmits
        self._in, self._out = self._queues
        self._memory = hw.dma(2 * _BUFFERS * _SIZE)
        self._at = hw.addr(self._memory)
        # By head of the chain: the buffer's place. A queue may be smaller than our buffers.
        self._place = bytearray(_BUFFERS)
        self._out_place = bytearray(_BUFFERS)
        self._free = [i for i in range(self._out.size)]
        self._first = self._got = 0  # of the buffer being read
        self._here = -1  # its number, or -1
        for i in range(self._in.size):
            self._give(i)
        self._in.kick()
        self._in.interrupts(True)

    def _give(self, i):
        """Buffer i to the device. 5.3.6.1: "one or more empty buffers"."""
        q = self._in
        q.add(self._at + i * _SIZE, _SIZE, True)
        self._place[q.submit()] = i

    def _fill(self):
        """True if there is something to read in the buffer `_here`."""
        while self._here < 0 and self.error is None:
            try:
                head = self._in.take()
            except DeviceError as e:
                self.stop(str(e))
                break
            if head < 0:
                break
            self._first, self._got = 0, self._in.length
            if self._got:
                self._here = self._place[head]
            else:
                self._give(self._place[head])
                self._in.kick()
        return self._here >= 0

    def recv_into(self, buf):
        """Copy what has come into buf; how many bytes."""
        done = 0
        while done < len(buf) and self._fill():
            n = min(len(buf) - done, self._got - self._first)
            copy(buf, done, self._memory, self._here * _SIZE + self._first, n)
            done += n
            self._first += n
            if self._first == self._got:
                self._give(self._here)
                self._here = -1
                self._in.kick()
        return done

    def _reclaim(self):
        while self.error is None:
            try:
                head = self._out.take()
            except DeviceError as e:
                self.stop(str(e))
                return
            if head < 0:
                return
            self._free.append(self._out_place[head])

    def send(self, buf, off, n):
        """Queue bytes of buf; how many fitted. OSError(EIO) once the device was stopped."""
        self._reclaim()
        if self.error is not None:
            raise OSError(5)
        q, done = self._out, 0
        while done < n and self._free:
            i = self._free.pop()
            k = min(n - done, _SIZE)
            at = (_BUFFERS + i) * _SIZE
            copy(self._memory, at, buf, off + done, k)
            q.add(self._at + at, k, False)
            self._out_place[q.submit()] = i
            done += k
        if done:
            q.kick()
        if not self._free and q.interrupts(True):
            # There is room again before the device was told to tell of it.
            self._reclaim()
        return done

    def events(self):
        """POLL bits now."""
        ready = POLLIN if self._fill() else 0
        self._reclaim()
        if self.error is not None:
            return ready | POLLERR | POLLHUP
        return ready | (POLLOUT if self._free else 0)

    def idle(self):
        self._reclaim()
        return len(self._free) == self._out.size or self.error is not None

    def on_interrupt(self):
        super().on_interrupt()
        if self.error is not None:
            return
        came = self._here >= 0 or self._in.waiting()
        if self.listener is not None and came:
            self.listener()
        room = self._out.waiting()
        if room:
            self._reclaim()
            self._out.interrupts(False)
        if self.waker is not None and (came or room):
            self.waker.wake(self)
