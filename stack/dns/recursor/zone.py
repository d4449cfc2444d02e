"""A zone as its parent delegates it: name servers, their addresses, where its trust comes from."""

from micropython import const

from stack.dns import name as _name
from stack.dns.dnssec import INSECURE, SECURE

# About 1 KB each: 512 KB.
_MAX = const(512)
# Name servers of a zone that are looked at, and addresses of each: RFC 1034 has no limit,
# and the root has 13.
NS_MAX = const(16)
ADDRESSES_MAX = const(8)


class Zone:
    """`servers`: list of [name, addresses] where no addresses means that none came as glue.

    `status` SECURE: `ds` are the RDATA of DS that its keys have to match, `keys` those that
    did, until `keys_until`; INSECURE: the parent proved that there is no DS, or is so itself.
    """

    __slots__ = ("name", "servers", "status", "ds", "keys", "keys_until", "until", "denials")

    def __init__(self, name, servers, status, ds, until):
        self.name = name
        self.servers = servers
        self.status = status
        self.ds = ds
        self.keys = None
        self.keys_until = 0
        self.until = until
        self.denials = None  # aggressive.Denials, once there are any

    def signed(self):
        return self.status == SECURE

    def __repr__(self):
        how = "secure" if self.status == SECURE else "insecure"
        return "<Zone %s %s>" % (_name.to_text(self.name) or ".", how)


class Zones:
    """The zone cuts that are known."""

    def __init__(self, root):
        self.root = root
        self._map = {}

    def __len__(self):
        return len(self._map)

    def add(self, zone):
        if len(self._map) >= _MAX and zone.name not in self._map:
            self._evict()
        self._map[zone.name] = zone

    def _evict(self):
        """The half that expires first."""
        keep = sorted(self._map.values(), key=lambda z: -z.until)[: _MAX // 2]
        self._map = {z.name: z for z in keep}

    def closest(self, name, now):
        """The deepest known zone that `name` is in."""
        while name[0]:
            z = self._map.get(name)
            if z is not None:
                if z.until > now:
                    return z
                del self._map[name]
            name = _name.parent(name)
        return self.root

    def get(self, name, now):
        z = self._map.get(name)
        return z if z is not None and z.until > now else None

    def clear(self):
        self._map.clear()
        self.root.keys = None

    def all(self):
        return list(self._map.values())


def insecure(name, servers, until):
    return Zone(name, servers, INSECURE, (), until)
