"""images/resolver under attack: hostile servers and forgers beside real NSD and BIND.

While each attack runs, names of honest zones are asked for, cold and cached, and have to come
out right. What an attack may cost is counted at the servers it reaches and in the guest. At the
end names are walked, 20,000 by the slow test, and the heap in use stays where it was.
"""

import json
import random
import re
import socket
import time

import dns.flags
import dns.message
import dns.rdatatype
import pytest

from barewire import build, romfs
from stack.dns.dnssec import MAX_HASHES, MAX_VERIFIES
from tests.boot import dns_attackers as attackers
from tests.boot.dns_attackers import EVIL, GOOD
from tests.oracle.dns.internet import ROOT, Internet

pytestmark = [pytest.mark.boot, pytest.mark.bridge]

HONEST = ("ed.aa", "p256.aa", "rsa256.aa", "p256.bb", "ed.bb")
ZONES = (".", "aa", "bb", "cc", *HONEST, "plain.aa", "iterated.bb")
CACHE = 300_000
# images/resolver's own start, and beside it a port that tells what the machine has counted.
APP = """
import asyncio, gc, json, net
said = json.load(open("/app/resolver.json"))
server = net.dns.Server(net.dns.Resolver(**said))
server.udp()
async def tell(reader, writer):
    gc.collect()
    m = server.machine.recursor
    s = net.stats()
    out = {"counts": s["counts"], "drops": s["drops"], "used": gc.mem_alloc(),
           "cache": [m.cache.bytes, m.cache.limit, len(m.cache)],
           "zones": [m.zones.bytes, m.zones.limit, len(m.zones)],
           "proofs": [m.proofs.bytes, m.proofs.limit, len(m.proofs)],
           "servers": len(m.servers), "buffers": s["buffers"]["in_use"],
           "waiting": len(server.machine._pending)}
    writer.write(json.dumps(out).encode())
    await writer.drain()
    writer.close()
    await writer.wait_closed()
async def main():
    await server.listen()
    await asyncio.start_server(tell, "::", 9000)
    print("resolver: ready")
    await server.serve()
asyncio.run(main())
"""


@pytest.fixture(scope="module")
def image():
    return build.build("resolver")


