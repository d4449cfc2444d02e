"""The virtio devices that are no network cards, as one boot found them.

A driver is imported when its device is there. One that does not work is named and left out.
"""

from micropython import const

from drivers import virtio
from drivers.device import DeviceError

# A file of fw_cfg with more of the kernel command line, for a disk or ISO that has its own.
CMDLINE = "opt/org.barewire/cmdline"
# 16 bytes or more, from which the stable IPv6 addresses are made (identity.py).
SECRET6 = "opt/org.barewire/ip6-secret"
_TICK_US = const(10_000)
_LETTERS = "abcdefghijklmnopqrstuvwxyz"


class Devices:
    """at: the places of drivers.probe. disks: [VirtioBlk], consoles: [VirtioConsole], entropy:
    VirtioRng or None. volumes: {name: Volume}, filled by who mounts them. fw_cfg: FwCfg or None."""

    def __init__(self, hw, at, say, fw_cfg=None):
        self.at = at
        self.disks = []
        self.consoles = []
        self.entropy = None
        self.volumes = {}
        self.fw_cfg = fw_cfg
        for place in at:
            start = _START.get(virtio.kind(place))
            if start is not None:
                try:
                    start(self, hw, place)
                except (DeviceError, MemoryError) as e:
                    say("%s: %s" % (place, e))

    def all(self):
        """Those that may interrupt, for `on_interrupt`."""
        return self.disks + self.consoles

    def look_after(self, timers, now):
        """Have consoles looked at that may be silent: without MSI-X a PCI function's line is
        what the firmware wrote, and qboot routes none. (A disk looks for itself.)"""
        silent = [c for c in self.consoles if c.interrupts in ("none", "intx")]
        if silent:
            Ticker(silent, timers, now)

    def stop(self):
        """Before a soft reset: nothing touches memory any more but what a disk is asked for.

        Disks stay, because the collector closes files later; they do without interrupts."""
        for disk in self.disks:
            disk.halting = False
        for device in self.consoles:
            device.stop()
        if self.entropy is not None:
            self.entropy.stop()


class Ticker:
    """Looks at the devices that have no interrupt, 100 times a second. A timer of the host's."""

    def __init__(self, devices, timers, now):
        self.timer_at = 0
        self.timer_index = -1
        self._devices = devices
        self._at = now + _TICK_US
        timers.arm(self, self._at)

    def poll_at(self):
        return self._at

    def on_timer(self, now):
        for device in self._devices:
            device.on_interrupt()
        self._at = now + _TICK_US


def _disk(devices, hw, place):
    from drivers.virtio.blk import VirtioBlk

    n = len(devices.disks)
    name = "vd" + (_LETTERS[n // 26 - 1] if n >= 26 else "") + _LETTERS[n % 26]
    devices.disks.append(VirtioBlk(hw, virtio.transport(hw, place), name))


def _console(devices, hw, place):
    from drivers.virtio.console import VirtioConsole

    name = "hvc%d" % len(devices.consoles)
    devices.consoles.append(VirtioConsole(hw, virtio.transport(hw, place), name))


def _entropy(devices, hw, place):
    from drivers.virtio.rng import VirtioRng

    if devices.entropy is None:
        devices.entropy = VirtioRng(hw, virtio.transport(hw, place))


_START = {virtio.BLOCK: _disk, virtio.CONSOLE: _console, virtio.ENTROPY: _entropy}


def firmware_files(hw):
    """QEMU's fw_cfg, or None where it is not."""
    from drivers.fw_cfg import FwCfg

    try:
        return FwCfg(hw)
    except DeviceError:
        return None
