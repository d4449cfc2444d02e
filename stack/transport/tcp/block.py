"""The block of a connection: what nearly every segment reads and writes, packed.

A connection has most of its state in attributes. What header prediction, an acknowledgment
and the next segment out need lies in one array of 64-bit words instead, `c.w`, because to read
or write an attribute costs MicroPython 90 or 130 instructions and a viper function 5 for a word.
Everybody else reads and writes the same words, `c.w[SND_UNA]`, so nothing is kept twice.

    word  name         what (RFC 9293 3.3.1 unless said)
    0     SND_UNA      oldest octet that is not acknowledged
    1     SND_NXT      next to be sent; goes back after a timeout
    2     SND_MAX      highest that was ever sent
    3     SND_WND      the peer's window, in octets
    4     SND_WL1      SEG.SEQ of its last news
    5     SND_WSCALE   what it is scaled by (RFC 7323)
    6     MARKS        SND.UNA when fast.py last moved what may lag behind it
    7     RCV_NXT      next octet to come
    8     RCV_ADV      edge of the window that we have promised
    9     RCV_WSCALE   what our window is scaled by
    10    RCV_MSS      the largest segment that has come
    11    ADV_MSS      the MSS that our SYN offers
    12    ACK_EVERY    octets after which an ACK goes at once
    13    ACKED_TO     RCV.NXT of the last segment sent: Last.ACK.sent (RFC 7323)
    14    ACK_NOW      1: an ACK is owed
    15    TS_ON        1: timestamps are in use
    16    TS_OFF       what is added to the clock for them
    17    TS_RECENT    TS.Recent; when it came is LAST_RX
    18    DUPACKS      duplicates.py: so many; recovery.py: the scoreboard is in use
    19    TIMING       1: a segment is being timed (RFC 6298) ...
    20    RTT_SEQ      ... the one that ends here
    21    RTT_AT       ... sent then
    22    SRTT_US      } rtt.py's, in us
    23    RTTVAR_US    }
    24    RTO_US       }
    25    MIN_RTT_US   }
    26    PTO_US       }
    27    BACKOFF      }
    28    SENT_AT      when something with a sequence number was last sent
    29    PROGRESS_AT  when the peer last acknowledged something
    30    LAST_RX      when its last segment came
    31    REXMIT_AT    deadlines, see timer.py
    32    TLP_AT
    33    DELACK_AT
    34    HEADER       bytes of the header of an ordinary segment
    35    PORTS        local << 16 | remote
    36    PSEUDO       the sum of the pseudo-header without the length
    37    RX_BYTES     octets received

Sequence numbers are 0 to 2^32 - 1; times are us, NEVER when off. (The words are of type "l", a
long: MicroPython makes an object of every "q" that is read.)

The functions below do what a usual segment asks for and know nothing but the block (and the
words of a segment, see `say`); fast.py does the rest. In them p[2 * NAME] is the lower half of a
word, and all there is of it unless it is a time.
"""

from array import array

import micropython
from micropython import const

from stack.core.timers import NEVER

SND_UNA = const(0)
SND_NXT = const(1)
SND_MAX = const(2)
SND_WND = const(3)
SND_WL1 = const(4)
SND_WSCALE = const(5)
MARKS = const(6)
RCV_NXT = const(7)
RCV_ADV = const(8)
RCV_WSCALE = const(9)
RCV_MSS = const(10)
ADV_MSS = const(11)
ACK_EVERY = const(12)
ACKED_TO = const(13)
ACK_NOW = const(14)
TS_ON = const(15)
TS_OFF = const(16)
TS_RECENT = const(17)
DUPACKS = const(18)
TIMING = const(19)
RTT_SEQ = const(20)
RTT_AT = const(21)
SRTT_US = const(22)
RTTVAR_US = const(23)
RTO_US = const(24)
MIN_RTT_US = const(25)
PTO_US = const(26)
BACKOFF = const(27)
SENT_AT = const(28)
PROGRESS_AT = const(29)
LAST_RX = const(30)
REXMIT_AT = const(31)
TLP_AT = const(32)
DELACK_AT = const(33)
HEADER = const(34)
PORTS = const(35)
PSEUDO = const(36)
RX_BYTES = const(37)
_WORDS = const(38)

