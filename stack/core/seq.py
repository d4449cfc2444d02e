"""Sequence numbers: comparison mod 2^32 (RFC 9293, section 3.4)."""

from micropython import const

MASK = const(0xFFFFFFFF)
_HALF = const(0x80000000)


def lt(a, b):
    """a < b: b is within half the space ahead of a, and not equal."""
    return 0 < (b - a) & 0xFFFFFFFF < _HALF


def le(a, b):
    return (b - a) & 0xFFFFFFFF < _HALF


def diff(a, b):
    """a - b as a signed int in [-2^31, 2^31)."""
    d = (a - b) & 0xFFFFFFFF
    return d - 0x100000000 if d >= _HALF else d


def add(a, n):
    return (a + n) & 0xFFFFFFFF
