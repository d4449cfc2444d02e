"""SHA-1 (FIPS 180-4), for what still names things by it: OCSP's CertID, NSEC3's hashed names,
WebSocket's handshake. Never for a signature.

MicroPython has it in hashlib only with another TLS built in. In viper, without a tier in
machine code: nothing here is bulk.
"""

import micropython

from stack.crypto.sha2 import _Hash

# H(0) of section 5.3.1, each word as the machine has it.
_INITIAL = (
    b"\x01\x23\x45\x67\x89\xab\xcd\xef\xfe\xdc\xba\x98\x76\x54\x32\x10\xf0\xe1\xd2\xc3"
)


class Sha1(_Hash):
    name = "sha1"
    digest_size = 20
    block_size = 64
    _iv = _INITIAL

    @staticmethod
    def _compress(state, buf, off, blocks):
        words = bytearray(320)
        for i in range(off, off + 64 * blocks, 64):
            _schedule(words, buf, i)
            _compress(state, words)

    @classmethod
    def _finish(cls, state, buf, off, n, total):
        """The digest of a state and n bytes more, padded (section 5.1.1); words are big-endian."""
        rest = bytes(memoryview(buf)[off : off + n]) + b"\x80" + bytes(-(n + 9) % 64)
        rest += (8 * total).to_bytes(8, "big")
        state = bytearray(state)
        cls._compress(state, rest, 0, len(rest) >> 6)
        return bytes([state[i ^ 3] for i in range(20)])


def sha1(data):
    """The hash, 20 bytes."""
    return Sha1.of(data)


@micropython.viper
def _schedule(words, data, off: int):
    w = ptr32(words)
    p = ptr8(data)
    t = 0
    while t < 16:
        w[t] = p[off] << 24 | p[off + 1] << 16 | p[off + 2] << 8 | p[off + 3]
        off += 4
        t += 1
    while t < 80:
        x = (w[t - 3] ^ w[t - 8] ^ w[t - 14] ^ w[t - 16]) & 0xFFFFFFFF
        w[t] = (x << 1 | x >> 31) & 0xFFFFFFFF
        t += 1


@micropython.viper
def _compress(state, words):
    h = ptr32(state)
    w = ptr32(words)
    a = h[0] & 0xFFFFFFFF
    b = h[1] & 0xFFFFFFFF
    c = h[2] & 0xFFFFFFFF
    d = h[3] & 0xFFFFFFFF
    e = h[4] & 0xFFFFFFFF
    t = 0
    while t < 80:
        if t < 20:
            f = (d ^ (b & (c ^ d))) + 0x5A827999
        elif t < 40:
            f = (b ^ c ^ d) + 0x6ED9EBA1
        elif t < 60:
            f = (b & c | d & (b | c)) + 0x8F1BBCDC
        else:
            f = (b ^ c ^ d) + 0xCA62C1D6
        f += (a << 5 | a >> 27) + e + (w[t] & 0xFFFFFFFF)
        e = d
        d = c
        c = (b << 30 | b >> 2) & 0xFFFFFFFF
        b = a
        a = f & 0xFFFFFFFF
        t += 1
    h[0] = (h[0] + a) & 0xFFFFFFFF
    h[1] = (h[1] + b) & 0xFFFFFFFF
    h[2] = (h[2] + c) & 0xFFFFFFFF
    h[3] = (h[3] + d) & 0xFFFFFFFF
    h[4] = (h[4] + e) & 0xFFFFFFFF
