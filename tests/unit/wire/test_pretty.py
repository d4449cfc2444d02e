"""wire/pretty: what a line says, and that no garbage makes it raise."""

from stack.core import be
from stack.wire import arp, ethernet, icmp4, ipv4, pretty, udp

A = 0x0A000002
B = 0x0A000001


def _ip(proto, payload, **kw):
    b = bytearray(34 + len(payload))
    ethernet.build(b, 0, 0x525400000001, 0x525400000002, 0x0800)
    ipv4.build(b, 14, A, B, proto, len(payload), **kw)
    b[34:] = payload
    return b


def _arp(op):
    b = bytearray(42)
    ethernet.build(b, 0, ethernet.BROADCAST, 0x525400000002, 0x0806)
    arp.build(b, 14, op, 0x525400000002, A, 0, B)
    return b


def _udp(n):
    b = bytearray(8 + n)
    udp.build(b, 0, 40000, 53, n, 0)
    return b


def _tcp(flags, options=b"", n=0):
    b = bytearray(20 + len(options) + n)
    be.put16(b, 0, 40000)
    be.put16(b, 2, 80)
    be.put32(b, 4, 1)
    be.put32(b, 8, 2)
    b[12] = (20 + len(options)) << 2
    b[13] = flags
    be.put16(b, 14, 512)
    b[20 : 20 + len(options)] = options
    return b


def _icmp(kind, code, rest, n=0):
    b = bytearray(8 + n)
    icmp4.build(b, 0, kind, code, rest, n)
    return b


LINES = (
    ("who-has", _arp(1), "ARP, Request who-has 10.0.0.1 tell 10.0.0.2"),
    ("is-at", _arp(2), "ARP, Reply 10.0.0.2 is-at 52:54:00:00:00:02"),
    ("udp", _ip(17, _udp(5)), "10.0.0.2.40000 > 10.0.0.1.53: UDP, length 5"),
    (
        "syn",
        _ip(6, _tcp(2, b"\x02\x04\x05\xb4\x01\x03\x03\x07")),
        "10.0.0.2.40000 > 10.0.0.1.80: Flags [S], seq 1, win 512, "
        "options [mss 1460,nop,wscale 7], length 0",
    ),
    (
        "data",
        _ip(6, _tcp(0x18, b"", 10)),
        "10.0.0.2.40000 > 10.0.0.1.80: Flags [P.], seq 1, ack 2, win 512, length 10",
    ),
    (
        "an option of length 0",
        _ip(6, _tcp(2, b"\x02\x00\x05\xb4")),
        "10.0.0.2.40000 > 10.0.0.1.80: Flags [S], seq 1, win 512, options [bad], length 0",
    ),
    (
        "ping",
        _ip(1, _icmp(8, 0, 0x00070001, 8)),
        "10.0.0.2 > 10.0.0.1: ICMP echo request, id 7, seq 1, length 16",
    ),
    (
        "port unreachable",
        _ip(1, _icmp(3, 3, 0)),
        "10.0.0.2 > 10.0.0.1: ICMP port unreachable, length 8",
    ),
    (
        "frag needed",
        _ip(1, _icmp(3, 4, 1400)),
        "10.0.0.2 > 10.0.0.1: ICMP unreachable - need to frag (mtu 1400), length 8",
    ),
    (
        "a later fragment",
        _ip(17, bytes(16), ident=9, frag=0x2000 | 2),
        "10.0.0.2 > 10.0.0.1: UDP (frag 9:16@16+)",
    ),
    ("unknown protocol", _ip(99, b"xx"), "10.0.0.2 > 10.0.0.1: proto 99, length 2"),
)


def test_lines():
    for why, data, expected in LINES:
        assert pretty.frame(data) == expected, (why, pretty.frame(data))


def test_every_truncation_says_something():
    for _, data, _ in LINES:
        for n in range(len(data)):
            # A buffer of just that length: reading beyond it would raise.
            assert pretty.frame(bytes(data[:n]))


def test_every_byte_wrong():
    for _, data, _ in LINES:
        for i in range(len(data)):
            for v in (0, 0x45, 0x7F, 0xFF):
                b = bytearray(data)
                b[i] = v
                assert pretty.frame(bytes(b))


def test_ethernet_without_a_known_type():
    b = bytearray(20)
    ethernet.build(b, 0, 1, 2, 0x1234)
    assert pretty.frame(b) == "00:00:00:00:00:02 > 00:00:00:00:00:01, ethertype 0x1234, length 20"
    ethernet.build(b, 0, 1, 2, 6)
    assert "802.3" in pretty.frame(b)
