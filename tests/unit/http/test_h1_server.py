"""Requests: what must not be understood (smuggling), pipelining, states and inputs pair by pair."""

from stack.core.errors import ProtocolError
from stack.http import h1
from stack.http.h1 import DATA, END, HEAD, NEED_DATA, build_response
from stack.http.h1write import last_chunk

TOP = b"POST / HTTP/1.1\r\nHost: h\r\n"
CH = TOP + b"Transfer-Encoding: chunked\r\n\r\n"
CL = b"Content-Length: "
TE = b"Transfer-Encoding: "
END_ = b"0\r\n\r\n"
EVIL = b"GET /evil HTTP/1.1\r\nHost: h\r\n\r\n"


def read(data, step=0, eof=True):
    """Every request in data: [(method, target, headers, body, trailers)]; ProtocolError."""
    h1.memo.clear()
    p = h1.Request()
    out = []
    body = b""
    step = step or len(data) or 1

    def drain():
        nonlocal body
        while True:
            event = p.next_event()
            if event == NEED_DATA:
                return
            if event == DATA:
                body += p.data
            elif event == END:
                if not p.method:
                    return
                t = p.trailers and p.trailers.items()
                out.append((p.method, p.target, p.headers.items(), body, t))
                body = b""
                p.again()

    for i in range(0, len(data), step):
        p.receive(data[i : i + step])
        drain()
    if eof:
        p.receive_eof()
        drain()
    return out


def refusal(data, step=0):
    """fault_status of a refused request, 0 if it was not refused."""
    h1.memo.clear()
    p = h1.Request()
    try:
        step = step or len(data)
        for i in range(0, len(data), step):
            p.receive(data[i : i + step])
            while p.next_event() not in (NEED_DATA, END):
                pass
            if p.complete():
                p.again()
    except ProtocolError:
        return p.fault_status
    return 0


