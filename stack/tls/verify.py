"""Whether the peer is who it has to be: Certificate and CertificateVerify. RFC 8446, 4.4.2, 4.4.3.

Everything is checked unless the configuration says otherwise by a name that
nobody writes by accident. Pins hold also then.
"""

from stack.tls import alert, signatures
from stack.tls.alert import CertificateError, TlsError
from stack.tls.x509 import certificate as cert_
from stack.tls.x509 import name, ocsp, path
from stack.tls.x509.certificate import Certificate


class Verdict:
    """leaf, the path (leaf to root; only the leaf if nothing was verified), the SCTs."""

    __slots__ = ("leaf", "path", "scts")


def judge_server(config, message, host, unix_time):
    """A Verdict on a server's CertificateMessage, or a CertificateError."""
    v = _verdict(message)
    if not config.dangerously_accept_any_certificate:
        if not host and not config.dangerously_skip_host_check:
            raise CertificateError(
                alert.BAD_CERTIFICATE, "wrong-host", "no host name was given to check against"
            )
        if not config.dangerously_skip_host_check:
            _check_host(config, v.leaf, host)
        _judge(v, config, message, unix_time, cert_.SERVER_AUTH)
        _judge_status(v, config, message, unix_time)
    _judge_pins(v, config)
    return v


def _check_host(config, leaf, host):
    if leaf.names is None and host.lower().encode() in name.common_names(leaf.subject):
        # RFC 9525, 6.3 knows no common names. A device's own certificate often has nothing else;
        # there is nothing to confuse it with if that very certificate is what is trusted.
        for anchor in config.roots.find(leaf.subject_form()):
            if anchor.der == leaf.der:
                return
    path.check_host(leaf, host)


def judge_client(config, message, unix_time):
    """A Verdict on a client's CertificateMessage, or a CertificateError."""
    v = _verdict(message)
    if not config.dangerously_accept_any_certificate:
        _judge(v, config, message, unix_time, cert_.CLIENT_AUTH)
    _judge_pins(v, config)
    return v


def _verdict(message):
    v = Verdict()
    v.leaf = Certificate(message.chain[0])
    v.path = [v.leaf]
    v.scts = list(v.leaf.scts)
    if message.sct:
        v.scts += cert_.pull_sct_list(message.sct)
    return v


def _judge(v, config, message, unix_time, usage):
    others = [Certificate(raw) for raw in message.chain[1:]]
    v.path = path.build(v.leaf, others, config.roots, unix_time, usage)
    if config.verify_callback is not None:
        for depth in range(len(v.path) - 1, -1, -1):
            if config.verify_callback(v.path[depth].der, depth):
                raise CertificateError(
                    alert.CERTIFICATE_UNKNOWN, "refused", "the program refused the certificate"
                )


def _judge_status(v, config, message, unix_time):
    if not config.staple:
        return
    if message.ocsp is not None:
        # RFC 6066, 8: "MUST check the OCSP response and abort the handshake if the
        # response is not satisfactory with bad_certificate_status_response".
        ocsp.check(message.ocsp, v.leaf, v.path[min(1, len(v.path) - 1)], unix_time)
    elif v.leaf.must_staple:
        # RFC 7633, 4.2.3.1
        raise CertificateError(
            alert.BAD_CERTIFICATE_STATUS_RESPONSE,
            "bad-status",
            "the certificate demands an OCSP response, and none came with it",
        )


def _judge_pins(v, config):
    if not config.pins:
        return
    for c in v.path:
        if c.spki_sha256() in config.pins:
            return
    raise CertificateError(
        alert.BAD_CERTIFICATE, "wrong-pin", "no key of the chain is one of those pinned"
    )


def check_verify(config, leaf, raw_scheme, signature, context, transcript_hash):
    """Nothing if the CertificateVerify is right. Section 4.4.3."""
    # "the signature algorithm MUST be one offered in the client's signature_algorithms",
    # and "MUST be compatible with the key in the sender's end-entity certificate".
    if raw_scheme not in config.schemes or raw_scheme not in signatures.schemes_of(leaf.key()):
        raise TlsError(
            alert.ILLEGAL_PARAMETER,
            "CertificateVerify by %s, which does not go with the key or was not offered"
            % signatures.NAMES.get(raw_scheme, "scheme 0x%04x" % raw_scheme),
        )
    content = signatures.content(context, transcript_hash)
    if not signatures.verify(raw_scheme, leaf.key(), content, signature):
        # "If the verification fails, the receiver MUST terminate the handshake with a
        # decrypt_error alert."
        raise TlsError(alert.DECRYPT_ERROR, "CertificateVerify is not signed by the certificate")


def choose_identity(identities, schemes, host=None, authorities=None):
    """(Identity, scheme) to show, or (None, 0).

    The first whose key makes one of the peer's schemes; one for the host, or
    from the authorities, goes before those that are not.
    """
    best = None, 0
    for identity in identities:
        for scheme in identity.signer.schemes:
            if scheme in schemes:
                if _suits(identity, host, authorities):
                    return identity, scheme
                if best[0] is None:
                    best = identity, scheme
                break
    return best


def _suits(identity, host, authorities):
    if host:
        try:
            path.check_host(identity.leaf, host)
        except CertificateError:
            return False
    if authorities:
        return bool([1 for issuer in identity.issuers() if issuer in authorities])
    return True
