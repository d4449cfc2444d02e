"""One question on its way: a pure machine with the same face as stub.Resolution.

    q.transmit()   None, or (transport, address, message): send it from a new random port, or
                   over a connection to that address (TCP, two bytes of length in front)
    q.on_datagram(data, address, now)   q.on_stream(data, now)   q.on_failed(now)
    q.on_timer(now)                     once now reaches q.poll_at()

until q.done; then `rcode`, `entries` (the chain of aliases and what it led to), `status`
("secure" only if all of it is), `ede`. Addresses are 4 or 16 bytes.

The steps in between are generators (walk.py, trust.py) that yield an Exchange for "ask this
and give me the Packet, or None".
"""

from micropython import const

from stack.core.errors import ProtocolError
from stack.core.timers import NEVER
from stack.dns import packet
from stack.dns.dnssec import (
    BOGUS,
    INSECURE,
    MAX_HASHES,
    MAX_VERIFIES,
    SECURE,
    STATUS,
    Bogus,
    Budget,
)
from stack.dns.packet import COOKIE, Edns
from stack.dns.stub import TCP, UDP, mix_case

# What one question may cost in messages sent: a cold name four zones deep takes about 12;
# chains of aliases through other zones some 40 more. NXNS (CVE-2020-8616 and its like)
# ends here, and at walk.py's limits on names of servers.
MAX_QUERIES = const(96)
# From the first message to the answer that it did not work.
DEADLINE_US = const(20_000_000)
_TCP_TIMEOUT_US = const(4_000_000)
_TC_BYTE = const(2)
# Datagrams from the server's address and port to ours that are not its answer: then somebody
# guesses, and it is asked by TCP. So a message sent gives a forger so many guesses of 2^16
# ids (and of 2^letters cases), however fast he is. RFC 5452, section 9.
_GUESSES_MAX = const(20)


class Fail(Exception):
    """No answer can be had. args: (EDE code, why in words)."""


EDE_NETWORK = const(23)
EDE_NO_AUTHORITY = const(22)
EDE_OTHER = const(0)


class Exchange:
    """A message for a server: how it is to be sent, what has come of it."""

    __slots__ = ("server", "transport", "name", "type", "edns", "mixed", "sent_at")

    def __init__(self, server, name, type, edns=True, mixed=True, transport=UDP):
        self.server = server
        self.name = name
        self.type = type
        self.edns = edns
        self.mixed = mixed
        self.transport = transport
        self.sent_at = 0


