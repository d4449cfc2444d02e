"""Every option of a virtio card; cards of several kinds in one guest; links that come and go."""

import socket
import threading

import pytest

from barewire.platform import Platform
from barewire.pytest_plugin import wait_for_address
from barewire.services import PAGE

pytestmark = [pytest.mark.boot, pytest.mark.bridge]

SIZE = 1 << 19

# Half a megabyte to an echo and back, through every size of write up to 64 KB.
ROUND = """
import socket
s = socket.socket()
s.settimeout(60)
s.connect(("{ip}", {port}))
data = bytearray({size})
for i in range(0, {size}, 4):
    data[i:i + 4] = (i * 2654435761 & 0xffffffff).to_bytes(4, "big")
view = memoryview(data)
at = step = 0
while at < {size}:
    step = step * 3 + 1 if step < 40000 else 1
    at += s.write(view[at:min(at + step, {size})])
back = bytearray({size})
at = 0
while at < {size}:
    n = s.readinto(memoryview(back)[at:])
    if not n:
        break
    at += n
s.close()
print(at, back == data)
"""


class Echo:
    """Takes one connection on a host: all of SIZE bytes, then sends them back."""

    def __init__(self, host):
        self._listener = host.listen((host.ip, 0), timeout=60)
        self.port = self._listener.getsockname()[1]
        threading.Thread(target=self._run, daemon=True).start()

    def _run(self):
        with self._listener, self._listener.accept()[0] as s:
            s.settimeout(60)
            data = b""
            while len(data) < SIZE and (part := s.recv(1 << 20)):
                data += part
            s.sendall(data)


def works(guest, host):
    """Half a megabyte out and back comes back as it was."""
    program = ROUND.format(ip=host.ip, port=Echo(host).port, size=SIZE)
    assert guest.exec(program, 90).split() == [str(SIZE), "True"]


def device(guest, expression, name="eth0"):
    """The value of an expression about the device `d` of an interface."""
    guest.exec(
        "from stack.api import _runtime\n"
        f"d = _runtime.current().host.interface({name!r}).device"
    )
    return guest.eval(expression)


# (id, properties of the card, what must be true of the driver `d`, queues of the tap)
VIRTIO = [
    ("packed offered", {"packed": "on"}, "d.offered >> 34 & 1 and not d.features >> 34 & 1", 1),
    ("no event index", {"event_idx": "off"}, "not d.features >> 29 & 1", 1),
    ("no merged buffers", {"mrg_rxbuf": "off"}, "not d.features >> 15 & 1", 1),
    ("host MTU", {"host_mtu": 1300}, "d.mtu == 1300", 1),
    ("no indirect descriptors", {"indirect_desc": "off"}, "not d.offered >> 28 & 1", 1),
    ("modern only", {"disable-legacy": "on"}, "d.features >> 32 & 1", 1),
    ("transitional", {"disable-legacy": "off"}, "d.features >> 32 & 1", 1),
    ("several queues", {"mq": "on", "vectors": 6}, "d.offered >> 22 & 1", 2),
    ("no MSI-X", {"vectors": 0}, "d.interrupts == 'intx'", 1),
    ("one MSI-X vector", {"vectors": 1}, "d.interrupts == 'msix'", 1),
    ("a short ring", {"rx_queue_size": 256, "tx_queue_size": 256}, "d.caps == 15", 1),
    ("long rings", {"rx_queue_size": 1024}, "d.caps == 15", 1),
    ("no segmentation", {"host_tso4": "off", "host_tso6": "off"}, "d.caps == 3", 1),
    ("small frames in", {"guest_tso4": "off", "guest_tso6": "off"}, "d.caps == 15", 1),
    ("no control queue", {"ctrl_vq": "off"}, "not d.offered >> 17 & 1", 1),
    ("no link state", {"status": "off"}, "d.link_up", 1),
    ("page per queue", {"page-per-vq": "on"}, "d.caps == 15", 1),
    ("I/O MMU of the platform", {"iommu_platform": "on"}, "d.features >> 33 & 1", 1),
    ("nothing", {"csum": "off", "guest_csum": "off", "mrg_rxbuf": "off", "event_idx": "off",
                 "indirect_desc": "off", "gso": "off", "ctrl_vq": "off"}, "d.caps == 0", 1),
]  # fmt: skip


