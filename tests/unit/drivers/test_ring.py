"""The virtqueue's viper functions against plain Python. Runs on CPython and in the guest."""

import struct

from drivers import dma
from drivers.virtio_net import ring
from drivers.virtio_net.ring import Queue

_ADDRESS = 0x12_3456_7000  # more than 32 bits


class _Hw:
    def dma(self, n, align=64):
        return bytearray(b"\xff" * n)  # not zeroed

    def addr(self, buf):
        return _ADDRESS


class _Random:
    def __init__(self, seed):
        self.x = seed

    def below(self, n):
        self.x = (self.x * 1103515245 + 12345) & 0x7FFFFFFF
        return (self.x >> 8) % n


def _copy(dst, dst_off, src, src_off, n):
    dst[dst_off : dst_off + n] = bytes(src[src_off : src_off + n])


def _u16(q, at):
    return struct.unpack_from("<H", q.ring, at)[0]


def _use(q, used, entries):
    """The device puts (id, length) pairs in the used ring; its new index."""
    for i, n in entries:
        struct.pack_into("<II", q.ring, q.used + 4 + 8 * (used % q.size), i, n)
        used += 1
    struct.pack_into("<H", q.ring, q.used + 2, used & 0xFFFF)
    return used


def _receiver(size=8, buf_size=2048, merge=True, event_idx=True):
    q = Queue(_Hw(), 0, size, event_idx)
    q.receive_into(_ADDRESS + 0x1_0000_0000, buf_size, merge, True)
    held = bytearray(size)
    assert ring.rx_post(q.ring, q.st, held) == size and ring.rx_post(q.ring, q.st, held) == 0
    return q, bytearray(size * buf_size + dma.PACKET_MAX), held


def test_receive_descriptors():
    q, _, held = _receiver()
    assert held == b"\x01" * 8 and q.avail == 128 and q.used % 64 == 0
    assert _u16(q, q.avail + 2) == 8 and _u16(q, q.used + 2) == 0
    for i in range(8):
        at, n, flags, _ = struct.unpack_from("<QIHH", q.ring, 16 * i)
        assert (at, n, flags) == (_ADDRESS + 0x1_0000_0000 + i * 2048, 2048, 2)
        assert _u16(q, q.avail + 4 + 2 * i) == i


def _fill(arena, buf_size, ids, packet, flags):
    """Write a packet to buffers, as a device does; the used entries."""
    body = struct.pack("<BBHHHHH", flags, 0, 0, 0, 0, 0, len(ids)) + packet
    entries = []
    for k, i in enumerate(ids):
        part = body[k * buf_size : (k + 1) * buf_size]
        arena[i * buf_size : i * buf_size + len(part)] = part
        entries.append((i, len(part)))
    return entries


def test_receive_everything():
    """Sizes around each border, past 65,536 buffers, in order and (now and then) not."""
    r = _Random(1)
    size, buf_size = 8, 2048
    q, arena, held = _receiver(size, buf_size)
    # Near the wrap of the 16-bit indexes, and of our own 32-bit ones.
    for start in (0, 0xFFFFFF00):
        q, arena, held = _receiver(size, buf_size)
        q.st[ring.NEXT] = start + size
        q.st[ring.LAST] = start
        used = start
        at = start
        for turn in range(400):
            n = 14 + r.below(buf_size * (1 + r.below(5)))
            packet = bytes([turn & 0xFF]) * n
            count = (n + 12 + buf_size - 1) // buf_size
            ids = [(at + k) % size for k in range(count)]
            at += count
            odd = count > 1 and r.below(5) == 0
            if odd:
                ids.reverse()
            flags = r.below(4)
            used = _use(q, used, _fill(arena, buf_size, ids, packet, flags))
            got = ring.rx_next(q.ring, q.st, arena, held)
            wraps = not odd and ids[-1] < ids[0]
            assert (got == ring.SCATTERED) == (odd or wraps), turn
            if got == ring.SCATTERED:
                got = ring.rx_gather(q, arena, held, _copy)
                assert (got & 2 != 0) == odd
            off, length = got >> 20, got >> 2 & 0x3FFFF
            assert length == n and arena[off : off + n] == packet
            assert (got & 1 != 0) == (flags != 0)
            assert off == (8 * 2048 if odd else ids[0] * buf_size) + 12
            assert ring.rx_next(q.ring, q.st, arena, held) == ring.NOTHING
            assert ring.rx_post(q.ring, q.st, held) == count
            assert _u16(q, q.avail + 2) == (at + size) & 0xFFFF
        assert q.st[ring.NEXT] == (at + size) & 0xFFFFFFFF


