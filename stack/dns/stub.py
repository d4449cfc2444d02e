"""A stub resolution: one question asked of configured servers until it is answered. RFC 1034, 1035.

A pure machine. The shell around it, blocking or asyncio, does three things:

    t = r.transmit()           None, or (transport, server, message): send it from a new
                               random port (UDP) or a new connection (TCP); a new one
                               ends whatever was under way
    r.on_datagram(data, server, now)   r.on_stream(data, now)   r.on_failed(now)
    r.on_timer(now)            once now reaches r.poll_at()

until r.done; then r.rcode and r.records (aliases first, then what was asked for).
An answer counts only if id, server, question and its letters' case (0x20) are what
we sent; the shell's connected port is the fourth. Not implemented: DNSSEC, EDNS
cookies (the recursive resolver brings them), IDNA.
"""

import micropython
from micropython import const

from stack.core.errors import ProtocolError
from stack.core.timers import NEVER
from stack.dns import hosts, message
from stack.dns.cache import Cache
from stack.dns.name import to_wire

UDP = const(0)
TCP = const(1)

# Each round asks every server once, and waits longer: 1, 2, 4 seconds an answer.
_ROUNDS = const(3)
_TIMEOUT_US = const(1000000)
_TCP_TIMEOUT_US = const(5000000)
_CHAIN_MAX = const(8)  # aliases followed, in all
_SEARCH_MAX = const(4)

# What no server said, in place of an rcode.
TIMEOUT = const(-1)


class Resolver:
    """What all resolutions of a host share: servers, search list, hosts, cache.

    `servers`: addresses as the shell wants them back. `rng(n)` gives n random bytes.
    """

    def __init__(self, rng):
        self.rng = rng
        self.servers = []
        self.search = []
        self.hosts = {}
        self.cache = Cache()
        self.edns = True

    def start(self, name, type, now):
        """A Resolution of a name (text) for a type (int). ValueError if it is no name."""
        return Resolution(self, name, type, now)


