"""Servers that are asked, as people write them. RFC 7858, 8310, 8484.

    10.0.0.1   2001:db8::1             UDP, and TCP where that is too small
    tls://1.1.1.1#one.one.one.one      DNS over TLS, the certificate is to be that name's
    tls://10.0.0.1:8853                the certificate is to be the address's
    https://dns.example/dns-query      DNS over HTTPS, by POST; with {?dns} at the end by GET

A host that is a name is looked up by plain servers first: that name is all they learn.
"""

from micropython import const

UDP = const(0)
TCP = const(1)
TLS = const(2)
HTTPS = const(3)

_TLS_PORT = const(853)
_HTTPS_PORT = const(443)
_TEMPLATE = "{?dns}"


class Upstream:
    """A server that is spoken to in private.

    `kind` TLS or HTTPS, `host` as it was written, `port`, `name` that the certificate has to
    have, `path` and `get` of HTTPS. `opportunistic` (RFC 8310, section 5): any certificate will
    do, and where there is no TLS at all plain DNS; otherwise it is TLS with the right
    certificate or nothing. `verify`, `context`, `session`: the shell's.
    """

    def __init__(self, text, kind, host, port, name):
        self.text = text
        self.kind = kind
        self.host = host
        self.port = port
        self.name = name
        self.path = ""
        self.get = False
        self.opportunistic = False
        self.plain_until = 0
        self.verify = self.context = self.session = None

    def __repr__(self):
        return self.text


def is_private(text):
    return "://" in text


def parse(text):
    """An Upstream of its text. ValueError."""
    i = text.find("://")
    scheme = text[:i]
    rest = text[i + 3 :]
    if scheme == "tls":
        name = ""
        at = rest.find("#")
        if at >= 0:
            name = rest[at + 1 :]
            rest = rest[:at]
            if not name:
                raise ValueError("no name after # in %s" % text)
        host, port = _host_port(rest, _TLS_PORT, text)
        return Upstream(text, TLS, host, port, name or host)
    if scheme != "https":
        raise ValueError("tls:// or https://, not %s" % text)
    at = rest.find("/")
    host, port = _host_port(rest if at < 0 else rest[:at], _HTTPS_PORT, text)
    u = Upstream(text, HTTPS, host, port, host)
    u.path = "/dns-query" if at < 0 else rest[at:]
    if u.path.endswith(_TEMPLATE):
        u.path = u.path[: -len(_TEMPLATE)]
        u.get = True
    if "{" in u.path:
        raise ValueError("of templates only {?dns} at the end is known: %s" % text)
    return u


def _host_port(rest, port, text):
    host = rest
    if rest.startswith("["):
        end = rest.find("]")
        host = rest[1:end]
        rest = rest[end + 1 :]
        if end < 0 or rest and rest[0] != ":":
            raise ValueError("not a server: %s" % text)
        digits = rest[1:] if rest else None
    else:
        at = rest.find(":")
        digits = rest[at + 1 :] if at >= 0 else None
        if at >= 0:
            host = rest[:at]
    if digits is not None:
        port = int(digits) if digits.isdigit() and len(digits) < 6 else 0
    if not host or not 0 < port < 65536:
        raise ValueError("not a server: %s" % text)
    return host, port
