"""SYN cookies: RFC 4987 3.6 and appendix A."""

from stack.transport.tcp.block import RCV_WSCALE, SND_WSCALE, TS_OFF, TS_ON
from stack.transport.tcp.listener import MAX_HALF_OPEN
from tests.unit.transport.tcp.harness import (
    MS,
    MSS,
    PEER2,
    SEC,
    R,
    T,
    drain,
    expect,
    expect_nothing,
    listening,
    pattern,
    read,
    seg,
    send,
    write,
)


def _flooded(**options):
    """A listener whose half-open entries are all taken by peers that never answer."""
    s = listening(**options)
    for i in range(MAX_HALF_OPEN):
        send(s, seg("S", seq=R, peer_port=1000 + i), flush=False, src=PEER2)
    drain(s)
    assert s.tcp.half_open == MAX_HALF_OPEN
    return s


def _open(s, mss=MSS, wscale=7, sack_ok=True, ts=True, wait=0, flags="S", seq=R):
    """A client that answers: what came as SYN-ACK, and the connection or None."""
    send(s, seg(flags, seq=seq, mss=mss, wscale=wscale, sack_ok=sack_ok,
                ts=(T, 0) if ts else None))
    o = drain(s)[-1]
    assert o.ack == seq + 1
    if wait:
        s.advance(wait)
        drain(s)
    send(s, seg("A", seq=seq + 1, ack=o.seq + 1, ts=(T + 1, o.ts[0]) if o.ts else None))
    s.conn = s.listener.accept()
    return o, s.conn


def test_a_client_gets_through():
    s = _flooded()
    o, c = _open(s)
    assert c is not None and s.tcp.half_open == MAX_HALF_OPEN
    assert s.stats.counts["tcp.syn_cookies"] == 1 and s.stats.counts["tcp.cookie_opens"] == 1
    assert c.w[TS_ON] and c.sack_ok and c.w[SND_WSCALE] == 7 and c.mss == MSS - 12
    s.peer_ts = T + 1
    send(s, seg("A", seq=R + 1, ack=o.seq + 1, data=b"hello"))
    assert read(s) == b"hello"
    write(s, pattern(100))
    assert drain(s)[-1].data == pattern(100)


def test_a_place_is_free_in_between():
    """Its first SYN is answered by a cookie, its second finds a place; it takes the first."""
    for again in (1, 2):
        s = _flooded()
        options = {"mss": MSS, "wscale": 7, "sack_ok": True, "ts": (T, 0)}
        send(s, seg("S", seq=R, **options))
        first = drain(s)[-1]
        send(s, seg("R", seq=R + 1, peer_port=1000), src=PEER2)
        assert s.tcp.half_open == MAX_HALF_OPEN - 1
        s.tcp.isn = lambda *_: 777777
        send(s, seg("S", seq=R, **options))
        second = drain(s)[-1]
        assert s.tcp.half_open == MAX_HALF_OPEN and second.seq == 777777 != first.seq
        taken = first if again == 1 else second
        send(s, seg("A", seq=R + 1, ack=taken.seq + 1, ts=(T + 1, taken.ts[0])))
        assert not drain(s)
        c = s.listener.accept()
        assert c is not None and c.iss == taken.seq
        assert s.tcp.half_open == MAX_HALF_OPEN - 1 and s.tcp.live == 1
        # What answers neither is reset, and the entry stays.
        s = _flooded()
        send(s, seg("R", seq=R + 1, peer_port=1000), src=PEER2)
        send(s, seg("S", seq=R))
        drain(s)
        send(s, seg("A", seq=R + 1, ack=123456))
        expect(s, seg("R", seq=123456))
        assert s.tcp.half_open == MAX_HALF_OPEN and not s.tcp.live


def test_the_data_of_the_ack_is_taken():
    s = _flooded()
    send(s, seg("S", seq=R, mss=MSS))
    o = drain(s)[-1]
    send(s, seg("A", seq=R + 1, ack=o.seq + 1, data=b"GET /"))
    s.conn = s.listener.accept()
    assert read(s) == b"GET /"


def test_without_timestamps():
    """Window scale and SACK have no place: they are not agreed on, the answer does not say so."""
    s = _flooded()
    o, c = _open(s, ts=False)
    assert o.wscale is None and not o.sack_ok and o.ts is None
    assert not c.sack_ok and not c.w[TS_ON] and c.w[SND_WSCALE] == 0 == c.w[RCV_WSCALE]


