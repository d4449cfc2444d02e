"""Forwarding of IPv6: packets for others go on towards their destination, as they are.

RFC 8200, section 3 (hop limit), 4 (what lies behind the header is read at the destination only),
5 (only the sender cuts); RFC 4443, 3.1 to 3.3 (errors); RFC 4007, section 9 (scopes); RFC 4291,
2.5.2, 2.5.3, 2.7 (what never passes); RFC 3704 (strict reverse path).

Devices must be started plain, as for IPv4 (net/forward.py).

Not implemented: router advertisements (hosts have their addresses and their router by hand or
from another), groups, redirects, the subnet-router anycast address, options hop by hop (passed
unread), filters and NPTv6: what has a route passes, from outside as well.
"""

from micropython import const

from stack.core.frame import HEADROOM
from stack.core.mem import copy
from stack.net import addr6
from stack.wire import ethernet, icmp6
from stack.wire import ipv6 as wire

_UNICAST = const(1)
_ETHERNET = const(14)
_BEYOND_SCOPE = const(2)


class Forwarder6:
    """Takes from `ip` what is for others. `packets`, `bytes`: sent on; drops are in stats.

    strict: drop what comes from where its source does not lie.
    """

    def __init__(self, ip, icmp, pool, stats):
        self.ip = ip
        self.icmp = icmp
        self.pool = pool
        self.stats = stats
        self.strict = True
        self.packets = self.bytes = 0
        ip.forward = self

    def take(self, h, f, iface, dst, now):
        """Deal with a packet whose destination, of handle dst, is not ours; f at its payload."""
        b = h.buf
        o = h.start + 8
        if iface.loopback or b[o + 16] == 0xFF:
            self.stats.drop("ipv6.not_ours")
            return
        if not self._may_pass(b, o, iface):
            return
        if addr6.is_link_local(b, o):
            self.stats.drop("forward6.scope")
            self._tell(icmp6.UNREACHABLE, _BEYOND_SCOPE, h, f, 0, now)
            return
        # "If [...] the Hop Limit is zero or is decremented to zero, the packet is discarded".
        if b[h.start + 7] < 2:
            self.stats.drop("forward6.hops")
            self._tell(icmp6.TIME_EXCEEDED, icmp6.HOPS_EXCEEDED, h, f, 0, now)
            return
        route = self.ip.routes.lookup(b, o + 16)
        if route is None or route.iface.loopback:
            self.stats.drop("forward6.no_route")
            self._tell(icmp6.UNREACHABLE, icmp6.NO_ROUTE, h, f, 0, now)
            return
        out = route.iface
        mtu = min(out.mtu6 or out.mtu, self.pool.size - HEADROOM)
        if f.end - h.start > mtu:
            self.stats.drop("forward6.too_big")
            self._tell(icmp6.TOO_BIG, 0, h, f, mtu, now)
            return
        if route.gateway:
            e = out.nd.neighbor6(route.gateway, route.gateway_raw, now)
        else:
            e = out.nd.neighbor6(dst, b, now, o + 16)
        if e is not None:
            self._send(b, h.start, f.end - h.start, out, e, now)

    def on_unresolved(self, f, now):
        """A neighbour does not answer; f is at its Ethernet header. False: the packet was ours."""
        h = self.ip._quoted
        off = f.off
        f.off += _ETHERNET
        forwarded = False
        if h.parse_quoted(f):
            route = self.ip.routes.lookup(h.buf, h.start + 8)
            src = self.ip.addresses.number(h.buf, h.start + 8, 0)
            # What we send ourselves has an address of ours, or one of a link.
            forwarded = (
                not addr6.is_link_local(h.buf, h.start + 8)
                and route is not None
                and self.ip.local.get(src) != _UNICAST
            )
            if forwarded:
                h.iface = route.iface
                self.stats.drop("forward6.unresolved")
                self._tell(icmp6.UNREACHABLE, icmp6.ADDRESS_UNREACHABLE, h, f, 0, now)
        f.off = off
        return forwarded

    def _may_pass(self, b, o, iface):
        """Whether the addresses at b[o:] may be in a packet that is forwarded."""
        if iface.to_group:
            self.stats.drop("forward6.link_group")
            return False
        if addr6.is_link_local(b, o + 16):
            self.stats.drop("forward6.scope")
            return False
        if b[o] == 0xFF or not _passable(b, o) or not _passable(b, o + 16):
            self.stats.drop("forward6.martian")
            return False
        if addr6.is_link_local(b, o):
            return True
        if self.ip.local.get(self.ip.addresses.number(b, o, 0)) == _UNICAST:
            self.stats.drop("forward6.martian")
            return False
        if self.strict:
            back = self.ip.routes.lookup(b, o)
            if back is None or back.iface is not iface:
                self.stats.drop("forward6.spoofed")
                return False
        return True

    def _send(self, b, start, n, out, e, now):
        r = self.pool.get()
        if r is None:
            self.stats.drop("forward6.no_room")
            return
        copy(r.buf, r.off, b, start, n)
        r.end = r.off + n
        r.buf[r.off + 7] -= 1
        r.off -= _ETHERNET
        ethernet.build(r.buf, r.off, e.mac, out.mac, ethernet.TYPE_IPV6)
        if out.tx(r) if now < e.until else out.nd.output(e, r, now):
            out.tx_frames += 1
            out.tx_bytes += n + _ETHERNET
            self.packets += 1
            self.bytes += n
        else:
            r.release()
            self.stats.drop("forward6.ring_full")

    def _tell(self, kind, code, h, f, rest, now):
        """An error to the sender, from an address of ours; none about what cannot be read."""
        if h.needs_walk() and h.walk(f) != wire.OK:
            return
        h.src = self.ip.addresses.handle(h.buf, h.start + 8, h.iface.index)
        if h.src >= 0:
            self.icmp.send_forward_error(kind, code, rest, h, f, now)

    def info(self):
        """Counters as a dict."""
        return {"packets": self.packets, "bytes": self.bytes}


def _passable(b, o):
    """Neither ::, ::1 nor IPv4's mapped; those begin with ten zeros."""
    return not (
        b[o] == 0
        and (addr6.is_unspecified(b, o) or addr6.is_loopback(b, o) or addr6.is_mapped(b, o))
    )