class Question:
    def __init__(self, recursor, name, type, now, steps, fresh=False):
        """steps(question): a generator that returns a list of Entries."""
        self.fresh = fresh
        self.recursor = recursor
        self.name = name
        self.type = type
        self.now = now
        self.budget = Budget()
        self.queries = MAX_QUERIES
        self.deadline = now + DEADLINE_US
        self.fetching = []  # names of servers that are being looked up, so that none is twice
        self.fetches = 0
        self.avoid = set()  # addresses whose answers did not validate
        self.done = False
        self.rcode = packet.SERVFAIL
        self.entries = []
        self.status = STATUS[INSECURE]
        self.ede = None
        self._exchange = None
        self._pending = False
        self._stream = bytearray()
        self._guesses = 0
        self._until = NEVER
        self._steps = steps(self)
        self._resume(None, now)

    # Steps.

    def _resume(self, value, now):
        self.now = now
        self._exchange = None
        try:
            self._begin(self._steps.send(value))
        except StopIteration as e:
            self._finish(e.value)
        except Bogus as e:
            self._fail(BOGUS, e.args)
        except Fail as e:
            self._fail(INSECURE, e.args)

    def _finish(self, entries):
        self.entries = entries
        self.rcode = entries[-1].rcode
        worst = SECURE
        for e in entries:
            if e.ede is not None:
                self.ede = e.ede
            if e.status == BOGUS:
                worst = BOGUS
                self.rcode = packet.SERVFAIL
            elif e.status != SECURE and worst == SECURE:
                worst = INSECURE
        self._end(worst)

    def _fail(self, status, why):
        self.rcode = packet.SERVFAIL
        self.ede = why
        self._end(status)

    def _end(self, status):
        self.status = STATUS[status]
        self.done = True
        count = self.recursor.stats.count
        count("dns.questions")
        count("dns.asked", MAX_QUERIES - self.queries)
        count("dns.verifies", MAX_VERIFIES - self.budget.verifies)
        count("dns.hashes", MAX_HASHES - self.budget.hashes)

    # Sending.

    def _begin(self, x):
        """Make the message of an Exchange."""
        now = self.now
        if self.queries <= 0:
            self._throw(Fail(EDE_OTHER, "too many queries"))
            return
        if now >= self.deadline:
            self._throw(Fail(EDE_NETWORK, "no answer in time"))
            return
        self.queries -= 1
        self._exchange = x
        rng = self.recursor.rng
        seed = rng(2)
        self._id = seed[0] << 8 | seed[1]
        self._sent = mix_case(x.name, rng) if x.mixed else x.name
        edns = None
        if x.edns:
            edns = Edns(do=True)
            edns.options.append(self.recursor.servers.cookie_option(x.server))
        self._message = packet.write(
            self._id, packet.CD, (self._sent, x.type), edns=edns
        )
        self._stream = bytearray()
        self._guesses = 0
        wait = x.server.timeout_us() if x.transport == UDP else _TCP_TIMEOUT_US
        x.sent_at = now
        self._until = min(now + wait, self.deadline)
        self._pending = True

    def _throw(self, e):
        self._steps.close()
        self._fail(INSECURE, e.args)

    def transmit(self):
        """What to send now, once: (transport, address, message), or None."""
        if self.done or not self._pending:
            return None
        self._pending = False
        m = self._message
        x = self._exchange
        if x.transport == TCP:
            m = bytes((len(m) >> 8, len(m) & 0xFF)) + m
        return x.transport, x.server.address, m

    def server_address(self):
        """Whom the message under way went to, or None."""
        return self._exchange.server.address if self._exchange is not None else None

    def poll_at(self):
        return NEVER if self.done else self._until

    def on_timer(self, now):
        if not self.done and now >= self._until:
            self.on_failed(now)

    def on_failed(self, now):
        """No answer in time, or the server cannot be reached."""
        if self.done:
            return
        x = self._exchange
        self.recursor.servers.failed(x.server, now)
        self._resume(None, now)

    # Answers.

    def on_datagram(self, data, address, now):
        """A datagram came from `address`. True if it was the answer."""
        x = self._exchange
        if self.done or x.transport != UDP or address != x.server.address:
            return False
        if self._on_message(data, now):
            return True
        self._guesses += 1
        if self._guesses >= _GUESSES_MAX:
            self.recursor.stats.count("dns.spoofed")
            self._again(Exchange(x.server, x.name, x.type, x.edns, x.mixed, TCP), now)
        return False

    def on_stream(self, data, now):
        """Bytes came from the connection, in any pieces."""
        if self.done or self._exchange.transport == UDP:
            return
        s = self._stream
        s.extend(data)
        if len(s) >= 2:
            n = s[0] << 8 | s[1]
            if len(s) >= 2 + n and not self._on_message(bytes(s[2 : 2 + n]), now):
                self.on_failed(now)

    def _on_message(self, data, now):
        # What is not ours must not cost a parse.
        if len(data) < 12 or data[0] << 8 | data[1] != self._id or data[2] & 0xF8 != 0x80:
            self.recursor.stats.drop("dns.not_ours")
            return False
        if not self._question_matches(data):
            self.recursor.stats.drop("dns.question")
            return False
        x = self._exchange
        if x.transport == UDP and data[2] & _TC_BYTE:
            # What did not fit is not looked at (RFC 2181, section 9).
            self._again(Exchange(x.server, x.name, x.type, x.edns, x.mixed, TCP), now)
            return True
        try:
            p = packet.read(data)
        except ProtocolError:
            self.recursor.stats.drop("dns.malformed")
            self._resume(None, now)
            return True
        cookie = p.edns.option(COOKIE) if p.edns is not None else None
        if not self.recursor.servers.check_cookie(x.server, cookie):
            self.recursor.stats.drop("dns.cookie")
            return False
        self._on_packet(p, x, now)
        return True

    def _question_matches(self, data):
        """Id, port and address were looked at; here name, letter by letter, type and class."""
        x = self._exchange
        sent = self._sent
        n = len(sent)
        if data[4] == 0 and data[5] == 0:
            # Some servers leave the question out of an error; nothing else may.
            return data[3] & 15 not in (packet.NOERROR, packet.NXDOMAIN)
        tail = bytes((x.type >> 8, x.type & 0xFF, 0, packet.IN))
        return (
            data[4] == 0
            and data[5] == 1
            and data[12 : 12 + n] == sent
            and data[12 + n : 16 + n] == tail
        )

    def _on_packet(self, p, x, now):
        servers = self.recursor.servers
        servers.answered(x.server, now - x.sent_at, now)
        if p.rcode == packet.BADCOOKIE and x.edns and x.server.cookie:
            self._again(Exchange(x.server, x.name, x.type, True, x.mixed, TCP), now)
            return
        if x.edns and p.rcode in (packet.FORMERR, packet.NOTIMP) and p.edns is None:
            # RFC 6891, section 7: the server may not know EDNS; then it has no DNSSEC either.
            self._again(Exchange(x.server, x.name, x.type, False, x.mixed, x.transport), now)
            return
        self._resume(p, now)

    def _again(self, x, now):
        self.now = now
        self._begin(x)
