"""Opening: RFC 9293 3.5, 3.10.7.2, 3.10.7.3; options of SYNs."""

from stack.core.errors import EADDRINUSE, ECONNREFUSED, ENETUNREACH, ENOBUFS, ETIMEDOUT
from stack.transport.tcp.block import RCV_WSCALE, RTO_US, SND_WND, SND_WSCALE, SRTT_US
from tests.unit.transport.tcp.harness import (
    MS,
    MSS,
    OUR,
    OUR2,
    OUR_PORT,
    PEER,
    PEER2,
    PEER_PORT,
    SEC,
    L,
    R,
    Script,
    accepted,
    assert_clean,
    drain,
    established,
    expect,
    expect_nothing,
    listening,
    read,
    seg,
    send,
    state,
    syn_received,
    syn_sent,
    write,
)


def _raises(errno, function, *args):
    try:
        function(*args)
    except OSError as e:
        assert e.args[0] == errno, e.args
        return
    raise AssertionError("no OSError %d" % errno)


# -- active


def test_active_open():
    s = syn_sent()
    assert state(s) == "SYN-SENT"
    send(s, seg("SA", seq=R, ack=L + 1, mss=1400), at=10 * MS)
    expect(s, seg("A", seq=L + 1, ack=R + 1), at=10 * MS)
    assert s.states == ["SYN-SENT", "ESTABLISHED"]
    assert s.conn.mss == 1400 and s.conn.w[SRTT_US] == 10 * MS
    expect_nothing(s, 100 * SEC)


def test_syn_carries_mss_and_window_scale():
    for mtu, mss in ((1500, 1460), (576, 536), (9000, 8960)):
        s = Script(mtu=mtu)
        s.tcp.connect(PEER, PEER_PORT, s.now)
        expect(s, seg("S", seq=L, mss=mss, wscale=5, wnd=65535))


def test_window_scale_follows_rcv_max():
    for rcv_max, scale in ((4096, 0), (65536, 1), (1 << 20, 5), (1 << 22, 7)):
        s = Script(rcv_max=rcv_max)
        s.tcp.connect(PEER, PEER_PORT, s.now)
        expect(s, seg("S", wscale=scale))


def test_send_mss():
    """MUST-14, MUST-15, MUST-16: theirs, 536 without the option, ours if smaller; never tiny."""
    for why, theirs, mtu, want in (
        ("theirs", 1000, 1500, 1000),
        ("none given", None, 1500, 536),
        ("ours is smaller", 9000, 1500, 1460),
        ("absurd", 1, 1500, 88),
        ("zero", 0, 1500, 88),
    ):
        s = syn_sent(mtu=mtu)
        send(s, seg("SA", seq=R, ack=L + 1, mss=theirs))
        assert s.conn.mss == want, (why, s.conn.mss)


def test_window_scale_needs_both():
    """RFC 7323 2.2: without the peer's option neither side scales."""
    s = syn_sent()
    send(s, seg("SA", seq=R, ack=L + 1, mss=MSS))
    expect(s, seg("A", wnd=65535))
    send(s, seg("A", seq=R + 1, ack=L + 1, wnd=100))
    assert s.conn.w[SND_WSCALE] == 0 and s.conn.w[RCV_WSCALE] == 0
    s = established(wscale=7)
    send(s, seg("A", seq=R + 1, ack=L + 1, wnd=100))
    write(s, b"x")
    assert s.conn.w[SND_WND] == 100 << 7


def test_window_of_syn_ack_is_not_scaled():
    s = syn_sent()
    send(s, seg("SA", seq=R, ack=L + 1, mss=MSS, wscale=7, wnd=1000))
    assert s.conn.w[SND_WND] == 1000


def test_window_scale_above_14_is_14():
    s = syn_sent()
    send(s, seg("SA", seq=R, ack=L + 1, mss=MSS, wscale=200))
    assert s.conn.w[SND_WSCALE] == 14


