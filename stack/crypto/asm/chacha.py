"""ChaCha20 (RFC 8439) in machine code, twice.

    chacha20_scalar, chacha20_avx2 (state, buf, n)
        Exclusive-ors buf[0:n] with the key stream, in place. state: 16 words,
        of which the counter (word 12) is advanced by the blocks used.

Scalar: one block at a time in the integer registers; rotations by rorx, which
sets no flags: the fastest under QEMU's translator. AVX2: eight blocks at a
time, one register a word. Both take a time that depends on n alone.
"""

from stack.crypto.asm.x86 import (
    GPR,
    XMM,
    Function,
    r8,
    rax,
    rcx,
    rdi,
    rdx,
    rsi,
    rsp,
    sized,
)  # fmt: skip

COLUMNS = ((0, 4, 8, 12), (1, 5, 9, 13), (2, 6, 10, 14), (3, 7, 11, 15))
DIAGONALS = ((0, 5, 10, 15), (1, 6, 11, 12), (2, 7, 8, 13), (3, 4, 9, 14))


SIGMA = (0x61707865, 0x3320646E, 0x79622D32, 0x6B206574)


def chacha20_scalar(a):
    state, ptr, left, real, counter, rounds, block = 0, 8, 16, 24, 32, 40, 64
    with Function(a, "chacha20_scalar", stack=block + 64):
        a.mov(rsp[state], rdi)
        a.mov(rsp[ptr], rsi)
        a.mov(rsp[left], rdx)
        # The initial words lie in xmm0..10 but for the constants and the counter: moves
        # from there are cheaper than loads.
        home = dict(zip((4, 5, 6, 7, 8, 9, 10, 11, 13, 14, 15), XMM))
        for i, x in home.items():
            a.movd(x, rdi[4 * i])
        a.mov(rax.d, rdi[48])
        a.mov(rsp[counter], rax.d)

        next_block = a.here("block")
        done, tail = a.new("done"), a.new("tail")
        a.mov(rdx, rsp[left])
        a.test(rdx, rdx)
        a.jz(done)
        a.cmp(rdx, 64)
        a.jb(tail)
        full = a.here("full")
        # One of words 8..11 is outside, in one of two xmm registers in turn.
        slots = [XMM[15], XMM[14]]
        free = [r for r in GPR if r is not rsp]
        reg = {i: free.pop(0) for i in range(16) if i != 11}
        a.movdqa(slots[0], home[11])
        for i, r in reg.items():
            if i == 12:
                a.mov(r.d, rsp[counter])
            elif i < 4:
                a.mov(r.d, SIGMA[i])
            else:
                a.movd(r.d, home[i])
        a.mov(sized(rsp[rounds], 4), 10)

        def step(x, y, z, n):
            """x += y; z = (z ^ x) <<< n. The upper halves hold rubbish."""
            a.lea(reg[x], reg[x][reg[y]])
            a.xor(reg[z], reg[x])
            a.rorx(reg[z].d, reg[z].d, 32 - n)

        def quarter(w, x, y, z):
            step(w, x, z, 16)
            step(y, z, x, 12)
            step(w, x, z, 8)
            step(y, z, x, 7)

        def exchange(out, inside):
            """Word `out` leaves its register to `inside`, which was outside."""
            r = reg.pop(out)
            a.movq(slots[1], r)
            a.movq(r, slots[0])
            reg[inside] = r
            slots.reverse()

        top = a.here("rounds")
        for q in COLUMNS[:3]:
            quarter(*q)
        exchange(8, 11)
        quarter(*COLUMNS[3])
        for q in DIAGONALS[:2]:
            quarter(*q)
        exchange(11, 8)
        for q in DIAGONALS[2:]:
            quarter(*q)
        a.dec(sized(rsp[rounds], 4))
        a.jnz(top)

        # Add the initial words and exclusive-or, two words at a time. Word 0 waits in
        # the free slot, its register being the temporary; word 15's takes the pointer.
        t, p = reg[0], reg[15]
        a.movq(slots[1], t)

        def add_initial(i, r):
            if i == 12:
                a.add(r.d, rsp[counter])
            elif i < 4:
                a.add(r.d, SIGMA[i])
            else:
                a.movd(t.d, home[i])
                a.add(r.d, t.d)

        for i in (14, 12, 10, 8, 6, 4, 2, 0):
            if i == 10:
                reg[11] = reg[12]
                a.movq(reg[11], slots[0])
            if i == 0:
                reg[0] = reg[2]
                a.movq(reg[0], slots[1])
            low, high = reg[i], reg[i + 1]
            add_initial(i, low)
            add_initial(i + 1, high)
            a.shl(high, 32)
            a.or_(low, high)
            if i == 14:
                a.mov(p, rsp[ptr])
            a.xor(low, p[4 * i])
            a.mov(p[4 * i], low)
        a.add(sized(rsp[counter], 4), 1)
        a.sub(sized(rsp[left], 8), 64)
        a.jb(".scalar_back")
        a.add(p, 64)
        a.mov(rsp[ptr], p)
        a.jmp(next_block)

        # Less than a block is left: the block code works on a copy.
        a.label(tail)
        a.mov(rsi, rsp[ptr])
        a.mov(rsp[real], rsi)
        a.lea(rdi, rsp[block])
        a.mov(rsp[ptr], rdi)
        copy_bytes(a, rdi, rsi, rdx)
        a.jmp(full)
        a.label(".scalar_back")
        a.mov(rdx, rsp[left])
        a.add(rdx, 64)
        a.mov(rdi, rsp[real])
        a.lea(rsi, rsp[block])
        copy_bytes(a, rdi, rsi, rdx)

        a.label(done)
        a.mov(rdi, rsp[state])
        a.mov(rax.d, rsp[counter])
        a.mov(rdi[48], rax.d)


