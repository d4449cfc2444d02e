"""Listening in the image, and a connection as httpd wants it: the host's sockets under asyncio.

MicroPython's own Stream loses bytes that one task writes while another drains, and looks
at its socket only after a round of the poller; this one does neither.
Not implemented: half-closed connections; a client that shuts down its side has gone.
"""

import asyncio
import socket
from asyncio import core

from micropython import const

from stack.core import errors

_PIECE = const(8192)
_READABLE = const(1 | 8 | 16)  # POLLIN, POLLERR, POLLHUP


class SocketStream:
    def __init__(self, sock, peer):
        sock.setblocking(False)
        self._sock = sock
        self.peer = peer
        self.buffered = 0
        self._out = []
        self._drained = None

    def read(self):
        """Steps to await: bytes as soon as there are some, b"" at the end."""
        s = self._sock
        while s is not None:
            # Looking is cheaper than reading in vain, as after each answer.
            rt = s._rt
            rt.lock()
            try:
                ready = s.events() & _READABLE
            finally:
                rt.unlock()
            if ready:
                try:
                    data = s.read(_PIECE)
                except OSError:
                    return b""
                if data is not None:
                    return data
            yield core._io_queue.queue_read(s)
            s = self._sock
        return b""

    def write(self, data):
        """Send what the connection takes, queue the rest. OSError."""
        s = self._sock
        if s is None:
            raise OSError(errors.EPIPE)
        if not self.buffered:
            n = s.write(data)
            if n == len(data):
                return
            if n:
                data = memoryview(data)[n:]
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
        try:
            while self._out:
                s = self._sock
                if s is None:
                    raise OSError(errors.EPIPE)
                data = self._out[0]
                n = s.write(data)
                if n:
                    self.buffered -= n
                    if n == len(data):
                        self._out.pop(0)
                    else:
                        self._out[0] = data[n:]
                else:
                    yield core._io_queue.queue_write(s)
        finally:
            self._drained.set()
            self._drained = None

    def close(self):
        """What is queued goes out first, if it can at once."""
        s = self._sock
        if s is not None:
            self._sock = None
            try:
                for data in self._out:
                    s.write(data)
            except OSError:
                pass
            s.close()

    def abort(self):
        self._out = []
        self.buffered = 0
        s = self._sock
        if s is not None:
            self._sock = None
            s.close()


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
