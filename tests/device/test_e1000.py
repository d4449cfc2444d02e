"""The e1000 driver against a model of its cards: no QEMU."""

import random
import struct

import pytest

from drivers import dma, probe
from drivers.device import DeviceError
from drivers.e1000.nic import E1000
from stack.core import frame as fr
from stack.core.stats import Stats
from stack.core.timers import NEVER
from tests.device import e1000_model as em
from tests.device.e1000_model import E1000Model, ones_sum
from tests.device.machine import Machine

ETH = bytes.fromhex("525400123457" "525400abcdef")
BOTH = pytest.mark.parametrize("device", [0x100E, 0x10D3], ids=["82540EM", "82574L"])


class Rig:
    """A machine with one card, its driver, and a host in a few lines."""

    def __init__(self, device=0x100E, machine=None, **options):
        self.machine = machine or Machine()
        self.model = E1000Model(self.machine, device, **options)
        self.stats = Stats()
        said = []
        found = probe.find_nics(self.machine, self.stats, said.append)
        if not found:
            raise DeviceError(said[0])
        self.nic = found[0]
        self.pool = dma.frame_pool(self.machine)
        self.got = []
        self.vouched = []

    def sink(self, f):
        self.got.append(bytes(f.buf[f.off : f.end]))
        self.vouched.append(f.csum_ok)

    def frame(self, packet, data=None):
        f = self.pool.get()
        f.off -= 100
        f.end = f.off + len(packet)
        f.buf[f.off : f.end] = packet
        if data is not None:
            f.data, f.data_off, f.data_len = data, 3, len(data) - 3
        return f

    def send(self, packet, data=None):
        f = self.frame(packet, data)
        if self.nic.tx(f):
            return True
        f.release()
        return False

    def receive(self, budget=64):
        return self.nic.rx(self.sink, budget)


# ---- starting ----


@BOTH
def test_start(device):
    r = Rig(device)
    n, m = r.nic, r.model
    assert isinstance(n, E1000) and n.mac == m.mac and n.error is None and n.link_up
    assert n.driver == ("e1000e" if m.pcie else "e1000") and n.name == "eth0"
    assert n.mtu == 1500 and n.mtu_max == (9000 if m.pcie else 16110)
    caps = fr.CAP_TX_CSUM | fr.CAP_RX_CSUM | fr.CAP_TSO4 | (fr.CAP_TSO6 if m.pcie else 0)
    assert n.caps == caps and n.interrupts == "intx" and n.poll_at() == NEVER
    assert m.resets == 1 and m.reg[em.RCTL] & 2 and m.reg[em.TCTL] & 2
    assert m.room() == n.rx_count - 1 and n.rx_count == 256
    assert m.reg[em.TXDCTL] == (1 << 22 if m.pcie else 0)


@pytest.mark.parametrize("ram,most", [(8, 0.4), (16, 0.6), (64, 0.6), (4096, 0.6)])
def test_memory_by_ram(ram, most):
    m = Machine(ram=ram << 20)
    r = Rig(machine=m)
    taken = (64 << 20) - m.dma_left() - len(r.pool.frames) * 2048
    assert taken < most * (1 << 20) and r.nic.rx_count >= 64


@BOTH
@pytest.mark.parametrize(
    "why, options, words",
    [
        ("never resets", dict(lie=["never resets"]), "reset"),
        ("a group address", dict(mac=b"\x01\0\0\0\0\1"), "MAC"),
        ("no address", dict(mac=bytes(6), eeprom=False), "MAC"),
    ],
)
def test_a_card_that_does_not_start(device, why, options, words):
    with pytest.raises(DeviceError, match=words):
        Rig(device, **options)


@BOTH
def test_without_dma_memory_the_card_is_left_reset(device):
    m = Machine(dma=16 << 10)
    model = E1000Model(m, device)
    said = []
    assert probe.find_nics(m, log=said.append) == [] and len(said) == 1
    assert model.resets == 2 and not model.master()


@BOTH
@pytest.mark.parametrize("options", [{"eeprom": False}, {"lie": ["no eeprom"]}, {"lie": ["busy"]}])
def test_odd_cards_that_do_start(device, options):
    r = Rig(device, **options)
    assert r.nic.mac == r.model.mac and r.nic.error is None


