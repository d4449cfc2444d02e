"""net/slaac: addresses made, checked, aged (RFC 4862, 7217, 8981); routers (4861, 4191, 8106)."""

from stack.core import be
from stack.core.timers import NEVER
from stack.net import addr6, slaac
from tests.unit.net.support import PEER, Wire, feed, host, run
from tests.unit.net.support6 import (
    ROUTER,
    advert,
    check,
    icmp,
    kinds,
    pair6,
    single6,
    solicit,
)

P = addr6.parse
PREFIX = P("2001:db8:5::")[0]
SEC = 1_000_000


def prefix(raw=PREFIX, length=64, flags=0xC0, valid=7200 * 4, preferred=3600):
    b = bytearray(32)
    b[0:4] = bytes((3, 4, length, flags))
    be.put32(b, 4, valid)
    be.put32(b, 8, preferred)
    b[16:32] = raw
    return bytes(b)


def ra(options=b"", lifetime=1800, hops=64, flags=0, src=ROUTER, reachable=0, retrans=0):
    body = bytearray(12)
    body[0] = hops
    body[1] = flags
    be.put16(body, 2, lifetime)
    be.put32(body, 4, reachable)
    be.put32(body, 8, retrans)
    return icmp(134, 0, bytes(body) + options, src=src, dst=addr6.ALL_NODES, sender=PEER)


def auto(temporary=False, settle=True):
    d = Wire()
    h = host(d)
    h.ip6.temporary = temporary
    i = h.interfaces[1]
    h.configure6(i, "auto", h.clock.now)
    if settle:
        run(h.clock, 3 * SEC, h)
        d.take()
    return h, i, d


def addresses(i, origin=None):
    return [a for a in i.auto.addresses if origin is None or a.origin == origin]


def test_the_beginning():
    h, i, d = auto(settle=False)
    h.poll(h.clock.now)
    run(h.clock, 900_000, h)
    first = d.take()
    for f in first:
        check(f)
    # Groups are said, an address is probed, a router asked for, all from the unspecified one.
    assert sorted(set(kinds(first))) == [133, 135, 143]
    assert {f[22:38] for f in first} == {bytes(16)}
    assert addresses(i)[0].state == slaac.TENTATIVE and i.auto.link_local() is None
    run(h.clock, 200_000, h)
    a = i.auto.link_local()
    assert a is not None and addr6.is_link_local(a.raw)
    # RFC 7217: not made of the MAC address.
    assert a.raw[8:] != b"\0\0\0\xff\xfe\0\0\x0a"
    again = d.take()
    assert 133 in kinds(again)
    assert [f[22:24] for f in again if f[54] == 133] == [b"\xfe\x80"]


def test_solicitations_slow_down():
    h, i, d = auto()
    n = 0
    for _ in range(3):
        run(h.clock, 60 * SEC, h)
        n += kinds(d.take()).count(133)
    assert 4 <= n <= 6  # 4, 8, 16, 32, 64 s apart
    feed(h, d, ra())
    run(h.clock, 100 * SEC, h)
    assert kinds(d.take()).count(133) == 0


def test_an_address_of_an_advertised_prefix():
    h, i, d = auto()
    feed(h, d, ra(prefix()))
    (a,) = addresses(i, "auto")
    assert a.state == slaac.TENTATIVE and a.raw[:8] == PREFIX[:8] and a.length == 64
    run(h.clock, 1_200_000, h)
    assert a.state == slaac.PREFERRED
    # Stable: the same after the interface began anew, another for another prefix.
    raw = a.raw
    h.configure6(i, "auto", h.clock.now)
    feed(h, d, ra(prefix() + prefix(P("2001:db8:6::")[0])))
    b, c = addresses(i, "auto")
    assert b.raw == raw and c.raw[8:] != raw[8:]
    # The router is the way out, the prefix is on the link.
    route = h.ip6.routes.lookup(P("2001:db8:9::1")[0])
    assert route.gateway_raw[8:] == ROUTER[8:]
    assert h.ip6.routes.lookup(P("2001:db8:5::77")[0]).gateway == 0


