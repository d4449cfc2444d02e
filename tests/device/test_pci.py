"""The PCI bus where no firmware was: addresses for BARs, windows for bridges."""

import pytest

from drivers import pci
from drivers.device import DeviceError
from tests.device.machine import Machine, PciFunction
from tests.device.virtio_model import VirtioNetModel

WINDOW, END = 0xE000_0000, 0xFEC0_0000


class Bridge(PciFunction):
    """A PCI-to-PCI bridge with a BAR of its own, closed as after a reset."""

    def __init__(self, machine, at, secondary):
        super().__init__(machine, at, 0x1B36, 0x000C, 0x0604, header=1)
        self.add_bar(0, 0, 0x1000, False, None, None)
        self.set(0x19, 1, secondary)
        self.set(0x20, 4, 0x0000FFF0)
        # A bridge has two BARs; behind them lies what must not be taken for more.
        self.set(0x24, 4, 0x0001FFF1)

    def config_write(self, off, n, v):
        if off == 0x20:
            assert n == 4
            self.set(0x20, 4, v & 0xFFF0FFF0)
        else:
            assert not 0x18 <= off < 0x34, "write to 0x%x of a bridge" % off
            super().config_write(off, n, v)

    def window(self):
        base, limit = self.get(0x20, 2) << 16, (self.get(0x22, 2) << 16) + 0x100000
        return (base, limit) if base < limit else None


def placed(machine):
    """[(start, end, bus)] of every BAR that has an address, in order."""
    out = []
    for (bus, dev, fn), f in machine.functions.items():
        for i, (address, size) in enumerate(b or (0, 0) for b in function(machine, bus, dev, fn)):
            if address:
                assert address % size == 0 and f.bars[i][0] == size
                out.append((address, address + size, bus))
    return sorted(out)


def function(machine, bus, dev, fn):
    return pci.function(machine, bus, dev, fn).bars()


def plain(machine, at, *sizes):
    f = PciFunction(machine, at, 0x8086, 0x100E)
    for i, size in enumerate(sizes):
        if size:
            f.add_bar(i, 0, size, False, None, None)
    return f


def test_every_bar_gets_a_place_of_its_own():
    m = Machine()
    plain(m, (0, 0, 0))
    plain(m, (0, 2, 0), 0x20000, 0x10, 0, 0x1000)
    VirtioNetModel(m, at=(0, 3, 0), bar=0)
    m.functions[0, 3, 0].set(0x14, 4, 0)  # nor has the table of MSI-X an address
    wide = plain(m, (0, 4, 0))
    wide.add_bar(2, 0, 64 << 20, True, None, None)
    pci.scan(m)
    all_of_them = placed(m)
    assert len(all_of_them) == 6
    assert all_of_them[0][0] >= WINDOW and all_of_them[-1][1] <= END
    for (_, end, _), (start, _, _) in zip(all_of_them, all_of_them[1:], strict=False):
        assert end <= start
    assert function(m, 0, 4, 0)[2][1] == 64 << 20


def test_a_card_works_where_no_firmware_was():
    from tests.device.test_virtio_net import start

    m = Machine()
    model = VirtioNetModel(m, at=(0, 3, 0), bar=0)
    model.set(0x14, 4, 0)
    assert start(m).mac == model.mac and model.status == 15


def test_bridges_pass_on_what_lies_behind_them():
    m = Machine()
    plain(m, (0, 1, 0), 0x1000)
    outer = Bridge(m, (0, 2, 0), 3)
    inner = Bridge(m, (3, 0, 0), 4)
    empty = Bridge(m, (0, 5, 0), 7)
    plain(m, (3, 1, 0), 0x4000)
    plain(m, (4, 0, 0), 0x400000, 0x1000)
    after = plain(m, (0, 6, 0), 0x2000)
    pci.scan(m)
    for start, end, bus in placed(m):
        for bridge, buses in ((outer, (3, 4)), (inner, (4,))):
            low, high = bridge.window()
            assert low % 0x100000 == 0
            # Inside for its own buses; and nobody else's in its window.
            assert (low <= start and end <= high) if bus in buses else (end <= low or start >= high)
    # One after another on a bus: what sits behind `outer` in the scan lies behind its window.
    assert after.get(0x10, 4) >= outer.window()[1]
    # A closed bridge stays closed, an open one passes memory and lets what is behind it master.
    # (The BAR of the closed one is a BAR like others.)
    assert empty.window() is None and empty.get(0x10, 4)
    assert outer.get(4, 2) & 6 == 6 and inner.get(4, 2) & 6 == 6 and empty.get(4, 2) & 6 == 0


def test_what_has_no_room_has_no_address():
    m = Machine()
    f = plain(m, (0, 1, 0), 0x1000)
    f.add_bar(2, 0, 8 << 30, True, None, None)
    plain(m, (0, 2, 0), 0x1000)
    scanned = pci.scan(m)
    with pytest.raises(DeviceError, match="BAR 2 has no address"):
        scanned[0].bar(2)
    assert len(placed(m)) == 2


@pytest.mark.parametrize("address", [0xFEBF_0000, 0x8_0000_0000], ids=hex)
def test_where_a_firmware_was_nothing_is_moved(address):
    m = Machine()
    plain(m, (0, 1, 0), 0x1000)
    f = PciFunction(m, (0, 2, 0), 0x8086, 0x10D3)
    f.add_bar(0, address, 0x4000, address >> 32 != 0, None, None)
    pci.scan(m)
    assert [p[0] for p in placed(m)] == [address]


def test_a_bridge_to_its_own_bus_is_no_loop():
    m = Machine()
    Bridge(m, (0, 1, 0), 1)
    Bridge(m, (1, 0, 0), 1)
    plain(m, (1, 1, 0), 0x1000)
    pci.scan(m)
    assert len(placed(m)) == 3
