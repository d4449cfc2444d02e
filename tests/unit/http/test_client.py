"""The client's logic over a transport made of strings: requests, redirects, bodies, the pool."""

from stack.core.errors import ProtocolError
from stack.http import url
from stack.http.cache import Cache
from stack.http.client import LAZY, Session, TooManyRedirects
from stack.http.cookies import Jar
from stack.http.pool import Pool


class Stream:
    """Gives one reply for each request (a head that is sent); `ends`: then the connection ends."""

    alpn = None

    def __init__(self, replies, step, ends):
        self.replies = replies
        self.step = step
        self.ends = ends
        self.reply = b""
        self.sent = b""
        self.closed = False

    def send_until(self, data, deadline):
        self.put(data, 0, len(data))
        yield "send"

    def put(self, data, off, n):
        assert not self.closed
        data = bytes(data[off : off + n])
        self.sent += data
        if b" HTTP/1.1\r\n" in data and self.replies:
            self.reply += self.replies.pop(0)
        return n

    def take(self, buf, off, n):
        n = min(n, self.step, len(self.reply))
        if not n:
            return 0 if self.ends and not self.replies else -1
        buf[off : off + n] = self.reply[:n]
        self.reply = self.reply[n:]
        return n

    def recv_until(self, buf, off, n, deadline):
        yield "recv"
        assert not self.closed
        return max(0, self.take(buf, off, n))

    def wait(self, write, deadline):
        yield "wait"

    def close(self):
        self.closed = True


class Transport:
    """Each connection has its own list of replies, or one of them."""

    NEVER = 1 << 62

    def __init__(self, *replies, step=1000, ends=True):
        self.replies = [[r] if isinstance(r, bytes) else list(r) for r in replies]
        self.step = step
        self.ends = ends
        self.streams = []
        self.urls = []
        self.t = 0
        self.calls = []

    def now(self):
        return self.t

    def unix(self):
        return 1700000000 + self.t // 1000000

    def rng(self, n):
        return bytes(n)

    def signal(self):
        raise AssertionError("nobody waits here")

    def call_at(self, at, function):
        self.calls.append((at, function))

    def connect(self, way, deadline):
        yield "connect"
        self.urls.append("%s://%s:%d" % (way.scheme, way.host, way.port))
        s = Stream(self.replies.pop(0), self.step, self.ends)
        self.streams.append(s)
        return s


def run(generator):
    while True:
        try:
            generator.send(None)
        except StopIteration as e:
            return e.value


