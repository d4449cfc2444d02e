"""net/addr6: text (RFC 4291, 5952), kinds, and handles; net/select6: RFC 6724's own examples."""

from stack.net import addr6, select6
from stack.net.addr6 import Addresses, format, parse
from tests.unit.net.support import counter_rng

# As RFC 5952 wants them, section 4 and 5.
TEXTS = (
    ("::", "::"),
    ("::1", "::1"),
    ("1::", "1::"),
    ("2001:DB8:0:0:1:0:0:1", "2001:db8::1:0:0:1"),
    ("2001:db8:0:1:1:1:1:1", "2001:db8:0:1:1:1:1:1"),
    ("2001:0db8::0001", "2001:db8::1"),
    ("2001:0:0:1:0:0:0:1", "2001:0:0:1::1"),
    ("1:2:3:4:5:6:7::", "1:2:3:4:5:6:7:0"),
    ("::2:3:4:5:6:7:8", "0:2:3:4:5:6:7:8"),
    ("::ffff:192.0.2.1", "::ffff:192.0.2.1"),
    ("64:ff9b::192.0.2.33", "64:ff9b::c000:221"),
    ("fe80::abc:0:0:1", "fe80::abc:0:0:1"),
)


def test_text():
    for text, canonical in TEXTS:
        raw, zone = parse(text)
        assert len(raw) == 16 and zone == ""
        assert format(raw) == canonical, text
        assert parse(canonical)[0] == raw
    assert parse("fe80::1%eth0") == (parse("fe80::1")[0], "eth0")
    assert addr6.parse_cidr("2001:db8::1/64") == (parse("2001:db8::1")[0], 64)


BAD = (
    "", ":", ":::", "1", "1:2:3:4:5:6:7", "1:2:3:4:5:6:7:8:9", "1::2::3", "12345::", "g::",
    "1:2:3:4:5:6:7:8::", "::1:2:3:4:5:6:7:8", "1:2", "1.2.3.4", "::1.2.3", "::1.2.3.4:5", ":1::2",
    "1::2:", "::256.1.1.1", "fe80::1%", " ::1", "::1 ", "+1::", "-1::", "::ffff:1.2.3.4.5",
)  # fmt: skip


def test_bad_text():
    for text in BAD:
        try:
            parse(text)
        except ValueError:
            continue
        raise AssertionError(text)
    for text in ("::/129", "::/", "::/-1", "::/1x"):
        try:
            addr6.parse_cidr(text)
        except ValueError:
            continue
        raise AssertionError(text)


def test_common_and_masked():
    a = parse("2001:db8:ffff::")[0]
    for other, n in (
        ("2001:db8:ffff::", 128), ("2001:db8:fffe::", 47), ("a001::", 0), ("2001:db8::", 32),
        ("2001:db8:ffff::1", 127),
    ):  # fmt: skip
        assert addr6.common(a, 0, parse(other)[0], 0) == n, other
    ones = b"\xff" * 16
    for n in range(129):
        m = addr6.masked(ones, n)
        assert addr6.common(m, 0, ones, 0) == n or n == 128
        assert sum([bin(x).count("1") for x in m]) == n


def test_handles():
    t = Addresses(counter_rng())
    assert t.handle(addr6.UNSPECIFIED) == addr6.ANY
    seen = {}
    for n in range(3000):
        raw = parse("2001:db8::%x" % (n * 7))[0]
        h = t.handle(raw)
        assert addr6.V6 <= h < 2 * addr6.V6 and h << 16 < 1 << 62
        assert h == t.number(raw, 0, 0) == t.handle(b"xx" + raw + b"y", 2)
        assert t.bytes(h) == raw
        assert h not in seen
        seen[h] = raw
    # The table is bounded and forgets; what is kept stays, and a handle is always the same.
    kept = t.keep(parse("2001:db8:1::1")[0])
    for n in range(20_000):
        t.handle(parse("2001:db8:2::%x" % (n & 0xFFFF))[0])
    assert t.bytes(kept) == parse("2001:db8:1::1")[0]
    forgotten = [h for h in seen if t.bytes(h) is None]
    assert len(forgotten) > 1000
    for h in forgotten:
        assert t.handle(seen[h]) == h


def test_two_keys_give_two_numberings():
    raw = parse("2001:db8::1")[0]
    assert Addresses(counter_rng(1)).handle(raw) != Addresses(counter_rng(2)).handle(raw)


