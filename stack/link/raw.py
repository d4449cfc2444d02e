"""Endpoints that see and send whole Ethernet frames: `net.raw` and `net.capture`.

Not implemented: filters by program (BPF); a filter is an ethertype or a Python function.
"""

from micropython import const

from stack.core import be, errors
from stack.core.mem import copy
from stack.core.ring import Ring

_QUEUE = const(256 * 1024)  # bytes waiting to be read, of each endpoint
_RECORD = const(16)  # what stands in front of a frame in the queue
_MAX_ENDPOINTS = const(16)


class RawEndpoint:
    """Receives copies of the frames of an interface, from recv_into's call on described by
    `when` (us), `outgoing` and `length` (of the whole frame, of which snaplen are kept).
    """

    def __init__(self, iface, buffers, ethertype, accept, outgoing, snaplen, limit):
        self.iface = iface
        self.ethertype = ethertype
        self.accept = accept
        self.sees_outgoing = outgoing
        self.snaplen = snaplen
        self.waker = None
        self.error = 0
        self.drops = 0
        self.when = self.length = 0
        self.outgoing = False
        self._ring = Ring(buffers, limit)
        self._record = bytearray(_RECORD)

    def send(self, buf, off, n, now):
        """Send the n bytes of a whole frame, header included. -1: no room now. OSError."""
        iface = self.iface
        if iface is None:
            raise OSError(errors.EBADF)
        if not iface.up:
            raise OSError(errors.ENETDOWN)
        f = iface.pool.get()
        if f is None:
            return -1
        if n < 14 or n > iface.mtu + 18 or f.off + n > len(f.buf):
            f.release()
            raise OSError(errors.EMSGSIZE if n >= 14 else errors.EINVAL)
        copy(f.buf, f.off, buf, off, n)
        f.end = f.off + n
        if not iface.tx(f):
            f.release()
            return -1
        iface.tx_frames += 1
        iface.tx_bytes += n
        return n

    def recv_into(self, buf, off, n):
        """The next frame into buf[off:off+n], cut to fit: bytes stored, or -1 when none waits."""
        ring = self._ring
        if ring.tail == ring.head:
            return -1
        r = self._record
        ring.read_into(r, 0, _RECORD)
        self.when = be.get32(r, 0) << 32 | be.get32(r, 4)
        kept = be.get32(r, 8)
        self.length = be.get32(r, 12) & 0x7FFFFFFF
        self.outgoing = r[12] & 0x80 != 0
        if n > kept:
            n = kept
        ring.peek(ring.head, buf, off, n)
        ring.drop(kept)
        return n

    def events(self):
        ev = errors.POLLOUT
        if self._ring.tail != self._ring.head:
            ev |= errors.POLLIN
        if self.error:
            ev |= errors.POLLERR
        return ev

    def close(self, now=0):
        if self.iface is not None:
            self.iface.forget_raw(self)
            self.iface = None
            self._ring.release()

    def take(self, f, outgoing, now):
        """Keep a copy of the frame if it passes the filter."""
        if outgoing and not self.sees_outgoing:
            return
        if self.ethertype and (
            f.end - f.off < 14 or be.get16(f.buf, f.off + 12) != self.ethertype
        ):
            return
        if self.accept is not None and not self.accept(f):
            return
        head = f.end - f.off
        whole = head + f.data_len
        kept = min(whole, self.snaplen)
        ring = self._ring
        if ring.space() < _RECORD + kept or ring.reserve(_RECORD + kept) < _RECORD + kept:
            self.drops += 1
            return
        r = self._record
        be.put32(r, 0, now >> 32)
        be.put32(r, 4, now & 0xFFFFFFFF)
        be.put32(r, 8, kept)
        be.put32(r, 12, whole | (0x80000000 if outgoing else 0))
        ring.write(r, 0, _RECORD)
        first = min(head, kept)
        ring.write(f.buf, f.off, first)
        if kept > first:
            ring.write(f.data, f.data_off, kept - first)
        if self.waker is not None:
            self.waker.wake(self)


def open_raw(iface, buffers, ethertype=0, accept=None, outgoing=False, snaplen=65549, limit=_QUEUE):
    """A new endpoint on iface. accept: a function of the Frame, at its Ethernet header."""
    if len(iface.raws) >= _MAX_ENDPOINTS:
        raise OSError(errors.ENOBUFS)
    return RawEndpoint(iface, buffers, ethertype, accept, outgoing, snaplen, limit)
