"""IPv4 headers.

RFC 791. Layout (20 bytes and up to 40 of options):

    0  version = 4 (4 bits), IHL in words (4 bits)   1  type of service
    2  total length (2)                              4  identification (2)
    6  flags: 0, DF, MF (3 bits), fragment offset in units of 8 bytes (13 bits)
    8  time to live     9  protocol                  10 header checksum (2)
    12 source (4)       16 destination (4)           20 options

Addresses are 32-bit ints.

Not implemented: sending options; recording routes or timestamps in those received.
"""

import micropython
from micropython import const

from stack.core import be, checksum

HEADER_LEN = const(20)
MAX_HEADER_LEN = const(60)
MAX_LEN = const(65535)

DF = const(0x4000)
MF = const(0x2000)
OFFSET_MASK = const(0x1FFF)

PROTO_ICMP = const(1)
PROTO_TCP = const(6)
PROTO_UDP = const(17)

# Ipv4.kind: what the destination is, set by the layer that knows our addresses.
UNICAST = const(1)
BROADCAST = const(2)
MULTICAST = const(3)

_OPT_END = const(0)
_OPT_NOP = const(1)
_OPT_LSRR = const(131)
_OPT_SSRR = const(137)


class Ipv4:
    """The header parsed last.

    It lies at buf[start:]; `frag` is the word of flags and fragment offset. What most
    packets are not asked for is read when it is: header_len(), length() of the payload,
    ttl(), tos(), ident(). (A property would slow down every store.) `iface` and `kind` are
    for the layer above, `mtu` for an ICMP error that tells one.
    """

    __slots__ = ("src", "dst", "proto", "frag", "buf", "start", "iface", "kind", "mtu", "why")

    def __init__(self):
        self.src = self.dst = self.proto = self.frag = self.start = 0
        self.buf = b""
        self.kind = self.mtu = 0
        self.iface = None
        self.why = ""

    def header_len(self):
        return (self.buf[self.start] & 0x0F) << 2

    def length(self):
        return be.get16(self.buf, self.start + 2) - self.header_len()

    def tos(self):
        return self.buf[self.start + 1]

    def ident(self):
        return be.get16(self.buf, self.start + 4)

    def ttl(self):
        return self.buf[self.start + 8]

    @micropython.viper
    def parse(self, f) -> bool:
        """Read the header at f.off, trim f to its payload. False: drop, `why` names the counter."""
        o = int(f.off)
        room = int(f.end) - o
        if room < 20:
            self.why = "ipv4.truncated"
            return False
        p = ptr8(f.buf)
        hl = (p[o] & 0x0F) << 2
        if p[o] >> 4 != 4 or hl < 20:
            self.why = "ipv4.header"
            return False
        total = p[o + 2] << 8 | p[o + 3]
        # "Total Length": header and data; what follows it is padding of the link.
        if total < hl or total > room:
            self.why = "ipv4.length"
            return False
        src = p[o + 12] << 24 | p[o + 13] << 16 | p[o + 14] << 8 | p[o + 15]
        dst = p[o + 16] << 24 | p[o + 17] << 16 | p[o + 18] << 8 | p[o + 19]
        s = (src >> 16) + (src & 0xFFFF) + (dst >> 16) + (dst & 0xFFFF)
        s += (p[o] << 8 | p[o + 1]) + total + (p[o + 4] << 8 | p[o + 5])
        s += (p[o + 6] << 8 | p[o + 7]) + (p[o + 8] << 8 | p[o + 9]) + (p[o + 10] << 8 | p[o + 11])
        i = 20
        while i < hl:
            s += p[o + i] << 8 | p[o + i + 1]
            i += 2
        s = (s & 0xFFFF) + (s >> 16)
        s = (s & 0xFFFF) + (s >> 16)
        if s != 0xFFFF:
            self.why = "ipv4.checksum"
            return False
        self.src = src
        self.dst = dst
        self.proto = p[o + 9]
        # The reserved bit is ignored.
        self.frag = p[o + 6] << 8 & 0x7F00 | p[o + 7]
        self.start = o
        self.buf = f.buf
        f.off = o + hl
        f.end = o + total
        return True

    def parse_quoted(self, f):
        """Read the header of a packet of ours that an ICMP error quotes: its payload is cut short.

        Trims f to what there is of the payload. The checksum is not looked at: routers
        on the way have changed the TTL, and some more.
        """
        b = f.buf
        o = f.off
        room = f.end - o
        if room < HEADER_LEN:
            return False
        hl = (b[o] & 0x0F) << 2
        total = be.get16(b, o + 2)
        if b[o] >> 4 != 4 or hl < HEADER_LEN or hl > room or total < hl:
            return False
        self.frag = be.get16(b, o + 6) & 0x7FFF
        self.proto = b[o + 9]
        self.src = be.get32(b, o + 12)
        self.dst = be.get32(b, o + 16)
        self.start = o
        self.buf = b
        f.off = o + hl
        if room > total:
            f.end = o + total
        return True

    @micropython.viper
    def pseudo(self, length: int) -> int:
        """The folded sum of the pseudo-header of a transport datagram of `length` bytes.

        Source, destination, protocol, length (RFC 9293, section 3.1). Goes into
        checksum.add as `total`.
        """
        a = int(self.src)
        b = int(self.dst)
        s = (a >> 16) + (a & 0xFFFF) + (b >> 16) + (b & 0xFFFF) + int(self.proto) + length
        s = (s & 0xFFFF) + (s >> 16)
        return (s & 0xFFFF) + (s >> 16)

    def bad_options(self, buf):
        """Why the options are refused, the name of a counter, or None. RFC 791, section 3.1."""
        i = self.start + HEADER_LEN
        end = self.start + self.header_len()
        while i < end:
            kind = buf[i]
            if kind == _OPT_END:
                return None
            if kind == _OPT_NOP:
                i += 1
                continue
            if i + 1 >= end:
                return "ipv4.options"
            n = buf[i + 1]
            if n < 2 or i + n > end:
                return "ipv4.options"
            # RFC 7126, section 4.3: source routes are dropped.
            if kind == _OPT_LSRR or kind == _OPT_SSRR:
                return "ipv4.source_route"
            i += n
        return None


