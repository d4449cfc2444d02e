"""Certificates minted with `cryptography`: identities to talk with, good and bad chains.

`python3 -m tests.oracle.tls.minting` (from the root of the tree, with host/shim
on the path) writes tests/vectors/tls/{identities,chains}.py, which the guest
runs; test_chains.py mints afresh each time. Malformed ones come from `raw`, an
encoder that writes what the library refuses to.
"""

import datetime
import ipaddress
import os

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed448, ed25519, padding, rsa
from cryptography.x509 import ocsp
from cryptography.x509.oid import ExtendedKeyUsageOID as Eku
from cryptography.x509.oid import NameOID

NOW = 1767225600  # 2026-01-01 00:00
HOST = "www.example.org"


def when(t):
    return datetime.datetime(1970, 1, 1) + datetime.timedelta(seconds=t)


def day(n):
    return when(NOW + 86400 * n)


_keys = {}


def new_key(kind="p256"):
    if kind == "p256":
        return ec.generate_private_key(ec.SECP256R1())
    if kind == "p384":
        return ec.generate_private_key(ec.SECP384R1())
    if kind == "p521":
        return ec.generate_private_key(ec.SECP521R1())
    if kind == "ed25519":
        return ed25519.Ed25519PrivateKey.generate()
    if kind == "ed448":
        return ed448.Ed448PrivateKey.generate()
    # RSA is slow to make: one of each size serves all.
    if kind not in _keys:
        _keys[kind] = rsa.generate_private_key(65537, int(kind[3:]))
    return _keys[kind]


def dn(cn=None, **more):
    parts = []
    if more.get("o"):
        parts.append(x509.NameAttribute(NameOID.ORGANIZATION_NAME, more["o"]))
    if more.get("mail"):
        parts.append(x509.NameAttribute(NameOID.EMAIL_ADDRESS, more["mail"]))
    if cn:
        kind = more.get("type")
        if kind:
            parts.append(x509.NameAttribute(NameOID.COMMON_NAME, cn, _type=kind))
        else:
            parts.append(x509.NameAttribute(NameOID.COMMON_NAME, cn))
    return x509.Name(parts)


class Node:
    """A certificate with its key; `issue` makes one below it."""

    def __init__(self, cert, key):
        self.cert = cert
        self.key = key

    @property
    def der(self):
        return self.cert.public_bytes(serialization.Encoding.DER)


def general(names):
    out = []
    for n in names:
        if not isinstance(n, str):
            out.append(n)
            continue
        try:
            out.append(x509.IPAddress(ipaddress.ip_address(n)))
        except ValueError:
            out.append(x509.DNSName(n))
    return x509.SubjectAlternativeName(out)


_BITS = (
    "digital_signature", "content_commitment", "key_encipherment", "data_encipherment",
    "key_agreement", "key_cert_sign", "crl_sign", "encipher_only", "decipher_only",
)  # fmt: skip


def usage(*bits):
    return x509.KeyUsage(**{b: b in bits for b in _BITS})


def issue(
    subject,
    issuer=None,
    names=None,
    ca=False,
    path_len=None,
    key=None,
    bits=None,
    eku=None,
    start=-100,
    end=100,
    hash=None,
    pss=False,
    more=(),
    ids=True,
    serial=None,
    issuer_name=None,
    constraints=True,
):
    """A Node. `issuer` None: self-signed. names: subjectAltName. more: (extension, critical)."""
    key = key if key is not None and not isinstance(key, str) else new_key(key or "p256")
    subject = dn(subject) if isinstance(subject, str) else subject
    signer = issuer.key if issuer else key
    b = x509.CertificateBuilder().subject_name(subject).public_key(key.public_key())
    b = b.issuer_name(issuer_name or (issuer.cert.subject if issuer else subject))
    b = b.serial_number(serial or x509.random_serial_number())
    b = b.not_valid_before(start if isinstance(start, datetime.datetime) else day(start))
    b = b.not_valid_after(end if isinstance(end, datetime.datetime) else day(end))
    if constraints and (ca or path_len is not None):
        b = b.add_extension(x509.BasicConstraints(ca, path_len), True)
        if bits is None:
            bits = ("key_cert_sign", "crl_sign")
    if bits:
        b = b.add_extension(usage(*bits), True)
    if eku:
        b = b.add_extension(x509.ExtendedKeyUsage(eku), False)
    if names:
        empty = not list(subject)
        b = b.add_extension(general(names), empty)
    if ids:
        b = b.add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), False)
        b = b.add_extension(
            x509.AuthorityKeyIdentifier.from_issuer_public_key(signer.public_key()), False
        )
    for extension, critical in more:
        b = b.add_extension(extension, critical)
    if isinstance(signer, (ed25519.Ed25519PrivateKey, ed448.Ed448PrivateKey)):
        return Node(b.sign(signer, None), key)
    if hash is None:
        p384 = isinstance(signer, ec.EllipticCurvePrivateKey) and signer.key_size == 384
        hash = hashes.SHA384() if p384 else hashes.SHA256()
    extra = {}
    if pss:
        extra["rsa_padding"] = padding.PSS(padding.MGF1(hash), hash.digest_size)
    return Node(b.sign(signer, hash, **extra), key)


def root(name="Root", **more):
    return issue(name, ca=True, **more)


def leaf(issuer, host=HOST, **more):
    more.setdefault("eku", [Eku.SERVER_AUTH])
    more.setdefault("bits", ("digital_signature",))
    more.setdefault("names", [host])
    return issue(more.pop("subject", host), issuer, **more)


