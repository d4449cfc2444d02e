"""The split virtqueue (virtio 1.2, section 2.7): viper on descriptor memory.

One piece of DMA memory a queue, for `size` descriptors:

    descriptor table   16 * size   addr u64, len u32, flags u16, next u16       2.7.5
    available ring     6 + 2*size  flags, idx, ring[size], used_event           2.7.6
    used ring          6 + 8*size  flags, idx, {id u32, len u32}[size], avail_event   2.7.8

Its state is an array of 32-bit words, `st`, so that the viper functions read
and write it without making objects. Indexes only grow and are masked on use;
what is shared with the device is their low 16 bits.

Order: x86 keeps stores in order and loads in order, so entries are seen before
the index that publishes them (2.7.13.1). Only a load after a store can pass it:
`hw.fence()` stands between publishing and reading what the device wants
(2.7.7.2, 2.7.10), both for kicks and for interrupts.

Not implemented: indirect descriptors, packed rings.
"""

from array import array

import micropython
from micropython import const

# Words of `st`.
_MASK = const(0)  # size - 1
_AVAIL = const(1)  # the available ring, in 16-bit words
_USED = const(2)  # the used ring, in 16-bit words
_EVENT_IDX = const(3)  # 1 if negotiated
NEXT = const(4)  # available index: how much was ever put in
_KICKED = const(5)  # NEXT when a kick was last considered
LAST = const(6)  # used index: how much was ever taken out
_BUF_SIZE = const(7)  # rx: bytes of a buffer
_MERGE = const(8)  # rx: 1 if a packet may span buffers
_CSUM = const(9)  # rx: header flags that vouch for the checksum
_FREE = const(10)  # tx: free slots
_WORDS = const(12)

_DESC_NEXT = const(1)
_DESC_WRITE = const(2)

_HEADER = const(12)  # struct virtio_net_hdr with num_buffers, 5.1.6
_NUM_BUFFERS = const(10)
_SHORTEST = const(26)  # the header and an Ethernet header
_PACKET_MAX = const(69632)  # dma.PACKET_MAX; here as well, so that viper folds it

# What rx_next and tx_done return besides a packet and a slot.
NOTHING = const(0)
RUNT = const(-1)  # a packet too short for Ethernet, already taken out
SCATTERED = const(-2)  # a packet that does not lie in one piece
BAD_INDEX = const(-3)
BAD_ID = const(-4)
BAD_LENGTH = const(-5)
BAD_COUNT = const(-6)
BAD_SIZE = const(-7)
MORE = const(1 << 16)


class Queue:
    """The memory and state of one virtqueue. 2.7: size is a power of two, at most 32768."""

    __slots__ = ("index", "size", "ring", "st", "desc", "avail", "used", "notify_at")

    def __init__(self, hw, index, size, event_idx):
        self.index = index
        self.size = size
        self.avail = avail = 16 * size
        # The used ring starts a cache line of its own: it is the device's to write.
        self.used = used = (avail + 6 + 2 * size + 63) & ~63
        n = used + 6 + 8 * size
        self.ring = hw.dma(n, 4096)
        self.ring[:] = bytes(n)
        self.desc = hw.addr(self.ring)
        self.notify_at = 0
        self.st = st = array("I", bytes(4 * _WORDS))
        st[_MASK] = size - 1
        st[_AVAIL] = avail >> 1
        st[_USED] = used >> 1
        st[_EVENT_IDX] = 1 if event_idx else 0

    def receive_into(self, address, buf_size, merge, csum):
        """Make descriptor i name buffer i, for good; the available ring's entry i too.

        So a buffer is only ever posted at its own place in the ring, and packets
        that span buffers lie in one piece of memory.
        """
        st = self.st
        st[_BUF_SIZE] = buf_size
        st[_MERGE] = 1 if merge else 0
        st[_CSUM] = 3 if csum else 0  # NEEDS_CSUM | DATA_VALID
        _describe_all(self.ring, st, address)

    def send_slots(self):
        """Descriptors in pairs, a slot each: headers, then bulk data.

        Returns 2 words for each: [2 * i] is the free list, a stack of `_FREE` slots;
        [2 * slot + 1] is NEXT of the frame that the slot held last.
        """
        n = self.size >> 1
        self.st[_FREE] = n
        slots = array("I", bytes(8 * n))
        for i in range(n):
            slots[2 * i] = n - 1 - i
        return slots


