"""What a connection says about itself in its SYN, and what it makes of the peer's.

Reading options is the wire's (stack/wire/tcp.py); here they get their meaning:
RFC 9293 3.7.1 (MSS), RFC 7323 2 (window scale) and 3 to 5 (timestamps, PAWS), RFC 2018 2
(SACK permitted).

The clock of timestamps ticks each millisecond (RFC 7323 5.4: "between 1 ms and 1 sec"),
from an offset of its own for each pair of addresses (7.1).

Not implemented: options of RFC 5925 (authentication).
"""

from micropython import const

from stack.net.addr6 import V6
from stack.transport.tcp import usertimeout
from stack.wire.tcp import DEFAULT_MSS, DEFAULT_MSS6, HAS_MSS, HAS_WSCALE, stamp

_MAX_UNSCALED = const(65535)
# RFC 9293 3.7.1 wants a floor in practice: a peer that asks for a tiny MSS makes
# us send a header for every few bytes (CVE-2019-11479). Linux's floor is 48.
MIN_MSS = const(88)
TCP_HEADER = const(20)
STAMP_LEN = const(12)  # NOP, NOP, timestamps
# RFC 9293: "the Data Offset" has four bits: sixty bytes less the fixed twenty.
OPTIONS_MAX = const(40)
# RFC 7323 5.5: "invalidate TS.Recent ... if the connection has been idle for more than
# 24 days": half of the numbers at a tick of 1 ms.
PAWS_IDLE_US = const(24 * 86_400_000_000)
_M = const(0xFFFFFFFF)


def peer_mss(h, addr):
    """The MSS that the SYN with header h asks for, from an address of which family (MUST-15)."""
    if h.options & HAS_MSS:
        return h.mss
    return DEFAULT_MSS6 if addr >= V6 else DEFAULT_MSS


def peer_wscale(h):
    """The shift of the peer's windows, -1: it does not scale."""
    return h.wscale if h.options & HAS_WSCALE else -1


def scale_for(window):
    """The shift with which 16 bits can say `window`."""
    shift = 0
    while shift < 14 and _MAX_UNSCALED << shift < window:
        shift += 1
    return shift


def local_mss(path):
    """What we tell the peer: the largest segment that reaches us in one packet.

    "TCP ... SHOULD send an MSS Option in every SYN": the interface's MTU less
    the fixed headers (RFC 6691). The path says how long its IP header is.
    """
    return path.mtu - path.header - TCP_HEADER


def send_mss(path, peer_mss):
    """Eff.snd.MSS: min(SendMSS + 20, MMS_S) - TCPhdrsize - IPoptionsize (MUST-16)."""
    ours = local_mss(path)
    mss = peer_mss if peer_mss < ours else ours
    return mss if mss > MIN_MSS else MIN_MSS


class Offer:
    """What a SYN says. One object of the layer is filled in and read at once."""

    __slots__ = ("mss", "wscale", "sack", "ts_val", "ts_ecr", "cookie", "cookie_len", "uto")

    def __init__(self):
        self.ts_ecr = 0
        self.set(0, -1, False, -1)

    def set(self, mss, wscale, sack, ts_val, ts_ecr=0, cookie=None, cookie_len=0):
        """wscale, ts_val -1: not said. cookie: of Fast Open (RFC 7413), empty: asked for."""
        self.mss = mss
        self.wscale = wscale
        self.sack = sack
        self.ts_val = ts_val
        self.ts_ecr = ts_ecr
        self.uto = 0  # us, 0: not said
        self.cookie = cookie
        self.cookie_len = cookie_len

    def size(self):
        """Bytes, a multiple of four, at most 40: 4 + 12 + 4 and a cookie of 16 with its 2, beside
        which there is no room for the user timeout.
        """
        n = 4
        if self.ts_val >= 0:
            n += STAMP_LEN
        elif self.sack:
            n += 4
        if self.wscale >= 0:
            n += 4
        if self.cookie is not None:
            n += self.cookie_len + 5 & ~3
        elif self.uto:
            n += usertimeout.LEN
        return n

    def write(self, buf, o):
        """Write size() bytes at buf[o:], in the order that Linux has (some peers look)."""
        mss = self.mss
        buf[o] = 2
        buf[o + 1] = 4
        buf[o + 2] = mss >> 8 & 0xFF
        buf[o + 3] = mss & 0xFF
        o += 4
        if self.ts_val >= 0:
            stamp(buf, o, self.ts_val, self.ts_ecr)
            if self.sack:
                buf[o] = 4
                buf[o + 1] = 2
            o += STAMP_LEN
        elif self.sack:
            buf[o] = buf[o + 1] = 1
            buf[o + 2] = 4
            buf[o + 3] = 2
            o += 4
        if self.wscale >= 0:
            buf[o] = 1
            buf[o + 1] = buf[o + 2] = 3
            buf[o + 3] = self.wscale
            o += 4
        if self.cookie is not None:
            n = self.cookie_len
            buf[o] = 34
            buf[o + 1] = n + 2
            buf[o + 2 : o + 2 + n] = self.cookie[:n]
            o += n + 2
            while n + 2 & 3:
                buf[o] = 1
                o += 1
                n += 1
        elif self.uto:
            usertimeout.write(buf, o, self.uto)


def stamp_now(off, now):
    """TSval: our clock of timestamps at `now` (us)."""
    return now // 1000 + off & _M
