"""Multicast DNS machines on a made-up link: names asked for, defended, lost, found, forgotten."""

from stack.core.errors import ProtocolError
from stack.core.stats import Stats
from stack.dns import rdata
from stack.dns.mdns import PORT, message
from stack.dns.mdns.message import AA, QR, TC, Question, Record
from stack.dns.mdns.querier import BYTES_MAX, Querier
from stack.dns.mdns.responder import (
    ANNOUNCING,
    PROBING,
    RUNNING,
    Responder,
    Service,
    _next_name,
    reverse_name,
)
from stack.dns.name import to_text, to_wire
from stack.dns.rdata import AAAA, ANY, NSEC, PTR, SRV, TXT, A

S = 1_000_000
A1, A2, A3 = b"\x0a\0\0\1", b"\x0a\0\0\2", b"\x0a\0\0\3"
SIX = b"\xfe\x80" + bytes(13) + b"\1"


class Rng:
    def __init__(self, x=12345):
        self.x = x

    def __call__(self, n):
        out = bytearray(n)
        for i in range(n):
            self.x = (self.x * 1103515245 + 12345) & 0x7FFFFFFF
            out[i] = self.x >> 16 & 255
        return bytes(out)


class Link:
    """Machines that hear each other at once. `said`: (time, sender, message, to)."""

    def __init__(self, *hosts):
        self.hosts = list(hosts)
        self.said = []
        self.now = 0

    def deliver(self):
        moved = True
        while moved:
            moved = False
            for h in self.hosts:
                t = h.transmit()
                while t is not None:
                    moved = True
                    m = message.read(t[0])
                    self.said.append((self.now, h, m, t[1]))
                    for other in self.hosts:
                        if other is not h and (t[1] is None or t[1][0] is other):
                            other.on_message(m, (h, PORT), PORT, self.now)
                    t = h.transmit()

    def run(self, us):
        """Let time pass."""
        end = self.now + us
        self.deliver()
        while True:
            at = min([h.poll_at() for h in self.hosts])
            if at > end:
                break
            self.now = max(self.now, at)
            for h in self.hosts:
                h.on_timer(self.now)
            self.deliver()
        self.now = end

    def of(self, host):
        return [(t, m, to) for t, h, m, to in self.said if h is host]


def host(name="box", seed=1, services=()):
    return Responder(Rng(seed), name, Stats(), list(services))


def up(*hosts):
    """Hosts one after the other on a link, all of them established."""
    link = Link()
    for i, h in enumerate(hosts):
        link.hosts.append(h)
        h.set_addresses([bytes((10, 0, 0, i + 1))], link.now)
        link.run(5 * S)
    link.said = []
    return link


def names(h):
    return [to_text(n) for n in h.names()]


def ask(h, link, *questions, known=(), flags=0, port=PORT, authority=(), id=0):
    """A query to h; what it has said within a second: (delay, message, to)."""
    before = len(link.said)
    at = link.now
    m = message.read(message.write(id, flags, questions, known, authority))
    h.on_message(m, ("asker", port), port, link.now)
    link.run(S - 1)
    return [(t - at, m, to) for t, _, m, to in link.said[before:]]


def q(name, type=A, unicast=False):
    return Question(to_wire(name), type, unicast)


def rec(name, type, data, ttl=120, flush=True):
    return Record(to_wire(name), type, flush, ttl, data)


def response(*records):
    return message.read(message.write(0, QR | AA, answers=records))


def texts(m):
    return sorted(["%s %s" % (to_text(r.name), rdata.text(r.type, r.data)) for r in m.records])


# Messages.