def test_syn_is_sent_again_and_backs_off():
    s = syn_sent()
    at = 0
    for wait in (1, 2, 4, 8, 16, 32, 60):
        at += wait * SEC
        expect(s, seg("S", seq=L), at=at)
    # MUST-23: at least three minutes.
    expect_nothing(s, 200 * SEC)
    assert state(s) == "CLOSED" and s.conn.error == ETIMEDOUT
    s.conn.close(s.now)
    assert_clean(s)


def test_rto_after_a_lost_syn():
    """RFC 6298 (5.7): 3 seconds; RFC 5681: one segment of initial window."""
    s = syn_sent()
    expect(s, seg("S", seq=L), at=SEC)
    send(s, seg("SA", seq=R, ack=L + 1, mss=MSS), at=SEC + 10 * MS)
    expect(s, seg("A", seq=L + 1))
    assert s.conn.w[RTO_US] == 3 * SEC and s.conn.cc.cwnd == MSS


def test_refused():
    s = syn_sent()
    send(s, seg("RA", seq=0, ack=L + 1))
    assert state(s) == "CLOSED" and s.conn.error == ECONNREFUSED
    expect_nothing(s, 10 * SEC)
    s.conn.close(s.now)
    assert_clean(s)


def test_syn_sent_and_wrong_segments():
    """RFC 9293 3.10.7.3, first to fifth check."""
    for why, g, answer in (
        ("RST without ACK", seg("R", seq=0), None),
        ("RST with an ACK that acknowledges nothing", seg("RA", seq=0, ack=L), None),
        ("RST that acknowledges the future", seg("RA", seq=0, ack=L + 2), None),
        ("ACK of nothing", seg("A", seq=R, ack=L), seg("R", seq=L)),
        ("ACK of the future", seg("A", seq=R, ack=L + 2), seg("R", seq=L + 2)),
        ("SYN-ACK of the future", seg("SA", seq=R, ack=L + 9), seg("R", seq=L + 9)),
        ("good ACK without SYN", seg("A", seq=R, ack=L + 1), None),
        ("FIN alone", seg("F", seq=R), None),
        ("nothing at all", seg("", seq=R), None),
    ):
        s = syn_sent()
        send(s, g)
        if answer is None:
            expect_nothing(s)
        else:
            expect(s, answer)
        assert state(s) == "SYN-SENT", why
        send(s, seg("SA", seq=R, ack=L + 1, mss=MSS))
        expect(s, seg("A", ack=R + 1))


def test_syn_ack_with_data_and_fin():
    s = syn_sent()
    send(s, seg("SA", seq=R, ack=L + 1, mss=MSS, data=b"hello"))
    expect(s, seg("A", ack=R + 6))
    assert read(s) == b"hello"
    s = syn_sent()
    send(s, seg("SFA", seq=R, ack=L + 1, mss=MSS, data=b"bye"))
    expect(s, seg("A", ack=R + 5))
    assert state(s) == "CLOSE-WAIT" and read(s) == b"bye" and s.conn.eof()


def test_data_queued_before_the_connection_is_open():
    s = syn_sent()
    assert write(s, b"early") == 5
    expect_nothing(s)
    send(s, seg("SA", seq=R, ack=L + 1, mss=MSS))
    expect(s, seg("PA", seq=L + 1, ack=R + 1, data=b"early"))


def test_close_in_syn_sent():
    s = syn_sent()
    s.conn.close(s.now)
    assert state(s) == "CLOSED"
    expect_nothing(s, 10 * SEC)
    assert_clean(s)


# -- simultaneous


def test_simultaneous_open():
    """Figure 8 of RFC 9293."""
    s = syn_sent()
    send(s, seg("S", seq=R, mss=MSS, wscale=2))
    expect(s, seg("SA", seq=L, ack=R + 1, mss=1460, wscale=5))
    send(s, seg("SA", seq=R, ack=L + 1, mss=MSS, wscale=2))
    assert s.states == ["SYN-SENT", "SYN-RECEIVED", "ESTABLISHED"]
    write(s, b"x")
    expect(s, seg("PA", seq=L + 1, ack=R + 1, data=b"x"))


def test_simultaneous_open_ended_by_ack():
    s = syn_received()
    send(s, seg("A", seq=R + 1, ack=L + 1))
    assert state(s) == "ESTABLISHED"
    expect_nothing(s)


