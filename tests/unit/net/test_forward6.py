"""net/forward6: a router between two links, fd77:1:: and fd77:2::, with a gateway on the first."""

from stack.core import be, checksum
from stack.core.frame import Frame
from stack.core.timers import NEVER
from stack.net import addr6
from stack.wire import ethernet, icmp6, ipv6
from tests.unit.net.support import Clock, Wire, host, run
from tests.unit.net.support6 import datagram, fragment
from tests.unit.net.test_alloc import Sink, locked
from tests.unit.net.test_forward import ethernet_bytes, repeat


def raw(text):
    return addr6.parse(text)[0]


OUT, IN = raw("fd77:1::1"), raw("fd77:2::1")  # ours
SERVER, GW, H1 = raw("fd77:1::50"), raw("fe80::9"), raw("fd77:2::a")
FAR = raw("2001:db8::8")  # behind the gateway
M_OUT, M_IN, M_PEER = 0x020000000001, 0x020000000002, 0x020000000099


class Net:
    """A router with a wire on each side, whose neighbours are known."""

    def __init__(self, mtu_out=1500, gateway=True):
        self.clock = Clock()
        self.out = Wire(ethernet_bytes(M_OUT), "eth0", mtu_out)
        self.inside = Wire(ethernet_bytes(M_IN), "eth1")
        self.h = h = host(self.out, self.clock)
        h.add_interface(self.inside)
        self.o, self.i = h.interfaces[1:]
        now = self.clock.now
        h.configure6(self.o, "static", now, OUT, 64, GW if gateway else None)
        h.configure6(self.i, "static", now, IN, 64)
        run(self.clock, 3_000_000, h)
        for iface, a in ((self.o, SERVER), (self.o, GW), (self.i, H1)):
            self.know(iface, a)
        self.fw = h.forward().six
        h.stats.drops.clear()
        self.out.take(), self.inside.take()

    def know(self, iface, a):
        a = addr6.with_zone(a, iface.index)
        e = iface.nd.neighbor6(self.h.ip6.addresses.keep(a), a, self.clock.now)
        e.mac = 0x020000000000 | a[15]
        e.state = 5
        e.until = NEVER
        e.stamp += 1

    def send(self, wire, packet, to=None):
        """Give the router an IPv6 packet from a wire: what it sent on (outside, inside)."""
        frame = bytearray(14)
        mac = M_OUT if wire is self.out else M_IN
        ethernet.build(frame, 0, mac if to is None else to, M_PEER, 0x86DD)
        wire.inbox.append(bytes(frame) + packet)
        self.h.poll(self.clock.now)
        return [f[14:] for f in self.out.take()], [f[14:] for f in self.inside.take()]

    def drops(self):
        return dict(self.h.stats.drops)

    def refused(self, wire, packet, why, to=None):
        """True if nothing went out on either side, and the counter says why."""
        self.h.stats.drops.clear()
        assert self.send(wire, packet, to) == ([], []), why
        assert self.drops() == {why: 1}, (why, self.drops())

    def told(self, packet, why, kind, code, rest=0, source=IN):
        """The error that a packet from H1 gets, which is checked: its quote is the packet."""
        self.h.stats.drops.clear()
        out, back = self.send(self.inside, packet)
        assert out == [] and len(back) == 1 and self.drops() == {why: 1}, (why, self.drops())
        p = back[0]
        n = len(p) - 40
        assert p[8:24] == source and p[24:40] == packet[8:24] and p[6] == 58
        assert be.get16(p, 4) == n and len(p) <= 1280
        s = ipv6.pseudo_sum(p[8:24], p[24:40], 58, n)
        assert checksum.add(p, 40, n, s) == 0xFFFF
        assert (p[40], p[41], be.get32(p, 44)) == (kind, code, rest), why
        assert p[48:] == packet[: 1280 - 48]


def ip(src, dst, payload, proto=17, hops=64):
    b = bytearray(40 + len(payload))
    ipv6.build(b, 0, src, dst, proto, len(payload), hops, 0x2E)
    b[40:] = payload
    return bytes(b)


def udp(src, dst, data=b"hello", **kw):
    return ip(src, dst, datagram(data, src=src, dst=dst), **kw)


def aged(p):
    return p[:7] + bytes((p[7] - 1,)) + p[8:]


def test_a_packet_goes_on_with_one_hop_less():
    n = Net()
    p = udp(H1, SERVER)
    assert n.send(n.inside, p) == ([aged(p)], [])
    p = udp(SERVER, H1, hops=2)
    assert n.send(n.out, p) == ([], [aged(p)])
    # Behind a gateway; what the destination reads is passed as it is: fragments, options.
    for proto, body in (
        (44, fragment(17, bytes(16), 0, True)), (44, fragment(17, bytes(9), 16, False)),
        (0, bytes((17, 0, 1, 4, 0, 0, 0, 0)) + bytes(8)), (59, b""), (253, b"x"),
    ):  # fmt: skip
        p = ip(H1, FAR, body, proto)
        assert n.send(n.inside, p) == ([aged(p)], []), proto
    assert n.fw.packets == 7 and n.drops() == {}


def test_where_the_frames_go():
    n = Net()
    for dst, last in ((SERVER, 0x50), (FAR, 0x09)):
        frame = bytearray(14)
        ethernet.build(frame, 0, M_IN, M_PEER, 0x86DD)
        n.inside.inbox.append(bytes(frame) + udp(H1, dst))
        n.h.poll(n.clock.now)
        (f,) = n.out.take()
        assert f[:14] == bytes((2, 0, 0, 0, 0, last)) + ethernet_bytes(M_OUT) + b"\x86\xdd"


