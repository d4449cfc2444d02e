"""HKDF (RFC 5869) and TLS 1.3's labels (RFC 8446, section 7.1)."""

from stack.crypto.hmac import Hmac, hmac


def extract(hash_class, salt, ikm):
    """The pseudorandom key, bytes(digest_size). An empty salt means zeros. RFC 5869, 2.2."""
    return hmac(hash_class, salt, ikm)


def expand(hash_class, prk, info, n):
    """n bytes of key material. ValueError beyond 255 digests. RFC 5869, 2.3."""
    size = hash_class.digest_size
    if n > 255 * size:
        raise ValueError("HKDF output too long")
    if n <= size:
        # Nearly every key of TLS: one block.
        return hmac(hash_class, prk, bytes(info) + b"\x01")[:n]
    keyed = Hmac(hash_class, prk)
    out = b""
    block = b""
    i = 1
    while len(out) < n:
        h = keyed.copy()
        h.update(block)
        h.update(info)
        h.update(bytes((i,)))
        block = h.digest()
        out += block
        i += 1
    return out[:n]


def expand_label(hash_class, secret, label, context, n):
    """HKDF-Expand-Label: `label` without its "tls13 " prefix. RFC 8446, 7.1."""
    label = b"tls13 " + label
    info = bytes((n >> 8, n & 0xFF, len(label))) + label + bytes((len(context),)) + bytes(context)
    return expand(hash_class, secret, info, n)
