"""HTTP/2: states pair by pair, faults and their errors, limits, flow control, 100 streams."""

from stack.core.errors import ProtocolError
from stack.http.h2 import events, flow, frames, hpack, huffman
from stack.http.h2 import stream as st
from stack.http.h2.connection import Connection
from stack.http.h2.frames import PREFACE, push32, push_header, push_headers, push_settings

GET = [(":method", "GET"), (":scheme", "https"), (":authority", "h"), (":path", "/")]
POST = [(":method", "POST"), (":scheme", "https"), (":authority", "h"), (":path", "/")]
OK = [(":status", "200")]


def drain(c):
    out = []
    while True:
        e = c.next_event()
        if e is None:
            return out
        out.append(e)


def carry(a, b):
    """Bytes both ways until nothing moves; the events of both."""
    got = [], []
    while True:
        x = a.data_to_send()
        y = b.data_to_send()
        b.receive(x)
        a.receive(y)
        got[0].extend(drain(a))
        got[1].extend(drain(b))
        if not x and not y:
            return got


def pair():
    client, server = Connection(True), Connection(False)
    carry(client, server)
    return client, server


def frame(kind, flags, stream_id, payload=b""):
    out = bytearray()
    push_header(out, len(payload), kind, flags, stream_id)
    out.extend(payload)
    return bytes(out)


def headers(stream_id, fields, end=False, encoder=None):
    out = bytearray()
    push_headers(out, stream_id, (encoder or hpack.Encoder()).encode(fields), end)
    return bytes(out)


def u32(v):
    out = bytearray()
    push32(out, v)
    return bytes(out)


def begun(client=False):
    """A server (or client) that has had its peer's preface; what it said is thrown away."""
    c = Connection(client)
    if not client:
        c.receive(PREFACE)
    c.receive(frame(frames.SETTINGS, 0, 0))
    drain(c)
    c.data_to_send()
    return c


def sent_frames(c):
    """[(type, flags, stream, payload)] of what c wants to send."""
    data = bytes(c.data_to_send())
    out = []
    at = len(PREFACE) if data.startswith(PREFACE) else 0
    while at < len(data):
        n = data[at] << 16 | data[at + 1] << 8 | data[at + 2]
        out.append(
            (data[at + 3], data[at + 4], frames.get32(data, at + 5), data[at + 9 : at + 9 + n])
        )
        at += 9 + n
    return out


def failure(c, data, step=0):
    """The code of the connection's error, or None; the GOAWAY must say the same."""
    try:
        if step:
            for i in range(0, len(data), step):
                c.receive(data[i : i + step])
                drain(c)
        else:
            c.receive(data)
            drain(c)
    except ProtocolError as e:
        last = sent_frames(c)[-1]
        assert last[0] == frames.GOAWAY and frames.get32(last[3], 4) == e.code
        try:
            c.next_event()
            raise AssertionError("it went on")
        except ProtocolError:
            pass
        return e.code
    return None


# States.


def reach(state):
    """A server whose stream 1 is in a state, and the stream (None: idle, closed and forgotten)."""
    c = begun()
    if state == st.IDLE:
        return c, None
    end = state in (st.HALF_REMOTE, st.CLOSED)
    c.receive(headers(1, GET if end else POST, end))
    s = drain(c)[0].stream
    if state in (st.HALF_LOCAL, st.CLOSED):
        c.send_headers(s, OK, True)
    c.data_to_send()
    assert s.state == state
    return c, s


