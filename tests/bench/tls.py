"""Rows of cryptography and TLS, beside OpenSSL 3 and nginx in the Linux guest.

`native()` is the same machine code on the host's silicon, by ctypes, beside `cryptography`.
"""

import base64
import re
import subprocess
import sys
import time

from barewire.paths import root
from tests.bench.peers import retry_connect
from tests.vectors.tls.identities import IDENTITIES

CHAIN, KEY = IDENTITIES["p256"]
DOWNLOAD = 64 << 20
SECONDS = 4
CLIENTS = 4

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


def _handshakes(client, peer, *options):
    """Handshakes per second that four of `openssl s_time` get."""
    _serve(client, peer)
    argv = ["openssl", "s_time", "-connect", f"{peer.address}:443", "-time", str(SECONDS), *options]
    retry_connect(client, peer.address, 443).close()
    began = time.monotonic()
    all_ = [client.popen(*argv, stdout=subprocess.PIPE, text=True) for _ in range(CLIENTS)]
    texts = [p.communicate(timeout=120)[0] for p in all_]
    elapsed = time.monotonic() - began
    counts = [re.search(r"(\d+) connections in \d+ real", text) for text in texts]
    if not all(counts):
        raise RuntimeError(f"s_time: {texts}")
    if "-reuse" in options and any("*" in text for text in texts):
        raise RuntimeError("a session was not resumed")
    return sum(int(c[1]) for c in counts) / elapsed


def full(client, peer):
    """Full handshakes per second (P-256 certificate, verified by nobody)."""
    return _handshakes(client, peer, "-new")


def resumed(client, peer):
    """Resumed handshakes per second, each with a request (which the ticket needs to come)."""
    return _handshakes(client, peer, "-reuse", "-www", "/1")


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
