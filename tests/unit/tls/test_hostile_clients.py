"""Clients that break TLS: our server refuses each with the alert that the RFC names.

A case is a table row: (why, alert, ...). The misbehaving peer is our own machine
with one message changed, so that everything else about it is right.
"""

from stack.tls import alert, messages
from stack.tls import extensions as ext
from stack.tls.config import CLIENT_CERTIFICATE_REQUIRED
from stack.tls.tickets import Sessions, TicketKeys
from tests.unit.tls.hostile import (
    BOTH,
    CH,
    CT,
    CV,
    DECODE,
    DECRYPT,
    FIN,
    HANDSHAKE,
    HYBRID,
    ILLEGAL,
    MAC,
    MISSING,
    P256,
    UNEXPECTED,
    UNSOLICITED,
    VERSION,
    entry_extension,
    fails,
    flip_last,
    impostor,
    other_chain,
    refused,
    run,
    scheme,
)
from tests.unit.tls.pair import (
    EvilClient,
    Rng,
    client,
    client_config,
    connected,
    drop_ext,
    identity,
    join,
    on,
    patch,
    resize,
    server,
    server_config,
    set_ext,
    split,
    twice_ext,
)


def _client_case(row):
    why, code, evil = row[:3]
    options = row[3] if len(row) > 3 else {}
    cc = client_config(**options.get("client", {}))
    sc = server_config(**options.get("server", {}))
    if options.get("resume"):
        cc.sessions, sc.tickets = Sessions(), TicketKeys(Rng("t"))
        connected(cc, sc)
    s = server(sc)
    c = client(cc, cls=EvilClient, evil=evil, early_data=options.get("early", b""))
    fails(s, c, why, code)
    assert not s.connected


def _ch(change):
    return on(CH, change)


def _second(change):
    seen = []

    def pick(raw):
        seen.append(raw)
        return raw if len(seen) == 1 else change(raw)

    return on(CH, pick)


def _compression(body):
    def change(raw):
        head, x = split(raw)
        return join(head[:-2] + bytes((len(body),)) + body, x)

    return change


def _suites(body):
    def change(raw):
        head, x = split(raw)
        return join(head[: 39 + head[38]] + len(body).to_bytes(2, "big") + body + b"\1\0", x)

    return change


def _no_extensions(raw):
    head, _ = split(raw)
    return resize(head)


def _psk_not_last(raw):
    head, x = split(raw)
    return join(head, x[-1:] + x[:-1])


def _binder(change):
    return set_ext(41, change)


AUTH = {"server": {"client_auth": CLIENT_CERTIFICATE_REQUIRED},
        "client": {"identities": [identity("ed25519")]}}  # fmt: skip
RETRIED = {"client": {"groups": BOTH}, "server": {"groups": BOTH[1:]}}
RESUME = {"resume": True}


def _name(*entries):
    body = b"".join(bytes((k,)) + len(n).to_bytes(2, "big") + n for k, n in entries)
    return set_ext(0, len(body).to_bytes(2, "big") + body)


def _unreduced(b):
    """ML-KEM's key with a coefficient of 4095, beyond its modulus."""
    at = b.index(b"\x11\xec") + 4
    return b[:at] + b"\xff\xff\xff" + b[at + 3 :]


