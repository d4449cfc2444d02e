"""HTTP/1.1 of the server: one connection, request after request, over stack/http/h1.py.

Not implemented: answering pipelined requests out of turn (they are answered in order).
"""

from micropython import const

from stack.api import httpd
from stack.api.httpd import Request, Response, answer, fault, now_ms, plain, to_response
from stack.core.errors import ProtocolError
from stack.http import h1
from stack.http.h1 import memo
from stack.http.h1write import chunk, last_chunk
from stack.http.headers import shared

_DRAIN_MAX = const(65536)  # of a body that nobody read, so that the connection can be kept
_HIGH = const(65536)
_CONTINUE = b"HTTP/1.1 100 Continue\r\n\r\n"


class H1:
    def __init__(self, connection):
        self.connection = connection
        self.stream = connection.stream
        self.parser = h1.Request()
        self._idle = True
        self._started = False  # a head was sent for this request
        self._chunked = False
        self._keep = True
        self._body_began = self._body_bytes = 0
        self._continued = False
        self.switched = False
        self.socket = None  # the WebSocket that the connection has become

    def shutdown(self):
        if self.socket is not None:
            self.socket.go_away()
        elif self._idle:
            self.stream.abort()

    async def run(self, data):
        connection = self.connection
        server = connection.server
        stream = self.stream
        p = self.parser
        while True:
            # A request that came before, alone and whole, needs no parser; most answers are
            # there at once and short.
            hit = memo.get(data)
            while hit is not None:
                request = Request(self, hit[0], hit[1], shared(hit[3]), hit[2])
                try:
                    r = server.app(request)
                    if not isinstance(r, Response):
                        if hasattr(r, "send"):
                            break
                        r = to_response(r)
                except Exception as e:
                    r = fault(e)
                if not r.brief or hit[0] == "HEAD" or not hit[4] or server.closing:
                    break
                stream.write(r.whole())
                if stream.buffered:
                    self._idle = False
                    connection.deadline = now_ms() + server.stall_ms
                    await stream.drain()
                    self._idle = True
                connection.deadline = now_ms() + server.idle_ms
                data = await stream.read()
                if not data:
                    return
                hit = memo.get(data)
            self._idle = False
            if hit is not None:
                p.adopt(hit)
            else:
                connection.deadline = now_ms() + server.header_ms
                p.receive(data)
                if not await self._head(p):
                    return
                r = None
            while True:
                connection.deadline = 0
                if not await self._exchange(server, r):
                    return
                p.again()
                self._idle = True
                connection.deadline = now_ms() + server.idle_ms
                if not p.has_data():
                    break
                r = None
                if not await self._head(p):
                    return
            data = await stream.read()
            if not data:
                return

    async def _head(self, p):
        """Read on until a request's head is there; False when the connection has ended."""
        try:
            event = p.next_event()
            while event == h1.NEED_DATA:
                data = await self.stream.read()
                if self._idle and data:
                    self._idle = False
                    self.connection.deadline = now_ms() + self.connection.server.header_ms
                if data:
                    p.receive(data)
                else:
                    p.receive_eof()
                event = p.next_event()
        except ProtocolError as e:
            if not p.idle():
                await self._refuse(plain(p.fault_status, e.reason))
            return False
        self._idle = False
        return event != h1.END  # END: the client has ended between requests

    async def _exchange(self, server, r):
        """One request and its answer; whether the connection stays. r: what the handler has
        returned, if it was called."""
        p = self.parser
        self._started = False
        self._continued = not p.expect_continue
        self._body_began = self._body_bytes = 0
        self._keep = p.keep_alive and not server.closing
        if p.method == "CONNECT":
            await self._refuse(plain(501))
            return False
        if r is None:
            request = Request(self, p.method, p.target, p.headers, p.version)
            r = await answer(server.app, request)
        elif hasattr(r, "send"):
            r = await answer(lambda _: r, None)
        if self.switched:
            return False
        complete = p.complete()
        if not complete and not self._continued:
            self._keep = False  # it may or may not send the body now
        keep = self._keep and not server.closing
        try:
            await self._send(r, keep, p.method == "HEAD")
        except ProtocolError:
            return False
        if not complete and keep and self._keep:
            keep = await self._drain_request()
        return keep and self._keep

    def leave_body(self):
        """Somebody reads the request's body who will not be done: this is the last request."""
        self._keep = False

    async def _drain_request(self):
        n = 0
        try:
            while n <= _DRAIN_MAX:
                piece = await self.read()
                if not piece:
                    return True
                n += len(piece)
        except ProtocolError:
            pass
        return False

    async def _refuse(self, response):
        """Answer, and read a little on: a reset would take the answer away (RFC 9112, 9.6)."""
        self.stream.write(response.head(False) + response.body)
        await self.stream.drain()

    async def read(self):
        """A piece of the request's body, b"" at its end."""
        p = self.parser
        if not self._continued:
            self._continued = True
            self.stream.write(_CONTINUE)
            await self.stream.drain()
        server = self.connection.server
        while True:
            event = p.next_event()
            if event == h1.DATA:
                return p.data
            if event == h1.END:
                self.connection.deadline = 0
                return b""
            if event == h1.NEED_DATA:
                now = now_ms()
                if not self._body_began:
                    self._body_began = now
                # Whoever trickles has a deadline that his bytes move on by little.
                self.connection.deadline = (
                    self._body_began + server.stall_ms + self._body_bytes * 1000 // httpd.RATE
                )
                data = await self.stream.read()
                if data:
                    self._body_bytes += len(data)
                    p.receive(data)
                else:
                    p.receive_eof()

    async def _send(self, response, keep, head_only):
        body = response.body
        stream = self.stream
        if response.status == 304 or response.status == 204:
            head_only = True
        if not callable(body):
            if head_only:
                body = b""
            if len(body) <= 16384:
                stream.write(response.head(keep) + body if body else response.head(keep))
            else:
                stream.write(response.head(keep))
                stream.write(body)
            if stream.buffered:
                self.connection.deadline = now_ms() + self.connection.server.stall_ms
                await stream.drain()
            return
        p = self.parser
        self._chunked = response.length < 0 and p.version == "1.1"
        if response.length < 0 and p.version != "1.1":
            self._keep = keep = False
        try:
            stream.write(response.head(keep, p.version))
            if head_only:
                await stream.drain()
                return
            out = Out(self, response.length)
            await body(out)
            await out.finish()
        finally:
            if response.on_end is not None:
                response.on_end()

    async def write(self, data):
        """A piece of an answer's body."""
        if self._chunked:
            self.stream.write(chunk(data))
        else:
            self.stream.write(data)
        if self.stream.buffered > _HIGH:
            self.connection.deadline = now_ms() + self.connection.server.stall_ms
            await self.stream.drain()
            self.connection.deadline = 0

    async def end(self, trailers):
        if self._chunked:
            self.stream.write(last_chunk(trailers))
        self.connection.deadline = now_ms() + self.connection.server.stall_ms
        await self.stream.drain()

    def upgrade(self, fields):
        """101; what follows is the WebSocket's. Returns (read, what came already)."""
        self.switched = True
        self.connection.deadline = 0
        self.stream.write(Response(status=101, headers=fields).head(True))
        return self.parser.left_over()

    upgrades = True


class Out:
    """What a producer writes to. `trailers`: pairs, sent after a body of unknown length."""

    def __init__(self, exchange, length):
        self._x = exchange
        self._left = length
        self.trailers = []

    async def write(self, data):
        """Send a piece of the body, str or bytes; waits while the client does not read."""
        if isinstance(data, str):
            data = data.encode()
        if data:
            if self._left >= 0:
                self._left -= len(data)
                if self._left < 0:
                    raise ValueError("more body than its length")
            await self._x.write(data)

    async def finish(self):
        if self._left > 0:
            # Never make a short body look whole.
            raise OSError("body shorter than its length")
        await self._x.end(self.trailers)
