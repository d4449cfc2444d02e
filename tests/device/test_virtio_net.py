"""The virtio-net driver against a model of the device: no QEMU."""

import random
import struct

import pytest

from drivers import dma, pci, probe
from drivers.device import DeviceError
from drivers.virtio.pci import PciTransport
from drivers.virtio_net.nic import VirtioNet
from stack.core import frame as fr
from stack.core.stats import Stats
from tests.device import virtio_model as vm
from tests.device.machine import Machine, PciFunction
from tests.device.virtio_model import VirtioNetModel

ETH = bytes.fromhex("525400123456" "525400abcdef")


def start(machine, stats=None):
    """The first network function, started; DeviceError as it comes."""
    for f in pci.scan(machine):
        if f.class_code() == pci.CLASS_NETWORK:
            return VirtioNet(machine, PciTransport(machine, f), "eth0", stats)


class Rig:
    """A machine with one device, its driver, and a host in a few lines."""

    def __init__(self, features=vm.ALL, machine=None, **options):
        self.machine = machine or Machine()
        self.model = VirtioNetModel(self.machine, features=features, **options)
        self.stats = Stats()
        self.nic = start(self.machine, self.stats)
        self.pool = dma.frame_pool(self.machine)
        self.got = []
        self.vouched = []

    def sink(self, f):
        self.got.append(bytes(f.buf[f.off : f.end]))
        self.vouched.append(f.csum_ok)

    def frame(self, packet, data=None, data_off=0):
        f = self.pool.get()
        f.off -= 100
        f.end = f.off + len(packet)
        f.buf[f.off : f.end] = packet
        if data is not None:
            f.data, f.data_off, f.data_len = data, data_off, len(data) - data_off
        return f

    def send(self, packet, data=None):
        f = self.frame(packet, data)
        if self.nic.tx(f):
            return True
        f.release()
        return False

    def receive(self, budget=64):
        return self.nic.rx(self.sink, budget)


def packet(rng, n):
    return rng.randbytes(n)


# ---- starting ----


def test_start_negotiates_all_that_is_offered():
    r = Rig(vm.ALL | vm.MTU | vm.PACKED | vm.MQ | vm.CTRL_VQ | 1 << 33 | 1 << 63, mtu=9000)
    n = r.nic
    assert r.model.status == 15
    assert r.model.accepted == vm.ALL & ~vm.INDIRECT | vm.MTU | 1 << 33
    assert n.mac == r.model.mac and n.mtu == 9000 and n.link_up and n.error is None
    assert n.caps == fr.CAP_TX_CSUM | fr.CAP_RX_CSUM | fr.CAP_TSO4 | fr.CAP_TSO6
    assert n.gso_max and n.name == "eth0" and n.driver == "virtio-net" and n.interrupts == "msix"
    assert (n.rx_count, n.rx_size) == (256, 16384)


@pytest.mark.parametrize("seed", range(40))
def test_any_subset_of_features(seed):
    rng = random.Random(seed)
    features = vm.VERSION_1
    for bit in range(24):
        features |= rng.getrandbits(1) << bit
    features |= rng.getrandbits(1) << 28 | rng.getrandbits(1) << 29 | rng.getrandbits(1) << 34
    ram = rng.choice([8, 16, 32, 64, 128, 512]) << 20
    r = Rig(features, Machine(ram=ram), mtu=rng.choice([68, 1500, 9000, 65535]))
    a = r.model.accepted
    assert not a & ~features
    if a & (vm.GUEST_TSO4 | vm.GUEST_TSO6):
        assert a & vm.GUEST_CSUM
        assert a & vm.MRG_RXBUF or r.nic.rx_size >= 65562
    if a & (vm.HOST_TSO4 | vm.HOST_TSO6):
        assert a & vm.CSUM
    big = 65535 if a & (vm.GUEST_TSO4 | vm.GUEST_TSO6) else r.nic.mtu
    sent = [packet(rng, rng.choice([60, 300, 1514, big])) for _ in range(600)]
    for p in sent:
        r.model.deliver(p)
        r.receive()
    assert r.got == sent
    for p in sent[:100]:
        assert r.send(p[:1400])
        r.nic.flush()
        r.model.run_tx()
    assert [d for _, d in r.model.sent] == [p[:1400] for p in sent[:100]]
    assert r.nic.error is None


