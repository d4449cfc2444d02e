"""TCP under conversations that no peer would hold: a program of eight-byte operations.

An operation is a segment whose fields lie about the connection's state (its numbers are
offsets from what would be right), a call of the program, a passage of time, a device that is
full, an ICMP error, a frame with a byte changed. After each one `check` looks at every
invariant; `Conversation.end` wants everything back.

What was reached is the stack's own account: states, drop reasons, what recovery was at. A
program that reaches something new is worth keeping (`Conversation.seen`).
"""

from stack.core.frame import CAP_RX_CSUM, CAP_TSO4, CAP_TX_CSUM, HEADROOM
from stack.core.timers import NEVER
from stack.transport.tcp.block import (
    BACKOFF,
    DELACK_AT,
    DUPACKS,
    RCV_NXT,
    REXMIT_AT,
    RTO_US,
    SND_MAX,
    SND_UNA,
    SND_WND,
    SRTT_US,
)
from stack.transport.tcp.states import CLOSED, ESTABLISHED, TIME_WAIT
from tests.sim.network import invariants
from tests.tcp import segment as wire
from tests.unit.transport.tcp import harness as h

OP = 8  # bytes of an operation
_M = 0xFFFFFFFF
FLAGS = (
    "A", "A", "A", "PA", "PA", "A", "FA", "FPA", "RA", "R", "S", "SA", "SFA", "UA", "", "F",
    "FSRPAU", "AE", "AC", "AEC", "SEC", "SE", "PA", "A", "A", "A", "A", "A", "A", "PA", "A", "A",
)  # fmt: skip
SEQ = (
    0, 0, 0, 0, 0, 0, 0, 0, 0, 0, -1, 1, 2, 1460, 2920, 4380, 100, 1000, -1460, -100, 65535, 65536,
    70000, -70000, 1 << 20, 1 << 30, (1 << 31) - 1, 1 << 31, (1 << 31) + 1, 536, 14600, 8192,
)  # fmt: skip
ACK = (
    0, 0, 0, 0, 0, 0, 1, 2, -1, -2, 1460, 2920, -1460, -2920, 100, -100, 70000, -70000, 1 << 30,
    1 << 31, (1 << 31) - 1, -536, 536, -14600, -5, 5, -4380, 0, 0, 0, 0, 0,
)  # fmt: skip
LENGTH = (0, 0, 0, 0, 1, 2, 10, 100, 535, 536, 1000, 1459, 1460, 1460, 1460, 1461)
WINDOW = (65535, 65535, 65535, 0, 0, 1, 2, 10, 100, 535, 1460, 2920, 4096, 8192, 32767, 32768)
TIME = (
    0, 1, 999, 1000, 10_000, 39_999, 40_000, 199_999, 200_000, 400_000, 1_000_000, 3_000_000,
    10_000_000, 60_000_000, 400_000_000, 7_300_000_000,
)  # fmt: skip
SIZES = (0, 1, 2, 10, 100, 535, 1459, 1460, 1461, 2920, 5000, 14600, 30000, 65535, 65536, 70000)
ICMP = (92, 101, 111, 113, 90, 95, 0, 1)
HOSTS = (
    {}, {}, {"caps": CAP_TX_CSUM | CAP_RX_CSUM | CAP_TSO4}, {"mtu": 576}, {"rcv_max": 4096},
    {"snd_max": 4096, "rcv_max": 8192}, {"frames": 3}, {"initial_segments": 1}, {"mtu": 9000},
    {"caps": CAP_TX_CSUM | CAP_TSO4, "gso_max": 5000, "frames": 5}, {"max_connections": 2},
    {"frames": 2, "caps": CAP_TX_CSUM}, {}, {}, {}, {},
)  # fmt: skip
_PEERS = 6  # four-tuples in play; odd ones are opened by us
_CONNECTIONS = 6


class Side:
    """What tests/sim's invariants want to know of a host."""

    name = "fuzz"

    def __init__(self, tcp):
        self.tcp = tcp


