"""A client's connection of HTTP/1.1: requests one after the other, as steps.

The answer may come while the request is still being sent: one that refuses it ends the sending, one
that grows long, of a server that answers as it reads, is read while the rest is sent.
Not implemented: pipelining of requests (RFC 9112, 9.3.2 leaves it to the brave).
"""

from micropython import const

from stack.core import errors
from stack.core.errors import ProtocolError
from stack.http import h1
from stack.http.h1write import CHUNKED, build_request, chunk, last_chunk

_SCRATCH = const(2048)
_JOIN = const(16384)  # a body up to that goes with its head
_CONTINUE_US = const(1_000_000)  # RFC 9110, 10.1.1: do not wait for ever
_EARLY = const(65536)  # of an answer, kept while the request is being sent


class _Upload:
    """What of a request's body is still to be sent."""

    def __init__(self, stream, message):
        self._stream = stream
        self._m = message
        self._pieces = message.body_pieces()
        self._chunked = message.length < 0
        self._out = b""
        self._at = 0
        self._count = 0
        self.moved = 0  # bytes sent, as a sign of life
        self.blocked = self.over = False

    def push(self):
        """Send what goes at once of a piece; True when nothing is left. OSError.

        False with `blocked` where the connection takes no more; else it is time to look whether
        the server has answered."""
        self.blocked = False
        while not self.over and self._at < len(self._out):
            n = self._stream.put(self._out, self._at, len(self._out) - self._at)
            if not n:
                self.blocked = True
                return False
            self._at += n
            self.moved += n
        if not self.over:
            self._next()
        return self.over

    def _next(self):
        if self._count:
            self._m.sent(self._count)
        self._at = self._count = 0
        try:
            piece = next(self._pieces)
            self._count = len(piece)
            self._out = chunk(piece) if self._chunked else piece
        except StopIteration:
            self._out = b""
            if self._chunked:
                self._out = last_chunk()
                self._chunked = False
            else:
                self.over = True


class H1Client:
    version = "1.1"

    def __init__(self, transport, stream):
        self._t = transport
        self._stream = stream
        self._parser = None
        self._scratch = bytearray(_SCRATCH)
        self._upload = None  # what is left of it when the answer is read, or was when it ended
        self.idle_since = 0

    def alive(self):
        """Whether an idle connection can still be used: nothing has come, no end either."""
        try:
            return self._stream is not None and self._stream.take(self._scratch, 0, 1) < 0
        except OSError:
            return False

    def reusable(self):
        p = self._parser
        return (
            self._stream is not None
            and p is not None
            and p.complete()
            and p.keep_alive
            and not p.switched
            and not p.has_data()
            and self._upload is None
        )

    def close(self):
        if self._stream is not None:
            self._stream.close()
            self._stream = None

    def request(self, message, limits):
        """Steps: send a Message, read the answer's head. Returns the Body, which has it."""
        if self._parser is None:
            self._parser = h1.Response(message.method, message.upgrade)
        else:
            self._parser.again(message.method, message.upgrade)
        fields = list(message.fields)
        body = message.body
        if body is not None and message.expect:
            fields.append(("Expect", "100-continue"))
        n = message.length
        if body is not None and n < 0:
            n = CHUNKED
        head = build_request(message.method, message.target, fields, n)
        try:
            yield from self._send(head, message, limits)
        except OSError as e:
            # It may have answered before it hung up, with a 413 say.
            if e.args[0] == errors.ETIMEDOUT or self._stream is None:
                raise
        while True:
            event = yield from self._event(limits)
            if event == h1.HEAD:
                return Body(self, self._parser, limits)

    def _send(self, head, message, limits):
        t = self._t
        s = self._stream
        body = message.body
        if body is None:
            yield from s.send_until(head, limits.read_deadline(t.now()))
            return
        up = _Upload(s, message)
        if message.expect:
            yield from s.send_until(head, limits.read_deadline(t.now()))
            self._upload = up
            if not (yield from self._may_go_on()):
                up.over = True
                return
            head = b""
        if message.pieces is None and len(body) <= _JOIN:
            yield from s.send_until(head + bytes(body), limits.read_deadline(t.now()))
            self._upload = None
            message.sent(len(body))
            return
        if head:
            yield from s.send_until(head, limits.read_deadline(t.now()))
        self._upload = up
        if (yield from self._carry(up, limits)):
            self._upload = None

    def _carry(self, up, limits):
        """Steps: send the body; False where it is refused first, or much of the answer is there."""
        t = self._t
        p = self._parser
        seen = moved = 0
        deadline = limits.read_deadline(t.now())
        while not up.push():
            n = self._stream.take(self._scratch, 0, _SCRATCH)
            if n > 0:
                seen += n
                p.receive(memoryview(self._scratch)[:n])
                if not self._pushed_back:
                    self._pushed_back = p.next_event() == h1.HEAD
                if self._pushed_back and p.status >= 300:
                    # RFC 9112, section 9.5: it "SHOULD immediately cease transmitting the body".
                    up.over = True
                    return False
                if self._pushed_back and seen > _EARLY:
                    return False
            elif n == 0 and up.blocked:
                p.receive_eof()
                up.over = True
                return False
            else:
                if up.moved != moved:
                    moved = up.moved
                    deadline = limits.read_deadline(t.now())
                elif t.now() >= deadline:
                    raise OSError(errors.ETIMEDOUT)
                if up.blocked:
                    yield from self._stream.wait(True, deadline)
        return True

    def _may_go_on(self):
        """Wait for 100 (Continue), not for long; False when the final answer is there."""
        p = self._parser
        until = self._t.now() + _CONTINUE_US
        while True:
            event = p.next_event()
            if event == h1.INTERIM and p.status == 100:
                return True
            if event == h1.HEAD:
                self._pushed_back = True
                return False
            if event == h1.NEED_DATA:
                n = self._stream.take(self._scratch, 0, _SCRATCH)
                if n > 0:
                    p.receive(memoryview(self._scratch)[:n])
                elif n == 0:
                    p.receive_eof()
                elif self._t.now() >= until:
                    return True
                else:
                    yield from self._stream.wait(False, until)

    _pushed_back = False

    def _event(self, limits):
        """Steps: the parser's next event; reads as long as it needs data."""
        p = self._parser
        if self._pushed_back:
            self._pushed_back = False
            return h1.HEAD
        try:
            while True:
                event = p.next_event()
                if event != h1.NEED_DATA:
                    return event
                deadline = limits.read_deadline(self._t.now())
                n = yield from self.recv(self._scratch, 0, _SCRATCH, deadline)
                if n:
                    p.receive(memoryview(self._scratch)[:n])
                else:
                    p.receive_eof()
        except (OSError, ProtocolError):
            self.close()
            raise

    def recv(self, buf, off, n, deadline):
        """Steps: as the stream's recv_until; what is left of the request is sent meanwhile."""
        s = self._stream
        up = self._upload
        while up is not None and not up.over:
            try:
                if up.push():
                    self._upload = None
                    break
            except OSError:
                up.over = True  # and the connection is of no more use
                break
            got = s.take(buf, off, n)
            if got >= 0:
                return got
            if self._t.now() >= deadline:
                raise OSError(errors.ETIMEDOUT)
            if up.blocked:
                yield from s.wait(True, deadline)
        return (yield from s.recv_until(buf, off, n, deadline))

    def nothing_came(self):
        """Whether not even one byte of an answer has come."""
        p = self._parser
        return p is not None and not p.status and not p.has_data()

    def detach(self):
        """(stream, bytes that came already) of a connection that speaks another protocol now."""
        stream = self._stream
        self._stream = None
        return stream, self._parser.left_over()


