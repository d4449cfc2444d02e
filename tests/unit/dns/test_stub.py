"""The stub machine: what it accepts, whom it asks when, how it ends; the cache and /etc/hosts."""

from stack.core.timers import NEVER
from stack.dns import hosts, message
from stack.dns.cache import BYTES_MAX, Cache, _size
from stack.dns.name import to_wire
from stack.dns.stub import TCP, TIMEOUT, UDP, Resolver

S = 1000000


def _u16(v):
    return bytes((v >> 8, v & 255))


class Rng:
    """Repeatable noise."""

    def __init__(self):
        self.x = 12345

    def __call__(self, n):
        out = bytearray(n)
        for i in range(n):
            self.x = (self.x * 1103515245 + 12345) & 0x7FFFFFFF
            out[i] = self.x >> 16 & 255
        return bytes(out)


def resolver(servers=(1,)):
    r = Resolver(Rng())
    r.servers = list(servers)
    return r


def question(query):
    """The question section of a query that we sent."""
    i = 12
    while query[i]:
        i += query[i] + 1
    return query[12 : i + 5]


def answer(query, records=(), rcode=0, flags=0x8180, authority=()):
    """A reply to `query`. records: (name, type, ttl, rdata bytes)."""
    out = query[:2] + _u16(flags | rcode) + _u16(1)
    out += _u16(len(records)) + _u16(len(authority)) + _u16(0) + question(query)
    for name, type, ttl, data in list(records) + list(authority):
        out += to_wire(name) + _u16(type) + _u16(1)
        out += _u16(ttl >> 16) + _u16(ttl & 0xFFFF) + _u16(len(data)) + data
    return out


def wire(name):
    return to_wire(name)


def soa(name, minimum=60, ttl=300):
    return name, 6, ttl, wire("ns.") + wire("r.") + bytes(19) + bytes((minimum,))


REC = message.Record("example.test", 1, 1, 300, "10.0.0.1", b"\x0a\x00\x00\x01")
A1 = ("example.test", 1, 300, b"\x0a\x00\x00\x01")


def test_an_answer():
    r = resolver()
    q = r.start("example.test", message.A, 0)
    transport, server, sent = q.transmit()
    assert (transport, server) == (UDP, 1)
    assert q.transmit() is None
    assert q.on_datagram(answer(sent, [A1]), 1, S)
    assert q.done and q.rcode == 0 and q.addresses() == ["10.0.0.1"]
    assert q.poll_at() == NEVER
    # And again from the cache, whatever the case.
    q = r.start("EXAMPLE.test", message.A, 2 * S)
    assert q.done and q.addresses() == ["10.0.0.1"] and q.secs_left == 299
    assert not r.start("example.test", message.A, 302 * S).done


def test_a_record_has_the_name_as_it_was_asked_for():
    """Not in the random case of the query, which servers copy into their answers."""
    q = resolver().start("Www.Test", message.A, 0)
    sent = q.transmit()[2]
    records = [("wWW.TEST", 5, 60, wire("a.test")), ("A.tEST", 1, 300, b"\x0a\0\0\2")]
    assert q.on_datagram(answer(sent, records), 1, 0)
    assert [r.name for r in q.records] == ["Www.Test", "a.test"], q.records


def test_forged_answers_are_not_taken():
    r = resolver()
    q = r.start("example.test", message.A, 0)
    sent = q.transmit()[2]
    good = answer(sent, [A1])

    def changed(at, value):
        bad = bytearray(good)
        bad[at] = value
        return bytes(bad)

    for why, data, server in (
        ("id", changed(0, good[0] ^ 1), 1),
        ("id", changed(1, good[1] ^ 1), 1),
        ("a query", changed(2, 1), 1),
        ("opcode", changed(2, 0x88), 1),
        ("server", good, 2),
        ("case of the question", changed(13, good[13] ^ 32), 1),
        ("other name", changed(14, good[14] ^ 1), 1),
        ("type", changed(26 + 1, 28), 1),
        ("class", changed(26 + 3, 3), 1),
        ("no question", good[:4] + b"\0\0" + good[6:12] + good[12 + 18 :], 1),
        ("empty", b"", 1),
        ("short", good[:11], 1),
    ):
        assert not q.on_datagram(data, server, S), why
        assert not q.done, why
    assert q.on_datagram(good, 1, S) and q.done


def test_every_truncation_of_an_answer():
    for n in range(12):
        q = resolver().start("example.test", message.A, 0)
        q.on_datagram(answer(q.transmit()[2], [A1])[:n], 1, S)
        assert not q.done
    full = len(answer(resolver().start("example.test", message.A, 0).transmit()[2], [A1]))
    for n in range(12, full):
        q = resolver().start("example.test", message.A, 0)
        q.on_datagram(answer(q.transmit()[2], [A1])[:n], 1, S)
        assert not q.records


