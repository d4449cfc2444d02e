"""What of a socket is about readiness: its endpoint, who waits for it, and for how long."""

import io

from micropython import const

from stack.core import errors
from stack.core.errors import POLLERR, POLLHUP, POLLOUT
from stack.core.timers import NEVER

_STREAM = const(1)  # socket.SOCK_STREAM
# Requests of MicroPython's C code to a stream.
_POLL = const(3)
_CLOSE = const(4)
_POLLNVAL = const(32)


class Pollable(io.IOBase):
    # How a socket begins; as names of the class, since storing each costs a microsecond.
    _ep = None
    _conn = None  # the endpoint again, where it is a stream that is read and written as it is
    _slot = -1
    _guard = None
    _listening = False
    _closed = False
    _timeout_us = -1  # -1 wait for ever, 0 do not wait
    _bound = None
    _reuse = False
    _broadcast = False
    _linger = -1
    _tcp = None  # TCP's options that were set, by number
    _marks = None  # of IP headers, a stack.net.marks.Marks
    _keepalive = False
    _read_shut = False
    _groups = None
    _multicast = None
    _proto = 0
    _waker = None
    _poll_entry = None
    _notifier = None

    # Endpoint, readiness, waiting.

    def _set_endpoint(self, e):
        self._ep = e
        if self._type == _STREAM and not self._listening:
            self._conn = e
        self._slot, self._guard = self._rt.guards.take(e)
        if self._waker is not None:
            self._follow()
            self._waker.wake(e)

    def events(self):
        """POLL bits now. For select."""
        return self._source().events()

    def _source(self):
        """What has the socket's events now."""
        e = self._ep
        if e is None:
            if self._closed:
                return _CLOSED
            return _UNCONNECTED if self._type == _STREAM else _UNBOUND
        return e

    def _follow(self):
        """Who waits for the socket looks at the endpoint that it has now, or at none."""
        w = self._waker
        if w is not None:
            source = self._source()
            for entry in w.all if isinstance(w, _Wakers) else (w,):
                entry.source = source
        if self._ep is not None:
            self._ep.waker = w

    def poll_attach(self, entry):
        """entry: a select._Entry, whose source is kept true from here on."""
        entry.stays = True
        w = self._waker
        if w is None:
            self._waker = entry
        elif isinstance(w, _Wakers):
            w.all.append(entry)
        elif w is not entry:
            self._waker = _Wakers([w, entry])
        self._follow()

    def poll_detach(self, entry):
        w = self._waker
        if w is entry:
            self._waker = None
        elif isinstance(w, _Wakers):
            w.all = [x for x in w.all if x is not entry]
            if not w.all:
                self._waker = None
        self._follow()

    def ioctl(self, request, arg):
        """For C code that polls or closes a stream."""
        if request == _POLL:
            return self.events() & (arg | POLLERR | POLLHUP)
        if request == _CLOSE:
            self.close()
            return 0
        return -errors.EINVAL

    def _wait(self, deadline):
        """Called when an operation found nothing. 0 begins; returns the deadline for next time."""
        t = self._timeout_us
        if t < 0:
            self._rt.wait(NEVER)
            return NEVER
        if t == 0:
            raise OSError(errors.EAGAIN)
        now = self._rt.now()
        if deadline == 0:
            deadline = now + t
        elif now >= deadline:
            raise OSError(errors.ETIMEDOUT)
        self._rt.wait(deadline)
        return deadline

    def _check_open(self):
        if self._closed:
            raise OSError(errors.EBADF)

    def _endpoint(self):
        """The endpoint of a connected stream; OSError if there is none."""
        e = self._ep
        if e is None or self._listening:
            self._check_open()
            raise OSError(errors.ENOTCONN)
        return e

    def settimeout(self, value):
        if value is None:
            self._timeout_us = -1
        elif value < 0:
            raise ValueError("timeout is negative")
        else:
            t = int(value * 1000000)
            self._timeout_us = t if t or not value else 1

    def gettimeout(self):
        return None if self._timeout_us < 0 else self._timeout_us / 1000000

    def setblocking(self, flag):
        self._timeout_us = -1 if flag else 0


class _Fixed:
    """The readiness of a socket without an endpoint."""

    def __init__(self, bits):
        self._bits = bits

    def events(self):
        return self._bits


# As Linux: nothing to read, writing fails at once.
_UNCONNECTED = _Fixed(POLLOUT | POLLHUP)
_UNBOUND = _Fixed(POLLOUT)
_CLOSED = _Fixed(_POLLNVAL)


class _Wakers:
    """Several pollers of one socket."""

    def __init__(self, wakers):
        self.all = wakers

    def wake(self, endpoint):
        for w in self.all:
            w.wake(endpoint)
