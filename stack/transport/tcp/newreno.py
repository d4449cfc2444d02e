"""NewReno's window: RFC 5681 3.1, RFC 6582 3.2; and what every algorithm has of it.

Not implemented: appropriate byte counting's limit L (RFC 3465), see congestion.py.
"""

from stack.transport.tcp.congestion import INFINITE, MAX_CWND, initial_window


class NewReno:
    __slots__ = (
        "cwnd", "ssthresh", "mss", "initial_window", "rtt", "_acked", "_prior_cwnd",
        "_prior_ssthresh",
    )  # fmt: skip

    name = "newreno"

    def __init__(self, mss, segments=0, rtt=None):
        """segments: the initial window in segments; 0: RFC 6928's ten. 1 is the
        classic slow start from one segment (RFC 2001). rtt: the connection's Rtt.
        """
        self.mss = mss
        self.rtt = rtt
        self.initial_window = initial_window(mss, segments)
        self.cwnd = self._prior_cwnd = self.initial_window
        # RFC 5681: "The initial value of ssthresh SHOULD be set arbitrarily high".
        self.ssthresh = self._prior_ssthresh = INFINITE
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
        if flight << 1 < cwnd or cwnd >= MAX_CWND:
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
        self._reduce(flight >> 1)

    def _reduce(self, to):
        self._prior_cwnd = self.cwnd
        self._prior_ssthresh = self.ssthresh
        least = 2 * self.mss
        self.ssthresh = self.cwnd = to if to > least else least
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

    def on_round(self, una, nxt, rtt_ms):
        pass

    def undo(self, now):
        """RFC 4015 3.2, with the window that was."""
        if self._prior_cwnd > self.cwnd:
            self.cwnd = self._prior_cwnd
        if self._prior_ssthresh > self.ssthresh:
            self.ssthresh = self._prior_ssthresh
