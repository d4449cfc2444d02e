"""net, dns, http, requests, ping over servers in the same world; runtime steps; random bytes."""

from stack.api import _random, _raw, _runtime, dns, http, net, requests
from stack.core.timers import NEVER
from stack.dns import message
from tests.unit.api.world import DatagramServer, Hw, StreamServer, World


def _u16(v):
    return bytes((v >> 8, v & 255))


def dns_answer(query, address=b"\x7f\0\0\1", rcode=0, truncated=False):
    """A reply that says every name is at `address`."""
    i = 12
    while query[i]:
        i += query[i] + 1
    end = i + 5
    n = 1 if rcode == 0 and query[i + 2] == message.A and not truncated else 0
    flags = 0x8180 | rcode | (0x200 if truncated else 0)
    out = query[:2] + _u16(flags) + _u16(1) + _u16(n) + bytes(4) + query[12:end]
    if n:
        out += b"\xc0\x0c\0\1\0\1\0\0\1\x2c\0\4" + address
    return out


def errno_of(f, *args, **kw):
    try:
        f(*args, **kw)
    except OSError as e:
        return e.args[0]
    return None


def test_resolve():
    with World() as w:
        server = DatagramServer(w, 53, dns_answer)
        assert dns.servers(["127.0.0.1"]) == ["127.0.0.1"]
        assert dns.resolve("example.test") == "127.0.0.1"
        assert dns.resolve("Example.Test.") == "127.0.0.1"
        assert len(server.seen) == 1
        assert [r.data for r in dns.resolve("example.test", "A")] == ["127.0.0.1"]
        assert dns.cache()[0][:2] == ("example.test", "A")
        dns.flush()
        assert dns.cache() == []
        assert dns.resolve("10.1.2.3") == "10.1.2.3"
        assert errno_of(dns.resolve, "example.test", "MX") == -2
        a = dns.query("example.test")
        assert a.rcode == 0 and a.records[0].data == "127.0.0.1"
        assert "NOERROR" in repr(a)
        # Each question came from a port of its own, and none is left open.
        assert len(w.host.udp.endpoints()) == 1


def test_who_is_asked():
    from stack.api import dns

    with World() as w:
        assert dns.servers() == ["1.1.1.1", "8.8.8.8"]  # nobody has said anything
        w.host._static_dns = [0x0A000001]
        assert dns.servers() == ["10.0.0.1"]
        dns.use(["10.0.0.2", "10.0.0.3"])
        assert dns.servers() == ["10.0.0.2", "10.0.0.3"]
        for bad in ("tls://", "10.0.0.300", "name.test", ["10.0.0.1", "tls://10.0.0.1"]):
            try:
                dns.use(bad)
                raise AssertionError(bad)
            except ValueError:
                pass
        assert dns.servers() == ["10.0.0.2", "10.0.0.3"]
        dns.use(None)
        assert dns.servers() == ["10.0.0.1"]
        assert dns.search() == []
        assert dns.search(["lan"], ndots=2) == ["lan"] and w.rt.resolver.ndots == 2
        assert dns.search("dhcp") == []


def test_resolve_fails():
    with World() as w:
        dns.servers(["127.0.0.1"])
        # Nobody listens: the port is refused, three rounds at once.
        assert errno_of(dns.resolve, "example.test") == -3
        server = DatagramServer(w, 53, lambda q: dns_answer(q, rcode=3))
        assert errno_of(dns.resolve, "example.test") == -2
        assert dns.query("example.test").rcode == 3
        server.answer = lambda q: dns_answer(q, rcode=2)
        assert errno_of(dns.resolve, "example.test") == -3
        assert dns.query("example.test").rcode == 2
        server.answer = lambda q: None
        t = w.hw.t
        assert errno_of(dns.resolve, "example.test") == -3
        assert w.hw.t - t == 7000000
        assert errno_of(dns.resolve, "no..name") == -2
        assert len(w.host.udp.endpoints()) == 1