@pytest.mark.parametrize("ram,limit", [(8, 0.65), (16, 1.0), (64, 3.2), (128, 5.2), (4096, 5.4)])
def test_memory_by_ram(ram, limit):
    m = Machine(ram=ram << 20, dma=64 << 20)
    r = Rig(machine=m)
    assert (64 << 20) - m.dma_left() < limit * (1 << 20)
    assert r.nic.rx_count >= 128


def test_little_dma_memory_left():
    r = Rig(machine=Machine(dma=1 << 20))
    assert r.nic.rx_count * r.nic.rx_size <= 256 << 10


STARTING_LIES = [
    ("no virtio 1", dict(features=vm.ALL & ~vm.VERSION_1), "1.x"),
    ("legacy only", dict(device=0x1000, caps=False), "legacy"),
    ("modern without capabilities", dict(caps=False), "structure"),
    ("features not kept", dict(lie=["refuses"]), "features"),
    ("does not reset", dict(lie=["never resets"]), "reset"),
    ("needs reset at once", dict(lie=["needs reset"]), "needs a reset"),
    ("one queue", dict(lie=["one queue"]), "1 queues"),
    ("queue of 0", dict(sizes=(0, 256)), "queue 0 of size 0"),
    ("tx queue of 0", dict(sizes=(256, 0)), "queue 1 of size 0"),
    ("queue of 1", dict(sizes=(256, 1)), "queue 1 of size 1"),
    ("queue of 100", dict(sizes=(100, 256)), "queue 0 of size 100"),
    ("queue of 65535", dict(sizes=(65535, 256)), "size 65535"),
    ("mtu of 10", dict(features=vm.ALL | vm.MTU, mtu=10), "MTU of 10"),
    ("common outside its BAR", dict(lie=["outside 1"]), "outside BAR"),
    ("notify outside its BAR", dict(lie=["outside 2"]), "outside BAR"),
    ("isr outside its BAR", dict(lie=["outside 3"]), "outside BAR"),
    ("device outside its BAR", dict(lie=["outside 4"]), "outside BAR"),
    ("common too short", dict(lie=["short 1"]), "common structure of 0"),
    ("common in BAR 7", dict(lie=["bar 1"]), "no common structure"),
    ("notified outside", dict(lie=["notify off"]), "notified outside"),
    ("configuration never still", dict(lie=["restless"]), "holds still"),
    ("no queue vectors", dict(lie=["no queue vectors"]), "MSI-X"),
    ("BAR without address", dict(bar=0), "no address"),
]


@pytest.mark.parametrize("why,options,text", STARTING_LIES, ids=[x[0] for x in STARTING_LIES])
def test_a_device_that_lies_when_it_starts(why, options, text):
    with pytest.raises(DeviceError, match=text):
        Rig(**options)


def test_a_loop_of_capabilities():
    m = Machine()
    model = VirtioNetModel(m)
    model.set(model._last_cap, 1, 0x40)
    with pytest.raises(DeviceError, match="loop"):
        start(m)


def test_a_capability_inside_the_header():
    m = Machine()
    model = VirtioNetModel(m)
    model.set(0x34, 1, 0x10)
    with pytest.raises(DeviceError, match="inside the header"):
        start(m)


def test_the_first_usable_capability_wins():
    m = Machine()
    model = VirtioNetModel(m, caps=False)
    model.set(0x14 + 8, 4, 0xC001)  # BAR 3: I/O
    model.add_vendor_cap(1, 3, 0, 64)  # in I/O: not for us
    model.add_vendor_cap(99, 0, 0, 0)  # unknown
    model._add_caps()
    model.add_vendor_cap(1, 4, 0x3FFF, 4096)  # a second one, and nonsense
    assert start(m).error is None


def test_a_transitional_device_is_driven_as_modern():
    assert Rig(device=0x1000).model.accepted & vm.VERSION_1


def test_a_device_without_address_gets_one():
    mac = Rig(vm.VERSION_1).nic.mac
    assert mac[0] == 2 and len(mac) == 6


# ---- finding ----


