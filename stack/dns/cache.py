"""What servers answered, kept for as long as its TTL says. RFC 1035, 2308."""

from micropython import const

from stack.dns.lru import Lru, Node

# Of all entries together, as _size counts; most are of 600 to 800 bytes, so 120 to 160 are held.
# What is larger than an eighth (one name with 50 addresses) is not kept.
BYTES_MAX = const(96 << 10)
# A day: whatever a zone says, a name that moved is found again (RFC 1035 would allow weeks).
TTL_MAX = const(86400)
# RFC 2308, section 5: "values of one to three hours ... should be the default".
NEGATIVE_TTL_MAX = const(3600)


class Answer(Node):
    __slots__ = ("rcode", "records", "until")

    def __init__(self, rcode, records, until):
        super().__init__()
        self.rcode = rcode
        self.records = records
        self.until = until


class Cache(Lru):
    """`get` and `put` answers by (lower-case name, type). Times in us."""

    def __init__(self, limit=BYTES_MAX):
        super().__init__(limit)

    def get(self, name, type, now):
        """(rcode, records, seconds left) or None. The records' own TTL is as it was received."""
        a = self.use((name, type), now)
        return None if a is None else (a.rcode, a.records, (a.until - now) // 1000000)

    def put(self, name, type, rcode, records, ttl, now):
        """Keep an answer for ttl seconds; `records` empty is a negative one."""
        ttl = min(ttl, TTL_MAX if records else NEGATIVE_TTL_MAX)
        if ttl <= 0:
            return
        size = _size(name, records)
        if size <= self.limit >> 3:
            self.add((name, type), Answer(rcode, records, now + ttl * 1000000), size)

    def list(self, now):
        """What is held: (name, type, seconds left, records) each."""
        return [a.key + ((a.until - now) // 1000000, a.records) for a in self.entries(now)]


def _size(name, records):
    """Bytes of memory, about: the slot, the key; of each record itself, name, data in two forms."""
    n = 360 + len(name)
    for r in records:
        n += 200 + len(r.name) + 3 * len(r.rdata or b"")
    return n