def test_state_table():
    """Every (state, frame) of the RFC's figure, by what the machine does."""
    P, C, F = frames.PROTOCOL_ERROR, frames.STREAM_CLOSED, "reset"
    inputs = (
        ("HEADERS", headers(1, [("a", "b")], True)),
        ("DATA", frame(frames.DATA, 0, 1, b"x")),
        ("DATA end", frame(frames.DATA, frames.END_STREAM, 1, b"x")),
        ("RST", frame(frames.RST_STREAM, 0, 1, u32(8))),
        ("WINDOW", frame(frames.WINDOW_UPDATE, 0, 1, u32(1))),
        ("PRIORITY", frame(frames.PRIORITY, 0, 1, bytes(5))),
        ("CONTINUATION", frame(frames.CONTINUATION, frames.END_HEADERS, 1)),
        ("PUSH", frame(frames.PUSH_PROMISE, frames.END_HEADERS, 1, u32(2))),
    )
    fine = "fine"
    table = {
        #                HEADERS  DATA  END   RST   WIN   PRIO  CONT  PUSH
        st.IDLE:        (F,       P,    P,    P,    P,    fine, P,    P),
        st.OPEN:        (fine,    fine, fine, F,    fine, fine, P,    P),
        st.HALF_LOCAL:  (fine,    fine, fine, F,    fine, fine, P,    P),
        st.HALF_REMOTE: (F,       F,    F,    F,    fine, fine, P,    P),
        st.CLOSED:      (C,       C,    C,    fine, fine, fine, P,    P),
    }  # fmt: skip
    for state in table:
        for (name, data), want in zip(inputs, table[state]):
            c, _ = reach(state)
            try:
                c.receive(data)
                got = drain(c)
                what = F if got and got[-1].kind == events.RESET else fine
            except ProtocolError as e:
                what = e.code
            assert what == want, (st.NAMES[state], name, what)


def reach_client(state):
    """A client whose stream 1 is in a state."""
    c = begun(True)
    if state == st.IDLE:
        return c
    s = c.request(GET, state in (st.HALF_LOCAL, st.CLOSED))
    if state in (st.HALF_REMOTE, st.CLOSED):
        c.receive(headers(1, OK, True))
        drain(c)
    c.data_to_send()
    assert s.state == state
    return c


def test_state_table_of_a_client():
    P, C, F = frames.PROTOCOL_ERROR, frames.STREAM_CLOSED, "reset"
    inputs = (
        ("HEADERS", headers(1, OK)),
        ("HEADERS end", headers(1, OK, True)),
        ("103", headers(1, [(":status", "103")])),
        ("DATA", frame(frames.DATA, 0, 1, b"x")),
        ("RST", frame(frames.RST_STREAM, 0, 1, u32(8))),
        ("WINDOW", frame(frames.WINDOW_UPDATE, 0, 1, u32(1))),
        ("PRIORITY", frame(frames.PRIORITY, 0, 1, bytes(5))),
        ("CONTINUATION", frame(frames.CONTINUATION, frames.END_HEADERS, 1)),
        ("PUSH", frame(frames.PUSH_PROMISE, frames.END_HEADERS, 1, u32(2))),
    )
    fine = "fine"
    table = {
        #                HEADERS  end   103   DATA  RST   WIN   PRIO  CONT  PUSH
        st.IDLE:        (P,       P,    P,    P,    P,    P,    fine, P,    P),
        st.OPEN:        (fine,    fine, fine, F,    F,    fine, fine, P,    P),
        st.HALF_LOCAL:  (fine,    fine, fine, F,    F,    fine, fine, P,    P),
        st.HALF_REMOTE: (F,       F,    F,    F,    F,    fine, fine, P,    P),
        st.CLOSED:      (C,       C,    C,    C,    fine, fine, fine, P,    P),
    }  # fmt: skip
    for state in table:
        for (name, data), want in zip(inputs, table[state]):
            for step in (len(data), 1):
                c = reach_client(state)
                try:
                    got = []
                    for i in range(0, len(data), step):
                        c.receive(data[i : i + step])
                        got += drain(c)
                    what = F if got and got[-1].kind == events.RESET else fine
                except ProtocolError as e:
                    what = e.code
                assert what == want, (st.NAMES[state], name, what)


def test_own_mistakes():
    """What the table calls a mistake raises ValueError and sends nothing."""
    for state, what, fine in (
        (st.OPEN, "data", True),
        (st.OPEN, "headers", True),
        (st.HALF_LOCAL, "data", False),
        (st.HALF_LOCAL, "headers", False),
        (st.HALF_REMOTE, "data", True),
        (st.CLOSED, "data", False),
        (st.CLOSED, "headers", False),
    ):
        c, s = reach(state)
        try:
            if what == "data":
                c.send_data(s, b"x")
            else:
                c.send_headers(s, OK)
            assert fine, (st.NAMES[state], what)
        except ValueError:
            assert not fine and not c.wants_to_send()
    c, s = reach(st.CLOSED)
    c.reset(s)
    assert not c.wants_to_send()


