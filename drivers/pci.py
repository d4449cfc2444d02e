"""PCI: configuration space by ports 0xCF8/0xCFC, the bus scan, capabilities, BARs, MSI-X.

Where the firmware gave no function an address (qboot), `scan` does: `_assign`.

PCI Local Bus 3.0: 3.2.2.3.2 (configuration mechanism 1), 6.1 (header), 6.2.5
(base addresses), 6.7 (capabilities), 6.8.2 (MSI-X). PCI-to-PCI Bridge 1.2: 3.2.5.

Not implemented: bus numbers that no firmware gave to bridges, BARs beyond the window
that `_assign` fills, I/O BARs; memory-mapped configuration space; MSI; hot plug.
"""

from micropython import const

from drivers.device import DeviceError

_ADDRESS = const(0xCF8)
_DATA = const(0xCFC)

# Header
COMMAND = const(0x04)
_STATUS = const(0x06)
REVISION = const(0x08)
_CLASS = const(0x0A)
_HEADER_TYPE = const(0x0E)
_BAR0 = const(0x10)
_SECONDARY_BUS = const(0x19)
_MEMORY_BASE = const(0x20)  # of a bridge, and the limit behind it
SUBSYSTEM = const(0x2E)
_CAPABILITIES = const(0x34)
_INTERRUPT_LINE = const(0x3C)
_INTERRUPT_PIN = const(0x3D)

_COMMAND_MEMORY = const(2)
_COMMAND_MASTER = const(4)
_COMMAND_NO_INTX = const(1 << 10)
_STATUS_CAPABILITIES = const(1 << 4)

CAP_MSIX = const(0x11)
CAP_VENDOR = const(0x09)

CLASS_NETWORK = const(0x0200)  # class and subclass: Ethernet controller
_CLASS_BRIDGE = const(0x0604)

# Capabilities lie dword-aligned behind the 64-byte header: 192 / 4. A longer list is a loop.
_MAX_CAPS = const(48)
_MAX_BUSES = const(256)

# What no machine of QEMU's uses for RAM, before the IOAPIC: at most 3.5 GB lie below 4 GB.
_WINDOW = const(0xE0000000)
_WINDOW_END = const(0xFEC00000)
_BRIDGE_STEP = const(1 << 20)


