"""RFC 8448's traces byte for byte: the key schedule, and both machines against the other side."""

from stack.crypto import rsa
from stack.crypto.hkdf import extract
from stack.crypto.sha2 import Sha256
from stack.tls import client, groups, messages, record, schedule, server, signatures
from stack.tls.client import Client
from stack.tls.config import CLIENT_CERTIFICATE_REQUIRED, Config
from stack.tls.events import Data, PeerClosed
from stack.tls.keys import Identity
from stack.tls.server import Server
from stack.tls.tickets import ReplayGuard, Session, Sessions, TicketState
from tests.vectors.tls.rfc8448 import TRACES

_NOW = 10**9
_TIME = 1500000000


def _hex(text):
    return bytes.fromhex(text)


def _all(section, kind):
    return [[t[1]] + [_hex(x) for x in t[2:]] for t in TRACES[section] if t[0] == kind]


def _each(kind):
    for section in TRACES:
        for t in TRACES[section]:
            if t[0] == kind:
                yield t


def test_schedule_extract():
    n = 0
    for _, _, salt, ikm, secret in _each("extract"):
        assert extract(Sha256, _hex(salt), _hex(ikm)) == _hex(secret)
        n += 1
    assert n >= 14, n


def test_schedule_derive():
    n = 0
    for _, _, label, prk, digest, secret in _each("derive"):
        got = schedule.derive_secret(Sha256, _hex(prk), label.encode(), _hex(digest))
        assert got == _hex(secret), label
        n += 1
    assert n > 35, n


def test_schedule_traffic_keys():
    n = 0
    for _, _, prk, key, iv in _each("traffic"):
        got = schedule.traffic_keys(schedule.AES_128_GCM_SHA256, _hex(prk))
        assert got == (_hex(key), _hex(iv))
        n += 1
    assert n > 15, n


def test_schedule_resumption():
    for _, _, prk, nonce, psk in _each("resumption"):
        assert schedule.resumption_psk(Sha256, _hex(prk), _hex(nonce)) == _hex(psk)


def test_schedule_as_a_whole():
    """From the shared secret of section 3 down to every traffic secret, by the named functions."""
    shared = [s for s in _all(3, "extract")][1][2]
    wanted = {t[2]: _hex(t[5]) for t in TRACES[3] if t[0] == "derive"}
    hashes = {t[2]: _hex(t[4]) for t in TRACES[3] if t[0] == "derive"}
    early = schedule.early_secret(Sha256)
    secret = schedule.handshake_secret(Sha256, early, shared)
    master = schedule.master_secret(Sha256, secret)
    for label, function, base in (
        ("c hs traffic", schedule.client_handshake_traffic_secret, secret),
        ("s hs traffic", schedule.server_handshake_traffic_secret, secret),
        ("c ap traffic", schedule.client_application_traffic_secret, master),
        ("s ap traffic", schedule.server_application_traffic_secret, master),
        ("exp master", schedule.exporter_master_secret, master),
        ("res master", schedule.resumption_master_secret, master),
    ):
        assert function(Sha256, base, hashes[label]) == wanted[label], label


class _Script:
    """An rng that gives what the trace drew."""

    def __init__(self, values):
        self.values = list(values)

    def __call__(self, n):
        v = self.values.pop(0)
        assert len(v) == n, (len(v), n)
        return v


class _Signer:
    """Signs as the trace did: PSS and ECDSA draw random numbers that the RFC does not tell."""

    def __init__(self, verify_message):
        scheme, self._signature = messages.pull_certificate_verify(verify_message)
        self.schemes = (scheme,)

    def sign(self, scheme, message, rng):
        return self._signature


def _split(payload):
    """The handshake messages in a payload."""
    out = []
    while payload:
        n = 4 + int.from_bytes(payload[1:4], "big")
        out.append(payload[:n])
        payload = payload[n:]
    return out


def _of_kind(records, kind):
    for side_payload in records:
        for m in _split(side_payload):
            if m[0] == kind:
                return m
    return None


