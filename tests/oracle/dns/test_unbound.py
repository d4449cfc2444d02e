"""The recursive resolver, under CPython, over real NSD and BIND, beside unbound: same answers,
same rcode, same AD bit, for hundreds of questions in a seeded order, cold and warm."""

import os
import random
import select
import socket
import time
from collections import Counter
from pathlib import Path

import dns.flags
import dns.message
import dns.query
import dns.rcode
import dns.rdatatype
import pytest

from barewire.lab import Lab
from stack.crypto import kernels
from stack.crypto.asm.host import Host as NativeHost
from stack.crypto.asm.host import blob
from stack.dns import anchors, packet, rdata, root
from stack.dns.name import to_text, to_wire
from stack.dns.recursor import Recursor
from stack.dns.recursor.forward import Forwarder
from stack.dns.upstream import UDP
from tests.oracle.dns.internet import BROKEN, ORACLE, ROOT, ZONES, Internet

HOSTS = (
    "", "www", "mail", "alias", "far", "twice", "x.wild", "a.b.wild", "x.walias", "deep", "c.deep",
    "a.b.c.deep", "a.b.c.tree", "x.tree", "tree", "nothing", "a.nothing", "_sip._tcp", "svc",
    "naptr", "hinfo", "tlsa", "odd", "ns0", "sub", "zzz",
)  # fmt: skip
TYPES = ("A", "AAAA", "MX", "TXT", "SOA", "NS", "DNSKEY", "DS", "CAA", "SRV", "HTTPS", "SVCB",
         "NAPTR", "CNAME", "DNAME", "HINFO", "TLSA", "TYPE65280", "NSEC3PARAM")  # fmt: skip
RCODES = ("NOERROR", "NXDOMAIN", "SERVFAIL")


@pytest.fixture(scope="module")
def internet(tmp_path_factory):
    folder = tmp_path_factory.mktemp("dns")
    kernels.start(NativeHost(), blob())  # a thousand signatures in plain Python take minutes
    with Lab(directory=folder / "lab", capture=False) as lab:
        host = lab.add_host("net", 1)
        net = Internet(folder / "zones", lab.address)
        net.start(host)
        net.lab, net.host = lab, host
        yield net


def now_us():
    return time.monotonic_ns() // 1000


class Driver:
    """Carries a Question's messages over the lab's network."""

    def __init__(self, net, forward=None):
        """forward: the address of a server that resolves for us."""
        self.net = net
        anchor = net.anchor.split("DS", 1)[1].split()
        tag, algorithm, digest = (int(x) for x in anchor[:3])
        ds = tag.to_bytes(2, "big") + bytes([algorithm, digest]) + bytes.fromhex(
            "".join(anchor[3:]))  # fmt: skip
        hints = [(b"\x03ns0\x00", [socket.inet_aton(net.lab.address(ROOT))])]
        clock = lambda: int(time.time())
        self.recursor = Recursor(os.urandom, clock, hints, [ds])
        if forward:
            way = {socket.inet_aton(forward): socket.inet_aton(forward)}
            stats = self.recursor.stats
            self.recursor = Forwarder(os.urandom, clock, way, UDP, [ds], stats, 1 << 20)
        self.sent = 0

    def ask(self, name, type):
        q = self.recursor.start(to_wire(name), rdata.type_number(type), now_us())
        s = None
        while not q.done:
            t = q.transmit()
            if t is not None:
                if s:
                    s.close()
                self.sent += 1
                transport, address, message = t
                where = (socket.inet_ntoa(address), 53)
                if transport:
                    s = self.net.host.connect(where)
                    s.sendall(message)
                else:
                    s = self.net.host.socket(kind=socket.SOCK_DGRAM)
                    s.connect(where)
                    s.send(message)
            wait = max(0, q.poll_at() - now_us()) / 1e6
            if select.select([s], [], [], min(wait, 5))[0]:
                try:
                    data = s.recv(65535)
                except OSError:
                    q.on_failed(now_us())
                    continue
                if not transport:
                    q.on_datagram(data, address, now_us())
                elif data:
                    q.on_stream(data, now_us())
                else:
                    q.on_failed(now_us())
            else:
                q.on_timer(now_us())
        if s:
            s.close()
        return q


def ours(q):
    """(rcode, answers, AD): answers as (name, type, sorted RDATA) of each set of the chain."""
    sets = set()
    if q.rcode in (0, 3):
        for e in q.entries:
            for s in e.answer:
                sets.add((to_text(s.name).lower(), s.type,
                          tuple(sorted(rdata.canonical(s.type, d) for d in s.data))))  # fmt: skip
    return q.rcode, sets, q.status == "secure"


def theirs(net, name, type, server=None):
    """The same of a server on the lab: unbound's, or another's."""
    query = dns.message.make_query(name or ".", type, use_edns=0, payload=4096,
                                   want_dnssec=True)  # fmt: skip
    with net.host.socket(kind=socket.SOCK_STREAM) as s:
        s.settimeout(20)
        s.connect((server or net.lab.address(ORACLE), 53))
        dns.query.send_tcp(s, query)
        reply, _ = dns.query.receive_tcp(s, one_rr_per_rrset=False)
    sets = set()
    for s in reply.answer:
        if s.rdtype != dns.rdatatype.RRSIG:
            data = tuple(sorted(r.to_wire(origin=None) for r in s))
            data = tuple(rdata.canonical(int(s.rdtype), d) for d in data)
            sets.add((s.name.to_text(omit_final_dot=True).lower().replace("@", ""),
                      int(s.rdtype), tuple(sorted(data))))  # fmt: skip
    return int(reply.rcode()), sets, bool(reply.flags & dns.flags.AD)


