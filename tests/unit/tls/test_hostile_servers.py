"""Servers that break TLS: our client refuses each with the alert that the RFC names.

A case is a table row: (why, alert, ...). The misbehaving peer is our own machine
with one message changed, so that everything else about it is right.
"""

from stack.tls import alert, messages
from stack.tls import extensions as ext
from stack.tls.config import CLIENT_CERTIFICATE_REQUIRED
from stack.tls.tickets import Sessions, TicketKeys
from tests.unit.tls.hostile import (
    BOTH,
    CR,
    CT,
    CV,
    DECODE,
    DECRYPT,
    EE,
    FIN,
    HYBRID,
    ILLEGAL,
    MAC,
    MISSING,
    P256,
    SH,
    UNEXPECTED,
    UNSOLICITED,
    VERSION,
    entry_extension,
    fails,
    flip_last,
    impostor,
    other_chain,
    run,
    scheme,
)
from tests.unit.tls.pair import (
    EvilServer,
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


def _server_case(row):
    why, code, evil = row[:3]
    options = row[3] if len(row) > 3 else {}
    cc = client_config(**options.get("client", {}))
    sc = server_config(**options.get("server", {}))
    if options.get("resume"):
        cc.sessions, sc.tickets = Sessions(), TicketKeys(Rng("t"))
        connected(cc, sc)
    c = client(cc)
    s = server(sc, cls=EvilServer, evil=evil)
    fails(c, s, why, code, options.get("told", True))
    assert not c.connected


RETRY = {"client": {"groups": BOTH}, "server": {"groups": BOTH[1:]}}


def _share(group, data):
    return set_ext(51, ext.key_share_body(group, data))


def _hello(change):
    return on(SH, change)


def _tls12(tail):
    """A ServerHello as of TLS 1.2, with the last 8 bytes of its random."""
    def change(raw):
        head, x = split(raw)
        return join(head[:30] + tail + head[38:], [])

    return change


def _suite(n):
    return lambda raw: raw[: 39 + raw[38]] + bytes((n >> 8, n & 255)) + raw[41 + raw[38] :]


def _retry_then(change):
    """Change the ServerHello after a HelloRetryRequest."""
    return _hello(lambda raw: raw if raw[6:38] == messages.RETRY_RANDOM else change(raw))


def _retry_only(change):
    return _hello(lambda raw: change(raw) if raw[6:38] == messages.RETRY_RANDOM else raw)


def _second_retry():
    first = []

    def change(raw):
        if not first:
            first.append(raw)
            return raw
        return first[0]

    return _hello(change)


def _retry_for(group):
    """A HelloRetryRequest where none is needed."""
    def change(raw):
        head, _ = split(raw)
        x = [[43, b"\x03\x04"]]
        if group:
            x.append([51, bytes((group >> 8, group & 255))])
        return join(head[:6] + messages.RETRY_RANDOM + head[38:], x)

    return _hello(change)


def _point(change):
    """The server's P-256 point changed."""
    return set_ext(51, lambda b: ext.key_share_body(0x0017, change(b[4:])))


def _sign_as_client(machine, raw):
    if raw[0] != CV:
        return [raw]
    content = b"\x20" * 64 + b"TLS 1.3, client CertificateVerify\0" + bytes(32)
    key = identity().signer
    return [messages.push_certificate_verify(0x0403, key.sign(0x0403, content, machine.rng))]


SERVER_CASES = (
    # ServerHello
    ("legacy_version 3.2", ILLEGAL, _hello(patch(4, b"\x03\x02"))),
    ("TLS 1.2", VERSION, _hello(_tls12(b"12345678"))),
    ("TLS 1.2 with the downgrade sentinel", ILLEGAL, _hello(_tls12(b"DOWNGRD\x01"))),
    ("TLS 1.1 with the downgrade sentinel", ILLEGAL, _hello(_tls12(b"DOWNGRD\x00"))),
    ("the version 1.2 selected", ILLEGAL, _hello(set_ext(43, b"\x03\x03"))),
    ("a version of three bytes", DECODE, _hello(set_ext(43, b"\x03\x04\x00"))),
    ("another session id", ILLEGAL, _hello(patch(39, b"\xff\x00\xff"))),
    ("no session id", ILLEGAL, _hello(lambda r: resize(r[:38] + b"\0" + r[39 + r[38] :]))),
    ("a session id of 33 bytes", DECODE,
     _hello(lambda r: resize(r[:38] + b"\x21" + bytes(33) + r[39 + r[38] :]))),
    ("compression", ILLEGAL, _hello(lambda r: patch(41 + r[38], b"\x01")(r))),
    ("a suite that was not offered", ILLEGAL, _hello(_suite(0x1304))),
    ("a suite of TLS 1.2", ILLEGAL, _hello(_suite(0xC02F))),
    ("a GREASE suite", ILLEGAL, _hello(_suite(0x1A1A))),
    ("an extension twice", ILLEGAL, _hello(twice_ext(51))),
    ("an unknown extension", UNSOLICITED, _hello(set_ext(0x1234, b""))),
    ("ALPN in the clear", ILLEGAL, _hello(set_ext(16, b"\0\3\2h2"))),
    ("a cookie outside of a retry", ILLEGAL, _hello(set_ext(44, b"\0\1x"))),
    ("a session that was not offered", UNSOLICITED, _hello(set_ext(41, b"\0\0"))),
    ("a session out of range", ILLEGAL, _hello(set_ext(41, b"\0\1")), {"resume": True}),
    ("cut short", DECODE, _hello(lambda r: resize(r[:-1]))),
    ("bytes after the extensions", DECODE, _hello(lambda r: resize(r + b"\0"))),
    ("the extensions' length too long", DECODE,
     _hello(lambda r: patch(42 + r[38], b"\xff\xff")(r))),
    # Key exchange
    ("no key share", MISSING, _hello(drop_ext(51))),
    ("a share of a group not offered", ILLEGAL, _hello(_share(0x0019, bytes(133)))),
    ("a share of a group whose share was not sent", ILLEGAL,
     _hello(_share(0x0017, b"\4" + bytes(64))), {"client": {"groups": BOTH}}),
    ("an empty share", DECODE, _hello(_share(0x001D, b""))),
    ("X25519: zero", ILLEGAL, _hello(_share(0x001D, bytes(32)))),
    ("X25519: one, of low order", ILLEGAL, _hello(_share(0x001D, b"\1" + bytes(31)))),
    ("X25519: p, which is zero", ILLEGAL,
     _hello(_share(0x001D, b"\xed" + b"\xff" * 30 + b"\x7f"))),
    ("X25519: 31 bytes", ILLEGAL, _hello(_share(0x001D, b"\5" * 31))),
    ("X25519: 33 bytes", ILLEGAL, _hello(_share(0x001D, b"\5" * 33))),
    ("P-256: not on the curve", ILLEGAL, _hello(_point(flip_last)), P256),
    ("P-256: compressed", ILLEGAL, _hello(_point(lambda b: b"\2" + b[1:33])), P256),
    ("P-256: infinity", ILLEGAL, _hello(_point(lambda b: b"\0")), P256),
    ("P-256: zeros", ILLEGAL, _hello(_point(lambda b: b"\4" + bytes(64))), P256),
    ("P-256: a coordinate beyond p", ILLEGAL,
     _hello(_point(lambda b: b"\4" + b"\xff" * 32 + b[33:])), P256),
    ("P-256: hybrid form", ILLEGAL, _hello(_point(lambda b: b"\6" + b[1:])), P256),
    ("ML-KEM: cut short", ILLEGAL,
     _hello(set_ext(51, lambda b: ext.key_share_body(0x11EC, b[4:-1]))), HYBRID),
    ("ML-KEM: the X25519 half zero", ILLEGAL, _hello(set_ext(51, lambda b: b[:-32] + bytes(32))),
     HYBRID),
    # An altered ciphertext gives another secret (implicit rejection), so the next record fails.
    ("ML-KEM: altered", MAC, _hello(set_ext(51, lambda b: b[:9] + b"\1\2\3" + b[12:])), HYBRID),
    # HelloRetryRequest
    ("a second retry", UNEXPECTED, _second_retry(), RETRY),
    ("a retry that changes nothing", ILLEGAL, _retry_for(0)),
    ("a retry for the group whose share was sent", ILLEGAL, _retry_for(0x001D)),
    ("a retry for a group not offered", ILLEGAL, _retry_for(0x0018)),
    ("a retry for a GREASE group", ILLEGAL, _retry_for(0x2A2A)),
    ("another suite after the retry", ILLEGAL, _retry_then(_suite(0x1303)), RETRY),
    ("another group after the retry", ILLEGAL, _retry_then(_share(0x001D, bytes(32))), RETRY),
    ("an unknown extension in a retry", UNSOLICITED, _retry_only(set_ext(0x1234, b"")), RETRY),
    ("a session in a retry", ILLEGAL, _retry_only(set_ext(41, b"\0\0")), RETRY),
    ("an empty cookie", DECODE, _retry_only(set_ext(44, b"\0\0")), RETRY),
    ("an altered retry", MAC, _retry_only(set_ext(44, b"\0\1x")), RETRY),
    # EncryptedExtensions
    ("ALPN unasked", UNSOLICITED, on(EE, set_ext(16, b"\0\3\2h2"))),
    ("another protocol", ILLEGAL, on(EE, set_ext(16, b"\0\3\2h3")),
     {"client": {"alpn": [b"h2"]}}),
    ("two protocols", ILLEGAL, on(EE, set_ext(16, b"\0\6\2h2\2h3")),
     {"client": {"alpn": [b"h2", b"h3"]}}),
    ("an empty protocol", DECODE, on(EE, set_ext(16, b"\0\1\0")), {"client": {"alpn": [b"h2"]}}),
    ("a server_name with contents", DECODE, on(EE, set_ext(0, b"\0"))),
    ("an extension of EE twice", ILLEGAL, on(EE, twice_ext(0))),
    ("a key share in EE", ILLEGAL, on(EE, set_ext(51, b"\0\x1d\0\0"))),
    ("supported_versions in EE", ILLEGAL, on(EE, set_ext(43, b"\3\4"))),
    ("an unknown extension in EE", UNSOLICITED, on(EE, set_ext(0x1234, b""))),
    ("early data accepted unasked", UNSOLICITED, on(EE, set_ext(42, b""))),
    ("record_size_limit unasked", UNSOLICITED, on(EE, set_ext(28, b"\1\0"))),
    ("record_size_limit of 63", ILLEGAL, on(EE, set_ext(28, b"\0\x3f")),
     {"client": {"record_size_limit": 500}}),
    ("EE with bytes after", DECODE, on(EE, lambda r: resize(r + b"\0"))),
    ("EE cut short", DECODE, on(EE, lambda r: resize(r[:-1]))),
    # Order
    ("no EncryptedExtensions", UNEXPECTED, on(EE, lambda r: None)),
    ("no Certificate", UNEXPECTED, on(CT, lambda r: None)),
    ("no CertificateVerify", UNEXPECTED, on(CV, lambda r: None)),
    ("no Certificate and no CertificateVerify", UNEXPECTED,
     lambda m, r: [] if r[0] in (CT, CV) else [r]),
    ("EncryptedExtensions twice", UNEXPECTED, on(EE, lambda r: [r, r])),
    ("Certificate twice", UNEXPECTED, on(CT, lambda r: [r, r])),
    ("CertificateVerify twice", UNEXPECTED, on(CV, lambda r: [r, r])),
    ("CertificateRequest after Certificate", UNEXPECTED,
     on(CT, lambda r: [r, messages.push_certificate_request(b"", [(13, b"\0\2\4\3")])])),
    ("CertificateRequest in a resumption", UNEXPECTED,
     on(EE, lambda r: [r, messages.push_certificate_request(b"", [(13, b"\0\2\4\3")])]),
     {"resume": True}),
    ("ServerHello twice", UNEXPECTED, on(SH, lambda r: [r, r])),
    ("EncryptedExtensions in the clear", UNEXPECTED,
     on(SH, lambda r: messages.push_encrypted_extensions([]))),
    ("a ticket within the handshake", UNEXPECTED,
     on(EE, lambda r: [r, messages.push_new_session_ticket(9, 9, b"n", b"t", [])])),
    ("KeyUpdate within the handshake", UNEXPECTED, on(EE, lambda r: [messages.push_key_update(0)])),
    ("a ClientHello from a server", UNEXPECTED, on(SH, lambda r: b"\1" + r[1:])),
    ("HelloRequest", UNEXPECTED, on(SH, lambda r: b"\0\0\0\0")),
    ("ServerKeyExchange", UNEXPECTED, on(EE, lambda r: b"\x0c\0\0\0")),
    ("EndOfEarlyData from a server", UNEXPECTED, on(EE, lambda r: b"\5\0\0\0")),
    ("a message of 16 MB", UNEXPECTED, on(EE, lambda r: b"\x0b\xff\xff\xff")),
    ("a ServerHello of 16 MB", ILLEGAL, on(SH, lambda r: b"\2\xff\xff\xff")),
    # Certificate and CertificateVerify
    ("no certificate in it", DECODE, on(CT, lambda r: b"\x0b\0\0\4\0\0\0\0")),
    ("an empty certificate", DECODE, on(CT, lambda r: b"\x0b\0\0\x09\0\0\0\5\0\0\0\0\0")),
    ("a Certificate with a context", ILLEGAL,
     on(CT, lambda r: resize(r[:4] + b"\1x" + r[5:]))),
    ("garbage for a certificate", alert.BAD_CERTIFICATE,
     on(CT, lambda r: messages.push_certificate(b"", [b"\x30\3\2\1\5"]))),
    ("17 certificates", alert.BAD_CERTIFICATE,
     on(CT, lambda r: messages.push_certificate(b"", identity().chain[:1] * 17))),
    ("the chain without its intermediate", alert.UNKNOWN_CA,
     on(CT, lambda r: messages.push_certificate(b"", identity().chain[:1]))),
    ("an extension unasked at a certificate", UNSOLICITED, on(CT, entry_extension)),
    ("the lists' length too short", DECODE, on(CT, lambda r: patch(5, b"\0\0\5")(r))),
    ("the certificate of another key", ILLEGAL, on(CT, other_chain)),
    ("an altered signature", DECRYPT, on(CV, flip_last)),
    ("an empty signature", DECRYPT, on(CV, lambda r: b"\x0f\0\0\4\4\3\0\0")),
    ("a signature of zeros", DECRYPT,
     on(CV, lambda r: b"\x0f\0\0\x0c\4\3\0\x08\x30\6\2\1\0\2\1\0")),
    ("signed for the other role", DECRYPT, _sign_as_client),
    ("PKCS #1 v1.5", ILLEGAL, on(CV, scheme(0x0401))),
    ("ECDSA with SHA-1", ILLEGAL, on(CV, scheme(0x0203))),
    ("a scheme that does not go with the key", ILLEGAL, on(CV, scheme(0x0807))),
    ("P-384's scheme with a P-256 key", ILLEGAL, on(CV, scheme(0x0503))),
    ("a scheme that was not offered", ILLEGAL, on(CV, scheme(0x0806)),
     {"client": {"schemes": (0x0804,)}, "server": {"kind": "rsa2048"}}),
    # Here the transcript is right: nothing but the signature tells.
    ("signed by another key", DECRYPT, None, {"server": {"identities": [impostor()]}}),
    ("CertificateVerify with bytes after", DECODE, on(CV, lambda r: resize(r + b"\0"))),
    # CertificateRequest
    ("a request without schemes", MISSING, on(CR, drop_ext(13)),
     {"server": {"client_auth": CLIENT_CERTIFICATE_REQUIRED}}),
    ("a request with a context", ILLEGAL, on(CR, lambda r: resize(r[:4] + b"\1x" + r[5:])),
     {"server": {"client_auth": CLIENT_CERTIFICATE_REQUIRED}}),
    ("a request with no scheme in the list", DECODE, on(CR, set_ext(13, b"\0\0")),
     {"server": {"client_auth": CLIENT_CERTIFICATE_REQUIRED}}),
    # Finished and the transcript
    ("a wrong Finished", DECRYPT, on(FIN, flip_last)),
    ("a short Finished", DECODE, on(FIN, lambda r: resize(r[:-1]))),
    ("an empty Finished", DECODE, on(FIN, lambda r: b"\x14\0\0\0")),
    ("a wrong Finished in a resumption", DECRYPT, on(FIN, flip_last), {"resume": True}),
    ("an altered EncryptedExtensions", DECRYPT, on(EE, drop_ext(0))),
    ("an altered EncryptedExtensions in a resumption", DECRYPT, on(EE, drop_ext(0)),
     {"resume": True}),
    ("an altered random", MAC, _hello(patch(6, b"\1\2\3\4"))),
)  # fmt: skip


def test_servers_hello_and_key_exchange():
    run(SERVER_CASES[:44], _server_case)


def test_servers_messages():
    run(SERVER_CASES[44:], _server_case)


def test_count():
    assert len(SERVER_CASES) >= 100
