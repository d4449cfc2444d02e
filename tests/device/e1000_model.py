"""An 82540EM or 82574L that stands behind `Machine`, written from the manuals' registers and
descriptors alone.

It checks the driver: widths, the order of the start, ring registers, descriptors and the bytes
that they name. What it sends it cuts and sums itself: `sent` has frames as they would be on the
wire. What it is to do wrong, a test asks for (`lie`, `hold`, and the arguments of `deliver`).
"""

import struct

from tests.device.machine import PciFunction

CTRL, STATUS, EERD, CTRL_EXT, ICR, ITR, IMS, IMC = 0, 8, 0x14, 0x18, 0xC0, 0xC4, 0xD0, 0xD8
RCTL, TCTL, TIPG, RXCSUM, RAL, RAH = 0x100, 0x400, 0x410, 0x5000, 0x5400, 0x5404
RDBAL, RDBAH, RDLEN, RDH, RDT, RDTR, RADV = 0x2800, 0x2804, 0x2808, 0x2810, 0x2818, 0x2820, 0x282C
TDBAL, TDBAH, TDLEN, TDH, TDT, TIDV = 0x3800, 0x3804, 0x3808, 0x3810, 0x3818, 0x3820
TXDCTL, TADV = 0x3828, 0x382C
PLAIN = (CTRL_EXT, ITR, TIPG, RXCSUM, RAL, RAH, RDBAL, RDBAH, RDLEN, RDH, RDTR, RADV)
PLAIN += (TDBAL, TDBAH, TDLEN, TDH, TIDV, TXDCTL, TADV)

TXDW, LSC, RXO, RXT0 = 1, 4, 0x40, 0x80
DD, EOP, IXSM, TCPCS = 1, 2, 4, 0x20  # receive status
TCPE, IPE = 0x20, 0x40  # receive errors
RST, GIO_DISABLE = 1 << 26, 1 << 2
BAR_AT = 0xFEB80000
ONES = 0xFFFFFFFF


