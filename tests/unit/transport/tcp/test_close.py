"""Closing: RFC 9293 3.6, figure 5; TIME-WAIT."""

from stack.core.errors import ECONNABORTED, EPIPE, POLLHUP, POLLIN
from stack.transport.tcp.block import SRTT_US
from tests.unit.transport.tcp.harness import (
    DELACK,
    MS,
    MSS,
    RTO,
    SEC,
    STATES,
    L,
    R,
    accepted,
    assert_clean,
    close_wait,
    closing,
    drain,
    established,
    expect,
    expect_nothing,
    fin_wait_1,
    fin_wait_2,
    last_ack,
    pattern,
    read,
    seg,
    send,
    state,
    syn_sent,
    time_wait,
    write,
)


def test_active_close():
    s = established()
    s.conn.shutdown(s.now)
    expect(s, seg("FA", seq=L + 1, ack=R + 1))
    send(s, seg("A", seq=R + 1, ack=L + 2))
    assert state(s) == "FIN-WAIT-2"
    expect_nothing(s, 10 * SEC)
    send(s, seg("FA", seq=R + 1, ack=L + 2))
    expect(s, seg("A", seq=L + 2, ack=R + 2))
    assert s.states[-3:] == ["FIN-WAIT-1", "FIN-WAIT-2", "TIME-WAIT"]
    s.conn.close(s.now)
    s.advance(75 * SEC)
    assert_clean(s)


def test_passive_close():
    s = close_wait()
    assert s.conn.eof() and s.conn.events() & POLLIN
    s.conn.close(s.now)
    expect(s, seg("FA", seq=L + 1, ack=R + 2))
    assert state(s) == "LAST-ACK"
    send(s, seg("A", seq=R + 2, ack=L + 2))
    assert s.states[-3:] == ["CLOSE-WAIT", "LAST-ACK", "CLOSED"] and not s.conn.error
    assert_clean(s)


def test_simultaneous_close():
    """Figure 13."""
    s = fin_wait_1()
    send(s, seg("FA", seq=R + 1, ack=L + 1))
    expect(s, seg("A", seq=L + 2, ack=R + 2))
    assert state(s) == "CLOSING"
    send(s, seg("A", seq=R + 2, ack=L + 2))
    assert s.states[-3:] == ["FIN-WAIT-1", "CLOSING", "TIME-WAIT"]
    s.conn.close(s.now)
    s.advance(75 * SEC)
    assert_clean(s)


def test_fin_acked_by_fin():
    """FIN-WAIT-1 straight to TIME-WAIT."""
    s = fin_wait_1()
    send(s, seg("FA", seq=R + 1, ack=L + 2))
    expect(s, seg("A", seq=L + 2, ack=R + 2))
    assert state(s) == "TIME-WAIT"


def test_half_close_goes_on_reading():
    s = fin_wait_2()
    send(s, seg("PA", seq=R + 1, ack=L + 2, data=b"more"))
    expect(s, seg("A", seq=L + 2, ack=R + 5), at=DELACK)
    assert read(s) == b"more" and not s.conn.eof()


def test_half_close_of_the_peer_goes_on_writing():
    s = close_wait()
    write(s, b"still here")
    expect(s, seg("PA", seq=L + 1, ack=R + 2, data=b"still here"))
    send(s, seg("A", seq=R + 2, ack=L + 11))
    assert state(s) == "CLOSE-WAIT"
    s.conn.close(s.now)
    expect(s, seg("FA", seq=L + 11, ack=R + 2))


def test_fin_rides_on_the_last_data():
    s = established()
    write(s, b"bye", flush=False)
    s.conn.shutdown(s.now)
    s.tcp.flush(s.now)
    expect(s, seg("FPA", seq=L + 1, data=b"bye"))
    send(s, seg("A", seq=R + 1, ack=L + 5))
    assert state(s) == "FIN-WAIT-2"


def test_fin_follows_queued_data():
    s = established()
    write(s, pattern(3 * MSS))
    s.conn.close(s.now)
    assert state(s) == "FIN-WAIT-1"
    for i in range(3):
        expect(s, seg("A", seq=L + 1 + i * MSS, n=MSS))
    expect(s, seg("FA", seq=L + 1 + 3 * MSS))


def test_fin_with_data_received():
    s = established()
    send(s, seg("FPA", seq=R + 1, ack=L + 1, data=b"last"))
    expect(s, seg("A", ack=R + 6))
    assert state(s) == "CLOSE-WAIT" and not s.conn.eof()
    assert read(s) == b"last" and s.conn.eof()


def test_fin_out_of_order():
    s = established()
    send(s, seg("FA", seq=R + 4, ack=L + 1, data=b"def"))
    expect(s, seg("A", ack=R + 1))
    assert state(s) == "ESTABLISHED"
    send(s, seg("A", seq=R + 1, ack=L + 1, data=b"abc"))
    expect(s, seg("A", ack=R + 8))
    assert state(s) == "CLOSE-WAIT" and read(s) == b"abcdef" and s.conn.eof()


