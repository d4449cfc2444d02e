"""The network beside the program, across a bridge: ARP, ICMP, DHCP, DNS, HTTP."""

import socket

import pexpect
import pytest

from barewire import services
from barewire.pytest_plugin import wait_for_address
from barewire.services import PAGE
from tests.wire import frames

pytestmark = [pytest.mark.boot, pytest.mark.bridge]

PINGS = 5


def answered(lab, guest):
    out = lab.gateway.ping(guest.ip, PINGS, 2, "-i", "0.05")
    assert f"{PINGS} received" in out, out


@pytest.mark.core
def test_dhcp_gives_the_address(bridged_guest, lab, platform):
    leases = (lab.directory / "gw-dnsmasq" / "leases").read_text()
    assert bridged_guest.ip in leases
    interface = next(i for i in bridged_guest.eval("net.interfaces()") if i["name"] == "eth0")
    assert bridged_guest.ip in str(interface["ip4"])
    assert interface["mac"] == lab.taps[0].mac
    assert (interface["mtu"], interface["up"], interface["driver"]) == (1500, True, platform.driver)


def test_static_address(rig, lab):
    append = {"ip": lab.address(50) + "/24", "gw": lab.gateway.ip, "dns": lab.gateway.ip}
    guest = rig.bridged(lab, append=append)
    assert guest.ip == lab.address(50)
    answered(lab, guest)
    assert guest.eval("net.dns.resolve('example.test')")


def test_ping_at_the_prompt(bridged_guest, lab):
    bridged_guest.friendly()
    answered(lab, bridged_guest)


def test_ping_in_sleep(bridged_guest, lab):
    running = bridged_guest.run_async("import time\nprint('now')\ntime.sleep(1000)")
    running.expect("now")
    answered(lab, bridged_guest)


def test_ping_in_a_busy_loop(bridged_guest, lab):
    running = bridged_guest.run_async("print('now')\nwhile True: pass")
    running.expect("now")
    answered(lab, bridged_guest)


@pytest.mark.core
def test_ping_of_every_size(bridged_guest, lab):
    # 4,000 bytes go in fragments, both ways.
    for size in (0, 1, 17, 18, 1472, 1473, 4000):
        out = lab.gateway.ping(bridged_guest.ip, 1, 2, "-s", str(size))
        assert "1 received" in out, out


def test_the_guest_pings(bridged_guest, lab):
    assert bridged_guest.exec(f"print(net.ping('{lab.gateway.ip}'))").strip() not in ("None", "")


def test_dns(bridged_guest, lab):
    assert lab.gateway.ip in str(bridged_guest.eval("net.dns.resolve('example.test')"))
    out = bridged_guest.exec(
        "import socket\nprint(socket.getaddrinfo('example.test', 80)[0][-1])\n"
        "try:\n net.dns.resolve('nowhere.test')\nexcept OSError as e:\n print('no such name')"
    )
    assert lab.gateway.ip in out and "no such name" in out


def test_short_names_by_the_search_list_of_dhcp(rig):
    lab = rig.lab(servers=False)
    options = ["--dhcp-option=option:domain-search,lan.test,deep.lan.test", "--domain=other.test"]
    names = {"box.deep.lan.test": lab.gateway.ip}
    services.dnsmasq(lab.gateway, names, options=options)
    guest = rig.bridged(lab)
    assert guest.eval("net.dns.search()") == ["lan.test", "deep.lan.test"]
    assert guest.eval("net.dns.resolve('box')", 60) == lab.gateway.ip


@pytest.mark.core
def test_the_page_as_a_person_types_it(bridged_guest):
    child = bridged_guest.friendly()
    child.send("import net\r")
    child.expect_exact(">>> ")
    child.send('print(net.http.get("http://example.test/").text)\r')
    for line in PAGE.splitlines():
        child.expect_exact(line)
    child.expect_exact(">>> ")


@pytest.mark.guest_options(mem=8)
def test_eight_megabytes_are_enough(bridged_guest):
    assert bridged_guest.eval("net.http.get('http://example.test/').text") == PAGE
    assert bridged_guest.eval("net.http.get('http://example.test/').status_code") == 200


