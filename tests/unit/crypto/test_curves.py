"""X25519 (RFC 7748), Ed25519 (RFC 8032), ECDSA and ECDH on P-256 and P-384 (RFC 6979, RFC 5903)."""

from stack.crypto import ed25519, x25519
from stack.crypto.p256 import P256
from stack.crypto.p384 import P384
from stack.crypto.sha2 import Sha256, Sha384, Sha512

_h = bytes.fromhex


def _raises(f, *args):
    try:
        f(*args)
    except ValueError:
        return
    raise AssertionError("accepted")


def test_x25519_rfc7748():
    cases = (
        (
            "a546e36bf0527c9d3b16154b82465edd62144c0ac1fc5a18506a2244ba449ac4",
            "e6db6867583030db3594c1a424b15f7c726624ec26b3353b10a903a6d0ab1c4c",
            "c3da55379de9c6908e94ea4df28d084f32eccf03491c71f754b4075577a28552",
        ),
        (
            "4b66e9d4d1b4673c5ad22691957d6af5c11b6421e0ea01d42ca4169e7918ba0d",
            "e5210f12786811d3f4b7959d0538ae2c31dbe7106fc03c3efc4cd549c715a493",
            "95cbde9476e8907d7aade45cb4b873f88b595a68799fa152e6f8f7647aac7957",
        ),
    )
    for k, u, want in cases:
        assert x25519.shared(_h(k), _h(u)) == _h(want)


def test_x25519_iterated():
    # RFC 7748, 5.2: once here; a thousand times in the oracle tests.
    k = u = b"\x09" + bytes(31)
    k, u = x25519.shared(k, u), k
    assert k == _h("422c8e7a6227d7bca1350b3e2bb7279f7897b87bb6854b783c60e80311ae3079")


def test_x25519_exchange():
    # RFC 7748, 6.1: Bob's private key, Alice's public key.
    b = _h("5dab087e624a8a4b79e17f8b83800ee66f3bb1292618b6fd1c2f8b27ff88e0eb")
    alice = _h("8520f0098930a754748b7ddcb43ef75a0dbf3a0d26381af4eba4a98eaa9b4e6a")
    want = _h("4a5d9d5ba4ce2de1728e3bf480350f25e07e21c947d19e3376f09b3c1e161742")
    assert x25519.shared(b, alice) == want
    bob = _h("de9edb7d7b7dc1b4d35b61c2ece435373f8343c85b78674dadfc7e146f882b4f")
    assert x25519.public(b) == bob


def test_x25519_low_order():
    for u in (
        "00" * 32,
        "01" + "00" * 31,
        "e0eb7a7c3b41b8ae1656e3faf19fc46ada098deb9c32b1fd866205165f49b800",
        "5f9c95bca3508c24b1d0b1559c83ef5b04445cc4581c8e86d8224eddd09f1157",
        "ecffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
        "edffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
        "eeffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
    ):
        _raises(x25519.shared, bytes(range(32)), _h(u))
    _raises(x25519.shared, bytes(32), bytes(31))


_ED = (
    # RFC 8032, 7.1
    (
        "9d61b19deffd5a60ba844af492ec2cc44449c5697b326919703bac031cae7f60",
        "d75a980182b10ab7d54bfed3c964073a0ee172f3daa62325af021a68f707511a",
        "",
        "e5564300c360ac729086e2cc806e828a84877f1eb8e5d974d873e06522490155"
        "5fb8821590a33bacc61e39701cf9b46bd25bf5f0595bbe24655141438e7a100b",
    ),
    (
        "4ccd089b28ff96da9db6c346ec114e0f5b8a319f35aba624da8cf6ed4fb8a6fb",
        "3d4017c3e843895a92b70aa74d1b7ebc9c982ccf2ec4968cc0cd55f12af4660c",
        "72",
        "92a009a9f0d4cab8720e820b5f642540a2b27b5416503f8fb3762223ebdb69da"
        "085ac1e43e15996e458f3613d0f11d8c387b2eaeb4302aeeb00d291612bb0c00",
    ),
)


def test_ed25519_rfc8032():
    for seed, public, msg, sig in _ED:
        seed, public, msg, sig = _h(seed), _h(public), _h(msg), _h(sig)
        assert ed25519.public(seed) == public
        assert ed25519.sign(seed, msg) == sig
        assert ed25519.verify(public, msg, sig)
        assert not ed25519.verify(public, msg + b"x", sig)


def test_ed25519_refuses():
    _seed, public, msg, sig = [_h(x) for x in _ED[1]]
    for i in (0, 31, 32, 62):
        bad = bytearray(sig)
        bad[i] ^= 1
        assert not ed25519.verify(public, msg, bytes(bad)), i
    # s + L is the same number mod L and has to be refused (malleability).
    s = int.from_bytes(sig[32:], "little") + (1 << 252) + 27742317777372353535851937790883648493
    assert not ed25519.verify(public, msg, sig[:32] + s.to_bytes(32, "little"))
    assert not ed25519.verify(b"\xff" * 32, msg, sig)
    assert not ed25519.verify(public, msg, sig[:63])


