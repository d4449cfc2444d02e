"""Server-sent events: the text format of the HTML standard, section 9.2, both ways.

    p = Parser(); p.receive(data); p.next_event() -> Event(type, data, id) or None; p.retry_ms
    format(data, event=None, id=None, retry=None) -> str

An event of more than MAX characters raises ProtocolError.
Not implemented: nothing of the format is missing.
"""

from micropython import const

from stack.core.errors import ProtocolError
from stack.http.headers import text

MAX = const(1 << 20)
TYPE = "text/event-stream"
_BOM = b"\xef\xbb\xbf"


class Event:
    def __init__(self, type, data, id):
        self.type = type
        self.data = data
        self.id = id

    def __repr__(self):
        return "<Event %s %r>" % (self.type, self.data)


class Parser:
    def __init__(self):
        self._buf = b""
        self._first = True
        self._cr = False
        self._type = ""
        self._data = []
        self._size = 0
        self._events = []
        self.last_id = ""
        self.retry_ms = -1

    def receive(self, data):
        """Bytes of the stream, cut anywhere."""
        buf = self._buf + bytes(data)
        at = 0
        if self._first:
            if len(buf) < 3 and _BOM.startswith(buf):
                self._buf = buf
                return
            self._first = False
            if buf[:3] == _BOM:
                at = 3
        while True:
            # Lines end with LF, CR, or both.
            if self._cr and at < len(buf):
                self._cr = False
                if buf[at] == 10:
                    at += 1
            i = buf.find(b"\n", at)
            j = buf.find(b"\r", at, i if i >= 0 else len(buf))
            if j >= 0:
                i = j
            if i < 0:
                break
            self._line(buf[at:i])
            self._cr = buf[i] == 13
            at = i + 1
        self._buf = buf[at:]
        if len(self._buf) + self._size > MAX:
            raise ProtocolError("sse", "event too long")

    def next_event(self):
        return self._events.pop(0) if self._events else None

    def _line(self, line):
        if not line:
            if self._data:
                data = "\n".join(self._data)
                self._events.append(Event(self._type or "message", data, self.last_id))
            self._type = ""
            self._data = []
            self._size = 0
            return
        name, _, value = text(line).partition(":")
        if value[:1] == " ":
            value = value[1:]
        if name == "data":
            self._size += len(value)
            self._data.append(value)
        elif name == "event":
            self._type = value
        elif name == "id" and "\0" not in value:
            self.last_id = value
        elif name == "retry" and value.isdigit() and len(value) < 10:
            self.retry_ms = int(value)


def format(data, event=None, id=None, retry=None):
    """One event as text."""
    out = []
    for name, value in (("event", event), ("id", id), ("retry", retry)):
        if value is not None:
            value = str(value)
            if "\n" in value or "\r" in value:
                raise ValueError("line end in %s" % name)
            out.append("%s: %s\n" % (name, value))
    for line in data.replace("\r\n", "\n").replace("\r", "\n").split("\n"):
        out.append("data: %s\n" % line)
    out.append("\n")
    return "".join(out)
