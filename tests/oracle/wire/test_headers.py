"""The stack's headers against `construct` descriptions that were written apart from them."""

import random

import pytest

from stack.core.frame import Frame
from stack.wire import arp, dhcp, ethernet, icmp4, ipv4, udp
from tests.unit.net.support import B, pair, run
from tests.wire import check
from tests.wire import packets as p

ROUNDS = 300


@pytest.fixture
def rng():
    return random.Random(20261123)


def frame(data):
    f = Frame(bytearray(11) + data)
    f.off = 11
    f.end = 11 + len(data)
    return f


def test_ethernet(rng):
    h = ethernet.Ethernet()
    for _ in range(ROUNDS):
        dst, src = rng.randbytes(6), rng.randbytes(6)
        kind = rng.randrange(0x600, 0x10000)
        data = p.ETHERNET.build(dict(dst=dst, src=src, type=kind, payload=b"x"))
        f = frame(data)
        assert h.parse(f)
        assert (h.dst.to_bytes(6, "big"), h.src.to_bytes(6, "big"), h.ethertype) == (dst, src, kind)
        out = bytearray(14)
        ethernet.build(out, 0, h.dst, h.src, h.ethertype)
        assert out == data[:14]


def test_arp(rng):
    a = arp.Arp()
    for _ in range(ROUNDS):
        fields = dict(
            htype=1, ptype=0x0800, hlen=6, plen=4, op=rng.choice((1, 2)), sha=rng.randbytes(6),
            spa=rng.randbytes(4), tha=rng.randbytes(6), tpa=rng.randbytes(4), padding=b"",
        )  # fmt: skip
        data = p.ARP.build(fields)
        assert a.parse(frame(data + bytes(18)))
        assert a.op == fields["op"]
        assert a.sender_mac.to_bytes(6, "big") == fields["sha"]
        assert a.target_addr.to_bytes(4, "big") == fields["tpa"]
        out = bytearray(28)
        arp.build(out, 0, a.op, a.sender_mac, a.sender_addr, a.target_mac, a.target_addr)
        assert out == data


