"""Record types and the layout of their RDATA, one row each. RFC 1035, 3597 and those named.

    expand(type, reader)     RDATA of a message -> uncompressed bytes; ProtocolError
    canonical(type, rdata)   the form that is signed: names in lower case (RFC 4034, 6.2)
    decode(type, rdata)      values for programs
    text(type, rdata)        presentation, as in a zone file
    names(type, rdata)       where compression may begin: only in RFC 1035's own types

A layout is a word of letters: 1 2 4 an integer of so many bytes; n a name; N a name whose
case is signed as it stands (RFC 6840, 5.1); s a string with a length byte; S one or more;
* the rest; a b an address of 4, of 16 bytes. A type without a row is kept as bytes.
"""

import binascii

from micropython import const

from stack.core.cursor import Reader
from stack.core.errors import ProtocolError
from stack.dns import name as _name

A = const(1)
NS = const(2)
CNAME = const(5)
SOA = const(6)
PTR = const(12)
HINFO = const(13)
MX = const(15)
TXT = const(16)
RP = const(17)
AFSDB = const(18)
AAAA = const(28)
SRV = const(33)
NAPTR = const(35)
DNAME = const(39)
OPT = const(41)
DS = const(43)
SSHFP = const(44)
RRSIG = const(46)
NSEC = const(47)
DNSKEY = const(48)
NSEC3 = const(50)
NSEC3PARAM = const(51)
TLSA = const(52)
CDS = const(59)
CDNSKEY = const(60)
SVCB = const(64)
HTTPS = const(65)
ANY = const(255)
CAA = const(257)

TYPES = {
    "A": A, "NS": NS, "CNAME": CNAME, "SOA": SOA, "PTR": PTR, "HINFO": HINFO, "MX": MX,
    "TXT": TXT, "RP": RP, "AFSDB": AFSDB, "AAAA": AAAA, "SRV": SRV, "NAPTR": NAPTR,
    "DNAME": DNAME, "OPT": OPT, "DS": DS, "SSHFP": SSHFP, "RRSIG": RRSIG, "NSEC": NSEC,
    "DNSKEY": DNSKEY, "NSEC3": NSEC3, "NSEC3PARAM": NSEC3PARAM, "TLSA": TLSA, "CDS": CDS,
    "CDNSKEY": CDNSKEY, "SVCB": SVCB, "HTTPS": HTTPS, "ANY": ANY, "CAA": CAA,
}  # fmt: skip

_LAYOUT = {
    A: "a",
    NS: "n",
    CNAME: "n",
    SOA: "nn44444",
    PTR: "n",
    HINFO: "ss",
    MX: "2n",
    TXT: "S",
    RP: "nn",
    AFSDB: "2n",
    AAAA: "b",
    SRV: "222n",  # RFC 2782
    NAPTR: "22sssn",  # RFC 3403
    DNAME: "n",  # RFC 6672
    DS: "211*",  # RFC 4034
    SSHFP: "11*",  # RFC 4255
    RRSIG: "2114442n*",
    NSEC: "N*",
    DNSKEY: "211*",
    NSEC3: "112ss*",  # RFC 5155
    NSEC3PARAM: "112s",
    TLSA: "111*",  # RFC 6698
    CDS: "211*",  # RFC 7344
    CDNSKEY: "211*",
    SVCB: "2N*",  # RFC 9460
    HTTPS: "2N*",
    CAA: "1s*",  # RFC 8659
}
# RFC 3597, section 4: only these have names that a message may compress.
_COMPRESSED = (NS, CNAME, SOA, PTR, MX)

_SVC_KEYS = ("mandatory", "alpn", "no-default-alpn", "port", "ipv4hint", "ech", "ipv6hint")


def type_name(type):
    for word, number in TYPES.items():
        if number == type:
            return word
    return "TYPE%d" % type


def type_number(type):
    """A type from its name ("MX", "TYPE65") or number. ValueError for another."""
    if isinstance(type, int):
        if 0 < type < 65536:
            return type
    else:
        type = type.upper()
        if type in TYPES:
            return TYPES[type]
        if type.startswith("TYPE") and type[4:].isdigit():
            return type_number(int(type[4:]))
    raise ValueError("no such record type: %s" % (type,))


def expand(type, r):
    """Read all of reader r, the RDATA of a record of `type`: bytes without compression."""
    layout = _LAYOUT.get(type)
    if layout is None:
        return r.pull_bytes(r.left())
    if "n" not in layout and "N" not in layout:
        start = r.pos
        _skip(layout, r)
        return bytes(r.buf[start : r.pos])
    out = bytearray()
    for code in layout:
        if code in "nN":
            out.extend(_name.pull_wire(r))
        else:
            start = r.pos
            _skip(code, r)
            out.extend(r.buf[start : r.pos])
    _end(r)
    return bytes(out)


