"""Ed25519 (RFC 8032, 5.1), without context or prehash: what certificates use."""

from stack.crypto import kernels
from stack.crypto.ec import ED_D, P25519
from stack.crypto.sha2 import Sha512

_L = (1 << 252) + 27742317777372353535851937790883648493


def _encode(point):
    x, y = point
    return (y | (x & 1) << 255).to_bytes(32, "little")


def _decode(data):
    """(x, y) of an encoded point, or None if there is none. RFC 8032, 5.1.3."""
    p = P25519
    y = int.from_bytes(data, "little")
    sign = y >> 255
    y &= (1 << 255) - 1
    if y >= p:
        return None
    u = y * y - 1
    v = (ED_D * y * y + 1) % p
    # The candidate root of u/v, then times sqrt(-1) if that gives it.
    v3 = v * v * v % p
    x = u * v3 * pow(u * v3 * v3 * v % p, (p - 5) // 8, p) % p
    if (v * x * x - u) % p:
        if (v * x * x + u) % p:
            return None
        x = x * pow(2, (p - 1) // 4, p) % p
    if not x and sign:
        return None
    return (p - x if x & 1 != sign else x), y


def _expand(seed):
    h = Sha512(seed).digest()
    return int.from_bytes(h[:32], "little") & ((1 << 254) - 8) | 1 << 254, h[32:]


def public(seed):
    """The public key, 32 bytes, of a 32-byte seed."""
    return _encode(kernels.ed_base(_expand(seed)[0] % _L))


def sign(seed, msg):
    """The signature, 64 bytes. RFC 8032, 5.1.6."""
    s, prefix = _expand(seed)
    a = _encode(kernels.ed_base(s % _L))
    r = int.from_bytes(Sha512(prefix + msg).digest(), "little") % _L
    rr = _encode(kernels.ed_base(r))
    k = int.from_bytes(Sha512(rr + a + msg).digest(), "little") % _L
    return rr + ((r + k * s) % _L).to_bytes(32, "little")


def verify(public_key, msg, sig):
    """True if sig signs msg. RFC 8032, 5.1.7, without the cofactor."""
    if len(public_key) != 32 or len(sig) != 64:
        return False
    s = int.from_bytes(sig[32:], "little")
    # "If ... the integer S is in the range 0 <= s < L; otherwise, the signature is invalid."
    if s >= _L:
        return False
    a = _decode(public_key)
    if a is None:
        return False
    r = bytes(sig[:32])
    k = int.from_bytes(Sha512(r + bytes(public_key) + bytes(msg)).digest(), "little") % _L
    # s B - k A has to be R, byte for byte.
    return _encode(kernels.ed_dual(s, k, P25519 - a[0], a[1])) == r
