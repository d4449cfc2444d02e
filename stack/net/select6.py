"""Which of our addresses to send from, and which of a peer's addresses to try first.

RFC 6724: the policy table (2.1), source selection (5), destination selection (6).

Not implemented: home addresses (rule 4), a policy table of one's own.
"""

from micropython import const

from stack.net import addr6

# Prefix, its length, precedence, label.
_POLICY = (
    (addr6.LOOPBACK, 128, 50, 0),
    (bytes(10) + b"\xff\xff" + bytes(4), 96, 35, 4),
    (b"\x20\x02" + bytes(14), 16, 30, 2),
    (b"\x20\x01" + bytes(14), 32, 5, 5),
    (b"\xfc" + bytes(15), 7, 3, 13),
    (bytes(16), 96, 1, 3),
    (b"\xfe\xc0" + bytes(14), 10, 1, 11),
    (b"\x3f\xfe" + bytes(14), 16, 1, 12),
    (bytes(16), 0, 40, 1),
)

_PREFERRED = const(1)


def policy(raw, off=0):
    """The row of the table for an address: (prefix, length, precedence, label)."""
    best = _POLICY[8]
    for row in _POLICY:
        if row[1] >= best[1] and addr6.common(raw, off, row[0], 0) >= row[1]:
            best = row
    return best


def source(candidates, dst, iface):
    """The Address6 to send from to the bytes `dst` out of iface, or None. Allocates nothing."""
    best = None
    for a in candidates:
        if a.state >= _PREFERRED and (best is None or _better(a, best, dst, iface)):
            best = a
    return best


def _better(a, b, dst, iface):
    """True if a beats b (section 5, rules 1 to 8)."""
    # 1: the same address.
    if addr6.common(a.raw, 0, dst, 0) == 128:
        return True
    if addr6.common(b.raw, 0, dst, 0) == 128:
        return False
    # 2: appropriate scope.
    sa = addr6.scope(a.raw)
    sb = addr6.scope(b.raw)
    if sa != sb:
        sd = addr6.scope(dst)
        return sb < sd if sa > sb else sa >= sd
    # 3: avoid deprecated addresses.
    if a.state != b.state:
        return a.state == _PREFERRED
    # 5: those of the outgoing interface.
    if (a.iface is iface) != (b.iface is iface):
        return a.iface is iface
    # 6: matching label.
    label = policy(dst)[3]
    la = policy(a.raw)[3] == label
    lb = policy(b.raw)[3] == label
    if la != lb:
        return la
    # 7: temporary addresses.
    if a.temporary != b.temporary:
        return a.temporary
    # 8: longest matching prefix, as far as the prefix of the source goes.
    ca = min(addr6.common(a.raw, 0, dst, 0), a.length)
    cb = min(addr6.common(b.raw, 0, dst, 0), b.length)
    return ca > cb


def mapped(v4):
    """The bytes of ::ffff:a.b.c.d: how the policy table sees an IPv4 address."""
    return bytes(10) + b"\xff\xff" + bytes((v4 >> 24, v4 >> 16 & 255, v4 >> 8 & 255, v4 & 255))


def sort(pairs):
    """Order [(destination, source or None, ...)] of 16 bytes each, the best first (section 6).

    IPv4 takes part in its mapped form. Stable: what is equal stays in order (rule 10).
    """
    out = []
    for p in pairs:
        i = len(out)
        while i and _before(p, out[i - 1]):
            i -= 1
        out.insert(i, p)
    return out


def _scope(raw):
    """RFC 6724, section 3.2: IPv4's link-local and loopback addresses have link scope."""
    if addr6.is_mapped(raw):
        if raw[12] == 127 or (raw[12] == 169 and raw[13] == 254):
            return addr6.SCOPE_LINK
        return addr6.SCOPE_GLOBAL
    return addr6.scope(raw)


def _before(x, y):
    dx, sx = x[0], x[1]
    dy, sy = y[0], y[1]
    # 1: avoid unusable destinations.
    if (sx is None) != (sy is None):
        return sx is not None
    if sx is None:
        return False
    # 2: matching scope.
    mx = _scope(dx) == _scope(sx)
    my = _scope(dy) == _scope(sy)
    if mx != my:
        return mx
    # 5: matching label.
    px = policy(dx)
    py = policy(dy)
    lx = px[3] == policy(sx)[3]
    ly = py[3] == policy(sy)[3]
    if lx != ly:
        return lx
    # 6: higher precedence.
    if px[2] != py[2]:
        return px[2] > py[2]
    # 8: smaller scope.
    if _scope(dx) != _scope(dy):
        return _scope(dx) < _scope(dy)
    # 9: longest matching prefix, within one family.
    if not addr6.is_mapped(dx) and not addr6.is_mapped(dy):
        return addr6.common(dx, 0, sx, 0) > addr6.common(dy, 0, sy, 0)
    return False
