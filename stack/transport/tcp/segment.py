"""How a segment is made: its header, options, window, checksum. RFC 9293 3.1, 3.7.1, 3.8.6.2.2.

`segment` sends one of a connection and keeps what follows from its leaving: SND.NXT and
SND.MAX, the scoreboard, the retransmission timer, the measurement. `send_bare` is for what
has no connection. Which may go is decided in output.py.

Not implemented: urgent data (send), authentication (RFC 5925).
"""

from micropython import const

from stack.core import be, checksum
from stack.core.frame import CAP_TSO4, CAP_TX_CSUM
from stack.core.timers import NEVER
from stack.transport.tcp import ecn, options, rack, sack, usertimeout
from stack.transport.tcp.options import OPTIONS_MAX
from stack.wire import tcp as wire
from stack.wire.tcp import ACK, CSUM_OFFSET, CWR, ECE, FIN, HEADER_LEN, SYN

_M = const(0xFFFFFFFF)
_HALF = const(0x80000000)
PROTO = const(6)

# Connection.fast, see conn.py.
FAST_DATA = const(2)

# Data up to here is copied behind the header: one descriptor instead of two.
_COPY_MAX = const(256)
# An IPv4 packet holds 65,535 bytes: less 60 of IP header and 60 of TCP's.
_GSO_LIMIT = const(65415)


def window(c):
    """The window field for a segment sent now. Moves RCV.ADV, the edge that was promised.

    RFC 9293 3.8.6.2.2: the edge stands still until it can move by
    "min( Fr * RCV.BUFF, Eff.snd.MSS )", Fr = 1/2. It never moves back; what
    scaling cuts off is still accepted (RFC 7323, 2.4).
    """
    ring = c.rcv
    limit = ring.limit
    held = (c.rcv_adv - c.rcv_nxt) & _M
    if held >= _HALF:
        held = 0  # a FIN took the octet after the window
    free = limit - (ring.tail - ring.head)
    more = free - held
    if more >= c.rcv_mss or more >= limit >> 1:
        scale = c.rcv_wscale
        w = free >> scale
        if w > 0xFFFF:
            w = 0xFFFF
        free = w << scale
        if free > held:
            c.rcv_adv = c.rcv_nxt + free & _M
        return w
    w = held >> c.rcv_wscale
    return w if w < 0xFFFF else 0xFFFF


