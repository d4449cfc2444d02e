"""A segment arrives at a connection: RFC 9293 3.10.7, in its order.

`on_segment` first tries what nearly every segment is, the next one in order in
ESTABLISHED (header prediction, fast.py); everything else goes through `_general`,
which follows the RFC's eight checks, and `_syn_sent`.

RFC 5961 (blind attacks): 3.2 RST, 4.2 SYN, 5.2 ACK.

RFC 7323 (timestamps): 4.3 which are echoed, 5.3 PAWS.

Not implemented: urgent pointers (the data is delivered in line, RFC 6093).
"""

from micropython import const

from stack.core import seq as sq
from stack.core.errors import ECONNREFUSED, ECONNRESET
from stack.core.timers import NEVER
from stack.transport.tcp import (
    duplicates,
    ecn,
    fast,
    options,
    output,
    recovery,
    segment,
    usertimeout,
)
from stack.transport.tcp.block import (
    ACKED_TO,
    DUPACKS,
    LAST_RX,
    MIN_RTT_US,
    PROGRESS_AT,
    RCV_ADV,
    RCV_NXT,
    REXMIT_AT,
    RTT_AT,
    RX_BYTES,
    SND_MAX,
    SND_NXT,
    SND_UNA,
    SND_WL1,
    SND_WND,
    SND_WSCALE,
    TIMING,
    TS_ON,
    TS_RECENT,
    say,
)
from stack.transport.tcp.options import PAWS_IDLE_US
from stack.transport.tcp.reassembly import Reassembly
from stack.transport.tcp.states import (
    CLOSE_WAIT,
    CLOSED,
    CLOSING,
    ESTABLISHED,
    FIN_WAIT_1,
    FIN_WAIT_2,
    LAST_ACK,
    SYN_RECEIVED,
    SYN_SENT,
)
from stack.transport.tcp.usertimeout import TELL
from stack.wire.tcp import ACK, CWR, ECE, FIN, HAS_SACK, HAS_TS, HAS_UTO, RST, SYN, URG

_M = const(0xFFFFFFFF)
_HALF = const(0x80000000)
# A segment of header prediction carries ACK of these, and PSH if it likes.
_PREDICT = FIN | SYN | RST | ACK | URG | ECE | CWR

# RFC 5961, 7: "no more than N challenge ACKs in any M second period", 10 in 5 s.
# By connection, since a count by host can be read by an attacker (CVE-2016-5696).
CHALLENGE_MAX = const(10)
CHALLENGE_WINDOW_US = const(5_000_000)


def on_segment(c, h, f, now):
    """Segment h with its payload f.buf[f.off:f.end] arrived for connection c."""
    if (
        c.state == ESTABLISHED
        and h.flags & _PREDICT == ACK
        and h.options == c.predicted
        and not (c.ecn and c.tcp.ce)
        and _predicted(c, h, f, now)
    ):
        c.tcp.lanes.candidate = c
    elif c.state == SYN_SENT:
        _syn_sent(c, h, f, now)
    elif c.state != CLOSED:
        _general(c, h, f, now)


def _predicted(c, h, f, now):
    """What the fast lane has found by itself, from a header that was parsed."""
    seg = c.tcp.lanes.seg
    say(
        seg, h.seq, h.ack, h.window, h.ts_val, h.ts_ecr, f.off, f.end - f.off,
        1 if h.options else 0,
    )  # fmt: skip
    return fast.receive(c, seg, f.buf, now)


def _on_window(c, h, now):
    """Take the peer's window if this segment is no older than the last that told it.

    RFC 9293: "If (SND.WL1 < SEG.SEQ or (SND.WL1 = SEG.SEQ and SND.WL2 =< SEG.ACK))".
    SND.WL2 =< SND.UNA always, and a caller has seen SND.UNA =< SEG.ACK, so WL2 is not kept.
    """
    if h.seq - c.w[SND_WL1] & _M < _HALF:
        c.w[SND_WL1] = h.seq
        wnd = h.window << c.w[SND_WSCALE]
        if wnd != c.w[SND_WND]:
            fast.new_window(c, wnd, now)
        if not c.ready and (c.snd.tail != c.snd.head or c.fin_queued):
            c.tcp.make_ready(c)


