"""Handshake messages on the wire: `pull_x` reads a body, `push_x` makes a whole message.

RFC 8446, sections 4 and B.3; RFC 6066 (server_name, status_request), RFC 7301
(ALPN), RFC 6962 (SCT), RFC 8449 (record_size_limit), RFC 8701 (GREASE).

    struct { HandshakeType msg_type; uint24 length; body } Handshake;

Reading too far raises decode_error. Nothing here decides: a list comes back as
it was sent, and client.py and server.py judge it.

Not implemented: raw public keys, certificate compression, oid_filters,
post-handshake authentication: never offered, so never answered.
"""

from micropython import const

from stack.core.cursor import Reader, Writer
from stack.tls import alert
from stack.tls import extensions as ext
from stack.tls.alert import TlsError

CLIENT_HELLO = const(1)
SERVER_HELLO = const(2)
NEW_SESSION_TICKET = const(4)
END_OF_EARLY_DATA = const(5)
ENCRYPTED_EXTENSIONS = const(8)
CERTIFICATE = const(11)
CERTIFICATE_REQUEST = const(13)
CERTIFICATE_VERIFY = const(15)
FINISHED = const(20)
KEY_UPDATE = const(24)

NAMES = {
    0: "HelloRequest",
    1: "ClientHello",
    2: "ServerHello",
    4: "NewSessionTicket",
    5: "EndOfEarlyData",
    8: "EncryptedExtensions",
    11: "Certificate",
    12: "ServerKeyExchange",
    13: "CertificateRequest",
    14: "ServerHelloDone",
    15: "CertificateVerify",
    16: "ClientKeyExchange",
    20: "Finished",
    22: "CertificateStatus",
    24: "KeyUpdate",
    25: "CompressedCertificate",
    254: "message_hash",
}

# SHA-256 of "HelloRetryRequest": the random that marks one. Section 4.1.3.
RETRY_RANDOM = bytes.fromhex("cf21ad74e59a6111be1d8c021e65b891c2a211167abb8c5e079e09e2c8a8339c")
DOWNGRADE_TLS12 = b"DOWNGRD\x01"
DOWNGRADE_TLS11 = b"DOWNGRD\x00"

_MAX_PSKS = const(16)


def reader(raw):
    """A Reader of a whole message's body."""
    return Reader(raw, 4, None, alert.DECODE_ERROR)


def message(kind, body):
    """The whole message, bytes."""
    n = len(body)
    return bytes((kind, n >> 16, n >> 8 & 0xFF, n & 0xFF)) + bytes(body)


# ClientHello


class ClientHello:
    """What a ClientHello says; a list is None when its extension is absent."""

    __slots__ = (
        "version", "random", "session_id", "suites", "compressions", "extensions",
        "server_name", "groups", "schemes", "cert_schemes", "alpn", "status_request", "sct",
        "record_size_limit", "versions", "cookie", "psk_modes", "key_shares", "early_data",
        "psks", "binders", "binders_at", "authorities",
    )  # fmt: skip

    def __init__(self):
        for name in (
            "server_name", "groups", "schemes", "cert_schemes", "alpn", "record_size_limit",
            "versions", "cookie", "psk_modes", "key_shares", "psks", "binders", "authorities",
        ):  # fmt: skip
            setattr(self, name, None)
        self.status_request = self.sct = self.early_data = False
        self.binders_at = 0
        self.extensions = ()


def pull_client_hello(raw):
    """A ClientHello from a whole message. Section 4.1.2."""
    r = reader(raw)
    h = ClientHello()
    h.version = r.pull_u16()
    h.random = r.pull_bytes(32)
    h.session_id = ext.pull_vec8(r)
    if len(h.session_id) > 32:
        raise ext.decode("a session id of %d bytes" % len(h.session_id))
    h.suites = ext.pull_u16s(r, r.pull_u16(), "cipher suites")
    h.compressions = ext.pull_vec8(r, 1)
    if r.left() == 0:
        return h  # a client from before extensions; its version is refused
    found = ext.pull_extensions(r, ext.IN_CH)
    ext.end(r, "ClientHello")
    h.extensions = tuple(found.keys())
    for kind in found:
        pull = _CH_PULL.get(kind)
        if pull:
            body = found[kind]
            pull(h, body)
            ext.end(body, "extension %d" % kind)
    if h.psks is not None:
        # "The pre_shared_key extension MUST be the last extension in the ClientHello."
        if found[ext.EXT_PRE_SHARED_KEY].end != len(raw):
            raise ext.illegal("pre_shared_key is not the last extension")
    return h


