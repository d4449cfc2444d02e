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
from stack.core.frame import CAP_TX_CSUM, HEADROOM
from stack.core.mem import copy
from stack.core.timers import NEVER
from stack.transport.tcp import duplicates, sack
from stack.transport.tcp.segment import segment, window
from stack.transport.tcp.states import ESTABLISHED
from stack.wire.tcp import CSUM_OFFSET, FIN

_M = const(0xFFFFFFFF)
_HALF = const(0x80000000)
_PROTO = const(6)
_IP_HEADERS = const(34)  # Ethernet and IPv4
# Data up to here is copied behind the header: one descriptor instead of two.
COPY_MAX = const(256)
# Marks of sequence space that stand still are moved along after so many octets.
_MARKS = const(1 << 28)
# RFC 9293 3.8.6.3: "an ACK SHOULD NOT be excessively delayed; in particular, the
# delay MUST be less than 0.5 seconds" (MUST-40).
DELACK_US = const(40_000)
# Two segments of the loopback's size would be more than a window.
_ACK_EVERY_MAX = const(16384)

# Flows whose frames are known: a power of two; one of them takes 64 bytes.
_FLOWS = const(64)
# What _look says of a frame, words of `said`.
_SEQ = const(0)
_ACK = const(1)
_WINDOW = const(2)
_STAMP = const(3)
_ECHO = const(4)
_OFF = const(5)
_LEN = const(6)
_STAMPED = const(7)


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
        self._said = array("I", bytes(4 * 8))
        self._empty = True
        self.candidate = None  # a Connection whose segment `receive` took from the ordinary way

    def take(self, f, now):
        """True if the frame f, at its Ethernet header, was taken in; else nothing has changed."""
        said = self._said
        i = _look(f.buf, f.off, f.end, self._keys, said)
        if i < 0:
            return False
        c = self._conns[i]
        off = said[_OFF]
        n = said[_LEN]
        if self._tcp.tracer is not None or c.ecn or c.ts_on != said[_STAMPED]:
            return False
        if not f.csum_ok:
            # The TCP header is 20 bytes, or 32 with timestamps.
            k = n + c.header
            s = c.pseudo + k
            s = (s & 0xFFFF) + (s >> 16)
            if checksum.add(f.buf, off - c.header, k, s) != 0xFFFF:
                return False
        return receive(
            c, said[_SEQ], said[_ACK], said[_WINDOW], said[_STAMP], said[_ECHO],
            f.buf, off, n, now,
        )  # fmt: skip

    def learn(self, buf, off, end):
        """The frame buf[off:end] came for `candidate`: know the next ones."""
        c = self.candidate
        self.candidate = None
        if self._tcp.ip.forward is None:
            i = _learn(buf, off, end, self._keys, c.ports, c.remote_addr, c.local_addr)
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
def _look(buf, off: int, end: int, keys, said) -> int:
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
    w = ptr32(said)
    hl = p[off + 46]
    o = off + 38
    w[_SEQ] = p[o] << 24 | p[o + 1] << 16 | p[o + 2] << 8 | p[o + 3]
    w[_ACK] = p[o + 4] << 24 | p[o + 5] << 16 | p[o + 6] << 8 | p[o + 7]
    w[_WINDOW] = p[o + 10] << 8 | p[o + 11]
    o = off + 54
    if hl >> 4 == 8:
        if room < 12 or h[q + 27] != 0x0101 or h[q + 28] != 0x0A08:
            return -1
        w[_STAMP] = p[o + 4] << 24 | p[o + 5] << 16 | p[o + 6] << 8 | p[o + 7]
        w[_ECHO] = p[o + 8] << 24 | p[o + 9] << 16 | p[o + 10] << 8 | p[o + 11]
        w[_OFF] = o + 12
        w[_LEN] = room - 12
        w[_STAMPED] = 1
        return i
    if hl >> 4 != 5:
        return -1
    w[_OFF] = o
    w[_LEN] = room
    w[_STAMPED] = 0
    return i


