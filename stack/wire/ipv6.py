"""IPv6 headers and the extension headers behind them.

RFC 8200; RFC 8504, section 5.3 (limits on extension headers), RFC 5095 (no type 0 routing),
RFC 6946 (atomic fragments), RFC 7112 (the header chain lies in the first fragment). Layout:

    0  version = 6 (4 bits), traffic class (8), flow label (20)
    4  payload length (2)   6  next header   7  hop limit
    8  source (16)          24 destination (16)

    options header (hop-by-hop 0, destination 60): 0 next  1 length in 8 bytes, less one  2 options
    routing (43):   0 next  1 length  2 type  3 segments left
    fragment (44):  0 next  1 zero  2 offset in 8 bytes (13 bits), zero (2), more (1)
                    4 identification (4)

Not implemented: jumbograms (RFC 2675), AH and ESP, routing headers with segments left,
sending extension headers other than router alert and fragment.
"""

import micropython
from micropython import const

from stack.core import be, checksum
from stack.core.mem import copy

HEADER_LEN = const(40)
FRAGMENT_LEN = const(8)
MIN_MTU = const(1280)

HOP_BY_HOP = const(0)
ROUTING = const(43)
FRAGMENT = const(44)
PROTO_ICMP6 = const(58)
NO_NEXT = const(59)
DESTINATION = const(60)

# `frag` is laid out as IPv4's, so that both share their reassembly.
MF = const(0x2000)
OFFSET_MASK = const(0x1FFF)

# RFC 8504, section 5.3: limits that a host may set. A chain longer than that, or an options
# header with more than so many options, is an attack or a mistake.
MAX_HEADERS = const(8)
MAX_OPTIONS = const(8)

_PAD1 = const(0)
_PADN = const(1)
_JUMBO = const(0xC2)

# walk() says:
OK = const(0)
DROP = const(1)
PROBLEM = const(2)  # tell the sender: `code` and `pointer` of a parameter problem
PROBLEM_UNICAST = const(3)  # the same, but not if the packet went to a group

ERRONEOUS_FIELD = const(0)
UNRECOGNIZED_HEADER = const(1)
UNRECOGNIZED_OPTION = const(2)
INCOMPLETE_CHAIN = const(3)


