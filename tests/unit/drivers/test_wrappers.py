"""Loopback, pairs, pcap and faults. Runs on CPython and in the guest."""

import struct

from drivers.faults import Faults, Impairment
from drivers.loopback import Loopback, pair
from drivers.pcap import Pcap
from stack.core.frame import CAP_RX_CSUM, CAP_TSO4, CAP_TX_CSUM, FramePool
from stack.core.timers import NEVER


def _pool(n=16):
    return FramePool([bytearray(2048) for _ in range(n)])


def _send(dev, pool, packet, data=None):
    f = pool.get()
    if f is None:
        return False
    f.end = f.off + len(packet)
    f.buf[f.off : f.end] = packet
    if data is not None:
        f.data = data
        f.data_len = len(data)
    if dev.tx(f):
        return True
    f.release()
    return False


class _Sink:
    def __init__(self):
        self.got = []
        self.ok = []

    def __call__(self, f):
        self.got.append(bytes(f.buf[f.off : f.end]))
        self.ok.append(f.csum_ok)


class _File:
    def __init__(self):
        self.bytes = bytearray()

    def write(self, b):
        self.bytes.extend(b)


class _Clock:
    def __init__(self):
        self.now = 0

    def __call__(self):
        return self.now


def test_loopback_returns_what_is_sent():
    lo, pool, sink = Loopback(), _pool(), _Sink()
    assert not lo.sleep() and lo.rx(sink, 9) == 0
    assert _send(lo, pool, b"a" * 60)
    mark = lo.tx_mark()
    data = bytearray(b"xyz" * 20000)
    assert _send(lo, pool, b"b" * 60, data)
    assert lo.sleep() and lo.rx(sink, 1) == 1
    assert lo.tx_passed(mark) and not lo.tx_passed(lo.tx_mark())
    assert lo.rx(sink, 9) == 1 and lo.tx_passed(lo.tx_mark()) and not lo.sleep()
    assert sink.got == [b"a" * 60, b"b" * 60 + bytes(data)]
    assert pool.free == 16 and lo.mtu == 65535


def test_loopback_vouches_only_for_what_was_left_to_it():
    lo, pool, sink = Loopback(), _pool(), _Sink()
    _send(lo, pool, b"a" * 60)
    f = pool.get()
    f.end = f.off + 60
    f.csum_start = f.off + 34
    lo.tx(f)
    lo.rx(sink, 9)
    assert sink.ok == [False, True]
    assert lo.caps == CAP_TX_CSUM | CAP_RX_CSUM


def test_an_answer_within_rx_waits_for_the_next():
    lo, pool = Loopback(), _pool()
    seen = []

    def echo(f):
        seen.append(f.buf[f.off])
        _send(lo, pool, bytes([f.buf[f.off] + 1]) + bytes(59))

    _send(lo, pool, bytes(60))
    for i in range(200):
        assert lo.rx(echo, 64) == 1, i
    assert seen[:3] == [0, 1, 2] and pool.free == 15


def test_pair_is_a_wire():
    a, b = pair(caps=CAP_TX_CSUM | CAP_RX_CSUM | CAP_TSO4, depth=4)
    pool, to_a, to_b = _pool(), _Sink(), _Sink()
    assert a.mac != b.mac and a.gso_max and a.tx_space() == 4
    for i in range(4):
        assert _send(a, pool, bytes([i]) * 60)
    assert not _send(a, pool, b"x" * 60) and a.tx_space() == 0
    assert _send(b, pool, b"y" * 60)
    assert a.rx(to_a, 9) == 1 and to_a.got == [b"y" * 60]
    assert b.rx(to_b, 3) == 3 and b.rx(to_b, 9) == 1
    assert to_b.got == [bytes([i]) * 60 for i in range(4)]
    assert pool.free == 16 and pair()[0].gso_max == 0


def test_pair_past_its_depth():
    a, b = pair(depth=5)
    pool, sink = _pool(), _Sink()
    sent = []
    for i in range(300):
        for k in range(i % 7):
            packet = struct.pack("<HH", i, k) * 15
            if _send(a, pool, packet):
                sent.append(packet)
        b.rx(sink, 64)
    assert sink.got == sent and len(sent) > 700


def test_stop_gives_frames_back():
    a, b = pair()
    pool = _pool()
    for _ in range(5):
        _send(a, pool, bytes(60))
    mark = a.tx_mark()
    b.stop()
    assert pool.free == 16 and a.tx_passed(mark) and not b.link_up
    assert _send(a, pool, bytes(60)) and pool.free == 16
    assert a.stats.dropped("loopback.link_down") == 1


def test_pcap_records_both_ways():
    a, b = pair()
    out, clock, pool, sink = _File(), _Clock(), _pool(), _Sink()
    p = Pcap(a, out, clock)
    assert p.mac == a.mac and p.mtu == 1500 and p.link_up and p.driver == "loopback"
    clock.now = 1700000000123456
    _send(p, pool, b"h" * 60, bytearray(b"data"))
    clock.now += 1
    _send(b, pool, b"back" * 15)
    assert p.rx(sink, 9) == 1 and sink.got == [b"back" * 15]
    magic, major, minor, _, _, snap, link = struct.unpack("<IHHiIII", out.bytes[:24])
    assert (magic, major, minor, snap, link) == (0xA1B2C3D4, 2, 4, 65553, 1)
    assert struct.unpack("<IIII", out.bytes[24:40]) == (1700000000, 123456, 64, 64)
    assert out.bytes[40:104] == b"h" * 60 + b"data"
    assert struct.unpack("<IIII", out.bytes[104:120]) == (1700000000, 123457, 60, 60)
    assert out.bytes[120:] == b"back" * 15 and p.records == 2