def test_a_message_both_ways():
    m = message.read(message.write(
        7, QR | TC, [q("a.local", ANY, True), q("b.local")],
        [rec("a.local", A, A1), rec("_x._tcp.local", PTR, to_wire("i._x._tcp.local"), 9, False)],
        [rec("a.local", AAAA, SIX)], [rec("a.local", TXT, b"\3abc")],
    ))  # fmt: skip
    assert (m.id, m.flags) == (7, QR | TC)
    assert [(to_text(x.name), x.type, x.unicast) for x in m.questions] == [
        ("a.local", ANY, True), ("b.local", A, False)]  # fmt: skip
    assert [(x.type, x.flush, x.ttl) for x in m.records] == [
        (A, True, 120), (PTR, False, 9), (TXT, True, 120)]  # fmt: skip
    assert len(m.authority) == 1 and not m.authority[0].flush


def test_every_truncation_is_an_error():
    whole = message.write(0, QR, [q("a.local")], [rec("a.local", A, A1)], [], [rec("b", A, A2)])
    for n in range(len(whole)):
        try:
            message.read(whole[:n])
            raise AssertionError(n)
        except ProtocolError:
            pass
    for n in (4, 6):  # questions, answers
        bad = bytearray(whole)
        bad[n] = 9
        try:
            message.read(bytes(bad))
            raise AssertionError
        except ProtocolError:
            pass


# Having a name.


def test_probing_and_announcing():
    h = host()
    link = Link(h)
    h.set_addresses([A1, SIX], 0)
    assert h.state == PROBING and names(h) == []
    link.run(5 * S)
    assert h.state == RUNNING and names(h) == ["box.local"]
    probes = [(t, m) for t, m, _ in link.of(h) if not m.flags & QR]
    assert len(probes) == 3 and 0 <= probes[0][0] < 250_000
    assert [probes[i + 1][0] - probes[i][0] for i in (0, 1)] == [250_000] * 2
    for _, m in probes:
        assert [(x.type, x.unicast) for x in m.questions] == [(ANY, True)]
        assert sorted([r.type for r in m.authority]) == [A, AAAA]
    said = [(t, m) for t, m, _ in link.of(h) if m.flags & QR]
    assert len(said) == 2 and said[1][0] - said[0][0] == S
    assert said[0][0] - probes[2][0] == 250_000
    for _, m in said:
        assert texts(m) == sorted([
            "box.local 10.0.0.1", "box.local fe80::1", "1.0.0.10.in-addr.arpa box.local",
            to_text(reverse_name(SIX)) + " box.local"])  # fmt: skip
        assert all([r.flush and r.ttl == 120 for r in m.records])


def test_answers():
    h = host()
    link = up(h)
    # Everything was told less than a quarter of its TTL ago: by unicast, where that was asked.
    out = ask(h, link, q("BOX.local", A, True))
    assert [(d, texts(m), to) for d, m, to in out] == [
        (0, ["box.local 10.0.0.1"], ("asker", PORT))]  # fmt: skip
    # To all otherwise, at once, and not twice within a second (section 6).
    out = ask(h, link, q("box.local"))
    assert [(d, texts(m), to) for d, m, to in out] == [(0, ["box.local 10.0.0.1"], None)]
    assert ask(h, link, q("box.local")) == []
    link.run(S)
    assert texts(ask(h, link, q("1.0.0.10.in-addr.arpa", PTR))[0][1]) == [
        "1.0.0.10.in-addr.arpa box.local", "box.local 10.0.0.1"]  # fmt: skip
    # After 30 s of silence all are told, though one asked (section 5.4).
    link.run(31 * S)
    assert ask(h, link, q("box.local", A, True))[0][2] is None
    # What is not there of a name that is ours is said to be so (section 6.1).
    link.run(2 * S)
    out = ask(h, link, q("box.local", AAAA))
    r = out[0][1].records[0]
    assert r.type == NSEC and rdata.in_bitmap(r.data[-3:], A)
    assert not rdata.in_bitmap(r.data[-3:], AAAA)
    # Of other names nothing.
    assert ask(h, link, q("other.local", ANY)) == []


