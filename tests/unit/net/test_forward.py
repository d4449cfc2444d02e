"""net/forward and net/nat: two networks, one inside with several hosts, one outside."""

from stack.core import be, checksum
from stack.core.frame import Frame
from stack.core.mem import copy
from stack.core.timers import NEVER
from stack.net import nat as nats
from stack.wire import ethernet, icmp4, ipv4
from tests.unit.net.support import Clock, Wire, host, udp_sum
from tests.unit.net.test_alloc import Sink, locked

OUT = 0xC6336401  # 198.51.100.1, ours outside
IN = 0x0A070001  # 10.7.0.1, ours inside
H1, H2 = 0x0A070002, 0x0A070003
SERVER = 0xC6336450  # on the link outside
FAR = 0x08080808  # behind the gateway
GW = 0xC63364FE
M_OUT, M_IN = 0x020000000001, 0x020000000002
FORWARD_MTU = 1856  # what a pool's frame of 2,048 bytes holds


class Net:
    """A router with a wire on each side, whose neighbours are known."""

    def __init__(self, nat=True, mtu_out=1500, gateway=True):
        self.clock = Clock()
        self.out = Wire(ethernet_bytes(M_OUT), "eth0", mtu_out)
        self.inside = Wire(ethernet_bytes(M_IN), "eth1")
        self.h = h = host(self.out, self.clock)
        h.add_interface(self.inside)
        self.o, self.i = h.interfaces[1:]
        h.configure(self.o, "static", self.clock.now, OUT, 24, GW if gateway else 0)
        h.configure(self.i, "static", self.clock.now, IN, 24)
        for iface, a in ((self.o, SERVER), (self.o, GW), (self.i, H1), (self.i, H2)):
            know(iface, a)
        self.fw = h.forward(self.o if nat else None)
        self.nat = self.fw.nat
        self.out.take(), self.inside.take()

    def send(self, wire, packet, to=None, src=0x020000000099):
        """Give the router an IP packet from a wire: what it sent on (outside, inside)."""
        frame = bytearray(14)
        mac = M_OUT if wire is self.out else M_IN
        ethernet.build(frame, 0, mac if to is None else to, src, 0x0800)
        wire.inbox.append(bytes(frame) + packet)
        self.h.poll(self.clock.now)
        return [f[14:] for f in self.out.take()], [f[14:] for f in self.inside.take()]

    def drops(self):
        return dict(self.h.stats.drops)


def ethernet_bytes(mac):
    return bytes([mac >> i & 255 for i in range(40, -1, -8)])


def know(iface, address):
    e = iface.arp.neighbor(address, 0)
    e.mac = 0x020000000000 | address & 0xFFFFFF
    e.state = 5
    e.until = NEVER
    e.stamp += 1


def ip(src, dst, proto, payload, ttl=64, frag=0, ident=7, options=b""):
    n = 20 + len(options)
    b = bytearray(n + len(payload))
    ipv4.build(b, 0, src, dst, proto, len(payload), ident, frag, ttl)
    b[20:n] = options
    b[n:] = payload
    b[0] = 0x40 | n >> 2
    be.put16(b, 2, len(b))
    be.put16(b, 10, 0)
    be.put16(b, 10, checksum.checksum(b, 0, n))
    return bytes(b)


def udp(src, sport, dst, dport, data=b"hello", csum=True, **kw):
    b = bytearray(8 + len(data))
    be.put16(b, 0, sport)
    be.put16(b, 2, dport)
    be.put16(b, 4, len(b))
    b[8:] = data
    if csum:
        be.put16(b, 6, udp_sum(b, src, dst))
    return ip(src, dst, 17, bytes(b), **kw)


def tcp(src, sport, dst, dport, flags, data=b""):
    b = bytearray(20 + len(data))
    be.put16(b, 0, sport)
    be.put16(b, 2, dport)
    b[12] = 0x50
    b[13] = flags
    b[20:] = data
    be.put16(b, 16, checksum.checksum(b, 0, len(b), pseudo(src, dst, 6, len(b))))
    return ip(src, dst, 6, bytes(b))