@micropython.viper
def _describe_all(ring, st, address: int):
    s = ptr32(st)
    d = ptr32(ring)
    h = ptr16(ring)
    size = s[_BUF_SIZE]
    n = s[_MASK] + 1
    entries = s[_AVAIL] + 2
    i = 0
    while i < n:
        d[4 * i] = address & 0xFFFFFFFF
        d[4 * i + 1] = address >> 32 & 0xFFFFFFFF
        d[4 * i + 2] = size
        d[4 * i + 3] = _DESC_WRITE
        h[entries + i] = i
        address += size
        i += 1


# ---- both directions ----


@micropython.viper
def publish(ring, st):
    """Show the device all that was put in: available.idx. 2.7.13.3."""
    s = ptr32(st)
    h = ptr16(ring)
    h[s[_AVAIL] + 1] = s[NEXT] & 0xFFFF


@micropython.viper
def wants_kick(ring, st) -> int:
    """After `publish` and a fence: 1 if the device asks to be notified of what is new. 2.7.10."""
    s = ptr32(st)
    h = ptr16(ring)
    new = s[NEXT]
    old = s[_KICKED]
    s[_KICKED] = new
    used = s[_USED]
    if s[_EVENT_IDX]:
        # avail_event lies behind the used ring; notify if it is one of old..new-1.
        event = h[used + 2 + 4 * (s[_MASK] + 1)]
        if ((new - event - 1) & 0xFFFF) < ((new - old) & 0xFFFF):
            return 1
        return 0
    return (h[used] & 1) ^ 1


@micropython.viper
def interrupt_after(ring, st, more: int):
    """Ask for an interrupt when `more` + 1 further entries are used; -1: for none. 2.7.7.

    With EVENT_IDX "none" is an index just passed, which comes round once in 65,536.
    """
    s = ptr32(st)
    h = ptr16(ring)
    avail = s[_AVAIL]
    if s[_EVENT_IDX]:
        h[avail + 2 + s[_MASK] + 1] = (s[LAST] + more) & 0xFFFF
    elif more < 0:
        h[avail] = 1
    else:
        h[avail] = 0


@micropython.viper
def used_waiting(ring, st) -> int:
    """How many used entries we have not looked at."""
    s = ptr32(st)
    h = ptr16(ring)
    return (h[s[_USED] + 1] - s[LAST]) & 0xFFFF


@micropython.viper
def used_id(ring, st, k: int) -> int:
    """The id of the k-th used entry we have not looked at."""
    s = ptr32(st)
    w = ptr32(ring)
    return w[(s[_USED] >> 1) + 1 + (((s[LAST] + k) & s[_MASK]) << 1)]


@micropython.viper
def used_len(ring, st, k: int) -> int:
    s = ptr32(st)
    w = ptr32(ring)
    return w[(s[_USED] >> 1) + 2 + (((s[LAST] + k) & s[_MASK]) << 1)]


@micropython.viper
def skip(st, n: int):
    """n used entries were looked at."""
    s = ptr32(st)
    s[LAST] = (s[LAST] + n) & 0xFFFFFFFF


# ---- receiving ----


