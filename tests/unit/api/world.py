"""A host of its own with its loopback, a machine without hardware, and servers inside of it.

Time stands still but for `hw.wait`, which moves it to the next thing that is to happen.
"""

from stack.api import _runtime
from stack.core.mem import copy
from stack.core.timers import NEVER
from stack.host import Host

LO = 0x7F000001


class Rng:
    def __init__(self):
        self.x = 12345

    def __call__(self, n):
        out = bytearray(n)
        for i in range(n):
            self.x = (self.x * 1103515245 + 12345) & 0x7FFFFFFF
            out[i] = self.x >> 16 & 255
        return bytes(out)


class Guard:
    """hw.Guard, collected by hand: `drop()`."""

    made = []

    def __init__(self, addr):
        self.addr = addr
        Guard.made.append(self)


class Hw:
    """What the API and boot use of the module hw."""

    copy = staticmethod(copy)
    Guard = Guard

    def __init__(self, ram=16 << 20, rdrand=True):
        self.t = 1000000
        self.locked = 0
        self.armed = NEVER
        self.handler = None
        self.waits = 0
        self._ram = ram
        self._rng = Rng() if rdrand else None
        self.tables = []

    def ticks_us(self):
        return self.t

    def unix_us(self):
        return 1700000000000000 + self.t

    def lock(self):
        self.locked += 1

    def unlock(self):
        assert self.locked > 0, "unlock without lock"
        self.locked -= 1

    def timer(self, at):
        self.armed = at

    def on_event(self, fn):
        self.handler = fn

    def wait(self, until):
        """Time passes until the timer or `until`."""
        assert not self.locked, "waiting with the lock held"
        self.waits += 1
        assert self.waits < 100000, "waits for ever"
        at = min(self.armed, until)
        assert at < NEVER, "would wait for ever"
        self.t = max(self.t, at)
        if self.armed <= self.t:
            self.armed = NEVER
            self.handler()

    def ram(self):
        return self._ram

    def dma(self, n, align=64):
        buf = bytearray(n)
        self.tables.append(buf)
        return buf

    def addr(self, buf):
        return 1000

    def rdrand(self):
        return None if self._rng is None else int.from_bytes(self._rng(8), "little")


class World:
    """`with World() as w:` makes its host the one that `stack.api` uses."""

    def __init__(self):
        self.hw = Hw()
        self.host = Host(self.hw.ticks_us, Rng())
        self.rt = _runtime.Runtime(self.host, self.hw)
        self.hw.on_event(self.rt.on_event)

    def __enter__(self):
        self._before = _runtime._installed
        _runtime.install(self.rt)
        return self

    def __exit__(self, *_):
        _runtime.install(self._before)
        assert not self.hw.locked

    def settle(self, us=1):
        """Let what is under way arrive."""
        end = self.hw.t + us
        while self.hw.t < end:
            self.hw.wait(end)

    def collect(self, guard):
        """What the collector does to a Guard."""
        self.hw.tables[-1][guard.addr - 1000] = 1


class DatagramServer:
    """answer(data, addr, port) -> bytes or None, on a UDP port of the world."""

    def __init__(self, world, port, answer):
        self.answer = answer
        self.world = world
        self.seen = []
        self.ep = world.host.udp.open(0, port, world.hw.t)
        self.ep.waker = self

    def wake(self, ep):
        buf = bytearray(2000)
        while True:
            n = ep.recv_into(buf, 0, len(buf))
            if n < 0:
                return
            data = bytes(buf[:n])
            self.seen.append(data)
            out = self.answer(data)
            if out is not None:
                ep.send_to(out, 0, len(out), ep.peer_addr, ep.peer_port, self.world.hw.t)


class StreamServer:
    """answer(all bytes so far) -> None to hear more, or bytes to send before closing."""

    def __init__(self, world, port, answer):
        self.answer = answer
        self.world = world
        self.seen = []
        self.listener = world.host.tcp.listen(0, port, 16, world.hw.t)
        self.listener.waker = self

    def wake(self, listener):
        conn = listener.accept()
        while conn is not None:
            conn.waker = _Served(self, conn)
            conn.waker.wake(conn)
            conn = listener.accept()


class _Served:
    def __init__(self, server, conn):
        self.server = server
        self.data = b""
        self.out = None
        self.sent = 0

    def wake(self, conn):
        now = self.server.world.hw.t
        if self.out is None:
            buf = bytearray(4096)
            n = conn.recv_into(buf, 0, 4096, now)
            while n:
                self.data += bytes(buf[:n])
                n = conn.recv_into(buf, 0, 4096, now)
            self.out = self.server.answer(self.data)
            if self.out is None:
                return
            self.server.seen.append(self.data)
        if self.sent < len(self.out):
            self.sent += conn.send(self.out, self.sent, len(self.out) - self.sent, now)
        if self.sent == len(self.out):
            conn.waker = None
            conn.shutdown(now)
