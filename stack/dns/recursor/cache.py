"""What has been found out: answers by name and type, least recently used out first. RFC 2308.

Bounded in bytes. An entry that has expired is kept a while for when nobody answers
(serve-stale, RFC 8767). Times in us.
"""

from micropython import const

from stack.dns import name as _name
from stack.dns.cache import TTL_MAX
from stack.dns.dnssec import SECURE
from stack.dns.lru import Lru, Node
from stack.dns.rdata import CNAME, DS

# RFC 8767, section 5: a stale answer is given with a TTL of 30 s, for one to three days.
STALE_TTL = const(30)
_STALE_US = const(86400 * 1000000)
# RFC 9520, section 3.2: failures are remembered for 1 s to 5 minutes.
FAILURE_TTL = const(5)

ANY_TYPE = const(0)  # NXDOMAIN is said of all types


class Entry(Node):
    """One answer. `answer`, `authority`: Rrsets (signatures and proofs in them). `alias`: the
    name that an alias leads to, or None. `status`: see dnssec.py. `ede`: (code, words) or None.
    """

    __slots__ = (
        "name", "type", "rcode", "status", "answer", "authority", "alias", "ede", "began", "until",
    )  # fmt: skip

    def __init__(self, name, type, rcode, status, answer, authority=(), alias=None, ede=None):
        super().__init__()
        self.name = name
        self.type = type
        self.rcode = rcode
        self.status = status
        self.answer = answer
        self.authority = authority
        self.alias = alias
        self.ede = ede
        self.began = self.until = 0

    def left(self, now):
        """Seconds until it expires, rounded up; a stale one's are RFC 8767's."""
        us = self.until - now
        return (us + 999999) // 1000000 if us > 0 else STALE_TTL


class Cache(Lru):
    """`get` and `put` of Entries. `limit`: bytes."""

    def get(self, name, type, now):
        """The Entry for a name (wire, lower case) and type that has not expired, or None."""
        return self.use((name, type), now)

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
        e.began = now
        e.until = now + ttl * 1000000
        # The dict's slot, the key, the entry itself.
        size = 400 + len(e.name)
        for s in e.answer:
            size += s.size()
        for s in e.authority:
            size += s.size()
        self.add((e.name, e.type), e, size)
