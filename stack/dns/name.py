"""Domain names: text, and the wire form that everything inside works with. RFC 1035, 4034.

A name inside is its uncompressed wire form, bytes: b"\\x07example\\x04test\\x00". Where names
are compared it is in lower case, which `wire.lower()` gives: a length byte is below 64, so no
letter looks like one. Text has no final dot; a byte that is not plain is written \\DDD, and what
means something in a zone file has a \\ before it, such as a dot inside a label (RFC 1035, 5.1).

Not implemented: IDNA (names come in their xn-- form).
"""

import micropython
from micropython import const

from stack.core.errors import ProtocolError

LABEL_MAX = const(63)
NAME_MAX = const(255)  # on the wire, length bytes and the root among them

ROOT = b"\x00"
WILDCARD = b"\x01*"


# Text.


def to_wire(name):
    """The uncompressed wire form of a name. ValueError if it is none."""
    if name.endswith(".") and not name.endswith("\\."):
        name = name[:-1]
    out = bytearray()
    data = name.encode()
    if "\\" not in name and _plain(data, 0, len(data), 0):
        for label in data.split(b".") if data else ():
            _push_label(out, label)
    else:
        _push_escaped(out, name)
    out.append(0)
    if len(out) > NAME_MAX:
        raise ValueError("name longer than 255 bytes")
    return bytes(out)


def to_text(wire):
    """The text of a name in wire form."""
    labels = []
    pos = 0
    while wire[pos]:
        n = wire[pos]
        labels.append(_label_text(wire, pos + 1, n))
        pos += n + 1
    return ".".join(labels)


@micropython.viper
def _plain(buf, pos: int, n: int, dot: int) -> int:
    """1 if n bytes from pos on are visible ASCII, and nothing that a zone file means something
    by: none of \\ " ( ) ; @ $, nor `dot`. RFC 1035, section 5.1.
    """
    p = ptr8(buf)
    end = pos + n
    while pos < end:
        ch = p[pos]
        if ch < 36 or ch > 126 or ch == 92 or ch == dot:
            if ch != 33 and ch != 35:
                return 0
        if ch == 36 or ch == 40 or ch == 41 or ch == 59 or ch == 64:
            return 0
        pos += 1
    return 1


def _push_escaped(out, name):
    """Names with escapes, and those that are none."""
    label = bytearray()
    i = 0
    n = len(name)
    while i < n:
        ch = ord(name[i])
        i += 1
        if ch == 46:
            _push_label(out, label)
            label = bytearray()
            continue
        if ch == 92:  # backslash
            digits = name[i : i + 3]
            if len(digits) == 3 and digits.isdigit() and int(digits) < 256:
                label.append(int(digits))
                i += 3
                continue
            if i == n or name[i].isdigit():
                raise ValueError("bad escape in name %r" % name)
            ch = ord(name[i])
            i += 1
        if ch > 126:
            raise ValueError("name %r is not ASCII: write it in its xn-- form" % name)
        label.append(ch)
    _push_label(out, label)


def _push_label(out, label):
    if not 0 < len(label) <= LABEL_MAX:
        raise ValueError("a label has 1 to 63 bytes")
    out.append(len(label))
    out.extend(label)


def _label_text(buf, pos, n):
    if _plain(buf, pos, n, 46):
        return str(bytes(buf[pos : pos + n]), "ascii")
    out = ""
    for i in range(pos, pos + n):
        ch = buf[i]
        if ch in b'\\."();@$':
            out += "\\" + chr(ch)
        elif 33 <= ch <= 126:
            out += chr(ch)
        else:
            out += "\\%03d" % ch
    return out


# The wire.


def pull_wire(r):
    """Read a name that may be compressed; r (a core Reader) moves to behind it. Wire form."""
    buf = r.buf
    pos = r.pos
    end = r.end
    # A pointer must lie before the place where this run of labels began, and each
    # further one before the last: so the walk goes only back and ends.
    limit = pos
    after = -1
    out = bytearray()
    while True:
        if pos >= end:
            raise ProtocolError("dns", "name ends too early")
        n = buf[pos]
        if n >= 0xC0:
            if pos + 1 >= end:
                raise ProtocolError("dns", "name ends too early")
            target = (n & 0x3F) << 8 | buf[pos + 1]
            if after < 0:
                after = pos + 2
            if target >= limit:
                raise ProtocolError("dns", "compression pointer does not go back")
            pos = limit = target
            continue
        if n > LABEL_MAX:
            raise ProtocolError("dns", "unknown kind of label")
        if len(out) + n + 1 > NAME_MAX:
            raise ProtocolError("dns", "name longer than 255 bytes")
        if pos + 1 + n > end:
            raise ProtocolError("dns", "name ends too early")
        out.extend(buf[pos : pos + 1 + n])
        pos += n + 1
        if n == 0:
            break
    r.pos = pos if after < 0 else after
    return bytes(out)


def pull_text(r):
    """As pull_wire, but text."""
    return to_text(pull_wire(r))


# Relations. All of names in lower case.


def parent(wire):
    """The name without its first label. Not for the root."""
    return wire[1 + wire[0] :]


def count(wire):
    """How many labels, the root not among them."""
    n = pos = 0
    while wire[pos]:
        pos += wire[pos] + 1
        n += 1
    return n


def under(wire, zone):
    """True if the name is `zone` or below it."""
    return wire == zone or below(wire, zone)


def below(wire, zone):
    """True if the name lies below `zone`, and is not it."""
    cut = len(wire) - len(zone)
    if cut <= 0 or wire[cut:] != zone:
        return False
    # The tail is equal; is it so at the border of a label?
    pos = 0
    while pos < cut:
        pos += wire[pos] + 1
    return pos == cut


def tail(wire, n):
    """The last n labels. n: at most count(wire)."""
    for _ in range(count(wire) - n):
        wire = wire[1 + wire[0] :]
    return wire


def order(wire):
    """A key that sorts as RFC 4034, section 6.1: by labels, the last one first."""
    labels = []
    pos = 0
    while wire[pos]:
        labels.append(wire[pos + 1 : pos + 1 + wire[pos]])
        pos += wire[pos] + 1
    labels.reverse()
    return labels


def common(a, b):
    """The longest name that both are or lie below."""
    while not under(b, a):
        a = parent(a)
    return a
