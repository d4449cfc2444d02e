"""Addresses as programs write them: tuples of a name or number and a port."""

from stack.api import _runtime
from stack.net import addr

AF_INET = 2
AF_INET6 = 10

# getaddrinfo's own numbers, negative as in MicroPython.
EAI_NONAME = -2
EAI_AGAIN = -3
EAI_FAMILY = -6
EAI_SOCKTYPE = -7
EAI_SERVICE = -8


def host_port(address):
    """(int, port) of a sockaddr: ("10.0.0.1", 80), or what getaddrinfo gave.

    "" is any address and "<broadcast>" the limited broadcast, as in CPython. A name
    is resolved, by waiting.
    """
    if not isinstance(address, (tuple, list)) or len(address) < 2:
        raise TypeError("an address is a tuple (host, port)")
    host = address[0]
    port = address[1]
    if not isinstance(port, int):
        raise TypeError("a port is an int")
    if not 0 <= port <= 65535:
        raise ValueError("a port is 0 to 65535")
    return ip4(host), port


def ip4(host):
    """The int of a host as programs name it; resolves a name by waiting. OSError(-2)."""
    if not host:
        return 0
    if isinstance(host, (bytes, bytearray)):
        host = str(host, "ascii")
    try:
        return addr.parse(host)
    except ValueError:
        pass
    if host == "<broadcast>":
        return addr.BROADCAST
    from stack.api import _resolve

    rt = _runtime.current()
    return addr.parse(rt.run(_resolve.address_steps(rt, host)))


def sockaddr(address, port):
    return addr.format(address), port
