"""requests, net.http and net.websocket in the guest before servers and proxies that others made:
Starlette on uvicorn and on Hypercorn, Node's http2 and `ws`, tinyproxy."""

import contextlib
import os
import subprocess
import sys
import types

import pytest

from barewire.paths import build_dir, root
from tests.boot import tls_peers as peers
from tests.vectors.tls.identities import HOST

pytestmark = [
    pytest.mark.boot, pytest.mark.bridge, pytest.mark.timeout(400),
    pytest.mark.guest_options(mem=64),
]  # fmt: skip

BODY = bytes(i * i & 255 for i in range(200_000))
TINYPROXY = """
Port 3128
Listen {ip}
Timeout 60
Allow 0.0.0.0/0
BasicAuth me pw
LogFile "{log}"
LogLevel Info
DisableViaHeader Yes
"""
# It is to know the name that the guest knows.
PROXY = 'mount --bind "$0/hosts" /etc/hosts && exec tinyproxy -d -c "$0/tinyproxy.conf"'
# What each script begins with; `refused` says what an error was.
PRELUDE = f"""
import asyncio, net, requests, time
body = bytes([i * i & 255 for i in range(200000)])
verify = "/root.pem"
def refused(kind, function, *args, **options):
    try:
        r = function(*args, **options)
    except kind as e:
        return e
    raise AssertionError("not refused: %r" % (r,))
HOST = "{HOST}"
"""


@contextlib.contextmanager
def started(host, port, *argv, **options):
    p = host.popen(*argv, **options)
    try:
        peers.wait_for_port(host, port, p)
        yield p
    finally:
        p.kill()
        p.communicate()


@pytest.fixture
def served(lab, bridged_guest, artifacts):
    """The guest, and where its peers are: app (uvicorn), h2 (Hypercorn), node, ws, proxy."""
    host, guest = lab.gateway, bridged_guest
    peers.write_identities(artifacts)
    peers.put_identity(guest, artifacts)
    other = ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256"]
    other += ["-nodes", "-days", "30", "-subj", f"/CN={HOST}", "-keyout", "/dev/null"]
    host.run(*other, "-out", artifacts / "other.pem")
    guest.put("/other.pem", (artifacts / "other.pem").read_bytes())  # the root of nothing else
    peers.name(guest, HOST, host.ip)
    www = artifacts / "www"
    www.mkdir()
    (www / "body.bin").write_bytes(BODY)
    (artifacts / "tinyproxy.conf").write_text(
        TINYPROXY.format(ip=host.ip, log=artifacts / "tinyproxy.log")
    )
    (artifacts / "hosts").write_text(f"127.0.0.1 localhost\n{host.ip} {HOST}\n")
    env = {**os.environ, "WWW": str(www), "PYTHONPATH": str(root())}
    cert, key = artifacts / "p256.pem", artifacts / "p256.key"
    app = "tests.boot.http_app:app"
    quiet = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
    node_env = {**os.environ, "NODE_PATH": str(build_dir() / "npm" / "node_modules")}
    script = root() / "tests" / "npm" / "server.js"
    with (
        started(host, 8001, sys.executable, "-m", "uvicorn", app, "--host", host.ip, "--port",
                "8001", env=env, **quiet),
        started(host, 8443, sys.executable, "-m", "hypercorn", app, "--bind", f"{host.ip}:8443",
                "--certfile", cert, "--keyfile", key, env=env, **quiet),
        started(host, 9444, "node", script, host.ip, "9443", cert, key, env=node_env, **quiet),
        started(host, 3128, "unshare", "-m", "sh", "-c", PROXY, artifacts, **quiet),
    ):  # fmt: skip
        where = f"""
app = "http://{HOST}:8001"
h2 = "https://{HOST}:8443"
node = "https://{HOST}:9443"
ws = "ws://{HOST}:9444"
proxy = "http://me:pw@{host.ip}:3128"
"""
        guest_exec = lambda code, timeout=120: guest.exec(PRELUDE + where + code, timeout)
        yield types.SimpleNamespace(
            exec=guest_exec, guest=guest, host=host, log=artifacts / "tinyproxy.log"
        )


