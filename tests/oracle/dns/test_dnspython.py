"""Messages that hypothesis makes up, written by dnspython and read here, and the other way."""

import dns.edns
import dns.flags
import dns.message
import dns.name
import dns.rdata
import dns.rdataclass
import dns.rdatatype
import dns.rrset
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from stack.dns import message, packet, rdata
from stack.dns.mdns import message as mdns
from stack.dns.name import to_text, to_wire

_label = st.one_of(st.binary(min_size=1, max_size=6), st.sampled_from((b"x" * 63, b"www", b"Test")))
_name = st.lists(_label, max_size=3)
_u8, _u16, _u32 = (st.integers(0, (1 << n) - 1) for n in (8, 16, 32))
_string = st.one_of(st.binary(max_size=8), st.just(b"\0" * 255))


def wire(labels):
    return b"".join(bytes([len(x)]) + x for x in labels) + b"\0"


def _u(n, size):
    return n.map(lambda v: v.to_bytes(size, "big"))


_FIELD = {
    "1": _u(_u8, 1), "2": _u(_u16, 2), "4": _u(_u32, 4), "n": _name.map(wire), "N": _name.map(wire),
    "s": _string.map(lambda s: bytes([len(s)]) + s),
    "S": st.lists(_string, min_size=1, max_size=3).map(
        lambda x: b"".join(bytes([len(s)]) + s for s in x)),
    "*": st.binary(min_size=1, max_size=8), "a": st.binary(min_size=4, max_size=4),
    "b": st.binary(min_size=16, max_size=16),
}  # fmt: skip
# Types whose every field dnspython takes as it comes: it looks into the others more closely.
_PLAIN = (1, 2, 5, 6, 12, 13, 15, 16, 17, 18, 28, 33, 35, 39, 65280)


@st.composite
def _record(draw):
    type = draw(st.sampled_from(_PLAIN))
    layout = rdata._LAYOUT.get(type, "*")
    return type, b"".join(draw(_FIELD[c]) for c in layout)


# One of each name and type: of some types dnspython keeps but one.
_records = st.lists(
    st.tuples(_name.map(wire), _record(), st.integers(0, (1 << 31) - 1)), max_size=5,
    unique_by=lambda r: (r[0].lower(), r[1][0]),
)  # fmt: skip
_options = st.lists(st.tuples(st.sampled_from((9, 12, 65001)), st.binary(max_size=9)), max_size=2)
_settings = settings(
    max_examples=80, deadline=None, database=None, derandomize=True,
    suppress_health_check=list(HealthCheck),
)  # fmt: skip


def theirs(name):
    return dns.name.from_wire(name, 0)[0]


def _made(records, sections=3):
    """A dnspython message with these records, spread over the sections."""
    m = dns.message.Message(id=0x1234)
    m.flags = dns.flags.QR | dns.flags.RD
    for i, (owner, (type, data), ttl) in enumerate(records):
        rd = dns.rdata.from_wire(dns.rdataclass.IN, type, data, 0, len(data))
        section = (m.answer, m.authority, m.additional)[i % sections]
        found = m.find_rrset(section, theirs(owner), dns.rdataclass.IN, type, create=True)
        found.add(rd, ttl)
    return m


def _flat(records):
    """{(owner in lower case, type): set of data} of records as (name, type, data)."""
    out = {}
    for name, type, data in records:
        out.setdefault((name.lower(), type), set()).add(rdata.canonical(type, data))
    return out


@_settings
@given(_records, st.integers(512, 4000), _options)
def test_they_write_and_we_read(records, payload, options):
    m = _made(records)
    m.use_edns(0, 0, payload, options=[dns.edns.GenericOption(c, d) for c, d in options])
    data = m.to_wire(max_size=65535)
    p = packet.read(data)
    expected = _flat([(o, t, d) for o, (t, d), _ in records])
    got = _flat([(s.name, s.type, d) for part in (p.answer, p.authority, p.additional)
                 for s in part for d in s.data])  # fmt: skip
    assert got == expected
    assert p.edns.size == payload and p.edns.options == options
    read = message.parse(data)
    for r in read.answers + read.authority + read.additional:
        if r.type != message.OPT:
            assert to_wire(r.name).lower() in {o.lower() for o, _, _ in records}
            if r.type in rdata._LAYOUT and r.type not in (13, 16, 35):  # quoted in other ways
                rd = dns.rdata.from_wire(dns.rdataclass.IN, r.type, r.rdata, 0, len(r.rdata))
                again = dns.rdata.from_text(dns.rdataclass.IN, r.type, r.text(),
                                            origin=dns.name.root, relativize=False)  # fmt: skip
                assert again == rd, r.text()
    # The same as Multicast DNS.
    heard = mdns.read(data)
    assert _flat([(r.name, r.type, r.data) for r in heard.records + heard.authority]) == expected


@_settings
@given(_name.map(wire), _records, st.booleans())
def test_we_write_and_they_read(question, records, multicast):
    if multicast:
        made = [mdns.Record(o, t, False, ttl, d) for o, (t, d), ttl in records]
        data = mdns.write(7, 0x8400, [mdns.Question(question, 255)], made[:4], made[4:])
    else:
        sets = [packet.Rrset(o, t, ttl, [d]) for o, (t, d), ttl in records]
        data = packet.write(7, 0x8400, (question, 255), (sets[:4], sets[4:], ()))
    m = dns.message.from_wire(data)
    assert m.id == 7 and m.question[0].name == theirs(question)
    expected = set()
    for owner, (type, body), _ in records:
        rd = dns.rdata.from_wire(dns.rdataclass.IN, type, body, 0, len(body))
        expected.add((theirs(owner), type, rd))
    got = {(s.name, int(s.rdtype), rd) for part in (m.answer, m.authority) for s in part
           for rd in s}  # fmt: skip
    assert got == expected


@_settings
@given(_name)
def test_names_as_text(labels):
    name = wire(labels)
    assert to_wire(to_text(name)) == name
    assert dns.name.from_text(to_text(name) + ".") == theirs(name) or not labels
