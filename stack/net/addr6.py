"""IPv6 addresses: 16 bytes where they are stored, one small int where they are compared.

RFC 4291 (kinds and scopes), RFC 5952 (text), RFC 4007 (zones), RFC 9844 in spirit: a zone
is an interface's name behind "%".

The layers above IP know an address as an int. That of an IPv4 address is the address;
that of an IPv6 address is its *handle*: V6 plus 45 bits of a keyed hash, so never equal
to an IPv4 address, and with a port beside it still a small int that allocates nothing.
The key is drawn at boot and told to nobody; the hash is multilinear over words of 16 bits,
for which two addresses agree with a probability of 2^-45 whoever chooses them. A handle is
thus a function of the address: it cannot be given to another one, however often the table
below forgets the bytes behind it. What is forgotten is only the way back from handle to
bytes, which a Path, a Neighbor and an endpoint keep for themselves.

The zone of a link-local address is stored in its bytes 2 and 3, which are zero on the wire:
so fe80::1 on two links is two addresses.

Not implemented: zones by number, IPv4-compatible addresses.
"""

import micropython
from micropython import const

from stack.core import be
from stack.core.mem import copy
from stack.net import addr as _addr

V6 = const(1 << 45)
ANY = const(1 << 45)  # the handle of "::": the hash of zeros is 0

UNSPECIFIED = bytes(16)
LOOPBACK = bytes(15) + b"\x01"
ALL_NODES = b"\xff\x02" + bytes(13) + b"\x01"
ALL_ROUTERS = b"\xff\x02" + bytes(13) + b"\x02"
ALL_DHCP = b"\xff\x02" + bytes(11) + b"\x01\x00\x02"
MLD_ROUTERS = b"\xff\x02" + bytes(13) + b"\x16"

# Scopes, as in the second byte of a multicast address (RFC 4291, 2.7; RFC 6724, 3.1).
SCOPE_INTERFACE = const(1)
SCOPE_LINK = const(2)
SCOPE_SITE = const(5)
SCOPE_GLOBAL = const(14)

# 1,024 sets of 4 addresses: 64 KB of bytes and 32 KB of handles. Whoever floods us from
# random addresses makes entries of others go, and those come back with their next packet.
_SETS = const(1024)
_WAYS = const(4)


def parse(text):
    """(16 bytes, zone) of "fe80::1%eth0"; zone "" without one. ValueError."""
    zone = ""
    i = text.find("%")
    if i >= 0:
        zone = text[i + 1 :]
        text = text[:i]
        if not zone:
            raise ValueError("empty zone")
    i = text.find("::")
    if i >= 0:
        head = _groups(text[:i])
        tail = _groups(text[i + 2 :])
        n = 8 - len(head) - len(tail)
        if n < 1 or "::" in text[i + 1 :]:
            raise ValueError("not an IPv6 address: %s" % text)
        words = head + [0] * n + tail
    else:
        words = _groups(text)
    if len(words) != 8:
        raise ValueError("not an IPv6 address: %s" % text)
    out = bytearray(16)
    for i, w in enumerate(words):
        be.put16(out, 2 * i, w)
    return bytes(out), zone


def _groups(text):
    """The 16-bit words of groups between colons; the last may be in dotted form."""
    if not text:
        return []
    words = []
    parts = text.split(":")
    for i, part in enumerate(parts):
        if "." in part and i == len(parts) - 1:
            v4 = _addr.parse(part)
            words += [v4 >> 16, v4 & 0xFFFF]
            continue
        if not 1 <= len(part) <= 4:
            raise ValueError("not an IPv6 address: %s" % text)
        w = 0
        for c in part.lower():
            d = "0123456789abcdef".find(c)
            if d < 0:
                raise ValueError("not an IPv6 address: %s" % text)
            w = w << 4 | d
        words.append(w)
    return words


