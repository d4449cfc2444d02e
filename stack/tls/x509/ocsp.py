"""A stapled OCSP response, checked. RFC 6960, sections 3.2 and 4.2; RFC 6066, section 8.

    OCSPResponse ::= SEQUENCE { ENUMERATED, [0] { OID, OCTET STRING BasicOCSPResponse } }
    BasicOCSPResponse ::= SEQUENCE { tbsResponseData, algorithm, signature, [0] certs }

Not implemented: asking a responder; nonces; the revocation of a responder.
"""

from micropython import const

from stack.core.errors import ProtocolError
from stack.crypto.sha1 import sha1
from stack.crypto.sha2 import Sha256
from stack.tls import alert
from stack.tls.alert import CertificateError
from stack.tls.x509 import certificate as cert_
from stack.tls.x509 import der
from stack.tls.x509.certificate import Certificate
from stack.tls.x509.der import Der
from stack.tls.x509.publickey import verify_signature

_BASIC = der.oid("1.3.6.1.5.5.7.48.1.1")
_SHA1 = der.oid("1.3.14.3.2.26")
_SHA256 = der.oid("2.16.840.1.101.3.4.2.1")

# The clocks of responder and guest may differ by this much.
_SKEW_S = const(300)
# A response without an end is old after this.
_MAX_AGE_S = const(7 * 86400)
_MAX_SIGNERS = const(4)


def _bad(reason):
    return CertificateError(
        alert.BAD_CERTIFICATE_STATUS_RESPONSE, "bad-status", "the stapled OCSP response " + reason
    )


def check(response, cert, issuer, unix_time):
    """Nothing if the response says, rightly signed and in time, that `cert` is good.

    CertificateError "revoked" if it is revoked, "bad-status" for all else.
    """
    try:
        _check(response, cert, issuer, unix_time)
        return
    except ProtocolError as e:
        why = e
    if why.code in (alert.CERTIFICATE_REVOKED, alert.BAD_CERTIFICATE_STATUS_RESPONSE):
        raise why
    raise _bad("is unsound: " + why.reason)


def _check(response, cert, issuer, now):
    outer = Der(response)
    seq = outer.pull(der.SEQUENCE)
    outer.done("OCSPResponse")
    status = seq.pull_integer(der.ENUMERATED)
    if status:
        raise _bad("says that the responder failed (%d)" % status)
    wrapped = seq.pull(der.context(0))
    seq.done("OCSPResponse")
    body = wrapped.pull(der.SEQUENCE)
    wrapped.done("responseBytes")
    if body.pull_oid() != _BASIC:
        raise _bad("is not a basic one")
    basic = body.pull(der.OCTET_STRING)
    body.done("responseBytes")
    basic_seq = basic.pull(der.SEQUENCE)
    basic.done("BasicOCSPResponse")
    tbs = basic_seq.pull_whole(der.SEQUENCE)
    algorithm = basic_seq.pull_whole(der.SEQUENCE)
    signature = basic_seq.pull_octet_bits()
    signers = []
    if basic_seq.left():
        certs = basic_seq.pull(der.context(0)).pull(der.SEQUENCE)
        while certs.left() and len(signers) < _MAX_SIGNERS:
            signers.append(certs.pull_whole(der.SEQUENCE))
    basic_seq.done("BasicOCSPResponse")
    if not _signed(tbs, algorithm, signature, signers, issuer, now):
        raise _bad("is not signed by the issuer or one whom it charged")
    _find(Der(tbs).pull(der.SEQUENCE), cert, issuer, now)


def _signed(tbs, algorithm, signature, signers, issuer, now):
    if verify_signature(issuer.key(), algorithm, tbs, signature):
        return True
    for raw in signers:
        signer = Certificate(raw)
        # RFC 6960, 4.2.2.2: issued directly by the CA, and with id-kp-OCSPSigning.
        if signer.issuer != issuer.subject or cert_.OCSP_SIGNING not in (signer.usages or ()):
            continue
        if not signer.not_before <= now <= signer.not_after or signer.unknown_critical:
            continue
        if not verify_signature(issuer.key(), signer.algorithm, signer.tbs, signer.signature):
            continue
        if verify_signature(signer.key(), algorithm, tbs, signature):
            return True
    return False


def _find(data, cert, issuer, now):
    if data.peek() == der.context(0):
        data.pull(der.context(0))  # version
    data.any()  # responderID: the signature says who it was
    produced = data.pull_bytes(der.GENERALIZED_TIME)
    der.generalized_time(produced)
    responses = data.pull(der.SEQUENCE)
    while responses.left():
        one = responses.pull(der.SEQUENCE)
        if _is_about(one.pull(der.SEQUENCE), cert, issuer):
            return _judge(one, cert, now)
    raise _bad("is about another certificate")


def _is_about(cert_id, cert, issuer):
    algorithm = cert_id.pull(der.SEQUENCE).pull_oid()
    if algorithm == _SHA1:
        digest = sha1
    elif algorithm == _SHA256:
        digest = lambda data: Sha256(data).digest()
    else:
        return False
    name_hash = cert_id.pull_bytes(der.OCTET_STRING)
    key_hash = cert_id.pull_bytes(der.OCTET_STRING)
    serial = cert_id.pull_bytes(der.INTEGER)
    if serial != cert.serial or name_hash != digest(issuer.subject):
        return False
    spki = Der(issuer.spki).pull(der.SEQUENCE)
    spki.pull(der.SEQUENCE)
    return key_hash == digest(spki.pull_octet_bits())


def _judge(one, cert, now):
    tag, _, start, end = one.any()
    if tag == der.context(1):
        at = Der(one.buf, start, end).pull_bytes(der.GENERALIZED_TIME)
        raise CertificateError(
            alert.CERTIFICATE_REVOKED,
            "revoked",
            "the certificate of %s was revoked on %s"
            % (cert.subject_text(), der.date_text(der.generalized_time(at))),
        )
    if tag != der.context(0, False):
        raise _bad("does not know the certificate")
    this_update = der.generalized_time(one.pull_bytes(der.GENERALIZED_TIME))
    next_update = this_update + _MAX_AGE_S
    later = one.optional(der.context(0))
    if later is not None:
        next_update = der.generalized_time(later.pull_bytes(der.GENERALIZED_TIME))
    if this_update > now + _SKEW_S:
        raise _bad("is from the future: " + der.date_text(this_update))
    if next_update < now - _SKEW_S:
        raise _bad("was good until " + der.date_text(next_update))
