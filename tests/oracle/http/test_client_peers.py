"""The HTTP client on CPython's sockets before nginx, nghttpd, Hypercorn and our own server."""

import gzip
import os
import re
import shutil
import socket
import subprocess
import sys
import threading
import time

import pytest

from stack.http.cache import Cache
from tests.oracle.http.running import Running
from tests.oracle.http.sockets import fetch, run_all, session
from tests.oracle.http.test_server import make_app
from tests.vectors.tls.identities import IDENTITIES, ROOT

pytestmark = pytest.mark.timeout(60)

BODY = bytes(i * i & 255 for i in range(300_000))


def free_port():
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        return s.getsockname()[1]


def wait_for(port, process):
    end = time.monotonic() + 30
    while True:
        assert process.poll() is None, "the peer ended"
        try:
            socket.create_connection(("127.0.0.1", port), 5).close()
            return
        except OSError:
            assert time.monotonic() < end
            time.sleep(0.02)  # it does not say when it listens


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    folder = tmp_path_factory.mktemp("files")
    chain, key = IDENTITIES["p256"]
    for name, text in (("cert.pem", chain), ("key.pem", key), ("root.pem", ROOT)):
        (folder / name).write_text(text)
    www = folder / "www"
    www.mkdir()
    (www / "index.html").write_text("<h1>page</h1>" * 100)
    (www / "body.bin").write_bytes(BODY)
    return folder


NGINX = """
daemon off; master_process off; pid {dir}/pid; error_log {dir}/error.log; user root;
events {{}}
http {{
    access_log off; default_type text/html; gzip on; gzip_min_length 100; gzip_types *;
    client_body_temp_path {dir}/b; proxy_temp_path {dir}/p; fastcgi_temp_path {dir}/f;
    uwsgi_temp_path {dir}/u; scgi_temp_path {dir}/s; client_max_body_size 0;
    server {{
        listen 127.0.0.1:{plain}; listen 127.0.0.1:{tls} ssl http2; server_name localhost;
        ssl_certificate {dir}/cert.pem; ssl_certificate_key {dir}/key.pem; ssl_protocols TLSv1.3;
        root {dir}/www;
        location /to/ {{ return 302 /index.html; }}
        location /loop {{ return 302 /loop; }}
        location /cookie {{ add_header Set-Cookie "a=1; Path=/"; return 200 "$http_cookie"; }}
        location /cached {{ add_header Cache-Control "max-age=60"; return 200 "$request_id"; }}
        location /auth {{ return 200 "$http_authorization"; }}
    }}
}}
"""


@pytest.fixture(scope="module")
def nginx(files):
    plain, tls = free_port(), free_port()
    (files / "nginx.conf").write_text(NGINX.format(dir=files, plain=plain, tls=tls))
    program = shutil.which("nginx") or "/usr/sbin/nginx"
    argv = [program, "-p", files, "-c", files / "nginx.conf", "-e", files / "error.log"]
    p = subprocess.Popen(argv)
    wait_for(plain, p)
    yield f"http://localhost:{plain}", f"https://localhost:{tls}"
    p.terminate()
    p.wait()


@pytest.fixture(scope="module")
def nghttpd(files):
    port = free_port()
    argv = ["nghttpd", "--no-tls", "-d", files / "www", "-a", "127.0.0.1", str(port),
            "--echo-upload", "--trailer", "x-end: yes"]  # fmt: skip
    p = subprocess.Popen([str(a) for a in argv], stdout=subprocess.DEVNULL)
    wait_for(port, p)
    yield f"http://127.0.0.1:{port}"
    p.terminate()
    p.wait()


APP = """
async def app(scope, receive, send):
    if scope["type"] != "http":
        return
    body, more = b"", True
    while more:
        m = await receive()
        body, more = body + m.get("body", b""), m.get("more_body", False)
    await send({"type": "http.response.start", "status": 200, "headers": [
        (b"x-version", scope["http_version"].encode()), (b"content-type", b"text/plain")]})
    for i in range(0, len(body), 1000):
        await send({"type": "http.response.body", "body": body[i:i+1000], "more_body": True})
    await send({"type": "http.response.body", "body": b""})
"""


@pytest.fixture(scope="module")
def hypercorn(files):
    port = free_port()
    (files / "app.py").write_text(APP)
    argv = [sys.executable, "-m", "hypercorn", "app:app", "--bind", f"127.0.0.1:{port}",
            "--certfile", files / "cert.pem", "--keyfile", files / "key.pem"]  # fmt: skip
    env = {**os.environ, "PYTHONPATH": str(files)}
    p = subprocess.Popen([str(a) for a in argv], cwd=files, env=env, stderr=subprocess.DEVNULL)
    wait_for(port, p)
    yield f"https://localhost:{port}"
    p.terminate()
    p.wait()


