"""HPACK's Huffman code: RFC 7541, section 5.2 and appendix B.

The code is canonical (codes of one length follow each other in the order of their
symbols), so the lengths say all of it. Both directions are loops in machine code.
Not implemented: nothing of it is missing.
"""

import micropython
from micropython import const

_EOS = const(256)
_MAX_BITS = const(30)

# The bits of symbols 0 to 256, plus 48, as a character each.
_LENGTHS = (
    b"=GLLLLLLLHNLLNLLLLLLLLNLLLLLLLLL6::<=68;::8;8666555666666678?6<:=677777777777777777777"
    b"77878=C=>6?56565666577666567655677777?;>=LDFDDFFFGFGGGGGHGHHFGHGGGGEFGFGGHFEDFFGGEGFFH"
    b"EFGGEEFEGFGGDFFFGFFGJJDCFGFIJJJKKJHICEJKKJKHEEJJLKKKDHDEFEEGFFIIHHJGJKJJKKKKKLKKKKKJN"
)

# For each length up to 30: the first code, how many codes, where their symbols begin.
_FIRST = bytearray(4 * 31)
_COUNT = bytearray(4 * 31)
_BASE = bytearray(4 * 31)
_SYMBOLS = bytearray(2 * 257)
_CODES = bytearray(4 * 257)
_BITS = bytearray(257)


def _put(table, i, v):
    table[4 * i : 4 * i + 4] = v.to_bytes(4, "little")


def _build():
    code = n = 0
    for bits in range(1, _MAX_BITS + 1):
        code <<= 1
        _put(_FIRST, bits, code)
        _put(_BASE, bits, n)
        base = n
        for symbol in range(257):
            if _LENGTHS[symbol] == bits + 48:
                _put(_CODES, symbol, code)
                _BITS[symbol] = bits
                _SYMBOLS[2 * n] = symbol & 255
                _SYMBOLS[2 * n + 1] = symbol >> 8
                code += 1
                n += 1
        _put(_COUNT, bits, n - base)


_build()


@micropython.viper
def _encode(src, n: int, out, codes, bits) -> int:
    s = ptr8(src)
    o = ptr8(out)
    c = ptr32(codes)
    b = ptr8(bits)
    acc = 0
    have = 0
    k = 0
    i = 0
    while i < n:
        sym = int(s[i])
        acc = (acc << int(b[sym])) & 0xFFFFFFFFFF | int(c[sym])
        have += int(b[sym])
        while have >= 8:
            have -= 8
            o[k] = acc >> have & 0xFF
            k += 1
        i += 1
    if have:
        # "the most significant bits of the code for the EOS symbol": ones.
        o[k] = (acc << (8 - have) | 0xFF >> have) & 0xFF
        k += 1
    return k


@micropython.viper
def _decode(src, off: int, end: int, out, first, count, base, symbols) -> int:
    s = ptr8(src)
    o = ptr8(out)
    f = ptr32(first)
    c = ptr32(count)
    b = ptr32(base)
    y = ptr16(symbols)
    acc = 0
    have = 0
    k = 0
    bits = 5
    while True:
        if have < bits:
            if off >= end:
                # Fewer bits left than a code has: they must be padding, under 8 ones.
                if have > 7 or acc & ((1 << have) - 1) != (1 << have) - 1:
                    return -1
                return k
            acc = (acc << 8 | int(s[off])) & 0xFFFFFFFFFF
            off += 1
            have += 8
        else:
            at = (acc >> (have - bits) & ((1 << bits) - 1)) - int(f[bits])
            if at < int(c[bits]):
                sym = int(y[int(b[bits]) + at])
                if sym == 256:
                    return -1
                o[k] = sym
                k += 1
                have -= bits
                bits = 5
            else:
                bits += 1
                if bits > 30:
                    return -1


@micropython.viper
def _size(src, n: int, bits) -> int:
    s = ptr8(src)
    b = ptr8(bits)
    total = 0
    i = 0
    while i < n:
        total += int(b[int(s[i])])
        i += 1
    return total


def encoded_size(data):
    """Bytes that `data` (bytes) would have."""
    return _size(data, len(data), _BITS) + 7 >> 3


def encode(data):
    """bytes -> bytes."""
    out = bytearray(len(data) * 4)  # the longest code has 30 bits
    n = _encode(data, len(data), out, _CODES, _BITS)
    return bytes(memoryview(out)[:n])


def decode(data, off, end):
    """data[off:end] decoded, bytes; None if it is no such code: EOS inside, wrong padding."""
    out = bytearray((end - off) * 8 // 5 + 1)
    n = _decode(data, off, end, out, _FIRST, _COUNT, _BASE, _SYMBOLS)
    return None if n < 0 else bytes(memoryview(out)[:n])
