"""transport/udp: endpoints, queues, errors."""

from stack.core import be
from tests.unit.net.support import (
    A,
    B,
    feed,
    ip_packet,
    pair,
    ready,
    run,
    single,
    udp_datagram,
    udp_sum,
)

ALL = 0xFFFFFFFFFFFF


class Waker:
    def __init__(self):
        self.n = 0

    def wake(self, endpoint):
        self.n += 1


def errno_of(fn, *args):
    try:
        fn(*args)
    except OSError as e:
        return e.args[0]
    return 0


def recv(ep, size=70000):
    """(bytes, peer address, peer port), or None."""
    buf = bytearray(size)
    n = ep.recv_into(buf, 0, size)
    return None if n < 0 else (bytes(buf[:n]), ep.peer_addr, ep.peer_port)


def test_receive():
    h, _, d = ready()
    ep = h.udp.open(0, 5000, 0)
    ep.waker = w = Waker()
    assert ep.events() == 4
    assert recv(ep) is None
    for data in (b"hello", b"", b"x"):
        feed(h, d, ip_packet(17, udp_datagram(data)))
    assert w.n == 3 and ep.events() == 5
    assert ep.recv_len() == 5
    assert [recv(ep) for _ in range(4)] == [
        (b"hello", B, 4000), (b"", B, 4000), (b"x", B, 4000), None
    ]  # fmt: skip


def test_receive_cuts_to_fit():
    h, _, d = ready()
    ep = h.udp.open(0, 5000, 0)
    feed(h, d, ip_packet(17, udp_datagram(b"abcdefgh")))
    feed(h, d, ip_packet(17, udp_datagram(b"next")))
    assert recv(ep, 3)[0] == b"abc"
    assert ep.length == 8
    assert recv(ep)[0] == b"next"


def test_checksum():
    h, _, d = ready()
    ep = h.udp.open(0, 5000, 0)
    good = udp_datagram(b"odd")
    for i in range(len(good)):
        b = bytearray(good)
        b[i] ^= 0x10
        feed(h, d, ip_packet(17, bytes(b)))
    assert recv(ep) is None
    feed(h, d, ip_packet(17, udp_datagram(b"none", csum=0)))
    assert recv(ep)[0] == b"none"
    # Vouched for by the device: not looked at.
    h, _, d = ready(offload=True)
    ep = h.udp.open(0, 5000, 0)
    feed(h, d, ip_packet(17, udp_datagram(b"any", csum=0x1234)))
    assert recv(ep)[0] == b"any"


def test_every_truncation():
    h, _, d = ready()
    ep = h.udp.open(0, 5000, 0)
    data = udp_datagram(b"abcd")
    for n in range(len(data)):
        feed(h, d, ip_packet(17, data[:n]))
    assert recv(ep) is None
    assert sum(h.stats.drops.values()) == len(data)


def test_queue_is_bounded():
    h, _, d = ready()
    ep = h.udp.open(0, 5000, 0)
    data = ip_packet(17, udp_datagram(bytes(1400)))
    for _ in range(1000):
        feed(h, d, data)
    assert ep.drops == 1000 - 256 * 1024 // 1408
    assert h.stats.dropped("udp.queue_full") == ep.drops
    assert h.buffers.in_use == 256 * 1024
    assert recv(ep)[0] == bytes(1400)
    feed(h, d, data)
    n = 0
    while recv(ep):
        n += 1
    assert n == 256 * 1024 // 1408
    ep.close()
    assert h.buffers.in_use == 0


def test_queue_wraps():
    h, _, d = ready()
    ep = h.udp.open(0, 5000, 0)
    for i in range(500):
        want = bytes([i & 0xFF]) * (i * 13 % 1000)
        feed(h, d, ip_packet(17, udp_datagram(want)))
        assert recv(ep) == (want, B, 4000)
    assert h.buffers.in_use == 2048


def test_send():
    h, _, d = ready()
    d.take()
    ep = h.udp.open(0, 6000, 0)
    for data in (b"", b"x", b"hello"):
        assert ep.send_to(data, 0, len(data), B, 53, 0) == len(data)
        (out,) = d.take()
        assert out[34:] == udp_datagram(data, 6000, 53, A, B)


def test_send_part_of_a_buffer():
    h, _, d = ready()
    d.take()
    ep = h.udp.open(0, 6000, 0)
    ep.send_to(b"abcdefgh", 2, 3, B, 53, 0)
    assert d.take()[0][42:] == b"cde"


def test_a_checksum_of_zero_is_sent_as_ones():
    h, _, d = ready()
    d.take()
    ep = h.udp.open(0, 6000, 0)
    # Choose two bytes so that the sum comes to nothing.
    b = bytearray(udp_datagram(b"\0\0", 6000, 53, A, B, 0))
    rest = udp_sum(b, A, B)
    data = bytes((rest >> 8, rest & 0xFF))
    ep.send_to(data, 0, 2, B, 53, 0)
    (out,) = d.take()
    assert out[40:42] == b"\xff\xff"


