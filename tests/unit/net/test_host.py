"""host and iface: polling, configuration, DHCP end to end."""

from stack.core import be
from stack.core.timers import NEVER
from stack.wire import dhcp as wire
from tests.unit.net.support import (
    MAC_A,
    MAC_B,
    OURS,
    PEER,
    A,
    B,
    Clock,
    Wire,
    feed,
    host,
    ip_packet,
    pair,
    ready,
    run,
    single,
    udp_datagram,
)
from tests.unit.net.test_dhcp import answer, option

SEC = 1_000_000
SERVER = 0x0A000001
LEASED = 0x0A000063
ALL = 0xFFFFFFFFFFFF


def dhcp_frame(kind, xid, dst=0xFFFFFFFF, to=ALL, **kw):
    data = answer(kind, xid, mac=OURS, **kw)
    return ip_packet(17, udp_datagram(data, 67, 68, SERVER, dst), SERVER, dst, to=to)


def request(frames):
    """(DHCP type, xid, source, destination) of the one DHCP frame among those sent."""
    found = []
    for b in frames:
        if be.get16(b, 12) == 0x0800 and b[23] == 17 and be.get16(b, 36) == 67:
            found.append((option(b[42:], 53)[0], be.get32(b, 46), be.get32(b, 26), be.get32(b, 30)))
    assert len(found) == 1, found
    return found[0]


def bound(**kw):
    d = Wire(MAC_A)
    h = host(d)
    iface = h.interfaces[1]
    told = []
    h.watchers.append(lambda i: told.append((i.name, i.addr)))
    h.configure(iface, "dhcp", h.clock.now)
    kind, xid, src, dst = request(d.take())
    assert (kind, src, dst) == (wire.DISCOVER, 0, 0xFFFFFFFF)
    out = feed(h, d, dhcp_frame(wire.OFFER, xid, **kw))
    assert request(out)[0] == wire.REQUEST
    feed(h, d, dhcp_frame(wire.ACK, xid, **kw))
    return h, iface, d, told


def test_dhcp_search_list():
    """Option 119 (RFC 3397) is before option 15, whole and in pieces, with pointers back."""
    whole = b"\x03lan\x00\x04corp\xc0\x00"
    first = b"\x77" + bytes((len(whole),)) + whole
    pieces = b"\x77\x04" + whole[:4] + b"\x77" + bytes((len(whole) - 4,)) + whole[4:]
    for more in (first, pieces):
        h = bound(more=b"\x0f\x07example" + more)[0]
        assert h.search == ["lan", "corp.lan"]
    for bad in (b"\x03la", b"\xc0\x00", b"\x03lan\x00\xc0", b"\x03l n\x00", b"\x00", b"\x40"):
        h = bound(more=b"\x0f\x07example\x77" + bytes((len(bad),)) + bad)[0]
        assert h.search == ["example"], bad


def test_dhcp():
    h, iface, d, told = bound(more=b"\x1a\x02\x05\x14\x0f\x07example")
    assert (iface.addr, iface.prefix, iface.mtu) == (LEASED, 24, 1300)
    assert h.routes.default().gateway == SERVER
    assert h.dns == [SERVER] and h.search == ["example"]
    assert told[-1] == ("eth0", LEASED)
    assert h.dhcp(iface).lease.addr == LEASED
    # It answers for its address.
    (out,) = feed(h, d, ip_packet(1, b"\x08\x00\xf7\xff\x00\x00\x00\x00", dst=LEASED))[-1:]
    assert be.get16(out, 12) == 0x0806  # asks who B is; the answer waits


def test_dhcp_renews_by_unicast_and_loses():
    h, iface, d, told = bound()
    run(h.clock, 1800 * SEC - 1, h)
    d.take()
    run(h.clock, 1, h)
    out = d.take()
    assert be.get32(out[0], 38) == SERVER  # ARP first
    reply = bytearray(42)
    reply[:] = out[0][:42]
    from stack.wire import arp, ethernet

    ethernet.build(reply, 0, OURS, PEER, 0x0806)
    arp.build(reply, 14, 2, PEER, SERVER, OURS, LEASED)
    kind, xid, src, dst = request(feed(h, d, bytes(reply)))
    assert (kind, src, dst) == (wire.REQUEST, LEASED, SERVER)
    feed(h, d, dhcp_frame(wire.ACK, xid, LEASED, OURS))
    assert told[-1] == ("eth0", LEASED)
    run(h.clock, 3601 * SEC, h)
    assert told[-1] == ("eth0", 0)
    assert iface.addr == 0 and h.dns == [] and h.routes.default() is None
    assert h.ip.path(B) is None
    assert h.pool.free == 64


def test_dhcp_classless_routes_instead_of_the_router():
    routes = b"\x79\x0d\x18\x0a\x05\x05\x0a\x00\x00\x02\x00\x0a\x00\x00\x03"
    h, iface, _, _ = bound(more=routes)
    assert h.routes.default().gateway == 0x0A000003
    assert h.routes.lookup(0x0A050505).gateway == 0x0A000002


