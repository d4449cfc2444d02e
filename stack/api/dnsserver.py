"""A resolver for others: a Resolver's answers over UDP, TCP (RFC 7766) and TLS (RFC 7858).

    s = net.dns.Server(net.dns.Resolver())
    s.udp()                                 answers from here on, whatever the program does
    await s.serve(tls=context)              TCP, TLS and what is not known yet: an asyncio task

A datagram whose answer is known is answered where it arrives, within the stack's poll. What
has to be asked for is driven by tasks. Answers leave a connection as they are ready.
"""

import asyncio

from micropython import const

from stack.api import _carry, _runtime
from stack.api._recursor import Carried
from stack.core.errors import POLLIN
from stack.dns import server as _server
from stack.net import addr6

PORT = const(53)
TLS_PORT = const(853)
# RFC 7766, section 6.2.3: idle connections end; so many at a time, so many questions on each.
# A connection takes about 6 KB, with TLS 20 KB.
IDLE_S = const(10)
CONNECTIONS_MAX = const(64)
PIPELINE_MAX = const(16)
# Datagrams taken in one go: then others have their turn.
_BATCH = const(32)
# Not fragmented on any path (DNS flag day 2020).
_UDP_MAX = const(1232)


class Server:
    """Answers others by a Resolver (net.dns.Resolver)."""

    def __init__(self, resolver):
        rt = self._rt = _runtime.current()
        self.machine = _server.Server(resolver.machine, rt.host.rng)
        self.machine.prefetch = self._prefetch
        self.answered = 0
        self.connections = 0
        self._endpoint = None
        self._buf = bytearray(4096)
        self._view = memoryview(self._buf)
        self._waiters = {}  # id(question) -> [(waiting, reply), ...]
        self._fresh = []  # questions that no task drives yet
        self._bell = _Bell()
        self._listeners = []

    # Datagrams.

    def udp(self, port=PORT):
        """Answer datagrams on a port, of both families. OSError."""
        rt = self._rt
        rt.lock()
        try:
            self._endpoint = e = rt.host.udp.open(addr6.ANY, port, rt.now(), dual=True)
            e.waker = self
        finally:
            rt.unlock()

    def wake(self, e):
        """The stack has something for the endpoint."""
        rt = self._rt
        now = rt.now()
        for _ in range(_BATCH):
            try:
                n = e.recv_into(self._buf, 0, len(self._buf))
            except OSError:
                continue  # an ICMP error for an answer of ours
            if n < 0:
                return
            peer = e.peer_addr
            port = e.peer_port
            out = self.machine.receive(
                self._view[:n], _source(peer), _UDP_MAX, now
            )
            if isinstance(out, _server.Waiting):
                self._wait(out, lambda data, p=peer, q=port: self._send(data, p, q))
            elif out is not None:
                self._send(out, peer, port)

    def _send(self, data, peer, port):
        self.answered += 1
        try:
            self._endpoint.send_to(data, 0, len(data), peer, port, self._rt.now())
        except OSError:
            pass  # unreachable: the client asks again

    # Questions.

    def _wait(self, waiting, reply):
        """Have a Waiting driven; reply(answer) comes when it is done."""
        question = waiting.question
        waiters = self._waiters.get(id(question))
        if waiters is None:
            self._waiters[id(question)] = waiters = []
            self._fresh.append(question)
            self._bell.ring()
        waiters.append((waiting, reply))

    def _prefetch(self, question):
        if id(question) not in self._waiters and len(self._waiters) < _server.MAX_WAITING:
            self._waiters[id(question)] = []
            self._fresh.append(question)
            self._bell.ring()

    async def _drive(self, question):
        rt = self._rt
        try:
            await rt.run_async(_carry.ask(rt, Carried(rt, question)))
        finally:
            waiters = self._waiters.pop(id(question))
        rt.lock()
        try:
            for waiting, reply in waiters:
                reply(self.machine.finish(waiting, rt.now()))
            rt.kick(rt.now())
        finally:
            rt.unlock()

    async def _questions(self):
        while True:
            while self._fresh:
                asyncio.create_task(self._drive(self._fresh.pop(0)))
            await self._bell.wait()

    # Streams.

    async def listen(self, port=PORT, tls=None, tls_port=TLS_PORT):
        """Listen: TCP on `port`, TLS on `tls_port` if tls, an SSLContext, is given. OSError."""
        start = asyncio.start_server
        self._listeners.append(await start(self._on_plain, "::", port, 16))
        if tls is not None:
            self._listeners.append(await start(self._on_tls, "::", tls_port, 16, ssl=tls))

    async def serve(self, port=PORT, tls=None, tls_port=TLS_PORT):
        """Serve for ever; listens as above if that was not done before."""
        if not self._listeners:
            await self.listen(port, tls, tls_port)
        try:
            await self._questions()
        finally:
            while self._listeners:
                self._listeners.pop().close()

    async def _on_plain(self, reader, writer):
        await self._on_stream(reader, writer, False)

    async def _on_tls(self, reader, writer):
        await self._on_stream(reader, writer, True)

    async def _on_stream(self, reader, writer, private):
        self.connections += 1
        try:
            if self.connections <= CONNECTIONS_MAX:
                await self._read(reader, writer, private)
        except (OSError, EOFError, asyncio.TimeoutError):
            pass  # the client has gone, or says nothing
        finally:
            self.connections -= 1
            writer.close()
            try:
                await writer.wait_closed()
            except OSError:
                pass

    async def _read(self, reader, writer, private):
        rt = self._rt
        source = _peer(writer)
        room = _Room(PIPELINE_MAX)
        while True:
            head = await asyncio.wait_for(reader.readexactly(2), IDLE_S)
            data = await asyncio.wait_for(reader.readexactly(head[0] << 8 | head[1]), IDLE_S)
            made = self.machine.receive(data, source, 65535, rt.now(), private)
            if made is None:
                return
            if isinstance(made, _server.Waiting):
                await room.take()
                self._wait(made, lambda answer: self._later(writer, answer, room))
                continue
            await self._write(writer, made)

    def _later(self, writer, answer, room):
        room.give()
        asyncio.create_task(self._write_quietly(writer, answer))

    async def _write_quietly(self, writer, answer):
        try:
            await self._write(writer, answer)
        except OSError:
            pass

    async def _write(self, writer, answer):
        self.answered += 1
        n = len(answer)
        writer.write(bytes((n >> 8, n & 0xFF)) + answer)
        await writer.drain()


