"""Big-endian fields: reading and writing them without allocating."""

import micropython


@micropython.viper
def get16(buf, off: int) -> int:
    p = ptr8(buf)
    return p[off] << 8 | p[off + 1]


@micropython.viper
def get32(buf, off: int) -> int:
    p = ptr8(buf)
    return p[off] << 24 | p[off + 1] << 16 | p[off + 2] << 8 | p[off + 3]


@micropython.viper
def put16(buf, off: int, v: int):
    p = ptr8(buf)
    p[off] = v >> 8 & 0xFF
    p[off + 1] = v & 0xFF


@micropython.viper
def put32(buf, off: int, v: int):
    p = ptr8(buf)
    p[off] = v >> 24 & 0xFF
    p[off + 1] = v >> 16 & 0xFF
    p[off + 2] = v >> 8 & 0xFF
    p[off + 3] = v & 0xFF


@micropython.viper
def equal(a, a_off: int, b, b_off: int, n: int) -> int:
    """1 if n bytes agree. Not constant time: for addresses, not for secrets."""
    p = ptr8(a)
    q = ptr8(b)
    i = 0
    while i < n:
        if p[a_off + i] != q[b_off + i]:
            return 0
        i += 1
    return 1
