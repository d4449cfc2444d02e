"""Other people's applications on the HTTP server: ASGI, Starlette, and Microdot both ways."""

import asyncio
import json
import socket
import threading

import h2.config
import h2.connection
import h2.events
import pytest
import websockets
from microdot import Microdot, Request, send_file
from microdot import Response as MicrodotResponse
from microdot.asgi import Microdot as AsgiMicrodot
from microdot.asgi import with_websocket as asgi_with_websocket
from microdot.sse import with_sse
from microdot.websocket import with_websocket
from starlette.applications import Starlette
from starlette.background import BackgroundTask
from starlette.responses import JSONResponse, PlainTextResponse, Response, StreamingResponse
from starlette.routing import Mount, Route, WebSocketRoute
from starlette.staticfiles import StaticFiles

from stack.api import httpd
from stack.ws import frames
from stack.ws.connection import Connection
from tests.oracle.http.running import Running
from tests.oracle.http.test_server import run

WAYS = ("--http1.1", "--http2-prior-knowledge")


def ways(url):
    """curl(path, *options) for each version."""
    for way in WAYS:
        yield lambda path, *options, way=way: run("curl", "-sS", way, *options, url + path)


def talk(port, path, *messages, **options):
    """What a server's WebSocket answers to each message, the code that it closed with."""

    async def go():
        async with websockets.connect(f"ws://127.0.0.1:{port}{path}", **options) as ws:
            got = []
            for message in messages:
                try:
                    await ws.send(message)
                    got.append(await ws.recv())
                except websockets.ConnectionClosed:
                    break
            return got, ws

    got, ws = asyncio.run(go())
    return got, ws.close_code, ws.subprotocol


def over_http2(port, path, message):
    """The answer to a message over RFC 8441, the client's side by the package h2 and stack/ws."""
    c = h2.connection.H2Connection(h2.config.H2Configuration(client_side=True))
    c.initiate_connection()
    ws = Connection(True, lambda n: bytes(n))
    with socket.create_connection(("127.0.0.1", port), 20) as s:

        def pump():
            s.sendall(c.data_to_send())
            return c.receive_data(s.recv(65536))

        while not c.remote_settings.enable_connect_protocol:
            pump()
        c.send_headers(1, [
            (":method", "CONNECT"), (":protocol", "websocket"), (":scheme", "http"),
            (":path", path), (":authority", "h"), ("sec-websocket-version", "13"),
        ])  # fmt: skip
        while True:
            for e in pump():
                if isinstance(e, h2.events.ResponseReceived):
                    assert dict(e.headers)[b":status"] == b"200"
                    ws.send(message)
                    c.send_data(1, bytes(ws.data_to_send()))
                elif isinstance(e, h2.events.DataReceived):
                    ws.receive(e.data)
                elif isinstance(e, h2.events.StreamEnded):
                    raise AssertionError("ended")
            event = ws.next_event()
            if event:
                return event


def test_asgi():
    async def app(scope, receive, send):
        assert scope["type"] in ("http", "websocket")
        if scope["type"] == "websocket":
            assert (await receive())["type"] == "websocket.connect"
            await send({"type": "websocket.accept"})
            message = await receive()
            await send({"type": "websocket.send", "text": message["text"].upper()})
            assert (await receive())["type"] == "websocket.disconnect"
            return
        assert scope["server"][1] == s.port and scope["server"][0] == "127.0.0.1"
        body, more = b"", True
        while more:
            message = await receive()
            body, more = body + message["body"], message["more_body"]
        fields = [(b"x-path", scope["raw_path"]), (b"content-type", b"text/x")]
        await send({"type": "http.response.start", "status": 202, "headers": fields})
        for piece in (scope["method"].encode(), b" ", scope["query_string"], b" ", body):
            await send({"type": "http.response.body", "body": piece, "more_body": True})
        await send({"type": "http.response.body"})

    with Running(httpd.asgi(app)) as s:
        for curl in ways(s.url):
            out = curl("/p?q=1", "-i", "-d", "data")
            assert out.endswith(b"POST q=1 data") and b" 202" in out and b"x-path: /p" in out
        assert talk(s.port, "/", "up")[0] == ["UP"]
        assert over_http2(s.port, "/", "up") == (frames.TEXT, "UP")


