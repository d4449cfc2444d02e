"""net.websocket: a client, over HTTP/1.1, or over HTTP/2 where the server has RFC 8441.

    with net.websocket.connect("wss://example.test/chat", subprotocols=("chat",)) as ws:
        ws.send("text")            str or bytes
        message = ws.recv()        None when the server has closed; ws.close_code says why
        ws.ping()  ws.close(1000, "bye")  ws.buffered_amount

Options: subprotocols, headers, compress=True, most (bytes of a message), timeout (seconds
of connecting and of each wait), verify, http2=True (over HTTP/2; else HTTP/1.1), proxy (a
URL: through its CONNECT).
`net.aio.websocket.connect` is the same to be awaited, with `await ws.send`: it waits while
more than 64 KB wait to be taken, `ws.post(message)` does not.
Not implemented: one WebSocket in two tasks at once that both receive.
"""

from micropython import const

from stack.api import _runtime, http
from stack.api import _ws as ws
from stack.core import errors
from stack.core.timers import NEVER
from stack.http import url as urls
from stack.http.h1client import H1Client
from stack.http.h2.stream import CLOSED
from stack.http.headers import Headers
from stack.http.message import Message, basic
from stack.http.pool import Limits, Way
from stack.ws import handshake
from stack.ws.connection import Connection

_SCRATCH = const(4096)
_CLOSE_US = const(5_000_000)


class _Pipe:
    more = None

    def nudge(self):
        return None

    def end(self, deadline):
        try:
            yield from self.flush(deadline)
        except OSError:
            pass
        self.close()


class _Direct(_Pipe):
    """The pipe of a connection that has become a WebSocket."""

    def __init__(self, stream, rest):
        self._stream = stream
        self._rest = rest
        self._buf = bytearray(_SCRATCH)
        self._out = bytearray()

    @property
    def buffered(self):
        return len(self._out)

    def write(self, data):
        self._out.extend(data)
        self._push()

    def _push(self):
        if self._out:
            n = self._stream.put(self._out, 0, len(self._out))
            self._out = self._out[n:]
            if not self._out and self.more is not None:
                self.more()

    def flush(self, deadline):
        self._push()
        while self._out:
            yield from self._stream.wait(True, deadline)
            self._push()
            if self._out and self._stream._rt.now() >= deadline:
                raise OSError(errors.ETIMEDOUT)

    def read(self, deadline):
        if self._rest:
            data = self._rest
            self._rest = b""
            return data
        # What waits to be sent goes on being sent: the peer may answer no sooner.
        s = self._stream
        while True:
            self._push()
            n = s.take(self._buf, 0, _SCRATCH)
            if n >= 0:
                return memoryview(self._buf)[:n]
            if s._rt.now() >= deadline:
                raise OSError(errors.ETIMEDOUT)
            yield from s.wait(bool(self._out), deadline)

    def close(self):
        self._stream.close()


class _Stream(_Pipe):
    """The pipe of a stream of HTTP/2."""

    def __init__(self, h2, body):
        self._h2 = h2
        self._body = body
        self._buf = bytearray(_SCRATCH)
        self._out = bytearray()

    @property
    def buffered(self):
        return len(self._out) + self._body.stream.pending()

    def write(self, data):
        self._out.extend(data)
        self._push()

    def _push(self):
        s = self._body.stream
        if self._out and s.state != CLOSED:
            n = self._h2.c.send_data(s, self._out)
            self._out = self._out[n:]
            if not self._out and self.more is not None:
                self.more()
        self._h2.try_flush()

    def flush(self, deadline):
        self._push()
        while self._out:
            if self._body.stream.state == CLOSED:
                raise OSError(errors.EPIPE)
            self._body.wants_room = True
            yield from self._h2.drive(self._body, self._body.has_room, deadline)
            self._push()

    def _may_go_on(self):
        return self._body.has_piece() or self._body.has_room()

    def read(self, deadline):
        self._push()
        while self._out and not self._body.has_piece():
            self._body.wants_room = True
            yield from self._h2.drive(self._body, self._may_go_on, deadline)
            self._push()
        self._body._limits = _Fixed(deadline)
        n = yield from self._body.readinto(self._buf, 0, _SCRATCH)
        return memoryview(self._buf)[:n]

    def close(self):
        s = self._body.stream
        if s.state != CLOSED:
            try:
                self._h2.c.send_data(s, b"", True)
            except ValueError:
                pass
        self._body.abort()
        self._h2.close_when_done()


