"""A split virtqueue for devices that answer requests (virtio 1.2, section 2.7).

Beside `drivers/virtio_net/ring.py`, which knows packets: here a request is a chain of
descriptors of any length, and what the device says of it is looked at one at a time.
The memory is laid out as there:

    descriptor table   16 * size   addr u64, len u32, flags u16, next u16       2.7.5
    available ring     6 + 2*size  flags, idx, ring[size], used_event           2.7.6
    used ring          6 + 8*size  flags, idx, {id u32, len u32}[size], avail_event   2.7.8

    while there is a part: q.add(address, n, writable)
    head = q.submit(); q.kick()
    q.take() -> head, q.length bytes written; or -1

All that the device writes (the used index, ids, lengths) is checked before use. Which
descriptors are free, and which belong together, is kept apart from the table that the
device can reach. Nothing here allocates: the collector may be closing a file.

Not implemented: EVENT_IDX, indirect descriptors, packed rings.
"""

from array import array

import micropython
from micropython import const

from drivers.device import DeviceError

# Words of `_st`.
_MASK = const(0)  # size - 1
_AVAIL = const(1)  # the available ring, in 16-bit words
_USED = const(2)  # the used ring, in 16-bit words
_NEXT = const(3)  # available index: how many chains were ever given; masked on use
_LAST = const(4)  # used index: how many were ever taken back
_FREE = const(5)  # the first free descriptor, or _NONE
_HEAD = const(6)  # of the chain being built, or _NONE
_TAIL = const(7)
_ROOM = const(8)  # bytes of it that the device may write
_LENGTH = const(9)  # bytes that the device wrote into the chain taken last
_WORDS = const(10)

_NONE = const(0xFFFF)
_DESC_NEXT = const(1)
_DESC_WRITE = const(2)
_LARGEST = const(32768)  # 2.7: "The maximum Queue Size value is 32768."

_BAD_INDEX = const(-2)
_BAD_ID = const(-3)
_BAD_LENGTH = const(-4)
_WHY = {
    _BAD_INDEX: "the used index jumped by more than the ring holds",
    _BAD_ID: "a used request that the device did not have",
    _BAD_LENGTH: "a used length larger than the request's room",
}


class RequestQueue:
    """Queue `index` of the device behind `transport`, of at most `most` descriptors."""

    def __init__(self, hw, transport, index, most):
        n = transport.queue_size(index)
        if not 2 <= n <= _LARGEST or n & (n - 1):
            raise DeviceError("virtio: queue %d of size %d" % (index, n))
        self.index = index
        self.size = size = min(n, most)
        self.avail = avail = 16 * size
        self.used = used = (avail + 6 + 2 * size + 63) & ~63
        n = used + 6 + 8 * size
        # A legacy device takes the number of a page (4.2.4).
        self._memory = hw.dma(n, 4096)
        self._memory[:] = bytes(n)
        self.desc = hw.addr(self._memory)
        self.notify_at = 0
        self._fence = hw.fence
        self._notify = transport.notify
        # Of each descriptor: which follows it; of a chain's head: room + 1 while it is away.
        self._links = array("H", [i + 1 for i in range(size)])
        self._links[size - 1] = _NONE
        self._away = array("I", bytes(4 * size))
        self._st = st = array("I", bytes(4 * _WORDS))
        st[_MASK] = size - 1
        st[_AVAIL] = avail >> 1
        st[_USED] = used >> 1
        st[_HEAD] = _NONE

    @property
    def length(self):
        """Bytes that the device says it wrote into the chain taken last."""
        return self._st[_LENGTH]

    def add(self, address, n, writable):
        """Add a part to the chain that is being built; False: no descriptor is free. 2.7.5.

        Parts that the device writes come behind those that it reads (2.7.4.2)."""
        return _add(self._memory, self._st, self._links, address, n, writable) != 0

    def submit(self):
        """Give the chain to the device; its head. 2.7.13.

        x86 keeps stores in order, so the entry is seen before the index."""
        return _submit(self._memory, self._st, self._away)

    def kick(self):
        """Notify the device, unless it asks not to be. 2.7.13.4.1."""
        self._fence()
        if not _flags(self._memory, self._st):
            self._notify(self.notify_at, self.index)

    def waiting(self):
        """Whether the device has used something that was not taken."""
        return _waiting(self._memory, self._st) != 0

    def take(self):
        """The head of the next chain that the device is done with, or -1. 2.7.14.

        DeviceError: what the device wrote makes no sense; reset it."""
        head = _take(self._memory, self._st, self._links, self._away)
        if head < -1:
            raise DeviceError("virtio: " + _WHY[head])
        return head

    def interrupts(self, wanted):
        """Ask for an interrupt with each used chain, or for none. True if one waits already:
        it may have come before the device saw the wish. 2.7.7."""
        _interrupts(self._memory, self._st, 0 if wanted else 1)
        self._fence()
        return self.waiting()


