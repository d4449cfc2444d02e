"""ML-KEM's polynomials (FIPS 203) in machine code: 256 coefficients mod 3329 of 16 bits.

    ntt (f), intt (f), basemul (acc, a, b)      as in stack/crypto/lattice.py
    sample_ntt (f, seed)                        34 bytes, by SHAKE128 and rejection
    sample_cbd (f, seed)                        33 bytes, by SHAKE256, eta = 2

Scalar, without division: t - (t * ceil(2^36 / q) >> 36) q is t mod q below 2^25.
Only sample_ntt, whose seed is public, takes a time that depends on its input.
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
)  # fmt: skip
from stack.crypto.lattice import zetas

Q = 3329
_INVERSE = 20642679


def reduce(a, r, t):
    """r mod q, for r below 2^25."""
    a.imul(t, r, _INVERSE)
    a.shr(t, 36)
    a.imul(t.d, t.d, Q)
    a.sub(r.d, t.d)


def wrap(a, r, t):
    """r + q if r is negative (32 bits)."""
    a.mov(t.d, r.d)
    a.sar(t.d, 31)
    a.and_(t.d, Q)
    a.add(r.d, t.d)


def _layers(a, body, zetas, step, first, last):
    """The loops of both transforms: length, block, pair. `body` gets the registers of a pair."""
    f, z, n, block, end = rdi, rsi, r8, r9, r10
    a.lea(z, a.at("mlkem_zetas", zetas))
    a.mov(n.d, first)
    layer = a.here("layer")
    a.mov(block, f)
    start = a.here("start")
    a.movzx16(r11.d, z[0])
    a.add(z, step)
    a.lea(end, block[n])
    pair = a.here("pair")
    body(block, n, r11)
    a.add(block, 2)
    a.cmp(block, end)
    a.jb(pair)
    a.add(block, n)
    a.lea(rax, f[512])
    a.cmp(block, rax)
    a.jb(start)
    if last < first:
        a.shr(n.d, 1)
        a.cmp(n.d, last)
        a.jae(layer)
    else:
        a.add(n.d, n.d)
        a.cmp(n.d, last)
        a.jbe(layer)


def ntt(a):
    with Function(a, "ntt", save=()):

        def body(p, n, zeta):
            a.movzx16(rax.d, p[n])
            a.imul(rax, zeta)
            reduce(a, rax, rcx)
            a.movzx16(rdx.d, p[0])
            a.mov(rcx.d, rdx.d)
            a.sub(rcx.d, rax.d)
            a.lea(rax.d, rdx[rax, 1, -Q])
            wrap(a, rax, rdx)
            a.mov16(p[0], rax.d)
            wrap(a, rcx, rdx)
            a.mov16(p[n], rcx.d)

        _layers(a, body, 2, 2, 256, 4)


def intt(a):
    with Function(a, "intt", save=()):

        def body(p, n, zeta):
            a.movzx16(rax.d, p[0])
            a.movzx16(rdx.d, p[n])
            a.lea(rcx.d, rdx[rax, 1, -Q])
            a.sub(rdx.d, rax.d)
            a.add(rdx.d, Q)
            wrap(a, rcx, rax)
            a.mov16(p[0], rcx.d)
            a.imul(rdx, zeta)
            reduce(a, rdx, rax)
            a.mov16(p[n], rdx.d)

        _layers(a, body, 254, -2, 4, 256)
        # Times 1/128.
        a.mov(rsi.d, 256)
        with a.loop(rsi):
            a.movzx16(rax.d, rdi[rsi, 2, -2])
            a.imul(rax, rax, 3303)
            reduce(a, rax, rcx)
            a.mov16(rdi[rsi, 2, -2], rax.d)


def basemul(a):
    acc, f, g, gamma, i = rdi, rsi, rdx, r8, r9
    with Function(a, "basemul", save=(rbx, rbp)):
        a.lea(gamma, a.at("mlkem_gammas"))
        a.xor(i.d, i.d)
        top = a.here("pair")
        for r, x in ((r10, f[i]), (r11, f[i, 1, 2]), (rbx, g[i]), (rbp, g[i, 1, 2])):
            a.movzx16(r.d, x)
        a.mov(rax, r11)
        a.imul(rax, rbp)
        reduce(a, rax, rcx)
        a.movzx16(rcx.d, gamma[0])
        a.add(gamma, 2)
        a.imul(rax, rcx)
        reduce(a, rax, rcx)
        a.imul(rbp, r10)  # a0 b1
        a.imul(r10, rbx)
        a.add(rax, r10)
        a.movzx16(rcx.d, acc[i])
        a.add(rax, rcx)
        reduce(a, rax, rcx)
        a.mov16(acc[i], rax.d)
        a.imul(rbx, r11)
        a.lea(rax, rbx[rbp])
        a.movzx16(rcx.d, acc[i, 1, 2])
        a.add(rax, rcx)
        reduce(a, rax, rcx)
        a.mov16(acc[i, 1, 2], rax.d)
        a.add(i, 4)
        a.cmp(i, 512)
        a.jb(top)


def _absorb(a, n, rate):
    """The sponge's state at rsp[0]: n bytes from rsi, padded."""
    whole = n // 8
    a.xor(rax.d, rax.d)
    for i in range(25):
        a.mov(rsp[8 * i], rax)
    for i in range(whole):
        a.mov(rax, rsi[8 * i])
        a.mov(rsp[8 * i], rax)
    for i in range(8 * whole, n):
        a.movzx8(rax.d, rsi[i])
        a.mov(rsp[i], rax.b)
    a.mov(rax.d, 0x1F)  # SHAKE's suffix, then the padding's last bit
    a.mov(rsp[n], rax.b)
    a.mov(rax.d, 0x80)
    a.mov(rsp[rate - 1], rax.b)


