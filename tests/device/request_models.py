"""Virtio devices that answer requests, behind PCI: a disk, an entropy source, a console.

They stand on the registers and rings of `virtio_model` and its checks of the driver. A
request is answered within the notification unless `hold` is set; `mangle`, `lie` and the
arguments make a device that misbehaves.
"""

import struct

from tests.device.virtio_model import DEVICE, NOTIFY, VERSION_1, VirtioNetModel

SIZE_MAX, SEG_MAX, RO, BLK_SIZE = 1 << 1, 1 << 2, 1 << 5, 1 << 6
FLUSH, TOPOLOGY, DISCARD, WRITE_ZEROES = 1 << 9, 1 << 10, 1 << 13, 1 << 14
DISK = VERSION_1 | SEG_MAX | BLK_SIZE | FLUSH | DISCARD | WRITE_ZEROES | 1 << 28 | 1 << 29
OK, IOERR, UNSUPP = 0, 1, 2


class PowerCut(Exception):
    """The machine's power went: nothing happens any more."""


class RequestModel(VirtioNetModel):
    kind = 0

    def __init__(self, machine, config=b"", sizes=(128,), features=VERSION_1, **options):
        self.config_space = config
        options.setdefault("msix", 2)
        super().__init__(
            machine, features=features, sizes=sizes, device=0x1040 + self.kind, **options
        )
        self.kicks = [0] * len(sizes)
        self.held = []  # (queue, head, chain) not answered yet

    def _read(self, off, n):
        if DEVICE <= off < NOTIFY:
            if "restless" in self.lie:
                self.generation = self.generation + 1 & 0xFF
            at = off - DEVICE
            return int.from_bytes(self.config_space[at : at + n], "little")
        return super()._read(off, n)

    def _write(self, off, n, v):
        super()._write(off, n, v)
        if off >= NOTIFY:
            self.run(self.queues[v])

    def run(self, q):
        while self.available(q):
            head, chain = self.take(q)
            writable = [w for _, _, w in chain]
            assert writable == sorted(writable), "the device's parts must come last"
            self.held.append((q, head, chain))
            if not self.hold:
                self.answer()

    def answer(self):
        """Answer what is held, oldest first."""
        held, self.held = self.held, []
        for q, head, chain in held:
            n = self.request(q, chain)
            if n is None:
                self.held.append((q, head, chain))
            else:
                self.use(q, [(head, n)])

    def bytes_of(self, chain, writable):
        return b"".join(bytes(self.machine.at(a, n)) for a, n, w in chain if w == writable)

    def fill(self, chain, data):
        """Write data into the chain's writable parts; how much fitted."""
        done = 0
        for address, n, writable in chain:
            if writable and done < len(data):
                part = data[done : done + n]
                self.machine.at(address, len(part))[:] = part
                done += len(part)
        return done


