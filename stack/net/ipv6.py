"""IPv6: what comes in is checked and given to its protocol; addresses, groups and paths.

RFC 8200; RFC 4291, section 2 (which addresses are ours to receive); RFC 4007 (zones);
RFC 8504. Like IPv4 the weak end system model: an address of ours is accepted on every
interface, except link-local ones, which belong to their link.

A packet like the one before it, from and to the same addresses, is as welcome as that
was: one comparison of 32 bytes stands for the filters, and no handle is looked up.

Packets for others go to net/forward6.py, if this is a router.

Not implemented: jumbograms, anycast.
"""

from micropython import const

from stack.core import checksum, errors
from stack.core.mem import copy
from stack.net import addr6
from stack.net.addr6 import Addresses
from stack.net.path6 import MULTICAST, UNICAST, Path6
from stack.net.reassembly6 import Reassembly6
from stack.net.route6 import Routes6
from stack.net.slaac import PREFERRED, Address6
from stack.wire import ipv6 as wire

_MAX_PATHS = const(256)  # of about 500 bytes: 128 KB; beyond that the cache starts anew
_MAX_REDIRECTS = const(64)  # the destination cache that redirects fill; beyond: anew


class _Redirect:
    def __init__(self, gateway, gateway_raw, iface):
        self.gateway = gateway
        self.gateway_raw = gateway_raw
        self.iface = iface


