"""Whom the stub asks, how and how long: order, cookies, private servers, and the shared pipe."""

from stack.core.stats import Stats
from stack.dns import message, packet, upstream
from stack.dns.name import to_wire
from stack.dns.pipe import PIPELINE_MAX, Pipe
from stack.dns.stub import TCP, TIMEOUT, UDP, Resolver
from stack.dns.upstream import HTTPS, TLS

S = 1_000_000


class Rng:
    def __init__(self):
        self.x = 12345

    def __call__(self, n):
        out = bytearray(n)
        for i in range(n):
            self.x = (self.x * 1103515245 + 12345) & 0x7FFFFFFF
            out[i] = self.x >> 16 & 255
        return bytes(out)


def resolver(*servers):
    r = Resolver(Rng())
    r.servers = list(servers)
    return r


def reply(query, address=b"\x0a\0\0\1", rcode=0, options=None, ttl=300, flags=0x8180):
    """An answer to a query, with what EDNS options it is to have."""
    q = packet.read(query)
    name, type, _ = q.question
    sets = [packet.Rrset(name, type, ttl, [address])] if not rcode else []
    edns = packet.Edns(options=options) if options is not None else None
    return packet.write(q.id, flags, (name, type), (sets, (), ()), edns, rcode)


def start(r, name="example.test", now=0):
    return r.start(name, message.A, now)


