"""Poly1305 (RFC 8439) in machine code, and the AEAD with ChaCha20 around it.

    poly1305_init(ctx, key)             r and s from 32 bytes
    poly1305_update(ctx, data, n)       n bytes, the last block filled up with zeros
    poly1305_finish(ctx, tag)
    chapoly_scalar, chapoly_avx2 (state, buf, n, aad, aad_len, opening) -> 1 or 0

Limbs of 26 bits: five products of 52 bits and their carries fit in 64 bits
without an add-with-carry, and flags cost under QEMU's translator. The context is
h (5 x 8 bytes), s (16 bytes at 40), r's limbs (5 x 8 bytes at 56): 96 bytes.
The time depends on lengths alone.
"""

from stack.crypto.asm.chacha import copy_bytes
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
)  # fmt: skip

_MASK = (1 << 26) - 1
_S, _R = 40, 56


def poly1305_init(a):
    with Function(a, "poly1305_init", save=()):
        a.mov(rax, rsi[0])
        a.mov(rdx, rsi[8])
        a.mov(rcx, 0x0FFFFFFC0FFFFFFF)
        a.and_(rax, rcx)
        a.mov(rcx, 0x0FFFFFFC0FFFFFFC)
        a.and_(rdx, rcx)
        split(a, rax, rdx, rcx, lambda i: a.mov(rdi[_R + 8 * i], rcx))
        a.xor(rcx.d, rcx.d)
        for i in range(5):
            a.mov(rdi[8 * i], rcx)
        for i in range(2):
            a.mov(rax, rsi[16 + 8 * i])
            a.mov(rdi[_S + 8 * i], rax)


def split(a, low, high, t, put):
    """put(i) for each 26-bit limb i of high:low, which is in t then. Clobbers low, high."""
    for i, shift in ((0, 0), (1, 26)):
        a.mov(t, low)
        if shift:
            a.shr(t, shift)
        a.and_(t.d, _MASK)
        put(i)
    a.mov(t, low)
    a.shrd(t, high, 52)
    a.and_(t.d, _MASK)
    put(2)
    a.mov(t, high)
    a.shr(t, 14)
    a.and_(t.d, _MASK)
    put(3)
    a.mov(t, high)
    a.shr(t, 40)
    put(4)


def poly1305_update(a):
    block = 0
    with Function(a, "poly1305_update", stack=64):
        h = [rbx, rbp, r12, r13, r14]
        d = [rax, r8, r9, r10, r11]
        t = r15
        ptr, n = rsi, rdx
        # r and 5 r in xmm registers: cheaper to reach than memory under the translator.
        r = {}
        for i in range(5):
            r[i] = XMM[i]
            a.mov(t, rdi[_R + 8 * i])
            a.movq(r[i], t)
            if i:
                # r[i - 5]: what limb i is worth after the wrap at 2^130.
                r[i - 5] = XMM[8 + i]
                a.lea(t, t[t, 4, 0])
                a.movq(r[i - 5], t)
        for i in range(5):
            a.mov(h[i], rdi[8 * i])
        done, tail = a.new("done"), a.new("tail")
        top = a.here("blocks")
        a.cmp(n, 16)
        a.jb(tail)
        full = a.here("full")
        lo, hi = d[0], d[1]
        a.mov(lo, ptr[0])
        a.mov(hi, ptr[8])

        # h += block + 2^128
        a.mov(t, lo)
        a.and_(t.d, _MASK)
        a.lea(h[0], h[0][t])
        a.mov(t, lo)
        a.shr(t, 26)
        a.and_(t.d, _MASK)
        a.lea(h[1], h[1][t])
        a.shr(lo, 52)
        a.mov(t, hi)
        a.shl(t, 12)
        a.or_(t, lo)
        a.and_(t.d, _MASK)
        a.lea(h[2], h[2][t])
        a.mov(t, hi)
        a.shr(t, 14)
        a.and_(t.d, _MASK)
        a.lea(h[3], h[3][t])
        a.shr(hi, 40)
        a.lea(h[4], h[4][hi, 1, 1 << 24])

        # d[k] = sum of h[i] r[k - i]
        for k in range(5):
            for i in range(5):
                to = d[k] if i == 0 else t
                a.movq(to, r[k - i])
                a.imul(to, h[i])
                if i:
                    a.lea(d[k], d[k][t])
        # One round of carries leaves limbs of 26 bits and a little.
        for k in range(5):
            a.mov(h[k], d[k])
            a.and_(h[k].d, _MASK)
            a.shr(d[k], 26)
            if k < 4:
                a.lea(d[k + 1], d[k + 1][d[k]])
        a.lea(d[4], d[4][d[4], 4, 0])
        a.lea(h[0], h[0][d[4]])
        a.mov(t, h[0])
        a.shr(t, 26)
        a.and_(h[0].d, _MASK)
        a.lea(h[1], h[1][t])
        a.add(ptr, 16)
        a.sub(n, 16)
        a.jnc(top)
        a.jmp(done)  # that was the tail's copy

        a.label(tail)
        a.test(n, n)
        a.jz(done)
        a.xor(t.d, t.d)
        a.mov(rsp[block], t)
        a.mov(rsp[block + 8], t)
        a.mov(rsp[block + 16], rdi)
        a.lea(rdi, rsp[block])
        copy_bytes(a, rdi, ptr, n)
        a.mov(ptr, rdi)
        a.mov(rdi, rsp[block + 16])
        a.jmp(full)

        a.label(done)
        for i in range(5):
            a.mov(rdi[8 * i], h[i])


