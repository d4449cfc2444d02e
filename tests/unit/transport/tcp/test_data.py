"""Sending and receiving in order: segments, acknowledgments, Nagle, offload, checksums."""

from stack.core.errors import POLLIN, POLLOUT
from stack.core.frame import CAP_TSO4, CAP_TX_CSUM
from stack.transport.tcp.block import (
    ACKED_TO,
    RCV_ADV,
    RCV_NXT,
    SND_MAX,
    SND_NXT,
    SND_UNA,
    SND_WL1,
)
from tests.unit.transport.tcp.harness import (
    DELACK,
    MS,
    MSS,
    RTO,
    SEC,
    L,
    R,
    accepted,
    drain,
    established,
    expect,
    expect_nothing,
    pattern,
    read,
    seg,
    send,
    write,
)


def test_small_segment():
    s = established()
    assert write(s, b"hello") == 5
    expect(s, seg("PA", seq=L + 1, ack=R + 1, data=b"hello"), at=0)
    send(s, seg("A", seq=R + 1, ack=L + 6), at=5 * MS)
    expect_nothing(s, 10 * SEC)
    assert s.conn.info()["in_flight"] == 0 and s.conn.tx_bytes == 5


def test_data_is_cut_to_the_mss():
    s = established(mss=1000)
    data = pattern(2500)
    write(s, data)
    expect(s, seg("A", seq=L + 1, data=data[:1000]))
    expect(s, seg("A", seq=L + 1001, data=data[1000:2000]))
    expect(s, seg("PA", seq=L + 2001, data=data[2000:]))


def test_sizes_around_the_copy():
    """Small pieces are copied into the frame, larger ones named; both checksums hold."""
    for caps in (0, CAP_TX_CSUM):
        for n in (1, 2, 3, 255, 256, 257, 258, 1459, 1460):
            s = established(caps=caps)
            write(s, pattern(n, n))
            expect(s, seg("PA", data=pattern(n, n)))


def test_odd_places_in_the_ring():
    s = established()
    seq = L + 1
    for i in range(1, 90, 7):
        n = 300 + i
        write(s, pattern(n, i))
        expect(s, seg("PA", seq=seq, data=pattern(n, i)))
        seq += n
        send(s, seg("A", seq=R + 1, ack=seq))


def test_the_ring_wraps():
    s = established(snd_max=4096)
    seq = L + 1
    for i in range(40):
        n = 1000
        assert write(s, pattern(n, i)) == n
        got = b""
        while len(got) < n:
            o = drain(s)
            assert o
            for x in o:
                assert x.seq == seq + len(got)
                got += x.data
            send(s, seg("A", seq=R + 1, ack=seq + len(got)))
        assert got == pattern(n, i)
        seq += n


def test_big_segment():
    s = established(caps=CAP_TX_CSUM | CAP_TSO4, wscale=7, wnd=8 << 20, initial_segments=1000)
    send(s, seg("A", seq=R + 1, ack=L + 1, wnd=65535))
    data = pattern(65536)
    assert write(s, data) == 65536
    o = expect(s, seg("A", seq=L + 1, gso=1460, n=44 * 1460))
    assert o.data == data[: 44 * 1460]
    expect(s, seg("PA", seq=L + 1 + 44 * 1460, data=data[44 * 1460 :]))


def test_big_segment_keeps_to_gso_max():
    s = established(caps=CAP_TX_CSUM | CAP_TSO4, gso_max=10000, initial_segments=100)
    write(s, pattern(30000))
    for i in range(4):
        expect(s, seg("A", seq=L + 1 + i * 8760, n=min(8760, 30000 - i * 8760 if i == 3 else 8760)))


def test_no_offload_no_big_segment():
    s = established(caps=CAP_TX_CSUM, initial_segments=100)
    write(s, pattern(30000))
    assert max(len(o.data) for o in drain(s)) == 1460


def test_push_only_at_the_end():
    s = established()
    write(s, pattern(3000))
    assert [o.flags for o in drain(s)] == ["A", "A", "PA"]


