"""DNS messages: building a query, reading an answer. RFC 1035, EDNS from RFC 6891.

    id | flags | QDCOUNT ANCOUNT NSCOUNT ARCOUNT     12 bytes, then the four sections
    question: name type class      record: name type class TTL RDLENGTH RDATA

Names are text without the final dot; a byte that is not plain is written \\DDD
and a dot inside a label \\. (RFC 1035, section 5.1). Not implemented: building
answers; types beyond those in TYPES keep their RDATA as bytes (RFC 3597).
"""

import micropython
from micropython import const

from stack.core.cursor import Reader, Writer
from stack.core.errors import ProtocolError

A = const(1)
NS = const(2)
CNAME = const(5)
SOA = const(6)
PTR = const(12)
MX = const(15)
TXT = const(16)
AAAA = const(28)
SRV = const(33)
OPT = const(41)
ANY = const(255)

TYPES = {
    "A": A, "NS": NS, "CNAME": CNAME, "SOA": SOA, "PTR": PTR, "MX": MX, "TXT": TXT,
    "AAAA": AAAA, "SRV": SRV, "OPT": OPT, "ANY": ANY,
}  # fmt: skip
CLASS_IN = const(1)

NOERROR = const(0)
FORMERR = const(1)
SERVFAIL = const(2)
NXDOMAIN = const(3)
NOTIMP = const(4)
REFUSED = const(5)

RCODES = ("NOERROR", "FORMERR", "SERVFAIL", "NXDOMAIN", "NOTIMP", "REFUSED")

_QR = const(0x8000)
_TC = const(0x0200)
_RD = const(0x0100)

# What we say we take over UDP: fits every path's MTU unfragmented (DNS flag day 2020).
UDP_SIZE = const(1232)

_LABEL_MAX = const(63)
_NAME_MAX = const(255)  # on the wire, length bytes and the root among them
# Each record takes at least 11 bytes, so a message of 64 KB could hold 5,900. No
# answer that we ask for needs more than this; at about 200 bytes each, 50 KB.
_RECORDS_MAX = const(256)


class Record:
    """One resource record. `data` by type:

    A, AAAA: the address as text. CNAME, NS, PTR: a name. MX: (preference, name).
    TXT: a tuple of bytes. SRV: (priority, weight, port, name).
    SOA: (mname, rname, serial, refresh, retry, expire, minimum). Others: bytes.
    """

    def __init__(self, name, type, cls, ttl, data):
        self.name = name
        self.type = type
        self.cls = cls
        self.ttl = ttl
        self.data = data

    def __repr__(self):
        data = self.data
        if isinstance(data, tuple):
            data = " ".join([str(x) for x in data])
        return "<%s %d %s %s>" % (self.name or ".", self.ttl, type_name(self.type), data)


class Message:
    """A message that was read. `questions`: list of (name, type, class)."""

    def __init__(self, id, flags):
        self.id = id
        self.flags = flags
        self.questions = []
        self.answers = []
        self.authority = []
        self.additional = []

    def is_response(self):
        return bool(self.flags & _QR)

    def truncated(self):
        return bool(self.flags & _TC)

    def rcode(self):
        """The header's four bits, and the eight above them from an OPT record."""
        code = self.flags & 15
        for r in self.additional:
            if r.type == OPT:
                code |= r.ttl >> 24 << 4
        return code


def type_name(type):
    for name, number in TYPES.items():
        if number == type:
            return name
    return "TYPE%d" % type


def type_number(type):
    """A type from its name ("MX", "TYPE65") or number. ValueError for another."""
    if isinstance(type, int):
        if 0 < type < 65536:
            return type
    else:
        type = type.upper()
        if type in TYPES:
            return TYPES[type]
        if type.startswith("TYPE") and type[4:].isdigit():
            return type_number(int(type[4:]))
    raise ValueError("no such record type: %s" % (type,))


def build_query(id, name, type, edns=True):
    """A query for one question, recursion desired. `name` is text or wire form (bytes)."""
    w = Writer()
    w.push_u16(id)
    w.push_u16(_RD)
    w.push_u16(1)
    w.push_u16(0)
    w.push_u16(0)
    w.push_u16(1 if edns else 0)
    w.push_bytes(name if isinstance(name, bytes) else name_to_wire(name))
    w.push_u16(type)
    w.push_u16(CLASS_IN)
    if edns:
        # RFC 6891, section 6.1.2: root name, OPT, our UDP size, no flags, no options.
        w.push_u8(0)
        w.push_u16(OPT)
        w.push_u16(UDP_SIZE)
        w.push_u32(0)
        w.push_u16(0)
    return bytes(w.out)


def parse(data):
    """Read a whole message. Raises ProtocolError if any byte of it is wrong."""
    r = Reader(data, 0, len(data), "dns")
    m = Message(r.pull_u16(), r.pull_u16())
    counts = [r.pull_u16() for _ in range(4)]
    if counts[0] > 1 or counts[1] + counts[2] + counts[3] > _RECORDS_MAX:
        raise ProtocolError("dns", "too many records")
    for _ in range(counts[0]):
        name = pull_name(r)
        m.questions.append((name, r.pull_u16(), r.pull_u16()))
    for section, n in ((m.answers, counts[1]), (m.authority, counts[2]), (m.additional, counts[3])):
        for _ in range(n):
            section.append(_pull_record(r))
    if r.left():
        raise ProtocolError("dns", "bytes after the message")
    return m


