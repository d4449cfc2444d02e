"""HTTP/1.1 on the wire, read by a client or a server, without a socket. RFC 9112.

    p = Response("GET")         p = Request()
    p.receive(data) | p.receive_eof()
    p.next_event() -> NEED_DATA | INTERIM | HEAD | DATA (p.data) | END
    p.again()                   the next message on the same connection, after END

Both: `version headers length trailers keep_alive`. A Response: `status reason`, and
`switched`: another protocol's bytes follow (101, or 2xx to CONNECT; `left_over()`).
A Request: `method target expect_continue upgrade`.

A long body need not pass through here: while `p.direct()` is nonzero, that many
bytes of what comes next are body, the caller may read them to where they belong
and then says `p.took(n)`. Anything that two readers could understand differently
(RFC 9112, section 11.2) raises ProtocolError, after which the machine stays
closed: bare CR or LF, folded lines, blanks before the colon, lengths that differ
or stand beside Transfer-Encoding, codings other than chunked, two Hosts.
Not implemented: transfer codings other than chunked, obs-fold (both refused).
"""

from micropython import const

from stack.core.errors import ProtocolError
from stack.http import scan
from stack.http.h1write import CHUNKED, build_request, build_response, chunk, is_token  # noqa: F401
from stack.http.headers import Headers, shared, text

NEED_DATA = const(0)
HEAD = const(1)
DATA = const(2)
END = const(3)
INTERIM = const(4)

_HEAD_MAX = const(32768)  # start line and fields, or trailers, in bytes
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

# Heads of requests without a body that came before: 64 of 1,024 bytes at most, of all
# connections. A head is read in one look-up if it came before, byte for byte: (method, target,
# version, tuple of fields, keep_alive, upgrade). Not of CONNECT.
_MEMO_MAX = const(64)
_MEMO_HEAD = const(1024)
memo = {}


class Reader:
    """What both directions have in common: lines, fields, bodies."""

    def __init__(self):
        self._buf = bytearray()
        self._pos = 0  # bytes of _buf already understood
        self._scan = 0  # where to go on looking for a line's end
        self._eof = False
        self.data = b""
        self._begin()

    def _begin(self):
        self._state = _HEADING
        self._head_size = 0
        self._fields = 0
        self._left = 0
        self._start = None
        self._list = []
        self.version = ""
        self.headers = None
        self.trailers = None
        self.length = -1  # of the body, where the head says it
        self.keep_alive = False

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

    def has_data(self):
        """Whether bytes wait that nobody has looked at."""
        return self._pos < len(self._buf)

    def left_over(self):
        """Bytes that came after the end of the message."""
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
            self._check_size(line)
            self._list.append(self._field(line))
        else:
            if self._list:
                self.trailers = Headers(self._list)
            self._state = _DONE
        return -1

    def _need(self):
        if self._eof:
            raise ProtocolError("http", "connection ended in the middle of a message")
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
            raise self._too_long("line too long")
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
        while True:
            line = self._line(_LINE_MAX)
            if line is None:
                if self._eof and self._start is None and self._pos == len(self._buf):
                    return self._nothing()
                return self._need()
            self._check_size(line)
            if self._start is None:
                if line or not self._may_skip():
                    self._start = line
                    self._start_line(line)
            elif line:
                self._list.append(self._field(line))
            else:
                break
        fields = self._list
        self._list = []
        self._start = None
        event = self._head_done(Headers(fields))
        self._head_size = self._fields = 0
        return event

    def _may_skip(self):
        return False

    def _check_size(self, line):
        self._head_size += len(line) + 2
        if self._head_size > _HEAD_MAX:
            raise self._too_long("header fields too large")

    def _field(self, line):
        self._fields += 1
        if self._fields > _FIELDS_MAX:
            raise self._too_long("too many header fields")
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
        return str(line[:i], "ascii"), text(value)

    def _too_long(self, what):
        return ProtocolError("http", what)

    def _codings(self, h):
        """Content-Length, -1 without, CHUNKED. RFC 9112, section 6.1 and 6.3."""
        codings = h.get_all("Transfer-Encoding")
        length = _content_length(h)
        if not codings:
            return length
        # A sender "MUST NOT send a Content-Length header field in any message that
        # contains a Transfer-Encoding": smuggling, or a broken peer.
        if length >= 0 or "Content-Length" in h:
            raise ProtocolError("http", "both Transfer-Encoding and Content-Length")
        if self.version == "1.0":
            raise ProtocolError("http", "Transfer-Encoding in HTTP/1.0")
        if ", ".join(codings).lower() != "chunked":
            raise ProtocolError("http", "transfer coding other than chunked")
        return CHUNKED

    def _persists(self, h):
        """RFC 9112, section 9.3, without HTTP/1.0's keep-alive."""
        return self.version == "1.1" and not has_word(h.get("Connection", ""), "close")

    def _body_of(self, n):
        if n == CHUNKED:
            self._state = _CHUNK_SIZE
        elif n > 0:
            self.length = self._left = n
            self._state = _LENGTH
        else:
            self.length = 0
            self._state = _DONE

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


