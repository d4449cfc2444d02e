"""The virtio-blk driver, and volumes on it, against a model of the device."""

import random
import struct

import pytest

from drivers import virtio
from drivers.device import DeviceError
from drivers.probe import places
from drivers.virtio.blk import VirtioBlk
from drivers.volume import LfsVolume, Volume
from tests.device import request_models as rm
from tests.device.machine import Machine
from tests.device.request_models import BlkModel
from tests.device.virtio_model import VERSION_1

EIO, EINVAL, EROFS, EOPNOTSUPP = 5, 22, 30, 95


def start(machine):
    at = [p for p in places(machine) if virtio.kind(p) == virtio.BLOCK]
    return VirtioBlk(machine, virtio.transport(machine, at[0]))


class Rig:
    def __init__(self, mb=1, image=None, **options):
        self.machine = Machine()
        self.image = bytearray(mb << 20) if image is None else image
        self.model = BlkModel(self.machine, self.image, **options)
        self.disk = start(self.machine)

    def read(self, sector, n):
        buf = bytearray(n)
        assert self.disk.read(sector, self.machine.addr(buf), n) == 0
        return bytes(buf)

    def write(self, sector, data):
        return self.disk.write(sector, self.machine.addr(bytearray(data)), len(data))


def test_start():
    r = Rig(4)
    assert r.model.status == 15 and r.model.accepted == rm.DISK & ~(1 << 28 | 1 << 29)
    d = r.disk
    assert (d.sectors, d.block, d.readonly, d.error) == (8192, 512, False, None)
    assert d.serial() == "a disk's serial name"


