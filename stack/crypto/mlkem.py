"""ML-KEM-768 (FIPS 203), the post-quantum half of TLS's X25519MLKEM768.

    ek, dk = keygen(rng)          1184 and 2400 bytes
    ct, ss = encaps(ek, rng)      1088 and 32 bytes; ValueError for a bad key
    ss = decaps(dk, ct)           32 bytes; a forged ct gives an unrelated secret

Polynomials and their arithmetic are in lattice.py.
Not implemented: ML-KEM-512 and -1024.
"""

from micropython import const

from stack.crypto import kernels, lattice
from stack.crypto.bytesops import equal
from stack.crypto.keccak import Shake256, sha3_256, sha3_512

_K = const(3)
_DU = const(10)
_DV = const(4)
EK_LEN = const(1184)
DK_LEN = const(2400)
CT_LEN = const(1088)
SS_LEN = const(32)


def _matrix_entry(rho, i, j):
    """A[i][j], transformed, drawn from the public seed."""
    poly = bytearray(512)
    kernels.sample_ntt(poly, rho + bytes((j, i)))
    return poly


def _noise(seed, n):
    """The n-th polynomial of small coefficients of a secret seed."""
    poly = bytearray(512)
    kernels.sample_cbd(poly, seed + bytes((n,)))
    return poly


def _pke_keygen(d):
    """FIPS 203, algorithm 13: (ek, dk) of the encryption scheme."""
    g = sha3_512(d + bytes((_K,)))
    rho, sigma = g[:32], g[32:]
    s = [_noise(sigma, i) for i in range(_K)]
    for f in s:
        kernels.ntt(f)
    ek = bytearray(EK_LEN)
    dk = bytearray(384 * _K)
    for i in range(_K):
        t = _noise(sigma, _K + i)
        kernels.ntt(t)
        for j in range(_K):
            kernels.basemul(t, _matrix_entry(rho, i, j), s[j])
        lattice.encode(ek, 384 * i, t, 12)
        lattice.encode(dk, 384 * i, s[i], 12)
    ek[384 * _K :] = rho
    return bytes(ek), bytes(dk)


def _pke_encrypt(ek, m, r):
    """FIPS 203, algorithm 14."""
    rho = bytes(ek[384 * _K :])
    y = [_noise(r, i) for i in range(_K)]
    for f in y:
        kernels.ntt(f)
    ct = bytearray(CT_LEN)
    t = bytearray(512)
    v = bytearray(512)
    for i in range(_K):
        u = bytearray(512)
        for j in range(_K):
            kernels.basemul(u, _matrix_entry(rho, j, i), y[j])  # the transpose of A
        kernels.intt(u)
        lattice.add(u, _noise(r, _K + i))
        lattice.compress(u, _DU)
        lattice.encode(ct, 32 * _DU * i, u, _DU)
        lattice.decode(t, ek, 384 * i, 12)
        kernels.basemul(v, t, y[i])
    kernels.intt(v)
    lattice.add(v, _noise(r, 2 * _K))
    lattice.decode(t, m, 0, 1)
    lattice.decompress(t, 1)
    lattice.add(v, t)
    lattice.compress(v, _DV)
    lattice.encode(ct, 32 * _DU * _K, v, _DV)
    return bytes(ct)


def _pke_decrypt(dk, ct):
    """FIPS 203, algorithm 15: the message, 32 bytes."""
    w = bytearray(512)
    s = bytearray(512)
    u = bytearray(512)
    for i in range(_K):
        lattice.decode(u, ct, 32 * _DU * i, _DU)
        lattice.decompress(u, _DU)
        kernels.ntt(u)
        lattice.decode(s, dk, 384 * i, 12)
        kernels.basemul(w, s, u)
    kernels.intt(w)
    lattice.decode(u, ct, 32 * _DU * _K, _DV)
    lattice.decompress(u, _DV)
    lattice.sub_from(w, u)
    lattice.compress(w, 1)
    m = bytearray(32)
    lattice.encode(m, 0, w, 1)
    return bytes(m)


def keygen_from(d, z):
    """The key pair of two 32-byte seeds. FIPS 203, algorithm 16."""
    ek, dk = _pke_keygen(d)
    return ek, dk + ek + sha3_256(ek) + z


def keygen(rng):
    """(encapsulation key, decapsulation key). FIPS 203, algorithm 19."""
    return keygen_from(rng(32), rng(32))


def encaps_from(ek, m):
    """(ct, ss) for a 32-byte random m. FIPS 203, algorithm 17."""
    g = sha3_512(m + sha3_256(ek))
    return _pke_encrypt(ek, m, g[32:]), g[:32]


def encaps(ek, rng):
    """(ct, ss) to the owner of ek. ValueError if ek is malformed. FIPS 203, algorithm 20."""
    if len(ek) != EK_LEN:
        raise ValueError("ML-KEM key length")
    ek = bytes(ek)
    t = bytearray(512)
    for i in range(_K):
        # FIPS 203, 7.2, "modulus check": the encoded integers have to be below q.
        if lattice.decode(t, ek, 384 * i, 12) >= lattice.Q:
            raise ValueError("ML-KEM key not reduced")
    return encaps_from(ek, rng(32))


def decaps(dk, ct):
    """The shared secret of a ciphertext. ValueError for lengths or a damaged dk. Algorithm 21."""
    if len(dk) != DK_LEN or len(ct) != CT_LEN:
        raise ValueError("ML-KEM length")
    n = 384 * _K
    ek = bytes(dk[n : n + EK_LEN])
    h = bytes(dk[n + EK_LEN : n + EK_LEN + 32])
    z = bytes(dk[n + EK_LEN + 32 :])
    ct = bytes(ct)
    # FIPS 203, 7.3, "hash check".
    if not equal(sha3_256(ek), h):
        raise ValueError("ML-KEM key damaged")
    m = _pke_decrypt(dk, ct)
    g = sha3_512(m + h)
    reject = Shake256(z + ct).read(32)
    same = equal(_pke_encrypt(ek, m, g[32:]), ct)
    # Implicit rejection (algorithm 18): chosen without a branch on the secret.
    return bytes([a & -same & 255 | b & same - 1 & 255 for a, b in zip(g[:32], reject)])
