"""net.http, requests and net.websocket in the guest, before nginx, nghttpd and `websockets`."""

import asyncio
import contextlib
import threading

import pytest
import websockets

from barewire import services
from tests.boot import tls_peers as peers
from tests.vectors.tls.identities import HOST

pytestmark = [pytest.mark.boot, pytest.mark.bridge, pytest.mark.guest_options(mem=64)]

BODY = bytes(i * i & 255 for i in range(200_000))

NGINX = """
daemon off; master_process off; user root; pid {dir}/tls.pid; error_log {dir}/tls.log;
events {{}}
http {{
    access_log off; default_type text/html; gzip on; gzip_min_length 100; gzip_types *;
    client_body_temp_path {dir}/b; proxy_temp_path {dir}/p; fastcgi_temp_path {dir}/f;
    uwsgi_temp_path {dir}/u; scgi_temp_path {dir}/s;
    server {{
        listen {ip}:443 ssl http2; listen {ip}:8000;
        ssl_certificate {dir}/p256.pem; ssl_certificate_key {dir}/p256.key; ssl_protocols TLSv1.3;
        root {dir}/www;
        location /to {{ return 302 /page; }}
        location /cookie {{ add_header Set-Cookie "a=1; Path=/"; return 200 "$http_cookie"; }}
        location /cached {{ add_header Cache-Control "max-age=600"; return 200 "$request_id"; }}
    }}
}}
"""


@pytest.fixture
def served(lab, bridged_guest, artifacts):
    """nginx with h2 over TLS on 443 and plain on 8000, nghttpd with h2c on 8080; the guest."""
    peers.write_identities(artifacts)
    peers.put_identity(bridged_guest, artifacts)
    peers.name(bridged_guest, HOST, lab.gateway.ip)
    www = artifacts / "www"
    www.mkdir()
    (www / "page").write_text("a page " * 100)
    (www / "body.bin").write_bytes(BODY)
    config = artifacts / "tls.conf"
    config.write_text(NGINX.format(dir=artifacts, ip=lab.gateway.ip))
    host = lab.gateway
    argv = [services._program("nginx"), "-p", artifacts, "-c", config, "-e", artifacts / "tls.log"]
    nginx = host.popen(*argv)
    nghttpd = host.popen("nghttpd", "--no-tls", "-d", www, "-a", host.ip, "8080", "--echo-upload")
    try:
        peers.wait_for_port(host, 8000, nginx)
        peers.wait_for_port(host, 8080, nghttpd)
        yield bridged_guest
    finally:
        for p in (nginx, nghttpd):
            p.kill()
            p.communicate()


def test_the_client(served):
    out = served.exec(
        f"""
import net, requests, gc
body = bytes([i * i & 255 for i in range(200000)])
for base, options, version in (
    ("https://{HOST}", {{"verify": "/root.pem"}}, "2"),
    ("https://{HOST}", {{"verify": "/root.pem", "http2": False}}, "1.1"),
    ("http://{HOST}:8000", {{}}, "1.1"),
    ("http://{HOST}:8080", {{"http2": "prior"}}, "2"),
):
    r = net.http.get(base + "/page", timeout=20, **options)
    assert (r.status_code, r.http_version, r.text) == (200, version, "a page " * 100), r
    r = net.http.get(base + "/body.bin", **options)
    assert r.content == body, base
    r = net.http.get(base + "/body.bin", stream=True, **options)
    assert r.read(10) == body[:10] and r.read() == body[10:]
    r = net.http.get(base + "/nothing", **options)
    assert r.status_code == 404
try:
    net.http.get("https://{HOST}/page")
    print("not verified")
except OSError as e:
    print("refused:", e)
s = requests.Session()
s.verify = "/root.pem"
r = s.get("https://{HOST}/to")
assert r.url.endswith("/page") and r.history[0].status_code == 302
s.get("https://{HOST}/cookie")
assert s.get("https://{HOST}/cookie").text == "a=1"
r = requests.post("http://{HOST}:8080/", data=body, http2="prior")
assert r.content == body
r = requests.get("http://{HOST}:8000/nothing")
try:
    r.raise_for_status()
except requests.HTTPError as e:
    print(e)
c = net.http.Session(cache=net.http.cache(100000, "/cache"))
a = c.get("http://{HOST}:8000/cached").text
assert c.get("http://{HOST}:8000/cached").text == a
again = net.http.Session(cache=net.http.cache(100000, "/cache")).get("http://{HOST}:8000/cached")
assert again.text == a and again.from_cache
print(len([1 for c in net.connections() if c["proto"] == "tcp"]), "connections")
""",
        timeout=120,
    )
    print(out)
    assert "refused: " in out and "404 Not Found for " in out
    assert int(out.split(" connections")[0].split()[-1]) <= 8


