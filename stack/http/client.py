"""The HTTP client's logic, over any transport: requests, redirects, bodies. RFC 9110, 9112.

Everything that waits is a generator that passes on what the transport yields, so
the blocking and the asyncio shell share it: `run(generator)` finishes one, by
waiting or as something to await. A transport has

    connect(url, timeout) -> stream                    a generator, as are
    stream.send(data, timeout)
    stream.recv_into(buf, off, n, timeout) -> count    0: the connection ended
    stream.close()                                     at once

Not implemented: keep-alive, content codings, cookies, a cache, proxies.
"""

from micropython import const

from stack.core.errors import ProtocolError
from stack.http import h1, url
from stack.http.headers import Headers

_REDIRECTS_MAX = const(10)
_REDIRECTS = (301, 302, 303, 307, 308)
_SCRATCH = const(2048)
_PIECE = const(16384)


class Response:
    """A response. `status_code reason headers http_version url`; the body on demand.

    With `run` of the asyncio shell, `read`, `readinto` and `close` are awaited, and
    `content`, `text`, `json()` need a body that was read before (stream=False).
    """

    def __init__(self, run, parser, stream, where, timeout):
        self._run = run
        self._parser = parser
        self._stream = stream
        self._timeout = timeout
        self._rest = None  # body bytes that came with framing, and where they begin
        self._rest_at = 0
        self._content = None
        self._scratch = None
        self.url = str(where)
        self.status_code = parser.status
        self.reason = parser.reason
        self.headers = parser.headers
        self.http_version = parser.version
        self.encoding = charset(parser.headers.get("Content-Type", ""))

    def __repr__(self):
        return "<Response %d %s>" % (self.status_code, self.url)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()

    @property
    def ok(self):
        return self.status_code < 400

    def raise_for_status(self):
        if self.status_code >= 400:
            raise OSError("%d %s for %s" % (self.status_code, self.reason, self.url))

    def close(self):
        if self._stream is not None:
            self._stream.close()
            self._stream = None

    # The body.

    def readinto(self, buf):
        """Fill buf with body; fewer bytes only at its end, 0 when it was all read."""
        return self._run(self.steps_readinto(buf, 0, len(buf)))

    def read(self, n=-1):
        """n bytes of body, fewer at its end; all that is left without n."""
        return self._run(self.steps_read(n))

    def iter(self, size=_PIECE):
        """The body in pieces of `size` bytes, the last one shorter. Blocking shell only."""
        while True:
            piece = self.read(size)
            if not piece:
                return
            yield piece

    iter_content = iter

    @property
    def content(self):
        """The whole body, bytes."""
        if self._content is None:
            self._content = self._run(self.steps_read(-1))
        return self._content

    @property
    def text(self):
        data = self.content
        if self.encoding in ("latin-1", "iso-8859-1", "us-ascii"):
            return "".join([chr(b) for b in data])
        return str(data, "utf-8")

    def json(self):
        import json

        return json.loads(self.content)

    def steps_load(self):
        self._content = yield from self.steps_read(-1)

    def steps_read(self, n):
        if n < 0:
            # With a length, one buffer and no joining.
            n = self._parser.length
            if n < 0:
                return (yield from self._read_to_end())
        buf = bytearray(n)
        got = yield from self.steps_readinto(buf, 0, n)
        if got == n:
            # What a length promises is there: close, or the end would never be looked at.
            if self._parser.length >= 0 and not self._parser.direct() and self._rest is None:
                self._end()
            return bytes(buf)
        return bytes(memoryview(buf)[:got])

    def _read_to_end(self):
        pieces = []
        while True:
            buf = bytearray(_PIECE)
            n = yield from self.steps_readinto(buf, 0, _PIECE)
            if n < _PIECE:
                pieces.append(bytes(memoryview(buf)[:n]))
                return b"".join(pieces)
            pieces.append(buf)

    def steps_readinto(self, buf, off, n):
        """Read n bytes of body to buf[off:]; returns how many, fewer only at the end."""
        got = 0
        p = self._parser
        while got < n and self._stream is not None:
            if self._rest is not None:
                got += self._take_rest(buf, off + got, n - got)
                continue
            direct = p.direct()
            if direct:
                # Straight from the receive ring to where the caller wants it.
                k = yield from self._receive(buf, off + got, min(direct, n - got))
                p.took(k)
                got += k
                if k:
                    continue
                p.receive_eof()
            event = self._event()
            if event == h1.DATA:
                self._rest = p.data
                self._rest_at = 0
            elif event == h1.END:
                self._end()
            else:
                if self._scratch is None:
                    self._scratch = bytearray(_SCRATCH)
                k = yield from self._receive(self._scratch, 0, _SCRATCH)
                if k:
                    p.receive(memoryview(self._scratch)[:k])
                else:
                    p.receive_eof()
        return got

    def _take_rest(self, buf, off, n):
        at = self._rest_at
        have = len(self._rest) - at
        if n >= have:
            buf[off : off + have] = memoryview(self._rest)[at:]
            self._rest = None
            return have
        buf[off : off + n] = memoryview(self._rest)[at : at + n]
        self._rest_at = at + n
        return n

    def _receive(self, buf, off, n):
        try:
            return (yield from self._stream.recv_into(buf, off, n, self._timeout))
        except OSError:
            self.close()
            raise

    def _event(self):
        try:
            return self._parser.next_event()
        except ProtocolError:
            self.close()
            raise

    def _end(self):
        self.close()


