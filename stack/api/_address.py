"""Addresses as programs write them: tuples of a name or number and a port.

    ("10.0.0.1", 80)   ("2001:db8::1", 80)   ("fe80::1%eth0", 80)   ("fe80::1", 80, 0, scope_id)

Inside they are ints: an IPv4 address, or the handle of an IPv6 one (stack/net/addr6.py).
"""

from stack.api import _runtime
from stack.core import errors
from stack.net import addr, addr6
from stack.net.addr6 import V6

AF_UNSPEC = 0
AF_INET = 2
AF_INET6 = 10

# getaddrinfo's own numbers, negative as in MicroPython.
EAI_NONAME = -2
EAI_AGAIN = -3
EAI_FAMILY = -6
EAI_SOCKTYPE = -7
EAI_SERVICE = -8


def family(a):
    return AF_INET6 if a >= V6 else AF_INET


def host_port(address, af=AF_INET):
    """(int, port) of a sockaddr: ("10.0.0.1", 80), or what getaddrinfo gave.

    "" is any address of the family and "<broadcast>" the limited broadcast, as in CPython.
    af 0: whatever the address is. A name is resolved, by waiting. OSError, ValueError.
    """
    if not isinstance(address, (tuple, list)) or len(address) < 2:
        raise TypeError("an address is a tuple (host, port)")
    host = address[0]
    port = address[1]
    if not isinstance(port, int):
        raise TypeError("a port is an int")
    if not 0 <= port <= 65535:
        raise ValueError("a port is 0 to 65535")
    scope = address[3] if len(address) > 3 else 0
    a = number(host, af, scope)
    if af == AF_INET and a >= V6:
        raise OSError(errors.EAFNOSUPPORT)
    return a, port


def number(host, af=AF_INET, scope=0):
    """The int of a host as programs name it; resolves a name by waiting. OSError(-2)."""
    if not host:
        return addr6.ANY if af == AF_INET6 else 0
    if isinstance(host, (bytes, bytearray)):
        host = str(host, "ascii")
    if host == "<broadcast>":
        return addr.BROADCAST
    rt = _runtime.current()
    a = literal(rt, host, scope)
    if a >= 0:
        if af == AF_INET6 and a < V6 and ":" not in host:
            raise OSError(EAI_FAMILY)
        return a
    from stack.api import _resolve

    return rt.run(_resolve.lookup_steps(rt, host, af))[0]


def literal(rt, host, scope=0):
    """The int of an address in digits, -1 if it is a name. A mapped address is the IPv4 one.

    OSError(ENODEV) for a zone that is none, EINVAL for a link-local address without.
    """
    if ":" not in host:
        try:
            return addr.parse(host)
        except ValueError:
            return -1
    try:
        raw, zone = addr6.parse(host)
    except ValueError:
        return -1
    if addr6.is_mapped(raw):
        return raw[12] << 24 | raw[13] << 16 | raw[14] << 8 | raw[15]
    return handle(rt, raw, zone, scope)


def handle(rt, raw, zone="", scope=0):
    """The handle of 16 bytes; zone: the name or number of an interface."""
    index = 0
    if addr6.is_link_local(raw) or addr6.is_link_group(raw):
        index = zone_index(rt, zone, scope)
        if not index and addr6.is_link_local(raw):
            raise OSError(errors.EINVAL)
    return rt.host.ip6.addresses.handle(addr6.with_zone(raw, index))


def zone_index(rt, zone, scope=0):
    """The index of the interface that a zone means; without one, of the only card. 0: none."""
    cards = []
    for i in rt.host.interfaces:
        if zone and (i.name == zone or (zone.isdigit() and int(zone) == i.index)):
            return i.index
        if not zone and scope and i.index == scope:
            return i.index
        if not i.loopback:
            cards.append(i)
    if zone or scope:
        raise OSError(errors.ENODEV)
    return cards[0].index if len(cards) == 1 else 0


def text(a, path=None):
    """The text of an int, with a zone where it has one. path: a Path to it, which remembers."""
    if a < V6:
        return addr.format(a)
    rt = _runtime.current()
    raw = rt.host.ip6.addresses.bytes(a)
    if raw is None and path is not None:
        raw = path.dst_raw if path.dst == a else path.src_raw if path.src == a else None
    return text_of(rt, raw) if raw is not None else "?"


def text_of(rt, raw):
    """The text of 16 bytes as they are stored."""
    out = addr6.format(raw)
    index = addr6.zone(raw)
    if index:
        for i in rt.host.interfaces:
            if i.index == index:
                return "%s%%%s" % (out, i.name)
    return out


def sockaddr(a, port, af=AF_INET, path=None):
    """(text, port); of an AF_INET6 socket (text, port, flow info 0, scope id)."""
    if a < V6 and af != AF_INET6:
        return addr.format(a), port
    if a < V6:
        # As Linux: an IPv4 peer of an IPv6 socket. 0.0.0.0 as the local address is "::".
        return ("::ffff:" + addr.format(a) if a else "::", port, 0, 0)
    host = text(a, path)
    i = host.find("%")
    if i < 0:
        return host, port, 0, 0
    return host, port, 0, zone_index(_runtime.current(), host[i + 1 :])


def ip4(host):
    """The int of an IPv4 host; see number."""
    return number(host, AF_INET)
