"""A TCP connection for the library's own use (DNS, HTTP): operations as steps.

Deadlines are absolute, in us; timeouts in seconds or None. A stream is also what
stack/http/client.py calls one.
"""

from stack.core import errors
from stack.core.errors import POLLERR, POLLHUP, POLLIN, POLLOUT
from stack.core.timers import NEVER


def deadline_of(rt, timeout):
    return NEVER if timeout is None else rt.now() + int(timeout * 1000000)


class TcpStream:
    is_stream = True
    alpn = None  # what TLS has agreed on

    def __init__(self, rt):
        self._rt = rt
        self.endpoint = None
        self._slot = -1
        self._guard = None

    def adopt(self, e):
        """Take over an established connection."""
        self.endpoint = e
        self._slot, self._guard = self._rt.guards.take(e)

    def connect(self, address, port, deadline):
        """Steps: connect to an int address. OSError."""
        rt = self._rt
        rt.lock()
        try:
            now = rt.now()
            self.endpoint = e = rt.host.tcp.connect(address, port, now)
            self._slot, self._guard = rt.guards.take(e)
            rt.kick(now)
        finally:
            rt.unlock()
        done = False
        try:
            while not done:
                rt.lock()
                ready = e.events() & (POLLOUT | POLLERR | POLLHUP)
                rt.unlock()
                if ready:
                    if e.error:
                        raise OSError(e.error)
                    done = True
                elif rt.now() >= deadline:
                    raise OSError(errors.ETIMEDOUT)
                else:
                    yield e, POLLOUT, deadline
        finally:
            if not done:
                self.close()

    def start_tls(self, context, host, deadline):
        """Steps: TLS over the connection, verified to be host's as the ssl.SSLContext says."""
        from stack.api._tls import TlsEndpoint

        rt = self._rt
        done = False
        try:
            rt.lock()
            try:
                e = self.endpoint
                where = "%s:%d" % (e.remote_addr, e.remote_port)
                self.endpoint = e = TlsEndpoint(rt, e, context.machine(False, host, where))
                rt.kick(rt.now())
            finally:
                rt.unlock()
            while not done:
                rt.lock()
                try:
                    done = e.handshake(rt.now())
                finally:
                    rt.unlock()
                if not done:
                    if rt.now() >= deadline:
                        raise OSError(errors.ETIMEDOUT)
                    yield e, POLLIN | POLLOUT, deadline
            alpn = e.machine.alpn
            self.alpn = None if alpn is None else alpn.decode()
        finally:
            if not done:
                self.close()

    def send_until(self, data, deadline):
        """Steps: send all of `data`."""
        rt = self._rt
        sent = 0
        total = len(data)
        while sent < total:
            rt.lock()
            try:
                now = rt.now()
                e = self.endpoint
                n = e.send(data, sent, total - sent, now)
                if n:
                    rt.kick(now)
            finally:
                rt.unlock()
            sent += n
            if sent < total and not n:
                if now >= deadline:
                    raise OSError(errors.ETIMEDOUT)
                yield e, POLLOUT, deadline

    def recv_until(self, buf, off, n, deadline):
        """Steps: receive 1 to n bytes to buf[off:]; 0 when the peer has ended."""
        rt = self._rt
        while True:
            got = self.take(buf, off, n)
            if got >= 0:
                return got
            if rt.now() >= deadline:
                raise OSError(errors.ETIMEDOUT)
            yield self.endpoint, POLLIN, deadline

    def wait(self, write, deadline):
        """Steps: until there is something to read, or with `write` also room to send."""
        yield self.endpoint, POLLIN | POLLOUT if write else POLLIN, deadline

    def put(self, data, off, n):
        """Send what goes at once of data[off : off + n]; how many bytes that is. OSError."""
        rt = self._rt
        if not n:
            return 0
        rt.lock()
        try:
            now = rt.now()
            n = self.endpoint.send(data, off, n, now)
            if n:
                rt.kick(now)
            return n
        finally:
            rt.unlock()

    def take(self, buf, off, n):
        """1 to n bytes to buf[off:], 0 at the end, -1 when there are none now. OSError."""
        rt = self._rt
        rt.lock()
        try:
            now = rt.now()
            e = self.endpoint
            got = e.recv_into(buf, off, n, now)
            if got:
                if e.ready:  # the window has opened enough to tell the peer
                    rt.kick(now)
                return got
            if e.eof():
                return 0
            if e.error:
                raise OSError(e.error)
            return 0 if e.events() & POLLHUP else -1
        finally:
            rt.unlock()

    def receive(self):
        """Bytes that are there now, b"" at the end, None when there are none yet."""
        rt = self._rt
        rt.lock()
        try:
            n = self.take(rt.scratch, 0, min(4096, len(rt.scratch)))
            return None if n < 0 else bytes(rt.scratch_view[:n])
        finally:
            rt.unlock()

    def close(self):
        e = self.endpoint
        if e is None:
            return
        self.endpoint = None
        rt = self._rt
        rt.lock()
        try:
            now = rt.now()
            e.waker = None
            e.close(now)
            rt.guards.give_back(self._slot, self._guard)
            self._guard = None
            rt.kick(now)
        finally:
            rt.unlock()
