"""UDP: endpoints with bounded queues.

RFC 768; RFC 1122, section 4.1; RFC 8085; ports at random by RFC 6056. A datagram that
has no endpoint is answered with "port unreachable"; an ICMP error reaches a connected
endpoint as its `error` (RFC 1122, section 4.1.3.3, and as Linux does).

Not implemented: sending without a checksum.
"""

import micropython
from micropython import const

from stack.core import be, errors
from stack.core.checksum import add as _sum
from stack.core.frame import CAP_TX_CSUM, HEADROOM
from stack.core.mem import copy
from stack.core.ring import Ring
from stack.net.addr6 import ANY as ANY6
from stack.net.addr6 import V6, is_mapped
from stack.net.ipv4 import BROADCAST, MULTICAST, UNICAST
from stack.transport.demux import highest, lowest
from stack.wire import udp as wire
from stack.wire.ipv4 import PROTO_UDP

# Received and not yet read, for each endpoint: headers of 8 bytes included. The
# largest datagram (65,507) fits three times.
_QUEUE = const(256 * 1024)
_MAX_ENDPOINTS = const(4096)  # a program's doing, of about 500 bytes each: 2 MB

_MAX_ERRORS = const(16)  # reported by the network and not yet heard of, of one endpoint

_FIRST_PORT = const(49152)  # RFC 6335, section 6: the dynamic ports
_PORTS = const(16384)

_RECORD = const(8)
# An endpoint that hears IPv6 notes 16 bytes of address, port, length: over the end of the
# IP header, which is at least 20 bytes long, and the UDP header.
_RECORD6 = const(20)


@micropython.viper
def _put_record(buf, off: int, addr: int, port: int, n: int):
    """Write the record of a queued datagram: address, port, length."""
    p = ptr8(buf)
    p[off] = addr >> 24 & 0xFF
    p[off + 1] = addr >> 16 & 0xFF
    p[off + 2] = addr >> 8 & 0xFF
    p[off + 3] = addr & 0xFF
    p[off + 4] = port >> 8
    p[off + 5] = port & 0xFF
    p[off + 6] = n >> 8
    p[off + 7] = n & 0xFF


