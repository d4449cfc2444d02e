"""NAT44: many addresses inside behind the one of an interface outside.

RFC 4787 (UDP), RFC 5382 (TCP), RFC 5508 (ICMP), as amended by RFC 7857. What it does:

    mapping      endpoint-independent: one per (protocol, inside address, port)    4787 REQ-1
    filtering    endpoint-independent                                              4787 REQ-8
    ports        the same one if it is free in 1024..49151, else a random one of the same
                 parity; never one that this host uses                             REQ-3, REQ-4
    hairpinning  with the outside address as source                                REQ-9
    ICMP errors  both ways, with the packet they quote                             5508 REQ-3..5
    fragments    those that follow their first one                                 4787 REQ-14
    refresh      by what goes out; for TCP both ways                               4787 REQ-6

A mapping lives as long as the session that was seen last wants; one that serves several
peers at once does not end early by a FIN or RST of one of them.

Not implemented: other protocols than TCP, UDP and ICMP (dropped), fragments before their
first one, ports by a program's wish (PCP), logging, application gateways (as REQ-10 wants).
"""

from micropython import const

from stack.core import be
from stack.core.timers import NEVER
from stack.wire import icmp4
from stack.wire import ipv4 as wire

FIRST_PORT = const(1024)
_PORTS = const(48128)  # up to 49151: above lie the ports that this host's own sockets take
_TRIES = const(64)  # random ones, before all are tried in turn

# Mappings of about 200 bytes in two dicts: 1 MB. No address inside may have more than half.
MAX_MAPPINGS = const(4096)
MAX_PER_ADDRESS = const(2048)

UDP_US = const(300_000_000)  # 4787 REQ-5: "more than two minutes", 5 minutes recommended
ICMP_US = const(60_000_000)  # 5508 REQ-2
ESTABLISHED_US = const(7_440_000_000)  # 5382 REQ-5: 2 hours 4 minutes
TRANSITORY_US = const(240_000_000)  # 5382 REQ-5: 4 minutes
_SWEEP_US = const(10_000_000)

# First fragments remembered, for as long as their rest may take. RFC 791 says 15 s.
_FRAGMENTS = const(64)
_FRAGMENT_US = const(15_000_000)

_FIN = const(1)
_SYN = const(2)
_RST = const(4)
_ACK = const(16)

# Mapping.state of TCP
_OPENING = const(0)
_ANSWERED = const(1)
_ESTABLISHED = const(2)


class Mapping:
    """An endpoint inside and its port outside. `until`: when it is forgotten."""

    __slots__ = ("proto", "addr", "port", "out_port", "until", "state", "fins", "peer", "peers")

    def __init__(self, proto, addr, port, out_port):
        self.proto = proto
        self.addr = addr
        self.port = port
        self.out_port = out_port
        self.until = 0
        self.state = _OPENING
        self.fins = 0  # 1: from inside, 2: from outside
        self.peer = -1  # address and port of the first peer
        self.peers = False  # more than one


