"""HTTP/1.1: whole and byte by byte agree, every truncation, what must not be understood."""

from stack.core.errors import ProtocolError
from stack.http import h1
from stack.http.h1 import CHUNKED, DATA, END, HEAD, NEED_DATA, build_request, chunk


def read(data, method="GET", step=0, eof=True):
    """Feed data in pieces of `step`; (status, version, headers, body, finished)."""
    p = h1.Response(method)
    body = b""
    step = step or len(data) or 1
    finished = False

    def drain():
        nonlocal body, finished
        while not finished:
            event = p.next_event()
            if event == DATA:
                body += p.data
            elif event == END:
                finished = True
            elif event == NEED_DATA:
                return

    for i in range(0, len(data), step):
        p.receive(data[i : i + step])
        drain()
    if eof:
        p.receive_eof()
        drain()
    return p.status, p.version, p.headers is not None and p.headers.items(), body, finished


def refused(data, method="GET", step=0):
    try:
        read(data, method, step)
    except ProtocolError:
        return True
    return False


OK = b"HTTP/1.1 200 OK\r\n"
CHUNKS = OK + b"Transfer-Encoding: chunked\r\n\r\n"

GOOD = (
    ("length", "GET", OK + b"Content-Length: 5\r\n\r\nhello", b"hello"),
    ("length 0", "GET", OK + b"Content-Length: 0\r\n\r\n", b""),
    ("equal lengths", "GET", OK + b"Content-Length: 2\r\nContent-Length: 2, 2\r\n\r\nab", b"ab"),
    ("until close", "GET", OK + b"\r\nhello", b"hello"),
    ("1.0 until close", "GET", b"HTTP/1.0 200 OK\r\n\r\nhello", b"hello"),
    ("no reason", "GET", b"HTTP/1.1 200\r\nContent-Length: 1\r\n\r\nx", b"x"),
    ("empty reason", "GET", b"HTTP/1.1 200 \r\nContent-Length: 1\r\n\r\nx", b"x"),
    ("HEAD", "HEAD", OK + b"Content-Length: 5\r\n\r\n", b""),
    ("204", "GET", b"HTTP/1.1 204 No\r\nContent-Length: 5\r\n\r\n", b""),
    ("304", "GET", b"HTTP/1.1 304 No\r\nContent-Length: 5\r\n\r\n", b""),
    ("chunked", "GET", CHUNKS + b"5\r\nhello\r\n6\r\n world\r\n0\r\n\r\n", b"hello world"),
    ("hex", "GET", CHUNKS + b"0000A\r\n0123456789\r\n00\r\n\r\n", b"0123456789"),
    ("extensions", "GET", CHUNKS + b'1;a=b;c="d"\r\nx\r\n1 ;q\r\ny\r\n0;z\r\n\r\n', b"xy"),
    ("trailers", "GET", CHUNKS + b"1\r\nx\r\n0\r\nA: b\r\nC: d\r\n\r\n", b"x"),
    ("CRLF in a chunk", "GET", CHUNKS + b"4\r\n\r\n\r\n\r\n0\r\n\r\n", b"\r\n\r\n"),
    ("100 first", "GET", b"HTTP/1.1 100 Continue\r\nX: y\r\n\r\n" + OK + b"\r\nz", b"z"),
    ("Chunked in capitals", "GET", OK + b"transfer-encoding: Chunked\r\n\r\n0\r\n\r\n", b""),
)


def test_good_whole_and_in_pieces():
    for why, method, data, body in GOOD:
        whole = read(data, method)
        assert whole[3] == body and whole[4], why
        for step in (1, 2, 3, 5, 7):
            assert read(data, method, step) == whole, (why, step)


def test_every_truncation():
    """A response cut short is never a complete one, unless the close is its end."""
    for why, method, data, _ in GOOD:
        by_close = "close" in why or "first" in why
        for n in range(len(data)):
            if not by_close:
                assert refused(data[:n], method), (why, n)
                assert not read(data[:n], method, eof=False)[4], (why, n)
            elif n < data.rfind(b"\r\n\r\n") + 4:
                assert refused(data[:n], method), (why, n)


