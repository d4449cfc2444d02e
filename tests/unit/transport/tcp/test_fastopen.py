"""TCP Fast Open: RFC 7413, client and server."""

from stack.transport.tcp.block import SND_UNA
from stack.transport.tcp.fastopen import MAX_COOKIES
from tests.unit.transport.tcp.harness import (
    MSS,
    OUR_PORT,
    PEER,
    PEER2,
    PEER_PORT,
    SEC,
    L,
    R,
    Script,
    assert_clean,
    drain,
    expect,
    expect_nothing,
    listening,
    pattern,
    read,
    seg,
    send,
    state,
    write,
)

ISN = L + 1
IRS = R + 1


def _option(cookie):
    return bytes([34, 2 + len(cookie)]) + cookie


# -- the server (4.2)


def _server(qlen=4, **options):
    s = listening(**options)
    s.listener.fastopen = qlen
    return s


def _cookie_of(o):
    """The cookie of an emitted segment; None."""
    head = o.head
    i = 20
    while i < len(head):
        if head[i] == 0:
            return None
        if head[i] == 1:
            i += 1
            continue
        if head[i] == 34:
            return bytes(head[i + 2 : i + head[i + 1]])
        i += head[i + 1]
    return None


def _ask(s):
    """A SYN that asks for a cookie; what the server gave."""
    send(s, seg("S", seq=R, mss=MSS, options=_option(b"")))
    o = expect(s, seg("SA", seq=L, ack=R + 1))
    send(s, seg("R", seq=R + 1, ack=0))
    return _cookie_of(o)


def test_server_gives_a_cookie():
    """4.1.2: to a SYN with an empty option; not if Fast Open is off, not unasked."""
    s = _server()
    cookie = _ask(s)
    assert len(cookie) == 8 and cookie == _ask(s)
    send(s, seg("S", seq=R, mss=MSS))
    assert _cookie_of(expect(s, seg("SA"))) is None
    assert _ask(listening()) is None


def test_server_takes_data():
    """4.2.2: a good cookie: the SYN's data is delivered, SYN-ACK acknowledges it."""
    s = _server()
    cookie = _ask(s)
    send(s, seg("S", seq=R, mss=MSS, data=b"GET /", options=_option(cookie)))
    expect(s, seg("SA", seq=L, ack=R + 1 + 5))
    s.conn = s.listener.accept()
    assert s.conn is not None and state(s) == "SYN-RECEIVED"
    assert read(s) == b"GET /" and s.stats.counts["tcp.fast_opens"] == 1
    write(s, b"answer")
    assert s.listener.fast_pending == 1
    send(s, seg("A", seq=R + 6, ack=L + 1))
    assert state(s) == "ESTABLISHED" and s.listener.fast_pending == 0
    assert drain(s)[0].data == b"answer"


def test_server_refuses():
    """A wrong cookie, one of another address, of another length: an ordinary handshake, the data
    is not acknowledged, a good cookie comes back.
    """
    s = _server()
    cookie = _ask(s)
    for why, sent, src in (
        ("wrong", bytes([cookie[0] ^ 1]) + cookie[1:], PEER), ("short", cookie[:4], PEER),
        ("another's", cookie, PEER2),
    ):
        send(s, seg("S", seq=R, mss=MSS, data=b"data", options=_option(sent)), src=src)
        o = expect(s, seg("SA", seq=L, ack=R + 1))
        assert s.listener.accept() is None, why
        assert (_cookie_of(o) == cookie) == (src == PEER), why
        send(s, seg("R", seq=R + 1, ack=0), src=src)


def test_server_is_bounded():
    """5.1: "the maximum number of pending TFO connections": beyond it ordinary handshakes."""
    s = _server(2)
    cookie = _ask(s)
    for i in range(3):
        send(s, seg("S", seq=R, mss=MSS, data=b"x", options=_option(cookie), peer_port=100 + i))
        expect(s, seg("SA", ack=R + 2 if i < 2 else R + 1))
    assert s.listener.fast_pending == 2
    send(s, seg("R", seq=R + 2, ack=0, peer_port=100))
    assert s.listener.fast_pending == 1


def test_server_answers_again():
    """Its SYN-ACK was lost: by the timer, and when the SYN comes again."""
    s = _server()
    cookie = _ask(s)
    syn = seg("S", seq=R, mss=MSS, data=b"x", options=_option(cookie))
    send(s, syn)
    expect(s, seg("SA", seq=L, ack=R + 2))
    send(s, syn)
    expect(s, seg("SA", seq=L, ack=R + 2))
    expect(s, seg("SA", seq=L, ack=R + 2), within=2 * SEC)
    s.conn = s.listener.accept()
    assert read(s) == b"x" and not read(s)