def _general(c, h, f, now):
    """RFC 9293 3.10.7.4, every state but CLOSED, LISTEN and SYN-SENT."""
    flags = h.flags
    n = f.end - f.off
    rel = sq.diff(h.seq, c.w[RCV_NXT])
    wnd = c.w[RCV_ADV] - c.w[RCV_NXT] & _M
    if wnd >= _HALF:
        wnd = 0
    if flags & SYN:
        if c.state == SYN_RECEIVED and h.seq == c.irs and flags & ACK:
            # The second half of a simultaneous open: its SYN was taken already.
            flags &= ~SYN
            rel = 0
        elif c.fast_listener is not None and h.seq == c.irs and not flags & (ACK | RST):
            # Its SYN again: our answer was lost.
            c.w[SND_NXT] = c.iss
            c.tcp.make_ready(c)
            return
        elif not flags & RST:
            # RFC 5961 4.2: "TCP endpoints MUST send an ACK (also referred to as
            # challenge ACK) to the remote peer", whatever the sequence number.
            _challenge(c, now)
            return

    if c.w[TS_ON] and not flags & RST:
        # RFC 7323 3.2: "If a non-<RST> segment is received without a TSopt, a TCP SHOULD
        # silently drop the segment."
        if not h.options & HAS_TS:
            c.tcp.stats.drop("tcp.no_timestamp")
            return
        # 5.3, R1: "If ... SEG.TSval < TS.Recent and if the RST bit is not set, then
        # treat the arriving segment as not acceptable".
        if h.ts_val - c.w[TS_RECENT] & _M >= _HALF and now - c.w[LAST_RX] < PAWS_IDLE_US:
            c.tcp.stats.drop("tcp.paws")
            if n:
                output.emit_ack(c, now)
            else:
                _challenge(c, now)
            return

    # First, check sequence number.
    length = n + (1 if flags & FIN else 0)
    must_ack = False
    if not _acceptable(rel, length, wnd):
        if rel or flags & RST:
            _unacceptable(c, h, rel, n, now)
            return
        # RCV.WND is zero and this is the next octet, a window probe. MUST-66:
        # "special allowance should be made to accept valid ACKs, URGs, and RSTs".
        n = 0
        flags &= ~FIN
        must_ack = True

    # Second, check the RST bit. RFC 5961 3.2: only the exact number resets.
    if flags & RST:
        if rel:
            _challenge(c, now)
        else:
            _reset(c, now)
        return
    c.w[LAST_RX] = now
    # RFC 7323 4.3, (2): "If SEG.TSval >= TS.Recent and SEG.SEQ <= Last.ACK.sent".
    if c.w[TS_ON] and c.w[ACKED_TO] - h.seq & _M < _HALF:
        c.w[TS_RECENT] = h.ts_val

    # Third (security) and fourth (SYN): done. Fifth, check the ACK field.
    if not flags & ACK or not _check_ack(c, h, n, flags, now):
        return

    if h.options & HAS_UTO and c.tcp.uto:
        usertimeout.heard(c, h.uto)

    # Sixth, the URG bit: the pointer is ignored, the octets are delivered in line.
    # Seventh, process the segment text; eighth, check the FIN bit.
    if n or flags & FIN:
        if n and c.ecn:
            ecn.on_data(c, flags)
        _on_text(c, f, rel, n, flags & FIN, wnd, now)
    if must_ack and c.state != CLOSED:
        output.emit_ack(c, now)


def _acceptable(rel, length, wnd):
    """RFC 9293 3.4, table 6: does any of it lie in the receive window?

    The table stops short of the edge. A peer that has filled the window and lost a part
    of it has no other number for its ACKs, so one without text may stand there.
    """
    if not length:
        return 0 <= rel <= wnd
    if not wnd:
        return False
    return 0 <= rel < wnd or 0 <= rel + length - 1 < wnd