@pytest.mark.virtio
@pytest.mark.parametrize("what, nic, true, queues", VIRTIO, ids=[v[0] for v in VIRTIO])
def test_virtio_options(rig, lab, what, nic, true, queues, platform):
    if platform.nic != "virtio-net-pci" and {"vectors", "disable-legacy", "page-per-vq"} & set(nic):
        pytest.skip(f"{what} is of PCI, and {platform} has a {platform.nic}")
    guest = rig.bridged(lab, port=lab.tap(nic=nic, queues=queues))
    assert device(guest, f"bool({true})"), what
    works(guest, lab.gateway)
    assert guest.eval("net.http.get('http://example.test/').text") == PAGE
    assert "2 received" in lab.gateway.ping(guest.ip, 2, 5, "-s", "3000")


@pytest.mark.virtio
def test_a_legacy_only_card_is_refused_in_words(rig, lab, platform):
    if platform.nic != "virtio-net-pci":
        pytest.skip(f"over MMIO a legacy device is driven; {platform} has a {platform.nic}")
    nic = {"disable-legacy": "off", "disable-modern": "on"}
    guest = rig.guest(net=lab.tap(nic=nic))
    assert b"legacy-only" in guest.child.before
    assert [i["name"] for i in guest.eval("__import__('net').interfaces()")] == ["lo"]


def test_cards_of_several_kinds_in_one_guest(rig, platform):
    """virtio, 82540EM, 82574L and 82545EM on networks of their own, all used at once."""
    if platform.machine == "microvm":
        pytest.skip("microvm has no PCI for an e1000")
    kinds = ["virtio-net-pci", "e1000", "e1000e", "e1000-82545em"]
    labs = [
        rig.lab(servers=False, subnet=f"10.{78 + k}.0.0/24", capture=False)
        for k in range(len(kinds))
    ]
    taps = [
        lab.tap(nic={"device": kind}, mac=f"02:62:77:30:00:{k:02x}")
        for k, (lab, kind) in enumerate(zip(labs, kinds))
    ]
    guest = rig.guest(net=taps, append={"ip": "none"})
    guest.exec("import net, network")
    for k, lab in enumerate(labs):
        guest.exec(f"network.LAN({k}).ipconfig(addr4='{lab.address(20)}/24')")
    got = {i["mac"]: i["driver"] for i in guest.eval("net.interfaces()")}
    want = ["virtio-net", "e1000", "e1000e", "e1000"]
    # The order is PCI's.
    order = [guest.eval(f"network.LAN({k}).config('mac')") for k in range(len(kinds))]
    assert [got[tap.mac] for tap in taps] == want and len(set(order)) == len(kinds)
    for k, lab in enumerate(labs):
        assert order[k].hex(":") == taps[k].mac
        works(guest, lab.gateway)
    # All at once, while the guest is busy with something else.
    running = guest.run_async("print('now')\nwhile True: pass")
    running.expect("now")
    for lab in labs * 2:
        out = lab.gateway.ping(lab.address(20), 20, 5, "-i", "0.01")
        assert "20 received" in out, out
    running.interrupt()


@pytest.mark.lab_options(capture=False, servers=False)
@pytest.mark.parametrize("card", ["e1000", "e1000e"])
def test_jumbo_frames(rig, lab, platform, card):
    """An MTU of 9,000, in and out, in datagrams and in a stream."""
    if platform.machine == "microvm":
        pytest.skip("microvm has no PCI for an e1000")
    port = lab.tap(nic={"device": card})
    lab.switch.ip(*[f"link set {name} mtu 9000" for name in ("br0", "g1", "h1")])
    lab.gateway.ip_batch("link set eth0 mtu 9000")
    guest = rig.guest(net=port, append={"ip": lab.address(20) + "/24"})
    guest.exec(
        "import net\nfrom stack.api import _runtime\n"
        "_runtime.current().host.interface('eth0').set_mtu(9000)"
    )
    assert guest.eval("net.interfaces()[0]['mtu']") == 9000
    for size in (1473, 2006, 2007, 8000, 8972):
        out = lab.gateway.ping(lab.address(20), 1, 5, "-M", "do", "-s", str(size))
        assert "1 received" in out, out
    works(guest, lab.gateway)


