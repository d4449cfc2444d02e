"""Core pieces: checksum, ring, timers, sequence numbers, buffers."""

from stack.core import be, checksum, seq
from stack.core.cursor import Reader, Writer
from stack.core.errors import ProtocolError
from stack.core.frame import HEADROOM, FramePool
from stack.core.mem import Buffers, copy
from stack.core.ring import Ring
from stack.core.stats import Stats
from stack.core.timers import NEVER, Timers


def _noise(n, seed=1):
    out = bytearray(n)
    x = seed
    for i in range(n):
        x = (x * 1103515245 + 12345) & 0x7FFFFFFF
        out[i] = x >> 16 & 0xFF
    return out


def _plain_sum(data, total=0):
    s = total
    for i in range(0, len(data) - 1, 2):
        s += data[i] << 8 | data[i + 1]
    if len(data) & 1:
        s += data[-1] << 8
    while s >> 16:
        s = (s & 0xFFFF) + (s >> 16)
    return s


def test_checksum_rfc1071_example():
    data = bytearray(b"\x00\x01\xf2\x03\xf4\xf5\xf6\xf7")
    assert checksum.add(data, 0, 8, 0) == 0xDDF2


def test_checksum_twin():
    data = _noise(400)
    for off in range(9):
        for n in list(range(70)) + [255, 256, 257, 390]:
            want = _plain_sum(data[off : off + n], 0x1234)
            got = checksum.add(data, off, n, 0x1234)
            assert got == want, (off, n, got, want)


def test_checksum_of_ones():
    data = bytearray(b"\xff" * 66000)
    assert checksum.add(data, 0, 65536, 0) == 0xFFFF
    assert checksum.add(data, 2, 65534, 0xFFFF) == 0xFFFF


def test_checksum_field():
    data = bytearray(_noise(40))
    be.put16(data, 10, 0)
    be.put16(data, 10, checksum.checksum(data, 0, 40))
    assert checksum.valid(data, 0, 40)
    data[5] ^= 1
    assert not checksum.valid(data, 0, 40)


def test_be():
    b = bytearray(8)
    for v in (0, 1, 0x1234, 0xFFFF):
        be.put16(b, 3, v)
        assert be.get16(b, 3) == v
    for v in (0, 1, 0x80000000, 0xFFFFFFFF, 0x12345678):
        be.put32(b, 1, v)
        assert be.get32(b, 1) == v
        assert bytes(b[1:5]) == bytes([v >> 24, v >> 16 & 255, v >> 8 & 255, v & 255])
    assert be.equal(b"abcdef", 2, b"xcde", 1, 3)
    assert not be.equal(b"abcdef", 2, b"xcdf", 1, 3)


def test_seq_wraps():
    for why, a, b, want in (
        ("equal", 5, 5, False),
        ("plain", 5, 6, True),
        ("across zero", 0xFFFFFFFF, 0, True),
        ("half away", 0, 0x80000000, False),
        ("just under half", 0, 0x7FFFFFFF, True),
    ):
        assert seq.lt(a, b) == want, why
    assert seq.diff(0, 0xFFFFFFFF) == 1
    assert seq.diff(0xFFFFFFFF, 0) == -1
    assert seq.add(0xFFFFFFFF, 2) == 1


def test_ring_against_a_list():
    ring = Ring(Buffers(), 8192)
    model = bytearray()
    x = 7
    out = bytearray(4096)
    for step in range(600):
        x = (x * 1103515245 + 12345) & 0x7FFFFFFF
        n = x >> 8 & 0xFFF
        if x & 0x100000:
            data = _noise(n, x)
            took = ring.write(data, 0, n)
            assert took == min(n, 8192 - len(model))
            model.extend(data[:took])
        else:
            got = ring.read_into(out, 0, n)
            assert got == min(n, len(model))
            assert out[:got] == model[:got], step
            model = model[got:]
        assert len(ring) == len(model)
    buffers = ring._buffers
    ring.release()
    assert buffers.in_use == 0 and len(ring) == 0


def test_ring_grows_and_keeps():
    ring = Ring(Buffers(), 1 << 16)
    data = _noise(60000)
    ring.write(data, 0, 1500)
    out = bytearray(65536)
    ring.read_into(out, 0, 1000)
    assert ring.write(data, 1500, 58500) == 58500
    assert ring.read_into(out, 1000, 65536) == 59000
    assert out[:60000] == data


def test_buffers_limit_and_reuse():
    b = Buffers(None, 8192)
    one = b.alloc(5000)
    assert len(one) == 8192
    try:
        b.alloc(1)
        raise AssertionError("limit not kept")
    except MemoryError:
        pass
    b.free(one)
    two = b.alloc(2048)
    assert len(two) == 2048 and b.taken == 8192 and b.in_use == 2048
    b.free(two)
    assert b.in_use == 0