_D256 = 0xC9AFA9D845BA75166B5C215767B1D6934E50C3DB36E89B127B8A622B120F6721
_D384 = int(
    "6B9D3DAD2E1B8C1C05B19875B6659F4DE23C3B667BF297BA9AA47740787137D896D5724E4C70A825F872C9EA"
    "60D2EDF5",
    16,
)
_SIGNED = (
    # RFC 6979, A.2.5 and A.2.6, "sample" and "test"
    (
        P256, _D256, Sha256, b"sample",
        0xEFD48B2AACB6A8FD1140DD9CD45E81D69D2C877B56AAF991C34D0EA84EAF3716,
        0xF7CB1C942D657C41D436C7A1B6E29F65F3E900DBB9AFF4064DC4AB2F843ACDA8,
    ),
    (
        P256, _D256, Sha256, b"test",
        0xF1ABB023518351CD71D881567B1EA663ED3EFCF6C5132B354F28D3B0B7D38367,
        0x019F4113742A2B14BD25926B49C649155F267E60D3814B4C0CC84250E46F0083,
    ),
    (
        P256, _D256, Sha512, b"sample",
        0x8496A60B5E9B47C825488827E0495B0E3FA109EC4568FD3F8D1097678EB97F00,
        0x2362AB1ADBE2B8ADF9CB9EDAB740EA6049C028114F2460F96554F61FAE3302FE,
    ),
    (
        P384, _D384, Sha384, b"sample",
        0x94EDBB92A5ECB8AAD4736E56C691916B3F88140666CE9FA73D64C4EA95AD133C81A648152E44ACF96E36DD1E80FABE46,
        0x99EF4AEB15F178CEA1FE40DB2603138F130E740A19624526203B6351D0A3A94FA329C145786E679E7B82C71A38628AC8,
    ),
)  # fmt: skip


def test_ecdsa_rfc6979():
    for curve, d, cls, msg, r, s in _SIGNED:
        digest = cls(msg).digest()
        assert curve.sign(d, digest, hash_class=cls) == (r, s), (curve.name, msg)
        public = curve.public(d)
        assert curve.verify(public, digest, r, s)
        assert curve.verify(public, digest, r, curve.n - s)
        assert not curve.verify(public, cls(b"other").digest(), r, s)


def test_public_keys():
    assert P256.public(_D256) == _h(
        "0460fed4ba255a9d31c961eb74c6356d68c049b8923b61fa6ce669622e60f29fb6"
        "7903fe1008b8bc99a41ae9e95628bc64f2f1b20c2d7e9f5177a3c294d4462299"
    )
    one = P256.public(1)
    assert one[1:33] == P256.gx.to_bytes(32, "big")
    # (n - 1) G = -G: the additions meet each other's inverse on the way.
    assert P256.public(P256.n - 1) == one[:33] + (P256.p - P256.gy).to_bytes(32, "big")
    assert P384.public(P384.n - 1)[:49] == P384.public(1)[:49]


def test_ecdh_rfc5903():
    # RFC 5903, 8.1 and 8.2.
    i = 0xC88F01F510D9AC3F70A292DAA2316DE544E9AAB8AFE84049C62A9C57862D1433
    r = 0xC6EF9C5D78AE012A011164ACB397CE2088685D8F06BF9BE0B283AB46476BEE53
    z = _h("d6840f6b42f6edafd13116e0e12565202fef8e9ece7dce03812464d04b9442de")
    assert P256.shared(i, P256.public(r)) == P256.shared(r.to_bytes(32, "big"), P256.public(i)) == z
    i = int(
        "099F3C7034D4A2C699884D73A375A67F7624EF7C6B3C0F160647B67414DCE655E35B538041E649EE3FAEF896"
        "783AB194",
        16,
    )
    r = int(
        "41CB0779B4BDB85D47846725FBEC3C9430FAB46CC8DC5060855CC9BDA0AA2942E0308312916B8ED2960E4BD5"
        "5A7448FC",
        16,
    )
    z = _h(
        "11187331c279962d93d604243fd592cb9d0a926f422e47187521287e7156c5c4"
        "d603135569b9e9d09cf5d4a270f59746"
    )
    assert P384.shared(i, P384.public(r)) == z


def test_bad_points():
    good = P256.public(_D256)
    flipped = bytearray(good)
    flipped[64] ^= 1
    for why, point in (
        ("off the curve", bytes(flipped)),
        ("compressed", b"\x02" + good[1:33]),
        ("infinity", b"\x00"),
        ("short", good[:64]),
        ("long", good + b"\x00"),
        ("hybrid", b"\x06" + good[1:]),
        ("x not reduced", b"\x04" + b"\xff" * 32 + good[33:]),
        ("zero", b"\x04" + bytes(64)),
        ("other curve", P384.public(5)[:65]),
    ):
        _raises(P256.shared, 5, point)
        assert not P256.verify(point, bytes(32), 1, 1), why
    for private in (0, P256.n, bytes(32), b"\xff" * 32):
        _raises(P256.public, private)


def test_ecdsa_ranges():
    digest = Sha256(b"sample").digest()
    public = P256.public(_D256)
    r, s = _SIGNED[0][4:]
    n = P256.n
    for bad in ((0, s), (r, 0), (n, s), (r, n), (r + n, s), (r, s + n), (-r, s), (s, r)):
        assert not P256.verify(public, digest, *bad)


def test_ecdsa_hedged():
    digest = Sha256(b"sample").digest()
    a = P256.sign(_D256, digest, lambda n: bytes(n))
    b = P256.sign(_D256, digest, lambda n: b"\x01" * n)
    assert a != b
    assert P256.verify(P256.public(_D256), digest, *a)


def test_verify_doubling_case():
    # u G and v Q can meet: Q = G makes the sum a doubling for u = v.
    e = 12345
    digest = e.to_bytes(32, "big")
    r, s = P256.sign(1, digest)
    assert P256.verify(P256.public(1), digest, r, s)
    # e = 0 gives u = 0: the sum has one term only.
    r, s = P256.sign(7, bytes(32))
    assert P256.verify(P256.public(7), bytes(32), r, s)
