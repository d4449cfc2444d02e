"""Ethernet II frame headers.

IEEE 802.3, RFC 894. Layout (14 bytes):

    0  destination MAC (6)
    6  source MAC (6)
    12 ethertype (2)

MAC addresses are 48-bit ints: a small int, so a dict key that costs nothing.

Not implemented: 802.3 length fields with LLC (dropped), 802.1Q tags.
"""

import micropython
from micropython import const

HEADER_LEN = const(14)
MIN_TYPE = const(0x0600)  # below, the field is an 802.3 length

TYPE_IPV4 = const(0x0800)
TYPE_ARP = const(0x0806)
TYPE_VLAN = const(0x8100)
TYPE_IPV6 = const(0x86DD)

BROADCAST = const(0xFFFFFFFFFFFF)
GROUP_BIT = const(0x010000000000)  # set in broadcast and multicast addresses


class Ethernet:
    """The header of the frame parsed last: `dst`, `src`, `ethertype`."""

    __slots__ = ("dst", "src", "ethertype", "why")

    def __init__(self):
        self.dst = self.src = self.ethertype = 0
        self.why = ""

    @micropython.viper
    def parse(self, f) -> bool:
        """Read the header at f.off, advance f behind it. False: drop, `why` names the counter."""
        o = int(f.off)
        if int(f.end) - o < 14:
            self.why = "ethernet.truncated"
            return False
        p = ptr8(f.buf)
        high = p[o] << 16 | p[o + 1] << 8 | p[o + 2]
        self.dst = high << 24 | p[o + 3] << 16 | p[o + 4] << 8 | p[o + 5]
        o += 6
        high = p[o] << 16 | p[o + 1] << 8 | p[o + 2]
        self.src = high << 24 | p[o + 3] << 16 | p[o + 4] << 8 | p[o + 5]
        o += 6
        kind = p[o] << 8 | p[o + 1]
        if kind < 0x0600:
            self.why = "ethernet.llc"
            return False
        self.ethertype = kind
        f.off = o + 2
        return True


@micropython.viper
def known_type(buf, off: int, end: int, known) -> int:
    """The ethertype of a frame that begins with the 12 bytes `known` (both addresses), else 0.

    Most frames are from the sender of the one before: this spares them the parsing.
    """
    if end - off < 14:
        return 0
    p = ptr8(buf)
    k = ptr8(known)
    i = 0
    while i < 12:
        if p[off + i] != k[i]:
            return 0
        i += 1
    return p[off + 12] << 8 | p[off + 13]


@micropython.viper
def put_mac(buf, off: int, mac: int):
    p = ptr8(buf)
    p[off] = mac >> 40 & 0xFF
    p[off + 1] = mac >> 32 & 0xFF
    p[off + 2] = mac >> 24 & 0xFF
    p[off + 3] = mac >> 16 & 0xFF
    p[off + 4] = mac >> 8 & 0xFF
    p[off + 5] = mac & 0xFF


@micropython.viper
def get_mac(buf, off: int) -> int:
    p = ptr8(buf)
    return (
        p[off] << 40
        | p[off + 1] << 32
        | p[off + 2] << 24
        | p[off + 3] << 16
        | p[off + 4] << 8
        | p[off + 5]
    )


def build(buf, off, dst, src, ethertype):
    """Write the 14 bytes of a header at buf[off:]."""
    put_mac(buf, off, dst)
    put_mac(buf, off + 6, src)
    buf[off + 12] = ethertype >> 8
    buf[off + 13] = ethertype & 0xFF


def emit(frame, dst, src, ethertype):
    """Put a header in front of the frame."""
    build(frame.buf, frame.prepend(HEADER_LEN), dst, src, ethertype)


def format_mac(mac):
    """A MAC address as people write it."""
    return "%02x:%02x:%02x:%02x:%02x:%02x" % (
        mac >> 40 & 0xFF, mac >> 32 & 0xFF, mac >> 24 & 0xFF,
        mac >> 16 & 0xFF, mac >> 8 & 0xFF, mac & 0xFF,
    )  # fmt: skip


def parse_mac(text):
    """The int of "52:54:00:12:34:56". ValueError when it is not one."""
    parts = text.split(":")
    if len(parts) != 6:
        raise ValueError("not a MAC address: %s" % text)
    mac = 0
    for part in parts:
        if not 1 <= len(part) <= 2:
            raise ValueError("not a MAC address: %s" % text)
        mac = mac << 8 | int(part, 16)
    return mac


def multicast_mac(group):
    """The Ethernet address of an IPv4 group: its low 23 bits behind 01:00:5e. RFC 1112, 6.4."""
    return 0x01005E000000 | group & 0x7FFFFF