def test_pcap_cuts_at_snaplen_and_stops_at_its_limit():
    a, b = pair()
    out, clock, pool, sink = _File(), _Clock(), _pool(), _Sink()
    p = Pcap(a, out, clock, snaplen=64, limit=24 + 2 * 80)
    for _ in range(3):
        _send(p, pool, b"h" * 60, bytearray(70000))
    assert struct.unpack("<IIII", out.bytes[24:40]) == (0, 0, 64, 70060)
    assert len(out.bytes) == 24 + 2 * 80 and p.records == 2 and p.missed == 1
    assert b.rx(sink, 9) == 3 and len(sink.got[0]) == 70060


def test_pcap_records_a_refused_frame_once():
    a, b = pair(depth=1)
    out, clock, pool, sink = _File(), _Clock(), _pool(), _Sink()
    p = Pcap(a, out, clock)
    assert _send(p, pool, b"1" * 60) and not _send(p, pool, b"2" * 60)
    b.rx(sink, 9)
    assert _send(p, pool, b"2" * 60) and p.records == 2


def _run(seed, how, frames=400, step_us=100):
    """Send frames through an impairment; (what arrived, stats)."""
    a, b = pair(depth=64)
    clock, pool, sink = _Clock(), _pool(), _Sink()
    dev = Faults(a, clock, seed, tx=how)
    for i in range(frames):
        assert _send(dev, pool, struct.pack("<H", i) * 30)
        dev.flush()
        b.rx(sink, 64)
        clock.now += step_us
    while dev.poll_at() != NEVER:
        assert dev.poll_at() >= clock.now - step_us
        clock.now = max(clock.now, dev.poll_at())
        assert dev.sleep()
        dev.flush()
        b.rx(sink, 64)
    assert pool.free == 16
    return sink.got, dev.stats, clock.now


def _numbers(got):
    return [struct.unpack("<H", p[:2])[0] for p in got]


def test_no_faults_change_nothing():
    got, stats, _ = _run(1, Impairment())
    assert _numbers(got) == list(range(400)) and not stats.drops


def test_loss_and_its_seed():
    got, stats, _ = _run(7, Impairment(loss=100000))
    assert 20 <= stats.dropped("faults.loss") <= 65
    assert len(got) == 400 - stats.dropped("faults.loss")
    assert _run(7, Impairment(loss=100000))[0] == got
    assert _run(8, Impairment(loss=100000))[0] != got


def test_duplicates():
    got, stats, _ = _run(3, Impairment(duplicate=100000))
    n = stats.get("faults.duplicate")
    assert 20 <= n <= 65 and len(got) == 400 + n and sorted(set(_numbers(got))) == list(range(400))


def test_reordering():
    got, stats, _ = _run(3, Impairment(reorder=50000, reorder_us=1000))
    n = _numbers(got)
    assert sorted(n) == list(range(400)) and n != list(range(400))
    assert max(n.index(i) - i for i in range(400)) <= 11 and stats.get("faults.reorder") > 5


def test_corruption_flips_one_bit():
    got, stats, _ = _run(5, Impairment(corrupt=200000))
    bad = 0
    for i, p in enumerate(got):
        q = struct.pack("<H", i) * 30
        bits = sum(bin(x ^ y).count("1") for x, y in zip(p, q))
        assert bits <= 1 and len(p) == 60
        bad += bits
    assert bad == stats.get("faults.corrupt") > 40


def test_corruption_hides_offloads():
    a, _ = pair(caps=CAP_TX_CSUM | CAP_RX_CSUM | CAP_TSO4)
    dev = Faults(a, _Clock(), 1, tx=Impairment(corrupt=1))
    assert dev.caps == 0 and dev.gso_max == 0
    assert Faults(a, _Clock(), 1, tx=Impairment(loss=1)).caps == a.caps


def test_delay_and_jitter_keep_the_order():
    got, _, end = _run(2, Impairment(delay_us=20000, jitter_us=5000))
    assert _numbers(got) == list(range(400)) and 60000 <= end <= 65000


def test_rate():
    # 60 bytes each, 100,000 bytes a second: 600 us a frame.
    got, _, end = _run(2, Impairment(bytes_per_s=100000))
    assert len(got) == 400 and end == 400 * 600
    got, stats, _ = _run(2, Impairment(bytes_per_s=100000, queue=20))
    assert stats.dropped("faults.queue") > 250 and len(got) + stats.dropped("faults.queue") == 400


def test_faults_of_what_is_received():
    a, b = pair()
    clock, pool, sink = _Clock(), _pool(), _Sink()
    dev = Faults(a, clock, 1, rx=Impairment(delay_us=1000))
    _send(b, pool, b"1" * 60, bytearray(b"tail"))
    assert dev.rx(sink, 9) == 0 and dev.poll_at() == 1000 and not dev.sleep() and pool.free == 16
    clock.now = 1000
    assert dev.sleep() and dev.rx(sink, 9) == 1 and sink.got == [b"1" * 60 + b"tail"]
    assert _send(dev, pool, b"2" * 60) and not dev.tx_passed(dev.tx_mark())
    assert b.rx(sink, 9) == 1 and dev.tx_passed(dev.tx_mark())


def test_a_full_device_behind_faults():
    a, b = pair(depth=2)
    clock, pool, sink = _Clock(), _pool(), _Sink()
    dev = Faults(a, clock, 1, tx=Impairment(delay_us=1))
    for i in range(10):
        _send(dev, pool, bytes([i]) * 60)
    clock.now = 5
    dev.flush()
    assert not dev.sleep()
    for _ in range(10):
        b.rx(sink, 9)
        dev.flush()
    assert [p[0] for p in sink.got] == list(range(10))
