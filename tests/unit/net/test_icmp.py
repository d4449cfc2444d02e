"""net/icmp: echo both ways, errors in and out."""

from stack.core import be, checksum
from stack.wire import icmp4, ipv4
from tests.unit.net.support import A, B, feed, ip_packet, pair, ready, run, single, udp_datagram
from tests.unit.net.test_ipv4 import Handler

SEC = 1_000_000
ALL = 0xFFFFFFFFFFFF


def message(kind, code, rest=0, data=b""):
    b = bytearray(8) + bytearray(data)
    icmp4.build(b, 0, kind, code, rest, len(data))
    return bytes(b)


def ours(proto=200, payload=b"12345678", src=A, dst=B, frag=0):
    """A packet as we might have sent it, for an error to quote."""
    b = bytearray(20)
    ipv4.build(b, 0, src, dst, proto, len(payload), 5, frag)
    return bytes(b) + payload


def error(kind, code, quoted, rest=0, src=B):
    return ip_packet(1, message(kind, code, rest, quoted), src=src)


def test_echo():
    for data in (b"", b"x", b"abc" * 100, bytes(1472)):
        h, _, d = ready()
        d.take()
        (out,) = feed(h, d, ip_packet(1, message(8, 0, 0x12345678, data)))
        assert out[34:] == message(0, 0, 0x12345678, data)
        assert be.get32(out, 26) == A and be.get32(out, 30) == B
        assert h.pool.free == 64


def test_echo_checksum_carries():
    """Type 8 to 0 is done on the checksum itself: with every carry it can have."""
    h, _, d = ready()
    for rest in (0, 0xFFFF, 0x07FF, 0xF7FF, 0xF800, 0x0800, 0xFFFF0000, 0xF7FFFFFF):
        (out,) = feed(h, d, ip_packet(1, message(8, 0, rest)))
        assert checksum.valid(out, 34, 8), hex(rest)


def _mutants(packet):
    """The packet (with its Ethernet header), every byte behind that changed, every truncation."""
    yield packet
    for i in range(14, len(packet)):
        for change in (1, 0x80, 0x0F):
            b = bytearray(packet)
            b[i] ^= change
            if i < 34:  # a good header nevertheless
                b[24] = b[25] = 0
                be.put16(b, 24, checksum.checksum(b, 14, 20))
            yield bytes(b)
            if i >= 34:
                b[36] = b[37] = 0
                be.put16(b, 36, checksum.checksum(b, 34, len(b) - 34))
                yield bytes(b)
        yield packet[:i]
    yield packet + bytes(18)


def test_the_lane_of_an_echo_and_the_ordinary_way():
    """lead to the same answers and the same counts."""
    lane, _, lane_device = ready()
    plain, _, plain_device = ready()
    taken = [0]
    take = lane.icmp.take

    def counted(f, off, now):
        done = take(f, off, now)
        taken[0] += done
        return done

    lane.icmp.take = counted
    plain.icmp.take = lambda f, off, now: False
    request = ip_packet(1, message(8, 0, 0x12345678, b"data"))
    other = ip_packet(1, message(8, 0, 1), src=B + 1)
    packets = [other, request]
    for m in _mutants(request):
        packets += [m, request]
    for p in packets:
        out = feed(lane, lane_device, p), feed(plain, plain_device, p)
        assert out[0] == out[1], (p, out)
    assert lane.stats.drops == plain.stats.drops and lane.stats.counts == plain.stats.counts
    assert 60 < taken[0] < len(packets) - 60, (taken, len(packets))


def test_a_large_echo_is_answered_in_fragments():
    h, _, d = ready()
    whole = message(8, 0, 7, bytes(range(256)) * 12)
    feed(h, d, ip_packet(1, whole[:1480], frag=0x2000))
    out = feed(h, d, ip_packet(1, whole[1480:2960], frag=0x2000 | 185))
    out = feed(h, d, ip_packet(1, whole[2960:], frag=370))
    assert b"".join([x[34:] for x in out]) == message(0, 0, 7, bytes(range(256)) * 12)


SILENT = (
    ("bad checksum", ip_packet(1, b"\x08\x00\x00\x01\x00\x00\x00\x00"), "icmp.checksum"),
    ("7 bytes", ip_packet(1, b"\x08\x00\xf7\xff\x00\x00\x00"), "icmp.truncated"),
    (
        "echo to a broadcast",
        ip_packet(1, message(8, 0), dst=0x0A0000FF, to=ALL),
        "icmp.echo_broadcast",
    ),
    ("echo of another code", ip_packet(1, message(8, 1)), "icmp.code"),
    ("timestamp", ip_packet(1, message(13, 0)), "icmp.type"),
    ("redirect", error(5, 1, ours()), "icmp.type"),
    ("source quench", error(4, 0, ours()), "icmp.type"),
    ("a reply to nothing", ip_packet(1, message(0, 0, 0x12340001)), "icmp.unexpected_reply"),
    ("unknown code", error(3, 16, ours()), "icmp.code"),
    ("not our packet", error(3, 3, ours(src=B)), "icmp.bad_quote"),
    ("a later fragment", error(3, 3, ours(frag=1)), "icmp.bad_quote"),
    ("7 bytes of it", error(3, 3, ours()[:27]), "icmp.bad_quote"),
    ("half a header", error(3, 3, ours()[:19]), "icmp.bad_quote"),
    ("nothing quoted", error(3, 3, b""), "icmp.bad_quote"),
    ("no such protocol here", error(3, 3, ours(201)), "icmp.bad_quote"),
)


def test_silent():
    for why, data, counter in SILENT:
        h, _, d = ready()
        p = Handler(h.ip)
        assert feed(h, d, data) == [], why
        assert h.stats.drops == {counter: 1}, (why, h.stats.drops)
        assert p.errors == [], why