def test_asgi_that_goes_wrong():
    """Nothing is left over of answers that nobody wants, and none looks whole that is not."""
    ended = []

    async def app(scope, receive, send):
        if scope["type"] == "websocket":
            await receive()
            if scope["path"] == "/no":
                await send({"type": "websocket.close"})
                return
            await send({"type": "websocket.accept"})
            raise ValueError("as it should")
        path = scope["path"]
        if path == "/fails":
            raise ValueError("as it should")
        status = int(path[1:]) if path[1:].isdigit() else 200
        await send({"type": "http.response.start", "status": status, "headers": []})
        if path == "/stops":
            await send({"type": "http.response.body", "body": b"half", "more_body": True})
            raise ValueError("as it should")
        try:
            while path == "/endless":
                await send({"type": "http.response.body", "body": b"x" * 9999, "more_body": True})
            await send({"type": "http.response.body", "body": b"body"})
        finally:
            message = {"type": "http.request"}
            while message["type"] == "http.request":
                message = await receive()
            ended.append((path, message["type"]))

    with Running(httpd.asgi(app)) as s:
        for curl in ways(s.url):
            assert b" 500" in curl("/fails", "-i")
            assert curl("/", "-I") and curl("/204", "-i") and curl("/304", "-i")
            assert curl("/200") == b"body"
            for way in WAYS:
                run("curl", "-sS", way, "--max-time", "20", s.url + "/stops", check=False)
            assert s.call(until(lambda: len(ended) == 4)), ended
            assert {kind for _, kind in ended} == {"http.disconnect"}
            ended.clear()
        # On one connection: what was cut short of an answer must not be in front of the next.
        with socket.create_connection(("127.0.0.1", s.port), 20) as c:
            for path in ("304", "204", "200"):
                c.sendall(f"GET /{path} HTTP/1.1\r\nHost: h\r\n\r\n".encode())
            out = b""
            while not out.endswith(b"0\r\n\r\n"):
                out += c.recv(1000)
            assert out.count(b"\r\n\r\n") == 4 and out.count(b"HTTP/1.1 ") == 3, out
        assert s.call(until(lambda: len(ended) == 3)), ended
        ended.clear()
        for way in WAYS:
            done = run("curl", "-s", way, "-w", " %{exitcode}", s.url + "/stops", check=False)
            assert int(done.split()[-1]) in (18, 92), done
            run("curl", "-sS", way, "--max-time", "0.3", "-o", "/dev/null", s.url + "/endless",
                check=False)  # fmt: skip
        assert s.call(until(lambda: [p for p, _ in ended] == ["/endless"] * 2)), ended
        assert talk(s.port, "/", "x")[1] == 1011
        with pytest.raises(websockets.InvalidStatus, match="403"):
            talk(s.port, "/no", "x")
        assert s.call(until(lambda: len(asyncio.all_tasks()) <= 4)), s.call(tasks())


async def until(condition):
    for _ in range(2000):
        if condition():
            return True
        await asyncio.sleep(0.01)
    return False


async def tasks():
    return asyncio.all_tasks()


def test_starlette(tmp_path):
    (tmp_path / "file.txt").write_bytes(b"0123456789" * 5000)
    after = threading.Event()

    async def echo(request):
        body = await request.body()
        return JSONResponse({
            "body": body.decode(), "q": request.query_params["q"],
            "who": request.path_params["who"], "cookie": request.cookies.get("c"),
            "host": request.url.hostname,
        })  # fmt: skip

    async def stream(request):
        async def lines():
            for i in range(1000):
                yield f"{i}\n"

        return StreamingResponse(lines(), media_type="text/plain")

    async def cookie(request):
        response = Response("set", background=BackgroundTask(after.set))
        response.set_cookie("c", "1")
        return response

    async def chat(ws):
        await ws.accept(subprotocol="chat" if "chat" in ws.scope["subprotocols"] else None)
        async for text in ws.iter_text():
            await ws.send_text(f"{text} on {ws.url.path}")

    async def gone(request, error):
        return PlainTextResponse("not here", 404)

    app = Starlette(
        routes=[
            Route("/echo/{who}", echo, methods=["GET", "POST"]), Route("/stream", stream),
            Route("/cookie", cookie), WebSocketRoute("/ws", chat),
            Mount("/static", StaticFiles(directory=tmp_path)),
        ],
        exception_handlers={404: gone},
    )  # fmt: skip
    with Running(httpd.asgi(app)) as s:
        for curl in ways(s.url):
            got = json.loads(curl("/echo/you?q=1", "-d", "data", "-b", "c=2"))
            assert got == {
                "body": "data", "q": "1", "who": "you", "cookie": "2", "host": "127.0.0.1"
            }  # fmt: skip
            assert curl("/stream") == b"".join(b"%d\n" % i for i in range(1000))
            assert b"set-cookie: c=1" in curl("/cookie", "-i").lower() and after.wait(20)
            after.clear()
            assert curl("/static/file.txt") == b"0123456789" * 5000
            assert curl("/static/file.txt", "-r", "5-8") == b"5678"
            assert curl("/nothing") == b"not here"
            assert b" 405" in curl("/stream", "-i", "-X", "PUT")
        assert talk(s.port, "/ws", "a", "b", subprotocols=["x", "chat"]) == (
            ["a on /ws", "b on /ws"], 1000, "chat",
        )  # fmt: skip
        assert over_http2(s.port, "/ws", "hi") == (frames.TEXT, "hi on /ws")