def test_copy_bounds():
    dst = bytearray(4)
    for dst_off, src_off, n in ((0, 0, 4), (2, 0, 3), (-1, 0, 1), (0, 0, -1)):
        try:
            copy(dst, dst_off, b"abc", src_off, n)
            raise AssertionError((dst_off, src_off, n))
        except IndexError:
            pass
    copy(dst, 1, b"abc", 1, 2)
    assert dst == b"\x00bc\x00"


class _Owner:
    def __init__(self, name, log):
        self.timer_at = NEVER
        self.timer_index = -1
        self.at = NEVER
        self.name = name
        self.log = log

    def poll_at(self):
        return self.at

    def on_timer(self, now):
        self.log.append((now, self.name))
        self.at = NEVER


def test_timers_order_and_laziness():
    log = []
    t = Timers()
    owners = [_Owner(i, log) for i in range(50)]
    for o in owners:
        o.at = (o.name * 37) % 50 + 1
        t.arm(o, o.at)
    owners[0].at = 500  # moved later without telling
    t.cancel(owners[1])
    assert t.poll_at() == 1
    for now in range(1, 60):
        t.expire(now)
    assert [n for n, _ in log] == sorted(n for n, _ in log)
    assert len(log) == 48 and len(t) == 1 and t.poll_at() == 500
    t.expire(500)
    assert log[-1] == (500, 0) and t.poll_at() == NEVER


def test_an_owner_that_raises_is_called_again():
    """Memory may have run out for a moment: a retransmission must not be lost by it."""
    log = []
    t = Timers()

    class Fails(_Owner):
        def on_timer(self, now):
            if not log:
                log.append("raised")
                raise MemoryError
            super().on_timer(now)

    a, b = Fails("a", log), _Owner("b", log)
    a.at = b.at = 100
    t.arm(a, 100)
    t.arm(b, 100)
    for now in (100, 101, 100_000):
        try:
            t.expire(now)
        except MemoryError:
            pass
    assert sorted(log, key=str)[:2] == [(100_000, "a"), (101, "b")] and "raised" in log, log


def test_timers_nearer():
    log = []
    t = Timers()
    a, b = _Owner("a", log), _Owner("b", log)
    a.at = 100
    b.at = 50
    t.arm(a, 100)
    t.arm(b, 50)
    a.at = 10
    t.arm(a, 10)
    t.expire(10)
    assert log == [(10, "a")]


def test_frame_pool():
    pool = FramePool([bytearray(256) for _ in range(2)])
    a, b = pool.get(), pool.get()
    assert pool.get() is None and pool.free == 0
    assert a.prepend(20) == HEADROOM - 20
    a.release()
    b.release()
    assert pool.free == 2 and pool.get().off == HEADROOM


def test_frames_that_are_made_when_they_are_wanted():
    made = []

    def more(i):
        if len(made) == 2:
            raise MemoryError
        made.append(i)
        return bytearray(256)

    pool = FramePool([None, None, None, bytearray(256)], more)
    assert pool.free == len(pool.frames) == 4 and pool.size == 256 and not made
    first = pool.get()
    first.release()
    assert pool.get() is first and not made
    others = [pool.get(), pool.get()]
    assert made == [2, 1] and [f.index for f in others] == made
    assert pool.get() is None and pool.free == 1  # there is no memory for it
    made.pop()
    last = pool.get()
    assert last.index == 0 and last.off == last.end == HEADROOM and pool.get() is None
    for f in others + [first, last]:
        f.release()
    taken = [pool.get() for _ in range(4)]
    assert pool.get() is None and sorted([f.index for f in taken]) == [0, 1, 2, 3]


def test_cursor():
    w = Writer()
    w.push_u8(1)
    w.push_u16(0x203)
    w.push_u24(0x40506)
    w.push_u32(0x708090A)
    w.push_bytes(b"xy")
    r = Reader(w.out)
    assert (r.pull_u8(), r.pull_u16(), r.pull_u24(), r.pull_u32()) == (1, 0x203, 0x40506, 0x708090A)
    sub = r.sub(2)
    assert sub.pull_bytes(2) == b"xy" and r.left() == 0
    for pull in (sub.pull_u8, r.pull_u16, r.pull_u24, r.pull_u32):
        try:
            pull()
            raise AssertionError("read beyond the end")
        except ProtocolError as e:
            assert e.code == "truncated"


def test_stats():
    s = Stats()
    s.drop("ip.short")
    s.drop("ip.short")
    s.count("rx", 5)
    assert s.dropped("ip.short") == 2 and s.get("rx") == 5 and s.dropped("none") == 0