def test_known_answers():
    h = host()
    link = up(h)
    link.run(2 * S)
    known = [rec("box.local", A, A1, 60, False)]
    assert ask(h, link, q("box.local"), known=known) == []
    # With less than half of its time it is told again; so is another address.
    for known in ([rec("box.local", A, A1, 59)], [rec("box.local", A, A2, 120)]):
        link.run(2 * S)
        h2 = host("other")
        h2.set_addresses([A1], 0)
        m = message.read(message.write(0, 0, [q("box.local")], known))
        h.on_message(m, ("asker", PORT), PORT, link.now)
        link.deliver()
        assert texts(link.said[-1][2]) == ["box.local 10.0.0.1"]


def test_known_answers_in_further_messages():
    web = Service("Page", "_http._tcp", 80, b"\0")
    h = host(services=[web])
    link = up(h)
    link.run(2 * S)
    mine = rec("_http._tcp.local", PTR, to_wire("Page._http._tcp.local"), 4500, False)
    m = message.read(message.write(0, TC, [q("_http._tcp.local", PTR)]))
    h.on_message(m, ("asker", PORT), PORT, link.now)
    rest = message.read(message.write(0, 0, (), [mine]))
    before = len(link.said)
    h.on_message(rest, ("somebody else", PORT), PORT, link.now)
    link.run(399_000)
    assert len(link.said) == before  # it waits for the rest
    link.run(200_000)
    assert len(link.said) == before + 1
    link.run(2 * S)
    h.on_message(m, ("asker", PORT), PORT, link.now)
    h.on_message(rest, ("asker", PORT), PORT, link.now)
    before = len(link.said)
    link.run(2 * S)
    assert len(link.said) == before


def test_plain_dns_is_answered_too():
    h = host()
    link = up(h)
    (delay, m, to), = ask(h, link, q("box.local"), port=40000, id=0x1234)
    assert delay == 0 and to == ("asker", 40000) and m.id == 0x1234
    assert [(r.ttl, r.flush) for r in m.records] == [(10, False)]
    assert [to_text(x.name) for x in m.questions] == ["box.local"]


def test_services():
    web = Service("My Page", "_http._tcp", 8080, b"\6path=/")
    h = host(services=[web])
    link = up(h)
    assert names(h)[0] == "box.local" and len(names(h)) == 2
    link.run(2 * S)
    out = ask(h, link, q("_http._tcp.local", PTR))
    assert 20_000 <= out[0][0] <= 120_000  # others may have some, too
    m = out[0][1]
    assert sorted([r.type for r in m.records]) == sorted([PTR, SRV, TXT, A])
    srv = [r for r in m.records if r.type == SRV][0]
    assert rdata.decode(SRV, srv.data) == (0, 0, 8080, "box.local")
    assert not [r for r in m.records if r.type == PTR][0].flush and srv.flush
    link.run(2 * S)
    out = ask(h, link, q("_services._dns-sd._udp.local", PTR))
    assert "_services._dns-sd._udp.local _http._tcp.local" in texts(out[0][1])


def test_somebody_has_the_name():
    a, b = host("box", 1), host("box", 77)
    link = up(a, b)
    assert (names(a), names(b)) == (["box.local"], ["box-2.local"])
    c = host("box", 99)
    link.hosts.append(c)
    c.set_addresses([A3], link.now)
    link.run(5 * S)
    assert names(c) == ["box-3.local"] and names(a) == ["box.local"]


def test_two_ask_at_once():
    """The one with the greater data wins (section 8.2), whoever asks first."""
    for seeds in ((1, 2), (2, 1), (3, 4), (5, 5)):
        a, b = host("box", seeds[0]), host("box", seeds[1])
        link = Link(a, b)
        a.set_addresses([A1], 0)
        b.set_addresses([A2], 0)
        link.run(10 * S)
        assert (names(a), names(b)) == (["box-2.local"], ["box.local"]), seeds
    # The same machine twice is no conflict.
    a, b = host("box", 1), host("box", 2)
    link = Link(a, b)
    a.set_addresses([A1], 0)
    b.set_addresses([A1], 0)
    link.run(10 * S)
    assert names(a) == names(b) == ["box.local"]


