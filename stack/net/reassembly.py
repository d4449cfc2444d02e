"""Putting fragments together.

RFC 791, RFC 815 (here a bitmap of 8-byte blocks instead of a list of holes), RFC 1122,
section 3.3.2 (timeout, time exceeded), RFC 1858 and RFC 5722 (a fragment that overlaps
others with other bytes condemns the whole datagram; an exact repetition is ignored).

Not implemented: per-fragment checksums from the device (the transport sums again).
"""

import micropython
from micropython import const

from stack.core import be
from stack.core.frame import Frame
from stack.core.mem import copy
from stack.core.timers import NEVER
from stack.wire import ipv4 as wire

# 16 datagrams at once, of one source at most 8 so that it cannot crowd out the others;
# together at most 512 KB of buffers (a datagram takes up to 64 KB) and 1 KB of bitmap each.
_MAX_DATAGRAMS = const(16)
_MAX_OF_SOURCE = const(8)
_MAX_BYTES = const(512 * 1024)
_TIMEOUT_US = const(30_000_000)

_HEADER = const(20)  # room for a header in front: what is put together looks like one packet
_MAX_PAYLOAD = const(65515)
_BITMAP = const(1024)  # 8192 blocks of 8 bytes


class _Datagram:
    """One datagram being put together. The buffer has a header at 0, then the payload."""

    __slots__ = (
        "src", "dst", "proto", "ident", "buf", "bitmap", "blocks", "total", "expires", "iface",
        "kind", "first",
    )  # fmt: skip

    def __init__(self):
        self.buf = None
        self.bitmap = bytearray(_BITMAP)


@micropython.viper
def _blocks(bitmap, first: int, n: int) -> int:
    """How many of n blocks from `first` are there."""
    p = ptr8(bitmap)
    have = 0
    i = first
    end = first + n
    while i < end:
        if i & 7 == 0 and end - i >= 8 and p[i >> 3] == 0:
            i += 8
            continue
        have += p[i >> 3] >> (i & 7) & 1
        i += 1
    return have


@micropython.viper
def _mark(bitmap, first: int, n: int):
    p = ptr8(bitmap)
    i = first
    end = first + n
    while i < end:
        p[i >> 3] |= 1 << (i & 7)
        i += 1


@micropython.viper
def _clear(bitmap):
    p = ptr8(bitmap)
    i = 0
    while i < 1024:
        p[i] = 0
        i += 1


