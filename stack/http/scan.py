"""Which bytes may stand where: tables, and a loop over them in machine code (RFC 9110, 5)."""

import micropython


@micropython.viper
def _scan(buf, off: int, end: int, table) -> int:
    """The first index from off on whose byte has 0 in the table, or end."""
    p = ptr8(buf)
    t = ptr8(table)
    while off < end:
        if not t[p[off]]:
            return off
        off += 1
    return end


def _table(ranges, more=b""):
    t = bytearray(256)
    for first, last in ranges:
        for ch in range(first, last + 1):
            t[ch] = 1
    for ch in more:
        t[ch] = 1
    return bytes(t)


_ALNUM = ((48, 57), (65, 90), (97, 122))
TOKEN = _table(_ALNUM, b"!#$%&'*+-.^_`|~")  # section 5.6.2
VALUE = _table(((32, 126), (128, 255)), b"\t")  # section 5.5: no controls but HTAB
VISIBLE = _table(((33, 126),))  # a request target
HOST = _table(_ALNUM, b"-._~")  # reg-name of RFC 3986, section 3.2.2, less escapes
DIGIT = _table(((48, 57),))
# Section 8.2.1 of RFC 9113: names in lower case.
LOWER = _table(((48, 57), (97, 122)), b"!#$%&'*+-.^_`|~")
AUTHORITY = _table(_ALNUM, b"-._~!$&'()*+,;=:[]%")  # host and port; no user before an "@"
HEX = _table(((48, 57), (65, 70), (97, 102)))


def only(data, table):
    """True if every byte of data (bytes or str) is in the table."""
    if isinstance(data, str):
        data = data.encode()
    n = len(data)
    return _scan(data, 0, n, table) == n


def prefix(data, table):
    """How many bytes at the front of data are in the table."""
    return _scan(data, 0, len(data), table)
