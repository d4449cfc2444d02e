"""X25519 (RFC 7748): the key exchange on curve25519."""

from stack.crypto import kernels
from stack.crypto.bytesops import equal

_BASE = b"\x09" + bytes(31)


def public(private):
    """The public key of a 32-byte private key, which may be any 32 random bytes."""
    return kernels.x25519(bytes(private), _BASE)


def shared(private, peer):
    """The shared secret, 32 bytes. ValueError if the peer's key has a wrong length or low order."""
    if len(private) != 32 or len(peer) != 32:
        raise ValueError("X25519 key length")
    out = kernels.x25519(bytes(private), bytes(peer))
    # RFC 8446, 7.4.2: "implementations ... MUST check whether the computed
    # Diffie-Hellman shared secret is the all-zero value and abort if so".
    if equal(out, bytes(32)):
        raise ValueError("X25519 shared secret is zero")
    return out