def fetch(transport, method="GET", where="http://h/x", **options):
    return run(Session(transport, run).request(method, where, **options))


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
        assert not s.closed  # it is kept
        assert s.sent == (
            b"GET /x HTTP/1.1\r\nHost: h\r\nUser-Agent: Barewire\r\nAccept: */*\r\n"
            b"Accept-Encoding: gzip, deflate\r\n\r\n"
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
    assert b"Connection:" not in sent


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
        second = (
            b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n" if method == "HEAD" else ok(b"there")
        )
        first = redirect(status, b"/y?z")
        t = Transport([first[:-3] if method == "HEAD" else first, second])
        r = fetch(t, method, data=None if method in ("GET", "HEAD") else b"data")
        assert t.urls == ["http://h:80"] and r.url == "http://h/y?z"
        sent = t.streams[0].sent
        sent = sent[sent.rfind(then + b"/y?z ") :]
        assert sent.endswith(b"\r\n\r\n" + body) and sent, (status, method)
        assert [x.status_code for x in r.history] == [status]


def test_redirect_bounds():
    t = Transport([redirect(302, b"/") for _ in range(12)])
    try:
        fetch(t)
        raise AssertionError
    except TooManyRedirects as e:
        assert t.streams[0].sent.count(b"GET ") == 11 and "loop" in str(e)
    t = Transport([redirect(302, b"/%d" % i) for i in range(12)])
    try:
        fetch(t)
        raise AssertionError
    except TooManyRedirects as e:
        assert "loop" not in str(e)
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
        for options in (
            {"headers": secret},
            {"where": "http://u:p@h/x", "auth": ("u", "p")},
            {"auth": "bearer-token"},
            {"cookies": {"s3cret": "1"}},
        ):
            one = [redirect(302, location), ok(b"")]
            t = Transport(one) if kept else Transport(one[:1], one[1:])
            fetch(t, **options)
            sent = t.streams[-1].sent
            sent = sent[sent.rfind(b"GET ") :]
            found = b"s3cret" in sent or b"Authorization" in sent or b"Cookie" in sent
            assert found == kept, (location, options)
            assert "headers" not in options or b"X: y\r\n" in sent


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
            assert got == body and r.readinto(buf) == 0
            r = fetch(Transport(reply, step=step), stream=True)
            assert r.read(10) == body[:10]
            assert b"".join(r.iter(999)) == body[10:]
            r = fetch(Transport(reply, step=step), stream=True)
            assert r.read() == body


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
                assert t.streams[0].closed and len(t.streams) == 1


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


def session(transport, **options):
    return Session(transport, run, **options)


def get(s, where="http://h/x", method="GET", **options):
    return run(s.request(method, where, **options))


def test_connections_are_kept():
    t = Transport([ok(b"1"), ok(b"2"), ok(b"3")], [ok(b"4")], ends=False)
    s = session(t)
    assert [get(s).content for _ in range(3)] == [b"1", b"2", b"3"]
    assert len(t.streams) == 1
    # Idle for too long: closed by the timer, and not used again.
    at, function = t.calls[-1]
    t.t = at
    function(at)
    assert t.streams[0].closed
    assert get(s).content == b"4" and len(t.streams) == 2
    # An answer that ends its connection, or is not read, takes it along.
    for reply in (
        ok(b"1", b"Connection: close\r\n"),
        b"HTTP/1.0 200 OK\r\nContent-Length: 1\r\n\r\n1",
        ok(b"1") + b"HTTP/1.1 200 forged",
    ):
        t = Transport([reply, b""], [ok(b"2")], ends=False)
        s = session(t)
        assert get(s).content == b"1" and get(s).content == b"2"
        assert t.streams[0].closed and len(t.streams) == 2, reply
    t = Transport([ok(b"x" * 5000)], [ok(b"2")], ends=False)
    s = session(t)
    get(s, stream=True).close()
    assert t.streams[0].closed and get(s).content == b"2"


def test_six_connections_an_origin():
    t = Transport(*[[ok(b"x" * 5000), ok(b"y")] for _ in range(6)], ends=False)
    s = session(t)
    held = [get(s, stream=True) for _ in range(6)]
    try:
        get(s)
        raise AssertionError("a seventh")
    except AssertionError as e:
        assert "nobody waits" in str(e)
    held[2].read()
    assert get(s).content == b"y" and len(t.streams) == 6
    # Another origin has its own.
    t.replies = [[ok(b"z")]]
    assert get(s, "http://h:81/").content == b"z"


def test_each_free_place_wakes_another():
    """Two places that come free before anybody runs are for two of those who wait."""
    t = Transport(*[[ok(b"x" * 5000), ok(b"y"), ok(b"y"), ok(b"y")] for _ in range(6)], ends=False)
    signals = []

    class Signal:
        is_set = False

        def set(self):
            self.is_set = True

    def signal():
        signals.append(Signal())
        return signals[-1]

    def wait_signal(signal, deadline):
        while not signal.is_set:
            yield "wait"

    t.signal, t.wait_signal = signal, wait_signal
    s = session(t)
    held = [get(s, stream=True) for _ in range(6)]
    waiting = [s.request("GET", "http://h/x") for _ in range(4)]
    for g in waiting:
        assert g.send(None) == "wait"
    held[0].read()
    held[1].read()
    assert [x.is_set for x in signals] == [True, True, False, False]
    # One who was woken and goes away leaves it to the next.
    waiting[0].close()
    assert [x.is_set for x in signals] == [True, True, True, False]
    for g in waiting[1:3]:
        assert run(g).content == b"y"
    assert signals[3].is_set and run(waiting[3]).status_code == 200


def test_short_bodies_hold_no_connection():
    """What nobody reads, as `requests.post(...).status_code` in a loop, must not use the six up."""
    from stack.core.deflate import deflate

    chunks = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nchunk\r\n0\r\n\r\n"
    packed = deflate(b"packed") + b"\x03\x00"
    t = Transport([ok(b"short"), chunks, ok(packed, b"Content-Encoding: deflate\r\n")] * 3,
                  ends=False)  # fmt: skip
    s = session(t)
    held = [get(s, stream=LAZY) for _ in range(9)]
    assert len(t.streams) == 1 and not t.streams[0].replies
    for r, want in zip(held, [b"short", b"chunk", b"packed"] * 3):
        assert r.read(2) == want[:2] and r.read() == want[2:] and r.read() == b""
    t = Transport([ok(b"x")], ends=False)
    assert get(session(t), stream=LAZY).content == b"x"
    # What is long, or has no end, is read when it is used.
    for body, extra in ((b"x" * 65537, b""), (b"data: 1", b"Content-Type: text/event-stream\r\n")):
        t = Transport([ok(body, extra)], [ok(b"other")], ends=False)
        s = session(t)
        r = get(s, stream=LAZY)
        assert get(s, stream=LAZY).content == b"other" and len(t.streams) == 2
        assert r.content == body
    long = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n" + (
        b"4000\r\n" + b"y" * 16384 + b"\r\n") * 9  # fmt: skip
    t = Transport([long + b"0\r\n\r\n"], step=16384, ends=False)
    r = get(session(t), stream=LAZY)
    assert t.streams[0].reply and r.read(70000) == b"y" * 70000 and r.read() == b"y" * 77456


