"""Virtio 1.x over PCI (virtio 1.2, section 4.1).

A transport as `drivers/virtio/__init__.py` describes it.

Not implemented: devices without virtio 1.x ("legacy"), capabilities in I/O BARs.
"""

from micropython import const

from drivers import pci
from drivers.device import DeviceError

VENDOR = const(0x1AF4)
# 4.1.2.1: 0x1040 + device type; the transitional ones have numbers of their own.
_MODERN = const(0x1040)
_TRANSITIONAL = {0x1000: 1, 0x1001: 2, 0x1003: 3, 0x1005: 4}

# struct virtio_pci_cap, 4.1.4
_CAP_LEN = const(2)
_CAP_TYPE = const(3)
_CAP_BAR = const(4)
_CAP_OFFSET = const(8)
_CAP_LENGTH = const(12)
_CAP_MULTIPLIER = const(16)

_COMMON = const(1)
_NOTIFY = const(2)
_ISR = const(3)
_DEVICE = const(4)
# The least that each structure must hold.
_LEAST = {_COMMON: 56, _NOTIFY: 2, _ISR: 1, _DEVICE: 1}
# The device's own, by device type: of a network card through mtu, of a disk its capacity.
_LEAST_CONFIG = {1: 12, 2: 8}
_NAMES = {_COMMON: "common", _NOTIFY: "notify", _ISR: "isr", _DEVICE: "device"}

# struct virtio_pci_common_cfg, 4.1.4.3
_DEVICE_FEATURE_SELECT = const(0)
_DEVICE_FEATURE = const(4)
_DRIVER_FEATURE_SELECT = const(8)
_DRIVER_FEATURE = const(12)
_CONFIG_VECTOR = const(16)
_NUM_QUEUES = const(18)
_STATUS = const(20)
_GENERATION = const(21)
_QUEUE_SELECT = const(22)
_QUEUE_SIZE = const(24)
_QUEUE_VECTOR = const(26)
_QUEUE_ENABLE = const(28)
_QUEUE_NOTIFY_OFF = const(30)
_QUEUE_DESC = const(32)
_QUEUE_DRIVER = const(40)
_QUEUE_DEVICE = const(48)

_NO_VECTOR = const(0xFFFF)
_ISR_CONFIG = const(2)

_RESET_US = const(1_000_000)
_GENERATION_TRIES = const(64)


def kind(function):
    """The device type, or 0 if the function is no virtio device."""
    if function.vendor != VENDOR:
        return 0
    if _MODERN < function.device <= _MODERN + 0x3F:
        return function.device - _MODERN
    return _TRANSITIONAL.get(function.device, 0)