def test_errors_that_a_router_sends():
    n = Net(mtu_out=1400, gateway=False)
    for hops in (0, 1):
        n.told(udp(H1, SERVER, hops=hops), "forward6.hops", icmp6.TIME_EXCEEDED, 0)
    n.told(udp(H1, FAR), "forward6.no_route", icmp6.UNREACHABLE, 0)
    p = udp(H1, SERVER, bytes(range(256)) * 5 + bytes(73))
    n.told(p, "forward6.too_big", icmp6.TOO_BIG, 0, 1400)
    p = udp(H1, SERVER, bytes(1352))
    assert n.send(n.inside, p) == ([aged(p)], [])


def test_no_errors_about_errors_nor_too_many():
    n = Net(gateway=False)
    for body in (b"\x01\x00\x00\x00" + bytes(8), b"\x89\x00\x00\x00" + bytes(8)):
        n.refused(n.inside, ip(H1, FAR, body, 58), "forward6.no_route")
        behind = bytes((58, 0, 1, 4, 0, 0, 0, 0)) + body
        n.refused(n.inside, ip(H1, FAR, behind, 60), "forward6.no_route")
    got = 0
    for _ in range(500):
        got += len(n.send(n.inside, udp(H1, FAR))[1])
    assert 0 < got < 200, got


def test_what_must_not_pass():
    n = Net()
    for src, dst, why in (
        (bytes(16), SERVER, "forward6.martian"), (raw("::1"), SERVER, "forward6.martian"),
        (raw("ff02::1"), SERVER, "forward6.martian"), (OUT, SERVER, "forward6.martian"),
        (raw("::ffff:1.2.3.4"), SERVER, "forward6.martian"), (H1, raw("::1"), "ipv6.martian"),
        (H1, bytes(16), "forward6.martian"), (H1, raw("::ffff:1.2.3.4"), "forward6.martian"),
        (H1, raw("fe80::77"), "forward6.scope"), (H1, raw("ff0e::1"), "ipv6.not_ours"),
        (SERVER, FAR, "forward6.spoofed"), (raw("fd99::1"), SERVER, "forward6.spoofed"),
    ):  # fmt: skip
        n.refused(n.inside, udp(src, dst), why)
    n.refused(n.inside, udp(H1, SERVER), "forward6.link_group", 0x333300000001)
    assert n.fw.packets == 0
    # A source of a link only is told so: RFC 4443, code 2.
    n.know(n.i, raw("fe80::a"))
    ours = n.i.auto.link_local().raw
    source = bytes(ours[:2]) + bytes(2) + bytes(ours[4:])
    n.told(udp(raw("fe80::a"), SERVER), "forward6.scope", icmp6.UNREACHABLE, 2, source=source)


def test_a_silent_neighbour_is_told_of():
    n = Net()
    p = udp(H1, raw("fd77:1::77"))
    out, back = n.send(n.inside, p)
    assert len(out) == 1 and out[0][40] == icmp6.NEIGHBOR_SOLICIT and back == []
    run(n.clock, 5_000_000, n.h)
    found = [f[14:] for f in n.inside.take()]
    errors = [f for f in found if f[6] == 58 and f[40] == icmp6.UNREACHABLE]
    assert len(errors) == 1 and errors[0][41] == icmp6.ADDRESS_UNREACHABLE
    assert errors[0][24:40] == H1 and errors[0][48:] == aged(p)
    assert n.drops()["forward6.unresolved"] == 1


def test_the_router_is_a_host_too():
    n = Net()
    body = bytearray(b"\x80\x00\x00\x00\x00\x01\x00\x02data")
    for dst in (IN, OUT):
        be.put16(body, 2, 0)
        be.put16(body, 2, checksum.checksum(body, 0, 12, ipv6.pseudo_sum(H1, dst, 58, 12)))
        out, back = n.send(n.inside, ip(H1, dst, bytes(body), 58))
        assert out == [] and len(back) == 1 and back[0][40] == icmp6.ECHO_REPLY
    assert n.fw.packets == 0


def test_without_room_it_is_counted():
    n = Net()
    held = []
    while n.h.pool.free:
        held.append(n.h.pool.get())
    n.refused(n.inside, udp(H1, SERVER), "forward6.no_room")
    for f in held:
        f.release()
    n.out.depth = 0
    n.refused(n.inside, udp(H1, SERVER), "forward6.ring_full")
    n.out.depth = 64
    assert len(n.send(n.inside, udp(H1, SERVER))[0]) == 1


def test_forwarding_allocates_nothing():
    n = Net()
    for iface in (n.o, n.i):
        iface.device = Sink()
        iface.tx = iface.device.tx
    for sent_on, iface, mac, packet in (
        (n.o, n.i, M_IN, udp(H1, SERVER)), (n.o, n.i, M_IN, udp(H1, FAR)),
        (n.i, n.o, M_OUT, udp(SERVER, H1)), (n.i, n.o, M_OUT, udp(FAR, H1)),
    ):  # fmt: skip
        header = bytearray(14)
        ethernet.build(header, 0, mac, M_PEER, 0x86DD)
        data = bytes(header) + packet
        f = Frame(bytearray(len(data)))
        before = sent_on.tx_frames
        locked(repeat, iface._sink, f, data)
        assert sent_on.tx_frames == before + 40
