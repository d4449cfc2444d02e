"""`make bench ARGS=--curves`: what costs grow with. Goodput out of the guest against the number of
connections, and of one connection against loss; each guest in turn.

A poll loop writes in Barewire, nginx with sendfile in Linux; both have CUBIC and SACK.
"""

import selectors
import time

from barewire.impair import Impairment
from barewire.lab import Lab
from tests.bench.peers import Barewire, Linux, retry_connect
from tests.bench.record import curves

CONNECTIONS = (1, 4, 16, 64, 256, 1000)
LOSS = (0, 0.001, 0.003, 0.01, 0.03, 0.1)
LATENCY_MS = 5
STREAM_PORT = 5022
SECONDS = 4


def _open(client, peer):
    if peer.name == "linux":
        s = retry_connect(client, peer.address, 80)
        s.sendall(b"GET /big HTTP/1.0\r\n\r\n")
    else:
        s = retry_connect(client, peer.address, STREAM_PORT)
    s.setblocking(False)
    return s


def _goodput(client, peer, connections):
    """MB/s over `connections` streams together, from when all are open."""
    if peer.name == "barewire":
        peer.ask(client, f"traffic_bench.streams({STREAM_PORT})")
    buf = bytearray(1 << 20)
    total = 0
    with selectors.DefaultSelector() as ready:
        for _ in range(connections):
            ready.register(_open(client, peer), selectors.EVENT_READ)
        began = time.monotonic()
        while (now := time.monotonic()) < began + SECONDS:
            for key, _ in ready.select(0.1):
                n = key.fileobj.recv_into(buf)
                total += n
                if not n:
                    # nginx has sent its file: another.
                    ready.unregister(key.fileobj)
                    key.fileobj.close()
                    ready.register(_open(client, peer), selectors.EVENT_READ)
        for key in list(ready.get_map().values()):
            key.fileobj.close()
    return total / (now - began) / 1e6


def _by_connections(kind, mem, platform):
    for n in CONNECTIONS:
        with Lab(capture=False) as lab:
            client = lab.add_host("client", 2)
            with kind(lab, mem, platform) as peer:
                yield n, _goodput(client, peer, n)


def _by_loss(kind, mem, platform):
    for loss in LOSS:
        with Lab(capture=False) as lab:
            client = lab.add_host("client", 2)
            link = lab.link(Impairment(loss=loss, latency_ms=LATENCY_MS), pcap_limit=1)
            with kind(lab, mem, platform, link) as peer:
                yield 100 * loss, _goodput(client, peer, 1)


def main(out, pairs, words, mem, platform):
    for name, measure, title, x_label, log_x in (
        ("connections", _by_connections, "Goodput out of the guest", "connections", True),
        ("loss", _by_loss, f"Goodput of one connection, {LATENCY_MS} ms each way", "% lost", False),
    ):
        if words and not any(w in name for w in words):
            continue
        lines = {k.name: {} for k in (Barewire, Linux)}
        for _ in range(pairs):
            for kind in (Barewire, Linux):
                for x, figure in measure(kind, mem, platform):
                    lines[kind.name].setdefault(x, []).append(figure)
                    out.print(f"{name} {x:g}: {kind.name} {figure:.1f} MB/s")
        curves(out, name, title, x_label, "MB/s", {k: list(v.items()) for k, v in lines.items()},
               log_x)  # fmt: skip
