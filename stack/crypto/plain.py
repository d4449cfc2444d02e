"""The kernels in plain Python integers: the reference that the other tiers are tested against.

Not constant-time: look-ups and big integers depend on the data.
"""

import struct

from stack.crypto.bytesops import equal_at, hmac_pads
from stack.crypto.ec import ec_base, ec_dual, ec_invert, ec_mul, ed_base, ed_dual, x25519  # noqa: F401
from stack.crypto.lattice import basemul, intt, ntt, sample_cbd, sample_ntt  # noqa: F401

_M32 = 0xFFFFFFFF
_M64 = 0xFFFFFFFFFFFFFFFF

# SHA-512's constants (FIPS 180-4, 4.2.3): 64 bits of the cube roots of the first 80
# primes. SHA-256's are the upper halves of the first 64.
_K = bytes.fromhex(
    "428a2f98d728ae227137449123ef65cdb5c0fbcfec4d3b2fe9b5dba58189dbbc"
    "3956c25bf348b53859f111f1b605d019923f82a4af194f9bab1c5ed5da6d8118"
    "d807aa98a303024212835b0145706fbe243185be4ee4b28c550c7dc3d5ffb4e2"
    "72be5d74f27b896f80deb1fe3b1696b19bdc06a725c71235c19bf174cf692694"
    "e49b69c19ef14ad2efbe4786384f25e30fc19dc68b8cd5b5240ca1cc77ac9c65"
    "2de92c6f592b02754a7484aa6ea6e4835cb0a9dcbd41fbd476f988da831153b5"
    "983e5152ee66dfaba831c66d2db43210b00327c898fb213fbf597fc7beef0ee4"
    "c6e00bf33da88fc2d5a79147930aa72506ca6351e003826f142929670a0e6e70"
    "27b70a8546d22ffc2e1b21385c26c9264d2c6dfc5ac42aed53380d139d95b3df"
    "650a73548baf63de766a0abb3c77b2a881c2c92e47edaee692722c851482353b"
    "a2bfe8a14cf10364a81a664bbc423001c24b8b70d0f89791c76c51a30654be30"
    "d192e819d6ef5218d69906245565a910f40e35855771202a106aa07032bbd1b8"
    "19a4c116b8d2d0c81e376c085141ab532748774cdf8eeb9934b0bcb5e19b48a8"
    "391c0cb3c5c95a634ed8aa4ae3418acb5b9cca4f7763e373682e6ff3d6b2b8a3"
    "748f82ee5defb2fc78a5636f43172f6084c87814a1f0ab728cc702081a6439ec"
    "90befffa23631e28a4506cebde82bde9bef9a3f7b2c67915c67178f2e372532b"
    "ca273eceea26619cd186b8c721c0c207eada7dd6cde0eb1ef57d4f7fee6ed178"
    "06f067aa72176fba0a637dc5a2c898a6113f9804bef90dae1b710b35131c471b"
    "28db77f523047d8432caab7b40c724933c9ebe0a15c9bebc431d67c49c100d4c"
    "4cc5d4becb3e42b6597f299cfc657e2a5fcb6fab3ad6faec6c44198c4a475817"
)
K512 = struct.unpack(">80Q", _K)
K256 = tuple([k >> 32 for k in K512[:64]])


def sha256(state, buf, off, blocks):
    """Compress `blocks` blocks of 64 bytes into 8 words. FIPS 180-4, 6.2.2."""
    h = list(struct.unpack("<8I", state))
    for _ in range(blocks):
        w = list(struct.unpack_from(">16I", buf, off))
        off += 64
        for i in range(16, 64):
            x = w[i - 15]
            y = w[i - 2]
            x |= x << 32  # twice the word: a shift of it is a rotation
            y |= y << 32
            s0 = x >> 7 ^ x >> 18 ^ (x & _M32) >> 3
            s1 = y >> 17 ^ y >> 19 ^ (y & _M32) >> 10
            w.append((w[i - 16] + s0 + w[i - 7] + s1) & _M32)
        a, b, c, d, e, f, g, hh = h
        for i in range(64):
            x = e | e << 32
            t1 = hh + ((x >> 6 ^ x >> 11 ^ x >> 25) & _M32) + (g ^ e & (f ^ g)) + K256[i] + w[i]
            x = a | a << 32
            t2 = ((x >> 2 ^ x >> 13 ^ x >> 22) & _M32) + (a & b | c & (a | b))
            hh, g, f, e, d, c, b, a = g, f, e, (d + t1) & _M32, c, b, a, (t1 + t2) & _M32
        h = [(x + y) & _M32 for x, y in zip(h, (a, b, c, d, e, f, g, hh))]
    struct.pack_into("<8I", state, 0, *h)