def test_resolve_over_tcp():
    with World() as w:
        dns.servers(["127.0.0.1"])
        DatagramServer(w, 53, lambda q: dns_answer(q, truncated=True))

        def answer(data):
            if len(data) < 2 or len(data) < 2 + (data[0] << 8 | data[1]):
                return None
            reply = dns_answer(data[2:])
            return _u16(len(reply)) + reply

        stream = StreamServer(w, 53, answer)
        assert dns.resolve("example.test") == "127.0.0.1"
        assert len(stream.seen) == 1


def page(body=b"It works", status=b"200 OK", extra=b""):
    def answer(data):
        if b"\r\n\r\n" not in data:
            return None
        head = b"HTTP/1.1 %s\r\nContent-Length: %d\r\n%s\r\n" % (status, len(body), extra)
        return head + body

    return answer


def test_http():
    with World() as w:
        dns.servers(["127.0.0.1"])
        DatagramServer(w, 53, dns_answer)
        server = StreamServer(w, 80, page())
        r = http.get("http://example.test/x")
        assert (r.status_code, r.text, r.http_version) == (200, "It works", "1.1")
        assert server.seen[0].startswith(b"GET /x HTTP/1.1\r\nHost: example.test\r\n")
        assert http.post("http://127.0.0.1/", json={"a": 1}).status_code == 200
        assert http.head("http://127.0.0.1/").content == b""
        assert not [c for c in net.connections() if c["state"] == "ESTABLISHED"]


def test_http_long_bodies():
    with World() as w:
        body = bytes(range(251)) * 800
        StreamServer(w, 80, page(body))
        assert http.get("http://127.0.0.1/").content == body
        buf = bytearray(70000)
        got = b""
        with http.get("http://127.0.0.1/", stream=True) as r:
            n = r.readinto(buf)
            while n:
                got += bytes(buf[:n])
                n = r.readinto(buf)
        assert got == body


def test_http_errors():
    with World() as w:
        assert errno_of(http.get, "http://127.0.0.1:81/") == 111
        StreamServer(w, 443, lambda data: b"HTTP/1.1 400 Bad Request\r\n\r\n")
        try:
            http.get("https://127.0.0.1/", verify=False)
            raise AssertionError
        except OSError as e:
            assert "not TLS" in str(e)
        StreamServer(w, 80, lambda data: None)
        t = w.hw.t
        assert errno_of(http.get, "http://127.0.0.1/", timeout=2) == 110
        assert 2000000 <= w.hw.t - t < 2100000
        for bad in ("ftp://x/", "http://h/\r\nX: y"):
            try:
                http.get(bad)
                raise AssertionError(bad)
            except ValueError:
                pass


def test_requests():
    with World() as w:
        StreamServer(w, 80, page(b'{"a": 1}', extra=b"Content-Type: application/json\r\n"))
        r = requests.get("http://127.0.0.1/")
        assert r.status_code == 200 and r.reason == "OK"
        assert r.headers["content-type"] == "application/json"
        assert r.json() == {"a": 1} and r.text == '{"a": 1}' and r.content == b'{"a": 1}'
        r.close()
        r = requests.request("GET", "http://127.0.0.1/")
        assert r.raw.read(3) == b'{"a'
        r.close()


def test_ping():
    with World():
        r = net.ping("127.0.0.1", count=3, interval=0.1, quiet=True)
        assert r and (r.sent, r.received, len(r.rtts)) == (3, 3, 3)
        assert "3 sent, 3 received, 0% lost" in repr(r)
        assert errno_of(net.ping, "10.9.9.9") == 101