def test_missing_page_and_refused_connection(bridged_guest, lab):
    assert bridged_guest.eval("net.http.get('http://example.test/no').status_code") == 404
    out = bridged_guest.exec(
        "import errno, socket\ns = socket.socket()\n"
        f"try:\n s.connect(socket.getaddrinfo('{lab.gateway.ip}', 9)[0][-1])\n"
        "except OSError as e:\n print(errno.errorcode.get(e.errno))"
    )
    assert out.strip() == "ECONNREFUSED"


@pytest.mark.virtio
def test_without_offloads_the_guests_own_checksums_are_right(rig, lab):
    # The device of this guest can neither sum nor cut: all that the capture shows is the stack's.
    nic = {"csum": "off", "guest_csum": "off", "mrg_rxbuf": "off"}
    guest = rig.bridged(lab, port=lab.tap(nic=nic))
    assert guest.eval("net.http.get('http://example.test/').text") == PAGE
    answered(lab, guest)


def test_several_cards_and_machines(rig, lab):
    first, second = rig.bridged(lab), rig.bridged(lab)
    assert first.ip != second.ip
    running = first.run_async(
        "import socket\ns = socket.socket()\ns.bind(socket.getaddrinfo('0.0.0.0', 7)[0][-1])\n"
        "s.listen(1)\nprint('up')\nc = s.accept()[0]\nprint(c.recv(100))\nc.close()"
    )
    running.expect("up")
    second.exec(
        "import socket\nc = socket.socket()\n"
        f"c.connect(socket.getaddrinfo('{first.ip}', 7)[0][-1])\n"
        "c.send(b'from the other guest')\nc.close()"
    )
    assert "from the other guest" in running.wait()


@pytest.mark.core
def test_link_goes_down_and_up(bridged_guest, lab):
    wait = (
        "import time\nfor _ in range(1000):\n"
        " if net.interfaces()[{i}]['up'] == {up}: break\n time.sleep_ms(10)\n"
        "print(net.interfaces()[{i}]['up'])"
    )
    names = [i["name"] for i in bridged_guest.eval("net.interfaces()")]
    i = names.index("eth0")
    for up in (False, True):
        bridged_guest.monitor.command("set_link", name="net0", up=up)
        assert bridged_guest.exec(wait.format(i=i, up=up), timeout=20).strip() == str(up)
    answered(lab, bridged_guest)


def test_user_network_needs_no_privileges(guest):
    assert wait_for_address(guest) == "10.0.2.15"


def test_no_card_is_no_fault(rig):
    guest = rig.guest(net=None)
    assert guest.eval("1 + 1") == 2
    names = [i["name"] for i in guest.eval("__import__('net').interfaces()")]
    assert "eth0" not in names


def test_an_idle_guest_rests(bridged_guest):
    """Under 3 % of a host core at the prompt, a figure of the issue.

    It counts CPU ticks of the QEMU process, not elapsed time, so a busy machine does not
    make it fail; a guest that spins would use 100 %."""
    child = bridged_guest.friendly()
    seconds = 5
    before = bridged_guest.cpu_seconds()
    assert child.expect([pexpect.TIMEOUT, ".+"], timeout=seconds) == 0, "it said something"
    used = (bridged_guest.cpu_seconds() - before) / seconds
    print(f"idle: {used:.1%} of a core")
    assert used < 0.03


def test_a_bad_packet_is_dropped_and_counted(bridged_guest, lab):
    ip = bytes(map(int, bridged_guest.ip.split(".")))
    gateway = bytes(map(int, lab.gateway.ip.split(".")))
    good = frames.udp(5000, 5001, b"some bytes", src=gateway, dst=ip)
    packet = frames.ipv4("udp", good[:-1] + b"!", src=gateway, dst=ip)
    macs = [bytes.fromhex(m.replace(":", "")) for m in (lab.taps[0].mac, lab.gateway.mac)]
    before = bridged_guest.eval("net.stats()")["drops"].get("udp.checksum", 0)
    with lab.gateway.socket(socket.AF_PACKET, socket.SOCK_RAW, 0) as s:
        s.bind(("eth0", 0))
        s.send(frames.ethernet(packet, "ipv4", src=macs[1], dst=macs[0]))
    answered(lab, bridged_guest)  # by then it has come
    assert bridged_guest.eval("net.stats()")["drops"]["udp.checksum"] == before + 1