def _unacceptable(c, h, rel, n, now):
    """"If an incoming segment is not acceptable, an acknowledgment should be sent in reply
    (unless the RST bit is set)".
    """
    c.tcp.stats.drop("tcp.outside_window")
    if h.flags & RST:
        return
    if n:
        # Data that we have: our acknowledgment was lost, and every one must be answered.
        if c.sack_ok and rel < 0:
            c.dup_seq = h.seq
            c.dup_len = n if n < -rel else -rel
        output.emit_ack(c, now)
    else:
        _challenge(c, now)


def _challenge(c, now):
    """<SEQ=SND.NXT><ACK=RCV.NXT><CTL=ACK>, within the limit of RFC 5961, 7."""
    if now - c.challenge_at >= CHALLENGE_WINDOW_US:
        c.challenge_at = now
        c.challenges = 0
    if c.challenges >= CHALLENGE_MAX:
        c.tcp.stats.drop("tcp.challenge_limit")
        return
    c.challenges += 1
    c.tcp.stats.count("tcp.challenge_acks")
    output.emit_ack(c, now)


def _reset(c, now):
    if c.state == SYN_RECEIVED:
        c.fail(ECONNREFUSED, now, "RST")
    elif c.state == CLOSING or c.state == LAST_ACK:
        # Both sides have said all they had: this is an end, not an error.
        c.fail(0, now, "RST")
    else:
        c.fail(ECONNRESET, now, "RST")


def _check_ack(c, h, n, flags, now):
    """The ACK field. False: drop the rest of the segment."""
    una = c.w[SND_UNA]
    acked = h.ack - una & _M
    out = c.w[SND_MAX] - una & _M
    if c.state == SYN_RECEIVED:
        if not 0 < acked <= out:
            # "form a reset segment <SEQ=SEG.ACK><CTL=RST> and send it".
            c.tcp.reset_reply(c.path, h, n, now)
            return False
        c.w[SND_WL1] = h.seq
        _handshake_done(c, h, now)
        c.w[SND_WND] = c.max_wnd = h.window << c.w[SND_WSCALE]
        if c.uto & TELL:
            output.emit_user_timeout(c, now)
        return True
    if acked > out:
        # RFC 5961 5.2: "((SND.UNA - MAX.SND.WND) =< SEG.ACK =< SND.NXT). All incoming
        # segments whose ACK value doesn't satisfy the above condition MUST be discarded
        # and an ACK sent back."
        old = una - h.ack & _M
        if old > c.max_wnd or old >= _HALF:
            _challenge(c, now)
            return False
        return True  # an old duplicate: its ACK is ignored, its data is not
    same = h.window << c.w[SND_WSCALE] == c.w[SND_WND]
    _on_window(c, h, now)
    if flags & ECE and c.ecn:
        ecn.on_echo(c, h.ack, c.w[SND_NXT] - una & _M, now)
    if c.board is not None and (c.w[DUPACKS] or h.options & HAS_SACK):
        _on_sack(c, h, acked, same and not n and not flags & FIN, now)
        if acked and c.fin_acked:
            return _on_fin_acked(c, now)
    elif acked:
        fast.on_acked(c, acked, h.ts_ecr, now)
        if c.fin_acked:
            return _on_fin_acked(c, now)
    elif c.sack_ok:
        pass
    elif same and not n and not flags & FIN and c.w[SND_NXT] != una:
        duplicates.on_duplicate(c, now)
    elif c.w[DUPACKS] and not c.recovering and not same:
        c.w[DUPACKS] = 0
        c.inflate = 0
    return True


def _on_sack(c, h, acked, pure, now):
    """The ACK field with a scoreboard that is in use, or is going to be."""
    b = c.board
    una = c.w[SND_UNA]
    flight = c.w[SND_NXT] - una & _M
    b.begin_ack(una, not c.w[DUPACKS], c.w[MIN_RTT_US])
    c.w[DUPACKS] = 1
    if acked:
        b.acked(una + acked & _M, now)
        fast.on_acked(c, acked, h.ts_ecr, now)
    recovery.on_ack(c, h, una, acked, flight, pure, now)