def test_table_is_whole():
    assert len(st.TABLE) == len(st.NAMES) == 5
    for row in st.TABLE:
        assert len(row) == 9
        for new in row:
            assert new in (st.MISTAKE, st.PEER, st.IS_CLOSED, st.IGNORE) or 0 <= new <= 4


# Faults.

E = frames
CONNECTION_FAULTS = (
    ("no preface", None, b"GET / HTTP/1.1\r\n\r\n", E.PROTOCOL_ERROR),
    ("preface, then no SETTINGS", None, PREFACE + frame(E.PING, 0, 0, bytes(8)), E.PROTOCOL_ERROR),
    ("ACK first", None, PREFACE + frame(E.SETTINGS, 1, 0), E.PROTOCOL_ERROR),
    ("frame too long", 0, b"\x00\x40\x01\x00\x00\x00\x00\x00\x01", E.FRAME_SIZE_ERROR),
    ("DATA on 0", 0, frame(E.DATA, 0, 0, b"x"), E.PROTOCOL_ERROR),
    ("HEADERS on 0", 0, headers(0, GET), E.PROTOCOL_ERROR),
    ("PRIORITY on 0", 0, frame(E.PRIORITY, 0, 0, bytes(5)), E.PROTOCOL_ERROR),
    ("RST on 0", 0, frame(E.RST_STREAM, 0, 0, u32(0)), E.PROTOCOL_ERROR),
    ("SETTINGS on 1", 0, frame(E.SETTINGS, 0, 1), E.PROTOCOL_ERROR),
    ("PING on 1", 0, frame(E.PING, 0, 1, bytes(8)), E.PROTOCOL_ERROR),
    ("GOAWAY on 1", 0, frame(E.GOAWAY, 0, 1, bytes(8)), E.PROTOCOL_ERROR),
    ("even stream", 0, headers(2, GET), E.PROTOCOL_ERROR),
    ("stream goes back", 0, headers(3, GET) + headers(1, GET), E.STREAM_CLOSED),
    ("SETTINGS of 5", 0, frame(E.SETTINGS, 0, 0, bytes(5)), E.FRAME_SIZE_ERROR),
    ("ACK with payload", 0, frame(E.SETTINGS, 1, 0, bytes(6)), E.FRAME_SIZE_ERROR),
    ("PING of 7", 0, frame(E.PING, 0, 0, bytes(7)), E.FRAME_SIZE_ERROR),
    ("RST of 5", 0, frame(E.RST_STREAM, 0, 1, bytes(5)), E.FRAME_SIZE_ERROR),
    ("WINDOW of 3", 0, frame(E.WINDOW_UPDATE, 0, 0, bytes(3)), E.FRAME_SIZE_ERROR),
    ("GOAWAY of 7", 0, frame(E.GOAWAY, 0, 0, bytes(7)), E.FRAME_SIZE_ERROR),
    ("WINDOW of zero", 0, frame(E.WINDOW_UPDATE, 0, 0, u32(0)), E.PROTOCOL_ERROR),
    ("WINDOW overflows", 0, frame(E.WINDOW_UPDATE, 0, 0, u32(0x7FFFFFFF)), E.FLOW_CONTROL_ERROR),
    ("ENABLE_PUSH 2", 0, frame(E.SETTINGS, 0, 0, b"\0\2\0\0\0\2"), E.PROTOCOL_ERROR),
    ("window setting", 0, frame(E.SETTINGS, 0, 0, b"\0\4\x80\0\0\0"), E.FLOW_CONTROL_ERROR),
    ("frame size small", 0, frame(E.SETTINGS, 0, 0, b"\0\5\0\0\x3f\xff"), E.PROTOCOL_ERROR),
    ("frame size large", 0, frame(E.SETTINGS, 0, 0, b"\0\5\1\0\0\0"), E.PROTOCOL_ERROR),
    ("CONNECT 2", 0, frame(E.SETTINGS, 0, 0, b"\0\x08\0\0\0\2"), E.PROTOCOL_ERROR),
    ("CONNECT 1, 0", 0, frame(E.SETTINGS, 0, 0, b"\0\x08\0\0\0\1\0\x08\0\0\0\0"), E.PROTOCOL_ERROR),
    ("HEADERS interrupted", 0, frame(E.HEADERS, 0, 1, b"\x82") + frame(E.PING, 0, 0, bytes(8)),
     E.PROTOCOL_ERROR),
    ("CONTINUATION elsewhere", 0, frame(E.HEADERS, 0, 1, b"\x82") + frame(E.CONTINUATION, 4, 3),
     E.PROTOCOL_ERROR),
    ("CONTINUATIONs, empty", 0, frame(E.HEADERS, 0, 1) + frame(E.CONTINUATION, 0, 1) * 20,
     E.ENHANCE_YOUR_CALM),
    ("CONTINUATIONs, long", 0,
     frame(E.HEADERS, 0, 1) + frame(E.CONTINUATION, 0, 1, bytes(16384)) * 5, E.ENHANCE_YOUR_CALM),
    ("padding", 0, headers(1, POST) + frame(E.DATA, E.PADDED, 1, b"\x05abcd"), E.PROTOCOL_ERROR),
    ("padding of nothing", 0, headers(1, POST) + frame(E.DATA, E.PADDED, 1), E.PROTOCOL_ERROR),
    ("HEADERS padding", 0, frame(E.HEADERS, E.PADDED | 4, 1, b"\x09\x82"), E.PROTOCOL_ERROR),
    ("HEADERS short", 0, frame(E.HEADERS, E.WITH_PRIORITY | 4, 1, bytes(4)), E.FRAME_SIZE_ERROR),
    ("depends on itself", 0, frame(E.HEADERS, 32 | 4, 1, u32(1) + b"\0\x82"), E.PROTOCOL_ERROR),
    ("HPACK index 0", 0, frame(E.HEADERS, 4, 1, b"\x80"), E.COMPRESSION_ERROR),
    ("HPACK index 62", 0, frame(E.HEADERS, 4, 1, b"\xbe"), E.COMPRESSION_ERROR),
    ("HPACK string", 0, frame(E.HEADERS, 4, 1, b"\x00\x05ab"), E.COMPRESSION_ERROR),
    ("HPACK no string", 0, frame(E.HEADERS, 4, 1, b"\x00"), E.COMPRESSION_ERROR),
    ("HPACK integer", 0, frame(E.HEADERS, 4, 1, b"\xff" * 9), E.COMPRESSION_ERROR),
    ("HPACK integer cut", 0, frame(E.HEADERS, 4, 1, b"\xff\x80"), E.COMPRESSION_ERROR),
    ("HPACK Huffman EOS", 0, frame(E.HEADERS, 4, 1, b"\x00\x84\xff\xff\xff\xff\x00"),
     E.COMPRESSION_ERROR),
    ("HPACK padding 0", 0, frame(E.HEADERS, 4, 1, b"\x00\x81\x18\x00"), E.COMPRESSION_ERROR),
    ("HPACK size", 0, frame(E.HEADERS, 4, 1, b"\x3f\xe2\x1f"), E.COMPRESSION_ERROR),
    ("HPACK late size", 0, frame(E.HEADERS, 4, 1, b"\x82\x20"), E.COMPRESSION_ERROR),
    ("HPACK three sizes", 0, frame(E.HEADERS, 4, 1, b"\x20\x20\x20\x82"), E.COMPRESSION_ERROR),
    ("PRIORITY_UPDATE on 1", 0, frame(E.PRIORITY_UPDATE, 0, 1, bytes(4)), E.PROTOCOL_ERROR),
    ("PRIORITY_UPDATE short", 0, frame(E.PRIORITY_UPDATE, 0, 0, bytes(3)), E.PROTOCOL_ERROR),
)  # fmt: skip


