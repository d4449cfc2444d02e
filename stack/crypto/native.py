"""The machine-code tier: loads the assembled block and wraps its entries as kernels.

`load(hw, blob)` needs of hw: exec (or code), addr, call, cpuid. A kernel is taken
when this CPU has its instructions; where two fit, QEMU's translator (told by the
hypervisor leaf) gets the one with cheap instructions, silicon the wide one.
"""

from micropython import const

from stack.crypto.ec import ED_BX, ED_BY

_GCM_CTX = const(544)  # asm/gcm.py, CTX_LEN
_GCM_NONCE = const(256)

_call = None
_addr = None
_hw = None  # where memory outside the heap is to be had; None: it is taken from the heap
_e = {}  # entry -> address


def features(hw):
    """The set of names of what the CPU and the machine can do."""
    found = set()
    top = hw.cpuid(0)[0]
    _, _, c1, d1 = hw.cpuid(1)
    _, b7, c7, _ = hw.cpuid(7) if top >= 7 else (0, 0, 0, 0)
    for name, word, bit in (
        ("pclmul", c1, 1), ("ssse3", c1, 9), ("sse41", c1, 19), ("movbe", c1, 22),
        ("aes", c1, 25), ("osxsave", c1, 27), ("avx", c1, 28), ("hypervisor", c1, 31),
        ("bmi1", b7, 3), ("avx2", b7, 5), ("bmi2", b7, 8), ("adx", b7, 19), ("sha", b7, 29),
        ("vaes", c7, 9),
    ):  # fmt: skip
        if word >> bit & 1:
            found.add(name)
    if "hypervisor" in found:
        _, b, c, d = hw.cpuid(0x40000000)
        if (b, c, d) == (0x54474354, 0x43544743, 0x47435447):  # "TCGTCGTCGTCG"
            found.add("tcg")
    return found


def load(hw, blob):
    """name -> function for the kernels that run here; empty if this CPU is too old."""
    global _call, _addr, _hw, _cha, _gcm_small, _gcm_bulk, _sha256, _sha256_finish, _sha256_hmac
    has = features(hw)
    if not {"bmi1", "bmi2", "movbe", "sse41", "ssse3"} <= has:
        return {}
    base = (getattr(hw, "exec", None) or hw.code)(blob.CODE)
    _call = hw.call
    _addr = hw.addr
    _hw = hw if hasattr(hw, "dma_left") else None
    _e.clear()
    for name in blob.ENTRIES:
        _e[name] = base + blob.ENTRIES[name]
    wide = False
    if {"osxsave", "avx"} <= has:
        # XCR0: the system has switched on the wide registers.
        wide = _call(_e["xcr0"]) & 6 == 6
    tcg = "tcg" in has

    found = [
        hmac, sha256, sha512, sha256_finish, sha512_finish, keccak_f,
        chapoly_init, chapoly_seal, chapoly_open,
        x25519, ec_base, ec_mul, ec_dual, ec_invert, ed_base, ed_dual, modexp,
        ntt, intt, basemul, sample_ntt, sample_cbd,
    ]  # fmt: skip
    sha = "sha256_ni" if "sha" in has and not tcg else "sha256"
    _sha256 = _e[sha]
    _sha256_finish = _e[sha + "_finish"]
    _sha256_hmac = _e[sha + "_hmac"]
    _cha = _e["chapoly_avx2" if wide and "avx2" in has and not tcg else "chapoly_scalar"]
    if wide and {"aes", "pclmul"} <= has:
        _gcm_small = _e["gcm_ymm" if "vaes" in has and "avx2" in has and not tcg else "gcm_xmm"]
        _gcm_bulk = _e["gcm_xmm_table"] if tcg else 0
        found += [gcm_init, gcm_seal, gcm_open]
    return {f.__name__: f for f in found}


def sha256(state, buf, off, blocks):
    _call(_sha256, _addr(state), _addr(buf) + off, blocks)


