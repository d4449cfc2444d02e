"""select and poll: level triggered, woken only by what happened, other streams too."""

from stack.api import select as m
from stack.api.select import POLLERR, POLLHUP, POLLIN, POLLOUT
from stack.api.socket import socket
from tests.unit.api.test_socket import pair
from tests.unit.api.world import World


def test_level_triggered():
    with World() as w:
        a, b = pair()
        p = m.poll()
        p.register(b, POLLIN)
        assert p.poll(0) == []
        t = w.hw.t
        assert p.poll(50) == [] and 50000 <= w.hw.t - t < 60000
        a.write(b"xy")
        for _ in range(3):
            assert p.poll(0) == [(b, POLLIN)]
        b.recv(1)
        assert p.poll(0) == [(b, POLLIN)]
        b.recv(1)
        assert p.poll(0) == []
        p.modify(b, POLLIN | POLLOUT)
        assert p.poll(0) == [(b, POLLOUT)]
        p.register(b)  # again: another mask
        assert p.poll(0) == [(b, POLLOUT)]
        p.modify(b, 0)
        assert p.poll(0) == []
        a.close()
        p.modify(b, POLLIN)
        assert p.poll(100)[0][1] & POLLIN


def test_only_the_woken_are_asked():
    with World() as w:
        listener = socket()
        listener.bind(("127.0.0.1", 0))
        listener.listen()
        p = m.poll()
        ends = []
        for _ in range(30):
            c = socket()
            c.connect(listener.getsockname())
            s, _ = listener.accept()
            p.register(s, POLLIN)
            ends.append((c, s))
        assert p.poll(0) == []
        asked = []

        class Spy:
            def __init__(self, source):
                self.source = source

            def events(self):
                asked.append(1)
                return self.source.events()

        for _, s in ends:
            s._poll_entry.source = Spy(s._ep)
        assert p.poll(0) == [] and not asked
        ends[7][0].write(b"x")
        assert p.poll(10) == [(ends[7][1], POLLIN)] and len(asked) == 1
        w.settle()


def test_a_wake_while_it_is_looked_at():
    """Asking TLS for its events runs the stack, which may wake the very one that is asked."""
    with World():
        _a, b = pair()
        p = m.poll()
        p.register(b, POLLIN)
        assert p.poll(0) == []
        e = b._poll_entry

        class Late:
            def __init__(self, *bits):
                self.bits = list(bits)

            def events(self):
                e.wake(None)
                return self.bits.pop(0)

        e.source = Late(0, POLLIN, POLLIN, 0)
        e.wake(None)
        assert p.poll(0) == []  # not ready, but woken meanwhile: looked at again
        assert p.poll(0) == [(b, POLLIN)]
        assert p.poll(0) == [(b, POLLIN)]  # ready and woken: on the list once
        assert p.poll(0) == []
        e.source = b._ep
        assert p.poll(0) == []


def test_one_shot():
    with World():
        a, b = pair()
        p = m.poll()
        p.register(b, POLLIN)
        a.write(b"x")
        assert list(p.ipoll(0, 1)) == [(b, POLLIN)]
        assert list(p.ipoll(0, 1)) == []
        p.modify(b, POLLIN)
        assert list(p.ipoll(0)) == [(b, POLLIN)]


def test_unregister():
    with World() as w:
        a, b = pair()
        p = m.poll()
        p.register(b, POLLIN)
        a.write(b"x")
        p.unregister(b)
        p.unregister(b)
        assert p.poll(0) == []
        # Who waited is woken no more, and what stays of it holds no socket.
        assert b._ep.waker.obj is None
        a.write(b"y")
        w.settle()
        assert p._woken is None
        p.register(b, POLLIN)
        assert p.poll(0) == [(b, POLLIN)]
        try:
            p.modify(a, POLLIN)
            raise AssertionError
        except OSError as e:
            assert e.args[0] == 2
        try:
            p.register(5)
            raise AssertionError
        except TypeError:
            pass


