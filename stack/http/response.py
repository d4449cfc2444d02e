"""A response as a program sees it; its body on demand, decoded.

With `run` of the asyncio shell, `read`, `readinto` and `close` are awaited, and
`content`, `text`, `json()` need a body that was read before (stream=False).
Not implemented: content codings other than gzip and deflate (the body is left as it is).
"""

from micropython import const

from stack.core.errors import ProtocolError
from stack.http.headers import Headers

_PIECE = const(16384)
_DISCARD = const(65536)  # of a redirect's body, so that its connection can be kept
_AHEAD = const(65536)  # of a body that is read when it is used
_ENDLESS = ("text/event-stream", "multipart/x-mixed-replace")


class Response:
    """`status_code reason headers http_version url trailers history`; see above."""

    cookies = None

    def __init__(self, run, body, where, headless=False, progress=None):
        self._run = run
        self._body = body
        self._content = None
        self._progress = progress
        self._done = 0
        self._kept = None
        self._keep_left = 0
        self._whole = None
        self._rest = b""
        self.url = str(where)
        self.status_code = body.status
        self.reason = body.reason
        self.headers = h = body.headers
        self.http_version = body.version
        self.length = body.length  # as sent, -1 if that is not known
        self.encoding = charset(h.get("Content-Type", ""))
        self.history = []
        self._inflate = None if headless else decoder(h.get("Content-Encoding", ""))

    def __repr__(self):
        return "<Response %d %s>" % (self.status_code, self.url)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()

    @property
    def ok(self):
        return self.status_code < 400

    @property
    def trailers(self):
        """The fields after the body, Headers or None; known when it was read."""
        return self._body.trailers

    @property
    def uploading(self):
        """Whether some of the request is still to be sent, which goes on while this is read."""
        return self._body.uploading

    def raise_for_status(self):
        if self.status_code >= 400:
            raise OSError("%d %s for %s" % (self.status_code, self.reason, self.url))

    def close(self):
        """Break off: what is left of the body is not wanted."""
        self._body.abort()

    # The body.

    def readinto(self, buf):
        """Fill buf with body; fewer bytes only at its end, 0 when it was all read."""
        return self._run(self.steps_readinto(buf, 0, len(buf)))

    def read(self, n=-1):
        """n bytes of body, fewer at its end; all that is left without n."""
        return self._run(self.steps_read(n))

    def read_some(self):
        """What comes next of the body, without waiting for more; b"" at its end."""
        return self._run(self.steps_some())

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

    def keep(self, most, whole):
        """Have whole(body as sent) called when it was all read, if it has `most` bytes or fewer."""
        self._kept = []
        self._keep_left = most
        self._whole = whole
        if self._body.ended:
            self._end_kept()

    def steps_load(self):
        self._content = yield from self.steps_read(-1)

    def steps_ahead(self):
        """Read a body that is not long, so that its connection is free though nobody reads it."""
        kind = self.headers.get("Content-Type", "").split(";")[0].strip().lower()
        if self.length > _AHEAD or kind in _ENDLESS:
            return
        pieces = []
        n = 0
        while n <= _AHEAD:
            piece = yield from self.steps_some()
            if not piece:
                break
            pieces.append(piece)
            n += len(piece)
        self._rest = b"".join(pieces)

    def steps_discard(self):
        """Read to the end if that is near, else break off."""
        left = _DISCARD
        if self._body.length <= left:
            buf = bytearray(2048)
            while left > 0:
                n = yield from self._raw(buf, 0, 2048)
                if not n:
                    return
                left -= n
        self._body.abort()

    def steps_read(self, n):
        if n < 0:
            if self._inflate is not None or self.length < 0:
                return (yield from self._read_to_end())
            # With a length, one buffer and no joining.
            n = self.length - self._done + len(self._rest)
        buf = bytearray(n)
        got = yield from self.steps_readinto(buf, 0, n)
        if got == n:
            return bytes(buf)
        return bytes(memoryview(buf)[:got])

    def _read_to_end(self):
        pieces = []
        while True:
            piece = yield from self.steps_some()
            if not piece:
                return pieces[0] if len(pieces) == 1 else b"".join(pieces)
            pieces.append(piece)

    def steps_readinto(self, buf, off, n):
        """Read n bytes of body to buf[off:]; returns how many, fewer only at the end."""
        got = 0
        while got < n:
            if self._inflate is None and not self._rest:
                k = yield from self._raw(buf, off + got, n - got)
                if not k:
                    break
                got += k
                continue
            if not self._rest:
                self._rest = yield from self.steps_some()
                if not self._rest:
                    break
            k = min(n - got, len(self._rest))
            buf[off + got : off + got + k] = memoryview(self._rest)[:k]
            self._rest = self._rest[k:]
            got += k
        return got

    def steps_some(self):
        """Steps: the next bytes of body, as many as there are; b"" at its end."""
        if self._rest:
            out = self._rest
            self._rest = b""
            return out
        z = self._inflate
        buf = bytearray(_PIECE)
        while True:
            if z is not None:
                try:
                    out = z.read()
                except ProtocolError:
                    self.close()
                    raise
                if out:
                    return out
            n = yield from self._raw(buf, 0, _PIECE)
            if not n:
                if z is not None and not z.done and self._done:
                    raise ProtocolError("deflate", "body ended in the middle of its coding")
                return b""
            if z is None:
                return bytes(memoryview(buf)[:n])
            if not z.done:  # what follows the end is padding that some servers send
                z.receive(memoryview(buf)[:n])

    def _raw(self, buf, off, n):
        """Steps: body as it was sent."""
        n = yield from self._body.readinto(buf, off, n)
        if n:
            self._done += n
            if self._kept is not None:
                self._keep_left -= n
                if self._keep_left < 0:
                    self._kept = None
                else:
                    self._kept.append(bytes(memoryview(buf)[off : off + n]))
            if self._progress is not None:
                self._progress(self._done, self.length)
        # Of a body whose length was said, who reads that much may not ask for the end after it.
        if self._kept is not None and (self._body.ended or self._done == self.length):
            self._end_kept()
        return n

    def _end_kept(self):
        kept = self._kept
        self._kept = None
        if self.length < 0 or self._done == self.length or not self._done:
            self._whole(b"".join(kept))


