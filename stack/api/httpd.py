"""net.httpd: an HTTP server under asyncio. HTTP/1.1 and HTTP/2, plain and over TLS, WebSocket.

    def app(request):                       or async def
        return "hello"                      str, bytes, dict (JSON), (body, status, headers),
                                            Response, or None (204)
    server = await httpd.serve(app, "0.0.0.0", 80)           ssl=an ssl.SSLContext
    await server.shutdown(5)                what is under way may end within 5 seconds
    httpd.run(app, port=80)                 the same, for ever

    request.method path query args headers version ("1.1", "2") scheme target
    await request.read()    a piece of the body, b"" at its end     await request.body(most)
    await request.json()    await request.form()
    ws = await request.websocket()          then ws.recv, ws.send, ws.close: _serve_ws.py
    Response(producer)      async def producer(out): await out.write(b"...")
    static("/app/www")      a handler of files: ETag, ranges    _serve_files.py
    asgi(app), microdot(app)    handlers around other people's applications    _adapters.py

Which version a client speaks shows in its first bytes. Every limit is an option of Server.
Runs on CPython's asyncio too, for tests against the same peers.
Not implemented: HTTP/1.0's keep-alive, trailers of requests, CONNECT (501).
"""

import asyncio
import sys
import time

from micropython import const

from stack.core.errors import ProtocolError
from stack.http import dates
from stack.http import url as _url
from stack.http.h1write import CHUNKED, REASONS, build_response
from stack.http.h2.frames import PREFACE

HEADER_S = const(10)  # from the first byte of a head to its end: no slowloris
IDLE_S = const(60)  # between requests
STALL_S = const(30)  # without a byte of a body, or taken of an answer
RATE = const(500)  # bytes a second of a body, at least
CONNECTIONS_MAX = const(1200)
BODY_MAX = const(1 << 20)  # of body(), json(), form()
_SMALL = const(16384)

MICROPYTHON = sys.implementation.name == "micropython"

if MICROPYTHON:
    now_ms = time.ticks_ms
    _seconds = time.time
else:

    def _seconds():
        return int(time.time())

    def now_ms():
        return int(time.monotonic() * 1000)


class _Date:
    """The Date field, made once a second."""

    def __init__(self):
        self.at = -1
        self.text = ""
        self.line = b""

    def now(self):
        t = _seconds()
        if t != self.at:
            self.at = t
            self.text = dates.format(t)
            self.line = b"Date: " + self.text.encode() + b"\r\n"
        return self


date = _Date()


class Response:
    """An answer. Handing out one again and again costs its making once.

    body: bytes, str, dict or list (JSON), or `async def producer(out)`, which awaits
    out.write(data). length: of a producer's body, where it is known. on_end: a function called
    when a producer has ended, or will not be asked.
    """

    on_end = None

    def __init__(self, body=b"", status=200, headers=(), type=None, length=-1):
        if isinstance(body, str):
            type = type or ("text/plain; charset=utf-8" if body else None)
            body = body.encode()
        elif isinstance(body, (dict, list)):
            import json

            body = json.dumps(body).encode()
            type = type or "application/json"
        self.body = body
        self.status = status
        self.length = length if callable(body) else len(body)
        fields = list(headers.items() if hasattr(headers, "items") else headers)
        if type is not None:
            fields.append(("Content-Type", type))
        elif body and not [1 for n, _ in fields if n.lower() == "content-type"]:
            fields.append(("Content-Type", "application/octet-stream"))
        self.fields = fields
        # Short, with nothing about it that the version or the method would change.
        self.brief = not callable(body) and len(body) <= _SMALL and self._framed()
        self._line = self._rest = None
        self._whole = self._of = self._at = None
        self._h2 = None

    def _framed(self):
        """Whether it has a body by its status, be it an empty one (RFC 9110, section 6.4.1)."""
        return self.status >= 200 and self.status != 204 and self.status != 304

    def whole(self):
        """Head and body for HTTP/1.1 on a connection that is kept; kept for the next time."""
        now = date.line if date.at == _seconds() else date.now().line
        if self._at is not now or self._of is not self.body:
            self._whole = self.head(True) + self.body
            self._at = now
            self._of = self.body if isinstance(self.body, bytes) else None
        return self._whole

    def head(self, keep_alive, version="1.1"):
        """The head for HTTP/1 as bytes."""
        if self._line is None:
            framed = self._framed()
            n = self.length if framed else -1
            if n < 0 and framed and version == "1.1":
                n = CHUNKED
            whole = build_response(self.status, self.fields, n)
            cut = whole.find(b"\r\n") + 2
            self._line = whole[:cut]
            self._rest = whole[cut:]
        if keep_alive:
            return self._line + date.now().line + self._rest
        return self._line + date.now().line + b"Connection: close\r\n" + self._rest

    def h2_fields(self):
        """The fields for HTTP/2."""
        if self._h2 is None:
            self._h2 = [(":status", str(self.status))]
            self._h2.extend([(n.lower(), str(v)) for n, v in self.fields])
            if self.length >= 0 and self.status != 204 and self.status != 304:
                self._h2.append(("content-length", str(self.length)))
            self._h2.append(("date", ""))
        if self._h2[-1][1] is not date.now().text:
            self._h2 = self._h2[:-1] + [("date", date.text)]
        return self._h2


