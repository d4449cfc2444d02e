"""DEFLATE written: one block with the fixed code. RFC 1951, section 3.2.6.

    deflate(data) -> raw blocks that end on a byte, as after zlib's Z_SYNC_FLUSH

Each string of three bytes is looked for where it was last seen, in a table of 16 KB.
Not implemented: dynamic codes; a string's second-last place.
"""

import micropython
from micropython import const

from stack.core.flate import LBASE, LEXTRA, TABLE, u16

_HASH = const(4096)
_CODE = bytearray(2 * 288)  # bits of the fixed code, reversed
_CODE_BITS = bytearray(288)
_heads = bytearray(4 * _HASH)
_table = bytearray()


def _fill():
    for sym in range(288):
        if sym < 144:
            code, bits = 0x30 + sym, 8
        elif sym < 256:
            code, bits = 0x190 + sym - 144, 9
        elif sym < 280:
            code, bits = sym - 256, 7
        else:
            code, bits = 0xC0 + sym - 280, 8
        v = 0
        for i in range(bits):
            v |= (code >> i & 1) << bits - 1 - i
        _CODE[2 * sym] = v & 255
        _CODE[2 * sym + 1] = v >> 8
        _CODE_BITS[sym] = bits
    syms = [0] * 259
    for i in range(28):
        for n in range(LBASE[i], min(258, LBASE[i] + (1 << LEXTRA[i]))):
            syms[n] = i
    syms[258] = 28
    _table.extend(TABLE)
    _table.extend(u16(syms))  # at 126, by length


@micropython.viper
def _pack(src, n: int, out, heads, code, code_bits, tables, reach: int) -> int:
    s = ptr8(src)
    o = ptr8(out)
    h = ptr32(heads)
    c = ptr16(code)
    cb = ptr8(code_bits)
    t = ptr16(tables)
    i = 0
    while i < 4096:
        h[i] = 0
        i += 1
    acc = 2  # not the last, fixed code
    have = 3
    k = 0
    i = 0
    while i < n:
        length = 0
        dist = 0
        if i + 3 < n:
            key = (int(s[i]) << 8 ^ int(s[i + 1]) << 4 ^ int(s[i + 2])) & 4095
            at = int(h[key]) - 1
            h[key] = i + 1
            dist = i - at
            if at >= 0 and dist <= reach:
                most = n - i
                if most > 258:
                    most = 258
                while length < most and s[at + length] == s[i + length]:
                    length += 1
        if length > 3:
            sym = int(t[126 + length])
            acc = acc | int(c[257 + sym]) << have
            have += int(cb[257 + sym])
            acc = acc | (length - int(t[sym])) << have
            have += int(t[32 + sym])
            d = dist - 1
            e = 0
            while d >> e > 3:
                e += 1
            sym = d if d < 4 else 2 * e + 2 + (d >> e & 1)
            # Five bits, the first the highest.
            r = (sym & 1) << 4 | (sym & 2) << 2 | sym & 4 | (sym & 8) >> 2 | sym >> 4
            acc = acc | r << have
            have += 5
            acc = acc | (d & ((1 << e) - 1)) << have
            have += e
            i += length
        else:
            acc = acc | int(c[int(s[i])]) << have
            have += int(cb[int(s[i])])
            i += 1
        while have >= 8:
            o[k] = acc & 255
            k += 1
            acc = acc >> 8
            have -= 8
    have += 7  # the end of the block: seven zeros
    have += 3  # an empty stored block: not the last, 00
    while have > 0:
        o[k] = acc & 255
        k += 1
        acc = acc >> 8
        have -= 8
    o[k] = 0
    o[k + 1] = 0
    o[k + 2] = 255
    o[k + 3] = 255
    return k + 4


def deflate(data, reach=32768):
    """data as raw DEFLATE blocks, none of them the last, ending in 00 00 ff ff. bytes.

    reach: how far back the decoder's window goes."""
    if not _CODE_BITS[0]:
        _fill()
    n = len(data)
    out = bytearray(n + (n >> 3) + 16)
    k = _pack(data, n, out, _heads, _CODE, _CODE_BITS, _table, reach)
    return bytes(memoryview(out)[:k])
