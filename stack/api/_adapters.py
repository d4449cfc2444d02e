"""Other people's applications on httpd: ASGI (3.0), and Microdot without its own server.

Microdot's own WebSocket (`microdot.websocket`) and server-sent events (`microdot.sse`) run too:
it writes its frames to what it takes for a socket, over HTTP/2 to a stream (RFC 8441).
Not implemented: ASGI's lifespan and extensions, fields of websocket.accept.
"""

import asyncio

from stack.api.httpd import Response, report
from stack.core import errors
from stack.core.errors import ProtocolError

_DROPPED_MAX = 8  # messages that nobody takes, before an application is told
_INTERNAL = 1011  # RFC 6455, section 7.4.1


class _Bridge:
    """An ASGI application pushes, a producer pulls: one message between them, both wait."""

    def __init__(self):
        self.message = None
        self.error = None
        self.over = asyncio.Event()  # nothing more is taken: all was said, or the client has gone
        self.dropped = 0
        self.reading = None  # the exchange that the application reads the body of
        self._full = asyncio.Event()
        self._empty = asyncio.Event()

    async def run(self, app, scope, receive):
        try:
            await app(scope, receive, self.send)
        except Exception as e:
            if self.over.is_set() and not isinstance(e, OSError):
                report(e)
            self.error = e
        self._full.set()

    async def send(self, message):
        if self.over.is_set():
            # ASGI before 2.4 drops it, after that it is an error: this is who never asks.
            self.dropped += 1
            if self.dropped > _DROPPED_MAX:
                raise OSError(errors.EPIPE)
            await asyncio.sleep(0)
            return
        self.message = message
        self._empty.clear()
        self._full.set()
        await self._empty.wait()

    async def take(self):
        """The next message; None when the application has ended."""
        await self._full.wait()
        if self.message is None:
            if self.error is not None:
                raise self.error
            return None
        message = self.message
        self.message = None
        self._full.clear()
        self._empty.set()
        return message

    def end(self):
        self.over.set()
        self._empty.set()
        if self.reading is not None:
            self.reading.leave_body()


def asgi(app):
    """A handler around an ASGI application."""

    async def handler(request):
        upgrade = request.headers.get("Upgrade", "").lower() == "websocket"
        if upgrade or request.method == "CONNECT":
            return await _socket(app, request)
        bridge = _Bridge()
        whole = False

        async def receive():
            nonlocal whole
            if whole:
                # Who asks on after the body asks for the client's going.
                await bridge.over.wait()
                return {"type": "http.disconnect"}
            bridge.reading = request._x
            try:
                data = b"" if bridge.over.is_set() else await request.read()
            except (OSError, ProtocolError) as e:
                if not bridge.over.is_set() and not isinstance(e, OSError):
                    raise
                return {"type": "http.disconnect"}
            finally:
                bridge.reading = None
            whole = not data
            if bridge.over.is_set():
                return {"type": "http.disconnect"}
            return {"type": "http.request", "body": data, "more_body": not whole}

        asyncio.create_task(bridge.run(app, _scope(request, "http"), receive))
        head = await bridge.take()
        if head is None:
            raise RuntimeError("the application did not answer")
        fields = [(bytes(n).decode(), bytes(v).decode()) for n, v in head.get("headers", ())]
        length = -1
        for name, value in fields:
            if name.lower() == "content-length":
                length = int(value)
        skip = ("content-length", "transfer-encoding")
        fields = [f for f in fields if f[0].lower() not in skip]

        async def produce(out):
            while True:
                try:
                    message = await bridge.take()
                except Exception as e:
                    report(e)
                    message = None
                if message is None:
                    # An answer that was not finished must not look whole.
                    raise OSError(errors.EPIPE)
                await out.write(message.get("body", b""))
                if not message.get("more_body"):
                    break

        response = Response(produce, head["status"], fields, None, length)
        response.on_end = bridge.end
        return response

    return handler


async def _socket(app, request):
    """An ASGI application's websocket."""
    ws = None
    connected = False

    async def receive():
        nonlocal connected
        if not connected:
            connected = True
            return {"type": "websocket.connect"}
        message = None if ws is None else await ws.recv()
        if message is None:
            return {"type": "websocket.disconnect", "code": ws.close_code if ws else 1006}
        # One of the two keys: some look whether the other is there at all.
        kind = "text" if isinstance(message, str) else "bytes"
        return {"type": "websocket.receive", kind: message}

    async def send(message):
        nonlocal ws
        kind = message["type"]
        if kind == "websocket.accept":
            chosen = message.get("subprotocol")
            ws = await request.websocket((chosen,) if chosen else ())
        elif ws is None:
            return  # a close before the accept: refused below
        elif kind == "websocket.send":
            text = message.get("text")
            await ws.send(message["bytes"] if text is None else text)
        elif kind == "websocket.close":
            await ws.close(message.get("code", 1000), message.get("reason") or "")

    try:
        await app(_scope(request, "websocket"), receive, send)
    except Exception as e:
        if ws is None:
            raise
        if not isinstance(e, OSError):
            report(e)
        await ws.close(_INTERNAL)
    if ws is None:
        return Response("", 403)
    await ws.close()


