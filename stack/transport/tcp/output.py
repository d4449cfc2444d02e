"""Sending: which segment may go now (segment.py makes it). RFC 9293 3.7, 3.8.6; RFC 896, 5681.

`emit` is called for a connection on the ready list and sends what the peer's
window, the congestion window and the rules against small segments allow:

    Nagle           RFC 896, in Minshall's form (RFC 9293 A.3): a small segment waits
                    while another *small* one is unacknowledged
    silly window    RFC 9293 3.8.6.2.1: full segments, or all there is, or half of
                    the largest window the peer ever offered
    zero window     3.8.6.1: the persist timer takes over (timer.py)

Data is not copied: a frame names the bytes in the send ring. With segmentation
offload one frame carries up to gso_max bytes and the device cuts it.

Not implemented: urgent data (send).
"""

from micropython import const

from stack.core.timers import NEVER
from stack.transport.tcp import ecn, recovery
from stack.transport.tcp.block import (
    ACK_NOW,
    DUPACKS,
    REXMIT_AT,
    SND_MAX,
    SND_NXT,
    SND_UNA,
    SND_WND,
)
from stack.transport.tcp.fast import send
from stack.transport.tcp.options import OPTIONS_MAX
from stack.transport.tcp.segment import FAST_DATA, segment
from stack.transport.tcp.states import SYN_RECEIVED, SYN_SENT, TIME_WAIT
from stack.wire.tcp import ACK, CWR, ECE, FIN, PSH, RST, SYN

_M = const(0xFFFFFFFF)
_HALF = const(0x80000000)

# As in block.py, states.py, wire/tcp.py and timers.py: here too, so that MicroPython folds them.
_SND_UNA = const(0)
_SND_NXT = const(1)
_SND_MAX = const(2)
_SND_WND = const(3)
_RTO_US = const(24)
_SENT_AT = const(28)
_ESTABLISHED = const(4)
_ACK = const(16)
_ACK_PSH = const(24)
_NEVER = const(1 << 60)

# What emit says.
DONE = const(0)  # nothing left that may go now
MORE = const(1)  # the turn is over, there is more
BLOCKED = const(2)  # no frame, or the device is full
LATER = const(3)  # pacing.py: not yet

# RFC 9293 3.8.6.2.1: the override timeout, "in the range 0.1 - 1.0 seconds".
OVERRIDE_US = const(200_000)


def emit(c, now, turns):
    """Send what may go, at most `turns` data frames. DONE, MORE or BLOCKED."""
    state = c.state
    if state != _ESTABLISHED:
        if state <= SYN_RECEIVED:
            return _emit_handshake(c, now)
        if state == TIME_WAIT:
            return DONE
    path = c.path
    if path.mtu != c.path_mtu or path.gso_max != c.path_gso:
        c.follow_path()
    if c.sack_ok:
        if c.inflate and c.board.lost:
            said = _emit_lost(c, now, turns)
            if said != DONE:
                return said
    elif c.rexmit_one and not _emit_retransmission(c, now):
        return BLOCKED
    ring = c.snd
    full = c.full
    mss = c.mss
    cwnd = c.cc.cwnd + c.inflate
    used = 0
    w = c.w
    una = w[_SND_UNA]
    wnd = w[_SND_WND]
    while True:
        nxt = w[_SND_NXT]
        sent = nxt - una & _M
        left = ring.tail - ring.head - sent
        if left <= 0:
            # left < 0: the FIN is out as well.
            if not left and c.fin_queued and not c.fin_acked and _window_open(c, sent, now):
                if not segment(c, nxt, 0, FIN | ACK, now):
                    return BLOCKED
            break
        room = wnd if wnd < cwnd else cwnd
        room -= sent
        if room <= 0:
            _window_open(c, sent, now)
            break
        if used >= turns:
            return MORE
        if not sent and not used and now - w[_SENT_AT] > w[_RTO_US]:
            c.cc.on_idle(now)
            cwnd = c.cc.cwnd + c.inflate
        n = left if left < room else room
        if n > c.gso:
            n = c.gso
        if c.cwr_out and n > mss:
            n = mss  # CWR is for one segment, a device would set it on all that it cuts
        span = ring.size - (ring.head + sent & ring.size - 1)
        flags = _ACK
        if n > span and (n > mss or n > c.tcp.copy_max):
            n = span  # the ring's end; small pieces are joined by copying
        elif n < left:
            if n > mss:
                n -= n % mss
            # The windows end here. Wait for a better piece if acknowledgments are on
            # their way and this is a small part of the window (as Linux defers TSO).
            if n < c.gso and sent and n < cwnd >> 2 and not w[DUPACKS]:
                break
            if n < full and n < c.max_wnd >> 1 and nxt == w[_SND_MAX]:
                if not sent:
                    _persist(c, now, OVERRIDE_US)
                break
        elif n < full:
            # All there is, and not full: Nagle.
            if sent and not c.nodelay and not c.fin_queued and nxt == w[_SND_MAX] and _small_out(c):
                break
            c.snd_sml = nxt + n & _M
        if n == left:
            flags = _ACK_PSH
            if c.fin_queued and wnd > sent + n:
                flags = ACK | PSH | FIN
        if not send(c, n, flags, now):
            return BLOCKED
        if c.persist_at != _NEVER:
            c.persist_at = NEVER
            c.persist_backoff = 0
        if n == left and not c.fin_queued:
            return DONE  # with the acknowledgment, if one was owed
        used += 1
    if w[ACK_NOW]:
        return DONE if _emit_ack(c, now) else BLOCKED
    return DONE


