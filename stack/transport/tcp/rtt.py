"""Round-trip time and retransmission timeout: RFC 6298. All times in microseconds.

One measurement at a time, never of a retransmitted segment (Karn's algorithm,
RFC 6298 section 3); the caller sees to that.
"""

from micropython import const

# RFC 6298 (2.1): "the sender SHOULD set RTO <- 1 second".
INITIAL_RTO_US = const(1_000_000)
# RFC 6298 (2.4) asks for 1 s; 200 ms is what Linux, the BSDs and every peer
# that we meet use, and what keeps a lost tail from costing a second.
MIN_RTO_US = const(200_000)
# (2.5): "A maximum value MAY be placed on RTO provided it is at least 60 seconds."
MAX_RTO_US = const(60_000_000)
# (5.7): after a SYN had to be sent again, "the RTO MUST be re-initialized to 3 seconds".
SYN_LOST_RTO_US = const(3_000_000)
_GRANULARITY_US = const(1_000)
# RFC 8985 7.2: "PTO = 2 * SRTT", and here what a busy emulator may take to be scheduled
# (Linux adds two of its ticks for the same reason).
_PROBE_FLOOR_US = const(10_000)


class Rtt:
    __slots__ = ("srtt_us", "rttvar_us", "rto_us", "min_us", "pto_us", "backoff")

    def __init__(self):
        self.srtt_us = 0  # 0: nothing measured yet
        self.rttvar_us = 0
        self.rto_us = INITIAL_RTO_US
        self.min_us = 0
        self.pto_us = INITIAL_RTO_US
        self.backoff = 0  # how often the timer has doubled since new data was acknowledged

    def sample(self, r_us):
        """Take one measurement R (RFC 6298, 2.2 and 2.3)."""
        if r_us < 1:
            r_us = 1
        srtt = self.srtt_us
        if not srtt:
            self.srtt_us = srtt = r_us
            self.rttvar_us = var = r_us >> 1
            self.min_us = r_us
        else:
            d = srtt - r_us
            if d < 0:
                d = -d
            # RTTVAR <- 3/4 RTTVAR + 1/4 |SRTT - R|; SRTT <- 7/8 SRTT + 1/8 R
            self.rttvar_us = var = (3 * self.rttvar_us + d) >> 2
            self.srtt_us = srtt = (7 * srtt + r_us) >> 3
            if r_us < self.min_us:
                self.min_us = r_us
        var <<= 2
        rto = srtt + (var if var > _GRANULARITY_US else _GRANULARITY_US)
        if rto < MIN_RTO_US:
            rto = MIN_RTO_US
        elif rto > MAX_RTO_US:
            rto = MAX_RTO_US
        self.rto_us = rto
        self.pto_us = (srtt << 1) + _PROBE_FLOOR_US
        self.backoff = 0

    def stamped(self, ms):
        """RFC 7323 4, RTTM: a measurement by timestamps, of which a retransmission is no
        reason to doubt. Its clock is coarse.
        """
        if ms < 120_000:
            self.sample(ms * 1000 if ms else 1000)

    def timeout_us(self):
        """The timeout to use now: RTO, doubled by each expiry (5.5), at most 60 s."""
        t = self.rto_us << self.backoff
        return t if t < MAX_RTO_US else MAX_RTO_US

    def expired(self):
        """(5.5): "The host MUST set RTO <- RTO * 2 ("back off the timer")"."""
        if self.backoff < 9:  # 200 ms << 9 is beyond the maximum of 60 s
            self.backoff += 1

    def syn_was_lost(self):
        """(5.7), when the handshake is over and its SYN was sent more than once."""
        self.backoff = 0
        if not self.srtt_us:
            self.rto_us = SYN_LOST_RTO_US
