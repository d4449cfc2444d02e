"""The one exception of a protocol machine, and the errno values that the API raises."""

from micropython import const

# Linux's numbers: programs compare with them.
EPERM = const(1)
EINTR = const(4)
EBADF = const(9)
EAGAIN = const(11)
ENOMEM = const(12)
EACCES = const(13)
EEXIST = const(17)
ENODEV = const(19)
EINVAL = const(22)
EPIPE = const(32)
EPROTO = const(71)
EDESTADDRREQ = const(89)
EMSGSIZE = const(90)
ENOPROTOOPT = const(92)
EPROTONOSUPPORT = const(93)
EOPNOTSUPP = const(95)
EAFNOSUPPORT = const(97)
EADDRINUSE = const(98)
EADDRNOTAVAIL = const(99)
ENETDOWN = const(100)
ENETUNREACH = const(101)
ECONNABORTED = const(103)
ECONNRESET = const(104)
ENOBUFS = const(105)
EISCONN = const(106)
ENOTCONN = const(107)
ETIMEDOUT = const(110)
ECONNREFUSED = const(111)
EHOSTUNREACH = const(113)
EALREADY = const(114)
EINPROGRESS = const(115)

# Readiness of an endpoint: Linux's poll bits.
POLLIN = const(1)
POLLOUT = const(4)
POLLERR = const(8)
POLLHUP = const(16)


class ProtocolError(Exception):
    """A peer broke the protocol. `code` is the protocol's own, `reason` says it in words."""

    def __init__(self, code, reason):
        super().__init__(code, reason)
        self.code = code
        self.reason = reason

    def __str__(self):
        return "%s (%s)" % (self.reason, self.code)
