"""One TCP connection: its variables (RFC 9293 3.3.1), its states, and what a program does with it.

Segments come in through input.py, go out through output.py, time passes in
timer.py; what is lost is found in recovery.py and paid for in congestion.py.
Here are the calls of RFC 9293 3.9.1 (SEND, RECEIVE, CLOSE, ABORT, STATUS) and
the one place where the state changes.

Sequence numbers are 32-bit ints. Octet SND.UNA lies at `snd.head` of the send
ring once the SYN is acknowledged; octet RCV.NXT goes to `rcv.tail`.

Not implemented: urgent data, precedence and security options.
"""

from micropython import const

from stack.core.errors import (
    ECONNABORTED,
    EMSGSIZE,
    ENOTCONN,
    EPIPE,
    POLLERR,
    POLLHUP,
    POLLIN,
    POLLOUT,
)
from stack.core.ring import Ring
from stack.core.timers import NEVER
from stack.transport.tcp import (
    block,
    ecn,
    input,
    options,
    output,
    pacing,
    segment,
    status,
    timer,
    usertimeout,
)
from stack.transport.tcp.block import (
    ACK_EVERY,
    ACK_NOW,
    ACKED_TO,
    ADV_MSS,
    DELACK_AT,
    DUPACKS,
    HEADER,
    LAST_RX,
    MARKS,
    PORTS,
    PROGRESS_AT,
    PSEUDO,
    RCV_ADV,
    RCV_MSS,
    RCV_NXT,
    RCV_WSCALE,
    REXMIT_AT,
    RTT_AT,
    RTT_SEQ,
    RX_BYTES,
    SENT_AT,
    SND_MAX,
    SND_NXT,
    SND_UNA,
    SND_WSCALE,
    TIMING,
    TLP_AT,
    TS_OFF,
    TS_ON,
    TS_RECENT,
)
from stack.transport.tcp.rtt import Rtt
from stack.transport.tcp.states import (
    CLOSE_WAIT,
    CLOSED,
    ESTABLISHED,
    FIN_WAIT_1,
    FIN_WAIT_2,
    LAST_ACK,
    NAMES,
    SYN_RECEIVED,
    SYN_SENT,
    TIME_WAIT,
    TRANSITIONS,
)
from stack.wire.tcp import HAS_SACK_OK, HAS_TS, HAS_UTO, HEADER_LEN, STAMPED_LEN

_M = const(0xFFFFFFFF)
MAX_MSS = const(65535)
# Connection.fast: no Fast Open; the SYN asks for a cookie; it has one, and data.
FAST_ASK = const(1)
FAST_DATA = const(2)
# A ring of a new connection may hold this much; it doubles with use up to the
# host's snd_max and rcv_max. Storage is taken only when bytes are there.
START_LIMIT = const(65536)
# What is never held back as a small segment, be the MSS as large as on the loopback.
_FULL = const(4096)


