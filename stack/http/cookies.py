"""Cookies of a client: RFC 6265, sections 5.1 to 5.4. Time is given, in Unix seconds.

    jar.store(url, values of Set-Cookie, now)     jar.header(url, now) -> "a=1; b=2" or ""

Without a list of public suffixes a Domain of one label ("com") is refused, as is one that
is an address; that is all that section 5.3 point 5 comes to here.
What servers can make us hold: COOKIES_MAX of 4 KB, DOMAIN_MAX of one host.
Not implemented: SameSite (there are no third parties), the list of public suffixes.
"""

from micropython import const

from stack.http import dates

COOKIES_MAX = const(300)
DOMAIN_MAX = const(50)
_SIZE_MAX = const(4096)
_FOREVER = const(1 << 40)


class Cookie:
    __slots__ = ("name", "value", "domain", "path", "expires", "secure", "host_only", "persistent")


def domain_matches(host, domain):
    """Section 5.1.3."""
    if host == domain:
        return True
    return host.endswith("." + domain) and not _is_address(host)


def _is_address(host):
    return ":" in host or all([c in "0123456789." for c in host])


def default_path(path):
    """Section 5.1.4."""
    i = path.rfind("/")
    return path[:i] if i > 0 else "/"


def path_matches(path, cookie_path):
    if path == cookie_path:
        return True
    return path.startswith(cookie_path) and (
        cookie_path[-1] == "/" or path[len(cookie_path)] == "/"
    )


class Jar:
    """Iterates over its Cookies; `get(name)` the value of the first of a name."""

    def __init__(self):
        self._all = []  # in the order of their creation

    def __iter__(self):
        return iter(self._all)

    def __len__(self):
        return len(self._all)

    def get(self, name, default=None):
        for c in self._all:
            if c.name == name:
                return c.value
        return default

    def clear(self):
        self._all = []

    def set(self, name, value, domain, path="/", secure=False):
        """Put a cookie in by hand."""
        c = Cookie()
        c.name, c.value, c.domain, c.path = name, value, domain, path
        c.secure, c.host_only, c.persistent, c.expires = secure, False, False, _FOREVER
        self._put(c)

    def store(self, url, values, now):
        """Take in the Set-Cookie fields of a response from url."""
        for value in values:
            c = self._parse(url, value, now)
            if c is not None:
                self._put(c)
        self._expire(now)

    def _put(self, c):
        for i, old in enumerate(self._all):
            if (old.name, old.domain, old.path) == (c.name, c.domain, c.path):
                self._all[i] = c
                return
        self._all.append(c)
        same = [o for o in self._all if o.domain == c.domain]
        if len(same) > DOMAIN_MAX:
            self._all.remove(same[0])
        if len(self._all) > COOKIES_MAX:
            self._all.pop(0)

    def _expire(self, now):
        self._all = [c for c in self._all if c.expires > now]

    def _parse(self, url, text, now):
        """A Cookie, or None where it is none that this host may set. Section 5.2, 5.3."""
        if len(text) > _SIZE_MAX:
            return None
        parts = text.split(";")
        name, mark, value = parts[0].partition("=")
        name = name.strip()
        if not mark or not name:
            return None
        c = Cookie()
        c.name, c.value = name, value.strip()
        c.domain, c.host_only = url.host, True
        c.path = default_path(url.target.split("?")[0])
        c.secure = c.persistent = False
        c.expires = _FOREVER
        max_age = None
        for part in parts[1:]:
            key, _, value = part.partition("=")
            key = key.strip().lower()
            value = value.strip()
            if key == "secure":
                c.secure = True
            elif key == "path" and value[:1] == "/":
                c.path = value
            elif key == "expires" and max_age is None:
                t = dates.parse(value)
                if t >= 0:
                    c.expires, c.persistent = t, True
            elif key == "max-age" and value.lstrip("-").isdigit() and len(value) < 16:
                max_age = int(value)
                c.expires, c.persistent = (now + max_age if max_age > 0 else 0), True
            elif key == "domain" and value:
                domain = value.lstrip(".").lower()
                if not domain_matches(url.host, domain):
                    return None
                if domain != url.host and "." not in domain:
                    return None
                c.domain, c.host_only = domain, False
        # Names that promise something (RFC 6265bis, 4.1.3) must keep it.
        if c.secure and url.scheme != "https":
            return None
        if name.startswith("__Secure-") and not c.secure:
            return None
        if name.startswith("__Host-") and not (c.secure and c.host_only and c.path == "/"):
            return None
        return c

    def header(self, url, now):
        """What to send to url: section 5.4; longer paths first."""
        path = url.target.split("?")[0]
        found = []
        for c in self._all:
            if c.expires <= now or c.secure and url.scheme != "https":
                continue
            if c.host_only and url.host != c.domain or not domain_matches(url.host, c.domain):
                continue
            if path_matches(path, c.path):
                found.append(c)
        found.sort(key=lambda c: -len(c.path))
        return "; ".join(["%s=%s" % (c.name, c.value) for c in found])
