"""A stand-in for the module `hw`: memory by address, PCI configuration by ports, MMIO, interrupts.

Strict where real hardware is silent: an access outside of memory, of a width that
the register does not have, or to a device that decodes nothing fails the test.
"""

import bisect


class Wild(AssertionError):
    """An access to where nothing is."""


class Machine:
    def __init__(self, ram=256 << 20, vectors=16, lines=True, dma=64 << 20):
        self._ram = ram
        self._dma_left = dma
        self._next = 1 << 20
        self._starts = []
        self._regions = []
        self._by_id = {}
        self._config = 0
        self._vectors = vectors
        self._lines = lines
        self.functions = {}
        self.counts = {}
        self.masked_lines = set()
        self.raised = 0
        self.fences = 0
        self.on_fence = None
        self.on_wait = None
        self.locked = 0
        self.waits = 0
        self.now = 0

    # ---- memory ----

    def _place(self, buf, align=64):
        at = (self._next + align - 1) & ~(align - 1)
        # A gap behind each buffer, so that running over its end is noticed.
        self._next = at + len(buf) + 4096
        self._starts.append(at)
        self._regions.append(memoryview(buf).cast("B"))
        self._by_id[id(buf)] = (at, buf)
        return at

    def dma(self, n, align=64):
        if n > self._dma_left:
            raise MemoryError("no DMA memory left")
        self._dma_left -= n
        buf = bytearray(n)
        self._place(buf, align)
        return buf

    def dma_left(self):
        return self._dma_left

    def ram(self):
        return self._ram

    def addr(self, buf):
        known = self._by_id.get(id(buf))
        return known[0] if known else self._place(buf)

    def mem(self, address, n):
        view = self.at(address, n)
        self._by_id[id(view)] = (address, view)
        return view

    def at(self, address, n):
        """The n bytes at `address`, as a device sees them."""
        i = bisect.bisect_right(self._starts, address) - 1
        if i >= 0:
            off = address - self._starts[i]
            if off + n <= len(self._regions[i]):
                return self._regions[i][off : off + n]
        raise Wild("%d bytes at 0x%x" % (n, address))

    def get(self, address, n):
        return int.from_bytes(self.at(address, n), "little")

    def put(self, address, n, v):
        self.at(address, n)[:] = v.to_bytes(n, "little")

    def fence(self):
        self.fences += 1
        if self.on_fence:
            self.on_fence()

    # ---- ports: PCI configuration mechanism 1 ----

    def outl(self, port, v):
        if port == 0xCF8:
            self._config = v
        else:
            self._config_write(port, 4, v)

    def outw(self, port, v):
        self._config_write(port, 2, v)

    def inl(self, port):
        assert port == 0xCFC, hex(port)
        f, off = self._target()
        return f.config_read(off, 4) if f else 0xFFFFFFFF

    def _target(self):
        c = self._config
        assert c >> 31
        return self.functions.get((c >> 16 & 0xFF, c >> 11 & 31, c >> 8 & 7)), c & 0xFC

    def _config_write(self, port, n, v):
        assert 0xCFC <= port <= 0x100 - n + 0xC00 and 0 <= v < 1 << 8 * n, (hex(port), v)
        f, off = self._target()
        if f:
            f.config_write(off + port - 0xCFC, n, v)

    # ---- MMIO ----

    def _mmio(self, address, n):
        for f in self.functions.values():
            hit = f.decode(address, n)
            if hit:
                return hit
        raise Wild("MMIO of %d at 0x%x" % (n, address))

    def _read(self, address, n):
        read, _, off = self._mmio(address, n)
        return read(off, n)

    def _write(self, address, n, v):
        assert 0 <= v < 1 << 8 * n, (hex(address), n, v)
        _, write, off = self._mmio(address, n)
        write(off, n, v)

    def read8(self, address):
        return self._read(address, 1)

    def read16(self, address):
        return self._read(address, 2)

    def read32(self, address):
        return self._read(address, 4)

    def write8(self, address, v):
        self._write(address, 1, v)

    def write16(self, address, v):
        self._write(address, 2, v)

    def write32(self, address, v):
        self._write(address, 4, v)

    # ---- interrupts and time ----

    def irq_vector(self):
        if not self._vectors:
            raise OSError(28)
        self._vectors -= 1
        v = 0x60 + self._vectors
        self.counts[v] = 0
        return v, 0xFEE00000, v

    def irq_line(self, line):
        if not self._lines:
            raise ValueError("no such interrupt line")
        self.counts.setdefault(0x20 + line, 0)
        return 0x20 + line

    def irq_unmask(self, line):
        self.masked_lines.discard(line)
        for f in self.functions.values():
            if f.asserting(line):
                self.raise_line(line)
                return

    def irq_count(self, vector):
        return self.counts[vector]

    def raise_vector(self, address, data):
        assert address == 0xFEE00000 and data in self.counts, (hex(address), data)
        self.counts[data] += 1
        self.raised += 1

    def raise_line(self, line):
        """Level-triggered: masked when it fires, until irq_unmask."""
        if 0x20 + line in self.counts and line not in self.masked_lines:
            self.masked_lines.add(line)
            self.counts[0x20 + line] += 1
            self.raised += 1

    def ticks_us(self):
        self.now += 1
        return self.now

    def lock(self):
        self.locked += 1

    def unlock(self):
        assert self.locked > 0, "unlock without lock"
        self.locked -= 1

    def wait(self, until):
        """Until an interrupt, which `on_wait` may bring about, or until then."""
        self.waits += 1
        before = self.raised
        if self.on_wait:
            self.on_wait()
        if self.raised == before:
            self.now = max(self.now, until)

    def rdrand(self):
        return 0x123456789ABCDEF0


