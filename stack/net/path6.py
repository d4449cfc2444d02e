"""The way to an IPv6 destination: what net/ipv4.py's Path is for IPv4.

RFC 8200, section 4.5 (only the sender cuts packets into fragments), section 5 (MTU);
RFC 6437 (a flow label for each path).

Not implemented: extension headers but the fragment's.
"""

from micropython import const

from stack.core import be, checksum
from stack.core.frame import CAP_TSO4, CAP_TSO6, HEADROOM
from stack.core.mem import copy
from stack.link.neighbors import Neighbor, permanent
from stack.net import addr6, select6
from stack.wire import ipv6 as wire

UNICAST = const(1)
MULTICAST = const(3)

_HEADERS = const(54)  # Ethernet and IPv6
_HOPS = const(64)

_NOBODY = Neighbor()  # the next hop before it is looked up: never equal in `stamp`
_NOBODY.stamp = -1


class Path6:
    """As Path: `iface src dst kind mtu caps gso_max header`; src and dst are handles."""

    __slots__ = (
        "ip", "iface", "src", "dst", "kind", "mtu", "caps", "gso_max", "epoch", "header",
        "src_raw", "dst_raw", "hops", "tclass", "_template", "_hop", "_hop_raw", "_neighbor",
        "_stamp", "_sum", "_bound", "_flow", "_fixed_hops", "template",
    )  # fmt: skip

    def __init__(self, ip):
        self.ip = ip
        self.iface = None
        self.src = self.dst = self.kind = self.mtu = self.caps = self.gso_max = 0
        self.epoch = -1
        self.header = wire.HEADER_LEN
        self.src_raw = bytearray(16)
        self.dst_raw = bytearray(16)
        self.hops = _HOPS
        self.tclass = 0
        self._template = bytearray(_HEADERS)
        self.template = None  # none that tcp/fast.py knows
        self._hop = self._stamp = self._sum = 0
        self._hop_raw = None
        self._neighbor = _NOBODY
        self._bound = None
        self._fixed_hops = False
        self._flow = ip.random16() | (ip.random16() & 0x0F) << 16

    def set_ttl(self, ttl, tos=0):
        """For a private path only: the others are shared. ttl -1: as routers say."""
        self._fixed_hops = ttl >= 0
        if ttl < 0:
            ttl = _HOPS if self.iface.loopback else self.iface.auto.hops
        self.hops = ttl
        self.tclass = tos

    def pseudo(self, proto):
        """The folded sum of addresses and protocol: add the length, fold, and sum the datagram."""
        s = self._sum + proto
        return (s & 0xFFFF) + (s >> 16)

    def output(self, frame, proto, now):
        """Send the transport datagram in `frame`. False: ring full, the frame is still yours.

        proto: the protocol, with bits for the traffic class 16 places up (ECN).
        """
        n = frame.end - frame.off + frame.data_len
        if n + 40 > self.mtu and not frame.gso_size:
            return self._output_big(frame, proto, now)
        e = self._neighbor
        if (e.stamp != self._stamp or self.epoch != self.ip.epochs.epoch) and not self.follow(now):
            self.ip.stats.drop("ipv6.no_route")
            frame.release()
            return True
        e = self._neighbor
        frame.off = off = frame.off - 54
        wire.emit_from(
            self._template, frame.buf, off, self.tclass << 16 | self.hops << 8 | proto, n
        )
        iface = self.iface
        if now < e.until:
            ok = iface.tx(frame)
        else:
            ok = iface.nd.output(e, frame, now)
        if ok:
            iface.tx_frames += 1
            iface.tx_bytes += n + 54
            return True
        frame.off = off + 54
        return False

    def fragment(self, buf, off, n, proto, now):
        """Send n bytes of a transport datagram in fragments. All or nothing: False, try later."""
        ip = self.ip
        if not self.follow(now):
            ip.stats.drop("ipv6.no_route")
            return True
        iface = self.iface
        piece = min(self.mtu - 48, ip.pool.size - HEADROOM) & ~7
        count = (n + piece - 1) // piece
        if count >= len(ip.pool.frames):
            ip.stats.drop("ipv6.too_many_fragments")
            return True
        e = self._neighbor
        if ip.pool.free <= count or iface.device.tx_space() < count:
            return False
        if now >= e.until and not iface.nd.ready(e, count, now):
            return False
        # RFC 7739: not to be guessed.
        ident = ip.random16() << 16 | ip.random16()
        words = self.tclass << 16 | self.hops << 8 | wire.FRAGMENT
        pos = 0
        while pos < n:
            k = min(piece, n - pos)
            f = ip.pool.get()
            copy(f.buf, f.off, buf, off + pos, k)
            f.end = f.off + k
            f.off -= 62
            frag = pos >> 3
            if pos + k < n:
                frag |= wire.MF
            wire.emit_from(self._template, f.buf, f.off, words, k + 8)
            wire.put_fragment(f.buf, f.off + 54, proto, frag, ident)
            if now < e.until:
                ok = iface.tx(f)
            else:
                ok = iface.nd.output(e, f, now)
            if not ok:
                f.release()
                ip.stats.drop("ipv6.ring_full")
                return True
            iface.tx_frames += 1
            iface.tx_bytes += k + 62
            pos += k
        ip.stats.count("ipv6.fragmented")
        return True

    def shrink(self, now):
        """Nothing of full size gets through, and no router says so (RFC 8899, section 4.3): send
        less for ten minutes. True if the MTU has become smaller.
        """
        if self.iface.loopback or self.mtu <= wire.MIN_MTU:
            return False
        self.ip.stats.count("ipv6.black_hole")
        return self.ip.pmtu.lower(self.dst, wire.MIN_MTU, now) and self.follow(now)

    def _output_big(self, frame, proto, now):
        if not self.follow(now):
            self.ip.stats.drop("ipv6.no_route")
        elif frame.data_len:
            # A segment made for a larger MTU: its maker will cut it anew.
            self.ip.stats.drop("ipv6.too_big")
        else:
            if frame.csum_start:
                finish_checksum(frame)
            if not self.fragment(frame.buf, frame.off, frame.end - frame.off, proto & 0xFF, now):
                return False
        frame.release()
        return True

    def follow(self, now):
        """Bring route, next hop, MTU and headers up to date. False: there is no way any more."""
        if self.epoch != self.ip.epochs.epoch and not self._find(self.src):
            return False
        e = self._neighbor
        if e is _NOBODY or (self._hop and e.addr != self._hop):
            e = self.iface.nd.neighbor6(self._hop, self._hop_raw, now)
            if e is None:
                return False
            self._neighbor = e
        if e.stamp != self._stamp:
            wire.template(
                self._template, e.mac, self.iface.mac, self.src_raw, self.dst_raw, self._flow
            )
            if not self.iface.loopback:
                unzone(self._template, 22)
                unzone(self._template, 38)
            self._stamp = e.stamp
        return True

    def loop(self, path):
        """Become the way back to ourselves of what goes along `path` to a group."""
        self.dst = path.dst
        copy(self.dst_raw, 0, path.dst_raw, 0, 16)
        self._use(self.ip.loopback, path.kind, path.src)
        self._neighbor = self.iface.everyone
        self.hops = 1

    def find(self, dst, src):
        """Look up the way to the handle dst; src 0: choose. False when there is none from src."""
        if dst != self.dst:
            self.dst = 0
            if not self.ip.addresses.fetch(dst, self.dst_raw, 0):
                return False
            self.dst = dst
        return self._find(src)

    def _find(self, src):
        ip = self.ip
        raw = self.dst_raw
        dst = self.dst
        self.epoch = -1
        self._neighbor = _NOBODY
        self._hop = 0
        kind = UNICAST
        if ip.local.get(dst) == UNICAST:
            iface = ip.loopback
        elif raw[0] == 0xFF:
            kind = MULTICAST
            iface = self._bound or ip.outward(raw, src)
            if iface is None:
                return False
        elif addr6.is_link_local(raw):
            iface = ip.zone(be.get16(raw, 2))
            if iface is None:
                return False
            self._hop = dst
            self._hop_raw = raw
        else:
            iface = self._route(dst, raw)
            if iface is None:
                return False
        if iface.loopback:
            own = dst
            self._neighbor = iface.everyone
            self._hop = 0
        else:
            if kind == MULTICAST:
                self._neighbor = permanent(addr6.multicast_mac(raw))
                if not self._fixed_hops:
                    self.hops = 1  # RFC 3493, section 5.2
            elif not self._fixed_hops:
                self.hops = iface.auto.hops
            own = 0
            if not src:
                a = select6.source(ip.candidates(iface, raw), raw, iface)
                if a is None:
                    return False
                own = a.addr
        if src and not ip.is_local(src):
            return False
        return self._use(iface, kind, src or own)

    def _route(self, dst, raw):
        """The interface to a global address; sets the next hop. None: no route."""
        ip = self.ip
        hop = ip.redirected(dst)
        if hop is not None:
            self._hop = hop.gateway
            self._hop_raw = hop.gateway_raw
            return hop.iface
        if addr6.is_unspecified(raw):
            return None
        route = ip.routes.lookup(raw)
        if route is None:
            return None
        if route.gateway:
            self._hop = route.gateway
            self._hop_raw = route.gateway_raw
        else:
            self._hop = dst
            self._hop_raw = raw
        return route.iface

    def _use(self, iface, kind, src):
        ip = self.ip
        if src != self.src:
            self.src = 0
            if not ip.addresses.fetch(src, self.src_raw, 0):
                return False
            self.src = src
        self.iface = iface
        self.kind = kind
        self.mtu = ip.pmtu.get(self.dst, iface.mtu6 or iface.mtu)
        # For this path, "cuts TCP segments" is what the device does with IPv6's.
        caps = iface.device.caps
        self.caps = caps & ~CAP_TSO4 | (CAP_TSO4 if caps & CAP_TSO6 else 0)
        self.gso_max = iface.device.gso_max
        self._stamp = 0
        src_raw = self._template
        copy(src_raw, 22, self.src_raw, 0, 16)
        copy(src_raw, 38, self.dst_raw, 0, 16)
        if not iface.loopback:
            unzone(src_raw, 22)
            unzone(src_raw, 38)
        self._sum = checksum.add(src_raw, 22, 32, 0)
        self.epoch = ip.epochs.epoch
        return True


def unzone(b, off):
    """Zero the zone that a stored link-local address holds: on the wire there is none."""
    if b[off] >= 0xFE and (addr6.is_link_local(b, off) or addr6.is_link_group(b, off)):
        b[off + 2] = b[off + 3] = 0


def finish_checksum(frame):
    """Do what the device was asked to: sum from csum_start, where the pseudo-header's sum lies."""
    start = frame.csum_start
    c = checksum.checksum(frame.buf, start, frame.end - start)
    be.put16(frame.buf, start + frame.csum_offset, c or 0xFFFF)
    frame.csum_start = 0