def test_head():
    data = b"HTTP/1.1 404 Not Found\r\nA:  b c \r\nSet-Cookie: 1\r\nset-cookie: 2\r\nE:\r\n\r\n"
    p = h1.Response("GET")
    p.receive(data)
    assert p.next_event() == HEAD
    assert (p.status, p.reason, p.version) == (404, "Not Found", "1.1")
    h = p.headers
    assert h["a"] == "b c" and h["E"] == "" and h.get("x") is None and "SET-COOKIE" in h
    assert h.get_all("Set-Cookie") == ["1", "2"] and h["Set-Cookie"] == "1, 2"
    assert len(h) == 4 and h.keys()[0] == "A"
    h["a"] = "z"
    assert h.get_all("A") == ["z"]


def test_refused():
    cl = b"Content-Length: "
    for why, data in (
        ("nothing", b""),
        ("not HTTP", b"SSH-2.0-x\r\n\r\n"),
        ("HTTP/2", b"HTTP/2.0 200 OK\r\n\r\n"),
        ("HTTP/1", b"HTTP/1 200 OK\r\n\r\n"),
        ("two digits", b"HTTP/1.1 20 OK\r\n\r\n"),
        ("four digits", b"HTTP/1.1 2000 OK\r\n\r\n"),
        ("status 099", b"HTTP/1.1 099 OK\r\n\r\n"),
        ("sign", b"HTTP/1.1 +20 OK\r\n\r\n"),
        ("two blanks", b"HTTP/1.1  200 OK\r\n\r\n"),
        ("blank line first", b"\r\nHTTP/1.1 200 OK\r\n\r\n"),
        ("101", b"HTTP/1.1 101 Switching\r\n\r\n"),
        ("many 1xx", b"HTTP/1.1 100 C\r\n\r\n" * 9 + OK + b"\r\n"),
        ("bare LF in status", b"HTTP/1.1 200 OK\n\r\n"),
        ("bare LF in field", OK + b"A: b\nC: d\r\n\r\n"),
        ("bare LF at the end", OK + b"A: b\r\n\n"),
        ("CR CR LF", OK + b"A: b\r\r\n\r\n"),
        ("CR inside", OK + b"A: b\rC: d\r\n\r\n"),
        ("NUL", OK + b"A: b\x00c\r\n\r\n"),
        ("DEL", OK + b"A: b\x7fc\r\n\r\n"),
        ("folded", OK + b"A: b\r\n c\r\n\r\n"),
        ("folded by tab", OK + b"A: b\r\n\tc\r\n\r\n"),
        ("folded first", OK + b" A: b\r\n\r\n"),
        ("no colon", OK + b"Abc\r\n\r\n"),
        ("no name", OK + b": b\r\n\r\n"),
        ("blank before colon", OK + b"Content-Length : 5\r\n\r\nhello"),
        ("tab before colon", OK + b"Content-Length\t: 5\r\n\r\nhello"),
        ("blank in name", OK + b"A b: c\r\n\r\n"),
        ("bytes in name", OK + b"A\xc3\xa4: c\r\n\r\n"),
        ("bracket in name", OK + b"A(b): c\r\n\r\n"),
        ("lengths differ", OK + cl + b"5\r\n" + cl + b"6\r\n\r\nhello!"),
        ("lengths differ in a list", OK + cl + b"5, 6\r\n\r\nhello!"),
        ("length with a sign", OK + cl + b"+5\r\n\r\nhello"),
        ("negative length", OK + cl + b"-5\r\n\r\nhello"),
        ("hex length", OK + cl + b"0x5\r\n\r\nhello"),
        ("length with a blank", OK + cl + b"1 0\r\n\r\nhello"),
        ("underscore", OK + cl + b"1_0\r\n\r\nhello56789"),
        ("empty length", OK + cl + b"\r\n\r\nhello"),
        ("empty element", OK + cl + b"5,\r\n\r\nhello"),
        ("fraction", OK + cl + b"5.0\r\n\r\nhello"),
        ("length too long", OK + cl + b"9" * 16 + b"\r\n\r\nhello"),
        ("other digits", OK + cl + b"\xd9\xa5\r\n\r\nhello"),
        ("both", OK + cl + b"5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n"),
        ("both, other order", OK + b"Transfer-Encoding: chunked\r\n" + cl + b"5\r\n\r\n0\r\n\r\n"),
        ("TE in 1.0", b"HTTP/1.0 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n"),
        ("gzip, chunked", OK + b"Transfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n"),
        ("chunked twice", OK + b"Transfer-Encoding: chunked, chunked\r\n\r\n0\r\n\r\n"),
        ("two TE", OK + b"Transfer-Encoding: chunked\r\nTransfer-Encoding: x\r\n\r\n0\r\n\r\n"),
        ("identity", OK + b"Transfer-Encoding: identity\r\n\r\n"),
        ("xchunked", OK + b"Transfer-Encoding: xchunked\r\n\r\n0\r\n\r\n"),
        ("VT chunked", OK + b"Transfer-Encoding: \x0bchunked\r\n\r\n0\r\n\r\n"),
        ("empty TE", OK + b"Transfer-Encoding:\r\n\r\n0\r\n\r\n"),
        ("TE with parameter", OK + b"Transfer-Encoding: chunked;a=b\r\n\r\n0\r\n\r\n"),
        ("no size", CHUNKS + b"\r\nhello\r\n0\r\n\r\n"),
        ("size is no number", CHUNKS + b"g\r\nhello\r\n0\r\n\r\n"),
        ("size with 0x", CHUNKS + b"0x5\r\nhello\r\n0\r\n\r\n"),
        ("size with a sign", CHUNKS + b"+5\r\nhello\r\n0\r\n\r\n"),
        ("negative size", CHUNKS + b"-5\r\nhello\r\n0\r\n\r\n"),
        ("blank before size", CHUNKS + b" 5\r\nhello\r\n0\r\n\r\n"),
        ("blank after size", CHUNKS + b"5 \r\nhello\r\n0\r\n\r\n"),
        ("size too long", CHUNKS + b"0" * 13 + b"5\r\nhello\r\n0\r\n\r\n"),
        ("bare LF after size", CHUNKS + b"5\nhello\r\n0\r\n\r\n"),
        ("bare LF in extension", CHUNKS + b"5;a\nb\r\nhello\r\n0\r\n\r\n"),
        ("CR in extension", CHUNKS + b"5;a\rb\r\nhello\r\n0\r\n\r\n"),
        ("NUL in extension", CHUNKS + b"5;\x00\r\nhello\r\n0\r\n\r\n"),
        ("long extension", CHUNKS + b"5;" + b"a" * 300 + b"\r\nhello\r\n0\r\n\r\n"),
        ("no CRLF after chunk", CHUNKS + b"5\r\nhello0\r\n\r\n"),
        ("bare LF after chunk", CHUNKS + b"5\r\nhello\n0\r\n\r\n"),
        ("chunk longer than said", CHUNKS + b"4\r\nhello\r\n0\r\n\r\n"),
        ("chunk shorter than said", CHUNKS + b"6\r\nhello\r\n0\r\n\r\n"),
        ("bad trailer", CHUNKS + b"0\r\nA\r\n\r\n"),
        ("folded trailer", CHUNKS + b"0\r\nA: b\r\n c\r\n\r\n"),
        ("bare LF ends trailers", CHUNKS + b"0\r\n\n"),
        ("line too long", OK + b"A: " + b"b" * 9000 + b"\r\n\r\n"),
        ("line without end", b"H" * 9000),
        ("too many fields", OK + b"A: b\r\n" * 101 + b"\r\n"),
        ("too many trailers", CHUNKS + b"0\r\n" + b"A: b\r\n" * 101 + b"\r\n"),
        ("too many bytes", OK + (b"A: " + b"b" * 8000 + b"\r\n") * 5 + b"\r\n"),
        ("trailers too large", CHUNKS + b"0\r\n" + (b"A: " + b"b" * 8000 + b"\r\n") * 5 + b"\r\n"),
    ):
        assert refused(data), why
        assert refused(data, step=1) or len(data) > 2000, why


