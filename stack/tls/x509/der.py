"""A reader of DER (X.690): by index, nothing is copied until it is asked for.

What BER allows and DER does not is refused: long forms of short lengths,
indefinite lengths, numbers and OIDs with needless bytes, booleans other than
00 and FF, set padding bits, times that are not in the one form of RFC 5280.
Errors are CertificateErrors of kind "malformed".

Not implemented: tag numbers above 30, REAL: no certificate has them.
"""

from micropython import const

from stack.tls import alert
from stack.tls.alert import CertificateError

BOOLEAN = const(0x01)
INTEGER = const(0x02)
BIT_STRING = const(0x03)
OCTET_STRING = const(0x04)
NULL = const(0x05)
OID = const(0x06)
ENUMERATED = const(0x0A)
UTF8_STRING = const(0x0C)
NUMERIC_STRING = const(0x12)
PRINTABLE_STRING = const(0x13)
T61_STRING = const(0x14)
IA5_STRING = const(0x16)
UTC_TIME = const(0x17)
GENERALIZED_TIME = const(0x18)
VISIBLE_STRING = const(0x1A)
UNIVERSAL_STRING = const(0x1C)
BMP_STRING = const(0x1E)
SEQUENCE = const(0x30)
SET = const(0x31)


def context(n, constructed=True):
    """The tag [n]."""
    return (0xA0 if constructed else 0x80) | n


def malformed(why):
    return CertificateError(alert.BAD_CERTIFICATE, "malformed", "not DER: " + why)


class Der:
    """The elements of buf[pos:end] in order."""

    __slots__ = ("buf", "pos", "end")

    def __init__(self, buf, pos=0, end=None):
        self.buf = buf
        self.pos = pos
        self.end = len(buf) if end is None else end

    def left(self):
        return self.end - self.pos

    def done(self, what):
        """Nothing may follow."""
        if self.pos != self.end:
            raise malformed("%d bytes too many in %s" % (self.end - self.pos, what))

    def peek(self):
        """The tag that comes next, or -1 at the end."""
        return self.buf[self.pos] if self.pos < self.end else -1

    def element(self, tag):
        """Step over an element: (index of its header, of its contents, of its end)."""
        b = self.buf
        at = self.pos
        end = self.end
        if at + 2 > end:
            raise malformed("cut short")
        t = b[at]
        if t != tag:
            if t & 0x1F == 0x1F:
                raise malformed("a tag number above 30")
            raise malformed("tag 0x%02x where 0x%02x belongs" % (t, tag))
        n = b[at + 1]
        p = at + 2
        if n >= 0x80:
            # X.690, 10.1: "The definite form of length encoding shall be used, encoded in
            # the minimum number of octets."
            k = n & 0x7F
            if k == 0:
                raise malformed("an indefinite length")
            if k > 3:
                raise malformed("a length of %d bytes" % k)
            if p + k > end:
                raise malformed("cut short")
            n = 0
            for i in range(p, p + k):
                n = n << 8 | b[i]
            p += k
            if n < 0x80 or (k > 1 and n >> 8 * (k - 1) == 0):
                raise malformed("a length that is longer than needed")
        if p + n > end:
            raise malformed("an element longer than what holds it")
        self.pos = p + n
        return at, p, p + n

    def pull(self, tag):
        """A Der of the contents of the next element."""
        _, start, end = self.element(tag)
        return Der(self.buf, start, end)

    def optional(self, tag):
        """`pull`, or None if another element or nothing comes."""
        return self.pull(tag) if self.peek() == tag else None

    def any(self):
        """(tag, index of header, contents, end) of whatever comes."""
        tag = self.peek()
        if tag < 0:
            raise malformed("cut short")
        if tag & 0x1F == 0x1F:
            raise malformed("a tag number above 30")
        at, start, end = self.element(tag)
        return tag, at, start, end

    def pull_bytes(self, tag):
        _, start, end = self.element(tag)
        return bytes(self.buf[start:end])

    def pull_whole(self, tag):
        """The next element with its header, bytes."""
        at, _, end = self.element(tag)
        return bytes(self.buf[at:end])

    def pull_boolean(self):
        _, p, end = self.element(BOOLEAN)
        # 11.1: "If the encoding represents the boolean value TRUE ... all eight bits set".
        if end - p != 1 or self.buf[p] not in (0, 0xFF):
            raise malformed("a boolean that is neither 00 nor FF")
        return self.buf[p] == 0xFF

    def pull_integer(self, tag=INTEGER):
        """A whole number, negative ones too."""
        _, p, end = self.element(tag)
        b = self.buf
        if p == end:
            raise malformed("an empty integer")
        # 8.3.2: the first nine bits are not all ones nor all zeros.
        if end - p > 1 and (b[p] == 0 and b[p + 1] < 0x80 or b[p] == 0xFF and b[p + 1] >= 0x80):
            raise malformed("an integer that is longer than needed")
        v = int.from_bytes(bytes(b[p:end]), "big")
        if b[p] & 0x80:
            v -= 1 << 8 * (end - p)
        return v

    def pull_small(self, most=1 << 30):
        """An integer from 0 to `most`."""
        v = self.pull_integer()
        if not 0 <= v <= most:
            raise malformed("the number %d" % v)
        return v

    def pull_oid(self):
        """The contents of an OBJECT IDENTIFIER, bytes: compared, never shown."""
        _, p, end = self.element(OID)
        check_oid(self.buf, p, end)
        return bytes(self.buf[p:end])

    def pull_null(self):
        _, p, end = self.element(NULL)
        if p != end:
            raise malformed("a NULL with contents")

    def pull_bits(self):
        """(contents, unused bits in the last byte) of a BIT STRING."""
        _, p, end = self.element(BIT_STRING)
        return _bits(self.buf, p, end)

    def pull_octet_bits(self):
        """A BIT STRING of whole bytes."""
        data, unused = self.pull_bits()
        if unused:
            raise malformed("a bit string of %d bits too few" % unused)
        return data

    def pull_named_bits(self):
        """A named bit list as an int, bit 0 (the first) lowest."""
        _, p, end = self.element(BIT_STRING)
        return named_bits(self.buf, p, end)

    def pull_time(self):
        """Seconds since 1970 of a Time. RFC 5280, 4.1.2.5."""
        tag = self.peek()
        if tag == UTC_TIME:
            return _utc_time(self.pull_bytes(tag))
        if tag == GENERALIZED_TIME:
            # A CA has to write the years before 2050 as UTCTime, and a root of Mozilla's
            # does not: DER itself has both, so both are taken.
            return generalized_time(self.pull_bytes(tag))
        raise malformed("a time of tag 0x%02x" % (tag & 0xFF))