class Function:
    """One function of one device: its configuration space."""

    __slots__ = ("hw", "_base", "vendor", "device", "_bars")

    def __init__(self, hw, base, ids):
        self.hw = hw
        self._base = base
        self.vendor = ids & 0xFFFF
        self.device = ids >> 16
        self._bars = None

    def __str__(self):
        b = self._base
        return "pci %02x:%02x.%d" % (b >> 16 & 0xFF, b >> 11 & 31, b >> 8 & 7)

    def bus(self):
        return self._base >> 16 & 0xFF

    def read32(self, off):
        self.hw.outl(_ADDRESS, self._base | off & 0xFC)
        return self.hw.inl(_DATA)

    def read16(self, off):
        return self.read32(off) >> (off & 2) * 8 & 0xFFFF

    def read8(self, off):
        return self.read32(off) >> (off & 3) * 8 & 0xFF

    def write32(self, off, v):
        self.hw.outl(_ADDRESS, self._base | off & 0xFC)
        self.hw.outl(_DATA, v)

    def write16(self, off, v):
        # A write of this width only: the other half of COMMAND's dword is
        # STATUS, whose bits are cleared by writing ones.
        self.hw.outl(_ADDRESS, self._base | off & 0xFC)
        self.hw.outw(_DATA + (off & 2), v)

    def write8(self, off, v):
        self.hw.outl(_ADDRESS, self._base | off & 0xFC)
        self.hw.outb(_DATA + (off & 3), v)

    def gone(self):
        """Whether nothing answers here any more."""
        return self.read16(0) == 0xFFFF

    def class_code(self):
        """Class and subclass in 16 bits."""
        return self.read16(_CLASS)

    def enable(self):
        """Let the function answer memory accesses and master the bus (DMA)."""
        self.write16(COMMAND, self.read16(COMMAND) | _COMMAND_MEMORY | _COMMAND_MASTER)

    def disable(self):
        """No more DMA, whatever the device believes."""
        self.write16(COMMAND, self.read16(COMMAND) & ~_COMMAND_MASTER)

    def allow_intx(self, allowed):
        command = self.read16(COMMAND) & ~_COMMAND_NO_INTX
        self.write16(COMMAND, command if allowed else command | _COMMAND_NO_INTX)

    def interrupt_line(self):
        """The line that firmware wrote down, or -1. 6.2.4."""
        line = self.read8(_INTERRUPT_LINE)
        return line if self.read8(_INTERRUPT_PIN) and 0 < line < 255 else -1

    def capabilities(self, kind):
        """Offsets of the capabilities with this id, in order. DeviceError: the list has no end."""
        found = []
        if not self.read16(_STATUS) & _STATUS_CAPABILITIES:
            return found
        at = self.read8(_CAPABILITIES) & 0xFC
        for _ in range(_MAX_CAPS):
            if not at:
                return found
            if at < 0x40:
                raise DeviceError("a capability at 0x%x, inside the header" % at)
            head = self.read16(at)
            if head & 0xFF == kind:
                found.append(at)
            at = head >> 8 & 0xFC
        raise DeviceError("the capability list has a loop")

    def bar(self, i):
        """(address, size) of memory BAR i; None if it is not there or is an I/O BAR. 6.2.5.1.

        DeviceError if it has no address.
        """
        b = self.bars()[i] if 0 <= i < 6 else None
        if b is not None and not b[0]:
            raise DeviceError("BAR %d has no address" % i)
        return b

    def bars(self):
        """All six as `bar` has them, the address 0 where there is none. A bridge has two. 6.2.5."""
        if self._bars is None:
            self._bars = self._size_bars()
        return self._bars

    def place(self, i, address):
        """Give memory BAR i an address, a multiple of its size."""
        low = self.read32(_BAR0 + 4 * i)
        self.write32(_BAR0 + 4 * i, address & 0xFFFFFFFF)
        if low & 6 == 4:
            self.write32(_BAR0 + 4 * i + 4, address >> 32)
        self._bars[i] = address, self._bars[i][1]

    def is_bridge(self):
        return self.class_code() == _CLASS_BRIDGE and self.read8(_HEADER_TYPE) & 0x7F == 1

    def _size_bars(self):
        # Sizing writes ones; meanwhile no BAR may answer. All at once: each time
        # decoding goes off and on costs QEMU a millisecond.
        command = self.read16(COMMAND)
        self.write16(COMMAND, command & ~3)
        bars = [None] * 6
        last = 2 if self.is_bridge() else 6
        i = 0
        while i < last:
            off = _BAR0 + 4 * i
            low = self.read32(off)
            if low & 1:
                i += 1
                continue
            wide = low & 6 == 4 and i + 1 < last
            bars[i] = self._size_bar(off, low, wide)
            i += 2 if wide else 1
        self.write16(COMMAND, command)
        return bars

    def _size_bar(self, off, low, wide):
        high = self.read32(off + 4) if wide else 0
        self.write32(off, 0xFFFFFFFF)
        mask = self.read32(off) & 0xFFFFFFF0
        self.write32(off, low)
        if wide:
            self.write32(off + 4, 0xFFFFFFFF)
            mask |= self.read32(off + 4) << 32
            self.write32(off + 4, high)
        elif mask:
            mask |= 0xFFFFFFFF << 32
        if not mask:
            return None
        # The lowest bit that can be set is the size.
        return high << 32 | low & 0xFFFFFFF0, mask & -mask

    def region(self, bar, off, n):
        """The address of n bytes at `off` of a memory BAR. DeviceError if they lie outside."""
        b = self.bar(bar)
        if b is None:
            raise DeviceError("BAR %d is not memory" % bar)
        address, size = b
        if n < 1 or off > size or n > size - off:
            raise DeviceError(
                "0x%x bytes at 0x%x lie outside BAR %d, which has 0x%x" % (n, off, bar, size)
            )
        return address + off