def test_receive_nonsense():
    def one(entries, want, header=1, index=None):
        q, arena, held = _receiver()
        arena[10:12] = struct.pack("<H", header)
        _use(q, 0, entries)
        if index is not None:
            struct.pack_into("<H", q.ring, q.used + 2, index)
        got = ring.rx_next(q.ring, q.st, arena, held)
        if got == ring.SCATTERED:
            got = ring.rx_gather(q, arena, held, _copy)
        assert got == want, (entries, got, want)

    one([(0, 100)], ring.BAD_INDEX, index=9)
    one([(0, 100)], ring.BAD_INDEX, index=0xFFFF)
    one([(8, 100)], ring.BAD_ID)
    one([(0xFFFFFFFF, 100)], ring.BAD_ID)
    one([(0, 2049)], ring.BAD_LENGTH)
    one([(0, 0xFFFFFFFF)], ring.BAD_LENGTH)
    one([(0, 100)], ring.BAD_COUNT, header=0)
    one([(0, 100)], ring.BAD_COUNT, header=2)
    one([(0, 100)], ring.BAD_COUNT, header=0xFFFF)
    one([(0, 2048), (8, 5)], ring.BAD_ID, header=2)
    one([(0, 2048), (0xFFFFFFFF, 5)], ring.BAD_ID, header=2)
    one([(0, 2048), (0, 5)], ring.BAD_ID, header=2)
    one([(0, 2048), (1, 2049)], ring.BAD_LENGTH, header=2)
    one([(0, 0)], ring.RUNT, header=7)
    one([(0, 25)], ring.RUNT)
    one([(0, 26)], 12 << 20 | 14 << 2)


def test_buffers_held_back_wait_for_their_turn():
    q, arena, held = _receiver()
    used = _use(q, 0, _fill(arena, 2048, [1], b"x" * 60, 0))
    assert ring.rx_next(q.ring, q.st, arena, held) > 0
    assert ring.rx_post(q.ring, q.st, held) == 0
    _use(q, used, _fill(arena, 2048, [0], b"y" * 60, 0))
    assert ring.rx_next(q.ring, q.st, arena, held) > 0
    assert ring.rx_post(q.ring, q.st, held) == 2


def test_send_chains():
    r = _Random(3)
    q = Queue(_Hw(), 1, 16, True)
    slots = q.send_slots()
    buf = bytearray(b"\xee" * 256)
    under_way = []
    used = 0
    put = 0
    order = {}
    for turn in range(3000):
        if r.below(2):
            off, n = 12 + r.below(90), 14 + r.below(100)
            data_n = r.below(3) * 30000
            buf[:] = b"\xee" * 256
            free = ring.tx_free(q.st)
            slot = ring.tx_put(q.ring, q.st, slots, buf, off, n, _ADDRESS, _ADDRESS * 2, data_n)
            if not free:
                assert slot == -1 and len(under_way) == 8
                continue
            assert slot not in under_way and ring.tx_free(q.st) == free - 1
            under_way.append(slot)
            order[slot] = put
            put += 1
            assert bytes(buf) == b"\xee" * (off - 12) + bytes(12) + b"\xee" * (256 - off)
            head = struct.unpack_from("<QIHH", q.ring, 32 * slot)
            if data_n:
                assert head == (_ADDRESS + off - 12, n + 12, 1, 2 * slot + 1)
                tail = struct.unpack_from("<QIHH", q.ring, 32 * slot + 16)
                assert tail == (_ADDRESS * 2, data_n, 0, 0)
            else:
                assert head[:3] == (_ADDRESS + off - 12, n + 12, 0)
            assert _u16(q, q.avail + 4 + 2 * ((put - 1) % 16)) == 2 * slot
            assert [slots[2 * s + 1] for s in under_way] == [order[s] for s in under_way]
            before = _u16(q, q.avail + 2)
            ring.publish(q.ring, q.st)
            assert _u16(q, q.avail + 2) == put & 0xFFFF and (turn == 0 or before != put & 0xFFFF)
        elif under_way:
            slot = under_way.pop(r.below(len(under_way)))
            used = _use(q, used, [(2 * slot, 0)])
            assert ring.used_waiting(q.ring, q.st) == 1
            assert ring.tx_done(q.ring, q.st, slots) == slot + 1
            assert ring.tx_done(q.ring, q.st, slots) == ring.NOTHING
        assert ring.outstanding(q.st) == len(under_way)
    assert put > 1000


