"""Validation by way of a forwarder: the same answers, the same lies found out."""

from stack.dns import packet, rdata
from stack.dns.name import ROOT, to_wire
from stack.dns.rdata import SOA, A
from stack.dns.recursor.forward import Forwarder
from stack.dns.server import Server, Waiting
from stack.dns.upstream import HTTPS, TCP, TLS, UDP, parse
from tests.unit.dns.internet import NOW, addr, counter_rng, result, u16
from tests.unit.dns.test_recursor import ANSWERS, BOGUS, world

S = 1_000_000


class Way:
    """A forwarder's machine, and the server that it asks: a recursor on a made-up internet."""

    def __init__(self, net, servers=(7,), transport=UDP):
        self.net = net
        self.server = Server(net.recursor(), counter_rng(5))
        self.sent = []  # (transport, server, query Packet)
        self.hook = None  # hook(query Packet, answer) -> bytes or None
        anchor = [net.root.key.ds(ROOT)] if net.root.key is not None else []
        keys = {str(s).encode(): s for s in servers}
        self.machine = Forwarder(counter_rng(), lambda: NOW + net.now // S, keys, transport, anchor,
                                 self.server.stats, 1 << 20)  # fmt: skip

    def answer(self, data, limit):
        """What the server says."""
        net = self.net
        out = self.server.receive(data, b"us", limit, net.now)
        if isinstance(out, Waiting):
            q = out.question
            while not q.done:
                t = q.transmit()
                if t is None:
                    net.now = q.poll_at()
                    q.on_timer(net.now)
                    continue
                net.now += 1000
                m = net.ask(t[1], t[2][2:] if t[0] else t[2])
                if m is not None and t[0]:
                    q.on_stream(u16(len(m)) + m, net.now)
                elif m is not None:
                    q.on_datagram(m, t[1], net.now)
            out = self.server.finish(out, net.now)
        return bytes(out)

    def run(self, name, type="A"):
        net = self.net
        q = self.machine.start(to_wire(name), rdata.type_number(type), net.now)
        turns = 0
        while not q.done:
            turns += 1
            assert turns < 2000
            t = q.transmit()
            if t is None:
                net.now = q.poll_at()
                q.on_timer(net.now)
                continue
            transport, server, m = t
            if transport in (TCP, TLS):
                assert m[0] << 8 | m[1] == len(m) - 2
                m = m[2:]
            self.sent.append((transport, server, packet.read(m)))
            out = self.answer(m, 1232 if transport == UDP else 65535)
            if self.hook is not None:
                out = self.hook(packet.read(m), out)
            net.now += 1000
            if out is None:
                continue
            if transport == UDP:
                q.on_datagram(out, str(server).encode(), net.now)
            elif transport == HTTPS:
                q.on_http(out, 0, net.now)
            else:
                q.on_stream(u16(len(out)) + out, net.now)
        return q


def test_the_same_answers():
    for mode in ("nsec", "nsec3"):
        way = Way(world(mode))
        for name, type, expected in ANSWERS:
            q = way.run(name, type)
            got = result(q)
            if expected is None:
                assert got[0] == "NOERROR" and got[1], (name, type, got)
            else:
                assert got == expected, (mode, name, type, got, q.ede)
        for _, server, p in way.sent:
            assert server == 7 and p.edns.do
            assert p.flags & packet.RD and p.flags & packet.CD  # we check ourselves


def test_lies_are_found_out():
    for why, change, name, mode in BOGUS:
        net = world(mode)
        change(net)
        way = Way(net)
        q = way.run(name)
        assert (q.rcode, q.status) == (packet.SERVFAIL, "bogus"), (why, result(q), q.ede)
        assert result(way.run("www.well")) == ("NOERROR", ["192.0.2.55"], "secure"), why


def test_the_forwarder_lies_itself():
    """It is the one in the middle: what it alters, leaves out or makes up is bogus."""

    def altered(q, out):
        p = packet.read(out)
        for s in p.answer:
            if s.type == A:
                s.data = [addr("6.6.6.6")]
        return packet.write(p.id, p.flags, p.question[:2], (p.answer, p.authority, ()), p.edns)

    def stripped(q, out):
        p = packet.read(out)
        for s in p.answer + p.authority:
            s.sigs = []
        return packet.write(p.id, p.flags, p.question[:2], (p.answer, p.authority, ()), p.edns)

    def denied(q, out):
        return packet.write(q.id, packet.QR, q.question[:2], rcode=packet.NXDOMAIN)

    def claimed(q, out):
        """Bits that say that it has checked."""
        p = packet.read(stripped(q, out))
        return packet.write(p.id, p.flags | packet.AD | packet.AA, p.question[:2],
                            (p.answer, p.authority, ()), p.edns)  # fmt: skip

    for lie in (altered, stripped, denied, claimed):
        way = Way(world())
        way.hook = lie
        q = way.run("www.example.test")
        assert (q.rcode, q.status) == (packet.SERVFAIL, "bogus"), (lie, result(q))
    # A server without DNSSEC (it does not know what DO asks for) cannot be validated either.
    way = Way(world())
    way.hook = lambda q, out: packet.write(
        q.id, packet.QR, q.question[:2],
        ([packet.Rrset(q.question[0], A, 60, [addr("192.0.2.1")])], (), ()))  # fmt: skip
    assert way.run("www.example.test").status == "bogus"


def test_unsigned_names_and_no_soa():
    way = Way(world())

    def hook(q, out):
        p = packet.read(out)
        if q.question[1] == rdata.AAAA:
            p.authority = [s for s in p.authority if s.type != SOA]
        return packet.write(p.id, p.flags, p.question[:2], (p.answer, p.authority, ()), p.edns)

    way.hook = hook
    assert result(way.run("www.plain.test")) == ("NOERROR", ["192.0.2.44"], "insecure")
    # Now the cut is known, and below it nothing needs a proof.
    assert result(way.run("www.plain.test", "AAAA")) == ("NOERROR", [], "insecure")


def test_private_transports():
    for text, transport in (("tls://10.0.0.1#a.test", TLS), ("https://a.test/", HTTPS)):
        u = parse(text)
        way = Way(world(), [u], transport)
        for name, type, expected in ANSWERS[:12]:
            assert result(way.run(name, type)) == expected, (text, name)
        for t, server, p in way.sent:
            assert t == transport and server is u
            assert p.edns.option(packet.PADDING) is not None
            assert p.edns.option(packet.COOKIE) is None
            assert (p.id == 0) == (transport == HTTPS)


def test_servers_in_turn():
    way = Way(world(), [1, 2])
    dead = []

    def hook(q, out):
        if way.sent[-1][1] in dead:
            return None
        return out

    way.hook = hook
    dead.append(way.run("www.example.test").recursor.upstreams[b"1"])
    assert result(way.run("host.other.test")) == ("NOERROR", ["192.0.2.77"], "secure")
    dead.append(2)
    began = way.net.now
    q = way.run("nothing.at.all.well")
    assert q.rcode == packet.SERVFAIL and q.status == "insecure"
    assert {s for s, _ in q.failures} == {1, 2}
    assert way.net.now - began <= 21 * S


def test_age_of_what_a_cache_had():
    u = parse("https://a.test/")
    way = Way(world(), [u], HTTPS)
    q = way.machine.start(to_wire("www.well"), A, 0)
    while not q.done:
        t = q.transmit()
        q.on_http(way.answer(t[2], 65535), 100, way.net.now)
    assert result(q)[1] == ["192.0.2.55"] and q.entries[-1].answer[0].ttl == 200
