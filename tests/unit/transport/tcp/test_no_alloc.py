"""The data path allocates nothing: proved under the heap's lock, in the image.

A whole host is under it: Ethernet, IPv4, TCP, the frame that goes out. Elsewhere `copy`
is Python and allocates; there these tests only run the path.
"""

import micropython

from stack.core import be, checksum
from stack.core.frame import CAP_RX_CSUM, CAP_TSO4, CAP_TX_CSUM, Frame
from stack.transport.tcp.block import RCV_NXT, RX_BYTES, SND_UNA, SND_WSCALE, TS_ON
from stack.wire import tcp as wire
from tests.unit.net.support import A, B, ip_packet, ready

try:
    import hw
except ImportError:
    hw = None

_N = 12  # segments under one lock
_MSS = 1460
_PORT = 80
_PEER_PORT = 4000
_OFF = 18  # even, as cards put them, so the fast lane sees them
_TCP = _OFF + 34  # Ethernet and IPv4 in front
_STAMPED = b"\x01\x01\x08\x0a\x00\x0a\xae\x60\x00\x00\x00\x00"
_FLAGS = {"A": wire.ACK, "S": wire.SYN, "PA": wire.PSH | wire.ACK}


class Sink:
    """A device that takes everything, keeps nothing, and remembers the last ACK number."""

    gso_max = 65455
    link_up = True

    def __init__(self, caps):
        self.caps = caps
        self.n = self.seq = self.ack = self.bytes = 0

    def tx(self, f):
        o = f.off + 34
        self.n += 1
        self.seq = be.get32(f.buf, o + 4)
        self.ack = be.get32(f.buf, o + 8)
        self.bytes += f.end - o - (f.buf[o + 12] >> 4 << 2) + f.data_len
        f.release()
        return True

    def flush(self):
        pass

    def tx_space(self):
        return 64

    def tx_mark(self):
        return 0

    def tx_passed(self, mark):
        return True


class Waker:
    def wake(self, endpoint):
        pass


def _packet(flags, seq, ack, n, options=b""):
    hl = 20 + len(options)
    b = bytearray(hl + n)
    control = wire.control(hl, _FLAGS[flags], 0xFFFF)
    wire.build(b, 0, _PEER_PORT << 16 | _PORT, seq & 0xFFFFFFFF, ack & 0xFFFFFFFF, control, 0)
    b[20:hl] = options
    for i in range(n):
        b[hl + i] = i * 7 & 0xFF
    pseudo = bytearray(12)
    be.put32(pseudo, 0, B)
    be.put32(pseudo, 4, A)
    pseudo[9] = 6
    be.put16(pseudo, 10, hl + n)
    be.put16(b, 16, checksum.checksum(b, 0, hl + n, checksum.add(pseudo, 0, 12, 0)))
    return ip_packet(6, bytes(b), src=B, dst=A)


def _frame(data):
    f = Frame(bytearray(_OFF + len(data)))
    f.buf[_OFF:] = data
    return f


class Rig:
    """A host with one accepted connection, whose peer is this test."""

    def __init__(self, caps=0, stamps=False):
        self.options = _STAMPED if stamps else b""
        self.host, self.iface, _ = ready()
        self.tcp = self.host.tcp
        self.iface.device = self.out = Sink(caps)
        self.iface.tx = self.out.tx
        self.host.routes.changed()  # paths see the device's caps
        self.now = 1000000
        listener = self.tcp.listen(0, _PORT, 4, self.now)
        self.iface.now = self.now
        self.seq = 5000
        syn = b"\x02\x04\x05\xb4\x01\x03\x03\x07\x01\x01\x04\x02" + self.options
        self.give(_frame(_packet("S", self.seq, 0, 0, syn)))
        self.seq += 1
        self.iss = self.out.seq + 1
        self.give(self.packet("A", self.seq, self.iss, 0))
        self.conn = listener.accept()
        self.conn.waker = Waker()
        assert self.conn.w[SND_WSCALE] == 7 and self.conn.sack_ok and self.conn.w[TS_ON] == stamps

    def packet(self, flags, seq, ack, n, options=b""):
        return _frame(_packet(flags, seq, ack, n, self.options + options))

    def give(self, f):
        f.off = _OFF
        f.end = len(f.buf)
        f.csum_ok = self.out.caps & CAP_RX_CSUM != 0
        self.iface._sink(f)
        self.tcp.flush(self.now)

    def data(self, n, count):
        """`count` frames of the stream, the next n bytes each."""
        frames = []
        for _ in range(count):
            frames.append(self.packet("PA", self.seq, self.iss, n))
            self.seq += n
        return frames