def test_connection_faults():
    for why, fresh, data, code in CONNECTION_FAULTS:
        for step in (0, 1):
            c = Connection(False) if fresh is None else begun()
            assert failure(c, data, step) == code, why


def test_hpack_bomb():
    """A few bytes that name one large entry again and again."""
    e = hpack.Encoder()
    block = e.encode(GET + [("x", "y" * 1900)]) + b"\xbe" * 100
    assert failure(begun(), frame(E.HEADERS, 5, 1, block)) == E.COMPRESSION_ERROR


def test_window_is_held():
    c = begun()
    c.receive(frame(E.SETTINGS, E.ACK, 0) + headers(1, POST))
    for _n in range(2):
        assert drain(c)[-1].kind in (events.REQUEST, events.DATA)
        c.receive(frame(E.DATA, 0, 1, bytes(8192)))
    c.receive(frame(E.DATA, 0, 1, b"x"))
    got = drain(c)
    assert got[-1].kind == events.RESET and got[-1].code == E.FLOW_CONTROL_ERROR


def test_client_faults():
    for why, data, code in (
        ("push", frame(E.PUSH_PROMISE, 4, 1, u32(2)), E.PROTOCOL_ERROR),
        ("ENABLE_PUSH", frame(E.SETTINGS, 0, 0, b"\0\2\0\0\0\1"), E.PROTOCOL_ERROR),
        ("a stream of its own", headers(2, OK), E.PROTOCOL_ERROR),
        ("a stream not asked for", headers(3, OK), E.PROTOCOL_ERROR),
    ):
        c = begun(True)
        c.request(GET, True)
        assert failure(c, data) == code, why
    for why, data in (
        ("no status", headers(1, [("a", "b")], True)),
        ("two", headers(1, OK + OK, True)),
        ("bad status", headers(1, [(":status", "20")], True)),
        ("101", headers(1, [(":status", "101")])),
        ("request", headers(1, GET, True)),
        ("1xx at the end", headers(1, [(":status", "100")], True)),
        ("DATA first", frame(E.DATA, 0, 1, b"x")),
        ("longer", headers(1, OK + [("content-length", "1")]) + frame(E.DATA, 0, 1, b"xy")),
        ("shorter", headers(1, OK + [("content-length", "3")]) + frame(E.DATA, 1, 1, b"xy")),
        ("shorter at once", headers(1, OK + [("content-length", "3")], True)),
        ("two lengths", headers(1, OK + [("content-length", "3"), ("content-length", "4")])),
        ("bad length", headers(1, OK + [("content-length", "+3")])),
    ):
        c = begun(True)
        c.request(GET, True)
        c.receive(data)
        got = drain(c)
        assert got[-1].kind == events.RESET and got[-1].code == E.PROTOCOL_ERROR, why
    c = begun(True)
    c.request([(":method", "HEAD")] + GET[1:], True, bodiless=True)
    c.receive(headers(1, OK + [("content-length", "3")], True))
    assert drain(c)[-1].end