def icmp(src, dst, kind, code, rest, data=b"data", **kw):
    b = bytearray(8 + len(data))
    b[8:] = data
    icmp4.build(b, 0, kind, code, rest, len(data))
    return ip(src, dst, 1, bytes(b), **kw)


def pseudo(src, dst, proto, n):
    b = bytearray(12)
    be.put32(b, 0, src)
    be.put32(b, 4, dst)
    b[9] = proto
    be.put16(b, 10, n)
    return checksum.add(b, 0, 12, 0)


def right(p):
    """A packet whose checksums all hold, taken apart: (src, dst, proto, ttl, payload)."""
    assert checksum.valid(p, 0, (p[0] & 15) * 4), "IPv4 checksum"
    src, dst, proto = be.get32(p, 12), be.get32(p, 16), p[9]
    body = p[(p[0] & 15) * 4 : be.get16(p, 2)]
    if not be.get16(p, 6) & 0x3FFF:
        if proto == 1:
            assert checksum.valid(body, 0, len(body)), "ICMP checksum"
        elif proto == 6 or be.get16(body, 6):
            assert checksum.valid(body, 0, len(body), pseudo(src, dst, proto, len(body))), proto
    return src, dst, proto, p[8], body


# ---- forwarding ----


def test_a_packet_goes_on_with_one_less_to_live():
    n = Net(nat=False)
    out, back = n.send(n.inside, udp(H1, 5000, SERVER, 53))
    assert back == [] and len(out) == 1
    assert right(out[0]) == (H1, SERVER, 17, 63, udp(H1, 5000, SERVER, 53)[20:])
    out, back = n.send(n.out, udp(SERVER, 53, H1, 5000, ttl=2))
    assert out == [] and right(back[0])[:4] == (SERVER, H1, 17, 1)
    info = n.fw.info()
    assert info.pop("ip6") == {"packets": 0, "bytes": 0}
    assert info == {"packets": 2, "bytes": 66, "fragmented": 0} and n.drops() == {}


def test_ageing_keeps_every_checksum_right():
    b = bytearray(20)
    for ident in range(0, 65536, 97):
        for ttl in (2, 64, 255):
            ipv4.build(b, 0, H1, SERVER, 17, 100, ident, 0, ttl)
            ipv4.age(b, 0)
            assert b[8] == ttl - 1 and checksum.valid(b, 0, 20)


ERRORS = (
    ("time to live 1", {"ttl": 1}, FAR, 11, 0, 0, "forward.ttl"),
    ("time to live 0", {"ttl": 0}, FAR, 11, 0, 0, "forward.ttl"),
    ("no way", {}, FAR, 3, 0, 0, "forward.no_route"),
)


def test_errors_told_to_the_sender():
    for why, options, dst, kind, code, rest, counter in ERRORS:
        n = Net(nat=False, gateway=False)
        packet = udp(H1, 5000, dst, 53, **options)
        out, back = n.send(n.inside, packet)
        assert out == [] and len(back) == 1, why
        src, to, proto, ttl, body = right(back[0])
        assert (src, to, proto, ttl) == (IN, H1, 1, 64), why
        assert (body[0], body[1], be.get32(body, 4)) == (kind, code, rest), why
        assert body[8:] == packet, why
        assert n.drops() == {counter: 1}, why


def test_too_big_says_what_fits():
    n = Net(nat=False, mtu_out=1000)
    packet = udp(H1, 1, SERVER, 2, bytes(1100), frag=ipv4.DF)
    out, back = n.send(n.inside, packet)
    assert out == []
    body = right(back[0])[4]
    assert (body[0], body[1], be.get32(body, 4)) == (3, 4, 1000)
    assert body[8:] == packet[: len(body) - 8]