def sha512(state, buf, off, blocks):
    """Compress `blocks` blocks of 128 bytes into 8 words. FIPS 180-4, 6.4.2."""
    h = list(struct.unpack("<8Q", state))
    for _ in range(blocks):
        w = list(struct.unpack_from(">16Q", buf, off))
        off += 128
        for i in range(16, 80):
            x = w[i - 15]
            y = w[i - 2]
            x |= x << 64
            y |= y << 64
            s0 = x >> 1 ^ x >> 8 ^ (x & _M64) >> 7
            s1 = y >> 19 ^ y >> 61 ^ (y & _M64) >> 6
            w.append((w[i - 16] + s0 + w[i - 7] + s1) & _M64)
        a, b, c, d, e, f, g, hh = h
        for i in range(80):
            x = e | e << 64
            t1 = hh + ((x >> 14 ^ x >> 18 ^ x >> 41) & _M64) + (g ^ e & (f ^ g)) + K512[i] + w[i]
            x = a | a << 64
            t2 = ((x >> 28 ^ x >> 34 ^ x >> 39) & _M64) + (a & b | c & (a | b))
            hh, g, f, e, d, c, b, a = g, f, e, (d + t1) & _M64, c, b, a, (t1 + t2) & _M64
        h = [(x + y) & _M64 for x, y in zip(h, (a, b, c, d, e, f, g, hh))]
    struct.pack_into("<8Q", state, 0, *h)


