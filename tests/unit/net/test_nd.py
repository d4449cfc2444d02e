"""net/nd: resolution, unreachability detection (RFC 4861, 7), redirects (8)."""

from stack.core import be
from stack.link.neighbors import DELAY, INCOMPLETE, PROBE, REACHABLE, STALE
from stack.net import addr6
from tests.unit.net.support import PEER, feed, run
from tests.unit.net.support6 import (
    ROUTER,
    G,
    H,
    advert,
    check,
    icmp,
    kinds,
    know_peer,
    packet,
    single6,
    solicit,
)

OTHER = 0x0200000000CC


def entry(h, raw=H):
    i = h.interfaces[1]
    return i.nd._by_addr.get(h.ip6.addresses.number(raw, 0, i.index))


def say(h, n=1):
    """Send a datagram to H."""
    ep = h.udp.open(addr6.ANY, 0, h.clock.now)
    for _ in range(n):
        ep.send_to(b"x", 0, 1, h.ip6.addresses.handle(H), 9, h.clock.now)
    ep.close()
    h.poll(h.clock.now)


def test_resolution():
    h, _, d = single6()
    say(h, 2)
    (out,) = d.take()
    check(out)
    # To the solicited-node group, from an address of ours, with our MAC in it.
    assert out[54] == 135 and out[38:54] == addr6.solicited_node(H) and out[21] == 255
    assert out[62:78] == H and out[78:80] == b"\1\1" and out[80:86] == out[6:12]
    frames = feed(h, d, icmp(136, 0, advert()))
    assert [f[20] for f in frames] == [17, 17]
    assert entry(h).state == REACHABLE


def test_an_advertisement_without_an_address_resolves_nothing():
    h, _, d = single6()
    say(h)
    d.take()
    assert feed(h, d, icmp(136, 0, advert()[:20])) == []
    assert entry(h).state == INCOMPLETE


def test_unreachability():
    """REACHABLE -> STALE by time -> DELAY in use -> PROBE -> gone. RFC 4861, section 7.3.2."""
    h, _, d = single6()
    know_peer(h, d)
    e = entry(h)
    assert e.state == REACHABLE
    run(h.clock, 46_000_000, h)  # at most 1.5 * 30 s
    say(h)
    assert [f[20] for f in d.take()] == [17] and e.state == DELAY
    run(h.clock, 5_100_000, h)
    (out,) = d.take()
    assert e.state == PROBE and out[54] == 135 and out[0:6] == PEER.to_bytes(6, "big")
    run(h.clock, 2_000_000, h)
    assert kinds(d.take()) == [135, 135]
    run(h.clock, 1_100_000, h)
    say(h)
    assert d.take() == []  # refused for a second
    run(h.clock, 3_000_000, h)
    say(h)
    assert kinds(d.take()) == [135]


def test_an_answer_to_the_probe():
    h, _, d = single6()
    know_peer(h, d)
    run(h.clock, 46_000_000, h)
    say(h)
    run(h.clock, 5_100_000, h)
    feed(h, d, icmp(136, 0, advert(), dst=G))
    assert entry(h).state == REACHABLE


# (flags, mac) of an advertisement to a REACHABLE entry -> (state, mac). RFC 4861, 7.2.5.
ADVERTS = (
    ("solicited, same", 0x40, PEER, REACHABLE, PEER),
    ("unsolicited, same", 0x00, PEER, REACHABLE, PEER),
    ("solicited, other, no override", 0x40, OTHER, STALE, PEER),
    ("solicited, other, override", 0x60, OTHER, REACHABLE, OTHER),
    ("unsolicited, other, override", 0x20, OTHER, STALE, OTHER),
)


def test_advertisements():
    for why, flags, mac, state, then in ADVERTS:
        h, _, d = single6()
        know_peer(h, d)
        feed(h, d, icmp(136, 0, advert(mac, H, flags)))
        e = entry(h)
        assert (e.state, e.mac) == (state, then), why


def test_a_solicitation_teaches():
    h, _, d = single6()
    feed(h, d, icmp(135, 0, solicit(), dst=addr6.solicited_node(G)))
    assert (entry(h).state, entry(h).mac) == (STALE, PEER)
    feed(h, d, icmp(135, 0, solicit(OTHER), dst=addr6.solicited_node(G)))
    assert (entry(h).state, entry(h).mac) == (STALE, OTHER)


