"""The options of level IPPROTO_TCP, by Linux's numbers. Loaded when a program first uses one.

What is set before connect or listen is kept by the socket and done then (`apply`).
"""

from micropython import const

from stack.api import socket as m
from stack.core import errors
from stack.transport.tcp import status
from stack.transport.tcp.congestion import ALGORITHMS

_NOPROTOOPT = const(92)
_ENOENT = const(2)
_US = const(1_000_000)
_MAX_SECONDS = const(32767)  # Linux's MAX_TCP_KEEPIDLE
_MAX_MSS = const(32767)


def set(s, name, value):
    """value: an int, or bytes as C would lay it out; for TCP_CONGESTION a name. OSError."""
    if name == m.TCP_CONGESTION:
        n = value if isinstance(value, str) else bytes(value).split(b"\0")[0].decode()
        if n not in ALGORITHMS:
            raise OSError(_ENOENT)
    else:
        n = value if isinstance(value, int) else int.from_bytes(value[:4], "little")
        least, most = _RANGE.get(name, (1, 0))
        if most == 0:
            raise OSError(_NOPROTOOPT)
        if not least <= n <= most:
            raise OSError(errors.EINVAL)
    if s._tcp is None:
        s._tcp = {}
    s._tcp[name] = n
    e = s._ep
    if e is not None:
        rt = s._rt
        rt.lock()
        try:
            _one(e, name, n, s._listening, rt.now())
        finally:
            rt.unlock()


_RANGE = {
    m.TCP_NODELAY: (-(1 << 31), 1 << 31),
    m.TCP_MAXSEG: (88, _MAX_MSS),
    m.TCP_KEEPIDLE: (1, _MAX_SECONDS),
    m.TCP_KEEPINTVL: (1, _MAX_SECONDS),
    m.TCP_KEEPCNT: (1, 127),
    m.TCP_USER_TIMEOUT: (0, 1 << 31),
    m.TCP_FASTOPEN: (0, 1 << 31),
    m.TCP_FASTOPEN_CONNECT: (0, 1),
}


def apply(s, e):
    """Do to the endpoint what was set on the socket before it had one."""
    for name in s._tcp:
        _one(e, name, s._tcp[name], s._listening, s._rt.now())


def _one(e, name, n, listening, now):
    if listening:
        if name == m.TCP_FASTOPEN:
            e.fastopen = n
        return
    if name == m.TCP_NODELAY:
        e.nodelay = bool(n)
    elif name == m.TCP_KEEPIDLE:
        e.keepidle_us = n * _US
        e.set_keepalive(e.keepalive)
    elif name == m.TCP_KEEPINTVL:
        e.keepintvl_us = n * _US
    elif name == m.TCP_KEEPCNT:
        e.keepcnt = n
    elif name == m.TCP_USER_TIMEOUT:
        status.set_user_timeout(e, n * 1000, now)
    elif name == m.TCP_MAXSEG:
        status.limit_mss(e, n)
    elif name == m.TCP_CONGESTION:
        status.set_congestion(e, n)


def get(s, name):
    """An int; a name for TCP_CONGESTION; for TCP_INFO what net.connections() says of it."""
    e = s._ep
    kept = s._tcp or {}
    connected = e is not None and not s._listening
    if name == m.TCP_INFO:
        if e is None:
            raise OSError(errors.ENOTCONN)
        return e.info()
    if name == m.TCP_CONGESTION:
        return e.cc.name if connected else kept.get(name, s._rt.host.tcp.congestion.name)
    if name == m.TCP_MAXSEG:
        return e.mss if connected else kept.get(name, 536)
    if name in _RANGE:
        default = 0
        if connected:
            if name == m.TCP_KEEPIDLE:
                return e.keepidle_us // _US
            if name == m.TCP_KEEPINTVL:
                return e.keepintvl_us // _US
            if name == m.TCP_KEEPCNT:
                return e.keepcnt
        elif name in _KEEP_DEFAULT:
            default = _KEEP_DEFAULT[name]
        n = kept.get(name, default)
        return int(n != 0) if name == m.TCP_NODELAY else n
    raise OSError(_NOPROTOOPT)


_KEEP_DEFAULT = {m.TCP_KEEPIDLE: 7200, m.TCP_KEEPINTVL: 75, m.TCP_KEEPCNT: 9}


def linger(s):
    """SO_LINGER with a time: wait until all that was sent is acknowledged; else close resets."""
    e = s._ep
    rt = s._rt
    rt.lock()
    try:
        now = rt.now()
        e.shutdown(now)
        rt.kick(now)
    finally:
        rt.unlock()
    until = now + s._linger * _US
    while not e.said_all() and not e.error and rt.now() < until:
        rt.wait(until)
    if not e.said_all():
        s._linger = 0
