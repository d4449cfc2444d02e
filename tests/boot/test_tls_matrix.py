"""TLS of the guest with OpenSSL, GnuTLS, nginx, CPython: suites, groups, kinds of keys, features.

Few boots, many handshakes: a test boots once and tries a whole matrix in both directions.
"""

import contextlib
import subprocess
import threading
from concurrent.futures import ThreadPoolExecutor

import pytest

from barewire.services import PAGE
from tests.boot import tls_peers as peers
from tests.vectors.tls.identities import HOST, IDENTITIES

pytestmark = [pytest.mark.boot, pytest.mark.bridge]

KINDS = tuple(IDENTITIES)
SUITES = ("TLS_AES_128_GCM_SHA256", "TLS_AES_256_GCM_SHA384", "TLS_CHACHA20_POLY1305_SHA256")
# As OpenSSL, GnuTLS and stack/tls/groups.py call them.
GROUPS = {"X25519": "x25519", "P-256": "secp256r1", "P-384": "secp384r1"}
GNUTLS = {"X25519": "X25519", "P-256": "SECP256R1", "P-384": "SECP384R1"}
GNUTLS_CIPHERS = {
    SUITES[0]: "AES-128-GCM", SUITES[1]: "AES-256-GCM", SUITES[2]: "CHACHA20-POLY1305",
}  # fmt: skip
SCHEMES = {
    "p256": "ecdsa_secp256r1_sha256", "p384": "ecdsa_secp384r1_sha384", "ed25519": "ed25519",
    "rsa2048": "rsa_pss_rsae_sha256",
}  # fmt: skip

CLIENT = """
import net, socket, ssl
from stack.tls import groups as G
root = open("/root.pem").read()
NUMBERS = {v: k for k, v in G.NAMES.items()}
def context(suite=None, groups=("x25519",), shares=None, **more):
    numbers = tuple([NUMBERS[g] for g in groups])
    shares = numbers[:1] if shares is None else tuple([NUMBERS[g] for g in shares])
    c = net.tls.context(roots=root, groups=numbers, key_shares=shares, **more)
    if suite:
        c.set_ciphers([suite])
    return c
def ask(address, port, c, lines=1, update=False):
    s = socket.socket()
    s.settimeout(20)
    s.connect((address, port))
    w = c.wrap_socket(s, server_hostname="www.example.org")
    said = []
    for n in range(lines):
        if update:
            net.tls.update_key(w, True)
        w.write(b"hello there\\n")
        said.append(w.readline())
    i = net.tls.info(w)
    w.close()
    return said, i["cipher"], i["group"], i["signature"], i["resumed"], i["retried"], i["alpn"]
"""

SERVER = """
import asyncio, net, ssl
from stack.tls import groups as G
root = open("/root.pem").read()
seen = []
def context(kind, **more):
    return net.tls.context(server=True, certificate="/%s.pem" % kind, key="/%s.key" % kind, **more)
async def serve(r, w):
    try:
        while True:
            line = await r.readline()
            if not line or line == b"Q\\n":
                break
            i = net.tls.info(r.s)
            seen.append((i["cipher"], i["group"], i["signature"], i["resumed"], i["retried"],
                         i["alpn"], i.get("subject"), i["early_bytes"]))
            w.write(bytes(reversed(line[:-1])) + b"\\n")
            await w.drain()
    except OSError as e:
        seen.append(str(e))
    w.close()
    await w.wait_closed()
async def main():
    for n, kind in enumerate(KINDS):
        await asyncio.start_server(serve, "0.0.0.0", 4430 + n, ssl=context(kind))
    asks = context("p256", roots=root)
    asks.verify_mode = ssl.CERT_REQUIRED
    await asyncio.start_server(serve, "0.0.0.0", 4440, ssl=asks)
    retries = context("p256", groups=(G.SECP384R1,))
    await asyncio.start_server(serve, "0.0.0.0", 4441, ssl=retries)
    await asyncio.start_server(serve, "0.0.0.0", 4442, ssl=context("p256", alpn=["h2"]))
    await asyncio.start_server(serve, "0.0.0.0", 4443, ssl=context("p256", early_data=1000))
    print("serving")
    while True:
        await asyncio.sleep(60)
"""
HELLO = b"hello there\n"
REVERSED = b"ereht olleh"


@pytest.fixture
def files(artifacts):
    return peers.write_identities(artifacts)


@pytest.fixture
def client(bridged_guest, files):
    """The guest with the files and CLIENT's functions."""
    peers.put_identity(bridged_guest, files, *KINDS)
    bridged_guest.exec(CLIENT)
    return bridged_guest


