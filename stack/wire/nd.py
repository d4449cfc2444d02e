"""Neighbour discovery messages, behind the 8 bytes of the ICMPv6 header.

RFC 4861, section 4; RFC 4191 (preference, routes), RFC 8106 (RDNSS, DNSSL). Layout:

    router advertisement (134): 4 hop limit, 5 M O - PRF(2) ---, 6 lifetime (2)  |  0 reachable
        time ms (4)  4 retransmission ms (4)  8 options
    neighbour solicitation (135):  4 reserved     |  0 target (16)  16 options
    neighbour advertisement (136): 4 R S O flags  |  0 target (16)  16 options
    redirect (137): 4 reserved  |  0 target (16)  16 destination (16)  32 options
    an option: 0 type  1 length in 8 bytes (never 0)  2 value

Not implemented: SEND (RFC 3971), proxies, nonces (RFC 7527), captive portal, PREF64.
"""

from micropython import const

from stack.core import be

SOURCE_LINK = const(1)
TARGET_LINK = const(2)
PREFIX = const(3)
REDIRECTED = const(4)
MTU = const(5)
ROUTE = const(24)
RDNSS = const(25)
DNSSL = const(31)

# In byte 4 of an advertisement.
ROUTER = const(0x80)
SOLICITED = const(0x40)
OVERRIDE = const(0x20)

# In byte 5 of a router advertisement.
MANAGED = const(0x80)
OTHER = const(0x40)

# In the flags of a prefix.
ON_LINK = const(0x80)
AUTONOMOUS = const(0x40)

# More options than that are refused: no router says so much.
_MAX_OPTIONS = const(64)


def valid_options(b, o, end):
    """True if the options at b[o:end] are whole. RFC 4861, section 4.6: length 0 is invalid."""
    n = 0
    while o < end:
        if end - o < 8 or not b[o + 1] or b[o + 1] << 3 > end - o:
            return False
        o += b[o + 1] << 3
        n += 1
    return n <= _MAX_OPTIONS


def find_option(b, o, end, kind):
    """The offset of the first option of a kind, or -1. The options must be valid."""
    while o < end:
        if b[o] == kind:
            return o
        o += b[o + 1] << 3
    return -1


def link_address(b, o, end, kind):
    """The 48-bit int of a source or target link-layer address option, or 0."""
    i = find_option(b, o, end, kind)
    if i < 0 or b[i + 1] != 1:
        return 0
    return be.get16(b, i + 2) << 32 | be.get32(b, i + 4)


def put_link_address(b, o, kind, mac):
    """Write an option of 8 bytes."""
    b[o] = kind
    b[o + 1] = 1
    be.put16(b, o + 2, mac >> 32)
    be.put32(b, o + 4, mac & 0xFFFFFFFF)


def preference(bits):
    """-1 low, 0 medium, 1 high of the two bits `bits` of RFC 4191; the reserved value is -2."""
    return (0, 1, -2, -1)[bits & 3]


class Prefix:
    """A prefix information option at b[o:] (RFC 4861, 4.6.2): lifetimes in seconds."""

    def __init__(self, b, o):
        self.length = b[o + 2]
        self.flags = b[o + 3]
        self.valid = be.get32(b, o + 4)
        self.preferred = be.get32(b, o + 8)
        self.prefix = bytes(b[o + 16 : o + 32])


def prefix_option(b, o):
    """The Prefix at b[o:], or None if it is malformed."""
    if b[o + 1] != 4 or b[o + 2] > 128:
        return None
    return Prefix(b, o)


def route_option(b, o):
    """(prefix, length, preference, lifetime in s) of a route option, or None. RFC 4191, 2.3."""
    units = b[o + 1]
    length = b[o + 2]
    if units > 3 or length > 128 or (length > 64 and units < 3) or (length and units < 2):
        return None
    out = bytearray(16)
    have = (units - 1) << 3
    out[:have] = b[o + 8 : o + 8 + have]
    return bytes(out), length, preference(b[o + 3] >> 3), be.get32(b, o + 4)


def rdnss_option(b, o):
    """(lifetime, [16 bytes]) of a recursive DNS server option, or None. RFC 8106, 5.1."""
    units = b[o + 1]
    if units < 3 or not units & 1:
        return None
    servers = []
    for i in range(o + 8, o + (units << 3), 16):
        servers.append(bytes(b[i : i + 16]))
    return be.get32(b, o + 4), servers


def dnssl_option(b, o):
    """(lifetime, [names]) of a DNS search list option, or None. RFC 8106, 5.2."""
    if b[o + 1] < 2:
        return None
    names = []
    end = o + (b[o + 1] << 3)
    i = o + 8
    labels = []
    while i < end:
        n = b[i]
        if n > 63 or i + 1 + n > end:
            return None
        i += 1
        if n:
            labels.append(bytes(b[i : i + n]))
            i += n
        elif labels:
            name = b".".join(labels)
            labels = []
            if len(name) > 253 or not _is_name(name):
                return None
            names.append(name.decode())
        else:
            break  # padding
    return be.get32(b, o + 4), names


def _is_name(name):
    for c in name:
        if not (c == 45 or c == 46 or c == 95 or 48 <= c <= 57 or 65 <= c <= 90 or 97 <= c <= 122):
            return False
    return True