def roots(files):
    return str(files / "root.pem")


def test_nginx(nginx, files):
    for base, version in ((nginx[0], "1.1"), (nginx[1], "2")):
        s = session(roots(files))
        for _ in range(3):
            r = fetch(s, base + "/index.html")
            assert (r.status_code, r.http_version) == (200, version)
            assert r.content == b"<h1>page</h1>" * 100
            assert r.headers["Content-Encoding"] == "gzip"
        assert fetch(s, base + "/body.bin").content == BODY
        r = fetch(s, base + "/body.bin", headers={"Range": "bytes=5-9"})
        assert r.status_code == 206 and r.content == BODY[5:10]
        r = fetch(s, base + "/to/x")
        assert r.url == base + "/index.html" and [x.status_code for x in r.history] == [302]
        with pytest.raises(OSError, match="loop"):
            fetch(s, base + "/loop")
        assert fetch(s, base + "/cookie").content == b""
        assert fetch(s, base + "/cookie").content == b"a=1"
        assert fetch(s, base + "/auth", auth=("u", "p")).text == "Basic dTpw"
        assert fetch(s, base + "/auth", auth="token").text == "Bearer token"
        assert fetch(s, base + "/nothing").status_code == 404
        assert fetch(s, base + "/index.html", method="HEAD").content == b""
        assert s.transport.made == 1, "one connection for all"
    s = session(roots(files))
    assert fetch(s, nginx[1] + "/index.html", http2=False).http_version == "1.1"
    with pytest.raises(OSError, match="certificate"):
        fetch(session(), nginx[1] + "/index.html")


def test_nginx_cache(nginx, files):
    for base in nginx:
        s = session(roots(files), cache=Cache(1 << 20))
        first = fetch(s, base + "/cached")
        again = fetch(s, base + "/cached")
        assert again.from_cache and not first.from_cache and again.content == first.content
        r = fetch(s, base + "/cached", headers={"Cache-Control": "no-cache"})
        assert not r.from_cache and r.content != first.content
        page = fetch(s, base + "/index.html").content
        r = fetch(s, base + "/index.html", headers={"Cache-Control": "no-cache"})
        assert r.from_cache and r.status_code == 200 and r.content == page  # a 304 behind it


def test_nghttpd(nghttpd):
    s = session()
    r = fetch(s, nghttpd + "/body.bin", http2="prior")
    assert r.http_version == "2" and r.content == BODY and r.trailers["x-end"] == "yes"
    # Uploads beyond the windows, of known length and not.
    for data in (BODY, iter([BODY[i : i + 7000] for i in range(0, len(BODY), 7000)])):
        r = fetch(s, nghttpd + "/", method="POST", data=data, http2="prior")
        assert r.content == BODY
    assert s.transport.made == 1


def test_hypercorn(hypercorn, files):
    s = session(roots(files))
    r = fetch(s, hypercorn + "/", method="POST", data=BODY)
    assert r.http_version == "2" and r.headers["x-version"] == "2" and r.content == BODY
    r = fetch(s, hypercorn + "/", method="POST", data=BODY, http2=False)
    assert r.http_version == "1.1" and r.content == BODY
    r = fetch(s, hypercorn + "/", method="POST", data=iter([b"a", b"b" * 50000]), http2=False)
    assert r.content == b"a" + b"b" * 50000


def test_many_at_once_on_one_connection(nghttpd, nginx, files):
    """100 responses multiplexed; readers that are unequal neither starve nor stop the others."""
    for base, options in ((nghttpd, {"http2": "prior"}), (nginx[1], {})):
        s = session(roots(files))
        fetch(s, base + "/index.html", **options)
        got = run_all([s.request("GET", base + "/body.bin", **options) for _ in range(100)])
        assert all(r.content == BODY for r in got) and s.transport.made == 1
        # Heads of all; then bodies, the last first, each in pieces of its own size.
        held = run_all(
            [s.request("GET", base + "/body.bin", stream=True, **options) for _ in range(60)]
        )
        for i, r in reversed(list(enumerate(held))):
            if i % 7 == 3:
                r.close()
                continue
            body = b""
            while piece := r.read(1000 * (i + 1)):
                body += piece
            assert body == BODY, i
        assert fetch(s, base + "/index.html", **options).status_code == 200
        assert s.transport.made == 1


