"""What records already prove: RFC 8198. NSEC of a secure zone answer for whole gaps of names.

Held by zone, in canonical order, at most _MAX; for as long as their TTLs and the SOA's say.

Not implemented: the same from NSEC3 (each look-up would hash, for gaps that are smaller), and
positive answers from wildcards (section 5.3).
"""

from micropython import const

from stack.dns import name as _name
from stack.dns import packet
from stack.dns.denial import Denial
from stack.dns.dnssec import SECURE, Budget
from stack.dns.rdata import DS, NSEC
from stack.dns.recursor.cache import ANY_TYPE, NEGATIVE_TTL_MAX, Entry

# A record takes about 600 bytes with its signature: 75 KB a zone at most.
_MAX = const(128)


class Denials:
    """NSEC records of one zone: `keys` sorted (name.order), `sets` and `until` beside them."""

    def __init__(self):
        self.soa = None
        self.soa_until = 0
        self.keys = []
        self.sets = []
        self.until = []

    def add(self, s, until):
        key = _name.order(s.name)
        i = self._index(key)
        if i < len(self.keys) and self.keys[i] == key:
            self.sets[i] = s
            self.until[i] = until
            return
        if len(self.keys) >= _MAX:
            # The one that expires first makes room.
            k = self.until.index(min(self.until))
            del self.keys[k]
            del self.sets[k]
            del self.until[k]
            i = self._index(key)
        self.keys.insert(i, key)
        self.sets.insert(i, s)
        self.until.insert(i, until)

    def _index(self, key):
        """The first place whose key is not below `key`."""
        low = 0
        high = len(self.keys)
        while low < high:
            middle = (low + high) >> 1
            if self.keys[middle] < key:
                low = middle + 1
            else:
                high = middle
        return low

    def at(self, name, now):
        """The record at the name, or the last one before it; None when it is not known."""
        key = _name.order(name)
        i = self._index(key)
        if i == len(self.keys) or self.keys[i] != key:
            i -= 1
        if i < 0 or self.until[i] <= now:
            return None
        return self.sets[i]


def remember(q, zone, soa, sets):
    """Keep the checked NSEC records of a secure negative answer."""
    for s in sets:
        if s.type == NSEC:
            if zone.denials is None:
                zone.denials = Denials()
            ttl = min(s.ttl, soa.ttl, NEGATIVE_TTL_MAX)
            zone.denials.add(s, q.now + ttl * 1000000)
            zone.denials.soa = soa
            zone.denials.soa_until = q.now + soa.ttl * 1000000


def lookup(q, zone, name, type):
    """A negative Entry that the zone's known NSEC records prove, or None."""
    held = zone.denials
    if held is None or not zone.signed() or not _name.under(name, zone.name) or type == DS:
        return None
    now = q.now
    if held.soa_until <= now:
        return None
    s = held.at(name, now)
    if s is None:
        return None
    sets = [s]
    # The wildcard of each ancestor might match: the record at or before it is needed too.
    n = name
    while n != zone.name:
        n = _name.parent(n)
        w = held.at(_name.WILDCARD + n, now)
        if w is not None and w not in sets:
            sets.append(w)
    denial = Denial(sets, zone.name, Budget())
    soa = held.soa
    minimum = int.from_bytes(soa.data[0][-4:], "big")
    if s.name != name and denial.no_name(name):
        e = Entry(name, ANY_TYPE, packet.NXDOMAIN, SECURE, (), [soa] + sets)
    elif denial.no_type(name, type):
        e = Entry(name, type, packet.NOERROR, SECURE, (), [soa] + sets)
    else:
        return None
    q.recursor.stats.count("dns.aggressive")
    left = min(held.soa_until - now, minimum * 1000000)
    for s in sets:
        left = min(left, held.until[held.sets.index(s)] - now)
    q.recursor.cache.put(e, left // 1000000, now)
    return e