def test_prefixes_that_are_ignored():
    for why, option in (
        ("link-local", prefix(P("fe80::")[0])),
        ("preferred beyond valid", prefix(valid=10, preferred=11)),
        ("of 48 bits", prefix(length=48)),
        ("not autonomous", prefix(flags=0x80)),
        ("valid for no time", prefix(valid=0, preferred=0)),
        ("a group", prefix(addr6.ALL_NODES)),
        ("of 129 bits", prefix(length=129)),
    ):
        h, i, d = auto()
        feed(h, d, ra(option))
        assert addresses(i, "auto") == [], why


def test_lifetimes():
    h, i, d = auto()
    feed(h, d, ra(prefix(valid=20_000, preferred=100)))
    run(h.clock, 50 * SEC, h)
    (a,) = addresses(i, "auto")
    assert a.state == slaac.PREFERRED
    run(h.clock, 60 * SEC, h)
    assert a.state == slaac.DEPRECATED and h.ip6.is_local(a.addr)
    feed(h, d, ra(prefix(valid=20_000, preferred=100)))
    assert a.state == slaac.PREFERRED
    run(h.clock, 20_001 * SEC, h)
    assert addresses(i, "auto") == [] and not h.ip6.is_local(a.addr)
    assert h.ip6.routes.lookup(PREFIX) is None or h.ip6.routes.lookup(PREFIX).length == 0


# RFC 4862, section 5.5.3 (e): (left, said) -> left, in seconds.
TWO_HOURS = (
    ("longer than two hours", 20_000, 9_000, 9_000),
    ("longer than what is left", 1_000, 5_000, 5_000),
    ("forged, much left", 20_000, 10, 7_200),
    ("forged, little left", 5_000, 10, 5_000),
    ("for ever", 20_000, 0xFFFFFFFF, None),
)


def test_two_hours():
    for why, left, said, then in TWO_HOURS:
        h, i, d = auto()
        feed(h, d, ra(prefix(valid=left, preferred=1)))
        feed(h, d, ra(prefix(valid=said, preferred=1)))
        (a,) = addresses(i, "auto")
        until = NEVER if then is None else h.clock.now + then * SEC
        assert a.valid_until == until, why


def taken(raw):
    return icmp(136, 0, advert(target=raw, flags=0x20), dst=addr6.ALL_NODES)


def probed(raw):
    group = addr6.solicited_node(raw)
    return icmp(135, 0, solicit(target=raw)[:20], src=bytes(16), dst=group)


def test_a_duplicate():
    """RFC 4862, 5.4.3 and 5.4.4: an answer, or another probe, and it is not used."""
    for why, make in (("an advertisement", taken), ("another's probe", probed)):
        h, i, d = single6(mode="none")
        h.configure6(i, "static", h.clock.now, P("2001:db8::5")[0], 64)
        h.poll(h.clock.now)
        run(h.clock, 500_000, h)
        feed(h, d, make(P("2001:db8::5")[0]))
        run(h.clock, 5 * SEC, h)
        a = addresses(i, "static")[0]
        assert a.state == slaac.DUPLICATE, (why, h.stats.drops)
        assert not h.ip6.is_local(a.addr), why
        assert h.stats.dropped("slaac.duplicate") == 1, why


def test_a_stable_address_that_is_taken_is_made_anew():
    """RFC 7217, section 6: the next counter, until there are three."""
    h, i, d = auto()
    feed(h, d, ra(prefix()))
    seen = set()
    for _ in range(4):
        found = addresses(i, "auto")
        if not found or found[0].state == slaac.DUPLICATE:
            break
        run(h.clock, 500_000, h)
        seen.add(found[0].raw)
        raw = found[0].raw
        feed(h, d, taken(raw))
    assert len(seen) == 3
    run(h.clock, 5 * SEC, h)
    assert addresses(i, "auto")[0].state == slaac.DUPLICATE


