"""The queue for requests against plain Python. Runs on CPython and in the guest."""

import struct

from drivers.device import DeviceError
from drivers.virtio.queue import RequestQueue

_ADDRESS = 0x12_3456_7000  # more than 32 bits


class _Hw:
    def dma(self, n, align=64):
        return bytearray(b"\xff" * n)  # not zeroed

    def addr(self, buf):
        return _ADDRESS

    def fence(self):
        pass


class _Transport:
    def __init__(self, size):
        self.size = size
        self.kicks = []

    def queue_size(self, index):
        return self.size

    def notify(self, address, index):
        self.kicks.append((address, index))


class _Random:
    def __init__(self, seed):
        self.x = seed

    def below(self, n):
        self.x = (self.x * 1103515245 + 12345) & 0x7FFFFFFF
        return (self.x >> 8) % n


def _queue(size=8, most=64):
    return RequestQueue(_Hw(), _Transport(size), 3, most)


def _chain(q, head):
    """The chain as a device reads it: [(address, n, writable)]."""
    parts = []
    while True:
        at, n, flags, after = struct.unpack_from("<QIHH", q._memory, 16 * head)
        parts.append((at, n, flags & 2 != 0))
        if not flags & 1:
            return parts
        head = after
        assert len(parts) <= q.size


def _available(q):
    """(index, ring) as a device sees them."""
    index = struct.unpack_from("<H", q._memory, q.avail + 2)[0]
    return index, [
        struct.unpack_from("<H", q._memory, q.avail + 4 + 2 * i)[0] for i in range(q.size)
    ]


def _use(q, used, head, n):
    struct.pack_into("<II", q._memory, q.used + 4 + 8 * (used % q.size), head, n)
    struct.pack_into("<H", q._memory, q.used + 2, used + 1 & 0xFFFF)
    return used + 1


def _refused(q, why):
    try:
        q.take()
    except DeviceError as e:
        assert why in str(e), e
        return
    raise AssertionError(why)


def test_sizes():
    for size in (0, 1, 3, 48, 65536):
        try:
            _queue(size)
            raise AssertionError(size)
        except DeviceError:
            pass
    for size, most, want in ((2, 64, 2), (32768, 64, 64), (256, 16, 16)):
        q = _queue(size, most)
        assert q.size == want and q.used % 64 == 0 and q.desc == _ADDRESS and q.take() == -1


def test_a_chain():
    q = _queue()
    assert q.add(_ADDRESS + 5, 16, False) and q.add(_ADDRESS << 8, 0xFFFF0000, True)
    assert q.add(7, 1, True)
    head = q.submit()
    assert _chain(q, head) == [
        (_ADDRESS + 5, 16, False), (_ADDRESS << 8, 0xFFFF0000, True), (7, 1, True),
    ]  # fmt: skip
    index, ring = _available(q)
    assert index == 1 and ring[0] == head and not q.waiting() and q.take() == -1
    _use(q, 0, head, 0xFFFF0001)
    assert q.waiting() and q.take() == head and q.length == 0xFFFF0001 and q.take() == -1


def test_when_no_descriptor_is_free():
    q = _queue(4)
    for _ in range(3):
        q.add(1, 1, True)
        q.submit()
    assert q.add(1, 1, True) and not q.add(1, 1, True)
    assert _available(q)[0] == 3
    head = q.submit()
    _use(q, 0, head, 1)
    assert q.take() == head and q.add(1, 1, False) and not q.add(1, 1, False)


def test_many_in_any_order():
    q = _queue(16)
    rng = _Random(5)
    away = []
    used = given = 0
    for _ in range(70000 if hasattr(struct, "Struct") else 3000):
        if rng.below(2):
            n = rng.below(4) + 1
            room = 0
            parts = []
            for i in range(n):
                part = (rng.below(1 << 30) << 8, rng.below(5000) + 1, i > 0)
                if not q.add(*part):
                    break
                parts.append(part)
                room += part[1] if part[2] else 0
            if parts:
                head = q.submit()
                given += 1
                assert _chain(q, head) == parts
                index, ring = _available(q)
                assert index == given & 0xFFFF and ring[(given - 1) % 16] == head
                away.append((head, room))
        elif away:
            head, room = away.pop(rng.below(len(away)))
            n = rng.below(room + 1)
            used = _use(q, used, head, n)
            assert q.take() == head and q.length == n


def test_what_makes_no_sense():
    for id_, n, why in (
        (1, 0, "did not have"), (8, 0, "did not have"), (0xFFFFFFFF, 0, "did not have"),
        (0, 11, "length"), (0, 0xFFFFFFFF, "length"),
    ):  # fmt: skip
        q = _queue()
        q.add(1, 5, False)
        q.add(2, 10, True)
        assert q.submit() == 0
        _use(q, 0, id_, n)
        _refused(q, why)
    q = _queue()
    q.add(1, 5, True)
    q.submit()
    struct.pack_into("<H", q._memory, q.used + 2, 2)
    _refused(q, "index")
    # Once it was taken it is not there a second time.
    q = _queue()
    q.add(1, 5, True)
    q.add(1, 5, True)
    q.submit()
    q.add(1, 5, True)
    q.submit()
    _use(q, 0, 0, 5)
    assert q.take() == 0
    _use(q, 1, 0, 5)
    _refused(q, "did not have")


def test_notifications_and_interrupts():
    q = _queue()
    t = q._notify.__self__ if hasattr(q._notify, "__self__") else None
    q.notify_at = 77
    q.kick()
    struct.pack_into("<H", q._memory, q.used, 1)  # NO_NOTIFY
    q.kick()
    if t is not None:
        assert t.kicks == [(77, 3)]
    for wanted in (True, False):
        assert not q.interrupts(wanted)
        assert struct.unpack_from("<H", q._memory, q.avail)[0] == (0 if wanted else 1)
    q.add(1, 1, True)
    _use(q, 0, q.submit(), 1)
    assert q.interrupts(True)
