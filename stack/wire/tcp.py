"""The TCP header: RFC 9293 section 3.1; options of RFC 9293 3.2, 7323, 2018, 7413, 5482.

     0                   1                   2                   3
    |          Source Port          |       Destination Port        |
    |                        Sequence Number                        |
    |                    Acknowledgment Number                      |
    | DOffset| Rsrvd |C E U A P R S F|            Window             |
    |           Checksum            |         Urgent Pointer        |
    |                           Options                             |

Not implemented: the options of RFC 5925 (authentication) are skipped like unknown ones.
"""

import micropython
from micropython import const

HEADER_LEN = const(20)
CSUM_OFFSET = const(16)

FIN = const(1)
SYN = const(2)
RST = const(4)
PSH = const(8)
ACK = const(16)
URG = const(32)
ECE = const(64)
CWR = const(128)

# Which options a header carries: bits of Header.options.
HAS_MSS = const(1)
HAS_WSCALE = const(2)
HAS_SACK_OK = const(4)
HAS_SACK = const(8)
HAS_TS = const(16)
HAS_COOKIE = const(32)  # Fast Open
HAS_UTO = const(64)  # user timeout

# The fixed bytes, and the form in which everybody sends timestamps: NOP, NOP, option.
STAMPED_LEN = const(32)

# RFC 9293: "If an MSS Option is not received at connection setup, TCP
# implementations MUST assume a default send MSS of 536 (576 - 40) for IPv4 or 1220 (1280 - 60)
# for IPv6" (MUST-15).
DEFAULT_MSS = const(536)
DEFAULT_MSS6 = const(1220)
# RFC 7323, 2.3: "If a Window Scale option is received with a shift.cnt value
# larger than 14, the TCP SHOULD log the error but MUST use 14".
MAX_WSCALE = const(14)


class Header:
    """A parsed header. One object is reused: what it says is valid until the next parse."""

    __slots__ = (
        "src_port", "dst_port", "seq", "ack", "data_off", "flags", "window", "urgent",
        "options", "mss", "wscale", "ts_val", "ts_ecr", "sack_off", "sack_len",
        "cookie_off", "cookie_len", "uto", "buf",
    )

    def __init__(self):
        self.src_port = self.dst_port = 0
        self.seq = self.ack = 0
        self.data_off = self.flags = self.window = self.urgent = 0
        self.options = 0
        self.mss = self.wscale = self.ts_val = self.ts_ecr = 0
        self.sack_off = self.sack_len = 0  # the blocks lie in the frame `buf`: offset, bytes
        self.cookie_off = self.cookie_len = self.uto = 0
        self.buf = None

    def parse(self, f):
        """Read the header at f.off and trim f to the payload. False means drop.

        `options` tells which option fields were read. A malformed option ends
        the reading of options; the segment stays good.
        """
        o = f.off
        n = f.end - o
        if n < HEADER_LEN:
            return False
        hl = _fixed(self, f.buf, o)
        # "Data Offset": the header ends inside the segment and is never below five words.
        if hl < HEADER_LEN or hl > n:
            return False
        if hl > HEADER_LEN:
            self.buf = f.buf
            _options(self, f.buf, o + HEADER_LEN, o + hl)
        f.off = o + hl
        return True


@micropython.viper
def _fixed(h, buf, o: int) -> int:
    """Read the twenty fixed bytes; the header's length in bytes comes back."""
    p = ptr8(buf)
    v = p[o] << 8 | p[o + 1]
    h.src_port = v
    v = p[o + 2] << 8 | p[o + 3]
    h.dst_port = v
    v = p[o + 4] << 24 | p[o + 5] << 16 | p[o + 6] << 8 | p[o + 7]
    h.seq = v
    v = p[o + 8] << 24 | p[o + 9] << 16 | p[o + 10] << 8 | p[o + 11]
    h.ack = v
    hl = p[o + 12] >> 4 << 2
    h.data_off = hl
    v = int(p[o + 13])
    h.flags = v
    v = p[o + 14] << 8 | p[o + 15]
    h.window = v
    v = p[o + 18] << 8 | p[o + 19]
    h.urgent = v
    v = 0
    h.options = v
    return hl


