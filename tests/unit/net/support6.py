"""Two hosts with IPv6 on a wire, or one host and a wire in the test's hands."""

from stack.core import be, checksum
from stack.core.frame import Frame
from stack.net import addr6
from stack.wire import ethernet, ipv6, udp
from tests.unit.net.support import MAC_A, MAC_B, OURS, PEER, Clock, Wire, feed, host, run

G = addr6.parse("2001:db8::a")[0]  # ours
H = addr6.parse("2001:db8::b")[0]  # the peer's
ROUTER = addr6.parse("fe80::1")[0]


def single6(mode="static", addr=G, length=64, gateway=None, **kw):
    """(host, interface, device): one host with address G, settled, and nothing sent."""
    d = Wire(MAC_A, **kw)
    h = host(d)
    i = h.interfaces[1]
    h.configure6(i, mode, h.clock.now, addr if mode == "static" else None, length, gateway)
    run(h.clock, 3_000_000, h)
    d.take()
    h.stats.drops.clear()
    return h, i, d


def pair6(a=G, b=H, **kw):
    """Two hosts on one wire and one clock, each with an address."""
    clock = Clock()
    da = Wire(MAC_A, **kw)
    db = Wire(MAC_B, **kw)
    da.peer = db
    db.peer = da
    ha = host(da, clock)
    hb = host(db, clock)
    ha.configure6(ha.interfaces[1], "static", clock.now, a, 64)
    hb.configure6(hb.interfaces[1], "static", clock.now, b, 64)
    run(clock, 3_000_000, ha, hb)
    return ha, hb


def packet(proto, payload, src=H, dst=G, hops=64, to=OURS, sender=PEER):
    """An Ethernet frame with an IPv6 packet; a group goes to its MAC address."""
    if dst[0] == 0xFF and to == OURS:
        to = addr6.multicast_mac(dst)
    b = bytearray(54 + len(payload))
    ethernet.build(b, 0, to, sender, 0x86DD)
    ipv6.build(b, 14, src, dst, proto, len(payload), hops)
    b[54:] = payload
    return bytes(b)


def summed(proto, payload, at, src=H, dst=G):
    """The payload with its checksum, at offset `at`, filled in."""
    b = bytearray(payload)
    be.put16(b, at, 0)
    s = ipv6.pseudo_sum(src, dst, proto, len(b))
    be.put16(b, at, checksum.checksum(b, 0, len(b), s) or 0xFFFF)
    return bytes(b)


def icmp(kind, code, body, src=H, dst=G, hops=255, to=OURS, sender=PEER):
    """A frame with an ICMPv6 message: the bytes behind the checksum in `body`."""
    message = summed(58, bytes((kind, code, 0, 0)) + body, 2, src, dst)
    return packet(58, message, src, dst, hops, to, sender)


def datagram(payload, sport=4000, dport=5000, src=H, dst=G):
    b = bytearray(8 + len(payload))
    udp.build(b, 0, sport, dport, len(payload), 0)
    b[8:] = payload
    return summed(17, b, 6, src, dst)


def fragment(proto, payload, offset, more, ident=7):
    b = bytearray(8)
    ipv6.put_fragment(b, 0, proto, offset >> 3 | (ipv6.MF if more else 0), ident)
    return bytes(b) + payload


def advert(mac=PEER, target=H, flags=0x60):
    """The body of a neighbour advertisement."""
    b = bytearray(28)
    b[0] = flags
    b[4:20] = target
    b[20:22] = b"\x02\x01"
    be.put16(b, 22, mac >> 32)
    be.put32(b, 24, mac & 0xFFFFFFFF)
    return bytes(b)


def solicit(mac=PEER, target=G):
    b = bytearray(advert(mac, target, 0))
    b[20] = 1
    return bytes(b)


def know_peer(h, d):
    """Let the host know H's MAC address, as reachable."""
    i = h.interfaces[1]
    addr = h.ip6.addresses.handle(H)
    e = i.nd.neighbor6(addr, H, h.clock.now)
    i.nd._ask(e, 2, h.clock.now)
    feed(h, d, icmp(136, 0, advert()))


def kinds(frames):
    """The ICMPv6 types of frames; others: None."""
    out = []
    for f in frames:
        o = 54
        proto = f[20]
        if proto == 0:
            proto = f[54]
            o = 62
        out.append(f[o] if proto == 58 else None)
    return out


def check(frame):
    """Assert that an IPv6 frame is well-formed and summed."""
    f = Frame(bytearray(frame))
    f.off = 14
    f.end = len(frame)
    h = ipv6.Ipv6()
    assert h.parse(f), h.why
    assert f.end == len(frame)
    assert h.walk(f) == ipv6.OK, h.why
    if not h.frag and h.proto in (6, 17, 58):
        h.sum = checksum.add(f.buf, h.start + 8, 32, 0)
        n = f.end - f.off
        assert checksum.add(f.buf, f.off, n, h.pseudo(n)) == 0xFFFF
