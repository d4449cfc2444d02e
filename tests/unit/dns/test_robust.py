"""The recursor where servers are old, wrong, silent or hostile: what it does instead."""

from stack.dns import dnssec, packet
from stack.dns.name import to_wire
from stack.dns.packet import AA, QR, Edns, Rrset
from stack.dns.rdata import CNAME, DNAME, DNSKEY, NS, SOA, A
from stack.dns.recursor.question import MAX_QUERIES, TCP
from tests.unit.dns.internet import addr, result
from tests.unit.dns.test_recursor import world

GOOD = ("NOERROR", ["192.0.2.44"], "insecure")  # www.plain.test


def asked(net, address=None):
    return [a for a in net.asked if address in (None, a[0])]


def messages(net, r, name="www.plain.test"):
    """Drive a question; each message as (Packet, transport)."""
    q = r.start(to_wire(name), A, net.now)
    out = []
    while not q.done:
        t = q.transmit()
        if t is None:
            net.now = q.poll_at()
            q.on_timer(net.now)
            continue
        transport, address, message = t
        data = message[2:] if transport == TCP else message
        out.append((packet.read(data), transport))
        answer = net.ask(address, data)
        net.now += 1000
        if answer is None:
            continue
        if transport == TCP:
            q.on_stream(bytes((len(answer) >> 8, len(answer) & 255)) + answer, net.now)
        else:
            q.on_datagram(answer, address, net.now)
    return q, out


# Asking.


def test_empty_names_denied():
    """RFC 9156, section 3: a server that says NXDOMAIN of an empty name is asked for the whole."""
    net = world()
    net.plain.put("a.b.c", A, addr("192.0.2.45"))

    def spoil(zone, name, t, parts):
        if name in (to_wire("c.plain.test"), to_wire("b.c.plain.test")):
            return packet.NXDOMAIN, True, [], parts[3], []

    net.plain.spoil = spoil
    got = result(net.run(net.recursor(), "a.b.c.plain.test"))
    assert got == ("NOERROR", ["192.0.2.45"], "insecure")
    assert len(asked(net, "10.0.4.1")) == 2
    # In a signed zone such an answer is a lie, unless it is proved.
    net.leaf.spoil = lambda z, n, t, p: (
        (packet.NXDOMAIN, True, [], p[3], []) if n == to_wire("deep.example.test") else None
    )
    q = net.run(net.recursor(), "a.b.c.deep.example.test")
    assert q.rcode == packet.SERVFAIL and q.status == "bogus"


def test_many_labels():
    """RFC 9156, section 2.3: a name of many labels is not asked for one by one."""
    net = world()
    name = ".".join(["x"] * 60) + ".plain.test"
    net.plain.put(".".join(["x"] * 60), A, addr("192.0.2.46"))
    assert result(net.run(net.recursor(), name))[1] == ["192.0.2.46"]
    assert len(asked(net, "10.0.4.1")) <= 10


def test_ids_and_letters():
    """Ids and letters' cases are drawn for each message."""
    net = world()
    r = net.recursor()
    ids, names = set(), set()
    n = 0
    for i in range(40):
        _, sent = messages(net, r, "averylongnameindeed%d.plain.test" % i)
        for p, _ in sent:
            n += 1
            ids.add(p.id)
            names.add(p.question[0])
            assert p.edns.do and p.edns.size == 1232
    assert len(ids) > n * 0.9 and max(ids) > 50_000 and min(ids) < 15_000
    assert len([1 for name in names if name != name.lower() and name != name.upper()]) > n // 2


def test_letters_are_not_kept():
    """A server that answers in lower case: after two attempts it is asked so."""
    net = world()
    net.hook = lambda address, q, out: out[:12] + out[12:].lower() if address[2] == 4 else out
    r = net.recursor()
    assert result(net.run(r, "www.plain.test")) == GOOD
    assert r.stats.dropped("dns.question") >= 2 and len(asked(net, "10.0.4.1")) == 3


