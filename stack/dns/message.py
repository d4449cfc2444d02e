"""DNS messages as programs see them: reading an answer. RFC 1035, 6891.

    id | flags | QDCOUNT ANCOUNT NSCOUNT ARCOUNT     12 bytes, then the four sections
    question: name type class      record: name type class TTL RDLENGTH RDATA

Names are text (name.py), values by type (rdata.py). The resolver that validates works on
sets of records in wire form instead: packet.py, which also writes them. Not implemented: classes
beside IN are not decoded.
"""

from micropython import const

from stack.core.cursor import Reader
from stack.core.errors import ProtocolError
from stack.dns import name as _name
from stack.dns import rdata as _rdata
from stack.dns.rdata import (  # noqa: F401
    AAAA,
    ANY,
    CNAME,
    MX,
    NS,
    OPT,
    PTR,
    SOA,
    SRV,
    TXT,
    TYPES,
    A,
    type_name,
    type_number,
)

CLASS_IN = const(1)

NOERROR = const(0)
FORMERR = const(1)
SERVFAIL = const(2)
NXDOMAIN = const(3)
NOTIMP = const(4)
REFUSED = const(5)

RCODES = ("NOERROR", "FORMERR", "SERVFAIL", "NXDOMAIN", "NOTIMP", "REFUSED")


def rcode_name(rcode):
    return RCODES[rcode] if 0 <= rcode < len(RCODES) else "rcode %d" % rcode


_QR = const(0x8000)
_TC = const(0x0200)

# Each record takes at least 11 bytes, so a message of 64 KB could hold 5,900. No
# answer that we ask for needs more than this; at about 200 bytes each, 50 KB.
_RECORDS_MAX = const(256)


class Record:
    """One resource record. `data` by type, `rdata` the bytes it came from (None: made here).

    A, AAAA: the address as text. CNAME, NS, PTR, DNAME: a name. MX: (preference, name).
    TXT: a tuple of bytes. SRV: (priority, weight, port, name).
    SOA: (mname, rname, serial, refresh, retry, expire, minimum). Others that rdata.py
    knows: a tuple of their fields; those that it does not: bytes.
    """

    def __init__(self, name, type, cls, ttl, data, rdata=None):
        self.name = name
        self.type = type
        self.cls = cls
        self.ttl = ttl
        self.data = data
        self.rdata = rdata

    def text(self):
        """The data as a zone file has it."""
        if self.rdata is not None and self.cls == CLASS_IN:
            return _rdata.text(self.type, self.rdata)
        data = self.data
        return " ".join([str(x) for x in data]) if isinstance(data, tuple) else str(data)

    def __repr__(self):
        return "<%s %d %s %s>" % (self.name or ".", self.ttl, type_name(self.type), self.text())


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

    def has_edns(self):
        return any([r.type == OPT for r in self.additional])

    def rcode(self):
        """The header's four bits, and the eight above them from an OPT record."""
        code = self.flags & 15
        for r in self.additional:
            if r.type == OPT:
                code |= r.ttl >> 24 << 4
        return code


def option(m, code):
    """The bytes of the first EDNS option of that code in a Message, or None."""
    for record in m.additional:
        if record.type == OPT:
            r = Reader(record.data, 0, len(record.data), "dns")
            # Nonsense holds nothing.
            while r.left() >= 4:
                found = r.pull_u16()
                n = min(r.pull_u16(), r.left())
                data = r.pull_bytes(n)
                if found == code:
                    return data
    return None


def parse(data):
    """Read a whole message. Raises ProtocolError if any byte of it is wrong."""
    r = Reader(data, 0, len(data), "dns")
    m = Message(r.pull_u16(), r.pull_u16())
    counts = [r.pull_u16() for _ in range(4)]
    if counts[0] > 1 or counts[1] + counts[2] + counts[3] > _RECORDS_MAX:
        raise ProtocolError("dns", "too many records")
    for _ in range(counts[0]):
        name = _name.pull_text(r)
        m.questions.append((name, r.pull_u16(), r.pull_u16()))
    for section, n in ((m.answers, counts[1]), (m.authority, counts[2]), (m.additional, counts[3])):
        for _ in range(n):
            section.append(_pull_record(r))
    if r.left():
        raise ProtocolError("dns", "bytes after the message")
    return m


def _pull_record(r):
    name = _name.pull_text(r)
    type = r.pull_u16()
    cls = r.pull_u16()
    ttl = r.pull_u32()
    # RFC 2181, section 8: a TTL with the top bit set is zero.
    if ttl >> 31 and type != OPT:
        ttl = 0
    rdata = r.sub(r.pull_u16())
    if cls != CLASS_IN or type == OPT:
        return Record(name, type, cls, ttl, rdata.pull_bytes(rdata.left()))
    raw = _rdata.expand(type, rdata)
    return Record(name, type, cls, ttl, _rdata.decode(type, raw), raw)