SMUGGLING = (
    # Two lengths, or a length that two parsers read differently.
    ("CL and TE", TOP + CL + b"5\r\n" + TE + b"chunked\r\n\r\n" + END_),
    ("TE and CL", TOP + TE + b"chunked\r\n" + CL + b"5\r\n\r\n" + END_),
    ("CL twice, equal", TOP + CL + b"5\r\n" + CL + b"5\r\n\r\nhello"),
    ("CL twice", TOP + CL + b"5\r\n" + CL + b"6\r\n\r\nhello!"),
    ("CL list, equal", TOP + CL + b"5, 5\r\n\r\nhello"),
    ("CL list", TOP + CL + b"5, 6\r\n\r\nhello!"),
    ("CL +", TOP + CL + b"+5\r\n\r\nhello"),
    ("CL -", TOP + CL + b"-5\r\n\r\nhello"),
    ("CL hex", TOP + CL + b"0x5\r\n\r\nhello"),
    ("CL octal", TOP + CL + b"0o5\r\n\r\nhello"),
    ("CL _", TOP + CL + b"1_0\r\n\r\nhellohello"),
    ("CL blank inside", TOP + CL + b"1 0\r\n\r\nhellohello"),
    ("CL empty", TOP + CL + b"\r\n\r\nhello"),
    ("CL ,", TOP + CL + b",5\r\n\r\nhello"),
    ("CL 5,", TOP + CL + b"5,\r\n\r\nhello"),
    ("CL .", TOP + CL + b"5.0\r\n\r\nhello"),
    ("CL e", TOP + CL + b"5e0\r\n\r\nhello"),
    ("CL ;", TOP + CL + b"5;a\r\n\r\nhello"),
    ("CL quoted", TOP + CL + b'"5"\r\n\r\nhello'),
    ("CL huge", TOP + CL + b"9" * 20 + b"\r\n\r\nhello"),
    ("CL 2^64", TOP + CL + b"18446744073709551621\r\n\r\nhello"),
    ("CL Arabic digit", TOP + CL + b"\xd9\xa5\r\n\r\nhello"),
    ("CL with VT", TOP + CL + b"\x0b5\r\n\r\nhello"),
    ("CL with FF", TOP + CL + b"5\x0c\r\n\r\nhello"),
    ("CL with NUL", TOP + CL + b"5\x00\r\n\r\nhello"),
    ("CL blank before colon", TOP + b"Content-Length : 5\r\n\r\nhello"),
    ("CL tab before colon", TOP + b"Content-Length\t: 5\r\n\r\nhello"),
    ("CL folded", TOP + b"Content-Length:\r\n 5\r\n\r\nhello"),
    ("CL after NUL name", TOP + b"\x00Content-Length: 5\r\n\r\nhello"),
    ("CL name with a byte", TOP + b"Content-Length\xa0: 5\r\n\r\nhello"),
    ("CL hidden by CR", TOP + b"X: y\rContent-Length: 5\r\n\r\nhello"),
    ("CL hidden by LF", TOP + b"X: y\nContent-Length: 5\r\n\r\nhello"),
    # Transfer-Encoding that one reader sees and another does not.
    ("TE xchunked", TOP + TE + b"xchunked\r\n\r\n" + END_),
    ("TE identity", TOP + TE + b"identity\r\n\r\n" + END_),
    ("TE identity, CL", TOP + TE + b"identity\r\n" + CL + b"5\r\n\r\nhello"),
    ("TE chunked, identity", TOP + TE + b"chunked, identity\r\n\r\n" + END_),
    ("TE identity, chunked", TOP + TE + b"identity, chunked\r\n\r\n" + END_),
    ("TE gzip", TOP + TE + b"gzip\r\n\r\n" + END_),
    ("TE gzip, chunked", TOP + TE + b"gzip, chunked\r\n\r\n" + END_),
    ("TE chunked, chunked", TOP + TE + b"chunked, chunked\r\n\r\n" + END_),
    ("TE twice", TOP + TE + b"chunked\r\n" + TE + b"chunked\r\n\r\n" + END_),
    ("TE chunked and x", TOP + TE + b"chunked\r\n" + TE + b"x\r\n\r\n" + END_),
    ("TE x and chunked", TOP + TE + b"x\r\n" + TE + b"chunked\r\n\r\n" + END_),
    ("TE ,chunked", TOP + TE + b",chunked\r\n\r\n" + END_),
    ("TE chunked,", TOP + TE + b"chunked,\r\n\r\n" + END_),
    ("TE chunked;a", TOP + TE + b"chunked;a=b\r\n\r\n" + END_),
    ("TE quoted", TOP + TE + b'"chunked"\r\n\r\n' + END_),
    ("TE empty", TOP + TE + b"\r\n\r\n" + END_),
    ("TE VT", TOP + TE + b"\x0bchunked\r\n\r\n" + END_),
    ("TE FF", TOP + TE + b"chunked\x0c\r\n\r\n" + END_),
    ("TE NUL", TOP + TE + b"chunked\x00\r\n\r\n" + END_),
    ("TE NBSP", TOP + TE + b"\xa0chunked\r\n\r\n" + END_),
    ("TE blank before colon", TOP + b"Transfer-Encoding : chunked\r\n\r\n" + END_),
    ("TE tab before colon", TOP + b"Transfer-Encoding\t: chunked\r\n\r\n" + END_),
    ("TE VT before colon", TOP + b"Transfer-Encoding\x0b: chunked\r\n\r\n" + END_),
    ("TE blank in front", TOP + b" Transfer-Encoding: chunked\r\n\r\n" + END_),
    ("TE folded", TOP + b"Transfer-Encoding:\r\n chunked\r\n\r\n" + END_),
    ("TE folded by tab", TOP + b"Transfer-Encoding:\r\n\tchunked\r\n\r\n" + END_),
    ("TE in a fold", TOP + b"X: y\r\n Transfer-Encoding: chunked\r\n\r\n" + END_),
    ("TE hidden by CR", TOP + b"X: y\rTransfer-Encoding: chunked\r\n\r\n" + END_),
    ("TE hidden by LF", TOP + b"X: y\nTransfer-Encoding: chunked\r\n\r\n" + END_),
    ("TE split by LF", TOP + b"Transfer-Encoding\n: chunked\r\n\r\n" + END_),
    ("TE in HTTP/1.0", b"POST / HTTP/1.0\r\nHost: h\r\n" + TE + b"chunked\r\n\r\n" + END_),
    # Chunks.
    ("size empty", CH + b"\r\nhello\r\n" + END_),
    ("size blank before", CH + b" 5\r\nhello\r\n" + END_),
    ("size blank after", CH + b"5 \r\nhello\r\n" + END_),
    ("size tab after", CH + b"5\t\r\nhello\r\n" + END_),
    ("size 0x", CH + b"0x5\r\nhello\r\n" + END_),
    ("size +", CH + b"+5\r\nhello\r\n" + END_),
    ("size -", CH + b"-5\r\nhello\r\n" + END_),
    ("size g", CH + b"5g\r\nhello\r\n" + END_),
    ("size _", CH + b"0_5\r\nhello\r\n" + END_),
    ("size ,", CH + b"5,\r\nhello\r\n" + END_),
    ("size 2^64 + 5", CH + b"10000000000000005\r\nhello\r\n" + END_),
    ("size with many zeros", CH + b"0" * 40 + b"5\r\nhello\r\n" + END_),
    ("size then LF", CH + b"5\nhello\r\n" + END_),
    ("size then CR", CH + b"5\rhello\r\n" + END_),
    ("size then CR CR LF", CH + b"5\r\r\nhello\r\n" + END_),
    ("extension with LF", CH + b"5;a\nb\r\nhello\r\n" + END_),
    ("extension with CR", CH + b"5;a\rb\r\nhello\r\n" + END_),
    ("extension with NUL", CH + b"5;\x00\r\nhello\r\n" + END_),
    ("extension too long", CH + b"5;" + b"a" * 300 + b"\r\nhello\r\n" + END_),
    ("chunk ends in LF", CH + b"5\r\nhello\n" + END_),
    ("chunk ends in CR", CH + b"5\r\nhello\r" + END_),
    ("chunk without an end", CH + b"5\r\nhello" + END_),
    ("chunk ends in two bytes", CH + b"5\r\nhelloXX" + END_),
    ("chunk too short", CH + b"6\r\nhello\r\n" + END_),
    ("chunk too long", CH + b"4\r\nhello\r\n" + END_),
    ("last chunk LF", CH + b"0\n\r\n"),
    ("trailers end in LF", CH + b"0\r\n\n" + EVIL),
    ("trailer folded", CH + b"0\r\nA: b\r\n c\r\n\r\n"),
    ("trailer without colon", CH + b"0\r\nGET /evil HTTP/1.1\r\n\r\n"),
    # The head.
    ("LF ends the line", b"GET / HTTP/1.1\nHost: h\r\n\r\n"),
    ("LF ends the head", b"GET / HTTP/1.1\r\nHost: h\r\n\n"),
    ("CR CR LF", b"GET / HTTP/1.1\r\nHost: h\r\r\n\r\n"),
    ("blank first line", b" GET / HTTP/1.1\r\nHost: h\r\n\r\n"),
    ("two blanks", b"GET  / HTTP/1.1\r\nHost: h\r\n\r\n"),
    ("two blanks before version", b"GET /  HTTP/1.1\r\nHost: h\r\n\r\n"),
    ("blank at the end", b"GET / HTTP/1.1 \r\nHost: h\r\n\r\n"),
    ("tab", b"GET\t/\tHTTP/1.1\r\nHost: h\r\n\r\n"),
    ("version twice", b"GET / HTTP/1.1 HTTP/1.1\r\nHost: h\r\n\r\n"),
    ("blank in target", b"GET /a b HTTP/1.1\r\nHost: h\r\n\r\n"),
    ("NUL in target", b"GET /\x00 HTTP/1.1\r\nHost: h\r\n\r\n"),
    ("byte in target", b"GET /\xff HTTP/1.1\r\nHost: h\r\n\r\n"),
    ("fragment", b"GET /#a HTTP/1.1\r\nHost: h\r\n\r\n"),
    ("no slash", b"GET evil HTTP/1.1\r\nHost: h\r\n\r\n"),
    ("other scheme", b"GET gopher://h/ HTTP/1.1\r\nHost: h\r\n\r\n"),
    ("star", b"GET * HTTP/1.1\r\nHost: h\r\n\r\n"),
    ("CONNECT to a path", b"CONNECT /x HTTP/1.1\r\nHost: h\r\n\r\n"),
    ("method", b"G(T / HTTP/1.1\r\nHost: h\r\n\r\n"),
    ("no version", b"GET /\r\n"),
    ("HTTP/0.9", b"GET / HTTP/0.9\r\nHost: h\r\n\r\n"),
    ("HTTP/1.2", b"GET / HTTP/1.2\r\nHost: h\r\n\r\n"),
    ("http/1.1", b"GET / http/1.1\r\nHost: h\r\n\r\n"),
    ("HTTP/1.10", b"GET / HTTP/1.10\r\nHost: h\r\n\r\n"),
    ("HTTP/01.1", b"GET / HTTP/01.1\r\nHost: h\r\n\r\n"),
    ("no Host", b"GET / HTTP/1.1\r\n\r\n"),
    ("two Hosts", b"GET / HTTP/1.1\r\nHost: h\r\nHost: h\r\n\r\n"),
    ("bad Host", b"GET / HTTP/1.1\r\nHost: h/x\r\n\r\n"),
    ("user in Host", b"GET / HTTP/1.1\r\nHost: u@h\r\n\r\n"),
    ("fold first", b"GET / HTTP/1.1\r\n Host: h\r\n\r\n"),
    ("no colon", TOP + b"evil\r\n\r\n"),
    ("no name", TOP + b": x\r\n\r\n"),
    ("blank in name", TOP + b"X Y: z\r\n\r\n"),
    ("three empty lines", b"\r\n\r\n" + EVIL),
    ("bare LF first", b"\n" + EVIL),
)  # fmt: skip


