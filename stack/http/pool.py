"""Connections that are kept: at most ORIGIN_MAX of HTTP/1.1 an origin, or one of HTTP/2.

A Pool is given what waits and connects (`transport`, see client.py) and owns the rest:
who may use which connection, how long an idle one is kept, who has to wait.
Not implemented: a maximum over all origins; each idle connection ages by itself.
"""

from micropython import const

from stack.core import errors
from stack.http.h1client import H1Client
from stack.http.h2client import H2Client

ORIGIN_MAX = const(6)
IDLE_US = const(30_000_000)


class Origin:
    """What is known of one origin (as reached in one way)."""

    def __init__(self):
        self.idle = []  # H1Clients, the latest last
        self.live = 0  # HTTP/1.1 connections, idle ones and those under way
        self.h2 = None
        self.speaks_h1 = False  # known not to speak HTTP/2
        self.connecting = 0
        self.waiting = []  # signals


class Pool:
    def __init__(self, transport, idle_us=IDLE_US):
        self._transport = transport
        self._idle_us = idle_us
        self._origins = {}

    def acquire(self, way, limits):
        """Steps: (connection, whether it was used before). way: a Way. OSError."""
        t = self._transport
        while True:
            o = self._origins.get(way.key)
            if o is None:  # or it was forgotten while we waited
                o = self._origins[way.key] = Origin()
            c = o.h2
            if c is not None:
                if (yield from c.alive()) and c.can_open():
                    return c, c.used
                if c.closing():
                    self._drop_h2(o, c)
                    continue
            while o.idle:
                c = o.idle.pop()
                if c.alive() and t.now() - c.idle_since < self._idle_us:
                    return c, True
                c.close()
                o.live -= 1
            # Who may speak HTTP/2 is asked by one connection first.
            first = way.may_h2 and not o.speaks_h1 and (o.connecting or o.h2 is not None)
            if o.live < ORIGIN_MAX and not first:
                return (yield from self._connect(o, way, limits)), False
            signal = t.signal()
            o.waiting.append(signal)
            woken = False
            try:
                yield from t.wait_signal(signal, limits.connect_deadline(t.now()))
                woken = True
            finally:
                if signal in o.waiting:
                    o.waiting.remove(signal)
                elif not woken:
                    self._wake(o)  # its turn is somebody else's

    def _connect(self, o, way, limits):
        t = self._transport
        o.live += 1
        o.connecting += 1
        made = None
        try:
            stream = yield from t.connect(way, limits.connect_deadline(t.now()))
            if stream.alpn == "h2" or way.prior_knowledge:
                made = H2Client(t, stream)
                o.h2 = made
            else:
                made = H1Client(t, stream)
                o.speaks_h1 = True
            return made
        finally:
            o.connecting -= 1
            if made is None or made is o.h2:
                o.live -= 1
            self._wake(o)

    def _wake(self, o):
        # HTTP/2 serves all that wait, a place of HTTP/1.1 one of them: each place another one.
        while o.waiting:
            o.waiting.pop(0).set()
            if o.h2 is None:
                break

    def _drop_h2(self, o, c):
        if o.h2 is c:
            o.h2 = None
        c.close_when_done()

    def release(self, way, c):
        """The exchange on c has ended; it is kept if it may be."""
        o = self._origins[way.key]
        now = self._transport.now()
        if isinstance(c, H2Client):
            c.idle_since = now
            if c.closing():
                self._drop_h2(o, c)
        elif c.reusable():
            c.idle_since = now
            o.idle.append(c)
        else:
            c.close()
            o.live -= 1
        self._wake(o)
        self._transport.call_at(now + self._idle_us, self.expire)

    def expire(self, now):
        """Close what has been idle for too long, and what its server has closed."""
        next_at = 0
        for key in list(self._origins):
            o = self._origins[key]
            for c in list(o.idle):
                if now - c.idle_since >= self._idle_us or not c.alive():
                    o.idle.remove(c)
                    o.live -= 1
                    c.close()
            c = o.h2
            if c is not None and c.idle() and now - c.idle_since >= self._idle_us:
                o.h2 = None
                c.close_when_done()
            if o.idle or o.h2 is not None:
                next_at = now + self._idle_us
            elif not o.live and not o.waiting and not o.connecting:
                del self._origins[key]
        if next_at:
            self._transport.call_at(next_at, self.expire)

    def close(self):
        """Close all that is idle."""
        for o in self._origins.values():
            for c in o.idle:
                o.live -= 1
                c.close()
            o.idle = []
            if o.h2 is not None:
                o.h2.close_when_done()
                o.h2 = None


class Way:
    """How an origin is reached: what a connection must have in common to be used again."""

    def __init__(self, url, verify=None, proxy=None, http2=None):
        self.scheme = url.scheme
        self.host = url.host
        self.port = url.port
        self.verify = verify
        self.proxy = proxy
        self.tunnel = url.scheme == "https"  # through a proxy, which else is asked itself
        self.prior_knowledge = http2 == "prior"
        self.may_h2 = self.prior_knowledge or url.scheme == "https" and http2 is not False
        v = verify if isinstance(verify, (str, bytes, bool)) or verify is None else id(verify)
        self.key = (url.origin(), v, str(proxy), http2)


class Limits:
    """A request's deadlines: `connect`, `read` (of each wait) and `total`, in seconds or None."""

    def __init__(self, timeout, now, never):
        if isinstance(timeout, tuple):
            connect, read, total = timeout if len(timeout) == 3 else timeout + (None,)
        else:
            connect = read = timeout
            total = None
        self._never = never
        self._connect = connect
        self._read = read
        self._total = never if total is None else now + int(total * 1000000)

    def _deadline(self, seconds, now):
        at = self._never if seconds is None else now + int(seconds * 1000000)
        return min(at, self._total)

    def connect_deadline(self, now):
        return self._deadline(self._connect, now)

    def read_deadline(self, now):
        return self._deadline(self._read, now)


class Lost(OSError):
    """The connection ended before anything of the answer came. `safe`: nothing was processed."""

    def __init__(self, safe=False, number=errors.ECONNRESET):
        super().__init__(number)
        self.safe = safe