def test_safe_retries():
    """A kept connection that turns out to be closed: tried again where that does no harm."""
    for method, data, tried in (
        ("GET", None, True),
        ("HEAD", None, True),
        ("PUT", b"x", True),
        ("DELETE", None, True),
        ("POST", b"x", False),
        ("PATCH", b"x", False),
        ("PUT", iter([b"x"]), False),
    ):
        second = ok(b"") if method == "HEAD" else ok(b"2")
        # The first connection looks alive and ends when it is used.
        t = Transport([ok(b"1")], [second], ends=False)
        s = session(t)
        get(s)
        t.streams[0].replies = [b""]
        t.streams[0].take = _alive_then_dead(t.streams[0])
        try:
            r = get(s, method=method, data=data)
            assert tried and r.status_code == 200, method
        except (OSError, ProtocolError):
            assert not tried, method
        assert len(t.streams) == (2 if tried else 1)
    # A fresh connection is not tried twice.
    t = Transport([b""])
    try:
        fetch(t)
        raise AssertionError
    except ProtocolError:
        assert len(t.streams) == 1


def _alive_then_dead(stream):
    answers = [-1]

    def take(buf, off, n):
        return answers.pop() if answers else 0

    return take


def test_cookies():
    reply = ok(b"", b"Set-Cookie: a=1; Path=/\r\nSet-Cookie: b=2; Path=/y\r\n")
    t = Transport([reply, ok(b""), ok(b"")], ends=False)
    s = session(t)
    r = get(s)
    assert r.cookies.get("a") == "1" and len(s.cookies) == 2
    get(s, "http://h/y/z")
    get(s, "http://h/q", cookies={"c": "3"})
    sent = t.streams[0].sent
    assert b"Cookie: b=2; a=1\r\n" in sent and b"Cookie: a=1; c=3\r\n" in sent
    t = Transport([reply, ok(b"")], ends=False)
    s = session(t, cookies=False)
    get(s)
    get(s)
    assert b"Cookie" not in t.streams[0].sent


def jar(where, *values, now=1000):
    j = Jar()
    j.store(url.parse(where), values, now)
    return j


