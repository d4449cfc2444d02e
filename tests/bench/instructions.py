"""`make bench ARGS=--instructions`: what a round trip, a connection, a segment cost, in guest
instructions.

QEMU's `-icount shift=0` lets a nanosecond pass with each instruction, so the guest's own clock
counts them: the same on a busy machine as on a quiet one. What the guest spends waiting is
taken off. `the stack` is interrupts' handling and what a program's calls make it send
(Runtime.on_event and kick); `the program` is all else: asyncio, select, sockets, the program;
`poll` is of that what asyncio's loop takes to learn which tasks are ready (wait_io_event and
select). The rows httpd are net.httpd with one answer of 100 bytes, asked by h2load.
"""

import ast

from rich.table import Table

from barewire.lab import Lab
from tests.bench import dns, http, rows
from tests.bench.peers import Barewire, Linux

_SEGMENT = 65536
_BULK = 64 << 20


def _bulk(measure):
    def run(client, peer):
        rows.BULK, before = _BULK, rows.BULK
        try:
            measure(client, peer)
        finally:
            rows.BULK = before
        return _BULK // _SEGMENT

    return run


def _times(measure, count):
    def run(client, peer):
        measure(client, peer, count)
        return count

    return run


def _pings(client, peer):
    rows.ping(client, peer)
    return 200


def _cached(client, peer):
    return dns.count_cached(client, peer, 4000)


def _httpd(connections, streams, tls, h1):
    def run(client, peer):
        http._serve(client, peer)
        scheme, port = ("https", 8443) if tls else ("http", 8088)
        url = f"{scheme}://{peer.address}:{port}/"
        http._load(client, peer, url, connections, streams, h1)
        return http.REQUESTS

    return run


# name, function of (client, peer) -> how many units it made the guest do
KINDS = (
    ("round trip of 64 bytes", _times(rows.round_trips, 1000)),
    ("HTTP request, kept alive", _times(rows.requests_kept, 500)),
    ("connection with one request", _times(rows.connections, 200)),
    ("64 KB out", _bulk(rows.tcp_out)),
    ("64 KB in", _bulk(rows.tcp_in)),
    ("echo request", _pings),
    ("dns: cached answer", _cached),
    ("dns: cold look-up", dns.count_cold),
    ("httpd, 1 connection", _httpd(1, 1, False, True)),
    ("httpd, 32 connections", _httpd(32, 1, False, True)),
    ("httpd, TLS", _httpd(1, 1, True, True)),
    ("httpd, h2 of 32 streams", _httpd(1, 32, False, False)),
)


def beside(run, platform=None, times=1):
    """Thousands of instructions that unbound in the Linux guest takes for one, the kernel's too:
    the time in which its virtual CPU was not idle."""
    with Lab(capture=False) as lab:
        client = lab.add_host("client", 2)
        with Linux(lab, 512, platform, use_accel="icount") as peer:
            run(client, peer)
            before = _busy(peer)
            n = sum(run(client, peer) for _ in range(times))
            return (_busy(peer) - before) * 1e6 / n


def _busy(peer):
    up, idle = (float(word) for word in peer.shell("cat /proc/uptime").split()[:2])
    return up - idle


def measure(words=(), platform=None):
    """{kind: {part: thousands of instructions for one unit}}."""
    found = {}
    for name, run in KINDS:
        if words and not any(w in name for w in words):
            continue
        with Lab(capture=False) as lab:
            client = lab.add_host("client", 2)
            with Barewire(lab, 512, platform, accel="icount") as peer:
                peer.ask(client, "count_bench.install()")
                run(client, peer)  # caches, windows and estimates settle
                peer.ask(client, "count_bench.zero()")
                n = run(client, peer)
                total, look, parts = ast.literal_eval(peer.ask(client, "count_bench.take()"))
        cost = {k: (v[0] - look * v[1] / 1000) / n for k, v in parts.items()}
        idle = cost.pop("idle")
        looks = look * sum(v[1] for v in parts.values()) / 1000 / n
        all_of_it = total / n - idle - looks
        stack = cost.pop("on_event") + cost.pop("kick")
        found[name] = {
            "all": all_of_it, "the program": all_of_it - stack, "the stack": stack, **cost,
            "events": parts["on_event"][1] / n,
        }  # fmt: skip
    return found


def main(out, words, platform):
    found = measure(words, platform)
    table = Table("1,000 guest instructions for one", *found)
    for part in next(iter(found.values())):
        table.add_row(part, *(f"{cost[part]:.1f}" for cost in found.values()))
    out.print(table)
    for name, run in KINDS:
        if name in found and name.startswith("dns"):
            times = 1 if run is dns.count_cold else 5
            there = beside(run, platform, times)
            ours = found[name]["all"]
            out.print(f"{name}: Linux and unbound {there:.1f}, ratio {there / ours:.2f}")
    return found
