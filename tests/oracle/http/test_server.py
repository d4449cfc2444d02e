"""The HTTP server on CPython before real clients: curl, nghttp, h2load, websockets, raw bytes."""

import asyncio
import json
import os
import re
import socket
import subprocess
import time

import h2.config
import h2.connection
import h2.errors
import h2.events
import pytest
import websockets

from stack.api import httpd
from stack.http.headers import Headers
from stack.ws import frames
from stack.ws.connection import Connection
from tests.oracle.http.running import Running
from tests.vectors.tls.identities import IDENTITIES, ROOT

HELLO = httpd.Response("hello\n", headers={"X-A": "b"})
FILE = bytes(range(256)) * 500


def make_app(root):
    files = httpd.static(str(root))

    async def produce(out):
        for i in range(100):
            await out.write(f"line {i}\n" * 100)
        out.trailers.append(("X-End", "yes"))

    async def exact(out):
        await out.write(b"x" * 1000)

    async def echo(request):
        return await request.body(1 << 24)

    async def chat(request):
        ws = await request.websocket(("chat",))
        while (message := await ws.recv()) is not None:
            if message == "close":
                await ws.close(4000, "asked")
                break
            await ws.send(message)

    async def flood(request):
        ws = await request.websocket(compress=False)
        for _ in range(4):
            ws.post(bytes(1 << 20))
        for _ in range(4):
            assert len(await ws.recv()) == 1 << 20
        await ws.send("all came")
        await ws.close()

    async def args(request):
        return {"args": request.args, "form": await request.form(), "path": request.path,
                "version": request.version, "host": request.headers["Host"]}  # fmt: skip

    async def slow(request):
        await asyncio.sleep(0.3)
        return "slow"

    def broken(request):
        raise RuntimeError("as it should")

    def mark(request):
        """Who was it? And from now on it is root."""
        before = request.headers.get("X-User", "nobody")
        request.headers["X-User"] = "root"
        return before

    async def mark_later(request):
        return mark(request)

    def short(request):
        return httpd.Response(exact, length=2000)

    table = {
        "/hello": lambda r: HELLO, "/stream": lambda r: httpd.Response(produce), "/echo": echo,
        "/big": lambda r: b"x" * 1_000_000, "/page": lambda r: b"x" * 16_000, "/ws": chat,
        "/args": args, "/broken": broken,
        "/flood": flood, "/slow": slow, "/none": lambda r: None,
        "/tuple": lambda r: ("made", 201, {"X": "y"}),
        "/exact": lambda r: httpd.Response(exact, length=1000), "/short": short,
        "/count": lambda r: str(len(r.headers)), "/mark": mark, "/later": mark_later,
    }  # fmt: skip
    return lambda request: table.get(request.path, files)(request)


@pytest.fixture(scope="module")
def served(tmp_path_factory):
    folder = tmp_path_factory.mktemp("www")
    (folder / "index.html").write_text("<h1>index</h1>")
    (folder / "file.bin").write_bytes(FILE)
    (folder / "sub").mkdir()
    (folder / ".secret").write_text("no")
    chain, key = IDENTITIES["p256"]
    for name, text in (("cert.pem", chain), ("key.pem", key), ("root.pem", ROOT)):
        (folder / name).write_text(text)
    with Running(make_app(folder), (folder / "cert.pem", folder / "key.pem")) as s:
        s.folder = folder
        yield s


def run(*argv, check=True, **options):
    done = subprocess.run([str(a) for a in argv], capture_output=True, timeout=60, **options)
    assert done.returncode == 0 or not check, done.stderr.decode()
    return done.stdout


WAYS = {
    "h1": (),
    "h2c": ("--http2-prior-knowledge",),
    "tls h1": ("--http1.1",),
    "tls h2": ("--http2",),
}


