"""What nearly every segment is, done with as few steps as there can be.

A connection that works sees two kinds of segment: the next data in order, and the next
acknowledgment of what it sent, often in one. Van Jacobson's header prediction: all that such
a segment does not say anew is known before it comes. What is not as foreseen goes the ordinary
way (iface.py, net/ipv4.py, input.py, segment.py), which knows everything that is here, and
leads to the same state and the same bytes; tests/sim/test_lanes.py compares them.

In:

    Lanes.take   a frame from the device: is it the next of a flow seen before? Then parsing,
                 filters and look-ups are one comparison of its headers with those of the
                 flow's last frame (`_look`)
    receive      header prediction; also input.py tries it first, with a header it has parsed
    on_acked     new data is acknowledged     } input.py's, too
    on_next      data in order has come       }

Out:

    send         new data or an ACK, its headers written in one go over those of the path

Steps are function calls, names looked up and bytecodes, some 400, 60 and 25 instructions each
(docs/performance.md), so functions here are long, methods few, and what is asked twice is a
local variable.

Not implemented: IPv6, IP options, ECN and SACK blocks take the ordinary way.
"""

from array import array

import micropython
from micropython import const

from stack.core import checksum
from stack.core.mem import copy
from stack.core.timers import NEVER
from stack.transport.tcp import duplicates, sack
from stack.transport.tcp.block import (
    MARKS,
    PORTS,
    PROGRESS_AT,
    PSEUDO,
    SEG_WORDS,
    SND_NXT,
    SND_WND,
    TS_OFF,
    TS_ON,
    acknowledge,
    headers,
    predict,
    sent,
    take_in,
    window,
)
from stack.transport.tcp.segment import segment
from stack.transport.tcp.states import ESTABLISHED

_M = const(0xFFFFFFFF)
_HALF = const(0x80000000)
_PROTO = const(6)
_IP_HEADERS = const(34)  # Ethernet and IPv4
# Data up to here is copied behind the header: one descriptor instead of two.
COPY_MAX = const(256)

# Flows whose frames are known: a power of two; one of them takes 64 bytes.
_FLOWS = const(64)
# As in block.py, stack/core/frame.py and stack/wire/tcp.py: here as well, so that MicroPython
# folds them.
_SND_UNA = const(0)
_SND_NXT = const(1)
_SND_MAX = const(2)
_SND_WSCALE = const(5)
_DUPACKS = const(18)
_REXMIT_AT = const(31)
_HEADER = const(34)
_ARM = const(1)
_BEHIND = const(2)
_SEG_SEQ = const(0)
_SEG_ACK = const(1)
_SEG_WINDOW = const(2)
_SEG_STAMP = const(3)
_SEG_ECHO = const(4)
_SEG_OFF = const(5)
_SEG_LEN = const(6)
_SEG_STAMPED = const(7)
_HEADROOM = const(192)
_CAP_TX_CSUM = const(1)
_CSUM_OFFSET = const(16)
_FIN = const(1)


class Lanes:
    """Frames that belong to known connections, recognised by their first 54 bytes.

    A flow is learned from a frame that came the ordinary way and was the next in order, so
    all filters have passed it. `forget` undoes that: each second, and when what the filters
    look at has changed.
    """

    def __init__(self, tcp):
        self._tcp = tcp
        self._keys = bytearray(_FLOWS * 64)
        self._conns = [None] * _FLOWS
        self.seg = array("I", bytes(4 * SEG_WORDS))  # the segment in hand
        self._empty = True
        self.candidate = None  # a Connection whose segment `receive` took from the ordinary way

    def take(self, f, now):
        """True if the frame f, at its Ethernet header, was taken in; else nothing has changed."""
        seg = self.seg
        buf = f.buf
        i = _look(buf, f.off, f.end, self._keys, seg)
        if i < 0:
            return False
        c = self._conns[i]
        if c.ecn or self._tcp.tracer is not None:
            return False
        if not f.csum_ok:
            # The TCP header is 20 bytes, or 32 with timestamps.
            header = c.w[_HEADER]
            k = seg[_SEG_LEN] + header
            s = c.w[PSEUDO] + k
            s = (s & 0xFFFF) + (s >> 16)
            if c.w[TS_ON] != seg[_SEG_STAMPED] or checksum.add(
                buf, seg[_SEG_OFF] - header, k, s
            ) != 0xFFFF:
                return False
        return receive(c, seg, buf, now)

    def learn(self, buf, off, end):
        """The frame buf[off:end] came for `candidate`: know the next ones."""
        c = self.candidate
        self.candidate = None
        if self._tcp.ip.forward is None:
            i = _learn(buf, off, end, self._keys, c.w[PORTS], c.remote_addr, c.local_addr)
            if i >= 0:
                self._conns[i] = c
                self._empty = False
                c.lane = i

    def drop(self, i, c):
        """The connection c, last known at place i, has ended."""
        if self._conns[i] is c:
            self._conns[i] = None
            self._keys[(i << 6) + 63] = 0

    def forget(self):
        """Know no flow."""
        self.candidate = None
        if not self._empty:
            self._empty = True
            conns = self._conns
            for i in range(_FLOWS):
                if conns[i] is not None:
                    conns[i] = None
                    self._keys[(i << 6) + 63] = 0


