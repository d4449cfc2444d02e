"""The IPv6 addresses of an interface: made, checked, renewed, and gone when their time is up.

RFC 4862 (autoconfiguration, duplicate detection), RFC 7217 (stable addresses that do not
tell the MAC), RFC 8981 (temporary addresses), RFC 4861 section 6.3 (router
advertisements), RFC 4191, RFC 8106 (name servers), RFC 7559 (solicitations that go on).
States of an address:

    TENTATIVE   being asked for (1 s)      -> PREFERRED, or DUPLICATE
    PREFERRED   used                       -> DEPRECATED when its preferred lifetime ends
    DEPRECATED  for what goes on with it   -> gone when its valid lifetime ends
    DUPLICATE   another has it: unused; a new one is made from the next counter, twice

Left out: the random delay before the first solicitation (a guest boots alone, and an
address a second sooner is worth more).

Not implemented: optimistic duplicate detection, interface identifiers other than of 64 bits.
"""

from hashlib import sha256

from micropython import const

from stack.core import be
from stack.core.timers import NEVER
from stack.net import addr6
from stack.wire import icmp6
from stack.wire import nd as wire

DUPLICATE = const(-1)
TENTATIVE = const(0)
PREFERRED = const(1)
DEPRECATED = const(2)
NAMES = ("tentative", "preferred", "deprecated", "duplicate")

# What routers may make us keep, of an interface: 16 addresses, 16 on-link prefixes, 16
# routes, 8 routers, 8 name servers and 8 search domains. What comes beyond is ignored.
_MAX_ADDRESSES = const(16)
_MAX_PREFIXES = const(16)
_MAX_ROUTES = const(16)
_MAX_ROUTERS = const(8)
_MAX_SERVERS = const(8)

_RETRANS_US = const(1_000_000)  # RetransTimer: also how long a probe is waited for
_PROBES = const(1)  # DupAddrDetectTransmits
_IDGEN_RETRIES = const(3)  # RFC 7217, section 7
_SOLICIT_US = const(4_000_000)  # RTR_SOLICITATION_INTERVAL
_SOLICIT_MAX_US = const(3_600_000_000)  # RFC 7559, section 2: MRT
_TWO_HOURS_US = const(7_200_000_000)
_INFINITE = const(0xFFFFFFFF)

# RFC 8981, section 3.8: a day, two days, and up to 0.4 of a day sooner at random.
_TEMP_PREFERRED_US = const(86_400_000_000)
_TEMP_VALID_US = const(172_800_000_000)
_TEMP_DESYNC_US = const(34_560_000_000)
_TEMP_REGEN_US = const(5_000_000)


class Address6:
    """`raw`: 16 bytes as stored; `addr`: its handle; `length` of its prefix; `iface`."""

    __slots__ = (
        "raw", "addr", "length", "iface", "state", "preferred_until", "valid_until", "origin",
        "temporary", "probes", "at", "counter", "successor",
    )  # fmt: skip

    def __init__(self, raw, addr, length, iface, origin):
        self.raw = raw
        self.addr = addr
        self.length = length
        self.iface = iface
        self.origin = origin  # "link", "static", "auto", "temp", "dhcp"
        self.temporary = origin == "temp"
        self.state = TENTATIVE
        self.preferred_until = self.valid_until = self.at = NEVER
        self.probes = 0
        self.counter = 0
        self.successor = False

    def text(self):
        return "%s/%d" % (addr6.format(self.raw), self.length)