def test_bare_fin_out_of_order():
    s = established()
    send(s, seg("FA", seq=R + 4, ack=L + 1))
    expect(s, seg("A", ack=R + 1))
    send(s, seg("A", seq=R + 1, ack=L + 1, data=b"abc"))
    expect(s, seg("A", ack=R + 5))
    assert state(s) == "CLOSE-WAIT" and read(s) == b"abc"


def test_nothing_lies_behind_a_fin():
    s = established()
    send(s, seg("FA", seq=R + 4, ack=L + 1))
    send(s, seg("A", seq=R + 1, ack=L + 1, data=b"abcdef"))
    drain(s)
    assert state(s) == "CLOSE-WAIT" and read(s) == b"abc" and s.conn.eof()


def test_data_after_fin_is_ignored():
    s = close_wait()
    send(s, seg("A", seq=R + 2, ack=L + 1, data=b"ghost"))
    expect(s, seg("A", ack=R + 2))
    assert s.conn.eof() and s.conn.recv_len() == 0


def test_fin_is_sent_again():
    s = fin_wait_1()
    expect(s, seg("FA", seq=L + 1), at=RTO)
    expect(s, seg("FA", seq=L + 1), at=3 * RTO)
    s = last_ack()
    expect(s, seg("FA", seq=L + 1, ack=R + 2), at=RTO)


def test_repeated_fin_is_acknowledged():
    """The peer's FIN again means that our ACK was lost."""
    for why, make in (("CLOSE-WAIT", close_wait), ("CLOSING", closing), ("LAST-ACK", last_ack)):
        s = make()
        send(s, seg("FA", seq=R + 1, ack=L + 1))
        expect(s, seg("A", ack=R + 2))
        assert state(s) == why


def test_lost_fin_with_data_goes_again_together():
    s = established()
    write(s, b"bye", flush=False)
    s.conn.shutdown(s.now)
    s.tcp.flush(s.now)
    expect(s, seg("FA", data=b"bye"))
    expect(s, seg("FA", seq=L + 1, data=b"bye"), at=SEC if not s.conn.w[SRTT_US] else RTO)
    # The peer had the data and lost only the FIN.
    send(s, seg("A", seq=R + 1, ack=L + 4))
    assert state(s) == "FIN-WAIT-1"
    o = expect(s, seg("FA", seq=L + 4), within=2 * SEC)
    assert o.data == b""


def test_closing_ignores_old_ack():
    s = closing()
    send(s, seg("A", seq=R + 2, ack=L + 1))
    assert state(s) == "CLOSING"


def test_close_with_unread_data_resets():
    """SHLD-3 and RFC 2525 2.17."""
    s = established()
    send(s, seg("A", seq=R + 1, ack=L + 1, data=b"unread"))
    s.conn.close(s.now)
    expect(s, seg("RA", seq=L + 1, ack=R + 7))
    assert state(s) == "CLOSED"
    assert_clean(s)


def test_data_after_close_resets():
    for make in (fin_wait_1, fin_wait_2):
        s = make()
        s.conn.close(s.now)
        send(s, seg("A", seq=R + 1, ack=L + 1, data=b"too late"))
        expect(s, seg("RA", seq=L + 2))
        assert state(s) == "CLOSED"
        assert_clean(s)


def test_old_data_after_close_does_not_reset():
    s = established()
    send(s, seg("A", seq=R + 1, ack=L + 1, data=b"abc"))
    read(s)
    s.conn.close(s.now)
    drain(s)
    send(s, seg("A", seq=R + 1, ack=L + 1, data=b"abc"))
    expect(s, seg("A", ack=R + 4))
    assert state(s) == "FIN-WAIT-1"


def test_orphan_in_fin_wait_2_ends():
    s = fin_wait_2()
    s.conn.close(s.now)
    expect_nothing(s, 61 * SEC)
    assert state(s) == "CLOSED"
    assert_clean(s)


def test_close_before_the_fin_is_acknowledged_then_waits():
    s = established()
    s.conn.close(s.now)
    expect(s, seg("FA", seq=L + 1))
    send(s, seg("A", seq=R + 1, ack=L + 2))
    assert state(s) == "FIN-WAIT-2"
    expect_nothing(s, 61 * SEC)
    assert_clean(s)


def test_half_closed_without_close_waits_for_ever():
    s = fin_wait_2()
    expect_nothing(s, 1000 * SEC)
    assert state(s) == "FIN-WAIT-2"


def test_send_after_shutdown():
    s = fin_wait_1()
    for make in (fin_wait_1, last_ack, time_wait):
        s = make()
        try:
            s.conn.send(b"x", 0, 1, s.now)
            raise AssertionError("sent")
        except OSError as e:
            assert e.args[0] == EPIPE
        assert s.conn.send_space() == 0


def test_shutdown_twice():
    s = fin_wait_1()
    s.conn.shutdown(s.now)
    expect_nothing(s)