def test_edns_unknown():
    """RFC 6891, section 7: FORMERR or NOTIMP without OPT: asked again without."""
    for rcode in (packet.FORMERR, packet.NOTIMP):
        net = world()

        def hook(address, q, out, rcode=rcode):
            if address[2] == 4 and q.edns is not None:
                return packet.write(q.id, QR, q.question[:2], rcode=rcode)
            return out

        net.hook = hook
        assert result(net.run(net.recursor(), "www.plain.test")) == GOOD
        # It cannot be had of a signed zone so: without DO there are no signatures.
        net.hook = lambda address, q, out: (
            packet.write(q.id, QR, q.question[:2], rcode=packet.FORMERR) if address[2] == 2
            and q.edns is not None else strip(out) if address[2] == 2 else out)  # fmt: skip
        q = net.run(net.recursor(), "www.example.test")
        assert q.rcode == packet.SERVFAIL, result(q)


def strip(out):
    p = packet.read(out)
    for s in p.answer + p.authority:
        s.sigs = []
    return packet.write(p.id, p.flags, p.question[:2], (p.answer, p.authority, ()), None, p.rcode)


def test_truncated():
    """TC: the same by TCP, and nothing of the datagram is believed."""
    net = world()

    def hook(address, q, out):
        if address[2] == 4:
            p = packet.read(out)
            evil = [Rrset(s.name, s.type, s.ttl, [addr("6.6.6.6")]) for s in p.answer]
            return packet.write(q.id, QR | AA | packet.TC, q.question[:2], (evil, (), ()), Edns())
        return out

    net.hook = hook
    r = net.recursor()
    q = r.start(to_wire("www.plain.test"), A, 0)
    tcp = 0
    while not q.done:
        transport, address, message = q.transmit()
        if transport == TCP:
            tcp += 1
            net.hook = None
            out = net.ask(address, message[2:])
            framed = bytes((len(out) >> 8, len(out) & 255)) + out
            for i in range(len(framed)):  # in pieces
                q.on_stream(framed[i : i + 1], 0)
            net.hook = hook
        else:
            q.on_datagram(net.ask(address, message), address, 0)
    assert result(q) == GOOD and tcp == 1


def test_guesses():
    """A forger has 20 guesses for a message, then TCP is used: RFC 5452, section 9."""
    net = world()
    r = net.recursor()
    q = r.start(to_wire("www.plain.test"), A, 0)
    transport, address, message = q.transmit()
    good = net.ask(address, message)
    for i in range(1, 20):
        assert not q.on_datagram(bytes((good[0] ^ i,)) + good[1:], address, 1)
        assert q.transmit() is None
    assert not q.on_datagram(bytes((good[0] ^ 20,)) + good[1:], address, 1)
    assert q.transmit()[0] == TCP and r.stats.get("dns.spoofed") == 1
    # Even the right one is too late then: its id is no longer ours.
    assert not q.on_datagram(good, address, 1)
    assert r.stats.dropped("dns.not_ours") == 20


def test_bad_cookie():
    """RFC 7873, section 5.3: BADCOOKIE with a new cookie: asked again by TCP."""
    net = world()
    state = []

    def hook(address, q, out):
        if address[2] != 4:
            return out
        mine = q.edns.option(packet.COOKIE)
        edns = Edns(options=[(packet.COOKIE, mine[:8] + b"serverhf")])
        if len(state) < 1:
            state.append(mine)
            return packet.write(q.id, QR, q.question[:2], edns=edns, rcode=packet.BADCOOKIE)
        assert mine[8:] == b"serverhf"
        return out

    net.hook = hook
    r = net.recursor()
    q, sent = messages(net, r)
    assert result(q) == GOOD and len(state) == 1
    assert [t for _, t in sent].count(TCP) == 1


def test_lame():
    """A server that refuses is not asked about this zone for five minutes, about others it is."""
    net = world()
    second = net.zone("plain.test", ["10.0.4.2"], mode=None)
    second.put("www", A, addr("192.0.2.44"))
    net.tld.put("plain.test.", NS, to_wire("nsb.plain.test"))
    net.tld.put("nsb.plain.test.", A, addr("10.0.4.2"))
    bad = addr("10.0.4.1")

    def hook(address, q, out):
        if address == bad:
            return packet.write(q.id, QR, q.question[:2], edns=Edns(), rcode=packet.REFUSED)
        return out

    net.hook = hook
    r = net.recursor()
    r.servers.answered(r.servers.get(bad), 10_000, 0)  # so it is asked first
    for i in range(12):
        net.run(r, "n%d.plain.test" % i)
        assert result(net.run(r, "www.plain.test")) == GOOD
    assert len(asked(net, "10.0.4.1")) == 1
    net.now += 301_000_000
    for i in range(12):
        net.run(r, "m%d.plain.test" % i)
    assert len(asked(net, "10.0.4.1")) == 2