def test_cookie_rules():
    for why, where, value, then, sent in (
        ("host only", "http://a.b/", "x=1", "http://c.a.b/", ""),
        ("domain", "http://a.b.c/", "x=1; Domain=b.c", "http://z.b.c/", "x=1"),
        ("dot", "http://a.b.c/", "x=1; Domain=.b.c", "http://b.c/", "x=1"),
        ("other domain", "http://a.b/", "x=1; Domain=c.d", "http://c.d/", ""),
        ("part of a label", "http://ab.c/", "x=1; Domain=b.c", "http://b.c/", ""),
        ("top level", "http://a.b/", "x=1; Domain=b", "http://c.b/", ""),
        ("address", "http://1.2.3.4/", "x=1; Domain=3.4", "http://9.9.3.4/", ""),
        ("default path", "http://h/a/b", "x=1", "http://h/a/c", "x=1"),
        ("other path", "http://h/a/b", "x=1", "http://h/c", ""),
        ("prefix of a name", "http://h/", "x=1; Path=/a", "http://h/ab", ""),
        ("below a path", "http://h/", "x=1; Path=/a", "http://h/a/b?q", "x=1"),
        ("secure over http", "http://h/", "x=1; Secure", "http://h/", ""),
        ("secure", "https://h/", "x=1; Secure", "https://h/", "x=1"),
        ("secure, then http", "https://h/", "x=1; Secure", "http://h/", ""),
        ("max-age 0", "http://h/", "x=1; Max-Age=0", "http://h/", ""),
        ("max-age", "http://h/", "x=1; Max-Age=1", "http://h/", "x=1"),
        ("expired", "http://h/", "x=1; Expires=Thu, 01-Jan-1970 00:00:01 GMT", "http://h/", ""),
        ("expires", "http://h/", "x=1; Expires=Wed, 21 Oct 2099 07:28:00 GMT", "http://h/", "x=1"),
        ("max-age wins", "http://h/", "x=1; Expires=Wed, 21 Oct 2099 07:28:00 GMT; Max-Age=0",
         "http://h/", ""),
        ("no name", "http://h/", "=1", "http://h/", ""),
        ("no sign", "http://h/", "x", "http://h/", ""),
        ("__Host-", "https://h/", "__Host-x=1; Secure; Path=/", "https://h/", "__Host-x=1"),
        ("__Host- with domain", "https://h.i/", "__Host-x=1; Secure; Path=/; Domain=h.i",
         "https://h.i/", ""),
        ("__Secure-", "https://h/", "__Secure-x=1", "https://h/", ""),
        ("too long", "http://h/", "x=" + "1" * 5000, "http://h/", ""),
    ):  # fmt: skip
        assert jar(where, value).header(url.parse(then), 1000) == sent, why
    j = jar("http://h/", "x=1; Max-Age=10", "x=2; Max-Age=10")
    assert j.header(url.parse("http://h/"), 1009) == "x=2" and len(j) == 1
    assert j.header(url.parse("http://h/"), 1011) == ""
    j = Jar()
    for i in range(1000):
        j.store(url.parse("http://h%d/" % (i % 30)), ["x%d=1" % i], 0)
    assert len(j) <= 300


def test_proxies():
    t = Transport(ok(b"p"))
    r = fetch(t, where="http://h/x?y", proxies={"http": "http://u:p@proxy:3128"})
    sent = t.streams[0].sent
    assert sent.startswith(b"GET http://h/x?y HTTP/1.1\r\nHost: h\r\n") and r.content == b"p"
    assert b"Proxy-Authorization: Basic dTpw\r\n" in sent


def test_decoding():
    from stack.core.deflate import deflate
    from tests.unit.core.test_flate import gzip

    text = b"some text that repeats itself, " * 50
    for coding, body in ((b"gzip", gzip(text)), (b"deflate", deflate(text) + b"\x03\x00"),
                         (b"br", text), (b"X-GZIP", gzip(text))):  # fmt: skip
        for step in (1, 7, 1000):
            reply = ok(body, b"Content-Encoding: " + coding + b"\r\n")
            assert fetch(Transport(reply, step=step)).content == text
            r = fetch(Transport(reply, step=step), stream=True)
            assert r.read(10) == text[:10] and r.read() == text[10:]
    for bad in (gzip(text)[:-9], gzip(text)[:-5] + b"xxxxx", b"no gzip at all"):
        try:
            fetch(Transport(ok(bad, b"Content-Encoding: gzip\r\n")))
            raise AssertionError
        except ProtocolError:
            pass
    r = fetch(Transport(b"HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\nContent-Length: 9\r\n\r\n"),
              method="HEAD")  # fmt: skip
    assert r.content == b""