def test_a_card_that_makes_fragments_of_segments_is_not_asked_to_cut():
    """As QEMU 7.2's 82574L does on a network that takes no large frames."""
    r = Rig(0x10D3, lie=["fragments"])
    assert r.nic.caps == fr.CAP_TX_CSUM | fr.CAP_RX_CSUM and r.nic.gso_max == 0
    assert r.model.looped == 3 and not r.model.sent and r.receive() == 0
    r = Rig(0x10D3)
    assert r.nic.caps & fr.CAP_TSO4 and r.model.looped == 3 and not r.model.sent


# ---- receiving ----


@BOTH
def test_frames_of_every_size_round_the_ring_many_times(device):
    rng = random.Random(1)
    r = Rig(device, Machine(ram=8 << 20))
    largest = r.nic.mtu_max + 18
    sent = []
    for _ in range(3000):
        n = rng.choice([14, 60, 1514, 2047, 2048, 2049, 4096, largest, rng.randrange(14, 5000)])
        sent.append(rng.randbytes(n))
        assert r.model.deliver(sent[-1])
        if rng.random() < 0.3 or r.model.room() < 20:
            while r.receive(rng.choice([1, 7, 64])):
                pass
    while r.receive():
        pass
    assert r.got == sent and r.nic.error is None and not any(r.vouched)


@BOTH
def test_a_full_ring_loses_nothing(device):
    r = Rig(device)
    sent = [bytes([i & 255]) * 60 for i in range(700)]
    for p in sent:
        r.model.deliver(p)
    assert len(r.model.backlog) == 700 - 255
    while r.receive():
        pass
    assert r.got == sent and r.model.room() == 255


@BOTH
def test_late_write_back(device):
    """In any portion: a frame of several descriptors comes up when it is whole, not before."""
    r = Rig(device)
    r.model.hold = True
    sent = [bytes([i]) * n for i, n in enumerate((60, 5000, 1514, 2048, 2049, 9000))]
    for p in sent:
        r.model.deliver(p)
    whole = 0
    while r.model.pending:
        assert r.receive() == 0
        r.model.complete(1)
        r.receive()
        assert r.got == sent[: len(r.got)] and len(r.got) >= whole
        whole = len(r.got)
    assert r.got == sent


@pytest.mark.parametrize(
    "why, status, errors, vouched",
    [
        ("nothing summed", em.IXSM, 0, False),
        ("summed", em.TCPCS, 0, True),
        ("summed and to be ignored", em.IXSM | em.TCPCS, 0, False),
        ("not TCP or UDP", 0, 0, False),
        ("TCP sum wrong", em.TCPCS, em.TCPE, False),
        ("IP sum wrong", em.TCPCS, em.IPE, False),
    ],
)
def test_whether_the_checksum_is_vouched_for(why, status, errors, vouched):
    r = Rig()
    r.model.deliver(bytes(60), status, errors)
    assert r.receive() == 1 and r.vouched == [vouched]


@pytest.mark.parametrize("error", [0x80, 0x10, 4, 2, 1])
def test_a_damaged_frame_is_dropped_and_counted(error):
    r = Rig()
    r.model.deliver(bytes(60), errors=error)
    r.model.deliver(b"\1" * 60)
    assert r.receive() == 1 and r.got == [b"\1" * 60]
    assert r.stats.dropped("e1000.damaged") == 1 and r.model.room() == 255


def test_a_runt_is_dropped_and_counted():
    r = Rig()
    r.model.deliver(bytes(13))
    r.model.deliver(b"")
    assert r.receive() == 0 and r.stats.dropped("e1000.runt") == 2 and r.model.room() == 255


def test_a_sink_that_raises_loses_no_buffer():
    r = Rig()
    r.model.deliver(bytes(60))
    with pytest.raises(KeyboardInterrupt):
        r.nic.rx(lambda f: (_ for _ in ()).throw(KeyboardInterrupt), 64)
    for _ in range(300):
        r.model.deliver(bytes(60))
        r.receive()
    assert len(r.got) == 300


# ---- joining segments ----