def test_nics_are_numbered_and_others_ignored():
    m = Machine()
    PciFunction(m, (0, 0, 0), 0x8086, 0x29C0, 0x0600)
    bridge = PciFunction(m, (0, 1, 0), 0x1B36, 0x000C, 0x0604, header=0x81)
    bridge.set(0x19, 1, 2)
    again = PciFunction(m, (0, 1, 1), 0x1B36, 0x000C, 0x0604, header=1)
    again.set(0x19, 1, 2)
    PciFunction(m, (2, 1, 0), 0x1B36, 0x000C, 0x0604, header=1).set(0x19, 1, 0)
    a = VirtioNetModel(m, at=(0, 4, 0), mac=b"\2\0\0\0\0\1", bar=0xFE00_0000, msix=0)
    VirtioNetModel(m, at=(0, 5, 0), sizes=(0, 0), bar=0xFE10_0000, msix=0)
    b = VirtioNetModel(m, at=(2, 0, 0), mac=b"\2\0\0\0\0\2", bar=0xFE20_0000, msix=0)
    PciFunction(m, (0, 31, 0), 0x10EC, 0x8139)
    log = []
    nics = probe.find_nics(m, log=log.append)
    assert [(n.name, n.mac) for n in nics] == [("eth0", a.mac), ("eth2", b.mac)]
    assert len(log) == 1 and log[0].startswith("eth1: pci 00:05.0: ") and "size 0" in log[0]


def test_no_memory_is_a_clear_line():
    m = Machine(dma=100_000)
    VirtioNetModel(m)
    log = []
    assert probe.find_nics(m, log=log.append) == []
    assert "DMA memory" in log[0]


def test_bar_sizes():
    m = Machine()
    f = PciFunction(m, (0, 1, 0), 1, 2)
    f.add_bar(0, 0xFEB00000, 0x1000, False, None, None)
    f.add_bar(2, 0x40_0000_0000, 8 << 30, True, None, None)
    g = pci.function(m, 0, 1, 0)
    assert g.bar(0) == (0xFEB00000, 0x1000)
    assert g.bar(1) is None
    assert g.bar(2) == (0x40_0000_0000, 8 << 30)
    assert g.bar(2) == (0x40_0000_0000, 8 << 30)
    assert g.bar(6) is None
    assert g.region(0, 0xFFC, 4) == 0xFEB00FFC
    for off, n in ((0xFFD, 4), (0x1000, 1), (0, 0x1001), (0xFFFFFFFF, 1), (0, 0)):
        with pytest.raises(DeviceError):
            g.region(0, off, n)


# ---- receiving ----


@pytest.mark.parametrize("ram", [16, 64, 256])
@pytest.mark.parametrize("features", [vm.ALL, vm.ALL & ~vm.EVENT_IDX, vm.PLAIN], ids=str)
def test_receive_everything_in_bursts(ram, features):
    rng = random.Random(ram)
    r = Rig(features, Machine(ram=ram << 20))
    big = 65535 if r.model.accepted & vm.GUEST_TSO4 else 1514
    sent = []
    for _ in range(300):
        for _ in range(rng.randrange(12)):
            p = packet(rng, rng.choice([14, 60, 1514, rng.randrange(14, big), big]))
            sent.append(p)
            r.model.deliver(p)
        r.receive(rng.randrange(1, 20))
    while r.receive():
        pass
    assert r.got == sent and r.nic.error is None
    if big > 1514:
        assert r.stats.get("virtio.rx_wrapped") > 3
    assert r.stats.get("virtio.rx_gathered") == 0