def test_no_loops_of_referrals():
    """Referrals up, to the same zone or sideways lead nowhere: lame."""
    for target in ("test", "plain.test", "example.test", "."):
        net = world()

        def spoil(zone, name, t, parts, target=target):
            name = to_wire(target)
            return 0, False, [], [Rrset(name, NS, 300, [to_wire("ns0.plain.test")])], []

        net.plain.spoil = spoil
        q = net.run(net.recursor(), "www.plain.test")
        assert q.rcode == packet.SERVFAIL and len(net.asked) < 24, (target, len(net.asked))


def test_glue():
    """Addresses in a referral count only for names that the zone asked may speak for."""
    net = world()
    child = net.zone("far.plain.test", ["10.0.9.1"], mode=None)
    child.put("www", A, addr("192.0.2.50"))
    net.other.put("nsfar", A, addr("10.0.9.1"))

    def spoil(zone, name, t, parts):
        if name == to_wire("far.plain.test") or name == to_wire("www.far.plain.test"):
            ns = [Rrset(to_wire("far.plain.test"), NS, 300, [to_wire("nsfar.other.test")])]
            return 0, False, [], ns, [Rrset(to_wire("nsfar.other.test"), A, 300, [addr("6.6.6.6")])]

    net.plain.spoil = spoil
    r = net.recursor()
    assert result(net.run(r, "www.far.plain.test"))[1] == ["192.0.2.50"]
    assert not asked(net, "6.6.6.6")
    assert result(net.run(r, "nsfar.other.test")) == ("NOERROR", ["10.0.9.1"], "secure")


# Aliases.


def test_chains():
    """Eleven names of a chain are followed, not one more; DNAMEs count too."""
    net = world()
    for i in range(30):
        net.plain.put("c%d" % i, CNAME, to_wire("c%d.plain.test" % (i + 1)))
    net.plain.put("c30", A, addr("192.0.2.47"))
    q = net.run(net.recursor(), "c20.plain.test")
    assert result(q)[1] == ["192.0.2.47"] and len(q.entries) == 11
    q = net.run(net.recursor(), "c19.plain.test")
    assert q.rcode == packet.SERVFAIL and "aliases" in q.ede[1]
    net.plain.put("d", DNAME, to_wire("x.d.plain.test"))  # grows at each step
    n = len(net.asked)
    q = net.run(net.recursor(), "a.d.plain.test")
    assert q.rcode == packet.SERVFAIL and len(net.asked) - n <= MAX_QUERIES


def test_dname_too_long():
    """RFC 6672, section 2.2: what would be longer than a name is YXDOMAIN."""
    net = world()
    t = net.plain.put("t", DNAME, to_wire(".".join(["y" * 60] * 3) + ".plain.test"))

    def spoil(zone, name, type, parts):
        return (6, True, [t], [], []) if name.endswith(t.name) and name != t.name else None

    net.plain.spoil = spoil
    q = net.run(net.recursor(), "z" * 60 + ".t.plain.test")
    assert q.rcode == 6, q.rcode


# What is remembered.


def test_negative():
    """RFC 2308: NXDOMAIN and NODATA for the lesser of SOA's TTL and minimum (60 s), not longer;
    without a SOA not at all."""
    for name, type in (("no.plain.test", "A"), ("www.plain.test", "TXT")):
        net = world()
        r = net.recursor()
        first = result(net.run(r, name, type))
        n = len(net.asked)
        net.now += 50_000_000
        assert result(net.run(r, name, type)) == first and len(net.asked) == n
        net.now += 11_000_000
        assert result(net.run(r, name, type)) == first and len(net.asked) > n
        net.plain.spoil = lambda z, nm, t, p: [p[0], p[1], p[2], [], []]
        r = net.recursor()
        net.run(r, name, type)
        n = len(net.asked)
        net.run(r, name, type)
        assert len(net.asked) > n, name


