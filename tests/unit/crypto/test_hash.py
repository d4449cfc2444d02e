"""SHA-2, SHA-3, HMAC, HKDF against FIPS 180-4, FIPS 202, RFC 4231, RFC 5869, RFC 8448."""

from stack.crypto.hkdf import expand, expand_label, extract
from stack.crypto.hmac import Hmac, hmac
from stack.crypto.keccak import Shake128, Shake256, sha3_256, sha3_512
from stack.crypto.sha1 import sha1
from stack.crypto.sha2 import Sha256, Sha384, Sha512

_ABC = b"abc"
_TWO = b"abcdbcdecdefdefgefghfghighijhijkijkljklmklmnlmnomnopnopq"
_LONG = (
    b"abcdefghbcdefghicdefghijdefghijkefghijklfghijklmghijklmn"
    b"hijklmnoijklmnopjklmnopqklmnopqrlmnopqrsmnopqrstnopqrstu"
)

_SHA2 = (
    (Sha256, b"", "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"),
    (Sha256, _ABC, "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"),
    (Sha256, _TWO, "248d6a61d20638b8e5c026930c3e6039a33ce45964ff2167f6ecedd419db06c1"),
    (
        Sha384,
        _ABC,
        "cb00753f45a35e8bb5a03d699ac65007272c32ab0eded1631a8b605a43ff5bed"
        "8086072ba1e7cc2358baeca134c825a7",
    ),
    (
        Sha384,
        _LONG,
        "09330c33f71147e83d192fc782cd1b4753111b173b3b05d22fa08086e3b0f712"
        "fcc7c71a557e2db966c3e9fa91746039",
    ),
    (
        Sha512,
        _ABC,
        "ddaf35a193617abacc417349ae20413112e6fa4e89a97ea20a9eeee64b55d39a"
        "2192992a274fc1a836ba3c23a3feebbd454d4423643ce80e2a9ac94fa54ca49f",
    ),
    (
        Sha512,
        _LONG,
        "8e959b75dae313da8cf4f72814fc143f8f7779c6eb9f7fa17299aeadb6889018"
        "501d289e4900f7e4331b99dec4b5433ac7d329eeb6dd26545e96e55b874be909",
    ),
)


def test_sha2_vectors():
    for cls, data, want in _SHA2:
        assert cls(data).digest() == bytes.fromhex(want), (cls.name, data)


def test_sha2_in_pieces_and_copies():
    data = bytes([i * 7 & 255 for i in range(300)])
    for cls in (Sha256, Sha384, Sha512):
        want = cls(data).digest()
        assert len(want) == cls.digest_size
        for cut in (0, 1, 63, 64, 65, 127, 128, 129, 300):
            h = cls(data[:cut])
            k = h.copy()
            assert h.digest() == cls(data[:cut]).digest()  # digest does not end it
            h.update(memoryview(data)[cut:])
            assert h.digest() == want, (cls.name, cut)
            k.update(bytearray(data[cut:]))
            assert k.digest() == want, (cls.name, cut)


def test_sha2_every_padding():
    # The lengths around a block, against the same bytes fed one at a time.
    for cls in (Sha256, Sha512):
        h = cls()
        for n in range(cls.block_size + 2):
            if n > cls.block_size - 20 or n < 2:
                assert h.digest() == cls(b"x" * n).digest(), n
            h.update(b"x")


def test_sha3_vectors():
    assert sha3_256(b"") == bytes.fromhex(
        "a7ffc6f8bf1ed76651c14756a061d662f580ff4de43b49fa82d80a4b80f8434a"
    )
    assert sha3_256(_ABC) == bytes.fromhex(
        "3a985da74fe225b2045c172d6bd390bd855f086e3e9d525b46bfe24511431532"
    )
    assert sha3_512(_ABC) == bytes.fromhex(
        "b751850b1a57168a5693cd924b6b096e08f621827444f70d884f5d0240d2712e"
        "10e116e9192af3c91a7ec57647e3934057340b4cf408d5a56592f8274eec53f0"
    )
    assert Shake128(b"").read(32) == bytes.fromhex(
        "7f9c2ba4e88f827d616045507605853ed73b8093f6efbc88eb1a6eacfa66ef26"
    )
    assert Shake256(b"").read(32) == bytes.fromhex(
        "46b9dd2b0ba88d13233b3feb743eeb243fcd52ea62b81b82b50c27646ed5762f"
    )


def test_shake_in_pieces():
    whole = Shake128(b"x" * 200).read(400)
    x = Shake128(b"x" * 200)
    assert x.read(1) + x.read(167) + x.read(168) + x.read(64) == whole