class Autoconf:
    """IPv6 of `iface`. `on_change(iface)` is called when addresses, routers or servers change.

    secret: bytes for the stable addresses; mode: "none" (nothing), "auto", "static".
    """

    def __init__(self, iface, ip6, stats, timers, secret):
        self.iface = iface
        self.ip6 = ip6
        self.stats = stats
        self._timers = timers
        self.timer_at = 0
        self.timer_index = -1
        self._secret = secret
        self.mode = "none"
        self.addresses = []
        self.routers = {}  # handle -> (preference, until)
        self.servers = {}  # 16 bytes -> until
        self.search = {}  # name -> until
        self.dhcp_servers = []  # 16 bytes, of DHCPv6
        self.dhcp_search = []
        self.hops = 64
        self.managed = self.other = False
        self.heard = False  # a router has spoken
        self.on_change = None
        self._solicit_at = NEVER
        self._solicit_us = _SOLICIT_US

    # Beginning and end.

    def start(self, mode, now, raw=None, length=0, gateway=None):
        """Begin anew as "auto", as "static" with an address (16 bytes) and gateway, or "none"."""
        self.stop(now)
        self.mode = mode
        if mode == "none":
            return
        ip6 = self.ip6
        ip6.join(self.iface, addr6.ALL_NODES, now)
        self._add_link_local(0, now)
        if mode == "static":
            self.add(raw, length, "static", now)
            ip6.routes.add(addr6.masked(raw, length), length, None, self.iface, "static")
            if gateway is not None:
                gateway = addr6.with_zone(gateway, self.iface.index)
                ip6.routes.add(addr6.UNSPECIFIED, 0, gateway, self.iface, "static")
        else:
            self._solicit_us = _SOLICIT_US
            self._solicit_at = now
        self._arm(now)

    def stop(self, now):
        """Forget all addresses, routers and routes."""
        if self.mode == "none":
            return
        for a in list(self.addresses):
            self.remove(a, now)
        ip6 = self.ip6
        ip6.leave(self.iface, addr6.ALL_NODES, now)
        ip6.routes.remove_iface(self.iface)
        self.iface.nd.clear(now)
        self.routers = {}
        self.servers = {}
        self.search = {}
        self.dhcp_servers = []
        self.dhcp_search = []
        self.mode = "none"
        self.managed = self.other = self.heard = False
        self.iface.mtu6 = 0
        self._solicit_at = NEVER

    def link_up(self, now):
        """The cable is back, perhaps to another network: check addresses, ask for routers again."""
        if self.mode == "none":
            return
        for a in self.addresses:
            if a.state != DUPLICATE:
                self._probe(a, now)
        if self.mode == "auto":
            self._solicit_us = _SOLICIT_US
            self._solicit_at = now
        self._arm(now)

    # Addresses.

    def find(self, addr):
        """The Address6 of a handle, in whatever state, or None."""
        for a in self.addresses:
            if a.addr == addr:
                return a
        return None

    def link_local(self):
        """Our link-local Address6 in use, or None."""
        for a in self.addresses:
            if a.state >= PREFERRED and a.origin == "link":
                return a
        return None

    def source_for_nd(self):
        """The bytes of an address to ask a neighbour from, or None."""
        a = self.link_local()
        if a is not None:
            return a.raw
        for a in self.addresses:
            if a.state >= PREFERRED:
                return a.raw
        return None

    def add(self, raw, length, origin, now, preferred=NEVER, valid=NEVER):
        """Begin to use an address, once nobody else is found to have it. None: too many."""
        if len(self.addresses) >= _MAX_ADDRESSES:
            self.stats.drop("slaac.too_many")
            return None
        raw = addr6.with_zone(raw, self.iface.index)
        addr = self.ip6.addresses.keep(raw)
        a = self.find(addr)
        if a is not None:
            return a
        a = Address6(raw, addr, length, self.iface, origin)
        a.preferred_until = preferred
        a.valid_until = valid
        self.addresses.append(a)
        # Before the probe: a switch that listens to MLD would not bring us the answer.
        self.ip6.join(self.iface, addr6.solicited_node(a.raw), now)
        self._probe(a, now)
        return a

    def remove(self, a, now):
        self.addresses.remove(a)
        self.ip6.leave(self.iface, addr6.solicited_node(a.raw), now)
        self.ip6.forget_address(a)

    def _probe(self, a, now):
        """RFC 4862, section 5.4.2."""
        if a.state >= PREFERRED:
            self.ip6.forget_address(a)
        a.state = TENTATIVE
        a.probes = 0
        a.at = now
        self._arm(now)

    def _solicit_for(self, a, now):
        a.probes += 1
        a.at = now + _RETRANS_US
        group = self.ip6.solicited_node(a.raw)
        self.iface.nd.send(
            icmp6.NEIGHBOR_SOLICIT, 0, group, addr6.UNSPECIFIED, a.raw, addr6.multicast_mac(group)
        )

    def _settle(self, a, now):
        """Nobody has answered: it is ours."""
        a.at = NEVER
        a.state = PREFERRED if now < a.preferred_until else DEPRECATED
        self.ip6.use_address(a)
        if a.origin == "link":
            self.iface.mld.again(now)
            if self.mode == "auto" and not self.heard:
                self._solicit_at = now
        if self.on_change is not None:
            self.on_change(self.iface)

    def on_duplicate(self, a, now):
        """Another station has a tentative address of ours (RFC 4862, section 5.4.5)."""
        self.stats.drop("slaac.duplicate")
        a.state = DUPLICATE
        a.at = NEVER
        counter = a.counter + 1
        if counter < _IDGEN_RETRIES and a.origin in ("link", "auto", "temp"):
            self.remove(a, now)
            if a.origin == "link":
                self._add_link_local(counter, now)
            else:
                make = self._random_id() if a.temporary else self._stable_id(a.raw[:8], counter)
                b = self.add(
                    a.raw[:8] + make, a.length, a.origin, now, a.preferred_until, a.valid_until
                )
                if b is not None:
                    b.counter = counter
        if self.on_change is not None:
            self.on_change(self.iface)

    def _add_link_local(self, counter, now):
        prefix = b"\xfe\x80" + bytes(6)
        a = self.add(prefix + self._stable_id(prefix, counter), 64, "link", now)
        if a is not None:
            a.counter = counter

    def _stable_id(self, prefix, counter):
        """RFC 7217, section 5: F(Prefix, Net_Iface, Network_ID, DAD_Counter, secret_key)."""
        text = bytes(prefix) + self.iface.mac.to_bytes(6, "big") + bytes((counter,))
        while True:
            d = sha256(self._secret + text).digest()
            if not _reserved(d[:8]):
                return d[:8]
            text += b"\0"

    def _random_id(self):
        """RFC 8981, section 3.3.1."""
        while True:
            r = self.ip6.rng(8)
            if not _reserved(r):
                return bytes(r)

    # Router advertisements.

    def on_advert(self, router, b, o, end, now):
        """RFC 4861, section 6.3.4: an advertisement that was found valid, its message at b[o:]."""
        if self.mode != "auto":
            return
        if b[o + 4]:
            self.hops = b[o + 4]
        lifetime = be.get16(b, o + 6)
        self._on_lifetime(router, lifetime, wire.preference(b[o + 5] >> 3), now)
        reachable = be.get32(b, o + 8)
        if 0 < reachable <= 3_600_000:  # "MUST be no greater than 3,600,000 milliseconds"
            self.iface.nd.set_reachable(reachable * 1000)
        retrans = be.get32(b, o + 12)
        if 100 <= retrans <= 60_000:
            self.iface.nd.retry_us = retrans * 1000
        self.managed = b[o + 5] & wire.MANAGED != 0
        self.other = b[o + 5] & wire.OTHER != 0
        i = o + 16
        while i < end:
            self._on_option(router, b, i, now)
            i += b[i + 1] << 3
        self.heard = True
        if lifetime:
            self._solicit_at = NEVER
        self._arm(now)
        if self.on_change is not None:
            self.on_change(self.iface)

    def _on_lifetime(self, router, seconds, preference, now):
        routers = self.routers
        if not seconds:
            self.not_router(router, now)
            return
        if router not in routers and len(routers) >= _MAX_ROUTERS:
            self.stats.drop("slaac.routers")
            return
        raw = self.ip6.addresses.bytes(router)
        if raw is None:
            return
        until = now + seconds * 1_000_000
        # RFC 4191, section 2.2: the reserved value is treated as medium.
        preference = 0 if preference == -2 else preference
        routers[router] = (preference, until)
        self.ip6.routes.add(addr6.UNSPECIFIED, 0, raw, self.iface, "ra", until, preference)

    def not_router(self, router, now):
        """It is no default router any more (lifetime 0, or its R flag is clear)."""
        if self.routers.pop(router, None) is not None:
            self.ip6.routes.remove(addr6.UNSPECIFIED, 0, router, self.iface)

    def _on_option(self, router, b, i, now):
        kind = b[i]
        if kind == wire.PREFIX:
            p = wire.prefix_option(b, i)
            if p is not None and not addr6.is_link_local(p.prefix) and p.prefix[0] != 0xFF:
                if p.flags & wire.ON_LINK:
                    self._on_link(p, now)
                if p.flags & wire.AUTONOMOUS:
                    self._autonomous(p, now)
        elif kind == wire.MTU and b[i + 1] == 1:
            self.iface.set_mtu6(be.get32(b, i + 4))
        elif kind == wire.ROUTE:
            self._on_route(router, wire.route_option(b, i), now)
        elif kind == wire.RDNSS:
            found = wire.rdnss_option(b, i)
            if found is not None:
                for raw in found[1]:
                    if raw[0] != 0xFF and not addr6.is_unspecified(raw):
                        raw = addr6.with_zone(raw, self.iface.index)
                        _renew(self.servers, raw, found[0], now)
        elif kind == wire.DNSSL:
            found = wire.dnssl_option(b, i)
            if found is not None:
                for name in found[1]:
                    _renew(self.search, name, found[0], now)

    def _on_link(self, p, now):
        routes = self.ip6.routes
        prefix = addr6.masked(p.prefix, p.length)
        if not p.valid:
            routes.remove(prefix, p.length, 0, self.iface)
        elif routes.count(self.iface, "prefix") < _MAX_PREFIXES or routes.lookup(prefix):
            routes.add(prefix, p.length, None, self.iface, "prefix", _until(now, p.valid))

    def _on_route(self, router, found, now):
        """RFC 4191, section 2.3, as a host of type C."""
        if found is None or found[2] == -2:
            return
        prefix, length, preference, lifetime = found
        prefix = addr6.masked(prefix, length)
        routes = self.ip6.routes
        if not lifetime:
            routes.remove(prefix, length, router, self.iface)
            return
        raw = self.ip6.addresses.bytes(router)
        if raw is not None and routes.count(self.iface, "ra") < _MAX_ROUTES + _MAX_ROUTERS:
            routes.add(prefix, length, raw, self.iface, "ra", _until(now, lifetime), preference)

    def _autonomous(self, p, now):
        """RFC 4862, section 5.5.3."""
        # c) "If the preferred lifetime is greater than the valid lifetime, silently ignore".
        if p.preferred > p.valid or p.length != 64:
            self.stats.drop("slaac.prefix")
            return
        found = False
        for a in self.addresses:
            if a.origin in ("auto", "temp") and addr6.common(a.raw, 0, p.prefix, 0) >= 64:
                found = True
                self._renew(a, p, now)
        if found or not p.valid:
            return
        raw = p.prefix[:8] + self._stable_id(p.prefix[:8], 0)
        preferred = _until(now, p.preferred)
        valid = _until(now, p.valid)
        if self.add(raw, 64, "auto", now, preferred, valid) is not None and self.ip6.temporary:
            self._add_temporary(p.prefix[:8], preferred, valid, now)

    def _renew(self, a, p, now):
        valid = _until(now, p.valid)
        preferred = _until(now, p.preferred)
        # e) Two hours: nobody can make an address vanish at once by a forged advertisement.
        left = a.valid_until - now
        if p.valid * 1_000_000 > _TWO_HOURS_US or valid > a.valid_until:
            pass
        elif left <= _TWO_HOURS_US:
            valid = a.valid_until
        else:
            valid = now + _TWO_HOURS_US
        if a.temporary:
            # RFC 8981, section 3.4, 1: never longer than they were made for.
            a.valid_until = min(a.valid_until, valid)
            a.preferred_until = min(a.preferred_until, preferred)
        else:
            a.valid_until = valid
            a.preferred_until = preferred
        if a.state == DEPRECATED and now < a.preferred_until:
            a.state = PREFERRED
            self.ip6.epochs.changed()

    def _add_temporary(self, prefix, preferred, valid, now):
        """RFC 8981, section 3.4."""
        desync = _TEMP_DESYNC_US * self.ip6.random16() // 65536
        preferred = min(preferred, now + _TEMP_PREFERRED_US - desync)
        if preferred - now <= _TEMP_REGEN_US:
            return
        valid = min(valid, now + _TEMP_VALID_US)
        self.add(prefix + self._random_id(), 64, "temp", now, preferred, valid)

    # Time.

    def _arm(self, now):
        self._timers.arm(self, self.poll_at())

    def poll_at(self):
        if self.mode == "none":
            return NEVER
        at = min(self._solicit_at, self.ip6.routes.poll_at(self.iface))
        for a in self.addresses:
            t = a.at
            if a.state == PREFERRED:
                t = min(t, a.preferred_until)
                if a.temporary and not a.successor:
                    t = min(t, a.preferred_until - _TEMP_REGEN_US)
            at = min(at, t, a.valid_until)
        for until in self.servers.values():
            at = min(at, until)
        for until in self.search.values():
            at = min(at, until)
        return at

    def on_timer(self, now):
        changed = self.ip6.routes.expire(now)
        for router in list(self.routers):
            if self.routers[router][1] <= now:
                del self.routers[router]
        for a in list(self.addresses):
            if a.at <= now:
                if a.probes < _PROBES:
                    self._solicit_for(a, now)
                else:
                    self._settle(a, now)
            changed = self._age(a, now) or changed
        for table in (self.servers, self.search):
            for key in list(table):
                if table[key] <= now:
                    del table[key]
                    changed = True
        if self._solicit_at <= now:
            self._send_solicit(now)
        if changed and self.on_change is not None:
            self.on_change(self.iface)

    def _age(self, a, now):
        if a.valid_until <= now:
            self.remove(a, now)
            return True
        if a.state != PREFERRED:
            return False
        if a.temporary and not a.successor and a.preferred_until - _TEMP_REGEN_US <= now:
            a.successor = True
            for public in self.addresses:
                if public.origin == "auto" and addr6.common(public.raw, 0, a.raw, 0) >= 64:
                    self._add_temporary(
                        a.raw[:8], public.preferred_until, public.valid_until, now
                    )
                    break
        if a.preferred_until <= now:
            a.state = DEPRECATED
            self.ip6.epochs.changed()
            return True
        return False

    def _send_solicit(self, now):
        """RFC 4861, section 6.3.7; RFC 7559: ever more slowly, until a router speaks."""
        self._solicit_at = now + self._solicit_us
        self._solicit_us = min(2 * self._solicit_us, _SOLICIT_MAX_US)
        nd = self.iface.nd
        f = nd.pool.get()
        if f is None:
            self.stats.drop("nd.no_frame")
            return
        b = f.buf
        o = f.off
        be.put32(b, o, icmp6.ROUTER_SOLICIT << 24)
        be.put32(b, o + 4, 0)
        f.end = o + 8
        src = nd.iface.auto.source_for_nd() or addr6.UNSPECIFIED
        if src is not addr6.UNSPECIFIED:
            wire.put_link_address(b, o + 8, wire.SOURCE_LINK, self.iface.mac)
            f.end = o + 16
        nd.emit(f, src, addr6.ALL_ROUTERS, addr6.multicast_mac(addr6.ALL_ROUTERS))


def _until(now, seconds):
    return NEVER if seconds == _INFINITE else now + seconds * 1_000_000


def _renew(table, key, seconds, now):
    """Enter a name server or search domain for `seconds`; 0 takes it out."""
    if not seconds:
        table.pop(key, None)
    elif key in table or len(table) < _MAX_SERVERS:
        table[key] = _until(now, seconds)


def _reserved(iid):
    """RFC 5453: not all zeros (the routers' anycast), nor the reserved ranges."""
    return (
        iid == bytes(8)
        or iid[:5] == b"\x02\x00\x5e\xff\xfe"
        or (iid[:7] == b"\xfd\xff\xff\xff\xff\xff\xff" and iid[7] >= 0x80)
    )