def test_simultaneous_open_repeats_syn_ack():
    s = syn_received()
    expect(s, seg("SA", seq=L, ack=R + 1), at=SEC)
    send(s, seg("S", seq=R, mss=MSS))
    expect(s, seg("A", ack=R + 1))
    send(s, seg("A", seq=R + 1, ack=L + 1))
    assert state(s) == "ESTABLISHED"


def test_simultaneous_open_refused():
    s = syn_received()
    send(s, seg("R", seq=R + 1))
    assert state(s) == "CLOSED" and s.conn.error == ECONNREFUSED


def test_syn_received_wrong_ack():
    for ack in (L, L + 2, L - 100000):
        s = syn_received()
        send(s, seg("A", seq=R + 1, ack=ack))
        expect(s, seg("R", seq=ack & 0xFFFFFFFF))
        assert state(s) == "SYN-RECEIVED"


def test_close_in_syn_received():
    s = syn_received()
    s.conn.close(s.now)
    expect_nothing(s)
    send(s, seg("A", seq=R + 1, ack=L + 1))
    expect(s, seg("FA", seq=L + 1, ack=R + 1))
    assert state(s) == "FIN-WAIT-1"


def test_data_and_fin_complete_syn_received():
    s = syn_received()
    send(s, seg("FA", seq=R + 1, ack=L + 1, data=b"all"))
    expect(s, seg("A", ack=R + 5))
    assert state(s) == "CLOSE-WAIT" and read(s) == b"all" and s.conn.eof()


# -- passive


def test_passive_open():
    s = listening()
    send(s, seg("S", seq=R, mss=1200, wscale=3), at=0)
    expect(s, seg("SA", seq=L, ack=R + 1, mss=1460, wscale=5, wnd=65535), at=0)
    assert s.listener.accept() is None
    send(s, seg("A", seq=R + 1, ack=L + 1), at=30 * MS)
    c = s.conn = s.listener.accept()
    assert s.states == ["SYN-RECEIVED", "ESTABLISHED"]
    assert c.mss == 1200 and c.w[SND_WSCALE] == 3 and c.w[SRTT_US] == 30 * MS
    assert (c.local_addr, c.local_port, c.remote_addr, c.remote_port) == (
        OUR, OUR_PORT, PEER, PEER_PORT)
    expect_nothing(s, SEC)


def test_passive_open_without_window_scale():
    s = listening()
    send(s, seg("S", seq=R, mss=MSS))
    o = expect(s, seg("SA", seq=L))
    assert o.wscale is None
    send(s, seg("A", seq=R + 1, ack=L + 1, wnd=500))
    assert s.listener.accept().w[SND_WND] == 500


def test_data_in_the_ack_of_the_handshake():
    s = listening()
    send(s, seg("S", seq=R, mss=MSS))
    expect(s, seg("SA"))
    send(s, seg("PA", seq=R + 1, ack=L + 1, data=b"GET"))
    s.conn = s.listener.accept()
    assert read(s) == b"GET"


def test_data_in_the_syn_comes_again():
    """Not kept with a half-open entry; only the SYN is acknowledged."""
    s = listening()
    send(s, seg("S", seq=R, mss=MSS, data=b"early"))
    expect(s, seg("SA", seq=L, ack=R + 1))
    send(s, seg("A", seq=R + 1, ack=L + 1, data=b"early"))
    s.conn = s.listener.accept()
    assert read(s) == b"early"


def test_fin_with_the_ack_of_the_handshake():
    s = listening()
    send(s, seg("S", seq=R, mss=MSS))
    expect(s, seg("SA"))
    send(s, seg("FA", seq=R + 1, ack=L + 1, data=b"x"))
    expect(s, seg("A", ack=R + 3))
    s.conn = s.listener.accept()
    assert state(s) == "CLOSE-WAIT" and read(s) == b"x" and s.conn.eof()


