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

EXT_SERVER_NAME = const(0)
EXT_STATUS_REQUEST = const(5)
EXT_SUPPORTED_GROUPS = const(10)
EXT_SIGNATURE_ALGORITHMS = const(13)
EXT_ALPN = const(16)
EXT_SCT = const(18)
EXT_PADDING = const(21)
EXT_RECORD_SIZE_LIMIT = const(28)
EXT_PRE_SHARED_KEY = const(41)
EXT_EARLY_DATA = const(42)
EXT_SUPPORTED_VERSIONS = const(43)
EXT_COOKIE = const(44)
EXT_PSK_KEY_EXCHANGE_MODES = const(45)
EXT_CERTIFICATE_AUTHORITIES = const(47)
EXT_OID_FILTERS = const(48)
EXT_POST_HANDSHAKE_AUTH = const(49)
EXT_SIGNATURE_ALGORITHMS_CERT = const(50)
EXT_KEY_SHARE = const(51)

# Where an extension may stand, the table of section 4.2.
IN_CH = const(1)
IN_SH = const(2)
IN_EE = const(4)
IN_CT = const(8)
IN_CR = const(16)
IN_NST = const(32)
IN_HRR = const(64)

_WHERE = {
    0: IN_CH | IN_EE,  # server_name
    1: IN_CH | IN_EE,  # max_fragment_length
    5: IN_CH | IN_CR | IN_CT,  # status_request
    10: IN_CH | IN_EE,  # supported_groups
    13: IN_CH | IN_CR,  # signature_algorithms
    14: IN_CH | IN_EE,  # use_srtp
    15: IN_CH | IN_EE,  # heartbeat
    16: IN_CH | IN_EE,  # application_layer_protocol_negotiation
    18: IN_CH | IN_CR | IN_CT,  # signed_certificate_timestamp
    19: IN_CH | IN_EE,  # client_certificate_type
    20: IN_CH | IN_EE,  # server_certificate_type
    21: IN_CH,  # padding
    28: IN_CH | IN_EE,  # record_size_limit
    41: IN_CH | IN_SH,  # pre_shared_key
    42: IN_CH | IN_EE | IN_NST,  # early_data
    43: IN_CH | IN_SH | IN_HRR,  # supported_versions
    44: IN_CH | IN_HRR,  # cookie
    45: IN_CH,  # psk_key_exchange_modes
    47: IN_CH | IN_CR,  # certificate_authorities
    48: IN_CR,  # oid_filters
    49: IN_CH,  # post_handshake_auth
    50: IN_CH | IN_CR,  # signature_algorithms_cert
    51: IN_CH | IN_SH | IN_HRR,  # key_share
}

TLS12 = const(0x0303)
TLS13 = const(0x0304)

# SHA-256 of "HelloRetryRequest": the random that marks one. Section 4.1.3.
RETRY_RANDOM = bytes.fromhex("cf21ad74e59a6111be1d8c021e65b891c2a211167abb8c5e079e09e2c8a8339c")
DOWNGRADE_TLS12 = b"DOWNGRD\x01"
DOWNGRADE_TLS11 = b"DOWNGRD\x00"

# A ClientHello with more of anything than this is not a client's.
_MAX_EXTENSIONS = const(64)
_MAX_PSKS = const(16)


def is_grease(v):
    """RFC 8701: 0x0A0A, 0x1A1A ... 0xFAFA."""
    return v & 0x0F0F == 0x0A0A and v >> 8 == v & 0xFF


def grease(n):
    """The GREASE value number n mod 16."""
    b = (n & 15) << 4 | 0x0A
    return b << 8 | b


def reader(raw):
    """A Reader of a whole message's body."""
    return Reader(raw, 4, None, alert.DECODE_ERROR)


def end(r, what):
    """Nothing may follow."""
    if r.pos != r.end:
        raise TlsError(alert.DECODE_ERROR, "%d bytes too many in %s" % (r.left(), what))


def _illegal(reason):
    return TlsError(alert.ILLEGAL_PARAMETER, reason)


def _decode(reason):
    return TlsError(alert.DECODE_ERROR, reason)


# Pieces


def pull_vec8(r, least=0):
    n = r.pull_u8()
    if n < least:
        raise _decode("a vector of %d bytes, at least %d wanted" % (n, least))
    return r.pull_bytes(n)


