"""Out-of-order data: the ranges, the ring below them, and what the peer hears."""

from stack.core.mem import Buffers
from stack.core.ring import Ring
from stack.transport.tcp.reassembly import MAX_RANGES, Reassembly
from tests.unit.transport.tcp.harness import (
    SEC,
    L,
    R,
    assert_clean,
    drain,
    established,
    expect,
    expect_nothing,
    fin_wait_2,
    pattern,
    read,
    seg,
    send,
    state,
)


def _ring(limit=65536):
    return Ring(Buffers(), limit)


def _add(r, pos, n):
    return r.add(pos, pattern(n, pos), 0, n)


def test_ranges():
    """What is added, in order; what the list then says."""
    for why, adds, want in (
        ("one", ((10, 5),), [10, 15]),
        ("apart", ((10, 5), (20, 5)), [10, 15, 20, 25]),
        ("apart, the other way", ((20, 5), (10, 5)), [10, 15, 20, 25]),
        ("touching behind", ((10, 5), (15, 5)), [10, 20]),
        ("touching in front", ((15, 5), (10, 5)), [10, 20]),
        ("overlap behind", ((10, 10), (15, 10)), [10, 25]),
        ("overlap in front", ((15, 10), (10, 10)), [10, 25]),
        ("the same again", ((10, 5), (10, 5)), [10, 15]),
        ("inside", ((10, 20), (15, 5)), [10, 30]),
        ("around", ((15, 5), (10, 20)), [10, 30]),
        ("fills a gap", ((10, 5), (20, 5), (15, 5)), [10, 25]),
        ("joins many", ((10, 2), (14, 2), (18, 2), (22, 2), (11, 12)), [10, 24]),
        ("joins some", ((10, 2), (14, 2), (18, 2), (22, 2), (13, 6)), [10, 12, 13, 20, 22, 24]),
        ("in between", ((10, 2), (30, 2), (20, 2)), [10, 12, 20, 22, 30, 32]),
    ):
        r = Reassembly(_ring())
        for pos, n in adds:
            assert _add(r, pos, n), why
        assert r.ranges == want, (why, r.ranges)
        assert len(r) == len(want) // 2
        assert r.held() == sum([want[i + 1] - want[i] for i in range(0, len(want), 2)])
        assert r.end() == want[-1]


def test_every_order_of_five_pieces():
    """120 orders, the gap filled last: always the same bytes."""
    pieces = ((1, 700), (701, 300), (1001, 1), (1002, 998), (2000, 500))

    def orders(left, done):
        if not left:
            yield done
        for i in range(len(left)):
            for o in orders(left[:i] + left[i + 1 :], done + (left[i],)):
                yield o

    n = 0
    for order in orders(pieces, ()):
        ring = _ring()
        r = Reassembly(ring)
        for pos, size in order:
            assert _add(r, pos, size)
        assert ring.write(pattern(1), 0, 1) == 1
        assert r.advance() == 2499 and not r.ranges
        out = bytearray(2500)
        assert ring.read_into(out, 0, 2500) == 2500 and out == pattern(2500)
        n += 1
    assert n == 120


def test_the_first_copy_stays():
    """A later segment for the same place changes nothing: it may be forged."""
    ring = _ring()
    r = Reassembly(ring)
    assert r.add(10, b"AAAA", 0, 4)
    assert r.add(20, b"BBBB", 0, 4)
    assert r.add(8, b"x" * 20, 0, 20)
    assert r.ranges == [8, 28]
    ring.write(b"........", 0, 8)
    r.advance()
    out = bytearray(28)
    ring.read_into(out, 0, 28)
    assert bytes(out) == b"........xxAAAAxxxxxxBBBBxxxx"


def test_ranges_are_bounded():
    r = Reassembly(_ring())
    for i in range(MAX_RANGES):
        assert _add(r, 10 + 4 * i, 2)
    assert not _add(r, 1000, 2) and len(r) == MAX_RANGES
    # What joins to a range that is there needs no room.
    assert _add(r, 12, 1) and _add(r, 13, 1)
    assert len(r) == MAX_RANGES - 1
    assert _add(r, 1000, 2)


def test_the_ring_grows_under_what_is_held():
    ring = _ring()
    ring.write(pattern(100), 0, 100)
    r = Reassembly(ring)
    assert _add(r, 1000, 500)
    size = ring.size
    assert _add(r, 30000, 500)
    assert ring.size > size
    at = 100
    while at < 30000:
        n = min(900, 30000 - at)
        ring.write(pattern(n, at), 0, n)
        at += n
        r.advance()
        at = ring.tail
    out = bytearray(30500)
    assert ring.read_into(out, 0, 30500) == 30500 and out == pattern(30500)


def test_ranges_across_the_rings_end():
    ring = _ring(2048)
    out = bytearray(2048)
    for start in range(0, 6000, 611):
        ring.head = ring.tail = start
        r = Reassembly(ring)
        assert _add(r, start + 100, 1000)
        assert _add(r, start + 1200, 800)
        ring.write(pattern(100, start), 0, 100)
        assert r.advance() == 1000
        ring.write(pattern(100, start + 1100), 0, 100)
        assert r.advance() == 800
        assert ring.read_into(out, 0, 2048) == 2000
        assert out[:2000] == pattern(2000, start), start


def test_no_memory():
    ring = Ring(Buffers(None, 2048), 65536)
    r = Reassembly(ring)
    assert _add(r, 100, 500)
    assert not _add(r, 5000, 500)
    assert r.ranges == [100, 600] and ring.tail == 0


