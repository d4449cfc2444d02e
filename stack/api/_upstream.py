"""Servers that are asked in private: their addresses, certificates and requests over HTTPS.

RFC 7858, 8310, 8484. A server that was given by name is looked up by the plain servers of the
network, whose answer is no secret and need not be right: the certificate has to be.
"""

import binascii

from stack.api import _address, _connect, http
from stack.core import errors
from stack.dns.upstream import HTTPS, TLS, is_private, parse
from stack.http import client

_TYPE = "application/dns-message"
_BODY_MAX = 65535


def made(rt, texts, verify=None, opportunistic=False):
    """The servers, ints and Upstreams, that a program has named. ValueError."""
    out = []
    for text in [texts] if isinstance(texts, str) else texts:
        if is_private(text):
            u = parse(text)
            if opportunistic and u.kind != TLS:
                raise ValueError("only tls:// can be opportunistic")
            u.opportunistic = opportunistic
            u.verify = False if opportunistic else verify
            context(u)  # what is wrong with `verify` is said now
            out.append(u)
        else:
            a = _address.literal(rt, text)
            if a < 0:
                raise ValueError("not an address: %s" % text)
            out.append(a)
    kinds = [isinstance(s, int) for s in out]
    if any(kinds) and not all(kinds):
        # One that fails would silently be replaced by one that everybody can listen to.
        raise ValueError("private and plain servers do not go together")
    return out


def text(server):
    return _address.text(server) if isinstance(server, int) else server.text


def context(u):
    """The SSLContext of an Upstream."""
    if u.context is None:
        from stack.api import tls

        u.context = tls.for_http(u.verify, ("h2", "http/1.1") if u.kind == HTTPS else ())
    return u.context


def addresses(rt, u):
    """Steps: where an Upstream is, ints. OSError."""
    from stack.api import _resolve

    a = _address.literal(rt, u.host)
    if a >= 0:
        return [a]
    return (yield from _resolve.lookup_steps(rt, u.host, 0, _resolve.first(rt)))


# HTTPS.


class _Transport(http.Transport):
    def __init__(self, rt, upstream):
        super().__init__(rt)
        self._upstream = upstream

    def _open(self, way, deadline):
        rt = self._rt
        found = yield from addresses(rt, self._upstream)
        return (yield from _connect.race_stream(rt, found, way.port, deadline))


def _session(rt, u):
    if u.session is None or u.session.transport._rt is not rt:
        u.session = client.Session(_Transport(rt, u), rt.run, False)
    return u.session


def request(rt, u, message, deadline):
    """Steps: (answer, its age in seconds) of a message. OSError."""
    host = "[%s]" % u.host if ":" in u.host else u.host
    where = "https://%s:%d%s" % (host, u.port, u.path)
    headers = {"Accept": _TYPE, "Accept-Encoding": "identity"}
    options = {"verify": context(u), "stream": True, "allow_redirects": False, "headers": headers}
    method = "GET" if u.get else "POST"
    if u.get:
        # RFC 8484, section 6: base64url without padding.
        q = str(binascii.b2a_base64(message), "ascii").strip().rstrip("=")
        where += "?dns=" + q.replace("+", "-").replace("/", "_")
    else:
        headers["Content-Type"] = _TYPE
        options["data"] = message
    session = _session(rt, u)
    for attempt in (0, 1):
        left = (deadline - rt.now()) / 1000000
        options["timeout"] = (left, left, left)
        try:
            response = yield from session.request(method, where, **options)
            break
        except client.Lost:
            # An idle connection that was closed under the request; asking twice does no harm.
            if attempt:
                raise
    done = False
    try:
        if response.status_code != 200:
            raise OSError(errors.EPROTO, "answers HTTP %d" % response.status_code)
        if response.headers.get("Content-Type", "").split(";")[0].strip().lower() != _TYPE:
            raise OSError(errors.EPROTO, "answers no DNS message")
        if response.length > _BODY_MAX:
            raise OSError(errors.EPROTO, "answers too much")
        n = response.length if response.length >= 0 else _BODY_MAX
        body = yield from response.steps_read(n)
        done = response.length >= 0 or len(body) < _BODY_MAX
    finally:
        if not done:
            response.close()
    age = response.headers.get("Age", "")
    return body, int(age) if age.isdigit() and len(age) < 10 else 0