class _Stored:
    """A stored body, read like one that comes."""

    trailers = None
    version = "1.1"
    uploading = False

    def __init__(self, entry):
        if entry is None:  # only-if-cached, and it was not: RFC 9111, 5.2.1.7
            self.status, self.reason, self.headers = 504, "Gateway Timeout", Headers()
            self._data = b""
        else:
            self.status, self.reason = entry.status, entry.reason
            self.headers = entry.headers
            self._data = entry.body
        self.length = len(self._data)
        self._at = 0
        self.ended = False

    def readinto(self, buf, off, n):
        n = min(n, len(self._data) - self._at)
        buf[off : off + n] = memoryview(self._data)[self._at : self._at + n]
        self._at += n
        return n
        yield

    def abort(self):
        self._at = len(self._data)


class Cached(Response):
    """A Response out of the cache: `from_cache` is True."""

    from_cache = True

    def __init__(self, run, entry, where):
        super().__init__(run, _Stored(entry), where)


Response.from_cache = False


def decoder(coding):
    """The Inflate for a Content-Encoding, None where there is nothing to undo."""
    coding = coding.strip().lower()
    if coding in ("gzip", "x-gzip", "deflate"):
        from stack.core import flate

        return flate.Inflate(flate.EITHER if coding == "deflate" else flate.GZIP)
    return None


def charset(content_type):
    """The charset parameter in lower case; utf-8 without one."""
    for part in content_type.split(";")[1:]:
        name, _, value = part.partition("=")
        if name.strip().lower() == "charset":
            return value.strip().strip('"').lower()
    return "utf-8"
