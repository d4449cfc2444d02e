"""Frames: where a packet lies while it crosses the layers.

A frame is `buf, off, end`; a layer moves two integers and nobody slices.
One owner at a time: the pool, the stack, a neighbour's queue, or a driver.
"""

from micropython import const

# What a device does for us (Device.caps).
CAP_TX_CSUM = const(1)  # adds the transport checksum on the way out
CAP_RX_CSUM = const(2)  # vouches for it on the way in (frame.csum_ok)
CAP_TSO4 = const(4)  # cuts a big TCP/IPv4 segment
CAP_TSO6 = const(8)  # cuts a big TCP/IPv6 segment

# Room in front of a payload: 12 virtio-net header, 14 Ethernet, 4 VLAN,
# 40 IPv6 or 60 IPv4, 60 TCP; rounded up.
HEADROOM = const(192)


class Frame:
    """A packet being received or sent. `buf[off:end]` is what the present layer sees."""

    __slots__ = (
        "buf", "off", "end",
        "data", "data_off", "data_len",
        "gso_size", "csum_start", "csum_offset", "csum_ok",
        "pool", "index", "next",
    )

    def __init__(self, buf, pool=None, index=-1):
        self.buf = buf
        self.pool = pool
        self.index = index
        self.next = None
        self.reset()

    def reset(self):
        """Empty the frame, with HEADROOM in front."""
        self.off = self.end = HEADROOM
        self.data = None
        self.data_off = self.data_len = 0
        self.gso_size = self.csum_start = self.csum_offset = 0
        self.csum_ok = False

    def prepend(self, n):
        """Take n bytes in front of the packet; returns the new offset to write at."""
        self.off = off = self.off - n
        assert off >= 0
        return off

    def release(self):
        """Give the frame back to its pool; a frame without one is its driver's."""
        if self.pool is not None:
            self.pool.put(self)


class FramePool:
    """A fixed number of frames for sending, each with a buffer of its own.

    `buffers`: bytearrays (in the image: DMA memory). For those that are None the frame is made
    when it is first wanted, with the buffer `more(index)`: 256 of them were a fifth of a boot.
    Beyond that nothing is allocated later.
    """

    def __init__(self, buffers, more=None):
        self.frames = [
            Frame(buf, self, i) if buf is not None else None for i, buf in enumerate(buffers)
        ]
        self.size = len(buffers[-1]) if buffers else 0
        self.free = len(self.frames)
        self._more = more
        # A stack: the first `free` entries. (list.pop would shrink a list and allocate anew.)
        self.stack = list(self.frames)

    def get(self):
        """An empty frame, or None when all are in use (the caller drops or waits)."""
        n = self.free
        if not n:
            return None
        self.free = n = n - 1
        f = self.stack[n]
        if f is None:
            return self._first(n)
        f.off = f.end = HEADROOM
        return f

    def _first(self, n):
        """The frame of index n, made now: it lies where it lay in `frames`. None without memory."""
        try:
            self.frames[n] = f = Frame(self._more(n), self, n)
            return f
        except MemoryError:
            self.free = n + 1
            return None

    def put(self, f):
        # Only what says that something is there; its details need no reset. Each
        # store counts: this is on the path of every frame.
        f.data = None
        f.data_len = f.gso_size = f.csum_start = 0
        n = self.free
        self.stack[n] = f
        self.free = n + 1