def test_expect_continue():
    t = Transport([b"HTTP/1.1 100 Continue\r\n\r\n" + ok(b"done")])
    r = fetch(t, "POST", data=b"body", expect=True)
    assert r.content == b"done" and t.streams[0].sent.endswith(b"\r\n\r\nbody")
    t = Transport([b"HTTP/1.1 413 Too much\r\nContent-Length: 0\r\n\r\n"])
    assert fetch(t, "POST", data=b"body", expect=True).status_code == 413
    assert t.streams[0].sent.endswith(b"\r\n\r\n")


def test_multipart():
    t = Transport(ok(b""))
    fetch(t, "POST", data={"a": "b"}, files={"f": ("n.txt", b"text", "text/x"), "g": "plain"})
    sent = t.streams[0].sent
    boundary = b"barewire" + b"00" * 12
    assert b"Content-Type: multipart/form-data; boundary=" + boundary in sent
    body = sent[sent.find(b"\r\n\r\n") + 4 :]
    assert b"Content-Length: %d\r\n" % len(body) in sent
    assert body.startswith(
        b"--" + boundary + b'\r\nContent-Disposition: form-data; name="a"\r\n\r\nb\r\n'
    )
    assert b'name="f"; filename="n.txt"\r\nContent-Type: text/x\r\n\r\ntext\r\n' in body
    assert body.endswith(b"--" + boundary + b"--\r\n")


def test_progress():
    seen = []
    t = Transport(ok(b"x" * 5000))
    fetch(t, progress=lambda done, total: seen.append((done, total)))
    assert seen[-1] == (5000, 5000) and len(seen) > 1
    seen = []
    t = Transport(ok(b""))
    fetch(t, "POST", data=bytes(40000), upload_progress=lambda done, total: seen.append(done))
    assert seen == [16384, 32768, 40000]


def test_total_timeout_is_for_all_waits():
    from stack.http.pool import Limits

    limits = Limits((1, 2, 3), 0, 1 << 62)
    assert limits.connect_deadline(0) == 1000000 and limits.read_deadline(0) == 2000000
    assert limits.read_deadline(2500000) == 3000000
    assert Limits(None, 0, 1 << 62).read_deadline(5) == 1 << 62
    assert Limits(2, 0, 1 << 62).connect_deadline(5) == 2000005


# The cache (RFC 9111).

DATE = b"Date: Tue, 14 Nov 2023 22:13:20 GMT\r\n"  # 1,700,000,000: the transport's 0


class World:
    """A session with a cache before a server of canned replies; time moves by hand."""

    def __init__(self, *replies):
        self.t = Transport(list(replies), ends=False)
        self.cache = Cache(100000)
        self.s = session(self.t, cache=self.cache, pool=Pool(self.t, 1 << 60))

    def get(self, at=0, where="http://h/x", **options):
        self.t.t = at * 1000000
        return get(self.s, where, **options)

    @property
    def asked(self):
        return sum([s.sent.count(b" HTTP/1.1\r\n") for s in self.t.streams])

    @property
    def last(self):
        sent = self.t.streams[-1].sent
        heads = sent.split(b" HTTP/1.1\r\n")
        return heads[-1]


