"""Valid frames of every kind that the stack reads, and mutations that know their structure.

A sample is `(name, frame, marks)`; marks are `(offset, width)` of fields worth lying in.
"""

from stack.core import be, checksum
from stack.wire import arp, dhcp, ethernet, icmp4, ipv4, udp

MAC = 0x02000000000A  # the host under test
PEER = 0x02000000000B
EVIL = 0x020000000066
ALL = ethernet.BROADCAST
A = 0x0A00000A
B = 0x0A00000B
GW = 0x0A000001
SUBNET_BROADCAST = 0x0A0000FF

TCP_PORT = 80
UDP_PORT = 5000
DNS_PORT = 53535  # a connected endpoint of the host: to GW, port 53

_ETHERNET_MARKS = ((0, 6), (6, 6), (12, 2))
_IP_MARKS = (
    (14, 1), (15, 1), (16, 2), (18, 2), (20, 2), (22, 1), (23, 1), (24, 2), (26, 4), (30, 4),
)  # fmt: skip
INTERESTING = (0, 1, 2, 4, 7, 8, 16, 19, 20, 40, 60, 64, 127, 128, 254, 255)
WIDE = (
    0, 1, 7, 8, 0x7F, 0xFF, 0x100, 0x1FFF, 0x2000, 0x3FFF, 0x4000, 0x7FFF, 0x8000, 0xFFF8,
    0xFFFE, 0xFFFF,
)  # fmt: skip
ADDRESSES = (
    0, 1, A, B, GW, SUBNET_BROADCAST, 0x0A000000, 0x7F000001, 0xE0000001, 0xE00000FB, 0xF0000001,
    0xFFFFFFFF, 0x08080808, 0x01020304,
)  # fmt: skip
MACS = (0, MAC, PEER, EVIL, ALL, 0x01005E000001, 0x333300000001)
TYPES = (0, 46, 0x05DC, 0x0600, 0x0800, 0x0806, 0x8035, 0x8100, 0x86DD, 0x88CC, 0xFFFF)


def ip(proto, payload, src=B, dst=A, ident=1, frag=0, ttl=64, options=b"", to=MAC, sender=PEER):
    n = 20 + len(options)
    b = bytearray(14 + n + len(payload))
    ethernet.build(b, 0, to, sender, 0x0800)
    ipv4.build(b, 14, src, dst, proto, len(payload), ident, frag, ttl)
    b[34 : 34 + len(options)] = options
    b[14 + n :] = payload
    if options:
        b[14] = 0x40 | n >> 2
        be.put16(b, 16, n + len(payload))
    fix_ip(b)
    return b


def fix_ip(b):
    """Make the IPv4 header's checksum right, whatever the rest says."""
    if len(b) < 34:
        return
    n = max(20, min((b[14] & 0x0F) << 2, len(b) - 14))
    be.put16(b, 24, 0)
    be.put16(b, 24, checksum.checksum(b, 14, n))


def fix_transport(b):
    """Make the transport's checksum right as far as lengths allow."""
    if len(b) < 42:
        return
    o = 14 + ((b[14] & 0x0F) << 2)
    end = min(14 + be.get16(b, 16), len(b))
    n = end - o
    proto = b[23]
    at = {1: 2, 6: 16, 17: 6}.get(proto)
    if o < 34 or at is None or n < at + 2:
        return
    be.put16(b, o + at, 0)
    total = 0
    if proto != 1:
        pseudo = bytearray(12)
        pseudo[0:8] = b[26:34]
        pseudo[9] = proto
        be.put16(pseudo, 10, n)
        total = checksum.add(pseudo, 0, 12, 0)
    be.put16(b, o + at, checksum.checksum(b, o, n, total))


def arp_frame(op, sender_mac=PEER, sender=B, target=A, to=MAC, target_mac=MAC):
    b = bytearray(60)
    ethernet.build(b, 0, to, sender_mac, 0x0806)
    arp.build(b, 14, op, sender_mac, sender, target_mac, target)
    return b