def _scope(request, type):
    host, _, port = request.headers.get("Host", "").rpartition(":")
    tls = request.scheme == "https"
    if not host or not port.isdigit():
        host, port = request.headers.get("Host", ""), 443 if tls else 80
    h = [(n.lower().encode(), v.encode()) for n, v in request.headers.items()]
    peer = request.peer
    scope = {
        "type": type,
        "asgi": {"version": "3.0", "spec_version": "2.3"},
        "http_version": request.version,
        "method": request.method,
        "scheme": request.scheme,
        "path": request.path,
        "raw_path": request.target.split("?")[0].encode(),
        "query_string": request.query.encode(),
        "root_path": "",
        "headers": h,
        "client": (peer[0], peer[1]) if peer else None,
        "server": (host, int(port)),
        "state": {},
    }
    if type == "websocket":
        del scope["method"]
        scope["scheme"] = "wss" if tls else "ws"
        offered = request.headers.get("Sec-WebSocket-Protocol", "").split(",")
        scope["subprotocols"] = [p.strip() for p in offered if p.strip()]
    return scope


class _Body:
    """A body that is not in memory, as the stream that Microdot's `request.stream` is."""

    def __init__(self, read):
        self._read = read
        self._rest = b""

    async def _more(self):
        piece = await self._read()
        self._rest += piece
        return piece

    async def read(self, n=-1):
        """n bytes, fewer at the end; all that is left without n."""
        while (n < 0 or len(self._rest) < n) and await self._more():
            pass
        if n < 0:
            n = len(self._rest)
        return self._take(n)

    def _take(self, n):
        out = self._rest[:n]
        self._rest = self._rest[n:]
        return out

    async def readexactly(self, n):
        out = await self.read(n)
        if len(out) < n:
            raise OSError(errors.ECONNRESET)
        return out

    async def readline(self):
        while True:
            i = self._rest.find(b"\n") + 1
            if i or not await self._more():
                return self._take(i or len(self._rest))


class _Wire:
    """What Microdot takes for its socket: a reader and a writer of a WebSocket's frames."""

    def __init__(self, request):
        self._request = request
        self._head = b""
        self._pipe = None
        self.reader = _Body(self._read)

    async def _read(self):
        return await self._pipe.read() if self._pipe else b""

    async def awrite(self, data):
        if self._pipe is None:
            # Its 101: ours goes out instead, which is a 200 over HTTP/2.
            self._head += data
            if b"\r\n\r\n" in self._head:
                self._open()
                await self._pipe.flush()
            return
        self._pipe.write(data)
        await self._pipe.flush()

    def _open(self):
        from stack.api import _serve_ws
        from stack.ws import handshake

        request = self._request
        x = request._x
        fields = handshake.answer(request.method, request.headers, (), False, x.upgrades)[1]
        self.reader._rest = x.upgrade(fields)
        self._pipe = _serve_ws.H1Pipe(x) if x.upgrades else _serve_ws.H2Pipe(x)
        x.socket = self

    def go_away(self):
        self._pipe.close()

    async def close(self):
        if self._pipe is not None:
            try:
                await self._pipe.flush()
            except OSError:
                pass
            self._pipe.close()


def microdot(app):
    """A handler around a Microdot application (`microdot.Microdot`, not its ASGI kind)."""
    from microdot import Request as Theirs
    from microdot import Response as TheirResponse
    from microdot.microdot import NoCaseDict

    async def theirs(request, wire):
        headers = NoCaseDict()
        for name, value in request.headers.items():
            headers[name] = value
        method = request.method
        if method == "CONNECT":  # a WebSocket over HTTP/2, which Microdot has not heard of
            method = "GET"
            headers["Upgrade"] = "websocket"
            headers["Connection"] = "Upgrade"
            headers["Sec-WebSocket-Key"] = "AAAAAAAAAAAAAAAAAAAAAA=="
        body = b""
        stream = None
        if int(headers.get("Content-Length", 0)) > Theirs.max_body_length:
            stream = _Body(request.read)
        elif request.method != "CONNECT":
            body = await request.body(Theirs.max_body_length)
            if body and "Content-Length" not in headers:
                headers["Content-Length"] = str(len(body))
        return Theirs(
            app, request.peer, method, request.target, request.version, headers,
            body=body, stream=stream, sock=(wire.reader, wire), scheme=request.scheme,
        )  # fmt: skip

    async def handler(request):
        wire = _Wire(request)
        r = await app.dispatch_request(await theirs(request, wire))
        if r == TheirResponse.already_handled:
            await wire.close()
            return None
        r.complete()
        fields = []
        for name, value in r.headers.items():
            if name.lower() not in ("content-length", "transfer-encoding"):
                for v in value if isinstance(value, list) else (value,):
                    fields.append((name, v))
        if isinstance(r.body, (bytes, str)):
            body = r.body.encode() if isinstance(r.body, str) else r.body
            return Response(body, r.status_code, fields)
        pieces = r.body_iter().__aiter__()

        async def produce(out):
            while True:
                try:
                    piece = await pieces.__anext__()
                except StopAsyncIteration:
                    return
                await out.write(piece)

        def end():
            if hasattr(pieces, "aclose"):
                asyncio.create_task(pieces.aclose())

        response = Response(produce, r.status_code, fields)
        response.on_end = end
        return response

    return handler
