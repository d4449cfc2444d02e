"""From a certificate to a trusted root: building paths and judging them. RFC 5280, section 6.

The peer's certificates are a heap, not a list: unordered, with others among
them, cross-signed. The search goes depth first, roots before intermediates,
and counts what it does, so that no heap makes it dear.

What is judged where: `_check_leaf` and `_check_ca` look at one certificate,
`_check_path` at what needs the whole path (path lengths, names, policies).

Not implemented: CRLs; fetching missing intermediates; the user-initial policy
set (it is any-policy, as on the web).
"""

from micropython import const

from stack.tls import alert
from stack.tls.alert import CertificateError
from stack.tls.x509 import certificate as cert_
from stack.tls.x509 import der, name
from stack.tls.x509.publickey import unsupported, verify_signature

# Leaf, intermediates and root. The web has up to 5.
_MAX_PATH = const(8)
# Signatures checked in one search: a web path takes 2 or 3; 16 P-384 ones are 50 ms.
_MAX_SIGNATURES = const(16)
# Names times constraints in one search.
_MAX_COMPARISONS = const(20000)

_USAGE_TEXT = {
    cert_.SERVER_AUTH: "servers",
    cert_.CLIENT_AUTH: "clients",
    cert_.OCSP_SIGNING: "signing OCSP",
}


def build(leaf, others, store, unix_time, usage):
    """The path, a list of Certificates from the leaf to the trusted one.

    others: Certificates that the peer sent beside it; store.find(form) gives
    the trusted Certificates of a subject's canonical form. usage: the OID of the purpose.
    CertificateError with the alert and the words for what is wrong.
    """
    _check_leaf(leaf, unix_time, usage)
    for anchor in store.find(leaf.subject_form()):
        if anchor.der == leaf.der:
            return [leaf]  # trusted itself: a device's own certificate
    return _Search(others, store, unix_time, usage).run(leaf)


class _Search:
    def __init__(self, others, store, unix_time, usage):
        self._others = others
        self._store = store
        self._now = unix_time
        self._usage = usage
        self._signatures = _MAX_SIGNATURES
        self._why = None  # the error that came nearest to a root
        self._why_depth = -1

    def run(self, leaf):
        path = self._extend([leaf])
        if path:
            return path
        raise self._why

    def _remember(self, depth, error):
        # Something wrong with an issuer that is there says more than that one is missing.
        weight = 2 * depth + (error.kind != "unknown-issuer")
        if weight > self._why_depth:
            self._why_depth = weight
            self._why = error

    def _extend(self, path):
        """The path made longer up to a root, or None; the reason is kept."""
        cert = path[-1]
        for issuer, trusted in self._candidates(cert, path):
            try:
                _check_ca(issuer, trusted, self._now, self._usage)
                self._check_signature(cert, issuer)
                if trusted:
                    _check_path(path + [issuer])
            except CertificateError as e:
                if e.kind == "too-costly":
                    raise
                self._remember(len(path), e)
                continue
            if trusted:
                return path + [issuer]
            if len(path) + 1 >= _MAX_PATH:
                self._remember(len(path), _error(
                    alert.UNKNOWN_CA, "unknown-issuer", "a chain of more than %d certificates"
                    % _MAX_PATH))  # fmt: skip
                continue
            found = self._extend(path + [issuer])
            if found:
                return found
        self._remember(len(path) - 1, _unknown_issuer(cert))
        return None

    def _candidates(self, cert, path):
        """(issuer, trusted) that bear the name of the issuer, the likeliest first."""
        out = []
        for issuer in self._store.find(cert.issuer_form()):
            out.append((_rank(issuer, cert, self._now), issuer, True))
        # A trusted one may not be bound by what the peer says of the same key.
        for issuer in self._others:
            if issuer.subject_form() == cert.issuer_form() and not _repeats(issuer, path):
                out.append((4 + _rank(issuer, cert, self._now), issuer, False))
        out.sort(key=lambda t: t[0])
        return [(issuer, trusted) for _, issuer, trusted in out]

    def _check_signature(self, cert, issuer):
        self._signatures -= 1
        if self._signatures < 0:
            raise _error(
                alert.BAD_CERTIFICATE, "too-costly",
                "the chain offers too many ways: more than %d signatures" % _MAX_SIGNATURES,
            )  # fmt: skip
        if not verify_signature(issuer.key(), cert.algorithm, cert.tbs, cert.signature):
            raise _error(
                alert.BAD_CERTIFICATE, "bad-signature",
                "the certificate of %s is not signed by the key of %s"
                % (cert.subject_text(), issuer.subject_text()),
            )  # fmt: skip