def sha512(state, buf, off, blocks):
    _call(_e["sha512"], _addr(state), _addr(buf) + off, blocks)


def sha256_finish(state, buf, off, n, total):
    out = bytearray(32)
    _call(_sha256_finish, _addr(state), _addr(buf) + off, n, total, _addr(out))
    return bytes(out)


def sha512_finish(state, buf, off, n, total):
    out = bytearray(64)
    _call(_e["sha512_finish"], _addr(state), _addr(buf) + off, n, total, _addr(out))
    return bytes(out)


def hmac(hash_class, key, data):
    out = bytearray(64)
    at = _sha256_hmac if hash_class.block_size == 64 else _e["sha512_hmac"]
    iv = hash_class.hmac_iv
    _call(at, _addr(out), _addr(key), len(key), _addr(data), len(data), _addr(iv))
    return bytes(out[: hash_class.digest_size])


def ntt(poly):
    _call(_e["ntt"], _addr(poly))


def intt(poly):
    _call(_e["intt"], _addr(poly))


def basemul(acc, a, b):
    _call(_e["basemul"], _addr(acc), _addr(a), _addr(b))


def sample_ntt(poly, seed):
    _call(_e["sample_ntt"], _addr(poly), _addr(seed))


def sample_cbd(poly, seed):
    _call(_e["sample_cbd"], _addr(poly), _addr(seed))


def keccak_f(state):
    _call(_e["keccak_f"], _addr(state))


_SIGMA = b"expand 32-byte k"


def chapoly_init(key):
    return bytearray(_SIGMA + key + bytes(16))


def chapoly_seal(k, nonce, aad, buf, off, n):
    k[52:64] = nonce
    _call(_cha, _addr(k), _addr(buf) + off, n, _addr(aad), len(aad), 0)


def chapoly_open(k, nonce, aad, buf, off, n):
    k[52:64] = nonce
    return _call(_cha, _addr(k), _addr(buf) + off, n, _addr(aad), len(aad), 1) == 1


# A key that moves bulk data under the translator gets a table of 64 KB: PCLMULQDQ
# is slow there. So a thousand idle connections take no memory for it.
_BULK_BYTES = const(131072)  # a key counts as bulk from here
_TABLES = const(8)  # 512 KB at most; the longest held goes to who needs one next
_TO_SPARE = const(8 << 20)
_tables = []  # [table, owner]


class _Gcm:
    __slots__ = ("ctx", "at", "run", "left")

    def __init__(self, key):
        self.ctx = bytearray(_GCM_CTX)
        self.at = _addr(self.ctx)
        self.run = _gcm_small
        self.left = _BULK_BYTES if _gcm_bulk else -1
        _call(_e["gcm_init"], self.at, _addr(key), len(key))

    def grow(self):
        """Give this key a table, from another key if there are enough."""
        self.left = -1
        if len(_tables) < _TABLES:
            # Outside of the heap: asking the collector what it has free takes it 80 million
            # instructions. And not where connections' buffers may want the room.
            if _hw is None:
                slot = [bytearray(65536), None]
            elif _hw.dma_left() < _TO_SPARE:
                return
            else:
                slot = [_hw.dma(65536), None]
        else:
            slot = _tables.pop(0)
            other = slot[1]
            other.run = _gcm_small
            other.left = _BULK_BYTES
        slot[1] = self
        _tables.append(slot)
        _call(_e["gcm_table"], self.at, _addr(slot[0]))
        self.run = _gcm_bulk


def gcm_init(key):
    return _Gcm(key)


def gcm_seal(k, nonce, aad, buf, off, n):
    k.ctx[_GCM_NONCE : _GCM_NONCE + 12] = nonce
    if k.left >= 0:
        k.left -= n
        if k.left < 0:
            k.grow()
    _call(k.run, k.at, _addr(buf) + off, n, _addr(aad), len(aad), 0)


