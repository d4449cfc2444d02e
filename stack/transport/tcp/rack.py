"""RACK-TLP: what is lost is told by time. RFC 8985.

RACK (6): a segment is lost if one that was sent later has arrived, and a round trip and
a little more have passed since it left. "A little" (`_reo_wnd`) is nothing until
reordering is seen, and grows with each round in which the peer reports duplicates.

TLP (7): when acknowledgments stay away for two round trips, the last segment goes again
(or a new one), so that the peer's SACK shows a lost tail without a timeout.

One deadline, `c.w[TLP_AT]`, is the probe's while nothing is missing, else the reordering's.

Not implemented: 9.3's optional use of ACKs with RTT below the minimum to undo.
"""

from micropython import const

from stack.core import be
from stack.core.timers import NEVER
from stack.transport.tcp.block import (
    MIN_RTT_US,
    PROGRESS_AT,
    PTO_US,
    REXMIT_AT,
    SENT_AT,
    SND_MAX,
    SND_NXT,
    SND_UNA,
    SND_WND,
    SRTT_US,
    TLP_AT,
    TS_OFF,
)
from stack.transport.tcp.options import stamp_now

_M = const(0xFFFFFFFF)
_HALF = const(0x80000000)
# RFC 8985 7.2, TLP.max_ack_delay: how long the peer may hold back the ACK of a lone segment.
MAX_ACK_DELAY_US = const(200_000)
# "16 loss recoveries" until the reordering window shrinks again (6.2, step 4).
_REO_PERSIST = const(16)


def read_blocks(c, b, h, una0, now):
    """The SACK option of h into the board. True: it told of a duplicate (RFC 2883 4).

    una0: SND.UNA before this segment. A block that claims what was never sent is ignored.
    """
    buf = h.buf
    o = h.sack_off
    last = o + h.sack_len
    una = c.w[SND_UNA]
    out = c.w[SND_MAX] - una & _M
    dup = False
    first = o
    while o < last:
        lo = be.get32(buf, o)
        hi = be.get32(buf, o + 4)
        size = hi - lo & _M
        if o == first and 0 < size < _HALF:
            if una - hi & _M < _HALF:
                dup = True
            elif o + 8 < last:
                # "the first block is contained in the second": a duplicate above SND.UNA.
                lo2 = be.get32(buf, o + 8)
                size2 = be.get32(buf, o + 12) - lo2 & _M
                if lo - lo2 & _M <= size2 and hi - lo2 & _M <= size2 < _HALF:
                    dup = True
            if dup:
                # What the peer had twice was not lost: see recovery.spurious.
                if una0 - lo & _M < _HALF or size <= c.max_wnd:
                    b.retx_bytes -= size
                o += 8
                continue
        if 0 < size <= out and lo - una & _M < out and hi - una & _M <= out:
            b.sack(lo, hi, now)
        elif una - hi & _M >= _HALF:
            c.tcp.stats.count("tcp.sack_ignored")
        o += 8
    return dup


def update(c, b, dup):
    """6.2, steps 1, 2 and 4 for the acknowledgment that the board has taken."""
    if b.new_at:
        b.rtt = b.new_rtt
        if b.new_at > b.xmit_at or (
            b.new_at == b.xmit_at and 0 < b.new_end - b.xmit_end & _M < _HALF
        ):
            b.xmit_at = b.new_at
            b.xmit_end = b.new_end
    if b.dsack_round >= 0 and c.w[SND_UNA] - b.dsack_round & _M < _HALF:
        b.dsack_round = -1
    if dup and b.dsack_round < 0:
        b.dsack_round = c.w[SND_NXT]
        b.reo_mult += 1
        b.reo_persist = _REO_PERSIST


def recovered(b):
    """Step 4, "exiting Fast or RTO recovery"."""
    b.reo_persist -= 1
    if b.reo_persist <= 0:
        b.reo_mult = 1


def _reo_wnd(c, b):
    # DupThresh segments are SACKed, counted in bytes as RFC 6675's IsLost() does.
    if not b.reordering and (c.recovering or b.sacked > 2 * c.mss):
        return 0
    wnd = b.reo_mult * c.w[MIN_RTT_US] >> 2
    srtt = c.w[SRTT_US]
    return wnd if wnd < srtt else srtt


def detect(c, b, now):
    """RACK_detect_loss(): mark, and wait for what may be lost soon."""
    wait = b.find_lost(now, b.rtt + _reo_wnd(c, b))
    if wait:
        c.w[TLP_AT] = now + wait
        c.tcp.arm(c, c.w[TLP_AT])
    else:
        c.w[TLP_AT] = NEVER


def mark_on_timeout(c, b, now):
    """6.3: the first segment, and whatever has been out for a round trip."""
    b.mark_first(c.mss)
    b.find_old(now - b.rtt - _reo_wnd(c, b))


# -- tail loss probe


def arm_probe(c, now):
    """TLP_calc_PTO() without what on_probe_timer adds when the time has come."""
    c.w[TLP_AT] = at = now + c.w[PTO_US]
    if c.timer_index < 0 or at < c.timer_at:
        c.tcp.arm(c, at)


def probe_due(c, b, now):
    """True if two round trips have passed since something was sent or acknowledged (7.2, 7.3);
    else `tlp_at` is put where it belongs.
    """
    at = c.w[SENT_AT] if c.w[SENT_AT] > c.w[PROGRESS_AT] else c.w[PROGRESS_AT]
    at += c.w[PTO_US]
    if c.w[SND_NXT] - c.w[SND_UNA] & _M <= c.mss:
        at += MAX_ACK_DELAY_US
    # "If Now() + PTO > TCP_RTO_expiration(): PTO = TCP_RTO_expiration() - Now()".
    if at > c.w[REXMIT_AT]:
        at = c.w[REXMIT_AT]
    if now < at:
        c.w[TLP_AT] = at
        return False
    c.w[TLP_AT] = NEVER
    return b.tlp_end < 0 and c.w[SND_NXT] == c.w[SND_MAX] and c.w[SND_WND] > 0


def on_probe_answer(c, b, h, acked, dup, pure, now):
    """7.4.2, TLP_process_ack(). True: the probe repaired a loss, which has its price."""
    if c.w[SND_UNA] - b.tlp_end & _M >= _HALF:
        return False
    if not b.tlp_retx or dup:
        b.tlp_end = -1
    elif c.w[SND_UNA] != b.tlp_end:
        b.tlp_end = -1
        return True
    elif not acked and pure and not b.sacked:
        # Both copies have arrived.
        b.tlp_end = -1
    return False


def stamp_first(c, b, begin, now):
    """RFC 3522: remember the timestamp of the episode's first retransmission."""
    if b.undo and b.retx_stamp == -1 and begin == c.w[SND_UNA]:
        b.retx_stamp = stamp_now(c.w[TS_OFF], now)
