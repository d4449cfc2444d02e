"""The HTTP client's logic, over any transport: sessions, redirects, cookies, cache. RFC 9110.

Everything that waits is a generator that passes on what the transport yields, so
the blocking and the asyncio shell share it: `run(generator)` finishes one, by
waiting or as something to await. A transport has (* are generators)

    connect*(way, deadline) -> stream      now() -> us       unix() -> s     NEVER
    signal() -> with set()                 wait_signal*(signal, deadline)    OSError(ETIMEDOUT)
    call_at(us, function(now))             rng(n) -> bytes

    stream.send_until*(data, deadline)     stream.recv_until*(buf, off, n, deadline) -> count
    stream.take(buf, off, n) -> count, 0 the end, -1 nothing now     stream.put(data, off, n)
    stream.wait*(write, deadline)          stream.close()            stream.alpn

Not implemented: NTLM and Digest, encoding of requests' bodies.
"""

from micropython import const

from stack.core.errors import ETIMEDOUT, ProtocolError
from stack.http import cache as caching
from stack.http import url
from stack.http.cookies import Jar
from stack.http.h1write import check_field, check_line
from stack.http.headers import Headers
from stack.http.message import Message, basic, encode_body, with_params
from stack.http.pool import Limits, Lost, Pool, Way
from stack.http.response import Cached, Response

_REDIRECTS_MAX = const(10)
_REDIRECTS = (301, 302, 303, 307, 308)
# RFC 9110, section 9.2.2.
_IDEMPOTENT = ("GET", "HEAD", "PUT", "DELETE", "OPTIONS", "TRACE")

# stream=: as True, but a short body is read at once, and any that comes before all is sent.
LAZY = "lazy"


class TooManyRedirects(OSError):
    """Says the last of them, and whether it was a loop."""


class Session:
    """What requests have in common: a pool, cookies, a cache, defaults of every option.

    headers, auth, proxies ({"http": url, "https": url}), verify, timeout: of each request
    that does not say otherwise. cookies: a Jar, or False for none; cache: a cache.Cache.
    """

    def __init__(self, transport, run, cookies=None, cache=None, pool=None):
        self.transport = transport
        self.run = run
        self.pool = pool or Pool(transport)
        self.cookies = Jar() if cookies is None else cookies
        self.cache = cache
        self.headers = Headers()
        self.auth = None
        self.proxies = {}
        self.verify = None
        self.timeout = None
        self.background = []  # what stale-while-revalidate left to be done

    def request(self, method, where, **options):
        """A generator that ends with the Response. OSError, ValueError, ProtocolError."""
        return _Exchange(self, method, where, **options).steps()

    def close(self):
        self.pool.close()


