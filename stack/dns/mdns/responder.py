"""Our own names on one link. RFC 6762, sections 6 to 10; RFC 6763 for services.

    PROBING       three questions, 250 ms apart: does anybody have these names? (8.1, 8.2)
    ANNOUNCING    all records, twice, a second apart (8.3)
    RUNNING       answering (6); a record that contradicts ours leads back to PROBING (9)

    r = Responder(rng, "barewire", stats)
    r.set_addresses([4 or 16 bytes, ...], now)     begins; whenever they change, again
    r.on_message(m, source, port, now)             a Message from this link
    r.transmit() -> (data, destination) or None    destination None: the group
    r.poll_at()  r.on_timer(now)  r.stop(now)      stop says goodbye (10.1)

`source` is anything that tells senders apart and comes back as a destination, (address, port)
of the shell. Not implemented: duplicate questions and answers of others are not made use of
(7.3, 7.4).
"""

from micropython import const

from stack.core.timers import NEVER
from stack.dns.mdns import LOCAL, PORT
from stack.dns.mdns.message import AA, QR, TC, Question, Record, pieces, write
from stack.dns.name import to_wire
from stack.dns.rdata import AAAA, ANY, NSEC, PTR, SRV, TXT, A

STOPPED = const(0)
PROBING = const(1)
ANNOUNCING = const(2)
RUNNING = const(3)

# Section 10: "120 seconds" for what has a host's name in it, "75 minutes" for others.
HOST_TTL = const(120)
OTHER_TTL = const(4500)
_PROBE_US = const(250_000)
_PROBES = const(3)
_SECOND = const(1_000_000)
# Section 8.1: after fifteen conflicts within ten seconds each attempt waits five.
_CONFLICTS = const(15)
_CONFLICTS_US = const(10_000_000)
_HOLD_US = const(5_000_000)
# Answers that wait to be sent, each a list of our own records: more are not needed at once.
_WAITING_MAX = const(16)
# Registered services: about 600 bytes each.
SERVICES_MAX = const(8)
ADDRESSES_MAX = const(16)
_LABEL_MAX = const(63)
_NEVER_SENT = const(-1 << 60)


class Own(Record):
    """A record of ours. `unique`: nobody else may have it. `probe`: the name is asked for first."""

    __slots__ = ("unique", "probe", "sent_at")

    def __init__(self, name, type, ttl, data, unique=True, probe=False):
        super().__init__(name, type, unique, ttl, data)
        self.unique = unique
        self.probe = probe
        self.sent_at = _NEVER_SENT  # by multicast


class Service:
    """`type` like "_http._tcp", `txt`: RDATA of the TXT."""

    def __init__(self, instance, type, port, txt):
        self.instance = instance
        self.type = type
        self.port = port
        self.txt = txt


class _Waiting:
    """Answers that are due at a time."""

    def __init__(self, at, source, answers, extra):
        self.at = at
        self.source = source
        self.answers = answers
        self.extra = extra


