"""ICMPv6.

RFC 4443. Layout (8 bytes, then data or the packet quoted):

    0  type    1  code    2  checksum (2), over pseudo-header, header and data
    4  echo: identifier (2), sequence (2); packet too big: MTU; parameter problem: pointer

Types below 128 are errors. The messages of neighbour discovery are in nd.py, of
multicast listeners in mld.py.

Not implemented: node information, extended echo.
"""

from micropython import const

from stack.core import be, checksum

HEADER_LEN = const(8)

UNREACHABLE = const(1)
TOO_BIG = const(2)
TIME_EXCEEDED = const(3)
PARAMETER_PROBLEM = const(4)
ECHO = const(128)
ECHO_REPLY = const(129)
MLD_QUERY = const(130)
MLD_REPORT = const(131)
MLD_DONE = const(132)
ROUTER_SOLICIT = const(133)
ROUTER_ADVERT = const(134)
NEIGHBOR_SOLICIT = const(135)
NEIGHBOR_ADVERT = const(136)
REDIRECT = const(137)
MLD2_REPORT = const(143)

NO_ROUTE = const(0)
PROHIBITED = const(1)
ADDRESS_UNREACHABLE = const(3)
PORT_UNREACHABLE = const(4)

HOPS_EXCEEDED = const(0)
REASSEMBLY_EXCEEDED = const(1)


class Icmp6:
    """The header parsed last: `type`, `code`, `rest` (bytes 4 to 8)."""

    __slots__ = ("type", "code", "rest", "why")

    def __init__(self):
        self.type = self.code = self.rest = 0
        self.why = ""

    def parse(self, f, pseudo):
        """Read the message at f.off, advance f behind its header. pseudo: of the IPv6 header.

        False: drop, `why` says why. RFC 4443, section 2.3: the checksum covers the pseudo-header.
        """
        b = f.buf
        o = f.off
        n = f.end - o
        if n < HEADER_LEN:
            self.why = "icmp6.truncated"
            return False
        if not f.csum_ok and checksum.add(b, o, n, pseudo) != 0xFFFF:
            self.why = "icmp6.checksum"
            return False
        self.type = b[o]
        self.code = b[o + 1]
        self.rest = be.get32(b, o + 4)
        f.off = o + HEADER_LEN
        return True

    def is_error(self):
        return self.type < 128


def build(buf, off, kind, code, rest, length, pseudo):
    """Write a header at buf[off:] for `length` bytes of data that are in place behind it.

    pseudo: the folded sum of addresses and protocol, without the length (Path.pseudo).
    """
    buf[off] = kind
    buf[off + 1] = code
    be.put16(buf, off + 2, 0)
    be.put32(buf, off + 4, rest)
    finish(buf, off, HEADER_LEN + length, pseudo)


def finish(buf, off, n, pseudo):
    """Fill in the checksum of the message of n bytes at buf[off:], whose field holds 0."""
    s = pseudo + n
    s = (s & 0xFFFF) + (s >> 16)
    be.put16(buf, off + 2, checksum.checksum(buf, off, n, s))


def emit(frame, kind, code, rest, pseudo):
    """Put a header in front of the data that the frame holds."""
    n = frame.end - frame.off
    build(frame.buf, frame.prepend(HEADER_LEN), kind, code, rest, n, pseudo)
