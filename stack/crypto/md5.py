"""MD5 (RFC 1321): HTTP's Digest and old protocols name things by it. Never for anything secret.

MicroPython has it in hashlib only with another TLS built in. In viper: nothing here is bulk.
"""

import math
import struct

import micropython

from stack.crypto.sha2 import _Hash

# Section 3.4: T[i] is the integer part of 4294967296 * abs(sin(i)); the rotations by rounds.
_T = struct.pack("<64I", *[int(abs(math.sin(i + 1)) * 4294967296) for i in range(64)])
_S = bytes([7, 12, 17, 22] * 4 + [5, 9, 14, 20] * 4 + [4, 11, 16, 23] * 4 + [6, 10, 15, 21] * 4)


class Md5(_Hash):
    name = "md5"
    digest_size = 16
    block_size = 64
    _iv = b"\x01\x23\x45\x67\x89\xab\xcd\xef\xfe\xdc\xba\x98\x76\x54\x32\x10"

    @staticmethod
    def _compress(state, buf, off, blocks):
        block = bytearray(64)  # words on a boundary, wherever buf's lie
        for i in range(off, off + 64 * blocks, 64):
            block[:] = memoryview(buf)[i : i + 64]
            _compress(state, block, _T, _S)

    @classmethod
    def _finish(cls, state, buf, off, n, total):
        """The digest of a state and n bytes more, padded (sections 3.1 and 3.2)."""
        rest = bytes(memoryview(buf)[off : off + n]) + b"\x80" + bytes(-(n + 9) % 64)
        rest += (8 * total).to_bytes(8, "little")
        state = bytearray(state)
        cls._compress(state, rest, 0, len(rest) >> 6)
        return bytes(state)


@micropython.viper
def _compress(state, block, t, s):
    """Section 3.4, the 64 steps of the four rounds."""
    h = ptr32(state)
    x = ptr32(block)
    T = ptr32(t)
    S = ptr8(s)
    M = 0xFFFFFFFF
    a = h[0] & M
    b = h[1] & M
    c = h[2] & M
    d = h[3] & M
    i = 0
    while i < 64:
        if i < 16:
            f = d ^ (b & (c ^ d))
            k = i
        elif i < 32:
            f = c ^ (d & (b ^ c))
            k = 5 * i + 1 & 15
        elif i < 48:
            f = b ^ c ^ d
            k = 3 * i + 5 & 15
        else:
            f = c ^ (b | (d ^ M))
            k = 7 * i & 15
        f = (f + a + (T[i] & M) + (x[k] & M)) & M
        a = d
        d = c
        c = b
        n = S[i]
        b = (b + (f << n | f >> (32 - n))) & M
        i += 1
    h[0] = (h[0] + a) & M
    h[1] = (h[1] + b) & M
    h[2] = (h[2] + c) & M
    h[3] = (h[3] + d) & M
