"""The entropy device, and what draws from it, against a model: fail closed."""

import random

import pytest

from drivers import virtio
from drivers.device import DeviceError
from drivers.probe import places
from drivers.virtio.rng import VirtioRng
from stack.api._random import Random
from tests.device.machine import Machine
from tests.device.request_models import RngModel

ENODEV = 19


def rig(rdrand=False, **options):
    m = Machine()
    if not rdrand:
        m.rdrand = lambda: None
    model = RngModel(m, random.Random(7), **options)
    at = [p for p in places(m) if virtio.kind(p) == virtio.ENTROPY]
    return m, model, VirtioRng(m, virtio.transport(m, at[0]))


def test_bytes_come_once_and_in_order():
    m, _, device = rig()
    want = random.Random(7)
    for _ in range(100):
        assert device.take() == want.randbytes(64)
    assert m.raised == 0  # no interrupt is asked for


def test_few_bytes_at_a_time():
    _, _, device = rig(most=5)
    assert [len(device.take()) for _ in range(3)] == [5, 5, 5]


def test_a_slow_device_is_not_waited_for_unless_asked():
    m, model, device = rig()
    device.take()
    model.hold = True
    device.take()
    assert device.take() == b"" and m.waits == 0
    before = m.now
    assert device.take(50_000) == b"" and m.now - before >= 50_000
    m.on_wait = model.answer
    assert len(device.take(50_000)) == 64 and device.error is None


@pytest.mark.parametrize(
    "mangle",
    [
        lambda q, i, n: (i, 0),
        lambda q, i, n: (i, 65),
        lambda q, i, n: (i, 1 << 31),
        lambda q, i, n: (i + 1, n),
        lambda q, i, n: (1 << 31, n),
    ],
)
def test_nonsense_stops_it(mangle):
    m, model, device = rig()
    model.mangle = mangle
    device.take()
    assert device.take() == b"" and device.error and model.status == 0 and not model.master()


def test_a_device_that_says_it_wrote_and_did_not():
    _, model, device = rig()
    model.fill = lambda chain, data: len(data)
    device.take()
    assert device.take() == b"" and "none" in device.error


def test_devices_that_are_refused():
    for options in ({"features": 0}, {"lie": ("never resets",)}, {"lie": ("refuses",)}):
        with pytest.raises(DeviceError):
            rig(**options)


# ---- Random ----


def test_rdrand_alone_is_enough():
    m = Machine()
    values = iter(range(1, 1000))
    m.rdrand = lambda: next(values)
    r = Random(m)
    assert r.strong and len(r.secret(100)) == 100 and r.sources() == ["RDRAND"]


def test_the_device_alone_is_enough():
    m, _, device = rig()
    r = Random(m, device)
    assert r.strong and r.sources() == ["virtio-rng"]
    assert len({r.secret(16) for _ in range(100)}) == 100 and m.locked == 0


def test_with_neither_secrets_are_refused():
    m = Machine()
    m.rdrand = lambda: None
    r = Random(m)
    assert not r.strong and len(r(40)) == 40
    for _ in range(2):
        with pytest.raises(OSError) as e:
            r.secret(1)
        assert e.value.errno == ENODEV and "RDRAND" in str(e.value) and m.locked == 0


@pytest.mark.parametrize("value", [0, 0xFFFFFFFFFFFFFFFF, 5])
def test_a_stuck_rdrand_is_none(value):
    m = Machine()
    m.rdrand = lambda: value
    assert not Random(m).strong


def test_a_dead_or_silent_device_is_none():
    for options in ({"mangle": lambda q, i, n: (i, 0)}, {"hold": True}):
        m, model, device = rig()
        model.hold = True
        device.take()  # what came at the start
        for name, v in options.items():
            setattr(model, name, v)
        device.take()
        r = Random(m, device)
        assert not r.strong
        with pytest.raises(OSError):
            r.secret(16)


def test_too_few_bytes_are_not_enough():
    m, model, device = rig(most=8)
    device._queues[0]  # 8 bytes lie ready
    model.hold = True
    r = Random(m, device)
    assert not r.strong
    with pytest.raises(OSError):
        r.secret(16)


def test_a_late_device_makes_it_strong_and_what_was_left_is_thrown_away():
    m, model, device = rig()
    device.take()
    model.hold = True
    device.take()
    r = Random(m, device)
    weak = r._left
    assert not r.strong and r(4) == weak[:4]
    m.on_wait = model.answer
    assert r.secret(28) != weak[4:] and r.strong


def test_the_device_goes_in_beside_rdrand():
    """With the same RDRAND and clock, other bytes of the device give other numbers."""
    seen = set()
    for seed in range(3):
        m = Machine()
        values = iter(range(1, 1000))
        m.rdrand = lambda values=values: next(values)
        RngModel(m, random.Random(seed))
        at = [p for p in places(m) if virtio.kind(p) == virtio.ENTROPY]
        seen.add(Random(m, VirtioRng(m, virtio.transport(m, at[0]))).secret(32))
    assert len(seen) == 3