def pull_vec16(r, least=0):
    n = r.pull_u16()
    if n < least:
        raise _decode("a vector of %d bytes, at least %d wanted" % (n, least))
    return r.pull_bytes(n)


def _pull_u16s(r, n, what):
    if n == 0 or n & 1:
        raise _decode("%s of %d bytes" % (what, n))
    return [r.pull_u16() for _ in range(n >> 1)]


def push_vec8(w, data):
    w.push_u8(len(data))
    w.push_bytes(data)


def push_vec16(w, data):
    w.push_u16(len(data))
    w.push_bytes(data)


def push_vec24(w, data):
    w.push_u24(len(data))
    w.push_bytes(data)


def _push_u16s(w, values):
    w.push_u16(2 * len(values))
    for v in values:
        w.push_u16(v)


def message(kind, body):
    """The whole message, bytes."""
    n = len(body)
    return bytes((kind, n >> 16, n >> 8 & 0xFF, n & 0xFF)) + bytes(body)


def pull_extensions(r, where, offered=None):
    """dict: type -> Reader of its body. Section 4.2.

    offered: the types of our own message that this one answers, or None if
    it answers none and what is unknown in it is ignored.
    """
    block = r.sub(r.pull_u16())
    found = {}
    while block.left():
        kind = block.pull_u16()
        body = block.sub(block.pull_u16())
        # "There MUST NOT be more than one extension of the same type".
        if kind in found:
            raise _illegal("extension %d comes twice" % kind)
        if len(found) >= _MAX_EXTENSIONS:
            raise _decode("more than %d extensions" % _MAX_EXTENSIONS)
        # "If an implementation receives an extension which it recognizes and which is not
        # specified for the message in which it appears, it MUST abort with illegal_parameter."
        if kind in _WHERE and not _WHERE[kind] & where:
            raise _illegal("extension %d does not belong into this message" % kind)
        if offered is not None and kind not in offered:
            raise TlsError(alert.UNSUPPORTED_EXTENSION, "extension %d was not asked for" % kind)
        found[kind] = body
    return found


def push_extension(w, kind, body):
    w.push_u16(kind)
    push_vec16(w, body)


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
    h.session_id = pull_vec8(r)
    if len(h.session_id) > 32:
        raise _decode("a session id of %d bytes" % len(h.session_id))
    h.suites = _pull_u16s(r, r.pull_u16(), "cipher suites")
    h.compressions = pull_vec8(r, 1)
    if r.left() == 0:
        return h  # a client from before extensions; its version is refused
    found = pull_extensions(r, IN_CH)
    end(r, "ClientHello")
    h.extensions = tuple(found.keys())
    for kind in found:
        pull = _CH_PULL.get(kind)
        if pull:
            body = found[kind]
            pull(h, body)
            end(body, "extension %d" % kind)
    if h.psks is not None:
        # "The pre_shared_key extension MUST be the last extension in the ClientHello."
        if found[EXT_PRE_SHARED_KEY].end != len(raw):
            raise _illegal("pre_shared_key is not the last extension")
    return h


def _ch_server_name(h, r):
    names = r.sub(r.pull_u16())
    if not names.left():
        raise _decode("an empty server_name list")
    while names.left():
        kind = names.pull_u8()
        value = pull_vec16(names, 1)
        if kind == 0:
            # "The ServerNameList MUST NOT contain more than one name of the same name_type."
            if h.server_name is not None:
                raise _illegal("two host names")
            h.server_name = host_text(value)


def host_text(value):
    """A host name of the wire as a lower-case string; illegal_parameter if it is none."""
    if len(value) > 255:
        raise _illegal("a server_name of %d bytes" % len(value))
    for b in value:
        if not (48 <= b <= 57 or 65 <= b <= 90 or 97 <= b <= 122 or b in b"-._"):
            raise _illegal("server_name is not a host name")
    return bytes(value).decode().lower()


def _ch_status_request(h, r):
    h.status_request = r.pull_u8() == 1
    if h.status_request:
        pull_vec16(r)
        pull_vec16(r)
    else:
        r.skip(r.left())


def _ch_groups(h, r):
    h.groups = _pull_u16s(r, r.pull_u16(), "supported_groups")


def _ch_schemes(h, r):
    h.schemes = _pull_u16s(r, r.pull_u16(), "signature_algorithms")


