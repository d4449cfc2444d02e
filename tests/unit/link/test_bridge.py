"""link/bridge: three ports, stations behind them, and the switch's own interface."""

from stack.wire import arp, ethernet
from tests.unit.net.support import Clock, Wire, host, udp_datagram

A, B, C = 0x02000000000A, 0x02000000000B, 0x02000000000C
ALL = ethernet.BROADCAST
GROUP = 0x01005E010203


class Switch:
    def __init__(self, frames=64, own=True):
        self.clock = Clock()
        self.wires = [Wire(bytes([2, 0, 0, 0, 1, i]), "eth%d" % i) for i in range(3)]
        self.h = h = host(self.wires[0], self.clock, frames)
        for w in self.wires[1:]:
            h.add_interface(w)
        self.bridge = h.bridge("br0", h.interfaces[1:4], self.clock.now)
        self.own = self.bridge.iface
        for w in self.wires:
            w.take()

    def send(self, port, frame):
        """A frame into a port: what came out of each."""
        self.wires[port].inbox.append(frame)
        self.h.poll(self.clock.now)
        return [w.take() for w in self.wires]


def frame(dst, src, data=b"x" * 50, kind=0x88B5):
    b = bytearray(14)
    ethernet.build(b, 0, dst, src, kind)
    return bytes(b) + data


def test_flood_learn_forward():
    s = Switch()
    f = frame(B, A)
    assert s.send(0, f) == [[], [f], [f]]
    back = frame(A, B)
    assert s.send(1, back) == [[back], [], []]
    assert s.send(0, f) == [[], [f], []]
    # Between two on one port nothing is passed on.
    assert s.send(1, frame(B, C)) == [[], [], []]
    assert s.h.stats.drops == {"bridge.same_port": 1}
    info = s.bridge.info()
    assert [(p["received"], p["forwarded"], p["flooded"], p["sent"]) for p in info] == [
        (2, 1, 1, 1), (2, 1, 0, 2), (0, 0, 0, 1),
    ]  # fmt: skip


def test_broadcast_and_groups_go_everywhere():
    s = Switch()
    s.send(1, frame(ALL, B))
    for dst in (ALL, GROUP):
        f = frame(dst, A)
        assert s.send(0, f) == [[], [f], [f]], hex(dst)


def test_llc_and_odd_sizes_pass():
    s = Switch()
    for f in (frame(B, A, b""), frame(B, A, b"y" * 1500), frame(B, A, b"z" * 38, 38)):
        assert s.send(0, f) == [[], [f], [f]]


def test_a_station_moves():
    s = Switch()
    s.send(0, frame(ALL, A))
    s.clock.now += 1000
    s.send(2, frame(ALL, A))
    f = frame(A, B)
    assert s.send(1, f) == [[], [], [f]]


def test_ageing():
    s = Switch()
    s.send(0, frame(ALL, A))
    f = frame(A, B)
    s.clock.now += 299_000_000
    assert s.send(1, f) == [[f], [], []]
    s.clock.now += 2_000_000
    assert s.send(1, f) == [[f], [], [f]]


DROPPED = (
    ("a runt", b"\0" * 13, "bridge.truncated"),
    ("from a group", frame(B, GROUP), "bridge.source"),
    ("from nobody", frame(B, 0), "bridge.source"),
    ("spanning tree", frame(0x0180C2000000, A), "bridge.reserved"),
    ("LLDP", frame(0x0180C200000E, A), "bridge.reserved"),
    ("too long", frame(B, A, bytes(1857)), "bridge.too_long"),
)


def test_drops():
    for why, f, counter in DROPPED:
        s = Switch()
        assert s.send(0, f) == [[], [], []], why
        assert counter in s.h.stats.drops, why
    f = frame(0x0180C2000010, A)  # the first that is not reserved
    assert Switch().send(0, f) == [[], [f], [f]]


def test_a_port_that_is_down_gets_nothing():
    s = Switch()
    s.wires[2].link_up = False
    s.h.poll(s.clock.now)
    f = frame(B, A)
    assert s.send(0, f) == [[], [f], []]


def test_no_frames_left():
    s = Switch()
    held = []
    while s.h.pool.free:
        held.append(s.h.pool.get())
    assert s.send(0, frame(B, A)) == [[], [], []]
    assert s.h.stats.drops == {"bridge.no_room": 2}
    for f in held:
        s.h.pool.put(f)
    assert s.h.pool.free == 64
    for _ in range(100):
        s.send(0, frame(B, A))
    assert s.h.pool.free == 64


def test_the_switch_itself_answers():
    """br0 has the first port's address, is asked on any port, and answers where it was asked."""
    s = Switch()
    s.h.configure(s.own, "static", s.clock.now, 0x0A000001, 24)
    for w in s.wires:
        w.take()
    ask = bytearray(42)
    ethernet.build(ask, 0, ALL, C, 0x0806)
    arp.build(ask, 14, 1, C, 0x0A000003, 0, 0x0A000001)
    out = s.send(2, bytes(ask))
    assert out[0] == [bytes(ask)] and out[1] == [bytes(ask)]
    assert len(out[2]) == 1 and ethernet.get_mac(out[2][0], 0) == C
    assert ethernet.get_mac(out[2][0], 6) == s.own.mac
    # What is for it does not go on to others.
    f = frame(s.own.mac, C)
    assert s.send(2, f) == [[], [], []]
    assert s.own.rx_frames == 2 and s.h.interface("eth0").addr == 0


def test_what_the_switch_sends_has_its_data():
    s = Switch()
    s.h.configure(s.own, "static", s.clock.now, 0x0A000001, 24)
    for w in s.wires:
        w.take()
    r = s.h.pool.get()
    r.off -= 14
    ethernet.build(r.buf, r.off, B, s.own.mac, 0x88B5)
    r.data, r.data_off, r.data_len = b"..data", 2, 4
    assert s.bridge.tx(r)
    want = frame(B, s.own.mac, b"data")
    assert [w.take() for w in s.wires] == [[want]] * 3
    assert s.h.pool.free == 64 and udp_datagram(b"") is not None


def test_how_many_ports():
    for n in (0, 16):
        try:
            Switch().h.bridge("br1", [Switch().own] * n, 0)
            raise AssertionError
        except ValueError:
            pass
