"""net/mld: reports on change, answers to queries, the older version (RFC 3810, 2710)."""

from stack.core import be
from stack.net import addr6
from tests.unit.net.support import feed, run
from tests.unit.net.support6 import PEER, ROUTER, check, packet, single6, summed

GROUP = addr6.parse("ff12::1234")[0]
LL = addr6.parse("fe80::1")[0]


def query(group=bytes(16), ms=1000, v1=False, src=LL, hops=1, alert=True, dst=addr6.ALL_NODES):
    body = bytearray(24 if v1 else 28)
    body[0] = 130
    be.put16(body, 4, ms)
    body[8:24] = group
    body = summed(58, body, 2, src, dst)
    if alert:
        return packet(0, b"\x3a\0\5\2\0\0\1\0" + body, src, dst, hops, sender=PEER)
    return packet(58, body, src, dst, hops, sender=PEER)


def records(frames):
    """[(type, group)] of the reports among frames; checks how they are sent."""
    out = []
    for f in frames:
        if f[20] == 0 and f[62] in (131, 132, 143):
            check(f)
            # Hop limit 1, router alert, from a link-local address.
            assert f[21] == 1 and f[54:62] == b"\x3a\0\5\2\0\0\1\0" and f[22:24] == b"\xfe\x80"
            if f[62] == 143:
                assert f[38:54] == addr6.MLD_ROUTERS
                for i in range(be.get16(f, 68)):
                    o = 70 + 20 * i
                    out.append((f[o], bytes(f[o + 4 : o + 20])))
            else:
                out.append((f[62], bytes(f[70:86])))
    return out


def joined():
    h, i, d = single6()
    h.ip6.join(i, GROUP, h.clock.now)
    return h, i, d


def test_a_change_is_said_twice():
    h, i, d = joined()
    run(h.clock, 5_000_000, h)
    assert records(d.take()) == [(4, GROUP)] * 2
    h.ip6.join(i, GROUP, h.clock.now)
    h.ip6.leave(i, GROUP, h.clock.now)
    run(h.clock, 5_000_000, h)
    assert records(d.take()) == []
    h.ip6.leave(i, GROUP, h.clock.now)
    run(h.clock, 5_000_000, h)
    assert records(d.take()) == [(3, GROUP)] * 2


def test_a_general_query_is_answered_with_all():
    h, i, d = joined()
    run(h.clock, 5_000_000, h)
    feed(h, d, query(ms=10_000))
    run(h.clock, 10_100_000, h)
    got = records(d.take())
    assert (2, GROUP) in got and all([k == 2 for k, _ in got])
    # The solicited-node groups too, all-nodes never.
    assert len(got) == 3 and addr6.ALL_NODES not in [g for _, g in got]


def test_a_query_for_a_group():
    h, i, d = joined()
    run(h.clock, 5_000_000, h)
    d.take()
    feed(h, d, query(GROUP, dst=GROUP))
    run(h.clock, 1_100_000, h)
    assert records(d.take()) == [(2, GROUP)]
    feed(h, d, query(addr6.parse("ff12::99")[0]))
    run(h.clock, 1_100_000, h)
    assert records(d.take()) == []


def test_an_older_querier():
    h, i, d = joined()
    run(h.clock, 5_000_000, h)
    d.take()
    feed(h, d, query(v1=True))
    run(h.clock, 1_100_000, h)
    assert (131, GROUP) in records(d.take())
    h.ip6.leave(i, GROUP, h.clock.now)
    assert (132, GROUP) in records(d.take())


def test_queries_that_do_not_count():
    for why, data in (
        ("from afar", query(hops=2)),
        ("no router alert", query(alert=False)),
        ("not link-local", query(src=addr6.parse("2001:db8::1")[0])),
    ):
        h, i, d = joined()
        run(h.clock, 5_000_000, h)
        d.take()
        feed(h, d, data)
        run(h.clock, 2_000_000, h)
        assert records(d.take()) == [], why
        assert h.stats.drops == {"mld.query": 1}, why
    assert ROUTER[0] == 0xFE


def test_a_group_receives():
    h, i, d = single6()
    ep = h.udp.open(addr6.ANY, 5000, h.clock.now)
    from tests.unit.net.support6 import datagram

    data = packet(17, datagram(b"hello", dst=GROUP), dst=GROUP)
    feed(h, d, data)
    assert ep.recv_len() == -1
    h.ip6.join(i, GROUP, h.clock.now)
    feed(h, d, data)
    assert ep.recv_len() == 5
    h.ip6.leave(i, GROUP, h.clock.now)
    feed(h, d, data)
    assert h.stats.dropped("ethernet.not_ours") == 2
