"""The stage of the virtual clock: the stack of tests/unit/transport/tcp/harness.py."""

import errno
import re

from stack.core.frame import HEADROOM
from stack.net.addr6 import ANY
from stack.net.marks import Marks
from stack.transport.tcp import block, status
from tests.tcp import segment as wire
from tests.unit.transport.tcp import harness as h

_ICMP = {  # by (type, code), as stack/net/icmp.py tells the transports
    (3, 0): errno.ENETUNREACH, (3, 1): errno.EHOSTUNREACH, (3, 2): errno.ENOPROTOOPT,
    (3, 3): errno.ECONNREFUSED, (3, 4): errno.EMSGSIZE, (3, 5): errno.EOPNOTSUPP,
    (11, 0): errno.EHOSTUNREACH, (12, 0): errno.ENOPROTOOPT,
}  # fmt: skip
_ADDRESSES = {
    "peer": h.PEER, "other": h.PEER2, "us": h.OUR, "us2": h.OUR2, "broadcast": 0x0AFFFFFF,
    "multicast": 0xE0000001, "nowhere": 0x08080808, "any": 0,
}  # fmt: skip
_SETTINGS = {"nodelay": "nodelay"}


class Quoted:
    """The IP header of a packet of ours in an ICMP error."""

    def __init__(self, src, dst, mtu):
        self.src, self.dst, self.mtu = src, dst, mtu


