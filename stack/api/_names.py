"""The functions of `socket`: names and addresses to each other."""

from micropython import const

from stack.api import _runtime
from stack.api._address import (
    AF_INET,
    AF_INET6,
    EAI_FAMILY,
    EAI_SERVICE,
    EAI_SOCKTYPE,
    family,
    sockaddr,
)
from stack.core import errors
from stack.net import addr, addr6

SOCK_STREAM = const(1)
SOCK_DGRAM = const(2)
SOCK_RAW = const(3)
AI_PASSIVE = const(1)
NI_NUMERICHOST = const(1)
NI_NUMERICSERV = const(2)
NI_NAMEREQD = const(8)
IPPROTO_TCP = const(6)
IPPROTO_UDP = const(17)


def getaddrinfo(host, port, af=0, type=0, proto=0, flags=0):
    """[(family, type, proto, "", sockaddr)], the best address first. OSError, negative numbers.

    sockaddr: (address, port), of IPv6 (address, port, 0, scope id).
    """
    if af not in (0, AF_INET, AF_INET6):
        raise OSError(EAI_FAMILY)
    if type not in (0, SOCK_STREAM, SOCK_DGRAM, SOCK_RAW):
        raise OSError(EAI_SOCKTYPE)
    if port is None:
        port = 0
    elif isinstance(port, str):
        if not port.isdigit():
            raise OSError(EAI_SERVICE)
        port = int(port)
    if not 0 <= port <= 65535:
        raise OSError(EAI_SERVICE)
    rt = _runtime.current()
    if host:
        from stack.api import _resolve

        found = rt.run(_resolve.lookup_steps(rt, host, af))
    elif flags & AI_PASSIVE or af == AF_INET:
        found = [addr6.ANY] if af == AF_INET6 else [0]
    else:
        found = [rt.host.ip6.addresses.handle(addr6.LOOPBACK)] if af else [0]
    kinds = (type,) if type else (SOCK_STREAM, SOCK_DGRAM)
    protos = {SOCK_STREAM: IPPROTO_TCP, SOCK_DGRAM: IPPROTO_UDP, SOCK_RAW: proto}
    if proto:
        kinds = tuple([k for k in kinds if protos[k] == proto])
    return [
        (family(a), k, protos[k], "", sockaddr(a, port, family(a))) for a in found for k in kinds
    ]


def getnameinfo(sockaddr, flags=0):
    """(host, port as text) of a socket's address; the address itself where it has no name.

    OSError(-2) with NI_NAMEREQD, where it has none.
    """
    rt = _runtime.current()
    host = sockaddr[0]
    if not flags & NI_NUMERICHOST:
        from stack.api import dns

        try:
            host = rt.run(dns.reverse_steps(rt, host))
        except OSError:
            if flags & NI_NAMEREQD:
                raise
    return host, str(sockaddr[1])


def inet_pton(af, text):
    """4 or 16 bytes. ValueError if it is no address."""
    if af == AF_INET6:
        return addr6.parse(text)[0]
    if af != AF_INET:
        raise OSError(errors.EAFNOSUPPORT)
    return addr.parse(text).to_bytes(4, "big")


def inet_ntop(af, data):
    if af == AF_INET6:
        if len(data) != 16:
            raise ValueError("an IPv6 address has 16 bytes")
        return addr6.format(data)
    if af != AF_INET:
        raise OSError(errors.EAFNOSUPPORT)
    if len(data) != 4:
        raise ValueError("an IPv4 address has 4 bytes")
    return "%d.%d.%d.%d" % (data[0], data[1], data[2], data[3])


def inet_aton(text):
    return inet_pton(AF_INET, text)


def inet_ntoa(data):
    return inet_ntop(AF_INET, data)


def gethostname():
    return _runtime.current().hostname


def gethostbyname(name):
    return getaddrinfo(name, 0, AF_INET)[0][-1][0]