@micropython.viper
def _options(h, buf, start: int, end: int):
    """Read options in buf[start:end], at most 40 bytes, so at most 40 turns."""
    p = ptr8(buf)
    i = start
    found = 0
    if end - start == 12 and p[i] == 1 and p[i + 1] == 1 and p[i + 2] == 8 and p[i + 3] == 10:
        v = p[i + 4] << 24 | p[i + 5] << 16 | p[i + 6] << 8 | p[i + 7]
        h.ts_val = v
        v = p[i + 8] << 24 | p[i + 9] << 16 | p[i + 10] << 8 | p[i + 11]
        h.ts_ecr = v
        found = 16
        i = end
    while i < end:
        kind = int(p[i])
        if kind == 0:  # end of options
            break
        if kind == 1:  # no-operation
            i += 1
            continue
        if i + 2 > end:
            break
        n = int(p[i + 1])
        # RFC 9293: "TCP implementations MUST be prepared to handle an illegal
        # option length (e.g., zero)" (MUST-7): the rest cannot be trusted.
        if n < 2 or i + n > end:
            break
        if kind == 2:
            if n == 4:
                v = p[i + 2] << 8 | p[i + 3]
                h.mss = v
                found |= 1
        elif kind == 3:
            if n == 3:
                v = int(p[i + 2])
                if v > 14:
                    v = 14
                h.wscale = v
                found |= 2
        elif kind == 4:
            if n == 2:
                found |= 4
        elif kind == 5:
            if n >= 10 and n <= 34 and (n & 7) == 2:
                v = i + 2
                h.sack_off = v
                v = n - 2
                h.sack_len = v
                found |= 8
        elif kind == 8:
            if n == 10:
                v = p[i + 2] << 24 | p[i + 3] << 16 | p[i + 4] << 8 | p[i + 5]
                h.ts_val = v
                v = p[i + 6] << 24 | p[i + 7] << 16 | p[i + 8] << 8 | p[i + 9]
                h.ts_ecr = v
                found |= 16
        elif kind == 34:
            v = i + 2
            h.cookie_off = v
            v = n - 2
            h.cookie_len = v
            found |= 32
        elif kind == 28:
            if n == 4:
                v = p[i + 2] << 8 | p[i + 3]
                h.uto = v
                found |= 64
        i += n
    h.options = found


@micropython.viper
def build(buf, o: int, ports: int, seq: int, ack: int, control: int, csum: int):
    """Write the twenty fixed bytes at buf[o:].

    ports: source << 16 | destination. control: the header's third word, see
    `control`. csum: what the checksum field shall hold.
    """
    p = ptr8(buf)
    p[o] = ports >> 24 & 0xFF
    p[o + 1] = ports >> 16 & 0xFF
    p[o + 2] = ports >> 8 & 0xFF
    p[o + 3] = ports & 0xFF
    p[o + 4] = seq >> 24 & 0xFF
    p[o + 5] = seq >> 16 & 0xFF
    p[o + 6] = seq >> 8 & 0xFF
    p[o + 7] = seq & 0xFF
    p[o + 8] = ack >> 24 & 0xFF
    p[o + 9] = ack >> 16 & 0xFF
    p[o + 10] = ack >> 8 & 0xFF
    p[o + 11] = ack & 0xFF
    p[o + 12] = control >> 24 & 0xFF
    p[o + 13] = control >> 16 & 0xFF
    p[o + 14] = control >> 8 & 0xFF
    p[o + 15] = control & 0xFF
    p[o + 16] = csum >> 8 & 0xFF
    p[o + 17] = csum & 0xFF
    p[o + 18] = 0
    p[o + 19] = 0


@micropython.viper
def stamp(buf, o: int, val: int, ecr: int):
    """Write the twelve bytes NOP, NOP, Timestamps at buf[o:] (RFC 7323, appendix A)."""
    p = ptr8(buf)
    p[o] = 1
    p[o + 1] = 1
    p[o + 2] = 8
    p[o + 3] = 10
    p[o + 4] = val >> 24 & 0xFF
    p[o + 5] = val >> 16 & 0xFF
    p[o + 6] = val >> 8 & 0xFF
    p[o + 7] = val & 0xFF
    p[o + 8] = ecr >> 24 & 0xFF
    p[o + 9] = ecr >> 16 & 0xFF
    p[o + 10] = ecr >> 8 & 0xFF
    p[o + 11] = ecr & 0xFF


def control(header_len, flags, window):
    """The word that `build` takes: data offset, flags and window."""
    return header_len << 26 | flags << 16 | window