REQUESTS = """
# Each of these over HTTP/1.1 (uvicorn) and over HTTP/2 (Hypercorn, with TLS).
for base, version in ((app, "1.1"), (h2, "2")):
    s = requests.Session()
    s.verify = verify
    r = s.post(base + "/seen", params={"q": "a b\\u00e4", "n": 1}, json={"k": [1, None]},
               headers={"X-Own": "yes"})
    got = r.json()
    assert got["args"] == {"q": "a b\\u00e4", "n": "1"} and got["headers"]["x-own"] == "yes", got
    assert got["headers"]["content-type"] == "application/json" and got["text"], got
    assert s.get(base + "/echo").headers["x-version"] == version
    got = s.post(base + "/seen", data={"a": "1", "b": "x y&z"}).json()
    assert sorted(got["text"].split("&")) == ["a=1", "b=x%20y%26z"], got
    for data in (body, iter([body[:70000], body[70000:70001], body[70001:]])):
        r = s.put(base + "/echo", data=data)
        assert r.content == body and r.headers["x-method"] == "PUT"
    # files=
    r = s.post(base + "/multipart", data={"field": "value"}, files={
        "one": ("n\\u00e4me.txt", "text", "text/plain"), "two": ("b.bin", body[:5000])})
    parts = sorted(r.json())
    assert parts[0][0] == "field" and parts[0][3] == "value", parts
    assert parts[1][0] == "one" and parts[1][2:] == ["text/plain", "text"], parts
    assert parts[2][0] == "two" and parts[2][1] == "b.bin" and len(parts[2][3]) == 5000, parts
    # auth=
    assert s.get(base + "/private").status_code == 401
    assert s.get(base + "/private", auth=("user", "p\\u00e4ss")).text == "welcome"
    # stream=, with progress
    seen = []
    count = lambda n, of: seen.append((n, of))
    with s.get(base + "/files/body.bin", stream=True, progress=count) as r:
        got = b"".join(r.iter_content(1000))
    assert got == body and seen[-1] == (200000, 200000) and len(seen) > 2, seen[-3:]
    up = []
    s.post(base + "/echo", data=body, upload_progress=lambda n, of: up.append((n, of)))
    assert up[-1] == (200000, 200000) and len(up) > 2, up[-3:]
    with s.get(base + "/files/body.bin", stream=True) as r:
        assert r.raw.read(10) == body[:10]  # and no more of it: the session goes on
    # ranges
    for ask, want in (("bytes=10-19", body[10:20]), ("bytes=-5", body[-5:])):
        r = s.get(base + "/files/body.bin", headers={"Range": ask})
        assert r.status_code == 206 and r.content == want
    assert s.get(base + "/files/body.bin", headers={"Range": "bytes=300000-"}).status_code == 416
    # cookies
    s.get(base + "/cookies")
    got = s.get(base + "/seen", cookies={"once": "1"}).json()["cookies"]
    want = {"session": "s3", "once": "1"}
    if base is h2:
        want["safe"] = "x"
    assert got == want, got
    assert requests.get(base + "/seen", verify=verify).json()["cookies"] == {}
    # redirects
    r = s.get(base + "/hops/9")
    assert r.url == base + "/seen" and len(r.history) == 10
    e = refused(requests.TooManyRedirects, s.get, base + "/hops/10")
    assert "more than 10" in str(e) and "loop" not in str(e), e
    e = refused(requests.TooManyRedirects, s.get, base + "/round/0")
    assert "more than 10 redirects in a loop, the last to " + base + "/round/" in str(e), e
    for status, method in ((301, "GET"), (302, "GET"), (303, "GET"), (307, "POST"), (308, "POST")):
        got = s.post(base + "/moved/%d" % status, data=b"again").json()
        assert got["method"] == method and got["length"] == (5 if method == "POST" else 0), got
    assert s.get(base + "/hops/3", allow_redirects=False).status_code == 302
    print("as", version)
# Credentials and what is like them stay with their origin, also between ports of one host.
s = requests.Session()
s.verify = verify
got = s.get(app + "/moved/307", params={"to": h2 + "/seen"}, auth=("user", "secret"),
            headers={"Cookie": "a=b", "X-Own": "yes"}).json()["headers"]
assert "authorization" not in got and "cookie" not in got and got["x-own"] == "yes", got
got = s.get(app + "/moved/307", auth=("user", "secret")).json()["headers"]
assert got["authorization"].startswith("Basic "), got
# A bearer's token.
got = s.get(app + "/seen", auth="t0ken").json()["headers"]
assert got["authorization"] == "Bearer t0ken", got
# 100-continue: refused before a byte is sent, or the body is asked for.
plain = "http://%s:9444" % HOST
sent = []
r = requests.post(plain + "/refuse", data=body, expect=True,
                  upload_progress=lambda n, of: sent.append(n))
assert r.status_code == 417 and not sent, sent
for data in (body, iter([body[:1], body[1:]])):
    assert requests.post(plain + "/echo", data=data, expect=True).content == body
assert requests.get(plain + "/counts").json()["continues"] == 3
# A server that answers while it reads, with more than both ends' buffers hold.
for base in (plain, node):
    r = requests.post(base + "/echo", data=iter([body] * 15), verify=verify, stream=True)
    n = 0
    for piece in r.iter_content(10000):
        assert piece == (body[n % 200000:] + body)[:len(piece)]
        n += len(piece)
    assert n == 3000000, n
# Codings, undone as they come; ours is to ask for no other.
text = "".join("line %d " % i * 200 for i in range(100))
for base in (plain, node):
    for coding in ("gzip", "deflate", "raw"):
        r = requests.get(base + "/packed/" + coding, verify=verify, stream=True)
        assert r.raw.read(5) == b"line " and r.content == text[5:].encode(), coding
# At most six connections at once, which are used again.
async def at_once():
    got = await asyncio.gather(*[net.aio.http.get(plain + "/turn") for _ in range(18)])
    return [r.text for r in got]
got = asyncio.run(at_once())
assert got == ["6"] * 18, got
# Trailers, and 103 before the answer.
for options in ({}, {"http2": False}):
    r = net.http.get(node + "/trailers", verify=verify, **options)
    assert r.content == b"body" and r.trailers["x-end"] == "yes"
    assert r.http_version == ("1.1" if options else "2")
    assert requests.get(node + "/early", verify=verify, **options).text == "after hints"
    r = requests.post(node + "/echo", data=body, verify=verify, **options)
    assert r.content == body and r.headers["x-version"] == ("1.1" if options else "2.0")
print("through")
"""


