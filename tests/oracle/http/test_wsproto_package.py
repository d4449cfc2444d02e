"""WebSocket against the package `wsproto`: generated conversations, each side played by each."""

import random

import pytest
from wsproto import ConnectionType, WSConnection
from wsproto import events as we
from wsproto.extensions import PerMessageDeflate

from stack.http import h1
from stack.http.headers import Headers
from stack.ws import frames, handshake
from stack.ws.connection import Connection


class Theirs:
    def __init__(self, client, compress):
        kind = ConnectionType.CLIENT if client else ConnectionType.SERVER
        self.ws, self.out, self.log = WSConnection(kind), b"", []
        self.extensions = [PerMessageDeflate()] if compress else []
        self.parts = []
        if client:
            self.out += self.ws.send(
                we.Request("h", "/", subprotocols=["a", "b"], extensions=self.extensions)
            )

    def receive(self, data):
        self.ws.receive_data(data)
        for e in self.ws.events():
            if isinstance(e, we.Request):
                self.out += self.ws.send(
                    we.AcceptConnection(subprotocol="b", extensions=self.extensions)
                )
            elif isinstance(e, we.AcceptConnection):
                self.subprotocol = e.subprotocol
            elif isinstance(e, we.Message):
                self.parts.append(e.data)
                if e.message_finished:
                    empty = "" if isinstance(e, we.TextMessage) else b""
                    self.log.append(empty.join(self.parts))
                    self.parts = []
            elif isinstance(e, we.Ping):
                self.log.append(("ping", bytes(e.payload)))
                self.out += self.ws.send(e.response())
            elif isinstance(e, we.Pong):
                self.log.append(("pong", bytes(e.payload)))
            elif isinstance(e, we.CloseConnection):
                self.log.append(("close", e.code, e.reason or ""))
                if self.ws.state.name == "REMOTE_CLOSING":
                    self.out += self.ws.send(e.response())

    def send(self, data, final=True):
        self.out += self.ws.send(we.Message(data, message_finished=final))

    def ping(self, data):
        self.out += self.ws.send(we.Ping(payload=data))

    def close(self, code, reason):
        self.out += self.ws.send(we.CloseConnection(code=code, reason=reason))

    def take(self):
        out, self.out = self.out, b""
        return out


class Ours:
    """The handshake by h1 and ws/handshake.py, then ws/connection.py."""

    def __init__(self, client, compress):
        self.client, self.compress = client, compress
        self.c, self.out, self.log = None, b"", []
        self.rng = random.Random(7).randbytes
        if client:
            self.key = handshake.new_key(self.rng)
            fields = [("Host", "h"), *handshake.offer(self.key, ("a", "b"), compress)]
            self.out = h1.build_request("GET", "/", fields)
            self.p = h1.Response("GET", upgrade=True)
        else:
            self.p = h1.Request()

    def receive(self, data):
        if self.c is None:
            self.p.receive(data)
            if self.p.next_event() != h1.HEAD:
                return
            headers = Headers(self.p.headers.items())
            if self.client:
                agreed = handshake.check_answer(self.p.status, headers, self.key, ("a", "b"))
            else:
                agreed, fields = handshake.answer(self.p.method, headers, ("b",), self.compress)
                self.out += h1.build_response(101, fields)
            assert (agreed.deflate is not None) == self.compress and agreed.subprotocol == "b"
            self.c = Connection(self.client, self.rng, agreed.deflate)
            data = self.p.left_over()
        self.c.receive(data)
        while e := self.c.next_event():
            kind, what = e
            if kind == frames.PING:
                what = ("ping", what)
            elif kind == frames.PONG:
                what = ("pong", what)
            elif kind == frames.CLOSE:
                what = ("close", *what)
            self.log.append(what)

    def send(self, data, final=True):
        self.c.send(data, final)

    def ping(self, data):
        self.c.ping(data)

    def close(self, code, reason):
        self.c.close(code, reason)

    def take(self):
        out, self.out = self.out, b""
        return out + (bytes(self.c.data_to_send()) if self.c else b"")


def carry(a, b, r, bytewise):
    moved = True
    while moved:
        moved = False
        for x, y in ((a, b), (b, a)):
            data = x.take()
            moved = moved or bool(data)
            at = 0
            while at < len(data):
                n = 1 if bytewise and len(data) < 400 else r.randrange(1, 3000)
                y.receive(data[at : at + n])
                at += n


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize("we_are", ["client", "server"])
@pytest.mark.parametrize("compress", [False, True])
def test_conversations(seed, we_are, compress):
    r = random.Random(f"{seed} {we_are} {compress}")
    client = (Ours if we_are == "client" else Theirs)(True, compress)
    server = (Ours if we_are == "server" else Theirs)(False, compress)
    carry(client, server, r, seed % 2)
    want = {client: [], server: []}

    def one(kind):
        if kind == "text":
            return "".join(r.choice("ab é€😀") for _ in range(r.choice([0, 1, 50, 200, 30000])))
        n = r.choice([0, 1, 125, 126, 500, 65535, 65536])
        return r.randbytes(n) if r.random() < 0.5 else bytes(n)

    for _ in range(40):
        me, other = r.choice([(client, server), (server, client)])
        what = r.random()
        if what < 0.15:
            data = r.randbytes(r.randrange(126))
            me.ping(data)
            want[other].append(("ping", data))
            want[me].append(("pong", data))
        elif what < 0.4 and not (compress and isinstance(me, Ours)):
            kind = r.choice(["text", "binary"])
            pieces = [one(kind) for _ in range(r.randrange(1, 4))]
            for p in pieces[:-1]:
                me.send(p, False)
            me.send(pieces[-1])
            want[other].append(("" if kind == "text" else b"").join(pieces))
        else:
            data = one(r.choice(["text", "binary"]))
            me.send(data)
            want[other].append(data)
        carry(client, server, r, seed % 2)
    client.close(4321, "enough")
    carry(client, server, r, seed % 2)
    want[server].append(("close", 4321, "enough"))
    want[client].append(("close", 4321, client.log[-1][2]))
    assert server.log == want[server]
    assert client.log == want[client]
