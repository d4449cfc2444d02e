"""Memory outside the collected heap: copying, and buffers for stream data.

In the image `copy` is C and buffers come from the DMA arena, so that the
collector never scans them. Elsewhere plain Python stands in.
"""

from micropython import const

try:
    from hw import copy
except ImportError:

    def copy(dst, dst_off, src, src_off, n):
        """Copy n bytes; ranges may overlap. IndexError if either range is out of bounds."""
        if n < 0 or dst_off < 0 or src_off < 0 or dst_off + n > len(dst) or src_off + n > len(src):
            raise IndexError("copy outside of a buffer")
        dst[dst_off : dst_off + n] = memoryview(src)[src_off : src_off + n]


try:
    from hw import addr, mem
except ImportError:
    mem = None

_MIN_SHIFT = const(11)  # the smallest buffer: 2 KB
_CLASSES = const(12)  # the largest: 4 MB


class Buffers:
    """Buffers in sizes of powers of two, 2 KB to 4 MB, taken from `source` and kept for reuse.

    source: a function n -> bytearray that raises MemoryError when spent
    (hw.dma), or None for plain bytearrays. limit: most bytes ever taken from it.
    """

    def __init__(self, source=None, limit=64 << 20):
        self._source = source or bytearray
        self._free = [[] for _ in range(_CLASSES)]
        self.limit = limit
        self.taken = 0  # bytes got from source
        self.in_use = 0  # bytes handed out now

    def alloc(self, n):
        """A bytearray of the smallest class that holds n bytes. MemoryError when the limit is met.

        The contents are whatever was there: the stack writes before it reads.
        """
        shift = _MIN_SHIFT
        while (1 << shift) < n:
            shift += 1
        k = shift - _MIN_SHIFT
        if k >= _CLASSES:
            raise MemoryError
        free = self._free
        if free[k]:
            buf = free[k].pop()
        else:
            buf = self._fresh(k, shift)
        self.in_use += len(buf)
        return buf

    def _fresh(self, k, shift):
        size = 1 << shift
        if self.taken + size <= self.limit:
            try:
                buf = self._source(size)
                self.taken += size
                return buf
            except MemoryError:
                pass
        # Nothing fresh: halve the next larger free buffer. It stays halved:
        # buffers are by-reference windows, and their sizes settle with use.
        for j in range(k + 1, _CLASSES):
            if self._free[j]:
                return self._split(self._free[j].pop(), j, k)
        raise MemoryError

    def _split(self, buf, j, k):
        window = _window
        while j > k:
            j -= 1
            half = 1 << (j + _MIN_SHIFT)
            self._free[j].append(window(buf, half, half))
            buf = window(buf, 0, half)
        return buf

    def free(self, buf):
        """Take back a buffer from alloc."""
        n = len(buf)
        self.in_use -= n
        k = 0
        while (1 << (k + _MIN_SHIFT)) < n:
            k += 1
        self._free[k].append(buf)


def _window(buf, off, n):
    # No shared windows of a bytearray in Python; the other half is simply new.
    return bytearray(n) if mem is None else mem(addr(buf) + off, n)