@pytest.fixture(params=WAYS)
def curl(request, served):
    """curl(path, *options) -> bytes, over each version with and without TLS."""
    tls = request.param.startswith("tls")
    base = served.tls_url if tls else served.url

    def fetch(path, *options, check=True):
        return run(
            "curl", "-sS", "--max-time", "30", "-k", *WAYS[request.param], *options, base + path,
            check=check,
        )  # fmt: skip

    fetch.version = "2" if "2" in request.param else "1.1"
    return fetch


def test_curl_get(curl):
    head, _, body = curl("/hello", "-i").partition(b"\r\n\r\n")
    assert body == b"hello\n"
    assert head.startswith(b"HTTP/1.1 200 OK" if curl.version == "1.1" else b"HTTP/2 200")
    fields = head.lower()
    for field in (b"\r\nx-a: b", b"\r\ncontent-length: 6", b"\r\ndate: "):
        assert field in fields
    assert curl("/hello", "-I").lower().count(b"content-length: 6") == 1


def test_curl_bodies(curl, tmp_path):
    for n in (0, 1, 16384, 300_000):
        data = bytes(i & 255 for i in range(n))
        (tmp_path / "body").write_bytes(data)
        for options in ((), ("-H", "Transfer-Encoding: chunked")):
            if options and curl.version == "2":
                continue
            assert curl("/echo", "--data-binary", f"@{tmp_path / 'body'}", *options) == data
    assert len(curl("/big")) == 1_000_000
    assert curl("/stream") == b"".join(b"line %d\n" % i * 100 for i in range(100))
    assert curl("/exact") == b"x" * 1000


def test_curl_request_parts(curl):
    got = json.loads(curl("/args?a=1&b=%C3%A4+c", "-d", "x=y&z=%26"))
    assert got["args"] == {"a": "1", "b": "ä c"} and got["form"] == {"x": "y", "z": "&"}
    assert got["version"] == curl.version and "1:" in got["host"] + "1:"


def test_curl_statuses(curl):
    code = ("-o", "/dev/null", "-w", "%{http_code}")
    for path, want in (
        ("/none", 204), ("/tuple", 201), ("/broken", 500), ("/nowhere", 404), ("/sub", 301),
        ("/.secret", 404), ("/%2e%2e/%2e%2e/etc/passwd", 404), ("/a%00b", 400), ("/ws", 426),
    ):  # fmt: skip
        got = curl(path, "--path-as-is", *code)
        # A plain GET of the WebSocket over HTTP/2 is refused as well.
        assert int(got) == want, (path, got)


def test_curl_files(curl):
    code = ("-o", "/dev/null", "-w", "%{http_code}")
    assert curl("/") == b"<h1>index</h1>" and curl("/file.bin") == FILE
    for spec, want in (("0-9", FILE[:10]), ("100-", FILE[100:]), ("-5", FILE[-5:]),
                       ("127999-200000", FILE[127999:])):  # fmt: skip
        assert curl("/file.bin", "-r", spec) == want, spec
    assert curl("/file.bin", "-H", "Range: bytes=1-2,4-5") == FILE
    assert curl("/file.bin", "-r", "128000-", *code) == b"416"
    head = curl("/file.bin", "-I").decode().lower()
    etag = re.search(r"etag: (.*)\r", head).group(1)
    modified = re.search(r"last-modified: (.*)\r", head).group(1)
    for field, want in (
        (f"If-None-Match: {etag}", 304), (f'If-None-Match: "x", W/{etag}', 304),
        ('If-None-Match: "x"', 200), ("If-None-Match: *", 304),
        (f"If-Modified-Since: {modified}", 304),
        ("If-Modified-Since: Thu, 01 Jan 1970 00:00:00 GMT", 200),
        ('If-Match: "x"', 412), (f"If-Match: {etag}", 200),
        ("If-Unmodified-Since: Thu, 01 Jan 1970 00:00:00 GMT", 412),
    ):  # fmt: skip
        assert int(curl("/file.bin", "-H", field, *code)) == want, field
    assert len(curl("/file.bin", "-r", "0-9", "-H", f"If-Range: {etag}")) == 10
    assert len(curl("/file.bin", "-r", "0-9", "-H", 'If-Range: "x"')) == len(FILE)


