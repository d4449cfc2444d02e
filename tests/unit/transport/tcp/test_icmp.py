"""ICMP errors about our segments: RFC 9293 3.9.2.2, RFC 5461 (soft), RFC 5927 (forged)."""

from stack.core.errors import (
    ECONNREFUSED,
    EHOSTUNREACH,
    EMSGSIZE,
    ENETUNREACH,
    ENOPROTOOPT,
    EOPNOTSUPP,
    EPROTONOSUPPORT,
    ETIMEDOUT,
)
from stack.core.frame import Frame
from stack.net import icmp
from stack.transport.tcp.block import BACKOFF, REXMIT_AT, SND_MAX, SND_NXT, SND_UNA
from tests.unit.transport.tcp.harness import (
    MS,
    MSS,
    OUR,
    OUR2,
    OUR_PORT,
    PEER,
    PEER2,
    PEER_PORT,
    RTO,
    SEC,
    STATES,
    SYNCHRONIZED,
    IpHeader,
    L,
    R,
    assert_clean,
    drain,
    established,
    expect,
    expect_nothing,
    listening,
    pattern,
    seg,
    send,
    state,
    syn_received,
    syn_sent,
    time_wait,
    write,
)


def error(s, code, seq=L, src=OUR, dst=PEER, port=OUR_PORT, peer_port=PEER_PORT, n=8):
    """An ICMP error that quotes n bytes of a segment of ours arrives."""
    seq &= 0xFFFFFFFF
    b = bytes([
        port >> 8, port & 0xFF, peer_port >> 8, peer_port & 0xFF,
        seq >> 24, seq >> 16 & 0xFF, seq >> 8 & 0xFF, seq & 0xFF,
    ]) + bytes(12)  # fmt: skip
    f = Frame(bytearray(3) + b[:n])
    f.off = 3
    f.end = 3 + n
    s.tcp.on_error(code, IpHeader(src, dst), f, s.now)
    s.tcp.flush(s.now)


# -- opening

# RFC 9293 3.9.2.2 by ICMP's codes of "unreachable": 2 to 4 are hard, of which 4 is path MTU
# discovery's; the others are soft, time exceeded and parameter problems too.
OPENING = (
    ("net", 0, 0), ("host", 1, 0), ("protocol", 2, ENOPROTOOPT), ("port", 3, ECONNREFUSED),
    ("fragmentation needed", 4, 0), ("source route", 5, 0), ("net unknown", 6, 0),
    ("host unknown", 7, 0), ("filtered", 13, 0),
)


def test_opening():
    """SHLD-26: hard errors "SHOULD abort the connection"; MUST-54: soft ones "MUST NOT"."""
    for why, code, want in OPENING:
        s = syn_sent()
        error(s, icmp._UNREACHABLE[code])
        assert s.conn.error == want, why
        assert state(s) == ("CLOSED" if want else "SYN-SENT"), why
        if want:
            s.conn.close(s.now)
            assert_clean(s)
        else:
            expect(s, seg("S", seq=L), at=SEC)


def test_time_exceeded_is_soft():
    """As icmp.py tells it: EHOSTUNREACH; parameter problem: EPROTONOSUPPORT."""
    for code in (EHOSTUNREACH, EPROTONOSUPPORT, ENETUNREACH, EOPNOTSUPP):
        s = syn_sent()
        error(s, code)
        assert state(s) == "SYN-SENT" and not s.conn.error, code


def test_soft_error_then_answer():
    """The route came back: the connection opens and nothing is remembered."""
    s = syn_sent()
    error(s, EHOSTUNREACH)
    send(s, seg("SA", seq=R, ack=L + 1, mss=MSS))
    expect(s, seg("A", ack=R + 1))
    assert state(s) == "ESTABLISHED" and not s.conn.soft_error


def test_soft_error_is_the_reason_in_the_end():
    """3.9.2.2: "the application can be told" why it never opened."""
    for codes, want in (
        ((EHOSTUNREACH,), EHOSTUNREACH), ((EHOSTUNREACH, ENETUNREACH), ENETUNREACH),
        ((), ETIMEDOUT),
    ):
        s = syn_sent()
        for code in codes:
            error(s, code)
        s.advance(200 * SEC)
        assert state(s) == "CLOSED" and s.conn.error == want
        drain(s)