class UdpEndpoint:
    """`local_addr` 0: any. After recv_into `peer_addr`, `peer_port` and `length` (of the whole
    datagram) describe what was read. `broadcast` must be set to send to a broadcast address.
    """

    __slots__ = (
        "udp", "local_addr", "local_port", "remote_addr", "remote_port", "iface", "reuse",
        "broadcast", "waker", "error", "drops", "recverr", "_errors",
        "peer_addr", "peer_port", "length", "blocked",
        "next", "ring", "low", "high", "group_iface", "group_ttl", "group_loop", "marks",
        "_path", "_own_path", "_loop_path", "_record",
    )  # fmt: skip

    def __init__(self, udp, addr, port, iface, reuse, dual):
        self.udp = udp
        self.local_addr = addr
        self.low = lowest(addr, dual)
        self.high = highest(addr)
        self.group_iface = None  # where datagrams to groups go out
        self.group_ttl = 1
        self.marks = None  # Marks: what the IP headers of the others have
        self.group_loop = True  # what we send to a group that we are in comes back to us
        self.local_port = port
        self.remote_addr = self.remote_port = 0
        self.iface = iface  # only frames of this interface; None: of any
        self.reuse = reuse
        self.broadcast = False
        self.waker = None
        self.error = 0  # the oldest that the network has reported and nobody has heard of
        self.recverr = False  # hear of errors without being connected, too (Linux's IP_RECVERR)
        self._errors = None
        self.drops = 0
        self.peer_addr = self.peer_port = self.length = 0
        self.blocked = False
        self.next = None
        self.ring = Ring(udp.buffers, _QUEUE)
        self._path = None
        self._own_path = self._loop_path = None
        self._record = bytearray(_RECORD if self.high < V6 else _RECORD6)

    # A program's calls.

    def connect(self, addr, port, now=0):
        """Send to and receive from this peer only; address 0 undoes it. OSError ENETUNREACH."""
        if not addr:
            self.remote_addr = self.remote_port = 0
            return
        if addr >= V6 and self.high < V6 or addr < V6 and self.low >= V6:
            raise OSError(errors.EAFNOSUPPORT if addr >= V6 else errors.ENETUNREACH)
        ip = self.udp.ip
        if ip.kind(addr) == MULTICAST:
            path = self._group_path(addr)
        else:
            path = self._way(addr)
        if path is None:
            raise OSError(errors.ENETUNREACH)
        if path.kind == BROADCAST and not self.broadcast:
            raise OSError(errors.EACCES)
        self._path = path
        self.remote_addr = addr
        self.remote_port = port

    def send_to(self, buf, off, n, addr, port, now):
        """Send n bytes to addr, or with address 0 to the peer. n, or -1: no room now.

        OSError: EDESTADDRREQ, EMSGSIZE, ENETUNREACH, EACCES (broadcast), EBADF, or an
        error that the network has reported.
        """
        if self.error:
            self._raise()
        if not addr:
            addr = self.remote_addr
            port = self.remote_port
            if not addr:
                raise OSError(errors.EDESTADDRREQ)
        udp = self.udp
        if udp is None:
            raise OSError(errors.EBADF)
        path = self._path
        if path is None or path.dst != addr or path.epoch != udp.ip.routes.epoch:
            path = self._find_path(addr)
        if path.kind == BROADCAST and not self.broadcast:
            raise OSError(errors.EACCES)
        if udp.send(path, self.local_port, port, buf, off, n, now):
            if path.kind != UNICAST and self.group_loop:
                self._loop(path, port, buf, off, n, now)
            return n
        self.blocked = True
        udp.blocked = True
        return -1

    def _loop(self, path, port, buf, off, n, now):
        """What goes to a group that this host is in comes back to it (RFC 1112, section 6.1), and
        so does a broadcast (RFC 919, section 5).
        """
        ip = self.udp.ip
        table = ip.v6.local if path.dst >= V6 else ip.local
        if table.get(path.dst) is None or path.iface.loopback or not path.src:
            return
        back = self._loop_path
        if back is None or back.epoch != ip.routes.epoch or back.dst != path.dst:
            back = (ip.v6 if path.dst >= V6 else ip).loop_path(path)
            self._loop_path = back
        self.udp.send(back, self.local_port, port, buf, off, n, now)

    def recv_into(self, buf, off, n):
        """The next datagram into buf[off:off+n], cut to fit: bytes stored, or -1 when none waits.

        OSError: the network has reported an error.
        """
        ring = self.ring
        if ring.tail == ring.head:
            if self.error:
                self._raise()
            return -1
        r = self._record
        if self.high < V6:
            ring.read_into(r, 0, _RECORD)
            self.peer_addr = r[0] << 24 | r[1] << 16 | r[2] << 8 | r[3]
            self.peer_port = r[4] << 8 | r[5]
            self.length = length = r[6] << 8 | r[7]
        else:
            length = self._read_record6(r)
        if n > length:
            n = length
        ring.peek(ring.head, buf, off, n)
        ring.head += length
        return n

    def _read_record6(self, r):
        self.ring.read_into(r, 0, _RECORD6)
        if is_mapped(r, 0):
            self.peer_addr = be.get32(r, 12)
        else:
            self.peer_addr = self.udp.ip.v6.addresses.handle(r, 0)
        self.peer_port = r[16] << 8 | r[17]
        self.length = length = r[18] << 8 | r[19]
        return length

    def recv_len(self):
        """The length of the next datagram, or -1."""
        ring = self.ring
        if ring.tail == ring.head:
            return -1
        r = self._record
        n = len(r)
        ring.peek(ring.head, r, 0, n)
        return r[n - 2] << 8 | r[n - 1]

    def events(self):
        ev = 0
        if self.ring.tail != self.ring.head:
            ev = errors.POLLIN
        if not self.blocked:
            ev |= errors.POLLOUT
        if self.error:
            ev |= errors.POLLERR | errors.POLLIN
        return ev

    def close(self, now=0):
        if self.udp is not None:
            self.udp.forget(self)
            self.udp = None
            self.ring.release()

    def info(self):
        """What net.connections() shows."""
        return {
            "proto": "udp",
            "state": "connected" if self.remote_addr else "open",
            "local_addr": self.local_addr,
            "local_port": self.local_port,
            "remote_addr": self.remote_addr,
            "remote_port": self.remote_port,
            "recv_queue": self.ring.tail - self.ring.head,
            "drops": self.drops,
        }

    def take_error(self):
        """The oldest error not heard of, 0 for none; the next one takes its place."""
        code = self.error
        later = self._errors
        self.error = later.pop(0) if later else 0
        return code

    def _raise(self):
        raise OSError(self.take_error())

    def report(self, code):
        """The network reports an error: queued, up to a bound, in order."""
        if not self.error:
            self.error = code
        else:
            if self._errors is None:
                self._errors = []
            if len(self._errors) < _MAX_ERRORS:
                self._errors.append(code)
            else:
                self.udp.stats.drop("udp.error_queue")
        if self.waker is not None:
            self.waker.wake(self)

    def _find_path(self, addr):
        udp = self.udp
        if self.iface is not None and addr == 0xFFFFFFFF:
            path = self._own_path
            if path is None or path.epoch != udp.ip.routes.epoch:
                self._own_path = path = udp.ip.broadcast_path(self.iface)
            return path
        kind = udp.ip.kind(addr)
        if kind == MULTICAST:
            return self._group_path(addr)
        if addr >= V6 and self.high < V6 or addr < V6 and self.low >= V6:
            raise OSError(errors.EAFNOSUPPORT if addr >= V6 else errors.ENETUNREACH)
        path = self._way(addr)
        if path is None:
            raise OSError(errors.ENETUNREACH)
        self._path = path
        return path

    def _way(self, addr):
        """The Path to an address that is no group's, marked if the program wants it; or None."""
        ip = self.udp.ip
        src = self.local_addr if ip.is_local(self.local_addr) else 0
        return ip.path(addr, src) if self.marks is None else self.marks.path(ip, addr, src)

    def forget_path(self):
        """How this endpoint sends has changed."""
        self._path = self._own_path = None

    def _group_path(self, addr):
        """The Path to a group, by the interface and with the TTL that the program has set."""
        ip = self.udp.ip
        path = self._own_path
        if path is None or path.dst != addr or path.epoch != ip.routes.epoch:
            src = self.local_addr if ip.is_local(self.local_addr) else 0
            path = ip.private_path(addr, src, self.group_iface or self.iface)
            if path is None:
                raise OSError(errors.ENETUNREACH)
            path.set_ttl(self.group_ttl, self._group_tos(addr))
            self._own_path = path
        return path

    def _group_tos(self, addr):
        if self.marks is None:
            return 0
        return self.marks.tclass if addr >= V6 else self.marks.tos

    # The stack's.

    def matches(self, h, src_port):
        """True if a datagram with IP header h belongs here."""
        if not self.low <= h.dst <= self.high:
            return False
        if self.remote_addr and (self.remote_port != src_port or self.remote_addr != h.src):
            return False
        return self.iface is None or self.iface is h.iface

    def deliver(self, h, f, src_port):
        """Queue the payload in f. The 8 bytes before it, the UDP header, become its record."""
        ring = self.ring
        if self.high >= V6:
            off = self._begin6(h, f, src_port)
        else:
            off = f.off - 8
            _put_record(f.buf, off, h.src, src_port, f.end - off - 8)
        n = f.end - off
        tail = ring.tail
        used = tail - ring.head
        size = ring.size
        if used + n > size:
            if used + n > _QUEUE or ring.reserve(n) < n:
                self.drops += 1
                self.udp.stats.drop("udp.queue_full")
                return
            size = ring.size
        buf = f.buf
        i = tail & size - 1
        if i + n <= size:
            copy(ring.buf, i, buf, off, n)
        else:
            ring.put(tail, buf, off, n)
        ring.tail = tail + n
        if self.waker is not None:
            self.waker.wake(self)


    def _begin6(self, h, f, src_port):
        """Write the record of an endpoint of IPv6; where it begins."""
        off = f.off - _RECORD6
        b = f.buf
        if h.src < V6:
            be.put32(b, off, 0)
            be.put32(b, off + 4, 0)
            be.put32(b, off + 8, 0xFFFF)
            be.put32(b, off + 12, h.src)
        else:
            self.udp.ip.v6.addresses.fetch(h.src, b, off)
        be.put16(b, off + 16, src_port)
        be.put16(b, off + 18, f.end - f.off)
        return off