def test_dhcp_then_static():
    h, iface, d, _ = bound()
    h.configure(iface, "static", h.clock.now, A, 24, SERVER, (0x08080808,))
    assert h.udp.endpoints() == [] and h.dhcp(iface) is None
    assert iface.addr == A and h.dns == [0x08080808]
    assert h.ip.local.get(LEASED) is None


def test_dhcp_garbage():
    d = Wire(MAC_A)
    h = host(d)
    h.configure(h.interfaces[1], "dhcp", h.clock.now)
    _, xid, _, _ = request(d.take())
    good = answer(wire.OFFER, xid, mac=OURS)
    for n in range(0, len(good) - 1, 7):
        data = udp_datagram(good[:n], 67, 68, SERVER, 0xFFFFFFFF)
        feed(h, d, ip_packet(17, data, SERVER, 0xFFFFFFFF, to=ALL))
    data = udp_datagram(good, 1067, 68, SERVER, 0xFFFFFFFF)  # not from the server port
    assert feed(h, d, ip_packet(17, data, SERVER, 0xFFFFFFFF, to=ALL)) == []
    assert request(feed(h, d, dhcp_frame(wire.OFFER, xid)))[0] == wire.REQUEST


def test_dhcp_while_the_ring_is_full():
    d = Wire(MAC_A, depth=0)
    h = host(d)
    h.configure(h.interfaces[1], "dhcp", h.clock.now)
    assert d.take() == []
    d.depth = 8
    run(h.clock, 2000, h)
    assert request(d.take())[0] == wire.DISCOVER


def test_link_down_and_up():
    h, iface, d, told = bound()
    d.link_up = False
    h.poll(h.clock.now)
    assert not iface.up and h.ip.path(B) is None
    d.take()
    d.link_up = True
    h.poll(h.clock.now)
    assert iface.up
    out = d.take()
    kinds = [be.get16(x, 12) for x in out]
    assert 0x0806 in kinds  # announces itself, asks for the server
    assert h.dhcp(iface).state == 5


def test_configure_refuses():
    h, iface, _ = single()
    try:
        h.configure(iface, "magic", 0)
        raise AssertionError
    except ValueError:
        pass


def test_idle_means_idle():
    h, _, d = ready()
    d.take()
    assert h.poll_at() > h.clock.now + SEC
    h.configure(h.interfaces[1], "none", h.clock.now)
    run(h.clock, 200 * SEC, h)
    assert h.poll_at() == NEVER
    assert d.take() == []


def test_a_busy_device_does_not_hold_the_program():
    h, _, d = ready()
    d.inbox.extend([ip_packet(17, udp_datagram(b"x"))] * 1000)
    h.poll(h.clock.now)
    assert len(d.inbox) == 1000 - 4 * 64
    assert h.poll_at() == h.clock.now  # comes back at once
    while d.inbox:
        h.poll(h.clock.now)
    assert h.poll_at() > h.clock.now


def test_two_interfaces():
    clock = Clock()
    one = Wire(MAC_A)
    two = Wire(MAC_B, "eth1")
    h = host(one, clock)
    h.add_interface(two)
    h.configure(h.interface("eth0"), "static", 0, A, 24, SERVER)
    h.configure(h.interface("eth1"), "static", 0, 0x0B000001, 24)
    one.take()
    two.take()
    assert h.ip.path(0x0B000002).iface.name == "eth1"
    assert h.ip.path(0x0B000002).src == 0x0B000001
    assert h.ip.path(0x08080808).iface.name == "eth0"
    assert h.interface("eth2") is None


def test_tcp_through_it_all():
    for offload in (False, True):
        ha, hb = pair(offload=offload)
        if ha.tcp is None:
            return
        c = ha.clock
        listener = hb.tcp.listen(0, 80, 4, c.now)
        client = ha.tcp.connect(B, 80, c.now)
        run(c, 1000, ha, hb)
        server = listener.accept()
        want = bytes([i * 7 & 0xFF for i in range(20000)])
        assert client.send(want, 0, len(want), c.now) == len(want)
        run(c, SEC, ha, hb)
        buf = bytearray(30000)
        n = 0
        while n < len(want):
            got = server.recv_into(buf, n, len(buf) - n, c.now)
            assert got > 0
            n += got
        assert bytes(buf[:n]) == want
        client.close(c.now)
        server.close(c.now)
        run(c, SEC, ha, hb)
        assert ha.pool.free == 64 and hb.pool.free == 64


def test_refused_and_unreachable_reach_tcp():
    ha, hb = pair()
    if ha.tcp is None:
        return
    c = ha.clock
    client = ha.tcp.connect(B, 81, c.now)
    run(c, 1000, ha, hb)
    assert client.error == 111
