"""What routers have told of the MTU on the way to a destination, for both families.

RFC 1191, section 6.3 (forget after ten minutes), RFC 8201, section 4.

Not implemented: plateau tables for routers that name no MTU.
"""

from micropython import const

from stack.core.timers import NEVER

_MAX = const(256)  # destinations, of some 100 bytes
_AGE_US = const(600_000_000)


class PathMtu:
    """`epochs.changed()` is called when an entry comes or goes: Paths look again."""

    def __init__(self, epochs, timers):
        self.epochs = epochs
        self._timers = timers
        self.timer_at = 0
        self.timer_index = -1
        self._known = {}  # destination -> (mtu, until)

    def __len__(self):
        return len(self._known)

    def get(self, dst, mtu):
        """The lesser of `mtu` and what is known for dst."""
        if not self._known:
            return mtu
        e = self._known.get(dst)
        return e[0] if e is not None and e[0] < mtu else mtu

    def lower(self, dst, mtu, now):
        """A packet of more than `mtu` bytes did not get through to dst. True if that is news."""
        known = self._known
        e = known.get(dst)
        if e is not None and e[0] <= mtu:
            return False
        if e is None and len(known) >= _MAX:
            oldest = min(known, key=lambda d: known[d][1])
            del known[oldest]
        known[dst] = (mtu, now + _AGE_US)
        self._timers.arm(self, now + _AGE_US)
        self.epochs.changed()
        return True

    def poll_at(self):
        at = NEVER
        for e in self._known.values():
            at = min(at, e[1])
        return at

    def on_timer(self, now):
        """RFC 1191: try a larger one again, ten minutes after the last bad news."""
        for dst in list(self._known):
            if self._known[dst][1] <= now:
                del self._known[dst]
        self.epochs.changed()