def test_requests(served):
    out = served.exec(REQUESTS)
    assert out.splitlines()[-3:] == ["as 1.1", "as 2", "through"], out


def test_what_goes_wrong(served):
    """Time-outs of each kind, retries only where that is safe, certificates that are not good."""
    out = served.exec(
        """
plain = "http://%s:9444" % HOST
# A certificate that nobody vouches for, for another name, and with roots that are others.
for bad in (None, "/other.pem", open("/other.pem").read()):
    e = refused(requests.ConnectionError, requests.get, node + "/counts", verify=bad)
    assert "certificate" in str(e).lower() or "issuer" in str(e).lower(), e
e = refused(requests.ConnectionError, requests.get, "https://GATEWAY:9443/counts", verify=verify)
print("name:", e)
assert requests.get("https://GATEWAY:9443/counts", verify=False).status_code == 200
for good in (verify, open(verify).read()):
    assert requests.get(node + "/counts", verify=good).status_code == 200
# Of a POST, no second one is made; a GET is, on a new connection.
s = requests.Session()
assert s.get(plain + "/drop").text == "1"
assert s.get(plain + "/drop").text == "3"  # the second was dropped, the third is its repetition
assert s.get(plain + "/counts").json()["GET/drop"] == 3
e = refused(requests.ConnectionError, s.post, plain + "/drop", data=b"x")
counts = s.get(plain + "/counts").json()
assert counts["POST/drop"] == 1 and counts["GET/drop"] == 3, counts
e = refused(requests.ConnectionError, lambda: requests.get(plain + "/gone").content)
# Time-outs: of a read, of the whole, of connecting.
for base in (plain, node):
    s = requests.Session()
    s.verify = verify
    refused(requests.Timeout, s.get, base + "/hang", timeout=0.3)
    assert s.get(base + "/counts", timeout=20).status_code == 200
    refused(requests.Timeout, lambda: s.get(base + "/drip", timeout=(20, 20, 0.6)).content)
refused(requests.Timeout, requests.get, "http://GATEWAY:9999/", timeout=(0.4, 20))
refused(requests.ConnectionError, requests.get, "http://GATEWAY:9998/")
async def cancelled():
    try:
        await asyncio.wait_for(net.aio.http.get(plain + "/hang"), 0.2)
    except asyncio.TimeoutError:
        return (await net.aio.http.get(plain + "/counts")).status_code
assert asyncio.run(cancelled()) == 200
print("through")
""".replace("GATEWAY", served.host.ip)
    )
    assert "through" in out and "name: " in out, out