class Reassembly:
    """`on_expired(header, frame, now)` is told of a datagram whose rest never came, if its
    first fragment did: frame holds the start of its payload behind its header.
    """

    def __init__(self, buffers, stats, timers, on_expired=None):
        self.buffers = buffers
        self.stats = stats
        self.on_expired = on_expired
        self._timers = timers
        self.timer_at = 0
        self.timer_index = -1
        self._free = []
        self._active = []
        self._bytes = 0
        self._frame = Frame(bytearray(0))
        self._hdr = wire.Ipv4()
        # IPv6's differ: see reassembly6.py.
        self.header = _HEADER
        self.max_payload = _MAX_PAYLOAD
        self.timeout_us = _TIMEOUT_US

    def __len__(self):
        return len(self._active)

    def add(self, h, f, now):
        """Take the fragment f with header h; the whole datagram as a Frame when it completes one.

        h then describes that datagram. Give its buffer back with done() after use.
        """
        start = (h.frag & wire.OFFSET_MASK) << 3
        n = f.end - f.off
        more = h.frag & wire.MF
        # RFC 791, section 3.2: all but the last are multiples of 8 bytes.
        if not n or (more and n & 7) or start + n > self.max_payload:
            self.stats.drop("reassembly.length")
            return None
        d = self._find(h, now)
        if d is None:
            return None
        # The end must not move, and nothing may lie behind it.
        if (d.total and (start + n > d.total or (not more and start + n != d.total))) or (
            not more and not d.total and self._beyond(d, start + n)
        ):
            self._drop(d, "reassembly.overlap")
            return None
        first = start >> 3
        count = (n + 7) >> 3
        have = _blocks(d.bitmap, first, count)
        if have:
            if have == count and be.equal(d.buf, self.header + start, f.buf, f.off, n):
                self.stats.drop("reassembly.duplicate")
            else:
                self._drop(d, "reassembly.overlap")
            return None
        if not self._room(d, self.header + start + n):
            self._drop(d, "reassembly.no_memory")
            return None
        copy(d.buf, self.header + start, f.buf, f.off, n)
        _mark(d.bitmap, first, count)
        d.blocks += count
        if not more:
            d.total = start + n
        if not start:
            d.first = n
            d.kind = h.kind
            self.put_header(d, h, n)
        if d.total and d.blocks == (d.total + 7) >> 3:
            return self._complete(d, h)
        return None

    def done(self):
        """Take back the buffer of the datagram that add() returned last."""
        f = self._frame
        self._bytes -= len(f.buf)
        self.buffers.free(f.buf)
        f.buf = None

    def _complete(self, d, h):
        f = self._frame
        f.reset()
        f.buf = d.buf
        d.buf = None
        self._release(d)
        f.off = self.header
        f.end = self.header + d.total
        self.complete(d, h, f)
        h.buf = f.buf
        h.start = 0
        h.frag = 0
        self.stats.count("reassembly.done")
        return f

    # What is IPv4's own.

    def put_header(self, d, h, n):
        """Write the header of the first fragment at the beginning of the buffer."""
        wire.build(d.buf, 0, h.src, h.dst, h.proto, n, h.ident(), 0, h.ttl(), h.tos())

    def complete(self, d, h, f):
        be.put16(f.buf, 2, f.end)

    def same(self, d, h, ident):
        """True if a fragment of the same source belongs to d."""
        return d.ident == ident and d.dst == h.dst and d.proto == h.proto

    def parse_header(self, h, f, d):
        return h.parse(f)

    # The table.

    def _beyond(self, d, end):
        """True if a block behind `end` is there already."""
        block = (end + 7) >> 3
        return _blocks(d.bitmap, block, _BITMAP * 8 - block) > 0

    def _find(self, h, now):
        """The datagram that the fragment belongs to, new if need be."""
        same = 0
        oldest = None
        ident = h.ident()
        for d in self._active:
            if d.src == h.src:
                if self.same(d, h, ident):
                    return d
                same += 1
                if oldest is None:  # _active is in order of age
                    oldest = d
        if same >= _MAX_OF_SOURCE:
            self._drop(oldest, "reassembly.evicted")
        elif len(self._active) >= _MAX_DATAGRAMS:
            self._drop(self._active[0], "reassembly.evicted")
        d = self._free.pop() if self._free else _Datagram()
        d.src = h.src
        d.dst = h.dst
        d.proto = h.proto
        d.ident = ident
        d.iface = h.iface
        d.kind = h.kind
        d.blocks = d.total = d.first = 0
        d.expires = now + self.timeout_us
        self._active.append(d)
        self._timers.arm(self, d.expires)
        return d

    def _room(self, d, n):
        """Make the buffer hold n bytes; False when that is too much."""
        old = d.buf
        if old is not None and len(old) >= n:
            return True
        try:
            buf = self.buffers.alloc(n)
        except MemoryError:
            return False
        if self._bytes + len(buf) > _MAX_BYTES:  # len(buf) may be more than n
            self.buffers.free(buf)
            return False
        self._bytes += len(buf)
        if old is not None:
            copy(buf, 0, old, 0, len(old))
            self._bytes -= len(old)
            self.buffers.free(old)
        d.buf = buf
        return True

    def _drop(self, d, reason):
        self.stats.drop(reason)
        self._release(d)

    def _release(self, d):
        if d.buf is not None:
            self._bytes -= len(d.buf)
            self.buffers.free(d.buf)
            d.buf = None
        _clear(d.bitmap)
        d.iface = None
        self._active.remove(d)
        self._free.append(d)

    def poll_at(self):
        return self._active[0].expires if self._active else NEVER

    def on_timer(self, now):
        while self._active and self._active[0].expires <= now:
            d = self._active[0]
            if d.first and self.on_expired is not None:
                self._expired(d, now)
            self._drop(d, "reassembly.timeout")

    def _expired(self, d, now):
        f = self._frame
        f.reset()
        f.buf = d.buf
        f.off = 0
        f.end = self.header + d.first
        h = self._hdr
        if self.parse_header(h, f, d):
            h.iface = d.iface
            h.kind = d.kind
            self.on_expired(h, f, now)
        f.buf = None