@micropython.viper
def rx_next(ring, st, arena, held) -> int:
    """Take the next packet out of the used ring. 2.7.14, 5.1.6.4.

    held[i]: 1 while the device has buffer i. Returns, positive: its place in the
    arena, behind the header, << 20 | its length << 2 | 1 if its checksum is
    vouched for; or NOTHING, RUNT, SCATTERED (rx_gather takes it out), BAD_...
    """
    s = ptr32(st)
    h = ptr16(ring)
    mask = s[_MASK]
    last = s[LAST]
    seen = (h[s[_USED] + 1] - last) & 0xFFFF
    if seen == 0:
        return 0
    if seen > ((s[NEXT] - last) & 0xFFFF):
        return BAD_INDEX
    w = ptr32(ring)
    entries = (s[_USED] >> 1) + 1
    e = entries + ((last & mask) << 1)
    i = w[e]
    total = w[e + 1]
    if i > mask:
        return BAD_ID
    own = ptr8(held)
    if own[i] == 0:
        return BAD_ID
    size = s[_BUF_SIZE]
    if total > size:
        return BAD_LENGTH
    p = ptr8(arena)
    o = i * size
    count = 1
    if total >= _HEADER and s[_MERGE]:
        count = p[o + _NUM_BUFFERS] | p[o + _NUM_BUFFERS + 1] << 8
        # 5.1.6.4.1: the device uses all buffers of a packet before it shows any.
        if count == 0 or count > seen:
            return BAD_COUNT
    if count > 1:
        # In one piece only if each but the last is full, and each is the next in memory.
        if i + count > mask + 1:
            return SCATTERED
        k = 1
        while k < count:
            if total != k * size:
                return SCATTERED
            e = entries + (((last + k) & mask) << 1)
            if w[e] != i + k or own[i + k] == 0 or w[e + 1] > size:
                return SCATTERED
            total += w[e + 1]
            k += 1
        if total > _PACKET_MAX:
            return BAD_SIZE
        k = 1
        while k < count:
            own[i + k] = 0
            k += 1
    own[i] = 0
    s[LAST] = (last + count) & 0xFFFFFFFF
    if total < _SHORTEST:
        return RUNT
    flags = 0
    if p[o] & s[_CSUM]:
        flags = 1
    return (o + _HEADER) << 20 | (total - _HEADER) << 2 | flags


def rx_gather(q, arena, held, copy):
    """Take out a packet that rx_next called SCATTERED. Returns as rx_next; +2 if all was copied.

    If it runs past the last buffer into the first, the rest is copied behind the
    last, where dma.PACKET_MAX bytes are kept free. Buffers in any other order are all
    copied there.
    """
    ring = q.ring
    st = q.st
    size = st[_BUF_SIZE]
    first = used_id(ring, st, 0)
    o = first * size
    flags = 1 if arena[o] & st[_CSUM] else 0
    count = arena[o + _NUM_BUFFERS] | arena[o + _NUM_BUFFERS + 1] << 8
    total = 0
    wraps = True
    for k in range(count):
        i = used_id(ring, st, k)
        n = used_len(ring, st, k)
        if i >= q.size or not held[i]:
            return BAD_ID
        if n > size:
            return BAD_LENGTH
        held[i] = 0
        if i != (first + k) & q.size - 1 or total != k * size:
            wraps = False
        total += n
    if total > _PACKET_MAX:
        return BAD_SIZE
    end = q.size * size
    if wraps and o + total > end:
        copy(arena, end, arena, 0, o + total - end)
    elif not wraps:
        at = end
        for k in range(count):
            n = used_len(ring, st, k)
            copy(arena, at, arena, used_id(ring, st, k) * size, n)
            at += n
        o = end
        flags |= 2
    skip(st, count)
    if total < _SHORTEST:
        return RUNT
    return (o + _HEADER) << 20 | (total - _HEADER) << 2 | flags


@micropython.viper
def rx_post(ring, st, held) -> int:
    """Give back every buffer whose turn it is, and publish; how many.

    Buffer i is posted at ring positions i, i + size, i + 2 * size... only. So one
    that a device out of order still has makes those behind it wait.
    """
    s = ptr32(st)
    own = ptr8(held)
    mask = s[_MASK]
    at = s[NEXT]
    n = 0
    while own[at & mask] == 0:
        own[at & mask] = 1
        at = (at + 1) & 0xFFFFFFFF
        n += 1
    if n:
        s[NEXT] = at
        h = ptr16(ring)
        h[s[_AVAIL] + 1] = at & 0xFFFF
    return n


# ---- sending ----


