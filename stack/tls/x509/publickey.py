"""Public keys and the signatures in certificates. RFC 3279, 4055, 5480, 5758, 8410.

    SubjectPublicKeyInfo ::= SEQUENCE { AlgorithmIdentifier, BIT STRING }

What is too weak is refused in words: RSA below 2048 bits, MD5 and SHA-1.

Not implemented: DSA, P-521, Ed448, RSA beyond 4096 bits, RSASSA-PSS whose two
hashes differ.
"""

from stack.crypto import ed25519, rsa
from stack.crypto.bytesops import bit_length
from stack.crypto.p256 import P256
from stack.crypto.p384 import P384
from stack.crypto.sha2 import Sha256, Sha384, Sha512
from stack.tls import alert
from stack.tls.alert import CertificateError
from stack.tls.x509 import der
from stack.tls.x509.der import Der, malformed

RSA = der.oid("1.2.840.113549.1.1.1")
RSA_PSS = der.oid("1.2.840.113549.1.1.10")
_MGF1 = der.oid("1.2.840.113549.1.1.8")
EC = der.oid("1.2.840.10045.2.1")
ED25519 = der.oid("1.3.101.112")

CURVES = {
    der.oid("1.2.840.10045.3.1.7"): P256,
    der.oid("1.3.132.0.34"): P384,
}
_HASHES = {
    der.oid("2.16.840.1.101.3.4.2.1"): Sha256,
    der.oid("2.16.840.1.101.3.4.2.2"): Sha384,
    der.oid("2.16.840.1.101.3.4.2.3"): Sha512,
}
_RSA_WITH = {
    der.oid("1.2.840.113549.1.1.11"): Sha256,
    der.oid("1.2.840.113549.1.1.12"): Sha384,
    der.oid("1.2.840.113549.1.1.13"): Sha512,
}
_ECDSA_WITH = {
    der.oid("1.2.840.10045.4.3.2"): Sha256,
    der.oid("1.2.840.10045.4.3.3"): Sha384,
    der.oid("1.2.840.10045.4.3.4"): Sha512,
}
_WEAK = {
    der.oid("1.2.840.113549.1.1.2"): "MD2",
    der.oid("1.2.840.113549.1.1.4"): "MD5",
    der.oid("1.2.840.113549.1.1.5"): "SHA-1",
    der.oid("1.2.840.10045.4.1"): "SHA-1",
    der.oid("1.2.840.10040.4.3"): "SHA-1",
    der.oid("1.2.840.113549.1.1.14"): "SHA-224",
    der.oid("1.2.840.10045.4.3.1"): "SHA-224",
}


def unsupported(reason):
    return CertificateError(alert.UNSUPPORTED_CERTIFICATE, "unsupported", reason)


def _weak(reason):
    return CertificateError(alert.BAD_CERTIFICATE, "weak", reason)


class PublicKey:
    """kind: "rsa", "rsa-pss", "ec", "ed25519". The fields of the other kinds are None."""

    __slots__ = ("kind", "n", "e", "pss", "curve", "point")

    def __init__(self, kind):
        self.kind = kind
        self.n = self.e = self.pss = self.curve = self.point = None

    def describe(self):
        if self.n:
            return "RSA of %d bits" % bit_length(self.n)
        return self.curve.name if self.curve else "Ed25519"


def pull_spki(raw):
    """A PublicKey of a SubjectPublicKeyInfo's DER. CertificateError if it is bad or too weak."""
    outer = Der(raw)
    spki = outer.pull(der.SEQUENCE)
    outer.done("SubjectPublicKeyInfo")
    algorithm = spki.pull(der.SEQUENCE)
    kind = algorithm.pull_oid()
    if kind == EC:
        # RFC 5480, 2.1.1: "implicitCurve and specifiedCurve MUST NOT be used in PKIX".
        if algorithm.peek() != der.OID:
            raise unsupported("a public key whose curve is not named")
        named = algorithm.pull_oid()
        curve = CURVES.get(named)
        if curve is None:
            raise unsupported("a public key on the curve " + der.oid_text(named))
        key = PublicKey("ec")
        key.curve = curve
        key.point = spki.pull_octet_bits()
        if not _on_curve(curve, key.point):
            raise CertificateError(
                alert.BAD_CERTIFICATE, "malformed", "the public key is no point of " + curve.name
            )
    elif kind == ED25519:
        key = PublicKey("ed25519")
        key.point = spki.pull_octet_bits()
        if len(key.point) != 32:
            raise malformed("an Ed25519 key of %d bytes" % len(key.point))
    elif kind == RSA or kind == RSA_PSS:
        if kind == RSA:
            key = PublicKey("rsa")
            algorithm.pull_null()
        else:
            key = PublicKey("rsa-pss")
            if algorithm.left():
                key.pss = pull_pss(algorithm)
        _pull_rsa(key, spki.pull_octet_bits())
    else:
        raise unsupported("a public key of the kind " + der.oid_text(kind))
    algorithm.done("the public key's algorithm")
    spki.done("SubjectPublicKeyInfo")
    return key


def _on_curve(curve, point):
    try:
        curve.point(point)
        return True
    except ValueError:
        return False


