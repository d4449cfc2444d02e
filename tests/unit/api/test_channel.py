"""Connections to name servers: shared, closed when idle, and never more than CHANNELS_MAX."""

from stack.api import _channel as m
from stack.core import errors
from tests.unit.api.world import LO, World

QUERY = b"\x00\x00\x01\x00\x00\x01\x00\x00\x00\x00\x00\x00\x01a\x00\x00\x01\x00\x01"


class Server:
    """Takes connections; answers each query with itself as a response, unless `silent`."""

    def __init__(self, world, port, silent=False):
        self.world = world
        self.silent = silent
        self.conns = []
        self.listener = world.host.tcp.listen(0, port, 32, world.hw.t)
        self.listener.waker = self

    def wake(self, listener):
        c = listener.accept()
        while c is not None:
            self.conns.append(c)
            c.waker = _Said(self)
            c.waker.wake(c)
            c = listener.accept()


class _Said:
    def __init__(self, server):
        self.server = server
        self.data = b""

    def wake(self, c):
        now = self.server.world.hw.t
        buf = bytearray(4096)
        n = c.recv_into(buf, 0, 4096, now)
        while n:
            self.data += bytes(buf[:n])
            n = c.recv_into(buf, 0, 4096, now)
        while len(self.data) >= 2 and len(self.data) >= 2 + (self.data[0] << 8 | self.data[1]):
            size = 2 + (self.data[0] << 8 | self.data[1])
            out = self.data[:4] + b"\x81" + self.data[5:size]
            self.data = self.data[size:]
            if not self.server.silent:
                assert c.send(out, 0, len(out), now) == len(out)


def turn(w, channels, us=1000):
    """Let bytes move, and the channels look."""
    for _ in range(4):
        w.settle(us)
        for c in channels.list():
            c.pump()


def test_one_is_shared_and_closed_when_idle():
    with World() as w:
        server = Server(w, 53)
        channels = m.Channels(w.rt)
        c, there = channels.get("a", LO, 53)
        assert not there
        first, second = c.ask(QUERY), c.ask(QUERY)
        turn(w, channels)
        assert channels.get("a", LO, 53) == (c, True) and len(server.conns) == 1
        assert c.answers == 2
        for x in (first, second):
            c.give_up(x, False)
        began = w.hw.t
        w.settle(m.IDLE_US - 1_000_000)
        assert channels.list() == [c]
        # Asked again it is in use again, and rests anew.
        third = c.ask(QUERY)
        turn(w, channels)
        c.give_up(third, False)
        w.settle(m.IDLE_US - 1_000_000)
        assert channels.list() == [c] and w.hw.t - began > m.IDLE_US
        w.settle(2_000_000)
        assert channels.list() == [] and server.conns[0].eof()
        other, there = channels.get("a", LO, 53)
        assert other is not c and not there


def test_no_more_than_so_many():
    with World() as w:
        server = Server(w, 53)
        channels = m.Channels(w.rt)
        made = []
        for i in range(m.CHANNELS_MAX):
            c, _ = channels.get(i, LO, 53)
            made.append(c)
            waiting = c.ask(QUERY)
            turn(w, channels, 10)
            c.give_up(waiting, False)
        channels.get(0, LO, 53)  # used again: 1 is the least recent now
        channels.get("more", LO, 53)
        assert len(channels.list()) == m.CHANNELS_MAX
        assert made[1] not in channels.list() and made[0] in channels.list()
        turn(w, channels)
        assert server.conns[1].eof()


def test_the_silent_make_room():
    with World() as w:
        Server(w, 53, silent=True)
        channels = m.Channels(w.rt)
        waiting = []
        for i in range(m.CHANNELS_MAX):
            c, _ = channels.get(i, LO, 53)
            waiting.append(c.ask(QUERY))
            turn(w, channels, 10)
        try:
            channels.get("more", LO, 53)
            raise AssertionError("all were busy")
        except OSError as e:
            assert e.args[0] == errors.EAGAIN
        assert len(channels.list()) == m.CHANNELS_MAX
        w.settle(2_000_000)
        c, _ = channels.get("more", LO, 53)
        assert len(channels.list()) == m.CHANNELS_MAX and c in channels.list()
        lost = [x for x in waiting if x._channel.error is not None]
        assert [x._channel.error.args[0] for x in lost] == [errors.ETIMEDOUT]


def test_one_whose_questions_were_given_up_rests_too():
    with World() as w:
        server = Server(w, 53, silent=True)
        channels = m.Channels(w.rt)
        c, _ = channels.get("a", LO, 53)
        waiting = c.ask(QUERY)
        turn(w, channels)
        w.settle(2 * m.IDLE_US)
        assert channels.list() == [c]  # somebody waits still
        c.give_up(waiting, False)
        w.settle(m.IDLE_US + 1_000_000)
        assert channels.list() == [] and server.conns[0].eof()
