"""The kernels in viper: MicroPython's own machine code, 10 to 20 times faster than bytecode.

They stand in where the assembled tier cannot run. The same source runs as plain
Python on CPython, so every sum and shift that could pass 32 or 64 bits is masked.
Curves and RSA stay with plain integers.

Not constant-time: AES and GHASH look up tables by secret bytes.
"""

import struct

import micropython

from stack.crypto.bytesops import equal_at
from stack.crypto.plain import (
    GHASH_RED,
    K256,
    K512,
    KECCAK_DEST,
    KECCAK_RC,
    KECCAK_ROT,
    aes_block,
    aes_expand,
    aes_tables,
    chacha_state,
    finish,
    ghash_table,
)  # fmt: skip

_K256 = struct.pack("<64I", *K256)
_K512 = struct.pack("<80Q", *K512)
_W = bytearray(640)  # the message schedule; nothing here is entered twice
_M64 = 0xFFFFFFFFFFFFFFFF


@micropython.viper
def _sha256(state, constants, schedule, buf, off: int, blocks: int):
    H = ptr32(state)
    K = ptr32(constants)
    W = ptr32(schedule)
    B = ptr8(buf)
    M = uint(0xFFFFFFFF)
    while blocks:
        i = 0
        while i < 16:
            W[i] = B[off] << 24 | B[off + 1] << 16 | B[off + 2] << 8 | B[off + 3]
            i += 1
            off += 4
        while i < 64:
            # A word beside itself: a shift of it is a rotation.
            x = uint(W[i - 15])
            x |= x << 32
            y = uint(W[i - 2])
            y |= y << 32
            s0 = (x >> 7 ^ x >> 18 ^ (x & M) >> 3) & M
            s1 = (y >> 17 ^ y >> 19 ^ (y & M) >> 10) & M
            W[i] = int((uint(W[i - 16]) + uint(W[i - 7]) + s0 + s1) & M)
            i += 1
        a = uint(H[0])
        b = uint(H[1])
        c = uint(H[2])
        d = uint(H[3])
        e = uint(H[4])
        f = uint(H[5])
        g = uint(H[6])
        h = uint(H[7])
        i = 0
        while i < 64:
            x = e | e << 32
            t = (
                h
                + ((x >> 6 ^ x >> 11 ^ x >> 25) & M)
                + (g ^ (e & (f ^ g)))
                + uint(K[i])
                + uint(W[i])
            )
            x = a | a << 32
            u = ((x >> 2 ^ x >> 13 ^ x >> 22) & M) + ((a & b) | (c & (a | b)))
            h = g
            g = f
            f = e
            e = (d + t) & M
            d = c
            c = b
            b = a
            a = (t + u) & M
            i += 1
        H[0] = int((uint(H[0]) + a) & M)
        H[1] = int((uint(H[1]) + b) & M)
        H[2] = int((uint(H[2]) + c) & M)
        H[3] = int((uint(H[3]) + d) & M)
        H[4] = int((uint(H[4]) + e) & M)
        H[5] = int((uint(H[5]) + f) & M)
        H[6] = int((uint(H[6]) + g) & M)
        H[7] = int((uint(H[7]) + h) & M)
        blocks -= 1


def sha256(state, buf, off, blocks):
    _sha256(state, _K256, _W, buf, off, blocks)


def sha256_finish(state, buf, off, n, total):
    return finish("I", 64, sha256, state, buf, off, n, total)


@micropython.viper
def _sha512(state, constants, schedule, buf, off: int, blocks: int, M: uint):
    H = ptr32(state)
    K = ptr32(constants)
    W = ptr32(schedule)
    B = ptr8(buf)
    L = uint(0xFFFFFFFF)
    while blocks:
        i = 0
        while i < 32:
            # Words are kept low half first.
            W[i ^ 1] = B[off] << 24 | B[off + 1] << 16 | B[off + 2] << 8 | B[off + 3]
            i += 1
            off += 4
        while i < 160:
            x = uint(W[i - 30]) | uint(W[i - 29]) << 32
            y = uint(W[i - 4]) | uint(W[i - 3]) << 32
            s0 = (x >> 1 | x << 63) ^ (x >> 8 | x << 56) ^ x >> 7
            s1 = (y >> 19 | y << 45) ^ (y >> 61 | y << 3) ^ y >> 6
            t = (uint(W[i - 32]) | uint(W[i - 31]) << 32) + (
                uint(W[i - 14]) | uint(W[i - 13]) << 32
            )
            t = (t + (s0 & M) + (s1 & M)) & M
            W[i] = int(t & L)
            W[i + 1] = int(t >> 32)
            i += 2
        a = uint(H[0]) | uint(H[1]) << 32
        b = uint(H[2]) | uint(H[3]) << 32
        c = uint(H[4]) | uint(H[5]) << 32
        d = uint(H[6]) | uint(H[7]) << 32
        e = uint(H[8]) | uint(H[9]) << 32
        f = uint(H[10]) | uint(H[11]) << 32
        g = uint(H[12]) | uint(H[13]) << 32
        h = uint(H[14]) | uint(H[15]) << 32
        i = 0
        while i < 160:
            t = (e >> 14 | e << 50) ^ (e >> 18 | e << 46) ^ (e >> 41 | e << 23)
            t = h + (t & M) + (g ^ (e & (f ^ g)))
            t += (uint(K[i]) | uint(K[i + 1]) << 32) + (uint(W[i]) | uint(W[i + 1]) << 32)
            u = (a >> 28 | a << 36) ^ (a >> 34 | a << 30) ^ (a >> 39 | a << 25)
            u = (u & M) + ((a & b) | (c & (a | b)))
            h = g
            g = f
            f = e
            e = (d + t) & M
            d = c
            c = b
            b = a
            a = (t + u) & M
            i += 2
        i = 0
        while i < 16:
            # One word at a time, from a to h.
            t = (uint(H[i]) | uint(H[i + 1]) << 32) + a
            H[i] = int(t & L)
            H[i + 1] = int(t >> 32 & L)
            a = b
            b = c
            c = d
            d = e
            e = f
            f = g
            g = h
            i += 2
        blocks -= 1


