"""IPv6 routes: longest prefix, then the router's preference, then one that answers.

RFC 4861, section 6.3.6 (default router selection), RFC 4191 (preferences, routes from
advertisements).

Every change moves the epoch that Paths compare, which is IPv4's as well.

Not implemented: equal-cost paths, policy.
"""

from micropython import const

from stack.core.timers import NEVER
from stack.net import addr6

# Of advertisements at most 16 prefixes, 16 routes and 8 routers an interface; some by hand.
_MAX_ROUTES = const(128)


class Route6:
    """`gateway` 0: on the link of `iface`. `source`: "link", "static", "ra". `until`: us."""

    __slots__ = (
        "prefix", "length", "gateway", "gateway_raw", "iface", "preference", "source", "until",
    )  # fmt: skip

    def __repr__(self):
        via = " via %s" % addr6.format(self.gateway_raw) if self.gateway else ""
        return "%s/%d%s dev %s" % (addr6.format(self.prefix), self.length, via, self.iface.name)


class Routes6:
    """`epochs`: the table of IPv4, whose changed() is called."""

    def __init__(self, epochs, addresses):
        self.epochs = epochs
        self.addresses = addresses
        self._routes = []

    def __iter__(self):
        return iter(self._routes)

    def __len__(self):
        return len(self._routes)

    def add(self, prefix, length, gateway_raw, iface, source="static", until=NEVER, preference=0):
        """Add a route or renew it; gateway_raw: stored bytes, or None. False: the table is full."""
        gateway = self.addresses.keep(gateway_raw) if gateway_raw else 0
        for r in self._routes:
            if (
                r.length == length
                and r.gateway == gateway
                and r.iface is iface
                and r.prefix == prefix
            ):
                r.until = until
                if r.preference != preference:
                    r.preference = preference
                    self._sort()
                return True
        if len(self._routes) >= _MAX_ROUTES:
            return False
        r = Route6()
        r.prefix = prefix
        r.length = length
        r.gateway = gateway
        r.gateway_raw = gateway_raw
        r.iface = iface
        r.source = source
        r.until = until
        r.preference = preference
        self._routes.append(r)
        self._sort()
        return True

    def _sort(self):
        self._routes.sort(key=lambda r: (-r.length, -r.preference))
        self.epochs.changed()

    def remove(self, prefix, length, gateway=None, iface=None):
        """Remove routes of a destination; True if there was one."""
        return self._filter(
            lambda r: r.length == length
            and r.prefix == prefix
            and (gateway is None or r.gateway == gateway)
            and (iface is None or r.iface is iface)
        )

    def remove_gateway(self, gateway):
        return self._filter(lambda r: r.gateway == gateway)

    def remove_iface(self, iface, source=None):
        return self._filter(lambda r: r.iface is iface and (source is None or r.source == source))

    def expire(self, now):
        return self._filter(lambda r: r.until <= now)

    def _filter(self, drop):
        keep = [r for r in self._routes if not drop(r)]
        found = len(keep) < len(self._routes)
        if found:
            self._routes = keep
            self.epochs.changed()
        return found

    def poll_at(self, iface):
        """When the next route of iface runs out."""
        at = NEVER
        for r in self._routes:
            if r.iface is iface and r.until < at:
                at = r.until
        return at

    def count(self, iface, source):
        return len([r for r in self._routes if r.iface is iface and r.source == source])

    def lookup(self, raw, off=0):
        """The Route6 for the address at raw[off:], or None. Allocates nothing.

        A router that does not answer is passed over while there is another of the same prefix.
        """
        silent = None
        for r in self._routes:
            if silent is not None and r.length < silent.length:
                return silent
            if r.iface.up and addr6.common(raw, off, r.prefix, 0) >= r.length:
                if not r.gateway or not r.iface.nd.is_failed(r.gateway):
                    return r
                if silent is None:
                    silent = r
        return silent

    def default(self, iface=None):
        """The default route (through iface), or None."""
        for r in self._routes:
            if not r.length and (iface is None or r.iface is iface):
                return r
        return None
