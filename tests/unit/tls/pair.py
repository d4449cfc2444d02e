"""A client and a server in one process, and peers that misbehave on purpose."""

from stack.crypto.sha2 import Sha256
from stack.tls import events as ev
from stack.tls import groups
from stack.tls.client import Client
from stack.tls.config import Config
from stack.tls.events import Data
from stack.tls.keys import load_identity
from stack.tls.server import Server
from stack.tls.x509.store import Roots
from tests.vectors.tls.identities import HOST, IDENTITIES, NOW, ROOT

START = 10**9

_cache = {}


class Rng:
    """Bytes that look random and are the same for the same seed."""

    def __init__(self, seed):
        self._seed = seed.encode()
        self._n = 0

    def __call__(self, n):
        out = b""
        while len(out) < n:
            out += Sha256(self._seed + self._n.to_bytes(4, "big")).digest()
            self._n += 1
        return out[:n]


def identity(kind="p256"):
    if kind not in _cache:
        _cache[kind] = load_identity(*IDENTITIES[kind])
    return _cache[kind]


def roots():
    if "roots" not in _cache:
        _cache["roots"] = Roots(ROOT)
    return _cache["roots"]


def client_config(**options):
    """Verifies against the vectors' root; one group unless told otherwise, to be quick."""
    options.setdefault("roots", roots())
    if "groups" not in options:
        options["groups"] = (groups.X25519,)
    if "key_shares" not in options:
        options["key_shares"] = options["groups"][:1]
    return Config(**options)


def server_config(kind="p256", **options):
    if "identities" not in options:
        options["identities"] = [identity(kind)]
    options.setdefault("roots", roots())
    return Config(**options)


def client(config=None, seed="client", cls=Client, host=HOST, now=START, **more):
    return cls(config or client_config(), host, Rng(seed), now, NOW, **more)


def server(config=None, seed="server", cls=Server, now=START, **more):
    return cls(config or server_config(), Rng(seed), now, NOW, **more)


def drain(machine):
    """Its events up to now; Data as bytes."""
    out = []
    while True:
        e = machine.next_event()
        if e is None:
            return out
        out.append(e.tobytes() if isinstance(e, Data) else e)


def pump(a, b, step=0):
    """Carry bytes both ways until none move: (events of a, events of b). step: bytes at a time."""
    events = [], []
    while True:
        moved = False
        for source, sink, out in ((a, b, events[1]), (b, a, events[0])):
            data = source.data_to_send()
            if data:
                moved = True
                size = step or len(data)
                for i in range(0, len(data), size):
                    sink.receive(data[i : i + size])
                    out.extend(drain(sink))
        if not moved:
            return events


def connected(cc=None, sc=None, **more):
    """(client, server) after the handshake."""
    c = client(cc, **more)
    s = server(sc)
    pump(c, s)
    assert c.connected and s.connected
    return c, s


class EvilClient(Client):
    """Each message goes through `evil(machine, raw) -> list of raw` before it is sent."""

    def __init__(self, config, host, rng, now, unix_time, evil=None, **more):
        self.evil = evil
        super().__init__(config, host, rng, now, unix_time, **more)

    def _do(self, action):
        _evil_do(self, super()._do, action)


class EvilServer(Server):
    def __init__(self, config, rng, now, unix_time, evil=None):
        self.evil = evil
        super().__init__(config, rng, now, unix_time)

    def _do(self, action):
        _evil_do(self, super()._do, action)


def _evil_do(machine, do, action):
    if action[0] != ev.SEND or machine.evil is None:
        do(action)
        return
    for raw in machine.evil(machine, action[1]):
        do((ev.SEND, raw))


# Taking messages apart


def _extensions_at(raw):
    if raw[0] == 1:
        at = 38 + 1 + raw[38]
        at += 2 + (raw[at] << 8 | raw[at + 1])
        return at + 1 + raw[at]
    if raw[0] == 2:
        return 38 + 1 + raw[38] + 3
    if raw[0] == 13:
        return 5 + raw[4]
    return 4  # EncryptedExtensions


def split(raw):
    """(what stands before the extensions, list of [type, body])."""
    at = _extensions_at(raw)
    out = []
    p = at + 2
    while p < len(raw):
        n = raw[p + 2] << 8 | raw[p + 3]
        out.append([raw[p] << 8 | raw[p + 1], raw[p + 4 : p + 4 + n]])
        p += 4 + n
    return raw[:at], out


def join(head, extensions):
    body = b"".join([_u16(k) + _u16(len(b)) + bytes(b) for k, b in extensions])
    body = head[4:] + _u16(len(body)) + body
    return resize(head[:4] + body)


def resize(raw):
    """The message with the length that it has."""
    return raw[:1] + (len(raw) - 4).to_bytes(3, "big") + raw[4:]


def _u16(v):
    return bytes((v >> 8, v & 255))


def on(kind, change):
    """An evil that changes messages of one type: change(raw) -> raw, list of raws, or None."""

    def evil(machine, raw):
        if raw[0] != kind:
            return [raw]
        got = change(raw)
        if got is None:
            return []
        return got if isinstance(got, list) else [got]

    return evil


def set_ext(kind, body):
    """A change that puts a body in the place of an extension's, or adds it before the others."""

    def change(raw):
        head, x = split(raw)
        for e in x:
            if e[0] == kind:
                e[1] = body(e[1]) if callable(body) else body
                return join(head, x)
        return join(head, [[kind, body]] + x)

    return change


def drop_ext(kind):
    def change(raw):
        head, x = split(raw)
        return join(head, [e for e in x if e[0] != kind])

    return change


def twice_ext(kind):
    def change(raw):
        head, x = split(raw)
        return join(head, [e for e in x if e[0] == kind] + x)

    return change


def patch(at, data):
    """A change of bytes at a place."""
    return lambda raw: raw[:at] + data + raw[at + len(data) :]
