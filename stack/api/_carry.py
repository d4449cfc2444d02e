"""Carrying a DNS machine's messages: datagrams, shared connections, requests over HTTPS.

For every machine with the face of stack/dns/stub.py's Resolution: `ask` are the steps that see
it to its end, `together` does several at a time.
"""

import errno

from stack.core import errors
from stack.core.errors import POLLERR, POLLHUP, POLLIN, ProtocolError
from stack.core.timers import NEVER
from stack.dns.upstream import HTTPS, TLS, UDP
from stack.net.addr6 import ANY, V6

PORT = 53


def ask(rt, r):
    """Steps: until the resolution r is done."""
    carrier = None
    try:
        while not r.done:
            t = r.transmit()
            if t is not None:
                if carrier is not None:
                    carrier.close()
                    carrier = None
                try:
                    if t[0] == HTTPS:
                        yield from _request(rt, r, t[1], t[2])
                        continue
                    carrier = yield from _send(rt, t)
                except OSError as e:
                    r.on_failed(rt.now(), words(e))
                continue
            try:
                data = carrier.receive()
            except OSError as e:
                why = words(e)
                if carrier.is_stream and carrier.reused:
                    # It was closed while it was idle: that says nothing of the server.
                    try:
                        carrier = yield from _send(rt, carrier.sent)
                        continue
                    except OSError as again:
                        why = words(again)
                r.on_failed(rt.now(), why)
                continue
            if data is not None:
                if carrier.is_stream:
                    r.on_stream(data, rt.now())
                else:
                    r.on_datagram(data, carrier.server, rt.now())
                continue
            now = rt.now()
            if now < r.poll_at():
                yield carrier.endpoint, POLLIN, r.poll_at()
            else:
                carrier.close(True)
                r.on_timer(now)
    finally:
        if carrier is not None:
            carrier.close()


def _send(rt, t):
    """Steps: what carries a message that is on its way. OSError."""
    transport, server, data = t
    if isinstance(server, int):
        address, port = server, PORT
    else:
        from stack.api import _upstream

        address = (yield from _upstream.addresses(rt, server))[0]
        port = server.port if transport == TLS else PORT
    if transport == UDP:
        return _Datagrams(rt, server, address, data)
    context = None
    name = ""
    if transport == TLS:
        context = _upstream.context(server)
        name = server.name
    channel, there = rt.resolver.channels.get((server, transport), address, port, context, name)
    w = channel.ask(data[2:])
    w.reused = there
    w.sent = t
    return w


def _request(rt, r, server, data):
    """Steps: a message by HTTPS. OSError."""
    from stack.api import _upstream

    try:
        body, age = yield from _upstream.request(rt, server, data, r.poll_at())
    except ProtocolError as e:
        r.on_failed(rt.now(), "breaks HTTP: %s" % e)
        return
    except OSError:
        if rt.now() < r.poll_at():
            raise
        r.on_timer(rt.now())
        return
    r.on_http(body, age, rt.now())


def words(e):
    """Why it failed."""
    if len(e.args) > 1:
        return str(e.args[1])
    code = e.args[0] if e.args else 0
    if code == errors.ECONNREFUSED:
        return "refuses"
    return "cannot be reached (%s)" % errno.errorcode.get(code, code)


def together(rt, steps):
    """Steps: what each of several generators of steps has returned, or the OSError it raised."""
    out = [None] * len(steps)
    live = list(range(len(steps)))
    try:
        while live:
            waits = []
            until = NEVER
            for i in list(live):
                try:
                    endpoint, mask, at = steps[i].send(None)
                    until = min(until, at)
                    if endpoint is not None:
                        waits.append((endpoint, mask))
                except StopIteration as e:
                    out[i] = e.value
                    live.remove(i)
                except OSError as e:
                    out[i] = e
                    live.remove(i)
            if live:
                yield _Several(waits), POLLIN, until
        return out
    finally:
        for s in steps:
            s.close()


class _Several:
    """Endpoints, each with what is waited for, as one."""

    def __init__(self, waits):
        self._waits = waits

    def events(self):
        for e, mask in self._waits:
            if e.events() & (mask | POLLERR | POLLHUP):
                return POLLIN
        return 0

    @property
    def waker(self):
        return None

    @waker.setter
    def waker(self, waker):
        for e, _ in self._waits:
            e.waker = waker


class _Datagrams:
    """A UDP endpoint of its own for each question: its random port is one more secret."""

    is_stream = False

    def __init__(self, rt, server, address, data):
        self._rt = rt
        self.server = server
        self.endpoint = None
        rt.lock()
        try:
            now = rt.now()
            any = ANY if address >= V6 else 0
            self.endpoint = e = rt.host.udp.open(any, 0, now)
            e.connect(address, PORT)
            e.send_to(data, 0, len(data), 0, 0, now)  # no room: the machine sends it again
            rt.kick(now)
        except OSError:
            self.close()
            raise
        finally:
            rt.unlock()

    def receive(self):
        """A datagram, or None. OSError when the server refuses."""
        rt = self._rt
        rt.lock()
        try:
            n = self.endpoint.recv_into(rt.scratch, 0, len(rt.scratch))
            return bytes(rt.scratch_view[:n]) if n >= 0 else None
        finally:
            rt.unlock()

    def close(self, _late=False):
        if self.endpoint is not None:
            self.endpoint.close()
            self.endpoint = None