def make_microdot(app, websocket, folder):
    """Routes of every kind, for both of Microdot's applications."""

    @app.get("/hello/<name>")
    async def hello(request, name):
        return {"hello": name, "q": request.args.get("q")}

    @app.post("/form")
    def form(request):
        return request.form["a"], 201, {"X-B": "c"}

    @app.post("/long")
    async def long(request):
        n = 0
        while data := await request.stream.read(1000):
            n += len(data)
        return str(n)

    @app.get("/many")
    def many(request):
        return (f"{i}\n" for i in range(5))

    @app.get("/file/<path:name>")
    def file(request, name):
        return send_file(str(folder / name))

    @app.get("/cookie")
    def cookie(request):
        response = MicrodotResponse("set")
        response.set_cookie("a", "1")
        response.set_cookie("b", "2")
        return response

    @app.get("/fails")
    def fails(request):
        raise ValueError("as it should")

    @app.errorhandler(404)
    def nothing(request):
        return "not here", 404

    @app.after_request
    def after(request, response):
        response.headers["X-After"] = "yes"

    @app.get("/ws")
    @websocket
    async def chat(request, ws):
        while True:
            message = await ws.receive()
            if message == "end":
                break
            await ws.send(message)

    @app.get("/events")
    @with_sse
    async def events(request, sse):
        try:
            for i in range(3):
                await sse.send({"n": i}, event="count", event_id=str(i))
            while request.args.get("for"):
                await asyncio.sleep(0.01)
                await sse.send("x" * 1000)
        except asyncio.CancelledError:
            app.cancelled += 1
            raise

    app.cancelled = 0
    return app


@pytest.mark.parametrize("kind", ["own", "asgi"])
def test_microdot(kind, tmp_path, monkeypatch):
    monkeypatch.setattr(Request, "max_content_length", 200_000)
    (tmp_path / "file.txt").write_bytes(b"0123456789" * 5000)
    if kind == "own":
        app = make_microdot(Microdot(), with_websocket, tmp_path)
        handler = httpd.microdot(app)
    else:
        app = make_microdot(AsgiMicrodot(), asgi_with_websocket, tmp_path)
        handler = httpd.asgi(app)
    with Running(handler) as s:
        for curl in ways(s.url):
            assert json.loads(curl("/hello/you?q=1")) == {"hello": "you", "q": "1"}
            out = curl("/form", "-i", "-d", "a=b%20c")
            assert out.endswith(b"\r\n\r\nb c") and b" 201" in out
            assert b": c\r\n" in out and b"x-after: yes" in out.lower()
            assert curl("/long", "-d", "x" * 90_000) == b"90000"
            assert curl("/many") == b"0\n1\n2\n3\n4\n"
            out = curl("/file/file.txt", "-i")
            assert out.endswith(b"0123456789" * 5000) and b"text/plain" in out
            assert curl("/file/file.txt", "-I").endswith(b"\r\n\r\n")
            assert curl("/cookie", "-i").lower().count(b"set-cookie: ") == 2
            assert b" 500" in curl("/fails", "-i") and curl("/nothing") == b"not here"
            out = curl("/events")
            assert out.startswith(b'event: count\nid: 0\ndata: {"n": 0}\n\n')
            assert out.count(b"\n\n") == 3
        # Over HTTP/2 the answer is there too, but curl 7.88 drops it for the RST_STREAM after it.
        out = run("curl", "-sSi", "-d", "x" * 90_000, "-d", "y" * 120_000, s.url + "/long")
        assert b" 413" in out
        for way in WAYS:
            run("curl", "-sS", way, "--max-time", "0.3", s.url + "/events?for=ever", check=False)
        assert s.call(until(lambda: app.cancelled == 2)), app.cancelled
        messages = ["", "hällo", b"\0\xff", "x" * 16_000]
        if kind == "own":
            messages = messages[1:]  # it takes an empty message for none
        got, code, _ = talk(s.port, "/ws", *messages, "end", compression=None)
        assert got == messages and code in (1000, 1005)
        assert over_http2(s.port, "/ws", "hi" * 500) == (frames.TEXT, "hi" * 500)
        with socket.create_connection(("127.0.0.1", s.port), 20) as c:  # none of a WebSocket
            c.sendall(b"GET /ws HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n")
            assert b" 400 " in c.recv(1000) or kind == "asgi"
