"""The packet path allocates nothing: proved under the heap's lock, in the image.

Elsewhere `copy` is Python and allocates; there these tests only run the path.
"""

import micropython

from stack.core.frame import Frame
from stack.net import addr6
from tests.unit.net.support import A, B, ip_packet, ready, udp_datagram
from tests.unit.net.support6 import (
    G,
    H,
    advert,
    datagram,
    icmp,
    know_peer,
    packet,
    single6,
    solicit,
)

try:
    import hw
except ImportError:
    hw = None

_N = 20


class Sink:
    """A device that takes everything and keeps nothing."""

    caps = 0
    gso_max = 0
    link_up = True

    def tx(self, f):
        f.release()
        return True

    def flush(self):
        pass

    def tx_space(self):
        return 64


class Waker:
    def wake(self, endpoint):
        pass


def setup():
    h, iface, _ = ready()
    iface.device = d = Sink()
    iface.tx = d.tx
    return h, iface


def locked(fn, *args):
    fn(*args)  # once, so that what is made at first use is there
    if hw is not None:
        micropython.heap_lock()
    try:
        fn(*args)
    finally:
        if hw is not None:
            micropython.heap_unlock()


def receive(iface, f, n, keep, ep, buf):
    """Feed the frame _N times; keep: its last bytes but for what a queue's record leaves alone."""
    size = len(keep)
    on_frame = iface._sink
    i = 0
    while i < _N:
        k = 0
        while k < len(keep):
            f.buf[n - size + k] = keep[k]
            k += 1
        f.off = 17
        f.end = n
        on_frame(f)
        if ep is not None:
            ep.recv_into(buf, 0, 100)
        i += 1


def frame(data):
    f = Frame(bytearray(2000))
    f.buf[17 : 17 + len(data)] = data
    return f, 17 + len(data)


def test_udp_in():
    h, iface = setup()
    ep = h.udp.open(0, 5000, 0)
    ep.waker = Waker()
    for csum in (0, None):
        data = ip_packet(17, udp_datagram(bytes(64), csum=csum))
        f, n = frame(data)
        locked(receive, iface, f, n, data, ep, bytearray(100))
    assert ep.peer_addr == B and ep.length == 64 and h.stats.drops == {}


def test_udp_out():
    h, iface = setup()
    ep = h.udp.open(0, 0, 0)
    buf = bytearray(100)

    def one():
        i = 0
        while i < _N:
            ep.send_to(buf, 0, 100, B, 53, 0)
            i += 1

    locked(one)
    assert iface.tx_frames >= 2 * _N


def test_echo():
    h, iface = setup()
    f, n = frame(ip_packet(1, b"\x08\x00\xf7\xff\x00\x00\x00\x00"))
    locked(receive, iface, f, n, b"", None, None)
    assert iface.tx_frames >= 2 * _N


def test_drops():
    h, iface = setup()
    for data in (
        ip_packet(17, udp_datagram(b"x", csum=1)),
        ip_packet(17, b"short"),
        ip_packet(1, b"\x08\x00\x00\x00\x00\x00\x00\x00"),
        ip_packet(200, b"x", dst=B),
        ip_packet(200, b"x", src=A),
        ip_packet(200, b"x", to=0x020000000099),
    ):
        f, n = frame(data)
        locked(receive, iface, f, n, b"", None, None)


def test_port_unreachable():
    h, iface = setup()
    f, n = frame(ip_packet(17, udp_datagram(b"x")))
    locked(receive, iface, f, n, b"", None, None)
    assert h.stats.get("icmp.errors_out") > 0


# IPv6: the same.


def setup6():
    h, iface, d = single6()
    know_peer(h, d)
    h.stats.drops.clear()
    iface.device = d = Sink()
    iface.tx = d.tx
    return h, iface


def test_udp_in_by_ipv6():
    h, iface = setup6()
    ep = h.udp.open(addr6.ANY, 5000, 0)
    ep.waker = Waker()
    data = packet(17, datagram(bytes(64)))
    f, n = frame(data)
    locked(receive, iface, f, n, data, ep, bytearray(100))
    assert ep.length == 64 and h.stats.drops == {} and h.ip6.addresses.bytes(ep.peer_addr) == H


def test_udp_in_from_many_by_ipv6():
    """Each from another address: handles are made, and nothing is allocated."""
    h, iface = setup6()
    ep = h.udp.open(addr6.ANY, 5000, 0)
    frames = []
    for i in range(_N):
        src = addr6.parse("2001:db8::1:%x" % i)[0]
        frames.append(frame(packet(17, datagram(b"x", src=src), src=src)))
    buf = bytearray(100)

    def every():
        i = 0
        while i < _N:
            f, n = frames[i]
            f.off = 17
            f.end = n
            iface._sink(f)
            ep.recv_into(buf, 0, 100)
            i += 1

    every()
    for i in range(_N):
        src = addr6.parse("2001:db8::1:%x" % i)[0]
        frames[i] = frame(packet(17, datagram(b"x", src=src), src=src))
    if hw is not None:
        micropython.heap_lock()
    try:
        every()
    finally:
        if hw is not None:
            micropython.heap_unlock()
    assert h.stats.drops == {}


def test_udp_out_by_ipv6():
    h, iface = setup6()
    ep = h.udp.open(addr6.ANY, 0, 0)
    buf = bytearray(100)
    dst = h.ip6.addresses.handle(H)
    now = h.clock.now

    def one():
        i = 0
        while i < _N:
            ep.send_to(buf, 0, 100, dst, 53, now)
            i += 1

    before = iface.tx_frames
    locked(one)
    assert iface.tx_frames >= before + 2 * _N


def test_icmp_by_ipv6():
    h, iface = setup6()
    for data in (
        icmp(128, 0, b"\0\1\0\2hello", hops=64),
        icmp(135, 0, solicit(), dst=addr6.solicited_node(G)),
        icmp(136, 0, advert()),
        packet(60, b"\xc9\0\1\4\0\0\0\0x"),
        packet(17, datagram(b"no port")),
        packet(200, b"x", dst=addr6.parse("2001:db8::c")[0]),
    ):
        f, n = frame(data)
        before = iface.tx_frames
        locked(receive, iface, f, n, data, None, None)
    assert iface.tx_frames == before
    assert h.stats.get("icmp6.errors_out") > _N
