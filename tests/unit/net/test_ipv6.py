"""net/ipv6: what is let in, fragments, extension headers, errors, and how packets leave."""

from stack.core import be
from stack.net import addr6
from stack.net.ipv6 import MULTICAST, UNICAST
from tests.unit.net.support import PEER, feed, run
from tests.unit.net.support6 import (
    G,
    H,
    check,
    datagram,
    fragment,
    icmp,
    kinds,
    know_peer,
    packet,
    pair6,
    single6,
    solicit,
)

ALL = 0x333300000001
P = addr6.parse


class Handler:
    def __init__(self, host, proto=200):
        self.got = []
        self.errors = []
        host.ip.register(proto, self)

    def on_packet(self, h, f, now):
        data = bytes(f.buf[f.off : f.end])
        assert h.length() == len(data), (h.length(), len(data))
        self.got.append((h.kind, data))

    def on_error(self, code, h, f, now):
        self.errors.append((code, h.mtu, bytes(f.buf[f.off : f.end])))


DROPS = (
    ("for another", packet(200, b"x", dst=P("2001:db8::c")[0]), "ipv6.not_ours"),
    ("a group nobody joined", packet(200, b"x", dst=P("ff02::99")[0], to=ALL), "ipv6.not_ours"),
    ("loopback from the wire", packet(200, b"x", dst=addr6.LOOPBACK), "ipv6.martian"),
    ("from loopback", packet(200, b"x", src=addr6.LOOPBACK), "ipv6.martian"),
    ("from a group", packet(200, b"x", src=P("ff02::1")[0]), "ipv6.martian"),
    ("from ourselves", packet(200, b"x", src=G), "ipv6.martian"),
    ("from nowhere", packet(200, b"x", src=bytes(16)), "ipv6.martian"),
    ("from a mapped address", packet(200, b"x", src=P("::ffff:10.0.0.1")[0]), "ipv6.martian"),
    ("to all by Ethernet, to us by IP", packet(200, b"x", to=ALL), "ipv6.link_group"),
    ("39 bytes", packet(200, b"")[:53], "ipv6.truncated"),
    ("length beyond the frame", packet(200, b"abc")[:-1], "ipv6.length"),
    ("version 4", packet(200, b"x").replace(b"\x86\xdd\x60", b"\x86\xdd\x40"), "ipv6.header"),
    ("no next header", packet(59, b"x"), "ipv6.no_next"),
    ("a chain cut off", packet(60, b"\xc8\x01\x01\x04\0\0\0\0"), "ipv6.chain"),
    ("too many headers", packet(60, b"\x3c\0\1\4\0\0\0\0" * 9), "ipv6.too_many_headers"),
    (
        "too many options",
        packet(60, b"\xc8\x02" + b"\x1e\x00" * 9 + b"\1\2\0\0"),
        "ipv6.too_many_options",
    ),
    ("an option that says drop", packet(60, b"\xc8\0\x45\0\1\2\0\0x"), "ipv6.option"),
    ("an option beyond its header", packet(60, b"\xc8\0\x05\x08\0\0\0\0x"), "ipv6.options"),
)


def test_drops():
    h, _, d = single6()
    p = Handler(h)
    for why, data, counter in DROPS:
        h.stats.drops.clear()
        feed(h, d, data)
        assert p.got == [], why
        if counter == "ipv6.martian" and why == "loopback from the wire":
            assert sum(h.stats.drops.values()) == 1, h.stats.drops
        else:
            assert h.stats.drops == {counter: 1}, (why, h.stats.drops)


WELCOME = (
    ("plain", packet(200, b"x"), UNICAST),
    ("padding of the link", packet(200, b"x") + bytes(7), UNICAST),
    ("all nodes", packet(200, b"x", dst=addr6.ALL_NODES), MULTICAST),
    ("options padded", packet(60, b"\xc8\0\1\4\0\0\0\0x"), UNICAST),
    ("router alert before it", packet(0, b"\xc8\0\5\2\0\0\1\0x"), UNICAST),
    ("an option to be skipped", packet(60, b"\xc8\0\x1e\4\0\0\0\0x"), UNICAST),
    ("routing, nothing left", packet(43, b"\xc8\0\0\0\0\0\0\0x"), UNICAST),
    ("an atomic fragment", packet(44, b"\xc8\0\0\0\0\0\0\7x"), UNICAST),
    ("eight headers", packet(60, b"\x3c\0\1\4\0\0\0\0" * 7 + b"\xc8\0\1\4\0\0\0\0x"), UNICAST),
)


def test_welcome():
    h, _, d = single6()
    p = Handler(h)
    for why, data, kind in WELCOME:
        p.got = []
        feed(h, d, data)
        feed(h, d, data)  # once by comparison with the last
        assert p.got == [(kind, b"x")] * 2, (why, p.got, h.stats.drops)


