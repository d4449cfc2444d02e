"""What comes out of a connection of HTTP/2. Each Event has its kind, and what the kind names."""

from micropython import const

REQUEST = const(1)  # fields, end
RESPONSE = const(2)  # fields, end
INTERIM = const(3)  # fields: a 1xx
DATA = const(4)  # data, end
TRAILERS = const(5)  # fields; the end
RESET = const(6)  # code; `data` says why, where it was we who reset
WRITABLE = const(7)  # a send that was cut short may go on
PONG = const(8)  # data
GOAWAY = const(9)  # code; no new streams
SETTINGS = const(10)  # the peer's have come
NAMES = (
    "", "REQUEST", "RESPONSE", "INTERIM", "DATA", "TRAILERS", "RESET", "WRITABLE", "PONG",
    "GOAWAY", "SETTINGS",
)  # fmt: skip


class Event:
    __slots__ = ("kind", "stream", "fields", "data", "code", "end")

    def __init__(self, kind, stream=None, fields=None, data=b"", code=0, end=False):
        self.kind = kind
        self.stream = stream
        self.fields = fields
        self.data = data
        self.code = code
        self.end = end

    def __repr__(self):
        s = self.stream.id if self.stream is not None else 0
        return "<%s %d %r %r %d %s>" % (
            NAMES[self.kind], s, self.fields, self.data, self.code, self.end,
        )  # fmt: skip
