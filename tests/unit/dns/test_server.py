"""The server's half: queries in, answers of the resolver out."""

from stack.dns import packet, rdata
from stack.dns.name import to_wire
from stack.dns.packet import AD, CD, COOKIE, EDE, PADDING, QR, RA, RD, TC, Edns
from stack.dns.rdata import NSEC, RRSIG, SOA, A
from stack.dns.server import MAX_SHARED, MAX_WAITING, Server, Waiting
from tests.unit.dns.internet import addr
from tests.unit.dns.test_recursor import world

CLIENT = addr("10.1.1.1")


class World:
    def __init__(self):
        self.net = world()
        self.recursor = self.net.recursor()
        self.server = Server(self.recursor, self.recursor.rng)

    def ask(self, data, limit=1232, padded=False):
        out = self.server.receive(data, CLIENT, limit, self.net.now, padded)
        if isinstance(out, Waiting):
            self.drive(out.question)
            out = self.server.finish(out, self.net.now)
        return out

    def drive(self, q):
        while not q.done:
            t = q.transmit()
            if t is None:
                self.net.now = q.poll_at()
                q.on_timer(self.net.now)
                continue
            self.net.now += 10000
            transport, address, message = t
            out = self.net.ask(address, message[2:] if transport else message)
            if out is None:
                continue
            if transport:
                q.on_stream(bytes((len(out) >> 8, len(out) & 255)) + out, self.net.now)
            else:
                q.on_datagram(out, address, self.net.now)


def query(name, type=A, flags=RD, edns=None, id=0x1234):
    return packet.write(id, flags, (to_wire(name), type), edns=edns)


def test_plain():
    w = World()
    for _ in range(3):  # by asking, from the cache, ready
        p = packet.read(w.ask(query("WWW.example.test")))
        assert p.id == 0x1234 and p.flags == QR | RD | RA, hex(p.flags)
        assert p.question[0] == to_wire("WWW.example.test")
        assert [s.type for s in p.answer] == [A] and not p.authority and p.edns is None
        assert p.answer[0].data == [addr("192.0.2.1")] and not p.answer[0].sigs


def test_dnssec_ok():
    w = World()
    p = packet.read(w.ask(query("www.example.test", edns=Edns(do=True))))
    assert p.flags & AD and p.answer[0].sigs and p.edns.do
    p = packet.read(w.ask(query("no.example.test", edns=Edns(do=True))))
    assert p.rcode == packet.NXDOMAIN and p.flags & AD
    assert {s.type for s in p.authority} == {SOA, NSEC}
    p = packet.read(w.ask(query("no.example.test")))
    assert {s.type for s in p.authority} == {SOA} and not p.flags & AD
    p = packet.read(w.ask(query("no.example.test", flags=RD | AD)))
    assert p.flags & AD
    p = packet.read(w.ask(query("www.plain.test", edns=Edns(do=True))))
    assert not p.flags & AD


def test_bogus():
    """SERVFAIL with RFC 8914's reason; with CD the data, as they came."""
    w = World()
    w.net.leaf.expires = w.net.leaf.begins + 500
    p = packet.read(w.ask(query("www.example.test", edns=Edns())))
    assert p.rcode == packet.SERVFAIL and not p.answer
    assert p.edns.option(EDE)[:2] == b"\x00\x07"
    p = packet.read(w.ask(query("www.example.test", flags=RD | CD, edns=Edns(do=True))))
    assert p.rcode == 0 and p.flags & CD and not p.flags & AD and p.answer[0].sigs


def test_chain():
    w = World()
    p = packet.read(w.ask(query("away.example.test")))
    assert [rdata.type_name(s.type) for s in p.answer] == ["CNAME", "A"]


def test_refused():
    w = World()
    for why, data, rcode in (
        ("not recursive", query("www.example.test", flags=0), packet.REFUSED),
        ("opcode", query("www.example.test", flags=RD | 0x2800), packet.NOTIMP),
        ("no question", packet.write(1, RD, None), packet.FORMERR),
        ("ANY", query("www.example.test", 255), packet.NOTIMP),
        ("AXFR", query("www.example.test", 252), packet.NOTIMP),
        ("RRSIG", query("www.example.test", RRSIG), packet.NOTIMP),
        ("cut off", query("www.example.test")[:-1], packet.FORMERR),
        ("EDNS 1", query("www.example.test", edns=Edns(version=1)), packet.BADVERS),
        ("short cookie", query("www.example.test", edns=Edns(options=[(COOKIE, b"1234")])),
         packet.FORMERR),
    ):  # fmt: skip
        p = packet.read(w.server.receive(data, CLIENT, 1232, 0))
        assert p.rcode == rcode, (why, p.rcode)
    assert w.server.receive(b"short", CLIENT, 1232, 0) is None
    assert w.server.receive(query("x", flags=QR), CLIENT, 1232, 0) is None