def test_link_down_and_up_under_a_connection(rig, lab):
    """A stream goes on where it was; a new connection meanwhile has no way out."""
    guest = rig.bridged(lab)
    with lab.gateway.listen((lab.gateway.ip, 0), timeout=60) as listener:
        port = listener.getsockname()[1]
        guest.exec(
            "import socket, time, net\ns = socket.socket()\n"
            f"s.connect(('{lab.gateway.ip}', {port}))\ns.write(b'before')\n"
            "def up():\n return [i for i in net.interfaces() if i['name'] == 'eth0'][0]['up']\n"
            "def until(state):\n"
            " end = time.ticks_add(time.ticks_ms(), 20000)\n"
            " while up() != state and time.ticks_diff(end, time.ticks_ms()) > 0:\n"
            "  time.sleep_ms(5)\n"
            " return up() == state"
        )
        with listener.accept()[0] as peer:
            peer.settimeout(60)
            assert peer.recv(100) == b"before"
            guest.monitor.command("set_link", name="net0", up=False)
            assert guest.eval("until(False)", 30)
            out = guest.exec(
                f"t = socket.socket()\ntry:\n t.connect(('{lab.gateway.ip}', {port}))\n"
                "except OSError as e:\n print(e.errno)\n"
                "s.write(b'during')"
            )
            assert out.strip() in ("101", "113")  # ENETUNREACH, EHOSTUNREACH
            guest.monitor.command("set_link", name="net0", up=True)
            assert guest.eval("until(True)", 30)
            guest.exec("s.write(b' and after')\ns.close()")
            got = b""
            while part := peer.recv(100):
                got += part
            assert got == b"during and after"


_PORT = ("-device", "pcie-root-port,id=slot1,chassis=1,slot=1")


@pytest.mark.parametrize(
    "machine, card",
    [("pc", "virtio-net-pci"), ("pc", "e1000"), ("q35", "virtio-net-pci"), ("q35", "e1000e")],
)
def test_a_card_is_pulled(rig, lab, machine, card):
    """By QEMU's device_del, under a connection and traffic; the other card goes on."""
    nic = {"device": card, "id": "victim", "bus": "slot1" if machine == "q35" else "pci.0"}
    ports = [lab.tap(nic=nic), lab.tap(nic={"device": card})]
    on = Platform("pull", machine, extra=_PORT if machine == "q35" else ())
    guest = rig.guest(net=ports, platform=on, append={"ip": "none"})
    gone = next(
        i["name"] for i in guest.eval("__import__('net').interfaces()") if i["mac"] == ports[0].mac
    )
    other = "eth0" if gone == "eth1" else "eth1"
    with lab.gateway.listen((lab.gateway.ip, 0), timeout=60) as listener:
        port = listener.getsockname()[1]
        guest.exec(
            "import net, network, socket, time\n"
            f"network.LAN({gone[-1]}).ipconfig(addr4='{lab.address(20)}/24')\n"
            f"s = socket.socket()\ns.connect(('{lab.gateway.ip}', {port}))\ns.settimeout(1)\n"
            "u = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)\n"
            "def flood():\n"
            " end = time.ticks_add(time.ticks_ms(), 20000)\n"
            " n = 0\n"
            " while time.ticks_diff(end, time.ticks_ms()) > 0:\n"
            "  try:\n"
            f"   u.sendto(bytes(1400), ('{lab.gateway.ip}', 9))\n   n += 1\n"
            "   if n == 50: print('flows')\n"
            "   s.send(b'x')\n"
            "  except OSError as e:\n"
            "   print('errno', e.errno)\n   return\n"
            " print('no error')"
        )
        running = guest.run_async("flood()")
        running.expect("flows")
        guest.monitor.command("device_del", id="victim")
        running.expect("errno (101|113)")  # ENETUNREACH or EHOSTUNREACH, as a program of Linux's
        running.wait()
    names = [i["name"] for i in guest.eval("net.interfaces()")]
    assert gone not in names and other in names
    assert not any("victim" in str(bus) for bus in guest.monitor.command("query-pci"))
    guest.exec(f"network.LAN(0).ipconfig(addr4='{lab.address(21)}/24')\ns.close()\nu.close()")
    works(guest, lab.gateway)


def test_user_network_of_every_card(rig, platform):
    from barewire.net import UserNet

    guest = rig.guest(net=UserNet(restrict=True))
    assert wait_for_address(guest) == "10.0.2.15"
    assert socket.inet_aton(guest.eval("net.interfaces()[0]['ip4']").split("/")[0])
