"""HTTP/1.1 written: heads and chunks. RFC 9112, sections 2 to 7.

Nothing that a caller hands in can end the line it is on: ValueError says what would.
Not implemented: trailers' names are not held against the list of those that must not be.
"""

from micropython import const

from stack.http import scan

CHUNKED = const(-2)

REASONS = {
    100: "Continue", 101: "Switching Protocols", 103: "Early Hints", 200: "OK", 201: "Created",
    202: "Accepted", 204: "No Content", 206: "Partial Content", 301: "Moved Permanently",
    302: "Found", 303: "See Other", 304: "Not Modified", 307: "Temporary Redirect",
    308: "Permanent Redirect", 400: "Bad Request", 401: "Unauthorized", 403: "Forbidden",
    404: "Not Found", 405: "Method Not Allowed", 408: "Request Timeout", 409: "Conflict",
    412: "Precondition Failed", 413: "Content Too Large", 414: "URI Too Long",
    416: "Range Not Satisfiable", 417: "Expectation Failed", 426: "Upgrade Required",
    429: "Too Many Requests", 431: "Request Header Fields Too Large",
    500: "Internal Server Error", 501: "Not Implemented", 503: "Service Unavailable",
    505: "HTTP Version Not Supported",
}  # fmt: skip


def is_token(text):
    """RFC 9110, section 5.6.2. text: bytes or str."""
    return len(text) > 0 and scan.only(text, scan.TOKEN)


def build_request(method, target, headers, body_len=-1):
    """The head of a request as bytes. ValueError if a part could end the line it is on.

    headers: pairs. body_len: -1 no body, CHUNKED, else what Content-Length says.
    """
    check_line(method, target)
    out = [method, " ", target, " HTTP/1.1\r\n"]
    return _finish(out, headers, body_len)


def check_line(method, target):
    """ValueError where they could not stand in a request line."""
    if not is_token(method):
        raise ValueError("bad method %r" % method)
    if not target or not scan.only(target, scan.VISIBLE):
        raise ValueError("bad request target %r" % target)


def build_response(status, headers, body_len=-1, reason=None):
    """The head of a response as bytes; body_len as build_request has it. ValueError."""
    if reason is None:
        reason = REASONS.get(status, "")
    elif not scan.only(reason, scan.VALUE):
        raise ValueError("control character in a reason")
    out = ["HTTP/1.1 %d %s\r\n" % (status, reason)]
    return _finish(out, headers, body_len)


def _finish(out, headers, body_len):
    _fields(out, headers)
    if body_len >= 0:
        out.append("Content-Length: %d\r\n" % body_len)
    elif body_len == CHUNKED:
        out.append("Transfer-Encoding: chunked\r\n")
    out.append("\r\n")
    return "".join(out).encode()


def _fields(out, headers):
    for name, value in headers:
        value = str(value)
        check_field(name, value)
        out.extend((name, ": ", value, "\r\n"))


def check_field(name, value):
    """ValueError where a field could be another one for who reads it, or frames the body."""
    if not is_token(name):
        raise ValueError("bad header name %r" % name)
    # RFC 9110, section 5.5: CR, LF and NUL "are invalid and dangerous".
    if not scan.only(value, scan.VALUE):
        raise ValueError("control character in header %s" % name)
    if name.lower() in ("content-length", "transfer-encoding"):
        raise ValueError("%s is set from the body" % name)


def chunk(data):
    """One chunk of a body; of nothing: the end of it. RFC 9112, section 7.1."""
    if not data:
        return b"0\r\n\r\n"
    return b"%x\r\n" % len(data) + data + b"\r\n"


def last_chunk(trailers=()):
    """The end of a chunked body with its trailers, pairs."""
    out = ["0\r\n"]
    _fields(out, trailers)
    out.append("\r\n")
    return "".join(out).encode()
