"""Asking configured servers one question until one of them has answered. RFC 1035, 7873, 8467.

The base of stub.Resolution, which says what is asked and what an answer is worth. The quickest
server is asked first (RFC 6298's smoothed round trip, in bands); who does not answer in time is
asked again in later rounds, more patiently, and later than others for a minute; who refuses, or
fails in TLS, is not asked again for this question.

An answer counts only if id, server, question and, over UDP, its letters' case (0x20) and the
cookie are what we sent; the shell's connected port is one more. Not implemented: DNSSEC
(recursor/ does it, also by way of a forwarder).
"""

import micropython
from micropython import const

from stack.core.errors import ProtocolError
from stack.core.timers import NEVER
from stack.dns import message, packet
from stack.dns.upstream import HTTPS, TCP, TLS, UDP

# Each round asks every server once, and waits longer: 1, 2, 4 seconds for a datagram.
_ROUNDS = const(3)
_TIMEOUT_US = const(1_000_000)
# Where there are others, one that is known to be quick is not waited for that long.
_LEAST_US = const(300_000)
_STREAM_TIMEOUT_US = const(5_000_000)
# All servers, all rounds, all aliases of one question.
DEADLINE_US = const(15_000_000)
# RFC 8310, section 5: how long an opportunistic server without TLS is asked in the clear.
_PLAIN_US = const(300_000_000)
_BAND = const(16)  # 65 ms: who is not slower by more is asked in the order that was configured
_UNKNOWN_US = const(376_000)

# What no server said, in place of an rcode.
TIMEOUT = const(-1)


