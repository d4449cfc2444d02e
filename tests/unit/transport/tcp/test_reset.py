"""Resets and blind attacks: RFC 9293 3.5.2, 3.10.7.4; RFC 5961."""

from stack.core.errors import ECONNRESET, POLLERR, POLLHUP
from tests.unit.transport.tcp.harness import (
    MS,
    SEC,
    SYNCHRONIZED,
    L,
    R,
    Script,
    assert_clean,
    close_wait,
    drain,
    established,
    expect,
    expect_nothing,
    read,
    seg,
    send,
    state,
    write,
)

# RCV.NXT, SND.NXT of each constructor's connection, beyond R and L.
_RCV = {"ESTABLISHED": 1, "CLOSE-WAIT": 2, "FIN-WAIT-1": 1, "FIN-WAIT-2": 1, "CLOSING": 2,
        "LAST-ACK": 2}
_SND = {"ESTABLISHED": 1, "CLOSE-WAIT": 1, "FIN-WAIT-1": 2, "FIN-WAIT-2": 2, "CLOSING": 2,
        "LAST-ACK": 2}
_STATES = tuple(x for x in SYNCHRONIZED if x[0] != "TIME-WAIT")


def test_reset_by_the_exact_number():
    for why, make in _STATES:
        s = make()
        send(s, seg("R", seq=R + _RCV[why]))
        expect_nothing(s)
        assert state(s) == "CLOSED", why
        # In CLOSING and LAST-ACK both sides have said all: no error.
        want = 0 if why in ("CLOSING", "LAST-ACK") else ECONNRESET
        assert s.conn.error == want, (why, s.conn.error)
        s.conn.close(s.now)
        assert_clean(s)


def test_reset_elsewhere_in_the_window_is_challenged():
    """RFC 5961 3.2."""
    for why, make in _STATES:
        s = make()
        send(s, seg("R", seq=R + _RCV[why] + 1000))
        expect(s, seg("A", seq=L + _SND[why], ack=R + _RCV[why]))
        assert state(s) == why


def test_reset_outside_the_window_is_dropped():
    for why, make in _STATES:
        for seq in (R + _RCV[why] - 1, R + 200000, R - 1000):
            s = make()
            send(s, seg("R", seq=seq))
            expect_nothing(s)
            assert state(s) == why and s.stats.dropped("tcp.outside_window") == 1


def test_syn_in_a_synchronized_state_is_challenged():
    """RFC 5961 4.2, whatever its number."""
    for why, make in _STATES:
        for seq in (R, R + _RCV[why], R + 5000, R - 5000, R + (1 << 30)):
            s = make()
            send(s, seg("S", seq=seq))
            expect(s, seg("A", seq=L + _SND[why], ack=R + _RCV[why]))
            assert state(s) == why


def test_syn_ack_in_established_is_challenged():
    s = established()
    send(s, seg("SA", seq=R, ack=L + 1))
    expect(s, seg("A", seq=L + 1, ack=R + 1))


def test_peer_that_rebooted():
    """Its SYN is challenged; its RST at our number ends the connection."""
    s = established()
    send(s, seg("S", seq=R + 777777))
    expect(s, seg("A", seq=L + 1, ack=R + 1))
    send(s, seg("R", seq=R + 1))
    assert state(s) == "CLOSED" and s.conn.error == ECONNRESET


def test_ack_of_the_future_is_challenged():
    """RFC 9293: "If the ACK acks something not yet sent, then send an ACK, drop the segment"."""
    for why, make in _STATES:
        s = make()
        send(s, seg("A", seq=R + _RCV[why], ack=L + _SND[why] + 1, data=b"evil"))
        expect(s, seg("A", seq=L + _SND[why], ack=R + _RCV[why]))
        assert s.conn.recv_len() == 0


def test_ack_far_in_the_past_is_challenged():
    """RFC 5961 5.2: SND.UNA - MAX.SND.WND =< SEG.ACK."""
    s = established(wnd=1000)
    send(s, seg("A", seq=R + 1, ack=L + 1 - 1000, data=b"ok"))
    assert read(s) == b"ok"
    drain(s)
    send(s, seg("A", seq=R + 3, ack=L + 1 - 1001, data=b"evil"))
    expect(s, seg("A", ack=R + 3))
    assert s.conn.recv_len() == 0


