# The benchmark's servers inside Barewire, run at the prompt: a sink, a source, an echo and a
# 100-byte HTTP answer, each connection in turn or, for small messages, by asyncio.
import asyncio
import socket

BIG = bytearray(256 * 1024)
ANSWER = b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\nContent-Type: text/plain\r\n\r\n" + b"x" * 100


def listen(port, backlog=64):
    s = socket.socket()
    s.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    s.bind(("0.0.0.0", port))
    s.listen(backlog)
    return s


def number(c):
    data = b""
    while len(data) < 8:
        data += c.recv(8 - len(data))
    return int.from_bytes(data, "big")


def sink(c):
    """Read an 8-byte count and that many bytes; answer with one byte."""
    left = number(c)
    while left > 0:
        n = c.readinto(BIG)
        if not n:
            break
        left -= n
    c.send(b"." if left == 0 else b"!")


def source(c):
    """Read an 8-byte count and send that many bytes."""
    left = number(c)
    view = memoryview(BIG)
    while left >= len(BIG):
        c.sendall(BIG)
        left -= len(BIG)
    if left:
        c.sendall(view[:left])
    c.recv(1)


async def echo(reader, writer):
    while True:
        data = await reader.read(4096)
        if not data:
            break
        writer.write(data)
        await writer.drain()
    writer.close()
    await writer.wait_closed()


async def http(reader, writer):
    while True:
        line = await reader.readline()
        if not line:
            break
        while line not in (b"\r\n", b""):
            line = await reader.readline()
        writer.write(ANSWER)
        await writer.drain()
    writer.close()
    await writer.wait_closed()


class readable:
    """Await a socket that has something to read, as asyncio's own streams do."""

    def __init__(self, s):
        self._s = s
        self._asked = False

    def __iter__(self):
        return self

    __await__ = __iter__

    def __next__(self):
        if self._asked:
            raise StopIteration
        self._asked = True
        asyncio.core._io_queue.queue_read(self._s)


async def bulk(port, serve):
    listener = listen(port)
    while True:
        await readable(listener)
        c, _peer = listener.accept()
        try:
            serve(c)
        finally:
            c.close()


async def order(reader, writer):
    """A line "module.call(...)" of a file beside this one: its value, awaited if need be."""
    line = (await reader.readline()).decode()
    name = line.split(".")[0]
    try:
        value = eval(line, {name: __import__(name)})
        if hasattr(value, "send"):
            value = await value
    except Exception as e:
        value = e
    writer.write(repr(value).encode() + b"\n")
    await writer.drain()
    writer.close()
    await writer.wait_closed()


async def main():
    await asyncio.start_server(order, "0.0.0.0", 5010, 8)
    await asyncio.start_server(echo, "0.0.0.0", 8001, 64)
    await asyncio.start_server(http, "0.0.0.0", 8000, 64)
    await asyncio.gather(bulk(5001, sink), bulk(5002, source))


asyncio.run(main())
