"""Good and bad chains from the vector file, in the guest as on the host."""

from binascii import a2b_base64

from stack.tls import alert, messages, verify
from stack.tls.config import Config
from stack.tls.x509.store import RootFile, Roots, make_index
from tests.vectors.tls.chains import CASES, POOL


def _judge(chain, roots, host, now, client, ocsp, pins):
    store = Roots()
    for n in roots:
        store.add(_der(n))
    m = messages.CertificateMessage()
    m.chain = [_der(n) for n in chain]
    m.ocsp = None if ocsp is None else _der(ocsp)
    m.sct = None
    config = Config(roots=store, pins=[bytes.fromhex(p) for p in pins])
    if client:
        return verify.judge_client(config, m, now)
    return verify.judge_server(config, m, host, now)


def _der(n):
    return a2b_base64(POOL[n])


def _run(good):
    n = 0
    for why, kind, chain, roots, host, now, client, ocsp, pins in CASES:
        if bool(kind) is good:
            continue
        got = ""
        try:
            _judge(chain, roots, host, now, client, ocsp, pins)
        except alert.CertificateError as e:
            got = e.kind
        assert got == kind, (why, kind, got)
        n += 1
    return n


def test_good_chains():
    assert _run(True) >= 30


def test_bad_chains():
    assert _run(False) >= 60


def test_root_file():
    """An index finds the same roots as a store in memory, reading no others."""
    pem = b""
    for n in sorted(set([n for c in CASES if not c[1] for n in c[3]])):
        pem += b"-----BEGIN CERTIFICATE-----\n" + POOL[n].encode() + b"\n"
        pem += b"-----END CERTIFICATE-----\n"
    reads = []

    def read(at, n):
        reads.append(n)
        return pem[at : at + n]

    index = make_index(pem)
    store = RootFile(read, index)
    memory = Roots(pem)
    assert store.count == memory.count == len(index) // 16
    for n in sorted(set([c[3][0] for c in CASES if not c[1]])):
        from stack.tls.x509.certificate import Certificate

        subject = Certificate(_der(n)).subject_form()
        found = store.find(subject)
        assert sorted([c.der for c in found]) == sorted([c.der for c in memory.find(subject)])
        assert _der(n) in [c.der for c in found]
    del reads[:]
    store.find(subject)
    assert len(reads) < store.count