def udp_frame(payload, src_port=4000, dst_port=UDP_PORT, src=B, **kw):
    d = bytearray(8 + len(payload))
    udp.build(d, 0, src_port, dst_port, len(payload), 0)
    d[8:] = payload
    b = ip(17, d, src, **kw)
    fix_transport(b)
    return b


def icmp_frame(kind, code, rest, data=b"", **kw):
    m = bytearray(8) + bytearray(data)
    icmp4.build(m, 0, kind, code, rest, len(data))
    return ip(1, m, **kw)


def tcp_frame(flags, seq, ack, src_port=4000, dst_port=TCP_PORT, window=65535, options=b"",
              data=b"", **kw):  # fmt: skip
    n = 20 + len(options)
    s = bytearray(n + len(data))
    be.put16(s, 0, src_port)
    be.put16(s, 2, dst_port)
    be.put32(s, 4, seq & 0xFFFFFFFF)
    be.put32(s, 8, ack & 0xFFFFFFFF)
    s[12] = n << 2 & 0xF0
    s[13] = flags
    be.put16(s, 14, window)
    s[20:n] = options
    s[n:] = data
    b = ip(6, s, **kw)
    fix_transport(b)
    return b


def quoted(proto=17, src_port=DNS_PORT, dst_port=53, dst=GW, extra=b"\0" * 12):
    """A packet as the host sends them, for an ICMP error to quote."""
    b = bytearray(20)
    ipv4.build(b, 0, A, dst, proto, 8 + len(extra))
    t = bytearray(8)
    be.put16(t, 0, src_port)
    be.put16(t, 2, dst_port)
    return bytes(b) + bytes(t) + extra


def dhcp_frame(kind, xid, mac, options=b""):
    m = bytearray(240)
    m[0:3] = b"\x02\x01\x06"
    be.put32(m, 4, xid)
    be.put32(m, 16, 0x0B000063)
    ethernet.put_mac(m, 28, mac)
    m[236:240] = b"\x63\x82\x53\x63"
    m += bytes((53, 1, kind)) + b"\x36\x04\x0b\x00\x00\x01\x33\x04\x00\x00\x0e\x10"
    m += b"\x01\x04\xff\xff\xff\x00\x03\x04\x0b\x00\x00\x01\x06\x08\x0b\x00\x00\x01\x08\x08\x08\x08"
    m += options + b"\xff"
    return udp_frame(bytes(m), 67, 68, 0x0B000001, dst=0xFFFFFFFF, to=ALL)


def dns_answer(message_id, question):
    """An answer to `question` (a DNS message that the host sent): two records, compressed."""
    m = bytearray(question[:12])
    be.put16(m, 0, message_id)
    m[2] = 0x81
    m[3] = 0x80
    be.put16(m, 6, 2)
    be.put16(m, 8, 0)
    be.put16(m, 10, 0)
    end = 12
    while end < len(question) and question[end]:
        end += question[end] + 1
    m += question[12 : end + 5]
    m += b"\xc0\x0c\x00\x05\x00\x01\x00\x00\x0e\x10\x00\x06\x03www\xc0\x0c"
    at = len(m) - 6
    m += bytes((0xC0, at)) + b"\x00\x01\x00\x01\x00\x00\x0e\x10\x00\x04\x0a\x00\x00\x63"
    return bytes(m)


DHCP_OPTIONS = (
    b"",
    b"\x1a\x02\x05\x78\x0f\x07example",
    b"\x79\x0d\x18\x0b\x05\x05\x0b\x00\x00\x02\x00\x0b\x00\x00\x03",
    b"\x3a\x04\x00\x00\x00\x64\x3b\x04\x00\x00\x00\xc8",
    b"\x34\x01\x03",
)
DHCP_KINDS = (dhcp.OFFER, dhcp.ACK, dhcp.NAK, dhcp.DISCOVER)

