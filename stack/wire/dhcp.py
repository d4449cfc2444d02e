"""DHCP messages, as a client reads and writes them.

RFC 2131, section 2; options RFC 2132, 3442 (classless routes), 3397 (search list). Layout:

    0   op: 1 request, 2 reply   1   hardware type = 1   2  its length = 6   3  hops
    4   xid (4)                  8   secs (2)            10 flags: 0x8000 broadcast
    12  ciaddr (4)   16 yiaddr (4)   20 siaddr (4)       24 giaddr (4)
    28  chaddr (16)  44 sname (64)   108 file (128)
    236 magic cookie 99 130 83 99    240 options: kind, length, value ... 255

Not implemented: a server's part; options split over several (RFC 3396) but for the search list;
boot files; authentication (RFC 3118).
"""

from micropython import const

from stack.core import be
from stack.wire import ethernet

SERVER_PORT = const(67)
CLIENT_PORT = const(68)

DISCOVER = const(1)
OFFER = const(2)
REQUEST = const(3)
DECLINE = const(4)
ACK = const(5)
NAK = const(6)
RELEASE = const(7)

_FIXED = const(236)
_OPTIONS = const(240)
_MIN_LEN = const(300)  # RFC 1542, section 2.1: pad as BOOTP did, some relays insist
_COOKIE = const(0x63825363)

_SUBNET = const(1)
_ROUTER = const(3)
_DNS = const(6)
_HOSTNAME = const(12)
_DOMAIN = const(15)
_MTU = const(26)
_BROADCAST = const(28)
_REQUESTED = const(50)
_LEASE = const(51)
_OVERLOAD = const(52)
_TYPE = const(53)
_SERVER = const(54)
_PARAMETERS = const(55)
_MAX_SIZE = const(57)
_T1 = const(58)
_T2 = const(59)
_CLIENT_ID = const(61)
_SEARCH = const(119)
_ROUTES = const(121)

# What a message may make us keep: 4 servers, 4 routers, 16 routes, 253 bytes of name; of the
# search list 6 names, of what came in 512 bytes.
_MAX_ADDRS = const(4)
_MAX_ROUTES = const(16)
_MAX_NAME = const(253)
_MAX_SEARCH = const(6)
_MAX_SEARCH_BYTES = const(512)

# Asked of the server. RFC 3442: routes before routers.
_WANTED = b"\x01\x79\x03\x06\x0f\x1a\x1c\x33\x36\x3a\x3b\x77"


class Dhcp:
    """The message parsed last. Addresses and times (seconds) are ints, 0 when absent."""

    def __init__(self):
        self.why = ""
        self._clear()

    def _clear(self):
        self.op = self.xid = self.ciaddr = self.yiaddr = self.siaddr = self.chaddr = 0
        self.type = self.server = self.mask = self.broadcast = self.mtu = 0
        self.lease_s = self.t1_s = self.t2_s = 0
        self.routers = []
        self.dns = []
        self.routes = []  # (network, prefix length, gateway)
        self.domain = ""
        self.search = []  # domains
        self._list = b""
        self._overload = 0

    def parse(self, buf, off, end):
        """Read the message buf[off:end]. False: drop, `why` names the counter."""
        self._clear()
        if end - off < _OPTIONS:
            self.why = "dhcp.truncated"
            return False
        if be.get32(buf, off) >> 8 != 0x020106 or be.get32(buf, off + _FIXED) != _COOKIE:
            self.why = "dhcp.header"
            return False
        self.op = 2
        self.xid = be.get32(buf, off + 4)
        self.ciaddr = be.get32(buf, off + 12)
        self.yiaddr = be.get32(buf, off + 16)
        self.siaddr = be.get32(buf, off + 20)
        self.chaddr = ethernet.get_mac(buf, off + 28)
        if not self._options(buf, off + _OPTIONS, end):
            self.why = "dhcp.options"
            return False
        # RFC 2132, section 9.3: `file` (1), then `sname` (2) may hold more options.
        over = self._overload
        if over & 1 and not self._options(buf, off + 108, off + 236):
            self.why = "dhcp.options"
            return False
        if over & 2 and not self._options(buf, off + 44, off + 108):
            self.why = "dhcp.options"
            return False
        if not self.type:
            self.why = "dhcp.type"
            return False
        if self._list:
            self.search = _names(self._list)
        return True

    def _options(self, buf, i, end):
        while i < end:
            kind = buf[i]
            if kind == 255:
                return True
            if kind == 0:
                i += 1
                continue
            if i + 2 > end:
                return False
            n = buf[i + 1]
            i += 2
            if i + n > end or not self._option(kind, buf, i, n):
                return False
            i += n
        # Without the end option the message was cut, or its writer sloppy: take what is there.
        return True

    def _option(self, kind, buf, i, n):
        """Take one option. False when its length is impossible."""
        if kind == _ROUTER or kind == _DNS:
            if not n or n & 3:
                return False
            out = self.routers if kind == _ROUTER else self.dns
            while n and len(out) < _MAX_ADDRS:
                out.append(be.get32(buf, i))
                i += 4
                n -= 4
            return True
        if kind == _ROUTES:
            return self._classless(buf, i, i + n)
        if kind == _DOMAIN:
            if n > _MAX_NAME:
                return False
            name = ""
            for c in bytes(buf[i : i + n]):
                if c > 32 and c < 127:
                    name += chr(c)
            self.domain = name
            return True
        if kind == _SEARCH:
            # RFC 3397, section 2: several of them are one list.
            if len(self._list) + n <= _MAX_SEARCH_BYTES:
                self._list += bytes(buf[i : i + n])
            return True
        if kind == _TYPE or kind == _OVERLOAD:
            if n != 1:
                return False
            if kind == _TYPE:
                self.type = buf[i]
            else:
                self._overload = buf[i]
            return True
        if kind == _MTU:
            if n != 2:
                return False
            self.mtu = be.get16(buf, i)
            return True
        if kind in (_SUBNET, _BROADCAST, _LEASE, _SERVER, _T1, _T2):
            if n != 4:
                return False
            self._word(kind, be.get32(buf, i))
        return True

    def _word(self, kind, v):
        if kind == _SUBNET:
            self.mask = v
        elif kind == _BROADCAST:
            self.broadcast = v
        elif kind == _LEASE:
            self.lease_s = v
        elif kind == _SERVER:
            self.server = v
        elif kind == _T1:
            self.t1_s = v
        else:
            self.t2_s = v

    def _classless(self, buf, i, end):
        """RFC 3442: prefix length, so many bits of network in whole bytes, gateway (0: on link)."""
        while i < end:
            prefix = buf[i]
            n = (prefix + 7) >> 3
            if prefix > 32 or i + 1 + n + 4 > end:
                return False
            network = 0
            for k in range(4):
                network = network << 8 | (buf[i + 1 + k] if k < n else 0)
            if prefix < 32:
                network &= ~((1 << (32 - prefix)) - 1)
            i += 1 + n
            if len(self.routes) < _MAX_ROUTES:
                self.routes.append((network, prefix, be.get32(buf, i)))
            i += 4
        return True


