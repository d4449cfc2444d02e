"""X25519 (RFC 7748) in machine code, and field operations mod 2^255 - 19 for it.

    x25519 (out, scalar, u)             32 bytes each; the scalar is clamped here

A field element is five limbs of 51 bits in 64-bit words, not fully reduced: what
comes out of a multiplication is below 2^52 in each limb, and sums and differences
of two such may go in again. Swaps are by masks, no branch and no address depends
on the scalar.
"""

from stack.crypto.asm.inverse import table
from stack.crypto.asm.x86 import (
    XMM,
    Function,
    r8,
    r9,
    r10,
    r11,
    r12,
    r13,
    r14,
    r15,
    rax,
    rbp,
    rbx,
    rcx,
    rdi,
    rdx,
    rsi,
    rsp,
    sized,
)  # fmt: skip

MASK = (1 << 51) - 1
# 4p, limb by limb: added before a subtraction, so that no limb goes below zero.
_BIAS = [4 * ((1 << 51) - 19)] + [4 * MASK] * 4

_ACC = (r11, r12)  # low and high of a column
_OUT = (r13, r14, r15, rcx, rdi)
_MASK = rsi


def _column(a, products, carry):
    """Sum products (pairs: what goes to rax, by which register) into _ACC."""
    low, high = _ACC
    first = not carry
    for load, by in products:
        load()
        a.mul(by)
        if first:
            a.mov(low, rax)
            a.mov(high, rdx)
            first = False
        else:
            a.add(low, rax)
            a.adc(high, rdx)


def _finish(a, columns, put):
    """Columns to limbs: each passes what is above 51 bits to the next, the last to the first."""
    low, high = _ACC
    a.mov(_MASK, MASK)
    for k, products in enumerate(columns):
        _column(a, products, k > 0)
        a.mov(_OUT[k], low)
        a.and_(_OUT[k], _MASK)
        a.shrd(low, high, 51)
        if k < 4:
            a.xor(high.d, high.d)
    a.imul(low, low, 19)
    a.add(_OUT[0], low)
    a.mov(low, _OUT[0])
    a.shr(low, 51)
    a.and_(_OUT[0], _MASK)
    a.add(_OUT[1], low)
    for k in range(5):
        put(k, _OUT[k])


_F = (rbx, rbp, r8, r9, r10)


def multiply(a, out, f, g):
    """out, f, g: places of field elements (functions of a limb's number). Clobbers everything."""
    scaled = {}
    for i in range(5):
        a.mov(rax, g(i))
        a.movq(XMM[i], rax)
        if i:
            a.imul(rax, rax, 19)
            a.movq(XMM[5 + i], rax)
        scaled[i], scaled[i - 5] = XMM[i], XMM[5 + i]
    for i in range(5):
        a.mov(_F[i], f(i))
    columns = [
        [(lambda x=scaled[k - i]: a.movq(rax, x), _F[i]) for i in range(5)] for k in range(5)
    ]
    _finish(a, columns, lambda k, r: a.mov(out(k), r))


def square(a, out, f):
    for i in range(5):
        a.mov(_F[i], f(i))
    n3, n4 = XMM[0], XMM[1]
    a.imul(rax, _F[3], 19)
    a.movq(n3, rax)
    a.imul(rax, _F[4], 19)
    a.movq(n4, rax)

    def plain(i):
        return lambda: a.mov(rax, _F[i])

    def twice(i):
        return lambda: a.lea(rax, _F[i][_F[i]])

    def by19(i):
        return lambda: a.movq(rax, n3 if i == 3 else n4)

    def by38(i):
        def load():
            by19(i)()
            a.add(rax, rax)

        return load

    f0, f1, f2, f3, f4 = _F
    columns = [
        [(plain(0), f0), (by38(4), f1), (by38(3), f2)],
        [(twice(0), f1), (by38(4), f2), (by19(3), f3)],
        [(twice(0), f2), (plain(1), f1), (by38(4), f3)],
        [(twice(0), f3), (twice(1), f2), (by19(4), f4)],
        [(twice(0), f4), (twice(1), f3), (plain(2), f2)],
    ]
    _finish(a, columns, lambda k, r: a.mov(out(k), r))


def add(a, out, f, g):
    for i in range(5):
        a.mov(rax, f(i))
        a.add(rax, g(i))
        a.mov(out(i), rax)


def subtract(a, out, f, g):
    for i in range(5):
        a.mov(rax, _BIAS[i])
        a.add(rax, f(i))
        a.sub(rax, g(i))
        a.mov(out(i), rax)


def load(a, out, src):
    """out = the 255 bits at src, by offset from rsp; src is a register. Clobbers rax, rcx, rdx."""
    a.mov(rdx, MASK)
    for k, (word, shift) in enumerate(((0, 0), (0, 51), (1, 38), (2, 25), (3, 12))):
        a.mov(rax, src[8 * word])
        if 0 < shift and word < 3:
            a.mov(rcx, src[8 * word + 8])
            a.shrd(rax, rcx, shift)
        elif shift:
            a.shr(rax, shift)
        a.and_(rax, rdx)
        a.mov(rsp[out + 8 * k], rax)


