"""What checked proofs answer without asking: RFC 8198, and the bounds of what is held for it."""

from stack.dns.name import count, to_wire
from stack.dns.rdata import CNAME, NSEC, NSEC3, A
from stack.dns.recursor import aggressive
from stack.dns.recursor.aggressive import Proofs
from tests.unit.dns.internet import Internet, addr, result
from tests.unit.dns.test_recursor import world


def ask(net, r, name, type="A"):
    """(result, messages it took)."""
    n = len(net.asked)
    return result(net.run(r, name, type)), len(net.asked) - n


def test_aggressive():
    """RFC 8198: one proof answers for the gap."""
    net = world()
    r = net.recursor()
    assert result(net.run(r, "mm.example.test"))[0] == "NXDOMAIN"
    n = len(net.asked)
    assert result(net.run(r, "mn.example.test")) == ("NXDOMAIN", [], "secure")
    assert len(net.asked) == n, net.asked[n:]


def test_aggressive_empty_name():
    """A gap that ends below a name proves that the name exists."""
    net = world()
    r = net.recursor()
    net.run(r, "trees.example.test")
    q = net.run(r, "a.b.c.tree.example.test")  # below a DNAME its NSEC says nothing
    assert result(q) == ("NOERROR", ["192.0.2.5"], "secure")
    net.run(r, "cc.example.test")  # its NSEC runs from the alias to a.b.c.deep
    for name in ("deep.example.test", "c.deep.example.test"):
        assert result(net.run(r, name)) == ("NOERROR", [], "secure"), name
    assert result(net.run(r, "a.b.c.deep.example.test")) == ("NOERROR", ["192.0.2.5"], "secure")


def small(mode, **how):
    """A zone of two names: what one NXDOMAIN brings proves much."""
    net = Internet("nsec")
    tld = net.zone("test", ["10.0.1.1"], mode="nsec", parent=net.root)
    leaf = net.zone("s.test", ["10.0.2.1"], mode=mode, parent=tld, **how)
    leaf.put("www", A, addr("192.0.2.1"))
    net.leaf = leaf
    return net


def covered(net, r):
    """Names that do not exist, and whether those after the first took a message."""
    first, cost = ask(net, r, "n0.s.test")
    assert first == ("NXDOMAIN", [], "secure" if net.leaf.mode != "optout" else "insecure")
    assert cost
    free = 0
    for i in range(1, 30):
        got, cost = ask(net, r, "n%d.s.test" % i)
        assert got == first, (i, got)
        free += not cost
    return free


def test_nsec3():
    """Section 5.2: each NSEC3 answers for the names whose hashes lie in its gap."""
    for mode in ("nsec", "nsec3"):
        net = small(mode)
        r = net.recursor()
        # 3 names, so 3 or 4 gaps: after at most 4 questions each is known.
        assert covered(net, r) >= 26, mode
        assert r.stats.counts["dns.aggressive"] >= 26


def test_nsec3_opt_out_is_not_used():
    """An unsigned delegation may lie in the gap."""
    net = small("optout")
    r = net.recursor()
    assert covered(net, r) == 0
    assert len(r.proofs) <= 2  # the root's and test's
    # Nor where the same records were of use: each name's, for what it has not.
    for name in ("s.test", "www.s.test", "ns0.s.test"):
        assert ask(net, r, name, "TXT")[0] == ("NOERROR", [], "secure")
    r.cache.clear()
    for i in range(20):
        got, cost = ask(net, r, "m%d.s.test" % i)
        assert got == ("NXDOMAIN", [], "insecure") and cost, (i, got)


def test_nsec3_no_data():
    net = small("nsec3")
    r = net.recursor()
    assert ask(net, r, "www.s.test", "TXT")[0] == ("NOERROR", [], "secure")
    assert ask(net, r, "www.s.test", "AAAA") == (("NOERROR", [], "secure"), 0)
    # What its bitmap does not deny is asked for.
    assert ask(net, r, "www.s.test", "A")[0] == ("NOERROR", ["192.0.2.1"], "secure")


def test_nsec3_never_denies_what_exists():
    """Every name of a larger zone is still found, whatever is known of its gaps."""
    net = small("nsec3")
    for i in range(12):
        net.leaf.put("h%d" % i, A, addr("192.0.2.%d" % (50 + i)))
    sub = net.zone("sub.s.test", ["10.0.3.1"], mode="nsec3", parent=net.leaf)
    sub.put("www", A, addr("192.0.2.99"))
    plain = net.zone("plain.s.test", ["10.0.4.1"], mode=None, parent=net.leaf)
    plain.put("www", A, addr("192.0.2.98"))
    net.leaf.put("a.b.c", A, addr("192.0.2.97"))
    r = net.recursor()
    for i in range(60):
        assert ask(net, r, "x%d.s.test" % i)[0][0] == "NXDOMAIN"
    for i in range(12):
        assert ask(net, r, "h%d.s.test" % i)[0] == ("NOERROR", ["192.0.2.%d" % (50 + i)], "secure")
    assert ask(net, r, "www.sub.s.test")[0] == ("NOERROR", ["192.0.2.99"], "secure")
    assert ask(net, r, "www.plain.s.test")[0] == ("NOERROR", ["192.0.2.98"], "insecure")
    assert ask(net, r, "b.c.s.test")[0] == ("NOERROR", [], "secure")
    assert ask(net, r, "a.b.c.s.test")[0] == ("NOERROR", ["192.0.2.97"], "secure")