# (what, packet, code, pointer): RFC 8200, section 4.
PROBLEMS = (
    ("no such protocol", packet(201, b"x"), 1, 6),
    ("no such protocol behind options", packet(60, b"\xc9\0\1\4\0\0\0\0x"), 1, 40),
    ("hop-by-hop not first", packet(60, b"\0\0\1\4\0\0\0\0" + b"\xc8\0\1\4\0\0\0\0x"), 1, 40),
    ("routing with segments left", packet(43, b"\xc8\0\0\1\0\0\0\0x"), 0, 42),
    ("option 10", packet(60, b"\xc8\0\x85\0\1\2\0\0x"), 2, 42),
    ("option 11", packet(60, b"\xc8\0\xc5\0\1\2\0\0x"), 2, 42),
    ("jumbo", packet(0, b"\xc8\0\xc2\4\0\1\0\0x"), 2, 42),
    ("a fragment of 9 bytes and more", packet(44, fragment(200, b"123456789", 0, True)), 0, 4),
    ("a chain cut off", packet(44, fragment(60, b"\xc8\1\1\4\0\0\0\0", 0, True)), 3, 0),
)


def test_parameter_problems():
    h, _, d = single6()
    know_peer(h, d)
    Handler(h)
    for why, data, code, pointer in PROBLEMS:
        (out,) = feed(h, d, data)
        check(out)
        assert (out[54], out[55], be.get32(out, 58)) == (4, code, pointer), why
        assert out[62 : 62 + 40] == data[14:54], why


def test_problems_of_groups():
    """Code 2 of an option 10 is told even about a group, of 11 not; nor others. RFC 8200, 4.2."""
    h, _, d = single6()
    know_peer(h, d)
    dst = addr6.ALL_NODES
    assert kinds(feed(h, d, packet(60, b"\xc8\0\x85\0\1\2\0\0x", dst=dst))) == [4]
    assert feed(h, d, packet(60, b"\xc8\0\xc5\0\1\2\0\0x", dst=dst)) == []
    assert feed(h, d, packet(201, b"x", dst=dst)) == []
    assert feed(h, d, icmp(1, 0, bytes(48), dst=dst)) == []


def test_errors_are_rate_limited():
    h, _, d = single6()
    know_peer(h, d)
    n = 0
    for _ in range(80):
        n += len(feed(h, d, packet(201, b"x")))
    assert n == 50 and h.stats.get("icmp6.rate_limited") == 30


def test_no_error_about_errors():
    h, _, d = single6()
    know_peer(h, d)
    assert feed(h, d, icmp(1, 4, bytes(60))) == []
    assert feed(h, d, icmp(100, 0, bytes(60))) == []


def test_fragments_in_any_order():
    h, _, d = single6()
    p = Handler(h)
    a = packet(44, fragment(200, b"a" * 16, 0, True))
    b = packet(44, fragment(200, b"b" * 8, 16, True))
    c = packet(44, fragment(200, b"c", 24, False))
    for order in ((a, b, c), (c, b, a), (b, a, c), (a, a, c, b)):
        p.got = []
        for f in order:
            feed(h, d, f)
        assert p.got == [(UNICAST, b"a" * 16 + b"b" * 8 + b"c")], h.stats.drops


def test_overlaps_condemn():
    """RFC 5722, RFC 8200 4.5: nothing of the datagram is delivered, no error is sent."""
    first = packet(44, fragment(200, b"a" * 16, 0, True))
    for why, second in (
        ("inside", fragment(200, b"x" * 8, 8, True)),
        ("over the end", fragment(200, b"x" * 16, 8, False)),
        ("another end", fragment(200, b"x" * 8, 8, False)),
    ):
        h, _, d = single6()
        p = Handler(h)
        feed(h, d, first)
        assert feed(h, d, packet(44, second)) == []
        feed(h, d, packet(44, fragment(200, b"c", 24, False)))
        feed(h, d, packet(44, fragment(200, b"b" * 8, 16, True)))
        assert p.got == [], why
        assert h.stats.dropped("reassembly.overlap") >= 1, why


def test_an_atomic_fragment_meets_no_other():
    """RFC 6946: it is processed by itself, even when fragments of its identification wait."""
    h, _, d = single6()
    p = Handler(h)
    feed(h, d, packet(44, fragment(200, b"a" * 16, 0, True)))
    feed(h, d, packet(44, fragment(200, b"atom", 0, False)))
    assert p.got == [(UNICAST, b"atom")]