# Raw DER, to write what is wrong


def tlv(tag, *parts):
    body = b"".join(parts)
    n = len(body)
    if n < 128:
        return bytes((tag, n)) + body
    size = (n.bit_length() + 7) // 8
    return bytes((tag, 0x80 | size)) + n.to_bytes(size, "big") + body


def parts_of(der):
    """The elements in a SEQUENCE's DER."""
    def head(b, at):
        n = b[at + 1]
        p = at + 2
        if n & 0x80:
            k = n & 0x7F
            n = int.from_bytes(b[p : p + k], "big")
            p += k
        return p, p + n

    p, end = head(der, 0)
    out = []
    while p < end:
        _, e = head(der, p)
        out.append(der[p:e])
        p = e
    return out


def sign_raw(tbs_parts, algorithm, signer, hash=None, outer=None):
    """A certificate of TBS elements, signed for real."""
    tbs = tlv(0x30, *tbs_parts)
    if isinstance(signer, ec.EllipticCurvePrivateKey):
        s = signer.sign(tbs, ec.ECDSA(hash or hashes.SHA256()))
    else:
        s = signer.sign(tbs, padding.PKCS1v15(), hash or hashes.SHA256())
    return tlv(0x30, tbs, outer or algorithm, tlv(3, b"\x00", s))


def rework(node, issuer, change, **more):
    """The node's certificate with its list of TBS elements changed by `change`, signed again.

    The elements: version, serial, algorithm, issuer, validity, subject, spki, extensions.
    """
    tbs, algorithm, _ = parts_of(node.der)
    elements = parts_of(tbs)
    got = change(elements)
    elements = got if got is not None else elements
    return sign_raw(elements, more.pop("algorithm", algorithm), issuer.key, **more)


def rework_extensions(node, issuer, change):
    """The same, for the list of extensions."""
    def inner(elements):
        seq = parts_of(elements[7])[0]
        extensions = parts_of(seq)
        got = change(extensions)
        extensions = got if got is not None else extensions
        elements[7] = tlv(0xA3, tlv(0x30, *extensions))

    return rework(node, issuer, inner)


def extension(oid_hex, body, critical=b""):
    return tlv(0x30, tlv(6, bytes.fromhex(oid_hex)), critical, tlv(4, body))


def oid(text):
    return x509.ObjectIdentifier(text)


def policies(*texts):
    return x509.CertificatePolicies([x509.PolicyInformation(oid(t), None) for t in texts]), False


def unknown_extension(critical):
    return x509.UnrecognizedExtension(oid("1.2.3.4.5"), b"\x05\x00"), critical


P1, P2, ANY = "1.3.6.1.4.1.99999.1", "1.3.6.1.4.1.99999.2", "2.5.29.32.0"


def status(cert, issuer, state="good", signer=None, certs=None, this=-1, until=1, hash=None,
           about=None):  # fmt: skip
    """An OCSP response's DER."""
    states = ocsp.OCSPCertStatus
    revoked = state == "revoked"
    b = ocsp.OCSPResponseBuilder().add_response(
        cert=(about or cert).cert,
        issuer=issuer.cert,
        algorithm=hash or hashes.SHA1(),
        cert_status=getattr(states, state.upper()),
        this_update=day(this),
        next_update=day(until) if until is not None else None,
        revocation_time=day(-3) if revoked else None,
        revocation_reason=None,
    )
    signer = signer or issuer
    b = b.responder_id(ocsp.OCSPResponderEncoding.HASH, signer.cert)
    if certs:
        b = b.certificates([c.cert for c in certs])
    return b.sign(signer.key, hashes.SHA256()).public_bytes(serialization.Encoding.DER)


def key_pem(key, format="pkcs8"):
    formats = {
        "pkcs8": serialization.PrivateFormat.PKCS8,
        "traditional": serialization.PrivateFormat.TraditionalOpenSSL,
    }
    return key.private_bytes(
        serialization.Encoding.PEM, formats[format], serialization.NoEncryption()
    )


def pem(*nodes):
    return b"".join([n.cert.public_bytes(serialization.Encoding.PEM) for n in nodes])


def spki_pin(node):
    import hashlib

    spki = node.key.public_key().public_bytes(
        serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo
    )
    return hashlib.sha256(spki).digest()


# Identities for handshakes: kind -> (chain PEM, key PEM), all below one root


def identities():
    """(root PEM, dict kind -> (chain PEM, key PEM)) for HOST, one a kind of signature."""
    top = root("Barewire Test Root", end=3650)
    middle = issue("Barewire Test CA", top, ca=True, path_len=0, end=3650)
    out = {}
    for kind in ("p256", "p384", "ed25519", "rsa2048"):
        usages = [Eku.SERVER_AUTH, Eku.CLIENT_AUTH]
        names = [HOST, "localhost", "127.0.0.1"]
        node = leaf(middle, subject=kind, names=names, key=kind, eku=usages, end=3640)
        out[kind] = (pem(node, middle), key_pem(node.key))
    return pem(top), out


# Cases: (why, expected kind or "", chain, roots, options)


class Case:
    """`kind` is "" for a good chain, else the CertificateError's; options of the judgement."""

    def __init__(self, why, kind, chain, roots, **options):
        self.why = why
        self.kind = kind
        self.chain = [c.der if isinstance(c, Node) else c for c in chain]
        self.roots = [c.der if isinstance(c, Node) else c for c in roots]
        self.host = options.pop("host", HOST)
        self.now = options.pop("now", NOW)
        self.client = options.pop("client", False)
        self.ocsp = options.pop("ocsp", None)
        self.pins = options.pop("pins", ())
        assert not options, options