class Response(Reader):
    """Reads responses to a client's requests. upgrade: a 101 was asked for."""

    def __init__(self, method, upgrade=False):
        self.again(method, upgrade, True)

    def again(self, method, upgrade=False, first=False):
        """Read the response to the next request of `method` on this connection."""
        self._method = method
        self._upgrade = upgrade
        self._interim = 0
        self.status = 0
        self.reason = ""
        self.switched = False
        if first:
            super().__init__()
        else:
            self._begin()

    def _nothing(self):
        raise ProtocolError("http", "connection ended without a response")

    def _start_line(self, line):
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
        self.reason = text(line[13:])

    def _head_done(self, h):
        self.headers = h
        status = self.status
        if status == 101 and not self._upgrade:
            raise ProtocolError("http", "unexpected interim response")
        if 100 <= status < 200 and status != 101:
            self._interim += 1
            if self._interim > _INTERIM_MAX:
                raise ProtocolError("http", "too many interim responses")
            return INTERIM
        n = self._codings(h)
        self.keep_alive = self._persists(h)
        if status == 101 or self._method == "CONNECT" and status < 300:
            self.switched = True
            self._state = _DONE
        elif self._method == "HEAD" or status == 204 or status == 304:
            self._state = _DONE
        elif n == -1:
            self._state = _CLOSE
            self.keep_alive = False
        else:
            self._body_of(n)
        return HEAD


class Request(Reader):
    """Reads requests. After a ProtocolError `fault_status` is what to answer."""

    def __init__(self):
        super().__init__()
        self.fault_status = 400

    def again(self):
        """Read the next request on this connection."""
        self._begin()

    def _begin(self):
        super()._begin()
        self._skipped = False
        self.method = self.target = ""
        self.expect_continue = False
        self.upgrade = ""

    def idle(self):
        """Whether no byte of a request has come yet."""
        return self._state == _HEADING and self._start is None and not self.has_data()

    def _may_skip(self):
        # RFC 9112, section 2.2: a server "SHOULD ignore at least one empty line".
        if self._skipped:
            return False
        self._skipped = True
        return True

    def _too_long(self, what):
        if self._state == _HEADING:
            self.fault_status = 414 if self._start is None else 431
        return super()._too_long(what)

    def _nothing(self):
        self._state = _DONE
        self.method = ""  # END without a request: the client has gone
        return END

    def _heading(self):
        if self._start is None and not self._scan > self._pos:
            i = self._buf.find(b"\r\n\r\n", self._pos)
            if 0 <= i < self._pos + _MEMO_HEAD:
                key = bytes(memoryview(self._buf)[self._pos : i + 4])
                hit = memo.get(key)
                if hit is not None:
                    self._pos = self._scan = i + 4
                    self.adopt(hit)
                    return HEAD
                return self._remember(key, super()._heading())
        return super()._heading()

    def adopt(self, hit):
        """Be at the end of a request that the memo has."""
        self.method, self.target, self.version = hit[:3]
        self.headers = shared(hit[3])
        self.keep_alive, self.upgrade = hit[4:]
        self.length = 0
        self._state = _DONE

    def _remember(self, key, event):
        if event == HEAD and self._state == _DONE and self.method != "CONNECT":
            if len(memo) >= _MEMO_MAX:
                memo.clear()
            memo[key] = (
                self.method, self.target, self.version, tuple(self.headers.fields),
                self.keep_alive, self.upgrade,
            )  # fmt: skip
        return event

    def _start_line(self, line):
        # method SP request-target SP HTTP-version
        parts = line.split(b" ")
        if len(parts) != 3 or not is_token(parts[0]):
            raise ProtocolError("http", "not a request line")
        version = parts[2]
        if version != b"HTTP/1.1" and version != b"HTTP/1.0":
            if len(version) == 8 and version[:5] == b"HTTP/" and version[6:7] == b".":
                self.fault_status = 505
            raise ProtocolError("http", "not a request of HTTP/1")
        target = parts[1]
        if not target or not scan.only(target, scan.VISIBLE) or target.find(b"#") >= 0:
            raise ProtocolError("http", "bad request target")
        self.version = "1.1" if version[7] == 49 else "1.0"
        self.method = str(parts[0], "ascii")
        self.target = t = str(target, "ascii")
        # RFC 9112, section 3.2: origin-form, absolute-form, authority-form, asterisk-form.
        if self.method == "CONNECT":
            good = scan.only(t, scan.AUTHORITY) and ":" in t
        else:
            low = t[:8].lower()
            good = t[0] == "/" or low[:7] == "http://" or low == "https://"
            good = good or t == "*" and self.method == "OPTIONS"
        if not good:
            raise ProtocolError("http", "bad request target")

    def _head_done(self, h):
        self.headers = h
        hosts = h.get_all("Host")
        # Section 3.2: a server "MUST respond with a 400" to none, two, or a bad one.
        if len(hosts) > 1 or not hosts and self.version == "1.1":
            raise ProtocolError("http", "not one Host")
        if hosts and not scan.only(hosts[0], scan.AUTHORITY):
            raise ProtocolError("http", "bad Host")
        if len(h.get_all("Content-Length")) > 1 or "," in h.get("Content-Length", ""):
            raise ProtocolError("http", "more than one Content-Length")
        try:
            n = self._codings(h)
        except ProtocolError:
            coding = h.get("Transfer-Encoding", "").lower()
            if self.version == "1.1" and coding.endswith(", chunked") and "Content-Length" not in h:
                self.fault_status = 501
            raise
        self.keep_alive = self._persists(h)
        self._body_of(n)
        if "Expect" in h:
            low = h["Expect"].lower()
            if low != "100-continue":
                self.fault_status = 417
                raise ProtocolError("http", "unknown expectation")
            self.expect_continue = self.version == "1.1" and self._state != _DONE
        if self.version == "1.1" and has_word(h.get("Connection", ""), "upgrade"):
            self.upgrade = h.get("Upgrade", "")
        return HEAD


def has_word(value, word):
    """Whether a list such as Connection's has a word, in any case."""
    if not value:
        return False
    for part in value.lower().split(","):
        if part.strip(" \t") == word:
            return True
    return False


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
