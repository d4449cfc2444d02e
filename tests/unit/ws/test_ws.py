"""WebSocket: handshakes, frames, fragments, UTF-8 across them, closing, faults, deflate."""

from stack.core.deflate import deflate as pack
from stack.core.errors import ProtocolError
from stack.http.headers import Headers
from stack.ws import deflate, frames, handshake
from stack.ws.connection import CLOSED, CLOSING, OPEN, Connection
from stack.ws.frames import BINARY, CLOSE, FIN, PING, PONG, RSV1, TEXT, check_utf8, push_frame


def rng(n):
    return bytes(range(1, n + 1))


def pair(compress=False):
    d = [deflate.Deflate(), deflate.Deflate()] if compress else [None, None]
    return Connection(True, rng, d[0]), Connection(False, rng, d[1])


def drain(c):
    out = []
    while True:
        e = c.next_event()
        if e is None:
            return out
        out.append(e)


def carry(a, b, step=0):
    got = [], []
    while True:
        x, y = bytes(a.data_to_send()), bytes(b.data_to_send())
        if not x and not y:
            return got
        for data, c, out in ((x, b, got[1]), (y, a, got[0])):
            for i in range(0, len(data), step or 1 << 30):
                c.receive(data[i : i + (step or len(data))])
                out.extend(drain(c))


def frame(first, data=b"", mask=b"\x01\x02\x03\x04"):
    out = bytearray()
    push_frame(out, first, data, mask)
    return bytes(out)


def test_messages_both_ways():
    for compress in (False, True):
        for step in (0, 1):
            client, server = pair(compress)
            for message in (
                "",
                "a",
                "\u00e4\u20ac\U0001f600" * 50,
                b"",
                b"\x00\xff" * 70,
                b"x" * 70000,
            ):
                if step and len(message) > 1000:
                    continue
                for one, other in ((client, server), (server, client)):
                    one.send(message)
                    got = carry(one, other, step)[1]
                    kind = TEXT if isinstance(message, str) else BINARY
                    assert got == [(kind, message)], (compress, step, len(message))


def test_fragments_with_control_frames_between():
    client, server = pair()
    text = "a\u00e4\u20ac"
    raw = text.encode()
    for cut in range(len(raw) + 1):
        server.receive(frame(TEXT, raw[:cut]) + frame(FIN | PING, b"p"))
        assert drain(server) == [(PING, b"p")]
        assert bytes(server.data_to_send()) == frame(FIN | PONG, b"p", None)
        server.receive(frame(FIN, raw[cut:]))
        assert drain(server) == [(TEXT, text)]
    client.send("ab", False)
    client.ping(b"1")
    client.send("", False)
    client.send("c")
    assert carry(client, server) == ([(PONG, b"1")], [(PING, b"1"), (TEXT, "abc")])


def test_utf8():
    good = (
        "",
        "a",
        "\u007f\u0080",
        "\u07ff\u0800",
        "\ud7ff\ue000",
        "\uffff\U00010000",
        "\U0010ffff",
    )
    for text in good:
        raw = text.encode()
        for cut in range(len(raw) + 1):
            s = check_utf8(raw, 0, cut, 0)
            assert s >= 0 and check_utf8(raw, cut, len(raw), s) == 0, text
    for raw in (
        b"\x80", b"\xc0\x80", b"\xc1\xbf", b"\xe0\x9f\xbf", b"\xed\xa0\x80", b"\xf0\x8f\xbf\xbf",
        b"\xf4\x90\x80\x80", b"\xf5\x80\x80\x80", b"\xff", b"\xc3\x28", b"\xe2\x28\xa1", b"a\xfe",
    ):  # fmt: skip
        assert check_utf8(raw, 0, len(raw), 0) == -1, raw
    for raw in (b"\xc3", b"\xe2\x82", b"\xf0\x9f\x98"):
        assert check_utf8(raw, 0, len(raw), 0) > 0


