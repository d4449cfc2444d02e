"""HyStart++: slow start that ends before the queue overflows. RFC 9406.

A round of slow start whose shortest round trip is longer than the last one's by RttThresh
means that a queue builds: growth goes on at a quarter (CSS) for five rounds, then
congestion avoidance begins; or, if the round trip falls again, it was nothing.

Round trips are measured by timestamps, in milliseconds: RttThresh lies between 4 and 16.

Not implemented: L = 8 for senders that do not pace (4.3): growth is by bytes acknowledged,
see congestion.py.
"""

from micropython import const

_M = const(0xFFFFFFFF)
_HALF = const(0x80000000)
_NEVER = const(1 << 30)
# 4.3
_MIN_RTT_THRESH = const(4)
_MAX_RTT_THRESH = const(16)
_MIN_RTT_DIVISOR = const(8)
_N_RTT_SAMPLE = const(8)
_CSS_GROWTH_SHIFT = const(2)  # CSS_GROWTH_DIVISOR 4
_CSS_ROUNDS = const(5)


class HyStart:
    __slots__ = ("_end", "_last_min", "_min", "_samples", "_css", "_base", "_on")

    def __init__(self):
        self.restart()

    def restart(self):
        self._on = True
        self._end = -1
        self._last_min = self._min = _NEVER
        self._samples = 0
        self._css = -1  # rounds left of conservative slow start, -1: not in it
        self._base = 0  # cssBaselineMinRtt

    def stop(self):
        """Slow start of a connection is over: later ones begin from a known ssthresh (4.3)."""
        self._on = False
        self._css = -1

    def growth(self, acked):
        """What an acknowledgment of `acked` bytes adds to cwnd."""
        return acked if self._css < 0 else acked >> _CSS_GROWTH_SHIFT

    def on_sample(self, una, nxt, rtt_ms):
        """A measurement with the ACK that moved SND.UNA to una. True: leave slow start."""
        if not self._on:
            return False
        if self._end < 0 or una - self._end & _M < _HALF:
            # "windowEnd": a round ends, the next begins.
            if self._end >= 0:
                self._last_min = self._min
                if self._css >= 0:
                    self._css -= 1
                    if self._css < 0:
                        self.stop()
                        return True
            self._end = nxt
            self._min = _NEVER
            self._samples = 0
        if rtt_ms < self._min:
            self._min = rtt_ms
        self._samples += 1
        if self._samples < _N_RTT_SAMPLE:
            return False
        if self._css >= 0:
            # "if (currentRoundMinRTT < cssBaselineMinRtt) ... resume slow start".
            if self._min < self._base:
                self._css = -1
            return False
        last = self._last_min
        if last < _NEVER:
            thresh = last // _MIN_RTT_DIVISOR
            if thresh < _MIN_RTT_THRESH:
                thresh = _MIN_RTT_THRESH
            elif thresh > _MAX_RTT_THRESH:
                thresh = _MAX_RTT_THRESH
            if self._min >= last + thresh:
                self._base = self._min
                self._css = _CSS_ROUNDS
        return False