def test_smuggling_is_refused():
    assert len(SMUGGLING) >= 80
    for why, data in SMUGGLING:
        for step in (0, 1, 2, 7):
            assert refusal(data + EVIL, step), (why, step)


def test_status_of_refusals():
    for data, status in (
        (b"GET /" + b"x" * 9000 + b" HTTP/1.1\r\n", 414),
        (TOP + b"X: " + b"y" * 9000 + b"\r\n\r\n", 431),
        (TOP + b"X: y\r\n" * 101, 431),
        (TOP + (b"X: " + b"y" * 8000 + b"\r\n") * 5, 431),
        (b"GET / HTTP/2.0\r\n\r\n", 505),
        (b"GET / HTTP/1.9\r\n\r\n", 505),
        (b"GET / SIP/2.0\r\n\r\n", 400),
        (TOP + TE + b"gzip, chunked\r\n\r\n", 501),
        (TOP + TE + b"chunked, gzip\r\n\r\n", 400),
        (TOP + CL + b"5\r\nExpect: tea\r\n\r\n", 417),
    ):
        for step in (0, 1):
            assert refusal(data, step) == status, (data[:60], refusal(data, step))


GOOD = (
    (b"GET / HTTP/1.1\r\nHost: h\r\n\r\n", [("GET", "/", b"")]),
    (b"\r\nGET / HTTP/1.1\r\nHost: h\r\n\r\n", [("GET", "/", b"")]),
    (b"GET / HTTP/1.0\r\n\r\n", [("GET", "/", b"")]),
    (b"GET http://h/x?y HTTP/1.1\r\nHost: h\r\n\r\n", [("GET", "http://h/x?y", b"")]),
    (b"OPTIONS * HTTP/1.1\r\nHost: [::1]:80\r\n\r\n", [("OPTIONS", "*", b"")]),
    (b"CONNECT h:443 HTTP/1.1\r\nHost: h:443\r\n\r\n", [("CONNECT", "h:443", b"")]),
    (b"GET / HTTP/1.1\r\nHost:\r\n\r\n", [("GET", "/", b"")]),
    (TOP + CL + b"5\r\n\r\nhello", [("POST", "/", b"hello")]),
    (TOP + CL + b" 5 \t\r\n\r\nhello", [("POST", "/", b"hello")]),
    (TOP + CL + b"005\r\n\r\nhello", [("POST", "/", b"hello")]),
    (TOP + CL + b"0\r\n\r\n" + EVIL, [("POST", "/", b""), ("GET", "/evil", b"")]),
    (CH + b"5\r\nhello\r\n00\r\n\r\n" + EVIL, [("POST", "/", b"hello"), ("GET", "/evil", b"")]),
    (CH + b'A;x="y"\r\n0123456789\r\n0;q\r\n\r\n', [("POST", "/", b"0123456789")]),
    (CH + b"5 ;x\r\nhello\r\n0\r\nA: b\r\n\r\n" + EVIL * 2,
     [("POST", "/", b"hello"), ("GET", "/evil", b""), ("GET", "/evil", b"")]),
)  # fmt: skip


