"""SYN cookies: a full queue of half-open entries costs no client its connection. RFC 4987 3.6, A.

The answer to a SYN that finds no place carries all that an entry would hold, and nothing is
kept. In its sequence number:

    5 bits   a count of 64 seconds       8 values of MSS   3 bits
    24 bits  keyed hash of addresses, ports, the peer's number and these eight bits

and, if the peer sends timestamps, in the low bits of ours: its window scale (4, 15 for none),
SACK permitted (1), ECN (1). Without timestamps the connection has neither.

A cookie is good for 64 to 128 s, and is looked for only in that time after one was given.

Not implemented: the data of a SYN with Fast Open (RFC 7413) under cookies.
"""

from micropython import const

from stack.transport.tcp import ecn, options
from stack.wire.tcp import HAS_TS

_M = const(0xFFFFFFFF)
_TICK_US = const(64_000_000)
# In the order of the three bits; the largest that is not above the peer's is taken.
_MSS = (88, 536, 1200, 1360, 1440, 1460, 4312, 8960)
_BITS = const(63)
_NO_WSCALE = const(15)


class Cookies:
    def __init__(self, tcp):
        self.tcp = tcp
        self._until = 0  # when the last that was given is no longer good

    def _hash(self, local, local_port, remote, remote_port, irs, top):
        text = "cookie %s %d %s %d %d %d" % (local, local_port, remote, remote_port, irs, top)
        return self.tcp.keyed_hash(text) & 0xFFFFFF

    def give(self, half, now):
        """Fill in the HalfOpen that is to send a SYN-ACK and be forgotten; the TSval, or -1."""
        count = now // _TICK_US & 31
        m = 7
        while m and _MSS[m] > half.mss:
            m -= 1
        top = count << 3 | m
        half.iss = top << 24 | self._hash(
            half.local_addr, half.local_port, half.remote_addr, half.remote_port, half.irs, top
        )
        self._until = now + 2 * _TICK_US
        self.tcp.stats.count("tcp.syn_cookies")
        if not half.ts_on:
            half.wscale = -1
            half.sack_ok = half.ecn_ok = False
            return -1
        bits = half.wscale if half.wscale >= 0 else _NO_WSCALE
        if half.sack_ok:
            bits |= 16
        if half.ecn_ok:
            bits |= 32
        stamp = options.stamp_now(half.ts_off, now)
        val = stamp & ~_BITS | bits
        # Never ahead of the clock: what comes later must not look older (PAWS).
        return val if val <= stamp else val - 64 & _M

    def take(self, half, iph, h, now):
        """Fill in the HalfOpen from the ACK h of such an answer. False: it is none."""
        if now >= self._until:
            return False
        cookie = h.ack - 1 & _M
        top = cookie >> 24
        if (now // _TICK_US & 31) - (top >> 3) & 31 > 1:
            return False
        irs = h.seq - 1 & _M
        if cookie & 0xFFFFFF != self._hash(iph.dst, h.dst_port, iph.src, h.src_port, irs, top):
            self.tcp.stats.drop("tcp.bad_cookie")
            return False
        half.begin(iph.dst, iph.src, h, cookie, now)
        half.irs = irs
        half.mss = _MSS[top & 7]
        half.ts_on = self.tcp.timestamps and h.options & HAS_TS != 0
        half.wscale = -1
        half.sack_ok = half.ecn_ok = False
        if half.ts_on:
            bits = h.ts_ecr & _BITS
            if bits & 15 != _NO_WSCALE:
                half.wscale = min(bits & 15, 14)
            half.sack_ok = self.tcp.sack and bits & 16 != 0
            half.ecn_ok = self.tcp.ecn != ecn.OFF and bits & 32 != 0
        # Its round trip is not known: how long ago the answer left was not kept.
        half.sends = 2
        self.tcp.stats.count("tcp.cookie_opens")
        return True