def good_cases():
    out = []

    def ok(why, chain, roots, **options):
        out.append(Case(why, "", chain, roots, **options))

    r = root()
    i = issue("CA", r, ca=True)
    l = leaf(i)
    ok("a leaf below the root", [leaf(r)], [r])
    ok("one intermediate", [l, i], [r])
    i2 = issue("CA 2", i, ca=True)
    i3 = issue("CA 3", i2, ca=True)
    l3 = leaf(i3)
    ok("three intermediates", [l3, i3, i2, i], [r])
    ok("intermediates out of order", [l3, i, i3, i2], [r])
    ok("the root sent along", [l, i, r], [r])
    ok("a certificate sent twice", [l, i, i], [r])
    ok("certificates that do not belong", [l, root("Other"), i, issue("X", root("Y"))], [r])
    other = root("Old Root")
    crossed = issue("Root", other, ca=True, key=r.key)
    ok("cross-signed, the new root trusted", [l, i, crossed], [r])
    ok("cross-signed, the old root trusted", [l, i, crossed], [other])
    late = issue("Root", root("Old Root", end=-1), ca=True, key=r.key, end=-1)
    ok("cross-signed by a root that expired", [l, i, late], [r])
    ok("cross-signed, the expired way tried first", [l, late, i], [r, root("Old Root", end=-1)])
    ok("two roots of a name", [l, i], [root(), r, root()])
    twin = issue("CA", r, ca=True)
    ok("two intermediates of a name, the wrong first", [l, twin, i], [r])
    bare_r = root("Bare", ids=False)
    bare_i = issue("Bare CA", bare_r, ca=True, ids=False)
    ok("no key identifiers", [leaf(bare_i, ids=False), bare_i], [bare_r])
    bare_twin = issue("Bare CA", bare_r, ca=True, ids=False)
    ok("a twin without key identifiers", [leaf(bare_i, ids=False), bare_twin, bare_i], [bare_r])
    alone = leaf(None, subject="device", ca=False)
    ok("a self-signed certificate, itself trusted", [alone], [alone])
    ok("an intermediate trusted, the root unknown", [l, i], [i])
    v1 = rework(r, r, lambda e: e[1:7])
    ok("a root of version 1", [l, i], [v1])
    wild = leaf(r, names=["*.example.org"])
    ok("a wildcard", [wild], [r], host="shop.example.org")
    ok("a name in upper case", [l, i], [r], host="WWW.Example.ORG")
    ok("a name with a final dot", [l, i], [r], host="www.example.org.")
    ok("a certificate with an upper-case name", [leaf(r, names=["WWW.EXAMPLE.ORG"])], [r])
    ok("an IPv4 address", [leaf(r, names=["192.0.2.7"])], [r], host="192.0.2.7")
    ok("an IPv6 address", [leaf(r, names=["2001:db8::7"])], [r], host="2001:db8:0:0::7")
    ok("the second of many names", [leaf(r, names=["a%d.test" % n for n in range(99)] + [HOST])],
       [r])  # fmt: skip
    ok("a name with an underscore", [leaf(r, names=["_a.b_c.test"])], [r], host="_a.b_c.test")
    ok("no subject, critical names", [leaf(r, subject=x509.Name([]))], [r])
    shouting = dn("Test  CA", o="ACME Ltd", type=x509.name._ASN1Type.PrintableString)
    quiet = dn("test ca", o="Acme  Ltd", type=x509.name._ASN1Type.UTF8String)
    named = issue(shouting, r, ca=True)
    ok("names equal but for case, blanks and type", [leaf(named, issuer_name=quiet), named], [r])
    bmp = dn("Test CA", type=x509.name._ASN1Type.BMPString)
    named = issue(bmp, r, ca=True)
    ok("a BMPString equal to a UTF8String", [leaf(named, issuer_name=dn("TEST CA")), named], [r])
    for kind in ("p384", "ed25519", "rsa2048", "rsa3072"):
        kr = root("Root of " + kind, key=kind)
        ok("all of " + kind, [leaf(kr, key=kind)], [kr])
    rr = root("RSA Root", key="rsa2048")
    ok("an ECDSA leaf below an RSA root", [leaf(rr)], [rr])
    ok("signed with RSASSA-PSS", [leaf(rr, pss=True)], [rr])
    ok("signed with RSASSA-PSS and SHA-384", [leaf(rr, pss=True, hash=hashes.SHA384())], [rr])
    ok("signed with SHA-512", [leaf(rr, hash=hashes.SHA512())], [rr])
    ok("an RSA leaf below P-256", [leaf(r, key="rsa2048")], [r])
    lr = root("ISRG Shaped", key="rsa3072")
    li = issue("R10", lr, ca=True, path_len=0, key="rsa2048", bits=(
        "digital_signature", "key_cert_sign", "crl_sign"), eku=[Eku.CLIENT_AUTH, Eku.SERVER_AUTH],
        more=[policies("2.23.140.1.2.1")])  # fmt: skip
    ll = leaf(li, bits=("digital_signature", "key_encipherment"), key="rsa2048",
              subject=x509.Name([]), eku=[Eku.SERVER_AUTH, Eku.CLIENT_AUTH],
              more=[policies("2.23.140.1.2.1")])  # fmt: skip
    ok("Let's Encrypt's shape, RSA", [ll, li], [lr])
    ok("no extended key usage", [leaf(r, eku=None)], [r])
    ok("any extended key usage", [leaf(r, eku=[Eku.ANY_EXTENDED_KEY_USAGE])], [r])
    ok("no key usage", [leaf(r, bits=())], [r])
    ok("an intermediate for servers only", [leaf(x := issue("S", r, ca=True, eku=[
        Eku.SERVER_AUTH])), x], [r])  # fmt: skip
    ok("an unknown extension that is not critical", [leaf(r, more=[unknown_extension(False)])], [r])
    ok("a path length of just enough", [leaf(x := issue("A", r0 := root("R0", path_len=1), ca=True,
        path_len=0)), x], [r0])  # fmt: skip
    roll = issue("Root", r, ca=True)  # the root's new key, signed by its old one
    rl = issue("A", roll, ca=True, path_len=0)
    rp = root("Root", key=r.key, path_len=1)
    ok("a self-issued certificate does not count", [leaf(rl), rl, roll], [rp])
    nc = x509.NameConstraints
    d, ip, dirn = x509.DNSName, x509.IPAddress, x509.DirectoryName
    net = ipaddress.ip_network
    def below(permitted=None, excluded=None, host=HOST, **more):
        ca = issue("Bound", r, ca=True, more=[(nc(permitted, excluded), True)])
        return [leaf(ca, names=[host], **more), ca]
    ok("within a permitted domain", below([d("example.org")]), [r])
    ok("the permitted domain itself", below([d("www.example.org")]), [r])
    ok("outside an excluded domain", below(None, [d("example.com")]), [r])
    ok("a name that only ends alike", below(None, [d("ample.org")]), [r])
    ok("within a permitted network", below([ip(net("192.0.2.0/24"))], host="192.0.2.7"), [r],
       host="192.0.2.7")  # fmt: skip
    ok("a constraint of another kind", below([ip(net("192.0.2.0/24"))]), [r])
    ok("within a permitted directory", below([dirn(dn(o="Acme"))], subject=dn("x", o="ACME")), [r])
    strict = (x509.PolicyConstraints(0, None), True)
    ca = issue("P", r, ca=True, more=[strict, policies(P1)])
    ok("an explicit policy held", [leaf(ca, more=[policies(P1)]), ca], [r])
    ca = issue("P", r, ca=True, more=[strict, policies(ANY)])
    ok("an explicit policy by any-policy", [leaf(ca, more=[policies(P2)]), ca], [r])
    mapping = raw_mapping(r, P1, P2)
    ok("an explicit policy by a mapping", [leaf(mapping, more=[policies(P2)]), mapping], [r])
    ok("valid beyond 2050", [leaf(r, end=datetime.datetime(2060, 1, 1))], [r])
    ok("valid for ever", [leaf(r, end=datetime.datetime(9999, 12, 31, 23, 59, 59))], [r])
    ok("valid up to this second", [leaf(r, end=when(NOW))], [r])
    ok("valid from this second", [leaf(r, start=when(NOW))], [r])
    ok("a serial number of 20 bytes", [leaf(r, serial=(1 << 159) - 1)], [r])
    ok("a pin on the leaf", [l, i], [r], pins=(b"\0" * 32, spki_pin(l)))
    ok("a pin on the root", [l, i], [r], pins=(spki_pin(r),))
    ok("a client's certificate", [leaf(r, eku=[Eku.CLIENT_AUTH])], [r], client=True)
    ok("OCSP by the issuer", [l, i], [r], ocsp=status(l, i))
    ok("OCSP with SHA-256", [l, i], [r], ocsp=status(l, i, hash=hashes.SHA256()))
    ok("OCSP without an end", [l, i], [r], ocsp=status(l, i, until=None))
    charged = issue("OCSP", i, eku=[Eku.OCSP_SIGNING])
    ok("OCSP by one who is charged", [l, i], [r], ocsp=status(l, i, signer=charged,
       certs=[charged]))  # fmt: skip
    must = leaf(i, more=[(x509.TLSFeature([x509.TLSFeatureType.status_request]), False)])
    ok("must-staple, and stapled", [must, i], [r], ocsp=status(must, i))
    return out


