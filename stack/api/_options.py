"""setsockopt and getsockopt. Loaded when a program first sets an option."""

from stack.api import socket as m
from stack.core import errors
from stack.core.errors import POLLERR


def set(s, level, name, value):
    """value: an int, or bytes as C would lay it out. OSError(ENOPROTOOPT) for an unknown option."""
    if level in (m.IPPROTO_IP, m.IPPROTO_IPV6):
        from stack.api import _multicast

        if _multicast.set(s, level, name, value):
            return
    if level == m.SOL_SOCKET and name == m.SO_RCVTIMEO and (value is None or callable(value)):
        from stack.api import _notify  # 20 is MicroPython's number for a handler, too

        _notify.set(s, value)
        return
    if level == m.SOL_SOCKET and name == m.SO_LINGER:
        _linger(s, value)
        return
    if level == m.IPPROTO_TCP and s._type == m.SOCK_STREAM:
        from stack.api import _tcp_options

        _tcp_options.set(s, name, value)
        return
    n = value if isinstance(value, int) else int.from_bytes(value[:4], "little")
    if level in (m.IPPROTO_IP, m.IPPROTO_IPV6):
        from stack.api import _marks

        if _marks.set(s, level, name, n):
            return
    if level == m.SOL_SOCKET:
        if name == m.SO_REUSEADDR or name == m.SO_REUSEPORT:
            s._reuse = bool(n)
        elif name == m.SO_BROADCAST:
            s._broadcast = bool(n)
            if s._ep is not None and s._type == m.SOCK_DGRAM:
                s._ep.broadcast = bool(n)
        elif name == m.SO_KEEPALIVE:
            s._keepalive = bool(n)
            if _connected(s):
                s._ep.set_keepalive(bool(n))
        elif name in (m.SO_SNDBUF, m.SO_RCVBUF):
            pass  # buffers grow by themselves
        elif name == m.SO_RCVTIMEO or name == m.SO_SNDTIMEO:
            s.settimeout(n / 1000 or None)
        else:
            raise OSError(_NOPROTOOPT)
    elif (level, name) in _RECVERR and s._type != m.SOCK_STREAM:
        (s._ep or s._open_datagrams()).recverr = bool(n)
    elif level == m.IPPROTO_IPV6 and name == m.IPV6_V6ONLY and s._af == m.AF_INET6:
        if s._bound is not None or s._ep is not None:
            raise OSError(errors.EINVAL)
        s._v6only = bool(n)
    else:
        raise OSError(_NOPROTOOPT)


_NOPROTOOPT = 92
_RECVERR = ((m.IPPROTO_IP, m.IP_RECVERR), (m.IPPROTO_IPV6, m.IPV6_RECVERR))


def _connected(s):
    return s._ep is not None and s._type == m.SOCK_STREAM and not s._listening


def get(s, level, name):
    """An int."""
    if level == m.SOL_SOCKET:
        if name == m.SO_ERROR:
            return _take_error(s)
        if name == m.SO_TYPE:
            return s._type
        if name == m.SO_REUSEADDR:
            return int(s._reuse)
        if name == m.SO_BROADCAST:
            return int(s._broadcast)
        if name == m.SO_KEEPALIVE:
            return int(s._keepalive)
        if name == m.SO_RCVBUF or name == m.SO_SNDBUF:
            if _connected(s):
                return s._ep.rcv.limit if name == m.SO_RCVBUF else s._ep.snd.limit
            return 65536
    elif level == m.IPPROTO_IPV6 and name == m.IPV6_V6ONLY:
        return int(s._v6only)
    elif level == m.IPPROTO_TCP and s._type == m.SOCK_STREAM:
        from stack.api import _tcp_options

        return _tcp_options.get(s, name)
    else:
        from stack.api import _marks

        n = _marks.get(s, level, name)
        if n is not None:
            return n
    raise OSError(_NOPROTOOPT)


def _take_error(s):
    e = s._ep
    if e is None or s._listening or not e.events() & POLLERR:
        return 0
    return e.error if s._type == m.SOCK_STREAM else e.take_error()


def _linger(s, value):
    """struct linger (two ints), or an int: seconds, negative: off; 0: close resets."""
    if isinstance(value, int):
        s._linger = value
    elif int.from_bytes(value[:4], "little"):
        s._linger = int.from_bytes(value[4:8], "little")
    else:
        s._linger = -1