class World:
    """The made-up internet with its villains, and the guest that resolves over it."""

    def __init__(self, rig, artifacts, image, mem=64, **said):
        # Without offloads: an ICMP error quotes checksums that are whole.
        self.lab = lab = rig.lab(servers=False, offload=False, capture_limit=2_000)
        self.host = host = lab.gateway
        names = "flood bail nxns victim trap loop ptr slow mute late".split()
        ips = {n: lab.address(70 + i) for i, n in enumerate(names)}
        self.evil_ip, beside = lab.address(90), lab.address(91)
        keys = attackers.Keys()
        root = [f"{n}. NS ns.{n}.\nns.{n}. A {ip}" for n, ip in ips.items()]
        net = Internet(artifacts / "zones", lab.address, ZONES,
                       "\n".join([*root, f"trap. DS {keys.ds}"]))  # fmt: skip
        net.start(host)
        for ip in (*ips.values(), self.evil_ip, beside):
            host.ip_batch(f"addr add {ip}/{lab.subnet.prefixlen} dev eth0")
        a = attackers
        self.flood = a.Flood(host, ips["flood"], beside)
        self.bail = a.Bailiwick(host, ips["bail"])
        self.bail.evil = self.evil_ip
        self.evil = a.Victim(host, self.evil_ip)
        self.nxns = a.Nxns(host, ips["nxns"])
        self.victim = a.Victim(host, ips["victim"])
        self.trap = a.Trap(host, ips["trap"], keys)
        self.loop = a.Loops(host, ips["loop"])
        self.ptr = a.Pointers(host, ips["ptr"])
        self.slow = a.Slow(host, ips["slow"])
        self.mute = a.Mute(host, ips["mute"])
        self.late = a.Late(host, ips["late"])
        said = {"root_hints": [lab.address(ROOT)], "trust_anchor": "/app/root.ds", **said}
        app = artifacts / "app.romfs"
        app.write_bytes(romfs.build({"resolver.json": json.dumps(said).encode(),
                                     "root.ds": net.anchor.encode(),
                                     "main.py": APP.encode()}))  # fmt: skip
        self.ip = lab.address(20)
        guest = rig.guest(net=lab.tap(), image=image, initrd=app, mem=mem, prompt=False,
                          append={"ip": f"{self.ip}/{lab.subnet.prefixlen}"})  # fmt: skip
        guest.child.expect_exact("resolver: ready", timeout=120)
        self.fresh = 0

    def close(self):
        for s in (self.flood, self.bail, self.evil, self.nxns, self.victim, self.trap, self.loop,
                  self.ptr, self.slow, self.mute, self.late):  # fmt: skip
            s.close()

    def told(self):
        """What the guest has counted."""
        with self.host.connect((self.ip, 9000), 60) as s:
            s.settimeout(60)
            data = b"".join(iter(lambda: s.recv(65536), b""))
        return json.loads(data)

    # Asking.

    def ask(self, names, rdtype="A"):
        """An Asked of many names at once."""
        return Asked(self, names, rdtype)

    def right(self, names, good, meanwhile=lambda: None):
        """Ask until each has an answer: good(name, message) of all there are. A machine that is
        busy with other things may give up a question for lack of time (SERVFAIL), never lie."""
        until = time.monotonic() + 240
        while names:
            assert time.monotonic() < until, f"no answer: {names}"
            asked = self.ask(names)
            meanwhile()
            found = asked.wait()
            for name, m in found.items():
                assert m.rcode() == 2 and not m.answer or good(name, m), (name, m.to_text())
            names = [name for name, m in found.items() if m.rcode() == 2]

    def honest(self, n=6):
        """Names that nobody has asked for yet, and one that is cached: all right, all secure."""
        names = ["www.ed.aa."]
        for _ in range(n):
            self.fresh += 1
            names.append(f"h{self.fresh}.wild.{random.choice(HONEST)}.")

        def good(name, m):
            want = {"192.0.2.10", "192.0.2.11"} if name == "www.ed.aa." else {"192.0.2.30"}
            return m.rcode() == 0 and set(_records(m)) == want and m.flags & dns.flags.AD

        self.right(names, good)


class Asked:
    """Questions to the guest, all at once; asked again where nothing has come for a while."""

    def __init__(self, world, names, rdtype):
        self.socket = world.host.socket(kind=socket.SOCK_DGRAM)
        self.socket.connect((world.ip, 53))
        self.socket.settimeout(5)
        self.waiting, self.found = {}, {}
        for i, name in enumerate(names):
            m = dns.message.make_query(name, rdtype, use_edns=0)
            m.flags |= dns.flags.AD
            m.id = i
            self.waiting[i] = m
            self.socket.send(m.to_wire())

    def wait(self, timeout=180):
        """{name: message}, once all are there."""
        until = time.monotonic() + timeout
        with self.socket as s:
            while self.waiting:
                assert time.monotonic() < until, f"no answer: {list(self.waiting.values())[:3]}"
                try:
                    m = dns.message.from_wire(s.recv(65535))
                except TimeoutError:
                    for q in self.waiting.values():
                        s.send(q.to_wire())
                    continue
                q = self.waiting.pop(m.id, None)
                if q is not None:
                    assert m.question == q.question
                    self.found[q.question[0].name.to_text()] = m
        return self.found


def _records(m):
    return [r.to_text() for s in m.answer if s.rdtype == dns.rdatatype.A for r in s]


def _all_fail(found):
    for name, m in found.items():
        assert m.rcode() == 2 and not m.answer, (name, m.to_text())


