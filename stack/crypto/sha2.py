"""SHA-256, SHA-384, SHA-512 (FIPS 180-4), with the `copy` that hashlib lacks here.

    h = Sha256(b"...");  h.update(more);  h.digest()  (goes on after it);  h.copy()

    Sha256.of(data) is Sha256(data).digest(), at less cost

Compression and padding are kernels; this file keeps the state and the block that
is not full yet. A state is eight little-endian words as the machine has them.

Not implemented: SHA-224, SHA-512/t: nothing in TLS 1.3 wants them.
"""

import binascii
import struct

from stack.crypto import kernels


class _Hash:
    _iv = b""
    _order = ""  # struct code of a word: "I" or "Q"
    block_size = 0
    digest_size = 0

    def __init__(self, data=b""):
        self._state = bytearray(self._iv)
        self._block = bytearray(self.block_size)
        self._length = 0  # bytes hashed so far
        if len(data):
            self.update(data)

    def update(self, data):
        """Hash more bytes (bytes, bytearray or memoryview)."""
        size = self.block_size
        fill = self._length % size
        n = len(data)
        self._length += n
        off = 0
        if fill:
            off = size - fill
            if off > n:
                self._block[fill : fill + n] = data
                return
            self._block[fill:size] = memoryview(data)[:off]
            self._compress(self._state, self._block, 0, 1)
        blocks = (n - off) // size
        if blocks:
            self._compress(self._state, data, off, blocks)
            off += blocks * size
        if off < n:
            self._block[: n - off] = memoryview(data)[off:]

    def digest(self):
        """The hash of what came so far, bytes(digest_size)."""
        n = self._length
        out = self._finish(self._state, self._block, 0, n % self.block_size, n)
        return out[: self.digest_size]

    def hexdigest(self):
        """The digest as text."""
        return binascii.hexlify(self.digest()).decode()

    @classmethod
    def of(cls, data):
        """The hash of data at one go."""
        n = len(data)
        return cls._finish(cls._iv, data, 0, n, n)[: cls.digest_size]

    def copy(self):
        """An independent hash that starts from the same state."""
        other = type(self)()
        other._state[:] = self._state
        other._block[:] = self._block
        other._length = self._length
        return other


def _words(code, values):
    return struct.pack("<8" + code, *values)


class Sha256(_Hash):
    name = "sha256"
    digest_size = 32
    block_size = 64
    _order = "I"
    _iv = _words(
        "I",
        (
            0x6A09E667, 0xBB67AE85, 0x3C6EF372, 0xA54FF53A,
            0x510E527F, 0x9B05688C, 0x1F83D9AB, 0x5BE0CD19,
        ),
    )  # fmt: skip

    @staticmethod
    def _compress(state, buf, off, blocks):
        kernels.sha256(state, buf, off, blocks)

    @staticmethod
    def _finish(state, buf, off, n, total):
        return kernels.sha256_finish(state, buf, off, n, total)


class Sha512(_Hash):
    name = "sha512"
    digest_size = 64
    block_size = 128
    _order = "Q"
    _iv = _words(
        "Q",
        (
            0x6A09E667F3BCC908, 0xBB67AE8584CAA73B, 0x3C6EF372FE94F82B, 0xA54FF53A5F1D36F1,
            0x510E527FADE682D1, 0x9B05688C2B3E6C1F, 0x1F83D9ABFB41BD6B, 0x5BE0CD19137E2179,
        ),
    )  # fmt: skip

    @staticmethod
    def _compress(state, buf, off, blocks):
        kernels.sha512(state, buf, off, blocks)

    @staticmethod
    def _finish(state, buf, off, n, total):
        return kernels.sha512_finish(state, buf, off, n, total)


class Sha384(Sha512):
    name = "sha384"
    digest_size = 48
    _iv = _words(
        "Q",
        (
            0xCBBB9D5DC1059ED8, 0x629A292A367CD507, 0x9159015A3070DD17, 0x152FECD8F70E5939,
            0x67332667FFC00B31, 0x8EB44A8768581511, 0xDB0C2E0D64F98FA7, 0x47B5481DBEFA4FA4,
        ),
    )  # fmt: skip


# What kernels.hmac starts from: the initial words, then the digest's length.
for _class in (Sha256, Sha384, Sha512):
    _class.hmac_iv = _class._iv + struct.pack("<Q", _class.digest_size)
