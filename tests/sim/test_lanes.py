"""The fast lane (tcp/fast.py) and the ordinary way are one: the same transfers over the same
wire, once with it and once with nothing but the ordinary way, give the same frames at the same
times, to the bit, and the same connections after every step.
"""

from stack.transport.tcp import fast, output
from stack.transport.tcp.block import SND_NXT
from stack.transport.tcp.segment import segment
from stack.transport.tcp.states import ESTABLISHED
from tests.sim.network import MS, SEC, Random
from tests.sim.test_host import _End, _hosts, _noise
from tests.unit.net.support import B

CASES = (
    ("clean", 1, False, {}),
    ("offload", 2, True, {}),
    ("delay, offload", 3, True, {"delay_us": 5 * MS}),
    ("loss", 4, False, {"loss": 20000}),
    ("duplicates", 5, True, {"duplicate": 100000}),
    ("reordering", 6, False, {"reorder": 50000, "reorder_us": 2 * MS}),
    ("corruption", 7, False, {"corrupt": 10000}),
    ("a thin line", 8, True, {"bytes_per_s": 1000000, "queue": 30}),
    ("everything", 9, False,
     {"loss": 20000, "duplicate": 20000, "reorder": 20000, "corrupt": 5000, "delay_us": 500}),
)  # fmt: skip
SIZE = 300000

# Of a connection: what is compared as it is, what by its parts, what leads elsewhere.
_PARTS = ("snd", "rcv", "rtt", "cc", "board", "ooo", "spare_ooo", "hystart")
_ELSEWHERE = ("tcp", "path", "waker", "flow_next", "ready_next", "fast_listener", "buf", "_buffers",
              "report", "_ring", "lane")  # fmt: skip


def _state(o):
    """Everything that an object of TCP says, as a list."""
    names = []
    for cls in type(o).__mro__:
        names += getattr(cls, "__slots__", ())
    found = []
    for name in sorted([*names, *getattr(o, "__dict__", ())]):
        v = getattr(o, name)
        if name in _PARTS:
            v = None if v is None else _state(v)
        elif name in _ELSEWHERE or (v is not None and not isinstance(v, (int, list, bytes))):
            continue
        elif isinstance(v, list):
            v = list(v)
        found.append((name, v))
    return found


class _Drip(_End):
    """A program that writes at most `chunk` bytes at a time, now and then; 0: all it can."""

    def __init__(self, conn, data, clock, chunk, rng):
        _End.__init__(self, conn, data[:0] if chunk else data, clock)
        self.all = data
        self.chunk = chunk
        self.rng = rng

    def go(self):
        if len(self.data) < len(self.all):
            if self.conn.state >= ESTABLISHED and not self.rng.below(3):
                self.data = self.all[: self.pos + self.chunk]
            elif self.pos == len(self.data):
                self.shut = True  # not yet: only read
                _End.go(self)
                self.shut = False
                return
            if len(self.data) < len(self.all):
                now = self.clock.now
                self.pos += self.conn.send(self.data, self.pos, len(self.data) - self.pos, now)
                return
        _End.go(self)


def _ordinary_send(c, n, flags, now):
    return segment(c, c.w[SND_NXT], n, flags, now)


def _run(seed, offload, tx, programs):
    """[(time, host, frame)], the states of both ends after each step, frames that Lanes took."""
    clock, hosts = _hosts(seed, offload, tx)
    frames = []
    taken = [0]
    for i, h in enumerate(hosts):
        iface = h.interfaces[1]
        # Cards put frames at even places, and only those are looked at.
        getattr(iface.device, "inner", iface.device).at = 18

        def tx_seen(f, i=i, tx=iface.tx):
            data = bytes(f.data[f.data_off : f.data_off + f.data_len]) if f.data_len else b""
            whole = bytes(f.buf[f.off : f.end]) + data
            about = (f.gso_size, f.csum_start and f.csum_start - f.off, f.csum_offset)
            if not tx(f):
                whole = None
            frames.append((clock.now, i, whole, about))
            return whole is not None

        def take_seen(f, now, take=iface._take):
            is_taken = take(f, now)
            taken[0] += is_taken
            return is_taken

        iface.tx = tx_seen
        iface._take = take_seen
    client, server = hosts
    listener = server.tcp.listen(0, 80, 4, clock.now)
    c = client.tcp.connect(B, 80, clock.now)
    up, down, chunk = programs
    rng = Random(seed)
    ends = [_Drip(c, up, clock, chunk, rng)]
    states = []
    limit = clock.now + 60 * SEC
    while not (len(ends) == 2 and ends[0].conn.eof() and ends[1].conn.eof()):
        assert clock.now < limit
        if len(ends) == 1:
            s = listener.accept()
            if s is not None:
                ends.append(_Drip(s, down, clock, chunk, rng))
        for e in ends:
            e.go()
        for h in hosts:
            h.poll(clock.now)
            for iface in h.interfaces:
                del getattr(iface.device, "inner", iface.device).__dict__.setdefault("sent", [])[:]
        states.append((clock.now, [_state(e.conn) for e in ends]))
        at = min([h.poll_at() for h in hosts])
        for h in hosts:
            if h.interfaces[1].device.sleep():
                at = clock.now
        if at > clock.now:
            clock.now = min(at, clock.now + MS)
    assert ends[0].got == down and ends[1].got == up
    for h in hosts:
        # Nobody keeps what has ended.
        assert all(c is None or h.tcp.flows.find(
            c.local_addr, c.local_port, c.remote_addr, c.remote_port) is c
            for c in h.tcp.lanes._conns)  # fmt: skip
    return frames, states, taken[0]


def _compare(why, seed, offload, tx, programs):
    real = fast.receive, fast.send
    try:
        with_it = _run(seed, offload, tx, programs)
        fast.receive = lambda *a: False
        output.send = _ordinary_send
        without = _run(seed, offload, tx, programs)
    finally:
        fast.receive, output.send = real
    for a, b in zip(with_it[0], without[0]):
        assert a == b, (why, a, b)
    assert len(with_it[0]) == len(without[0]), why
    for (t, a), (u, b) in zip(with_it[1], without[1]):
        assert t == u, (why, t, u)
        if a != b:
            raise AssertionError((why, t, [(x, y) for p, q in zip(a, b)
                                           for x, y in zip(p, q) if x != y]))  # fmt: skip
    assert len(with_it[1]) == len(without[1]), why
    assert not without[2]
    return with_it[2]


def test_bulk():
    n = 0
    for why, seed, offload, tx in CASES:
        n += _compare(why, seed, offload, tx, (_noise(SIZE, seed), _noise(SIZE // 2, seed + 1), 0))
    assert n > 300, n


def test_small_messages():
    n = 0
    for why, seed, offload, tx in CASES:
        n += _compare(why, seed, offload, tx, (_noise(6000, seed), _noise(9000, seed + 1), 64))
    assert n > 500, n
