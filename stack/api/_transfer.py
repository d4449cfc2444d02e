"""What of a socket moves bytes: receiving, reading as a stream, sending."""

from micropython import const

from stack.api._address import family, host_port, sockaddr
from stack.api._pollable import Pollable
from stack.core import errors
from stack.core.errors import POLLHUP
from stack.net import addr, addr6
from stack.net.addr6 import V6

SOCK_STREAM = const(1)
SOCK_DGRAM = const(2)
AF_UNSPEC = const(0)
AF_INET = const(2)
AF_INET6 = const(10)

_PIECE = const(4096)
_LINE = const(512)


class Transfer(Pollable):
    _af = AF_INET
    _open_family = False  # socket() without one: the first address says which
    _v6only = False

    # Addresses.

    def _where(self, address):
        """(int, port) to send or connect to; any address means ourselves, as on Linux.

        A socket() that was made without a family takes that of the first address.
        """
        a, port = host_port(address, AF_UNSPEC if self._open_family else self._af)
        if self._open_family and self._ep is None and self._bound is None:
            self._af = family(a)
            self._open_family = False
        elif self._af == AF_INET and a >= V6:
            raise OSError(errors.EAFNOSUPPORT)
        if self._af == AF_INET6 and a < V6 and self._v6only:
            raise OSError(errors.ENETUNREACH)
        if not a:
            a = addr.LOOPBACK
        elif a == addr6.ANY:
            a = self._rt.host.ip6.addresses.handle(addr6.LOOPBACK)
        return a, port

    # Receiving.

    def _take(self, buf, off, n):
        """Bytes received to buf[off:] now, 0 at the end, -1 when there are none yet."""
        rt = self._rt
        rt.lock()
        try:
            e = self._ep
            if e is None or self._listening:
                e = self._endpoint()
            if self._type != SOCK_STREAM:
                return e.recv_into(buf, off, n)
            if self._read_shut:
                return 0
            now = rt.now()
            got = e.recv_into(buf, off, n, now)
            if got:
                if e.ready:  # the window has opened enough to tell the peer
                    rt.kick(now)
                return got
            if e.eof():
                return 0
            if e.error:
                raise OSError(e.error)
            return -1 if n and not e.events() & POLLHUP else 0
        finally:
            rt.unlock()

    def recv_into(self, buf, nbytes=0, flags=0):
        """Receive to buf, at most nbytes if that is given; how many came. Allocates nothing."""
        n = len(buf)
        if 0 < nbytes < n:
            n = nbytes
        deadline = 0
        while True:
            got = self._take(buf, 0, n)
            if got >= 0:
                return got
            deadline = self._wait(deadline)

    def recv(self, bufsize, flags=0):
        """bytes, at most bufsize; b"" when the peer has ended."""
        rt = self._rt
        n = min(bufsize, len(rt.scratch))
        deadline = 0
        while True:
            rt.lock()
            try:
                got = self._take(rt.scratch, 0, n)
                if got >= 0:
                    return bytes(rt.scratch_view[:got])
            finally:
                rt.unlock()
            deadline = self._wait(deadline)

    def recvfrom(self, bufsize, flags=0):
        """(bytes, (address, port))."""
        if self._type == SOCK_STREAM:
            return self.recv(bufsize), self.getpeername()
        rt = self._rt
        e = self._ep or self._open_datagrams()
        deadline = 0
        while True:
            rt.lock()
            try:
                got = self._take(rt.scratch, 0, min(bufsize, len(rt.scratch)))
                if got >= 0:
                    return bytes(rt.scratch_view[:got]), self._peer(e)
            finally:
                rt.unlock()
            deadline = self._wait(deadline)

    def recvfrom_into(self, buf, nbytes=0, flags=0):
        """(count, (address, port))."""
        n = self.recv_into(buf, nbytes)
        if self._type == SOCK_STREAM:
            return n, self.getpeername()
        return n, self._peer(self._ep)

    def _peer(self, e):
        return sockaddr(e.peer_addr, e.peer_port, self._af)

    # Reading as a stream: no short reads, None where it would have to wait.

    def readinto(self, buf, nbytes=-1):
        """Fill buf; fewer bytes only at the end. None if it would block with none read."""
        n = len(buf)
        if 0 <= nbytes < n:
            n = nbytes
        return self._fill(buf, n)

    def _fill(self, buf, n):
        got = 0
        deadline = 0
        while got < n:
            k = self._take(buf, got, n - got)
            if k > 0:
                got += k
                if self._type != SOCK_STREAM:
                    break
                deadline = 0
            elif k == 0:
                break
            elif self._timeout_us == 0:
                return got or None
            else:
                deadline = self._wait(deadline)
        return got

    def read(self, size=-1):
        """size bytes, fewer only at the end; without size all until the end."""
        if size is None or size < 0:
            return self._read_all()
        rt = self._rt
        if self._timeout_us == 0 and size <= rt.scratch_len:
            e = self._conn
            if e is not None:
                # The way of asyncio's streams, as short as it goes.
                rt.lock()
                try:
                    now = rt.now()
                    got = e.recv_into(rt.scratch, 0, size, now)
                    if got:
                        if e.ready:  # the window has opened enough to tell the peer
                            rt.kick(now)
                        return bytes(rt.scratch_view[:got])
                finally:
                    rt.unlock()
            if self._type == SOCK_STREAM:
                return self._read_now(size)
        if size <= _PIECE or self._type != SOCK_STREAM:
            buf = bytearray(size)
        else:
            # Non-blocking callers ask for much and get what is there.
            e = self._endpoint()
            buf = bytearray(min(size, max(e.recv_len(), 1)) if self._timeout_us == 0 else size)
        got = self._fill(buf, len(buf))
        if got is None:
            return None
        return bytes(buf) if got == len(buf) else bytes(memoryview(buf)[:got])

    def _read_now(self, size):
        """What is there, by way of the shared buffer: bytes; None if nothing is."""
        rt = self._rt
        rt.lock()
        try:
            got = self._take(rt.scratch, 0, size)
            return bytes(rt.scratch_view[:got]) if got >= 0 else None
        finally:
            rt.unlock()

    def _read_all(self):
        pieces = []
        while True:
            buf = bytearray(_PIECE)
            got = self._fill(buf, _PIECE)
            if not got:
                break
            pieces.append(buf if got == _PIECE else bytes(memoryview(buf)[:got]))
            if got < _PIECE:
                break
        if got is None and not pieces:
            return None
        return b"".join(pieces)

    def readline(self, size=-1):
        """A line with its newline; what there is at the end, or when it would block."""
        rt = self._rt
        line = b""
        if size < 0 and self._conn is not None:
            line = self._line_now(self._conn)
            if line[-1:] == b"\n":
                return line
        deadline = 0
        most = len(rt.scratch)
        while size < 0 or len(line) < size:
            n = min(most, _LINE) if size < 0 else min(most, size - len(line))
            rt.lock()
            try:
                got = self._take_line(rt.scratch, n)
                if got > 0:
                    line += bytes(rt.scratch_view[:got])
            finally:
                rt.unlock()
            if got == 0 or (got > 0 and line[-1] == 10):
                break
            if got < 0:
                if self._timeout_us == 0:
                    return line or None
                deadline = self._wait(deadline)
            else:
                deadline = 0
        return line

    def _line_now(self, e):
        """What is there of a line, up to 512 bytes."""
        rt = self._rt
        rt.lock()
        try:
            ring = e.rcv
            head = ring.head
            n = ring.tail - head
            if not n:
                return b""
            if n > _LINE:
                n = _LINE
            buf = rt.scratch
            ring.peek(head, buf, 0, n)
            end = buf.find(b"\n", 0, n) + 1
            now = rt.now()
            n = e.recv_into(buf, 0, end or n, now)
            if e.ready:
                rt.kick(now)
            return bytes(rt.scratch_view[:n])
        finally:
            rt.unlock()

    def _take_line(self, buf, n):
        """As _take, but not beyond a newline."""
        e = self._endpoint()
        if self._type == SOCK_STREAM:
            ring = e.rcv
            n = min(n, ring.tail - ring.head)
            if n:
                ring.peek(ring.head, buf, 0, n)
                end = buf.find(b"\n", 0, n)
                if end >= 0:
                    n = end + 1
            # With nothing there, _take says whether it is the end.
            n = n or 1
        return self._take(buf, 0, n)

    def readlines(self):
        return list(self)

    def __iter__(self):
        return self

    def __next__(self):
        line = self.readline()
        if not line:
            raise StopIteration
        return line

    # Sending.

    def _put(self, data, off, n):
        """Bytes taken by the stack now, -1 when it has no room."""
        rt = self._rt
        rt.lock()
        try:
            e = self._ep
            if e is None or self._listening:
                if self._type != SOCK_STREAM and not self._closed:
                    raise OSError(errors.EDESTADDRREQ)
                e = self._endpoint()
            now = rt.now()
            if self._type != SOCK_STREAM:
                taken = e.send_to(data, off, n, 0, 0, now)
            else:
                taken = e.send(data, off, n, now) or -1
            if taken >= 0:
                rt.kick(now)
            return taken
        finally:
            rt.unlock()

    def send(self, data, flags=0):
        """Send what there is room for; how many bytes were taken."""
        data = _buffer(data)
        n = len(data)
        if not n and self._type == SOCK_STREAM:
            return 0
        deadline = 0
        while True:
            taken = self._put(data, 0, n)
            if taken >= 0:
                return taken
            deadline = self._wait(deadline)

    def write(self, data, size=-1, length=-1):
        """Send all of data. Non-blocking: what there is room for, None for nothing.

        As a stream of MicroPython: write(data), write(data, size), write(data, offset, size).
        """
        e = self._conn
        if e is not None and size < 0 and data and isinstance(data, bytes):
            n = len(data)
            rt = self._rt
            rt.lock()
            try:
                now = rt.now()
                taken = e.send(data, 0, n, now)
                if taken:
                    rt.kick(now)
            finally:
                rt.unlock()
            if taken == n:
                return n
            if taken:
                return taken + (self.write(data, taken, n - taken) or 0)
        data = _buffer(data)
        off = 0
        if length >= 0:
            off, size = size, length
        end = len(data) if size < 0 else min(len(data), off + size)
        start = off
        deadline = 0
        while off < end:
            taken = self._put(data, off, end - off)
            if taken >= 0:
                off += taken
                deadline = 0
            elif self._timeout_us == 0:
                return off - start or None
            else:
                deadline = self._wait(deadline)
        return off - start

    def sendall(self, data, flags=0):
        """Send all of data, or raise."""
        if self.write(data) != len(_buffer(data)):
            raise OSError(errors.EAGAIN)

    def sendto(self, data, *flags_and_address):
        """sendto(data, [flags,] address); how many bytes were sent."""
        data = _buffer(data)
        if self._type == SOCK_STREAM:
            return self.send(data)
        self._check_open()
        where = self._where(flags_and_address[-1])
        e = self._ep or self._open_datagrams()
        rt = self._rt
        n = len(data)
        deadline = 0
        while True:
            rt.lock()
            try:
                now = rt.now()
                sent = e.send_to(data, 0, n, where[0], where[1], now)
                if sent >= 0:
                    rt.kick(now)
                    return sent
            finally:
                rt.unlock()
            deadline = self._wait(deadline)


def _buffer(data):
    """What the stack copies from: text becomes bytes."""
    if isinstance(data, (bytes, bytearray, memoryview)):
        return data
    return data.encode() if isinstance(data, str) else bytes(memoryview(data))