def receive(c, seq, ack, wnd, stamp, echo, buf, off, n, now):
    """Header prediction: a segment with ACK, perhaps PSH, no other flag, and just the options
    that this connection's segments have. True if it was taken in: n octets at buf[off:], the next
    in order, or news of what we sent. wnd: as in the header. stamp, echo: TSval, TSecr.
    """
    if c.state != ESTABLISHED or seq != c.rcv_nxt or c.dupacks or c.ooo is not None:
        return False
    una = c.snd_una
    acked = ack - una & _M
    if acked > c.snd_max - una & _M or n > c.rcv_adv - seq & _M or not (n or acked):
        return False
    if c.ts_on:
        # RFC 7323 5.3, R1, and 4.3, (2).
        if stamp - c.ts_recent & _M >= _HALF:
            return False
        if c.acked_to == seq:
            c.ts_recent = stamp
    c.last_rx = now
    wnd <<= c.snd_wscale
    if wnd != c.snd_wnd:
        if seq - c.snd_wl1 & _M < _HALF:
            c.snd_wl1 = seq
            new_window(c, wnd, now)
            if not acked and not c.ready and c.snd.tail != c.snd.head:
                c.tcp.make_ready(c)
    elif n:
        c.snd_wl1 = seq  # or it would lie ahead, 2 GB of one window later
    if acked:
        on_acked(c, acked, echo, now)
    if n:
        on_next(c, buf, off, n, now)
    return True


def new_window(c, wnd, now):
    """The peer's window has changed to wnd octets."""
    c.snd_wnd = wnd
    if wnd > c.max_wnd:
        c.max_wnd = wnd
    if wnd and c.persist_at != NEVER:
        c.persist_at = NEVER
        c.persist_backoff = 0
        c.progress_at = now  # R2 counts from here