def raw_mapping(issuer, a, b, **more):
    """A CA that maps policy a to b: `cryptography` has no builder for that."""
    def o(text):
        return parts_of(tlv(0x30, x509_oid(text)))[0]

    body = tlv(0x30, tlv(0x30, o(a), o(b)))
    node = issue("M", issuer, ca=True, more=[
        (x509.PolicyConstraints(0, more.get("inhibit")), True), policies(a),
        (x509.UnrecognizedExtension(oid("2.5.29.33"), body), True)])  # fmt: skip
    return node


def x509_oid(text):
    out = bytearray()
    values = [int(x) for x in text.split(".")]
    for v in [40 * values[0] + values[1]] + values[2:]:
        chunk = [v & 127]
        while v := v >> 7:
            chunk.append(v & 127 | 128)
        out += bytes(reversed(chunk))
    return tlv(6, bytes(out))


def bad_cases():
    out = []

    def no(kind, why, chain, roots, **options):
        out.append(Case(why, kind, chain, roots, **options))

    r = root()
    i = issue("CA", r, ca=True)
    l = leaf(i)
    one = leaf(r)
    # Time
    no("expired", "the leaf expired", [leaf(r, end=-1)], [r])
    no("expired", "expired a second ago", [leaf(r, end=when(NOW - 1))], [r])
    no("not-yet-valid", "the leaf is of the future", [leaf(r, start=1)], [r])
    x = issue("E", r, ca=True, end=-1)
    no("expired", "the intermediate expired", [leaf(x), x], [r])
    x = issue("E", r, ca=True, start=1)
    no("not-yet-valid", "the intermediate is of the future", [leaf(x), x], [r])
    x = root("Old", end=-1)
    no("expired", "the root expired", [leaf(x)], [x])
    # Hosts
    no("wrong-host", "another name", [l, i], [r], host="mail.example.org")
    no("wrong-host", "only a common name", [leaf(r, names=None)], [r])
    no("wrong-host", "an address for a name", [l, i], [r], host="192.0.2.1")
    no("wrong-host", "another address", [leaf(r, names=["192.0.2.7"])], [r], host="192.0.2.8")
    no("wrong-host", "an address as a DNS name",
       [leaf(r, names=[x509.DNSName("192.0.2.7")])], [r], host="192.0.2.7")  # fmt: skip
    no("wrong-host", "IPv4 for IPv6", [leaf(r, names=["192.0.2.7"])], [r], host="::c000:207")
    wild = leaf(r, names=["*.example.org"])
    no("wrong-host", "a wildcard for two labels", [wild], [r], host="a.b.example.org")
    no("wrong-host", "a wildcard for none", [wild], [r], host="example.org")
    for pattern in ("www.*.org", "w*.example.org", "*w.example.org", "*.org", "*", "*.*.org"):
        no("wrong-host", "the wildcard " + pattern, [leaf(r, names=[pattern])], [r])
    no("wrong-host", "a wildcard for an address",
       [leaf(r, names=[x509.DNSName("*.0.2.7")])], [r], host="192.0.2.7")  # fmt: skip
    no("wrong-host", "a name that only ends alike", [leaf(r, names=["example.org"])], [r],
       host="badexample.org")  # fmt: skip
    no("wrong-host", "a name with a zero byte in it",
       [leaf(r, names=[x509.DNSName(HOST + "\0.evil.test")])], [r])  # fmt: skip
    # Issuers
    no("unknown-issuer", "a root that nobody trusts", [l, i, r], [root("Other")])
    no("unknown-issuer", "no roots at all", [l, i], [])
    no("unknown-issuer", "signed by itself", [leaf(None, subject="self")], [r])
    no("unknown-issuer", "the intermediate is missing", [l], [r])
    no("unknown-issuer", "a circle", circle(), [r])
    no("bad-signature", "a root of that name with another key", [l, i], [root()])
    no("bad-signature", "an altered leaf", [flip(l.der), i], [r])
    no("bad-signature", "an altered intermediate", [l, flip(i.der)], [r])
    no("bad-signature", "the signature of another certificate",
       [transplant(leaf(i), l), i], [r])  # fmt: skip
    no("bad-signature", "an ECDSA key and an RSA signature",
       [rework(one, Node(None, new_key("rsa2048")), swap_algorithm(RSA_SHA256),
               algorithm=RSA_SHA256)], [r])  # fmt: skip
    # Authorities
    x = issue("N", r, ca=True, constraints=False, bits=("key_cert_sign",))
    no("not-a-ca", "no basicConstraints", [leaf(x), x], [r])
    x = issue("N", r, ca=True, constraints=False, bits=("key_cert_sign",),
              more=[(x509.BasicConstraints(False, None), True)])  # fmt: skip
    no("not-a-ca", "basicConstraints that deny", [leaf(x), x], [r])
    x = leaf(r, subject="Leaf")
    no("not-a-ca", "issued by a leaf", [leaf(x), x], [r])
    x = issue("N", r, ca=True, bits=("digital_signature", "crl_sign"))
    no("not-a-ca", "an authority whose key may not sign", [leaf(x), x], [r])
    x = root("N", bits=("crl_sign",))
    no("not-a-ca", "a root whose key may not sign", [leaf(x)], [x])
    x = issue("CA", None, names=[HOST])
    no("not-a-ca", "a root that is no authority", [leaf(x)], [x])
    x = issue("V", r, ca=True)
    no("not-a-ca", "an intermediate of version 1", [leaf(x), rework(x, r, lambda e: e[1:7])], [r])
    x = issue("A", r, ca=True, path_len=0)
    y = issue("B", x, ca=True)
    no("path-too-long", "a path length of 0 passed over", [leaf(y), y, x], [r])
    z = root("R0", path_len=0)
    x = issue("A", z, ca=True)
    no("path-too-long", "the root's path length passed over", [leaf(x), x], [z])
    z = root("R1", path_len=1)
    x = issue("A", z, ca=True, path_len=5)
    y = issue("B", x, ca=True)
    no("path-too-long", "a path length does not grow again", [leaf(y), y, x], [z])
    chain = [r]
    for n in range(9):
        chain.append(issue("L%d" % n, chain[-1], ca=True))
    no("unknown-issuer", "a chain of eleven", [leaf(chain[-1])] + chain[:0:-1], [r])
    no("too-costly", "a maze of twins", maze(), [r])
    # Usage
    no("wrong-usage", "a leaf for clients", [leaf(r, eku=[Eku.CLIENT_AUTH])], [r])
    no("wrong-usage", "a server's certificate as a client's", [l, i], [r], client=True)
    x = issue("U", r, ca=True, eku=[Eku.EMAIL_PROTECTION])
    no("wrong-usage", "an intermediate for mail", [leaf(x), x], [r])
    no("wrong-usage", "a key for encryption", [leaf(r, bits=("key_encipherment",))], [r])
    no("wrong-usage", "an authority's certificate as a leaf", [issue("CA", r, ca=True,
       names=[HOST])], [r])  # fmt: skip
    no("unsupported", "an unknown critical extension", [leaf(r, more=[unknown_extension(True)])],
       [r])  # fmt: skip
    x = issue("U", r, ca=True, more=[unknown_extension(True)])
    no("unsupported", "an unknown critical extension above", [leaf(x), x], [r])
    poison = leaf(r, more=[(x509.PrecertPoison(), True)])
    no("unsupported", "a precertificate", [poison], [r])
    # Constraints
    nc = x509.NameConstraints
    d, ip, dirn = x509.DNSName, x509.IPAddress, x509.DirectoryName
    net = ipaddress.ip_network

    def bound(why, permitted=None, excluded=None, host=HOST, **more):
        ca = issue("Bound", r, ca=True, more=[(nc(permitted, excluded), True)])
        names = more.pop("names", [host])
        no("name-constraint", why, [leaf(ca, names=names, **more), ca], [r], host=host)

    bound("outside the permitted domain", [d("example.com")])
    bound("in an excluded domain", None, [d("example.org")])
    bound("excluded wins over permitted", [d("example.org")], [d("www.example.org")])
    bound("one name of two outside", [d("example.org")], names=[HOST, "evil.test"])
    bound("a wildcard over what is excluded", None, [d("a.example.org")], names=[HOST,
          "*.example.org"])  # fmt: skip
    bound("outside the permitted network", [ip(net("192.0.2.0/24"))], host="198.51.100.1")
    bound("in an excluded network", None, [ip(net("192.0.2.0/24"))], host="192.0.2.9")
    bound("in an excluded IPv6 network", None, [ip(net("2001:db8::/32"))], host="2001:db8::9")
    bound("outside the permitted directory", [dirn(dn(o="Acme"))], subject=dn("x", o="Evil"))
    bound("in an excluded directory", None, [dirn(dn(o="Acme"))], subject=dn("x", o="ACME"))
    bound("an excluded mail host", None, [x509.RFC822Name("example.org")],
          names=[HOST, x509.RFC822Name("a@example.org")])  # fmt: skip
    bound("an excluded mail address in the subject", None, [x509.RFC822Name("example.org")],
          subject=dn("x", mail="a@example.org"))  # fmt: skip
    bound("an excluded URI", None, [x509.UniformResourceIdentifier(".example.org")],
          names=[HOST, x509.UniformResourceIdentifier("https://a.example.org/")])  # fmt: skip
    z = root("Bound Root", more=[(nc([d("example.com")], None), True)])
    no("name-constraint", "the root's own constraint", [leaf(z)], [z])
    z = issue("Z", r, ca=True, more=[(nc([d("example.com")], None), True)])
    y = issue("Y", z, ca=True, more=[(nc([d("example.org")], None), True)])
    no("name-constraint", "a constraint does not widen", [leaf(y), y, z], [r])
    # Policies
    strict = (x509.PolicyConstraints(0, None), True)
    x = issue("P", r, ca=True, more=[strict, policies(P1)])
    no("policy", "an explicit policy missing", [leaf(x), x], [r])
    no("policy", "another policy", [leaf(x, more=[policies(P2)]), x], [r])
    x = issue("P", r, ca=True, more=[strict])
    no("policy", "an authority without the policy it requires", [leaf(x, more=[policies(P1)]), x],
       [r])  # fmt: skip
    x = issue("P", r, ca=True, more=[strict, policies(P1), (x509.InhibitAnyPolicy(0), True)])
    no("policy", "any-policy inhibited", [leaf(x, more=[policies(ANY)]), x], [r])
    z = issue("Z", r, ca=True, more=[(x509.PolicyConstraints(0, 0), True), policies(P1)])
    x = raw_mapping(z, P1, P2)
    no("policy", "mappings inhibited", [leaf(x, more=[policies(P2)]), x, z], [r])
    # Algorithms
    no("weak", "an RSA key of 1024 bits", [leaf(r, key="rsa1024")], [r])
    x = issue("W", r, ca=True, key="rsa1024")
    no("weak", "an authority of 1024 bits", [leaf(x), x], [r])
    no("weak", "ECDSA with SHA-1", [rework(one, r, swap_algorithm(ECDSA_SHA1),
       algorithm=ECDSA_SHA1, hash=hashes.SHA1())], [r])  # fmt: skip
    x = root("RSA", key="rsa2048")
    no("weak", "RSA with SHA-1", [rework(one, x, swap_issuer(x, RSA_SHA1), algorithm=RSA_SHA1,
       hash=hashes.SHA1())], [x])  # fmt: skip
    no("weak", "RSA with MD5", [rework(one, x, swap_issuer(x, RSA_MD5), algorithm=RSA_MD5,
       hash=hashes.MD5())], [x])  # fmt: skip
    no("weak", "an RSA exponent of 1", [rework(leaf(r, key="rsa2048"), r, exponent_one)], [r])
    no("unsupported", "P-521", [leaf(r, key="p521")], [r])
    no("unsupported", "Ed448", [leaf(r, key="ed448")], [r])
    x = issue("W", r, ca=True, key="p521")
    no("unsupported", "an authority on P-521", [leaf(x), x], [r])
    no("malformed", "a point that is not on the curve", [rework(one, r, off_curve)], [r])
    # Form
    good = one.der
    no("malformed", "bytes after the certificate", [good + b"\0"], [r])
    no("malformed", "cut short", [good[:-1]], [r])
    no("malformed", "no certificate", [b"\x05\x00"], [r])
    no("malformed", "an indefinite length", [b"\x30\x80" + good[4:] + b"\0\0"], [r])
    no("malformed", "a length with a needless byte",
       [b"\x30\x83\x00" + good[2:4] + good[4:]], [r])  # fmt: skip
    def bad(why, change):
        no("malformed", why, [rework(one, r, change)], [r])

    bad("a negative serial number", put(1, b"\x02\x01\x85"))
    bad("a serial number of 21 bytes", put(1, tlv(2, b"\x01" * 21)))
    bad("a serial number with a needless byte", put(1, b"\x02\x02\x00\x05"))
    bad("an empty serial number", put(1, b"\x02\x00"))
    bad("version 1 written out", put(0, b"\xa0\x03\x02\x01\x00"))
    bad("extensions in version 2", put(0, b"\xa0\x03\x02\x01\x01"))
    bad("version 4", put(0, b"\xa0\x03\x02\x01\x03"))
    late = b"\x17\x0d300101000000Z"
    bad("a time without seconds", put(4, tlv(0x30, b"\x17\x0b2501010000Z", late)))
    bad("a time with a zone", put(4, tlv(0x30, tlv(0x17, b"250101000000+0100"), late)))
    bad("a month 13", put(4, tlv(0x30, b"\x17\x0d251301000000Z", late)))
    bad("a 30th of February", put(4, tlv(0x30, b"\x17\x0d250230000000Z", late)))
    bad("parts of a second", put(4, tlv(0x30, tlv(0x18, b"20250101000000.5Z"), late)))
    no("malformed", "two signature algorithms", [rework(one, r, lambda e: None,
       outer=ECDSA_SHA384)], [r])  # fmt: skip
    san = extension("551d11", tlv(0x30, tlv(0x82, HOST.encode())))

    def bad_ext(why, change, kind="malformed"):
        no(kind, why, [rework_extensions(one, r, change)], [r])

    bad_ext("an extension twice", lambda e: e + [san])
    bad_ext("no extensions in the list", lambda e: [])
    bad_ext("critical written out as FALSE", lambda e: e + [extension("2a030405", b"\x05\x00",
            b"\x01\x01\x00")])  # fmt: skip
    bad_ext("TRUE as 01", lambda e: e + [extension("2a030405", b"\x05\x00", b"\x01\x01\x01")])
    bad_ext("an OID with needless bytes", lambda e: e + [extension("2a80030405", b"\x05\x00")])
    without = lambda e, o: [x for x in e if bytes.fromhex(o) not in x[:12]]
    bad_ext("keyUsage with trailing zeros", lambda e: without(e, "551d0f") + [
            extension("551d0f", b"\x03\x03\x00\x80\x00")])  # fmt: skip
    bad_ext("keyUsage with set padding", lambda e: without(e, "551d0f") + [
            extension("551d0f", b"\x03\x02\x07\x81")])  # fmt: skip
    bad_ext("an empty keyUsage", lambda e: without(e, "551d0f") + [
            extension("551d0f", b"\x03\x01\x00")])  # fmt: skip
    bad_ext("an empty extKeyUsage", lambda e: without(e, "551d25") + [extension("551d25",
            b"\x30\x00")])  # fmt: skip
    bad_ext("an empty subjectAltName", lambda e: without(e, "551d11") + [extension("551d11",
            b"\x30\x00")])  # fmt: skip
    bad_ext("an IP address of 5 bytes", lambda e: without(e, "551d11") + [extension("551d11",
            tlv(0x30, tlv(0x87, b"12345")))])  # fmt: skip
    bad_ext("a path length, no CA", lambda e: e + [extension("551d13", b"\x30\x03\x02\x01\x00")])
    bad_ext("cA written out as FALSE", lambda e: e + [extension("551d13", b"\x30\x03\x01\x01\x00")])
    bad_ext("a mask with holes", lambda e: e + [extension("551d1e", tlv(0x30, tlv(0xA0, tlv(0x30,
            tlv(0x87, b"\x0a\0\0\0\xff\0\xff\0")))))])  # fmt: skip
    bad_ext("bytes after an extension", lambda e: without(e, "551d13") + [extension("551d13",
            b"\x30\x00\x00")])  # fmt: skip
    bad_ext("a list of SCTs cut short", lambda e: e + [extension("2b06010401d679020402",
            b"\x04\x04\x00\x09\x00\x01")])  # fmt: skip
    # Pins and status
    no("wrong-pin", "a pin on none of the chain", [l, i], [r], pins=(b"\1" * 32,))
    no("revoked", "revoked", [l, i], [r], ocsp=status(l, i, "revoked"))
    no("bad-status", "OCSP of the past", [l, i], [r], ocsp=status(l, i, this=-9, until=-2))
    no("bad-status", "OCSP of the future", [l, i], [r], ocsp=status(l, i, this=1, until=2))
    no("bad-status", "OCSP without an end, long ago", [l, i], [r],
       ocsp=status(l, i, this=-20, until=None))  # fmt: skip
    no("bad-status", "OCSP about another", [l, i], [r], ocsp=status(l, i, about=leaf(i)))
    no("bad-status", "OCSP that does not know", [l, i], [r], ocsp=status(l, i, "unknown"))
    stranger = root("Stranger")
    no("bad-status", "OCSP by a stranger", [l, i], [r], ocsp=status(l, i, signer=stranger,
       certs=[stranger]))  # fmt: skip
    uncharged = issue("OCSP", i, eku=[Eku.SERVER_AUTH])
    no("bad-status", "OCSP by one who is not charged", [l, i], [r],
       ocsp=status(l, i, signer=uncharged, certs=[uncharged]))  # fmt: skip
    ended = issue("OCSP", i, eku=[Eku.OCSP_SIGNING], end=-1)
    no("bad-status", "OCSP by one charged no more", [l, i], [r],
       ocsp=status(l, i, signer=ended, certs=[ended]))  # fmt: skip
    no("bad-status", "OCSP altered", [l, i], [r], ocsp=flip(status(l, i)))
    no("bad-status", "OCSP says try later", [l, i], [r], ocsp=b"\x30\x03\x0a\x01\x03")
    no("bad-status", "OCSP that is nothing", [l, i], [r], ocsp=b"\x30\x00")
    must = leaf(i, more=[(x509.TLSFeature([x509.TLSFeatureType.status_request]), False)])
    no("bad-status", "must-staple, and nothing stapled", [must, i], [r])
    return out


