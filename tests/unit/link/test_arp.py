"""link/arp: states, queue, ageing, and who is believed."""

from stack.core import be
from stack.link import arp
from stack.wire import arp as wire
from stack.wire import ethernet
from tests.unit.net.support import A, B, feed, run, single

MAC = 0x02000000000A
PEER = 0x02000000000B
EVIL = 0x020000000066
SEC = 1_000_000


def packet(op, sender_mac, sender, target, dst=MAC, target_mac=MAC, src=None):
    b = bytearray(60)
    ethernet.build(b, 0, dst, sender_mac if src is None else src, ethernet.TYPE_ARP)
    wire.build(b, 14, op, sender_mac, sender, target_mac, target)
    return bytes(b)


def kind(data):
    """(ethertype, operation or 0, destination MAC) of a frame sent."""
    t = be.get16(data, 12)
    return t, be.get16(data, 20) if t == 0x0806 else 0, ethernet.get_mac(data, 0)


def send(h, dst=B, n=10):
    """A datagram to dst; what came out."""
    d = h.interfaces[1].device
    d.take()
    ep = h.udp.open(0, 0, h.clock.now)
    assert ep.send_to(bytes(n), 0, n, dst, 9, h.clock.now) == n
    ep.close()
    h.poll(h.clock.now)
    return d.take()


def resolved():
    h, iface, d = single()
    send(h)
    assert len(feed(h, d, packet(2, PEER, B, A))) == 1
    return h, iface, d, iface.arp.neighbor(B, 0)


def test_resolves_and_sends_what_waited():
    h, iface, d = single()
    out = send(h)
    assert [kind(x) for x in out] == [(0x0806, 1, ethernet.BROADCAST)]
    assert be.get32(out[0], 38) == B and be.get32(out[0], 28) == A
    assert send(h) == []  # asked already
    out = feed(h, d, packet(2, PEER, B, A))
    assert [kind(x) for x in out] == [(0x0800, 0, PEER)] * 2
    e = iface.arp.neighbor(B, 0)
    assert (e.state, e.mac) == (arp.REACHABLE, PEER)
    assert [kind(x) for x in send(h)] == [(0x0800, 0, PEER)]
    assert h.pool.free == 64


def test_gateway_is_asked_for_what_is_far():
    h, _, _ = single()
    out = send(h, 0x08080808)
    assert be.get32(out[0], 38) == 0x0A000001


def test_gives_up_after_three():
    h, iface, d = single()
    ep = h.udp.open(0, 0, 0)
    ep.connect(B, 9)
    ep.send_to(b"x", 0, 1, 0, 0, h.clock.now)
    run(h.clock, 10 * SEC, h)
    out = [kind(x) for x in d.take()]
    assert out == [(0x0806, 1, ethernet.BROADCAST)] * 3
    assert ep.error == 113  # EHOSTUNREACH
    assert h.stats.dropped("arp.unreachable") == 1
    assert h.pool.free == 64
    assert iface.arp.entries() == []  # forgotten a second later


def test_failed_refuses_for_a_second():
    h, iface, d = single()
    send(h)
    run(h.clock, 3 * SEC, h)
    assert iface.arp.neighbor(B, 0).state == arp.FAILED
    assert send(h) == []
    assert h.stats.dropped("arp.unreachable") == 2
    run(h.clock, 2 * SEC, h)
    assert len(send(h)) == 1  # asks again


def test_queue_is_bounded():
    h, _, d = single()
    for _ in range(40):
        send(h)
    assert h.stats.dropped("arp.queue_full") == 40 - 16
    for i in range(20):
        send(h, B + 1 + i)
    assert h.pool.free >= 64 - 16 - 4  # a quarter of the pool waits at most
    assert len([x for x in feed(h, d, packet(2, PEER, B, A)) if kind(x)[0] == 0x0800]) == 16
    run(h.clock, 10 * SEC, h)
    assert h.pool.free == 64


def test_reachable_goes_stale_and_is_asked_again_when_used():
    h, iface, d, e = resolved()
    run(h.clock, 61 * SEC, h)
    d.take()
    assert e.state == arp.REACHABLE  # nobody used it
    out = [kind(x) for x in send(h)]
    assert (0x0800, 0, PEER) in out and (0x0806, 1, PEER) in out
    assert e.state == arp.PROBE
    assert [kind(x) for x in send(h)] == [(0x0800, 0, PEER)]
    feed(h, d, packet(2, PEER, B, A))
    assert e.state == arp.REACHABLE


def test_probe_falls_back_to_broadcast():
    h, iface, d, e = resolved()
    run(h.clock, 61 * SEC, h)
    send(h)
    run(h.clock, 3 * SEC, h)
    asked = [kind(x)[2] for x in d.take()]
    assert asked == [PEER, PEER, ethernet.BROADCAST]
    assert e.state == arp.INCOMPLETE
    run(h.clock, 20 * SEC, h)
    assert e.state == arp.FREE


def test_request_is_answered_and_remembered():
    h, iface, d = single()
    out = feed(h, d, packet(1, PEER, B, A, ethernet.BROADCAST, 0))
    assert [kind(x) for x in out] == [(0x0806, 2, PEER)]
    assert be.get32(out[0], 28) == A and ethernet.get_mac(out[0], 22) == MAC
    e = iface.arp.neighbor(B, 0)
    assert (e.state, e.mac) == (arp.STALE, PEER)
    # It is believed enough to send at once, and asked.
    out = [kind(x) for x in send(h)]
    assert (0x0800, 0, PEER) in out and (0x0806, 1, PEER) in out


