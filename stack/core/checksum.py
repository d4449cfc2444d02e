"""The Internet checksum (RFC 1071): a one's complement sum of 16-bit words.

`add` works in the machine's little-endian order, which the sum allows
(RFC 1071, section 2 (B)), and swaps once at the end. Sums between calls are
folded 16-bit values in network order.
"""

import micropython


@micropython.viper
def add(buf, off: int, n: int, total: int) -> int:
    """Add n bytes of buf from off to `total`; an odd last byte counts as its high half.

    total: 16-bit partial sum. Returns the 16-bit folded sum, not complemented.
    """
    p = ptr8(buf)
    s = 0
    end = off + n
    if n & 1:
        end -= 1
        s = p[end]
    if off & 1:
        # Odd start: words do not align; take bytes in pairs.
        i = off
        while i < end:
            s += p[i] | p[i + 1] << 8
            i += 2
    else:
        q = ptr16(buf)
        i = off >> 1
        stop = end >> 1
        if i & 1 and i < stop:
            s += q[i]
            i += 1
        w = ptr32(buf)
        j = i >> 1
        last = (stop - (i & 1)) >> 1
        far = last - 16
        while j <= far:
            s += (w[j] & 0xFFFFFFFF) + (w[j + 1] & 0xFFFFFFFF)
            s += (w[j + 2] & 0xFFFFFFFF) + (w[j + 3] & 0xFFFFFFFF)
            s += (w[j + 4] & 0xFFFFFFFF) + (w[j + 5] & 0xFFFFFFFF)
            s += (w[j + 6] & 0xFFFFFFFF) + (w[j + 7] & 0xFFFFFFFF)
            s += (w[j + 8] & 0xFFFFFFFF) + (w[j + 9] & 0xFFFFFFFF)
            s += (w[j + 10] & 0xFFFFFFFF) + (w[j + 11] & 0xFFFFFFFF)
            s += (w[j + 12] & 0xFFFFFFFF) + (w[j + 13] & 0xFFFFFFFF)
            s += (w[j + 14] & 0xFFFFFFFF) + (w[j + 15] & 0xFFFFFFFF)
            j += 16
        while j < last:
            s += w[j] & 0xFFFFFFFF
            j += 1
        if stop & 1 and stop > i:
            s += q[stop - 1]
    while s >> 16:
        s = (s & 0xFFFF) + (s >> 16)
    s = (s >> 8 | s << 8) & 0xFFFF
    s += total
    return (s & 0xFFFF) + (s >> 16)


def checksum(buf, off, n, total=0):
    """The checksum field for these bytes: the complement of the sum. 16 bits."""
    return add(buf, off, n, total) ^ 0xFFFF


def valid(buf, off, n, total=0):
    """True if the bytes, their checksum field among them, sum to all ones."""
    return add(buf, off, n, total) == 0xFFFF
