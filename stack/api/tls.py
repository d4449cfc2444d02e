"""net.tls: what MicroPython's `ssl` has no words for. The sockets are the same.

    s = net.tls.connect("example.org", 443)              verified by Mozilla's roots
    context = net.tls.context(pins=[pin], alpn=["h2"])   or server=True, certificate=, key=
    net.tls.info(s)   net.tls.export(s, label, context, n)   net.tls.update_key(s)
    net.tls.key_log("/keys.log")     net.tls.pin(pem)     net.tls.trust(root)

Options of `context`, besides those of stack/tls/config.py:

    roots            trusted certificates instead of Mozilla's: PEM, DER or a path
    certificate, key what to show: PEM, DER or a path; ocsp: a response to staple, DER
    pins             SHA-256 of SubjectPublicKeyInfo, bytes or base64; one has to be in the path
    alpn             protocols, best first
    early_data       a server: bytes of 0-RTT data taken; whoever recorded them can replay them
    dangerously_accept_any_certificate, dangerously_skip_host_check   the check is off
"""

from micropython import const

from stack.api import _runtime

_ROOTS = "/etc/ssl/cacerts.pem"
_INDEX = "/etc/ssl/cacerts.idx"

# function(line) of contexts that have none of their own; see key_log.
key_logger = None

# Contexts of net.http by `verify`: one of them holds at most 64 tickets of 2 KB.
_HTTP_CONTEXTS = const(4)
_http_contexts = {}

_roots = None
_suites = None


def rng():
    """Random bytes for keys: a function of their number."""
    r = _runtime.current().host.rng
    return getattr(r, "secret", r)


def suites():
    """The cipher suites, the fastest here first."""
    global _suites
    if _suites is None:
        from stack.tls import schedule as s

        _suites = s.SUITES
        if "tcg" in _features(_runtime.current().hw):
            # QEMU's translator has no AES of its own: ChaCha20 is twice as fast there.
            _suites = (s.CHACHA20_POLY1305_SHA256, s.AES_128_GCM_SHA256, s.AES_256_GCM_SHA384)
    return _suites


def _features(hw):
    if not hasattr(hw, "cpuid"):
        return ()
    from stack.crypto.native import features

    return features(hw)


def default_roots():
    """The store of Mozilla's roots. OSError(ENOENT) where the image has none."""
    global _roots
    if _roots is None:
        from stack.tls.x509.store import RootFile

        with open(_INDEX, "rb") as f:
            index = f.read()
        _roots = RootFile(_read_root, index)
    return _roots


def trust(root):
    """Trust this root too, a path or PEM or DER, where a program names none of its own."""
    global _roots
    from stack.api import ssl
    from stack.tls.x509.store import Roots, Several

    more = Roots()
    if not more.add(root if _is_pem(root) else ssl._content(root)):
        raise ValueError("invalid cert: neither PEM nor DER")
    _roots = Several((default_roots(), more))
    _http_contexts.clear()


def _read_root(at, n):
    with open(_ROOTS, "rb") as f:
        f.seek(at)
        return f.read(n)


def context(
    server=False, roots=None, certificate=None, key=None, ocsp=None, pins=(), alpn=(), **options
):
    """An ssl.SSLContext with options that `ssl` has no words for."""
    from stack.api import ssl

    c = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER if server else ssl.PROTOCOL_TLS_CLIENT, **options)
    if options.get("dangerously_accept_any_certificate"):
        c.verify_mode = ssl.CERT_NONE
    if roots is not None:
        data = ssl._content(roots) if not _is_pem(roots) else roots
        c.load_verify_locations(cadata=data)
    if certificate is not None:
        c.load_cert_chain(_bytes(certificate), _bytes(key))
        c._identities[0].ocsp = ocsp
    if pins:
        c._options["pins"] = [_pin_bytes(p) for p in pins]
    if alpn:
        c.set_alpn_protocols(alpn)
    return c


def for_http(verify, alpn=()):
    """The SSLContext for `verify` of net.http and requests; made once each, so that they resume."""
    from stack.api import ssl

    if isinstance(verify, ssl.SSLContext):
        return verify
    key = verify, alpn
    if isinstance(verify, str) and not _is_pem(verify):
        import os

        was = os.stat(verify)
        key = verify, alpn, was[6], was[8]  # another file by its size or time
    c = _http_contexts.get(key)
    if c is None:
        if verify is None or verify is True:
            c = context(alpn=alpn)
        elif verify is False:
            c = context(dangerously_accept_any_certificate=True, alpn=alpn)
        else:
            c = context(roots=verify, alpn=alpn)
        while len(_http_contexts) >= _HTTP_CONTEXTS:
            _http_contexts.popitem()
        _http_contexts[key] = c
    return c


