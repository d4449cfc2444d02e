"""Forwarding of IPv4: packets for others go on towards their destination.

RFC 1812: 4.2.2.9 and 5.3.1 (TTL), 5.2.7 (ICMP errors), 5.3.4 (link-layer broadcasts), 5.3.7
(martians), 5.3.8 (source address validation: RFC 3704's strict reverse path); RFC 791, 3.2
(fragments); RFC 1191, section 4 (the MTU told); RFC 1624 (incremental checksums); RFC 3927,
section 7 (link-local stays on its link). Addresses are translated by net/nat.py, if there is one.

Devices must be started plain (`forward=1`): a frame that left its checksum or its cutting to
the device it came from cannot go out by another.

IPv6's is net/forward6.py.

Not implemented: groups, redirects, options in what must be cut (dropped), quality of service.
"""

from micropython import const

from stack.core import be
from stack.core.frame import HEADROOM
from stack.core.mem import copy
from stack.wire import ethernet, icmp4
from stack.wire import ipv4 as wire

_UNICAST = const(1)
_ETHERNET = const(14)


class Forwarder:
    """Takes from `ip` what is for others. `packets`, `bytes`: sent on; drops are in stats.

    nat: a net.nat.Nat, or None. strict: drop what comes from where its source does not lie.
    """

    def __init__(self, ip, icmp, pool, stats):
        self.ip = ip
        self.icmp = icmp
        self.pool = pool
        self.stats = stats
        self.nat = None
        self.six = None  # the Forwarder6 beside this one
        self.strict = True
        self.packets = self.bytes = self.fragmented = 0
        self._epoch = -1
        self._dst = self._src = -1  # looked up last, with
        self._route = self._back = None
        ip.forward = self

    def take(self, h, f, iface, now):
        """Deal with a packet, header parsed, f at its payload. False: it is for this host."""
        if iface.loopback or not iface.addr:
            return False
        epoch = self.ip.routes.epoch
        if self._epoch != epoch:
            self._epoch = epoch
            self._dst = self._src = -1
        nat = self.nat
        m = None
        dst = h.dst
        local = self.ip.local.get(dst)
        if local is not None or dst >> 28 == 14:
            if nat is None or local != _UNICAST or dst != nat.iface.addr:
                return False
            m = nat.incoming(h, f, now)
            if m is None:
                return False
            if m is nat.REFUSED:
                return True
            dst = m.addr
        if not self._may_pass(h, f, iface):
            return True
        # "A router MUST NOT forward a packet whose TTL is or becomes zero", 4.2.2.9.
        if h.buf[h.start + 8] < 2:
            self.stats.drop("forward.ttl")
            self._tell(icmp4.TIME_EXCEEDED, icmp4.TTL_EXCEEDED, h, f, 0, now)
            return True
        route = self._lookup(dst)
        if route is None:
            self.stats.drop("forward.no_route")
            self._tell(icmp4.UNREACHABLE, icmp4.NET_UNREACHABLE, h, f, 0, now)
            return True
        out = route.iface
        mtu = min(out.mtu, self.pool.size - HEADROOM)
        if f.end - h.start > mtu and h.frag & wire.DF:
            self.stats.drop("forward.too_big")
            self._tell(icmp4.UNREACHABLE, icmp4.FRAG_NEEDED, h, f, mtu, now)
            return True
        if nat is not None:
            # A packet from inside to our outside address turns at the door: both are translated.
            if iface is not nat.iface and (m is not None or out is nat.iface):
                if not nat.outbound(h, f, now):
                    return True
            if m is not None:
                nat.inbound(h, f, m, now)
        self._send(h, f, out, route.gateway or dst, mtu, now)
        return True

    def on_unresolved(self, f, now):
        """A neighbour does not answer; f is at its Ethernet header. False: the packet was ours."""
        h = self.ip._quoted
        off = f.off
        f.off += _ETHERNET
        forwarded = h.parse_quoted(f) and f.end - f.off >= 8
        if forwarded and self.ip.is_local(h.src):
            forwarded = self.nat is not None and self.nat.undo(h, f, now)
        if forwarded:
            h.kind = _UNICAST
            self.stats.drop("forward.unresolved")
            self._tell(icmp4.UNREACHABLE, icmp4.HOST_UNREACHABLE, h, f, 0, now)
        f.off = off
        return forwarded

    # Which.

    def _may_pass(self, h, f, iface):
        src = h.src
        dst = h.dst
        if iface.to_group:
            self.stats.drop("forward.link_broadcast")
            return False
        if f.off - h.start > 20:
            why = h.bad_options(f.buf)
            if why is not None:
                self.stats.drop(why)
                return False
        if not _passable(src) or not _passable(dst) or src in self.ip.local:
            self.stats.drop("forward.martian")
            return False
        if self.strict:
            back = self._lookup_source(src)
            if back is None or back.iface is not iface:
                self.stats.drop("forward.spoofed")
                return False
        return True

    def _lookup(self, dst):
        if dst != self._dst:
            self._route = self.ip.routes.lookup(dst)
            self._dst = dst
        return self._route

    def _lookup_source(self, src):
        if src != self._src:
            self._back = self.ip.routes.lookup(src)
            self._src = src
        return self._back

    # On.

    def _send(self, h, f, out, hop, mtu, now):
        n = f.end - h.start
        if n > mtu:
            self._fragment(h, f, out, hop, mtu, now)
            return
        r = self.pool.get()
        if r is None:
            self.stats.drop("forward.no_room")
            return
        copy(r.buf, r.off, f.buf, h.start, n)
        r.end = r.off + n
        wire.age(r.buf, r.off)
        self._emit(r, out, hop, n, now)

    def _emit(self, r, out, hop, n, now):
        e = out.arp.neighbor(hop, now)
        r.off -= _ETHERNET
        ethernet.build(r.buf, r.off, e.mac, out.mac, ethernet.TYPE_IPV4)
        if out.tx(r) if now < e.until else out.arp.output(e, r, now):
            out.tx_frames += 1
            out.tx_bytes += n + _ETHERNET
            self.packets += 1
            self.bytes += n
        else:
            r.release()
            self.stats.drop("forward.ring_full")

    def _fragment(self, h, f, out, hop, mtu, now):
        """RFC 791, section 3.2. What is cut may be a fragment itself."""
        buf = f.buf
        start = h.start
        if f.off - start > 20:
            self.stats.drop("forward.options")
            return
        piece = (mtu - 20) & ~7
        pos = f.off
        frag = h.frag & (wire.MF | wire.OFFSET_MASK)
        while pos < f.end:
            k = min(piece, f.end - pos)
            r = self.pool.get()
            if r is None:
                self.stats.drop("forward.no_room")
                return
            o = r.off
            copy(r.buf, o, buf, start, 20)
            copy(r.buf, o + 20, buf, pos, k)
            r.end = o + 20 + k
            more = wire.MF if pos + k < f.end else frag & wire.MF
            be.put16(r.buf, o + 2, 20 + k)
            be.put16(r.buf, o + 6, more | frag & wire.OFFSET_MASK)
            r.buf[o + 8] -= 1
            wire.seal(r.buf, o)
            self._emit(r, out, hop, 20 + k, now)
            pos += k
            frag += k >> 3
        self.fragmented += 1

    def _tell(self, kind, code, h, f, rest, now):
        h.kind = _UNICAST
        path = self.ip.path(h.src)
        if path is not None:
            self.icmp.send_error(kind, code, rest, h, f, path, now)

    def info(self):
        """Counters, and the translations under way, as a dict."""
        out = {"packets": self.packets, "bytes": self.bytes, "fragmented": self.fragmented}
        if self.nat is not None:
            out["nat"] = self.nat.info()
        if self.six is not None:
            out["ip6"] = self.six.info()
        return out


def _passable(a):
    """Whether an address may be in a packet that is forwarded. 5.3.7; RFC 3927, section 7."""
    top = a >> 24
    return 0 < top < 224 and top != 127 and a >> 16 != 0xA9FE
