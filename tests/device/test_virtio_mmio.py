"""The virtio-net driver over MMIO against a model of the device: no QEMU."""

import random

import pytest

from drivers import pci, probe, virtio
from drivers.virtio import mmio
from stack.core.stats import Stats
from tests.device import virtio_model as vm
from tests.device.machine import Machine, PciFunction
from tests.device.mmio_model import MICROVM, SLOT, EmptySlot, Hole, MmioNetModel

VERSIONS = pytest.mark.parametrize("version", [2, 1], ids=["modern", "legacy"])


def start(machine, named=(), log=None):
    lines = []
    nics = probe.find_nics(machine, Stats(), lines.append, probe.places(machine, named))
    if log is None:
        assert lines == []
    else:
        log += lines
    return nics


def one(version=2, machine=None, **options):
    m = machine or Machine()
    model = MmioNetModel(m, version=version, **options)
    (nic,) = start(m, [(model.base, model.line)])
    return m, model, nic


@VERSIONS
def test_start(version):
    m, model, nic = one(version)
    assert model.status == (15 if version == 2 else 7)
    wanted = vm.ALL & ~vm.INDIRECT
    assert model.accepted == (wanted if version == 2 else wanted & ~vm.VERSION_1)
    assert nic.mac == model.mac and nic.link_up and nic.interrupts == "line"
    assert (nic.rx_count, nic.rx_size) == (256, 16384)


@VERSIONS
@pytest.mark.parametrize("seed", range(6))
def test_any_subset_of_features(version, seed):
    rng = random.Random(seed)
    features = rng.getrandbits(24) | rng.getrandbits(2) << 28
    features |= vm.VERSION_1 if version == 2 else vm.MRG_RXBUF
    m, model, nic = one(version, features=features, mtu=rng.choice([1500, 9000]))
    got = []
    sent = [rng.randbytes(rng.choice([60, 300, 1514])) for _ in range(600)]
    for p in sent:
        model.deliver(p)
        nic.rx(lambda f: got.append(bytes(f.buf[f.off : f.end])), 64)
    assert got == sent and nic.error is None


@VERSIONS
def test_the_line_is_masked_until_it_is_served(version):
    m, model, nic = one(version)
    assert not nic.sleep()
    for i in range(5):
        before = m.irq_count(0x25)
        model.deliver(bytes(60))
        assert m.irq_count(0x25) == before + 1 and 5 in m.masked_lines
        assert nic.rx(lambda f: None, 64) == 1
        nic.sleep()
        assert 5 not in m.masked_lines and not model.level, i
    # Nothing came: nothing is read.
    before = m.irq_count(0x25)
    model._mmio_read = None
    assert not nic.sleep() and m.irq_count(0x25) == before


@VERSIONS
def test_link_changes(version):
    m, model, nic = one(version)
    nic.sleep()
    for up in (0, 1):
        model.change_config(link=up)
        nic.sleep()
        assert nic.link_up == bool(up)


@VERSIONS
def test_stop_resets(version):
    m, model, nic = one(version)
    nic.stop()
    assert model.status == 0 and not nic.link_up


def test_no_such_line_is_polled():
    m = Machine(lines=False)
    model = MmioNetModel(m)
    (nic,) = start(m, [(model.base, 5)])
    assert nic.interrupts == "none" and nic.poll_at() < m.now + 2000


def test_a_legacy_device_without_merged_buffers_is_refused():
    m, log = Machine(), []
    model = MmioNetModel(m, version=1, features=vm.MAC | vm.STATUS)
    assert start(m, [(model.base, 5)], log) == []
    assert log[0].startswith("eth0: mmio 0xfeb00000: ") and "force-legacy=false" in log[0]
    assert model.status & 128 and model.accepted == 0


def test_an_unknown_version_is_refused():
    m, log = Machine(), []
    model = MmioNetModel(m, version=3)
    assert start(m, [(model.base, 5)], log) == [] and "version 3" in log[0]


def test_a_restless_configuration():
    m, log = Machine(), []
    model = MmioNetModel(m, lie=["restless"])
    assert start(m, [(model.base, 5)], log) == [] and "holds still" in log[0]


# ---- finding ----


def slots(m, n, taken):
    for i in range(n):
        if i in taken:
            MmioNetModel(m, MICROVM + i * SLOT, 24 + i, mac=bytes([2, 0, 0, 0, 0, i]))
        else:
            EmptySlot(m, MICROVM + i * SLOT)
    if not taken:
        Hole(m, MICROVM + n * SLOT, 4)


def test_microvm_with_the_second_ioapic():
    m = Machine()
    slots(m, 24, (23, 22, 3))
    nics = start(m)
    assert [(n.name, n.mac[5], n.interrupts) for n in nics] == [
        ("eth0", 23, "line"), ("eth1", 22, "line"), ("eth2", 3, "line"),
    ]  # fmt: skip
    assert sorted(m.counts) == [0x20 + 27, 0x20 + 46, 0x20 + 47]


def test_microvm_with_few_slots_and_no_lines_told():
    m = Machine()
    slots(m, 8, (7,))
    (nic,) = start(m)
    assert nic.mac[5] == 7 and nic.interrupts == "none"
    m = Machine()
    slots(m, 8, ())
    assert start(m) == []


def test_what_the_command_line_names():
    m = Machine()
    slots(m, 8, (7, 6))
    nics = start(m, [(MICROVM + 6 * SLOT, 11), (MICROVM + 7 * SLOT, 12)])
    assert [n.mac[5] for n in nics] == [7, 6] and sorted(m.counts) == [0x20 + 11, 0x20 + 12]


def test_where_there_is_pci_nothing_is_probed():
    """0xfeb00000 may be the BAR of anything there: reading it would be wild."""
    m = Machine()
    PciFunction(m, (0, 0, 0), 0x8086, 0x29C0, 0x0600)
    assert [str(p) for p in probe.places(m)] == ["pci 00:00.0"]


def test_kinds():
    m = Machine()
    ids = [(0x1000, 1), (0x1041, 1), (0x1001, 2), (0x1042, 2), (0x1005, 4), (0x1044, 4)]
    ids += [(0x1040, 0), (0x1080, 0), (0x1004, 0)]
    for i, (device, kind) in enumerate(ids):
        PciFunction(m, (0, i, 0), 0x1AF4, device)
        assert virtio.kind(pci.function(m, 0, i, 0)) == kind, hex(device)
    PciFunction(m, (0, 9, 0), 0x8086, 0x1000)
    assert virtio.kind(pci.function(m, 0, 9, 0)) == 0
    MmioNetModel(m)
    assert [virtio.kind(s) for s in mmio.scan(m, [(MICROVM, 5)], False)] == [virtio.NET]
