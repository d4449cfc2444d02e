"""A made-up internet of real servers: a root, TLDs, signed zones, and zones broken in 15 ways.

Zones are signed by BIND's dnssec-keygen and dnssec-signzone, served by NSD and BIND on
addresses of a lab's host, and unbound resolves over them as the oracle.

    root   .                                     NSD   .50
    TLDs   aa. bb. cc. dd. both.aa.              BIND  .51
    others                                       NSD   .52 and .53
    oracle unbound                                     .60
"""

import re
import subprocess
from dataclasses import dataclass, field, replace
from pathlib import Path

import dns.dnssec
import dns.name
import dns.rdata
import dns.rdatatype
import dns.rdtypes.ANY.DS
import dns.zone

from barewire.services import Service, _dns_answers, _program

ROOT, TLDS, LEAVES, ORACLE = 50, 51, (52, 53), 60


@dataclass
class Zone:
    """algorithm: dnssec-keygen's name, None for unsigned. denial: "nsec", "nsec3", "optout".

    spoil: a function of the signed dns.zone.Zone. ds: what the parent has of it: "right",
    "none", "wrong", "unknown" (an algorithm that nobody has)."""

    name: str
    algorithm: str | None = "ED25519"
    denial: str = "nsec"
    site: str = "leaves"
    iterations: int = 0
    times: tuple = ()
    spoil: object = None
    ds: str = "right"
    extra: str = ""
    keys: list = field(default_factory=list)
    anchors: list = field(default_factory=list)


def _drop_sigs(*types):
    def spoil(zone):
        for node in list(zone.nodes.values()):
            for t in types:
                node.delete_rdataset(zone.rdclass, dns.rdatatype.RRSIG, t)

    return spoil


def _drop(rdtype):
    def spoil(zone):
        for node in list(zone.nodes.values()):
            node.delete_rdataset(zone.rdclass, rdtype)
            node.delete_rdataset(zone.rdclass, dns.rdatatype.RRSIG, rdtype)

    return spoil


def _alter_data(zone):
    for name in ("www", "*.wild"):
        rdataset = zone.find_rdataset(name, "A")
        rdataset.clear()
        rdataset.add(dns.rdata.from_text("IN", "A", "203.0.113.66"))


def _alter_sig(zone):
    """One bit of each signature over A."""
    for node in zone.nodes.values():
        sigs = node.get_rdataset(zone.rdclass, dns.rdatatype.RRSIG, dns.rdatatype.A)
        if sigs:
            old = list(sigs)
            sigs.clear()
            for s in old:
                bad = bytes([s.signature[0] ^ 1]) + s.signature[1:]
                sigs.add(s.replace(signature=bad))


def _shift_nsec3(zone):
    """NSEC3 records whose next hash is their own successor's: their signatures are wrong."""
    for node in zone.nodes.values():
        rdataset = node.get_rdataset(zone.rdclass, dns.rdatatype.NSEC3)
        if rdataset:
            old = list(rdataset)
            rdataset.clear()
            for r in old:
                rdataset.add(r.replace(next=bytes(20)))


def _alter_keys(zone):
    rdataset = zone.find_rdataset("@", "DNSKEY")
    old = list(rdataset)
    rdataset.clear()
    for k in old:
        rdataset.add(k.replace(key=k.key[:-1] + bytes([k.key[-1] ^ 1])))


def _foreign_signer(zone):
    for node in zone.nodes.values():
        sigs = node.get_rdataset(zone.rdclass, dns.rdatatype.RRSIG, dns.rdatatype.A)
        if sigs:
            old = list(sigs)
            sigs.clear()
            for s in old:
                sigs.add(s.replace(signer=dns.name.from_text("p256.aa.")))


