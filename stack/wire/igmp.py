"""IGMP, version 3 with what is needed of version 2.

RFC 3376, section 4; RFC 2236. Layout:

    query (0x11): 0 type  1 maximum response code  2 checksum (2)  4 group (4)
        8 S flag, QRV  9 QQIC  10 sources (2)  12 sources...       (versions 1 and 2 end at 8)
    report (0x22): 0 type  1 zero  2 checksum (2)  4 zero (2)  6 records (2), then a record:
        0 type  1 auxiliary length  2 sources (2)  4 group (4)  sources...
    version 2: report (0x16) and leave (0x17) as a query of 8 bytes

Goes out with TTL 1 behind an IPv4 header with the router alert option (RFC 2113).

Not implemented: version 1, lists of sources in reports.
"""

from micropython import const

from stack.core import be, checksum

PROTO = const(2)

QUERY = const(0x11)
REPORT2 = const(0x16)
LEAVE2 = const(0x17)
REPORT3 = const(0x22)

MODE_IS_EXCLUDE = const(2)
TO_INCLUDE = const(3)
TO_EXCLUDE = const(4)

MIN_LEN = const(8)
QUERY3_LEN = const(12)

ROUTER_ALERT = b"\x94\x04\x00\x00"


def max_delay_tenths(code):
    """Section 4.1.1: tenths of a second, from 128 on a float of 3 and 4 bits."""
    if code < 128:
        return code
    return (code & 0x0F | 0x10) << ((code >> 4 & 7) + 3)


def put_report(b, o, records):
    """Write a report of version 3; records: [(type, group as an int)]. Its length."""
    be.put32(b, o, REPORT3 << 24)
    be.put16(b, o + 4, 0)
    be.put16(b, o + 6, len(records))
    i = o + 8
    for kind, group in records:
        be.put32(b, i, kind << 24)
        be.put32(b, i + 4, group)
        i += 8
    be.put16(b, o + 2, checksum.checksum(b, o, i - o))
    return i - o


def put_v2(b, o, kind, group):
    """Write a report or leave of version 2. Its length."""
    be.put32(b, o, kind << 24)
    be.put32(b, o + 4, group)
    be.put16(b, o + 2, checksum.checksum(b, o, MIN_LEN))
    return MIN_LEN
