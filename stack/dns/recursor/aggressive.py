"""What checked records already prove: RFC 8198, of NSEC (5.1), NSEC3 (5.2) and wildcards (5.3).

    r.proofs = Proofs(limit)            of all zones, bounded in bytes
    remember(q, zone, soa, sets)        a secure answer's NSEC or NSEC3
    remember_wild(q, zone, s, labels)   the set that a wildcard made
    lookup(q, zone, name, type)         an Entry without asking, or None

Held by zone, in order of name or hash, for as long as their TTLs and the SOA's say. What is
made of them is not cached: a flood of random names leaves the cache alone.

Not used: NSEC3 with opt-out, since an unsigned delegation may lie in its span (5155, section 6).
"""

from micropython import const

from stack.dns import name as _name
from stack.dns import packet
from stack.dns.cache import NEGATIVE_TTL_MAX
from stack.dns.denial import Denial, closest, nsec3_owner_hash, nsec3_params
from stack.dns.dnssec import SECURE, Budget
from stack.dns.packet import Rrset
from stack.dns.rdata import CNAME, DNAME, DS, NS, NSEC, NSEC3
from stack.dns.recursor.cache import ANY_TYPE, Entry

# A record takes about 900 bytes with its signature and its place here: about 290 of them.
PROOFS_BYTES = const(256 << 10)
# Of one zone.
_MAX = const(128)
_WILD_MAX = const(16)
# One more SHA-1 costs about 30 us: hashes of one look-up, each of iterations + 1.
_WORK_MAX = const(100)


class Denials:
    """What is held of one zone: `keys` sorted, `sets` and `until` beside them.

    A key is name.order(owner) of NSEC, the owner's hash of NSEC3. `params`: (iterations, salt)
    of NSEC3, () of NSEC. `wild`: {(wildcard's name, type): (Rrset, until)}.
    """

    def __init__(self, params):
        self.params = params
        self.soa = None
        self.soa_until = 0
        self.keys = []
        self.sets = []
        self.until = []
        self.wild = {}
        self.used = 0
        self.bytes = 600

    def add(self, key, s, until):
        i = self._index(key)
        if i < len(self.keys) and self.keys[i] == key:
            self._remove(i)
        elif len(self.keys) >= _MAX:
            self.drop_one()
            i = self._index(key)
        self.keys.insert(i, key)
        self.sets.insert(i, s)
        self.until.insert(i, until)
        self.bytes += _size(s)

    def drop_one(self):
        """The record that expires first makes room, a wildcard's set before it."""
        if self.wild:
            self._forget(next(iter(self.wild)))
        else:
            self._remove(self.until.index(min(self.until)))

    def _remove(self, i):
        self.bytes -= _size(self.sets[i])
        self.keys.pop(i)
        self.sets.pop(i)
        self.until.pop(i)

    def set_soa(self, soa, until):
        if self.soa is not None:
            self.bytes -= self.soa.size()
        self.soa = soa
        self.soa_until = until
        self.bytes += soa.size()

    def add_wild(self, s, until):
        key = (s.name, s.type)
        if key in self.wild or len(self.wild) >= _WILD_MAX:
            self._forget(key if key in self.wild else next(iter(self.wild)))
        self.wild[key] = (s, until)
        self.bytes += _size(s)

    def _forget(self, key):
        self.bytes -= _size(self.wild.pop(key)[0])

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

    def at(self, key, now):
        """The set with this key, or None."""
        i = self._index(key)
        if i < len(self.keys) and self.keys[i] == key and self.until[i] > now:
            return self.sets[i]
        return None

    def before(self, key, now):
        """The last set whose key is not above `key`; of NSEC3 the ring's last before its first."""
        i = self._index(key)
        if i == len(self.keys) or self.keys[i] != key:
            i -= 1
        if i < 0 and not self.params or not self.keys or self.until[i] <= now:
            return None
        return self.sets[i]

    def left(self, sets, now):
        """Seconds for which all of the sets are good."""
        left = NEGATIVE_TTL_MAX * 1000000
        for s in sets:
            left = min(left, self.until[self.sets.index(s)] - now)
        return left // 1000000


def _size(s):
    # Its key too: a list of labels, or a hash.
    return s.size() + 180 + 2 * len(s.name)


class Proofs:
    """The Denials of all zones. `limit`, `bytes`."""

    def __init__(self, limit=PROOFS_BYTES):
        self.limit = limit
        self.bytes = 0
        self._map = {}
        self._uses = 0

    def __len__(self):
        return len(self._map)

    def get(self, zone):
        """The Denials of a zone's name, or None."""
        d = self._map.get(zone)
        if d is not None:
            self._uses += 1
            d.used = self._uses
        return d

    def take(self, zone, params=None):
        """The same, made where there are none of these parameters."""
        d = self.get(zone)
        if d is not None and params is not None and d.params != params:
            self.clear(zone)  # the zone is denied in another way now
            d = None
        if d is None and params is not None:
            self._map[zone] = d = Denials(params)
            self._uses += 1
            d.used = self._uses
            self.bytes += d.bytes
        return d

    def changed(self, d, before):
        """`d` had `before` bytes. Those least recently used make room."""
        self.bytes += d.bytes - before
        while self.bytes > self.limit and len(self._map) > 1:
            self.clear(min(self._map, key=lambda z: self._map[z].used))
        while self.bytes > self.limit and d.keys:
            before = d.bytes
            d.drop_one()
            self.bytes += d.bytes - before

    def clear(self, zone=None):
        """Forget a zone, or all."""
        if zone is None:
            self._map.clear()
            self.bytes = 0
        else:
            self.bytes -= self._map.pop(zone).bytes