def test_wildcard():
    """Section 5.3: a wildcard's set and the proof of nothing closer make further names."""
    for mode in ("nsec", "nsec3"):
        net = small(mode)
        net.leaf.put("*.w", A, addr("192.0.2.9"))
        net.leaf.put("real.w", A, addr("192.0.2.10"))
        net.leaf.put("*.c", CNAME, to_wire("www.s.test"))
        r = net.recursor()
        assert ask(net, r, "a0.w.s.test")[0] == ("NOERROR", ["192.0.2.9"], "secure")
        free = 0
        for i in range(1, 30):
            got, cost = ask(net, r, "a%d.w.s.test" % i)
            assert got == ("NOERROR", ["192.0.2.9"], "secure"), (mode, i, got)
            free += not cost
        assert free >= 20, (mode, free)
        # A name that exists is not the wildcard's.
        assert ask(net, r, "real.w.s.test")[0] == ("NOERROR", ["192.0.2.10"], "secure")
        # Nor has the wildcard other types, nor does it reach below a name that exists.
        assert ask(net, r, "a1.w.s.test", "TXT")[0] == ("NOERROR", [], "secure")
        assert ask(net, r, "x.real.w.s.test")[0] == ("NXDOMAIN", [], "secure")
        for i in range(12):
            got, _ = ask(net, r, "k%d.c.s.test" % i)
            assert got == ("NOERROR", ["192.0.2.1"], "secure"), (mode, got)


def test_wildcard_is_signed():
    """What is made has the wildcard's signature and the proof, for who checks it himself."""
    net = small("nsec")
    net.leaf.put("*.w", A, addr("192.0.2.9"))
    r = net.recursor()
    net.run(r, "a.w.s.test")
    q = net.run(r, "b.w.s.test")
    s = q.entries[0].answer[0]
    assert s.name == to_wire("b.w.s.test") and s.sigs[0][3] == count(s.name) - 1
    assert [p.type for p in q.entries[0].authority] == [NSEC]


def test_ends_with_ttl():
    """Section 5.4: proofs are used no longer than their TTL (60 s here) and the SOA's."""
    for mode, name in (("nsec", "z"), ("nsec", "b.w"), ("nsec3", "z"), ("nsec3", "b.w")):
        net = small(mode)
        net.leaf.put("*.w", A, addr("192.0.2.9"))
        r = net.recursor()
        covered(net, r)
        ask(net, r, "a.w.s.test")
        net.now += 58_000_000
        q = net.run(r, "late.s.test")
        assert q.entries[0].left(net.now) <= 60, q.entries[0].left(net.now)
        net.now += 62_000_000
        assert ask(net, r, name + ".s.test")[1], (mode, name)


def test_iterations_bound_the_work():
    """Where a hash is dear nothing is made of NSEC3: asking is cheaper."""
    net = small("nsec3", iterations=60)
    assert covered(net, net.recursor()) == 0


def test_zone_changes_its_denial():
    """From NSEC to NSEC3, or to another salt: what was held is forgotten."""
    net = small("nsec")
    r = net.recursor()
    covered(net, r)
    held = r.proofs.get(to_wire("s.test"))
    assert held.params == ()
    net.leaf.mode = "nsec3"
    net.leaf._proofs = None
    net.now += 130_000_000
    assert ask(net, r, "other.s.test")[0] == ("NXDOMAIN", [], "secure")
    held = r.proofs.get(to_wire("s.test"))
    assert held.params == (0, b"\xab") and {s.type for s in held.sets} == {NSEC3}


def test_not_cached():
    """A flood of random names leaves the cache as it is."""
    net = small("nsec3")
    r = net.recursor()
    covered(net, r)
    n = len(r.cache)
    for i in range(100, 160):
        net.run(r, "n%d.s.test" % i)
    assert len(r.cache) - n <= 2


def test_bounded():
    """Bytes are counted exactly, and end at the limit; the zone last used stays."""
    net = world("nsec")
    for i in range(24):
        net.leaf.put("h%d" % i, A, addr("192.0.2.1"))
        net.other.put("*.w%d" % i, A, addr("192.0.2.1"))
    for limit in (5_000, 12_000):
        r = net.recursor()
        r.proofs = Proofs(limit)
        for i in range(24):
            net.run(r, "h%dx.example.test" % i)
            net.run(r, "a.w%d.other.test" % i)
            assert r.proofs.bytes <= limit
            assert r.proofs.bytes == sum([d.bytes for d in r.proofs._map.values()])
        assert len(r.proofs)
        for d in r.proofs._map.values():
            held = 600 + sum([aggressive._size(s) for s in d.sets])
            held += sum([aggressive._size(s) for s, _ in d.wild.values()])
            held += d.soa.size() if d.soa is not None else 0
            assert d.bytes == held
            assert len(d.keys) == len(d.sets) == len(d.until) <= 128
            assert d.keys == sorted(d.keys)
        r.flush()
        assert r.proofs.bytes == len(r.proofs) == 0


def test_the_zone_last_used_stays():
    net = world("nsec")
    for i in range(24):
        net.leaf.put("h%d" % i, A, addr("192.0.2.1"))
        net.other.put("h%d" % i, A, addr("192.0.2.1"))
    r = net.recursor()
    r.proofs = Proofs(9_000)
    for zone, gone in (("example.test", "other.test"), ("other.test", "example.test")):
        for i in range(24):
            net.run(r, "h%dx.%s" % (i, zone))
        assert len(r.proofs.get(to_wire(zone)).keys) >= 4
        assert r.proofs.get(to_wire(gone)) is None
