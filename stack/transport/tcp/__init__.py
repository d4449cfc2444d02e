"""TCP: RFC 9293 as machines that are handed segments and the time.

    conn.py        a connection: variables, state, what a program does with it
    input.py       a segment arrives          output.py      a segment leaves
    fast.py        the same for nearly every segment
    block.py       what both read and write: `c.w`, an array, and the functions that work on it
    timer.py       a time has come            rtt.py         round trip, RTO
    ecn.py         marks of congestion
    sack.py        what is out, by ranges     rack.py        what of it was lost
    recovery.py    what a loss costs          duplicates.py  the same without SACK
    congestion.py  how much may be out: cubic.py (hystart.py), newreno.py; pacing.py
    cookies.py     SYN cookies                fastopen.py    data in the SYN
    trace.py       a connection as a CSV      usertimeout.py advice to the peer
    reassembly.py  what came early            options.py     what SYNs say
    listener.py    passive open               timewait.py    what is left at the end
    states.py isn.py limbo.py

`Tcp` is the layer: the flow table, the limits, and the list of connections that
have something to send. Nothing sends from within a call of a program: it puts
the connection on the list, and `flush` goes round it.
"""

from micropython import const

from stack.core import checksum
from stack.core.errors import ENETUNREACH, ENOBUFS
from stack.core.frame import HEADROOM
from stack.core.timers import NEVER
from stack.net.addr6 import ANY as ANY6
from stack.transport import demux
from stack.transport.tcp import options, output, segment
from stack.transport.tcp.congestion import algorithm
from stack.transport.tcp.conn import START_LIMIT, Connection
from stack.transport.tcp.cookies import Cookies
from stack.transport.tcp.ecn import ACCEPT, CE
from stack.transport.tcp.fast import Lanes
from stack.transport.tcp.fastopen import FastOpen
from stack.transport.tcp.isn import IsnSource
from stack.transport.tcp.limbo import SendBuffers
from stack.transport.tcp.listener import Listener
from stack.transport.tcp.status import USER_TIMEOUT_US
from stack.transport.tcp.timewait import MAX_TIME_WAIT, TIME_WAIT_US, TimeWaits
from stack.wire import tcp as wire
from stack.wire.tcp import ACK, FIN, RST, SYN

_M = const(0xFFFFFFFF)
_UNICAST = const(1)  # iph.kind: what the destination address is (stack/wire/ipv4.py)

# Connections of a host: about 3 KB each when idle (buffers come and go with
# data), so 12,000 are 36 MB. A host with less memory says less.
MAX_CONNECTIONS = const(12000)
MAX_LISTENERS = const(256)
# Frames of data a connection may send before the next has its turn, and frames
# of one flush: 64 of 64 KB are 4 MB, some milliseconds; then the host looks for input.
_TURN = const(4)
_FLUSH = const(64)
# A device that took no more is asked again after this, should nothing else happen.
_RETRY_US = const(1_000)
# Resets sent to segments that belong to nothing: this many in a second.
_RESETS = const(500)


class _Peer:
    """What `ip.reply` reads of a header, for an answer to a segment that is gone."""

    __slots__ = ("src", "dst", "kind")

    def __init__(self):
        self.src = self.dst = 0
        self.kind = _UNICAST


