"""What `next_event()` gives, and what a handshake asks of its connection."""

from micropython import const


class HandshakeDone:
    """Data may flow. The connection's attributes tell what was agreed."""


class Data:
    """Bytes buf[off:off+n] of the peer; good until the next call of next_event or receive.

    early: they came before the handshake was done, and may be a replay.
    """

    __slots__ = ("buf", "off", "n", "early")

    def tobytes(self):
        return bytes(self.buf[self.off : self.off + self.n])


class TicketReceived:
    """A session that can be resumed; it is in the configuration's `sessions` already."""

    __slots__ = ("session",)

    def __init__(self, session):
        self.session = session


class KeyUpdated:
    """The peer changed its key."""


class PeerClosed:
    """close_notify: nothing more comes, and all that was sent came."""


# What a handshake generator yields: (one of these, ...), carried out in order, so that a key
# change has its place among the messages.
SEND = const(1)  # raw message
SEND_CCS = const(2)
SEND_EARLY = const(3)  # application data
WRITE_KEY = const(4)  # suite, secret: of all that is sent from here on
READ_KEY = const(5)  # suite, secret: of all that comes from here on
EXPECT = const(6)  # types of message; the yield gives the raw message
SKIP_EARLY = const(7)  # bytes of early data that may come and cannot be read
TAKE_EARLY = const(8)  # bytes of early data that may come and are given as events; 0: no more
LIMITS = const(9)  # largest TLSInnerPlaintext that we take, that the peer takes