def settle(q, now=0):
    """Let time pass until the question is done; [(transport, server, time in s), ...]."""
    out = []
    while not q.done:
        t = q.transmit()
        if t:
            out.append((t[0], t[1], now // S))
        now = q.poll_at()
        q.on_timer(now)
    return out


def test_the_quick_are_asked_first():
    r = resolver(1, 2, 3)
    q = start(r)
    q.on_timer(S)  # 1 says nothing
    t = q.transmit()
    assert t[1] == 2
    q.on_datagram(reply(t[2]), 2, S + 20_000)
    # It is behind the others for a minute, and then the first again.
    assert [s for _, s, _ in settle(start(r, "a.test", 2 * S))][:3] == [2, 3, 1]
    r = resolver(1, 2)
    for server, rtt in ((1, 900_000), (2, 10_000)):
        r.servers = [server]
        q = start(r, "b%d.test" % server)
        q.on_datagram(reply(q.transmit()[2]), server, rtt)
    r.servers = [1, 2]
    assert start(r, "c.test").transmit()[1] == 2


def test_a_quick_server_is_not_waited_for_long_if_there_is_another():
    r = resolver(1, 2)
    q = start(r)
    q.on_datagram(reply(q.transmit()[2]), 1, 5_000)
    q = start(r, "a.test", S)
    assert q.transmit()[1] == 1 and q.poll_at() == S + 300_000
    r.servers = [1]
    q = start(r, "a.test", S)
    assert q.transmit()[1] == 1 and q.poll_at() == 2 * S


def test_all_servers_down_ends_in_time():
    q = start(resolver(*range(20)))
    asked = settle(q)
    assert q.rcode == TIMEOUT and asked[-1][2] <= 15
    assert {why for _, why in q.failures} == {"does not answer"}
    q = start(resolver(1, 2))
    q.on_failed(0, "refuses")
    q.on_failed(0, "refuses")
    assert q.done and q.rcode == TIMEOUT  # nobody is asked twice who has refused
    assert q.failures == [(1, "refuses"), (2, "refuses")]


def test_cookies():
    r = resolver(1)
    q = start(r)
    sent = q.transmit()[2]
    mine = packet.read(sent).edns.option(packet.COOKIE)
    assert len(mine) == 8
    other = bytes([mine[0] ^ 1]) + mine[1:]
    assert not q.on_datagram(reply(sent, options=[(packet.COOKIE, other + b"serverhs")]), 1, 0)
    assert not q.done
    q.on_datagram(reply(sent, options=[(packet.COOKIE, mine + b"serverhs")]), 1, 0)
    assert q.done and q.addresses() == ["10.0.0.1"]
    # The server's half comes back to it, and to nobody else.
    q = start(r, "a.test")
    sent = q.transmit()[2]
    assert packet.read(sent).edns.option(packet.COOKIE) == mine + b"serverhs"
    # One that it does not like any more (RFC 7873, 5.3): again over TCP.
    q.on_datagram(reply(sent, rcode=23, options=[(packet.COOKIE, mine + b"anotherh")]), 1, 0)
    assert q.transmit()[0] == TCP
    r.servers = [2]
    theirs = packet.read(start(r, "b.test").transmit()[2]).edns.option(packet.COOKIE)
    assert len(theirs) == 8 and theirs != mine


def test_upstreams_as_text():
    for text, kind, host, port, name, path, get in (
        ("tls://1.1.1.1#one.one.one.one", TLS, "1.1.1.1", 853, "one.one.one.one", "", False),
        ("tls://10.0.0.1:8853", TLS, "10.0.0.1", 8853, "10.0.0.1", "", False),
        ("tls://[fd00::1]:8853#a.b", TLS, "fd00::1", 8853, "a.b", "", False),
        ("tls://[fd00::1]", TLS, "fd00::1", 853, "fd00::1", "", False),
        ("https://dns.test/q{?dns}", HTTPS, "dns.test", 443, "dns.test", "/q", True),
        ("https://dns.test:8443", HTTPS, "dns.test", 8443, "dns.test", "/dns-query", False),
        ("https://[fd00::1]/", HTTPS, "fd00::1", 443, "fd00::1", "/", False),
    ):
        u = upstream.parse(text)
        found = (u.kind, u.host, u.port, u.name, u.path, u.get)
        assert found == (kind, host, port, name, path, get), text
        assert repr(u) == text
    for bad in (
        "udp://1.1.1.1", "tls://", "tls://1.1.1.1#", "tls://1.1.1.1:0", "tls://1.1.1.1:65536",
        "tls://1.1.1.1:x", "tls://[fd00::1", "tls://[fd00::1]853", "tls://fd00::1",
        "https://dns.test/{name}{?dns}", "https://:443/", "tls://1.1.1.1:-1",
    ):  # fmt: skip
        try:
            upstream.parse(bad)
            raise AssertionError(bad)
        except ValueError:
            pass


def test_strict_is_never_in_the_clear():
    for text in ("tls://1.1.1.1#a.test", "https://a.test/"):
        u = upstream.parse(text)
        r = resolver(u, upstream.parse(text))
        asked = settle(start(r))
        assert asked and {t for t, _, _ in asked} == {u.kind}
        q = start(r, "b.test", 100 * S)
        while not q.done:
            assert q.transmit()[0] == u.kind
            q.on_failed(100 * S, "its certificate is wrong")
        assert q.rcode == TIMEOUT and len(q.failures) == 2


def test_opportunistic_falls_back_and_remembers():
    u = upstream.parse("tls://10.0.0.1")
    u.opportunistic = True
    r = resolver(u)
    q = start(r)
    assert q.transmit()[0] == TLS
    q.on_failed(0, "refuses")
    transport, server, sent = q.transmit()
    assert transport == UDP and server is u
    q.on_datagram(reply(sent), u, 0)
    assert q.done and q.rcode == 0
    assert start(r, "a.test", 299 * S).transmit()[0] == UDP
    assert start(r, "a.test", 301 * S).transmit()[0] == TLS


def test_what_private_servers_are_sent():
    u = upstream.parse("tls://10.0.0.1")
    q = start(resolver(u), "a-rather-long-name-of-a-host.example.test")
    sent = q.transmit()[2]
    assert sent[0] << 8 | sent[1] == len(sent) - 2
    p = packet.read(sent[2:])
    assert len(sent) - 2 == 128 and p.edns.option(packet.PADDING) is not None
    assert p.edns.option(packet.COOKIE) is None
    # No 0x20 where nobody can forge.
    assert p.question[0] == to_wire("a-rather-long-name-of-a-host.example.test")
    m = reply(sent[2:])
    m = bytes((0, len(m))) + m
    for i in range(len(m)):
        assert not q.done
        q.on_stream(m[i : i + 1], 0)
    assert q.done and q.addresses() == ["10.0.0.1"]


def test_https():
    u = upstream.parse("https://a.test/")
    r = resolver(u)
    q = start(r)
    transport, server, sent = q.transmit()
    assert transport == HTTPS and server is u
    assert sent[:2] == b"\0\0" and len(sent) == 128
    # RFC 8484, section 5.1: what was in a cache for a minute lives a minute less.
    q.on_http(reply(sent, ttl=100), 60, 0)
    assert q.done and q.records[0].ttl == 40
    assert start(r, now=39 * S).done and not start(r, now=41 * S).done
    q = start(r, "b.test")
    q.on_http(b"<html>", 0, 0)
    assert q.done and q.rcode == TIMEOUT and q.failures == [(u, "answers something else")]


def test_ndots():
    r = resolver(1)
    r.search = ["lan", "corp.test"]
    names = []
    q = r.start("box", message.A, 0)
    while not q.done:
        names.append(q.name)
        q.on_datagram(reply(q.transmit()[2], rcode=3), 1, 0)
    assert names == ["box.lan", "box.corp.test", "box"]
    assert r.start("a.b", message.A, 0).name == "a.b"
    r.ndots = 2
    assert r.start("a.b", message.A, 0).name == "a.b.lan"
    assert r.start("a.b.c", message.A, 0).name == "a.b.c"


# The pipe.


def query(id, name="example.test"):
    return packet.write(id, 0x0100, (to_wire(name), 1))


def framed(m):
    return bytes((len(m) >> 8, len(m) & 255)) + m


def sent_by(p):
    """The messages that a pipe has to send."""
    out = []
    data = bytes(p.out)
    p.out = bytearray()
    while data:
        n = data[0] << 8 | data[1]
        out.append(data[2 : 2 + n])
        data = data[2 + n :]
    return out


def test_answers_in_any_order_and_any_pieces():
    for cut in (1, 2, 3, 7, 1000):
        p = Pipe(Rng(), Stats())
        tickets = [p.push(query(7, "n%d.test" % i)) for i in range(5)]
        sent = sent_by(p)
        assert len({m[:2] for m in sent}) == 5  # though all came with one id
        answers = [reply(m, bytes((10, 0, 0, i))) for i, m in enumerate(sent)]
        stream = b"".join([framed(answers[i]) for i in (3, 0, 4, 2, 1)])
        order = []
        for i in range(0, len(stream), cut):
            order += p.receive(stream[i : i + cut])
        assert [tickets.index(t) for t in order] == [3, 0, 4, 2, 1]
        for i, t in enumerate(tickets):
            got = packet.read(t.answer)
            assert got.id == 7 and got.answer[0].data == [bytes((10, 0, 0, i))]
        assert not len(p)


def test_what_nobody_asked_for_is_counted():
    s = Stats()
    p = Pipe(Rng(), s)
    t = p.push(query(1))
    m = sent_by(p)[0]
    other = bytes((m[0] ^ 1,)) + m[1:]
    assert p.receive(framed(reply(other)) + framed(b"short") + b"\0\0") == []
    assert s.dropped("dns.pipe_id") == 3
    p.forget(t)
    assert p.receive(framed(reply(m))) == [] and t.answer is None
    assert s.dropped("dns.pipe_id") == 4


def test_the_pipes_bounds():
    p = Pipe(Rng(), Stats())
    tickets = [p.push(query(i)) for i in range(PIPELINE_MAX)]
    try:
        p.push(query(0))
        raise AssertionError("one too many")
    except OSError as e:
        assert e.args[0] == 11
    assert sorted([t.id for t in p.lose()]) == sorted([t.id for t in tickets])
    assert all([t.lost for t in tickets]) and not len(p)
    p.push(query(0))