def _ch_cert_schemes(h, r):
    h.cert_schemes = _pull_u16s(r, r.pull_u16(), "signature_algorithms_cert")


def _ch_alpn(h, r):
    h.alpn = pull_alpn(r)


def _ch_sct(h, r):
    h.sct = True


def _ch_record_size_limit(h, r):
    h.record_size_limit = pull_record_size_limit(r)


def _ch_versions(h, r):
    h.versions = _pull_u16s(r, r.pull_u8(), "supported_versions")


def _ch_cookie(h, r):
    h.cookie = pull_vec16(r, 1)


def _ch_psk_modes(h, r):
    h.psk_modes = pull_vec8(r, 1)


def _ch_key_shares(h, r):
    shares = r.sub(r.pull_u16())
    h.key_shares = []
    while shares.left():
        group = shares.pull_u16()
        h.key_shares.append((group, pull_vec16(shares, 1)))


def _ch_early_data(h, r):
    h.early_data = True


def _ch_authorities(h, r):
    h.authorities = pull_authorities(r)


def _ch_psks(h, r):
    n = r.pull_u16()
    ids = r.sub(n)
    h.psks = []
    while ids.left():
        identity = pull_vec16(ids, 1)
        h.psks.append((identity, ids.pull_u32()))
    h.binders_at = r.pos
    n = r.pull_u16()
    binders = r.sub(n)
    h.binders = []
    while binders.left():
        h.binders.append(pull_vec8(binders, 32))
    if not h.psks:
        raise _decode("no PSK identity")
    if len(h.psks) != len(h.binders):
        raise _illegal("%d PSK identities, %d binders" % (len(h.psks), len(h.binders)))
    if len(h.psks) > _MAX_PSKS:
        raise _illegal("more than %d PSK identities" % _MAX_PSKS)


_CH_PULL = {
    EXT_SERVER_NAME: _ch_server_name,
    EXT_STATUS_REQUEST: _ch_status_request,
    EXT_SUPPORTED_GROUPS: _ch_groups,
    EXT_SIGNATURE_ALGORITHMS: _ch_schemes,
    EXT_SIGNATURE_ALGORITHMS_CERT: _ch_cert_schemes,
    EXT_ALPN: _ch_alpn,
    EXT_SCT: _ch_sct,
    EXT_RECORD_SIZE_LIMIT: _ch_record_size_limit,
    EXT_SUPPORTED_VERSIONS: _ch_versions,
    EXT_COOKIE: _ch_cookie,
    EXT_PSK_KEY_EXCHANGE_MODES: _ch_psk_modes,
    EXT_KEY_SHARE: _ch_key_shares,
    EXT_EARLY_DATA: _ch_early_data,
    EXT_CERTIFICATE_AUTHORITIES: _ch_authorities,
    EXT_PRE_SHARED_KEY: _ch_psks,
}


def push_client_hello(random, session_id, suites, extensions):
    """extensions: a list of (type, body) in order."""
    w = Writer()
    w.push_u16(TLS12)
    w.push_bytes(random)
    push_vec8(w, session_id)
    _push_u16s(w, suites)
    push_vec8(w, b"\x00")
    _push_extensions(w, extensions)
    return message(CLIENT_HELLO, w.out)


def _push_extensions(w, extensions):
    at = len(w.out)
    w.push_u16(0)
    for kind, body in extensions:
        push_extension(w, kind, body)
    w.patch_u16(at, len(w.out) - at - 2)


# Bodies of extensions


def server_name_body(host):
    name = host.encode()
    w = Writer()
    w.push_u16(len(name) + 3)
    w.push_u8(0)
    push_vec16(w, name)
    return w.out


def u16s_body(values):
    w = Writer()
    _push_u16s(w, values)
    return w.out


def u16_body(v):
    return bytes((v >> 8, v & 0xFF))


def versions_body(versions):
    w = Writer()
    w.push_u8(2 * len(versions))
    for v in versions:
        w.push_u16(v)
    return w.out


def alpn_body(protocols):
    w = Writer()
    w.push_u16(0)
    for p in protocols:
        push_vec8(w, p)
    w.patch_u16(0, len(w.out) - 2)
    return w.out


