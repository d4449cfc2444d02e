"""socket: MicroPython's `socket` on the host's TCP, UDP and raw IP, IPv4 and IPv6.

A socket is a stream: C code (json.load, deflate.DeflateIO, print) reads and writes
it. Calls block, time out (ETIMEDOUT) or return EAGAIN and EINPROGRESS as settimeout
and setblocking say; errors carry Linux's errno. One that is collected without close
is closed. An AF_INET6 socket speaks IPv4 too unless IPV6_V6ONLY is set (RFC 3493, 3.7).
Not implemented: ancillary data; fileno, since a number cannot be polled (as with lwIP's sockets).
"""

from micropython import const

from stack.api import _runtime
from stack.api._address import (
    AF_INET,
    AF_INET6,
    AF_UNSPEC,
    family,
    host_port,
    sockaddr,
    text,
)
from stack.api._names import (  # noqa: F401
    NI_NAMEREQD,
    NI_NUMERICHOST,
    NI_NUMERICSERV,
    getaddrinfo,
    gethostbyname,
    gethostname,
    getnameinfo,
    inet_aton,
    inet_ntoa,
    inet_ntop,
    inet_pton,
)  # fmt: skip
from stack.api._transfer import Transfer
from stack.core import errors
from stack.core.errors import POLLERR, POLLHUP, POLLOUT
from stack.net import addr6

SOCK_STREAM = const(1)
SOCK_DGRAM = const(2)
SOCK_RAW = const(3)

IPPROTO_IP = const(0)
IPPROTO_ICMP = const(1)
IPPROTO_TCP = const(6)
IPPROTO_UDP = const(17)
IPPROTO_IPV6 = const(41)
IPPROTO_ICMPV6 = const(58)

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
TCP_MAXSEG = const(2)
TCP_KEEPIDLE = const(4)
TCP_KEEPINTVL = const(5)
TCP_KEEPCNT = const(6)
TCP_INFO = const(11)
TCP_CONGESTION = const(13)
TCP_USER_TIMEOUT = const(18)
TCP_FASTOPEN = const(23)
TCP_FASTOPEN_CONNECT = const(30)

IP_TOS = const(1)
IP_TTL = const(2)
IP_RECVERR = const(11)
IP_MULTICAST_IF = const(32)
IP_MULTICAST_TTL = const(33)
IP_MULTICAST_LOOP = const(34)
IP_ADD_MEMBERSHIP = const(35)
IP_DROP_MEMBERSHIP = const(36)

IPV6_UNICAST_HOPS = const(16)
IPV6_MULTICAST_IF = const(17)
IPV6_MULTICAST_HOPS = const(18)
IPV6_MULTICAST_LOOP = const(19)
IPV6_JOIN_GROUP = const(20)
IPV6_LEAVE_GROUP = const(21)
IPV6_RECVERR = const(25)
IPV6_V6ONLY = const(26)
IPV6_TCLASS = const(67)

INADDR_ANY = const(0)

MSG_PEEK = const(2)
MSG_DONTWAIT = const(64)
SHUT_RD = const(0)
SHUT_WR = const(1)
SHUT_RDWR = const(2)
SOMAXCONN = const(128)

_BACKLOG_MIN = const(64)


