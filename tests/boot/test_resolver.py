"""images/resolver on a bridge with a made-up internet: dig, kdig and getaddrinfo use it."""

import json
import random
import subprocess

import pytest

from barewire import build, romfs
from tests.oracle.dns.internet import BROKEN, ORACLE, ROOT, Internet
from tests.oracle.dns.test_unbound import questions, theirs

pytestmark = [pytest.mark.boot, pytest.mark.bridge]


@pytest.fixture(scope="module")
def image():
    return build.build("resolver")


@pytest.fixture
def served(rig, artifacts, image):
    """(net, host, ip): the made-up internet, and the resolver's address."""
    lab = rig.lab(servers=False, capture_limit=20_000)
    host = lab.gateway
    net = Internet(artifacts / "zones", lab.address)
    net.start(host)
    net.host = host
    net.lab = lab
    cert, key = artifacts / "cert.pem", artifacts / "key.pem"
    subprocess.run(
        ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256",
         "-nodes", "-keyout", key, "-out", cert, "-days", "30", "-subj", "/CN=resolver.test",
         "-addext", "subjectAltName=DNS:resolver.test"],
        check=True, capture_output=True,
    )  # fmt: skip
    said = {
        "root_hints": [lab.address(ROOT)], "trust_anchor": net.anchor,
        "cert": "/app/cert.pem", "key": "/app/key.pem",
    }  # fmt: skip
    app = artifacts / "app.romfs"
    app.write_bytes(romfs.build({
        "resolver.json": json.dumps(said).encode(), "cert.pem": cert.read_bytes(),
        "key.pem": key.read_bytes(),
    }))  # fmt: skip
    ip = lab.address(20)
    guest = rig.guest(net=lab.tap(), image=image, initrd=app, mem=64, prompt=False,
                      append={"ip": f"{ip}/{lab.subnet.prefixlen}"})  # fmt: skip
    guest.child.expect_exact("resolver: UDP and TCP 53, TLS 853", timeout=60)
    net.cert = cert
    return net, host, ip


def _dig(host, ip, *words):
    return host.run("dig", f"@{ip}", "+tries=2", "+time=15", *words).stdout


def test_clients(served, rig):
    """dig over UDP and TCP, kdig over TLS, CPython's getaddrinfo on a neighbour, another guest."""
    net, host, ip = served
    text = _dig(host, ip, "www.ed.aa", "A", "+dnssec")
    assert "status: NOERROR" in text and " ad;" in text.replace("; QUERY", ";"), text
    assert "192.0.2.10" in text and "RRSIG" in text
    assert "192.0.2.11" in _dig(host, ip, "www.rsa512.aa", "+tcp", "+short")
    text = _dig(host, ip, "www.expired.aa")
    assert "status: SERVFAIL" in text and "EDE: 7" in text, text
    assert "192.0.2.10" in _dig(host, ip, "www.expired.aa", "+cd", "+short")
    assert "status: NXDOMAIN" in _dig(host, ip, "nothing.p256.aa")
    text = host.run(
        "kdig", f"@{ip}", "+tls", f"+tls-ca={net.cert}", "+tls-hostname=resolver.test", "+dnssec",
        "+padding", "mail.ed.bb", "AAAA",
    ).stdout  # fmt: skip
    assert "TLSv1.3" in text or "TLS1.3" in text, text
    assert "2001:db8::20" in text, text
    # Many on one connection (RFC 7766).
    text = host.run("kdig", f"@{ip}", "+tcp", "+keepopen", "www.p384.aa", "www.ed.aa", "mail.ed.aa")
    assert text.stdout.count("status: NOERROR") == 3, text.stdout
    code = (
        "import socket; print(sorted({a[4][0] for a in "
        "socket.getaddrinfo('www.ed.bb', 80, type=socket.SOCK_STREAM)}))"
    )
    resolv = net.folder / "resolv.conf"
    resolv.write_text(f"nameserver {ip}\noptions timeout:10\n")
    nss = net.folder / "nsswitch.conf"
    nss.write_text("hosts: dns\n")
    text = host.run(
        "unshare", "-m", "sh", "-c",
        f"mount --bind {resolv} /etc/resolv.conf && mount --bind {nss} /etc/nsswitch.conf && "
        f'python3 -c "{code}"',
    ).stdout  # fmt: skip
    assert text.strip() == "['192.0.2.10', '192.0.2.11', '2001:db8::10']", text
    forwarding(net, ip, rig)


def forwarding(net, ip, rig):
    """Another guest forwards, to unbound in the clear, to the resolver over TLS, and checks."""
    guest = rig.guest(net=net.lab.tap(), append={"ip": f"{net.lab.address(21)}/24"})
    guest.put("/cert.pem", net.cert.read_bytes())
    guest.exec(
        "import net\ndef said(*q):\n a = net.dns.query(*q)\n"
        " return a.rcode, len(a.records), a.status"
    )
    for servers in (net.lab.address(ORACLE), f"tls://{ip}#resolver.test"):
        guest.exec(
            f"r = net.dns.Resolver(forward={servers!r}, trust_anchor={net.anchor!r}, "
            "verify='/cert.pem')\nnet.dns.use(r)"
        )
        for name, type, expected in (
            ("www.ed.aa", "A", (0, 2, "secure")),
            ("x.wild.p256.aa", "A", (0, 1, "secure")),
            ("nothing.ed.bb", "A", (3, 0, "secure")),
            ("www.expired.aa", "A", (2, 0, "bogus")),
            ("www.wrongds.aa", "A", (2, 0, "bogus")),
        ):
            said = guest.eval(f"said({name!r}, {type!r})", 60)
            assert said == expected, (servers, name, said)
        assert guest.eval("net.dns.resolve('www.p384.aa')", 60).startswith("192.0.2.1")
        assert "www.ed.aa" in str(guest.eval("[e[0] for e in net.dns.cache()]"))


def test_same_as_unbound_from_the_guest(served):
    """The booted resolver beside unbound: rcode, answers and AD bit, cold and warm."""
    net, host, ip = served
    asked = questions(53, 90) + [(f"www.{z.name}", "A") for z in BROKEN]
    random.Random(53).shuffle(asked)
    wrong = []
    for name, type in asked + asked[:40]:
        ours = theirs(net, name, type, ip)
        want = theirs(net, name, type)
        if ours != want:
            wrong.append(f"{name} {type}: ours {ours}, unbound {want}")
    assert not wrong, "\n".join(wrong)
