"""Segment scripts for TCP on a virtual clock.

    s = established()
    send(s, seg(seq=R + 1, ack=L + 1, data=b"abc"), at=0)
    expect(s, seg(ack=R + 4), at=DELACK)
    expect_nothing(s)

`send` gives a segment to the stack, `expect` takes the next one that it emits and
compares the fields that are named. L and R are the initial sequence numbers of our
side and of the peer's; times are microseconds since the script began. Every emitted
segment's checksum and sizes are checked as it leaves.
"""

from stack.core import be, checksum
from stack.core.frame import CAP_TSO4, CAP_TX_CSUM, HEADROOM, Frame, FramePool
from stack.core.mem import Buffers
from stack.core.stats import Stats
from stack.core.timers import Timers
from stack.net.addr6 import V6
from stack.transport.tcp import Tcp
from stack.transport.tcp.block import BACKOFF, MIN_RTT_US, RTTVAR_US, SRTT_US, TS_ON
from stack.transport.tcp.rtt import Rtt
from stack.transport.tcp.states import NAMES
from stack.wire import tcp as wire
from tests.unit.transport.tcp.check import check as check_connection

L = 5000  # our ISS
R = 1000000  # the peer's
OUR = 0x0A000002
OUR2 = 0x0A000003  # another address of ours
PEER = 0x0A000001
PEER2 = 0x0A000009
OUR_PORT = 80
PEER_PORT = 40000
T = 700000  # the peer's clock of timestamps when a script begins
MS = 1000
SEC = 1000000
DELACK = 40 * MS
RTO = 200 * MS
MSS = 1460
WND = 65535
START = 10 * SEC

_FLAGS = (("F", wire.FIN), ("S", wire.SYN), ("R", wire.RST), ("P", wire.PSH), ("A", wire.ACK),
          ("U", wire.URG), ("E", wire.ECE), ("W", wire.CWR))


def flag_bits(text):
    v = 0
    for name, bit in _FLAGS:
        if name in text:
            v |= bit
    return v


def flag_text(v):
    return "".join(name for name, bit in _FLAGS if v & bit)


class Seg:
    """A segment to send or to expect; None means: not compared (or the usual)."""

    def __init__(self, flags, seq, ack, data, n, wnd, mss, wscale, gso, options, port, peer_port,
                 ts=None, sack=None, sack_ok=None):
        self.flags = flags
        self.seq = seq
        self.ack = ack
        self.data = data
        self.n = n
        self.wnd = wnd
        self.mss = mss
        self.wscale = wscale
        self.gso = gso
        self.options = options
        self.port = port
        self.peer_port = peer_port
        self.ts = ts  # (TSval, TSecr)
        self.sack = sack  # [(left, right), ...]
        self.sack_ok = sack_ok
        self.tos = self.ttl = None
        self.head = b""
        self.at = 0
        self.raw = None
        self.src = self.dst = 0

    def __repr__(self):
        out = "<%s" % self.flags
        for name, v in (
            ("seq", self.seq), ("ack", self.ack), ("wnd", self.wnd), ("mss", self.mss),
            ("wscale", self.wscale), ("gso", self.gso), ("ts", self.ts), ("sack", self.sack),
        ):
            if v is not None:
                if name == "seq":
                    v = _relative(v)
                elif name == "ack":
                    v = _relative(v)
                elif name == "sack":
                    v = [(_relative(lo), _relative(hi)) for lo, hi in v]
                out += " %s=%s" % (name, v)
        if self.n is not None:
            out += " n=%d" % self.n
        elif self.data:
            out += " %d bytes %r" % (len(self.data), bytes(self.data[:16]))
        return out + " at=%d>" % self.at


def _relative(v):
    if 0 <= v - L < 100000:
        return "L+%d" % (v - L)
    if 0 <= v - R < 1 << 30:
        return "R+%d" % (v - R)
    return str(v)


def seg(flags="A", seq=None, ack=None, data=b"", n=None, wnd=None, mss=None, wscale=None,
        gso=None, options=None, port=None, peer_port=None, ts=None, sack=None, sack_ok=None):
    """n: only the payload's length matters. options: raw bytes to send. ts: (TSval, TSecr)."""
    if seq is not None:
        seq &= 0xFFFFFFFF
    if ack is not None:
        ack &= 0xFFFFFFFF
    return Seg(flags, seq, ack, data, n, wnd, mss, wscale, gso, options, port, peer_port, ts,
               sack, sack_ok)