MALFORMED = (
    ("no method", GET[1:]),
    ("no scheme", [GET[0]] + GET[2:]),
    ("no path", GET[:3]),
    ("empty path", GET[:3] + [(":path", "")]),
    ("relative path", GET[:3] + [(":path", "x")]),
    ("path with a blank", GET[:3] + [(":path", "/ HTTP/1.1")]),
    ("path star", GET[:3] + [(":path", "*")]),
    ("method with a blank", [(":method", "GET /")] + GET[1:]),
    ("twice", GET + [(":path", "/")]),
    ("status", GET + [(":status", "200")]),
    ("unknown", GET + [(":x", "y")]),
    ("late", GET[:3] + [("a", "b"), (":path", "/")]),
    ("capital", GET + [("A", "b")]),
    ("empty name", GET + [("", "b")]),
    ("blank in name", GET + [("a b", "c")]),
    ("colon in name", GET + [("a:", "c")]),
    ("CR", GET + [("a", "b\rc")]),
    ("LF", GET + [("a", "b\nc")]),
    ("NUL", GET + [("a", "b\0c")]),
    ("blank before", GET + [("a", " b")]),
    ("blank after", GET + [("a", "b ")]),
    ("connection", GET + [("connection", "close")]),
    ("keep-alive", GET + [("keep-alive", "1")]),
    ("proxy-connection", GET + [("proxy-connection", "x")]),
    ("transfer-encoding", GET + [("transfer-encoding", "chunked")]),
    ("upgrade", GET + [("upgrade", "h2c")]),
    ("te", GET + [("te", "gzip")]),
    ("host differs", GET + [("host", "other")]),
    ("user in authority", GET[:2] + [(":authority", "u@h"), (":path", "/")]),
    ("CONNECT with path", [(":method", "CONNECT")] + GET[1:]),
    ("CONNECT to nothing", [(":method", "CONNECT")]),
    (":protocol with GET", GET + [(":protocol", "websocket")]),
    ("length", GET + [("content-length", "1")]),
    ("length of text", GET + [("content-length", "one")]),
)


