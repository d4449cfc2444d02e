"""ICMP: echo both ways, errors received told to their protocol, errors sent.

RFC 792; RFC 1122, section 3.2.2 (when not to send an error); RFC 1191 (the MTU in
"fragmentation needed"); RFC 4443's token bucket for the rate, RFC 5927 (what the quoted
packet must look like is checked by its protocol).

Not implemented: redirects, source quench (both ignored: RFC 6633), timestamps; a TTL
of one's own for pings.
"""

from micropython import const

from stack.core import be, checksum, errors
from stack.core.frame import HEADROOM
from stack.core.mem import copy
from stack.net.addr6 import V6
from stack.wire import icmp4 as wire
from stack.wire import icmp6, ipv4

_UNICAST = const(1)

# Errors sent: a thousand a second, fifty at once (Linux's limits).
_TOKEN_US = const(1_000)
_BURST_US = const(50_000)

_QUOTE = const(548)  # RFC 1812, section 4.3.2.3: an error of at most 576 bytes

_MAX_PINGS = const(256)  # a program's doing; one identifier each

# RFC 1122, sections 3.2.2.1 and 4.2.3.9, as Linux's errno values; by code of "unreachable".
_UNREACHABLE = (
    errors.ENETUNREACH, errors.EHOSTUNREACH, errors.ENOPROTOOPT, errors.ECONNREFUSED,
    errors.EMSGSIZE, errors.EOPNOTSUPP, errors.ENETUNREACH, errors.EHOSTUNREACH,
    errors.EHOSTUNREACH, errors.ENETUNREACH, errors.EHOSTUNREACH, errors.ENETUNREACH,
    errors.EHOSTUNREACH, errors.EHOSTUNREACH, errors.EHOSTUNREACH, errors.EHOSTUNREACH,
)  # fmt: skip


class Ping:
    """Echo requests to one host, one at a time.

    send() asks; then `rtt_us` is the answer's time or -1, `ttl` and `size` its TTL and
    bytes of data, `error` an errno if the network said so (0: none), `waker` is told.
    """

    def __init__(self, icmp, addr, ident, path):
        self.addr = addr
        self.ident = ident
        self.seq = 0
        self.sent_at = 0
        self.rtt_us = -1
        self.ttl = self.size = self.error = 0
        self.waker = None
        self.to_group = False
        self._icmp = icmp
        self._path = path

    def send(self, n, now):
        """Send a request with n bytes of data. False: no room now, try again."""
        self.seq = seq = self.seq + 1 & 0xFFFF
        self.rtt_us = -1
        self.error = 0
        self.sent_at = now
        return self._icmp.send_echo(self._path, self.ident, seq, n, now)

    def events(self):
        if self.error:
            return errors.POLLERR | errors.POLLIN
        return errors.POLLIN if self.rtt_us >= 0 else 0

    def close(self):
        self._icmp.forget(self)

    # The stack's.

    def answered(self, h, f, now):
        """The answer has come, with the header h and its data in f."""
        self.rtt_us = now - self.sent_at
        self.ttl = h.ttl()
        self.size = f.end - f.off
        if self.waker is not None:
            self.waker.wake(self)

    def failed(self, code):
        """The network says that it does not go."""
        if self.rtt_us < 0:
            self.error = code
            if self.waker is not None:
                self.waker.wake(self)


class Bucket:
    """Errors may be sent while there are tokens: a thousand a second, fifty at once."""

    def __init__(self):
        self._credit_at = -_BURST_US  # when the bucket would have been empty

    def take(self, now):
        """True if one may be sent."""
        at = self._credit_at
        if now - at > _BURST_US:
            at = now - _BURST_US
        if now - at < _TOKEN_US:
            return False
        self._credit_at = at + _TOKEN_US
        return True