def ones_sum(data):
    """The one's complement sum of 16-bit words, folded."""
    s = sum(struct.unpack("!%dH" % (len(data) // 2), data[: len(data) & ~1]))
    s += data[-1] << 8 if len(data) & 1 else 0
    while s >> 16:
        s = (s & 0xFFFF) + (s >> 16)
    return s


class E1000Model(PciFunction):
    def __init__(self, machine, device=0x100E, at=(0, 4, 0), mac=b"\x52\x54\x00\x12\x34\x57",
                 eeprom=True, line=11, lie=()):  # fmt: skip
        super().__init__(machine, at, 0x8086, device)
        self.lie = set(lie)
        self.pcie = device == 0x10D3
        self.mac = mac
        self.line = line
        self.words = list(struct.unpack("<3H", mac)) + [0x1000 + i for i in range(60)]
        self.words.append((0xBABA - sum(self.words)) & 0xFFFF)
        if not eeprom:
            self.words[63] ^= 1
        self.up = True
        self.gone = False
        self.set(0x3C, 1, line if line else 255)
        self.set(0x3D, 1, 1)
        self.add_bar(0, BAR_AT, 0x20000, False, self._read, self._write)
        self.resets = 0
        self.sent = []  # frames on the wire
        self.backlog = []
        self.hold = False  # keep write-backs until complete()
        self.pending = []  # (address, bytes) of write-backs that are kept
        self.tails = 0  # writes of TDT
        self.contexts = self.looped = 0
        self._reset()

    # ---- registers ----

    def _reset(self):
        self.reg = dict.fromkeys(PLAIN, 0)
        self.reg |= dict.fromkeys((CTRL, RCTL, EERD, IMS, RDT, TDT), 0)
        self.reg[TCTL] = 1 << 28 if self.pcie else 0
        self.reg[RAL] = int.from_bytes(self.mac[:4], "little")
        self.reg[RAH] = int.from_bytes(self.mac[4:], "little") | 1 << 31
        self.icr = 0
        self.level = False
        self.context = None
        self.parts = []
        self.pending = []

    def config_read(self, off, n):
        return ONES if self.gone else super().config_read(off, n)

    def config_write(self, off, n, v):
        if not self.gone:
            super().config_write(off, n, v)

    def decode(self, address, n):
        if self.gone and BAR_AT <= address < BAR_AT + 0x20000:
            return (lambda off, n: ONES), (lambda off, n, v: None), address - BAR_AT
        return super().decode(address, n)

    def _read(self, off, n):
        assert n == 4, "registers have 32 bits"
        if off == STATUS:
            busy = self.pcie and (not self.reg[CTRL] & GIO_DISABLE or "busy" in self.lie)
            return (2 if self.up else 0) | (1 << 19 if busy else 0) | 0x80
        if off == ICR:
            v, self.icr = self.icr, 0
            self._interrupt(0)
            return v
        if off == CTRL and "never resets" in self.lie:
            return self.reg[CTRL] | RST
        if off == TDH and "head" in self.lie:
            return 0x1234
        assert off in self.reg, "read of register 0x%x" % off
        return self.reg[off]

    def _write(self, off, n, v):
        assert n == 4, "registers have 32 bits"
        if off == CTRL:
            self.reg[CTRL] = v & ~RST
            if v & RST:
                assert not self.reg[RCTL] & 2 and not self.reg[TCTL] & 2, "reset while running"
                self.resets += 1
                self._reset()
        elif off == EERD:
            shift, done = (2, 2) if self.pcie else (8, 16)
            self.reg[EERD] = v
            if v & 1 and "no eeprom" not in self.lie:
                self.reg[EERD] = v & ~1 | done | self.words[v >> shift & 0x3F] << 16
        elif off == IMS:
            self.reg[IMS] |= v
            self._interrupt(0)
        elif off == IMC:
            self.reg[IMS] &= ~v
            self._interrupt(0)
        elif off == RCTL:
            if v & 2:
                self._check_ring(RDBAL)
            self.reg[RCTL] = v
        elif off == TCTL:
            if v & 2:
                self._check_ring(TDBAL)
                assert v & 8, "short frames are not padded"
            self.reg[TCTL] = v
        elif off == RDT:
            assert v < max(self.reg[RDLEN] // 16, 1), "RDT %d" % v
            self.reg[RDT] = v
            self._unblock()
        elif off == TDT:
            assert v < max(self.reg[TDLEN] // 16, 1), "TDT %d" % v
            self.reg[TDT] = v
            self.tails += 1
            if self.reg[TCTL] & 2 and "stalls" not in self.lie:
                self._transmit()
        else:
            assert off in PLAIN, "write of register 0x%x" % off
            self.reg[off] = v

    def _check_ring(self, first):
        r = self.reg
        base = r[first] | r[first + 4] << 32
        assert base % 16 == 0 and r[first + 8] % 128 == 0 and r[first + 8], "ring registers"
        self.machine.at(base, r[first + 8])

    def _interrupt(self, cause):
        self.icr |= cause
        self.level = self.icr & self.reg[IMS] != 0
        if self.level and self.asserting(self.line):
            self.machine.raise_line(self.line)

    def set_link(self, up):
        self.up = up
        self._interrupt(LSC)

    # ---- receiving ----

    def room(self):
        """Descriptors between head and tail, which are ours."""
        return (self.reg[RDT] - self.reg[RDH]) % (self.reg[RDLEN] // 16)

    def deliver(self, frame, status=IXSM, errors=0, lengths=None, end=True):
        """A frame from the wire; kept until there are buffers. True if it went up at once.

        lengths: what the descriptors say in place of the truth. end: whether EOP is set."""
        assert self.reg[RCTL] & 2, "the receiver is off"
        if len(frame) > 1518 and not self.reg[RCTL] & 1 << 5:
            return False
        self.backlog.append((frame, status, errors, lengths, end))
        return self._unblock()

    def _unblock(self):
        while self.backlog:
            frame, status, errors, lengths, end = self.backlog[0]
            size = 2048 >> (self.reg[RCTL] >> 16 & 3)
            pieces = [frame[i : i + size] for i in range(0, len(frame), size)] or [b""]
            if not self.reg[RCTL] & 2 or self.room() < len(pieces):
                self._interrupt(RXO)
                return False
            self.backlog.pop(0)
            for k, piece in enumerate(pieces):
                last = end and k == len(pieces) - 1
                n = lengths[k] if lengths else len(piece)
                self._fill(piece, n, DD | (EOP | status if last else 0), errors if last else 0)
        return True

    def _fill(self, piece, n, status, errors):
        assert self.master(), "DMA without bus mastering"
        r, m = self.reg, self.machine
        at = (r[RDBAL] | r[RDBAH] << 32) + 16 * r[RDH]
        address, _, old, _, _ = struct.unpack("<QIBBH", m.at(at, 16))
        assert old & DD == 0, "a descriptor that was not cleared"
        m.at(address, 2048)[: len(piece)] = piece
        self._write_back(at + 8, struct.pack("<HHBBH", n, 0, status, errors, 0))
        r[RDH] = (r[RDH] + 1) % (r[RDLEN] // 16)
        if not self.hold:
            self._interrupt(RXT0)

    def _write_back(self, at, data):
        if self.hold:
            self.pending.append((at, data))
        else:
            self.machine.at(at, len(data))[:] = data

    def complete(self, most=1 << 30):
        """Write back what was held, up to `most` descriptors, in order."""
        while self.pending and most:
            at, data = self.pending.pop(0)
            self.machine.at(at, len(data))[:] = data
            most -= 1
        self._interrupt(RXT0 | TXDW)

    # ---- sending ----

    def _transmit(self):
        r, m = self.reg, self.machine
        cause = 0
        while r[TDH] != r[TDT]:
            assert self.master(), "DMA without bus mastering"
            at = (r[TDBAL] | r[TDBAH] << 32) + 16 * r[TDH]
            words = struct.unpack("<IIII", m.at(at, 16))
            command = words[2] >> 24
            assert command & 0x20, "a legacy descriptor"
            if words[2] >> 20 & 15 == 0:
                self.context = words
                self.contexts += 1
            else:
                assert words[2] >> 20 & 15 == 1
                self._data(words, command)
            if command & 8:
                self._write_back(at + 12, struct.pack("<I", words[3] | DD))
                cause = TXDW
            r[TDH] = (r[TDH] + 1) % (r[TDLEN] // 16)
        if not self.hold:
            self._interrupt(cause)

    def _data(self, words, command):
        n = words[2] & 0xFFFFF
        assert 0 < n <= 16288, "a descriptor of %d bytes" % n
        assert command & 2, "no FCS"
        data = bytes(self.machine.at(words[0] | words[1] << 32, n))
        self.parts.append((data, command, words[3] >> 8 & 0xFF))
        if command & 1:
            assert command & 8, "the last descriptor is not reported"
            frame = b"".join(p[0] for p in self.parts)
            _, first, options = self.parts[0]
            self.parts = []
            if first & 4:
                self._segment(bytearray(frame), options)
            else:
                assert len(frame) <= 16128 - 4
                self._put(bytearray(frame), options)

    def _put(self, frame, options):
        """Insert the checksums that POPTS asks for, pad, and send."""
        if options:
            w0, w1 = self.context[:2]
            if options & 1:
                self._insert(frame, w0 & 0xFF, w0 >> 8 & 0xFF, w0 >> 16)
            if options & 2:
                self._insert(frame, w1 & 0xFF, w1 >> 8 & 0xFF, w1 >> 16)
        wire = bytes(frame) + bytes(max(0, 60 - len(frame)))
        if self.reg[RCTL] & 1 << 6:
            self.looped += 1
            self.deliver(wire)
        else:
            self.sent.append(wire)

    @staticmethod
    def _insert(frame, start, at, end):
        v = ones_sum(bytes(frame[start : end + 1 if end else None])) ^ 0xFFFF
        frame[at : at + 2] = struct.pack("!H", v)

    def _segment(self, frame, options):
        """TCP segmentation as in 3.5: lengths, ident, sequence number, flags, sums."""
        w0, w1, w2, w3 = self.context
        header, mss = w3 >> 8 & 0xFF, w3 >> 16
        ip, tcp, field = w0 & 0xFF, w1 & 0xFF, w1 >> 8 & 0xFF
        assert w2 >> 24 & 0x25 == 0x25, "not a segmentation context"
        assert w2 & 0xFFFFF == len(frame) - header, "PAYLEN"
        v4 = w2 >> 25 & 1
        assert frame[ip] >> 4 == (4 if v4 else 6) and tcp - ip >= (20 if v4 else 40)
        assert options == (3 if v4 else 2) and header - tcp == (frame[tcp + 12] >> 4) * 4
        assert not any(frame[ip + 2 : ip + 4] if v4 else frame[ip + 4 : ip + 6]), "a length"
        payload = frame[header:]
        pseudo = int.from_bytes(frame[field : field + 2], "big")
        for k, at in enumerate(range(0, len(payload), mss)):
            piece = frame[:header] + payload[at : at + mss]
            n = len(piece)
            if v4:
                piece[ip + 2 : ip + 4] = struct.pack("!H", n - ip)
                ident = int.from_bytes(frame[ip + 4 : ip + 6], "big") + k & 0xFFFF
                piece[ip + 4 : ip + 6] = struct.pack("!H", ident)
            else:
                piece[ip + 4 : ip + 6] = struct.pack("!H", n - ip - 40)
            seq = int.from_bytes(frame[tcp + 4 : tcp + 8], "big") + at & ONES
            piece[tcp + 4 : tcp + 8] = struct.pack("!I", seq)
            if "fragments" in self.lie and at + mss < len(payload):
                piece[ip + 6] |= 0x20
            if at + mss < len(payload):
                piece[tcp + 13] &= ~9  # FIN and PSH belong to the last
            s = pseudo + n - tcp
            piece[field : field + 2] = struct.pack("!H", (s & 0xFFFF) + (s >> 16))
            self._put(piece, options)