def segment(seq, payload, **change):
    """A TCP segment as it is on the wire. change: a field's other value."""
    c = dict(tos=0, ttl=64, frag=0x4000, src=1, dst=2, ports=3, ack=4, flags=0x10, window=5)
    c |= dict(mac=ETH, ident=seq & 0xFFFF, options=b"", bad_ip=0, bad_tcp=0, pad=0, proto=6)
    c |= change
    n = 20 + len(c["options"]) + len(payload)
    ip = bytearray(struct.pack("!BBHHHBBHII", 0x45, c["tos"], 20 + n, c["ident"], c["frag"],
                               c["ttl"], c["proto"], 0, c["src"], c["dst"]))  # fmt: skip
    ip[10:12] = struct.pack("!H", ones_sum(bytes(ip)) ^ 0xFFFF ^ c["bad_ip"])
    offset = 5 + len(c["options"]) // 4
    tcp = bytearray(struct.pack("!IIIBB", c["ports"], seq & 0xFFFFFFFF, c["ack"], offset << 4,
                                c["flags"]))  # fmt: skip
    tcp += struct.pack("!HHH", c["window"], 0, 0) + c["options"] + payload
    pseudo = bytes(ip[12:20]) + struct.pack("!HH", 6, n)
    tcp[16:18] = struct.pack("!H", ones_sum(pseudo + tcp) ^ 0xFFFF ^ c["bad_tcp"])
    return c["mac"] + b"\x08\x00" + bytes(ip) + bytes(tcp) + bytes(c["pad"])


def stamps(value, echo=7):
    """RFC 7323, appendix A: as everybody sends them."""
    return struct.pack("!IIII", 0x0101080A, value, echo, 0)[:12]


@BOTH
@pytest.mark.parametrize("status", [em.IXSM, em.TCPCS], ids=["unsummed", "summed"])
@pytest.mark.parametrize("stamped", [0, 12], ids=["bare", "stamped"])
def test_segments_of_a_stream_are_joined(device, status, stamped):
    rng = random.Random(device)
    r = Rig(device)
    seq = start = 0xFFFFFFFF - 50_000
    data = b""
    pushed = set()
    while len(data) < 2_000_000:
        for _ in range(rng.choice([1, 2, 10, 60, 200])):
            payload = rng.randbytes(rng.choice([1460, 1460, 1460, 1459, 1000, 33, 1, 4000, 8900]))
            psh = 8 if rng.random() < 0.1 else 0
            if r.model.room() < 6:
                break
            options = stamps(len(data) >> 15)[:stamped]
            p = segment(seq, payload, flags=0x10 | psh, ack=len(data) >> 16, options=options)
            assert r.model.deliver(p, status)
            seq += len(payload)
            data += payload
            if psh:
                pushed.add(len(data))
        while r.receive(rng.choice([1, 3, 64])):
            pass
    got = b""
    for p in r.got:
        n = 14 + int.from_bytes(p[16:18], "big")
        assert n == len(p) or n < 60 == len(p)
        assert ones_sum(p[14:34]) == 0xFFFF, "the IP checksum"
        assert int.from_bytes(p[38:42], "big") == start + len(got) & 0xFFFFFFFF
        ends = range(len(got) + 1, len(got) + n - 53 - stamped)
        assert p[47] == (0x10 if pushed.isdisjoint(ends) else 0x18), "flags"
        assert p[54 : 54 + stamped] == stamps(len(got) >> 15)[:stamped]
        got += p[54 + stamped : n]
    assert got == data
    assert (20_000 if stamped else 30_000) < max(map(len, r.got)) <= 65549
    assert r.nic.error is None


JOINED_NOT = [
    ("a gap", dict(seq=1001 + 1460)),
    ("a repetition", dict(seq=1000)),
    ("another port", dict(ports=99)),
    ("another source", dict(src=99)),
    ("another destination", dict(dst=99)),
    ("another station", dict(mac=ETH[:11] + b"\0")),
    ("for another station", dict(mac=b"\2" + ETH[1:])),
    ("congestion experienced", dict(tos=3)),
    ("another TTL", dict(ttl=63)),
    ("another acknowledgement", dict(ack=99)),
    ("another window", dict(window=99)),
    ("a fragment", dict(frag=0x2000)),
    ("a later fragment", dict(frag=1)),
    ("FIN", dict(flags=0x11)),
    ("SYN", dict(flags=0x12)),
    ("RST", dict(flags=0x14)),
    ("URG", dict(flags=0x30)),
    ("CWR", dict(flags=0x90)),
    ("no ACK", dict(flags=0x00)),
    ("TCP options", dict(options=bytes([1] * 4))),
    ("12 bytes of other options", dict(options=bytes([1] * 12))),
    ("timestamps", dict(options=stamps(1))),
    ("not TCP", dict(proto=17)),
    ("a wrong IP checksum", dict(bad_ip=1)),
    ("a wrong TCP checksum", dict(bad_tcp=1)),
    ("nothing in it", dict(payload=b"")),
]