def test_many_at_once(served):
    """100 streams of one connection under asyncio; readers of unequal haste."""
    out = served.exec(
        f"""
import asyncio, net
async def one(i, base, options):
    r = await net.aio.http.get(base + "/body.bin", stream=True, **options)
    n = 0
    while True:
        data = await r.read(500 * (i + 1))
        if not data:
            return n
        n += len(data)
        if i % 10 == 0:
            await asyncio.sleep_ms(0)
async def main():
    for base, options in (
        ("http://{HOST}:8080", {{"http2": "prior"}}),
        ("http://{HOST}:8000", {{}}),
        ("https://{HOST}", {{"verify": "/root.pem"}}),
    ):
        n = 100 if "http2" in options else 20
        got = await asyncio.gather(*[one(i, base, options) for i in range(n)])
        print(n, set(got), len([1 for c in net.connections() if c["proto"] == "tcp"
              and c.get("state") == "ESTABLISHED"]))
asyncio.run(main())
""",
        timeout=200,
    )
    lines = [line for line in out.splitlines() if "200000" in line]
    assert len(lines) == 3 and all("{200000}" in line for line in lines), out
    assert [int(line.split()[-1]) for line in lines] == [1, 7, 8], out


@contextlib.contextmanager
def echo_server(host, port):
    """`websockets` on a lab's host, echoing, in a thread of the test."""
    loop = asyncio.new_event_loop()
    sock = host.listen((host.ip, port))

    async def echo(ws):
        async for message in ws:
            if message == "close":
                await ws.close(4001, "asked")
                return
            await ws.send(message)

    async def start():
        return await websockets.serve(
            echo, sock=sock, subprotocols=["chat"], max_size=None, ping_interval=0.05
        )

    thread = threading.Thread(target=loop.run_forever, daemon=True)
    thread.start()
    server = asyncio.run_coroutine_threadsafe(start(), loop).result(20)
    try:
        yield
    finally:
        loop.call_soon_threadsafe(server.close)
        asyncio.run_coroutine_threadsafe(server.wait_closed(), loop).result(20)
        loop.call_soon_threadsafe(loop.stop)
        thread.join(20)


def test_websocket(bridged_guest, lab):
    with echo_server(lab.gateway, 8765):
        out = bridged_guest.exec(
            f"""
import asyncio, net
url = "ws://{lab.gateway.ip}:8765/"
for compress in (True, False):
    ws = net.websocket.connect(url, subprotocols=("x", "chat"), compress=compress)
    assert ws.subprotocol == "chat"
    for message in ("", "h\u00e4llo", b"\\x00\\xff", "x" * 70000, b"y" * 200000):
        ws.send(message)
        assert ws.recv() == message
    ws.send("close")
    print(ws.recv(), ws.close_code, ws.close_reason)
async def one(i):
    ws = await net.aio.websocket.connect(url, subprotocols=("chat",))
    for k in range(5):
        await ws.send("%d %d" % (i, k))
    got = []
    for _ in range(5):
        got.append(await ws.recv())
    await ws.close()
    return got == ["%d %d" % (i, k) for k in range(5)]
async def main():
    print(all(await asyncio.gather(*[one(i) for i in range(20)])), "all")
asyncio.run(main())
""",
            timeout=60,
        )
    assert out.count("None 4001 asked") == 2 and "True all" in out, out


def test_the_guest_talks_to_itself(bridged_guest):
    """Our client and our server: HTTP/1.1, HTTP/2, WebSocket over each, server-sent events."""
    out = bridged_guest.exec(
        """
import asyncio, net
from net import httpd
from stack.http import sse
async def chat(request):
    ws = await request.websocket()
    while True:
        m = await ws.recv()
        if m is None:
            return
        await ws.send(m)
async def ticks(out):
    for i in range(5):
        await out.write(sse.format("tick %d" % i, id=i))
table = {"/": lambda r: "hello " + r.version, "/ws": chat,
         "/events": lambda r: httpd.Response(ticks, type=sse.TYPE)}
async def main():
    server = await httpd.serve(lambda r: table[r.path](r), port=8080)
    base = "127.0.0.1:8080"
    for options in ({}, {"http2": "prior"}):
        r = await net.aio.http.get("http://" + base + "/", **options)
        print(r.text)
    for h2 in (False, True):
        ws = await net.aio.websocket.connect("ws://" + base + "/ws", http2=h2)
        await ws.send("m" * 100000)
        m = await ws.recv()
        await ws.close()
        print(len(m), ws.close_code)
    got = []
    def on(e):
        got.append((e.data, e.id))
        if len(got) == 5:
            raise ValueError("enough")
    try:
        await net.aio.http.events("http://" + base + "/events", on)
    except ValueError:
        print(got[0], got[-1])
    await server.shutdown(1)
asyncio.run(main())
""",
        timeout=60,
    )
    assert out.splitlines()[:2] == ["hello 1.1", "hello 2"], out
    assert out.count("100000 1000") == 2 and "('tick 0', '0') ('tick 4', '4')" in out, out