IP_OPTIONS = (
    b"\x01\x01\x01\x01",
    b"\x07\x07\x04\x00\x00\x00\x00\x00",
    b"\x44\x08\x05\x00\x00\x00\x00\x00",
    b"\x83\x07\x04\x0a\x00\x00\x01\x00",
    b"\x94\x04\x00\x00",
    b"\x07\x27\x04" + b"\x00" * 37,
)
TCP_OPTIONS = (
    b"",
    b"\x02\x04\x05\xb4",
    b"\x02\x04\x05\xb4\x01\x03\x03\x07\x04\x02\x08\x0a\x00\x00\x00\x01\x00\x00\x00\x00\x01\x01",
    b"\x01\x01\x05\x0a\x00\x00\x00\x01\x00\x00\x00\x09",
    b"\x02\x00\x00\x00",
    b"\x03\x03\xff\x00",
)


def static_samples():
    """The samples that do not depend on what the host has said."""
    out = []
    arp_marks = tuple((14 + i, 2) for i in (0, 2, 4, 6)) + ((22, 6), (28, 4), (32, 6), (38, 4))

    def add(name, frame, marks):
        out.append((name, bytes(frame), _ETHERNET_MARKS + marks))

    for op in (1, 2):
        add("arp", arp_frame(op), arp_marks)
        add("arp gratuitous", arp_frame(op, PEER, B, B, ALL, 0), arp_marks)
        add("arp claims ours", arp_frame(op, EVIL, A, A, ALL, 0), arp_marks)
    udp_marks = ((34, 2), (36, 2), (38, 2), (40, 2))
    icmp_marks = ((34, 1), (35, 1), (36, 2), (38, 4))
    tcp_marks = ((34, 2), (36, 2), (38, 4), (42, 4), (46, 1), (47, 1), (48, 2))
    for n in (0, 1, 64, 1400):
        add("udp", udp_frame(bytes(n)), _IP_MARKS + udp_marks)
    add("udp closed", udp_frame(b"x", dst_port=9), _IP_MARKS + udp_marks)
    add("udp broadcast", udp_frame(b"x", dst=SUBNET_BROADCAST, to=ALL), _IP_MARKS + udp_marks)
    for options in IP_OPTIONS:
        at = 14 + 20 + len(options)
        marks = _IP_MARKS + ((34, 1), (35, 1), (36, 1), (at, 2), (at + 4, 2))
        add("options", udp_frame(b"data", options=options), marks)
        add("options", icmp_frame(8, 0, 1, b"data", options=options), marks)
    for n in (0, 56, 1472):
        add("echo", icmp_frame(8, 0, 0x00010001, bytes(n)), _IP_MARKS + icmp_marks)
        add("reply", icmp_frame(0, 0, 0x00010001, bytes(n)), _IP_MARKS + icmp_marks)
    quote_marks = tuple((42 + i, w) for i, w in ((0, 1), (2, 2), (6, 2), (9, 1), (12, 4), (16, 4)))
    for kind, code in ((3, 0), (3, 1), (3, 2), (3, 3), (3, 4), (3, 13), (11, 0), (11, 1), (12, 0)):
        for proto, port in ((17, DNS_PORT), (6, TCP_PORT), (1, 0x0800)):
            frame = icmp_frame(kind, code, 1400, quoted(proto, port))
            add("error", frame, _IP_MARKS + icmp_marks + quote_marks)
    add("redirect", icmp_frame(5, 1, GW, quoted()), _IP_MARKS + icmp_marks + quote_marks)
    for options in TCP_OPTIONS:
        marks = _IP_MARKS + tcp_marks + ((54, 1), (55, 1), (56, 1))
        add("syn", tcp_frame(2, 1000, 0, options=options), marks)
    add("syn closed", tcp_frame(2, 1000, 0, dst_port=81), _IP_MARKS + tcp_marks)
    add("ack to nothing", tcp_frame(0x10, 1000, 5, data=b"abc"), _IP_MARKS + tcp_marks)
    add("christmas", tcp_frame(0xFF, 1000, 5), _IP_MARKS + tcp_marks)
    add("protocol", ip(99, b"what"), _IP_MARKS)
    add("igmp", ip(2, b"\x11\x00\xee\xff\x00\x00\x00\x00", dst=0xE0000001), _IP_MARKS)
    add("ipv6", bytes(ip(6, b"x" * 40))[:12] + b"\x86\xdd\x60" + bytes(60), ())
    add("vlan", bytes(ip(17, b"x" * 40))[:12] + b"\x81\x00\x00\x05\x08\x00" + bytes(60), ())
    add("llc", bytes(12) + b"\x00\x2e" + bytes(46), ())
    return out


