"""Windows: RFC 9293 3.8.6. Zero windows and probes, shrinking, silly windows both ways."""

from stack.core.errors import ETIMEDOUT
from stack.transport.tcp.block import RCV_ADV, RTO_US, SND_WND
from tests.unit.transport.tcp.harness import (
    DELACK,
    MS,
    RTO,
    SEC,
    L,
    R,
    accepted,
    assert_clean,
    drain,
    established,
    expect,
    expect_nothing,
    pattern,
    read,
    seg,
    send,
    state,
    write,
)


def _fill(s, n=4096):
    """The peer fills our receive window of n bytes."""
    at = 0
    while at < n:
        piece = min(1000, n - at)
        send(s, seg("A", seq=R + 1 + at, ack=L + 1, data=pattern(piece, at)))
        at += piece
    s.advance(s.now - 10 * SEC + DELACK)
    drain(s)


# -- the peer's window


def test_sends_no_more_than_the_window():
    s = established(wnd=2000)
    write(s, pattern(5000))
    expect(s, seg("A", seq=L + 1, n=1460))
    expect_nothing(s)  # 540 left: silly
    send(s, seg("A", seq=R + 1, ack=L + 1461, wnd=2000))
    expect(s, seg("A", seq=L + 1461, n=1460))


def test_window_update_lets_more_go():
    s = established(wnd=1460)
    write(s, pattern(3000))
    expect(s, seg("A", n=1460))
    send(s, seg("A", seq=R + 1, ack=L + 1, wnd=5000))
    expect(s, seg("A", seq=L + 1461, n=1460))
    expect(s, seg("PA", seq=L + 2921, n=80))


def test_old_segments_do_not_move_the_window():
    """SND.WL1: a segment older than the last update says nothing about the window."""
    s = established(wnd=1000)
    send(s, seg("A", seq=R + 1, ack=L + 1, data=b"0123456789", wnd=3000))
    send(s, seg("A", seq=R + 1, ack=L + 1, wnd=50, data=b"01234"))
    assert s.conn.w[SND_WND] == 3000


def test_half_of_the_largest_window_goes():
    """RFC 9293 3.8.6.2.1 (3): at least half of the largest window the peer ever offered."""
    s = established(wnd=1000)
    write(s, pattern(5000))
    expect(s, seg("A", n=1000))
    send(s, seg("A", seq=R + 1, ack=L + 1001, wnd=600))
    expect(s, seg("A", seq=L + 1001, n=600))


def test_silly_window_waits_for_the_override():
    """3.8.6.2.1 (4): after 0.1 to 1 s what little fits is sent."""
    s = established(wnd=10000)
    write(s, pattern(1460))
    drain(s)
    send(s, seg("A", seq=R + 1, ack=L + 1461, wnd=100), at=0)
    write(s, pattern(5000))
    expect(s, seg("A", seq=L + 1461, n=100), at=200 * MS)


def test_zero_window_is_probed():
    """MUST-36, SHLD-29, SHLD-30: first after an RTO, then with doubling intervals."""
    s = established(wnd=1000)
    write(s, pattern(3000))
    expect(s, seg("A", n=1000))
    send(s, seg("A", seq=R + 1, ack=L + 1001, wnd=0), at=MS)
    at = MS + s.conn.w[RTO_US]
    for wait in (2, 4, 8, 16):
        expect(s, seg("A", seq=L + 1001, n=1), at=at)
        send(s, seg("A", seq=R + 1, ack=L + 1001, wnd=0))
        at += wait * s.conn.w[RTO_US]
    send(s, seg("A", seq=R + 1, ack=L + 1001, wnd=5000))
    out = drain(s)
    assert out[0].seq == L + 1001 and len(out[0].data) == 1460


def test_probe_that_is_taken():
    s = established(wnd=1000)
    write(s, pattern(3000))
    drain(s)
    send(s, seg("A", seq=R + 1, ack=L + 1001, wnd=0), at=0)
    o = expect(s, seg("A", seq=L + 1001, n=1), within=2 * SEC)
    assert o.data == pattern(1, 1000)
    send(s, seg("A", seq=R + 1, ack=L + 1002, wnd=0))
    expect(s, seg("A", seq=L + 1002, data=pattern(1, 1001)), within=9 * SEC)
    send(s, seg("A", seq=R + 1, ack=L + 1003, wnd=4000))
    assert b"".join(o.data for o in drain(s)) == pattern(3000)[1002:]


