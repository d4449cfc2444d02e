"""Mutated DNS messages for everything that reads them: packet.py, message.py, Multicast DNS, the
pipe, the stub, and the machines behind them. An execution is one message for all of the readers;
each fourth goes to the machines as well.

What must hold: ProtocolError or nothing; what was read and written again reads the same; a
message cannot make more memory than a multiple of itself; machines end, within their bounds.
"""

import random
import time

from stack.core.errors import ProtocolError
from stack.core.stats import Stats
from stack.dns import message, packet, rdata
from stack.dns.mdns import PORT
from stack.dns.mdns import message as mdns
from stack.dns.mdns.querier import BYTES_MAX, Querier
from stack.dns.mdns.responder import Responder, Service
from stack.dns.name import to_wire
from stack.dns.packet import Edns, Rrset
from stack.dns.pipe import Pipe
from stack.dns.recursor import Recursor
from stack.dns.server import MAX_WAITING, Server, Waiting
from stack.dns.stub import Resolver
from tests.fuzz.engine import Failure

_NAMES = ("", "a", "example.test", "www.example.test", "host.local", "_http._tcp.local", "x" * 63,
          ".".join(["y" * 60] * 4), "1.0.0.10.in-addr.arpa", "P._http._tcp.local")  # fmt: skip
# RDATA of each type that has a layout, by its letters.
_FIELDS = {"1": b"\1", "2": b"\0\2", "4": b"\0\0\1\0", "n": b"\3www\4test\0", "N": b"\1S\0",
           "s": b"\3abc", "S": b"\1a\2bc", "*": b"\0\1\x40", "a": b"\x0a\0\0\1",
           "b": b"\xfe\x80" + bytes(14)}  # fmt: skip


def corpus():
    """Messages that are right."""
    out = []
    sets = []
    for type, layout in rdata._LAYOUT.items():
        if type != rdata.RRSIG:
            data = b"".join(_FIELDS[c] for c in layout)
            sets.append(Rrset(to_wire("www.example.test"), type, 300, [data]))
    rrsig = b"\0\1\x0d\2" + bytes(12) + b"\0\7" + to_wire("test") + bytes(64)
    sets[0].sigs.append(rrsig)
    sets.append(Rrset(to_wire("odd.test"), 65280, 1, [b"\1\2\3"]))
    edns = Edns(do=True, options=[(10, b"12345678serverhs"), (12, bytes(9)), (15, b"\0\x16no")])
    for name in _NAMES:
        for type in (1, 28, 12, 255):
            out.append(packet.write(7, 0x0120, (to_wire(name), type), edns=edns))
            soa = Rrset(to_wire("test"), 6, 9, [_FIELDS["n"] * 2 + bytes(20)])
            out.append(packet.write(7, 0x8183, (to_wire(name), type), ((), (soa,), ()), edns))
    for i in range(0, len(sets), 3):
        part = sets[i : i + 3]
        question = part[0].name, part[0].type
        out.append(packet.write(7, 0x8180, question, (part, sets[:1], ()), edns))
    q = [mdns.Question(to_wire(n), t, u) for n, t, u in (
        ("host.local", 255, True), ("_http._tcp.local", 12, False),
        ("P._http._tcp.local", 33, False))]  # fmt: skip
    r = [mdns.Record(to_wire("host.local"), 1, True, 120, b"\x0a\0\0\2"),
         mdns.Record(to_wire("host.local"), 47, True, 120, to_wire("host.local") + b"\0\1\x40"),
         mdns.Record(to_wire("_http._tcp.local"), 12, False, 4500, to_wire("P._http._tcp.local"))]
    out.append(mdns.write(0, 0, q, r[2:]))
    out.append(mdns.write(0, 0, q[:1], (), r[:1]))
    out.append(mdns.write(0, 0x0200, q, r))
    out.append(mdns.write(0, 0x8400, (), r))
    out.append(mdns.write(0, 0x8400, q[:1], r[:1], (), r[1:], True))
    return out


