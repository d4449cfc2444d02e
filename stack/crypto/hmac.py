"""HMAC (RFC 2104, FIPS 198-1) over any hash class of `sha2`.

tag = hmac(Sha256, key, data)
h = Hmac(Sha256, key);  h.update(data);  h.copy();  h.digest()
"""

from stack.crypto import kernels
from stack.crypto.bytesops import hmac_pads


class Hmac:
    """Incremental HMAC. The two keyed states are kept, so `copy` costs no hashing of the key."""

    def __init__(self, hash_class, key, data=b"", like=None):
        """like: an Hmac to copy, instead of a class and a key."""
        if like is not None:
            self._inner = like._inner.copy()
            self._outer = like._outer.copy()
            return
        if len(key) > hash_class.block_size:
            key = hash_class.of(key)
        inner, outer = hmac_pads(hash_class.block_size, key)
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
    if len(key) > hash_class.block_size:
        key = hash_class.of(key)
    return kernels.hmac(hash_class, key, data)
