"""Counters. A name is "layer.reason"; counting a name again allocates nothing."""

# A peer cannot add names: they are literals in the source. The bound is for our own mistakes.
_MAX_NAMES = 256


class Stats:
    def __init__(self):
        self.drops = {}
        self.counts = {}

    def drop(self, reason):
        """Count a packet dropped for `reason`."""
        d = self.drops
        if reason in d:
            d[reason] += 1
        elif len(d) < _MAX_NAMES:
            d[reason] = 1

    def count(self, name, n=1):
        """Add n to the counter `name`."""
        c = self.counts
        if name in c:
            c[name] += n
        elif len(c) < _MAX_NAMES:
            c[name] = n

    def dropped(self, reason):
        return self.drops.get(reason, 0)

    def get(self, name):
        return self.counts.get(name, 0)
