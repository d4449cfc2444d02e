"""STATUS, what may be set while a connection lives, and traces."""

from stack.transport.tcp import status
from stack.transport.tcp.trace import HEADER, Tracer
from tests.unit.transport.tcp.harness import (
    MS,
    MSS,
    OUR_PORT,
    PEER,
    PEER_PORT,
    SEC,
    L,
    R,
    Script,
    drain,
    established,
    expect,
    full,
    pattern,
    seg,
    send,
    unmeasured,
    write,
)

ISN = L + 1


def test_info():
    """What others have in TCP_INFO."""
    s = full(initial_segments=4, congestion="newreno")
    c = s.conn
    unmeasured(c)
    c.rtt.sample(20 * MS)
    write(s, pattern(4 * c.mss))
    drain(s)
    m = c.mss
    send(s, seg("A", ack=ISN, sack=[(ISN + m, ISN + 4 * m)]), at=20 * MS)
    i = c.info()
    assert i["state"] == "ESTABLISHED" and i["options"] == "sack timestamps wscale"
    assert i["cwnd"] == c.cc.cwnd and i["ssthresh"] == 2 * m and i["srtt_us"] == 20 * MS
    assert i["rto_us"] == 200 * MS and i["in_flight"] == 4 * m and i["sacked"] == 3 * m
    assert i["retransmits"] == 1 and i["recovery"] == "recovery" and i["congestion"] == "newreno"
    assert i["min_rtt_us"] == 20 * MS and i["backoff"] == 0 and i["lost"] == 0


def test_congestion_control_of_one_connection():
    s = established(congestion="cubic")
    c = s.conn
    c.cc.cwnd = 12345
    status.set_congestion(c, "newreno")
    assert c.cc.name == "newreno" and c.cc.cwnd == 12345
    assert s.tcp.congestion.name == "cubic"


def test_maxseg():
    """TCP_MAXSEG before the SYN lowers what it offers; later what is sent; never raises."""
    s = Script()
    s.conn = s.tcp.connect(PEER, PEER_PORT, s.now, 0, OUR_PORT)
    status.limit_mss(s.conn, 700)
    assert expect(s, seg("S", seq=L)).mss == 700
    send(s, seg("SA", seq=R, ack=ISN, mss=MSS))
    drain(s)
    write(s, pattern(1400))
    assert [len(o.data) for o in drain(s)] == [700, 700]
    s = established(mss=536)
    status.limit_mss(s.conn, 1000)
    write(s, pattern(1072))
    assert [len(o.data) for o in drain(s)] == [536, 536]


def test_maxseg_of_what_is_out():
    s = established()
    data = pattern(2 * MSS)
    write(s, data)
    drain(s)
    status.limit_mss(s.conn, 500)
    s.tcp.flush(s.now)
    out = drain(s)
    assert max(len(o.data) for o in out) == 500 and b"".join(o.data for o in out) == data


def test_user_timeout():
    """RFC 5482 3.1, as a local setting: R2 for data that nobody acknowledges; 0 is the default."""
    s = established()
    status.set_user_timeout(s.conn, 3 * SEC, s.now)
    write(s, b"x")
    s.advance(10 * SEC)
    assert s.states[-1] == "CLOSED" and s.conn.error == 110
    status.set_user_timeout(s.conn, 0, s.now)
    assert s.conn.user_timeout_us == 300 * SEC


def test_user_timeout_option():
    """RFC 5482: said when it is set, heeded within limits, unless a program has set its own."""
    s = established(uto=True)
    status.set_user_timeout(s.conn, 40 * SEC, s.now)
    assert expect(s, seg(ack=R + 1)).head[20:] == b"\x1c\x04\0\x28"
    for said, us in ((b"\x03\x84", 40), (b"\x80\x1e", 40)):
        send(s, seg(options=b"\x1c\x04" + said))
        assert s.conn.user_timeout_us == us * SEC
    status.set_user_timeout(s.conn, 0, s.now)
    assert expect(s, seg(ack=R + 1)).head[20:] == b"\x1c\x04\x01\x2c"
    for said, us in ((b"\x03\x84", 900), (b"\0\x05", 300), (b"\x80\x10", 960),
                     (b"\0\0", 960), (b"\xff\xff", 1800)):  # fmt: skip
        send(s, seg(options=b"\x1c\x04" + said))
        assert s.conn.user_timeout_us == us * SEC, said


# -- traces


def _trace(s, wanted=lambda c: True):
    lines = []
    s.tcp.tracer = Tracer(wanted, lines.append, s.now)
    return lines


def test_trace():
    """A line an event: what left, what came, what went again, and the variables."""
    s = established()
    lines = _trace(s)
    write(s, pattern(100))
    send(s, seg("A", ack=ISN + 100, data=b"abc"), at=7 * MS)
    write(s, b"x")
    s.advance(300 * MS)
    rows = [dict(zip(HEADER.strip().split(","), line.strip().split(","))) for line in lines[1:]]
    assert lines[0] == HEADER
    assert [(r["event"], r["seq"], r["len"]) for r in rows[:2]] == [
        ("tx", "1", "100"), ("rx", "1", "3"),
    ]
    assert rows[1]["time_us"] == "7000" and rows[1]["ack"] == "101" and rows[1]["flight"] == "100"
    assert any(r["event"] == "retx" and r["seq"] == "101" for r in rows)
    assert all(r["connection"] == "80-40000" and r["ssthresh"] in ("-1", "2920") for r in rows)
    s.conn.close(s.now)
    assert lines[-1].split(",")[1] == "FIN-WAIT-1" or "CLOSED" in lines[-1]


def test_trace_of_one_connection():
    s = established()
    other = []
    s.tcp.tracer = Tracer(lambda c: c is not s.conn, other.append, s.now)
    write(s, b"x")
    assert other == [HEADER]


def test_trace_ends():
    from stack.transport.tcp import trace

    s = established()
    lines = _trace(s)
    s.tcp.tracer.lines = trace.MAX_LINES
    write(s, b"x")
    assert len(lines) == 1
