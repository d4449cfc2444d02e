"""DEFLATE, zlib and gzip as a stream that may stop at any byte. RFC 1951, 1950, 1952.

    z = Inflate(GZIP | ZLIB | RAW | EITHER)    EITHER: zlib or raw, for HTTP's "deflate"
    z.receive(data)
    z.read() -> bytes, at most 64 KB; b"" when all that came is read
    z.done    the end has come, its checksum held; `z.rest()` what follows

Faults raise ProtocolError("deflate", ...). Memory: 64 KB of window while in use, and
what was received and not yet read. Huffman codes are read a bit at a time by counts of
lengths, which in machine code is quick enough and needs no large tables.
Not implemented: gzip members after the first. Compression is deflate.py's.
"""

import micropython
from micropython import const

from stack.core.errors import ProtocolError

RAW = const(0)
ZLIB = const(1)
GZIP = const(2)
EITHER = const(3)

_WINDOW = const(32768)
_ROOM = const(65536)
_MATCH_MAX = const(258)
_GZIP_NAME_MAX = const(65536)

# What _codes returns.
_MORE = const(0)
_BLOCK_END = const(1)
_FULL = const(2)
_BAD = const(3)

# States.
_HEAD = const(0)
_BLOCK = const(1)
_STORED = const(2)
_CODES = const(3)
_TAIL = const(4)
_DONE = const(5)

_ORDER = b"\x10\x11\x12\x00\x08\x07\x09\x06\x0a\x05\x0b\x04\x0c\x03\x0d\x02\x0e\x01\x0f"


def u16(values):
    out = bytearray()
    for v in values:
        out.append(v & 255)
        out.append(v >> 8)
    return out


LBASE = (3, 4, 5, 6, 7, 8, 9, 10, 11, 13, 15, 17, 19, 23, 27, 31, 35, 43, 51, 59, 67, 83, 99, 115,
          131, 163, 195, 227, 258)  # fmt: skip
LEXTRA = (0, 0, 0, 0, 0, 0, 0, 0, 1, 1, 1, 1, 2, 2, 2, 2, 3, 3, 3, 3, 4, 4, 4, 4, 5, 5, 5, 5, 0)
_DBASE = (1, 2, 3, 4, 5, 7, 9, 13, 17, 25, 33, 49, 65, 97, 129, 193, 257, 385, 513, 769, 1025, 1537,
          2049, 3073, 4097, 6145, 8193, 12289, 16385, 24577)  # fmt: skip
