"""A map bounded in bytes, from which what was not used for longest goes first."""


class Node:
    """What an Lru holds: `key`, `size` in bytes, and its place in the order of use."""

    __slots__ = ("key", "size", "older", "newer")

    def __init__(self):
        self.key = None
        self.size = 0
        self.older = self.newer = None


class Lru:
    """Nodes by key. `bytes`: what they hold together, never over `limit`."""

    def __init__(self, limit):
        self.limit = limit
        self.bytes = 0
        self.hits = 0
        self.misses = 0
        self._map = {}
        # A ring of nodes: newer than the head is the least recently used.
        self._head = h = Node()
        h.older = h.newer = h

    def __len__(self):
        return len(self._map)

    def use(self, key, now):
        """The node of a key, the most recently used from now on, if its `until` is after now."""
        n = self._map.get(key)
        if n is None or n.until <= now:
            self.misses += 1
            return None
        self.hits += 1
        n.older.newer = n.newer
        n.newer.older = n.older
        self._link(n)
        return n

    def add(self, key, node, size):
        """Keep a node, in the place of what has its key; others make room."""
        if key in self._map:
            self.drop(self._map[key])
        node.key = key
        node.size = size
        self.bytes += size
        self._map[key] = node
        self._link(node)
        while self.bytes > self.limit:
            self.drop(self._head.newer)

    def drop(self, node):
        node.older.newer = node.newer
        node.newer.older = node.older
        del self._map[node.key]
        self.bytes -= node.size

    def clear(self):
        while self._head.newer is not self._head:
            self.drop(self._head.newer)

    def entries(self, now):
        """The nodes that have not expired, a list."""
        return [n for n in self._map.values() if n.until > now]

    def _link(self, node):
        h = self._head
        node.newer = h
        node.older = h.older
        h.older.newer = node
        h.older = node