def gcm_open(k, nonce, aad, buf, off, n):
    k.ctx[_GCM_NONCE : _GCM_NONCE + 12] = nonce
    if k.left >= 0:
        k.left -= n
        if k.left < 0:
            k.grow()
    return _call(k.run, k.at, _addr(buf) + off, n, _addr(aad), len(aad), 1) == 1


def x25519(k, u):
    out = bytearray(32)
    _call(_e["x25519"], _addr(out), _addr(k), _addr(u))
    return bytes(out)


# Curves: asm/weierstrass.py. Numbers are little-endian there, and 0 is a null pointer.

_LIMBS = {"P-256": ("p256", 5), "P-384": ("p384", 7)}


def _run(curve, u, v, x, y, checked):
    size = curve.size
    out = bytearray(2 * size)
    # These names keep the buffers alive while their addresses are in use.
    ub = None if u is None else u.to_bytes(size, "little")
    vb = pb = None
    if v is not None:
        vb = v.to_bytes(size, "little")
        pb = x.to_bytes(size, "little") + y.to_bytes(size, "little")
    ok = _call(
        _e[_LIMBS[curve.name][0] + "_run"],
        _addr(out),
        _addr(ub) if ub else 0,
        _addr(vb) if vb else 0,
        _addr(pb) if pb else 0,
        checked,
    )
    if not ok:
        return None
    return int.from_bytes(out[:size], "little"), int.from_bytes(out[size:], "little")


def ec_base(curve, k):
    return _run(curve, k, None, 0, 0, 0)


def ec_mul(curve, k, x, y):
    return _run(curve, None, k, x, y, 0)


def ec_dual(curve, u, v, x, y):
    return _run(curve, u, v, x, y, 1)


def _bits(e):
    """The bits of e rounded up: to a multiple of 4 up to 32, then of 64."""
    bits = 4
    while e >> bits:
        bits += 4 if bits < 32 else 32 if bits == 32 else 64
    return bits


def _power(base, e, bits, n):
    limbs = (_bits(n) + 63) >> 6
    size = 8 * limbs
    out = bytearray(size)
    b = base.to_bytes(size, "little")
    x = e.to_bytes((bits + 63) >> 6 << 3, "little")
    m = n.to_bytes(size, "little") + ((1 << (128 * limbs)) % n).to_bytes(size, "little")
    _call(_e["modexp"], _addr(out), _addr(b), _addr(x), bits, _addr(m), limbs)
    return int.from_bytes(out, "little")


def modexp(base, e, n):
    if n >> 4096 or not n & 1:
        raise ValueError("modulus")
    bits = _bits(e)
    # A short exponent is a public one; a long one gets the length of the modulus.
    return _power(base % n, e, bits if bits <= 32 else max(bits, _bits(n)), n)


def ec_invert(curve, a):
    """a^-1 modulo the order of the curve, 0 < a < n. Constant-time."""
    name, _ = _LIMBS[curve.name]
    out = bytearray(curve.size)
    x = a.to_bytes(curve.size, "little")
    _call(_e["inverse"], _addr(out), _addr(x), _e[name + "_n_table"])
    return int.from_bytes(out, "little")


# edwards25519: asm/edwards.py.

_ED_B = ED_BX.to_bytes(32, "little") + ED_BY.to_bytes(32, "little")


def _ed_run(k, l, point):
    out = bytearray(64)
    kb = k.to_bytes(32, "little")
    lb = l.to_bytes(32, "little") if point else None
    _call(
        _e["ed_run"],
        _addr(out),
        _addr(kb),
        _addr(_ED_B),
        _addr(lb) if point else 0,
        _addr(point) if point else 0,
    )
    return int.from_bytes(out[:32], "little"), int.from_bytes(out[32:], "little")


def ed_base(k):
    return _ed_run(k, 0, None)


def ed_dual(u, v, x, y):
    return _ed_run(u, v, x.to_bytes(32, "little") + y.to_bytes(32, "little"))
