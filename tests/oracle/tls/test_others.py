"""Our machines against GnuTLS, nginx, curl, CPython's ssl, and OpenSSL 3.5+ (node, pyOpenSSL)."""

import contextlib
import json
import os
import re
import socket
import ssl
import threading
import time

import pytest

from stack.tls import groups, schedule
from stack.tls.client import Client
from stack.tls.config import CLIENT_CERTIFICATE_REQUIRED
from stack.tls.events import TicketReceived
from stack.tls.keys import load_identity
from stack.tls.server import Server
from stack.tls.tickets import Sessions, TicketKeys
from tests.oracle.tls.peers import (
    HOST,
    IDENTITIES,
    KINDS,
    SUITES,
    TIMEOUT,
    Listener,
    client_config,
    dial,
    free_port,
    need,
    node,
    now_us,
    process,
    python_context,
    run,
    server_config,
    wait_for_port,
)

GROUPS = {"X25519": groups.X25519, "P-256": groups.SECP256R1, "P-384": groups.SECP384R1}
BY_NAME = {s.name: s for s in schedule.SUITES}
CIPHER = {
    "TLS_AES_128_GCM_SHA256": "AES-128-GCM",
    "TLS_AES_256_GCM_SHA384": "AES-256-GCM",
    "TLS_CHACHA20_POLY1305_SHA256": "CHACHA20-POLY1305",
}
CURVE = {"X25519": "GROUP-X25519", "P-256": "GROUP-SECP256R1", "P-384": "GROUP-SECP384R1"}


def _only(suite, group):
    return client_config(
        suites=(BY_NAME[suite],), groups=(GROUPS[group],), key_shares=(GROUPS[group],)
    )


def _wait(condition):
    end = time.monotonic() + TIMEOUT
    while not condition():
        assert time.monotonic() < end
        threading.Event().wait(0.01)


# GnuTLS


def _priority(suite=None, group=None):
    out = "NORMAL:-VERS-ALL:+VERS-TLS1.3"
    if suite:
        out += f":-CIPHER-ALL:+{CIPHER[suite]}"
    if group:
        out += f":-GROUP-ALL:+{CURVE[group]}"
    return out


@contextlib.contextmanager
def _gnutls_server(files, kind, *more, priority=None):
    port = free_port()
    arguments = [need("gnutls-serv"), "--echo", "-p", port, "--x509certfile",
                 files / f"{kind}.pem", "--x509keyfile", files / f"{kind}.key", "--priority",
                 priority or _priority(), *more]  # fmt: skip
    log = files / "gnutls.log"
    with process(arguments, log=log) as p:
        wait_for_port(port, p)
        p.port, p.log = port, log
        yield p


@pytest.mark.parametrize("kind", KINDS)
def test_client_gnutls(files, kind):
    with _gnutls_server(files, kind) as p:
        for suite in SUITES:
            for group in GROUPS:
                with dial(p.port, _only(suite, group)) as w:
                    w.send(b"hello there\n")
                    assert w.line() == b"hello there"
                    assert w.machine.suite.name == suite and w.machine.group == GROUPS[group]


def test_client_gnutls_retry_and_resumption(files):
    config = client_config(key_shares=(groups.X25519,), sessions=Sessions())
    with _gnutls_server(files, "p256", priority=_priority(None, "P-384")) as p:
        for n in range(3):
            with dial(p.port, config) as w:
                assert w.machine.retried and w.machine.resumed == (n > 0)
                w.send(b"hello there\n")
                assert w.line() == b"hello there"
                w.until(lambda w=w: w.saw(TicketReceived))


def test_client_gnutls_record_size_limit(files):
    with _gnutls_server(files, "p256", "--recordsize", "600") as p:
        with dial(p.port, client_config(record_size_limit=700)) as w:
            assert w.machine.max_fragment == 600
            w.send(b"x" * 5000 + b"\n")
            assert w.line() == b"x" * 5000


@pytest.mark.parametrize("kind", KINDS)
def test_client_gnutls_asks_for_a_certificate(files, kind):
    more = ("--require-client-cert", "--verify-client-cert", "--x509cafile", files / "root.pem")
    config = client_config(identities=[load_identity(*IDENTITIES[kind])])
    with _gnutls_server(files, "p256", *more) as p, dial(p.port, config) as w:
        w.send(b"hello there\n")
        assert w.line() == b"hello there"


