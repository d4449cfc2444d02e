"""A stub resolution: a name asked of configured servers until it is answered. RFC 1034, 1035.

A pure machine. The shell around it, blocking or asyncio, does three things:

    t = r.transmit()           None, or (transport, server, message): send it from a new
                               random port (UDP), over a connection (TCP, TLS) or as a request
                               (HTTPS); a new one ends whatever was under way
    r.on_datagram(data, server, now)   r.on_stream(data, now)   r.on_http(data, age, now)
    r.on_failed(now, why)      r.on_timer(now)     once now reaches r.poll_at()

until r.done; then r.rcode and r.records (aliases first, then what was asked for), and
r.failures, who did not answer and why. Servers are ints, addresses that are asked in the
clear, or Upstreams. How they are asked: asking.py. Not implemented: DNSSEC (recursor/ does
it, also by way of a forwarder), IDNA.
"""

from micropython import const

from stack.dns import hosts, message
from stack.dns.asking import TIMEOUT, Asking, mix_case  # noqa: F401
from stack.dns.cache import Cache
from stack.dns.name import to_wire
from stack.dns.servers import Servers
from stack.dns.upstream import TCP, UDP  # noqa: F401

_CHAIN_MAX = const(8)  # aliases followed, in all
_SEARCH_MAX = const(6)  # as glibc and resolv.conf have it


class Resolver:
    """What all resolutions of a host share: servers, search list, hosts, cache.

    `servers`: ints and Upstreams. `search`: domains that are tried behind a name, first where
    it has fewer dots than `ndots`. `known`: round trips, failures and cookies of servers.
    `rng(n)` gives n random bytes.
    """

    def __init__(self, rng):
        self.rng = rng
        self.servers = []
        self.search = []
        self.ndots = 1
        self.known = Servers(rng)
        self.hosts = {}
        self.cache = Cache()
        self.edns = True

    def start(self, name, type, now):
        """A Resolution of a name (text) for a type (int). ValueError if it is no name."""
        return Resolution(self, name, type, now)


class Resolution(Asking):
    def __init__(self, resolver, name, type, now):
        super().__init__(resolver, list(resolver.servers), now)
        self.type = type
        self.rcode = TIMEOUT
        self.records = []
        self.secs_left = 0
        self._chain = 0
        self._aliases = []
        self._soonest = 1 << 31  # the smallest TTL on the way
        self._candidates = _candidates(name, resolver.search, resolver.ndots)
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
        wire = to_wire(name)
        if self._servers:
            self._put(wire, self.type, now)
        else:
            self._end(TIMEOUT, [])

    def _on_no_answer(self, rcode, _now):
        self._end(rcode, [])

    # Answers.

    def _on_answer(self, m, rcode, now):
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
                for r in found:
                    r.name = name  # in the letters that were asked for, not those that were sent
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
            alias.name = name
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


def _candidates(name, search, ndots):
    """The names to try in order, as resolv.conf(5) has it."""
    if name.endswith(".") and not name.endswith("\\."):
        return [name[:-1]]
    if ":" in name or not name:
        return [name]
    longer = [name + "." + domain for domain in search[:_SEARCH_MAX]]
    return longer + [name] if name.count(".") < ndots else [name] + longer


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
