"""The stack's IPv6, ICMPv6, MLD, IGMP and DHCPv6 against descriptions written apart from them."""

import random

import pytest

from stack.core import checksum
from stack.core.frame import Frame
from stack.net import addr6
from stack.wire import dhcp6, icmp6, igmp, ipv6, mld, nd
from tests.wire import packets as p

ROUNDS = 300


@pytest.fixture
def rng():
    return random.Random(20261125)


def frame(data):
    f = Frame(bytearray(11) + data)
    f.off = 11
    f.end = 11 + len(data)
    return f


def test_ipv6(rng):
    h = ipv6.Ipv6()
    template = bytearray(54)
    for _ in range(ROUNDS):
        payload = rng.randbytes(rng.randrange(60))
        fields = dict(
            first=dict(version=6, tclass=rng.randrange(256), flow=rng.randrange(1 << 20)),
            length=len(payload), next=rng.choice((6, 17, 58, 99)), hops=rng.randrange(256),
            src=rng.randbytes(16), dst=rng.randbytes(16), payload=payload,
        )  # fmt: skip
        data = p.IPV6.build(fields)
        f = frame(data + b"padding")
        assert h.parse(f)
        assert (h.proto, h.ttl(), h.tos(), h.length()) == (
            fields["next"], fields["hops"], fields["first"]["tclass"], len(payload)
        )  # fmt: skip
        assert bytes(f.buf[f.off : f.end]) == payload
        src, dst = fields["src"], fields["dst"]
        out = bytearray(40)
        ipv6.build(out, 0, src, dst, h.proto, len(payload), h.ttl(), h.tos())
        assert p.IPV6.parse(bytes(out) + payload).first.tclass == h.tos()
        assert out[4:] == data[4:40]
        mac, peer = rng.randrange(1 << 48), rng.randrange(1 << 48)
        ipv6.template(template, peer, mac, src, dst, fields["first"]["flow"])
        whole = bytearray(60)
        words = h.tos() << 16 | h.ttl() << 8 | h.proto
        ipv6.emit_from(template, whole, 6, words, len(payload))
        assert whole[20:] == data[:40]
        assert p.ETHERNET.parse(bytes(whole[6:])).src == mac.to_bytes(6, "big")


def test_pseudo_headers(rng):
    for _ in range(ROUNDS):
        src, dst, n = rng.randbytes(16), rng.randbytes(16), rng.randrange(65536)
        want = p.internet_sum(b"", p.pseudo_sum(src, dst, 17, n)) ^ 0xFFFF
        got = ipv6.pseudo_sum(src, dst, 17, n)
        assert got % 0xFFFF == want % 0xFFFF
        h = ipv6.Ipv6()
        h.proto = 17
        h.sum = checksum.add(src + dst, 0, 32, 0)
        assert h.pseudo(n) % 0xFFFF == want % 0xFFFF


def test_fragments(rng):
    h = ipv6.Ipv6()
    for _ in range(ROUNDS):
        offset, more = rng.randrange(1 << 13), rng.random() < 0.5
        bits = dict(offset=offset, zero=0, more=more)
        ident = rng.randrange(1 << 32)
        data = p.IPV6_FRAGMENT.build(dict(next=17, bits=bits, id=ident, payload=b"data"))
        out = bytearray(8)
        ipv6.put_fragment(out, 0, 17, offset | (ipv6.MF if more else 0), ident)
        assert out == data[:8]
        whole = bytearray(40) + data
        ipv6.build(whole, 0, bytes(16), bytes(16), 44, len(data))
        f = frame(bytes(whole))
        assert h.parse(f) and h.walk(f) == ipv6.OK and h.proto == 17
        assert (h.frag & 0x1FFF, bool(h.frag & ipv6.MF)) == (offset, more)
        assert not h.frag or h.ident() == ident
        assert bytes(f.buf[f.off : f.end]) == b"data"


