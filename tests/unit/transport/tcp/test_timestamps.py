"""Timestamps: RFC 7323 3 (the option), 4 (round trips), 5 (PAWS), and what they cost."""

from stack.transport.tcp.block import SND_UNA, SRTT_US, TLP_AT, TS_OFF, TS_ON, TS_RECENT
from tests.unit.transport.tcp.harness import (
    DELACK,
    MS,
    MSS,
    SEC,
    L,
    R,
    T,
    accepted,
    closing,
    drain,
    established,
    expect,
    expect_nothing,
    fin_wait_2,
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


def _clock(s):
    """Our TSval now."""
    return (s.now // 1000 + s.conn.w[TS_OFF]) & 0xFFFFFFFF


# -- 3.2: negotiation


def test_syn_offers():
    """"A TCP MAY send the TSopt in an initial <SYN>"; TSecr is zero without an ACK."""
    from stack.transport.tcp.options import stamp_now

    s = syn_sent()
    s.conn.fail(0, s.now, "again")
    c = s.tcp.connect(0x0A000001, 40001, s.now, 0, 81)
    o = expect(s, seg("S", seq=L))
    assert o.ts == (stamp_now(c.w[TS_OFF], s.now), 0) and o.sack_ok and o.wscale is not None
    s = syn_sent(timestamps=False)
    s.tcp.connect(0x0A000001, 40001, s.now, 0, 81)
    assert expect(s, seg("S")).ts is None


def test_answer_has_what_was_offered():
    """"MAY send a TSopt in <SYN,ACK> only if it received a TSopt in the initial <SYN>"."""
    for ts in (None, (T, 0)):
        s = listening()
        send(s, seg("S", seq=R, mss=MSS, ts=ts))
        o = expect(s, seg("SA", seq=L, ack=R + 1))
        assert (o.ts is None) == (ts is None)
        if ts:
            assert o.ts[1] == T


def test_all_segments_have_it():
    """"Once TSopt has been successfully negotiated ... the TSopt MUST be sent in every
    non-<RST> segment".
    """
    s = full()
    assert s.conn.mss == MSS - 12
    write(s, pattern(MSS))
    assert expect(s, seg("A", n=MSS - 12)).ts == (_clock(s), T)
    assert expect(s, seg("A", n=12)).ts == (_clock(s), T)
    send(s, seg("A", ack=ISN + MSS, data=b"abc"), at=5 * MS)
    assert expect(s, seg("A", ack=IRS + 3), at=5 * MS + DELACK).ts == (_clock(s), T + 5)
    read(s)
    s.conn.close(s.now)
    s.tcp.flush(s.now)
    assert expect(s, seg("FA", seq=ISN + MSS)).ts == (_clock(s), T + 5)


def test_none_without_agreement():
    s = established()
    write(s, b"x")
    assert expect(s, seg("A", data=b"x")).ts is None and s.conn.mss == MSS


def test_without_it_a_segment_is_dropped():
    """"If a non-<RST> segment is received without a TSopt, a TCP SHOULD silently drop"."""
    s = full()
    s.peer_ts = None
    send(s, seg("A", data=b"lost"))
    expect_nothing(s, SEC)
    assert s.stats.drops["tcp.no_timestamp"] == 1 and s.conn.recv_len() == 0
    send(s, seg("R", seq=IRS, ack=0))
    assert s.states[-1] == "CLOSED"


def test_passive_side():
    s = listening()
    s.peer_ts = T
    send(s, seg("S", seq=R, mss=MSS, wscale=7, sack_ok=True, ts=(T, 0)))
    o = expect(s, seg("SA"))
    s.seen_ts = o.ts[0]
    send(s, seg("A", ts=(T + 1, o.ts[0])))
    c = s.conn = s.listener.accept()
    assert c.w[TS_ON] and c.sack_ok and c.mss == MSS - 12
    write(s, b"hello")
    assert expect(s, seg("A", data=b"hello")).ts == (_clock(s), T + 1)


def test_half_open_checks_them():
    s = listening()
    send(s, seg("S", seq=R, mss=MSS, ts=(T, 0)))
    drain(s)
    send(s, seg("A"))
    assert s.stats.drops["tcp.no_timestamp"] == 1 and s.listener.accept() is None
    send(s, seg("A", ts=(T - 1, 0)))
    assert s.stats.drops["tcp.paws"] == 1 and s.listener.accept() is None
    expect(s, seg("A", seq=L + 1, ack=R + 1))
    send(s, seg("A", ts=(T, 0)))
    assert s.listener.accept() is not None


# -- 4.3: which TSval is echoed


def test_delayed_ack_echoes_the_first():
    """4.3: "Delayed ACKs: ... the TSval of the earliest unacknowledged segment" is echoed."""
    s = full()
    send(s, seg("A", seq=IRS, data=b"a", ts=(T + 1, 0)))
    send(s, seg("A", seq=IRS + 1, data=b"b", ts=(T + 2, 0)))
    assert expect(s, seg("A", ack=IRS + 2), at=DELACK).ts[1] == T + 1
    send(s, seg("A", seq=IRS + 2, data=b"c", ts=(T + 50, 0)))
    assert expect(s, seg("A", ack=IRS + 3), at=2 * DELACK).ts[1] == T + 50


def test_a_hole_keeps_the_last_in_order():
    """"A hole in the sequence space: the TSval from the last segment that advanced the
    window"; when the hole is filled, that segment's.
    """
    s = full()
    send(s, seg("A", seq=IRS, data=b"aa", ts=(T + 1, 0)))
    expect(s, seg("A", ack=IRS + 2), at=DELACK)
    send(s, seg("A", seq=IRS + 4, data=b"cc", ts=(T + 60, 0)))
    assert expect(s, seg("A", ack=IRS + 2)).ts[1] == T + 1
    send(s, seg("A", seq=IRS + 2, data=b"bb", ts=(T + 55, 0)))
    assert expect(s, seg("A", ack=IRS + 6)).ts[1] == T + 55


# -- 5: PAWS


def test_old_segments_are_refused():
    """5.3 R1: dropped and answered; nothing of them is taken, not the ACK field either."""
    s = full()
    send(s, seg("A", data=b"new", ts=(T + 1000, 0)), at=MS)
    assert read(s) == b"new"
    drain(s)
    send(s, seg("A", seq=IRS + 3, data=b"old", ts=(T + 999, 0)))
    expect(s, seg("A", ack=IRS + 3))
    assert s.stats.drops["tcp.paws"] == 1 and not s.conn.recv_len()
    send(s, seg("A", seq=IRS + 3, data=b"eq", ts=(T + 1000, 0)))
    assert read(s) == b"eq"


def test_old_ack_is_refused():
    s = full()
    write(s, b"abc")
    drain(s)
    s.conn.w[TS_RECENT] = T + 500
    send(s, seg("A", ack=ISN + 3, ts=(T + 499, 0)))
    assert s.conn.w[SND_UNA] == ISN and s.stats.drops["tcp.paws"] == 1


def test_reset_is_not_subject_to_it():
    """"and if the RST bit is not set"."""
    s = full()
    s.conn.w[TS_RECENT] = T + 500
    send(s, seg("R", seq=IRS, ts=(T, 0)))
    assert s.states[-1] == "CLOSED"


def test_clock_wraps():
    s = full()
    s.conn.w[TS_RECENT] = 0xFFFFFFF0
    send(s, seg("A", data=b"a", ts=(5, 0)))
    assert read(s) == b"a" and s.conn.w[TS_RECENT] == 5


def test_after_24_days_the_last_is_forgotten():
    """5.5: an idle connection outlives half the numbers: any TSval is as good."""
    s = full()
    s.now += 24 * 86400 * SEC + SEC
    send(s, seg("A", data=b"a", ts=(T - 5, 0)))
    assert read(s) == b"a" and s.conn.w[TS_RECENT] == T - 5
    send(s, seg("A", seq=IRS + 1, data=b"b", ts=(T - 6, 0)))
    assert not read(s)


def test_header_prediction_heeds_paws():
    s = full()
    for i in range(10):
        send(s, seg("A", seq=IRS + i, data=b"x", ts=(T + i, 0)))
    assert s.conn.recv_len() == 10
    send(s, seg("A", seq=IRS + 10, data=b"x", ts=(T - 1, 0)))
    assert s.conn.recv_len() == 10


# -- 4: round trips


def test_a_retransmission_is_measured():
    """RTTM: Karn's ambiguity is none where the echo names the copy."""
    s = full()
    write(s, b"abc")
    drain(s)
    c = s.conn
    c.w[TLP_AT] = 1 << 60
    s.advance(300 * MS)
    assert [o.data for o in drain(s)] == [b"abc"]
    srtt = c.w[SRTT_US]
    send(s, seg("A", ack=ISN + 3, ts=(T + 330, _clock(s) - 2)), at=330 * MS)
    assert c.w[SRTT_US] == (7 * srtt + 32 * MS) // 8


def test_not_measured_without():
    s = established()
    write(s, b"abc")
    drain(s)
    s.advance(300 * MS)
    srtt = s.conn.w[SRTT_US]
    send(s, seg("A", ack=ISN + 3), at=330 * MS)
    assert s.conn.w[SRTT_US] == srtt


# -- RFC 6191: TIME-WAIT with timestamps


def _time_wait(ts):
    s = fin_wait_2()
    s.conn.w[TS_ON] = ts
    s.conn.w[TS_RECENT] = T
    send(s, seg("FA", seq=R + 1, ack=L + 2, ts=(T, 0) if ts else None))
    drain(s)
    s.conn = None
    s.tcp.listen(0, 80, 4, s.now, True)
    return s


def test_time_wait_reuse():
    """2: a larger timestamp opens even with a smaller number; where it is equal the number
    decides; a smaller one never.
    """
    for why, seq, ts, opens in (
        ("larger", R - 5000, T + 1, True),
        ("equal, number larger", R + 5000, T, True),
        ("equal, number smaller", R - 5000, T, False),
        ("smaller", R + 5000, T - 1, False),
        ("none, number larger", R + 5000, None, True),
        ("none, number smaller", R - 5000, None, False),
    ):
        s = _time_wait(True)
        send(s, seg("S", seq=seq, mss=MSS, ts=(ts, 0) if ts else None))
        o = drain(s)
        assert ("S" in o[0].flags) == opens, (why, o)
        if not opens:
            assert o[0].ts == (o[0].ts[0], T)


def test_accepted_and_closing_keep_working():
    """Peers without the option are served as ever."""
    for make in (accepted, closing):
        assert not make().conn.w[TS_ON]