def on_acked(c, acked, echo, now):
    """SND.UNA < SEG.ACK =< SND.MAX: drop `acked` octets from the retransmission queue.

    echo: the segment's TSecr, 0: none.
    """
    una = c.snd_una
    nxt = c.snd_nxt
    flight = nxt - una & _M
    c.snd_una = una = una + acked & _M
    ring = c.snd
    tail = ring.tail
    head = ring.head + acked
    if head > tail:
        head = tail
        c.fin_acked = True
    ring.head = head
    if una - nxt & _M < _HALF:
        # After a timeout snd_nxt was put back, and this covers more than was sent again.
        c.snd_nxt = nxt = una
    estimate = c.rtt
    if c.timing and una - c.rtt_seq & _M < _HALF:
        c.timing = False
        estimate.sample(now - c.rtt_at)
    elif c.ts_on and not c.timing:
        # RFC 7323 4: what was sent twice can be measured, since the echo tells which it was.
        if echo:
            estimate.stamped(now // 1000 + c.ts_off - echo & _M)
        estimate.backoff = 0
    else:
        # New data was acknowledged: the path works again, whatever the estimate.
        estimate.backoff = 0
    if una - c.marks & _M > _MARKS:
        _move_marks(c, una)
    c.progress_at = now
    if c.soft_error:
        c.soft_error = 0  # what stood in the way does so no longer
    # RFC 6298 (5.2), (5.3).
    if una == c.snd_max:
        at = c.rexmit_at = c.tlp_at = NEVER
    else:
        at = c.rexmit_at = now + estimate.rto_us
        if at < c.timer_at or c.timer_index < 0:
            c.tcp.arm(c, at)
    cc = c.cc
    cwnd = cc.cwnd
    if c.dupacks:
        if not c.sack_ok:
            duplicates.on_advance(c, acked, flight, now)
    # A window that is not being used proves nothing (RFC 7661, 4.3): no growth.
    elif flight << 1 >= cwnd:
        cc.on_ack(acked, flight, now)
        if cwnd < cc.cwnd < cc.ssthresh and c.ts_on and echo:
            cc.on_round(una, nxt, now // 1000 + c.ts_off - echo & _M)
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
    c.marks = una
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
    c.rcv_nxt = nxt = c.rcv_nxt + took & _M
    c.rx_bytes += took
    if n > c.rcv_mss:
        _larger(c, n)
    # RFC 9293: "an ACK SHOULD be generated for at least every second full-sized
    # segment" (SHLD-18). What a device joined counts as the segments it was.
    if nxt - c.acked_to & _M >= c.ack_every or n > c.adv_mss or took < n:
        c.ack_now = True
        if not c.ready:
            c.tcp.make_ready(c)
    elif c.delack_at == NEVER:
        c.delack_at = at = now + DELACK_US
        if c.timer_index < 0 or at < c.timer_at:
            c.tcp.arm(c, at)
    if c.waker is not None:
        c.waker.wake(c)


def _larger(c, n):
    """The peer sends larger segments than we knew."""
    c.rcv_mss = n if n < c.adv_mss else c.adv_mss
    n = c.rcv_mss << 1
    c.ack_every = n if n < _ACK_EVERY_MAX else _ACK_EVERY_MAX


def send(c, n, flags, now):
    """As `segment(c, c.snd_nxt, n, flags, now)`, without detours if it is of the usual kind:
    new, with no options but timestamps, on a path that is known to work.
    """
    tcp = c.tcp
    path = c.path
    seq = c.snd_nxt
    if (
        path.template is None
        or seq != c.snd_max
        or flags & FIN
        or c.ooo is not None
        or c.dup_len
        or c.ecn
        or tcp.tracer is not None
        or not path.caps & CAP_TX_CSUM
    ):
        return segment(c, seq, n, flags, now)
    hop = path.neighbor
    if now >= hop.until or hop.stamp != path.stamp or path.epoch != path.ip.routes.epoch:
        return segment(c, seq, n, flags, now)
    pool = tcp.pool
    k = pool.free - 1
    if k < 0:
        return False
    f = pool.stack[k]
    if f is None:
        return segment(c, seq, n, flags, now)  # it is made there
    pool.free = k
    header = c.header
    una = c.snd_una
    end = HEADROOM
    if n:
        ring = c.snd
        i = ring.head + (seq - una & _M) & ring.size - 1
        if n <= COPY_MAX or i + n > ring.size:
            if i + n > ring.size:
                ring.peek(i, f.buf, end, n)
            else:
                copy(f.buf, end, ring.buf, i, n)
            end += n
        else:
            f.data = ring.buf
            f.data_off = i
            f.data_len = n
            if n > c.mss:
                f.gso_size = c.mss
    f.end = end
    # The window, see `segment.window`: most often its edge stands still.
    rcv_nxt = c.rcv_nxt
    ring = c.rcv
    held = c.rcv_adv - rcv_nxt & _M
    more = ring.limit - ring.tail + ring.head - held
    if held >= _HALF or more >= c.rcv_mss or more >= ring.limit >> 1:
        held = window(c)
    else:
        held >>= c.rcv_wscale
        if held > 0xFFFF:
            held = 0xFFFF
    path.ident = ident = path.ident + 1 & 0xFFFF
    if n > c.mss:  # the device numbers the segments it cuts
        path.ident = ident + 64 & 0xFFFF
    s = c.pseudo + header + n
    f.off = off = HEADROOM - _IP_HEADERS - header
    f.csum_start = off + _IP_HEADERS
    f.csum_offset = CSUM_OFFSET
    _headers(
        path.template, f.buf, off, ident << 40 | path.words | _PROTO, 20 + header + n, c.ports, seq,
        rcv_nxt, header << 26 | flags << 16 | held, (s & 0xFFFF) + (s >> 16),
        now // 1000 + c.ts_off, c.ts_recent,
    )  # fmt: skip
    iface = path.iface
    if not iface.tx(f):
        f.release()
        return False
    iface.tx_frames += 1
    iface.tx_bytes += 34 + header + n
    if c.ack_now or c.delack_at != NEVER:
        c.ack_now = False
        c.delack_at = NEVER
    c.acked_to = rcv_nxt
    if not n:
        return True
    # Something was sent that takes up sequence space.
    end = seq + n & _M
    c.sent_at = now
    if seq == una:
        c.progress_at = now  # from here on the peer may be slow
    if not c.timing:
        c.timing = True
        c.rtt_seq = end
        c.rtt_at = now
    c.snd_nxt = c.snd_max = end
    estimate = c.rtt
    at = NEVER
    if c.sack_ok:
        b = c.board
        if b is None:
            c.board = b = sack.Scoreboard(seq)
        if b.n == b.first:
            b.first = 0
            b.n = 1
            b.start = seq
            b.end[0] = end
            b.at[0] = now
            b.flag[0] = 0
        else:
            b.append(seq, end, now, 0, una)
        if c.recovering:
            b.prr_out += n
        elif c.tlp_at == NEVER and not c.dupacks:
            c.tlp_at = at = now + estimate.pto_us
    if c.rexmit_at == NEVER:
        # RFC 6298 (5.1): "if the timer is not running, start it".
        c.rexmit_at = k = now + estimate.timeout_us()
        if k < at:
            at = k
    if at != NEVER and (c.timer_index < 0 or at < c.timer_at):
        tcp.arm(c, at)
    return True


@micropython.viper
def _headers(template, buf, off: int, words: int, total: int, ports: int, seq: int, ack: int,
             control: int, csum: int, stamp: int, echo: int):
    """Write Ethernet, IPv4, TCP and, if control says 32 bytes, timestamps at buf[off:].

    template, words, total: as wire.ipv4.emit_from; ports, seq, ack, control, csum: as
    wire.tcp.build; stamp, echo: as wire.tcp.stamp. off is even.
    """
    t = ptr16(template)
    h = ptr16(buf)
    q = off >> 1
    i = 0
    while i < 17:
        h[q + i] = t[i]
        i += 1
    p = ptr8(buf)
    o = off + 14
    p[o + 1] = words >> 16 & 0xFF
    p[o + 2] = total >> 8 & 0xFF
    p[o + 3] = total & 0xFF
    p[o + 4] = words >> 48 & 0xFF
    p[o + 5] = words >> 40 & 0xFF
    p[o + 6] = words >> 32 & 0xFF
    p[o + 7] = words >> 24 & 0xFF
    p[o + 8] = words >> 8 & 0xFF
    p[o + 9] = words & 0xFF
    s = (ptr8(template)[34] << 8 | ptr8(template)[35]) + 0x4500 + total
    s += (words >> 16 & 0xFF) + (words >> 40 & 0xFFFF) + (words >> 24 & 0xFFFF) + (words & 0xFFFF)
    s = (s & 0xFFFF) + (s >> 16)
    s = ((s & 0xFFFF) + (s >> 16)) ^ 0xFFFF
    p[o + 10] = s >> 8 & 0xFF
    p[o + 11] = s & 0xFF
    o += 20
    p[o] = ports >> 24 & 0xFF
    p[o + 1] = ports >> 16 & 0xFF
    p[o + 2] = ports >> 8 & 0xFF
    p[o + 3] = ports & 0xFF
    p[o + 4] = seq >> 24 & 0xFF
    p[o + 5] = seq >> 16 & 0xFF
    p[o + 6] = seq >> 8 & 0xFF
    p[o + 7] = seq & 0xFF
    p[o + 8] = ack >> 24 & 0xFF
    p[o + 9] = ack >> 16 & 0xFF
    p[o + 10] = ack >> 8 & 0xFF
    p[o + 11] = ack & 0xFF
    p[o + 12] = control >> 24 & 0xFF
    p[o + 13] = control >> 16 & 0xFF
    p[o + 14] = control >> 8 & 0xFF
    p[o + 15] = control & 0xFF
    p[o + 16] = csum >> 8 & 0xFF
    p[o + 17] = csum & 0xFF
    p[o + 18] = 0
    p[o + 19] = 0
    if control >> 28 == 8:
        o += 20
        p[o] = 1
        p[o + 1] = 1
        p[o + 2] = 8
        p[o + 3] = 10
        p[o + 4] = stamp >> 24 & 0xFF
        p[o + 5] = stamp >> 16 & 0xFF
        p[o + 6] = stamp >> 8 & 0xFF
        p[o + 7] = stamp & 0xFF
        p[o + 8] = echo >> 24 & 0xFF
        p[o + 9] = echo >> 16 & 0xFF
        p[o + 10] = echo >> 8 & 0xFF
        p[o + 11] = echo & 0xFF
