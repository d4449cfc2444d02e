"""A trace of connections as lines of CSV, for a plot of what happened when.

    time_us,event,seq,ack,len,cwnd,ssthresh,srtt_us,flight,rto_us,connection

event: `tx`, `retx`, `rx`, or a state's name when it is entered. seq counts from the first
octet of who sent it, ack from the other's; the rest are the connection's variables as the
event finds them (`rx`) or leaves them. ssthresh -1: none yet.

While nothing is traced it costs one comparison a segment; see `Tcp.tracer`.
"""

from micropython import const

from stack.transport.tcp.block import RCV_NXT, SND_MAX, SND_NXT, SND_UNA, SRTT_US
from stack.transport.tcp.congestion import INFINITE
from stack.transport.tcp.states import LISTEN, NAMES, SYN_RECEIVED, TIME_WAIT

_M = const(0xFFFFFFFF)
HEADER = "time_us,event,seq,ack,len,cwnd,ssthresh,srtt_us,flight,rto_us,connection\n"
# Lines of a trace that nobody ends: 1,000,000 of some 80 bytes.
MAX_LINES = const(1_000_000)


class Tracer:
    """Traces the connections that `wanted(conn)` is true of, to `write(text)`."""

    def __init__(self, wanted, write, now):
        self.wanted = wanted
        self.write = write
        self.began = now
        self.lines = 0
        write(HEADER)

    def sent(self, c, seq, n, now):
        """A segment left; called before SND.MAX moves."""
        if self.wanted(c):
            again = n and seq - c.w[SND_MAX] & _M != 0
            self._line(c, "retx" if again else "tx", seq - c.iss, c.w[RCV_NXT] - c.irs, n, now)

    def received(self, c, h, n, now):
        """A segment came for an endpoint; called before it is looked at."""
        state = c.state
        if state == LISTEN or state == TIME_WAIT or not hasattr(c, "cc"):
            return
        if self.wanted(c):
            first = c.irs if state > SYN_RECEIVED else h.seq
            self._line(c, "rx", h.seq - first, h.ack - c.iss, n, now)

    def state(self, c, new, now):
        if self.wanted(c):
            self._line(c, NAMES[new], c.w[SND_NXT] - c.iss, c.w[RCV_NXT] - c.irs, 0, now)

    def _line(self, c, event, seq, ack, n, now):
        self.lines += 1
        if self.lines > MAX_LINES:
            return
        cc = c.cc
        ssthresh = cc.ssthresh if cc.ssthresh < INFINITE else -1
        self.write(
            "%d,%s,%d,%d,%d,%d,%d,%d,%d,%d,%d-%d\n" % (
                now - self.began, event, seq & _M, ack & _M, n, cc.cwnd, ssthresh,
                c.w[SRTT_US], c.w[SND_NXT] - c.w[SND_UNA] & _M, c.rtt.timeout_us(), c.local_port,
                c.remote_port,
            )
        )
