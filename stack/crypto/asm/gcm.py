"""AES-GCM (FIPS 197, SP 800-38D) in machine code.

    gcm_init(ctx, key, key_len)             ctx: CTX_LEN bytes
    gcm_table(ctx, table)                   64 KB of multiples of H, for gcm_xmm_table
    gcm_xmm, gcm_ymm, gcm_xmm_table
        (ctx, buf, n, aad, aad_len, opening) -> 1 or 0; the nonce lies in ctx at NONCE

AES by AESENC, sixteen blocks in flight with VAES (ymm) or eight without (xmm).
GHASH by PCLMULQDQ, eight blocks to a reduction; or by table, for QEMU's
translator, where a PCLMULQDQ costs 35 ns. **The table's look-ups depend on the
data and on H**: gcm_xmm_table is not constant-time. (Nor are AESENC and PCLMULQDQ
under that translator, which are C with tables and branches.) The others are.
"""

from stack.crypto.asm.chacha import copy_bytes
from stack.crypto.asm.poly1305 import finish_tag
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

ROUNDS, NONCE, POWERS, FOLDED, TABLE, CTX_LEN = 240, 256, 272, 400, 528, 544


def gcm_init(a):
    """Key schedule, H, and H^1 .. H^8 as the reduction wants them, with their halves added."""
    with Function(a, "gcm_init", save=(rbx, rbp)):
        words, left, nk, j, rcon = rbx, r8, r9, r10, r11
        copy_bytes(a, rdi, rsi, rdx)
        a.mov(nk, rdx)
        a.shr(nk, 2)
        # Rounds: key words + 6. Words to make: 4 * (rounds + 1) - key words.
        a.lea(rax, nk[6])
        a.mov(rdi[ROUNDS], rax)
        a.lea(left, nk[nk, 2, 28])
        a.mov(words, rdi)
        a.xor(j.d, j.d)
        a.mov(rcon.d, 1)
        plain, rotate, next_ = a.new("plain"), a.new("rotate"), a.new("next")
        with a.loop(left.d):
            a.mov(rax.d, words[nk, 4, -4])
            a.test(j, j)
            a.jz(rotate)
            a.cmp(nk, 8)
            a.jnz(plain)
            a.cmp(j, 4)
            a.jnz(plain)
            sub_word(a)
            a.jmp(plain)
            a.label(rotate)
            sub_word(a)
            a.ror(rax.d, 8)
            a.xor(rax.d, rcon.d)
            a.mov(rcx.d, rcon.d)
            a.shr(rcx.d, 7)
            a.imul(rcx.d, rcx.d, 0x11B)
            a.add(rcon.d, rcon.d)
            a.xor(rcon.d, rcx.d)
            a.label(plain)
            a.xor(rax.d, words[0])
            a.mov(words[nk, 4, 0], rax.d)
            a.add(words, 4)
            a.add(j, 1)
            a.cmp(j, nk)
            a.jnz(next_)
            a.xor(j.d, j.d)
            a.label(next_)

        # H = AES(0), bytes turned round, times x: (h << 1) mod the polynomial.
        a.pxor(XMM[0], XMM[0])
        aes_block(a, XMM[0], rdi)
        low, high = rax, rdx
        a.movq(low, XMM[0])
        a.pextrq(high, XMM[0], 1)
        a.bswap(low)
        a.bswap(high)
        a.xchg(low, high)
        a.mov(rcx, high)
        a.sar(rcx, 63)
        a.shld(high, low, 1)
        a.add(low, low)
        a.mov(rsi, 0xC200000000000000)
        a.and_(rsi, rcx)
        a.xor(high, rsi)
        a.and_(rcx, 1)
        a.xor(low, rcx)
        a.movq(XMM[0], low)
        a.pinsrq(XMM[0], high, 1)
        a.data("gcm_poly", (1).to_bytes(8, "little") + (0xC2 << 56).to_bytes(8, "little"), 16)
        a.movdqa(XMM[1], XMM[0])
        a.mov(rcx.d, 8)
        a.lea(rsi, rdi[POWERS])
        with a.loop(rcx.d):
            a.movdqu(rsi[0], XMM[0])
            a.pshufd(XMM[2], XMM[0], 0x4E)
            a.pxor(XMM[2], XMM[0])
            a.movdqu(rsi[FOLDED - POWERS], XMM[2])
            a.add(rsi, 16)
            # The next power: low in 3, high in 0, middle in 2.
            a.movdqa(XMM[3], XMM[0])
            a.pclmulqdq(XMM[3], XMM[1], 0x00)
            a.pclmulqdq(XMM[0], XMM[1], 0x11)
            a.pclmulqdq(XMM[2], rdi[FOLDED], 0x00)
            a.movdqa(XMM[5], XMM[0])
            reduce(a, XMM[3], XMM[5], XMM[2], XMM[4])
            a.movdqa(XMM[0], XMM[3])