def test_retransmission_and_failover():
    q = resolver((1, 2)).start("example.test", message.A, 0)
    ids = []
    now = 0
    asked = []
    while not q.done:
        t = q.transmit()
        if t:
            asked.append((t[1], now // S))
            ids.append(t[2][:2])
        now = q.poll_at()
        q.on_timer(now)
    assert asked == [(1, 0), (2, 1), (1, 2), (2, 4), (1, 6), (2, 10)]
    assert q.rcode == TIMEOUT and now == 14 * S
    assert len(set(ids)) == len(ids)


def test_an_early_timer_does_nothing():
    q = resolver().start("example.test", message.A, 0)
    q.transmit()
    q.on_timer(S - 1)
    assert q.transmit() is None


def test_servfail_goes_to_the_next_server_and_ends():
    q = resolver((1, 2)).start("example.test", message.A, 0)
    q.on_datagram(answer(q.transmit()[2], rcode=2), 1, 0)
    transport, server, sent = q.transmit()
    assert server == 2
    q.on_datagram(answer(sent, rcode=5), 2, 0)
    assert q.done and q.rcode == 5


def test_a_refused_port_goes_to_the_next_server():
    q = resolver((1, 2)).start("example.test", message.A, 0)
    q.transmit()
    q.on_failed(0)
    assert q.transmit()[1] == 2


def test_formerr_tries_without_edns():
    q = resolver().start("example.test", message.A, 0)
    sent = q.transmit()[2]
    assert sent[11] == 1
    q.on_datagram(answer(sent, rcode=1), 1, 0)
    sent = q.transmit()[2]
    assert sent[11] == 0
    q.on_datagram(answer(sent, [A1]), 1, 0)
    assert q.addresses() == ["10.0.0.1"]


def test_truncated_goes_to_tcp_in_any_pieces():
    for cut in (1, 2, 3, 7, 1000):
        q = resolver().start("example.test", message.A, 0)
        q.on_datagram(answer(q.transmit()[2], flags=0x8380), 1, 0)
        transport, server, sent = q.transmit()
        assert transport == TCP and server == 1
        assert sent[0] << 8 | sent[1] == len(sent) - 2
        reply = answer(sent[2:], [A1])
        stream = _u16(len(reply)) + reply
        for i in range(0, len(stream), cut):
            assert not q.done
            q.on_stream(stream[i : i + cut], 0)
        assert q.addresses() == ["10.0.0.1"]


def test_truncated_in_the_middle_of_a_record():
    q = resolver().start("example.test", message.A, 0)
    q.on_datagram(answer(q.transmit()[2], [A1], flags=0x8380)[:-2], 1, 0)
    assert q.transmit()[0] == TCP


def test_a_wrong_answer_over_tcp_goes_on():
    q = resolver((1, 2)).start("example.test", message.A, 0)
    q.on_datagram(answer(q.transmit()[2], flags=0x8380), 1, 0)
    q.transmit()
    q.on_stream(b"\x00\x0c" + bytes(12), 0)
    assert q.transmit()[:2] == (UDP, 2)


def test_aliases():
    r = resolver()
    q = r.start("www.test", message.A, 0)
    chain = [
        ("www.test", 5, 60, wire("a.test")),
        ("A.test", 5, 100, wire("b.test")),
        ("b.TEST", 1, 300, b"\x0a\x00\x00\x02"),
        ("other.test", 1, 300, b"\x0a\x00\x00\x03"),
    ]
    q.on_datagram(answer(q.transmit()[2], chain), 1, 0)
    assert q.addresses() == ["10.0.0.2"]
    assert [x.type for x in q.records] == [5, 5, 1]
    # The name itself is kept for as long as its shortest link, the target for its own time.
    assert r.start("www.test", message.A, 59 * S).done
    assert not r.start("www.test", message.A, 61 * S).done
    assert r.start("b.test", message.A, 61 * S).addresses() == ["10.0.0.2"]


def test_an_alias_that_leads_outside_is_asked_for():
    q = resolver().start("www.test", message.A, 0)
    q.on_datagram(answer(q.transmit()[2], [("www.test", 5, 60, wire("a.test"))]), 1, 0)
    assert not q.done
    sent = q.transmit()[2]
    assert question(sent).lower() == wire("a.test") + b"\0\1\0\1"
    q.on_datagram(answer(sent, [("a.test", 1, 300, b"\x0a\0\0\2")]), 1, 0)
    assert q.addresses() == ["10.0.0.2"]


def test_alias_loops_end():
    q = resolver().start("a.test", message.A, 0)
    loop = [("a.test", 5, 60, wire("b.test")), ("b.test", 5, 60, wire("a.test"))]
    q.on_datagram(answer(q.transmit()[2], loop), 1, 0)
    assert q.done and q.rcode == message.SERVFAIL and not q.records
    # One link an answer.
    q = resolver().start("a.test", message.A, 0)
    n = 0
    while not q.done:
        name = q.name
        q.on_datagram(answer(q.transmit()[2], [(name, 5, 60, wire("x%d.test" % n))]), 1, 0)
        n += 1
    assert n == 9 and q.rcode == message.SERVFAIL


def test_no_such_name_is_kept():
    r = resolver()
    q = r.start("no.test", message.A, 0)
    q.on_datagram(answer(q.transmit()[2], rcode=3, authority=[soa("test", 60)]), 1, 0)
    assert q.done and q.rcode == 3 and q.records == []
    assert r.start("no.test", message.A, 59 * S).rcode == 3
    assert not r.start("no.test", message.A, 61 * S).done


def test_no_data_without_soa_is_not_kept():
    r = resolver()
    q = r.start("example.test", message.AAAA, 0)
    q.on_datagram(answer(q.transmit()[2]), 1, 0)
    assert q.done and q.rcode == 0 and q.records == []
    assert not r.start("example.test", message.AAAA, 0).done


def test_search_list():
    r = resolver()
    r.search = ["lan"]
    q = r.start("box", message.A, 0)
    sent = q.transmit()[2]
    assert question(sent).lower() == wire("box.lan") + b"\0\1\0\1"
    q.on_datagram(answer(sent, rcode=3), 1, 0)
    sent = q.transmit()[2]
    assert question(sent).lower() == wire("box") + b"\0\1\0\1"
    # A name with a dot is tried as it is first; with one at the end only so.
    assert r.start("a.b", message.A, 0).name == "a.b"
    q = r.start("box.", message.A, 0)
    q.on_datagram(answer(q.transmit()[2], rcode=3), 1, 0)
    assert q.done


def test_names_known_here():
    r = resolver()
    r.hosts = hosts.parse("10.0.0.9 nas nas.lan # here\nbad line\n\n::1 nas\n#10.0.0.1 no")
    for name, type, expected in (
        ("10.1.2.3", 1, ["10.1.2.3"]),
        ("10.1.2.3", 28, []),
        ("fe80::1", 28, ["fe80::1"]),
        ("NAS", 1, ["10.0.0.9"]),
        ("nas.lan", 1, ["10.0.0.9"]),
        ("nas", 28, ["::1"]),
        ("localhost", 1, ["127.0.0.1"]),
        ("a.localhost", 1, ["127.0.0.1"]),
        ("localhost", 28, ["::1"]),
    ):
        q = r.start(name, type, 0)
        assert q.done and q.addresses() == expected, name
    for bad in ("a..b", "x" * 64, "\u00e4"):
        try:
            r.start(bad, 1, 0)
            raise AssertionError(bad)
        except ValueError:
            pass


def test_without_servers():
    q = resolver(()).start("example.test", message.A, 0)
    assert q.done and q.rcode == TIMEOUT


def test_cache_bounds():
    one = _size("n0", [REC])
    c = Cache(8 * one)
    for i in range(3):
        c.put("n%d" % i, 1, 0, [REC], 100, 0)
    assert c.get("n0", 1, 1)  # used: n1 is the oldest now
    for i in range(5):
        c.put("m%d" % i, 1, 0, [REC], 100, 2)
    c.put("n3", 1, 0, [REC], 100, 2)
    assert len(c) == 8 and c.bytes == 8 * one and c.get("n1", 1, 3) is None and c.get("n0", 1, 3)
    c.put("long", 1, 0, [REC], 1 << 30, 0)
    assert c.get("long", 1, 86401 * S) is None
    c.put("zero", 1, 0, [REC], 0, 0)
    assert c.get("zero", 1, 0) is None
    c.put("neg", 1, 3, [], 86400, 0)
    assert c.get("neg", 1, 3601 * S) is None
    assert Cache().list(0) == []


def test_the_cache_is_bounded_in_bytes():
    """However large answers are; and what it counts is what it holds."""
    c = Cache()
    rng = Rng()
    for i in range(3000):
        seed = rng(3)
        name = "n%d.test" % (seed[0] + i % 40)
        data = bytes(seed[1] * 4)
        n = 1 + (seed[2] & 7)
        records = [message.Record(name, 16, 1, 300, data, data) for _ in range(n)]
        if seed[2] & 64:
            records = []
        c.put(name, 16, 0, records, 1 + (i & 63), i * S)
        if seed[2] & 16:
            c.get("n%d.test" % seed[0], 16, i * S)
        assert c.bytes <= BYTES_MAX and len(c) <= 272
    assert c.bytes == sum([_size(k[0], a.records) for k, a in c._map.items()])
    assert len(c) > 10
    c.clear()
    assert c.bytes == 0
    # What alone would fill it is not kept.
    big = [message.Record("a.test", 16, 1, 300, b"", bytes(4000)) for _ in range(40)]
    c.put("a.test", 16, 0, big, 300, 0)
    assert len(c) == 0 and c.bytes == 0
