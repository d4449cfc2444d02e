"""UDP headers.

RFC 768. Layout (8 bytes):

    0  source port (2)       2  destination port (2)
    4  length (2)            6  checksum (2), 0: none

Not implemented: UDP-Lite, jumbograms.
"""

import micropython
from micropython import const

HEADER_LEN = const(8)
MAX_PAYLOAD = const(65507)  # 65535 less the IPv4 and UDP headers


class Udp:
    """The header parsed last: `src_port`, `dst_port`, `checksum`."""

    __slots__ = ("src_port", "dst_port", "checksum", "why")

    def __init__(self):
        self.src_port = self.dst_port = self.checksum = 0
        self.why = ""

    @micropython.viper
    def parse(self, f) -> bool:
        """Read the header at f.off, trim f to the payload. False: drop, `why` names the counter.

        The checksum is not looked at: it covers the payload and the 8 bytes before it.
        """
        o = int(f.off)
        room = int(f.end) - o
        if room < 8:
            self.why = "udp.truncated"
            return False
        p = ptr8(f.buf)
        n = p[o + 4] << 8 | p[o + 5]
        # "Length": header plus data, so never below 8 nor beyond the IP payload.
        if n < 8 or n > room:
            self.why = "udp.length"
            return False
        self.src_port = p[o] << 8 | p[o + 1]
        self.dst_port = p[o + 2] << 8 | p[o + 3]
        self.checksum = p[o + 6] << 8 | p[o + 7]
        f.off = o + 8
        f.end = o + n
        return True


@micropython.viper
def build(buf, off: int, src_port: int, dst_port: int, length: int, csum: int):
    """Write a header for `length` bytes of payload at buf[off:]."""
    p = ptr8(buf)
    length += 8
    p[off] = src_port >> 8
    p[off + 1] = src_port & 0xFF
    p[off + 2] = dst_port >> 8
    p[off + 3] = dst_port & 0xFF
    p[off + 4] = length >> 8
    p[off + 5] = length & 0xFF
    p[off + 6] = csum >> 8
    p[off + 7] = csum & 0xFF


def emit(frame, src_port, dst_port, csum=0):
    """Put a header in front of the payload that the frame holds."""
    n = frame.end - frame.off + frame.data_len
    build(frame.buf, frame.prepend(HEADER_LEN), src_port, dst_port, n, csum)
