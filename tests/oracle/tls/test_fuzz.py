"""Seeded fuzz of the DER parser and of both machines: only protocol errors, whole as byte by byte.

BAREWIRE_FUZZ_TIMES multiplies the rounds; BAREWIRE_FUZZ_SEED begins elsewhere.
"""

import os
import random
from binascii import a2b_base64

import pytest

from stack.core.errors import ProtocolError
from stack.tls import groups, messages, verify
from stack.tls.alert import CertificateError, TlsError
from stack.tls.config import CLIENT_CERTIFICATE_WELCOME, Config
from stack.tls.keys import load_private_key
from stack.tls.tickets import Sessions, TicketKeys
from stack.tls.x509 import der, name, ocsp
from stack.tls.x509.certificate import Certificate
from stack.tls.x509.path import check_host
from stack.tls.x509.store import Roots
from tests.unit.tls.pair import (
    EvilClient,
    EvilServer,
    Rng,
    client,
    client_config,
    drain,
    identity,
    pump,
    server,
    server_config,
)
from tests.vectors.tls.chains import CASES, POOL
from tests.vectors.tls.identities import HOST, IDENTITIES

TIMES = int(os.environ.get("BAREWIRE_FUZZ_TIMES", "1"))
SEED = int(os.environ.get("BAREWIRE_FUZZ_SEED", "1"))


def mutate(r, data):
    """One to four small damages."""
    data = bytearray(data)
    for _ in range(r.choice((1, 1, 1, 2, 4))):
        if not data:
            return bytes(data)
        at = r.randrange(len(data))
        what = r.randrange(7)
        if what == 0:
            data[at] ^= 1 << r.randrange(8)
        elif what == 1:
            data[at] = r.choice((0, 1, 0x7F, 0x80, 0x81, 0xFF, r.randrange(256)))
        elif what == 2:
            data[at : at + r.randrange(1, 8)] = b""
        elif what == 3:
            data[at:at] = r.randbytes(r.randrange(1, 8))
        elif what == 4:
            other = r.randrange(len(data))
            data[at : at + 8] = data[other : other + 8]
        elif what == 5:
            del data[at:]
        else:
            n = r.randrange(1, 40)
            data[at:at] = data[at : at + n]
    return bytes(data)


def _read_all(raw):
    """Everything that is ever read of a certificate."""
    c = Certificate(raw)
    c.subject_text()
    c.issuer_text()
    c.self_issued()
    name.canonical(c.subject)
    try:
        check_host(c, HOST)
    except CertificateError:
        pass
    c.key()


@pytest.mark.parametrize("seed", range(SEED, SEED + 4 * TIMES))
def test_certificates(seed):
    r = random.Random(seed)
    pool = [a2b_base64(x) for x in POOL]
    for _ in range(400):
        raw = mutate(r, r.choice(pool))
        try:
            _read_all(raw)
        except CertificateError as e:
            assert e.reason and e.kind


@pytest.mark.parametrize("seed", range(SEED, SEED + 4 * TIMES))
def test_der(seed):
    """Random bytes and random elements through every reader."""
    r = random.Random(seed)
    for _ in range(3000):
        data = r.randbytes(r.randrange(24))
        if data and r.random() < 0.7:
            tag = r.choice((1, 2, 3, 4, 5, 6, 0x17, 0x18, 0x30, 0x31, 0xA0))
            data = bytes((tag, min(len(data), 127))) + data
        for read in (
            "pull_boolean", "pull_integer", "pull_oid", "pull_null", "pull_bits", "pull_time",
            "pull_named_bits", "pull_octet_bits", "pull_small", "any",
        ):  # fmt: skip
            try:
                getattr(der.Der(data), read)()
            except CertificateError:
                pass
        for function in (name.attributes, name.canonical, name.text):
            try:
                function(data)
            except CertificateError:
                pass


