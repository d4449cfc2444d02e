"""Virtio over MMIO (virtio 1.2, section 4.2): the devices of QEMU's machine `microvm`.

There is no bus to ask. A device is named on the kernel command line, as Linux has it
and QEMU's microvm writes it without ACPI (`virtio_mmio.device=512@0xfeb00e00:12`);
or, where there is no PCI either, found by its magic at the places that microvm has
for it: 512 bytes each from 0xfeb00000 on, which QEMU fills from the last one down.

Of the registers every access has 32 bits, but for the device's configuration (4.2.2.2).
QEMU's devices are legacy ones (4.2.4, version 1) unless it was told
`-global virtio-mmio.force-legacy=false`. Both kinds are driven.

Not implemented: shared memory regions (4.2.2), resetting one queue (2.6.1).
"""

from micropython import const

from drivers.device import DeviceError

# 4.2.2
_MAGIC = const(0x000)
_VERSION = const(0x004)
_DEVICE_ID = const(0x008)
_DEVICE_FEATURES = const(0x010)
_DEVICE_FEATURES_SEL = const(0x014)
_DRIVER_FEATURES = const(0x020)
_DRIVER_FEATURES_SEL = const(0x024)
_QUEUE_SEL = const(0x030)
_QUEUE_NUM_MAX = const(0x034)
_QUEUE_NUM = const(0x038)
_QUEUE_READY = const(0x044)
_QUEUE_NOTIFY = const(0x050)
_INTERRUPT_STATUS = const(0x060)
_INTERRUPT_ACK = const(0x064)
_STATUS = const(0x070)
_QUEUE_DESC = const(0x080)
_QUEUE_DRIVER = const(0x090)
_QUEUE_DEVICE = const(0x0A0)
_GENERATION = const(0x0FC)
_CONFIG = const(0x100)
# 4.2.4, legacy only
_GUEST_PAGE_SIZE = const(0x028)
_QUEUE_ALIGN = const(0x03C)
_QUEUE_PFN = const(0x040)

_MAGIC_VALUE = const(0x74726976)  # "virt"
_CONFIG_CHANGED = const(2)
_PAGE = const(4096)
_ALIGN = const(64)  # where ring.Queue puts the used ring

_RESET_US = const(1_000_000)
_GENERATION_TRIES = const(64)
_QUEUES_MAX = const(64)

# QEMU's microvm: 8 transports whose lines the command line gives, or 24 on the second
# IOAPIC, whose lines begin at 24.
_MICROVM = const(0xFEB00000)
_SLOT = const(512)
_SLOTS = const(24)
_FEW = const(8)
_LINE_SECOND_IOAPIC = const(24)


class Slot:
    """A place with a device: `base`, `line` (-1: not known), `version`, `kind`."""

    vendor = device = 0  # of PCI

    __slots__ = ("base", "line", "version", "kind")

    def __init__(self, hw, base, line):
        self.base = base
        self.line = line
        self.version = hw.read32(base + _VERSION)
        self.kind = hw.read32(base + _DEVICE_ID)

    def __str__(self):
        return "mmio 0x%x" % self.base


def scan(hw, named, probe):
    """The Slots with a device in them, the first that QEMU filled first.

    named: (base, line) pairs of the command line. probe: look at microvm's places too,
    which on another machine may be anything.
    """
    found = []
    places = []
    for base, line in named:
        places.append((base, line))
    if probe and not named:
        # Filled from the last one down: if the last of 8 is taken, there are no more than 8. (It
        # would take 17 devices to be mistaken.) A read of where nothing is, is a guest's error.
        last = _MICROVM + (_FEW - 1) * _SLOT
        many = not hw.read32(last + _DEVICE_ID) and hw.read32(last + _SLOT) == _MAGIC_VALUE
        for i in range(_SLOTS if many else _FEW):
            places.append((_MICROVM + i * _SLOT, _LINE_SECOND_IOAPIC + i if many else -1))
    places.sort()
    for base, line in reversed(places):
        # "the driver MUST ignore a device with DeviceID 0x0", 4.2.3.1.1: an empty slot.
        if hw.read32(base) == _MAGIC_VALUE and hw.read32(base + _DEVICE_ID):
            found.append(Slot(hw, base, line))
    return found