def charset(content_type):
    """The charset parameter in lower case; utf-8 without one."""
    for part in content_type.split(";")[1:]:
        name, _, value = _partition(part)
        if name.strip().lower() == "charset":
            return value.strip().strip('"').lower()
    return "utf-8"


def _partition(text):
    i = text.find("=")
    return (text, "", "") if i < 0 else (text[:i], "=", text[i + 1 :])


def request(transport, run, method, where, **options):
    """A generator that ends with the Response. OSError, ValueError, ProtocolError.

    options: params (dict), headers (dict or pairs), data (bytes, str, dict as a form,
    an iterator of bytes), json, auth (user, password), timeout (s, of each wait),
    stream (leave the body unread), allow_redirects.
    """
    return _Exchange(transport, run, method, where, **options).steps()


class _Exchange:
    def __init__(
        self,
        transport,
        run,
        method,
        where,
        params=None,
        headers=None,
        data=None,
        json=None,
        auth=None,
        timeout=None,
        stream=False,
        allow_redirects=True,
    ):
        self.transport = transport
        self.run = run
        self.method = method.upper()
        self.url = url.parse(_with_params(where, params))
        self.headers = Headers(headers or ())
        self.auth = auth
        self.timeout = timeout
        self.stream = stream
        self.redirects = _REDIRECTS_MAX if allow_redirects else 0
        self.follow = allow_redirects
        self.body = self._encode_body(data, json)

    def _encode_body(self, data, obj):
        h = self.headers
        if obj is not None:
            import json

            data = json.dumps(obj)
            if "Content-Type" not in h:
                h.add("Content-Type", "application/json")
        elif hasattr(data, "items"):
            data = "&".join([quote(k) + "=" + quote(v) for k, v in data.items()])
            if "Content-Type" not in h:
                h.add("Content-Type", "application/x-www-form-urlencoded")
        return data.encode() if isinstance(data, str) else data

    def steps(self):
        while True:
            response = yield from self._once()
            location = response.headers.get("Location")
            if not self.follow or response.status_code not in _REDIRECTS or location is None:
                break
            response.close()
            self._redirect(response.status_code, location)
        if not self.stream:
            yield from response.steps_load()
        return response

    def _redirect(self, status, location):
        if not self.redirects:
            raise OSError("more than %d redirects" % _REDIRECTS_MAX)
        self.redirects -= 1
        old = self.url
        self.url = new = url.join(old, location)
        if new.origin() != old.origin():
            # What was meant for one origin is nobody else's (RFC 9110, section 15.4).
            self.auth = None
            for name in ("Authorization", "Cookie", "Host"):
                self.headers.remove(name)
        if status == 303 and self.method != "HEAD" or status < 303 and self.method == "POST":
            self.method = "GET"
            self.body = None
            for name in ("Content-Type", "Content-Encoding"):
                self.headers.remove(name)
        elif self.body is not None and _is_iterator(self.body):
            raise OSError("redirect of a body that was sent already")

    def _once(self):
        head = self._head()
        stream = yield from self.transport.connect(self.url, self.timeout)
        response = None
        try:
            yield from self._send(stream, head)
            parser = h1.Response(self.method)
            yield from self._read_head(stream, parser)
            response = Response(self.run, parser, stream, self.url, self.timeout)
            return response
        finally:
            if response is None:
                stream.close()

    def _head(self):
        h = self.headers
        fields = [] if "Host" in h else [("Host", self.url.authority())]
        if "User-Agent" not in h:
            fields.append(("User-Agent", "Barewire"))
        if "Accept" not in h:
            fields.append(("Accept", "*/*"))
        auth = self.auth or (self.url.user and self.url.user.split(":", 1))
        if auth and "Authorization" not in h:
            fields.append(("Authorization", basic(auth)))
        fields.extend([f for f in h.items() if f[0].lower() != "connection"])
        fields.append(("Connection", "close"))
        body = self.body
        if body is None:
            # RFC 9110, section 8.6: say so where a body would be expected.
            n = 0 if self.method in ("POST", "PUT", "PATCH") else -1
        else:
            n = h1.CHUNKED if _is_iterator(body) else len(body)
        return h1.build_request(self.method, self.url.target, fields, n)

    def _send(self, stream, head):
        body = self.body
        if body is None:
            yield from stream.send(head, self.timeout)
        elif _is_iterator(body):
            yield from stream.send(head, self.timeout)
            for piece in body:
                if piece:
                    if isinstance(piece, str):
                        piece = piece.encode()
                    yield from stream.send(h1.chunk(piece), self.timeout)
            yield from stream.send(h1.chunk(b""), self.timeout)
        elif len(body) <= _PIECE:
            yield from stream.send(head + bytes(body), self.timeout)
        else:
            yield from stream.send(head, self.timeout)
            yield from stream.send(body, self.timeout)

    def _read_head(self, stream, parser):
        buf = bytearray(_SCRATCH)
        while parser.next_event() != h1.HEAD:
            n = yield from stream.recv_into(buf, 0, _SCRATCH, self.timeout)
            if n:
                parser.receive(memoryview(buf)[:n])
            else:
                parser.receive_eof()


def _is_iterator(body):
    return hasattr(body, "__next__")


def _with_params(where, params):
    if not params:
        return where
    pairs = params.items() if hasattr(params, "items") else params
    query = "&".join([quote(k) + "=" + quote(v) for k, v in pairs])
    i = where.find("#")
    if i >= 0:
        where = where[:i]
    return where + ("&" if "?" in where else "?") + query


def quote(value):
    """Text (or a number) as a piece of a form or query: RFC 3986's unreserved bytes stay."""
    raw = value if isinstance(value, bytes) else str(value).encode()
    out = []
    for b in raw:
        plain = 48 <= b <= 57 or 65 <= b <= 90 or 97 <= b <= 122 or b in b"-._~"
        out.append(chr(b) if plain else "%%%02X" % b)
    return "".join(out)


def basic(auth):
    """Credentials (user, password) as RFC 7617 writes them."""
    import binascii

    pair = "%s:%s" % (auth[0], auth[1] if len(auth) > 1 else "")
    return "Basic " + binascii.b2a_base64(pair.encode()).decode().strip()
