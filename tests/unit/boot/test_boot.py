"""Steps of a boot that need no machine: sizes, the RAM disk, what is run, what is said."""

import sys

from stack import boot, config, files
from stack.core.mem import copy
from stack.net import addr
from tests.unit.api.world import World


def test_ram_disk_sizes():
    for mb, kb in ((16, 256), (32, 256), (64, 512), (256, 2048), (4096, 8192)):
        assert files.ram_disk_size(mb << 20) == kb << 10, mb


class _Locked:
    """The scheduler's lock of `hw`, and a copy that wants it held."""

    def __init__(self):
        self.depth = self.copies = 0

    def lock(self):
        self.depth += 1

    def unlock(self):
        self.depth -= 1

    def copy(self, *args):
        assert self.depth == 1
        self.copies += 1
        copy(*args)


def test_ram_blocks():
    hw = _Locked()
    b = files.RamBlocks(bytearray(3 * 4096), hw)
    assert b.ioctl(4, 0) == 3 and b.ioctl(5, 0) == 4096 and b.ioctl(1, 0) == 0
    assert b.writeblocks(1, b"hello", 100) == 0
    buf = bytearray(7)
    assert b.readblocks(1, buf, 99) == 0
    assert buf == b"\0hello\0" and hw.copies == 2
    # An exception would pass through littlefs: an errno comes back, and the lock is free.
    assert b.writeblocks(2, b"xy", 4095) == -22 and b.readblocks(-1, buf) == -22
    assert hw.depth == 0 and hw.copies == 2


def test_sys_with_net():
    proxy = boot.Sys()
    assert proxy.path is sys.path and proxy.__name__ == "sys"
    proxy.ps1 = "> "
    assert sys.ps1 == "> "
    sys.ps1 = ">>> "
    try:
        proxy.nonsense  # noqa: B018
        raise AssertionError
    except AttributeError:
        pass


class Card:
    driver = "virtio-net"
    name = "eth0"


class Auto:
    addresses = ()
    mode = "none"

    def link_up(self, now):
        pass


class Iface:
    auto = Auto()
    loopback = False
    name = "eth0"
    device = Card()
    mac = 0x525400123456
    up = True
    addr = 0
    prefix = 0


class Routes:
    def __init__(self, gateway):
        self.gateway = gateway

    def default(self, _iface):
        return self if self.gateway else None


class Host:
    def __init__(self, gateway=0, dns=(), dhcp=None):
        self.routes = Routes(gateway)
        self.dns = list(dns)
        self._dhcp = dhcp

    def dhcp(self, _iface):
        return self._dhcp


def test_describe():
    i = Iface()
    mac = "eth0 virtio-net 52:54:00:12:34:56"
    assert boot.describe(i, Host()) == mac + " no address"
    waiting = boot.describe(i, Host(dhcp=object()))
    assert waiting.endswith("no DHCP answer yet, still asking")
    i.addr = addr.parse("10.0.2.15")
    i.prefix = 24
    assert boot.describe(i, Host()) == mac + " 10.0.2.15/24"
    gateway, dns = addr.parse("10.0.2.2"), [addr.parse("10.0.2.3")]
    assert boot.describe(i, Host(gateway, dns)) == (mac + " 10.0.2.15/24 gw 10.0.2.2 dns 10.0.2.3")
    i.up = False
    assert boot.describe(i, Host()) == mac + " no link"


def test_waiting_for_a_lease_ends():
    with World() as w:
        cfg, _ = config.parse("ip=dhcp")
        i = Iface()
        w.rt.host.interfaces.append(i)
        i.poll = lambda now, budget: 0
        i.enabled = True
        i.device.link_up = True
        i.device.flush = lambda: None
        i.device.sleep = lambda: False
        i.device.poll_at = lambda: 1 << 60
        t = w.hw.t
        boot.wait_for_lease(w.rt, cfg)
        assert 2000000 <= w.hw.t - t < 2100000
        i.addr = 1
        t = w.hw.t
        boot.wait_for_lease(w.rt, cfg)
        assert w.hw.t == t
        cfg, _ = config.parse("ip=none")
        i.addr = 0
        boot.wait_for_lease(w.rt, cfg)
        assert w.hw.t == t


class Machine:
    """hw as run_main uses it."""

    def __init__(self):
        self.exits = []

    def exit(self, n):
        self.exits.append(n)


def run_main(cmdline, outcome):
    """Run boot.run_main with the program replaced. The statuses that the machine exited with."""
    hw = Machine()
    before = boot.run, sys.print_exception if hasattr(sys, "print_exception") else None

    def run(kind, what):
        return outcome()

    boot.run = run
    if before[1] is None:
        sys.print_exception = lambda e: None
    try:
        with World() as w:
            boot.run_main(hw, config.parse(cmdline)[0], False, w.rt)
            assert not w.rt.in_main
    finally:
        boot.run = before[0]
        if before[1] is None:
            del sys.print_exception
    return hw.exits


def test_how_a_program_ends():
    def fails():
        raise ValueError("said by a test")

    for cmdline, outcome, exits in (
        ("", lambda: True, []),
        ("exit=1", lambda: True, [0]),
        ("exit=1", lambda: False, []),  # there is none: the prompt
        ("", fails, []),
        ("exit=1", fails, [1]),
    ):
        assert run_main(cmdline, outcome) == exits, cmdline

    def leaves():
        raise SystemExit(3)

    try:
        run_main("", leaves)
        raise AssertionError
    except SystemExit:
        pass  # firmware/main.c ends the machine with it


def test_what_is_run():
    assert boot.find_main(config.parse("")[0], False) == ("frozen", "main")
    kind, what = boot.find_main(config.parse("main=no.such_module")[0], False)
    assert (kind, what) == ("module", "no.such_module")
