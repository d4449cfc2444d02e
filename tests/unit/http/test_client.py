"""The client's logic over a transport made of strings: requests, redirects, bodies."""

from stack.core.errors import ProtocolError
from stack.http import client


class Stream:
    def __init__(self, reply, step):
        self.reply = reply
        self.pos = 0
        self.step = step
        self.sent = b""
        self.closed = False

    def send(self, data, timeout):
        self.sent += bytes(data)
        yield "send"

    def recv_into(self, buf, off, n, timeout):
        yield "recv"
        assert not self.closed
        n = min(n, self.step, len(self.reply) - self.pos)
        buf[off : off + n] = self.reply[self.pos : self.pos + n]
        self.pos += n
        return n

    def close(self):
        self.closed = True


class Transport:
    def __init__(self, *replies, step=1000):
        self.replies = list(replies)
        self.step = step
        self.streams = []
        self.urls = []

    def connect(self, url, timeout):
        yield "connect"
        self.urls.append(str(url))
        s = Stream(self.replies.pop(0), self.step)
        self.streams.append(s)
        return s


def run(generator):
    while True:
        try:
            generator.send(None)
        except StopIteration as e:
            return e.value


def fetch(transport, method="GET", where="http://h/x", **options):
    return run(client.request(transport, run, method, where, **options))


def ok(body, extra=b""):
    return b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n%s\r\n" % (len(body), extra) + body


def redirect(status, location):
    return b"HTTP/1.1 %d x\r\nLocation: %s\r\nContent-Length: 3\r\n\r\nabc" % (status, location)


def test_get():
    for step in (1, 3, 1000):
        t = Transport(ok(b'{"a": 1}', b"Content-Type: application/json\r\n"), step=step)
        r = fetch(t)
        assert (r.status_code, r.reason, r.http_version, r.ok) == (200, "OK", "1.1", True)
        assert r.content == b'{"a": 1}' and r.text == '{"a": 1}' and r.json() == {"a": 1}
        assert r.url == "http://h/x"
        s = t.streams[0]
        assert s.closed
        assert s.sent == (
            b"GET /x HTTP/1.1\r\nHost: h\r\nUser-Agent: Barewire\r\nAccept: */*\r\n"
            b"Connection: close\r\n\r\n"
        )


def test_post():
    for data, length, type, body in (
        (b"raw", b"3", None, b"raw"),
        ("text", b"4", None, b"text"),
        ({"a b": "c&d"}, b"11", b"application/x-www-form-urlencoded", b"a%20b=c%26d"),
        (None, b"0", None, b""),
    ):
        t = Transport(ok(b""))
        fetch(t, "post", data=data)
        head, _, sent = [t.streams[0].sent[i:j] for i, j in _cut(t.streams[0].sent)]
        assert head.startswith(b"POST /x HTTP/1.1\r\n")
        assert b"\r\nContent-Length: " + length + b"\r\n" in head + b"\r\n"
        assert sent == body
        assert type is None or b"\r\nContent-Type: " + type in head
    t = Transport(ok(b""))
    fetch(t, "PUT", json=[1])
    assert t.streams[0].sent.endswith(b"\r\n\r\n[1]")
    assert b"Content-Type: application/json\r\n" in t.streams[0].sent


def _cut(data):
    i = data.find(b"\r\n\r\n")
    return (0, i), (i, i + 4), (i + 4, len(data))


def test_body_from_an_iterator():
    t = Transport(ok(b""))
    fetch(t, "POST", data=iter((b"abc", b"", "de")))
    assert t.streams[0].sent.endswith(b"\r\n\r\n3\r\nabc\r\n2\r\nde\r\n0\r\n\r\n")
    assert b"Transfer-Encoding: chunked\r\n" in t.streams[0].sent


def test_long_body_is_sent_as_it_is():
    t = Transport(ok(b""))
    body = bytes(100000)
    fetch(t, "POST", data=body)
    assert t.streams[0].sent.endswith(b"Content-Length: 100000\r\n\r\n" + body)


def test_headers_params_and_auth():
    t = Transport(ok(b""))
    fetch(
        t,
        where="http://ann:pw@h:81/x?y=1",
        params={"q": "a b"},
        headers={"User-Agent": "me", "X": 5, "Connection": "keep-alive"},
    )
    sent = t.streams[0].sent
    assert sent.startswith(b"GET /x?y=1&q=a%20b HTTP/1.1\r\nHost: h:81\r\n")
    assert b"User-Agent: me\r\n" in sent and b"X: 5\r\n" in sent and b"Barewire" not in sent
    assert b"Authorization: Basic YW5uOnB3\r\n" in sent
    assert sent.count(b"Connection:") == 1 and b"Connection: close" in sent


def test_bad_arguments():
    for options in (
        {"headers": {"A": "b\r\nC: d"}},
        {"headers": {"A\n": "b"}},
        {"where": "http://h/a b"},
        {"where": "http://h/a\r\nX: y"},
        {"where": "h"},
    ):
        t = Transport()
        try:
            fetch(t, **options)
            raise AssertionError(options)
        except ValueError:
            assert not t.urls