def test_below_nothing_is_nothing():
    """RFC 8020: below a name that is proved not to exist nothing is asked; else it is."""
    net = world("nsec3")
    r = net.recursor()
    net.run(r, "no.example.test")
    n = len(net.asked)
    assert result(net.run(r, "a.b.no.example.test")) == ("NXDOMAIN", [], "secure")
    assert len(net.asked) == n


def test_failures_are_remembered():
    """RFC 9520: for 5 s, the zone's bad keys for all names in it."""
    net = world()
    net.dead.add(addr("10.0.4.1"))
    r = net.recursor()
    assert net.run(r, "www.plain.test").rcode == packet.SERVFAIL
    n = len(net.asked)
    assert net.run(r, "www.plain.test").rcode == packet.SERVFAIL and len(net.asked) == n
    net.dead.clear()
    net.now += 6_000_000
    assert result(net.run(r, "www.plain.test")) == GOOD
    del net.leaf.sets[(net.leaf.name, DNSKEY)]
    assert net.run(r, "www.example.test").status == "bogus"
    n = len(net.asked)
    q = net.run(r, "alias.example.test")
    assert q.status == "bogus" and q.ede[0] == dnssec.EDE_NO_KEY and len(net.asked) == n


def test_stale_ends():
    """RFC 8767: a day after it has expired nothing is stale but gone; bogus is never covered up."""
    net = world()
    r = net.recursor()
    net.run(r, "www.plain.test")
    net.run(r, "www.example.test")
    net.dead.add(addr("10.0.4.1"))
    net.now += 400_000_000
    q = net.run(r, "www.plain.test")
    assert result(q) == GOOD and q.ede[0] == 3
    assert q.entries[0].left(net.now) == 30  # section 5
    net.leaf.expires = net.leaf.begins + 500
    assert net.run(r, "www.example.test").rcode == packet.SERVFAIL
    net.now += 86_400_000_000
    assert net.run(r, "www.plain.test").rcode == packet.SERVFAIL


def test_least_recently_used():
    """What is asked for stays, what is not goes first."""
    net = world()
    r = net.recursor(cache_bytes=12_000)
    for i in range(60):
        net.plain.put("h%d" % i, A, addr("192.0.2.1"))
        net.run(r, "h%d.plain.test" % i)
        net.run(r, "h0.plain.test")
    assert len([a for a in net.asked if a[1] == "h0.plain.test"]) == 1
    n = len(net.asked)
    net.run(r, "h1.plain.test")
    assert len(net.asked) == n + 1


# Why: RFC 8914.


def _set(field, value):
    def change(net):
        setattr(net.leaf, field, value(net.leaf))

    return change


def _spoil(f):
    def change(net):
        net.leaf.spoil = f

    return change


def _unsign(zone, name, t, parts):
    for s in parts[2]:
        if s.type == A:
            s.sigs = []


def _alter(zone, name, t, parts):
    for s in parts[2]:
        if s.type == A:
            s.data = [addr("6.6.6.6")]


def _no_denial(zone, name, t, parts):
    parts[3] = [s for s in parts[3] if s.type == SOA]
    return parts


REASONS = (
    (6, "www", _spoil(_alter)),
    (7, "www", _set("expires", lambda z: z.begins + 500)),
    (8, "www", _set("begins", lambda z: z.expires - 500)),
    (9, "www", lambda net: net.leaf.sets.pop((net.leaf.name, DNSKEY))),
    (10, "www", _spoil(_unsign)),
    (12, "no", _spoil(_no_denial)),
    (23, "www", lambda net: net.dead.update((addr("10.0.2.1"), addr("10.0.2.2")))),
    (22, "www", lambda net: [net.tld.sets.pop(k) for k in list(net.tld.sets) if k[1] == A
                             and k[0].endswith(b"\x07example\x04test\x00")]),
)  # fmt: skip


def test_reasons():
    for code, host, change in REASONS:
        net = world()
        change(net)
        q = net.run(net.recursor(), host + ".example.test")
        assert q.rcode == packet.SERVFAIL and q.ede[0] == code and q.ede[1], (code, q.ede)


def test_lies_are_cheap():
    """Whatever is wrong with the leaf, a question ends within its bounds."""
    for _, host, change in REASONS:
        net = world("nsec3")
        change(net)
        net.run(net.recursor(), host + ".example.test")
        assert len(net.asked) < 40, (host, len(net.asked))