# A flow's key, 64 bytes: the frame's first 14 (Ethernet), then source and destination of IP and
# TCP (12), and in the last byte 1 if there is a flow.


@micropython.viper
def _learn(buf, off: int, end: int, keys, ports: int, remote: int, local: int) -> int:
    """Keep the key of the frame buf[off:end]: its place, or -1: not TCP over IPv4, or another's."""
    if off & 1 or end - off < 54:
        return -1
    h = ptr16(buf)
    q = off >> 1
    # Ethernet's type; version and header length; no fragment; TCP.
    if h[q + 6] != 0x0008 or h[q + 7] & 0xFF != 0x45 or h[q + 10] & 0xFFBF:
        return -1
    if h[q + 11] >> 8 != 6:
        return -1
    p = ptr8(buf)
    o = off + 26
    d = (p[o] << 24 | p[o + 1] << 16 | p[o + 2] << 8 | p[o + 3]) ^ remote
    d |= (p[o + 4] << 24 | p[o + 5] << 16 | p[o + 6] << 8 | p[o + 7]) ^ local
    d |= (p[o + 10] << 24 | p[o + 11] << 16 | p[o + 8] << 8 | p[o + 9]) ^ ports
    if d:
        return -1
    i = (h[q + 17] ^ h[q + 18] ^ h[q + 14] ^ (h[q + 17] ^ h[q + 18] ^ h[q + 14]) >> 8) & 63
    k = ptr16(keys)
    j = i << 5
    n = 0
    while n < 7:
        k[j + n] = h[q + n]
        n += 1
    n = 0
    while n < 6:
        k[j + 7 + n] = h[q + 13 + n]
        n += 1
    k[j + 31] = 0x0100
    return i


@micropython.viper
def _look(buf, off: int, end: int, keys, seg) -> int:
    """The place of the flow that the frame buf[off:end] belongs to, or -1.

    It has the flow's addresses, a good IPv4 header without options, is no fragment, carries
    ACK, perhaps PSH, no other flag, and no options but timestamps in their usual place.
    """
    if off & 1 or end - off < 54:
        return -1
    h = ptr16(buf)
    q = off >> 1
    i = (h[q + 17] ^ h[q + 18] ^ h[q + 14] ^ (h[q + 17] ^ h[q + 18] ^ h[q + 14]) >> 8) & 63
    k = ptr16(keys)
    j = i << 5
    if k[j + 31] == 0:
        return -1
    d = (h[q] ^ k[j]) | (h[q + 1] ^ k[j + 1]) | (h[q + 2] ^ k[j + 2]) | (h[q + 3] ^ k[j + 3])
    d |= (h[q + 4] ^ k[j + 4]) | (h[q + 5] ^ k[j + 5]) | (h[q + 6] ^ k[j + 6])
    d |= (h[q + 13] ^ k[j + 7]) | (h[q + 14] ^ k[j + 8]) | (h[q + 15] ^ k[j + 9])
    d |= (h[q + 16] ^ k[j + 10]) | (h[q + 17] ^ k[j + 11]) | (h[q + 18] ^ k[j + 12])
    # Version and header length; not a fragment; TCP; flags.
    d |= ((h[q + 7] & 0xFF) ^ 0x45) | (h[q + 10] & 0xFFBF) | (h[q + 11] >> 8 ^ 6)
    d |= (h[q + 23] >> 8 & 0xF7) ^ 0x10
    if d:
        return -1
    s = h[q + 7] + h[q + 8] + h[q + 9] + h[q + 10] + h[q + 11] + h[q + 12] + h[q + 13]
    s += h[q + 14] + h[q + 15] + h[q + 16]
    s = (s & 0xFFFF) + (s >> 16)
    if (s & 0xFFFF) + (s >> 16) != 0xFFFF:
        return -1
    p = ptr8(buf)
    total = p[off + 16] << 8 | p[off + 17]
    room = total - 40
    if room < 0 or total > end - off - 14:
        return -1
    w = ptr32(seg)
    hl = p[off + 46]
    o = off + 38
    w[_SEG_SEQ] = p[o] << 24 | p[o + 1] << 16 | p[o + 2] << 8 | p[o + 3]
    w[_SEG_ACK] = p[o + 4] << 24 | p[o + 5] << 16 | p[o + 6] << 8 | p[o + 7]
    w[_SEG_WINDOW] = p[o + 10] << 8 | p[o + 11]
    o = off + 54
    if hl >> 4 == 8:
        if room < 12 or h[q + 27] != 0x0101 or h[q + 28] != 0x0A08:
            return -1
        w[_SEG_STAMP] = p[o + 4] << 24 | p[o + 5] << 16 | p[o + 6] << 8 | p[o + 7]
        w[_SEG_ECHO] = p[o + 8] << 24 | p[o + 9] << 16 | p[o + 10] << 8 | p[o + 11]
        w[_SEG_OFF] = o + 12
        w[_SEG_LEN] = room - 12
        w[_SEG_STAMPED] = 1
        return i
    if hl >> 4 != 5:
        return -1
    w[_SEG_OFF] = o
    w[_SEG_LEN] = room
    w[_SEG_STAMPED] = 0
    return i


