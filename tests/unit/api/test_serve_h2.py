"""The server's HTTP/2 over a stream that takes nothing for a while."""

import asyncio

from stack.api._serve_h2 import H2
from stack.http.h2 import events
from stack.http.h2.connection import Connection

PAGE = b"x" * 16000


class Stream:
    """Queues what is written until `go` is set; what is queued when it is closed is lost."""

    def __init__(self):
        self.go = asyncio.Event()
        self.queue = self.sent = b""
        self.more = asyncio.Event()
        self.closed = False

    @property
    def buffered(self):
        return len(self.queue)

    def write(self, data):
        assert not self.closed
        self.queue += bytes(data)

    async def drain(self):
        await self.go.wait()
        self.sent += self.queue
        self.queue = b""

    async def read(self):
        await self.more.wait()
        return b""

    def close(self):
        self.closed = True
        self.more.set()


class Server:
    idle_ms = stall_ms = 60000

    def __init__(self, app):
        self.app = app


class Client:
    """The face of httpd.Connection, and the machine of who asks."""

    def __init__(self, app):
        self.stream = Stream()
        self.server = Server(app)
        self.deadline = 0
        self.c = Connection(True)

    def ask(self):
        fields = [(":method", "GET"), (":scheme", "http"), (":authority", "h"), (":path", "/")]
        self.c.request(fields, True)
        return self.c.data_to_send()

    def got(self):
        """(bytes of bodies, answers that ended) of what was sent."""
        self.c.receive(self.stream.sent)
        size = ended = 0
        e = self.c.next_event()
        while e is not None:
            if e.kind == events.DATA:
                size += len(e.data)
            ended += bool(e.end)
            e = self.c.next_event()
        return size, ended


async def turns():
    for _ in range(20):
        await asyncio.sleep(0)


def at_once(request):
    return PAGE


def in_a_task(request):
    async def answer():
        await asyncio.sleep(0)
        return PAGE

    return answer()


def test_a_shutdown_waits_for_what_is_queued():
    async def main(app):
        client = Client(app)
        h2 = H2(client)
        task = asyncio.create_task(h2.run(client.ask()))
        await turns()
        assert client.stream.buffered and not client.c.closing
        h2.shutdown()
        await turns()
        assert not client.stream.closed
        client.stream.go.set()
        await turns()
        assert client.stream.closed and client.got() == (len(PAGE), 1)
        await task

    for app in (at_once, in_a_task):
        asyncio.run(main(app))


def test_a_shutdown_before_the_answer():
    async def main():
        ready = asyncio.Event()

        async def later(request):
            await ready.wait()
            return PAGE

        client = Client(later)
        h2 = H2(client)
        task = asyncio.create_task(h2.run(client.ask()))
        await turns()
        h2.shutdown()
        await turns()
        assert not client.stream.closed
        ready.set()
        await turns()
        assert not client.stream.closed  # it is not sent yet
        client.stream.go.set()
        await turns()
        assert client.stream.closed and client.got() == (len(PAGE), 1)
        await task

    asyncio.run(main())