def test_fragments():
    n = Net(nat=False, mtu_out=576)
    whole = udp(H1, 1, SERVER, 2, bytes(range(256)) * 5)
    out, _ = n.send(n.inside, whole)
    body, offset = b"", 0
    for i, p in enumerate(out):
        src, dst, proto, ttl, part = right(p)
        assert (src, dst, proto, ttl) == (H1, SERVER, 17, 63) and len(p) <= 576
        frag = be.get16(p, 6)
        assert frag & 0x1FFF == offset >> 3 and (frag & ipv4.MF != 0) == (i < len(out) - 1)
        assert be.get16(p, 4) == 7
        body += part
        offset += len(part)
    assert body == whole[20:] and len(out) == 3
    # A fragment is cut like a whole packet: offsets go on, and it does not become the last.
    piece = ip(H1, SERVER, 17, bytes(1000), frag=ipv4.MF | 50)
    out, _ = n.send(n.inside, piece)
    assert [be.get16(p, 6) for p in out] == [ipv4.MF | 50, ipv4.MF | 50 + 69]


STOPPED = (
    ("by Ethernet to all", udp(H1, 1, SERVER, 2), ethernet.BROADCAST, "forward.link_broadcast"),
    ("from a network elsewhere", udp(FAR, 1, SERVER, 2), None, "forward.spoofed"),
    ("from ourselves", udp(OUT, 1, SERVER, 2), None, "forward.martian"),
    ("from loopback", udp(0x7F000001, 1, SERVER, 2), None, "forward.martian"),
    ("from a group", udp(0xE0000005, 1, SERVER, 2), None, "forward.martian"),
    ("from link-local", udp(0xA9FE0101, 1, SERVER, 2), None, "forward.martian"),
    ("to link-local", udp(H1, 1, 0xA9FE0101, 2), None, "forward.martian"),
    ("to loopback", udp(H1, 1, 0x7F000001, 2), None, "forward.martian"),
    ("to nobody", udp(H1, 1, 0, 2), None, "forward.martian"),
    ("to class E", udp(H1, 1, 0xF0000001, 2), None, "forward.martian"),
    ("by a source route", ip(H1, SERVER, 17, b"x" * 8, options=b"\x83\x07\x04\x0a\x00\x00\x01\x00"),
     None, "ipv4.source_route"),
)  # fmt: skip


def test_what_is_not_forwarded():
    for why, packet, to, counter in STOPPED:
        n = Net(nat=False)
        assert n.send(n.inside, packet, to) == ([], []), why
        assert n.drops() == {counter: 1}, (why, n.drops())


def test_what_is_for_the_router_stays():
    n = Net(nat=False)
    out, back = n.send(n.inside, icmp(H1, IN, 8, 0, 1))
    assert out == [] and right(back[0])[4][0] == 0
    # Also by its other address (the weak end system model).
    out, back = n.send(n.inside, icmp(H1, OUT, 8, 0, 1))
    assert out == [] and right(back[0])[:2] == (OUT, H1)
    assert n.send(n.inside, udp(H1, 1, 0x0A0700FF, 9999), ethernet.BROADCAST) == ([], [])
    assert n.fw.packets == 0


def test_a_silent_neighbour_is_told_of():
    lost = SERVER + 1
    for nat in (False, True):
        for packet in (
            udp(H1, 5000, lost, 53), tcp(H1, 5000, lost, 53, 2), icmp(H1, lost, 8, 0, 5000 << 16),
        ):  # fmt: skip
            n = Net(nat=nat)
            if nat:
                # So that the port outside is another.
                for other in (udp(H2, 5000, FAR, 1), tcp(H2, 5000, FAR, 1, 2)):
                    n.send(n.inside, other)
                n.send(n.inside, icmp(H2, FAR, 8, 0, 5000 << 16))
            n.send(n.inside, packet)
            seen = []
            for _ in range(8):
                n.clock.now += 1_000_000
                n.h.poll(n.clock.now)
                seen += n.inside.take()
            told = [right(f[14:]) for f in seen if f[12:14] == b"\x08\x00"]
            assert len(told) == 1 and told[0][1] == H1 and told[0][4][:2] == b"\3\1"
            quoted = told[0][4][8:]
            assert checksum.valid(quoted, 0, 20)
            # As it was sent, but for TTL and checksum.
            assert quoted[:8] == packet[:8] and quoted[12:] == packet[12:]
            assert n.drops().get("forward.unresolved") == 1