R = dns.rdatatype
ZONES = [
    Zone(".", "RSASHA256", site="root"),
    Zone("aa", "ECDSAP256SHA256", site="tlds"),
    Zone("bb", "RSASHA256", "nsec3", site="tlds"),
    Zone("cc", "ED25519", "optout", site="tlds"),
    Zone("dd", None, site="tlds"),
    Zone("both.aa", "ED25519", site="tlds"),
    Zone("bare.aa", None, site="tlds"),
    Zone("rsa256.aa", "RSASHA256"),
    Zone("rsa512.aa", "RSASHA512", "nsec3"),
    Zone("p256.aa", "ECDSAP256SHA256", "nsec3"),
    Zone("p384.aa", "ECDSAP384SHA384"),
    Zone("ed.aa", "ED25519"),
    Zone("sub.ed.aa", "ECDSAP256SHA256"),
    Zone("ed.bb", "ED25519", "nsec3"),
    Zone("p256.bb", "ECDSAP256SHA256"),
    Zone("signed.cc", "ECDSAP256SHA256", "nsec3"),
    Zone("plain.aa", None),
    Zone("plain.bb", None),
    Zone("plain.cc", None),
    Zone("plain.dd", None),
    Zone("island.dd", "ED25519", ds="none"),
    Zone("iterated.bb", "ED25519", "nsec3", iterations=100),
    Zone("unknown.aa", "ED25519", ds="unknown"),
]
BROKEN = [
    Zone("expired.aa", times=("-s", "now-30d", "-e", "now-1d")),
    Zone("future.aa", times=("-s", "now+30d", "-e", "now+60d")),
    Zone("wrongds.aa", ds="wrong"),
    Zone("norrsig.aa", spoil=_drop_sigs(R.A)),
    Zone("nosigs.bb", spoil=_drop_sigs(*[t for t in R.RdataType])),
    Zone("nokeys.aa", spoil=_drop(R.DNSKEY)),
    Zone("keysig.aa", spoil=_drop_sigs(R.DNSKEY)),
    Zone("altered.aa", spoil=_alter_data),
    Zone("badsig.bb", "ECDSAP256SHA256", spoil=_alter_sig),
    Zone("badrsa.aa", "RSASHA256", spoil=_alter_sig),
    Zone("nonsec.aa", spoil=_drop(R.NSEC)),
    Zone("nonsec3.bb", denial="nsec3", spoil=_drop(R.NSEC3)),
    Zone("nsecsig.aa", spoil=_drop_sigs(R.NSEC)),
    Zone("badnsec3.bb", denial="nsec3", spoil=_shift_nsec3),
    Zone("badkey.aa", spoil=_alter_keys),
    Zone("signer.aa", spoil=_foreign_signer),
    Zone("soasig.aa", spoil=_drop_sigs(R.SOA)),
]

_BODY = """
@ A 192.0.2.1
@ AAAA 2001:db8::1
@ MX 10 mail
@ MX 20 mail.other.{name}
@ TXT "of {name}" "two strings"
@ CAA 0 issue "ca.example"
www A 192.0.2.10
www A 192.0.2.11
www AAAA 2001:db8::10
mail A 192.0.2.20
mail AAAA 2001:db8::20
alias CNAME www
far CNAME www.ed.aa.
twice CNAME alias
*.wild A 192.0.2.30
*.wild TXT "wild"
*.walias CNAME www
a.b.c.deep A 192.0.2.40
_sip._tcp SRV 1 2 5060 www
svc HTTPS 1 . alpn="h2,h3" port=8443 ipv4hint=192.0.2.1
svc SVCB 2 www mandatory=port port=53
naptr NAPTR 10 20 "u" "E2U+sip" "!^.*$!sip:a@b!" .
tree DNAME deep
hinfo HINFO "x86-64" "none"
tlsa TLSA 3 1 1 {zeros}
odd TYPE65280 \\# 3 010203
"""


def _run(folder, *argv):
    done = subprocess.run([str(a) for a in argv], cwd=folder, capture_output=True, text=True)
    if done.returncode:
        raise RuntimeError(f"{argv[0]}: {done.stdout}{done.stderr}")
    return done.stdout


