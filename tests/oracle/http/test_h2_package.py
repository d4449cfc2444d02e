"""HTTP/2 against the package `h2`: generated exchanges, each side played by each, cut at random."""

import random

import h2.config
import h2.connection
import h2.events
import hpack
import pytest
from hpack.table import HeaderTable

from stack.http.h2 import events
from stack.http.h2 import hpack as ours
from stack.http.h2.connection import Connection

NAMES = [n for n, _ in ours.STATIC if n[0] != ":"] + [f"x-{i}" for i in range(30)]
REFUSED = {"transfer-encoding", "content-length", "host", "priority", "expect", "cookie"}
PLAIN = [n for n in NAMES if n not in REFUSED]


def some_fields(r, most=10):
    values = ["", "a", "b" * r.randrange(300), "GET", "/", str(r.randrange(20)), "x y;z=1"]
    return [(r.choice(PLAIN), r.choice(values)) for _ in range(r.randrange(most))]


def test_static_table():
    table = tuple((n.decode(), v.decode()) for n, v in HeaderTable.STATIC_TABLE)
    assert table == tuple(ours.STATIC)


@pytest.mark.parametrize("seed", range(4))
def test_hpack_both_ways(seed):
    r = random.Random(seed)
    our_encoder, our_decoder = ours.Encoder(), ours.Decoder()
    encoder, decoder = hpack.Encoder(), hpack.Decoder()
    for _ in range(600):
        if r.random() < 0.03:
            n = r.choice([0, 100, 1000, 4096])
            our_encoder.set_max_size(n)
            if encoder.header_table_size != n:  # it announces a size twice set to nobody
                encoder.header_table_size = n
        fields = [(r.choice(NAMES), r.choice(["", "a", "ä€", "b" * r.randrange(300), "c"]))
                  for _ in range(r.randrange(12))]  # fmt: skip
        read = decoder.decode(our_encoder.encode(fields), raw=True)
        assert [(n.decode(), v.decode()) for n, v in read] == fields
        assert our_decoder.decode(encoder.encode(fields)) == fields


class Theirs:
    """The package behind the verbs of ours."""

    def __init__(self, client):
        self.c = h2.connection.H2Connection(
            h2.config.H2Configuration(client_side=client, header_encoding="utf-8")
        )
        self.c.initiate_connection()
        self.c.local_settings.enable_push = 0
        self.log, self.out = [], {}

    def receive(self, data):
        for e in self.c.receive_data(bytes(data)):
            kind = type(e).__name__
            if kind in ("RequestReceived", "ResponseReceived"):
                self.log.append((e.stream_id, "head", list(map(tuple, e.headers))))
            elif kind == "InformationalResponseReceived":
                self.log.append((e.stream_id, "interim", list(map(tuple, e.headers))))
            elif kind == "DataReceived":
                self.log.append((e.stream_id, "data", e.data))
                self.c.acknowledge_received_data(e.flow_controlled_length, e.stream_id)
            elif kind == "TrailersReceived":
                self.log.append((e.stream_id, "trailers", list(map(tuple, e.headers))))
            elif kind == "StreamEnded":
                self.log.append((e.stream_id, "end", None))
            elif kind == "StreamReset":
                self.log.append((e.stream_id, "reset", int(e.error_code)))

    def head(self, stream_id, fields, end):
        self.c.send_headers(stream_id, fields, end)

    def body(self, stream_id, data, end):
        n = min(len(data), self.c.local_flow_control_window(stream_id), 16384)
        if n or end and not data:
            pad = random.Random(n).choice([None, None, 0, 5])
            if pad is not None and n + pad + 1 > self.c.local_flow_control_window(stream_id):
                pad = None
            n = min(n, 16384 - (pad or 0) - 1)
            self.c.send_data(stream_id, data[:n], end and n == len(data), pad_length=pad)
        return n

    def trailers(self, stream_id, fields):
        self.c.send_headers(stream_id, fields, True)

    def reset(self, stream_id, code):
        self.c.reset_stream(stream_id, code)

    def take(self):
        return self.c.data_to_send()


class Ours:
    def __init__(self, client):
        self.c = Connection(client)
        self.log, self.streams = [], {}

    def receive(self, data):
        self.c.receive(data)
        while e := self.c.next_event():
            if e.stream is not None:
                self.streams[e.stream.id] = e.stream
                i = e.stream.id
            if e.kind in (events.REQUEST, events.RESPONSE):
                self.log.append((i, "head", list(e.fields)))
            elif e.kind == events.INTERIM:
                self.log.append((i, "interim", list(e.fields)))
            elif e.kind == events.DATA:
                if e.data:
                    self.log.append((i, "data", e.data))
                self.c.consumed(e.stream, len(e.data))
            elif e.kind == events.TRAILERS:
                self.log.append((i, "trailers", list(e.fields)))
            elif e.kind == events.RESET:
                assert not e.data, e.data
                self.log.append((i, "reset", e.code))
            if e.end:
                self.log.append((i, "end", None))

    def head(self, stream_id, fields, end):
        if self.c.client:
            self.streams[stream_id] = s = self.c.request(fields, end)
            assert s.id == stream_id
        else:
            self.c.send_headers(self.streams[stream_id], fields, end)

    def body(self, stream_id, data, end):
        return self.c.send_data(self.streams[stream_id], data, end)

    def trailers(self, stream_id, fields):
        self.c.send_trailers(self.streams[stream_id], fields)

    def reset(self, stream_id, code):
        self.c.reset(self.streams[stream_id], code)

    def take(self):
        return bytes(self.c.data_to_send())


