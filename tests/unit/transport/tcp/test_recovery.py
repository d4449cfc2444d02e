"""Fast retransmit and recovery: RFC 5681 3.2, 6582 (NewReno), 3042, 5827; reordering."""

from stack.core.frame import CAP_TSO4, CAP_TX_CSUM
from stack.transport.tcp.block import (
    ACKED_TO,
    DUPACKS,
    RCV_ADV,
    RCV_NXT,
    RTO_US,
    SND_MAX,
    SND_NXT,
    SND_UNA,
    SND_WL1,
    SND_WND,
    SRTT_US,
)
from tests.unit.transport.tcp.harness import (
    MS,
    MSS,
    RTO,
    SEC,
    L,
    R,
    drain,
    established,
    expect,
    expect_nothing,
    pattern,
    read,
    seg,
    send,
    write,
)

ISN = L + 1


def _flight(segments, queue=0, **options):
    """`segments` full segments are out, numbered from 0; `queue` bytes more wait behind cwnd."""
    s = established(initial_segments=segments, wscale=7, congestion="newreno", **options)
    send(s, seg("A", wnd=60000))
    s.wnd = 60000
    s.data = pattern(segments * MSS + queue)
    assert write(s, s.data) == len(s.data)
    assert sum(len(o.data) for o in drain(s)) == segments * MSS
    return s


def _at(i):
    """The sequence number of segment i."""
    return ISN + i * MSS


def _ack(s, i, at=None):
    """The peer's ACK for all before segment i."""
    send(s, seg("A", ack=_at(i)), at=at)


