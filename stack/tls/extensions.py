"""Extensions: their numbers, where each may stand, and their bodies. RFC 8446, section 4.2.

`pull_extensions` reads a block and checks what holds for every extension;
`x_body` makes a body. Also the vectors of section 3.4, which both need.
RFC 6066 (server_name, status_request), RFC 7301 (ALPN), RFC 8449
(record_size_limit), RFC 8701 (GREASE).
"""

from micropython import const

from stack.core.cursor import Writer
from stack.tls import alert
from stack.tls.alert import TlsError

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

# A ClientHello with more of anything than this is not a client's.
_MAX_EXTENSIONS = const(64)


def is_grease(v):
    """RFC 8701: 0x0A0A, 0x1A1A ... 0xFAFA."""
    return v & 0x0F0F == 0x0A0A and v >> 8 == v & 0xFF


def grease(n):
    """The GREASE value number n mod 16."""
    b = (n & 15) << 4 | 0x0A
    return b << 8 | b


def end(r, what):
    """Nothing may follow."""
    if r.pos != r.end:
        raise TlsError(alert.DECODE_ERROR, "%d bytes too many in %s" % (r.left(), what))


def illegal(reason):
    return TlsError(alert.ILLEGAL_PARAMETER, reason)


def decode(reason):
    return TlsError(alert.DECODE_ERROR, reason)


def pull_vec8(r, least=0):
    n = r.pull_u8()
    if n < least:
        raise decode("a vector of %d bytes, at least %d wanted" % (n, least))
    return r.pull_bytes(n)


def pull_vec16(r, least=0):
    n = r.pull_u16()
    if n < least:
        raise decode("a vector of %d bytes, at least %d wanted" % (n, least))
    return r.pull_bytes(n)


def pull_u16s(r, n, what):
    if n == 0 or n & 1:
        raise decode("%s of %d bytes" % (what, n))
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


def push_u16s(w, values):
    w.push_u16(2 * len(values))
    for v in values:
        w.push_u16(v)


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
            raise illegal("extension %d comes twice" % kind)
        if len(found) >= _MAX_EXTENSIONS:
            raise decode("more than %d extensions" % _MAX_EXTENSIONS)
        # "If an implementation receives an extension which it recognizes and which is not
        # specified for the message in which it appears, it MUST abort with illegal_parameter."
        if kind in _WHERE and not _WHERE[kind] & where:
            raise illegal("extension %d does not belong into this message" % kind)
        if offered is not None and kind not in offered:
            raise TlsError(alert.UNSUPPORTED_EXTENSION, "extension %d was not asked for" % kind)
        found[kind] = body
    return found


def push_extension(w, kind, body):
    w.push_u16(kind)
    push_vec16(w, body)


def host_text(value):
    """A host name of the wire as a lower-case string; illegal_parameter if it is none."""
    if len(value) > 255:
        raise illegal("a server_name of %d bytes" % len(value))
    for b in value:
        if not (48 <= b <= 57 or 65 <= b <= 90 or 97 <= b <= 122 or b in b"-._"):
            raise illegal("server_name is not a host name")
    return bytes(value).decode().lower()


def push_extensions(w, extensions):
    at = len(w.out)
    w.push_u16(0)
    for kind, body in extensions:
        push_extension(w, kind, body)
    w.patch_u16(at, len(w.out) - at - 2)


def server_name_body(host):
    name = host.encode()
    w = Writer()
    w.push_u16(len(name) + 3)
    w.push_u8(0)
    push_vec16(w, name)
    return w.out


def u16s_body(values):
    w = Writer()
    push_u16s(w, values)
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
        raise decode("an empty list of protocols")
    return out


def pull_record_size_limit(r):
    limit = r.pull_u16()
    # RFC 8449, 4: "MUST treat receipt of a smaller value as ... illegal_parameter."
    if limit < 64:
        raise illegal("record_size_limit of %d" % limit)
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
        raise decode("an empty list of authorities")
    return out


def authorities_body(names):
    w = Writer()
    w.push_u16(0)
    for n in names:
        push_vec16(w, n)
    w.patch_u16(0, len(w.out) - 2)
    return w.out


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