P, B, BIG = frames.PROTOCOL_ERROR, frames.BAD_DATA, frames.TOO_BIG
FAULTS = (
    ("RSV1", frame(FIN | RSV1 | TEXT, b"a"), P),
    ("RSV2", frame(FIN | 0x20 | TEXT, b"a"), P),
    ("RSV3", frame(FIN | 0x10 | TEXT, b"a"), P),
    ("opcode 3", frame(FIN | 3), P),
    ("opcode 7", frame(FIN | 7), P),
    ("opcode 11", frame(FIN | 11), P),
    ("opcode 15", frame(FIN | 15), P),
    ("not masked", frame(FIN | TEXT, b"a", None), P),
    ("long ping", frame(FIN | PING, b"a" * 126), P),
    ("ping in fragments", frame(PING, b"a"), P),
    ("close in fragments", frame(CLOSE), P),
    ("continuation of nothing", frame(FIN, b"a"), P),
    ("text in text", frame(TEXT, b"a") + frame(FIN | TEXT, b"b"), P),
    ("length 125 in 16 bits", b"\x81\xfe\x00\x7d" + bytes(4), P),
    ("length 65535 in 64 bits", b"\x81\xff" + (65535).to_bytes(8, "big") + bytes(4), P),
    ("length with its first bit", b"\x82\xff\x80" + bytes(11), P),
    ("too long", b"\x82\xff" + (1 << 40).to_bytes(8, "big") + bytes(4), BIG),
    ("too long together", frame(BINARY, bytes(1000000)) + frame(0, bytes(100000)), BIG),
    ("no UTF-8", frame(FIN | TEXT, b"\xff"), B),
    ("no UTF-8, early", frame(TEXT, b"\xff"), B),
    ("cut UTF-8", frame(FIN | TEXT, b"\xc3"), B),
    ("cut UTF-8 in fragments", frame(TEXT, b"a") + frame(FIN, b"\xe2\x82"), B),
    ("close of one byte", frame(FIN | CLOSE, b"\x03"), P),
    ("close 999", frame(FIN | CLOSE, b"\x03\xe7"), P),
    ("close 1004", frame(FIN | CLOSE, b"\x03\xec"), P),
    ("close 1005", frame(FIN | CLOSE, b"\x03\xed"), P),
    ("close 1006", frame(FIN | CLOSE, b"\x03\xee"), P),
    ("close 1015", frame(FIN | CLOSE, b"\x03\xf7"), P),
    ("close 2999", frame(FIN | CLOSE, b"\x0b\xb7"), P),
    ("close 5000", frame(FIN | CLOSE, b"\x13\x88"), P),
    ("close with bad reason", frame(FIN | CLOSE, b"\x03\xe8\xff"), B),
)


def test_faults():
    for why, data, code in FAULTS:
        for step in (0, 1):
            if step and len(data) > 1000:
                continue
            c = Connection(False, rng)
            try:
                for i in range(0, len(data), step or len(data)):
                    c.receive(data[i : i + (step or len(data))])
                    drain(c)
                raise AssertionError(why)
            except ProtocolError as e:
                assert e.code == code, why
            sent = bytes(c.data_to_send())
            assert sent[0] == FIN | CLOSE and sent[2] << 8 | sent[3] == code, why
            assert c.state == CLOSED and c.next_event()[0] == CLOSE and c.next_event() is None
            c.receive(frame(FIN | TEXT, b"more"))
            assert c.next_event() is None
    c = Connection(True, rng)
    c.receive(frame(FIN | TEXT, b"a"))
    try:
        c.next_event()
        raise AssertionError("masked by a server")
    except ProtocolError as e:
        assert e.code == P


MESSAGE = 9  # open, with a message begun