class PciFunction:
    """A function with BARs: `bars` is {index: (size, wide, read, write)}; size 0 with `io`."""

    def __init__(self, machine, at, vendor, device, class_code=0x0200, header=0):
        self.machine = machine
        self.config = bytearray(256)
        self.bars = {}
        self.line = 11
        self.level = False
        self._cap_at = 0x40
        self._last_cap = 0x34
        machine.functions[at] = self
        self.set(0, 2, vendor)
        self.set(2, 2, device)
        self.set(0x0A, 2, class_code)
        self.set(0x0E, 1, header)

    def set(self, off, n, v):
        self.config[off : off + n] = v.to_bytes(n, "little")

    def get(self, off, n):
        return int.from_bytes(self.config[off : off + n], "little")

    def add_bar(self, i, address, size, wide, read, write):
        self.bars[i] = (size, wide, read, write)
        self.set(0x10 + 4 * i, 4, address & 0xFFFFFFFF | (4 if wide else 0))
        if wide:
            self.set(0x14 + 4 * i, 4, address >> 32)

    def add_cap(self, kind, body):
        """Append a capability; its offset."""
        at = self._cap_at
        self.config[at : at + 2 + len(body)] = bytes([kind, 0]) + body
        self.set(self._last_cap, 1, at)
        self._last_cap = at + 1
        self._cap_at = (at + 2 + len(body) + 3) & ~3
        self.set(6, 2, 0x10)
        return at

    def config_read(self, off, n):
        return self.get(off, n)

    def config_write(self, off, n, v):
        if off == 4:
            self.set(4, 2, v & 0x0407)
        elif 0x10 <= off < 0x28:
            self._write_bar(off, v)
        elif off >= 0x40:
            self.write_cap(off, n, v)

    def write_cap(self, off, n, v):
        raise AssertionError("write to read-only configuration at 0x%x" % off)

    def _write_bar(self, off, v):
        i = (off - 0x10) // 4
        if i in self.bars:
            size, wide = self.bars[i][:2]
            self.set(off, 4, v & ~(size - 1) & 0xFFFFFFF0 | (4 if wide else 0))
        elif i - 1 in self.bars and self.bars[i - 1][1]:
            self.set(off, 4, v & ~((self.bars[i - 1][0] - 1) >> 32) & 0xFFFFFFFF)

    def decode(self, address, n):
        if not self.get(4, 2) & 2:
            return None
        for i, (size, wide, read, write) in self.bars.items():
            base = self.get(0x10 + 4 * i, 4) & ~0xF
            if wide:
                base |= self.get(0x14 + 4 * i, 4) << 32
            if base <= address and address + n <= base + size:
                return read, write, address - base
        return None

    def master(self):
        return self.get(4, 2) & 4 != 0

    def asserting(self, line):
        return self.level and line == self.line and not self.get(4, 2) & 0x400