def _ch_server_name(h, r):
    names = r.sub(r.pull_u16())
    if not names.left():
        raise ext.decode("an empty server_name list")
    while names.left():
        kind = names.pull_u8()
        value = ext.pull_vec16(names, 1)
        if kind == 0:
            # "The ServerNameList MUST NOT contain more than one name of the same name_type."
            if h.server_name is not None:
                raise ext.illegal("two host names")
            h.server_name = ext.host_text(value)


def _ch_status_request(h, r):
    h.status_request = r.pull_u8() == 1
    if h.status_request:
        ext.pull_vec16(r)
        ext.pull_vec16(r)
    else:
        r.skip(r.left())


def _ch_groups(h, r):
    h.groups = ext.pull_u16s(r, r.pull_u16(), "supported_groups")


def _ch_schemes(h, r):
    h.schemes = ext.pull_u16s(r, r.pull_u16(), "signature_algorithms")


def _ch_cert_schemes(h, r):
    h.cert_schemes = ext.pull_u16s(r, r.pull_u16(), "signature_algorithms_cert")


def _ch_alpn(h, r):
    h.alpn = ext.pull_alpn(r)


def _ch_sct(h, r):
    h.sct = True


def _ch_record_size_limit(h, r):
    h.record_size_limit = ext.pull_record_size_limit(r)


def _ch_versions(h, r):
    h.versions = ext.pull_u16s(r, r.pull_u8(), "supported_versions")


def _ch_cookie(h, r):
    h.cookie = ext.pull_vec16(r, 1)


def _ch_psk_modes(h, r):
    h.psk_modes = ext.pull_vec8(r, 1)


def _ch_key_shares(h, r):
    shares = r.sub(r.pull_u16())
    h.key_shares = []
    while shares.left():
        group = shares.pull_u16()
        h.key_shares.append((group, ext.pull_vec16(shares, 1)))


def _ch_early_data(h, r):
    h.early_data = True


def _ch_authorities(h, r):
    h.authorities = ext.pull_authorities(r)


def _ch_psks(h, r):
    n = r.pull_u16()
    ids = r.sub(n)
    h.psks = []
    while ids.left():
        identity = ext.pull_vec16(ids, 1)
        h.psks.append((identity, ids.pull_u32()))
    h.binders_at = r.pos
    n = r.pull_u16()
    binders = r.sub(n)
    h.binders = []
    while binders.left():
        h.binders.append(ext.pull_vec8(binders, 32))
    if not h.psks:
        raise ext.decode("no PSK identity")
    if len(h.psks) != len(h.binders):
        raise ext.illegal("%d PSK identities, %d binders" % (len(h.psks), len(h.binders)))
    if len(h.psks) > _MAX_PSKS:
        raise ext.illegal("more than %d PSK identities" % _MAX_PSKS)


_CH_PULL = {
    ext.EXT_SERVER_NAME: _ch_server_name,
    ext.EXT_STATUS_REQUEST: _ch_status_request,
    ext.EXT_SUPPORTED_GROUPS: _ch_groups,
    ext.EXT_SIGNATURE_ALGORITHMS: _ch_schemes,
    ext.EXT_SIGNATURE_ALGORITHMS_CERT: _ch_cert_schemes,
    ext.EXT_ALPN: _ch_alpn,
    ext.EXT_SCT: _ch_sct,
    ext.EXT_RECORD_SIZE_LIMIT: _ch_record_size_limit,
    ext.EXT_SUPPORTED_VERSIONS: _ch_versions,
    ext.EXT_COOKIE: _ch_cookie,
    ext.EXT_PSK_KEY_EXCHANGE_MODES: _ch_psk_modes,
    ext.EXT_KEY_SHARE: _ch_key_shares,
    ext.EXT_EARLY_DATA: _ch_early_data,
    ext.EXT_CERTIFICATE_AUTHORITIES: _ch_authorities,
    ext.EXT_PRE_SHARED_KEY: _ch_psks,
}


def push_client_hello(random, session_id, suites, extensions):
    """extensions: a list of (type, body) in order."""
    w = Writer()
    w.push_u16(ext.TLS12)
    w.push_bytes(random)
    ext.push_vec8(w, session_id)
    ext.push_u16s(w, suites)
    ext.push_vec8(w, b"\x00")
    ext.push_extensions(w, extensions)
    return message(CLIENT_HELLO, w.out)


