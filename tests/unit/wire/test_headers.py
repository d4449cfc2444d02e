"""wire/{ethernet,arp,ipv4,udp,icmp4}: packets built by hand, and every truncation of them."""

from stack.core import checksum
from stack.core.frame import Frame
from stack.wire import arp, ethernet, icmp4, ipv4, udp


def unhex(text):
    text = text.replace(" ", "")
    return bytes([int(text[i : i + 2], 16) for i in range(0, len(text), 2)])


def frame(data, pad=b"", at=3):
    """data in a Frame whose buffer ends where it ends: reading beyond would raise."""
    f = Frame(bytearray(at) + bytearray(data) + bytearray(pad))
    f.off = at
    f.end = at + len(data) + len(pad)
    return f


def empty():
    return Frame(bytearray(512))


# RFC 826's own request, by hand: 10.0.0.2 asks for 10.0.0.1.
ARP = unhex("0001 0800 06 04 0001 525400123456 0a000002 000000000000 0a000001")
# The IPv4 header of RFC 1071's many examples: checksum 0xb861.
IP = unhex("4500 0073 0000 4000 40 11 b861 c0a80001 c0a800c7") + bytes(0x73 - 20)
# Record route of 3 addresses (7, 11, 4), then end.
IP_OPTIONS = unhex("4800 0024 1234 0000 40 01 0000 0a000002 0a000001 070b04 00000000 00000000 00")
UDP = unhex("9c40 0035 000c 0000 61626364")
ECHO = unhex("0800 0000 1234 0001") + b"abcdefgh"


def with_sum(data, at, start=0, end=None):
    b = bytearray(data)
    n = (len(b) if end is None else end) - start
    b[at] = b[at + 1] = 0
    c = checksum.checksum(b, start, n)
    b[at] = c >> 8
    b[at + 1] = c & 0xFF
    return bytes(b)


IP_OPTIONS = with_sum(IP_OPTIONS, 10, 0, 32) + b"\x08\x00\xf7\xff"
ECHO = with_sum(ECHO, 2)


def test_ethernet_parse():
    h = ethernet.Ethernet()
    f = frame(unhex("ffffffffffff 525400123456 0806") + ARP)
    assert h.parse(f)
    assert h.dst == ethernet.BROADCAST
    assert h.src == 0x525400123456
    assert h.ethertype == ethernet.TYPE_ARP
    assert f.off == 17


def test_ethernet_refuses():
    h = ethernet.Ethernet()
    data = unhex("ffffffffffff 525400123456 0800")
    for n in range(14):
        assert not h.parse(frame(data[:n]))
        assert h.why == "ethernet.truncated"
    assert not h.parse(frame(unhex("ffffffffffff 525400123456 05ff")))
    assert h.why == "ethernet.llc"
    assert h.parse(frame(unhex("ffffffffffff 525400123456 0600")))


def test_ethernet_emit():
    f = empty()
    ethernet.emit(f, 0x010203040506, 0x0708090A0B0C, 0x0800)
    assert bytes(f.buf[f.off : f.end]) == unhex("010203040506 0708090a0b0c 0800")


MACS = (
    ("plain", "52:54:00:12:34:56", 0x525400123456),
    ("short parts", "2:0:0:0:0:a", 0x02000000000A),
    ("too few", "52:54:00:12:34", None),
    ("empty part", "52:54::12:34:56", None),
    ("too long", "52:54:000:12:34:56", None),
    ("not hex", "52:54:00:12:34:5g", None),
)


def test_mac_text():
    for why, text, expected in MACS:
        try:
            got = ethernet.parse_mac(text)
        except ValueError:
            got = None
        assert got == expected, why
    assert ethernet.format_mac(0x525400123456) == "52:54:00:12:34:56"


def test_multicast_mac():
    # RFC 1112, section 6.4: the low 23 bits.
    assert ethernet.multicast_mac(0xE0000001) == 0x01005E000001
    assert ethernet.multicast_mac(0xEFFFFFFF) == 0x01005E7FFFFF


def test_arp_parse():
    p = arp.Arp()
    f = frame(ARP, bytes(18))
    assert p.parse(f)
    assert (p.op, p.sender_mac, p.sender_addr) == (1, 0x525400123456, 0x0A000002)
    assert (p.target_mac, p.target_addr) == (0, 0x0A000001)
    assert f.end - f.off == 28


def test_arp_refuses():
    p = arp.Arp()
    for n in range(28):
        assert not p.parse(frame(ARP[:n]))
        assert p.why == "arp.truncated"
    for why, at, value in (
        ("hardware", 1, 6),
        ("protocol", 2, 0x86),
        ("hardware length", 4, 8),
        ("protocol length", 5, 16),
        ("operation 0", 7, 0),
        ("operation 3, RARP", 7, 3),
    ):
        b = bytearray(ARP)
        b[at] = value
        assert not p.parse(frame(b)), why


def test_arp_emit():
    f = empty()
    arp.emit(f, 1, 0x525400123456, 0x0A000002, 0, 0x0A000001)
    assert bytes(f.buf[f.off : f.end]) == ARP


def test_ipv4_parse():
    h = ipv4.Ipv4()
    f = frame(IP, b"pad")
    assert h.parse(f)
    assert (h.src, h.dst, h.proto, h.ttl()) == (0xC0A80001, 0xC0A800C7, 17, 64)
    assert (h.header_len(), h.length(), h.start) == (20, 0x73 - 20, 3)
    assert h.frag == ipv4.DF
    assert f.off == 23
    assert f.end - f.off == h.length()


