"""What holds for a TCP connection at every moment: looked at by the scripts, the simulated
network and the fuzzer after each step. RFC 9293 3.3.1, 3.4; RFC 6298 5; RFC 6675.
"""

from stack.core.timers import NEVER
from stack.transport.tcp.block import (
    ACKED_TO,
    BACKOFF,
    DUPACKS,
    RCV_ADV,
    RCV_NXT,
    REXMIT_AT,
    SND_MAX,
    SND_NXT,
    SND_UNA,
)
from stack.transport.tcp.sack import LOST, MAX_RANGES, SACKED
from stack.transport.tcp.states import CLOSED, ESTABLISHED, SYN_RECEIVED, TIME_WAIT

_M = 0xFFFFFFFF
_HALF = 1 << 31


def check(c):
    """AssertionError, with what is wrong and what the connection says of itself, if not."""
    why = problem(c)
    assert why is None, (why, c.info())


def problem(c):
    """What is wrong with connection c, or None."""
    tcp = c.tcp
    una, nxt, high = c.w[SND_UNA], c.w[SND_NXT], c.w[SND_MAX]
    if (nxt - una) & _M >= _HALF:
        return "snd_una <= snd_nxt"
    if (high - nxt) & _M >= _HALF:
        return "snd_nxt <= snd_max"
    if not c.snd.tail - c.snd.head <= c.snd.limit <= tcp.snd_max:
        return "the send ring within its maximum"
    if not c.rcv.tail - c.rcv.head <= c.rcv.limit <= tcp.rcv_max:
        return "the receive ring within its maximum"
    if c.state in (CLOSED, TIME_WAIT):
        return None
    if c.state >= ESTABLISHED:
        # The FIN is one more, and a probe of a shut window is of the ring.
        if (high - una) & _M > c.snd.tail - c.snd.head + (1 if c.fin_queued else 0):
            return "nothing is out that the ring does not hold"
        if c.cc.cwnd < c.mss:
            return "cwnd holds a segment"
        if c.mss < 1 or c.gso < c.mss:
            return "segments have a size"
        if una != high and c.w[REXMIT_AT] >= NEVER and c.persist_at >= NEVER and not c.ready:
            return "what is out has a timer (RFC 6298 5.1)"
        if c.ooo is not None:
            r = c.ooo.ranges
            if len(r) > 64 or (r and r[0] <= c.rcv.tail):
                return "early data lies beyond what is in order"
            for i in range(1, len(r)):
                if r[i - 1] >= r[i]:
                    return "early ranges are in order and apart"
            if c.ooo.end() > c.rcv.tail + ((c.w[RCV_ADV] - c.w[RCV_NXT]) & _M):
                return "early data lies in the window"
    if c.cc.cwnd < 1 or c.cc.ssthresh < 2:
        return "a window"
    if not 0 <= c.w[BACKOFF] <= 9:
        return "the backoff is bounded"
    at = c.poll_at()
    if at < NEVER and c.state > SYN_RECEIVED and (c.timer_index < 0 or c.timer_at > at):
        return "the timer is set for the next deadline"
    if (c.w[ACKED_TO] - c.w[RCV_NXT]) & _M > 0 and (c.w[RCV_NXT] - c.w[ACKED_TO]) & _M >= _HALF:
        return "no more is acknowledged than has come"
    return _board(c)


def _board(c):
    b = c.board
    if b is None:
        return None
    if not 0 <= b.first <= b.n <= MAX_RANGES or len(b.end) != MAX_RANGES:
        return "the scoreboard is bounded"
    sacked = lost = 0
    at = b.start
    for i in range(b.first, b.n):
        n = (b.end[i] - at) & _M
        if not 0 < n < _HALF:
            return "ranges touch and are not empty"
        flag = b.flag[i]
        if flag & SACKED and flag & LOST:
            return "what the peer has is not lost"
        if flag & SACKED:
            sacked += n
        elif flag & LOST:
            lost += n
        at = b.end[i]
    if (b.sacked, b.lost) != (sacked, lost):
        return "the scoreboard's sums"
    if b.first < b.n and at != c.w[SND_NXT]:
        return "the scoreboard ends at snd_nxt"
    if c.w[DUPACKS]:
        if b.first < b.n and b.start != c.w[SND_UNA]:
            return "the scoreboard begins at snd_una"
        if c.inflate != sacked + lost:
            return "what has left the pipe"
    elif sacked or lost:
        return "header prediction is off while something is missing"
    return None
