"""A DNS server for clients: their queries in, answers of a Recursor out. RFC 1035, 6891.

    s = Server(recursor, rng)
    out = s.receive(data, source, limit, now)
        bytes      the answer at once: from the cache, or what is wrong with the query
        None       nothing is to be sent back
        Waiting    `.question` is to be driven; when it is done, s.finish(waiting, now)

Who waits for the same name and type shares a question. Cookies for clients: RFC 7873;
padding on encrypted transports: RFC 8467; extended errors: RFC 8914; `CD` is answered by a
second Recursor that validates nothing.

Not implemented: zones of our own, AXFR, NOTIFY, UPDATE, classes beside IN.
"""

from micropython import const

from stack.core.errors import ProtocolError
from stack.crypto.hmac import hmac
from stack.crypto.sha2 import Sha256
from stack.dns import packet
from stack.dns.packet import AD, CD, COOKIE, EDE, PADDING, QR, RA, RD, Edns
from stack.dns.rdata import ANY, NSEC, NSEC3, OPT, RRSIG

# Questions that are under way at one time: about 20 KB each, with what waits for them.
MAX_WAITING = const(128)
# Clients that may wait for one question.
MAX_SHARED = const(64)
# Ready answers, of at most 1.4 KB each with their keys: 350 KB.
_READY = const(256)
_READY_BYTES = const(512)
_SECOND = const(1_000_000)
# Fetched again before it expires: when a tenth of its time is left (unbound's figure).
_PREFETCH = const(10)


class Waiting:
    """A query that could not be answered at once."""

    __slots__ = ("question", "query", "source", "limit", "padded", "key")

    def __init__(self, question, query, source, limit, padded, key):
        self.question = question
        self.query = query
        self.source = source
        self.limit = limit
        self.padded = padded
        self.key = key


class _Ready:
    """An answer as it is sent, its TTLs as they were in `second`."""

    def __init__(self, answer, second, until):
        self.answer = answer
        self.second = second
        self.until = until
        self.ttls = packet.ttl_places(answer)

    def age(self, second):
        """Count the TTLs down."""
        out = self.answer
        gone = second - self.second
        self.second = second
        for at in self.ttls:
            left = int.from_bytes(out[at : at + 4], "big") - gone
            left = left if left > 0 else 0
            out[at] = left >> 24
            out[at + 1] = left >> 16 & 0xFF
            out[at + 2] = left >> 8 & 0xFF
            out[at + 3] = left & 0xFF