def _names(b):
    """The names of a search list, which may point back into it (RFC 1035, section 4.1.4).

    [] if anything is wrong with it.
    """
    out = []
    start = 0
    while start < len(b) and len(out) < _MAX_SEARCH:
        labels = []
        i = limit = start
        after = -1
        while True:
            if i >= len(b):
                return []
            n = b[i]
            if n >= 0xC0:
                if i + 1 >= len(b):
                    return []
                if after < 0:
                    after = i + 2
                i = (n & 0x3F) << 8 | b[i + 1]
                if i >= limit:
                    return []  # only back: so it ends
                limit = i
                continue
            if n > 63 or i + 1 + n > len(b):
                return []
            i += 1 + n
            if not n:
                break
            label = b[i - n : i]
            for c in label:
                if not (c == 45 or c == 95 or 48 <= c <= 57 or 65 <= c <= 90 or 97 <= c <= 122):
                    return []
            labels.append(label.decode())
        name = ".".join(labels)
        if not name or len(name) > _MAX_NAME:
            return []
        out.append(name)
        start = after if after >= 0 else i
    return out


def build(kind, xid, mac, secs, ciaddr=0, requested=0, server=0, hostname="", broadcast=True):
    """A client's message as bytes. `requested` and `server` are the options 50 and 54."""
    out = bytearray(_OPTIONS)
    out[0] = 1
    out[1] = 1
    out[2] = 6
    be.put32(out, 4, xid)
    be.put16(out, 8, min(secs, 0xFFFF))
    if broadcast:
        out[10] = 0x80
    be.put32(out, 12, ciaddr)
    ethernet.put_mac(out, 28, mac)
    be.put32(out, _FIXED, _COOKIE)
    out.extend(bytes((_TYPE, 1, kind, _CLIENT_ID, 7, 1)))
    out.extend(bytes(out[28:34]))
    if requested:
        _addr_option(out, _REQUESTED, requested)
    if server:
        _addr_option(out, _SERVER, server)
    if kind == DISCOVER or kind == REQUEST:
        name = hostname.encode()[:63]
        if name:
            out.extend(bytes((_HOSTNAME, len(name))))
            out.extend(name)
        out.extend(bytes((_MAX_SIZE, 2, 1500 >> 8, 1500 & 0xFF)))
        out.extend(bytes((_PARAMETERS, len(_WANTED))))
        out.extend(_WANTED)
    out.append(255)
    if len(out) < _MIN_LEN:
        out.extend(bytes(_MIN_LEN - len(out)))
    return out


def _addr_option(out, kind, addr):
    out.extend(bytes((kind, 4)))
    n = len(out)
    out.extend(bytes(4))
    be.put32(out, n, addr)