def test_der_accepts_only_one_encoding():
    """What is read from an integer, a boolean and an OID has just that encoding."""
    r = random.Random(SEED)
    for _ in range(20000):
        data = r.randbytes(r.randrange(1, 5))
        try:
            v = der.Der(b"\x02" + bytes((len(data),)) + data).pull_integer()
        except CertificateError:
            continue
        n = max(1, ((v if v >= 0 else ~v).bit_length() + 8) // 8)
        assert v.to_bytes(n, "big", signed=True) == data


@pytest.mark.parametrize("seed", range(SEED, SEED + 4 * TIMES))
def test_ocsp(seed):
    r = random.Random(seed)
    cases = [c for c in CASES if c[7] is not None and not c[1]]
    for _ in range(60):
        _, _, chain, _, _, now, _, response, _ = r.choice(cases)
        leaf, issuer = (Certificate(a2b_base64(POOL[n])) for n in chain[:2])
        raw = mutate(r, a2b_base64(POOL[response]))
        if raw == a2b_base64(POOL[response]):
            continue
        try:
            ocsp.check(raw, leaf, issuer, now)
        except CertificateError as e:
            assert e.kind in ("bad-status", "revoked")


@pytest.mark.parametrize("seed", range(SEED, SEED + 4 * TIMES))
def test_chains(seed):
    """A damaged chain is refused, unless the damage hit what nobody needs."""
    r = random.Random(seed)
    good = [c for c in CASES if not c[1] and not c[6] and len(c[2]) > 1 and c[7] is None]
    for _ in range(60):
        why, _, chain, roots, host, now, _, _, _ = r.choice(good)
        m = messages.CertificateMessage()
        m.chain = [a2b_base64(POOL[n]) for n in chain]
        m.ocsp = m.sct = None
        m.chain[0] = mutate(r, m.chain[0])
        store = Roots()
        for n in roots:
            store.add(a2b_base64(POOL[n]))
        damaged = m.chain[0] != a2b_base64(POOL[chain[0]])
        try:
            verify.judge_server(Config(roots=store), m, host, now)
            assert not damaged, why
        except TlsError:
            assert damaged, why


@pytest.mark.parametrize("seed", range(SEED, SEED + 2 * TIMES))
def test_private_keys(seed):
    r = random.Random(seed)
    for _ in range(150):
        text = r.choice(list(IDENTITIES.values())[:3])[1].encode()
        try:
            load_private_key(mutate(r, text))
        except ValueError:
            pass


# The machines


_READERS = {
    1: messages.pull_client_hello,
    2: lambda raw: messages.pull_server_hello(raw, (51, 43, 41, 44)),
    4: messages.pull_new_session_ticket,
    8: lambda raw: messages.pull_encrypted_extensions(raw, (0, 10, 16, 28, 42)),
    11: lambda raw: messages.pull_certificate(raw, (5, 18)),
    13: messages.pull_certificate_request,
    15: messages.pull_certificate_verify,
    20: lambda raw: messages.pull_finished(raw, 32),
    24: messages.pull_key_update,
}


def _all_messages():
    out = []

    def keep(machine, raw):
        out.append(raw)
        return [raw]

    cc = client_config(
        sessions=Sessions(), alpn=[b"h2"], identities=[identity()], record_size_limit=9000,
        groups=(groups.X25519, groups.SECP256R1),
    )  # fmt: skip
    sc = server_config(
        alpn=[b"h2"], tickets=TicketKeys(Rng("t")), client_auth=CLIENT_CERTIFICATE_WELCOME,
        record_size_limit=9000, groups=(groups.SECP256R1,),
    )  # fmt: skip
    for _ in range(2):
        pump(client(cc, cls=EvilClient, evil=keep), server(sc, cls=EvilServer, evil=keep))
    return out


@pytest.mark.parametrize("seed", range(SEED, SEED + 4 * TIMES))
def test_messages(seed):
    r = random.Random(seed)
    pool = [m for m in _all_messages() if m[0] in _READERS]
    assert len(set(m[0] for m in pool)) >= 8
    for _ in range(3000):
        raw = r.choice(pool)
        damaged = raw[:4] + mutate(r, raw[4:])
        try:
            _READERS[raw[0]](damaged)
        except ProtocolError as e:
            assert isinstance(e.code, int)


def _outcome(machine, chunks):
    """(events, the error's code and words, what it says) for input in chunks."""
    events = []
    error = None
    for chunk in chunks:
        machine.receive(chunk)
        try:
            events += [e if isinstance(e, bytes) else type(e).__name__ for e in drain(machine)]
        except TlsError as e:
            error = e.code, e.reason
            break
    data, joined = [], b""
    for e in events:  # data may come in other pieces, never in another order
        if isinstance(e, bytes):
            joined += e
        else:
            data += [joined, e] if joined else [e]
            joined = b""
    return data + [joined], error, machine.data_to_send()


def _pieces(r, data):
    out = []
    at = 0
    while at < len(data):
        n = r.choice((1, 1, 2, 3, 5, 17, 300))
        out.append(data[at : at + n])
        at += n
    return out


@pytest.mark.parametrize("seed", range(SEED, SEED + 8 * TIMES))
def test_wire(seed):
    """Damaged flights: the same outcome whole and in pieces, and only TlsError."""
    r = random.Random(seed)
    for _ in range(6):
        to_server = r.random() < 0.5
        tag = str(r.random())
        c, s = client(seed=tag), server(seed=tag)
        flight = c.data_to_send()
        if not to_server:
            s.receive(flight)
            drain(s)
            flight = s.data_to_send()
        flight = mutate(r, flight)
        outcomes = []
        for pieces in ([flight], _pieces(r, flight), [bytes((b,)) for b in flight]):
            victim = server(seed=tag) if to_server else client(seed=tag)
            if not to_server:
                victim.data_to_send()
            outcomes.append(_outcome(victim, pieces))
        assert outcomes[0] == outcomes[1] == outcomes[2]
        assert "HandshakeDone" not in outcomes[0][0] or flight


@pytest.mark.parametrize("seed", range(SEED, SEED + 8 * TIMES))
def test_inside(seed):
    """Damaged messages under the right keys: what a peer that has keys could send."""
    r = random.Random(seed)
    for _ in range(8):
        target = r.choice((1, 2, 4, 8, 11, 13, 15, 20))

        def evil(machine, raw, target=target):
            if raw[0] != target:
                return [raw]
            body = mutate(r, raw[4:])
            return [raw[:1] + len(body).to_bytes(3, "big") + body]

        cc = client_config(sessions=Sessions(), identities=[identity()])
        sc = server_config(
            tickets=TicketKeys(Rng("t")), client_auth=CLIENT_CERTIFICATE_WELCOME
        )
        evil_client = r.random() < 0.5
        c = client(cc, cls=EvilClient, evil=evil if evil_client else None)
        s = server(sc, cls=EvilServer, evil=None if evil_client else evil)
        try:
            pump(c, s)
        except TlsError as e:
            assert e.reason
            machine = c if c.error else s
            try:
                machine.next_event()
                raise AssertionError("it goes on")
            except TlsError:
                pass


@pytest.mark.parametrize("seed", range(SEED, SEED + 4 * TIMES))
def test_after_the_handshake(seed):
    """Random inner plaintexts under the right keys."""
    r = random.Random(seed)
    for _ in range(6):
        c, s = client(seed=str(seed)), server(seed=str(seed))
        pump(c, s)
        victim, evil = (c, s) if r.random() < 0.5 else (s, c)
        for _ in range(10):
            kind = r.choice((20, 21, 22, 22, 22, 23, 24, r.randrange(256)))
            body = r.randbytes(r.choice((0, 1, 2, 3, 5, 60)))
            if kind == 22 and r.random() < 0.7:
                body = r.choice((b"\x18\0\0\1\0", b"\x18\0\0\1\1", b"\4\0\0\x0d" + bytes(13)))
            evil._writer.put(kind, body, 0, len(body))
        data = evil.data_to_send()
        victim.receive(data)
        try:
            drain(victim)
        except TlsError:
            pass


def test_random_bytes():
    r = random.Random(SEED)
    for _ in range(300):
        victim = r.choice((client, server))()
        victim.data_to_send()
        data = r.randbytes(r.randrange(1, 60))
        if r.random() < 0.8:
            data = bytes((r.randrange(20, 24), 3, 3, 0, len(data))) + data
        victim.receive(data)
        try:
            drain(victim)
        except TlsError:
            pass