def receive(c, seg, buf, now):
    """Header prediction: a segment with ACK, perhaps PSH, no other flag, and no options but
    timestamps. True if it was taken in: the next in order, or news of what we sent.

    seg: its words (block.py); the text lies in buf.
    """
    if c.state != ESTABLISHED or c.ooo is not None:
        return False
    w = c.w
    acked = predict(w, seg, now)
    if acked < 0:
        return False
    if acked & 1:
        new_window(c, seg[_SEG_WINDOW] << w[_SND_WSCALE], now)
        if acked == 1 and not c.ready and c.snd.tail != c.snd.head:
            c.tcp.make_ready(c)
    acked >>= 1
    if acked:
        on_acked(c, acked, seg[_SEG_ECHO], now)
    n = seg[_SEG_LEN]
    if n:
        on_next(c, buf, seg[_SEG_OFF], n, now)
    return True


def new_window(c, wnd, now):
    """The peer's window has changed to wnd octets."""
    c.w[SND_WND] = wnd
    if wnd > c.max_wnd:
        c.max_wnd = wnd
    if wnd and c.persist_at != NEVER:
        c.persist_at = NEVER
        c.persist_backoff = 0
        c.w[PROGRESS_AT] = now  # R2 counts from here


def on_acked(c, acked, echo, now):
    """SND.UNA < SEG.ACK =< SND.MAX: drop `acked` octets from the retransmission queue.

    echo: the segment's TSecr, 0: none.
    """
    w = c.w
    una = w[_SND_UNA]
    r = acknowledge(w, acked, echo, now)
    ring = c.snd
    tail = ring.tail
    head = ring.head + acked
    if head > tail:
        head = tail
        c.fin_acked = True
    ring.head = head
    if r & _BEHIND:
        _move_marks(c, una + acked & _M)
    if c.soft_error:
        c.soft_error = 0  # what stood in the way does so no longer
    if r & _ARM:
        at = w[_REXMIT_AT]
        if at < c.timer_at or c.timer_index < 0:
            c.tcp.arm(c, at)
    flight = r >> 2
    cc = c.cc
    cwnd = cc.cwnd
    if w[_DUPACKS]:
        if not c.sack_ok:
            duplicates.on_advance(c, acked, flight, now)
    # A window that is not being used proves nothing (RFC 7661, 4.3): no growth.
    elif flight << 1 >= cwnd:
        cc.on_ack(acked, flight, now)
        if cwnd < cc.cwnd < cc.ssthresh and w[TS_ON] and echo:
            rtt = now // 1000 + w[TS_OFF] - echo & _M
            cc.on_round(una + acked & _M, w[SND_NXT], rtt)
    if cc.cwnd << 1 > ring.limit and ring.limit < c.tcp.snd_max:
        c.tcp.grow_send(c)
    if c.send_waits and ring.limit - (tail - head) >= ring.limit >> 2:
        c.send_waits = False
        if c.waker is not None:
            c.waker.wake(c)
    if not c.ready and (tail != head or c.fin_queued):
        c.tcp.make_ready(c)