def to_response(r):
    """What a handler returned as a Response."""
    if isinstance(r, Response):
        return r
    if r is None:
        return Response(status=204)
    if isinstance(r, tuple):
        return Response(*r)
    return Response(r)


def plain(status, words=None):
    """An answer that says its status in words."""
    return Response("%d %s\n" % (status, words or REASONS.get(status, "")), status)


class Request:
    """What a handler gets; see above."""

    def __init__(self, exchange, method, target, headers, version):
        self._x = exchange
        self.method = method
        self.target = target
        self.headers = headers
        self.version = version

    def __repr__(self):
        return "<Request %s %s>" % (self.method, self.target)

    # No properties: with one in its class each store to an instance costs MicroPython three
    # look-ups more.
    def __getattr__(self, name):
        """scheme, peer ((address, port) of the client, or None), path (escapes undone; ValueError
        where they are none), query, args (the query as a dict; the last of a name holds)."""
        if name == "path":
            return _url.decode(self._split()[0])
        if name == "query":
            return self._split()[1]
        if name == "args":
            return _url.parse_query(self._split()[1])
        if name == "scheme":
            return self._x.connection.scheme
        if name == "peer":
            return self._x.connection.peer
        raise AttributeError(name)

    def _split(self):
        t = self.target
        if t[0] != "/" and "://" in t:
            t = t[t.find("://") + 3 :]
            i = t.find("/")
            t = t[i:] if i >= 0 else "/"
        path, _, query = t.partition("?")
        return path, query

    async def read(self):
        return await self._x.read()

    async def body(self, most=BODY_MAX):
        """The whole body, bytes. HttpError(413) if it has more than `most`."""
        pieces = []
        while True:
            piece = await self._x.read()
            if not piece:
                return pieces[0] if len(pieces) == 1 else b"".join(pieces)
            most -= len(piece)
            if most < 0:
                raise HttpError(413)
            pieces.append(piece)

    async def json(self):
        import json

        try:
            return json.loads(await self.body())
        except ValueError:
            raise HttpError(400, "not JSON")  # noqa: B904

    async def form(self):
        """A form's fields as a dict (application/x-www-form-urlencoded)."""
        return _url.parse_query((await self.body()).decode())

    async def websocket(self, protocols=(), compress=True, most=1 << 20):
        """Accept a WebSocket; when the handler is through with it, it returns None. HttpError."""
        from stack.api import _serve_ws

        return await _serve_ws.accept(self._x, self, protocols, compress, most)


class HttpError(Exception):
    """Raised by a handler: answer with this status."""

    def __init__(self, status, words=None):
        super().__init__(status, words)
        self.status = status
        self.words = words


async def answer(app, request):
    """The Response of a handler; its exceptions as such."""
    try:
        r = app(request)
        if hasattr(r, "send"):
            r = await r
        return to_response(r)
    except Exception as e:
        return fault(e)


def fault(e):
    """The Response to what a handler raised; OSError is raised again: the client has gone."""
    if isinstance(e, HttpError):
        return plain(e.status, e.words)
    if isinstance(e, ProtocolError):
        return plain(e.code if isinstance(e.code, int) and 400 <= e.code < 600 else 400, e.reason)
    if isinstance(e, OSError):
        raise e
    report(e)
    return plain(500)


def report(e):
    if MICROPYTHON:
        sys.print_exception(e)
    else:
        import traceback

        traceback.print_exception(e)


class AsyncioStream:
    """A connection of CPython's asyncio: what SocketStream is in the image."""

    def __init__(self, reader, writer):
        self._reader = reader
        self._writer = writer
        self.peer = writer.get_extra_info("peername")

    @property
    def buffered(self):
        return self._writer.transport.get_write_buffer_size()

    async def read(self):
        try:
            return await self._reader.read(65536)
        except OSError:
            return b""

    def write(self, data):
        if self._writer.transport.is_closing():
            raise OSError("the client has gone")  # asyncio would take it, and drop it
        self._writer.write(bytes(data))

    async def drain(self):
        await self._writer.drain()

    def close(self):
        self._writer.close()

    def abort(self):
        self._writer.transport.abort()