def _rank(issuer, cert, now):
    """0 the best. A hint only: what is wrong is found later."""
    rank = 0
    if cert.authority_key_id and issuer.subject_key_id:
        rank = 0 if cert.authority_key_id == issuer.subject_key_id else 2
    return rank + (not issuer.not_before <= now <= issuer.not_after)


def _repeats(issuer, path):
    for c in path:
        if c.spki == issuer.spki and c.subject == issuer.subject:
            return True
    return False


def _error(code, kind, reason):
    return CertificateError(code, kind, reason)


def _unknown_issuer(cert):
    if cert.self_issued():
        return _error(
            alert.UNKNOWN_CA, "unknown-issuer",
            "%s is signed by itself and is not trusted" % cert.subject_text(),
        )  # fmt: skip
    return _error(
        alert.UNKNOWN_CA, "unknown-issuer",
        "the certificate of %s was issued by %s, which is neither trusted nor sent along"
        % (cert.subject_text(), cert.issuer_text()),
    )  # fmt: skip


# One certificate


def check_time(cert, now):
    if now > cert.not_after:
        raise _error(
            alert.CERTIFICATE_EXPIRED, "expired",
            "the certificate of %s expired on %s; the clock says %s"
            % (cert.subject_text(), der.date_text(cert.not_after), der.date_text(now)),
        )  # fmt: skip
    if now < cert.not_before:
        raise _error(
            alert.CERTIFICATE_EXPIRED, "not-yet-valid",
            "the certificate of %s is valid from %s; the clock says %s"
            % (cert.subject_text(), der.date_text(cert.not_before), der.date_text(now)),
        )  # fmt: skip


def _check_common(cert, now, usage):
    # 4.2: "A certificate-using system MUST reject the certificate if it encounters a
    # critical extension it does not recognize".
    if cert.unknown_critical:
        raise unsupported(
            "the certificate of %s has the critical extension %s, which is unknown"
            % (cert.subject_text(), der.oid_text(cert.unknown_critical))
        )
    check_time(cert, now)
    # An extKeyUsage of a CA bounds what is below it: not RFC 5280's, but the web's rule.
    if cert.usages is not None and usage not in cert.usages:
        if cert_.ANY_USAGE not in cert.usages:
            raise _error(
                alert.UNSUPPORTED_CERTIFICATE, "wrong-usage",
                "the certificate of %s is not meant for %s"
                % (cert.subject_text(), _USAGE_TEXT.get(usage, der.oid_text(usage))),
            )  # fmt: skip


def _check_leaf(cert, now, usage):
    _check_common(cert, now, usage)
    # 4.2.1.3: TLS 1.3 signs with it, and nothing else.
    if cert.key_usage is not None and not cert.key_usage & cert_.DIGITAL_SIGNATURE:
        raise _error(
            alert.UNSUPPORTED_CERTIFICATE, "wrong-usage",
            "the key of %s is not meant for signing" % cert.subject_text(),
        )  # fmt: skip
    cert.key()