def sub_word(a):
    """eax = SubWord(eax), by the instruction made for key schedules. FIPS 197, 5.2."""
    a.movd(XMM[0], rax.d)
    a.pshufd(XMM[0], XMM[0], 0)
    a.aeskeygenassist(XMM[0], XMM[0], 0)
    a.movd(rax.d, XMM[0])


def aes_block(a, x, ctx):
    """One block in x. Clobbers rax, rcx, xmm7."""
    a.movdqu(XMM[7], ctx[0])
    a.pxor(x, XMM[7])
    a.mov(rcx, ctx[ROUNDS])
    a.lea(rax, ctx[16])
    a.sub(rcx, 1)
    with a.loop(rcx):
        a.movdqu(XMM[7], rax[0])
        a.aesenc(x, XMM[7])
        a.add(rax, 16)
    a.movdqu(XMM[7], rax[0])
    a.aesenclast(x, XMM[7])


def reduce(a, low, high, mid, t):
    """low = the 256-bit product (Karatsuba's middle still raw) mod the polynomial."""
    a.pxor(mid, low)
    a.pxor(mid, high)
    a.movdqa(t, mid)
    a.pslldq(t, 8)
    a.pxor(low, t)
    a.psrldq(mid, 8)
    a.pxor(high, mid)
    for _ in range(2):
        a.movdqa(t, low)
        a.pclmulqdq(t, a.at("gcm_poly"), 0x10)
        a.pshufd(low, low, 0x4E)
        a.pxor(low, t)
    a.pxor(low, high)


def ghash_clmul(a):
    """(ctx, y, data, n): fold n bytes, filled up with zeros, into y (as in memory)."""
    block = 0
    a.data("gcm_swap", bytes(range(15, -1, -1)), 16)
    with Function(a, "ghash_clmul", save=(), stack=64):
        y, low, high, mid, t, x = XMM[:6]
        n, m, power = rcx, r8, r9
        a.movdqu(y, rsi[0])
        a.pshufb(y, a.at("gcm_swap"))
        done, tail, enough = a.new("done"), a.new("tail"), a.new("enough")
        top = a.here("group")
        a.mov(m, n)
        a.shr(m, 4)
        a.jz(tail)
        a.cmp(m, 8)
        a.jbe(enough)
        a.mov(m.d, 8)
        a.label(enough)
        full = a.here("full")
        a.mov(rax, m)
        a.shl(rax, 4)
        a.sub(n, rax)
        a.lea(power, rdi[rax, 1, POWERS - 16])
        for r in (low, high, mid):
            a.pxor(r, r)
        with a.loop(m):
            a.movdqu(x, rdx[0])
            a.pshufb(x, a.at("gcm_swap"))
            a.pxor(x, y)
            a.pxor(y, y)
            a.add(rdx, 16)
            a.movdqu(XMM[6], power[0])
            a.movdqu(XMM[7], power[FOLDED - POWERS])
            a.sub(power, 16)
            a.movdqa(t, x)
            a.pclmulqdq(t, XMM[6], 0x00)
            a.pxor(low, t)
            a.pshufd(t, x, 0x4E)
            a.pxor(t, x)
            a.pclmulqdq(x, XMM[6], 0x11)
            a.pxor(high, x)
            a.pclmulqdq(t, XMM[7], 0x00)
            a.pxor(mid, t)
        reduce(a, low, high, mid, t)
        a.movdqa(y, low)
        a.test(n, n)
        a.jg(top)
        a.jmp(done)

        a.label(tail)
        a.test(n, n)
        a.jz(done)
        a.mov(r10, rdi)
        a.mov(r11, rsi)
        a.pxor(t, t)
        a.movdqa(rsp[block], t)
        a.lea(rdi, rsp[block])
        a.mov(rsi, rdx)
        a.mov(rdx, n)
        copy_bytes(a, rdi, rsi, rdx)
        a.mov(rdx, rdi)
        a.mov(rdi, r10)
        a.mov(rsi, r11)
        a.mov(m.d, 1)
        a.mov(n.d, 16)
        a.jmp(full)

        a.label(done)
        a.pshufb(y, a.at("gcm_swap"))
        a.movdqu(rsi[0], y)