def format(a, off=0):
    """The text of the 16 bytes at a[off:] as RFC 5952 wants it, without a zone."""
    words = [a[off + i] << 8 | a[off + i + 1] for i in range(0, 16, 2)]
    if is_link_local(a, off) or is_link_group(a, off):
        words[1] = 0
    if words[:6] == [0, 0, 0, 0, 0, 0xFFFF]:
        return "::ffff:" + _addr.format(words[6] << 16 | words[7])
    best = start = 0
    i = 0
    while i < 8:
        j = i
        while j < 8 and not words[j]:
            j += 1
        if j - i > best:
            best = j - i
            start = i
        i = j + 1
    text = ["%x" % w for w in words]
    # RFC 5952, section 4.2.2: "::" must not shorten just one group.
    if best < 2:
        return ":".join(text)
    return ":".join(text[:start]) + "::" + ":".join(text[start + best :])


def parse_cidr(text):
    """(16 bytes, prefix length) of "2001:db8::2/64"; without a slash 128. ValueError."""
    i = text.find("/")
    if i < 0:
        return parse(text)[0], 128
    n = text[i + 1 :]
    if not n.isdigit() or len(n) > 3 or int(n) > 128:
        raise ValueError("not a prefix length: %s" % text)
    return parse(text[:i])[0], int(n)


def is_multicast(a, off=0):
    return a[off] == 0xFF


def is_link_local(a, off=0):
    """fe80::/10."""
    return a[off] == 0xFE and a[off + 1] & 0xC0 == 0x80


def is_link_group(a, off=0):
    """A multicast address of interface or link scope: one that has a zone."""
    return a[off] == 0xFF and a[off + 1] & 0x0F <= SCOPE_LINK


def is_unspecified(a, off=0):
    return be.equal(a, off, UNSPECIFIED, 0, 16) == 1


def is_loopback(a, off=0):
    return be.equal(a, off, LOOPBACK, 0, 16) == 1


def is_mapped(a, off=0):
    """::ffff:0:0/96, IPv4 in IPv6 clothes: for programs, never on the wire."""
    return be.equal(a, off, UNSPECIFIED, 0, 10) == 1 and a[off + 10] == a[off + 11] == 0xFF


def scope(a, off=0):
    """RFC 6724, section 3.1: loopback counts as link-local."""
    if a[off] == 0xFF:
        return a[off + 1] & 0x0F
    if is_link_local(a, off) or is_loopback(a, off):
        return SCOPE_LINK
    if a[off] == 0xFE and a[off + 1] & 0xC0 == 0xC0:
        return SCOPE_SITE
    return SCOPE_GLOBAL


def solicited_node(a, off=0):
    """ff02::1:ffXX:XXXX of an address (RFC 4291, section 2.7.1)."""
    tail = bytes((a[off + 13], a[off + 14], a[off + 15]))
    return b"\xff\x02" + bytes(9) + b"\x01\xff" + tail


def multicast_mac(a, off=0):
    """33:33 and the last 32 bits (RFC 2464, section 7)."""
    return 0x333300000000 | be.get32(a, off + 12)


@micropython.viper
def common(a, a_off: int, b, b_off: int) -> int:
    """How many leading bits agree, 0 to 128."""
    p = ptr8(a)
    q = ptr8(b)
    i = 0
    while i < 16 and p[a_off + i] == q[b_off + i]:
        i += 1
    if i == 16:
        return 128
    n = i << 3
    x = p[a_off + i] ^ q[b_off + i]
    while x & 0x80 == 0:
        x = x << 1
        n += 1
    return n


def in_prefix(a, a_off, prefix, length):
    """True if the address at a[a_off:] begins with the `length` bits of prefix."""
    return common(a, a_off, prefix, 0) >= length


def masked(a, length):
    """The bytes of a with what lies behind `length` bits zeroed."""
    out = bytearray(a)
    for i in range(16):
        keep = min(max(length - 8 * i, 0), 8)
        out[i] &= 0xFF00 >> keep & 0xFF
    return bytes(out)


