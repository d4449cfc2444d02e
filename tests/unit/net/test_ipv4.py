"""net/ipv4: what is let in, and how packets find their way out."""

from stack.core import be, checksum
from stack.net.ipv4 import BROADCAST, MULTICAST, UNICAST
from stack.wire import ethernet
from tests.unit.net.support import (
    GW,
    OURS,
    PEER,
    A,
    B,
    Wire,
    feed,
    host,
    ip_packet,
    ready,
    single,
    udp_datagram,
)

ALL = ethernet.BROADCAST


class Handler:
    """Keeps what it is given: (src, dst, kind, payload)."""

    def __init__(self, ip, proto=200):
        self.got = []
        self.errors = []
        ip.register(proto, self)

    def on_packet(self, h, f, now):
        data = bytes(f.buf[f.off : f.end])
        assert h.length() == len(data)
        self.got.append((h.src, h.dst, h.kind, data))

    def on_error(self, code, h, f, now):
        self.errors.append((code, h.src, h.dst, h.mtu, bytes(f.buf[f.off : f.end])))


DROPS = (
    ("for another", ip_packet(200, b"x", dst=B), "ipv4.not_ours"),
    ("for the network address", ip_packet(200, b"x", dst=0x0A000000), "ipv4.not_ours"),
    ("for a group that nobody joined", ip_packet(200, b"x", dst=0xE0000009), "ipv4.not_ours"),
    ("for loopback, from the wire", ip_packet(200, b"x", dst=0x7F000001), "ipv4.not_ours"),
    ("from loopback", ip_packet(200, b"x", src=0x7F000001), "ipv4.martian"),
    ("from a group", ip_packet(200, b"x", src=0xE0000001), "ipv4.martian"),
    ("from class E", ip_packet(200, b"x", src=0xF0000001), "ipv4.martian"),
    ("from broadcast", ip_packet(200, b"x", src=0xFFFFFFFF), "ipv4.martian"),
    ("from our subnet's broadcast", ip_packet(200, b"x", src=0x0A0000FF), "ipv4.martian"),
    ("from ourselves", ip_packet(200, b"x", src=A), "ipv4.martian"),
    ("from 0.0.0.0", ip_packet(200, b"x", src=0), "ipv4.martian"),
    ("from 0.1.2.3", ip_packet(200, b"x", src=0x00010203), "ipv4.martian"),
    ("to everyone by Ethernet, to us by IP", ip_packet(200, b"x", to=ALL), "ipv4.link_broadcast"),
    (
        "source route",
        ip_packet(200, b"x", options=b"\x83\x07\x04\x0a\x00\x00\x01\x00"),
        "ipv4.source_route",
    ),
    ("bad option", ip_packet(200, b"x", options=b"\x07\x00\x00\x00"), "ipv4.options"),
    ("no such protocol", ip_packet(201, b"x"), "ipv4.protocol"),
)


def test_drops():
    for why, data, counter in DROPS:
        h, _, d = ready()
        p = Handler(h.ip)
        feed(h, d, data)
        assert p.got == [], why
        assert h.stats.drops == {counter: 1}, (why, h.stats.drops)


WELCOME = (
    ("plain", ip_packet(200, b"x"), UNICAST),
    ("TTL 0 is the forwarder's business", ip_packet(200, b"x", ttl=0), UNICAST),
    ("options", ip_packet(200, b"x", options=b"\x07\x07\x04\x00\x00\x00\x00\x00"), UNICAST),
    ("broadcast", ip_packet(200, b"x", dst=0xFFFFFFFF, to=ALL), BROADCAST),
    ("subnet broadcast", ip_packet(200, b"x", dst=0x0A0000FF, to=ALL), BROADCAST),
    ("no address yet", ip_packet(200, b"x", src=0, dst=0xFFFFFFFF, to=ALL), BROADCAST),
    ("padding", ip_packet(200, b"x") + bytes(20), UNICAST),
)


def test_welcome():
    for why, data, kind in WELCOME:
        h, _, d = ready()
        p = Handler(h.ip)
        feed(h, d, data)
        assert [(g[2], g[3]) for g in p.got] == [(kind, b"x")], (why, h.stats.drops)


def test_a_joined_group():
    h, iface, d = ready()
    p = Handler(h.ip)
    group = 0xE0000005
    mac = ethernet.multicast_mac(group)
    iface.link.join(mac)
    h.ip.join(group)
    data = ip_packet(200, b"x", dst=group, to=mac)
    feed(h, d, data)
    assert p.got == [(B, group, MULTICAST, b"x")]
    h.ip.leave(group)
    feed(h, d, data)
    assert len(p.got) == 1


