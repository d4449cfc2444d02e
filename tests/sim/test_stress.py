"""Two hosts doing everything at once over bad wires, by seed; invariants at every step.

`network.invariants` looks at each connection after each event. What arrives must
be a beginning of what was sent, all of it when both sides closed in order, and
nothing may be left when all is over.
"""

from stack.core.errors import ECONNRESET, ETIMEDOUT
from stack.transport.tcp.states import CLOSED, CLOSING, ESTABLISHED, SYN_RECEIVED, TIME_WAIT
from tests.sim.network import MS, OFFLOAD, SEC, Random, Receiver, Sender, Sim, connect

BAD = {"loss": 0.1, "dup": 0.05, "reorder": 0.1, "corrupt": 0.02, "jitter": 500}
_NOISE = Random(77).bytes(1 << 16)


def _each(programs):
    def each():
        for p in programs:
            p.go()

    return each


def _states(sim):
    """Every state that a connection went through, by side and ISS."""
    seen = {}

    def watch(side):
        def trace(c, old, new, why):
            seen.setdefault((side.name, c.iss), []).append(new)

        side.tcp.trace = trace

    for side in sim.sides:
        watch(side)
    return seen


# -- both at once


def test_simultaneous_open():
    """Both connect to each other with the same ports; whatever is lost, one connection comes."""
    crossed = 0
    for seed in range(40):
        sim = Sim(seed, **(BAD if seed & 1 else {}))
        seen = _states(sim)
        a = sim.a.tcp.connect(sim.b.addr, 2000, sim.now, 0, 1000)
        b = sim.b.tcp.connect(sim.a.addr, 1000, sim.now, 0, 2000)
        sim.flush()
        sim.run(lambda a=a, b=b: a.state >= ESTABLISHED <= b.state, 180 * SEC)
        up, down = _NOISE[:20000], _NOISE[20000:35000]
        programs = [Sender(sim, a, up), Sender(sim, b, down), Receiver(sim, b), Receiver(sim, a)]
        sim.run(lambda: programs[2].done and programs[3].done, 900 * SEC, _each(programs))
        assert not a.error and not b.error, seed
        assert programs[2].data == up and programs[3].data == down, seed
        if SYN_RECEIVED in seen[("a", a.iss)]:
            crossed += 1
        a.close(sim.now)
        b.close(sim.now)
        sim.assert_clean()
    assert crossed > 20


def test_simultaneous_close():
    """Both FINs cross: CLOSING on the way; lost, doubled and reordered FINs and ACKs."""
    closing = 0
    for seed in range(40):
        sim = Sim(seed, **(BAD if seed & 1 else {}))
        seen = _states(sim)
        c, s, l = connect(sim)
        l.close(sim.now)
        for x in (c, s):
            x.send(_NOISE, 0, 3000 if seed & 2 else 0, sim.now)
            x.shutdown(sim.now)
        sim.flush()
        programs = [Receiver(sim, c), Receiver(sim, s)]
        sim.run(lambda: c.eof() and s.eof(), 900 * SEC, _each(programs))
        assert programs[0].data == programs[1].data == _NOISE[: 3000 if seed & 2 else 0]
        sim.run(lambda: c.state in (TIME_WAIT, CLOSED) and s.state in (TIME_WAIT, CLOSED))
        if any(CLOSING in states for states in seen.values()):
            closing += 1
        c.close(sim.now)
        s.close(sim.now)
        sim.assert_clean()
        assert not c.error and not s.error, seed
    assert closing > 15


def test_each_closes_when_it_likes():
    """Close (not shutdown) at a random time by either or both: clean, or a RST for lost data."""
    for seed in range(40):
        sim = Sim(seed, **BAD)
        r = Random(seed)
        c, s, l = connect(sim)
        l.close(sim.now)
        programs = [Sender(sim, c, _NOISE[:40000], False), Receiver(sim, s)]
        when = sim.now + r.below(400 * MS)
        sim.at(when, lambda *_: None, None)
        sim.run(lambda: sim.now >= when, each=_each(programs))
        first, second = (c, s) if seed & 1 else (s, c)
        first.close(sim.now)
        sim.flush()
        sim.run_for(r.below(2 * SEC))
        second.close(sim.now)
        sim.flush()
        sim.assert_clean()
        got = programs[1].data
        assert got == _NOISE[: len(got)], seed


def test_wire_cut_for_a_while():
    """20 s of silence in the middle: it goes on as if nothing had been."""
    for seed in range(4):
        sim = Sim(seed, rate=500)
        c, s, l = connect(sim)
        l.close(sim.now)
        programs = [Sender(sim, c, _NOISE), Receiver(sim, s)]
        each = _each(programs)
        sim.run(lambda: len(programs[1].data) > 10000, each=each)
        sim.wire.down = True
        end = sim.now + 20 * SEC
        sim.at(end, lambda *_: None, None)
        sim.run(lambda: sim.now >= end, each=each)
        sim.wire.down = False
        sim.run(lambda: programs[1].done, each=each)
        assert programs[1].data == _NOISE
        c.close(sim.now)
        s.close(sim.now)
        sim.assert_clean()


def test_wire_cut_for_good():
    """Both sides give up, and everything is given back."""
    sim = Sim(5)
    c, s, l = connect(sim)
    l.close(sim.now)
    for x in (c, s):
        x.send(_NOISE, 0, 30000, sim.now)
    sim.wire.down = True
    sim.flush()
    sim.run_for(1000 * SEC)
    assert c.state == s.state == CLOSED and c.error == s.error == ETIMEDOUT
    c.close(sim.now)
    s.close(sim.now)
    sim.assert_clean()