ERRORS = (
    ("net", error(3, 0, ours()), 101, 0),
    ("host", error(3, 1, ours()), 113, 0),
    ("protocol", error(3, 2, ours()), 92, 0),
    ("port", error(3, 3, ours()), 111, 0),
    ("filtered", error(3, 13, ours()), 113, 0),
    ("TTL", error(11, 0, ours()), 113, 0),
    ("parameter", error(12, 0, ours()), 93, 0),
)


def test_errors_reach_their_protocol():
    for why, data, code, mtu in ERRORS:
        h, _, d = ready()
        p = Handler(h.ip)
        feed(h, d, data)
        assert p.errors == [(code, A, B, mtu, b"12345678")], (why, p.errors, h.stats.drops)


def test_a_longer_quote():
    h, _, d = ready()
    p = Handler(h.ip)
    feed(h, d, error(3, 3, ours(payload=b"x" * 100)[:60]))
    assert p.errors[0][4] == b"x" * 40


def test_errors_are_sent():
    h, _, d = ready()
    d.take()
    sent = ip_packet(17, udp_datagram(b"hello"))
    (out,) = feed(h, d, sent)
    # Port unreachable, with the packet as it came.
    assert out[34:36] == b"\x03\x03"
    assert out[42:] == sent[14:]
    assert checksum.valid(out, 34, len(out) - 34)
    (out,) = feed(h, d, ip_packet(201, b"hello"))
    assert out[34:36] == b"\x03\x02"


def test_the_quote_is_bounded():
    h, _, d = ready()
    (out,) = feed(h, d, ip_packet(17, udp_datagram(bytes(1400))))
    assert len(out) == 14 + 576


NO_ERROR = (
    ("to a broadcast", ip_packet(17, udp_datagram(b"", dst=0x0A0000FF), dst=0x0A0000FF, to=ALL)),
    ("protocol, broadcast", ip_packet(201, b"x", dst=0xFFFFFFFF, to=ALL)),
    (
        "from nowhere",
        ip_packet(
            17, udp_datagram(b"", src=0, dst=0xFFFFFFFF), src=0, dst=0xFFFFFFFF, to=ALL
        ),
    ),
    ("bad checksum", ip_packet(17, udp_datagram(b"x", csum=1))),
)


def test_no_error_about():
    for why, data in NO_ERROR:
        h, _, d = ready()
        assert feed(h, d, data) == [], why


def test_errors_are_limited():
    h, _, d = ready()
    n = 0
    data = ip_packet(17, udp_datagram(b"x"))
    for _ in range(200):
        n += len(feed(h, d, data))
    assert n == 50
    assert h.stats.get("icmp.rate_limited") == 150
    h.clock.now += 10_000
    n = 0
    for _ in range(200):
        n += len(feed(h, d, data))
    assert n == 10
    # Echoes are answered all the same.
    assert len(feed(h, d, ip_packet(1, message(8, 0)))) == 1


class Waker:
    def __init__(self):
        self.n = 0

    def wake(self, endpoint):
        self.n += 1


def test_ping():
    ha, hb = pair()
    p = ha.icmp.ping(B)
    p.waker = w = Waker()
    for n in (0, 56, 1472, 1473, 20000):
        assert p.send(n, ha.clock.now)
        assert p.events() == 0
        run(ha.clock, 1000, ha, hb)
        assert p.events() == 1
        assert (p.rtt_us >= 0, p.size, p.ttl, p.error) == (True, n, 64, 0)
    assert w.n == 5 and p.seq == 5
    p.close()
    assert ha.icmp._pings == {}


def test_ping_round_trip_time():
    h, _, d = ready()
    d.take()
    p = h.icmp.ping(B)
    p.send(4, h.clock.now)
    (out,) = d.take()
    h.clock.now += 1234
    reply = message(0, 0, be.get32(out, 38), out[42:])
    feed(h, d, ip_packet(1, reply, ttl=57))
    assert (p.rtt_us, p.ttl) == (1234, 57)
    feed(h, d, ip_packet(1, reply, ttl=57))
    assert h.stats.dropped("icmp.unexpected_reply") == 1  # a duplicate


def test_ping_believes_only_its_host():
    h, _, d = ready()
    d.take()
    p = h.icmp.ping(B)
    p.send(0, h.clock.now)
    (out,) = d.take()
    rest = be.get32(out, 38)
    for why, data in (
        ("another host", ip_packet(1, message(0, 0, rest), src=B + 1)),
        ("another sequence", ip_packet(1, message(0, 0, rest + 1))),
        ("another identifier", ip_packet(1, message(0, 0, rest ^ 0x10000))),
    ):
        feed(h, d, data)
        assert p.rtt_us == -1, why


def test_ping_unreachable():
    h, _, d = ready()
    d.take()
    p = h.icmp.ping(0x08080808)
    p.send(0, h.clock.now)
    run(h.clock, 10 * SEC, h)
    assert (p.error, p.events()) == (113, 9)
    p = h.icmp.ping(B)
    p.send(8, h.clock.now)
    out = d.take()[-1]
    feed(h, d, error(3, 1, out[14:42], src=0x0A000001))
    assert p.error == 113


def test_ping_without_a_route():
    h, _, _ = single(A, 24, 0)
    try:
        h.icmp.ping(0x08080808)
        raise AssertionError
    except OSError as e:
        assert e.args[0] == 101


def test_ping_ourselves():
    h, _, d = ready()
    d.take()
    for addr in (0x7F000001, A):
        p = h.icmp.ping(addr)
        p.send(56, h.clock.now)
        run(h.clock, 1, h)
        assert p.rtt_us >= 0
    assert d.take() == []
