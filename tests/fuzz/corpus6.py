"""Valid IPv6 frames of every kind that the stack reads, for corpus.py's mutations.

Samples as there: `(name, frame, marks)`.
"""

from stack.core import be, checksum
from stack.net import addr6
from stack.wire import ethernet, ipv6
from tests.fuzz.corpus import ALL, EVIL, MAC, PEER

G = addr6.parse("2001:db8::a")[0]  # the host under test
H = addr6.parse("2001:db8::b")[0]
ROUTER = addr6.parse("fe80::1")[0]
LINK = addr6.parse("fe80::b")[0]
NODES = addr6.parse("ff02::1")[0]
FAR = addr6.parse("2001:db8:ffff::1")[0]
_IP = ((12, 2), (14, 1), (15, 1), (18, 2), (20, 1), (21, 1), (22, 4), (34, 4), (38, 4), (50, 4))
# Where each transport keeps its checksum.
_SUM_AT = {6: 16, 17: 6, 58: 2}
_CHAIN = (0, 43, 60, 135)  # headers with a length byte that may stand before the transport


def packet(proto, payload, src=H, dst=G, hops=64, to=None, sender=PEER):
    if to is None:
        to = addr6.multicast_mac(dst) if dst[0] == 0xFF else MAC
    b = bytearray(54 + len(payload))
    ethernet.build(b, 0, to, sender, 0x86DD)
    ipv6.build(b, 14, src, dst, proto, len(payload), hops)
    b[54:] = payload
    fix(b)
    return bytes(b)


def fix(b):
    """Make the transport's checksum right, as far as the chain can be followed."""
    if len(b) < 54 or b[12] != 0x86 or b[13] != 0xDD:
        return
    end = min(len(b), 54 + be.get16(b, 18))
    proto, o = b[20], 54
    for _ in range(10):
        if proto not in _CHAIN or o + 8 > end:
            break
        proto, o = b[o], o + 8 + (b[o + 1] << 3)
    at = _SUM_AT.get(proto)
    if at is None or o + at + 2 > end:
        return
    be.put16(b, o + at, 0)
    s = ipv6.pseudo_sum(bytes(b[22:38]), bytes(b[38:54]), proto, end - o)
    be.put16(b, o + at, checksum.checksum(b, o, end - o, s) or 0xFFFF)


def icmp(kind, code, body, **kw):
    kw.setdefault("hops", 255)
    return packet(58, bytes((kind, code, 0, 0)) + body, **kw)


def link_option(kind, mac):
    return bytes((kind, 1)) + mac.to_bytes(6, "big")


def prefix(length=64, flags=0xC0, valid=86400, preferred=14400, p="2001:db8:1::"):
    return (
        bytes((3, 4, length, flags)) + valid.to_bytes(4, "big") + preferred.to_bytes(4, "big")
        + bytes(4) + addr6.parse(p)[0]
    )  # fmt: skip


def router_advert(*options, lifetime=1800, flags=0, mac=PEER):
    body = bytes((64, flags)) + lifetime.to_bytes(2, "big") + bytes(8)
    return icmp(134, 0, body + link_option(1, mac) + b"".join(options), src=ROUTER, dst=NODES)


def quoted(proto, sport, dport, dst=FAR):
    b = bytearray(40)
    ipv6.build(b, 0, G, dst, proto, 20)
    return bytes(b) + sport.to_bytes(2, "big") + dport.to_bytes(2, "big") + bytes(16)


def udp(payload, sport=4000, dport=5000):
    return (
        sport.to_bytes(2, "big") + dport.to_bytes(2, "big")
        + (8 + len(payload)).to_bytes(2, "big") + b"\0\0" + payload
    )  # fmt: skip


def tcp(flags, seq, ack, options=b"", dport=80, data=b""):
    return (
        b"\x4e\x20" + dport.to_bytes(2, "big") + seq.to_bytes(4, "big") + ack.to_bytes(4, "big")
        + bytes(((20 + len(options)) << 2, flags)) + b"\xff\xff\0\0\0\0" + options + data
    )  # fmt: skip


def fragments(proto, payload, size=64, ident=9):
    """The payload in fragments, each a frame."""
    out = []
    for at in range(0, len(payload), size):
        more = at + size < len(payload)
        head = bytes((proto, 0)) + (at | more).to_bytes(2, "big") + ident.to_bytes(4, "big")
        out.append(packet(44, head + payload[at : at + size]))
    return out


