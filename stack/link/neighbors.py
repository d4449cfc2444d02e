"""Neighbours on a link: which MAC address has an IP address next to us. ARP and ND fill it in.

RFC 1122, section 2.3.2; RFC 4861, section 7.3. States of a neighbour:

    INCOMPLETE   asked by broadcast or group, frames wait -> REACHABLE, or FAILED after 3 requests
    REACHABLE    it answered; good for a while, then asked again when used
    STALE        it asked us, or was said to be elsewhere; asked before it is believed for long
    DELAY        ND only: in use for less than 5 s since it was STALE -> PROBE
    PROBE        asked by unicast while frames go out -> REACHABLE, or given up after 3
    FAILED       silent; frames are refused for a second, then it is asked again

Not implemented: hints of progress from TCP.
"""

from micropython import const

from stack.core.timers import NEVER
from stack.wire import ethernet

FREE = const(0)
FAILED = const(1)
INCOMPLETE = const(2)
STALE = const(3)
PROBE = const(4)
REACHABLE = const(5)
DELAY = const(6)
NAMES = ("free", "failed", "incomplete", "stale", "probe", "reachable", "delay")

_MAX_NEIGHBORS = const(256)  # of about 300 bytes each: 75 KB
_SCAN = const(16)  # entries looked at to find a victim: bounds the work a flood makes
_MAX_QUEUED = const(16)  # frames waiting for one neighbour; in all, a quarter of the pool

_FORGET_US = const(600_000_000)  # an entry nobody used for 10 minutes goes
_RETRY_US = const(1_000_000)  # RFC 1122, section 2.3.2.1: at most one request a second
_TRIES = const(3)
_SWEEP_US = const(60_000_000)


class Neighbor:
    """`stamp` changes with `addr` and `mac`: who holds the object compares it.

    `until` is when the entry stops being plainly usable; 0 unless REACHABLE.
    """

    __slots__ = (
        "addr", "mac", "state", "stamp", "until", "due", "tries", "heard", "head", "tail", "queued",
        "ip6", "router",
    )  # fmt: skip

    def __init__(self, addr=0, mac=0, state=FREE, until=0):
        self.addr = addr
        self.mac = mac
        self.state = state
        self.stamp = 1
        self.until = until
        self.due = NEVER  # when to ask again or to give up
        self.tries = 0
        self.heard = 0  # when it last spoke, or was made
        self.head = self.tail = None
        self.queued = 0
        self.ip6 = None  # ND: the 16 bytes of the address
        self.router = False


def permanent(mac):
    """A neighbour that needs no resolving: broadcast, a group, the loopback."""
    return Neighbor(0, mac, REACHABLE, NEVER)