def test_server_gives_up():
    s = _server()
    cookie = _ask(s)
    send(s, seg("S", seq=R, mss=MSS, data=b"x", options=_option(cookie)))
    s.conn = s.listener.accept()
    s.advance(300 * SEC)
    drain(s)
    assert state(s) == "CLOSED" and s.conn.error and s.listener.fast_pending == 0
    s.conn.close(s.now)
    s.listener.close(s.now)
    assert_clean(s)


# -- the client (4.1)


def _connect(s, port=PEER_PORT):
    s.conn = s.tcp.connect(PEER, port, s.now, 0, OUR_PORT, True)
    s.tcp.flush(s.now)
    return s.conn


def _with_cookie(cookie=b"12345678", mss=MSS):
    """A client that got one in an earlier connection, which is over."""
    s = Script()
    _connect(s)
    o = expect(s, seg("S", seq=L))
    assert _cookie_of(o) == b""
    send(s, seg("SA", seq=R, ack=ISN, mss=mss, options=_option(cookie)))
    expect(s, seg("A", seq=ISN))
    s.conn.abort(s.now)
    drain(s)
    return s


def test_client_asks_then_uses():
    s = _with_cookie()
    c = _connect(s)
    expect_nothing(s)
    assert c.events() & 4, "the program may write"
    data = pattern(300)
    write(s, data)
    o = expect(s, seg("S", seq=L, data=data))
    assert _cookie_of(o) == b"12345678"
    send(s, seg("SA", seq=R, ack=ISN + 300, mss=MSS))
    expect(s, seg("A", seq=ISN + 300, ack=IRS))
    assert state(s) == "ESTABLISHED" and not len(c.snd)
    write(s, b"more")
    expect(s, seg("A", seq=ISN + 300, data=b"more"))


def test_client_sends_no_more_than_fits():
    """4.1.3: limited by the MSS that was learnt with the cookie, the options' room off."""
    s = _with_cookie(mss=1000)
    _connect(s)
    data = pattern(3000)
    write(s, data)
    o = expect(s, seg("S", seq=L, n=960))
    assert o.data == data[:960]
    send(s, seg("SA", seq=R, ack=ISN + 960, mss=1000))
    got = b"".join(x.data for x in drain(s))
    assert got == data[960:]


def test_data_not_acknowledged_goes_again():
    """4.1.3: "If the SYN-ACK only acknowledges the SYN ... retransmits data"; or a part of it."""
    for acked in (0, 100):
        s = _with_cookie()
        _connect(s)
        data = pattern(300)
        write(s, data)
        expect(s, seg("S", seq=L, n=300))
        send(s, seg("SA", seq=R, ack=ISN + acked, mss=MSS))
        assert b"".join(o.data for o in drain(s)) == data[acked:], acked
        send(s, seg("A", seq=IRS, ack=ISN + 300))
        assert s.conn.w[SND_UNA] == ISN + 300


def test_lost_syn_goes_without():
    """4.1.3.1: no data, no cookie, and it is forgotten."""
    s = _with_cookie()
    _connect(s)
    write(s, b"x" * 10)
    expect(s, seg("S", n=10))
    o = expect(s, seg("S", seq=L), at=SEC)
    assert _cookie_of(o) is None and s.tcp.fast_open.known(PEER) is None
    send(s, seg("SA", seq=R, ack=ISN, mss=MSS))
    assert b"".join(o.data for o in drain(s)) == b"x" * 10


def test_not_unless_asked():
    """Off by default: no option in an ordinary SYN."""
    s = Script()
    s.conn = s.tcp.connect(PEER, PEER_PORT, s.now, 0, OUR_PORT)
    assert _cookie_of(expect(s, seg("S", seq=L))) is None


def test_cookies_are_bounded():
    s = Script()

    class H:
        options = 32
        buf = b"abcdefgh"
        cookie_off = 0
        cookie_len = 8

    f = s.tcp.fast_open
    for i in range(3 * MAX_COOKIES):
        f.learn(i, H, 1000)
        f.learn(i, H, 1001)
    assert len(f._cookies) == len(f._order) == MAX_COOKIES
    assert f.known(3 * MAX_COOKIES - 1) == (b"abcdefgh", 1001) and f.known(0) is None
    for n in (0, 3, 17):
        H.cookie_len = n
        f.learn(9999, H, 1000)
    assert f.known(9999) is None