def test_redirects():
    for status, method, then, body in (
        (301, "GET", b"GET ", b""),
        (301, "POST", b"GET ", b""),
        (302, "POST", b"GET ", b""),
        (303, "POST", b"GET ", b""),
        (303, "PUT", b"GET ", b""),
        (303, "HEAD", b"HEAD ", b""),
        (307, "POST", b"POST ", b"data"),
        (308, "PUT", b"PUT ", b"data"),
        (302, "PUT", b"PUT ", b"data"),
    ):
        t = Transport(redirect(status, b"/y?z"), ok(b"there" if method != "HEAD" else b""))
        r = fetch(t, method, data=None if method in ("GET", "HEAD") else b"data")
        assert t.urls == ["http://h/x", "http://h/y?z"] and r.url == "http://h/y?z"
        assert t.streams[0].closed
        assert t.streams[1].sent.startswith(then + b"/y?z ")
        assert t.streams[1].sent.endswith(b"\r\n\r\n" + body), (status, method)


def test_redirect_bounds():
    t = Transport(*[redirect(302, b"/") for _ in range(12)])
    try:
        fetch(t)
        raise AssertionError
    except OSError:
        assert len(t.urls) == 11
    t = Transport(redirect(302, b"/y"))
    assert fetch(t, allow_redirects=False).status_code == 302
    t = Transport(b"HTTP/1.1 302 x\r\nContent-Length: 0\r\n\r\n")
    assert fetch(t).status_code == 302
    for location in (b"ftp://x/", b"http://h/a b", b"http://"):
        try:
            fetch(Transport(redirect(302, location)))
            raise AssertionError(location)
        except ValueError:
            pass


def test_credentials_stay_with_their_origin():
    secret = {"Authorization": "s3cret", "Cookie": "s3cret", "X": "y"}
    for location, kept in (
        (b"/y", True),
        (b"http://h/y", True),
        (b"http://other/y", False),
        (b"http://h:81/y", False),
    ):
        t = Transport(redirect(302, location), ok(b""))
        fetch(t, headers=secret)
        assert (b"s3cret" in t.streams[1].sent) == kept, location
        assert b"X: y\r\n" in t.streams[1].sent
        t = Transport(redirect(302, location), ok(b""))
        fetch(t, where="http://u:p@h/x", auth=("u", "p"))
        assert (b"Authorization" in t.streams[1].sent) == kept, location


def test_reading_in_pieces():
    body = bytes([i & 255 for i in range(5000)])
    chunks = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"
    for i in range(0, 5000, 700):
        piece = body[i : i + 700]
        chunks += b"%x\r\n" % len(piece) + piece + b"\r\n"
    chunks += b"0\r\n\r\n"
    for reply in (ok(body), b"HTTP/1.1 200 OK\r\n\r\n" + body, chunks):
        for step in (1, 100, 1460, 10000):
            r = fetch(Transport(reply, step=step))
            assert r.content == body
            t = Transport(reply, step=step)
            r = fetch(t, stream=True)
            buf = bytearray(300)
            got = b""
            while True:
                n = r.readinto(buf)
                got += buf[:n]
                if n < 300:
                    break
            assert got == body and r.readinto(buf) == 0 and t.streams[0].closed
            r = fetch(Transport(reply, step=step), stream=True)
            assert r.read(10) == body[:10]
            assert b"".join(r.iter(999)) == body[10:]
            r = fetch(Transport(reply, step=step), stream=True)
            assert r.read() == body


def test_a_length_read_exactly_closes_the_stream():
    t = Transport(ok(b"x" * 5000))
    r = fetch(t)
    assert t.streams[0].closed and len(r.content) == 5000


def test_a_body_cut_short():
    for reply in (
        ok(b"hello")[:-1],
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhel",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n",
        b"HTTP/1.1 200 OK\r\n",
        b"",
    ):
        for step in (1, 1000):
            t = Transport(reply, step=step)
            try:
                fetch(t)
                raise AssertionError(reply)
            except ProtocolError:
                assert t.streams[0].closed


def test_encodings():
    for content_type, raw, text in (
        (b"text/plain", b"\xc3\xa4", "\u00e4"),
        (b"text/plain; charset=UTF-8", b"\xc3\xa4", "\u00e4"),
        (b'text/plain; a=b; charset="latin-1"', b"\xe4", "\u00e4"),
        (b"text/plain;charset=ISO-8859-1", b"\xe4", "\u00e4"),
    ):
        t = Transport(ok(raw, b"Content-Type: " + content_type + b"\r\n"))
        assert fetch(t).text == text


def test_raise_for_status():
    r = fetch(Transport(b"HTTP/1.1 404 Nope\r\nContent-Length: 0\r\n\r\n"))
    try:
        r.raise_for_status()
        raise AssertionError
    except OSError as e:
        assert "404 Nope" in str(e)
    fetch(Transport(ok(b""))).raise_for_status()
