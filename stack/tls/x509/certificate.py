"""A certificate, read strictly. RFC 5280, sections 4.1 and 4.2; RFC 6962, RFC 7633.

    Certificate ::= SEQUENCE { TBSCertificate, AlgorithmIdentifier, BIT STRING }

Reading checks the form only; path.py judges. The public key is read when it
is first asked for, so that a root whose key is not needed costs nothing.

Not implemented: CRL distribution points and authority information access are
skipped: nothing is fetched.
"""

from micropython import const

from stack.core.cursor import Reader
from stack.core.errors import ProtocolError
from stack.crypto.sha2 import Sha256
from stack.tls import alert
from stack.tls.alert import CertificateError
from stack.tls.x509 import der, name
from stack.tls.x509.der import Der, malformed
from stack.tls.x509.publickey import pull_spki

SUBJECT_KEY_ID = der.oid("2.5.29.14")
KEY_USAGE = der.oid("2.5.29.15")
SUBJECT_ALT_NAME = der.oid("2.5.29.17")
ISSUER_ALT_NAME = der.oid("2.5.29.18")
BASIC_CONSTRAINTS = der.oid("2.5.29.19")
NAME_CONSTRAINTS = der.oid("2.5.29.30")
CRL_POINTS = der.oid("2.5.29.31")
POLICIES = der.oid("2.5.29.32")
POLICY_MAPPINGS = der.oid("2.5.29.33")
AUTHORITY_KEY_ID = der.oid("2.5.29.35")
POLICY_CONSTRAINTS = der.oid("2.5.29.36")
EXT_KEY_USAGE = der.oid("2.5.29.37")
INHIBIT_ANY_POLICY = der.oid("2.5.29.54")
SCT_LIST = der.oid("1.3.6.1.4.1.11129.2.4.2")
SCT_POISON = der.oid("1.3.6.1.4.1.11129.2.4.3")
TLS_FEATURE = der.oid("1.3.6.1.5.5.7.1.24")

ANY_POLICY = der.oid("2.5.29.32.0")
SERVER_AUTH = der.oid("1.3.6.1.5.5.7.3.1")
CLIENT_AUTH = der.oid("1.3.6.1.5.5.7.3.2")
OCSP_SIGNING = der.oid("1.3.6.1.5.5.7.3.9")
ANY_USAGE = der.oid("2.5.29.37.0")

# Named bits of KeyUsage.
DIGITAL_SIGNATURE = const(1)
KEY_CERT_SIGN = const(1 << 5)

# GeneralName's choices.
MAIL = const(1)
DNS = const(2)
DIRECTORY = const(4)
URI = const(6)
IP = const(7)

# A certificate of the web has 1 to 3 KB, one with a hundred names 6.
MAX_SIZE = const(65536)
# Names in one certificate: Let's Encrypt gives up to 100, some CAs 250.
_MAX_NAMES = const(2000)