_M = const(0xFFFFFFFF)
_HALF = const(0x80000000)
_NEVER_HIGH = const(1 << 28)  # the upper half of NEVER
# Marks of sequence space that stand still are moved along after so many octets.
_MARKS = const(1 << 28)
# RFC 9293 3.8.6.3: "an ACK SHOULD NOT be excessively delayed; in particular, the
# delay MUST be less than 0.5 seconds" (MUST-40).
DELACK_US = const(40_000)
# Two segments of the loopback's size would be more than a window.
_ACK_EVERY_MAX = const(16384)

# RFC 6298 (2.4) asks for 1 s; 200 ms is what Linux, the BSDs and every peer
# that we meet use, and what keeps a lost tail from costing a second.
MIN_RTO_US = const(200_000)
# (2.5): "A maximum value MAY be placed on RTO provided it is at least 60 seconds."
MAX_RTO_US = const(60_000_000)
_GRANULARITY_US = const(1_000)
# RFC 8985 7.2: "PTO = 2 * SRTT", and here what a busy emulator may take to be scheduled
# (Linux adds two of its ticks for the same reason).
_PROBE_FLOOR_US = const(10_000)

# What `acknowledge` says besides: REXMIT_AT has moved; MARKS lies far behind.
ARM = const(1)
BEHIND = const(2)

# A segment that came, words of 32 bits.
SEG_SEQ = const(0)
SEG_ACK = const(1)
SEG_WINDOW = const(2)  # as in the header
SEG_STAMP = const(3)  # TSval
SEG_ECHO = const(4)  # TSecr
SEG_OFF = const(5)  # where its text begins
SEG_LEN = const(6)
SEG_STAMPED = const(7)  # 1: it has timestamps
SEG_WORDS = const(8)


def _first():
    assert NEVER == _NEVER_HIGH << 32
    w = array("l", bytes(8 * _WORDS))
    w[REXMIT_AT] = w[TLP_AT] = w[DELACK_AT] = NEVER
    return bytes(w)


_FIRST = _first()


def make():
    """The block of a new connection: no deadlines, all else 0."""
    return array("l", _FIRST)


# -- a segment comes


@micropython.viper
def say(seg, seq: int, ack: int, window: int, stamp: int, echo: int, off: int, n: int, on: int):
    """Write the words of a segment."""
    g = ptr32(seg)
    g[SEG_SEQ] = seq
    g[SEG_ACK] = ack
    g[SEG_WINDOW] = window
    g[SEG_STAMP] = stamp
    g[SEG_ECHO] = echo
    g[SEG_OFF] = off
    g[SEG_LEN] = n
    g[SEG_STAMPED] = on


@micropython.viper
def predict(w, seg, now: int) -> int:
    """Is it the next in order, or news of what we sent, and nothing unusual? Then what it says of
    its sender is noted, and this is what it acknowledges << 1 | 1 if the window has changed.
    -1: no, and nothing has changed.
    """
    p = ptr32(w)
    g = ptr32(seg)
    seq = g[SEG_SEQ]
    n = g[SEG_LEN]
    if seq != p[2 * RCV_NXT] or p[2 * DUPACKS] or p[2 * TS_ON] != g[SEG_STAMPED]:
        return -1
    una = p[2 * SND_UNA]
    acked = g[SEG_ACK] - una & _M
    if acked > p[2 * SND_MAX] - una & _M or n > p[2 * RCV_ADV] - seq & _M or n + acked == 0:
        return -1
    if p[2 * TS_ON]:
        # RFC 7323 5.3, R1, and 4.3, (2).
        stamp = g[SEG_STAMP]
        if stamp - p[2 * TS_RECENT] & _M >= _HALF:
            return -1
        if p[2 * ACKED_TO] == seq:
            p[2 * TS_RECENT] = stamp
    p[2 * LAST_RX] = now & _M
    p[2 * LAST_RX + 1] = now >> 32
    if g[SEG_WINDOW] << p[2 * SND_WSCALE] != p[2 * SND_WND]:
        if seq - p[2 * SND_WL1] & _M < _HALF:
            p[2 * SND_WL1] = seq
            return acked << 1 | 1
    elif n:
        p[2 * SND_WL1] = seq  # or it would lie ahead, 2 GB of one window later
    return acked << 1


