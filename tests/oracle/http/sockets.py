"""CPython's sockets as the transport of stack/http/client.py, blocking and, in turns, not."""

import os
import select
import socket
import ssl
import time

from stack.http import tunnel
from stack.http.client import Session

NEVER = 1 << 62


class Stream:
    alpn = None

    def __init__(self, sock):
        self.sock = sock
        sock.setblocking(False)

    def tls(self, context, host):
        self.sock.setblocking(True)
        self.sock = context.wrap_socket(self.sock, server_hostname=host)
        self.sock.setblocking(False)
        self.alpn = self.sock.selected_alpn_protocol()

    def put(self, data, off, n):
        if not n:
            return 0
        try:
            return self.sock.send(memoryview(data)[off : off + n])
        except (BlockingIOError, ssl.SSLWantWriteError, ssl.SSLWantReadError):
            return 0

    def take(self, buf, off, n):
        try:
            return self.sock.recv_into(memoryview(buf)[off : off + n])
        except (BlockingIOError, ssl.SSLWantReadError):
            return -1
        except ssl.SSLZeroReturnError:
            return 0

    def send_until(self, data, deadline):
        assert time.monotonic_ns() // 1000 < deadline
        at = 0
        while at < len(data):
            n = self.put(data, at, len(data) - at)
            at += n
            if not n:
                yield self, True, deadline

    def recv_until(self, buf, off, n, deadline):
        while (got := self.take(buf, off, n)) < 0:
            yield self, False, deadline
        return got

    def wait(self, write, deadline):
        yield self, write, deadline

    def close(self):
        self.sock.close()


class Signal:
    def __init__(self):
        self.is_set = False

    def set(self):
        self.is_set = True


class Transport:
    NEVER = NEVER

    def __init__(self, roots=None):
        self.roots = roots
        self.made = 0

    def now(self):
        return time.monotonic_ns() // 1000

    def unix(self):
        return int(time.time())

    rng = staticmethod(os.urandom)
    signal = Signal

    def wait_signal(self, signal, deadline):
        while not signal.is_set:
            yield signal, False, deadline

    def call_at(self, at, function):
        pass

    def connect(self, way, deadline):
        end = way.proxy or way
        self.made += 1
        stream = Stream(socket.create_connection((end.host, end.port), 20))
        if way.proxy and way.tunnel:
            yield from tunnel.open(stream, way, way.proxy, deadline)
        if way.scheme == "https":
            context = ssl.create_default_context(cafile=self.roots)
            context.set_alpn_protocols(["h2", "http/1.1"] if way.may_h2 else ["http/1.1"])
            stream.tls(context, way.host)
        return stream
        yield


def run(steps):
    """Finish one."""
    try:
        while True:
            what, write, deadline = steps.send(None)
            wait([what], [what] if write else [], deadline)
    except StopIteration as e:
        return e.value
    finally:
        steps.close()


def run_all(many):
    """Finish several, in turns: what asyncio does in the image. Their values."""
    values = [None] * len(many)
    waiting = {i: None for i in range(len(many))}
    while waiting:
        moved = False
        for i in list(waiting):
            what = waiting[i]
            if isinstance(what, Signal) and not what.is_set:
                continue
            if isinstance(what, Stream) and not ready(what):
                continue
            moved = True
            try:
                waiting[i] = many[i].send(None)[0]
            except StopIteration as e:
                values[i] = e.value
                del waiting[i]
        if not moved:
            streams = [w for w in waiting.values() if isinstance(w, Stream)]
            assert streams, "everybody waits for somebody"
            wait(streams, [], NEVER)
    return values


def ready(stream):
    if getattr(stream.sock, "pending", int)():
        return True
    return any(select.select([stream.sock], [stream.sock], [], 0))


def wait(streams, writers, deadline):
    left = min(20, max(0, (deadline - time.monotonic_ns() // 1000) / 1e6))
    if any(getattr(s.sock, "pending", int)() for s in streams):
        return
    select.select([s.sock for s in streams], [s.sock for s in writers], [], left)


def session(roots=None, **options):
    return Session(Transport(roots), run, **options)


def fetch(s, where, method="GET", **options):
    return run(s.request(method, where, **options))
