"""DNS messages: names, records, every truncation, pointers that do not go back."""

from stack.core.cursor import Reader
from stack.core.errors import ProtocolError
from stack.dns import message
from stack.dns.message import parse
from stack.dns.name import pull_text, to_wire
from stack.dns.rdata import ip6_text


def _u16(v):
    return bytes((v >> 8, v & 255))


def header(id=0x1234, flags=0x8180, qd=1, an=0, ns=0, ar=0):
    return b"".join([_u16(v) for v in (id, flags, qd, an, ns, ar)])


def record(name, type, data, ttl=300, cls=1):
    ttl = bytes((ttl >> 24, ttl >> 16 & 255, ttl >> 8 & 255, ttl & 255))
    return name + _u16(type) + _u16(cls) + ttl + _u16(len(data)) + data


QUESTION = b"\x07example\x04test\x00\x00\x01\x00\x01"
HERE = b"\xc0\x0c"  # the question's name

ANSWER = (
    header(an=8, ns=1, ar=1)
    + QUESTION
    + record(HERE, message.A, b"\x0a\x00\x00\x07")
    + record(HERE, message.AAAA, b"\x20\x01\x0d\xb8" + bytes(11) + b"\x01")
    + record(HERE, message.MX, b"\x00\x0a\x04mail" + HERE)
    + record(HERE, message.TXT, b"\x05hello\x00\x02\xff\x00")
    + record(b"\x03www" + HERE, message.CNAME, HERE)
    + record(HERE, message.SRV, _u16(1) + _u16(2) + _u16(443) + b"\x01h\x00")
    + record(HERE, 65280, b"\x01\x02\x03")
    + record(HERE, message.NS, b"\x02ns" + HERE)
    + record(HERE, message.SOA, b"\x02ns" + HERE + b"\x01r" + HERE + bytes(19) + b"\x3c")
    + record(b"\x00", message.OPT, b"", ttl=0x01000000, cls=1232)
)


def fails(f, *args):
    try:
        f(*args)
    except (ProtocolError, ValueError):
        return True
    return False


def test_answer():
    m = parse(ANSWER)
    assert m.id == 0x1234 and m.is_response() and not m.truncated()
    assert m.questions == [("example.test", 1, 1)]
    assert [r.data for r in m.answers] == [
        "10.0.0.7",
        "2001:db8::1",
        (10, "mail.example.test"),
        (b"hello", b"", b"\xff\x00"),
        "example.test",
        (1, 2, 443, "h"),
        b"\x01\x02\x03",
        "ns.example.test",
    ]
    assert m.answers[4].name == "www.example.test"
    assert m.authority[0].data == ("ns.example.test", "r.example.test", 0, 0, 0, 0, 60)
    assert m.rcode() == 16  # NOERROR and the OPT's upper bits
    assert repr(m.answers[0]) == "<example.test 300 A 10.0.0.7>"
    assert repr(m.answers[2]) == "<example.test 300 MX 10 mail.example.test>"
    assert "TYPE65280" in repr(m.answers[6])


def test_every_truncation_fails():
    for n in range(len(ANSWER)):
        assert fails(parse, ANSWER[:n]), n
    assert fails(parse, ANSWER + b"\x00")


def test_any_one_byte_changed_gives_a_message_or_a_protocol_error():
    for i in range(len(ANSWER)):
        for v in (0, 0x3F, 0x40, 0xC0, 0xFF):
            bad = bytearray(ANSWER)
            bad[i] = v
            try:
                parse(bytes(bad))
            except ProtocolError:
                pass


def test_bad_messages():
    for why, data in (
        ("two questions", header(qd=2) + QUESTION + QUESTION),
        ("records beyond the bound", header(an=200, ns=60) + QUESTION),
        ("A of 3 bytes", header(an=1) + QUESTION + record(HERE, 1, b"\x0a\x00\x00")),
        ("A of 5 bytes", header(an=1) + QUESTION + record(HERE, 1, b"\x0a\x00\x00\x01\x02")),
        ("AAAA of 15", header(an=1) + QUESTION + record(HERE, 28, bytes(15))),
        ("MX without name", header(an=1) + QUESTION + record(HERE, 15, b"\x00\x0a")),
        ("name beyond RDATA", header(an=1) + QUESTION + record(HERE, 5, b"\x05ab") + b"cde\x00"),
        ("empty TXT", header(an=1) + QUESTION + record(HERE, 16, b"")),
        ("TXT too short", header(an=1) + QUESTION + record(HERE, 16, b"\x05abc")),
        ("RDLENGTH lies", header(an=1) + QUESTION + record(HERE, 1, bytes(4))[:-1]),
    ):
        assert fails(parse, data), why


