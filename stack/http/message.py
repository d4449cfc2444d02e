"""A request on its way: fields and body, and how a program's data become one."""

import binascii

from stack.http import multipart
from stack.http.headers import Headers  # noqa: F401

_PIECE = 16384


class Message:
    """method, target, fields (pairs). body: None, bytes, or an iterator; length: -1 chunked."""

    upgrade = False
    protocol = None  # of an extended CONNECT
    scheme = "http"
    authority = ""
    progress = None

    def __init__(self, method, target, fields, body=None, length=-1, expect=False):
        self.method = method
        self.target = target
        self.fields = fields
        self.body = body
        self.pieces = body if hasattr(body, "__next__") else None
        self.length = length
        # RFC 9110, section 8.6: say so where a body would be expected.
        if body is None and method in ("POST", "PUT", "PATCH"):
            self.length = 0
        self.expect = expect and body is not None
        self.begun = False
        self._done = 0

    def restart(self):
        """It is sent from its beginning (again)."""
        self._done = 0

    def body_pieces(self):
        """The body in pieces of bytes."""
        self.begun = True
        if self.pieces is None:
            view = memoryview(self.body)
            for at in range(0, len(view), _PIECE):
                yield view[at : at + _PIECE]
            return
        for piece in self.pieces:
            if piece:
                yield piece.encode() if isinstance(piece, str) else piece

    def sent(self, n):
        self._done += n
        if self.progress is not None:
            self.progress(self._done, self.length)


def _file_pieces(f):
    while True:
        piece = f.read(_PIECE)
        if not piece:
            return
        yield piece


def encode_body(h, data, obj, files, rng):
    """(body, length) of a program's data=, json=, files=; sets Content-Type in h."""
    type = None
    if files:
        boundary = "barewire" + binascii.hexlify(rng(12)).decode()
        fields = data.items() if hasattr(data, "items") else data or ()
        type, body, length = multipart.encode(fields, files, boundary)
        # The boundary must be the body's own.
        h["Content-Type"] = type
        return body, length
    if obj is not None:
        import json

        data = json.dumps(obj)
        type = "application/json"
    elif hasattr(data, "items"):
        data = "&".join([quote(k) + "=" + quote(v) for k, v in data.items()])
        type = "application/x-www-form-urlencoded"
    if type is not None and "Content-Type" not in h:
        h.add("Content-Type", type)
    if isinstance(data, str):
        data = data.encode()
    if data is None:
        return None, -1
    if hasattr(data, "read"):
        return _file_pieces(data), -1
    if hasattr(data, "__next__"):
        return data, -1
    if hasattr(data, "__iter__") and not isinstance(data, (bytes, bytearray, memoryview)):
        return iter(data), -1
    return data, len(data)


def with_params(where, params):
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
    pair = "%s:%s" % (auth[0], auth[1] if len(auth) > 1 else "")
    return "Basic " + binascii.b2a_base64(pair.encode()).decode().strip()