JOINED_NOT_BY = dict(JOINED_NOT)


@pytest.mark.parametrize("why, change", JOINED_NOT, ids=[c[0] for c in JOINED_NOT])
@pytest.mark.parametrize("turned", [False, True], ids=["second", "first"])
def test_what_is_not_joined_comes_up_as_it_was(why, change, turned):
    change = {"payload": bytes(1460), "seq": 2460, **change}
    odd = segment(**change)
    frames = [segment(1000, b"x" * 1460), odd]
    if turned:
        seq = change["seq"] + ("seq" not in JOINED_NOT_BY[why] and 1460)
        frames = [odd, segment(seq, b"y" * 1460)]
    r = Rig()
    for p in frames:
        r.model.deliver(p)
    while r.receive():
        pass
    assert r.got == frames and r.nic.error is None


@pytest.mark.parametrize("other", [stamps(2), stamps(1, 8), b"", bytes([1] * 12)], ids=bytes.hex)
def test_other_timestamps_are_another_segment(other):
    frames = [
        segment(1000, b"x" * 1400, options=stamps(1)),
        segment(2400, b"y" * 1400, options=other),
    ]
    r = Rig()
    for p in frames:
        r.model.deliver(p)
    while r.receive():
        pass
    assert r.got == frames and r.nic.error is None


def acknowledgment(ack, **change):
    """A segment without data, padded to Ethernet's least."""
    return segment(**{"seq": 700, "payload": b"", "ack": ack & 0xFFFFFFFF, "pad": 6, **change})


@BOTH
@pytest.mark.parametrize("status", [em.IXSM, em.TCPCS], ids=["unsummed", "summed"])
@pytest.mark.parametrize("stamped", [0, 12], ids=["bare", "stamped"])
def test_an_acknowledgment_stands_for_older_ones(device, status, stamped):
    """Of each run of newer and newer ones the last comes up, whatever their windows."""
    rng = random.Random(device)
    r = Rig(device)
    ack = start = 0xFFFFFFFF - 100_000
    want, n = [], 0
    for _ in range(100):
        last = None
        for _ in range(rng.choice([1, 2, 3, 40, 150])):
            n += 1
            flow = 3 + (rng.random() < 0.1)
            step = rng.choice([0, 1, 1460, 2920, 2920, 2920])
            ack += step
            changing = dict(window=n & 0xFFFF, ident=n & 0xFFFF)
            options = stamps(ack - start, n)[:stamped]
            p = acknowledgment(ack, ports=flow, options=options, **changing)
            assert r.model.deliver(p, status)
            if last == flow and step:
                want.pop()
            want.append(p)
            last = flow
        while r.receive(rng.choice([1, 3, 64])):
            pass
        assert r.got == want
    assert len(want) < n // 2


STANDS_FOR_NOTHING = [
    ("the same again", dict(ack=5000)),
    ("older", dict(ack=4999)),
    ("older by a lot", dict(ack=5001 + (1 << 31))),
    ("another place in the stream", dict(seq=701)),
    ("data", dict(payload=b"z")),
    ("another port", dict(ports=99)),
    ("another source", dict(src=99)),
    ("another destination", dict(dst=99)),
    ("another station", dict(mac=ETH[:11] + b"\0")),
    ("congestion experienced", dict(tos=3)),
    ("another TTL", dict(ttl=63)),
    ("a fragment", dict(frag=0x2000)),
    ("FIN", dict(flags=0x11)),
    ("RST", dict(flags=0x14)),
    ("URG", dict(flags=0x30)),
    ("ECE", dict(flags=0x50)),
    ("CWR", dict(flags=0x90)),
    ("blocks of SACK", dict(options=b"\1\1\5\x0a" + bytes(8))),
    ("an older timestamp", dict(options=stamps(9))),
    ("no timestamp", dict(options=b"")),
    ("a wrong IP checksum", dict(bad_ip=1)),
    ("a wrong TCP checksum", dict(bad_tcp=1)),
    ("cut short", dict(pad=0)),
]