def mutate(data, rng, samples):
    b = bytearray(data)
    for _ in range(rng.choice((1, 1, 2, 3, 6))):
        what = rng.random()
        at = rng.randrange(len(b) + 1)
        if what < 0.3 and b:
            b[at - 1] = rng.choice((0, 1, 0xC0, 0xFF, 63, 64, rng.randrange(256)))
        elif what < 0.5:
            b[at : at + 2] = rng.choice((0xC00C, 0xC000 | rng.randrange(1 << 14), 0, 0xFFFF,
                                         rng.randrange(1 << 16))).to_bytes(2, "big")  # fmt: skip
        elif what < 0.6:
            del b[at : at + rng.choice((1, 2, 4, 20))]
        elif what < 0.7:
            b[at:at] = rng.randbytes(rng.choice((1, 2, 4, 20)))
        elif what < 0.8:
            other = rng.choice(samples)
            cut = rng.randrange(len(other) + 1)
            b[at:] = other[cut:]
        elif what < 0.9 and len(b) > 12:
            b[4 + rng.randrange(8)] = rng.choice((0, 0, 1, 2, rng.randrange(256)))
        elif at:
            b[at:at] = b[max(0, at - rng.choice((2, 12, 40))) : at]
    return bytes(b[:4096])


def reads(data, seen):
    """Every reader of messages. Adds to `seen` what was reached."""
    try:
        p = packet.read(data)
    except ProtocolError as e:
        seen.add(("packet", str(e)))
    else:
        check_packet(p, len(data), seen)
    try:
        m = message.parse(data)
    except ProtocolError as e:
        seen.add(("message", str(e)))
    else:
        message.option(m, 10)
        for r in m.answers + m.authority + m.additional:
            repr(r)  # what the prompt prints of it
            seen.add(("record", r.type if r.type in rdata._LAYOUT else -1))
    try:
        m = mdns.read(data)
    except ProtocolError as e:
        seen.add(("mdns", str(e)))
        return None
    parts = [r for r in m.records if len(r.data) < 4000]
    again = mdns.read(mdns.write(m.id, m.flags, m.questions, parts, m.authority))
    assert len(again.records) == len(parts)
    for a, b in zip(again.records, parts):
        # Names are pointed to whatever their case.
        assert a.same(b) and (a.flush, a.ttl) == (b.flush, b.ttl)
    assert len(again.questions) == len(m.questions)
    return m


def check_packet(p, size, seen):
    sections = (p.answer, p.authority, p.additional)
    total = sum(s.size() for part in sections for s in part)
    # A name of a record is two bytes at the least where it is a pointer, and 255 in memory;
    # RDATA may hold two of them.
    assert total <= 100 * size + 1000, (total, size)
    if p.question is None or p.question[2] != 1:
        return
    out = packet.write(p.id, p.flags, p.question[:2], sections, p.edns, p.rcode)
    q = packet.read(out)
    assert q.question == p.question and q.rcode == p.rcode
    for a, b in zip(sections, (q.answer, q.authority, q.additional)):
        # Names in data are pointed to whatever their case.
        assert _flat(a) == _flat(b)
    seen.add(("packet", len(p.answer), len(p.authority), p.edns is not None))


def _flat(sets):
    return [(s.name, s.type, sorted({rdata.canonical(s.type, d) for d in s.data}), s.sigs)
            for s in sets]  # fmt: skip