class BlkModel(RequestModel):
    """A disk of `image` (a bytearray), which holds what was flushed; `pending` the rest."""

    kind = 2

    def __init__(self, machine, image, features=DISK, block=512, size_max=1 << 16, seg_max=126,
                 most=1 << 22, **options):  # fmt: skip
        self.image = image
        self.block = block
        self.pending = []  # (sector, 512 bytes) in order, since the last flush
        self.log = []  # (type, sector, bytes) of each request
        self.cut_at = -1  # sectors written and flushes until the power goes,
        self.cut_in_flush = False  # and then not before the next flush
        self.status_for = {}  # type -> status
        self.short = 0  # bytes that the used length lacks
        config = struct.pack(
            "<QIIHBBIBBHIBBHIIIIIB3x", len(image) // 512, size_max, seg_max, 0, 0, 0, block,
            0, 0, 0, 0, 1, 0, 1, most, 1, 1, most, 1, 1,
        )  # fmt: skip
        super().__init__(machine, config, features=features, **options)

    def request(self, q, chain):
        kind, _, sector = struct.unpack("<IIQ", self.bytes_of(chain, False)[:16])
        out = self.bytes_of(chain, False)[16:]
        room = sum(n for _, n, w in chain if w) - 1
        assert chain[-1][1] == 1 and chain[-1][2], "the status is the last byte"
        size_max = struct.unpack_from("<I", self.config_space, 8)[0]
        if self.has(SIZE_MAX):
            assert all(n <= size_max for _, n, _ in chain[1:-1]), "a part above size_max"
        if self.has(SEG_MAX):
            assert len(chain) - 2 <= struct.unpack_from("<I", self.config_space, 12)[0]
        self.log.append((kind, sector, len(out) or room))
        status, data = self.status_for.get(kind, OK), b""
        if status == OK:
            status, data = self._do(kind, sector, out, room)
        n = self.fill(chain, data + bytes(room - len(data)) + bytes([status]))
        return n - self.short

    def _do(self, kind, sector, out, room):
        end = len(self.image)
        if kind == 0:
            assert room % self.block == 0 and room
            return (OK, self.read(sector, room)) if sector * 512 + room <= end else (IOERR, b"")
        if kind == 1:
            assert not self.offered & RO, "a write to a read-only disk"
            assert len(out) % self.block == 0 and sector * 512 % self.block == 0
            if sector * 512 + len(out) > end:
                return IOERR, b""
            for i in range(0, len(out), 512):
                self._step()
                self.pending.append((sector + i // 512, out[i : i + 512]))
            return OK, b""
        if kind == 4:
            assert self.has(FLUSH) and sector == 0
            self._step(True)
            self.flush()
            return OK, b""
        if kind == 8:
            return OK, b"a disk's serial name"[:room]
        if kind in (11, 13):
            first, count, flags = struct.unpack("<QII", out)
            for s in range(first, first + count):
                self.pending.append((s, bytes(512) if kind == 13 else b"\xdd" * 512))
            return OK, b""
        return UNSUPP, b""

    def _step(self, flush=False):
        if self.cut_at == 0 or self.cut_at < 0 and self.cut_in_flush and flush:
            raise PowerCut
        self.cut_at -= 1
        if self.cut_at == 0 and self.cut_in_flush:
            self.cut_at = -1

    def read(self, sector, n):
        data = bytearray(self.image[sector * 512 : sector * 512 + n])
        for s, part in self.pending:
            if sector <= s < sector + n // 512:
                data[(s - sector) * 512 : (s - sector + 1) * 512] = part
        return bytes(data)

    def flush(self):
        for s, part in self.pending:
            self.image[s * 512 : s * 512 + 512] = part
        self.pending = []

    def crash(self, rng):
        """The image after a power cut: of what was not flushed any part, in any order."""
        image = bytearray(self.image)
        if rng.random() < 0.5:
            self.pending = self.pending[-rng.randrange(1, 4) :]  # the last ones only
        rng.shuffle(self.pending)
        keep = rng.choice([0.0, 0.2, 0.5, 0.8, 1.0, 1.0])
        for s, part in self.pending:
            if rng.random() < keep:
                image[s * 512 : s * 512 + 512] = part
        return image


class RngModel(RequestModel):
    kind = 4

    def __init__(self, machine, rng, most=64, **options):
        self.rng, self.most = rng, most
        super().__init__(machine, sizes=(8,), **options)

    def request(self, q, chain):
        room = sum(n for _, n, w in chain if w)
        assert room and len(chain) == 1
        return self.fill(chain, self.rng.randbytes(min(room, self.most)))


class ConsoleModel(RequestModel):
    kind = 3

    def __init__(self, machine, sizes=(128, 128), **options):
        self.typed = b""  # waits for buffers
        self.printed = b""
        super().__init__(machine, bytes(12), sizes=sizes, **options)

    def type(self, data):
        self.typed += data
        self.answer()

    def request(self, q, chain):
        if q.index == 1:
            self.printed += self.bytes_of(chain, False)
            return 0
        if not self.typed:
            return None  # the buffer is kept until something is typed
        n = self.fill(chain, self.typed)
        self.typed = self.typed[n:]
        return n
