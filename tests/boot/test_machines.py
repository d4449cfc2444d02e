"""Machines that are no platform: microvm without this or that, cards behind closed bridges."""

import time

import pytest

from barewire.net import UserNet
from barewire.platform import Platform

pytestmark = pytest.mark.boot

_MMIO = "virtio-net-device"
_MODERN = ("-global", "virtio-mmio.force-legacy=false")

MACHINES = {
    "microvm, legacy devices": Platform("", "microvm", _MMIO),
    "microvm without ACPI: lines from the command line": Platform(
        "", "microvm,acpi=off", _MMIO, _MODERN
    ),
    "microvm without PIC, PIT and CMOS clock, legacy devices": Platform(
        "", "microvm,acpi=off,pic=off,pit=off,rtc=off", _MMIO
    ),
    "microvm with one IOAPIC and nobody to tell the lines": Platform(
        "", "microvm,acpi=off,auto-kernel-cmdline=off", _MMIO, _MODERN
    ),
    "pc with qboot": Platform("", "pc", extra=("-bios", "qboot.rom")),
}
POLLED = "microvm with one IOAPIC and nobody to tell the lines"


def the_clock_keeps_time(guest):
    """The guest's seconds are ours, whatever its clock was measured against."""

    def reading():
        before = time.monotonic()
        ticks = guest.eval("__import__('time').ticks_us()")
        return before, ticks, time.monotonic()

    (before, first, after), last = reading(), reading()
    while last[0] - after < 0.5:
        last = reading()
    least, most = last[0] - after, last[2] - before
    assert least * 0.999 <= (last[1] - first) / 1e6 <= most * 1.001


@pytest.mark.parametrize("name", MACHINES)
def test_it_boots_and_has_a_network(rig, name):
    guest = rig.guest(net=UserNet(restrict=True), platform=MACHINES[name])
    (card,) = [i for i in guest.eval("__import__('net').interfaces()") if i["name"] == "eth0"]
    assert card["driver"] == "virtio-net" and card["ip4"] == "10.0.2.15/24"
    sent = guest.exec("import net; print(net.ping('10.0.2.2', 2, 0.01, quiet=True).received)")
    assert sent.strip() == "2"
    the_clock_keeps_time(guest)
    guest.exec("from stack.api import _runtime")
    how = guest.eval("_runtime.current().host.interface('eth0').device.interrupts")
    assert how == ("none" if name == POLLED else "msix" if "pc" in name else "line")


class BehindPort(UserNet):
    """The user network at a card behind a PCI Express port of its own."""

    def arguments(self, name):
        port = f"pcie-root-port,id=port-{name},chassis={name[3:]},slot={name[3:]}"
        self.nic["bus"] = f"port-{name}"
        return ["-device", port, *super().arguments(name)]


def test_cards_behind_bridges_that_no_firmware_opened(rig):
    nets = [BehindPort(restrict=True), BehindPort(restrict=True)]
    guest = rig.guest(net=nets, platform="q35-qboot")
    names = guest.eval("[(i['name'], i['up']) for i in __import__('net').interfaces()]")
    assert sorted(names) == [("eth0", True), ("eth1", True), ("lo", True)]