def test_pointers_only_go_back():
    for why, data, start in (
        ("to itself", b"\xc0\x00", 0),
        ("forward", b"\xc0\x02\x01a\x00", 0),
        ("two that point at each other", b"\xc0\x02\xc0\x00", 2),
        ("back into a run that comes here again", b"\x01a\xc0\x00", 0),
        ("the same, entered from behind", b"\x01a\xc0\x00\xc0\x00", 4),
        ("to the middle of this name", b"\x01a\x01b\xc0\x02", 0),
        ("cut after its first byte", b"\x01a\xc0", 0),
        ("reserved label 0x40", b"\x41a\x00", 0),
        ("reserved label 0x80", b"\x81a\x00", 0),
    ):
        assert fails(pull_text, Reader(data, start)), why


def test_a_long_chain_of_pointers_ends():
    # Each pointer goes back by two: 8,000 of them, linear work, no recursion.
    data = bytearray(b"\x01a\x00\x00")
    for i in range(8000):
        data.extend(_u16(0xC000 | max(0, len(data) - 2 if i else 0)))
    r = Reader(data, len(data) - 2)
    assert pull_text(r) == "a"
    assert r.pos == len(data)


def test_names_to_wire_and_back():
    for name, wire in (
        ("", b"\x00"),
        (".", None),
        ("a", b"\x01a\x00"),
        ("a.", b"\x01a\x00"),
        ("Ab.c", b"\x02Ab\x01c\x00"),
        ("a\\.b.c", b"\x03a.b\x01c\x00"),
        ("\\000\\255", b"\x02\x00\xff\x00"),
        ("x" * 63, b"\x3f" + b"x" * 63 + b"\x00"),
        ("x" * 64, None),
        ("a..b", None),
        (".a", None),
        ("a\\", None),
        ("a\\25", None),
        ("a\\256", None),
        ("\u00e4.de", None),
        (".".join(["x" * 49] * 5) + ".xyz", b"".join([b"\x31" + b"x" * 49] * 5) + b"\x03xyz\x00"),
        (".".join(["x" * 49] * 5) + ".wxyz", None),
    ):
        if wire is None:
            # The root alone may be written as one dot by people; we take only "".
            assert name == "." or fails(to_wire, name), name
            continue
        assert to_wire(name) == wire, name
        if not name.endswith(".") or not name:
            assert pull_text(Reader(wire)) == name


def test_names_of_more_than_255_bytes():
    label = b"\x31" + b"x" * 49
    assert fails(pull_text, Reader(label * 5 + b"\x04wxyz\x00"))
    assert len(pull_text(Reader(label * 5 + b"\x03xyz\x00"))) == 253


def test_ip6_text():
    for raw, text in (
        (bytes(16), "::"),
        (bytes(15) + b"\x01", "::1"),
        (b"\x00\x01" + bytes(14), "1::"),
        (b"\x20\x01\x0d\xb8" + bytes(4) + b"\x00\x01" + bytes(6), "2001:db8:0:0:1::"),
        (b"\x00\x01\x00\x00" * 4, "1:0:1:0:1:0:1:0"),
        (b"\xfe\x80" + bytes(6) + b"\x02\x11\x22\xff\xfe\x33\x44\x55", "fe80::211:22ff:fe33:4455"),
    ):
        assert ip6_text(raw) == text


def test_types():
    assert message.type_number("mx") == 15
    assert message.type_number("TYPE65") == 65
    assert message.type_number(28) == 28
    assert fails(message.type_number, "NOPE")
    assert fails(message.type_number, 0)
    assert fails(message.type_number, 65536)
