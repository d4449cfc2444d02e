"""IPv4: what comes in is checked and given to its protocol, what goes out finds its way.

RFC 791; RFC 1122, section 3.2.1 (martians, options, TTL, broadcasts); RFC 1812, section
5.3.7 (martian filtering); RFC 6864 (identification).

A destination that is one of our addresses is accepted on whatever interface it comes in
(the weak end system model of RFC 1122, section 3.3.4.2, as Linux has it).

RFC 1191 (path MTU discovery: DF is set on all that fits the path, what does not is cut).

Not implemented: forwarding, sending options; a path MTU below 552, where DF stays set.
"""

from micropython import const

from stack.core import be, checksum, errors
from stack.core.frame import HEADROOM
from stack.core.mem import copy
from stack.link.neighbors import Neighbor, permanent
from stack.net import addr as _addr
from stack.net.addr6 import V6
from stack.net.pmtu import PathMtu
from stack.net.reassembly import Reassembly
from stack.wire import ethernet
from stack.wire import ipv4 as wire

UNICAST = const(1)
BROADCAST = const(2)
MULTICAST = const(3)

_ALL_SYSTEMS = const(0xE0000001)

_HEADERS = const(34)  # Ethernet and IPv4
_TTL = const(64)
_WORDS = const(0x4000 << 24 | 64 << 8)  # DF and TTL, as emit_from wants them
_NO_DF = const(0xFFFFFF)

# RFC 1191, section 7.1: what to try when a router names no MTU. Not below what Linux takes.
_PLATEAUS = (32000, 17914, 8166, 4352, 2002, 1492, 1006)
_MIN_PMTU = const(552)
_BASE_PMTU = const(1200)  # RFC 8899, section 5.1.2: BASE_PLPMTU

# Paths kept ready, of about 400 bytes: 100 KB. Beyond that the cache starts anew, and
# whoever holds a path goes on using it.
_MAX_PATHS = const(256)

_NOBODY = Neighbor()  # the next hop before it is looked up: never equal in `stamp`
_NOBODY.stamp = -1


