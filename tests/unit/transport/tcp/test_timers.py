"""The other timers: delayed ACK, window probes, keepalive, the end of orphans, TIME-WAIT."""

from stack.core.errors import EHOSTUNREACH, ETIMEDOUT
from stack.core.timers import NEVER
from stack.transport.tcp.block import DELACK_AT, RTO_US
from stack.transport.tcp.timer import KEEPCNT, KEEPIDLE_US, KEEPINTVL_US
from stack.transport.tcp.timewait import TIME_WAIT_US
from tests.unit.transport.tcp.harness import (
    DELACK,
    MS,
    MSS,
    PEER,
    PEER_PORT,
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
    fin_wait_1,
    fin_wait_2,
    pattern,
    read,
    seg,
    send,
    state,
    time_wait,
    write,
)

# -- delayed acknowledgments: RFC 9293 3.8.6.3, RFC 5681 4.2


def test_delay_runs_from_the_first_octet_owed():
    """Small segments that follow do not push it back."""
    s = established()
    at = 0
    for i in range(4):
        send(s, seg("A", seq=R + 1 + i, data=b"x"), at=at)
        at += 10 * MS
    expect(s, seg("A", ack=R + 5), at=DELACK)
    expect_nothing(s, SEC)


def test_delay_begins_anew():
    s = established()
    send(s, seg("A", seq=R + 1, data=b"x"), at=0)
    expect(s, seg("A", ack=R + 2), at=DELACK)
    send(s, seg("A", seq=R + 2, data=b"y"), at=100 * MS)
    expect(s, seg("A", ack=R + 3), at=100 * MS + DELACK)


def test_delay_ends_with_the_second_full_segment():
    """SHLD-18, MUST-59: and nothing comes when the delay would have been over."""
    s = established()
    for i in range(4):
        send(s, seg("A", seq=R + 1 + 2 * i * MSS, data=pattern(MSS)), at=10 * i * MS)
        expect_nothing(s)
        send(s, seg("A", seq=R + 1 + 2 * i * MSS + MSS, data=pattern(MSS)))
        expect(s, seg("A", ack=R + 1 + 2 * i * MSS + 2 * MSS))
    expect_nothing(s, SEC)


def test_delay_is_cancelled_by_data():
    s = established()
    send(s, seg("A", seq=R + 1, data=b"x"), at=0)
    write(s, b"answer")
    expect(s, seg("A", ack=R + 2, data=b"answer"), at=0)
    assert s.conn.w[DELACK_AT] == NEVER


def test_no_ack_for_an_ack():
    s = established()
    write(s, b"x")
    drain(s)
    send(s, seg("A", ack=L + 2), at=0)
    expect_nothing(s, SEC)


def test_what_is_acknowledged_at_once():
    """Gaps, what fills them, repetitions, the FIN: RFC 5681, 4.2."""
    for why, first, g, ack in (
        ("a gap", None, seg("A", seq=R + 11, data=b"x"), R + 1),
        ("it fills", seg("A", seq=R + 2, data=b"x"), seg("A", seq=R + 1, data=b"x"), R + 3),
        ("again", seg("A", seq=R + 1, data=b"x"), seg("A", seq=R + 1, data=b"x"), R + 2),
        ("a FIN", None, seg("FA", seq=R + 1), R + 2),
        ("data and FIN", None, seg("FA", seq=R + 1, data=b"x"), R + 3),
    ):
        s = established()
        if first is not None:
            send(s, first, at=0)
            drain(s)
        send(s, g)
        assert expect(s, seg("A", ack=ack)).at == s.now - START, why


# -- window probes


def _shut(backlog=3000):
    """A connection whose peer has shut its window over `backlog` bytes still queued, at 0."""
    s = established(wnd=1000)
    write(s, pattern(1000 + backlog))
    drain(s)
    send(s, seg("A", ack=L + 1001, wnd=0), at=0)
    return s


