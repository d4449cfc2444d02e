"""Groups and what is sent to them: the options of IP and IPv6 sockets (RFC 3493, section 5.2).

Joined groups are the socket's and left when it closes; the reports of IGMP and MLD go out
by themselves. Not implemented: source filters (RFC 3678).
"""

from stack.api import socket as m
from stack.core import errors
from stack.net import addr


class Multicast:
    """Where and how a socket sends to groups, until it has an endpoint and after."""

    def __init__(self):
        self.iface = None
        self.ttl = 1
        self.loop = True

    def apply(self, e):
        e.group_iface = self.iface
        e.group_ttl = self.ttl
        e.group_loop = self.loop
        e._own_path = None


def set(s, level, name, value):
    """setsockopt for groups. False: it is another option. OSError EINVAL, ENODEV."""
    four = level == m.IPPROTO_IP
    if name in ((m.IP_ADD_MEMBERSHIP, m.IP_DROP_MEMBERSHIP) if four
                else (m.IPV6_JOIN_GROUP, m.IPV6_LEAVE_GROUP)):  # fmt: skip
        join = name in (m.IP_ADD_MEMBERSHIP, m.IPV6_JOIN_GROUP)
        if s._type == m.SOCK_STREAM:
            raise OSError(errors.EINVAL)
        group, iface = _mreq(s, bytes(value)) if four else _mreq6(s, bytes(value))
        _membership(s, join, group, iface)
        return True
    if name == (m.IP_MULTICAST_IF if four else m.IPV6_MULTICAST_IF):
        iface = _iface4(s, value) if four else _iface6(s, _int(value))
        _options(s).iface = iface
    elif name == (m.IP_MULTICAST_TTL if four else m.IPV6_MULTICAST_HOPS):
        n = _int(value)
        if not -1 <= n <= 255:
            raise OSError(errors.EINVAL)
        _options(s).ttl = 1 if n < 0 else n
    elif name == (m.IP_MULTICAST_LOOP if four else m.IPV6_MULTICAST_LOOP):
        _options(s).loop = _int(value) != 0
    else:
        return False
    if s._ep is not None and s._type != m.SOCK_STREAM:
        s._multicast.apply(s._ep)
    return True


def _options(s):
    if s._multicast is None:
        s._multicast = Multicast()
    return s._multicast


def _int(value):
    if isinstance(value, int):
        return value
    n = int.from_bytes(value[:4], "little")
    return n - (1 << 32) if n >> 31 and len(value) >= 4 else n


def _cards(s):
    return [i for i in s._rt.host.interfaces if not i.loopback]


def _iface4(s, value):
    """The interface of an address (4 bytes, or the 12 of ip_mreqn); None: by the routes."""
    value = bytes(value) if not isinstance(value, int) else value.to_bytes(4, "big")
    if len(value) >= 12:
        index = int.from_bytes(value[8:12], "little")
        if index:
            return _iface6(s, index)
        value = value[4:8]
    a = int.from_bytes(value[:4], "big")
    if not a:
        return None
    for i in s._rt.host.interfaces:
        if i.addr == a:
            return i
    raise OSError(errors.EADDRNOTAVAIL)


def _iface6(s, index):
    if not index:
        return None
    for i in s._rt.host.interfaces:
        if i.index == index:
            return i
    raise OSError(errors.ENODEV)


def _mreq(s, value):
    """struct ip_mreq: the group, the address of the interface; ip_mreqn: its index behind."""
    if len(value) < 8:
        raise OSError(errors.EINVAL)
    group = int.from_bytes(value[:4], "big")
    if not addr.is_multicast(group):
        raise OSError(errors.EINVAL)
    index = int.from_bytes(value[8:12], "little") if len(value) >= 12 else 0
    return group, _iface6(s, index) or _iface4(s, value[4:8]) or _default(s, group)


def _mreq6(s, value):
    """struct ipv6_mreq: the group, the index of the interface."""
    if len(value) < 20 or value[0] != 0xFF:
        raise OSError(errors.EINVAL)
    index = int.from_bytes(value[16:20], "little")
    return value[:16], _iface6(s, index) or _default(s, 0)


def _default(s, group):
    route = s._rt.host.routes.lookup(group) if group else None
    if route is not None and not route.iface.loopback:
        return route.iface
    cards = _cards(s)
    if not cards:
        raise OSError(errors.ENODEV)
    return cards[0]


def _membership(s, join, group, iface):
    rt = s._rt
    rt.lock()
    try:
        groups = s._groups
        key = (group, iface.name)
        now = rt.now()
        if join:
            if groups is None:
                groups = s._groups = {}
            if key in groups:
                raise OSError(errors.EADDRINUSE)
            if isinstance(group, int):
                rt.host.ip.join_on(iface, group, now)
            else:
                rt.host.ip6.join(iface, group, now)
            groups[key] = iface
        else:
            if not groups or key not in groups:
                raise OSError(errors.EADDRNOTAVAIL)
            _leave(s, key, now)
        rt.kick(now)
    finally:
        rt.unlock()


def _leave(s, key, now):
    iface = s._groups.pop(key)
    group = key[0]
    if isinstance(group, int):
        s._rt.host.ip.leave_on(iface, group, now)
    else:
        s._rt.host.ip6.leave(iface, group, now)


def leave_all(s):
    """The socket closes."""
    now = s._rt.now()
    for key in list(s._groups):
        _leave(s, key, now)