def test_two_hosts_with_one_address():
    """Both begin at the same time: one at most uses it; one after the other: the first keeps it."""
    x = P("2001:db8::1")[0]
    a, b = pair6(x, x)
    assert sorted([addresses(h.interfaces[1], "static")[0].state for h in (a, b)]) == [-1, 1]
    a, b = pair6(x)
    b.configure6(b.interfaces[1], "static", b.clock.now, x, 64)
    run(a.clock, 3 * SEC, a, b)
    assert addresses(a.interfaces[1], "static")[0].state == slaac.PREFERRED
    assert addresses(b.interfaces[1], "static")[0].state == slaac.DUPLICATE


def test_temporary_addresses():
    h, i, d = auto(temporary=True)
    feed(h, d, ra(prefix(valid=10 * 86400, preferred=5 * 86400)))
    run(h.clock, 2 * SEC, h)
    (t,) = addresses(i, "temp")
    (s,) = addresses(i, "auto")
    assert t.raw[8:] != s.raw[8:]
    # RFC 8981, 3.8: a day at most, less a random part of it; preferred as a source (RFC 6724).
    left = t.preferred_until - h.clock.now
    assert 0.5 * 86400 * SEC < left <= 86400 * SEC
    path = h.ip.path(h.ip6.addresses.handle(P("2001:db8:9::1")[0]))
    assert path.src == t.addr
    h.clock.now = t.preferred_until - 4 * SEC
    run(h.clock, 2 * SEC, h)
    assert len(addresses(i, "temp")) == 2
    run(h.clock, 5 * SEC, h)
    old, new = addresses(i, "temp")
    feed(h, d, ra())
    assert (old.state, new.state) == (slaac.DEPRECATED, slaac.PREFERRED) and new.raw != old.raw
    path = h.ip.path(h.ip6.addresses.handle(P("2001:db8:9::1")[0]))
    assert path.src == new.addr


def test_routers_by_preference_and_silence():
    """RFC 4191: high before medium; RFC 4861, 6.3.6: one that answers before one that does not."""
    h, i, d = auto()
    low = P("fe80::aa")[0]
    high = P("fe80::bb")[0]
    feed(h, d, ra(prefix(), flags=0x18, src=low))
    feed(h, d, ra(flags=0x08, src=high))
    dst = P("2001:db8:9::1")[0]
    assert h.ip6.routes.lookup(dst).gateway_raw[15] == 0xBB
    run(h.clock, 2 * SEC, h)
    # The better one falls silent: three unanswered solicitations, and the other is used.
    r = h.ip6.routes.lookup(dst)
    e = i.nd.neighbor6(r.gateway, r.gateway_raw, h.clock.now)
    i.nd._ask(e, 4, h.clock.now)
    run(h.clock, 3_100_000, h)
    assert h.ip6.routes.lookup(dst).gateway_raw[15] == 0xAA
    # A lifetime of 0 ends it.
    feed(h, d, ra(lifetime=0, src=low))
    assert h.ip6.routes.lookup(dst).gateway_raw[15] == 0xBB


def test_a_router_that_becomes_a_host():
    h, i, d = auto()
    feed(h, d, ra(b"\1\1" + PEER.to_bytes(6, "big")))
    assert len(i.auto.routers) == 1
    feed(h, d, icmp(136, 0, advert(target=ROUTER, flags=0x20), src=ROUTER, dst=addr6.ALL_NODES))
    assert i.auto.routers == {} and h.ip6.routes.default(i) is None


def route_info(raw, length, flags, lifetime):
    b = bytearray(16)
    b[0:4] = bytes((24, 2, length, flags))
    be.put32(b, 4, lifetime)
    b[8:16] = raw[:8]
    return bytes(b)


def test_routes():
    """RFC 4191, section 2.3."""
    h, i, d = auto()
    net = P("2001:db8:7::")[0]
    feed(h, d, ra(prefix() + route_info(net, 48, 0, 600), lifetime=0))
    r = h.ip6.routes.lookup(P("2001:db8:7::1")[0])
    assert r.length == 48 and h.ip6.routes.lookup(P("2001:db8:8::1")[0]) is None
    feed(h, d, ra(route_info(net, 48, 0x10, 600), lifetime=0))  # reserved: ignored
    run(h.clock, 601 * SEC, h)
    assert h.ip6.routes.lookup(P("2001:db8:7::1")[0]) is None


