"""A client's connection of HTTP/2: many requests at once, as steps.

Whoever waits for something drives the connection for all; the others wait for a signal
each: their stream's, or that it is their turn to drive. So no task of its own is needed,
and a program that blocks shares every line with one that awaits. An answer that comes while its
request is being sent is read meanwhile, where the server waits for that.
Not implemented: pings of our own; a dead connection shows by its time-outs.
"""

from micropython import const

from stack.core import errors
from stack.core.errors import ProtocolError
from stack.http.h2 import events
from stack.http.h2.connection import Connection
from stack.http.h2.frames import CANCEL, HTTP_1_1_REQUIRED, REFUSED_STREAM
from stack.http.h2.stream import CLOSED
from stack.http.headers import Headers

_SCRATCH = const(16384)
# Fields that HTTP/2 has no place for.
_NOT = (
    "connection",
    "host",
    "transfer-encoding",
    "keep-alive",
    "upgrade",
    "proxy-connection",
    "te",
)


class H2Client:
    version = "2"

    def __init__(self, transport, stream):
        self._t = transport
        self._stream = stream
        self.c = Connection(True)
        self._scratch = bytearray(_SCRATCH)
        self._out = b""
        self._out_at = 0
        self._driver = False
        self._waiters = []
        self._error = None
        self.used = False
        self.idle_since = 0
        self._close_when_done = False

    def closing(self):
        return self.c.closing or self._error is not None

    def idle(self):
        return not self.c.streams

    def can_open(self):
        return self._error is None and self.c.can_open()

    def alive(self):
        """Steps: look at what has come meanwhile; whether it can be used."""
        self.try_take()
        return self._error is None
        yield

    def try_take(self):
        """Take in what has come, unless somebody else is at it."""
        if not self._driver and self._error is None:
            try:
                while self._take():
                    pass
            except (OSError, ProtocolError) as e:
                self._fail(e)

    def close_when_done(self):
        self._close_when_done = True
        if not self.c.streams:
            self._close()

    def _close(self):
        if self._stream is not None:
            self.c.goaway()
            try:
                data = self.c.data_to_send()
                self._stream.put(data, 0, len(data))
            except OSError:
                pass
            self._stream.close()
            self._stream = None
            if self._error is None:
                self._error = OSError(errors.ECONNRESET)

    def _fail(self, e):
        if self._error is None:
            self._error = e
        try:
            data = self.c.data_to_send()
            if data and self._stream is not None:
                self._stream.put(data, 0, len(data))
        except OSError:
            pass
        for s in list(self.c.streams.values()):
            s.state = CLOSED
            if s.user is not None and s.user.signal is not None:
                s.user.signal.set()
        for signal in self._waiters:
            signal.set()
        if self._stream is not None:
            self._stream.close()
            self._stream = None

    # Driving.

    def _flush(self):
        """Give the transport what it takes; False where something is left."""
        while True:
            if self._out_at == len(self._out):
                self._out = self.c.data_to_send()
                self._out_at = 0
                if not self._out:
                    return True
            n = self._stream.put(self._out, self._out_at, len(self._out) - self._out_at)
            self._out_at += n
            if self._out_at < len(self._out):
                return False

    def _take(self):
        """Take in what has come; False when there was nothing."""
        n = self._stream.take(self._scratch, 0, _SCRATCH)
        if n < 0:
            return False
        if n == 0:
            raise OSError(errors.ECONNRESET)
        self.c.receive(memoryview(self._scratch)[:n])
        self._dispatch()
        return True

    def _dispatch(self):
        while True:
            e = self.c.next_event()
            if e is None:
                return
            if e.stream is not None and e.stream.user is not None:
                e.stream.user.on_event(e)

    def drive(self, body, ready, deadline):
        """Steps: until ready(), which something that happens for `body` makes true. OSError."""
        try:
            while not ready():
                if self._error is not None:
                    raise self._error
                if self._driver:
                    yield from self._wait(body, deadline)
                else:
                    yield from self._drive(ready, deadline)
        finally:
            # Whoever was woken to drive may have had enough: somebody else has to.
            if not self._driver and self._waiters:
                self._waiters[0].set()

    def _wait(self, body, deadline):
        signal = self._t.signal()
        body.signal = signal
        self._waiters.append(signal)
        try:
            yield from self._t.wait_signal(signal, deadline)
        finally:
            body.signal = None
            self._waiters.remove(signal)

    def _drive(self, ready, deadline):
        self._driver = True
        try:
            all_sent = self._flush()
            if not self._take() and not ready():
                if self._t.now() >= deadline:
                    raise OSError(errors.ETIMEDOUT)
                yield from self._stream.wait(not all_sent, deadline)
        except (OSError, ProtocolError) as e:
            if not isinstance(e, OSError) or e.args[0] != errors.ETIMEDOUT:
                self._fail(e)
            raise
        finally:
            self._driver = False

    def nothing_came(self):
        """Asked when `request` failed: no answer's head has come."""
        return True

    def try_flush(self):
        """Send what goes at once, unless somebody else is at it."""
        if not self._driver and self._error is None:
            try:
                self._flush()
            except OSError as e:
                self._fail(e)

    def request(self, message, limits):
        """Steps: send a Message, wait for the answer's head. Returns the Body, which has it."""
        self.used = True
        fields = [
            (":method", message.method),
            (":scheme", message.scheme),
            (":authority", message.authority),
            (":path", message.target),
        ]
        if message.protocol:
            fields.insert(1, (":protocol", message.protocol))
        for name, value in message.fields:
            low = name.lower()
            if low not in _NOT:
                fields.append((low, str(value).strip()))
        sending = message.body is not None
        if sending and message.length >= 0:
            fields.append(("content-length", str(message.length)))
        stream = self.c.request(
            fields, not sending and not message.protocol, message.method == "HEAD"
        )
        body = stream.user = Body(self, stream, limits)
        done = False
        try:
            if sending:
                yield from self._send(body, message, limits)
            while body.headers is None:
                deadline = limits.read_deadline(self._t.now())
                yield from self.drive(body, body.has_head, deadline)
                body.check()
            done = True
            return body
        finally:
            if not done:
                body.abort()

    def _send(self, body, message, limits):
        """Steps: send the body; the rest stays in body.upload where much of the answer is there."""
        up = body.upload = _Upload(self, body, message)
        while not up.push():
            if body.much():
                return
            deadline = limits.read_deadline(self._t.now())
            yield from self.drive(body, body.may_send, deadline)
        body.upload = None