def carry(a, b, r, whole):
    """Bytes both ways until nothing moves; cut at random, or one by one for short ones."""
    moved = True
    while moved:
        moved = False
        for x, y in ((a, b), (b, a)):
            data = x.take()
            moved = moved or bool(data)
            at = 0
            while at < len(data):
                n = len(data) if whole else 1 if len(data) < 200 else r.randrange(1, 5000)
                y.receive(data[at : at + n])
                at += n


def joined(log):
    """Per stream what came, neighbouring data as one."""
    out = {}
    for stream_id, kind, what in log:
        mine = out.setdefault(stream_id, [])
        if kind == "data" and mine and mine[-1][0] == "data":
            mine[-1] = ("data", mine[-1][1] + what)
        else:
            mine.append((kind, what))
    return out


def exchange(r, client, server, whole):
    """Some dozens of requests and answers, interleaved; what each side should have seen."""
    sent = {client: {}, server: {}}
    todo = []

    def message(who, stream_id, fields):
        body = r.randbytes(r.choice([0, 0, 1, 100, 5000, 70000]))
        trailers = some_fields(r, 4) if r.random() < 0.3 else None
        end = not body and not trailers
        mine = sent[who].setdefault(stream_id, [])
        if who is server and r.random() < 0.2:
            interim = [(":status", "103"), *some_fields(r, 3)]
            who.head(stream_id, interim, False)
            mine.append(("interim", interim))
        who.head(stream_id, fields, end)
        mine.append(("head", fields))
        if body:
            mine.append(("data", body))
        if trailers:
            mine.append(("trailers", trailers))
        mine.append(("end", None))
        if not end:
            todo.append([who, stream_id, body, trailers])

    answered = set()
    for n in range(40):
        stream_id = 2 * n + 1
        method = r.choice(["GET", "POST", "PUT"])
        fields = [(":method", method), (":scheme", "https"), (":authority", "h:1"),
                  (":path", f"/{r.randrange(5)}"), *some_fields(r)]  # fmt: skip
        message(client, stream_id, fields)
        for _ in range(r.randrange(4)):
            step(r, todo)
        carry(client, server, r, whole)
        for i, kind, _ in list(server.log):
            if kind == "head" and i not in answered and r.random() < 0.7:
                answered.add(i)
                message(server, i, [(":status", r.choice(["200", "404", "206"])), *some_fields(r)])
    turns = 0
    while todo or len(answered) < 40:
        turns += 1
        assert turns < 5000, "no progress"
        step(r, todo)
        carry(client, server, r, whole)
        for n in range(40):
            i = 2 * n + 1
            if i not in answered:
                answered.add(i)
                message(server, i, [(":status", "200"), *some_fields(r)])
    carry(client, server, r, whole)
    return sent


def step(r, todo):
    if not todo:
        return
    item = r.choice(todo)
    who, stream_id, body, trailers = item
    n = who.body(stream_id, body, not trailers) if body or not trailers else 0
    item[2] = body = body[n:]
    if not body:
        if trailers:
            who.trailers(stream_id, trailers)
        todo.remove(item)


@pytest.mark.parametrize("seed", range(6))
@pytest.mark.parametrize("we", ["client", "server", "both"])
def test_exchanges(seed, we):
    r = random.Random(f"{seed} {we}")
    client = Ours(True) if we != "server" else Theirs(True)
    server = Ours(False) if we != "client" else Theirs(False)
    sent = exchange(r, client, server, whole=seed % 2 == 0)
    assert joined(server.log) == sent[client]
    assert joined(client.log) == sent[server]
    for side in (client, server):
        if isinstance(side, Ours):
            assert not side.c.streams and not side.c.wants_to_send()


@pytest.mark.parametrize("we", ["client", "server"])
def test_resets_and_goaway(we):
    r = random.Random(1)
    client = Ours(True) if we == "client" else Theirs(True)
    server = Ours(False) if we == "server" else Theirs(False)
    fields = [(":method", "POST"), (":scheme", "http"), (":authority", "h"), (":path", "/")]
    for i in (1, 3):
        client.head(i, fields, False)
    carry(client, server, r, True)
    client.reset(1, 8)
    server.reset(3, 2)
    carry(client, server, r, True)
    assert (1, "reset", 8) in server.log and (3, "reset", 2) in client.log
    if we == "server":
        server.c.goaway()
        got = client.c.receive_data(server.take())
        assert isinstance(got[-1], h2.events.ConnectionTerminated)
        assert got[-1].last_stream_id == 3
    else:
        server.c.close_connection(last_stream_id=3)
        client.receive(server.take())
        assert client.c.closing and not client.c.can_open()