def _locked(fn, *args):
    if hw is not None:
        micropython.heap_lock()
    try:
        fn(*args)
    finally:
        if hw is not None:
            micropython.heap_unlock()


def _receive(rig, frames, buf):
    """Each segment in, its ACK out, and every other time what lies there is read."""
    i = 0
    while i < _N:
        rig.give(frames[i])
        if i & 1:
            rig.conn.recv_into(buf, 0, len(buf), rig.now)
        i += 1


def test_receive_in_order():
    """The Must of this layer: data in, ACK out, read by the program: not one allocation."""
    for caps, stamps in ((0, False), (CAP_RX_CSUM | CAP_TX_CSUM, False), (0, True)):
        rig = Rig(caps, stamps)
        buf = bytearray(4096)
        # Once round: the ring gets its storage, names are counted, the timers' heap grows.
        _receive(rig, rig.data(_MSS, _N), buf)
        frames = rig.data(_MSS, _N)
        before = rig.out.n
        _locked(_receive, rig, frames, buf)
        assert rig.out.n - before >= _N // 2, "an ACK for every second segment"
        assert rig.out.ack == rig.seq & 0xFFFFFFFF
        assert rig.conn.w[RCV_NXT] == rig.seq and rig.conn.w[RX_BYTES] == 2 * _N * _MSS
        while rig.conn.recv_into(buf, 0, 4096, rig.now):
            pass
        assert not rig.host.stats.drops, rig.host.stats.drops


def _receive_slowly(rig, frames, buf):
    """With time between: the delayed ACK's timer is armed, expires and is armed again."""
    i = 0
    while i < _N:
        rig.give(frames[i])
        rig.now += 50000
        rig.iface.now = rig.now
        rig.host.timers.expire(rig.now)
        rig.tcp.flush(rig.now)
        rig.conn.recv_into(buf, 0, len(buf), rig.now)
        i += 1


def test_delayed_ack():
    rig = Rig()
    buf = bytearray(4096)
    _receive_slowly(rig, rig.data(100, _N), buf)
    frames = rig.data(100, _N)
    before = rig.out.n
    _locked(_receive_slowly, rig, frames, buf)
    assert rig.out.n - before == _N and rig.out.ack == rig.seq & 0xFFFFFFFF


def _send(rig, acks, data, n):
    """The program writes n bytes, they leave, the peer acknowledges them."""
    i = 0
    while i < len(acks):
        rig.conn.send(data, 0, n, rig.now)
        rig.tcp.flush(rig.now)
        rig.give(acks[i])
        i += 1


def test_send():
    """Small pieces (copied), a segment (named), and 20,000 bytes with and without offload."""
    for caps, stamps in (
        (0, False), (CAP_TX_CSUM, False), (CAP_TX_CSUM | CAP_TSO4, False),
        (CAP_TX_CSUM | CAP_TSO4, True),
    ):
        for n in (100, _MSS, 14480):
            rig = Rig(caps, stamps)
            data = bytearray(n)
            at = rig.iss
            acks = []
            for _ in range(2 * _N):
                at += n
                acks.append(rig.packet("A", rig.seq, at, 0))
            first, then = acks[:_N], acks[_N:]
            _send(rig, first, data, n)
            before = rig.out.bytes
            _locked(_send, rig, then, data, n)
            assert rig.out.bytes - before == _N * n, (caps, n)
            assert rig.conn.w[SND_UNA] == at & 0xFFFFFFFF and not rig.conn.retransmits


