"""Others' names: asking the links for them, and what was heard. RFC 6762, sections 5, 7 and 10.

    l = q.start(name, types, now)     a Lookup, until l.done
    q.on_message(m, link, now)        a Message from a link (a number)
    l.transmit(now)                   a message for the group, or None: sent on every link
    l.poll_at()   l.on_timer(now)     l.records: [(Record, link, seconds left), ...]

Only names that were asked for are kept, so nobody can fill the cache. A name that has one owner
is done with the first answer (or when the owner says that there is none, by an NSEC); what many
may answer is collected for two seconds.
"""

from micropython import const

from stack.core.errors import POLLIN
from stack.core.timers import NEVER
from stack.dns.mdns.message import QR, Question, Record, write
from stack.dns.rdata import ANY, NSEC, PTR, in_bitmap

# Names that were asked for lately, and records of each: of at most 1,400 bytes, but of 100 as a
# rule. The whole is bounded in bytes below.
_NAMES_MAX = const(64)
_RECORDS_MAX = const(32)
BYTES_MAX = const(48 << 10)
_SECOND = const(1_000_000)
# Section 10: no TTL is longer than 75 minutes in earnest.
_TTL_MAX = const(4500)
# Section 5.2: "the interval between the first two queries MUST be at least one second", and
# each further one twice as long.
_ASK_AT_US = (0, 1_000_000, 3_000_000)
_GIVE_UP_US = const(4_000_000)
_COLLECT_US = const(2_000_000)
# When one family's address is there, how long the other's is waited for.
_GRACE_US = const(200_000)
_NAME = const(200)  # bytes of memory of a name, and of a record, beside what they hold


class _Held:
    """A Record that was heard."""

    __slots__ = ("record", "link", "since", "until")

    def __init__(self, record, link, now):
        self.record = record
        self.link = link
        self.since = now
        self.until = now + min(record.ttl, _TTL_MAX) * _SECOND

    def size(self):
        return _NAME + len(self.record.name) + len(self.record.data)


class Querier:
    def __init__(self, stats):
        self._stats = stats
        self._held = {}  # lower-case name -> list of _Held
        self._used = []  # names, the latest asked for last
        self._lookups = []
        self.bytes = 0

    def __len__(self):
        return len(self._held)

    def start(self, name, types, now):
        """A Lookup of a name (wire form) for types."""
        low = name.lower()
        if low in self._held:
            self._used.remove(low)
        else:
            if len(self._held) >= _NAMES_MAX:
                self._forget(self._used[0])
            self._held[low] = []
            self.bytes += _NAME + len(low)
        self._used.append(low)
        found = Lookup(self, name, types, now)
        if not found.done:
            self._lookups.append(found)
        return found

    def _forget(self, low):
        self._used.remove(low)
        for h in self._held.pop(low):
            self.bytes -= h.size()
        self.bytes -= _NAME + len(low)

    def known(self, low, now):
        """What is held of a name and has not expired."""
        held = self._held.get(low)
        if held is None:
            return ()
        for h in [h for h in held if h.until <= now]:
            self._drop(held, h)
        return held

    def _drop(self, held, h):
        held.remove(h)
        self.bytes -= h.size()

    def entries(self, now):
        """[(Record, link, seconds left), ...] of all that is held."""
        out = []
        for low in list(self._held):
            for h in self.known(low, now):
                out.append((h.record, h.link, _left(h, now)))
        return out

    def flush(self):
        for low in list(self._used):
            self._forget(low)

    def end(self, lookup):
        if lookup in self._lookups:
            self._lookups.remove(lookup)

    def on_message(self, m, link, now):
        """A response; the shell has looked where it comes from."""
        if not m.flags & QR:
            return
        heard = False
        for r in m.records:
            if r.low in self._held:
                self._keep(r, link, now)
                heard = True
        if heard:
            for found in list(self._lookups):
                found.look(now)

    def _keep(self, r, link, now):
        held = self.known(r.low, now)
        if r.flush:
            # Section 10.2: others that are older than a second go in a second.
            for h in held:
                if h.link == link and h.record.type == r.type and now - h.since > _SECOND:
                    h.until = min(h.until, now + _SECOND)
        for h in held:
            if h.link == link and h.record.same(r):
                if not r.ttl:
                    # Section 10.1: goodbye.
                    h.until = min(h.until, now + _SECOND)
                else:
                    h.since = now
                    h.until = now + min(r.ttl, _TTL_MAX) * _SECOND
                return
        if not r.ttl:
            return
        new = _Held(r, link, now)
        if len(held) >= _RECORDS_MAX or self.bytes + new.size() > BYTES_MAX:
            self._stats.drop("mdns.cache_full")
            return
        held.append(new)
        self.bytes += new.size()