def test_states_and_inputs():
    """Every state, every frame, either end: what comes out, the state then, what is answered."""
    mask = rng(4)
    for client, theirs, own in ((False, mask, None), (True, None, mask)):
        inputs = (
            ("text", frame(FIN | TEXT, b"a", theirs)), ("begin", frame(BINARY, b"a", theirs)),
            ("continue", frame(0, b"b", theirs)), ("end", frame(FIN, b"c", theirs)),
            ("ping", frame(FIN | PING, b"a", theirs)), ("pong", frame(FIN | PONG, b"a", theirs)),
            ("close", frame(FIN | CLOSE, b"\x03\xe8", theirs)), ("eof", None),
        )  # fmt: skip
        ping, pong = [(PING, b"a")], [(PONG, b"a")]
        closed = ([(CLOSE, (1000, ""))], CLOSED)
        lost = ([(CLOSE, (1006, ""))], CLOSED, b"")
        answer, bye = frame(FIN | PONG, b"a", own), frame(FIN | CLOSE, b"\x03\xe8", own)
        quiet = ([], CLOSING, b"")
        table = {
            OPEN: (
                ([(TEXT, "a")], OPEN, b""), ([], OPEN, b""), P, P,
                (ping, OPEN, answer), (pong, OPEN, b""), closed + (bye,), lost,
            ),
            MESSAGE: (
                P, P, ([], OPEN, b""), ([(BINARY, b"-c")], OPEN, b""),
                (ping, OPEN, answer), (pong, OPEN, b""), closed + (bye,), lost,
            ),
            CLOSING: (
                quiet, quiet, P, P,
                (ping, CLOSING, b""), (pong, CLOSING, b""), closed + (b"",), lost,
            ),
            CLOSED: (([], CLOSED, b""),) * 8,
        }  # fmt: skip
        for state in table:
            for (name, data), want in zip(inputs, table[state]):
                c = Connection(client, rng)
                if state == MESSAGE:
                    c.receive(frame(BINARY, b"-", theirs))
                    assert drain(c) == []
                elif state != OPEN:
                    c.close()
                if state == CLOSED:
                    c.receive(frame(FIN | CLOSE, b"", theirs))
                    drain(c)
                c.data_to_send()
                try:
                    if data is None:
                        c.receive_eof()
                    else:
                        c.receive(data)
                    got = (drain(c), c.state, bytes(c.data_to_send()))
                except ProtocolError as e:
                    got = e.code
                assert got == want, (client, state, name, got)


def test_closing():
    client, server = pair()
    client.close(4000, "bye")
    assert carry(client, server)[1] == [(CLOSE, (4000, "bye"))]
    assert client.state == server.state == CLOSED
    for data in ("x", b"x"):
        try:
            client.send(data)
            raise AssertionError
        except ValueError:
            pass
    client.close()
    assert not client.data_to_send()
    for code, reason in ((1005, ""), (999, ""), (1000, "x" * 124)):
        c = Connection(False, rng)
        try:
            c.close(code, reason)
            raise AssertionError(code)
        except ValueError:
            assert c.state == OPEN


def test_pings_that_are_not_read():
    c = Connection(False, rng)
    for _ in range(10000):
        c.receive(frame(FIN | PING, b"x" * 100))
        drain(c)
    assert c.buffered < 10000


def test_buffered():
    c = Connection(False, rng)
    c.send(b"x" * 1000)
    assert c.buffered == 1004
    c.data_to_send()
    assert c.buffered == 0


def test_handshake():
    # RFC 6455, section 1.3.
    key = "dGhlIHNhbXBsZSBub25jZQ=="
    assert handshake.accept_of(key) == "s3pPLMBiTxaQ9kYGzzhZRbK+xOo="
    for protocols, chosen in ((("a", "b"), "a"), (("c",), None), ((), None)):
        for compress in (True, False):
            asked = Headers(handshake.offer(key, ("b", "a") if protocols else (), compress))
            server, fields = handshake.answer("GET", asked, protocols)
            client = handshake.check_answer(101, Headers(fields), key, ("b", "a"))
            want = "b" if chosen == "a" else chosen
            assert server.subprotocol == client.subprotocol == want
            assert (server.deflate is not None) == (client.deflate is not None) == compress
    asked = Headers(handshake.offer(None))
    server, fields = handshake.answer("CONNECT", asked, (), True, False)
    assert handshake.check_answer(200, Headers(fields), None).deflate


