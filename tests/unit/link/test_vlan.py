"""link/vlan: an interface over an interface (802.1Q); cards with a large MTU."""

from stack.core import be
from stack.transport.tcp.block import ADV_MSS
from tests.unit.net.support import MAC_A, MAC_B, A, B, Clock, Wire, host, run

V4 = 0x0A050000


def pair(mtu=1500, frames=64):
    """Two hosts on a wire, each with VLAN 5 on eth0 and addresses on both."""
    clock = Clock()
    da = Wire(MAC_A, mtu=mtu)
    db = Wire(MAC_B, mtu=mtu)
    da.peer = db
    db.peer = da
    ha = host(da, clock, size=mtu + 512)
    hb = host(db, clock, size=mtu + 512)
    for h, n in ((ha, 10), (hb, 11)):
        h.configure(h.interfaces[1], "static", clock.now, (A if n == 10 else B), 24)
        v = h.add_vlan(h.interfaces[1], 5)
        assert v.name == "eth0.5" and v.mac == h.interfaces[1].mac
        h.configure(v, "static", clock.now, V4 + n, 24)
    run(clock, 0, ha, hb)
    da.take()
    return ha, hb


def ping(a, b, dst, n=56):
    p = a.icmp.ping(dst)
    p.send(n, a.clock.now)
    run(a.clock, 10_000, a, b)
    p.close()
    return p.rtt_us >= 0


def test_tagged_and_untagged():
    a, b = pair()
    assert ping(a, b, V4 + 11)
    sent = a.interfaces[1].device.take()
    assert sent and all([f[12:16] == b"\x81\x00\x00\x05" for f in sent])
    assert 0x0800 in [be.get16(f, 16) for f in sent]
    assert ping(a, b, B)
    assert all([f[12:14] != b"\x81\x00" for f in a.interfaces[1].device.take()])
    v = b.interface("eth0.5")
    assert v.rx_frames >= 2 and v.tx_frames >= 2
    assert ping(a, b, V4 + 11, 3000)  # in fragments


def test_tcp_and_ipv6_by_vlan():
    a, b = pair()
    l = b.tcp.listen(V4 + 11, 80, 4, b.clock.now)
    c = a.tcp.connect(V4 + 11, 80, a.clock.now)
    run(a.clock, 100_000, a, b)
    assert l.accept() is not None and c.path.iface.name == "eth0.5"
    for h in (a, b):
        h.configure6(h.interface("eth0.5"), "auto", h.clock.now)
    run(a.clock, 3_000_000, a, b)
    peer = b.interface("eth0.5").auto.link_local()
    from stack.net import addr6

    raw = addr6.with_zone(peer.raw, a.interface("eth0.5").index)
    assert ping(a, b, a.ip6.addresses.handle(raw))


def test_of_another_vlan():
    a, b = pair()
    other = a.add_vlan(a.interfaces[1], 6)
    a.configure(other, "static", a.clock.now, 0x0A060001, 24)
    assert not ping(a, b, 0x0A060002)
    assert b.stats.dropped("ethernet.vlan") > 0


def test_a_tag_cut_off():
    a, b = pair()
    d = b.interfaces[1].device
    for n in range(12, 19):
        d.inbox.append((MAC_B + MAC_A + b"\x81\x00\x00\x05\x08\x00")[:n])
    run(b.clock, 0, b)
    assert sum(b.stats.drops.values()) >= 7


def test_ids():
    a, _ = pair()
    for vid in (0, 4095, -1):
        try:
            a.add_vlan(a.interfaces[1], vid)
            raise AssertionError(vid)
        except ValueError:
            pass
    try:
        a.add_vlan(a.interfaces[1], 5)
        raise AssertionError
    except OSError as e:
        assert e.args[0] == 17


def test_nine_thousand_bytes():
    a, b = pair(9000)
    assert ping(a, b, B, 8972)
    assert max([len(f) for f in a.interfaces[1].device.take()]) == 9014
    ep = b.udp.open(0, 5000, b.clock.now)
    s = a.udp.open(0, 0, a.clock.now)
    s.send_to(bytes(8972), 0, 8972, B, 5000, a.clock.now)
    run(a.clock, 1000, a, b)
    assert ep.recv_len() == 8972
    c = a.tcp.connect(B, 80, a.clock.now)
    assert c.w[ADV_MSS] == 8960