def _echo(rig, frames, buf, n):
    i = 0
    while i < _N:
        rig.give(frames[i])
        got = rig.conn.recv_into(buf, 0, n, rig.now)
        rig.conn.send(buf, 0, got, rig.now)
        rig.tcp.flush(rig.now)
        i += 1


def test_request_and_answer():
    """Data that carries ACKs, both ways."""
    rig = Rig()
    n = 200
    buf = bytearray(n)
    frames = []
    at = rig.iss
    for _ in range(2 * _N):
        frames.append(_frame(_packet("PA", rig.seq, at, n)))
        rig.seq += n
        at += n
    first, then = frames[:_N], frames[_N:]
    _echo(rig, first, buf, n)
    _locked(_echo, rig, then, buf, n)
    assert rig.conn.w[RX_BYTES] == rig.conn.tx_bytes == 2 * _N * n
    assert rig.out.ack == rig.seq & 0xFFFFFFFF


def _block(lo, hi):
    b = bytearray(12)
    b[0] = b[1] = 1
    b[2] = 5
    b[3] = 10
    be.put32(b, 4, lo)
    be.put32(b, 8, hi)
    return bytes(b)


def _losses(rig, acks, data, n):
    """Ten segments go, SACKs tell of holes, they go again, all is acknowledged; a timeout too."""
    i = 0
    while i < len(acks):
        rig.conn.cc.cwnd = 2 * n
        rig.conn.send(data, 0, n, rig.now)
        rig.tcp.flush(rig.now)
        for _ in range(3):
            rig.now += 5000
            rig.iface.now = rig.now
            rig.give(acks[i])
            i += 1
        rig.now += 300000
        rig.host.timers.expire(rig.now)
        rig.tcp.flush(rig.now)
        rig.give(acks[i])
        i += 1


def test_losses():
    """SACK, RACK, PRR, a timeout: the scoreboard and all that hangs on it allocate nothing."""
    for stamps in (False, True):
        rig = Rig(CAP_TX_CSUM | CAP_TSO4, stamps)
        mss = rig.conn.mss
        n = 10 * mss
        data = bytearray(n)
        acks = []
        at = rig.iss
        for _ in range(4):
            for hole in (1, 3, 5):
                acks.append(rig.packet("A", rig.seq, at, 0,
                                       _block(at + hole * mss, at + (hole + 1) * mss)))
            at += n
            acks.append(rig.packet("A", rig.seq, at, 0))
        _losses(rig, acks[:8], data, n)
        assert rig.conn.retransmits
        before = rig.conn.retransmits
        _locked(_losses, rig, acks[8:], data, n)
        assert rig.conn.retransmits > before
        assert rig.conn.w[SND_UNA] == at & 0xFFFFFFFF and not rig.conn.board.sacked


def _reorder(rig, frames, buf):
    """Pairs change places: each early one is kept and reported, each late one fills its gap."""
    i = 0
    while i < len(frames):
        rig.give(frames[i + 1])
        rig.give(frames[i])
        rig.give(frames[i])  # and a duplicate: D-SACK
        rig.conn.recv_into(buf, 0, len(buf), rig.now)
        i += 2


def test_reordering():
    for stamps in (False, True):
        rig = Rig(0, stamps)
        buf = bytearray(4096)
        _reorder(rig, rig.data(1000, _N), buf)
        frames = rig.data(1000, _N)
        _locked(_reorder, rig, frames, buf)
        assert rig.conn.w[RCV_NXT] == rig.seq and rig.conn.ooo_segments == _N