def test_send_nonsense():
    for head, index, want in (
        (16, 1, ring.BAD_ID),
        (0xFFFFFFFF, 1, ring.BAD_ID),
        (1, 1, ring.BAD_ID),
        (0, 3, ring.BAD_INDEX),
        (0, 0xFFFF, ring.BAD_INDEX),
    ):
        q = Queue(_Hw(), 1, 16, False)
        slots = q.send_slots()
        buf = bytearray(100)
        for _ in range(2):
            ring.tx_put(q.ring, q.st, slots, buf, 20, 60, 0, 0, 0)
        _use(q, 0, [(head, 0)])
        struct.pack_into("<H", q.ring, q.used + 2, index)
        assert ring.tx_done(q.ring, q.st, slots) == want


def test_kicks_and_interrupts_by_event():
    q = Queue(_Hw(), 1, 16, True)
    r = _Random(9)
    for _ in range(3000):
        old = r.below(0x7FFFFFFF) * 2
        more = r.below(17)
        event = (old + r.below(40) - 20) & 0xFFFF
        q.st[5] = old  # _KICKED
        q.st[ring.NEXT] = (old + more) & 0xFFFFFFFF
        struct.pack_into("<H", q.ring, q.used + 4 + 8 * 16, event)
        want = event in [(old + k) & 0xFFFF for k in range(more)]
        assert ring.wants_kick(q.ring, q.st) == want, (old, more, event)
        assert ring.wants_kick(q.ring, q.st) == 0
        q.st[ring.LAST] = old
        ahead = r.below(18) - 1
        ring.interrupt_after(q.ring, q.st, ahead)
        assert _u16(q, q.avail + 4 + 2 * 16) == (old + ahead) & 0xFFFF


def test_kicks_and_interrupts_by_flags():
    q = Queue(_Hw(), 1, 16, False)
    for flags in (0, 1):
        struct.pack_into("<H", q.ring, q.used, flags)
        assert ring.wants_kick(q.ring, q.st) == 1 - flags
    for more, want in ((-1, 1), (0, 0), (-1, 1), (5, 0)):
        ring.interrupt_after(q.ring, q.st, more)
        assert _u16(q, q.avail) == want


def test_offload_headers():
    eth4, eth6 = bytes(12) + b"\x08\x00\x45", bytes(12) + b"\x86\xdd\x60"
    vlan6 = bytes(12) + b"\x81\x00\x00\x05\x86\xdd\x60"
    for start, head, csum, gso, flags, ecn, want in (
        ("udp", eth4, 34, 0, 0, 1, (1, 0, 0, 0, 34, 6)),
        ("tcp 4", eth4, 34, 1448, 0x10, 1, (1, 1, 66, 1448, 34, 16)),
        ("tcp 6", eth6, 54, 1428, 0x10, 1, (1, 4, 86, 1428, 54, 16)),
        ("tcp 6, vlan", vlan6, 58, 65000, 0x10, 1, (1, 4, 90, 65000, 58, 16)),
        ("ecn", eth4, 34, 1448, 0x90, 1, (1, 0x81, 66, 1448, 34, 16)),
        ("ecn not offered", eth4, 34, 1448, 0x90, 0, (1, 1, 66, 1448, 34, 16)),
    ):
        buf = bytearray(400)
        buf[100 : 100 + len(head)] = head
        buf[100 + csum + 12] = 0x80
        buf[100 + csum + 13] = flags
        ring.tx_offload(buf, 100, 100 + csum, want[5], gso, ecn)
        assert struct.unpack_from("<BBHHHH", buf, 88) == want, start


def test_receive_plans():
    mb = 1 << 20
    for budget, want in (
        (mb // 4, (128, 2048)),
        (mb // 2, (256, 2048)),
        (mb, (256, 4096)),
        (4 * mb, (256, 16384)),
        (64 * mb, (256, 16384)),
        (1000, (16, 2048)),
    ):
        assert dma.rx_merge_plan(budget, 1024) == want
    assert dma.rx_merge_plan(4 * mb, 64) == (64, 16384)
    assert dma.rx_whole_plan(4 * mb, 256, dma.PACKET_MAX) == (32, 69632)
    assert dma.rx_whole_plan(mb // 2, 256, 1530) == (256, 2048)
    assert dma.rx_whole_plan(mb // 2, 256, 9030) == (32, 9088)
    assert dma.rx_whole_plan(1000, 256, 9030) == (4, 9088)
