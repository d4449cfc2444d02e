"""Round-trip time and retransmission timeout: RFC 6298. All times in microseconds.

One measurement at a time, never of a retransmitted segment (Karn's algorithm,
RFC 6298 section 3); the caller sees to that.
"""

from micropython import const

from stack.transport.tcp.block import (
    BACKOFF,
    MAX_RTO_US,
    PTO_US,
    RTO_US,
    SRTT_US,
    sample,
)

# RFC 6298 (2.1): "the sender SHOULD set RTO <- 1 second".
INITIAL_RTO_US = const(1_000_000)
# (5.7): after a SYN had to be sent again, "the RTO MUST be re-initialized to 3 seconds".
SYN_LOST_RTO_US = const(3_000_000)


class Rtt:
    """SRTT_US is 0 while nothing is measured; BACKOFF says how often the timer has doubled since
    new data was acknowledged.
    """

    __slots__ = ("w",)

    def __init__(self, w):
        """w: a block.make(), where the estimate is kept."""
        self.w = w
        w[RTO_US] = w[PTO_US] = INITIAL_RTO_US

    def sample(self, r_us):
        """Take one measurement R (RFC 6298, 2.2 and 2.3)."""
        sample(self.w, r_us)

    def timeout_us(self):
        """The timeout to use now: RTO, doubled by each expiry (5.5), at most 60 s."""
        t = self.w[RTO_US] << self.w[BACKOFF]
        return t if t < MAX_RTO_US else MAX_RTO_US

    def expired(self):
        """(5.5): "The host MUST set RTO <- RTO * 2 ("back off the timer")"."""
        if self.w[BACKOFF] < 9:  # 200 ms << 9 is beyond the maximum of 60 s
            self.w[BACKOFF] += 1

    def syn_was_lost(self):
        """(5.7), when the handshake is over and its SYN was sent more than once."""
        self.w[BACKOFF] = 0
        if not self.w[SRTT_US]:
            self.w[RTO_US] = SYN_LOST_RTO_US
