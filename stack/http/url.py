"""URLs of http and https: taking them apart, and resolving a Location. RFC 3986, sections 3 and 5.

    scheme://[user:password@]host[:port][/path][?query][#fragment]

Bytes that a request line must not carry (blanks, controls) are refused; text
beyond ASCII in path and query is percent-encoded as UTF-8.
"""

from stack.http import scan

DEFAULT_PORTS = {"http": 80, "https": 443}


class Url:
    """`scheme host port target`, and `user`: "name:password" or "". `target` is path and query."""

    def __init__(self, scheme, host, port, target, user=""):
        self.scheme = scheme
        self.host = host
        self.port = port
        self.target = target
        self.user = user

    def authority(self):
        """host[:port] as the Host field has it: the port only when it is not the scheme's."""
        host = "[" + self.host + "]" if ":" in self.host else self.host
        if self.port == DEFAULT_PORTS[self.scheme]:
            return host
        return "%s:%d" % (host, self.port)

    def origin(self):
        return self.scheme, self.host, self.port

    def __str__(self):
        return self.scheme + "://" + self.authority() + self.target


def parse(text):
    """A Url from absolute text. ValueError with the reason if it is none."""
    i = text.find("://")
    scheme = text[:i].lower() if i > 0 else ""
    if scheme not in DEFAULT_PORTS:
        raise ValueError("not an http or https URL: %r" % text)
    rest = _without_fragment(text[i + 3 :])
    end = len(rest)
    for ch in "/?":
        j = rest.find(ch)
        if 0 <= j < end:
            end = j
    user, host, port = _authority(rest[:end], scheme)
    target = rest[end:]
    if not target.startswith("/"):
        target = "/" + target
    return Url(scheme, host, port, encode(target), user)


def join(base, location):
    """The Url that a Location field means, seen from `base` (RFC 3986, section 5.2)."""
    i = location.find(":")
    j = location.find("/")
    if i > 0 and (j < 0 or i < j):
        return parse(location)
    if location.startswith("//"):
        return parse(base.scheme + ":" + location)
    location = _without_fragment(location)
    path = base.target.split("?")[0]
    if location.startswith("/"):
        target = location
    elif location.startswith("?"):
        target = path + location
    elif not location:
        target = base.target
    else:
        target = path[: path.rfind("/") + 1] + location
    path, mark, query = _split(target, "?")
    target = _remove_dot_segments(path) + mark + query
    return Url(base.scheme, base.host, base.port, encode(target))


def _split(text, ch):
    i = text.find(ch)
    return (text, "", "") if i < 0 else (text[:i], ch, text[i + 1 :])


def _without_fragment(text):
    i = text.find("#")
    return text if i < 0 else text[:i]


def _authority(text, scheme):
    user = ""
    i = text.rfind("@")
    if i >= 0:
        user = decode(text[:i])
        text = text[i + 1 :]
    port = ""
    if text.startswith("["):
        i = text.find("]")
        if i < 0:
            raise ValueError("no ] after an IPv6 address")
        host = text[1:i]
        if i + 1 < len(text) and text[i + 1] != ":":
            raise ValueError("bad port in URL")
        port = text[i + 2 :]
        if not all(c in "0123456789abcdefABCDEF:." for c in host):
            raise ValueError("bad IPv6 address in URL")
    else:
        host, _, port = _split(text, ":")
        # RFC 3986, section 3.2.2, reg-name, less the escapes, which no resolver takes.
        if not scan.only(host, scan.HOST):
            raise ValueError("bad character in the host of a URL: %r" % host)
    if not host:
        raise ValueError("no host in URL")
    number = DEFAULT_PORTS[scheme]
    if port:
        if len(port) > 5 or not all("0" <= c <= "9" for c in port):
            raise ValueError("bad port in URL")
        number = int(port)
        if not 0 < number < 65536:
            raise ValueError("bad port in URL")
    return user, host.lower(), number


def _remove_dot_segments(path):
    """RFC 3986, section 5.2.4."""
    out = []
    parts = path.split("/")
    for n, part in enumerate(parts):
        last = n == len(parts) - 1
        if part == "..":
            if len(out) > 1:
                out.pop()
            if last:
                out.append("")
        elif part == ".":
            if last:
                out.append("")
        else:
            out.append(part)
    path = "/".join(out)
    return path if path.startswith("/") else "/" + path


def encode(target):
    """A request target in ASCII. ValueError for blanks and controls: they would split the line."""
    if scan.only(target, scan.VISIBLE):
        return target
    for ch in target:
        if ch <= " " or ch == "\x7f":
            raise ValueError("blank or control character in URL")
    return "".join([chr(b) if b < 128 else "%%%02X" % b for b in target.encode()])


def decode(text):
    """Percent escapes undone, as text."""
    if "%" not in text:
        return text
    out = bytearray()
    raw = text.encode()
    i = 0
    while i < len(raw):
        if raw[i] == 37:
            digits = text_hex(raw[i + 1 : i + 3])
            if digits < 0:
                raise ValueError("bad percent escape in URL")
            out.append(digits)
            i += 3
        else:
            out.append(raw[i])
            i += 1
    return out.decode()


def text_hex(digits):
    """Two hexadecimal digits (bytes) as a number, or -1."""
    if len(digits) != 2:
        return -1
    v = 0
    for ch in digits:
        if 48 <= ch <= 57:
            v = v << 4 | ch - 48
        elif 65 <= ch <= 70 or 97 <= ch <= 102:
            v = v << 4 | (ch & 7) + 9
        else:
            return -1
    return v


def parse_query(text):
    """A query or a form as a dict of text; the last of a name holds. ValueError."""
    found = {}
    if text:
        for pair in text.split("&"):
            name, _, value = pair.partition("=")
            found[decode(name.replace("+", " "))] = decode(value.replace("+", " "))
    return found
