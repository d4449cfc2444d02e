"""A window is spread over a long round trip, and only over a long one."""

from stack.transport.tcp import output, pacing
from stack.transport.tcp.block import REXMIT_AT
from tests.unit.transport.tcp.harness import (
    MS,
    MSS,
    OUR_PORT,
    PEER2,
    PEER_PORT,
    START,
    L,
    R,
    check,
    drain,
    pattern,
    seg,
    send,
    syn_sent,
    write,
)

RTT = 100 * MS


def _slow(rtt=RTT, **options):
    """Established by us; the SYN-ACK took `rtt`."""
    options.setdefault("pacing", True)
    s = syn_sent(**options)
    s.wnd = 65535
    s.advance(rtt)
    drain(s)
    send(s, seg("SA", seq=R, ack=L + 1, mss=MSS, wscale=7, wnd=65535))
    s.wnd = 4000
    drain(s)
    return s


def _emitted(s, until):
    """[(time since `s.now`, octets)] of what leaves up to then, a millisecond's in one."""
    began = s.now
    out = []
    while s.now < until:
        for o in drain(s):
            if out and out[-1][0] == s.now - began:
                out[-1][1] += len(o.data)
            else:
                out.append([s.now - began, len(o.data)])
        s.advance(s.now - START + MS)
    return out


def test_the_first_window_goes_at_once():
    s = _slow()
    assert s.conn.emit is pacing.emit
    write(s, pattern(60000))
    assert sum([len(o.data) for o in drain(s)]) == 10 * MSS


def test_the_second_is_spread():
    """2 cwnd / SRTT: twenty segments in half a round trip, never more than two at once."""
    s = _slow()
    write(s, pattern(60000))
    drain(s)
    send(s, seg(ack=L + 1 + 10 * MSS), at=2 * RTT)
    out = _emitted(s, s.now + RTT)
    assert sum([n for _, n in out]) == 20 * MSS
    assert max([n for _, n in out]) <= 2 * MSS
    assert 40 * MS <= out[-1][0] <= 55 * MS, out
    gaps = [b[0] - a[0] for a, b in zip(out, out[1:])]
    assert max(gaps) <= 4 * MS


def test_not_where_the_round_trip_is_short():
    for rtt in (0, MS, pacing.MIN_RTT_US - MS):
        s = _slow(rtt)
        assert s.conn.emit is output.emit
        write(s, pattern(60000))
        drain(s)
        send(s, seg(ack=L + 1 + 10 * MSS))
        assert sum([len(o.data) for o in drain(s)]) == 20 * MSS
    assert _slow(pacing=False).conn.emit is output.emit


def test_no_more_once_the_round_trip_proves_short():
    """The handshake was slow, what followed is not."""
    s = _slow()
    write(s, pattern(60000))
    drain(s)
    send(s, seg(ack=L + 1 + 10 * MSS), at=RTT + MS)
    assert sum([len(o.data) for o in drain(s)]) == 20 * MSS
    assert s.conn.emit is output.emit


def test_acknowledgments_do_not_wait():
    s = _slow()
    write(s, pattern(60000))
    drain(s)
    send(s, seg(ack=L + 1 + 10 * MSS), at=2 * RTT)
    assert sum([len(o.data) for o in drain(s)]) == 2 * MSS
    for i in range(2):
        send(s, seg(seq=R + 1 + i * MSS, ack=L + 1 + 10 * MSS, data=pattern(MSS)), flush=False)
    s.tcp.flush(s.now)
    out = drain(s)
    assert [(len(o.data), o.ack) for o in out] == [(0, R + 1 + 2 * MSS)]


def test_others_on_the_device_do_not_wait():
    s = _slow()
    write(s, pattern(60000))
    drain(s)
    first = s.conn
    s.conn = s.tcp.connect(PEER2, PEER_PORT, s.now, 0, OUR_PORT)
    s.tcp.flush(s.now)
    drain(s)
    send(s, seg("SA", seq=R, ack=L + 1, mss=MSS, wnd=65535), src=PEER2)
    drain(s)
    second = s.conn
    send(s, seg(ack=L + 1 + 10 * MSS), at=2 * RTT, flush=False)
    write(s, pattern(5 * MSS))
    by = {}
    for o in drain(s):
        by[o.dst] = by.get(o.dst, 0) + len(o.data)
    assert by[PEER2] == 5 * MSS and by[first.remote_addr] == 2 * MSS, by
    assert second.emit is not first.emit
    check(s)


def test_what_is_lost_is_paced_too():
    s = _slow()
    write(s, pattern(60000))
    drain(s)
    send(s, seg(ack=L + 1 + 10 * MSS), at=2 * RTT)
    out = _emitted(s, s.now + RTT)
    assert sum([n for _, n in out]) == 20 * MSS
    s.advance(s.conn.w[REXMIT_AT] - START)
    out = _emitted(s, s.now + RTT)
    # The window of a timeout is one segment (RFC 5681), and then what acknowledgments allow.
    assert out and out[0][1] == MSS