@pytest.fixture
def full(lab):
    """A port whose queue is full, so that a SYN to it is not answered."""
    s = lab.gateway.socket()
    s.bind((lab.gateway.ip, 9999))
    s.listen(0)
    others = [lab.gateway.socket() for _ in range(4)]
    for o in others:
        o.setblocking(False)
        o.connect_ex((lab.gateway.ip, 9999))
    yield
    for o in (*others, s):
        o.close()


test_what_goes_wrong = pytest.mark.usefixtures("full")(test_what_goes_wrong)


def test_websockets_and_proxies(served):
    """`ws`, uvicorn and Hypercorn, and all of it by way of tinyproxy as well."""
    out = served.exec(
        """
for url in (ws, app.replace("http", "ws") + "/ws", h2.replace("http", "ws") + "/ws"):
    for way in (None, proxy):
        for compress in (True, False):
            c = net.websocket.connect(url, subprotocols=("x", "chat"), compress=compress,
                                      verify=verify, proxy=way)
            assert c.subprotocol == "chat"
            for message in ("", "h\\u00e4llo", b"\\x00\\xff", "x" * 70000, body):
                c.send(message)
                assert c.recv() == message, url
            c.ping(b"p")
            c.send("close")
            print(c.recv(), c.close_code, c.close_reason)
c = net.websocket.connect(ws)
c.send("pieces")
assert c.recv() == "in pieces"
c.close()
# Hypercorn has RFC 8441.
c = net.websocket.connect(h2.replace("http", "ws") + "/ws", verify=verify, http2=True)
c.send(body)
assert c.recv() == body
c.close()
# Who is not read waits, and says how much waits; what was sent arrives in order.
for url, more in ((ws, {}), (app.replace("http", "ws") + "/ws", {}),
                  (h2.replace("http", "ws") + "/ws", {"http2": True})):
    async def held():
        c = await net.aio.websocket.connect(url, verify=verify, compress=False, **more)
        await c.send("pause")
        assert await c.recv() == "paused"
        n = 0
        try:
            while n < 1000:
                await asyncio.wait_for(c.send(b"%06d" % n * 1000), 2)
                n += 1
        except asyncio.TimeoutError:
            pass
        assert 0 < n < 1000 and c.buffered_amount > 0, (url, n, c.buffered_amount)
        base = url.replace("ws", "http", 1)
        base = base[:-3] if base.endswith("/ws") else base
        r = await net.aio.http.get(base + "/resume", verify=verify)
        assert r.text == "resumed"
        for k in range(n + 1):
            m = await asyncio.wait_for(c.recv(), 60)
            assert m == b"%06d" % k * 1000, (k, m[:6])
        await c.drain()
        assert c.buffered_amount == 0
        await c.close()
        return n
    print(asyncio.run(held()), "before it waited")
refused(Exception, net.websocket.connect, app.replace("http", "ws") + "/nothing")
for base in (app, h2, node):
    s = requests.Session()
    s.proxies = {"http": proxy, "https": proxy}
    s.verify = verify
    for _ in range(2):
        r = s.post(base + "/echo", data=body)
        assert r.content == body and r.headers["x-version"][0] == ("1" if base is app else "2")
e = refused(requests.ConnectionError, requests.get, h2 + "/echo", verify=verify,
            proxies={"https": proxy.replace("pw", "wrong")})
assert "the proxy answered 401" in str(e) or "the proxy answered 407" in str(e), e
r = requests.get(app + "/echo", proxies={"http": proxy.replace("pw", "wrong")})
assert r.status_code in (401, 407)
print("through")
"""
    )
    assert out.count("None 4001 asked") == 12 and "through" in out, out
    log = served.log.read_text()
    assert f"CONNECT {HOST}:9444" in log and f"CONNECT {HOST}:8443" in log
    assert f"POST http://{HOST}:8001/echo" in log


