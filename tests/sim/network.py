"""Two TCP hosts over a simulated wire, on a virtual clock.

A `Side` is a Tcp with an IP layer and a device of a few lines. Its device holds
each frame until the wire has taken it, and reads the bytes only then, as DMA
would: a send ring that is reused too early shows as wrong data. The `Wire`
loses, duplicates, delays, reorders and corrupts by a seed.

Every step checks the invariants of every connection (`invariants`).
"""

import heapq

from stack.core import checksum
from stack.core.frame import CAP_RX_CSUM, CAP_TSO4, CAP_TX_CSUM, HEADROOM, Frame, FramePool
from stack.core.mem import Buffers
from stack.core.stats import Stats
from stack.core.timers import NEVER, Timers
from stack.transport.tcp import Tcp
from stack.transport.tcp.block import RCV_ADV
from stack.transport.tcp.states import ESTABLISHED
from tests.unit.transport.tcp.check import problem

MS = 1000
SEC = 1000000
_M = 0xFFFFFFFF
OFFLOAD = CAP_TX_CSUM | CAP_RX_CSUM | CAP_TSO4


class Random:
    """A small generator that gives the same numbers on every runtime (xorshift64*)."""

    def __init__(self, seed):
        self.x = (seed * 0x9E3779B97F4A7C15 + 1) & 0xFFFFFFFFFFFFFFFF or 1

    def bits(self):
        x = self.x
        x ^= x >> 12
        x ^= x << 25 & 0xFFFFFFFFFFFFFFFF
        x ^= x >> 27
        self.x = x
        return x * 0x2545F4914F6CDD1D >> 32 & 0xFFFFFFFF

    def below(self, n):
        return self.bits() % n

    def chance(self, p):
        return self.bits() < p * 4294967296.0

    def bytes(self, n):
        return bytes([self.bits() & 0xFF for _ in range(n)])


class Header:
    """What Tcp sees of an IP header."""

    def __init__(self, src, dst):
        self.src = src
        self.dst = dst
        self.kind = 1
        self.base = pseudo(src, dst)
        self.marks = 0

    def tos(self):
        return self.marks

    def pseudo(self, length):
        s = self.base + length
        return (s & 0xFFFF) + (s >> 16)


def pseudo(src, dst):
    s = (src >> 16) + (src & 0xFFFF) + (dst >> 16) + (dst & 0xFFFF) + 6
    while s >> 16:
        s = (s & 0xFFFF) + (s >> 16)
    return s


class Path:
    template = None  # so nothing leaves by the fast lane

    def __init__(self, side, src, dst):
        self.side = side
        self.iface = side
        self.src = src
        self.dst = dst
        self.mtu = self.mtu_max = side.mtu
        self.caps = side.caps
        self.kind = 1
        self.header = 20
        self.gso_max = 65536 if side.caps & CAP_TSO4 else 0
        self._pseudo = pseudo(src, dst)

    def follow(self, now):
        return True

    def shrink(self, now):
        return False

    def pseudo(self, proto):
        return self._pseudo

    def output(self, f, proto, now):
        return self.side.tx(f, self.dst, now)


class Ip:
    def __init__(self, side):
        self.side = side
        self.interfaces = [side]

    def register(self, proto, handler):
        self.handler = handler

    def path(self, dst, src=0):
        return Path(self.side, src or self.side.addr, dst)

    def reply(self, h):
        return Path(self.side, h.dst, h.src)


class Side:
    """A host: Tcp, its buffers and pool, and a device with a short ring."""

    def __init__(self, sim, name, addr, caps=0, mtu=1500, ring=64, frames=128, frame_size=2048,
                 **options):
        self.sim = sim
        self.name = name
        self.addr = addr
        self.caps = caps
        self.mtu = mtu
        self.device = self
        self.gso_max = 65536
        self.ring = ring
        self.in_ring = self.taken = 0
        self.timers = Timers()
        self.stats = Stats()
        self.buffers = Buffers()
        self.pool = FramePool([bytearray(frame_size) for _ in range(frames)])
        self.tcp = Tcp(Ip(self), self.timers, sim.random.bytes, self.stats, self.buffers,
                       self.pool, **options)
        self.frame = Frame(bytearray(HEADROOM + 66000))
        self.header = None

    def tx(self, f, dst, now):
        if self.in_ring >= self.ring:
            return False
        self.in_ring += 1
        self.taken += 1
        self.sim.wire.send(self, f, now)
        return True

    def tx_mark(self):
        return self.taken

    def tx_passed(self, mark):
        return self.taken - self.in_ring >= mark

    def done(self, f):
        """The device has read frame f."""
        self.in_ring -= 1
        f.release()

    def rx(self, data, good, now):
        f = self.frame
        f.reset()
        f.buf[HEADROOM : HEADROOM + len(data)] = data
        f.end = HEADROOM + len(data)
        f.csum_ok = good
        if self.header is None:
            self.header = Header(self.sim.other(self).addr, self.addr)
        self.tcp.on_packet(self.header, f, now)

    def poll_at(self):
        return min(self.timers.poll_at(), self.tcp.poll_at())


