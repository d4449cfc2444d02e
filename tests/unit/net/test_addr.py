"""net/addr and net/route."""

from stack.net import addr
from stack.net.route import Routes

ADDRESSES = (
    ("plain", "10.0.0.2", 0x0A000002),
    ("zero", "0.0.0.0", 0),
    ("ones", "255.255.255.255", 0xFFFFFFFF),
    ("three parts", "10.0.2", None),
    ("five parts", "10.0.0.0.2", None),
    ("256", "10.0.0.256", None),
    ("empty part", "10..0.2", None),
    ("octal", "010.0.0.2", None),
    ("hex", "0x0a.0.0.2", None),
    ("sign", "+1.0.0.2", None),
    ("blank", "10.0.0.2 ", None),
    ("nothing", "", None),
    ("long", "1000.0.0.2", None),
    ("a name", "example.test", None),
)


def attempt(fn, arg):
    try:
        return fn(arg)
    except ValueError:
        return None


def test_parse():
    for why, text, expected in ADDRESSES:
        assert attempt(addr.parse, text) == expected, why
        if expected is not None:
            assert addr.format(expected) == text


CIDRS = (
    ("plain", "10.0.0.2/24", (0x0A000002, 24)),
    ("no slash", "10.0.0.2", (0x0A000002, 32)),
    ("/0", "0.0.0.0/0", (0, 0)),
    ("/33", "10.0.0.2/33", None),
    ("empty", "10.0.0.2/", None),
    ("mask", "10.0.0.2/255.0.0.0", None),
    ("two", "10.0.0.2/2/4", None),
)


def test_cidr():
    for why, text, expected in CIDRS:
        assert attempt(addr.parse_cidr, text) == expected, why


def test_masks():
    for n in range(33):
        assert addr.prefix_of(addr.mask(n)) == n
    assert addr.mask(0) == 0
    assert addr.mask(24) == 0xFFFFFF00
    assert attempt(addr.prefix_of, 0xFF00FF00) is None


def test_usable():
    for a, ok in (
        (0, False),
        (0x00FFFFFF, False),
        (0x01000000, True),
        (0x7F000001, False),
        (0x0A000001, True),
        (0xDFFFFFFF, True),
        (0xE0000001, False),
        (0xFFFFFFFF, False),
    ):
        assert addr.usable(a) == ok, addr.format(a)


class Iface:
    def __init__(self, name):
        self.name = name
        self.up = True


def table():
    r = Routes()
    one = Iface("eth0")
    two = Iface("eth1")
    r.add(0, 0, 0x0A000001, one)
    r.add(0x0A000000, 24, 0, one, 0, "link")
    r.add(0x0A000000, 8, 0x0A000005, two)
    r.add(0x0A000080, 25, 0, two)
    return r, one, two


def test_longest_prefix():
    r, one, two = table()
    for dst, iface, gateway in (
        (0x0A000002, one, 0),
        (0x0A000081, two, 0),
        (0x0A010000, two, 0x0A000005),
        (0x08080808, one, 0x0A000001),
    ):
        route = r.lookup(dst)
        assert route.iface is iface and route.gateway == gateway, addr.format(dst)


def test_a_link_that_is_down_is_passed_over():
    r, one, two = table()
    two.up = False
    assert r.lookup(0x0A000081).iface is one
    one.up = False
    assert r.lookup(0x0A000081) is None


def test_metric():
    r = Routes()
    one = Iface("eth0")
    two = Iface("eth1")
    r.add(0, 0, 1, one, 10)
    r.add(0, 0, 2, two, 5)
    assert r.lookup(0x08080808).iface is two
    assert r.default().iface is two
    assert r.default(one).gateway == 1


def test_changes_move_the_epoch():
    r, one, _ = table()
    at = r.epoch
    r.add(0x0B000000, 8, 0, one)
    assert r.epoch > at
    at = r.epoch
    assert r.remove(0x0B000000, 8)
    assert r.epoch > at
    at = r.epoch
    assert not r.remove(0x0B000000, 8)
    assert r.epoch == at


def test_replaced_not_doubled():
    r, one, _ = table()
    n = len(r)
    r.add(0, 0, 0x0A0000FE, one)
    assert len(r) == n
    assert r.default().gateway == 0x0A0000FE


def test_remove_iface():
    r, one, two = table()
    r.remove_iface(one, "link")
    assert len(r) == 3
    r.remove_iface(two)
    assert len(r) == 1


def test_bad_and_too_many():
    r, one, _ = table()
    try:
        r.add(0x0A000001, 24, 0, one)
        raise AssertionError("bits behind the prefix")
    except ValueError:
        pass
    try:
        for i in range(100):
            r.add(i << 8, 24, 0, one)
        raise AssertionError("unbounded")
    except ValueError:
        assert len(r) == 64
