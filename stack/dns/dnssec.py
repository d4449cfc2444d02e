"""DNSSEC: is a key the parent's, is a signature good? RFC 4033 to 4035.

RFC 5702 (RSA with SHA-2), 6605 (ECDSA), 8080 (Ed25519), 6840 (clarifications). Pure functions
on Rrsets. What does not exist is denial.py's; where trust comes from, recursor/trust.py's.

Every function that may be given hostile work takes a Budget and stops when it is spent
(CVE-2023-50387, "KeyTrap"; CVE-2023-50868, NSEC3's closest encloser).

Not implemented: algorithms with SHA-1 (5, 7), Ed448 (16), GOST, and DS by SHA-1: zones that
have nothing else count as unsigned (RFC 4035, section 5.2), which is said in the answer.
"""

import micropython
from micropython import const

from stack.crypto import ed25519, rsa
from stack.crypto.p256 import P256
from stack.crypto.p384 import P384
from stack.crypto.sha2 import Sha256, Sha384, Sha512
from stack.dns import name as _name
from stack.dns import rdata as _rdata

# What is known about data. Only these four (RFC 4035, section 4.3).
UNCHECKED = const(0)
SECURE = const(1)
INSECURE = const(2)
BOGUS = const(3)
STATUS = ("unchecked", "secure", "insecure", "bogus")

RSASHA256 = const(8)
RSASHA512 = const(10)
ECDSAP256 = const(13)
ECDSAP384 = const(14)
ED25519 = const(15)
ALGORITHMS = (RSASHA256, RSASHA512, ECDSAP256, ECDSAP384, ED25519)
DIGESTS = {2: Sha256, 4: Sha384}

# DNSKEY: flags(2) protocol(1) algorithm(1) key.  RRSIG: covered(2) algorithm(1) labels(1)
# ttl(4) expires(4) begins(4) tag(2) signer signature.
_ZONE_KEY = const(0x0100)
_REVOKED = const(0x0080)  # RFC 5011, section 2.1: "MUST NOT be used" but for revoking

_RSA_MIN_BITS = const(1024)  # RFC 5702: zones still sign with these; TLS asks for more

# Work for one question: a real one needs 3 signatures a zone, so 64 go 20 zones deep; each
# is 0.1 to 1 ms. Hashes of 150 iterations cost 1 ms each.
MAX_VERIFIES = const(64)
MAX_HASHES = const(48)
# Keys with one tag that are tried for a signature, and signatures tried for a set.
_SAME_TAG = const(2)
_SIGS_TRIED = const(4)
# Keys and DS of a zone that are looked at: in use there are 2 to 8 at the height of a rollover.
KEYS_MAX = const(16)
DS_MAX = const(8)


class Bogus(Exception):
    """Validation failed. args: (EDE info code of RFC 8914, why in words)."""


# RFC 8914's codes that this file gives.
EDE_BOGUS = const(6)
EDE_EXPIRED = const(7)
EDE_NOT_YET = const(8)
EDE_NO_KEY = const(9)
EDE_NO_SIGS = const(10)
EDE_NO_DENIAL = const(12)


class Budget:
    """What one question may cost."""

    def __init__(self):
        self.verifies = MAX_VERIFIES
        self.hashes = MAX_HASHES

    def verify(self):
        if not self.verifies:
            raise Bogus(EDE_BOGUS, "too many signatures to check")
        self.verifies -= 1

    def hash(self):
        if not self.hashes:
            raise Bogus(EDE_BOGUS, "too many NSEC3 hashes to compute")
        self.hashes -= 1


# Keys.


def key_tag(key):
    """RFC 4034, appendix B, of a DNSKEY's RDATA."""
    return _tag(key, len(key))


@micropython.viper
def _tag(key, n: int) -> int:
    p = ptr8(key)
    total = 0
    i = 0
    while i < n:
        total += p[i] if i & 1 else p[i] << 8
        i += 1
    total += total >> 16 & 0xFFFF
    return total & 0xFFFF


def usable_key(key):
    """May this DNSKEY sign a zone's data, by an algorithm that we have?"""
    if len(key) < 5:
        return False
    flags = key[0] << 8 | key[1]
    return flags & _ZONE_KEY and not flags & _REVOKED and key[2] == 3 and key[3] in ALGORITHMS


def usable_ds(ds):
    """Can we check a key against this DS?"""
    return len(ds) > 4 and ds[2] in ALGORITHMS and ds[3] in DIGESTS


def ds_matches(owner, key, ds):
    """True if `ds` names DNSKEY `key` of zone `owner`. RFC 4034, section 5.1.4."""
    if ds[2] != key[3] or (ds[0] << 8 | ds[1]) != key_tag(key):
        return False
    return DIGESTS[ds[3]].of(owner + key) == ds[4:]


def _verify(key, data, sig):
    """Does `sig` sign `data` under DNSKEY `key`?"""
    algorithm = key[3]
    public = key[4:]
    if algorithm == ED25519:
        return ed25519.verify(public, data, sig)
    if algorithm == RSASHA256 or algorithm == RSASHA512:
        return _verify_rsa(public, data, sig, algorithm)
    curve, hash_class = (P256, Sha256) if algorithm == ECDSAP256 else (P384, Sha384)
    n = curve.size
    if len(public) != 2 * n or len(sig) != 2 * n:
        return False
    r = int.from_bytes(sig[:n], "big")
    s = int.from_bytes(sig[n:], "big")
    return curve.verify(b"\x04" + public, hash_class.of(data), r, s)


