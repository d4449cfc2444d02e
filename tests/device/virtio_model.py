"""A virtio-net PCI device (virtio 1.2) that stands behind `Machine`.

It behaves as QEMU's does: it looks at a queue only when notified, uses the
buffers of one packet together, moves avail_event with every chain it takes. It
checks the driver: registers by width, order of the status bits, indexes,
descriptors. What it is to do wrong, a test asks for (`lie`, and the arguments).
"""

import struct

from tests.device.machine import PciFunction

CSUM, GUEST_CSUM, MTU, MAC = 1 << 0, 1 << 1, 1 << 3, 1 << 5
GUEST_TSO4, GUEST_TSO6, GUEST_ECN = 1 << 7, 1 << 8, 1 << 9
HOST_TSO4, HOST_TSO6, HOST_ECN = 1 << 11, 1 << 12, 1 << 13
MRG_RXBUF, STATUS, CTRL_VQ, MQ = 1 << 15, 1 << 16, 1 << 17, 1 << 22
INDIRECT, EVENT_IDX, VERSION_1, PACKED = 1 << 28, 1 << 29, 1 << 32, 1 << 34
OFFLOADS = CSUM | GUEST_CSUM | GUEST_TSO4 | GUEST_TSO6 | GUEST_ECN
OFFLOADS |= HOST_TSO4 | HOST_TSO6 | HOST_ECN
ALL = OFFLOADS | MAC | MRG_RXBUF | STATUS | INDIRECT | EVENT_IDX | VERSION_1
PLAIN = MAC | STATUS | VERSION_1

COMMON, ISR, DEVICE, NOTIFY = 0, 0x1000, 0x2000, 0x3000
BAR, MSIX_BAR = 4, 1
BAR_AT, MSIX_AT = 0xFE_0000_0000, 0xFEBF0000
MULTIPLIER = 4

# Offset: (width, name) of struct virtio_pci_common_cfg
COMMON_REGS = {
    0: (4, "device_feature_select"),
    4: (4, "device_feature"),
    8: (4, "driver_feature_select"),
    12: (4, "driver_feature"),
    16: (2, "config_vector"),
    18: (2, "num_queues"),
    20: (1, "status"),
    21: (1, "generation"),
    22: (2, "queue_select"),
    24: (2, "queue_size"),
    26: (2, "queue_vector"),
    28: (2, "queue_enable"),
    30: (2, "queue_notify_off"),
    32: (4, "desc_lo"),
    36: (4, "desc_hi"),
    40: (4, "driver_lo"),
    44: (4, "driver_hi"),
    48: (4, "device_lo"),
    52: (4, "device_hi"),
}


class VirtQueue:
    """The device's side of one split ring."""

    def __init__(self, index, size):
        self.index = index
        self.max = self.size = size
        self.vector = 0xFFFF
        self.enabled = False
        self.regs = {}
        self.last_avail = 0  # grows; masked on use
        self.used = 0
        self.kicked = False

    def reg(self, name):
        return self.regs.get(name + "_lo", 0) | self.regs.get(name + "_hi", 0) << 32


