"""The recursive resolver on a made-up internet: ways down, trust, and what goes wrong."""

from stack.dns import dnssec, packet, rdata
from stack.dns.name import to_wire
from stack.dns.rdata import CNAME, DNAME, DNSKEY, DS, NS, NSEC, TXT, A
from tests.unit.dns.internet import TTL, Internet, addr, result


def world(mode="nsec", leaf_mode=None, algorithm=dnssec.ED25519):
    """Root, test., example.test. and others, each on a server of its own."""
    net = Internet(mode, algorithm)
    tld = net.zone("test", ["10.0.1.1"], algorithm, mode, net.root)
    leaf = net.zone("example.test", ["10.0.2.1", "10.0.2.2"], algorithm, leaf_mode or mode, tld)
    leaf.put("www", A, addr("192.0.2.1"))
    leaf.put("alias", CNAME, to_wire("www.example.test"))
    leaf.put("away", CNAME, to_wire("host.other.test"))
    leaf.put("*.wild", A, addr("192.0.2.9"))
    leaf.put("a.b.c.deep", A, addr("192.0.2.5"))
    leaf.put("tree", DNAME, to_wire("deep.example.test"))
    other = net.zone("other.test", ["10.0.3.1"], algorithm, mode, tld)
    other.put("host", A, addr("192.0.2.77"))
    plain = net.zone("plain.test", ["10.0.4.1"], mode=None, parent=tld)
    plain.put("www", A, addr("192.0.2.44"))
    well = net.zone("well", ["10.0.5.1"], algorithm, mode, net.root)
    well.put("www", A, addr("192.0.2.55"))
    net.tld, net.leaf, net.other, net.plain = tld, leaf, other, plain
    return net


ANSWERS = (
    ("www.example.test", "A", ("NOERROR", ["192.0.2.1"], "secure")),
    ("alias.example.test", "A", ("NOERROR", ["192.0.2.1"], "secure")),
    ("away.example.test", "A", ("NOERROR", ["192.0.2.77"], "secure")),
    ("x.wild.example.test", "A", ("NOERROR", ["192.0.2.9"], "secure")),
    ("x.y.wild.example.test", "A", ("NOERROR", ["192.0.2.9"], "secure")),
    ("x.wild.example.test", "TXT", ("NOERROR", [], "secure")),
    ("a.b.c.deep.example.test", "A", ("NOERROR", ["192.0.2.5"], "secure")),
    ("a.b.c.tree.example.test", "A", ("NOERROR", ["192.0.2.5"], "secure")),
    ("b.c.deep.example.test", "A", ("NOERROR", [], "secure")),
    ("nothing.example.test", "A", ("NXDOMAIN", [], "secure")),
    ("a.nothing.example.test", "A", ("NXDOMAIN", [], "secure")),
    ("www.example.test", "AAAA", ("NOERROR", [], "secure")),
    ("nowhere", "A", ("NXDOMAIN", [], "secure")),
    ("nozone.test", "A", ("NXDOMAIN", [], "secure")),
    ("example.test", "DS", None),
    ("plain.test", "DS", ("NOERROR", [], "secure")),
    ("www.plain.test", "A", ("NOERROR", ["192.0.2.44"], "insecure")),
    ("no.plain.test", "A", ("NXDOMAIN", [], "insecure")),
    ("plain.test", "SOA", None),
    (".", "NS", None),
)  # fmt: skip


def _check_all(net, r, opt_out=False):
    for name, type, expected in ANSWERS:
        got = result(net.run(r, name, type))
        if expected is None:
            assert got[0] == "NOERROR" and got[1], (name, type, got)
            continue
        if opt_out and name in ("nowhere", "nozone.test", "plain.test"):
            expected = (expected[0], expected[1], got[2])
        assert got == expected, (name, type, got)


def test_answers_nsec():
    net = world("nsec")
    r = net.recursor()
    _check_all(net, r)
    asked = len(net.asked)
    _check_all(net, r)
    assert len(net.asked) == asked, net.asked[asked:]


def test_answers_nsec3():
    net = world("nsec3")
    r = net.recursor()
    _check_all(net, r)
    _check_all(net, r)