def _pull_rsa(key, data):
    outer = Der(data)
    seq = outer.pull(der.SEQUENCE)
    outer.done("RSAPublicKey")
    key.n = seq.pull_integer()
    key.e = seq.pull_integer()
    seq.done("RSAPublicKey")
    if key.n <= 0 or key.e <= 0:
        raise malformed("a negative RSA key")
    bits = bit_length(key.n)
    if bits < rsa.MIN_BITS:
        raise _weak("an RSA key of %d bits, at least %d wanted" % (bits, rsa.MIN_BITS))
    if bits > rsa.MAX_BITS:
        raise unsupported("an RSA key of %d bits, at most %d are taken" % (bits, rsa.MAX_BITS))
    if not rsa.sane(key.n, key.e):
        raise _weak("an RSA key whose exponent or modulus is unsound")


def pull_pss(r):
    """(hash class, salt length) of RSASSA-PSS-params, both hashes the same. RFC 4055, 3.1."""
    params = r.pull(der.SEQUENCE)
    field = params.optional(der.context(0))
    if field is None:
        raise _weak("RSASSA-PSS with SHA-1")
    hash_class = _pull_hash(field)
    field = params.optional(der.context(1))
    if field is None:
        raise _weak("RSASSA-PSS with SHA-1 in its mask")
    mgf = field.pull(der.SEQUENCE)
    if mgf.pull_oid() != _MGF1:
        raise unsupported("RSASSA-PSS with another mask than MGF1")
    if _pull_hash(mgf) is not hash_class:
        raise unsupported("RSASSA-PSS with two hashes")
    mgf.done("MGF1")
    field.done("RSASSA-PSS")
    salt = 20
    field = params.optional(der.context(2))
    if field is not None:
        salt = field.pull_small(512)
        field.done("RSASSA-PSS")
        if salt == 20:
            raise malformed("a default that is written out")
    if params.left():
        # trailerField: its one value is the default, which DER leaves out.
        raise malformed("RSASSA-PSS with a trailer field")
    return hash_class, salt


def _pull_hash(r):
    seq = r.pull(der.SEQUENCE)
    kind = seq.pull_oid()
    if seq.left():
        seq.pull_null()
    seq.done("a hash's name")
    hash_class = _HASHES.get(kind)
    if hash_class is None:
        raise _weak("the hash " + der.oid_text(kind))
    return hash_class


def verify_signature(key, algorithm, message, signature):
    """True if `signature` over `message` is the key's, by the AlgorithmIdentifier's DER.

    CertificateError for an algorithm that is weak or unknown.
    """
    r = Der(algorithm).pull(der.SEQUENCE)
    kind = r.pull_oid()
    if kind in _WEAK:
        raise _weak("a signature with " + _WEAK[kind])
    if kind in _ECDSA_WITH:
        # RFC 5758, 3.2: "the encoding MUST omit the parameters field".
        r.done("ecdsa-with-SHA2")
        if key.kind != "ec":
            return False
        hash_class = _ECDSA_WITH[kind]
        return verify_ecdsa(key, hash_class(message).digest(), signature)
    if kind == ED25519:
        r.done("Ed25519")
        return key.kind == "ed25519" and ed25519.verify(key.point, message, signature)
    if kind in _RSA_WITH:
        # RFC 4055, 5: "the parameters MUST be NULL. Implementations MUST accept the
        # parameters being absent as well as present."
        if r.left():
            r.pull_null()
        r.done("sha2WithRSAEncryption")
        if key.kind != "rsa":
            return False
        hash_class = _RSA_WITH[kind]
        digest = hash_class(message).digest()
        return rsa.verify_pkcs1(key.n, key.e, hash_class.name, digest, signature)
    if kind == RSA_PSS:
        if not r.left():
            raise malformed("RSASSA-PSS without parameters")
        hash_class, salt = pull_pss(r)
        r.done("RSASSA-PSS")
        if key.kind not in ("rsa", "rsa-pss"):
            return False
        if key.pss is not None and (key.pss[0] is not hash_class or salt < key.pss[1]):
            return False
        digest = hash_class(message).digest()
        return rsa.verify_pss(key.n, key.e, hash_class, digest, signature, salt)
    raise unsupported("a signature of the kind " + der.oid_text(kind))


def verify_ecdsa(key, digest, signature):
    """True if the DER signature is that of `digest`."""
    try:
        outer = Der(signature)
        seq = outer.pull(der.SEQUENCE)
        outer.done("a signature")
        r = seq.pull_integer()
        s = seq.pull_integer()
        seq.done("a signature")
    except CertificateError:
        return False
    return key.curve.verify(key.point, digest, r, s)


def push_ecdsa(r, s):
    """The DER of an ECDSA signature."""
    body = _push_integer(r) + _push_integer(s)
    return bytes((der.SEQUENCE, len(body))) + body


def _push_integer(v):
    data = v.to_bytes(49, "big")
    i = 0
    while i < 48 and data[i] == 0:
        i += 1
    if data[i] & 0x80:
        i -= 1
    data = data[i:]
    return bytes((der.INTEGER, len(data))) + data