def test_ipv4_options():
    h = ipv4.Ipv4()
    f = frame(IP_OPTIONS)
    assert h.parse(f)
    assert h.header_len() == 32
    assert bytes(f.buf[f.off : f.end]) == b"\x08\x00\xf7\xff"
    assert h.bad_options(f.buf) is None


OPTIONS = (
    ("nothing but NOP", "01010101", None),
    ("end, then rubbish", "00ffffff", None),
    ("a timestamp", "44040500", None),
    ("router alert", "94040000", None),
    ("loose source route", "83070400", "ipv4.options"),
    ("loose source route that fits", "83040400", "ipv4.source_route"),
    ("strict source route", "89040400", "ipv4.source_route"),
    ("length 0", "44000000", "ipv4.options"),
    ("length 1", "44010000", "ipv4.options"),
    ("beyond the header", "44050000", "ipv4.options"),
    ("no room for a length", "01010144", "ipv4.options"),
)


def test_ipv4_bad_options():
    h = ipv4.Ipv4()
    for why, options, expected in OPTIONS:
        data = unhex("4600 0018 0000 0000 40 11 0000 0a000002 0a000001") + unhex(options)
        f = frame(with_sum(data, 10))
        assert h.parse(f), why
        assert h.bad_options(f.buf) == expected, why


def test_ipv4_refuses():
    h = ipv4.Ipv4()
    for n in range(len(IP)):
        assert not h.parse(frame(IP[:n])), n
    for why, at, value, counter in (
        ("version 6", 0, 0x65, "ipv4.header"),
        ("IHL 4", 0, 0x44, "ipv4.header"),
        ("IHL 15 in 115 bytes", 0, 0x4F, "ipv4.checksum"),
        ("total length 19", 3, 19, "ipv4.length"),
        ("total length beyond the frame", 3, 0x74, "ipv4.length"),
        ("a bit of the source", 12, 0xC1, "ipv4.checksum"),
        ("a bit of the TTL", 8, 0x41, "ipv4.checksum"),
    ):
        b = bytearray(IP)
        b[at] = value
        assert not h.parse(frame(b)), why
        assert h.why == counter, (why, h.why)


def test_ipv4_header_longer_than_total():
    data = unhex("4600 0014 0000 0000 40 11 0000 0a000002 0a000001 00000000")
    h = ipv4.Ipv4()
    assert not h.parse(frame(with_sum(data, 10)))
    assert h.why == "ipv4.length"


def test_ipv4_emit():
    f = empty()
    f.end += 0x73 - 20
    ipv4.emit(f, 0xC0A80001, 0xC0A800C7, 17, 0, ipv4.DF)
    assert bytes(f.buf[f.off : f.end]) == IP


def test_ipv4_emit_from_template():
    template = bytearray(36)
    ipv4.template(template, 0x525400000001, 0x525400000002, 0xC0A80001, 0xC0A800C7)
    out = bytearray(100)
    ipv4.emit_from(template, out, 5, ipv4.DF << 24 | 64 << 8 | 17, 0x73)
    assert bytes(out[5:19]) == unhex("525400000001 525400000002 0800")
    assert bytes(out[19:39]) == IP[:20]
    # Every field at its largest.
    ipv4.emit_from(template, out, 0, 0xFFFF << 40 | 0x3FFF << 24 | 0xFF << 16 | 0xFFFF, 0xFFFF)
    assert checksum.valid(out, 14, 20)
    assert bytes(out[14:24]) == unhex("45ff ffff ffff 3fff ffff")


def test_ipv4_pseudo():
    h = ipv4.Ipv4()
    h.parse(frame(IP))
    pseudo = unhex("c0a80001 c0a800c7 0011 005f")
    assert h.pseudo(0x5F) == checksum.add(pseudo, 0, 12, 0)


def test_ipv4_quoted_may_be_cut():
    h = ipv4.Ipv4()
    for n in range(20):
        assert not h.parse_quoted(frame(IP[:n]))
    f = frame(IP[:28])
    assert h.parse_quoted(f)
    assert (h.src, h.dst, h.proto) == (0xC0A80001, 0xC0A800C7, 17)
    assert f.end - f.off == 8
    f = frame(IP + bytes(9))
    assert h.parse_quoted(f)
    assert f.end - f.off == 0x73 - 20


def test_udp():
    u = udp.Udp()
    f = frame(UDP, b"pad")
    assert u.parse(f)
    assert (u.src_port, u.dst_port, u.checksum) == (40000, 53, 0)
    assert bytes(f.buf[f.off : f.end]) == b"abcd"
    for n in range(len(UDP)):
        assert not u.parse(frame(UDP[:n])), n
    for why, n in (("below its header", 7), ("beyond the packet", 13), ("0", 0)):
        b = bytearray(UDP)
        b[5] = n
        assert not u.parse(frame(b)), why
        assert u.why == "udp.length"
    f = empty()
    f.buf[f.off : f.off + 4] = b"abcd"
    f.end += 4
    udp.emit(f, 40000, 53)
    assert bytes(f.buf[f.off : f.end]) == UDP


def test_icmp():
    m = icmp4.Icmp4()
    f = frame(ECHO)
    assert m.parse(f)
    assert (m.type, m.code, m.rest) == (8, 0, 0x12340001)
    assert bytes(f.buf[f.off : f.end]) == b"abcdefgh"
    assert not m.is_error()
    for n in range(len(ECHO)):
        assert not m.parse(frame(ECHO[:n])), n
    f = empty()
    f.buf[f.off : f.off + 8] = b"abcdefgh"
    f.end += 8
    icmp4.emit(f, 8, 0, 0x12340001)
    assert bytes(f.buf[f.off : f.end]) == ECHO
