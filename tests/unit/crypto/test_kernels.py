"""Twins: every tier of a kernel gives what the plain one gives."""

from stack.crypto import ec, kernels, plain
from stack.crypto.p256 import P256
from stack.crypto.p384 import P384
from stack.crypto.sha2 import Sha256, Sha384, Sha512


def _noise(n, seed):
    out = bytearray(n)
    x = seed * 7919 + 1
    for i in range(n):
        x = (x * 1103515245 + 12345) & 0x7FFFFFFF
        out[i] = x >> 16 & 0xFF
    return bytes(out)


def _number(seed, below):
    return int.from_bytes(_noise(64, seed), "big") % below


def _each_tier(check, name=None):
    """Call check() in each tier, but for those that have no kernel `name` of their own."""
    before = kernels.tier
    try:
        for tier in kernels.tiers():
            if tier != "plain":
                kernels.use(tier)
                if name is None or getattr(kernels, name) is not getattr(plain, name):
                    check()
    finally:
        kernels.use(before)


def _same_in_place(name, buffers):
    """kernels.name(*buffers) changes them as plain.name does."""
    want = [bytearray(b) if isinstance(b, (bytes, bytearray)) else b for b in buffers]
    getattr(plain, name)(*want)

    def check():
        got = [bytearray(b) if isinstance(b, (bytes, bytearray)) else b for b in buffers]
        getattr(kernels, name)(*got)
        assert got == want, (kernels.tier, name)

    _each_tier(check, name)


def _same_result(name, *args):
    want = getattr(plain, name)(*args)

    def check():
        assert getattr(kernels, name)(*args) == want, (kernels.tier, name, args)

    _each_tier(check, name)


def test_compression():
    for name, size, block in (("sha256", 32, 64), ("sha512", 64, 128)):
        for blocks in (1, 2):
            data = _noise(block * blocks + 3, blocks)
            _same_in_place(name, (_noise(size, 5), data, 3, blocks))
        _same_in_place(name, (b"\xff" * size, b"\xff" * block, 0, 1))
        for n in (0, 1, block - 18, block - 17, block - 9, block - 8, block - 1, block, block + 1):
            _same_result(name + "_finish", _noise(size, n), _noise(n + 2, 9), 2, n, n + 4 * block)


def test_hmac():
    for cls in (Sha256, Sha384, Sha512):
        for n in (0, 1, 32, 64, cls.block_size):
            for m in (0, 5, 200):
                _same_result("hmac", cls, _noise(n, 1), _noise(m, 2))


def test_keccak():
    for seed in (1, 2):
        _same_in_place("keccak_f", (_noise(200, seed),))
    _same_in_place("keccak_f", (bytes(200),))
    _same_in_place("keccak_f", (b"\xff" * 200,))


def _seal(module, names, key, n, value):
    """(sealed buffer, whether it opens again to what it was)."""
    init, seal, open_ = [getattr(module, name) for name in names]
    nonce, aad = _noise(12, n), value * (n & 31)
    buf = bytearray(value * n + bytes(18))
    k = init(key)
    seal(k, nonce, aad, buf, 1, n)
    sealed = bytes(buf)
    opened = open_(k, nonce, aad, buf, 1, n)
    return sealed, opened and buf[: n + 1] == (value * n + bytes(18))[: n + 1]


def _aead(key, *names):
    for n in (0, 1, 16, 33, 64, 100):
        for value in (b"\x00", b"\xff"):
            _same_seal(names, key, n, value)


def _same_seal(names, key, n, value):
    want = _seal(plain, names, key, n, value)

    def check():
        got = _seal(kernels, names, key, n, value)
        assert got == want and got[1], (kernels.tier, n)

    _each_tier(check)


def test_aead():
    # Keys and data of ones drive Poly1305's carries to their limits.
    for key in (_noise(32, 3), b"\xff" * 32, bytes(32)):
        _aead(key, "chapoly_init", "chapoly_seal", "chapoly_open")
    for key in (_noise(16, 4), _noise(32, 5), b"\xff" * 16):
        _aead(key, "gcm_init", "gcm_seal", "gcm_open")


def test_x25519():
    for u in (
        _noise(32, 1),
        b"\xff" * 32,
        b"\xec" + b"\xff" * 30 + b"\x7f",
        bytes(32),
        b"\x01" + bytes(31),
    ):
        _same_result("x25519", _noise(32, 2), u)
    _same_result("x25519", b"\xff" * 32, _noise(32, 3))


def test_edwards():
    order = (1 << 252) + 27742317777372353535851937790883648493
    for k in (0, 1, 15, 16, order - 1, _number(1, order)):
        _same_result("ed_base", k)
    x, y = plain.ed_base(_number(2, order))
    for u, v in ((_number(3, order), _number(4, order)), (0, 1), (0, 0), (order - 1, 16)):
        _same_result("ed_dual", u, v, x, y)
    # The point's own multiple, its opposite, and a point of order 2.
    _same_result("ed_dual", 1, order - 1, ec.ED_BX, ec.ED_BY)
    _same_result("ed_dual", 1, 1, ec.ED_BX, ec.ED_BY)
    _same_result("ed_dual", 5, 3, 0, ec.P25519 - 1)


def test_points():
    for curve in (P256, P384):
        n = curve.n
        for k in (1, 16, n - 1, _number(1, n)):
            _same_result("ec_base", curve, k)
        x, y = plain.ec_base(curve, _number(2, n))
        for k in (2, 17, n - 1, _number(3, n)):
            _same_result("ec_mul", curve, k, x, y)
        _same_result("ec_dual", curve, _number(4, n), _number(5, n), x, y)


def test_points_that_meet():
    # uG + vP where the sum or a partial sum is a doubling, or infinity.
    for curve in (P256, P384):
        n = curve.n
        up, down = curve.gy, curve.p - curve.gy
        cases = ((1, 1, up), (1, 1, down), (n - 2, 2, down), (0, 0, up))
        if curve is P256:
            cases += ((2, 1, up), (n - 1, 1, up), (0, 1, up), (7, 0, up), (1, 17, up))
        for u, v, y in cases:
            _same_result("ec_dual", curve, u, v, curve.gx, y)


def test_modexp():
    for bits in (64, 65, 256, 1000, 1024):
        n = (1 << bits) - 1 - 2 * _number(bits, 1 << 30)
        base = _number(7, n)
        for e in (1, 2, 3, 65537, (1 << 64) - 1, n - 2):
            _same_result("modexp", base, e, n)
        _same_result("modexp", n - 1, 65537, n)
        _same_result("modexp", 0, 65537, n)
    for curve in (P256, P384):
        for a in (1, 2, curve.n - 1, _number(8, curve.n)):
            _same_result("ec_invert", curve, a)


def _poly(seed):
    out = bytearray(512)
    for i in range(256):
        v = 3328 if seed == 0 else (i * i * seed + 77 * i) % 3329
        out[2 * i] = v & 255
        out[2 * i + 1] = v >> 8
    return out


def test_lattice():
    for seed in (0, 1, 5):
        _same_in_place("ntt", (_poly(seed),))
        _same_in_place("intt", (_poly(seed),))
        _same_in_place("basemul", (_poly(seed), _poly(seed and seed + 1), _poly(seed and seed + 2)))
    for seed in (1, 2, 3):
        _same_in_place("sample_ntt", (bytes(512), _noise(34, seed)))
        _same_in_place("sample_cbd", (bytes(512), _noise(33, seed)))
