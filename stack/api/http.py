"""net.http: requests over HTTP/1.1 and HTTP/2 that wait.

    r = net.http.get("http://example.test/")
    r.status_code  r.headers  r.content  r.text  r.json()  r.http_version  ("1.1", "2")

Options: params, headers, data (bytes, str, dict as a form, iterator, open file), json,
files (multipart), auth (a pair, or a str for a bearer), cookies, timeout (seconds of
connecting and of each wait, 30 unless given, None for no end; or (connect, read, total)),
stream=True, which leaves the body to r.read(n), r.readinto(buf), r.read_some() or r.iter();
allow_redirects, verify (for https: None for Mozilla's roots, a PEM or its path, or an
ssl.SSLContext; False checks nothing), proxies, expect=True (100-continue), http2 (False:
never, "prior": without being asked), progress and upload_progress: function(done, length).

    s = net.http.Session(cache=net.http.cache(1 << 20, "/cache"))    also with cookies

Connections are kept for 30 s. `net.aio.http` is the same to be awaited; `events(url)` reads
server-sent events: `for e in net.http.events(url): e.type, e.data, e.id`.
"""

from micropython import const

from stack.api import _connect, _runtime
from stack.core import errors
from stack.core.errors import POLLIN
from stack.core.timers import NEVER as _NEVER
from stack.http import client

TIMEOUT_S = 30
_ALPN = ("h2", "http/1.1")
_RETRY_MS = const(3000)  # of server-sent events, until the server says otherwise


class Signal:
    """Something to wait for that is no connection."""

    def __init__(self):
        self._set = False
        self.waker = None

    def set(self):
        self._set = True
        if self.waker is not None:
            self.waker.wake(self)

    def events(self):
        return POLLIN if self._set else 0


class _Call:
    """A function to be called by the host's timers."""

    def __init__(self, rt):
        self._rt = rt
        self._function = None
        self._at = _NEVER
        self.timer_at = 0
        self.timer_index = -1

    def arm(self, at, function):
        rt = self._rt
        rt.lock()
        try:
            if at < self._at:
                self._at = at
                self._function = function
                rt.host.timers.arm(self, at)
                rt.kick(rt.now())
        finally:
            rt.unlock()

    def poll_at(self):
        return self._at

    def on_timer(self, now):
        self._at = _NEVER
        self._function(now)


class Transport:
    """Connections for stack/http/client.py: names resolved, TCP connected, TLS spoken."""

    NEVER = _NEVER

    def __init__(self, rt):
        self._rt = rt
        self.now = rt.now
        self._call = _Call(rt)

    def unix(self):
        return self._rt.hw.unix_us() // 1000000

    def rng(self, n):
        return self._rt.host.rng(n)

    def signal(self):
        return Signal()

    def wait_signal(self, signal, deadline):
        while not signal.events():
            if self._rt.now() >= deadline:
                raise OSError(errors.ETIMEDOUT)
            yield signal, POLLIN, deadline

    def call_at(self, at, function):
        self._call.arm(at, function)

    def connect(self, way, deadline):
        """Steps: a TcpStream to way's origin, by its proxy if it has one."""
        proxy = way.proxy
        end = way if proxy is None else proxy
        stream = yield from self._open(end, deadline)
        done = False
        try:
            if proxy is not None:
                if proxy.scheme == "https":
                    yield from self._tls(stream, way.verify, proxy.host, False, deadline)
                if way.tunnel:
                    from stack.http import tunnel

                    yield from tunnel.open(stream, way, proxy, deadline)
            if way.scheme == "https":
                yield from self._tls(stream, way.verify, way.host, way.may_h2, deadline)
            done = True
            return stream
        finally:
            if not done:
                stream.close()

    def _open(self, end, deadline):
        return _connect.stream_steps(self._rt, end.host, end.port, deadline)

    def _tls(self, stream, verify, host, h2, deadline):
        from stack.api import tls

        context = tls.for_http(verify, _ALPN if h2 else ())
        yield from stream.start_tls(context, host, deadline)


_transport = None
_pool = None


def _shared(rt):
    """The transport and the pool of all that have no session."""
    global _transport, _pool
    if _transport is None or _transport._rt is not rt:
        _transport = Transport(rt)
        _pool = client.Pool(_transport)
    return _transport, _pool


