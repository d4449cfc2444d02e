"""The server's WebSocket, over HTTP/1.1 and over a stream of HTTP/2.

    ws = await request.websocket(protocols=("chat",))
    message = await ws.recv()      str or bytes; None when the peer has closed
    await ws.send("text")          waits while more than 64 KB wait to be taken (backpressure)
    ws.post("text")                does not wait; ws.buffered_amount tells what piles up
    await ws.drain()               until nothing waits
    await ws.close(1000, "bye")
    async for message in ws: ...   on CPython and here

Not implemented: fragments, as streams.
"""

import asyncio
import os

from micropython import const

from stack.api._ws import Base, awaited
from stack.api.httpd import MICROPYTHON, HttpError
from stack.core.errors import ProtocolError
from stack.core.timers import NEVER
from stack.http.h2.stream import CLOSED
from stack.ws import handshake
from stack.ws.connection import Connection
from stack.ws.frames import GOING_AWAY

_CLOSE_S = const(5)  # how long the peer may take to answer a Close, or to take what waits


async def accept(x, request, protocols, compress, most):
    try:
        agreed, fields = handshake.answer(
            request.method, request.headers, protocols, compress, x.upgrades
        )
    except ProtocolError as e:
        raise HttpError(e.code, e.reason)  # noqa: B904
    rest = x.upgrade(fields)
    pipe = H1Pipe(x) if x.upgrades else H2Pipe(x)
    ws = WebSocket(pipe, Connection(False, os.urandom, agreed.deflate, most), agreed.subprotocol)
    x.socket = ws
    ws._m.receive(rest)
    await pipe.flush()
    return ws


class _Pipe:
    more = None
    _going = False

    async def end(self, _deadline):
        try:
            await asyncio.wait_for(self.flush(), _CLOSE_S)
        except (asyncio.TimeoutError, OSError):
            pass
        self.close()

    def go_on(self):
        """Send while somebody reads."""
        if not self._going:
            self._going = True
            self._task = asyncio.create_task(self._go_on())

    async def _go_on(self):
        try:
            await self.flush()
            self._going = False
            if self.more is not None:
                self.more()
        except OSError:
            pass  # who reads hears of it


class H1Pipe(_Pipe):
    """The connection itself."""

    def __init__(self, x):
        self._stream = x.stream

    @property
    def buffered(self):
        return self._stream.buffered

    async def read(self, _deadline=0):
        if MICROPYTHON and self._stream.buffered:  # CPython's asyncio sends by itself
            self.go_on()
        return await self._stream.read()

    def write(self, data):
        self._stream.write(data)

    def nudge(self):
        return None

    async def flush(self, _deadline=0):
        if self._stream.buffered:
            await self._stream.drain()

    def close(self):
        self._stream.close()


class H2Pipe(_Pipe):
    """A stream: what its window does not let go waits here."""

    def __init__(self, x):
        self._x = x
        self._wait = bytearray()

    @property
    def buffered(self):
        return len(self._wait) + self._x.stream.pending()

    async def read(self, _deadline=0):
        self.go_on()
        try:
            return await self._x.read()
        except OSError:
            return b""

    def write(self, data):
        self._wait.extend(data)
        self._push()

    def _push(self):
        x = self._x
        if self._wait and x.stream.state != CLOSED:
            try:
                n = x.h2.c.send_data(x.stream, self._wait)
            except ValueError:
                return
            self._wait = self._wait[n:]

    def nudge(self):
        return self._x.h2.flush()

    async def flush(self, _deadline=0):
        x = self._x
        self._push()
        await x.h2.flush()
        while self._wait:
            if x.stream.state == CLOSED or x.h2._lost:
                raise OSError("stream was reset")
            await x.wait()
            self._push()
            await x.h2.flush()

    def close(self):
        x = self._x
        if x.stream.state != CLOSED:
            try:
                x.h2.c.send_data(x.stream, b"", True)
            except ValueError:
                pass
            asyncio.create_task(self._last())

    async def _last(self):
        try:
            await self._x.h2.flush()
        except OSError:
            pass


class WebSocket(Base):
    async def recv(self):
        """The next message; None at the end. Pings are answered on the way."""
        return await awaited(self._recv(NEVER))

    async def send(self, message):
        """Send a message, str or bytes; waits while much is queued. OSError when closed."""
        await awaited(self._send(message, NEVER))

    async def drain(self):
        await awaited(self._flush(NEVER))

    async def ping(self, data=b""):
        await awaited(self._ping(data, NEVER))

    async def close(self, code=1000, reason=""):
        """Close, and wait for the peer's Close; messages that come meanwhile are dropped."""
        try:
            await asyncio.wait_for(awaited(self._close(code, reason, NEVER)), _CLOSE_S)
        except asyncio.TimeoutError:
            self._ended = True
            self._pipe.close()

    def go_away(self):
        """The server ends: say so; the handler's recv gives None when the peer has answered."""
        if not self.closed:
            self._m.close(GOING_AWAY)
            self._push()

    def __aiter__(self):
        return self

    async def __anext__(self):
        message = await self.recv()
        if message is None:
            raise StopAsyncIteration
        return message
