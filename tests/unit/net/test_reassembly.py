"""net/reassembly: fragments in any order, and what hostile ones come to."""

from stack.core import be
from tests.unit.net.support import A, B, ip_packet, ready, run
from tests.unit.net.test_ipv4 import Handler

SEC = 1_000_000
DATA = bytes([i * 31 + (i >> 8) & 0xFF for i in range(4000)])


def piece(start, end, more=None, data=DATA, ident=7, src=B, proto=200):
    if more is None:
        more = end < len(data)
    frag = start >> 3 | (0x2000 if more else 0)
    return ip_packet(proto, data[start:end], ident=ident, frag=frag, src=src)


def setup():
    h, iface, d = ready()
    d.take()
    return h, d, Handler(h.ip)


def feed_all(h, d, frames):
    """Give them all and let the host work; what it sent in answer."""
    d.take()
    d.inbox.extend(frames)
    while d.inbox:
        h.poll(h.clock.now)
    return d.take()


THREE = [piece(0, 1480), piece(1480, 2960), piece(2960, 4000)]

ORDERS = ((0, 1, 2), (0, 2, 1), (1, 0, 2), (1, 2, 0), (2, 0, 1), (2, 1, 0))


def test_any_order():
    for order in ORDERS:
        h, d, p = setup()
        for i in order[:2]:
            feed_all(h, d, [THREE[i]])
            assert p.got == [] and len(h.ip.reassembly) == 1
        feed_all(h, d, [THREE[order[2]]])
        assert [g[3] for g in p.got] == [DATA], order
        assert len(h.ip.reassembly) == 0
        assert h.buffers.in_use == 0


def test_many_small_ones():
    h, d, p = setup()
    feed_all(h, d, [piece(i, min(i + 8, 4000)) for i in range(0, 4000, 8)])
    assert [g[3] for g in p.got] == [DATA]


def test_the_largest():
    data = bytes(65515)
    h, d, p = setup()
    feed_all(h, d, [piece(i, min(i + 1480, 65515), None, data) for i in range(0, 65515, 1480)])
    assert [len(g[3]) for g in p.got] == [65515]
    assert h.buffers.in_use == 0


def test_repeated_pieces_are_ignored():
    h, d, p = setup()
    feed_all(h, d, [THREE[0], THREE[0], THREE[2], THREE[2], THREE[1]])
    assert [g[3] for g in p.got] == [DATA]
    assert h.stats.dropped("reassembly.duplicate") == 2


OTHER = bytes(4000)

OVERLAPS = (
    ("the same place, other bytes", [piece(0, 1480), piece(0, 1480, True, OTHER)]),
    ("one block", [piece(0, 1480), piece(1472, 2960)]),
    ("around another", [piece(1480, 2960), piece(0, 4000, True)]),
    ("the end twice", [piece(2960, 4000), piece(1480, 2960, False)]),
    ("behind the end", [piece(1480, 2960, False), piece(2960, 4000)]),
    ("the end before what is there", [piece(2960, 3960, True), piece(8, 1480, False)]),
    ("a longer end", [piece(2960, 3500, False), piece(2960, 4000, False)]),
    ("teardrop", [piece(0, 40, True), piece(24, 28, False)]),
)


def test_overlaps_condemn_the_datagram():
    for why, frames in OVERLAPS:
        h, d, p = setup()
        feed_all(h, d, frames)
        assert h.stats.dropped("reassembly.overlap") == 1, (why, h.stats.drops)
        assert len(h.ip.reassembly) == 0 and p.got == [], why
        assert h.buffers.in_use == 0, why


LENGTHS = (
    ("not a multiple of 8", piece(0, 13, True)),
    ("nothing in it", piece(0, 0, True)),
    ("an empty end", piece(8, 8, False)),
    ("beyond 65,535 (ping of death)", ip_packet(200, bytes(1480), frag=8189)),
    ("the last offset", ip_packet(200, bytes(8), frag=0x1FFF)),
)