class Msix:
    """The MSI-X table of a function (6.8.2): `set` entries, then `enable`."""

    def __init__(self, function, cap):
        self._function = function
        self._control = cap + 2
        self.count = (function.read16(cap + 2) & 0x7FF) + 1
        table = function.read32(cap + 4)
        self._table = function.region(table & 7, table & ~7, 16 * self.count)
        # Function mask on, so that nothing fires while the table is written.
        function.write16(self._control, 0xC000)
        for i in range(self.count):
            function.hw.write32(self._table + 16 * i + 12, 1)

    def set(self, i, address, data):
        """Entry i writes `data` to `address`; unmasked."""
        w = self._function.hw.write32
        entry = self._table + 16 * i
        w(entry, address & 0xFFFFFFFF)
        w(entry + 4, address >> 32)
        w(entry + 8, data)
        w(entry + 12, 0)

    def mask(self, i, masked):
        self._function.hw.write32(self._table + 16 * i + 12, 1 if masked else 0)

    def enable(self):
        self._function.allow_intx(False)
        self._function.write16(self._control, 0x8000)

    def disable(self):
        """Back to INTx."""
        self._function.write16(self._control, 0)
        self._function.allow_intx(True)


def msix(function):
    """The function's Msix, its entries masked, or None."""
    caps = function.capabilities(CAP_MSIX)
    return Msix(function, caps[0]) if caps else None


def scan(hw):
    """Every Function that answers: bus 0 first, then the buses behind bridges."""
    found = []
    buses = [0]
    seen = {0}
    while buses:
        bus = buses.pop(0)
        for dev in range(32):
            for f in _functions(hw, bus, dev):
                found.append(f)
                below = _bus_behind(f)
                # A bus number is taken once: a bridge that names a seen one would be a loop.
                if below and below not in seen and len(seen) < _MAX_BUSES:
                    seen.add(below)
                    buses.append(below)
    if not any([_has_address(f) for f in found]):
        _assign(found, 0, _WINDOW)
    return found


def _has_address(f):
    """Whether the firmware gave it any memory."""
    i = 0
    last = 2 if f.is_bridge() else 6
    while i < last:
        low = f.read32(_BAR0 + 4 * i)
        wide = low & 7 == 4 and i + 1 < last
        if not low & 1 and (low & ~15 or wide and f.read32(_BAR0 + 4 * i + 4)):
            return True
        i += 2 if wide else 1
    return False


def _assign(functions, bus, at):
    """Addresses from `at` on for all memory BARs on the bus and behind its bridges. The end.

    A BAR for which there is no room stays without one. Bridge 1.2, 3.2.5.8: a bridge
    passes whole megabytes down.
    """
    for f in functions:
        if f.bus() != bus:
            continue
        bars = f.bars()
        for i in range(6):
            if bars[i] is not None:
                size = bars[i][1]
                start = (at + size - 1) & ~(size - 1)
                if start + size <= _WINDOW_END:
                    f.place(i, start)
                    at = start + size
        below = _bus_behind(f)
        if below > bus:  # a number that grows cannot be a loop
            start = (at + _BRIDGE_STEP - 1) & ~(_BRIDGE_STEP - 1)
            end = (_assign(functions, below, start) + _BRIDGE_STEP - 1) & ~(_BRIDGE_STEP - 1)
            if end > start:
                f.write32(_MEMORY_BASE, (end - 1 & 0xFFF00000) | start >> 16)
                f.enable()
                at = end
    return at


def function(hw, bus, dev, fn):
    """The Function there, or None."""
    base = 0x80000000 | bus << 16 | dev << 11 | fn << 8
    hw.outl(_ADDRESS, base)
    ids = hw.inl(_DATA)
    return None if ids & 0xFFFF == 0xFFFF else Function(hw, base, ids)


def _functions(hw, bus, dev):
    first = function(hw, bus, dev, 0)
    if first is None:
        return ()
    found = [first]
    if first.read8(_HEADER_TYPE) & 0x80:
        for fn in range(1, 8):
            f = function(hw, bus, dev, fn)
            if f is not None:
                found.append(f)
    return found


def _bus_behind(function):
    return function.read8(_SECONDARY_BUS) if function.is_bridge() else 0