def test_a_conflict_later():
    h = host()
    link = up(h)
    h.on_message(response(rec("box.local", A, A2)), ("x", PORT), PORT, link.now)
    assert h.state == PROBING and names(h) == []
    # Nobody defends it: it stays ours.
    link.run(5 * S)
    assert names(h) == ["box.local"]
    # Another type of the same name, or a goodbye, is none.
    for r in (rec("box.local", TXT, b"\1a"), rec("box.local", A, A2, 0)):
        h.on_message(response(r), ("x", PORT), PORT, link.now)
        assert h.state == RUNNING
    # Somebody who always contradicts: names get on, and more slowly after fifteen.
    started = link.now
    for _ in range(20):
        m = response(rec(h.host + ".local", A, A2))
        h.on_message(m, ("x", PORT), PORT, link.now)
        link.run(10_000)
    assert h.host == "box-20" and h._at - link.now > 4 * S
    assert link.now - started < S


def test_another_name_and_goodbye():
    h = host()
    link = up(h)
    h.rename("tub", link.now)
    link.run(5 * S)
    assert names(h) == ["tub.local"]
    gone = [m for _, m, _ in link.of(h) if m.flags & QR and not m.records[0].ttl]
    assert len(gone) == 1 and "box.local 10.0.0.1" in texts(gone[0])
    link.said = []
    # Another address: no probing, but the old one goes.
    h.set_addresses([A2], link.now)
    assert h.state == ANNOUNCING
    link.run(5 * S)
    gone = [m for _, m, _ in link.of(h) if not m.records[0].ttl]
    assert texts(gone[0]) == ["1.0.0.10.in-addr.arpa tub.local", "tub.local 10.0.0.1"]
    link.said = []
    h.stop(link.now)
    link.deliver()
    assert all([not r.ttl for r in link.said[0][2].records]) and names(h) == []
    assert ask(h, link, q("tub.local")) == []


def test_names_that_follow():
    for name, form, expected in (
        ("box", "-%d", "box-2"),
        ("box-2", "-%d", "box-3"),
        ("box-99", "-%d", "box-100"),
        ("box-a", "-%d", "box-a-2"),
        ("x" * 63, "-%d", "x" * 61 + "-2"),
        ("Page", " (%d)", "Page (2)"),
        ("Page (2)", " (%d)", "Page (3)"),
    ):
        assert _next_name(name, form) == expected


def test_a_flood_of_questions_is_bounded():
    h = host(services=[Service("P", "_http._tcp", 80, b"\0")])
    link = up(h)
    m = message.read(message.write(0, TC, [q("_http._tcp.local", PTR)]))
    for i in range(100):
        h.on_message(m, (i, PORT), PORT, link.now)
    assert len(h._waiting) == 16
    before = len(link.said)
    link.run(5 * S)
    # All of them together are one answer a second.
    assert len(link.said) - before == 1


# Asking.


def lookup(querier, name, *types, now=0):
    return querier.start(to_wire(name), types, now)


def found(look):
    return sorted([rdata.text(r.type, r.data) for r, _, _ in look.records])


def test_a_lookup():
    c = Querier(Stats())
    x = lookup(c, "nas.local", A, AAAA)
    m = message.read(x.transmit(0))
    assert [(to_text(i.name), i.type, i.unicast) for i in m.questions] == [
        ("nas.local", A, True), ("nas.local", AAAA, True)]  # fmt: skip
    assert x.transmit(0) is None and x.poll_at() == S
    c.on_message(response(rec("NAS.local", A, A1)), 1, 5000)
    # The other family has a little time.
    assert not x.done and x.poll_at() == 205_000 and x.events()
    c.on_message(response(rec("nas.local", AAAA, SIX)), 1, 6000)
    assert x.done and found(x) == ["10.0.0.1", "fe80::1"]
    assert lookup(c, "nas.local", A, now=119 * S).done
    assert not lookup(c, "nas.local", A, now=121 * S).done