def ip_fields(rng, payload, options=b""):
    first = dict(version=4, ihl=5 + len(options) // 4)
    flags = dict(reserved=False, df=rng.random() < 0.5, mf=rng.random() < 0.5,
                 offset=rng.randrange(1 << 13))  # fmt: skip
    fields = dict(
        first=first, tos=rng.randrange(256), total_length=20 + len(options) + len(payload),
        id=rng.randrange(1 << 16), fragment=flags, ttl=rng.randrange(256),
        proto=rng.randrange(256), checksum=0, src=rng.randbytes(4), dst=rng.randbytes(4),
        options=options, payload=payload,
    )  # fmt: skip
    fields["checksum"] = p.internet_sum(p.IPV4.build(fields)[: 20 + len(options)])
    return fields


def test_ipv4(rng):
    h = ipv4.Ipv4()
    template = bytearray(36)
    for _ in range(ROUNDS):
        payload = rng.randbytes(rng.randrange(40))
        options = b"\x01" * (4 * rng.randrange(11))
        fields = ip_fields(rng, payload, options)
        data = p.IPV4.build(fields)
        f = frame(data + b"pad")
        assert h.parse(f)
        assert h.src.to_bytes(4, "big") == fields["src"]
        assert h.dst.to_bytes(4, "big") == fields["dst"]
        assert (h.proto, h.ttl(), h.tos(), h.ident()) == (
            fields["proto"], fields["ttl"], fields["tos"], fields["id"]
        )  # fmt: skip
        flags = fields["fragment"]
        assert h.frag == flags["df"] << 14 | flags["mf"] << 13 | flags["offset"]
        assert bytes(f.buf[f.off : f.end]) == payload
        total = p.pseudo_sum(fields["src"], fields["dst"], fields["proto"], 77)
        assert h.pseudo(77) == p.internet_sum(b"", total) ^ 0xFFFF
        if options:
            continue
        out = bytearray(len(data))
        ipv4.build(
            out, 0, h.src, h.dst, h.proto, len(payload), h.ident(), h.frag, h.ttl(), h.tos()
        )
        assert out[:20] == data[:20]
        ipv4.template(template, 1, 2, h.src, h.dst)
        words = h.ident() << 40 | h.frag << 24 | h.tos() << 16 | h.ttl() << 8 | h.proto
        out = bytearray(40)
        ipv4.emit_from(template, out, 3, words, 20 + len(payload))
        assert out[17:37] == data[:20]


def test_udp_and_icmp(rng):
    u = udp.Udp()
    m = icmp4.Icmp4()
    for _ in range(ROUNDS):
        payload = rng.randbytes(rng.randrange(40))
        fields = dict(sport=rng.randrange(65536), dport=rng.randrange(65536),
                      length=8 + len(payload), checksum=rng.randrange(65536),
                      payload=payload)  # fmt: skip
        data = p.UDP.build(fields)
        f = frame(data + b"pad")
        assert u.parse(f)
        assert (u.src_port, u.dst_port, u.checksum) == (
            fields["sport"], fields["dport"], fields["checksum"]
        )  # fmt: skip
        assert bytes(f.buf[f.off : f.end]) == payload
        fields = dict(type=rng.randrange(256), code=rng.randrange(256), checksum=0,
                      rest=rng.randrange(1 << 32), payload=payload)  # fmt: skip
        fields["checksum"] = p.internet_sum(p.ICMP.build(fields))
        data = p.ICMP.build(fields)
        f = frame(data)
        assert m.parse(f)
        assert (m.type, m.code, m.rest) == (fields["type"], fields["code"], fields["rest"])
        out = bytearray(data)
        icmp4.build(out, 0, m.type, m.code, m.rest, len(payload))
        assert out == data


def test_dhcp(rng):
    for kind in (dhcp.DISCOVER, dhcp.REQUEST, dhcp.RELEASE):
        out = bytes(dhcp.build(kind, rng.randrange(1 << 32), 0x525400123456, 3, hostname="box"))
        assert check.check_dhcp(out) == []
        m = p.DHCP.parse(out)
        options = {o.code: o.data for o in m.options}
        assert m.op == "request" and m.chaddr[:6] == bytes.fromhex("525400123456")
        assert options[53] == bytes([kind])
        assert options[61] == b"\x01" + m.chaddr[:6]


def test_all_that_two_hosts_say():
    """Pings, datagrams of every size, errors, TCP, DHCP, silence: each frame is checked."""
    ha, hb = pair()
    c = ha.clock
    server = hb.udp.open(0, 7, c.now)
    client = ha.udp.open(0, 0, c.now)
    for n in (0, 1, 55, 1472, 1473, 4000, 65507):
        client.send_to(bytes(n), 0, n, B, 7, c.now)
        ping = ha.icmp.ping(B)
        ping.send(min(n, 20000), c.now)
        run(c, 1000, ha, hb)
        ping.close()
    client.send_to(b"x", 0, 1, B, 9, c.now)  # nobody there
    client.broadcast = True
    client.send_to(b"x", 0, 1, 0xFFFFFFFF, 7, c.now)
    listener = hb.tcp.listen(0, 80, 4, c.now)
    conn = ha.tcp.connect(B, 80, c.now)
    ha.tcp.connect(B, 81, c.now)
    run(c, 1000, ha, hb)
    peer = listener.accept()
    conn.send(bytes(100000), 0, 100000, c.now)
    run(c, 1_000_000, ha, hb)
    conn.close(c.now)
    peer.close(c.now)
    run(c, 100_000_000, ha, hb)
    hb.configure(hb.interfaces[1], "dhcp", c.now)
    run(c, 10_000_000, ha, hb)
    assert server.drops == 0
    kinds = set()
    for h in (ha, hb):
        for data in h.interfaces[1].device.take():
            assert check.check_ethernet(data) == [], data.hex()
            kinds.add((data[12:14], data[23] if data[12:14] == b"\x08\x00" else data[21]))
    assert kinds >= {
        (b"\x08\x06", 1), (b"\x08\x06", 2), (b"\x08\x00", 1), (b"\x08\x00", 6), (b"\x08\x00", 17)
    }  # fmt: skip
