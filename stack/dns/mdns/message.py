"""Multicast DNS messages. RFC 6762, section 18: DNS messages with many questions, and two bits.

The top bit of a question's class: answer me by unicast (section 5.4). That of a record's class:
these are all, forget others (the cache-flush bit, section 10.2). Names are wire form, as they
were sent; `low` is that in lower case.
"""

from micropython import const

from stack.core.cursor import Reader
from stack.core.errors import ProtocolError
from stack.dns import name as _name
from stack.dns import packet
from stack.dns import rdata as _rdata
from stack.dns.rdata import ANY, OPT

QR = const(0x8000)
AA = const(0x0400)
TC = const(0x0200)

# "A Multicast DNS packet" has 9,000 bytes at most (section 17): more questions or records
# than these would be of 12 bytes each.
_QUESTIONS_MAX = const(128)
_RECORDS_MAX = const(384)
# What we send fits an Ethernet frame over IPv6, with room to spare.
SIZE_MAX = const(1400)
_TOP = const(0x8000)
_ANY_CLASS = const(255)


class Question:
    __slots__ = ("name", "low", "type", "unicast")

    def __init__(self, name, type, unicast=False):
        self.name = name
        self.low = name.lower()
        self.type = type
        self.unicast = unicast


class Record:
    """`data`: RDATA without compression. `flush`: the cache-flush bit. `ttl` in s."""

    __slots__ = ("name", "low", "type", "flush", "ttl", "data")

    def __init__(self, name, type, flush, ttl, data):
        self.name = name
        self.low = name.lower()
        self.type = type
        self.flush = flush
        self.ttl = ttl
        self.data = data

    def same(self, other):
        """Whether both say the same, whatever the TTL."""
        return (
            self.type == other.type
            and self.low == other.low
            and (
                self.data == other.data
                or _rdata.canonical(self.type, self.data)
                == _rdata.canonical(other.type, other.data)
            )
        )

    def __repr__(self):
        return "<%s %s>" % (_name.to_text(self.name), _rdata.type_name(self.type))


class Message:
    """`authority` are a probe's proposals; `records` answers and what came along with them."""

    def __init__(self, id, flags):
        self.id = id
        self.flags = flags
        self.questions = []
        self.records = []
        self.authority = []


def read(data):
    """A Message. ProtocolError if any byte of it is wrong. Classes beside IN are left out."""
    r = Reader(data, 0, len(data), "mdns")
    m = Message(r.pull_u16(), r.pull_u16())
    counts = [r.pull_u16() for _ in range(4)]
    if counts[0] > _QUESTIONS_MAX or counts[1] + counts[2] + counts[3] > _RECORDS_MAX:
        raise ProtocolError("mdns", "too many records")
    for _ in range(counts[0]):
        name = _name.pull_wire(r)
        type = r.pull_u16()
        cls = r.pull_u16()
        if cls & ~_TOP in (packet.IN, _ANY_CLASS):
            m.questions.append(Question(name, type, cls & _TOP != 0))
    for into, n in ((m.records, counts[1]), (m.authority, counts[2]), (m.records, counts[3])):
        for _ in range(n):
            _pull_record(r, into)
    if r.left():
        raise ProtocolError("mdns", "bytes after the message")
    return m


def _pull_record(r, into):
    name = _name.pull_wire(r)
    type = r.pull_u16()
    cls = r.pull_u16()
    ttl = r.pull_u32()
    body = r.sub(r.pull_u16())
    if type == OPT or type == ANY or cls & ~_TOP != packet.IN:
        return
    data = _rdata.expand(type, body)
    into.append(Record(name, type, cls & _TOP != 0, 0 if ttl >> 31 else ttl, data))


def write(id, flags, questions=(), answers=(), authority=(), additional=(), legacy=False):
    """One message, bytes. legacy: for somebody who speaks plain DNS (section 6.7)."""
    w = packet.Out()
    w.push_u16(id)
    w.push_u16(flags)
    for part in (questions, answers, authority, additional):
        w.push_u16(len(part))
    for q in questions:
        w.push_name(q.name)
        w.push_u16(q.type)
        w.push_u16(packet.IN | (_TOP if q.unicast else 0))
    for part in (answers, authority, additional):
        for r in part:
            flush = r.flush and not legacy and part is not authority
            # "the resource record TTL given in a legacy unicast response SHOULD NOT be
            # greater than ten seconds"
            ttl = min(r.ttl, 10) if legacy else r.ttl
            w.push_record(r.name, r.type, ttl, r.data, packet.IN | (_TOP if flush else 0))
    return bytes(w.out)


def pieces(records):
    """Records in lists of which each fits one message, as they are counted without compression."""
    out = []
    size = SIZE_MAX
    for r in records:
        n = 10 + len(r.name) + len(r.data)
        if size + n > SIZE_MAX - 12:
            out.append([])
            size = 0
        out[-1].append(r)
        size += n
    return out
