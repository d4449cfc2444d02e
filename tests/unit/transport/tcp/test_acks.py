"""Acknowledgments are heard: their own number has to lie in the peer's window (RFC 9293 3.10.7.4).

And none is sent that says nothing.
"""

from stack.transport.tcp.block import SND_UNA
from tests.unit.transport.tcp.harness import (
    DELACK,
    MS,
    MSS,
    SEC,
    L,
    R,
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


def test_ack_after_a_timeout_has_the_newest_number():
    """snd_nxt was put back, but the peer may have it all: what lies below its RCV.NXT is
    thrown away, the ACK field with it. Two sides that do so wait for ever.
    """
    s = established()
    write(s, pattern(5 * MSS))
    assert len(drain(s)) == 5
    expect(s, seg("A", seq=L + 1, n=MSS), within=2 * SEC)  # the timer
    send(s, seg("A", seq=R + 1, ack=L + 1, data=pattern(2 * MSS)))
    expect(s, seg("A", seq=L + 1 + 5 * MSS, ack=R + 1 + 2 * MSS))
    # A duplicate of the peer's, too.
    send(s, seg("A", seq=R + 1, ack=L + 1, data=pattern(MSS)))
    expect(s, seg("A", seq=L + 1 + 5 * MSS, ack=R + 1 + 2 * MSS))


def test_ack_keeps_inside_the_peers_window():
    """A probe that was not taken has a number beyond it; the ACK of the peer's data has not."""
    s = established(wnd=1000)
    write(s, pattern(3000))
    drain(s)
    send(s, seg("A", seq=R + 1, ack=L + 1001, wnd=0))
    expect(s, seg("A", seq=L + 1001, n=1), within=3 * SEC)
    send(s, seg("A", seq=R + 1, ack=L + 1001, wnd=0, data=b"abc"))
    expect(s, seg("A", seq=L + 1001, ack=R + 4), within=DELACK)


def test_ack_at_the_edge_is_heard():
    """The peer has filled our window, a hole in it: its ACKs stand just at the edge."""
    s = established(rcv_max=4096)
    write(s, b"abc")
    drain(s)
    send(s, seg("A", seq=R + 1 + 4096, ack=L + 4))
    assert s.conn.w[SND_UNA] == L + 4
    write(s, b"def")
    drain(s)
    send(s, seg("A", seq=R + 1 + 4097, ack=L + 7))
    assert s.conn.w[SND_UNA] == L + 4


def test_no_update_for_a_window_that_cannot_be_said():
    """Without window scale 65,535 is all: an ACK at each read would say nothing, and count as
    a duplicate at the peer.
    """
    s = established(rcv_max=1 << 20)
    at = 0
    for _ in range(20):  # the ring's limit grows
        send(s, seg("A", seq=R + 1 + at, ack=L + 1, data=pattern(30000)))
        at += 30000
        read(s, 40000)
        drain(s)
    assert s.conn.rcv.limit > 1 << 17
    send(s, seg("A", seq=R + 1 + at, ack=L + 1, data=pattern(1000)))
    expect(s, seg("A", ack=R + 1 + at + 1000, wnd=65535), within=DELACK)
    read(s, 100)
    read(s, 100)
    expect_nothing(s, SEC)


def test_r2_counts_from_the_window_that_opened():
    """The peer shut its window for ten minutes and answered every probe: a loss after that
    is one loss, not the end.
    """
    s = established(wnd=1000)
    write(s, pattern(3000))
    drain(s)
    send(s, seg("A", seq=R + 1, ack=L + 1001, wnd=0), at=MS)
    while s.now < 620 * SEC:
        expect(s, seg("A", seq=L + 1001, n=1), within=61 * SEC)
        send(s, seg("A", seq=R + 1, ack=L + 1001, wnd=0))
    send(s, seg("A", seq=R + 1, ack=L + 1001, wnd=4000))
    assert [o.seq for o in drain(s)] == [L + 1001, L + 1001 + MSS]
    expect(s, seg("A", seq=L + 1001, n=MSS), within=2 * SEC)
    assert state(s) == "ESTABLISHED"


def test_early_retransmit_when_the_window_permits_no_more():
    """RFC 5827 2.1: "either no unsent data ... or the advertised receive window does not
    permit new segments to be transmitted".
    """
    s = established(wnd=2 * MSS)
    write(s, pattern(6 * MSS))
    assert len(drain(s)) == 2
    send(s, seg("A", seq=R + 1, ack=L + 1))
    expect(s, seg("A", seq=L + 1, n=MSS))