def test_what_is_remembered():
    """Each combination of options, and the next smaller MSS of the table."""
    for mss, want in ((1460, 1460), (1459, 1440), (1400, 1360), (536, 536), (535, 88),
                      (9000, 1460), (None, 536)):
        s = _flooded()
        _, c = _open(s, mss=mss)
        assert c.mss == want - 12, (mss, c.mss)
    for wscale in (None, 0, 1, 14):
        for sack_ok in (False, True):
            s = _flooded()
            _, c = _open(s, wscale=wscale, sack_ok=sack_ok)
            assert c.w[SND_WSCALE] == (wscale or 0) and c.sack_ok == sack_ok
            assert (c.w[RCV_WSCALE] == 0) == (wscale is None)
    s = _flooded()
    o, c = _open(s, flags="SEW")
    assert c.ecn and "E" in o.flags
    s = _flooded()
    assert not _open(s, flags="SE")[1].ecn


def test_the_clock_does_not_run_backwards():
    """The bits in TSval make it older than the clock, never newer: later segments pass PAWS."""
    for ms in range(0, 130, 7):
        s = _flooded()
        s.advance(ms * MS)
        drain(s)
        o, c = _open(s)
        now = (s.now // 1000 + c.w[TS_OFF]) & 0xFFFFFFFF
        assert 0 <= (now - o.ts[0]) & 0xFFFFFFFF < 128


def test_age():
    """Good for 64 s at least, for 128 at most."""
    for wait, good in ((1 * SEC, True), (63 * SEC, True), (129 * SEC, False), (200 * SEC, False)):
        s = _flooded()
        _, c = _open(s, wait=wait)
        assert (c is not None) == good, wait


def test_forgeries():
    """Another number, port, address or bit: reset as what belongs to nothing."""
    for why, change in (
        ("hash", {"ack": 1}), ("MSS", {"ack": 1 << 24}), ("time", {"ack": 1 << 27}),
        ("the peer's number", {"seq": 1}), ("port", {"peer_port": 50001}),
        ("address", {"src": PEER2}),
    ):
        s = _flooded()
        send(s, seg("S", seq=R, mss=MSS))
        o = drain(s)[-1]
        more = {"src": change["src"]} if "src" in change else {}
        send(s, seg("A", seq=R + 1 + change.get("seq", 0), ack=o.seq + 1 + change.get("ack", 0),
                    peer_port=change.get("peer_port")), **more)
        assert s.listener.accept() is None, why
        assert "R" in drain(s)[-1].flags, why


def test_none_is_looked_for_when_none_was_given():
    s = listening()
    send(s, seg("A", seq=R + 1, ack=12345))
    expect(s, seg("R", seq=12345))
    assert "tcp.bad_cookie" not in s.stats.drops


def test_nothing_is_kept():
    """A thousand SYNs more: no entry, no path, no buffer."""
    s = _flooded()
    flows, paths = s.tcp.flows.count, s.paths
    for i in range(1000):
        send(s, seg("S", seq=R, peer_port=2000 + i), flush=False)
        assert len(drain(s)) == 1
    assert (s.tcp.flows.count, s.paths, s.tcp.half_open) == (flows, paths, MAX_HALF_OPEN)
    assert not s.buffers.in_use


def test_answer_is_not_repeated():
    """What is not kept is not sent again: the client's SYN comes again."""
    s = _flooded()
    send(s, seg("S", seq=R, mss=MSS))
    first = drain(s)[-1]
    s.listener._head, head = None, s.listener._head
    s.listener._due_at = 1 << 60
    expect_nothing(s, 10 * SEC)
    s.listener._head = head
    send(s, seg("S", seq=R, mss=MSS))
    assert drain(s)[-1].seq == first.seq


def test_full_accept_queue():
    """The program does not accept: then no SYN is answered, cookies or not."""
    s = _flooded(backlog=1)
    send(s, seg("S", seq=R, mss=MSS))
    o = drain(s)[-1]
    send(s, seg("A", seq=R + 1, ack=o.seq + 1))
    send(s, seg("S", seq=R, mss=MSS, peer_port=4000))
    assert not drain(s) and s.stats.dropped("tcp.backlog_full") == 1