def test_errors_are_never_about_errors_and_not_too_many():
    n = Net(nat=False, gateway=False)
    quoted = udp(H1, 1, SERVER, 2)
    assert n.send(n.inside, icmp(H1, FAR, 3, 3, 0, quoted)) == ([], [])
    count = 0
    for _ in range(200):
        count += len(n.send(n.inside, udp(H1, 1, FAR, 2))[1])
    assert 49 <= count <= 51


# ---- NAT ----


def test_udp_out_and_back():
    n = Net()
    out, _ = n.send(n.inside, udp(H1, 5000, FAR, 53))
    src, dst, _, ttl, body = right(out[0])
    assert (src, dst, ttl, be.get16(body, 0), be.get16(body, 2)) == (OUT, FAR, 63, 5000, 53)
    _, back = n.send(n.out, udp(FAR, 53, OUT, 5000, b"answer"))
    assert right(back[0])[:2] == (FAR, H1) and right(back[0])[4][8:] == b"answer"
    # Endpoint-independent mapping and filtering (4787 REQ-1, REQ-8).
    out, _ = n.send(n.inside, udp(H1, 5000, SERVER, 99))
    assert be.get16(right(out[0])[4], 0) == 5000
    _, back = n.send(n.out, udp(SERVER, 77, OUT, 5000))
    assert right(back[0])[:2] == (SERVER, H1)
    assert n.nat.info() == {"mappings": 1, "made": 1, "expired": 0}


def test_ports():
    n = Net()
    n.send(n.inside, udp(H1, 5000, FAR, 53))
    seen = {5000}
    for src, port in ((H2, 5000), (H1, 5001), (H2, 5001), (H1, 80), (H1, 60000), (H1, 60001)):
        out, _ = n.send(n.inside, udp(src, port, FAR, 53))
        p = be.get16(right(out[0])[4], 0)
        # 4787 REQ-3: no port twice; REQ-4: parity kept; never a well-known or a host's own port.
        assert p not in seen and p % 2 == port % 2 and 1024 <= p < 49152, (src, port, p)
        seen.add(p)
    # A port that a socket of the router has is not given out.
    n.h.udp.open(0, 7000, n.clock.now)
    out, _ = n.send(n.inside, udp(H1, 7000, FAR, 53))
    assert be.get16(right(out[0])[4], 0) != 7000


def test_udp_without_a_checksum_stays_without():
    n = Net()
    out, _ = n.send(n.inside, udp(H1, 5000, FAR, 53, csum=False))
    assert be.get16(right(out[0])[4], 6) == 0
    # And one that comes out as zero is sent as all ones: RFC 768.
    for data in range(0, 65536, 5):
        body = bytes([data >> 8, data & 255])
        out, _ = n.send(n.inside, udp(H1, 5000, FAR, 53, body))
        assert be.get16(right(out[0])[4], 6) != 0