class Path:
    """The way to a destination: route, next hop and the headers that every packet begins with.

    `iface`, `src`, `dst`, `mtu`, `caps`, `gso_max`; `kind` of the destination. Follows
    changes of routes and addresses by itself, except that `src` stays.

    tcp/fast.py does what `output` does over `template`, the headers of every packet, which holds
    while `neighbor.stamp` is `stamp` and `epoch` the routes'; `words` are more of the header.
    """

    __slots__ = (
        "ip", "iface", "src", "dst", "kind", "mtu", "caps", "gso_max", "epoch", "ident",
        "header", "words", "template", "_hop", "neighbor", "stamp", "_sum", "_bound",
    )  # fmt: skip

    def __init__(self, ip):
        self.ip = ip
        self.iface = None
        self.src = self.dst = self.kind = self.mtu = self.caps = self.gso_max = 0
        self.epoch = -1
        self.header = wire.HEADER_LEN
        # RFC 6864, section 4.3; where it starts is nobody's business.
        self.ident = ip.random16()
        self.words = _WORDS
        self.template = bytearray(_HEADERS + 2)
        self._hop = self.stamp = self._sum = 0
        self.neighbor = _NOBODY
        self._bound = None  # the interface, for a path that must not leave by another

    def set_ttl(self, ttl, tos=0):
        """For a private path only: the others are shared. ttl -1: the usual."""
        self.words = 0x4000 << 24 | tos << 16 | (ttl if ttl >= 0 else _TTL) << 8

    def pseudo(self, proto):
        """The folded sum of addresses and protocol: add the length, fold, and sum the datagram."""
        s = self._sum + proto
        return (s & 0xFFFF) + (s >> 16)

    def output(self, frame, proto, now):
        """Send the transport datagram in `frame`. False: ring full, the frame is still yours.

        proto: the protocol, with bits for the type of service 16 places up (ECN).
        """
        total = frame.end - frame.off + frame.data_len + 20
        if total > self.mtu and not frame.gso_size:
            return self._output_big(frame, proto, now)
        e = self.neighbor
        if (e.stamp != self.stamp or self.epoch != self.ip.routes.epoch) and not self.follow(now):
            self.ip.stats.drop("ipv4.no_route")
            frame.release()
            return True
        e = self.neighbor
        frame.off = off = frame.off - 34
        self.ident = ident = self.ident + 1 & 0xFFFF
        if frame.gso_size:  # the device numbers the segments it cuts
            self.ident = ident + 64 & 0xFFFF
        wire.emit_from(self.template, frame.buf, off, ident << 40 | self.words | proto, total)
        iface = self.iface
        if now < e.until:
            ok = iface.tx(frame)
        else:
            ok = iface.arp.output(e, frame, now)
        if ok:
            iface.tx_frames += 1
            iface.tx_bytes += total + 14
            return True
        frame.off = off + 34
        return False

    def fragment(self, buf, off, n, proto, now):
        """Send n bytes of a transport datagram in fragments. All or nothing: False, try later."""
        ip = self.ip
        if not self.follow(now):
            ip.stats.drop("ipv4.no_route")
            return True
        iface = self.iface
        # Each but the last carries a multiple of 8 bytes (RFC 791, section 3.2).
        piece = min(self.mtu - 20, ip.pool.size - HEADROOM) & ~7
        count = (n + piece - 1) // piece
        if count >= len(ip.pool.frames):
            ip.stats.drop("ipv4.too_many_fragments")
            return True
        e = self.neighbor
        if ip.pool.free <= count or iface.device.tx_space() < count:
            return False
        if now >= e.until and not iface.arp.ready(e, count, now):
            return False
        self.ident = ident = self.ident + 1 & 0xFFFF
        words = ident << 40 | self.words & _NO_DF | proto
        pos = 0
        while pos < n:
            k = min(piece, n - pos)
            f = ip.pool.get()
            copy(f.buf, f.off, buf, off + pos, k)
            f.end = f.off + k
            f.off -= 34
            frag = pos >> 3
            if pos + k < n:
                frag |= wire.MF
            wire.emit_from(self.template, f.buf, f.off, words | frag << 24, k + 20)
            if now < e.until:
                ok = iface.tx(f)
            else:
                ok = iface.arp.output(e, f, now)
            if not ok:
                f.release()
                ip.stats.drop("ipv4.ring_full")
                return True
            iface.tx_frames += 1
            iface.tx_bytes += k + 34
            pos += k
        ip.stats.count("ipv4.fragmented")
        return True

    def shrink(self, now):
        """Nothing of full size gets through, and no router says so (RFC 8899, section 4.3): send
        less for ten minutes. True if the MTU has become smaller.
        """
        if self.iface.loopback or self.mtu <= _BASE_PMTU:
            return False
        self.ip.stats.count("ipv4.black_hole")
        return self.ip.pmtu.lower(self.dst, _BASE_PMTU, now) and self.follow(now)

    def _output_big(self, frame, proto, now):
        if not self.follow(now):
            self.ip.stats.drop("ipv4.no_route")
        elif frame.data_len:
            # A segment made for a larger MTU: its maker will cut it anew.
            self.ip.stats.drop("ipv4.too_big")
        else:
            if frame.csum_start:
                _finish_checksum(frame)
            if not self.fragment(frame.buf, frame.off, frame.end - frame.off, proto, now):
                return False
        frame.release()
        return True

    def follow(self, now):
        """Bring route, next hop and headers up to date. False: there is no way any more."""
        ip = self.ip
        if self.epoch != ip.routes.epoch and not self.find(self.dst, self.src):
            return False
        e = self.neighbor
        if e is _NOBODY or (self._hop and e.addr != self._hop):
            self.neighbor = e = self.iface.arp.neighbor(self._hop, now)
        if e.stamp != self.stamp:
            wire.template(self.template, e.mac, self.iface.mac, self.src, self.dst)
            self.stamp = e.stamp
        return True

    def loop(self, path):
        """Become the way back to ourselves of what goes along `path`."""
        self.src = path.src
        self.dst = path.dst
        self.kind = path.kind
        self._use(self.ip.loopback)
        self.neighbor = self.iface.everyone
        self.words = 1 << 8

    def find(self, dst, src):
        """Look up the way to dst; src 0: choose. False when there is none from src."""
        ip = self.ip
        self.epoch = -1
        self.neighbor = _NOBODY
        self._hop = 0
        kind = UNICAST
        if dst >> 24 == 127 or ip.local.get(dst) == UNICAST:
            iface = ip.loopback
            if iface is None:
                return False
            own = dst
        else:
            route = ip.routes.lookup(dst)
            kind = ip.kind(dst)
            if kind == UNICAST:
                if route is None or not dst:
                    return False
                iface = route.iface
                self._hop = route.gateway or dst
            else:
                iface = self._bound or ip.outward(route, src)
                if iface is None:
                    return False
            own = route.src if route is not None and route.src else iface.addr
        if iface.loopback:
            self.neighbor = iface.everyone
            self._hop = 0
        elif kind == BROADCAST:
            self.neighbor = iface.everyone
        elif kind == MULTICAST:
            self.neighbor = permanent(ethernet.multicast_mac(dst))
            if self.words == _WORDS:
                self.words = 0x4000 << 24 | 1 << 8  # RFC 1112, section 6.1
        if src and not ip.is_local(src):
            return False
        if not src and not own and self._bound is None:
            return False
        self.src = src or own
        self.dst = dst
        self.kind = kind
        self._use(iface)
        return True

    def _use(self, iface):
        src = self.src
        dst = self.dst
        self.iface = iface
        self.mtu = self.ip.pmtu.get(dst, iface.mtu)
        self.caps = iface.device.caps
        self.gso_max = iface.device.gso_max
        self.stamp = 0
        self._sum = _fold((src >> 16) + (src & 0xFFFF) + (dst >> 16) + (dst & 0xFFFF))
        self.epoch = self.ip.routes.epoch


