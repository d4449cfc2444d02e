"""Fast retransmit and fast recovery with a peer that has no SACK (with one: recovery.py).

RFC 5681 3.2 (three duplicate acknowledgments), RFC 6582 (NewReno: partial
acknowledgments), RFC 3042 (limited transmit), RFC 5827 (early retransmit for
small windows). How much may be sent is congestion.py's.

`c.inflate` is what RFC 5681 adds to cwnd for segments that have left the
network; it is kept beside cwnd and may become negative (partial deflation).

Not implemented: F-RTO without SACK (RFC 5682, 2), undo of a spurious retransmission.
"""

from micropython import const

from stack.core import seq
from stack.transport.tcp.block import BACKOFF, DUPACKS, SND_MAX, SND_NXT, SND_UNA, SND_WND, TIMING

_M = const(0xFFFFFFFF)
_HALF = const(0x80000000)
DUP_THRESH = const(3)


def on_duplicate(c, now):
    """An acknowledgment that acknowledges nothing new while data is out (RFC 5681, 2)."""
    c.w[DUPACKS] += 1
    if c.recovering:
        # RFC 6582 step 4: "For each additional duplicate ACK ... cwnd MUST be
        # incremented by SMSS": one more segment has left the network.
        c.inflate += c.mss
    else:
        flight = c.w[SND_NXT] - c.w[SND_UNA] & _M
        if c.w[DUPACKS] >= _threshold(c, flight) and seq.lt(c.recover, c.w[SND_UNA]):
            c.recovering = True
            c.recover = c.w[SND_MAX]
            # RFC 5681, 3.2 step 2: "additional data sent in limited transmit MUST NOT be
            # included in this calculation": it is what is out beyond cwnd.
            c.cc.on_loss(flight if flight < c.cc.cwnd else c.cc.cwnd, now)
            # Step 3: "cwnd is set to ssthresh plus 3*SMSS".
            c.inflate = c.w[DUPACKS] * c.mss
            c.rexmit_one = True
            c.w[TIMING] = False
        elif c.w[DUPACKS] < DUP_THRESH:
            # RFC 3042: the first two each let one new segment out.
            c.inflate = c.w[DUPACKS] * c.mss
        else:
            c.inflate = 0
    if not c.ready:
        c.tcp.make_ready(c)


def _threshold(c, flight):
    """Three, or fewer if there are not enough segments out to bring three.

    RFC 5827, 2.1: if "there is either no unsent data ready for transmission at the sender,
    or the advertised receive window does not permit new segments to be transmitted".
    """
    if flight < 4 * c.mss and (c.snd.tail - c.snd.head <= flight or c.w[SND_WND] - flight < c.mss):
        n = (flight + c.mss - 1) // c.mss - 1
        # A lone segment has none behind it to bring a duplicate: that ACK is a copy.
        return n if n else DUP_THRESH
    return DUP_THRESH


def on_advance(c, acked, flight, now):
    """SND.UNA has moved by `acked`. flight: what was out before."""
    if not c.recovering:
        c.w[DUPACKS] = 0
        c.inflate = 0
        c.cc.on_ack(acked, flight, now)
        return
    if seq.le(c.recover, c.w[SND_UNA]):
        # RFC 6582 step 3, "Full acknowledgments".
        c.recovering = False
        c.w[DUPACKS] = 0
        c.inflate = 0
        c.cc.on_recovered(c.w[SND_NXT] - c.w[SND_UNA] & _M, now)
        # What comes next was sent once, so its duplicates mean a loss again.
        c.recover = c.w[SND_UNA] - 1 & _M
        return
    # "Partial acknowledgments: ... retransmit the first unacknowledged segment.
    # Deflate the congestion window by the amount of new data acknowledged ... If
    # the partial ACK acknowledges at least one SMSS of new data, then add back SMSS".
    c.inflate -= acked
    if acked >= c.mss:
        c.inflate += c.mss
    c.rexmit_one = True


def on_timeout(c, now):
    """The retransmission timer expired: all that is out counts as lost, from SND.UNA on."""
    flight = c.w[SND_NXT] - c.w[SND_UNA] & _M
    if not c.w[BACKOFF]:
        c.cc.on_timeout(flight, now)
    else:
        # RFC 5681, 3.1: ssthresh is held when the same segment is sent once more.
        c.cc.cwnd = c.mss
    c.recovering = False
    c.rexmit_one = False
    c.w[DUPACKS] = 0
    c.inflate = 0
    c.w[TIMING] = False
    # RFC 6582 step 6: duplicates of what is sent again must not look like losses.
    c.recover = c.w[SND_MAX]
    c.w[SND_NXT] = c.w[SND_UNA]
