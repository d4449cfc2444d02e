"""How much may be out: RFC 5681 (slow start, congestion avoidance, restart), RFC 6928."""

from stack.core.frame import CAP_TSO4, CAP_TX_CSUM
from stack.transport.tcp.block import REXMIT_AT, RTO_US
from stack.transport.tcp.congestion import INFINITE, initial_window
from stack.transport.tcp.newreno import NewReno
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
    listening,
    pattern,
    seg,
    send,
    write,
)

M = 1000  # an MSS to reckon with


def _flood(**options):
    """A connection with much to send and the peer's window no limit."""
    s = established(wscale=7, rcv_max=1 << 20, congestion="newreno", **options)
    send(s, seg("A", wnd=60000))
    s.wnd = 60000
    s.room = 65536
    write(s, pattern(65536))
    return s


def _out(s):
    return sum(len(o.data) for o in drain(s))


INITIAL = (
    # RFC 6928: min (10*MSS, max (2*MSS, 14600))
    ("Ethernet", 1460, 0, 14600),
    ("small segments", 536, 0, 5360),
    ("just below", 1459, 0, 14590),
    ("larger segments", 1461, 0, 14600),
    ("jumbo: two segments are more than 14600", 8960, 0, 17920),
    ("at the edge", 7300, 0, 14600),
    ("the classic one segment", 1460, 1, 1460),
    ("a chosen number", 1460, 4, 5840),
)


def test_initial_window():
    for why, mss, segments, want in INITIAL:
        assert initial_window(mss, segments) == want, why
        assert NewReno(mss, segments).cwnd == want, why


def test_ssthresh_begins_high():
    """3.1: "SHOULD be set arbitrarily high"."""
    assert NewReno(M).ssthresh == INFINITE >= 65535 << 14


def test_first_flight_is_ten_segments():
    s = _flood()
    out = drain(s)
    assert [len(o.data) for o in out] == [MSS] * 10
    expect_nothing(s, 100 * MS)


def test_first_flight_of_the_classic_setting():
    s = _flood(initial_segments=1)
    assert _out(s) == MSS
    send(s, seg("A", ack=L + 1 + MSS), at=MS)
    assert _out(s) == 2 * MSS


def test_first_flight_follows_the_peers_mss():
    """The initial window is of the MSS that was agreed, not of the interface's."""
    s = _flood(mss=536)
    assert _out(s) == 5360


def test_passive_side_has_the_same_window():
    s = listening()
    send(s, seg("S", seq=R, mss=536))
    expect(s, seg("SA"))
    send(s, seg("A", ack=L + 1))
    assert s.listener.accept().cc.cwnd == 5360


def test_lost_syn_makes_the_window_one_segment():
    """3.1: "if the SYN or SYN/ACK is lost, the initial window ... MUST be one segment"."""
    s = listening()
    send(s, seg("S", seq=R, mss=MSS), at=0)
    expect(s, seg("SA"))
    expect(s, seg("SA"), at=SEC)
    send(s, seg("A", ack=L + 1), at=SEC + MS)
    s.conn = s.listener.accept()
    write(s, pattern(5 * MSS))
    assert _out(s) == MSS


# -- growth by itself


GROWTH = (
    # why, cwnd, ssthresh, [(acked, flight)...], cwnd after
    ("slow start: what is acknowledged is added", 10 * M, INFINITE, ((M, 10 * M),), 11 * M),
    ("two segments with one ACK", 10 * M, INFINITE, ((2 * M, 10 * M),), 12 * M),
    ("a few bytes add a few bytes", 10 * M, INFINITE, ((7, 10 * M),), 10 * M + 7),
    ("slow start ends at ssthresh", 10 * M, 10 * M + 500, ((M, 10 * M),), 10 * M + 500),
    ("avoidance: less than a window adds nothing", 10 * M, 10 * M, ((9999, 10 * M),), 10 * M),
    ("avoidance: a window adds a segment", 10 * M, 10 * M, ((M, 10 * M),) * 10, 11 * M),
    ("the next segment costs a window more", 10 * M, 10 * M, ((M, 11 * M),) * 20, 11 * M),
    ("and is there at 21", 10 * M, 10 * M, ((M, 11 * M),) * 21, 12 * M),
    ("counted in bytes, not ACKs", 10 * M, 10 * M, ((100, 10 * M),) * 99, 10 * M),
    ("the hundredth completes it", 10 * M, 10 * M, ((100, 10 * M),) * 100, 11 * M),
    ("one ACK of a whole window", 10 * M, 10 * M, ((10 * M, 10 * M),), 11 * M),
    ("beyond ssthresh counts on", 9 * M, 10 * M, ((2 * M, 10 * M), (9 * M, 10 * M)), 11 * M),
    ("half of the window in use grows", 10 * M, INFINITE, ((M, 5 * M),), 11 * M),
    ("less than half does not", 10 * M, INFINITE, ((M, 5 * M - 1),), 10 * M),
    ("nor in avoidance", 10 * M, 10 * M, ((4 * M, 4 * M),) * 9, 10 * M),
    ("nothing beyond any window", 1 << 30, INFINITE, ((M, 1 << 30),), 1 << 30),
)