ECDSA_SHA1 = bytes.fromhex("300906072a8648ce3d0401")
ECDSA_SHA384 = bytes.fromhex("300a06082a8648ce3d040303")
RSA_SHA256 = bytes.fromhex("300d06092a864886f70d01010b0500")
RSA_SHA1 = bytes.fromhex("300d06092a864886f70d0101050500")
RSA_MD5 = bytes.fromhex("300d06092a864886f70d0101040500")


def put(n, value):
    def change(elements):
        elements[n] = value

    return change


def swap_algorithm(algorithm):
    return put(2, algorithm)


def swap_issuer(issuer, algorithm):
    def change(elements):
        elements[2] = algorithm
        elements[3] = issuer.cert.subject.public_bytes()

    return change


def exponent_one(elements):
    algorithm, bits = parts_of(elements[6])
    key = bits[bits.index(b"\x30") :]
    n, _ = parts_of(key)
    elements[6] = tlv(0x30, algorithm, tlv(3, b"\0", tlv(0x30, n, b"\x02\x01\x01")))


def off_curve(elements):
    spki = bytearray(elements[6])
    spki[-1] ^= 1
    elements[6] = bytes(spki)


def flip(der):
    """The last bit of the signature's tail turned."""
    out = bytearray(der)
    out[-1] ^= 1
    return bytes(out)