def _handshake_payloads(section, side):
    out = []
    for s, payload, _rec in _all(section, "record"):
        if s == side and len(payload) > 2 and payload[0] in (1, 2, 4, 5, 8, 11, 13, 15, 20):
            if int.from_bytes(payload[1:4], "big") + 4 <= len(payload):
                out.append(payload)
    return out


def _identity(section, side):
    payloads = _handshake_payloads(section, side)
    certificate = _of_kind(payloads, messages.CERTIFICATE)
    if certificate is None:
        return []
    chain = messages.pull_certificate(certificate, ()).chain
    return [Identity(chain, _Signer(_of_kind(payloads, messages.CERTIFICATE_VERIFY)))]


def _session():
    """The session that section 3 leaves for section 4."""
    ticket = messages.pull_new_session_ticket(
        _of_kind(_handshake_payloads(3, "server"), messages.NEW_SESSION_TICKET)
    )
    s = Session()
    s.suite = schedule.AES_128_GCM_SHA256
    s.psk = _all(3, "resumption")[0][3]
    s.ticket = ticket.ticket
    s.age_add = ticket.age_add
    s.received_us = _NOW
    s.lifetime_s = ticket.lifetime_s
    s.max_early_data = ticket.max_early_data
    s.alpn = None
    s.host = "server"
    s.peer = None
    s.verified = False
    return s


class _weak_rsa:
    """The RFC's certificates have RSA keys of 1024 bits, which are refused outside this file."""

    def __enter__(self):
        self._was = rsa.MIN_BITS
        rsa.MIN_BITS = 1024

    def __exit__(self, *_):
        rsa.MIN_BITS = self._was


def _replay(machine, mine, records):
    """Give the machine the other side's records; each of its own has to be as in the trace."""
    events = []
    out = b""
    for side, payload, rec in records:
        if side != mine:
            machine.receive(rec)
            while True:
                e = machine.next_event()
                if e is None:
                    break
                events.append(e.tobytes() if isinstance(e, Data) else e)
            continue
        if machine.connected and payload[0] == 1 and len(payload) == 2:
            machine.send_close()
        elif machine.connected and payload[0] == 0:
            machine.send(payload)
        out += machine.data_to_send()
        assert out[: len(rec)] == rec, (side, len(out), len(rec))
        out = out[len(rec) :]
    assert out == b""
    return events


def _client(section):
    records = _all(section, "record")
    hellos = [m for m in _handshake_payloads(section, "client") if m[0] == messages.CLIENT_HELLO]
    private = [k for side, k in _all(section, "key") if side == "client"]
    early = [p for s, p, r in records if s == "client" and r[0] == 23][0] if section == 4 else b""

    class Offer(client._Offer):
        def __init__(self, c):
            parsed = messages.pull_client_hello(hellos[0])
            self.c = c
            self.random = parsed.random
            self.session_id = parsed.session_id
            self.session = c._take_session()
            self.early = False
            self.shares = {groups.X25519: groups.generate(groups.X25519, _Script(private), True)}

        def hello(self, transcript, retry_group=0, cookie=None):
            raw = hellos.pop(0)
            self.types = messages.pull_client_hello(raw).extensions
            if self.session is not None:
                # The binder is computed anew: it has to be the trace's.
                assert self._bind(raw, transcript, self.session) == raw
            if cookie is not None:
                assert messages.pull_client_hello(raw).cookie == cookie
            transcript.add(raw)
            return raw

    sessions = Sessions()
    if section == 4:
        sessions.put("server", _session())
    config = Config(
        sessions=sessions,
        groups=(groups.X25519, groups.SECP256R1, groups.SECP384R1),
        record_size_limit=16385,
        compatible=section == 7,
        identities=_identity(section, "client"),
        dangerously_accept_any_certificate=True,
    )
    was = client._Offer
    client._Offer = Offer
    try:
        rng = _Script(private[1:])
        c = Client(config, "server", rng, _NOW, _TIME, early_data=early)
        with _weak_rsa():
            events = _replay(c, "client", records)
    finally:
        client._Offer = was
    return c, events, sessions


def test_client_simple():
    c, events, sessions = _client(3)
    assert c.connected and c.read_closed and len(sessions) == 1
    assert bytes(range(50)) in events
    assert isinstance(events[-1], PeerClosed)
    assert sessions.take("server", _NOW).psk == _all(3, "resumption")[0][3]