class Udp:
    def __init__(self, ip, rng, stats, buffers, pool):
        self.ip = ip
        self.rng = rng
        self.stats = stats
        self.buffers = buffers
        self.pool = pool
        self.blocked = False  # an endpoint waits for room to send
        self._hdr = wire.Udp()
        self._ports = {}  # port -> endpoint, more by `next`
        self._count = 0
        ip.register(PROTO_UDP, self)

    def open(self, addr, port, now, reuse=False, iface=None, dual=False):
        """A UdpEndpoint at addr (0: any of IPv4; addr6.ANY: of IPv6, with dual of both) and
        port (0: one is chosen).

        OSError: EADDRINUSE, EADDRNOTAVAIL, ENOBUFS.
        """
        if addr and addr != ANY6 and not self.ip.is_local(addr) and self.ip.kind(addr) == UNICAST:
            raise OSError(errors.EADDRNOTAVAIL)
        if self._count >= _MAX_ENDPOINTS:
            raise OSError(errors.ENOBUFS)
        if not port:
            port = self._free_port()
        else:
            other = self._ports.get(port)
            while other is not None:
                if (
                    not (reuse and other.reuse)
                    and lowest(addr, dual) <= other.high
                    and other.low <= highest(addr)
                    and (iface is None or other.iface is None or iface is other.iface)
                ):
                    raise OSError(errors.EADDRINUSE)
                other = other.next
        ep = UdpEndpoint(self, addr, port, iface, reuse, dual)
        ep.next = self._ports.get(port)
        self._ports[port] = ep
        self._count += 1
        return ep

    def _free_port(self):
        """RFC 6056, section 3.3.1: a random start, then upwards."""
        r = self.rng(2)
        start = r[0] << 8 | r[1]
        for i in range(_PORTS):
            port = _FIRST_PORT + (start + i) % _PORTS
            if port not in self._ports:
                return port
        raise OSError(errors.EADDRINUSE)

    def forget(self, ep):
        at = self._ports.get(ep.local_port)
        if at is ep:
            if ep.next is None:
                del self._ports[ep.local_port]
            else:
                self._ports[ep.local_port] = ep.next
        else:
            while at.next is not ep:
                at = at.next
            at.next = ep.next
        ep.next = None
        self._count -= 1

    def used(self, port):
        """Whether an endpoint has the port."""
        return port in self._ports

    def endpoints(self):
        """All endpoints, a new list."""
        out = []
        for ep in self._ports.values():
            while ep is not None:
                out.append(ep)
                ep = ep.next
        return out

    def unblock(self):
        """Room may have come: who waits for it tries again."""
        self.blocked = False
        for ep in self._ports.values():
            while ep is not None:
                if ep.blocked:
                    ep.blocked = False
                    if ep.waker is not None:
                        ep.waker.wake(ep)
                ep = ep.next

    # In.

    def on_packet(self, h, f, now):
        u = self._hdr
        if not u.parse(f):
            self.stats.drop(u.why)
            return
        if u.checksum and not f.csum_ok:
            n = f.end - f.off + 8
            if _sum(f.buf, f.off - 8, n, h.pseudo(n)) != 0xFFFF:
                self.stats.drop("udp.checksum")
                return
        ep = self._ports.get(u.dst_port)
        port = u.src_port
        if ep is not None and ep.next is None and ep.matches(h, port):
            ep.deliver(h, f, port)
        elif ep is None or not self._share(ep, h, f, port):
            self.stats.drop("udp.no_port")
            f.off -= 8
            self.ip.icmp.send_unreachable(h, f, 3, now)

    def _share(self, ep, h, f, port):
        """Give the datagram to the endpoint that matches best; a broadcast to all that match."""
        best = None
        worth = -1
        while ep is not None:
            after = ep.next
            if ep.matches(h, port):
                if h.kind != UNICAST:
                    ep.deliver(h, f, port)
                    worth = 0
                else:
                    w = (4 if ep.remote_addr else 0) + (2 if ep.low == ep.high else 0)
                    if w > worth:
                        best = ep
                        worth = w
            ep = after
        if best is not None:
            best.deliver(h, f, port)
        return worth >= 0

    def on_error(self, code, h, f, now):
        """An ICMP error about a datagram that we sent: h and f are its headers."""
        if code == errors.EMSGSIZE:
            # The path knows; what follows goes in fragments (as Linux, IP_PMTUDISC_WANT).
            self.stats.count("udp.too_big")
            return
        b = f.buf
        o = f.off
        ours = b[o] << 8 | b[o + 1]
        theirs = b[o + 2] << 8 | b[o + 3]
        ep = self._ports.get(ours)
        while ep is not None:
            if ep.low <= h.src <= ep.high and (
                (ep.remote_addr == h.dst and ep.remote_port == theirs)
                or (ep.recverr and not ep.remote_addr)
            ):
                ep.report(code)
                return
            ep = ep.next
        self.stats.count("udp.error_unclaimed")

    # Out.

    def send(self, path, src_port, dst_port, buf, off, n, now):
        """Send a datagram along path. False: no room now. OSError EMSGSIZE."""
        if n + 8 + path.header > path.mtu or n + HEADROOM > self.pool.size:
            return self._send_big(path, src_port, dst_port, buf, off, n, now)
        f = self.pool.get()
        if f is None:
            return False
        o = f.off
        copy(f.buf, o, buf, off, n)
        f.end = o + n
        f.off = o = o - 8
        s = path.pseudo(17) + n + 8
        s = (s & 0xFFFF) + (s >> 16)
        if path.caps & CAP_TX_CSUM:
            wire.build(f.buf, o, src_port, dst_port, n, s)
            f.csum_start = o
            f.csum_offset = 6
        else:
            wire.build(f.buf, o, src_port, dst_port, n, 0)
            c = _sum(f.buf, o, n + 8, s) ^ 0xFFFF
            # "If the computed checksum is zero, it is transmitted as all ones."
            f.buf[o + 6] = c >> 8 if c else 0xFF
            f.buf[o + 7] = c & 0xFF if c else 0xFF
        if path.output(f, 17, now):
            return True
        f.release()
        return False

    def _send_big(self, path, src_port, dst_port, buf, off, n, now):
        """A datagram in fragments, put together in a buffer first: the caller keeps its own."""
        if n > wire.MAX_PAYLOAD:
            raise OSError(errors.EMSGSIZE)
        whole = self._alloc(n + 8)
        if whole is None:
            return False
        copy(whole, 8, buf, off, n)
        wire.build(whole, 0, src_port, dst_port, n, 0)
        s = path.pseudo(17) + n + 8
        s = (s & 0xFFFF) + (s >> 16)
        c = _sum(whole, 0, n + 8, s) ^ 0xFFFF or 0xFFFF
        whole[6] = c >> 8
        whole[7] = c & 0xFF
        ok = path.fragment(whole, 0, n + 8, 17, now)
        self.buffers.free(whole)
        return ok

    def _alloc(self, n):
        try:
            return self.buffers.alloc(n)
        except MemoryError:
            return None