def _pull_record(r):
    name = pull_name(r)
    type = r.pull_u16()
    cls = r.pull_u16()
    ttl = r.pull_u32()
    # RFC 2181, section 8: a TTL with the top bit set is zero.
    if ttl >> 31 and type != OPT:
        ttl = 0
    n = r.pull_u16()
    rdata = r.sub(n)
    reader = _RDATA.get(type) if cls == CLASS_IN else None
    if reader is None:
        return Record(name, type, cls, ttl, rdata.pull_bytes(n))
    data = reader(rdata)
    if rdata.left():
        raise ProtocolError("dns", "RDATA longer than its record")
    return Record(name, type, cls, ttl, data)


# Names.


def name_to_wire(name):
    """The uncompressed wire form of a name. ValueError if it is none."""
    if name.endswith(".") and not name.endswith("\\."):
        name = name[:-1]
    out = bytearray()
    data = name.encode()
    if "\\" not in name and _plain(data, 0, len(data), 0):
        for label in data.split(b".") if data else ():
            _push_label(out, label)
    else:
        _push_escaped(out, name)
    out.append(0)
    if len(out) > _NAME_MAX:
        raise ValueError("name longer than 255 bytes")
    return bytes(out)


@micropython.viper
def _plain(buf, pos: int, n: int, dot: int) -> int:
    """1 if n bytes from pos on are visible ASCII, none of them a backslash or `dot`."""
    p = ptr8(buf)
    end = pos + n
    while pos < end:
        ch = p[pos]
        if ch < 33 or ch > 126 or ch == 92 or ch == dot:
            return 0
        pos += 1
    return 1


def _push_escaped(out, name):
    """Names with escapes, and those that are none."""
    label = bytearray()
    i = 0
    n = len(name)
    while i < n:
        ch = ord(name[i])
        i += 1
        if ch == 46:
            _push_label(out, label)
            label = bytearray()
            continue
        if ch == 92:  # backslash
            digits = name[i : i + 3]
            if len(digits) == 3 and digits.isdigit() and int(digits) < 256:
                label.append(int(digits))
                i += 3
                continue
            if i == n or name[i].isdigit():
                raise ValueError("bad escape in name %r" % name)
            ch = ord(name[i])
            i += 1
        if ch > 126:
            raise ValueError("name %r is not ASCII: write it in its xn-- form" % name)
        label.append(ch)
    _push_label(out, label)


def _push_label(out, label):
    if not 0 < len(label) <= _LABEL_MAX:
        raise ValueError("a label has 1 to 63 bytes")
    out.append(len(label))
    out.extend(label)


def pull_name(r):
    """Read a name that may be compressed; r moves to behind it. Text."""
    buf = r.buf
    pos = r.pos
    end = r.end
    # A pointer must lie before the place where this run of labels began, and each
    # further one before the last: so the walk goes only back and ends.
    limit = pos
    after = -1
    length = 1
    labels = []
    while True:
        if pos >= end:
            raise ProtocolError("dns", "name ends too early")
        n = buf[pos]
        if n >= 0xC0:
            if pos + 1 >= end:
                raise ProtocolError("dns", "name ends too early")
            target = (n & 0x3F) << 8 | buf[pos + 1]
            if after < 0:
                after = pos + 2
            if target >= limit:
                raise ProtocolError("dns", "compression pointer does not go back")
            pos = limit = target
            continue
        if n > _LABEL_MAX:
            raise ProtocolError("dns", "unknown kind of label")
        pos += 1
        if n == 0:
            break
        length += n + 1
        if length > _NAME_MAX:
            raise ProtocolError("dns", "name longer than 255 bytes")
        if pos + n > end:
            raise ProtocolError("dns", "name ends too early")
        labels.append(_label_text(buf, pos, n))
        pos += n
    r.pos = pos if after < 0 else after
    return ".".join(labels)


def _label_text(buf, pos, n):
    if _plain(buf, pos, n, 46):
        return str(bytes(buf[pos : pos + n]), "ascii")
    out = ""
    for i in range(pos, pos + n):
        ch = buf[i]
        if ch == 46 or ch == 92:
            out += "\\" + chr(ch)
        elif 33 <= ch <= 126:
            out += chr(ch)
        else:
            out += "\\%03d" % ch
    return out


# RDATA, one reader a type.


def _pull_a(r):
    b = r.pull_bytes(4)
    return "%d.%d.%d.%d" % (b[0], b[1], b[2], b[3])


def _pull_aaaa(r):
    return ip6_text(r.pull_bytes(16))


def ip6_text(b):
    """16 bytes as text: lower case, the first longest run of zero groups as :: (RFC 5952)."""
    groups = [b[i] << 8 | b[i + 1] for i in range(0, 16, 2)]
    best = start = -1
    best_n = 1  # "::" is not used for one group
    for i in range(9):
        if i < 8 and groups[i] == 0:
            if start < 0:
                start = i
        elif start >= 0:
            if i - start > best_n:
                best = start
                best_n = i - start
            start = -1
    words = ["%x" % g for g in groups]
    if best < 0:
        return ":".join(words)
    return ":".join(words[:best]) + "::" + ":".join(words[best + best_n :])


def _pull_mx(r):
    return r.pull_u16(), pull_name(r)


def _pull_txt(r):
    out = []
    while True:
        out.append(r.pull_bytes(r.pull_u8()))
        if not r.left():
            return tuple(out)


def _pull_srv(r):
    return r.pull_u16(), r.pull_u16(), r.pull_u16(), pull_name(r)


def _pull_soa(r):
    return (
        pull_name(r),
        pull_name(r),
        r.pull_u32(),
        r.pull_u32(),
        r.pull_u32(),
        r.pull_u32(),
        r.pull_u32(),
    )


_RDATA = {
    A: _pull_a,
    AAAA: _pull_aaaa,
    NS: pull_name,
    CNAME: pull_name,
    PTR: pull_name,
    MX: _pull_mx,
    TXT: _pull_txt,
    SRV: _pull_srv,
    SOA: _pull_soa,
}