def raw(addr):
    """An address as its header has it: of IPv6, the handle V6 | n is fd00::n here."""
    n = bytes([addr >> i & 0xFF for i in (24, 16, 8, 0)])
    return b"\xfd" + bytes(11) + n if addr >= V6 else n


def pseudo(src, dst, length=0):
    """The sum of the pseudo-header: RFC 9293 3.1, RFC 8200 8.1."""
    b = bytearray(raw(src) + raw(dst) + bytes([0, 6, length >> 8, length & 0xFF]))
    return checksum.add(b, 0, len(b), 0)


def kind(dst):
    """What the IP layer calls an address: 1 unicast, 2 broadcast, 3 multicast."""
    dst &= V6 - 1
    return 2 if dst == 0x0AFFFFFF else 3 if dst >> 28 == 14 else 1


class FakeDevice:
    """Frames it is given are counted; `passed` is how many it has read."""

    def __init__(self, gso_max):
        self.gso_max = gso_max
        self.taken = self.passed = 0

    def tx_mark(self):
        return self.taken

    def tx_passed(self, mark):
        return self.passed >= mark


class FakeIface:
    def __init__(self, gso_max):
        self.device = FakeDevice(gso_max)
        self.name = "eth0"


class FakePath:
    template = None  # so nothing leaves by the fast lane

    def __init__(self, s, dst, src):
        self.s = s
        self.src = src
        self.dst = dst
        self.mtu = s.mtu
        self.caps = s.caps
        self.iface = s.iface
        self.gso_max = s.iface.device.gso_max if s.caps & CAP_TSO4 else 0
        self.kind = kind(dst)
        self.header = 40 if dst >= V6 else 20
        self.set_ttl(-1)

    def set_ttl(self, ttl, tos=0):
        self.ttl = ttl if ttl >= 0 else 64
        self.tos = tos

    def follow(self, now):
        return True

    def shrink(self, now):
        return False

    def pseudo(self, proto):
        return pseudo(self.src, self.dst)

    def output(self, f, proto, now):
        s = self.s
        if s.full:
            return False
        assert proto & 0xFFFF == 6
        s.out.append(_take(s, self, f, now))
        s.out[-1].tos = proto >> 16 | self.tos
        s.out[-1].ttl = self.ttl
        d = s.iface.device
        d.taken += 1
        if s.hold:
            s.held.append(f)
        else:
            d.passed = d.taken
            f.release()
        return True


class FakeIp:
    """The IP layer's face: path() and register(); every address of 10/8 has a route."""

    def __init__(self, s):
        self.s = s
        self.interfaces = [s.iface]

    def register(self, proto, handler):
        assert proto == 6

    def path(self, dst, src=0):
        six = dst & V6
        low = dst - six
        if low >> 24 != 10 and low >> 28 != 14 or src not in (0, OUR | six, OUR2 | six):
            return None
        self.s.paths += 1
        return FakePath(self.s, dst, src or OUR | six)

    def private_path(self, dst, src=0, iface=None):
        return self.path(dst, src)

    def reply(self, h):
        if (h.src & V6 - 1) >> 24 != 10:
            return None
        return FakePath(self.s, h.src, h.dst if h.kind == 1 else OUR | h.src & V6)


class IpHeader:
    def __init__(self, src, dst, tos=0):
        self.src = src
        self.dst = dst
        self._tos = tos
        self.kind = kind(dst)

    def tos(self):
        return self._tos

    def pseudo(self, length):
        return pseudo(self.src, self.dst, length)


def _take(s, path, f, now):
    """What a frame says, as a Seg; its checksum and sizes are verified."""
    head = f.end - f.off
    total = head + f.data_len
    payload = bytearray(f.buf[f.off : f.end])
    if f.data_len:
        payload.extend(f.data[f.data_off : f.data_off + f.data_len])
    sum_pseudo = checksum.add(bytearray([total >> 8, total & 0xFF]), 0, 2, path.pseudo(6))
    if s.caps & CAP_TX_CSUM:
        assert f.csum_start == f.off and f.csum_offset == 16
        assert payload[16] << 8 | payload[17] == sum_pseudo, "pseudo-header sum"
    else:
        assert not f.csum_start and not f.gso_size
        assert checksum.valid(payload, 0, total, sum_pseudo), "checksum"
    h = wire.Header()
    g = Frame(payload)
    g.off = 0
    g.end = total
    assert h.parse(g)
    n = g.end - g.off
    if f.gso_size:
        assert s.caps & CAP_TSO4 and n <= s.iface.device.gso_max
        assert n > f.gso_size
    else:
        assert total + path.header <= s.mtu, (total, s.mtu)
    assert h.urgent == 0
    o = Seg(
        flag_text(h.flags), h.seq, h.ack, bytes(payload[g.off :]), None, h.window,
        h.mss if h.options & wire.HAS_MSS else None,
        h.wscale if h.options & wire.HAS_WSCALE else None,
        f.gso_size or None, None, h.src_port, h.dst_port,
        (h.ts_val, h.ts_ecr) if h.options & wire.HAS_TS else None,
        _blocks(payload, h) if h.options & wire.HAS_SACK else None,
        bool(h.options & wire.HAS_SACK_OK),
    )
    o.at = now - START
    o.head = bytes(payload[: g.off])
    o.raw = bytes(payload)  # as the wire carries it, a checksum left to the device not filled in
    o.src = path.src
    o.dst = path.dst
    return o