class Icmp:
    def __init__(self, ip, pool, buffers, stats, rng):
        self.ip = ip
        self.pool = pool
        self.buffers = buffers
        self.stats = stats
        self.rng = rng
        self._hdr = wire.Icmp4()
        self._pings = {}  # identifier -> Ping
        self._bucket = Bucket()
        ip.register(ipv4.PROTO_ICMP, self)
        ip.icmp = self
        ip.reassembly.on_expired = self._on_expired

    # In.

    def on_packet(self, h, f, now):
        m = self._hdr
        start = f.off
        if not m.parse(f):
            self.stats.drop(m.why)
            return
        t = m.type
        if t == wire.ECHO:
            if m.code:
                self.stats.drop("icmp.code")
            # RFC 1122, section 3.2.2.6: an echo to a broadcast may be discarded.
            elif h.kind != _UNICAST:
                self.stats.drop("icmp.echo_broadcast")
            else:
                self._answer(h, f, start, now)
        elif t == wire.ECHO_REPLY:
            self._on_reply(h, f, m, now)
        elif t == wire.UNREACHABLE or t == wire.TIME_EXCEEDED or t == wire.PARAMETER_PROBLEM:
            self._on_error_message(f, m, now)
        else:
            self.stats.drop("icmp.type")

    def take(self, f, off, now):
        """An echo request, at f.buf[off:] from IPv4's header on, like one that was answered just
        now: answer it, as `on_packet` does. False: it goes the ordinary way.
        """
        ip = self.ip
        src = ip.known_src
        dst = ip.known_dst
        n = wire.usual_echo(f.buf, off, f.end, src, dst)
        if not n or ip.forward is not None or ip.handlers[1] is not self:
            return False
        path = ip.last_reply
        if path.dst != src or path.src != dst or path.epoch != ip.routes.epoch:
            return False
        if checksum.add(f.buf, off + 20, n, 0) != 0xFFFF:
            return False
        self._send_back(path, f.buf, off + 20, n, now)
        return True

    def _answer(self, h, f, start, now):
        path = self.ip.reply(h)
        if path is None:
            self.stats.drop("icmp.no_route")
            return
        self._send_back(path, f.buf, start, f.end - start, now)

    def _send_back(self, path, buf, start, n, now):
        """Send the echo request of n bytes at buf[start:] back as its reply."""
        if n + 20 > path.mtu or n + HEADROOM > self.pool.size:
            # The buffer is the stack's until we return.
            wire.answer_echo(buf, start)
            if not path.fragment(buf, start, n, ipv4.PROTO_ICMP, now):
                self.stats.drop("icmp.no_room")
            return
        r = self.pool.get()
        if r is None:
            self.stats.drop("icmp.no_room")
            return
        o = r.off
        copy(r.buf, o, buf, start, n)
        r.end = o + n
        wire.answer_echo(r.buf, o)
        if not path.output(r, ipv4.PROTO_ICMP, now):
            self.stats.drop("icmp.no_room")
            r.release()

    def _on_reply(self, h, f, m, now):
        ping = self._pings.get(m.rest >> 16)
        if (
            ping is None
            or ping.seq != m.rest & 0xFFFF
            or ping.rtt_us >= 0
            or (ping.addr != h.src and h.kind == _UNICAST and self.ip.kind(ping.addr) == _UNICAST)
        ):
            self.stats.drop("icmp.unexpected_reply")
            return
        ping.answered(h, f, now)

    def _on_error_message(self, f, m, now):
        mtu = 0
        if m.type == wire.TIME_EXCEEDED:
            code = errors.EHOSTUNREACH
        elif m.type == wire.PARAMETER_PROBLEM:
            code = errors.EPROTONOSUPPORT
        elif m.code > 15:
            self.stats.drop("icmp.code")
            return
        else:
            code = _UNREACHABLE[m.code]
            if m.code == wire.FRAG_NEEDED:
                mtu = m.rest & 0xFFFF
        if self.ip.on_quoted(code, f, mtu, now):
            self.stats.count("icmp.errors_in")
        else:
            self.stats.drop("icmp.bad_quote")

    def on_error(self, code, h, f, now):
        """An error about an ICMP message of ours: an echo request."""
        b = f.buf
        o = f.off
        if b[o] != wire.ECHO:
            return
        ping = self._pings.get(be.get16(b, o + 4))
        if ping is not None and ping.seq == be.get16(b, o + 6) and ping.addr == h.dst:
            ping.failed(code)

    # Out.

    def ping(self, addr, src=0):
        """A Ping for addr. OSError: no route, or too many."""
        if addr >= V6:
            return self.ip.v6.icmp.ping(addr, src)
        path = self.ip.path(addr, src)
        if path is None:
            raise OSError(errors.ENETUNREACH)
        if len(self._pings) >= _MAX_PINGS:
            raise OSError(errors.ENOBUFS)
        ident = self._ident()
        p = Ping(self, addr, ident, path)
        self._pings[ident] = p
        return p

    def _ident(self):
        while True:
            r = self.rng(2)
            ident = r[0] << 8 | r[1]
            if ident not in self._pings:
                return ident

    def forget(self, ping):
        if self._pings.get(ping.ident) is ping:
            del self._pings[ping.ident]

    def send_echo(self, path, ident, seq, n, now):
        """Send an echo request with n bytes of data. False: no room now."""
        rest = ident << 16 | seq
        if n + 28 > path.mtu or n + 8 + HEADROOM > self.pool.size:
            if n + 28 > 65535:
                raise OSError(errors.EMSGSIZE)
            try:
                buf = self.buffers.alloc(n + 8)
            except MemoryError:
                return False
            ping_pattern(buf, 8, n)
            wire.build(buf, 0, wire.ECHO, 0, rest, n)
            ok = path.fragment(buf, 0, n + 8, ipv4.PROTO_ICMP, now)
            self.buffers.free(buf)
            return ok
        f = self.pool.get()
        if f is None:
            return False
        f.end = f.off + n
        ping_pattern(f.buf, f.off, n)
        wire.emit(f, wire.ECHO, 0, rest)
        if path.output(f, ipv4.PROTO_ICMP, now):
            return True
        f.release()
        return False

    def send_unreachable(self, h, f, code, now):
        """Tell the sender of h that its packet, payload at f.off, could not be delivered."""
        if h.src >= V6:
            self.ip.v6.icmp.send_unreachable(h, f, icmp6.PORT_UNREACHABLE if code == 3 else 0, now)
            return
        self.send_error(wire.UNREACHABLE, code, 0, h, f, None, now)

    def _on_expired(self, h, f, now):
        self.send_error(wire.TIME_EXCEEDED, wire.REASSEMBLY_EXCEEDED, 0, h, f, None, now)

    def send_error(self, kind, code, rest, h, f, path, now):
        """Tell the sender of the packet h, payload at f.off, of an error, by path (None: a reply).

        rest: the message's second word. RFC 1122, section 3.2.2: never about an ICMP error, a
        broadcast, a later fragment.
        """
        buf = f.buf
        n = f.end - f.off
        if h.kind != _UNICAST or h.frag & 0x1FFF:
            return
        if h.proto == ipv4.PROTO_ICMP and (not n or buf[h.start + h.header_len()] != wire.ECHO):
            return
        if not self._bucket.take(now):
            self.stats.count("icmp.rate_limited")
            return
        if path is None:
            path = self.ip.reply(h)
        r = self.pool.get() if path is not None else None
        if r is None:
            self.stats.count("icmp.no_room")
            return
        n = min(h.header_len() + n, _QUOTE, self.pool.size - HEADROOM)
        copy(r.buf, r.off, buf, h.start, n)
        r.end = r.off + n
        wire.emit(r, kind, code, rest)
        if path.output(r, ipv4.PROTO_ICMP, now):
            self.stats.count("icmp.errors_out")
        else:
            r.release()


def ping_pattern(buf, off, n):
    """The data of an echo request."""
    for i in range(n):
        buf[off + i] = i & 0xFF
