"""Neighbour discovery: who has an IPv6 address on our link, and is still there.

RFC 4861, sections 7.2 (resolution), 7.3 (unreachability detection), 8 (redirects);
RFC 4862, section 5.4 (duplicate address detection, with slaac.py). The table is
link/neighbors.py's.

Not implemented: anycast and proxy advertisements, SEND, nonces.
"""

from micropython import const

from stack.core import be
from stack.core.mem import copy
from stack.core.timers import NEVER
from stack.link.neighbors import (
    DELAY,
    FAILED,
    INCOMPLETE,
    PROBE,
    REACHABLE,
    STALE,
    Neighbors,
)
from stack.net import addr6
from stack.wire import ethernet, icmp6, ipv6
from stack.wire import nd as wire

_DELAY_US = const(5_000_000)  # DELAY_FIRST_PROBE_TIME
REACHABLE_US = const(30_000_000)  # REACHABLE_TIME
_TRIES = const(3)  # MAX_MULTICAST_SOLICIT, MAX_UNICAST_SOLICIT
_HOPS = const(255)


class Nd(Neighbors):
    """The IPv6 neighbours of `iface`; `ip6` is told of what was given up, and of redirects."""

    def __init__(self, iface, ip6, pool, stats, timers):
        super().__init__(iface, pool, stats, timers, ip6, "nd")
        self.ip6 = ip6
        self._target = bytearray(16)
        self.set_reachable(REACHABLE_US)

    def set_reachable(self, base_us):
        """RFC 4861, section 6.3.2: between half and one and a half times what routers say."""
        r = self.ip6.random16()
        self.reachable_us = base_us // 2 + base_us * r // 65536

    # The table.

    def neighbor6(self, addr, raw, now, off=0):
        """The entry of handle `addr`, whose bytes are at raw[off:], made if there is none."""
        e = self._by_addr.get(addr)
        if e is None:
            e = self._enter(addr, raw, off, REACHABLE, now)
        return e

    def _enter(self, addr, raw, off, worth, now):
        e = self._make(addr, worth, now)
        if e is not None:
            if e.ip6 is None:
                e.ip6 = bytearray(16)
            copy(e.ip6, 0, raw, off, 16)
            e.router = False
        return e

    def is_failed(self, addr):
        e = self._by_addr.get(addr)
        return e is not None and e.state == FAILED

    # Sending.

    def output(self, e, frame, now):
        """As Neighbors.output; a STALE entry is used, and probed if it stays in use."""
        state = e.state
        if state < STALE:
            return super().output(e, frame, now)
        if state == STALE or (state == REACHABLE and now >= e.until):
            e.state = DELAY
            e.until = 0
            e.tries = 0
            e.due = now + _DELAY_US
            self._arm(e.due)
        ethernet.put_mac(frame.buf, frame.off, e.mac)
        return self.iface.tx(frame)

    def _due(self, e, now):
        if e.state == DELAY:
            self._ask(e, PROBE, now)
        elif e.state == FAILED:
            self._forget(e, now)
        elif e.tries < _TRIES:
            self._request(e, now)
        else:
            # "Reachability confirmation": none came. Paths look for another router.
            e.state = FAILED
            e.due = now + 1_000_000
            self._flush(e, now, True)
            self.ip6.epochs.changed()

    def solicit(self, e, now):
        src = self.iface.auto.source_for_nd()
        if src is None:
            self.stats.count("nd.no_source")
            return
        if e.state == PROBE:
            self.send(icmp6.NEIGHBOR_SOLICIT, 0, e.ip6, src, e.ip6, e.mac)
        else:
            group = self.ip6.solicited_node(e.ip6)
            self.send(icmp6.NEIGHBOR_SOLICIT, 0, group, src, e.ip6, addr6.multicast_mac(group))

    def send(self, kind, flags, dst, src, target, dst_mac):
        """Send a solicitation or advertisement; addresses as they are stored. RFC 4861, 4.3."""
        f = self.pool.get()
        if f is None:
            self.stats.drop("nd.no_frame")
            return
        iface = self.iface
        o = f.off
        b = f.buf
        n = 24
        be.put32(b, o, kind << 24)
        be.put32(b, o + 4, flags << 24)
        put_address(b, o + 8, target)
        # A probe from the unspecified address must not carry an address of the link.
        if not addr6.is_unspecified(src):
            option = wire.TARGET_LINK if kind == icmp6.NEIGHBOR_ADVERT else wire.SOURCE_LINK
            wire.put_link_address(b, o + 24, option, iface.mac)
            n = 32
        f.end = o + n
        self.emit(f, src, dst, dst_mac)

    def emit(self, f, src, dst, dst_mac):
        """Finish and send the ICMPv6 message in f, whose checksum is zero, with hop limit 255."""
        o = f.off
        n = f.end - o
        h = f.prepend(ipv6.HEADER_LEN)
        ipv6.build(f.buf, h, src, dst, ipv6.PROTO_ICMP6, n, _HOPS)
        self.finish(f, h, o, n, dst_mac)

    def finish(self, f, h, o, n, dst_mac):
        """Send f, its IPv6 header at h, once the n bytes of ICMPv6 at o have their checksum."""
        iface = self.iface
        b = f.buf
        strip_zone(b, h + 8)
        strip_zone(b, h + 24)
        s = ipv6.pseudo_of(b, h, ipv6.PROTO_ICMP6)
        icmp6.finish(b, o, n, s)
        ethernet.emit(f, dst_mac, iface.mac, ethernet.TYPE_IPV6)
        size = f.end - f.off
        if iface.tx(f):
            iface.tx_frames += 1
            iface.tx_bytes += size
        else:
            self.stats.drop("nd.ring_full")
            f.release()

    # Receiving.

    def on_message(self, h, f, kind, now):
        """An ICMPv6 message of neighbour discovery, f at its start (the type)."""
        o = f.off
        b = f.buf
        n = f.end - o
        # "The IP Hop Limit field has a value of 255": it has crossed no router.
        if h.ttl() != _HOPS or b[o + 1]:
            self.stats.drop("nd.hops")
            return
        fixed = (8, 16, 24, 24, 40)[kind - icmp6.ROUTER_SOLICIT]
        if n < fixed or not wire.valid_options(b, o + fixed, f.end):
            self.stats.drop("nd.malformed")
            return
        if kind == icmp6.NEIGHBOR_SOLICIT:
            self._on_solicit(h, b, o, f.end, now)
        elif kind == icmp6.NEIGHBOR_ADVERT:
            self._on_advert(h, b, o, f.end, now)
        elif kind == icmp6.ROUTER_ADVERT:
            self._on_router(h, b, o, f.end, now)
        elif kind == icmp6.REDIRECT:
            self._on_redirect(h, b, o, f.end, now)
        else:
            self.stats.count("nd.router_solicit")

    def _on_solicit(self, h, b, o, end, now):
        """RFC 4861, sections 7.1.1 and 7.2.3; RFC 4862, section 5.4.3."""
        zone = self.iface.index
        addresses = self.ip6.addresses
        own = self.iface.auto.find(addresses.number(b, o + 8, zone))
        mac = wire.link_address(b, o + 24, end, wire.SOURCE_LINK)
        probe = h.src == addr6.ANY
        if b[o + 8] == 0xFF or (probe and (mac or not addr6.is_multicast(b, h.start + 24))):
            self.stats.drop("nd.malformed")
            return
        if own is None:
            self.stats.count("nd.others")
            return
        if own.state <= 0:  # tentative, or found to be taken
            # "If the source address is the unspecified address, ... another node is
            # performing duplicate address detection". From any other: it has no answer yet.
            if probe and own.state == 0 and self.iface.last_src != self.iface.mac:
                self.iface.auto.on_duplicate(own, now)
            return
        if probe:
            self.send(
                icmp6.NEIGHBOR_ADVERT, wire.OVERRIDE, addr6.ALL_NODES, own.raw, own.raw,
                addr6.multicast_mac(addr6.ALL_NODES),
            )
            return
        src = h.start + 8
        if mac:
            e = self._learn(h.src, b, src, mac, now)
        else:
            e = self.neighbor6(h.src, self.ip6.source_bytes(h), now)
        to = mac or (e.mac if e is not None and e.state >= STALE else 0)
        if not to:
            # It did not say where it is: the frame's sender is who asked.
            to = self.iface.last_src
        copy(self._target, 0, b, src, 16)
        flags = wire.SOLICITED | wire.OVERRIDE
        self.send(icmp6.NEIGHBOR_ADVERT, flags, self._target, own.raw, own.raw, to)

    def _learn(self, addr, b, off, mac, now):
        """Someone said unasked where it is (7.2.3): believed, and asked when used."""
        if mac & ethernet.GROUP_BIT:
            self.stats.drop("nd.group_mac")
            return None
        e = self._by_addr.get(addr)
        if e is None:
            e = self._enter(addr, b, off, STALE - 2, now)
            if e is None:
                return None
            if addr6.is_link_local(e.ip6):
                be.put16(e.ip6, 2, self.iface.index)
            self._set_mac(e, mac, now)
            e.state = STALE
        elif e.state <= INCOMPLETE or e.mac != mac:
            self._set_mac(e, mac, now)
            e.state = STALE
            e.until = 0
            e.due = NEVER
            self._flush(e, now, False)
        else:
            e.heard = now
        return e

    def _on_advert(self, h, b, o, end, now):
        """RFC 4861, section 7.2.5."""
        flags = b[o + 4]
        group = addr6.is_multicast(b, h.start + 24)
        solicited = flags & wire.SOLICITED != 0
        if b[o + 8] == 0xFF or (group and solicited) or h.src == addr6.ANY:
            self.stats.drop("nd.malformed")
            return
        addr = self.ip6.addresses.number(b, o + 8, self.iface.index)
        own = self.iface.auto.find(addr)
        if own is not None:
            if self.iface.last_src == self.iface.mac:
                self.stats.drop("nd.own")
            elif own.state == 0:
                self.iface.auto.on_duplicate(own, now)
            else:
                self.stats.drop("nd.conflict")
            return
        e = self._by_addr.get(addr)
        if e is None or e.state <= FAILED:
            self.stats.count("nd.others")
            return
        mac = wire.link_address(b, o + 24, end, wire.TARGET_LINK)
        if mac & ethernet.GROUP_BIT:
            self.stats.drop("nd.group_mac")
            return
        if e.state == INCOMPLETE:
            if not mac:
                self.stats.drop("nd.no_address")
                return
            self._set_mac(e, mac, now)
            self._confirm(e, solicited, now)
            self._flush(e, now, False)
        elif mac and mac != e.mac and not flags & wire.OVERRIDE:
            # "If the Override flag is clear and the supplied link-layer address differs...:
            # if the state is REACHABLE, set it to STALE".
            self.stats.count("nd.moved")
            if e.state == REACHABLE:
                e.state = STALE
                e.until = 0
            return
        else:
            moved = mac and mac != e.mac
            if mac:
                self._set_mac(e, mac, now)
            if solicited or moved:
                self._confirm(e, solicited, now)
        router = flags & wire.ROUTER != 0
        if e.router and not router:
            self.iface.auto.not_router(addr, now)
        e.router = router

    def _confirm(self, e, reachable, now):
        e.heard = now
        e.due = NEVER
        if reachable:
            e.state = REACHABLE
            e.until = now + self.reachable_us
        else:
            e.state = STALE
            e.until = 0

    def _on_router(self, h, b, o, end, now):
        """RFC 4861, section 6.1.2."""
        if not addr6.is_link_local(b, h.start + 8):
            self.stats.drop("nd.router_source")
            return
        mac = wire.link_address(b, o + 16, end, wire.SOURCE_LINK)
        if mac:
            e = self._learn(h.src, b, h.start + 8, mac, now)
        else:
            e = self._by_addr.get(h.src)
        if e is not None:
            e.router = True
        self.iface.auto.on_advert(h.src, b, o, end, now)

    def _on_redirect(self, h, b, o, end, now):
        """RFC 4861, sections 8.1 and 8.3."""
        same = be.equal(b, o + 8, b, o + 24, 16)
        if (
            not addr6.is_link_local(b, h.start + 8)
            or b[o + 24] == 0xFF
            or not (same or addr6.is_link_local(b, o + 8))
        ):
            self.stats.drop("nd.malformed")
            return
        zone = self.iface.index
        addresses = self.ip6.addresses
        dst = addresses.handle(b, o + 24, zone)
        target = addresses.handle(b, o + 8, zone)
        if not self.ip6.redirect(self.iface, h.src, dst, target, now):
            self.stats.drop("nd.redirect")
            return
        mac = wire.link_address(b, o + 40, end, wire.TARGET_LINK)
        if mac:
            self._learn(target, b, o + 8, mac, now)
        self.stats.count("nd.redirects")


def put_address(b, off, a):
    """Write 16 bytes as they go on the wire: without the zone that we store in them."""
    copy(b, off, a, 0, 16)
    strip_zone(b, off)


def strip_zone(b, off):
    if b[off] >= 0xFE and (addr6.is_link_local(b, off) or addr6.is_link_group(b, off)):
        b[off + 2] = b[off + 3] = 0
