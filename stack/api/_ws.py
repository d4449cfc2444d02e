"""A WebSocket over a pipe: what the client (websocket.py) and the server (_serve_ws.py) share.

Work that may wait is a generator which yields what is to be waited for, as the pipe made it, and
is sent what came of it: `steps` finishes one as steps (_runtime.py), `awaited` as a coroutine.

A pipe: write(data) sends what goes at once, and the rest as it can while somebody reads or
flushes; `buffered`, bytes that wait there; `more`, called when none wait any more; to be waited
for: read(deadline), b"" at the end, flush(deadline), nudge() or None (after something was
written), end(deadline): what waits leaves, within some seconds, and the pipe is closed.

Reading never waits for writing: a peer may read nothing before it has sent what it has. And a
peer cannot make us hold more: while 64 KB wait in the pipe, answers to its pings wait in the
machine, which bounds them.
"""

from micropython import const

from stack.core import errors
from stack.core.errors import ProtocolError
from stack.ws.connection import OPEN
from stack.ws.frames import BINARY, CLOSE, TEXT

_HIGH = const(65536)


def steps(work):
    """Steps that finish a generator of things to wait for which are steps themselves."""
    try:
        op = work.send(None)
        while True:
            try:
                got = yield from op
            except Exception as e:
                op = work.throw(e)
            else:
                op = work.send(got)
    except StopIteration as e:
        return e.value


async def awaited(work):
    """The same where they are coroutines."""
    try:
        op = work.send(None)
        while True:
            try:
                got = await op
            except Exception as e:
                op = work.throw(e)
            else:
                op = work.send(got)
    except StopIteration as e:
        return e.value


class Base:
    def __init__(self, pipe, machine, subprotocol):
        self._pipe = pipe
        self._m = machine
        self._ended = False
        self.subprotocol = subprotocol
        pipe.more = self._push

    @property
    def closed(self):
        return self._m.state != OPEN

    @property
    def close_code(self):
        return self._m.close_code

    @property
    def close_reason(self):
        return self._m.close_reason

    @property
    def buffered_amount(self):
        """Bytes that the connection has not taken yet."""
        return self._m.buffered + self._pipe.buffered

    def _push(self):
        """What the machine has to say goes on its way, unless much waits there already."""
        if self._m.buffered and self._pipe.buffered <= _HIGH:
            self._pipe.write(self._m.data_to_send())

    def post(self, message):
        """Queue a message, str or bytes, without waiting. OSError when closed."""
        if self._m.state != OPEN:
            raise OSError(errors.EPIPE)
        self._m.send(message)
        self._push()

    def _send(self, message, deadline):
        self.post(message)
        if self.buffered_amount > _HIGH:
            yield from self._flush(deadline)
        else:
            op = self._pipe.nudge()
            if op is not None:
                yield op

    def _ping(self, data, deadline):
        self._m.ping(data)
        yield from self._flush(deadline)

    def _flush(self, deadline):
        while True:
            self._push()
            yield self._pipe.flush(deadline)
            if not self._m.buffered:
                return

    def _recv(self, deadline):
        """The next message; None at the end."""
        m = self._m
        while True:
            try:
                event = m.next_event()
            except ProtocolError:
                continue  # the machine has said so, and gives CLOSE now
            if event is not None:
                kind = event[0]
                if kind == TEXT or kind == BINARY:
                    return event[1]
                self._push()
                if kind == CLOSE:
                    yield from self._finish(deadline)
                    return None
                continue
            if self._ended:
                return None
            try:
                data = yield self._pipe.read(deadline)
            except OSError as e:
                if e.args and e.args[0] == errors.ETIMEDOUT:
                    raise
                data = b""
            if len(data):
                m.receive(data)
            else:
                m.receive_eof()

    def _finish(self, deadline):
        if not self._ended:
            self._ended = True
            self._push()
            yield self._pipe.end(deadline)

    def _close(self, code, reason, deadline):
        """Close, and wait for the peer's Close; messages that come meanwhile are dropped."""
        if self._ended:
            return
        self._m.close(code, reason)
        try:
            self._push()
            while not self._ended:
                yield from self._recv(deadline)
        except OSError:
            pass
        yield from self._finish(deadline)
