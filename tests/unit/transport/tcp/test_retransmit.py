"""The retransmission timer: RFC 6298 with numbers worked by hand, R1 and R2 of RFC 9293 3.8.3."""

from stack.core.errors import EHOSTUNREACH, ETIMEDOUT
from stack.core.frame import CAP_TSO4, CAP_TX_CSUM
from stack.core.timers import NEVER
from stack.transport.tcp import block
from stack.transport.tcp.block import (
    BACKOFF,
    MIN_RTT_US,
    REXMIT_AT,
    RTO_US,
    RTTVAR_US,
    SRTT_US,
)
from stack.transport.tcp.rtt import Rtt
from tests.unit.transport.tcp.harness import (
    MS,
    MSS,
    RTO,
    SEC,
    START,
    L,
    R,
    assert_clean,
    close_wait,
    drain,
    established,
    expect,
    expect_nothing,
    last_ack,
    listening,
    pattern,
    seg,
    send,
    state,
    syn_sent,
    write,
)


def _samples(*values):
    r = Rtt(block.make())
    for v in values:
        r.sample(v)
    return r


def _numbers(r):
    return r.w[SRTT_US], r.w[RTTVAR_US], r.w[RTO_US]


# -- the numbers


def test_rto_before_any_sample():
    """(2.1): "the sender SHOULD set RTO <- 1 second"."""
    r = Rtt(block.make())
    assert r.w[SRTT_US] == 0 and r.w[RTO_US] == r.timeout_us() == SEC


SAMPLES = (
    # (2.2) SRTT <- R, RTTVAR <- R/2, RTO <- SRTT + max(G, 4*RTTVAR)
    ("first: 300 + 4*150", (300 * MS,), (300 * MS, 150 * MS, 900 * MS)),
    ("first, odd: 101 + 4*50", (101,), (101, 50, RTO)),
    # (2.3) RTTVAR <- 3/4*150 + 1/4*|300-100| = 162.5; SRTT <- 7/8*300 + 1/8*100 = 275
    ("second, shorter", (300 * MS, 100 * MS), (275 * MS, 162500, 925 * MS)),
    # RTTVAR <- 3/4*150 + 1/4*|300-700| = 212.5; SRTT <- 262.5 + 87.5 = 350
    ("second, longer", (300 * MS, 700 * MS), (350 * MS, 212500, 1200 * MS)),
    # RTTVAR must use the SRTT before it moves: 3/4*162.5 + 1/4*|275-75| = 171.875;
    # SRTT <- 240.625 + 9.375 = 250; RTO = 250 + 687.5
    ("third", (300 * MS, 100 * MS, 75 * MS), (250 * MS, 171875, 937500)),
    ("the same twice: RTTVAR falls by a quarter", (400 * MS,) * 2, (400 * MS, 150 * MS, SEC)),
    # (2.4), at 200 ms here
    ("minimum: 20 + 40 ms", (20 * MS,), (20 * MS, 10 * MS, RTO)),
    ("just above it: 67 + 134 ms", (67 * MS,), (67 * MS, 33500, 201 * MS)),
    # (2.5)
    ("maximum: 30 + 60 s", (30 * SEC,), (30 * SEC, 15 * SEC, 60 * SEC)),
    ("nothing counts as one microsecond", (0,), (1, 0, RTO)),
    ("time that ran backwards too", (-5,), (1, 0, RTO)),
)


def test_rto_of_samples():
    for why, values, want in SAMPLES:
        assert _numbers(_samples(*values)) == want, why


def test_granularity():
    """(2.3): a variance of nothing still leaves max(G, 0), G being 1 ms."""
    r = Rtt(block.make())
    for _ in range(60):
        r.sample(500 * MS)
    assert r.w[SRTT_US] == 500 * MS and 4 * r.w[RTTVAR_US] < MS and r.w[RTO_US] == 501 * MS


def test_smallest_sample_is_kept():
    assert _samples(30 * MS, 20 * MS, 90 * MS).w[MIN_RTT_US] == 20 * MS