def sha512(state, buf, off, blocks):
    _sha512(state, _K512, _W, buf, off, blocks, _M64)


def sha512_finish(state, buf, off, n, total):
    return finish("Q", 128, sha512, state, buf, off, n, total)


_RC = struct.pack("<24Q", *KECCAK_RC)
_ROT = bytes(KECCAK_ROT)
_DEST = bytes(KECCAK_DEST)


@micropython.viper
def _keccak(state, scratch, rcs, rots, dests, M: uint):
    A = ptr32(state)
    B = ptr32(scratch)
    RC = ptr32(rcs)
    R = ptr8(rots)
    D = ptr8(dests)
    L = uint(0xFFFFFFFF)
    n = 0
    while n < 24:
        # Column parities to B[50..59].
        i = 0
        while i < 10:
            B[50 + i] = A[i] ^ A[i + 10] ^ A[i + 20] ^ A[i + 30] ^ A[i + 40]
            i += 1
        x = 0
        while x < 5:
            i = 50 + (x + 1) % 5 * 2
            t = uint(B[i]) | uint(B[i + 1]) << 32
            t = (t << 1 | t >> 63) & M
            i = 50 + (x + 4) % 5 * 2
            t ^= uint(B[i]) | uint(B[i + 1]) << 32
            i = x
            while i < 25:
                u = (uint(A[2 * i]) | uint(A[2 * i + 1]) << 32) ^ t
                r = R[i]
                if r:
                    u = (u << r | u >> (64 - r)) & M
                j = 2 * D[i]
                B[j] = int(u & L)
                B[j + 1] = int(u >> 32)
                i += 5
            x += 1
        y = 0
        while y < 50:
            x = 0
            while x < 10:
                i = y + x
                j = x + 2
                if j >= 10:
                    j -= 10
                k = j + 2
                if k >= 10:
                    k -= 10
                A[i] = B[i] ^ (int(uint(B[y + j]) ^ L) & B[y + k])
                x += 1
            y += 10
        A[0] = A[0] ^ RC[2 * n]
        A[1] = A[1] ^ RC[2 * n + 1]
        n += 1


def keccak_f(state):
    _keccak(state, _W, _RC, _ROT, _DEST, _M64)


# ChaCha20 and Poly1305


@micropython.viper
def _chacha(initial, work):
    """One block's key stream, 16 words, to `work`; the counter goes on."""
    S = ptr32(initial)
    X = ptr32(work)
    M = uint(0xFFFFFFFF)
    i = 0
    while i < 16:
        X[i] = S[i]
        i += 1
    n = 0
    while n < 80:
        # Quarter n & 7 of a double round: columns for the first four, then diagonals.
        q = n & 3
        turn = n >> 2 & 1
        ib = 4 + (q + turn & 3)
        ic = 8 + (q + 2 * turn & 3)
        id = 12 + (q + 3 * turn & 3)
        a = uint(X[q])
        b = uint(X[ib])
        c = uint(X[ic])
        d = uint(X[id])
        a = (a + b) & M
        d ^= a
        d = (d << 16 | d >> 16) & M
        c = (c + d) & M
        b ^= c
        b = (b << 12 | b >> 20) & M
        a = (a + b) & M
        d ^= a
        d = (d << 8 | d >> 24) & M
        c = (c + d) & M
        b ^= c
        b = (b << 7 | b >> 25) & M
        X[q] = int(a)
        X[ib] = int(b)
        X[ic] = int(c)
        X[id] = int(d)
        n += 1
    i = 0
    while i < 16:
        X[i] = int((uint(X[i]) + uint(S[i])) & M)
        i += 1
    S[12] = int((uint(S[12]) + uint(1)) & M)


