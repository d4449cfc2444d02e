"""Flow control of HTTP/2, the receiving side: what a peer may send. RFC 9113, section 5.2.

A stream's window is small at first, and doubles while its reader keeps up and the
peer uses all of it, out of what the connection has over. The connection's window is
the sum of what all streams may hold unread, so a slow reader's bytes never stand in a
quick one's way:

    connection = streams * stream's first window + GROWTH

and that sum is the most that unread bodies take in memory.
Not implemented: estimating the bandwidth-delay product; the doubling finds it.
"""

from micropython import const

GROWTH = const(1 << 20)
STREAM_MAX = const(1 << 19)


class Window:
    """`credit` what the peer may still send, `owed` what was read and not yet given back."""

    __slots__ = ("size", "credit", "owed")

    def __init__(self, size):
        self.size = self.credit = size
        self.owed = 0

    def received(self, n):
        """n bytes came. False: more than was allowed."""
        self.credit -= n
        return self.credit >= 0

    def consumed(self, n):
        """n bytes are read. The increment to announce now, or 0."""
        self.owed += n
        if self.owed * 2 < self.size:
            return 0
        n = self.owed
        self.owed = 0
        self.credit += n
        return n