def test_delayed_ack():
    """MUST-40: below 0.5 s; SHLD-19: there is one."""
    s = established()
    send(s, seg("A", seq=R + 1, ack=L + 1, data=b"abc"), at=0)
    expect_nothing(s)
    expect(s, seg("A", seq=L + 1, ack=R + 4), at=DELACK)
    expect_nothing(s, SEC)


def test_ack_every_second_full_segment():
    """SHLD-18."""
    s = established()
    for i in range(4):
        send(s, seg("A", seq=R + 1 + i * MSS, ack=L + 1, data=pattern(MSS)))
    acks = [o.ack for o in drain(s)]
    assert acks == [R + 1 + 2 * MSS, R + 1 + 4 * MSS] or acks == [
        R + 1 + MSS, R + 1 + 3 * MSS], acks


def test_big_received_segment_is_acknowledged_at_once():
    s = established(rcv_max=1 << 17)
    send(s, seg("A", seq=R + 1, ack=L + 1, data=pattern(40000)))
    expect(s, seg("A", ack=R + 40001))
    assert read(s) == pattern(40000)


def test_data_carries_the_ack():
    s = established()
    send(s, seg("A", seq=R + 1, ack=L + 1, data=b"ping"))
    write(s, b"pong")
    expect(s, seg("PA", seq=L + 1, ack=R + 5, data=b"pong"))
    expect_nothing(s, DELACK)


def test_acks_of_one_batch_merge():
    s = established()
    for i in range(10):
        send(s, seg("A", seq=R + 1 + i * 1000, ack=L + 1, data=pattern(1000)), flush=False)
    s.tcp.flush(s.now)
    expect(s, seg("A", ack=R + 10001))
    expect_nothing(s, SEC)


def test_read_in_pieces():
    s = established()
    send(s, seg("A", seq=R + 1, ack=L + 1, data=b"abcdef"))
    assert s.conn.recv_len() == 6 and s.conn.events() & POLLIN
    assert read(s, 2) == b"ab" and read(s, 3) == b"cde" and read(s, 9) == b"f"
    assert read(s) == b"" and not s.conn.events() & POLLIN


def test_nagle():
    """RFC 896 in Minshall's form: the second small segment waits for the first's ACK."""
    s = established()
    write(s, b"a")
    expect(s, seg("PA", data=b"a"))
    write(s, b"b")
    write(s, b"c")
    expect_nothing(s, 10 * MS)
    send(s, seg("A", seq=R + 1, ack=L + 2))
    expect(s, seg("PA", seq=L + 2, data=b"bc"))


def test_nagle_lets_full_segments_go():
    s = established()
    write(s, b"a")
    drain(s)
    write(s, pattern(MSS - 1))
    expect_nothing(s)
    write(s, b"xy")
    expect(s, seg("A", seq=L + 2, n=MSS))
    expect_nothing(s)


def test_small_tail_after_full_segments_goes():
    """Minshall: only a small segment holds back a small one."""
    s = established()
    write(s, pattern(MSS + 10))
    expect(s, seg("A", n=MSS))
    expect(s, seg("PA", n=10))


def test_nodelay():
    """MUST-17: "A TCP implementation MUST allow an application to disable the Nagle algorithm"."""
    s = established()
    s.conn.nodelay = True
    for i in range(3):
        write(s, b"x")
        expect(s, seg("PA", seq=L + 1 + i, data=b"x"))


def test_fin_is_not_held_back_by_nagle():
    s = established()
    write(s, b"a")
    drain(s)
    write(s, b"b")
    expect_nothing(s)
    s.conn.shutdown(s.now)
    s.tcp.flush(s.now)
    expect(s, seg("FPA", seq=L + 2, data=b"b"))


def test_send_ring_fills_and_drains():
    s = established(snd_max=4096)
    assert write(s, pattern(10000)) == 4096
    assert s.conn.send_space() == 0 and not s.conn.events() & POLLOUT
    out = drain(s)
    woken = []

    class Waker:
        def wake(self, c):
            woken.append(c)

    s.conn.waker = Waker()
    send(s, seg("A", seq=R + 1, ack=out[0].seq + 500))
    assert not woken, "500 bytes are not worth a turn"
    send(s, seg("A", seq=R + 1, ack=out[0].seq + 1460))
    assert woken == [s.conn] and s.conn.events() & POLLOUT
    assert s.conn.send_space() == 1460


