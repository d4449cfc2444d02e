"""Selective acknowledgment, both ways: RFC 2018, 6675 (the scoreboard), 2883 (duplicates)."""

from stack.core.frame import CAP_TSO4, CAP_TX_CSUM
from stack.transport.tcp import sack
from stack.transport.tcp.block import DUPACKS, SND_UNA
from stack.transport.tcp.sack import LOST, MAX_RANGES, RETX, SACKED, Scoreboard
from tests.unit.transport.tcp.harness import (
    MS,
    MSS,
    L,
    R,
    drain,
    established,
    expect,
    expect_nothing,
    full,
    listening,
    pattern,
    read,
    seg,
    send,
    syn_sent,
    write,
)

ISN = L + 1
IRS = R + 1


def _flight(segments, queue=0, **options):
    """`segments` full segments are out to a peer with SACK and without timestamps."""
    s = full(ts=False, initial_segments=segments, congestion="newreno", **options)
    s.data = pattern(segments * MSS + queue)
    assert write(s, s.data) == len(s.data)
    assert sum(len(o.data) for o in drain(s)) == segments * MSS
    s.conn.rtt.sample(10 * MS)
    return s


def _at(i):
    return ISN + i * MSS


def _sack(s, una, *blocks, **more):
    """The peer's ACK for all before segment una, with blocks of segments (from, to)."""
    send(s, seg("A", ack=_at(una), sack=[(_at(a), _at(b)) for a, b in blocks]), **more)