def test_many_at_once_over_http11(nginx):
    s = session()
    got = run_all([s.request("GET", nginx[0] + "/body.bin") for _ in range(30)])
    assert all(r.content == BODY for r in got) and 1 < s.transport.made <= 6


@pytest.fixture(scope="module")
def own(files):
    with Running(make_app(files / "www"), (files / "cert.pem", files / "key.pem")) as s:
        yield s


def test_our_own_server(own, files):
    for base, options, version in (
        (own.url, {}, "1.1"), (own.url, {"http2": "prior"}, "2"), (own.tls_url, {}, "2"),
        (own.tls_url, {"http2": False}, "1.1"),
    ):  # fmt: skip
        s = session(roots(files))
        r = fetch(s, base + "/stream", **options)
        assert r.http_version == version and len(r.content) == 79_000
        assert r.trailers["x-end"] == "yes"
        r = fetch(
            s, base + "/args?b=1", method="POST", data={"c": "d e"}, params={"q": "ä"}, **options
        )
        assert r.json()["form"] == {"c": "d e"} and r.json()["args"] == {"b": "1", "q": "ä"}
        r = fetch(s, base + "/echo", method="POST", data=BODY, expect=True, **options)
        assert r.content == BODY
        r = fetch(s, base + "/echo", method="PUT", files={"f": ("a", b"x" * 5)}, **options)
        assert b'name="f"; filename="a"' in r.content
        with pytest.raises((OSError, Exception)):
            fetch(s, base + "/short", **options)
        assert fetch(s, base + "/hello", **options).text == "hello\n"


def test_proxies(nginx, files):
    """A small proxy with CONNECT, written here: what it was asked is what is looked at."""
    asked = []
    listener = socket.create_server(("127.0.0.1", 0))

    def pump(a, b):
        try:
            while data := a.recv(65536):
                b.sendall(data)
        except OSError:
            pass
        b.close()

    def serve():
        while True:
            try:
                c, _ = listener.accept()
            except OSError:
                return
            head = b""
            while b"\r\n\r\n" not in head:
                head += c.recv(1000)
            asked.append(head.decode())
            method, target = head.split()[:2]
            where = re.search(r"(\d+)", target.decode().split("localhost:")[1]).group()
            up = socket.create_connection(("127.0.0.1", int(where)))
            if method == b"CONNECT":
                c.sendall(b"HTTP/1.1 200 Yes\r\n\r\n")
            else:
                up.sendall(head.replace(b"http://localhost:" + where.encode(), b"", 1))
            threading.Thread(target=pump, args=(c, up), daemon=True).start()
            threading.Thread(target=pump, args=(up, c), daemon=True).start()

    threading.Thread(target=serve, daemon=True).start()
    proxy = f"http://me:pw@127.0.0.1:{listener.getsockname()[1]}"
    s = session(roots(files))
    for base, first in ((nginx[0], "GET http://localhost:"), (nginx[1], "CONNECT localhost:")):
        r = fetch(s, base + "/index.html", proxies={"http": proxy, "https": proxy})
        assert r.status_code == 200
        assert asked[-1].startswith(first) and "Proxy-Authorization: Basic bWU6cHc=" in asked[-1]
        assert r.http_version == ("2" if "https" in base else "1.1")
    listener.close()


def test_sse(own):
    from stack.http import sse

    p = sse.Parser()
    text = "\ufeff: hi\nretry: 5\nevent: a\ndata: 1\ndata: 2\nid: 7\n\n"
    text += "data:x\r\n\r\ndata\r\revent: none\n\n"
    raw = text.encode()
    whole = None
    for step in (1, 2, 3, len(raw)):
        p = sse.Parser()
        got = []
        for i in range(0, len(raw), step):
            p.receive(raw[i : i + step])
            while e := p.next_event():
                got.append((e.type, e.data, e.id))
        assert p.retry_ms == 5
        whole = whole or got
        assert got == whole == [("a", "1\n2", "7"), ("message", "x", "7"), ("message", "", "7")]
    p = sse.Parser()
    p.receive(sse.format("a\nb", "e", "1", 10).encode())
    e = p.next_event()
    assert (e.type, e.data, e.id, p.retry_ms) == ("e", "a\nb", "1", 10)


def test_gzip_of_python():
    """Bodies as CPython packs them, with a name and a time in their heads."""
    import io

    from stack.core import flate

    out = io.BytesIO()
    with gzip.GzipFile("name", "wb", fileobj=out, mtime=5) as f:
        f.write(BODY)
    z = flate.Inflate(flate.GZIP)
    z.receive(out.getvalue())
    got = b""
    while piece := z.read():
        got += piece
    assert got == BODY and z.done