def transplant(a, b):
    """Certificate a with the signature of b."""
    tbs, algorithm, _ = parts_of(a.der)
    return tlv(0x30, tbs, algorithm, parts_of(b.der)[2])


def circle():
    """Two authorities that issue each other."""
    ka, kb = new_key(), new_key()
    a0 = Node(issue("A", None, ca=True, key=ka).cert, ka)
    b = issue("B", a0, ca=True, key=kb)
    a = issue("A", b, ca=True, key=ka)
    return [leaf(a), a, b]


def maze():
    """Three authorities, each certified by three, each certified by three: no way leads out."""
    tops = [root("Top %d" % n) for n in range(3)]
    out = list(tops)
    middle = []
    for n in range(3):
        key = new_key()
        middle.append([issue("Middle %d" % n, t, ca=True, key=key) for t in tops])
        out += middle[-1]
    key = new_key()
    low = [issue("Low", m[0], ca=True, key=key) for m in middle]
    return [leaf(low[0])] + low + out


# The vector files of the guest


def _write(path, text):
    with open(path, "w") as f:
        f.write(text)


def _b64(data, indent):
    import base64

    s = base64.b64encode(data).decode()
    width = 96 - indent
    lines = [s[i : i + width] for i in range(0, len(s), width)]
    return "".join(" " * indent + '"%s"\n' % x for x in lines)


