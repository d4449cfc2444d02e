"""Which endpoint a segment belongs to, the choice of ports (RFC 6056), ISNs (RFC 6528)."""

from stack.core.errors import EADDRINUSE, EADDRNOTAVAIL
from stack.transport.demux import (
    EPHEMERAL_COUNT,
    EPHEMERAL_FIRST,
    FlowTable,
    highest,
    key,
    lowest,
)
from stack.transport.tcp.isn import IsnSource
from tests.unit.transport.tcp.harness import (
    OUR,
    OUR2,
    PEER,
    PEER2,
    SEC,
    L,
    R,
    Script,
    drain,
    expect,
    listening,
    seg,
    send,
)


class _Flow:
    def __init__(self, local_addr, local_port, remote_addr, remote_port):
        self.local_addr = local_addr
        self.local_port = local_port
        self.remote_addr = remote_addr
        self.remote_port = remote_port
        self.key = 0
        self.flow_next = None


class _Listener:
    def __init__(self, addr, port):
        self.local_addr = addr
        self.low = lowest(addr)
        self.high = highest(addr)
        self.local_port = port


class _Rng:
    """Random numbers one knows."""

    def __init__(self, *values):
        self.values = list(values)
        self.asked = 0

    def __call__(self, n):
        self.asked += 1
        v = self.values.pop(0) if self.values else 0
        return bytes([v >> 8 & 0xFF, v & 0xFF] + [0] * (n - 2))


def _errno(f, *args):
    try:
        f(*args)
    except OSError as e:
        return e.args[0]
    return 0


def _table(*values, start=0):
    """A table whose counters begin at 0, whose hash is `start` and whose rng gives `values`."""
    return FlowTable(_Rng(0, *values), lambda text: start)


# -- flows

TUPLES = (
    (OUR, 80, PEER, 40000), (OUR2, 80, PEER, 40000), (OUR, 81, PEER, 40000),
    (OUR, 80, PEER2, 40000), (OUR, 80, PEER, 40001), (OUR, 40000, PEER, 80),
    (0xFFFFFFFF, 65535, 0xFFFFFFFF, 65535), (0, 0, 0, 0), (PEER, 80, OUR, 40000),
)


def test_tuples_that_differ_in_one_field():
    t = _table()
    flows = [_Flow(*x) for x in TUPLES]
    for f in flows:
        t.add(f)
    assert t.count == len(TUPLES)
    for x, f in zip(TUPLES, flows):
        assert t.find(*x) is f
    for i in range(len(TUPLES)):
        t.remove(flows[i])
        assert t.find(*TUPLES[i]) is None
        for j in range(i + 1, len(TUPLES)):
            assert t.find(*TUPLES[j]) is flows[j], (i, j)
    assert t.count == 0 and t.endpoints() == []


def test_keys_differ():
    """One small int for address and port, none of which runs into the other."""
    keys = [key(a, p) for a in (0, 1, PEER, 0xFFFFFFFF) for p in (0, 1, 80, 65535)]
    assert len(set(keys)) == 16 and max(keys) < 1 << 62


def test_chains():
    """Several of our addresses, one remote: the same key. Every order of removal."""
    for order in ((0, 1, 2), (0, 2, 1), (1, 0, 2), (1, 2, 0), (2, 0, 1), (2, 1, 0)):
        t = _table()
        flows = [_Flow(OUR + i, 80, PEER, 4000) for i in range(3)]
        for f in flows:
            t.add(f)
        left = [0, 1, 2]
        for i in order:
            t.remove(flows[i])
            t.remove(flows[i])  # a second time does nothing
            left.remove(i)
            for j in range(3):
                assert (t.find(OUR + j, 80, PEER, 4000) is flows[j]) == (j in left)
            assert t.count == len(left)
        assert not t.used(80)


def test_replace():
    t = _table()
    a, b = _Flow(OUR, 80, PEER, 4000), _Flow(OUR, 80, PEER, 4000)
    other = _Flow(OUR2, 80, PEER, 4000)
    t.add(a)
    t.add(other)
    t.replace(a, b)
    assert t.find(OUR, 80, PEER, 4000) is b and t.find(OUR2, 80, PEER, 4000) is other
    assert t.count == 2


