"""Two hosts on a wire, or one host and a wire in the test's hands."""

from stack.core import be, checksum
from stack.core.frame import CAP_RX_CSUM, CAP_TX_CSUM, Frame, FramePool
from stack.core.timers import NEVER
from stack.host import Host
from stack.wire import arp, ethernet, ipv4, udp

MAC_A = b"\x02\x00\x00\x00\x00\x0a"
MAC_B = b"\x02\x00\x00\x00\x00\x0b"
A = 0x0A00000A  # 10.0.0.10
B = 0x0A00000B
GW = 0x0A000001


class Wire:
    """A device. What it sends goes to `peer` (another Wire), or to the list `sent`.

    offload: it takes the transport checksum over, and vouches for it.
    """

    driver = "fake"
    at = 17

    def __init__(self, mac=MAC_A, name="eth0", mtu=1500, offload=False, depth=64):
        self.name = name
        self.mac = mac
        self.mtu = self.mtu_max = mtu
        self.caps = CAP_TX_CSUM | CAP_RX_CSUM if offload else 0
        self.gso_max = 0
        self.link_up = True
        self.sent = []
        self.inbox = []
        self.peer = None
        self.depth = depth  # frames that tx takes before a flush
        self.queued = 0
        self._frame = Frame(b"")

    def rx(self, sink, budget):
        n = 0
        while self.inbox and n < budget:
            data = self.inbox.pop(0)
            f = self._frame
            f.reset()
            # At an odd place, so that nothing relies on alignment, and with nothing behind,
            # so that reading on raises.
            f.buf = bytearray(self.at) + data
            f.off = self.at
            f.end = self.at + len(data)
            f.csum_ok = self.caps & CAP_RX_CSUM != 0
            sink(f)
            n += 1
        return n

    def tx(self, f):
        if self.queued >= self.depth:
            return False
        self.queued += 1
        data = bytes(f.buf[f.off : f.end])
        if f.data_len:
            data += bytes(f.data[f.data_off : f.data_off + f.data_len])
        f.release()
        if self.peer is not None:
            self.peer.inbox.append(data)
        self.sent.append(data)
        return True

    def flush(self):
        self.queued = 0

    def tx_space(self):
        return self.depth - self.queued

    def sleep(self):
        return len(self.inbox) > 0

    def poll_at(self):
        return NEVER

    def on_interrupt(self):
        pass

    def stop(self):
        pass

    def take(self):
        """What was sent since the last call."""
        out = self.sent
        self.sent = []
        return out


class Clock:
    def __init__(self):
        self.now = 1_000_000

    def __call__(self):
        return self.now


def counter_rng(seed=1):
    """Deterministic bytes: a linear congruential generator's."""
    state = [seed]

    def rng(n):
        out = bytearray(n)
        for i in range(n):
            state[0] = (state[0] * 1103515245 + 12345) & 0x7FFFFFFF
            out[i] = state[0] >> 16 & 0xFF
        return bytes(out)

    return rng


def host(device, clock=None, frames=64, size=2048):
    pool = FramePool([bytearray(size) for _ in range(frames)])
    h = Host(clock or Clock(), counter_rng(), None, pool)
    h.add_interface(device)
    return h


def single(addr=A, prefix=24, gateway=GW, **kw):
    """(host, interface, device): one host at addr whose wire the test holds."""
    d = Wire(MAC_A, **kw)
    h = host(d)
    iface = h.interfaces[1]
    h.configure(iface, "static", h.clock.now, addr, prefix, gateway)
    d.take()
    return h, iface, d


def pair(**kw):
    """Two hosts, A and B, on one wire and one clock."""
    clock = Clock()
    a = Wire(MAC_A, **kw)
    b = Wire(MAC_B, **kw)
    a.peer = b
    b.peer = a
    ha = host(a, clock)
    hb = host(b, clock)
    ha.configure(ha.interfaces[1], "static", clock.now, A, 24)
    hb.configure(hb.interfaces[1], "static", clock.now, B, 24)
    run(clock, 0, ha, hb)
    return ha, hb


def run(clock, us, *hosts):
    """Poll the hosts until `us` later, jumping over idle time."""
    end = clock.now + us
    while True:
        busy = True
        n = 0
        while busy:
            busy = False
            for h in hosts:
                h.poll(clock.now)
            for h in hosts:
                if h.poll_at() <= clock.now or h.interfaces[1].device.sleep():
                    busy = True
            n += 1
            assert n < 1000, "does not come to rest"
        at = min([h.poll_at() for h in hosts])
        if at > end:
            clock.now = end
            return
        clock.now = at


def feed(h, device, data):
    """Give the host a frame and let it work; what it sent in answer."""
    device.take()
    device.inbox.append(data)
    h.poll(h.clock.now)
    return device.take()


PEER = 0x02000000000B  # MAC_B as an int
OURS = 0x02000000000A


def ip_packet(proto, payload, src=B, dst=A, ident=1, frag=0, ttl=64, options=b"", to=OURS):
    """An Ethernet frame with an IPv4 packet for host A, from B."""
    n = 20 + len(options)
    b = bytearray(14 + n + len(payload))
    ethernet.build(b, 0, to, PEER, 0x0800)
    ipv4.build(b, 14, src, dst, proto, len(payload), ident, frag, ttl)
    b[34 : 34 + len(options)] = options
    b[14 + n :] = payload
    if options:
        b[14] = 0x40 | n >> 2
        be.put16(b, 16, n + len(payload))
        be.put16(b, 24, 0)
        be.put16(b, 24, checksum.checksum(b, 14, n))
    return bytes(b)


def udp_datagram(payload, src_port=4000, dst_port=5000, src=B, dst=A, csum=None):
    """A UDP header and payload; csum None: the right one."""
    b = bytearray(8 + len(payload))
    udp.build(b, 0, src_port, dst_port, len(payload), 0)
    b[8:] = payload
    if csum is None:
        csum = udp_sum(b, src, dst)
    be.put16(b, 6, csum)
    return bytes(b)


def udp_sum(b, src, dst):
    """The checksum of a datagram whose own field is 0. RFC 768."""
    pseudo = bytearray(12)
    be.put32(pseudo, 0, src)
    be.put32(pseudo, 4, dst)
    pseudo[9] = 17
    be.put16(pseudo, 10, len(b))
    whole = bytes(pseudo) + bytes(b)
    return checksum.checksum(whole, 0, len(whole)) or 0xFFFF


def know_peer(h, device):
    """Let A know B's MAC address."""
    b = bytearray(42)
    ethernet.build(b, 0, OURS, PEER, 0x0806)
    arp.build(b, 14, 1, PEER, B, OURS, A)
    feed(h, device, bytes(b))
    e = h.interfaces[1].arp.neighbor(B, 0)
    e.state = 5
    e.until = NEVER


def ready(**kw):
    """(host, interface, device) with A at 10.0.0.10, which knows B."""
    h, iface, d = single(**kw)
    know_peer(h, d)
    return h, iface, d