def questions(seed, count):
    r = random.Random(seed)
    names = [z.name for z in ZONES if z.site == "leaves"] * 3 + [z.name for z in BROKEN]
    names += ["", "aa", "bb", "cc", "dd", "both.aa", "bare.aa", "none", "none.bb", "none.cc"]
    out = []
    while len(out) < count:
        zone = r.choice(names)
        host = r.choice(HOSTS)
        type = "A" if r.random() < 0.5 else r.choice(TYPES)
        if type in ("CNAME", "DNAME") and ".tree" in host:
            continue  # below a DNAME unbound 1.17 has SERVFAIL for these
        out.append((f"{host}.{zone}".strip("."), type))
    return out


def _compare(net, driver, asked, seen):
    wrong = []
    for name, type in asked:
        q = driver.ask(name, type)
        a, b = ours(q), theirs(net, name, type)
        seen.append((b[0], b[2]))
        if a != b:
            wrong.append(f"{name or '.'} {type}: ours {a} {q.ede}, unbound {b}")
    return wrong


def test_the_internet_is_as_large_as_it_should_be():
    """Zones, levels, algorithms, ways of denial and of being broken: counted, and printed."""
    good = [z for z in ZONES if z.algorithm]
    levels = {len([part for part in z.name.split(".") if part]) for z in ZONES}
    algorithms = {z.algorithm for z in good}
    denials = {z.denial for z in good}
    print(f"{len(ZONES)} zones ({len(good)} signed) on {len(levels)} levels, "
          f"{sorted(algorithms)}, {sorted(denials)}, {len(BROKEN)} broken")  # fmt: skip
    assert len(good) >= 12 and levels >= {0, 1, 2, 3}
    assert algorithms == {"RSASHA256", "RSASHA512", "ECDSAP256SHA256", "ECDSAP384SHA384", "ED25519"}
    assert denials == {"nsec", "nsec3", "optout"} and len(BROKEN) >= 15


def test_same_as_unbound(internet):
    driver = Driver(internet)
    asked = questions(8914, 450)
    seen = []
    wrong = _compare(internet, driver, asked, seen)
    assert not wrong, f"{len(wrong)} of {len(asked)} differ:\n" + "\n".join(wrong[:30])
    cold = driver.sent
    # Warm, in another order.
    random.Random(8915).shuffle(asked)
    wrong = _compare(internet, driver, asked, seen)
    assert not wrong, f"{len(wrong)} of {len(asked)} differ:\n" + "\n".join(wrong[:30])
    rcodes = Counter(dns.rcode.to_text(rcode) for rcode, _ in seen)
    secure = sum(ad for _, ad in seen)
    print(f"{len(set(asked))} different questions, {len(asked)} asked cold and warm: {len(seen)} "
          f"answers the same as unbound's, {dict(rcodes)}, {secure} with AD; {cold} messages cold, "
          f"{driver.sent - cold} warm")  # fmt: skip
    assert len(seen) >= 800 and secure >= 300 and min(rcodes[r] for r in RCODES) >= 40


@pytest.mark.parametrize("zone", [z.name for z in BROKEN])
def test_broken(internet, zone):
    """Each broken zone fails at what is broken, and unbound says the same."""
    driver = Driver(internet)
    failed = 0
    for host in ("www", "nothing", "x.wild"):
        q = driver.ask(f"{host}.{zone}", "A")
        assert ours(q) == theirs(internet, f"{host}.{zone}", "A"), (host, q.ede)
        failed += q.rcode == packet.SERVFAIL and q.status == "bogus"
    assert failed


def test_by_way_of_unbound(internet):
    """Validated here, though unbound resolves: what it would say itself is not asked for."""
    oracle = internet.lab.address(ORACLE)
    driver = Driver(internet, oracle)
    asked = questions(4035, 150) + [(f"www.{z.name}", "A") for z in BROKEN]
    wrong = _compare(internet, driver, asked, [])
    assert not wrong, f"{len(wrong)} of {len(asked)} differ:\n" + "\n".join(wrong[:30])


def test_root_data():
    """stack/dns/root.py is what IANA says, as Debian has it."""
    base = Path("/usr/share/dns")
    hints = (base / "root.hints").read_text().upper()
    known = set()
    for letter, four, six in root.SERVERS:
        server = f"{letter}.root-servers.net.".upper()
        known |= {(server, four), (server, six.upper())}
    found = set()
    for line in hints.splitlines():
        words = line.split()
        if len(words) == 4 and words[2] in ("A", "AAAA") and not line.startswith(";"):
            found.add((words[0], words[3]))
    assert found == known
    lines = (base / "root.ds").read_text().splitlines()
    ds = {" ".join(line.split()[3:]).upper() for line in lines}
    assert ds == {a.upper() for a in root.ANCHORS}
    # The same from both of Debian's files of trust anchors, keys and DS.
    keys, sets = (sorted(anchors.parse((base / f"root.{e}").read_text())) for e in ("key", "ds"))
    assert keys == sets == sorted(anchors.parse("\n".join(root.ANCHORS))) and len(keys) == 2