@pytest.fixture
def server(bridged_guest, files):
    """The guest serving on ports 4430 and on; `.seen()` ends it and tells what it saw."""
    peers.put_identity(bridged_guest, files, *KINDS)
    bridged_guest.exec(SERVER.replace("KINDS", repr(KINDS)))
    running = bridged_guest.run_async("asyncio.run(main())", timeout=300)
    running.expect("serving")

    def seen():
        bridged_guest.console.write(b"\x03")
        with contextlib.suppress(Exception):  # KeyboardInterrupt, told by the guest
            running.wait()
        return bridged_guest.eval("seen")

    bridged_guest.seen = seen
    return bridged_guest


def matrix(guest, address, ports, wanted=REVERSED, timeout=240):
    """Every suite and group with the servers on `ports` ({kind: port})."""
    got = guest.eval(
        "[(k, s, g, ask(%r, p, context(s, (g,))))" % address
        + f" for k, p in {list(ports.items())!r} for s in {SUITES!r}"
        f" for g in {list(GROUPS.values())!r}]", timeout=timeout,
    )  # fmt: skip
    assert len(got) == len(ports) * 9
    for kind, suite, group, (said, *agreed) in got:
        assert said == [wanted + b"\n"]
        assert agreed == [suite, group, SCHEMES[kind], False, False, None]


def test_client_of_openssl(client, lab, files):
    with contextlib.ExitStack() as stack:
        ports = {}
        for n, kind in enumerate(KINDS):
            ports[kind] = 4430 + n
            stack.enter_context(
                peers.openssl_server(lab.gateway, files, kind, ports[kind], "-tls1_3", "-rev")
            )
        matrix(client, lab.gateway.ip, ports)
        for number, name in ((0x0805, "rsa_pss_rsae_sha384"), (0x0806, "rsa_pss_rsae_sha512")):
            got = client.eval(
                f"ask('{lab.gateway.ip}', {ports['rsa2048']}, context(schemes=({number}, 0x403)))"
            )
            assert got[3] == name


def test_client_of_openssl_features(client, lab, files):
    address = lab.gateway.ip

    def ask(code, *options, kind="p256"):
        with peers.openssl_server(lab.gateway, files, kind, 4430, "-tls1_3", "-rev", *options):
            return client.eval(code.format(f"{address!r}, 4430"), timeout=60)

    got = ask("(lambda c: [ask({}, c)[4] for _ in range(3)])(context())")
    assert got == [False, True, True]
    got = ask("ask({}, context(groups=('x25519', 'secp384r1')))", "-groups", "P-384")
    assert got[2] == "secp384r1" and got[5] is True
    got = ask(
        "(lambda c: [ask({}, c)[4:6] for _ in range(2)])"
        "(context(groups=('x25519', 'secp384r1')))", "-groups", "P-384",
    )  # fmt: skip
    assert got == [(False, True), (True, True)]
    got = ask("ask({}, context(alpn=['x', 'h2']))", "-alpn", "h2")
    assert got[6] == "h2"
    got = ask("ask({}, context(), lines=5, update=True)")
    assert got[0] == [REVERSED + b"\n"] * 5
    verify = ("-Verify", "3", "-verify_return_error", "-CAfile", str(files / "root.pem"))
    for kind in KINDS:
        mine = f"context(certificate='/{kind}.pem', key='/{kind}.key')"
        assert ask("ask({}, %s)" % mine, *verify)[0] == [REVERSED + b"\n"]
    refused = (
        "try: print(ask({}, context()))\nexcept OSError as e: print('refused', e.errno, e)"
    )
    with peers.openssl_server(lab.gateway, files, "p256", 4430, "-tls1_3", "-rev", *verify):
        out = client.exec(refused.format(f"{address!r}, 4430"))
    assert "refused -30592 the peer refused: certificate_required" in out


def _gnutls_priority(suite=None, group=None):
    ciphers = "".join(":+" + c for s, c in GNUTLS_CIPHERS.items() if suite in (None, s))
    groups = "".join(":+GROUP-" + g for o, g in GNUTLS.items() if group in (None, o))
    return f"NORMAL:-VERS-ALL:+VERS-TLS1.3:-CIPHER-ALL{ciphers}:-GROUP-ALL{groups}"


@contextlib.contextmanager
def _gnutls_server(host, files, kind, port, *more):
    p = host.popen(
        "gnutls-serv", "--echo", "-q", "-p", str(port), "--x509certfile", files / f"{kind}.pem",
        "--x509keyfile", files / f"{kind}.key", "--priority", _gnutls_priority(), *more,
        stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, stdin=subprocess.DEVNULL,
    )  # fmt: skip
    try:
        peers.wait_for_port(host, port, p)
        yield
    finally:
        p.kill()
        p.wait()