@micropython.viper
def _add(memory, st, links, address: int, n: int, writable: int) -> int:
    s = ptr32(st)
    i = s[_FREE]
    if i == _NONE:
        return 0
    follow = ptr16(links)
    s[_FREE] = follow[i]
    follow[i] = _NONE
    d = ptr32(memory)
    h = ptr16(memory)
    d[4 * i] = address & 0xFFFFFFFF
    d[4 * i + 1] = address >> 32 & 0xFFFFFFFF
    d[4 * i + 2] = n
    h[8 * i + 6] = _DESC_WRITE if writable else 0
    h[8 * i + 7] = 0
    if s[_HEAD] == _NONE:
        s[_HEAD] = i
        s[_ROOM] = 0
    else:
        t = s[_TAIL]
        follow[t] = i
        h[8 * t + 6] = h[8 * t + 6] | _DESC_NEXT
        h[8 * t + 7] = i
    s[_TAIL] = i
    if writable:
        s[_ROOM] = s[_ROOM] + n
    return 1


@micropython.viper
def _submit(memory, st, away) -> int:
    s = ptr32(st)
    h = ptr16(memory)
    head = s[_HEAD]
    ptr32(away)[head] = s[_ROOM] + 1
    s[_HEAD] = _NONE
    at = s[_NEXT]
    h[s[_AVAIL] + 2 + (at & s[_MASK])] = head
    at = (at + 1) & 0xFFFFFFFF
    s[_NEXT] = at
    h[s[_AVAIL] + 1] = at & 0xFFFF
    return head


@micropython.viper
def _flags(memory, st) -> int:
    """VIRTQ_USED_F_NO_NOTIFY."""
    return ptr16(memory)[ptr32(st)[_USED]] & 1


@micropython.viper
def _waiting(memory, st) -> int:
    s = ptr32(st)
    return (ptr16(memory)[s[_USED] + 1] - s[_LAST]) & 0xFFFF


@micropython.viper
def _interrupts(memory, st, flags: int):
    ptr16(memory)[ptr32(st)[_AVAIL]] = flags


@micropython.viper
def _take(memory, st, links, away) -> int:
    s = ptr32(st)
    h = ptr16(memory)
    last = s[_LAST]
    seen = (h[s[_USED] + 1] - last) & 0xFFFF
    if seen == 0:
        return -1
    if seen > ((s[_NEXT] - last) & 0xFFFF):
        return _BAD_INDEX
    w = ptr32(memory)
    e = (s[_USED] >> 1) + 1 + ((last & s[_MASK]) << 1)
    head = w[e]
    n = w[e + 1]
    if head > s[_MASK]:
        return _BAD_ID
    own = ptr32(away)
    room = own[head]
    if room == 0:
        return _BAD_ID
    if n >= room:
        return _BAD_LENGTH
    own[head] = 0
    s[_LENGTH] = n
    s[_LAST] = (last + 1) & 0xFFFFFFFF
    follow = ptr16(links)
    i = head
    while follow[i] != _NONE:
        i = follow[i]
    follow[i] = s[_FREE]
    s[_FREE] = head
    return head