@micropython.viper
def _xor(buf, off: int, stream, n: int):
    b = ptr8(buf)
    s = ptr8(stream)
    i = 0
    while i < n:
        b[off + i] = b[off + i] ^ s[i]
        i += 1


def _chacha20(state, buf, off, n):
    stream = bytearray(64)
    while n > 0:
        _chacha(state, stream)
        _xor(buf, off, stream, min(n, 64))
        off += 64
        n -= 64


@micropython.viper
def _poly(hs, rs, buf, off: int, n: int):
    """h = (h + block) r for each 16 bytes of buf, the last filled up with zeros."""
    H = ptr32(hs)
    R = ptr32(rs)
    B = ptr8(buf)
    M = 0x3FFFFFF
    h0 = int(H[0])
    h1 = int(H[1])
    h2 = int(H[2])
    h3 = int(H[3])
    h4 = int(H[4])
    r0 = int(R[0])
    r1 = int(R[1])
    r2 = int(R[2])
    r3 = int(R[3])
    r4 = int(R[4])
    while n > 0:
        lo = 0
        hi = 0
        i = 0
        while i < 8:
            if i < n:
                lo |= B[off + i] << 8 * i if i < 7 else 0
            if i + 8 < n:
                hi |= B[off + 8 + i] << 8 * i if i < 7 else 0
            i += 1
        # The eighth bytes apart: a shift by 56 would reach the sign.
        t7 = B[off + 7] if n > 7 else 0
        t15 = B[off + 15] if n > 15 else 0
        h0 += lo & M
        h1 += lo >> 26 & M
        h2 += (lo >> 52 | t7 << 4 | (hi & 0x3FFF) << 12) & M
        h3 += hi >> 14 & M
        h4 += hi >> 40 | t15 << 16 | 1 << 24
        off += 16
        n -= 16
        d0 = h0 * r0 + 5 * (h1 * r4 + h2 * r3 + h3 * r2 + h4 * r1)
        d1 = h0 * r1 + h1 * r0 + 5 * (h2 * r4 + h3 * r3 + h4 * r2)
        d2 = h0 * r2 + h1 * r1 + h2 * r0 + 5 * (h3 * r4 + h4 * r3)
        d3 = h0 * r3 + h1 * r2 + h2 * r1 + h3 * r0 + 5 * (h4 * r4)
        d4 = h0 * r4 + h1 * r3 + h2 * r2 + h3 * r1 + h4 * r0
        d1 += d0 >> 26
        h0 = d0 & M
        d2 += d1 >> 26
        h1 = d1 & M
        d3 += d2 >> 26
        h2 = d2 & M
        d4 += d3 >> 26
        h3 = d3 & M
        h0 += (d4 >> 26) * 5
        h4 = d4 & M
        h1 += h0 >> 26
        h0 &= M
    H[0] = h0
    H[1] = h1
    H[2] = h2
    H[3] = h3
    H[4] = h4


def _chapoly_tag(key, nonce, aad, buf, off, n):
    state = bytearray(chacha_state(key, 0, nonce))
    first = bytearray(64)
    _chacha(state, first)
    r = int.from_bytes(first[:16], "little") & 0x0FFFFFFC0FFFFFFC0FFFFFFC0FFFFFFF
    rs = struct.pack("<5I", *[r >> 26 * i & 0x3FFFFFF for i in range(5)])
    hs = bytearray(20)
    _poly(hs, rs, aad, 0, len(aad))
    _poly(hs, rs, buf, off, n)
    _poly(hs, rs, struct.pack("<QQ", len(aad), n), 0, 16)
    h = 0
    for i, limb in enumerate(struct.unpack("<5I", hs)):
        h += limb << 26 * i
    h = h % ((1 << 130) - 5) + int.from_bytes(first[16:32], "little")
    return (h & (1 << 128) - 1).to_bytes(16, "little"), state


def chapoly_seal(key, nonce, aad, buf, off, n):
    nonce = bytes(nonce)
    _chacha20(bytearray(chacha_state(key, 1, nonce)), buf, off, n)
    buf[off + n : off + n + 16] = _chapoly_tag(key, nonce, aad, buf, off, n)[0]


def chapoly_open(key, nonce, aad, buf, off, n):
    tag, state = _chapoly_tag(key, bytes(nonce), aad, buf, off, n)
    if not equal_at(tag, 0, buf, off + n, 16):
        return False
    _chacha20(state, buf, off, n)  # which counts from 1 now
    return True


# AES-GCM


def _aes_words():
    sbox, te = aes_tables()
    return sbox, struct.pack("<256I", *te)