class Machines:
    """Those that live on while messages come."""

    def __init__(self, seed):
        self.rng = random.Random(seed).randbytes
        self.stats = Stats()
        self.now = 0
        self.resolver = Resolver(self.rng)
        self.resolver.servers = [1, 2]
        self.pipe = Pipe(self.rng, self.stats)
        self.responder = Responder(self.rng, "host", self.stats, [
            Service("P", "_http._tcp", 80, b"\0")])  # fmt: skip
        self.responder.set_addresses([b"\x0a\0\0\1"], 0)
        self.querier = Querier(self.stats)
        recursor = Recursor(self.rng, lambda: 1_700_000_000, [(b"\1h\0", [b"\x0a\0\0\1"])], [],
                            self.stats, 1 << 17)  # fmt: skip
        self.server = Server(recursor, self.rng)
        self.waiting = []
        self.n = 0

    def give(self, data, m, seen):
        """A message for all of them; m: the same read as Multicast DNS, or None."""
        self.n += 1
        self.now += 100_000
        self.stub(data, seen)
        self.serve(data, seen)
        if m is not None:
            self.link(m, seen)
        t = self.pipe.push(data[:512]) if len(data) >= 12 and len(self.pipe) < 32 else None
        stream = len(data).to_bytes(2, "big") + data
        self.pipe.receive(stream[: len(stream) // 2])
        self.pipe.receive(stream[len(stream) // 2 :])
        if t is not None:
            self.pipe.forget(t)
        self.pipe.out = bytearray()
        assert len(self.pipe._in) < 70000 and not len(self.pipe)

    def stub(self, data, seen):
        """The message as an answer to a question of ours: id and question made right."""
        try:
            q = self.resolver.start("n%d.example.test" % (self.n % 50), 1, self.now)
        except ValueError:
            return
        turns = 0
        while not q.done:
            turns += 1
            assert turns < 100
            t = q.transmit()
            if t is not None and turns < 20 and len(data) >= 12:
                sent = t[2][2:] if t[0] else t[2]
                end = 12 + len(q._sent) + 4
                body = sent[:2] + bytes((data[2] | 0x80,)) + data[3:4] + b"\0\1" + data[6:12]
                body += sent[12:end] + data[12:]
                if t[0]:
                    q.on_stream(len(body).to_bytes(2, "big") + body, self.now)
                else:
                    q.on_datagram(body, t[1], self.now)
                continue
            self.now = max(self.now, q.poll_at())
            q.on_timer(self.now)
        seen.add(("stub", q.rcode, len(q.records) > 0))
        assert len(q.failures) <= 40
        assert self.resolver.cache.bytes <= 96 << 10

    def serve(self, data, seen):
        out = self.server.receive(data, b"x", 1232, self.now)
        if isinstance(out, Waiting):
            q = out.question
            turns = 0
            while not q.done and turns < 8:
                turns += 1
                q.transmit()
                self.now = max(self.now, q.poll_at())
                q.on_timer(self.now)
            if not q.done:
                q._throw(Exception(0, "enough"))
            out = self.server.finish(out, self.now)
        if out is not None:
            assert len(out) <= 1232
            seen.add(("server", packet.read(out).rcode))
        assert len(self.server._pending) <= MAX_WAITING and len(self.server._ready) <= 256
        assert self.server.recursor.cache.bytes <= 1 << 17

    def link(self, m, seen):
        r = self.responder
        port = PORT if self.n & 3 else 40000
        before = r.host
        r.on_message(m, (self.n & 7, port), port, self.now)
        while r.poll_at() <= self.now:
            r.on_timer(self.now)
        n = 0
        t = r.transmit()
        while t is not None:
            n += 1
            assert len(t[0]) <= 1400 + 12
            mdns.read(t[0])
            t = r.transmit()
        assert n <= 64 and len(r._waiting) <= 16 and len(r.records) <= 8
        seen.add(("responder", r.state, n > 0, r.host != before))
        if len(r.host) > 60 or self.n % 500 == 0:
            r.rename("host", self.now)
        if self.n % 20 == 0:
            for name, type in (("host.local", 1), ("_http._tcp.local", 12)):
                self.querier.start(to_wire(name), (type,), self.now).close()
        self.querier.on_message(m, 1, self.now)
        assert self.querier.bytes <= BYTES_MAX + 64 * 500 and len(self.querier) <= 64


class Engine:
    """As engine.Engine: runs, counts, keeps messages that reached new things."""

    def __init__(self, seed, programs=()):
        self.rng = random.Random(seed)
        self.programs = corpus()
        self.base = len(self.programs)
        self.machines = Machines(seed)
        self.executions = self.checks = 0
        self.reached = set()
        for data in self.programs:
            self.give(data)

    def give(self, data):
        seen = set()
        try:
            m = reads(data, seen)
            if not self.executions & 3:
                self.machines.give(data, m, seen)
        except Exception as e:
            raise Failure(data, e) from e
        self.executions += 1
        self.checks += 1
        return seen

    def try_one(self, data):
        seen = self.give(data)
        if not seen <= self.reached:
            self.reached |= seen
            if len(self.programs) < 2000:
                self.programs.append(data)
            return True
        return False

    def run(self, executions, seconds, every=None):
        end = time.monotonic() + seconds
        tell = time.monotonic() + 1
        while self.executions < executions:
            for _ in range(50):
                data = mutate(self.rng.choice(self.programs), self.rng, self.programs)
                self.try_one(data)
            now = time.monotonic()
            if now > end:
                break
            if every and now > tell:
                every(self)
                tell = now + 1


def shorten(data):
    """The same failure of fewer bytes (a fresh set of machines each time)."""

    def fails(d):
        try:
            seen = set()
            Machines(1).give(d, reads(d, seen), seen)
        except Exception as e:
            return type(e).__name__
        return None

    kind = fails(data)
    n = len(data) // 2
    while kind and n:
        i = 0
        while i < len(data):
            fewer = data[:i] + data[i + n :]
            if fails(fewer) == kind:
                data = fewer
            else:
                i += n
        n //= 2
    return data