def _gnutls(files, port, *more, input=b"hello there\n", check=True):
    arguments = [need("gnutls-cli"), "-p", port, "--x509cafile", files / "root.pem",
                 "--verify-hostname", HOST, "--sni-hostname", HOST, "127.0.0.1",
                 *more]  # fmt: skip
    return run(arguments, input=input, check=check)


@pytest.mark.parametrize("kind", KINDS)
def test_server_gnutls(files, kind):
    with Listener(server_config(kind)) as s:
        for suite in SUITES:
            for group in GROUPS:
                out = _gnutls(files, s.port, "--priority", _priority(suite, group))
                assert b"ereht olleh" in out and b"The certificate is trusted" in out
                assert s.seen[-1].suite.name == suite and s.seen[-1].group == GROUPS[group]


def test_server_gnutls_resumption(files):
    with Listener(server_config("p256", tickets=TicketKeys(os.urandom))) as s:
        out = _gnutls(files, s.port, "--resume", "--priority", _priority())
        assert b"This is a resumed session" in out
        assert s.seen[-1].resumed


def test_server_gnutls_retry(files):
    with Listener(server_config("p256", groups=(groups.SECP384R1,))) as s:
        assert b"ereht olleh" in _gnutls(files, s.port, "--priority", _priority())
        assert s.seen[-1].retried


def test_server_gnutls_client_certificate(files):
    config = server_config("p256", client_auth=CLIENT_CERTIFICATE_REQUIRED)
    with Listener(config) as s:
        out = _gnutls(files, s.port, "--x509certfile", files / "p384.pem", "--x509keyfile",
                      files / "p384.key", "--priority", _priority())  # fmt: skip
        assert b"ereht olleh" in out and s.seen[-1].peer.subject_text() == "p384"


def test_server_gnutls_record_size_limit(files):
    with Listener(server_config("p256", record_size_limit=600)) as s:
        out = _gnutls(files, s.port, "--priority", _priority(), input=b"y" * 500 + b"\n")
        assert b"y" * 500 in out and s.seen[-1]._reader.limit == 600


def test_server_gnutls_tls_1_2(files):
    with Listener(server_config("p256")) as s:
        out = _gnutls(files, s.port, "--priority", "NORMAL:-VERS-ALL:+VERS-TLS1.2", check=False)
        assert b"protocol version" in out


# nginx


_NGINX = """
daemon off; master_process off; pid nginx.pid; error_log nginx.log;
events {{}}
http {{
  access_log off; client_body_temp_path t1; proxy_temp_path t2; fastcgi_temp_path t3;
  uwsgi_temp_path t4; scgi_temp_path t5;
  server {{
    listen 127.0.0.1:{port} ssl http2; server_name {host};
    ssl_certificate {kind}.pem; ssl_certificate_key {kind}.key; ssl_protocols TLSv1.3;
    {more}
    location / {{ return 200 "$ssl_cipher $ssl_curve $ssl_client_verify $ssl_session_reused\\n"; }}
  }}
}}
"""


@contextlib.contextmanager
def _nginx(files, kind, more=""):
    port = free_port()
    text = _NGINX.format(port=port, host=HOST, kind=kind, more=more)
    (files / "nginx.conf").write_text(text)
    arguments = [need("nginx"), "-p", files, "-c", "nginx.conf", "-e", "nginx.log"]
    with process(arguments, log=files / "nginx.out") as p:
        wait_for_port(port, p)
        yield port