class PciTransport:
    """DeviceError if the function is not a virtio 1.x device with sane capabilities."""

    legacy = False

    def __init__(self, hw, function):
        self._hw = hw
        self._function = function
        self.kind = kind(function)
        self._msix = None
        self.vector = -1  # CPU vector of configuration changes; -1 without MSI-X
        self.seen = 0  # its hw.irq_count when last asked
        self._line = -1
        self.interrupts = "none"
        self.notify = hw.write16  # 4.1.5.2: the queue's index in 16 bits
        self._find_structures()
        function.enable()

    # ---- 4.1.4: where the structures lie ----

    def _find_structures(self):
        f = self._function
        where = {}
        for cap in f.capabilities(pci.CAP_VENDOR):
            kind = f.read8(cap + _CAP_TYPE)
            # "The driver SHOULD use the first instance of each structure type it can support."
            if kind not in _LEAST or kind in where:
                continue
            length = f.read8(cap + _CAP_LEN)
            if length < (20 if kind == _NOTIFY else 16) or cap + length > 256:
                raise DeviceError("virtio: %s capability of %d bytes" % (_NAMES[kind], length))
            bar = f.read8(cap + _CAP_BAR)
            # "The driver MUST ignore any [...] bar value larger than 0x5": reserved.
            if bar > 5 or f.bar(bar) is None:
                continue
            n = f.read32(cap + _CAP_LENGTH)
            if n < (_LEAST_CONFIG.get(self.kind, 1) if kind == _DEVICE else _LEAST[kind]):
                raise DeviceError("virtio: %s structure of %d bytes" % (_NAMES[kind], n))
            where[kind] = f.region(bar, f.read32(cap + _CAP_OFFSET), n)
            if kind == _NOTIFY:
                self._notify_len = n
                self._multiplier = f.read32(cap + _CAP_MULTIPLIER)
        for kind in _LEAST:
            if kind not in where:
                if f.device < _MODERN:
                    raise DeviceError("virtio: a legacy-only device; virtio 1.x is needed")
                raise DeviceError("virtio: no %s structure in memory" % _NAMES[kind])
        self._common = where[_COMMON]
        self._notify = where[_NOTIFY]
        self._isr = where[_ISR]
        self._device = where[_DEVICE]

    # ---- 2.1, 4.1.4.3: status ----

    def status(self):
        return self._hw.read8(self._common + _STATUS)

    def add_status(self, bits):
        self._hw.write8(self._common + _STATUS, self.status() | bits)

    def reset(self):
        """4.1.4.3.2: write 0, then wait until it reads 0. False after a second."""
        hw = self._hw
        hw.write8(self._common + _STATUS, 0)
        until = hw.ticks_us() + _RESET_US
        while self.status():
            if hw.ticks_us() >= until:
                return False
        return True

    # ---- 2.2: features ----

    def features(self):
        hw, c = self._hw, self._common
        hw.write32(c + _DEVICE_FEATURE_SELECT, 0)
        low = hw.read32(c + _DEVICE_FEATURE)
        hw.write32(c + _DEVICE_FEATURE_SELECT, 1)
        return hw.read32(c + _DEVICE_FEATURE) << 32 | low

    def accept(self, features):
        hw, c = self._hw, self._common
        hw.write32(c + _DRIVER_FEATURE_SELECT, 0)
        hw.write32(c + _DRIVER_FEATURE, features & 0xFFFFFFFF)
        hw.write32(c + _DRIVER_FEATURE_SELECT, 1)
        hw.write32(c + _DRIVER_FEATURE, features >> 32)

    # ---- 4.1.5.1.3: queues ----

    def queue_count(self):
        return self._hw.read16(self._common + _NUM_QUEUES)

    def queue_size(self, index):
        """The largest size that the device takes; 0 if it has no such queue."""
        self._hw.write16(self._common + _QUEUE_SELECT, index)
        return self._hw.read16(self._common + _QUEUE_SIZE)

    def set_queue(self, q, entry):
        """Switch on a queue; `entry` of the MSI-X table signals it. Sets q.notify_at."""
        hw, c = self._hw, self._common
        hw.write16(c + _QUEUE_SELECT, q.index)
        hw.write16(c + _QUEUE_SIZE, q.size)
        self._set_vector(_QUEUE_VECTOR, entry)
        self._write64(_QUEUE_DESC, q.desc)
        self._write64(_QUEUE_DRIVER, q.desc + q.avail)
        self._write64(_QUEUE_DEVICE, q.desc + q.used)
        # 4.1.4.4: cap.offset + queue_notify_off * notify_off_multiplier
        off = hw.read16(c + _QUEUE_NOTIFY_OFF) * self._multiplier
        if off + 2 > self._notify_len:
            raise DeviceError("virtio: queue %d is notified outside of its structure" % q.index)
        q.notify_at = self._notify + off
        hw.write16(c + _QUEUE_ENABLE, 1)

    def _write64(self, off, v):
        self._hw.write32(self._common + off, v & 0xFFFFFFFF)
        self._hw.write32(self._common + off + 4, v >> 32)

    # ---- 2.5, 4.1.4.6: configuration space ----

    def config16(self, off):
        return self._hw.read16(self._device + off)

    def config_bytes(self, off, n):
        """n bytes that belong together: read again while the generation changes. 2.5.1."""
        for _ in range(_GENERATION_TRIES):
            before = self._hw.read8(self._common + _GENERATION)
            value = bytes([self._hw.read8(self._device + off + i) for i in range(n)])
            if self._hw.read8(self._common + _GENERATION) == before:
                return value
        raise DeviceError("virtio: the configuration never holds still")

    # ---- 4.1.5.1.2, 4.1.5.3: interrupts ----

    def set_interrupts(self, queues=2):
        """MSI-X entries for the configuration and each queue, as far as there are any; else INTx.

        Returns the queues' entries, _NO_VECTOR without MSI-X. Call after reset.
        """
        hw = self._hw
        entries = self._set_msix(queues)
        if entries:
            return entries
        self._line = line = self._function.interrupt_line()
        if line >= 0:
            hw.read8(self._isr)
            try:
                hw.irq_line(line)
                self.interrupts = "intx"
            except (OSError, ValueError):
                self._line = -1
        return [_NO_VECTOR] * queues

    def _set_msix(self, queues):
        """The queues' entries, or None where MSI-X is not to be had."""
        self._msix = m = pci.msix(self._function)
        if m is None:
            return None
        vectors = self._take_vectors(m, queues + 1)
        if vectors:
            m.enable()
            try:
                self._set_vector(_CONFIG_VECTOR, 0)
                self.vector = vectors[0]
                self.seen = self._hw.irq_count(vectors[0])
                self.interrupts = "msix"
                last = len(vectors) - 1
                return [min(1 + i, last) for i in range(queues)]
            except DeviceError:
                pass
        m.disable()
        self._msix = None
        return None

    def _take_vectors(self, m, wanted):
        vectors = []
        try:
            while len(vectors) < min(wanted, m.count):
                vector, address, data = self._hw.irq_vector()
                m.set(len(vectors), address, data)
                vectors.append(vector)
        except OSError:
            pass  # no more vectors: those that we have are shared
        return vectors

    def _set_vector(self, register, entry):
        if self._msix is None:
            return
        at = self._common + register
        self._hw.write16(at, entry)
        # "the driver MUST verify success by reading the Vector value back"
        if self._hw.read16(at) != entry:
            raise DeviceError("virtio: the device has no room for MSI-X vector %d" % entry)

    def config_changed(self):
        hw = self._hw
        if self.vector >= 0:
            n = hw.irq_count(self.vector)
            if n == self.seen:
                return False
            self.seen = n
            return True
        isr = hw.read8(self._isr)  # reading acknowledges, 4.1.4.5
        if self._line >= 0:
            hw.irq_unmask(self._line)
        return isr & _ISR_CONFIG != 0

    def gone(self):
        """Whether the device was pulled."""
        return self._function.gone()

    def close(self):
        self._function.disable()
        if self._msix is not None:
            self._msix.disable()