def test_the_device_is_asked_to_sum():
    seen = []
    h, iface, d = ready(offload=True)
    d.take()
    take = d.tx
    iface.tx = lambda f: (seen.append((f.csum_start - f.off, f.csum_offset)), take(f))[1]
    ep = h.udp.open(0, 6000, 0)
    ep.send_to(b"hello", 0, 5, B, 53, 0)
    assert seen == [(34, 6)]
    # The field holds the pseudo-header's sum, not complemented.
    b = bytearray(udp_datagram(b"", 0, 0, A, B, 0))
    out = d.take()[0]
    pseudo = (A >> 16) + (A & 0xFFFF) + (B >> 16) + (B & 0xFFFF) + 17 + 13
    assert be.get16(out, 40) == (pseudo & 0xFFFF) + (pseudo >> 16)
    assert len(b) == 8


def test_between_two_hosts():
    for offload in (False, True):
        ha, hb = pair(offload=offload)
        server = hb.udp.open(0, 7, 0)
        client = ha.udp.open(0, 0, 0)
        assert client.local_port >= 49152
        buf = bytearray([i * 7 & 0xFF for i in range(65507)])
        for n in (0, 1, 1471, 1472, 1473, 5000, 65507):
            while client.send_to(buf, 0, n, B, 7, ha.clock.now) < 0:
                run(ha.clock, 1000, ha, hb)
            run(ha.clock, 1000, ha, hb)
            assert recv(server) == (bytes(buf[:n]), A, client.local_port), n
        assert server.send_to(buf, 0, 9, A, client.local_port, hb.clock.now) == 9
        run(ha.clock, 1000, ha, hb)
        assert recv(client) == (bytes(buf[:9]), B, 7)
        assert ha.pool.free == 64 and hb.pool.free == 64
        assert ha.stats.drops == {} and hb.stats.drops == {}


def test_over_loopback():
    h, _, d = ready()
    d.take()
    server = h.udp.open(0x7F000001, 7, 0)
    client = h.udp.open(0, 0, 0)
    for n in (1, 1800, 30000, 65507):
        assert client.send_to(bytes(n), 0, n, 0x7F000001, 7, 0) == n
        run(h.clock, 1, h)
        assert len(recv(server)[0]) == n
    assert d.take() == []


SEND_ERRORS = (
    ("too large", 65508, B, 53, 90),
    ("no peer", 1, 0, 0, 89),
    ("no route", 1, 0x08080808, 53, 101),
    ("broadcast not allowed", 1, 0xFFFFFFFF, 53, 13),
    ("subnet broadcast not allowed", 1, 0x0A0000FF, 53, 13),
)


def test_send_errors():
    h, _, _ = single(A, 24, 0)
    ep = h.udp.open(0, 0, 0)
    for why, n, addr, port, code in SEND_ERRORS:
        assert errno_of(ep.send_to, bytes(n), 0, n, addr, port, 0) == code, why
    ep.broadcast = True
    assert ep.send_to(b"x", 0, 1, 0xFFFFFFFF, 53, 0) == 1
    ep.close()
    assert errno_of(ep.send_to, b"x", 0, 1, B, 53, 0) == 9
    ep.close()


def test_no_room_and_room_again():
    h, _, d = ready()
    ep = h.udp.open(0, 0, 0)
    ep.waker = w = Waker()
    d.take()
    d.depth = 2
    assert ep.send_to(b"x", 0, 1, B, 53, 0) == 1
    assert ep.send_to(b"x", 0, 1, B, 53, 0) == 1
    assert ep.send_to(b"x", 0, 1, B, 53, 0) == -1
    assert ep.events() & 4 == 0
    assert h.poll_at() <= h.clock.now + 1000
    h.poll(h.clock.now)
    assert ep.events() & 4 and w.n == 1
    held = [h.pool.get() for _ in range(64)]
    assert ep.send_to(b"x", 0, 1, B, 53, 0) == -1
    for f in held:
        f.release()
    h.poll(h.clock.now)
    assert ep.send_to(b"x", 0, 1, B, 53, 0) == 1


def test_ports():
    h, _, _ = ready()
    a = h.udp.open(0, 5000, 0)
    assert errno_of(h.udp.open, 0, 5000, 0) == 98
    assert errno_of(h.udp.open, A, 5000, 0) == 98
    assert errno_of(h.udp.open, B, 5000, 0) == 99
    a.close()
    one = h.udp.open(A, 5000, 0)
    two = h.udp.open(0x7F000001, 5000, 0)
    assert errno_of(h.udp.open, A, 5000, 0) == 98
    assert len(h.udp.endpoints()) == 2
    one.close()
    two.close()
    assert h.udp.endpoints() == []
    one = h.udp.open(0, 5000, 0, True)
    two = h.udp.open(0, 5000, 0, True)
    three = h.udp.open(0, 5000, 0, True)
    two.close()
    assert h.udp.endpoints() == [three, one]