def test_probing_goes_on_while_the_peer_answers():
    """MUST-37."""
    s = established(wnd=1000)
    write(s, pattern(3000))
    drain(s)
    send(s, seg("A", seq=R + 1, ack=L + 1001, wnd=0), at=0)
    for _ in range(40):
        expect(s, seg("A", seq=L + 1001, n=1), within=61 * SEC)
        send(s, seg("A", seq=R + 1, ack=L + 1001, wnd=0))
    assert state(s) == "ESTABLISHED" and s.now > 1500 * SEC


def test_probing_ends_in_silence():
    s = established(wnd=1000)
    write(s, pattern(3000))
    drain(s)
    send(s, seg("A", seq=R + 1, ack=L + 1001, wnd=0), at=0)
    s.advance(400 * SEC)
    assert state(s) == "CLOSED" and s.conn.error == ETIMEDOUT
    s.conn.close(s.now)
    assert_clean(s)


def test_orphan_does_not_probe_for_ever():
    """A peer that never reads must not keep a closed connection's memory."""
    s = established(wnd=1000)
    write(s, pattern(3000))
    drain(s)
    send(s, seg("A", seq=R + 1, ack=L + 1001, wnd=0), at=0)
    s.conn.close(s.now)
    for _ in range(40):
        s.run(s.now + 61 * SEC)
        if not drain(s):
            break
        send(s, seg("A", seq=R + 1, ack=L + 1001, wnd=0))
    assert state(s) == "CLOSED"
    assert_clean(s)


def test_fin_waits_for_the_window_and_is_probed():
    s = established(wnd=1000)
    write(s, pattern(1000))
    drain(s)
    send(s, seg("A", seq=R + 1, ack=L + 1001, wnd=0), at=0)
    s.conn.shutdown(s.now)
    s.tcp.flush(s.now)
    expect_nothing(s)
    expect(s, seg("FA", seq=L + 1001), within=2 * SEC)
    send(s, seg("A", seq=R + 1, ack=L + 1001, wnd=10))
    expect(s, seg("FA", seq=L + 1001))
    send(s, seg("A", seq=R + 1, ack=L + 1002, wnd=10))
    assert state(s) == "FIN-WAIT-2"


def test_window_shrinks_below_what_is_out():
    """MUST-34, SHLD-15: nothing new; what is out is sent again in the usual way."""
    s = established(wnd=4000)
    write(s, pattern(8000))
    assert len(drain(s)) == 2
    send(s, seg("A", seq=R + 1, ack=L + 1, wnd=1000), at=MS)
    expect_nothing(s)
    o = expect(s, seg("A", seq=L + 1, n=1000), within=2 * SEC)
    assert o.data == pattern(1000)
    send(s, seg("A", seq=R + 1, ack=L + 2921, wnd=4000))
    expect(s, seg("A", seq=L + 2921, n=1460))


def test_window_shuts_over_what_is_out():
    """MUST-35: "If the window shrinks to zero, the TCP implementation MUST probe it"."""
    s = established(wnd=4000)
    write(s, pattern(8000))
    assert len(drain(s)) == 2
    send(s, seg("A", seq=R + 1, ack=L + 1461, wnd=0), at=MS)
    expect(s, seg("A", seq=L + 1461, n=1), within=2 * SEC)
    cwnd = s.conn.cc.cwnd
    send(s, seg("A", seq=R + 1, ack=L + 1461, wnd=0))
    expect(s, seg("A", seq=L + 1461, n=1), within=4 * SEC)
    send(s, seg("A", seq=R + 1, ack=L + 2921, wnd=4000))
    assert s.conn.cc.cwnd >= cwnd
    assert drain(s)[0].seq == L + 2921


# -- our window


def test_window_closes_as_data_waits():
    s = established(rcv_max=4096)
    send(s, seg("A", seq=R + 1, ack=L + 1, data=pattern(1000)))
    send(s, seg("A", seq=R + 1001, ack=L + 1, data=pattern(1000, 1000)))
    drain(s)
    send(s, seg("A", seq=R + 2001, ack=L + 1, data=pattern(2096, 2000)))
    expect(s, seg("A", ack=R + 4097, wnd=0))
    # A probe is answered, not taken; its ACK counts.
    send(s, seg("A", seq=R + 4097, ack=L + 1, data=b"x"))
    expect(s, seg("A", ack=R + 4097, wnd=0))
    assert s.conn.recv_len() == 4096


def test_window_opens_when_read():
    """3.8.6.2.2: not by a few bytes; by half the buffer or two segments at once."""
    s = established(rcv_max=4096)
    _fill(s)
    read(s, 500)
    expect_nothing(s, SEC)
    read(s, 500)
    expect_nothing(s, SEC)
    read(s, 1100)
    expect(s, seg("A", ack=R + 4097, wnd=2100))
    assert read(s) == pattern(4096)[2100:]
    expect_nothing(s, SEC)  # 2100 are promised, 1996 more are no reason to speak
    send(s, seg("A", seq=R + 4097, ack=L + 1, data=b"next"))
    expect(s, seg("A", ack=R + 4101, wnd=4092), within=DELACK)


