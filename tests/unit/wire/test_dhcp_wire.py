"""wire/dhcp: messages built by hand from RFC 2131 and 2132; every truncation."""

from stack.core import be
from stack.wire import dhcp

MAC = 0x525400123456
# Subnet, router, two DNS servers, domain, MTU, lease, server, T1, T2, type.
OPTIONS = (
    b"\x35\x01\x05\x36\x04\x0a\x00\x00\x01\x01\x04\xff\xff\xff\x00\x03\x04\x0a\x00\x00\x01"
    b"\x06\x08\x0a\x00\x00\x01\x08\x08\x08\x08\x0f\x07example\x1a\x02\x05\x78"
    b"\x33\x04\x00\x00\x0e\x10\x3a\x04\x00\x00\x07\x08\x3b\x04\x00\x00\x0c\x4e"
)


def message(options=OPTIONS, xid=0x11223344, yiaddr=0x0A000063, mac=MAC, end=b"\xff"):
    b = bytearray(240)
    b[0] = 2
    b[1] = 1
    b[2] = 6
    be.put32(b, 4, xid)
    be.put32(b, 16, yiaddr)
    be.put16(b, 28, mac >> 32)
    be.put32(b, 30, mac & 0xFFFFFFFF)
    b[236:240] = b"\x63\x82\x53\x63"
    return bytes(b) + options + end


def test_parse():
    m = dhcp.Dhcp()
    data = message()
    assert m.parse(data, 0, len(data))
    assert (m.xid, m.yiaddr, m.chaddr) == (0x11223344, 0x0A000063, MAC)
    assert (m.type, m.server, m.mask) == (dhcp.ACK, 0x0A000001, 0xFFFFFF00)
    assert m.routers == [0x0A000001]
    assert m.dns == [0x0A000001, 0x08080808]
    assert (m.domain, m.mtu) == ("example", 1400)
    assert (m.lease_s, m.t1_s, m.t2_s) == (3600, 1800, 3150)


def test_every_truncation():
    m = dhcp.Dhcp()
    data = message(end=b"")
    ends = [240]  # where an option ends: cut there, a message is merely short
    i = 240
    while i < len(data):
        i += 2 + data[i + 1]
        ends.append(i)
    for n in range(len(data)):
        good = m.parse(data[:n], 0, n)
        assert good == (n in ends and n > 240), n


def test_refuses():
    m = dhcp.Dhcp()
    for why, options in (
        ("no type", b"\x01\x04\xff\xff\xff\x00"),
        ("type of two bytes", b"\x35\x02\x05\x05"),
        ("mask of three", b"\x35\x01\x05\x01\x03\xff\xff\xff"),
        ("router of five", b"\x35\x01\x05\x03\x05\x0a\x00\x00\x01\x01"),
        ("no router", b"\x35\x01\x05\x03\x00"),
        ("MTU of four", b"\x35\x01\x05\x1a\x04\x00\x00\x05\x78"),
        ("route with prefix 33", b"\x35\x01\x05\x79\x0a\x21" + bytes(9)),
        ("route cut", b"\x35\x01\x05\x79\x05\x18\x0a\x00\x00\x0a"),
    ):
        data = message(options)
        assert not m.parse(data, 0, len(data)), why
    for why, at, value in (
        ("a request", 0, 1),
        ("another hardware", 1, 6),
        ("its length", 2, 8),
        ("no cookie", 236, 0),
    ):
        b = bytearray(message())
        b[at] = value
        assert not m.parse(b, 0, len(b)), why


def test_overload():
    # RFC 2132, section 9.3: option 52 says that file and sname hold options.
    b = bytearray(message(b"\x34\x01\x03\x35\x01\x02"))
    b[108:115] = b"\x01\x04\xff\xff\x00\x00\xff"
    b[44:51] = b"\x03\x04\x0a\x00\x00\x09\xff"
    m = dhcp.Dhcp()
    assert m.parse(b, 0, len(b))
    assert (m.mask, m.routers) == (0xFFFF0000, [0x0A000009])
    b[44:47] = b"\x03\xf0\x0a"
    assert not m.parse(b, 0, len(b))


def test_classless_routes():
    # RFC 3442's examples of width: 0, 8, 24, 25, 32.
    routes = (
        b"\x00\x0a\x00\x00\x01"
        b"\x08\x0a\x0a\x00\x00\x02"
        b"\x18\x0a\x00\x11\x0a\x00\x00\x03"
        b"\x19\x0a\x00\x12\xff\x0a\x00\x00\x04"
        b"\x20\x0a\x00\x13\x01\x00\x00\x00\x00"
    )
    data = message(b"\x35\x01\x05\x79" + bytes([len(routes)]) + routes)
    m = dhcp.Dhcp()
    assert m.parse(data, 0, len(data))
    assert m.routes == [
        (0, 0, 0x0A000001),
        (0x0A000000, 8, 0x0A000002),
        (0x0A001100, 24, 0x0A000003),
        (0x0A001280, 25, 0x0A000004),
        (0x0A001301, 32, 0),
    ]


def test_lists_are_bounded():
    data = message(
        b"\x35\x01\x05" + (b"\x06\xfc" + bytes(252)) * 10 + (b"\x79\xfa" + bytes(250)) * 10
    )
    m = dhcp.Dhcp()
    assert m.parse(data, 0, len(data))
    assert len(m.dns) == 4
    assert len(m.routes) == 16


def test_domain_is_printable():
    data = message(b"\x35\x01\x05\x0f\x05a\x00\xffb\x1b")
    m = dhcp.Dhcp()
    assert m.parse(data, 0, len(data))
    assert m.domain == "ab"


def option(data, kind):
    """The value of an option, or None."""
    i = 240
    while data[i] != 255:
        if data[i] == 0:
            i += 1
            continue
        n = data[i + 1]
        if data[i] == kind:
            return bytes(data[i + 2 : i + 2 + n])
        i += 2 + n
    return None


def test_build():
    b = dhcp.build(dhcp.DISCOVER, 0x01020304, MAC, 7, hostname="barewire")
    assert len(b) >= 300
    assert bytes(b[:12]) == b"\x01\x01\x06\x00\x01\x02\x03\x04\x00\x07\x80\x00"
    assert bytes(b[28:34]) == b"\x52\x54\x00\x12\x34\x56"
    assert option(b, 53) == b"\x01"
    assert option(b, 61) == b"\x01\x52\x54\x00\x12\x34\x56"
    assert option(b, 12) == b"barewire"
    assert 121 in option(b, 55) and option(b, 55)[0] == 1
    assert option(b, 50) is None and option(b, 54) is None


def test_build_request():
    b = dhcp.build(dhcp.REQUEST, 1, MAC, 70000, 0, 0x0A000063, 0x0A000001, "x" * 100)
    assert option(b, 50) == b"\x0a\x00\x00\x63"
    assert option(b, 54) == b"\x0a\x00\x00\x01"
    assert len(option(b, 12)) == 63
    assert bytes(b[8:10]) == b"\xff\xff"
    b = dhcp.build(dhcp.RELEASE, 1, MAC, 0, 0x0A000063, 0, 0x0A000001, "", False)
    assert bytes(b[10:16]) == b"\x00\x00\x0a\x00\x00\x63"
    assert option(b, 55) is None
