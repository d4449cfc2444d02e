"""Files of the VFS over HTTP: types, ETag and Last-Modified, conditions, a byte range.

An ETag is made of a file's size and time; on a file system without times (the ROMFS of
-initrd, where both would be the same after a change) also of its bytes, read once.
A short file is kept with its answer, and sent again as long as its size and time are the same;
not if it was changed so lately that it could change again within the same second. What lies in
memory (a ROMFS) is sent from where it lies.
Not implemented: listings of folders, several ranges at once.
"""

import os

from micropython import const

from stack.api import httpd
from stack.api.httpd import HttpError, Response
from stack.http import conditional, dates

_PIECE = const(16384)
_PIECE_ROM = const(65536)
_DIR = const(0x4000)
_ETAGS = const(64)
# What is kept: files up to so long, in so many answers, each with its head and body in one
# besides: 2 * 64 * 8 KB.
_SHORT = const(8192)
_KEPT = const(64)
_SETTLED_S = const(3)  # FAT counts time by twos
_PATHS = const(64)

TYPES = {
    "html": "text/html; charset=utf-8", "htm": "text/html; charset=utf-8",
    "css": "text/css; charset=utf-8", "txt": "text/plain; charset=utf-8",
    "md": "text/markdown; charset=utf-8", "csv": "text/csv; charset=utf-8",
    "js": "text/javascript; charset=utf-8", "mjs": "text/javascript; charset=utf-8",
    "json": "application/json", "xml": "application/xml", "wasm": "application/wasm",
    "pdf": "application/pdf", "gz": "application/gzip", "zip": "application/zip",
    "png": "image/png", "jpg": "image/jpeg", "jpeg": "image/jpeg", "gif": "image/gif",
    "svg": "image/svg+xml", "webp": "image/webp", "ico": "image/x-icon",
    "woff": "font/woff", "woff2": "font/woff2", "mp3": "audio/mpeg", "mp4": "video/mp4",
}  # fmt: skip

_etags = {}
_kept = {}  # path -> (size, time, Response)
_plain = [None]  # a request's fields that hold no condition; the same object comes again and again


def _etag(path, size, time):
    if time:
        return '"%x-%x"' % (size, time)
    tag = _etags.get((path, size))
    if tag is None:
        import binascii

        crc = 0
        with open(path, "rb") as f:
            while True:
                data = f.read(_PIECE)
                if not data:
                    break
                crc = binascii.crc32(data, crc)
        if len(_etags) >= _ETAGS:
            _etags.clear()
        tag = _etags[(path, size)] = '"%x-%x"' % (size, crc)
    return tag


class _Again(Response):
    """A kept Response for one request: its own, should somebody add to it; until then made."""

    status = 200
    brief = True
    _line = _rest = _whole = _of = _at = _h2 = None

    def __init__(self, r):
        self._r = r
        self.body = r.body
        self.length = r.length
        self.fields = list(r.fields)

    def _same(self):
        r = self._r
        return self.fields == r.fields and self.body is r.body and self.status == 200

    def whole(self):
        return self._r.whole() if self._same() else Response.whole(self)

    def head(self, keep_alive, version="1.1"):
        if self._same():
            return self._r.head(keep_alive, version)
        return Response.head(self, keep_alive, version)

    def h2_fields(self):
        return self._r.h2_fields() if self._same() else Response.h2_fields(self)


def _conditional(fields):
    """Whether there is a condition or a range among a request's fields."""
    if fields is _plain[0]:
        return False
    for name, _ in fields:
        low = name.lower()
        if low[:3] == "if-" or low == "range":
            return True
    if isinstance(fields, tuple):
        _plain[0] = fields
    return False


def _short(path, size, time, fields, type):
    """The Response of a whole short file, kept if that is safe; None: it changes just now."""
    with open(path, "rb") as f:
        data = f.read(size + 1)
    if len(data) != size:
        return None
    r = Response(data, 200, fields, type)
    if not time or httpd._seconds() - time >= _SETTLED_S:
        if len(_kept) >= _KEPT:
            _kept.clear()
        _kept[path] = (size, time, r)
        return _Again(r)
    return r