class _Bell:
    """Wakes one task from outside of asyncio."""

    def __init__(self):
        self._rung = False
        self._waker = None
        self._poll_entry = None

    def ring(self):
        self._rung = True
        if self._waker is not None:
            self._waker.wake(self)

    async def wait(self):
        await _Readable(self)
        self._rung = False

    def events(self):
        return POLLIN if self._rung else 0

    def poll_attach(self, waker):
        self._waker = waker

    def poll_detach(self, _waker):
        self._waker = None


class _Readable:
    """Await what asyncio's poller can watch."""

    def __init__(self, what):
        self._what = what
        self._asked = False

    def __iter__(self):
        return self

    __await__ = __iter__

    def __next__(self):
        if self._asked:
            raise StopIteration
        self._asked = True
        from asyncio import core

        core._io_queue.queue_read(self._what)


class _Room:
    """So many at a time."""

    def __init__(self, n):
        self._left = n
        self._event = asyncio.Event()

    async def take(self):
        while not self._left:
            self._event.clear()
            await self._event.wait()
        self._left -= 1

    def give(self):
        self._left += 1
        self._event.set()


def _source(number):
    """What tells clients apart: the bytes of their address, or of its handle."""
    return number.to_bytes(8, "big")


def _peer(writer):
    try:
        return str(writer.get_extra_info("peername")[0]).encode()
    except (OSError, TypeError):
        return b""
