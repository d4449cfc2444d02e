"""net.httpd in the guest, before the clients that people have: curl, nghttp, h2load, websockets,
libcurl's WebSocket, and Node's: `ws`, undici, node:http2."""

import asyncio
import json
import sys

import pytest
import websockets

from barewire.paths import build_dir, root
from tests.boot import tls_peers as peers

pytestmark = [pytest.mark.boot, pytest.mark.bridge]

APP = """
import asyncio, gc, ssl, os
from net import httpd
hello = httpd.Response("hello\\n")
async def produce(out):
    for i in range(100):
        await out.write("line %d\\n" % i * 100)
    out.trailers.append(("X-End", "yes"))
async def pieces(out):
    for i in range(300):
        await out.write(b"x" * 1000)
async def echo(request):
    return await request.body(1 << 24)
async def chat(request):
    ws = await request.websocket(("chat",))
    while True:
        message = await ws.recv()
        if message is None:
            break
        await ws.send(message)
async def form(request):
    return {"form": await request.form(), "args": request.args, "version": request.version}
def memory(request):
    gc.collect()
    return str(gc.mem_free())
files = httpd.static("/www")
table = {"/hello": lambda r: hello, "/stream": lambda r: httpd.Response(produce), "/echo": echo,
         "/ws": chat, "/form": form, "/big": lambda r: b"x" * 300000, "/memory": memory,
         "/pieces": lambda r: httpd.Response(pieces),
         "/held": lambda r: str(len(server.connections))}
def app(request):
    return table.get(request.path, files)(request)
async def main():
    global server
    server = await httpd.serve(app, port=80)
    try:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain("/p256.pem", "/p256.key")
        context.set_alpn_protocols(["h2", "http/1.1"])
        await server.listen(port=443, ssl=context)
    except OSError:
        pass
    print("serving")
    while True:
        await asyncio.sleep(1000)
"""
FILE = bytes(i & 255 for i in range(100_000))
WAYS = ("--http1.1", "--http2-prior-knowledge")


def start(guest):
    running = guest.run_async(APP + "\nasyncio.run(main())")
    running.expect("serving")
    return running


def node(lab, script, *args):
    """What a script of tests/npm says on the gateway, as JSON."""
    modules = build_dir() / "npm" / "node_modules"
    script = root() / "tests" / "npm" / script
    done = lab.gateway.run(
        "env", f"NODE_PATH={modules}", "node", script, *args, check=False, timeout=180
    )
    assert done.returncode == 0, done.stderr + done.stdout
    return json.loads(done.stdout)


@pytest.mark.guest_options(mem=128)
def test_clients(bridged_guest, lab, artifacts):
    guest = bridged_guest
    peers.put_identity(guest, peers.write_identities(artifacts), "p256")
    guest.exec("import os\nos.mkdir('/www')")
    guest.put("/www/file.bin", FILE)
    start(guest)
    (artifacts / "file.bin").write_bytes(FILE)

    def curl(path, *options, scheme="http"):
        url = f"{scheme}://{guest.ip}{path}"
        out = artifacts / "out"
        out.write_bytes(b"")
        lab.gateway.run("curl", "-sSk", "--max-time", "60", "-o", out, *options, url)
        return out.read_bytes()

    for scheme, ways in (("http", WAYS), ("https", ("--http1.1", "--http2"))):
        for way in ways:

            def get(path, *options, way=way, scheme=scheme):
                return curl(path, way, *options, scheme=scheme)

            assert get("/hello") == b"hello\n"
            assert get("/stream") == b"".join(b"line %d\n" % i * 100 for i in range(100))
            assert get("/echo", "--data-binary", f"@{artifacts / 'file.bin'}") == FILE
            assert get("/file.bin") == FILE and get("/file.bin", "-r", "5-9") == FILE[5:10]
            assert len(get("/big")) == 300_000
            got = json.loads(get("/form?q=1", "-d", "a=b+c"))
            version = "1.1" if "1.1" in way else "2"
            assert got == {"form": {"a": "b c"}, "args": {"q": "1"}, "version": version}
            assert b" 404" in get("/nothing", "-i")
    out = lab.gateway.run("nghttp", "-v", f"http://{guest.ip}/stream").stdout
    assert "x-end: yes" in out
    out = lab.gateway.run("nghttp", "-nv", "-m", "20", f"https://{guest.ip}/big").stdout
    assert out.count(":status: 200") == 20


