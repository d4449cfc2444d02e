"""AES-GCM against the cases of McGrew and Viega, ChaCha20-Poly1305 against RFC 8439."""

from stack.crypto.aead import Aes128Gcm, Aes256Gcm, ChaCha20Poly1305

_PT = (
    "d9313225f88406e5a55909c5aff5269a86a7a9531534f7da2e4c303d8a318a72"
    "1c3c0c95956809532fcf0e2449a6b525b16aedf5aa0de657ba637b391aafd255"
)
_KEY = "feffe9928665731c6d6a8f9467308308"
_IV = "cafebabefacedbaddecaf888"
_AAD = "feedfacedeadbeeffeedfacedeadbeefabaddad2"
_CT128 = (
    "42831ec2217774244b7221b784d0d49ce3aa212f2c02a4e035c17e2329aca12e"
    "21d514b25466931c7d8f6a5aac84aa051ba30b396a0aac973d58e091473f5985"
)
_CT256 = (
    "522dc1f099567d07f47f37a32a84427d643a8cdcbfe5c0c97598a2bd2555d1aa"
    "8cb08e48590dbb3da7b08b1056828838c5f61e6393ba7a0abcc9f662898015ad"
)
_SUNSCREEN = (
    b"Ladies and Gentlemen of the class of '99: If I could offer you only one tip for the "
    b"future, sunscreen would be it."
)

_CASES = (
    # (class, key, nonce, aad, plaintext, ciphertext, tag)
    (Aes128Gcm, "00" * 16, "00" * 12, "", "", "", "58e2fccefa7e3061367f1d57a4e7455a"),
    (
        Aes128Gcm, "00" * 16, "00" * 12, "", "00" * 16,
        "0388dace60b6a392f328c2b971b2fe78", "ab6e47d42cec13bdf53a67b21257bddf",
    ),
    (Aes128Gcm, _KEY, _IV, "", _PT, _CT128, "4d5c2af327cd64a62cf35abd2ba6fab4"),
    (Aes128Gcm, _KEY, _IV, _AAD, _PT[:120], _CT128[:120], "5bc94fbc3221a5db94fae95ae7121a47"),
    (Aes256Gcm, "00" * 32, "00" * 12, "", "", "", "530f8afbc74536b9a963b4f1c4cb738b"),
    (
        Aes256Gcm, "00" * 32, "00" * 12, "", "00" * 16,
        "cea7403d4d606b6e074ec5d3baf39d18", "d0d1c8a799996bf0265b98b5d48ab919",
    ),
    (Aes256Gcm, _KEY * 2, _IV, "", _PT, _CT256, "b094dac5d93471bdec1a502270e3cc6c"),
    (Aes256Gcm, _KEY * 2, _IV, _AAD, _PT[:120], _CT256[:120], "76fc6ece0f4e1768cddf8853bb2d551b"),
    (
        # RFC 8439, 2.8.2
        ChaCha20Poly1305,
        "808182838485868788898a8b8c8d8e8f909192939495969798999a9b9c9d9e9f",
        "070000004041424344454647", "50515253c0c1c2c3c4c5c6c7", _SUNSCREEN.hex(),
        "d31a8d34648e60db7b86afbc53ef7ec2a4aded51296e08fea9e2b5a736ee62d6"
        "3dbea45e8ca9671282fafb69da92728b1a71de0a9e060b2905d6a5b67ecd3b36"
        "92ddbd7f2d778b8c9803aee328091b58fab324e4fad675945585808b4831d7bc"
        "3ff4def08e4b7a9de576d26586cec64b6116",
        "1ae10b594f09e26a7e902ecbd0600691",
    ),
)  # fmt: skip


def _unhex(*fields):
    return [bytes.fromhex(f) for f in fields]


def test_vectors():
    for cls, key, nonce, aad, pt, ct, tag in _CASES:
        key, nonce, aad, pt, ct, tag = _unhex(key, nonce, aad, pt, ct, tag)
        for off in (0, 5):
            buf = bytearray(off) + pt + bytearray(16)
            cls(key).seal(nonce, aad, buf, off, len(pt))
            assert buf[off:] == ct + tag, (cls, len(pt))
            assert cls(key).open(nonce, aad, buf, off, len(pt))
            assert buf[off:-16] == pt


def test_tampering_fails_closed():
    for cls, key, nonce, aad, _pt, ct, tag in _CASES:
        key, nonce, aad, ct, tag = _unhex(key, nonce, aad, ct, tag)
        good = ct + tag
        for i in (0, len(ct) // 2, len(ct) - 1, len(ct), len(good) - 1):
            if i < 0:
                continue
            buf = bytearray(good)
            buf[i] ^= 0x80
            bad = bytes(buf)
            assert not cls(key).open(nonce, aad, buf, 0, len(ct)), i
            assert buf == bad, "decrypted in spite of a wrong tag"
        buf = bytearray(good)
        assert not cls(key).open(nonce, aad + b"x", buf, 0, len(ct))
        assert buf == good


def test_every_length():
    for cls in (Aes128Gcm, Aes256Gcm, ChaCha20Poly1305):
        k = cls(bytes(range(cls.key_size)))
        nonce = bytes(range(12))
        for n in (0, 1, 15, 16, 17, 63, 64, 65, 127, 128, 129, 191, 192, 255, 256, 257, 600):
            aad = bytes(n % 37)
            buf = bytearray([i * 13 & 255 for i in range(n)]) + bytearray(20)
            plain = bytes(buf)
            k.seal(nonce, aad, buf, 0, n)
            assert buf[n + 16 :] == bytes(4), "wrote beyond the tag"
            assert k.open(nonce, aad, buf, 0, n), n
            assert buf[:n] == plain[:n], n


def test_bounds():
    for cls in (Aes128Gcm, ChaCha20Poly1305):
        k = cls(bytes(cls.key_size))
        for nonce, off, n in ((12, 0, 17), (12, 1, 16), (12, -1, 4), (12, 0, -1), (11, 0, 4)):
            try:
                k.seal(bytes(nonce), b"", bytearray(32), off, n)
            except ValueError:
                continue
            raise AssertionError((nonce, off, n))
