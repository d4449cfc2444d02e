"""Random inputs against the `cryptography` package, both ways, in every tier.

The seed is printed with a failure and may be given as CRYPTO_SEED.
"""

import hashlib
import hmac as stdlib_hmac
import os
import random

import pytest
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import (
    ec,
    ed25519,
    mlkem,
    padding,
    rsa,
    utils,
    x25519,
)
from cryptography.hazmat.primitives.ciphers import aead
from cryptography.hazmat.primitives.kdf.hkdf import HKDF
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from stack.crypto import aead as our_aead
from stack.crypto import ed25519 as our_ed25519
from stack.crypto import hkdf, hmac, keccak
from stack.crypto import mlkem as our_mlkem
from stack.crypto import rsa as our_rsa
from stack.crypto import x25519 as our_x25519
from stack.crypto.p256 import P256
from stack.crypto.p384 import P384
from stack.crypto.sha2 import Sha256, Sha384, Sha512

SEED = int(os.environ.get("CRYPTO_SEED", random.randrange(1 << 32)))
HASHES = {Sha256: hashes.SHA256(), Sha384: hashes.SHA384(), Sha512: hashes.SHA512()}


@pytest.fixture
def rnd(request):
    print("CRYPTO_SEED=%d" % SEED)
    return random.Random("%d %s" % (SEED, request.node.name))


def _lengths(rnd, count, top):
    return [0, 1] + [rnd.randrange(top) for _ in range(count)]


def test_hashes(tier, rnd):
    for n in _lengths(rnd, 25, 700):
        data = rnd.randbytes(n)
        for cls in HASHES:
            assert cls(data).digest() == hashlib.new(cls.name, data).digest()
            key = rnd.randbytes(rnd.randrange(200))
            assert hmac.hmac(cls, key, data) == stdlib_hmac.new(key, data, cls.name).digest()
        assert keccak.sha3_256(data) == hashlib.sha3_256(data).digest()
        assert keccak.sha3_512(data) == hashlib.sha3_512(data).digest()
        out = rnd.randrange(600)
        assert keccak.Shake128(data).read(out) == hashlib.shake_128(data).digest(out)
        assert keccak.Shake256(data).read(out) == hashlib.shake_256(data).digest(out)


def test_hkdf(tier, rnd):
    for cls, theirs in HASHES.items():
        for _ in range(5):
            ikm, salt, info = [rnd.randbytes(rnd.randrange(1, 80)) for _ in range(3)]
            n = rnd.randrange(1, 300)
            prk = hkdf.extract(cls, salt, ikm)
            assert hkdf.expand(cls, prk, info, n) == HKDF(theirs, n, salt, info).derive(ikm)


AEADS = (
    (our_aead.Aes128Gcm, aead.AESGCM),
    (our_aead.Aes256Gcm, aead.AESGCM),
    (our_aead.ChaCha20Poly1305, aead.ChaCha20Poly1305),
)


@pytest.mark.parametrize("ours,theirs", AEADS, ids=lambda c: c.__name__)
def test_aead(tier, rnd, ours, theirs):
    for n in _lengths(rnd, 25, 1600) + [rnd.randrange(3000)]:
        key, nonce = rnd.randbytes(ours.key_size), rnd.randbytes(12)
        aad, data, off = rnd.randbytes(rnd.randrange(40)), rnd.randbytes(n), rnd.randrange(20)
        buf = bytearray(rnd.randbytes(off)) + data + bytearray(16 + 3)
        before = bytes(buf[:off])
        k = ours(key)
        k.seal(nonce, aad, buf, off, n)
        assert buf[off:-3] == theirs(key).encrypt(nonce, data, aad)
        assert buf[:off] == before and buf[-3:] == bytes(3)
        assert k.open(nonce, aad, buf, off, n)
        assert buf[off : off + n] == data
        sealed = bytearray(theirs(key).encrypt(nonce, data, aad))
        bit = rnd.randrange(8 * len(sealed))
        sealed[bit >> 3] ^= 1 << (bit & 7)
        tampered = bytes(sealed)
        assert not k.open(nonce, aad, sealed, 0, n)
        assert sealed == tampered


def test_aead_bulk(tier, rnd):
    # Enough records for a key to become a bulk key, and more keys than there are tables.
    if tier != "asm":
        pytest.skip("only machine code has bulk keys")
    keys = [(our_aead.Aes128Gcm(k), aead.AESGCM(k)) for k in [rnd.randbytes(16) for _ in range(11)]]
    for i in range(220):
        ours, theirs = keys[rnd.randrange(11)]
        data = rnd.randbytes(rnd.randrange(16000, 16385))
        nonce = i.to_bytes(12, "big")
        buf = bytearray(data) + bytearray(16)
        ours.seal(nonce, b"", buf, 0, len(data))
        assert buf == theirs.encrypt(nonce, data, b"")