def test_good_whole_and_in_pieces():
    for data, want in GOOD:
        whole = read(data)
        assert [(m, t, b) for m, t, _, b, _ in whole] == want, data
        for step in (1, 2, 3, 5, 11):
            assert read(data, step) == whole, (data, step)


def test_truncations_are_no_requests():
    for data, want in GOOD:
        for n in range(len(data)):
            try:
                got = read(data[:n])
                assert len(got) < len(want), (data, n)
            except ProtocolError:
                pass
            assert len(read(data[:n], eof=False)) < len(want)


def test_remembered_heads_read_the_same():
    h1.memo.clear()
    head = b"GET /x HTTP/1.1\r\nHost: h\r\nConnection: close, Upgrade\r\nUpgrade: a\r\n\r\n"
    p = h1.Request()
    seen = []
    for _ in range(3):
        p.receive(head)
        assert p.next_event() == HEAD
        seen.append((p.method, p.target, p.version, p.headers.items(), p.keep_alive, p.upgrade))
        assert p.next_event() == END and p.length == 0
        p.again()
    assert seen[0] == seen[1] == seen[2] and seen[0][4:] == (False, "a")
    assert len(h1.memo) == 1
    for i in range(200):
        p.receive(b"GET /%d HTTP/1.1\r\nHost: h\r\n\r\n" % i)
        while p.next_event() != END:
            pass
        p.again()
    assert len(h1.memo) <= 64
    # A body is never remembered away.
    for _ in range(2):
        p.receive(TOP + CL + b"2\r\n\r\nab")
        assert [p.next_event() for _ in range(3)] == [HEAD, DATA, END] and p.data == b"ab"
        p.again()