def fragments_of(frame, rng):
    """Cut an IPv4 frame into fragments, now and then overlapping, repeated or out of order."""
    n = len(frame) - 34
    if n < 16 or (frame[14] & 0x0F) != 5:
        return [frame]
    out = []
    size = rng.choice((8, 16, 64, 256, 512)) if n < 4000 else 1480
    ident = rng.randrange(65536) if rng.random() < 0.7 else 7
    for at in range(0, n, size):
        start = at
        length = min(size, n - at)
        if rng.random() < 0.03:
            start = max(0, start + rng.choice((-8, 8, -16, 800)))
        piece = frame[34 + at : 34 + at + length]
        more = 0x2000 if at + size < n else 0
        if rng.random() < 0.02:
            more ^= 0x2000
        b = bytearray(frame[:34]) + piece
        be.put16(b, 16, len(b) - 14)
        be.put16(b, 18, ident)
        be.put16(b, 20, (start >> 3 & 0x1FFF) | more)
        fix_ip(b)
        out.append(bytes(b))
        if rng.random() < 0.03:
            out.append(bytes(b))
    if rng.random() < 0.3:
        rng.shuffle(out)
    if rng.random() < 0.1 and len(out) > 1:
        out.pop(rng.randrange(len(out)))
    return out


def fix6(b):
    from tests.fuzz import corpus6

    corpus6.fix(b)


def mutate(sample, rng, others):
    """A frame like the sample's, with lies. Checksums are made right again more often than not."""
    _, frame, marks = sample
    b = bytearray(frame)
    for _ in range(rng.choice((0, 1, 1, 1, 2, 3))):
        if not b:
            break
        what = rng.random()
        if what < 0.45 and marks:
            _lie(b, *rng.choice(marks), rng)
        elif what < 0.60:
            b[rng.randrange(len(b))] = rng.randrange(256)
        elif what < 0.70:
            b[rng.randrange(len(b))] ^= 1 << rng.randrange(8)
        elif what < 0.80:
            del b[rng.randrange(len(b)) :]
        elif what < 0.85:
            b += bytes(rng.randrange(256) for _ in range(rng.choice((1, 4, 46, 200))))
        elif what < 0.90:
            at = rng.randrange(len(b))
            del b[at : at + rng.choice((1, 2, 4, 8))]
        elif what < 0.95:
            other = rng.choice(others)[1]
            at = rng.randrange(len(b))
            b = b[:at] + other[min(at, len(other)) :]
        else:
            at = rng.randrange(len(b))
            b[at:at] = bytes(rng.choice((1, 4, 20)))
    if rng.random() < 0.5 and len(b) >= 34 and b[12] == 8 and b[13] == 0:
        # The length follows what the frame holds, so that the mutation is not refused at once.
        if rng.random() < 0.5:
            be.put16(b, 16, max(20, len(b) - 14) & 0xFFFF)
        fix_transport(b)
        fix_ip(b)
    elif rng.random() < 0.8 and len(b) >= 54 and b[12] == 0x86 and b[13] == 0xDD:
        if rng.random() < 0.5:
            be.put16(b, 18, (len(b) - 54) & 0xFFFF)
        fix6(b)
    elif rng.random() < 0.8 and len(b) >= 34:
        fix_ip(b)
    return bytes(b)


def _lie(b, at, width, rng):
    """Put an odd value into a field."""
    if at + width > len(b):
        return
    if width == 1:
        b[at] = rng.choice(INTERESTING)
    elif width == 2:
        be.put16(b, at, rng.choice(TYPES if at == 12 else WIDE))
    elif width == 4:
        be.put32(b, at, rng.choice(ADDRESSES + (rng.randrange(1 << 32),)))
    else:
        ethernet.put_mac(b, at, rng.choice(MACS))