_SBOX, _TE = _aes_words()
_RED = struct.pack("<256H", *GHASH_RED)


@micropython.viper
def _aes(keys, last: int, te, sbox, block, out):
    """One block of four words. `last` is the index of the last round's first key word."""
    K = ptr32(keys)
    T = ptr32(te)
    S = ptr8(sbox)
    B = ptr32(block)
    O = ptr32(out)
    M = uint(0xFFFFFFFF)
    a = uint(B[0]) ^ uint(K[0])
    b = uint(B[1]) ^ uint(K[1])
    c = uint(B[2]) ^ uint(K[2])
    d = uint(B[3]) ^ uint(K[3])
    r = 4
    while r < last:
        i = 0
        while i < 4:
            x = uint(T[int(a & uint(255))])
            y = uint(T[int(b >> 8 & uint(255))])
            x ^= y << 8 | y >> 24
            y = uint(T[int(c >> 16 & uint(255))])
            x ^= y << 16 | y >> 16
            y = uint(T[int(d >> 24)])
            x ^= y << 24 | y >> 8
            O[i] = int((x ^ uint(K[r])) & M)
            # The next column starts one further on.
            x = a
            a = b
            b = c
            c = d
            d = x
            i += 1
            r += 1
        a = uint(O[0])
        b = uint(O[1])
        c = uint(O[2])
        d = uint(O[3])
    i = 0
    while i < 4:
        y = uint(S[int(a & uint(255))]) | uint(S[int(b >> 8 & uint(255))]) << 8
        y |= uint(S[int(c >> 16 & uint(255))]) << 16 | uint(S[int(d >> 24)]) << 24
        O[i] = int(y ^ uint(K[r]))
        x = a
        a = b
        b = c
        c = d
        d = x
        i += 1
        r += 1


@micropython.viper
def _ghash(y, table, red, buf, off: int, n: int, M: uint):
    """Fold n bytes, the last block filled up with zeros, into y. A byte at a time (Shoup)."""
    Y = ptr8(y)
    T = ptr32(table)
    R = ptr16(red)
    B = ptr8(buf)
    while n > 0:
        hi = uint(0)
        lo = uint(0)
        i = 15
        while i >= 0:
            b = int(Y[i])
            if i < n:
                b ^= int(B[off + i])
            r = uint(R[int(lo & uint(255))])
            lo = (lo >> 8 | hi << 56) & M
            hi = hi >> 8 ^ r << 48
            b <<= 2
            hi ^= uint(T[b]) | uint(T[b + 1]) << 32
            lo ^= uint(T[b + 2]) | uint(T[b + 3]) << 32
            i -= 1
        i = 7
        while i >= 0:
            Y[i] = int(hi & uint(255))
            Y[8 + i] = int(lo & uint(255))
            hi >>= 8
            lo >>= 8
            i -= 1
        off += 16
        n -= 16


class _Gcm:
    def __init__(self, key):
        w = aes_expand(key)
        self.last = len(w) - 4
        self.keys = struct.pack("<%dI" % len(w), *w)
        table = bytearray(4096)
        for i, v in enumerate(ghash_table(int.from_bytes(aes_block(w, bytes(16)), "big"))):
            struct.pack_into("<QQ", table, 16 * i, v >> 64, v & _M64)
        self.table = table

    def block(self, counter, out):
        _aes(self.keys, self.last, _TE, _SBOX, counter, out)

    def ctr(self, nonce, buf, off, n):
        counter = bytearray(nonce + b"\0\0\0\1")
        stream = bytearray(16)
        i = 1
        while n > 0:
            i += 1
            struct.pack_into(">I", counter, 12, i)
            self.block(counter, stream)
            _xor(buf, off, stream, min(n, 16))
            off += 16
            n -= 16

    def tag(self, nonce, aad, buf, off, n):
        y = bytearray(16)
        lengths = struct.pack(">QQ", 8 * len(aad), 8 * n)
        for data, start, count in ((aad, 0, len(aad)), (buf, off, n), (lengths, 0, 16)):
            _ghash(y, self.table, _RED, data, start, count, _M64)
        first = bytearray(16)
        self.block(nonce + b"\0\0\0\1", first)
        _xor(y, 0, first, 16)
        return y


def gcm_init(key):
    return _Gcm(key)


def gcm_seal(k, nonce, aad, buf, off, n):
    nonce = bytes(nonce)
    k.ctr(nonce, buf, off, n)
    buf[off + n : off + n + 16] = k.tag(nonce, aad, buf, off, n)


def gcm_open(k, nonce, aad, buf, off, n):
    nonce = bytes(nonce)
    if not equal_at(k.tag(nonce, aad, buf, off, n), 0, buf, off + n, 16):
        return False
    k.ctr(nonce, buf, off, n)
    return True
