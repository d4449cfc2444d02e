"""ICMP for IPv4.

RFC 792, RFC 1191. Layout (8 bytes, then data or the packet quoted):

    0  type    1  code    2  checksum (2), over header and data
    4  echo: identifier (2), sequence (2)
       unreachable, code 4: unused (2), next-hop MTU (2); other errors: unused

Not implemented: timestamps, address masks, router discovery (read, not answered);
building parameter problems and redirects.
"""

import micropython
from micropython import const

from stack.core import be, checksum

HEADER_LEN = const(8)

ECHO_REPLY = const(0)
UNREACHABLE = const(3)
SOURCE_QUENCH = const(4)
REDIRECT = const(5)
ECHO = const(8)
TIME_EXCEEDED = const(11)
PARAMETER_PROBLEM = const(12)

NET_UNREACHABLE = const(0)
HOST_UNREACHABLE = const(1)
PROTOCOL_UNREACHABLE = const(2)
PORT_UNREACHABLE = const(3)
FRAG_NEEDED = const(4)

TTL_EXCEEDED = const(0)
REASSEMBLY_EXCEEDED = const(1)


class Icmp4:
    """The header parsed last: `type`, `code`, `rest` (bytes 4 to 8), for an echo `ident`, `seq`."""

    __slots__ = ("type", "code", "rest", "why")

    def __init__(self):
        self.type = self.code = self.rest = 0
        self.why = ""

    def parse(self, f):
        """Read the message at f.off, advance f behind its header. False: drop, `why` says why."""
        b = f.buf
        o = f.off
        n = f.end - o
        if n < HEADER_LEN:
            self.why = "icmp.truncated"
            return False
        if checksum.add(b, o, n, 0) != 0xFFFF:
            self.why = "icmp.checksum"
            return False
        self.type = b[o]
        self.code = b[o + 1]
        self.rest = be.get32(b, o + 4)
        f.off = o + HEADER_LEN
        return True

    def is_error(self):
        """True for a message about another packet, which quotes it."""
        t = self.type
        return 3 <= t <= 5 or t == TIME_EXCEEDED or t == PARAMETER_PROBLEM


@micropython.viper
def usual_echo(buf, off: int, end: int, src: int, dst: int) -> int:
    """The length of the message in the IPv4 packet buf[off:end] if that is an echo request from
    src to dst, whole and with a good header without options; else 0. Its sum is not looked at.
    """
    if end - off < 28:
        return 0
    p = ptr8(buf)
    total = p[off + 2] << 8 | p[off + 3]
    # Version and header length, fragment, protocol, type and code.
    d = (p[off] ^ 0x45) | (p[off + 6] & 0x3F) | p[off + 7] | (p[off + 9] ^ 1)
    d |= (p[off + 20] ^ 8) | p[off + 21]
    if d or total < 28 or total > end - off:
        return 0
    if p[off + 12] << 24 | p[off + 13] << 16 | p[off + 14] << 8 | p[off + 15] != src:
        return 0
    if p[off + 16] << 24 | p[off + 17] << 16 | p[off + 18] << 8 | p[off + 19] != dst:
        return 0
    s = 0
    i = off
    while i < off + 20:
        s += p[i] << 8 | p[i + 1]
        i += 2
    s = (s & 0xFFFF) + (s >> 16)
    if (s & 0xFFFF) + (s >> 16) != 0xFFFF:
        return 0
    return total - 20


@micropython.viper
def answer_echo(buf, off: int):
    """Make the echo request at buf[off:] its reply (RFC 792): type 8 becomes 0, so the sum loses
    0x0800 and its complement gains it (RFC 1624).
    """
    p = ptr8(buf)
    c = (p[off + 2] << 8 | p[off + 3]) + 0x0800
    c = (c & 0xFFFF) + (c >> 16)
    p[off] = 0
    p[off + 2] = c >> 8
    p[off + 3] = c & 0xFF


def build(buf, off, kind, code, rest, length):
    """Write a header at buf[off:] for `length` bytes of data that are in place behind it."""
    buf[off] = kind
    buf[off + 1] = code
    be.put16(buf, off + 2, 0)
    be.put32(buf, off + 4, rest)
    be.put16(buf, off + 2, checksum.checksum(buf, off, HEADER_LEN + length))


def emit(frame, kind, code, rest):
    """Put a header in front of the data that the frame holds."""
    n = frame.end - frame.off
    build(frame.buf, frame.prepend(HEADER_LEN), kind, code, rest, n)