def test_listen_and_wrong_segments():
    """RFC 9293 3.10.7.2."""
    for why, g, answer in (
        ("RST", seg("R", seq=R), None),
        ("RST ACK", seg("RA", seq=R, ack=7), None),
        ("ACK", seg("A", seq=R, ack=77), seg("R", seq=77)),
        ("SYN ACK", seg("SA", seq=R, ack=77), seg("R", seq=77)),
        ("FIN", seg("F", seq=R), None),
        ("nothing", seg("", seq=R), None),
    ):
        s = listening()
        send(s, g)
        if answer is None:
            expect_nothing(s)
        else:
            expect(s, answer)
        assert not s.tcp.half_open, why


def test_no_listener_answers_with_reset():
    """RFC 9293 3.10.7.1."""
    for _why, g, answer in (
        ("SYN", seg("S", seq=R), seg("RA", seq=0, ack=R + 1)),
        ("SYN with data", seg("S", seq=R, data=b"abc"), seg("RA", seq=0, ack=R + 4)),
        ("ACK", seg("A", seq=R, ack=L), seg("R", seq=L)),
        ("FIN with data", seg("F", seq=R, data=b"ab"), seg("RA", seq=0, ack=R + 3)),
        ("RST", seg("R", seq=R), None),
        ("RST ACK", seg("RA", seq=R, ack=L), None),
    ):
        s = Script()
        send(s, g)
        if answer is None:
            expect_nothing(s)
        else:
            expect(s, answer)


def test_resets_are_limited():
    s = Script()
    for i in range(600):
        send(s, seg("S", seq=R, peer_port=1 + i))
    assert len(drain(s)) == 500 and s.stats.dropped("tcp.reset_limit") == 100
    send(s, seg("S", seq=R), at=2 * SEC)
    expect(s, seg("RA"))


def test_broadcast_and_multicast_are_ignored():
    """MUST-57."""
    for dst in (0x0AFFFFFF, 0xE0000001):
        s = listening()
        send(s, seg("S", seq=R), dst=dst)
        expect_nothing(s)
        assert s.stats.dropped("tcp.address") == 1 and not s.tcp.half_open


def test_bad_segments_are_dropped():
    s = listening()
    send(s, seg("S", seq=R), corrupt=True)
    expect_nothing(s)
    assert s.stats.dropped("tcp.checksum") == 1


def test_connect_errors():
    s = Script(max_connections=1)
    _raises(ENETUNREACH, s.tcp.connect, 0x0B000001, 80, s.now)
    _raises(ENETUNREACH, s.tcp.connect, 0x0AFFFFFF, 80, s.now)  # MUST-45
    s.tcp.connect(PEER, 80, s.now, 0, 1000)
    _raises(ENOBUFS, s.tcp.connect, PEER, 80, s.now)
    s = Script()
    s.tcp.connect(PEER, 80, s.now, 0, 1000)
    _raises(EADDRINUSE, s.tcp.connect, PEER, 80, s.now, 0, 1000)
    s.tcp.connect(PEER2, 80, s.now, 0, 1000)
    s.tcp.connect(PEER, 80, s.now, OUR2, 1000)


def test_listen_errors():
    s = Script()
    s.tcp.listen(0, 80, 8, s.now)
    _raises(EADDRINUSE, s.tcp.listen, 0, 80, 8, s.now)
    _raises(EADDRINUSE, s.tcp.listen, OUR, 80, 8, s.now)
    s.tcp.listen(OUR, 81, 8, s.now)
    s.tcp.listen(OUR2, 81, 8, s.now)
    l = s.tcp.listen(0, 0, 8, s.now)
    assert l.local_port >= 49152


def test_listen_beside_connections_needs_reuse():
    s = accepted()
    s.listener.close(s.now)
    _raises(EADDRINUSE, s.tcp.listen, 0, OUR_PORT, 8, s.now)
    s.tcp.listen(0, OUR_PORT, 8, s.now, True)


def test_listener_by_address():
    s = Script()
    one = s.tcp.listen(OUR, 80, 8, s.now)
    send(s, seg("S", seq=R), dst=OUR2)
    expect(s, seg("RA"))
    send(s, seg("S", seq=R), dst=OUR)
    expect(s, seg("SA"))
    assert one.half_open == 1