class Nat:
    """Between `iface`, outside, and all other interfaces.

    in_use(proto, port): whether this host itself has the port. Owner of a timer.
    """

    REFUSED = Mapping(0, 0, 0, 0)

    def __init__(self, iface, stats, timers, rng, in_use=None, now=0):
        self.iface = iface
        self.stats = stats
        self._timers = timers
        self._rng = rng
        self._in_use = in_use
        self._out = {}  # proto << 48 | address << 16 | port -> Mapping
        self._in = {}  # proto << 16 | port -> Mapping
        self._hosts = {}  # address inside -> mappings
        self._frag_keys = [-1] * _FRAGMENTS
        self._frag_maps = [None] * _FRAGMENTS
        self._frag_until = [0] * _FRAGMENTS
        self._frag_next = 0
        self._addr = iface.addr
        self._next = NEVER
        self.timer_at = 0
        self.timer_index = -1
        self.made = self.expired = 0

    # From inside.

    def outbound(self, h, f, now):
        """Put our outside address in place of the source. False: dropped and counted."""
        if self._addr != self.iface.addr:
            self._forget_all()
        m = self._mapping_out(h, f, now)
        if m is None:
            return False
        new = self.iface.addr
        b = f.buf
        at = f.off
        proto = h.proto
        if not h.frag & wire.OFFSET_MASK:
            if h.frag & wire.MF:
                self._remember(h, m, now)
            if proto == wire.PROTO_ICMP:
                if b[at] == icmp4.ECHO:
                    _replace16(b, at + 4, m.out_port, at + 2)
                else:
                    # An error about a packet that came in: what it quotes went to m.
                    _translate_quote(b, at, f.end, 16, 2, new, m.out_port)
            else:
                _translate(b, at, proto, at, m.out_port, h.src, new)
        _replace32(b, h.start + 12, new, h.start + 10)
        h.src = new
        return True

    def _mapping_out(self, h, f, now):
        b = f.buf
        at = f.off
        n = f.end - at
        proto = h.proto
        if h.frag & wire.OFFSET_MASK:
            return self._recall(h, now)
        if proto == wire.PROTO_ICMP:
            if n < 8:
                return self._drop("nat.truncated")
            if b[at] == icmp4.ECHO:
                port = be.get16(b, at + 4)
            elif _is_error(b[at]):
                return self._quoted_mapping(b, at, f.end, self._out, True, now)
            else:
                return self._drop("nat.icmp_type")
        elif proto == wire.PROTO_TCP or proto == wire.PROTO_UDP:
            if n < (20 if proto == wire.PROTO_TCP else 8):
                return self._drop("nat.truncated")
            port = be.get16(b, at)
        else:
            return self._drop("nat.protocol")
        m = self._out.get(proto << 48 | h.src << 16 | port)
        if m is None or m.until <= now:
            m = self._make(proto, h.src, port, now)
            if m is None:
                return None
        self._seen(m, b, at, h.dst, 1, now)
        return m

    def undo(self, h, f, now):
        """Give a packet that went out, and cannot, its source back. False: it was not ours."""
        b = f.buf
        at = f.off
        proto = h.proto
        if h.src != self.iface.addr or h.frag & wire.OFFSET_MASK or f.end - at < 20 and proto == 6:
            return False
        if proto == wire.PROTO_ICMP and b[at] != icmp4.ECHO:
            return False
        port_at = at + 4 if proto == wire.PROTO_ICMP else at
        m = self._in.get(proto << 16 | be.get16(b, port_at))
        if m is None:
            return False
        if proto == wire.PROTO_ICMP:
            _replace16(b, port_at, m.port, at + 2)
        else:
            _translate(b, at, proto, port_at, m.port, h.src, m.addr)
        _replace32(b, h.start + 12, m.addr, h.start + 10)
        h.src = m.addr
        return True

    # From outside.

    def incoming(self, h, f, now):
        """The Mapping of a packet to our outside address, None if it has none, or REFUSED."""
        if self._addr != self.iface.addr:
            self._forget_all()
        b = f.buf
        at = f.off
        n = f.end - at
        proto = h.proto
        if h.frag & wire.OFFSET_MASK:
            return self._recall(h, now, False)
        if proto == wire.PROTO_ICMP:
            if n < 8:
                return None
            if _is_error(b[at]):
                return self._quoted_mapping(b, at, f.end, self._in, False, now)
            if b[at] != icmp4.ECHO_REPLY:
                return None
            port = be.get16(b, at + 4)
        elif n < (20 if proto == wire.PROTO_TCP else 8):
            return None
        elif proto == wire.PROTO_TCP or proto == wire.PROTO_UDP:
            port = be.get16(b, at + 2)
        else:
            return None
        m = self._in.get(proto << 16 | port)
        if m is not None and m.until > now:
            return m
        # 5382 REQ-4: no answer to a SYN that nobody here waits for, lest it cross another.
        if proto == wire.PROTO_TCP and b[at + 13] & (_SYN | _ACK) == _SYN:
            if 0 <= port - FIRST_PORT < _PORTS and not self._used(proto, port):
                self.stats.drop("nat.unsolicited")
                return self.REFUSED
        return None

    def inbound(self, h, f, m, now):
        """Put the endpoint of m, from `incoming`, in place of the destination."""
        b = f.buf
        at = f.off
        proto = h.proto
        if not h.frag & wire.OFFSET_MASK:
            if h.frag & wire.MF:
                self._remember(h, m, now)
            if proto == wire.PROTO_ICMP:
                if b[at] == icmp4.ECHO_REPLY:
                    _replace16(b, at + 4, m.port, at + 2)
                else:
                    _translate_quote(b, at, f.end, 12, 0, m.addr, m.port)
            else:
                self._seen(m, b, at, h.src, 2, now)
                _translate(b, at, proto, at + 2, m.port, h.dst, m.addr)
        _replace32(b, h.start + 16, m.addr, h.start + 10)
        h.dst = m.addr

    # Mappings.

    def publish(self, proto, out_port, addr, port):
        """Let what comes to out_port outside go to a port inside, until `withdraw`. ValueError."""
        if proto << 16 | out_port in self._in or proto << 48 | addr << 16 | port in self._out:
            raise ValueError("port or endpoint is mapped already")
        if len(self._in) >= MAX_MAPPINGS:
            raise ValueError("too many mappings")
        self._add(Mapping(proto, addr, port, out_port)).until = NEVER

    def withdraw(self, proto, out_port):
        """End a mapping. KeyError if there is none."""
        self._remove(self._in[proto << 16 | out_port])

    def _make(self, proto, addr, port, now):
        old = self._out.get(proto << 48 | addr << 16 | port)
        if old is not None:
            self._remove(old)
        if len(self._in) >= MAX_MAPPINGS or self._hosts.get(addr, 0) >= MAX_PER_ADDRESS:
            return self._drop("nat.full")
        out_port = self._choose(proto, port)
        if out_port < 0:
            return self._drop("nat.no_port")
        self.made += 1
        m = self._add(Mapping(proto, addr, port, out_port))
        if self._next == NEVER:
            self._next = now + _SWEEP_US
            self._timers.arm(self, self._next)
        return m

    def _add(self, m):
        self._in[m.proto << 16 | m.out_port] = m
        self._out[m.proto << 48 | m.addr << 16 | m.port] = m
        self._hosts[m.addr] = self._hosts.get(m.addr, 0) + 1
        return m

    def _remove(self, m):
        del self._in[m.proto << 16 | m.out_port]
        del self._out[m.proto << 48 | m.addr << 16 | m.port]
        left = self._hosts[m.addr] - 1
        if left:
            self._hosts[m.addr] = left
        else:
            del self._hosts[m.addr]

    def _choose(self, proto, port):
        if self._free(proto, port - FIRST_PORT):
            return port
        # ICMP's identifiers have no parity to keep, and lose nothing by it.
        parity = port & 1
        r = self._rng(2)
        i = (r[0] << 8 | r[1]) % _PORTS & ~1 | parity
        step = ((r[1] << 8 | r[0]) % (_PORTS // 2)) * 2 + 2
        for k in range(_TRIES + _PORTS // 2):
            if self._free(proto, i):
                return i + FIRST_PORT
            i = (i + (step if k < _TRIES else 2)) % _PORTS
        return -1

    def _free(self, proto, i):
        port = i + FIRST_PORT
        return (
            0 <= i < _PORTS and proto << 16 | port not in self._in and not self._used(proto, port)
        )

    def _used(self, proto, port):
        return self._in_use is not None and self._in_use(proto, port)

    def _seen(self, m, b, at, peer, side, now):
        """A packet of m's went by, from inside (side 1) or outside (2): how long it lives on."""
        if m.until >= NEVER:
            return
        proto = m.proto
        if proto == wire.PROTO_UDP:
            if side == 1:
                m.until = now + UDP_US
            return
        if proto == wire.PROTO_ICMP:
            if side == 1:
                m.until = now + ICMP_US
            return
        peer = peer << 16 | be.get16(b, at + (2 if side == 1 else 0))
        if m.peer != peer:
            if m.peer < 0:
                m.peer = peer
            else:
                m.peers = True
        flags = b[at + 13]
        if flags & _SYN:
            m.fins = 0
            if not flags & _ACK:
                if not m.peers:
                    m.state = _OPENING
            elif m.state == _OPENING:
                m.state = _ANSWERED
        elif flags & _RST:
            m.fins = 3
        else:
            if m.state == _ANSWERED and side == 1:
                m.state = _ESTABLISHED
            if flags & _FIN:
                m.fins |= side
        ended = m.fins == 3 and not m.peers
        life = ESTABLISHED_US if m.state == _ESTABLISHED and not ended else TRANSITORY_US
        # An RST from outside that nobody checked must not cut a session short of its 4 minutes.
        m.until = now + life

    def _forget_all(self):
        """Another address outside: nothing holds any more but what was published."""
        self._addr = self.iface.addr
        for m in list(self._in.values()):
            if m.until < NEVER:
                self._remove(m)

    # Timer.

    def poll_at(self):
        return self._next

    def on_timer(self, now):
        """Forget what has expired."""
        for m in list(self._in.values()):
            if m.until <= now:
                self._remove(m)
                self.expired += 1
        self._next = now + _SWEEP_US if self._in else NEVER

    # Fragments, and what ICMP quotes.

    def _remember(self, h, m, now):
        i = self._frag_next
        self._frag_next = (i + 1) % _FRAGMENTS
        self._frag_keys[i] = _fragment_key(h)
        self._frag_maps[i] = m
        self._frag_until[i] = now + _FRAGMENT_US

    def _recall(self, h, now, ours=True):
        key = _fragment_key(h)
        for i in range(_FRAGMENTS):
            if self._frag_keys[i] == key and self._frag_until[i] > now:
                return self._frag_maps[i]
        return self._drop("nat.fragment") if ours else None

    def _quoted_mapping(self, b, at, end, table, inside, now):
        """The Mapping of the packet that an ICMP error at b[at:] quotes, or None."""
        q = at + 8
        if end - q < 28 or b[q] >> 4 != 4 or be.get16(b, q + 6) & wire.OFFSET_MASK:
            return self._drop("nat.quote") if inside else None
        proto = b[q + 9]
        t = q + ((b[q] & 15) << 2)
        if t + 8 > end:
            return self._drop("nat.quote") if inside else None
        if proto == wire.PROTO_ICMP:
            port = be.get16(b, t + 4)
        elif inside:
            port = be.get16(b, t + 2)
        else:
            port = be.get16(b, t)
        if inside:
            m = table.get(proto << 48 | be.get32(b, q + 16) << 16 | port)
        elif be.get32(b, q + 12) != self.iface.addr:
            return None
        else:
            m = table.get(proto << 16 | port)
        if m is None or m.until <= now:
            return self._drop("nat.quote") if inside else None
        return m

    def _drop(self, why):
        self.stats.drop(why)

    def info(self):
        """Counters, and how many mappings there are."""
        return {"mappings": len(self._in), "made": self.made, "expired": self.expired}


def _is_error(kind):
    return kind == icmp4.UNREACHABLE or kind == icmp4.TIME_EXCEEDED or kind == 12


def _fragment_key(h):
    return (h.src ^ h.dst << 8) & 0xFFFFFFFF | h.ident() << 32 | (h.proto & 0xFF) << 48


def _translate(b, at, proto, port_at, port, old, new):
    """A new port, and a new address in the pseudo-header, of the TCP or UDP header at b[at:]."""
    delta = _delta(old, new) + (be.get16(b, port_at) ^ 0xFFFF) + port
    be.put16(b, port_at, port)
    sum_at = at + (16 if proto == wire.PROTO_TCP else 6)
    if proto == wire.PROTO_TCP:
        _adjust(b, sum_at, delta)
    elif be.get16(b, sum_at):
        # RFC 768: a checksum of 0 is none, and one that comes out as 0 is sent as all ones.
        _adjust(b, sum_at, delta)
        if not be.get16(b, sum_at):
            be.put16(b, sum_at, 0xFFFF)


def _translate_quote(b, at, end, addr_off, port_off, addr, port):
    """New address and port in the packet that the ICMP error at b[at:] quotes. 5508 REQ-3..5.

    In the header of IPv4 what the address adds to the sum its checksum takes away, so to
    ICMP's own only the port is news, and the transport checksum where there is one.
    """
    q = at + 8
    t = q + ((b[q] & 15) << 2)
    proto = b[q + 9]
    delta = _delta(be.get32(b, q + addr_off), addr)
    _replace32(b, q + addr_off, addr, q + 10)
    port_at = t + (4 if proto == wire.PROTO_ICMP else port_off)
    port_delta = (be.get16(b, port_at) ^ 0xFFFF) + port
    _replace16(b, port_at, port, at + 2)
    sum_at = t + (2 if proto == wire.PROTO_ICMP else 6 if proto == wire.PROTO_UDP else 16)
    if sum_at + 2 > end or (proto == wire.PROTO_UDP and not be.get16(b, sum_at)):
        return
    before = be.get16(b, sum_at)
    _adjust(b, sum_at, port_delta + (0 if proto == wire.PROTO_ICMP else delta))
    _adjust(b, at + 2, (before ^ 0xFFFF) + be.get16(b, sum_at))


def _replace16(b, at, new, sum_at):
    """Write 16 bits at b[at:], and make the checksum at sum_at right. RFC 1624, equation 3."""
    _adjust(b, sum_at, (be.get16(b, at) ^ 0xFFFF) + new)
    be.put16(b, at, new)


def _replace32(b, at, new, sum_at):
    _adjust(b, sum_at, _delta(be.get32(b, at), new))
    be.put32(b, at, new)


def _delta(old, new):
    return (~old >> 16 & 0xFFFF) + (~old & 0xFFFF) + (new >> 16) + (new & 0xFFFF)


def _adjust(b, sum_at, delta):
    s = (be.get16(b, sum_at) ^ 0xFFFF) + delta
    s = (s & 0xFFFF) + (s >> 16)
    s = (s & 0xFFFF) + (s >> 16)
    be.put16(b, sum_at, s ^ 0xFFFF)