def test_two_polls_of_one_socket():
    with World():
        a, b = pair()
        p, q = m.poll(), m.poll()
        p.register(b, POLLIN)
        q.register(b, POLLIN)
        assert p.poll(0) == q.poll(0) == []
        a.write(b"x")
        assert p.poll(0) == q.poll(0) == [(b, POLLIN)]
        p.unregister(b)
        b.recv(1)
        assert q.poll(0) == []
        a.write(b"x")
        assert q.poll(1000) == [(b, POLLIN)]


def test_registered_before_connecting():
    with World():
        listener = socket()
        listener.bind(("127.0.0.1", 0))
        p = m.poll()
        c = socket()
        p.register(c, POLLOUT)
        assert p.poll(0)[0][1] & POLLHUP
        listener.listen()
        p.register(listener, POLLIN)
        c.connect(listener.getsockname())
        assert sorted([e for _, e in p.poll(0)]) == [POLLIN, POLLOUT]
        s = socket()
        p.register(s, POLLOUT)
        try:
            s.connect(("127.0.0.1", 9))
        except OSError:
            pass
        found = {id(o): e for o, e in p.poll(0)}
        assert found[id(s)] & POLLERR


def test_closed_while_registered():
    with World():
        a, b = pair()
        p = m.poll()
        p.register(b, POLLIN)
        assert p.poll(0) == []
        b.close()
        assert p.poll(0)[0][1] == 32  # POLLNVAL, as on boards
        p.unregister(b)


def test_what_is_told_is_unregistered_in_order():
    """As asyncio does: nothing is left to look at."""
    with World() as w:
        ends = [pair() for _ in range(5)]
        p = m.poll()
        for _ in range(2):
            for a, b in ends:
                p.register(b, POLLIN)
                a.write(b"x")
            w.settle(500_000)  # a small segment waits for an acknowledgement
            told = p.poll(0)
            assert sorted([id(s) for s, _ in told]) == sorted([id(b) for _, b in ends])
            for s, _ in told:
                p.unregister(s)
            assert p._woken is None and list(p.ipoll(0)) == []
            for _, b in ends:
                b.recv(1)


class Stream:
    """A stream of somebody else's: MicroPython asks it by ioctl."""

    def __init__(self):
        self.ready = 0
        self.asked = 0

    def ioctl(self, request, mask):
        assert request == 3
        self.asked += 1
        return self.ready & mask


def test_other_streams():
    with World() as w:
        w.hw.poll = lambda obj, mask: obj.ioctl(3, mask)
        s = Stream()
        a, b = pair()
        p = m.poll()
        p.register(s, POLLIN)
        p.register(b, POLLIN)
        assert p.poll(200) == [] and s.asked > 1
        s.ready = POLLIN | POLLOUT
        assert p.poll(0) == [(s, POLLIN)]
        a.write(b"x")
        assert len(p.poll(0)) == 2
        p.modify(s, POLLOUT)
        assert len(p.poll(0, 1)) == 2 and p.poll(0) == []
        p.unregister(s)


def test_select():
    with World() as w:
        a, b = pair()
        assert m.select([b], [], [], 0) == ([], [], [])
        assert m.select([b], [a], [], 0) == ([], [a], [])
        a.write(b"x")
        assert m.select([b, a], [b], [b]) == ([b], [b], [])
        t = w.hw.t
        b.recv(1)
        assert m.select([a, b], (), (), 0.25) == ([], [], [])
        assert w.hw.t - t >= 250000
        assert a._ep.waker.obj is None
        # A poll that nobody has any more does not pile up at the socket.
        assert a._waker is a._poll_entry


def test_a_closed_socket_is_not_valid():
    with World():
        a, b = pair()
        p = m.poll()
        unconnected = socket()
        for s in (a, unconnected):
            p.register(s, m.POLLIN)
        p.poll(0)
        a.close()
        unconnected.close()
        assert sorted([ev for _, ev in p.poll(0)]) == [32, 32]  # POLLNVAL, as on boards
        b.close()
