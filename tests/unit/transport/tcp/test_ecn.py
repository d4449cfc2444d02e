"""Explicit congestion notification: RFC 3168 6.1, both roles."""

from stack.core.frame import CAP_TSO4, CAP_TX_CSUM
from stack.transport.tcp import ecn
from stack.transport.tcp.block import SND_MAX
from tests.unit.transport.tcp.harness import (
    DELACK,
    MS,
    MSS,
    OUR_PORT,
    PEER,
    PEER_PORT,
    RTO,
    SEC,
    L,
    R,
    Script,
    drain,
    expect,
    expect_nothing,
    listening,
    pattern,
    read,
    seg,
    send,
    unmeasured,
    write,
)

ISN = L + 1
IRS = R + 1
ECT0 = 2
CE = 3


def _asking(answer="SAE", sack_ok=True, **options):
    """We opened and asked for it; the peer's SYN-ACK has the flags `answer`."""
    s = Script(ecn=ecn.ON, **options)
    s.conn = s.tcp.connect(PEER, PEER_PORT, s.now, 0, OUR_PORT)
    expect(s, seg("SEW", seq=L))
    send(s, seg(answer, seq=R, ack=L + 1, mss=MSS, wscale=7, sack_ok=sack_ok))
    assert expect(s, seg("A", seq=ISN)).tos == 0
    s.wnd = 60000
    return s


def _serving(flags="SEW", **options):
    s = listening(**options)
    send(s, seg(flags, seq=R, mss=MSS, wscale=7, sack_ok=True))
    s.answer = drain(s)[0]
    send(s, seg("A"))
    s.conn = s.listener.accept()
    s.wnd = 60000
    return s


# -- 6.1.1: the handshake


def test_negotiation():
    """A SYN with ECE and CWR, a SYN-ACK with ECE alone; everything else is no agreement."""
    for answer, want in (("SAE", True), ("SA", False), ("SAEW", False), ("SAW", False)):
        assert _asking(answer).conn.ecn == want, answer
    for flags, want in (("SEW", True), ("S", False), ("SE", False), ("SW", False)):
        s = _serving(flags)
        assert s.conn.ecn == want and ("E" in s.answer.flags) == want, flags
        assert "W" not in s.answer.flags


def test_settings():
    """OFF neither asks nor grants; the default grants only."""
    assert not _serving("SEW", ecn=ecn.OFF).conn.ecn
    s = Script()
    s.tcp.connect(PEER, PEER_PORT, s.now, 0, OUR_PORT)
    expect(s, seg("S", seq=L))


def test_lost_syn_goes_without():
    """6.1.1.1: "SHOULD send a SYN without ECE and CWR set"."""
    s = Script(ecn=ecn.ON)
    s.tcp.connect(PEER, PEER_PORT, s.now, 0, OUR_PORT)
    expect(s, seg("SEW", seq=L))
    expect(s, seg("S", seq=L), at=SEC)


def test_nothing_is_marked_without_agreement():
    s = _asking("SA")
    write(s, b"abc")
    assert expect(s, seg("A", data=b"abc")).tos == 0
    send(s, seg("A", ack=ISN + 3, data=b"abc"), tos=CE)
    expect(s, seg("A", ack=IRS + 3), at=DELACK)


# -- 6.1.4 to 6.1.6: what carries ECT


def test_new_data_is_ect():
    for s in (_asking(), _serving()):
        write(s, pattern(2 * MSS))
        assert [o.tos for o in drain(s)] == [ECT0, ECT0]


def test_what_is_not():
    """Handshake, pure ACKs, FIN without data, what is sent again, window probes."""
    s = _serving()
    assert s.answer.tos == 0
    send(s, seg("A", data=b"x" * 10))
    assert expect(s, seg("A", ack=IRS + 10), at=DELACK).tos == 0
    write(s, b"abc")
    assert expect(s, seg("A", data=b"abc")).tos == ECT0
    s.advance(DELACK + RTO)
    again = drain(s)
    assert again and all(o.tos == 0 for o in again)
    send(s, seg("A", seq=IRS + 10, ack=ISN + 3, wnd=0))
    write(s, b"def")
    s.advance(3 * SEC)
    probes = drain(s)
    assert probes and all(o.tos == 0 for o in probes)
    send(s, seg("A", seq=IRS + 10, ack=ISN + 3, wnd=1000))
    drain(s)
    send(s, seg("A", seq=IRS + 10, ack=ISN + 6))
    s.conn.shutdown(s.now)
    s.tcp.flush(s.now)
    assert expect(s, seg("FA")).tos == 0


# -- 6.1.3: the receiver


