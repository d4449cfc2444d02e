"""ML-KEM-768 (FIPS 203): values from OpenSSL for the seeds 0..63, and what has to be refused."""

from stack.crypto import kernels, lattice, mlkem
from stack.crypto.sha2 import Sha256

_SEED = bytes(range(64))
_EK_SHA256 = "0b7934c83125c788995e2ba6bd761e33046b3e40571be53e023309a29f398cc9"
_REJECT_ZEROS = "c8fbeddafdacef2ffeb8b354ea644f11b5c150f3e2c4a74ce38abba8f854ae16"


def _pair():
    return mlkem.keygen_from(_SEED[:32], _SEED[32:])


def test_keygen_and_rejection():
    ek, dk = _pair()
    assert Sha256(ek).digest() == bytes.fromhex(_EK_SHA256)
    assert len(dk) == mlkem.DK_LEN
    # A ciphertext of zeros decapsulates to the implicit rejection value.
    assert mlkem.decaps(dk, bytes(mlkem.CT_LEN)) == bytes.fromhex(_REJECT_ZEROS)


def test_round_trip():
    ek, dk = _pair()
    ct, ss = mlkem.encaps(ek, lambda n: b"\x42" * n)
    assert Sha256(ct).digest() == bytes.fromhex(
        "9c7b2f8d05c70575ec03ed8f93b7bb298e1506b97e54e5e885748965b1466f1c"
    )
    assert ss == bytes.fromhex("b83e7f23b33f909715c7a50b0d4b1f6684d53e1f4b9056f803b29f058ccb5566")
    assert mlkem.decaps(dk, ct) == ss
    bad = bytearray(ct)
    bad[700] ^= 4
    assert mlkem.decaps(dk, bad) != ss


def test_refuses():
    ek, dk = _pair()
    rng = lambda n: bytes(n)
    unreduced = bytearray(ek)
    unreduced[0] = 0x01  # 3329 = 0xD01 as the first coefficient
    unreduced[1] = unreduced[1] & 0xF0 | 0x0D
    damaged = bytearray(dk)
    damaged[1152] ^= 1
    for f, args in (
        (mlkem.encaps, (bytes(unreduced), rng)),
        (mlkem.encaps, (ek[:-1], rng)),
        (mlkem.encaps, (ek + b"x", rng)),
        (mlkem.decaps, (dk, bytes(1087))),
        (mlkem.decaps, (dk[1:], bytes(1088))),
        (mlkem.decaps, (bytes(damaged), bytes(1088))),
    ):
        try:
            f(*args)
        except ValueError:
            continue
        raise AssertionError("accepted")


def _poly(values):
    out = bytearray(512)
    for i, v in enumerate(values):
        out[2 * i] = v & 255
        out[2 * i + 1] = v >> 8
    return out


def _values(poly):
    return [poly[2 * i] | poly[2 * i + 1] << 8 for i in range(256)]


def test_transform_multiplies():
    # Twin: the product in Z_q[x]/(x^256 + 1) by the school's method, at a few sparse places.
    a = [(i * i * 7 + 3) % 3329 for i in range(256)]
    b = [0] * 256
    b[0], b[1], b[200], b[255] = 5, 3328, 17, 3000
    want = [0] * 256
    for j in (0, 1, 200, 255):
        for i in range(256):
            k = i + j
            v = a[i] * b[j]
            want[k & 255] = (want[k & 255] + (v if k < 256 else -v)) % 3329
    fa, fb, out = _poly(a), _poly(b), bytearray(512)
    kernels.ntt(fa)
    kernels.ntt(fb)
    kernels.basemul(out, fa, fb)
    kernels.intt(out)
    assert _values(out) == want
    kernels.intt(fa)
    assert _values(fa) == a
    full = _poly([3328] * 256)  # the largest coefficients
    kernels.ntt(full)
    kernels.intt(full)
    assert _values(full) == [3328] * 256


def test_compress_all():
    for bits in (1, 4, 10):
        for start in range(0, 3329, 256):
            xs = [min(start + i, 3328) for i in range(256)]
            p = _poly(xs)
            lattice.compress(p, bits)
            assert _values(p) == [((x << bits) + 1664) // 3329 % (1 << bits) for x in xs]


def test_pack():
    for bits in (1, 4, 10, 12):
        xs = [(i * 1237 + 5) % (1 << bits) for i in range(256)]
        out = bytearray(32 * bits + 3)
        lattice.encode(out, 3, _poly(xs), bits)
        p = bytearray(512)
        assert lattice.decode(p, out, 3, bits) == max(xs)
        assert _values(p) == xs
