"""Passive open: half-open entries, the queue to accept, their bounds, and the end of a listener."""

from stack.core.errors import ECONNRESET, POLLERR, POLLIN
from stack.transport.tcp.block import SND_WND, SND_WSCALE
from stack.transport.tcp.listener import MAX_BACKLOG, MAX_HALF_OPEN
from tests.unit.transport.tcp.harness import (
    MS,
    MSS,
    OUR,
    SEC,
    START,
    L,
    R,
    assert_clean,
    drain,
    expect,
    expect_nothing,
    listening,
    pattern,
    seg,
    send,
    state,
)


def half_open(**options):
    """A listener with one half-open entry, its SYN-ACK sent at 0."""
    s = listening(**options)
    send(s, seg("S", seq=R, mss=MSS))
    expect(s, seg("SA", seq=L, ack=R + 1))
    return s


def _connect(s, port):
    """A peer's whole handshake from `port`."""
    send(s, seg("S", seq=R, mss=MSS, peer_port=port))
    expect(s, seg("SA", seq=L, ack=R + 1, peer_port=port))
    send(s, seg("A", seq=R + 1, ack=L + 1, peer_port=port))


def _ports(s):
    return sorted(e.info()["remote_port"] for e in s.tcp.connections() if e is not s.listener)


# -- half-open entries


def test_half_open_holds_no_buffers():
    s = half_open()
    assert s.tcp.half_open == 1 and s.tcp.live == 0 and s.buffers.in_use == 0
    assert s.listener.accept() is None and not s.listener.events()
    assert [e.info()["state"] for e in s.tcp.connections()] == ["LISTEN", "SYN-RECEIVED"]


def test_syn_ack_is_sent_again():
    """RFC 6298 2.1 and 5.5: after 1, 2, 4 ... seconds; MUST-23: given up after three minutes."""
    s = half_open()
    at = 0
    for wait in (1, 2, 4, 8, 16, 32, 64):
        at += wait * SEC
        expect(s, seg("SA", seq=L, ack=R + 1, mss=MSS), at=at)
    s.advance(300 * SEC)
    assert not drain(s) and not s.tcp.half_open
    assert s.stats.dropped("tcp.half_open_timeout") == 1
    send(s, seg("A", seq=R + 1, ack=L + 1))
    expect(s, seg("R", seq=L + 1))
    s.listener.close(s.now)
    assert_clean(s)