def test_cache_freshness():
    for why, fields, fresh_at, stale_at in (
        ("max-age", b"Cache-Control: max-age=10\r\n" + DATE, 9, 10),
        ("max-age quoted", b'Cache-Control: max-age="10"\r\n' + DATE, 9, 10),
        ("two max-age: the first", b"Cache-Control: max-age=10, max-age=90\r\n" + DATE, 9, 10),
        ("two lines: the first",
         b"Cache-Control: max-age=10\r\nCache-Control: max-age=90\r\n" + DATE, 9, 10),
        ("no-store understood",
         b"Cache-Control: must-understand, no-store, max-age=10\r\n" + DATE, 9, 10),
        ("max-age with Age", b"Cache-Control: max-age=10\r\nAge: 4\r\n" + DATE, 5, 6),
        ("max-age before Expires",
         b"Cache-Control: max-age=10\r\nExpires: Tue, 14 Nov 2023 22:14:20 GMT\r\n" + DATE, 9, 10),
        ("s-maxage is not for us", b"Cache-Control: s-maxage=1, max-age=10\r\n" + DATE, 9, 10),
        ("Expires", b"Expires: Tue, 14 Nov 2023 22:13:30 GMT\r\n" + DATE, 9, 10),
        ("heuristic", b"Last-Modified: Tue, 14 Nov 2023 22:11:40 GMT\r\n" + DATE, 9, 10),
        ("heuristic, a day at most", b"Last-Modified: Tue, 14 Nov 2000 22:11:40 GMT\r\n" + DATE,
         86399, 86400),
        ("private is for us", b"Cache-Control: private, max-age=10\r\n" + DATE, 9, 10),
        ("old Date", b"Cache-Control: max-age=10\r\nDate: Tue, 14 Nov 2023 22:13:15 GMT\r\n", 4, 5),
    ):  # fmt: skip
        w = World(ok(b"1", fields), ok(b"2", DATE))
        assert w.get(0).content == b"1"
        r = w.get(fresh_at)
        assert r.content == b"1" and r.from_cache, why
        # Section 5.1: how old it is, in place of what it said itself.
        assert int(r.headers["Age"]) >= fresh_at, (why, r.headers)
        r = w.get(stale_at)
        assert r.content == b"2" and not r.from_cache, why


def test_cache_stores_what_may_be():
    modified = b"Last-Modified: Tue, 14 Nov 2023 22:11:40 GMT\r\n" + DATE  # 10 s by heuristic
    for why, status, fields, kept in (
        ("a 308", b"308", modified, True),
        ("a 410", b"410", modified, True),
        ("a 302", b"302", modified, False),
        ("a 302 by its word", b"302", b"Cache-Control: max-age=9\r\n" + DATE, True),
        ("a public 302", b"302", b"Cache-Control: public\r\n" + modified, True),
        ("a 403 not understood", b"403",
         b"Cache-Control: no-store, must-understand, max-age=9\r\n" + DATE, False),
    ):  # fmt: skip
        answer = b"HTTP/1.1 " + status + b" S\r\nContent-Length: 1\r\n" + fields + b"\r\n"
        w = World(answer + b"1", answer + b"2")
        assert w.get(0).content == b"1"
        assert w.get(1).from_cache == kept, why


def test_cache_does_not_store():
    for why, fields, options in (
        ("no-store", b"Cache-Control: no-store, max-age=9\r\n", {}),
        (
            "asked no-store",
            b"Cache-Control: max-age=9\r\n",
            {"headers": {"Cache-Control": "no-store"}},
        ),
        ("nothing to go by", b"", {}),
        ("Vary *", b"Cache-Control: max-age=9\r\nVary: *\r\n", {}),
        ("POST", b"Cache-Control: max-age=9\r\n", {"method": "POST"}),
        ("range", b"Cache-Control: max-age=9\r\n", {"headers": {"Range": "bytes=0-1"}}),
        ("bad max-age", b"Cache-Control: max-age=x\r\n", {}),
    ):
        w = World(ok(b"1", fields + DATE), ok(b"2", fields + DATE))
        assert w.get(0, **options).content == b"1"
        assert w.get(1, **options).content == b"2", why
    w = World(b"HTTP/1.1 206 P\r\nCache-Control: max-age=9\r\nContent-Length: 1\r\n\r\n1", ok(b"2"))
    w.get(0)
    assert w.get(1).content == b"2"
    w = World(ok(b"x" * 200000, b"Cache-Control: max-age=9\r\n"), ok(b"2"))
    w.get(0)
    assert w.cache.used == 0 and w.get(1).content == b"2"


