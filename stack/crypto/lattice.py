"""Polynomials of ML-KEM (FIPS 203): 256 coefficients mod 3329, 16 bits each, in a bytearray(512).

    ntt(f), intt(f)        in place, between coefficients and the transform's 128 pairs
    basemul(acc, a, b)     acc += a * b, in the transformed domain
    sample_ntt(f, seed)    drawn from 34 bytes by SHAKE128; sample_cbd: 33, SHAKE256
    add, sub_from, encode, decode, compress, decompress

The same functions serve as the plain and the viper tier. All take a time that
does not depend on the coefficients, but for `reject`, which sees public bytes.
Reduction: t - (t * ceil(2^36 / q) >> 36) * q is t mod q for any t below 2^25.
"""

import micropython
from micropython import const

Q = const(3329)


def _zetas():
    """17^BitRev7(i) (FIPS 203, 4.3), and 17^(2 BitRev7(i) + 1), as 16-bit words."""
    zetas = bytearray(256)
    gammas = bytearray(256)
    for i in range(128):
        r = 0
        for j in range(7):
            r |= (i >> j & 1) << (6 - j)
        z = pow(17, r, 3329)
        g = z * z * 17 % 3329
        zetas[2 * i] = z & 255
        zetas[2 * i + 1] = z >> 8
        gammas[2 * i] = g & 255
        gammas[2 * i + 1] = g >> 8
    return zetas, gammas


_tables = []


def zetas():
    """(the powers of 17 for the transforms, those for basemul): 128 words of 16 bits each."""
    if not _tables:
        _tables.extend(_zetas())
    return _tables


@micropython.viper
def _ntt(poly, zetas):
    f = ptr16(poly)
    z = ptr16(zetas)
    k = 1
    n = 128
    while n >= 2:
        start = 0
        while start < 256:
            zeta = int(z[k])
            k += 1
            j = start
            end = start + n
            while j < end:
                t = zeta * int(f[j + n])
                t -= (t * 20642679 >> 36) * 3329
                a = int(f[j])
                u = a + t - 3329
                f[j] = u + (3329 & (u >> 31))
                a -= t
                f[j + n] = a + (3329 & (a >> 31))
                j += 1
            start = end + n
        n >>= 1


@micropython.viper
def _intt(poly, zetas):
    f = ptr16(poly)
    z = ptr16(zetas)
    k = 127
    n = 2
    while n <= 128:
        start = 0
        while start < 256:
            zeta = int(z[k])
            k -= 1
            j = start
            end = start + n
            while j < end:
                a = int(f[j])
                b = int(f[j + n])
                u = a + b - 3329
                f[j] = u + (3329 & (u >> 31))
                t = zeta * (b - a + 3329)
                f[j + n] = t - (t * 20642679 >> 36) * 3329
                j += 1
            start = end + n
        n <<= 1
    j = 0
    while j < 256:
        t = int(f[j]) * 3303  # 1/128
        f[j] = t - (t * 20642679 >> 36) * 3329
        j += 1


@micropython.viper
def _basemul(acc, a_, b_, gammas):
    o = ptr16(acc)
    a = ptr16(a_)
    b = ptr16(b_)
    g = ptr16(gammas)
    i = 0
    while i < 256:
        a0 = int(a[i])
        a1 = int(a[i + 1])
        b0 = int(b[i])
        b1 = int(b[i + 1])
        t = a1 * b1
        t -= (t * 20642679 >> 36) * 3329
        t = t * int(g[i >> 1])
        t -= (t * 20642679 >> 36) * 3329
        t += a0 * b0 + int(o[i])
        o[i] = t - (t * 20642679 >> 36) * 3329
        t = a0 * b1 + a1 * b0 + int(o[i + 1])
        o[i + 1] = t - (t * 20642679 >> 36) * 3329
        i += 2


def ntt(poly):
    """FIPS 203, algorithm 9."""
    _ntt(poly, zetas()[0])


def intt(poly):
    """FIPS 203, algorithm 10."""
    _intt(poly, zetas()[0])


def basemul(acc, a, b):
    """acc += a * b, transformed. FIPS 203, algorithms 11 and 12."""
    _basemul(acc, a, b, zetas()[1])