def poly1305_finish(a):
    with Function(a, "poly1305_finish", save=(rbx,)):
        h = [rax, rcx, r8, r9, r10]
        t = r11
        for i in range(5):
            a.mov(h[i], rdi[8 * i])
        # Carry fully, twice round for the wrap.
        for _ in range(2):
            for i in range(5):
                a.mov(t, h[i])
                a.shr(t, 26)
                a.and_(h[i], _MASK)
                if i < 4:
                    a.add(h[i + 1], t)
                else:
                    a.lea(t, t[t, 4, 0])
                    a.add(h[0], t)
        # As 64-bit words: low, mid, top (2 bits).
        low, mid, top = rax, r8, r10
        a.shl(rcx, 26)
        a.add(low, rcx)
        a.mov(t, r8)
        a.shl(t, 52)
        a.xor(rbx.d, rbx.d)
        a.add(low, t)
        a.adc(rbx, 0)
        a.shr(r8, 12)
        a.shl(r9, 14)
        a.add(r8, r9)
        a.add(r8, rbx)
        a.mov(t, r10)
        a.shl(t, 40)
        a.shr(r10, 24)
        a.add(mid, t)
        a.adc(top, 0)
        # h + 5 - 2^130, taken if it is not negative.
        a.mov(rcx, low)
        a.mov(r9, mid)
        a.add(rcx, 5)
        a.adc(r9, 0)
        a.adc(top, 0)
        a.shr(top, 2)
        a.neg(top)
        a.and_(rcx, top)
        a.and_(r9, top)
        a.not_(top)
        a.and_(low, top)
        a.and_(mid, top)
        a.or_(low, rcx)
        a.or_(mid, r9)
        a.add(low, rdi[_S])
        a.adc(mid, rdi[_S + 8])
        a.mov(rsi[0], low)
        a.mov(rsi[8], mid)


def chapoly(a, name, cipher):
    """The AEAD of RFC 8439, 2.8: one call a record. Returns 1, or 0 for a wrong tag."""
    state, first, ctx, lengths, tag, args = 0, 64, 128, 224, 240, 256
    buf, n, aad, aad_len, opening = rbx, rbp, r12, r13, r14
    with Function(a, name, stack=args):
        for to, arg in ((buf, rsi), (n, rdx), (aad, rcx), (aad_len, r8), (opening, r9)):
            a.mov(to, arg)
        # A copy of the state, counting from 0: its first block is Poly1305's key.
        for i in range(8):
            a.mov(rax, rdi[8 * i])
            a.mov(rsp[state + 8 * i], rax)
        a.xor(rax.d, rax.d)
        a.mov(rsp[state + 48], rax.d)
        for i in range(8):
            a.mov(rsp[first + 8 * i], rax)

        def call(entry, **regs):
            for r, v in regs.items():
                to = {"rdi": rdi, "rsi": rsi, "rdx": rdx}[r]
                if isinstance(v, int):
                    a.lea(to, rsp[v])
                else:
                    a.mov(to, v)
            a.call(entry)

        def encrypt():
            call(cipher, rdi=state, rsi=buf, rdx=n)

        call_first = dict(rdi=state, rsi=first)
        a.mov(rdx.d, 64)
        call(cipher, **call_first)
        call("poly1305_init", rdi=ctx, rsi=first)
        sealed, bad, out = a.new("sealed"), a.new("bad"), a.new("out")
        a.test(opening, opening)
        a.jnz(sealed)
        encrypt()
        a.label(sealed)
        call("poly1305_update", rdi=ctx, rsi=aad, rdx=aad_len)
        call("poly1305_update", rdi=ctx, rsi=buf, rdx=n)
        a.mov(rsp[lengths], aad_len)
        a.mov(rsp[lengths + 8], n)
        a.mov(rdx.d, 16)
        call("poly1305_update", rdi=ctx, rsi=lengths)
        call("poly1305_finish", rdi=ctx, rsi=tag)
        finish_tag(a, tag, buf, n, opening, encrypt, bad, out)
        a.label(bad)
        a.xor(rax.d, rax.d)
        a.label(out)
        # Nothing of the key is left on the stack.
        a.xor(rcx.d, rcx.d)
        for i in range(0, ctx + 96, 8):
            a.mov(rsp[i], rcx)


def finish_tag(a, tag, buf, n, opening, decrypt, bad, out):
    """Store the tag behind buf; or compare it as a whole and decrypt if it is right."""
    check = a.new("check")
    a.test(opening, opening)
    a.jnz(check)
    for i in (0, 8):
        a.mov(rax, rsp[tag + i])
        a.mov(buf[n, 1, i], rax)
    a.mov(rax.d, 1)
    a.jmp(out)
    a.label(check)
    a.mov(rax, rsp[tag])
    a.mov(rcx, rsp[tag + 8])
    a.xor(rax, buf[n, 1, 0])
    a.xor(rcx, buf[n, 1, 8])
    a.or_(rax, rcx)
    a.jnz(bad)
    decrypt()
    a.mov(rax.d, 1)
    a.jmp(out)


def emit(a):
    poly1305_init(a)
    poly1305_update(a)
    poly1305_finish(a)
    chapoly(a, "chapoly_scalar", "chacha20_scalar")
    chapoly(a, "chapoly_avx2", "chacha20_avx2")