def test_a_datagram_in_fragments_reaches_udp():
    h, _, d = single6()
    ep = h.udp.open(addr6.ANY, 5000, h.clock.now)
    payload = bytes(range(256)) * 10
    data = datagram(payload)
    feed(h, d, packet(44, fragment(17, data[:1400], 0, True)))
    feed(h, d, packet(44, fragment(17, data[1400:], 1400, False)))
    buf = bytearray(4000)
    assert ep.recv_into(buf, 0, 4000) == 2560, h.stats.drops
    assert buf[:2560] == payload
    assert h.ip6.addresses.bytes(ep.peer_addr) == H and ep.peer_port == 4000


def test_the_rest_that_never_comes():
    """RFC 8200, 4.5: after 60 seconds time exceeded, code 1, if the first fragment is there."""
    h, _, d = single6()
    know_peer(h, d)
    feed(h, d, packet(44, fragment(200, b"a" * 16, 0, True)))
    run(h.clock, 61_000_000, h)
    out = [f for f in d.take() if f[54] == 3]
    assert len(out) == 1 and out[0][55] == 1
    check(out[0])


def test_echo():
    h, _, d = single6()
    know_peer(h, d)
    (out,) = feed(h, d, icmp(128, 0, b"\0\1\0\2hello", hops=64))
    check(out)
    assert out[54:] [4:] == b"\0\1\0\2hello" and out[54] == 129
    assert out[22:38] == G and out[38:54] == H
    (out,) = feed(h, d, icmp(128, 0, b"\0\1\0\2", dst=addr6.ALL_NODES))
    assert out[54] == 129 and out[22:38] == G


def test_a_bad_checksum():
    h, _, d = single6()
    data = bytearray(icmp(128, 0, b"\0\1\0\2"))
    data[-1] ^= 1
    assert feed(h, d, bytes(data)) == []
    assert h.stats.drops == {"icmp6.checksum": 1}


def test_ping_of_a_pair_of_every_size():
    a, b = pair6()
    dst = a.ip6.addresses.handle(H)
    for n in (0, 1, 56, 1452, 1453, 4000, 60000):
        p = a.icmp.ping(dst)
        p.send(n, a.clock.now)
        run(a.clock, 100_000, a, b)
        assert p.rtt_us >= 0 and p.size == n and p.ttl == 64, (n, a.stats.drops, b.stats.drops)
        p.close()


def test_link_local_addresses_have_zones():
    a, b = pair6()
    peer = b.interfaces[1].auto.link_local()
    raw = addr6.with_zone(peer.raw, a.interfaces[1].index)
    p = a.icmp.ping(a.ip6.addresses.handle(raw))
    p.send(8, a.clock.now)
    run(a.clock, 100_000, a, b)
    assert p.rtt_us >= 0
    # On an interface that is not there: no way.
    assert a.ip.path(a.ip6.addresses.handle(addr6.with_zone(peer.raw, 9))) is None


def test_packet_too_big():
    """RFC 8201: lowers the MTU of a path in use to what is said, not below 1,280."""
    h, _, d = single6(gateway=P("fe80::1")[0])
    know_peer(h, d)
    p = Handler(h)
    dst = h.ip6.addresses.handle(H)
    path = h.ip.path(dst)
    assert path.mtu == 1500
    quote = packet(200, b"12345678", src=G, dst=H)[14:]
    feed(h, d, icmp(2, 0, (1400).to_bytes(4, "big") + quote))
    assert [e[:2] for e in p.errors] == [(90, 1400)]
    assert path.follow(h.clock.now) and path.mtu == 1400
    feed(h, d, icmp(2, 0, (600).to_bytes(4, "big") + quote))
    assert path.follow(h.clock.now) and path.mtu == 1280
    # About a destination that we do not send to: not believed.
    other = packet(200, b"12345678", src=G, dst=P("2001:db8::77")[0])[14:]
    h.stats.drops.clear()
    feed(h, d, icmp(2, 0, (1300).to_bytes(4, "big") + other))
    assert h.stats.drops == {"icmp6.bad_quote": 1}
    # RFC 8201, section 4: forgotten after ten minutes.
    run(h.clock, 601_000_000, h)
    assert path.follow(h.clock.now) and path.mtu == 1500


def test_udp_errors_reach_a_connected_endpoint():
    a, b = pair6()
    ep = a.udp.open(addr6.ANY, 0, a.clock.now)
    ep.connect(a.ip6.addresses.handle(H), 9)
    ep.send_to(b"x", 0, 1, 0, 0, a.clock.now)
    run(a.clock, 100_000, a, b)
    assert ep.error == 111, (a.stats.drops, b.stats.drops)