def test_cache_revalidation():
    first = ok(b"1", b'ETag: "e"\r\nLast-Modified: Tue, 14 Nov 2023 22:00:00 GMT\r\n'
               b"Cache-Control: max-age=5\r\nX: old\r\n" + DATE)  # fmt: skip
    not_modified = (
        b"HTTP/1.1 304 N\r\nCache-Control: max-age=7\r\nX: new\r\n"
        b"Date: Tue, 14 Nov 2023 22:13:30 GMT\r\n\r\n"
    )
    w = World(first, not_modified, ok(b"2"))
    w.get(0)
    r = w.get(10)
    assert r.content == b"1" and r.status_code == 200 and r.headers["X"] == "new"
    assert b'If-None-Match: "e"\r\n' in w.last and b"If-Modified-Since: Tue" in w.last
    assert w.get(16).content == b"1" and w.asked == 2
    assert w.get(18).content == b"2" and w.asked == 3
    # no-cache on either side asks always.
    for fields, options in (
        (b"Cache-Control: no-cache\r\n", {}),
        (b"Cache-Control: max-age=50\r\n", {"headers": {"Cache-Control": "no-cache"}}),
        (b"Cache-Control: max-age=50\r\n", {"headers": {"Cache-Control": "max-age=0"}}),
        (b"Cache-Control: max-age=50\r\n", {"headers": {"Pragma": "no-cache"}}),
    ):
        w = World(ok(b"1", b'ETag: "e"\r\n' + fields + DATE), not_modified)
        w.get(0)
        assert w.get(1, **options).content == b"1" and w.asked == 2, (fields, options)


def test_cache_request_directives():
    plain = b"Cache-Control: max-age=10\r\n" + DATE
    must = b"Cache-Control: max-age=10, must-revalidate\r\n" + DATE
    never = b"Cache-Control: max-age=10, immutable\r\n" + DATE
    for fields, wants, at, cached in (
        (plain, "max-age=5", 4, True), (plain, "max-age=5", 6, False),
        (plain, "min-fresh=5", 4, True), (plain, "min-fresh=5", 6, False),
        (plain, "max-stale", 1000, True), (plain, "max-stale=5", 14, True),
        (plain, "max-stale=5", 16, False), (must, "max-stale", 11, False),
        (plain, "min-fresh=5", 5, True), (plain, "max-stale, min-fresh=20", 5, True),
        (never, "max-age=0", 5, True), (plain, "only-if-cached", 5, True),
    ):  # fmt: skip
        w = World(ok(b"1", fields), ok(b"2", plain))
        w.get(0)
        r = w.get(at, headers={"Cache-Control": wants})
        assert r.from_cache == cached, (fields, wants, at)
    w = World()
    assert w.get(0, headers={"Cache-Control": "only-if-cached"}).status_code == 504 and not w.asked
    w = World(ok(b"1", b'ETag: "e"\r\n' + plain))
    w.get(0)
    assert w.get(20, headers={"Cache-Control": "only-if-cached"}).status_code == 504
    assert w.asked == 1


def test_cache_whose_conditions():
    """A 304 to a condition of the program's own is the program's; one of another tag nobody's."""
    fields = b'ETag: "e"\r\nCache-Control: max-age=5\r\n' + DATE
    for name, value in (("If-None-Match", '"e"'), ("If-Modified-Since", "Tue, 14 Nov 2023"),
                        ("If-Match", '"e"'), ("If-Range", '"e"')):  # fmt: skip
        w = World(ok(b"1", fields), b"HTTP/1.1 304 N\r\nX: new\r\n\r\n")
        w.get(0)
        r = w.get(1, headers={name: value})
        assert r.status_code == 304 and not r.from_cache and w.asked == 2
        r = w.get(2)
        assert r.from_cache and r.content == b"1" and "X" not in r.headers
    other = b'HTTP/1.1 304 N\r\nETag: "other"\r\n\r\n'
    w = World(ok(b"1", fields), other, ok(b"2", fields))
    w.get(0)
    assert w.get(10).content == b"2" and w.asked == 3 and b"If-None-Match" not in w.last
    w = World(ok(b"1", fields), b'HTTP/1.1 304 N\r\nETag: W/"e"\r\n\r\n')
    w.get(0)
    assert w.get(10).content == b"1" and w.asked == 2


