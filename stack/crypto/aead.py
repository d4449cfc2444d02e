"""The AEADs of TLS 1.3: AES-128-GCM, AES-256-GCM (SP 800-38D), ChaCha20-Poly1305 (RFC 8439).

Each is made from a key and works in place:

    seal(nonce, aad, buf, off, n)          encrypts buf[off:off+n], writes the tag at off+n
    open(nonce, aad, buf, off, n) -> bool  n without the tag, which lies at off+n;
                                           False: wrong tag, and buf is as it was

`nonce` is 12 bytes. The caller sees to it that no nonce is used twice with one key.
The work is done by kernels (`kernels.py`).
"""

from stack.crypto import kernels

TAG_LEN = 16
NONCE_LEN = 12


def _check(nonce, buf, off, n):
    if len(nonce) != 12 or off < 0 or n < 0 or off + n + 16 > len(buf):
        raise ValueError("nonce or bounds")


class _Gcm:
    key_size = 0

    def __init__(self, key):
        if len(key) != self.key_size:
            raise ValueError("key length")
        self._k = kernels.gcm_init(bytes(key))

    def kernels(self):
        """(k, open, seal): called with k first and the bounds right, they are what is below."""
        return self._k, kernels.gcm_open, kernels.gcm_seal

    def seal(self, nonce, aad, buf, off, n):
        _check(nonce, buf, off, n)
        kernels.gcm_seal(self._k, nonce, aad, buf, off, n)

    def open(self, nonce, aad, buf, off, n):
        _check(nonce, buf, off, n)
        return kernels.gcm_open(self._k, nonce, aad, buf, off, n)


class Aes128Gcm(_Gcm):
    key_size = 16


class Aes256Gcm(_Gcm):
    key_size = 32


class ChaCha20Poly1305:
    key_size = 32

    def __init__(self, key):
        if len(key) != 32:
            raise ValueError("key length")
        self._k = kernels.chapoly_init(bytes(key))

    def kernels(self):
        return self._k, kernels.chapoly_open, kernels.chapoly_seal

    def seal(self, nonce, aad, buf, off, n):
        _check(nonce, buf, off, n)
        kernels.chapoly_seal(self._k, nonce, aad, buf, off, n)

    def open(self, nonce, aad, buf, off, n):
        _check(nonce, buf, off, n)
        return kernels.chapoly_open(self._k, nonce, aad, buf, off, n)
