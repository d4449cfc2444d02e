"""HTTP/2 of the server: one connection, its streams as tasks, over stack/http/h2.

A handler that is a plain function is called at once, so that many answers leave in one
write; one that waits has a task of its own.
Not implemented: trailers of requests are dropped.
"""

import asyncio

from micropython import const

from stack.api._serve_h1 import Out
from stack.api.httpd import Request, answer, now_ms, plain, report, to_response
from stack.core.errors import ProtocolError
from stack.http.h2 import events, frames
from stack.http.h2.connection import Connection
from stack.http.h2.stream import CLOSED
from stack.http.headers import Headers

_WRITE = const(65536)


class H2:
    def __init__(self, connection):
        self.connection = connection
        self.stream = connection.stream
        self.server = connection.server
        self.c = Connection(False)
        self.waiting = 0  # handlers that wait for the peer
        self._flushing = False
        self._last = None
        self._heads = None
        self._lost = False

    def shutdown(self):
        self.c.goaway()
        for s in self.c.streams.values():
            if s.user is not None and s.user.socket is not None:
                s.user.socket.go_away()
        asyncio.create_task(self._close_soon())

    async def _close_soon(self):
        try:
            await self.last_words()
            if not self.c.streams:
                self.stream.close()
        except OSError:
            pass

    async def run(self, data):
        c = self.c
        self._lost = False
        try:
            while data:
                c.receive(data)
                try:
                    self.pump()
                except ProtocolError:
                    await self.last_words()
                    return
                if not self._flushing and not self._push():
                    # The client is read meanwhile: he may take nothing before he has sent more.
                    # What he makes wait is bounded, by 100 streams and the machine's _CONTROL_MAX.
                    self._flushing = True
                    asyncio.create_task(self._drain_alone())
                if c.closing and not c.streams:
                    await self.last_words()
                    return
                self.touch()
                data = await self.stream.read()
        finally:
            self._lost = True
            for s in list(c.streams.values()):
                s.state = CLOSED
                if s.user is not None:
                    s.user.wake()

    def touch(self):
        """The deadline now: of an idle client, of one that is waited for, or none."""
        if self._flushing:
            return  # it is _drain's, however much the client sends
        if not self.c.streams:
            self.connection.deadline = now_ms() + self.server.idle_ms
        elif self.waiting:
            self.connection.deadline = now_ms() + self.server.stall_ms
        else:
            self.connection.deadline = 0

    def pump(self):
        """Every event that there is. ProtocolError."""
        c = self.c
        while True:
            e = c.next_event()
            if e is None:
                return
            kind = e.kind
            if kind == events.REQUEST:
                self._begin(e)
            elif e.stream is not None and e.stream.user is not None:
                x = e.stream.user
                if kind == events.DATA:
                    if e.data:
                        x.pieces.append(e.data)
                    x.ended = x.ended or e.end
                elif kind == events.TRAILERS:
                    x.ended = True
                x.wake()

    def _begin(self, e):
        fields = e.fields
        if fields is not self._last:
            self._last = fields
            self._heads = _split(fields)
        method, target, headers = self._heads
        x = e.stream.user = Exchange(self, e.stream, method, e.end)
        if method == "CONNECT" and not x.protocol(fields):
            x.small(plain(501))
            return
        request = Request(x, method, target, headers, "2")
        try:
            r = self.server.app(request)
            if not hasattr(r, "send"):
                r = to_response(r)
                if not callable(r.body) and len(r.body) <= 16384:
                    x.small(r)
                    return
        except Exception as error:
            asyncio.create_task(x.run(_raising(error), request))
            return
        asyncio.create_task(x.run(r, request))

    async def flush(self):
        """Send what there is to send; one task does it for all."""
        if not self._flushing and not self._push():
            self._flushing = True
            await self._drain()

    def _push(self):
        """Write as much as goes at once; True if nothing is left."""
        while True:
            out = self.c.data_to_send(_WRITE)
            if not out:
                return True
            self.stream.write(out)
            if self.stream.buffered:
                return False
            self._go_on()

    def _go_on(self):
        """Wake those who waited for room."""
        try:
            self.pump()
        except ProtocolError:
            pass  # its GOAWAY goes out next, and `run` sees it again

    async def _drain(self):
        """The rest, as the client takes it; he has `stall_ms` for each piece."""
        try:
            while True:
                self.connection.deadline = now_ms() + self.server.stall_ms
                await self.stream.drain()
                self._go_on()
                if self._push():
                    return
        finally:
            self._flushing = False
            self.touch()

    async def _drain_alone(self):
        try:
            await self._drain()
        except OSError:
            pass  # `run` hears of it when it reads

    async def last_words(self):
        """All is sent, whoever sends it: what is queued when a connection is closed is lost."""
        while self._flushing:
            await self.stream.drain()
            await asyncio.sleep(0)
        await self.flush()