@micropython.viper
def sample(w, r: int):
    """Take one measurement R of the round trip, in us (RFC 6298, 2.2 and 2.3)."""
    p = ptr32(w)
    if r < 1:
        r = 1
    if r > _M:
        r = _M
    srtt = p[2 * SRTT_US]
    var = r >> 1
    if srtt == 0:
        srtt = r
        p[2 * MIN_RTT_US] = r
    else:
        # RTTVAR <- 3/4 RTTVAR + 1/4 |SRTT - R|; SRTT <- 7/8 SRTT + 1/8 R
        d = srtt - r
        if d < 0:
            d = 0 - d
        var = (3 * p[2 * RTTVAR_US] + d) >> 2
        srtt = (7 * srtt + r) >> 3
        if r < p[2 * MIN_RTT_US]:
            p[2 * MIN_RTT_US] = r
    p[2 * SRTT_US] = srtt
    p[2 * RTTVAR_US] = var
    var <<= 2
    if var < _GRANULARITY_US:
        var = _GRANULARITY_US
    rto = srtt + var
    if rto < MIN_RTO_US:
        rto = MIN_RTO_US
    elif rto > MAX_RTO_US:
        rto = MAX_RTO_US
    p[2 * RTO_US] = rto
    pto = (srtt << 1) + _PROBE_FLOOR_US
    p[2 * PTO_US] = pto & _M
    p[2 * PTO_US + 1] = pto >> 32
    p[2 * BACKOFF] = 0


@micropython.viper
def acknowledge(w, acked: int, echo: int, now: int) -> int:
    """SND.UNA < SEG.ACK =< SND.MAX: `acked` octets more. echo: TSecr, 0: none.

    Moves SND.UNA and what follows it, measures, and sets the deadlines. Returns what was in
    flight before << 2 | ARM | BEHIND.
    """
    p = ptr32(w)
    una = p[2 * SND_UNA]
    nxt = p[2 * SND_NXT]
    r = (nxt - una & _M) << 2
    una = una + acked & _M
    p[2 * SND_UNA] = una
    if una - nxt & _M < _HALF:
        # After a timeout SND.NXT was put back, and this covers more than was sent again.
        p[2 * SND_NXT] = una
    timing = p[2 * TIMING]
    p[2 * BACKOFF] = 0  # new data was acknowledged: the path works again
    if timing:
        if una - p[2 * RTT_SEQ] & _M < _HALF:
            p[2 * TIMING] = 0
            sample(w, now - (p[2 * RTT_AT + 1] << 32 | p[2 * RTT_AT]))
    elif echo and p[2 * TS_ON]:
        # RFC 7323 4, RTTM: what was sent twice can be measured, since the echo tells which it
        # was. Its clock is coarse.
        ms = now // 1000 + p[2 * TS_OFF] - echo & _M
        if ms < 120_000:
            if ms == 0:
                ms = 1
            sample(w, ms * 1000)
    if una - p[2 * MARKS] & _M > _MARKS:
        r |= BEHIND
    p[2 * PROGRESS_AT] = now & _M
    p[2 * PROGRESS_AT + 1] = now >> 32
    # RFC 6298 (5.2), (5.3).
    if una == p[2 * SND_MAX]:
        p[2 * REXMIT_AT] = 0
        p[2 * REXMIT_AT + 1] = _NEVER_HIGH
        p[2 * TLP_AT] = 0
        p[2 * TLP_AT + 1] = _NEVER_HIGH
        return r
    at = now + p[2 * RTO_US]
    p[2 * REXMIT_AT] = at & _M
    p[2 * REXMIT_AT + 1] = at >> 32
    return r | ARM


