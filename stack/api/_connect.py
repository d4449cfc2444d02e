"""Connecting by name: the addresses of a host in good order, tried with little patience.

RFC 8305 (happy eyeballs): addresses sorted by RFC 6724, the families alternating; the next
attempt begins 250 ms after the last one, or at once when that has failed; the first to be
established is kept, the others are aborted.
"""

from micropython import const

from stack.api import _streams
from stack.core import errors
from stack.core.errors import POLLERR, POLLHUP, POLLOUT
from stack.net.addr6 import V6

deadline_of = _streams.deadline_of

_DELAY_US = const(250_000)  # section 5: Connection Attempt Delay
_MAX_ATTEMPTS = const(8)


class Any:
    """Several endpoints as one to wait for."""

    def __init__(self, endpoints):
        self._all = endpoints

    def events(self):
        ev = 0
        for e in self._all:
            ev |= e.events()
        return ev

    @property
    def waker(self):
        return None

    @waker.setter
    def waker(self, waker):
        for e in self._all:
            e.waker = waker


def alternate(addresses):
    """The same addresses with the families in turn, beginning with the first one's (section 4)."""
    if not addresses:
        return []
    six = addresses[0] >= V6
    first = [a for a in addresses if (a >= V6) == six]
    second = [a for a in addresses if (a >= V6) != six]
    out = []
    while first or second:
        if first:
            out.append(first.pop(0))
        if second:
            out.append(second.pop(0))
    return out


def steps(rt, host, port, deadline, af=0):
    """Steps: an established connection to host, a name or address. OSError of the first failure."""
    from stack.api import _resolve

    addresses = yield from _resolve.lookup_steps(rt, host, af)
    return (yield from race_steps(rt, alternate(addresses)[:_MAX_ATTEMPTS], port, deadline))


def race_steps(rt, addresses, port, deadline):
    """Steps: the endpoint of the first of these addresses (ints) that answers."""
    waiting = list(addresses)
    under_way = []
    won = None
    error = errors.ENETUNREACH
    failed = False
    next_at = 0
    try:
        while won is None:
            now = rt.now()
            if waiting and (now >= next_at or not under_way):
                rt.lock()
                try:
                    under_way.append(rt.host.tcp.connect(waiting.pop(0), port, now))
                    rt.kick(now)
                except OSError as e:
                    if not failed:
                        error = e.args[0]
                        failed = True
                    continue
                finally:
                    rt.unlock()
                next_at = now + _DELAY_US
            rt.lock()
            try:
                for e in list(under_way):
                    if e.events() & (POLLOUT | POLLERR | POLLHUP):
                        if not e.error:
                            won = e
                            break
                        if not failed:
                            error = e.error
                            failed = True
                        under_way.remove(e)
                        e.close(rt.now())
                        next_at = 0
            finally:
                rt.unlock()
            if won is not None:
                break
            if not under_way and not waiting:
                raise OSError(error)
            now = rt.now()
            if now >= deadline:
                raise OSError(errors.ETIMEDOUT)
            if under_way and not (waiting and now >= next_at):
                until = min(deadline, next_at) if waiting else deadline
                yield _one(under_way), POLLOUT, until
        return won
    finally:
        rt.lock()
        try:
            for e in under_way:
                if e is not won:
                    e.waker = None
                    e.abort(rt.now())
            rt.kick(rt.now())
        finally:
            rt.unlock()


def _one(endpoints):
    return endpoints[0] if len(endpoints) == 1 else Any(endpoints)


def stream_steps(rt, host, port, deadline):
    """Steps: a TcpStream connected to host."""
    from stack.api import _resolve

    addresses = yield from _resolve.lookup_steps(rt, host)
    return (yield from race_stream(rt, addresses, port, deadline))


def race_stream(rt, addresses, port, deadline):
    """Steps: a TcpStream connected to the first of these addresses that answers."""
    addresses = alternate(addresses)[:_MAX_ATTEMPTS]
    e = yield from race_steps(rt, addresses, port, deadline)
    stream = _streams.TcpStream(rt)
    stream.adopt(e)
    return stream