def test_growth():
    for why, cwnd, ssthresh, acks, want in GROWTH:
        cc = NewReno(M)
        cc.cwnd = cwnd
        cc.ssthresh = ssthresh
        for acked, flight in acks:
            cc.on_ack(acked, flight, 0)
        assert cc.cwnd == want, (why, cc.cwnd)


LOSSES = (
    # equation (4): ssthresh = max (FlightSize / 2, 2*SMSS)
    ("half of what is out", 20 * M, 20 * M, 10 * M),
    ("of what is out, not of cwnd", 40 * M, 20 * M, 10 * M),
    ("odd", 20 * M, 9001, 4500),
    ("at least two segments", 20 * M, 3 * M, 2 * M),
    ("even of nothing", 20 * M, 0, 2 * M),
)


def test_ssthresh():
    for why, cwnd, flight, want in LOSSES:
        cc = NewReno(M)
        cc.cwnd = cwnd
        cc.on_loss(flight, 0)
        assert (cc.ssthresh, cc.cwnd) == (want, want), why
        cc = NewReno(M)
        cc.cwnd = cwnd
        cc.on_timeout(flight, 0)
        assert (cc.ssthresh, cc.cwnd) == (want, M), why


def test_loss_forgets_what_was_counted():
    cc = NewReno(M)
    cc.cwnd = cc.ssthresh = 10 * M
    cc.on_ack(9 * M, 10 * M, 0)
    cc.on_loss(10 * M, 0)
    cc.on_ack(4 * M, 5 * M, 0)
    assert cc.cwnd == 5 * M


def test_recovered():
    """RFC 6582 3.2 step 3 (1): min (ssthresh, max(FlightSize, SMSS) + SMSS)."""
    for why, flight, want in (
        ("much out: ssthresh", 20 * M, 10 * M), ("little out: no burst", 3 * M, 4 * M),
        ("nothing out", 0, 2 * M), ("just ssthresh", 9 * M, 10 * M),
    ):
        cc = NewReno(M)
        cc.on_loss(20 * M, 0)
        cc.on_recovered(flight, 0)
        assert cc.cwnd == want, why


def test_idle():
    """4.1: RW = min(IW,cwnd); ssthresh stays."""
    cc = NewReno(M)
    cc.cwnd, cc.ssthresh = 50 * M, 30 * M
    cc.on_idle(0)
    assert (cc.cwnd, cc.ssthresh) == (10 * M, 30 * M)
    cc.cwnd = 4 * M
    cc.on_idle(0)
    assert cc.cwnd == 4 * M


def test_mss_that_becomes_known():
    cc = NewReno(1460)
    cc.set_mss(536)
    assert cc.cwnd == 5360
    cc.cwnd = 9999  # in use: only the step changes
    cc.set_mss(400)
    assert cc.cwnd == 9999 and cc.mss == 400


# -- growth on the wire