@micropython.viper
def take_in(w, took: int, n: int, now: int) -> int:
    """Of the next n octets `took` are in the ring: RCV.NXT, and an ACK is owed.

    Returns -1: it goes at once; else when it goes if DELACK_AT was set just now, or 0.
    """
    p = ptr32(w)
    nxt = p[2 * RCV_NXT] + took & _M
    p[2 * RCV_NXT] = nxt
    count = p[2 * RX_BYTES] + took
    p[2 * RX_BYTES] = count & _M
    p[2 * RX_BYTES + 1] = p[2 * RX_BYTES + 1] + (count >> 32)
    most = p[2 * ADV_MSS]
    if n > p[2 * RCV_MSS]:
        # The peer sends larger segments than we knew.
        mss = n
        if mss > most:
            mss = most
        p[2 * RCV_MSS] = mss
        mss <<= 1
        if mss > _ACK_EVERY_MAX:
            mss = _ACK_EVERY_MAX
        p[2 * ACK_EVERY] = mss
    # RFC 9293: "an ACK SHOULD be generated for at least every second full-sized
    # segment" (SHLD-18). What a device joined counts as the segments it was.
    if nxt - p[2 * ACKED_TO] & _M >= p[2 * ACK_EVERY] or n > most or took < n:
        p[2 * ACK_NOW] = 1
        return -1
    if p[2 * DELACK_AT + 1] != _NEVER_HIGH:
        return 0
    at = now + DELACK_US
    p[2 * DELACK_AT] = at & _M
    p[2 * DELACK_AT + 1] = at >> 32
    return at


# -- a segment leaves


@micropython.viper
def window(w, free: int, limit: int) -> int:
    """The window field for a segment sent now; `free` of `limit` octets of the ring are free.
    Moves RCV.ADV, the edge that was promised.

    RFC 9293 3.8.6.2.2: the edge stands still until it can move by
    "min( Fr * RCV.BUFF, Eff.snd.MSS )", Fr = 1/2. It never moves back; what
    scaling cuts off is still accepted (RFC 7323, 2.4).
    """
    p = ptr32(w)
    scale = p[2 * RCV_WSCALE]
    held = p[2 * RCV_ADV] - p[2 * RCV_NXT] & _M
    if held >= _HALF:
        held = 0  # a FIN took the octet after the window
    more = free - held
    if more >= p[2 * RCV_MSS] or more >= limit >> 1:
        f = free >> scale
        if f > 0xFFFF:
            f = 0xFFFF
        if f << scale > held:
            p[2 * RCV_ADV] = p[2 * RCV_NXT] + (f << scale) & _M
        return f
    f = held >> scale
    if f > 0xFFFF:
        return 0xFFFF
    return f


