"""A zone as its parent delegates it: name servers, their addresses, where its trust comes from."""

from micropython import const

from stack.dns import name as _name
from stack.dns.dnssec import INSECURE, SECURE

# A zone takes 1 to 3 KB with its keys, a hostile one 70 KB: 170 to 500 of them.
ZONES_BYTES = const(512 << 10)
# Name servers of a zone that are looked at, and addresses of each: RFC 1034 has no limit,
# and the root has 13.
NS_MAX = const(16)
ADDRESSES_MAX = const(8)


class Zone:
    """`servers`: list of [name, addresses] where no addresses means that none came as glue.

    `status` SECURE: `ds` are the RDATA of DS that its keys have to match, `keys` those that
    did, until `keys_until`; INSECURE: the parent proved that there is no DS, or is so itself.
    `bogus`: (until, args of Bogus) where its keys were not good (RFC 9520, section 3), or None.
    """

    __slots__ = (
        "name", "servers", "status", "ds", "keys", "keys_until", "until", "bogus", "bytes",
    )  # fmt: skip

    def __init__(self, name, servers, status, ds, until):
        self.name = name
        self.servers = servers
        self.status = status
        self.ds = ds
        self.keys = None
        self.keys_until = 0
        self.until = until
        self.bogus = None
        self.bytes = 0  # as Zones accounts for it

    def signed(self):
        return self.status == SECURE

    def size(self):
        """Bytes of memory, about."""
        n = 600 + len(self.name)
        for name, addresses in self.servers:
            n += 150 + len(name) + 56 * len(addresses)
        for d in self.ds:
            n += 48 + len(d)
        for k in self.keys or ():
            n += 48 + len(k)
        return n

    def __repr__(self):
        how = "secure" if self.status == SECURE else "insecure"
        return "<Zone %s %s>" % (_name.to_text(self.name) or ".", how)


class Zones:
    """The zone cuts that are known: those that expire first make room. `limit`, `bytes`."""

    def __init__(self, root, limit=ZONES_BYTES):
        self.root = root
        self.limit = limit
        self.bytes = 0
        self._map = {}

    def __len__(self):
        return len(self._map)

    def add(self, zone):
        old = self._map.get(zone.name)
        if old is not None:
            self._drop(old)
        self._map[zone.name] = zone
        self.changed(zone)

    def changed(self, zone):
        """A zone is new, or has keys now."""
        if self._map.get(zone.name) is not zone:
            return
        n = zone.size()
        self.bytes += n - zone.bytes
        zone.bytes = n
        if self.bytes > self.limit:
            # An eighth goes, so that this is seldom done.
            for z in sorted(self._map.values(), key=lambda z: z.until):
                if z is not zone:
                    self._drop(z)
                if self.bytes <= self.limit - (self.limit >> 3):
                    break

    def _drop(self, zone):
        del self._map[zone.name]
        self.bytes -= zone.bytes
        zone.bytes = 0

    def closest(self, name, now):
        """The deepest known zone that `name` is in."""
        while name[0]:
            z = self._map.get(name)
            if z is not None:
                if z.until > now:
                    return z
                self._drop(z)
            name = _name.parent(name)
        return self.root

    def get(self, name, now):
        z = self._map.get(name)
        return z if z is not None and z.until > now else None

    def clear(self):
        self._map.clear()
        self.bytes = 0
        self.root.keys = None

    def all(self):
        return list(self._map.values())


def insecure(name, servers, until):
    return Zone(name, servers, INSECURE, (), until)