def _small_out(c):
    """True while a small segment is unacknowledged: SND.UNA < SND.SML (Minshall)."""
    return 0 < (c.snd_sml - c.w[SND_UNA]) & _M < _HALF and c.w[SND_NXT] != c.w[SND_UNA]


def _window_open(c, sent, now):
    """True if the peer's window takes another octet. If nothing is out to bring an
    acknowledgment, the persist timer will ask (RFC 9293 3.8.6.1).
    """
    if c.w[SND_WND] > sent:
        return True
    if not sent or not c.w[SND_WND]:
        _persist(c, now, c.rtt.timeout_us())
    return False


def _persist(c, now, after_us):
    if c.persist_at == NEVER and c.w[REXMIT_AT] == NEVER:
        c.persist_at = now + after_us
        c.tcp.arm(c, c.persist_at)


def _emit_handshake(c, now):
    """SYN, or SYN and ACK after a simultaneous open; again whenever snd_nxt was put back."""
    if c.w[SND_NXT] == c.iss:
        if c.state == SYN_SENT:
            # RFC 3168 6.1.1.1: without ECN once a SYN was lost.
            ask = c.tcp.ecn == ecn.ON and not c.syn_lost
            n = 0
            if c.fast == FAST_DATA and not c.syn_lost:
                n = c.snd.tail - c.snd.head
                if n > c.mss - OPTIONS_MAX:
                    n = c.mss - OPTIONS_MAX
            ok = segment(c, c.iss, n, SYN | ECE | CWR if ask else SYN, now)
        elif c.state == SYN_RECEIVED:
            ok = segment(c, c.iss, 0, SYN | ACK, now)
        else:
            return DONE
        return DONE if ok else BLOCKED
    if c.w[ACK_NOW] and c.state == SYN_RECEIVED:
        return DONE if segment(c, c.w[SND_MAX], 0, ACK, now) else BLOCKED
    return DONE


def _emit_lost(c, now, turns):
    """What the scoreboard calls lost, as far as cwnd has room in the pipe (RFC 6675, NextSeg)."""
    b = c.board
    used = 0
    while True:
        i = b.next_lost()
        if i < 0:
            return DONE
        begin = b.begin(i)
        n = b.end[i] - begin & _M
        room = c.cc.cwnd + c.inflate - (c.w[SND_NXT] - c.w[SND_UNA] & _M)
        if room < n and room < c.mss:
            if not c.rexmit_one:
                return DONE
            room = c.mss
        if used >= turns:
            return MORE
        if room < n:
            n = room - room % c.mss
        edge = c.w[SND_WND] - (begin - c.w[SND_UNA] & _M)
        if edge < n:
            n = edge
            if n <= 0:
                return DONE  # the window was taken back: the timer will ask
        n = resend(c, begin, n, now)
        if not n:
            return BLOCKED
        c.rexmit_one = False
        if begin == c.w[SND_UNA]:
            c.w[REXMIT_AT] = now + c.rtt.timeout_us()
            c.tcp.arm(c, c.w[REXMIT_AT])
        b.resent(i, begin + n & _M, now)
        recovery.sent_again(c, b, begin, n, now)
        c.inflate = b.sacked + b.lost
        used += 1


def resend(c, begin, n, now):
    """Send up to n octets from `begin` again, of what is out; how many, 0: not now.

    The FIN is one of them if it stands there.
    """
    ring = c.snd
    off = begin - c.w[SND_UNA] & _M
    data = ring.tail - ring.head - off
    flags = ACK
    fin = 0
    if n > data:
        n = data
        fin = 1
        flags = ACK | FIN
    if n > c.gso:
        n = c.gso
        fin = 0
    if n > c.tcp.copy_max or n > c.mss:
        span = ring.size - (ring.head + off & ring.size - 1)
        if n > span:
            n = span
            fin = 0
    if not segment(c, begin, n, flags if fin else ACK, now):
        return 0
    return n + fin