def file(request, path, type=None):
    """The Response that sends a file. HttpError(404) where it is none."""
    try:
        s = os.stat(path)
    except OSError:
        raise HttpError(404)  # noqa: B904
    if s[0] & _DIR:
        raise HttpError(404)
    if request.method not in ("GET", "HEAD"):
        return Response("Only GET and HEAD\n", 405, (("Allow", "GET, HEAD"),))
    size = s[6]
    time = int(s[8])
    whole = type is None and not _conditional(request.headers.fields)
    if whole:
        found = _kept.get(path)
        if found is not None and found[0] == size and found[1] == time:
            return _Again(found[2])
    etag = _etag(path, size, time)
    fields = [("ETag", etag), ("Accept-Ranges", "bytes")]
    if time:
        fields.append(("Last-Modified", dates.format(time)))
    h = request.headers
    if conditional.failed(h, etag, time):
        return Response("", 412, fields)
    if conditional.not_modified(h, etag, time):
        return Response(b"", 304, fields)
    if type is None:
        name = path[path.rfind("/") + 1 :]
        end = name[name.rfind(".") + 1 :].lower() if "." in name else ""
        type = TYPES.get(end, "application/octet-stream")
    if whole and size <= _SHORT:
        r = _short(path, size, time, fields, type)
        if r is not None:
            return r
    where = conditional.byte_range(h, etag, time, size) if request.method == "GET" else None
    if where is None:
        return Response(_Sender(path, 0, size), 200, fields, type, size)
    first, end = where
    if first < 0:
        return Response("", 416, (("Content-Range", "bytes */%d" % size),))
    fields.append(("Content-Range", "bytes %d-%d/%d" % (first, end - 1, size)))
    return Response(_Sender(path, first, end), 206, fields, type, end - first)


class _Sender:
    """A producer of a file's bytes."""

    def __init__(self, path, first, end):
        self._path = path
        self._first = first
        self._end = end

    async def __call__(self, out):
        at = self._first
        end = self._end
        with open(self._path, "rb") as f:
            try:
                data = memoryview(f)
            except TypeError:
                data = None
            while data is not None and at < end:
                n = min(_PIECE_ROM, end - at)
                await out.write(data[at : at + n])
                at += n
            if at == end:
                return
            f.seek(at)
            buf = memoryview(bytearray(min(_PIECE, end - at)))
            while at < end:
                n = f.readinto(buf[: min(_PIECE, end - at)])
                if not n:
                    break  # the file became shorter: `out` breaks the answer off
                at += n
                await out.write(buf[:n])


def safe(path):
    """The parts of a path below a root, or None where it would lead out or hides something."""
    parts = []
    for part in path.split("/"):
        if part in ("", "."):
            continue
        if part[0] == "." or "\\" in part or ":" in part:
            return None
        parts.append(part)
    return parts


def static(root):
    """A handler that serves the files below root; index.html for a folder."""
    root = root.rstrip("/")
    paths = {}  # target -> path of a file that was there

    def app(request):
        where = paths.get(request.target)
        if where is not None:
            try:
                return file(request, where)
            except HttpError:
                del paths[request.target]  # it is gone, or a folder now
        try:
            path = request.path
        except ValueError:
            raise HttpError(400)  # noqa: B904
        if "\0" in path:
            raise HttpError(400)
        parts = safe(path)
        if parts is None:
            raise HttpError(404)
        where = "/".join([root] + parts)
        try:
            folder = os.stat(where or "/")[0] & _DIR
        except OSError:
            raise HttpError(404)  # noqa: B904
        if folder:
            if path[-1:] != "/":
                query = request.query
                to = request.target.split("?")[0] + "/" + ("?" + query if query else "")
                return Response("There\n", 301, (("Location", "/" + to.lstrip("/")),))
            where += "/index.html"
        r = file(request, where)
        if len(paths) >= _PATHS:
            paths.clear()
        paths[request.target] = where
        return r

    return app