def _blocks(payload, h):
    out = []
    for o in range(h.sack_off, h.sack_off + h.sack_len, 8):
        out.append((be.get32(payload, o), be.get32(payload, o + 4)))
    return out


class Script:
    """The stack under test, the clock, and what it has emitted."""

    def __init__(self, caps=0, mtu=1500, gso_max=65536, frames=64, **options):
        self.caps = caps
        self.mtu = mtu
        self.iface = FakeIface(gso_max)
        self.full = False  # the device takes nothing
        self.hold = False  # the device keeps the frames it is given
        self.held = []
        self.out = []
        self.paths = 0  # how many the stack has asked for
        self.now = START
        self.stats = Stats()
        self.timers = Timers()
        self.buffers = Buffers()
        self.pool = FramePool([bytearray(2048) for _ in range(frames)])
        self.random = 1
        self.tcp = Tcp(FakeIp(self), self.timers, self.rng, self.stats, self.buffers, self.pool,
                       **options)
        self.real_isn = self.tcp.isn
        self.tcp.isn = lambda *_: L
        self.conn = None
        self.listener = None
        self.port = OUR_PORT
        self.peer_port = PEER_PORT
        self.wnd = WND
        self.states = []
        self.tcp.trace = lambda c, old, new, why: self.states.append(NAMES[new])
        self.rx = bytearray(70000)
        self.frame = Frame(self.rx)
        self.peer_ts = None  # TSval of the peer at time 0, once it sends timestamps
        self.seen_ts = 0  # the TSval that it would echo

    def stamp(self):
        """What the peer puts into a segment that does not say."""
        if self.peer_ts is None:
            return None
        return (self.peer_ts + (self.now - START) // 1000, self.seen_ts)

    def rng(self, n):
        out = bytearray(n)
        for i in range(n):
            self.random = (self.random * 1103515245 + 12345) & 0x7FFFFFFF
            out[i] = self.random >> 16 & 0xFF
        return bytes(out)

    # -- the clock

    def poll_at(self):
        return min(self.timers.poll_at(), self.tcp.poll_at())

    def run(self, until):
        """Let timers expire up to `until` (absolute), or up to the first thing emitted."""
        while not self.out:
            self.tcp.flush(self.now)
            if self.out:
                return
            at = self.poll_at()
            if at > until:
                break
            if at > self.now:
                self.now = at
            self.timers.expire(self.now)
        if self.now < until and not self.out:
            self.now = until

    def advance(self, at):
        """The clock to `at` (since the beginning); what is emitted meanwhile stays in `out`."""
        until = START + at
        while True:
            self.tcp.flush(self.now)
            t = self.poll_at()
            if t > until:
                break
            if t > self.now:
                self.now = t
            self.timers.expire(self.now)
        assert until >= self.now, "time runs backwards"
        self.now = until


def send(s, g, at=None, flush=True, src=PEER, dst=OUR, corrupt=False, tos=0):
    """Give segment g to the stack, at time `at`. Unnamed: seq and ack of an idle peer."""
    if at is not None:
        s.advance(at)
    f = s.frame
    f.reset()
    options = g.options or b""
    if g.mss is not None:
        options += bytes([2, 4, g.mss >> 8, g.mss & 0xFF])
    if g.wscale is not None:
        options += bytes([1, 3, 3, g.wscale])
    if g.sack_ok:
        options += b"\x04\x02"
    ts = g.ts if g.ts is not None else s.stamp()
    if ts is not None:
        b = bytearray(12)
        wire.stamp(b, 0, ts[0] & 0xFFFFFFFF, ts[1] & 0xFFFFFFFF)
        options += b
    if g.sack:
        options += bytes([5, 2 + 8 * len(g.sack)])
        for lo, hi in g.sack:
            b = bytearray(8)
            be.put32(b, 0, lo & 0xFFFFFFFF)
            be.put32(b, 4, hi & 0xFFFFFFFF)
            options += b
    while len(options) & 3:
        options += b"\x01"
    hl = 20 + len(options)
    o = f.off = HEADROOM
    f.end = o + hl + len(g.data)
    flags = flag_bits(g.flags)
    seq = g.seq if g.seq is not None else R + 1
    ack = g.ack if g.ack is not None else (L + 1 if flags & wire.ACK else 0)
    wnd = g.wnd if g.wnd is not None else s.wnd
    ports = (g.peer_port or s.peer_port) << 16 | (g.port or s.port)
    wire.build(f.buf, o, ports, seq, ack, wire.control(hl, flags, wnd), 0)
    f.buf[o + 20 : o + hl] = options
    f.buf[o + hl : f.end] = g.data
    iph = IpHeader(src, dst, tos)
    c = checksum.checksum(f.buf, o, f.end - o, iph.pseudo(f.end - o))
    if corrupt:
        c ^= 0x0100
    f.buf[o + 16] = c >> 8
    f.buf[o + 17] = c & 0xFF
    s.tcp.on_packet(iph, f, s.now)
    if flush:
        s.tcp.flush(s.now)
    check(s)


def expect(s, g, at=None, within=None):
    """The next segment that the stack emits, compared with g; waits for it until `at`.

    at: exactly then. Without it the segment must be there by now (or `within` us).
    """
    until = START + at if at is not None else s.now + (within or 0)
    s.run(until)
    assert s.out, "expected %r, nothing came (now %d)" % (g, s.now - START)
    o = s.out.pop(0)
    if o.ts is not None:
        s.seen_ts = o.ts[0]
    assert at is None or o.at == at, "expected at %d: %r" % (at, o)
    flags = o.flags if "P" in g.flags else o.flags.replace("P", "")
    assert sorted(flags) == sorted(g.flags), "flags: expected %r, got %r" % (g, o)
    for name in ("seq", "ack", "wnd", "mss", "wscale", "gso", "port", "peer_port", "ts", "sack",
                 "sack_ok"):
        want = getattr(g, name)
        assert want is None or want == getattr(o, name), "%s: expected %r, got %r" % (name, g, o)
    if g.n is not None:
        assert len(o.data) == g.n, "length: expected %r, got %r" % (g, o)
    else:
        assert o.data == g.data, "data: expected %r, got %r" % (g, o)
    check(s)
    return o


def expect_nothing(s, for_us=0):
    """Nothing is emitted now, nor in the next for_us microseconds."""
    s.run(s.now + for_us)
    assert not s.out, "expected nothing, got %r" % s.out


def drain(s):
    """Everything emitted up to now."""
    s.tcp.flush(s.now)
    out = s.out
    s.out = []
    return out


def check(s):
    """Invariants that hold after every step."""
    if s.conn is not None:
        check_connection(s.conn)


# -- constructors


def _new(options):
    return Script(**options)


def syn_sent(**options):
    """After an active open whose SYN has left."""
    s = _new(options)
    s.conn = s.tcp.connect(PEER, PEER_PORT, s.now, 0, OUR_PORT)
    expect(s, seg("S", seq=L))
    return s


def listening(backlog=8, **options):
    s = _new(options)
    s.listener = s.tcp.listen(0, OUR_PORT, backlog, s.now)
    return s


def syn_received(**options):
    """A simultaneous open: our SYN crossed the peer's."""
    s = syn_sent(**options)
    send(s, seg("S", seq=R, mss=MSS))
    expect(s, seg("SA", seq=L, ack=R + 1))
    return s


def established(mss=MSS, wscale=None, wnd=WND, **options):
    """An open connection, opened by us; the peer's window is `wnd` unscaled bytes."""
    s = syn_sent(**options)
    s.wnd = wnd
    send(s, seg("SA", seq=R, ack=L + 1, mss=mss, wscale=wscale, wnd=min(wnd, 65535)))
    expect(s, seg("A", seq=L + 1, ack=R + 1))
    assert state(s) == "ESTABLISHED"
    return s


def unmeasured(c):
    """As if no round trip of the connection had been measured."""
    w = c.w
    w[SRTT_US] = w[RTTVAR_US] = w[MIN_RTT_US] = w[BACKOFF] = 0
    Rtt(w)


def full(mss=MSS, wscale=7, wnd=60000, ts=True, sack_ok=True, **options):
    """As `established`, with a peer that has every option; T is its clock at time 0."""
    s = syn_sent(**options)
    s.wnd = wnd
    if ts:
        s.peer_ts = T
    send(s, seg("SA", seq=R, ack=L + 1, mss=mss, wscale=wscale, wnd=wnd, sack_ok=sack_ok))
    expect(s, seg("A", seq=L + 1, ack=R + 1))
    assert state(s) == "ESTABLISHED" and s.conn.w[TS_ON] == ts and s.conn.sack_ok == sack_ok
    return s


def accepted(mss=MSS, wscale=None, wnd=WND, **options):
    """An open connection that the peer opened."""
    s = listening(**options)
    s.wnd = wnd
    send(s, seg("S", seq=R, mss=mss, wscale=wscale, wnd=min(wnd, 65535)))
    expect(s, seg("SA", seq=L, ack=R + 1))
    send(s, seg("A", seq=R + 1, ack=L + 1))
    s.conn = s.listener.accept()
    assert s.conn is not None and state(s) == "ESTABLISHED"
    return s


def close_wait(**options):
    s = established(**options)
    send(s, seg("FA", seq=R + 1, ack=L + 1))
    expect(s, seg("A", ack=R + 2))
    assert state(s) == "CLOSE-WAIT"
    return s


def fin_wait_1(**options):
    s = established(**options)
    s.conn.shutdown(s.now)
    expect(s, seg("FA", seq=L + 1, ack=R + 1))
    assert state(s) == "FIN-WAIT-1"
    return s


def fin_wait_2(**options):
    s = fin_wait_1(**options)
    send(s, seg("A", seq=R + 1, ack=L + 2))
    assert state(s) == "FIN-WAIT-2"
    return s


def closing(**options):
    s = fin_wait_1(**options)
    send(s, seg("FA", seq=R + 1, ack=L + 1))
    expect(s, seg("A", seq=L + 2, ack=R + 2))
    assert state(s) == "CLOSING"
    return s


def last_ack(**options):
    s = close_wait(**options)
    s.conn.close(s.now)
    expect(s, seg("FA", seq=L + 1, ack=R + 2))
    assert state(s) == "LAST-ACK"
    return s


def time_wait(**options):
    s = fin_wait_2(**options)
    send(s, seg("FA", seq=R + 1, ack=L + 2))
    expect(s, seg("A", seq=L + 2, ack=R + 2))
    assert state(s) == "TIME-WAIT"
    return s


STATES = (
    ("SYN-SENT", syn_sent), ("SYN-RECEIVED", syn_received), ("ESTABLISHED", established),
    ("CLOSE-WAIT", close_wait), ("FIN-WAIT-1", fin_wait_1), ("FIN-WAIT-2", fin_wait_2),
    ("CLOSING", closing), ("LAST-ACK", last_ack), ("TIME-WAIT", time_wait),
)

SYNCHRONIZED = STATES[2:]


def state(s):
    return NAMES[s.conn.state]


# -- the program's side


def write(s, data, flush=True):
    """The program sends; returns how many bytes were taken."""
    data = bytearray(data)
    n = s.conn.send(data, 0, len(data), s.now)
    if flush:
        s.tcp.flush(s.now)
    return n


def read(s, n=65536, flush=True):
    """The program reads; bytes."""
    buf = bytearray(n)
    got = s.conn.recv_into(buf, 0, n, s.now)
    if flush:
        s.tcp.flush(s.now)
    return bytes(buf[:got])


def pattern(n, start=0):
    """n bytes whose place can be told."""
    out = bytearray(n)
    for i in range(n):
        x = start + i
        out[i] = (x ^ x >> 8) & 0xFF
    return bytes(out)


def assert_clean(s):
    """Nothing is left: no flow, no timer, no buffer, every frame at home."""
    assert not s.tcp.flows.count, s.tcp.flows.endpoints()
    assert not s.tcp.live, s.tcp.live
    assert not s.tcp.half_open
    assert not s.tcp.time_waits.count
    s.tcp.flush(s.now)
    assert s.buffers.in_use == 0, s.buffers.in_use
    assert s.pool.free == len(s.pool.frames)
    for _ in range(3):
        s.now += 10 * 3600 * SEC
        s.timers.expire(s.now)
    assert not len(s.timers)