class VirtioNetModel(PciFunction):
    def __init__(
        self,
        machine,
        at=(0, 3, 0),
        features=ALL,
        sizes=(256, 256),
        mac=b"\x52\x54\x00\x12\x34\x56",
        mtu=1500,
        msix=4,
        device=0x1041,
        caps=True,
        bar=BAR_AT,
        lie=(),
    ):
        super().__init__(machine, at, 0x1AF4, device)
        self.bar = bar
        self.lie = set(lie)
        self.offered = features
        self.sizes = sizes
        self.mac = mac
        self.mtu = mtu
        self.link = 1
        self.msix = bytearray(16 * msix)
        self.msix_control = 0
        self.generation = 0
        self.kicks = [0, 0]
        self.sent = []  # (header fields, packet bytes) in the order taken
        self.backlog = []  # packets that found no buffers
        self.hold = False  # take chains, but do not complete them
        self.pending = []  # heads taken and not completed
        self.mangle = None  # (queue, id, length) -> (id, length)
        self.order = None  # list of rx buffers -> list, to use them in another order
        self.set(0x3C, 1, self.line)
        self.set(0x3D, 1, 1)
        self.add_bar(BAR, bar, 0x4000, True, self._read, self._write)
        if caps:
            self._add_caps()
        if msix:
            self.add_bar(MSIX_BAR, MSIX_AT, 0x1000, False, self._msix_read, self._msix_write)
            body = struct.pack("<HII", msix - 1, MSIX_BAR, 0x800 | MSIX_BAR)
            self.msix_cap = self.add_cap(0x11, body)
        else:
            self.msix_cap = -1
        self._reset()

    def _add_caps(self):
        for kind, off, n in ((1, COMMON, 56), (3, ISR, 1), (4, DEVICE, 64), (2, NOTIFY, 0x1000)):
            bar = BAR
            if "outside %d" % kind in self.lie:
                off = 0x4000 - n // 2
            if "short %d" % kind in self.lie:
                n = 0
            if "bar %d" % kind in self.lie:
                bar = 7
            self.add_vendor_cap(kind, bar, off, n)

    def add_vendor_cap(self, kind, bar, off, n):
        body = struct.pack("<BBBBHII", 20 if kind == 2 else 16, kind, bar, 0, 0, off, n)
        return self.add_cap(9, body + (struct.pack("<I", MULTIPLIER) if kind == 2 else b""))

    # ---- registers ----

    def _reset(self):
        self.status = 0
        self.accepted = 0
        self.device_feature_select = self.driver_feature_select = self.queue_select = 0
        self.config_vector = 0xFFFF
        self.isr = 0
        self.level = False
        self.queues = [VirtQueue(i, n) for i, n in enumerate(self.sizes)]
        self.pending = []

    def write_cap(self, off, n, v):
        assert off == self.msix_cap + 2 and n == 2, "write to read-only configuration"
        self.msix_control = v
        self.set(off, 2, self.get(off, 2) & 0x3FFF | v & 0xC000)

    def _msix_read(self, off, n):
        assert n == 4 and off + 4 <= len(self.msix)
        return int.from_bytes(self.msix[off : off + 4], "little")

    def _msix_write(self, off, n, v):
        assert n == 4 and off + 4 <= len(self.msix), "MSI-X table at 0x%x" % off
        self.msix[off : off + 4] = v.to_bytes(4, "little")

    def _read(self, off, n):
        if off < ISR:
            width, name = COMMON_REGS[off]
            assert n == width, (name, n)
            return self._common_read(name)
        if off == ISR:
            assert n == 1
            v, self.isr, self.level = self.isr, 0, False
            return v
        assert DEVICE <= off < NOTIFY, hex(off)
        if "restless" in self.lie:
            self.generation = self.generation + 1 & 0xFF
        config = self.mac + struct.pack("<HHH", self.link, 1, self.mtu) + bytes(52)
        return int.from_bytes(config[off - DEVICE : off - DEVICE + n], "little")

    def _common_read(self, name):
        q = self.queues[self.queue_select] if self.queue_select < len(self.queues) else None
        if name == "device_feature":
            return self.offered >> 32 * self.device_feature_select & 0xFFFFFFFF
        if name == "num_queues":
            return 1 if "one queue" in self.lie else len(self.queues)
        if name == "status":
            if "never resets" in self.lie:
                return 1
            return self.status
        if name == "generation":
            return self.generation
        if name == "config_vector":
            return 0xFFFF if "no vectors" in self.lie else self.config_vector
        if name == "queue_size":
            return q.size if q else 0
        if name == "queue_vector":
            return 0xFFFF if "no queue vectors" in self.lie else q.vector
        if name == "queue_notify_off":
            return 0x1000 if "notify off" in self.lie else self.queue_select
        raise AssertionError("read of " + name)

    def _write(self, off, n, v):
        if off < ISR:
            width, name = COMMON_REGS[off]
            assert n == width, (name, n)
            self._common_write(name, v)
            return
        assert off >= NOTIFY and n == 2, hex(off)
        index = (off - NOTIFY) // MULTIPLIER
        assert v == index and self.status & 4, "notified of %d at %d" % (v, index)
        self.kicks[index] += 1
        self.queues[index].kicked = True
        if index == 0:
            self._unblock()

    def _common_write(self, name, v):
        q = self.queues[self.queue_select]
        if name == "status":
            self._write_status(v)
        elif name == "driver_feature":
            assert not self.status & 8, "features after FEATURES_OK"
            shift = 32 * self.driver_feature_select
            self.accepted = self.accepted & ~(0xFFFFFFFF << shift) | v << shift
        elif name in ("device_feature_select", "driver_feature_select", "queue_select"):
            setattr(self, name, v)
        elif name == "config_vector":
            self.config_vector = v
        elif name == "queue_size":
            assert self.status & 8 and v <= q.max and v & (v - 1) == 0 and v, v
            q.size = v
        elif name == "queue_vector":
            q.vector = v
        elif name == "queue_enable":
            assert v == 1 and not self.status & 4, "queue enabled after DRIVER_OK"
            assert q.reg("desc") % 16 == 0 and q.reg("driver") % 2 == 0 and q.reg("device") % 4 == 0
            q.enabled = True
        else:
            q.regs[name] = v

    def _write_status(self, v):
        if v == 0:
            self._reset()
            return
        assert v & self.status == self.status, "status bits cleared"
        assert self.master(), "bus mastering is off"
        new = v & ~self.status
        if new & 2:
            assert v & 1
        if new & 8:
            assert v & 2
            assert not self.accepted & ~self.offered, "features that were not offered"
            if not self.accepted >> 32 & 1 or "refuses" in self.lie:
                v &= ~8
        if new & 4:
            assert v & 8 and all(q.enabled for q in self.queues[:2]), "DRIVER_OK too early"
        self.status = v
        if new & 4 and "needs reset" in self.lie:
            self.status |= 64

    def has(self, feature):
        return self.accepted & feature != 0

    # ---- rings ----

    def _avail_idx(self, q):
        return self.machine.get(q.reg("driver") + 2, 2)

    def available(self, q):
        n = (self._avail_idx(q) - q.last_avail) & 0xFFFF
        assert n <= q.size, "the available index jumped by %d" % n
        return n

    def take(self, q):
        """The next chain: (head, [(address, length, writable)])."""
        m = self.machine
        head = m.get(q.reg("driver") + 4 + 2 * (q.last_avail % q.size), 2)
        q.last_avail += 1
        if self.has(EVENT_IDX):
            self.want_kick(q, True)
        chain = []
        i = head
        while True:
            assert i < q.size, "descriptor %d" % i
            address, n, flags, i = struct.unpack("<QIHH", m.at(q.reg("desc") + 16 * i, 16))
            assert flags & ~3 == 0
            m.at(address, n)
            chain.append((address, n, flags & 2 != 0))
            if not flags & 1:
                return head, chain
            assert len(chain) < q.size, "a loop of descriptors"

    def want_kick(self, q, wanted):
        """avail_event, or the flag NO_NOTIFY."""
        m = self.machine
        if self.has(EVENT_IDX):
            m.put(q.reg("device") + 4 + 8 * q.size, 2, q.last_avail & 0xFFFF)
        else:
            m.put(q.reg("device"), 2, 0 if wanted else 1)

    def use(self, q, entries):
        """Put (id, length) pairs in the used ring, show them at once, and interrupt if asked."""
        m = self.machine
        old = q.used
        for head, n in entries:
            if self.mangle:
                head, n = self.mangle(q, head, n)
            at = q.reg("device") + 4 + 8 * (q.used % q.size)
            m.put(at, 4, head)
            m.put(at + 4, 4, n)
            q.used += 1
        m.put(q.reg("device") + 2, 2, q.used & 0xFFFF)
        if self.has(EVENT_IDX):
            event = m.get(q.reg("driver") + 4 + 2 * q.size, 2)
            if (q.used - event - 1) & 0xFFFF < (q.used - old) & 0xFFFF:
                self.interrupt(q.vector, 1)
        elif not m.get(q.reg("driver"), 2) & 1:
            self.interrupt(q.vector, 1)

    def interrupt(self, entry, isr):
        if self.msix_control & 0x8000:
            if entry != 0xFFFF and not self.msix_control & 0x4000:
                address, data, masked = struct.unpack_from("<QII", self.msix, 16 * entry)
                if not masked & 1:
                    self.machine.raise_vector(address, data)
        else:
            self.isr |= isr
            self.level = True
            if self.asserting(self.line):
                self.machine.raise_line(self.line)

    def change_config(self, **fields):
        for name, v in fields.items():
            setattr(self, name, v)
        self.generation = self.generation + 1 & 0xFF
        self.interrupt(self.config_vector, 2)

    # ---- packets to the driver ----

    def deliver(self, packet, flags=0, gso_type=0, num_buffers=None):
        """Send a packet up, or keep it until there are buffers. True if it went at once."""
        self.backlog.append((packet, flags, gso_type, num_buffers))
        return self._unblock()

    def _unblock(self):
        q = self.queues[0]
        while self.backlog:
            if not self._fill(q, *self.backlog[0]):
                return False
            self.backlog.pop(0)
        return True

    def _fill(self, q, packet, flags, gso_type, num_buffers):
        body = bytes(12) + packet
        taken = []
        room = 0
        before = q.last_avail
        while room < len(body):
            if not self.available(q) or (taken and not self.has(MRG_RXBUF)):
                if taken and not self.has(MRG_RXBUF):
                    raise AssertionError("a packet of %d bytes for %d" % (len(body), room))
                # Not enough: put them back, and ask to be told.
                q.last_avail = before
                self.want_kick(q, True)
                return False
            head, chain = self.take(q)
            assert len(chain) == 1 and chain[0][2], "receive buffers are one writable piece"
            taken.append((head, chain[0]))
            room += chain[0][1]
        if self.order:
            taken = self.order(taken)
        count = len(taken) if num_buffers is None else num_buffers
        body = struct.pack("<BBHHHHH", flags, gso_type, 0, 0, 0, 0, count) + packet
        entries = []
        at = 0
        for head, (address, n, _) in taken:
            part = body[at : at + n]
            self.machine.at(address, len(part))[:] = part
            at += len(part)
            entries.append((head, len(part)))
        if not self.has(EVENT_IDX):
            self.want_kick(q, False)
        self.use(q, entries)
        return True

    # ---- packets from the driver ----

    def run_tx(self, most=1 << 30):
        """Do what a kick asks for: take up to `most` chains. How many."""
        q = self.queues[1]
        if not q.kicked:
            return 0
        n = 0
        self.want_kick(q, False)
        while n < most and self.available(q):
            head, chain = self.take(q)
            n += 1
            assert not any(w for _, _, w in chain)
            data = b"".join(bytes(self.machine.at(a, k)) for a, k, _ in chain)
            self.sent.append((struct.unpack_from("<BBHHHHH", data), data[12:]))
            self.pending.append(head)
            if not self.hold:
                self.complete()
        if not self.available(q):
            q.kicked = False
            self.want_kick(q, True)
            if self.available(q):
                q.kicked = True
        return n

    def complete(self, order=None):
        """Give back what was taken, in the order of `order` (a function of a list) or as taken."""
        heads, self.pending = self.pending, []
        for head in order(heads) if order else heads:
            self.use(self.queues[1], [(head, 0)])