MALFORMED = (
    ("has crossed a router", icmp(135, 0, solicit(), hops=254), "nd.hops"),
    ("code 1", icmp(135, 1, solicit()), "nd.hops"),
    ("short", icmp(135, 0, solicit()[:16]), "nd.malformed"),
    ("an option of length 0", icmp(135, 0, solicit()[:20] + b"\1\0\0\0\0\0\0\0"), "nd.malformed"),
    ("an option cut off", icmp(135, 0, solicit()[:20] + b"\1\2\0\0\0\0\0\0"), "nd.malformed"),
    ("of a group", icmp(135, 0, solicit(target=addr6.ALL_NODES)), "nd.malformed"),
    (
        "a probe with an address",
        icmp(135, 0, solicit(), src=bytes(16), dst=addr6.solicited_node(G)),
        "nd.malformed",
    ),
    ("a probe to us", icmp(135, 0, solicit()[:20], src=bytes(16)), "nd.malformed"),
    ("solicited, to all", icmp(136, 0, advert(), dst=addr6.ALL_NODES), "nd.malformed"),
    ("a group's MAC", icmp(135, 0, solicit(0x010000000001)), "nd.group_mac"),
    ("a router that is global", icmp(134, 0, bytes(12)), "nd.router_source"),
)


def test_malformed():
    for why, data, counter in MALFORMED:
        h, _, d = single6()
        feed(h, d, data)
        assert h.stats.drops == {counter: 1}, (why, h.stats.drops)
        if counter != "nd.group_mac":
            assert entry(h) is None, why


def test_an_unsolicited_advertisement_makes_no_entry():
    h, _, d = single6()
    feed(h, d, icmp(136, 0, advert(), dst=G))
    assert entry(h) is None


def redirect(target, dst, hops=255, src=ROUTER):
    body = bytearray(44)
    body[4:20] = target
    body[20:36] = dst
    body[36:38] = b"\2\1"
    be.put16(body, 38, OTHER >> 32)
    be.put32(body, 40, OTHER & 0xFFFFFFFF)
    return icmp(137, 0, bytes(body), src=src, dst=G, hops=hops)


FAR = addr6.parse("2001:db8:1::1")[0]
BETTER = addr6.parse("fe80::2")[0]


def routed():
    """A host with a router whose MAC address is known, and a path through it."""
    h, i, d = single6(gateway=ROUTER)
    path = h.ip.path(h.ip6.addresses.handle(FAR))
    path.follow(h.clock.now)
    return h, i, d, path


def out_to(h, d):
    ep = h.udp.open(addr6.ANY, 0, h.clock.now)
    ep.send_to(b"x", 0, 1, h.ip6.addresses.handle(FAR), 9, h.clock.now)
    ep.close()
    h.poll(h.clock.now)
    return d.take()


def test_a_redirect():
    h, _, d, path = routed()
    feed(h, d, redirect(BETTER, FAR))
    assert h.stats.get("nd.redirects") == 1, h.stats.drops
    (out,) = out_to(h, d)
    assert out[0:6] == OTHER.to_bytes(6, "big") and out[38:54] == FAR


def test_redirects_that_are_refused():
    for why, data in (
        ("not of our router", redirect(BETTER, FAR, src=addr6.parse("fe80::3")[0])),
        ("from afar", redirect(BETTER, FAR, hops=64)),
        ("to a global address", redirect(H, FAR)),
        ("of a group", redirect(BETTER, addr6.ALL_NODES)),
        ("of what we send nothing to", redirect(BETTER, addr6.parse("2001:db8:2::1")[0])),
    ):
        h, _, d, path = routed()
        feed(h, d, data)
        assert h.stats.get("nd.redirects") == 0, why
        assert sum(h.stats.drops.values()) == 1, why


def test_the_table_is_bounded():
    h, i, d = single6()
    for n in range(1000):
        src = addr6.parse("2001:db8::1:%x" % (n + 1))[0]
        feed(h, d, icmp(135, 0, solicit(), src=src, dst=addr6.solicited_node(G)))
    assert len(i.nd.entries()) <= 256


def test_no_room_for_a_flood_of_packets_to_the_silent():
    h, i, d = single6()
    say(h, 100)
    assert i.nd._queued <= 16
    assert h.stats.dropped("nd.queue_full") == 84
    assert packet(17, b"") is not None