def _skip(layout, r):
    """Move over the fields of a layout without names."""
    for code in layout:
        if code in "124":
            r.skip(int(code))
        elif code == "s":
            r.skip(r.pull_u8())
        elif code == "S":
            r.skip(r.pull_u8())
            while r.left():
                r.skip(r.pull_u8())
        elif code == "*":
            r.skip(r.left())
        else:
            r.skip(4 if code == "a" else 16)
    if len(layout) > 1 or layout in "abS":
        _end(r)


def _end(r):
    if r.left():
        raise ProtocolError("dns", "RDATA longer than its record")


def canonical(type, rdata):
    """RFC 4034, section 6.2: the RDATA with the names in it in lower case."""
    layout = _LAYOUT.get(type)
    if layout is None or "n" not in layout:
        return rdata
    if layout == "n":
        return rdata.lower()
    out = bytearray()
    for code, start, end in _fields(layout, rdata):
        out.extend(rdata[start:end].lower() if code == "n" else rdata[start:end])
    return bytes(out)


def names(type, rdata):
    """[(start, end)] of the names in this RDATA that a message may compress."""
    if type not in _COMPRESSED:
        return ()
    return [(s, e) for code, s, e in _fields(_LAYOUT[type], rdata) if code == "n"]


def _fields(layout, rdata):
    """(code, start, end) of each field. The RDATA has been through `expand`."""
    out = []
    pos = 0
    size = len(rdata)
    for code in layout:
        start = pos
        if code in "124":
            pos += int(code)
        elif code in "nN":
            while rdata[pos]:
                pos += rdata[pos] + 1
            pos += 1
        elif code == "s":
            pos += rdata[pos] + 1
        elif code in "ab":
            pos += 4 if code == "a" else 16
        elif code == "S":
            while pos < size:
                start = pos
                pos += rdata[pos] + 1
                if pos < size:
                    out.append(("s", start, pos))
            code = "s"
        else:
            pos = size
        out.append((code, start, pos))
    return out


# For programs and people.


def values(type, rdata):
    """The fields as a list: ints, names as text, strings and the rest as bytes, addresses text."""
    out = []
    for code, start, end in _fields(_LAYOUT.get(type, "*"), rdata):
        if code in "124":
            out.append(int.from_bytes(rdata[start:end], "big"))
        elif code in "nN":
            out.append(_name.to_text(rdata[start:end]))
        elif code == "s":
            out.append(rdata[start + 1 : end])
        elif code == "a":
            out.append("%d.%d.%d.%d" % tuple(rdata))
        elif code == "b":
            out.append(ip6_text(rdata))
        else:
            out.append(rdata[start:end])
    return out


def decode(type, rdata):
    """One value where there is one field (a TXT is a tuple in any case), else a tuple of them.

    A type without a layout: bytes.
    """
    out = values(type, rdata)
    return out[0] if len(out) == 1 and type != TXT else tuple(out)


def text(type, rdata):
    """Presentation, as in a zone file; an unknown type, or nonsense in a known one, as \\#
    (RFC 3597, section 5).
    """
    if type not in _LAYOUT:
        return _raw_text(rdata)
    v = values(type, rdata)
    special = _TEXT.get(type)
    if special is not None:
        try:
            return special(v)
        except (ProtocolError, ValueError):
            return _raw_text(rdata)
    return " ".join([_word(x) for x in v])


def _raw_text(rdata):
    return "\\# %d %s" % (len(rdata), _hex(rdata))


def _word(x):
    return _quoted(x) if isinstance(x, bytes) else str(x) or "."


def _quoted(data):
    out = '"'
    for ch in data:
        if ch == 34 or ch == 92:
            out += "\\" + chr(ch)
        elif 32 <= ch <= 126:
            out += chr(ch)
        else:
            out += "\\%03d" % ch
    return out + '"'


def _hex(data):
    return str(binascii.hexlify(data), "ascii")


def _base64(data):
    return str(binascii.b2a_base64(data), "ascii").strip()


def base32hex(data):
    """RFC 4648, section 7, lower case, without padding: how NSEC3 writes hashes."""
    digits = "0123456789abcdefghijklmnopqrstuv"
    n = int.from_bytes(data, "big")
    bits = 8 * len(data)
    pad = -bits % 5
    n <<= pad
    return "".join([digits[n >> i & 31] for i in range(bits + pad - 5, -1, -5)])