def test_what_is_done_to_remembered_headers_stays_there():
    """An application may write into a request's headers: who a user is, say."""
    h1.memo.clear()
    p = h1.Request()
    for _ in range(3):  # the one that is remembered, and two that are
        p.receive(b"GET / HTTP/1.1\r\nHost: h\r\n\r\n")
        assert p.next_event() == HEAD and p.headers.items() == [("Host", "h")]
        p.headers["X-User"] = "root"
        p.headers.add("X-User", "too")
        p.headers.remove("Host")
        assert p.headers.items() == [("X-User", "root"), ("X-User", "too")]
        assert p.next_event() == END
        p.again()


def test_flags():
    for line, attribute, want in (
        (b"", "keep_alive", True),
        (b"Connection: close\r\n", "keep_alive", False),
        (b"Connection: a, CLOSE\r\n", "keep_alive", False),
        (b"Connection: closer\r\n", "keep_alive", True),
        (CL + b"1\r\nExpect: 100-Continue\r\n", "expect_continue", True),
        (b"Expect: 100-continue\r\n", "expect_continue", False),
        (b"Connection: upgrade\r\nUpgrade: websocket\r\n", "upgrade", "websocket"),
        (b"Upgrade: websocket\r\n", "upgrade", ""),
    ):
        p = h1.Request()
        p.receive(TOP + line + b"\r\n")
        assert p.next_event() == HEAD
        assert getattr(p, attribute) == want, line


# States and inputs.


