"""Modular exponentiation for an odd modulus of up to 4096 bits: RSA, and inverses of scalars.

    modexp (out, base, exponent, bits, modulus, limbs)

All numbers are `limbs` 64-bit words, little-endian; base is below the modulus.
`modulus` is n followed by R^2 mod n, R = 2^(64 limbs). The exponent has whole
words; its `bits` are a multiple of 4.

Montgomery multiplication word by word (FIOS). Exponents of more than 32 bits are
taken for secret: windows of four bits, the table read whole for each, so that
neither branch nor address depends on them. Shorter ones are public (RSA's e) and
go bit by bit.
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
)  # fmt: skip

MAX_LIMBS = 64
_SIZE = 8 * MAX_LIMBS


def modexp(a):
    # The frame; r15 points to it everywhere in here.
    names = ("out", "exponent", "bits", "n", "limbs", "n0", "count")
    at = {name: 8 * i for i, name in enumerate(names)}
    t = 64  # limbs + 1 words
    digit = t + _SIZE + 64
    acc = digit + _SIZE
    one = acc + _SIZE
    table = one + _SIZE
    frame = table + 16 * _SIZE

    def var(name):
        return sized(r15[at[name]], 8)

    with Function(a, "modexp", stack=frame):
        a.mov(r15, rsp)
        for name, r in (("out", rdi), ("exponent", rdx), ("bits", rcx), ("n", r8), ("limbs", r9)):
            a.mov(var(name), r)
        # n0 = -1/n mod 2^64, by Newton from 3 right bits to 96.
        a.mov(rcx, r8[0])
        a.mov(rax, rcx)
        for _ in range(5):
            a.mov(rdx, rax)
            a.imul(rdx, rcx)
            a.neg(rdx)
            a.add(rdx, 2)
            a.imul(rax, rdx)
        a.neg(rax)
        a.mov(var("n0"), rax)
        # one = 1; table[0] = R mod n, table[1] = base R, each next by one more.
        a.xor(rax.d, rax.d)
        a.mov(rcx, r9)
        with a.loop(rcx):
            a.mov(r15[rcx, 8, one - 8], rax)
        a.mov(sized(r15[one], 8), 1)

        def mul(out, f, g):
            for r, x in ((rdi, out), (rsi, f), (rdx, g)):
                if isinstance(x, int):
                    a.lea(r, r15[x])
                else:
                    a.mov(r, x)
            a.call(".montgomery")

        def r_squared(r):
            a.mov(r, var("limbs"))
            a.shl(r, 3)
            a.add(r, var("n"))

        a.mov(rbx, rsi)
        a.push(rbx)
        r_squared(rbx)
        mul(table, rbx, one)
        a.pop(rbx)
        r_squared(r14)
        mul(table + _SIZE, rbx, r14)
        secret, done = a.new("secret"), a.new("done")
        copy_words(a, acc, table)
        a.cmp(var("bits"), 32)
        a.ja(secret)

        # Public: square, and multiply for a one.
        a.mov(rax, var("bits"))
        a.mov(var("count"), rax)
        bit, zero = a.here("bit"), a.new("zero")
        mul(acc, acc, acc)
        a.sub(var("count"), 1)
        a.mov(rax, var("exponent"))
        a.mov(rax, rax[0])
        a.mov(rcx, var("count"))
        a.shrx(rax, rax, rcx)
        a.and_(rax, 1)
        a.jz(zero)
        mul(acc, acc, table + _SIZE)
        a.label(zero)
        a.cmp(var("count"), 0)
        a.jnz(bit)
        a.jmp(done)

        a.label(secret)
        a.mov(var("count"), 14)
        a.lea(rbx, r15[table + 2 * _SIZE])
        entry = a.here("entry")
        a.lea(rsi, rbx[-_SIZE])
        a.push(rbx)
        mul(rbx, rsi, table + _SIZE)
        a.pop(rbx)
        a.add(rbx, _SIZE)
        a.sub(var("count"), 1)
        a.jnz(entry)
        window = a.here("window")
        for _ in range(4):
            mul(acc, acc, acc)
        a.sub(var("bits"), 4)
        a.mov(rcx, var("bits"))
        a.mov(rax, rcx)
        a.shr(rax, 6)
        a.mov(rdx, var("exponent"))
        a.mov(rdx, rdx[rax, 8, 0])
        a.shrx(rdx, rdx, rcx)
        a.and_(rdx, 15)
        # digit = the table's entry, reading all of it: word by word through the sixteen.
        a.xor(rcx.d, rcx.d)
        word = a.here("word")
        a.lea(rsi, r15[rcx, 8, table])
        a.xor(rax.d, rax.d)
        a.xor(r8.d, r8.d)
        each = a.here("each")
        a.mov(r9, r8)
        a.xor(r9, rdx)
        a.sub(r9, 1)
        a.sar(r9, 63)
        a.and_(r9, rsi[0])
        a.or_(rax, r9)
        a.add(rsi, _SIZE)
        a.add(r8, 1)
        a.cmp(r8, 16)
        a.jb(each)
        a.mov(r15[rcx, 8, digit], rax)
        a.add(rcx, 1)
        a.cmp(rcx, var("limbs"))
        a.jb(word)
        mul(acc, acc, digit)
        a.cmp(var("bits"), 0)
        a.jnz(window)

        a.label(done)
        mul(acc, acc, one)
        a.mov(rdi, var("out"))
        a.mov(rcx, var("limbs"))
        with a.loop(rcx):
            a.mov(rax, r15[rcx, 8, acc - 8])
            a.mov(rdi[rcx, 8, -8], rax)
        # Powers of a secret are not left on the stack.
        a.xor(rax.d, rax.d)
        a.mov(rcx.d, (frame - t) // 8)
        with a.loop(rcx):
            a.mov(r15[rcx, 8, t - 8], rax)

    a.align(16)
    a.label(".montgomery")
    _montgomery(a, var, t)


def copy_words(a, dst, src):
    """limbs words within the frame."""
    a.mov(rcx, r15[32])
    with a.loop(rcx):
        a.mov(rax, r15[rcx, 8, src - 8])
        a.mov(r15[rcx, 8, dst - 8], rax)


def _montgomery(a, var, t):
    """[rdi] = [rsi] [rdx] / R mod n; the factors below n."""
    b_i, m, c1, c2, low = r10, r11, r12, r13, r14
    f, b, n, j, i, limbs = rsi, rbx, r9, rcx, rbp, r8
    a.mov(b, rdx)
    a.mov(n, var("n"))
    a.push(rdi)
    a.xor(rax.d, rax.d)
    a.mov(j, var("limbs"))
    a.mov(r15[t], rax)
    with a.loop(j):
        a.mov(r15[j, 8, t], rax)
    a.mov(limbs, var("limbs"))
    a.mov(i, limbs)
    row = a.here("row")
    a.mov(b_i, b[0])
    a.add(b, 8)
    a.mov(rax, f[0])
    a.mul(b_i)
    a.add(rax, r15[t])
    a.adc(rdx, 0)
    a.mov(low, rax)
    a.mov(c1, rdx)
    a.mov(m, var("n0"))
    a.imul(m, low)
    a.mov(rax, n[0])
    a.mul(m)
    a.add(rax, low)
    a.adc(rdx, 0)
    a.mov(c2, rdx)
    a.mov(j.d, 1)
    step, end = a.new("step"), a.new("end")
    a.cmp(j, limbs)
    a.jae(end)
    a.label(step)
    a.mov(rax, f[j, 8, 0])
    a.mul(b_i)
    a.add(rax, c1)
    a.adc(rdx, 0)
    a.add(rax, r15[j, 8, t])
    a.adc(rdx, 0)
    a.mov(low, rax)
    a.mov(c1, rdx)
    a.mov(rax, n[j, 8, 0])
    a.mul(m)
    a.add(rax, c2)
    a.adc(rdx, 0)
    a.add(rax, low)
    a.adc(rdx, 0)
    a.mov(c2, rdx)
    a.mov(r15[j, 8, t - 8], rax)
    a.add(j, 1)
    a.cmp(j, limbs)
    a.jb(step)
    a.label(end)
    a.xor(rdx.d, rdx.d)
    a.add(c1, c2)
    a.adc(rdx, 0)
    a.add(c1, r15[j, 8, t])
    a.adc(rdx, 0)
    a.mov(r15[j, 8, t - 8], c1)
    a.mov(r15[j, 8, t], rdx)
    a.sub(i, 1)
    a.jnz(row)

    # out = t - n; then t again, by a mask, if that was negative.
    a.pop(rdi)
    a.xor(j.d, j.d)
    a.xor(rdx.d, rdx.d)  # the borrow
    minus = a.here("minus")
    a.mov(rax, r15[j, 8, t])
    a.xor(low.d, low.d)
    a.sub(rax, rdx)
    a.adc(low, 0)
    a.sub(rax, n[j, 8, 0])
    a.adc(low, 0)
    a.mov(rdx, low)
    a.mov(rdi[j, 8, 0], rax)
    a.add(j, 1)
    a.cmp(j, limbs)
    a.jb(minus)
    a.mov(rax, r15[j, 8, t])
    a.sub(rax, rdx)
    a.sar(rax, 63)
    with a.loop(j):
        a.mov(rdx, r15[j, 8, t - 8])
        a.xor(rdx, rdi[j, 8, -8])
        a.and_(rdx, rax)
        a.xor(rdi[j, 8, -8], rdx)
    a.ret()