def test_icmp6_and_neighbour_discovery(rng):
    m = icmp6.Icmp6()
    for _ in range(ROUNDS):
        src, dst, mac = rng.randbytes(16), rng.randbytes(16), rng.randrange(1 << 48)
        option = dict(type=1, length=1, value=mac.to_bytes(6, "big"))
        body = p.NEIGHBOR_SOLICIT.build(
            dict(target=dst, options=dict(list=[option]))
        )
        data = bytearray(p.ICMP6.build(dict(type=135, code=0, checksum=0, payload=body)))
        total = p.internet_sum(bytes(data), p.pseudo_sum(src, dst, 58, len(data)))
        data[2:4] = total.to_bytes(2, "big")
        assert m.parse(frame(bytes(data)), ipv6.pseudo_sum(src, dst, 58, len(data)))
        assert (m.type, m.code) == (135, 0)
        assert nd.valid_options(data, 24, len(data))
        assert nd.link_address(data, 24, len(data), nd.SOURCE_LINK) == mac
        out = bytearray(8)
        nd.put_link_address(out, 0, 1, mac)
        assert out == data[24:]
        data[rng.randrange(len(data))] ^= 1 << rng.randrange(8)
        assert not m.parse(frame(bytes(data)), ipv6.pseudo_sum(src, dst, 58, len(data)))


def test_reports_of_groups(rng):
    for _ in range(ROUNDS):
        records = [(rng.randrange(1, 7), rng.randbytes(16)) for _ in range(rng.randrange(1, 9))]
        out = bytearray(400)
        n = mld.put_report(out, 0, records)
        read = p.MLD2_REPORT.parse(p.ICMP6.parse(bytes(out[:n])).payload)
        assert [(r.type, r.group) for r in read.records] == records
        four = [(kind, int.from_bytes(group[:4], "big")) for kind, group in records]
        n = igmp.put_report(out, 0, four)
        read = p.IGMP3_REPORT.parse(bytes(out[:n]))
        assert [(r.type, int.from_bytes(r.group, "big")) for r in read.records] == four
        assert p.internet_sum(bytes(out[:n])) == 0


def test_dhcp6(rng):
    for kind in (1, 3, 5, 6, 8, 9, 11):
        server = None if kind in (1, 6, 11) else b"server"
        iaid = -1 if kind == 11 else 0x01020304
        wanted = [rng.randbytes(16)] if kind not in (1, 11) else []
        data = dhcp6.build(kind, 0xABCDEF, b"client", server, 7, iaid, wanted, kind == 1)
        read = p.DHCP6.parse(data)
        options = {o.code: o.data for o in read.options}
        assert (read.type, read.xid, options[1]) == (kind, b"\xab\xcd\xef", b"client")
        assert options.get(2) == server and options[8] == b"\0\7" and (14 in options) == (kind == 1)
        if iaid >= 0:
            assert options[3][:12] == b"\1\2\3\4" + bytes(8)
            assert options[3][16:32] == (wanted[0] if wanted else b"")
        m = dhcp6.parse(data, 0, len(data))
        assert (m.type, m.xid, m.client, m.server) == (kind, 0xABCDEF, b"client", server)
        # What a server says, made by the description.
        address = rng.randbytes(16)
        lifetimes = bytes(3) + b"\1" + bytes(3) + b"\2"
        inner = p.DHCP6_OPTION.build(dict(code=5, data=address + lifetimes))
        reply = p.DHCP6.build(dict(
            type=7, xid=b"\1\2\3",
            options=[
                dict(code=1, data=b"client"), dict(code=2, data=b"server"),
                dict(code=3, data=b"\1\2\3\4" + bytes(8) + inner),
                dict(code=23, data=address), dict(code=24, data=b"\4test\0\1a\1b\0"),
            ],
        ))  # fmt: skip
        m = dhcp6.parse(reply, 0, len(reply))
        assert m.addresses == [(address, 1, 2)] and m.dns == [address]
        assert m.domains == ["test", "a.b"]


def test_text_as_python_has_it(rng):
    import ipaddress

    for _ in range(2000):
        raw = bytearray(rng.randbytes(16))
        for _ in range(rng.randrange(4)):
            i = rng.randrange(8) * 2
            n = rng.randrange(1, 8) * 2
            raw[i : i + n] = bytes(len(raw[i : i + n]))
        raw = bytes(raw)
        if raw[0] == 0xFE and raw[1] & 0xC0 == 0x80 or raw[0] == 0xFF or addr6.is_mapped(raw):
            continue
        text = str(ipaddress.IPv6Address(raw))
        assert addr6.format(raw) == text
        assert addr6.parse(text)[0] == addr6.parse(text.upper())[0] == raw
        assert addr6.parse(ipaddress.IPv6Address(raw).exploded)[0] == raw
    for _ in range(3000):
        text = "".join(rng.choice("0:12af.%:") for _ in range(rng.randrange(1, 20)))
        if "%" in text:
            continue
        try:
            want = ipaddress.IPv6Address(text).packed
        except ValueError:
            want = None
        try:
            got = addr6.parse(text)[0]
        except ValueError:
            got = None
        assert got == want, text