class Virtual:
    """See play.py. Every segment injected and emitted is checked as the harness does."""

    iss = h.L
    exact = True

    def __init__(self, case, six=False):
        """six: over IPv6, by a link whose MTU is as much larger as its header, so that the
        numbers are the same."""
        self.six = wire.V6 if six else 0
        self.default_mss = 1220 if six else 536
        host = dict(case.host)
        if six:
            host["mtu"] = host.get("mtu", 1500) + 20
        self.s = s = h.Script(**host)
        own, real = h.L if case.iss is None else case.iss, s.real_isn
        self.iss = h.L if own == "own" else own
        s.tcp.isn = real if own == "own" else lambda *_: own
        self.began = s.now
        self.states = s.states
        self.orphans = []
        self.held = []

    def now(self):
        return self.s.now

    def wait(self, until):
        self.s.advance(until - h.START)

    def settle(self):
        self.s.tcp.flush(self.s.now)

    def inject(self, seq, ack, flags, win, urg, options, data, corrupt, src, dst, port, tos, off,
               ipopt):  # fmt: skip
        s = self.s
        src, dst = self._address(src or "peer"), self._address(dst or "us")
        raw = wire.build(
            s.peer_port, port or s.port, seq, ack, flags, win, urg, options, data, src, dst,
            corrupt, off,
        )
        f = s.frame
        f.reset()
        f.off = HEADROOM
        f.end = HEADROOM + len(raw)
        f.buf[f.off : f.end] = raw
        header = h.IpHeader(src, dst)
        header.tos = lambda: tos
        s.tcp.on_packet(header, f, s.now)
        s.tcp.flush(s.now)
        h.check(s)
        return raw

    def _address(self, name):
        if name == "any":
            return ANY if self.six else 0
        return _ADDRESSES[name] | self.six

    def emitted(self, clock, low, high, hope=True):
        """The next packet, at `clock` + low..high exactly; None."""
        s = self.s
        if self.held:
            return self.held.pop()
        s.run(max(clock + high, s.now))
        if not s.out:
            return None
        o = s.out[0]
        at = o.at + h.START
        if hope and high and not clock + low <= at <= clock + high:
            raise AssertionError(
                f"{(at - clock) / 1e6:.6f} s after the step before came "
                f"{o!r} (should be {low / 1e6:.6f} to {high / 1e6:.6f})"
            )
        if not hope and at > clock + high:
            return None
        s.out.pop(0)
        h.check(s)
        p = wire.parse(o.raw, o.src, o.dst)
        p.at = at
        p.tos, p.ttl = o.tos, o.ttl
        return p

    def put_back(self, p):
        self.held.append(p)

    # -- the program

    def errno_name(self, e):
        return errno.errorcode[e.args[0]]

    def connect(self, args):
        more = {"fastopen": True} if "fastopen" in args else {}
        args = [a for a in args if a != "fastopen"]
        words = dict(zip(args[::2], args[1::2]))
        s = self.s
        if s.conn is not None:
            self.orphans.append(s.conn)
        s.conn = s.tcp.connect(
            self._address(words.get("to", "peer")), h.PEER_PORT, s.now,
            self._address(words.get("from", "any")), h.OUR_PORT, **more,
        )  # fmt: skip
        if "ttl" in words or "tos" in words:
            status.mark(s.conn, self._marks(words))

    def _marks(self, words):
        m = Marks()
        ttl, tos = int(words.get("ttl", -1)), int(words.get("tos", 0))
        if self.six:
            m.hops, m.tclass = ttl, tos
        else:
            m.ttl, m.tos = ttl, tos
        return m

    def listen(self, backlog, words):
        s = self.s
        any_address = self._address("any")
        s.listener = s.tcp.listen(any_address, h.OUR_PORT, backlog, s.now, "reuse" in words)
        if "fastopen" in words:
            s.listener.fastopen = 5
        if "ttl" in words or "tos" in words:
            s.listener.marks = self._marks(words)

    def flood(self, n):
        port, self.s.peer_port = self.s.peer_port, 1024
        for i in range(n):
            self.s.peer_port += 1
            self.inject(i, 0, "S", 65535, 0, b"", b"", False, "other", None, None, 0, None, b"")
        self.s.peer_port = port
        self.s.out.clear()

    def accept(self, hope=True):
        c = self.s.listener.accept()
        if c is not None:
            if self.s.conn is not None:
                self.orphans.append(self.s.conn)
            self.s.conn = c
        return c is not None

    def send(self, at, n):
        data = bytearray(wire.stream(at, n, wire.OUR))
        n = self.s.conn.send(data, 0, n, self.s.now)
        self.s.tcp.flush(self.s.now)
        return n

    def recv(self, n):
        """bytes, b"" at the end, None when there is nothing yet. OSError."""
        s = self.s
        buf = bytearray(n)
        got = s.conn.recv_into(buf, 0, n, s.now)
        s.tcp.flush(s.now)
        if got:
            return bytes(buf[:got])
        if s.conn.eof():
            return b""
        if s.conn.error:
            raise OSError(s.conn.error)
        return None

    def recv_all(self, n):
        return self.recv(n) or b""

    def _then_flush(self, function):
        function(self.s.now)
        self.s.tcp.flush(self.s.now)

    def shutdown(self):
        self._then_flush(self.s.conn.shutdown)

    def close(self):
        self._then_flush(self.s.conn.close)

    def abort(self):
        self._then_flush(self.s.conn.abort)

    def close_listener(self):
        self._then_flush(self.s.listener.close)

    def set(self, name, values):
        c = self.s.conn
        if name == "keepalive":
            if values:
                c.keepidle_us, c.keepintvl_us, c.keepcnt = values
            c.set_keepalive(True)
        elif name in ("ttl", "tos"):
            status.mark(c, self._marks({name: values[0]}))
        elif name == "user_timeout":
            status.set_user_timeout(c, values[0], self.s.now)
        else:
            setattr(c, _SETTINGS.get(name, name), values[0] if values else True)
        self.s.tcp.flush(self.s.now)

    def state(self, want):
        if self.s.conn is None:
            return "LISTEN" if self.s.listener is not None else "CLOSED"
        return h.state(self.s)

    def error(self, want):
        e = self.s.conn.error
        return errno.errorcode[e] if e else ""

    def check(self, text, iss, irs):
        """(whether it holds, what the left side of its comparison is)."""
        s = self.s
        names = {"c": s.conn, "tcp": s.tcp, "listener": s.listener, "states": s.states,
                 "stats": s.stats, "iss": iss, "irs": irs, "len": len, "min": min,
                 "max": max}  # fmt: skip
        names.update(vars(block))  # the words of c.w
        if eval(text, {"__builtins__": {}}, names):
            return True, ""
        left = re.split(r" (?:[=!<>]=|[<>]) ", text)[0]
        return False, eval(left, {"__builtins__": {}}, names)

    def drops(self, reason):
        return self.s.stats.dropped(reason) > 0

    def icmp(self, kind, code, seq, mtu):
        s = self.s
        told = _ICMP.get((kind, code))
        if told is None:
            return
        src, dst = self._address("us"), self._address("peer")
        if mtu:
            mtu += 20 if self.six else 0
            s.mtu = mtu
            if s.conn is not None:
                s.conn.path.mtu = mtu
        f = s.frame
        f.reset()
        f.off = HEADROOM
        quoted = wire.build(h.OUR_PORT, s.peer_port, seq, 0, "A", 0, 0, b"", b"", src, dst)
        f.buf[f.off : f.off + len(quoted)] = quoted
        f.end = f.off + len(quoted)
        s.tcp.on_error(told, Quoted(src, dst, mtu), f, s.now)
        s.tcp.flush(s.now)

    def finish(self):
        """All that is left is ended; then nothing may be left."""
        s = self.s
        for c in [*self.orphans, s.conn]:
            if c is not None:
                c.abort(s.now)
        if s.listener is not None:
            s.listener.close(s.now)
        s.full = s.hold = False
        for f in s.held:
            f.release()
        s.out.clear()
        for _ in range(8):
            s.advance(s.now - h.START + 120 * h.SEC)
            s.out.clear()
        h.assert_clean(s)
