"""An IPv4 address without a server: 169.254.x.y, chosen, probed and defended.

RFC 3927, sections 2 and 9; RFC 5227 (the same probes). States:

    PROBING     three probes a second or two apart, then two seconds of listening
    BOUND       ours; announced twice; defended once in ten seconds, else given up

A conflict makes a new choice; after ten of them one a minute.

Not implemented: keeping an address over a reboot (the choice is the MAC address's, so it is
the same again when nobody objects).
"""

from micropython import const

from stack.core.timers import NEVER

PROBING = const(0)
BOUND = const(1)

_FIRST = const(0xA9FE0100)  # 169.254.1.0
_COUNT = const(0xFE00)  # up to 169.254.254.255
_SECOND = const(1_000_000)
_PROBES = const(3)
_ANNOUNCEMENTS = const(2)
_LISTEN_US = const(2_000_000)
_MAX_CONFLICTS = const(10)
_RATE_US = const(60_000_000)
_DEFEND_US = const(10_000_000)


class LinkLocal:
    """`arp` sends probe(addr) and announce(now), and tells on_claim(addr, mac, now).

    on_address(addr, now): use this address from now on; 0: no more.
    """

    def __init__(self, arp, mac, rng, timers, stats, on_address, now):
        self.arp = arp
        self.stats = stats
        self.on_address = on_address
        self._rng = rng
        self._timers = timers
        self.timer_at = 0
        self.timer_index = -1
        self.addr = 0
        self.state = PROBING
        self.conflicts = 0
        self._seed = mac
        self._sent = 0
        self._at = NEVER
        self._defended = -_DEFEND_US
        arp.watch = self
        self._choose(now)

    def close(self):
        self._timers.cancel(self)
        if self.arp.watch is self:
            self.arp.watch = None

    def _random(self, us):
        r = self._rng(2)
        return us * (r[0] << 8 | r[1]) // 65536

    def _choose(self, now):
        """Section 2.1: evenly, from a generator seeded by the MAC address."""
        self._seed = (self._seed * 6364136223846793005 + 1442695040888963407) % (1 << 61)
        self.addr = _FIRST + (self._seed >> 20) % _COUNT
        self.state = PROBING
        self._sent = 0
        self._at = now + self._random(_SECOND)
        if self.conflicts >= _MAX_CONFLICTS:
            self._at = now + _RATE_US
        self._timers.arm(self, self._at)

    def poll_at(self):
        return self._at

    def on_timer(self, now):
        if now < self._at:
            return
        if self.state == PROBING:
            if self._sent < _PROBES:
                self._sent += 1
                self.arp.probe(self.addr)
                last = self._sent == _PROBES
                self._at = now + (_LISTEN_US if last else _SECOND + self._random(_SECOND))
                return
            self.state = BOUND
            self._sent = 0
            self.on_address(self.addr, now)
        self.arp.announce(now)
        self._sent += 1
        self._at = now + _LISTEN_US if self._sent < _ANNOUNCEMENTS else NEVER

    def on_claim(self, addr, now):
        """Another station uses, or probes for, the address `addr` (sections 2.2.1 and 2.5)."""
        if addr != self.addr:
            return
        if self.state == BOUND and now - self._defended >= _DEFEND_US:
            self._defended = now
            self.arp.announce(now)
            return
        self.stats.count("linklocal.conflict")
        self.conflicts += 1
        if self.state == BOUND:
            self.on_address(0, now)
        self._choose(now)