def test_client_of_gnutls_nginx_and_python(client, lab, files):
    gateway = lab.gateway
    with contextlib.ExitStack() as stack:
        ports = {}
        for n, kind in enumerate(KINDS):
            ports[kind] = 4430 + n
            stack.enter_context(_gnutls_server(gateway, files, kind, ports[kind]))
        matrix(client, gateway.ip, ports, HELLO[:-1])
        resumed = f"(lambda c: [ask('{gateway.ip}', 4430, c)[4] for _ in (1, 2)])(context())"
        got = client.eval(resumed)
        assert got == [False, True]

    for kind in KINDS:
        nginx = peers.nginx_tls(gateway, files, kind, "ssl_early_data on;")
        out = client.exec(
            "import gc\nc = context()\nfor _ in range(3):\n"
            f" w = net.tls.connect('{gateway.ip}', 443, c, 20, host_name='{HOST}',\n"
            "  early_data=b'GET / HTTP/1.0\\r\\n\\r\\n')\n"
            " i = net.tls.info(w)\n print(i['signature'], i['resumed'], i['early_data'],\n"
            f"  w.read().endswith({PAGE.encode()!r}))\n w.close()", timeout=60,
        )  # fmt: skip
        nginx.stop()
        again = f"{None} True True True"
        assert out.splitlines() == [f"{SCHEMES[kind]} False False True", again, again]

    for kind in KINDS:
        context = peers.python_context(files, True, kind)
        context.set_alpn_protocols(["http/1.1"])
        with peers.python_server(gateway, context, 4430):
            got = client.eval(f"ask('{gateway.ip}', 4430, context(alpn=['http/1.1']))")
            assert got[0] == [REVERSED + b"\n"] and got[3] == SCHEMES[kind]
            assert got[6] == "http/1.1"


def _s_client(lab, files, guest, port, *more, input=HELLO + b"Q\n", check=True):
    return lab.gateway.run(
        "openssl", "s_client", "-connect", f"{guest.ip}:{port}", "-servername", HOST,
        "-CAfile", files / "root.pem", "-verify_return_error", "-verify_hostname", HOST,
        "-ign_eof", *more, input=input.decode(), check=check,
    ).stdout  # fmt: skip


def test_server_of_openssl(server, lab, files):
    cases = [(k, s, g) for k in range(len(KINDS)) for s in SUITES for g in GROUPS]

    def one(case):
        kind, suite, group = case
        more = ("-ciphersuites", suite, "-groups", group)
        out = _s_client(lab, files, server, 4430 + kind, *more)
        assert REVERSED.decode() in out and "Verification: OK" in out, out

    with ThreadPoolExecutor(3) as pool:
        list(pool.map(one, cases))
    seen = [x[:5] for x in server.seen()]
    wanted = [(s, GROUPS[g], SCHEMES[KINDS[k]], False, False) for k, s, g in cases]
    assert sorted(seen) == sorted(wanted)


def test_server_features(server, lab, files):
    """Resumption, 0-RTT, HelloRetryRequest, client certificates, ALPN, key updates, TLS 1.2."""
    session = files / "session"
    out = _s_client(lab, files, server, 4443, "-sess_out", session)
    out = _s_client(lab, files, server, 4443, "-sess_in", session, "-sess_out", session)
    assert "Reused, TLSv1.3" in out
    (files / "early").write_bytes(b"sent early\n")
    out = _s_client(lab, files, server, 4443, "-sess_in", session, "-early_data", files / "early")
    assert "Early data was accepted" in out and "ylrae tnes" in out and "ereht olleh" in out
    out = _s_client(lab, files, server, 4441, "-groups", "X25519:P-384")
    assert "ereht olleh" in out
    for kind in KINDS:
        chain = files / f"{kind}.pem"
        mine = ("-cert", chain, "-key", files / f"{kind}.key", "-cert_chain", chain)
        assert "ereht olleh" in _s_client(lab, files, server, 4440, *mine)
    out = _s_client(lab, files, server, 4440, check=False)
    assert "ereht" not in out
    out = _s_client(lab, files, server, 4442, "-alpn", "http/1.1,h2")
    assert "ALPN protocol: h2" in out and "ereht olleh" in out
    _s_client(lab, files, server, 4442, "-alpn", "http/1.1", check=False)
    # s_client takes a line that is k or K as an order: change your key; and K: change both.
    with peers.process(lab.gateway, files, "openssl", "s_client", "-connect",
                       f"{server.ip}:4430") as p:  # fmt: skip
        for line, answer in ((b"one\n", b"eno"), (b"k\n", b"KEYUPDATE"), (b"two\n", b"owt"),
                             (b"K\n", b"KEYUPDATE"), (b"three\n", b"eerht")):  # fmt: skip
            p.say(line, answer)
    _s_client(lab, files, server, 4430, "-tls1_2", check=False)
    seen = server.seen()
    words = [x for x in seen if isinstance(x, str)]
    tuples = [x for x in seen if not isinstance(x, str)]
    assert [x[3] for x in tuples[:2]] == [False, True]
    assert tuples[2][7] == len(b"sent early\n") and tuples[2][3]
    assert any(x[1] == "secp384r1" and x[4] for x in tuples)
    assert {x[6] for x in tuples} >= {*KINDS, None} and any(x[5] == "h2" for x in tuples)
    for part in ("certificate", "no protocol in common", "nothing newer than TLS 1.2"):
        assert any(part in w for w in words), (part, words)


