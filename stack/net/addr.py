"""IPv4 addresses: 32-bit ints inside, strings at the edge.

RFC 4632 (prefixes), RFC 6943, section 3.1.1 (only the strict dotted form is accepted).

Not implemented: IPv6.
"""

from micropython import const

ANY = const(0)
BROADCAST = const(0xFFFFFFFF)
LOOPBACK = const(0x7F000001)


def parse(text):
    """The int of "10.0.0.2". ValueError when it is anything else."""
    parts = text.split(".")
    if len(parts) != 4:
        raise ValueError("not an IPv4 address: %s" % text)
    addr = 0
    for part in parts:
        if not _digits(part) or len(part) > 3 or (len(part) > 1 and part[0] == "0"):
            raise ValueError("not an IPv4 address: %s" % text)
        n = int(part)
        if n > 255:
            raise ValueError("not an IPv4 address: %s" % text)
        addr = addr << 8 | n
    return addr


def _digits(text):
    if not text:
        return False
    for c in text:
        if not "0" <= c <= "9":
            return False
    return True


def format(addr):
    """The dotted form of an int."""
    return "%d.%d.%d.%d" % (addr >> 24 & 0xFF, addr >> 16 & 0xFF, addr >> 8 & 0xFF, addr & 0xFF)


def parse_cidr(text):
    """(address, prefix length) of "10.0.0.2/24"; without a slash the prefix is 32. ValueError."""
    i = text.find("/")
    if i < 0:
        return parse(text), 32
    prefix = text[i + 1 :]
    if not _digits(prefix) or len(prefix) > 2 or int(prefix) > 32:
        raise ValueError("not a prefix length: %s" % text)
    return parse(text[:i]), int(prefix)


def format_cidr(addr, prefix):
    return "%s/%d" % (format(addr), prefix)


def mask(prefix):
    """The netmask of a prefix length, 0 to 32."""
    return 0xFFFFFFFF << (32 - prefix) & 0xFFFFFFFF


def prefix_of(netmask):
    """The prefix length of a netmask; ValueError when its ones are not all in front."""
    n = 0
    while n < 32 and netmask >> (31 - n) & 1:
        n += 1
    if mask(n) != netmask:
        raise ValueError("not a netmask: %s" % format(netmask))
    return n


def is_multicast(addr):
    return addr >> 28 == 14


def is_loopback(addr):
    return addr >> 24 == 127


def usable(addr):
    """True for what a host may have as its own address, or as a unicast peer."""
    top = addr >> 24
    return 0 < top < 224 and top != 127