@micropython.viper
def tx_put(ring, st, slots, buf, off: int, n: int, at: int, data_at: int, data_n: int) -> int:
    """Put a chain in: the packet buf[off:off + n] and `data`; its slot, or -1 if none is free.

    2.7.13, 5.1.6.2. `at` is the address of buf, `data_at` of data. A header without
    wishes is written in front of `off`; tx_offload writes them in.
    """
    s = ptr32(st)
    left = s[_FREE]
    if left == 0:
        return -1
    left -= 1
    s[_FREE] = left
    t = ptr32(slots)
    slot = t[2 * left]
    put = s[NEXT]
    t[2 * slot + 1] = put
    p = ptr8(buf)
    k = off - _HEADER
    at += k
    while k < off:
        p[k] = 0
        k += 1
    d = ptr32(ring)
    i = slot << 3
    d[i] = at & 0xFFFFFFFF
    d[i + 1] = at >> 32 & 0xFFFFFFFF
    d[i + 2] = n + _HEADER
    d[i + 3] = 0
    if data_n:
        d[i + 3] = _DESC_NEXT | (2 * slot + 1) << 16
        d[i + 4] = data_at & 0xFFFFFFFF
        d[i + 5] = data_at >> 32 & 0xFFFFFFFF
        d[i + 6] = data_n
        d[i + 7] = 0
    h = ptr16(ring)
    h[s[_AVAIL] + 2 + (put & s[_MASK])] = 2 * slot
    s[NEXT] = (put + 1) & 0xFFFFFFFF
    return slot


@micropython.viper
def tx_done(ring, st, slots) -> int:
    """Take the next finished chain out: its slot + 1, free again, with MORE if another one waits;
    NOTHING, or BAD_... 2.7.14. Whether the slot was in use the caller knows.
    """
    s = ptr32(st)
    h = ptr16(ring)
    last = s[LAST]
    seen = (h[s[_USED] + 1] - last) & 0xFFFF
    if seen == 0:
        return 0
    if seen > ((s[NEXT] - last) & 0xFFFF):
        return BAD_INDEX
    w = ptr32(ring)
    head = w[(s[_USED] >> 1) + 1 + ((last & s[_MASK]) << 1)]
    if head > s[_MASK] or head & 1:
        return BAD_ID
    slot = head >> 1
    left = s[_FREE]
    ptr32(slots)[2 * left] = slot
    s[_FREE] = left + 1
    s[LAST] = (last + 1) & 0xFFFFFFFF
    if seen > 1:
        return slot + 1 | MORE
    return slot + 1


def tx_free(st):
    """How many chains tx_put would take."""
    return st[_FREE]


@micropython.viper
def outstanding(st) -> int:
    """How many buffers or chains the device has."""
    s = ptr32(st)
    return (s[NEXT] - s[LAST]) & 0xFFFF


@micropython.viper
def tx_offload(buf, off: int, csum_start: int, csum_offset: int, gso_size: int, ecn: int):
    """Ask for a checksum and segmentation in the header before the packet at off. 5.1.6.2."""
    p = ptr8(buf)
    h = off - _HEADER
    start = csum_start - off
    p[h] = 1  # VIRTIO_NET_HDR_F_NEEDS_CSUM
    p[h + 6] = start & 0xFF
    p[h + 7] = start >> 8
    p[h + 8] = csum_offset
    if gso_size == 0:
        return
    k = off + 12
    if p[k] == 0x81:  # an 802.1Q tag
        k += 4
    kind = 1  # VIRTIO_NET_HDR_GSO_TCPV4
    if p[k + 2] >> 4 == 6:
        kind = 4  # TCPV6
    if ecn and p[csum_start + 13] & 0x80:
        kind |= 0x80  # the segment has CWR set: ECN
    p[h + 1] = kind
    k = start + (p[csum_start + 12] >> 4) * 4  # hdr_len: through the TCP options
    p[h + 2] = k & 0xFF
    p[h + 3] = k >> 8
    p[h + 4] = gso_size & 0xFF
    p[h + 5] = gso_size >> 8
