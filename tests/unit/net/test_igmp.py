"""net/igmp: reports and queries (RFC 3376, 2236); groups and broadcasts in UDP."""

from stack.core import be, checksum
from stack.net.igmp import ALL_SYSTEMS
from stack.wire import ethernet, igmp
from tests.unit.net.support import A, B, feed, ip_packet, ready, run, udp_datagram

GROUP = 0xEF010203
MAC = ethernet.multicast_mac(GROUP)
ALL = ethernet.multicast_mac(ALL_SYSTEMS)
ALERT = b"\x94\x04\x00\x00"


def query(group=0, code=10, v3=True, ttl=1, options=ALERT, dst=ALL_SYSTEMS, bad=0):
    b = bytearray(12 if v3 else 8)
    b[0] = 0x11
    b[1] = code
    be.put32(b, 4, group)
    be.put16(b, 2, checksum.checksum(b, 0, len(b)) ^ bad)
    return ip_packet(2, bytes(b), dst=dst, ttl=ttl, options=options, to=ethernet.multicast_mac(dst))


def records(frames):
    """[(type, group)] of reports; checks how they are sent."""
    out = []
    for f in frames:
        if f[12:14] == b"\x08\0" and f[23] == 2:
            assert f[14] == 0x46 and f[22] == 1 and f[34:38] == ALERT
            assert checksum.valid(f, 14, 24) and checksum.valid(f, 38, len(f) - 38)
            assert f[26:30] == A.to_bytes(4, "big")
            if f[38] == igmp.REPORT3:
                assert be.get32(f, 30) == 0xE0000016
                for n in range(be.get16(f, 44)):
                    out.append((f[46 + 8 * n], be.get32(f, 50 + 8 * n)))
            else:
                out.append((f[38], be.get32(f, 42)))
    return out


def joined():
    h, i, d = ready()
    h.ip.join_on(i, GROUP, h.clock.now)
    run(h.clock, 3_000_000, h)
    got = records(d.take())
    assert got == [(4, GROUP)] * 2
    return h, i, d


def test_join_and_leave():
    h, i, d = joined()
    h.ip.join_on(i, GROUP, h.clock.now)
    h.ip.leave_on(i, GROUP, h.clock.now)
    assert records(d.take()) == []
    h.ip.leave_on(i, GROUP, h.clock.now)
    run(h.clock, 3_000_000, h)
    assert records(d.take()) == [(3, GROUP)] * 2
    assert GROUP not in h.ip.local


def test_queries():
    for why, data, expected in (
        ("general", query(), [(2, GROUP)]),
        ("of the group", query(GROUP, dst=GROUP), [(2, GROUP)]),
        ("of another", query(GROUP + 1), []),
        ("version 2", query(v3=False), [(0x16, GROUP)]),
        ("from afar", query(ttl=2), []),
        ("no router alert", query(options=b""), []),
        ("a bad sum", query(bad=1), []),
    ):
        h, i, d = joined()
        feed(h, d, data)
        run(h.clock, 1_100_000, h)
        assert records(d.take()) == expected, (why, h.stats.drops)


def test_an_older_querier_hears_a_leave():
    h, i, d = joined()
    feed(h, d, query(v3=False))
    run(h.clock, 1_100_000, h)
    d.take()
    h.ip.leave_on(i, GROUP, h.clock.now)
    assert (0x17, GROUP) in records(d.take())


def test_float_of_the_delay():
    assert igmp.max_delay_tenths(127) == 127
    assert igmp.max_delay_tenths(0x80) == 128 and igmp.max_delay_tenths(0xFF) == 31744


def test_datagrams_to_a_group():
    h, i, d = joined()
    ep = h.udp.open(0, 5000, h.clock.now)
    data = ip_packet(17, udp_datagram(b"hello", dst=GROUP), dst=GROUP, to=MAC)
    feed(h, d, data)
    assert ep.recv_len() == 5 and ep.recv_into(bytearray(9), 0, 9) == 5
    h.ip.leave_on(i, GROUP, h.clock.now)
    feed(h, d, data)
    assert ep.recv_len() == -1


def test_what_we_send_comes_back():
    h, i, d = joined()
    ep = h.udp.open(0, 5000, h.clock.now)
    ep.send_to(b"group", 0, 5, GROUP, 5000, h.clock.now)
    ep.broadcast = True
    ep.send_to(b"all", 0, 3, 0x0A0000FF, 5000, h.clock.now)
    ep.send_to(b"every", 0, 5, 0xFFFFFFFF, 5000, h.clock.now)
    run(h.clock, 1000, h)
    buf = bytearray(9)
    got = []
    while ep.recv_into(buf, 0, 9) >= 0:
        got.append((bytes(buf[: ep.length]), ep.peer_addr))
    assert got == [(b"group", A), (b"all", A), (b"every", A)]
    sent = [f for f in d.take() if f[23] == 17]
    assert [f[22] for f in sent] == [1, 64, 64]
    ep.group_loop = False
    ep.send_to(b"group", 0, 5, GROUP, 5000, h.clock.now)
    run(h.clock, 1000, h)
    assert ep.recv_len() == -1


def test_a_datagram_to_a_group_we_are_not_in_does_not_come_back():
    h, i, d = ready()
    ep = h.udp.open(0, 5000, h.clock.now)
    ep.send_to(b"group", 0, 5, GROUP, 5000, h.clock.now)
    run(h.clock, 1000, h)
    assert ep.recv_len() == -1 and len(d.take()) == 1
    assert B != A and ALL