def store(a, dst, src):
    """The 32 bytes at register dst = the element at rsp[src], fully reduced. Clobbers much."""
    f = _F
    for i in range(5):
        a.mov(f[i], rsp[src + 8 * i])
    a.mov(rdx, MASK)

    def carry():
        for i in range(5):
            a.mov(rax, f[i])
            a.shr(rax, 51)
            a.and_(f[i], rdx)
            if i < 4:
                a.add(f[i + 1], rax)
            else:
                a.imul(rax, rax, 19)
                a.add(f[0], rax)

    carry()
    carry()
    # f + 19 reaches 2^255 exactly if f is not below p: then 19 is added and the top dropped.
    a.lea(rax, f[0][19])
    for i in range(1, 5):
        a.shr(rax, 51)
        a.add(rax, f[i])
    a.shr(rax, 51)
    a.imul(rax, rax, 19)
    a.add(f[0], rax)
    for i in range(4):
        a.mov(rax, f[i])
        a.shr(rax, 51)
        a.and_(f[i], rdx)
        a.add(f[i + 1], rax)
    a.and_(f[4], rdx)
    for word, (i, right, left) in enumerate(((0, 0, 51), (1, 13, 38), (2, 26, 25), (3, 39, 12))):
        a.mov(rax, f[i + 1])
        a.shl(rax, left)
        if right:
            a.shr(f[i], right)
        a.or_(rax, f[i])
        a.mov(dst[8 * word], rax)


def x25519(a):
    x1, x2, z2, x3, z3, ta, tb, tc, td, te = range(0, 400, 40)
    scalar, bit, swap, out = 400, 432, 440, 448

    def at(off):
        return lambda i: rsp[off + 8 * i]

    with Function(a, "x25519", stack=456):
        a.mov(rsp[out], rdi)
        for i in range(4):
            a.mov(rax, rsi[8 * i])
            if i == 0:
                a.and_(rax, -8)
            if i == 3:
                a.shl(rax, 2)
                a.shr(rax, 2)
                a.mov(rcx, 1 << 62)
                a.or_(rax, rcx)
            a.mov(rsp[scalar + 8 * i], rax)
        a.mov(rbx, rdx)
        load(a, x1, rbx)
        for i in range(5):
            a.mov(rax, rsp[x1 + 8 * i])
            a.mov(rsp[x3 + 8 * i], rax)
            for off in (x2, z2, z3):
                a.mov(sized(rsp[off + 8 * i], 8), 1 if i == 0 and off != z2 else 0)
        a.mov(sized(rsp[swap], 8), 0)
        a.mov(sized(rsp[bit], 8), 254)

        top = a.here("bit")
        # mask = -(this bit ^ the last one), into rbx
        a.mov(rcx, rsp[bit])
        a.mov(rax, rcx)
        a.shr(rax, 6)
        a.mov(rax, rsp[rax, 8, scalar])
        a.shrx(rax, rax, rcx)
        a.and_(rax, 1)
        a.mov(rbx, rsp[swap])
        a.mov(rsp[swap], rax)
        a.xor(rbx, rax)
        a.neg(rbx)
        # Swap (x2, z2) with (x3, z3) and, while the limbs are here, form
        # A = x2 + z2, B = x2 - z2, C = x3 + z3, D = x3 - z3.
        for i in range(5):
            limbs = (r8, r9, r10, r11)
            for r, off in zip(limbs, (x2, z2, x3, z3)):
                a.mov(r, rsp[off + 8 * i])
            for p, q in ((r8, r10), (r9, r11)):
                a.mov(rax, p)
                a.xor(rax, q)
                a.and_(rax, rbx)
                a.xor(p, rax)
                a.xor(q, rax)
            a.mov(rcx, _BIAS[i])
            for p, q, plus, minus in ((r8, r9, ta, tb), (r10, r11, tc, td)):
                a.lea(rax, p[q])
                a.mov(rsp[plus + 8 * i], rax)
                a.lea(rax, p[rcx])
                a.sub(rax, q)
                a.mov(rsp[minus + 8 * i], rax)
        multiply(a, at(td), at(td), at(ta))  # DA
        multiply(a, at(tc), at(tc), at(tb))  # CB
        square(a, at(ta), at(ta))  # AA
        square(a, at(tb), at(tb))  # BB
        add(a, at(x3), at(td), at(tc))
        subtract(a, at(z3), at(td), at(tc))
        square(a, at(x3), at(x3))
        square(a, at(z3), at(z3))
        multiply(a, at(z3), at(z3), at(x1))
        multiply(a, at(x2), at(ta), at(tb))
        subtract(a, at(te), at(ta), at(tb))  # E
        # AA + 121665 E
        columns = [[(lambda k=k: a.mov(rax, rsp[te + 8 * k]), r8)] for k in range(5)]
        a.mov(r8.d, 121665)
        _finish(a, columns, lambda k, r: a.mov(rsp[td + 8 * k], r))
        add(a, at(td), at(td), at(ta))
        multiply(a, at(z2), at(te), at(td))
        a.sub(sized(rsp[bit], 8), 1)
        a.jnc(top)

        # The last swap: of x2 and z2 alone matters.
        a.mov(rbx, rsp[swap])
        a.neg(rbx)
        for i in range(5):
            for p, q in ((x2, x3), (z2, z3)):
                a.mov(rax, rsp[p + 8 * i])
                a.mov(rcx, rsp[q + 8 * i])
                a.xor(rcx, rax)
                a.and_(rcx, rbx)
                a.xor(rax, rcx)
                a.mov(rsp[p + 8 * i], rax)
        a.lea(rdi, rsp[ta])
        store(a, rdi, z2)
        a.lea(rdi, rsp[tb])
        a.lea(rsi, rsp[ta])
        a.lea(rdx, a.at("p25519_table"))
        a.call("inverse")  # 0 stays 0
        a.lea(rbx, rsp[tb])
        load(a, z2, rbx)
        multiply(a, at(x2), at(x2), at(z2))
        a.mov(rdi, rsp[out])
        store(a, rdi, x2)
        a.xor(rax.d, rax.d)
        for off in range(0, 440, 8):
            a.mov(rsp[off], rax)


def emit(a):
    a.data("p25519_table", table((1 << 255) - 19, 4))
    x25519(a)
