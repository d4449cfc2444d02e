"""Rows of cryptography and TLS, beside OpenSSL 3 and nginx in the Linux guest.

`native()` is the same machine code on the host's silicon, by ctypes, beside `cryptography`.
"""

import base64
import ssl
import subprocess
import sys
import threading
import time

from barewire.paths import root
from tests.vectors.tls.identities import IDENTITIES

CHAIN, KEY = IDENTITIES["p256"]
DOWNLOAD = 64 << 20
HANDSHAKES = 300
THREADS = 4

_NGINX = """
user root;
events { worker_connections 512; }
http { access_log off; sendfile on; keepalive_requests 1000000;
  server { listen 443 ssl; ssl_certificate /tmp/p256.pem; ssl_certificate_key /tmp/p256.key;
    ssl_protocols TLSv1.3; ssl_session_cache shared:S:1m; root /tmp/www; } }
pid /tmp/nginx-tls.pid;
"""


def _put(peer, path, text):
    data = base64.b64encode(text.encode()).decode()
    peer.shell(f": > {path}.b64")
    for i in range(0, len(data), 500):
        peer.shell(f"echo {data[i : i + 500]} >> {path}.b64")
    peer.shell(f"base64 -d {path}.b64 > {path}")


def _serve(client, peer):
    """Start the peer's TLS server on port 443, once."""
    if getattr(peer, "serves_tls", False):
        return
    if peer.name == "linux":
        _put(peer, "/tmp/p256.pem", CHAIN)
        _put(peer, "/tmp/p256.key", KEY)
        _put(peer, "/tmp/nginx-tls.conf", _NGINX)
        peer.shell(f"dd if=/dev/zero of=/tmp/www/{DOWNLOAD} bs=1M count={DOWNLOAD >> 20}")
        peer.shell("echo -n x > /tmp/www/1; nginx -c /tmp/nginx-tls.conf")
    else:
        peer.ask(client, f"tls_bench.start({CHAIN.encode()!r}, {KEY.encode()!r})")
    peer.serves_tls = True


def _speed(peer, algorithm, *options):
    text = peer.shell(f"openssl speed -seconds 2 {' '.join(options)} {algorithm} 2>/dev/null")
    return text.strip().splitlines()[-1].split()


def _bulk(evp, ours):
    def row(client, peer):
        if peer.name == "linux":
            return float(_speed(peer, "", "-bytes", "16384", "-evp", evp)[-1].rstrip("k")) / 1000
        return float(peer.ask(client, f"tls_bench.{ours}"))

    row.__doc__ = f"MB/s of {evp} over 16 KB."
    return row


def _public(algorithm, column, ours):
    def row(client, peer):
        if peer.name == "linux":
            return float(_speed(peer, algorithm)[column])
        return float(peer.ask(client, f"tls_bench.{ours}"))

    row.__doc__ = f"Operations per second of {algorithm}."
    return row


def _context():
    c = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    c.check_hostname = False
    c.verify_mode = ssl.CERT_NONE
    return c


def _session(client, peer, context):
    """A session of the peer's, after a request so that the ticket has come."""
    with context.wrap_socket(client.connect((peer.address, 443))) as s:
        s.sendall(b"GET /1 HTTP/1.1\r\nHost: x\r\n\r\n")
        while not s.recv(4096).endswith(b"\0") and not s.session.has_ticket:
            pass
        return s.session


def _handshakes(client, peer, resume):
    """Handshakes per second: connect, shake hands, close; four at a time."""
    _serve(client, peer)
    context = _context()
    _session(client, peer, context)
    failures = []

    def work():
        try:
            session = _session(client, peer, context) if resume else None
            barrier.wait()
            for _ in range(HANDSHAKES // THREADS):
                s = client.connect((peer.address, 443))
                with context.wrap_socket(s, session=session) as t:
                    assert t.session_reused == resume
        except Exception as e:  # told by the main thread
            failures.append(e)
            barrier.abort()

    barrier = threading.Barrier(THREADS + 1)
    threads = [threading.Thread(target=work) for _ in range(THREADS)]
    for t in threads:
        t.start()
    try:
        barrier.wait()
    except threading.BrokenBarrierError:
        raise failures[0] from None
    began = time.monotonic()
    for t in threads:
        t.join()
    if failures:
        raise failures[0]
    return HANDSHAKES // THREADS * THREADS / (time.monotonic() - began)


def full(client, peer):
    """Full handshakes per second (P-256 certificate, verified by nobody)."""
    return _handshakes(client, peer, False)


def resumed(client, peer):
    """Resumed handshakes per second."""
    return _handshakes(client, peer, True)


def download(client, peer):
    """MB/s of HTTPS out of the guest; of suites that the client offers the best."""
    _serve(client, peer)
    best = 0
    for suite in ("TLS_CHACHA20_POLY1305_SHA256", "TLS_AES_128_GCM_SHA256"):
        done = client.run(
            "curl", "-sSk", "--tls13-ciphers", suite, "-o", "/dev/null", "-w",
            "%{size_download} %{speed_download}", f"https://{peer.address}/{DOWNLOAD}",
        )  # fmt: skip
        size, speed = done.stdout.split()
        if int(size) != DOWNLOAD:
            raise RuntimeError(f"the download ended at {size} bytes")
        best = max(best, float(speed) / 1e6)
    return best


def native():
    """Print the table of the machine code on silicon beside OpenSSL."""
    program = root() / "tests" / "oracle" / "crypto" / "native_speed.py"
    path = f"{root() / 'host' / 'shim'}:{root()}"
    subprocess.run([sys.executable, program], env={"PYTHONPATH": path}, check=True)


ROWS = (
    ("crypto: ChaCha20-Poly1305, 16 KB", "MB/s", "more",
     _bulk("chacha20-poly1305", "aead('ChaCha20Poly1305')")),
    ("crypto: AES-128-GCM, 16 KB", "MB/s", "more", _bulk("aes-128-gcm", "aead('Aes128Gcm')")),
    ("crypto: SHA-256, 16 KB", "MB/s", "more", _bulk("sha256", "sha256()")),
    ("crypto: X25519", "/s", "more", _public("ecdhx25519", -1, "x25519()")),
    ("crypto: P-256 sign", "/s", "more", _public("ecdsap256", -2, "p256('sign')")),
    ("crypto: P-256 verify", "/s", "more", _public("ecdsap256", -1, "p256('verify')")),
    ("tls: full handshakes as server", "/s", "more", full),
    ("tls: resumed handshakes as server", "/s", "more", resumed),
    ("tls: HTTPS download", "MB/s", "more", download),
)  # fmt: skip