def _fold(s):
    s = (s & 0xFFFF) + (s >> 16)
    return (s & 0xFFFF) + (s >> 16)


def _finish_checksum(frame):
    """Do what the device was asked to: sum from csum_start, where the pseudo-header's sum lies."""
    start = frame.csum_start
    c = checksum.checksum(frame.buf, start, frame.end - start)
    be.put16(frame.buf, start + frame.csum_offset, c or 0xFFFF)
    frame.csum_start = 0


class Ipv4:
    """`local`: our addresses and what we answer to (address -> kind), without the loopback's."""

    def __init__(self, routes, pool, buffers, stats, timers, rng):
        self.routes = routes
        self.pool = pool
        self.stats = stats
        self.rng = rng
        self.local = {_addr.BROADCAST: BROADCAST}
        self.interfaces = []
        self.loopback = None
        self.icmp = None  # set by the host
        self.forward = None  # a Forwarder, which takes what is for others
        self.lanes = None  # TCP's Lanes, which forgets what was welcome when we do
        self.v6 = None  # the Ipv6 beside it, to which handles (addr6.V6 and above) are passed
        self.handlers = {}
        self.reassembly = Reassembly(buffers, stats, timers)
        self.pmtu = PathMtu(routes, timers)
        self._hdr = wire.Ipv4()
        self._quoted = wire.Ipv4()
        self.known_src = self.known_dst = -1  # of the last packet that was welcome, both unicast
        self._paths = {}
        self.last_reply = Path(self)

    def random16(self):
        r = self.rng(2)
        return r[0] << 8 | r[1]

    def register(self, proto, handler):
        """Give protocol number `proto` to handler: on_packet(header, frame, now), on_error(...).

        Of both families, but for ICMP, which are two.
        """
        self.handlers[proto] = handler
        if self.v6 is not None and proto != wire.PROTO_ICMP:
            self.v6.register(proto, handler)

    # In.

    def on_frame(self, f, iface, now):
        """A frame of type IPv4, at its payload."""
        h = self._hdr
        if not h.parse(f):
            self.stats.drop(h.why)
            return
        h.iface = iface
        if self.forward is not None and self.forward.take(h, f, iface, now):
            return
        # A packet like the one before, from and to the same address, is as welcome as it was.
        if iface.to_group or h.src != self.known_src or h.dst != self.known_dst:
            h.kind = UNICAST
            if not iface.loopback:
                if not self._welcome(h, iface):
                    return
            elif h.dst >> 24 != 127:
                h.kind = self.local.get(h.dst, UNICAST)  # our own to a group, come back
        if f.off - h.start > 20:
            why = h.bad_options(f.buf)
            if why is not None:
                self.stats.drop(why)
                return
        if h.frag & 0x3FFF:
            self._on_fragment(h, f, now)
            return
        handler = self.handlers.get(h.proto)
        if handler is None:
            self.stats.drop("ipv4.protocol")
            self.icmp.send_unreachable(h, f, 2, now)
            return
        handler.on_packet(h, f, now)

    def _welcome(self, h, iface):
        """Is the packet for us, and from an address that can be? Sets its kind."""
        src = h.src
        local = self.local
        kind = local.get(h.dst)
        if kind is None:
            self.stats.drop("ipv4.not_ours")
            return False
        # RFC 1122, section 3.2.1.3: never a source: broadcast, group, loopback, our own.
        # 0.0.0.0 is for hosts that have no address yet, and they broadcast.
        top = src >> 24
        if (top >= 224 or top == 127 or top == 0 or src in local) and (src or kind != BROADCAST):
            self.stats.drop("ipv4.martian")
            return False
        # RFC 1122, section 3.3.6: a link-layer broadcast is for IP broadcasts and groups only.
        if iface.to_group and kind == UNICAST:
            self.stats.drop("ipv4.link_broadcast")
            return False
        h.kind = kind
        if kind == UNICAST:
            self.known_src = src
            self.known_dst = h.dst
        else:
            self.known_src = -1
        return True

    def _forget(self):
        """What is welcome may have changed."""
        self.known_src = -1
        if self.lanes is not None:
            self.lanes.forget()

    def _on_fragment(self, h, f, now):
        f = self.reassembly.add(h, f, now)
        if f is None:
            return
        handler = self.handlers.get(h.proto)
        if handler is None:
            self.stats.drop("ipv4.protocol")
            self.icmp.send_unreachable(h, f, 2, now)
        else:
            handler.on_packet(h, f, now)
        self.reassembly.done()

    # Errors about what we sent.

    def on_quoted(self, code, f, mtu, now):
        """An ICMP error quotes a packet at f.off: tell its protocol. False if it is not ours."""
        h = self._quoted
        if not h.parse_quoted(f) or f.end - f.off < 8 or not self.is_local(h.src):
            return False
        # Only the first fragment has the ports.
        if h.frag & 0x1FFF:
            return False
        if code == errors.EMSGSIZE:
            mtu = self._on_too_big(h, mtu, now)
            if not mtu:
                return False
        h.mtu = mtu
        handler = self.handlers.get(h.proto)
        if handler is None:
            return False
        handler.on_error(code, h, f, now)
        return True

    def _on_too_big(self, h, mtu, now):
        """RFC 1191, sections 5 and 6.3: the new MTU of the path to h.dst. 0: not believed."""
        size = be.get16(h.buf, h.start + 2)
        # Only about a path that we use, and a packet larger than what is said to fit.
        if h.dst not in self._paths or mtu >= size:
            return 0
        if mtu < 68:
            mtu = _MIN_PMTU
            for plateau in _PLATEAUS:
                if plateau < size:
                    mtu = plateau
                    break
        if mtu < _MIN_PMTU:
            mtu = _MIN_PMTU
        self.pmtu.lower(h.dst, mtu, now)
        return mtu

    def on_unresolved(self, f, now):
        """The neighbour of a frame does not answer; f is at its Ethernet header."""
        if self.forward is not None and self.forward.on_unresolved(f, now):
            return
        off = f.off
        f.off += 14
        self.on_quoted(errors.EHOSTUNREACH, f, 0, now)
        f.off = off

    # Out.

    def path(self, dst, src=0):
        """The Path to dst, from src if given. None: no route, or src is not ours."""
        if dst >= V6:
            return self.v6.path(dst, src)
        p = self._paths.get(dst)
        if p is not None and p.epoch == self.routes.epoch and (not src or p.src == src):
            return p
        p = Path(self)
        if not p.find(dst, src):
            return None
        if not src or src == p.iface.addr:
            if len(self._paths) >= _MAX_PATHS:
                self._paths.clear()
            self._paths[dst] = p
        return p

    def private_path(self, dst, src=0, iface=None):
        """A Path of one's own, whose TTL may be set; iface: where it leaves, for groups."""
        if dst >= V6:
            return self.v6.private_path(dst, src, iface)
        p = Path(self)
        p._bound = iface
        return p if p.find(dst, src) else None

    def loop_path(self, path):
        """The way of a copy for ourselves of what goes along `path` to a group; good for now."""
        p = Path(self)
        p.loop(path)
        return p

    def broadcast_path(self, iface):
        """The Path to 255.255.255.255 out of iface, which need not have an address."""
        p = Path(self)
        p._bound = iface
        p.find(_addr.BROADCAST, 0)
        return p

    def reply(self, h):
        """The way back to the sender of h, from the address it asked for.

        Valid until the next call: for answers without a connection; allocates nothing.
        None: no way.
        """
        if h.src >= V6:
            return self.v6.reply(h)
        p = self.last_reply
        src = h.dst if h.kind == UNICAST else 0
        if p.dst == h.src and p.epoch == self.routes.epoch and p.src == src:
            return p
        return p if p.find(h.src, src) else None

    def outward(self, route, src):
        """The interface for a broadcast or a group: of the route, of src, or the first up."""
        if route is not None:
            return route.iface
        first = None
        for iface in self.interfaces:
            if not iface.loopback and iface.up and iface.addr:
                if src == iface.addr:
                    return iface
                first = first or iface
        return first

    # Addresses.

    def kind(self, addr):
        """UNICAST, BROADCAST (also of a subnet of ours) or MULTICAST."""
        if addr >= V6:
            return self.v6.kind(addr)
        if addr >> 28 == 14:
            return MULTICAST
        return BROADCAST if self.local.get(addr) == BROADCAST else UNICAST

    def is_local(self, addr):
        """True if we may send from addr."""
        if addr >= V6:
            return self.v6.is_local(addr)
        return addr >> 24 == 127 or self.local.get(addr) == UNICAST

    def join(self, group):
        """Receive packets to a group; the interface's link has to listen too."""
        self._forget()
        self.local[group] = MULTICAST

    def leave(self, group):
        if self.local.get(group) == MULTICAST:
            del self.local[group]

    def join_on(self, iface, group, now):
        """Receive packets to a group that come in on iface, and say so (IGMP). OSError ENOBUFS."""
        new = iface.igmp.join(group, group, now)
        if new is None:
            raise OSError(errors.ENOBUFS)
        if new:
            iface.link.join(ethernet.multicast_mac(group))
            self.join(group)

    def leave_on(self, iface, group, now):
        if iface.igmp.leave(group, now):
            iface.link.leave(ethernet.multicast_mac(group))
            for other in self.interfaces:
                if group in other.igmp.members:
                    return
            self.leave(group)

    def add_address(self, iface, addr, prefix):
        """`addr` is ours, and so is what reaches its subnet. ValueError if it cannot be."""
        if not _addr.usable(addr) and not iface.loopback:
            raise ValueError("not a host address: %s" % _addr.format(addr))
        network = addr & _addr.mask(prefix)
        self._forget()
        iface.addr = addr
        iface.prefix = prefix
        if not iface.loopback:
            self.local[addr] = UNICAST
            if prefix < 31:  # RFC 3021: a /31 has no broadcast
                self.local[network | ~_addr.mask(prefix) & 0xFFFFFFFF] = BROADCAST
            # RFC 1112, section 7.2: "all hosts" is joined for good, and never reported.
            if _ALL_SYSTEMS not in iface.igmp.members:
                self.join_on(iface, _ALL_SYSTEMS, 0)
        self.routes.add(network, prefix, 0, iface, 0, "link")
        self.routes.changed()

    def remove_address(self, iface, now):
        """Forget the address of iface and the routes that came with it."""
        if not iface.addr:
            return
        self._forget()
        broadcast = iface.addr | ~_addr.mask(iface.prefix) & 0xFFFFFFFF
        self.local.pop(iface.addr, None)
        if iface.prefix < 31 and broadcast != _addr.BROADCAST:
            self.local.pop(broadcast, None)
        if _ALL_SYSTEMS in iface.igmp.members:
            self.leave_on(iface, _ALL_SYSTEMS, now)
        iface.addr = iface.prefix = 0
        self.routes.remove_iface(iface)
        self.routes.changed()
        self._paths.clear()
        iface.arp.clear(now)