class Responder:
    def __init__(self, rng, host, stats, services=()):
        self._rng = rng
        self._stats = stats
        self.host = host  # a label; a conflict changes it
        self.services = services  # a list of Service, that of all links
        self.state = STOPPED
        self.records = []
        self.on_rename = None  # on_rename(self): another name for `host` or a service
        self._addresses = []
        self._at = NEVER
        self._count = 0
        self._conflicts = 0
        self._conflicts_since = 0
        self._waiting = []
        self._out = []

    # What we are called.

    def set_addresses(self, addresses, now):
        """Our addresses on this link; none: it says nothing any more."""
        addresses = list(addresses[:ADDRESSES_MAX])
        if addresses == self._addresses and (self.state != STOPPED or not addresses):
            return
        old = self.records
        self._addresses = addresses
        if not addresses:
            self._halt()
            return
        self._make()
        if self.state < ANNOUNCING:
            self.probe(now)
            return
        self._goodbye([r for r in old if not self._mine(r)])
        self._announce(now)

    def rename(self, host, now):
        """Another name, or other services: goodbye to what was, and asked for first."""
        old = self.records if self.state >= ANNOUNCING else []
        self.host = host
        if self._addresses:
            self._make()
            self._goodbye([r for r in old if not self._mine(r)])
            self.probe(now)

    def stop(self, now):
        """Goodbye."""
        self._leave()
        self._halt()

    def names(self):
        """What is ours beyond doubt, wire form: the host's name and those of the services."""
        if self.state < ANNOUNCING:
            return []
        return [self._host()] + [self._instance(s) for s in self.services]

    def _halt(self):
        self.state = STOPPED
        self.records = []
        self._waiting = []
        self._addresses = []
        self._at = NEVER

    def _host(self):
        return _label(self.host) + LOCAL

    def _instance(self, s):
        return _label(s.instance) + to_wire(s.type)[:-1] + LOCAL

    def _make(self):
        """The records that we have, by name, addresses and services."""
        host = self._host()
        out = []
        for a in self._addresses:
            out.append(Own(host, A if len(a) == 4 else AAAA, HOST_TTL, a, probe=True))
            out.append(Own(reverse_name(a), PTR, HOST_TTL, host))
        for s in self.services:
            kind = to_wire(s.type)[:-1] + LOCAL
            name = self._instance(s)
            srv = b"\0\0\0\0" + bytes((s.port >> 8, s.port & 0xFF)) + host
            out.append(Own(name, SRV, HOST_TTL, srv, probe=True))
            out.append(Own(name, TXT, OTHER_TTL, s.txt, probe=True))
            out.append(Own(kind, PTR, OTHER_TTL, name, unique=False))
            every = b"\x09_services\x07_dns-sd\x04_udp" + LOCAL
            out.append(Own(every, PTR, OTHER_TTL, kind, unique=False))
        for r in out:
            for old in self.records:
                if old.same(r):
                    r.sent_at = old.sent_at
        self.records = out

    def _mine(self, r):
        return any([own.same(r) for own in self.records])

    def _leave(self):
        if self.state >= ANNOUNCING:
            self._goodbye(self.records)

    def _goodbye(self, records):
        gone = [Record(r.name, r.type, r.flush, 0, r.data) for r in records]
        for part in pieces(gone):
            self._out.append((write(0, QR | AA, answers=part), None))

    # Probing.

    def probe(self, now):
        """Ask for our names, from the beginning. Section 8.1: after a delay of 0 to 250 ms."""
        self.state = PROBING
        self._count = 0
        self._waiting = []
        hold = 0
        if self._conflicts >= _CONFLICTS and now < self._conflicts_since + _CONFLICTS_US:
            hold = _HOLD_US
        self._at = now + hold + self._dice(_PROBE_US)

    def _dice(self, n):
        r = self._rng(3)
        return (r[0] << 16 | r[1] << 8 | r[2]) % n

    def _probed(self):
        return [r for r in self.records if r.probe]

    def _send_probe(self):
        names = []
        for r in self._probed():
            if r.name not in names:
                names.append(r.name)
        for name in names:
            own = [r for r in self._probed() if r.name == name]
            m = write(0, 0, [Question(name, ANY, True)], authority=own)
            self._out.append((m, None))

    def _on_probe_of_another(self, m, now):
        """Two ask for a name at once: the lesser data give way for a second. Section 8.2."""
        for q in m.questions:
            mine = [r for r in self._probed() if r.low == q.low]
            theirs = [r for r in m.authority if r.low == q.low]
            if mine and theirs:
                a = sorted([(r.type, r.data) for r in mine])
                b = sorted([(r.type, r.data) for r in theirs])
                if a < b:
                    self._count = 0
                    self._at = now + _SECOND
                    return

    def _announce(self, now):
        self.state = ANNOUNCING
        self._count = 0
        self._at = now

    def _on_conflict(self, low, now):
        """Somebody else has this name. Section 9."""
        if now >= self._conflicts_since + _CONFLICTS_US:
            self._conflicts = 0
            self._conflicts_since = now
        self._conflicts += 1
        self._stats.count("mdns.conflict")
        if self.state == PROBING:
            if low == self._host().lower():
                self.host = _next_name(self.host, "-%d")
            for s in self.services:
                if low == self._instance(s).lower():
                    s.instance = _next_name(s.instance, " (%d)")
            self._make()
            if self.on_rename is not None:
                self.on_rename(self)
        # Else: whether it is still ours, probing tells.
        self.probe(now)

    # Time.

    def poll_at(self):
        at = self._at
        for w in self._waiting:
            at = min(at, w.at)
        return at

    def on_timer(self, now):
        if now >= self._at:
            self._step(now)
        due = [w for w in self._waiting if w.at <= now]
        if due:
            self._waiting = [w for w in self._waiting if w.at > now]
            answers = []
            extra = []
            for w in due:
                answers.extend([r for r in w.answers if r not in answers])
                extra.extend([r for r in w.extra if r not in extra])
            self._multicast(answers, extra, now, _SECOND)

    def _step(self, now):
        if self.state == PROBING:
            if self._count < _PROBES:
                self._count += 1
                self._send_probe()
                self._at = now + _PROBE_US
                return
            self._announce(now)
        if self.state == ANNOUNCING:
            self._count += 1
            self._multicast(self.records, (), now, 0)
            self._at = now + _SECOND
            if self._count == 2:
                self.state = RUNNING
                self._at = NEVER

    def transmit(self):
        return self._out.pop(0) if self._out else None

    def _multicast(self, answers, extra, now, least_us):
        """Section 6: a record goes to the group once a second at most."""
        fresh = [r for r in answers if now - r.sent_at >= least_us]
        for r in fresh:
            r.sent_at = now
        extra = [r for r in extra if r not in fresh]
        parts = pieces(fresh)
        for part in parts:
            more = extra if len(parts) == 1 and len(pieces(part + extra)) == 1 else ()
            self._out.append((write(0, QR | AA, answers=part, additional=more), None))

    # What others say.

    def on_message(self, m, source, port, now):
        if self.state == STOPPED:
            return
        if m.flags & QR:
            self._on_response(m, now)
            return
        if self.state == PROBING:
            if m.authority:
                self._on_probe_of_another(m, now)
            return
        self._on_query(m, source, port, now)

    def _on_response(self, m, now):
        for r in m.records:
            if not r.ttl:
                continue
            for own in self.records:
                if not own.probe or own.low != r.low:
                    continue
                # While we ask, whatever has the name is in the way; later only what has the
                # same type and other data (section 9).
                if self.state == PROBING and not self._mine(r) or (
                    own.type == r.type and not self._mine(r)
                ):
                    self._on_conflict(r.low, now)
                    return

    def _on_query(self, m, source, port, now):
        if not m.questions:
            self._suppress(m, source)  # more known answers to a question that came before
            return
        answers = []
        unicast = []
        for q in m.questions:
            for r in self._answers(q, m):
                if port != PORT or q.unicast and not self._overdue(r, now):
                    unicast.append(r)
                elif r not in answers:
                    answers.append(r)
        if unicast:
            self._reply(m, unicast, source, port)
        if answers:
            self._later(m, answers, source, now)

    def _answers(self, q, m):
        """Our records that answer a question, without those that the asker knows."""
        found = [r for r in self.records if r.low == q.low and q.type in (r.type, ANY)]
        if not found:
            own = [r for r in self.records if r.low == q.low]
            return [_nothing_more(own)] if own and own[0].unique else []
        return [r for r in found if not _known(r, m.records)]

    def _overdue(self, r, now):
        """Section 5.4: for a while nobody has heard it, so all are told again."""
        return now - r.sent_at > r.ttl * _SECOND >> 2

    def _reply(self, m, records, source, port):
        if port == PORT:
            for part in pieces(records):
                self._out.append((write(0, QR | AA, answers=part), source))
            return
        # Section 6.7: somebody who speaks plain DNS; the id and the question come back.
        part = pieces(records)[0]
        data = write(m.id, QR | AA, m.questions[:1], part, (), self._extra(part), True)
        self._out.append((data, source))

    def _later(self, m, answers, source, now):
        delay = 0
        if m.flags & TC:
            # Section 7.2: what the asker knows goes on in messages to come.
            delay = 400_000 + self._dice(100_000)
        elif not all([r.unique for r in answers]):
            delay = 20_000 + self._dice(100_000)
        if m.authority and not delay:
            # Section 6: who asks for our name is answered at once, 250 ms after the last time.
            self._multicast(answers, (), now, _PROBE_US)
            return
        if not delay:
            self._multicast(answers, self._extra(answers), now, _SECOND)
        elif len(self._waiting) < _WAITING_MAX:
            self._waiting.append(_Waiting(now + delay, source, answers, self._extra(answers)))
        else:
            self._stats.drop("mdns.waiting")

    def _suppress(self, m, source):
        for w in self._waiting:
            if w.source == source:
                w.answers = [r for r in w.answers if not _known(r, m.records)]

    def _extra(self, answers):
        """What the asker is going to ask for next. RFC 6763, section 12."""
        out = []
        todo = list(answers)
        while todo:
            r = todo.pop()
            low = r.data.lower() if r.type == PTR else r.low
            if r.type == SRV:
                low = r.data[6:].lower()
            for own in self.records:
                if own.low == low and own.probe and own not in out and own not in answers:
                    out.append(own)
                    if own.type == SRV:
                        todo.append(own)
        return out