def test_impossible_lengths():
    for why, data in LENGTHS:
        h, d, p = setup()
        feed_all(h, d, [data])
        assert h.stats.dropped("reassembly.length") == 1, (why, h.stats.drops)
        assert len(h.ip.reassembly) == 0


def test_datagrams_do_not_mix():
    h, d, p = setup()
    feed_all(
        h,
        d,
        [
            piece(0, 1480),
            piece(1480, 4000, ident=8),
            piece(1480, 4000, src=B + 1),
            piece(1480, 4000, proto=201),
        ],
    )
    assert p.got == [] and len(h.ip.reassembly) == 4
    feed_all(h, d, [piece(1480, 4000)])
    assert len(p.got) == 1 and len(h.ip.reassembly) == 3


def test_bounded():
    h, d, p = setup()
    # One source may hold 8.
    feed_all(h, d, [piece(0, 1480, ident=i) for i in range(100)])
    assert len(h.ip.reassembly) == 8
    # Others 16 with it, and the oldest go.
    feed_all(h, d, [piece(0, 1480, src=B + 1 + i) for i in range(100)])
    assert len(h.ip.reassembly) == 16
    assert h.stats.dropped("reassembly.evicted") == 92 + 92
    # 64 KB each would be too much together.
    big = bytes(65000)
    feed_all(
        h, d, [piece(60000, 61480, True, big, src=B + 200 + i) for i in range(16)]
    )
    assert h.buffers.in_use <= 512 * 1024
    assert h.stats.dropped("reassembly.no_memory") > 0


def test_what_buffers_hold_is_bounded_not_what_was_asked_for():
    """A buffer has up to twice the bytes that were needed."""
    h, d, p = setup()
    big = bytes(65000)
    ends = [61480] * 7 + [24000, 5000]  # 7 buffers of 64 KB, one of 32, one of 8: 24 are left
    feed_all(
        h, d, [piece(e - e % 8 - 1000, e - e % 8, True, big, src=B + i) for i, e in enumerate(ends)]
    )
    assert h.buffers.in_use == 488 * 1024
    feed_all(h, d, [piece(19000, 20000, True, big, src=B + 100)])  # 20 KB, in a buffer of 32
    assert h.buffers.in_use <= 512 * 1024
    assert h.stats.dropped("reassembly.no_memory") == 1


def test_one_source_cannot_crowd_out_another():
    h, d, p = setup()
    feed_all(h, d, [THREE[0]])
    feed_all(h, d, [piece(0, 1480, ident=i, src=B + 1) for i in range(100)])
    feed_all(h, d, THREE[1:])
    assert [g[3] for g in p.got] == [DATA]


def test_timeout_tells_the_sender():
    h, d, p = setup()
    feed_all(h, d, [THREE[0], THREE[1]])
    run(h.clock, 29 * SEC, h)
    assert d.take() == []
    run(h.clock, 2 * SEC, h)
    (data,) = d.take()
    # Time exceeded in reassembly, quoting the header and what came first.
    assert (data[23], data[34], data[35]) == (1, 11, 1)
    assert be.get32(data, 30) == B
    assert be.get32(data, 42 + 12) == B and be.get32(data, 42 + 16) == A
    assert data[62:70] == DATA[:8]
    assert len(data) <= 14 + 576
    assert h.stats.dropped("reassembly.timeout") == 1
    assert h.buffers.in_use == 0


def test_timeout_without_the_first_piece_is_silent():
    # RFC 792: "If fragment zero is not available then no time exceeded need be sent".
    h, d, p = setup()
    feed_all(h, d, THREE[1:])
    run(h.clock, 31 * SEC, h)
    assert d.take() == []
    assert h.stats.dropped("reassembly.timeout") == 1


def test_unknown_protocol_in_fragments():
    h, d, p = setup()
    out = feed_all(h, d, [piece(0, 1480, proto=201), piece(1480, 4000, proto=201)])
    assert [(x[34], x[35]) for x in out] == [(3, 2)]
    assert h.buffers.in_use == 0