def pull_alpn(r):
    names = r.sub(r.pull_u16())
    out = []
    while names.left():
        out.append(pull_vec8(names, 1))
    if not out:
        raise _decode("an empty list of protocols")
    return out


def pull_record_size_limit(r):
    limit = r.pull_u16()
    # RFC 8449, 4: "MUST treat receipt of a smaller value as ... illegal_parameter."
    if limit < 64:
        raise _illegal("record_size_limit of %d" % limit)
    return limit


def key_shares_body(shares):
    w = Writer()
    w.push_u16(0)
    for group, share in shares:
        w.push_u16(group)
        push_vec16(w, share)
    w.patch_u16(0, len(w.out) - 2)
    return w.out


def key_share_body(group, share):
    w = Writer()
    w.push_u16(group)
    push_vec16(w, share)
    return w.out


def psk_body(identities, binder_lens):
    """identities: list of (identity, obfuscated age); the binders are zeros, to be written over."""
    w = Writer()
    w.push_u16(0)
    for identity, age in identities:
        push_vec16(w, identity)
        w.push_u32(age)
    w.patch_u16(0, len(w.out) - 2)
    w.push_u16(sum([1 + n for n in binder_lens]))
    for n in binder_lens:
        push_vec8(w, bytes(n))
    return w.out


def cookie_body(cookie):
    w = Writer()
    push_vec16(w, cookie)
    return w.out


def pull_authorities(r):
    names = r.sub(r.pull_u16())
    out = []
    while names.left():
        out.append(pull_vec16(names, 1))
    if not out:
        raise _decode("an empty list of authorities")
    return out


def authorities_body(names):
    w = Writer()
    w.push_u16(0)
    for n in names:
        push_vec16(w, n)
    w.patch_u16(0, len(w.out) - 2)
    return w.out


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
    h.session_id = pull_vec8(r)
    if len(h.session_id) > 32:
        raise _decode("a session id of %d bytes" % len(h.session_id))
    h.suite = r.pull_u16()
    h.compression = r.pull_u8()
    h.retry = h.random == RETRY_RANDOM
    h.extensions = {}
    if r.left():
        version_at = r.pos
        found = pull_extensions(r, 127)
        end(r, "ServerHello")
        if EXT_SUPPORTED_VERSIONS in found:
            # Only now is it TLS 1.3's, and only its extensions may stand in it.
            r.pos = version_at
            if h.retry:
                offered = tuple(offered) + (EXT_COOKIE,)
            found = pull_extensions(r, IN_HRR if h.retry else IN_SH, offered)
        h.extensions = found
    return h


def push_server_hello(random, session_id, suite, extensions):
    w = Writer()
    w.push_u16(TLS12)
    w.push_bytes(random)
    push_vec8(w, session_id)
    w.push_u16(suite)
    w.push_u8(0)
    _push_extensions(w, extensions)
    return message(SERVER_HELLO, w.out)


def pull_key_share(r):
    """(group, share) of a ServerHello."""
    group = r.pull_u16()
    share = pull_vec16(r, 1)
    end(r, "key_share")
    return group, share


def pull_u16_only(r, what):
    v = r.pull_u16()
    end(r, what)
    return v


# EncryptedExtensions, CertificateRequest


def pull_encrypted_extensions(raw, offered):
    r = reader(raw)
    found = pull_extensions(r, IN_EE, offered)
    end(r, "EncryptedExtensions")
    return found


def push_encrypted_extensions(extensions):
    w = Writer()
    _push_extensions(w, extensions)
    return message(ENCRYPTED_EXTENSIONS, w.out)


class CertificateRequest:
    __slots__ = ("context", "schemes", "authorities", "status_request")


def pull_certificate_request(raw):
    """Section 4.3.2."""
    r = reader(raw)
    q = CertificateRequest()
    q.context = pull_vec8(r)
    found = pull_extensions(r, IN_CR)
    end(r, "CertificateRequest")
    q.authorities = None
    q.status_request = EXT_STATUS_REQUEST in found
    if EXT_SIGNATURE_ALGORITHMS not in found:
        # "The signature_algorithms extension MUST be specified".
        raise TlsError(
            alert.MISSING_EXTENSION, "a CertificateRequest without signature_algorithms"
        )
    body = found[EXT_SIGNATURE_ALGORITHMS]
    q.schemes = _pull_u16s(body, body.pull_u16(), "signature_algorithms")
    end(body, "signature_algorithms")
    if EXT_CERTIFICATE_AUTHORITIES in found:
        body = found[EXT_CERTIFICATE_AUTHORITIES]
        q.authorities = pull_authorities(body)
        end(body, "certificate_authorities")
    return q