@pytest.mark.parametrize("seed", range(20))
def test_any_features_and_limits(seed):
    rng = random.Random(seed)
    features = VERSION_1
    for bit in (rm.SIZE_MAX, rm.SEG_MAX, rm.BLK_SIZE, rm.FLUSH, rm.TOPOLOGY, rm.DISCARD):
        features |= bit * rng.getrandbits(1)
    block = rng.choice([512, 1024, 4096]) if features & rm.BLK_SIZE else 512
    r = Rig(
        image=bytearray(rng.randbytes(1 << 20)), features=features, block=block,
        size_max=rng.choice([block, 5000, 65536, 1 << 30]), seg_max=rng.choice([1, 3, 126]),
        sizes=(rng.choice([8, 64, 256]),) if features & rm.SEG_MAX == 0 else (128,),
    )  # fmt: skip
    want = bytearray(r.image)
    for _ in range(30):
        n = rng.choice([block, 2 * block, 32768, 200 * block // 512 * 512])
        n = max(block, n // block * block)
        sector = rng.randrange(0, ((1 << 20) - n) // block + 1) * (block // 512)
        if rng.random() < 0.5:
            data = rng.randbytes(n)
            assert r.write(sector, data) == 0
            want[sector * 512 : sector * 512 + n] = data
        assert r.read(sector, n) == want[sector * 512 : sector * 512 + n]
    assert r.disk.flush() == 0
    flushed = [k for k, _, _ in r.model.log if k == 4]
    assert bool(flushed) == bool(features & rm.FLUSH)
    if flushed:
        assert r.image == want
    assert r.disk.error is None and r.machine.locked == 0


def test_parts_and_pieces():
    r = Rig(features=VERSION_1 | rm.SIZE_MAX | rm.SEG_MAX, size_max=4096, seg_max=3)
    data = random.Random(1).randbytes(40960)
    assert r.write(8, data) == 0
    # 3 parts of 4096 a request
    assert [(s, n) for _, s, n in r.model.log] == [(8, 12288), (32, 12288), (56, 12288), (80, 4096)]
    assert r.read(8, 40960) == data


OUTSIDE = [(2048, 512), (2047, 1024), (0, 513), (-1, 512), (1 << 54, 512)]


@pytest.mark.parametrize("sector,n", OUTSIDE)
def test_what_does_not_lie_on_the_disk_is_refused(sector, n):
    r = Rig()
    assert r.disk.read(sector, r.machine.addr(bytearray(n)), n) == -EINVAL
    assert r.disk.write(sector, r.machine.addr(bytearray(n)), n) == -EINVAL
    assert r.model.log == [] and r.machine.locked == 0


def test_read_only():
    r = Rig(features=rm.DISK | rm.RO)
    assert r.disk.readonly and r.write(0, bytes(512)) == -EROFS and r.disk.flush() == 0
    for call in (r.disk.discard, r.disk.write_zeroes):
        with pytest.raises(OSError) as e:
            call(0, 1)
        assert e.value.args[0] == EROFS
    assert r.model.log == []


def test_discard_and_write_zeroes():
    r = Rig(image=bytearray(b"\xaa" * (1 << 20)), most=8)
    r.disk.write_zeroes(10, 20, True)
    r.disk.discard(100, 8)
    assert r.read(9, 22 * 512) == b"\xaa" * 512 + bytes(20 * 512) + b"\xaa" * 512
    assert r.read(100, 512) == b"\xdd" * 512
    assert [k for k, _, _ in r.model.log[:4]] == [13, 13, 13, 11]  # 8 sectors at most each
    with pytest.raises(OSError):
        r.disk.discard(2040, 9)
    r = Rig(features=VERSION_1)
    with pytest.raises(OSError) as e:
        r.disk.discard(0, 1)
    assert e.value.args[0] == EOPNOTSUPP


@pytest.mark.parametrize("status,errno", [(1, EIO), (2, EOPNOTSUPP), (77, EIO)])
def test_errors_of_the_device(status, errno):
    r = Rig()
    for kind, call in ((0, r.disk.read), (1, r.disk.write)):
        r.model.status_for = {kind: status}
        assert call(0, r.machine.addr(bytearray(512)), 512) == -errno
    r.model.status_for = {4: status}
    assert r.disk.flush() == -errno
    # An error is one request's: the disk works on.
    r.model.status_for = {}
    assert r.write(0, b"x" * 512) == 0 and r.read(0, 512) == b"x" * 512


def test_a_short_answer_is_an_error():
    r = Rig()
    r.model.short = 100
    assert r.disk.read(0, r.machine.addr(bytearray(512)), 512) == -EIO
    assert r.disk.error is None


@pytest.mark.parametrize(
    "mangle,why",
    [
        (lambda q, i, n: (i + 1, n), "did not have"),
        (lambda q, i, n: (1 << 20, n), "did not have"),
        (lambda q, i, n: (0xFFFFFFFF, n), "did not have"),
        (lambda q, i, n: (i, n + 1), "length"),
        (lambda q, i, n: (i, 0xFFFFFFFF), "length"),
    ],
)
def test_nonsense_stops_the_disk(mangle, why):
    r = Rig()
    r.model.mangle = mangle
    assert r.disk.read(0, r.machine.addr(bytearray(512)), 512) == -EIO
    assert why in r.disk.error and r.model.status == 0 and not r.model.master()
    r.model.mangle = None
    # What comes after reaches no device.
    asked = len(r.model.log)
    assert r.write(0, bytes(512)) == -EIO and r.disk.flush() == -EIO and len(r.model.log) == asked


def test_an_index_that_jumps_stops_the_disk():
    r = Rig()
    q = r.model.queues[0]
    r.model.hold = True
    r.machine.on_wait = lambda: r.machine.put(q.reg("device") + 2, 2, 40)
    assert r.disk.read(0, r.machine.addr(bytearray(512)), 512) == -EIO
    assert "index" in r.disk.error


def test_no_answer_ever():
    r = Rig()
    r.model.hold = True
    before = r.machine.now
    assert r.disk.read(0, r.machine.addr(bytearray(512)), 512) == -EIO
    assert 30_000_000 <= r.machine.now - before < 40_000_000
    assert "no answer" in r.disk.error and r.model.status == 0 and r.machine.locked == 0
    assert r.write(0, bytes(512)) == -EIO


@pytest.mark.parametrize("msix", [2, 1, 0])
def test_a_late_answer_is_waited_for_halted(msix):
    r = Rig(msix=msix)
    r.model.hold = True
    r.machine.on_wait = r.model.answer
    before = r.machine.raised
    assert r.read(0, 512) == bytes(512)
    assert r.machine.waits == 1 and r.machine.raised == before + 1
    # Nobody halts for what is there at once, and no interrupt is asked for.
    r.model.hold = False
    assert r.read(0, 512) == bytes(512) and r.machine.raised == before + 1
    assert not r.model.level, "an INTx line that nobody acknowledged"


def test_without_interrupts_it_only_looks():
    r = Rig()
    r.disk.halting = False
    r.model.hold = True
    r.disk._now = lambda: r.model.answer() or r.machine.ticks_us()
    assert r.read(0, 512) == bytes(512) and r.machine.waits == 0


@pytest.mark.parametrize(
    "options",
    [
        {"features": rm.DISK & ~VERSION_1},
        {"lie": ("never resets",)},
        {"lie": ("refuses",)},
        {"lie": ("restless",)},
        {"block": 513},
        {"block": 256},
        {"block": 8192},
        {"features": rm.DISK | rm.SIZE_MAX, "size_max": 100},
        {"sizes": (6,)},
        {"sizes": (2,)},
        {"sizes": (0,)},
    ],
)
def test_devices_that_are_refused(options):
    with pytest.raises(DeviceError):
        Rig(**options)


# ---- volumes ----


def test_a_volume_keeps_to_its_stretch():
    r = Rig(image=bytearray(b"\xaa" * (1 << 20)))
    v = Volume(r.machine, r.disk, "vda1", 100, 50)
    assert v.ioctl(4, 0) == 50 and v.ioctl(5, 0) == 512 and v.ioctl(1, 0) == 0
    assert v.writeblocks(49, bytearray(b"x" * 512)) == 0
    assert v.writeblocks(50, bytearray(512)) == v.readblocks(49, bytearray(1024)) == -EINVAL
    assert v.readblocks(-1, bytearray(512)) == -EINVAL
    assert v.ioctl(3, 0) == 0
    assert r.image.count(b"x") == 512 and r.image[149 * 512 : 150 * 512] == b"x" * 512
    assert bytes(v.read(48 * 512, 1024)) == b"\xaa" * 512 + b"x" * 512
    with pytest.raises(OSError):
        v.read(49 * 512, 1024)
    assert r.machine.locked == 0


def writes_and_flushes(r):
    return [(k, s) for k, s, _ in r.model.log if k in (1, 4)]


def test_data_is_flushed_before_what_may_be_a_commit():
    r = Rig()
    v = LfsVolume(r.machine, r.disk, "vda", 0, 2048)
    text, meta = bytearray(b"t" * 512), bytearray(b"\0\0\0\1\xff" + bytes(507))
    for block in (5, 6):  # two blocks of data: no flush between
        assert v.ioctl(6, block) == 0
        assert v.writeblocks(block, text, 0) == v.writeblocks(block, text, 512) == 0
    assert v.writeblocks(1, text, 512) == 0  # appended to an old block: a commit
    assert v.writeblocks(1, text, 1024) == 0  # going on: nothing is loose
    assert v.ioctl(3, 0) == 0
    assert writes_and_flushes(r) == [
        (1, 40), (1, 41), (1, 48), (1, 49), (4, 0), (1, 9), (1, 10), (4, 0),
    ]  # fmt: skip
    r.model.log.clear()
    v.ioctl(6, 7)
    v.writeblocks(7, text, 0)
    v.ioctl(6, 0)
    v.writeblocks(0, meta, 0)  # a metadata block from its start
    assert writes_and_flushes(r) == [(1, 56), (4, 0), (1, 0)]


def test_a_flush_that_fails_stops_the_commit():
    r = Rig()
    v = LfsVolume(r.machine, r.disk, "vda", 0, 2048)
    v.ioctl(6, 5)
    v.writeblocks(5, bytearray(512), 0)
    r.model.status_for = {4: 1}
    assert v.writeblocks(1, bytearray(512), 512) == -EIO
    assert v.ioctl(3, 0) == -EIO
    r.model.status_for = {}
    assert v.writeblocks(1, bytearray(512), 512) == 0
    assert writes_and_flushes(r)[-2:] == [(4, 0), (1, 9)]


def test_descriptors_come_round():
    r = Rig(sizes=(8,), features=VERSION_1 | rm.SEG_MAX | rm.SIZE_MAX, size_max=512, seg_max=6)
    for i in range(300):
        data = struct.pack("<I", i) * 128 * 6
        assert r.write(i % 100 * 8, data) == 0
        assert r.read(i % 100 * 8, 3072) == data
