"""Send buffers come back when the devices have passed them, and not before."""

from stack.core.frame import FramePool
from stack.core.mem import Buffers
from stack.transport.tcp.limbo import SendBuffers
from tests.unit.transport.tcp.harness import L, R, drain, established, pattern, seg, send, write


class Device:
    def __init__(self):
        self.queue = []  # frames taken and not read
        self.taken = 0

    def tx(self, f):
        self.queue.append(f)
        self.taken += 1

    def read(self, n=1):
        for _ in range(n):
            self.queue.pop(0).release()

    def tx_mark(self):
        return self.taken

    def tx_passed(self, mark):
        return self.taken - len(self.queue) >= mark


class Iface:
    def __init__(self, device):
        self.device = device


def _setup(devices=1, frames=8):
    buffers = Buffers()
    pool = FramePool([bytearray(256) for _ in range(frames)])
    devices = [Device() for _ in range(devices)]
    return buffers, pool, devices, SendBuffers(buffers, pool, [Iface(d) for d in devices])


def _frame(pool, buf=None):
    f = pool.get()
    f.data = buf
    f.data_len = 10 if buf is not None else 0
    return f


def test_nothing_out():
    buffers, pool, _, sb = _setup()
    sb.free(sb.alloc(2048))
    assert buffers.in_use == 0 and not sb.limbo


def test_only_frames_that_name_it_count():
    """Frames of others are out: they keep nothing back."""
    buffers, pool, (d,), sb = _setup()
    buf = sb.alloc(2048)
    d.tx(_frame(pool))
    sb.free(buf)
    assert buffers.in_use == 0


def test_waits_for_its_mark_and_no_longer():
    """The device is never idle, later frames go on: the buffer comes back all the same."""
    buffers, pool, (d,), sb = _setup()
    buf = sb.alloc(2048)
    d.tx(_frame(pool))
    d.tx(_frame(pool, buf))
    sb.free(buf)
    d.tx(_frame(pool))
    d.read()
    sb.sweep()
    assert buffers.in_use == 2048
    d.read()
    assert d.queue
    sb.sweep()
    assert buffers.in_use == 0 and not sb.limbo


def test_every_device_must_pass():
    """The route changed while frames were out."""
    buffers, pool, (a, b), sb = _setup(2)
    buf = sb.alloc(2048)
    a.tx(_frame(pool, buf))
    b.tx(_frame(pool, buf))
    sb.free(buf)
    a.read()
    sb.sweep()
    assert buffers.in_use == 2048
    b.read()
    sb.sweep()
    assert buffers.in_use == 0


def test_a_frame_that_waits_for_a_neighbour():
    """At no device when the buffer was given back: the mark passes, the frame still names it."""
    buffers, pool, (d,), sb = _setup()
    buf = sb.alloc(2048)
    waiting = _frame(pool, buf)
    sb.free(buf)
    sb.sweep()
    assert buffers.in_use == 2048
    d.tx(waiting)
    sb.sweep()
    assert buffers.in_use == 2048
    d.read()
    sb.sweep()
    assert buffers.in_use == 0


def test_memory_short_looks_at_all():
    buffers, pool, (a, b), sb = _setup(2)
    buffers.limit = 4096
    one = sb.alloc(2048)
    two = sb.alloc(2048)
    a.tx(_frame(pool, one))
    b.tx(_frame(pool, two))
    sb.free(one)
    sb.free(two)
    b.read()
    sb.sweep()
    assert len(sb.limbo) == 2, "in order, as a rule"
    assert sb.alloc(2048) is two
    try:
        sb.alloc(2048)
        raise AssertionError("more than there is")
    except MemoryError:
        pass
    a.read()
    assert sb.alloc(2048) is one


def test_closed_connection_gives_its_ring_back():
    """With other traffic always at the device."""
    s = established(caps=1)
    s.hold = True
    write(s, pattern(1000))
    drain(s)
    s.conn.abort(s.now)
    assert s.buffers.in_use == 2048
    d = s.iface.device
    d.taken += 5  # frames of others
    s.held.pop(0).release()
    d.passed += 1
    s.tcp.flush(s.now)
    assert s.buffers.in_use == 2048, "the reset stands before the mark"
    s.held.pop(0).release()
    d.passed = d.taken - 5
    s.tcp.flush(s.now)
    assert s.buffers.in_use == 0


def test_ring_that_grows():
    """The old storage waits, the new one has the bytes."""
    s = established(caps=1)
    s.hold = True
    write(s, pattern(1000))
    write(s, pattern(4000, 1000))
    assert len(s.tcp.send_buffers.limbo) == 1
    out = b"".join([o.data for o in drain(s)])
    assert out == pattern(3920)
    for f in s.held:
        f.release()
    s.held = []
    s.iface.device.passed = s.iface.device.taken
    send(s, seg("A", seq=R + 1, ack=L + 1001))
    assert not s.tcp.send_buffers.limbo
