"""TIME-WAIT: what is left of a connection for 2 MSL (RFC 9293 3.6.1, RFC 1337, RFC 6191).

An entry keeps the four-tuple and the last numbers, some 250 bytes.
All wait equally long, so they form one queue, ordered by when they end.
"""

from micropython import const

from stack.core.timers import NEVER
from stack.transport.tcp import options, segment
from stack.transport.tcp.block import (
    RCV_ADV,
    RCV_NXT,
    RCV_WSCALE,
    SND_MAX,
    TS_OFF,
    TS_ON,
    TS_RECENT,
)
from stack.transport.tcp.states import TIME_WAIT
from stack.wire.tcp import ACK, FIN, HAS_TS, RST, SYN

_M = const(0xFFFFFFFF)
_HALF = const(0x80000000)

# RFC 9293 takes an MSL of 2 minutes "arbitrarily"; 2 MSL is 60 s here as in Linux.
TIME_WAIT_US = const(60_000_000)
# 2,048 entries of about 250 bytes: half a megabyte. The oldest goes first.
MAX_TIME_WAIT = const(2048)


class TimeWait:
    __slots__ = (
        "owner", "local_addr", "local_port", "remote_addr", "remote_port", "key",
        "flow_next", "snd_nxt", "rcv_nxt", "wnd", "ts_on", "ts_off", "ts_recent", "ends_at",
        "next", "prev",
    )

    state = TIME_WAIT
    ecn = False

    def __init__(self, owner, c):
        self.owner = owner
        self.local_addr = c.local_addr
        self.local_port = c.local_port
        self.remote_addr = c.remote_addr
        self.remote_port = c.remote_port
        self.key = 0
        self.flow_next = None
        self.snd_nxt = c.w[SND_MAX]
        self.rcv_nxt = c.w[RCV_NXT]
        self.wnd = min((c.w[RCV_ADV] - c.w[RCV_NXT] & _M) >> c.w[RCV_WSCALE], 0xFFFF)
        self.ts_on = c.w[TS_ON]
        self.ts_off = c.w[TS_OFF]
        self.ts_recent = c.w[TS_RECENT]
        self.ends_at = NEVER
        self.next = self.prev = None

    def on_segment(self, h, f, now):
        flags = h.flags
        if flags & RST:
            # RFC 1337: a RST must not end TIME-WAIT early.
            self.owner.tcp.stats.drop("tcp.rst_in_time_wait")
            return
        if flags & SYN and not flags & ACK:
            if self._newer(h):
                self.owner.reopen(self, h, f, now)
                return
        if flags & FIN:
            # "The only thing that can arrive in this state is a retransmission of the
            # remote FIN. Acknowledge it, and restart the 2 MSL timeout."
            self.owner.restart(self, now)
        elif f.end == f.off and h.seq == self.rcv_nxt:
            return  # a late ACK needs no answer
        tcp = self.owner.tcp
        segment.send_bare(
            tcp, tcp.way_back(self.local_addr, self.remote_addr),
            self.local_port << 16 | self.remote_port, self.snd_nxt, self.rcv_nxt, ACK,
            self.wnd, now, None,
            options.stamp_now(self.ts_off, now) if self.ts_on else -1, self.ts_recent,
        )

    def _newer(self, h):
        """Is this SYN of another connection than the one that was? RFC 9293 3.6.1 (MAY-2).

        RFC 6191 2: with timestamps on both, a larger one tells, and the number matters where
        they are equal; without, the number alone.
        """
        if self.ts_on and h.options & HAS_TS and h.ts_val != self.ts_recent:
            return h.ts_val - self.ts_recent & _M < _HALF
        return 0 < h.seq - self.rcv_nxt + 1 & _M < _HALF

    def on_error(self, code, seq, now):
        pass

    def info(self):
        return {
            "proto": "tcp",
            "state": "TIME-WAIT",
            "local_addr": self.local_addr,
            "local_port": self.local_port,
            "remote_addr": self.remote_addr,
            "remote_port": self.remote_port,
        }


class TimeWaits:
    """All entries of a host, oldest first; one timer for the lot."""

    def __init__(self, tcp, wait_us, limit):
        self.tcp = tcp
        self.wait_us = wait_us
        self.limit = limit
        self.count = 0
        self._head = self._tail = None
        self.timer_at = NEVER
        self.timer_index = -1

    def add(self, c, now):
        """Take over from connection c, which has left the flow table."""
        if self.count >= self.limit:
            self.remove(self._head)
            self.tcp.stats.drop("tcp.time_wait_full")
        e = TimeWait(self, c)
        self.tcp.flows.add(e)
        self._append(e, now)

    def _append(self, e, now):
        e.ends_at = now + self.wait_us
        e.prev = self._tail
        e.next = None
        if self._tail is None:
            self._head = e
        else:
            self._tail.next = e
        self._tail = e
        self.count += 1
        if self.timer_index < 0:
            self.tcp.arm(self, self._head.ends_at)

    def _unlink(self, e):
        if e.prev is None:
            self._head = e.next
        else:
            e.prev.next = e.next
        if e.next is None:
            self._tail = e.prev
        else:
            e.next.prev = e.prev
        e.prev = e.next = None
        self.count -= 1

    def restart(self, e, now):
        self._unlink(e)
        self._append(e, now)

    def remove(self, e):
        self._unlink(e)
        self.tcp.flows.remove(e)

    def reopen(self, e, h, f, now):
        """A SYN for this four-tuple: a listener may have it, with a larger ISN than the last."""
        listener = self.tcp.flows.listener(e.local_addr, e.local_port)
        if listener is None:
            return
        self.remove(e)
        listener.on_syn(e.local_addr, e.remote_addr, h, f, now, e.snd_nxt)

    def poll_at(self):
        return self._head.ends_at if self._head is not None else NEVER

    def on_timer(self, now):
        while self._head is not None and self._head.ends_at <= now:
            self.remove(self._head)