def test_random_against_a_model():
    x = 99
    for _ in range(30):
        ring = _ring(8192)
        r = Reassembly(ring)
        have = [False] * 4000
        have[0] = True
        ring.write(pattern(1), 0, 1)
        for _ in range(60):
            x = (x * 1103515245 + 12345) & 0x7FFFFFFF
            pos = ring.tail + 1 + (x >> 8) % 600
            x = (x * 1103515245 + 12345) & 0x7FFFFFFF
            n = 1 + (x >> 8) % 300
            if pos + n > 4000 or len(r) >= MAX_RANGES:
                break
            if x & 3 == 0:
                pos = ring.tail
                ring.write(pattern(n, pos), 0, n)
                r.advance()
            else:
                assert _add(r, pos, n)
            for i in range(pos, pos + n):
                have[i] = True
            want = 0
            while have[want]:
                want += 1
            assert ring.tail == want
            assert r.held() == sum(have) - want
        out = bytearray(ring.tail)
        ring.read_into(out, 0, len(out))
        assert out == pattern(len(out))


# -- on the wire


def test_duplicate_ack_for_each_early_segment():
    """RFC 5681, 4.2: at once, one for each."""
    s = established()
    for i in range(1, 4):
        send(s, seg("A", seq=R + 1 + i * 100, ack=L + 1, data=pattern(100, i * 100)))
        expect(s, seg("A", seq=L + 1, ack=R + 1))
    assert s.conn.info()["out_of_order"] == 300 and s.conn.recv_len() == 0
    send(s, seg("A", seq=R + 1, ack=L + 1, data=pattern(100)))
    expect(s, seg("A", ack=R + 401))
    assert read(s) == pattern(400) and s.conn.ooo is None
    expect_nothing(s, SEC)


def test_part_of_a_gap_is_acknowledged_at_once():
    s = established()
    send(s, seg("A", seq=R + 301, ack=L + 1, data=pattern(100, 300)))
    drain(s)
    send(s, seg("A", seq=R + 1, ack=L + 1, data=pattern(100)))
    expect(s, seg("A", ack=R + 101))
    send(s, seg("A", seq=R + 101, ack=L + 1, data=pattern(200, 100)))
    expect(s, seg("A", ack=R + 401))
    assert read(s) == pattern(400)


def test_overlapping_resend():
    s = established()
    send(s, seg("A", seq=R + 101, ack=L + 1, data=pattern(100, 100)))
    drain(s)
    send(s, seg("A", seq=R + 1, ack=L + 1, data=pattern(350)))
    expect(s, seg("A", ack=R + 351))
    assert read(s) == pattern(350)


def test_early_data_keeps_to_the_window():
    s = established(rcv_max=4096)
    send(s, seg("A", seq=R + 3001, ack=L + 1, data=pattern(3000, 3000)))
    expect(s, seg("A", ack=R + 1))
    assert s.conn.info()["out_of_order"] == 1096
    send(s, seg("A", seq=R + 1, ack=L + 1, data=pattern(3000)))
    assert read(s) == pattern(4096)


def test_ranges_full_on_the_wire():
    s = established()
    for i in range(40):
        send(s, seg("A", seq=R + 11 + 20 * i, ack=L + 1, data=pattern(10, 10 + 20 * i)))
    assert len(drain(s)) == 40
    assert len(s.conn.ooo) == MAX_RANGES and s.stats.dropped("tcp.ooo_full") == 40 - MAX_RANGES
    for i in range(41):
        send(s, seg("A", seq=R + 1 + 20 * i, ack=L + 1, data=pattern(20, 20 * i)))
    assert read(s) == pattern(820) and s.conn.ooo is None


def test_early_data_after_half_close():
    s = fin_wait_2()
    send(s, seg("A", seq=R + 4, ack=L + 2, data=b"def"))
    expect(s, seg("A", ack=R + 1))
    send(s, seg("FA", seq=R + 7, ack=L + 2))
    expect(s, seg("A", ack=R + 1))
    send(s, seg("A", seq=R + 1, ack=L + 2, data=b"abc"))
    expect(s, seg("A", seq=L + 2, ack=R + 8))
    assert state(s) == "TIME-WAIT" and read(s) == b"abcdef" and s.conn.eof()


def test_data_beyond_an_early_fin_is_dropped():
    s = established()
    send(s, seg("FA", seq=R + 101, ack=L + 1, data=pattern(10, 100)))
    send(s, seg("A", seq=R + 111, ack=L + 1, data=b"ghost"))
    send(s, seg("A", seq=R + 106, ack=L + 1, data=b"ghostghost"))
    assert s.stats.dropped("tcp.beyond_fin") == 2
    send(s, seg("A", seq=R + 1, ack=L + 1, data=pattern(100)))
    assert state(s) == "CLOSE-WAIT" and read(s) == pattern(110) and s.conn.eof()


def test_early_fin_that_contradicts_data_is_ignored():
    s = established()
    send(s, seg("A", seq=R + 101, ack=L + 1, data=pattern(100, 100)))
    send(s, seg("FA", seq=R + 51, ack=L + 1, data=pattern(10, 50)))
    send(s, seg("A", seq=R + 1, ack=L + 1, data=pattern(100)))
    assert state(s) == "ESTABLISHED" and read(s) == pattern(200)


def test_reset_with_early_data_held():
    s = established()
    send(s, seg("A", seq=R + 101, ack=L + 1, data=pattern(100)))
    drain(s)
    send(s, seg("R", seq=R + 1))
    s.conn.close(s.now)
    assert_clean(s)