class Internet:
    """Makes the zones in `folder`. `anchor`: the root's DS, text. `zones` by name.

    only: names of those that are made (all). root, leaf: further lines of the root zone, of
    each zone with hosts."""

    def __init__(self, folder, address, only=None, root="", leaf=""):
        self.folder = Path(folder)
        self.folder.mkdir(parents=True, exist_ok=True)
        self.address = address
        self._leaf = leaf
        made = [z for z in ZONES + BROKEN if only is None or z.name in only]
        self.zones = {z.name: z if z.name != "." else replace(z, extra=root) for z in made}
        self._delegations = {}
        # Children before their parents, whose DS they are.
        for z in sorted(self.zones.values(), key=lambda z: -_depth(z.name)):
            self._make(z)
        self.anchor = self.zones["."].anchors[0]

    def _site(self, zone):
        sites = {"root": [ROOT], "tlds": [TLDS], "leaves": list(LEAVES)}
        return [self.address(n) for n in sites[zone.site]]

    def _make(self, z):
        z.keys, z.anchors = [], []
        origin = z.name if z.name == "." else z.name + "."
        lines = [f"$ORIGIN {origin}", "$TTL 300", "@ SOA ns0 hostmaster 1 900 300 86400 60"]
        for i, ip in enumerate(self._site(z)):
            lines += [f"@ NS ns{i}", f"ns{i} A {ip}"]
        if z.site == "leaves":
            lines += [_BODY.format(name=origin, zeros="00" * 32), self._leaf]
        elif z.site == "tlds" and "." in z.name:
            lines.append("www A 192.0.2.70\nalias CNAME www")
        lines += [z.extra, *self._delegations.get(z.name, [])]
        path = self.folder / _file(z.name)
        path.write_text("\n".join(lines) + "\n")
        if z.algorithm:
            self._sign(z, origin, path)
        if z.name != ".":
            self._delegate(z, origin)

    def _sign(self, z, origin, path):
        bits = ["-b", "2048"] if z.algorithm.startswith("RSA") else []
        for kind in ([], ["-f", "KSK"]):
            key = _run(self.folder, "dnssec-keygen", "-q", "-a", z.algorithm, *bits, *kind, origin)
            z.keys.append(key.strip())
        argv = ["dnssec-signzone", "-P", "-S", "-O", "full", "-o", origin, "-K", self.folder]
        argv += z.times or ("-s", "now-1h", "-e", "now+10d")
        if z.denial != "nsec":
            argv += ["-3", "ab", "-H", str(z.iterations)] + ["-A"] * (z.denial == "optout")
        _run(self.folder, *argv, "-f", f"{path.name}.signed", path.name)
        ds = _run(self.folder, "dnssec-dsfromkey", "-2", z.keys[1] + ".key").strip()
        z.anchors = [ds]
        signed = self.folder / f"{path.name}.signed"
        if z.spoil:
            zone = dns.zone.from_file(str(signed), origin=origin, relativize=True,
                                      check_origin=False)  # fmt: skip
            z.spoil(zone)
            signed.write_text(zone.to_text(relativize=False, want_origin=True))
        signed.rename(path)

    def _delegate(self, z, origin):
        parent = z.name.partition(".")[2] or "."
        out = self._delegations.setdefault(parent, [])
        for i, ip in enumerate(self._site(z)):
            out += [f"{origin} NS ns{i}.{origin}", f"ns{i}.{origin} A {ip}"]
        for ds in z.anchors:
            if z.ds == "wrong":
                ds = re.sub(r"(\S+)$", lambda m: m[1][:-1] + ("0" if m[1][-1] != "0" else "1"), ds)
            elif z.ds == "unknown":
                ds = re.sub(r"DS (\d+) 15", r"DS \1 200", ds)
            if z.ds != "none":
                out.append(ds)

    # Servers.

    def start(self, host):
        """NSD, BIND and NSD again on the lab's host, unbound beside them."""
        lab = host.lab
        for n in (ROOT, TLDS, *LEAVES, ORACLE):
            host.ip_batch(f"addr add {lab.address(n)}/{lab.subnet.prefixlen} dev eth0")
        self._nsd(host, "nsd-root", [ROOT], "root")
        self._bind(host)
        self._nsd(host, "nsd-leaves", LEAVES, "leaves")
        self.unbound = self._unbound(host)

    def _of(self, site):
        return [z for z in self.zones.values() if z.site == site]

    def _nsd(self, host, name, numbers, site):
        folder = self.folder / name
        folder.mkdir()
        lines = ["server:", "  username: root", '  zonesdir: "%s"' % self.folder]
        lines += [f'  pidfile: "{folder}/pid"', f'  xfrdfile: "{folder}/xfrd"']
        lines += [f'  zonelistfile: "{folder}/list"', f'  xfrdir: "{folder}"', "  database: \"\""]
        lines += [f"  ip-address: {host.lab.address(n)}" for n in numbers]
        lines += ["  verbosity: 1", "remote-control:", "  control-enable: no"]
        for z in self._of(site):
            origin = z.name if z.name == "." else z.name + "."
            lines += ["zone:", f'  name: "{origin}"', f'  zonefile: "{_file(z.name)}"']
        (folder / "nsd.conf").write_text("\n".join(lines) + "\n")
        ip = host.lab.address(numbers[0])
        Service(host, name, [_program("nsd"), "-d", "-c", folder / "nsd.conf"],
                lambda: _answers(host, ip, self._of(site)[-1].name), 30)  # fmt: skip

    def _bind(self, host):
        folder = self.folder / "bind"
        folder.mkdir()
        ip = host.lab.address(TLDS)
        lines = [
            f'options {{ directory "{folder}"; listen-on {{ {ip}; }}; listen-on-v6 {{ none; }};'
            f' recursion no; pid-file "{folder}/pid"; session-keyfile "{folder}/key";'
            f' managed-keys-directory "{folder}"; dnssec-validation no; minimal-responses no; }};',
            "controls { };",
        ]
        for z in self._of("tlds"):
            lines.append(f'zone "{z.name}" {{ type primary; file "{self.folder / _file(z.name)}";'
                         " check-names ignore; check-integrity no; };")  # fmt: skip
        (folder / "named.conf").write_text("\n".join(lines) + "\n")
        Service(host, "bind", [_program("named"), "-g", "-u", "root", "-c", folder / "named.conf"],
                lambda: _answers(host, ip, "aa"), 30)  # fmt: skip

    def _unbound(self, host):
        folder = self.folder / "unbound"
        folder.mkdir()
        ip = host.lab.address(ORACLE)
        (folder / "hints").write_text(f". 3600 NS ns0.\nns0. 3600 A {host.lab.address(ROOT)}\n")
        (folder / "unbound.conf").write_text(f"""
server:
  directory: "{folder}"
  chroot: ""
  username: ""
  pidfile: "{folder}/pid"
  interface: {ip}
  outgoing-interface: {ip}
  access-control: 0.0.0.0/0 allow
  root-hints: "{folder}/hints"
  trust-anchor: "{self.anchor}"
  module-config: "validator iterator"
  do-ip6: no
  use-syslog: no
  verbosity: 1
  do-not-query-localhost: no
  qname-minimisation: yes
  minimal-responses: no
  num-threads: 1
  ede: yes
  # Failures are tried again at once, as questions come in any order.
  val-bogus-ttl: 1
remote-control:
  control-enable: no
""")
        return Service(host, "unbound", [_program("unbound"), "-d", "-c", folder / "unbound.conf"],
                       lambda: _answers(host, ip, "www.ed.aa"), 30)  # fmt: skip


def _answers(host, ip, name):
    import types

    at = types.SimpleNamespace(ip=ip, socket=host.socket)
    return _dns_answers(at, name.strip(".") or "x")


def _file(name):
    return (name.strip(".") or "root") + ".zone"


def _depth(name):
    return len([part for part in name.split(".") if part])