def _segments(s):
    """What went out, as numbers of segments."""
    out = []
    for o in drain(s):
        assert (o.seq - ISN) % MSS == 0 and len(o.data) == MSS, o
        out.append((o.seq - ISN) // MSS)
    return out


# -- what is a duplicate, and how many


def test_third_duplicate_retransmits():
    """3.2: "a TCP SHOULD perform a retransmission of what appears to be the missing segment,
    without waiting for the retransmission timer to expire", and only that.
    """
    s = _flight(10)
    _ack(s, 0, at=MS)
    _ack(s, 0)
    assert _segments(s) == []
    _ack(s, 0)
    expect(s, seg("A", seq=_at(0), data=s.data[:MSS]), at=MS)
    expect_nothing(s)
    _ack(s, 0)
    assert _segments(s) == []


def test_duplicates_after_progress_count_anew():
    s = _flight(10)
    _ack(s, 0)
    _ack(s, 0)
    _ack(s, 1)
    _ack(s, 1)
    _ack(s, 1)
    assert _segments(s) == []
    _ack(s, 1)
    assert _segments(s) == [1]


# RFC 5681, 2: "(a) the receiver of the ACK has outstanding data, (b) the incoming
# acknowledgment carries no data, (c) the SYN and FIN bits are both off, (d) the acknowledgment
# number is equal to the greatest acknowledgment received ... and (e) the advertised window
# ... equals the advertised window in the last incoming acknowledgment".
NO_DUPLICATES = (
    ("(b) data", lambda i: seg("A", seq=R + 1 + 3 * i, ack=ISN, data=b"abc")),
    ("(b) data again", lambda i: seg("A", seq=R + 1, ack=ISN, data=b"abc")),
    ("(b) data behind a gap", lambda i: seg("A", seq=R + 100 + 3 * i, ack=ISN, data=b"abc")),
    ("(c) a FIN behind a gap", lambda i: seg("FA", seq=R + 100, ack=ISN)),
    ("(d) an older number", lambda i: seg("A", ack=ISN - 1)),
    ("(e) a window that opens", lambda i: seg("A", ack=ISN, wnd=60000 + i + 1)),
    ("(e) a window that closes", lambda i: seg("A", ack=ISN, wnd=60000 - i - 1)),
    ("outside the window", lambda i: seg("A", seq=R + (1 << 22), ack=ISN)),
    ("no ACK at all", lambda i: seg("P", ack=ISN)),
    ("beyond what was sent", lambda i: seg("A", ack=ISN + 11 * MSS)),
)


def test_no_duplicates():
    for why, make in NO_DUPLICATES:
        s = _flight(10)
        for i in range(8):
            send(s, make(i))
        sent = [o.seq for o in drain(s) if o.data]
        assert sent == [] and not s.conn.recovering and not s.conn.retransmits, why


def test_fin_is_no_duplicate():
    """(c): the FIN moves RCV.NXT; its repetitions lie outside the window."""
    s = _flight(10)
    for _ in range(5):
        send(s, seg("FA", ack=ISN))
    assert [o.seq for o in drain(s) if o.data] == []


def test_no_duplicates_when_nothing_is_out():
    """(a)."""
    s = established()
    for _ in range(5):
        send(s, seg("A", ack=ISN))
    write(s, pattern(5 * MSS))
    assert _segments(s) == [0, 1, 2, 3, 4]
    _ack(s, 0)
    _ack(s, 0)
    assert _segments(s) == []


def test_reordering_retransmits_nothing():
    """One or two segments late: the duplicates they cause are too few."""
    for late in (1, 2):
        s = _flight(10)
        for _ in range(late):
            _ack(s, 3)  # the first moves, the others repeat
        _ack(s, 3)
        _ack(s, 4 + late)
        _ack(s, 10)
        assert _segments(s) == [] and s.conn.retransmits == 0, late
        assert s.conn.cc.ssthresh == 1 << 30


def test_a_copy_of_an_ack_is_no_loss():
    """Only one segment is out, so nothing behind it can have brought a duplicate."""
    for copies in (1, 2):
        s = _flight(1)
        for _ in range(copies):
            _ack(s, 0)
        assert _segments(s) == [] and s.conn.cc.ssthresh == 1 << 30


EARLY = ((2, 1), (3, 2), (4, 3), (5, 3))


def test_early_retransmit():
    """RFC 5827: with less than four segments out and no more to send, one less than are out."""
    for segments, want in EARLY:
        s = _flight(segments)
        for _ in range(want - 1):
            _ack(s, 0)
            assert _segments(s) == [], segments
        _ack(s, 0)
        assert _segments(s) == [0], segments


def test_no_early_retransmit_with_more_to_send():
    """Limited transmit brings the third duplicate instead."""
    s = _flight(3, 4 * MSS)
    _ack(s, 0)
    assert _segments(s) == [3]
    _ack(s, 0)
    assert _segments(s) == [4]
    _ack(s, 0)
    assert _segments(s)[0] == 0


def test_limited_transmit():
    """RFC 3042: each of the first two duplicates lets one new segment out; cwnd stays."""
    s = _flight(10, 10 * MSS)
    cwnd = s.conn.cc.cwnd
    _ack(s, 0)
    assert _segments(s) == [10]
    _ack(s, 0)
    assert _segments(s) == [11] and s.conn.cc.cwnd == cwnd


def test_limited_transmit_heeds_the_peers_window():
    s = established(wnd=4 * MSS)
    write(s, pattern(10 * MSS))
    assert _segments(s) == [0, 1, 2, 3]
    _ack(s, 0)
    _ack(s, 0)
    assert _segments(s) == []


def test_limited_transmit_does_not_raise_ssthresh():
    """RFC 5681 3.2 step 2: what it sent "MUST NOT be included in this calculation"."""
    s = _flight(10, 10 * MSS)
    for _ in range(3):
        _ack(s, 0)
    assert s.conn.cc.ssthresh == 5 * MSS


# -- in recovery


def test_inflation():
    """Steps 3 to 5: ssthresh plus three segments, one more for each further duplicate; new
    segments go when that is more than what is out.
    """
    s = _flight(10, 10 * MSS)
    c = s.conn
    for _ in range(3):
        _ack(s, 0)
    assert c.cc.cwnd == c.cc.ssthresh == 5 * MSS and c.inflate == 3 * MSS
    assert _segments(s) == [10, 11, 0]
    for i in range(4, 8):
        _ack(s, 0)
        assert c.inflate == i * MSS and _segments(s) == []  # 12 are out
    _ack(s, 0)
    assert _segments(s) == [12]
    _ack(s, 0)
    assert _segments(s) == [13]


def test_full_acknowledgment_deflates():
    """RFC 6582 3.2 step 3: out of recovery with min (ssthresh, max(FlightSize, SMSS) + SMSS)."""
    s = _flight(10, 30 * MSS)
    c = s.conn
    for _ in range(3):
        _ack(s, 0)
    assert _segments(s) == [10, 11, 0] and c.recover == _at(12)
    _ack(s, 12)
    assert not c.recovering and not c.inflate and not c.w[DUPACKS]
    assert c.cc.cwnd == 2 * MSS  # nothing is out: no burst
    assert _segments(s) == [12, 13]
    assert c.cc.ssthresh == 5 * MSS


def test_full_acknowledgment_with_much_out():
    s = _flight(10, 30 * MSS)
    c = s.conn
    for _ in range(12):
        _ack(s, 0)
    assert _segments(s) == [10, 11, 0, 12, 13, 14, 15, 16]
    _ack(s, 12)
    assert c.cc.cwnd == c.cc.ssthresh == 5 * MSS  # five are out
    assert _segments(s) == []
    _ack(s, 13)
    assert _segments(s) == [17]


def test_partial_acknowledgment():
    """Two lost of a flight: the second goes at once, without three duplicates of its own."""
    s = _flight(10)
    for _ in range(3):
        _ack(s, 0)
    assert _segments(s) == [0]
    _ack(s, 4)
    assert _segments(s) == [4] and s.conn.recovering
    _ack(s, 10)
    assert _segments(s) == [] and not s.conn.recovering
    assert s.conn.retransmits == 2


def test_every_other_segment_lost():
    """One hole each round trip, one halving for the whole flight."""
    s = _flight(10)
    for _ in range(5):
        _ack(s, 0)
    assert _segments(s) == [0]
    for hole in (2, 4, 6, 8):
        _ack(s, hole)
        assert _segments(s) == [hole]
    _ack(s, 10)
    assert not s.conn.recovering and s.conn.cc.ssthresh == 5 * MSS


def test_partial_acknowledgment_deflates():
    """"Deflate the congestion window by the amount of new data acknowledged ...; add back
    SMSS", so that about ssthresh is out at the end.
    """
    s = _flight(10, 20 * MSS)
    c = s.conn
    for _ in range(8):
        _ack(s, 0)
    assert c.inflate == 8 * MSS
    assert _segments(s) == [10, 11, 0, 12]
    _ack(s, 3)
    assert c.inflate == (8 - 3 + 1) * MSS and c.cc.cwnd == 5 * MSS
    assert _segments(s) == [3, 13]
    send(s, seg("A", ack=_at(3) + 100))
    assert c.inflate == 6 * MSS - 100  # less than a segment adds nothing back


def test_partial_acknowledgment_in_the_middle_of_a_segment():
    """What goes again begins where the peer says."""
    s = _flight(10)
    for _ in range(3):
        _ack(s, 0)
    drain(s)
    send(s, seg("A", ack=_at(4) + 700))
    expect(s, seg("A", seq=_at(4) + 700, data=s.data[4 * MSS + 700 : 5 * MSS + 700]))


def test_duplicates_in_recovery_retransmit_nothing():
    s = _flight(10)
    for _ in range(30):
        _ack(s, 0)
    assert _segments(s) == [0] and s.conn.cc.ssthresh == 5 * MSS


def test_second_loss_after_recovery():
    """What is sent after recovery can be lost and found again: a second halving."""
    s = _flight(10, 30 * MSS)
    for _ in range(12):
        _ack(s, 0)
    _ack(s, 12)
    drain(s)  # 12 to 16 are out
    for _ in range(2):
        _ack(s, 12)
    drain(s)
    _ack(s, 12)
    assert _segments(s)[0] == 12
    assert s.conn.cc.ssthresh == 2 * MSS + MSS // 2


def test_retransmission_lost():
    """No third try by duplicates: the timer finds it (RFC 6582, 4)."""
    s = _flight(10)
    _ack(s, 0, at=50 * MS)
    for _ in range(9):
        _ack(s, 0)
    assert _segments(s) == [0]
    expect_nothing(s, RTO - MS)
    expect(s, seg("A", seq=_at(0), n=MSS), at=50 * MS + RTO)
    assert not s.conn.recovering and s.conn.cc.cwnd == MSS


def test_partial_acknowledgment_restarts_the_timer():
    s = _flight(10)
    for _ in range(3):
        _ack(s, 0, at=10 * MS)
    _ack(s, 4, at=150 * MS)
    assert _segments(s) == [0, 4]
    expect(s, seg("A", seq=_at(4), n=MSS), at=150 * MS + s.conn.w[RTO_US])


def test_recovery_is_not_measured():
    """Karn: neither the segment sent again nor one that waited behind it."""
    s = _flight(10)
    srtt = s.conn.w[SRTT_US]
    for _ in range(3):
        _ack(s, 0, at=50 * MS)
    _ack(s, 10, at=100 * MS)
    assert s.conn.w[SRTT_US] == srtt


def test_timeout_in_recovery():
    """Step 4 of RFC 6582's timeouts: recovery ends, the window is one segment."""
    s = _flight(10, 10 * MSS)
    c = s.conn
    for _ in range(6):
        _ack(s, 0, at=10 * MS)
    drain(s)
    expect(s, seg("A", seq=_at(0), n=MSS), at=10 * MS + RTO)
    expect_nothing(s)
    assert not c.recovering and not c.inflate and c.cc.cwnd == MSS
    assert c.recover == c.w[SND_MAX] == _at(12)
    _ack(s, 1, at=11 * MS + RTO)
    assert _segments(s) == [1, 2]


def test_no_fast_retransmit_below_recover():
    """3.2 step 6: after a timeout the duplicates of what is sent again are no losses."""
    s = _flight(10)
    expect(s, seg("A", seq=_at(0), n=MSS), at=RTO)
    _ack(s, 3, at=RTO + MS)
    assert _segments(s) == [3, 4, 5, 6]
    half = s.conn.cc.ssthresh
    for _ in range(4):
        _ack(s, 3)
    assert 3 not in _segments(s) and not s.conn.recovering
    assert s.conn.cc.ssthresh == half


def test_fast_retransmit_works_beyond_recover():
    """Once all of that is acknowledged, three duplicates mean a loss again."""
    s = _flight(10, 30 * MSS)
    expect(s, seg("A", seq=_at(0), n=MSS), at=RTO)
    _ack(s, 10, at=RTO + MS)
    out = _segments(s)
    assert out[0] == 10
    _ack(s, 11)
    drain(s)
    for _ in range(3):
        _ack(s, 11)
    assert 11 in _segments(s) and s.conn.recovering


def test_recover_is_exact():
    """"more than recover": an ACK of just what had been sent does not allow it yet."""
    s = _flight(10, 20 * MSS)
    expect(s, seg("A", seq=_at(0), n=MSS), at=RTO)
    _ack(s, 10, at=RTO + MS)
    drain(s)
    for _ in range(3):
        _ack(s, 10)
    assert not s.conn.recovering


def test_recover_keeps_up():
    """2 GB without a loss later, `recover` must not seem to lie ahead."""
    s = established(initial_segments=10)
    c = s.conn
    start = c.recover + 0x7FFFFFFF - 10 * MSS & 0xFFFFFFFF
    c.w[SND_UNA] = c.w[SND_NXT] = c.w[SND_MAX] = c.snd_sml = start
    for _ in range(2):
        write(s, pattern(10 * MSS))
        drain(s)
        start = start + 10 * MSS & 0xFFFFFFFF
        send(s, seg("A", ack=start), at=s.now - 10 * SEC + MS)
    write(s, pattern(10 * MSS))
    drain(s)
    for _ in range(3):
        send(s, seg("A", ack=start))
    expect(s, seg("A", seq=start, n=MSS))


def test_small_segments_are_forgotten():
    """The same of SND.SML: 2 GB of full segments after a small one, Nagle holds nothing back."""
    s = established(initial_segments=10)
    c = s.conn
    start = c.snd_sml + 0x7FFFFFFF - 10 * MSS & 0xFFFFFFFF
    c.w[SND_UNA] = c.w[SND_NXT] = c.w[SND_MAX] = c.recover = start
    for _ in range(2):
        write(s, pattern(10 * MSS))
        drain(s)
        start = start + 10 * MSS & 0xFFFFFFFF
        send(s, seg("A", ack=start), at=s.now - 10 * SEC + MS)
    write(s, pattern(MSS + 10))
    expect(s, seg("A", n=MSS))
    expect(s, seg("A", n=10))


def test_window_updates_are_heard_after_2_gigabytes():
    """SND.WL1 follows a peer that sends much and keeps its window: else it goes deaf."""
    s = established()
    c = s.conn
    start = c.w[SND_WL1] + 0x7FFFFFFF - 1500 & 0xFFFFFFFF
    c.w[RCV_NXT] = c.w[ACKED_TO] = start
    c.w[RCV_ADV] = start + 65535 & 0xFFFFFFFF
    for _ in range(4):
        send(s, seg("A", seq=start, data=pattern(1000)))
        assert len(read(s)) == 1000
        start = start + 1000 & 0xFFFFFFFF
    send(s, seg("A", seq=start, wnd=1234))
    assert c.w[SND_WND] == 1234


def test_big_segments_lost():
    """A hole in a frame of forty segments: one segment goes again, not the frame."""
    s = _flight(40, caps=CAP_TX_CSUM | CAP_TSO4)
    for _ in range(3):
        _ack(s, 7)
    assert _segments(s) == []  # the first of them was progress
    _ack(s, 7)
    expect(s, seg("A", seq=_at(7), data=s.data[7 * MSS : 8 * MSS]))
    expect_nothing(s)
    _ack(s, 21)
    expect(s, seg("A", seq=_at(21), data=s.data[21 * MSS : 22 * MSS]))
    _ack(s, 40)
    expect_nothing(s, 10 * SEC)
    assert s.conn.retransmits == 2


def test_recovery_at_the_rings_end():
    """What goes again lies across the end of the send ring."""
    s = established(snd_max=8192, initial_segments=10)
    seq = ISN
    write(s, pattern(6000))
    drain(s)
    seq += 6000
    send(s, seg("A", ack=seq))
    data = pattern(5 * MSS, 3)
    assert write(s, data) == 5 * MSS
    got = b"".join(o.data for o in drain(s))
    assert got == data
    send(s, seg("A", ack=seq + MSS))
    for _ in range(3):
        send(s, seg("A", ack=seq + MSS))
    o = drain(s)[0]
    assert o.seq == seq + MSS and o.data == data[MSS : MSS + len(o.data)] and len(o.data) > 600


def test_fin_lost_behind_data():
    """The FIN takes part: all data is acknowledged, duplicates or the timer bring it again."""
    s = _flight(4)
    s.conn.shutdown(s.now)
    s.tcp.flush(s.now)
    expect(s, seg("FA", seq=_at(4)))
    for _ in range(3):
        _ack(s, 0)
    expect(s, seg("A", seq=_at(0), n=MSS))
    _ack(s, 4)
    expect(s, seg("FA", seq=_at(4)))
    send(s, seg("A", ack=_at(4) + 1))
    assert s.states[-1] == "FIN-WAIT-2"


def test_receiver_sends_the_duplicates():
    """3.2: "A TCP receiver SHOULD send an immediate duplicate ACK when an out-of-order segment
    arrives", and 4.2 at once when the gap fills.
    """
    s = established()
    for i in (1, 2, 3):
        send(s, seg("A", seq=R + 1 + i * MSS, data=pattern(MSS, i * MSS)))
        expect(s, seg("A", seq=ISN, ack=R + 1))
    send(s, seg("A", seq=R + 1, data=pattern(MSS)))
    expect(s, seg("A", ack=R + 1 + 4 * MSS))
    assert read(s) == pattern(4 * MSS)