@micropython.viper
def add(acc, other):
    """acc += other."""
    f = ptr16(acc)
    g = ptr16(other)
    i = 0
    while i < 256:
        u = int(f[i]) + int(g[i]) - 3329
        f[i] = u + (3329 & (u >> 31))
        i += 1


@micropython.viper
def sub_from(acc, other):
    """acc = other - acc."""
    f = ptr16(acc)
    g = ptr16(other)
    i = 0
    while i < 256:
        u = int(g[i]) - int(f[i])
        f[i] = u + (3329 & (u >> 31))
        i += 1


@micropython.viper
def reject(poly, have: int, data, n: int) -> int:
    """SampleNTT's step (FIPS 203, algorithm 7): take coefficients from n bytes. Their count."""
    f = ptr16(poly)
    p = ptr8(data)
    i = 0
    while i < n:
        d = p[i] | (p[i + 1] & 15) << 8
        if d < 3329:
            f[have] = d
            have += 1
            if have == 256:
                return have
        d = p[i + 1] >> 4 | p[i + 2] << 4
        if d < 3329:
            f[have] = d
            have += 1
            if have == 256:
                return have
        i += 3
    return have


@micropython.viper
def cbd2(poly, data):
    """SamplePolyCBD with eta 2 from 128 bytes. FIPS 203, algorithm 8."""
    f = ptr16(poly)
    p = ptr8(data)
    i = 0
    while i < 128:
        b = p[i]
        b = (b & 0x55) + (b >> 1 & 0x55)  # four sums of two bits
        u = (b & 3) - (b >> 2 & 3)
        f[2 * i] = u + (3329 & (u >> 31))
        u = (b >> 4 & 3) - (b >> 6 & 3)
        f[2 * i + 1] = u + (3329 & (u >> 31))
        i += 1


def sample_ntt(poly, seed):
    """A uniform polynomial, transformed, from a public seed. FIPS 203, algorithm 7."""
    from stack.crypto.keccak import Shake128  # which needs the kernels, and they need this file

    xof = Shake128(seed)
    have = reject(poly, 0, xof.read(504), 504)  # three blocks: enough mostly
    while have < 256:
        have = reject(poly, have, xof.read(168), 168)


def sample_cbd(poly, seed):
    """A polynomial of small coefficients. FIPS 203, 4.3: PRF, then CBD with eta 2."""
    from stack.crypto.keccak import Shake256

    cbd2(poly, Shake256(seed).read(128))


@micropython.viper
def encode(out, off: int, poly, bits: int):
    """ByteEncode: each coefficient's low `bits` bits, little-endian. FIPS 203, algorithm 5."""
    o = ptr8(out)
    f = ptr16(poly)
    acc = 0
    have = 0
    i = 0
    while i < 256:
        acc |= int(f[i]) << have
        have += bits
        while have >= 8:
            o[off] = acc & 255
            off += 1
            acc >>= 8
            have -= 8
        i += 1


@micropython.viper
def decode(poly, data, off: int, bits: int) -> int:
    """ByteDecode (FIPS 203, algorithm 6). The largest coefficient read."""
    f = ptr16(poly)
    p = ptr8(data)
    mask = (1 << bits) - 1
    acc = 0
    have = 0
    top = 0
    i = 0
    while i < 256:
        while have < bits:
            acc |= p[off] << have
            off += 1
            have += 8
        d = acc & mask
        acc >>= bits
        have -= bits
        f[i] = d
        if d > top:
            top = d
        i += 1
    return top


@micropython.viper
def compress(poly, bits: int):
    """Each x becomes round(2^bits x / q) mod 2^bits. FIPS 203, 4.2.1. Division would leak."""
    f = ptr16(poly)
    mask = (1 << bits) - 1
    i = 0
    while i < 256:
        f[i] = (((int(f[i]) << bits) + 1664) * 20642679 >> 36) & mask
        i += 1


@micropython.viper
def decompress(poly, bits: int):
    """Each y becomes round(q y / 2^bits). FIPS 203, 4.2.1."""
    f = ptr16(poly)
    half = 1 << (bits - 1)
    i = 0
    while i < 256:
        f[i] = (int(f[i]) * 3329 + half) >> bits
        i += 1