def test_removing_what_was_never_there():
    t = _table()
    t.add(_Flow(OUR, 80, PEER, 4000))
    for f in (_Flow(OUR, 81, PEER, 4000), _Flow(OUR, 80, PEER, 4000), _Flow(OUR, 80, PEER2, 1)):
        f.key = key(f.remote_addr, f.remote_port)
        t.remove(f)
    assert t.count == 1


def test_empty_ports_are_forgotten():
    t = _table()
    f = _Flow(OUR, 80, PEER, 4000)
    l = _Listener(0, 80)
    t.add_listener(l, False)
    t.add(f)
    t.remove(f)
    assert t.used(80)
    t.remove_listener(l)
    t.remove_listener(l)
    assert not t.used(80)


# -- listeners


def test_specific_before_wildcard():
    """RFC 9293 3.10.7.2 leaves it open; what programs expect is the more specific one."""
    t = _table()
    a = _Listener(OUR, 80)
    t.add_listener(a, False)
    t.add_listener(_Listener(OUR2, 80), False)
    assert t.listener(OUR, 80) is a
    assert t.listener(OUR2, 80) is not a
    assert t.listener(PEER, 80) is None and t.listener(OUR, 81) is None
    w = _Listener(0, 81)
    t.add_listener(w, False)
    assert t.listener(OUR, 81) is w and t.listener(PEER, 81) is w


def test_specific_wins_in_either_order():
    """Should both ever be there, the order in which they came does not matter."""
    for swap in (False, True):
        t = _table()
        pair = [_Listener(0, 80), _Listener(OUR, 80)]
        if swap:
            pair.reverse()
        t._port(80).listeners.extend(pair)
        assert t.listener(OUR, 80).local_addr == OUR
        assert t.listener(OUR2, 80).local_addr == 0


CLASHES = (
    ("the same address", OUR, OUR, EADDRINUSE), ("any and one", 0, OUR, EADDRINUSE),
    ("one and any", OUR, 0, EADDRINUSE), ("any twice", 0, 0, EADDRINUSE),
    ("two addresses", OUR, OUR2, 0),
)


def test_listeners_that_clash():
    for reuse in (False, True):
        for why, first, second, want in CLASHES:
            t = _table()
            t.add_listener(_Listener(first, 80), False)
            assert _errno(t.add_listener, _Listener(second, 80), reuse) == want, why
            assert _errno(t.add_listener, _Listener(second, 81), reuse) == 0, why


def test_listener_after_connections():
    for reuse, want in ((False, EADDRINUSE), (True, 0)):
        t = _table()
        t.add(_Flow(OUR, 80, PEER, 4000))
        assert _errno(t.add_listener, _Listener(0, 80), reuse) == want


def test_flow_before_listener():
    """A segment of a connection never reaches the listener of its port."""
    s = listening()
    send(s, seg("S", seq=R))
    drain(s)
    send(s, seg("A", ack=L + 1))
    c = s.listener.accept()
    send(s, seg("A", ack=L + 1, data=b"to the connection"))
    assert c.recv_len() == 17
    send(s, seg("A", ack=L + 1, data=b"to nobody", peer_port=40001))
    expect(s, seg("R", seq=L + 1, peer_port=40001))
    assert c.recv_len() == 17


def test_same_ports_from_two_peers():
    s = listening()
    for src in (PEER, PEER2):
        send(s, seg("S", seq=R), src=src)
        drain(s)
        send(s, seg("A", ack=L + 1), src=src)
    a, b = s.listener.accept(), s.listener.accept()
    send(s, seg("A", ack=L + 1, data=b"from the first"), src=PEER)
    send(s, seg("A", ack=L + 1, data=b"second"), src=PEER2)
    assert (a.recv_len(), b.recv_len()) == (14, 6)