@micropython.viper
def _hash(keys, buf, off: int) -> int:
    """45 bits: sum of key * word modulo 2^64 over 8 words, its upper part."""
    k = ptr8(keys)
    p = ptr8(buf)
    h = 0
    i = 0
    while i < 16:
        word = p[off + i] << 8 | p[off + i + 1]
        j = i << 2
        key = k[j] << 24 | k[j + 1] << 16 | k[j + 2] << 8 | k[j + 3]
        key = key << 32 | k[j + 4] << 24 | k[j + 5] << 16 | k[j + 6] << 8 | k[j + 7]
        h += key * word
        i += 2
    # Bits 19 to 63: the top ones are where every bit of the input has been.
    return (h >> 19 & 0x7FFFFFF) | (h >> 46 & 0x3FFFF) << 27


class Addresses:
    """Handles to bytes and back. `handle` allocates nothing."""

    def __init__(self, rng):
        self._keys = bytearray(rng(64))
        self._bytes = bytearray(_SETS * _WAYS * 16)
        self._handles = [0] * (_SETS * _WAYS)
        self._victim = bytearray(_SETS)
        self._scratch = bytearray(16)
        self._kept = {ANY: UNSPECIFIED}  # handle -> bytes: our own and what was configured

    def handle(self, buf, off=0, zone=0):
        """The int of the address at buf[off:]; `zone`: the index of the interface, for link-local.

        -1 if another address that was seen lately has the same.
        """
        if zone and buf[off] >= 0xFE and self._zoned(buf, off, zone):
            buf = self._scratch
            off = 0
        h = V6 | _hash(self._keys, buf, off)
        way = (h & _SETS - 1) * _WAYS
        end = way + _WAYS
        handles = self._handles
        while way < end:
            if handles[way] == h:
                return h if be.equal(self._bytes, way << 4, buf, off, 16) else -1
            way += 1
        row = h & _SETS - 1
        way = row * _WAYS + self._victim[row]
        self._victim[row] = (self._victim[row] + 1) % _WAYS
        handles[way] = h
        copy(self._bytes, way << 4, buf, off, 16)
        return h

    def number(self, buf, off, zone):
        """The handle as `handle` gives it, without remembering the address."""
        if zone and buf[off] >= 0xFE and self._zoned(buf, off, zone):
            buf = self._scratch
            off = 0
        return V6 | _hash(self._keys, buf, off)

    def _zoned(self, buf, off, zone):
        """Put the stored form of a link-local address into the scratch; False for others."""
        if not (is_link_local(buf, off) or is_link_group(buf, off)):
            return False
        s = self._scratch
        copy(s, 0, buf, off, 16)
        s[2] = zone >> 8
        s[3] = zone & 0xFF
        return True

    def keep(self, a, zone=0):
        """The handle of 16 bytes, remembered for good."""
        h = self.handle(a, 0, zone)
        if h not in self._kept:
            out = bytearray(16)
            self.fetch(h, out, 0)
            self._kept[h] = bytes(out)
        return h

    def release(self, h):
        """What keep remembered may be forgotten."""
        self._kept.pop(h, None)

    def fetch(self, h, out, off):
        """Write the 16 bytes of a handle to out[off:]. False: they were forgotten."""
        row = h & _SETS - 1
        way = row * _WAYS
        end = way + _WAYS
        while way < end:
            if self._handles[way] == h:
                copy(out, off, self._bytes, way << 4, 16)
                return True
            way += 1
        kept = self._kept.get(h)
        if kept is None:
            return False
        copy(out, off, kept, 0, 16)
        return True

    def bytes(self, h):
        """The 16 bytes of a handle (zone inside), or None when they were forgotten."""
        out = bytearray(16)
        return bytes(out) if self.fetch(h, out, 0) else None


def zone(a, off=0):
    """The interface index in a link-local address as it is stored, or 0."""
    if is_link_local(a, off) or is_link_group(a, off):
        return be.get16(a, off + 2)
    return 0


def with_zone(a, index):
    """The stored form of a link-local address on interface `index`; others as they are."""
    if index and (is_link_local(a) or is_link_group(a)):
        return bytes(a[:2]) + bytes((index >> 8, index & 0xFF)) + bytes(a[4:16])
    return bytes(a)


def without_zone(a):
    """The form on the wire of a stored address."""
    if is_link_local(a) or is_link_group(a):
        return bytes(a[:2]) + b"\0\0" + bytes(a[4:16])
    return bytes(a)