class Server:
    def __init__(self, recursor, rng):
        self.recursor = recursor
        self.stats = recursor.stats
        self._secret = rng(16)
        self._plain = None  # for queries with CD
        self._pending = {}  # (name, type, cd) -> [Question, how many wait]
        self._ready = {}  # a query but for its id -> _Ready
        self._flushes = 0
        self.prefetch = None  # prefetch(Question): the shell drives it, for nobody

    def receive(self, data, source, limit, now, padded=False):
        """source: bytes that tell clients apart (their address). limit: bytes of an answer."""
        n = len(data)
        if n < 12 or data[2] & 0x80:
            self.stats.drop("dns.server_short" if n < 12 else "dns.server_response")
            return None
        if self._flushes != self.recursor.flushes:
            self._flushes = self.recursor.flushes
            self._ready.clear()
            self._plain = None
        if not padded and n <= _READY_BYTES:
            ready = self._ready.get(bytes(data[2:]))
            if ready is not None and now < ready.until:
                if ready.second != now // _SECOND:
                    ready.age(now // _SECOND)
                out = ready.answer
                out[0] = data[0]
                out[1] = data[1]
                return out
        try:
            q = packet.read(data)
        except ProtocolError:
            return self._error(data, packet.FORMERR)
        wrong = self._check(q)
        if wrong >= 0:
            return self._error(data, wrong, q)
        return self._start(data, q, source, limit, padded, now)

    def _check(self, q):
        """An rcode for what is not to be resolved; -1: nothing is wrong."""
        if q.flags & packet.OPCODE:
            return packet.NOTIMP
        if q.question is None:
            return packet.FORMERR
        if q.edns is not None:
            if q.edns.version:
                return packet.BADVERS
            cookie = q.edns.option(COOKIE)
            if cookie is not None and not (len(cookie) == 8 or 16 <= len(cookie) <= 40):
                return packet.FORMERR
        _, type, cls = q.question
        if cls != packet.IN or type in (ANY, OPT, RRSIG) or 249 <= type <= 254:
            return packet.NOTIMP
        if not q.flags & RD:
            return packet.REFUSED
        return -1

    def _start(self, data, q, source, limit, padded, now):
        name = q.question[0].lower()
        type = q.question[1]
        unchecked = q.flags & CD != 0
        key = (name, type, unchecked)
        shared = self._pending.get(key)
        if shared is not None:
            if shared[1] >= MAX_SHARED:
                self.stats.drop("dns.server_shared")
                return self._error(data, packet.SERVFAIL, q)
            shared[1] += 1
            return Waiting(shared[0], q, source, limit, padded, key)
        if len(self._pending) >= MAX_WAITING and self._unknown(name, type, now):
            self.stats.drop("dns.server_busy")
            return self._error(data, packet.SERVFAIL, q)
        question = self._resolver(unchecked).start(name, type, now)
        if question.done:
            out = self._write(q, question, source, limit, padded, now)
            if not padded and len(data) <= _READY_BYTES and len(out) <= _READY_BYTES:
                self._keep(data, q, question, out, now)
            self._look_ahead(question, now)
            return out
        self._pending[key] = [question, 1]
        return Waiting(question, q, source, limit, padded, key)

    def _unknown(self, name, type, now):
        return self.recursor.cache.known(name, type, now) is None

    def _resolver(self, unchecked):
        if not unchecked:
            return self.recursor
        if self._plain is None:
            self._plain = self.recursor.unvalidated()
        return self._plain

    def finish(self, waiting, now):
        """The answer, once waiting.question is done."""
        self._pending.pop(waiting.key, None)
        return self._write(
            waiting.query, waiting.question, waiting.source, waiting.limit, waiting.padded, now
        )

    def _keep(self, data, q, question, out, now):
        """Have an answer ready for the same query by anybody; one with a cookie is for one.

        Until it expires, or is to be fetched ahead."""
        if q.edns is not None and q.edns.option(COOKIE) is not None:
            return
        until = now + 86400 * _SECOND
        for e in question.entries:
            life = e.until - e.began
            until = min(until, e.until - life // _PREFETCH if life or not e.size else 0)
        if until <= now:
            return
        if len(self._ready) >= _READY:
            self._ready.clear()
        self._ready[bytes(data[2:])] = _Ready(bytearray(out), now // _SECOND, until)

    def _look_ahead(self, question, now):
        """RFC-less prefetch: what is asked for and about to expire is asked again."""
        if self.prefetch is None or not question.entries:
            return
        e = question.entries[0]
        life = e.until - e.began
        if life > 0 and (e.until - now) * _PREFETCH < life:
            e.began = e.until  # once is enough
            self.stats.count("dns.prefetch")
            self.prefetch(question.recursor.start(question.name, question.type, now, True))

    # Answers.

    def _write(self, q, question, source, limit, padded, now):
        do = q.edns is not None and q.edns.do
        answer = []
        authority = []
        for e in question.entries:
            left = e.left(now)
            for s in e.answer:
                answer.append(_aged(s, left))
            for s in e.authority:
                if do or s.type not in (NSEC, NSEC3):
                    authority.append(_aged(s, left))
        if question.rcode == packet.SERVFAIL:
            answer = authority = []
        flags = QR | RA | q.flags & (RD | CD)
        if question.status == "secure" and (do or q.flags & AD) and not q.flags & CD:
            flags |= AD
        edns = None
        if q.edns is not None:
            limit = min(limit, max(q.edns.size, 512)) if limit < 65535 else limit
            edns = self._edns(q, do, source, question.ede)
        elif limit < 65535:
            limit = 512
        sections = (answer, _unique(authority), ())
        out = packet.write(
            q.id, flags, q.question[:2], sections, edns, question.rcode, limit, do
        )
        if padded and edns is not None and q.edns.option(PADDING) is not None:
            edns.options.append((PADDING, bytes(packet.padded(out, 468))))
            out = packet.write(
                q.id, flags, q.question[:2], sections, edns, question.rcode, limit, do
            )
        return out

    def _edns(self, q, do, source, ede):
        edns = Edns(do=do)
        cookie = q.edns.option(COOKIE)
        if cookie is not None:
            edns.options.append((COOKIE, cookie[:8] + self._cookie(cookie[:8], source)))
        if ede is not None:
            code, words = ede
            edns.options.append((EDE, bytes((code >> 8, code & 0xFF)) + words.encode()))
        return edns

    def _cookie(self, client, source):
        """The server's half for a client. RFC 7873, section 4.2."""
        return hmac(Sha256, self._secret, client + source)[:8]

    def _error(self, data, rcode, q=None):
        """An answer without content. Only a query that could be read has its question in it."""
        if rcode == packet.FORMERR and q is None:
            self.stats.drop("dns.server_malformed")
        question = q.question[:2] if q is not None and q.question is not None else None
        edns = Edns() if q is not None and q.edns is not None else None
        flags = QR | (data[2] << 8 | data[3]) & (packet.OPCODE | RD | CD)
        return packet.write(data[0] << 8 | data[1], flags, question, edns=edns, rcode=rcode)


def _aged(s, left):
    """The set with the TTL that is left of it."""
    if left >= s.ttl:
        return s
    out = packet.Rrset(s.name, s.type, left, s.data, s.sigs)
    out.status = s.status
    return out


def _unique(sets):
    out = []
    for s in sets:
        if not [o for o in out if o.name == s.name and o.type == s.type]:
            out.append(s)
    return out


