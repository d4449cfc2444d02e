"""net.http, requests and net.websocket in the guest, before nginx, nghttpd and `websockets`."""

import asyncio
import contextlib
import ssl
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
        location /swr {{
            add_header Cache-Control "max-age=1, stale-while-revalidate=600";
            return 200 "$request_id";
        }}
        location /cached {{ add_header Cache-Control "max-age=600"; return 200 "$request_id"; }}
    }}
    server {{
        listen {ip}:8444 ssl http2; listen {ip}:8001; keepalive_requests 3;
        ssl_certificate {dir}/p256.pem; ssl_certificate_key {dir}/p256.key; ssl_protocols TLSv1.3;
        root {dir}/www;
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
# nginx as an origin: ETag and Last-Modified, a 304 each time, for a file that is hardly old.
for base in ("http://{HOST}:8000", "https://{HOST}"):
    c = net.http.Session(cache=net.http.cache(100000))
    c.verify = "/root.pem"
    a = c.get(base + "/page")
    b = c.get(base + "/page", headers={{"Cache-Control": "no-cache"}})
    assert not a.from_cache and b.from_cache and a.text == b.text and "Age" in b.headers
    assert "Last-Modified" in a.headers and "ETag" in a.headers
    tag = a.headers["ETag"]
    assert c.get(base + "/page", headers={{"If-None-Match": tag}}).status_code == 304
    assert c.get(base + "/page", headers={{"If-None-Match": '"x"'}}).status_code == 200
# A refusal in the middle of an upload: nginx takes 1 MB.
for options in ({{}}, {{"http2": False}}):
    sent = []
    pieces = iter([body] * 100)
    r = requests.post("https://{HOST}/page", data=pieces, verify="/root.pem",
                      upload_progress=lambda n, of: sent.append(n), **options)
    assert r.status_code in (405, 413) and 20000000 not in sent, (r, sent)
    big = body * 10
    r = requests.post("https://{HOST}/page", data=big, verify="/root.pem", **options)
    assert r.status_code == 413, r
# A server that ends its connection every third request, by GOAWAY or by close.
import asyncio
async def all_of(base, n, **options):
    get = lambda: net.aio.http.get(base + "/page", verify="/root.pem", **options)
    return await asyncio.gather(*[get() for _ in range(n)])
for base, options in (("https://{HOST}:8444", {{}}), ("http://{HOST}:8001", {{}}),
                      ("https://{HOST}:8444", {{"http2": False}})):
    s = requests.Session()
    s.verify = "/root.pem"
    for _ in range(10):
        assert s.get(base + "/page", **options).status_code == 200
    got = asyncio.run(all_of(base, 20, **options))
    assert all(r.text == "a page " * 100 for r in got), got
# Asked for again behind the back of who was served stale: at once, under asyncio.
async def stale():
    s = net.aio.http.Session(cache=net.http.cache(100000))
    url = "http://{HOST}:8000/swr"
    first = (await s.get(url)).text
    await asyncio.sleep(1.1)
    r = await s.get(url)
    assert r.from_cache and r.text == first
    for _ in range(500):
        await asyncio.sleep_ms(10)
        r = await s.get(url, headers={{"Cache-Control": "only-if-cached, max-stale"}})
        if r.text != first:
            return True
print("asked behind:", asyncio.run(stale()))
""",
        timeout=120,
    )
    print(out)
    assert "refused: " in out and "404 Not Found for " in out
    assert "asked behind: True" in out, out
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
def echo_server(host, port, tls=None):
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
            echo, sock=sock, subprotocols=["chat"], max_size=None, ping_interval=0.05, ssl=tls
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


def test_websocket(bridged_guest, lab, artifacts):
    peers.write_identities(artifacts)
    peers.put_identity(bridged_guest, artifacts)
    peers.name(bridged_guest, HOST, lab.gateway.ip)
    tls = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    tls.load_cert_chain(artifacts / "p256.pem", artifacts / "p256.key")
    with echo_server(lab.gateway, 8765), echo_server(lab.gateway, 8766, tls):
        out = bridged_guest.exec(
            f"""
import asyncio, net
url = "ws://{lab.gateway.ip}:8765/"
for compress, where in ((True, url), (False, url), (True, "wss://{HOST}:8766/")):
    ws = net.websocket.connect(where, subprotocols=("x", "chat"), compress=compress,
                               verify="/root.pem")
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
    assert out.count("None 4001 asked") == 3 and "True all" in out, out


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