def remember(q, zone, soa, sets):
    """Keep the checked NSEC or NSEC3 records of a secure answer. soa: a checked Rrset, or None."""
    proofs = q.recursor.proofs
    for s in sets:
        if s.type == NSEC:
            params = ()
            key = _name.order(s.name)
        else:
            params = nsec3_params(s)
            key = nsec3_owner_hash(s)
            if params is None or key is None:
                continue
        d = proofs.take(zone.name, params)
        before = d.bytes
        ttl = min(s.ttl, NEGATIVE_TTL_MAX)
        if soa is not None:
            ttl = min(ttl, soa.ttl)
            d.set_soa(soa, q.now + soa.ttl * 1000000)
        d.add(key, s, q.now + ttl * 1000000)
        proofs.changed(d, before)


def remember_wild(q, zone, s, labels):
    """Keep a checked set that was made from a wildcard of so many labels."""
    d = q.recursor.proofs.take(zone.name)
    if d is None or s.type in (NS, DNAME, DS, NSEC, NSEC3):
        return
    wild = Rrset(_name.WILDCARD + _name.tail(s.name, labels), s.type, s.ttl, s.data, s.sigs)
    before = d.bytes
    d.add_wild(wild, q.now + s.ttl * 1000000)
    q.recursor.proofs.changed(d, before)


def lookup(q, zone, name, type):
    """An Entry that the zone's records prove, or None."""
    if not zone.signed() or type == DS or not _name.under(name, zone.name):
        return None
    held = q.recursor.proofs.get(zone.name)
    if held is None:
        return None
    now = q.now
    find = _from_nsec3 if held.params else _from_nsec
    hashes = {}
    found = find(held, zone.name, name, hashes, now)
    if found is None:
        return None
    sets, nearest = found
    denial = Denial(sets, zone.name, Budget(), hashes)
    e = None
    if nearest != name:
        e = _from_wild(held, denial, sets, name, type, nearest, now)
    if e is None and held.soa is not None and held.soa_until > now:
        e = _negative(held, denial, sets, name, type, now)
    if e is not None:
        q.recursor.stats.count("dns.aggressive")
    return e


def _from_nsec(held, zone, name, hashes, now):
    """([NSEC that speak of the name and its wildcard], closest encloser), or None."""
    s = held.before(_name.order(name), now)
    if s is None:
        return None
    if s.name == name:
        return [s], name
    nearest = closest(name, s)
    if not _name.under(nearest, zone):
        return None
    w = held.before(_name.order(_name.WILDCARD + nearest), now)
    return [s] if w is None or w is s else [s, w], nearest


def _from_nsec3(held, zone, name, hashes, now):
    """The same of NSEC3: what matches the closest encloser, covers the next closer name and
    matches or covers the wildcard. RFC 5155, section 8.3."""
    work = _name.count(name) - _name.count(zone) + 2
    if work * (held.params[0] + 1) > _WORK_MAX:
        return None
    denial = Denial([], zone, Budget(), hashes)
    denial.params = held.params
    n = name
    closer = None
    while True:
        match = held.at(denial.hash(n), now)
        if match is not None:
            break
        if n == zone:
            return None
        closer = n
        n = _name.parent(n)
    if closer is None:
        return [match], name
    sets = [match]
    for other in (closer, _name.WILDCARD + n):
        s = held.before(denial.hash(other), now)
        if s is not None and s not in sets:
            sets.append(s)
    return sets, n


def _from_wild(held, denial, sets, name, type, nearest, now):
    wild = _name.WILDCARD + nearest
    for t in (type, CNAME):
        found = held.wild.get((wild, t))
        if found is None or found[1] <= now or not denial.no_closer(name, _name.count(nearest)):
            continue
        if denial.insecure:
            return None
        s, until = found
        left = min(held.left(sets, now), (until - now) // 1000000)
        made = Rrset(name, t, left, s.data, s.sigs)
        made.status = SECURE
        alias = s.data[0].lower() if t == CNAME else None
        e = Entry(name, t, packet.NOERROR, SECURE, [made], sets, alias)
        return _timed(e, left, now)
    return None


def _negative(held, denial, sets, name, type, now):
    soa = held.soa
    if denial.no_name(name):
        e = Entry(name, ANY_TYPE, packet.NXDOMAIN, SECURE, (), [soa] + sets)
    elif denial.no_type(name, type):
        e = Entry(name, type, packet.NOERROR, SECURE, (), [soa] + sets)
    else:
        return None
    if denial.insecure:
        return None
    minimum = int.from_bytes(soa.data[0][-4:], "big")
    left = min(held.left(sets, now), minimum, (held.soa_until - now) // 1000000)
    return _timed(e, left, now)


def _timed(e, left, now):
    if left <= 0:
        return None
    # Never fetched ahead: it is made anew each time.
    e.began = e.until = now + left * 1000000
    return e