class Body:
    """The body of an answer, read as steps; `end` is called once when it is over, or broken off."""

    def __init__(self, connection, parser, limits):
        self._c = connection
        self._p = parser
        self._limits = limits
        self._rest = None
        self._rest_at = 0
        self.ended = False
        self.status = parser.status
        self.reason = parser.reason
        self.headers = parser.headers
        self.length = parser.length
        self.version = parser.version
        self.end = None

    @property
    def trailers(self):
        return self._p.trailers

    @property
    def uploading(self):
        """Whether some of the request is still to be sent, while this is read."""
        up = self._c._upload
        return up is not None and not up.over and not self.ended

    def readinto(self, buf, off, n):
        """Steps: 1 to n bytes to buf[off:], 0 at the end. OSError, ProtocolError."""
        p = self._p
        c = self._c
        while not self.ended:
            if self._rest is not None:
                return self._take_rest(buf, off, n)
            direct = p.direct()
            if direct:
                # Straight from the receive ring to where the caller wants it.
                try:
                    deadline = self._limits.read_deadline(c._t.now())
                    k = yield from c.recv(buf, off, min(direct, n), deadline)
                except OSError:
                    self.abort()
                    raise
                p.took(k)
                if k:
                    if p.length >= 0 and not p.direct() and p.next_event() == h1.END:
                        self._over()
                    return k
                p.receive_eof()
            try:
                event = yield from c._event(self._limits)
            except (OSError, ProtocolError):
                self.abort()
                raise
            if event == h1.DATA:
                self._rest = p.data
                self._rest_at = 0
            elif event == h1.END:
                self._over()
        return 0

    def _take_rest(self, buf, off, n):
        at = self._rest_at
        have = len(self._rest) - at
        if n >= have:
            buf[off : off + have] = memoryview(self._rest)[at:]
            self._rest = None
            if self._p.length >= 0 and not self._p.direct() and self._p.next_event() == h1.END:
                self._over()
            return have
        buf[off : off + n] = memoryview(self._rest)[at : at + n]
        self._rest_at = at + n
        return n

    def at_once(self):
        """End now where there is no body to come."""
        if self._p.complete():
            self._over()

    def _over(self):
        if not self.ended:
            self.ended = True
            if self.end is not None:
                self.end(self._c)

    def abort(self):
        """Nobody reads on: the connection cannot be used again."""
        if not self.ended:
            self._c.close()
            self._over()