def test_echo_until_cwr():
    """"sets the ECN-Echo flag in ... all subsequent ACK packets ... until it receives a CWR
    packet", and each mark begins it anew.
    """
    s = _serving()
    send(s, seg("A", seq=IRS, data=b"a"), tos=CE)
    expect(s, seg("AE", ack=IRS + 1))
    send(s, seg("A", seq=IRS + 1, data=b"b"), tos=ECT0)
    expect(s, seg("AE", ack=IRS + 2), at=DELACK)
    write(s, b"data")
    expect(s, seg("AE", data=b"data"))
    send(s, seg("AW", seq=IRS + 2, ack=ISN + 4, data=b"c"), tos=ECT0)
    expect(s, seg("A", ack=IRS + 3), at=2 * DELACK)
    send(s, seg("AW", seq=IRS + 3, ack=ISN + 4, data=b"d"), tos=CE)
    expect(s, seg("AE", ack=IRS + 4))
    assert s.stats.counts["tcp.ce_marks"] == 2


def test_marks_that_count_nothing():
    """A pure ACK, or a segment outside of the window, is no data."""
    s = _serving()
    send(s, seg("A"), tos=CE)
    send(s, seg("A", seq=IRS + (1 << 22), data=b"x"), tos=CE)
    expect(s, seg("A", ack=IRS))
    send(s, seg("A", data=b"x"), tos=ECT0)
    expect(s, seg("A", ack=IRS + 1), at=DELACK)


def test_mark_on_what_comes_early():
    s = _serving()
    send(s, seg("A", seq=IRS + 100, data=b"x"), tos=CE)
    expect(s, seg("AE", ack=IRS))
    assert read(s) == b""


# -- 6.1.2: the sender


def _flight(n, make=_asking, **options):
    s = make(initial_segments=n, congestion="newreno", **options)
    unmeasured(s.conn)
    s.conn.rtt.sample(20 * MS)
    write(s, pattern((n + 20) * MSS))
    s.out_bytes = sum(len(o.data) for o in drain(s))
    return s


def test_echo_halves_once_a_window():
    for sack_ok in (True, False):
        s = _flight(10, sack_ok=sack_ok)
        c = s.conn
        send(s, seg("AE", ack=ISN + MSS), at=20 * MS)
        assert c.cc.cwnd == c.cc.ssthresh == 5 * MSS
        for i in range(2, 10):
            send(s, seg("AE", ack=ISN + i * MSS))
        assert c.cc.ssthresh == 5 * MSS and s.stats.counts["tcp.ecn_reductions"] == 1
        assert not c.retransmits
        send(s, seg("AE", ack=c.w[SND_MAX]), at=40 * MS)
        assert s.stats.counts["tcp.ecn_reductions"] == 2


def test_cwr_on_the_first_new_data():
    s = _flight(10)
    send(s, seg("AE", ack=ISN + 8 * MSS), at=20 * MS)
    out = drain(s)
    assert "W" in out[0].flags and out[0].tos == ECT0
    assert all("W" not in o.flags for o in out[1:])


def test_cwr_is_one_segment():
    """Not a frame that the device cuts, with the bit on every piece."""
    s = _flight(20, caps=CAP_TX_CSUM | CAP_TSO4)
    send(s, seg("AE", ack=ISN + 20 * MSS), at=20 * MS)
    out = drain(s)
    assert "W" in out[0].flags and len(out[0].data) == MSS and len(out[1].data) > MSS
    assert "W" not in out[1].flags


def test_loss_says_cwr_too():
    """"for any reason (because of a retransmit timeout, a Fast Retransmit ...)"."""
    s = _flight(10)
    blocks = [(ISN + MSS, ISN + 9 * MSS)]
    send(s, seg("A", ack=ISN, sack=blocks), at=20 * MS)
    out = drain(s)
    assert "W" not in out[0].flags and out[0].tos == 0
    send(s, seg("A", ack=ISN + 10 * MSS), at=40 * MS)
    assert "W" in (out[1:] + drain(s))[0].flags


def test_loss_in_a_reduced_window_costs_no_more():
    s = _flight(10)
    c = s.conn
    send(s, seg("AE", ack=ISN + MSS), at=20 * MS)
    drain(s)
    send(s, seg("A", ack=ISN + MSS, sack=[(ISN + 2 * MSS, ISN + 9 * MSS)]))
    assert [o.seq for o in drain(s)][0] == ISN + MSS
    assert c.recovering and c.cc.ssthresh == 5 * MSS


def test_echo_without_agreement():
    s = _flight(10, make=lambda **o: _asking("SA", **o))
    send(s, seg("AE", ack=ISN + MSS), at=20 * MS)
    assert s.conn.cc.ssthresh == 1 << 30
    expect_nothing(s, 0) if not s.out else drain(s)