class Certificate:
    """Fields: der, tbs, serial, algorithm, issuer, subject, spki (DER each), not_before,
    not_after (seconds since 1970), version 1 to 3, signature, and of the extensions:

    ca, path_len (None: any)    key_usage (bits, None: absent)    usages (OIDs, None: absent)
    names: list of (choice, bytes) of subjectAltName, None: absent
    permitted, excluded: lists of (choice, bytes) of nameConstraints
    policies (OIDs, None: absent), mappings, require_explicit, inhibit_mapping, inhibit_any
    subject_key_id, authority_key_id (bytes or None)
    scts (list of Sct), must_staple, unknown_critical (OID or None)
    """

    def __init__(self, raw):
        if len(raw) > MAX_SIZE:
            raise CertificateError(
                alert.BAD_CERTIFICATE, "malformed", "a certificate of %d bytes" % len(raw)
            )
        self.der = raw = bytes(raw)
        self._key = None
        self._subject_form = self._issuer_form = None
        self.ca = self.must_staple = self.san_critical = False
        self.path_len = self.key_usage = self.usages = self.names = self.policies = None
        self.permitted = self.excluded = self.mappings = self.scts = ()
        self.require_explicit = self.inhibit_mapping = self.inhibit_any = None
        self.subject_key_id = self.authority_key_id = self.unknown_critical = None
        outer = Der(raw)
        cert = outer.pull(der.SEQUENCE)
        outer.done("Certificate")
        self.tbs = cert.pull_whole(der.SEQUENCE)
        self.algorithm = cert.pull_whole(der.SEQUENCE)
        self.signature = cert.pull_octet_bits()
        cert.done("Certificate")
        self._pull_tbs(Der(self.tbs).pull(der.SEQUENCE))

    def _pull_tbs(self, tbs):
        version = tbs.optional(der.context(0))
        self.version = 1
        if version is not None:
            self.version = version.pull_small(2) + 1
            version.done("version")
            if self.version == 1:
                raise malformed("a default that is written out")
        self.serial = tbs.pull_bytes(der.INTEGER)
        Der(bytes((der.INTEGER, len(self.serial))) + self.serial).pull_integer()
        # 4.1.2.2: "Conforming CAs MUST NOT use serialNumber values longer than 20 octets",
        # and positive ones.
        if len(self.serial) > 20 or self.serial[0] & 0x80:
            raise _bad("a serial number that is negative or too long")
        # 4.1.1.2: "This field MUST contain the same algorithm identifier as the signature
        # field in the sequence tbsCertificate".
        if tbs.pull_whole(der.SEQUENCE) != self.algorithm:
            raise _bad("its two signature algorithms differ")
        self.issuer = tbs.pull_whole(der.SEQUENCE)
        validity = tbs.pull(der.SEQUENCE)
        self.not_before = validity.pull_time()
        self.not_after = validity.pull_time()
        validity.done("validity")
        self.subject = tbs.pull_whole(der.SEQUENCE)
        self.spki = tbs.pull_whole(der.SEQUENCE)
        for tag in (der.context(1, False), der.context(2, False)):
            if tbs.peek() == tag:  # unique identifiers
                if self.version < 2:
                    raise malformed("unique identifiers in version 1")
                tbs.pull(tag)
        if tbs.left():
            extensions = tbs.pull(der.context(3))
            tbs.done("TBSCertificate")
            if self.version != 3:
                raise malformed("extensions in version %d" % self.version)
            self._pull_extensions(extensions)

    def _pull_extensions(self, outer):
        seq = outer.pull(der.SEQUENCE)
        outer.done("extensions")
        seen = []
        if not seq.left():
            raise malformed("an empty list of extensions")
        while seq.left():
            ext = seq.pull(der.SEQUENCE)
            kind = ext.pull_oid()
            critical = False
            if ext.peek() == der.BOOLEAN:
                critical = ext.pull_boolean()
                if not critical:
                    raise malformed("a default that is written out")
            body = ext.pull(der.OCTET_STRING)
            ext.done("an extension")
            # 4.2: "A certificate MUST NOT include more than one instance of a particular
            # extension."
            if kind in seen:
                raise _bad("the extension %s comes twice" % der.oid_text(kind))
            seen.append(kind)
            pull = _EXTENSIONS.get(kind)
            if pull is not None:
                pull(self, body)
                body.done("the extension " + der.oid_text(kind))
                if kind == SUBJECT_ALT_NAME:
                    self.san_critical = critical
            elif critical and self.unknown_critical is None:
                self.unknown_critical = kind

    def key(self):
        """Its PublicKey; CertificateError if it is unsound, weak or of an unknown kind."""
        if self._key is None:
            self._key = pull_spki(self.spki)
        return self._key

    def subject_text(self):
        if name.is_empty(self.subject) and self.names:
            return name._shown(self.names[0][1])
        return name.text(self.subject)

    def issuer_text(self):
        return name.text(self.issuer)

    def subject_form(self):
        """The subject's canonical form: names are the same if their forms are equal."""
        if self._subject_form is None:
            self._subject_form = name.canonical(self.subject)
        return self._subject_form

    def issuer_form(self):
        if self._issuer_form is None:
            same = self.issuer == self.subject
            self._issuer_form = self.subject_form() if same else name.canonical(self.issuer)
        return self._issuer_form

    def self_issued(self):
        return self.subject_form() == self.issuer_form()

    def spki_sha256(self):
        """What a pin is compared with: SHA-256 of the SubjectPublicKeyInfo. RFC 7469."""
        return Sha256(self.spki).digest()


def _bad(reason):
    return CertificateError(alert.BAD_CERTIFICATE, "malformed", reason)


