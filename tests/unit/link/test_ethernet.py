"""link/ethernet and iface: what is let in, who was seen."""

from stack.link.ethernet import Link
from stack.wire import ethernet
from tests.unit.net.support import MAC_A, feed, single

MAC = 0x02000000000A
PEER = 0x02000000000B


def frame(dst, src, kind, n=46):
    b = bytearray(14 + n)
    ethernet.build(b, 0, dst, src, kind)
    return bytes(b)


def test_filter():
    link = Link(MAC)
    group = 0x01005E000005
    assert link.accepts(MAC)
    assert link.accepts(ethernet.BROADCAST)
    assert not link.accepts(PEER)
    assert not link.accepts(group)
    link.join(group)
    link.join(group)
    link.leave(group)
    assert link.accepts(group)
    link.leave(group)
    link.leave(group)
    assert not link.accepts(group)


def test_groups_are_bounded():
    link = Link(MAC)
    try:
        for i in range(100):
            link.join(0x01005E000000 + i)
        raise AssertionError("unbounded")
    except ValueError:
        assert link.accepts(0x01005E00003F) and not link.accepts(0x01005E000040)


def test_stations_age():
    link = Link(MAC)
    link.learn(PEER, 1_000_000)
    link.learn(PEER + 1, 2_000_000)
    link.learn(PEER, 3_000_000)
    assert sorted(link.seen(4_000_000)) == [(PEER, 1_000_000), (PEER + 1, 2_000_000)]
    assert link.seen(302_500_000) == [(PEER, 299_500_000)]


def test_stations_are_bounded():
    link = Link(MAC)
    for i in range(5000):
        link.learn(0x020000000000 + i * 7919, i)
    seen = link.seen(5000)
    assert len(seen) == 256
    # The last of them are there.
    macs = [m for m, _ in seen]
    for i in range(4990, 5000):
        assert 0x020000000000 + i * 7919 in macs


DROPS = (
    ("for another", frame(PEER, PEER, 0x0800), "ethernet.not_ours"),
    ("a group that nobody joined", frame(0x01005E000005, PEER, 0x0800), "ethernet.not_ours"),
    ("from a group", frame(MAC, 0x01005E000005, 0x0800), "ethernet.source_group"),
    ("from broadcast", frame(MAC, ethernet.BROADCAST, 0x0800), "ethernet.source_group"),
    ("802.3", frame(MAC, PEER, 46), "ethernet.llc"),
    ("AppleTalk", frame(MAC, PEER, 0x809B), "ethernet.type"),
    ("13 bytes", frame(MAC, PEER, 0x0800)[:13], "ethernet.truncated"),
    ("nothing", b"", "ethernet.truncated"),
)


def test_drops_are_counted():
    for why, data, counter in DROPS:
        h, _, d = single()
        assert feed(h, d, data) == []
        assert h.stats.drops == {counter: 1}, (why, h.stats.drops)


def test_the_interface_counts_and_learns():
    h, iface, d = single()
    feed(h, d, frame(MAC, PEER, 0x86DD))
    assert (iface.rx_frames, iface.rx_bytes) == (1, 60)
    assert iface.link.seen(h.clock.now) == [(PEER, 0)]
    assert iface.mac == int.from_bytes(MAC_A, "big")


def test_raw_sees_and_sends():
    h, iface, d = single()
    ep = iface.raw(0x88B5)
    feed(h, d, frame(MAC, PEER, 0x86DD))
    assert ep.events() & 1 == 0
    data = frame(PEER + 5, PEER, 0x88B5)  # not for us: it is shown all the same
    feed(h, d, data)
    assert ep.events() & 1
    buf = bytearray(100)
    assert ep.recv_into(buf, 0, 100) == 60
    assert bytes(buf[:60]) == data
    assert (ep.length, ep.outgoing, ep.when) == (60, False, h.clock.now)
    assert ep.recv_into(buf, 0, 100) == -1
    out = frame(PEER, MAC, 0x88B5)
    assert ep.send(out, 0, 60, h.clock.now) == 60
    assert d.take() == [out]
    ep.close()
    assert iface.raws == []


def test_raw_filters_by_function():
    h, iface, d = single()
    ep = iface.raw(0, lambda f: f.buf[f.off + 14] == 7)
    good = bytearray(frame(MAC, PEER, 0x88B5))
    feed(h, d, bytes(good))
    good[14] = 7
    feed(h, d, bytes(good))
    buf = bytearray(10)
    assert ep.recv_into(buf, 0, 10) == 10  # cut to fit
    assert ep.length == 60
    assert ep.recv_into(buf, 0, 10) == -1


def test_capture_sees_both_directions_and_is_bounded():
    h, iface, d = single()
    ep = iface.raw(0, None, True, 64)
    iface.arp.announce(h.clock.now)
    feed(h, d, frame(MAC, PEER, 0x86DD, 500))
    buf = bytearray(2000)
    assert ep.recv_into(buf, 0, 2000) == 42 and ep.outgoing
    assert ep.recv_into(buf, 0, 2000) == 64 and not ep.outgoing
    assert ep.length == 514
    for _ in range(4000):
        feed(h, d, frame(MAC, PEER, 0x86DD, 500))
    assert ep.drops > 0
    ep.close()
    assert h.buffers.in_use == 0
    assert iface.tx == d.tx


def test_raw_refuses():
    h, iface, d = single()
    ep = iface.raw()
    for n, code in ((13, 22), (1519, 90)):
        try:
            ep.send(bytes(2000), 0, n, 0)
            raise AssertionError(n)
        except OSError as e:
            assert e.args[0] == code
    assert h.pool.free == 64
    d.link_up = False
    h.poll(h.clock.now)
    try:
        ep.send(bytes(60), 0, 60, 0)
        raise AssertionError("link down")
    except OSError as e:
        assert e.args[0] == 100
