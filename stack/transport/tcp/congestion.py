"""Congestion control: how much may be in flight. RFC 5681, 6928; NewReno.

An object with these methods can take NewReno's place (CUBIC will): it knows
bytes and times, nothing of segments, sequence numbers or timers. What was lost
is found in recovery.py.

    cwnd ssthresh                      bytes
    on_ack(acked, flight, now)         new data was acknowledged, outside recovery
    on_loss(flight, now)               a segment was found lost: a new recovery begins
    on_recovered(flight, now)          that recovery is over
    on_timeout(flight, now)            the retransmission timer expired (first time)
    on_idle(now)                       nothing was sent for longer than an RTO

Counting: growth is by bytes acknowledged. In slow start the whole of an
acknowledgment counts (RFC 3465 would take L = 2 segments; one acknowledgment
here stands for a 64 KB segment that the device cut, as in Linux).

Not implemented: CUBIC (RFC 9438), PRR (RFC 6937), ECN (RFC 3168).
"""

from micropython import const

# RFC 6928: "min (10*MSS, max (2*MSS, 14600))".
_IW_SEGMENTS = const(10)
_IW_BYTES = const(14600)
_MAX_CWND = const(1 << 30)  # beyond any receive window (65,535 << 14)
INFINITE = const(1 << 30)


class NewReno:
    __slots__ = ("cwnd", "ssthresh", "mss", "initial_window", "_acked")

    name = "newreno"

    def __init__(self, mss, segments=0):
        """segments: the initial window in segments; 0: RFC 6928's ten. 1 is the
        classic slow start from one segment (RFC 2001).
        """
        self.mss = mss
        self.initial_window = initial_window(mss, segments)
        self.cwnd = self.initial_window
        # RFC 5681: "The initial value of ssthresh SHOULD be set arbitrarily high".
        self.ssthresh = INFINITE
        self._acked = 0

    def set_mss(self, mss, segments=0):
        """The peer's MSS became known, or the path's MTU fell."""
        if self.cwnd == self.initial_window:
            self.cwnd = initial_window(mss, segments)
        self.mss = mss
        self.initial_window = initial_window(mss, segments)

    def on_ack(self, acked, flight, now):
        """flight: bytes that were in flight before this acknowledgment."""
        cwnd = self.cwnd
        # A window that is not being used proves nothing (RFC 7661, 4.3): no growth.
        if flight << 1 < cwnd or cwnd >= _MAX_CWND:
            return
        if cwnd < self.ssthresh:
            cwnd += acked
            if cwnd > self.ssthresh:
                acked = cwnd - self.ssthresh
                cwnd = self.ssthresh
                self._acked += acked
        else:
            # RFC 5681, 3.1: a full-sized segment each round trip, counted in bytes.
            acked += self._acked
            mss = self.mss
            while acked >= cwnd:
                acked -= cwnd
                cwnd += mss
            self._acked = acked
        self.cwnd = cwnd

    def on_loss(self, flight, now):
        """RFC 5681 equation (4): "ssthresh = max (FlightSize / 2, 2*SMSS)"."""
        half = flight >> 1
        least = 2 * self.mss
        self.ssthresh = half if half > least else least
        self.cwnd = self.ssthresh
        self._acked = 0

    def on_recovered(self, flight, now):
        """RFC 6582, 3.2 step 3, option (1): "min (ssthresh, max(FlightSize, SMSS) + SMSS)"."""
        if flight < self.mss:
            flight = self.mss
        flight += self.mss
        self.cwnd = flight if flight < self.ssthresh else self.ssthresh

    def on_timeout(self, flight, now):
        """RFC 5681, 3.1: "cwnd MUST be set to no more than the loss window, LW, which
        equals 1 full-sized segment".
        """
        self.on_loss(flight, now)
        self.cwnd = self.mss

    def on_idle(self, now):
        """RFC 5681, 4.1: "cwnd SHOULD be set to no more than RW = min(IW,cwnd)"."""
        if self.cwnd > self.initial_window:
            self.cwnd = self.initial_window
        self._acked = 0


def initial_window(mss, segments):
    """RFC 6928, or the given number of segments."""
    if segments:
        return segments * mss
    n = _IW_SEGMENTS * mss
    least = 2 * mss
    most = least if least > _IW_BYTES else _IW_BYTES
    return n if n < most else most
