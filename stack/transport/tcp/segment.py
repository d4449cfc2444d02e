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
from stack.transport.tcp import block, ecn, options, rack, sack, usertimeout
from stack.transport.tcp.block import (
    ACK_NOW,
    ACKED_TO,
    ADV_MSS,
    DELACK_AT,
    DUPACKS,
    HEADER,
    PORTS,
    PROGRESS_AT,
    PSEUDO,
    RCV_ADV,
    RCV_NXT,
    RCV_WSCALE,
    REXMIT_AT,
    RTT_AT,
    RTT_SEQ,
    SENT_AT,
    SND_MAX,
    SND_NXT,
    SND_UNA,
    SND_WND,
    TIMING,
    TLP_AT,
    TS_OFF,
    TS_ON,
    TS_RECENT,
)
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
    """The window field for a segment sent now; see block.window."""
    ring = c.rcv
    return block.window(c.w, ring.limit - ring.tail + ring.head, ring.limit)


def segment(c, seq, n, flags, now):
    """Send n octets of the send ring from `seq`. False: no frame or the device is full.

    The octets lie in one piece, or are no more than `copy_max` (the caller looked).
    n above the MSS: the device cuts. Timers and the round-trip measurement are kept here.
    """
    tcp = c.tcp
    f = tcp.pool.get()
    if f is None:
        return False
    header = c.w[HEADER]
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
        i = ring.head + (seq - c.w[SND_UNA] & _M) & ring.size - 1
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
        if n and seq == c.w[SND_MAX] and c.w[SND_WND]:
            proto = ecn.ECT_TCP
            if c.cwr_out:
                flags |= CWR
    if c.w[TS_ON] and offer is None:
        wire.stamp(f.buf, o + HEADER_LEN, now // 1000 + c.w[TS_OFF] & _M, c.w[TS_RECENT])
    if blocks:
        sack.write_blocks(c, f.buf, o + c.w[HEADER], blocks)
    if told:
        usertimeout.write(f.buf, o + header - usertimeout.LEN, usertimeout.advertised(c))
    s = c.w[PSEUDO] + header + n
    s = (s & 0xFFFF) + (s >> 16)
    if c.path.caps & CAP_TX_CSUM:
        f.csum_start = o
        f.csum_offset = CSUM_OFFSET
        wire.build(f.buf, o, c.w[PORTS], seq, c.w[RCV_NXT], header << 26 | flags << 16 | w, s)
    else:
        wire.build(f.buf, o, c.w[PORTS], seq, c.w[RCV_NXT], header << 26 | flags << 16 | w, 0)
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
    if c.w[ACK_NOW] or c.w[DELACK_AT] != NEVER:
        c.w[ACK_NOW] = False
        c.w[DELACK_AT] = NEVER
    c.w[ACKED_TO] = c.w[RCV_NXT]
    if flags & (SYN | FIN):
        n += 1
    elif not n:
        return True
    # Something was sent that takes up sequence space.
    end = seq + n & _M
    c.w[SENT_AT] = now
    if seq == c.w[SND_MAX]:
        if seq == c.w[SND_UNA]:
            c.w[PROGRESS_AT] = now  # from here on the peer may be slow
        if not c.w[TIMING]:
            c.w[TIMING] = True
            c.w[RTT_SEQ] = end
            c.w[RTT_AT] = now
    else:
        # Karn: no measurement from anything that was sent twice.
        c.w[TIMING] = False
        c.retransmits += 1
        tcp.retransmits += 1
    if seq == c.w[SND_NXT]:
        c.w[SND_NXT] = end
        if c.sack_ok and not flags & SYN:
            b = c.board
            if b is None:
                c.board = b = sack.Scoreboard(seq)
            b.append(seq, end, now, 0 if seq == c.w[SND_MAX] else sack.RETX, c.w[SND_UNA])
            if c.recovering:
                b.prr_out += n
            elif c.w[TLP_AT] == NEVER and not c.w[DUPACKS]:
                rack.arm_probe(c, now)
    if 0 < (end - c.w[SND_MAX] & _M) < _HALF:
        c.w[SND_MAX] = end
    if c.w[REXMIT_AT] == NEVER:
        # RFC 6298 (5.1): "if the timer is not running, start it".
        c.w[REXMIT_AT] = at = now + c.rtt.timeout_us()
        if c.timer_index < 0 or at < c.timer_at:
            tcp.arm(c, at)
    return True


def _room_to_tell(c, n, header):
    """Whether the user timeout has room behind `header` bytes and in front of n octets."""
    left = OPTIONS_MAX + HEADER_LEN - header
    if n and c.mss - n + c.w[HEADER] - header < left:
        left = c.mss - n + c.w[HEADER] - header
    return left >= usertimeout.LEN


def _syn_offer(c, flags, now):
    """What our SYN offers; in answer to the peer's, no more than that had."""
    tcp = c.tcp
    sack_ok = c.sack_ok
    ts_on = c.w[TS_ON]
    if not flags & ACK:
        sack_ok = tcp.sack
        ts_on = tcp.timestamps
    tcp.offer.set(
        c.w[ADV_MSS], c.w[RCV_WSCALE], sack_ok,
        options.stamp_now(c.w[TS_OFF], now) if ts_on else -1,
        c.w[TS_RECENT] if flags & ACK else 0,
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
    c.w[RCV_ADV] = c.w[RCV_NXT] + limit & _M
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
