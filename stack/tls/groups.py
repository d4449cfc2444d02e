"""Key exchange: a pair of keys a group, made once a handshake. RFC 8446, section 4.2.8; 7.4.

X25519 (RFC 7748), P-256 and P-384, X25519MLKEM768 (draft-ietf-tls-ecdhe-mlkem:
ML-KEM's part first, in the shares and in the secret).

Not implemented: secp521r1, x448, finite fields.
"""

from micropython import const

from stack.crypto import mlkem, x25519
from stack.crypto.p256 import P256
from stack.crypto.p384 import P384
from stack.tls import alert
from stack.tls.alert import TlsError

SECP256R1 = const(0x0017)
SECP384R1 = const(0x0018)
X25519 = const(0x001D)
X25519MLKEM768 = const(0x11EC)

NAMES = {
    0x0017: "secp256r1",
    0x0018: "secp384r1",
    0x001D: "x25519",
    0x11EC: "X25519MLKEM768",
}

_EK_LEN = const(1184)
_CT_LEN = const(1088)


def _bad(group, why):
    return TlsError(alert.ILLEGAL_PARAMETER, "%s key share: %s" % (NAMES[group], why))


def _checked(group, why, function, *arguments):
    """The function's result; illegal_parameter where it raises ValueError."""
    try:
        return function(*arguments)
    except ValueError:
        pass
    raise _bad(group, why)


class _X25519:
    """`share` is ours to send as a client; `agree(peer's)` is the secret."""

    def __init__(self, rng):
        self._private = rng(32)
        self.share = x25519.public(self._private)

    def agree(self, peer):
        if len(peer) != 32:
            raise _bad(X25519, "%d bytes" % len(peer))
        # 7.4.2: "MUST check whether the computed Diffie-Hellman shared secret is the all-zero
        # value and abort if so".
        return _checked(
            X25519, "the shared secret is zero", x25519.shared, self._private, peer
        )

    def answer(self, peer):
        """(our share, secret) as a server."""
        return self.share, self.agree(peer)


class _Ec:
    def __init__(self, group, curve, rng):
        self._group = group
        self._curve = curve
        self._private = scalar(curve, rng)
        self.share = curve.public(self._private)

    def agree(self, peer):
        # 4.2.8.2: "the uncompressed form"; that it is a point of the curve the curve checks.
        if len(peer) != 1 + 2 * self._curve.size or peer[0] != 4:
            raise _bad(self._group, "not an uncompressed point")
        return _checked(
            self._group, "not a point of the curve", self._curve.shared, self._private, peer
        )

    def answer(self, peer):
        return self.share, self.agree(peer)


class _Hybrid:
    def __init__(self, rng, client):
        self._rng = rng
        self._x = _X25519(rng)
        if client:
            ek, self._dk = mlkem.keygen(rng)
            self.share = bytes(ek) + self._x.share

    def agree(self, peer):
        if len(peer) != _CT_LEN + 32:
            raise _bad(X25519MLKEM768, "%d bytes" % len(peer))
        secret = mlkem.decaps(self._dk, bytes(peer[:_CT_LEN]))
        return bytes(secret) + self._x.agree(peer[_CT_LEN:])

    def answer(self, peer):
        if len(peer) != _EK_LEN + 32:
            raise _bad(X25519MLKEM768, "%d bytes" % len(peer))
        x = self._x.agree(peer[_EK_LEN:])
        # It makes the modulus check of FIPS 203, 7.2.
        ct, secret = _checked(
            X25519MLKEM768,
            "not an encapsulation key",
            mlkem.encaps,
            bytes(peer[:_EK_LEN]),
            self._rng,
        )
        return bytes(ct) + self._x.share, bytes(secret) + x


def generate(group, rng, client):
    """A fresh pair of the group. `client` makes the half that is sent first."""
    if group == X25519:
        return _X25519(rng)
    if group == X25519MLKEM768:
        return _Hybrid(rng, client)
    if group == SECP256R1:
        return _Ec(group, P256, rng)
    if group == SECP384R1:
        return _Ec(group, P384, rng)
    raise ValueError("no such group")


def scalar(curve, rng):
    """A private key of the curve, drawn evenly from 1 to n - 1."""
    while True:
        d = rng(curve.size)
        n = int.from_bytes(d, "big")
        if 0 < n < curve.n:
            return d