def _segments(s):
    return [(o.seq - ISN) // MSS for o in drain(s) if o.data]


# -- the handshake


def test_permitted():
    """RFC 2018 2: an option of the SYN; used only if both sides sent it."""
    s = syn_sent()
    send(s, seg("SA", seq=R, ack=L + 1, mss=MSS, sack_ok=True))
    assert s.conn.sack_ok
    s = established()
    assert not s.conn.sack_ok
    s = listening()
    send(s, seg("S", seq=R, mss=MSS, sack_ok=True))
    expect(s, seg("SA", sack_ok=True))
    s = listening()
    send(s, seg("S", seq=R, mss=MSS))
    expect(s, seg("SA", sack_ok=False))
    s = listening(sack=False)
    send(s, seg("S", seq=R, mss=MSS, sack_ok=True))
    expect(s, seg("SA", sack_ok=False))


def test_no_blocks_without_permission():
    s = established()
    send(s, seg("A", seq=IRS + 1000, data=b"x" * 10))
    assert expect(s, seg("A", ack=IRS)).sack is None


# -- the receiver (RFC 2018 3, 4)


def _early(s, at, n=100):
    send(s, seg("A", seq=IRS + at, data=pattern(n, at)))


def test_blocks_newest_first():
    """4: "The first SACK block ... MUST specify the contiguous block of data containing the
    segment which triggered this ACK", the others "the most recently reported".
    """
    s = full(ts=False)
    _early(s, 1000)
    expect(s, seg("A", ack=IRS, sack=[(IRS + 1000, IRS + 1100)]))
    _early(s, 3000)
    expect(s, seg("A", ack=IRS, sack=[(IRS + 3000, IRS + 3100), (IRS + 1000, IRS + 1100)]))
    _early(s, 2000)
    expect(s, seg("A", sack=[(IRS + a, IRS + a + 100) for a in (2000, 3000, 1000)]))
    _early(s, 1100)
    expect(s, seg("A", sack=[(IRS + 1000, IRS + 1200), (IRS + 2000, IRS + 2100),
                             (IRS + 3000, IRS + 3100)]))


def test_at_most_four_blocks_three_with_timestamps():
    for ts, most in ((False, 4), (True, 3)):
        s = full(ts=ts)
        for i in range(1, 7):
            _early(s, 1000 * i)
            o = drain(s)[-1]
            assert len(o.sack) == min(i, most), (ts, o)
            assert o.sack[0] == (IRS + 1000 * i, IRS + 1000 * i + 100)


def test_blocks_end_with_the_gap():
    s = full(ts=False)
    _early(s, 100)
    expect(s, seg("A", sack=[(IRS + 100, IRS + 200)]))
    send(s, seg("A", seq=IRS, data=pattern(100)))
    assert expect(s, seg("A", ack=IRS + 200)).sack is None
    assert read(s) == pattern(200)


def test_data_carries_blocks_if_it_has_room():
    """"SACK options SHOULD be included in all ACKs": also those of data, but a full segment
    is not made smaller for them.
    """
    s = full(ts=False)
    _early(s, 100)
    drain(s)
    write(s, b"abc")
    expect(s, seg("A", data=b"abc", sack=[(IRS + 100, IRS + 200)]))
    s.conn.nodelay = True
    write(s, pattern(MSS))
    assert expect(s, seg("A", n=MSS)).sack is None


# -- duplicates (RFC 2883 4)


def test_dsack():
    for why, have, again, n, want in (
        ("all of it below RCV.NXT", ((0, 500),), 0, 500, [(0, 500)]),
        ("the end is new", ((0, 500),), 300, 400, [(300, 500)]),
        ("a range that is held", ((1000, 500),), 1000, 500, [(1000, 1500), (1000, 1500)]),
        ("a part of one", ((1000, 500),), 1200, 100, [(1200, 1300), (1000, 1500)]),
        ("behind one", ((1000, 500),), 1400, 200, [(1400, 1500), (1000, 1600)]),
        ("with two held", ((1000, 500), (2000, 100)), 1000, 10,
         [(1000, 1010), (1000, 1500), (2000, 2100)]),
    ):
        s = full(ts=False)
        for at, size in have:
            _early(s, at, size)
        s.advance(50 * MS)
        drain(s)
        _early(s, again, n)
        s.tcp.flush(s.now)
        out = drain(s)
        assert out[-1].sack == [(IRS + a, IRS + b) for a, b in want], (why, out)
        # Once: "a D-SACK block is only used to report a duplicate ... in the most recent packet".
        s.conn.ack_soon()
        later = drain(s)[-1].sack or []
        assert len(later) == len(want) - 1, (why, later)


# -- the scoreboard by itself


def _board(*sent):
    """Segments of 100 bytes from 1000 on, each sent at the time given."""
    b = Scoreboard(1000)
    at = 1000
    for t in sent:
        b.append(at, at + 100, t, 0, 1000)
        at += 100
    return b


def _ranges(b):
    return [(b.begin(i), b.end[i], b.flag[i]) for i in range(b.first, b.n)]


def _count(b):
    sacked = sum(e - a for a, e, f in _ranges(b) if f & SACKED)
    lost = sum(e - a for a, e, f in _ranges(b) if f & LOST)
    assert (b.sacked, b.lost) == (sacked, lost), (b.sacked, b.lost, _ranges(b))


def test_board_joins_a_burst():
    b = _board(5, 5, 5, 6)
    assert _ranges(b) == [(1000, 1300, 0), (1300, 1400, 0)]


def test_board_update():
    for why, lo, hi, want in (
        ("a segment", 1100, 1200, [(1000, 1100, 0), (1100, 1200, 1), (1200, 1400, 0)]),
        ("the first", 1000, 1100, [(1000, 1100, 1), (1100, 1400, 0)]),
        ("the last", 1300, 1400, [(1000, 1300, 0), (1300, 1400, 1)]),
        ("all", 1000, 1400, [(1000, 1400, 1)]),
        ("beyond the end", 1300, 1500, [(1000, 1300, 0), (1300, 1400, 1)]),
        ("nothing that is out", 900, 1000, [(1000, 1400, 0)]),
    ):
        b = _board(5, 5, 5, 5)
        b.begin_ack(1000, False, 0)
        b.sack(lo, hi, 10)
        assert _ranges(b) == want, (why, _ranges(b))
        assert b.delivered == b.sacked
        _count(b)
        b.begin_ack(1000, False, 0)
        b.sack(lo, hi, 11)
        assert not b.delivered, "told twice"


def test_board_acknowledged():
    b = _board(1, 2, 3, 4)
    b.begin_ack(1000, False, 0)
    b.sack(1200, 1300, 10)
    b.mark(0)
    _count(b)
    b.begin_ack(1000, False, 0)
    b.acked(1250, 20)
    # 100 lost, 100 on their way, and of what was SACKed nothing is delivered anew.
    assert b.delivered == 200 and (b.sacked, b.lost) == (50, 0)
    assert _ranges(b) == [(1250, 1300, 1), (1300, 1400, 0)]
    b.acked(1400, 21)
    assert _ranges(b) == [] and not b.sacked


def test_board_send_again():
    b = _board(1, 1, 1, 1)
    b.mark_first(150)
    assert b.next_lost() == 0 and b.lost == 150
    b.resent(0, 1100, 9)
    assert _ranges(b) == [(1000, 1100, RETX), (1100, 1150, LOST), (1150, 1400, 0)]
    _count(b)
    b.forgive()
    assert not b.lost and b.next_lost() < 0


def test_board_is_bounded():
    """Every second byte SACKed of more than it can note: counts stay true, nothing grows."""
    b = _board(*range(1, 200))
    assert b.n - b.first <= MAX_RANGES
    for i in range(0, 19000, 150):
        b.begin_ack(1000, False, 0)
        b.sack(1000 + i, 1000 + i + 50, 500)
        _count(b)
        assert b.n <= MAX_RANGES and len(b.end) == MAX_RANGES
        assert _ranges(b)[0][0] == 1000 and _ranges(b)[-1][1] == 1000 + 19900
    b.acked(20900, 600)
    assert not b.sacked and not b.lost


def test_board_wraps():
    b = Scoreboard(0xFFFFFF00)
    b.append(0xFFFFFF00, 0x100, 1, 0, 0xFFFFFF00)
    b.begin_ack(0xFFFFFF00, False, 0)
    b.sack(0xFFFFFFF0, 0x10, 5)
    assert b.sacked == 32
    b.acked(8, 6)
    assert b.sacked == 8 and b.start == 8


def test_board_against_a_list_of_bytes():
    """Random walks of all operations, compared with one flag for each byte."""
    x = 12345

    def rnd(n):
        nonlocal x
        x = (x * 1103515245 + 12345) & 0x7FFFFFFF
        return (x >> 8) % n

    for _ in range(30):
        b = Scoreboard(0)
        flags = []  # one a byte, from una on
        una = nxt = 0
        for step in range(60):
            what = rnd(5)
            if what <= 1:
                n = 1 + rnd(300)
                b.append(nxt, nxt + n, step + 1, 0, una)
                flags += [0] * n
                nxt += n
            elif what == 2 and nxt - una > 10 and b.n <= MAX_RANGES - 4:
                lo = una + rnd(nxt - una)
                hi = min(nxt, lo + 1 + rnd(400))
                b.begin_ack(una, False, 0)
                b.sack(lo, hi, step)
                news = sum(1 for i in range(lo - una, hi - una) if flags[i] != SACKED)
                assert b.delivered == news
                for i in range(lo - una, hi - una):
                    flags[i] = SACKED
            elif what == 3 and nxt > una:
                n = rnd(min(nxt - una, 500)) + 1
                b.begin_ack(una, False, 0)
                b.acked(una + n, step)
                assert b.delivered == sum(1 for f in flags[:n] if f != SACKED)
                flags = flags[n:]
                una += n
            elif what == 4:
                i = b.first + rnd(max(1, b.n - b.first))
                if i < b.n and not b.flag[i]:
                    for k in range(b.begin(i), b.end[i]):
                        flags[k - una] = LOST
                    b.mark(i)
            got = []
            for a, e, f in _ranges(b):
                got += [f & 3] * (e - a)
            assert got == flags, step
            _count(b)


# -- the sender


def test_three_holes_in_one_round_trip():
    """6675: every hole that is known goes again, not one for each round trip."""
    s = _flight(10)
    _sack(s, 0, (1, 2), at=10 * MS)
    _sack(s, 0, (3, 4), (1, 2))
    _sack(s, 0, (5, 10), (3, 4), (1, 2))
    assert _segments(s) == [0, 2, 4]
    for _ in range(3):
        _sack(s, 0, (5, 10), (3, 4), (1, 2))
    c = s.conn
    assert c.recovering and c.board.sacked == 7 * MSS and _segments(s) == []
    _sack(s, 2, (5, 10), (3, 4), at=20 * MS)
    _sack(s, 4, (5, 10))
    assert _segments(s) == []
    _sack(s, 10)
    assert not c.recovering and not c.board.sacked and not c.board.lost and not c.w[DUPACKS]
    assert c.retransmits == 3 and c.cc.cwnd == c.cc.ssthresh == 5 * MSS


def test_sacked_is_not_sent_again():
    """Nor after a timeout: what the peer has stays noted."""
    s = _flight(4)
    _sack(s, 0, (1, 2), (3, 4), at=10 * MS)
    drain(s)
    s.advance(250 * MS)
    assert set(_segments(s)) == {0}
    _sack(s, 2, (3, 4), at=260 * MS)
    assert _segments(s) == [2]
    _sack(s, 4)
    expect_nothing(s, 300 * MS)


def test_reneging():
    """RFC 2018 8: if the first octet was SACKed and a timeout comes, the SACKs are forgotten."""
    s = _flight(4)
    _sack(s, 0, (1, 4), at=10 * MS)
    drain(s)
    _sack(s, 1, at=20 * MS)  # and now it speaks of 1 to 4 no more
    assert s.conn.board.sacked == 3 * MSS
    s.advance(300 * MS)
    assert _segments(s)[0] == 1 and s.stats.counts["tcp.reneged"] == 1


def test_blocks_of_nothing_that_was_sent():
    """A block beyond SND.MAX, an empty or a reversed one: ignored."""
    s = _flight(4)
    send(s, seg("A", ack=ISN, sack=[(_at(4), _at(5))]), at=MS)
    send(s, seg("A", ack=ISN, sack=[(_at(2), _at(2)), (_at(3), _at(2))]))
    send(s, seg("A", ack=ISN, sack=[(_at(0), _at(9))]))
    assert not s.conn.board.sacked and not s.conn.recovering and not s.conn.retransmits


def test_big_segments():
    """A hole in a frame of 40 segments: it alone goes again; two holes of 3 go as frames."""
    s = _flight(40, caps=CAP_TX_CSUM | CAP_TSO4)
    _sack(s, 0, (1, 10), at=10 * MS)
    _sack(s, 0, (13, 40), (1, 10))
    out = [(o.seq, len(o.data)) for o in drain(s)]
    _sack(s, 10, (13, 40), at=20 * MS)
    out += [(o.seq, len(o.data)) for o in drain(s)]
    assert sum(n for _, n in out) == 4 * MSS and out[0] == (ISN, MSS), out
    _sack(s, 40)
    assert not s.conn.board.sacked and s.conn.w[SND_UNA] == _at(40)


def test_fin_in_the_scoreboard():
    s = _flight(4)
    s.conn.shutdown(s.now)
    s.tcp.flush(s.now)
    expect(s, seg("FA", seq=_at(4)))
    _sack(s, 0, (1, 4), at=10 * MS)
    assert _segments(s) == [0]
    s.advance(20 * MS)
    send(s, seg("A", ack=_at(4)))
    # Segment 0, sent later, has arrived: so the FIN is lost (RFC 8985).
    expect(s, seg("FA", seq=_at(4)))
    send(s, seg("A", ack=_at(4) + 1))
    assert s.states[-1] == "FIN-WAIT-2"


def test_the_rings_end():
    """What goes again lies across the end of the send ring."""
    s = full(ts=False, snd_max=8192, initial_segments=10)
    seq = ISN
    write(s, pattern(6000))
    drain(s)
    seq += 6000
    send(s, seg("A", ack=seq), at=10 * MS)
    data = pattern(5 * MSS, 3)
    assert write(s, data) == 5 * MSS
    assert b"".join(o.data for o in drain(s)) == data
    send(s, seg("A", ack=seq, sack=[(seq + 3 * MSS, seq + 5 * MSS)]), at=20 * MS)
    s.advance(30 * MS)
    got = {}
    for o in drain(s):
        got[o.seq - seq] = o.data
    for at, piece in got.items():
        assert data[at : at + len(piece)] == piece
    assert 0 in got


def test_block_count():
    class C:
        ooo = None
        dup_len = 0

    assert sack.block_count(C, 40) == 0
    C.dup_len = 5
    C.ooo = [1, 2, 3, 4, 5]
    for room, want in ((40, 4), (28, 3), (27, 2), (12, 1), (11, 0), (0, 0)):
        assert sack.block_count(C, room) == want, room