class Ipv6:
    """The header parsed last: at buf[start:], its addresses at start + 8 and start + 24.

    `src` and `dst` are ints that the layer above fills in, as are `iface`, `kind`, `sum`
    (folded, of both addresses) and `mtu`. After walk(): `proto`, `frag`, and where the
    payload is, `at`. As IPv4's header for the transports.
    """

    __slots__ = (
        "src", "dst", "proto", "frag", "buf", "start", "iface", "kind", "mtu", "why", "sum",
        "at", "code", "pointer", "id32", "alert",
    )  # fmt: skip

    def __init__(self):
        self.src = self.dst = self.proto = self.frag = self.start = self.at = self.sum = 0
        self.buf = b""
        self.kind = self.mtu = self.code = self.pointer = self.id32 = 0
        self.alert = False
        self.iface = None
        self.why = ""

    def header_len(self):
        return self.at - self.start

    def length(self):
        return be.get16(self.buf, self.start + 4) + HEADER_LEN - self.header_len()

    def tos(self):
        return be.get16(self.buf, self.start) >> 4 & 0xFF

    def ident(self):
        """The identification of the fragment header."""
        return self.id32

    def ttl(self):
        return self.buf[self.start + 7]

    @micropython.viper
    def parse(self, f) -> bool:
        """Read the header at f.off, trim f to its payload. False: drop, `why` names the counter."""
        o = int(f.off)
        room = int(f.end) - o - 40
        if room < 0:
            self.why = "ipv6.truncated"
            return False
        p = ptr8(f.buf)
        if p[o] >> 4 != 6:
            self.why = "ipv6.header"
            return False
        n = p[o + 4] << 8 | p[o + 5]
        if n > room:
            self.why = "ipv6.length"
            return False
        self.proto = p[o + 6]
        self.frag = 0
        self.start = o
        self.buf = f.buf
        f.off = o + 40
        f.end = o + 40 + n
        self.at = o + 40
        return True

    def parse_quoted(self, f):
        """Read a packet of ours that an ICMPv6 error quotes, as much as there is of it."""
        b = f.buf
        o = f.off
        if f.end - o < HEADER_LEN or b[o] >> 4 != 6:
            return False
        n = be.get16(b, o + 4)
        self.proto = b[o + 6]
        self.frag = 0
        self.start = o
        self.buf = b
        f.off = self.at = o + HEADER_LEN
        if f.end - f.off > n:
            f.end = f.off + n
        return True

    def needs_walk(self):
        """True if the next header is none of a transport's."""
        p = self.proto
        return p == HOP_BY_HOP or p == DESTINATION or p == ROUTING or p == FRAGMENT or p == NO_NEXT

    def walk(self, f):
        """Go through the extension headers at f.off: OK, DROP (see `why`), or a PROBLEM.

        Stops behind a fragment header with `frag` set; an atomic fragment (offset 0 and
        nothing more, RFC 6946) is no fragment.
        """
        n = 0
        b = f.buf
        self.frag = 0
        self.alert = False
        # "pointer": of the field that names the header in hand, for the error message.
        field = self.start + 6 if self.at == self.start + HEADER_LEN else f.off
        while True:
            kind = self.proto
            o = f.off
            if kind == NO_NEXT:
                self.why = "ipv6.no_next"
                return DROP
            if not self.needs_walk():
                self.at = o
                self.pointer = field - self.start
                return OK
            n += 1
            if n > MAX_HEADERS:
                self.why = "ipv6.too_many_headers"
                return DROP
            if f.end - o < 8:
                self.why = "ipv6.chain"
                return DROP
            size = 8 if kind == FRAGMENT else (b[o + 1] + 1) << 3
            if size > f.end - o:
                self.why = "ipv6.chain"
                return DROP
            if kind == HOP_BY_HOP and o != self.start + HEADER_LEN:
                # RFC 8200, section 4.1: only directly behind the IPv6 header.
                return self._problem(UNRECOGNIZED_HEADER, field)
            if kind == FRAGMENT:
                self._fragment(f, o)
                if self.frag:
                    return OK
            elif kind == ROUTING:
                # "If Segments Left is non-zero, the node must discard the packet and send an
                # ICMP Parameter Problem, Code 0" pointing to the type.
                if b[o + 3]:
                    return self._problem(ERRONEOUS_FIELD, o + 2)
            else:
                said = self._options(b, o + 2, o + size)
                if said != OK:
                    return said
            field = o
            self.proto = b[o]
            f.off = self.at = o + size

    def _fragment(self, f, o):
        word = be.get16(f.buf, o + 2)
        self.id32 = be.get32(f.buf, o + 4)
        self.frag = word >> 3 | (MF if word & 1 else 0)
        if self.frag:
            self.proto = f.buf[o]
            f.off = self.at = o + FRAGMENT_LEN

    def _problem(self, code, at, what=PROBLEM_UNICAST):
        self.why = "ipv6.parameter"
        self.code = code
        self.pointer = at - self.start
        return what

    def _options(self, b, i, end):
        """RFC 8200, section 4.2: the upper bits of an unknown option say what to do."""
        n = 0
        while i < end:
            kind = b[i]
            if kind == _PAD1:
                i += 1
                continue
            if i + 1 >= end or i + 2 + b[i + 1] > end:
                self.why = "ipv6.options"
                return DROP
            if kind != _PADN:
                n += 1
                if n > MAX_OPTIONS:
                    self.why = "ipv6.too_many_options"
                    return DROP
                if kind == 5 and b[i + 1] == 2:
                    self.alert = True
                elif kind == _JUMBO or kind >> 6 == 3:
                    return self._problem(UNRECOGNIZED_OPTION, i)
                elif kind >> 6 == 2:
                    return self._problem(UNRECOGNIZED_OPTION, i, PROBLEM)
                elif kind >> 6 == 1:
                    self.why = "ipv6.option"
                    return DROP
            i += 2 + b[i + 1]
        return OK

    @micropython.viper
    def pseudo(self, length: int) -> int:
        """The folded sum of the pseudo-header of a transport datagram of `length` bytes (8.1)."""
        s = int(self.sum) + int(self.proto) + length
        s = (s & 0xFFFF) + (s >> 16)
        return (s & 0xFFFF) + (s >> 16)