class Wire:
    """One direction each way: rate, delay, and what goes wrong (probabilities)."""

    def __init__(self, sim, delay=500, rate=0, loss=0.0, dup=0.0, reorder=0.0, corrupt=0.0,
                 jitter=0, buffer=0):
        """delay, jitter: us. rate: bytes a ms, 0 for no limit. buffer: bytes queued at the
        bottleneck before it drops, 0 for no limit. reorder: chance to be held 1 to 4 ms.
        """
        self.sim = sim
        self.delay = delay
        self.rate = rate
        self.loss = loss
        self.dup = dup
        self.reorder = reorder
        self.corrupt = corrupt
        self.jitter = jitter
        self.buffer = buffer
        self.free_at = {}
        self.down = False
        self.count = self.lost = 0

    def send(self, side, f, now):
        """Take a frame: the device is done with it when the wire has read it."""
        n = f.end - f.off + f.data_len
        at = self.free_at.get(side.name, 0)
        if at < now:
            at = now
        queued = (at - now) * self.rate // 1000
        at += n * 1000 // self.rate if self.rate else 1
        # The device reads the bytes when the wire takes them, not before.
        self.sim.at(at, self._leave, (side, f, bool(self.buffer and queued > self.buffer)))
        self.free_at[side.name] = at

    def _leave(self, args, now):
        side, f, overflow = args
        head = bytearray(f.buf[f.off : f.end])
        data = b""
        if f.data_len:
            data = bytes(memoryview(f.data)[f.data_off : f.data_off + f.data_len])
        gso = f.gso_size
        partial = f.csum_start
        side.done(f)
        if overflow:
            self.lost += 1
            return
        peer = self.sim.other(side)
        if gso and not peer.caps & CAP_RX_CSUM:
            for piece in cut(head, data, gso):
                self._carry(side, peer, piece, False, partial, now)
        else:
            self._carry(side, peer, head + data, bool(partial), partial, now)

    def _carry(self, side, peer, packet, good, partial, now):
        if partial and not good:
            # The sender's device adds up.
            packet[16] = packet[17] = 0
            c = checksum.checksum(packet, 0, len(packet),
                                  Header(side.addr, peer.addr).pseudo(len(packet)))
            packet[16] = c >> 8
            packet[17] = c & 0xFF
        r = self.sim.random
        self.count += 1
        if self.down or r.chance(self.loss):
            self.lost += 1
            return
        copies = 2 if r.chance(self.dup) else 1
        for _ in range(copies):
            at = now + self.delay
            if self.jitter:
                at += r.below(self.jitter)
            if r.chance(self.reorder):
                at += MS + r.below(3 * MS)
            p = packet
            if not good and r.chance(self.corrupt):
                p = bytearray(packet)
                p[r.below(len(p))] ^= 1 << r.below(8)
            self.sim.at(at, self._arrive, (peer, p, good))

    def _arrive(self, args, now):
        peer, packet, good = args
        peer.rx(packet, good, now)


def cut(head, data, mss):
    """What a device's segmentation makes of a big segment."""
    hl = head[12] >> 4 << 2
    seq = head[4] << 24 | head[5] << 16 | head[6] << 8 | head[7]
    body = bytes(head[hl:]) + bytes(data)
    for i in range(0, len(body), mss):
        h = bytearray(head[:hl])
        n = seq + i & _M
        h[4:8] = bytes([n >> 24, n >> 16 & 0xFF, n >> 8 & 0xFF, n & 0xFF])
        if i + mss < len(body):
            h[13] &= ~9 & 0xFF  # FIN and PSH only on the last
        yield h + body[i : i + mss]


