"""Conditional requests and ranges, a server's side. RFC 9110, sections 13 and 14.

Not implemented: several ranges in one answer (the whole is sent, as section 14.2 allows).
"""

from stack.http import dates


def tags(value):
    """The entity tags of a list such as If-None-Match's, weak marks taken off; "*" is itself."""
    out = []
    for part in value.split(","):
        part = part.strip()
        out.append(part[2:] if part[:2] == "W/" else part)
    return out


def not_modified(headers, etag, modified):
    """Whether a GET is to be answered with 304. etag with its quotes; modified in Unix time."""
    value = headers.get("If-None-Match")
    if value is not None:
        return value.strip() == "*" or etag in tags(value)
    since = headers.get("If-Modified-Since")
    return since is not None and 0 <= modified <= dates.parse(since)


def failed(headers, etag, modified):
    """Whether If-Match or If-Unmodified-Since does not hold: 412."""
    value = headers.get("If-Match")
    if value is not None:
        strong = [p.strip() for p in value.split(",")]
        return value.strip() != "*" and etag not in strong
    since = headers.get("If-Unmodified-Since")
    return since is not None and 0 <= dates.parse(since) < modified


def byte_range(headers, etag, modified, size):
    """(first, end) of what is asked for; None: the whole; (-1, 0): 416."""
    value = headers.get("Range")
    if value is None or value[:6].lower() != "bytes=" or "," in value:
        return None
    condition = headers.get("If-Range")
    if condition is not None:
        # Section 13.1.5: a strong comparison, or the exact date.
        if condition != etag and dates.parse(condition) != modified:
            return None
    first, mark, last = value[6:].strip().partition("-")
    if not mark or first and not _number(first) or last and not _number(last):
        return None
    if not first:
        if not last:
            return None
        n = int(last)
        return (max(0, size - n), size) if n and size else (-1, 0)
    a = int(first)
    b = int(last) if last else size - 1
    if last and b < a:
        return None
    return (a, min(b + 1, size)) if a < size else (-1, 0)


def _number(text):
    return len(text) <= 15 and text.isdigit()