# Length bases at 0, their extra bits at 32, distance bases at 64, their extra bits at 96.
TABLE = u16(
    LBASE + (0,) * 3 + LEXTRA + (0,) * 3 + _DBASE + (0,) * 2
    + tuple([max(0, i // 2 - 1) for i in range(30)])
)  # fmt: skip


class _More(Exception):
    """The header of a block has not all come."""


@micropython.viper
def _codes(src, end: int, state, win, lcode, dcode, table) -> int:
    """Decode symbols. state: position, bits kept, how many, where to write, bytes of history.

    A code is counts of the lengths 0 to 15, then its symbols (16-bit words)."""
    s = ptr8(src)
    st = ptr32(state)
    w = ptr8(win)
    lc = ptr16(lcode)
    dc = ptr16(dcode)
    t = ptr16(table)
    pos = int(st[0])
    acc = int(st[1])
    have = int(st[2])
    wp = int(st[3])
    hist = int(st[4])
    result = 0
    while True:
        if wp > 65536 - 258:
            result = 2
            break
        while have <= 48 and pos < end:
            acc = acc | int(s[pos]) << have
            pos += 1
            have += 8
        # A literal, a length or the end.
        a = acc
        left = have
        code = 0
        first = 0
        index = 0
        bits = 1
        sym = -1
        while bits < 16 and left:
            code = code | a & 1
            a = a >> 1
            left -= 1
            count = int(lc[bits])
            if code - count < first:
                sym = int(lc[16 + index + code - first])
                break
            index += count
            first = (first + count) << 1
            code = code << 1
            bits += 1
        if sym < 0:
            if bits == 16:
                result = 3
            break
        if sym < 256:
            w[wp] = sym
            wp += 1
            hist += 1
            acc = a
            have = left
            continue
        if sym == 256:
            acc = a
            have = left
            result = 1
            break
        sym -= 257
        if sym > 28:
            result = 3
            break
        extra = int(t[32 + sym])
        if left < extra:
            break
        length = int(t[sym]) + (a & ((1 << extra) - 1))
        a = a >> extra
        left -= extra
        code = 0
        first = 0
        index = 0
        bits = 1
        sym = -1
        while bits < 16 and left:
            code = code | a & 1
            a = a >> 1
            left -= 1
            count = int(dc[bits])
            if code - count < first:
                sym = int(dc[16 + index + code - first])
                break
            index += count
            first = (first + count) << 1
            code = code << 1
            bits += 1
        if sym < 0:
            if bits == 16:
                result = 3
            break
        if sym > 29:
            result = 3
            break
        extra = int(t[96 + sym])
        if left < extra:
            break
        dist = int(t[64 + sym]) + (a & ((1 << extra) - 1))
        if dist > hist or dist > wp:
            result = 3
            break
        acc = a >> extra
        have = left - extra
        hist += length
        while length:
            w[wp] = w[wp - dist]
            wp += 1
            length -= 1
    # Whole bytes are given back, so that what is kept stays small.
    pos -= have >> 3
    have = have & 7
    st[0] = pos
    st[1] = acc & ((1 << have) - 1)
    st[2] = have
    st[3] = wp
    st[4] = hist if hist < 32768 else 32768
    return result


@micropython.viper
def _adler(buf, off: int, end: int, value: int) -> int:
    p = ptr8(buf)
    a = value & 0xFFFF
    b = value >> 16 & 0xFFFF
    while off < end:
        a += int(p[off])
        b += a
        off += 1
        if off & 4095 == 0:
            a = a % 65521
            b = b % 65521
    return (b % 65521) << 16 | a % 65521


def _code(lengths):
    """A code from the lengths of its symbols; None if over-subscribed."""
    counts = [0] * 16
    for n in lengths:
        counts[n] += 1
    counts[0] = 0
    left = 1
    for bits in range(1, 16):
        left = (left << 1) - counts[bits]
        if left < 0:
            return None
    at = [0] * 16
    for bits in range(1, 15):
        at[bits + 1] = at[bits] + counts[bits]
    symbols = [0] * max(1, len(lengths))
    for symbol, n in enumerate(lengths):
        if n:
            symbols[at[n]] = symbol
            at[n] += 1
    return u16(counts + symbols)


_fixed = []


def _fixed_codes():
    if not _fixed:
        _fixed.append(_code([8] * 144 + [9] * 112 + [7] * 24 + [8] * 8))
        _fixed.append(_code([5] * 30))
    return _fixed


def _bad(reason):
    raise ProtocolError("deflate", reason)


class Inflate:
    def __init__(self, wrap=RAW):
        self._wrap = wrap
        self._buf = bytearray()
        self._state = _BLOCK if wrap == RAW else _HEAD
        self._st = bytearray(20)
        self._words = None
        self._win = None
        self._sent = 0  # where in the window the unread begins
        self._wp = 0
        self._bits = self._nbits = self._pos = 0
        self._hist = 0
        self._last = False
        self._left = 0
        self._lcode = self._dcode = None
        self._sum = 1 if wrap == ZLIB else 0
        self._total = 0
        self._tail = 0
        self.done = False

    def receive(self, data):
        if self._pos:
            self._buf[: self._pos] = b""
            self._pos = 0
        self._buf.extend(data)

    def rest(self):
        """Bytes after the end."""
        return bytes(self._buf[self._pos :])

    def read(self):
        """Decoded bytes; b"" when more has to be received, or at the end (`done`)."""
        if self._win is None:
            self._win = bytearray(_ROOM)
        while self._wp - self._sent < _WINDOW - _MATCH_MAX and not self.done:
            if self._wp > _ROOM - _MATCH_MAX - 1:
                if self._sent < self._wp:
                    break
                self._slide()
            try:
                if not self._step():
                    break
            except _More:
                break
        out = bytes(memoryview(self._win)[self._sent : self._wp])
        self._check(out)
        self._sent = self._wp
        if self.done:
            self._finish_check()
            if self._wrap != RAW:  # raw blocks may go on: next_message
                self._win = None
                self._wp = self._sent = 0
        return out

    def next_message(self):
        """Go on behind a final block as if it had not been one (WebSocket: RFC 7692, 7.2.3.4)."""
        self._last = self.done = False
        self._bits = self._nbits = 0
        self._state = _BLOCK

    def _slide(self):
        keep = self._wp - _WINDOW
        win = self._win
        win[:_WINDOW] = memoryview(win)[keep : self._wp]
        self._wp = self._sent = _WINDOW

    def _check(self, out):
        n = len(out)
        if not n:
            return
        self._total = self._total + n & 0xFFFFFFFF
        if self._wrap == GZIP:
            import binascii

            self._sum = binascii.crc32(out, self._sum)
        elif self._wrap == ZLIB:
            self._sum = _adler(out, 0, n, self._sum) & 0xFFFFFFFF

    def _finish_check(self):
        if self._wrap == GZIP:
            if self._tail != (self._sum & 0xFFFFFFFF, self._total):
                _bad("gzip checksum")
        elif self._wrap == ZLIB and self._tail != self._sum:
            _bad("zlib checksum")

    def _step(self):
        """Go on; False when more must be received first."""
        s = self._state
        if s == _CODES:
            return self._run()
        start = self._pos, self._bits, self._nbits
        try:
            if s == _STORED:
                return self._stored()
            if s == _BLOCK:
                self._block()
            elif s == _HEAD:
                self._head()
            elif s == _TAIL:
                self._read_tail()
        except _More:
            self._pos, self._bits, self._nbits = start
            raise
        return True

    def _get(self, n):
        """n bits."""
        while self._nbits < n:
            if self._pos >= len(self._buf):
                raise _More()
            self._bits |= self._buf[self._pos] << self._nbits
            self._pos += 1
            self._nbits += 8
        v = self._bits & (1 << n) - 1
        self._bits >>= n
        self._nbits -= n
        return v

    def _block(self):
        if self._last:
            self._bits = self._nbits = 0
            if self._wrap in (RAW, EITHER):
                self._state = _DONE
                self.done = True
            else:
                self._state = _TAIL
            return
        last = self._get(1)
        kind = self._get(2)
        if kind == 0:
            self._bits = self._nbits = 0
            n = self._get(16)
            if n ^ 0xFFFF != self._get(16):
                _bad("stored length")
            self._left = n
            self._state = _STORED
        elif kind == 1:
            self._lcode, self._dcode = _fixed_codes()
            self._state = _CODES
        elif kind == 2:
            self._dynamic()
            self._state = _CODES
        else:
            _bad("block type")
        self._last = last == 1

    def _dynamic(self):
        """RFC 1951, section 3.2.7."""
        nlen = self._get(5) + 257
        ndist = self._get(5) + 1
        ncode = self._get(4) + 4
        if nlen > 286 or ndist > 30:
            _bad("too many codes")
        lengths = [0] * 19
        for i in range(ncode):
            lengths[_ORDER[i]] = self._get(3)
        code = _code(lengths)
        if code is None:
            _bad("code lengths")
        lengths = []
        while len(lengths) < nlen + ndist:
            sym = self._symbol(code)
            if sym < 16:
                lengths.append(sym)
            elif sym == 16:
                if not lengths:
                    _bad("nothing to repeat")
                lengths.extend([lengths[-1]] * (3 + self._get(2)))
            elif sym == 17:
                lengths.extend([0] * (3 + self._get(3)))
            else:
                lengths.extend([0] * (11 + self._get(7)))
        if len(lengths) > nlen + ndist or not lengths[256]:
            _bad("code lengths")
        self._lcode = _code(lengths[:nlen])
        self._dcode = _code(lengths[nlen:])
        if self._lcode is None or self._dcode is None:
            _bad("code lengths")

    def _symbol(self, code):
        v = first = index = 0
        for bits in range(1, 16):
            v |= self._get(1)
            count = code[2 * bits] | code[2 * bits + 1] << 8
            if v - count < first:
                at = 2 * (16 + index + v - first)
                return code[at] | code[at + 1] << 8
            index += count
            first = first + count << 1
            v <<= 1
        _bad("code")

    def _stored(self):
        n = min(self._left, len(self._buf) - self._pos, _ROOM - self._wp)
        if n:
            self._win[self._wp : self._wp + n] = memoryview(self._buf)[self._pos : self._pos + n]
            self._wp += n
            self._pos += n
            self._left -= n
            self._hist = min(_WINDOW, self._hist + n)
        if not self._left:
            self._state = _BLOCK
            return True
        return n > 0 and self._wp < _ROOM

    def _run(self):
        st = self._st
        for i, v in enumerate((self._pos, self._bits, self._nbits, self._wp, self._hist)):
            st[4 * i : 4 * i + 4] = v.to_bytes(4, "little")
        r = _codes(self._buf, len(self._buf), st, self._win, self._lcode, self._dcode, TABLE)
        self._pos, self._bits, self._nbits, self._wp, self._hist = [
            int.from_bytes(st[i : i + 4], "little") for i in range(0, 20, 4)
        ]
        if r == _BAD:
            _bad("code or distance")
        if r == _BLOCK_END:
            self._state = _BLOCK
        return r != _MORE

    def _head(self):
        if self._wrap == GZIP:
            return self._gzip_head()
        a = self._get(8)
        b = self._get(8)
        if a & 15 == 8 and a >> 4 <= 7 and (a << 8 | b) % 31 == 0 and not b & 32:
            self._wrap = ZLIB
            self._sum = 1
        elif self._wrap == EITHER:
            self._pos -= 2  # raw, as some servers send it
            self._wrap = RAW
        else:
            _bad("zlib header")
        self._state = _BLOCK

    def _gzip_head(self):
        """RFC 1952, section 2.3: read over the optional fields."""
        if self._get(8) != 31 or self._get(8) != 139 or self._get(8) != 8:
            _bad("gzip header")
        flags = self._get(8)
        if flags & 0xE0:
            _bad("gzip flags")
        for _ in range(6):
            self._get(8)
        if flags & 4:
            for _ in range(self._get(16)):
                self._get(8)
        for bit in (8, 16):
            if flags & bit:
                n = 0
                while self._get(8):
                    n += 1
                    if n > _GZIP_NAME_MAX:
                        _bad("gzip name too long")
        if flags & 2:
            self._get(16)
        self._state = _BLOCK

    def _read_tail(self):
        if self._wrap == GZIP:
            low = self._get(16) | self._get(16) << 16
            self._tail = low, self._get(16) | self._get(16) << 16
        else:
            v = 0
            for _ in range(4):
                v = v << 8 | self._get(8)
            self._tail = v
        self._state = _DONE
        self.done = True