class Connection:
    """One client: chooses the version by its first bytes. `deadline` in ms, 0 none: see Server."""

    def __init__(self, server, stream, scheme):
        self.server = server
        self.stream = stream
        self.scheme = scheme
        self.peer = stream.peer
        self.deadline = now_ms() + HEADER_S * 1000
        self.speaker = None

    async def run(self):
        data = b""
        try:
            while True:
                piece = await self.stream.read()
                if not piece:
                    return
                data = data + piece if data else piece
                n = min(len(data), len(PREFACE))
                if data[:n] != PREFACE[:n]:
                    from stack.api._serve_h1 import H1 as speaker

                    break
                if n == len(PREFACE):
                    from stack.api._serve_h2 import H2 as speaker

                    break
            self.speaker = speaker(self)
            await self.speaker.run(data)
        except OSError:
            pass  # the client has gone
        finally:
            self.stream.close()


class Server:
    """Connections of one handler. limits: header_s, idle_s, stall_s, connections_max."""

    def __init__(self, app, header_s=HEADER_S, idle_s=IDLE_S, stall_s=STALL_S, **limits):
        self.app = app
        self.header_ms = int(header_s * 1000)
        self.idle_ms = int(idle_s * 1000)
        self.stall_ms = int(stall_s * 1000)
        self.connections_max = limits.pop("connections_max", CONNECTIONS_MAX)
        self.connections = set()
        self.closing = False
        self.refused = self.timed_out = 0
        self._listeners = []
        self._reaper = None
        if limits:
            raise TypeError("unknown limit")

    async def listen(self, host="0.0.0.0", port=80, ssl=None, backlog=128):
        """Take connections on one more address; `ssl`: an ssl.SSLContext of the server's side."""
        scheme = "http" if ssl is None else "https"
        if MICROPYTHON:
            from stack.api._serve_socket import listen

            listener = listen(self, host, port, ssl, backlog, scheme)
        else:

            async def client(reader, writer):
                await self.take(AsyncioStream(reader, writer), scheme)

            listener = await asyncio.start_server(client, host, port, ssl=ssl, backlog=backlog)
        self._listeners.append(listener)
        if self._reaper is None:
            self._reaper = asyncio.create_task(self._reap())
        return listener

    async def take(self, stream, scheme):
        """Serve one connection to its end."""
        if self.closing or len(self.connections) >= self.connections_max:
            self.refused += 1
            stream.abort()
            return
        connection = Connection(self, stream, scheme)
        connection.deadline = now_ms() + self.header_ms
        self.connections.add(connection)
        try:
            await connection.run()
        finally:
            self.connections.remove(connection)

    async def _reap(self):
        """End connections whose time is over: looks twice a second."""
        while True:
            await asyncio.sleep(0.5)
            now = now_ms()
            for c in list(self.connections):
                if c.deadline and now > c.deadline:
                    self.timed_out += 1
                    c.stream.abort()

    def close(self):
        """Take no more connections."""
        for listener in self._listeners:
            listener.close()
        self._listeners = []

    async def shutdown(self, seconds=5):
        """Take none, let what is under way end, tell idle clients; after `seconds` break off."""
        self.close()
        self.closing = True
        for c in list(self.connections):
            if c.speaker is not None:
                c.speaker.shutdown()
            else:
                c.stream.abort()
        end = now_ms() + int(seconds * 1000)
        while self.connections and now_ms() < end:
            await asyncio.sleep(0.02)
        for c in list(self.connections):
            c.stream.abort()
        while self.connections and now_ms() < end + 1000:
            await asyncio.sleep(0.02)
        if self._reaper is not None:
            self._reaper.cancel()
            self._reaper = None


async def serve(app, host="0.0.0.0", port=80, ssl=None, **limits):
    """A Server that listens."""
    server = Server(app, **limits)
    await server.listen(host, port, ssl)
    return server


def run(app, host="0.0.0.0", port=80, ssl=None, **limits):
    """Serve for ever."""

    async def main():
        await serve(app, host, port, ssl, **limits)
        while True:
            await asyncio.sleep(3600)

    asyncio.run(main())


def static(root):
    from stack.api import _serve_files

    return _serve_files.static(root)


def __getattr__(name):
    if name in ("asgi", "microdot"):
        from stack.api import _adapters

        return getattr(_adapters, name)
    raise AttributeError(name)