CLIENT_CASES = (
    ("TLS 1.2 only", VERSION, _ch(drop_ext(43))),
    ("TLS 1.2 in its list", VERSION, _ch(set_ext(43, b"\2\3\3"))),
    ("TLS 1.3's draft 28", VERSION, _ch(set_ext(43, b"\2\x7f\x1c"))),
    ("no extensions at all", VERSION, _ch(_no_extensions)),
    ("an odd list of versions", DECODE, _ch(set_ext(43, b"\3\3\4\0"))),
    ("compression", ILLEGAL, _ch(_compression(b"\1\0"))),
    ("no compression method", DECODE, _ch(_compression(b""))),
    ("only another compression", ILLEGAL, _ch(_compression(b"\1"))),
    ("no suite in common", HANDSHAKE, _ch(_suites(b"\xc0\x2f\x1a\x1a"))),
    ("no suites", DECODE, _ch(_suites(b""))),
    ("an odd list of suites", DECODE, _ch(_suites(b"\x13\1\x13"))),
    ("no group in common", HANDSHAKE, _ch(set_ext(10, b"\0\2\0\x19")),
     {"client": {"key_shares": (), "grease": False}}),
    ("no scheme in common", HANDSHAKE, _ch(set_ext(13, b"\0\2\2\3"))),
    ("PKCS #1 v1.5 alone", HANDSHAKE, _ch(set_ext(13, b"\0\2\4\1")),
     {"server": {"kind": "rsa2048"}}),
    ("no signature_algorithms", MISSING, _ch(drop_ext(13))),
    ("no supported_groups", MISSING, _ch(drop_ext(10))),
    ("no key_share", MISSING, _ch(drop_ext(51))),
    ("a PSK without its modes", MISSING, _ch(drop_ext(45)), RESUME),
    ("no modes in the list", DECODE, _ch(set_ext(45, b"\0"))),
    ("an extension twice", ILLEGAL, _ch(twice_ext(13))),
    ("an unknown extension twice", ILLEGAL,
     _ch(lambda r: join(split(r)[0], [[0x1234, b""], [0x1234, b""]] + split(r)[1]))),
    ("an extension of another message", ILLEGAL, _ch(set_ext(48, b"\0\0"))),
    ("a share twice", ILLEGAL, _ch(set_ext(51, lambda b: b"\0\x48" + b[-36:] * 2)),
     {"client": {"grease": False}}),
    ("a share of a group not listed", ILLEGAL,
     _ch(set_ext(51, ext.key_shares_body([(0x17, b"\4" + bytes(64))])))),
    ("X25519: zero", ILLEGAL, _ch(set_ext(51, ext.key_shares_body([(0x1D, bytes(32))])))),
    ("X25519: short", ILLEGAL, _ch(set_ext(51, ext.key_shares_body([(0x1D, b"\5" * 31)])))),
    ("P-256: not on the curve", ILLEGAL,
     _ch(set_ext(51, ext.key_shares_body([(0x17, b"\4" + b"\1" * 64)]))), P256),
    ("P-256: compressed", ILLEGAL,
     _ch(set_ext(51, ext.key_shares_body([(0x17, b"\2" + b"\1" * 32)]))), P256),
    ("ML-KEM: not reduced", ILLEGAL, _ch(set_ext(51, _unreduced)), HYBRID),
    ("ML-KEM: cut short", ILLEGAL,
     _ch(set_ext(51, ext.key_shares_body([(0x11EC, bytes(1215))]))), HYBRID),
    ("an empty share", DECODE, _ch(set_ext(51, b"\0\4\0\x1d\0\0"))),
    ("no protocol in common", alert.NO_APPLICATION_PROTOCOL, _ch(lambda r: r),
     {"client": {"alpn": [b"h2"]}, "server": {"alpn": [b"http/1.1"]}}),
    ("an empty list of protocols", DECODE, _ch(set_ext(16, b"\0\0"))),
    ("an empty protocol", DECODE, _ch(set_ext(16, b"\0\1\0"))),
    ("an empty server_name", DECODE, _ch(set_ext(0, b"\0\0"))),
    ("an empty host name", DECODE, _ch(_name((0, b"")))),
    ("two host names", ILLEGAL, _ch(_name((0, b"a.test"), (0, b"b.test")))),
    ("a host name with a zero byte", ILLEGAL, _ch(_name((0, b"a\0.test")))),
    ("a host name of 300 bytes", ILLEGAL, _ch(_name((0, b"a" * 300)))),
    ("record_size_limit of 63", ILLEGAL, _ch(set_ext(28, b"\0\x3f"))),
    ("record_size_limit of one byte", DECODE, _ch(set_ext(28, b"\1"))),
    ("early_data with contents", DECODE, _ch(set_ext(42, b"\0"))),
    ("a session id of 33 bytes", DECODE,
     _ch(lambda r: resize(r[:38] + b"\x21" + bytes(33) + r[39 + r[38] :]))),
    ("cut short", DECODE, _ch(lambda r: resize(r[:-1]))),
    ("bytes after the extensions", DECODE, _ch(lambda r: resize(r + b"\0"))),
    ("a ClientHello of 16 MB", ILLEGAL, _ch(lambda r: b"\1\xff\xff\xff")),
    ("another message first", UNEXPECTED, _ch(lambda r: b"\x14" + r[1:])),
    ("65 extensions", DECODE,
     _ch(lambda r: join(split(r)[0], [[0x4000 + n, b""] for n in range(65)] + split(r)[1]))),
    # Sessions
    ("the PSK not last", ILLEGAL, _ch(_psk_not_last), RESUME),
    ("a wrong binder", DECRYPT, _ch(flip_last), RESUME),
    ("an altered hello with a binder", DECRYPT, _ch(patch(6, b"\1\2\3")), RESUME),
    ("a binder of 31 bytes", DECODE,
     _ch(_binder(lambda b: b[:-35] + b"\0\x20\x1f" + b[-31:])), RESUME),
    ("a binder of 48 bytes", ILLEGAL,
     _ch(_binder(lambda b: b[:-35] + b"\0\x31\x30" + bytes(48))), RESUME),
    ("more binders than sessions", ILLEGAL,
     _ch(_binder(lambda b: b[:-35] + b"\0\x42" + b[-33:] * 2)), RESUME),
    ("no sessions in the list", DECODE, _ch(_binder(b"\0\0\0\x21\x20" + bytes(32))), RESUME),
    ("an empty session", DECODE, _ch(_binder(b"\0\6\0\0\0\0\0\0\0\x21\x20" + bytes(32))), RESUME),
    # After a retry
    ("the same share after a retry", ILLEGAL,
     _second(set_ext(51, ext.key_shares_body([(0x1D, b"\5" * 32)]))), RETRIED),
    ("two shares after a retry", ILLEGAL,
     _second(set_ext(51, lambda b: ext.key_shares_body(
         [(0x17, b[-65:]), (0x1D, b"\5" * 32)]))),
     RETRIED),
    ("no share after a retry", ILLEGAL, _second(set_ext(51, b"\0\0")), RETRIED),
    ("another random after a retry", ILLEGAL, _second(patch(6, b"\1\2\3")), RETRIED),
    ("another session id after a retry", ILLEGAL, _second(patch(40, b"\1\2\3")), RETRIED),
    ("other suites after a retry", ILLEGAL, _second(_suites(b"\x13\2")), RETRIED),
    ("another server_name after a retry", ILLEGAL, _second(_name((0, b"b.test"))), RETRIED),
    ("another list of groups after a retry", ILLEGAL, _second(set_ext(10, b"\0\2\0\x17")), RETRIED),
    ("early data after a retry", ILLEGAL, _second(lambda r: set_ext(42, b"")(r)), RETRIED),
    ("no second hello after a retry", UNEXPECTED, _second(lambda r: b"\x14" + r[1:]), RETRIED),
    # The client's second flight
    ("no certificate where one is required", alert.CERTIFICATE_REQUIRED,
     on(CT, lambda r: b"\x0b\0\0\4\0\0\0\0"), AUTH),
    ("a certificate of nobody", alert.UNKNOWN_CA,
     on(CT, lambda r: messages.push_certificate(b"", identity("p256").chain[:1])), AUTH),
    ("the certificate of another key", ILLEGAL, on(CT, other_chain), AUTH),
    ("a Certificate with a context", ILLEGAL,
     on(CT, lambda r: resize(r[:4] + b"\1x" + r[5:])), AUTH),
    ("an extension unasked at a certificate", UNSOLICITED, on(CT, entry_extension), AUTH),
    ("an altered signature", DECRYPT, on(CV, flip_last), AUTH),
    ("signed by another key", DECRYPT, None,
     {"server": AUTH["server"], "client": {"identities": [impostor()]}}),
    ("no CertificateVerify", UNEXPECTED, on(CV, lambda r: None), AUTH),
    ("no Certificate", UNEXPECTED, on(CT, lambda r: None), AUTH),
    ("another scheme", ILLEGAL, on(CV, scheme(0x0403)), AUTH),
    ("a certificate unasked", UNEXPECTED,
     on(FIN, lambda r: [messages.push_certificate(b"", identity().chain), r])),
    ("a wrong Finished", DECRYPT, on(FIN, flip_last)),
    ("a short Finished", DECODE, on(FIN, lambda r: resize(r[:-1]))),
    ("Finished twice", UNEXPECTED, on(FIN, lambda r: [r, r])),
    ("EndOfEarlyData without early data", UNEXPECTED, on(FIN, lambda r: [b"\5\0\0\0", r])),
    ("KeyUpdate before Finished", UNEXPECTED, on(FIN, lambda r: [b"\x18\0\0\1\0", r])),
    # The server still has the key of the early data, and Finished comes with another.
    ("no EndOfEarlyData", MAC, on(5, lambda r: None),
     {"resume": True, "early": b"x", "server": {"early_data": 100}}),
    ("EndOfEarlyData with contents", DECODE, on(5, lambda r: b"\5\0\0\1\0"),
     {"resume": True, "early": b"x", "server": {"early_data": 100}}),
)  # fmt: skip


def test_clients_hello():
    run(CLIENT_CASES[:48], _client_case)


def test_clients_messages():
    run(CLIENT_CASES[48:], _client_case)


def test_words_for_tls_12():
    s = server()
    c = client(cls=EvilClient, evil=_ch(drop_ext(43)))
    s.receive(c.data_to_send())
    e = refused(s, "TLS 1.2", VERSION)
    assert "TLS 1.2" in str(e) and "protocol_version" in str(e)


def test_count():
    assert len(CLIENT_CASES) >= 80