def test_every_truncation():
    h, _, d = ready()
    p = Handler(h.ip)
    data = ip_packet(200, b"abcdefgh", options=b"\x01\x01\x01\x01")
    for n in range(14, len(data)):
        feed(h, d, data[:n])
    assert p.got == []
    assert sum(h.stats.drops.values()) == len(data) - 14


def output(h, path, payload, proto=200):
    f = h.pool.get()
    f.buf[f.off : f.off + len(payload)] = payload
    f.end += len(payload)
    if not path.output(f, proto, h.clock.now):
        f.release()
        return False
    return True


def test_output():
    h, iface, d = ready()
    d.take()
    path = h.ip.path(B)
    assert (path.src, path.dst, path.mtu, path.kind) == (A, B, 1500, UNICAST)
    assert output(h, path, b"hello")
    (data,) = d.take()
    assert ethernet.get_mac(data, 0) == PEER and ethernet.get_mac(data, 6) == OURS
    assert be.get16(data, 12) == 0x0800
    assert checksum.valid(data, 14, 20)
    assert data[14] == 0x45 and be.get16(data, 16) == 25 and data[22] == 64 and data[23] == 200
    assert be.get32(data, 26) == A and be.get32(data, 30) == B
    assert data[34:] == b"hello"
    assert h.pool.free == 64
    ident = be.get16(data, 18)
    output(h, path, b"hello")
    assert be.get16(d.take()[0], 18) == (ident + 1) & 0xFFFF


def test_pseudo():
    h, _, _ = ready()
    b = bytearray(12)
    be.put32(b, 0, A)
    be.put32(b, 4, B)
    b[9] = 17
    assert h.ip.path(B).pseudo(17) == checksum.add(b, 0, 12, 0)


def test_a_full_ring_gives_the_frame_back_as_it_was():
    h, _, d = ready()
    path = h.ip.path(B)
    assert output(h, path, b"x")
    d.depth = 1
    f = h.pool.get()
    f.end = f.off + 8
    off = f.off
    assert not path.output(f, 200, h.clock.now)
    assert (f.off, f.end) == (off, off + 8)
    d.flush()
    assert path.output(f, 200, h.clock.now)


def test_paths_are_kept():
    h, _, _ = ready()
    assert h.ip.path(B) is h.ip.path(B)
    assert h.ip.path(B, A) is h.ip.path(B)
    for i in range(1000):
        h.ip.path(0x08000000 + i)
    assert len(h.ip._paths) <= 256


def test_no_path():
    h, iface, d = single(A, 24, 0)
    assert h.ip.path(0x08080808) is None
    assert h.ip.path(0) is None
    assert h.ip.path(B, B) is None  # not our address
    assert h.ip.path(B) is not None
    d.link_up = False
    h.poll(h.clock.now)
    assert h.ip.path(B) is None


def test_a_path_follows_the_routes():
    h, iface, d = ready()
    path = h.ip.path(0x08080808)
    output(h, path, b"x")
    assert be.get32(d.take()[-1], 38) == GW  # asks for the gateway
    h.routes.add(0, 0, B, iface)
    output(h, path, b"x")
    (data,) = d.take()
    assert ethernet.get_mac(data, 0) == PEER
    h.routes.remove(0, 0)
    assert output(h, path, b"x")  # consumed all the same
    assert d.take() == []
    assert h.stats.dropped("ipv4.no_route") == 1
    h.configure(iface, "none", h.clock.now)
    assert h.pool.free == 64


def test_our_address_gone():
    h, iface, d = ready()
    path = h.ip.path(B)
    h.configure(iface, "static", h.clock.now, A + 50, 24)
    d.take()
    assert output(h, path, b"x")
    assert d.take() == []
    assert h.stats.dropped("ipv4.no_route") == 1
    feed(h, d, ip_packet(200, b"x"))
    assert h.stats.dropped("ipv4.not_ours") == 1


def test_broadcast_and_groups_need_no_neighbour():
    h, _, d = ready()
    for dst, mac, kind in (
        (0xFFFFFFFF, ALL, BROADCAST),
        (0x0A0000FF, ALL, BROADCAST),
        (0xE0000005, 0x01005E000005, MULTICAST),
    ):
        path = h.ip.path(dst)
        assert path.kind == kind
        assert output(h, path, b"x")
        (data,) = d.take()
        assert ethernet.get_mac(data, 0) == mac
        # RFC 1112, section 6.1: TTL 1 unless told.
        assert data[22] == (1 if kind == MULTICAST else 64)


