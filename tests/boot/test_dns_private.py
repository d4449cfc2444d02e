"""Names over TLS and HTTPS from Debian's unbound and BIND; what fails, fails closed."""

import time

import pytest

from tests.boot import dns_peers
from tests.boot.dns_peers import PRIVATE

pytestmark = [pytest.mark.boot, pytest.mark.bridge]

SAY = """
import net
def say(f, *args):
    try:
        r = f(*args)
        print(r if isinstance(r, str) else sorted([x.text()[:20] for x in r]) + [len(r)])
    except OSError as e:
        print("failed", e)
"""


@pytest.fixture
def peers(rig, artifacts):
    lab = rig.lab(servers=False)
    lab.other = lab.add_host("other", 2)
    lab.cert = {}
    for host, start in ((lab.gateway, dns_peers.unbound), (lab.other, dns_peers.bind)):
        cert, key = dns_peers.certificate(artifacts, host.name, host.ip)
        host.dns = start(host, artifacts / f"{host.name}-dns", cert, key)
        host.cert = cert
    append = {"ip": f"{lab.address(20)}/24", "dns": lab.gateway.ip}
    guest = rig.guest(net=lab.tap(), append=append)
    for host in (lab.gateway, lab.other):
        guest.put(f"/{host.name}.pem", host.cert.read_bytes())
    guest.exec(SAY)
    return lab, guest


def use(guest, what, verify=None, **options):
    words = "".join(f", {k}={v!r}" for k, v in options.items())
    guest.exec(f"net.dns.use({what!r}, verify={verify!r}{words})")


def tried(guest, name="www." + PRIVATE, type=None):
    args = [repr(name)] + ([repr(type)] if type else [])
    return guest.exec(f"net.dns.flush(); say(net.dns.resolve, {', '.join(args)})", 120).strip()


def questions_heard(lab, name):
    """How often unbound was asked: it logs each question that it can read, of mixed case."""
    return lab.gateway.dns.log.read_text().lower().count(f"{name}. ")


def test_private_servers(peers):
    lab, guest = peers
    for host in (lab.gateway, lab.other):
        ip, root = host.ip, f"/{host.name}.pem"
        for server in (
            f"tls://{ip}#dns.test", f"tls://{ip}", f"https://{ip}/dns-query",
            f"https://{ip}/dns-query{{?dns}}",
        ):  # fmt: skip
            use(guest, server, root)
            assert tried(guest) == "192.0.2.1", (server, host.dns.log.read_text()[-2000:])
            assert f"10 mail.{PRIVATE}" in tried(guest, PRIVATE, "MX"), server
            # 30 strings of 200 bytes: more than a datagram, one message here.
            assert tried(guest, "big." + PRIVATE, "TXT").endswith(" 30]"), server
            assert tried(guest, "nothing." + PRIVATE).endswith("-2")
            assert guest.eval("net.dns.servers()") == [server]
    # One connection for all of them, and both families at a time.
    use(guest, f"tls://{lab.gateway.ip}#dns.test", "/gw.pem")
    out = guest.exec(f"""
import asyncio, socket
async def main():
    names = ["n%d.{PRIVATE}" % i for i in range(20)] + ["www.{PRIVATE}"] * 12
    found = await asyncio.gather(*[net.aio.dns.query(n) for n in names])
    print([a.rcode for a in found].count(3), sum([len(a.records) for a in found]))
asyncio.run(main())
from stack.api import _runtime
channels = _runtime.current().resolver.channels.list()
print(len(channels), channels[0].answers)
print(len([c for c in net.connections()
    if c.get("remote", "").endswith(":853") and c["state"] == "ESTABLISHED"]))
print(socket.getaddrinfo("www.{PRIVATE}", 80)[0][-1])
""", 120).split("\n")
    assert out[0].strip() == "20 12"
    # The same name is asked for again only until its first answer is there.
    channels, answers = out[1].split()
    assert channels == "1" and 21 <= int(answers) <= 32
    assert out[2].strip() == "1"
    assert "192.0.2.1" in out[3]