def _move_marks(c, una):
    """Marks that stay behind for 2 GB would lie ahead."""
    c.w[MARKS] = una
    if 0 < una - c.recover & _M < _HALF:
        c.recover = una - 1 & _M
    if una - c.snd_sml & _M < _HALF:
        c.snd_sml = una
    if una - c.ecn_high & _M < _HALF:
        c.ecn_high = una


def on_next(c, buf, off, n, now):
    """n octets that begin at RCV.NXT and lie in the window: into the ring, and owe an ACK."""
    ring = c.rcv
    tail = ring.tail
    size = ring.size
    i = tail & size - 1
    if n <= size - i and n <= size - tail + ring.head:
        copy(ring.buf, i, buf, off, n)
        ring.tail = tail + n
        took = n
    else:
        took = ring.write(buf, off, n)
    at = take_in(c.w, took, n, now)
    if at < 0:
        if not c.ready:
            c.tcp.make_ready(c)
    elif at and (c.timer_index < 0 or at < c.timer_at):
        c.tcp.arm(c, at)
    if c.waker is not None:
        c.waker.wake(c)


def send(c, n, flags, now):
    """As `segment(c, SND.NXT, n, flags, now)`, without detours if it is of the usual kind:
    new, with no options but timestamps, on a path that is known to work.
    """
    tcp = c.tcp
    path = c.path
    w = c.w
    seq = w[_SND_NXT]
    if (
        path.template is None
        or seq != w[_SND_MAX]
        or flags & _FIN
        or c.ooo is not None
        or c.dup_len
        or c.ecn
        or tcp.tracer is not None
        or not path.caps & _CAP_TX_CSUM
    ):
        return segment(c, seq, n, flags, now)
    hop = path.neighbor
    if now >= hop.until or hop.stamp != path.stamp or path.epoch != path.ip.routes.epoch:
        return segment(c, seq, n, flags, now)
    pool = c.pool
    k = pool.free - 1
    if k < 0:
        return False
    f = pool.stack[k]
    if f is None:
        return segment(c, seq, n, flags, now)  # it is made there
    pool.free = k
    end = _HEADROOM
    large = False
    if n:
        ring = c.snd
        size = ring.size
        una = w[_SND_UNA]
        i = ring.head + (seq - una & _M) & size - 1
        if n <= COPY_MAX or i + n > size:
            if i + n > size:
                ring.peek(i, f.buf, end, n)
            else:
                copy(f.buf, end, ring.buf, i, n)
            end += n
        else:
            f.data = ring.buf
            f.data_off = i
            f.data_len = n
            large = n > c.mss
            if large:
                f.gso_size = c.mss
    f.end = end
    ring = c.rcv
    limit = ring.limit
    field = window(w, limit - ring.tail + ring.head, limit)
    ident = path.ident + 1 & 0xFFFF
    # The device numbers the segments that it cuts.
    path.ident = ident + 64 & 0xFFFF if large else ident
    header = w[_HEADER]
    f.off = off = _HEADROOM - _IP_HEADERS - header
    f.csum_start = _HEADROOM - header
    f.csum_offset = _CSUM_OFFSET
    headers(
        w, path.template, f.buf, off, ident << 40 | path.words | _PROTO, flags << 16 | field, n, now
    )
    iface = path.iface
    if not iface.tx(f):
        f.release()
        return False
    iface.tx_frames += 1
    iface.tx_bytes += _IP_HEADERS + header + n
    if not n:
        sent(w, 0, 0, now)
        return True
    probe = 0
    if c.sack_ok:
        b = c.board
        if b is None:
            c.board = b = sack.Scoreboard(seq)
        if b.n == b.first or seq == una:
            b.first = 0
            b.n = 1
            b.start = seq
            b.end[0] = seq + n & _M
            b.at[0] = now
            b.flag[0] = 0
        else:
            b.append(seq, seq + n & _M, now, 0, una)
        if c.recovering:
            b.prr_out += n
        else:
            probe = 1
    at = sent(w, n, probe, now)
    if at and (c.timer_index < 0 or at < c.timer_at):
        tcp.arm(c, at)
    return True