# ServerHello and HelloRetryRequest


class ServerHello:
    __slots__ = ("version", "random", "session_id", "suite", "compression", "extensions", "retry")


def pull_server_hello(raw, offered):
    """A ServerHello or HelloRetryRequest (`retry`). Section 4.1.3, 4.1.4.

    offered: the extension types of our ClientHello.
    """
    r = reader(raw)
    h = ServerHello()
    h.version = r.pull_u16()
    h.random = r.pull_bytes(32)
    h.session_id = ext.pull_vec8(r)
    if len(h.session_id) > 32:
        raise ext.decode("a session id of %d bytes" % len(h.session_id))
    h.suite = r.pull_u16()
    h.compression = r.pull_u8()
    h.retry = h.random == RETRY_RANDOM
    h.extensions = {}
    if r.left():
        version_at = r.pos
        found = ext.pull_extensions(r, 127)
        ext.end(r, "ServerHello")
        if ext.EXT_SUPPORTED_VERSIONS in found:
            # Only now is it TLS 1.3's, and only its extensions may stand in it.
            r.pos = version_at
            if h.retry:
                offered = tuple(offered) + (ext.EXT_COOKIE,)
            found = ext.pull_extensions(r, ext.IN_HRR if h.retry else ext.IN_SH, offered)
        h.extensions = found
    return h


def push_server_hello(random, session_id, suite, extensions):
    w = Writer()
    w.push_u16(ext.TLS12)
    w.push_bytes(random)
    ext.push_vec8(w, session_id)
    w.push_u16(suite)
    w.push_u8(0)
    ext.push_extensions(w, extensions)
    return message(SERVER_HELLO, w.out)


# EncryptedExtensions, CertificateRequest


def pull_encrypted_extensions(raw, offered):
    r = reader(raw)
    found = ext.pull_extensions(r, ext.IN_EE, offered)
    ext.end(r, "EncryptedExtensions")
    return found


def push_encrypted_extensions(extensions):
    w = Writer()
    ext.push_extensions(w, extensions)
    return message(ENCRYPTED_EXTENSIONS, w.out)


class CertificateRequest:
    __slots__ = ("context", "schemes", "authorities", "status_request")


def pull_certificate_request(raw):
    """Section 4.3.2."""
    r = reader(raw)
    q = CertificateRequest()
    q.context = ext.pull_vec8(r)
    found = ext.pull_extensions(r, ext.IN_CR)
    ext.end(r, "CertificateRequest")
    q.authorities = None
    q.status_request = ext.EXT_STATUS_REQUEST in found
    if ext.EXT_SIGNATURE_ALGORITHMS not in found:
        # "The signature_algorithms extension MUST be specified".
        raise TlsError(
            alert.MISSING_EXTENSION, "a CertificateRequest without signature_algorithms"
        )
    body = found[ext.EXT_SIGNATURE_ALGORITHMS]
    q.schemes = ext.pull_u16s(body, body.pull_u16(), "signature_algorithms")
    ext.end(body, "signature_algorithms")
    if ext.EXT_CERTIFICATE_AUTHORITIES in found:
        body = found[ext.EXT_CERTIFICATE_AUTHORITIES]
        q.authorities = ext.pull_authorities(body)
        ext.end(body, "certificate_authorities")
    return q


def push_certificate_request(context, extensions):
    w = Writer()
    ext.push_vec8(w, context)
    ext.push_extensions(w, extensions)
    return message(CERTIFICATE_REQUEST, w.out)


# Certificate, CertificateVerify


class CertificateMessage:
    """context, chain (list of DER), ocsp and sct of the first certificate or None."""

    __slots__ = ("context", "chain", "ocsp", "sct")


# Chains of the web have up to 5; the path builder looks at no more than this anyway.
MAX_CERTIFICATES = const(16)