def copy_bytes(a, dst, src, n):
    """A byte loop for the ends of buffers; n > 0. Clobbers rax, rcx."""
    a.xor(rcx.d, rcx.d)
    top = a.here("copy")
    a.movzx8(rax.d, src[rcx])
    a.mov(dst[rcx], rax.b)
    a.add(rcx, 1)
    a.cmp(rcx, n)
    a.jb(top)


def chacha20_avx2(a):
    # On the stack: words 8..11 by turns, the end of the buffer, words 8..15 when done.
    spill, block, out = -256, 128, 640 - 256
    with Function(a, "chacha20_avx2", save=(), stack=896):
        y = [x.y for x in XMM]
        a.data("chacha_lanes", b"".join(i.to_bytes(4, "little") for i in range(8)))
        a.data("chacha_rot16", bytes((2, 3, 0, 1, 6, 7, 4, 5, 10, 11, 8, 9, 14, 15, 12, 13)) * 2)
        a.data("chacha_rot8", bytes((3, 0, 1, 2, 7, 4, 5, 6, 11, 8, 9, 10, 15, 12, 13, 14)) * 2)
        done, tail = a.new("done"), a.new("tail")
        top = a.here("blocks")
        a.test(rdx, rdx)
        a.jz(done)
        a.cmp(rdx, 512)
        a.jb(tail)
        a.mov(r8, rsi)
        full = a.here("full")
        # A register a word: 0..7 in y0..y7, 12..15 in y8..y11; 8 and 9, then 10 and 11
        # take turns in y12 and y13; y14, y15 are for rotations.
        reg = {i: y[i] for i in range(8)}
        reg.update({12 + i: y[8 + i] for i in range(4)})
        reg.update({8: y[12], 9: y[13]})
        t = (y[14], y[15])

        def initial(dst, i):
            a.vpbroadcastd(dst, rdi[4 * i])
            if i == 12:
                a.vpaddd(dst, dst, a.at("chacha_lanes"))

        for i, r in reg.items():
            initial(r, i)
        for i in (10, 11):
            initial(t[0], i)
            a.vmovdqa(rsp[spill + 32 * i], t[0])
        a.mov(rax.d, 10)

        def quarters(pair):
            """Two quarter rounds, interleaved for their latency."""

            def each(f):
                for k, q in enumerate(pair):
                    f(*[reg[i] for i in q], t[k])

            def add_xor(x, p, q):
                a.vpaddd(x, x, p)
                a.vpxor(q, q, x)

            def turn(r, s, n):
                a.vpsrld(s, r, 32 - n)
                a.vpslld(r, r, n)
                a.vpor(r, r, s)

            each(lambda w, x, p, q, s: add_xor(w, x, q))
            each(lambda w, x, p, q, s: a.vpshufb(q, q, a.at("chacha_rot16")))
            each(lambda w, x, p, q, s: add_xor(p, q, x))
            each(lambda w, x, p, q, s: turn(x, s, 12))
            each(lambda w, x, p, q, s: add_xor(w, x, q))
            each(lambda w, x, p, q, s: a.vpshufb(q, q, a.at("chacha_rot8")))
            each(lambda w, x, p, q, s: add_xor(p, q, x))
            each(lambda w, x, p, q, s: turn(x, s, 7))

        def exchange(outs, ins):
            for o, i in zip(outs, ins):
                r = reg.pop(o)
                a.vmovdqa(rsp[spill + 32 * o], r)
                a.vmovdqa(r, rsp[spill + 32 * i])
                reg[i] = r

        with a.loop(rax.d):
            quarters(COLUMNS[:2])
            exchange((8, 9), (10, 11))
            quarters(COLUMNS[2:])
            quarters(DIAGONALS[:2])
            exchange((10, 11), (8, 9))
            quarters(DIAGONALS[2:])
        for i, r in reg.items():
            initial(t[0], i)
            a.vpaddd(r, r, t[0])
            if i >= 8:
                a.vmovdqa(rsp[out + 32 * i], r)
        for i in (10, 11):
            initial(t[0], i)
            a.vpaddd(t[0], t[0], rsp[spill + 32 * i])
            a.vmovdqa(rsp[out + 32 * i], t[0])

        def transpose(first):
            """y0..y7, words first..first+7 of eight blocks, to 32 bytes of each block, and out."""
            s = y[8:16]
            for k in range(4):
                a.vpunpckldq(s[2 * k], y[2 * k], y[2 * k + 1])
                a.vpunpckhdq(s[2 * k + 1], y[2 * k], y[2 * k + 1])
            for k in (0, 4):
                a.vpunpcklqdq(y[k], s[k], s[k + 2])
                a.vpunpckhqdq(y[k + 1], s[k], s[k + 2])
                a.vpunpcklqdq(y[k + 2], s[k + 1], s[k + 3])
                a.vpunpckhqdq(y[k + 3], s[k + 1], s[k + 3])
            for k in range(4):
                for half, sel in ((0, 0x20), (4, 0x31)):
                    a.vperm2i128(s[0], y[k], y[k + 4], sel)
                    place = r8[64 * (k + half) + 4 * first]
                    a.vpxor(s[0], s[0], place)
                    a.vmovdqu(place, s[0])

        transpose(0)
        for i in range(8):
            a.vmovdqa(y[i], rsp[out + 32 * (8 + i)])
        transpose(8)
        a.cmp(rdx, 512)
        a.jb(".avx2_back")
        a.add(sized(rdi[48], 4), 8)
        a.add(rsi, 512)
        a.sub(rdx, 512)
        a.jmp(top)

        a.label(tail)
        a.lea(r8, rsp[block])
        copy_bytes(a, r8, rsi, rdx)
        a.jmp(full)
        a.label(".avx2_back")
        copy_bytes(a, rsi, r8, rdx)
        a.add(rdx, 63)
        a.shr(rdx, 6)
        a.add(rdi[48], rdx.d)
        a.label(done)
        a.vzeroupper()
