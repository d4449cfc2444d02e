"""RACK-TLP (RFC 8985), PRR (RFC 6937), and episodes that were a mistake (RFC 3522, 5682, 2883)."""

from stack.transport.tcp.block import BACKOFF, DUPACKS, SND_MAX, SND_NXT, SND_UNA, TLP_AT, TS_OFF
from tests.unit.transport.tcp.harness import (
    MS,
    MSS,
    RTO,
    SEC,
    L,
    R,
    T,
    drain,
    expect,
    expect_nothing,
    full,
    pattern,
    seg,
    send,
    unmeasured,
    write,
)

ISN = L + 1
RTT = 20 * MS
NEVER = 1 << 60


def _flight(segments, queue=0, ts=False, **options):
    """`segments` segments left at 0 on a path of 20 ms; `queue` bytes wait behind cwnd."""
    options.setdefault("congestion", "newreno")
    s = full(ts=ts, initial_segments=segments, **options)
    c = s.conn
    unmeasured(c)
    c.rtt.sample(RTT)
    s.mss = c.mss
    s.data = pattern(segments * s.mss + queue)
    assert write(s, s.data) == len(s.data)
    assert sum(len(o.data) for o in drain(s)) == segments * s.mss
    return s


def _at(s, i):
    return ISN + i * s.mss


def _ack(s, una, *blocks, **more):
    sack = [(_at(s, a), _at(s, b)) for a, b in blocks]
    send(s, seg("A", ack=_at(s, una), sack=sack or None, ts=more.pop("ts", None)), **more)