class MmioTransport:
    """A transport of `drivers.virtio`. DeviceError if the version is neither 1 nor 2."""

    def __init__(self, hw, slot):
        # 4.2.3.1.1: "the driver [...] MUST ignore a device with [...] a version" it does not know
        if slot.version not in (1, 2):
            raise DeviceError("virtio: a device of MMIO version %d" % slot.version)
        self._hw = hw
        self._base = slot.base
        self._slot_line = slot.line
        self.kind = slot.kind
        self.legacy = slot.version == 1
        self.vector = -1
        self.seen = 0
        self._line = -1
        self.interrupts = "none"
        self.notify = hw.write32  # 4.2.3.3: the queue's index

    def _read(self, register):
        return self._hw.read32(self._base + register)

    def _write(self, register, v):
        self._hw.write32(self._base + register, v)

    # ---- 2.1: status ----

    def status(self):
        return self._read(_STATUS)

    def add_status(self, bits):
        self._write(_STATUS, self.status() | bits)

    def reset(self):
        """Write 0, then wait until it reads 0. False after a second."""
        hw = self._hw
        self._write(_STATUS, 0)
        until = hw.ticks_us() + _RESET_US
        while self.status():
            if hw.ticks_us() >= until:
                return False
        if self.legacy:
            # 4.2.4: "The driver [...] MUST write [GuestPageSize] during initialization"
            self._write(_GUEST_PAGE_SIZE, _PAGE)
        return True

    # ---- 2.2: features ----

    def features(self):
        self._write(_DEVICE_FEATURES_SEL, 0)
        low = self._read(_DEVICE_FEATURES)
        if self.legacy:
            return low
        self._write(_DEVICE_FEATURES_SEL, 1)
        return self._read(_DEVICE_FEATURES) << 32 | low

    def accept(self, features):
        self._write(_DRIVER_FEATURES_SEL, 0)
        self._write(_DRIVER_FEATURES, features & 0xFFFFFFFF)
        if not self.legacy:
            self._write(_DRIVER_FEATURES_SEL, 1)
            self._write(_DRIVER_FEATURES, features >> 32)

    # ---- 4.2.3.2: queues ----

    def queue_count(self):
        n = 0
        while n < _QUEUES_MAX and self.queue_size(n):
            n += 1
        return n

    def queue_size(self, index):
        """The largest size that the device takes; 0 if it has no such queue."""
        self._write(_QUEUE_SEL, index)
        return self._read(_QUEUE_NUM_MAX)

    def set_queue(self, q, entry):
        """Switch on a queue. Sets q.notify_at."""
        w = self._write
        w(_QUEUE_SEL, q.index)
        w(_QUEUE_NUM, q.size)
        q.notify_at = self._base + _QUEUE_NOTIFY
        if self.legacy:
            w(_QUEUE_ALIGN, _ALIGN)
            w(_QUEUE_PFN, q.desc // _PAGE)
            return
        self._write64(_QUEUE_DESC, q.desc)
        self._write64(_QUEUE_DRIVER, q.desc + q.avail)
        self._write64(_QUEUE_DEVICE, q.desc + q.used)
        w(_QUEUE_READY, 1)

    def _write64(self, register, v):
        self._write(register, v & 0xFFFFFFFF)
        self._write(register + 4, v >> 32)

    # ---- 2.5: configuration space ----

    def config16(self, off):
        return self._hw.read16(self._base + _CONFIG + off)

    def config_bytes(self, off, n):
        """n bytes that belong together: read again while the generation changes. 2.5.1."""
        for _ in range(_GENERATION_TRIES):
            before = 0 if self.legacy else self._read(_GENERATION)
            at = self._base + _CONFIG + off
            value = bytes([self._hw.read8(at + i) for i in range(n)])
            if self.legacy or self._read(_GENERATION) == before:
                return value
        raise DeviceError("virtio: the configuration never holds still")

    # ---- 4.2.3.4: the interrupt ----

    def set_interrupts(self, queues=2):
        """The device's one line, if it is known. Call after reset."""
        hw = self._hw
        if self._slot_line >= 0:
            self._write(_INTERRUPT_ACK, self._read(_INTERRUPT_STATUS))
            try:
                self.vector = hw.irq_line(self._slot_line)
                self._line = self._slot_line
                self.seen = hw.irq_count(self.vector)
                self.interrupts = "line"
            except (OSError, ValueError):
                pass  # no such line: the host polls
        return (0,) * queues

    def config_changed(self):
        hw = self._hw
        if self.vector >= 0:
            n = hw.irq_count(self.vector)
            if n == self.seen:
                return False
            self.seen = n
        status = self._read(_INTERRUPT_STATUS)
        if status:
            self._write(_INTERRUPT_ACK, status)
        if self._line >= 0:
            hw.irq_unmask(self._line)
        return status & _CONFIG_CHANGED != 0

    def gone(self):
        return False  # no bus, no plug

    def close(self):
        """Nothing to do: a device that was reset neither interrupts nor touches memory."""