def _get(wire, path=b"/"):
    wire.send(b"GET " + path + b" HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
    wire.until(lambda: wire.machine.read_closed)
    head, body = wire.data.split(b"\r\n\r\n", 1)
    assert head.startswith(b"HTTP/1.1 200")
    return body


@pytest.mark.parametrize("kind", KINDS)
def test_client_nginx(files, kind):
    with _nginx(files, kind) as port:
        for suite in SUITES:
            for group in GROUPS:
                with dial(port, _only(suite, group)) as w:
                    assert suite.encode() in _get(w)


def test_client_nginx_resumption_alpn_retry(files):
    config = client_config(sessions=Sessions(), alpn=[b"h2", b"http/1.1"])
    with _nginx(files, "p256", "ssl_ecdh_curve secp384r1; ssl_session_cache shared:a:1m;") as port:
        for n in range(3):
            with dial(port, config) as w:
                assert w.machine.retried and w.machine.resumed == (n > 0)
                assert w.machine.alpn == b"h2"
                w.until(lambda w=w: w.saw(TicketReceived))


def test_client_nginx_client_certificate(files):
    with _nginx(files, "p256", "ssl_verify_client on; ssl_client_certificate root.pem;"
                " ssl_verify_depth 3;") as port:  # fmt: skip
        config = client_config(identities=[load_identity(*IDENTITIES["ed25519"])])
        with dial(port, config) as w:
            assert b"SUCCESS" in _get(w)


# curl


def _curl(files, port, *more, check=True):
    return run([need("curl"), "-sv", "--cacert", files / "root.pem", "--resolve",
                f"{HOST}:{port}:127.0.0.1", *more, f"https://{HOST}:{port}/"],
               check=check)  # fmt: skip


@pytest.mark.parametrize("kind", KINDS)
def test_server_curl(files, kind):
    with Listener(server_config(kind)) as s:
        for suite in SUITES:
            for group in GROUPS:
                out = _curl(files, s.port, "--tls13-ciphers", suite, "--curves", group)
                assert b"suite=%s host=%s" % (suite.encode(), HOST.encode()) in out
                assert s.seen[-1].group == GROUPS[group]


def test_server_curl_client_certificate(files):
    with Listener(server_config("p256", client_auth=CLIENT_CERTIFICATE_REQUIRED)) as s:
        out = _curl(files, s.port, "--cert", files / "rsa2048.pem", "--key", files / "rsa2048.key")
        assert b"suite=" in out
        assert b"alert" in _curl(files, s.port, check=False)


def test_server_curl_tls_1_2(files):
    with Listener(server_config("p256")) as s:
        out = _curl(files, s.port, "--tls-max", "1.2", check=False)
        assert b"alert protocol version" in out


# CPython's ssl


@contextlib.contextmanager
def _python_server(context):
    """An echo of lines by CPython's ssl in a thread: (port, its SSLSockets)."""
    sock = socket.create_server(("127.0.0.1", 0))
    seen = []

    def serve():
        while True:
            try:
                raw, _ = sock.accept()
            except OSError:
                return
            with contextlib.suppress(OSError):
                raw.settimeout(TIMEOUT)
                c = context.wrap_socket(raw, server_side=True)
                seen.append(c)
                while data := c.recv(65536):
                    c.sendall(data)
                c.unwrap()
            raw.close()

    thread = threading.Thread(target=serve, daemon=True)
    thread.start()
    try:
        yield sock.getsockname()[1], seen
    finally:
        sock.shutdown(socket.SHUT_RDWR)
        sock.close()
        thread.join(TIMEOUT)


def _want(context, group):
    """Let CPython's ssl use this group alone, or, for X25519, first."""
    name = {"X25519": "X25519", "P-256": "prime256v1", "P-384": "secp384r1"}[group]
    try:
        context.set_ecdh_curve(name)
    except ssl.SSLError:
        # Some builds take names of EC_KEY curves only; their OpenSSL has X25519 first anyway,
        # and the group in use is asserted where it is ours to see.
        if group != "X25519":
            raise


@pytest.mark.parametrize("kind", KINDS)
def test_client_python(files, kind):
    for group in GROUPS:
        context = python_context(files, True, kind)
        _want(context, group)
        with _python_server(context) as (port, seen):
            for suite in SUITES:
                with dial(port, _only(suite, group)) as w:
                    w.send(b"hello there\n" + bytes(20000) + b"\n")
                    assert w.line() == b"hello there"
                    assert w.line() == bytes(20000)
                    assert seen[-1].cipher()[0] == suite


def test_client_python_resumption_and_certificate(files):
    context = python_context(files, True)
    context.verify_mode = ssl.CERT_REQUIRED
    config = client_config(
        sessions=Sessions(), identities=[load_identity(*IDENTITIES["p384"])]
    )
    with _python_server(context) as (port, seen):
        for n in range(3):
            with dial(port, config) as w:
                w.send(b"hello there\n")
                assert w.line() == b"hello there"
                assert w.machine.resumed == (n > 0) == seen[-1].session_reused
                assert dict(x[0] for x in seen[-1].getpeercert()["subject"])["commonName"] == "p384"


@pytest.mark.parametrize("kind", KINDS)
def test_server_python(files, kind):
    for suite in SUITES:
        with Listener(server_config(kind, suites=(BY_NAME[suite],))) as s:
            for group in GROUPS:
                context = python_context(files)
                _want(context, group)
                with socket.create_connection(("127.0.0.1", s.port), TIMEOUT) as raw:
                    with context.wrap_socket(raw, server_hostname=HOST) as c:
                        c.sendall(b"hello there\n")
                        assert c.recv(100) == b"ereht olleh\n"
                        assert c.cipher()[0] == suite and c.version() == "TLSv1.3"
                assert s.seen[-1].group == GROUPS[group]


def test_server_python_resumption_alpn_close(files):
    config = server_config("p256", tickets=TicketKeys(os.urandom), alpn=[b"http/1.1"])
    with Listener(config) as s:
        context = python_context(files)
        context.set_alpn_protocols(["h2", "http/1.1"])
        session = None
        for n in range(3):
            with socket.create_connection(("127.0.0.1", s.port), TIMEOUT) as raw:
                c = context.wrap_socket(raw, server_hostname=HOST, session=session)
                c.sendall(b"hello there\n")
                assert c.recv(100) == b"ereht olleh\n"
                assert c.session_reused == (n > 0) and c.selected_alpn_protocol() == "http/1.1"
                session = c.session
                c.unwrap()  # close_notify both ways
                c.close()


def test_server_python_client_certificate(files):
    with Listener(server_config("p256", client_auth=CLIENT_CERTIFICATE_REQUIRED)) as s:
        context = python_context(files)
        context.load_cert_chain(files / "ed25519.pem", files / "ed25519.key")
        with socket.create_connection(("127.0.0.1", s.port), TIMEOUT) as raw:
            with context.wrap_socket(raw, server_hostname=HOST) as c:
                c.sendall(b"hello there\n")
                assert c.recv(100) == b"ereht olleh\n"
        assert s.seen[0].peer.subject_text() == "ed25519"


# OpenSSL 3.5 and newer: X25519MLKEM768


_NODE_SERVER = """
const tls = require('tls'), fs = require('fs');
const o = {cert: fs.readFileSync(process.argv[1]), key: fs.readFileSync(process.argv[2]),
  minVersion: 'TLSv1.3', ecdhCurve: 'X25519MLKEM768', ciphers: process.argv[3]};
const s = tls.createServer(o, c => { c.on('error', () => 0); c.pipe(c); });
s.listen(0, '127.0.0.1', () => console.log('PORT ' + s.address().port));
"""

_NODE_CLIENT = """
const tls = require('tls'), fs = require('fs'), a = process.argv;
const c = tls.connect({host: '127.0.0.1', port: +a[1], servername: a[2], ca: fs.readFileSync(a[3]),
  ciphers: a[4], ecdhCurve: 'X25519MLKEM768', minVersion: 'TLSv1.3'}, () => {
  c.write('hello there\\n'); });
c.on('data', d => { console.log(JSON.stringify([String(d), c.getCipher().name, c.authorized]));
  c.end(); });
c.on('error', e => { console.log(String(e)); process.exit(1); });
"""


@pytest.mark.parametrize("suite", SUITES)
def test_client_node_hybrid(files, suite):
    log = files / "node.log"
    kind = "p256"
    arguments = [node(), "-e", _NODE_SERVER, files / f"{kind}.pem", files / f"{kind}.key", suite]
    with process(arguments, log=log):
        _wait(lambda: re.search(r"PORT (\d+)", log.read_text()))
        port = int(re.search(r"PORT (\d+)", log.read_text())[1])
        with dial(port, client_config(suites=(BY_NAME[suite],), sessions=Sessions())) as w:
            w.send(b"hello there\n")
            assert w.line() == b"hello there"
            assert w.machine.group == groups.X25519MLKEM768 and not w.machine.retried
        config = client_config(suites=(BY_NAME[suite],), key_shares=(groups.X25519,))
        with dial(port, config) as w:
            assert w.machine.retried and w.machine.group == groups.X25519MLKEM768


@pytest.mark.parametrize("suite", SUITES)
def test_server_node_hybrid(files, suite):
    with Listener(server_config("p256")) as s:
        out = run([node(), "-e", _NODE_CLIENT, s.port, HOST, files / "root.pem", suite])
        assert json.loads(out) == ["ereht olleh\n", suite, True]
        assert s.seen[0].group == groups.X25519MLKEM768


def _pyopenssl():
    return pytest.importorskip("OpenSSL.SSL", reason="no pyOpenSSL: pip install pyopenssl")


def _carry(machine, other, want):
    """Bytes between our machine and a pyOpenSSL Connection in memory until both are done."""
    SSL = _pyopenssl()
    got = b""
    for _ in range(50):
        out = machine.data_to_send()
        if out:
            other.bio_write(out)
        with contextlib.suppress(SSL.WantReadError):
            other.do_handshake()
            got += other.recv(65536)
        with contextlib.suppress(SSL.WantReadError):
            machine.receive(other.bio_read(1 << 17))
        while (e := machine.next_event()) is not None:
            if hasattr(e, "tobytes"):
                got += e.tobytes()
        if machine.connected and got == want:
            return
        if machine.connected and want and not got and not len(machine.out):
            (machine if want[:1] == b"c" else other).send(want)
    raise AssertionError("nothing came")


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("suite", SUITES)
def test_newest_openssl(files, suite, kind):
    """Both roles in memory with the OpenSSL of `cryptography` (3.5 or newer): the hybrid group."""
    SSL = _pyopenssl()
    version = SSL.OpenSSL_version(0) if hasattr(SSL, "OpenSSL_version") else SSL.SSLeay_version(0)
    if tuple(int(x) for x in version.split()[1].split(b".")[:2]) < (3, 5):
        pytest.skip(f"{version} has no X25519MLKEM768")
    now = now_us(), int(time.time())

    def context():
        c = SSL.Context(SSL.TLS_METHOD)
        c.set_min_proto_version(SSL.TLS1_3_VERSION)
        c.set_tls13_ciphersuites(suite.encode())
        c.load_verify_locations(str(files / "root.pem"))
        return c

    ctx = context()
    ctx.use_certificate_chain_file(str(files / f"{kind}.pem"))
    ctx.use_privatekey_file(str(files / f"{kind}.key"))
    other = SSL.Connection(ctx, None)
    other.set_accept_state()
    config = client_config(
        groups=(groups.X25519MLKEM768,), key_shares=(groups.X25519MLKEM768,)
    )
    machine = Client(config, HOST, os.urandom, *now)
    _carry(machine, other, b"client's words")
    assert machine.group == groups.X25519MLKEM768 and machine.suite.name == suite
    assert other.export_keying_material(b"EXPORTER-x", 20, b"c") == machine.export(
        b"EXPORTER-x", b"c", 20)  # fmt: skip
    ctx = context()
    ctx.set_verify(SSL.VERIFY_PEER, lambda c, x, n, d, ok: bool(ok))
    other = SSL.Connection(ctx, None)
    other.set_connect_state()
    other.set_tlsext_host_name(HOST.encode())
    machine = Server(server_config(kind), os.urandom, *now)
    _carry(machine, other, b"server's")
    assert machine.group == groups.X25519MLKEM768 and machine.host == HOST


# A browser's hello


@pytest.mark.parametrize("browser", ("chrome131", "firefox135", "safari184"))
def test_server_browser_hello(files, browser):
    """BoringSSL with a browser's extensions: GREASE, ECH, certificate compression, hybrid share."""
    curl = pytest.importorskip("curl_cffi", reason="no curl_cffi: pip install curl_cffi")
    with Listener(server_config("p256", alpn=[b"http/1.1"])) as s:
        answer = curl.get(
            f"https://localhost:{s.port}/", impersonate=browser, verify=str(files / "root.pem"),
            timeout=TIMEOUT,
        )  # fmt: skip
        assert answer.status_code == 200 and b"suite=TLS_" in answer.content
        assert s.seen[0].alpn == b"http/1.1"
