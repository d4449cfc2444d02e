"""cryptolib: the vectors of SP 800-38A, appendix F, in pieces and in place."""

from stack.api.cryptolib import MODE_CBC, MODE_CTR, MODE_ECB, aes

TEXT = bytes.fromhex(
    "6bc1bee22e409f96e93d7e117393172aae2d8a571e03ac9c9eb76fac45af8e51"
    "30c81c46a35ce411e5fbc1191a0a52eff69f2445df4f9b17ad2b417be66c3710"
)
K128 = bytes.fromhex("2b7e151628aed2a6abf7158809cf4f3c")
K256 = bytes.fromhex("603deb1015ca71be2b73aef0857d77811f352c073b6108d72d9810a30914dff4")
IV = bytes(range(16))
COUNTER = bytes.fromhex("f0f1f2f3f4f5f6f7f8f9fafbfcfdfeff")
VECTORS = (
    (K128, MODE_ECB, None, "3ad77bb40d7a3660a89ecaf32466ef97f5d3d58503b9699de785895a96fdbaaf"
     "43b1cd7f598ece23881b00e3ed0306887b0c785e27e8ad3f8223207104725dd4"),
    (K256, MODE_ECB, None, "f3eed1bdb5d2a03c064b5a7e3db181f8591ccb10d410ed26dc5ba74a31362870"
     "b6ed21b99ca6f4f9f153e7b1beafed1d23304b7a39f9f3ff067d8d8f9e24ecc7"),
    (K128, MODE_CBC, IV, "7649abac8119b246cee98e9b12e9197d5086cb9b507219ee95db113a917678b2"
     "73bed6b8e3c1743b7116e69e222295163ff1caa1681fac09120eca307586e1a7"),
    (K256, MODE_CBC, IV, "f58c4c04d6e5f1ba779eabfb5f7bfbd69cfc4e967edb808d679f777bc6702c7d"
     "39f23369a9d9bacfa530e26304231461b2eb05e2c39be9fcda6c19078c6a9d1b"),
    (K128, MODE_CTR, COUNTER, "874d6191b620e3261bef6864990db6ce9806f66b7970fdff8617187bb9fffdff"
     "5ae4df3edbd5d35e5b4f09020db03eab1e031dda2fbe03d1792170a0f3009cee"),
    (K256, MODE_CTR, COUNTER, "601ec313775789a5b7a7f504bbf3d228f443e3ca4d62b59aca84e990cacaf5c5"
     "2b0930daa23de94ce87017ba2d84988ddfc9c58db67aada613c2dd08457941a6"),
)  # fmt: skip


def test_vectors():
    for key, mode, iv, sealed in VECTORS:
        sealed = bytes.fromhex(sealed)
        more = () if iv is None else (iv,)
        assert aes(key, mode, *more).encrypt(TEXT) == sealed, (len(key), mode)
        assert aes(key, mode, *more).decrypt(sealed) == TEXT, (len(key), mode)
        # In pieces, and in place.
        c = aes(key, mode, *more)
        assert c.encrypt(TEXT[:16]) + c.encrypt(TEXT[16:]) == sealed
        buf = bytearray(sealed)
        assert aes(key, mode, *more).decrypt(buf, buf) is None and buf == TEXT
    c = aes(K128, MODE_CTR, COUNTER)
    assert b"".join([c.encrypt(TEXT[i : i + 7]) for i in range(0, 64, 7)]) == bytes.fromhex(
        VECTORS[4][3]
    )


def test_what_is_refused():
    for args in ((K128, 3), (K128[:15], 1), (K128, 2), (K128, 6, b"short")):
        try:
            aes(*args)
            raise AssertionError(args)
        except ValueError:
            pass
    c = aes(K128, MODE_ECB)
    c.encrypt(TEXT)
    short = bytearray(9)
    for call in ((c.decrypt, TEXT), (c.encrypt, b"17 bytes of text."), (c.encrypt, TEXT, short)):
        try:
            call[0](*call[1:])
            raise AssertionError(call)
        except ValueError:
            pass
