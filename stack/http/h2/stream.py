"""One stream of HTTP/2: its states in one table. RFC 9113, section 5.1.

                    SEND  SEND  SEND  SEND  RECV  RECV  RECV  RECV  RECV
                    HDRS  DATA  END   RST   HDRS  DATA  END   RST   WINDOW
    idle            open  -     -     -     open  P     P     P     P
    open            =     =     local clsd  =     =     rmt   clsd  =
    half-closed
      (local)       -     -     -     clsd  =     =     clsd  clsd  =
      (remote)      =     =     clsd  clsd  C     C     C     clsd  =
    closed          -     -     -     i     C     C     C     i     i

"-" our own mistake (ValueError), P the peer's, of the whole connection, C the error
STREAM_CLOSED, i ignored. Not implemented: the reserved states; pushing is refused.
"""

from micropython import const

from stack.http.h2.flow import Window

IDLE = const(0)
OPEN = const(1)
HALF_LOCAL = const(2)
HALF_REMOTE = const(3)
CLOSED = const(4)
NAMES = ("idle", "open", "half-closed (local)", "half-closed (remote)", "closed")

SEND_HEADERS = const(0)
SEND_DATA = const(1)
SEND_END = const(2)
SEND_RST = const(3)
RECV_HEADERS = const(4)
RECV_DATA = const(5)
RECV_END = const(6)
RECV_RST = const(7)
RECV_WINDOW = const(8)

# What is not a state.
MISTAKE = const(-1)
PEER = const(-2)
IS_CLOSED = const(-3)
IGNORE = const(-4)

TABLE = (
    (OPEN, MISTAKE, MISTAKE, MISTAKE, OPEN, PEER, PEER, PEER, PEER),
    (OPEN, OPEN, HALF_LOCAL, CLOSED, OPEN, OPEN, HALF_REMOTE, CLOSED, OPEN),
    (MISTAKE, MISTAKE, MISTAKE, CLOSED, HALF_LOCAL, HALF_LOCAL, CLOSED, CLOSED, HALF_LOCAL),
    (HALF_REMOTE, HALF_REMOTE, CLOSED, CLOSED, IS_CLOSED, IS_CLOSED, IS_CLOSED, CLOSED,
     HALF_REMOTE),
    (MISTAKE, MISTAKE, MISTAKE, IGNORE, IS_CLOSED, IS_CLOSED, IS_CLOSED, IGNORE, IGNORE),
)  # fmt: skip


class Stream:
    """What a connection knows of one stream. `user` is the caller's own."""

    __slots__ = (
        "id", "state", "window", "send_window", "out", "out_end", "trailers", "waiting", "queued",
        "unread", "expected", "received", "head", "tunnel", "bodiless", "urgency", "incremental",
        "user",
    )  # fmt: skip

    def __init__(self, id, recv_window, send_window):
        self.id = id
        self.state = IDLE
        self.window = Window(recv_window)
        self.send_window = send_window
        self.out = None  # bytes that wait for their turn or for credit
        self.out_end = False
        self.trailers = None
        self.waiting = False  # a send was cut short: tell when there is room
        self.queued = False  # in the connection's list of those with something to send
        self.unread = 0
        self.expected = -1  # content-length, -1 without
        self.received = 0
        self.head = False  # the head of the message (not a 1xx) was received
        self.tunnel = False  # CONNECT: bytes both ways
        self.bodiless = False  # a response to HEAD
        self.urgency = 3  # RFC 9218, section 4.1
        self.incremental = False
        self.user = None

    def step(self, what):
        """The table's answer; a state is taken on."""
        new = TABLE[self.state][what]
        if new >= 0:
            self.state = new
        elif new == MISTAKE:
            raise ValueError("stream %d is %s" % (self.id, NAMES[self.state]))
        return new

    def pending(self):
        """Bytes that wait to be sent."""
        return len(self.out) if self.out is not None else 0