class Resolution:
    def __init__(self, resolver, name, type, now):
        self._r = resolver
        self._rng = resolver.rng
        self.type = type
        self.done = False
        self.rcode = TIMEOUT
        self.records = []
        self.secs_left = 0
        self._servers = list(resolver.servers)
        self._chain = 0
        self._aliases = []
        self._soonest = 1 << 31  # the smallest TTL on the way
        self._candidates = _candidates(name, resolver.search)
        self._wire = None
        self._next_candidate(now)

    def addresses(self):
        """The data of the records that were asked for."""
        return [r.data for r in self.records if r.type == self.type]

    # Which name to ask for.

    def _next_candidate(self, now):
        self._aliases = []
        self._chain = 0
        self._soonest = 1 << 31
        self._ask(self._candidates.pop(0), now)

    def _ask(self, name, now):
        """Find `name` here, or begin to ask for it."""
        self.name = name
        local = hosts.lookup(self._r.hosts, name.lower(), self.type)
        if local is not None:
            records = [message.Record(name, self.type, 1, 0, text) for text in local]
            self._soonest = 0
            self._finish(message.NOERROR, records, now)
            return
        held = self._r.cache.get(name.lower(), self.type, now)
        if held is not None:
            rcode, records, left = held
            self._soonest = min(self._soonest, left)
            self._finish(rcode, records, now)
            return
        self._wire = to_wire(name)
        if not self._servers:
            self._end(TIMEOUT, [])
            return
        self._round = 0
        self._server = 0
        self._edns = self._r.edns
        self._failure = TIMEOUT
        self._begin(UDP, now)

    # Asking.

    def _begin(self, transport, now):
        """Prepare a fresh message for the present server."""
        self._transport = transport
        seed = self._rng(2)
        self._id = seed[0] << 8 | seed[1]
        # Later rounds go without mixed case: a few servers do not keep it.
        self._sent = mix_case(self._wire, self._rng) if self._round == 0 else self._wire
        self._message = message.build_query(self._id, self._sent, self.type, self._edns)
        self._stream = bytearray()
        wait = _TIMEOUT_US << self._round if transport == UDP else _TCP_TIMEOUT_US
        self._deadline = now + wait
        self._pending = True

    def transmit(self):
        """What to send now, once: (transport, server, message), or None."""
        if self.done or not self._pending:
            return None
        self._pending = False
        m = self._message
        if self._transport == TCP:
            # RFC 1035, section 4.2.2: two bytes of length first.
            m = bytes((len(m) >> 8, len(m) & 0xFF)) + m
        return self._transport, self._servers[self._server], m

    def poll_at(self):
        return NEVER if self.done else self._deadline

    def on_timer(self, now):
        if not self.done and now >= self._deadline:
            self._next_server(now)

    def on_failed(self, now):
        """The server cannot be reached: refused, unreachable, connection lost."""
        if not self.done:
            self._next_server(now)

    def _next_server(self, now):
        self._server += 1
        if self._server >= len(self._servers):
            self._server = 0
            self._round += 1
            if self._round >= _ROUNDS or self._failure != TIMEOUT:
                self._end(self._failure, [])
                return
        self._begin(UDP, now)

    # Answers.

    def on_datagram(self, data, server, now):
        """A datagram came. True if it was the answer."""
        if self.done or self._transport != UDP or server != self._servers[self._server]:
            return False
        return self._on_message(data, now)

    def on_stream(self, data, now):
        """Bytes came from the connection, in any pieces."""
        if self.done or self._transport != TCP:
            return
        s = self._stream
        s.extend(data)
        if len(s) >= 2:
            n = s[0] << 8 | s[1]
            if len(s) >= 2 + n and not self._on_message(bytes(s[2 : 2 + n]), now):
                # On a connection of our own nobody else answers.
                self._next_server(now)

    def _on_message(self, data, now):
        # Id, QR and opcode by hand: what is not ours must not cost a parse.
        if len(data) < 12 or data[0] << 8 | data[1] != self._id or data[2] & 0xF8 != 0x80:
            return False
        if not self._question_matches(data):
            return False
        try:
            m = message.parse(data)
        except ProtocolError:
            if self._transport == UDP and data[2] & 2:
                # Cut in the middle of a record (RFC 2181, section 9): ask again over TCP.
                self._begin(TCP, now)
                return True
            self._failure = message.SERVFAIL
            self._next_server(now)
            return True
        self._on_answer(m, now)
        return True

    def _question_matches(self, data):
        sent = self._sent
        n = len(sent)
        tail = bytes((self.type >> 8, self.type & 0xFF, 0, message.CLASS_IN))
        if data[4] == 0 and data[5] == 0:
            # Some servers leave the question out of an error; nothing else may.
            return data[3] & 15 not in (message.NOERROR, message.NXDOMAIN)
        return (
            data[4] == 0
            and data[5] == 1
            and data[12 : 12 + n] == sent
            and data[12 + n : 16 + n] == tail
        )

    def _on_answer(self, m, now):
        rcode = m.rcode()
        if self._edns and rcode in (message.FORMERR, message.NOTIMP):
            # RFC 6891, section 7: the server may not know EDNS.
            self._edns = False
            self._begin(self._transport, now)
            return
        if m.truncated() and self._transport == UDP:
            self._begin(TCP, now)
            return
        if rcode not in (message.NOERROR, message.NXDOMAIN):
            self._failure = rcode
            self._next_server(now)
            return
        self._follow(m, rcode, now)

    def _follow(self, m, rcode, now):
        """Walk the aliases in an answer from the name that was asked for."""
        name = self.name
        while True:
            low = name.lower()
            found = [
                r
                for r in m.answers
                if r.cls == 1
                and (r.type == self.type or self.type == message.ANY)
                and r.name.lower() == low
            ]
            if found:
                ttl = min([r.ttl for r in found])
                self._keep(low, message.NOERROR, found, ttl, now)
                self._finish(message.NOERROR, found, now)
                return
            alias = None
            for r in m.answers:
                if r.type == message.CNAME and r.cls == 1 and r.name.lower() == low:
                    alias = r
                    break
            if alias is None:
                break
            self._chain += 1
            if self._chain > _CHAIN_MAX:
                self._end(message.SERVFAIL, [])
                return
            self._aliases.append(alias)
            self._soonest = min(self._soonest, alias.ttl)
            name = alias.data
        if name != self.name and rcode == message.NOERROR and not _has_soa(m):
            # The alias leads to a name that this answer says nothing of.
            try:
                self._ask(name, now)
            except ValueError:
                self._end(message.SERVFAIL, [])
            return
        ttl = _negative_ttl(m)
        self._keep(name.lower(), rcode, [], ttl, now)
        self._finish(rcode, [], now)

    def _keep(self, name, rcode, records, ttl, now):
        """Cache what `name` was found to be, and the question's own name when it is an alias."""
        cache = self._r.cache
        cache.put(name, self.type, rcode, records, ttl, now)
        self._soonest = min(self._soonest, ttl)
        if self._aliases:
            first = self._aliases[0].name.lower()
            cache.put(first, self.type, rcode, self._aliases + records, self._soonest, now)

    def _finish(self, rcode, records, now):
        if not records and self._candidates:
            self._next_candidate(now)
            return
        self._end(rcode, self._aliases + records)

    def _end(self, rcode, records):
        if rcode == TIMEOUT or rcode == message.SERVFAIL:
            self._candidates = []
        self.rcode = rcode
        self.records = records
        self.secs_left = min(self._soonest, 1 << 31)
        self.done = True


def mix_case(wire, rng):
    """Letters in random case: more for a forger to guess (draft-vixie-dnsext-dns0x20)."""
    out = bytearray(wire)
    _flip(out, len(out), rng((len(out) + 7) >> 3))
    return bytes(out)


@micropython.viper
def _flip(name, n: int, bits):
    """Turn the case of each letter whose bit is set."""
    p = ptr8(name)
    b = ptr8(bits)
    i = 0
    while i < n:
        ch = p[i] | 32
        # Length bytes are below 64, so no letter looks like one.
        if p[i] >= 65 and ch >= 97 and ch <= 122 and b[i >> 3] >> (i & 7) & 1:
            p[i] = p[i] ^ 32
        i += 1


def _candidates(name, search):
    """The names to try in order: resolv.conf's search with ndots 1."""
    if name.endswith(".") and not name.endswith("\\."):
        return [name[:-1]]
    if ":" in name or not name:
        return [name]
    longer = [name + "." + domain for domain in search[:_SEARCH_MAX]]
    return longer + [name] if "." not in name else [name] + longer


def _has_soa(m):
    for r in m.authority:
        if r.type == message.SOA:
            return True
    return False


def _negative_ttl(m):
    """RFC 2308, section 5: the lesser of the SOA's TTL and its minimum; 0 without one."""
    for r in m.authority:
        if r.type == message.SOA and isinstance(r.data, tuple):
            return min(r.ttl, r.data[6])
    return 0
