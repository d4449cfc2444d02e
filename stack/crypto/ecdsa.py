"""ECDH and ECDSA (FIPS 186-5, SEC 1) on a short Weierstrass curve with a = -3.

The curves are P256 in p256.py and P384 in p384.py. Points on the wire are
uncompressed: 4, x, y. Signing is deterministic (RFC 6979), or hedged, and with
fewer hashes, when an rng is given.

Not implemented: compressed points (TLS 1.3 forbids them), other curves.
"""

from stack.crypto import kernels
from stack.crypto.bytesops import bit_length
from stack.crypto.hmac import hmac
from stack.crypto.sha2 import Sha512


class Curve:
    """Parameters, and the operations on them. `hash_class` is the one RFC 6979 draws with."""

    def __init__(self, name, size, p, b, n, gx, gy, hash_class):
        self.name = name
        self.size = size  # bytes of a coordinate, and of a scalar
        self.p = p
        self.b = b
        self.n = n
        self.gx = gx
        self.gy = gy
        self.bits = bit_length(n)
        self.hash_class = hash_class
        self.native = None  # the machine-code tier's constants

    def scalar(self, private):
        """The private key as an integer. ValueError outside 1..n-1."""
        if not isinstance(private, int):
            private = int.from_bytes(private, "big")
        if not 0 < private < self.n:
            raise ValueError("private key out of range")
        return private

    def point(self, data):
        """(x, y) of an uncompressed point. ValueError if it is not one of the curve.

        SEC 1, 3.2.2: the coordinates are below p and satisfy the equation. The
        cofactor is 1, so such a point has order n. RFC 8446, 4.2.8.2 asks for this.
        """
        size = self.size
        if len(data) != 2 * size + 1 or data[0] != 4:
            raise ValueError("not an uncompressed point")
        x = int.from_bytes(data[1 : size + 1], "big")
        y = int.from_bytes(data[size + 1 :], "big")
        p = self.p
        if x >= p or y >= p or (y * y - (x * x - 3) * x - self.b) % p:
            raise ValueError("point not on curve")
        return x, y

    def public(self, private):
        """The public point of a private key, 2 * size + 1 bytes."""
        x, y = kernels.ec_base(self, self.scalar(private))
        return b"\x04" + x.to_bytes(self.size, "big") + y.to_bytes(self.size, "big")

    def shared(self, private, peer):
        """The x-coordinate of the shared point, `size` bytes. ValueError for a bad point."""
        x, y = self.point(peer)
        # Never infinity: the order is prime and the scalar below it.
        return kernels.ec_mul(self, self.scalar(private), x, y)[0].to_bytes(self.size, "big")

    def _number(self, digest):
        """The leftmost bits of a digest, as many as n has. FIPS 186-5, 6.4.1."""
        e = int.from_bytes(digest, "big")
        excess = 8 * len(digest) - self.bits
        return e >> excess if excess > 0 else e

    def sign(self, private, digest, rng=None, hash_class=None):
        """(r, s) for a digest, by RFC 6979; with `rng` by fresh randomness and the key together."""
        d = self.scalar(private)
        n = self.n
        e = self._number(digest)
        draw = _Nonces(self, d, e, hash_class or self.hash_class) if rng is None else None
        while True:
            k = draw.next() if draw else self._hedged(d, e, rng)
            r = kernels.ec_base(self, k)[0] % n
            s = kernels.ec_invert(self, k) * (e + r * d) % n
            if r and s:
                return r, s

    def _hedged(self, d, e, rng):
        """A nonce from the key, the digest and fresh randomness: one hash, and good if any of
        the randomness or the hash's secrecy holds. 512 bits mod n are uniform enough."""
        size = self.size
        seed = rng(32) + d.to_bytes(size, "big") + (e % self.n).to_bytes(size, "big")
        return int.from_bytes(Sha512(seed).digest(), "big") % (self.n - 1) + 1

    def verify(self, point, digest, r, s):
        """True if (r, s) signs `digest` under the public point. FIPS 186-5, 6.4.2."""
        n = self.n
        if not (0 < r < n and 0 < s < n):
            return False
        try:
            x, y = self.point(point)
        except ValueError:
            return False
        w = kernels.ec_invert(self, s)
        sum_ = kernels.ec_dual(self, self._number(digest) * w % n, r * w % n, x, y)
        return sum_ is not None and sum_[0] % n == r


class _Nonces:
    """The HMAC_DRBG of RFC 6979, 3.2: a sequence of candidates for k."""

    def __init__(self, curve, d, e, hash_class):
        self._curve = curve
        self._hash = hash_class
        size = curve.size
        seed = d.to_bytes(size, "big") + (e % curve.n).to_bytes(size, "big")
        n = hash_class.digest_size
        self._v = b"\x01" * n
        self._k = bytes(n)
        self._update(b"\x00" + seed)
        self._update(b"\x01" + seed)
        self._first = True

    def _update(self, data):
        self._k = hmac(self._hash, self._k, self._v + data)
        self._v = hmac(self._hash, self._k, self._v)

    def next(self):
        """The next k in 1..n-1."""
        while True:
            if not self._first:
                self._update(b"\x00")
            self._first = False
            t = b""
            while len(t) < self._curve.size:
                self._v = hmac(self._hash, self._k, self._v)
                t += self._v
            k = self._curve._number(t[: self._curve.size])
            if 0 < k < self._curve.n:
                return k