def test_answers_opt_out():
    net = world("optout", "nsec3")
    _check_all(net, net.recursor(), True)


def test_algorithms():
    for algorithm in (dnssec.ECDSAP256, dnssec.ECDSAP384):
        net = world("nsec", algorithm=algorithm)
        q = net.run(net.recursor(), "www.example.test")
        assert result(q) == ("NOERROR", ["192.0.2.1"], "secure"), algorithm


def test_unsigned_root():
    """Without an anchor nothing is secure, and all is answered."""
    net = world("nsec")
    r = net.recursor()
    r.zones.root.status = dnssec.INSECURE
    assert result(net.run(r, "www.example.test")) == ("NOERROR", ["192.0.2.1"], "insecure")


def test_minimised():
    """RFC 9156: no server above sees more labels than it must."""
    net = world()
    net.run(net.recursor(), "a.b.c.deep.example.test")
    for address, name, type in net.asked:
        labels = name.count(".") + 1 if name else 0
        if address == "10.0.0.1":
            assert labels <= 1 or type == DNSKEY, (address, name)
        elif address == "10.0.1.1":
            assert labels <= 2, (address, name)


# What has to be refused: a change to the world, and a name that then is bogus.


def _wrong_ds(net):
    s = net.tld.sets[(net.leaf.name, DS)]
    s.data = [s.data[0][:-1] + bytes((s.data[0][-1] ^ 1,))]


def _expired(net):
    net.leaf.expires = net.leaf.begins + 500


def _future(net):
    net.leaf.begins = net.leaf.expires - 500


def _strip(type):
    def change(net):
        def spoil(zone, name, t, parts):
            for section in parts[2:4]:
                for s in section:
                    if s.type == type:
                        s.sigs = []

        net.leaf.spoil = spoil

    return change


def _tamper(net):
    def spoil(zone, name, t, parts):
        for s in parts[2]:
            if s.type == A:
                s.data = [addr("6.6.6.6")]

    net.leaf.spoil = spoil


def _no_keys(net):
    del net.leaf.sets[(net.leaf.name, DNSKEY)]


def _foreign_keys(net):
    net.leaf.sets[(net.leaf.name, DNSKEY)].data = [net.other.key.rdata]


def _no_proof(net):
    def spoil(zone, name, t, parts):
        parts[3] = [s for s in parts[3] if s.type not in (NSEC, rdata.NSEC3)]
        return parts

    net.leaf.spoil = spoil


def _foreign_proof(net):
    """The proof for another name."""

    def spoil(zone, name, t, parts):
        parts[3] = [s for s in parts[3] if s.type != NSEC] + [zone.proof(zone.name)]
        return parts

    net.leaf.spoil = spoil


def _lie_nxdomain(net):
    def spoil(zone, name, t, parts):
        if name == to_wire("www.example.test"):
            return zone.answer(to_wire("nothing.example.test"), A)

    net.leaf.spoil = spoil


def _lie_nodata(net):
    def spoil(zone, name, t, parts):
        if name == to_wire("www.example.test"):
            return zone.answer(name, TXT)

    net.leaf.spoil = spoil


def _moved(net):
    """A set of another name, under a name that does not exist."""

    def spoil(zone, name, t, parts):
        if name == to_wire("nothing.example.test"):
            s = zone.copy(zone.sets[(to_wire("www.example.test"), A)])
            s.name = name
            return 0, True, [s], [], []

    net.leaf.spoil = spoil


def _wildcard_over(net):
    """The wildcard's set for a name that exists, with the proof for another."""

    def spoil(zone, name, t, parts):
        if name == to_wire("www.example.test"):
            wild = zone.put("*", A, addr("6.6.6.6"))
            s = zone.expanded(wild, name)
            return 0, True, [s], [zone.proof(to_wire("nothing.example.test"))], []

    net.leaf.spoil = spoil


def _strip_ds(net):
    """The parent forgets DS, with no proof that there is none."""

    def spoil(zone, name, t, parts):
        parts[3] = [s for s in parts[3] if s.type == NS]
        if t == DS:
            parts[2] = []
        return parts

    net.tld.spoil = spoil


