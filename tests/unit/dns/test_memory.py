"""20,000 names walked through the resolver and its server: all that is held keeps to its maximum,
and the bytes that are accounted for are those of what is there. (A tenth of it in the guest.)"""

import sys

from stack.dns import packet
from stack.dns.name import tail, to_wire
from stack.dns.packet import RD, Edns, Rrset
from stack.dns.rdata import NS, A
from stack.dns.recursor import aggressive
from stack.dns.recursor.zone import Zones
from stack.dns.server import Server, Waiting
from tests.unit.dns.internet import addr
from tests.unit.dns.test_recursor import world

NAMES = 20_000 if sys.implementation.name == "cpython" else 2_000
CACHE = 200_000
ZONES = 40_000
PROOFS = 20_000


def wide():
    """A world where every name exists: wildcards, signed and not, and zones below zones."""
    net = world("nsec")
    net.leaf.put("*.s", A, addr("192.0.2.1"))
    net.plain.put("*.u", A, addr("192.0.2.2"))
    many = net.zone("many.test", ["10.0.6.1"], mode=None, parent=net.tld)
    below = net.zone("many.test", ["10.0.6.2"], mode=None)

    def refer(zone, name, t, parts):
        if name != zone.name:
            child = tail(name, 3)
            ns = b"\x02ns" + child
            glue = Rrset(ns, A, 300, [addr("10.0.6.2")])
            return 0, False, [], [Rrset(child, NS, 300, [ns])], [glue]

    def answer(zone, name, t, parts):
        return 0, True, [Rrset(name, A, 300, [addr("192.0.2.3")])], [], []

    many.spoil = refer
    below.spoil = answer
    return net


def check(r, s):
    """Every bound, and every count of bytes anew."""
    cache = r.cache
    assert cache.bytes <= cache.limit
    held = 0
    n = 0
    e = cache._head.newer
    while e is not cache._head:
        size = 400 + len(e.name)
        for one in list(e.answer) + list(e.authority):
            size += one.size()
        assert e.size == size and cache._map[(e.name, e.type)] is e
        held += size
        n += 1
        e = e.newer
    assert (held, n) == (cache.bytes, len(cache))
    assert r.zones.bytes <= r.zones.limit
    assert r.zones.bytes == sum([z.size() for z in r.zones.all()])
    assert r.proofs.bytes <= r.proofs.limit
    assert r.proofs.bytes == sum([d.bytes for d in r.proofs._map.values()])
    assert len(r.servers) <= 1024
    assert len(s._ready) <= 256 and not s._pending
    assert len(r.stats.counts) + len(r.stats.drops) < 60


def test_walk():
    net = wide()
    r = net.recursor(cache_bytes=CACHE)
    r.zones = Zones(r.zones.root, ZONES)
    r.proofs = aggressive.Proofs(PROOFS)
    s = Server(r, r.rng)
    kinds = ("n%d.u.plain.test", "n%d.s.example.test", "www.n%d.many.test", "n%d.example.test")
    full = 0
    for i in range(NAMES):
        name = kinds[i & 3] % i
        query = packet.write(i & 0xFFFF, RD, (to_wire(name), A), edns=Edns(do=bool(i & 4)))
        out = s.receive(query, b"client", 1232, net.now)
        if isinstance(out, Waiting):
            drive(net, out.question)
            out = s.finish(out, net.now)
        assert out[3] & 15 == (3 if i & 3 == 3 else 0), name
        net.asked = []
        net.now += 1000
        full += r.cache.bytes > CACHE - 5_000
        if i % 1000 == 999:
            check(r, s)
    check(r, s)
    # It was full for most of the way, so what is new has driven out what was old.
    assert full > NAMES // 2 and len(r.cache) > CACHE // 2_000
    assert r.zones.bytes > ZONES // 2 and r.proofs.bytes > 0
    # The last ones are there, the first are not.
    assert r.cache.get(to_wire("n%d.u.plain.test" % (NAMES - 4)), A, net.now) is not None
    assert r.cache.get(to_wire("n0.u.plain.test"), A, net.now) is None
    r.flush()
    assert r.cache.bytes == len(r.cache) == r.zones.bytes == len(r.zones) == r.proofs.bytes == 0


def drive(net, q):
    while not q.done:
        transport, address, message = q.transmit()
        q.on_datagram(net.ask(address, message), address, net.now)


def test_answers_of_every_size():
    """Sets from 1 to 200 records: none larger than the cache is kept, all others are."""
    net = wide()
    r = net.recursor(cache_bytes=5_000)
    for n in (1, 2, 10, 50, 100, 200):
        for i in range(n):
            net.plain.put("r%d" % n, A, addr("10.9.%d.%d" % (n, i)))
        q = net.run(r, "r%d.plain.test" % n)
        assert len(q.entries[-1].answer[0].data) == n
        assert r.cache.bytes <= 5_000
        kept = r.cache.get(to_wire("r%d.plain.test" % n), A, net.now)
        assert (kept is not None) == (n <= 50), n


def test_hostile_zone_is_accounted():
    """A zone of 16 servers with long names and 8 addresses each counts for what it takes."""
    net = world("nsec")
    r = net.recursor()
    label = b"\x3f" + b"x" * 63

    def refer(zone, name, t, parts):
        child = tail(name, 3)
        if name == zone.name:
            return None
        names = [bytes((2, 65 + i, 65)) + label * 2 + child for i in range(20)]
        glue = [Rrset(n, A, 300, [addr("10.8.%d.%d" % (i, k)) for k in range(12)])
                for i, n in enumerate(names)]  # fmt: skip
        return 0, False, [], [Rrset(child, NS, 300, names)], glue

    net.plain.spoil = refer
    net.run(r, "www.big.plain.test")
    z = r.zones.get(to_wire("big.plain.test"), net.now)
    assert len(z.servers) == 16 and max([len(a) for _, a in z.servers]) == 8
    assert z.bytes == z.size() > 16 * (140 + 8 * 56)
