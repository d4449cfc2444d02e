"""Listening in the image, and a connection as httpd wants it: the host's sockets under asyncio.

MicroPython's own Stream loses bytes that one task writes while another drains, and waits in
a poller. Here the connection's wake puts the task that waits for it into asyncio's queue, and
what several connections write in a row leaves together. A task that would wait while nobody
else has anything to do waits where it is, without a turn of asyncio's loop. TLS handshakes,
milliseconds of computing each, are done one by one: between two of them all that is ready has
its turn, so a request waits for one of them and not for all.
Not implemented: half-closed connections; a client that shuts down its side has gone.
"""

import asyncio
import socket
from asyncio import core
from time import ticks_diff, ticks_ms

from micropython import const

from stack.core import errors
from stack.core.errors import POLLHUP
from stack.core.timers import NEVER
from stack.transport.tcp.states import ESTABLISHED

_PIECE = const(8192)
# What is written while other tasks are ready to run waits for them so long, at most.
_LATER_US = const(2000)


class _Turns:
    """Whose handshake it is: the first task of those that ask, until it is through."""

    def __init__(self):
        self.tasks = []

    def remove(self, task):
        """A task that waits here is cancelled."""
        self.tasks.remove(task)

    def take(self):
        """Steps to await one's turn."""
        t = core.cur_task
        self.tasks.append(t)
        if len(self.tasks) > 1:
            t.data = self
            try:
                yield
            except BaseException:
                if self.tasks and self.tasks[0] is t:  # cancelled after its turn had come
                    self.give()
                raise

    def give(self):
        """After all that is ready now, the next."""
        self.tasks.pop(0)
        if self.tasks:
            core._task_queue.push(self.tasks[0])


_turns = _Turns()


