"""Devices without hardware: `Loopback` for 127.0.0.1, and `pair()`, two devices on one wire.

Nothing is copied when sent: the frame itself waits, and goes back to its pool
once it was handed up on the other side. Only a frame with bulk `data` is
gathered, into one buffer that every such frame uses.
"""

from micropython import const

from drivers.device import Device
from stack.core.frame import CAP_RX_CSUM, CAP_TX_CSUM, HEADROOM, Frame
from stack.core.mem import copy

LOOPBACK_MTU = const(65535)
_GSO_MAX = const(65455)  # 65,535 of IPv4 less 20 and at most 60 of TCP
_ETHERNET = const(18)
_DEPTH = const(64)  # frames on the wire; tx is full beyond


class _End(Device):
    """One end: what is sent goes into the queue of `peer`."""

    driver = "loopback"

    def __init__(self, name, mac, mtu, caps=0, gso_max=0, depth=_DEPTH, stats=None):
        super().__init__(name, mac, mtu, stats)
        self.caps = caps
        self.gso_max = gso_max
        self.peer = self
        # A ring of the frames that have arrived here; indexes only grow.
        self._queue = [None] * depth
        self._depth = depth
        self._head = 0
        self._tail = 0
        self._frame = Frame(None)
        self._whole = None
        self._sent = 0
        self._taken = 0  # of what we sent, how much the peer has handed up

    def rx(self, sink, budget):
        n = 0
        up = self._frame
        # Only what is there now: a sink that answers must not keep us here.
        last = self._tail
        while n < budget and self._head < last:
            i = self._head % self._depth
            f = self._queue[i]
            self._queue[i] = None
            self._head += 1
            n += 1
            if f.data_len:
                self._gather(f)
            else:
                up.buf = f.buf
                up.off = f.off
                up.end = f.end
            # The checksum was left to the device, and no wire was in between.
            up.csum_ok = f.csum_start != 0 and self.caps & CAP_RX_CSUM != 0
            sink(up)
            f.release()
            self.peer._taken += 1
        return n

    def _gather(self, f):
        n = f.end - f.off
        total = HEADROOM + n + f.data_len
        if self._whole is None or len(self._whole) < total:
            self._whole = bytearray(HEADROOM + max(total, self.mtu + _ETHERNET))
        up = self._frame
        up.buf = whole = self._whole
        up.off = HEADROOM
        up.end = total
        copy(whole, HEADROOM, f.buf, f.off, n)
        copy(whole, HEADROOM + n, f.data, f.data_off, f.data_len)

    def tx(self, frame):
        peer = self.peer
        if not (self.link_up and peer.link_up):
            self.stats.drop("loopback.link_down")
            frame.release()
            return True
        if peer._tail - peer._head >= peer._depth:
            return False
        peer._queue[peer._tail % peer._depth] = frame
        peer._tail += 1
        self._sent += 1
        return True

    def tx_space(self):
        return self.peer._depth - (self.peer._tail - self.peer._head)

    def tx_mark(self):
        return self._sent

    def tx_passed(self, mark):
        return self._taken >= mark

    def sleep(self):
        return self._tail > self._head

    def stop(self):
        """Nothing more comes or goes; what was under way to here is given back."""
        self.link_up = False
        while self._head < self._tail:
            i = self._head % self._depth
            self._queue[i].release()
            self._queue[i] = None
            self._head += 1
            self.peer._taken += 1


class Loopback(_End):
    """The device of 127.0.0.1: what is sent is received, unchecked, in pieces of up to 64 KB."""

    def __init__(self, name="lo", stats=None):
        super().__init__(name, bytes(6), LOOPBACK_MTU, CAP_TX_CSUM | CAP_RX_CSUM, 0, stats=stats)


def pair(mtu=1500, caps=0, depth=_DEPTH, stats=None, names=("a0", "b0")):
    """Two devices, cross-linked. With CAP_TSO bits a big segment crosses in one piece."""
    gso_max = _GSO_MAX if caps & ~(CAP_TX_CSUM | CAP_RX_CSUM) else 0
    a = _End(names[0], b"\x02\x00\x00\x00\x00\x0a", mtu, caps, gso_max, depth, stats)
    b = _End(names[1], b"\x02\x00\x00\x00\x00\x0b", mtu, caps, gso_max, depth, stats)
    a.peer = b
    b.peer = a
    return a, b
