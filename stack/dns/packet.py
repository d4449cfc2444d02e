"""DNS messages as a resolver sees them: sets of records in wire form, with their signatures.

RFC 1035, 2181 (section 5: what is cached and signed is a set), EDNS 6891, cookies 7873,
padding 7830, extended errors 8914. Names are lower-case wire form (name.py), except the
question's, which is as it was sent.

    read(data) -> Packet          ProtocolError if any byte of it is wrong
    write(...) -> bytes           with compression; cut down to the question if it is too long

Not implemented: classes beside IN, EDNS versions beyond 0, the options not named here.
"""

from micropython import const

from stack.core.cursor import Reader, Writer
from stack.core.errors import ProtocolError
from stack.dns import name as _name
from stack.dns import rdata as _rdata
from stack.dns.rdata import OPT, RRSIG

QR = const(0x8000)
AA = const(0x0400)
TC = const(0x0200)
RD = const(0x0100)
RA = const(0x0080)
AD = const(0x0020)
CD = const(0x0010)
OPCODE = const(0x7800)

IN = const(1)

NOERROR = const(0)
FORMERR = const(1)
SERVFAIL = const(2)
NXDOMAIN = const(3)
NOTIMP = const(4)
REFUSED = const(5)
YXDOMAIN = const(6)
BADVERS = const(16)
BADCOOKIE = const(23)

COOKIE = const(10)
PADDING = const(12)
EDE = const(15)

# What we say we take over UDP: fits every path's MTU unfragmented (DNS flag day 2020).
UDP_SIZE = const(1232)

# A record takes at least 11 bytes, so a message of 64 KB could hold 5,900. No answer that a
# resolver asks for needs more than this; with 64 KB of RDATA at most, 100 KB of memory.
_RECORDS_MAX = const(384)
_OPTIONS_MAX = const(16)
_POINTER_MAX = const(0x4000)


class Rrset:
    """All records of one name and type: `data` their RDATA, `sigs` the RDATA of their RRSIGs.

    `ttl` in s is the least of theirs. `status` is what a validator has found (dnssec.py).
    """

    __slots__ = ("name", "type", "ttl", "data", "sigs", "status")

    def __init__(self, name, type, ttl, data=None, sigs=None):
        self.name = name
        self.type = type
        self.ttl = ttl
        self.data = data if data is not None else []
        self.sigs = sigs if sigs is not None else []
        self.status = 0

    def size(self):
        """Bytes of memory, about: what a cache accounts for it."""
        n = 200 + len(self.name)
        for d in self.data:
            n += 48 + len(d)
        for d in self.sigs:
            n += 48 + len(d)
        return n

    def __repr__(self):
        return "<%s %d %s %d>" % (
            _name.to_text(self.name) or ".", self.ttl, _rdata.type_name(self.type), len(self.data)
        )  # fmt: skip


class Edns:
    """An OPT record. `options`: list of (code, bytes)."""

    def __init__(self, size=UDP_SIZE, do=False, version=0, options=()):
        self.size = size
        self.do = do
        self.version = version
        self.options = list(options)

    def option(self, code):
        """The bytes of the first option of that code, or None."""
        for c, data in self.options:
            if c == code:
                return data
        return None


class Packet:
    """`question`: (name as sent, type, class) or None. Sections: lists of Rrset."""

    def __init__(self, id, flags):
        self.id = id
        self.flags = flags
        self.rcode = flags & 15
        self.question = None
        self.answer = []
        self.authority = []
        self.additional = []
        self.edns = None


def read(data):
    """A Packet. Records of classes beside IN are left out."""
    r = Reader(data, 0, len(data), "dns")
    p = Packet(r.pull_u16(), r.pull_u16())
    counts = [r.pull_u16() for _ in range(4)]
    if counts[0] > 1 or counts[1] + counts[2] + counts[3] > _RECORDS_MAX:
        raise ProtocolError("dns", "too many records")
    if counts[0]:
        p.question = (_name.pull_wire(r), r.pull_u16(), r.pull_u16())
    for section, n in ((p.answer, counts[1]), (p.authority, counts[2]), (p.additional, counts[3])):
        _pull_section(p, section, r, n)
    if r.left():
        raise ProtocolError("dns", "bytes after the message")
    return p


def _pull_section(p, section, r, n):
    found = {}  # (name, type) -> Rrset
    sigs = {}  # the same -> RRSIGs
    for _ in range(n):
        name = _name.pull_wire(r).lower()
        type = r.pull_u16()
        cls = r.pull_u16()
        ttl = r.pull_u32()
        body = r.sub(r.pull_u16())
        if type == OPT:
            # RFC 6891, section 6.1.1: one, in the additional section, of the root's name.
            if p.edns is not None or section is not p.additional or name != b"\x00":
                raise ProtocolError("dns", "a misplaced OPT record")
            p.edns = _pull_edns(p, cls, ttl, body)
            continue
        if cls != IN:
            continue
        data = _rdata.expand(type, body)
        # RFC 2181, section 8: a TTL with the top bit set is zero.
        if ttl >> 31:
            ttl = 0
        if type == RRSIG:
            key = (name, data[0] << 8 | data[1])
            sigs.setdefault(key, []).append((data, ttl))
            continue
        s = found.get((name, type))
        if s is None:
            found[(name, type)] = s = Rrset(name, type, ttl)
            section.append(s)
        if data not in s.data:
            s.data.append(data)
        if ttl < s.ttl:
            s.ttl = ttl
    for key, signed in sigs.items():
        s = found.get(key)
        if s is not None:
            # One whose set is not here is of no use.
            for data, ttl in signed:
                s.sigs.append(data)
                if ttl < s.ttl:
                    s.ttl = ttl