class Asking:
    """`done`, and what the heir makes of answers."""

    def __init__(self, resolver, servers, now):
        self._r = resolver
        self._rng = resolver.rng
        self._known = resolver.known
        self._servers = servers
        self._until = now + DEADLINE_US
        self._pending = False
        self._deadline = NEVER
        self.done = False
        self.failures = []  # (server, why in words)

    def _put(self, wire, type, now):
        """Begin to ask for a name in wire form."""
        self._wire = wire
        self._type = type
        self._order = _order(self._servers, self._known, now)
        self._out = []  # servers that are not asked again
        self._round = 0
        self._server = 0
        self._failure = TIMEOUT
        self._begin(_transport(self._order[0], now), now)

    def _begin(self, transport, now):
        """Prepare a fresh message for the present server."""
        self._transport = transport
        known = self._known.get(self._order[self._server])
        seed = self._rng(2)
        # RFC 8484, section 4.1: 0, so that caches see the same question.
        self._id = seed[0] << 8 | seed[1] if transport != HTTPS else 0
        # Later rounds go without mixed case: a few servers do not keep it.
        mixed = transport == UDP and self._round == 0
        self._sent = mix_case(self._wire, self._rng) if mixed else self._wire
        edns = packet.Edns() if known.edns and self._r.edns else None
        if edns is not None and transport < TLS:
            edns.options.append(self._known.cookie_option(known))
        question = (self._sent, self._type)
        m = packet.write(self._id, packet.RD, question, edns=edns)
        if edns is not None and transport >= TLS:
            # RFC 8467, section 4.1.
            edns.options.append((packet.PADDING, bytes(packet.padded(m, 128))))
            m = packet.write(self._id, packet.RD, question, edns=edns)
        self._edns = edns is not None
        self._message = m
        self._stream = bytearray()
        self._sent_at = now
        self._deadline = min(now + self._patience(transport, known), self._until)
        self._pending = True

    def _patience(self, transport, known):
        if transport != UDP:
            return _STREAM_TIMEOUT_US
        if self._round == 0 and known.srtt >= 0 and len(self._order) > 1:
            return min(max(known.timeout_us(), _LEAST_US), _TIMEOUT_US)
        return _TIMEOUT_US << self._round

    def transmit(self):
        """What to send now, once: (transport, server, message), or None."""
        if self.done or not self._pending:
            return None
        self._pending = False
        m = self._message
        if self._transport == TCP or self._transport == TLS:
            # RFC 1035, section 4.2.2: two bytes of length first.
            m = bytes((len(m) >> 8, len(m) & 0xFF)) + m
        return self._transport, self._order[self._server], m

    def poll_at(self):
        return NEVER if self.done else self._deadline

    def on_timer(self, now):
        if not self.done and now >= self._deadline:
            server = self._order[self._server]
            self._known.failed(self._known.get(server), now)
            self.failures.append((server, "does not answer"))
            if self._transport == TLS and server.opportunistic:
                self._without_tls(server, now)
            else:
                self._next_server(now)

    def on_failed(self, now, why="cannot be reached"):
        """The server is not to be had: refused, unreachable, connection lost, no TLS."""
        if self.done:
            return
        server = self._order[self._server]
        self._known.failed(self._known.get(server), now)
        self.failures.append((server, why))
        if self._transport == TLS and server.opportunistic:
            self._without_tls(server, now)
            return
        self._out.append(server)
        self._next_server(now)

    def _without_tls(self, server, now):
        server.plain_until = now + _PLAIN_US
        self._begin(UDP, now)

    def _next_server(self, now):
        while True:
            self._server += 1
            if self._server >= len(self._order):
                self._server = 0
                self._round += 1
                self._order = [s for s in self._order if s not in self._out]
            if self._round >= _ROUNDS or not self._order or now >= self._until:
                self._on_no_answer(self._failure, now)
                return
            server = self._order[self._server]
            if server not in self._out:
                self._begin(_transport(server, now), now)
                return

    def _refused(self, rcode, now):
        """It has answered, and not what we want: the others are asked, each once."""
        self._failure = rcode
        server = self._order[self._server]
        self.failures.append((server, "answers %s" % message.rcode_name(rcode)))
        self._out.append(server)
        self._next_server(now)

    # Answers.

    def on_datagram(self, data, server, now):
        """A datagram came. True if it was the answer."""
        if self.done or self._transport != UDP or server != self._order[self._server]:
            return False
        return self._on_message(data, now, 0)

    def on_stream(self, data, now):
        """Bytes came from the connection, in any pieces."""
        if self.done or self._transport == UDP:
            return
        s = self._stream
        s.extend(data)
        if len(s) >= 2:
            n = s[0] << 8 | s[1]
            if len(s) >= 2 + n and not self._on_message(bytes(s[2 : 2 + n]), now, 0):
                # On a connection nobody else answers.
                self.on_failed(now, "answers something else")

    def on_http(self, data, age, now):
        """The body of a response that was `age` seconds in a cache (RFC 8484, section 5.1)."""
        if not self.done and self._transport == HTTPS and not self._on_message(data, now, age):
            self.on_failed(now, "answers something else")

    def _on_message(self, data, now, age):
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
            self._refused(message.SERVFAIL, now)
            return True
        known = self._known.get(self._order[self._server])
        if not self._known.check_cookie(known, message.option(m, packet.COOKIE)):
            return False
        self._known.answered(known, now - self._sent_at, now)
        for r in m.answers + m.authority if age else ():
            r.ttl = max(r.ttl - age, 0)
        self._on_packet(m, known, now)
        return True

    def _question_matches(self, data):
        sent = self._sent
        n = len(sent)
        if data[4] == 0 and data[5] == 0:
            # Some servers leave the question out of an error; nothing else may.
            return data[3] & 15 not in (message.NOERROR, message.NXDOMAIN)
        t = self._type
        tail = bytes((t >> 8, t & 0xFF, 0, message.CLASS_IN))
        return (
            data[4] == 0
            and data[5] == 1
            and data[12 : 12 + n] == sent
            and data[12 + n : 16 + n] == tail
        )

    def _on_packet(self, m, known, now):
        rcode = m.rcode()
        if rcode in (message.FORMERR, message.NOTIMP) and self._edns and not m.has_edns():
            # RFC 6891, section 7: the server may not know EDNS.
            known.edns = False
            self._begin(self._transport, now)
        elif self._transport == UDP and (
            m.truncated() or rcode == packet.BADCOOKIE and known.cookie
        ):
            self._begin(TCP, now)
        elif rcode != message.NOERROR and rcode != message.NXDOMAIN:
            self._refused(rcode, now)
        else:
            self._on_answer(m, rcode, now)


def _transport(server, now):
    """How a server is spoken to: numbers are addresses that are asked in the clear."""
    if isinstance(server, int):
        return UDP
    return UDP if server.opportunistic and server.plain_until > now else server.kind


def _order(servers, known, now):
    """Servers in the order in which they are asked: the quick before the slow and the silent."""
    ranked = []
    for i in range(len(servers)):
        s = known.get(servers[i])
        rank = (_UNKNOWN_US if s.srtt < 0 else s.srtt) >> _BAND
        if s.failures and now < s.until:
            rank += 1 << 20
        ranked.append((rank, i))
    ranked.sort()
    return [servers[i] for _, i in ranked]


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
