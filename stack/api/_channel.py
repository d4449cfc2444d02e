"""Connections to name servers that questions share: TCP and DNS over TLS. RFC 7766, 7858.

A Channel connects, does the handshake and moves bytes whenever one of those who wait for it
looks: its Tickets are what they wait for, and look by `events`. So no task of its own is
needed, and nobody who gives up takes the connection along. Idle ones are closed.

Not implemented: RFC 7828 (the server's idea of how long to keep it), 0-RTT.
"""

from micropython import const

from stack.core import errors
from stack.core.errors import POLLERR, POLLHUP, POLLIN, POLLOUT
from stack.core.timers import NEVER
from stack.dns.pipe import Pipe

# RFC 7766, section 6.2.3: "of the order of a few seconds".
IDLE_US = const(10_000_000)
# At 20 KB with TLS; the least recently used makes room.
CHANNELS_MAX = const(16)
# All are busy: one that has been silent for so long makes room for another server's.
_SILENT_US = const(1_000_000)

_CONNECTING = const(0)
_HANDSHAKE = const(1)
_OPEN = const(2)
_CLOSED = const(3)


class Channels:
    """The connections that are open, by whom they go to."""

    def __init__(self, rt):
        self._rt = rt
        self._open = {}
        self._uses = 0

    def get(self, key, address, port, context=None, name=""):
        """(Channel to this server, whether it was there). key: an Upstream or a number. OSError."""
        self._uses += 1
        c = self._open.get(key)
        if c is not None:
            c.pump()
            if c.state != _CLOSED:
                c.used = self._uses
                return c, True
        if len(self._open) >= CHANNELS_MAX:
            self._make_room()
        self._open[key] = c = Channel(self, self._rt, key, address, port, context, name)
        c.used = self._uses
        return c, False

    def _make_room(self):
        idle = [c for c in self._open.values() if not len(c.pipe)]
        if idle:
            min(idle, key=lambda c: c.used).close(None)
            return
        c = min(self._open.values(), key=lambda c: c.heard)
        if self._rt.now() - c.heard < _SILENT_US:
            raise OSError(errors.EAGAIN)
        c.close(OSError(errors.ETIMEDOUT))

    def forget(self, c):
        if self._open.get(c.key) is c:
            del self._open[c.key]

    def close(self):
        """Close all, as when other servers are to be asked from now on."""
        for c in list(self._open.values()):
            c.close(OSError(errors.ECONNABORTED))

    def list(self):
        return list(self._open.values())