def _permute(a):
    a.mov(rdi, rsp)
    a.call("keccak_f")


def sample_ntt(a):
    out, have, p, end = r12, r13, r14, r15
    with Function(a, "sample_ntt", stack=200):
        a.mov(out, rdi)
        a.lea(have, rdi[512])  # where the polynomial ends
        _absorb(a, 34, 168)
        block, next_, done = a.here("block"), a.new("next"), a.new("done")
        _permute(a)
        a.mov(p, rsp)
        a.lea(end, rsp[168])
        a.label(next_)
        # Three bytes give two candidates of twelve bits.
        a.mov(rax.d, p[0])
        a.mov(rcx.d, rax.d)
        a.shr(rcx.d, 12)
        for r in (rax, rcx):
            skip = a.new("skip")
            a.and_(r.d, 0xFFF)
            a.cmp(r.d, Q)
            a.jae(skip)
            a.mov16(out[0], r.d)
            a.add(out, 2)
            a.cmp(out, have)
            a.jae(done)
            a.label(skip)
        a.add(p, 3)
        a.cmp(p, end)
        a.jb(next_)
        a.jmp(block)
        a.label(done)


def sample_cbd(a):
    out, i = r12, r13
    with Function(a, "sample_cbd", stack=200):
        a.mov(out, rdi)
        _absorb(a, 33, 136)
        _permute(a)
        a.xor(i.d, i.d)
        top = a.here("byte")
        a.movzx8(rax.d, rsp[i])
        a.mov(rcx.d, rax.d)
        a.and_(rax.d, 0x55)
        a.shr(rcx.d, 1)
        a.and_(rcx.d, 0x55)
        a.add(rax.d, rcx.d)  # four sums of two bits
        for k in (0, 1):
            a.mov(rdx.d, rax.d)
            a.mov(rcx.d, rax.d)
            if k:
                a.shr(rdx.d, 4 * k)
            a.shr(rcx.d, 4 * k + 2)
            a.and_(rdx.d, 3)
            a.and_(rcx.d, 3)
            a.sub(rdx.d, rcx.d)
            wrap(a, rdx, rcx)
            a.mov16(out[i, 4, 2 * k], rdx.d)
        a.add(i, 1)
        a.cmp(i, 128)
        a.jb(top)
        a.xor(rax.d, rax.d)
        for k in range(25):
            a.mov(rsp[8 * k], rax)


def emit(a):
    for name, content in zip(("mlkem_zetas", "mlkem_gammas"), zetas()):
        a.data(name, content)
    ntt(a)
    intt(a)
    basemul(a)
    sample_ntt(a)
    sample_cbd(a)