def _on_fin_acked(c, now):
    """Our FIN is acknowledged. False: the connection is gone."""
    if c.state == FIN_WAIT_1:
        c.set_state(FIN_WAIT_2, "ACK of FIN")
        if c.orphan:
            c.await_fin(now)
    elif c.state == CLOSING:
        c.enter_time_wait(now, "ACK of FIN")
        return False
    elif c.state == LAST_ACK:
        c.fail(0, now, "ACK of FIN")
        return False
    return True


def _handshake_done(c, h, now):
    """SEG.ACK acknowledges our SYN."""
    # With Fast Open the SYN had data: what is not acknowledged goes again.
    c.snd.head += h.ack - c.iss - 1 & _M
    c.w[SND_UNA] = c.w[SND_NXT] = h.ack
    c.w[PROGRESS_AT] = now
    c.soft_error = 0
    c.w[REXMIT_AT] = NEVER
    if c.w[TIMING]:
        c.w[TIMING] = False
        c.rtt.sample(now - c.w[RTT_AT])
    elif c.syn_lost:
        c.rtt.syn_was_lost()
        # RFC 5681, 3.1: "if the SYN or SYN/ACK is lost, the initial window used by a
        # sender after a correctly transmitted SYN MUST be one segment".
        c.cc.cwnd = c.mss
    if c.fin_queued:
        c.set_state(ESTABLISHED, "ACK of SYN")
        c.set_state(FIN_WAIT_1, "closed before it was open")
    else:
        c.set_state(ESTABLISHED, "ACK of SYN")
    c.on_established(now)


def _on_text(c, f, rel, n, fin, wnd, now):
    """The segment text and FIN: rel is SEG.SEQ - RCV.NXT, the text may overlap what we have."""
    if c.state != ESTABLISHED and c.state != FIN_WAIT_1 and c.state != FIN_WAIT_2:
        # "This should not occur since a FIN has been received": ignore the text. A FIN
        # again means that our ACK was lost.
        output.emit_ack(c, now)
        return
    off = f.off
    if rel < 0:
        if n and c.sack_ok:
            c.dup_seq = c.w[RCV_NXT] + rel & _M
            c.dup_len = n if n < -rel else -rel
            c.ack_soon()
        off -= rel
        n += rel
        rel = 0
        if n < 0:
            n = 0
    if c.orphan and n:
        # RFC 9293 3.6.1: "if new data is received after CLOSE is called, its TCP
        # implementation SHOULD send a RST to show that data was lost" (SHLD-3).
        output.emit_reset(c, now)
        c.fail(0, now, "data after close")
        return
    if rel + n > wnd:
        n = wnd - rel
        fin = 0
    elif fin and rel + n >= wnd:
        fin = 0
    if rel == 0:
        _in_order(c, f, off, n, fin, now)
    else:
        _early(c, f, off, rel, n, fin, now)


def _in_order(c, f, off, n, fin, now):
    if c.rcv_fin >= 0 and c.rcv.tail + n > c.rcv_fin:
        n = c.rcv_fin - c.rcv.tail  # the end is known: nothing lies behind it
    f.off = off
    if n:
        before = c.w[RCV_NXT]
        ooo = c.ooo
        fast.on_next(c, f.buf, f.off, n, now)
        if c.w[RCV_NXT] - before & _M < n:
            fin = 0  # no memory for all of it
        elif ooo is not None:
            moved = ooo.advance()
            c.w[RCV_NXT] = c.w[RCV_NXT] + moved & _M
            c.w[RX_BYTES] += moved
            if not ooo.n and c.rcv_fin < 0:
                c.ooo = None
            # RFC 5681, 4.2: "SHOULD send an immediate ACK when it receives a data
            # segment that fills in all or part of a gap".
            c.ack_soon()
    else:
        c.ack_soon()
    if fin or (c.rcv_fin >= 0 and c.rcv.tail == c.rcv_fin):
        _on_fin(c, now)