def test_silly_updates_are_not_sent():
    s = established(rcv_max=4096)
    _fill(s)
    for _ in range(4):
        read(s, 100)
    send(s, seg("A", seq=R + 4097, ack=L + 1, data=b"p"))
    expect(s, seg("A", ack=R + 4097, wnd=0))


def test_the_edge_never_moves_back():
    s = established(rcv_max=65536, wscale=0)
    edge = s.conn.w[RCV_ADV]
    at = 0
    for i in range(60):
        n = 1 + i * 17 % 1400
        send(s, seg("A", seq=R + 1 + at, ack=L + 1, data=pattern(n)))
        at += n
        if i % 7 == 0:
            read(s, 900)
        drain(s)
        assert (s.conn.w[RCV_ADV] - edge) & 0xFFFFFFFF < 1 << 31
        edge = s.conn.w[RCV_ADV]


def test_data_beyond_the_window_is_cut():
    s = established(rcv_max=4096)
    send(s, seg("A", seq=R + 1, ack=L + 1, data=pattern(5000)))
    assert read(s) == pattern(4096)
    o = drain(s)
    assert o[-1].ack == R + 4097


def test_fin_beyond_the_window_is_cut():
    s = established(rcv_max=4096)
    send(s, seg("FA", seq=R + 1, ack=L + 1, data=pattern(4096)))
    drain(s)
    assert state(s) == "ESTABLISHED" and s.conn.recv_len() == 4096
    read(s)
    drain(s)
    send(s, seg("FA", seq=R + 4097, ack=L + 1))
    assert state(s) == "CLOSE-WAIT"


def test_receive_window_grows_for_a_reader_that_keeps_up():
    s = established(wscale=0, rcv_max=1 << 20)
    at = 0
    assert s.conn.rcv.limit == 65536
    for _ in range(40):
        send(s, seg("A", seq=R + 1 + at & 0xFFFFFFFF, ack=L + 1, data=pattern(30000)))
        at += 30000
        assert read(s) == pattern(30000)
        drain(s)
    assert s.conn.rcv.limit >= 1 << 19
    assert s.conn.rcv.size <= 1 << 17, "storage is only what was needed"


def test_receive_window_stays_for_one_that_does_not():
    s = established(wscale=0, rcv_max=1 << 20)
    _fill(s, 60000)
    read(s, 1000)
    assert s.conn.rcv.limit == 65536


def test_send_ring_grows_with_cwnd():
    s = established(wscale=7, snd_max=1 << 20)
    assert s.conn.snd.limit == 65536
    seq = L + 1
    s.wnd = 60000
    for _ in range(12):
        while write(s, pattern(32768)):
            pass
        out = drain(s)
        assert out
        seq = out[-1].seq + len(out[-1].data)
        send(s, seg("A", seq=R + 1, ack=seq))
    assert s.conn.snd.limit > 1 << 17


def test_no_memory_for_data():
    """Buffers are spent: what does not fit is dropped and comes again."""
    s = established()
    s.buffers.limit = s.buffers.taken
    send(s, seg("A", seq=R + 1, ack=L + 1, data=pattern(1000)))
    expect(s, seg("A", ack=R + 1))
    s.buffers.limit += 1 << 20
    send(s, seg("A", seq=R + 1, ack=L + 1, data=pattern(1000)))
    assert read(s) == pattern(1000)


def test_empty_rings_are_given_back_when_memory_is_short():
    s = accepted()
    s.buffers.limit = 4096
    send(s, seg("A", seq=R + 1, ack=L + 1, data=pattern(3000)))
    assert s.buffers.in_use == 4096
    assert read(s) == pattern(3000)
    assert s.buffers.in_use == 0
    send(s, seg("A", seq=R + 3001, ack=L + 1, data=pattern(3000)))
    assert read(s) == pattern(3000)


def test_rto_is_rearmed_after_probing():
    s = established(wnd=1000)
    write(s, pattern(2000))
    drain(s)
    send(s, seg("A", seq=R + 1, ack=L + 1001, wnd=0), at=0)
    expect(s, seg("A", seq=L + 1001, n=1), within=2 * SEC)
    send(s, seg("A", seq=R + 1, ack=L + 1001, wnd=2000))
    expect(s, seg("PA", seq=L + 1001, n=1000))
    expect(s, seg("PA", seq=L + 1001, n=1000), within=4 * RTO + 3 * SEC)
