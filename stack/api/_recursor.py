"""A recursive resolver for programs: stack/dns/recursor, carried by the host's own sockets."""

import time

from micropython import const

from stack.api import _address, _carry, _resolve, _runtime
from stack.dns import anchors, message, rdata, root
from stack.dns import name as _name
from stack.dns.recursor import CACHE_BYTES, Recursor
from stack.net import addr, addr6
from stack.net.addr6 import V6

# A file of trust anchors: the root has had at most 3 keys at a time, of 500 bytes each.
_ANCHORS_MAX = const(16384)


class Resolver:
    """Asks the root and goes down from there, validating.

    root_hints: addresses of root servers, text (default: IANA's). trust_anchor: the root's DS
    as text ("20326 8 2 E06D..." or lines of a zone file, DS or DNSKEY), a list of such, or the
    path of a file with them ("/..."); "" for none, which validates nothing. cache: bytes.
    ValueError, OSError.
    """

    def __init__(self, root_hints=None, trust_anchor=None, cache=CACHE_BYTES, forward=None,
                 verify=None):  # fmt: skip
        rt = self._rt = _runtime.current()
        self.machine = Recursor(
            rt.host.rng,
            _unix_time,
            _hints(rt, root_hints),
            _anchors(trust_anchor),
            rt.host.stats,
            cache,
            True,
            _resolve._usable(rt, _address.AF_INET6),
        )
        if forward is not None:
            self._forward(rt, forward, verify)

    def _forward(self, rt, servers, verify):
        """Validate what these servers say, texts as net.dns.use has them, not the root's."""
        from stack.api import _upstream
        from stack.dns.recursor.forward import Forwarder
        from stack.dns.upstream import UDP

        made = _upstream.made(rt, servers, verify)
        m = self.machine
        keys = {_upstream.text(s).encode(): s for s in made}
        transport = UDP if isinstance(made[0], int) else made[0].kind
        if [s for s in made if not isinstance(s, int) and s.kind != transport]:
            raise ValueError("tls:// and https:// do not go together here")
        self.machine = Forwarder(
            m.rng, m.unix_time, keys, transport, m.zones.root.ds, m.stats, m.cache.limit
        )

    def query(self, name, type="A"):
        """An Answer: `.rcode .records .status` ("secure", "insecure", "bogus") and `.why`."""
        return self._rt.run(self.steps(name, rdata.type_number(type)))

    def query_async(self, name, type="A"):
        """The same, to be awaited."""
        return self._rt.run_async(self.steps(name, rdata.type_number(type)))

    def cache(self):
        """What is held: (name, type, seconds left, status, records) each."""
        now = self._rt.now()
        out = []
        for e in self.machine.cache.entries(now):
            type = rdata.type_name(e.type) if e.type else "(no name)"
            records = records_of([e], now)
            out.append((_name.to_text(e.name), type, e.left(now), status(e.status), records))
        return out

    def flush(self):
        self.machine.flush()

    def steps(self, name, type):
        """Steps: an Answer. Never OSError: what cannot be resolved is SERVFAIL, with a reason."""
        rt = self._rt
        q = self.start(_name.to_wire(name), type)
        yield from _carry.ask(rt, q)
        return answer_of(name, q.question, rt.now())

    def start(self, wire, type):
        """A Carried question; ValueError for what is no name."""
        return Carried(self._rt, self.machine.start(wire, type, self._rt.now()))

    def usable(self):
        """Take note of whether there is an IPv6 address now."""
        self.machine.ip6 = _resolve._usable(self._rt, _address.AF_INET6)


class Carried:
    """A recursor's Question with addresses as the host has them: the face of stub.Resolution."""

    def __init__(self, rt, question):
        self._rt = rt
        self.question = question

    @property
    def done(self):
        return self.question.done

    def transmit(self):
        t = self.question.transmit()
        if t is None:
            return None
        transport, raw, data = t
        if not isinstance(raw, (bytes, bytearray)):
            return t  # a forwarder's
        if len(raw) == 4:
            a = int.from_bytes(raw, "big")
        else:
            a = self._rt.host.ip6.addresses.handle(raw)
        return transport, a, data

    def on_datagram(self, data, server, now):
        # The endpoint is connected: what it hears is from the server that was asked.
        return self.question.on_datagram(data, self.question.server_address(), now)

    def on_stream(self, data, now):
        self.question.on_stream(data, now)

    def on_http(self, data, age, now):
        self.question.on_http(data, age, now)

    def on_failed(self, now, why=None):
        if self.question.recursor.forward:
            self.question.on_failed(now, why)
        else:
            self.question.on_failed(now)

    def on_timer(self, now):
        self.question.on_timer(now)

    def poll_at(self):
        return self.question.poll_at()


def answer_of(name, q, now):
    """The Answer of a Question that is done."""
    a = _resolve.Answer(name, q.rcode, records_of(q.entries, now))
    a.status = q.status
    a.why = q.ede[1] if q.ede is not None else None
    if q.rcode == message.SERVFAIL and q.status != "bogus" and q.recursor.forward:
        a.why = _resolve._why(q)
    return a


def records_of(entries, now):
    """The Records of a chain of Entries, with what is left of their TTLs."""
    out = []
    for e in entries:
        left = e.left(now)
        for s in e.answer:
            owner = _name.to_text(s.name)
            for d in s.data:
                value = rdata.decode(s.type, d)
                out.append(message.Record(owner, s.type, 1, min(s.ttl, left), value, d))
    return out


def status(number):
    from stack.dns.dnssec import STATUS

    return STATUS[number]


def _unix_time():
    return int(time.time())


def _hints(rt, addresses):
    if addresses is None:
        out = []
        for letter, four, six in root.SERVERS:
            raw = [addr.parse(four).to_bytes(4, "big"), addr6.parse(six)[0]]
            out.append((_name.to_wire(letter + ".root-servers.net"), raw))
        return out
    found = [_raw(rt, a) for a in ([addresses] if isinstance(addresses, str) else addresses)]
    return [(b"\x04hint\x00", found)]


def _raw(rt, text):
    """4 or 16 bytes of an address in text."""
    a = _address.literal(rt, text)
    if a < 0:
        raise ValueError("not an address: %s" % text)
    return rt.host.ip6.addresses.bytes(a) if a >= V6 else a.to_bytes(4, "big")


def _anchors(given):
    """RDATA of DS of what was given: text, a list of texts, the path of a file."""
    if given is None:
        given = root.ANCHORS
    elif isinstance(given, str):
        if given.startswith("/"):
            with open(given) as f:
                return anchors.parse(f.read(_ANCHORS_MAX))
        given = [given] if given else ()
    out = []
    for text in given:
        out += anchors.parse(text)
    return out