async def _raising(error):
    raise error


def _split(fields):
    """(method, target, Headers) of a request's fields."""
    method = target = authority = ""
    rest = []
    for field in fields:
        name = field[0]
        if name[0] != ":":
            rest.append(field)
        elif name == ":method":
            method = field[1]
        elif name == ":path":
            target = field[1]
        elif name == ":authority":
            authority = field[1]
    headers = Headers()
    headers.fields = rest
    if authority and "host" not in headers:
        rest.insert(0, ("host", authority))
    return method, target or authority, headers


class Exchange:
    """One stream: what a Request and a WebSocket need of it."""

    upgrades = False

    def __init__(self, h2, stream, method, ended):
        self.h2 = h2
        self.connection = h2.connection
        self.stream = stream
        self.method = method
        self.pieces = []
        self.ended = ended
        self.socket = None
        self.switched = False
        self._event = None

    def protocol(self, fields):
        for name, value in fields:
            if name == ":protocol":
                return value == "websocket"
        return False

    def wake(self):
        if self._event is not None:
            self._event.set()

    async def wait(self):
        if self._event is None:
            self._event = asyncio.Event()
        self._event.clear()
        self.h2.waiting += 1
        self.h2.touch()
        try:
            await self._event.wait()
        finally:
            self.h2.waiting -= 1
            self.h2.touch()

    async def read(self):
        """A piece of the request's body, b"" at its end. OSError if it was broken off."""
        while not self.pieces:
            if self.ended:
                return b""
            if self.stream.state == CLOSED:
                raise OSError("stream was reset")
            await self.wait()
        piece = self.pieces.pop(0)
        self.h2.c.consumed(self.stream, len(piece))
        await self.h2.flush()
        return piece

    def leave_body(self):
        """Somebody reads the body who will not be done: he hears of the stream's end."""

    def small(self, r):
        """An answer whose body is there and short; the caller flushes."""
        c = self.h2.c
        s = self.stream
        if s.state == CLOSED:
            return
        body = b"" if self.method == "HEAD" or r.status in (204, 304) else r.body
        c.send_headers(s, r.h2_fields(), not body)
        if body and c.send_data(s, body, True) < len(body):
            c.reset(s, frames.INTERNAL_ERROR)  # cannot be: a stream takes 32 KB
        self._done()

    def _done(self):
        s = self.stream
        if s.state != CLOSED and not self.ended:
            # RFC 9113, section 8.1: the rest of the request is not wanted.
            if not s.queued:
                self.h2.c.reset(s, frames.NO_ERROR)

    async def run(self, r, request):
        """The handler's coroutine (or Response) to its end."""
        c = self.h2.c
        end = None
        try:
            if hasattr(r, "send"):
                r = await answer(lambda _: r, request)
            end = r.on_end
            if self.switched:
                return
            if not callable(r.body) and len(r.body) <= 16384:
                self.small(r)
            elif self.stream.state != CLOSED:
                head_only = self.method == "HEAD" or r.status in (204, 304)
                c.send_headers(self.stream, r.h2_fields(), head_only)
                if not head_only:
                    out = Out(self, r.length)
                    if callable(r.body):
                        await r.body(out)
                    else:
                        await out.write(r.body)
                    await out.finish()
                self._done()
        except OSError:
            c.reset(self.stream, frames.CANCEL)
        except Exception as e:
            report(e)
            c.reset(self.stream, frames.INTERNAL_ERROR)
        if end is not None:
            end()
        try:
            if c.closing and not c.streams:
                await self.h2.last_words()
                self.h2.stream.close()
            else:
                await self.h2.flush()
        except OSError:
            pass

    async def write(self, data):
        """A piece of the answer's body; waits for the client's window."""
        c = self.h2.c
        s = self.stream
        at = 0
        while at < len(data):
            if s.state == CLOSED or self.h2._lost:
                raise OSError("stream was reset")
            n = c.send_data(s, memoryview(data)[at:] if at else data)
            at += n
            await self.h2.flush()
            if at < len(data) and s.state != CLOSED:
                if c.room(s) < 1024:
                    await self.wait()

    async def end(self, trailers):
        c = self.h2.c
        if self.stream.state == CLOSED:
            raise OSError("stream was reset")
        if trailers:
            c.send_trailers(self.stream, [(n.lower(), v) for n, v in trailers])
        else:
            c.send_data(self.stream, b"", True)
        await self.h2.flush()

    def upgrade(self, fields):
        """200 to an extended CONNECT (RFC 8441)."""
        self.switched = True
        self.h2.c.send_headers(
            self.stream, [(":status", "200")] + [(n.lower(), v) for n, v in fields]
        )
        return b""