def _out(s):
    return [(o.seq - ISN) // s.mss for o in drain(s) if o.data]


def _when(s, until):
    """Let time pass to `until`: [(ms, segment)] of what leaves."""
    s.advance(until)
    return [(o.at // MS, (o.seq - ISN) // s.mss) for o in drain(s) if o.data]


# -- RACK


def test_a_quarter_of_a_round_trip():
    """6.2: a segment that was sent earlier than one that has arrived is lost once RACK.rtt and
    the reordering window (min_RTT / 4) have passed since it left.
    """
    s = _flight(4)
    _ack(s, 0, (1, 2), at=RTT)
    assert _when(s, 60 * MS)[:1] == [(25, 0)]


def test_reordering_within_the_window_costs_nothing():
    s = _flight(4)
    _ack(s, 0, (1, 2), at=RTT)
    _ack(s, 2, at=RTT + 4 * MS)
    _ack(s, 4, at=RTT + 5 * MS)
    assert _when(s, SEC) == [] and s.conn.cc.ssthresh == 1 << 30 and not s.conn.w[DUPACKS]


def test_three_segments_do_not_wait():
    """Step 4: reo_wnd is 0 once DupThresh segments are SACKed and no reordering was seen."""
    s = _flight(6)
    _ack(s, 0, (1, 2), at=RTT)
    _ack(s, 0, (1, 3))
    assert _out(s) == []
    _ack(s, 0, (1, 4))
    assert _out(s) == [0]


def test_reordering_seen_makes_patient():
    """... and a quarter of a round trip for ever after some was."""
    s = _flight(8)
    _ack(s, 0, (1, 2), at=RTT)
    _ack(s, 2)
    assert s.conn.board.reordering
    _ack(s, 2, (3, 8))
    assert _out(s) == []
    assert _when(s, RTT + 20 * MS)[0] == (25, 2)


def test_lost_retransmission_is_found():
    """3.1: what DupThresh cannot see: the second copy is lost as well."""
    s = _flight(10, 10 * MSS)
    _ack(s, 0, (1, 5), at=RTT)
    assert _out(s)[:1] == [0]
    _ack(s, 0, (1, 9))
    sent = _out(s)
    assert sent and min(sent) >= 10
    # What left after the retransmission arrives a round trip later; it does not.
    _ack(s, 0, (1, 11), at=2 * RTT)
    got = _when(s, 2 * RTT + 10 * MS)
    assert [n for _, n in got if n == 0] == [0], got
    assert s.conn.retransmits == 2 and s.conn.w[BACKOFF] == 0


def test_tail_of_a_recovery():
    """Without anything behind it a lost retransmission needs the timer."""
    s = _flight(4)
    _ack(s, 0, (1, 4), at=RTT)
    assert _out(s) == [0]
    got = _when(s, RTT + RTO + MS)
    assert got == [(220, 0)] and s.conn.recovering == 2


def test_timeout_marks_what_is_old():
    """6.3: the first segment, and all that was sent a round trip ago; a fresh one is not."""
    s = _flight(4)
    c = s.conn
    c.w[TLP_AT] = NEVER
    s.advance(150 * MS)
    c.cc.cwnd = 5 * s.mss
    write(s, pattern(s.mss))
    assert _out(s) == [4]
    c.w[TLP_AT] = NEVER
    c.board.rtt = 100 * MS
    assert _when(s, RTO + MS) == [(200, 0)]
    assert c.board.lost == 3 * s.mss  # 1, 2, 3: sent before 100 ms, not yet again


def test_dsack_widens_the_window():
    """Step 4: each round trip with a DSACK adds a quarter, for 16 recoveries."""
    s = _flight(10)
    b = s.conn.board
    _ack(s, 0, (1, 4), at=RTT)
    assert _out(s) == [0]
    send(s, seg("A", ack=_at(s, 4), sack=[(_at(s, 0), _at(s, 1))]), at=RTT + 2 * MS)
    assert b.reo_mult == 2 and b.reo_persist == 16
    for _ in range(3):  # the same round: once
        send(s, seg("A", ack=_at(s, 4), sack=[(_at(s, 0), _at(s, 1))]))
    assert b.reo_mult == 2
    from stack.transport.tcp import rack

    for _ in range(16):
        rack.recovered(b)
    assert b.reo_mult == 1


# -- tail loss probes


def test_probe_sends_the_last_segment():
    """7: after PTO = 2 * SRTT (and the scheduler's 10 ms) the last segment goes again."""
    s = _flight(4)
    assert _when(s, 60 * MS) == [(50, 3)]
    assert s.conn.board.tlp_retx and s.conn.cc.cwnd == 4 * s.mss
    # Its SACK shows the hole, a round trip later instead of a timeout.
    _ack(s, 0, (3, 4), at=70 * MS)
    assert _out(s) == [0] and s.conn.board.lost == 2 * s.mss
    _ack(s, 1, (3, 4), at=90 * MS)
    assert _out(s) == [1, 2]
    assert s.conn.w[BACKOFF] == 0


def test_probe_prefers_new_data():
    """7.3: "If new previously unsent data ... and the peer's window allows: transmit it"."""
    s = _flight(4, 2 * MSS)
    assert _when(s, 60 * MS) == [(50, 4)] and not s.conn.board.tlp_retx
    _ack(s, 5, at=70 * MS)
    assert s.conn.board.tlp_end < 0 and s.conn.cc.ssthresh == 1 << 30


def test_lone_segment_waits_for_the_delayed_ack():
    """7.2: + max_ack_delay with one segment out, no later than the RTO."""
    s = _flight(1)
    assert _when(s, RTO + MS) == [(200, 0)]
    assert not s.conn.recovering, "a probe, not a timeout"


def test_one_probe_only():
    """7.3: "at most one ... outstanding"; then the timer, counted from the probe."""
    s = _flight(4)
    assert _when(s, 300 * MS)[:2] == [(50, 3), (250, 0)]
    assert s.conn.recovering == 2


def test_no_probe_while_something_is_missing():
    s = _flight(4)
    _ack(s, 0, (2, 3), at=RTT)
    assert all(n != 3 for _, n in _when(s, 100 * MS))


def test_probe_that_repaired_costs():
    """7.4.2: an ACK beyond the probe without DSACK: it repaired a loss, one reduction."""
    s = _flight(4)
    assert _when(s, 60 * MS) == [(50, 3)]
    _ack(s, 4, at=70 * MS)
    assert s.conn.cc.ssthresh == 1 << 30
    write(s, pattern(s.mss))
    assert _out(s) == [4]
    _ack(s, 5, at=90 * MS)
    assert s.conn.cc.ssthresh == 2 * s.mss and s.conn.board.tlp_end < 0 and not s.conn.w[DUPACKS]


def test_probe_that_was_a_duplicate_costs_nothing():
    for how in ("dsack", "second ack"):
        s = _flight(4)
        assert _when(s, 60 * MS) == [(50, 3)]
        _ack(s, 4, at=65 * MS)
        if how == "dsack":
            send(s, seg("A", ack=_at(s, 4), sack=[(_at(s, 3), _at(s, 4))]), at=70 * MS)
        else:
            _ack(s, 4, at=70 * MS)
        assert s.conn.board.tlp_end < 0, how
        write(s, pattern(s.mss))
        drain(s)
        _ack(s, 5, at=90 * MS)
        assert s.conn.cc.ssthresh == 1 << 30, how


def test_no_probe_into_a_shut_window():
    s = _flight(2)
    send(s, seg("A", ack=_at(s, 0), wnd=0), at=MS)
    assert all(n == 0 for _, n in _when(s, 100 * MS))


# -- PRR


def test_prr_spreads_the_reduction():
    """6937 3.1: of 20 out with ssthresh 10, every second delivery lets one segment out."""
    s = _flight(20, 24 * MSS)
    sent = []
    for k in range(1, 20):
        _ack(s, 0, (1, 1 + k), at=RTT + k * 100)
        sent.append(len(_out(s)))
    # Two by limited transmit while nothing counts as lost, then the hole, then half.
    assert sent[:3] == [1, 1, 1], sent
    assert 7 <= sum(sent[3:]) <= 9 and max(sent[3:]) == 1, sent
    c = s.conn
    pipe = (c.w[SND_NXT] - c.w[SND_UNA]) - c.board.sacked - c.board.lost
    assert abs(pipe - c.cc.ssthresh) <= 2 * s.mss
    high = (c.w[SND_MAX] - ISN) // s.mss
    _ack(s, high, at=2 * RTT)
    assert c.cc.cwnd == c.cc.ssthresh == 10 * s.mss and not c.recovering


def test_prr_after_heavy_loss():
    """Below ssthresh: "slow start reduction bound": at most what was delivered, and one."""
    s = _flight(20, 24 * MSS)
    _ack(s, 0, (17, 20), at=RTT)
    n = len(_out(s))
    assert 1 <= n <= 3, n
    lost = s.conn.board.lost
    assert lost >= 14 * s.mss
    for k in range(n):
        _ack(s, k + 1, (17, 20), at=2 * RTT + k * MS)
        assert 1 <= len(_out(s)) <= 2


def test_first_retransmission_goes_whatever_the_window():
    s = _flight(4)
    s.conn.cc.cwnd = s.mss
    _ack(s, 0, (1, 4), at=RTT)
    assert _out(s) == [0]


# -- mistakes


def test_eifel():
    """RFC 3522: the ACK's echo is older than the retransmission: the first copy had arrived."""
    s = _flight(10, ts=True)
    c = s.conn
    stamp = (s.now // 1000 + c.w[TS_OFF]) & 0xFFFFFFFF
    c.cc.cwnd = 12 * s.mss
    _ack(s, 0, (1, 5), at=RTT, ts=(T + 20, stamp))
    assert _out(s) == [0] and c.recovering and c.cc.ssthresh == 5 * s.mss
    _ack(s, 6, at=RTT + 3 * MS, ts=(T + 23, stamp))
    assert not c.recovering and c.cc.cwnd >= 12 * s.mss and c.cc.ssthresh == 1 << 30
    assert s.stats.counts["tcp.spurious"] == 1


def test_eifel_genuine():
    s = _flight(10, ts=True)
    c = s.conn
    stamp = (s.now // 1000 + c.w[TS_OFF]) & 0xFFFFFFFF
    _ack(s, 0, (1, 5), at=RTT, ts=(T + 20, stamp))
    assert _out(s) == [0]
    _ack(s, 6, at=2 * RTT, ts=(T + 40, stamp + 20))
    assert c.recovering and c.cc.ssthresh == 5 * s.mss and "tcp.spurious" not in s.stats.counts


def test_spurious_timeout_with_timestamps():
    """RFC 4015: a delay of 300 ms: the late ACKs answer the first copies, all is as before."""
    s = _flight(10, ts=True)
    c = s.conn
    c.w[TLP_AT] = NEVER
    stamp = (s.now // 1000 + c.w[TS_OFF]) & 0xFFFFFFFF
    assert _when(s, 250 * MS) == [(200, 0)] and c.recovering == 2 and c.w[BACKOFF] == 1
    _ack(s, 2, at=300 * MS, ts=(T + 300, stamp))
    assert not c.recovering and not c.w[BACKOFF] and c.cc.cwnd >= 10 * s.mss
    assert not c.board.lost and _out(s) == []


def test_f_rto_without_timestamps():
    """RFC 5682 3.1: after the timeout data is acknowledged that was not sent again."""
    s = _flight(10)
    c = s.conn
    c.w[TLP_AT] = NEVER
    assert _when(s, 250 * MS) == [(200, 0)] and c.recovering == 2
    _ack(s, 2, at=300 * MS)
    assert not c.recovering and c.cc.cwnd >= 10 * s.mss and not c.board.lost


def test_real_timeout():
    """Only the retransmission is acknowledged: slow start, everything goes again."""
    for ts in (False, True):
        s = _flight(10, ts=ts)
        c = s.conn
        c.w[TLP_AT] = NEVER
        assert _when(s, 201 * MS) == [(200, 0)]
        echo = (s.now // 1000 + c.w[TS_OFF]) & 0xFFFFFFFF
        _ack(s, 1, at=221 * MS, ts=(T + 221, echo) if ts else None)
        assert c.recovering == 2 and _out(s) == [1, 2]
        _ack(s, 3, at=241 * MS, ts=(T + 241, echo + 20) if ts else None)
        assert _out(s) == [3, 4, 5, 6] and c.recovering == 2
        _ack(s, 7, at=261 * MS, ts=(T + 261, echo + 40) if ts else None)
        assert _out(s) == [7, 8, 9]
        _ack(s, 10, at=281 * MS, ts=(T + 281, echo + 60) if ts else None)
        assert not c.recovering and c.cc.ssthresh == 5 * s.mss


def test_all_was_duplicate():
    """RFC 3708: each retransmission of the episode is reported by DSACK: undone."""
    s = _flight(10)
    c = s.conn
    _ack(s, 0, (1, 4), at=RTT)
    assert _out(s) == [0]
    before = c.cc.ssthresh
    send(s, seg("A", ack=_at(s, 4), sack=[(_at(s, 0), _at(s, 1))]), at=RTT + 5 * MS)
    assert before == 5 * s.mss and c.cc.ssthresh == 1 << 30 and not c.recovering


def test_half_was_duplicate():
    s = _flight(10)
    _ack(s, 0, (2, 6), at=RTT)
    assert _out(s) == [0]
    _ack(s, 0, (2, 8))
    assert 1 in _out(s)
    send(s, seg("A", ack=_at(s, 8), sack=[(_at(s, 0), _at(s, 1))]), at=RTT + 5 * MS)
    assert s.conn.cc.ssthresh == 5 * s.mss


def test_probe_after_progress():
    """Once all is well a new tail has its probe again."""
    s = _flight(4)
    assert _when(s, 60 * MS) == [(50, 3)]
    send(s, seg("A", ack=_at(s, 4), sack=[(_at(s, 3), _at(s, 4))]), at=70 * MS)
    write(s, pattern(2 * s.mss))
    assert _out(s) == [4, 5]
    expect(s, seg("A", seq=_at(s, 5), n=s.mss), within=SEC)
    assert s.now < 10 * SEC + 70 * MS + RTO
    expect_nothing(s)
    assert R