def test_broadcast_before_there_is_an_address():
    d = Wire()
    h = host(d)
    assert h.ip.path(0xFFFFFFFF) is None
    path = h.ip.broadcast_path(h.interfaces[1])
    assert path.src == 0
    assert output(h, path, b"x")
    assert be.get32(d.take()[0], 26) == 0


def test_private_path_has_its_ttl():
    h, _, d = ready()
    path = h.ip.private_path(B)
    assert path is not h.ip.path(B)
    path.set_ttl(3, 0x10)
    output(h, path, b"x")
    (data,) = d.take()
    assert (data[22], data[15]) == (3, 0x10)
    assert checksum.valid(data, 14, 20)


def test_loopback():
    h, _, d = ready()
    p = Handler(h.ip)
    for dst, src in ((0x7F000001, 0x7F000001), (0x7F010203, 0x7F010203), (A, A)):
        path = h.ip.path(dst)
        assert path.iface is h.ip.loopback and path.src == src
        assert output(h, path, b"x")
        assert h.poll_at() <= h.clock.now
        h.poll(h.clock.now)
    assert [g[:2] for g in p.got] == [
        (0x7F000001, 0x7F000001), (0x7F010203, 0x7F010203), (A, A)
    ]  # fmt: skip
    assert d.take() == []
    assert h.pool.free == 64


def fragments(h, path, n, d, proto=200):
    buf = bytearray([i * 7 & 0xFF for i in range(n)])
    assert path.fragment(buf, 0, n, proto, h.clock.now)
    return bytes(buf), d.take()


def test_fragments():
    h, _, d = ready()
    path = h.ip.path(B)
    d.take()
    for n in (1481, 2960, 2961, 9000, 65515):
        want, out = fragments(h, path, n, d)
        got = bytearray(n)
        idents = {}
        for i, data in enumerate(out):
            assert checksum.valid(data, 14, 20)
            total = be.get16(data, 16)
            assert total <= 1500 and len(data) == 14 + total
            word = be.get16(data, 20)
            at = (word & 0x1FFF) << 3
            last = i == len(out) - 1
            assert (word & 0xE000) == (0 if last else 0x2000)
            assert last or total - 20 == 1480
            got[at : at + total - 20] = data[34:]
            idents[be.get16(data, 18)] = True
        assert bytes(got) == want
        assert len(idents) == 1
        d.flush()
    assert h.pool.free == 64


def test_fragments_all_or_none():
    h, _, d = ready()
    path = h.ip.path(B)
    d.take()
    d.depth = 3
    assert not path.fragment(bytearray(9000), 0, 9000, 200, 0)
    assert d.take() == []
    d.depth = 64
    held = [h.pool.get() for _ in range(60)]
    assert not path.fragment(bytearray(9000), 0, 9000, 200, 0)
    for f in held:
        f.release()
    assert path.fragment(bytearray(9000), 0, 9000, 200, 0)


def test_a_frame_too_big_is_cut():
    h, iface, d = ready()
    iface.set_mtu(600)
    path = h.ip.path(B)
    d.take()
    assert output(h, path, bytes(1000))
    out = d.take()
    assert [len(x) - 34 for x in out] == [576, 424]
    assert h.pool.free == 64


def test_mtu_nonsense_is_ignored():
    h, iface, _ = ready()
    for mtu in (0, 68, 575, 1501, 65535):
        iface.set_mtu(mtu)
        assert iface.mtu == 1500
    iface.set_mtu(576)
    assert h.ip.path(B).mtu == 576


def test_the_device_sums_no_fragments():
    """csum_start of a frame that is cut is done here: the device would sum one fragment."""
    h, iface, d = ready(offload=True)
    iface.set_mtu(600)
    path = h.ip.path(B)
    d.take()
    f = h.pool.get()
    want = udp_datagram(bytes(1000), src=A, dst=B)
    f.buf[f.off : f.off + 1008] = want
    f.end += 1008
    be.put16(f.buf, f.off + 6, _fold(path.pseudo(17) + 1008))
    f.csum_start = f.off
    f.csum_offset = 6
    assert path.output(f, 17, 0)
    got = b"".join([x[34:] for x in d.take()])
    assert got == want


def _fold(s):
    return (s & 0xFFFF) + (s >> 16)


def test_addresses_are_checked():
    h, iface, _ = ready()
    for bad in (0, 0x7F000001, 0xE0000001, 0xFFFFFFFF):
        try:
            h.configure(iface, "static", 0, bad, 24)
            raise AssertionError(bad)
        except ValueError:
            assert iface.addr == 0


def test_point_to_point_has_no_broadcast():
    h, iface, d = single(0x0A000000, 31, 0)
    assert h.ip.kind(0x0A000001) == UNICAST
    assert h.ip.path(0x0A000001).kind == UNICAST
