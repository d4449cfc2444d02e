"""Applications made for other servers on net.httpd in the guest: Microdot from PyPI as it is, and
a plain ASGI one; before curl and `websockets`. (Microdot's own ASGI kind needs CPython: for that
and for Starlette see tests/oracle/http/test_adapters.py.)"""

import asyncio
import json
import pathlib

import microdot
import pytest
import websockets

pytestmark = [pytest.mark.boot, pytest.mark.bridge, pytest.mark.guest_options(mem=128)]

FILES = {"/www/file.txt": b"0123456789" * 5000}

ROUTES = """
import asyncio, net
from net import httpd
from microdot import Microdot, Response, send_file
from microdot.sse import with_sse
from microdot.websocket import with_websocket

class Lines:
    # Not a generator: Microdot awaits what has send(), and here those are one.
    i = -1

    def __aiter__(self):
        return self

    async def __anext__(self):
        self.i += 1
        if self.i == 100:
            raise StopAsyncIteration
        return str(self.i) + "\\n"

def routes(app):
    @app.get("/hello/<name>")
    async def hello(request, name):
        return {"hello": name, "q": request.args.get("q")}

    @app.post("/form")
    def form(request):
        return request.form["a"], 201, {"X-B": "c"}

    @app.post("/json")
    def js(request):
        return {"got": request.json}

    @app.get("/many")
    def many(request):
        return Lines()

    @app.get("/static/<path:path>")
    def static(request, path):
        if ".." in path:
            return "", 404
        return send_file("/www/" + path)

    @app.get("/cookie")
    def cookie(request):
        response = Response(request.cookies.get("a", "none"))
        response.set_cookie("a", "1")
        response.set_cookie("b", "2")
        return response

    @app.get("/fails")
    def fails(request):
        raise ValueError("as it should")

    @app.errorhandler(404)
    def nothing(request):
        return "not here", 404

    @app.get("/ws")
    @with_websocket
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
                await asyncio.sleep_ms(10)
                await sse.send("x" * 1000)
        except asyncio.CancelledError:
            app.cancelled += 1
            raise

    @app.get("/cancelled")
    def cancelled(request):
        return str(app.cancelled)

    app.cancelled = 0
    return app

async def plain(scope, receive, send):
    if scope["type"] == "websocket":
        await receive()
        await send({"type": "websocket.accept", "subprotocol": scope["subprotocols"][0]})
        while True:
            m = await receive()
            if m["type"] == "websocket.disconnect":
                return
            await send({"type": "websocket.send", "text": m["text"] + " on " + scope["path"]})
    n = 0
    while True:
        m = await receive()
        n += len(m["body"])
        if not m["more_body"]:
            break
    fields = [(b"content-type", b"text/plain"), (b"x-version", scope["http_version"].encode())]
    await send({"type": "http.response.start", "status": 200, "headers": fields})
    await send({"type": "http.response.body", "body": str(n).encode(), "more_body": True})
    for i in range(20):
        await send({"type": "http.response.body", "body": b" " * 3000, "more_body": True})
    await send({"type": "http.response.body", "body": b"end"})

async def main():
    await httpd.serve(httpd.microdot(routes(Microdot())), port=8001)
    await httpd.serve(httpd.asgi(plain), port=8003)
    # Over a stream of HTTP/2 (RFC 8441), which Microdot has not heard of: by our own client.
    for url in ("ws://127.0.0.1:8001/ws", "ws://127.0.0.1:8003/ws"):
        ws = await net.aio.websocket.connect(url, http2=True, subprotocols=("chat",))
        await ws.send("over a stream " * 500)
        m = await ws.recv()
        assert m.startswith("over a stream " * 500) and ws.subprotocol != "x", m
        await ws.close()
    print("serving")
    while True:
        await asyncio.sleep(1000)
"""


def install(guest):
    """Microdot's folder as pip unpacked it, and the files of the test."""
    guest.exec("import os\nfor d in ('/lib', '/lib/microdot', '/www'):\n  try: os.mkdir(d)\n"
               "  except OSError: pass")  # fmt: skip
    folder = pathlib.Path(microdot.__file__).parent
    for name in ("__init__", "microdot", "helpers", "websocket", "sse"):
        guest.put(f"/lib/microdot/{name}.py", (folder / f"{name}.py").read_bytes())
    for path, data in FILES.items():
        guest.put(path, data)


async def talk(lab, address, path, *messages, **options):
    """What each message is answered, over a WebSocket; then the subprotocol."""
    sock = lab.gateway.connect(address)
    sock.setblocking(False)
    url = f"ws://{address[0]}:{address[1]}{path}"
    async with websockets.connect(url, sock=sock, **options) as ws:
        got = []
        for message in messages:
            await ws.send(message)
            got.append(await ws.recv())
        return got, ws.subprotocol


def test_applications(bridged_guest, lab):
    guest, run = bridged_guest, lab.gateway.run
    install(guest)
    running = guest.run_async(ROUTES + "\nimport sys\nsys.path.append('/lib')\nasyncio.run(main())")
    running.expect("serving", timeout=60)
    for way in ("--http1.1", "--http2-prior-knowledge"):

        def curl(path, *options, way=way, check=True):
            url = f"http://{guest.ip}:8001{path}"
            return run("curl", "-sS", "-m", "60", way, *options, url, check=check).stdout

        assert json.loads(curl("/hello/you?q=1")) == {"hello": "you", "q": "1"}
        out = curl("/form", "-i", "-d", "a=b%20c")
        assert out.endswith("b c") and " 201" in out and "x-b: c" in out.lower()
        out = curl("/json", "-H", "Content-Type: application/json", "-d", '{"a": [1, 2]}')
        assert json.loads(out) == {"got": {"a": [1, 2]}}
        assert curl("/many") == "".join(f"{i}\n" for i in range(100))
        out = curl("/static/file.txt", "-i")
        assert out.endswith("0123456789" * 5000) and "text/plain" in out
        out = curl("/cookie", "-i", "-b", "a=7")
        assert out.endswith("7") and out.lower().count("set-cookie: ") == 2
        assert " 500" in curl("/fails", "-i") and curl("/nothing") == "not here"
        out = curl("/events")
        assert out.startswith('event: count\nid: 0\ndata: {"n": 0}\n\n')
        assert out.count("\n\n") == 3
        # Who stops listening stops the events: the application hears of it.
        before = int(curl("/cancelled"))
        curl("/events?for=ever", "--max-time", "1", check=False)
        for _ in range(300):
            if int(curl("/cancelled")) > before:
                break
        else:
            raise AssertionError("the events go on")
    messages = ("hällo", b"\0\xff", "x" * 16_000, "y" * 200)
    got, _ = asyncio.run(talk(lab, (guest.ip, 8001), "/ws", *messages, compression=None))
    assert tuple(got) == messages
    for way, version in (("--http1.1", "1.1"), ("--http2-prior-knowledge", "2")):
        url = f"http://{guest.ip}:8003/"
        out = run("curl", "-sSi", way, "-d", "z" * 100_000, url).stdout
        assert out.split("\n\n", 1)[1] == "100000" + " " * 60_000 + "end"
        assert f"x-version: {version}" in out
    got = asyncio.run(talk(lab, (guest.ip, 8003), "/a", "hi", subprotocols=["x", "y"]))
    assert got == (["hi on /a"], "x")