def gcm_table(a):
    """For each place i and byte b: b at place i, times H. 16 x 256 x 16 bytes."""
    with Function(a, "gcm_table", save=(rbx, rbp)):
        a.mov(rdi[TABLE], rsi)
        a.mov(rbx, rsi)
        a.pxor(XMM[0], XMM[0])
        aes_block(a, XMM[0], rdi)
        high, low, t, u = r8, r9, rax, rcx
        a.movq(high, XMM[0])
        a.pextrq(low, XMM[0], 1)
        a.bswap(high)
        a.bswap(low)
        a.mov(rsi, 0xE1 << 56)
        a.mov(rbp.d, 16)
        with a.loop(rbp.d):
            a.xor(t.d, t.d)
            a.mov(rbx[0], t)
            a.mov(rbx[8], t)
            a.mov(rdx.d, 128 * 16)
            bit = a.here("bit")
            for r, at in ((high, 0), (low, 8)):
                a.mov(t, r)
                a.bswap(t)
                a.mov(rbx[rdx, 1, at], t)
            # H times x: a shift to the right, for the highest bit is x^0.
            a.mov(t, low)
            a.and_(t, 1)
            a.neg(t)
            a.and_(t, rsi)
            a.shrd(low, high, 1)
            a.shr(high, 1)
            a.xor(high, t)
            a.shr(rdx.d, 1)
            a.cmp(rdx.d, 16)
            a.jae(bit)
            # Sums of them: table[k + j] = table[k] + table[j] for j < k, k = 2, 4, .. 128.
            a.mov(rdx.d, 2 * 16)
            power = a.here("power")
            a.mov(r10, rbx[rdx, 1, 0])
            a.mov(r11, rbx[rdx, 1, 8])
            a.lea(rdi, rbx[rdx])
            a.mov(u.d, 16)
            each = a.here("each")
            for r, at in ((r10, 0), (r11, 8)):
                a.mov(t, r)
                a.xor(t, rbx[u, 1, at])
                a.mov(rdi[u, 1, at], t)
            a.add(u, 16)
            a.cmp(u, rdx)
            a.jb(each)
            a.add(rdx, rdx)
            a.cmp(rdx.d, 256 * 16)
            a.jb(power)
            a.add(rbx, 4096)


def ghash_table(a):
    """As ghash_clmul: sixteen look-ups a block."""
    block = 0
    with Function(a, "ghash_table", save=(rbx, rbp), stack=64):
        table, low, high, t, n = r8, r9, r10, r11, rcx
        a.mov(table, rdi[TABLE])
        a.mov(low, rsi[0])
        a.mov(high, rsi[8])
        done, tail = a.new("done"), a.new("tail")
        top = a.here("blocks")
        a.cmp(n, 16)
        a.jb(tail)
        full = a.here("full")
        a.xor(low, rdx[0])
        a.xor(high, rdx[8])
        first = True
        to = (rbx, rbp)
        for half, r in enumerate((low, high)):
            for i in range(8):
                if i == 0:
                    a.mov(t, r)
                    a.shl(t, 4)
                else:
                    a.mov(t, r)
                    a.shr(t, 8 * i - 4)
                a.and_(t.d, 0xFF0)
                for k in (0, 1):
                    place = table[t, 1, 4096 * (8 * half + i) + 8 * k]
                    if first:
                        a.mov(to[k], place)
                    else:
                        a.xor(to[k], place)
                first = False
        a.mov(low, rbx)
        a.mov(high, rbp)
        a.add(rdx, 16)
        a.sub(n, 16)
        a.jnc(top)
        a.jmp(done)

        a.label(tail)
        a.test(n, n)
        a.jz(done)
        a.xor(t.d, t.d)
        a.mov(rsp[block], t)
        a.mov(rsp[block + 8], t)
        a.mov(r11, n)
        a.lea(rbx, rsp[block])
        copy_bytes(a, rbx, rdx, r11)
        a.mov(rdx, rbx)
        a.xor(n.d, n.d)
        a.jmp(full)

        a.label(done)
        a.mov(rsi[0], low)
        a.mov(rsi[8], high)


