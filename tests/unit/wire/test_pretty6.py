"""wire/pretty of IPv6 and VLANs: what a line says, and that no garbage makes it raise."""

from stack.net import addr6
from stack.wire import pretty
from tests.unit.net.support import counter_rng, ip_packet, udp_datagram
from tests.unit.net.support6 import datagram, fragment, icmp, packet, solicit

G = "2001:db8::a"
H = "2001:db8::b"

LINES = (
    (
        icmp(128, 0, b"\0\1\0\2abcd"),
        "%s > %s: ICMP6, echo request, id 1, seq 2, length 12",
    ),
    (
        icmp(135, 0, solicit()),
        "%s > %s: ICMP6, neighbor solicitation, who has 2001:db8::a, length 32",
    ),
    (
        icmp(2, 0, b"\0\0\5\0" + bytes(40)),
        "%s > %s: ICMP6, packet too big, mtu 1280, length 48",
    ),
    (packet(17, datagram(b"hello")), "%s.4000 > %s.5000: UDP, length 5"),
    (
        packet(44, fragment(17, datagram(b"hello"), 0, True)),
        "%s.4000 > %s.5000: UDP, length 5 (frag 7:13@0+)",
    ),
    (packet(44, fragment(17, b"x" * 9, 8, False)), "%s > %s: UDP (frag 7:9@8)"),
    (packet(0, b"\xc8\0\5\2\0\0\1\0x"), "%s > %s: proto 200, length 1 (HBH)"),
    (packet(59, b""), "%s > %s: no next header, length 0"),
)


def test_lines():
    for frame, text in LINES:
        assert pretty.frame(frame) == text % (H, G), pretty.frame(frame)
    tagged = ip_packet(17, udp_datagram(b"hello"))
    tagged = tagged[:12] + b"\x81\0\0\5" + tagged[12:]
    assert pretty.frame(tagged) == "vlan 5, 10.0.0.11.4000 > 10.0.0.10.5000: UDP, length 5"


def test_truncations_and_garbage():
    rng = counter_rng(7)
    for frame, _ in LINES:
        for n in range(len(frame)):
            pretty.frame(frame[:n])
        for _ in range(200):
            b = bytearray(frame)
            for _ in range(3):
                r = rng(3)
                b[14 + (r[0] << 8 | r[1]) % (len(b) - 14)] = r[2]
            pretty.frame(b)


def test_addresses():
    for text in ("::", "::1", "fe80::1", "1:0:0:2::", "1:2:3:4:5:6:7:8", "1:0:2:3:4:5:6:7"):
        assert pretty.addr6(addr6.parse(text)[0], 0) == text