def test_what_net_shows():
    with World() as w:
        lo = net.interfaces()[0]
        for key in ("name", "mac", "ip4", "ip6", "mtu", "up", "driver"):
            assert key in lo
        assert (lo["name"], lo["ip4"], lo["up"]) == ("lo", "127.0.0.1/8", True)
        StreamServer(w, 80, page())
        shown = net.connections()
        assert shown[0]["local"] == "0.0.0.0:80" and shown[0]["proto"] == "tcp"
        assert net.neighbors() == []
        assert "127.0.0.0/8 dev lo" in net.routes()
        stats = net.stats()
        assert "drops" in stats and "counts" in stats
        assert errno_of(net.raw, "eth9") == 19
        assert net.dns is dns and net.http is http
        try:
            net.wifi  # noqa: B018
            raise AssertionError
        except OSError as e:
            assert "no such interface" in str(e)
        try:
            net.nonsense  # noqa: B018
            raise AssertionError
        except AttributeError:
            pass


def test_lines_of_a_capture():
    eth = bytes(range(12))
    ip = b"\x45\0\0\x28" + bytes(5) + b"%s\0\0\x0a\0\0\1\x0a\0\0\2"
    ip = lambda proto: (
        b"\x45\0\0\x28\0\0\0\0\x40" + bytes((proto,)) + b"\0\0" + b"\x0a\0\0\1\x0a\0\0\2"
    )
    tcp = b"\0\x50\x04\xd2" + b"\0\0\0\1" + b"\0\0\0\2" + b"\x50\x12\x10\0" + bytes(4)
    for frame, part in (
        (eth + b"\x08\0" + ip(6) + tcp, "IP 10.0.0.1.80 > 10.0.0.2.1234: [S.] seq 1 ack 2"),
        (eth + b"\x08\0" + ip(17) + tcp, "UDP length 12"),
        (eth + b"\x08\0" + ip(1) + b"\x08\0" + bytes(18), "ICMP echo request"),
        (eth + b"\x08\0" + ip(99) + tcp, "proto 99"),
        (eth + b"\x08\x06" + b"\0\1\x08\0\6\4\0\1" + bytes(20), "ARP who-has 0.0.0.0"),
        (eth + b"\x08\x06" + b"\0\1\x08\0\6\4\0\2" + bytes(20), "is-at"),
        (eth + b"\x88\xb5", "type 88b5"),
    ):
        assert part in _raw.line(frame, 1500000, len(frame)), part
        for n in range(len(frame)):
            _raw.line(frame[:n], 0, n)


def test_steps_time_out_and_clean_up():
    with World() as w:
        log = []

        def steps():
            try:
                yield None, 0, w.hw.t + 5000
                return "done"
            finally:
                log.append("closed")

        assert w.rt.run(steps()) == "done" and log == ["closed"]

        def broken():
            yield None, 0, w.hw.t + 5
            raise ValueError

        try:
            w.rt.run(broken())
            raise AssertionError
        except ValueError:
            pass


def test_without_a_host():
    before = _runtime._installed
    _runtime.install(None)
    try:
        assert errno_of(net.interfaces) == 100
    finally:
        _runtime.install(before)


def test_waiter():
    with World() as w:
        woken = []
        waiter = _runtime.Waiter(w.rt)
        waiter.poll_attach(type("W", (), {"wake": lambda self, e: woken.append(e)})())
        waiter.begin(None, 0, w.hw.t + 1000)
        assert waiter.events() == 0
        w.settle(2000)
        assert waiter.events() == 1 and woken == [waiter]
        waiter.end()
        waiter.begin(None, 0, NEVER)
        assert waiter.events() == 0
        waiter.end()
        assert len(w.host.timers) == 0 or waiter.timer_index < 0


def test_random():
    r = _random.Random(Hw())
    assert r.strong and len(r(100)) == 100 and len(r.secret(32)) == 32
    assert r(16) != r(16)
    weak = _random.Random(Hw(rdrand=False))
    assert not weak.strong and len(weak(8)) == 8 and weak(8) != weak(8)
    try:
        weak.secret(16)
        raise AssertionError
    except OSError as e:
        assert "RDRAND" in str(e)