def _child_denies_ds(net):
    """The NSEC at the child's apex (with SOA) says that there is no DS."""

    def spoil(zone, name, t, parts):
        parts[3] = [s for s in parts[3] if s.type == NS] + [net.leaf.proof(net.leaf.name)]
        if t == DS:
            parts[2] = []
        return parts

    net.tld.spoil = spoil


BOGUS = (
    ("wrong DS", _wrong_ds, "www.example.test", "nsec"),
    ("expired", _expired, "www.example.test", "nsec"),
    ("not yet valid", _future, "www.example.test", "nsec"),
    ("no RRSIG on the answer", _strip(A), "www.example.test", "nsec"),
    ("no RRSIG on DNSKEY", _strip(DNSKEY), "www.example.test", "nsec"),
    ("no RRSIG on SOA", _strip(rdata.SOA), "nothing.example.test", "nsec"),
    ("no RRSIG on NSEC", _strip(NSEC), "nothing.example.test", "nsec"),
    ("no RRSIG on NSEC3", _strip(rdata.NSEC3), "nothing.example.test", "nsec3"),
    ("altered data", _tamper, "www.example.test", "nsec"),
    ("no DNSKEY", _no_keys, "www.example.test", "nsec"),
    ("keys of another zone", _foreign_keys, "www.example.test", "nsec"),
    ("no NSEC", _no_proof, "nothing.example.test", "nsec"),
    ("no NSEC3", _no_proof, "nothing.example.test", "nsec3"),
    ("no NSEC for NODATA", _no_proof, "deep.example.test", "nsec"),
    ("NSEC for another name", _foreign_proof, "nothing.example.test", "nsec"),
    ("NXDOMAIN for what exists", _lie_nxdomain, "www.example.test", "nsec"),
    ("NXDOMAIN for what exists, NSEC3", _lie_nxdomain, "www.example.test", "nsec3"),
    ("NODATA of another type", _lie_nodata, "www.example.test", "nsec"),
    ("a set under another name", _moved, "nothing.example.test", "nsec"),
    ("a wildcard over what exists", _wildcard_over, "www.example.test", "nsec"),
    ("a wildcard over what exists, NSEC3", _wildcard_over, "www.example.test", "nsec3"),
    ("no proof of no wildcard", _no_proof, "x.wild.example.test", "nsec"),
    ("DS left out", _strip_ds, "www.example.test", "nsec"),
    ("DS left out, NSEC3", _strip_ds, "www.example.test", "nsec3"),
    ("the child denies its DS", _child_denies_ds, "www.example.test", "nsec"),
)


def test_bogus():
    for why, change, name, mode in BOGUS:
        net = world(mode)
        change(net)
        r = net.recursor()
        q = net.run(r, name)
        assert (q.rcode, q.status) == (packet.SERVFAIL, "bogus"), (why, result(q), q.ede)
        assert q.ede and q.ede[1], why
        # Others are still served.
        assert result(net.run(r, "www.well")) == ("NOERROR", ["192.0.2.55"], "secure"), why


def test_one_bad_server():
    """Of two servers one lies: the other is asked."""
    net = world()
    bad = addr("10.0.2.1")

    def hook(address, q, out):
        if address == bad and q.question[1] == A:
            p = packet.read(out)
            for s in p.answer:
                s.data = [addr("6.6.6.6")]
            return packet.write(p.id, p.flags, p.question[:2],
                                (p.answer, p.authority, p.additional), p.edns)  # fmt: skip
        return out

    net.hook = hook
    for i in range(4):
        q = net.run(net.recursor(), "www.example.test")
        assert result(q) == ("NOERROR", ["192.0.2.1"], "secure"), i


