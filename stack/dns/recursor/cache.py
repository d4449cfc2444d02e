"""What has been found out: answers by name and type, least recently used out first. RFC 2308.

Bounded in bytes. An entry that has expired is kept a while for when nobody answers
(serve-stale, RFC 8767). Times in us.
"""

from micropython import const

from stack.dns import name as _name
from stack.dns.dnssec import SECURE
from stack.dns.rdata import CNAME, DS

# RFC 8767, section 5: a stale answer is given with a TTL of 30 s, for one to three days.
STALE_TTL = const(30)
_STALE_US = const(86400 * 1000000)
# A day: whatever a zone says, a name that moved is found again.
TTL_MAX = const(86400)
# RFC 2308, section 5: "values of one to three hours ... should be the default".
NEGATIVE_TTL_MAX = const(3600)
# RFC 9520, section 3.2: failures are remembered for 1 s to 5 minutes.
FAILURE_TTL = const(5)

ANY_TYPE = const(0)  # NXDOMAIN is said of all types


class Entry:
    """One answer. `answer`, `authority`: Rrsets (signatures and proofs in them). `alias`: the
    name that an alias leads to, or None. `status`: see dnssec.py. `ede`: (code, words) or None.
    """

    __slots__ = (
        "name", "type", "rcode", "status", "answer", "authority", "alias", "ede",
        "began", "until", "size", "older", "newer",
    )  # fmt: skip

    def __init__(self, name, type, rcode, status, answer, authority=(), alias=None, ede=None):
        self.name = name
        self.type = type
        self.rcode = rcode
        self.status = status
        self.answer = answer
        self.authority = authority
        self.alias = alias
        self.ede = ede
        self.began = self.until = 0
        self.size = 0
        self.older = self.newer = None

    def left(self, now):
        """Seconds until it expires, rounded up; a stale one's are RFC 8767's."""
        us = self.until - now
        return (us + 999999) // 1000000 if us > 0 else STALE_TTL


class Cache:
    """`get` and `put` of Entries. `limit`: bytes."""

    def __init__(self, limit):
        self.limit = limit
        self.bytes = 0
        self.hits = 0
        self.misses = 0
        self._map = {}
        # A ring of entries: newer than the head is the oldest.
        self._head = h = Entry(b"", 0, 0, 0, ())
        h.older = h.newer = h

    def __len__(self):
        return len(self._map)

    def get(self, name, type, now):
        """The Entry for a name (wire, lower case) and type that has not expired, or None."""
        e = self._map.get((name, type))
        if e is None or e.until <= now:
            self.misses += 1
            return None
        self.hits += 1
        self._unlink(e)
        self._link(e)
        return e

    def known(self, name, type, now):
        """An Entry for this name and type, for its alias, or for its absence; or None."""
        e = self.get(name, type, now)
        if e is None and type != CNAME and type != DS:
            e = self.get(name, CNAME, now)
            if e is not None and e.alias is None:
                e = None
        if e is not None:
            return e
        n = name
        while n[0]:
            # RFC 8020: below a name that does not exist there is nothing. Only if proved.
            e = self.get(n, ANY_TYPE, now)
            if e is not None and (n == name or e.status == SECURE):
                return e
            n = _name.parent(n)
        return None

    def stale(self, name, type, now):
        """One that has expired, not too long ago."""
        e = self._map.get((name, type))
        return e if e is not None and now < e.until + _STALE_US else None

    def put(self, e, ttl, now):
        """Keep an Entry for ttl seconds."""
        ttl = min(ttl, TTL_MAX)
        if ttl <= 0:
            return
        key = (e.name, e.type)
        old = self._map.get(key)
        if old is not None:
            self._drop(old)
        e.began = now
        e.until = now + ttl * 1000000
        # The dict's slot, the key, the entry itself.
        size = 400 + len(e.name)
        for s in e.answer:
            size += s.size()
        for s in e.authority:
            size += s.size()
        e.size = size
        self.bytes += size
        self._map[key] = e
        self._link(e)
        while self.bytes > self.limit:
            self._drop(self._head.newer)

    def _link(self, e):
        h = self._head
        e.newer = h
        e.older = h.older
        h.older.newer = e
        h.older = e

    def _unlink(self, e):
        e.older.newer = e.newer
        e.newer.older = e.older

    def _drop(self, e):
        self._unlink(e)
        del self._map[(e.name, e.type)]
        self.bytes -= e.size

    def clear(self):
        while self._head.newer is not self._head:
            self._drop(self._head.newer)

    def entries(self, now):
        """Those that have not expired, a list."""
        return [e for e in self._map.values() if e.until > now]
