"""Private keys from PEM or DER: PKCS#8 (RFC 5958), SEC 1 (RFC 5915), PKCS#1 (RFC 8017).

    key = load_private_key(pem)        key.kind: "rsa", "rsa-pss", "ec", "ed25519"
    key.schemes                        the signature schemes it can make, best first
    key.sign(scheme, message, rng)     bytes

Not implemented: encrypted keys, DSA, P-521, more than two RSA primes.
"""

from binascii import a2b_base64

from stack.core.errors import ProtocolError
from stack.crypto import ed25519, rsa
from stack.tls import signatures
from stack.tls.x509 import der
from stack.tls.x509.certificate import Certificate
from stack.tls.x509.der import Der
from stack.tls.x509.publickey import CURVES, EC, ED25519, RSA, RSA_PSS, PublicKey, push_ecdsa
from stack.tls.x509.store import pem_certificates


class PrivateKey:
    """A key that signs. `public` is its PublicKey."""

    def __init__(self, kind, secret, public):
        self.kind = kind
        self._secret = secret
        self.public = public
        self.schemes = signatures.schemes_of(public)

    def sign(self, scheme, message, rng):
        """The signature of CertificateVerify's content."""
        hash_class = signatures.hash_of(scheme)
        if self.kind == "ed25519":
            return ed25519.sign(self._secret, message)
        digest = hash_class(message).digest()
        if self.kind == "ec":
            r, s = self.public.curve.sign(self._secret, digest, rng)
            return push_ecdsa(r, s)
        return rsa.sign_pss(self._secret, hash_class, digest, rng)


def load_private_key(data):
    """A PrivateKey of PEM text or bytes, or DER. ValueError says why not."""
    try:
        return _load(*_unwrap(data))
    except ProtocolError as e:
        why = e.reason
    raise ValueError("private key: " + why)


def load_identity(certificates, key):
    """An Identity of PEM or DER: the chain, leaf first, and its key. ValueError if they differ."""
    if not isinstance(key, PrivateKey):
        key = load_private_key(key)
    return Identity(pem_certificates(certificates), key)


class Identity:
    """A certificate chain to show, with the key of its first certificate.

    ocsp: a stapled response's DER or None. signer: the key, or any object with
    its `schemes` and `sign`.
    """

    def __init__(self, chain, signer, ocsp=None):
        if not chain:
            raise ValueError("no certificate")
        self.chain = chain
        self.signer = signer
        self.ocsp = ocsp
        self.leaf = Certificate(chain[0])
        public = getattr(signer, "public", None)
        if public is not None and not _same_key(public, self.leaf.key()):
            raise ValueError("the private key does not belong to the certificate")

    def issuers(self):
        """The DER names of who issued each certificate of the chain."""
        return [Certificate(raw).issuer for raw in self.chain]


def _same_key(a, b):
    return (a.n, a.e, a.point) == (b.n, b.e, b.point) and a.curve is b.curve


def _unwrap(data):
    """(DER, label of the PEM or "")."""
    if isinstance(data, str):
        data = data.encode()
    data = bytes(data)
    if data[:1] == b"\x30":
        return data, b""
    at = 0
    while True:
        at = data.find(b"-----BEGIN ", at)
        if at < 0:
            raise ValueError("no private key in the PEM")
        label_end = data.find(b"-----", at + 11)
        label = data[at + 11 : label_end]
        end = data.find(b"-----END ", label_end)
        if label_end < 0 or end < 0:
            raise ValueError("PEM cut short")
        if label == b"ENCRYPTED PRIVATE KEY":
            raise ValueError("the private key is encrypted: decrypt it first (openssl pkey)")
        if label.endswith(b"PRIVATE KEY"):
            body = data[label_end + 5 : end]
            if b"ENCRYPTED" in body:
                raise ValueError("the private key is encrypted: decrypt it first (openssl pkey)")
            return a2b_base64(body), label
        at = end


def _load(raw, label):
    outer = Der(raw)
    seq = outer.pull(der.SEQUENCE)
    outer.done("a private key")
    version = seq.pull_small(3)
    # PKCS#8 goes on with an algorithm, SEC 1 with the key, PKCS#1 with the modulus.
    if seq.peek() == der.OCTET_STRING:
        return _load_sec1(seq, None)
    if seq.peek() == der.INTEGER:
        return _load_pkcs1(seq, version, "rsa")
    algorithm = seq.pull(der.SEQUENCE)
    kind = algorithm.pull_oid()
    inner = Der(seq.pull_bytes(der.OCTET_STRING))
    if kind == ED25519:
        seed = inner.pull_bytes(der.OCTET_STRING)
        if len(seed) != 32:
            raise ValueError("an Ed25519 key of %d bytes" % len(seed))
        public = PublicKey("ed25519")
        public.point = ed25519.public(seed)
        return PrivateKey("ed25519", seed, public)
    inner = inner.pull(der.SEQUENCE)
    if kind == EC:
        inner.pull_small(3)
        return _load_sec1(inner, algorithm.pull_oid())
    if kind == RSA or kind == RSA_PSS:
        return _load_pkcs1(inner, inner.pull_small(3), "rsa" if kind == RSA else "rsa-pss")
    raise ValueError("a private key of the kind " + der.oid_text(kind))


def _load_sec1(seq, named):
    secret = seq.pull_bytes(der.OCTET_STRING)
    field = seq.optional(der.context(0))
    if field is not None:
        named = field.pull_oid()
    curve = CURVES.get(named)
    if curve is None:
        raise ValueError("an EC key on a curve that is not P-256 or P-384")
    public = PublicKey("ec")
    public.curve = curve
    public.point = curve.public(secret)
    return PrivateKey("ec", secret, public)


def _load_pkcs1(seq, version, kind):
    if version:
        raise ValueError("an RSA key of more than two primes")
    numbers = [seq.pull_integer() for _ in range(8)]
    seq.done("RSAPrivateKey")
    public = PublicKey(kind)
    public.n, public.e = numbers[0], numbers[1]
    return PrivateKey(kind, rsa.RsaKey(*numbers), public)
