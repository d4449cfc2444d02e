"""Rows of DNS: images/resolver's server beside unbound in the Linux guest, over a made-up internet.

The zones are those of tests/oracle/dns, on NSD and BIND beside the client.
"""

import re

from tests.bench.tls import _put
from tests.oracle.dns.internet import ROOT, Internet

SECONDS = 5
CLIENTS = 32
EACH = 60
COLD = ("ed.aa", "p256.aa", "p384.aa", "rsa256.aa", "rsa512.aa", "ed.bb", "p256.bb", "plain.aa")

_UNBOUND = """server:
 chroot: ""
 username: ""
 directory: "/tmp"
 pidfile: "/tmp/unbound.pid"
 interface: 0.0.0.0
 access-control: 0.0.0.0/0 allow
 root-hints: "/tmp/hints"
 trust-anchor: "%s"
 module-config: "validator iterator"
 do-ip6: no
 use-syslog: no
remote-control:
 control-enable: no
"""


def _serve(client, peer):
    """The made-up internet on the client, and the peer's resolver over it; the folder."""
    net = getattr(peer, "internet", None)
    if net is None:
        names = "".join(f"c{i} A 192.0.2.50\n" for i in range(EACH))
        net = Internet(client.lab.directory / "zones", client.lab.address, leaf=names)
        net.start(client)
        if peer.name == "linux":
            root = client.lab.address(ROOT)
            _put(peer, "/tmp/hints", f". 3600 NS ns0.\nns0. 3600 A {root}\n")
            _put(peer, "/tmp/unbound.conf", _UNBOUND % net.anchor)
            peer.shell("unbound -c /tmp/unbound.conf")
        else:
            hints = [client.lab.address(ROOT)]
            peer.ask(client, f"dns_bench.start({hints!r}, {net.anchor!r})")
        peer.internet = net
    return net.folder


def _perf(client, peer, names, *options):
    """Answers per second that dnsperf counts; none may be lost or fail."""
    path = _serve(client, peer) / "queries"
    path.write_text("".join(f"{name} A\n" for name in names))
    text = client.run(
        "dnsperf", "-s", peer.address, "-d", path, "-q", CLIENTS, "-t", "30", *options,
        check=False, timeout=300,
    ).stdout  # fmt: skip
    rcodes = re.search(r"Response codes: +(.*)", text)
    if not rcodes or "NOERROR" not in rcodes[1] or "SERVFAIL" in rcodes[1]:
        raise RuntimeError(f"dnsperf: {text[-500:]}")
    return float(re.search(r"Queries per second: +([\d.]+)", text)[1])


def count_cached(client, peer, n):
    """Have a cached name answered n times; n."""
    _perf(client, peer, ["www.ed.aa"], "-n", n)
    return n


def count_cold(client, peer):
    """Look up names of eight zones that were never asked for: a quarter of those there are; how
    many."""
    first = peer.cold = getattr(peer, "cold", -EACH // 4) + EACH // 4
    names = [f"c{i}.{z}" for i in range(first, first + EACH // 4) for z in COLD]
    _perf(client, peer, names, "-n", "1")
    return len(names)


def cached(client, peer):
    """Answers per second for one cached name."""
    _perf(client, peer, ["www.ed.aa"], "-n", "1")
    return _perf(client, peer, ["www.ed.aa"], "-l", SECONDS)


def cold(client, peer):
    """Validated look-ups per second of names that were never asked for, of eight zones: each
    takes a message to a server and, but in one zone, a signature to be checked."""
    return _perf(client, peer, [f"c{i}.{z}" for i in range(EACH) for z in COLD], "-n", "1")


ROWS = (
    ("dns: cached answers", "/s", "more", cached),
    ("dns: cold validated look-ups", "/s", "more", cold),
)
