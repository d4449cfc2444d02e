"""HMAC (RFC 2104, FIPS 198-1) over any hash class of `sha2`.

tag = hmac(Sha256, key, data)
h = Hmac(Sha256, key);  h.update(data);  h.copy();  h.digest()
"""


def _pads(hash_class, key):
    """The key as the inner and the outer first block."""
    size = hash_class.block_size
    if len(key) > size:
        key = hash_class.of(key)
    # By one big exclusive or: a loop over bytes costs 50 us in bytecode.
    k = int.from_bytes(bytes(key) + bytes(size - len(key)), "big")
    inner, outer = _PADS[size]
    return (k ^ inner).to_bytes(size, "big"), (k ^ outer).to_bytes(size, "big")


_PADS = {
    n: (int.from_bytes(b"\x36" * n, "big"), int.from_bytes(b"\x5c" * n, "big")) for n in (64, 128)
}


class Hmac:
    """Incremental HMAC. The two keyed states are kept, so `copy` costs no hashing of the key."""

    def __init__(self, hash_class, key, data=b"", like=None):
        """like: an Hmac to copy, instead of a class and a key."""
        if like is not None:
            self._inner = like._inner.copy()
            self._outer = like._outer.copy()
            return
        inner, outer = _pads(hash_class, key)
        self._inner = hash_class(inner)
        self._outer = hash_class(outer)
        if len(data):
            self._inner.update(data)

    def update(self, data):
        self._inner.update(data)

    def digest(self):
        """The tag of what came so far; more may follow."""
        h = self._outer.copy()
        h.update(self._inner.digest())
        return h.digest()

    def copy(self):
        return Hmac(None, b"", b"", self)


def hmac(hash_class, key, data):
    """The tag, bytes(hash_class.digest_size)."""
    inner, outer = _pads(hash_class, key)
    return hash_class.of(outer + hash_class.of(inner + data))