def test_backoff_doubles_up_to_a_minute():
    """(5.5): "RTO <- RTO * 2", within (2.5)'s maximum."""
    r = _samples(100 * MS)  # 100 + 200
    got = []
    for _ in range(12):
        got.append(r.timeout_us() // MS)
        r.expired()
    assert got == [300, 600, 1200, 2400, 4800, 9600, 19200, 38400, 60000, 60000, 60000, 60000]
    r.sample(100 * MS)
    assert r.w[BACKOFF] == 0 and r.timeout_us() < 300 * MS


def test_rto_after_a_lost_syn():
    """(5.7): three seconds if nothing was measured; a measurement stands."""
    r = Rtt(block.make())
    r.expired()
    r.syn_was_lost()
    assert r.timeout_us() == 3 * SEC
    r = _samples(300 * MS)
    r.expired()
    r.syn_was_lost()
    assert r.timeout_us() == 900 * MS


# -- what is measured


def _connected(rtt):
    """An open connection whose SYN took `rtt` us there and back; the clock stands at rtt."""
    s = syn_sent()
    send(s, seg("SA", seq=R, ack=L + 1, mss=MSS), at=rtt)
    expect(s, seg("A", ack=R + 1))
    return s


def test_the_handshake_is_a_sample():
    s = _connected(300 * MS)
    assert _numbers(s.conn.rtt) == (300 * MS, 150 * MS, 900 * MS)


def test_the_passive_handshake_is_a_sample():
    s = listening()
    send(s, seg("S", seq=R, mss=MSS), at=0)
    expect(s, seg("SA"))
    send(s, seg("A", seq=R + 1, ack=L + 1), at=300 * MS)
    assert _numbers(s.listener.accept().rtt) == (300 * MS, 150 * MS, 900 * MS)


def test_data_is_measured_and_its_timer_runs():
    s = _connected(300 * MS)
    write(s, b"x")
    expect(s, seg("A", data=b"x"))
    send(s, seg("A", ack=L + 2), at=400 * MS)  # 100 ms later
    assert _numbers(s.conn.rtt) == (275 * MS, 162500, 925 * MS)
    write(s, b"y")
    expect(s, seg("A", seq=L + 2, data=b"y"))
    expect(s, seg("A", seq=L + 2, data=b"y"), at=400 * MS + 925 * MS)


def test_one_measurement_at_a_time():
    """The first segment of a flight is timed; later ones within the round trip are not."""
    s = _connected(300 * MS)
    write(s, pattern(MSS))
    s.advance(350 * MS)
    write(s, pattern(MSS))
    drain(s)
    send(s, seg("A", ack=L + 1 + 2 * MSS), at=400 * MS)
    assert s.conn.w[SRTT_US] == 275 * MS


def test_ack_of_less_than_the_timed_segment_is_no_sample():
    s = _connected(300 * MS)
    write(s, pattern(1000))
    drain(s)
    send(s, seg("A", ack=L + 501), at=310 * MS)
    assert s.conn.w[SRTT_US] == 300 * MS
    send(s, seg("A", ack=L + 1001), at=400 * MS)
    assert s.conn.w[SRTT_US] == 275 * MS


def test_karn():
    """Section 3: "RTT samples MUST NOT be made using segments that were retransmitted"."""
    s = _connected(300 * MS)
    write(s, b"x")
    drain(s)
    expect(s, seg("A", data=b"x"), at=1200 * MS)
    send(s, seg("A", ack=L + 2), at=1201 * MS)
    assert _numbers(s.conn.rtt) == (300 * MS, 150 * MS, 900 * MS)


def test_karn_for_what_was_out_behind_it():
    """A flight whose head was sent again: the ACK of its tail says nothing either."""
    s = _connected(300 * MS)
    write(s, b"x")
    s.conn.nodelay = True
    write(s, b"y")
    drain(s)
    expect(s, seg("A", seq=L + 1, data=b"xy"), at=1200 * MS)
    send(s, seg("A", ack=L + 3), at=1210 * MS)
    assert s.conn.w[SRTT_US] == 300 * MS


def test_karn_for_a_syn():
    s = syn_sent()
    expect(s, seg("S", seq=L), at=SEC)
    send(s, seg("SA", seq=R, ack=L + 1, mss=MSS), at=1001 * MS)
    assert s.conn.w[SRTT_US] == 0 and s.conn.w[RTO_US] == 3 * SEC
    assert s.conn.cc.cwnd == MSS  # RFC 5681, 3.1: the initial window is one segment


def test_measuring_begins_again_with_new_data():
    s = _connected(300 * MS)
    write(s, b"x")
    drain(s)
    expect(s, seg("A", data=b"x"), at=1200 * MS)
    send(s, seg("A", ack=L + 2), at=1300 * MS)
    write(s, b"y")
    drain(s)
    send(s, seg("A", ack=L + 3), at=1400 * MS)
    assert s.conn.w[SRTT_US] == 275 * MS


# -- the timer


def test_timer_starts_with_the_first_segment_only():
    """(5.1): "if the timer is not running, start it": a later segment does not restart it."""
    s = established()
    write(s, pattern(MSS))
    s.advance(150 * MS)
    write(s, pattern(MSS))
    drain(s)
    expect(s, seg("A", seq=L + 1, n=MSS), at=RTO)


def test_timer_stops_when_all_is_acknowledged():
    """(5.2)."""
    s = established()
    write(s, b"x")
    drain(s)
    send(s, seg("A", ack=L + 2), at=100 * MS)
    assert s.conn.w[REXMIT_AT] == NEVER
    expect_nothing(s, 10 * SEC)


def test_timer_restarts_when_new_data_is_acknowledged():
    """(5.3): RTO from the acknowledgment, not from the sending."""
    s = established()
    write(s, pattern(2 * MSS))
    drain(s)
    send(s, seg("A", ack=L + 1 + MSS), at=150 * MS)
    rto = s.conn.w[RTO_US]  # 150 ms against 1 us: 18750 + 4 * 37499
    assert rto == RTO
    expect(s, seg("A", seq=L + 1 + MSS, n=MSS), at=150 * MS + rto)


def test_timer_is_not_moved_by_old_acknowledgments():
    s = established()
    write(s, pattern(MSS))
    drain(s)
    send(s, seg("A", ack=L + 1), at=100 * MS)
    send(s, seg("A", ack=L + 1, data=b"hello"), at=150 * MS)
    s.run(START + 190 * MS)
    drain(s)
    assert s.conn.w[REXMIT_AT] == START + RTO


def test_first_unacknowledged_segment_goes_again():
    """(5.4): "the earliest segment that has not been acknowledged", with its octets."""
    s = established()
    data = pattern(4 * MSS)
    write(s, data)
    drain(s)
    send(s, seg("A", ack=L + 1 + MSS), at=0)
    expect(s, seg("A", seq=L + 1 + MSS, data=data[MSS : 2 * MSS]), at=RTO)
    expect_nothing(s)  # the loss window is one segment


def test_backoff_on_the_wire():
    """(5.5), (5.6): 200 ms, doubled by each expiry."""
    s = established()
    write(s, b"x")
    drain(s)
    at = 0
    for wait in (200, 400, 800, 1600, 3200, 6400, 12800, 25600, 51200, 60000, 60000, 60000):
        at += wait * MS
        expect(s, seg("A", seq=L + 1, data=b"x"), at=at)
    assert s.conn.info()["retransmits"] == 12


def test_backoff_ends_with_new_acknowledgment():
    s = established()
    write(s, pattern(2 * MSS))
    drain(s)
    for at in (200, 600, 1400):
        expect(s, seg("A", seq=L + 1, n=MSS), at=at * MS)
    send(s, seg("A", ack=L + 1 + MSS), at=1500 * MS)
    expect(s, seg("A", seq=L + 1 + MSS, n=MSS), at=1500 * MS)
    for at in (1700, 2100, 2900):
        expect(s, seg("A", seq=L + 1 + MSS, n=MSS), at=at * MS)


def test_duplicate_ack_does_not_end_backoff():
    s = established()
    write(s, pattern(MSS))
    drain(s)
    for at in (200, 600):
        expect(s, seg("A", seq=L + 1, n=MSS), at=at * MS)
    send(s, seg("A", ack=L + 1), at=700 * MS)
    expect_nothing(s)
    expect(s, seg("A", seq=L + 1, n=MSS), at=1400 * MS)


def test_ack_of_what_was_sent_before_the_timeout():
    """The original arrived after all: nothing below SND.UNA goes again, sending goes on."""
    s = established()
    data = pattern(3 * MSS)
    write(s, data)
    drain(s)
    expect(s, seg("A", seq=L + 1, n=MSS), at=RTO)
    send(s, seg("A", ack=L + 1 + 3 * MSS), at=RTO + MS)
    write(s, b"next")
    expect(s, seg("A", seq=L + 1 + 3 * MSS, data=b"next"))
    assert s.conn.retransmits == 1


def test_new_data_joins_a_small_segment_sent_again():
    """What goes again is cut anew: up to a full segment from SND.UNA."""
    s = established()
    write(s, b"first")
    drain(s)
    write(s, b"second")
    expect_nothing(s)
    expect(s, seg("A", seq=L + 1, data=b"firstsecond"), at=RTO)


def test_fin_is_sent_again_and_backs_off():
    s = established()
    s.conn.shutdown(s.now)
    expect(s, seg("FA", seq=L + 1), at=0)
    for at in (200, 600, 1400):
        expect(s, seg("FA", seq=L + 1), at=at * MS)
    send(s, seg("A", ack=L + 2), at=1500 * MS)
    assert state(s) == "FIN-WAIT-2"
    expect_nothing(s, 10 * SEC)


def test_big_segment_goes_again_in_small_pieces():
    """After a timeout the loss window holds one segment, however large the frame was."""
    s = established(caps=CAP_TX_CSUM | CAP_TSO4, initial_segments=40)
    data = pattern(20 * MSS)
    write(s, data)
    expect(s, seg("A", gso=MSS, n=20 * MSS))
    expect(s, seg("A", seq=L + 1, data=data[:MSS]), at=RTO)
    expect_nothing(s)
    # Slow start from there: two segments in one frame, then four.
    send(s, seg("A", ack=L + 1 + MSS), at=RTO + MS)
    expect(s, seg("A", seq=L + 1 + MSS, gso=MSS, data=data[MSS : 3 * MSS]))
    send(s, seg("A", ack=L + 1 + 3 * MSS), at=RTO + 2 * MS)
    expect(s, seg("A", seq=L + 1 + 3 * MSS, gso=MSS, data=data[3 * MSS : 7 * MSS]))


def test_acknowledgment_inside_a_big_segment():
    """The device cut it, the peer has a part that ends anywhere."""
    s = established(caps=CAP_TX_CSUM | CAP_TSO4, initial_segments=40)
    data = pattern(10 * MSS)
    write(s, data)
    drain(s)
    send(s, seg("A", ack=L + 1 + 3 * MSS + 7), at=MS)
    o = expect(s, seg("A", seq=L + 1 + 3 * MSS + 7, n=MSS), within=SEC)
    assert o.data == data[3 * MSS + 7 : 4 * MSS + 7]


def test_device_that_takes_nothing_is_no_loss():
    """A retransmission that the device refuses is offered again, and counted once."""
    s = established()
    write(s, b"x")
    drain(s)
    s.full = True
    s.advance(250 * MS)
    assert not s.out
    s.full = False
    expect(s, seg("A", seq=L + 1, data=b"x"), within=2 * MS)
    assert s.conn.retransmits == 1


# -- R1 and R2


def test_data_is_given_up_at_r2():
    """MUST-20, SHLD-11: five minutes from the last progress; the expiry after is at 342.2 s."""
    s = established()
    write(s, b"x")
    drain(s)
    s.advance(342200 * MS - 1)
    assert state(s) == "ESTABLISHED" and len(drain(s)) == 12
    s.advance(342200 * MS)
    assert state(s) == "CLOSED" and s.conn.error == ETIMEDOUT
    assert not drain(s)
    s.conn.close(s.now)
    assert_clean(s)


def test_user_timeout_is_r2():
    """RFC 9293 3.9.1.1: a shorter one can be asked for."""
    s = established()
    s.conn.user_timeout_us = 3 * SEC
    write(s, b"x")
    drain(s)
    s.advance(2999 * MS)
    assert state(s) == "ESTABLISHED"
    s.advance(3000 * MS)  # .2, .6, 1.4, 3.0
    assert state(s) == "CLOSED" and s.conn.error == ETIMEDOUT


def test_progress_moves_r2():
    s = established()
    s.conn.user_timeout_us = 3 * SEC
    write(s, pattern(2 * MSS))
    drain(s)
    send(s, seg("A", ack=L + 1 + MSS), at=2900 * MS)
    s.advance(5500 * MS)
    assert state(s) == "ESTABLISHED"
    s.advance(9 * SEC)
    assert state(s) == "CLOSED"


def test_a_quiet_time_before_does_not_count():
    """R2 runs from when the data was sent, not from the last acknowledgment before."""
    s = established()
    s.conn.user_timeout_us = 3 * SEC
    s.advance(100 * SEC)
    write(s, b"x")
    drain(s)
    expect(s, seg("A", data=b"x"), at=100200 * MS)
    assert state(s) == "ESTABLISHED"


def test_syn_is_given_up_after_three_minutes():
    """MUST-23: "at least 3 minutes"; the connection fails with ETIMEDOUT."""
    s = syn_sent()
    for at in (1, 3, 7, 15, 31, 63, 123):
        expect(s, seg("S", seq=L), at=at * SEC)
    s.advance(183 * SEC - 1)
    assert state(s) == "SYN-SENT"
    s.advance(183 * SEC)
    assert state(s) == "CLOSED" and s.conn.error == ETIMEDOUT
    s.conn.close(s.now)
    assert_clean(s)


def test_syn_and_unreachable_is_given_up_at_r1():
    """RFC 9293 3.9.2.2: soft; three retransmissions later that is the answer."""
    s = syn_sent()
    s.conn.on_error(EHOSTUNREACH, L, s.now)
    for at in (1, 3, 7):
        expect(s, seg("S", seq=L), at=at * SEC)
    s.advance(15 * SEC - 1)
    assert state(s) == "SYN-SENT"
    s.advance(15 * SEC)
    assert state(s) == "CLOSED" and s.conn.error == EHOSTUNREACH


def test_r2_in_the_closing_states():
    """A FIN that nobody answers does not keep the entry."""
    for make in (last_ack, close_wait):
        s = make()
        s.conn.close(s.now)
        s.advance(400 * SEC)
        assert state(s) == "CLOSED"
        drain(s)
        assert_clean(s)
