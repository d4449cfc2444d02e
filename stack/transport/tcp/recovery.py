"""Loss recovery with SACK: what an episode costs, how it goes on, when it was a mistake.

    RACK (rack.py) marks ranges lost      -> RECOVERY: one reduction, PRR paces it (RFC 6937)
    the retransmission timer expires      -> LOSS: from one segment (RFC 5681)
    SND.UNA reaches what was out          -> over
    it turns out that nothing was lost    -> as if it had not been: RFC 3522, 4015 (Eifel) by
                                             timestamps, RFC 5682 (F-RTO) without, and by
                                             duplicates that the peer reports (RFC 2883, 3708)

The pipe is RFC 6675's: what is out less what is SACKed or lost. `c.inflate` is those two,
so that cwnd + inflate bounds SND.NXT - SND.UNA. `c.w[DUPACKS]` is 1 while anything is
missing, which turns header prediction off.

Not implemented: RFC 6675's rescue retransmission (a probe does that, RFC 8985 7).
"""

from micropython import const

from stack.core import seq
from stack.core.timers import NEVER
from stack.transport.tcp import ecn, rack
from stack.transport.tcp.block import (
    BACKOFF,
    DUPACKS,
    SND_MAX,
    SND_NXT,
    SND_UNA,
    TIMING,
    TLP_AT,
    TS_ON,
)
from stack.wire.tcp import HAS_SACK

_M = const(0xFFFFFFFF)
_HALF = const(0x80000000)

# c.recovering
RECOVERY = const(1)
LOSS = const(2)


def on_ack(c, h, una0, acked, flight, pure, now):
    """An acknowledgment while something is missing, or one with SACK blocks.

    una0, flight: SND.UNA and what was out before it; `acked` octets are off the ring
    already. pure: it carried no data and moved no window.
    """
    b = c.board
    dup = bool(h.options & HAS_SACK) and rack.read_blocks(c, b, h, una0, now)
    if b.tlp_end >= 0 and rack.on_probe_answer(c, b, h, acked, dup, pure, now):
        if not c.recovering:
            c.cc.on_loss(flight, now)
    if b.undo and _spurious(c, b, h, acked, dup):
        _undo(c, b, now)
    lost = b.lost
    if b.delivered or dup:
        rack.update(c, b, dup)
    if b.sacked or lost or c.recovering:
        rack.detect(c, b, now)
    elif c.w[SND_UNA] != c.w[SND_MAX] and c.w[TLP_AT] == NEVER and b.tlp_end < 0:
        rack.arm_probe(c, now)
    if c.recovering:
        if seq.le(c.recover, c.w[SND_UNA]):
            _exit(c, b)
        elif c.recovering == RECOVERY:
            _reduce(c, b, acked, b.lost > lost)
        else:
            c.cc.on_ack(b.delivered, flight, now)
    elif not b.lost and acked:
        c.cc.on_ack(acked, flight, now)
    if not c.recovering and b.lost:
        _enter(c, b, flight, now)
    _settle(c, b)


def on_reorder_timer(c, b, now):
    """What was sent before something that has arrived has had its time (RFC 8985 6.2, step 5)."""
    lost = b.lost
    rack.detect(c, b, now)
    if b.lost > lost:
        if not c.recovering:
            b.begin_ack(c.w[SND_UNA], False, 0)
            _enter(c, b, c.w[SND_NXT] - c.w[SND_UNA] & _M, now)
        _settle(c, b)


def on_timeout(c, now):
    """The retransmission timer expired (RFC 6298 5.4; RFC 8985 6.3)."""
    b = c.board
    flight = c.w[SND_NXT] - c.w[SND_UNA] & _M
    b.begin_ack(c.w[SND_UNA], not c.w[DUPACKS], 0)
    if b.n and b.flag[b.first] & 1:
        # The first octet was SACKed and is not acknowledged: it was dropped again (RFC 2018, 8).
        b.renege()
        c.tcp.stats.count("tcp.reneged")
    if not c.w[BACKOFF]:
        c.cc.on_timeout(flight if flight < c.cc.cwnd else c.cc.cwnd, now)
        if c.recovering != LOSS:
            _begin_undo(b, 2)
        if c.ecn:
            ecn.reduced(c)
    else:
        # RFC 5681, 3.1: ssthresh is held when the same segment is sent once more.
        c.cc.cwnd = c.mss
    rack.mark_on_timeout(c, b, now)
    c.recovering = LOSS
    c.recover = b.high = c.w[SND_MAX]
    c.rexmit_one = True
    c.w[TIMING] = False
    c.w[TLP_AT] = NEVER
    b.tlp_end = -1
    _settle(c, b)