def test_short_body_is_not_whole(curl):
    done = curl("/short", "-w", "%{size_download} %{exitcode}", "-o", "/dev/null", check=False)
    assert not done.endswith(b" 0")


def test_curl_websocket_if_it_has_one(served):
    features = run("curl", "--version").decode()
    if " ws" not in features:
        print("this curl has no WebSocket")
    else:
        run("curl", "-sS", "--max-time", "10", served.url.replace("http", "ws") + "/ws")


def test_nghttp(served):
    out = run("nghttp", "-v", "-H", "trailer: yes", served.url + "/stream").decode()
    assert "x-end: yes" in out and "NO_ERROR" in out
    out = run(
        "nghttp", "-nv", "-m", "30", "-w", "16", "-H", "priority: u=1, i", served.tls_url + "/big"
    )
    assert out.count(b":status: 200") == 30


def test_h2load_100_streams(served):
    for base in (served.url, served.tls_url):
        for path, n in (("/hello", 2000), ("/big", 100)):
            out = run("h2load", "-n", n, "-c", 1, "-m", 100, base + path).decode()
            assert f"{n} succeeded, 0 failed, 0 errored" in out, out


def exchange(port, data, timeout=20):
    with socket.create_connection(("127.0.0.1", port), timeout) as s:
        s.sendall(data)
        out = b""
        while piece := s.recv(65536):
            out += piece
        return out


GET = b"GET /hello HTTP/1.1\r\nHost: h\r\n\r\n"
LAST = GET.replace(b"\r\n\r\n", b"\r\nConnection: close\r\n\r\n")


def test_pipelining(served):
    post = b"POST /echo HTTP/1.1\r\nHost: h\r\nContent-Length: 3\r\n\r\nabc"
    out = exchange(served.port, GET * 5 + post + GET + post + LAST)
    bodies = [p.partition(b"\r\n\r\n")[2] for p in out.split(b"HTTP/1.1 200 OK\r\n")[1:]]
    assert bodies == [b"hello\n"] * 5 + [b"abc", b"hello\n", b"abc", b"hello\n"]
    # A body that the handler does not read is read past.
    out = exchange(served.port, post.replace(b"/echo", b"/hello") + LAST)
    assert out.count(b"hello\n") == 2


@pytest.mark.parametrize("path", [b"/mark", b"/later"])
def test_headers_are_of_one_request(served, path):
    """Whatever an application writes into them, the same bytes again are a new request."""
    get = b"GET " + path + b" HTTP/1.1\r\nHost: h\r\n\r\n"
    for _ in range(2):
        with socket.create_connection(("127.0.0.1", served.port), 20) as s:
            for _ in range(4):
                s.sendall(get)
                out = b""
                while not out.endswith((b"nobody", b"root")):
                    piece = s.recv(1000)
                    assert piece
                    out += piece
                assert out.endswith(b"nobody"), out


def test_bad_requests_are_answered_and_closed(served):
    for data, status in (
        (b"GET / HTTP/1.1\r\n\r\n", 400),
        (b"GET / HTTP/3.0\r\nHost: h\r\n\r\n", 505),
        (b"GET /" + b"x" * 9000 + b" HTTP/1.1\r\n\r\n", 414),
        (b"GET / HTTP/1.1\r\nHost: h\r\nX: " + b"y" * 9000 + b"\r\n\r\n", 431),
        (b"CONNECT a:1 HTTP/1.1\r\nHost: a:1\r\n\r\n", 501),
        (b"POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n",
         400),
    ):  # fmt: skip
        out = exchange(served.port, data + GET)
        assert out.startswith(b"HTTP/1.1 %d " % status), (data[:50], out[:100])
        assert out.count(b"HTTP/1.1") == 1 and b"\r\nConnection: close\r\n" in out
    assert exchange(served.port, b"GET / HTTP/1.0\r\n\r\n").endswith(b"<h1>index</h1>")
    # The chunk goes wrong after the handler began.
    out = exchange(
        served.port,
        b"POST /echo HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n" + GET,
    )
    assert out.startswith(b"HTTP/1.1 400 ") and out.count(b"HTTP/1.1") == 1


