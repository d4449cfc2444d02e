"""fw_cfg against a model of its ports: with DMA and without."""

import struct

import pytest

from drivers.device import DeviceError
from drivers.fw_cfg import FwCfg
from tests.device.machine import Machine


class Ports(Machine):
    """A machine with QEMU's fw_cfg at 0x510."""

    def __init__(self, files, dma=True, there=True, count=None, wrong=False):
        super().__init__()
        self.there, self.wrong, self.accesses = there, wrong, 0
        count = len(files) if count is None else count
        listing = struct.pack(">I", count)
        self.items = {0: b"QEMU", 1: struct.pack("<I", 3 if dma else 1)}
        for i, (name, data) in enumerate(files.items()):
            size = data if isinstance(data, int) else len(data)
            listing += struct.pack(">IHH56s", size, 0x20 + i, 0, name.encode())
            self.items[0x20 + i] = b"" if isinstance(data, int) else data
        self.items[0x19] = listing
        self.item, self.cursor, self.high = b"", 0, 0

    def outw(self, port, v):
        if port != 0x510:
            return super().outw(port, v)
        self.item, self.cursor = self.items.get(v, b""), 0

    def inb(self, port):
        assert port == 0x511
        self.accesses += 1
        v = self.item[self.cursor] if self.cursor < len(self.item) else 0
        self.cursor += 1
        return v if self.there else 0xFF

    def outl(self, port, v):
        if port == 0x514:
            self.high = int.from_bytes(v.to_bytes(4, "little"), "big")
        elif port == 0x518:
            self._dma(self.high << 32 | int.from_bytes(v.to_bytes(4, "little"), "big"))
        else:
            super().outl(port, v)

    def _dma(self, where):
        self.accesses += 1
        control, n, at = struct.unpack(">IIQ", self.at(where, 16))
        assert control & 0xFFFF == 8 | 2
        item = self.items.get(control >> 16, b"")
        if not self.wrong:
            self.at(at, n)[:] = item[:n] + bytes(n - len(item[:n]))
        self.put(where, 4, 1 << 24 if self.wrong else 0)


FILES = {"etc/e820": b"x" * 40, "opt/org.barewire/name": b"pearl", "opt/empty": b"", "n" * 55: b"1"}


@pytest.mark.parametrize("dma", [True, False])
def test_files(dma):
    m = Ports(FILES, dma)
    f = FwCfg(_Hw(m))
    assert f.names() == sorted(FILES)
    for name, data in FILES.items():
        assert f.read(name) == data
    assert (m.accesses < 20) == dma
    with pytest.raises(OSError) as e:
        f.read("opt/other")
    assert e.value.args[0] == 2


class _Hw:
    """The machine as the driver has it."""

    def __init__(self, m):
        self.outw, self.outl, self.inb, self.addr = m.outw, m.outl, m.inb, m.addr


def test_not_there():
    with pytest.raises(DeviceError):
        FwCfg(_Hw(Ports({}, there=False)))


def test_limits():
    with pytest.raises(OSError) as e:
        FwCfg(_Hw(Ports({"opt/big": (4 << 20) + 1}))).read("opt/big")
    assert e.value.args[0] == 27
    with pytest.raises(DeviceError):
        FwCfg(_Hw(Ports({}, count=1025))).names()


def test_an_error_of_the_dma():
    m = Ports(FILES)
    f = FwCfg(_Hw(m))
    m.wrong = True
    with pytest.raises(OSError):
        f.names()