def write_vectors(folder):
    top, kinds = identities()
    text = '"""A root, and an identity a kind of signature below it. Made by minting.py."""\n\n'
    text += 'NOW = %d\nHOST = "%s"\n\nROOT = """\\\n%s"""\n\nIDENTITIES = {\n' % (
        NOW, HOST, top.decode())  # fmt: skip
    for kind, (chain, key) in kinds.items():
        text += '    "%s": (\n        """\\\n%s""",\n        """\\\n%s""",\n    ),\n' % (
            kind, chain.decode(), key.decode())  # fmt: skip
    _write(os.path.join(folder, "identities.py"), text + "}\n")
    pool = []

    def ref(der):
        if der not in pool:
            pool.append(der)
        return pool.index(der)

    rows = ""
    for c in good_cases() + bad_cases():
        chain, roots = [ref(x) for x in c.chain], [ref(x) for x in c.roots]
        status_ = None if c.ocsp is None else ref(c.ocsp)
        pins = tuple(p.hex() for p in c.pins)
        rows += "    (%r, %r, %r, %r, %r, %d, %r, %r, %r),\n" % (
            c.why, c.kind, chain, roots, c.host, c.now, c.client, status_, pins)  # fmt: skip
    text = '"""Good and bad chains. Made by minting.py; run again to make it anew.\n\n'
    text += "CASES: (why, kind or \"\" if good, chain, roots, host, now, client, ocsp, pins),\n"
    text += 'numbers count the objects of POOL.\n"""\n\n# ruff: noqa: E501\n\nCASES = [\n'
    text += rows + "]\n\nPOOL = [\n"
    for der in pool:
        text += "    (\n" + _b64(der, 8) + "    ),\n"
    _write(os.path.join(folder, "chains.py"), text + "]\n")


if __name__ == "__main__":
    here = os.path.dirname(os.path.abspath(__file__))
    write_vectors(os.path.join(here, "..", "..", "vectors", "tls"))
