# ruff: noqa: B023
"""Our machine code on this machine's silicon, called by ctypes, beside `cryptography` (OpenSSL).

    PYTHONPATH=host/shim:. python3 tests/oracle/crypto/native_speed.py

Both through Python, the best of many short runs, in one process. Not a test.
"""

import os
import time

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
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from stack.crypto import aead as our_aead
from stack.crypto import ed25519 as our_ed25519
from stack.crypto import kernels, native
from stack.crypto import mlkem as our_mlkem
from stack.crypto import rsa as our_rsa
from stack.crypto import x25519 as our_x25519
from stack.crypto.asm.host import Host, blob
from stack.crypto.p256 import P256
from stack.crypto.p384 import P384
from stack.crypto.sha2 import Sha256, Sha512

N = 16384


def best(f, seconds=0.25):
    """Seconds of one call: the least of many groups."""
    f()
    start = time.perf_counter()
    f()
    group = max(1, int(0.002 / max(time.perf_counter() - start, 1e-7)))
    least = 1e9
    end = time.perf_counter() + seconds
    while time.perf_counter() < end:
        start = time.perf_counter()
        for _ in range(group):
            f()
        least = min(least, (time.perf_counter() - start) / group)
    return least


def row(name, ours, theirs, size=0):
    a, b = best(ours), best(theirs)
    scale, unit = (size / 1e6, "MB/s") if size else (1, "/s")
    print("| %s | %.0f %s | %.0f %s | %.2f |" % (name, scale / a, unit, scale / b, unit, b / a))


def main():
    host = Host()
    assert kernels.start(host, blob()) == "asm"
    print("features:", " ".join(sorted(native.features(host))))
    print("| | ours | OpenSSL | ratio |\n|---|---|---|---|")
    nonce, data = bytes(12), os.urandom(N)
    for ours, theirs in (
        (our_aead.ChaCha20Poly1305, aead.ChaCha20Poly1305),
        (our_aead.Aes128Gcm, aead.AESGCM),
        (our_aead.Aes256Gcm, aead.AESGCM),
    ):
        buf = bytearray(data) + bytearray(16)
        k, t = ours(bytes(ours.key_size)), theirs(bytes(ours.key_size))
        row(
            ours.__name__,
            lambda: k.seal(nonce, b"", buf, 0, N),
            lambda: t.encrypt(nonce, data, b""),
            N,
        )
    for cls, algorithm in ((Sha256, hashes.SHA256()), (Sha512, hashes.SHA512())):

        def theirs(algorithm=algorithm):
            h = hashes.Hash(algorithm)
            h.update(data)
            h.finalize()

        row(cls.name, lambda cls=cls: cls.of(data), theirs, N)
    xk, xo = x25519.X25519PrivateKey.generate(), x25519.X25519PrivateKey.generate().public_key()
    raw, peer = xk.private_bytes_raw(), xo.public_bytes_raw()
    row("X25519", lambda: our_x25519.shared(raw, peer), lambda: xk.exchange(xo))
    digest = bytes(range(32))
    scheme = ec.ECDSA(utils.Prehashed(hashes.SHA256()))
    for curve, theirs in ((P256, ec.SECP256R1()), (P384, ec.SECP384R1())):
        key = ec.generate_private_key(theirs)
        d, public = key.private_numbers().private_value, key.public_key()
        point = public.public_bytes(Encoding.X962, PublicFormat.UncompressedPoint)
        sig = key.sign(digest, scheme)
        r, s = utils.decode_dss_signature(sig)
        row(
            curve.name + " sign",
            lambda: curve.sign(d, digest, os.urandom),
            lambda: key.sign(digest, scheme),
        )
        row(
            curve.name + " verify",
            lambda: curve.verify(point, digest, r, s),
            lambda: public.verify(sig, digest, scheme),
        )
        row(
            curve.name + " ECDH",
            lambda: curve.shared(d, point),
            lambda: key.exchange(ec.ECDH(), public),
        )
    ek = ed25519.Ed25519PrivateKey.generate()
    seed, epub = ek.private_bytes_raw(), ek.public_key()
    eraw, esig = epub.public_bytes_raw(), ek.sign(digest)
    row("Ed25519 sign", lambda: our_ed25519.sign(seed, digest), lambda: ek.sign(digest))
    row(
        "Ed25519 verify",
        lambda: our_ed25519.verify(eraw, digest, esig),
        lambda: epub.verify(esig, digest),
    )
    rk = rsa.generate_private_key(65537, 2048)
    n, rn = rk.public_key().public_numbers().n, rk.private_numbers()
    pss = padding.PSS(padding.MGF1(hashes.SHA256()), 32)
    rsig, prehashed = (
        rk.sign(digest, padding.PKCS1v15(), utils.Prehashed(hashes.SHA256())),
        utils.Prehashed(hashes.SHA256()),
    )
    ours = our_rsa.RsaKey(n, 65537, rn.d, rn.p, rn.q)
    row(
        "RSA-2048 verify",
        lambda: our_rsa.verify_pkcs1(n, 65537, "sha256", digest, rsig),
        lambda: rk.public_key().verify(rsig, digest, padding.PKCS1v15(), prehashed),
    )
    row(
        "RSA-2048 sign",
        lambda: our_rsa.sign_pss(ours, Sha256, digest, os.urandom),
        lambda: rk.sign(digest, pss, prehashed),
    )
    mk = mlkem.MLKEM768PrivateKey.generate()
    mpub = mk.public_key()
    mek = mpub.public_bytes_raw()
    mdk = our_mlkem.keygen_from(mk.private_bytes_raw()[:32], mk.private_bytes_raw()[32:])[1]
    ct = our_mlkem.encaps(mek, os.urandom)[0]
    row("ML-KEM-768 encaps", lambda: our_mlkem.encaps(mek, os.urandom), mpub.encapsulate)
    row("ML-KEM-768 decaps", lambda: our_mlkem.decaps(mdk, ct), lambda: mk.decapsulate(ct))


main()