def test_a_lookup_of_what_is_not_there():
    c = Querier(Stats())
    x = lookup(c, "nas.local", A)
    sent = []
    now = 0
    while not x.done:
        m = x.transmit(now)
        if m is not None:
            sent.append((now, message.read(m).questions[0].unicast))
        now = x.poll_at()
        x.on_timer(now)
    assert sent == [(0, True), (S, False), (3 * S, False)] and now == 4 * S
    assert x.records == []
    # The owner says that there is none: at once.
    x = lookup(c, "nas.local", AAAA, now=now)
    nsec = to_wire("nas.local") + b"\0\1\x40"
    c.on_message(response(rec("nas.local", NSEC, nsec)), 1, now)
    assert x.done and x.records == []


def test_goodbye_and_flush():
    c = Querier(Stats())
    lookup(c, "nas.local", A)
    c.on_message(response(rec("nas.local", A, A1), rec("nas.local", A, A2)), 1, 0)
    assert found(lookup(c, "nas.local", A, now=S)) == ["10.0.0.1", "10.0.0.2"]
    c.on_message(response(rec("nas.local", A, A1, 0)), 1, S)
    assert found(lookup(c, "nas.local", A, now=2 * S)) == ["10.0.0.2"]
    # New data with the bit: what is older than a second goes in a second (section 10.2).
    c.on_message(response(rec("nas.local", A, A3)), 1, 10 * S)
    assert found(lookup(c, "nas.local", A, now=10 * S)) == ["10.0.0.2", "10.0.0.3"]
    assert found(lookup(c, "nas.local", A, now=11 * S)) == ["10.0.0.3"]
    # On another link it is another's.
    c.on_message(response(rec("nas.local", A, A1)), 2, 20 * S)
    assert found(lookup(c, "nas.local", A, now=22 * S)) == ["10.0.0.1", "10.0.0.3"]


def test_what_many_answer_is_collected():
    c = Querier(Stats())
    x = lookup(c, "_http._tcp.local", PTR)
    x.transmit(0)
    for i in range(3):
        data = to_wire("p%d._http._tcp.local" % i)
        c.on_message(response(rec("_http._tcp.local", PTR, data, 4500, False)), 1, 1000 * i)
    assert not x.done
    # The second question says what is known (section 7.1).
    m = message.read(x.transmit(S))
    assert len(m.records) == 3 and all([r.ttl > 4400 and not r.flush for r in m.records])
    x.on_timer(2 * S)
    assert x.done and len(found(x)) == 3


def test_what_nobody_asked_for_is_not_kept():
    c = Querier(Stats())
    for i in range(100):
        c.on_message(response(rec("n%d.local" % i, A, A1)), 1, 0)
    assert len(c) == 0 and c.bytes == 0
    # A name's records are bounded, so are names, and all of it in bytes.
    lookup(c, "nas.local", ANY)
    for i in range(40):
        text = b"\x3f" + bytes(62) + bytes((i,))
        c.on_message(response(rec("nas.local", TXT, text, 9, False)), 1, 0)
    assert len(c.known(to_wire("nas.local"), 0)) == 32
    big = (b"\xff" + bytes(255)) * 4
    for i in range(100):
        name = "n%d.local" % i
        lookup(c, name, TXT)
        for k in range(8 if i % 16 == 0 else 1):
            body = bytes((255, k)) + big[2:]
            c.on_message(response(rec(name, TXT, body, 9, False)), 1, 0)
        assert c.bytes <= BYTES_MAX + 64 * 300 and len(c) <= 64
    assert c.bytes > BYTES_MAX // 2 and c._stats.dropped("mdns.cache_full")
    c.flush()
    assert c.bytes == 0 and len(c) == 0
