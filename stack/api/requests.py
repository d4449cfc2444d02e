"""requests: the API that Python programmers know (and MicroPython's), over net.http.

    requests.get(url, params=, headers=, cookies=, auth=, timeout=, verify=, proxies=, stream=)
    requests.post(url, data=, json=, files=)       with requests.Session() as s: s.get(url)

Errors are RequestException and below it ConnectionError, Timeout, HTTPError,
TooManyRedirects; all are OSErrors. Calls without a session keep no cookies; connections
are kept by all. Of a body 64 KB are read at once, unless it is a stream; what is longer is read
when it is used, and holds one of its origin's six connections until then or until close().
Not implemented: hooks, adapters, cert= (net.tls has client certificates), PreparedRequest.
"""

from stack.api import _runtime, http
from stack.core.errors import ETIMEDOUT, ProtocolError
from stack.http import client
from stack.http.headers import Headers


class RequestException(OSError):
    pass


class ConnectionError(RequestException):
    pass


class Timeout(RequestException):
    pass


class HTTPError(RequestException):
    def __init__(self, words, response):
        super().__init__(words)
        self.response = response


class TooManyRedirects(RequestException):
    pass


class exceptions:
    RequestException = RequestException
    ConnectionError = ConnectionError
    Timeout = Timeout
    HTTPError = HTTPError
    TooManyRedirects = TooManyRedirects


def _translate(e):
    """The exception that programs for `requests` know, with the errno of the first."""
    if isinstance(e, RequestException):
        return e
    if isinstance(e, client.TooManyRedirects):
        return TooManyRedirects(*e.args)
    if isinstance(e, OSError) and e.args and e.args[0] == ETIMEDOUT:
        return Timeout(*e.args)
    if isinstance(e, ProtocolError):
        return ConnectionError(str(e))
    return ConnectionError(*e.args)


class Response:
    """`status_code reason headers content text json() raw url history cookies ok close()`."""

    def __init__(self, r):
        self._r = r
        self.status_code = r.status_code
        self.reason = r.reason
        self.headers = r.headers
        self.encoding = r.encoding
        self.url = r.url
        self.history = [Response(h) for h in r.history]
        self.cookies = r.cookies if r.cookies is not None and r.cookies is not False else {}
        self.raw = _Raw(r)

    def __repr__(self):
        return "<Response [%d]>" % self.status_code

    @property
    def content(self):
        try:
            return self._r.content
        except (OSError, ProtocolError) as e:
            raise _translate(e)  # noqa: B904

    @property
    def text(self):
        self._r.encoding = (self.encoding or "utf-8").lower()
        self.content  # noqa: B018
        return self._r.text

    @property
    def ok(self):
        return self._r.ok

    @property
    def is_redirect(self):
        return "Location" in self.headers and self.status_code in (301, 302, 303, 307, 308)

    def json(self):
        import json

        return json.loads(self.content)

    def iter_content(self, chunk_size=4096, decode_unicode=False):
        while True:
            try:
                piece = self._r.read(chunk_size) if chunk_size else self._r.read_some()
            except (OSError, ProtocolError) as e:
                raise _translate(e)  # noqa: B904
            if not piece:
                return
            yield piece

    def iter_lines(self, chunk_size=512):
        rest = b""
        for piece in self.iter_content(None):
            lines = (rest + piece).split(b"\n")
            rest = lines.pop()
            for line in lines:
                yield line[:-1] if line[-1:] == b"\r" else line
        if rest:
            yield rest

    def raise_for_status(self):
        if self.status_code >= 400:
            raise HTTPError("%d %s for %s" % (self.status_code, self.reason, self.url), self)

    def close(self):
        self._r.close()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()


class _Raw:
    """The body as a stream."""

    def __init__(self, r):
        self.read = r.read
        self.readinto = r.readinto
        self.close = r.close


def _options(data, json, parse_headers, options):
    if not options.get("stream"):
        options["stream"] = client.LAZY  # a long body is read when it is used, as MicroPython's is
    auth = options.get("auth")
    if callable(auth):
        raise NotImplementedError("auth as a function")
    options["data"] = data
    options["json"] = json
    return options


def request(method, url, data=None, json=None, parse_headers=True, **options):
    rt = _runtime.current()
    options = _options(data, json, parse_headers, options)
    options.setdefault("timeout", None)
    try:
        return Response(rt.run(http.steps(rt, rt.run, method, url, **options)))
    except (OSError, ProtocolError) as e:
        raise _translate(e)  # noqa: B904


class Session:
    """Cookies, connections, and defaults: `headers auth cookies verify proxies params`."""

    def __init__(self):
        self._s = http.Session()
        self._s.timeout = None
        self.headers = self._s.headers = Headers()
        self.auth = None
        self.verify = None
        self.proxies = {}
        self.params = {}
        self.cookies = self._s.cookies

    def request(self, method, url, data=None, json=None, parse_headers=True, **options):
        s = self._s
        s.headers = Headers(self.headers)
        s.auth, s.verify, s.proxies = self.auth, self.verify, self.proxies
        if self.params:
            params = dict(self.params)
            params.update(options.get("params") or {})
            options["params"] = params
        try:
            return Response(s.request(method, url, **_options(data, json, parse_headers, options)))
        except (OSError, ProtocolError) as e:
            raise _translate(e)  # noqa: B904

    def get(self, url, **kw):
        return self.request("GET", url, **kw)

    def head(self, url, **kw):
        kw.setdefault("allow_redirects", False)
        return self.request("HEAD", url, **kw)

    def options(self, url, **kw):
        return self.request("OPTIONS", url, **kw)

    def post(self, url, data=None, json=None, **kw):
        return self.request("POST", url, data, json, **kw)

    def put(self, url, data=None, **kw):
        return self.request("PUT", url, data, **kw)

    def patch(self, url, data=None, **kw):
        return self.request("PATCH", url, data, **kw)

    def delete(self, url, **kw):
        return self.request("DELETE", url, **kw)

    def close(self):
        self._s.close()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()


def session():
    return Session()


def head(url, **kw):
    return request("HEAD", url, **kw)


def get(url, **kw):
    return request("GET", url, **kw)


def options(url, **kw):
    return request("OPTIONS", url, **kw)


def post(url, data=None, json=None, **kw):
    return request("POST", url, data, json, **kw)


def put(url, data=None, **kw):
    return request("PUT", url, data, **kw)


def patch(url, data=None, **kw):
    return request("PATCH", url, data, **kw)


def delete(url, **kw):
    return request("DELETE", url, **kw)