def ctr(a, name, wide):
    """(ctx, buf, n): counter mode in place, from counter 2. `wide`: two blocks a register."""
    group = 256 if wide else 128
    with Function(a, name, save=(rbx,), stack=group):
        x = [r.y for r in XMM[:8]] if wide else XMM[:8]
        key = XMM[8].y if wide else XMM[8]
        base, high = XMM[9], XMM[10]
        ptr, left, counter, back = r8, rdx, r9.d, r10
        done, tail = a.new("done"), a.new("tail")
        a.vmovdqu(base, rdi[NONCE])
        a.mov(counter, 2)
        a.xor(back.d, back.d)
        top = a.here("group")
        a.test(left, left)
        a.jz(done)
        a.mov(ptr, rsi)
        a.cmp(left, group)
        a.jb(tail)
        full = a.here("full")

        def load_key(at):
            if wide:
                a.vbroadcasti128(key, at)
            else:
                a.vmovdqu(key, at)

        def count(x_, i):
            a.lea(rax.d, counter.q[i])
            a.bswap(rax.d)
            a.vpinsrd(x_, base, rax.d, 3)

        for i, r in enumerate(x):
            if wide:
                count(r.x, 2 * i)
                count(high, 2 * i + 1)
                a.vinserti128(r, r, high, 1)
            else:
                count(r, i)
        a.add(counter, group // 16)
        load_key(rdi[0])
        for r in x:
            a.vpxor(r, r, key)
        a.mov(rcx, rdi[ROUNDS])
        a.sub(rcx, 1)
        a.lea(rax, rdi[16])
        with a.loop(rcx):
            load_key(rax[0])
            a.add(rax, 16)
            for r in x:
                a.vaesenc(r, r, key)
        load_key(rax[0])
        for i, r in enumerate(x):
            a.vaesenclast(r, r, key)
            place = ptr[r.size * i]
            a.vpxor(r, r, place)
            a.vmovdqu(place, r)
        a.test(back, back)
        a.jnz("." + name)
        a.add(rsi, group)
        a.sub(left, group)
        a.jmp(top)

        a.label(tail)
        a.mov(ptr, rsp)
        a.mov(back.d, 1)
        copy_bytes(a, ptr, rsi, left)
        a.jmp(full)
        a.label("." + name)
        copy_bytes(a, rsi, ptr, left)
        a.label(done)
        a.vzeroupper()


def gcm(a, name, ctr_name, ghash):
    """The AEAD: one call a record. Returns 1, or 0 for a wrong tag."""
    y, lengths, tag, first = 0, 16, 32, 48
    ctx, buf, n, aad, aad_len, opening = r15, rbx, rbp, r12, r13, r14
    with Function(a, name, stack=64):
        for to, arg in zip((ctx, buf, n, aad, aad_len, opening), (rdi, rsi, rdx, rcx, r8, r9)):
            a.mov(to, arg)
        # E(J0), J0 being the nonce and a counter of 1, hides the tag. SP 800-38D, 7.1.
        a.mov(sized(ctx[NONCE + 12], 4), 1 << 24)
        a.movdqu(XMM[0], ctx[NONCE])
        aes_block(a, XMM[0], ctx)
        a.movdqa(rsp[first], XMM[0])
        a.pxor(XMM[0], XMM[0])
        a.movdqa(rsp[y], XMM[0])

        def fold(data, count):
            a.mov(rdi, ctx)
            a.lea(rsi, rsp[y])
            if isinstance(data, int):
                a.lea(rdx, rsp[data])
                a.mov(rcx.d, count)
            else:
                a.mov(rdx, data)
                a.mov(rcx, count)
            a.call(ghash)

        def crypt():
            a.mov(rdi, ctx)
            a.mov(rsi, buf)
            a.mov(rdx, n)
            a.call(ctr_name)

        sealed, bad, out = a.new("sealed"), a.new("bad"), a.new("out")
        a.test(opening, opening)
        a.jnz(sealed)
        crypt()
        a.label(sealed)
        fold(aad, aad_len)
        fold(buf, n)
        for r, at in ((aad_len, 0), (n, 8)):
            a.mov(rax, r)
            a.shl(rax, 3)
            a.bswap(rax)
            a.mov(rsp[lengths + at], rax)
        fold(lengths, 16)
        for at in (0, 8):
            a.mov(rax, rsp[y + at])
            a.xor(rax, rsp[first + at])
            a.mov(rsp[tag + at], rax)
        finish_tag(a, tag, buf, n, opening, crypt, bad, out)
        a.label(bad)
        a.xor(rax.d, rax.d)
        a.label(out)


def emit(a):
    gcm_init(a)
    ghash_clmul(a)
    gcm_table(a)
    ghash_table(a)
    ctr(a, "ctr_xmm", False)
    ctr(a, "ctr_ymm", True)
    gcm(a, "gcm_xmm", "ctr_xmm", "ghash_clmul")
    gcm(a, "gcm_ymm", "ctr_ymm", "ghash_clmul")
    # The translator does two aesenc as fast as one of the wide kind.
    gcm(a, "gcm_xmm_table", "ctr_xmm", "ghash_table")