class Lookup:
    """One question. An endpoint as far as steps are concerned: `events`, `waker`."""

    def __init__(self, querier, name, types, now):
        self._querier = querier
        self.name = name
        self.low = name.lower()
        self.types = types
        self.done = False
        self.records = []
        self.waker = None
        self._news = False
        self._since = now
        self._asked = 0
        self._until = now + (_COLLECT_US if self._many() else _GIVE_UP_US)
        if not self._many():
            self.look(now)

    def _many(self):
        """Whether more than one host may answer."""
        return ANY in self.types or PTR in self.types and not self.low.endswith(b"\x04arpa\x00")

    def transmit(self, now):
        """A message for the group now, or None."""
        n = self._asked
        if self.done or n >= len(_ASK_AT_US) or now < self._since + _ASK_AT_US[n]:
            return None
        self._asked += 1
        # Section 5.4: the first time nothing is known here, so one answer for us will do.
        questions = [Question(self.name, t, not n) for t in self.types]
        known = []
        size = 0
        for h in self._querier.known(self.low, now):
            # Section 7.1: what we know, with half of its time left.
            left = _left(h, now)
            r = h.record
            if self._many() and left * 2 > r.ttl and r.type in self.types:
                size += 10 + len(r.name) + len(r.data)
                if size > 1000:
                    break  # the rest will be told once more
                known.append(Record(r.name, r.type, False, left, r.data))
        return write(0, 0, questions, known)

    def poll_at(self):
        if self.done:
            return NEVER
        n = self._asked
        return min(self._until, self._since + _ASK_AT_US[n] if n < len(_ASK_AT_US) else NEVER)

    def on_timer(self, now):
        if not self.done and now >= self._until:
            self._end(now)

    def look(self, now):
        """Something was heard."""
        self._news = True
        if self.waker is not None:
            self.waker.wake(self)
        if self._many():
            return
        held = self._querier.known(self.low, now)
        found = missing = 0
        for t in self.types:
            if any([h.record.type == t for h in held]):
                found += 1
            elif any([_denied(h.record, t) for h in held]):
                missing += 1
        if found + missing == len(self.types):
            self._end(now)
        elif found:
            self._until = min(self._until, now + _GRACE_US)

    def _end(self, now):
        self.done = True
        self._querier.end(self)
        for h in self._querier.known(self.low, now):
            if h.record.type in self.types or ANY in self.types:
                self.records.append((h.record, h.link, _left(h, now)))

    def close(self):
        """Nobody waits for it any more."""
        self.done = True
        self.waker = None
        self._querier.end(self)

    def events(self):
        news = self._news
        self._news = False
        return POLLIN if news or self.done else 0


def _left(h, now):
    """Seconds, rounded up."""
    return (h.until - now + _SECOND - 1) // _SECOND


def _denied(r, type):
    """An NSEC of the owner that does not have the type. Section 6.1."""
    if r.type != NSEC:
        return False
    at = 0
    data = r.data
    while data[at]:
        at += data[at] + 1
    return not in_bitmap(data[at + 1 :], type)