def test_what_is_wrong_fails_closed(peers):
    """Wrong names, roots and ports: an error that says so, and no question in the clear."""
    lab, guest = peers
    ip = lab.gateway.ip
    for why, server, root, words in (
        ("name", f"tls://{ip}#other.test", "/gw.pem", "other.test"),
        ("root", f"tls://{ip}#dns.test", "/other.pem", "certificate"),
        ("Mozilla's roots", f"tls://{ip}#dns.test", None, "not trusted"),
        ("https root", f"https://{ip}/dns-query", "/other.pem", "certificate"),
        ("https path", f"https://{ip}/nothing", "/gw.pem", "answers"),
        ("closed", f"tls://{ip}:8853#dns.test", "/gw.pem", "refuses"),
        ("no TLS there", f"tls://{ip}:53#dns.test", "/gw.pem", "no DNS server answers"),
    ):
        use(guest, server, root)
        said = tried(guest)
        assert said.startswith("failed") and words in said, (why, said)
        assert "-3" in said, (why, said)
    assert questions_heard(lab, "www." + PRIVATE) == 0
    # A mixture would be a way round it.
    assert "together" in guest.exec(
        f"try: net.dns.use(['tls://{ip}', '{ip}'])\nexcept ValueError as e: print(e)"
    )
    # Of two, the one that is right is used; the other's word counts for nothing.
    use(guest, [f"tls://{ip}#other.test", f"tls://{lab.other.ip}#dns.test"], "/other.pem")
    assert tried(guest) == "192.0.2.1"
    # Opportunistic: any certificate will do, and where nobody speaks TLS, plain DNS.
    use(guest, f"tls://{ip}", opportunistic=True)
    assert tried(guest) == "192.0.2.1"
    before = questions_heard(lab, "www." + PRIVATE)
    use(guest, f"tls://{ip}:8853", opportunistic=True)
    assert tried(guest) == "192.0.2.1"
    end = time.monotonic() + 60
    while questions_heard(lab, "www." + PRIVATE) <= before:  # it writes when it likes
        assert time.monotonic() < end, lab.gateway.dns.log.read_text()[-2000:]


def test_a_server_that_goes_and_comes_back(peers):
    """Connections closed while idle are made anew; with all servers gone there is an error."""
    lab, guest = peers
    ip = lab.gateway.ip
    use(guest, [f"tls://{ip}#dns.test", f"tls://{lab.other.ip}#dns.test"], "/gw.pem")
    assert tried(guest) == "192.0.2.1"
    lab.gateway.dns.stop()
    said = tried(guest)
    assert said.startswith("failed") and ip in said and lab.other.ip in said, said
    cert = lab.gateway.cert
    folder = lab.gateway.dns.directory.parent / "again"
    lab.gateway.dns = dns_peers.unbound(lab.gateway, folder, cert, cert.with_suffix(".key"))
    assert tried(guest) == "192.0.2.1"
    # And for HTTPS.
    use(guest, f"https://{ip}/dns-query", "/gw.pem")
    assert tried(guest) == "192.0.2.1"
    lab.gateway.dns.stop()
    assert tried(guest).startswith("failed")
    lab.gateway.dns = dns_peers.unbound(lab.gateway, folder, cert, cert.with_suffix(".key"))
    assert tried(guest) == "192.0.2.1"
    # In the clear, where it names who names it.
    guest.exec("net.dns.use(None)")
    assert guest.eval("net.dns.reverse('192.0.2.1')") == "www." + PRIVATE
    assert guest.eval("__import__('socket').getnameinfo(('192.0.2.1', 80))") == (
        "www." + PRIVATE, "80")  # fmt: skip
    assert tried(guest, "big." + PRIVATE, "TXT").endswith(" 30]")  # by TCP
    # One of two is not there: the other is asked, and from then on first.
    dead = lab.address(99)
    guest.exec(f"net.dns.use(['{dead}', '{ip}'])")
    assert tried(guest) == "192.0.2.1"
    assert tried(guest) == "192.0.2.1"
    guest.exec(f"net.dns.use('{dead}')")
    said = tried(guest)
    assert said.startswith("failed (-3, 'no DNS server answers; " + dead), said
    guest.exec("net.dns.use(None)")
    assert guest.eval("net.dns.servers()") == [ip]
