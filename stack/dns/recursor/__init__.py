"""A validating recursive resolver, as pure machines. RFC 1034, 4035, 9156 and those named.

    question.py   one question on its way: messages out and in, what is accepted
    walk.py       from the root down to the zone that knows, aliases
    ask.py        the servers of a zone in turn, what their answers are
    trust.py      signatures and proofs, from the trust anchor down
    aggressive.py what NSEC and NSEC3 records already prove (RFC 8198)
    zone.py cache.py, ../servers.py    what is remembered
    forward.py    the same validation where others resolve for us

    r = Recursor(rng, unix_time, hints, anchor)
    q = r.start(name, type, now)    a Question: see there for how it is driven

Not implemented: RFC 5011 (the trust anchor changes by hand), ECS, TLS towards
authoritative servers.
"""

from micropython import const

from stack.core.stats import Stats
from stack.dns import name as _name
from stack.dns.dnssec import SECURE
from stack.dns.recursor import walk
from stack.dns.recursor.aggressive import Proofs
from stack.dns.recursor.cache import Cache
from stack.dns.recursor.question import Question
from stack.dns.recursor.zone import Zone, Zones, insecure
from stack.dns.servers import Servers

# An answer is 400 bytes to 4 KB: about 500 of them.
CACHE_BYTES = const(1 << 20)
_FOR_EVER = const(1 << 62)


class Recursor:
    """What all questions share.

    hints: [(name, [address, ...]), ...] of the root's servers, name in wire form, addresses
    of 4 or 16 bytes. anchor: RDATA of the root's DS, a list; [] trusts nothing and validates
    nothing. unix_time() in s: signatures are judged by it. ip6: AAAA of servers are used.
    """

    forward = False  # forward.py: the servers resolve for us

    def __init__(self, rng, unix_time, hints, anchor, stats=None, cache_bytes=CACHE_BYTES,
                 ip4=True, ip6=False):  # fmt: skip
        self._hints = hints
        self.rng = rng
        self.unix_time = unix_time
        self.stats = stats if stats is not None else Stats()
        servers = [[name, list(addresses)] for name, addresses in hints]
        if anchor:
            root = Zone(_name.ROOT, servers, SECURE, list(anchor), _FOR_EVER)
        else:
            root = insecure(_name.ROOT, servers, _FOR_EVER)
        self.zones = Zones(root)
        self.cache = Cache(cache_bytes)
        self.proofs = Proofs()
        self.servers = Servers(rng)
        self.ip4 = ip4
        self.ip6 = ip6
        self.flushes = 0
        self.chain = walk.chain  # for ask.py, which needs names of servers looked up

    def start(self, name, type, now, fresh=False):
        """A Question for a name (wire form) and a type. fresh: whatever the cache has of it."""
        return Question(self, name.lower(), type, now, walk.answer, fresh)

    def unvalidated(self):
        """Another that trusts nothing and shares what is known of servers."""
        r = Recursor(self.rng, self.unix_time, self._hints, (), self.stats,
                     self.cache.limit >> 2, self.ip4, self.ip6)  # fmt: skip
        r.servers = self.servers
        return r

    def flush(self):
        """Forget what was learned."""
        self.flushes += 1
        self.cache.clear()
        self.zones.clear()
        self.proofs.clear()
