"""net.aio: the waiting calls of `net`, to be awaited under asyncio.

    await net.aio.dns.resolve(name)     await net.aio.dns.query(name, type)
    await net.aio.http.get(url)         await net.aio.ping(host)
    await net.aio.getaddrinfo(host, port)

Each returns what its twin in `net` returns and never blocks other tasks. With
stream=True a response's read(n) and readinto(buf) are awaited too.
"""

from stack.api import _address, _ping, _runtime
from stack.api import dns as _dns
from stack.api import http as _http


def ping(host, count=4, interval=1.0, size=56, timeout=1.0, quiet=False):
    rt = _runtime.current()
    return rt.run_async(_ping.steps(rt, host, count, interval, size, timeout, quiet))


def getaddrinfo(host, port, af=0, type=0, proto=0, flags=0):
    rt = _runtime.current()
    return rt.run_async(_addrinfo_steps(rt, host, port, (af, type, proto, flags)))


def _addrinfo_steps(rt, host, port, rest):
    from stack.api import _resolve, socket

    if not host:
        return socket.getaddrinfo(host, port, *rest)
    found = yield from _resolve.lookup_steps(rt, host, rest[0])
    out = []
    for a in found:
        out.extend(socket.getaddrinfo(_address.text(a), port, *rest))
    return out


class dns:
    @staticmethod
    def resolve(name, type=None):
        rt = _runtime.current()
        return rt.run_async(_dns.resolve_steps(rt, name, type))

    @staticmethod
    def query(name, type="A"):
        rt = _runtime.current()
        number = _dns.message.type_number(type)
        return rt.run_async(_dns._resolve.answer_steps(rt, name, number))


class http:
    @staticmethod
    def request(method, url, **options):
        rt = _runtime.current()
        return rt.run_async(_http.steps(rt, rt.run_async, method, url, **options))

    @staticmethod
    def get(url, **options):
        return http.request("GET", url, **options)

    @staticmethod
    def head(url, **options):
        return http.request("HEAD", url, **options)

    @staticmethod
    def post(url, **options):
        return http.request("POST", url, **options)

    @staticmethod
    def put(url, **options):
        return http.request("PUT", url, **options)

    @staticmethod
    def patch(url, **options):
        return http.request("PATCH", url, **options)

    @staticmethod
    def delete(url, **options):
        return http.request("DELETE", url, **options)