def rdnss(seconds, *servers):
    b = bytearray(8)
    b[0:2] = bytes((25, 1 + 2 * len(servers)))
    be.put32(b, 4, seconds)
    return bytes(b) + b"".join(servers)


def dnssl(seconds, *names):
    b = bytearray(8)
    be.put32(b, 4, seconds)
    text = b""
    for name in names:
        for label in name.split("."):
            text += bytes((len(label),)) + label.encode()
        text += b"\0"
    text += bytes(-len(text) % 8)
    b[0:2] = bytes((31, 1 + len(text) // 8))
    return bytes(b) + text


def test_name_servers_and_search_domains():
    """RFC 8106."""
    h, i, d = auto()
    s = P("2001:db8::53")[0]
    feed(h, d, ra(rdnss(100, s, P("fe80::53")[0]) + dnssl(100, "a.test", "b.test")))
    assert s in i.auto.servers and len(i.auto.servers) == 2
    assert sorted(i.auto.search) == ["a.test", "b.test"]
    feed(h, d, ra(rdnss(0, s)))
    assert s not in i.auto.servers
    run(h.clock, 101 * SEC, h)
    assert i.auto.servers == {} and i.auto.search == {}
    for bad in (b"\x19\2" + bytes(14), b"\x1f\2\0\0\0\0\0\x64\x09abc\0\0\0\0"):
        feed(h, d, ra(bad))
        assert i.auto.servers == {} and i.auto.search == {}


def test_other_things_that_routers_say():
    h, i, d = auto()
    feed(h, d, ra(b"\5\1\0\0\0\0\5\x78", hops=33, reachable=10_000, retrans=500, flags=0xC0))
    assert (i.mtu6, i.auto.hops, i.nd.retry_us) == (1400, 33, 500_000)
    assert 5_000_000 <= i.nd.reachable_us <= 15_000_000
    assert i.auto.managed and i.auto.other
    feed(h, d, ra(b"\5\1\0\0\0\0\0\x78"))
    assert i.mtu6 == 1400  # 120 is below the minimum of 1,280
    feed(h, d, ra(b"\5\1\0\0\0\0\x23\x28"))
    assert i.mtu6 == 1400  # 9,000 beyond the device's


def test_limits():
    h, i, d = auto()
    many = b"".join([prefix(P("2001:db8:%x::" % n)[0]) for n in range(40)])
    for n in range(40):
        feed(h, d, ra(many[32 * n : 32 * n + 32], src=P("fe80::%x" % (n + 1))[0]))
    assert len(i.auto.addresses) <= 16 and len(i.auto.routers) <= 8
    feed(h, d, ra(b"".join([rdnss(9, P("2001:db8::%x" % n)[0]) for n in range(1, 40)])))
    assert len(i.auto.servers) <= 8
    assert len(h.ip6.routes) <= 16 + 16 + 8 + 8


def test_the_link_comes_back():
    h, i, d = auto()
    feed(h, d, ra(prefix()))
    run(h.clock, 2 * SEC, h)
    d.link_up = False
    run(h.clock, SEC, h)
    d.link_up = True
    d.take()
    run(h.clock, 100_000, h)
    assert addresses(i, "auto")[0].state == slaac.TENTATIVE
    run(h.clock, 2 * SEC, h)
    assert addresses(i, "auto")[0].state == slaac.PREFERRED
    assert {133, 135} <= set(kinds(d.take()))


def test_none_forgets_all():
    h, i, d = auto()
    feed(h, d, ra(prefix() + rdnss(100, P("2001:db8::53")[0])))
    run(h.clock, 2 * SEC, h)
    h.configure6(i, "none", h.clock.now)
    assert i.auto.addresses == [] and h.ip6.own == [] and i.mld.members == {}
    assert [r for r in h.ip6.routes if r.iface is i] == []
    assert feed(h, d, ra(prefix())) == [] and i.auto.addresses == []