def segment(c, seq, n, flags, now):
    """Send n octets of the send ring from `seq`. False: no frame or the device is full.

    The octets lie in one piece, or are no more than `copy_max` (the caller looked).
    n above the MSS: the device cuts. Timers and the round-trip measurement are kept here.
    """
    tcp = c.tcp
    f = tcp.pool.get()
    if f is None:
        return False
    header = c.header
    blocks = 0
    if (c.ooo is not None or c.dup_len) and c.sack_ok:
        # A full segment has no room for them; the ACK of what came early has gone alone.
        blocks = OPTIONS_MAX + HEADER_LEN - header
        if n and c.mss - n < blocks:
            blocks = c.mss - n
        blocks = sack.block_count(c, blocks)
        if blocks:
            header += 4 + (blocks << 3)
    told = c.uto & usertimeout.TELL and _room_to_tell(c, n, header)
    if told:
        header += usertimeout.LEN
    offer = None
    if flags & SYN:
        told = False
        offer = _syn_offer(c, flags, now)
        header = HEADER_LEN + offer.size()
    if n:
        ring = c.snd
        i = ring.head + (seq - c.snd_una & _M) & ring.size - 1
        if n <= _COPY_MAX or i + n > ring.size:
            ring.peek(i, f.buf, f.end, n)
            f.end += n
        else:
            f.data = ring.buf
            f.data_off = i
            f.data_len = n
            if n > c.mss:
                f.gso_size = c.mss
    o = f.prepend(header)
    if offer is not None:
        offer.write(f.buf, o + HEADER_LEN)
        w = syn_window(c)
    else:
        w = window(c)
    proto = PROTO
    if c.ecn:
        if c.ece_out:
            flags |= ECE
        # RFC 3168 6.1.5: not on what is sent again; 6.1.6: nor on a window probe.
        if n and seq == c.snd_max and c.snd_wnd:
            proto = ecn.ECT_TCP
            if c.cwr_out:
                flags |= CWR
    if c.ts_on and offer is None:
        wire.stamp(f.buf, o + HEADER_LEN, now // 1000 + c.ts_off & _M, c.ts_recent)
    if blocks:
        sack.write_blocks(c, f.buf, o + c.header, blocks)
    if told:
        usertimeout.write(f.buf, o + header - usertimeout.LEN, usertimeout.advertised(c))
    s = c.pseudo + header + n
    s = (s & 0xFFFF) + (s >> 16)
    if c.path.caps & CAP_TX_CSUM:
        f.csum_start = o
        f.csum_offset = CSUM_OFFSET
        wire.build(f.buf, o, c.ports, seq, c.rcv_nxt, header << 26 | flags << 16 | w, s)
    else:
        wire.build(f.buf, o, c.ports, seq, c.rcv_nxt, header << 26 | flags << 16 | w, 0)
        sum_in_software(f, o, s)
    if not c.path.output(f, proto, now):
        f.release()
        return False
    if told:
        c.uto &= ~usertimeout.TELL
    if tcp.tracer is not None:
        tcp.tracer.sent(c, seq, n, now)
    if flags & CWR and c.ecn:
        c.cwr_out = False
    if c.ack_now or c.delack_at != NEVER:
        c.ack_now = False
        c.delack_at = NEVER
    c.acked_to = c.rcv_nxt
    if flags & (SYN | FIN):
        n += 1
    elif not n:
        return True
    # Something was sent that takes up sequence space.
    end = seq + n & _M
    c.sent_at = now
    if seq == c.snd_max:
        if seq == c.snd_una:
            c.progress_at = now  # from here on the peer may be slow
        if not c.timing:
            c.timing = True
            c.rtt_seq = end
            c.rtt_at = now
    else:
        # Karn: no measurement from anything that was sent twice.
        c.timing = False
        c.retransmits += 1
        tcp.retransmits += 1
    if seq == c.snd_nxt:
        c.snd_nxt = end
        if c.sack_ok and not flags & SYN:
            b = c.board
            if b is None:
                c.board = b = sack.Scoreboard(seq)
            b.append(seq, end, now, 0 if seq == c.snd_max else sack.RETX, c.snd_una)
            if c.recovering:
                b.prr_out += n
            elif c.tlp_at == NEVER and not c.dupacks:
                rack.arm_probe(c, now)
    if 0 < (end - c.snd_max & _M) < _HALF:
        c.snd_max = end
    if c.rexmit_at == NEVER:
        # RFC 6298 (5.1): "if the timer is not running, start it".
        c.rexmit_at = at = now + c.rtt.timeout_us()
        if c.timer_index < 0 or at < c.timer_at:
            tcp.arm(c, at)
    return True


def _room_to_tell(c, n, header):
    """Whether the user timeout has room behind `header` bytes and in front of n octets."""
    left = OPTIONS_MAX + HEADER_LEN - header
    if n and c.mss - n + c.header - header < left:
        left = c.mss - n + c.header - header
    return left >= usertimeout.LEN


def _syn_offer(c, flags, now):
    """What our SYN offers; in answer to the peer's, no more than that had."""
    tcp = c.tcp
    sack_ok = c.sack_ok
    ts_on = c.ts_on
    if not flags & ACK:
        sack_ok = tcp.sack
        ts_on = tcp.timestamps
    tcp.offer.set(
        c.adv_mss, c.rcv_wscale, sack_ok, options.stamp_now(c.ts_off, now) if ts_on else -1,
        c.ts_recent if flags & ACK else 0,
    )
    if c.uto & usertimeout.TELL:
        tcp.offer.uto = usertimeout.advertised(c)
    if c.fast and not c.syn_lost:
        known = tcp.fast_open.known(c.remote_addr) if c.fast == FAST_DATA else None
        tcp.offer.cookie = known[0] if known is not None else b""
        tcp.offer.cookie_len = len(tcp.offer.cookie)
    return tcp.offer


def syn_window(c):
    """The window of a SYN is never scaled (RFC 7323, 2.2)."""
    limit = c.rcv.limit - (c.rcv.tail - c.rcv.head)
    if limit > 0xFFFF:
        limit = 0xFFFF
    c.rcv_adv = c.rcv_nxt + limit & _M
    return limit


def sum_in_software(f, o, s):
    """Fill in the checksum of the segment at o of frame f, its data piece included."""
    s = checksum.add(f.buf, o, f.end - o, s)
    if f.data_len:
        # The header is of even length, so the words of the piece fall in place.
        s = checksum.add(f.data, f.data_off, f.data_len, s)
    be.put16(f.buf, o + CSUM_OFFSET, s ^ 0xFFFF)


def send_bare(tcp, path, ports, seq, ack, flags, w, now, offer=None, ts_val=-1, ts_ecr=0):
    """A segment that belongs to no Connection: RST, SYN-ACK of a half-open, ACK of TIME-WAIT.

    path: from `tcp.way_back`, so it may be None. offer: the options of a SYN. False: it could
    not go.
    """
    if path is None:
        tcp.stats.drop("tcp.no_route_back")
        return False
    f = tcp.pool.get()
    if f is None:
        return False
    header = HEADER_LEN
    if offer is not None:
        header += offer.size()
    elif ts_val >= 0:
        header = wire.STAMPED_LEN
    o = f.prepend(header)
    if offer is not None:
        offer.write(f.buf, o + HEADER_LEN)
    elif ts_val >= 0:
        wire.stamp(f.buf, o + HEADER_LEN, ts_val, ts_ecr)
    s = path.pseudo(PROTO) + header
    s = (s & 0xFFFF) + (s >> 16)
    if path.caps & CAP_TX_CSUM:
        f.csum_start = o
        f.csum_offset = CSUM_OFFSET
        wire.build(f.buf, o, ports, seq, ack, header << 26 | flags << 16 | w, s)
    else:
        wire.build(f.buf, o, ports, seq, ack, header << 26 | flags << 16 | w, 0)
        sum_in_software(f, o, s)
    if path.output(f, PROTO, now):
        return True
    f.release()
    return False


def gso_bytes(path, mss):
    """The largest payload of one frame on this path: the MSS, or whole segments up to gso_max."""
    if path.caps & CAP_TSO4:
        most = path.gso_max
        if most > _GSO_LIMIT:
            most = _GSO_LIMIT
        n = most // mss * mss
        if n > mss:
            return n
    return mss
