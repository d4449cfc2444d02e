"""RSA signatures (RFC 8017): PKCS #1 v1.5 verify, PSS verify and sign. 2048 to 4096 bits.

    verify_pkcs1(n, e, hash_name, digest, sig, min_bits=2048) -> bool
    verify_pss(n, e, hash_class, digest, sig, salt_len) -> bool
    sign_pss(key, hash_class, digest, rng) -> bytes      key: RsaKey

Not implemented: encryption, PKCS #1 v1.5 signing, key generation, more than two primes.
"""

from micropython import const

from stack.crypto import kernels
from stack.crypto.bytesops import bit_length, equal, inverse

# RFC 8017, 9.2, note 1: DigestInfo up to the digest.
_PREFIX = {
    "sha256": bytes.fromhex("3031300d060960864801650304020105000420"),
    "sha384": bytes.fromhex("3041300d060960864801650304020205000430"),
    "sha512": bytes.fromhex("3051300d060960864801650304020305000440"),
}
_DIGEST = {"sha256": 32, "sha384": 48, "sha512": 64}

MIN_BITS = 2048
MAX_BITS = 4096
_BLINDINGS = const(32)  # signatures from one random r: its inverse is dear


def sane(n, e, min_bits=0):
    """True if (n, e) is a public key that we are willing to use."""
    if not (min_bits or MIN_BITS) <= bit_length(n) <= MAX_BITS:
        return False
    # A big e only makes the peer's signature dear to check; e = 1 signs anything.
    return n & 1 == 1 and e & 1 == 1 and 3 <= e < 1 << 32


class RsaKey:
    """A private key. What is not given is computed. ValueError if it is inconsistent."""

    def __init__(self, n, e, d, p, q, dp=None, dq=None, qinv=None):
        if not sane(n, e) or p * q != n:
            raise ValueError("RSA key")
        self.n = n
        self.e = e
        self.p = p
        self.q = q
        self.dp = d % (p - 1) if dp is None else dp
        self.dq = d % (q - 1) if dq is None else dq
        self.qinv = inverse(q, p) if qinv is None else qinv
        self.size = (bit_length(n) + 7) >> 3
        self.blinding = None
        self.blinded = 0


def _open(n, e, sig, min_bits=0):
    """sig^e mod n as bytes, or None for a wrong length or value. RFC 8017, 8.1.2."""
    size = (bit_length(n) + 7) >> 3
    if not sane(n, e, min_bits) or len(sig) != size:
        return None
    s = int.from_bytes(sig, "big")
    if s >= n:
        return None
    return kernels.modexp(s, e, n).to_bytes(size, "big")


def verify_pkcs1(n, e, hash_name, digest, sig, min_bits=0):
    """True if sig is `digest` signed with RSASSA-PKCS1-v1_5. hash_name: "sha256" and so on.

    min_bits: 0 for MIN_BITS; zones of DNSSEC still sign with fewer.
    """
    em = _open(n, e, sig, min_bits)
    if em is None or hash_name not in _PREFIX or len(digest) != _DIGEST[hash_name]:
        return False
    # RFC 8017, 8.2.2: encode again and compare the whole; never parse what was signed.
    t = _PREFIX[hash_name] + bytes(digest)
    return em == b"\x00\x01" + b"\xff" * (len(em) - len(t) - 3) + b"\x00" + t


def _mgf1(hash_class, seed, n):
    """RFC 8017, B.2.1."""
    out = b""
    i = 0
    while len(out) < n:
        out += hash_class(seed + i.to_bytes(4, "big")).digest()
        i += 1
    return out[:n]


def _xor(a, b):
    n = len(a)
    return (int.from_bytes(a, "big") ^ int.from_bytes(b, "big")).to_bytes(n, "big")


def verify_pss(n, e, hash_class, digest, sig, salt_len):
    """True if sig is `digest` signed with RSASSA-PSS, MGF1 with the same hash. RFC 8017, 9.1.2."""
    em = _open(n, e, sig)
    h_len = hash_class.digest_size
    if em is None or len(digest) != h_len:
        return False
    em_bits = bit_length(n) - 1
    if em_bits & 7 == 0:
        # The encoded message is one byte shorter than the modulus.
        if em[0]:
            return False
        em = em[1:]
    if len(em) < h_len + salt_len + 2 or em[-1] != 0xBC:
        return False
    masked = em[: -h_len - 1]
    h = em[-h_len - 1 : -1]
    spare = 8 * len(em) - em_bits
    if masked[0] >> (8 - spare):
        return False
    db = bytearray(_xor(masked, _mgf1(hash_class, h, len(masked))))
    db[0] &= 0xFF >> spare
    zeros = len(db) - salt_len - 1
    if bytes(db[:zeros]) != bytes(zeros) or db[zeros] != 1:
        return False
    return equal(hash_class(bytes(8) + bytes(digest) + bytes(db[zeros + 1 :])).digest(), h)


def _new_blinding(key, rng):
    """(r^e, 1/r) mod n for a random r."""
    while True:
        r = int.from_bytes(rng(key.size), "big") % key.n
        if r > 1:
            try:
                unblind = inverse(r, key.n)
            except ValueError:
                continue
            return kernels.modexp(r, key.e, key.n), unblind


def _blinding(key, rng):
    """The key's next pair to multiply with before and after. Both squared, it is a pair again."""
    if key.blinding is None or key.blinded == _BLINDINGS:
        key.blinding = _new_blinding(key, rng)
        key.blinded = 0
    else:
        a, b = key.blinding
        key.blinding = a * a % key.n, b * b % key.n
    key.blinded += 1
    return key.blinding


def _private(key, m, rng):
    """m^d mod n by the Chinese remainder theorem, blinded, and checked before it is let out."""
    n = key.n
    blind, unblind = _blinding(key, rng)
    x = m * blind % n
    s1 = kernels.modexp(x % key.p, key.dp, key.p)
    s2 = kernels.modexp(x % key.q, key.dq, key.q)
    s = (s2 + key.q * ((s1 - s2) * key.qinv % key.p)) * unblind % n
    # A fault in one half would give the key away (Boneh, DeMillo, Lipton).
    if kernels.modexp(s, key.e, n) != m:
        raise ValueError("RSA signing failed its check")
    return s


def sign_pss(key, hash_class, digest, rng):
    """The RSASSA-PSS signature of a digest, salt as long as the digest. RFC 8017, 8.1.1, 9.1.1."""
    h_len = hash_class.digest_size
    em_bits = bit_length(key.n) - 1
    em_len = (em_bits + 7) >> 3
    salt = rng(h_len)
    h = hash_class(bytes(8) + bytes(digest) + salt).digest()
    db = bytes(em_len - 2 * h_len - 2) + b"\x01" + salt
    masked = bytearray(_xor(db, _mgf1(hash_class, h, len(db))))
    masked[0] &= 0xFF >> (8 * em_len - em_bits)
    em = bytes(masked) + h + b"\xbc"
    return _private(key, int.from_bytes(em, "big"), rng).to_bytes(key.size, "big")