def _check_ca(cert, trusted, now, usage):
    _check_common(cert, now, usage)
    # 6.1.4 (k); a root of version 1 is taken on trust.
    if not cert.ca and not (trusted and cert.version < 3):
        raise _error(
            alert.UNKNOWN_CA, "not-a-ca",
            "%s is not a certificate authority and issued a certificate" % cert.subject_text(),
        )  # fmt: skip
    # 6.1.4 (n)
    if cert.key_usage is not None and not cert.key_usage & cert_.KEY_CERT_SIGN:
        raise _error(
            alert.UNKNOWN_CA, "not-a-ca",
            "the key of %s is not meant for signing certificates" % cert.subject_text(),
        )  # fmt: skip


# The whole path, from the root down


def _check_path(path):
    """path: leaf first. 6.1.4 and 6.1.5: (b), (c) names; (l), (m) lengths; (d) to (g) policies."""
    budget = [_MAX_COMPARISONS]
    policies = _Policies(len(path))
    length = len(path)  # max_path_length
    for i in range(len(path) - 1, 0, -1):
        ca = path[i]
        if i < len(path) - 1 and not ca.self_issued():
            # 6.1.4 (l): "verify that max_path_length is greater than zero and decrement".
            if length <= 0:
                raise _error(
                    alert.UNKNOWN_CA, "path-too-long",
                    "%s is one authority more than its issuers allow" % ca.subject_text(),
                )  # fmt: skip
            length -= 1
        if ca.path_len is not None and ca.path_len < length:
            length = ca.path_len
        if i < len(path) - 1:
            policies.certificate(ca, ca.self_issued(), False)
        policies.prepare(ca)
        if ca.permitted or ca.excluded:
            for j in range(i):
                below = path[j]
                # 6.1.3 (b): not for self-issued ones, "unless the certificate is the final".
                if j == 0 or not below.self_issued():
                    _check_names(ca, below, budget)
    policies.certificate(path[0], path[0].self_issued(), True)


def _check_names(ca, cert, budget):
    names = list(cert.names or ())
    if not name.is_empty(cert.subject):
        names.append((cert_.DIRECTORY, cert.subject))
        if not [1 for choice, _ in names if choice == cert_.MAIL]:
            for mail in name.mail_attributes(cert.subject):
                names.append((cert_.MAIL, mail))
    budget[0] -= len(names) * (len(ca.permitted) + len(ca.excluded))
    if budget[0] < 0:
        raise _error(alert.BAD_CERTIFICATE, "too-costly", "too many names and name constraints")
    for choice, value in names:
        for kind, base in ca.excluded:
            if kind == choice and _in_subtree(choice, value, base, True):
                raise _outside(ca, cert, choice, value)
        allowed = True
        for kind, base in ca.permitted:
            if kind == choice:
                allowed = _in_subtree(choice, value, base, False)
                if allowed:
                    break
        if not allowed:
            raise _outside(ca, cert, choice, value)


def _outside(ca, cert, choice, value):
    shown = {cert_.IP: name.ip_text, cert_.DIRECTORY: name.text}.get(choice, name._shown)(value)
    return _error(
        alert.BAD_CERTIFICATE, "name-constraint",
        "%s may not issue for %s" % (ca.subject_text(), shown),
    )  # fmt: skip


def _in_subtree(choice, value, base, excluded):
    """4.2.1.10. What has a form that we do not know is excluded, and not permitted."""
    if choice == cert_.DNS:
        host, base = _lower(value), _lower(base)
        if excluded and host.startswith("*."):
            # A wildcard stands for names below: excluded if any of them is.
            if base.endswith(host[1:]) and base.count(".") == host.count("."):
                return True
        if base.startswith("."):
            return host.endswith(base)
        return not base or host == base or host.endswith("." + base)
    if choice == cert_.IP:
        n = len(value)
        if len(base) != 2 * n:
            return False
        a = int.from_bytes(value, "big") ^ int.from_bytes(base[:n], "big")
        return a & int.from_bytes(base[n:], "big") == 0
    if choice == cert_.DIRECTORY:
        return name.within(value, base)
    if choice == cert_.MAIL:
        mail, base = _lower(value), _lower(base)
        host = mail.split("@")[-1]
        if "@" in base:
            return mail == base
        return host.endswith(base) if base.startswith(".") else host == base
    if choice == cert_.URI:
        host, base = _uri_host(_lower(value)), _lower(base)
        if not host:
            return excluded
        return host.endswith(base) if base.startswith(".") else host == base
    return excluded