class _Upload:
    """What of a request's body is still to be sent."""

    def __init__(self, h2, body, message):
        self._h2 = h2
        self._body = body
        self._m = message
        self._pieces = message.body_pieces()
        self._piece = b""
        self._at = 0

    def push(self):
        """Queue what there is room for; True when all is, or no more is wanted."""
        c = self._h2.c
        body = self._body
        s = body.stream
        while s.state != CLOSED and not body.refused():
            if self._at == len(self._piece):
                if self._at:
                    self._at = 0
                    self._piece = b""
                    self._h2.try_take()  # perhaps the server has refused it
                    continue
                try:
                    self._piece = next(self._pieces)
                except StopIteration:
                    c.send_data(s, b"", True)
                    return True
                self._at = 0
            n = c.send_data(s, memoryview(self._piece)[self._at :])
            self._at += n
            self._m.sent(n)
            self._h2.try_flush()
            if self._at < len(self._piece) and not c.room(s):
                body.wants_room = True
                return False
        return True


class Body:
    """One stream's answer; the face of h1client.Body."""

    version = "2"
    reason = ""

    def __init__(self, client, stream, limits):
        self._h2 = client
        self._limits = limits
        self.stream = stream
        self.status = 0
        self.headers = None
        self.trailers = None
        self.length = -1
        self.ended = False
        self.end = None
        self.signal = None
        self.wants_room = False
        self.upload = None  # what is left of it when the answer is read
        self._pieces = []
        self._at = 0
        self._last = False  # the end has come
        self._code = -1
        self._why = ""

    def on_event(self, e):
        kind = e.kind
        if kind == events.RESPONSE:
            self.status = int(e.fields[0][1])
            self.headers = Headers(e.fields[1:])
            n = self.headers.get("content-length")
            self.length = int(n) if n is not None else -1
        elif kind == events.DATA:
            if e.data:
                self._pieces.append(e.data)
        elif kind == events.TRAILERS:
            self.trailers = Headers(e.fields)
        elif kind == events.RESET:
            self._code = e.code
            self._why = e.data or "the peer reset the stream (%d)" % e.code
        elif kind == events.WRITABLE:
            self.wants_room = False
        if e.end:
            self._last = True
        if self.signal is not None:
            self.signal.set()

    def has_head(self):
        return self.headers is not None or self._code >= 0 or self.stream.state == CLOSED

    def has_piece(self):
        return self._pieces or self._last or self._code >= 0 or self.stream.state == CLOSED

    def has_room(self):
        return not self.wants_room or self.stream.state == CLOSED or self.refused()

    def refused(self):
        """The answer is there and wants no more of the request: RFC 9113, section 8.1."""
        return self.headers is not None and self.status >= 300

    def much(self):
        """Much of the answer waits to be read, and the server perhaps for that."""
        s = self.stream
        return self.headers is not None and s.unread * 2 >= s.window.size

    def may_send(self):
        return self.has_room() or self.much()

    def _may_go_on(self):
        return self.has_piece() or self.upload is not None and self.has_room()

    @property
    def uploading(self):
        return self.upload is not None and not self.ended

    def check(self):
        """OSError where the stream was broken off."""
        if self._code >= 0 and not self._last:
            from stack.http.pool import Lost

            if self._code == REFUSED_STREAM:
                raise Lost(True)
            if self._code == HTTP_1_1_REQUIRED:
                raise OSError("the server wants HTTP/1.1")
            raise ProtocolError(self._code, self._why)
        if self.stream.state == CLOSED and not self._last and self._code < 0:
            raise OSError(errors.ECONNRESET)

    def readinto(self, buf, off, n):
        """Steps: 1 to n bytes to buf[off:], 0 at the end. OSError, ProtocolError."""
        while not self._pieces:
            if self.ended:
                return 0
            if self._last:
                self._over()
                return 0
            try:
                self.check()
                if self.upload is not None and self.upload.push():
                    self.upload = None
                deadline = self._limits.read_deadline(self._h2._t.now())
                yield from self._h2.drive(self, self._may_go_on, deadline)
            except (OSError, ProtocolError):
                self.abort()
                raise
        piece = self._pieces[0]
        have = len(piece) - self._at
        k = min(n, have)
        buf[off : off + k] = memoryview(piece)[self._at : self._at + k]
        if k == have:
            self._pieces.pop(0)
            self._at = 0
        else:
            self._at += k
        self._h2.c.consumed(self.stream, k)
        if self._h2.c.wants_to_send():
            self._h2.try_flush()
        if self._last and not self._pieces:
            self._over()
        return k

    def at_once(self):
        if self._last and not self._pieces:
            self._over()

    def _over(self):
        if not self.ended:
            self.ended = True
            h2 = self._h2
            if self.stream.state != CLOSED:
                h2.c.reset(self.stream, 0 if self._last else CANCEL)
                h2.try_flush()
            if self.end is not None:
                self.end(h2)
            if h2._close_when_done and not h2.c.streams:
                h2._close()

    def abort(self):
        if not self.ended:
            self._pieces = []
            self._over()
