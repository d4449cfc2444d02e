"""Small things on secret bytes and on numbers that several files need."""

import micropython


@micropython.viper
def _differ(a, a_off: int, b, b_off: int, n: int) -> int:
    p = ptr8(a)
    q = ptr8(b)
    d = 0
    i = 0
    while i < n:
        d |= p[a_off + i] ^ q[b_off + i]
        i += 1
    return d


def equal(a, b):
    """True if a and b are the same bytes; the time does not depend on where they differ."""
    return len(a) == len(b) and _differ(a, 0, b, 0, len(a)) == 0


def equal_at(a, a_off, b, b_off, n):
    """`equal` for n bytes inside larger buffers."""
    return _differ(a, a_off, b, b_off, n) == 0


def inverse(a, m):
    """a^-1 mod m for an odd prime or any m coprime to a; ValueError if there is none.

    MicroPython's pow(a, -1, m) silently gives 0, so this is extended Euclid.
    """
    r0, r1 = m, a % m
    t0, t1 = 0, 1
    while r1:
        q = r0 // r1
        r0, r1 = r1, r0 - q * r1
        t0, t1 = t1, t0 - q * t1
    if r0 != 1:
        raise ValueError("no inverse")
    return t0 % m


def bit_length(n):
    """How many bits n has (MicroPython's int lacks the method)."""
    bits = 0
    while n >> 32:
        n >>= 32
        bits += 32
    while n:
        n >>= 1
        bits += 1
    return bits


_PADS = {
    n: (int.from_bytes(b"\x36" * n, "big"), int.from_bytes(b"\x5c" * n, "big")) for n in (64, 128)
}


def hmac_pads(size, key):
    """HMAC's inner and outer first block for a key of at most `size` bytes. RFC 2104."""
    # By one big exclusive or: a loop over bytes costs 50 us in bytecode.
    k = int.from_bytes(bytes(key) + bytes(size - len(key)), "big")
    inner, outer = _PADS[size]
    return (k ^ inner).to_bytes(size, "big"), (k ^ outer).to_bytes(size, "big")