class Sim:
    """Two sides, a wire, a clock."""

    def __init__(self, seed=1, a=None, b=None, **wire):
        self.random = Random(seed)
        self.seed = seed
        self.now = 10 * SEC
        self.start = self.now
        self._events = []
        self._n = 0
        self.wire = Wire(self, **wire)
        self.a = Side(self, "a", 0x0A000001, **(a or {}))
        self.b = Side(self, "b", 0x0A000002, **(b or {}))
        self.sides = (self.a, self.b)
        self.checked = {}
        self.steps = 0

    def other(self, side):
        return self.b if side is self.a else self.a

    def at(self, when, function, args):
        self._n += 1
        heapq.heappush(self._events, (when, self._n, function, args))

    def step(self):
        """Do the next thing that is due; False when nothing ever will be."""
        when = self._events[0][0] if self._events else NEVER
        for side in self.sides:
            t = side.poll_at()
            if t < when:
                when = t
        if when >= NEVER:
            return False
        if when > self.now:
            self.now = when
        while self._events and self._events[0][0] <= self.now:
            _, _, function, args = heapq.heappop(self._events)
            function(args, self.now)
        for side in self.sides:
            side.timers.expire(self.now)
        self.flush()
        self.steps += 1
        return True

    def flush(self):
        for side in self.sides:
            side.tcp.flush(self.now)
            for c in side.tcp.connections():
                if hasattr(c, "snd_una"):
                    invariants(self, side, c)

    def run(self, until, limit=600 * SEC, each=None):
        """Step until until() is true; fails when `limit` us of virtual time have gone by."""
        end = self.now + limit
        while not until():
            if each is not None:
                each()
                self.flush()
            assert self.step(), "nothing will ever happen again (seed %d)" % self.seed
            assert self.now < end, "not done within %d s (seed %d)" % (limit // SEC, self.seed)

    def run_for(self, us):
        end = self.now + us
        self.at(end, lambda *_: None, None)
        while self.now < end and self.step():
            pass

    def assert_clean(self):
        """All connections over and TIME-WAIT passed: nothing is left."""
        self.run_for(400 * SEC)
        for side in self.sides:
            where = (side.name, self.seed)
            assert not side.tcp.flows.count, (where, [e.info() for e in side.tcp.connections()])
            assert not side.tcp.live and not side.tcp.half_open, where
            assert side.pool.free == len(side.pool.frames), where
            assert side.buffers.in_use == 0, (where, side.buffers.in_use)
            assert not len(side.timers), where


def invariants(sim, side, c):
    """What holds for a connection at every moment, and from one to the next."""
    why = problem(c)
    assert why is None, (why, sim.seed, side.name, c.info())
    # The edge that was promised never moves back (RFC 9293 3.8.6: "SHOULD NOT shrink").
    if c.state >= ESTABLISHED:
        edge = c.w[RCV_ADV]
        before = sim.checked.get((side.name, c.iss))
        if before is not None:
            assert (edge - before) & _M < 1 << 31, (sim.seed, side.name, c.info())
        sim.checked[(side.name, c.iss)] = edge


# -- programs


class Sender:
    """Writes `data` into a connection as it takes it, in pieces of random size, then closes."""

    def __init__(self, sim, conn, data, close=True, piece=70000):
        self.sim = sim
        self.conn = conn
        self.data = memoryview(data)
        self.pos = 0
        self.close = close
        self.piece = piece
        self.closed = False

    def go(self):
        c = self.conn
        left = len(self.data) - self.pos
        while left:
            n = min(left, 1 + self.sim.random.below(self.piece))
            took = c.send(self.data, self.pos, n, self.sim.now)
            self.pos += took
            left -= took
            if took < n:
                return
        if self.close and not self.closed:
            self.closed = True
            c.shutdown(self.sim.now)


class Receiver:
    """Reads what is there, up to `most` bytes a turn; `done` at the end of the stream."""

    def __init__(self, sim, conn, most=1 << 20):
        self.sim = sim
        self.conn = conn
        self.most = most
        self.data = bytearray()
        self.buf = bytearray(65536)

    def go(self):
        got = 0
        while got < self.most:
            n = self.conn.recv_into(self.buf, 0, min(len(self.buf), self.most - got), self.sim.now)
            if not n:
                break
            self.data += memoryview(self.buf)[:n]
            got += n

    @property
    def done(self):
        return self.conn.eof() or self.conn.error


def connect(sim, port=80, backlog=8):
    """An established pair: (client on a, server on b, listener)."""
    l = sim.b.tcp.listen(0, port, backlog, sim.now)
    c = sim.a.tcp.connect(sim.b.addr, port, sim.now)
    sim.flush()
    sim.run(lambda: l.queue)
    s = l.accept()
    sim.run(lambda: c.state >= ESTABLISHED)
    return c, s, l


def transfer(sim, up, down, piece=70000, most=1 << 20):
    """Bytes `up` from a to b and `down` back, at the same time; both streams are compared."""
    c, s, l = connect(sim)
    programs = [
        Sender(sim, c, up, True, piece), Sender(sim, s, down, True, piece),
        Receiver(sim, s, most), Receiver(sim, c, most),
    ]

    def each():
        for p in programs:
            p.go()
        if most < 1 << 20 and not sim._events:
            sim.at(sim.now + MS, lambda *_: None, None)  # a slow reader's next turn

    began = sim.now
    sim.run(lambda: programs[2].done and programs[3].done, 3600 * SEC, each)
    assert not c.error and not s.error, (c.error, s.error, sim.seed)
    took = sim.now - began
    assert programs[2].data == up, ("a to b", sim.seed, len(programs[2].data), len(up))
    assert programs[3].data == down, ("b to a", sim.seed, len(programs[3].data), len(down))
    c.close(sim.now)
    s.close(sim.now)
    l.close(sim.now)
    sim.info = (c.info(), s.info())
    sim.retransmits = c.retransmits + s.retransmits
    sim.assert_clean()
    return took
