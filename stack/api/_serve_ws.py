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

from stack.api.httpd import HttpError
from stack.core.errors import ProtocolError
from stack.http.h2.stream import CLOSED
from stack.ws import handshake
from stack.ws.connection import OPEN, Connection
from stack.ws.frames import BINARY, CLOSE, GOING_AWAY, TEXT

_HIGH = const(65536)
_CLOSE_S = const(5)  # how long the peer may take to answer a Close


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
    ws._machine.receive(rest)
    await pipe.flush()
    return ws


class H1Pipe:
    """The connection itself."""

    def __init__(self, x):
        self._stream = x.stream

    @property
    def buffered(self):
        return self._stream.buffered

    async def read(self):
        return await self._stream.read()

    def write(self, data):
        self._stream.write(data)

    async def flush(self):
        if self._stream.buffered:
            await self._stream.drain()

    def close(self):
        self._stream.close()


class H2Pipe:
    """A stream: what its window does not let go waits here."""

    def __init__(self, x):
        self._x = x
        self._wait = bytearray()

    @property
    def buffered(self):
        return len(self._wait) + self._x.stream.pending()

    async def read(self):
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

    async def flush(self):
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


class WebSocket:
    def __init__(self, pipe, machine, subprotocol):
        self._pipe = pipe
        self._machine = machine
        self.subprotocol = subprotocol
        self._ended = False

    @property
    def closed(self):
        return self._machine.state != OPEN

    @property
    def close_code(self):
        return self._machine.close_code

    @property
    def close_reason(self):
        return self._machine.close_reason

    @property
    def buffered_amount(self):
        """Bytes that the connection has not taken yet."""
        return self._machine.buffered + self._pipe.buffered

    def _push(self):
        data = self._machine.data_to_send()
        if data:
            self._pipe.write(data)

    async def recv(self):
        """The next message; None at the end. Pings are answered on the way."""
        m = self._machine
        while True:
            try:
                event = m.next_event()
            except ProtocolError:
                event = None
                self._push()
            if event is not None:
                kind = event[0]
                if kind == TEXT or kind == BINARY:
                    return event[1]
                self._push()
                if kind == CLOSE:
                    await self._finish()
                    return None
                continue
            if self._ended:
                return None
            await self._pipe.flush()
            data = await self._pipe.read()
            if data:
                m.receive(data)
            else:
                m.receive_eof()

    async def _finish(self):
        if not self._ended:
            self._ended = True
            try:
                await self._pipe.flush()
            except OSError:
                pass
            self._pipe.close()

    def post(self, message):
        """Queue a message, str or bytes, without waiting. OSError when closed."""
        if self.closed:
            raise OSError("WebSocket is closed")
        self._machine.send(message)
        self._push()

    async def send(self, message):
        """Send a message, str or bytes; waits while much is queued. OSError when closed."""
        self.post(message)
        if self._pipe.buffered > _HIGH:
            await self._pipe.flush()
        elif hasattr(self._pipe, "_x"):
            await self._pipe._x.h2.flush()

    async def drain(self):
        await self._pipe.flush()

    async def ping(self, data=b""):
        self._machine.ping(data)
        self._push()
        await self._pipe.flush()

    async def close(self, code=1000, reason=""):
        """Close, and wait for the peer's Close; messages that come meanwhile are dropped."""
        if self._ended:
            return
        self._machine.close(code, reason)
        self._push()
        try:
            await asyncio.wait_for(self._until_closed(), _CLOSE_S)
        except (asyncio.TimeoutError, OSError):
            pass
        await self._finish()

    async def _until_closed(self):
        while await self.recv() is not None:
            pass

    def go_away(self):
        """The server ends: say so; the handler's recv gives None when the peer has answered."""
        if not self.closed:
            self._machine.close(GOING_AWAY)
            self._push()

    def __aiter__(self):
        return self

    async def __anext__(self):
        message = await self.recv()
        if message is None:
            raise StopAsyncIteration
        return message