def test_syn_acks_of_many_have_their_own_times():
    s = listening()
    for i in range(5):
        send(s, seg("S", seq=R, peer_port=1000 + i), at=i * 300 * MS)
        if i != 4:
            expect(s, seg("SA", peer_port=1000 + i))
    s.advance(2900 * MS)
    times = {}
    for o in drain(s):
        times.setdefault(o.peer_port, []).append(o.at // MS)
    assert times == {
        1000: [1000], 1001: [1300], 1002: [1600], 1003: [1900], 1004: [1200, 2200],
    }, times


def test_syn_again_is_answered_again():
    """The same SYN: our answer was lost. One entry, the same numbers."""
    s = half_open()
    for at in (100, 200):
        send(s, seg("S", seq=R, mss=MSS), at=at * MS)
        expect(s, seg("SA", seq=L, ack=R + 1), at=at * MS)
    assert s.tcp.half_open == 1
    send(s, seg("A", seq=R + 1, ack=L + 1))
    assert s.listener.accept() is not None and not s.tcp.half_open


def test_other_syn_is_challenged():
    """RFC 5961 4.2: the peer has begun anew; its reset clears the way."""
    s = half_open()
    send(s, seg("S", seq=R + 5000))
    expect(s, seg("A", seq=L + 1, ack=R + 1))
    send(s, seg("R", seq=R + 1))
    assert not s.tcp.half_open
    send(s, seg("S", seq=R + 5000))
    expect(s, seg("SA", seq=L, ack=R + 5001))


RESETS = (
    # why, the reset, is the entry gone
    ("exact", seg("R", seq=R + 1), True),
    ("exact, with ACK", seg("RA", seq=R + 1, ack=L + 1), True),
    ("the SYN's own number", seg("R", seq=R), False),
    ("in the window", seg("R", seq=R + 2), False),
    ("far away", seg("R", seq=R + 1000000), False),
)


def test_reset_of_half_open():
    """RFC 9293 3.10.7.4: back to LISTEN; RFC 5961 3.2: by the exact number alone."""
    for why, g, gone in RESETS:
        s = half_open()
        send(s, g)
        expect_nothing(s)
        assert s.tcp.half_open == (0 if gone else 1), why
        send(s, seg("A", seq=R + 1, ack=L + 1))
        assert (s.listener.accept() is None) == gone, why


def test_ack_with_a_wrong_number():
    """<SEQ=SEG.ACK><CTL=RST>, and the entry stays for the right one."""
    for ack in (L, L + 2, L - 1, 0, L + 0x80000000):
        s = half_open()
        send(s, seg("A", seq=R + 1, ack=ack))
        expect(s, seg("R", seq=ack))
        assert s.tcp.half_open == 1 and s.listener.accept() is None
        send(s, seg("A", seq=R + 1, ack=L + 1))
        assert s.listener.accept() is not None


def test_ack_outside_the_window():
    s = half_open()
    for seq in (R - 100, R, R + 70000):
        send(s, seg("A", seq=seq, ack=L + 1, data=b"x"))
        expect(s, seg("A", seq=L + 1, ack=R + 1))
        assert s.tcp.half_open == 1 and s.listener.accept() is None


def test_segment_without_ack():
    s = half_open()
    send(s, seg("P", seq=R + 1, data=b"x"))
    send(s, seg("F", seq=R + 1))
    expect_nothing(s)
    assert s.tcp.half_open == 1 and s.stats.dropped("tcp.no_ack") == 2


def test_lost_ack_of_the_handshake():
    """The first data completes it, in order or early."""
    for seq, got in ((R + 1, 5), (R + 101, 0)):
        s = half_open()
        send(s, seg("A", seq=seq, ack=L + 1, data=b"hello"))
        c = s.listener.accept()
        assert c is not None and c.recv_len() == got


def test_options_are_kept():
    """MSS and window scale of the SYN wait in the entry."""
    s = listening()
    send(s, seg("S", seq=R, mss=700, wscale=5, wnd=1000))
    expect(s, seg("SA"))
    send(s, seg("A", ack=L + 1, wnd=100))
    c = s.listener.accept()
    assert (c.mss, c.w[SND_WSCALE], c.w[SND_WND]) == (700, 5, 3200)


def test_no_frame_for_the_syn_ack():
    """The pool is empty: the entry waits for its second attempt, nothing breaks."""
    s = listening(frames=1)
    f = s.pool.get()
    send(s, seg("S", seq=R))
    expect_nothing(s)
    f.release()
    expect(s, seg("SA", seq=L, ack=R + 1), at=SEC)


def test_entries_do_not_disturb_each_other():
    """Removed from the front, the middle and the end of the queue, in any order."""
    for order in ((0, 1, 2), (2, 1, 0), (1, 0, 2), (1, 2, 0), (0, 2, 1), (2, 0, 1)):
        s = listening()
        for i in range(3):
            send(s, seg("S", seq=R, peer_port=1000 + i))
        drain(s)
        left = [1000, 1001, 1002]
        for i in order:
            send(s, seg("R", seq=R + 1, peer_port=1000 + i))
            left.remove(1000 + i)
            assert _ports(s) == left and s.tcp.half_open == len(left)
        send(s, seg("S", seq=R, peer_port=7))
        drain(s)
        assert _ports(s) == [7]


# -- floods


def test_flood_pushes_out_the_oldest():
    """Without cookies: one for one, counted; those that answer in time are not hurt."""
    s = listening(syn_cookies=False)
    for i in range(MAX_HALF_OPEN):
        send(s, seg("S", seq=R, peer_port=1000 + i), flush=False)
    assert s.tcp.half_open == MAX_HALF_OPEN and not s.stats.dropped("tcp.syn_flood")
    for i in range(3):
        send(s, seg("S", seq=R, peer_port=9000 + i), flush=False)
    drain(s)
    assert s.tcp.half_open == MAX_HALF_OPEN and s.stats.dropped("tcp.syn_flood") == 3
    ports = _ports(s)
    assert ports[0] == 1003 and ports[-3:] == [9000, 9001, 9002]
    send(s, seg("A", ack=L + 1, peer_port=1002))
    expect(s, seg("R", seq=L + 1, peer_port=1002))
    send(s, seg("A", ack=L + 1, peer_port=1003))
    assert s.listener.accept().remote_port == 1003
    assert s.buffers.in_use == 0


def test_flood_ends():
    """What nobody answers goes by itself; each was asked a few times."""
    s = listening(frames=4)
    for i in range(20):
        send(s, seg("S", seq=R, peer_port=1000 + i), flush=False)
    assert len(drain(s)) == 20
    s.advance(200 * SEC)
    assert len(drain(s)) == 20 * 7
    assert not s.tcp.half_open and _ports(s) == []
    s.listener.close(s.now)
    assert_clean(s)


# -- the queue to accept


def test_accept_in_order():
    s = listening()
    for port in (5, 3, 4):
        _connect(s, port)
    assert s.listener.events() & POLLIN
    assert [s.listener.accept().remote_port for _ in range(3)] == [5, 3, 4]
    assert s.listener.accept() is None and not s.listener.events()


def test_backlog_bounds():
    for want, backlog in ((1, 0), (1, -5), (1, 1), (8, 8), (MAX_BACKLOG, MAX_BACKLOG + 1)):
        assert listening(backlog=backlog).listener.backlog == want


def test_full_queue_takes_no_syn():
    """Dropped and counted, without an answer: the peer's SYN comes again when there is room."""
    s = listening(backlog=2)
    _connect(s, 1)
    _connect(s, 2)
    send(s, seg("S", seq=R, peer_port=3))
    expect_nothing(s)
    assert s.stats.dropped("tcp.backlog_full") == 1 and not s.tcp.half_open
    assert s.listener.accept() is not None
    _connect(s, 3)
    assert s.listener.accept().remote_port == 2 and s.listener.accept().remote_port == 3


def test_queue_that_filled_meanwhile():
    """More handshakes than room: the ACK is dropped, the entry stays, and our SYN-ACK, sent
    again, brings it in once somebody has accepted.
    """
    s = listening(backlog=1)
    for port in (1, 2):
        send(s, seg("S", seq=R, mss=MSS, peer_port=port))
        expect(s, seg("SA", peer_port=port))
    send(s, seg("A", ack=L + 1, peer_port=1))
    send(s, seg("A", ack=L + 1, peer_port=2))
    expect_nothing(s)
    assert s.tcp.half_open == 1 and s.tcp.live == 1
    assert s.stats.dropped("tcp.backlog_full") == 1
    assert s.listener.accept().remote_port == 1
    expect(s, seg("SA", peer_port=2), at=SEC)
    send(s, seg("A", ack=L + 1, peer_port=2))
    assert s.listener.accept().remote_port == 2


def test_data_while_the_queue_is_full():
    """It is not acknowledged, so it comes again."""
    s = listening(backlog=1)
    for port in (1, 2):
        send(s, seg("S", seq=R, mss=MSS, peer_port=port))
        expect(s, seg("SA", peer_port=port))
    send(s, seg("A", ack=L + 1, peer_port=1))
    send(s, seg("A", ack=L + 1, data=b"early", peer_port=2))
    expect_nothing(s)
    s.listener.accept()
    send(s, seg("A", ack=L + 1, data=b"early", peer_port=2))
    assert s.listener.accept().recv_len() == 5


def test_too_many_connections():
    s = listening(max_connections=1)
    _connect(s, 1)
    _connect(s, 2)
    assert s.tcp.live == 1 and s.tcp.half_open == 1
    first = s.listener.accept()
    assert s.listener.accept() is None
    first.abort(s.now)
    drain(s)
    send(s, seg("A", ack=L + 1, peer_port=2))
    assert s.listener.accept().remote_port == 2


def test_waker_is_told_once_it_is_open():
    s = listening()
    woken = []

    class Waker:
        def wake(self, l):
            woken.append(l)

    s.listener.waker = Waker()
    send(s, seg("S", seq=R))
    drain(s)
    assert not woken
    send(s, seg("A", ack=L + 1))
    assert woken == [s.listener]


def test_reset_before_accept():
    """The program still gets it, and learns why it is dead; its data can be read."""
    s = listening()
    _connect(s, 1)
    send(s, seg("A", ack=L + 1, data=b"last words", peer_port=1))
    send(s, seg("R", seq=R + 11, peer_port=1))
    drain(s)
    c = s.listener.accept()
    assert c.error == ECONNRESET and c.events() & POLLERR
    assert not s.tcp.flows.find(OUR, 80, c.remote_addr, 1) and s.tcp.live == 0
    buf = bytearray(20)
    assert c.recv_into(buf, 0, 20, s.now) == 10
    c.close(s.now)
    s.listener.close(s.now)
    assert_clean(s)


def test_closed_by_the_peer_before_accept():
    s = listening()
    _connect(s, 1)
    send(s, seg("FA", ack=L + 1, data=b"all", peer_port=1))
    expect(s, seg("A", ack=R + 5, peer_port=1))
    s.conn = s.listener.accept()
    assert state(s) == "CLOSE-WAIT" and s.conn.recv_len() == 3


def test_unaccepted_connection_is_bounded():
    """Nobody reads: one receive window, and no more."""
    s = listening(rcv_max=4096)
    _connect(s, 1)
    for i in range(8):
        send(s, seg("A", seq=R + 1 + 1000 * i, ack=L + 1, data=pattern(1000), peer_port=1))
    drain(s)
    assert s.buffers.in_use <= 4096
    assert s.listener.accept().recv_len() == 4096


# -- the end


def test_close_of_a_listener():
    """Half-open entries go silently, queued connections are reset, accepted ones live on."""
    s = listening()
    _connect(s, 1)
    mine = s.listener.accept()
    _connect(s, 2)
    send(s, seg("A", ack=L + 1, data=b"unread", peer_port=2))
    drain(s)
    send(s, seg("S", seq=R, peer_port=3))
    expect(s, seg("SA", peer_port=3))
    s.listener.close(s.now)
    s.listener.close(s.now)
    expect(s, seg("RA", seq=L + 1, peer_port=2))
    expect_nothing(s, 200 * SEC)
    assert s.tcp.half_open == 0 and s.tcp.live == 1 and _ports(s) == [1]
    send(s, seg("S", seq=R, peer_port=4))
    expect(s, seg("RA", seq=0, ack=R + 1, peer_port=4))
    send(s, seg("A", ack=L + 1, peer_port=3))
    expect(s, seg("R", seq=L + 1, peer_port=3))
    send(s, seg("A", ack=L + 1, data=b"alive", peer_port=1))
    assert mine.recv_len() == 5
    mine.abort(s.now)
    drain(s)
    assert_clean(s)


def test_close_with_a_dead_connection_queued():
    s = listening()
    _connect(s, 1)
    send(s, seg("A", ack=L + 1, data=b"x", peer_port=1))
    send(s, seg("R", seq=R + 2, peer_port=1))
    drain(s)
    s.listener.close(s.now)
    expect_nothing(s)
    assert_clean(s)


def test_port_is_free_after_close():
    s = half_open()
    s.listener.close(s.now)
    l = s.tcp.listen(0, 80, 1, s.now)
    send(s, seg("S", seq=R + 9))
    expect(s, seg("SA", ack=R + 10))
    assert s.tcp.half_open == l.half_open == 1
    assert s.now == START


def test_time_wait_makes_way_for_the_listener():
    """RFC 9293 3.6.1 (MAY-2), for a SYN "larger than the largest sequence number used on the
    previous connection incarnation", the FIN's; our ISN lies beyond what we had used.
    """
    for first in (R + 2, R + 3, R + 100000, R + 0x7FFFFFFF):
        s = listening()
        _connect(s, 1)
        s.conn = s.listener.accept()
        s.conn.shutdown(s.now)
        drain(s)
        send(s, seg("FA", ack=L + 2, peer_port=1))
        drain(s)
        assert s.tcp.time_waits.count == 1
        s.conn = None
        for old in (R + 1, R - 5, R - 0x70000000):
            send(s, seg("S", seq=old, peer_port=1))
            expect(s, seg("A", seq=L + 2, ack=R + 2))
        send(s, seg("S", seq=first, peer_port=1))
        o = expect(s, seg("SA", ack=first + 1))
        assert 0 < o.seq - (L + 2) < 1 << 31
        assert s.tcp.time_waits.count == 0 and s.tcp.half_open == 1
