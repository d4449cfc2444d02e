"""A private HTTP cache. RFC 9111; stale-while-revalidate and -if-error RFC 5861, immutable 8246.

    found = cache.lookup(method, url, headers, now) -> None or (what, Entry)
        FRESH: use it; STALE: use it and ask again soon; ASK: ask with cache.validators(entry)
    cache.may_store(method, status, request headers, headers)
    cache.store(url, request headers, status, reason, headers, body, asked, now)
    cache.freshen(entry, headers, asked, now)     a 304 came
    cache.on_unsafe(method, url, status, headers) a POST, PUT, DELETE... went through
    cache.stale_on_error(entry, request headers, now)

The store behind it is a dict-like `get, put, remove, items` of bytes, in memory (Memory)
or on a file system (api/http.py), and holds `limit` bytes; the least recently used go.
Times are Unix seconds. Not implemented: partial content (206 is never stored), shared caches,
answers to HEAD from a stored GET (section 4.3.5).
"""

import json

from micropython import const

from stack.http import dates
from stack.http.headers import Headers

FRESH = const(1)
STALE = const(2)
ASK = const(3)

# Section 4.2.2: "a typical setting of this fraction might be 10%", and a day at most.
_HEURISTIC = const(10)
_HEURISTIC_MAX = const(86400)
_HEURISTIC_STATUS = (200, 203, 204, 300, 301, 308, 404, 405, 410, 414, 501)
_VARIANTS = const(8)  # of one URL
_SAFE = ("GET", "HEAD", "OPTIONS", "TRACE")
_CONDITIONS = ("If-None-Match", "If-Modified-Since", "If-Match", "If-Unmodified-Since", "If-Range")
# Section 3.1; cookies are the jar's.
_HOP = ("connection", "keep-alive", "te", "transfer-encoding", "upgrade", "proxy-connection",
        "proxy-authenticate", "proxy-authentication-info", "proxy-authorization", "set-cookie",
        "trailer")  # fmt: skip


def directives(headers):
    """Cache-Control as a dict; Pragma: no-cache where there is none."""
    value = headers.get("Cache-Control")
    if value is None:
        return {"no-cache": None} if "no-cache" in headers.get("Pragma", "").lower() else {}
    out = {}
    for part in value.split(","):
        name, mark, v = part.partition("=")
        name = name.strip().lower()
        # Section 4.2.1: of several "the first occurrence should be used".
        if name not in out:
            out[name] = v.strip().strip('"') if mark else None
    return out


def _not_stored(headers):
    """Names, in lower case, of the fields that belong to the connection: section 3.1."""
    return _HOP + tuple([n.strip() for n in headers.get("Connection", "").lower().split(",")])


def _seconds(cc, name):
    """A directive's number of seconds, -1 without; what is no number is 0 (stale)."""
    if name not in cc:
        return -1
    v = cc[name] or ""
    return min(int(v), 1 << 31) if v.isdigit() and len(v) < 16 else 0


def _weak(tag):
    """An entity tag for the weak comparison: RFC 9110, section 8.8.3.2."""
    return tag[2:] if tag.startswith("W/") else tag


