"""What an Ethernet interface listens to, and whom it has seen.

The destination filter (our address, broadcast, joined groups) and the MAC address
table, which a switch would call its forwarding table: source address -> when seen.

Not implemented: VLANs, several unicast addresses.
"""

from micropython import const

from stack.wire import ethernet

# Most groups joined at once: a program's doing, not a peer's.
_MAX_GROUPS = const(64)

# 64 sets of 4 addresses, two ints each: 256 stations and 4 KB, however many claim to exist.
# A new address takes the place of the one of its set that was silent longest.
_SETS = const(64)
_WAYS = const(4)
AGE_US = const(300_000_000)  # a station silent for 5 minutes is forgotten (802.1D's default)


class Link:
    """`mac` is our address, a 48-bit int."""

    def __init__(self, mac):
        self.mac = mac
        self._groups = {}  # group MAC -> how often joined
        self._macs = [0] * (_SETS * _WAYS)
        self._seen = [0] * (_SETS * _WAYS)

    def accepts(self, dst):
        """True if a frame to dst is for us."""
        return dst == self.mac or dst == ethernet.BROADCAST or dst in self._groups

    def join(self, group):
        """Listen to a group as well. ValueError when too many are joined."""
        if group not in self._groups and len(self._groups) >= _MAX_GROUPS:
            raise ValueError("too many groups")
        self._groups[group] = self._groups.get(group, 0) + 1

    def leave(self, group):
        n = self._groups.get(group, 0)
        if n > 1:
            self._groups[group] = n - 1
        elif n:
            del self._groups[group]

    def learn(self, mac, now):
        """Note that `mac` was seen. Allocates nothing."""
        macs = self._macs
        seen = self._seen
        i = (mac ^ mac >> 6 ^ mac >> 12 ^ mac >> 24) % _SETS * _WAYS
        oldest = i
        end = i + _WAYS
        while i < end:
            if macs[i] == mac:
                seen[i] = now
                return
            if seen[i] < seen[oldest]:
                oldest = i
            i += 1
        macs[oldest] = mac
        seen[oldest] = now

    def last_seen(self, mac):
        """When `mac` was seen last, us, or -1. Allocates nothing."""
        macs = self._macs
        i = (mac ^ mac >> 6 ^ mac >> 12 ^ mac >> 24) % _SETS * _WAYS
        end = i + _WAYS
        while i < end:
            if macs[i] == mac:
                return self._seen[i]
            i += 1
        return -1

    def seen(self, now):
        """[(mac, microseconds since it was seen)] of the stations not yet forgotten."""
        found = []
        for i, mac in enumerate(self._macs):
            if mac and now - self._seen[i] < AGE_US:
                found.append((mac, now - self._seen[i]))
        return found