def test_waker_on_data_and_end():
    s = established()
    woken = []

    class Waker:
        def wake(self, c):
            woken.append(c)

    s.conn.waker = Waker()
    send(s, seg("A", seq=R + 1, ack=L + 1, data=b"x"))
    assert len(woken) == 1
    send(s, seg("FA", seq=R + 2, ack=L + 1))
    assert len(woken) == 2
    send(s, seg("R", seq=R + 3))
    assert len(woken) == 3


def test_sequence_numbers_wrap():
    for start in (0xFFFFFFF0, 0xFFFFFFFF, 0x7FFFFFF0):
        s = established()
        c = s.conn
        c.w[SND_UNA] = c.w[SND_NXT] = c.w[SND_MAX] = c.snd_sml = start
        c.recover = start - 1 & 0xFFFFFFFF
        c.w[RCV_NXT] = c.w[ACKED_TO] = start
        c.w[RCV_ADV] = start + 65535 & 0xFFFFFFFF
        c.w[SND_WL1] = start
        write(s, pattern(100))
        expect(s, seg("PA", seq=start, data=pattern(100)))
        send(s, seg("A", seq=start, ack=start + 100, data=pattern(200)))
        expect(s, seg("A", seq=start + 100, ack=start + 200), at=DELACK)
        send(s, seg("A", seq=start + 210, ack=start + 100, data=pattern(10, 210)))
        expect(s, seg("A", ack=start + 200))
        send(s, seg("A", seq=start + 200, ack=start + 100, data=pattern(10, 200)))
        expect(s, seg("A", ack=start + 220))
        assert read(s) == pattern(220)


def test_urgent_is_delivered_in_line():
    s = established()
    send(s, seg("UPA", seq=R + 1, ack=L + 1, data=b"urgent"))
    assert read(s) == b"urgent"


def test_fast_path_and_general_path_agree():
    """The same stream with PSH, FIN to come, an overlapping start: the same bytes."""
    for step in (1, 7, 100, 1460):
        s = established()
        data = pattern(3000)
        at = 0
        while at < len(data):
            piece = data[at : at + step]
            back = min(at, at % 3)
            send(s, seg("A", seq=R + 1 + at - back, ack=L + 1, data=data[at - back : at] + piece))
            at += len(piece)
        assert read(s) == data
        drain(s)


def test_both_directions_at_once():
    s = accepted()
    write(s, b"one")
    send(s, seg("A", seq=R + 1, ack=L + 1, data=b"two"))
    expect(s, seg("PA", seq=L + 1, ack=R + 1, data=b"one"))
    send(s, seg("A", seq=R + 4, ack=L + 4, data=b"three"))
    expect(s, seg("A", seq=L + 4, ack=R + 9), at=DELACK)
    assert read(s) == b"twothree"


def test_info():
    s = established(wscale=2)
    write(s, b"abc")
    i = s.conn.info()
    assert i["state"] == "ESTABLISHED" and i["in_flight"] == 3 and i["send_queue"] == 3
    assert i["cwnd"] == 14600 and i["rto_us"] == RTO or i["rto_us"] == SEC
    names = [e.info()["state"] for e in s.tcp.connections()]
    assert names == ["ESTABLISHED"]


def test_path_mtu_falls():
    """The path says less than before: what was out is cut anew."""
    s = established()
    write(s, pattern(2 * MSS))
    drain(s)
    s.mtu = s.conn.path.mtu = 1000
    send(s, seg("A", seq=R + 1, ack=L + 1 + MSS))
    out = drain(s)
    assert out[0].seq == L + 1 + MSS and len(out[0].data) == 960
    assert b"".join(o.data for o in out) == pattern(MSS, MSS)


def test_offload_taken_away():
    s = established(caps=CAP_TX_CSUM | CAP_TSO4, initial_segments=100)
    write(s, pattern(8000))
    expect(s, seg("PA", gso=1460, n=8000))
    s.caps = s.conn.path.caps = 0
    s.conn.path.gso_max = 0
    write(s, pattern(4000))
    assert [len(o.data) for o in drain(s)] == [1460, 1460, 1080]