def emit_tail_probe(c, b, now):
    """RFC 8985 7.3, TLP_send_probe(): a new segment if there is one and the window takes it,
    else the last one again. cwnd does not matter.
    """
    b.begin_ack(c.w[SND_UNA], True, 0)
    ring = c.snd
    sent = c.w[SND_NXT] - c.w[SND_UNA] & _M
    n = ring.tail - ring.head - sent
    if n > c.w[SND_WND] - sent:
        n = c.w[SND_WND] - sent
    if n > 0:
        if n > c.mss:
            n = c.mss
        if n > c.tcp.copy_max and n > ring.span(ring.head + sent):
            n = ring.span(ring.head + sent)
        if not segment(c, c.w[SND_NXT], n, ACK, now):
            return
        b.tlp_retx = False
    else:
        i = b.last_segment(c.mss)
        if i < 0:
            return
        begin = b.begin(i)
        n = resend(c, begin, b.end[i] - begin & _M, now)
        if not n:
            return
        b.resent(i, begin + n & _M, now)
        b.tlp_retx = True
    b.tlp_end = c.w[SND_NXT]
    c.w[DUPACKS] = 1
    c.tcp.stats.count("tcp.tail_probes")
    c.w[REXMIT_AT] = now + c.rtt.timeout_us()


def _emit_retransmission(c, now):
    """One segment from SND.UNA (fast retransmit, or a partial acknowledgment)."""
    c.rexmit_one = False
    if c.w[SND_UNA] == c.w[SND_MAX] or not _send_first(c, c.mss, now):
        return c.w[SND_UNA] == c.w[SND_MAX]
    c.w[REXMIT_AT] = now + c.rtt.timeout_us()
    c.tcp.arm(c, c.w[REXMIT_AT])
    return True


def _send_first(c, limit, now):
    """Send up to `limit` octets from SND.UNA again, the FIN if that is what stands there."""
    ring = c.snd
    n = ring.tail - ring.head
    flags = ACK
    if n > limit:
        n = limit
    elif c.fin_queued and c.w[SND_MAX] != c.w[SND_UNA] + n & _M:
        flags = ACK | FIN
    if n > c.tcp.copy_max:
        span = ring.size - (ring.head & ring.size - 1)
        if n > span:
            n = span
            flags = ACK
    if not segment(c, c.w[SND_UNA], n, flags, now):
        c.rexmit_one = True
        return False
    return True


def emit_probe(c, now):
    """A window probe: "at least one octet of new data", or the FIN (RFC 9293 3.8.6.1)."""
    ring = c.snd
    if ring.tail - ring.head:
        sent = segment(c, c.w[SND_UNA], 1, ACK, now)
    elif c.fin_queued:
        sent = segment(c, c.w[SND_UNA], 0, ACK | FIN, now)
    else:
        return
    if sent:
        # The probe has its own timer, and is sent again in the ordinary way.
        c.go_back()
        c.w[REXMIT_AT] = NEVER


def emit_keepalive(c, now):
    """RFC 9293 3.8.4: no data, SEG.SEQ = SND.NXT-1, which only an ACK can answer."""
    segment(c, c.w[SND_UNA] - 1 & _M, 0, ACK, now)


def ack_seq(c):
    """SEG.SEQ of a segment without data: the newest number that lies in the peer's window.

    RFC 9293 says SND.NXT, which here goes back after a timeout. The peer may have all up to
    SND.MAX, and would discard what lies below its RCV.NXT, the ACK field with it: two sides
    that send again at the same time would never hear each other. Beyond the window (a probe
    that was not taken, a window that shrank) it would not be heard either.
    """
    if c.w[SND_MAX] - c.w[SND_UNA] & _M > c.w[SND_WND] and c.state > SYN_RECEIVED:
        return c.w[SND_UNA] + c.w[SND_WND] & _M
    return c.w[SND_MAX]


def emit_ack(c, now):
    """An acknowledgment at once; if it cannot go, it waits on the ready list."""
    if not _emit_ack(c, now):
        c.w[ACK_NOW] = True
        if not c.ready:
            c.tcp.make_ready(c)


def _emit_ack(c, now):
    seq = ack_seq(c)
    if seq == c.w[SND_NXT]:
        return send(c, 0, ACK, now)
    return segment(c, seq, 0, ACK, now)


def emit_user_timeout(c, now):
    """An acknowledgment at once, which says our user timeout (usertimeout.py)."""
    if not segment(c, ack_seq(c), 0, ACK, now):
        c.ack_soon()


def emit_reset(c, now):
    """RFC 9293 3.10.5 (ABORT): <SEQ=SND.NXT><CTL=RST>, with the ACK that middleboxes expect."""
    segment(c, c.w[SND_MAX], 0, RST | ACK, now)