def finish(code, size, compress, state, buf, off, n, total):
    """The end of a hash with any tier's compression."""
    # FIPS 180-4, 5.1: a one bit, zeros, the length in bits as the block's last words.
    room = size >> 3
    left = n % size
    pad = bytearray(size if left < size - room else 2 * size)
    pad[:left] = buf[off + n - left : off + n]
    pad[left] = 0x80
    struct.pack_into(">Q", pad, len(pad) - 8, total << 3)
    state = bytearray(state)
    compress(state, buf, off, n // size)
    compress(state, pad, 0, len(pad) // size)
    return struct.pack(">8" + code, *struct.unpack("<8" + code, state))


def sha256_finish(state, buf, off, n, total):
    """The 8 words, in network order, after n more bytes and the padding for `total` in all."""
    return finish("I", 64, sha256, state, buf, off, n, total)


def sha512_finish(state, buf, off, n, total):
    return finish("Q", 128, sha512, state, buf, off, n, total)


def hmac(hash_class, key, data):
    """HMAC with a key of at most a block."""
    inner, outer = hmac_pads(hash_class.block_size, key)
    return hash_class.of(outer + hash_class.of(inner + bytes(data)))


# Keccak


def _keccak_tables():
    """(round constants, per lane its destination and rotation) by FIPS 202, 3.2.2 to 3.2.5."""
    rc = []
    lfsr = 1
    for _ in range(24):
        c = 0
        for j in range(7):
            if lfsr & 1:
                c |= 1 << ((1 << j) - 1)
            lfsr <<= 1
            if lfsr & 0x100:
                lfsr ^= 0x171
        rc.append(c)
    rot = [0] * 25
    x, y = 1, 0
    for t in range(24):
        rot[x + 5 * y] = (t + 1) * (t + 2) // 2 % 64
        x, y = y, (2 * x + 3 * y) % 5
    dest = [(i // 5) + 5 * ((2 * (i % 5) + 3 * (i // 5)) % 5) for i in range(25)]
    return rc, rot, dest


KECCAK_RC, KECCAK_ROT, KECCAK_DEST = _keccak_tables()


def keccak_f(state):
    """Keccak-f[1600] on 25 little-endian lanes. FIPS 202, 3.3."""
    a = list(struct.unpack("<25Q", state))
    b = [0] * 25
    for rc in KECCAK_RC:
        c = [a[i] ^ a[i + 5] ^ a[i + 10] ^ a[i + 15] ^ a[i + 20] for i in range(5)]
        d = [c[i - 1] ^ (c[(i + 1) % 5] << 1 | c[(i + 1) % 5] >> 63) & _M64 for i in range(5)]
        for i in range(25):
            x = a[i] ^ d[i % 5]
            r = KECCAK_ROT[i]
            b[KECCAK_DEST[i]] = (x << r | x >> (64 - r)) & _M64
        for y in range(0, 25, 5):
            for x in range(5):
                a[y + x] = b[y + x] ^ ~b[y + (x + 1) % 5] & b[y + (x + 2) % 5]
        a[0] ^= rc
    struct.pack_into("<25Q", state, 0, *a)


# ChaCha20 and Poly1305 (RFC 8439)

_QUARTERS = (
    (0, 4, 8, 12), (1, 5, 9, 13), (2, 6, 10, 14), (3, 7, 11, 15),
    (0, 5, 10, 15), (1, 6, 11, 12), (2, 7, 8, 13), (3, 4, 9, 14),
)  # fmt: skip


def chacha_state(key, counter, nonce):
    """The initial state: 16 words. RFC 8439, 2.3."""
    return (
        struct.pack("<4I", 0x61707865, 0x3320646E, 0x79622D32, 0x6B206574)
        + key
        + (struct.pack("<I", counter) + nonce)
    )


def chacha_block(key, counter, nonce):
    """64 bytes of key stream. RFC 8439, 2.3."""
    start = struct.unpack("<16I", chacha_state(key, counter, nonce))
    s = list(start)
    for _ in range(10):
        for a, b, c, d in _QUARTERS:
            s[a] = (s[a] + s[b]) & _M32
            x = s[d] ^ s[a]
            s[d] = x << 16 & _M32 | x >> 16
            s[c] = (s[c] + s[d]) & _M32
            x = s[b] ^ s[c]
            s[b] = x << 12 & _M32 | x >> 20
            s[a] = (s[a] + s[b]) & _M32
            x = s[d] ^ s[a]
            s[d] = x << 8 & _M32 | x >> 24
            s[c] = (s[c] + s[d]) & _M32
            x = s[b] ^ s[c]
            s[b] = x << 7 & _M32 | x >> 25
    return struct.pack("<16I", *[(x + y) & _M32 for x, y in zip(s, start)])


def _xor(buf, off, n, stream):
    x = int.from_bytes(buf[off : off + n], "little") ^ int.from_bytes(stream[:n], "little")
    buf[off : off + n] = x.to_bytes(n, "little")


def chacha20(key, counter, nonce, buf, off, n):
    """Encrypt or decrypt buf[off:off+n] in place."""
    while n > 0:
        k = min(n, 64)
        _xor(buf, off, k, chacha_block(key, counter, nonce))
        counter += 1
        off += k
        n -= k


def poly1305(key, data):
    """The tag, 16 bytes. RFC 8439, 2.5."""
    r = int.from_bytes(key[:16], "little") & 0x0FFFFFFC0FFFFFFC0FFFFFFC0FFFFFFF
    s = int.from_bytes(key[16:32], "little")
    p = (1 << 130) - 5
    a = 0
    for i in range(0, len(data), 16):
        block = data[i : i + 16]
        a = (a + int.from_bytes(block, "little") + (1 << 8 * len(block))) * r % p
    return ((a + s) & ((1 << 128) - 1)).to_bytes(16, "little")


def _chapoly_tag(key, nonce, aad, buf, off, n):
    nonce = bytes(nonce)
    # RFC 8439, 2.8: aad and ciphertext, each padded to 16, then both lengths.
    data = bytes(aad) + bytes(-len(aad) % 16) + bytes(buf[off : off + n]) + bytes(-n % 16)
    return poly1305(chacha_block(key, 0, nonce), data + struct.pack("<QQ", len(aad), n))


def chapoly_init(key):
    return bytes(key)


def chapoly_seal(key, nonce, aad, buf, off, n):
    chacha20(key, 1, bytes(nonce), buf, off, n)
    buf[off + n : off + n + 16] = _chapoly_tag(key, nonce, aad, buf, off, n)


def chapoly_open(key, nonce, aad, buf, off, n):
    if not equal_at(_chapoly_tag(key, nonce, aad, buf, off, n), 0, buf, off + n, 16):
        return False
    chacha20(key, 1, bytes(nonce), buf, off, n)
    return True


# AES (FIPS 197)


def aes_tables():
    """(S-box, table of MixColumns(SubBytes) for the first byte of a column)."""
    sbox = bytearray(256)
    p = q = 1
    while True:
        # p runs through the powers of 3, q through their inverses.
        p = (p ^ p << 1 ^ (0x1B if p & 0x80 else 0)) & 0xFF
        q ^= q << 1
        q ^= q << 2
        q ^= q << 4
        q &= 0xFF
        if q & 0x80:
            q ^= 9
        x = q | q << 8
        sbox[p] = (x ^ x >> 7 ^ x >> 6 ^ x >> 5 ^ x >> 4) & 0xFF ^ 0x63
        if p == 1:
            break
    sbox[0] = 0x63
    table = []
    for s in sbox:
        s2 = s << 1 ^ (0x11B if s & 0x80 else 0)
        table.append(s2 | s << 8 | s << 16 | (s ^ s2) << 24)
    return bytes(sbox), table


_SBOX, _TE = aes_tables()


def _rol(x, n):
    return x << n & _M32 | x >> (32 - n)


def aes_expand(key):
    """The round keys as little-endian words, 44 or 60 of them. FIPS 197, 5.2."""
    nk = len(key) >> 2
    w = list(struct.unpack("<%dI" % nk, key))
    s = _SBOX
    rcon = 1
    for i in range(nk, 4 * nk + 28):
        t = w[i - 1]
        if i % nk == 0 or (nk > 6 and i % nk == 4):
            if i % nk == 0:
                t = _rol(t, 24)
            t = s[t & 255] | s[t >> 8 & 255] << 8 | s[t >> 16 & 255] << 16 | s[t >> 24] << 24
            if i % nk == 0:
                t ^= rcon
                rcon = rcon << 1 ^ (0x11B if rcon & 0x80 else 0)
        w.append(w[i - nk] ^ t)
    return w


def aes_block(w, block):
    """Encrypt 16 bytes under the expanded key w."""
    s = [x ^ k for x, k in zip(struct.unpack("<4I", block), w)]
    te = _TE
    last = len(w) - 4
    for r in range(4, last, 4):
        s = [
            te[s[i] & 255]
            ^ _rol(te[s[(i + 1) & 3] >> 8 & 255], 8)
            ^ _rol(te[s[(i + 2) & 3] >> 16 & 255], 16)
            ^ _rol(te[s[(i + 3) & 3] >> 24], 24)
            ^ w[r + i]
            for i in range(4)
        ]
    b = _SBOX
    out = [
        (
            b[s[i] & 255]
            | b[s[(i + 1) & 3] >> 8 & 255] << 8
            | b[s[(i + 2) & 3] >> 16 & 255] << 16
            | b[s[(i + 3) & 3] >> 24] << 24
        )
        ^ w[last + i]
        for i in range(4)
    ]
    return struct.pack("<4I", *out)


# GCM (SP 800-38D). Field elements are big-endian integers: the highest bit is x^0.

_R = 0xE1 << 120


def ghash_table(h):
    """b * H for each byte b as the highest eight coefficients: 256 integers."""
    m = [0] * 256
    i = 128
    while i:
        m[i] = h
        h = h >> 1 ^ (_R if h & 1 else 0)
        i >>= 1
    i = 2
    while i < 256:
        for j in range(1, i):
            m[i + j] = m[i] ^ m[j]
        i <<= 1
    return m


def _reduction():
    """What the byte shifted out at the low end adds at the top: 256 integers of 16 bits."""
    red = []
    for v in range(256):
        for _ in range(8):
            v = v >> 1 ^ (_R if v & 1 else 0)
        red.append(v >> 112)
    return red


GHASH_RED = _reduction()


class _Gcm:
    def __init__(self, key):
        self.w = aes_expand(key)
        self.m = ghash_table(int.from_bytes(aes_block(self.w, bytes(16)), "big"))

    def ghash(self, y, data):
        """Fold data (padded to whole blocks with zeros) into y."""
        m = self.m
        red = GHASH_RED
        for i in range(0, len(data), 16):
            block = data[i : i + 16]
            y ^= int.from_bytes(block, "big") << 8 * (16 - len(block))
            z = 0
            for _ in range(16):
                z = z >> 8 ^ red[z & 255] << 112 ^ m[y & 255]
                y >>= 8
            y = z
        return y

    def ctr(self, nonce, buf, off, n):
        """Encrypt or decrypt in place, counting from 2. SP 800-38D, 6.5."""
        counter = 2
        while n > 0:
            k = min(n, 16)
            _xor(buf, off, k, aes_block(self.w, nonce + struct.pack(">I", counter)))
            counter += 1
            off += k
            n -= k

    def tag(self, nonce, aad, buf, off, n):
        y = self.ghash(self.ghash(0, bytes(aad)), bytes(buf[off : off + n]))
        y = self.ghash(y, struct.pack(">QQ", 8 * len(aad), 8 * n))
        y ^= int.from_bytes(aes_block(self.w, nonce + b"\0\0\0\1"), "big")
        return y.to_bytes(16, "big")


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


def modexp(base, e, n):
    """base^e mod n for an odd n."""
    return pow(base, e, n)
