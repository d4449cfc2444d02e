"""Congestion control: how much may be in flight. RFC 5681, 6928; which algorithms there are.

An algorithm is an object with these methods. It knows bytes and times, nothing of
segments, sequence numbers or timers. What was lost is found in recovery.py (duplicates.py
without SACK).

    cwnd ssthresh                      bytes
    on_ack(acked, flight, now)         new data was acknowledged, outside recovery
    on_loss(flight, now)               a loss or a mark of congestion: a new recovery begins
    on_recovered(flight, now)          that recovery is over (without SACK)
    on_timeout(flight, now)            the retransmission timer expired (first time)
    on_idle(now)                       nothing was sent for longer than an RTO
    on_round(una, nxt, rtt_ms)         slow start: a round trip measured (HyStart++)
    undo(now)                          the last on_loss or on_timeout was a mistake
    set_mss(mss, segments)

Counting: growth is by bytes acknowledged. In slow start the whole of an
acknowledgment counts (RFC 3465 would take L = 2 segments; one acknowledgment
here stands for a 64 KB segment that the device cut, as in Linux).
"""

from micropython import const

# RFC 6928: "min (10*MSS, max (2*MSS, 14600))".
_IW_SEGMENTS = const(10)
_IW_BYTES = const(14600)
MAX_CWND = const(1 << 30)  # beyond any receive window (65,535 << 14)
INFINITE = const(1 << 30)
ALGORITHMS = ("cubic", "newreno", "reno")


def initial_window(mss, segments):
    """RFC 6928, or the given number of segments."""
    if segments:
        return segments * mss
    n = _IW_SEGMENTS * mss
    least = 2 * mss
    most = least if least > _IW_BYTES else _IW_BYTES
    return n if n < most else most


def algorithm(name):
    """The class of that name: "cubic" or "newreno" ("reno" as Linux calls it). ValueError."""
    if name == "cubic":
        from stack.transport.tcp.cubic import Cubic

        return Cubic
    if name == "newreno" or name == "reno":
        from stack.transport.tcp.newreno import NewReno

        return NewReno
    raise ValueError("congestion control: %s" % name)
