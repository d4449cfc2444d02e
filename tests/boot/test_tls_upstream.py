"""MicroPython's own tests of ssl, unchanged, between two guests; and what differs, by name.

Their certificates have a common name only; each is trusted itself, for which alone a common
name counts here. Where the words of an error are printed, ours stand in the place of mbedTLS's.
An asyncio connection is writable only after its handshake, so what went wrong is said by the
write and not by the drain after it. Left out: ..._cert_required_error, where a client of TLS 1.3
is done before the server's refusal comes; ..._server_client_ciphers, of suites of TLS 1.2;
..._verify_time_error, whose certificate is not of its key, which is refused at once here.
"""

import re

import pytest

from barewire.paths import build_dir

pytestmark = [pytest.mark.boot, pytest.mark.bridge]

MULTITEST = """
class multitest:
    @staticmethod
    def globals(**more):
        globals().update(more)
    @staticmethod
    def next():
        print("NEXT")
    @staticmethod
    def get_network_ip():
        return OWN
    broadcast = wait = output_metric = lambda *_: None
"""
FILES = ("ec_cert.der", "ec_key.der", "expired_cert.der", "rsa_cert.der", "rsa_key.der")
# What a line of theirs is here, as a pattern; the rest has to be the same.
WORDS = (
    (r"\(-29312, 'MBEDTLS_ERR_SSL_CONN_EOF'\)", r".*the peer ended the connection.*"),
    (r"\(-30592, 'MBEDTLS_ERR_SSL_FATAL_ALERT_MESSAGE'\)", r"the peer refused: \w+"),
    (r"The certificate Common Name .*", r"the certificate is not for .*"),
    (r"CERT_REQUIRED requires server_hostname", r"server_hostname is needed .*"),
    (r"The certificate is not correctly signed by the trusted CA", r".* neither trusted .*"),
)
TESTS = (
    "asyncio_tls_server_client", "asyncio_tls_server_client_readline",
    "asyncio_tls_server_client_verify_error",
    "ssl_cert_ec", "ssl_cert_rsa", "sslcontext_check_hostname_error", "sslcontext_getpeercert",
    "sslcontext_server_client", "sslcontext_server_client_files", "sslcontext_verify_callback",
    "sslcontext_verify_error",
)  # fmt: skip


def folder():
    (tree,) = build_dir().glob("micropython-1.25.0")
    return tree / "tests"


def expected(path):
    """[lines of instance 0, of instance 1] of an .exp file, without empty ones."""
    parts = re.split(r"--- instance\d ---\n", path.read_text())[1:]
    return [[line for line in part.splitlines() if line.strip()] for part in parts]


def same(line, want):
    for theirs, ours in WORDS:
        if re.fullmatch(theirs, want):
            return re.fullmatch(ours, line)
    return line == want


def test_between_two_guests(rig, lab):
    server, client = rig.bridged(lab), rig.bridged(lab)
    for g in (server, client):
        for name in FILES:
            g.put("/" + name, (folder() / "multi_net" / name).read_bytes())
    bad = []
    for name in TESTS:
        code = (folder() / "multi_net" / f"{name}.py").read_text()
        for g in (server, client):
            g.exec(MULTITEST + f"OWN = {g.ip!r}\nIP = {server.ip!r}\n" + code)
        running = [server.run_async("instance0()", timeout=60)]
        running[0].expect("NEXT")
        running.append(client.run_async("instance1()", timeout=60))
        wanted = expected(folder() / "multi_net" / f"{name}.py.exp")
        for r, want in zip(running[::-1], wanted[::-1]):
            try:
                out = r.wait(30)
            except Exception as e:
                out = f"{r.output}{e}"
            lines = [x for x in out.splitlines() if x.strip() and x.strip() != "NEXT"]
            if "verify_error" in name and "drain" in want and "drain" not in lines:
                want.remove("drain")
            if len(lines) != len(want) or not all(map(same, lines, want)):
                bad.append((name, lines, want))
    assert not bad, "\n".join(f"{n}: got {got}, want {want}" for n, got, want in bad)


def test_of_one_guest(guest):
    def run(name):
        return guest.exec((folder() / "extmod" / f"{name}.py").read_text())

    def want(name):
        return (folder() / "extmod" / f"{name}.py.exp").read_text()

    assert run("ssl_ioctl") == want("ssl_ioctl")
    out = run("ssl_basic")
    assert re.sub("<SSLSocket .*>", "<SSLSocket>", out) == want("ssl_basic")
    assert run("ssl_sslcontext") == run("ssl_sslcontext_verify_mode").splitlines()[0] + "\n"
    assert "invalid cert" in run("ssl_cadata")
    assert "object 'str' isn't a tuple or list" in guest.exec(
        "import tls\ntry: tls.SSLContext(0).set_ciphers('x')\nexcept TypeError as e: print(e)"
    )
    # 128 sockets, one after the other, of a context each and of one context.
    guest.exec(
        "import io, tls\nclass S(io.IOBase):\n def write(self, b): return len(b)\n"
        " def readinto(self, b): return 0\n def ioctl(self, c, a): return 0\n"
        "one = tls.SSLContext(tls.PROTOCOL_TLS_CLIENT)\none.verify_mode = tls.CERT_NONE\n"
        "for n in range(256):\n c = one\n if n & 1:\n"
        "  c = tls.SSLContext(tls.PROTOCOL_TLS_CLIENT); c.verify_mode = tls.CERT_NONE\n"
        " s = c.wrap_socket(S(), do_handshake_on_connect=False)", timeout=60,
    )  # fmt: skip