def test_bad_handshakes():
    key = handshake.new_key(rng)
    good = handshake.offer(key)
    for why, method, change, status in (
        ("version", "GET", ("Sec-WebSocket-Version", "8"), 426),
        ("no upgrade", "GET", ("Upgrade", "h2c"), 426),
        ("POST", "POST", ("X", "y"), 426),
        ("short key", "GET", ("Sec-WebSocket-Key", "abcd"), 400),
        ("no base64", "GET", ("Sec-WebSocket-Key", "!" * 24), 400),
        ("15 bytes", "GET", ("Sec-WebSocket-Key", "A" * 20 + "===="), 400),
    ):
        h = Headers(good)
        h[change[0]] = change[1]
        try:
            handshake.answer(method, h)
            raise AssertionError(why)
        except ProtocolError as e:
            assert e.code == status, why
    _, fields = handshake.answer("GET", Headers(good))
    for why, status, change in (
        ("status", 200, ("X", "y")),
        ("upgrade", 101, ("Upgrade", "x")),
        ("connection", 101, ("Connection", "close")),
        ("accept", 101, ("Sec-WebSocket-Accept", "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=")),
        ("subprotocol", 101, ("Sec-WebSocket-Protocol", "x")),
        ("extension", 101, ("Sec-WebSocket-Extensions", "x-other")),
        ("two", 101, ("Sec-WebSocket-Extensions", "permessage-deflate, permessage-deflate")),
        ("parameter", 101, ("Sec-WebSocket-Extensions", "permessage-deflate; x=1")),
        ("bits", 101, ("Sec-WebSocket-Extensions", "permessage-deflate; client_max_window_bits=7")),
    ):
        h = Headers(fields)
        h[change[0]] = change[1]
        try:
            handshake.check_answer(status, h, key)
            raise AssertionError(why)
        except ProtocolError:
            pass


def test_deflate_offers():
    d = "permessage-deflate"
    for offer, accepted in (
        ("", False),
        (d, True),
        (d + "; client_max_window_bits", True),
        (d + '; server_max_window_bits="10"', True),
        (d + "; server_max_window_bits=16, " + d, True),
        (d + "; server_max_window_bits=16", False),
        (d + "; server_max_window_bits", False),
        (d + "; server_max_window_bits=010", False),
        (d + "; server_no_context_takeover=1", False),
        (d + "; other", False),
        (d + "; client_max_window_bits; client_max_window_bits", False),
        ("x-webkit-deflate-frame", False),
    ):
        got, text = deflate.accept_offer(offer)
        assert (got is not None) == accepted == bool(text), offer


def test_compressed_messages():
    client, server = pair(True)
    text = "hello world, hello world, " * 100
    client.send(text)
    assert client.buffered < 400
    assert carry(client, server)[1] == [(TEXT, text)]
    # In fragments that cut the compressed bytes anywhere, byte by byte.
    packed = pack(text.encode())[:-4]
    for cut in (0, 1, 5, len(packed)):
        server.receive(frame(RSV1 | TEXT, packed[:cut]) + frame(0) + frame(FIN, packed[cut:]))
        assert drain(server) == [(TEXT, text)]
    # A final block (RFC 7692, 7.2.3.4), and a message after it.
    final = b"\xf3H\xcd\xc9\xc9\x07\x00\x00"
    server.receive(frame(FIN | RSV1 | TEXT, final) * 2)
    assert drain(server) == [(TEXT, "Hello")] * 2
    # Section 7.2.3.2: the window of the message before is used.
    fresh = Connection(False, rng, deflate.Deflate())
    for data in (b"\xf2H\xcd\xc9\xc9\x07\x00", b"\xf2\x00\x11\x00\x00"):
        fresh.receive(frame(FIN | RSV1 | TEXT, data))
        assert drain(fresh) == [(TEXT, "Hello")]


def test_compressed_faults():
    for why, data, code in (
        ("bomb", pack(bytes(1100000))[:-4], BIG),
        ("block type", b"\x07", B),
        ("distance", b"\x02\x7f\x00", B),
        ("no UTF-8", pack(b"\xff\xfe")[:-4], B),
    ):
        c = Connection(False, rng, deflate.Deflate())
        c.receive(frame(FIN | RSV1 | TEXT, data))
        try:
            got = drain(c)
            raise AssertionError((why, got))
        except ProtocolError as e:
            assert e.code == code, (why, e)
    c = Connection(False, rng, deflate.Deflate())
    c.receive(frame(RSV1 | TEXT, b"") + frame(FIN | RSV1, b""))
    try:
        drain(c)
        raise AssertionError("RSV1 on a continuation")
    except ProtocolError:
        pass