class socket(Transfer):
    def __init__(self, af=AF_UNSPEC, type=SOCK_STREAM, proto=0, *, endpoint=None):
        """Without a family it is of AF_INET, until it is given an IPv6 address to begin with."""
        if af not in (AF_UNSPEC, AF_INET, AF_INET6):
            raise OSError(errors.EAFNOSUPPORT)
        if type == SOCK_RAW and proto:
            self._proto = proto
        elif type not in (SOCK_STREAM, SOCK_DGRAM):
            raise OSError(errors.EPROTONOSUPPORT)
        # MicroPython's documented default for proto is IPPROTO_TCP, whatever the type.
        elif proto not in (0, IPPROTO_TCP) and (type, proto) != (SOCK_DGRAM, IPPROTO_UDP):
            raise OSError(errors.EPROTONOSUPPORT)
        if af == AF_INET6:
            self._af = af
        elif af == AF_UNSPEC:
            self._open_family = True
        self._rt = _runtime.current()
        self._type = type
        if endpoint is not None:
            self._set_endpoint(endpoint)
        elif type == SOCK_RAW:
            # As Linux: it hears its protocol from now on.
            self._open_datagrams()

    def __repr__(self):
        where = "closed" if self._closed else self._describe()
        return "<socket %s %s>" % (_TYPES[self._type], where)

    def _describe(self):
        e = self._ep
        if e is None:
            return "unbound" if self._bound is None else "bound"
        path = getattr(e, "path", None)
        text = _end(e.local_addr, e.local_port, path)
        if self._listening:
            return text + " listening"
        if getattr(e, "remote_port", 0):
            text += " to " + _end(e.remote_addr, e.remote_port, path)
        return text

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()

    # Addresses and connections.

    def bind(self, address):
        self._check_open()
        if self._bound is not None or (self._ep is not None and self._type != SOCK_RAW):
            raise OSError(errors.EINVAL)
        where = host_port(address, AF_UNSPEC if self._open_family else self._af)
        if self._type == SOCK_RAW:
            self._rt.host.rawip.bind(self._ep, where[0])
            self._bound = where
            return
        if self._open_family:
            self._af = family(where[0])
        if self._type != SOCK_STREAM:
            self._open_datagrams(where[0], where[1])
        elif where[0] not in (0, addr6.ANY) and self._rt.host.ip.path(where[0]) is None:
            raise OSError(errors.EADDRNOTAVAIL)
        self._bound = where
        self._open_family = False

    def _any(self):
        return addr6.ANY if self._af == AF_INET6 else 0

    def _open_datagrams(self, address=-1, port=0):
        rt = self._rt
        if address < 0:
            address = self._any()
        rt.lock()
        try:
            if self._type == SOCK_RAW:
                e = rt.host.rawip.open(address, self._proto)
            else:
                dual = not self._v6only
                e = rt.host.udp.open(address, port, rt.now(), reuse=self._reuse, dual=dual)
                e.broadcast = self._broadcast
            if self._multicast is not None:
                self._multicast.apply(e)
            if self._marks is not None:
                self._apply(e)
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
        address, port = self._bound or (self._any(), 0)
        rt = self._rt
        rt.lock()
        try:
            # asyncio's default of 5 would drop SYNs, a second each, as soon as ten clients come.
            n = max(_BACKLOG_MIN, backlog)
            e = rt.host.tcp.listen(
                address, port, n, rt.now(), reuse=self._reuse, dual=not self._v6only
            )
            self._listening = True
            self._set_endpoint(e)
            self._apply(e)
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
                    s = socket(self._af, SOCK_STREAM, 0, endpoint=conn)
                    if self._tcp is not None:
                        s._tcp = dict(self._tcp)
                        s._apply(conn)
                    if self._marks is not None:
                        s._marks = self._marks.copy()
                    return s, sockaddr(conn.remote_addr, conn.remote_port, self._af, conn.path)
            finally:
                rt.unlock()
            deadline = self._wait(deadline)

    def connect(self, address):
        self._check_open()
        if self._type == SOCK_STREAM and self._ep is not None:
            self._connect_again()
            return
        where = self._where(address)
        if self._type != SOCK_STREAM:
            e = self._ep or self._open_datagrams()
            e.connect(where[0], where[1])
            return
        rt = self._rt
        local = self._bound or (0, 0)
        rt.lock()
        try:
            now = rt.now()
            fast = self._tcp is not None and self._tcp.get(TCP_FASTOPEN_CONNECT, 0)
            e = rt.host.tcp.connect(where[0], where[1], now, local[0], local[1], bool(fast))
            self._set_endpoint(e)
            self._apply(e)
            if self._keepalive:
                e.set_keepalive(True)
            rt.kick(now)
        finally:
            rt.unlock()
        self._finish_connect()

    def _apply(self, e):
        """What was set by setsockopt before there was an endpoint."""
        if self._tcp is not None:
            from stack.api import _tcp_options

            _tcp_options.apply(self, e)
        if self._marks is not None:
            from stack.api import _marks

            _marks.apply(self, e)

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
            a, port = self._bound or (self._any(), 0)
            return sockaddr(a, port, self._af)
        local = e.local_addr
        if self._type != SOCK_STREAM and e.low != e.high and e.remote_addr:
            # As Linux: a connected socket tells the address it sends from.
            path = self._rt.host.ip.path(e.remote_addr)
            local = path.src if path is not None else 0
        return sockaddr(local, e.local_port, self._af, getattr(e, "path", None))

    def getpeername(self):
        e = self._endpoint()
        if not getattr(e, "remote_port", 0):
            raise OSError(errors.ENOTCONN)
        path = e.path if self._type == SOCK_STREAM else e._path
        return sockaddr(e.remote_addr, e.remote_port, self._af, path)

    def shutdown(self, how):
        e = self._endpoint()
        if self._type != SOCK_STREAM:
            return
        if how != SHUT_WR:
            self._read_shut = True
            self._conn = None
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
        if self._linger > 0 and self._timeout_us and self._type == SOCK_STREAM:
            if self._ep is not None and not self._listening:
                from stack.api import _tcp_options

                _tcp_options.linger(self)
        self._closed = True
        e = self._ep
        if e is None:
            if self._waker is not None:
                self._follow()
                self._waker.wake(None)
            return
        rt = self._rt
        rt.lock()
        try:
            now = rt.now()
            e.waker = None
            if self._groups:
                from stack.api import _multicast

                _multicast.leave_all(self)
            if self._type != SOCK_STREAM:
                e.close()
            elif self._linger == 0 and not self._listening:
                e.abort(now)
            else:
                e.close(now)
            self._ep = self._conn = None
            rt.guards.give_back(self._slot, self._guard)
            self._guard = None
            if self._waker is not None:
                self._follow()
                self._waker.wake(None)
            rt.kick(now)
        finally:
            rt.unlock()

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


_TYPES = (None, "tcp", "udp", "raw")


def _end(a, port, path):
    host = text(a, path)
    return "[%s]:%d" % (host, port) if ":" in host else "%s:%d" % (host, port)


def create_connection(address, timeout=None):
    """A socket connected to (host, port): the first address that answers (RFC 8305)."""
    from stack.api import _connect

    rt = _runtime.current()
    e = rt.run(_connect.steps(rt, address[0], address[1], _connect.deadline_of(rt, timeout)))
    s = socket(family(e.remote_addr), SOCK_STREAM, 0, endpoint=e)
    s.settimeout(timeout)
    return s
