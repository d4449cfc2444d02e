"""QEMU's ACPI hot-plug registers as its specification has them, and what the driver does there."""

import pytest

from drivers import hotplug

PC = (0xAE00, 0xAFE0, 0xAFE2)
Q35 = (0x0CC0, 0x0620, 0x0628)


class Function:
    def __init__(self, vendor, device, bridge=False):
        self.vendor, self.device, self._bridge = vendor, device, bridge

    def is_bridge(self):
        return self._bridge


class Ports:
    """The registers: `down` is {bus: slots that are to go}, `ejected` what was let go."""

    def __init__(self, registers, status, enable, lines=True):
        self.registers, self.status_at, self.enable_at = registers, status, enable
        self.status, self.enable, self.bus = 0xFF, 0x40, 0
        self.down, self.ejected = {}, []
        self.count, self.masked, self.lines = 0, False, lines

    def inb(self, port):
        return {self.status_at: self.status, self.enable_at: self.enable}[port]

    def outb(self, port, v):
        if port == self.status_at:
            self.status &= ~v
        else:
            assert port == self.enable_at
            self.enable = v

    def outl(self, port, v):
        if port == self.registers + 16:
            self.bus = v
        else:
            assert port == self.registers + 8 and v & (v - 1) == 0 and self.down[self.bus] & v
            self.down[self.bus] &= ~v
            self.ejected.append((self.bus, v))

    def inl(self, port):
        assert port == self.registers + 4
        return self.down.get(self.bus, 0)

    def irq_line(self, line):
        if not self.lines:
            raise ValueError
        assert line == 9
        return 0x29

    def irq_count(self, vector):
        assert vector == 0x29
        return self.count

    def irq_unmask(self, line):
        assert line == 9 and not self.status, "the event is still there"
        self.masked = False

    def event(self):
        self.status |= 2
        self.count += 1
        self.masked = True


@pytest.mark.parametrize("device, where", [(0x7113, PC), (0x2918, Q35)], ids=["pc", "q35"])
def test_what_is_to_be_pulled_is_let_go(device, where):
    hw = Ports(*where)
    functions = [Function(0, 0), Function(0x8086, device), Function(0x1B36, 0xC, True)]
    found = hotplug.find(hw, functions)
    calls = []
    found.pulled = lambda: calls.append(list(hw.ejected))
    assert hw.enable == 0x42 and hw.status == 0
    found.on_interrupt()
    assert not calls and not hw.masked
    hw.down = {0: 1 << 3 | 1 << 31, 1: 1, 2: 0xFF}
    hw.event()
    found.on_interrupt()
    assert calls == [[(0, 1 << 3), (0, 1 << 31), (1, 1)]] and not hw.masked
    found.on_interrupt()
    hw.event()
    found.on_interrupt()
    assert len(calls) == 1 and not hw.masked


def test_without_chipset_or_line_there_is_none():
    assert hotplug.find(Ports(*PC), [Function(0x8086, 0x1234)]) is None
    assert hotplug.find(Ports(*PC, lines=False), [Function(0x8086, 0x7113)]) is None