@micropython.viper
def headers(w, template, buf, off: int, words: int, control: int, n: int, now: int):
    """Write Ethernet, IPv4, TCP and, if they are in use, timestamps at buf[off:], off even, for
    the next n octets of text.

    template, words: as wire.ipv4.emit_from; control: flags << 16 | the window field. The
    checksum's place gets the pseudo-header's sum, for the device.
    """
    w32 = ptr32(w)
    t = ptr16(template)
    h = ptr16(buf)
    q = off >> 1
    i = 0
    while i < 17:
        h[q + i] = t[i]
        i += 1
    p = ptr8(buf)
    length = w32[2 * HEADER] + n
    total = length + 20
    o = off + 14
    p[o + 1] = words >> 16 & 0xFF
    p[o + 2] = total >> 8 & 0xFF
    p[o + 3] = total & 0xFF
    p[o + 4] = words >> 48 & 0xFF
    p[o + 5] = words >> 40 & 0xFF
    p[o + 6] = words >> 32 & 0xFF
    p[o + 7] = words >> 24 & 0xFF
    p[o + 8] = words >> 8 & 0xFF
    p[o + 9] = words & 0xFF
    s = (ptr8(template)[34] << 8 | ptr8(template)[35]) + 0x4500 + total
    s += (words >> 16 & 0xFF) + (words >> 40 & 0xFFFF) + (words >> 24 & 0xFFFF) + (words & 0xFFFF)
    s = (s & 0xFFFF) + (s >> 16)
    s = ((s & 0xFFFF) + (s >> 16)) ^ 0xFFFF
    p[o + 10] = s >> 8 & 0xFF
    p[o + 11] = s & 0xFF
    o += 20
    x = w32[2 * PORTS]
    p[o] = x >> 24 & 0xFF
    p[o + 1] = x >> 16 & 0xFF
    p[o + 2] = x >> 8 & 0xFF
    p[o + 3] = x & 0xFF
    x = w32[2 * SND_NXT]
    p[o + 4] = x >> 24 & 0xFF
    p[o + 5] = x >> 16 & 0xFF
    p[o + 6] = x >> 8 & 0xFF
    p[o + 7] = x & 0xFF
    x = w32[2 * RCV_NXT]
    p[o + 8] = x >> 24 & 0xFF
    p[o + 9] = x >> 16 & 0xFF
    p[o + 10] = x >> 8 & 0xFF
    p[o + 11] = x & 0xFF
    p[o + 12] = w32[2 * HEADER] << 2 & 0xFF
    p[o + 13] = control >> 16 & 0xFF
    p[o + 14] = control >> 8 & 0xFF
    p[o + 15] = control & 0xFF
    s = w32[2 * PSEUDO] + length
    s = (s & 0xFFFF) + (s >> 16)
    p[o + 16] = s >> 8 & 0xFF
    p[o + 17] = s & 0xFF
    p[o + 18] = 0
    p[o + 19] = 0
    if w32[2 * TS_ON]:
        o += 20
        p[o] = 1
        p[o + 1] = 1
        p[o + 2] = 8
        p[o + 3] = 10
        x = now // 1000 + w32[2 * TS_OFF]
        p[o + 4] = x >> 24 & 0xFF
        p[o + 5] = x >> 16 & 0xFF
        p[o + 6] = x >> 8 & 0xFF
        p[o + 7] = x & 0xFF
        x = w32[2 * TS_RECENT]
        p[o + 8] = x >> 24 & 0xFF
        p[o + 9] = x >> 16 & 0xFF
        p[o + 10] = x >> 8 & 0xFF
        p[o + 11] = x & 0xFF


@micropython.viper
def sent(w, n: int, probe: int, now: int) -> int:
    """The segment of `headers` has left: what was owed is told, n octets more are out.

    probe: 1 if a tail may be probed for (RFC 8985). The earliest deadline set just now, or 0.
    """
    p = ptr32(w)
    p[2 * ACK_NOW] = 0
    p[2 * DELACK_AT] = 0
    p[2 * DELACK_AT + 1] = _NEVER_HIGH
    p[2 * ACKED_TO] = p[2 * RCV_NXT]
    if n == 0:
        return 0
    low = now & _M
    high = now >> 32
    p[2 * SENT_AT] = low
    p[2 * SENT_AT + 1] = high
    seq = p[2 * SND_NXT]
    if seq == p[2 * SND_UNA]:
        # From here on the peer may be slow.
        p[2 * PROGRESS_AT] = low
        p[2 * PROGRESS_AT + 1] = high
    end = seq + n & _M
    p[2 * SND_NXT] = end
    p[2 * SND_MAX] = end
    if p[2 * TIMING] == 0:
        p[2 * TIMING] = 1
        p[2 * RTT_SEQ] = end
        p[2 * RTT_AT] = low
        p[2 * RTT_AT + 1] = high
    first = 0
    if probe and p[2 * TLP_AT + 1] == _NEVER_HIGH and p[2 * DUPACKS] == 0:
        first = now + (p[2 * PTO_US + 1] << 32 | p[2 * PTO_US])
        p[2 * TLP_AT] = first & _M
        p[2 * TLP_AT + 1] = first >> 32
    if p[2 * REXMIT_AT + 1] == _NEVER_HIGH:
        # RFC 6298 (5.1): "if the timer is not running, start it".
        wait = p[2 * RTO_US] << p[2 * BACKOFF]
        if wait > MAX_RTO_US:
            wait = MAX_RTO_US
        at = now + wait
        p[2 * REXMIT_AT] = at & _M
        p[2 * REXMIT_AT + 1] = at >> 32
        if first == 0 or at < first:
            first = at
    return first
