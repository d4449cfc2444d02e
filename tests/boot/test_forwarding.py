"""The images router and switch between real neighbours, each on a bridge of its own."""

import re

import pytest

from barewire.services import DOMAIN, PAGE
from tests.boot.test_images import packed

pytestmark = [pytest.mark.boot, pytest.mark.bridge]

INSIDE = "192.168.77.1"


class Router:
    """Outside: `.lab` with nginx and dnsmasq. Inside: `.a` and `.b`, whose way out is the guest."""

    def __init__(self, rig, folder, outside=None, publish=""):
        self.lab = rig.lab()
        self.inner = rig.lab(servers=False, subnet="192.168.77.0/24")
        self.a = self.inner.add_host("a", 10)
        self.b = self.inner.add_host("b", 11)
        for host in (self.inner.gateway, self.a, self.b):
            # The first host of a lab has address 1, which is the router's here.
            if host is self.inner.gateway:
                host.ip_batch("addr flush dev eth0")
            else:
                host.ip_batch(f"route add default via {INSIDE}")
        nets = [self.lab.tap(nic=outside), self.inner.tap(mac="02:62:77:21:00:01")]
        more = {"publish.txt": publish.encode()} if publish else {}
        self.guest = rig.guest(
            net=nets, initrd=packed("router", folder, **more),
            append={"forward": "1", "eth1.ip": f"{INSIDE}/24"},
        )  # fmt: skip
        (self.ip,) = self.guest.eval(
            "[i['ip4'].split('/')[0] for i in net.interfaces() if i['name'] == 'eth0']"
        )

    def stats(self):
        return self.guest.eval("stats()")


@pytest.fixture
def router(rig, artifacts):
    return Router(rig, artifacts)


def test_from_inside_to_outside(router):
    lab, a, b = router.lab, router.a, router.b
    for host in (a, b):
        page = host.run("curl", "-sS", "--max-time", "20", f"http://{lab.gateway.ip}/").stdout
        assert page == PAGE
        assert "0% packet loss" in host.run("ping", "-nc3", "-i.2", lab.gateway.ip).stdout
        answer = host.run("dig", f"@{lab.gateway.ip}", DOMAIN, "+short", "-b", "0.0.0.0#5353")
        assert answer.stdout.strip() == lab.gateway.ip
    # All that the world outside has seen is the router.
    log = (lab.nginx.root.parent / "access.log").read_text().split()
    assert log.count(router.ip) == 2 and a.ip not in log and b.ip not in log
    stats = router.stats()
    assert stats["nat"]["made"] >= 6 and stats["packets"] > 20


def needs_host_mtu(platform):
    if not platform.virtio:
        pytest.skip(f"host_mtu is virtio's, and {platform} has a {platform.nic}")


def test_a_large_page_whole(router):
    data = bytes(range(256)) * 16384
    (router.lab.nginx.root / "big").write_bytes(data)
    out = router.inner.directory / "big"
    router.a.run("curl", "-sS", "--max-time", "60", "-o", out, f"http://{router.lab.gateway.ip}/big")
    assert out.read_bytes() == data


def test_errors_that_a_router_sends(rig, artifacts, platform):
    needs_host_mtu(platform)
    router = Router(rig, artifacts, outside={"host_mtu": "1400"})
    a, far = router.a, router.lab.gateway.ip
    text = a.run("ping", "-nc1", "-t1", "-W5", far, check=False).stdout
    assert f"From {INSIDE}" in text and "Time to live exceeded" in text
    text = a.run("ping", "-nc1", "-Mdo", "-s1440", "-W5", far, check=False).stdout
    assert f"From {INSIDE}" in text and "mtu = 1400" in text
    # What may be cut is, both ways: the answer comes in fragments that Linux made.
    a.ip_batch("route flush cache")
    text = a.run("ping", "-nc2", "-i.2", "-Mdont", "-s3000", "-W5", far, check=False).stdout
    assert " 0% packet loss" in text
    nobody = router.lab.address(99)
    text = a.run("ping", "-nc1", "-W8", nobody, check=False).stdout
    assert f"From {INSIDE}" in text and "Destination Host Unreachable" in text
    assert router.stats()["fragmented"] > 0


def test_published_port_and_hairpin(rig, artifacts):
    router = Router(rig, artifacts, publish=f"tcp 8080 192.168.77.11 80\n# {INSIDE}\nnonsense\n")
    from barewire import services

    services.nginx(router.b, {"who": b"b"})
    for host in (router.lab.gateway, router.a):
        url = f"http://{router.ip}:8080/who"
        assert host.run("curl", "-sS", "--max-time", "20", url).stdout == "b"


def test_traceroute_sees_the_router(router):
    """An ICMP error from outside about a translated packet reaches who it is for."""
    far = router.lab.gateway
    done = router.a.run("nc", "-u", "-z", "-w2", far.ip, "9", check=False)
    code = (
        "import socket\ns = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)\n"
        f"s.settimeout(10)\ns.connect(('{far.ip}', 9))\ns.send(b'x')\n"
        "try: s.recv(1)\nexcept ConnectionRefusedError: print('refused')"
    )
    assert router.a.run("python3", "-c", code).stdout == "refused\n", done