def test_x25519(tier, rnd):
    for _ in range(12):
        a = x25519.X25519PrivateKey.from_private_bytes(rnd.randbytes(32))
        b = rnd.randbytes(32)
        raw = a.private_bytes_raw()
        assert our_x25519.public(raw) == a.public_key().public_bytes_raw()
        peer = x25519.X25519PublicKey.from_public_bytes(our_x25519.public(b))
        assert our_x25519.shared(b, a.public_key().public_bytes_raw()) == a.exchange(peer)
        # Not every 32 bytes are on the curve, the twist included: all are accepted.
        u = rnd.randbytes(32)
        assert our_x25519.shared(raw, u) == a.exchange(x25519.X25519PublicKey.from_public_bytes(u))


def test_x25519_thousand(tier):
    if tier != "asm":
        pytest.skip("a thousand ladders")
    k = u = b"\x09" + bytes(31)
    for _ in range(1000):
        k, u = our_x25519.shared(k, u), k
    # RFC 7748, 5.2
    want = "684cf59ba83309552800ef566f2f4d3c1c3887c49360e3875f2eb94d99532c51"
    assert k == bytes.fromhex(want)


def test_ed25519(tier, rnd):
    for _ in range(4):
        seed, msg = rnd.randbytes(32), rnd.randbytes(rnd.randrange(200))
        key = ed25519.Ed25519PrivateKey.from_private_bytes(seed)
        public = key.public_key().public_bytes_raw()
        assert our_ed25519.public(seed) == public
        assert our_ed25519.sign(seed, msg) == key.sign(msg)
        assert our_ed25519.verify(public, msg, key.sign(msg))
        bad = bytearray(key.sign(msg))
        bad[rnd.randrange(64)] ^= 1 << rnd.randrange(8)
        assert not our_ed25519.verify(public, msg, bytes(bad))


@pytest.mark.parametrize(
    "curve,theirs", ((P256, ec.SECP256R1()), (P384, ec.SECP384R1())), ids=("p256", "p384")
)
def test_ecdsa_ecdh(tier, rnd, curve, theirs):
    for _ in range(6 if tier == "asm" else 2):
        d = rnd.randrange(1, curve.n)
        key = ec.derive_private_key(d, theirs)
        point = key.public_key().public_bytes(Encoding.X962, PublicFormat.UncompressedPoint)
        assert curve.public(d) == point
        other = ec.derive_private_key(rnd.randrange(1, curve.n), theirs)
        peer = other.public_key().public_bytes(Encoding.X962, PublicFormat.UncompressedPoint)
        assert curve.shared(d, peer) == key.exchange(ec.ECDH(), other.public_key())
        for cls, algorithm in HASHES.items():
            digest = rnd.randbytes(cls.digest_size)
            scheme = ec.ECDSA(utils.Prehashed(algorithm))
            r, s = utils.decode_dss_signature(key.sign(digest, scheme))
            assert curve.verify(point, digest, r, s)
            assert not curve.verify(point, digest, r, (s + 1) % curve.n)
            assert not curve.verify(peer, digest, r, s)
            for rng in (None, rnd.randbytes):
                r, s = curve.sign(d, digest, rng)
                key.public_key().verify(utils.encode_dss_signature(r, s), digest, scheme)


@pytest.fixture(scope="module", params=(2048, 2056, 3072, 4096))
def rsa_key(request):
    return rsa.generate_private_key(65537, request.param)


def test_rsa(tier, rnd, rsa_key):
    numbers = rsa_key.private_numbers()
    n, e = numbers.public_numbers.n, 65537
    key = our_rsa.RsaKey(n, e, numbers.d, numbers.p, numbers.q)
    for cls, algorithm in HASHES.items():
        msg = rnd.randbytes(50)
        digest = cls(msg).digest()
        pss = padding.PSS(padding.MGF1(algorithm), cls.digest_size)
        sig = rsa_key.sign(msg, padding.PKCS1v15(), algorithm)
        assert our_rsa.verify_pkcs1(n, e, cls.name, digest, sig)
        sig = rsa_key.sign(msg, pss, algorithm)
        assert our_rsa.verify_pss(n, e, cls, digest, sig, cls.digest_size)
        bad = bytearray(sig)
        bad[rnd.randrange(len(bad))] ^= 1 << rnd.randrange(8)
        assert not our_rsa.verify_pss(n, e, cls, digest, bytes(bad), cls.digest_size)
    sig = our_rsa.sign_pss(key, cls, digest, rnd.randbytes)
    rsa_key.public_key().verify(sig, msg, pss, algorithm)
    with pytest.raises(InvalidSignature):
        rsa_key.public_key().verify(sig, msg + b"x", pss, algorithm)


def test_mlkem(tier, rnd):
    for _ in range(3):
        seed = rnd.randbytes(64)
        theirs = mlkem.MLKEM768PrivateKey.from_seed_bytes(seed)
        ek, dk = our_mlkem.keygen_from(seed[:32], seed[32:])
        assert ek == theirs.public_key().public_bytes_raw()
        ss, ct = theirs.public_key().encapsulate()
        assert our_mlkem.decaps(dk, ct) == ss
        ct, ss = our_mlkem.encaps(ek, rnd.randbytes)
        assert theirs.decapsulate(ct) == ss
        bad = bytearray(ct)
        bad[rnd.randrange(len(bad))] ^= 1 << rnd.randrange(8)
        assert our_mlkem.decaps(dk, bad) == theirs.decapsulate(bytes(bad)) != ss
