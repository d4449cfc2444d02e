"""The viper functions of the e1000's rings, against plain Python on CPython and in the guest."""

import struct
from array import array

import micropython

from drivers import coalesce
from drivers.e1000 import ring

_ADDRESS = 0x12_3456_7000  # more than 32 bits
_N = 8


def _rx():
    buf = bytearray(b"\xff" * (16 * _N))
    ring.describe(buf, _ADDRESS, _N)
    return buf, ring.state(_N, 9018)


def _tx(n=16):
    return bytearray(16 * n), ring.state(n), array("I", bytes(4 * n))


def _fill(buf, i, n, status, errors=0):
    struct.pack_into("<HHBBH", buf, 16 * i + 8, n, 0, status, errors, 0)


def test_receive_descriptors():
    buf, st = _rx()
    for i in range(_N):
        assert struct.unpack_from("<QQ", buf, 16 * i) == (_ADDRESS + 2048 * i, 0)
    assert ring.rx_next(buf, st) == ring.NOTHING and ring.rx_waiting(buf, st) == 0


def test_taking_frames_out():
    buf, st = _rx()
    i = 0
    for n in (60, 2048, 2049, 6000, 9018, 14, 4096, 1514):
        k = -(-n // 2048)
        for j in range(k):
            last = j == k - 1
            assert ring.rx_next(buf, st) == 0
            _fill(buf, (i + j) % _N, n - 2048 * j if last else 2048, 0x23 if last else 1)
            assert ring.rx_waiting(buf, st) == 1
        wraps = 2 if i + k > _N else 0
        assert ring.rx_next(buf, st) == (i * 2048 << 20 | n << 2 | wraps | 1), n
        i = (i + k) % _N
        assert ring.rx_next(buf, st) == 0
    assert not any([buf[16 * j + 12] for j in range(_N)])


def test_what_cannot_be_is_said():
    for n, status, errors, why in (
        (13, 3, 0, ring.RUNT),
        (60, 3, 1, ring.DAMAGED),
        (60, 3, 0x80, ring.DAMAGED),
        (2049, 3, 0, ring.BAD),
        (2047, 1, 0, ring.BAD),
    ):
        buf, st = _rx()
        _fill(buf, 0, n, status, errors)
        assert ring.rx_next(buf, st) == why
    buf, st = _rx()
    for i in range(_N):
        _fill(buf, i, 2048, 1)
    assert ring.rx_next(buf, st) == ring.BAD


def test_descriptors_of_a_frame_with_data():
    buf, st, ends = _tx()
    at, data = 0x5_0000_1000, 0x6_0000_0003
    assert ring.tx_space(st) == 15
    assert ring.tx_put(buf, st, ends, at, 54, data, 8192 + 100, 0) == 0
    want = [(at, 0x22100000 | 54), (data, 0x22100000 | 8192), (data + 8192, 0x2B100000 | 100)]
    for i in range(3):
        assert struct.unpack_from("<QII", buf, 16 * i) == want[i] + (0,)
    assert ring.tx_space(st) == 12 and ends[0] == 3
    assert ring.tx_done(buf, st, ends) == 0
    buf[2 * 16 + 12] = 1
    assert ring.tx_done(buf, st, ends) == 1 and ring.tx_done(buf, st, ends) == 0
    assert ring.tx_space(st) == 15


def _segment(v6, n):
    """An Ethernet frame's headers in a buffer at 10, as the stack makes them, for n bytes."""
    b = bytearray(200)
    ip = 24
    tcp = ip + (40 if v6 else 20)
    b[22:24] = b"\x86\xdd" if v6 else b"\x08\x00"
    b[ip] = 0x60 if v6 else 0x45
    for i in range(2, 12):
        b[ip + i] = 0x11 * (i & 7)
    b[tcp + 12] = 0x80
    struct.pack_into("!H", b, tcp + 16, (0xFFF0 + 32 + n) % 65535)
    return b, tcp


def test_a_context_for_segmentation():
    for v6 in (False, True):
        buf, st, _ = _tx()
        b, tcp = _segment(v6, 5000)
        header = tcp - 10 + 32
        options = ring.tx_offload(buf, st, b, 10, tcp, 16, 1448, header + 5000)
        assert options == (4 << 24 | (2 if v6 else 3) << 8)
        css = tcp - 10
        assert buf[0] == 14 and buf[2] | buf[3] << 8 == css - 1 and (v6 or buf[1] == 24)
        assert struct.unpack_from("<BBH", buf, 4) == (css, css + 16, 0)
        command = 0x25 if v6 else 0x27
        assert struct.unpack_from("<IBBH", buf, 8) == (command << 24 | 5000, 0, header, 1448)
        # The length is out of the sum and of the headers.
        assert struct.unpack_from("!H", b, tcp + 16)[0] in (0xFFF0, 0xFFF0 - 65535)
        zero = (28, 29) if v6 else (26, 27, 34, 35)
        assert not any([b[i] for i in zero]) and b[30] and b[31]


def test_a_checksum_context_is_put_in_once():
    buf, st, ends = _tx()
    b, tcp = _segment(False, 0)
    before = bytes(b)
    assert ring.tx_offload(buf, st, b, 10, tcp, 16, 0, 66) == 2 << 8
    assert struct.unpack_from("<IBBHII", buf, 0) == (0, 34, 50, 0, 0x21000000, 0)
    assert ring.tx_put(buf, st, ends, 1, 66, 0, 0, 2 << 8) == 0 and ends[0] == 2
    assert ring.tx_offload(buf, st, b, 10, tcp, 16, 0, 66) == 2 << 8
    assert ring.tx_put(buf, st, ends, 1, 66, 0, 0, 2 << 8) == 2 and ends[2] == 3
    assert struct.unpack_from("<I", buf, 2 * 16 + 12)[0] == 2 << 8
    assert ring.tx_offload(buf, st, b, 10, tcp, 6, 0, 66) == 2 << 8
    assert ring.tx_put(buf, st, ends, 1, 66, 0, 0, 2 << 8) == 3 and ends[3] == 5
    assert bytes(b) == before


def test_indexes_go_round_2_to_the_32():
    buf, st, ends = _tx()
    st[ring.NEXT] = st[ring.CLEAN] = st[3] = 0xFFFFFFFE
    for i in range(40):
        first = (0xFFFFFFFE + 2 * i) & 15
        assert ring.tx_put(buf, st, ends, 1, 60, 2, 60, 0) == first
        assert ring.tx_space(st) == 13 and ring.tx_done(buf, st, ends) == 0
        buf[16 * ((first + 1) & 15) + 12] = 1
        assert ring.tx_done(buf, st, ends) == first + 1
    rx, st = _rx()
    st[ring.NEXT] = 0xFFFFFFFF
    _fill(rx, 7, 2048, 1)
    _fill(rx, 0, 60, 3)
    assert ring.rx_next(rx, st) == (7 * 2048 << 20 | 2108 << 2 | 2) and st[ring.NEXT] == 1


def _sum(b):
    s = sum([b[i] << 8 | b[i + 1] for i in range(0, len(b) & ~1, 2)])
    s += b[-1] << 8 if len(b) & 1 else 0
    while s >> 16:
        s = (s & 0xFFFF) + (s >> 16)
    return s


_STAMPS = b"\x01\x01\x08\x0a" + bytes(range(1, 9))


def _stream(at, seq, payload, options=b"", ack=0xFFFFFFF0):
    """A TCP segment in a frame."""
    n = len(options) + len(payload)
    payload = options + payload
    ip = struct.pack("!BBHHHBB", 0x45, 0, 40 + n, 7, 0x4000, 64, 6)
    ends = bytes(range(200, 208))
    ip += struct.pack("!H", _sum(ip + ends) ^ 0xFFFF) + ends
    offset = 20 + len(options) << 2
    tcp = struct.pack(
        "!HHIIBBHHH", 4000, 80, seq & 0xFFFFFFFF, ack & 0xFFFFFFFF, offset, 0x18, 65535, 0, 0
    )
    s = _sum(ends + struct.pack("!HH", 6, 20 + n) + tcp + payload) ^ 0xFFFF
    return bytes(range(12)) + b"\x08\0" + ip + tcp[:16] + struct.pack("!H", s) + tcp[18:] + payload


def test_segments_continue_one_another():
    for n in (1, 2, 3, 4, 5, 31, 32, 33, 64, 1459, 1460):
        _continue_one_another(n, b"")
    for n in (1, 2, 3, 64, 1448):
        _continue_one_another(n, _STAMPS)


def _joined(options, payloads):
    """What coalesce.join makes of a stream's segments in buffers one behind the other."""
    arena = bytearray(ring.RX_SIZE * len(payloads))
    left = []
    seq = at = 0
    for payload in payloads:
        frame = _stream(0, seq, payload, options)
        arena[at : at + len(frame)] = frame
        left.append(at << 20 | len(frame) << 2)
        seq += len(payload)
        at += ring.RX_SIZE
    st = ring.state(8)
    r = coalesce.join(lambda r, s: left.pop(0) if left else 0, None, st, arena, left.pop(0))
    n = st[ring.LENGTH]
    return r, n & 3, arena[st[ring.PLACE] : st[ring.PLACE] + (n >> 2)]


def test_joined_payload_over_a_header_changes_no_flags():
    # A payload of ones lies where the next header was: nothing of it may get into the flags.
    for options in (b"", _STAMPS):
        payloads = [b"\xff" * (1460 - len(options))] * 5 + [b"\xff"]
        r, bits, frame = _joined(options, payloads)
        assert r == 0 and bits == 1
        assert frame[47] == 0x18 and frame[46] == 0x50 + (len(options) << 2)
        assert frame[54 : 54 + len(options)] == options
        assert frame[54 + len(options) :] == b"".join(payloads)


def _taken(left, _st):
    """The next of left, whose last item counts; a pop may allocate."""
    i = left[-1]
    if i < 0:
        return 0
    left[-1] = i - 1
    return left[i]


def test_the_newest_acknowledgment_stands_for_all():
    for options in (b"", _STAMPS):
        arena = bytearray(ring.RX_SIZE * 6)
        frames = [_stream(0, 1, b"", options, 0xFFFFFFF0 + 8 * i) for i in range(5)]
        frames.append(_stream(0, 1, b"", options, 0xFFFFFFF0 + 8 * 4))
        left = []
        for i, frame in enumerate(frames):
            arena[ring.RX_SIZE * i : ring.RX_SIZE * i + len(frame)] = frame
            left.insert(0, ring.RX_SIZE * i << 20 | len(frame) << 2)
        st = ring.state(8)
        left.append(len(left) - 2)
        first = left[-2]
        micropython.heap_lock()
        try:
            r = coalesce.join(_taken, left, st, arena, first)
        finally:
            micropython.heap_unlock()
        assert r == ring.RX_SIZE * 5 << 20 | len(frames[5]) << 2, "one that says the same again"
        assert st[ring.PLACE] == ring.RX_SIZE * 4 and st[ring.LENGTH] == len(frames[4]) << 2 | 1
        assert coalesce.join(_taken, left, st, arena, r) == 0 and st[ring.LENGTH] & 3 == 1


def test_other_options_stand_alone():
    stamps = b"\x08\x0a" + bytes(8)
    for options in (b"\x01\x01\x05\x0a" + bytes(8), stamps + b"\x01\x01", bytes(12)):
        frame = _stream(0, 1, b"abcd", options)
        arena = bytearray(frame + bytes(64))
        assert coalesce.continues(arena, 0, 0, 0, len(frame), 1) == 0, options


def _continue_one_another(n, options):
    arena = bytearray(8192)
    data = bytes([i * 7 & 255 for i in range(n)])
    one = _stream(0, 0xFFFFFFFF - 1460, data + bytes(1460 - n) + data[:1], options)
    two = _stream(4096, 0xFFFFFFFF - 1460 + 1461, data, options)
    headers = 54 + len(options)
    arena[0 : len(one)] = one
    arena[4096 : 4096 + len(two)] = two
    for vouched in (0, 1):
        assert coalesce.continues(arena, 0, 0, 0, len(one), vouched) == 1461
        assert coalesce.continues(arena, 0, 1461, 4096, len(two) + 9, vouched) == n
        assert coalesce.continues(arena, 0, 1460, 4096, len(two), vouched) == 0
        assert coalesce.continues(arena, 0, 1461, 4096, len(two) - 1, vouched) == 0
    for i in range(12, headers + n):
        arena[4096 + i] ^= 0x40
        assert coalesce.continues(arena, 0, 1461, 4096, len(two), 0) == 0, i
        arena[4096 + i] ^= 0x40
    coalesce.seal(arena, 0, 1461 + n)
    assert _sum(arena[14:34]) == 0xFFFF and arena[16] << 8 | arena[17] == 1501 + len(options) + n


def _turn(rx, rst, tx, tst, ends, b, tcp, n):
    for i in range(n):
        p = 16 * (i & 7)
        rx[p + 8] = 60
        rx[p + 12] = 3
        if ring.rx_next(rx, rst) <= 0 or ring.rx_waiting(rx, rst):
            return False
        options = ring.tx_offload(tx, tst, b, 10, tcp, 16, 1448 if i & 1 else 0, 5066)
        ring.tx_put(tx, tst, ends, _ADDRESS, 66, _ADDRESS, 5000, options)
        tx[16 * ((tst[ring.NEXT] - 1) & 15) + 12] = 1
        if not ring.tx_done(tx, tst, ends) or ring.tx_space(tst) != 15:
            return False
        if coalesce.continues(b, 0, 0, 0, 66, 0):
            return False
    return True


def test_nothing_is_allocated():
    rx, rst = _rx()
    tx, tst, ends = _tx()
    b, tcp = _segment(False, 5000)
    assert _turn(rx, rst, tx, tst, ends, b, tcp, 8)
    micropython.heap_lock()
    try:
        fine = _turn(rx, rst, tx, tst, ends, b, tcp, 64)
    finally:
        micropython.heap_unlock()
    assert fine
