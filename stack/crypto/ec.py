"""Elliptic-curve kernels in plain integers: x25519, P-256, P-384, Ed25519.

    x25519(k, u) -> bytes                   scalar and u-coordinate, 32 bytes each
    ec_base(curve, k), ec_mul(curve, k, x, y), ec_dual(curve, u, v, x, y)
                                            kG, kP, uG + vP -> (x, y), or None at infinity
    ec_invert(curve, a)                     modulo the order
    ed_base(k), ed_dual(u, v, x, y)         kB, uB + vA on edwards25519 -> (x, y)

`curve` is an ecdsa.Curve. Points are affine integers and were checked by the caller.
Not constant-time: Python's integers are not.
"""

from stack.crypto.bytesops import inverse

P25519 = (1 << 255) - 19


def x25519(k, u):
    """RFC 7748, section 5: the ladder. The scalar is clamped here."""
    p = P25519
    k = int.from_bytes(k, "little") & ((1 << 254) - 8) | 1 << 254
    x1 = int.from_bytes(u, "little") & ((1 << 255) - 1)
    x2, z2, x3, z3 = 1, 0, x1, 1
    swap = 0
    for t in range(254, -1, -1):
        bit = k >> t & 1
        if swap ^ bit:
            x2, z2, x3, z3 = x3, z3, x2, z2
        swap = bit
        a = x2 + z2
        aa = a * a % p
        b = x2 - z2
        bb = b * b % p
        e = aa - bb
        da = (x3 - z3) * a % p
        cb = (x3 + z3) * b % p
        x3 = (da + cb) * (da + cb) % p
        z3 = x1 * ((da - cb) * (da - cb) % p) % p
        x2 = aa * bb % p
        z2 = e * (aa + 121665 * e) % p
    if swap:
        x2, z2 = x3, z3
    return (x2 * inverse(z2, p) % p if z2 else 0).to_bytes(32, "little")


# Short Weierstrass, a = -3, Jacobian coordinates (x/z^2, y/z^3); z = 0 is infinity.


def _double(p, x, y, z):
    if not z:
        return x, y, z
    delta = z * z % p
    gamma = y * y % p
    beta = x * gamma % p
    alpha = 3 * (x - delta) * (x + delta) % p
    x3 = (alpha * alpha - 8 * beta) % p
    z3 = ((y + z) * (y + z) - gamma - delta) % p
    return x3, (alpha * (4 * beta - x3) - 8 * gamma * gamma) % p, z3


def _add(p, x1, y1, z1, x2, y2, z2):
    if not z1:
        return x2, y2, z2
    if not z2:
        return x1, y1, z1
    zz1 = z1 * z1 % p
    zz2 = z2 * z2 % p
    u1 = x1 * zz2 % p
    s1 = y1 * z2 * zz2 % p
    h = (x2 * zz1 - u1) % p
    r = (y2 * z1 * zz1 - s1) % p
    if not h:
        return (1, 1, 0) if r else _double(p, x1, y1, z1)
    hh = h * h % p
    hhh = h * hh % p
    v = u1 * hh % p
    x3 = (r * r - hhh - 2 * v) % p
    return x3, (r * (v - x3) - s1 * hhh) % p, z1 * z2 * h % p


def _affine(p, x, y, z):
    if not z:
        return None
    i = inverse(z, p)
    ii = i * i % p
    return x * ii % p, y * ii * i % p


def _multiply(curve, k, x, y):
    """kP in Jacobian coordinates, by windows of four bits from the top."""
    p = curve.p
    table = [(1, 1, 0), (x, y, 1)]
    for i in range(2, 16):
        table.append(_add(p, *table[i - 1], x, y, 1))
    a = table[0]
    for shift in range(curve.size * 8 - 4, -1, -4):
        for _ in range(4):
            a = _double(p, *a)
        a = _add(p, *a, *table[k >> shift & 15])
    return a


def ec_mul(curve, k, x, y):
    return _affine(curve.p, *_multiply(curve, k, x, y))


def ec_invert(curve, a):
    """1 / a modulo the order."""
    return inverse(a, curve.n)


def ec_base(curve, k):
    return ec_mul(curve, k, curve.gx, curve.gy)


def ec_dual(curve, u, v, x, y):
    p = curve.p
    a = _multiply(curve, u, curve.gx, curve.gy)
    return _affine(p, *_add(p, *a, *_multiply(curve, v, x, y)))


# edwards25519 (RFC 8032, 5.1), extended coordinates (x, y, z, t), xy = zt. Complete formulas.

ED_D = 37095705934669439343138083508754565189542113879843219016388785533085940283555
ED_BX = 15112221349535400772501151409588531511454012693041857206046113283949847762202
ED_BY = 46316835694926478169428394003475163141307993866256225615783033603165251855960


def _ed_add(a, b):
    p = P25519
    x1, y1, z1, t1 = a
    x2, y2, z2, t2 = b
    e = (y1 - x1) * (y2 - x2) % p
    f = (y1 + x1) * (y2 + x2) % p
    g = 2 * t1 * t2 * ED_D % p
    h = 2 * z1 * z2 % p
    b, c, d, i = f - e, h - g, h + g, f + e
    return b * c % p, d * i % p, c * d % p, b * i % p


def _ed_multiply(k, x, y):
    point = (x, y, 1, x * y % P25519)
    table = [(0, 1, 1, 0), point]
    for i in range(2, 16):
        table.append(_ed_add(table[i - 1], point))
    a = table[0]
    for shift in range(252, -1, -4):
        for _ in range(4):
            a = _ed_add(a, a)
        a = _ed_add(a, table[k >> shift & 15])
    return a


def _ed_affine(a):
    i = inverse(a[2], P25519)
    return a[0] * i % P25519, a[1] * i % P25519


def ed_base(k):
    return _ed_affine(_ed_multiply(k, ED_BX, ED_BY))


def ed_dual(u, v, x, y):
    return _ed_affine(_ed_add(_ed_multiply(u, ED_BX, ED_BY), _ed_multiply(v, x, y)))