def _pull_edns(p, size, ttl, r):
    e = Edns(size if size > 512 else 512, ttl & 0x8000 != 0, ttl >> 16 & 0xFF)
    p.rcode |= ttl >> 24 << 4
    while r.left():
        code = r.pull_u16()
        data = r.pull_bytes(r.pull_u16())
        if len(e.options) < _OPTIONS_MAX:
            e.options.append((code, data))
    return e


# Writing.


class Out(Writer):
    """A message being written: names that stand there already are pointed to."""

    def __init__(self):
        super().__init__()
        self._at = {}

    def push_name(self, wire):
        low = wire.lower()
        pos = 0
        while wire[pos]:
            rest = low[pos:]
            at = self._at.get(rest)
            if at is not None:
                self.push_u16(0xC000 | at)
                return
            here = len(self.out)
            if here < _POINTER_MAX:
                self._at[rest] = here
            n = wire[pos] + 1
            self.push_bytes(wire[pos : pos + n])
            pos += n
        self.push_u8(0)

    def push_record(self, name, type, ttl, data, cls=IN):
        self.push_name(name)
        self.push_u16(type)
        self.push_u16(cls)
        self.push_u32(ttl)
        at = len(self.out)
        self.push_u16(0)
        done = 0
        for start, end in _rdata.names(type, data):
            self.push_bytes(data[done:start])
            self.push_name(data[start:end])
            done = end
        self.push_bytes(data[done:])
        self.patch_u16(at, len(self.out) - at - 2)


def write(id, flags, question, sections=((), (), ()), edns=None, rcode=0, limit=65535, do=True):
    """A message. question: (name, type) or None. sections: three sequences of Rrset.

    do: with signatures. limit: bytes; where that is too few the answer is cut to nothing and
    TC says so, but an additional section goes without notice (RFC 2181, section 9).
    """
    for count in (3, 2):
        data = _write(id, flags, question, sections[:count], edns, rcode, do)
        if len(data) <= limit:
            return data
    return _write(id, flags | TC, question, (), edns, rcode, do)


def _write(id, flags, question, sections, edns, rcode, do):
    w = Out()
    w.push_u16(id)
    w.push_u16(flags | rcode & 15)
    w.push_u16(1 if question is not None else 0)
    for _ in range(3):
        w.push_u16(0)
    if question is not None:
        w.push_name(question[0])
        w.push_u16(question[1])
        w.push_u16(IN)
    at = 6
    for section in sections:
        n = 0
        for s in section:
            for data in s.data:
                w.push_record(s.name, s.type, s.ttl, data)
            n += len(s.data)
            if do:
                for data in s.sigs:
                    w.push_record(s.name, RRSIG, s.ttl, data)
                n += len(s.sigs)
        w.patch_u16(at, n)
        at += 2
    if edns is not None:
        extra = w.out[10] << 8 | w.out[11]
        w.patch_u16(10, extra + 1)
        _push_edns(w, edns, rcode)
    return bytes(w.out)


def _push_edns(w, e, rcode):
    w.push_u8(0)
    w.push_u16(OPT)
    w.push_u16(e.size)
    w.push_u32(rcode >> 4 << 24 | e.version << 16 | (0x8000 if e.do else 0))
    at = len(w.out)
    w.push_u16(0)
    for code, data in e.options:
        w.push_u16(code)
        w.push_u16(len(data))
        w.push_bytes(data)
    w.patch_u16(at, len(w.out) - at - 2)


def ttl_places(data):
    """Where the TTLs of a message of our own stand, a list; OPT has none."""
    out = []
    pos = 12
    for _ in range(data[4] << 8 | data[5]):
        pos = _behind_name(data, pos) + 4
    for _ in range(sum([data[i] << 8 | data[i + 1] for i in (6, 8, 10)])):
        pos = _behind_name(data, pos)
        if data[pos] << 8 | data[pos + 1] != OPT:
            out.append(pos + 4)
        pos += 10 + (data[pos + 8] << 8 | data[pos + 9])
    return out


def _behind_name(data, pos):
    while data[pos]:
        if data[pos] >= 0xC0:
            return pos + 2
        pos += data[pos] + 1
    return pos + 1


def padded(data, block):
    """How many bytes of padding option bring a message of len(data) to a multiple of block.

    RFC 8467: 128 for queries, 468 for answers. The option's own 4 bytes are counted.
    """
    return -(len(data) + 4) % block