_HMAC = (
    # RFC 4231, cases 1, 2, 3, 6
    (
        b"\x0b" * 20,
        b"Hi There",
        "b0344c61d8db38535ca8afceaf0bf12b881dc200c9833da726e9376c2e32cff7",
        "87aa7cdea5ef619d4ff0b4241a1d6cb02379f4e2ce4ec2787ad0b30545e17cde",
    ),
    (
        b"Jefe",
        b"what do ya want for nothing?",
        "5bdcc146bf60754e6a042426089575c75a003f089d2739839dec58b964ec3843",
        "164b7a7bfcf819e2e395fbe73b56e0a387bd64222e831fd610270cd7ea250554",
    ),
    (
        b"\xaa" * 20,
        b"\xdd" * 50,
        "773ea91e36800e46854db8ebd09181a72959098b3ef8c122d9635514ced565fe",
        "fa73b0089d56a284efb0f0756c890be9b1b5dbdd8ee81a3655f83e33b2279d39",
    ),
    (
        b"\xaa" * 131,
        b"Test Using Larger Than Block-Size Key - Hash Key First",
        "60e431591ee0b67f0d8a26aacbf5b77f8e0bc6213728c5140546040f0ee37f54",
        "80b24263c7c1a3ebb71493c1dd7be8b49b46d1f41b4aeec1121b013783f8f352",
    ),
)


def test_hmac_rfc4231():
    for key, data, want256, want512 in _HMAC:
        assert hmac(Sha256, key, data) == bytes.fromhex(want256)
        assert hmac(Sha512, key, data)[:32] == bytes.fromhex(want512)
        h = Hmac(Sha256, key, data[:3])
        k = h.copy()
        h.update(data[3:])
        assert h.digest() == bytes.fromhex(want256)
        k.update(data[3:])
        assert k.digest() == k.digest() == bytes.fromhex(want256)


def test_hkdf_rfc5869():
    # Case 1, case 3 (empty salt and info).
    prk = extract(Sha256, bytes(range(13)), b"\x0b" * 22)
    assert prk == bytes.fromhex("077709362c2e32df0ddc3f0dc47bba6390b6c73bb50f9c3122ec844ad7c2b3e5")
    assert expand(Sha256, prk, bytes(range(0xF0, 0xFA)), 42) == bytes.fromhex(
        "3cb25f25faacd57a90434f64d0362f2a2d2d0a90cf1a5a4c5db02d56ecc4c5bf34007208d5b887185865"
    )
    prk = extract(Sha256, b"", b"\x0b" * 22)
    assert expand(Sha256, prk, b"", 42) == bytes.fromhex(
        "8da4e775a563c18f715f802a063c5a31b8a11f5c5ee1879ec3454e5f3c738d2d9d201395faa4b61a96c8"
    )


def test_hkdf_limit():
    try:
        expand(Sha256, bytes(32), b"", 255 * 32 + 1)
    except ValueError:
        return
    raise AssertionError("accepted")


def test_expand_label_rfc8448():
    # RFC 8448, section 3: early secret to "derived" of an empty transcript.
    early = extract(Sha256, b"", bytes(32))
    assert early == bytes.fromhex(
        "33ad0a1c607ec03b09e6cd9893680ce210adf300aa1f2660e1b22e10f170f92a"
    )
    assert expand_label(Sha256, early, b"derived", Sha256(b"").digest(), 32) == bytes.fromhex(
        "6f2615a108c702c5678f54fc9dbab69716c076189c48250cebeac3576c3611ba"
    )


def test_sha1():
    """FIPS 180-2, appendix A; lengths around a block against a million a's first bytes."""
    for text, hexed in (
        (b"", "da39a3ee5e6b4b0d3255bfef95601890afd80709"),
        (b"abc", "a9993e364706816aba3e25717850c26c9cd0d89d"),
        (
            b"abcdbcdecdefdefgefghfghighijhijkijkljklmklmnlmnomnopnopq",
            "84983e441c3bd26ebaae4aa1f95129e5e54670f1",
        ),
        (b"a" * 1000, "291e9a6c66994949b57ba5e650361e98fc36b1ba"),
    ):
        assert sha1(text) == bytes.fromhex(hexed), text


def test_md5():
    # RFC 1321, appendix A.5.
    from stack.crypto.md5 import Md5

    for text, hexed in (
        (b"", "d41d8cd98f00b204e9800998ecf8427e"),
        (b"abc", "900150983cd24fb0d6963f7d28e17f72"),
        (b"message digest", "f96b697d7cb7938d525a2f31aaf161d0"),
        (b"1234567890" * 8, "57edf4a22be3c955ac49da2e2107b67a"),
    ):
        assert Md5(text).hexdigest() == hexed, text


def test_hashlib_in_pieces():
    from stack.api import hashlib

    data = bytes(range(256)) * 3
    for name in ("md5", "sha1", "sha256", "sha384", "sha512"):
        for cut in (0, 1, 55, 56, 63, 64, 65, 127, 128, 200, 767):
            h = hashlib.new(name, data[:cut])
            other = h.copy()
            h.digest()  # reading does not end it
            h.update(memoryview(data)[cut:])
            assert h.digest() == getattr(hashlib, name)(data).digest(), (name, cut)
            other.update(bytearray(data[cut:]))
            assert other.hexdigest() == h.hexdigest()
    try:
        hashlib.new("crc7")
        raise AssertionError("an unknown hash")
    except ValueError:
        pass
