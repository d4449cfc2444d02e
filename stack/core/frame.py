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

    `buffers`: bytearrays (in the image: DMA memory). Nothing is allocated later.
    """

    def __init__(self, buffers):
        self.frames = [Frame(buf, self, i) for i, buf in enumerate(buffers)]
        self.size = len(self.frames[0].buf) if self.frames else 0
        self.free = len(self.frames)
        # A stack: the first `free` entries. (list.pop would shrink a list and allocate anew.)
        self.stack = list(self.frames)

    def get(self):
        """An empty frame, or None when all are in use (the caller drops or waits)."""
        n = self.free
        if not n:
            return None
        self.free = n = n - 1
        f = self.stack[n]
        f.off = f.end = HEADROOM
        return f

    def put(self, f):
        # Only what says that something is there; its details need no reset. Each
        # store counts: this is on the path of every frame.
        f.data = None
        f.data_len = f.gso_size = f.csum_start = 0
        n = self.free
        self.stack[n] = f
        self.free = n + 1