def _basic_constraints(c, r):
    seq = r.pull(der.SEQUENCE)
    if seq.peek() == der.BOOLEAN:
        c.ca = seq.pull_boolean()
        if not c.ca:
            raise malformed("a default that is written out")
    if seq.left():
        c.path_len = seq.pull_small()
        # 4.2.1.9: "CAs MUST NOT include the pathLenConstraint field unless the cA boolean
        # is asserted".
        if not c.ca:
            raise _bad("a path length without being a CA")
    seq.done("basicConstraints")


def _key_usage(c, r):
    c.key_usage = r.pull_named_bits()
    # 4.2.1.3: "at least one of the bits MUST be set to 1".
    if not c.key_usage:
        raise _bad("an empty keyUsage")


def _ext_key_usage(c, r):
    seq = r.pull(der.SEQUENCE)
    c.usages = []
    while seq.left():
        c.usages.append(seq.pull_oid())
    if not c.usages:
        raise malformed("an empty extKeyUsage")


def general_name(r):
    """(choice, contents) of a GeneralName."""
    tag, at, start, end = r.any()
    if tag & 0xC0 != 0x80:
        raise malformed("a GeneralName of tag 0x%02x" % tag)
    choice = tag & 0x1F
    constructed = choice in (0, 3, DIRECTORY, 5)
    if choice > 8 or bool(tag & 0x20) != constructed:
        raise malformed("a GeneralName of tag 0x%02x" % tag)
    value = bytes(r.buf[start:end])
    if choice in (MAIL, DNS, URI):
        for b in value:
            if b > 127:
                raise malformed("a name that is not ASCII")
    elif choice == DIRECTORY:
        name.attributes(value)
    elif choice == 8:
        der.check_oid(value, 0, len(value))
    return choice, value


def _general_names(r, what):
    seq = r.pull(der.SEQUENCE)
    out = []
    while seq.left():
        out.append(general_name(seq))
        if len(out) > _MAX_NAMES:
            raise _bad("more than %d names" % _MAX_NAMES)
    if not out:
        raise malformed("an empty " + what)
    return out


def _subject_alt_name(c, r):
    c.names = _general_names(r, "subjectAltName")
    for choice, value in c.names:
        if choice == IP and len(value) not in (4, 16):
            raise _bad("an IP address of %d bytes" % len(value))


def _issuer_alt_name(c, r):
    _general_names(r, "issuerAltName")


def _name_constraints(c, r):
    seq = r.pull(der.SEQUENCE)
    permitted = seq.optional(der.context(0))
    excluded = seq.optional(der.context(1))
    seq.done("nameConstraints")
    if permitted is None and excluded is None:
        raise malformed("empty nameConstraints")
    c.permitted = _subtrees(permitted)
    c.excluded = _subtrees(excluded)


def _subtrees(r):
    if r is None:
        return ()
    out = []
    while r.left():
        tree = r.pull(der.SEQUENCE)
        choice, value = general_name(tree)
        # 4.2.1.10: "the minimum MUST be zero, and maximum MUST be absent": in DER, nothing.
        tree.done("a name constraint")
        if choice == IP:
            _check_mask(value)
        out.append((choice, value))
        if len(out) > _MAX_NAMES:
            raise _bad("more than %d name constraints" % _MAX_NAMES)
    if not out:
        raise malformed("empty nameConstraints")
    return out


