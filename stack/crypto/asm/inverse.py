"""Inverses modulo an odd number of up to 384 bits, by division steps, in constant time.

    inverse (out, x, modulus)           words of 64 bits; 0 gives 0

D. J. Bernstein and B.-Y. Yang, "Fast constant-time gcd computation and modular
inversion" (2019), in the variant with delta = 1/2, and the bound
(45907 b + 26313) / 19929 on the steps for b bits, both by P. Wuille. Numbers are
limbs of 62 bits in signed words, the highest limb with the sign. 59 steps look at
the lowest limbs alone and yield a 2x2 matrix, which is then applied to the whole.

`modulus` is a table from `table(m)`: words, limbs, rounds, 1/m mod 2^62, limbs of m.
"""

from stack.crypto.asm.x86 import (
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
)

_MASK = (1 << 62) - 1
WORDS, LIMBS, ROUNDS, INVERSE, M = 0, 8, 16, 24, 32


def table(m, words):
    """The bytes that describe a modulus."""
    bits = m.bit_length()
    limbs = max(2, (bits + 2 + 61) // 62)
    steps = (45907 * bits + 26313) // 19929
    values = [words, limbs, (steps + 58) // 59, pow(m, -1, 1 << 62)]
    values += [m >> 62 * i & _MASK for i in range(limbs)]
    return b"".join(v.to_bytes(8, "little") for v in values)


def inverse(a):
    # The frame: d, e, f, g of up to 7 limbs; the input's words; variables.
    d, e, f, g, words = 0, 64, 128, 192, 256
    out, modulus, zeta, count, mu, mv, mq, mr, md, me = range(320, 400, 8)

    def var(off):
        return sized(rsp[off], 8)

    with Function(a, "inverse", stack=400):
        a.mov(rsp[out], rdi)
        a.mov(rsp[modulus], rdx)
        a.mov(rbx, rdx)
        a.xor(rax.d, rax.d)
        for off in range(0, 320, 8):
            a.mov(rsp[off], rax)
        a.mov(sized(rsp[e], 8), 1)
        a.mov(rcx, rbx[WORDS])
        a.lea(rdx, rsp[words])
        with a.loop(rcx):
            a.mov(rax, rsi[rcx, 8, -8])
            a.mov(rdx[rcx, 8, -8], rax)
        # g = x, f = m. Limb i is the 62 bits from 62 i.
        a.lea(rdi, rsp[g])
        a.lea(r12, rsp[f])
        a.xor(rcx.d, rcx.d)
        a.xor(rsi.d, rsi.d)
        a.mov(r11, _MASK)
        limb = a.here("limb")
        a.mov(rax, rsi)
        a.shr(rax, 6)
        a.mov(r8, rdx[rax, 8, 0])
        a.mov(r9, rdx[rax, 8, 8])
        a.shrx(r8, r8, rsi)
        a.mov(r10, rsi)
        a.not_(r10)  # 63 - shift, mod 64
        a.add(r9, r9)
        a.shlx(r9, r9, r10)
        a.or_(r8, r9)
        a.and_(r8, r11)
        a.mov(rdi[rcx, 8, 0], r8)
        a.mov(rax, rbx[rcx, 8, M])
        a.mov(r12[rcx, 8, 0], rax)
        a.add(rsi, 62)
        a.add(rcx, 1)
        a.cmp(rcx, rbx[LIMBS])
        a.jb(limb)
        a.mov(var(zeta), -1)
        a.mov(rax, rbx[ROUNDS])
        a.mov(var(count), rax)

        top = a.here("round")
        _steps(a, f, g, zeta, (mu, mv, mq, mr))
        _update_de(a, d, e, modulus, (mu, mv, mq, mr), md, me)
        _update_fg(a, f, g, modulus, (mu, mv, mq, mr))
        a.sub(var(count), 1)
        a.jnz(top)

        _normalize(a, d, f, modulus)
        # Back to words: word i holds bits 64 i .. 64 i + 63, of two or three limbs.
        a.lea(rdx, rsp[d])
        a.mov(rdi, rsp[out])
        a.mov(rbx, rsp[modulus])
        a.mov(rbx, rbx[WORDS])
        for i in range(6):
            first, shift = divmod(64 * i, 62)
            a.mov(rax, rdx[8 * first])
            if shift:
                a.shr(rax, shift)
            a.mov(rcx, rdx[8 * first + 8])
            a.shl(rcx, 62 - shift)
            a.or_(rax, rcx)
            a.mov(rdi[8 * i], rax)
            a.cmp(rbx, i + 1)
            if i < 5:
                a.jz(".inverse_done")
        a.label(".inverse_done")


def _steps(a, f_at, g_at, zeta_at, matrix):
    """59 division steps on the lowest limbs. The matrix is scaled by 2^62 in all."""
    f, g, u, v, q, r, zeta, m1, m2, x, n = rax, rbx, rcx, rdx, rsi, rdi, r8, r9, r10, r11, r12
    a.mov(f, rsp[f_at])
    a.mov(g, rsp[g_at])
    a.mov(zeta, rsp[zeta_at])
    a.mov(u.d, 8)  # 2^(62 - 59)
    a.mov(r.d, 8)
    a.xor(v.d, v.d)
    a.xor(q.d, q.d)
    a.mov(n.d, 59)
    with a.loop(n.d):
        a.mov(m1, zeta)
        a.sar(m1, 63)  # ones if delta > 0
        a.mov(m2, g)
        a.and_(m2, 1)
        a.neg(m2)  # ones if g is odd
        # (g, q, r) += or -= (f, u, v) if g is odd
        for target, source in ((g, f), (q, u), (r, v)):
            a.mov(x, source)
            a.xor(x, m1)
            a.sub(x, m1)
            a.and_(x, m2)
            a.add(target, x)
        a.and_(m1, m2)
        a.xor(zeta, m1)
        a.sub(zeta, 1)
        # and the old g becomes the new f if delta was positive too
        for target, source in ((f, g), (u, q), (v, r)):
            a.mov(x, source)
            a.and_(x, m1)
            a.add(target, x)
        a.sar(g, 1)
        a.add(u, u)
        a.add(v, v)
    a.mov(rsp[zeta_at], zeta)
    for off, reg in zip(matrix, (u, v, q, r)):
        a.mov(rsp[off], reg)


# In the updates: r8:rcx and r10:r9 accumulate the two rows, r11 .. r14 are the matrix.
_ROWS = ((rcx, r8), (r9, r10))
_MATRIX = ((r11, r12), (r13, r14))


def _rows(a, x, y, i, scale):
    """Each row += its matrix entries times limb i (a register) of x and y."""
    for (low, high), entries in zip(_ROWS, _MATRIX):
        for off, entry in zip((x, y), entries):
            a.lea(rax, rsp[off])
            a.mov(rax, rax[i, 8, 0])
            a.imul_wide(entry)
            a.add(low, rax)
            a.adc(high, rdx)
    if scale:
        md, me, modulus = scale
        for (low, high), factor in zip(_ROWS, (md, me)):
            a.mov(rax, rsp[modulus])
            a.mov(rax, rax[i, 8, M])
            a.imul_wide(sized(rsp[factor], 8))
            a.add(low, rax)
            a.adc(high, rdx)


def _shift_rows(a):
    for low, high in _ROWS:
        a.shrd(low, high, 62)
        a.sar(high, 62)


def _start(a, matrix):
    for reg, off in zip((r11, r12, r13, r14), matrix):
        a.mov(reg, rsp[off])
    for low, high in _ROWS:
        a.xor(low.d, low.d)
        a.xor(high.d, high.d)


def _apply(a, x, y, modulus, scale):
    """The rest of an update: limbs 1.. go down by one place, the carry becomes the top limb."""
    i = rbp
    a.mov(rbx, rsp[modulus])
    a.mov(rbx, rbx[LIMBS])
    a.mov(i.d, 1)
    top = a.here("limb")
    _rows(a, x, y, i, scale)
    for (low, _high), off in zip(_ROWS, (x, y)):
        a.mov(rdx, _MASK)
        a.and_(rdx, low)
        a.lea(rax, rsp[off])
        a.mov(rax[i, 8, -8], rdx)
    _shift_rows(a)
    a.add(i, 1)
    a.cmp(i, rbx)
    a.jb(top)
    for (low, _high), off in zip(_ROWS, (x, y)):
        a.lea(rax, rsp[off])
        a.mov(rax[i, 8, -8], low)


def _update_fg(a, f, g, modulus, matrix):
    _start(a, matrix)
    a.xor(rbp.d, rbp.d)
    _rows(a, f, g, rbp, None)
    _shift_rows(a)
    _apply(a, f, g, modulus, None)


def _update_de(a, d, e, modulus, matrix, md, me):
    """As for f and g, with that multiple of m added that makes the low 62 bits zero."""
    _start(a, matrix)
    a.mov(rbx, rsp[modulus])
    a.mov(r15, rbx[LIMBS])
    # md, me: the matrix times the signs keeps the results above -m.
    for reg, off in ((rsi, d), (rdi, e)):
        a.lea(rax, rsp[off])
        a.mov(reg, rax[r15, 8, -8])
        a.sar(reg, 63)
    for (first, second), off in zip(_MATRIX, (md, me)):
        a.mov(rax, first)
        a.and_(rax, rsi)
        a.mov(rdx, second)
        a.and_(rdx, rdi)
        a.add(rax, rdx)
        a.mov(rsp[off], rax)
    a.xor(rbp.d, rbp.d)
    _rows(a, d, e, rbp, None)
    a.mov(rdx, _MASK)
    for (low, _high), off in zip(_ROWS, (md, me)):
        a.mov(rax, low)
        a.imul(rax, rbx[INVERSE])
        a.add(rax, rsp[off])
        a.and_(rax, rdx)
        a.sub(rsp[off], rax)
    for (low, high), off in zip(_ROWS, (md, me)):
        a.mov(rax, rbx[M])
        a.imul_wide(sized(rsp[off], 8))
        a.add(low, rax)
        a.adc(high, rdx)
    _shift_rows(a)
    _apply(a, d, e, modulus, (md, me, modulus))


def _normalize(a, d, f, modulus):
    """d times the sign of f, brought from (-2m, m) to [0, m)."""
    m, limbs, i, sign, top_sign, mask = rbx, rbp, rcx, rsi, rdi, r8
    a.mov(m, rsp[modulus])
    a.mov(limbs, m[LIMBS])
    a.mov(mask, _MASK)
    a.lea(rax, rsp[f])
    a.mov(sign, rax[limbs, 8, -8])
    a.sar(sign, 63)
    a.lea(r9, rsp[d])
    for negate in (True, False):
        a.mov(top_sign, r9[limbs, 8, -8])
        a.sar(top_sign, 63)
        # Limb by limb, carrying in rdx: + m if negative, then negated with the sign of f.
        a.xor(i.d, i.d)
        a.xor(rdx.d, rdx.d)
        each = a.here("limb")
        a.mov(rax, m[i, 8, M])
        a.and_(rax, top_sign)
        a.add(rax, r9[i, 8, 0])
        if negate:
            a.xor(rax, sign)
            a.sub(rax, sign)
        a.add(rax, rdx)
        a.mov(rdx, rax)
        a.sar(rdx, 62)
        a.lea(r10, limbs[-1])
        a.cmp(i, r10)
        last = a.new("last")
        a.jz(last)
        a.and_(rax, mask)
        a.label(last)
        a.mov(r9[i, 8, 0], rax)
        a.add(i, 1)
        a.cmp(i, limbs)
        a.jb(each)
