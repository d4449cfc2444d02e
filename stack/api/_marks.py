"""IP_TTL, IP_TOS, IPV6_UNICAST_HOPS, IPV6_TCLASS. Loaded when a program first uses one.

What is set before there is an endpoint is kept by the socket; a connection that a listener
makes begins with the listener's. Range and errors are Linux's.
"""

from stack.api import socket as m
from stack.core import errors
from stack.net.marks import ECN_MASK, Marks
from stack.transport.tcp import status

# (level, option) -> its field of Marks, the least and the largest value, what get says for -1.
_FIELDS = {
    (m.IPPROTO_IP, m.IP_TTL): ("ttl", 1, 64),
    (m.IPPROTO_IP, m.IP_TOS): ("tos", 0, 0),
    (m.IPPROTO_IPV6, m.IPV6_UNICAST_HOPS): ("hops", 0, 64),
    (m.IPPROTO_IPV6, m.IPV6_TCLASS): ("tclass", 0, 0),
}


def set(s, level, name, n):
    """False: it is another option. n: an int, as unsigned 32 bits too. OSError EINVAL."""
    field = _FIELDS.get((level, name))
    if field is None:
        return False
    if n >> 31 == 1:
        n -= 1 << 32
    if name == m.IP_TOS and level == m.IPPROTO_IP:
        n &= 0xFF
    elif n != -1 and not field[1] <= n <= 255:
        raise OSError(errors.EINVAL)
    if field[0] in ("tos", "tclass"):
        n = max(n, 0)
        if s._type == m.SOCK_STREAM:
            n &= ~ECN_MASK
    if s._marks is None:
        s._marks = Marks()
    setattr(s._marks, field[0], n)
    if s._ep is not None:
        s._rt.lock()
        try:
            apply(s, s._ep)
        finally:
            s._rt.unlock()
    return True


def apply(s, e):
    """Let endpoint e send as the socket says."""
    if s._type == m.SOCK_STREAM and not s._listening:
        status.mark(e, s._marks)
    else:
        e.marks = s._marks
        if s._type != m.SOCK_STREAM:
            e.forget_path()


def get(s, level, name):
    """An int; None: it is another option."""
    field = _FIELDS.get((level, name))
    if field is None:
        return None
    n = -1 if s._marks is None else getattr(s._marks, field[0])
    if s._marks is None and field[2] == 0:
        n = 0
    return field[2] if n < 0 else n
