"""Cards that are pulled while the machine runs: QEMU's ACPI hot-plug registers.

QEMU asks the guest before it takes a PCI function away (`device_del`): a bit in the register
"down" of the function's bus, and the line 9, by the general purpose event 1. The guest lets it
go by a write to "eject". What ACPI's tables would tell is fixed for QEMU's two chipsets
(QEMU, docs/specs/acpi_pci_hotplug; ACPI 6.4, 4.8.4.1: a status bit is cleared by writing it).

Not implemented: cards that are plugged in, PCIe's native hot plug, other chipsets.
"""

from micropython import const

# (vendor, device) of the function that has the chipset's ACPI: (hot-plug registers, status of
# the general purpose events, where their enable bits lie).
_CHIPSETS = {
    (0x8086, 0x7113): (0xAE00, 0xAFE0, 0xAFE2),  # PIIX4, `pc`
    (0x8086, 0x2918): (0x0CC0, 0x0620, 0x0628),  # ICH9, `q35`
}
_DOWN, _EJECT, _SELECT = const(4), const(8), const(16)
_EVENT_PCI = const(2)
_LINE = const(9)


class Hotplug:
    """`on_interrupt` lets go of what is to be pulled, and then calls `pulled()`."""

    def __init__(self, hw, registers, status, enable, buses):
        self._hw = hw
        self._registers = registers
        self._status = status
        self._buses = buses
        self._irq_count = hw.irq_count
        self.pulled = None
        hw.outb(status, 0xFF)
        hw.outb(enable, hw.inb(enable) | _EVENT_PCI)
        self._vector = hw.irq_line(_LINE)
        self._seen = -1

    def on_interrupt(self):
        n = self._irq_count(self._vector)
        if n == self._seen:
            return
        self._seen = n
        hw = self._hw
        hw.outb(self._status, hw.inb(self._status))
        ejected = False
        for bus in range(self._buses):
            hw.outl(self._registers + _SELECT, bus)
            slots = hw.inl(self._registers + _DOWN)
            while slots:
                slot = slots & -slots
                slots ^= slot
                hw.outl(self._registers + _EJECT, slot)
                ejected = True
        hw.irq_unmask(_LINE)
        if ejected and self.pulled is not None:
            self.pulled()


def find(hw, functions):
    """The Hotplug of this machine, or None where there is no such chipset or line."""
    for f in functions:
        where = _CHIPSETS.get((f.vendor, f.device))
        if where is not None:
            # Each bus has a number of its own here, whatever its number is in PCI.
            buses = 1 + sum([1 for g in functions if g.vendor and g.is_bridge()])
            try:
                return Hotplug(hw, *where, buses)
            except (OSError, ValueError):
                return None
    return None