def test_a_collision_is_refused():
    """Not to be had by trying, so the table is made to believe in one."""
    t = Addresses(counter_rng())
    a = parse("2001:db8::1")[0]
    h = t.handle(a)
    way = (h & 1023) * 4
    while t._handles[way] != h:
        way += 1
    t._bytes[16 * way + 15] ^= 1
    assert t.handle(a) == -1


def test_zones():
    t = Addresses(counter_rng())
    a = parse("fe80::1")[0]
    one = t.handle(a, 0, 1)
    two = t.handle(a, 0, 2)
    assert one != two and one == t.number(a, 0, 1) == t.handle(addr6.with_zone(a, 1))
    assert addr6.zone(t.bytes(two)) == 2 and format(t.bytes(two)) == "fe80::1"
    g = parse("2001:db8::1")[0]
    assert t.handle(g, 0, 1) == t.handle(g, 0, 2)
    group = parse("ff02::1")[0]
    assert t.handle(group, 0, 1) != t.handle(group, 0, 2)


class Own:
    def __init__(self, text, iface=1, state=1, temporary=False, length=64):
        self.raw = parse(text)[0]
        self.iface = iface
        self.state = state
        self.temporary = temporary
        self.length = length


# RFC 6724, section 10.1: destination, candidates, the one chosen.
SOURCES = (
    ("2001:db8:1::1", ("2001:db8:3::1", "fe80::1"), 0),
    ("ff05::1", ("2001:db8:3::1", "fe80::1"), 0),
    ("2001:db8:1::1", ("2001:db8:1::1", "2001:db8:2::1"), 0),
    ("fe80::1", ("fe80::2", "2001:db8:1::1"), 0),
    ("2001:db8:1::1", ("2001:db8:1::2", "2001:db8:3::2"), 0),
    ("2002:c633:6401::1", ("2001:db8:1::2", "2002:c633:6401::d5e3:7953:13eb:22e8"), 1),
)


def test_sources():
    for dst, texts, chosen in SOURCES:
        own = [Own(t) for t in texts]
        for some in (own, own[::-1]):
            got = select6.source(some, parse(dst)[0], 1)
            assert got is own[chosen], (dst, format(got.raw))


def test_sources_by_the_other_rules():
    dst = parse("2001:db8:9::1")[0]
    old = Own("2001:db8:9::2", state=2)
    new = Own("2001:db8:8::2")
    assert select6.source([old, new], dst, 1) is new  # 3: not deprecated
    far = Own("2001:db8:9::3", iface=2)
    assert select6.source([far, new], dst, 1) is new  # 5: the outgoing interface
    temp = Own("2001:db8:1::7", temporary=True)
    assert select6.source([new, temp], dst, 1) is temp  # 7: temporary
    assert select6.source([Own("2001:db8::1", state=0)], dst, 1) is None


# RFC 6724, section 10.2: (destination, its source) in the order that should come out.
DESTINATIONS = (
    (("2001:db8:1::1", "2001:db8:1::2"), ("::ffff:198.51.100.121", "::ffff:169.254.13.78")),
    (("::ffff:198.51.100.121", "::ffff:198.51.100.117"), ("2001:db8:1::1", "fe80::1")),
    (("2001:db8:1::1", "2001:db8:1::2"), ("::ffff:10.1.2.3", "::ffff:10.1.2.4")),
    (("fe80::1", "fe80::2"), ("2001:db8:1::1", "2001:db8:1::2")),
    (("2001:db8:1::1", "2001:db8:1::2"), ("2001:db8:3ffe::1", "2001:db8:3f44::2")),
    (("2002:c633:6401::1", "2002:c633:6401::2"), ("2001:db8:1::1", "fe80::2")),
    (("2001:db8:1::1", "2001:db8:1::2"), ("2002:c633:6401::1", "2002:c633:6401::2")),
    (("2001:db8::1", "2001:db8::2"), ("fd00::1", None)),
)


def test_destinations():
    def raw(pair):
        return (parse(pair[0])[0], parse(pair[1])[0] if pair[1] else None)

    for order in DESTINATIONS:
        want = [raw(p) for p in order]
        assert select6.sort(want) == want, order
        assert select6.sort(want[::-1]) == want, order