class Entry:
    """A stored response."""

    def __init__(self, key, d, body):
        self.key = key
        self.status = d["status"]
        self.reason = d["reason"]
        self.headers = Headers([(n, v) for n, v in d["headers"]])
        self.asked = d["asked"]
        self.came = d["came"]
        self.vary = d["vary"]
        self.body = body

    def age(self, now):
        """Section 4.2.3."""
        date = dates.parse(self.headers.get("Date", ""))
        apparent = max(0, self.came - date) if date >= 0 else 0
        value = self.headers.get("Age", "0").strip()
        corrected = (int(value) if value.isdigit() and len(value) < 12 else 0) + (
            self.came - self.asked
        )
        return max(apparent, corrected) + max(0, now - self.came)

    def lifetime(self):
        """Section 4.2.1, for a private cache."""
        cc = directives(self.headers)
        n = _seconds(cc, "max-age")
        if n >= 0:
            return n
        date = dates.parse(self.headers.get("Date", ""))
        if date < 0:
            date = self.came
        if "Expires" in self.headers:
            # "an invalid date ... in the past"
            return max(0, dates.parse(self.headers["Expires"]) - date)
        modified = dates.parse(self.headers.get("Last-Modified", ""))
        if (self.status in _HEURISTIC_STATUS or "public" in cc) and modified >= 0:
            return min(max(0, date - modified) // _HEURISTIC, _HEURISTIC_MAX)
        return 0

    def matches(self, headers):
        """Section 4.1."""
        for name, value in self.vary:
            if name == "*" or headers.get(name) != value:
                return False
        return True

    def pack(self):
        d = {
            "status": self.status,
            "reason": self.reason,
            "headers": self.headers.items(),
            "asked": self.asked,
            "came": self.came,
            "vary": self.vary,
        }
        head = json.dumps(d).encode()
        return len(head).to_bytes(4, "big") + head + self.body


def unpack(key, data):
    """An Entry from what pack gave; None where that is damaged."""
    try:
        n = int.from_bytes(data[:4], "big")
        return Entry(key, json.loads(bytes(data[4 : 4 + n])), bytes(data[4 + n :]))
    except (ValueError, KeyError, TypeError):
        return None


class Memory:
    """Where entries are kept: {key: bytes}."""

    def __init__(self):
        self._all = {}

    def get(self, key):
        return self._all.get(key)

    def put(self, key, data):
        self._all[key] = data

    def remove(self, key):
        self._all.pop(key, None)

    def items(self):
        """(key, size) of all."""
        return [(k, len(v)) for k, v in self._all.items()]


class Cache:
    def __init__(self, limit, store=None):
        self.limit = limit
        self._store = store or Memory()
        self._sizes = {}
        self._order = []  # keys, the least recently used first
        self._used = 0
        for key, size in self._store.items():
            self._sizes[key] = size
            self._order.append(key)
            self._used += size
        self._trim(0)

    @property
    def used(self):
        return self._used

    def _keys(self, url):
        prefix = url + " "
        return [k for k in self._order if k.startswith(prefix)]

    def _load(self, key):
        data = self._store.get(key)
        entry = None if data is None else unpack(key, data)
        if entry is None:
            self._forget(key)
        return entry

    def lookup(self, method, url, headers, now):
        """(FRESH | STALE | ASK, Entry), or None. Section 4.

        Who makes a request conditional himself is to be answered by the server."""
        if method != "GET" or "Range" in headers or any([n in headers for n in _CONDITIONS]):
            return None
        best = None
        for key in self._keys(url):
            entry = self._load(key)
            if entry is not None and entry.matches(headers):
                if best is None or entry.came > best.came:
                    best = entry
        if best is None:
            return None
        self._order.remove(best.key)
        self._order.append(best.key)
        return self._judge(best, headers, now), best

    def _judge(self, entry, headers, now):
        wants = directives(headers)
        cc = directives(entry.headers)
        age = entry.age(now)
        left = entry.lifetime() - age
        if "no-cache" in wants or "no-cache" in cc:
            return ASK
        most = _seconds(wants, "max-age")
        if most >= 0 and age > most and not ("immutable" in cc and left > 0):
            return ASK
        least = _seconds(wants, "min-fresh")
        if left > 0 and left >= least:
            return FRESH
        if "must-revalidate" in cc:
            return ASK
        if "max-stale" in wants and (
            wants["max-stale"] is None or -left <= _seconds(wants, "max-stale")
        ):
            return FRESH
        while_ = _seconds(cc, "stale-while-revalidate")
        return STALE if while_ > 0 and -left <= while_ and least < 0 else ASK

    def stale_on_error(self, entry, headers, now):
        """Whether a stale entry may stand in for an error, its word or the request's (RFC 5861)."""
        cc = directives(entry.headers)
        n = max(_seconds(cc, "stale-if-error"), _seconds(directives(headers), "stale-if-error"))
        if n <= 0 or "must-revalidate" in cc or "no-cache" in cc:
            return False
        return entry.age(now) - entry.lifetime() <= n

    @staticmethod
    def validators(entry):
        """The fields that make a request conditional."""
        fields = []
        if "ETag" in entry.headers:
            fields.append(("If-None-Match", entry.headers["ETag"]))
        if "Last-Modified" in entry.headers:
            fields.append(("If-Modified-Since", entry.headers["Last-Modified"]))
        return fields

    def may_store(self, method, status, asked, headers):
        """Section 3."""
        if method != "GET" or "Range" in asked or status == 206 or status < 200 or status == 304:
            return False
        cc = directives(headers)
        # Section 5.2.2.3: who has understood the status may leave no-store aside.
        understood = "must-understand" in cc and status in _HEURISTIC_STATUS
        if "no-store" in cc and not understood:
            return False
        if "no-store" in directives(asked) or "*" in headers.get("Vary", ""):
            return False
        explicit = "max-age" in cc or "Expires" in headers or "no-cache" in cc
        useful = explicit or "ETag" in headers or "Last-Modified" in headers
        return useful and (explicit or "public" in cc or status in _HEURISTIC_STATUS)

    def store(self, url, asked, status, reason, headers, body, at, now):
        """Keep a response whose body is whole. at: when it was asked for."""
        vary = []
        for name in headers.get("Vary", "").split(","):
            if name.strip():
                vary.append([name.strip(), asked.get(name.strip())])
        hop = _not_stored(headers)
        kept = [f for f in headers.items() if f[0].lower() not in hop]
        d = {"status": status, "reason": reason, "headers": kept, "asked": at, "came": now}
        d["vary"] = vary
        variants = self._keys(url)
        for key in variants:
            old = self._load(key)
            if old is not None and old.matches(asked):
                self._forget(key)
        while len(self._keys(url)) >= _VARIANTS:
            self._forget(self._keys(url)[0])
        taken = self._keys(url)
        n = 0
        while url + " %d" % n in taken:
            n += 1
        self._put(Entry(url + " %d" % n, d, body))

    def _put(self, entry):
        data = entry.pack()
        self._forget(entry.key)
        if len(data) > self.limit:
            return
        self._trim(len(data))
        self._store.put(entry.key, data)
        self._sizes[entry.key] = len(data)
        self._order.append(entry.key)
        self._used += len(data)

    def freshen(self, entry, headers, asked, now):
        """Section 4.3.4: a 304 brings new fields. The Entry as it is then, None if not of this."""
        tag = headers.get("ETag")
        if tag is not None and _weak(tag) != _weak(entry.headers.get("ETag", tag)):
            self._forget(entry.key)
            return None
        hop = _not_stored(headers) + ("content-length", "content-encoding", "content-type")
        new = [f for f in headers.items() if f[0].lower() not in hop]
        entry.headers.remove("Age")
        for name, _ in new:
            entry.headers.remove(name)
        for name, value in new:
            entry.headers.add(name, value)
        entry.asked, entry.came = asked, now
        self._put(entry)
        return entry

    def on_unsafe(self, method, url, status, headers):
        """Section 4.4: what a successful change has made doubtful. Locations of the same origin."""
        if method not in _SAFE and 200 <= status < 400:
            for u in [url] + headers:
                for key in self._keys(u):
                    self._forget(key)

    def clear(self):
        for key in list(self._order):
            self._forget(key)

    def _forget(self, key):
        if key in self._sizes:
            self._used -= self._sizes.pop(key)
            self._order.remove(key)
            self._store.remove(key)

    def _trim(self, room):
        while self._order and self._used + room > self.limit:
            self._forget(self._order[0])