def test_peer_that_forgot():
    """One side's memory is lost: the other's next segment is answered by a RST."""
    sim = Sim(6)
    c, s, l = connect(sim)
    l.close(sim.now)
    sim.wire.down = True
    s.abort(sim.now)
    sim.flush()
    sim.run_for(SEC)
    sim.wire.down = False
    c.send(_NOISE, 0, 100, sim.now)
    sim.flush()
    sim.run_for(2 * SEC)
    assert c.error == ECONNRESET
    c.close(sim.now)
    sim.assert_clean()


# -- many


class Peer:
    """A connection and what was written to and read from it."""

    def __init__(self, conn, ends, key, now):
        self.conn = conn
        old = ends.get(key)
        if old is not None:
            old.conn.close(now)  # the port came round again
        ends[key] = self
        self.sent = 0
        self.pieces = []
        self.got = bytearray()
        self.shut = self.aborted = self.closed = False


def _stress(seed, steps, side, wire):
    """Random calls of two programs with several connections, random pauses."""
    sim = Sim(seed, dict(side), dict(side), **wire)
    r = Random(seed + 1000)
    listener = sim.b.tcp.listen(0, 80, 4, sim.now)
    ends = {}  # port of a -> Peer, of both sides
    buf = bytearray(20000)
    opened = 0
    for _ in range(steps):
        what = r.below(12)
        live = [e for e in ends.values() if not e.closed]
        if what == 0 and opened < 40 and len(live) < 12:
            c = sim.a.tcp.connect(sim.b.addr, 80, sim.now)
            Peer(c, ends, ("a", c.local_port), sim.now)
            opened += 1
        elif what == 1:
            c = listener.accept()
            if c is not None:
                Peer(c, ends, ("b", c.remote_port), sim.now)
        elif live:
            e = live[r.below(len(live))]
            c = e.conn
            if what < 6 and not e.shut:
                n = 1 + r.below(9000 if what < 5 else 40)
                at = e.sent % 30000
                try:
                    n = c.send(memoryview(_NOISE), at, n, sim.now)
                    e.sent += n
                    e.pieces.append(n)
                except OSError:
                    assert c.error or c.state >= TIME_WAIT or c.state == CLOSED, seed
            elif what < 10:
                n = c.recv_into(buf, 0, 1 + r.below(20000), sim.now)
                e.got += memoryview(buf)[:n]
            elif what == 10 and r.below(4) == 0:
                c.shutdown(sim.now)
                e.shut = True
            elif what == 11 and r.below(12) == 0:
                e.closed = True
                if r.below(3):
                    c.close(sim.now)
                else:
                    e.aborted = True
                    c.abort(sim.now)
            elif what == 11 and r.below(6) == 0:
                c.nodelay = not c.nodelay
            elif what == 11 and r.below(6) == 0:
                c.keepidle_us = (1 + r.below(10)) * SEC
                c.set_keepalive(True)
        sim.flush()
        for _ in range(r.below(4)):
            sim.step()
        if r.below(200) == 0:
            sim.wire.down = True
            sim.run_for(r.below(5 * SEC))
            sim.wire.down = False
        elif r.below(30) == 0:
            sim.run_for(r.below(SEC))
    # The end: everybody reads what is there and closes.
    listener.close(sim.now)
    open_ones = 1
    for _ in range(60):
        if not open_ones:
            break
        open_ones = 0
        for e in ends.values():
            if e.closed:
                continue
            if not e.conn.eof() and e.conn.state != CLOSED:
                open_ones += 1
            e.conn.shutdown(sim.now)
            while True:
                n = e.conn.recv_into(buf, 0, len(buf), sim.now)
                if not n:
                    break
                e.got += memoryview(buf)[:n]
        sim.flush()
        sim.run_for(60 * SEC)
    whole = 0
    for (name, port), e in ends.items():
        other = ends.get(("b" if name == "a" else "a", port))
        if other is not None:
            # A stream of pieces that each begin at the number of octets before, mod 30,000.
            _compare(e, other, (seed, name, port))
            if not (e.aborted or other.aborted or e.closed or other.closed):
                if not e.conn.error and not other.conn.error:
                    assert len(e.got) == other.sent, (seed, name, port, len(e.got), other.sent)
                    whole += 1
        e.conn.close(sim.now)
    sim.flush()
    sim.assert_clean()
    return opened, whole


def _compare(e, other, where):
    """What e got is a beginning of what `other` sent."""
    assert len(e.got) <= other.sent, where
    expect = bytearray()
    for n in other.pieces:
        at = len(expect) % 30000
        expect += _NOISE[at : at + n]
    assert e.got == expect[: len(e.got)], where


def test_stress():
    whole = 0
    for seed in range(24):
        side = {"caps": OFFLOAD if seed & 1 else 0}
        if seed % 3 == 0:
            side["ring"] = 3
        if seed % 5 == 0:
            side["rcv_max"] = side["snd_max"] = 8192
        if seed % 7 == 0:
            side["frames"] = 4
        wire = ({}, BAD, {"rate": 300, "buffer": 8000}, {"delay": 40 * MS, "jitter": 30 * MS})
        whole += _stress(seed, 700, side, wire[seed % 4])[1]
    assert whole > 50, whole
