"""socket: MicroPython's `socket` on the host's TCP and UDP, IPv4.

A socket is a stream: C code (json.load, deflate.DeflateIO, print) reads and writes
it. Calls block, time out (ETIMEDOUT) or return EAGAIN and EINPROGRESS as settimeout
and setblocking say; errors carry Linux's errno. One that is collected without close
is closed. Not implemented: IPv6 (AF_INET6 is refused), SOCK_RAW, ancillary data.
"""

from micropython import const

from stack.api import _runtime
from stack.api._address import AF_INET, AF_INET6, host_port, sockaddr  # noqa: F401
from stack.api._names import (  # noqa: F401
    getaddrinfo,
    gethostbyname,
    gethostname,
    inet_aton,
    inet_ntoa,
    inet_ntop,
    inet_pton,
)  # fmt: skip
from stack.api._pollable import Pollable
from stack.core import errors
from stack.core.errors import POLLERR, POLLHUP, POLLOUT
from stack.net import addr

SOCK_STREAM = const(1)
SOCK_DGRAM = const(2)
SOCK_RAW = const(3)

IPPROTO_IP = const(0)
IPPROTO_ICMP = const(1)
IPPROTO_TCP = const(6)
IPPROTO_UDP = const(17)
IPPROTO_IPV6 = const(41)

SOL_SOCKET = const(1)
SO_REUSEADDR = const(2)
SO_TYPE = const(3)
SO_ERROR = const(4)
SO_BROADCAST = const(6)
SO_SNDBUF = const(7)
SO_RCVBUF = const(8)
SO_KEEPALIVE = const(9)
SO_LINGER = const(13)
SO_REUSEPORT = const(15)
SO_RCVTIMEO = const(20)
SO_SNDTIMEO = const(21)
SO_BINDTODEVICE = const(25)

TCP_NODELAY = const(1)
TCP_KEEPIDLE = const(4)
TCP_KEEPINTVL = const(5)
TCP_KEEPCNT = const(6)
TCP_INFO = const(11)

IP_TOS = const(1)
IP_TTL = const(2)
IP_MULTICAST_IF = const(32)
IP_MULTICAST_TTL = const(33)
IP_MULTICAST_LOOP = const(34)
IP_ADD_MEMBERSHIP = const(35)
IP_DROP_MEMBERSHIP = const(36)

MSG_PEEK = const(2)
MSG_DONTWAIT = const(64)
SHUT_RD = const(0)
SHUT_WR = const(1)
SHUT_RDWR = const(2)
SOMAXCONN = const(128)

_PIECE = const(4096)
_BACKLOG_MIN = const(64)


