"""What a driver takes from hw.dma, and how much of it: memory that a device reads and writes.

It lies outside the collected heap, is identity mapped and never moves, so the
address of a buffer is its DMA address. It is not given back before a reset:
everything is taken once, when a device starts.
"""

from micropython import const

from stack.core.frame import FramePool

# The largest packet that a device hands up: 65,535 bytes of IP, 14 Ethernet,
# 4 VLAN, 12 virtio_net_hdr, in whole pages.
PACKET_MAX = const(69632)

# A frame's own buffer: headroom, headers, and a payload of up to an Ethernet
# packet. Bulk payload lies elsewhere (frame.data).
FRAME_SIZE = const(2048)

_FIRST = const(32)  # frames of the pool made at the start
_BUDGET_MIN = const(256 << 10)
_BUDGET_MAX = const(4 << 20)
_SMALLEST = const(2048)  # holds an Ethernet packet whole
_LARGEST = const(16384)  # five make 64 KB; larger ones gained nothing


def rx_budget(hw):
    """Bytes for the receive buffers of one NIC: 1/32 of memory, from 256 KB to 4 MB.

    512 KB of 16 MB, which with the 68 KB beyond the end, the rings and 128 frames
    makes 0.9 MB; 4 MB from 128 MB on. Never over a quarter of the DMA memory left.
    """
    n = hw.ram() + (1 << 20) >> 5  # firmware keeps part of the last MB
    n = min(max(n, _BUDGET_MIN), _BUDGET_MAX)
    left = hw.dma_left() >> 2
    return min(n, left)


def rx_merge_plan(budget, ring):
    """(count, size) of receive buffers when a packet may span several. Powers of two."""
    count = min(ring, 256)
    while count > 16 and count * _SMALLEST > budget:
        count >>= 1
    size = _SMALLEST
    while size < _LARGEST and count * size * 2 <= budget:
        size <<= 1
    return count, size


def rx_whole_plan(budget, ring, largest):
    """(count, size) of receive buffers when each must hold a packet whole; count a power of two."""
    size = (largest + 63) & ~63
    if size < _SMALLEST:
        size = _SMALLEST
    count = min(ring, 256)
    while count > 4 and count * size > budget:
        count >>= 1
    return count, size


def frame_pool(hw):
    """The host's pool of frames for sending: 128 at 16 MB, 256 from 32 MB on.

    That is a full ring and as many again; each takes some 20 us, so all but a few are made when
    they are first wanted.
    """
    n = min(max(hw.ram() >> 17, 64), 256)
    while n > 32 and n * FRAME_SIZE > hw.dma_left() >> 2:
        n >>= 1
    # One piece, cut up by address: no buffer's alignment wastes the arena.
    whole = hw.dma(n * FRAME_SIZE)
    start = hw.addr(whole)

    def piece(i):
        return hw.mem(start + i * FRAME_SIZE, FRAME_SIZE)

    return FramePool([None] * (n - _FIRST) + [piece(i) for i in range(n - _FIRST, n)], piece)