def test_challenges_are_limited():
    """RFC 5961 7: ten in five seconds, by connection."""
    s = established()
    for i in range(30):
        send(s, seg("S", seq=R + i))
    assert len(drain(s)) == 10
    assert s.stats.dropped("tcp.challenge_limit") == 20
    send(s, seg("S", seq=R), at=6 * SEC)
    expect(s, seg("A"))


def test_unacceptable_segments():
    """RFC 9293 3.4 table 6, against a window of 65,504 from R + 1."""
    w = 65535
    for why, seq, data, fin, answered in (
        ("old empty", R, b"", False, True),
        ("old data", R - 10, b"x" * 5, False, True),
        ("ends before the window", R - 4, b"x" * 5, False, True),
        ("empty beyond the edge", R + 2 + w, b"", False, True),
        ("data beyond", R + 1 + w, b"x", False, True),
        ("FIN beyond", R + 1 + w, b"", True, True),
        ("far away", R + (1 << 31), b"x", False, True),
    ):
        s = established()
        send(s, seg("FA" if fin else "A", seq=seq, ack=L + 1, data=data))
        assert answered
        expect(s, seg("A", seq=L + 1, ack=R + 1))
        assert state(s) == "ESTABLISHED" and s.conn.recv_len() == 0, why


def test_acceptable_at_the_edges():
    for why, seq, data, want in (
        ("overlap in front", R - 2, b"xxxab", b"ab"),
        ("exactly next", R + 1, b"ab", b"ab"),
    ):
        s = established()
        send(s, seg("A", seq=seq, ack=L + 1, data=data))
        assert read(s) == want, why


def test_segment_without_ack_is_dropped():
    for why, make in _STATES:
        s = make()
        send(s, seg("P", seq=R + _RCV[why], data=b"x"))
        expect_nothing(s)
        assert s.conn.recv_len() == 0 and state(s) == why


def test_reset_keeps_what_was_received():
    s = established()
    send(s, seg("A", seq=R + 1, ack=L + 1, data=b"kept"))
    write(s, b"lost")
    drain(s)
    send(s, seg("R", seq=R + 5))
    assert s.conn.error == ECONNRESET and s.conn.events() & (POLLERR | POLLHUP)
    assert read(s) == b"kept"
    try:
        s.conn.send(b"x", 0, 1, s.now)
        raise AssertionError("sent")
    except OSError as e:
        assert e.args[0] == ECONNRESET
    s.conn.close(s.now)
    assert_clean(s)


def test_reset_with_zero_window():
    """MUST-66."""
    s = established(rcv_max=4096)
    send(s, seg("A", seq=R + 1, ack=L + 1, data=b"x" * 1400))
    send(s, seg("A", seq=R + 1401, ack=L + 1, data=b"x" * 1400))
    send(s, seg("A", seq=R + 2801, ack=L + 1, data=b"x" * 1296))
    drain(s)
    send(s, seg("R", seq=R + 4097))
    assert state(s) == "CLOSED"


def test_reset_in_close_wait_with_data_out():
    s = close_wait()
    write(s, b"answer")
    drain(s)
    send(s, seg("R", seq=R + 2))
    assert s.conn.error == ECONNRESET


def test_reset_for_a_closed_connection():
    s = established()
    s.conn.abort(s.now)
    expect(s, seg("RA"))
    send(s, seg("A", seq=R + 1, ack=L + 1, data=b"x"))
    expect(s, seg("R", seq=L + 1))


def test_keepalive_probe_of_the_peer_is_answered():
    s = established()
    send(s, seg("A", seq=R, ack=L + 1))
    expect(s, seg("A", seq=L + 1, ack=R + 1))


def test_reset_reply_never_answers_a_reset():
    s = Script()
    send(s, seg("RA", seq=1, ack=2))
    expect_nothing(s, 100 * MS)