def _check_mask(value):
    if len(value) not in (8, 32):
        raise _bad("an IP constraint of %d bytes" % len(value))
    mask = int.from_bytes(value[len(value) // 2 :], "big")
    full = (1 << 4 * len(value)) - 1
    if (mask ^ full) + 1 & (mask ^ full):
        raise _bad("an IP constraint whose mask has holes")


def _policies(c, r):
    seq = r.pull(der.SEQUENCE)
    c.policies = []
    while seq.left():
        info = seq.pull(der.SEQUENCE)
        kind = info.pull_oid()
        if info.left():
            info.pull(der.SEQUENCE)  # qualifiers: text for people
        info.done("a policy")
        # 4.2.1.4: "A certificate policy OID MUST NOT appear more than once".
        if kind in c.policies:
            raise _bad("a policy comes twice")
        c.policies.append(kind)
    if not c.policies:
        raise malformed("empty certificatePolicies")


def _policy_mappings(c, r):
    seq = r.pull(der.SEQUENCE)
    c.mappings = []
    while seq.left():
        pair = seq.pull(der.SEQUENCE)
        a, b = pair.pull_oid(), pair.pull_oid()
        pair.done("a policy mapping")
        # 4.2.1.5: "Policies MUST NOT be mapped either to or from the special value anyPolicy."
        if a == ANY_POLICY or b == ANY_POLICY:
            raise _bad("a mapping of anyPolicy")
        c.mappings.append((a, b))
    if not c.mappings:
        raise malformed("empty policyMappings")


def _implicit_small(seq, n):
    if seq.peek() != der.context(n, False):
        return None
    v = seq.pull_integer(der.context(n, False))
    if not 0 <= v < 1 << 30:
        raise malformed("the number %d" % v)
    return v


def _policy_constraints(c, r):
    seq = r.pull(der.SEQUENCE)
    c.require_explicit = _implicit_small(seq, 0)
    c.inhibit_mapping = _implicit_small(seq, 1)
    seq.done("policyConstraints")
    if c.require_explicit is None and c.inhibit_mapping is None:
        raise malformed("empty policyConstraints")


def _inhibit_any(c, r):
    c.inhibit_any = r.pull_small()


def _subject_key_id(c, r):
    c.subject_key_id = r.pull_bytes(der.OCTET_STRING)


def _authority_key_id(c, r):
    seq = r.pull(der.SEQUENCE)
    if seq.peek() == der.context(0, False):
        c.authority_key_id = seq.pull_bytes(der.context(0, False))
    for tag in (der.context(1), der.context(2, False)):
        if seq.peek() == tag:
            seq.pull(tag)
    seq.done("authorityKeyIdentifier")


def _tls_feature(c, r):
    seq = r.pull(der.SEQUENCE)
    while seq.left():
        if seq.pull_small(65535) == 5:  # status_request
            c.must_staple = True


class Sct:
    """A signed certificate timestamp: log_id, timestamp_ms, signature. Read, not verified."""

    __slots__ = ("version", "log_id", "timestamp_ms", "extensions", "signature")


def pull_sct_list(data):
    """List of Sct of a SignedCertificateTimestampList's bytes. RFC 6962, 3.3."""
    try:
        return _pull_scts(data)
    except ProtocolError as e:
        why = e.reason
    raise _bad("a list of SCTs: " + why)


def _pull_scts(data):
    r = Reader(data, 0, None, alert.BAD_CERTIFICATE)
    entries = r.sub(r.pull_u16())
    if r.left():
        raise _bad("bytes after the list of SCTs")
    out = []
    while entries.left():
        one = entries.sub(entries.pull_u16())
        sct = Sct()
        sct.version = one.pull_u8()
        if sct.version:
            continue  # of a later version: not for us
        sct.log_id = one.pull_bytes(32)
        sct.timestamp_ms = one.pull_u32() << 32 | one.pull_u32()
        sct.extensions = one.pull_bytes(one.pull_u16())
        one.skip(2)  # the algorithms
        sct.signature = one.pull_bytes(one.pull_u16())
        if one.left():
            raise _bad("bytes after an SCT")
        out.append(sct)
    return out


def _sct_list(c, r):
    c.scts = pull_sct_list(r.pull_bytes(der.OCTET_STRING))


def _skip(c, r):
    r.any()


_EXTENSIONS = {
    SUBJECT_KEY_ID: _subject_key_id,
    KEY_USAGE: _key_usage,
    SUBJECT_ALT_NAME: _subject_alt_name,
    ISSUER_ALT_NAME: _issuer_alt_name,
    BASIC_CONSTRAINTS: _basic_constraints,
    NAME_CONSTRAINTS: _name_constraints,
    CRL_POINTS: _skip,
    POLICIES: _policies,
    POLICY_MAPPINGS: _policy_mappings,
    AUTHORITY_KEY_ID: _authority_key_id,
    POLICY_CONSTRAINTS: _policy_constraints,
    EXT_KEY_USAGE: _ext_key_usage,
    INHIBIT_ANY_POLICY: _inhibit_any,
    SCT_LIST: _sct_list,
    TLS_FEATURE: _tls_feature,
}