class Ipv6:
    """`epochs`: IPv4's routes, whose epoch Paths of both families compare.

    `local`: handles of what we receive -> UNICAST or MULTICAST; `own`: our Address6s in use.
    """

    def __init__(self, epochs, pool, buffers, stats, timers, rng, pmtu):
        self.epochs = epochs
        self.pool = pool
        self.stats = stats
        self.rng = rng
        self.pmtu = pmtu
        self.addresses = Addresses(rng)
        self.routes = Routes6(epochs, self.addresses)
        self.local = {}
        self.own = []
        self.temporary = True
        self.interfaces = ()
        self.loopback = None
        self.icmp = None
        self.forward = None  # a Forwarder6, which takes what is for others
        self.handlers = {}
        self.reassembly = Reassembly6(buffers, stats, timers)
        self._hdr = wire.Ipv6()
        self._quoted = wire.Ipv6()
        self._last = bytearray(32)
        self._last_iface = None
        self._src = self._dst = self._sum = 0
        self._paths = {}
        self._reply = Path6(self)
        self._redirects = {}
        self._solicited = bytearray(addr6.solicited_node(bytes(16)))
        self._source = bytearray(16)

    def random16(self):
        r = self.rng(2)
        return r[0] << 8 | r[1]

    def register(self, proto, handler):
        self.handlers[proto] = handler

    # In.

    def on_frame(self, f, iface, now):
        """A frame of type IPv6, at its payload."""
        h = self._hdr
        if not h.parse(f):
            self.stats.drop(h.why)
            return
        h.iface = iface
        if (
            iface is self._last_iface
            and not iface.to_group
            and wire.same_addresses(h.buf, h.start + 8, self._last)
        ):
            h.src = self._src
            h.dst = self._dst
            h.sum = self._sum
            h.kind = UNICAST
        elif not self._welcome(h, f, iface, now):
            return
        handler = self.handlers.get(h.proto)
        if handler is None:
            self._extended(h, f, now)
        else:
            handler.on_packet(h, f, now)

    def _welcome(self, h, f, iface, now):
        """Is the packet for us, and from an address that can be? Sets src, dst, kind, sum."""
        b = h.buf
        o = h.start + 8
        stats = self.stats
        zone = 0 if iface.loopback else iface.index
        dst = self.addresses.number(b, o + 16, zone)
        kind = self.local.get(dst)
        if kind is None:
            if self.forward is not None:
                self.forward.take(h, f, iface, dst, now)
            else:
                stats.drop("ipv6.not_ours")
            return False
        if not iface.loopback:
            # RFC 4291: a group is never a source (2.7), ::1 never on a wire (2.5.3); mapped
            # addresses would pass for IPv4 peers in a program.
            first = b[o]
            if (
                first == 0xFF
                or addr6.is_loopback(b, o)
                or addr6.is_loopback(b, o + 16)
                or addr6.is_mapped(b, o)
                or addr6.is_mapped(b, o + 16)
            ):
                stats.drop("ipv6.martian")
                return False
            if addr6.is_unspecified(b, o) and h.proto not in (
                wire.PROTO_ICMP6, wire.HOP_BY_HOP
            ):  # fmt: skip
                stats.drop("ipv6.martian")
                return False
            if iface.to_group and kind == UNICAST:
                stats.drop("ipv6.link_group")
                return False
        src = self.addresses.handle(b, o, zone)
        if src < 0:
            stats.drop("ipv6.handle")
            return False
        if not iface.loopback and self.local.get(src) == UNICAST:
            stats.drop("ipv6.martian")
            return False
        h.src = src
        h.dst = dst
        h.kind = kind
        h.sum = sum_ = checksum.add(b, o, 32, 0)
        if kind == UNICAST:
            copy(self._last, 0, b, o, 32)
            self._src = src
            self._dst = dst
            self._sum = sum_
            self._last_iface = iface
        else:
            self._last_iface = None
        return True

    def _extended(self, h, f, now):
        """The next header is no protocol of ours: extension headers, or unknown."""
        if h.needs_walk():
            if not self._walk(h, f, now):
                return
            if h.frag:
                self._on_fragment(h, f, now)
                return
        else:
            h.pointer = 6
        self._deliver(h, f, now)

    def _deliver(self, h, f, now):
        handler = self.handlers.get(h.proto)
        if handler is not None:
            handler.on_packet(h, f, now)
            return
        self.stats.drop("ipv6.protocol")
        # RFC 8200, section 4: "discard the packet and send an ICMP Parameter Problem".
        h.code = wire.UNRECOGNIZED_HEADER
        self.icmp.send_problem(h, f, now)

    def _walk(self, h, f, now):
        """Pass the extension headers; False: it was dropped, and its sender told if that is due."""
        said = h.walk(f)
        if said == wire.OK:
            return True
        self.stats.drop(h.why)
        if said == wire.PROBLEM or (said == wire.PROBLEM_UNICAST and h.kind == UNICAST):
            self.icmp.send_problem(h, f, now)
        return False

    def _on_fragment(self, h, f, now):
        if h.src == addr6.ANY:
            self.stats.drop("ipv6.martian")
            return
        n = f.end - f.off
        if h.frag & wire.MF and n & 7:
            # RFC 8200, section 4.5: "Code 0, pointing to the Payload Length field".
            self.stats.drop("reassembly.length")
            h.code = wire.ERRONEOUS_FIELD
            h.pointer = 4
            self.icmp.send_problem(h, f, now)
            return
        if not h.frag & wire.OFFSET_MASK and not self._whole_chain(h, f):
            # RFC 7112, section 5: the first fragment has all of the headers.
            self.stats.drop("ipv6.chain")
            h.code = wire.INCOMPLETE_CHAIN
            h.pointer = 0
            self.icmp.send_problem(h, f, now)
            return
        f = self.reassembly.add(h, f, now)
        if f is None:
            return
        # What it carries may have further extension headers, but no second fragment.
        if h.needs_walk():
            if h.proto == wire.FRAGMENT or not self._walk(h, f, now) or h.frag:
                self.stats.drop("ipv6.nested")
                self.reassembly.done()
                return
        self._deliver(h, f, now)
        self.reassembly.done()

    def _whole_chain(self, h, f):
        """True if the headers of a first fragment go up to the transport's, of 8 bytes at least."""
        off = f.off
        at = h.at
        proto = h.proto
        frag = h.frag
        ok = f.end - off >= 8
        if ok and h.needs_walk():
            ok = h.walk(f) == wire.OK and f.end - f.off >= 8
        f.off = off
        h.at = at
        h.proto = proto
        h.frag = frag
        return ok

    def source_bytes(self, h):
        """The 16 bytes of the sender of h as they are stored, in a reused buffer."""
        s = self._source
        copy(s, 0, h.buf, h.start + 8, 16)
        if addr6.is_link_local(s) and not h.iface.loopback:
            s[2] = h.iface.index >> 8
            s[3] = h.iface.index & 0xFF
        return s

    # Errors about what we sent.

    def on_quoted(self, code, f, mtu, now):
        """An ICMPv6 error quotes a packet at f.off: tell its protocol. False if it is not ours."""
        h = self._quoted
        if not h.parse_quoted(f):
            return False
        zone = h.iface.index if h.iface is not None and not h.iface.loopback else 0
        b = h.buf
        src = self.addresses.number(b, h.start + 8, zone)
        if self.local.get(src) != UNICAST:
            return False
        dst = self.addresses.handle(b, h.start + 24, zone)
        h.src = src
        h.dst = dst
        if h.needs_walk() and (h.walk(f) != wire.OK or h.frag & wire.OFFSET_MASK):
            return False
        h.frag = 0
        if f.end - f.off < 8:
            return False
        if code == errors.EMSGSIZE:
            # RFC 8201, section 4: only about a path that we use, never below 1,280.
            if dst not in self._paths:
                return False
            mtu = max(mtu, wire.MIN_MTU)
            self.pmtu.lower(dst, mtu, now)
        h.mtu = mtu
        handler = self.handlers.get(h.proto)
        if handler is None:
            return False
        handler.on_error(code, h, f, now)
        return True

    def quoted_on(self, iface):
        """The interface that the next on_quoted's error came in by."""
        self._quoted.iface = iface

    def on_unresolved(self, f, now):
        """The neighbour of a frame does not answer; f is at its Ethernet header."""
        if self.forward is not None and self.forward.on_unresolved(f, now):
            return
        off = f.off
        f.off += 14
        self.quoted_on(None)
        self.on_quoted(errors.EHOSTUNREACH, f, 0, now)
        f.off = off

    # Out.

    def path(self, dst, src=0):
        """The Path6 to the handle dst, from src if given. None: no way, or src is not ours."""
        p = self._paths.get(dst)
        if p is not None and p.epoch == self.epochs.epoch and (not src or p.src == src):
            return p
        p = Path6(self)
        if not p.find(dst, src):
            return None
        if len(self._paths) >= _MAX_PATHS:
            self._paths.clear()
        held = self._paths.get(dst)
        if held is None or held.epoch != self.epochs.epoch or not src:
            self._paths[dst] = p
        return p

    def private_path(self, dst, src=0, iface=None):
        """A Path6 of one's own, whose hop limit may be set; iface: for groups."""
        p = Path6(self)
        p._bound = iface
        return p if p.find(dst, src) else None

    def loop_path(self, path):
        """The way of a copy for ourselves of what goes along `path` to a group; good for now."""
        p = Path6(self)
        p.loop(path)
        return p

    def reply(self, h):
        """The way back to the sender of h. Valid until the next call; allocates nothing."""
        p = self._reply
        src = h.dst if h.kind == UNICAST else 0
        if p.dst == h.src and p.epoch == self.epochs.epoch and (not src or p.src == src):
            return p
        return p if p.find(h.src, src) else None

    def outward(self, raw, src):
        """The interface for a group: by its zone, by the source, or the first with addresses."""
        found = self.zone(addr6.zone(raw)) if addr6.zone(raw) else None
        if found is not None:
            return found
        for iface in self.interfaces:
            if not iface.loopback and iface.up and iface.auto.link_local() is not None:
                if not src or iface.auto.find(src) is not None:
                    return iface
        return None

    def zone(self, index):
        """The interface of an index that is up, or None."""
        for iface in self.interfaces:
            if iface.index == index:
                return iface if iface.up else None
        return None

    def candidates(self, iface, dst):
        """Addresses that may be the source to dst out of iface (RFC 6724, section 4)."""
        return iface.auto.addresses or self.own

    # Redirects.

    def redirected(self, dst):
        return self._redirects.get(dst) if self._redirects else None

    def redirect(self, iface, router, dst, target, now):
        """RFC 4861, section 8.1: only the present first hop may redirect. True if it was taken."""
        p = self._paths.get(dst)
        if p is None or p._hop != router or p.iface is not iface:
            return False
        if len(self._redirects) >= _MAX_REDIRECTS:
            self._redirects.clear()
        raw = self.addresses.bytes(target)
        if raw is None:
            return False
        self._redirects[dst] = _Redirect(target, raw, iface)
        self.epochs.changed()
        return True

    # Addresses and groups.

    def add_loopback(self, iface):
        """::1 is ours (RFC 4291, section 2.5.3)."""
        self.loopback = iface
        addr = self.addresses.keep(addr6.LOOPBACK)
        a = Address6(addr6.LOOPBACK, addr, 128, iface, "static")
        a.state = PREFERRED
        iface.auto.addresses.append(a)
        self.local[addr] = UNICAST

    def kind(self, addr):
        """UNICAST, or MULTICAST."""
        raw = self.addresses.bytes(addr)
        return MULTICAST if raw is not None and raw[0] == 0xFF else UNICAST

    def is_local(self, addr):
        """True if we may send from addr."""
        return self.local.get(addr) == UNICAST

    def use_address(self, a):
        """An Address6 has become usable."""
        self.local[a.addr] = UNICAST
        if a not in self.own:
            self.own.append(a)
        self._changed()

    def forget_address(self, a):
        if self.local.get(a.addr) == UNICAST:
            del self.local[a.addr]
        if a in self.own:
            self.own.remove(a)
        self._changed()

    def _changed(self):
        self._last_iface = None
        self._redirects.clear()
        self._paths.clear()
        self.epochs.changed()

    def join(self, iface, raw, now):
        """Receive packets to a group (16 bytes) on iface. OSError ENOBUFS."""
        key = self.addresses.keep(raw, iface.index)
        new = iface.mld.join(key, bytes(raw), now)
        if new is None:
            raise OSError(errors.ENOBUFS)
        if new:
            iface.link.join(addr6.multicast_mac(raw))
            self.local[key] = MULTICAST
            self._last_iface = None
        return key

    def leave(self, iface, raw, now):
        key = self.addresses.number(raw, 0, iface.index)
        if iface.mld.leave(key, now):
            iface.link.leave(addr6.multicast_mac(raw))
            for other in self.interfaces:
                if key in other.mld.members:
                    return
            if self.local.get(key) == MULTICAST:
                del self.local[key]
            self.addresses.release(key)

    def solicited_node(self, raw):
        """The solicited-node group of an address, in a reused buffer."""
        copy(self._solicited, 13, raw, 13, 3)
        return self._solicited