def test_dual_stack_udp():
    a, b = pair6()
    a.configure(a.interfaces[1], "static", a.clock.now, 0x0A00000A, 24)
    b.configure(b.interfaces[1], "static", b.clock.now, 0x0A00000B, 24)
    ep = b.udp.open(addr6.ANY, 7, b.clock.now, dual=True)
    four = a.udp.open(0, 0, a.clock.now)
    six = a.udp.open(addr6.ANY, 0, a.clock.now)
    four.send_to(b"four", 0, 4, 0x0A00000B, 7, a.clock.now)
    six.send_to(b"six", 0, 3, a.ip6.addresses.handle(H), 7, a.clock.now)
    run(a.clock, 100_000, a, b)
    buf = bytearray(10)
    got = set()
    while ep.recv_into(buf, 0, 10) >= 0:
        got.add((bytes(buf[: ep.length]), ep.peer_addr))
    assert got == {(b"four", 0x0A00000A), (b"six", b.ip6.addresses.handle(G))}
    only = b.udp.open(addr6.ANY, 8, b.clock.now)
    four.send_to(b"four", 0, 4, 0x0A00000B, 8, a.clock.now)
    run(a.clock, 100_000, a, b)
    assert only.recv_into(buf, 0, 10) == -1


def test_tcp_of_a_pair():
    a, b = pair6()
    l = b.tcp.listen(addr6.ANY, 80, 5, b.clock.now)
    c = a.tcp.connect(a.ip6.addresses.handle(H), 80, a.clock.now)
    run(a.clock, 1_000_000, a, b)
    s = l.accept()
    assert s is not None, (a.stats.drops, b.stats.drops)
    assert s.mss == 1428 and b.ip6.addresses.bytes(s.remote_addr) == G
    data = bytes(range(256)) * 200
    sent = c.send(data, 0, len(data), a.clock.now)
    buf = bytearray(len(data))
    got = 0
    for _ in range(200):
        run(a.clock, 10_000, a, b)
        got += s.recv_into(buf, got, len(buf) - got, b.clock.now)
        sent += c.send(data, sent, len(data) - sent, a.clock.now)
        if got == len(data):
            break
    assert got == len(data) and buf == data
    for f in a.interfaces[1].device.take()[:40]:
        if f[12:14] == b"\x86\xdd":
            check(f)


def test_tcp_refused():
    a, b = pair6()
    c = a.tcp.connect(a.ip6.addresses.handle(H), 81, a.clock.now)
    run(a.clock, 1_000_000, a, b)
    assert c.error == 111


def test_tcp_of_the_loopback():
    h, _, _ = single6()
    l = h.tcp.listen(addr6.ANY, 80, 5, h.clock.now)
    c = h.tcp.connect(h.ip6.addresses.handle(addr6.LOOPBACK), 80, h.clock.now)
    d = h.tcp.connect(h.ip6.addresses.handle(G), 80, h.clock.now)
    run(h.clock, 1_000_000, h)
    assert l.accept() is not None and l.accept() is not None, h.stats.drops
    assert c.events() & 4 and d.events() & 4


def test_a_dual_listener_hears_both():
    a, b = pair6()
    a.configure(a.interfaces[1], "static", a.clock.now, 0x0A00000A, 24)
    b.configure(b.interfaces[1], "static", b.clock.now, 0x0A00000B, 24)
    l = b.tcp.listen(addr6.ANY, 80, 5, b.clock.now, dual=True)
    a.tcp.connect(0x0A00000B, 80, a.clock.now)
    a.tcp.connect(a.ip6.addresses.handle(H), 80, a.clock.now)
    run(a.clock, 2_000_000, a, b)
    assert {l.accept().remote_addr for _ in range(2)} == {
        0x0A00000A, b.ip6.addresses.handle(G)
    }  # fmt: skip
    # And its port is taken for IPv4, which that of one without `dual` is not.
    for port, fails in ((80, True), (81, False)):
        if port == 81:
            b.tcp.listen(addr6.ANY, 81, 5, b.clock.now)
        try:
            b.tcp.listen(0, port, 5, b.clock.now)
            assert not fails
        except OSError as e:
            assert fails and e.args[0] == 98


def test_the_neighbour_that_does_not_answer():
    h, _, d = single6()
    ep = h.udp.open(addr6.ANY, 0, h.clock.now)
    ep.connect(h.ip6.addresses.handle(P("2001:db8::dead")[0]), 9)
    ep.send_to(b"x", 0, 1, 0, 0, h.clock.now)
    run(h.clock, 5_000_000, h)
    assert kinds(d.take()) == [135, 135, 135]
    assert ep.error == 113


def test_solicited():
    h, _, d = single6()
    (out,) = feed(h, d, icmp(135, 0, solicit(), dst=addr6.solicited_node(G)))
    check(out)
    assert out[54] == 136 and out[58] == 0x60 and out[62:78] == G
    assert out[0:6] == PEER.to_bytes(6, "big")