EVENTS = """
got = []
for base in (app, h2):
    seen = []
    for e in net.http.events(base + "/events", verify=verify):
        seen.append((e.type, e.data, e.id))
    # Three connections of three each, and a fourth that says that there is nothing more.
    assert seen == [("count", "number\\n%d" % i, str(i)) for i in range(9)], seen
    later = [e.id for e in net.http.events(base + "/events", last_id="6", verify=verify)]
    assert later == ["7", "8"], later
    seen = []
    asyncio.run(net.aio.http.events(base + "/events", lambda e: seen.append(e.id), verify=verify))
    assert seen == [str(i) for i in range(9)], seen
e = refused(OSError, lambda: list(net.http.events(app + "/seen")))
assert "not a stream of events" in str(e), e
print("through")
"""


def test_events(served):
    out = served.exec(EVENTS)
    assert "through" in out, out


CACHE = """
s = net.http.Session(cache=net.http.cache(100000, "/cache"))
s.verify = verify
def get(name, cc="max-age=600", options="", **more):
    return s.get("%s/cached/%s?cc=%s%s" % (base, name, cc, options), **more)
def fresh(*args, **more):
    r = get(*args, **more)
    return not r.from_cache
base = BASE
"""
FIRST = """
for base in (app, h2):
    for name, cc, options, kept in (
        ("plain", "max-age=600", "", True), ("private", "private,max-age=600", "", True),
        ("immutable", "max-age=600,immutable", "", True), ("no-store", "no-store", "", False),
        ("stale", "max-age=0", "", False), ("public", "public,max-age=600", "&vary=x-own", True),
        ("any", "max-age=600", "&vary=*", False), ("s", "s-maxage=600", "", False),
    ):
        a = get(name, cc, options)
        b = get(name, cc, options)
        assert not a.from_cache and b.from_cache == kept, (name, a.headers, b.from_cache)
    # no-cache, must-revalidate, a validator: asked again, answered by a 304, of the same body.
    for cc in ("no-cache", "max-age=0,must-revalidate"):
        a = get("tag" + cc[:2], cc, "&etag=e")
        b = get("tag" + cc[:2], cc, "&etag=e")
        assert a.text == b.text == "GET 1" and not a.from_cache and b.from_cache
    assert get("tag", "max-age=600", "&etag=e").text == "GET 1"
    r = get("tag", "max-age=600", "&etag=e", headers={"Cache-Control": "no-cache"})
    assert r.text == "GET 1" and r.from_cache
    # What is asked for differs by a field.
    assert fresh("v", "max-age=600", "&vary=x-own", headers={"X-Own": "a"})
    assert fresh("v", "max-age=600", "&vary=x-own", headers={"X-Own": "b"})
    assert not fresh("v", "max-age=600", "&vary=x-own", headers={"X-Own": "a"})
    # An unsafe method ends what was stored.
    assert fresh("post") and not fresh("post")
    s.post("%s/cached/post?cc=max-age=600" % base, data=b"x")
    assert fresh("post") and not fresh("post")
    # A stale one while the server is down; not where it must be asked.
    a = get("down", "max-age=0,stale-if-error=600", "&fail=2")
    assert get("down", "max-age=0,stale-if-error=600", "&fail=2").text == a.text == "GET 1"
    get("must", "max-age=0,must-revalidate,stale-if-error=600", "&fail=2")
    assert get("must", "max-age=0,must-revalidate,stale-if-error=600", "&fail=2").status_code == 503
    # A stale one at once, and it is asked for behind that.
    swr = "max-age=0,stale-while-revalidate=600"
    assert fresh("swr", swr) and get("swr", swr).text == "GET 1"
    assert get("swr", swr).text == "GET 2"
    # Ranges are not stored.
    for _ in range(2):
        r = s.get(base + "/files/body.bin", headers={"Range": "bytes=0-9"})
        assert r.status_code == 206 and not r.from_cache
    # Heuristic: a file's Last-Modified is hours old at least, in the test's eyes.
    assert not s.get(base + "/files/old.txt").from_cache
    assert s.get(base + "/files/old.txt").from_cache
base = app
for i in range(40):  # beyond the limit
    get("big%d" % i, "max-age=600,x=" + "y" * 3000)
assert s.cache.used <= 100000
assert fresh("kept") and not fresh("kept")
print("first")
"""
SECOND = """
base = app
r = get("kept")
assert r.from_cache and r.text == "GET 1", r.text
assert not fresh("big39", "max-age=600,x=" + "y" * 3000)
assert fresh("big0", "max-age=600,x=" + "y" * 3000)
assert fresh("never")
assert s.cache.used <= 100000
print("second")
"""


