"""net.aio: the waiting calls of `net`, to be awaited under asyncio.

    await net.aio.dns.resolve(name)     await net.aio.dns.query(name, type)
    await net.aio.http.get(url)         await net.aio.ping(host)
    await net.aio.websocket.connect(url)    await net.aio.http.Session().get(url)
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

    @staticmethod
    def reverse(address):
        rt = _runtime.current()
        return rt.run_async(_dns.reverse_steps(rt, address))


class http:
    @staticmethod
    def Session(cache=None, cookies=None):
        """As net.http.Session, its verbs to be awaited."""
        return _http.Session(cache, cookies, _runtime.current().run_async)

    @staticmethod
    async def events(url, on_event, last_id="", **options):
        """Call on_event(Event), a function or a coroutine, for each server-sent event."""
        import asyncio

        retry_ms = 3000
        while True:
            parser, opts = _http.event_request(url, last_id, options)
            r = await http.get(url, **opts)
            if not _http.check_events(r):
                return
            try:
                while True:
                    data = await r.read_some()
                    if not data:
                        break
                    parser.receive(data)
                    while True:
                        e = parser.next_event()
                        if e is None:
                            break
                        last_id = e.id
                        done = on_event(e)
                        if hasattr(done, "send"):
                            await done
            except OSError:
                pass
            finally:
                r.close()
            if parser.retry_ms >= 0:
                retry_ms = parser.retry_ms
            await asyncio.sleep_ms(retry_ms)

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


class websocket:
    @staticmethod
    def connect(url, **options):
        from stack.api import websocket as _websocket

        rt = _runtime.current()
        return rt.run_async(_websocket.steps(rt, rt.run_async, url, **options))