@pytest.mark.parametrize("why, change", STANDS_FOR_NOTHING, ids=[c[0] for c in STANDS_FOR_NOTHING])
def test_what_stands_for_no_other_acknowledgment(why, change):
    odd = acknowledgment(**{"ack": 6000, "options": stamps(10), **change})
    odd = odd[:-1] if why == "cut short" else odd
    frames = [acknowledgment(5000, options=stamps(10)), odd]
    r = Rig()
    for p in frames:
        r.model.deliver(p)
    while r.receive():
        pass
    assert r.got == frames and r.nic.error is None


def test_data_behind_an_acknowledgment():
    """It stands for nothing that carries data, nor data for it."""
    frames = [acknowledgment(5000), segment(700, b"a" * 1460), segment(2160, b"b" * 1460)]
    frames += [acknowledgment(5001, seq=3620), acknowledgment(5002, seq=3620)]
    r = Rig()
    for p in frames:
        r.model.deliver(p)
    while r.receive():
        pass
    assert [p[54:] for p in r.got] == [bytes(6), b"a" * 1460 + b"b" * 1460, bytes(6)]
    assert r.got[0] == frames[0] and r.got[2] == frames[4] and r.vouched == [True] * 3


def test_padding_is_not_data():
    r = Rig()
    r.model.deliver(segment(0, b"a" * 1200))
    r.model.deliver(segment(1200, b"b", pad=5))
    r.model.deliver(segment(1201, b"c" * 1200))
    assert r.receive() == 1 and r.got[0][54:] == b"a" * 1200 + b"b" + b"c" * 1200
    assert r.vouched == [True]


def test_joining_can_be_switched_off():
    r = Rig()
    r.nic.join = False
    frames = [segment(1460 * i, bytes(1460)) for i in range(10)]
    for p in frames:
        r.model.deliver(p)
    assert r.receive() == 10 and r.got == frames


# ---- sending ----


def tcp4(rng, n, flags=0x18):
    """Headers of a TCP segment of n bytes as the stack makes them: pseudo-header sum, lengths."""
    options = rng.choice([0, 12])
    head = bytearray(20 + 20 + options)
    head[0], head[8], head[9] = 0x45, 64, 6
    head[2:4] = struct.pack("!H", (40 + options + n) & 0xFFFF)
    head[4:6] = rng.randbytes(2)
    head[12:20] = rng.randbytes(8)
    head[10:12] = struct.pack("!H", ones_sum(bytes(head[:20])) ^ 0xFFFF)
    head[20:32] = rng.randbytes(12)
    head[32], head[33] = (20 + options) << 2, flags
    pseudo = bytes(head[12:20]) + struct.pack("!HH", 6, (20 + options + n) & 0xFFFF)
    head[36:38] = struct.pack("!H", ones_sum(pseudo))
    return ETH + b"\x08\x00" + bytes(head), 34, pseudo


def tcp6(rng, n, flags=0x18):
    head = bytearray(40 + 20)
    head[0], head[6], head[7] = 0x60, 6, 64
    head[4:6] = struct.pack("!H", (20 + n) & 0xFFFF)
    head[8:40] = rng.randbytes(32)
    head[40:52] = rng.randbytes(12)
    head[52], head[53] = 20 << 2, flags
    pseudo = bytes(head[8:40]) + struct.pack("!II", 20 + n, 6)
    head[56:58] = struct.pack("!H", ones_sum(pseudo))
    return ETH + b"\x86\xdd" + bytes(head), 54, pseudo


def offload(r, head, start, data=None, gso=0):
    f = r.frame(head, data)
    f.csum_start, f.csum_offset, f.gso_size = f.off + start, 16, gso
    return f


