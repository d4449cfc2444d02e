"""CUBIC: RFC 9438, with the slow start of HyStart++, RFC 9406.

All in integers, since a float is an object: times in 1/1024 s, windows in bytes, W_est and
what is left of an increase in 1/256 byte. With a window of 2^30, a segment of 2^16 and a
time cut at 256 s nothing goes beyond the 62 bits of a small int.

Not implemented: 4.10's suggestion of a beta of its own for ECN (RFC 8511).
"""

from micropython import const

from stack.transport.tcp.block import SRTT_US
from stack.transport.tcp.congestion import INFINITE, MAX_CWND
from stack.transport.tcp.hystart import HyStart
from stack.transport.tcp.newreno import NewReno

# 4.6: beta_cubic is 0.7; 5: C is 0.4, in segments a cubic second.
_BETA = const(717)  # of 1024
# 4.3: alpha_cubic = 3 * (1 - beta) / (1 + beta) = 0.529, of 1024
_ALPHA = const(542)
_T_MAX = const(1 << 18)


class Cubic(NewReno):
    __slots__ = ("hystart", "_w_max", "_k", "_began", "_w_est", "_rest", "_saved")

    name = "cubic"

    def __init__(self, mss, segments=0, rtt=None):
        NewReno.__init__(self, mss, segments, rtt)
        self.hystart = HyStart()
        self._w_max = 0  # bytes
        self._k = 0  # 1/1024 s
        self._began = -1  # of this epoch of congestion avoidance, us; -1: not yet
        self._w_est = 0  # 1/256 byte
        self._rest = 0  # 1/256 byte
        self._saved = 0  # W_max before the last reduction

    def on_ack(self, acked, flight, now):
        cwnd = self.cwnd
        if flight << 1 < cwnd or cwnd >= MAX_CWND:
            return
        if cwnd < self.ssthresh:
            acked = self.hystart.growth(acked)
            cwnd += acked
            if cwnd <= self.ssthresh:
                self.cwnd = cwnd
                return
            acked = cwnd - self.ssthresh
            cwnd = self.ssthresh
        if self._began < 0:
            self._begin(cwnd, now)
        # 4.2: "target = W_cubic(t + RTT)", kept in [cwnd, 1.5 * cwnd].
        rtt = self.rtt
        t = now - self._began
        target = self._w_cubic(t + (rtt.w[SRTT_US] if rtt is not None else 0))
        # 4.3: W_est = W_est + alpha_cubic * segments_acked / cwnd
        self._w_est = est = self._w_est + (self._alpha() * acked >> 2) * self.mss // cwnd
        if self._w_cubic(t) < est >> 8:
            # The Reno-friendly region: "cwnd SHOULD be set to W_est".
            if est >> 8 > cwnd:
                cwnd = est >> 8
        else:
            if target > cwnd + (cwnd >> 1):
                target = cwnd + (cwnd >> 1)
            if target > cwnd:
                # 4.4, 4.5: "cwnd MUST be incremented by (target - cwnd) / cwnd for each
                # received new ACK", here for each segment that it acknowledges.
                n = (target - cwnd) * acked * 256 // cwnd + self._rest
                cwnd += n >> 8
                self._rest = n & 255
        self.cwnd = cwnd

    def _alpha(self):
        # 4.3: "Once W_est reaches the cwnd at the time of setting ssthresh, alpha is 1".
        return _ALPHA if self._w_est >> 8 < self._prior_cwnd else 1024

    def _begin(self, cwnd, now):
        """4.2: the beginning of an epoch: K = cubic_root((W_max - cwnd_epoch) / C)."""
        self._began = now
        self._w_est = cwnd << 8
        self._rest = 0
        if cwnd < self._w_max:
            self._k = cube_root((self._w_max - cwnd) * 5 // (2 * self.mss) << 30)
        else:
            # 4.8: after slow start without a W_max: "K to 0 and W_max = cwnd".
            self._k = 0
            self._w_max = cwnd

    def _w_cubic(self, t_us):
        """C * (t - K)^3 + W_max, in bytes; t in us."""
        d = (t_us << 10) // 1_000_000 - self._k
        if d > _T_MAX:
            d = _T_MAX
        elif d < -_T_MAX:
            d = -_T_MAX
        # d^3 in 1/1024 cubic seconds, then 0.4 segments for each.
        w = self._w_max + (((d * d >> 10) * d >> 10) * self.mss * 2 // 5 >> 10)
        return w if w < MAX_CWND else MAX_CWND

    def on_loss(self, flight, now):
        """4.6: ssthresh = flight_size * beta_cubic; 4.7: fast convergence."""
        cwnd = self.cwnd
        self._saved = self._w_max
        self._reduce(flight * _BETA >> 10)
        if cwnd < self._w_max:
            # "W_max <- cwnd * (1 + beta_cubic) / 2": leave room for those who came later.
            self._w_max = cwnd * (1024 + _BETA) >> 11
        else:
            self._w_max = cwnd
        self._began = -1
        self.hystart.stop()

    def on_idle(self, now):
        """4.2: time in which nothing was sent is not counted."""
        NewReno.on_idle(self, now)
        self._began = -1

    def on_round(self, una, nxt, rtt_ms):
        """In slow start: a measurement of the round trip (RFC 9406 4.2)."""
        if self.hystart.on_sample(una, nxt, rtt_ms):
            self.ssthresh = self.cwnd

    def undo(self, now):
        """4.9: "restore the original values"."""
        NewReno.undo(self, now)
        if self.ssthresh == INFINITE:
            self.hystart.restart()
        self._w_max = self._saved
        self._began = -1


def cube_root(x):
    """The integer part, bit by bit from 2^18 down: for x below 2^57."""
    r = 0
    bit = 1 << 18
    while bit:
        n = r | bit
        if n * n * n <= x:
            r = n
        bit >>= 1
    return r
