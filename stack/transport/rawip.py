"""Raw IP: endpoints that see whole protocols, for programs that speak their own or listen.

An endpoint of IPv4 receives the IP header with the packet and sends without one, as on
Linux; of IPv6 it does neither (RFC 3542, section 3), and the checksum of ICMPv6 is filled in.
The protocol's own handler still has every packet.

Not implemented: IP_HDRINCL, ICMP6_FILTER, protocols that are extension headers.
"""

from micropython import const

from stack.core import be, errors
from stack.core.frame import HEADROOM
from stack.core.mem import copy
from stack.net.addr6 import ANY, V6
from stack.transport.demux import highest, lowest
from stack.transport.udp import UdpEndpoint
from stack.wire import icmp6
from stack.wire.ipv6 import DESTINATION, FRAGMENT, HOP_BY_HOP, PROTO_ICMP6, ROUTING

_MAX_ENDPOINTS = const(64)  # a program's doing; each has a queue of up to 256 KB
_QUEUE = const(256 * 1024)


class RawEndpoint(UdpEndpoint):
    """As a UdpEndpoint, with ports that are 0 and datagrams that are packets of `proto`."""

    __slots__ = ("proto",)

    def __init__(self, layer, addr, proto):
        # The layer is told the protocol in the place of a port.
        super().__init__(layer, addr, proto, None, True, False)
        self.proto = proto
        self.broadcast = True

    def deliver(self, h, f, src_port):
        """Queue a copy of the packet: of IPv4 from its header on."""
        ring = self.ring
        start = f.off if h.src >= V6 else h.start
        n = f.end - start
        r = self._record
        k = len(r)
        size = k + n
        used = ring.tail - ring.head
        if used + size > _QUEUE or (used + size > ring.size and ring.reserve(size) < size):
            self.drops += 1
            self.udp.stats.drop("raw.queue_full")
            return
        if h.src >= V6:
            self.udp.ip.v6.addresses.fetch(h.src, r, 0)
        else:
            be.put32(r, 0, h.src)
        be.put16(r, k - 4, 0)
        be.put16(r, k - 2, n)
        ring.put(ring.tail, r, 0, k)
        ring.put(ring.tail + k, f.buf, start, n)
        ring.tail += size
        if self.waker is not None:
            self.waker.wake(self)

    def info(self):
        d = super().info()
        d["proto"] = "raw"
        d["protocol"] = self.proto
        return d


class _Tap:
    """Stands before the handler of a protocol while there are raw endpoints for it."""

    def __init__(self, layer, below):
        self.layer = layer
        self.below = below
        self.endpoints = []

    def on_packet(self, h, f, now):
        for ep in self.endpoints:
            if ep.matches(h, 0):
                ep.deliver(h, f, 0)
        if self.below is not None:
            self.below.on_packet(h, f, now)

    def on_error(self, code, h, f, now):
        if self.below is not None:
            self.below.on_error(code, h, f, now)


class RawIp:
    """The layer: `open` makes endpoints. For them it is what Udp is for its own."""

    def __init__(self, ip, stats, buffers, pool):
        self.ip = ip
        self.stats = stats
        self.buffers = buffers
        self.pool = pool
        self.blocked = False
        self._all = []

    def open(self, addr, proto):
        """A RawEndpoint at addr (0 or addr6.ANY: any of its family). OSError."""
        if not 0 <= proto <= 255 or proto in (HOP_BY_HOP, ROUTING, FRAGMENT, DESTINATION):
            raise OSError(errors.EPROTONOSUPPORT)
        if len(self._all) >= _MAX_ENDPOINTS:
            raise OSError(errors.ENOBUFS)
        ep = RawEndpoint(self, addr, proto)
        table = self._table(ep)
        tap = table.get(proto)
        if not isinstance(tap, _Tap):
            tap = _Tap(self, tap)
            table[proto] = tap
        tap.endpoints.append(ep)
        self._all.append(ep)
        return ep

    def bind(self, ep, addr):
        """Only packets to addr from now on, and from it. OSError EADDRNOTAVAIL."""
        if addr not in (0, ANY) and not self.ip.is_local(addr):
            raise OSError(errors.EADDRNOTAVAIL)
        if (addr >= V6) != (ep.high >= V6):
            raise OSError(errors.EAFNOSUPPORT)
        ep.local_addr = addr
        ep.low = lowest(addr)
        ep.high = highest(addr)

    def _table(self, ep):
        return self.ip.v6.handlers if ep.high >= V6 else self.ip.handlers

    def forget(self, ep):
        self._all.remove(ep)
        table = self._table(ep)
        tap = table[ep.proto]
        tap.endpoints.remove(ep)
        if not tap.endpoints:
            if tap.below is not None:
                table[ep.proto] = tap.below
            else:
                del table[ep.proto]

    def endpoints(self):
        return list(self._all)

    def unblock(self):
        """Room may have come: who waits for it tries again."""
        self.blocked = False
        for ep in self._all:
            if ep.blocked:
                ep.blocked = False
                if ep.waker is not None:
                    ep.waker.wake(ep)

    def send(self, path, proto, _port, buf, off, n, now):
        """Send n bytes as the payload of a packet. False: no room now. OSError EMSGSIZE."""
        if n > 65515:
            raise OSError(errors.EMSGSIZE)
        summed = proto == PROTO_ICMP6 and path.dst >= V6 and n >= 4
        if n + path.header > path.mtu or n + HEADROOM > self.pool.size:
            return self._send_big(path, proto, buf, off, n, summed, now)
        f = self.pool.get()
        if f is None:
            return False
        o = f.off
        copy(f.buf, o, buf, off, n)
        f.end = o + n
        if summed:
            be.put16(f.buf, o + 2, 0)
            icmp6.finish(f.buf, o, n, path.pseudo(proto))
        if path.output(f, proto, now):
            return True
        f.release()
        return False

    def _send_big(self, path, proto, buf, off, n, summed, now):
        try:
            whole = self.buffers.alloc(n)
        except MemoryError:
            return False
        copy(whole, 0, buf, off, n)
        if summed:
            be.put16(whole, 2, 0)
            icmp6.finish(whole, 0, n, path.pseudo(proto))
        ok = path.fragment(whole, 0, n, proto, now)
        self.buffers.free(whole)
        return ok
