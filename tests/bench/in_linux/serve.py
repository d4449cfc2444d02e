"""The peer's servers, in CPython inside the Linux guest: asyncio HTTP, echo and sink.

python3 serve.py HTTP_PORT: answers every request with 100 bytes, keep-alive;
HTTP_PORT + 1 echoes; HTTP_PORT + 2 swallows; HTTP_PORT + 3 echoes datagrams.
"""

import asyncio
import sys

BODY = b"x" * 100
ANSWER = b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\nContent-Type: text/plain\r\n\r\n" + BODY


class Http(asyncio.Protocol):
    def connection_made(self, transport):
        self.transport = transport
        self.buf = b""

    def data_received(self, data):
        self.buf += data
        while True:
            end = self.buf.find(b"\r\n\r\n")
            if end < 0:
                return
            self.buf = self.buf[end + 4 :]
            self.transport.write(ANSWER)


class Echo(asyncio.Protocol):
    def connection_made(self, transport):
        self.transport = transport

    def data_received(self, data):
        self.transport.write(data)


class Sink(asyncio.Protocol):
    pass


class EchoDatagrams(asyncio.DatagramProtocol):
    def connection_made(self, transport):
        self.transport = transport

    def datagram_received(self, data, addr):
        self.transport.sendto(data, addr)


async def main(port):
    loop = asyncio.get_running_loop()
    await loop.create_server(Http, "0.0.0.0", port, backlog=1024)
    await loop.create_server(Echo, "0.0.0.0", port + 1, backlog=1024)
    await loop.create_server(Sink, "0.0.0.0", port + 2, backlog=1024)
    await loop.create_datagram_endpoint(EchoDatagrams, ("0.0.0.0", port + 3))
    await asyncio.Event().wait()


asyncio.run(main(int(sys.argv[1])))
