"""Answers kept for as long as their TTL says, least recently used out first. RFC 1035, 2308."""

from micropython import const

_ENTRIES = const(128)
# Of all entries together, as _size counts; most are of 400 to 600 bytes. What is larger than an
# eighth (one name with 40 addresses) is not kept.
BYTES_MAX = const(96 << 10)
# A day: whatever a zone says, a name that moved is found again (RFC 1035 would allow weeks).
_TTL_MAX = const(86400)
# RFC 2308, section 5: "values of one to three hours ... should be the default".
_NEGATIVE_TTL_MAX = const(3600)


class Cache:
    """`get` and `put` answers by (lower-case name, type). Times in us."""

    def __init__(self, entries=_ENTRIES):
        self._entries = entries
        self._map = {}
        self.bytes = 0
        self._use = 0  # counts uses: the smallest number is the least recent
        self.hits = 0
        self.misses = 0

    def __len__(self):
        return len(self._map)

    def get(self, name, type, now):
        """(rcode, records, seconds left) or None. The records' own TTL is as it was received."""
        key = (name, type)
        e = self._map.get(key)
        if e is None or e[1] <= now:
            if e is not None:
                self._drop(key)
            self.misses += 1
            return None
        self.hits += 1
        self._use += 1
        e[0] = self._use
        return e[2], e[3], (e[1] - now) // 1000000

    def put(self, name, type, rcode, records, ttl, now):
        """Keep an answer for ttl seconds; `records` empty is a negative one."""
        most = _TTL_MAX if records else _NEGATIVE_TTL_MAX
        if ttl > most:
            ttl = most
        if ttl <= 0:
            return
        key = (name, type)
        if key in self._map:
            self._drop(key)
        size = _size(name, records)
        if size > BYTES_MAX >> 3:
            return
        while len(self._map) >= self._entries or self.bytes + size > BYTES_MAX:
            self._evict(now)
        self._use += 1
        self._map[key] = [self._use, now + ttl * 1000000, rcode, records, size]
        self.bytes += size

    def _drop(self, key):
        self.bytes -= self._map.pop(key)[4]

    def _evict(self, now):
        oldest = None
        least = self._use + 1
        for key, e in self._map.items():
            if e[1] <= now:
                oldest = key
                break
            if e[0] < least:
                least = e[0]
                oldest = key
        self._drop(oldest)

    def clear(self):
        self._map.clear()
        self.bytes = 0

    def list(self, now):
        """What is held: (name, type, seconds left, records) each."""
        return [
            (k[0], k[1], (e[1] - now) // 1000000, e[3]) for k, e in self._map.items() if e[1] > now
        ]


def _size(name, records):
    """Bytes of memory, about: the slot, the key; of each record itself, name, data in two forms."""
    n = 240 + len(name)
    for r in records:
        n += 200 + len(r.name) + 3 * len(r.rdata or b"")
    return n
