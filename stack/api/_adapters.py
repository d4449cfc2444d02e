"""Other people's applications on httpd: ASGI (3.0), and Microdot without its own server.

Not implemented: ASGI's lifespan and extensions, Microdot's own WebSocket (use request's).
"""

import asyncio

from stack.api.httpd import Response


class _Bridge:
    """An ASGI application pushes, a producer pulls: one message between them, both wait."""

    def __init__(self):
        self.message = None
        self.error = None
        self._full = asyncio.Event()
        self._empty = asyncio.Event()

    async def run(self, app, scope, receive):
        try:
            await app(scope, receive, self.send)
        except Exception as e:
            self.error = e
        self._full.set()

    async def send(self, message):
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


def asgi(app):
    """A handler around an ASGI application."""

    async def handler(request):
        upgrade = request.headers.get("Upgrade", "").lower() == "websocket"
        if upgrade or request.method == "CONNECT":
            return await _socket(app, request)
        bridge = _Bridge()

        async def receive():
            data = await request.read()
            return {"type": "http.request", "body": data, "more_body": bool(data)}

        task = asyncio.create_task(bridge.run(app, _scope(request, "http"), receive))
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
            try:
                while True:
                    message = await bridge.take()
                    if message is None:
                        break
                    await out.write(message.get("body", b""))
                    if not message.get("more_body"):
                        break
            except BaseException:
                task.cancel()
                raise

        return Response(produce, head["status"], fields, None, length)

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
        message = await ws.recv()
        if message is None:
            return {"type": "websocket.disconnect", "code": ws.close_code}
        text = isinstance(message, str)
        return {
            "type": "websocket.receive",
            "text": message if text else None,
            "bytes": None if text else message,
        }

    async def send(message):
        nonlocal ws
        kind = message["type"]
        if kind == "websocket.accept":
            chosen = message.get("subprotocol")
            ws = await request.websocket((chosen,) if chosen else ())
        elif kind == "websocket.send":
            text = message.get("text")
            await ws.send(message["bytes"] if text is None else text)
        elif kind == "websocket.close" and ws is not None:
            await ws.close(message.get("code", 1000), message.get("reason") or "")

    await app(_scope(request, "websocket"), receive, send)
    if ws is None:
        return Response("", 403)
    await ws.close()


def _scope(request, type):
    host = request.headers.get("Host", "")
    h = [(n.lower().encode(), v.encode()) for n, v in request.headers.items()]
    peer = request.peer
    return {
        "type": type,
        "asgi": {"version": "3.0", "spec_version": "2.3"},
        "http_version": request.version,
        "method": request.method,
        "scheme": request.scheme if type == "http" else request.scheme.replace("http", "ws"),
        "path": request.path,
        "raw_path": request.target.split("?")[0].encode(),
        "query_string": request.query.encode(),
        "root_path": "",
        "headers": h,
        "client": (peer[0], peer[1]) if peer else None,
        "server": (host, None),
        "state": {},
    }


def microdot(app):
    """A handler around a Microdot application (`microdot.Microdot`, not its ASGI kind)."""
    from microdot import Request as Theirs
    from microdot import Response as TheirResponse
    from microdot.microdot import NoCaseDict

    async def handler(request):
        headers = NoCaseDict()
        for name, value in request.headers.items():
            headers[name] = value
        body = await request.body(Theirs.max_content_length)
        if body and "Content-Length" not in headers:
            headers["Content-Length"] = str(len(body))
        theirs = Theirs(
            app, request.peer, request.method, request.target, "1.1", headers, body=body
        )
        r = await app.dispatch_request(theirs)
        if r == TheirResponse.already_handled:
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

        async def produce(out):
            async for piece in r.body_iter():
                await out.write(piece)

        return Response(produce, r.status_code, fields)

    return handler