class Conversation:
    def __init__(self, host=0, options=None):
        self.s = s = h.Script(**dict(HOSTS[host % len(HOSTS)], **(options or {})))
        self._isn = 0x12345678 if host & 64 else 0xFFFFF000
        s.tcp.isn = self.isn
        self.side = Side(s.tcp)
        self.seed = "?"
        self.checked = {}  # the edges that were promised, for invariants
        self.conns = []  # what the program holds
        self.listener = s.tcp.listen(0, h.OUR_PORT, 4, s.now)
        self.dirty = False  # a frame was changed by bytes: streams prove nothing any more
        self.reads = {}  # connection's iss -> octets read
        self.sends = {}
        self.last = None  # the last segment given, to give again
        self.ts = 1
        self.seen = set()
        self._before = 0
        self._retired = []
        self.checks = 0

    def isn(self, *_):
        """No two connections begin alike, so the number names one."""
        self._isn = self._isn + 0x01000193 & _M
        return self._isn

    # -- one operation

    def run(self, op):
        """Do one operation of OP bytes; AssertionError when an invariant does not hold."""
        kind = op[0] & 31
        if kind < 18:
            self.segment(op)
        else:
            _CALLS[kind - 18](self, op)
        self.s.tcp.flush(self.s.now)
        self.settle()

    def settle(self):
        """What was emitted was looked at as it left (harness); every connection is checked."""
        s = self.s
        s.out.clear()
        self.check()

    def flow(self, op):
        """(endpoint or None, our port, peer's address, its port) of an operation."""
        i = op[1] % _PEERS
        port = h.OUR_PORT if not i & 1 else 50000 + i
        peer_port = h.PEER_PORT + i
        if op[1] >= 250:
            port = 81
        return self.s.tcp.flows.find(h.OUR, port, h.PEER, peer_port), port, peer_port

    def segment(self, op):
        e, port, peer_port = self.flow(op)
        flags = FLAGS[op[2] & 31]
        seq, ack, irs = self.numbers(e)
        if e is None and op[2] < 200:
            flags = "S"
        seq += SEQ[op[3] & 31]
        ack += ACK[op[4] & 31]
        n = LENGTH[op[5] & 15]
        if "S" in flags and getattr(e, "state", 0) < ESTABLISHED:
            irs = seq  # it is what begins the stream
        data = self.octets(seq + ("S" in flags) - irs - 1, n)
        win = WINDOW[op[5] >> 4]
        raw = wire.build(
            peer_port, port, seq, ack if "A" in flags else 0, flags, win,
            op[6] if "U" in flags else 0, self.options(op[6], op[7], flags, e, seq, ack), data,
            h.PEER, h.OUR, summed=False,
        )  # fmt: skip
        self.give(raw, True)

    def octets(self, start, n):
        start &= 0xFFFF
        return _PATTERN[start : start + n]

    def numbers(self, e):
        """(RCV.NXT, SND.MAX, IRS) of an endpoint as a peer would know them."""
        if e is None:
            return 1_000_000, 0, 1_000_000
        if hasattr(e, "w"):
            if not e.irs and not e.w[RCV_NXT]:
                return 1_000_000, e.w[SND_MAX], 1_000_000
            return e.w[RCV_NXT], e.w[SND_MAX], e.irs
        if hasattr(e, "snd_nxt"):
            return e.rcv_nxt, e.snd_nxt, e.rcv_nxt
        return e.irs + 1, e.iss + 1, e.irs

    def options(self, which, arg, flags, e, seq, ack):
        """Options: of SYNs what they negotiate, of others SACK and timestamps, some wrong."""
        if "S" in flags:
            out = wire.option_bytes("mss", [(1460, 536, 88, 0, 9000, 65535, 1, 1000)[which & 7]])
            if which & 8:
                out += b"\x01" + wire.option_bytes("wscale", [arg & 15])
            if which & 16:
                out += wire.option_bytes("sackok", [])
            if which & 32:
                out += wire.option_bytes("ts", [self.ts, 0])
            if which & 64:
                out += wire.option_bytes("fastopen", ["%02x" % arg * (0, 4, 8, 8)[arg & 3]])
            return out
        kind = which & 15
        if kind < 4:
            return b""
        self.ts += arg & 7
        if kind < 8:
            return b"\x01\x01" + wire.option_bytes("ts", [self.ts - (arg >> 6), self.s.now // 1000])
        if kind < 13:
            # Blocks from what is out: in order, overlapping, duplicates, beyond the end.
            una = e.w[SND_UNA] if hasattr(e, "w") else ack
            step = (1460, 100, 1, 2920, 70000, -1460, 536, 0)[arg & 7]
            first = una + (0, 1460, 2920, 4380, 1, -100, 14600, 100)[arg >> 3 & 7]
            blocks = []
            for i in range(1 + (which >> 4 & 3)):
                at = first + i * 2 * step
                blocks += [at, at + step]
            return b"\x01\x01" + wire.option_bytes("sack", blocks)
        return bytes((which, arg, which ^ arg, 8, 10, 0, 0, 5))[: arg & 7]

    def give(self, raw, vouched):
        s = self.s
        self.last = raw
        f = s.frame
        f.reset()
        f.off = HEADROOM
        f.end = HEADROOM + len(raw)
        f.buf[f.off : f.end] = raw
        f.csum_ok = vouched  # as by a device; the sums of changed bytes are looked at
        s.tcp.on_packet(_HEADER, f, s.now)

    # -- the program

    def _pick(self, op):
        return self.conns[op[1] % len(self.conns)] if self.conns else None

    def call_connect(self, op):
        s = self.s
        i = op[1] % _PEERS | 1
        if len(self.conns) >= _CONNECTIONS:
            return
        try:
            c = s.tcp.connect(h.PEER, h.PEER_PORT + i, s.now, 0, 50000 + i)
        except OSError as e:
            assert e.args[0] in (98, 105), e
            return
        self.conns.append(c)

    def call_accept(self, op):
        c = self.listener.accept()
        if c is not None:
            self.conns.append(c)

    def call_send(self, op):
        c = self._pick(op)
        if c is None:
            return
        at = self.sends.get(c.iss, 0) & 0xFFFF
        n = SIZES[op[2] & 15]
        try:
            n = c.send(_PATTERN, at, min(n, len(_PATTERN) - at), self.s.now)
        except OSError as e:
            assert c.error == e.args[0] or e.args[0] in (32, 107), e
            return
        self.sends[c.iss] = self.sends.get(c.iss, 0) + n

    def call_recv(self, op):
        c = self._pick(op)
        if c is None:
            return
        n = c.recv_into(_BUF, 0, SIZES[op[2] & 15], self.s.now)
        at = self.reads.get(c.iss, 0)
        if n and not self.dirty:
            want = _PATTERN[at & 0xFFFF : (at & 0xFFFF) + n]
            assert _BUF[:n] == want, "other octets than were sent"
        self.reads[c.iss] = at + n

    def call_shutdown(self, op):
        c = self._pick(op)
        if c is not None:
            c.shutdown(self.s.now)

    def call_close(self, op):
        c = self._pick(op)
        if c is not None:
            self.conns.remove(c)
            self._retired.append(c)
            if op[2] & 3:
                c.close(self.s.now)
            else:
                c.abort(self.s.now)

    def call_time(self, op):
        s = self.s
        until = s.now + TIME[op[2] & 15]
        # Not through s.advance: between two expiries the invariants are looked at.
        # A device that is full is asked each millisecond: a few times are enough.
        for _ in range(24 if s.full else 100):
            s.tcp.flush(s.now)
            self.settle()
            t = s.poll_at()
            if t > until:
                break
            if t > s.now:
                s.now = t
            s.timers.expire(s.now)
        if s.now < until and s.poll_at() > until:
            s.now = until

    def call_device(self, op):
        s = self.s
        what = op[2] & 3
        if what == 0:
            s.full = not s.full
        elif what == 1:
            s.hold = not s.hold
        else:
            self.release()

    def release(self):
        s = self.s
        for f in s.held:
            f.release()
        s.held.clear()
        s.iface.device.passed = s.iface.device.taken

    def call_icmp(self, op):
        e, port, peer_port = self.flow(op)
        _, nxt, _ = self.numbers(e)
        s = self.s
        seq = nxt + ACK[op[3] & 31]
        if op[2] & 7 == 4 and hasattr(e, "path"):
            e.path.mtu = (1500, 576, 1000, 296)[op[4] & 3] if s.mtu >= 1500 else s.mtu
        f = s.frame
        f.reset()
        f.off = HEADROOM
        quoted = wire.build(port, peer_port, seq, 0, "A", 0, 0, b"", b"", h.OUR, h.PEER)
        quoted = quoted[: 20 - (op[5] & 15)]
        f.end = HEADROOM + len(quoted)
        f.buf[f.off : f.end] = quoted
        s.tcp.on_error(ICMP[op[2] & 7], _QUOTED, f, s.now)

    def call_set(self, op):
        c = self._pick(op)
        if c is None:
            return
        what = op[2] & 3
        if what == 0:
            c.nodelay = not c.nodelay
        elif what == 1:
            c.keepidle_us = 1_000_000 * (1 + op[3])
            c.set_keepalive(True)
        elif what == 2:
            c.user_timeout_us = 100_000 * (1 + op[3])
        else:
            c.set_keepalive(False)

    def call_bytes(self, op):
        """The last segment again, with a byte changed and perhaps the sum made right, or cut."""
        if self.last is None:
            return
        b = bytearray(self.last)
        if op[2] & 1:
            at = op[3] % min(len(b), 60)
            b[at] = op[4] if op[2] & 2 else b[at] ^ 1 << (op[4] & 7)
        if op[2] & 4:
            del b[1 + op[5] % len(b) :]
        if op[2] & 24 and len(b) >= 18:
            b[16] = b[17] = 0
            c = wire.sum16(wire.pseudo(h.PEER, h.OUR, len(b)) + bytes(b))
            b[16], b[17] = c >> 8, c & 255
        if op[2] & 15:
            self.dirty = True
        self.give(bytes(b), False)

    def call_listener(self, op):
        s = self.s
        if op[2] & 1:
            self.listener.close(s.now)
            try:
                self.listener = s.tcp.listen(0, h.OUR_PORT, 1 + op[3] % 8, s.now, True)
            except OSError as e:
                raise AssertionError("no listener on a port that has none: %r" % e) from e

    def call_again(self, op):
        if self.last is not None:
            self.give(self.last, True)

    # -- what must hold

    def check(self):
        s = self.s
        tcp = s.tcp
        assert s.pool.free + len(s.held) == len(s.pool.frames), "a frame is lost"
        alive = 0
        seen = self.seen
        held = {id(c): c for c in self.conns}
        for c in self._retired:
            held[id(c)] = c
        for c in self.listener.queue:
            held[id(c)] = c
        self.checks += 1
        for c in tcp.connections():
            if hasattr(c, "w"):
                alive += 1
                held[id(c)] = c
                assert c.state != CLOSED and c.state != TIME_WAIT, c.info()
                invariants(self, self.side, c)
                check_timers(c, s.now)
                if c.board is not None:
                    check_board(c)
                seen.add((c.state, c.recovering, min(c.w[DUPACKS], 3), c.ooo is None,
                          c.w[SND_WND] == 0, c.persist_at < NEVER, c.w[BACKOFF] > 0, c.ready,
                          c.board is not None and board_shape(c.board)))
        assert alive == tcp.live, (alive, tcp.live)
        assert tcp.half_open <= 256 and tcp.time_waits.count <= _PEERS
        assert len(s.timers) <= alive + 4, "timers grow"
        assert len(self.listener.queue) <= self.listener.backlog
        most = sum([c.snd.size + c.rcv.size for c in held.values()])
        assert s.buffers.in_use <= most + limbo_bytes(tcp), (s.buffers.in_use, most)
        drops = len(s.stats.drops) + len(s.stats.counts)
        if drops != self._before:
            self._before = drops
            seen.update(s.stats.drops)
            seen.update(s.stats.counts)

    def end(self):
        """The program ends, time goes by: nothing is left."""
        s = self.s
        s.full = s.hold = False
        self.release()
        for c in self.conns:
            c.abort(s.now)
        self.conns = []
        self.listener.close(s.now)
        s.tcp.flush(s.now)
        for _ in range(12):
            s.advance(s.now - h.START + 120 * h.SEC)
            s.out.clear()
        h.assert_clean(s)


def check_timers(c, now):
    """Deadlines are of the future or due now, none is far away, and none is missing."""
    for name, at in (
        ("rexmit_at", c.w[REXMIT_AT]), ("persist_at", c.persist_at),
        ("delack_at", c.w[DELACK_AT]), ("life_at", c.life_at),
    ):  # fmt: skip
        assert at == NEVER or at <= now + 7_300_000_000, (name, at - now, c.info())
    assert c.w[SRTT_US] >= 0 and 200_000 <= c.w[RTO_US] <= 60_000_000, c.info()
    assert 0 <= c.w[BACKOFF] <= 9
    if c.state >= ESTABLISHED:
        assert c.w[REXMIT_AT] == NEVER or c.w[REXMIT_AT] <= now + 60_000_000
    # A held-back acknowledgment is never late by half a second (MUST-40).
    assert c.w[DELACK_AT] == NEVER or c.w[DELACK_AT] <= now + 499_999


def board_shape(b):
    """What is special about a scoreboard, as a small int."""
    return (b.sacked > 0) + 2 * (b.lost > 0) + 4 * (b.undo > 0) + 8 * (b.tlp_end >= 0) + 16 * (
        b.reordering) + 32 * (b.n - b.first > 8)


def check_board(c):
    """The scoreboard's ranges touch, lie in what is out, and add up."""
    b = c.board
    assert 0 <= b.first <= b.n <= len(b.end)
    assert b.sacked >= 0 and b.lost >= 0
    sacked = lost = 0
    at = b.start
    for i in range(b.first, b.n):
        size = b.end[i] - at & _M
        assert 0 < size < 1 << 31, (i, b.first, b.n, size)
        if b.flag[i] & 1:
            assert not b.flag[i] & 2, "SACKed and lost"
            sacked += size
        elif b.flag[i] & 2:
            lost += size
        at = b.end[i]
    assert (b.sacked, b.lost) == (sacked, lost), (b.sacked, sacked, b.lost, lost)
    assert sacked + lost <= c.w[SND_MAX] - b.start & _M
    if b.n > b.first:
        assert c.w[SND_MAX] - at & _M < 1 << 31, "beyond what was sent"


def limbo_bytes(tcp):
    return sum(len(e.buf) for e in tcp.send_buffers.limbo)


_CALLS = (
    Conversation.call_connect, Conversation.call_accept, Conversation.call_send,
    Conversation.call_send, Conversation.call_recv, Conversation.call_shutdown,
    Conversation.call_close, Conversation.call_time, Conversation.call_time,
    Conversation.call_device, Conversation.call_icmp, Conversation.call_set,
    Conversation.call_bytes, Conversation.call_again,
)  # fmt: skip
_PATTERN = wire.stream(0, 131072, wire.PEER)
_BUF = bytearray(70000)
_HEADER = h.IpHeader(h.PEER, h.OUR)
_QUOTED = h.IpHeader(h.OUR, h.PEER)
_QUOTED.mtu = 576


def play(program, options=None):
    """Run a program (bytes) to its end: (operations, what was reached, how often all invariants
    were looked at). AssertionError."""
    c = Conversation(program[0] if program else 0, options)
    n = 0
    for i in range(1, len(program) - OP + 1, OP):
        c.run(program[i : i + OP])
        n += 1
    c.end()
    return n, c.seen, c.checks