class Connection:
    # They lie in a map for 97. 73 of them would fill one, and in a full map MicroPython looks at
    # every place before it knows that a name is not there but in the class, as all methods are.
    __slots__ = (
        "tcp", "pool", "w", "path", "path_mtu", "path_gso", "local_addr", "local_port",
        "remote_addr", "remote_port", "key", "flow_next", "state", "error", "soft_error", "waker",
        "orphan", "eof_seen", "iss", "max_wnd", "snd", "snd_sml", "fin_queued", "fin_acked",
        "send_waits", "mss", "gso", "full", "nodelay", "rtt", "syn_lost", "cc", "inflate",
        "recovering", "recover", "rexmit_one", "sack_ok", "board", "dup_seq", "dup_len",
        "spare_ooo", "predicted", "ecn", "ece_out", "cwr_out", "ecn_high", "fast",
        "fast_listener", "mss_limit", "irs", "rcv", "ooo", "rcv_fin", "peer_mss", "rcv_filled",
        "challenges", "challenge_at", "persist_at", "persist_backoff", "life_at",
        "user_timeout_us", "uto", "timer_at", "timer_index", "keepalive", "keepidle_us",
        "keepintvl_us", "keepcnt", "keep_probes", "ready", "ready_next", "lane", "retransmits",
        "tx_bytes", "ooo_segments",
        "emit", "pace_at",
    )

    def __init__(self, tcp, path, local_port, remote_port, now):
        """A closed connection over `path`; `open_active` or `open_passive` begin it."""
        self.tcp = tcp
        self.pool = tcp.pool
        self.path = path
        self.w = w = block.make()
        w[PSEUDO] = path.pseudo(segment.PROTO)
        self.local_addr = path.src
        self.remote_addr = path.dst
        self.local_port = local_port
        self.remote_port = remote_port
        w[PORTS] = local_port << 16 | remote_port
        self.key = 0
        self.flow_next = None
        self.lane = -1  # its place among fast.Lanes, the last one

        self.state = CLOSED
        self.error = 0
        self.soft_error = 0
        self.waker = None
        self.orphan = False  # the program has closed it and will not look again
        self.eof_seen = False

        self.iss = self.max_wnd = 0
        self.snd = Ring(tcp.send_buffers, tcp.start_limit(tcp.snd_max))
        self.snd_sml = 0  # end of the last small segment (Minshall's SND.SML)
        self.fin_queued = self.fin_acked = False
        self.send_waits = False  # the program found the ring full
        self.nodelay = False
        w[ADV_MSS] = mss = options.local_mss(path)
        self.mss = self.gso = self.full = 0
        self.mss_limit = MAX_MSS  # by TCP_MAXSEG, or because larger ones do not arrive

        self.rtt = Rtt(w)
        w[SENT_AT] = w[PROGRESS_AT] = w[LAST_RX] = now
        self.syn_lost = False
        self.cc = tcp.congestion(mss, tcp.initial_segments, self.rtt)
        self.inflate = 0
        self.recovering = 0  # duplicates.py: 1; recovery.py: RECOVERY, LOSS
        self.rexmit_one = False
        self.recover = 0
        self.sack_ok = False  # both sides have said so in their SYNs
        self.board = None  # a Scoreboard, once something was sent with sack_ok
        self.dup_seq = self.dup_len = 0  # to be reported by DSACK
        w[TS_OFF] = tcp.stamp_offset(path.src, path.dst) if tcp.timestamps else 0
        w[HEADER] = HEADER_LEN
        self.predicted = 0  # what options it has
        self.ecn = self.ece_out = self.cwr_out = False
        self.ecn_high = 0  # SND.MAX at the last reduction
        self.fast = 0  # Fast Open, client: NO_FAST, FAST_ASK, FAST_DATA
        self.fast_listener = None  # Fast Open, server: until the handshake is over

        self.irs = 0
        self.rcv = Ring(tcp.buffers, tcp.start_limit(tcp.rcv_max))
        w[RCV_WSCALE] = tcp.rcv_wscale
        self.ooo = self.spare_ooo = None
        self.rcv_fin = -1  # ring position of a FIN that came early
        w[RCV_MSS] = options.DEFAULT_MSS
        w[ACK_EVERY] = 2 * options.DEFAULT_MSS
        self.rcv_filled = 0  # octets read since the receive limit last grew
        self.challenges = 0
        self.challenge_at = now - input.CHALLENGE_WINDOW_US

        self.persist_at = self.life_at = NEVER
        self.persist_backoff = 0
        self.user_timeout_us = tcp.user_timeout_us
        self.uto = usertimeout.TELL if tcp.uto else 0
        self.timer_at = NEVER
        self.timer_index = -1
        self.keepalive = False
        self.keepidle_us = timer.KEEPIDLE_US
        self.keepintvl_us = timer.KEEPINTVL_US
        self.keepcnt = timer.KEEPCNT
        self.keep_probes = 0

        self.emit = output.emit  # or pacing.emit
        self.pace_at = now
        self.ready = False
        self.ready_next = None
        self.retransmits = self.tx_bytes = self.ooo_segments = 0
        self._set_send_mss(options.DEFAULT_MSS)

    # -- opening

    def open_active(self, iss, now, fastopen=False):
        """OPEN: send <SEQ=ISS><CTL=SYN>. With fastopen and a cookie it waits for data."""
        self._number(iss)
        self.set_state(SYN_SENT, "connect")
        self.w[PROGRESS_AT] = now
        if fastopen:
            self.fast = FAST_ASK
            known = self.tcp.fast_open.known(self.remote_addr)
            if known is not None:
                self.fast = FAST_DATA
                self._set_send_mss(known[1])
                return
        self.tcp.make_ready(self)

    def open_fast(self, half, listener, f, now):
        """A SYN with a good cookie: its data is ours, our SYN-ACK is still to go."""
        self.open_passive(half, now)
        self.w[SND_NXT] = self.w[SND_MAX] = half.iss
        self.w[TIMING] = self.syn_lost = False
        self.w[PROGRESS_AT] = now
        self.fast_listener = listener
        listener.fast_pending += 1
        took = self.rcv.write(f.buf, f.off, f.end - f.off)
        self.w[RCV_NXT] = self.w[RCV_NXT] + took & _M
        self.w[RX_BYTES] = took
        self.tcp.make_ready(self)

    def _fast_over(self):
        if self.fast_listener is not None:
            self.fast_listener.fast_pending -= 1
            self.fast_listener = None

    def open_passive(self, half, now):
        """Take over from a half-open entry whose SYN-ACK has been answered."""
        self._number(half.iss)
        self.w[SND_NXT] = self.w[SND_MAX] = half.iss + 1 & _M
        self.irs = half.irs
        self.w[RCV_NXT] = self.w[ACKED_TO] = half.irs + 1 & _M
        segment.syn_window(self)
        self._peer_options(half.mss, half.wscale, half.sack_ok, half.ts_on)
        self.w[TS_RECENT] = half.ts_recent
        self.ecn = half.ecn_ok
        if half.uto:
            usertimeout.heard(self, half.uto)
        self.set_state(SYN_RECEIVED, "passive open")
        if half.sends == 1:
            self.w[TIMING] = True
            self.w[RTT_SEQ] = self.w[SND_MAX]
            self.w[RTT_AT] = half.sent_at
        else:
            self.syn_lost = True

    def _number(self, iss):
        self.iss = self.w[SND_UNA] = self.w[SND_NXT] = self.w[SND_MAX] = self.snd_sml = iss
        self.w[MARKS] = iss  # SND.UNA when fast.py last moved what may lag behind it
        self.recover = self.ecn_high = iss

    def on_syn_options(self, h):
        tcp = self.tcp
        has = h.options
        self.w[TS_RECENT] = h.ts_val
        self.ecn = ecn.granted(tcp, h.flags)
        if tcp.uto and has & HAS_UTO:
            usertimeout.heard(self, h.uto)
        self._peer_options(
            options.peer_mss(h, self.remote_addr), options.peer_wscale(h),
            tcp.sack and bool(has & HAS_SACK_OK), tcp.timestamps and bool(has & HAS_TS),
        )

    def _peer_options(self, mss, wscale, sack_ok, ts_on):
        """RFC 7323, 2.2: both sides must send Window Scale, or neither scales; so the others."""
        if wscale >= 0:
            self.w[SND_WSCALE] = wscale
        else:
            self.w[SND_WSCALE] = 0
            self.w[RCV_WSCALE] = 0
        self.sack_ok = sack_ok
        self.w[TS_ON] = ts_on
        self.w[HEADER] = STAMPED_LEN if ts_on else HEADER_LEN
        self.predicted = HAS_TS if ts_on else 0
        self._set_send_mss(mss)

    def _set_send_mss(self, peer_mss):
        self.peer_mss = peer_mss
        path = self.path
        self.path_mtu = path.mtu
        self.path_gso = path.gso_max
        # RFC 6691, 2: the MSS counts no options, so those of every segment come off here.
        mss = options.send_mss(path, peer_mss)
        if mss > self.mss_limit:
            mss = self.mss_limit
        self.mss = mss = mss - self.w[HEADER] + HEADER_LEN
        self.gso = segment.gso_bytes(path, mss)
        self.full = mss if mss < _FULL else _FULL
        self.cc.set_mss(mss, self.tcp.initial_segments)

    def on_established(self, now):
        """The handshake is over (input.py)."""
        self._fast_over()
        pacing.begin(self)
        if self.keepalive:
            self.set_keepalive(True)
        if self.snd.tail != self.snd.head or self.fin_queued:
            self.tcp.make_ready(self)
        if self.waker is not None:
            self.waker.wake(self)

    # -- the state

    def set_state(self, new, why):
        """The only place where `state` changes."""
        old = self.state
        assert new in TRANSITIONS[old], (NAMES[old], NAMES[new], why)
        self.state = new
        tcp = self.tcp
        if tcp.trace is not None:
            tcp.trace(self, old, new, why)
        if tcp.tracer is not None:
            tcp.tracer.state(self, new, tcp.now)

    def fail(self, errno, now, why):
        """Become CLOSED at once; errno 0: an end that is no error. Unread data stays readable."""
        if errno and not self.error:
            self.error = errno
        self._leave()
        if self.state != CLOSED:
            self.set_state(CLOSED, why)
        if self.waker is not None:
            self.waker.wake(self)

    def enter_time_wait(self, now, why):
        """Both FINs are acknowledged: a small entry keeps the four-tuple from here on."""
        self.set_state(TIME_WAIT, why)
        self._leave()
        self.tcp.add_time_wait(self, now)
        if self.waker is not None:
            self.waker.wake(self)

    def _leave(self):
        """Off the flow table, the timers and the send buffer."""
        w = self.w
        w[REXMIT_AT] = w[DELACK_AT] = w[TLP_AT] = self.persist_at = self.life_at = NEVER
        self.w[ACK_NOW] = self.rexmit_one = False
        self.board = self.spare_ooo = None
        self._fast_over()
        self.tcp.forget(self)
        self.snd.release()
        self.ooo = None
        if self.orphan:
            self.rcv.release()

    def await_fin(self, now):
        """An orphan in FIN-WAIT-2 waits so long for the peer's FIN, and no longer."""
        self.life_at = now + timer.FIN_WAIT_2_US
        self.tcp.arm(self, self.life_at)

    def ack_soon(self):
        self.w[ACK_NOW] = True
        if not self.ready:
            self.tcp.make_ready(self)

    # -- what a program does

    def send(self, buf, off, n, now):
        """SEND: take up to n bytes of buf[off:] into the send ring; how many, 0 when it is full.

        They leave with the next `tcp.flush`. OSError: the connection's error once
        it has failed, EPIPE after shutdown, ENOTCONN when it is closed.
        """
        if self.fin_queued or self.state > CLOSE_WAIT or self.state == CLOSED:
            self._refuse()
        took = self.snd.write(buf, off, n)
        if took < n:
            self.send_waits = True
        if took:
            self.tx_bytes += took
            if not self.ready:
                self.tcp.make_ready(self)
        return took

    def place(self, n):
        """For who makes bytes where they are sent from: an index in snd.buf from which on, and
        around its end, n may be written; -1 without room. `placed` sends them. OSError as send."""
        if self.fin_queued or self.state > CLOSE_WAIT or self.state == CLOSED:
            self._refuse()
        ring = self.snd
        if ring.size - ring.tail + ring.head < n and ring.reserve(n) < n:
            self.send_waits = True
            return -1
        return ring.tail & ring.size - 1

    def placed(self, n):
        """n bytes have been written from `place` on."""
        self.snd.tail += n
        self.tx_bytes += n
        if not self.ready:
            self.tcp.make_ready(self)

    def _refuse(self):
        if self.error:
            raise OSError(self.error)
        raise OSError(EPIPE if self.fin_queued or self.eof_seen else ENOTCONN)

    def recv_into(self, buf, off, n, now):
        """RECEIVE: move up to n bytes into buf[off:]; how many, 0 when there are none now.

        buf None: the n bytes, which are there, were read where they lay."""
        ring = self.rcv
        if buf is None:
            ring.head += n
            got = n
        else:
            got = ring.read_into(buf, off, n)
        if not got:
            return 0
        held = self.w[RCV_ADV] - self.w[RCV_NXT] & _M
        limit = ring.limit
        left = ring.tail - ring.head
        if limit < self.tcp.rcv_max:
            # The program keeps up: a window's worth has gone through, little lies here.
            self.rcv_filled += got
            if self.rcv_filled >= limit and left < limit >> 1:
                self.rcv_filled = 0
                limit = self.tcp.grow_receive(self)
        more = limit - left
        most = 0xFFFF << self.w[RCV_WSCALE]  # what 16 bits can say
        more = (more if more < most else most) - held
        step = 2 * self.w[RCV_MSS]
        if more >= held and (more >= step or more >= limit >> 1) and not self.eof_seen:
            # RFC 9293 3.8.6.2.2: the window moves by enough to be worth a segment.
            if self.state <= FIN_WAIT_2:
                self.ack_soon()
        if not left and self.ooo is None and self.tcp.pressed():
            ring.release()
        return got

    # No properties: with one in its class every store to an instance costs MicroPython three
    # look-ups more.

    def recv_len(self):
        """Bytes that recv_into would give now."""
        return self.rcv.tail - self.rcv.head

    def send_space(self):
        """Bytes that send would take now."""
        if self.fin_queued or self.state > CLOSE_WAIT or self.state < SYN_SENT:
            return 0
        return self.snd.limit - (self.snd.tail - self.snd.head)

    def eof(self):
        """True when the peer's FIN has come and all before it was read."""
        return self.eof_seen and self.rcv.tail == self.rcv.head

    def said_all(self):
        """True when there is nothing more that the peer must acknowledge, the FIN included."""
        return self.state == CLOSED or self.state == TIME_WAIT or self.fin_acked

    def shutdown(self, now):
        """Half-close: a FIN after what is queued. Reading goes on."""
        if self.fin_queued:
            return
        if self.state == ESTABLISHED:
            self.fin_queued = True
            self.set_state(FIN_WAIT_1, "shutdown")
        elif self.state == CLOSE_WAIT:
            self.fin_queued = True
            self.set_state(LAST_ACK, "shutdown")
        elif self.state == SYN_RECEIVED:
            self.fin_queued = True
            return
        elif self.state == SYN_SENT:
            self.fail(ECONNABORTED, now, "shutdown before open")
            return
        else:
            return
        self.tcp.make_ready(self)

    def close(self, now):
        """CLOSE: the program is done with it. What is queued is still sent, then a FIN.

        RFC 9293 3.6.1: with received data unread the peer is told by a RST (SHLD-3).
        """
        if self.orphan:
            return
        self.waker = None
        unread = self.rcv.tail != self.rcv.head
        self.orphan = True
        if self.state == CLOSED or self.state == TIME_WAIT:
            self.rcv.release()
            return
        if unread or self.state == SYN_SENT:
            self.abort(now)
            return
        self.shutdown(now)
        if self.state == FIN_WAIT_2:
            self.await_fin(now)

    def abort(self, now):
        """ABORT: a RST to the peer, all data forgotten (RFC 9293 3.10.5)."""
        self.waker = None
        self.orphan = True
        if self.state == CLOSED or self.state == TIME_WAIT:
            self.rcv.release()
            return
        if self.state != SYN_SENT:
            output.emit_reset(self, now)
        self.fail(ECONNABORTED, now, "abort")

    def events(self):
        """POLLIN, POLLOUT, POLLERR, POLLHUP as they hold now."""
        state = self.state
        e = 0
        if self.rcv.tail != self.rcv.head or self.eof_seen:
            e = POLLIN
        if self.error:
            e |= POLLERR
        if state == CLOSED or state == TIME_WAIT:
            return e | POLLIN | POLLOUT | POLLHUP
        if ESTABLISHED <= state <= CLOSE_WAIT and not self.fin_queued:
            ring = self.snd
            if ring.limit - (ring.tail - ring.head) >= ring.limit >> 2:
                e |= POLLOUT
            else:
                self.send_waits = True
        elif state == SYN_SENT and self.fast == FAST_DATA:
            e |= POLLOUT
        elif state > CLOSE_WAIT:
            # Writing fails at once, which select calls writable.
            e |= POLLOUT
            if self.eof_seen:
                e |= POLLHUP
        return e

    def set_keepalive(self, on):
        """Truth: ask after keepidle_us of silence (RFC 9293 3.8.4; off by default, MUST-25)."""
        self.keepalive = bool(on)
        self.keep_probes = 0
        if on and ESTABLISHED <= self.state < TIME_WAIT and not self.orphan:
            self.life_at = self.w[LAST_RX] + self.keepidle_us
            self.tcp.arm(self, self.life_at)

    def info(self):
        """STATUS: a new dict."""
        return status.info(self)

    # -- what the layers call

    def on_error(self, code, seq, now):
        """An ICMP error quotes our segment `seq` (RFC 9293 3.9.2.2, RFC 5461, RFC 5927)."""
        # RFC 5927, 4.1: only what is in flight can be meant.
        if seq - self.w[SND_UNA] & _M > self.w[SND_MAX] - self.w[SND_UNA] & _M:
            self.tcp.stats.drop("tcp.icmp_outside_window")
            return
        if code == EMSGSIZE:
            if self.state >= ESTABLISHED:
                self.path.follow(now)
                self.follow_path()
            return
        if self.state == SYN_SENT and code in _HARD:
            # "These are hard error conditions, so TCP implementations SHOULD abort" (SHLD-26).
            self.fail(code, now, "ICMP")
        else:
            # MUST-54 and RFC 5461, 4: soft, and in a synchronized state every one is.
            self.soft_error = code

    def follow_path(self):
        """The path's MTU or offload has changed. Segments that were too big go again."""
        before = self.mss
        self._set_send_mss(self.peer_mss)
        if self.mss < before and self.state >= ESTABLISHED and not self.fin_acked:
            self.go_back()
            self.tcp.make_ready(self)

    def go_back(self):
        """All that is out goes again from SND.UNA, in segments of another size or to a
        window that was shut.
        """
        self.w[SND_NXT] = self.w[SND_UNA]
        self.w[TIMING] = False
        self.w[TLP_AT] = NEVER
        b = self.board
        if b is not None:
            b.clear(self.w[SND_UNA])
            self.inflate = 0
            self.w[DUPACKS] = 1 if self.recovering else 0

    def poll_at(self):
        return timer.poll_at(self)

    def on_timer(self, now):
        timer.on_timer(self, now)

    on_segment = input.on_segment


# Errnos of ICMP that end an attempt to connect: protocol and port unreachable.
_HARD = (92, 111)  # ENOPROTOOPT, ECONNREFUSED