def test_every_state_takes_or_refuses_every_input():
    """A machine in each state is given each input; the table says what comes out."""
    R, N, E = "refused", "more", "end"
    length = OK + b"Content-Length: "
    inputs = (b"\r\n", b"\n", b"5\r\n", b" 200 OK\r\n", b": y\r\n", None)
    table = (
        #                                                   CRLF LF 5  text field end
        ("start", b"",                                       (R, R, R, R, R, R)),
        ("in the status line", b"HTTP/1.1",                  (R, R, R, N, R, R)),
        ("in a field", OK + b"X",                            (R, R, R, R, N, R)),
        ("after a 100", b"HTTP/1.1 100 C\r\n\r\n",           (R, R, R, R, R, R)),
        ("in a length", length + b"9\r\n\r\nab",             (N, N, N, E, N, R)),
        ("until the close", OK + b"\r\nab",                  (N, N, N, N, N, E)),
        ("chunk size", CHUNKS,                               (R, R, N, R, R, R)),
        ("in a chunk", CHUNKS + b"9\r\nab",                  (N, N, N, N, N, R)),
        ("end of a chunk", CHUNKS + b"2\r\nab",              (N, R, R, R, R, R)),
        ("trailers", CHUNKS + b"0\r\n",                      (E, R, R, R, R, R)),
        ("in a trailer", CHUNKS + b"0\r\nX",                 (R, R, R, R, N, R)),
        ("done", length + b"0\r\n\r\n",                      (E, E, E, E, E, E)),
    )  # fmt: skip
    for state, before, row in table:
        for data, want in zip(inputs, row):
            p = h1.Response("GET")
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
                    if event in (END, NEED_DATA):
                        break
                got = E if event == END else N
            except ProtocolError:
                got = R
            assert got == want, (state, data, got)