def test_tcp_states_and_their_lives():
    n = Net()
    m = None

    def outward(flags):
        out, _ = n.send(n.inside, tcp(H1, 5000, FAR, 80, flags))
        right(out[0])

    def inward(flags):
        _, back = n.send(n.out, tcp(FAR, 80, OUT, 5000, flags))
        assert right(back[0])[:2] == (FAR, H1)

    def life():
        return n.nat._in[6 << 16 | 5000].until - n.clock.now

    SYN, ACK, FIN, RST = 2, 16, 1, 4
    outward(SYN)
    assert life() == nats.TRANSITORY_US
    inward(SYN | ACK)
    assert life() == nats.TRANSITORY_US
    outward(ACK)
    assert life() == nats.ESTABLISHED_US
    inward(ACK | FIN)
    assert life() == nats.ESTABLISHED_US
    outward(ACK | FIN)
    assert life() == nats.TRANSITORY_US
    outward(SYN)  # the same port anew
    inward(SYN | ACK)
    outward(ACK)
    assert life() == nats.ESTABLISHED_US
    inward(RST)
    assert life() == nats.TRANSITORY_US
    n.clock.now += nats.TRANSITORY_US + 10_000_001
    n.h.poll(n.clock.now)
    assert n.nat.info() == {"mappings": 0, "made": 1, "expired": 1} and m is None


def test_one_of_several_sessions_does_not_end_a_mapping():
    n = Net()
    for server in (FAR, SERVER):
        n.send(n.inside, tcp(H1, 5000, server, 80, 2))
        n.send(n.out, tcp(server, 80, OUT, 5000, 18))
        n.send(n.inside, tcp(H1, 5000, server, 80, 16))
    n.send(n.out, tcp(FAR, 80, OUT, 5000, 4))
    assert n.nat._in[6 << 16 | 5000].until - n.clock.now == nats.ESTABLISHED_US


def test_udp_lives_by_what_goes_out():
    n = Net()
    n.send(n.inside, udp(H1, 5000, FAR, 53))
    n.clock.now += nats.UDP_US - 1
    assert len(n.send(n.out, udp(FAR, 53, OUT, 5000))[1]) == 1
    n.clock.now += 1  # 4787 REQ-6: what comes in is no refresh
    assert n.send(n.out, udp(FAR, 53, OUT, 5000))[1] == []
    n.send(n.inside, udp(H1, 5000, FAR, 53))
    assert len(n.send(n.out, udp(FAR, 53, OUT, 5000))[1]) == 1


def test_unsolicited():
    n = Net()
    # 5382 REQ-4: silence for a SYN; the router's own stack answers what is in its own ports.
    assert n.send(n.out, tcp(FAR, 80, OUT, 5000, 2)) == ([], [])
    assert n.drops() == {"nat.unsolicited": 1}
    out, _ = n.send(n.out, tcp(FAR, 80, OUT, 50000, 2))
    assert right(out[0])[4][13] & 4
    out, _ = n.send(n.out, udp(FAR, 53, OUT, 5000))
    assert right(out[0])[4][:2] == b"\3\3"


def test_echo_keeps_its_identifier_where_it_can():
    n = Net()
    out, _ = n.send(n.inside, icmp(H1, FAR, 8, 0, 0x12340001))
    assert right(out[0])[4][4:8] == b"\x12\x34\0\1" and right(out[0])[0] == OUT
    out, _ = n.send(n.inside, icmp(H2, FAR, 8, 0, 0x12340001))
    ident = be.get16(right(out[0])[4], 4)
    assert ident != 0x1234
    _, back = n.send(n.out, icmp(FAR, OUT, 0, 0, ident << 16 | 1))
    assert right(back[0])[1] == H2 and be.get16(right(back[0])[4], 4) == 0x1234
    # An echo to the router itself is the router's to answer.
    out, back = n.send(n.out, icmp(FAR, OUT, 8, 0, 0x12340001))
    assert back == [] and right(out[0])[4][0] == 0