def _forged(w):
    """Tens of thousands of forged answers at open ports: none is taken."""
    before = w.told()
    names = [f"q{i}.flood." for i in range(40)]

    def good(_name, m):
        return _records(m) == [GOOD]

    for i in range(0, len(names), 8):
        w.right(names[i : i + 8], good, lambda: w.honest(2))
    w.right(names, good)  # what was forged is in no cache either
    assert w.flood.forged >= 20_000, w.flood.forged
    after = w.told()
    drops = {k: n - before["drops"].get(k, 0) for k, n in after["drops"].items()}
    dropped = {k: drops.get(k, 0) for k in ("dns.not_ours", "dns.question", "dns.cookie")}
    spoofed = after["counts"]["dns.spoofed"] - before["counts"].get("dns.spoofed", 0)
    # At each message at most 20 guesses are looked at; then it is asked by TCP.
    assert all(dropped.values()) and sum(dropped.values()) >= 20 * spoofed > 0, (dropped, spoofed)
    asked = w.flood.count("udp")
    assert sum(dropped.values()) <= 20 * asked, (dropped, asked)
    print(f"{w.flood.forged} forged, {sum(dropped.values())} looked at and dropped {dropped}, "
          f"{spoofed} of {asked} messages were asked again by TCP")  # fmt: skip


def _bailiwick(w):
    names = [f"x{i}.bail." for i in range(10)] + [f"alias{i}.bail." for i in range(10)]

    def good(name, m):
        return _records(m) == ([GOOD] if name[0] == "x" else ["192.0.2.30"]) and (
            EVIL not in m.to_text())  # fmt: skip

    w.right(names, good, w.honest)
    w.right(["www.ed.aa.", "fresh.wild.ed.aa."],
            lambda _, m: EVIL not in _records(m) and m.flags & dns.flags.AD)  # fmt: skip
    assert not w.evil.asked, w.evil.asked[:5]


def _nxns(w):
    n = 10
    asked = w.ask([f"x{i}.nxns." for i in range(n)])
    w.honest()
    _all_fail(asked.wait())
    # 120 servers are named for each: three are looked up, two messages each at most.
    print(f"nxns: {w.victim.count() / n} messages at the victim, {w.nxns.count() / n} at its own "
          "server a question")  # fmt: skip
    assert 0 < w.victim.count() <= 6 * n and w.nxns.count() <= 8 * n


def _keytrap(w):
    n = 12
    before = w.told()["counts"]
    asked = w.ask([f"x{i}.trap." for i in range(n)])
    found = asked.wait()
    _all_fail(found)
    after = w.told()["counts"]
    verifies = after["dns.verifies"] - before.get("dns.verifies", 0)
    questions = after["dns.questions"] - before.get("dns.questions", 0)
    asked = w.ask([f"y{i}.trap." for i in range(n)])
    w.honest()
    _all_fail(asked.wait())
    print(f"keytrap: {verifies} signatures checked for {questions} questions, {w.trap.count()} "
          "messages")  # fmt: skip
    assert n <= questions and 0 < verifies <= MAX_VERIFIES * questions
    # 150 keys and 100 signatures at each name would be 15,000.
    assert verifies <= 24 * n, verifies
    assert w.trap.count() <= 10 * 2 * n


def _hashes(w):
    """CVE-2023-50868: names of a hundred labels in a zone of NSEC3 with 100 iterations."""
    before = w.told()["counts"]
    deep = ".".join("abcdefghij" * 9)
    n = 8
    asked = w.ask([f"x{i}.{deep}.iterated.bb." for i in range(n)])
    w.honest()
    for name, m in asked.wait().items():
        assert m.rcode() in (2, 3) and not m.answer, (name, m.to_text())
    after = w.told()["counts"]
    hashes = after["dns.hashes"] - before.get("dns.hashes", 0)
    questions = after["dns.questions"] - before["dns.questions"]
    print(f"nsec3: {hashes} hashes for {questions} questions")
    assert 0 < hashes <= MAX_HASHES * questions


def _loops(w):
    names = ["self.loop.", "one.loop.", "two.loop.", *[f"n{i * 1000}.loop." for i in range(5)]]
    asked = w.ask(names)
    w.honest()
    _all_fail(asked.wait())
    assert w.loop.count() <= 12 * len(names), w.loop.count()


def _pointers(w):
    before = w.told()["drops"].get("dns.malformed", 0)
    names = [f"{label}.ptr." for label in ("self", "forward", "out", "round", "data")]
    asked = w.ask(names)
    w.honest()
    _all_fail(asked.wait())
    assert w.told()["drops"]["dns.malformed"] - before >= len(names)
    assert w.ptr.count() <= 8 * len(names), w.ptr.count()