def test_ephemeral_ports_differ_and_run_out():
    h, _, _ = ready()
    ports = {}
    for _ in range(200):
        ports[h.udp.open(0, 0, 0).local_port] = True
    assert len(ports) == 200
    assert min(ports) >= 49152 and max(ports) <= 65535
    assert max(ports) - min(ports) > 1000  # not one after the other
    code = 0
    while not code:
        code = errno_of(h.udp.open, 0, 0, 0)
    assert code == 105
    assert len(h.udp.endpoints()) == 4096


def test_connected():
    h, _, d = ready()
    d.take()
    ep = h.udp.open(0, 5000, 0)
    ep.connect(B, 4000)
    assert ep.send_to(b"x", 0, 1, 0, 0, 0) == 1
    assert be.get16(d.take()[0], 36) == 4000
    feed(h, d, ip_packet(17, udp_datagram(b"from elsewhere", 4001)))
    feed(h, d, ip_packet(17, udp_datagram(b"from a stranger", src=B + 1), src=B + 1))
    assert recv(ep) is None
    assert h.stats.dropped("udp.no_port") == 2
    feed(h, d, ip_packet(17, udp_datagram(b"good")))
    assert recv(ep)[0] == b"good"
    ep.connect(0, 0)
    feed(h, d, ip_packet(17, udp_datagram(b"anyone", 4001)))
    assert recv(ep)[0] == b"anyone"


def test_refused_reaches_the_connected():
    ha, hb = pair()
    c = ha.clock
    one = ha.udp.open(0, 0, 0)
    one.waker = w = Waker()
    one.connect(B, 9)
    two = ha.udp.open(0, 0, 0)
    two.send_to(b"x", 0, 1, B, 9, c.now)
    one.send_to(b"x", 0, 1, 0, 0, c.now)
    run(c, 1000, ha, hb)
    assert (one.error, two.error) == (111, 0)
    assert one.events() == 13 and w.n == 1
    assert errno_of(recv, one) == 111
    assert one.error == 0
    one.send_to(b"x", 0, 1, 0, 0, c.now)
    run(c, 1000, ha, hb)
    assert errno_of(one.send_to, b"x", 0, 1, 0, 0, c.now) == 111
    assert ha.stats.get("udp.error_unclaimed") == 1


def test_the_best_match_wins():
    h, _, d = ready()
    any_ = h.udp.open(0, 5000, 0, True)
    bound = h.udp.open(A, 5000, 0, True)
    connected = h.udp.open(0, 5000, 0, True)
    connected.connect(B, 4000)
    feed(h, d, ip_packet(17, udp_datagram(b"1")))
    feed(h, d, ip_packet(17, udp_datagram(b"2", 4001)))
    assert recv(connected)[0] == b"1"
    assert recv(bound)[0] == b"2"
    assert recv(any_) is None
    bound.close()
    feed(h, d, ip_packet(17, udp_datagram(b"3", 4001)))
    assert recv(any_)[0] == b"3"


def test_a_broadcast_reaches_all():
    h, _, d = ready()
    one = h.udp.open(0, 5000, 0, True)
    two = h.udp.open(0, 5000, 0, True)
    bound = h.udp.open(A, 5000, 0, True)
    data = udp_datagram(b"all", dst=0x0A0000FF)
    feed(h, d, ip_packet(17, data, dst=0x0A0000FF, to=ALL))
    assert recv(one) == (b"all", B, 4000)
    assert recv(two) == (b"all", B, 4000)
    assert recv(bound) is None


def test_bound_to_an_interface():
    h, iface, d = ready()
    ep = h.udp.open(0, 5000, 0, False, h.ip.loopback)
    feed(h, d, ip_packet(17, udp_datagram(b"x")))
    assert recv(ep) is None
    ep.iface = iface
    feed(h, d, ip_packet(17, udp_datagram(b"x")))
    assert recv(ep)[0] == b"x"


def test_no_memory_is_a_drop():
    h, _, d = ready()
    h.buffers.limit = 0
    ep = h.udp.open(0, 5000, 0)
    feed(h, d, ip_packet(17, udp_datagram(b"x")))
    assert ep.drops == 1 and recv(ep) is None


def test_close_in_a_wake():
    class Closer:
        def wake(self, ep):
            ep.close()

    h, _, d = ready()
    eps = [h.udp.open(0, 5000, 0, True) for _ in range(3)]
    for ep in eps:
        ep.waker = Closer()
    feed(h, d, ip_packet(17, udp_datagram(b"x", dst=0x0A0000FF), dst=0x0A0000FF, to=ALL))
    assert h.udp.endpoints() == []
    assert h.buffers.in_use == 0


def test_info():
    h, _, _ = ready()
    ep = h.udp.open(0, 5000, 0)
    i = ep.info()
    assert (i["local_port"], i["state"], i["recv_queue"]) == (5000, "open", 0)