def test_probes_back_off_to_a_minute():
    """SHLD-30: the interval doubles, here from an RTO of 200 ms to at most 60 s."""
    s = _shut()
    at = 0
    gaps = []
    for _ in range(12):
        o = expect(s, seg("A", seq=L + 1001, n=1), within=61 * SEC)
        gaps.append((o.at - at) // MS)
        at = o.at
        send(s, seg("A", ack=L + 1001, wnd=0))
    assert gaps == [200, 400, 800, 1600, 3200, 6400, 12800, 25600, 51200, 60000, 60000, 60000]


def test_probes_change_no_congestion_state():
    s = _shut()
    before = s.conn.cc.cwnd, s.conn.cc.ssthresh, s.conn.w[RTO_US]
    for _ in range(5):
        expect(s, seg("A", n=1), within=61 * SEC)
        send(s, seg("A", ack=L + 1001, wnd=0))
    assert (s.conn.cc.cwnd, s.conn.cc.ssthresh, s.conn.w[RTO_US]) == before
    assert not s.conn.recovering


def test_probe_interval_begins_anew():
    s = _shut()
    for _ in range(4):
        expect(s, seg("A", n=1), within=61 * SEC)
        send(s, seg("A", ack=L + 1001, wnd=0))
    send(s, seg("A", ack=L + 1001, wnd=1000), at=5 * SEC)
    expect(s, seg("A", seq=L + 1001, n=1000))
    send(s, seg("A", ack=L + 2001, wnd=0), at=5001 * MS)
    expect(s, seg("A", seq=L + 2001, n=1), at=5001 * MS + s.conn.w[RTO_US])


def test_no_probe_when_there_is_nothing_to_say():
    s = _shut(0)
    expect_nothing(s, 600 * SEC)
    assert state(s) == "ESTABLISHED"


def test_probes_that_nobody_answers():
    """As long as data that nobody acknowledges: R2."""
    s = _shut()
    s.conn.user_timeout_us = 10 * SEC
    s.advance(9 * SEC)
    assert state(s) == "ESTABLISHED" and drain(s)
    s.advance(30 * SEC)
    assert state(s) == "CLOSED" and s.conn.error == ETIMEDOUT


# -- keepalive: RFC 9293 3.8.4


def _kept(make=established):
    s = make()
    s.conn.keepidle_us = 10 * SEC
    s.conn.keepintvl_us = 2 * SEC
    s.conn.keepcnt = 3
    s.conn.set_keepalive(True)
    return s


def test_keepalive_is_off_by_default():
    """MUST-25; MUST-28: "no less than two hours"."""
    s = established()
    assert not s.conn.keepalive and KEEPIDLE_US == 7200 * SEC
    assert KEEPINTVL_US == 75 * SEC and KEEPCNT == 9
    expect_nothing(s, 10 * 3600 * SEC)
    assert state(s) == "ESTABLISHED"


def test_keepalive_asks():
    """A number that lies before the window, without data: only an ACK can answer."""
    s = _kept()
    expect(s, seg("A", seq=L, ack=R + 1), at=10 * SEC)
    send(s, seg("A"), at=11 * SEC)
    expect(s, seg("A", seq=L), at=21 * SEC)


def test_keepalive_default_time():
    s = established()
    s.conn.set_keepalive(True)
    expect(s, seg("A", seq=L), at=7200 * SEC)
    expect(s, seg("A", seq=L), at=7275 * SEC)


def test_keepalive_gives_up():
    """MUST-26, one unanswered probe is no death (MUST-29); three are, as asked."""
    s = _kept()
    for at in (10, 12, 14):
        expect(s, seg("A", seq=L), at=at * SEC)
    s.advance(16 * SEC - 1)
    assert state(s) == "ESTABLISHED"
    s.advance(16 * SEC)
    assert state(s) == "CLOSED" and s.conn.error == ETIMEDOUT
    s.conn.close(s.now)
    assert_clean(s)


def test_keepalive_says_what_the_network_said():
    s = _kept()
    expect(s, seg("A", seq=L), at=10 * SEC)
    s.conn.on_error(EHOSTUNREACH, L + 1, s.now)
    s.advance(20 * SEC)
    assert state(s) == "CLOSED" and s.conn.error == EHOSTUNREACH


def test_keepalive_counts_from_the_last_segment():
    s = _kept()
    send(s, seg("A", seq=R + 1, data=b"x"), at=6 * SEC)
    read(s)
    s.advance(6 * SEC + DELACK)
    drain(s)
    expect(s, seg("A", seq=L, ack=R + 2), at=16 * SEC)


def test_an_answer_renews_the_probes():
    s = _kept()
    expect(s, seg("A", seq=L), at=10 * SEC)
    expect(s, seg("A", seq=L), at=12 * SEC)
    send(s, seg("A"), at=13 * SEC)
    for at in (23, 25, 27):
        expect(s, seg("A", seq=L), at=at * SEC)
    assert state(s) == "ESTABLISHED"


def test_keepalive_leaves_it_to_retransmission():
    s = _kept()
    s.advance(9900 * MS)
    write(s, b"x")
    drain(s)
    s.advance(13 * SEC)
    assert [o.seq for o in drain(s)] == [L + 1] * 4  # 10.1, 10.5, 11.3, 12.9: no probe
    assert state(s) == "ESTABLISHED"


def test_keepalive_switched_off():
    s = _kept()
    expect(s, seg("A", seq=L), at=10 * SEC)
    s.conn.set_keepalive(False)
    expect_nothing(s, 100 * SEC)
    assert state(s) == "ESTABLISHED"


def test_keepalive_after_the_peers_fin():
    s = _kept(close_wait)
    expect(s, seg("A", seq=L, ack=R + 2), at=10 * SEC)


# -- orphans


def test_orphan_in_fin_wait_2_has_a_minute():
    s = fin_wait_2()
    s.advance(100 * SEC)
    s.conn.close(s.now)
    s.advance(160 * SEC - 1)
    assert state(s) == "FIN-WAIT-2"
    s.advance(160 * SEC)
    assert state(s) == "CLOSED" and not s.conn.error
    assert_clean(s)


def test_orphan_with_keepalive_has_its_minute_too():
    s = _kept(fin_wait_1)
    s.conn.close(s.now)
    send(s, seg("A", ack=L + 2), at=SEC)
    s.advance(50 * SEC)
    assert state(s) == "FIN-WAIT-2"
    s.advance(61 * SEC)
    assert state(s) == "CLOSED"
    drain(s)
    assert_clean(s)


# -- TIME-WAIT


def _expiry(s):
    """The second in which the only entry goes; the clock stands at 30."""
    for at in range(31, 400):
        s.advance(at * SEC)
        if not s.tcp.time_waits.count:
            return at
    return None


def test_time_wait_expires():
    s = time_wait()
    assert TIME_WAIT_US == 60 * SEC
    s.advance(TIME_WAIT_US - 1)
    assert s.tcp.time_waits.count == 1
    s.advance(TIME_WAIT_US)
    assert not s.tcp.time_waits.count and not s.tcp.flows.count
    send(s, seg("A", seq=R + 2, ack=L + 2))
    expect(s, seg("R", seq=L + 2))
    assert_clean(s)


def test_time_wait_is_restarted_by_a_fin():
    """RFC 9293 3.10.7.4: "Acknowledge it, and restart the 2 MSL timeout"."""
    s = time_wait()
    send(s, seg("FA", seq=R + 1, ack=L + 2), at=30 * SEC)
    expect(s, seg("A", seq=L + 2, ack=R + 2))
    s.advance(89 * SEC)
    assert s.tcp.time_waits.count == 1
    s.advance(90 * SEC)
    assert not s.tcp.time_waits.count


def test_time_wait_is_not_restarted_by_less():
    """Nothing but the FIN of that connection can keep the entry alive."""
    for why, g in (
        ("data", seg("A", seq=R + 1, ack=L + 2, data=b"x")),
        ("an old ACK", seg("A", seq=R - 100, ack=L + 2)),
        ("a reset", seg("R", seq=R + 2)),
        ("an old SYN", seg("S", seq=R - 100)),
    ):
        s = time_wait()
        send(s, g, at=30 * SEC)
        drain(s)
        assert _expiry(s) == 60, why


def test_time_wait_is_not_assassinated():
    """RFC 1337: neither a reset nor the answer to an old duplicate ends it."""
    for seq in (R + 2, R + 1, R + 100, R + 100000):
        s = time_wait()
        send(s, seg("R", seq=seq))
        send(s, seg("RA", seq=seq, ack=L + 2))
        expect_nothing(s)
        assert s.tcp.time_waits.count == 1, seq
        assert s.stats.dropped("tcp.rst_in_time_wait") == 2


def test_time_wait_entries_expire_in_order():
    """A restart puts the entry at the end of the queue; the other one keeps its time."""
    s = time_wait()
    s.advance(10 * SEC)
    s.conn = s.tcp.connect(PEER, PEER_PORT, s.now, 0, 4000)
    s.tcp.flush(s.now)
    expect(s, seg("S", seq=L, port=4000))
    send(s, seg("SA", seq=R, ack=L + 1, port=4000))
    s.conn.shutdown(s.now)
    drain(s)
    send(s, seg("FA", seq=R + 1, ack=L + 2, port=4000))
    drain(s)
    assert s.tcp.time_waits.count == 2
    s.conn = None
    send(s, seg("FA", seq=R + 1, ack=L + 2), at=20 * SEC)
    drain(s)
    s.advance(70 * SEC)
    left = [e.info()["local_port"] for e in s.tcp.connections()]
    assert left == [80]
    s.advance(80 * SEC)
    assert not s.tcp.flows.count


def test_time_wait_four_tuple_is_taken():
    """An active open of the same four-tuple has to wait."""
    s = time_wait()
    try:
        s.tcp.connect(PEER, PEER_PORT, s.now, 0, 80)
        raise AssertionError("the four-tuple was free")
    except OSError as e:
        assert e.args[0] == 98
    s.advance(60 * SEC)
    assert s.tcp.connect(PEER, PEER_PORT, s.now, 0, 80) is not None