def test_soft_error_before_r1_does_not_hurry():
    s = syn_sent()
    s.advance(7500 * MS)
    drain(s)
    error(s, EHOSTUNREACH)
    assert state(s) == "SYN-SENT"
    s.advance(14 * SEC)
    assert state(s) == "SYN-SENT"


def test_simultaneous_open_is_not_aborted():
    """SYN-RECEIVED: the peer is there, so whoever says otherwise is not believed."""
    s = syn_received()
    for code in (ECONNREFUSED, ENOPROTOOPT, EHOSTUNREACH):
        error(s, code)
    assert state(s) == "SYN-RECEIVED"
    send(s, seg("A", ack=L + 1))
    assert state(s) == "ESTABLISHED"


# -- open


def test_no_error_aborts_a_synchronized_connection():
    """RFC 5461 4.1: hard errors are treated as soft, whatever the state."""
    for name, make in SYNCHRONIZED:
        for code in (ECONNREFUSED, ENOPROTOOPT, EHOSTUNREACH, ENETUNREACH, EPROTONOSUPPORT):
            s = make()
            seq = s.conn.w[SND_UNA]
            error(s, code, seq)
            error(s, code, seq - 1)
            expect_nothing(s)
            assert not s.conn.error, (name, code)
            if name == "TIME-WAIT":
                assert s.tcp.time_waits.count == 1
            else:
                assert state(s) == name, code


def test_error_does_not_retransmit():
    """RFC 1122 4.2.3.9: nor does it slow or hurry anything."""
    s = established()
    write(s, pattern(3 * MSS))
    drain(s)
    before = s.conn.cc.cwnd, s.conn.w[REXMIT_AT]
    error(s, EHOSTUNREACH, L + 1)
    expect_nothing(s)
    assert (s.conn.cc.cwnd, s.conn.w[REXMIT_AT]) == before
    expect(s, seg("A", seq=L + 1, n=MSS), at=RTO)


def test_soft_error_is_told_when_data_is_given_up():
    s = established()
    write(s, b"x")
    drain(s)
    error(s, EHOSTUNREACH, L + 1)
    s.advance(400 * SEC)
    assert state(s) == "CLOSED" and s.conn.error == EHOSTUNREACH
    drain(s)


def test_soft_error_is_forgotten_with_progress():
    """What stood in the way an hour ago is not why the peer is silent now."""
    s = established()
    write(s, b"x")
    drain(s)
    error(s, EHOSTUNREACH, L + 1)
    send(s, seg("A", ack=L + 2), at=SEC)
    drain(s)
    write(s, b"y")
    drain(s)
    s.advance(400 * SEC)
    assert state(s) == "CLOSED" and s.conn.error == ETIMEDOUT
    drain(s)


def test_soft_error_does_not_reach_the_program():
    """Sending and reading go on as if nothing had been said."""
    s = established()
    error(s, ECONNREFUSED, L + 1)
    write(s, b"x")
    expect(s, seg("A", data=b"x"))
    send(s, seg("A", ack=L + 2, data=b"y"))
    assert s.conn.recv_len() == 1 and not s.conn.error


# -- forged ones


def _out():
    """Three segments are out: SND.UNA is L+1, SND.NXT L+1+3*MSS."""
    s = established()
    write(s, pattern(3 * MSS))
    drain(s)
    return s


PLACES = (
    ("SND.UNA", L + 1, True), ("the middle", L + 1 + MSS, True),
    ("the last octet", L + 3 * MSS, True), ("before", L, False), ("far before", L - 100000, False),
    ("beyond", L + 2 + 3 * MSS, False), ("far beyond", L + 100000, False),
    ("the other half", L + 0x80000000, False),
)


def test_only_what_is_in_flight_is_meant():
    """RFC 5927 4.1: "SND.UNA =< SEG.SEQ < SND.NXT"."""
    for why, seq, heard in PLACES:
        s = _out()
        error(s, EHOSTUNREACH, seq)
        assert s.conn.soft_error == (EHOSTUNREACH if heard else 0), why
        assert s.stats.dropped("tcp.icmp_outside_window") == (0 if heard else 1), why


def test_forged_error_does_not_end_an_attempt():
    """A blind attacker must hit the SYN's number."""
    s = syn_sent()
    for seq in (0, L - 1, L + 2, L + 1000, L + 0x80000000):
        error(s, ECONNREFUSED, seq)
    assert state(s) == "SYN-SENT" and s.stats.dropped("tcp.icmp_outside_window") == 5
    error(s, ECONNREFUSED, L)
    assert state(s) == "CLOSED"