def _known(r, records):
    """Section 7.1: known with at least half of its TTL left."""
    return any([k.same(r) and k.ttl * 2 >= r.ttl for k in records])


def _nothing_more(own):
    """The NSEC that says which types a name of ours has, and no others. Section 6.1."""
    bits = bytearray(32)
    for r in own:
        bits[r.type >> 3] |= 0x80 >> (r.type & 7)
    n = 32
    while not bits[n - 1]:
        n -= 1
    name = own[0].name
    return Own(name, NSEC, HOST_TTL, name + bytes((0, n)) + bytes(bits[:n]))


def reverse_name(a):
    """The name that leads from an address (4 or 16 bytes) to its host."""
    if len(a) == 4:
        labels = ["%d" % b for b in a]
        end = ".in-addr.arpa"
    else:
        labels = []
        for b in a:
            labels += ["%x" % (b >> 4), "%x" % (b & 15)]
        end = ".ip6.arpa"
    labels.reverse()
    return to_wire(".".join(labels) + end)


def _label(text):
    data = text.encode()
    return bytes((len(data),)) + data


def _next_name(text, form):
    """barewire, barewire-2, barewire-3; "The Board", "The Board (2)"."""
    head, tail = form.split("%d")
    n = 2
    at = text.rfind(head)
    digits = text[at + len(head) : len(text) - len(tail)] if at > 0 else ""
    if digits.isdigit() and text.endswith(tail) and len(digits) < 6:
        n = int(digits) + 1
        text = text[:at]
    end = form % n
    while len((text + end).encode()) > _LABEL_MAX:
        text = text[:-1]
    return text + end