def test_an_error_from_outside_finds_who_it_is_for():
    for proto, packet in (
        ("udp", udp(H2, 5000, FAR, 53)), ("tcp", tcp(H2, 5000, FAR, 80, 2)),
        ("echo", icmp(H2, FAR, 8, 0, 0x13880007)),
    ):  # fmt: skip
        n = Net()
        n.send(n.inside, udp(H1, 5000, FAR, 1))
        n.send(n.inside, tcp(H1, 5000, FAR, 1, 2))
        n.send(n.inside, icmp(H1, FAR, 8, 0, 0x13880007))
        out, _ = n.send(n.inside, packet)
        right(out[0])
        for kind, code in ((3, 3), (3, 4), (11, 0), (12, 0)):
            for cut in (28, len(out[0])):
                _, back = n.send(n.out, icmp(SERVER, OUT, kind, code, 1400, out[0][:cut]))
                src, dst, _, _, body = right(back[0])
                assert (src, dst, body[0], body[1]) == (SERVER, H2, kind, code), proto
                quoted = body[8:]
                assert checksum.valid(quoted, 0, 20) and be.get32(quoted, 12) == H2
                # As the sender sent it, but for the life it had left.
                assert quoted[20:cut] == packet[20:cut], proto
    assert n.send(n.out, icmp(SERVER, OUT, 3, 3, 0, udp(OUT, 999, FAR, 53)))[1] == []


def test_an_error_from_inside_is_translated_too():
    n = Net()
    n.send(n.inside, udp(H1, 5000, FAR, 53))
    n.send(n.inside, udp(H2, 5000, FAR, 53))
    port = n.nat._out[17 << 48 | H2 << 16 | 5000].out_port
    packet = udp(FAR, 53, OUT, port)
    _, back = n.send(n.out, packet)
    out, _ = n.send(n.inside, icmp(H2, FAR, 3, 3, 0, back[0]))
    src, dst, _, _, body = right(out[0])
    assert (src, dst) == (OUT, FAR) and checksum.valid(body[8:], 0, 20)
    assert body[8 + 20 :] == packet[20:] and be.get32(body, 8 + 16) == OUT
    assert n.send(n.inside, icmp(H2, FAR, 3, 3, 0, udp(FAR, 53, H2, 1234)))[0] == []
    assert n.drops() == {"nat.quote": 1}


def test_hairpin():
    n = Net()
    n.send(n.inside, udp(H1, 5000, FAR, 53))
    _, back = n.send(n.inside, udp(H2, 6000, OUT, 5000))
    src, dst, _, _, body = right(back[0])
    # 4787 REQ-9: "External source IP address and port".
    assert (src, dst, be.get16(body, 0), be.get16(body, 2)) == (OUT, H1, 6000, 5000)
    _, back = n.send(n.inside, udp(H1, 5000, OUT, 6000))
    assert right(back[0])[:2] == (OUT, H2)


def test_fragments_follow_their_first():
    n = Net()
    whole = udp(H1, 5000, FAR, 53, bytes(2000))[20:]
    first = ip(H1, FAR, 17, whole[:1400], frag=ipv4.MF, ident=99)
    rest = ip(H1, FAR, 17, whole[1400:], frag=175, ident=99)
    assert n.send(n.inside, rest)[0] == [] and n.drops() == {"nat.fragment": 1}
    a, _ = n.send(n.inside, first)
    b, _ = n.send(n.inside, rest)
    assert right(a[0])[0] == right(b[0])[0] == OUT
    datagram = right(a[0])[4] + right(b[0])[4]
    assert checksum.valid(datagram, 0, len(datagram), pseudo(OUT, FAR, 17, len(datagram)))
    back = udp(FAR, 53, OUT, 5000, bytes(2000))[20:]
    _, x = n.send(n.out, ip(FAR, OUT, 17, back[:1400], frag=ipv4.MF, ident=5))
    _, y = n.send(n.out, ip(FAR, OUT, 17, back[1400:], frag=175, ident=5))
    assert right(x[0])[1] == right(y[0])[1] == H1


def test_what_is_not_translated():
    for why, packet, counter in (
        ("another protocol", ip(H1, FAR, 47, bytes(8)), "nat.protocol"),
        ("half a UDP header", ip(H1, FAR, 17, bytes(7)), "nat.truncated"),
        ("half a TCP header", ip(H1, FAR, 6, bytes(19)), "nat.truncated"),
        ("half an ICMP header", ip(H1, FAR, 1, bytes(7)), "nat.truncated"),
        ("a redirect", icmp(H1, FAR, 5, 0, 0), "nat.icmp_type"),
        ("an error that quotes little", icmp(H1, FAR, 3, 0, 0, bytes(27)), "nat.quote"),
    ):
        n = Net()
        assert n.send(n.inside, packet)[0] == [], why
        assert n.drops() == {counter: 1}, (why, n.drops())


