"""Good chains are accepted and bad ones refused for the stated reason, minted afresh."""

import warnings

import pytest

from stack.tls import alert, messages, verify
from stack.tls.config import Config
from stack.tls.x509.store import Roots
from tests.oracle.tls import minting

with warnings.catch_warnings():
    warnings.simplefilter("ignore")
    GOOD = minting.good_cases()
    BAD = minting.bad_cases()

ALERTS = {
    "expired": alert.CERTIFICATE_EXPIRED,
    "not-yet-valid": alert.CERTIFICATE_EXPIRED,
    "unknown-issuer": alert.UNKNOWN_CA,
    "not-a-ca": alert.UNKNOWN_CA,
    "path-too-long": alert.UNKNOWN_CA,
    "wrong-usage": alert.UNSUPPORTED_CERTIFICATE,
    "unsupported": alert.UNSUPPORTED_CERTIFICATE,
    "revoked": alert.CERTIFICATE_REVOKED,
    "bad-status": alert.BAD_CERTIFICATE_STATUS_RESPONSE,
}


def judge(case):
    roots = Roots()
    for der in case.roots:
        roots.add(der)
    m = messages.CertificateMessage()
    m.chain, m.ocsp, m.sct = case.chain, case.ocsp, None
    config = Config(roots=roots, pins=case.pins)
    if case.client:
        return verify.judge_client(config, m, case.now)
    return verify.judge_server(config, m, case.host, case.now)


def test_counts():
    assert len(GOOD) >= 30 and len(BAD) >= 60


@pytest.mark.parametrize("case", GOOD, ids=lambda c: c.why)
def test_good(case):
    verdict = judge(case)
    assert verdict.leaf.der == case.chain[0]
    assert verdict.path[-1].der in case.roots


@pytest.mark.parametrize("case", BAD, ids=lambda c: c.why)
def test_bad(case):
    with pytest.raises(alert.CertificateError) as caught:
        judge(case)
    e = caught.value
    assert e.kind == case.kind, str(e)
    assert e.code == ALERTS.get(case.kind, alert.BAD_CERTIFICATE)
    assert e.reason and not e.reason.endswith(".")