def _verify_rsa(public, data, sig, algorithm):
    """RFC 3110, section 2: exponent's length (1 byte, or 0 and 2), exponent, modulus."""
    n = public[0]
    at = 1
    if n == 0:
        if len(public) < 3:
            return False
        n = public[1] << 8 | public[2]
        at = 3
    e = int.from_bytes(public[at : at + n], "big")
    modulus = int.from_bytes(public[at + n :], "big")
    hash_class = Sha256 if algorithm == RSASHA256 else Sha512
    return rsa.verify_pkcs1(
        modulus, e, hash_class.name, hash_class.of(data), sig, _RSA_MIN_BITS
    )


def check_keys(owner, keys, ds_set, unix_time, budget):
    """The keys (RDATA) of an owner's DNSKEY set that a DS set leads to. Bogus.

    keys: the Rrset. None comes back if none of the DS is of an algorithm that we know: the
    zone counts as unsigned (RFC 4035, section 5.2; RFC 6840, section 5.2).
    """
    usable = [ds for ds in ds_set if usable_ds(ds)][:DS_MAX]
    if not usable:
        return None
    # RFC 4509, section 3: SHA-256 or better is there, so SHA-1 is not looked at anyway.
    good = [k for k in keys.data if usable_key(k)][:KEYS_MAX]
    code, why = EDE_NO_KEY, "no DNSKEY matches the DS"
    for key in good:
        if any([ds_matches(owner, key, ds) for ds in usable]):
            try:
                verify_rrset(keys, owner, [key], unix_time, budget)
                return good
            except Bogus as e:
                code, why = e.args
    raise Bogus(code, "%s: %s" % (_name.to_text(owner) or ".", why))


# Signatures.


def signer(sig):
    """The name of the zone that made an RRSIG, in lower case."""
    return _sig_name(sig).lower()


def _sig_name(sig):
    pos = 18
    while sig[pos]:
        pos += sig[pos] + 1
    return sig[18 : pos + 1]


def verify_rrset(rrset, zone, keys, unix_time, budget):
    """Check a set against the keys (RDATA) of `zone`: Bogus, or how many labels were signed.

    Fewer labels than the name has: it was made from a wildcard, and that nothing closer
    exists is to be proved too. Lowers the set's TTL to what the signature allows.
    RFC 4035, sections 5.3.1 to 5.3.4.
    """
    code = EDE_NO_SIGS
    why = "no signature"
    labels = _name.count(rrset.name)
    if rrset.name[:2] == _name.WILDCARD:
        labels -= 1
    tried = 0
    for sig in rrset.sigs:
        if signer(sig) != zone or sig[2] not in ALGORITHMS or sig[3] > labels:
            continue
        expires = int.from_bytes(sig[8:12], "big")
        begins = int.from_bytes(sig[12:16], "big")
        # RFC 4034, section 3.1.5: serial number arithmetic.
        if _after(unix_time, expires):
            code, why = EDE_EXPIRED, "signature expired"
            continue
        if _after(begins, unix_time):
            code, why = EDE_NOT_YET, "signature not yet valid"
            continue
        tried += 1
        if tried > _SIGS_TRIED:
            break
        code, why = _try_keys(rrset, sig, keys, budget, code, why)
        if why is None:
            left = (expires - unix_time) & 0xFFFFFFFF
            rrset.ttl = min(rrset.ttl, int.from_bytes(sig[4:8], "big"), left)
            return sig[3]
    raise Bogus(code, "%s %s: %s" % (
        _name.to_text(rrset.name) or ".", _rdata.type_name(rrset.type), why))  # fmt: skip


def _try_keys(rrset, sig, keys, budget, code, why):
    """(code, None) if one of the keys made the signature, else (code, why not)."""
    tag = sig[16] << 8 | sig[17]
    same = 0
    data = None
    for key in keys:
        if key[3] != sig[2] or key_tag(key) != tag:
            continue
        same += 1
        if same > _SAME_TAG:
            break
        if data is None:
            data = signed_data(rrset, sig)
        budget.verify()
        if _verify(key, data, sig[18 + len(_sig_name(sig)) :]):
            return code, None
        code, why = EDE_BOGUS, "wrong signature"
    if not same and code == EDE_NO_SIGS:
        code, why = EDE_NO_KEY, "no key with the signature's tag"
    return code, why


def _after(a, b):
    """a is later than b, both mod 2^32 (RFC 1982)."""
    return 0 < (a - b & 0xFFFFFFFF) < 0x80000000


def signed_data(rrset, sig):
    """What a signature is of: RRSIG's RDATA without signature, then the set. RFC 4034, 3.1.8.1."""
    signer_name = _sig_name(sig)
    out = bytearray(sig[:18])
    out.extend(signer_name.lower())
    name = rrset.name
    labels = sig[3]
    if labels < _name.count(name):
        name = _name.WILDCARD + _name.tail(name, labels)
    type = rrset.type
    head = name + bytes((type >> 8, type & 0xFF, 0, 1)) + sig[4:8]
    for data in sorted([_rdata.canonical(type, d) for d in rrset.data]):
        n = len(data)
        out.extend(head)
        out.append(n >> 8)
        out.append(n & 0xFF)
        out.extend(data)
    return bytes(out)