class SocketStream:
    def __init__(self, sock, peer):
        sock.setblocking(False)
        self._sock = sock
        self._rt = sock._rt
        self._ep = e = sock._ep
        self.peer = peer
        self.buffered = 0
        self._out = []
        self._drained = None
        self._reader = self._writer = None  # tasks that wait
        self._rung = True  # something has happened since there was last nothing to read
        self._below = getattr(e, "_below", e)  # TLS's connection
        self._ring = getattr(e, "rcv", None)  # where TCP has its bytes; None over TLS
        self._shaking = self._below is not e  # TLS's handshake is not done
        self._queue = core._task_queue
        self._poller = core._io_queue.poller
        if e is not None:
            e.waker = self

    # What the stack calls, and asyncio where a task is cancelled that waits here.

    def wake(self, _endpoint):
        self._rung = True
        t = self._reader
        if t is not None:
            self._reader = None
            self._queue.push(t)
            self._poller.stirred = True
        t = self._writer
        if t is not None:
            self._writer = None
            self._queue.push(t)
            self._poller.stirred = True

    def remove(self, task):
        if self._reader is task:
            self._reader = None
        if self._writer is task:
            self._writer = None

    def read(self):
        """Steps to await: bytes as soon as there are some, b"" at the end."""
        rt = self._rt
        alone = 0
        while self._sock is not None:
            if self._shaking:
                yield from self._shake()
            rt.lock()
            try:
                if self._rung:
                    self._rung = False
                    e = self._ep
                    now = rt.now()
                    ring = self._ring
                    if ring is None:
                        got = e.recv_into(rt.scratch, 0, _PIECE, now)
                        data = None
                    else:
                        got = ring.tail - ring.head
                        at = ring.head & ring.size - 1
                        if got > _PIECE or at + got > ring.size:
                            got = e.recv_into(rt.scratch, 0, _PIECE, now)
                            data = None
                        elif got:
                            data = bytes(ring.buf[at : at + got])
                            e.recv_into(None, 0, got, now)
                    if got:
                        below = self._below
                        if (
                            got == _PIECE
                            or below.state != ESTABLISHED  # its end is told by no wake any more
                            or (ring is None and e.more())
                        ):
                            self._rung = True
                        if below.ready:
                            self._send_soon(rt, now)
                        return bytes(rt.scratch_view[:got]) if data is None else data
                    if e.eof() or e.error or e.events() & POLLHUP:
                        self._rung = True
                        return b""
                # Under the lock: nothing comes between the look and the wait for it.
                if alone or rt.put_off:
                    alone = 0  # something else has happened, or others are at work
                else:
                    alone = self._alone(rt)
                if not alone:
                    t = core.cur_task
                    t.data = self
                    self._reader = t
            except OSError:
                return b""
            finally:
                rt.unlock()
            if alone:
                rt.wait(alone)
            else:
                yield
        return b""

    def _alone(self, rt):
        """Until when nobody has anything to do, as far as is known; 0: somebody has. What
        asyncio's loop finds out by way of select (select.poll._wait)."""
        p = self._poller
        if p.stirred or p._woken is not None or p._others:
            return 0
        t = self._queue.peek()
        if t is None:
            return NEVER
        ms = ticks_diff(t.ph_key, ticks_ms())
        return rt.now() + ms * 1000 if ms > 0 else 0

    def _shake(self):
        """Steps: TLS's handshake. The answer to a ClientHello, which is nearly all of it, in turn;
        a Finished at once: the first request is in the same segment."""
        m = self._ep.machine
        while self._sock is not None:
            if self._rung and m.suite is not None:
                if self._handshake():
                    return
            elif self._rung:
                yield from _turns.take()
                try:
                    if self._sock is not None and self._handshake():
                        return
                    t = core.cur_task
                    self._queue.push(t)  # behind all that is ready
                    yield
                finally:
                    _turns.give()
            rt = self._rt
            rt.lock()
            try:
                waits = not self._rung
                if waits:
                    t = core.cur_task
                    t.data = self
                    self._reader = t
            finally:
                rt.unlock()
            if waits:
                yield

    def _handshake(self):
        """Take in what has come; True when the handshake is over, one way or the other."""
        rt = self._rt
        e = self._ep
        rt.lock()
        try:
            self._rung = False
            e.handshake(rt.now())
            over = e.machine.connected or e.eof() or e.events() & POLLHUP
        except OSError:
            over = True
        finally:
            rt.unlock()
        if over:
            self._shaking = False
            self._rung = True  # there may be data behind it, and there is what went wrong
        return over

    def _put(self, data):
        """How many bytes of data the connection takes. OSError."""
        if self._sock is None:
            raise OSError(errors.EPIPE)
        rt = self._rt
        rt.lock()
        try:
            now = rt.now()
            took = self._ep.send(data, 0, len(data), now)
            if took:
                self._send_soon(rt, now)
            return took
        finally:
            rt.unlock()

    def _send_soon(self, rt, now):
        """Now, or with what the tasks write that are about to run; under the lock."""
        t = self._queue.peek()
        if t is None or ticks_diff(t.ph_key, ticks_ms()) > 0:
            rt.kick(now)
        elif not rt.put_off:
            rt.put_off = True
            rt._timer(now + _LATER_US)

    def write(self, data):
        """Send what the connection takes, queue the rest. OSError."""
        if not self.buffered:
            n = self._put(data)
            if n == len(data):
                return
            if n:
                data = memoryview(data)[n:]
        elif self._sock is None:
            raise OSError(errors.EPIPE)
        self._out.append(bytes(data))
        self.buffered += len(data)

    def drain(self):
        """Steps to await until nothing is queued; one task sends for all. OSError."""
        if self._drained is not None:
            yield from self._drained.wait()
            if self._sock is None:
                raise OSError(errors.EPIPE)
            return
        if not self.buffered:
            return
        self._drained = asyncio.Event()
        rt = self._rt
        try:
            while self._out:
                data = self._out[0]
                rt.lock()
                try:
                    n = self._put(data)
                    if not n:
                        t = core.cur_task
                        t.data = self
                        self._writer = t
                finally:
                    rt.unlock()
                if n:
                    self.buffered -= n
                    if n == len(data):
                        self._out.pop(0)
                    else:
                        self._out[0] = data[n:]
                else:
                    yield
        finally:
            self._drained.set()
            self._drained = None

    def close(self):
        """What is queued goes out first, if it can at once."""
        if self._sock is not None:
            try:
                for data in self._out:
                    self._put(data)
            except OSError:
                pass
        self.abort()

    def abort(self):
        self._out = []
        self.buffered = 0
        s = self._sock
        if s is not None:
            self._sock = None
            s.close()
            rt = self._rt
            rt.lock()
            self.wake(None)
            rt.unlock()


class Listener:
    def __init__(self, server, host, port, ssl, backlog, scheme):
        self._server = server
        self._ssl = ssl
        self._scheme = scheme
        s = socket.socket()
        s.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        s.bind(socket.getaddrinfo(host, port)[0][-1])
        s.listen(backlog)
        s.setblocking(False)
        self._sock = s
        self._task = asyncio.create_task(self._accept())

    def _accept(self):
        s = self._sock
        while True:
            yield core._io_queue.queue_read(s)
            while True:
                try:
                    c, peer = s.accept()
                    # An answer is written whole: it must not wait for an acknowledgement.
                    c.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                    if self._ssl is not None:
                        c.setblocking(False)
                        c = self._ssl.wrap_socket(
                            c, server_side=True, do_handshake_on_connect=False
                        )
                except OSError:
                    break
                asyncio.create_task(self._server.take(SocketStream(c, peer), self._scheme))

    def port(self):
        return self._sock.getsockname()[1]

    def close(self):
        self._task.cancel()
        self._sock.close()


def listen(server, host, port, ssl, backlog, scheme):
    return Listener(server, host, port, ssl, backlog, scheme)