def check_oid(b, p, end):
    if p == end:
        raise malformed("an empty OID")
    if b[end - 1] & 0x80:
        raise malformed("an OID cut short")
    first = True
    for i in range(p, end):
        # 8.19.2: "the leading octet of the subidentifier shall not have the value 0x80".
        if first and b[i] == 0x80:
            raise malformed("an OID with needless bytes")
        first = b[i] < 0x80


def _bits(b, p, end):
    if p == end:
        raise malformed("a bit string without its first byte")
    unused = b[p]
    if unused > 7 or (unused and end - p == 1):
        raise malformed("a bit string with %d unused bits" % unused)
    # 11.2.1: "Each unused bit in the final octet ... shall be set to zero."
    if unused and b[end - 1] & (1 << unused) - 1:
        raise malformed("a bit string whose unused bits are set")
    return bytes(b[p + 1 : end]), unused


def named_bits(b, p, end):
    data, unused = _bits(b, p, end)
    if len(data) > 4:
        raise malformed("a bit list of %d bytes" % len(data))
    # 11.2.2: "the bitstring shall have all trailing 0 bits removed before it is encoded".
    if data and not data[-1] >> unused & 1:
        raise malformed("a bit list with trailing zeros")
    bits = 0
    for i in range(8 * len(data)):
        if data[i >> 3] & 0x80 >> (i & 7):
            bits |= 1 << i
    return bits


def _digits(s, p, n):
    v = 0
    for i in range(p, p + n):
        d = s[i] - 48
        if not 0 <= d <= 9:
            raise malformed("a time with other than digits")
        v = 10 * v + d
    return v


def _utc_time(s):
    # "UTCTime values MUST be expressed in Greenwich Mean Time (Zulu) and MUST include seconds".
    if len(s) != 13 or s[12] != 0x5A:
        raise malformed("a UTCTime that is not YYMMDDHHMMSSZ")
    year = _digits(s, 0, 2)
    return _unix(year + (1900 if year >= 50 else 2000), s, 2)


def generalized_time(s):
    """Seconds since 1970 of YYYYMMDDHHMMSSZ."""
    if len(s) != 15 or s[14] != 0x5A:
        raise malformed("a GeneralizedTime that is not YYYYMMDDHHMMSSZ")
    return _unix(_digits(s, 0, 4), s, 4)


_DAYS = (31, 29, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31)


def _unix(year, s, p):
    month, day = _digits(s, p, 2), _digits(s, p + 2, 2)
    hour, minute, second = _digits(s, p + 4, 2), _digits(s, p + 6, 2), _digits(s, p + 8, 2)
    leap = year % 4 == 0 and (year % 100 != 0 or year % 400 == 0)
    if (
        not 1 <= month <= 12
        or not 1 <= day <= _DAYS[month - 1] - (month == 2 and not leap)
        or hour > 23
        or minute > 59
        or second > 59
    ):
        raise malformed("a time that is no time")
    return days(year, month, day) * 86400 + hour * 3600 + minute * 60 + second


def days(year, month, day):
    """Days since 1970-01-01 in the Gregorian calendar."""
    # Years that begin in March, so that the leap day is a year's last.
    if month <= 2:
        year -= 1
        month += 12
    return (
        365 * year + year // 4 - year // 100 + year // 400 + (153 * (month - 3) + 2) // 5
        + day - 719469
    )  # fmt: skip


def date_text(t):
    """"2026-11-22 14:03" of seconds since 1970."""
    day = t // 86400
    year = 1970 + day // 366
    while days(year + 1, 1, 1) <= day:
        year += 1
    while days(year, 1, 1) > day:
        year -= 1
    month = 12
    while days(year, month, 1) > day:
        month -= 1
    rest = t % 86400
    return "%04d-%02d-%02d %02d:%02d" % (
        year, month, day - days(year, month, 1) + 1, rest // 3600, rest // 60 % 60
    )  # fmt: skip


def oid(text):
    """The contents of the OID "1.2.840...", bytes. For constants."""
    parts = [int(x) for x in text.split(".")]
    out = bytearray()
    for v in [40 * parts[0] + parts[1]] + parts[2:]:
        chunk = [v & 0x7F]
        v >>= 7
        while v:
            chunk.append(v & 0x7F | 0x80)
            v >>= 7
        out.extend(bytes(reversed(chunk)))
    return bytes(out)


def oid_text(data):
    """The dotted text of an OID's contents."""
    out = []
    v = 0
    for b in data:
        v = v << 7 | b & 0x7F
        if b < 0x80:
            if not out:
                first = min(v // 40, 2)
                out = [first, v - 40 * first]
            else:
                out.append(v)
            v = 0
    return ".".join([str(x) for x in out])