def bitmap(data):
    """The types in an NSEC's bitmap, a list. ProtocolError. RFC 4034, section 4.1.2."""
    out = []
    r = Reader(data, 0, len(data), "dns")
    last = -1
    while r.left():
        window = r.pull_u8()
        n = r.pull_u8()
        if window <= last or not 0 < n <= 32:
            raise ProtocolError("dns", "bad type bitmap")
        last = window
        i = window << 8
        for byte in r.pull_bytes(n):
            for bit in range(8):
                if byte & 0x80 >> bit:
                    out.append(i + bit)
            i += 8
    return out


def in_bitmap(data, type):
    """True if `type` is in a bitmap; nonsense holds nothing."""
    pos = 0
    size = len(data)
    while pos + 2 <= size:
        n = data[pos + 1]
        if data[pos] == type >> 8:
            i = pos + 2 + ((type & 0xFF) >> 3)
            return i < min(pos + 2 + n, size) and data[i] & 0x80 >> (type & 7) != 0
        pos += 2 + n
    return False


def _types_text(data):
    return " ".join([type_name(t) for t in bitmap(data)])


def _svcb_text(v):
    """RFC 9460, section 2.1: keys by name, values by key where the form is plain."""
    words = [str(v[0]), v[1] or "."]
    r = Reader(v[2], 0, len(v[2]), "dns")
    while r.left():
        key = r.pull_u16()
        value = r.pull_bytes(r.pull_u16())
        word = _SVC_KEYS[key] if key < len(_SVC_KEYS) else "key%d" % key
        if value:
            word += "=" + _svc_value(key, value)
        words.append(word)
    return " ".join(words)


def _svc_value(key, value):
    size = len(value)
    if key == 1:
        r = Reader(value, 0, size, "dns")
        out = []
        while r.left():
            out.append(str(r.pull_bytes(r.pull_u8()), "ascii"))
        return ",".join(out)
    if key == 3 and size == 2:
        return str(value[0] << 8 | value[1])
    if key == 4 and size % 4 == 0:
        return ",".join(["%d.%d.%d.%d" % tuple(value[i : i + 4]) for i in range(0, size, 4)])
    if key == 6 and size % 16 == 0:
        return ",".join([ip6_text(value[i : i + 16]) for i in range(0, size, 16)])
    return _base64(value) if key == 5 else _quoted(value)


_TEXT = {
    DS: lambda v: "%d %d %d %s" % (v[0], v[1], v[2], _hex(v[3])),
    CDS: lambda v: "%d %d %d %s" % (v[0], v[1], v[2], _hex(v[3])),
    SSHFP: lambda v: "%d %d %s" % (v[0], v[1], _hex(v[2])),
    TLSA: lambda v: "%d %d %d %s" % (v[0], v[1], v[2], _hex(v[3])),
    DNSKEY: lambda v: "%d %d %d %s" % (v[0], v[1], v[2], _base64(v[3])),
    CDNSKEY: lambda v: "%d %d %d %s" % (v[0], v[1], v[2], _base64(v[3])),
    RRSIG: lambda v: "%s %d %d %d %d %d %d %s %s" % (
        type_name(v[0]), v[1], v[2], v[3], v[4], v[5], v[6], v[7] or ".", _base64(v[8])),
    NSEC: lambda v: "%s %s" % (v[0] or ".", _types_text(v[1])),
    NSEC3: lambda v: "%d %d %d %s %s %s" % (
        v[0], v[1], v[2], _hex(v[3]) or "-", base32hex(v[4]), _types_text(v[5])),
    NSEC3PARAM: lambda v: "%d %d %d %s" % (v[0], v[1], v[2], _hex(v[3]) or "-"),
    SVCB: _svcb_text,
    HTTPS: _svcb_text,
    CAA: lambda v: "%d %s %s" % (v[0], str(v[1], "ascii"), _quoted(v[2])),
}  # fmt: skip


def ip6_text(b):
    """16 bytes as text: lower case, the first longest run of zero groups as :: (RFC 5952)."""
    groups = [b[i] << 8 | b[i + 1] for i in range(0, 16, 2)]
    best = start = -1
    best_n = 1  # "::" is not used for one group
    for i in range(9):
        if i < 8 and groups[i] == 0:
            if start < 0:
                start = i
        elif start >= 0:
            if i - start > best_n:
                best = start
                best_n = i - start
            start = -1
    words = ["%x" % g for g in groups]
    if best < 0:
        return ":".join(words)
    return ":".join(words[:best]) + "::" + ":".join(words[best + best_n :])
