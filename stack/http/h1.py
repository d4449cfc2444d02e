"""HTTP/1.1 on the wire, the client's side, without a socket. RFC 9112.

    build_request(...) -> bytes
    p = Response("GET")
    p.receive(data) | p.receive_eof()
    p.next_event() -> NEED_DATA | HEAD | DATA (p.data) | END

A long body need not pass through here: while `p.direct()` is nonzero, that many
bytes of what comes next are body, the caller may read them to where they belong
and then says `p.took(n)`. Anything that two readers could understand differently
(RFC 9112, section 11.2) raises ProtocolError, after which the machine stays
closed: bare CR or LF, folded lines, blanks before the colon, lengths that differ
or stand beside Transfer-Encoding, codings other than chunked.
Not implemented: the server's side, trailers kept, Upgrade, CONNECT.
"""

from micropython import const

from stack.core.errors import ProtocolError
from stack.http import scan
from stack.http.headers import Headers

NEED_DATA = const(0)
HEAD = const(1)
DATA = const(2)
END = const(3)

_HEAD_MAX = const(32768)  # status line and fields, or trailers, in bytes
_FIELDS_MAX = const(100)
_LINE_MAX = const(8192)
_CHUNK_LINE_MAX = const(256)  # a chunk's size and its extensions, which nobody uses
_INTERIM_MAX = const(8)  # 1xx responses before the real one
_DIGITS_MAX = const(15)  # 10^15 bytes are enough, and no int grows long

# States.
_HEADING = const(0)
_LENGTH = const(1)  # left more bytes
_CLOSE = const(2)  # until the connection ends
_CHUNK_SIZE = const(3)
_CHUNK = const(4)  # left more bytes of this chunk
_CHUNK_END = const(5)
_TRAILERS = const(6)
_DONE = const(7)
_FAILED = const(8)


def is_token(text):
    """RFC 9110, section 5.6.2. text: bytes or str."""
    return len(text) > 0 and scan.only(text, scan.TOKEN)


CHUNKED = const(-2)


def build_request(method, target, headers, body_len=-1):
    """The head of a request as bytes. ValueError if a part could end the line it is on.

    headers: pairs. body_len: -1 no body, CHUNKED, else what Content-Length says.
    """
    if not is_token(method):
        raise ValueError("bad method %r" % method)
    if not target or not scan.only(target, scan.VISIBLE):
        raise ValueError("bad request target %r" % target)
    out = [method, " ", target, " HTTP/1.1\r\n"]
    for name, value in headers:
        value = str(value)
        if not is_token(name):
            raise ValueError("bad header name %r" % name)
        # RFC 9110, section 5.5: CR, LF and NUL "are invalid and dangerous".
        if not scan.only(value, scan.VALUE):
            raise ValueError("control character in header %s" % name)
        if name.lower() in ("content-length", "transfer-encoding"):
            raise ValueError("%s is set from the body" % name)
        out.extend((name, ": ", value, "\r\n"))
    if body_len >= 0:
        out.append("Content-Length: %d\r\n" % body_len)
    elif body_len == CHUNKED:
        out.append("Transfer-Encoding: chunked\r\n")
    out.append("\r\n")
    return "".join(out).encode()


def chunk(data):
    """One chunk of a body; of nothing: the end of it. RFC 9112, section 7.1."""
    if not data:
        return b"0\r\n\r\n"
    return b"%x\r\n" % len(data) + data + b"\r\n"