def test_switch(rig, artifacts):
    labs = [rig.lab(servers=i == 0) for i in range(3)]
    a = labs[0].gateway
    b, c = labs[1].add_host("b", 11), labs[2].add_host("c", 12)
    for lab in labs[1:]:
        lab.gateway.ip_batch("addr flush dev eth0")
    for n, host in enumerate((a, b, c)):
        # Each lab numbers its hosts anew: addresses of Ethernet must differ on one network.
        host.ip_batch(f"link set eth0 address 02:62:77:aa:00:{n:02x}")
    taps = [lab.tap(mac=f"02:62:77:bb:00:{n:02x}") for n, lab in enumerate(labs)]
    guest = rig.guest(
        net=taps, initrd=packed("switch", artifacts),
        append={"forward": "1", "ip": "none", "ip6": "none"},
    )  # fmt: skip
    assert " 0% packet loss" in b.run("ping", "-nc2", "-i.2", a.ip).stdout
    assert " 0% packet loss" in c.run("ping", "-nc2", "-i.2", b.ip).stdout

    def sent_to(port):
        return guest.eval("stats()['ports']")[port]["sent"]

    # Once learnt, what a and b say to each other is not c's to hear.
    before = sent_to(2)
    big = bytes(range(256)) * 4096
    (labs[0].nginx.root / "big").write_bytes(big)
    out = labs[1].directory / "big"
    b.run("curl", "-sS", "--max-time", "60", "-o", out, f"http://{a.ip}/big")
    assert out.read_bytes() == big
    assert sent_to(1) > 500 and sent_to(2) - before < 20
    # The switch has an address of its own, on every port.
    code = "import network; print(network.LAN(3).ifconfig()[0], network.LAN(3).isconnected())"
    for _ in range(100):
        ip, connected = guest.exec(f"import time; time.sleep_ms(50)\n{code}").split()
        if connected == "True":
            break
    assert re.fullmatch(r"10\.77\.0\.\d+", ip), ip
    for host in (a, b, c):
        assert " 0% packet loss" in host.run("ping", "-nc2", "-i.2", ip).stdout
    # A busy host empties a ring late: what finds it full is lost, as on any switch; TCP mends it.
    drops = guest.eval("stats()['drops']")
    fine = ("bridge.same_port", "bridge.ring_full")
    assert not any(k.startswith("bridge.") and k not in fine for k in drops), drops
    assert drops.get("bridge.ring_full", 0) < 100, drops


def test_ipv6_both_ways(rig, artifacts, platform):
    needs_host_mtu(platform)
    lab = rig.lab(servers=False)
    inner = rig.lab(servers=False, subnet="192.168.77.0/24")
    far, a = lab.gateway, inner.gateway
    for host, net, other in ((far, "fd77:1", "fd77:2"), (a, "fd77:2", "fd77:1")):
        host.ip_batch(
            f"addr add {net}::10/64 dev eth0 nodad", f"route add {other}::/64 via {net}::1"
        )
    a.ip_batch("route add 2001:db8::/32 via fd77:2::1")
    nets = [lab.tap(nic={"host_mtu": "1400"}), inner.tap(mac="02:62:77:21:00:01")]
    guest = rig.guest(
        net=nets, initrd=packed("router", artifacts),
        append={
            "forward": "1", "ip": "none", "ip6": "fd77:1::1/64", "eth1.ip": "none",
            "eth1.ip6": "fd77:2::1/64",
        },
    )  # fmt: skip
    # Until its addresses have passed duplicate address detection, the router is silent.
    for host, own in ((a, "fd77:2::1"), (far, "fd77:1::1")):
        assert "1 received" in host.run("ping", "-6nc1", "-W20", own).stdout
    data = bytes(range(256)) * 2048
    for client, server, address in ((a, far, "fd77:1::10"), (far, a, "fd77:2::10")):
        assert " 0% packet loss" in client.run("ping", "-6nc3", "-i.2", address).stdout
        page = server.lab.directory / "six"
        page.mkdir()
        (page / "big").write_bytes(data)
        argv = ["python3", "-m", "http.server", "--bind", address, "-d", page, "8080"]
        serving = server.popen(*argv)
        try:
            url = f"http://[{address}]:8080/big"
            out = client.lab.directory / "got6"
            # From inside, segments of 1,440 bytes are too big for the outside: Linux is told.
            retry = ("--retry", "20", "--retry-connrefused", "--retry-delay", "1")
            client.run("curl", "-sS", *retry, "--max-time", "60", "-o", out, url)
        finally:
            serving.kill()
            serving.wait()
        assert out.read_bytes() == data
    # An address that nobody knows a path to yet.
    far.ip_batch("addr add fd77:1::11/64 dev eth0 nodad")
    for options, target, want in (
        (["-t1"], "fd77:1::10", "Time exceeded: Hop limit"),
        (["-Mdo", "-s1440"], "fd77:1::11", "Packet too big: mtu=1400"),
        ([], "2001:db8::1", "Destination unreachable: No route"),
        ([], "fd77:1::99", "Destination unreachable: Address unreachable"),
    ):
        text = a.run("ping", "-6nc1", "-W8", *options, target, check=False).stdout
        assert "From fd77:2::1" in text and want in text, text
    stats = guest.eval("stats()")
    assert stats["ip6"]["packets"] > 100
    for why in ("hops", "too_big", "no_route", "unresolved"):
        assert stats["drops"][f"forward6.{why}"] > 0, stats