class Session(client.Session):
    """Requests that have cookies, a cache, headers, auth and connections in common.

    cache: of `cache(limit, folder)`. The verbs wait; of `net.aio.http.Session` they are awaited."""

    def __init__(self, cache=None, cookies=None, run=None):
        rt = _runtime.current()
        transport = _shared(rt)[0]
        super().__init__(transport, run or rt.run, cookies, cache, client.Pool(transport))
        self.timeout = TIMEOUT_S

    def request(self, method, url, **options):
        if self.background and self.run == _runtime.current().run:
            self._revalidate()
        return self.run(self.steps(method, url, options))

    def steps(self, method, url, options):
        response = yield from client.Session.request(self, method, url, **options)
        if self.background and self.run != _runtime.current().run:
            import asyncio

            for where, headers in self.background:
                asyncio.create_task(self.request("GET", where, headers=_no_cache(headers)))
            self.background = []
        return response

    def _revalidate(self):
        """What was served stale is asked for again: under asyncio at once, here the next time."""
        todo = self.background
        self.background = []
        for where, headers in todo:
            try:
                self.run(client.Session.request(self, "GET", where, headers=_no_cache(headers)))
            except OSError:
                pass

    def get(self, url, **options):
        return self.request("GET", url, **options)

    def head(self, url, **options):
        return self.request("HEAD", url, **options)

    def post(self, url, **options):
        return self.request("POST", url, **options)

    def put(self, url, **options):
        return self.request("PUT", url, **options)

    def patch(self, url, **options):
        return self.request("PATCH", url, **options)

    def delete(self, url, **options):
        return self.request("DELETE", url, **options)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()


def _no_cache(headers):
    h = dict(headers)
    h["Cache-Control"] = "no-cache"
    return h


def cache(limit, folder=None):
    """A cache of `limit` bytes, in memory or in a folder, which is made."""
    from stack.http.cache import Cache

    if folder is None:
        return Cache(limit)
    from stack.api._cachedir import Folder

    return Cache(limit, Folder(folder))


def steps(rt, run, method, url, **options):
    """The request as steps, without a session: no cookies, no cache, the shared connections."""
    options.setdefault("timeout", TIMEOUT_S)
    transport, pool = _shared(rt)
    session = client.Session(transport, run, False, None, pool)
    return session.request(method, url, **options)


def request(method, url, **options):
    rt = _runtime.current()
    return rt.run(steps(rt, rt.run, method, url, **options))


def get(url, **options):
    return request("GET", url, **options)


def head(url, **options):
    return request("HEAD", url, **options)


def post(url, **options):
    return request("POST", url, **options)


def put(url, **options):
    return request("PUT", url, **options)


def patch(url, **options):
    return request("PATCH", url, **options)


def delete(url, **options):
    return request("DELETE", url, **options)


def event_request(url, last_id, options):
    """(parser, options) of a request for server-sent events."""
    from stack.http import sse

    options = dict(options)
    h = dict(options.get("headers") or {})
    h["Accept"] = sse.TYPE
    h["Cache-Control"] = "no-store"
    if last_id:
        h["Last-Event-ID"] = last_id
    options["headers"] = h
    options["stream"] = True
    options.setdefault("timeout", None)
    return sse.Parser(), options


def check_events(r):
    """OSError where a response is no stream of events; False: the server wants no reconnecting."""
    if r.status_code == 204:
        return False
    if r.status_code != 200 or not r.headers.get("Content-Type", "").startswith(
        "text/event-stream"
    ):
        r.close()
        raise OSError("not a stream of events: %d" % r.status_code)
    return True


def events(url, last_id="", **options):
    """A generator of server-sent events; connects again where the connection ends."""
    import time

    retry_ms = _RETRY_MS
    while True:
        parser, opts = event_request(url, last_id, options)
        r = get(url, **opts)
        if not check_events(r):
            return
        try:
            while True:
                data = r.read_some()
                if not data:
                    break
                parser.receive(data)
                while True:
                    e = parser.next_event()
                    if e is None:
                        break
                    last_id = e.id
                    yield e
        except OSError:
            pass
        finally:
            r.close()
        if parser.retry_ms >= 0:
            retry_ms = parser.retry_ms
        time.sleep_ms(retry_ms)