class socket(Pollable):
    def __init__(self, af=AF_INET, type=SOCK_STREAM, proto=0, *, endpoint=None):
        if af != AF_INET:
            raise OSError(errors.EAFNOSUPPORT)
        if type not in (SOCK_STREAM, SOCK_DGRAM):
            raise OSError(errors.EPROTONOSUPPORT)
        # MicroPython's documented default for proto is IPPROTO_TCP, whatever the type.
        if proto not in (0, IPPROTO_TCP) and (type, proto) != (SOCK_DGRAM, IPPROTO_UDP):
            raise OSError(errors.EPROTONOSUPPORT)
        self._rt = _runtime.current()
        self._type = type
        if endpoint is not None:
            self._set_endpoint(endpoint)

    def __repr__(self):
        where = "closed" if self._closed else self._describe()
        return "<socket %s %s>" % ("tcp" if self._type == SOCK_STREAM else "udp", where)

    def _describe(self):
        e = self._ep
        if e is None:
            return "unbound" if self._bound is None else "bound"
        text = "%s:%d" % sockaddr(e.local_addr, e.local_port)
        if self._listening:
            return text + " listening"
        if getattr(e, "remote_port", 0):
            text += " to %s:%d" % sockaddr(e.remote_addr, e.remote_port)
        return text

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()

    # Addresses and connections.

    def bind(self, address):
        self._check_open()
        if self._bound is not None or self._ep is not None:
            raise OSError(errors.EINVAL)
        where = host_port(address)
        if self._type == SOCK_DGRAM:
            self._open_udp(where[0], where[1])
        elif where[0] and self._rt.host.ip.path(where[0]) is None:
            raise OSError(errors.EADDRNOTAVAIL)
        self._bound = where

    def _open_udp(self, address, port):
        rt = self._rt
        rt.lock()
        try:
            e = rt.host.udp.open(address, port, rt.now(), reuse=self._reuse)
            e.broadcast = self._broadcast
            self._set_endpoint(e)
        finally:
            rt.unlock()
        return e

    def listen(self, backlog=SOMAXCONN):
        self._check_open()
        if self._type != SOCK_STREAM:
            raise OSError(errors.EOPNOTSUPP)
        if self._listening:
            return
        if self._ep is not None:
            raise OSError(errors.EINVAL)
        address, port = self._bound or (0, 0)
        rt = self._rt
        rt.lock()
        try:
            # asyncio's default of 5 would drop SYNs, a second each, as soon as ten clients come.
            n = max(_BACKLOG_MIN, backlog)
            e = rt.host.tcp.listen(address, port, n, rt.now(), reuse=self._reuse)
            self._listening = True
            self._set_endpoint(e)
        finally:
            rt.unlock()

    def accept(self):
        """(socket, (address, port)) of the next connection."""
        self._check_open()
        if not self._listening:
            raise OSError(errors.EINVAL)
        rt = self._rt
        deadline = 0
        while True:
            rt.lock()
            try:
                conn = self._ep.accept()
                if conn is not None:
                    s = socket(AF_INET, SOCK_STREAM, 0, endpoint=conn)
                    return s, sockaddr(conn.remote_addr, conn.remote_port)
            finally:
                rt.unlock()
            deadline = self._wait(deadline)

    def connect(self, address):
        self._check_open()
        where = host_port(address)
        if self._type == SOCK_DGRAM:
            e = self._ep or self._open_udp(0, 0)
            e.connect(where[0] or addr.LOOPBACK, where[1])
            return
        if self._ep is not None:
            self._connect_again()
            return
        rt = self._rt
        local = self._bound or (0, 0)
        rt.lock()
        try:
            now = rt.now()
            e = rt.host.tcp.connect(where[0] or addr.LOOPBACK, where[1], now, local[0], local[1])
            self._set_endpoint(e)
            if self._nodelay:
                e.nodelay = True
            if self._keepalive:
                e.keepalive = True
            rt.kick(now)
        finally:
            rt.unlock()
        self._finish_connect()

    def _finish_connect(self):
        e = self._ep
        deadline = 0
        while True:
            self._rt.lock()
            ready = e.events() & (POLLOUT | POLLERR | POLLHUP)
            self._rt.unlock()
            if ready:
                if e.error:
                    raise OSError(e.error)
                return
            if self._timeout_us == 0:
                raise OSError(errors.EINPROGRESS)
            deadline = self._wait(deadline)

    def _connect_again(self):
        """connect on a socket that was given one before: how did it go?"""
        if self._listening:
            raise OSError(errors.EISCONN)
        e = self._ep
        if e.error:
            raise OSError(e.error)
        if e.events() & (POLLOUT | POLLHUP):
            raise OSError(errors.EISCONN)
        if self._timeout_us == 0:
            raise OSError(errors.EALREADY)
        self._finish_connect()

    def connect_ex(self, address):
        """As connect, but returns the errno."""
        try:
            self.connect(address)
        except OSError as e:
            return e.args[0]
        return 0

    def getsockname(self):
        self._check_open()
        e = self._ep
        if e is None:
            return sockaddr(*(self._bound or (0, 0)))
        local = e.local_addr
        if not local and self._type == SOCK_DGRAM and e.remote_addr:
            # As Linux: a connected socket tells the address it sends from.
            path = self._rt.host.ip.path(e.remote_addr)
            local = path.src if path is not None else 0
        return sockaddr(local, e.local_port)

    def getpeername(self):
        e = self._endpoint()
        if not getattr(e, "remote_port", 0):
            raise OSError(errors.ENOTCONN)
        return sockaddr(e.remote_addr, e.remote_port)

    def shutdown(self, how):
        e = self._endpoint()
        if self._type == SOCK_DGRAM:
            return
        if how != SHUT_WR:
            self._read_shut = True
        if how != SHUT_RD:
            rt = self._rt
            rt.lock()
            try:
                now = rt.now()
                e.shutdown(now)
                rt.kick(now)
            finally:
                rt.unlock()

    def close(self):
        if self._closed:
            return
        self._closed = True
        e = self._ep
        if e is None:
            return
        rt = self._rt
        rt.lock()
        try:
            now = rt.now()
            e.waker = None
            if self._groups:
                from stack.api import _options

                _options.leave_all(self)
            if self._type == SOCK_DGRAM:
                e.close()
            elif self._linger == 0 and not self._listening:
                e.abort(now)
            else:
                e.close(now)
            self._ep = None
            rt.guards.give_back(self._slot, self._guard)
            self._guard = None
            if self._waker is not None:
                self._waker.wake(None)
            rt.kick(now)
        finally:
            rt.unlock()

    def fileno(self):
        self._check_open()
        return self._slot

    # Receiving.

    def _take(self, buf, off, n):
        """Bytes received to buf[off:] now, 0 at the end, -1 when there are none yet."""
        rt = self._rt
        rt.lock()
        try:
            e = self._ep
            if e is None or self._listening:
                e = self._endpoint()
            if self._type == SOCK_DGRAM:
                return e.recv_into(buf, off, n)
            if self._read_shut:
                return 0
            now = rt.now()
            got = e.recv_into(buf, off, n, now)
            if got:
                if e.ready:  # the window has opened enough to tell the peer
                    rt.kick(now)
                return got
            if e.eof:
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
        e = self._ep or self._open_udp(0, 0)
        deadline = 0
        while True:
            rt.lock()
            try:
                got = self._take(rt.scratch, 0, min(bufsize, len(rt.scratch)))
                if got >= 0:
                    return bytes(rt.scratch_view[:got]), sockaddr(e.peer_addr, e.peer_port)
            finally:
                rt.unlock()
            deadline = self._wait(deadline)

    def recvfrom_into(self, buf, nbytes=0, flags=0):
        """(count, (address, port))."""
        n = self.recv_into(buf, nbytes)
        if self._type == SOCK_STREAM:
            return n, self.getpeername()
        return n, sockaddr(self._ep.peer_addr, self._ep.peer_port)

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
                if self._type == SOCK_DGRAM:
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
        if size <= _PIECE or self._type == SOCK_DGRAM:
            buf = bytearray(size)
        else:
            # Non-blocking callers ask for much and get what is there.
            e = self._endpoint()
            buf = bytearray(min(size, max(e.recv_len, 1)) if self._timeout_us == 0 else size)
        got = self._fill(buf, len(buf))
        if got is None:
            return None
        return bytes(buf) if got == len(buf) else bytes(memoryview(buf)[:got])

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
        deadline = 0
        most = len(rt.scratch)
        while size < 0 or len(line) < size:
            n = min(most, 512) if size < 0 else min(most, size - len(line))
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
                if self._type == SOCK_DGRAM and not self._closed:
                    raise OSError(errors.EDESTADDRREQ)
                e = self._endpoint()
            now = rt.now()
            if self._type == SOCK_DGRAM:
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

    def write(self, data, off=0, size=-1):
        """Send all of data. Non-blocking: what there is room for, None for nothing."""
        data = _buffer(data)
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
        where = host_port(flags_and_address[-1])
        e = self._ep or self._open_udp(0, 0)
        rt = self._rt
        n = len(data)
        deadline = 0
        while True:
            rt.lock()
            try:
                now = rt.now()
                sent = e.send_to(data, 0, n, where[0] or addr.LOOPBACK, where[1], now)
                if sent >= 0:
                    rt.kick(now)
                    return sent
            finally:
                rt.unlock()
            deadline = self._wait(deadline)

    # Options, and the file-like rest.

    def setsockopt(self, level, optname, value):
        self._check_open()
        from stack.api import _options

        _options.set(self, level, optname, value)

    def getsockopt(self, level, optname, buflen=0):
        self._check_open()
        from stack.api import _options

        return _options.get(self, level, optname)

    def makefile(self, mode="rb", buffering=0):
        """The socket itself, which is a stream already."""
        return self

    def flush(self):
        pass


def _buffer(data):
    """What the stack copies from: text becomes bytes."""
    if isinstance(data, (bytes, bytearray, memoryview)):
        return data
    return data.encode() if isinstance(data, str) else bytes(memoryview(data))


def create_connection(address, timeout=None):
    """A socket connected to (host, port)."""
    s = socket()
    s.settimeout(timeout)
    try:
        s.connect(getaddrinfo(address[0], address[1], AF_INET, SOCK_STREAM)[0][-1])
    except OSError:
        s.close()
        raise
    return s
