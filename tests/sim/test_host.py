"""Whole hosts: TCP over ARP, IPv4, Ethernet and devices that `drivers/faults.py` spoils.

The same transfers as in test_transfer.py, with everything in between; and over the
loopback, where one host is both sides.
"""

from drivers.faults import Faults, Impairment
from stack.core.frame import CAP_RX_CSUM, CAP_TSO4, CAP_TX_CSUM
from stack.core.stats import Stats
from stack.transport.tcp.states import ESTABLISHED
from tests.sim.network import MS, SEC, Random
from tests.unit.net.support import MAC_A, MAC_B, A, B, Clock, Wire, host

LO = 0x7F000001


class _Wire(Wire):
    """A device with segmentation offload whose peer takes big segments whole."""

    def __init__(self, mac, offload):
        super().__init__(mac, offload=offload, depth=16)
        self.stats = Stats()
        if offload:
            self.caps = CAP_TX_CSUM | CAP_RX_CSUM | CAP_TSO4
            self.gso_max = 65536


def _hosts(seed, offload, tx, frames=64):
    """Two hosts on one wire; what each sends goes through the impairment."""
    clock = Clock()
    a, b = _Wire(MAC_A, offload), _Wire(MAC_B, offload)
    a.peer, b.peer = b, a
    hosts = []
    for i, (wire, addr) in enumerate(((a, A), (b, B))):
        device = Faults(wire, clock, seed * 2 + i, Impairment(**tx)) if tx else wire
        h = host(device, clock, frames)
        h.configure(h.interfaces[1], "static", clock.now, addr, 24)
        hosts.append(h)
    return clock, hosts


def _run(clock, hosts, until, limit, each):
    """Poll, jumping over idle time, until until()."""
    end = clock.now + limit
    while not until():
        assert clock.now < end, "not done in time"
        each()
        for h in hosts:
            h.poll(clock.now)
            for iface in h.interfaces:
                del getattr(iface.device, "inner", iface.device).__dict__.setdefault("sent", [])[:]
        at = min([h.poll_at() for h in hosts])
        for h in hosts:
            if h.interfaces[1].device.sleep():
                at = clock.now
        if at > clock.now:
            clock.now = min(at, clock.now + MS)


class _End:
    """One side's program: writes all of `data`, half-closes, reads all there is."""

    def __init__(self, conn, data, clock):
        self.conn = conn
        self.data = data
        self.clock = clock
        self.pos = 0
        self.got = bytearray()
        self.buf = bytearray(65536)
        self.shut = False

    def go(self):
        c, now = self.conn, self.clock.now
        if c.state < ESTABLISHED:
            return
        if not self.shut:
            self.pos += c.send(self.data, self.pos, len(self.data) - self.pos, now)
            if self.pos == len(self.data):
                c.shutdown(now)
                self.shut = True
        while True:
            n = c.recv_into(self.buf, 0, len(self.buf), now)
            if not n:
                return
            self.got += memoryview(self.buf)[:n]


def _transfer(clock, hosts, server, client, addr, up, down, limit=900 * SEC):
    """`up` from client to server and `down` back; then nothing is left. Virtual us."""
    listener = server.tcp.listen(0, 80, 4, clock.now)
    c = client.tcp.connect(addr, 80, clock.now)
    ends = [_End(c, up, clock)]

    def each():
        if len(ends) == 1:
            s = listener.accept()
            if s is not None:
                ends.append(_End(s, down, clock))
        for e in ends:
            e.go()

    began = clock.now
    _run(clock, hosts, lambda: len(ends) == 2 and ends[0].conn.eof() and ends[1].conn.eof(),
         limit, each)  # fmt: skip
    took = clock.now - began
    assert ends[1].got == up, (len(ends[1].got), len(up))
    assert ends[0].got == down, (len(ends[0].got), len(down))
    for e in ends:
        assert not e.conn.error
        e.conn.close(clock.now)
    listener.close(clock.now)
    end = clock.now + 90 * SEC
    _run(clock, hosts, lambda: clock.now >= end, 400 * SEC, lambda: None)
    for h in hosts:
        tcp = h.tcp
        assert not tcp.flows.count and not tcp.live and not tcp.time_waits.count
        assert h.pool.free == len(h.pool.frames)
        assert not tcp.send_buffers.limbo
    return took


CASES = (
    ("clean", 1, 1000000, False, {}),
    ("offload", 2, 4000000, True, {}),
    ("delay", 3, 300000, False, {"delay_us": 20 * MS}),
    ("loss 2 %", 4, 300000, False, {"loss": 20000}),
    ("duplicates", 5, 300000, False, {"duplicate": 100000}),
    ("reordering", 6, 300000, False, {"reorder": 50000, "reorder_us": 2 * MS}),
    ("corruption", 7, 300000, False, {"corrupt": 10000}),
    ("a thin line", 8, 200000, False, {"bytes_per_s": 1000000, "queue": 30}),
    ("everything", 9, 200000, False,
     {"loss": 20000, "duplicate": 20000, "reorder": 20000, "corrupt": 10000, "delay_us": 500}),
    ("everything, offload", 10, 400000, True,
     {"loss": 20000, "duplicate": 20000, "reorder": 20000, "delay_us": 500}),
)  # fmt: skip


def _noise(n, seed):
    piece = Random(seed).bytes(4096)
    return (piece * (n // 4096 + 1))[:n]


def test_transfers():
    for why, seed, size, offload, tx in CASES:
        clock, hosts = _hosts(seed, offload, tx)
        up, down = _noise(size, seed), _noise(size // 2, seed + 100)
        try:
            took = _transfer(clock, hosts, hosts[1], hosts[0], B, up, down)
        except AssertionError as e:
            raise AssertionError("%s (seed %d): %s" % (why, seed, e)) from e
        print("%-24s %8.1f KB/s" % (why, 1.5 * size / (took or 1) * 1000))


def test_few_frames():
    """Six frames for the whole host, ARP and acknowledgments among them."""
    clock, hosts = _hosts(11, False, {"loss": 10000}, 6)
    _transfer(clock, hosts, hosts[1], hosts[0], B, _noise(200000, 1), _noise(100000, 2))


def test_loopback():
    """One host, both ends, segments of the loopback's size: no delayed ACK in the way."""
    clock, hosts = _hosts(12, False, {})
    h = hosts[0]
    took = _transfer(clock, [h, hosts[1]], h, h, LO, _noise(2000000, 3), _noise(500000, 4))
    assert took < 2 * SEC, took


def test_own_address():
    """The interface's own address goes over the loopback too."""
    clock, hosts = _hosts(13, False, {})
    _transfer(clock, hosts, hosts[0], hosts[0], A, _noise(50000, 5), _noise(50000, 6))


def test_nobody_there():
    """No ARP answer: unreachable in the end, all given back."""
    clock, hosts = _hosts(14, False, {})
    c = hosts[0].tcp.connect(A + 77, 80, clock.now)
    _run(clock, hosts, lambda: c.state == 0, 300 * SEC, lambda: None)
    assert c.error in (110, 113), c.error
    c.close(clock.now)
    assert not hosts[0].tcp.flows.count and hosts[0].pool.free == len(hosts[0].pool.frames)


def test_refused():
    clock, hosts = _hosts(15, False, {})
    c = hosts[0].tcp.connect(B, 81, clock.now)
    _run(clock, hosts, lambda: c.state == 0, 300 * SEC, lambda: None)
    assert c.error == 111 and clock.now < 3 * SEC
    c.close(clock.now)