def _lower(value):
    return bytes(value).decode().lower()


def _uri_host(uri):
    if "://" not in uri:
        return ""
    host = uri.split("://", 1)[1].split("/")[0].split("?")[0].split("#")[0].split("@")[-1]
    host = host.split(":")[0]
    return "" if name.parse_ip(host) else host


class _Policies:
    """The valid policies as a set instead of 6.1.2's tree: enough when any policy is asked for.

    Only explicit_policy makes them matter: with it at zero, an empty set fails.
    """

    def __init__(self, n):
        self._valid = [cert_.ANY_POLICY]
        self._explicit = self._mapping = self._any = n + 1

    def certificate(self, cert, self_issued, last):
        """6.1.3 (d) to (f), and 6.1.5 (a), (b) for the last."""
        mine = cert.policies
        if mine is None:
            self._valid = []
        else:
            valid = []
            any_before = cert_.ANY_POLICY in self._valid
            for p in mine:
                if p != cert_.ANY_POLICY and (any_before or p in self._valid):
                    valid.append(p)
            if cert_.ANY_POLICY in mine and (self._any > 0 or (self_issued and not last)):
                valid = valid + [p for p in self._valid if p not in valid]
            self._valid = valid
        if last:
            if self._explicit and not self_issued:
                self._explicit -= 1
            if cert.require_explicit == 0:
                self._explicit = 0
        if self._explicit <= 0 and not self._valid:
            raise _error(
                alert.BAD_CERTIFICATE, "policy",
                "the chain requires a policy, and %s has none that holds" % cert.subject_text(),
            )  # fmt: skip

    def prepare(self, cert):
        """6.1.4 (a), (b), (h) to (j), of a CA."""
        if cert.mappings:
            valid = []
            for p in self._valid:
                to = [b for a, b in cert.mappings if a == p]
                if not to:
                    valid.append(p)
                elif self._mapping > 0:
                    valid += [b for b in to if b not in valid]
            self._valid = valid
        if not cert.self_issued():
            self._explicit -= self._explicit > 0
            self._mapping -= self._mapping > 0
            self._any -= self._any > 0
        if cert.require_explicit is not None:
            self._explicit = min(self._explicit, cert.require_explicit)
        if cert.inhibit_mapping is not None:
            self._mapping = min(self._mapping, cert.inhibit_mapping)
        if cert.inhibit_any is not None:
            self._any = min(self._any, cert.inhibit_any)


# Hosts


def check_host(cert, host):
    """Nothing, or a CertificateError "wrong-host". RFC 9525, 6: names of subjectAltName only."""
    ip = name.parse_ip(host)
    wanted = host.lower()
    if wanted.endswith("."):
        wanted = wanted[:-1]
    seen = []
    for choice, value in cert.names or ():
        if ip is not None:
            if choice == cert_.IP:
                if value == ip:
                    return
                seen.append(name.ip_text(value))
        elif choice == cert_.DNS:
            pattern = _lower(value)
            if name.match_host(pattern, wanted):
                return
            seen.append(name._shown(value))
    if len(seen) > 5:
        seen = seen[:5] + ["and %d more" % (len(seen) - 5)]
    raise _error(
        alert.BAD_CERTIFICATE, "wrong-host",
        "the certificate is not for %s but for %s" % (host, ", ".join(seen) or "no host at all"),
    )  # fmt: skip


