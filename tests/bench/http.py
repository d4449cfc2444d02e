"""Rows of net.httpd, beside nginx and beside CPython's asyncio in the Linux guest, by h2load.

Each measurement gives requests a second and the median and 99th percentile of a request's
time; a row takes one of the three.
"""

import tempfile
from pathlib import Path

from tests.bench.peers import HTTP_PORT, retry_connect
from tests.bench.tls import CHAIN, KEY, _put

REQUESTS = 1000

_NGINX = """
user root;
events { worker_connections 512; }
http { access_log off; keepalive_requests 10000000;
  server { listen 8088; listen 8089 http2; listen 8443 ssl http2;
    ssl_certificate /tmp/h.pem; ssl_certificate_key /tmp/h.key; ssl_protocols TLSv1.3;
    location / { default_type text/plain; return 200 "%s"; } } }
pid /tmp/nginx-http.pid;
"""


def _serve(client, peer):
    """Start the peer's HTTP servers, once."""
    if getattr(peer, "serves_http", False):
        return
    if peer.name == "linux":
        _put(peer, "/tmp/h.pem", CHAIN)
        _put(peer, "/tmp/h.key", KEY)
        _put(peer, "/tmp/nginx-http.conf", _NGINX % ("x" * 100))
        peer.shell("nginx -c /tmp/nginx-http.conf")
    else:
        peer.ask(client, f"http_bench.start({CHAIN.encode()!r}, {KEY.encode()!r})")
    retry_connect(client, peer.address, 8443).close()
    peer.serves_http = {}


def _load(client, peer, url, connections, streams, h1):
    """(requests a second, median ms, 99th percentile ms)"""
    with tempfile.TemporaryDirectory() as folder:
        log = Path(folder) / "log"
        options = ["-n", REQUESTS, "-c", connections, "-m", streams, f"--log-file={log}"]
        out = client.run("h2load", *options, *(["--h1"] if h1 else []), url, timeout=300).stdout
        if f" {REQUESTS} succeeded" not in out:
            raise RuntimeError(out)
        lines = [line.split() for line in log.read_text().splitlines()]
    times = sorted(int(t) / 1000 for _, _, t in lines)
    rate = float(out.split(" req/s")[0].split()[-1])
    return rate, times[len(times) // 2], times[len(times) * 99 // 100]


def _measure(client, peer, name, port, connections, streams, tls, h1):
    _serve(client, peer)
    if name not in peer.serves_http:
        if port is None:
            port = 8443 if tls else 8088 if h1 or peer.name != "linux" else 8089
        elif peer.name != "linux":
            port = 8088  # the same server of ours beside another of theirs
        retry_connect(client, peer.address, port).close()
        url = f"http{'s' if tls else ''}://{peer.address}:{port}/"
        peer.serves_http[name] = _load(client, peer, url, connections, streams, h1)
    return peer.serves_http[name]


def _rows():
    for name, port, connections, streams, tls, h1 in (
        ("http/1.1, 1 connection", None, 1, 1, False, True),
        ("http/1.1, 32 connections", None, 32, 1, False, True),
        ("http/1.1 beside asyncio, 1 connection", HTTP_PORT, 1, 1, False, True),
        ("http/1.1 beside asyncio, 32 connections", HTTP_PORT, 32, 1, False, True),
        ("http/1.1 over TLS, 1 connection", None, 1, 1, True, True),
        ("http/1.1 over TLS, 32 connections", None, 32, 1, True, True),
        ("http/2, 32 streams", None, 1, 32, False, False),
        ("http/2 over TLS, 32 streams", None, 1, 32, True, False),
    ):
        for i, (unit, better, what) in enumerate(
            (("/s", "more", ""), ("ms", "less", ", p50"), ("ms", "less", ", p99"))
        ):

            def row(client, peer, i=i, o=(name, port, connections, streams, tls, h1)):
                return _measure(client, peer, *o)[i]

            row.__doc__ = f"{name}{what}: what h2load says."
            yield name + what, unit, better, row


ROWS = tuple(_rows())