def test_cookie():
    """RFC 7873: ours comes back for theirs, and differs by client."""
    w = World()
    seen = []
    for source in (CLIENT, addr("10.1.1.2"), CLIENT):
        e = Edns(options=[(COOKIE, b"12345678")])
        out = w.server.receive(query("www.example.test", edns=e), source, 1232, w.net.now)
        if isinstance(out, Waiting):
            w.drive(out.question)
            out = w.server.finish(out, w.net.now)
        cookie = packet.read(out).edns.option(COOKIE)
        assert len(cookie) == 16 and cookie[:8] == b"12345678"
        seen.append(cookie[8:])
    assert seen[0] == seen[2] != seen[1]


def test_truncated():
    w = World()
    for i in range(60):
        w.net.leaf.put("many", A, addr("192.0.2.%d" % i))
    p = packet.read(w.ask(query("many.example.test")))
    assert p.flags & TC and not p.answer
    p = packet.read(w.ask(query("many.example.test", edns=Edns(size=4096))))
    assert len(p.answer[0].data) == 60 and not p.flags & TC
    p = packet.read(w.ask(query("many.example.test"), 65535))
    assert len(p.answer[0].data) == 60


def test_padding():
    w = World()
    e = Edns(options=[(PADDING, b"")])
    assert len(w.ask(query("www.example.test", edns=e), 65535, True)) % 468 == 0


def test_shared():
    """The same question of many clients is asked once, by so many at most."""
    w = World()
    first = w.server.receive(query("www.example.test", id=1), CLIENT, 1232, 0)
    others = [
        w.server.receive(query("www.Example.test", id=2 + i), CLIENT, 1232, 0)
        for i in range(MAX_SHARED - 1)
    ]
    assert all([o.question is first.question for o in others])
    over = packet.read(w.server.receive(query("www.example.test"), CLIENT, 1232, 0))
    assert over.rcode == packet.SERVFAIL
    w.drive(first.question)
    ids = [packet.read(w.server.finish(o, w.net.now)).id for o in [first] + others]
    assert ids == list(range(1, MAX_SHARED + 1))


def test_busy():
    """So many questions at a time; what is known is still answered."""
    w = World()
    w.ask(query("www.example.test"))
    for i in range(MAX_WAITING):
        out = w.server.receive(query("n%d.plain.test" % i), CLIENT, 1232, w.net.now)
        assert isinstance(out, Waiting), i
    over = packet.read(w.server.receive(query("one.more.plain.test"), CLIENT, 1232, w.net.now))
    assert over.rcode == packet.SERVFAIL
    assert packet.read(w.ask(query("www.example.test", edns=Edns()))).answer


def test_ttl_counts_down():
    w = World()
    before = packet.read(w.ask(query("www.example.test"))).answer[0].ttl
    w.net.now += 7_000_000
    assert packet.read(w.ask(query("www.example.test"))).answer[0].ttl == before - 7


def test_ready():
    """An answer that is ready says the same as one that is made, at any time; a cold one is not."""
    w = World()
    w.server.prefetch = lambda question: None
    queries = [query(n, edns=e) for n in ("away.example.test", "no.example.test", "www.plain.test")
               for e in (None, Edns(do=True), Edns())]  # fmt: skip
    for q in queries:
        w.ask(q)
        w.ask(q)
    assert len(w.server._ready) == len(queries)
    for seconds in (1, 7, 40, 3, 100, 100, 30, 40):
        w.net.now += seconds * 1_000_000
        for q in queries:
            ready = w.server._ready.get(q[2:])
            if ready is None or w.net.now >= ready.until:
                continue
            was = bytes(w.ask(q))
            w.server._ready.pop(q[2:])
            made = bytes(w.ask(q))
            w.server._ready[q[2:]] = ready
            a, b = packet.read(was), packet.read(made)
            assert len(was) == len(made) and a.flags == b.flags
            for x, y in zip(a.answer + a.authority, b.answer + b.authority):
                assert (x.name, x.type, x.data, x.sigs) == (y.name, y.type, y.data, y.sigs)
                assert abs(x.ttl - y.ttl) <= 1, (x, y)
    # The last tenth of their time is for fetching ahead.
    assert not [r for r in w.server._ready.values() if w.net.now < r.until]


def test_flush_is_for_ready_answers_too():
    w = World()
    for _ in range(2):
        w.ask(query("www.example.test"))
    n = len(w.net.asked)
    w.ask(query("www.example.test"))
    assert len(w.net.asked) == n
    w.recursor.flush()
    w.ask(query("www.example.test"))
    assert len(w.net.asked) > n
    w.ask(query("www.plain.test", flags=RD | CD))
    n = len(w.net.asked)
    w.recursor.flush()
    w.ask(query("www.plain.test", flags=RD | CD))
    assert len(w.net.asked) > n


def test_prefetch():
    w = World()
    fetched = []
    w.server.prefetch = fetched.append
    w.ask(query("www.example.test"))
    w.net.now += 280_000_000
    w.ask(query("www.example.test"))
    assert len(fetched) == 1
    w.ask(query("www.example.test", edns=Edns()))
    assert len(fetched) == 1
    w.drive(fetched[0])
    w.net.now += 1_000_000
    assert packet.read(w.ask(query("www.example.test"))).answer[0].ttl > 250