def test_malformed_requests_are_reset():
    for why, fields in MALFORMED:
        c = begun()
        c.receive(headers(1, fields, True) + headers(3, GET, True))
        got = drain(c)
        assert [e.kind for e in got] == [events.RESET, events.REQUEST], why
        assert got[0].code == E.PROTOCOL_ERROR, why
        assert (E.RST_STREAM, 0, 1, u32(E.PROTOCOL_ERROR)) in sent_frames(c), why


def test_good_requests():
    for fields in (
        GET,
        GET + [("te", "trailers")],
        GET + [("host", "h")],
        [(":method", "OPTIONS")] + GET[1:3] + [(":path", "*")],
        [(":method", "CONNECT"), (":authority", "h:1")],
        [(":method", "CONNECT"), (":protocol", "websocket")] + GET[1:],
        GET + [("x", "\u00e4")],
    ):
        c = begun()
        c.receive(headers(1, fields))
        got = drain(c)
        assert len(got) == 1 and got[0].kind == events.REQUEST and got[0].fields == fields


# Limits.


def test_rapid_reset():
    c = begun()
    e = hpack.Encoder()
    data = b""
    for i in range(1, 800, 2):
        data += headers(i, GET, True, e) + frame(E.RST_STREAM, 0, i, u32(8))
    assert failure(c, data) == E.ENHANCE_YOUR_CALM


def test_resets_that_we_are_made_to_send():
    c = begun()
    e = hpack.Encoder()
    data = b""
    for i in range(1, 800, 2):
        data += headers(i, POST, False, e) + frame(E.WINDOW_UPDATE, 0, i, u32(0))
    assert failure(c, data) == E.ENHANCE_YOUR_CALM


def test_honest_resets_are_fine():
    c = begun()
    e = hpack.Encoder()
    for i in range(1, 4000, 4):
        c.receive(headers(i, GET, True, e) + frame(E.RST_STREAM, 0, i, u32(8)))
        drain(c)
        c.receive(headers(i + 2, GET, True, e))
        c.send_headers(drain(c)[0].stream, OK, True)
        c.data_to_send()


def test_floods():
    for why, data in (
        ("PING", frame(E.PING, 0, 0, bytes(8)) * 10000),
        ("SETTINGS", frame(E.SETTINGS, 0, 0) * 20000),
        ("empty DATA", headers(1, POST) + frame(E.DATA, 0, 1) * 200),
    ):
        assert failure(begun(), data) == E.ENHANCE_YOUR_CALM, why


def test_concurrent_streams():
    c = begun()
    e = hpack.Encoder()
    c.receive(b"".join([headers(i, POST, False, e) for i in range(1, 203, 2)]))
    got = drain(c)
    assert len(got) == 100 and len(c.streams) == 100
    assert (E.RST_STREAM, 0, 201, u32(E.REFUSED_STREAM)) in sent_frames(c)
    # The refused one's fields are in the table all the same.
    c.send_headers(got[0].stream, OK, True)
    c.reset(got[0].stream)
    c.receive(headers(203, POST + [("x", "y")], False, e))
    assert drain(c)[0].fields[-1] == ("x", "y")


def test_client_heeds_concurrent_streams():
    c = begun(True)
    c.receive(frame(E.SETTINGS, 0, 0, b"\0\3\0\0\0\2"))
    drain(c)
    s = c.request(GET, True)
    c.request(GET, True)
    assert not c.can_open()
    try:
        c.request(GET, True)
        raise AssertionError
    except ValueError:
        pass
    c.receive(headers(1, OK, True))
    drain(c)
    assert s.state == st.CLOSED and c.can_open()


