"""ICMPv6: echo both ways, errors received told to their protocol, errors sent at a bounded rate.

RFC 4443, section 2.4 (when not to send an error; (f) the rate), RFC 8200. Neighbour
discovery goes to nd.py, listener discovery to mld.py.

Not implemented: node information, extended echo.
"""

from micropython import const

from stack.core import be, errors
from stack.core.frame import HEADROOM
from stack.core.mem import copy
from stack.net import addr6
from stack.net.icmp import Bucket, Ping, ping_pattern
from stack.wire import icmp6 as wire
from stack.wire import ipv6

_UNICAST = const(1)
_QUOTE = const(1232)  # "as much of the invoking packet as possible" within 1,280 bytes
_MAX_PINGS = const(256)

# By code of "destination unreachable", as Linux's errno values.
_UNREACHABLE = (
    errors.ENETUNREACH, errors.EACCES, errors.EHOSTUNREACH, errors.EHOSTUNREACH,
    errors.ECONNREFUSED, errors.EACCES, errors.EACCES,
)  # fmt: skip

_MAX_PAYLOAD = const(65535)


class Icmp6:
    def __init__(self, ip, pool, buffers, stats, rng):
        self.ip = ip
        self.pool = pool
        self.buffers = buffers
        self.stats = stats
        self.rng = rng
        self._hdr = wire.Icmp6()
        self._pings = {}  # identifier -> Ping
        self._bucket = Bucket()
        ip.register(ipv6.PROTO_ICMP6, self)
        ip.icmp = self
        ip.reassembly.on_expired = self._on_expired

    # In.

    def on_packet(self, h, f, now):
        m = self._hdr
        start = f.off
        if not m.parse(f, h.pseudo(f.end - start)):
            self.stats.drop(m.why)
            return
        t = m.type
        if t == wire.ECHO:
            if m.code:
                self.stats.drop("icmp6.code")
            elif h.kind != _UNICAST and not addr6.is_link_group(h.buf, h.start + 24):
                self.stats.drop("icmp6.echo_group")
            else:
                self._answer(h, f, start, now)
        elif t == wire.ECHO_REPLY:
            self._on_reply(h, f, m, now)
        elif wire.ROUTER_SOLICIT <= t <= wire.REDIRECT:
            f.off = start
            if h.iface.loopback:
                self.stats.drop("nd.loopback")
            else:
                h.iface.nd.on_message(h, f, t, now)
        elif wire.MLD_QUERY <= t <= wire.MLD_DONE or t == wire.MLD2_REPORT:
            f.off = start
            if not h.iface.loopback:
                h.iface.mld.on_message(h, f, t, now)
        elif t < 128:
            self._on_error_message(h, f, m, now)
        else:
            # (b) "an informational message of unknown type MUST be silently discarded".
            self.stats.drop("icmp6.type")

    def _answer(self, h, f, start, now):
        """RFC 4443, section 4.2: the same data, from the address that was asked."""
        path = self.ip.reply(h) if h.src != addr6.ANY else None
        if path is None:
            self.stats.drop("icmp6.no_route")
            return
        n = f.end - start
        s = path.pseudo(ipv6.PROTO_ICMP6)
        if n + 40 > path.mtu or n + HEADROOM > self.pool.size:
            # The buffer is the stack's until we return.
            self._turn(f.buf, start, n, s)
            if not path.fragment(f.buf, start, n, ipv6.PROTO_ICMP6, now):
                self.stats.drop("icmp6.no_room")
            return
        r = self.pool.get()
        if r is None:
            self.stats.drop("icmp6.no_room")
            return
        o = r.off
        copy(r.buf, o, f.buf, start, n)
        r.end = o + n
        self._turn(r.buf, o, n, s)
        if not path.output(r, ipv6.PROTO_ICMP6, now):
            self.stats.drop("icmp6.no_room")
            r.release()

    def _turn(self, b, o, n, pseudo):
        b[o] = wire.ECHO_REPLY
        be.put16(b, o + 2, 0)
        wire.finish(b, o, n, pseudo)

    def _on_reply(self, h, f, m, now):
        ping = self._pings.get(m.rest >> 16)
        if (
            ping is None
            or ping.seq != m.rest & 0xFFFF
            or ping.rtt_us >= 0
            or (ping.addr != h.src and not ping.to_group)
        ):
            self.stats.drop("icmp6.unexpected_reply")
            return
        ping.answered(h, f, now)

    def _on_error_message(self, h, f, m, now):
        mtu = 0
        t = m.type
        if t == wire.UNREACHABLE:
            code = _UNREACHABLE[m.code] if m.code < len(_UNREACHABLE) else errors.EHOSTUNREACH
        elif t == wire.TOO_BIG:
            code = errors.EMSGSIZE
            mtu = m.rest
        elif t == wire.TIME_EXCEEDED:
            code = errors.EHOSTUNREACH
        elif t == wire.PARAMETER_PROBLEM:
            code = errors.EPROTONOSUPPORT
        else:
            self.stats.drop("icmp6.type")
            return
        self.ip.quoted_on(h.iface)
        if self.ip.on_quoted(code, f, mtu, now):
            self.stats.count("icmp6.errors_in")
        else:
            self.stats.drop("icmp6.bad_quote")

    def on_error(self, code, h, f, now):
        """An error about an ICMPv6 message of ours: an echo request."""
        b = f.buf
        o = f.off
        if b[o] != wire.ECHO:
            return
        ping = self._pings.get(be.get16(b, o + 4))
        if ping is not None and ping.seq == be.get16(b, o + 6) and ping.addr == h.dst:
            ping.failed(code)

    # Out.

    def ping(self, addr, src=0):
        """A Ping for a handle. OSError: no route, or too many."""
        path = self.ip.path(addr, src)
        if path is None:
            raise OSError(errors.ENETUNREACH)
        if len(self._pings) >= _MAX_PINGS:
            raise OSError(errors.ENOBUFS)
        while True:
            ident = self.ip.random16()
            if ident not in self._pings:
                break
        p = Ping(self, addr, ident, path)
        p.to_group = path.kind != _UNICAST
        self._pings[ident] = p
        return p

    def forget(self, ping):
        if self._pings.get(ping.ident) is ping:
            del self._pings[ping.ident]

    def send_echo(self, path, ident, seq, n, now):
        """Send an echo request with n bytes of data. False: no room now."""
        rest = ident << 16 | seq
        if not path.follow(now):
            return True
        s = path.pseudo(ipv6.PROTO_ICMP6)
        if n + 48 > path.mtu or n + 8 + HEADROOM > self.pool.size:
            if n + 8 > _MAX_PAYLOAD:
                raise OSError(errors.EMSGSIZE)
            try:
                buf = self.buffers.alloc(n + 8)
            except MemoryError:
                return False
            ping_pattern(buf, 8, n)
            wire.build(buf, 0, wire.ECHO, 0, rest, n, s)
            ok = path.fragment(buf, 0, n + 8, ipv6.PROTO_ICMP6, now)
            self.buffers.free(buf)
            return ok
        f = self.pool.get()
        if f is None:
            return False
        f.end = f.off + n
        ping_pattern(f.buf, f.off, n)
        wire.emit(f, wire.ECHO, 0, rest, s)
        if path.output(f, ipv6.PROTO_ICMP6, now):
            return True
        f.release()
        return False

    def send_unreachable(self, h, f, code, now):
        """The packet of h, payload at f.off, could not be delivered; code 4: no such port."""
        self._send_error(wire.UNREACHABLE, code, 0, h, f, now, False)

    def send_problem(self, h, f, now):
        """A parameter problem: h.code, h.pointer. Code 2 also about packets to groups."""
        group_too = h.code == ipv6.UNRECOGNIZED_OPTION
        self._send_error(wire.PARAMETER_PROBLEM, h.code, h.pointer, h, f, now, group_too)

    def send_forward_error(self, kind, code, rest, h, f, now):
        """About a packet that was to go on, h.src its sender's handle; from an address of ours."""
        h.kind = 0  # not to us: the reply has no source yet
        self._send_error(kind, code, rest, h, f, now, True)

    def _on_expired(self, h, f, now):
        self._send_error(wire.TIME_EXCEEDED, wire.REASSEMBLY_EXCEEDED, 0, h, f, now, False)

    def _send_error(self, kind, code, rest, h, f, now, group_too):
        """RFC 4443, section 2.4 (e): never about an error or redirect, nor (mostly) a group."""
        b = h.buf
        if h.kind != _UNICAST and not group_too:
            return
        if h.src == addr6.ANY or h.frag & ipv6.OFFSET_MASK or addr6.is_multicast(b, h.start + 8):
            return
        if h.proto == ipv6.PROTO_ICMP6 and (
            f.off >= f.end or b[f.off] < 128 or b[f.off] == wire.REDIRECT
        ):
            return
        if not self._bucket.take(now):
            self.stats.count("icmp6.rate_limited")
            return
        path = self.ip.reply(h)
        r = self.pool.get() if path is not None else None
        if r is None:
            self.stats.count("icmp6.no_room")
            return
        n = min(f.end - h.start, _QUOTE, self.pool.size - HEADROOM)
        copy(r.buf, r.off, b, h.start, n)
        r.end = r.off + n
        wire.emit(r, kind, code, rest, path.pseudo(ipv6.PROTO_ICMP6))
        if path.output(r, ipv6.PROTO_ICMP6, now):
            self.stats.count("icmp6.errors_out")
        else:
            r.release()