def test_same_server_for_parent_and_child():
    """No referral comes: signer's name, or its lack, shows the cut."""
    for mode in ("nsec", "nsec3"):
        net = Internet(mode)
        tld = net.zone("test", ["10.0.1.1"], mode=mode, parent=net.root)
        signed = net.zone("signed.test", ["10.0.1.1"], mode=mode, parent=tld)
        signed.put("www", A, addr("192.0.2.1"))
        deep = net.zone("x.y.signed.test", ["10.0.1.1"], mode=mode, parent=signed)
        deep.put("www", A, addr("192.0.2.2"))
        plain = net.zone("plain.test", ["10.0.1.1"], mode=None, parent=tld)
        plain.put("www", A, addr("192.0.2.3"))
        for name, want in (
            ("www.signed.test", ("NOERROR", ["192.0.2.1"], "secure")),
            ("www.x.y.signed.test", ("NOERROR", ["192.0.2.2"], "secure")),
            ("no.x.y.signed.test", ("NXDOMAIN", [], "secure")),
            ("www.plain.test", ("NOERROR", ["192.0.2.3"], "insecure")),
            ("no.plain.test", ("NXDOMAIN", [], "insecure")),
        ):
            q = net.run(net.recursor(), name)
            assert result(q) == want, (mode, name, result(q), q.ede)


def test_unknown_algorithm_is_insecure():
    net = world()
    s = net.tld.sets[(net.leaf.name, DS)]
    s.data = [s.data[0][:2] + bytes((200,)) + s.data[0][3:]]
    assert result(net.run(net.recursor(), "www.example.test"))[2] == "insecure"


def test_many_iterations_are_insecure():
    """RFC 9276: no answer costs thousands of hashes."""
    net = Internet("nsec")
    tld = net.zone("test", ["10.0.1.1"], mode="nsec", parent=net.root)
    leaf = net.zone("slow.test", ["10.0.2.1"], mode="nsec3", parent=tld, iterations=151)
    leaf.put("www", A, addr("192.0.2.1"))
    assert result(net.run(net.recursor(), "www.slow.test"))[2] == "secure"
    assert result(net.run(net.recursor(), "no.slow.test")) == ("NXDOMAIN", [], "insecure")


def test_dead_server():
    net = world()
    net.dead.add(addr("10.0.2.1"))
    for _ in range(3):
        q = net.run(net.recursor(), "www.example.test")
        assert result(q) == ("NOERROR", ["192.0.2.1"], "secure")
    net.dead.add(addr("10.0.2.2"))
    r = net.recursor()
    q = net.run(r, "www.example.test")
    assert q.rcode == packet.SERVFAIL and q.status == "insecure", result(q)


def test_stale():
    """RFC 8767: what has expired serves while nobody answers."""
    net = world()
    r = net.recursor()
    net.run(r, "www.example.test")
    net.dead.update((addr("10.0.2.1"), addr("10.0.2.2")))
    net.now += (TTL + 10) * 1000000
    q = net.run(r, "www.example.test")
    assert result(q)[:2] == ("NOERROR", ["192.0.2.1"]), q.ede
    assert q.ede[0] == 3


def test_out_of_bailiwick():
    """Records of other zones in an answer are not believed, nor kept."""
    net = world()
    evil = addr("6.6.6.6")

    def spoil(zone, name, t, parts):
        from stack.dns.packet import Rrset

        parts[2] = parts[2] + [Rrset(to_wire("host.other.test"), A, 9999, [evil])]
        parts[4] = [Rrset(to_wire("ns0.other.test"), A, 9999, [evil]),
                    Rrset(to_wire("host.other.test"), A, 9999, [evil])]  # fmt: skip
        return parts

    net.plain.spoil = spoil
    r = net.recursor()
    net.run(r, "www.plain.test")
    assert result(net.run(r, "host.other.test")) == ("NOERROR", ["192.0.2.77"], "secure")
    assert not [a for a in net.asked if a[0] == "6.6.6.6"]


def test_glueless():
    """The name server of a zone has its name in another."""
    net = world()
    far = net.zone("far.test", ["10.0.9.1"], mode="nsec")
    far.put("www", A, addr("192.0.2.50"))
    net.other.put("nsfar", A, addr("10.0.9.1"))
    net.tld.put("far", NS, to_wire("nsfar.other.test"))
    net.tld.put("far", DS, far.key.ds(far.name))
    q = net.run(net.recursor(), "www.far.test")
    assert result(q) == ("NOERROR", ["192.0.2.50"], "secure"), q.ede