def _slow(w):
    hows = ("never", "drip", "half", "id", "close")
    names = [f"{how}{i}.slow." for how in hows for i in range(6)]
    names += [f"x{i}.mute." for i in range(20)]
    asked = w.ask(names)
    for _ in range(3):
        w.honest()
    _all_fail(asked.wait())
    assert w.slow.count() <= 20 * len(names) and w.mute.count() <= 8 * 20
    print(f"slow: {w.slow.connections} connections, {w.slow.count()} messages; "
          f"mute: {w.mute.count()} messages")  # fmt: skip


def _scattered(w):
    """RFC 5452, section 9.2: what a forger would have to guess is drawn for each message."""
    for what in (w.mute.ports, w.mute.ids):
        n = len(what)
        assert n >= 60 and len(set(what)) >= 0.9 * n and max(what) - min(what) > 10_000, what
        # Neither up nor down in steps: as many differences are rises as falls, about.
        rises = sum(b > a for a, b in zip(what, what[1:], strict=False))
        assert 0.25 * n < rises < 0.75 * n, what


def _pipelined(w):
    """RFC 7766: questions share a connection, answers come in the other order."""
    n = 30
    w.right([f"x{i}.late." for i in range(n)], lambda _, m: _records(m) == [GOOD])
    print(f"late: {w.late.count('tcp')} questions on {w.late.connections} connections, "
          f"{w.late.most} at once")  # fmt: skip
    assert w.late.most >= 3 and w.late.connections <= n // 3, w.late.connections


def _walk(w, artifacts, n):
    """So many names of an unsigned zone: memory stays where it was after the first quarter."""
    told = []
    for part in range(4):
        names = range(part * n // 4, (part + 1) * n // 4)
        path = artifacts / "names"
        path.write_text("".join(f"n{i}.wild.plain.aa A\n" for i in names))
        text = w.host.run("dnsperf", "-s", w.ip, "-d", path, "-n", "1", "-q", "60", "-t", "20",
                          timeout=900).stdout  # fmt: skip
        found = re.search(r"NOERROR (\d+)", text)
        assert found and int(found[1]) >= len(names) * 0.9, text
        told.append(w.told())
    for t in told:
        assert t["cache"][0] <= t["cache"][1] == CACHE and t["zones"][0] <= t["zones"][1]
        assert t["proofs"][0] <= t["proofs"][1] and t["servers"] <= 1024
    # It was full already, and each quarter was other names.
    assert told[0]["cache"][0] > CACHE - 5_000
    asked = told[-1]["counts"]["dns.questions"] - told[0]["counts"]["dns.questions"]
    assert asked >= n * 3 // 4 * 0.9
    used = [t["used"] for t in told]
    print(f"walk: {n} names, heap in use after each quarter {used}, {told[-1]['cache']}")
    # The quarters go up and down, by up to 155 KB seen; 85 bytes kept of each name would be more.
    assert max(used[1:]) <= used[0] + 250_000, used


@pytest.mark.timeout(600)
def test_attacks(rig, artifacts, image):
    w = World(rig, artifacts, image, cache=CACHE)
    try:
        w.honest(30)
        start = w.told()
        for attack in (_forged, _bailiwick, _nxns, _keytrap, _hashes, _loops, _pointers, _slow,
                       _scattered, _pipelined):  # fmt: skip
            attack(w)
            w.honest(3)
        end = w.told()
        # Nothing is held for long: what is used beyond the start is what the caches have.
        caches = sum(end[k][0] - start[k][0] for k in ("cache", "zones", "proofs"))
        grown = end["used"] - start["used"]
        print(f"memory: {grown} bytes more, {caches} of them in the caches; {end}")
        assert end["waiting"] == 0
        assert grown <= 2 * max(caches, 0) + 500_000
        _walk(w, artifacts, 4_000)
    finally:
        w.close()


@pytest.mark.slow
@pytest.mark.timeout(1800)
def test_walk(rig, artifacts, image):
    w = World(rig, artifacts, image, cache=CACHE)
    try:
        _walk(w, artifacts, 20_000)
    finally:
        w.close()