class Response:
    """Reads one response to a request of `method`."""

    def __init__(self, method):
        self._method = method
        self._buf = bytearray()
        self._pos = 0  # bytes of _buf already understood
        self._scan = 0  # where to go on looking for a line's end
        self._eof = False
        self._state = _HEADING
        self._head_size = 0
        self._interim = 0
        self._left = 0
        self._fields = 0
        self.version = ""
        self.status = 0
        self.reason = ""
        self.headers = None
        self.length = -1  # of the body, where the head says it
        self.data = b""
        self._clear()

    def _clear(self):
        self._status_line = None
        self._list = []

    def receive(self, data):
        """Bytes from the connection."""
        if data:
            if self._pos:
                self._buf[: self._pos] = b""
                self._scan -= self._pos
                self._pos = 0
            self._buf.extend(data)

    def receive_eof(self):
        """The connection has ended."""
        self._eof = True

    def next_event(self):
        """What the bytes so far mean; call until NEED_DATA or END."""
        try:
            while True:
                event = self._step()
                if event >= 0:
                    return event
        except ProtocolError:
            self._state = _FAILED
            raise

    def direct(self):
        """How many of the bytes still to come are body, as they are: 0 none or not known."""
        if self._pos < len(self._buf):
            return 0
        if self._state == _LENGTH or self._state == _CHUNK:
            return self._left
        return 1 << 30 if self._state == _CLOSE else 0

    def took(self, n):
        """The caller read n bytes of body past us (n <= direct())."""
        if self._state != _CLOSE:
            self._left -= n

    def complete(self):
        return self._state == _DONE

    def left_over(self):
        """Bytes that came after the end of the response."""
        return bytes(self._buf[self._pos :])

    # One step: an event, or -1 to go on.

    def _step(self):
        s = self._state
        if s == _HEADING:
            return self._heading()
        if s == _LENGTH or s == _CHUNK:
            return self._body()
        if s == _CLOSE:
            if self._pos < len(self._buf):
                return self._take(len(self._buf) - self._pos)
            if not self._eof:
                return NEED_DATA
            self._state = _DONE
            return END
        if s == _DONE:
            return END
        if s == _FAILED:
            raise ProtocolError("http", "connection failed before")
        line = self._line(_LINE_MAX if s == _TRAILERS else _CHUNK_LINE_MAX)
        if line is None:
            return self._need()
        if s == _CHUNK_SIZE:
            self._chunk_size(line)
        elif s == _CHUNK_END:
            if line:
                raise ProtocolError("http", "chunk longer than it says")
            self._state = _CHUNK_SIZE
        elif line:
            # Trailers are checked as fields are, and dropped.
            self._check_size(line)
            self._field(line)
        else:
            self._state = _DONE
        return -1

    def _need(self):
        if self._eof:
            raise ProtocolError("http", "connection ended in the middle of a response")
        return NEED_DATA

    def _take(self, n):
        p = self._pos
        self.data = bytes(memoryview(self._buf)[p : p + n])
        self._pos = p + n
        return DATA

    def _body(self):
        if self._left:
            n = min(self._left, len(self._buf) - self._pos)
            if not n:
                return self._need()
            self._left -= n
            return self._take(n)
        self._state = _DONE if self._state == _LENGTH else _CHUNK_END
        return -1

    def _line(self, most):
        """The next line without its CRLF, or None when it has not all come."""
        buf = self._buf
        start = self._pos
        i = buf.find(b"\n", max(self._scan, start))
        end = len(buf) if i < 0 else i
        if end - start > most:
            raise ProtocolError("http", "line too long")
        if i < 0:
            self._scan = len(buf)
            return None
        line = bytes(buf[start : i + 1])
        # RFC 9112, section 2.2 lets a recipient take a bare LF; one that does reads
        # other messages than one that does not.
        if len(line) < 2 or line[-2] != 13 or line.find(b"\r") != len(line) - 2:
            raise ProtocolError("http", "line does not end with CRLF")
        self._pos = self._scan = i + 1
        return line[:-2]

    # The head.

    def _heading(self):
        line = self._line(_LINE_MAX)
        if line is None:
            if self._eof and self._status_line is None and self._pos == len(self._buf):
                raise ProtocolError("http", "connection ended without a response")
            return self._need()
        self._check_size(line)
        if self._status_line is None:
            self._status_line = line
            self._read_status(line)
            return -1
        if line:
            self._list.append(self._field(line))
            return -1
        return self._head_done()

    def _check_size(self, line):
        self._head_size += len(line) + 2
        if self._head_size > _HEAD_MAX:
            raise ProtocolError("http", "header fields too large")

    def _read_status(self, line):
        # HTTP-version SP status-code SP [ reason-phrase ]
        if (
            len(line) < 12
            or line[:7] != b"HTTP/1."
            or not line[7:8].isdigit()
            or line[8:9] != b" "
            or not line[9:12].isdigit()
            or line[12:13] not in (b"", b" ")
            or line[9] == 48
        ):
            raise ProtocolError("http", "not a status line of HTTP/1")
        self.version = "1.0" if line[7] == 48 else "1.1"
        self.status = int(line[9:12])
        self.reason = _text(line[13:])

    def _field(self, line):
        self._fields += 1
        if self._fields > _FIELDS_MAX:
            raise ProtocolError("http", "too many header fields")
        # RFC 9112, section 5.2: a folded line must be rejected or unfolded.
        if line[0] == 32 or line[0] == 9:
            raise ProtocolError("http", "folded header line")
        i = line.find(b":")
        # Section 5.1: "No whitespace is allowed between the field name and colon".
        if i < 1 or not is_token(line[:i]):
            raise ProtocolError("http", "bad header name")
        value = line[i + 1 :].strip(b" \t")
        if not scan.only(value, scan.VALUE):
            raise ProtocolError("http", "control character in a header")
        return str(line[:i], "ascii"), _text(value)

    def _head_done(self):
        fields = self._list
        self._clear()
        if 100 <= self.status < 200:
            self._interim += 1
            if self.status == 101 or self._interim > _INTERIM_MAX:
                raise ProtocolError("http", "unexpected interim response")
            self._head_size = self._fields = 0
            return -1
        self.headers = Headers(fields)
        self._frame_body()
        self._head_size = self._fields = 0
        return HEAD

    def _frame_body(self):
        """Where the body ends: RFC 9112, section 6.3, in its order."""
        h = self.headers
        codings = h.get_all("Transfer-Encoding")
        length = _content_length(h)
        if codings:
            # 6.1: a sender "MUST NOT send a Content-Length header field in any message
            # that contains a Transfer-Encoding": smuggling, or a broken server.
            if length >= 0 or "Content-Length" in h:
                raise ProtocolError("http", "both Transfer-Encoding and Content-Length")
            if self.version == "1.0":
                raise ProtocolError("http", "Transfer-Encoding in HTTP/1.0")
            if ", ".join(codings).lower() != "chunked":
                raise ProtocolError("http", "transfer coding other than chunked")
        if self._method == "HEAD" or self.status == 204 or self.status == 304:
            self._state = _DONE
        elif codings:
            self._state = _CHUNK_SIZE
        elif length >= 0:
            self.length = self._left = length
            self._state = _LENGTH
        else:
            self._state = _CLOSE

    def _chunk_size(self, line):
        """chunk-size [ chunk-ext ]: hexadecimal digits, then nothing or a semicolon."""
        n = scan.prefix(line, scan.HEX)
        # Blanks before the semicolon are bad whitespace (RFC 9110, section 5.6.3).
        rest = line[n:].lstrip(b" \t")
        if not 0 < n <= _DIGITS_MAX - 3 or (rest and rest[0] != 59) or (not rest and n < len(line)):
            raise ProtocolError("http", "bad chunk size")
        if not scan.only(rest, scan.VALUE):
            raise ProtocolError("http", "control character in a chunk extension")
        self._left = int(line[:n], 16)
        self._state = _CHUNK if self._left else _TRAILERS


def _content_length(h):
    """The length, or -1 without one. Equal repetitions are one (RFC 9112, section 6.3)."""
    length = -1
    for value in h.get_all("Content-Length"):
        for part in value.split(","):
            part = part.strip(" \t")
            if not 0 < len(part) <= _DIGITS_MAX or not all("0" <= c <= "9" for c in part):
                raise ProtocolError("http", "bad Content-Length")
            n = int(part)
            if length >= 0 and n != length:
                raise ProtocolError("http", "Content-Length values differ")
            length = n
    return length


def _text(data):
    """Bytes of a header as text: UTF-8, else byte by byte as Latin-1 (RFC 9110, section 5.5)."""
    try:
        return str(data, "utf-8")
    except (UnicodeError, ValueError):
        return "".join([chr(b) for b in data])
