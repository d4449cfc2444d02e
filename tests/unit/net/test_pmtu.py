"""Path MTU discovery of IPv4 (RFC 1191), and of both families without the help of routers (8899).

IPv6's by "packet too big" is in test_ipv6.py.
"""

from stack.core import be
from stack.net import addr6, pmtu
from stack.wire import icmp4, ipv4
from tests.unit.net.support import (
    MAC_A,
    MAC_B,
    A,
    B,
    Clock,
    Wire,
    feed,
    host,
    ip_packet,
    ready,
    run,
)
from tests.unit.net.support6 import G, H, know_peer, single6


def needed(mtu, size=1500, dst=B, proto=200):
    """A router's "fragmentation needed" about a packet of `size` bytes that we sent to dst."""
    quote = bytearray(28)
    ipv4.build(quote, 0, A, dst, proto, size - 20)
    m = bytearray(8) + quote
    icmp4.build(m, 0, 3, 4, mtu, len(quote))
    return ip_packet(1, bytes(m))


class Handler:
    def __init__(self, ip):
        self.errors = []
        ip.register(200, self)

    def on_error(self, code, h, f, now):
        self.errors.append((code, h.mtu))


# (why, MTU told, size of the packet) -> MTU of the path
CASES = (
    ("as it says", 1400, 1500, 1400),
    ("too little to be true", 100, 1500, 552),
    ("no smaller than what was sent", 1500, 1500, 1500),
    ("about a smaller packet", 1400, 1000, 1500),
    ("an old router names none", 0, 1500, 1492),
    ("nor about this one", 0, 1300, 1006),
    ("nor about a tiny one", 0, 600, 552),
)


def test_cases():
    for why, mtu, size, then in CASES:
        h, _, d = ready()
        p = Handler(h.ip)
        path = h.ip.path(B)
        feed(h, d, needed(mtu, size))
        path.follow(h.clock.now)
        assert path.mtu == then, (why, path.mtu)
        assert p.errors == ([(90, then)] if then < 1500 else []), why


def test_only_about_a_path_in_use():
    h, _, d = ready()
    feed(h, d, needed(1400))
    assert len(h.pmtu) == 0 and h.stats.drops == {"icmp.bad_quote": 1}


def test_it_is_forgotten_after_ten_minutes():
    h, _, d = ready()
    Handler(h.ip)
    path = h.ip.path(B)
    feed(h, d, needed(1400))
    run(h.clock, 599_000_000, h)
    path.follow(h.clock.now)
    assert path.mtu == 1400
    run(h.clock, 2_000_000, h)
    path.follow(h.clock.now)
    assert path.mtu == 1500


def test_what_fits_says_so_and_what_does_not_is_cut():
    h, _, d = ready()
    ep = h.udp.open(0, 0, h.clock.now)
    for n in (1472, 1473):
        ep.send_to(bytes(n), 0, n, B, 9, h.clock.now)
    frames = d.take()
    flags = [be.get16(f, 20) & 0xE000 for f in frames]
    assert flags == [0x4000, 0x2000, 0]
    # After the news, so is what fitted before; the endpoint sees no error (as on Linux).
    quote = needed(1000, proto=17)
    feed(h, d, quote)
    ep.send_to(bytes(1400), 0, 1400, B, 9, h.clock.now)
    assert [be.get16(f, 16) <= 1000 for f in d.take()] == [True, True]
    assert ep.error == 0 and h.stats.get("udp.too_big") == 1


def test_the_table_is_bounded():
    h, _, _ = ready()
    for n in range(1000):
        h.pmtu.lower(n, 1000 + n, h.clock.now + n)
    assert len(h.pmtu) == 256
    assert h.pmtu.get(999, 5000) == 1999 and h.pmtu.get(1, 5000) == 5000
    assert pmtu.PathMtu is not None


def test_black_holes():
    """RFC 8899: without a word of a router the size goes down to one that nearly all take."""
    h, _, d = ready()
    path = h.ip.path(B)
    path.follow(h.clock.now)
    assert path.shrink(h.clock.now) and path.mtu == 1200
    assert not path.shrink(h.clock.now)
    run(h.clock, 601_000_000, h)
    path.follow(h.clock.now)
    assert path.mtu == 1500
    h, _, d = single6()
    know_peer(h, d)
    path = h.ip.path(h.ip6.addresses.handle(H))
    path.follow(h.clock.now)
    assert path.shrink(h.clock.now) and path.mtu == 1280
    lo = h.ip.path(h.ip6.addresses.handle(addr6.LOOPBACK))
    lo.follow(h.clock.now)
    assert not lo.shrink(h.clock.now)


class Eater(Wire):
    """A wire that loses frames of more than `limit` bytes, and nobody says so."""

    limit = 1300
    eaten = 0

    def tx(self, f):
        if f.end - f.off + f.data_len > self.limit + 14:
            self.eaten += 1
            f.release()
            return True
        return super().tx(f)


def test_tcp_gets_through_a_black_hole():
    for six in (False, True):
        clock = Clock()
        da = Eater(MAC_A)
        db = Wire(MAC_B)
        da.peer = db
        db.peer = da
        ha = host(da, clock)
        hb = host(db, clock)
        for h, four, raw in ((ha, A, G), (hb, B, H)):
            h.configure(h.interfaces[1], "static", clock.now, four, 24)
            if six:
                h.configure6(h.interfaces[1], "static", clock.now, raw, 64)
        run(clock, 3_000_000, ha, hb)
        dst = ha.ip6.addresses.handle(H) if six else B
        listener = hb.tcp.listen(addr6.ANY if six else 0, 80, 4, clock.now)
        c = ha.tcp.connect(dst, 80, clock.now)
        run(clock, 100_000, ha, hb)
        s = listener.accept()
        data = bytes(range(256)) * 100
        sent = c.send(data, 0, len(data), clock.now)
        buf = bytearray(len(data))
        got = 0
        for _ in range(400):
            run(clock, 50_000, ha, hb)
            got += s.recv_into(buf, got, len(buf) - got, clock.now)
            if sent < len(data):
                sent += c.send(data, sent, len(data) - sent, clock.now)
            if got == len(data):
                break
        assert got == len(data) and buf == data and da.eaten > 2, (six, got, c.info())
        assert ha.stats.get("ipv6.black_hole" if six else "ipv4.black_hole") == 1
        assert c.mss <= (1280 - 60 if six else 1200 - 40)
