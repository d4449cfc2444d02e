"""The loopback device: what is sent is received, in order, at the next poll.

It has no peer that could lie: checksums are neither made nor looked at.

Not implemented: GSO (the MTU is as large as a packet can be).
"""

from micropython import const

from stack.core.frame import CAP_RX_CSUM, CAP_TX_CSUM, HEADROOM, Frame
from stack.core.mem import copy
from stack.core.timers import NEVER

_MTU = const(65535)
_ARENA = const(65536 + 256)  # a packet whose data lay elsewhere, with its Ethernet header


class Loopback:
    driver = "loopback"

    def __init__(self, buffers, name="lo"):
        self.name = name
        self.mac = bytes(6)
        self.mtu = self.mtu_max = _MTU
        self.caps = CAP_TX_CSUM | CAP_RX_CSUM
        self.gso_max = 0
        self.link_up = True
        self._buffers = buffers
        self._arena = None  # a Frame, made when first needed
        self.head = None  # the frame that waits longest
        self._tail = None
        self._queued = self._done = 0

    def tx(self, frame):
        """Queue the frame: as many as the pool has."""
        self._queued += 1
        frame.next = None
        if self.head is None:
            self.head = frame
        else:
            self._tail.next = frame
        self._tail = frame
        return True

    def rx(self, sink, budget):
        n = 0
        while n < budget:
            f = self.head
            if f is None:
                return n
            self.head = f.next
            f.next = None
            n += 1
            if f.data_len:
                whole = self._join(f)
                f.release()
                if whole is not None:
                    sink(whole)
            else:
                f.csum_ok = True
                f.csum_start = 0
                sink(f)
                f.release()
            self._done += 1
        return n

    def _join(self, f):
        """The frame in one piece, in the arena. None without memory."""
        a = self._arena
        if a is None:
            try:
                a = self._arena = Frame(self._buffers.alloc(_ARENA))
            except MemoryError:
                return None
        a.reset()
        a.csum_ok = True
        n = f.end - f.off
        copy(a.buf, HEADROOM, f.buf, f.off, n)
        a.end = HEADROOM + n
        copy(a.buf, a.end, f.data, f.data_off, f.data_len)
        a.end += f.data_len
        return a

    def flush(self):
        pass

    def tx_space(self):
        return 1024

    def tx_mark(self):
        return self._queued

    def tx_passed(self, mark):
        return self._done >= mark

    def sleep(self):
        return self.head is not None

    def poll_at(self):
        return NEVER

    def on_interrupt(self):
        pass

    def stop(self):
        while self.head is not None:
            f = self.head
            self.head = f.next
            f.next = None
            f.release()
        self._done = self._queued
