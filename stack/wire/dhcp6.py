"""DHCPv6 messages between client and server.

RFC 8415, sections 8 and 21; RFC 3646 (DNS). Layout:

    0  message type    1  transaction id (3)    4  options: code (2), length (2), value

    IA_NA (3): IAID (4), T1 s (4), T2 s (4), options
    IAADDR (5): address (16), preferred lifetime s (4), valid lifetime s (4), options
    STATUS (13): code (2), text

Not implemented: relay messages, temporary addresses (IA_TA), prefix delegation, reconfigure,
authentication, options that repeat but for IA_NA.
"""

from micropython import const

from stack.core import be

CLIENT_PORT = const(546)
SERVER_PORT = const(547)

SOLICIT = const(1)
ADVERTISE = const(2)
REQUEST = const(3)
RENEW = const(5)
REBIND = const(6)
REPLY = const(7)
RELEASE = const(8)
DECLINE = const(9)
INFORMATION = const(11)

CLIENT_ID = const(1)
SERVER_ID = const(2)
IA_NA = const(3)
IA_ADDR = const(5)
ORO = const(6)
PREFERENCE = const(7)
ELAPSED = const(8)
STATUS = const(13)
RAPID_COMMIT = const(14)
DNS_SERVERS = const(23)
DOMAIN_LIST = const(24)
REFRESH_TIME = const(32)
SOL_MAX_RT = const(82)
INF_MAX_RT = const(83)

SUCCESS = const(0)
NO_ADDRS = const(2)
NO_BINDING = const(3)
NOT_ON_LINK = const(4)

_MAX_OPTIONS = const(64)
_MAX_ADDRESSES = const(4)
_MAX_SERVERS = const(8)


class Message:
    """What parse() found: `type xid client server status preference rapid refresh dns domains`,
    and of the IA_NA: `iaid t1 t2 ia_status addresses` [(16 bytes, preferred s, valid s)].
    """

    def __init__(self):
        self.type = self.xid = 0
        self.client = self.server = None
        self.status = self.ia_status = SUCCESS
        self.preference = 0
        self.rapid = False
        self.refresh = 0
        self.dns = []
        self.domains = []
        self.iaid = -1
        self.t1 = self.t2 = 0
        self.addresses = []
        self.sol_max_rt = self.inf_max_rt = 0


def options(b, o, end):
    """[(code, offset, length)] of the options at b[o:end], or None when one does not fit."""
    out = []
    while o < end:
        if end - o < 4 or len(out) >= _MAX_OPTIONS:
            return None
        code = be.get16(b, o)
        n = be.get16(b, o + 2)
        if n > end - o - 4:
            return None
        out.append((code, o + 4, n))
        o += 4 + n
    return out


def parse(b, o, n):
    """The Message at b[o:o + n], or None if it is malformed."""
    if n < 4:
        return None
    found = options(b, o + 4, o + n)
    if found is None:
        return None
    m = Message()
    m.type = b[o]
    m.xid = b[o + 1] << 16 | b[o + 2] << 8 | b[o + 3]
    for code, i, k in found:
        if code == CLIENT_ID:
            m.client = bytes(b[i : i + k])
        elif code == SERVER_ID:
            m.server = bytes(b[i : i + k])
        elif code == STATUS and k >= 2:
            m.status = be.get16(b, i)
        elif code == PREFERENCE and k == 1:
            m.preference = b[i]
        elif code == RAPID_COMMIT:
            m.rapid = True
        elif code == DNS_SERVERS and k % 16 == 0:
            m.dns = [bytes(b[j : j + 16]) for j in range(i, i + k, 16)][:_MAX_SERVERS]
        elif code == DOMAIN_LIST:
            m.domains = _domains(b, i, i + k)
        elif code == REFRESH_TIME and k == 4:
            m.refresh = be.get32(b, i)
        elif code == SOL_MAX_RT and k == 4:
            m.sol_max_rt = be.get32(b, i)
        elif code == INF_MAX_RT and k == 4:
            m.inf_max_rt = be.get32(b, i)
        elif code == IA_NA and k >= 12 and m.iaid < 0:
            if not _ia(m, b, i, k):
                return None
    return m


def _ia(m, b, i, k):
    m.iaid = be.get32(b, i)
    m.t1 = be.get32(b, i + 4)
    m.t2 = be.get32(b, i + 8)
    found = options(b, i + 12, i + k)
    if found is None:
        return False
    for code, j, n in found:
        if code == STATUS and n >= 2:
            m.ia_status = be.get16(b, j)
        elif code == IA_ADDR and n >= 24 and len(m.addresses) < _MAX_ADDRESSES:
            preferred = be.get32(b, j + 16)
            valid = be.get32(b, j + 20)
            # Section 21.6: "MUST discard any addresses for which the preferred lifetime is
            # greater than the valid lifetime".
            if preferred <= valid:
                m.addresses.append((bytes(b[j : j + 16]), preferred, valid))
    return True


def _domains(b, i, end):
    """Names in DNS form, uncompressed (section 10); [] if they are malformed."""
    out = []
    labels = []
    while i < end:
        n = b[i]
        if n > 63 or i + 1 + n > end:
            return []
        if n:
            label = bytes(b[i + 1 : i + 1 + n])
            for c in label:
                if not (c == 45 or c == 95 or 48 <= c <= 57 or 65 <= c <= 90 or 97 <= c <= 122):
                    return []
            labels.append(label.decode())
        elif labels:
            out.append(".".join(labels))
            labels = []
        i += 1 + n
    return out[:_MAX_SERVERS]


def option(code, value):
    """An option as bytes."""
    n = len(value)
    return bytes((code >> 8, code & 0xFF, n >> 8, n & 0xFF)) + value


def duid_ll(mac):
    """A DUID of the kind that is made of the link-layer address (section 11.4)."""
    return b"\x00\x03\x00\x01" + mac.to_bytes(6, "big")


def build(kind, xid, client, server, elapsed, iaid=-1, addresses=(), rapid=False):
    """A message as bytes. elapsed: hundredths of a second; iaid -1: without an IA_NA.

    addresses: [16 bytes] to ask for, to renew, or to give back.
    """
    out = bytes((kind, xid >> 16, xid >> 8 & 0xFF, xid & 0xFF))
    out += option(CLIENT_ID, client)
    if server is not None:
        out += option(SERVER_ID, server)
    out += option(ELAPSED, min(elapsed, 0xFFFF).to_bytes(2, "big"))
    if kind not in (RELEASE, DECLINE):
        wanted = [DNS_SERVERS, DOMAIN_LIST]
        if kind == SOLICIT:
            wanted.append(SOL_MAX_RT)
        elif kind == INFORMATION:
            wanted += [REFRESH_TIME, INF_MAX_RT]
        out += option(ORO, b"".join([w.to_bytes(2, "big") for w in wanted]))
    if iaid >= 0:
        ia = iaid.to_bytes(4, "big") + bytes(8)
        for a in addresses:
            ia += option(IA_ADDR, bytes(a) + bytes(8))
        out += option(IA_NA, ia)
    if rapid:
        out += option(RAPID_COMMIT, b"")
    return out
