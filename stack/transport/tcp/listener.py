"""Passive open: half-open entries and the queue of connections to accept (RFC 9293 3.10.7.2).

A SYN makes a `HalfOpen`, some 300 bytes with no buffers; the ACK of our SYN-ACK
makes the Connection. Both queues are bounded. In a flood of SYNs what finds no place
is answered by a cookie (cookies.py) and not kept. With `tcp.syn_cookies` off the oldest
half-open entry makes room for the newest instead: a peer that answers within the time
it takes to fill the queue gets its connection. A good Fast Open cookie (fastopen.py)
makes the Connection at once.

Not implemented: a SYN's data without Fast Open (it comes again).
"""

from micropython import const

from stack.core.errors import POLLIN
from stack.core.timers import NEVER
from stack.transport import demux
from stack.transport.tcp import ecn, options, segment
from stack.transport.tcp.conn import Connection
from stack.transport.tcp.states import CLOSED, LISTEN, SYN_RECEIVED
from stack.transport.tcp.timer import R2_SYN_US
from stack.wire.tcp import ACK, ECE, HAS_COOKIE, HAS_SACK_OK, HAS_TS, HAS_UTO, RST, SYN

_M = const(0xFFFFFFFF)
_HALF = const(0x80000000)

# Half-open entries: 256 a listener, 1,024 a host, 300 bytes each: 300 KB.
MAX_HALF_OPEN = const(256)
MAX_HALF_OPEN_HOST = const(1024)
MAX_BACKLOG = const(1024)
_FIRST_RTO_US = const(1_000_000)
# The queue is looked through at most so often for SYN-ACKs to send again.
_TICK_US = const(100_000)


class HalfOpen:
    """A connection in SYN-RECEIVED of which only the numbers are kept."""

    __slots__ = (
        "listener", "local_addr", "local_port", "remote_addr", "remote_port", "key",
        "flow_next", "irs", "iss", "mss", "wscale", "sack_ok", "ts_on", "ts_off", "ts_recent",
        "ecn_ok", "uto", "queued", "fast", "sends", "sent_at", "due_at", "began_at",
        "next", "prev",
    )

    state = SYN_RECEIVED
    ecn = False  # nothing is marked before the connection stands

    def __init__(self, listener):
        self.listener = listener
        self.key = 0
        self.queued = False
        self.flow_next = self.next = self.prev = None

    def begin(self, local_addr, remote_addr, h, iss, now):
        """Take the SYN h. An entry that a flood pushes out begins again as the newest."""
        self.local_addr = local_addr
        self.remote_addr = remote_addr
        self.local_port = h.dst_port
        self.remote_port = h.src_port
        self.irs = h.seq
        self.iss = iss
        self.mss = options.peer_mss(h, remote_addr)
        self.wscale = options.peer_wscale(h)
        tcp = self.listener.tcp
        self.sack_ok = tcp.sack and h.options & HAS_SACK_OK != 0
        self.ts_on = tcp.timestamps and h.options & HAS_TS != 0
        self.ts_off = tcp.stamp_offset(local_addr, remote_addr) if self.ts_on else 0
        self.ts_recent = h.ts_val
        self.ecn_ok = ecn.asked(tcp, h.flags)
        self.uto = h.uto if tcp.uto and h.options & HAS_UTO else 0
        # It asks for a Fast Open cookie, or has one.
        self.fast = self.listener.fastopen and h.options & HAS_COOKIE
        self.sends = 0
        self.sent_at = self.began_at = now
        self.due_at = now

    def send_syn_ack(self, now, stamp=-1):
        """stamp: the TSval, -1: of the clock, if timestamps were agreed on."""
        tcp = self.listener.tcp
        limit = tcp.start_limit(tcp.rcv_max)
        path = tcp.way_back(self.local_addr, self.remote_addr)
        offer = tcp.offer
        offer.set(
            options.local_mss(path) if path is not None else 0,
            tcp.rcv_wscale if self.wscale >= 0 else -1, self.sack_ok,
            stamp if stamp >= 0 else self._stamp(now), self.ts_recent,
        )
        if self.uto:
            offer.uto = tcp.user_timeout_us
        if self.fast:
            offer.cookie = tcp.fast_open.cookie(self.remote_addr, self.local_addr)
            offer.cookie_len = len(offer.cookie)
        marks = self.listener.marks
        if marks is not None and path is not None:
            marks.put(path)
        segment.send_bare(
            tcp, path, self.local_port << 16 | self.remote_port, self.iss,
            self.irs + 1 & _M, SYN | ACK | ECE if self.ecn_ok else SYN | ACK,
            limit if limit < 0xFFFF else 0xFFFF, now, offer,
        )
        if marks is not None and path is not None:
            path.set_ttl(-1)  # it is everybody's
        self.sent_at = now
        self.due_at = now + (_FIRST_RTO_US << (self.sends if self.sends < 6 else 6))
        self.sends += 1

    def _stamp(self, now):
        return options.stamp_now(self.ts_off, now) if self.ts_on else -1

    def on_segment(self, h, f, now):
        """RFC 9293 3.10.7.4 for SYN-RECEIVED, as far as it goes without a connection."""
        flags = h.flags
        ahead = h.seq - self.irs - 1 & _M
        l = self.listener
        if flags & RST:
            # "If this connection was initiated with a passive OPEN, then return this
            # connection to the LISTEN state". RFC 5961 3.2: only by the exact number.
            if not ahead:
                l.drop_half(self)
                l.tcp.stats.drop("tcp.half_open_reset")
            return
        if flags & SYN:
            if h.seq == self.irs and not flags & ACK:
                self.send_syn_ack(now)  # its SYN again: our answer was lost
            else:
                self._ack(now)
            return
        if not flags & ACK:
            l.tcp.stats.drop("tcp.no_ack")
            return
        if self.ts_on:
            # RFC 7323 3.2 and 5.3, as in input.py.
            if not h.options & HAS_TS:
                l.tcp.stats.drop("tcp.no_timestamp")
                return
            if h.ts_val - self.ts_recent & _M >= _HALF:
                l.tcp.stats.drop("tcp.paws")
                self._ack(now)
                return
        if h.ack != (self.iss + 1 & _M):
            # A SYN of it was answered by a cookie before another of it found a place here.
            if l.open_by_cookie(l.tcp.peer(self.remote_addr, self.local_addr), h, f, now):
                return
            # "form a reset segment <SEQ=SEG.ACK><CTL=RST> and send it".
            path = l.tcp.way_back(self.local_addr, self.remote_addr)
            l.tcp.reset_reply(path, h, f.end - f.off, now)
            return
        # No more than what the SYN-ACK said: the connection will not take what lies beyond, and
        # would be left in SYN-RECEIVED.
        if ahead >= min(l.tcp.start_limit(l.tcp.rcv_max), 0xFFFF):
            l.tcp.stats.drop("tcp.outside_window")
            self._ack(now)
            return
        l.promote(self, h, f, now)

    def _ack(self, now):
        tcp = self.listener.tcp
        segment.send_bare(
            tcp, tcp.way_back(self.local_addr, self.remote_addr),
            self.local_port << 16 | self.remote_port, self.iss + 1 & _M,
            self.irs + 1 & _M, ACK, 0xFFFF, now, None, self._stamp(now), self.ts_recent,
        )

    def on_error(self, code, seq, now):
        pass

    def info(self):
        return {
            "proto": "tcp",
            "state": "SYN-RECEIVED",
            "local_addr": self.local_addr,
            "local_port": self.local_port,
            "remote_addr": self.remote_addr,
            "remote_port": self.remote_port,
        }