def test_every_state_takes_or_refuses_every_input():
    """A machine in each state is given each input; the table says what comes out."""
    states = (
        ("start", b""),
        ("in the request line", b"GET / HT"),
        ("in a field", b"GET / HTTP/1.1\r\nHost: h\r\nX"),
        ("in a length", TOP + CL + b"9\r\n\r\nab"),
        ("chunk size", CH),
        ("in a chunk", CH + b"9\r\nab"),
        ("end of a chunk", CH + b"2\r\nab"),
        ("trailers", CH + b"0\r\n"),
        ("done", b"GET / HTTP/1.1\r\nHost: h\r\n\r\n"),
    )
    R, N = "refused", "more"
    inputs = (
        ("CRLF", b"\r\n"), ("LF", b"\n"), ("digit", b"5\r\n"), ("text", b"TP/1.1\r\n"),
        ("field", b": y\r\n"), ("end", None),
    )  # fmt: skip
    table = {
        "start": (N, R, R, R, R, "end"),
        "in the request line": (R, R, R, N, R, R),
        "in a field": (R, R, R, R, N, R),
        "in a length": (N, N, N, "end", N, R),  # the text has the seven bytes that it waits for
        "chunk size": (R, R, N, R, R, R),
        "in a chunk": (N, N, N, R, N, R),
        "end of a chunk": (N, R, R, R, R, R),
        "trailers": ("end", R, R, R, R, R),
        "done": ("end", "end", "end", "end", "end", "end"),
    }
    for state, before in states:
        for (name, data), want in zip(inputs, table[state]):
            p = h1.Request()
            p.receive(before)
            while p.next_event() not in (NEED_DATA, END):
                pass
            if data is None:
                p.receive_eof()
            else:
                p.receive(data)
            try:
                while True:
                    event = p.next_event()
                    if event == END:
                        got = "end"
                        break
                    if event == NEED_DATA:
                        got = N
                        break
            except ProtocolError:
                got = R
                try:
                    p.next_event()
                    raise AssertionError("it went on")
                except ProtocolError:
                    pass
            assert got == want, (state, name, got)


def test_only_protocol_errors():
    """Bytes of every kind at every place of a good request: refused or read, nothing else."""
    base = CH + b"5\r\nhello\r\n0\r\nA: b\r\n\r\n"
    for i in range(len(base)):
        for ch in (0, 9, 10, 13, 32, 44, 58, 59, 65, 127, 128, 255):
            data = base[:i] + bytes([ch]) + base[i + 1 :]
            try:
                read(data)
            except ProtocolError:
                pass


def test_again_on_a_client():
    p = h1.Response("GET")
    p.receive(b"HTTP/1.1 200 OK\r\nContent-Length: 1\r\n\r\naHTTP/1.1 204 No\r\n\r\n")
    assert [p.next_event() for _ in range(3)] == [HEAD, DATA, END] and p.keep_alive
    p.again("GET")
    assert p.next_event() == HEAD and p.status == 204 and p.next_event() == END
    p.again("GET", upgrade=True)
    p.receive(b"HTTP/1.1 101 S\r\nUpgrade: websocket\r\n\r\n\x81\x00")
    assert p.next_event() == HEAD and p.switched and p.next_event() == END
    assert p.left_over() == b"\x81\x00"
    for line, keep in ((b"", True), (b"Connection: close\r\n", False)):
        p = h1.Response("GET")
        p.receive(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n" + line + b"\r\n")
        assert p.next_event() == HEAD and p.keep_alive == keep
    p = h1.Response("CONNECT")
    p.receive(b"HTTP/1.1 200 OK\r\n\r\nx")
    assert p.next_event() == HEAD and p.switched and p.left_over() == b"x"


def test_trailers():
    p = h1.Response("GET")
    p.receive(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n0\r\nA: b\r\nC: d\r\n\r\n")
    while p.next_event() != END:
        pass
    assert p.trailers.items() == [("A", "b"), ("C", "d")]
    assert last_chunk([("A", "b")]) == b"0\r\nA: b\r\n\r\n"


def test_build_response():
    assert build_response(200, [("A", 1)], 3) == (
        b"HTTP/1.1 200 OK\r\nA: 1\r\nContent-Length: 3\r\n\r\n"
    )
    assert build_response(599, [], h1.CHUNKED) == (
        b"HTTP/1.1 599 \r\nTransfer-Encoding: chunked\r\n\r\n"
    )
    for status, headers, reason in (
        (200, [("A", "b\r\nX: y")], None),
        (200, [("A\r\n", "b")], None),
        (200, [("Content-Length", "5")], None),
        (200, [], "OK\r\nX: y"),
    ):
        try:
            build_response(status, headers, 0, reason)
            raise AssertionError((headers, reason))
        except ValueError:
            pass