def test_cache_across_a_reboot(rig, artifacts):
    """Each directive before a server that counts; the store on littlefs, found again by the next
    boot though its power went."""
    lab = rig.lab()
    disk = artifacts / "disk.img"
    guest = rig.bridged(lab, disk=disk, mem=64)
    host = lab.gateway
    peers.write_identities(artifacts)
    www = artifacts / "www"
    www.mkdir()
    (www / "body.bin").write_bytes(BODY)
    (www / "old.txt").write_text("old")
    os.utime(www / "old.txt", (10**9, 10**9))
    env = {**os.environ, "WWW": str(www), "PYTHONPATH": str(root())}
    quiet = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
    app = "tests.boot.http_app:app"
    where = f'app = "http://{HOST}:8001"\nh2 = "https://{HOST}:8443"\nBASE = app\n'
    with (
        started(host, 8001, sys.executable, "-m", "uvicorn", app, "--host", host.ip, "--port",
                "8001", "--h11-max-incomplete-event-size", "65536", env=env, **quiet),
        started(host, 8443, sys.executable, "-m", "hypercorn", app, "--bind", f"{host.ip}:8443",
                "--certfile", artifacts / "p256.pem", "--keyfile", artifacts / "p256.key", env=env,
                **quiet),
    ):  # fmt: skip
        peers.put_identity(guest, artifacts)
        peers.name(guest, HOST, host.ip)
        assert "first" in guest.exec(PRELUDE + where + CACHE + FIRST, 120)
        guest.kill()
        guest = rig.bridged(lab, disk=disk, mem=64)
        assert "second" in guest.exec(PRELUDE + where + CACHE + SECOND, 60)