@pytest.mark.guest_options(mem=128)
def test_100_streams_and_32_connections(bridged_guest, lab):
    guest = bridged_guest
    start(guest)
    base = f"http://{guest.ip}"

    def load(*options):
        out = lab.gateway.run("h2load", *options).stdout
        n = options[1]
        assert f"{n} succeeded, 0 failed, 0 errored" in out, out

    def settled():
        """Free memory when no connection is held but the one that asks."""
        for _ in range(200):
            if lab.gateway.run("curl", "-sS", base + "/held").stdout == "1":
                break
        else:
            raise AssertionError("connections stay open")
        return int(lab.gateway.run("curl", "-sS", base + "/memory").stdout)

    load("-n", "200", "-c", "1", "-m", "100", base + "/hello")
    free = settled()
    load("-n", "1000", "-c", "1", "-m", "100", base + "/hello")
    load("-n", "40", "-c", "1", "-m", "20", base + "/big")
    # The collector is conservative: a stray word may hold one body of 300 KB, not more.
    assert settled() > free - 400_000
    # 20 streams are not read at all until 79 others of their connection are through: what they
    # hold is a stream's queue of 32 KB each, its pieces and its task.
    got = node(lab, "unequal.js", guest.ip, "/pieces", 300_000)
    print(got)
    assert got["held"] == 20 and got["took"] < 20 * 48_000 + 400_000
    assert settled() > free - 400_000
    load("-n", "1000", "-c", "32", "--h1", base + "/hello")
    assert settled() > free - 400_000


# libcurl's WebSocket, of a libcurl that has one (Debian 12's has not).
LIBCURL = """
import sys
from curl_cffi import CurlWsFlag, Session
with Session() as s:
    ws = s.ws_connect(sys.argv[1], headers={"Sec-WebSocket-Protocol": "chat"})
    for message in ("hi", "x" * 50_000):
        ws.send(message.encode(), CurlWsFlag.TEXT)
        data, flags = ws.recv()
        assert data == message.encode() and flags & CurlWsFlag.TEXT
    ws.send(bytes(range(256)), CurlWsFlag.BINARY)
    data, flags = ws.recv()
    assert data == bytes(range(256)) and flags & CurlWsFlag.BINARY
    ws.close()
    print("curl is through")
"""


@pytest.mark.guest_options(mem=128)
def test_websockets(bridged_guest, lab, artifacts):
    guest = bridged_guest
    peers.put_identity(guest, peers.write_identities(artifacts), "p256")
    start(guest)

    async def talk(compression):
        url = f"ws://{guest.ip}/ws"
        sock = lab.gateway.connect((guest.ip, 80))
        sock.setblocking(False)
        async with websockets.connect(
            url, sock=sock, subprotocols=["chat"], compression=compression, max_size=None
        ) as ws:
            for message in ("", "hällo", b"\x00\xff", "x" * 100_000, b"y" * 200_000):
                await ws.send(message)
                assert await ws.recv() == message
            await ws.send(["in ", "pieces ", "é"])
            assert await ws.recv() == "in pieces é"
            await (await ws.ping(b"p"))

    for compression in ("deflate", None):
        asyncio.run(talk(compression))
    out = lab.gateway.run(sys.executable, "-c", LIBCURL, f"ws://{guest.ip}/ws").stdout
    assert "curl is through" in out
    got = node(lab, "client.js", guest.ip)
    assert got == {"ws": [1000, 1000], "undici": ["1.1", "1.1", "2"], "http2": [8, 8]}, got


@pytest.mark.guest_options(mem=128)
def test_1000_websockets(bridged_guest, lab):
    """Held at once, each heard again at the end; what one of them takes is printed."""
    guest = bridged_guest
    start(guest)
    clients = 1000

    def memory():
        return int(lab.gateway.run("curl", "-sS", f"http://{guest.ip}/memory").stdout)

    async def talk():
        free = memory()
        open_ = []
        for _batch in range(clients // 50):
            batch = []
            for _ in range(50):
                sock = lab.gateway.connect((guest.ip, 80))
                sock.setblocking(False)
                batch.append(
                    websockets.connect(
                        f"ws://{guest.ip}/ws", sock=sock, compression=None, open_timeout=60,
                        ping_interval=None,
                    )
                )  # fmt: skip
            open_ += await asyncio.gather(*batch)
        held = int(lab.gateway.run("curl", "-sS", f"http://{guest.ip}/held").stdout)
        assert held >= clients
        print(f"{(free - memory()) // clients} bytes of heap a client")
        for i, ws in enumerate(open_):
            await ws.send(f"message {i}")
        for i, ws in enumerate(open_):
            assert await ws.recv() == f"message {i}"
        await asyncio.gather(*(ws.close() for ws in open_))

    asyncio.run(talk())
