"""The routing table: longest prefix first.

RFC 1122, section 3.3.1; RFC 1812, section 5.2.4.3 (longest match, then the lowest metric).

Every change moves `epoch`: who holds the result of a lookup compares it and asks again.

Not implemented: equal-cost paths, redirects, dead gateway detection, policy.
"""

from micropython import const

from stack.net import addr as _addr

# Set by hand or by DHCP: 16 classless routes and a default for each of a few interfaces.
_MAX_ROUTES = const(64)


class Route:
    """`gateway` 0: the destination is on the link of `iface`. `source` says who made it."""

    __slots__ = ("network", "prefix", "mask", "gateway", "iface", "metric", "source", "src")

    def __init__(self, network, prefix, gateway, iface, metric, source, src):
        self.network = network
        self.prefix = prefix
        self.mask = _addr.mask(prefix)
        self.gateway = gateway
        self.iface = iface
        self.metric = metric
        self.source = source
        self.src = src  # the address to send from, 0: the interface's

    def __repr__(self):
        via = " via %s" % _addr.format(self.gateway) if self.gateway else ""
        return "%s%s dev %s" % (
            _addr.format_cidr(self.network, self.prefix), via, self.iface.name
        )


class Routes:
    def __init__(self):
        self.epoch = 0
        self._routes = []  # longest prefix first, then lowest metric

    def __iter__(self):
        return iter(self._routes)

    def __len__(self):
        return len(self._routes)

    def add(self, network, prefix, gateway, iface, metric=0, source="static", src=0):
        """Add a route, replacing one of the same destination, metric and interface.

        ValueError for bits behind the prefix or a full table.
        """
        if network & ~_addr.mask(prefix) & 0xFFFFFFFF:
            raise ValueError("bits behind the prefix: %s" % _addr.format_cidr(network, prefix))
        self.remove(network, prefix, iface, metric)
        if len(self._routes) >= _MAX_ROUTES:
            raise ValueError("routing table full")
        route = Route(network, prefix, gateway, iface, metric, source, src)
        i = 0
        routes = self._routes
        while i < len(routes) and (
            routes[i].prefix > prefix or (routes[i].prefix == prefix and routes[i].metric <= metric)
        ):
            i += 1
        routes.insert(i, route)
        self.epoch += 1
        return route

    def remove(self, network, prefix, iface=None, metric=None):
        """Remove the routes of a destination; True if there was one."""
        return self._filter(
            lambda r: r.network == network
            and r.prefix == prefix
            and (iface is None or r.iface is iface)
            and (metric is None or r.metric == metric)
        )

    def remove_iface(self, iface, source=None):
        """Remove the routes through iface (made by source)."""
        return self._filter(lambda r: r.iface is iface and (source is None or r.source == source))

    def _filter(self, drop):
        keep = [r for r in self._routes if not drop(r)]
        found = len(keep) < len(self._routes)
        if found:
            self._routes = keep
            self.epoch += 1
        return found

    def changed(self):
        """Something else that lookups depend on has changed (an address, a link)."""
        self.epoch += 1

    def lookup(self, dst):
        """The Route for dst, or None. Interfaces that are down are passed over."""
        for r in self._routes:
            if dst & r.mask == r.network and r.iface.up:
                return r
        return None

    def default(self, iface=None):
        """The default route (through iface), or None."""
        for r in self._routes:
            if not r.prefix and (iface is None or r.iface is iface):
                return r
        return None