def test_abort():
    """RFC 9293 3.10.5: a RST in every state that has told the peer of itself."""
    for why, make in STATES:
        s = make()
        drain(s)
        s.conn.abort(s.now)
        if why in ("SYN-SENT", "TIME-WAIT"):
            expect_nothing(s)
        else:
            expect(s, seg("RA"))
            assert s.conn.error == ECONNABORTED, why
        s.advance(100 * SEC)
        assert_clean(s)


def test_close_in_every_state_ends_clean():
    """Whatever comes after close, silence of the peer included, nothing is left."""
    for _why, make in STATES:
        s = make()
        s.conn.close(s.now)
        s.advance(900 * SEC)
        drain(s)
        assert_clean(s)


def test_everything_said_by_hup():
    s = time_wait()
    assert s.conn.events() & POLLHUP
    s = last_ack()
    assert s.conn.events() & POLLHUP


def test_last_ack_lost():
    """The peer in LAST-ACK sends its FIN again; TIME-WAIT answers and begins anew."""
    s = time_wait()
    s.conn.close(s.now)
    send(s, seg("FA", seq=R + 1, ack=L + 2), at=50 * SEC)
    expect(s, seg("A", seq=L + 2, ack=R + 2), at=50 * SEC)
    assert s.tcp.time_waits.count == 1
    s.advance(109 * SEC)
    assert s.tcp.time_waits.count == 1
    s.advance(111 * SEC)
    assert s.tcp.time_waits.count == 0
    assert_clean(s)


def test_time_wait_ignores_reset():
    """RFC 1337."""
    s = time_wait()
    send(s, seg("R", seq=R + 2))
    expect_nothing(s)
    assert s.tcp.time_waits.count == 1


def test_time_wait_answers_old_segments():
    for why, g, answers in (
        ("late ACK", seg("A", seq=R + 2, ack=L + 2), False),
        ("old data", seg("A", seq=R + 1, ack=L + 1, data=b"x"), True),
        ("old SYN", seg("S", seq=R), True),
        ("FIN", seg("FA", seq=R + 1, ack=L + 2), True),
    ):
        s = time_wait()
        send(s, g)
        if answers:
            expect(s, seg("A", seq=L + 2, ack=R + 2))
        else:
            expect_nothing(s)
        assert s.tcp.time_waits.count == 1, why


def test_time_wait_reopened_by_a_larger_syn():
    """MAY-2, RFC 6191: with an ISN above the last number used."""
    s = accepted()
    s.conn.close(s.now)
    expect(s, seg("FA", seq=L + 1))
    send(s, seg("FA", seq=R + 1, ack=L + 2))
    expect(s, seg("A", ack=R + 2))
    assert s.tcp.time_waits.count == 1
    send(s, seg("S", seq=R + 100, mss=MSS))
    o = expect(s, seg("SA", ack=R + 101))
    assert s.tcp.time_waits.count == 0 and o.seq == L + 2 + 65536
    send(s, seg("A", seq=R + 101, ack=o.seq + 1))
    assert s.listener.accept() is not None


def test_time_wait_without_listener_is_not_reopened():
    s = time_wait()
    send(s, seg("S", seq=R + 100, mss=MSS))
    expect_nothing(s)
    assert s.tcp.time_waits.count == 1


def test_time_wait_is_bounded():
    s = established()
    s.tcp.time_waits.limit = 3
    for i in range(5):
        c = s.tcp.connect(0x0A000001, 5000 + i, s.now, 0, 90)
        s.tcp.flush(s.now)
        send(s, seg("SA", seq=R, ack=L + 1, port=90, peer_port=5000 + i))
        c.close(s.now)
        s.tcp.flush(s.now)
        send(s, seg("FA", seq=R + 1, ack=L + 2, port=90, peer_port=5000 + i))
    assert s.tcp.time_waits.count == 3 and s.stats.dropped("tcp.time_wait_full") == 2
    ports = sorted(e.remote_port for e in s.tcp.connections() if e.info()["state"] == "TIME-WAIT")
    assert ports == [5002, 5003, 5004]


def test_time_wait_is_read_to_the_end():
    s = fin_wait_2()
    send(s, seg("FA", seq=R + 1, ack=L + 2, data=b"last words"))
    expect(s, seg("A", ack=R + 12))
    assert state(s) == "TIME-WAIT"
    assert read(s) == b"last words" and s.conn.eof()
    expect_nothing(s)
    s.conn.close(s.now)
    s.advance(61 * SEC)
    assert_clean(s)


def test_time_wait_length_can_be_set():
    s = time_wait(time_wait_us=5 * SEC)
    s.advance(6 * SEC)
    assert s.tcp.time_waits.count == 0


def test_syn_sent_shutdown():
    s = syn_sent()
    s.conn.shutdown(s.now)
    assert state(s) == "CLOSED" and s.conn.error == ECONNABORTED
    expect_nothing(s, 10 * MS)