class Listener:
    def __init__(self, tcp, addr, port, backlog, dual=False):
        self.tcp = tcp
        self.local_addr = addr
        self.low = demux.lowest(addr, dual)
        self.high = demux.highest(addr)
        self.local_port = port
        self.remote_addr = self.remote_port = 0
        self.backlog = min(max(backlog, 1), MAX_BACKLOG)
        self.state = LISTEN
        self.error = 0
        self.waker = None
        self.queue = []  # connections that wait for accept
        self.half_open = 0
        self.fastopen = 0  # how many may be in SYN-RECEIVED by a Fast Open cookie
        self.fast_pending = 0
        self.marks = None  # net/marks.py's, of SYN-ACKs and of the connections
        self._head = self._tail = None
        self._due_at = NEVER
        self.timer_at = NEVER
        self.timer_index = -1

    # -- what a program does

    def accept(self):
        """The oldest established connection, or None."""
        return self.queue.pop(0) if self.queue else None

    def events(self):
        return POLLIN if self.queue else 0

    def close(self, now):
        """No more connections; those that nobody accepted are reset."""
        if self.state == CLOSED:
            return
        self.state = CLOSED
        self.waker = None
        while self._head is not None:
            self.drop_half(self._head)
        for c in self.queue:
            c.abort(now)
        self.queue = []
        self._due_at = NEVER
        self.tcp.timers.cancel(self)
        self.tcp.flows.remove_listener(self)
        self.tcp.listeners -= 1

    def info(self):
        return {
            "proto": "tcp",
            "state": "LISTEN",
            "local_addr": self.local_addr,
            "local_port": self.local_port,
            "backlog": self.backlog,
            "half_open": self.half_open,
            "accept_queue": len(self.queue),
        }

    # -- segments

    def on_segment(self, iph, h, f, now):
        """RFC 9293 3.10.7.2, in its order: RST, ACK, SYN, anything else."""
        flags = h.flags
        tcp = self.tcp
        if flags & RST:
            tcp.stats.drop("tcp.rst_to_listener")
            return
        if flags & ACK:
            if flags & SYN or not self.open_by_cookie(iph, h, f, now):
                tcp.reset_unknown(iph, h, f.end - f.off, now)
            return
        if not flags & SYN:
            tcp.stats.drop("tcp.no_syn")
            return
        if tcp.ip.reply(iph) is None:
            tcp.stats.drop("tcp.no_route_back")
            return
        self.on_syn(iph.dst, iph.src, h, f, now, -1)

    def on_syn(self, local_addr, remote_addr, h, f, now, above):
        """Make a half-open entry and answer. above: an ISN must lie beyond it (-1: any)."""
        tcp = self.tcp
        if len(self.queue) >= self.backlog:
            tcp.stats.drop("tcp.backlog_full")
            return
        half = None
        if self.half_open >= MAX_HALF_OPEN or tcp.half_open >= MAX_HALF_OPEN_HOST:
            if tcp.syn_cookies:
                half = self._spare()
                half.begin(local_addr, remote_addr, h, 0, now)
                half.fast = 0
                half.send_syn_ack(now, tcp.cookies.give(half, now))
                return
            tcp.stats.drop("tcp.syn_flood")
            half = self._oldest()
            half.listener.drop_half(half)
            half.listener = self
        iss = tcp.isn(local_addr, h.dst_port, remote_addr, h.src_port, now)
        if above >= 0 and iss - above & _M >= _HALF:
            iss = above + 0x10000 & _M
        if half is None:
            half = HalfOpen(self)
        half.begin(local_addr, remote_addr, h, iss, now)
        if half.fast and self.fast_pending < self.fastopen and tcp.fast_open.good(
            h, remote_addr, local_addr
        ):
            half.fast = 0
            self._open_fast(half, f, now)
            return
        half.queued = True
        tcp.flows.add(half)
        half.prev = self._tail
        if self._tail is None:
            self._head = half
        else:
            self._tail.next = half
        self._tail = half
        self.half_open += 1
        tcp.half_open += 1
        half.send_syn_ack(now)
        self._arm(half.due_at)

    def _oldest(self):
        """The entry to push out: ours, or of the listener that has most when the host is full."""
        most = self
        if self.half_open < MAX_HALF_OPEN:
            for l in self.tcp.flows.listeners():
                if l.half_open > most.half_open:
                    most = l
        return most._head

    def _spare(self):
        """An entry for what is not kept: a flood allocates nothing."""
        half = self.tcp.spare_half
        if half is None:
            self.tcp.spare_half = half = HalfOpen(self)
        half.listener = self
        return half

    def open_by_cookie(self, iph, h, f, now):
        """The ACK h of an answer that nothing was kept of. False: it is none."""
        tcp = self.tcp
        half = self._spare()
        if not tcp.syn_cookies or not tcp.cookies.take(half, iph, h, now):
            return False
        kept = tcp.flows.find(iph.dst, h.dst_port, iph.src, h.src_port)
        if kept is not None:
            self.drop_half(kept)
        self.promote(half, h, f, now)
        return True

    def _open_fast(self, half, f, now):
        """RFC 7413 4.2.2: the SYN's data is delivered before the handshake is over."""
        c = self._make(half, now)
        if c is None:
            return
        c.open_fast(half, self, f, now)
        self.tcp.stats.count("tcp.fast_opens")
        self.queue.append(c)
        if self.waker is not None:
            self.waker.wake(self)

    def drop_half(self, half):
        if half.queued:
            half.queued = False
            self._unlink(half)
            self.tcp.flows.remove(half)

    def _unlink(self, half):
        if half.prev is None:
            self._head = half.next
        else:
            half.prev.next = half.next
        if half.next is None:
            self._tail = half.prev
        else:
            half.next.prev = half.prev
        half.prev = half.next = None
        self.half_open -= 1
        self.tcp.half_open -= 1

    def promote(self, half, h, f, now):
        """Our SYN-ACK is acknowledged: make the connection and give it the segment."""
        c = self._make(half, now)
        if c is None:
            return
        c.open_passive(half, now)
        self.queue.append(c)
        c.on_segment(h, f, now)
        if self.waker is not None:
            self.waker.wake(self)

    def _make(self, half, now):
        """A Connection in the place of `half`, or None."""
        tcp = self.tcp
        if len(self.queue) >= self.backlog or tcp.full():
            # The peer's next segment, or its answer to our SYN-ACK, tries again.
            tcp.stats.drop("tcp.backlog_full")
            return None
        if self.marks is None:
            path = tcp.ip.path(half.remote_addr, half.local_addr)
        else:
            path = self.marks.path(tcp.ip, half.remote_addr, half.local_addr)
        if path is None:
            tcp.stats.drop("tcp.no_route_back")
            return None
        try:
            c = Connection(tcp, path, half.local_port, half.remote_port, now)
        except MemoryError:
            tcp.stats.drop("tcp.no_memory")
            return None
        self.drop_half(half)
        tcp.adopt(c)
        return c

    # -- time

    def _arm(self, at):
        if at < self._due_at:
            self._due_at = at
            self.tcp.arm(self, at)

    def poll_at(self):
        return self._due_at

    def on_timer(self, now):
        """Send again what was not answered; give up after R2."""
        self._due_at = due = NEVER
        half = self._head
        while half is not None:
            following = half.next
            if half.due_at <= now:
                if now - half.began_at >= R2_SYN_US:
                    self.tcp.stats.drop("tcp.half_open_timeout")
                    self.drop_half(half)
                    half = following
                    continue
                half.send_syn_ack(now)
            if half.due_at < due:
                due = half.due_at
            half = following
        if due < now + _TICK_US:
            due = now + _TICK_US
        self._due_at = due