def test_one_peer_to_two_of_our_addresses():
    s = listening()
    for dst in (OUR, OUR2):
        send(s, seg("S", seq=R), dst=dst)
        drain(s)
        send(s, seg("A", ack=L + 1), dst=dst)
    a, b = s.listener.accept(), s.listener.accept()
    assert (a.local_addr, b.local_addr) == (OUR, OUR2)
    send(s, seg("A", ack=L + 1, data=b"to the second"), dst=OUR2)
    assert (a.recv_len(), b.recv_len()) == (0, 13)


# -- ports


def test_ports_are_of_the_dynamic_range():
    """RFC 6335: 49152 to 65535; every start is good."""
    assert EPHEMERAL_FIRST == 49152 and EPHEMERAL_FIRST + EPHEMERAL_COUNT == 65536
    for r, want in (
        (0, 49152), (1, 49153), (16383, 65535), (16384, 49152), (65535, 65535), (0x1234, 53812),
    ):
        assert _table(start=r).ephemeral(OUR, PEER, 80) == want
        assert _table(start=r | 0xFFFF0000).ephemeral(OUR, PEER, 80) == want
        assert _table(r).ephemeral(0, 0, 0) == want


def test_ports_of_one_remote_follow_each_other():
    """RFC 6056 3.3.4: so that a port comes again as late as can be, in TIME-WAIT or not."""
    s = Script()
    first = s.tcp.connect(PEER, 80, s.now).local_port
    for i in range(1, 100):
        port = s.tcp.connect(PEER, 80, s.now).local_port
        assert port - 49152 == (first - 49152 + i) % EPHEMERAL_COUNT
    # They are given back, and not taken again for a while.
    for c in list(s.tcp.connections()):
        c.abort(s.now)
    drain(s)
    assert (s.tcp.connect(PEER, 80, s.now).local_port - first) % EPHEMERAL_COUNT == 100


def test_ports_of_different_remotes_are_random():
    """RFC 6056: of one, nothing is told about another; all of the range is used."""
    s = Script()
    ports = [s.tcp.connect(PEER, 80 + i, s.now).local_port for i in range(200)]
    assert min(ports) >= 49152 and len(set(ports)) > 190
    steps = [b - a for a, b in zip(ports, ports[1:])]
    assert len([x for x in steps if 0 < x < 16]) < 10
    assert min(ports) < 49152 + 2000 and max(ports) > 65535 - 2000
    # And another boot, with another secret, begins elsewhere.
    t = Script()
    t.random = 77
    t.tcp.flows._hash = IsnSource(t.rng).hash
    assert t.tcp.connect(PEER, 80, t.now).local_port != ports[0]


def test_counters_are_shared_by_hash():
    """The table of counters is small: remotes of one place in it go on together."""
    t = FlowTable(_Rng(), lambda text: 5 if " 80" in text else 0x10005 if " 81" in text else 9)
    got = [t.ephemeral(OUR, PEER, p) for p in (80, 80, 81, 82, 81, 80)]
    assert got == [49157, 49158, 49157, 49163, 49158, 49160]


def test_port_in_use_is_passed_over():
    """Upwards from the start, and round at the end (RFC 6056, 3.3.4)."""
    t = _table(start=7)
    t.add(_Flow(OUR, 49159, PEER, 80))
    assert t.ephemeral(OUR, PEER, 80) == 49160
    t.add(_Flow(OUR, 49161, PEER, 80))
    assert t.ephemeral(OUR, PEER, 80) == 49162
    t = _table(start=16383)
    t.add(_Flow(OUR, 65535, PEER, 80))
    assert t.ephemeral(OUR, PEER, 80) == 49152


IN_USE = (
    ("the very four-tuple", (OUR, 49152, PEER, 80), 49153),
    ("another remote port", (OUR, 49152, PEER, 81), 49152),
    ("another remote address", (OUR, 49152, PEER2, 80), 49152),
    ("another local address", (OUR2, 49152, PEER, 80), 49152),
)


def test_port_may_serve_several_remotes():
    for why, flow, want in IN_USE:
        t = _table()
        t.add(_Flow(*flow))
        assert t.ephemeral(OUR, PEER, 80) == want, why
        # A listener wants one that nobody uses at all.
        assert _table_with(flow).ephemeral(0, 0, 0) == 49153, why