def samples():
    out = []

    def add(name, frame, marks=()):
        out.append((name, bytes(frame), _IP + tuple(marks)))

    nd = ((54, 1), (55, 1), (58, 4), (62, 4), (78, 1), (79, 1), (80, 4))
    for target in (G, H, LINK):
        to = addr6.parse("ff02::1:ff00:a")[0]
        add("solicit", icmp(135, 0, bytes(4) + target + link_option(1, PEER), dst=to), nd)
        add("solicit us", icmp(135, 0, bytes(4) + target + link_option(1, PEER)), nd)
        add("dad", icmp(135, 0, bytes(4) + target, src=bytes(16), dst=to), nd)
        for flags in (0x60, 0x20, 0xE0, 0):
            body = bytes((flags, 0, 0, 0)) + target + link_option(2, EVIL if flags == 0 else PEER)
            add("advert", icmp(136, 0, body, src=target if target != G else H), nd)
    ra = ((58, 1), (59, 1), (60, 2), (70, 1), (71, 1), (78, 1), (79, 1), (80, 1), (81, 1), (82, 4))
    add("ra", router_advert(prefix()), ra)
    add("ra lifetimes", router_advert(prefix(valid=0, preferred=0), lifetime=0), ra)
    add("ra other prefix", router_advert(prefix(p="2001:db8:7::"), prefix(length=48)), ra)
    add("ra mtu", router_advert(b"\x05\x01\0\0\0\0\x05\x00"), ra)
    add("ra route", router_advert(b"\x18\x03\x40\x08\0\0\x0e\x10" + FAR), ra)
    add("ra rdnss", router_advert(b"\x19\x05\0\0\0\0\x0e\x10" + H + FAR, flags=0xC0), ra)
    add("ra dnssl", router_advert(b"\x1f\x03\0\0\0\0\x0e\x10\x07example\x04test\0\0\0"), ra)
    add("redirect", icmp(137, 0, bytes(4) + H + FAR + link_option(2, PEER), src=ROUTER), nd)
    add("rs", icmp(133, 0, bytes(4) + link_option(1, PEER), dst=NODES), nd)
    for n in (0, 56, 1232):
        add("echo", icmp(128, 0, b"\0\1\0\1" + bytes(n), hops=64), ((54, 1), (58, 2), (60, 2)))
        add("reply", icmp(129, 0, b"\0\1\0\1" + bytes(n), hops=64), ((54, 1), (58, 2)))
    errors = ((54, 1), (55, 1), (58, 4), (62, 1), (66, 2), (68, 1), (86, 4), (102, 2))
    for kind, code, rest in (
        (1, 0, 0), (1, 3, 0), (1, 4, 0), (2, 0, 1280), (2, 0, 600), (3, 0, 0), (4, 1, 6),
        (100, 0, 0),
    ):  # fmt: skip
        for proto in (6, 17, 58):
            body = rest.to_bytes(4, "big") + quoted(proto, 80, 20000)
            add("error", icmp(kind, code, body, hops=64), errors)
    add("mld query", icmp(130, 0, b"\x03\xe8\0\0" + bytes(16), src=LINK, dst=NODES, hops=1), nd)
    add("mld2 query", icmp(130, 0, b"\x03\xe8\0\0" + NODES + b"\2\x7d\0\1" + H, src=LINK,
                           dst=NODES, hops=1), nd)  # fmt: skip
    add("mld report", icmp(143, 0, b"\0\0\0\1\4\0\0\0" + NODES, src=LINK, dst=NODES, hops=1), nd)
    for n in (0, 1, 64, 1400):
        add("udp", packet(17, udp(bytes(n))), ((54, 2), (56, 2), (58, 2), (60, 2)))
    add("udp closed", packet(17, udp(b"x", dport=9)), ((54, 2), (56, 2), (58, 2)))
    add("udp zero sum", packet(17, udp(b"x")), ((60, 2),))
    for options in (b"", b"\x02\x04\x05\xa0", b"\x01\x01\x08\x0a\0\0\0\1\0\0\0\0"):
        add("syn", packet(6, tcp(2, 1000, 0, options)), ((58, 4), (66, 1), (67, 1), (74, 1)))
    add("ack to nothing", packet(6, tcp(16, 1000, 5)), ((58, 4), (66, 1), (67, 1)))
    chain = ((54, 1), (55, 1), (56, 1), (57, 1), (62, 1), (63, 1), (64, 1))
    pad = b"\x01\x04\0\0\0\0"
    u = udp(b"behind")
    for name, proto, head in (
        ("hop-by-hop", 0, b"\x11\0" + pad),
        ("router alert", 0, b"\x11\0\x05\x02\0\0\x01\0"),
        ("jumbo", 0, b"\x11\0\xc2\x04\0\1\0\0"),
        ("destination options", 60, b"\x11\0" + pad),
        ("unknown option", 60, b"\x11\0\x3e\x04\0\0\0\0"),
        ("option to be told", 60, b"\x11\0\x9e\x04\0\0\0\0"),
        ("routing", 43, b"\x11\2\0\1\0\0\0\0" + H),
        ("routing 4", 43, b"\x11\2\4\1\0\0\0\0" + H),
        ("two", 0, b"\x3c\0" + pad + b"\x11\0" + pad),
        ("ah", 51, b"\x11\x04\0\0" + bytes(20)),
        ("esp", 50, bytes(16)),
        ("none", 59, b""),
        ("atomic", 44, b"\x11\0\0\0\0\0\0\7"),
        ("unknown", 253, b"what"),
    ):
        add(name, packet(proto, head + u), chain)
    for frame in fragments(17, udp(bytes(300))):
        add("fragment", frame, ((54, 1), (56, 2), (58, 4)))
    for frame in fragments(58, b"\x80\0\0\0\0\1\0\1" + bytes(100), 24, 10):
        add("echo fragment", frame, ((54, 1), (56, 2), (58, 4)))
    add("to all", packet(17, udp(b"x"), to=ALL))
    return out