class Neighbors:
    """The neighbours of `iface`, which gives `mac` and `tx(frame)`; a subclass sends requests.

    `upper.on_unresolved(frame, now)` sees each frame that is given up, at its
    Ethernet header, before it is released. `layer`: what its counters begin with.
    """

    def __init__(self, iface, pool, stats, timers, upper, layer):
        self.iface = iface
        self.pool = pool
        self.stats = stats
        self.upper = upper
        self._timers = timers
        self.timer_at = 0
        self.timer_index = -1
        self.retry_us = _RETRY_US
        self._next = NEVER
        self._sweep_at = NEVER
        self._by_addr = {}
        self._slots = []
        self._hand = 0
        self._stamp = 1
        self._queued = 0
        self._max_queued = max(4, len(pool.frames) // 4)
        # Made once: counting must not allocate.
        self._unreachable = layer + ".unreachable"
        self._queue_full = layer + ".queue_full"
        self._ring_full = layer + ".ring_full"
        self._moved = layer + ".moved"
        self._table_full = layer + ".table_full"
        self._evicted = layer + ".evicted"

    def solicit(self, e, now):
        """Send a request for e: to the address we know in PROBE, else to all."""
        raise NotImplementedError

    # Sending.

    def neighbor(self, addr, now):
        """The entry of addr, made if there is none."""
        e = self._by_addr.get(addr)
        if e is None:
            e = self._make(addr, REACHABLE, now)
        return e

    def output(self, e, frame, now):
        """Send a frame, Ethernet header in place, whose neighbour is not plainly REACHABLE.

        Fills in the destination. Consumes the frame, or returns False for a full ring.
        """
        state = e.state
        if state >= STALE:
            if state != PROBE and now >= e.until:
                self._ask(e, PROBE, now)
            ethernet.put_mac(frame.buf, frame.off, e.mac)
            return self.iface.tx(frame)
        if state == FREE or (state == FAILED and now >= e.due):
            self._ask(e, INCOMPLETE, now)
        if e.state == FAILED:
            self.stats.drop(self._unreachable)
            self.upper.on_unresolved(frame, now)
            frame.release()
        else:
            self._queue(e, frame)
        return True

    def ready(self, e, n, now):
        """True if n frames given to output now would not be lost for want of an answer.

        Begins to ask when nobody has.
        """
        if e.state == FREE or (e.state == FAILED and now >= e.due):
            self._ask(e, INCOMPLETE, now)
        if e.state != INCOMPLETE:
            return True
        return e.queued + n <= _MAX_QUEUED and self._queued + n <= self._max_queued

    def _queue(self, e, frame):
        if e.queued >= _MAX_QUEUED or self._queued >= self._max_queued:
            self.stats.drop(self._queue_full)
            frame.release()
            return
        frame.next = None
        if e.head is None:
            e.head = frame
        else:
            e.tail.next = frame
        e.tail = frame
        e.queued += 1
        self._queued += 1

    def _flush(self, e, now, dead):
        """Send the frames that waited for e, or give them up."""
        f = e.head
        e.head = e.tail = None
        self._queued -= e.queued
        e.queued = 0
        while f is not None:
            after = f.next
            f.next = None
            if dead:
                self.stats.drop(self._unreachable)
                self.upper.on_unresolved(f, now)
                f.release()
            else:
                ethernet.put_mac(f.buf, f.off, e.mac)
                if not self.iface.tx(f):
                    self.stats.drop(self._ring_full)
                    f.release()
            f = after

    def _ask(self, e, state, now):
        e.state = state
        e.until = 0
        e.tries = 0
        self._request(e, now)

    def _request(self, e, now):
        e.tries += 1
        e.due = now + self.retry_us
        self._arm(e.due)
        self.solicit(e, now)

    # What was heard.

    def _heard(self, e, mac, now):
        """Someone claims e's address unasked: if from elsewhere, ask the one we know."""
        if e.mac == mac:
            e.heard = now
            return
        if e.state == INCOMPLETE or e.state == FAILED:
            return
        self.stats.count(self._moved)
        if e.state != PROBE:
            self._ask(e, PROBE, now)

    def _set_mac(self, e, mac, now):
        e.heard = now
        if e.mac != mac:
            e.mac = mac
            self._stamp += 1
            e.stamp = self._stamp

    # The table.

    def _make(self, addr, worth, now):
        """A FREE entry for addr. None if it would cost an entry of more worth."""
        slots = self._slots
        if len(slots) < _MAX_NEIGHBORS:
            e = Neighbor()
            slots.append(e)
        else:
            e = self._victim(worth, now)
            if e is None:
                self.stats.drop(self._table_full)
                return None
            self.stats.count(self._evicted)
            self._forget(e, now)
        e.addr = addr
        e.mac = 0
        e.heard = now
        self._stamp += 1
        e.stamp = self._stamp
        self._by_addr[addr] = e
        if self._sweep_at == NEVER:
            self._sweep_at = now + _SWEEP_US
            self._arm(self._sweep_at)
        return e

    def _victim(self, worth, now):
        """The least useful of the next entries in turn."""
        best = None
        least = worth
        n = 0
        while n < _SCAN:
            e = self._slots[self._hand]
            self._hand = (self._hand + 1) % _MAX_NEIGHBORS
            w = e.state
            if w == REACHABLE and now >= e.until:
                w = STALE - 1
            elif w == STALE:
                w = STALE - 2
            elif w == FAILED or w == FREE:
                w = 0
            if w < least or (best is None and w <= least):
                best = e
                least = w
            n += 1
        return best

    def _forget(self, e, now):
        if self._by_addr.get(e.addr) is e:
            del self._by_addr[e.addr]
        self._flush(e, now, True)
        e.addr = 0
        e.state = FREE
        e.until = 0
        e.due = NEVER
        self._stamp += 1
        e.stamp = self._stamp

    def clear(self, now):
        """Forget everyone (our address or the link has changed)."""
        for e in self._slots:
            self._forget(e, now)

    def entries(self):
        """The neighbours in use."""
        return [e for e in self._slots if e.state != FREE]

    # Time.

    def _arm(self, at):
        if at < self._next:
            self._next = at
        self._timers.arm(self, at)

    def poll_at(self):
        return self._next

    def on_timer(self, now):
        """Ask again, give up, and sweep."""
        sweep = now >= self._sweep_at
        self._next = NEVER
        nearest = NEVER
        used = 0
        for e in self._slots:
            if e.due <= now:
                self._due(e, now)
            if sweep and STALE <= e.state and e.state != PROBE and now - e.heard > _FORGET_US:
                self._forget(e, now)
            if e.state != FREE:
                used += 1
            if e.due < nearest:
                nearest = e.due
        if sweep:
            self._sweep_at = now + _SWEEP_US if used else NEVER
        self._next = min(nearest, self._sweep_at, self._next)

    def _due(self, e, now):
        if e.state == FAILED:
            self._forget(e, now)
        elif e.tries < _TRIES:
            self._request(e, now)
        elif e.state == PROBE:
            self._ask(e, INCOMPLETE, now)
        else:
            e.state = FAILED
            e.due = now + _RETRY_US
            self._flush(e, now, True)