class _Fixed:
    def __init__(self, deadline):
        self._deadline = deadline

    def read_deadline(self, now):
        return self._deadline


class WebSocket(ws.Base):
    def __init__(self, rt, run, pipe, machine, subprotocol, timeout):
        ws.Base.__init__(self, pipe, machine, subprotocol)
        self._rt = rt
        self._run = run
        self._timeout = timeout

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()

    def __iter__(self):
        """The messages that come; of the blocking kind."""
        while True:
            message = self.recv()
            if message is None:
                return
            yield message

    def _finally(self, work, *args, us=-1):
        """Finish a generator of Base's; us: how long it may take, by default what was asked for."""
        if us < 0:
            t = self._timeout
            us = NEVER if t is None else int(t * 1000000)
        deadline = us if us == NEVER else self._rt.now() + us
        return self._run(ws.steps(work(*args, deadline)))

    def recv(self):
        """The next message, str or bytes; None at the end. OSError(ETIMEDOUT)."""
        return self._finally(self._recv)

    def send(self, message):
        """Send a message, str or bytes; waits while much is queued. OSError when closed."""
        return self._finally(self._send, message)

    def drain(self):
        return self._finally(self._flush)

    def ping(self, data=b""):
        """Send a ping; the pong is read over by recv."""
        return self._finally(self._ping, data)

    def close(self, code=1000, reason=""):
        """Close, and wait for the server's Close, 5 s at most."""
        return self._finally(self._close, code, reason, us=_CLOSE_US)


def steps(
    rt,
    run,
    where,
    subprotocols=(),
    headers=None,
    compress=True,
    most=1 << 20,
    timeout=30,
    verify=None,
    http2=False,
    proxy=None,
):
    """Steps: an open WebSocket. OSError, ValueError; ProtocolError where the server has none."""
    low = where.lower()
    if not low.startswith("ws://") and not low.startswith("wss://"):
        raise ValueError("not a ws or wss URL: %r" % where)
    u = urls.parse("http" + where[2:])
    rng = rt.host.rng
    transport = http.Transport(rt)
    limits = Limits(timeout, rt.now(), NEVER)
    proxy = None if proxy is None else urls.parse(proxy)
    way = Way(u, verify, proxy, ("prior" if u.scheme == "http" else None) if http2 else False)
    way.tunnel = True  # RFC 6455, section 4.1: a proxy is asked for a connection
    fields = [("Host", u.authority()), ("User-Agent", "Barewire")]
    if u.user:
        fields.append(("Authorization", basic(u.user.split(":", 1))))
    fields.extend(Headers(headers or ()).items())
    key = None if http2 else handshake.new_key(rng)
    fields.extend(handshake.offer(key, subprotocols, compress))
    stream = yield from transport.connect(way, limits.connect_deadline(rt.now()))
    done = False
    try:
        if http2:
            body, pipe = yield from _over_h2(transport, stream, u, fields, limits)
        else:
            c = H1Client(transport, stream)
            message = Message("GET", u.target, fields)
            message.upgrade = True
            body = yield from c.request(message, limits)
            pipe = None
        agreed = handshake.check_answer(body.status, body.headers, key, subprotocols)
        if pipe is None:
            pipe = _Direct(*c.detach())
        machine = Connection(True, rng, agreed.deflate, most)
        done = True
        return WebSocket(rt, run, pipe, machine, agreed.subprotocol, timeout)
    finally:
        if not done:
            stream.close()


def _over_h2(transport, stream, u, fields, limits):
    from stack.http.h2client import H2Client

    h2 = H2Client(transport, stream)
    deadline = limits.connect_deadline(transport.now())

    class Settings:
        signal = None

    # Whether it may be asked for is in the server's SETTINGS (RFC 8441, section 3).
    yield from h2.drive(Settings, lambda: h2.c.settled, deadline)
    if not h2.c.peer_connect_protocol:
        raise OSError("the server has no WebSocket over HTTP/2")
    message = Message("CONNECT", u.target, fields)
    message.protocol = "websocket"
    message.scheme = u.scheme
    message.authority = u.authority()
    body = yield from h2.request(message, limits)
    return body, _Stream(h2, body)


def connect(url, **options):
    rt = _runtime.current()
    return rt.run(steps(rt, rt.run, url, **options))
