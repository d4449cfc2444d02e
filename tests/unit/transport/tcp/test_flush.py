"""The ready list: turns, order, and devices that take nothing."""

from stack.transport.tcp.block import SND_MAX, SND_NXT, SND_WND, TIMING
from tests.unit.transport.tcp.harness import (
    DELACK,
    MS,
    MSS,
    PEER,
    L,
    R,
    assert_clean,
    drain,
    established,
    expect,
    expect_nothing,
    pattern,
    seg,
    send,
    state,
    syn_sent,
    write,
)


def _more(s, n, first=41000):
    """n further connections, from our ports 1000 up."""
    out = []
    for i in range(n):
        c = s.tcp.connect(PEER, first + i, s.now, 0, 1000 + i)
        s.tcp.flush(s.now)
        send(s, seg("SA", seq=R, ack=L + 1, mss=MSS, port=1000 + i, peer_port=first + i))
        out.append(c)
    drain(s)
    return out


def test_turns():
    """A bulk sender has four segments, then the others have their turn."""
    s = established(initial_segments=40)
    others = _more(s, 2)
    bulk = s.conn
    data = bytearray(pattern(20 * MSS))
    bulk.send(data, 0, len(data), s.now)
    for c in others:
        c.send(data, 0, 100, s.now)
    order = [o.port for o in drain(s)]
    assert order == [80] * 4 + [1000, 1001] + [80] * 16, order


def test_two_bulk_senders_share():
    s = established(initial_segments=40)
    other = _more(s, 1)[0]
    data = bytearray(pattern(12 * MSS))
    for c in (s.conn, other):
        c.send(data, 0, len(data), s.now)
    assert [o.port for o in drain(s)] == ([80] * 4 + [1000] * 4) * 3


def test_one_flush_is_bounded():
    """Input must be looked at now and then: the rest goes with the next flush, at once."""
    s = established(initial_segments=100, snd_max=1 << 18)
    s.conn.snd.limit = 1 << 18
    send(s, seg("A", seq=R + 1, ack=L + 1, wnd=65535))
    s.conn.w[SND_WND] = 1 << 18
    write(s, pattern(100 * MSS), flush=False)
    s.tcp.flush(s.now)
    assert len(s.out) == 64 and s.tcp.poll_at() == s.now
    s.tcp.flush(s.now)
    assert len(s.out) == 100


def test_full_device_keeps_the_order():
    s = established()
    others = _more(s, 3)
    s.full = True
    for c in [s.conn] + others:
        c.send(b"hello", 0, 5, s.now)
    s.tcp.flush(s.now)
    expect_nothing(s)
    assert s.tcp.poll_at() == s.now + MS, "asked again in a millisecond"
    assert s.pool.free == len(s.pool.frames)
    s.full = False
    assert [o.port for o in drain(s)] == [80, 1000, 1001, 1002]
    assert s.tcp.poll_at() > s.now + MS


def test_full_device_changes_nothing():
    """What could not go counts as not sent: no timer, no measurement, no window given away."""
    s = established()
    s.full = True
    write(s, b"hello")
    c = s.conn
    assert c.w[SND_NXT] == L + 1 and c.w[SND_MAX] == L + 1 and not c.w[TIMING]
    assert c.info()["in_flight"] == 0
    expect_nothing(s, 500 * MS)
    s.full = False
    expect(s, seg("PA", seq=L + 1, data=b"hello"), within=MS)
    assert not c.retransmits


def test_device_that_fills_in_the_middle():
    s = established()
    write(s, pattern(6 * MSS), flush=False)
    taken = []

    def output(f, proto, now, path=s.conn.path):
        if len(taken) == 2:
            return False
        taken.append(f.data_len)
        f.release()
        return True

    path = s.conn.path
    kept = path.output
    path.output = output
    s.tcp.flush(s.now)
    assert s.conn.w[SND_NXT] == L + 1 + 2 * MSS
    path.output = kept
    assert drain(s)[0].seq == L + 1 + 2 * MSS


def test_another_device_is_not_held_up():
    s = established()
    other = _more(s, 1)[0]

    class Iface:
        name = "eth1"

    path = s.conn.path
    path.iface = Iface()
    kept = path.output
    path.output = lambda f, proto, now: False
    s.conn.send(b"one", 0, 3, s.now)
    other.send(b"two", 0, 3, s.now)
    assert [o.data for o in drain(s)] == [b"two"]
    path.output = kept
    assert [o.data for o in drain(s)] == [b"one"]


def test_no_frame():
    s = established(frames=2)
    held = [s.pool.get(), s.pool.get()]
    write(s, b"hello")
    expect_nothing(s)
    assert state(s) == "ESTABLISHED" and s.tcp.poll_at() <= s.now + MS
    for f in held:
        f.release()
    expect(s, seg("PA", data=b"hello"), within=MS)


def test_no_frame_for_an_ack():
    s = established(frames=1)
    held = s.pool.get()
    send(s, seg("A", seq=R + 101, ack=L + 1, data=b"early"))
    expect_nothing(s)
    held.release()
    expect(s, seg("A", ack=R + 1), within=MS)


def test_no_frame_for_a_delayed_ack():
    s = established(frames=1)
    held = s.pool.get()
    send(s, seg("A", seq=R + 1, ack=L + 1, data=b"abc"))
    expect_nothing(s, DELACK + 5 * MS)
    held.release()
    expect(s, seg("A", ack=R + 4), within=MS)


def test_no_frame_for_a_syn():
    s = syn_sent(frames=1)
    held = s.pool.get()
    c = s.tcp.connect(PEER, 5000, s.now)
    s.tcp.flush(s.now)
    expect_nothing(s)
    held.release()
    o = expect(s, seg("S", seq=L), within=MS)
    assert o.peer_port == 5000 and c.w[SND_NXT] == L + 1


def test_no_frame_for_a_retransmission():
    s = established(frames=1)
    write(s, b"abc")
    drain(s)
    held = s.pool.get()
    expect_nothing(s, 300 * MS)
    held.release()
    expect(s, seg("PA", seq=L + 1, data=b"abc"), within=MS)


def test_dead_connections_on_the_list():
    """One that ended while it waited for its turn is passed over."""
    s = established()
    others = _more(s, 2)
    s.full = True
    for c in [s.conn] + others:
        c.send(b"x", 0, 1, s.now)
    s.tcp.flush(s.now)
    others[0].abort(s.now)
    s.full = False
    assert [o.port for o in drain(s)] == [80, 1001]
    for c in (s.conn, others[1]):
        c.abort(s.now)
    drain(s)
    assert_clean(s)


def test_nothing_ready_costs_nothing():
    s = established()
    s.tcp.flush(s.now)
    assert s.tcp._head is None and s.tcp._tail is None
    assert s.tcp.poll_at() > s.now + (1 << 40)
