"""Files of the VFS over HTTP: types, ETag and Last-Modified, conditions, a byte range.

An ETag is made of a file's size and time; on a file system without times (the ROMFS of
-initrd, where both would be the same after a change) also of its bytes, read once.
Not implemented: listings of folders, several ranges at once.
"""

import os

from micropython import const

from stack.api.httpd import HttpError, Response
from stack.http import conditional, dates

_PIECE = const(16384)
_DIR = const(0x4000)
_ETAGS = const(64)

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
        left = self._end - self._first
        with open(self._path, "rb") as f:
            f.seek(self._first)
            while left:
                data = f.read(min(_PIECE, left))
                if not data:
                    break  # the file became shorter: `out` breaks the answer off
                left -= len(data)
                await out.write(data)


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

    def app(request):
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
        return file(request, where)

    return app
