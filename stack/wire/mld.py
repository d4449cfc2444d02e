"""Multicast listener discovery, version 2 with what is needed of version 1.

RFC 3810, section 5; RFC 2710. Behind the 4 bytes of type, code and checksum:

    query (130): 4 maximum response code (2), 6 zero (2), 8 group (16),
        24 S flag, QRV (3 bits), 25 QQIC, 26 sources (2), 28 sources...   (version 1 ends at 24)
    report (143): 4 zero (2), 6 records (2), then a record: 0 type, 1 auxiliary length,
        2 sources (2), 4 group (16), sources...
    version 1: report (131) and done (132) as a query of 24 bytes

Not implemented: lists of sources in reports (a group is wanted from all, or not at all).
"""

from micropython import const

from stack.core import be

MODE_IS_EXCLUDE = const(2)
TO_INCLUDE = const(3)
TO_EXCLUDE = const(4)

QUERY_LEN = const(28)
V1_LEN = const(24)


def max_delay_ms(code):
    """Section 5.1.3: a number, or beyond 32767 a float of 3 and 12 bits."""
    if code < 0x8000:
        return code
    return (code & 0x0FFF | 0x1000) << ((code >> 12 & 7) + 3)


def put_report(b, o, records):
    """Write a report without its checksum; records: [(type, 16 bytes)]. Its length."""
    be.put32(b, o, 143 << 24)
    be.put16(b, o + 4, 0)
    be.put16(b, o + 6, len(records))
    i = o + 8
    for kind, group in records:
        b[i] = kind
        b[i + 1] = 0
        be.put16(b, i + 2, 0)
        b[i + 4 : i + 20] = group
        i += 20
    return i - o


def put_v1(b, o, kind, group):
    """Write a version 1 report (131) or done (132) without its checksum. Its length."""
    be.put32(b, o, kind << 24)
    be.put32(b, o + 4, 0)
    b[o + 8 : o + 24] = group
    return V1_LEN