def test_goaway():
    client, server = pair()
    a, b = client.request(GET, True), client.request(GET, True)
    server.receive(client.data_to_send())
    first = drain(server)[0].stream
    # Stream 3 was not seen, says the server.
    client.receive(frame(E.GOAWAY, 0, 0, u32(1) + u32(0)))
    got = drain(client)
    assert [(e.kind, e.code) for e in got] == [(events.RESET, E.REFUSED_STREAM), (events.GOAWAY, 0)]
    assert got[0].stream is b and not client.can_open()
    server.send_headers(first, OK, True)
    client.receive(server.data_to_send())
    assert drain(client)[-1].end and a.state == st.CLOSED
    server.goaway()
    server.receive(headers(5, GET, True))
    assert drain(server) == []
    kinds = [f[0] for f in sent_frames(server)]
    assert kinds[-2:] == [E.GOAWAY, E.RST_STREAM]


# Flow control.


def test_bodies_wait_for_windows():
    client, server = pair()
    s = client.request(POST)
    body = bytes([i & 255 for i in range(200000)])
    at = client.send_data(s, body)
    assert at < len(body)
    client.data_to_send()  # headers, and as much as the windows let
    assert s.send_window == 0
    client, server = pair()
    s = client.request(POST)
    at = 0
    got = b""
    mine = None
    while True:
        if at < len(body):
            at += client.send_data(s, memoryview(body)[at:], True)
        events_server = carry(client, server)[1]
        for e in events_server:
            mine = e.stream or mine
            if e.kind == events.DATA:
                got += e.data
                server.consumed(e.stream, len(e.data))
        if s.state == st.HALF_LOCAL:
            break
    assert got == body
    assert mine.window.size > 16384  # the reader kept up, so it grew
    server.send_headers(mine, OK, True)
    carry(client, server)
    assert server._growth == flow.GROWTH and not client.streams and not server.streams


def test_settings_move_windows():
    """Section 6.9.2: the window may become negative, and then nothing goes."""
    c = begun(True)
    s = c.request(POST)
    assert c.send_data(s, bytes(10000)) == 10000
    c.data_to_send()
    c.receive(frame(E.SETTINGS, 0, 0, b"\0\4\0\0\0\x64"))
    drain(c)
    assert s.send_window == 100 - 10000
    c.send_data(s, b"more")
    c.data_to_send()
    c.receive(frame(E.WINDOW_UPDATE, 0, 1, u32(9901)))
    drain(c)
    assert [f[3] for f in sent_frames(c)] == [b"m"]
    c.receive(frame(E.SETTINGS, 0, 0, b"\0\4\0\0\0\x74"))
    drain(c)
    assert [f[3] for f in sent_frames(c)][-1] == b"ore"


def test_unread_bodies_stop_their_stream_only():
    """100 streams, readers unequal: the slow hold their own bytes only, all end, memory bounded."""
    client, server = pair()
    body = bytes(60000)
    streams = [client.request(POST) for _ in range(100)]
    at = [0] * 100
    got = {}
    unread = {}
    most = 0
    done = set()
    turn = 0
    while len(done) < 100:
        turn += 1
        assert turn < 20000, "no progress"
        for i, s in enumerate(streams):
            if at[i] < len(body):
                at[i] += client.send_data(s, memoryview(body)[at[i] :], True)
        for e in carry(client, server)[1]:
            if e.kind == events.DATA:
                i = e.stream.id
                got[i] = got.get(i, 0) + len(e.data)
                unread[e.stream] = unread.get(e.stream, 0) + len(e.data)
                if e.end:
                    done.add(i)
        total = 0
        for s in unread:
            total += unread[s]
        most = max(most, total)
        # Stream 1 is read at once, the next every second turn, ... the last hardly ever.
        for s in list(unread):
            if unread[s] and turn % ((s.id >> 1) + 1) == 0:
                server.consumed(s, unread[s])
                unread[s] = 0
        if turn == 3:
            assert got[1] > 3 * got[199]  # the quick one is not held by the slow
    assert all(n == 60000 for n in got.values())
    assert most <= 100 * 16384 + flow.GROWTH