def push_certificate_request(context, extensions):
    w = Writer()
    push_vec8(w, context)
    _push_extensions(w, extensions)
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
    m.context = pull_vec8(r)
    m.chain = []
    m.ocsp = m.sct = None
    entries = r.sub(r.pull_u24())
    end(r, "Certificate")
    while entries.left():
        n = entries.pull_u24()
        if n == 0:
            raise _decode("an empty certificate")
        if len(m.chain) >= MAX_CERTIFICATES:
            raise TlsError(alert.BAD_CERTIFICATE, "more than %d certificates" % MAX_CERTIFICATES)
        der = entries.pull_bytes(n)
        found = pull_extensions(entries, IN_CT, offered)
        if not m.chain:
            if EXT_STATUS_REQUEST in found:
                m.ocsp = _pull_ocsp(found[EXT_STATUS_REQUEST])
            if EXT_SCT in found:
                m.sct = pull_vec16(found[EXT_SCT], 1)
                end(found[EXT_SCT], "signed_certificate_timestamp")
        m.chain.append(der)
    return m


def _pull_ocsp(r):
    if r.pull_u8() != 1:
        raise _decode("a certificate status that is not OCSP")
    n = r.pull_u24()
    if n == 0:
        raise _decode("an empty OCSP response")
    out = r.pull_bytes(n)
    end(r, "status_request")
    return out


def push_certificate(context, chain, ocsp=None):
    w = Writer()
    push_vec8(w, context)
    total = 0
    status = b""
    if ocsp and chain:
        s = Writer()
        s.push_u8(1)
        push_vec24(s, ocsp)
        e = Writer()
        push_extension(e, EXT_STATUS_REQUEST, s.out)
        status = bytes(e.out)
    for der in chain:
        total += 5 + len(der)
    w.push_u24(total + len(status))
    for der in chain:
        push_vec24(w, der)
        push_vec16(w, status)
        status = b""
    return message(CERTIFICATE, w.out)


def pull_certificate_verify(raw):
    """(scheme, signature). Section 4.4.3."""
    r = reader(raw)
    scheme = r.pull_u16()
    signature = pull_vec16(r)
    end(r, "CertificateVerify")
    return scheme, signature


def push_certificate_verify(scheme, signature):
    w = Writer()
    w.push_u16(scheme)
    push_vec16(w, signature)
    return message(CERTIFICATE_VERIFY, w.out)


# Finished, EndOfEarlyData, KeyUpdate, NewSessionTicket


def pull_finished(raw, size):
    r = reader(raw)
    if r.left() != size:
        raise _decode("Finished of %d bytes" % r.left())
    return r.pull_bytes(size)


def push_finished(verify_data):
    return message(FINISHED, verify_data)


def pull_end_of_early_data(raw):
    end(reader(raw), "EndOfEarlyData")


def push_end_of_early_data():
    return message(END_OF_EARLY_DATA, b"")


def pull_key_update(raw):
    """True if the peer wants ours too. Section 4.6.3."""
    r = reader(raw)
    v = r.pull_u8()
    end(r, "KeyUpdate")
    # "If an implementation receives any other value, it MUST terminate with illegal_parameter".
    if v > 1:
        raise _illegal("KeyUpdate says %d" % v)
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
    t.nonce = pull_vec8(r)
    t.ticket = pull_vec16(r, 1)
    found = pull_extensions(r, IN_NST)
    end(r, "NewSessionTicket")
    t.max_early_data = 0
    if EXT_EARLY_DATA in found:
        t.max_early_data = found[EXT_EARLY_DATA].pull_u32()
        end(found[EXT_EARLY_DATA], "early_data")
    return t


def push_new_session_ticket(lifetime_s, age_add, nonce, ticket, extensions):
    w = Writer()
    w.push_u32(lifetime_s)
    w.push_u32(age_add)
    push_vec8(w, nonce)
    push_vec16(w, ticket)
    _push_extensions(w, extensions)
    return message(NEW_SESSION_TICKET, w.out)
