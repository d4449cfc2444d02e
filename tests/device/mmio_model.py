"""The same virtio-net device behind MMIO registers (virtio 1.2, section 4.2), and empty slots.

As strict as the other: 32-bit accesses only but for the configuration, no register that
the version does not have, queues described before they are ready.
"""

import struct

from tests.device.virtio_model import ALL, VERSION_1, VirtioNetModel

MAGIC = 0x74726976
MICROVM = 0xFEB00000
SLOT = 512
LEGACY = ALL & ~VERSION_1

_READ = {0x10, 0x34, 0x44, 0x60, 0x70, 0xFC}
_QUEUE_HALVES = {
    0x80: "desc_lo", 0x84: "desc_hi", 0x90: "driver_lo", 0x94: "driver_hi",
    0xA0: "device_lo", 0xA4: "device_hi",
}  # fmt: skip


class EmptySlot:
    """A transport without a device: the magic, a version, and device ID 0."""

    def __init__(self, machine, base, version=2):
        self.base, self.version = base, version
        machine.functions["mmio", base] = self

    def decode(self, address, n):
        if self.base <= address and address + n <= self.base + SLOT:
            return self._read, self._write, address - self.base
        return None

    def _read(self, off, n):
        return {0: MAGIC, 4: self.version, 8: 0}[off] if n == 4 else 1 / 0

    def _write(self, off, n, v):
        raise AssertionError("write to an empty slot")

    def asserting(self, line):
        return False


class Hole:
    """Memory where nothing is: reads as 0."""

    def __init__(self, machine, base, size):
        self.base, self.size = base, size
        machine.functions["hole", base] = self

    def decode(self, address, n):
        if self.base <= address and address + n <= self.base + self.size:
            return lambda off, n: 0, None, address - self.base
        return None

    def asserting(self, line):
        return False


class MmioNetModel(VirtioNetModel):
    def __init__(self, machine, base=MICROVM, line=5, version=2, **options):
        self.base, self.version = base, version
        options.setdefault("features", ALL if version == 2 else LEGACY)
        super().__init__(machine, at=("mmio", base), msix=0, caps=False, **options)
        self.line = line

    def decode(self, address, n):
        if self.base <= address and address + n <= self.base + SLOT:
            return self._mmio_read, self._mmio_write, address - self.base
        return None

    def master(self):
        return True

    def asserting(self, line):
        return self.level and line == self.line

    def _queue(self):
        return self.queues[self.queue_select] if self.queue_select < len(self.queues) else None

    def _mmio_read(self, off, n):
        if off >= 0x100:
            config = self.mac + struct.pack("<HHH", self.link, 1, self.mtu) + bytes(52)
            if "restless" in self.lie:
                self.generation += 1
            return int.from_bytes(config[off - 0x100 : off - 0x100 + n], "little")
        assert n == 4 and off % 4 == 0, "%d bytes at 0x%x" % (n, off)
        if off < 0x10:
            return (MAGIC, self.version, 1, 0x554D4551)[off // 4]
        assert off in _READ, "read of 0x%x" % off
        assert self.version == 2 or off not in (0x44, 0xFC), "not of a legacy device"
        if off == 0x10:
            return self._common_read("device_feature")
        if off == 0x34:
            q = self._queue()
            return q.size if q else 0
        if off == 0x60:
            return self.isr
        return self._common_read("status" if off == 0x70 else "generation")

    def _mmio_write(self, off, n, v):
        assert n == 4 and off % 4 == 0, "%d bytes at 0x%x" % (n, off)
        if self.version == 1 and off in (0x14, 0x24):
            assert v == 0, "a legacy device has 32 features"
        if off == 0x14:
            self.device_feature_select = v
        elif off == 0x24:
            self.driver_feature_select = v
        elif off == 0x20:
            self._common_write("driver_feature", v)
        elif off == 0x30:
            self.queue_select = v
        elif off == 0x50:
            assert self.status & 4, "notified before DRIVER_OK"
            self.kicks[v] += 1
            self.queues[v].kicked = True
            if v == 0:
                self._unblock()
        elif off == 0x64:
            self.isr &= ~v
            self.level = self.isr != 0
        elif off == 0x70:
            self._write_status(v)
        elif off == 0x38:
            q = self._queue()
            assert v <= q.max and v & (v - 1) == 0 and v
            q.size = v
        elif self.version == 1:
            self._legacy_write(off, v)
        elif off in _QUEUE_HALVES:
            self._queue().regs[_QUEUE_HALVES[off]] = v
        else:
            assert off == 0x44, "write to 0x%x" % off
            self._common_write("queue_enable", v)

    def _legacy_write(self, off, v):
        q = self._queue()
        if off == 0x28:
            self.page = v
        elif off == 0x3C:
            q.align = v
        else:
            assert off == 0x40, "write to 0x%x" % off
            # 2.7.2 legacy: one piece, the used ring at the next multiple of the alignment.
            desc = v * self.page
            driver = desc + 16 * q.size
            device = driver + 6 + 2 * q.size + q.align - 1 & ~(q.align - 1)
            q.regs.update(desc_lo=desc, driver_lo=driver, device_lo=device)
            self._common_write("queue_enable", 1)

    def _write_status(self, v):
        if self.version == 2:
            super()._write_status(v)
            return
        if v == 0:
            self._reset()
            return
        assert v & self.status == self.status, "status bits cleared"
        assert not v & 8, "FEATURES_OK on a legacy device"
        assert not self.accepted & ~self.offered, "features that were not offered"
        if v & ~self.status & 4:
            assert all(q.enabled for q in self.queues[:2]), "DRIVER_OK too early"
        self.status = v

    def interrupt(self, entry, isr):
        self.isr |= isr
        self.level = True
        self.machine.raise_line(self.line)