def test_streams_take_turns():
    client, server = pair()
    a, b = client.request(GET, True), client.request(GET, True)
    c = client.request(GET + [("priority", "u=1")], True)
    got = carry(client, server)[1]
    x, y, z = [e.stream for e in got]
    assert (x.id, y.id, z.id) == (a.id, b.id, c.id) and (x.urgency, z.urgency) == (3, 1)
    # The first goes straight out as far as its window lets it; the others queue behind it.
    for s, pieces in ((x, 4), (y, 2), (z, 2)):
        server.send_headers(s, OK)
        for n in range(pieces):
            assert server.send_data(s, bytes(16384), n == pieces - 1) == 16384
    order = []
    while True:
        sent = [f[2] for f in sent_frames(server) if f[0] == E.DATA]
        if not sent:
            break
        order.extend(sent)
    assert order == [1, 1, 1, 5, 5, 1, 3, 3]
    server.receive(frame(E.PRIORITY_UPDATE, 0, 0, u32(1) + b"u=0"))
    drain(server)
    assert x.urgency == 0


def test_connect_protocol():
    client, server = pair()
    assert client.peer_connect_protocol
    s = client.request([(":method", "CONNECT"), (":protocol", "websocket")] + GET[1:])
    e = carry(client, server)[1][0]
    assert e.stream.tunnel and not e.end
    server.send_headers(e.stream, OK)
    server.send_data(e.stream, b"down")
    client.send_data(s, b"up")
    got = carry(client, server)
    assert [e.data for e in got[0] if e.kind == events.DATA] == [b"down"]
    assert [e.data for e in got[1] if e.kind == events.DATA] == [b"up"]


def test_ping_and_unknown_frames():
    client, server = pair()
    client.ping(b"12345678")
    assert [e.data for e in carry(client, server)[0]] == [b"12345678"]
    server.receive(frame(99, 255, 7, b"what") + frame(E.SETTINGS, 0, 0, b"\x77\x77\0\0\0\0"))
    assert [e.kind for e in drain(server)] == [events.SETTINGS]


def test_reset_while_sending():
    client, server = pair()
    s = client.request(POST)
    client.send_data(s, bytes(30000))
    client.send_data(s, bytes(30000))
    server.receive(client.data_to_send(20000))
    mine = drain(server)[0].stream
    server.reset(mine, E.CANCEL)
    got = carry(client, server)[0]
    assert got[-1].kind == events.RESET and got[-1].code == E.CANCEL
    assert not client.streams and not client.wants_to_send() and not s.queued
    assert server._window.credit + server._window.owed == server._window.size


def test_huffman():
    for text in (b"", b"www.example.com", bytes(range(256)), b"\xff" * 9):
        coded = huffman.encode(text)
        assert huffman.decode(coded, 0, len(coded)) == text
        assert len(coded) == huffman.encoded_size(text)
    # RFC 7541, C.4.1.
    assert huffman.encode(b"www.example.com") == b"\xf1\xe3\xc2\xe5\xf2:k\xa0\xab\x90\xf4\xff"
    for bad in (b"\x00", b"\xff\xff\xff\xff", b"\x1f\xff"):
        assert huffman.decode(bad, 0, len(bad)) is None, bad


def test_rfc7541_c6():
    """Appendix C.6: responses with Huffman and a table of 256 bytes."""
    d = hpack.Decoder()
    d._max = 256
    first = (
        b"H\x82d\x02X\x85\xae\xc3w\x1aKa\x96\xd0z\xbe\x94\x10T\xd4D\xa8 \x05\x95\x04\x0b\x81f"
        b"\xe0\x82\xa6-\x1b\xffn\x91\x9d)\xad\x17\x18c\xc7\x8f\x0b\x97\xc8\xe9\xae\x82\xaeC\xd3"
    )
    assert d.decode(first) == [
        (":status", "302"),
        ("cache-control", "private"),
        ("date", "Mon, 21 Oct 2013 20:13:21 GMT"),
        ("location", "https://www.example.com"),
    ]
    assert d.decode(b"H\x83d\x0e\xff\xc1\xc0\xbf")[0] == (":status", "307")
    assert d._size == 222


def test_settings_are_written():
    out = bytearray()
    push_settings(out, [(3, 100)])
    assert out == b"\0\0\6\4\0\0\0\0\0\0\3\0\0\0\x64"