def test_slow_start_doubles():
    """With an ACK for each segment every round trip carries twice as much."""
    s = _flood(initial_segments=2)
    acked = 0
    flights = []
    at = 0
    for _ in range(4):
        n = _out(s)
        flights.append(n // MSS)
        at += 10 * MS
        s.advance(at)
        for _ in range(n // MSS):
            acked += MSS
            send(s, seg("A", ack=L + 1 + acked))
    assert flights == [2, 4, 8, 16]


def test_congestion_avoidance_adds_a_segment():
    s = _flood(initial_segments=4)
    s.conn.cc.ssthresh = 4 * MSS
    acked = 0
    flights = []
    for i in range(4):
        n = _out(s)
        flights.append(n // MSS)
        s.advance((i + 1) * 10 * MS)
        for _ in range(n // MSS):
            acked += MSS
            send(s, seg("A", ack=L + 1 + acked))
    assert flights == [4, 5, 6, 7]


def test_ack_division_gains_nothing():
    """RFC 3465, RFC 5681 3.1: many ACKs of one segment count as one (Savage's attack)."""
    s = _flood(initial_segments=2)
    drain(s)
    for i in range(1, 147):
        send(s, seg("A", ack=L + 1 + 10 * i))
    assert s.conn.cc.cwnd == 2 * MSS + 1460


def test_ack_of_nothing_new_grows_nothing():
    s = _flood(initial_segments=4)
    drain(s)
    send(s, seg("A", ack=L + 1 + MSS))
    before = s.conn.cc.cwnd
    send(s, seg("A", ack=L + 1 + MSS, data=b"a"))
    send(s, seg("A", seq=R + 2, ack=L + 1, data=b"b"))
    assert s.conn.cc.cwnd == before


def test_no_growth_for_one_who_sends_little():
    """RFC 7661: a window that is not used proves nothing."""
    s = established()
    for i in range(50):
        write(s, pattern(100))
        drain(s)
        send(s, seg("A", ack=L + 1 + 100 * (i + 1)))
    assert s.conn.cc.cwnd == 14600


def test_restart_after_idle():
    """4.1: after more than an RTO without sending, no burst of an old window."""
    s = _flood(initial_segments=2)
    acked = 0
    while acked < 65536:
        n = _out(s)
        assert n
        acked += n
        send(s, seg("A", ack=L + 1 + acked))
    assert s.conn.cc.cwnd > 20 * MSS
    s.advance(100 * MS)  # within the RTO: the window stands
    write(s, pattern(4 * MSS))
    assert _out(s) == 4 * MSS
    send(s, seg("A", ack=L + 1 + acked + 4 * MSS), at=101 * MS)
    s.advance(101 * MS + 2 * SEC)
    write(s, pattern(30000))
    assert _out(s) == 2 * MSS


def test_waiting_for_an_ack_is_not_idle():
    """Data is out: the window is not taken back for want of sending."""
    s = _flood(initial_segments=20)
    assert _out(s) == 20 * MSS
    s.conn.cc.initial_window = 2 * MSS
    s.conn.w[RTO_US] = SEC
    s.conn.w[REXMIT_AT] = s.now + SEC
    send(s, seg("A", ack=L + 1 + MSS), at=900 * MS)
    assert s.conn.cc.cwnd == 21 * MSS and _out(s) == 2 * MSS


def test_timeout_goes_back_to_one_segment():
    """3.1: LW is one segment and ssthresh half of what was out."""
    s = _flood()
    assert _out(s) == 10 * MSS
    expect(s, seg("A", seq=L + 1, n=MSS), at=RTO)
    expect_nothing(s)
    assert s.conn.cc.cwnd == MSS and s.conn.cc.ssthresh == 5 * MSS
    acked = 0
    flights = []
    for i in range(5):
        acked += (1, 2, 4, 5, 6)[i] * MSS
        send(s, seg("A", ack=L + 1 + acked), at=RTO + (i + 1) * MS)
        flights.append(_out(s) // MSS)
    # Slow start up to five, then one segment more for each window.
    assert flights == [2, 4, 5, 5, 6] or flights == [2, 4, 5, 6, 7], flights


def test_second_timeout_of_the_same_data_keeps_ssthresh():
    """3.1: "when a TCP sender detects segment loss using the retransmission timer and the
    given segment has already been retransmitted ..., the value of ssthresh is held constant".
    """
    s = _flood()
    drain(s)
    for at in (200, 600, 1400):
        expect(s, seg("A", seq=L + 1, n=MSS), at=at * MS)
        assert s.conn.cc.ssthresh == 5 * MSS and s.conn.cc.cwnd == MSS


def test_small_peers_window_limits_before_cwnd():
    s = established(wnd=3 * MSS)
    write(s, pattern(20 * MSS))
    assert _out(s) == 3 * MSS


def test_big_segments_keep_to_the_window():
    """Offload or not: no more goes out than cwnd allows, in whole segments."""
    s = _flood(caps=CAP_TX_CSUM | CAP_TSO4)
    expect(s, seg("A", gso=MSS, n=10 * MSS))
    expect_nothing(s)
    send(s, seg("A", ack=L + 1 + 10 * MSS), at=MS)
    assert _out(s) == 20 * MSS
