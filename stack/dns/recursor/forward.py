"""Validating what servers say that resolve for others: RFC 4035, section 4, by way of a forwarder.

A Recursor whose root is served by those servers: they know everything, so nothing is a referral,
and where zones are cut shows by signatures and DS, which are asked of them as well. Their own
validation is neither wanted (CD) nor believed. Servers are as in stub.py; inside they have keys,
bytes, where a Recursor has addresses.

Not implemented: opportunistic TLS.
"""

from micropython import const

from stack.dns import packet
from stack.dns.packet import AA, CD, PADDING, RD, Edns
from stack.dns.rdata import NS
from stack.dns.recursor import Recursor, walk
from stack.dns.recursor.question import Question
from stack.dns.upstream import HTTPS, TLS, UDP

# They may have to go down from the root themselves.
_TIMEOUT_US = const(1_500_000)
_STREAM_TIMEOUT_US = const(5_000_000)
_NAME = b"\x07forward\x00"


class Forwarder(Recursor):
    """upstreams: {key: int or Upstream}, all spoken to by one transport: UDP, TLS or HTTPS.

    The rest: see Recursor.
    """

    forward = True

    def __init__(self, rng, unix_time, upstreams, transport, anchor, stats, cache_bytes):
        hints = [(_NAME, list(upstreams))]
        super().__init__(rng, unix_time, hints, anchor, stats, cache_bytes, True, True)
        self.upstreams = upstreams
        self.transport = transport

    def start(self, name, type, now, fresh=False):
        return Forwarded(self, name.lower(), type, now, walk.answer, fresh)

    def unvalidated(self):
        r = Forwarder(self.rng, self.unix_time, self.upstreams, self.transport, (), self.stats,
                      self.cache.limit >> 2)  # fmt: skip
        r.servers = self.servers
        return r


class Forwarded(Question):
    def __init__(self, recursor, name, type, now, steps, fresh):
        self._age = 0
        self.failures = []  # as stub.Resolution's
        super().__init__(recursor, name, type, now, steps, fresh)

    def _begin(self, x):
        if x.transport == UDP:
            x.transport = self.recursor.transport
        if x.transport != UDP:
            x.mixed = False
        super()._begin(x)
        if self.done:
            return
        private = x.transport >= TLS
        if x.transport == HTTPS:
            self._id = 0  # RFC 8484, section 4.1
        edns = None
        if x.edns:
            edns = Edns(do=True)
            if not private:
                edns.options.append(self.recursor.servers.cookie_option(x.server))
        question = (self._sent, x.type)
        m = packet.write(self._id, RD | CD, question, edns=edns)
        if private and edns is not None:
            # RFC 8467, section 4.1.
            edns.options.append((PADDING, bytes(packet.padded(m, 128))))
            m = packet.write(self._id, RD | CD, question, edns=edns)
        self._message = m
        patience = _TIMEOUT_US << min(x.server.failures, 2)
        if x.transport != UDP:
            patience = _STREAM_TIMEOUT_US
        self._until = min(self.now + patience, self.deadline)

    def transmit(self):
        t = super().transmit()
        if t is None:
            return None
        transport, key, m = t
        if transport == TLS:
            m = bytes((len(m) >> 8, len(m) & 0xFF)) + m
        return transport, self.recursor.upstreams[key], m

    def on_http(self, data, age, now):
        """As stub.Resolution's."""
        if self.done or self._exchange.transport != HTTPS:
            return
        self._age = age
        if not self._on_message(data, now):
            self.on_failed(now, "answers something else")
        self._age = 0

    def on_failed(self, now, why="does not answer"):
        if not self.done:
            server = self.recursor.upstreams[self._exchange.server.address]
            self.failures.append((server, why))
        super().on_failed(now)

    def _on_packet(self, p, x, now):
        # It speaks for everybody, so a negative answer without SOA is one; what it says of name
        # servers leads nowhere.
        p.flags |= AA
        p.authority = [s for s in p.authority if s.type != NS]
        if self._age:
            for s in p.answer + p.authority:
                s.ttl = max(s.ttl - self._age, 0)
        super()._on_packet(p, x, now)