def test_a_request_while_we_look_helps():
    h, iface, d = single()
    send(h)
    out = [kind(x) for x in feed(h, d, packet(1, PEER, B, A, ethernet.BROADCAST, 0))]
    assert (0x0806, 2, PEER) in out and (0x0800, 0, PEER) in out
    assert iface.arp.neighbor(B, 0).state == arp.PROBE


def test_a_probe_is_answered_and_teaches_nothing():
    h, iface, d = single()
    out = feed(h, d, packet(1, PEER, 0, A, ethernet.BROADCAST, 0))
    assert [kind(x) for x in out] == [(0x0806, 2, PEER)]
    assert iface.arp.entries() == []


SPOOFS = (
    ("reply that nobody asked for", packet(2, EVIL, B + 1, A), "arp.unsolicited"),
    ("reply for a known neighbour", packet(2, EVIL, B, A), "arp.unsolicited"),
    ("sender differs from the frame", packet(2, EVIL, B, A, src=PEER), "arp.spoof"),
    ("a group as sender", packet(1, 0x01005E000001, B, A, src=EVIL), "arp.spoof"),
    ("broadcast as sender address", packet(1, EVIL, 0xFFFFFFFF, A), "arp.spoof"),
    ("group as sender address", packet(1, EVIL, 0xE0000001, A), "arp.spoof"),
    ("loopback as sender address", packet(1, EVIL, 0x7F000001, A), "arp.spoof"),
    ("our own MAC", packet(1, MAC, B, A), "arp.own"),
    ("our own address", packet(1, EVIL, A, B), "arp.conflict"),
    ("our own address, announced", packet(1, EVIL, A, A, ethernet.BROADCAST), "arp.conflict"),
)


def test_spoofs_change_nothing():
    for why, data, counter in SPOOFS:
        h, iface, d, e = resolved()
        feed(h, d, data)
        assert e.mac == PEER, why
        assert h.stats.dropped(counter) == 1, (why, h.stats.drops)
        assert [kind(x)[2] for x in send(h) if kind(x)[0] == 0x0800] == [PEER], why


def test_a_request_from_elsewhere_makes_us_ask_and_keeps_the_old():
    h, iface, d, e = resolved()
    out = [kind(x) for x in feed(h, d, packet(1, EVIL, B, A))]
    assert (0x0806, 1, PEER) in out  # "are you still there?"
    assert (e.mac, e.state) == (PEER, arp.PROBE)
    assert h.stats.get("arp.moved") == 1
    feed(h, d, packet(2, EVIL, B, A))  # the liar answers our question: not from where we asked
    assert (e.mac, e.state) == (PEER, arp.PROBE)
    feed(h, d, packet(2, PEER, B, A))
    assert (e.mac, e.state) == (PEER, arp.REACHABLE)


def test_a_neighbour_that_moved_is_found_again():
    h, iface, d, e = resolved()
    feed(h, d, packet(1, EVIL, B, B, ethernet.BROADCAST, 0))  # gratuitous, truthful this time
    run(h.clock, 3 * SEC, h)
    assert e.state == arp.INCOMPLETE
    feed(h, d, packet(2, EVIL, B, A))
    assert (e.mac, e.state) == (EVIL, arp.REACHABLE)
    assert [kind(x) for x in send(h)] == [(0x0800, 0, EVIL)]


def test_gratuitous_of_a_stranger_is_ignored():
    h, iface, d = single()
    assert feed(h, d, packet(1, PEER, B, B, ethernet.BROADCAST, 0)) == []
    assert iface.arp.entries() == []


def test_a_conflict_is_defended_once_in_ten_seconds():
    h, _, d = single()
    claim = packet(1, EVIL, A, A, ethernet.BROADCAST, 0)
    out = feed(h, d, claim)
    assert [kind(x) for x in out] == [(0x0806, 1, ethernet.BROADCAST)]
    assert be.get32(out[0], 28) == A and be.get32(out[0], 38) == A
    assert feed(h, d, claim) == []
    h.clock.now += 11 * SEC
    assert len(feed(h, d, claim)) == 1
    assert h.stats.dropped("arp.conflict") == 3


def test_strangers_cannot_fill_the_table():
    h, iface, d, e = resolved()
    for i in range(1000):
        feed(h, d, packet(1, EVIL, 0x0A000100 + i, A))
    assert len(iface.arp.entries()) <= 256
    assert e.state == arp.REACHABLE and e.addr == B


def test_our_own_scan_cannot_overflow_the_table():
    h, iface, d = single(A, 8)
    for i in range(600):
        send(h, 0x0A010000 + i)
    assert len(iface.arp.entries()) <= 256
    run(h.clock, 30 * SEC, h)
    assert h.pool.free == 64


def test_every_truncation():
    h, iface, d, e = resolved()
    data = packet(1, EVIL, B, A)[:42]
    for n in range(14, 42):
        feed(h, d, data[:n])
    assert h.stats.dropped("arp.truncated") == 28


def test_unused_entries_are_forgotten():
    h, iface, d, e = resolved()
    run(h.clock, 700 * SEC, h)
    assert iface.arp.entries() == []


def test_without_frames_nothing_breaks():
    h, iface, d, e = resolved()
    held = []
    while h.pool.free:
        held.append(h.pool.get())
    assert feed(h, d, packet(1, PEER, B, A)) == []
    assert h.stats.dropped("arp.no_frame") == 1
    for f in held:
        f.release()
    assert len(feed(h, d, packet(1, PEER, B, A))) == 1


def test_a_full_ring_is_counted():
    h, iface, d = single()
    send(h)
    d.depth = 0
    feed(h, d, packet(2, PEER, B, A))
    assert h.stats.dropped("arp.ring_full") == 1
    assert h.pool.free == 64