class Tcp:
    def __init__(
        self, ip, timers, rng, stats, buffers, pool, snd_max=1 << 20, rcv_max=1 << 20,
        max_connections=MAX_CONNECTIONS, time_wait_us=TIME_WAIT_US, initial_segments=0,
        congestion="cubic", sack=True, timestamps=True, ecn=ACCEPT, syn_cookies=True, uto=False,
        user_timeout_us=USER_TIMEOUT_US, pacing=False,
    ):
        """snd_max, rcv_max: the largest rings, powers of two. initial_segments: the
        initial window (0: RFC 6928). congestion: "cubic" or "newreno". sack, timestamps:
        whether SYNs offer them. ecn: ecn.OFF, ON or ACCEPT. syn_cookies: what happens to
        a SYN when half-open entries are at their maximum, see listener.py. uto: the option of
        usertimeout.py is said and heeded; user_timeout_us: of connections to come. pacing:
        see pacing.py.
        """
        self.ip = ip
        self.timers = timers
        self.stats = stats
        self.buffers = buffers
        self.pool = pool
        # What a frame's own buffer holds behind the headers: pieces up to this may be copied.
        self.copy_max = pool.size - HEADROOM
        self.snd_max = snd_max
        self.rcv_max = rcv_max
        self.rcv_wscale = options.scale_for(rcv_max)
        self.max_connections = max_connections
        self.initial_segments = initial_segments
        self.congestion = algorithm(congestion)
        self.sack = sack
        self.timestamps = timestamps
        self.ecn = ecn
        self.ce = False  # the segment that is being handled was marked by a router
        self.trace = None  # trace(connection, old state, new state, why)
        self.tracer = None  # see trace.py

        self.isn = IsnSource(rng)
        self.flows = demux.FlowTable(rng, self.isn.hash)
        self.stamp_offset = self.isn.stamp_offset
        self.keyed_hash = self.isn.hash
        self.offer = options.Offer()
        self.syn_cookies = syn_cookies
        self.uto = uto
        self.pacing = pacing
        self.user_timeout_us = user_timeout_us
        self.cookies = Cookies(self)
        self.fast_open = FastOpen(rng)
        self.spare_half = None
        self.send_buffers = SendBuffers(buffers, pool, ip.interfaces)
        self.time_waits = TimeWaits(self, time_wait_us, MAX_TIME_WAIT)
        self.live = 0  # connections
        self.listeners = 0
        self.half_open = 0
        self.retransmits = 0

        self.header = wire.Header()  # of the segment that is being handled
        self._peer = _Peer()
        self._head = self._tail = None  # the ready list
        # When flush should be called again though nothing arrives and no timer expires.
        self.retry_at = NEVER
        self.now = 0  # of the last flush, for what is told and decides nothing
        self._resets = 0
        self._resets_at = 0
        ip.register(segment.PROTO, self)
        self.lanes = ip.lanes = Lanes(self)
        # Bound once: found at the first look-up, and without a tuple of self and method.
        self.arm = timers.arm
        self.make_ready = self.make_ready

    # -- what a program asks for

    def connect(self, remote_addr, remote_port, now, local_addr=0, local_port=0, fastopen=False):
        """OPEN, active: a Connection in SYN-SENT. OSError ENETUNREACH, EADDRINUSE,
        EADDRNOTAVAIL, ENOBUFS. fastopen: its SYN waits for the first data (fastopen.py).
        """
        path = self.ip.path(remote_addr, local_addr if local_addr != ANY6 else 0)
        # MUST-45: "reject as an error a local OPEN call for an invalid remote IP address
        # (e.g., a broadcast or multicast address)".
        if path is None or path.kind != _UNICAST:
            raise OSError(ENETUNREACH)
        if self.full():
            raise OSError(ENOBUFS)
        if not local_port:
            local_port = self.flows.ephemeral(path.src, remote_addr, remote_port)
        elif self.flows.find(path.src, local_port, remote_addr, remote_port) is not None:
            raise OSError(demux.EADDRINUSE)
        c = Connection(self, path, local_port, remote_port, now)
        self.adopt(c)
        c.open_active(self.isn(path.src, local_port, remote_addr, remote_port, now), now, fastopen)
        return c

    def listen(self, addr, port, backlog, now, reuse=False, dual=False):
        """OPEN, passive: a Listener. addr 0: any of ours of IPv4, addr6.ANY: of IPv6, with
        dual: of both; port 0: one is chosen. OSError EADDRINUSE, ENOBUFS.
        """
        if self.listeners >= MAX_LISTENERS:
            raise OSError(ENOBUFS)
        l = Listener(self, addr, port, backlog, dual)
        self.flows.add_listener(l, reuse)
        self.listeners += 1
        return l

    def connections(self):
        """Every Listener, Connection, half-open and TIME-WAIT entry; each has `info()`."""
        return self.flows.endpoints()

    # -- what the IP layer calls

    def on_packet(self, iph, f, now):
        """A segment at f.off; iph has src, dst, kind and pseudo(length)."""
        n = f.end - f.off
        if not f.csum_ok and checksum.add(f.buf, f.off, n, iph.pseudo(n)) != 0xFFFF:
            self.stats.drop("tcp.checksum")
            return
        h = self.header
        if not h.parse(f):
            self.stats.drop("tcp.header")
            return
        e = self.flows.find(iph.dst, h.dst_port, iph.src, h.src_port)
        if e is not None:
            if e.ecn:
                self.ce = iph.tos() & CE == CE
            if self.tracer is not None:
                self.tracer.received(e, h, f.end - f.off, now)
            e.on_segment(h, f, now)
            return
        l = self.flows.listener(iph.dst, h.dst_port)
        if iph.kind != _UNICAST or not h.src_port:
            # MUST-57: "silently discard an incoming SYN segment that is addressed to a
            # broadcast or multicast address"; so with everything else.
            self.stats.drop("tcp.address")
        elif l is not None:
            l.on_segment(iph, h, f, now)
        else:
            self.stats.drop("tcp.no_port")
            self.reset_unknown(iph, h, f.end - f.off, now)

    def on_error(self, code, iph, f, now):
        """An ICMP error: iph and f are the header and transport part of what we had sent."""
        b = f.buf
        o = f.off
        if f.end - o < 8:
            self.stats.drop("tcp.icmp_short")
            return
        e = self.flows.find(iph.src, b[o] << 8 | b[o + 1], iph.dst, b[o + 2] << 8 | b[o + 3])
        if e is None:
            self.stats.drop("tcp.icmp_no_flow")
            return
        e.on_error(code, b[o + 4] << 24 | b[o + 5] << 16 | b[o + 6] << 8 | b[o + 7], now)

    def reset_unknown(self, iph, h, n, now):
        """RFC 9293 3.10.7.1: a reset for a segment that belongs to no connection."""
        if h.flags & RST:
            return
        if now - self._resets_at >= 1_000_000:
            self._resets_at = now
            self._resets = 0
        if self._resets >= _RESETS:
            self.stats.drop("tcp.reset_limit")
            return
        self._resets += 1
        self.reset_reply(self.ip.reply(iph), h, n, now)

    def way_back(self, local_addr, remote_addr):
        """A Path for one segment of something that keeps none: valid until the next call.

        It may be None. Nothing is allocated, nothing cached for the address.
        """
        return self.ip.reply(self.peer(remote_addr, local_addr))

    def peer(self, remote_addr, local_addr):
        """What `ip.reply` and cookies read of the header of a packet from there to here."""
        p = self._peer
        p.src = remote_addr
        p.dst = local_addr
        return p

    def reset_reply(self, path, h, n, now):
        """"If the ACK bit is off ... <SEQ=0><ACK=SEG.SEQ+SEG.LEN><CTL=RST,ACK>. If the ACK
        bit is on, <SEQ=SEG.ACK><CTL=RST>".
        """
        if path is None:
            self.stats.drop("tcp.no_route_back")
            return
        self.stats.count("tcp.resets_sent")
        ports = h.dst_port << 16 | h.src_port
        flags = h.flags
        if flags & ACK:
            segment.send_bare(self, path, ports, h.ack, 0, RST, 0, now)
        else:
            n += (flags & SYN) >> 1
            n += flags & FIN
            segment.send_bare(self, path, ports, 0, h.seq + n & _M, RST | ACK, 0, now)

    # -- sending

    def make_ready(self, c):
        """Put a connection at the end of the list of those with something to send."""
        if c.ready:
            return
        c.ready = True
        if self._tail is None:
            self._head = c
        else:
            self._tail.ready_next = c
        self._tail = c

    def flush(self, now):
        """Let connections send in turn, until all have, or the device or our budget is at its end.

        A connection that the device held up keeps its place; others on the same
        device are not asked in vain.
        """
        self.now = now
        self.retry_at = NEVER
        if self._head is None:
            if self.send_buffers.limbo:
                self.send_buffers.sweep()
            return
        budget = _FLUSH
        held = held_tail = stuck = None
        while self._head is not None and budget > 0:
            c = self._head
            self._head = c.ready_next
            if self._head is None:
                self._tail = None
            c.ready_next = None
            if stuck is None or c.path.iface is not stuck:
                c.ready = False
                budget -= _TURN
                said = c.emit(c, now, _TURN)
                if said == output.DONE:
                    budget += _TURN - 1
                    continue
                if said == output.MORE:
                    self.make_ready(c)
                    continue
                if said != output.LATER:
                    stuck = c.path.iface
                if c.ready:
                    continue  # it has put itself at the end
                c.ready = True
            if held is None:
                held = c
            else:
                held_tail.ready_next = c
            held_tail = c
        if held is not None:
            held_tail.ready_next = self._head
            self._head = held
            if self._tail is None:
                self._tail = held_tail
            self.retry_at = now + _RETRY_US
        elif self._head is not None:
            self.retry_at = now
        if self.send_buffers.limbo:
            self.send_buffers.sweep()

    def poll_at(self):
        return self.retry_at

    # -- what connections call

    def full(self):
        return self.live >= self.max_connections

    def start_limit(self, most):
        return START_LIMIT if START_LIMIT < most else most

    def pressed(self):
        """True when buffers are getting scarce: empty rings give theirs back, none grows."""
        return self.buffers.in_use > self.buffers.limit >> 1

    def grow_send(self, c):
        """The congestion window outgrows the send ring: let it double."""
        if not self.pressed():
            c.snd.limit <<= 1

    def grow_receive(self, c):
        """A reader that keeps up gets twice the window. The new limit."""
        if not self.pressed():
            c.rcv.limit <<= 1
        return c.rcv.limit

    def adopt(self, c):
        self.flows.add(c)
        self.live += 1

    def forget(self, c):
        """The connection ends, or becomes TIME-WAIT."""
        if c.state:
            self.live -= 1
        self.flows.remove(c)
        self.timers.cancel(c)
        if c.lane >= 0:
            self.lanes.drop(c.lane, c)

    def add_time_wait(self, c, now):
        self.time_waits.add(c, now)
