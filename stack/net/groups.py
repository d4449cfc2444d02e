"""Which multicast groups an interface wants: the half that IGMP and MLD have in common.

RFC 3376, sections 5 to 7; RFC 3810, sections 6 to 8. A change is reported at once and
once more (the robustness variable is 2); a query is answered after a random delay; where
an older querier is heard, for a while in its version.

Not implemented: source filters (a group is wanted from all, or not at all).
"""

from micropython import const

from stack.core.timers import NEVER

_ROBUSTNESS = const(2)
_UNSOLICITED_US = const(1_000_000)
# An older querier is believed for robustness * query interval + response interval.
_OLD_US = const(260_000_000)
# Groups of an interface: a program's doing. 64 of 20 bytes fit one report.
MAX_GROUPS = const(64)

LEFT = const(0)
JOINED = const(1)
CURRENT = const(2)


class Member:
    """`key` as the layer knows the group, `raw` as the wire has it; `count` joins."""

    __slots__ = ("key", "raw", "count", "sends", "at", "asked_at")

    def __init__(self, key, raw):
        self.key = key
        self.raw = raw
        self.count = 1
        self.sends = 0  # of a change, still to be made
        self.at = NEVER
        self.asked_at = NEVER  # when to answer a query


class Groups:
    """Subclasses: report([(kind, raw)], now), report_old(joined, raw, now), is_silent(member)."""

    def __init__(self, random16, timers):
        self._random16 = random16
        self._timers = timers
        self.timer_at = 0
        self.timer_index = -1
        self.members = {}
        self._left = []  # groups whose leaving is to be said once more
        self._general_at = NEVER
        self.old_until = 0

    def join(self, key, raw, now):
        """One more wants the group. True if it is new. OSError is the caller's: None when full."""
        m = self.members.get(key)
        if m is not None:
            m.count += 1
            return False
        if len(self.members) >= MAX_GROUPS:
            return None
        m = Member(key, raw)
        self.members[key] = m
        self._left = [x for x in self._left if x.key != key]
        if not self.is_silent(m):
            m.sends = _ROBUSTNESS
            self._change(m, JOINED, now)
        return True

    def leave(self, key, now):
        """One fewer wants it. True if nobody does any more."""
        m = self.members.get(key)
        if m is None:
            return False
        m.count -= 1
        if m.count:
            return False
        del self.members[key]
        if not self.is_silent(m):
            m.sends = _ROBUSTNESS
            self._left.append(m)
            self._change(m, LEFT, now)
        return True

    def again(self, now):
        """The link has come up, or our address has: say all of it anew."""
        for m in self.members.values():
            if not self.is_silent(m):
                m.sends = _ROBUSTNESS
                m.at = now
        self._arm()

    def on_query(self, key, delay_us, now, old=False):
        """A router asks: for the group `key`, or with None for all. delay_us: answer within it."""
        if old:
            self.old_until = now + _OLD_US
        at = now + delay_us * self._random16() // 65536
        if key is None:
            if at < self._general_at:
                self._general_at = at
        else:
            m = self.members.get(key)
            if m is None or self.is_silent(m):
                return
            if at < m.asked_at:
                m.asked_at = at
        self._arm()

    def _change(self, m, kind, now):
        if now < self.old_until:
            self.report_old(kind != LEFT, m.raw, now)
        else:
            self.report([(kind, m.raw)], now)
        m.sends -= 1
        m.at = now + _UNSOLICITED_US * self._random16() // 65536 if m.sends else NEVER
        self._arm()

    def _arm(self):
        self._timers.arm(self, self.poll_at())

    def poll_at(self):
        at = self._general_at
        for m in self.members.values():
            at = min(at, m.at, m.asked_at)
        for m in self._left:
            at = min(at, m.at)
        return at

    def on_timer(self, now):
        general = now >= self._general_at
        if general:
            self._general_at = NEVER
        records = []
        for m in list(self.members.values()):
            if m.at <= now:
                self._change(m, JOINED, now)
            if (general and not self.is_silent(m)) or m.asked_at <= now:
                m.asked_at = NEVER
                if now < self.old_until:
                    self.report_old(True, m.raw, now)
                else:
                    records.append((CURRENT, m.raw))
        if records:
            self.report(records, now)
        for m in list(self._left):
            if m.at <= now:
                self._change(m, LEFT, now)
        self._left = [m for m in self._left if m.sends]