def test_cache_fields_of_the_connection():
    fields = b"Connection: x-hop\r\nX-Hop: 1\r\nX-End: 1\r\nContent-Type: text/a\r\n"
    w = World(
        ok(b"1", b'ETag: "e"\r\nCache-Control: max-age=5\r\nAge: 3\r\n' + fields + DATE),
        b"HTTP/1.1 304 N\r\nConnection: x-hop\r\nX-Hop: 2\r\nX-End: 2\r\nX-Many: 1\r\n"
        b"X-Many: 2\r\nContent-Type: text/b\r\nCache-Control: max-age=50\r\n"
        b"Date: Tue, 14 Nov 2023 22:13:30 GMT\r\n\r\n",
    )
    assert w.get(0).headers["X-Hop"] == "1"
    r = w.get(1)
    assert r.from_cache and "X-Hop" not in r.headers and r.headers["X-End"] == "1"
    for at in (10, 11):
        r = w.get(at)
        assert "X-Hop" not in r.headers and r.headers["X-End"] == "2" and w.asked == 2
        assert r.headers.get_all("X-Many") == ["1", "2"] and r.headers["Age"] == str(at - 10)
        assert r.headers["Content-Type"] == "text/a"


def test_cache_vary():
    vary = b"Cache-Control: max-age=50\r\nVary: Accept-Language, X\r\n" + DATE
    w = World(ok(b"en", vary), ok(b"de", vary), ok(b"none", vary))
    assert w.get(0, headers={"Accept-Language": "en"}).content == b"en"
    assert w.get(1, headers={"Accept-Language": "de"}).content == b"de"
    assert w.get(2, headers={"Accept-Language": "en"}).content == b"en"
    assert w.get(2, headers={"Accept-Language": "de"}).content == b"de" and w.asked == 2
    assert w.get(2).content == b"none" and w.asked == 3


def test_cache_stale_while_and_if():
    fields = b"Cache-Control: max-age=5, stale-while-revalidate=5\r\n" + DATE
    w = World(ok(b"1", fields), ok(b"2", fields))
    w.get(0)
    assert w.get(8).content == b"1" and len(w.s.background) == 1 and w.asked == 1
    assert w.get(12).content == b"2"
    fields = b"Cache-Control: max-age=5, stale-if-error=5\r\n" + DATE
    error = b"HTTP/1.1 503 No\r\nContent-Length: 0\r\n\r\n"
    w = World(ok(b"1", fields), error, error)
    w.get(0)
    assert w.get(8).content == b"1" and w.asked == 2
    assert w.get(12).status_code == 503
    # The request may say so as well; must-revalidate is stronger.
    for fields, status in ((b"max-age=5", 200), (b"max-age=5, must-revalidate", 503)):
        w = World(ok(b"1", b"Cache-Control: " + fields + b"\r\n" + DATE), error)
        w.get(0)
        r = w.get(8, headers={"Cache-Control": "stale-if-error=9"})
        assert r.status_code == status and w.asked == 2, fields


def test_cache_invalidation():
    fields = b"Cache-Control: max-age=50\r\n" + DATE
    for method in ("POST", "PUT", "DELETE", "PATCH", "MOVE"):
        w = World(ok(b"1", fields), ok(b""), ok(b"2", fields))
        w.get(0)
        w.get(1, method=method, data=b"x")
        assert w.get(2).content == b"2", method
    w = World(ok(b"1", fields), b"HTTP/1.1 500 No\r\nContent-Length: 0\r\n\r\n")
    w.get(0)
    w.get(1, method="POST", data=b"x")
    assert w.get(2).content == b"1"  # it has failed: nothing has changed
    for location, gone in ((b"/x", True), (b"http://other/x", False)):
        w = World(ok(b"1", fields), ok(b"", b"Location: " + location + b"\r\n"), ok(b"2", fields))
        w.get(0)
        w.get(1, where="http://h/make", method="POST", data=b"x")
        assert (w.get(2).content == b"2") == gone


def test_cache_has_a_limit():
    w = World(*[ok(b"x" * 1000, b"Cache-Control: max-age=50\r\n") for _ in range(20)])
    w.cache.limit = 6000
    for i in range(10):
        w.get(0, where="http://h/%d" % i)
        w.get(0, where="http://h/0")  # used often: stays
        assert w.cache.used <= 6000
    assert w.asked == 10
    # A body that is not read to its end is not kept.
    w = World(ok(b"x" * 5000, b"Cache-Control: max-age=50\r\n"))
    w.get(0, stream=True).close()
    assert w.cache.used == 0