def test_published_ports():
    n = Net()
    n.nat.publish(6, 8080, H1, 80)
    _, back = n.send(n.out, tcp(FAR, 1234, OUT, 8080, 2))
    src, dst, _, _, body = right(back[0])
    assert (src, dst, be.get16(body, 2)) == (FAR, H1, 80)
    out, _ = n.send(n.inside, tcp(H1, 80, FAR, 1234, 18))
    assert (right(out[0])[0], be.get16(right(out[0])[4], 0)) == (OUT, 8080)
    n.clock.now += 100 * nats.ESTABLISHED_US
    n.h.poll(n.clock.now)
    assert len(n.send(n.out, tcp(FAR, 1234, OUT, 8080, 2))[1]) == 1
    try:
        n.nat.publish(6, 8080, H2, 80)
        raise AssertionError
    except ValueError:
        pass
    n.nat.withdraw(6, 8080)
    assert n.send(n.out, tcp(FAR, 1234, OUT, 8080, 2))[1] == []


def test_bounds():
    n = Net()
    for port in range(1024, 1024 + nats.MAX_PER_ADDRESS):
        n.nat._make(17, H1, port, n.clock.now).until = n.clock.now + 1000
    assert n.nat._make(17, H1, 1, n.clock.now) is None
    # One address inside leaves room for others.
    assert n.nat._make(17, H2, 1, n.clock.now) is not None
    for i in range(nats.MAX_MAPPINGS):
        n.nat._make(17, H2 + i // 2000, 1024 + i % 2000, n.clock.now)
    assert len(n.nat._in) == len(n.nat._out) == nats.MAX_MAPPINGS
    assert n.drops()["nat.full"] > 1


def test_a_new_address_outside_ends_the_mappings():
    n = Net()
    n.nat.publish(6, 8080, H1, 80)
    n.send(n.inside, udp(H1, 5000, FAR, 53))
    n.h.configure(n.o, "static", n.clock.now, OUT + 1, 24, GW)
    know(n.o, GW)
    out, _ = n.send(n.inside, udp(H1, 5001, FAR, 53))
    assert right(out[-1])[0] == OUT + 1
    assert sorted(m.out_port for m in n.nat._in.values()) == [5001, 8080]


def test_forwarding_allocates_nothing():
    for nat in (False, True):
        n = Net(nat=nat)
        for iface in (n.o, n.i):
            iface.device = Sink()
            iface.tx = iface.device.tx
        for sent_on, iface, mac, packet in (
            (n.o, n.i, M_IN, udp(H1, 5000, FAR, 53)), (n.o, n.i, M_IN, tcp(H1, 5000, FAR, 80, 16)),
            (n.o, n.i, M_IN, icmp(H1, FAR, 8, 0, 5000 << 16)),
            (n.i, n.o, M_OUT, udp(FAR, 53, OUT if nat else H1, 5000)),
            (n.i, n.o, M_OUT, tcp(FAR, 80, OUT if nat else H1, 5000, 16)),
        ):  # fmt: skip
            header = bytearray(14)
            ethernet.build(header, 0, mac, 0x020000000099, 0x0800)
            data = bytes(header) + packet
            f = Frame(bytearray(len(data)))
            before = sent_on.tx_frames
            locked(repeat, iface._sink, f, data)
            assert sent_on.tx_frames == before + 40, (nat, packet)


def repeat(sink, f, data):
    n = len(data)
    for _ in range(20):
        copy(f.buf, 0, data, 0, n)
        f.off = 0
        f.end = n
        sink(f)
