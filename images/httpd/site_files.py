"""Which file a request target names, and of what type it is. RFC 9110, 8.3; RFC 3986, 2.1, 3.3."""

import os

_TYPES = {
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

_FOLDER = 0x4000
_HEX = "0123456789abcdefABCDEF"


def kind(path):
    """The Content-Type of a file by the end of its name."""
    name = path.split("/")[-1]
    end = name.split(".")[-1].lower() if "." in name else ""
    return _TYPES.get(end, "application/octet-stream")


def decode(text):
    """Percent-decoded bytes as text, or None if it is no path: a bad escape, a NUL, no UTF-8."""
    out = bytearray()
    raw = text.encode()
    i = 0
    while i < len(raw):
        c = raw[i]
        if c == 37:
            pair = text[i + 1 : i + 3]
            if len(pair) != 2 or pair[0] not in _HEX or pair[1] not in _HEX:
                return None
            c = int(pair, 16)
            i += 2
        if c == 0:
            return None
        out.append(c)
        i += 1
    try:
        return str(out, "utf-8")
    except UnicodeError:
        return None


def locate(root, target):
    """(path, status, location): 200 and a file; 301 and where a folder is; 400 or 404."""
    i = target.find("://")
    if i >= 0:
        slash = target.find("/", i + 3)
        target = target[slash:] if slash >= 0 else "/"
    query = target.find("?")
    if query >= 0:
        target = target[:query]
    path = decode(target)
    if path is None or not path.startswith("/"):
        return None, 400, None
    # Nothing above the root: a step up is a name that no file has.
    for part in path.split("/"):
        if part in (".", ".."):
            return None, 404, None
    full = root + path
    try:
        if path.endswith("/"):
            full += "index.html"
        elif os.stat(full)[0] & _FOLDER:
            return None, 301, target + "/"
        if os.stat(full)[0] & _FOLDER:
            return None, 404, None
        return full, 200, None
    except OSError:
        return None, 404, None