class _Exchange:
    def __init__(
        self,
        session,
        method,
        where,
        params=None,
        headers=None,
        data=None,
        json=None,
        files=None,
        auth=None,
        cookies=None,
        timeout=-1,
        stream=False,
        allow_redirects=True,
        verify=None,
        proxies=None,
        http2=None,
        expect=False,
        progress=None,
        upload_progress=None,
        cache=True,
    ):
        self.session = session
        self.transport = t = session.transport
        self.method = method.upper()
        self.url = url.parse(with_params(where, params))
        self.headers = Headers(session.headers.items())
        for name, value in Headers(headers or ()).items():
            if value is None:
                self.headers.remove(name)
            else:
                self.headers[name] = value
        self.auth = auth if auth is not None else session.auth
        self.more_cookies = cookies
        timeout = session.timeout if timeout == -1 else timeout
        self.limits = Limits(timeout, t.now(), t.NEVER)
        self.stream = stream
        self.redirects = _REDIRECTS_MAX if allow_redirects else 0
        self.follow = allow_redirects
        self.verify = verify if verify is not None else session.verify
        self.proxies = proxies if proxies is not None else session.proxies
        self.http2 = http2
        self.expect = expect
        self.progress = progress
        self.upload_progress = upload_progress
        self.cache = session.cache if cache else None
        self.body, self.length = encode_body(self.headers, data, json, files, t.rng)
        self.history = []
        self.seen = [str(self.url)]

    def steps(self):
        while True:
            response = yield from self._cached_or_not()
            location = response.headers.get("Location")
            if not self.follow or response.status_code not in _REDIRECTS or location is None:
                break
            yield from response.steps_discard()
            self.history.append(response)
            self._redirect(response.status_code, location)
        response.history = self.history
        if not self.stream or self.stream is LAZY and response.uploading:
            yield from response.steps_load()
        elif self.stream is LAZY:
            yield from response.steps_ahead()
        return response

    def _redirect(self, status, location):
        old = self.url
        new = url.join(old, location)
        loop = str(new) in self.seen
        if not self.redirects:
            raise TooManyRedirects(
                "more than %d redirects%s, the last to %s"
                % (_REDIRECTS_MAX, " in a loop" if loop else "", new)
            )
        self.redirects -= 1
        self.seen.append(str(new))
        self.url = new
        if new.origin() != old.origin():
            # What was meant for one origin is nobody else's (RFC 9110, section 15.4).
            self.auth = self.more_cookies = None
            for name in ("Authorization", "Cookie", "Host", "Proxy-Authorization"):
                self.headers.remove(name)
        if status == 303 and self.method != "HEAD" or status < 303 and self.method == "POST":
            self.method = "GET"
            self.body = None
            self.length = -1
            for name in ("Content-Type", "Content-Encoding"):
                self.headers.remove(name)
        elif self.body is not None and self.length < 0:
            raise OSError("redirect of a body that was sent already")

    # The cache.

    def _cached_or_not(self):
        cache = self.cache
        if cache is None:
            return (yield from self._exchange(()))
        t = self.transport
        where = str(self.url)
        found = cache.lookup(self.method, where, self._asked(), t.unix())
        if found is None:
            if "only-if-cached" in caching.directives(self.headers):
                return self._stored(None)
            asked = t.unix()
            response = yield from self._exchange(())
            self._keep(response, asked)
            return response
        what, entry = found
        if what == caching.STALE:
            self.session.background.append((where, self.headers.items()))
        if what != caching.ASK:
            return self._stored(entry)
        if "only-if-cached" in caching.directives(self.headers):
            return self._stored(None)
        asked = t.unix()
        try:
            response = yield from self._exchange(cache.validators(entry))
        except OSError:
            if cache.stale_on_error(entry, self.headers, t.unix()):
                return self._stored(entry)
            raise
        if response.status_code == 304:
            yield from response.steps_discard()
            entry = cache.freshen(entry, response.headers, asked, t.unix())
            if entry is not None:
                return self._stored(entry)
            asked = t.unix()
            response = yield from self._exchange(())
        elif response.status_code >= 500 and cache.stale_on_error(entry, self.headers, t.unix()):
            yield from response.steps_discard()
            return self._stored(entry)
        self._keep(response, asked)
        return response

    def _stored(self, entry):
        response = Cached(self.session.run, entry, self.url)
        if entry is not None:
            # RFC 9111, section 5.1: "a cache MUST generate an Age header field".
            response.headers["Age"] = str(entry.age(self.transport.unix()))
        return response

    def _asked(self):
        """The fields that a variant is chosen by: also those that we add."""
        h = Headers(self.headers.items())
        if "Accept-Encoding" not in h:
            h.add("Accept-Encoding", "gzip, deflate")
        return h

    def _keep(self, response, asked):
        cache = self.cache
        t = self.transport
        where = str(self.url)
        h = response.headers
        others = []
        for name in ("Location", "Content-Location"):
            if name in h:
                try:
                    u = url.join(self.url, h[name])
                except ValueError:
                    continue
                if u.origin() == self.url.origin():
                    others.append(str(u))
        cache.on_unsafe(self.method, where, response.status_code, others)
        sent = self._asked()
        if cache.may_store(self.method, response.status_code, sent, h):
            if not 0 <= cache.limit < response.length:

                def whole(body):
                    cache.store(
                        where, sent, response.status_code, response.reason, h, body, asked, t.unix()
                    )

                response.keep(cache.limit, whole)

    # The network.

    def _exchange(self, more):
        """Steps: one request, its answer's head. Tried again where nothing can have been done."""
        message = self._message(more)
        proxy = self._proxy()
        way = Way(self.url, self.verify, proxy, self.http2)
        pool = self.session.pool
        while True:
            c, used = yield from pool.acquire(way, self.limits)
            message.restart()
            body = None
            try:
                body = yield from c.request(message, self.limits)
            except (OSError, ProtocolError) as e:
                if not self._again(e, c, used, message):
                    raise
                continue
            finally:
                if body is None:
                    if c.version == "1.1":
                        c.close()
                    pool.release(way, c)
            body.end = lambda c: pool.release(way, c)
            if self.session.cookies is not False:
                values = body.headers.get_all("Set-Cookie")
                if values:
                    self.session.cookies.store(self.url, values, self.transport.unix())
            response = Response(
                self.session.run, body, self.url, self.method == "HEAD", self.progress
            )
            response.cookies = self.session.cookies
            body.at_once()
            return response

    def _again(self, e, c, used, message):
        """Whether to try once more: RFC 9110, section 9.2.2; RFC 9113, section 8.7."""
        if message.pieces is not None and message.begun:
            return False  # the body cannot be had twice
        if isinstance(e, Lost) and e.safe:
            return True
        if not used or isinstance(e, OSError) and e.args[0] == ETIMEDOUT:
            return False
        # It was closed while it was idle; who sends a POST twice may buy twice.
        return self.method in _IDEMPOTENT and c.nothing_came()

    def _proxy(self):
        p = (self.proxies or {}).get(self.url.scheme)
        return url.parse(p) if isinstance(p, str) else p

    def _message(self, more):
        u = self.url
        h = self.headers
        fields = [] if "Host" in h else [("Host", u.authority())]
        for name, value in (
            ("User-Agent", "Barewire"),
            ("Accept", "*/*"),
            ("Accept-Encoding", "gzip, deflate"),
        ):
            # A range of a body that is packed on the way is nothing anybody wants.
            if name not in h and not (name[-1] == "g" and "Range" in h):
                fields.append((name, value))
        auth = self.auth or (u.user and tuple(u.user.split(":", 1)))
        if auth and "Authorization" not in h:
            # A str is a bearer token (RFC 6750), a pair is for Basic (RFC 7617).
            value = "Bearer " + auth if isinstance(auth, str) else basic(auth)
            fields.append(("Authorization", value))
        cookies = self._cookies()
        if cookies and "Cookie" not in h:
            fields.append(("Cookie", cookies))
        fields.extend([f for f in h.items() if f[0].lower() != "connection"])
        fields.extend(more)
        target = u.target
        proxy = self._proxy()
        if proxy is not None and u.scheme == "http":
            target = str(u)  # RFC 9112, section 3.2.2
            if proxy.user:
                fields.append(("Proxy-Authorization", basic(proxy.user.split(":", 1))))
        check_line(self.method, target)
        for name, value in fields:
            check_field(name, str(value))
        message = Message(self.method, target, fields, self.body, self.length, self.expect)
        message.scheme = u.scheme
        message.authority = h.get("Host", u.authority())
        message.progress = self.upload_progress
        return message

    def _cookies(self):
        parts = []
        if self.session.cookies is not False:
            sent = self.session.cookies.header(self.url, self.transport.unix())
            if sent:
                parts.append(sent)
        for name, value in (self.more_cookies or {}).items():
            parts.append("%s=%s" % (name, value))
        return "; ".join(parts)