def check_segments(sent, head, start, pseudo, payload, mss):
    """What is on the wire is the payload, in order, and every sum and length is right."""
    v4 = head[14] >> 4 == 4
    header = len(head)
    got = b""
    for k, p in enumerate(sent):
        last = k == len(sent) - 1
        ip_len = int.from_bytes(p[16:18], "big") if v4 else int.from_bytes(p[18:20], "big") + 40
        n = 14 + ip_len
        assert len(p) == max(n, 60) and (last or n == header + mss)
        if v4:
            assert ones_sum(p[14:34]) == 0xFFFF
            ident = int.from_bytes(head[18:20], "big") + k
            assert int.from_bytes(p[18:20], "big") == ident % 65536
        seq = int.from_bytes(p[start + 4 : start + 8], "big")
        assert seq == (int.from_bytes(head[start + 4 : start + 8], "big") + len(got)) % (1 << 32)
        assert p[start + 13] == head[start + 13] & (0xFF if last else ~9)
        tcp = p[start:n]
        length = struct.pack("!HH", 6, len(tcp)) if v4 else struct.pack("!II", len(tcp), 6)
        assert ones_sum(pseudo[: 8 if v4 else 32] + length + tcp) == 0xFFFF
        got += p[header:n]
    assert got == payload


@BOTH
@pytest.mark.parametrize("seed", range(20))
def test_what_is_sent(device, seed):
    """Plain, summed and cut frames in any order, the ring going round, late write-backs."""
    rng = random.Random(seed)
    r = Rig(device)
    r.model.hold = seed & 1 == 1
    expected = []
    for _ in range(150):
        kind = rng.choice("plain data csum csum6 tso tso6 bare".split())
        data = rng.randbytes(3 + rng.choice([1, 9, 1460, 8192, 8193, 30000, 65455]))
        mss = rng.choice([536, 1440, 8000])
        if kind == "plain":
            f = r.frame(ETH + rng.randbytes(rng.choice([2, 46, 1488])))
            expected.append(("plain", bytes(f.buf[f.off : f.end])))
        elif kind == "data":
            data = data[:1400]
            f = r.frame(ETH + b"\x08\x00", data)
            expected.append(("plain", ETH + b"\x08\x00" + data[3:]))
        else:
            make = tcp6 if kind[-1] == "6" else tcp4
            data = data[:1463] if kind[:4] == "csum" else data[:3] if kind == "bare" else data
            head, start, pseudo = make(rng, len(data) - 3, rng.choice([0x10, 0x18, 0x19]))
            gso = mss if kind.startswith("tso") else 0
            f = offload(r, head, start, data if len(data) > 3 else None, gso)
            expected.append((kind, head, start, pseudo, data[3:], gso or 9000))
        if not r.nic.tx(f):
            r.model.complete()
            assert r.nic.tx(f)
        if rng.random() < 0.4:
            r.nic.flush()
        if r.model.hold and rng.random() < 0.2:
            r.model.complete(rng.randrange(9))
    r.nic.flush()
    r.model.complete()
    r.nic.flush()
    assert r.pool.free == len(r.pool.frames) and r.nic.error is None
    sent = iter(r.model.sent)
    for kind, first, *rest in expected:
        if kind == "plain":
            assert next(sent) == first + bytes(max(0, 60 - len(first)))
            continue
        start, pseudo, payload, mss = rest
        count = max(1, -(-len(payload) // mss))
        check_segments([next(sent) for _ in range(count)], first, start, pseudo, payload, mss)
    assert next(sent, None) is None


def test_a_batch_is_published_once_and_a_context_is_not_repeated():
    r = Rig()
    r.model.tails = r.model.contexts = 0
    rng = random.Random(1)
    for _ in range(10):
        head, start, _ = tcp4(random.Random(5), 0)
        assert r.nic.tx(offload(r, head, start))
    assert r.model.tails == 0
    r.nic.flush()
    assert (r.model.tails, r.model.contexts, len(r.model.sent)) == (1, 1, 10)
    head, start, _ = tcp4(rng, 5000)
    r.nic.tx(offload(r, head, start, rng.randbytes(5003), 1000))
    head, start, _ = tcp4(random.Random(5), 0)
    r.nic.tx(offload(r, head, start))
    r.nic.flush()
    assert (r.model.tails, r.model.contexts) == (2, 3)


@BOTH
def test_a_full_ring_and_room_again(device):
    r = Rig(device)
    r.model.hold = True
    n = 0
    while r.send(ETH + bytes(46)):
        n += 1
    assert n > 200 and r.nic.tx_space() == 0
    mark = r.nic.tx_mark()
    assert not r.nic.tx_passed(mark) and not r.nic.sleep()
    before = r.machine.raised
    r.model.complete()
    assert r.machine.raised == before + 1, "no interrupt, though somebody waits for room"
    assert r.nic.sleep() and r.nic.tx_passed(mark) and r.nic.tx_space() > 20
    assert r.pool.free == len(r.pool.frames)
    assert r.send(ETH + bytes(46))
    r.nic.flush()
    r.nic.on_interrupt()
    r.nic.sleep()
    before = r.machine.raised
    r.model.complete()
    r.nic.flush()
    assert not r.model.reg[em.IMS] & em.TXDW


@BOTH
def test_never_written_back(device):
    """The card is told again, ever more rarely; after 10 s with a link it is stopped."""
    r = Rig(device)
    r.model.hold = True
    r.send(ETH + bytes(46))
    r.nic.flush()
    began = r.machine.now
    rounds = 0
    while r.nic.error is None:
        at = r.nic.poll_at()
        assert r.machine.now < at < r.machine.now + 1_300_000
        r.machine.now = at
        r.nic.flush()
        rounds += 1
        assert rounds < 100
    assert "sends nothing" in r.nic.error and 10_000_000 <= r.machine.now - began < 12_000_000
    assert rounds < 25 and r.model.tails > 5
    check_stopped(r)


def test_a_card_that_is_stopped_while_somebody_sends():
    r = Rig()
    r.model.hold = True
    while r.send(ETH + bytes(46)):
        pass
    for _ in range(100):
        r.machine.now = max(r.nic.poll_at(), r.machine.now)
        if r.send(ETH + bytes(46)):
            break
    check_stopped(r, "sends nothing", 2)


def test_without_a_link_the_card_may_wait():
    r = Rig()
    r.model.hold = True
    r.model.set_link(False)
    r.nic.on_interrupt()
    r.send(ETH + bytes(46))
    r.nic.flush()
    for _ in range(40):
        r.machine.now = r.nic.poll_at()
        r.nic.flush()
    assert r.nic.error is None and not r.nic.link_up
    r.model.set_link(True)
    r.model.complete()
    r.nic.on_interrupt()
    r.nic.flush()
    assert r.nic.link_up and r.pool.free == len(r.pool.frames) and r.nic.poll_at() == NEVER


# ---- a card that reports nonsense, or is gone ----


def check_stopped(r, words="", dropped=1):
    n = r.nic
    assert words in n.error and not n.link_up and r.stats.counts["e1000.stopped"] == 1
    assert r.pool.free == len(r.pool.frames)
    assert n.rx(r.sink, 64) == 0 and n.tx_space() == 1 and n.poll_at() == NEVER and not n.sleep()
    assert r.send(bytes(60)) and r.stats.dropped("e1000.stopped") == dropped
    assert n.tx_passed(n.tx_mark())
    n.flush()
    n.on_interrupt()
    n.stop()
    assert r.model.gone or (r.model.resets >= 2 and not r.model.master())


@pytest.mark.parametrize(
    "why, deliver",
    [
        ("longer than its buffer", dict(frame=bytes(60), lengths=[2049])),
        ("longer than anything", dict(frame=bytes(60), lengths=[65535])),
        ("a gap within", dict(frame=bytes(4000), lengths=[1000, 2000])),
        ("nothing within", dict(frame=bytes(4000), lengths=[0, 2000])),
        ("no end", dict(frame=bytes(2048 * 9), end=False)),
        ("no end, short", dict(frame=bytes(60), end=False)),
        ("too large", dict(frame=bytes(2048 * 8))),
    ],
)
def test_nonsense_in_a_receive_descriptor(why, deliver):
    r = Rig()
    r.send(bytes(60))
    r.model.deliver(b"\2" * 60)
    assert r.receive() == 1
    r.model.deliver(**deliver)
    r.receive()
    check_stopped(r, "lengths")


def test_random_nonsense_in_the_receive_ring():
    for seed in range(300):
        rng = random.Random(seed)
        r = Rig()
        for _ in range(rng.randrange(1, 300)):
            at = (r.model.reg[em.RDBAL]) + 16 * rng.randrange(256)
            r.machine.at(at + 8, 8)[:] = rng.randbytes(8)
        for _ in range(20):
            r.receive(rng.randrange(1, 64))
        for p in r.got:
            assert 14 <= len(p) <= r.nic.mtu_max + 18


def test_a_head_outside_of_the_ring():
    r = Rig(lie=["head"])
    r.model.hold = True
    r.send(ETH + bytes(46))
    r.nic.flush()
    r.machine.now = r.nic.poll_at()
    r.nic.flush()
    check_stopped(r, "head")


@BOTH
@pytest.mark.parametrize("how", ["interrupt", "sending"])
def test_a_card_that_was_pulled(device, how):
    r = Rig(device)
    r.nic.sleep()
    if how == "sending":
        r.model.hold = True
        r.send(ETH + bytes(46))
        r.nic.flush()
    r.model.gone = True
    if how == "interrupt":
        r.nic.on_interrupt()
    else:
        r.machine.now = r.nic.poll_at()
        r.nic.flush()
    check_stopped(r, "gone")


# ---- interrupts and link ----


@BOTH
@pytest.mark.parametrize("options", [dict(), dict(line=0)], ids=["intx", "none"])
def test_interrupts(device, options):
    r = Rig(device, **options)
    kind = "none" if options else "intx"
    assert r.nic.interrupts == kind
    for i in range(20):
        assert not r.nic.sleep()
        before = r.machine.raised
        r.model.deliver(bytes(60))
        r.model.deliver(bytes(60))
        assert r.machine.raised - before == (0 if options else 1)
        assert r.nic.sleep(), "a frame waits"
        assert r.receive() == 2
        r.model.set_link(i & 1 == 1)
        assert not r.nic.sleep() and r.nic.link_up == (i & 1 == 1)
    if options:
        assert r.nic.poll_at() < r.machine.now + 10_000
    assert r.nic.error is None and r.stats.counts["e1000.link_changes"] == 20


def test_two_cards_on_one_line():
    m = Machine()
    models = [E1000Model(m, 0x100E, at=(0, 4, 0)), E1000Model(m, 0x100E, at=(0, 5, 0))]
    models[1].config[0x10:0x14] = struct.pack("<I", em.BAR_AT + 0x40000)
    assert not any(nic.join for nic in probe.find_nics(m, plain=True)), "for a router: as it came"
    nics = probe.find_nics(m)
    assert all(nic.join for nic in nics)
    got = [[], []]
    for i in range(200):
        for n in nics:
            n.sleep()
        models[i & 1].deliver(bytes([i]) * 60)
        if i % 3 == 0:
            models[i + 1 & 1].deliver(bytes([i]) * 60)
        assert m.masked_lines, "no interrupt"
        again = True
        while again:
            again = False
            for k, n in enumerate(nics):
                n.rx(lambda f, k=k: got[k].append(f.buf[f.off]), 64)
            for n in nics:
                again = n.sleep() or again
        assert not models[0].level and not models[1].level and not m.masked_lines
    assert len(got[0]) + len(got[1]) == 200 + 67


def test_link_down_at_start():
    m = Machine()
    model = E1000Model(m)
    model.up = False
    nic = probe.find_nics(m)[0]
    assert not nic.link_up and nic.error is None
    model.set_link(True)
    nic.sleep()
    assert nic.link_up


def test_a_flapping_link_loses_no_frame_that_was_sent_or_received():
    rng = random.Random(4)
    r = Rig()
    sent = []
    for i in range(500):
        r.model.set_link(rng.random() < 0.5)
        if rng.random() < 0.5:
            sent.append(struct.pack("!I", i) * 20)
            r.model.deliver(sent[-1])
        r.send(ETH + struct.pack("!I", i) * 20)
        r.nic.flush()
        r.nic.sleep()
        assert r.nic.link_up == r.model.up
        if rng.random() < 0.3:
            r.receive()
    while r.receive():
        pass
    assert r.got == sent and len(r.model.sent) == 500 and r.nic.error is None


def test_stop_gives_frames_back_and_ends_dma():
    r = Rig()
    r.model.hold = True
    for _ in range(20):
        r.send(bytes(60))
    r.nic.flush()
    r.nic.stop()
    assert r.pool.free == len(r.pool.frames) and r.model.resets == 2 and not r.model.master()
    assert not r.nic.link_up and r.nic.error == "stopped"