def _early(c, f, off, rel, n, fin, now):
    """Text beyond RCV.NXT is kept; the duplicate ACK goes at once (RFC 5681, 4.2)."""
    if c.ooo is None:
        if c.spare_ooo is None:
            c.spare_ooo = Reassembly(c.rcv)
        c.ooo = c.spare_ooo
        c.ooo.clear()
    pos = c.rcv.tail + rel
    if n:
        if c.rcv_fin >= 0 and pos + n > c.rcv_fin:
            c.tcp.stats.drop("tcp.beyond_fin")
            n = fin = 0
        elif c.ooo.add(pos, f.buf, off, n):
            c.ooo_segments += 1
            if c.ooo.dup_len and c.sack_ok:
                c.dup_seq = c.w[RCV_NXT] + c.ooo.dup_pos - c.rcv.tail & _M
                c.dup_len = c.ooo.dup_len
        else:
            c.tcp.stats.drop("tcp.ooo_full")
            fin = 0
    if fin and c.rcv_fin < 0 and c.ooo.end() <= pos + n:
        c.rcv_fin = pos + n
    if not c.ooo.n and c.rcv_fin < 0:
        c.ooo = None
    output.emit_ack(c, now)


def _on_fin(c, now):
    """Eighth: the FIN is the next octet. RFC 9293 figure 5 by state."""
    c.w[RCV_NXT] = c.w[RCV_NXT] + 1 & _M
    c.rcv_fin = -1
    c.ooo = None
    c.eof_seen = True
    if c.state == ESTABLISHED:
        c.set_state(CLOSE_WAIT, "FIN")
        c.ack_soon()
    elif c.state == FIN_WAIT_1:
        # Had our FIN been acknowledged, the state would be FIN-WAIT-2 by now.
        c.set_state(CLOSING, "FIN")
        c.ack_soon()
    elif c.state == FIN_WAIT_2:
        output.emit_ack(c, now)
        c.enter_time_wait(now, "FIN")
    if c.waker is not None:
        c.waker.wake(c)


def _syn_sent(c, h, f, now):
    """RFC 9293 3.10.7.3."""
    flags = h.flags
    acked = 0
    if flags & ACK:
        acked = h.ack - c.w[SND_UNA] & _M
        # "If SEG.ACK =< ISS or SEG.ACK > SND.NXT, send a reset (unless the RST bit is set ...)
        # <SEQ=SEG.ACK><CTL=RST> and discard the segment."
        if not 0 < acked <= c.w[SND_MAX] - c.w[SND_UNA] & _M:
            if not flags & RST:
                c.tcp.reset_reply(c.path, h, f.end - f.off, now)
            return
    if flags & RST:
        # "If the ACK was acceptable, then signal to the user 'error: connection reset'".
        if acked:
            c.fail(ECONNREFUSED, now, "RST")
        else:
            c.tcp.stats.drop("tcp.rst_without_ack")
        return
    if not flags & SYN:
        c.tcp.stats.drop("tcp.no_syn")
        return
    c.w[LAST_RX] = now
    c.irs = h.seq
    c.w[RCV_NXT] = h.seq + 1 & _M
    c.w[ACKED_TO] = c.w[RCV_NXT]
    # What a SYN promised was from its RCV.NXT; now the number is known.
    segment.syn_window(c)
    c.on_syn_options(h)
    if c.fast:
        c.tcp.fast_open.learn(c.remote_addr, h, options.peer_mss(h, c.remote_addr))
    # RFC 7323 2.2: "The window field in a segment where the SYN bit is set ... MUST NOT be scaled".
    c.w[SND_WND] = c.max_wnd = h.window
    c.w[SND_WL1] = h.seq
    if acked:
        _handshake_done(c, h, now)
        if c.uto & TELL:
            output.emit_user_timeout(c, now)
        else:
            c.ack_soon()
        n = f.end - f.off
        if n or flags & FIN:
            _on_text(c, f, 0, n, flags & FIN, c.w[RCV_ADV] - c.w[RCV_NXT] & _M, now)
    else:
        # Simultaneous open: "enter SYN-RECEIVED, form a SYN,ACK segment and send it".
        # What it carries besides comes again.
        c.set_state(SYN_RECEIVED, "SYN")
        c.w[SND_NXT] = c.iss
        c.w[TIMING] = False
        c.w[REXMIT_AT] = NEVER
        c.tcp.make_ready(c)