def _is_pem(text):
    return isinstance(text, str) and "-----BEGIN" in text


def _bytes(what):
    return what.encode() if _is_pem(what) else what


def _pin_bytes(p):
    if isinstance(p, str):
        from binascii import a2b_base64

        p = a2b_base64(p)
    if len(p) != 32:
        raise ValueError("a pin has 32 bytes: net.tls.pin(certificate) makes one")
    return bytes(p)


def pin(certificate):
    """The pin of a certificate (PEM or DER), as text."""
    from binascii import b2a_base64

    from stack.tls.x509.certificate import Certificate
    from stack.tls.x509.store import pem_certificates

    c = Certificate(pem_certificates(certificate)[0])
    return b2a_base64(c.spki_sha256()).decode().strip()


def connect(host, port=443, context=None, timeout=None, early_data=b"", host_name=None, **options):
    """An SSLSocket to host, after the handshake. options: of `context`, when none is given.

    host_name: whom the certificate has to be for, if it is not `host`. early_data: sent with the
    first message if a session of the context allows it, else after the handshake: for what may
    be done twice.
    """
    from stack.api import socket, ssl

    c = context if context is not None else globals()["context"](**options)
    raw = socket.create_connection((host, port), timeout)
    done = False
    try:
        s = ssl.SSLSocket(raw, c, False, host_name or host, early_data)
        s.do_handshake()
        if early_data and not s._ep.machine.early_data_accepted:
            s.write(early_data)
        done = True
        return s
    finally:
        if not done:
            raw.close()


def machine(sock):
    """The stack.tls machine of an SSLSocket: everything that it knows."""
    return sock._endpoint().machine


def info(sock):
    """What was agreed, a dict; times in seconds since 1970."""
    from stack.tls import groups, signatures

    m = machine(sock)
    found = {
        "version": "TLSv1.3" if m.connected else None,
        "cipher": m.suite.name if m.suite else None,
        "group": groups.NAMES.get(m.group),
        "signature": signatures.NAMES.get(m.scheme),
        "alpn": m.alpn.decode() if m.alpn else None,
        "host": m.host,
        "resumed": m.resumed,
        "retried": m.retried,
        "early_data": m.early_data_accepted,
        "early_bytes": sock._endpoint().early,
        "path": [c.subject_text() for c in m.peer_path],
        "scts": len(m.scts),
    }
    p = m.peer
    if p is not None:
        found["subject"] = p.subject_text()
        found["issuer"] = p.issuer_text()
        found["not_before"] = p.not_before
        found["not_after"] = p.not_after
        found["pin"] = pin(p.der)
    return found


def export(sock, label, context=b"", n=32):
    """n bytes of keying material that both ends share. RFC 8446, 7.5."""
    label = label.encode() if isinstance(label, str) else label
    return machine(sock).export(label, context, n)


def update_key(sock, request=False):
    """Change our key; `request`: and the peer's."""
    rt = _runtime.current()
    rt.lock()
    try:
        e = sock._endpoint()
        e.machine.send_key_update(request)
        e.push(rt.now())
    finally:
        rt.unlock()


def key_log(target):
    """Write the keys of all later connections, in NSS's format, to `target`; None: no more.

    target: a path (appended to), an open file, or a function of a line. On the kernel command
    line: keylog=PATH, or keylog=debugcon for QEMU's `-debugcon file:keys.log`. Whoever reads
    the keys reads everything.
    """
    global key_logger
    if isinstance(target, str):
        target = _to_debugcon if target == "debugcon" else _to_file(target)
    elif hasattr(target, "write"):
        target = _to_stream(target)
    key_logger = target


def _to_file(path):
    def log(line):
        with open(path, "a") as f:
            f.write(line + "\n")

    return log


def _to_stream(f):
    def log(line):
        f.write(line + "\n")
        if hasattr(f, "flush"):
            f.flush()

    return log


def _to_debugcon(line):
    outb = _runtime.current().hw.outb
    for b in (line + "\n").encode():
        outb(0xE9, b)
