"""net/linklocal (RFC 3927), and addresses of DHCP that turn out to be taken (RFC 5227, 2131)."""

from stack.core import be
from stack.net import linklocal
from stack.wire import arp, ethernet
from tests.unit.net.support import PEER, Clock, Wire, feed, host, run

SEC = 1_000_000


def arps(frames):
    """[(op, sender address, target address)]"""
    return [
        (be.get16(f, 20), be.get32(f, 28), be.get32(f, 38))
        for f in frames
        if f[12:14] == b"\x08\x06"
    ]


def claim(sender, target, op=2, mac=PEER):
    b = bytearray(42)
    ethernet.build(b, 0, ethernet.BROADCAST, mac, 0x0806)
    arp.build(b, 14, op, mac, sender, 0, target)
    return bytes(b)


def started():
    d = Wire()
    h = host(d)
    i = h.interfaces[1]
    h.configure(i, "linklocal", h.clock.now)
    return h, i, d, h._link_local["eth0"]


def test_three_probes_and_two_announcements():
    h, i, d, m = started()
    run(h.clock, 3 * SEC, h)
    assert i.addr == 0
    run(h.clock, 10 * SEC, h)
    a = m.addr
    assert 0xA9FE0100 <= a <= 0xA9FEFEFF and (i.addr, i.prefix) == (a, 16)
    assert arps(d.take()) == [(1, 0, a)] * 3 + [(1, a, a)] * 2


def test_a_claim_while_probing():
    """Section 2.2.1: anybody's packet from the address, or another's probe for it."""
    for why, make in (("used", lambda a: claim(a, 0, 2)), ("probed", lambda a: claim(0, a, 1))):
        h, i, d, m = started()
        run(h.clock, 2 * SEC, h)
        first = m.addr
        feed(h, d, make(first))
        assert m.addr != first, why
        run(h.clock, 12 * SEC, h)
        assert i.addr == m.addr, why


def test_it_is_defended_once():
    h, i, d, m = started()
    run(h.clock, 15 * SEC, h)
    a = i.addr
    d.take()
    assert (1, a, a) in arps(feed(h, d, claim(a, a)))
    assert i.addr == a
    feed(h, d, claim(a, a))  # again, within ten seconds
    assert i.addr == 0 and m.state == linklocal.PROBING
    run(h.clock, 15 * SEC, h)
    assert i.addr not in (0, a)


def test_ten_conflicts_slow_it_down():
    h, i, d, m = started()
    for _ in range(10):
        run(h.clock, SEC, h)
        feed(h, d, claim(m.addr, 0))
    d.take()
    run(h.clock, 59 * SEC, h)
    assert arps(d.take()) == []
    run(h.clock, 15 * SEC, h)
    assert i.addr == m.addr


def test_two_hosts_agree():
    """The same MAC's choice, as if by accident: one of them moves on."""
    clock = Clock()
    a = Wire(b"\x02\0\0\0\0\x01")
    b = Wire(b"\x02\0\0\0\0\x02")
    a.peer = b
    b.peer = a
    ha = host(a, clock)
    hb = host(b, clock)
    ha.configure(ha.interfaces[1], "linklocal", clock.now)
    run(clock, 20 * SEC, ha, hb)
    hb.configure(hb.interfaces[1], "linklocal", clock.now)
    m = hb._link_local["eth0"]
    m.addr = ha.interfaces[1].addr
    run(clock, 30 * SEC, ha, hb)
    assert hb.interfaces[1].addr not in (0, ha.interfaces[1].addr)


class Lease:
    prefix = 24
    routes = routers = dns = ()
    mtu = 0
    domain = ""
    server = 0x0A000001
    addr = 0x0A000063


def test_an_address_of_dhcp_that_is_taken_is_declined():
    d = Wire()
    h = host(d)
    i = h.interfaces[1]
    h.configure(i, "dhcp", h.clock.now)
    run(h.clock, 100_000, h)
    driver = h._dhcp["eth0"]
    driver.client.lease = Lease()
    driver.client.state = 4
    driver._now = h.clock.now
    d.take()
    driver._on_change(driver.client.lease)
    assert i.addr == Lease.addr and (1, 0, Lease.addr) in arps(d.take())
    out = feed(h, d, claim(Lease.addr, 0))
    assert i.addr == 0 and h.stats.get("dhcp.declined") == 1
    declined = [f for f in out if f[12:14] == b"\x08\0" and f[23] == 17]
    assert any([b"\x35\x01\x04" in f for f in declined])
    # Later, it is defended like any other.
    driver.client.lease = Lease()
    driver._on_change(driver.client.lease)
    run(h.clock, 6 * SEC, h)
    feed(h, d, claim(Lease.addr, 0))
    assert i.addr == Lease.addr and h.stats.dropped("arp.conflict") == 1