def test_window_of_sequence_numbers_wraps():
    s = established()
    c = s.conn
    c.w[SND_UNA] = 0xFFFFFF00
    c.w[SND_NXT] = c.w[SND_MAX] = 0x100
    for seq, heard in ((0xFFFFFEFF, 0), (0xFFFFFF00, 1), (0, 1), (0xFF, 1), (0x101, 0)):
        c.soft_error = 0
        error(s, EHOSTUNREACH, seq)
        assert (c.soft_error != 0) == bool(heard), hex(seq)


OTHERS = (
    ("another address of ours", {"src": OUR2}), ("another peer", {"dst": PEER2}),
    ("another port of ours", {"port": 81}), ("another port of the peer's", {"peer_port": 1}),
    ("turned round", {"src": PEER, "dst": OUR, "port": PEER_PORT, "peer_port": OUR_PORT}),
)


def test_errors_about_other_connections():
    for why, fields in OTHERS:
        s = syn_sent()
        error(s, ECONNREFUSED, L, **fields)
        assert state(s) == "SYN-SENT", why
        assert s.stats.dropped("tcp.icmp_no_flow") == 1, why


def test_short_quotes():
    """RFC 792 promises eight octets; less names no sequence number."""
    for n in range(8):
        s = syn_sent()
        error(s, ECONNREFUSED, L, n=n)
        assert state(s) == "SYN-SENT" and s.stats.dropped("tcp.icmp_short") == 1, n
    s = syn_sent()
    error(s, ECONNREFUSED, L, n=20)
    assert state(s) == "CLOSED"


# -- what is no connection


def test_half_open_and_listener():
    """The peer's handshake goes on: anyone can have forged it."""
    s = listening()
    error(s, ECONNREFUSED, L)
    assert s.stats.dropped("tcp.icmp_no_flow") == 1
    send(s, seg("S", seq=R))
    expect(s, seg("SA"))
    for code in (ECONNREFUSED, EHOSTUNREACH, EMSGSIZE):
        error(s, code, L)
    assert s.tcp.half_open == 1
    send(s, seg("A", ack=L + 1))
    assert s.listener.accept() is not None


def test_time_wait():
    s = time_wait()
    for code in (ECONNREFUSED, EMSGSIZE):
        error(s, code, L + 1)
    expect_nothing(s)
    s.advance(60 * SEC)
    assert_clean(s)


def test_dead_connection():
    """After a reset nothing is left that an error could be about."""
    s = established()
    send(s, seg("R", seq=R + 1))
    error(s, EHOSTUNREACH, L + 1)
    assert s.stats.dropped("tcp.icmp_no_flow") == 1


# -- path MTU: RFC 1191, RFC 5927 7


def test_segments_that_were_too_big_go_again():
    s = _out()
    s.mtu = s.conn.path.mtu = 1000
    error(s, EMSGSIZE, L + 1)
    out = drain(s)
    assert out[0].seq == L + 1 and [len(o.data) for o in out][:4] == [960] * 4
    assert b"".join(o.data for o in out) == pattern(3 * MSS)
    assert state(s) == "ESTABLISHED" and not s.conn.soft_error


def test_path_mtu_is_no_congestion():
    """RFC 1191 6.5: a retransmission for this reason "should not change the congestion window"."""
    s = _out()
    s.conn.cc.cwnd = 20000
    before = s.conn.cc.cwnd, s.conn.cc.ssthresh
    s.mtu = s.conn.path.mtu = 1000
    error(s, EMSGSIZE, L + 1)
    drain(s)
    assert (s.conn.cc.cwnd, s.conn.cc.ssthresh) == before
    assert s.conn.w[BACKOFF] == 0


def test_error_without_a_smaller_mtu_does_nothing():
    s = _out()
    for _ in range(5):
        error(s, EMSGSIZE, L + 1)
    expect_nothing(s)
    assert s.conn.mss == MSS and s.conn.retransmits == 0


def test_path_mtu_has_a_floor():
    """A forged 68 does not leave a byte a segment."""
    s = _out()
    s.conn.path.mtu = 68
    s.mtu = 128
    error(s, EMSGSIZE, L + 1)
    assert min(len(o.data) for o in drain(s)[:10]) == 88


def test_packet_too_big_in_every_state():
    for name, make in STATES:
        s = make()
        error(s, EMSGSIZE, s.conn.w[SND_UNA])
        expect_nothing(s)
        assert state(s) == name and not s.conn.error, name