class Channel:
    def __init__(self, owner, rt, key, address, port, context, name):
        self._owner = owner
        self._rt = rt
        self.key = key
        self._context = context
        self._name = name
        self.pipe = Pipe(rt.host.rng, rt.host.stats)
        self.state = _CONNECTING
        self.error = None
        self.answers = 0
        self.used = 0
        self.heard = 0
        self._idle_at = NEVER
        self.timer_at = 0
        self.timer_index = -1
        rt.lock()
        try:
            now = rt.now()
            self.heard = now
            self._endpoint = e = rt.host.tcp.connect(address, port, now)
            e.waker = self
            rt.kick(now)
        finally:
            rt.unlock()

    # Those who wait.

    def ask(self, message):
        """A Waiting for the answer to a message. OSError."""
        rt = self._rt
        rt.lock()
        try:
            now = rt.now()
            t = self.pipe.push(message)
            self._rest(NEVER)
            self._pump(now)
            return Waiting(self, t, now)
        finally:
            rt.unlock()

    def give_up(self, waiting, late):
        """Nobody waits any more; late: the answer did not come in time."""
        rt = self._rt
        rt.lock()
        try:
            self.pipe.forget(waiting.ticket)
            if late and self.heard <= waiting.since:
                # Nothing at all came: the way is dead, and a new one may be better.
                self._end(OSError(errors.ETIMEDOUT))
            elif not len(self.pipe) and self.state != _CLOSED:
                self._rest(rt.now() + IDLE_US)
        finally:
            rt.unlock()

    # The connection.

    def pump(self):
        rt = self._rt
        rt.lock()
        try:
            self._pump(rt.now())
        finally:
            rt.unlock()

    def _pump(self, now):
        """Do what can be done. Under the lock, in a program's call."""
        try:
            if self.state == _CONNECTING:
                self._connected(now)
            if self.state == _HANDSHAKE and self._endpoint.handshake(now):
                self.state = _OPEN
            if self.state == _OPEN:
                self._send(now)
                self._receive(now)
        except OSError as e:
            self._end(e)

    def _connected(self, now):
        e = self._endpoint
        if e.events() & (POLLOUT | POLLERR | POLLHUP):
            if e.error:
                raise OSError(e.error)
            self.state = _OPEN
            if self._context is not None:
                from stack.api._tls import TlsEndpoint

                where = "%s:%d" % (e.remote_addr, e.remote_port)
                machine = self._context.machine(False, self._name, where)
                self._endpoint = t = TlsEndpoint(self._rt, e, machine)
                t.waker = self
                self.state = _HANDSHAKE
                self._rt.kick(now)

    def _send(self, now):
        out = self.pipe.out
        n = len(out)
        if n:
            n = self._endpoint.send(out, 0, n, now)
            if n:
                self.pipe.out = out[n:]
                self._rt.kick(now)

    def _receive(self, now):
        rt = self._rt
        e = self._endpoint
        while True:
            n = e.recv_into(rt.scratch, 0, 4096, now)
            if not n:
                break
            self.heard = now
            if e.ready:
                rt.kick(now)
            done = self.pipe.receive(rt.scratch_view[:n])
            self.answers += len(done)
            _wake(done)
        if e.error:
            raise OSError(e.error)
        if e.eof() or e.events() & POLLHUP:
            raise OSError(errors.ECONNRESET)
        if not len(self.pipe) and self._idle_at == NEVER:
            self._rest(now + IDLE_US)

    def close(self, error):
        rt = self._rt
        rt.lock()
        try:
            self._end(error)
        finally:
            rt.unlock()

    def _end(self, error):
        """error: what those who wait are told."""
        if self.state == _CLOSED:
            return
        self.state = _CLOSED
        self.error = error
        rt = self._rt
        now = rt.now()
        self._rest(NEVER)
        self._owner.forget(self)
        self._endpoint.waker = None
        self._endpoint.close(now)
        _wake(self.pipe.lose())
        rt.kick(now)

    # What the stack calls.

    def wake(self, _endpoint):
        _wake(self.pipe.tickets())

    def _rest(self, until):
        self._idle_at = until
        timers = self._rt.host.timers
        if until < NEVER:
            timers.arm(self, until)
            self._rt._timer(self._rt.host.poll_at())
        else:
            timers.cancel(self)

    def poll_at(self):
        return self._idle_at

    def on_timer(self, _now):
        self._end(None)


class Waiting:
    """An answer to wait for: an endpoint, as far as steps are concerned."""

    is_stream = True

    def __init__(self, channel, ticket, since):
        self._channel = channel
        self.ticket = ticket
        self.since = since
        self.endpoint = self

    @property
    def waker(self):
        return self.ticket.waker

    @waker.setter
    def waker(self, waker):
        self.ticket.waker = waker

    def events(self):
        self._channel.pump()
        t = self.ticket
        return POLLIN if t.answer is not None or t.lost else 0

    def receive(self):
        """The message with its length in front, None while there is none. OSError: lost."""
        t = self.ticket
        if not self.events():
            return None
        if t.lost:
            raise self._channel.error or OSError(errors.ECONNRESET)
        n = len(t.answer)
        return bytes((n >> 8, n & 0xFF)) + t.answer

    def close(self, late=False):
        self.ticket.waker = None
        if self.ticket.answer is None and not self.ticket.lost:
            self._channel.give_up(self, late)


def _wake(tickets):
    for t in tickets:
        if t.waker is not None:
            t.waker.wake(t)
