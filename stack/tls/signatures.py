"""Signature schemes of the handshake. RFC 8446, sections 4.2.3 and 4.4.3.

Not implemented: ed448, ecdsa_secp521r1_sha512. RSA PKCS#1 v1.5 and SHA-1 are
offered for certificates only (`CERTIFICATE_SCHEMES`), and SHA-1 not there.
"""

from micropython import const

from stack.crypto import ed25519, rsa
from stack.crypto.p256 import P256
from stack.crypto.sha2 import Sha256, Sha384, Sha512
from stack.tls.x509.publickey import verify_ecdsa

ECDSA_SECP256R1_SHA256 = const(0x0403)
ECDSA_SECP384R1_SHA384 = const(0x0503)
ED25519 = const(0x0807)
RSA_PSS_RSAE_SHA256 = const(0x0804)
RSA_PSS_RSAE_SHA384 = const(0x0805)
RSA_PSS_RSAE_SHA512 = const(0x0806)
RSA_PSS_PSS_SHA256 = const(0x0809)
RSA_PSS_PSS_SHA384 = const(0x080A)
RSA_PSS_PSS_SHA512 = const(0x080B)

SCHEMES = (0x0403, 0x0807, 0x0503, 0x0804, 0x0805, 0x0806, 0x0809, 0x080A, 0x080B)
# In certificates rsa_pkcs1_sha256, 384 and 512 too.
CERTIFICATE_SCHEMES = SCHEMES + (0x0401, 0x0501, 0x0601)

NAMES = {
    0x0401: "rsa_pkcs1_sha256",
    0x0403: "ecdsa_secp256r1_sha256",
    0x0501: "rsa_pkcs1_sha384",
    0x0503: "ecdsa_secp384r1_sha384",
    0x0601: "rsa_pkcs1_sha512",
    0x0804: "rsa_pss_rsae_sha256",
    0x0805: "rsa_pss_rsae_sha384",
    0x0806: "rsa_pss_rsae_sha512",
    0x0807: "ed25519",
    0x0809: "rsa_pss_pss_sha256",
    0x080A: "rsa_pss_pss_sha384",
    0x080B: "rsa_pss_pss_sha512",
}

_RSAE = (0x0804, 0x0805, 0x0806)
_PSS = (0x0809, 0x080A, 0x080B)

SERVER_CONTEXT = b"TLS 1.3, server CertificateVerify"
CLIENT_CONTEXT = b"TLS 1.3, client CertificateVerify"


def content(context, transcript_hash):
    """What a CertificateVerify signs."""
    return b"\x20" * 64 + context + b"\x00" + transcript_hash


def hash_of(scheme):
    if scheme == ED25519:
        return None
    if scheme in (0x0403, 0x0804, 0x0809):
        return Sha256
    return Sha384 if scheme in (0x0503, 0x0805, 0x080A) else Sha512


def schemes_of(public):
    """The schemes that a PublicKey can be used with: in TLS 1.3 the curve fixes the hash."""
    if public.kind == "ec":
        return (ECDSA_SECP256R1_SHA256,) if public.curve is P256 else (ECDSA_SECP384R1_SHA384,)
    if public.kind == "ed25519":
        return (ED25519,)
    if public.kind == "rsa":
        return _RSAE
    if public.pss is None:
        return _PSS
    return tuple([s for s in _PSS if hash_of(s) is public.pss[0]])


def verify(scheme, public, message, signature):
    """True if the signature is right. The scheme is one of schemes_of(public)."""
    if scheme == ED25519:
        return ed25519.verify(public.point, message, signature)
    hash_class = hash_of(scheme)
    digest = hash_class(message).digest()
    if public.kind == "ec":
        return verify_ecdsa(public, digest, signature)
    size = hash_class.digest_size
    return rsa.verify_pss(public.n, public.e, hash_class, digest, signature, size)