def test_nxns():
    """CVE-2020-12662 and its like: a zone that names hundreds of servers elsewhere."""
    net = world()
    for i in range(100):
        net.plain.put("bad", NS, to_wire("n%d.other.test" % i))
    n = len(net.asked)
    q = net.run(net.recursor(), "www.bad.plain.test")
    assert q.rcode == packet.SERVFAIL
    assert len(net.asked) - n < 40, len(net.asked) - n


def test_alias_loop():
    net = world()
    net.leaf.put("one", CNAME, to_wire("two.example.test"))
    net.leaf.put("two", CNAME, to_wire("one.example.test"))
    q = net.run(net.recursor(), "one.example.test")
    assert q.rcode == packet.SERVFAIL and len(net.asked) < 40


def test_keytrap():
    """CVE-2023-50387: many keys of one tag and many signatures. The work is bounded."""
    net = world()
    key = net.leaf.key.rdata
    keys = [key]
    # Two bytes 256 apart in weight can change without changing the tag.
    for i in range(1, 30):
        k = bytearray(key)
        k[4] = (key[4] + i) & 0xFF
        k[6] = (key[6] - i) & 0xFF
        keys.append(bytes(k))
    net.leaf.sets[(net.leaf.name, DNSKEY)].data = keys

    def spoil(zone, name, t, parts):
        for s in parts[2]:
            if s.type == A and s.sigs:
                wrong = s.sigs[0][:-1] + bytes((s.sigs[0][-1] ^ 1,))
                s.sigs = [wrong[:-2] + bytes((i, 7)) for i in range(100)]

    net.leaf.spoil = spoil
    r = net.recursor()
    count = [0]
    real = dnssec._verify

    def counted(*args):
        count[0] += 1
        return real(*args)

    dnssec._verify = counted
    try:
        q = net.run(r, "www.example.test")
    finally:
        dnssec._verify = real
    assert q.rcode == packet.SERVFAIL and q.status == "bogus"
    assert count[0] <= dnssec.MAX_VERIFIES, count[0]
    assert result(net.run(r, "host.other.test"))[0] == "NOERROR"


def test_forged():
    """Wrong id, question, letters or cookie: dropped; the true answer is still taken."""
    net = world()
    r = net.recursor()
    q = r.start(to_wire("www.example.test"), A, 0)
    _, address, message = q.transmit()
    good = net.ask(address, message)
    for why, bad in (
        ("id", bytes((good[0] ^ 1,)) + good[1:]),
        ("a query", good[:2] + bytes((good[2] & 0x7F,)) + good[3:]),
        ("another name", good[:13] + bytes((good[13] ^ 1,)) + good[14:]),
        ("truncated", good[:11]),
    ):
        assert not q.on_datagram(bad, address, 1), why
    assert not q.on_datagram(good, addr("10.9.9.9"), 1)
    assert q.on_datagram(good, address, 1)


def test_cookie():
    """RFC 7873, 5.3: an answer with another's cookie is dropped; the server's half comes back."""
    net = world()
    r = net.recursor()
    q = r.start(to_wire("www.example.test"), A, 0)
    _, address, message = q.transmit()
    sent = packet.read(message)
    mine = sent.edns.option(packet.COOKIE)
    assert len(mine) == 8

    def answer(cookie):
        p = packet.read(net.ask(address, message))
        edns = packet.Edns(do=True, options=[(packet.COOKIE, cookie)])
        sections = (p.answer, p.authority, p.additional)
        return packet.write(sent.id, p.flags, sent.question[:2], sections, edns, p.rcode)

    assert not q.on_datagram(answer(bytes([mine[0] ^ 1]) + mine[1:] + b"serverhs"), address, 1)
    assert r.servers.get(address).cookie == b"" and r.stats.dropped("dns.cookie") == 1
    assert q.on_datagram(answer(mine + b"serverhs"), address, 1)
    assert r.servers.cookie_option(r.servers.get(address))[1] == mine + b"serverhs"


def test_cache_bounded():
    net = world()
    for i in range(100):
        net.leaf.put("h%d" % i, A, addr("192.0.2.1"))
    r = net.recursor(cache_bytes=20_000)
    for i in range(100):
        net.run(r, "h%d.example.test" % i)
        assert r.cache.bytes <= 20_000
    assert r.cache.bytes > 10_000