def test_bounds_that_hold():
    assert not refused(OK + b"A: b\r\n" * 99 + b"Content-Length: 0\r\n\r\n")
    assert not refused(OK + b"A: " + b"b" * 8000 + b"\r\nContent-Length: 0\r\n\r\n")


def test_failed_stays_closed():
    p = h1.Response("GET")
    p.receive(b"x\r\n")
    for _ in range(2):
        try:
            p.next_event()
            raise AssertionError
        except ProtocolError:
            pass
        p.receive(OK + b"\r\n")


def test_what_comes_after_is_left():
    p = h1.Response("GET")
    p.receive(OK + b"Content-Length: 2\r\n\r\nabHTTP/1.1 400 Forged")
    assert [p.next_event() for _ in range(3)] == [HEAD, DATA, END]
    assert p.data == b"ab" and p.left_over() == b"HTTP/1.1 400 Forged"


def test_direct():
    p = h1.Response("GET")
    p.receive(OK + b"Content-Length: 10\r\n\r\nab")
    assert p.direct() == 0
    assert p.next_event() == HEAD and p.direct() == 0
    assert p.next_event() == DATA and p.direct() == 8
    p.took(5)
    assert p.direct() == 3
    p.took(3)
    assert p.direct() == 0 and p.next_event() == END
    p = h1.Response("GET")
    p.receive(CHUNKS + b"5\r\n")
    assert p.next_event() == HEAD
    assert p.next_event() == NEED_DATA and p.direct() == 5
    p.took(5)
    p.receive(b"\r\n0\r\n\r\n")
    assert p.next_event() == END
    p = h1.Response("GET")
    p.receive(OK + b"\r\n")
    assert p.next_event() == HEAD and p.direct() > 1 << 20
    p.took(100)
    p.receive_eof()
    assert p.next_event() == END


def test_build_request():
    assert build_request("GET", "/x?y", [("Host", "h")]) == b"GET /x?y HTTP/1.1\r\nHost: h\r\n\r\n"
    assert build_request("POST", "/", [], 3).endswith(b"\r\nContent-Length: 3\r\n\r\n")
    assert b"Transfer-Encoding: chunked\r\n" in build_request("POST", "/", [], CHUNKED)
    assert chunk(b"0123456789") == b"a\r\n0123456789\r\n" and chunk(b"") == b"0\r\n\r\n"


def test_nothing_is_injected():
    for why, method, target, headers in (
        ("method", "GET / HTTP/1.1\r\nX: y\r\n\r\nGET", "/", []),
        ("empty method", "", "/", []),
        ("target CRLF", "GET", "/\r\nX: y", []),
        ("target blank", "GET", "/ HTTP/1.1", []),
        ("empty target", "GET", "", []),
        ("target not ASCII", "GET", "/\u00e4", []),
        ("name CRLF", "GET", "/", [("A\r\nB", "c")]),
        ("name colon", "GET", "/", [("A:", "c")]),
        ("name blank", "GET", "/", [("A ", "c")]),
        ("empty name", "GET", "/", [("", "c")]),
        ("value CRLF", "GET", "/", [("A", "b\r\nC: d")]),
        ("value LF", "GET", "/", [("A", "b\nC: d")]),
        ("value CR", "GET", "/", [("A", "b\rC: d")]),
        ("value NUL", "GET", "/", [("A", "b\x00")]),
        ("length", "GET", "/", [("Content-Length", "5")]),
        ("coding", "GET", "/", [("transfer-encoding", "chunked")]),
    ):
        try:
            build_request(method, target, headers)
            raise AssertionError(why)
        except ValueError:
            pass
