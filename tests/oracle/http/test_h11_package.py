"""HTTP/1.1 against the package `h11`: generated messages, written by each and read by the other."""

import random

import h11
import pytest

from stack.core.errors import ProtocolError
from stack.http import h1
from stack.http.h1write import build_request, build_response, chunk, last_chunk

NAMES = ["Accept", "X-A", "X-B", "Via", "User-Agent", "Cache-Control", "A", "x-!#$%&'*+-.^_`|~"]
VALUES = ["", "a", "b c", "x;y=z, w", "q" * 500, "caf\u00e9".encode().decode("latin-1"), "\t. "]


def some(r, most=6):
    return [(r.choice(NAMES), r.choice(VALUES).strip()) for _ in range(r.randrange(most))]


def message(r):
    body = r.randbytes(r.choice([0, 1, 10, 5000, 40000]))
    framing = r.choice(["length", "chunked"])
    trailers = some(r, 3) if framing == "chunked" else []
    return body, framing, trailers


def pieces(r, body):
    at = 0
    while at < len(body):
        n = r.randrange(1, 9000)
        yield body[at : at + n]
        at += n


def write_ours(r, head, body, framing, trailers):
    data = head(len(body) if framing == "length" else h1.CHUNKED)
    if framing == "length":
        return data + body
    return data + b"".join(chunk(p) for p in pieces(r, body)) + last_chunk(trailers)


def write_theirs(r, conn, head, body, framing, trailers):
    fields = list(head.headers)
    if framing == "length":
        fields.append(("Content-Length", str(len(body))))
    else:
        fields.append(("Transfer-Encoding", "chunked"))
    if isinstance(head, h11.Request):
        head = h11.Request(method=head.method, target=head.target, headers=fields)
    else:
        head = h11.Response(status_code=head.status_code, headers=fields, reason=b"R")
    out = conn.send(head)
    for p in pieces(r, body):
        out += conn.send(h11.Data(data=p))
    return out + conn.send(
        h11.EndOfMessage(headers=[(n, v.encode("latin-1")) for n, v in trailers])
    )


def read_ours(p, data, step):
    body = b""
    for i in range(0, len(data), step):
        p.receive(data[i : i + step])
        while (event := p.next_event()) not in (h1.NEED_DATA, h1.END):
            if event == h1.DATA:
                body += p.data
    assert event == h1.END and not p.has_data()
    trailers = p.trailers.items() if p.trailers else []
    return body, [(n.lower(), v) for n, v in p.headers.items()], trailers


def read_theirs(conn, data, step):
    head, body, trailers = None, b"", None
    for i in range(0, len(data), step):
        conn.receive_data(data[i : i + step])
        while (event := conn.next_event()) is not h11.NEED_DATA:
            if isinstance(event, (h11.Request, h11.Response)):
                head = event
            elif isinstance(event, h11.Data):
                body += event.data
            elif isinstance(event, h11.EndOfMessage):
                trailers = [(n.decode(), v.decode("latin-1")) for n, v in event.headers]
                break
    assert trailers is not None
    return head, body, trailers


def text(v):
    """A value as our reader gives it: UTF-8 where it is that."""
    try:
        return v.encode("latin-1").decode()
    except UnicodeError:
        return v


def lower(fields):
    return [(n.lower(), text(v)) for n, v in fields]


@pytest.mark.parametrize("seed", range(120))
def test_requests(seed):
    r = random.Random(seed)
    fields = [("Host", "h:1"), *some(r)]
    method, target = r.choice(["GET", "POST", "PUT", "X-Y"]), r.choice(["/", "/a?b=c", "*/x"[1:]])
    body, framing, trailers = message(r)
    raw = [(n, v.encode("latin-1")) for n, v in fields]
    theirs = h11.Connection(h11.CLIENT)
    head = h11.Request(method=method, target=target, headers=raw)
    data = write_theirs(r, theirs, head, body, framing, trailers)
    p = h1.Request()
    got = read_ours(p, data, r.choice([1, 7, 1000, len(data)]))
    assert (p.method, p.target) == (method, target)
    assert got[0] == body and got[1][: len(fields)] == lower(fields)
    assert [(n.lower(), v) for n, v in got[2]] == lower(trailers)
    # And ours, read by theirs.
    ascii = [(n, v) for n, v in fields if v.isascii()]
    trailers = [(n, v) for n, v in trailers if v.isascii()]
    data = write_ours(r, lambda n: build_request(method, target, ascii, n), body, framing, trailers)
    head, got_body, got_trailers = read_theirs(h11.Connection(h11.SERVER), data, 1000)
    assert (head.method.decode(), head.target.decode()) == (method, target)
    assert got_body == body and got_trailers == lower(trailers)
    assert [(n.decode(), v.decode()) for n, v in head.headers][: len(ascii)] == lower(ascii)


@pytest.mark.parametrize("seed", range(120))
def test_responses(seed):
    r = random.Random(seed)
    fields = some(r)
    status = r.choice([200, 201, 404, 500])
    body, framing, trailers = message(r)
    raw = [(n, v.encode("latin-1")) for n, v in fields]
    conn = h11.Connection(h11.SERVER)
    conn.receive_data(b"GET / HTTP/1.1\r\nHost: h\r\n\r\n")
    conn.next_event()
    head = h11.Response(status_code=status, headers=raw)
    data = write_theirs(r, conn, head, body, framing, trailers)
    p = h1.Response("GET")
    got = read_ours(p, data, r.choice([1, 7, 1000, len(data)]))
    assert p.status == status and p.reason == "R"
    assert got[0] == body and got[1][: len(fields)] == lower(fields)
    assert [(n.lower(), v) for n, v in got[2]] == lower(trailers)
    ascii = [(n, v) for n, v in fields if v.isascii()]
    trailers = [(n, v) for n, v in trailers if v.isascii()]
    data = write_ours(r, lambda n: build_response(status, ascii, n), body, framing, trailers)
    conn = h11.Connection(h11.CLIENT)
    conn.send(h11.Request(method="GET", target="/", headers=[("Host", "h")]))
    conn.send(h11.EndOfMessage())
    head, got_body, got_trailers = read_theirs(conn, data, 1000)
    assert head.status_code == status and got_body == body and got_trailers == lower(trailers)


@pytest.mark.parametrize("seed", range(60))
def test_spoiled_requests(seed):
    """What h11 refuses we refuse; we may refuse more."""
    r = random.Random(seed)
    base = b"POST /a HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n"
    for _ in range(40):
        data = bytearray(base)
        data[r.randrange(len(data))] = r.choice(b"\r\n\0 :;,\x7f\xffA0")
        ours = theirs = True
        p = h1.Request()
        try:
            p.receive(data)
            while p.next_event() not in (h1.NEED_DATA, h1.END):
                pass
        except ProtocolError:
            ours = False
        conn = h11.Connection(h11.SERVER)
        try:
            conn.receive_data(bytes(data))
            while (e := conn.next_event()) not in (h11.NEED_DATA, h11.PAUSED):
                if isinstance(e, h11.EndOfMessage):
                    break
        except h11.RemoteProtocolError:
            theirs = False
        assert theirs or not ours, bytes(data)