def test_a_packet_is_handed_up_where_it_lies():
    """Merged buffers: one Frame, in the arena, also where it wraps."""
    r = Rig(machine=Machine(ram=16 << 20))
    places = []
    count = 256
    for _ in range(40):
        r.model.deliver(bytes(65535))
        r.nic.rx(lambda f: places.append((f.off, f.end, f.buf is r.nic._arena)), 1)
    per = -(-65547 // 2048)
    assert [p[0] for p in places] == [i * per % count * 2048 + 12 for i in range(40)]
    assert all(end - off == 65535 and same for off, end, same in places)
    assert max(p[1] for p in places) > 256 * 2048


def test_past_65536_packets():
    r = Rig()
    rng = random.Random(5)
    total = 0
    pieces = [packet(rng, n) for n in (60, 61, 99, 128)]
    while total < 66_500:
        for i in range(100):
            r.model.deliver(pieces[(total + i) & 3])
        assert r.receive(100) == 100
        assert r.got == [pieces[(total + i) & 3] for i in range(100)]
        r.got.clear()
        total += 100
    assert r.model.queues[0].used > 65536 and r.model.queues[0].last_avail > 65536
    assert r.nic.error is None


def test_more_than_the_ring_waits_in_the_device():
    r = Rig()
    sent = [struct.pack("<I", i) * 20 for i in range(600)]
    for p in sent:
        r.model.deliver(p)
    assert len(r.model.backlog) == 600 - 256
    while r.receive(64):
        pass
    assert r.got == sent


@pytest.mark.parametrize("seed", range(8))
def test_buffers_used_in_another_order(seed):
    """Within a packet, and between packets: gathered by copying, and nothing is lost after."""
    rng = random.Random(seed)
    r = Rig(machine=Machine(ram=16 << 20))

    def shuffle(taken):
        if rng.random() < 0.5:
            rng.shuffle(taken)
        return taken

    r.model.order = shuffle
    sent = []
    for _ in range(200):
        for _ in range(rng.randrange(4)):
            sent.append(packet(rng, rng.choice([60, 3000, 9000, 65535])))
            r.model.deliver(sent[-1])
        r.receive()
    while r.receive():
        pass
    assert r.got == sent and r.stats.get("virtio.rx_gathered") > 20 and r.nic.error is None


@pytest.mark.parametrize("seed", range(4))
def test_completion_between_packets_out_of_order(seed):
    """A device that keeps buffers back: what it keeps is not posted again, the rest goes on."""
    rng = random.Random(seed)
    r = Rig(vm.PLAIN)
    q = r.model.queues[0]
    held = []
    sent = []
    for i in range(3000):
        if r.model.available(q) and len(held) < 40:
            held.append(r.model.take(q))
        if held and (len(held) == 40 or rng.random() < 0.5):
            head, chain = held.pop(rng.randrange(len(held)))
            p = packet(rng, 60 + i % 1400)
            r.machine.at(chain[0][0], 12 + len(p))[:] = bytes(10) + b"\1\0" + p
            r.model.use(q, [(head, 12 + len(p))])
            sent.append(p)
        if rng.random() < 0.2:
            r.receive()
    r.receive()
    assert r.got == sent and len(sent) > 1000 and r.nic.error is None


def test_checksums_vouched_for():
    r = Rig()
    for flags in (0, 1, 2, 3, 4):
        r.model.deliver(bytes(60), flags)
    r.receive()
    assert r.vouched == [False, True, True, True, False]
    r = Rig(vm.ALL & ~vm.GUEST_CSUM)
    r.model.deliver(bytes(60), 3)
    r.receive()
    assert r.vouched == [False] and not r.nic.caps & fr.CAP_RX_CSUM


def test_runts_are_dropped_and_their_buffers_come_back():
    r = Rig()
    for i in range(1000):
        r.model.deliver(bytes(i % 14))
        r.receive()
    assert r.got == [] and r.stats.dropped("virtio.runt") == 1000
    r.model.deliver(b"x" * 14)
    assert r.receive() == 1


def test_a_used_length_below_the_header_is_a_runt():
    r = Rig()
    for _ in range(1000):
        r.model.mangle = lambda q, head, n: (head, 5)
        r.model.deliver(bytes(60))
        r.receive()
    r.model.mangle = None
    r.model.deliver(b"y" * 60)
    r.receive()
    assert r.got == [b"y" * 60] and r.stats.dropped("virtio.runt") == 1000


def test_a_sink_that_raises_loses_no_buffer():
    r = Rig()

    def bad(f):
        raise KeyError

    for i in range(1000):
        assert r.model.deliver(bytes(60)), i
        with pytest.raises(KeyError):
            r.nic.rx(bad, 10)
    r.model.deliver(b"z" * 60)
    r.receive()
    assert r.got == [b"z" * 60]


# ---- a device that lies while it runs ----


def _jump(r):
    r.model.queues[0].used += 300
    r.model.use(r.model.queues[0], [(0, 60)])


def _mangle(f):
    def lie(r):
        r.model.mangle = f
        r.model.deliver(bytes(60))

    return lie


def _twice(r):
    q = r.model.queues[0]
    head, chain = r.model.take(q)
    r.machine.at(chain[0][0] + 10, 1)[:] = b"\1"
    r.model.take(q)
    r.model.use(q, [(head, 72), (head, 72)])


def _merged(f):
    """A packet of four buffers, whose used entries f changes."""

    def lie(r):
        seen = []

        def mangle(q, head, n):
            seen.append(head)
            return f(len(seen) - 1, head, n)

        r.model.mangle = mangle
        r.model.deliver(bytes(16384 * 4 - 12))

    return lie


def _long(r):
    """A packet of all buffers there are."""
    q = r.model.queues[0]
    taken = [r.model.take(q)[0] for _ in range(199)]
    r.machine.at(r.machine.addr(r.nic._arena) + taken[0] * 16384 + 10, 2)[:] = b"\xc7\0"
    r.model.use(q, [(h, 16384) for h in taken])


RX_LIES = [
    ("index jumps", _jump, "used index"),
    ("id beyond the ring", _mangle(lambda q, h, n: (256, n)), "did not have"),
    ("id of 4294967295", _mangle(lambda q, h, n: (0xFFFFFFFF, n)), "did not have"),
    ("length beyond the buffer", _mangle(lambda q, h, n: (h, 16385)), "length"),
    ("length of 4294967295", _mangle(lambda q, h, n: (h, 0xFFFFFFFF)), "length"),
    ("the same buffer twice", _twice, "did not have"),
    ("num_buffers 0", lambda r: r.model.deliver(bytes(60), num_buffers=0), "num_buffers"),
    ("num_buffers 2 of 1", lambda r: r.model.deliver(bytes(60), num_buffers=2), "num_buffers"),
    ("num_buffers 65535", lambda r: r.model.deliver(bytes(60), num_buffers=65535), "num_buffers"),
    ("merged: bad id", _merged(lambda k, h, n: (9999 if k == 2 else h, n)), "did not have"),
    ("merged: bad length", _merged(lambda k, h, n: (h, 1 << 31 if k == 1 else n)), "length"),
    ("merged: same buffer", _merged(lambda k, h, n: (1, n)), "did not have"),
    ("merged: too large", _long, "larger than any"),
    ("merged: too large, scattered", lambda r: (_cross(r), _long(r)), "larger than any"),
]


def _cross(r):
    """Buffers 2 and 3, 4 and 5... change places."""
    r.model.mangle = lambda q, head, n: (head if head == 1 else head ^ 1, n)


@pytest.mark.parametrize("why,lie,text", RX_LIES, ids=[x[0] for x in RX_LIES])
def test_a_device_that_lies_while_receiving(why, lie, text):
    r = Rig()
    r.model.deliver(b"a" * 60)
    r.receive()
    waiting = r.frame(b"b" * 60)
    free = r.pool.free
    r.nic.tx(waiting)
    lie(r)
    r.receive()
    _check_stopped(r, text)
    # Of "the same buffer twice" the first is a packet.
    assert r.got[0] == b"a" * 60 and len(r.got) == 1 + (lie is _twice)
    assert r.pool.free == free + 1


TX_LIES = [
    ("index jumps", lambda q: setattr(q, "used", q.used + 300), None, "used index"),
    ("id beyond the ring", None, lambda q, h, n: (256, n), "did not have"),
    ("id of 4294967295", None, lambda q, h, n: (0xFFFFFFFF, n), "did not have"),
    ("id inside a chain", None, lambda q, h, n: (h | 1, n), "did not have"),
    ("id never sent", None, lambda q, h, n: (200, n), "did not have"),
    ("the same id again", None, lambda q, h, n: (0, n), "did not have"),
]


@pytest.mark.parametrize("why,before,mangle,text", TX_LIES, ids=[x[0] for x in TX_LIES])
def test_a_device_that_lies_while_sending(why, before, mangle, text):
    r = Rig()
    free = r.pool.free
    r.model.mangle = mangle
    for _ in range(3):
        r.send(bytes(60))
    r.nic.flush()
    if before:
        before(r.model.queues[1])
    r.model.run_tx()
    r.nic.flush()
    _check_stopped(r, text)
    assert r.pool.free == free


def _check_stopped(r, text):
    n = r.nic
    assert n.error and text in n.error, n.error
    assert not n.link_up and r.stats.get("virtio.stopped") == 1
    assert r.model.status == 0 and not r.model.master()
    # It takes frames and forgets them; nothing waits, nothing is touched.
    free = r.pool.free
    assert r.send(bytes(60)) and r.pool.free == free and r.stats.dropped("virtio.stopped") == 1
    n.flush()
    n.on_interrupt()
    before = len(r.got)
    assert r.receive() == 0 and len(r.got) == before
    assert not n.sleep() and n.tx_passed(n.tx_mark()) and n.tx_space() and n.poll_at() > 1 << 59


# ---- sending ----


def test_send_pieces_and_offloads():
    r = Rig()
    data = bytearray(random.Random(3).randbytes(70_000))
    ip = b"\x45" + bytes(19)
    tcp = bytearray(32)
    tcp[12] = 0x80
    head = ETH + b"\x08\x00" + ip + tcp
    f = r.frame(head, data, 5000)
    f.gso_size, f.csum_start, f.csum_offset = 1448, f.off + 34, 16
    assert r.nic.tx(f)
    v6 = ETH + b"\x86\xdd" + b"\x60" + bytes(39) + tcp
    f = r.frame(v6, data, 60_000)
    f.gso_size, f.csum_start, f.csum_offset = 1428, f.off + 54, 16
    r.nic.tx(f)
    tcp[13] = 0x80  # CWR
    f = r.frame(ETH + b"\x81\x00\x00\x07\x08\x00" + ip + tcp, data, 60_000)
    f.gso_size, f.csum_start, f.csum_offset = 1448, f.off + 38, 16
    r.nic.tx(f)
    f = r.frame(ETH + b"\x08\x00" + ip + bytes(30))
    f.csum_start, f.csum_offset = f.off + 34, 6
    r.nic.tx(f)
    r.send(ETH + bytes(46))
    r.nic.flush()
    assert r.model.kicks[1] == 1 and r.nic.kicks == sum(r.model.kicks)
    r.model.run_tx()
    headers = [h for h, _ in r.model.sent]
    # flags, gso_type, hdr_len, gso_size, csum_start, csum_offset, num_buffers
    assert headers == [
        (1, 1, 66, 1448, 34, 16, 0),
        (1, 4, 86, 1428, 54, 16, 0),
        (1, 0x81, 70, 1448, 38, 16, 0),
        (1, 0, 0, 0, 34, 6, 0),
        (0, 0, 0, 0, 0, 0, 0),
    ]
    assert r.model.sent[0][1] == head + data[5000:]
    assert r.model.sent[4][1] == ETH + bytes(46)
    free = r.pool.free
    r.nic.flush()
    assert r.pool.free == free + 5


def test_ecn_needs_the_feature():
    r = Rig(vm.ALL & ~vm.HOST_ECN)
    tcp = bytearray(20)
    tcp[12:14] = b"\x50\x80"
    f = r.frame(ETH + b"\x08\x00\x45" + bytes(19) + tcp, bytearray(5000))
    f.gso_size, f.csum_start, f.csum_offset = 1000, f.off + 34, 16
    r.nic.tx(f)
    r.nic.flush()
    r.model.run_tx()
    assert r.model.sent[0][0][1] == 1


@pytest.mark.parametrize("seed", range(6))
def test_sending_with_completion_in_any_order(seed):
    rng = random.Random(seed)
    r = Rig(rng.choice([vm.ALL, vm.PLAIN]))
    r.model.hold = True
    free = r.pool.free
    data = bytearray(rng.randbytes(4096))
    sent = []
    for _ in range(2500):
        p = packet(rng, rng.randrange(14, 700))
        tail = data[rng.randrange(4096) :] if rng.random() < 0.5 else None
        if r.send(p, tail):
            sent.append(p + (tail or b""))
        if rng.random() < 0.3:
            r.nic.flush()
        if rng.random() < 0.3:
            r.model.run_tx(rng.randrange(1, 40))
        if rng.random() < 0.1:
            r.model.complete(lambda heads: rng.sample(heads, len(heads)))
    r.nic.flush()
    r.model.run_tx()
    r.model.complete()
    r.nic.flush()
    assert [d for _, d in r.model.sent] == sent
    assert r.pool.free == free and r.nic.tx_space() == 128 and r.nic.error is None


def test_send_past_65536():
    r = Rig()
    for i in range(66_600 // 60):
        for k in range(60):
            assert r.send(struct.pack("<IH", i, k) * 10)
        r.nic.flush()
        r.model.run_tx()
        assert [d for _, d in r.model.sent] == [struct.pack("<IH", i, k) * 10 for k in range(60)]
        r.model.sent.clear()
    assert r.model.queues[1].used > 65536 and r.nic.error is None


def test_marks():
    r = Rig()
    r.model.hold = True
    none = r.nic.tx_mark()
    assert r.nic.tx_passed(none)
    r.send(b"a" * 60)
    first = r.nic.tx_mark()
    r.send(b"b" * 60)
    second = r.nic.tx_mark()
    assert r.nic.tx_passed(none) and not r.nic.tx_passed(first)
    r.nic.flush()
    r.model.run_tx()
    r.model.complete(lambda heads: [heads.pop()])  # the second frame only
    assert not r.nic.tx_passed(first) and not r.nic.tx_passed(second)
    r.model.use(r.model.queues[1], [(0, 0)])
    assert r.nic.tx_passed(first) and r.nic.tx_passed(second)


def test_full_ring_then_an_interrupt():
    for features in (vm.ALL, vm.ALL & ~vm.EVENT_IDX):
        r = Rig(features)
        r.model.hold = True
        n = 0
        while r.send(bytes(60)):
            n += 1
        assert n == 128 == len(r.nic._frames) and r.nic.tx_space() == 0
        assert not r.nic.sleep()
        r.model.run_tx()
        assert r.machine.raised == 0
        heads = list(r.model.pending)
        r.model.pending = []
        for i, head in enumerate(heads):
            r.model.use(r.model.queues[1], [(head, 0)])
            if features & vm.EVENT_IDX:
                assert r.machine.raised == (1 if i >= 64 else 0), i
        assert r.machine.raised >= 1
        r.nic.on_interrupt()
        r.nic.flush()
        assert r.nic.tx_space() == 128
        # And quiet again.
        before = r.machine.raised
        r.model.hold = False
        for _ in range(100):
            r.send(bytes(60))
        r.nic.flush()
        r.model.run_tx()
        assert r.machine.raised == before


def test_full_ring_emptied_just_before_sleeping():
    r = Rig()
    while r.send(bytes(60)):
        pass
    r.model.run_tx()
    assert r.nic.sleep() and r.nic.tx_space() == 128


def test_a_doorbell_slept_through_is_rung_again():
    r = Rig()
    r.send(bytes(60))
    r.nic.flush()
    r.model.queues[1].kicked = False  # lost
    at = r.nic.poll_at()
    assert r.machine.now < at < r.machine.now + 20_000
    r.nic.flush()
    assert r.model.run_tx() == 0
    r.machine.now = at
    r.nic.flush()
    assert r.model.run_tx() == 1 and r.stats.get("virtio.rekicks") == 1
    r.nic.flush()
    assert r.nic.poll_at() > 1 << 59


# ---- notifications ----


@pytest.mark.parametrize("features", [vm.ALL, vm.ALL & ~vm.EVENT_IDX], ids=["event_idx", "flags"])
@pytest.mark.parametrize("msix", [4, 0], ids=["msix", "intx"])
@pytest.mark.parametrize("seed", range(6))
def test_no_wakeup_is_lost(seed, msix, features):
    """Driver and device act in any interleaving, also between publishing and looking.

    The device acts only when notified, the driver's host only when interrupted or
    told by sleep(). At the end everything has gone both ways.
    """
    rng = random.Random(seed)
    r = Rig(features, msix=msix)
    model, machine, nic = r.model, r.machine, r.nic
    to_guest = [packet(rng, rng.choice([60, 1514, 40_000])) for _ in range(400)]
    to_wire = [packet(rng, rng.choice([60, 700, 1514])) for _ in range(1200)]
    want_in, want_out = list(to_guest), list(to_wire)
    model.hold = seed & 1 == 1
    busy = [False]

    def device():
        if busy[0]:
            return
        busy[0] = True
        for _ in range(rng.randrange(3)):
            what = rng.randrange(4)
            if what == 0 and to_guest and not model.backlog:
                model.deliver(to_guest.pop(0))
            elif what == 1:
                model.run_tx(rng.randrange(1, 30))
            elif what == 2:
                model.complete(lambda heads: rng.sample(heads, len(heads)))
        busy[0] = False

    machine.on_fence = device
    asleep = False
    raised = machine.raised
    stuck = 0
    while to_guest or to_wire or len(r.got) < len(want_in) or len(model.sent) < len(want_out):
        device()
        if asleep:
            if machine.raised == raised:
                stuck += 1
                # Time passes only for the device. It must end with an interrupt,
                # or with nothing left to do; then the program sends more.
                if stuck > 100:
                    assert not model.backlog and not to_guest
                    asleep = False
                continue
            asleep = False
        stuck = 0
        nic.on_interrupt()
        r.receive(rng.randrange(1, 40))
        for _ in range(rng.randrange(60)):
            if to_wire:
                if not r.send(to_wire[0]):
                    break
                to_wire.pop(0)
        nic.flush()
        if rng.random() < 0.4:
            raised = machine.raised
            asleep = not nic.sleep()
    assert r.got == want_in
    assert [d for _, d in model.sent] == want_out
    assert nic.error is None and r.stats.get("virtio.rekicks") == 0


def test_event_idx_keeps_quiet():
    """A busy device is not notified for each frame, a polling driver not interrupted."""
    r = Rig()
    for _ in range(50):
        r.send(bytes(60))
        r.nic.flush()
    assert r.model.kicks[1] == 1
    r.model.run_tx()
    assert r.machine.raised == 0
    for _ in range(50):
        r.model.deliver(bytes(60))
    assert r.machine.raised == 0 and r.model.kicks[0] == 1
    r.receive()
    assert r.model.kicks[0] == 1
    assert not r.nic.sleep()
    for _ in range(50):
        r.model.deliver(bytes(60))
    assert r.machine.raised == 1


def test_without_event_idx_flags_keep_quiet():
    r = Rig(vm.PLAIN)
    for _ in range(50):
        r.model.deliver(bytes(60))
    assert r.machine.raised == 0
    r.receive()
    assert not r.nic.sleep()
    r.model.deliver(bytes(60))
    assert r.machine.raised == 1
    r.receive()
    r.model.deliver(bytes(60))
    assert r.machine.raised == 1
    assert r.nic.sleep()
    kicks = r.model.kicks[0]
    r.receive()
    assert r.model.kicks[0] == kicks, "NO_NOTIFY was set"


def test_sleep_sees_what_came_before():
    r = Rig()
    r.machine.on_fence = lambda: (setattr(r.machine, "on_fence", None), r.model.deliver(bytes(60)))
    assert r.nic.sleep()
    assert r.receive() == 1
    assert not r.nic.sleep()


# ---- interrupts and the link ----


@pytest.mark.parametrize(
    "options,machine,kind",
    [
        (dict(msix=4), dict(), "msix"),
        (dict(msix=3), dict(vectors=2), "msix"),
        (dict(msix=1), dict(), "msix"),
        (dict(msix=4), dict(vectors=0), "intx"),
        (dict(msix=0), dict(), "intx"),
        (dict(msix=4, lie=["no vectors"]), dict(), "intx"),
        (dict(msix=0), dict(lines=False), "none"),
    ],
)
def test_every_kind_of_interrupt(options, machine, kind):
    r = Rig(machine=Machine(**machine), **options)
    assert r.nic.interrupts == kind
    seen = []
    for i in range(5):
        assert not r.nic.sleep()
        before = r.machine.raised
        r.model.deliver(bytes(60))
        seen.append(r.machine.raised - before)
        r.nic.on_interrupt()
        assert r.receive() == 1
        r.model.change_config(link=i & 1)
        r.nic.on_interrupt()
        assert r.nic.link_up == (i & 1 == 1)
    assert seen == [0 if kind == "none" else 1] * 5
    if kind == "none":
        assert r.nic.poll_at() < r.machine.now + 10_000
    assert r.nic.error is None


@pytest.mark.parametrize("msix", [4, 1, 0])
def test_link_down_at_start_and_no_status(msix):
    m = Machine()
    model = VirtioNetModel(m, msix=msix)
    model.link = 0
    nic = start(m)
    assert not nic.link_up
    model.change_config(link=1)
    nic.on_interrupt()
    assert nic.link_up and nic.error is None
    model.change_config(link=0)
    assert not nic.sleep() and not nic.link_up  # sleep acknowledges as well
    m = Machine()
    VirtioNetModel(m, features=vm.ALL & ~vm.STATUS).link = 0
    assert start(m).link_up


def test_the_device_asks_for_a_reset():
    r = Rig()
    r.model.status |= 64
    r.model.change_config()
    r.nic.on_interrupt()
    _check_stopped(r, "needs a reset")


def test_stop_gives_frames_back_and_ends_dma():
    r = Rig()
    free = r.pool.free
    for _ in range(20):
        r.send(bytes(60))
    r.nic.flush()
    r.nic.stop()
    assert r.pool.free == free and r.model.status == 0 and not r.model.master()
    assert not r.nic.link_up and r.nic.tx_passed(r.nic.tx_mark())
