"""The virtio console against a model of the device."""

import random

import pytest

from drivers import virtio
from drivers.device import DeviceError
from drivers.probe import places
from drivers.virtio.console import VirtioConsole
from stack.core.errors import POLLERR, POLLHUP, POLLIN, POLLOUT
from tests.device.machine import Machine
from tests.device.request_models import ConsoleModel


def rig(**options):
    m = Machine()
    model = ConsoleModel(m, **options)
    at = [p for p in places(m) if virtio.kind(p) == virtio.CONSOLE]
    return m, model, VirtioConsole(m, virtio.transport(m, at[0]))


def received(console, n):
    buf = bytearray(n)
    return bytes(buf[: console.recv_into(buf)])


@pytest.mark.parametrize("sizes", [(128, 128), (4, 2)])
def test_bytes_both_ways(sizes):
    m, model, c = rig(sizes=sizes)
    rng = random.Random(3)
    typed = b""
    got = b""
    for _ in range(300):
        piece = rng.randbytes(rng.choice([1, 5, 255, 256, 257, 3000]))
        typed += piece
        model.type(piece)
        got += received(c, rng.choice([1, 100, 5000]))
    while part := received(c, 4096):
        got += part
    assert got == typed
    sent = b""
    for _ in range(100):
        piece = rng.randbytes(rng.choice([1, 256, 700]))
        done = 0
        while done < len(piece):
            done += c.send(piece, done, len(piece) - done)
        sent += piece
    assert model.printed == sent and c.error is None and c.idle()


def test_readiness():
    m, model, c = rig()
    assert c.events() == POLLOUT
    model.type(b"x")
    assert c.events() == POLLIN | POLLOUT
    assert received(c, 10) == b"x" and c.events() == POLLOUT
    model.hold = True
    assert c.send(bytes(10000), 0, 10000) == 16 * 256 and c.events() == 0 and not c.idle()
    assert c.send(b"y", 0, 1) == 0
    model.answer()
    assert c.events() == POLLOUT and c.idle()


def test_who_waits_is_woken():
    m, model, c = rig()
    woken, heard = [], []

    class Waker:
        def wake(self, what):
            woken.append(what)

    c.waker = Waker()
    c.listener = lambda: heard.append(1)
    c.on_interrupt()
    assert woken == heard == []
    before = m.raised
    model.type(b"x")
    assert m.raised == before + 1
    c.on_interrupt()
    assert woken == [c] and heard == [1]
    received(c, 1)
    model.hold = True
    c.send(bytes(10000), 0, 10000)
    c.on_interrupt()
    assert woken == [c]
    before = m.raised
    model.answer()
    assert m.raised > before, "no interrupt although somebody waits for room"
    c.on_interrupt()
    assert woken == [c, c] and c.events() == POLLOUT


@pytest.mark.parametrize(
    "mangle", [lambda q, i, n: (i, 257), lambda q, i, n: (99, n), lambda q, i, n: (i ^ 0x100, n)]
)
def test_nonsense_stops_it(mangle):
    m, model, c = rig()
    model.mangle = mangle
    model.type(b"abc")
    assert received(c, 10) == b"" and c.error and model.status == 0
    assert c.events() == POLLERR | POLLHUP
    with pytest.raises(OSError):
        c.send(b"x", 0, 1)


def test_nonsense_about_what_was_sent():
    m, model, c = rig()
    model.mangle = lambda q, i, n: (i, n + 1) if q.index == 1 else (i, n)
    assert c.send(b"x", 0, 1) == 1
    with pytest.raises(OSError):
        c.send(b"x", 0, 1)
    assert "length" in c.error


def test_an_empty_buffer_is_given_back():
    m, model, c = rig()
    model.mangle = lambda q, i, n: (i, 0)
    model.type(b"abc")
    assert received(c, 10) == b"" and c.error is None
    model.mangle = None
    model.type(b"def")
    assert received(c, 10) == b"def"


def test_stop():
    m, model, c = rig()
    c.stop()
    assert model.status == 0 and not model.master()


def test_devices_that_are_refused():
    for options in ({"features": 0}, {"sizes": (128,)}, {"lie": ("one queue",)}):
        with pytest.raises(DeviceError):
            rig(**options)
