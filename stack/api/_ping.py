"""Echo requests in a row, for net.ping and its asyncio twin."""

import errno

from stack.api import _address
from stack.core.errors import POLLIN
from stack.core.timers import NEVER


class PingResult:
    """`sent`, `received`, and `rtts` in milliseconds, in order. True if any answer came."""

    def __init__(self, host):
        self.host = host
        self.sent = 0
        self.received = 0
        self.rtts = []

    def __bool__(self):
        return self.received > 0

    def __repr__(self):
        lost = 100 * (self.sent - self.received) // self.sent if self.sent else 0
        text = "%d sent, %d received, %d%% lost" % (self.sent, self.received, lost)
        r = self.rtts
        if r:
            text += ", rtt min/avg/max %.3f/%.3f/%.3f ms" % (min(r), sum(r) / len(r), max(r))
        return text


def steps(rt, host, count, interval, size, timeout, quiet):
    """Ping `host`; a line each unless quiet. Ends with a PingResult. OSError."""
    from stack.api import _resolve

    address = (yield from _resolve.lookup_steps(rt, host))[0]
    result = PingResult(host)
    rt.lock()
    try:
        ping = rt.host.icmp.ping(address)
    finally:
        rt.unlock()
    try:
        while True:
            began = rt.now()
            yield from _one(rt, ping, size, began + int(timeout * 1000000))
            result.sent += 1
            if ping.rtt_us >= 0:
                result.received += 1
                result.rtts.append(ping.rtt_us / 1000)
            if not quiet:
                print(_line(ping, _address.text(address, ping._path)))
            if result.sent >= count:
                return result
            again = began + int(interval * 1000000)
            while rt.now() < again:
                yield None, 0, again
    finally:
        rt.lock()
        ping.close()
        rt.unlock()


def _one(rt, ping, size, deadline):
    rt.lock()
    try:
        now = rt.now()
        ping.send(size, now)
        rt.kick(now)
    finally:
        rt.unlock()
    while rt.now() < deadline:
        rt.lock()
        ready = ping.events()
        rt.unlock()
        if ready:
            return
        yield ping, POLLIN, min(deadline, NEVER)


def _line(ping, address):
    if ping.rtt_us >= 0:
        return "%d bytes from %s: seq=%d ttl=%d time=%.3f ms" % (
            ping.size,
            address,
            ping.seq,
            ping.ttl,
            ping.rtt_us / 1000,
        )
    if ping.error:
        return "seq=%d: %s" % (ping.seq, errno.errorcode.get(ping.error, ping.error))
    return "seq=%d: no answer" % ping.seq
