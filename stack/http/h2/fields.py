"""What a list of fields must be to be a message of HTTP/2. RFC 9113, section 8; RFC 8441.

A malformed message is an error of its stream. Names and values of single fields were
looked at when HPACK read them (`field_fault`). Priorities: RFC 9218, section 4.
Not implemented: nothing of it is missing.
"""

from stack.http import scan

# Section 8.2.2: "MUST NOT generate ... connection-specific header fields".
_CONNECTION = (
    "connection", "proxy-connection", "keep-alive", "transfer-encoding", "upgrade",
)  # fmt: skip
_REQUEST = (":method", ":scheme", ":authority", ":path", ":protocol")


def field_fault(name, value):
    """None, or what is wrong with a field by itself (section 8.2.1)."""
    if name[:1] == ":":
        if name not in _REQUEST and name != ":status":
            return "unknown pseudo-header"
    elif not name or not scan.only(name, scan.LOWER):
        return "bad field name"
    if not scan.only(value, scan.VALUE) or value[:1] in (" ", "\t") or value[-1:] in (" ", "\t"):
        return "bad field value"
    if name in _CONNECTION or name == "te" and value != "trailers":
        return "connection-specific field"
    return None


def _pseudo(fields, allowed):
    """The pseudo-headers as a dict, and how many; (None, 0) where they are out of place."""
    found = {}
    n = 0
    for name, value in fields:
        if name[0] != ":":
            break
        if name in found or name not in allowed:
            return None, 0
        found[name] = value
        n += 1
    for i in range(n, len(fields)):
        # "MUST NOT generate pseudo-header fields after other fields".
        if fields[i][0][0] == ":":
            return None, 0
    return found, n


def request_fault(fields):
    """None, or why these are no request. Sections 8.3.1 and 8.5, RFC 8441 section 4."""
    p, _ = _pseudo(fields, _REQUEST)
    if p is None:
        return "pseudo-headers out of place"
    method = p.get(":method")
    if not method or not scan.only(method, scan.TOKEN):
        return "no method"
    if method == "CONNECT" and ":protocol" not in p:
        bad = ":scheme" in p or ":path" in p or not p.get(":authority")
        return "bad CONNECT" if bad else None
    if ":protocol" in p and (method != "CONNECT" or not p.get(":authority")):
        return "bad :protocol"
    if p.get(":scheme") is None:
        return "no scheme"
    path = p.get(":path")
    if not path or not scan.only(path, scan.VISIBLE):
        return "bad path"
    if path[0] != "/" and not (path == "*" and method == "OPTIONS"):
        return "bad path"
    authority = p.get(":authority")
    if authority is not None and not scan.only(authority, scan.AUTHORITY):
        return "bad authority"
    for name, value in fields:
        if name == "host" and authority is not None and value != authority:
            return "host differs from :authority"
    return None


def response_fault(fields):
    """None, or why these are no response. Section 8.3.2."""
    p, n = _pseudo(fields, (":status",))
    if p is None or n != 1:
        return "no status"
    status = p[":status"]
    if len(status) != 3 or not scan.only(status, scan.DIGIT) or status[0] == "0":
        return "bad status"
    return "101 in HTTP/2" if status == "101" else None


def trailers_fault(fields):
    """None, or why these are no trailers. Section 8.1: no pseudo-headers."""
    for name, _ in fields:
        if name[0] == ":":
            return "pseudo-header in trailers"
    return None


def content_length(fields):
    """The length, -1 without one, -2 if it is none or there are two that differ."""
    n = -1
    for name, value in fields:
        if name == "content-length":
            if not 0 < len(value) <= 15 or not scan.only(value, scan.DIGIT):
                return -2
            if n >= 0 and n != int(value):
                return -2
            n = int(value)
    return n


def priority(value, stream):
    """Set urgency and incremental from a Priority field; what is not understood is left."""
    for part in value.split(","):
        part = part.strip().split(";")[0]
        if len(part) == 3 and part[:2] == "u=" and "0" <= part[2] <= "7":
            stream.urgency = int(part[2])
        elif part == "i" or part == "i=?1":
            stream.incremental = True
        elif part == "i=?0":
            stream.incremental = False