def _settle(c, b):
    """What follows for the rest of the connection."""
    c.inflate = b.sacked + b.lost
    c.w[DUPACKS] = 1 if c.inflate or c.recovering or b.tlp_end >= 0 else 0
    if not c.ready:
        c.tcp.make_ready(c)


def _enter(c, b, flight, now):
    """RFC 6675 5, (4.1) to (4.4); RFC 6937 3."""
    c.recovering = RECOVERY
    c.recover = b.high = c.w[SND_MAX]
    if ecn.may_reduce(c):
        cwnd = c.cc.cwnd
        c.cc.on_loss(flight if flight < cwnd else cwnd, now)
        _begin_undo(b, 1)
        if c.ecn:
            ecn.reduced(c)
    else:
        b.undo = 0
    b.prr_delivered = b.prr_out = 0
    b.recover_fs = flight or 1
    # "(4.3) Retransmit the first data segment presumed dropped", whatever the window says.
    c.rexmit_one = True
    c.w[TIMING] = False
    _reduce(c, b, 0, True)


def _reduce(c, b, acked, newly_lost):
    """RFC 6937 3.1, on every acknowledgment in recovery: sndcnt, as a cwnd.

    The bound: "PRR-SSRB" while acknowledgments make progress and no more is found lost,
    else "PRR-CRB", so that a long queue's loss does not go out at twice its rate.
    """
    b.prr_delivered += b.delivered
    pipe = (c.w[SND_NXT] - c.w[SND_UNA] & _M) - b.sacked - b.lost
    ssthresh = c.cc.ssthresh
    if pipe > ssthresh:
        # CEIL(prr_delivered * ssthresh / RecoverFS) - prr_out
        n = (b.prr_delivered * ssthresh + b.recover_fs - 1) // b.recover_fs - b.prr_out
    else:
        n = b.prr_delivered - b.prr_out
        if acked and not newly_lost:
            if n < b.delivered:
                n = b.delivered
            n += c.mss
        if n > ssthresh - pipe:
            n = ssthresh - pipe
    mss = c.mss
    if n < 0:
        n = 0
    if c.rexmit_one and n < mss:
        n = mss
    n += pipe
    c.cc.cwnd = n if n > mss else mss


def _exit(c, b):
    """RFC 6937: "cwnd = ssthresh"; after a timeout slow start goes on by itself."""
    if c.recovering == RECOVERY:
        c.cc.cwnd = c.cc.ssthresh
    c.recovering = 0
    c.rexmit_one = False
    rack.recovered(b)


# -- episodes that were a mistake


def _begin_undo(b, kind):
    b.undo = kind
    b.retx_stamp = -1
    b.retx_bytes = 0


def sent_again(c, b, begin, n, now):
    """n octets from `begin` went out again."""
    b.retx_bytes += n
    if c.recovering:
        b.prr_out += n
        if c.w[TS_ON]:
            rack.stamp_first(c, b, begin, now)


def _spurious(c, b, h, acked, dup):
    """True if what this episode sent again had arrived the first time."""
    if dup and b.retx_bytes <= 0 and c.retransmits:
        # RFC 3708: "all of the retransmitted segments" were reported as duplicates.
        return True
    if not acked or not c.recovering:
        return False
    stamp = b.retx_stamp
    if c.w[TS_ON]:
        if stamp < 0:
            return False
        # RFC 3522 3.2 (4): TSecr smaller than RetransmitTS: it answers the first copy.
        early = h.ts_ecr != 0 and h.ts_ecr - stamp & _M >= _HALF
    else:
        # RFC 5682 3.1, 3.b: "the ACK acknowledges data that was not retransmitted after the
        # RTO". As in Linux the first ACK that moves SND.UNA tells.
        early = b.undo == 2 and b.original and stamp != -2
    b.retx_stamp = -2
    return early


def _undo(c, b, now):
    c.cc.undo(now)
    b.undo = 0
    b.tlp_end = -1
    if c.recovering:
        c.recovering = 0
        c.rexmit_one = False
        b.forgive()
    c.w[BACKOFF] = 0
    c.tcp.stats.count("tcp.spurious")