@micropython.viper
def same_addresses(buf, off: int, last) -> int:
    """1 if the 32 bytes of addresses at buf[off:] are those in `last`."""
    p = ptr8(buf)
    q = ptr8(last)
    i = 0
    while i < 32:
        if p[off + i] != q[i]:
            return 0
        i += 1
    return 1


def build(buf, off, src, dst, proto, length, hops=64, tclass=0):
    """Write a header of 40 bytes for `length` bytes of payload; src, dst: 16 bytes each."""
    be.put32(buf, off, 0x60000000 | tclass << 20)
    be.put16(buf, off + 4, length)
    buf[off + 6] = proto
    buf[off + 7] = hops
    copy(buf, off + 8, src, 0, 16)
    copy(buf, off + 24, dst, 0, 16)


def pseudo_sum(src, dst, proto, length):
    """The folded sum of a pseudo-header; src, dst: 16 bytes each."""
    s = checksum.add(src, 0, 16, 0) + checksum.add(dst, 0, 16, 0) + proto + length
    s = (s & 0xFFFF) + (s >> 16)
    return (s & 0xFFFF) + (s >> 16)


def pseudo_of(buf, off, proto):
    """The folded sum of the addresses of the header at buf[off:] and proto, without a length."""
    return checksum.add(buf, off + 8, 32, proto)


def template(out, dst_mac, src_mac, src, dst, flow=0):
    """Fill `out` (54 bytes) for emit_from."""
    be.put16(out, 0, dst_mac >> 32)
    be.put32(out, 2, dst_mac & 0xFFFFFFFF)
    be.put16(out, 6, src_mac >> 32)
    be.put32(out, 8, src_mac & 0xFFFFFFFF)
    be.put16(out, 12, 0x86DD)
    be.put32(out, 14, 0x60000000 | flow)
    copy(out, 22, src, 0, 16)
    copy(out, 38, dst, 0, 16)


@micropython.viper
def emit_from(template, dst, off: int, words: int, length: int):
    """Write 54 bytes at dst[off:]: the Ethernet and IPv6 headers of `template`, finished.

    words: traffic class << 16 | hop limit << 8 | next header. length: of the payload.
    """
    t = ptr8(template)
    p = ptr8(dst)
    i = 0
    while i < 54:
        p[off + i] = t[i]
        i += 1
    o = off + 14
    if words >> 16:
        p[o] = 0x60 | words >> 20 & 0x0F
        p[o + 1] = words >> 12 & 0xF0 | t[15] & 0x0F
    p[o + 4] = length >> 8
    p[o + 5] = length & 0xFF
    p[o + 6] = words & 0xFF
    p[o + 7] = words >> 8 & 0xFF


def put_fragment(buf, off, proto, frag, ident):
    """Write a fragment header; frag as in Ipv6."""
    buf[off] = proto
    buf[off + 1] = 0
    be.put16(buf, off + 2, (frag & OFFSET_MASK) << 3 | (1 if frag & MF else 0))
    be.put32(buf, off + 4, ident)


def put_router_alert(buf, off, proto):
    """Write a hop-by-hop header of 8 bytes: router alert (RFC 2711, value 0) and padding."""
    buf[off : off + 8] = bytes((proto, 0, 5, 2, 0, 0, _PADN, 0))