def test_server_of_gnutls_and_python(server, lab, files):
    cases = [(0, s, g) for s in SUITES for g in GROUPS]
    cases += [(k, SUITES[0], "X25519") for k in range(1, len(KINDS))]

    def one(case):
        kind, suite, group = case
        out = lab.gateway.run(
            "gnutls-cli", "-p", str(4430 + kind), "--x509cafile", files / "root.pem",
            "--verify-hostname", HOST, "--sni-hostname", HOST, "--priority",
            _gnutls_priority(suite, group), server.ip, input=HELLO.decode(),
        ).stdout  # fmt: skip
        assert REVERSED.decode() in out and "The certificate is trusted" in out

    with ThreadPoolExecutor(3) as pool:
        list(pool.map(one, cases))
    session = None
    for n in range(len(KINDS)):
        context = peers.python_context(files)
        for _ in range(2):
            sock = lab.gateway.connect((server.ip, 4430 + n))
            with context.wrap_socket(sock, server_hostname=HOST, session=session) as s:
                s.sendall(HELLO)
                assert s.recv(100) == REVERSED + b"\n"
                assert s.session_reused == (session is not None)
                session = s.session
        session = None
    # CPython ends a connection without close_notify, which a reader is told.
    seen = [x for x in server.seen() if isinstance(x, tuple)]
    assert len(seen) == len(cases) + 2 * len(KINDS)
    assert {(s, GROUPS[g]) for _, s, g in cases} <= {x[:2] for x in seen}


def test_hybrid_group_both_ways(bridged_guest, lab, files):
    """X25519MLKEM768 with the OpenSSL that pyOpenSSL brings."""
    SSL = pytest.importorskip("OpenSSL.SSL", reason="no pyOpenSSL: pip install pyopenssl")
    if SSL.OPENSSL_VERSION_NUMBER < 0x30500000:
        pytest.skip("pyOpenSSL's OpenSSL is older than 3.5")
    peers.put_identity(bridged_guest, files, "p256")
    bridged_guest.exec(CLIENT)
    context = SSL.Context(SSL.TLS_METHOD)
    context.use_certificate_chain_file(str(files / "p256.pem"))
    context.use_privatekey_file(str(files / "p256.key"))
    listener = lab.gateway.listen((lab.gateway.ip, 4430))

    def serve():
        sock, _ = listener.accept()
        c = SSL.Connection(context, sock)
        c.set_accept_state()
        c.sendall(bytes(reversed(peers.line(c)[:-1])) + b"\n")
        c.shutdown()
        sock.close()

    thread = threading.Thread(target=serve, daemon=True)
    thread.start()
    both = "context(groups=('X25519MLKEM768', 'x25519'), shares=('X25519MLKEM768', 'x25519'))"
    got = bridged_guest.eval(f"ask('{lab.gateway.ip}', 4430, {both})")
    thread.join(peers.TIMEOUT)
    assert got[0] == [REVERSED + b"\n"] and got[2] == "X25519MLKEM768"

    running = bridged_guest.run_async(
        "c = net.tls.context(server=True, certificate='/p256.pem', key='/p256.key')\n"
        "l = socket.socket()\nl.bind(('0.0.0.0', 443))\nl.listen(1)\nprint('serving')\n"
        "w = c.wrap_socket(l.accept()[0], server_side=True)\n"
        "w.write(w.readline())\nprint(net.tls.info(w)['group'])\nw.close()"
    )
    running.expect("serving")
    sock = lab.gateway.connect((bridged_guest.ip, 443))
    sock.settimeout(None)
    c = SSL.Connection(SSL.Context(SSL.TLS_METHOD), sock)
    c.set_connect_state()
    c.sendall(HELLO)
    assert peers.line(c) == HELLO
    assert "X25519MLKEM768" in running.wait()