def build(buf, off, src, dst, proto, length, ident=0, frag=0, ttl=64, tos=0):
    """Write a header of 20 bytes for `length` bytes of payload at buf[off:]."""
    be.put16(buf, off, 0x4500 | tos)
    be.put16(buf, off + 2, HEADER_LEN + length)
    be.put16(buf, off + 4, ident)
    be.put16(buf, off + 6, frag)
    be.put16(buf, off + 8, ttl << 8 | proto)
    be.put16(buf, off + 10, 0)
    be.put32(buf, off + 12, src)
    be.put32(buf, off + 16, dst)
    be.put16(buf, off + 10, checksum.checksum(buf, off, HEADER_LEN))


def emit(frame, src, dst, proto, ident=0, frag=0, ttl=64, tos=0):
    """Put a header in front of the frame, which holds all of the payload."""
    length = frame.end - frame.off + frame.data_len
    build(frame.buf, frame.prepend(HEADER_LEN), src, dst, proto, length, ident, frag, ttl, tos)


@micropython.viper
def age(buf, off: int):
    """Take one from the TTL of the header at buf[off:], and make its checksum right. RFC 1624."""
    p = ptr8(buf)
    p[off + 8] = p[off + 8] - 1
    # The word of TTL and protocol is less by 0x0100, so the complement of the sum is more.
    s = (p[off + 10] << 8 | p[off + 11]) + 0x0100
    s = (s & 0xFFFF) + (s >> 16)
    p[off + 10] = s >> 8
    p[off + 11] = s & 0xFF


def seal(buf, off):
    """Write the checksum of the header of 20 bytes at buf[off:]."""
    be.put16(buf, off + 10, 0)
    be.put16(buf, off + 10, checksum.checksum(buf, off, HEADER_LEN))


@micropython.viper
def emit_from(template, dst, off: int, words: int, total: int):
    """Write 34 bytes at dst[off:]: the Ethernet and IPv4 headers of `template`, finished.

    template: the two headers with addresses, type and first IPv4 byte set and zeros
    between, then (two bytes) the folded sum of the IPv4 addresses.
    words: ident << 40 | frag << 24 | tos << 16 | ttl << 8 | proto. total: total length.
    """
    t = ptr8(template)
    p = ptr8(dst)
    i = 0
    while i < 34:
        p[off + i] = t[i]
        i += 1
    o = off + 14
    p[o + 1] = words >> 16 & 0xFF
    p[o + 2] = total >> 8
    p[o + 3] = total & 0xFF
    p[o + 4] = words >> 48 & 0xFF
    p[o + 5] = words >> 40 & 0xFF
    p[o + 6] = words >> 32 & 0xFF
    p[o + 7] = words >> 24 & 0xFF
    p[o + 8] = words >> 8 & 0xFF
    p[o + 9] = words & 0xFF
    s = (t[34] << 8 | t[35]) + 0x4500 + total
    s += (words >> 16 & 0xFF) + (words >> 40 & 0xFFFF) + (words >> 24 & 0xFFFF) + (words & 0xFFFF)
    s = (s & 0xFFFF) + (s >> 16)
    s = (s & 0xFFFF) + (s >> 16)
    s ^= 0xFFFF
    p[o + 10] = s >> 8
    p[o + 11] = s & 0xFF


def template(out, dst_mac, src_mac, src, dst):
    """Fill `out` (36 bytes) for emit_from."""
    be.put16(out, 0, dst_mac >> 32)
    be.put32(out, 2, dst_mac & 0xFFFFFFFF)
    be.put16(out, 6, src_mac >> 32)
    be.put32(out, 8, src_mac & 0xFFFFFFFF)
    be.put16(out, 12, 0x0800)
    out[14] = 0x45
    be.put32(out, 26, src)
    be.put32(out, 30, dst)
    be.put16(out, 34, checksum.add(out, 26, 8, 0))