def test_client_resumed_early_data():
    c, events, _ = _client(4)
    assert c.resumed and c.early_data_accepted and bytes(range(50)) in events


def test_client_retry():
    c, _, _ = _client(5)
    assert c.retried and c.group == groups.SECP256R1 and c.read_closed


def test_client_authenticated():
    c, _, _ = _client(6)
    assert c.connected and c.scheme == signatures.ECDSA_SECP256R1_SHA256


def test_client_compatible():
    c, _, _ = _client(7)
    assert c.connected and c.read_closed


class _Tickets:
    """Seals into, and opens, the ticket of the trace."""

    lifetime_s = 30

    def __init__(self):
        self.session = _session()
        self.guard = ReplayGuard()

    def seal(self, state, now):
        assert state.psk == self.session.psk
        return self.session.ticket

    def open(self, ticket, now):
        if ticket != self.session.ticket:
            return None
        s = TicketState()
        s.suite = self.session.suite
        s.psk = self.session.psk
        s.issued_us = now
        s.age_add = self.session.age_add
        s.lifetime_s = 30
        s.host = "server"
        s.alpn = s.peer = None
        s.early_data = 1024
        s.peer_until = 0
        return s


def _server(section):
    records = _all(section, "record")
    private = [k for side, k in _all(section, "key") if side == "server"]
    payloads = _handshake_payloads(section, "server")
    hello = messages.pull_server_hello(payloads[0], list(range(100)))
    tickets = _Tickets()
    age_add = tickets.session.age_add.to_bytes(4, "big")
    config = Config(
        identities=_identity(section, "server") or _identity(3, "server"),
        groups=(0x1D, 0x17, 0x18, 0x19, 0x100, 0x101, 0x102, 0x103, 0x104),
        announce_groups=True,
        record_size_limit=16385,
        grease=False,
        tickets=tickets if section in (3, 4) else None,
        ticket_count=section == 3,
        early_data=1024,
        client_auth=CLIENT_CERTIFICATE_REQUIRED if section == 6 else 0,
        dangerously_accept_any_certificate=True,
    )
    request = _of_kind(payloads, messages.CERTIFICATE_REQUEST)
    was = server._certificate_request
    server._certificate_request = lambda c: request
    try:
        s = Server(config, _Script([private[0], hello.random, age_add]), _NOW, _TIME)
        with _weak_rsa():
            events = _replay(s, "server", records)
    finally:
        server._certificate_request = was
    return s, events


def test_server_simple():
    s, events = _server(3)
    assert s.connected and s.host == "server" and bytes(range(50)) in events
    assert isinstance(events[-1], PeerClosed)


def test_server_resumed_early_data():
    s, events = _server(4)
    early = [p for side, p, r in _all(4, "record") if side == "client" and r[0] == 23][0]
    assert s.resumed and s.early_data_accepted and events[0] == early


def test_server_authenticated():
    s, _ = _server(6)
    assert s.peer is not None and s.connected


def test_server_compatible():
    s, _ = _server(7)
    assert s.connected and s.read_closed


def test_records_of_every_trace():
    """Every protected record is opened by the schedule's keys, and sealed again to the same."""
    from stack.core.mem import Buffers

    for section in TRACES:
        keys = []
        for t in TRACES[section]:
            if t[0] == "traffic":
                keys.append(record.Keys(schedule.AES_128_GCM_SHA256, _hex(t[2])))
        opened = 0
        for _side, payload, rec in _all(section, "record"):
            if rec[0] != 23:
                continue
            for k in keys:
                buf = bytearray(rec)
                seq = k.seq
                if k.open(buf, 5, len(rec) - 21):
                    opened += 1
                    assert bytes(buf[5 : 5 + len(payload)]) == payload
                    w = record.RecordWriter(Buffers(), 0)
                    w.keys = record.Keys(k.suite, k.secret)
                    w.keys.seq = seq
                    w.put(buf[5 + len(payload)], payload, 0, len(payload))
                    assert bytes(w.window.buf[: w.window.end]) == rec
                    break
        assert opened >= 4, (section, opened)