def _table_with(flow):
    t = _table()
    t.add(_Flow(*flow))
    return t


def test_port_of_a_listener_is_never_chosen():
    t = _table()
    t.add_listener(_Listener(OUR2, 49152), False)
    assert t.ephemeral(OUR, PEER, 80) == 49153
    assert t.ephemeral(OUR, PEER, 80) == 49154
    l = _Listener(0, 0)
    t.add_listener(l, False)
    assert l.local_port == 49153


def test_ports_run_out():
    """16,384 connections to one place are all there can be: EADDRNOTAVAIL, not a hang."""
    t = _table(5, start=5)
    f = _Flow(OUR, 0, PEER, 80)
    t.add(f)
    p = t._ports.pop(0)
    for port in range(EPHEMERAL_FIRST, 65536):
        t._ports[port] = p  # the same flow on every port
    assert _errno(t.ephemeral, OUR, PEER, 80) == EADDRNOTAVAIL
    assert _errno(t.ephemeral, 0, 0, 0) == EADDRNOTAVAIL
    assert t.ephemeral(OUR, PEER, 81) == 49157
    del t._ports[60000]
    assert t.ephemeral(OUR, PEER, 80) == 60000


def test_connect_when_ports_ran_out():
    s = Script()
    s.tcp.flows.ephemeral = lambda *_: _raise(EADDRNOTAVAIL)
    assert _errno(s.tcp.connect, PEER, 80, s.now) == EADDRNOTAVAIL
    assert not s.tcp.live and not s.tcp.flows.count
    drain(s)


def _raise(errno):
    raise OSError(errno)


# -- initial sequence numbers


def _isn(fill=b"\x07"):
    return IsnSource(lambda n: fill * n)


def test_isn_moves_with_time():
    """RFC 9293 3.4.1: a clock "that is incremented roughly every 4 microseconds"."""
    isn = _isn()
    base = isn(OUR, 80, PEER, 4000, 0)
    for us, want in ((3, 0), (4, 1), (4000, 1000), (SEC, 250000), (3600 * SEC, 900000000)):
        assert isn(OUR, 80, PEER, 4000, us) - base & 0xFFFFFFFF == want


def test_isn_wraps():
    isn = _isn()
    assert isn(OUR, 80, PEER, 4000, 5) == isn(OUR, 80, PEER, 4000, 5 + (4 << 32))
    for i in range(64):
        assert 0 <= isn(OUR, 80, PEER, 4000, i << 29) < 1 << 32


def test_isn_differs_by_tuple():
    """What one peer sees of its own connections tells it nothing of another's."""
    isn = _isn()
    values = [isn(*(x + (0,))) for x in TUPLES]
    assert len(set(values)) == len(TUPLES)
    near = [
        (a, b) for a in values for b in values if a != b and a - b & 0xFFFFFFFF < 1 << 16
    ]
    assert not near, near


def test_isn_differs_by_secret():
    values = [_isn(bytes([i]))(OUR, 80, PEER, 4000, 0) for i in range(16)]
    assert len(set(values)) == 16


def test_isn_secret_is_random():
    """At least 128 bits are drawn, once."""
    asked = []

    def rng(n):
        asked.append(n)
        return bytes(n)

    isn = IsnSource(rng)
    isn(OUR, 80, PEER, 4000, 0)
    isn(OUR, 80, PEER, 4000, 9)
    assert len(asked) == 1 and asked[0] >= 16


def test_isn_is_used_on_both_sides():
    """connect and listen ask with the connection's own four-tuple and time."""
    s = listening()
    asked = []

    def isn(*args):
        asked.append(args)
        return 77

    s.tcp.isn = isn
    send(s, seg("S", seq=R), src=PEER2, dst=OUR2)
    expect(s, seg("SA", seq=77, ack=R + 1))
    s.tcp.connect(PEER, 22, s.now, 0, 2200)
    expect(s, seg("S", seq=77))
    assert asked == [(OUR2, 80, PEER2, 40000, s.now), (OUR, 2200, PEER, 22, s.now)]