def pull_certificate(raw, offered):
    """Section 4.4.2. offered: extension types that we asked for."""
    r = reader(raw)
    m = CertificateMessage()
    m.context = ext.pull_vec8(r)
    m.chain = []
    m.ocsp = m.sct = None
    entries = r.sub(r.pull_u24())
    ext.end(r, "Certificate")
    while entries.left():
        n = entries.pull_u24()
        if n == 0:
            raise ext.decode("an empty certificate")
        if len(m.chain) >= MAX_CERTIFICATES:
            raise TlsError(alert.BAD_CERTIFICATE, "more than %d certificates" % MAX_CERTIFICATES)
        der = entries.pull_bytes(n)
        found = ext.pull_extensions(entries, ext.IN_CT, offered)
        if not m.chain:
            if ext.EXT_STATUS_REQUEST in found:
                m.ocsp = _pull_ocsp(found[ext.EXT_STATUS_REQUEST])
            if ext.EXT_SCT in found:
                m.sct = ext.pull_vec16(found[ext.EXT_SCT], 1)
                ext.end(found[ext.EXT_SCT], "signed_certificate_timestamp")
        m.chain.append(der)
    return m


def _pull_ocsp(r):
    if r.pull_u8() != 1:
        raise ext.decode("a certificate status that is not OCSP")
    n = r.pull_u24()
    if n == 0:
        raise ext.decode("an empty OCSP response")
    out = r.pull_bytes(n)
    ext.end(r, "status_request")
    return out


def push_certificate(context, chain, ocsp=None):
    w = Writer()
    ext.push_vec8(w, context)
    total = 0
    status = b""
    if ocsp and chain:
        s = Writer()
        s.push_u8(1)
        ext.push_vec24(s, ocsp)
        e = Writer()
        ext.push_extension(e, ext.EXT_STATUS_REQUEST, s.out)
        status = bytes(e.out)
    for der in chain:
        total += 5 + len(der)
    w.push_u24(total + len(status))
    for der in chain:
        ext.push_vec24(w, der)
        ext.push_vec16(w, status)
        status = b""
    return message(CERTIFICATE, w.out)


def pull_certificate_verify(raw):
    """(scheme, signature). Section 4.4.3."""
    r = reader(raw)
    scheme = r.pull_u16()
    signature = ext.pull_vec16(r)
    ext.end(r, "CertificateVerify")
    return scheme, signature


def push_certificate_verify(scheme, signature):
    w = Writer()
    w.push_u16(scheme)
    ext.push_vec16(w, signature)
    return message(CERTIFICATE_VERIFY, w.out)


# Finished, EndOfEarlyData, KeyUpdate, NewSessionTicket


def pull_finished(raw, size):
    r = reader(raw)
    if r.left() != size:
        raise ext.decode("Finished of %d bytes" % r.left())
    return r.pull_bytes(size)


def push_finished(verify_data):
    return message(FINISHED, verify_data)


def pull_end_of_early_data(raw):
    ext.end(reader(raw), "EndOfEarlyData")


def push_end_of_early_data():
    return message(END_OF_EARLY_DATA, b"")


def pull_key_update(raw):
    """True if the peer wants ours too. Section 4.6.3."""
    r = reader(raw)
    v = r.pull_u8()
    ext.end(r, "KeyUpdate")
    # "If an implementation receives any other value, it MUST terminate with illegal_parameter".
    if v > 1:
        raise ext.illegal("KeyUpdate says %d" % v)
    return v == 1


def push_key_update(request):
    return message(KEY_UPDATE, b"\x01" if request else b"\x00")


class NewSessionTicket:
    __slots__ = ("lifetime_s", "age_add", "nonce", "ticket", "max_early_data")


def pull_new_session_ticket(raw):
    """Section 4.6.1."""
    r = reader(raw)
    t = NewSessionTicket()
    t.lifetime_s = r.pull_u32()
    t.age_add = r.pull_u32()
    t.nonce = ext.pull_vec8(r)
    t.ticket = ext.pull_vec16(r, 1)
    found = ext.pull_extensions(r, ext.IN_NST)
    ext.end(r, "NewSessionTicket")
    t.max_early_data = 0
    if ext.EXT_EARLY_DATA in found:
        t.max_early_data = found[ext.EXT_EARLY_DATA].pull_u32()
        ext.end(found[ext.EXT_EARLY_DATA], "early_data")
    return t


def push_new_session_ticket(lifetime_s, age_add, nonce, ticket, extensions):
    w = Writer()
    w.push_u32(lifetime_s)
    w.push_u32(age_add)
    ext.push_vec8(w, nonce)
    ext.push_vec16(w, ticket)
    ext.push_extensions(w, extensions)
    return message(NEW_SESSION_TICKET, w.out)