def test_expect_continue(served):
    head = b"POST /echo HTTP/1.1\r\nHost: h\r\nContent-Length: 3\r\nExpect: 100-continue\r\n\r\n"
    with socket.create_connection(("127.0.0.1", served.port), 20) as s:
        s.sendall(head)
        assert s.recv(100) == b"HTTP/1.1 100 Continue\r\n\r\n"
        s.sendall(b"abc")
        assert s.recv(1000).endswith(b"abc")
        s.sendall(head.replace(b"/echo", b"/hello"))
        out = b""
        while piece := s.recv(1000):
            out += piece
        assert out.startswith(b"HTTP/1.1 200") and b"100 Continue" not in out


def test_slow_clients_are_ended(tmp_path):
    """Waits for the server to hang up, however long it takes: no time is asserted."""
    with Running(make_app(tmp_path), header_s=0.2, idle_s=0.2, stall_s=0.2) as s:
        for why, data in (
            ("says nothing", b""),
            ("in the head", GET[:-5]),
            ("between requests", GET),
            ("in the body", b"POST /echo HTTP/1.1\r\nHost: h\r\nContent-Length: 9\r\n\r\nab"),
            ("in the preface", b"PRI * HT"),
            ("idle h2", b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\4\0\0\0\0\0"),
        ):
            before = s.server.timed_out
            try:
                exchange(s.port, data)
            except ConnectionResetError:
                pass
            assert s.server.timed_out == before + 1, why
        # Who trickles a head byte by byte is ended as well.
        with socket.create_connection(("127.0.0.1", s.port), 20) as c:
            ended = False
            for _ in range(1000):
                try:
                    c.send(b"X")
                    c.settimeout(0.05)
                    ended = c.recv(100) == b""
                except TimeoutError:
                    continue
                except OSError:
                    ended = True
                if ended:
                    break
            assert ended


def test_connections_have_a_maximum(tmp_path):
    with Running(make_app(tmp_path), connections_max=3) as s:
        held = [socket.create_connection(("127.0.0.1", s.port), 20) for _ in range(3)]
        for c in held:
            c.sendall(GET)
            assert c.recv(1000)
        with socket.create_connection(("127.0.0.1", s.port), 20) as c:
            try:
                assert c.recv(100) == b""
            except ConnectionResetError:
                pass
        held[0].sendall(GET)
        assert held[0].recv(1000)
        for c in held:
            c.close()


def test_graceful_shutdown(tmp_path):
    """What is under way ends whole; idle connections are closed; nothing new is taken."""
    for argv in (("--http1.1",), ("--http2-prior-knowledge",)):
        with Running(make_app(tmp_path)) as s:
            idle = socket.create_connection(("127.0.0.1", s.port), 20)
            idle.sendall(GET)
            assert idle.recv(1000)
            slow = subprocess.Popen(
                ["curl", "-sS", "--max-time", "20", *argv, s.url + "/slow"], stdout=subprocess.PIPE
            )

            async def under_way(server=s.server):
                while sum(c.speaker is not None for c in server.connections) < 2:
                    await asyncio.sleep(0.005)

            s.call(under_way())
            s.call(s.server.shutdown(10))
            assert slow.communicate()[0] == b"slow"
            try:
                assert idle.recv(100) == b""
            except ConnectionResetError:
                pass
            idle.close()
            with pytest.raises(ConnectionRefusedError):
                socket.create_connection(("127.0.0.1", s.port), 20)


def test_websockets_package(served):
    async def talk(compression):
        url = f"ws://127.0.0.1:{served.port}/ws"
        async with websockets.connect(
            url, subprotocols=["x", "chat"], compression=compression, max_size=None
        ) as ws:
            assert ws.subprotocol == "chat"
            for message in ("", "hällo", b"\x00\xff", "x" * 100_000, b"y" * 500_000, "é" * 70_000):
                await ws.send(message)
                assert await ws.recv() == message
            await ws.send(["in ", "pieces ", "é"])
            assert await ws.recv() == "in pieces é"
            await (await ws.ping(b"p"))
            await ws.send("close")
            with pytest.raises(websockets.ConnectionClosed):
                await ws.recv()
            assert (ws.close_code, ws.close_reason) == (4000, "asked")

    for compression in ("deflate", None):
        asyncio.run(talk(compression))


def test_websocket_both_sides_send_first(served):
    """Neither reads before it has sent more than all buffers hold: the server reads meanwhile."""
    client = Connection(True, os.urandom)
    with socket.socket() as s:
        s.settimeout(60)
        for option in (socket.SO_RCVBUF, socket.SO_SNDBUF):
            s.setsockopt(socket.SOL_SOCKET, option, 65536)
        s.connect(("127.0.0.1", served.port))
        s.sendall(
            b"GET /flood HTTP/1.1\r\nHost: h\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
            b"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n\r\n"
        )
        for _ in range(4):
            client.send(bytes(1 << 20))
        s.sendall(client.data_to_send())
        head = b""
        while b"\r\n\r\n" not in head:
            head += s.recv(1)
        assert head.startswith(b"HTTP/1.1 101")
        got = []
        while True:
            while (e := client.next_event()) is not None and e[0] != frames.CLOSE:
                got.append(len(e[1]) if e[0] == frames.BINARY else e[1])
            if e is not None:
                break
            client.receive(s.recv(1 << 20))
        assert got == [1 << 20] * 4 + ["all came"]


def test_files_that_change(served):
    """Short files are kept with their answers: never after they have changed."""
    path = served.folder / "kept.txt"
    old = int(time.time()) - 1000

    def write(text, when):
        path.write_text(text)
        os.utime(path, (when, when))

    def get(*argv):
        return run("curl", "-sS", *argv, served.url + "/kept.txt")

    write("one", old)
    assert get() == get() == b"one"
    write("two", old + 1)
    assert get() == get() == b"two"
    write("three", old + 1)
    assert get() == b"three"
    # Twice within a second of its clock, of the same length: nothing tells but its bytes.
    now = int(time.time())
    write("four", now)
    assert get() == b"four"
    write("five", now)
    assert get() == b"five"
    write("six", old)
    assert get() == get() == b"six"
    assert get("-r", "1-1") == b"i" and b"Content-Length: 3" in get("--http1.1", "-I")
    etag = re.search(r"etag: (.*)\r", get("-i", "--http2-prior-knowledge").decode()).group(1)
    assert get("-H", f"If-None-Match: {etag}", "-w", "%{http_code}") == b"304"
    path.unlink()
    assert get("-w", "%{http_code}").endswith(b"404")
    path.mkdir()
    (path / "index.html").write_text("inside")
    assert get("-w", "%{http_code}").endswith(b"301") and get("-L") == b"inside"


def test_an_answer_with_a_file_is_ones_own(served):
    """What a handler adds to it is in no other."""
    path = served.folder / "own.txt"
    path.write_text("own")
    os.utime(path, (1000, 1000))
    files = httpd.static(str(served.folder))
    request = httpd.Request(None, "GET", "/own.txt", Headers(), "1.1")
    first, second = files(request), files(request)
    whole = second.whole()
    assert whole == first.whole() and whole.endswith(b"\r\n\r\nown")
    first.fields.append(("X-Mine", "1"))
    assert b"X-Mine: 1" in first.whole() and b"X-Mine" not in second.whole()
    assert ("x-mine", "1") in first.h2_fields() and ("x-mine", "1") not in second.h2_fields()
    second.status = 404
    assert second.head(False).startswith(b"HTTP/1.1 404") and files(request).whole() == whole


def test_many_websockets(served):
    async def talk():
        url = f"ws://127.0.0.1:{served.port}/ws"
        sockets = await asyncio.gather(*(websockets.connect(url) for _ in range(100)))
        for i, ws in enumerate(sockets):
            await ws.send(f"message {i}")
        for i, ws in enumerate(sockets):
            assert await ws.recv() == f"message {i}"
        await asyncio.gather(*(ws.close() for ws in sockets))

    asyncio.run(talk())


def test_http2_is_read_while_it_sends(served):
    """A client that takes no answers until it has sent more than all buffers hold. More than the
    streams of a connection is refused meanwhile."""
    c = h2.connection.H2Connection(h2.config.H2Configuration(client_side=True))
    c.initiate_connection()
    c.increment_flow_control_window(1 << 24)
    # RFC 9113, section 5.5: frames of types that are not known are for no one.
    junk = b"\x00\x40\x00\xfa\x00\x00\x00\x00\x00".ljust(9 + 16384, b"x")
    sizes, ended, refused = {}, 0, 0
    with socket.socket() as s:
        s.settimeout(30)
        for option in (socket.SO_RCVBUF, socket.SO_SNDBUF):
            s.setsockopt(socket.SOL_SOCKET, option, 65536)
        s.connect(("127.0.0.1", served.port))
        for _ in range(12):
            for _ in range(40):
                stream = c.get_next_available_stream_id()
                sizes[stream] = 0
                c.send_headers(stream, [(":method", "GET"), (":scheme", "http"),
                                        (":path", "/page"), (":authority", "h")], True)  # fmt: skip
            s.sendall(c.data_to_send() + junk * 20)
        while ended + refused < len(sizes):
            for e in c.receive_data(s.recv(1 << 20)):
                if isinstance(e, h2.events.DataReceived):
                    sizes[e.stream_id] += len(e.data)
                elif isinstance(e, h2.events.StreamEnded):
                    ended += 1
                elif isinstance(e, h2.events.StreamReset):
                    assert e.error_code == h2.errors.ErrorCodes.REFUSED_STREAM
                    assert sizes.pop(e.stream_id) == 0
                    sizes[-e.stream_id] = 16_000
                    refused += 1
            s.sendall(c.data_to_send())
    assert set(sizes.values()) == {16_000} and ended >= 100


def test_websocket_over_http2(served):
    """RFC 8441, the client's side by the package h2 and the machine of stack/ws."""
    c = h2.connection.H2Connection(h2.config.H2Configuration(client_side=True))
    c.initiate_connection()
    ws = Connection(True, lambda n: bytes(n))
    got, data = [], b""
    with socket.create_connection(("127.0.0.1", served.port), 20) as s:

        def pump():
            s.sendall(c.data_to_send())
            return c.receive_data(s.recv(65536))

        while not c.remote_settings.enable_connect_protocol:
            pump()
        c.send_headers(1, [
            (":method", "CONNECT"), (":protocol", "websocket"), (":scheme", "http"),
            (":path", "/ws"), (":authority", "h"), ("sec-websocket-version", "13"),
            ("sec-websocket-protocol", "chat"),
        ])  # fmt: skip
        message = "over a stream " * 3000
        ended = False
        while not ended:
            for e in pump():
                if isinstance(e, h2.events.ResponseReceived):
                    assert dict(e.headers)[b":status"] == b"200"
                    assert dict(e.headers)[b"sec-websocket-protocol"] == b"chat"
                    ws.send(message)
                    ws.send("close")
                    data = bytes(ws.data_to_send())
                elif isinstance(e, h2.events.DataReceived):
                    ws.receive(e.data)
                    c.acknowledge_received_data(e.flow_controlled_length, 1)
                elif isinstance(e, h2.events.StreamEnded):
                    ended = True
            while event := ws.next_event():
                got.append(event)
            data += bytes(ws.data_to_send())
            while data and (n := min(len(data), c.local_flow_control_window(1), 16384)):
                c.send_data(1, data[:n])
                data = data[n:]
    assert got == [(frames.TEXT, message), (frames.CLOSE, (4000, "asked"))]
