"""SHA-256 and SHA-512 compression (FIPS 180-4), and Keccak-f (FIPS 202), in machine code.

    sha256, sha512 (state, data, blocks)    state: eight words as the machine has them
    sha256_ni (state, data, blocks)         by the CPU's SHA instructions, where it has them
    sha256_finish, sha256_ni_finish, sha512_finish (state, data, n, total, out)
    sha256_hmac, sha256_ni_hmac, sha512_hmac (out, key, key_len, data, n, iv)
    keccak_f (state)                        25 lanes

Sixteen words of message schedule live in xmm registers, as a move from there
costs less than a load under QEMU's translator. Nothing depends on the data.
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
    sized,
)  # fmt: skip
from stack.crypto.plain import K256, K512, KECCAK_DEST, KECCAK_RC, KECCAK_ROT


def _sha2(a, name, wide):
    """Either hash: only the word's width, the rotations and the number of rounds differ."""
    size = 8 if wide else 4
    rounds = 80 if wide else 64
    upper_e, upper_a = ((14, 18, 41), (28, 34, 39)) if wide else ((6, 11, 25), (2, 13, 22))
    lower0, lower1 = ((1, 8, 7), (19, 61, 6)) if wide else ((7, 18, 3), (17, 19, 10))
    constants = "%s_k" % name
    a.data(constants, b"".join(k.to_bytes(size, "little") for k in (K512 if wide else K256)))
    word = (lambda r: r) if wide else (lambda r: r.d)
    get = a.movq if wide else a.movd

    v = [rax, rbx, rcx, rdx, rsi, rdi, rbp, r8]
    w, t, u, s = r12, r9, r10, r11
    state, data = r14, r13
    # r15 points to the constants.
    with Function(a, name, stack=64):
        a.mov(state, rdi)
        a.mov(data, rsi)
        a.mov(rsp[0], rdx)

        def round_(i, v):
            x, b, c, d, e, f, g, h = v
            # t1 = h + S1(e) + Ch(e, f, g) + K + W
            a.mov(word(t), r15[size * i])
            a.lea(h, h[w])
            a.lea(h, h[t])
            a.rorx(word(t), word(e), upper_e[0])
            a.rorx(word(u), word(e), upper_e[1])
            a.rorx(word(s), word(e), upper_e[2])
            a.xor(t, u)
            a.xor(t, s)
            a.mov(u, f)
            a.xor(u, g)
            a.and_(u, e)
            a.xor(u, g)
            a.lea(h, h[t])
            a.lea(h, h[u])
            a.lea(d, d[h])
            # t2 = S0(a) + Maj(a, b, c)
            a.rorx(word(t), word(x), upper_a[0])
            a.rorx(word(u), word(x), upper_a[1])
            a.rorx(word(s), word(x), upper_a[2])
            a.xor(t, u)
            a.xor(t, s)
            a.mov(u, x)
            a.or_(u, b)
            a.and_(u, c)
            a.mov(s, x)
            a.and_(s, b)
            a.or_(u, s)
            a.lea(h, h[t])
            a.lea(h, h[u])

        def sigma(dst, x, amounts, i):
            """dst += the message schedule's s0 or s1 of XMM[i]. Clobbers x, t."""
            get(word(x), XMM[i])
            a.rorx(word(s), word(x), amounts[0])
            a.rorx(word(t), word(x), amounts[1])
            a.shr(word(x), amounts[2])
            a.xor(s, t)
            a.xor(s, x)
            a.lea(dst, dst[s])

        block = a.here("block")
        for i, r in enumerate(v):
            a.mov(word(r), state[size * i])
        a.lea(r15, a.at(constants))
        order = list(v)
        for i in range(16):
            a.movbe(word(w), data[size * i])
            get(XMM[i], word(w))
            round_(i, order)
            order = order[-1:] + order[:-1]
        a.mov(sized(rsp[8], 4), rounds // 16 - 1)
        turn = a.here("turn")
        a.add(r15, 16 * size)
        for i in range(16):
            get(word(w), XMM[i])
            get(word(t), XMM[(i + 9) & 15])
            a.lea(w, w[t])
            sigma(w, u, lower0, (i + 1) & 15)
            sigma(w, u, lower1, (i + 14) & 15)
            get(XMM[i], word(w))
            round_(i, order)
            order = order[-1:] + order[:-1]
        a.dec(sized(rsp[8], 4))
        a.jnz(turn)
        for i, r in enumerate(v):
            a.add(word(r), state[size * i])
            a.mov(state[size * i], word(r))
        a.add(data, 16 * size)
        a.dec(sized(rsp[0], 8))
        a.jnz(block)


def _finish(a, name, compress, wide):
    """(state, data, n, total, out): hash n more bytes, pad for `total` in all, write the digest.

    The state is left as it was. `out` gets eight words in network order.
    """
    size, word, room = (128, 8, 16) if wide else (64, 4, 8)
    state, block, out, data, left, total = 0, 64, 64 + 2 * size, r12, r13, r14
    with Function(a, name, stack=out + 8):
        a.mov(data, rsi)
        a.mov(left, rdx)
        a.mov(total, rcx)
        a.mov(rsp[out], r8)
        for i in range(word):
            a.mov(rax, rdi[8 * i])
            a.mov(rsp[state + 8 * i], rax)
        one, go, none = a.new("one"), a.new("go"), a.new("none")
        a.mov(rdx, left)
        a.shr(rdx, 7 if wide else 6)
        a.jz(none)
        a.mov(rdi, rsp)
        a.mov(rsi, data)
        a.mov(rax, rdx)
        a.shl(rax, 7 if wide else 6)
        a.add(data, rax)
        a.sub(left, rax)
        a.call(compress)
        a.label(none)
        a.xor(rax.d, rax.d)
        for i in range(0, 2 * size, 8):
            a.mov(rsp[block + i], rax)
        a.lea(rbx, rsp[block])
        a.test(left, left)
        a.jz(go)
        copy_bytes(a, rbx, data, left)
        a.label(go)
        a.mov(rax.d, 0x80)
        a.mov(rbx[left], rax.b)
        # The length in bits ends the first block, or the second if there is no room.
        a.mov(rdx.d, 1)
        a.mov(rcx, rbx)
        a.cmp(left, size - room)
        a.jb(one)
        a.mov(rdx.d, 2)
        a.add(rcx, size)
        a.label(one)
        a.mov(rax, total)
        a.shl(rax, 3)
        a.movbe(rcx[size - 8], rax)
        a.mov(rdi, rsp)
        a.mov(rsi, rbx)
        a.call(compress)
        a.mov(rdi, rsp[out])
        for i in range(8):
            r = rax if wide else rax.d
            a.mov(r, rsp[state + word * i])
            a.movbe(rdi[word * i], r)


def _hmac(a, hash_, compress, wide):
    """(out, key, key_len, data, n, iv): HMAC with a key of at most a block. RFC 2104.

    iv: the hash's eight words, then the digest's length as eight bytes.
    """
    size = 128 if wide else 64
    words = size // 16
    state, block, inner, key, out, data, n, iv = 0, 64, 192, 256, 384, 392, 400, 408
    with Function(a, hash_ + "_hmac", stack=416):
        for off, r in ((out, rdi), (data, rcx), (n, r8), (iv, r9)):
            a.mov(rsp[off], r)
        a.xor(rax.d, rax.d)
        for i in range(0, size, 8):
            a.mov(rsp[key + i], rax)
        empty = a.new("empty")
        a.test(rdx, rdx)
        a.jz(empty)
        a.lea(rdi, rsp[key])
        copy_bytes(a, rdi, rsi, rdx)
        a.label(empty)
        for pad in (0x36, 0x5C):
            a.mov(rcx, pad * 0x0101010101010101)
            for i in range(0, size, 8):
                a.mov(rax, rsp[key + i])
                a.xor(rax, rcx)
                a.mov(rsp[block + i], rax)
            a.mov(rsi, rsp[iv])
            for i in range(0, 8 * words, 8):
                a.mov(rax, rsi[i])
                a.mov(rsp[state + i], rax)
            a.mov(rdi, rsp)
            a.lea(rsi, rsp[block])
            a.mov(rdx.d, 1)
            a.call(compress)
            a.mov(rdi, rsp)
            if pad == 0x36:
                a.mov(rsi, rsp[data])
                a.mov(rdx, rsp[n])
                a.lea(r8, rsp[inner])
            else:
                a.lea(rsi, rsp[inner])
                a.mov(rdx, rsp[iv])
                a.mov(rdx, rdx[8 * words])
                a.mov(r8, rsp[out])
            a.lea(rcx, rdx[size])
            a.call(hash_ + "_finish")
        a.xor(rax.d, rax.d)
        for i in range(0, key + size, 8):
            a.mov(rsp[i], rax)


def sha256_ni(a):
    """Intel's SHA extensions: two rounds an instruction. The state is kept as ABEF and CDGH."""
    a.data("sha256_k", b"".join(k.to_bytes(4, "little") for k in K256))
    a.data("sha256_swap", bytes(i ^ 3 for i in range(16)))
    wk, s0, s1, save0, save1, t = XMM[0], XMM[1], XMM[2], XMM[7], XMM[8], XMM[9]
    m = XMM[3:7]
    with Function(a, "sha256_ni", save=()):
        a.lea(rcx, a.at("sha256_k"))
        a.movdqu(s0, rdi[0])  # d c b a (highest first)
        a.movdqu(s1, rdi[16])  # h g f e
        a.pshufd(s0, s0, 0xB1)  # c d a b
        a.pshufd(s1, s1, 0x1B)  # e f g h
        a.movdqa(t, s0)
        a.palignr(s0, s1, 8)  # a b e f
        a.pblendw(s1, t, 0xF0)  # c d g h
        block = a.here("block")
        a.movdqa(save0, s0)
        a.movdqa(save1, s1)
        for i in range(4):
            a.movdqu(m[i], rsi[16 * i])
            a.pshufb(m[i], a.at("sha256_swap"))
        for i in range(16):
            now = m[i & 3]
            a.movdqa(wk, now)
            a.paddd(wk, rcx[16 * i])
            a.sha256rnds2(s1, s0)
            a.pshufd(wk, wk, 0x0E)
            a.sha256rnds2(s0, s1)
            if i < 12:
                # W of four rounds further, in place of what was used just now.
                a.sha256msg1(now, m[(i + 1) & 3])
                a.movdqa(t, m[(i + 3) & 3])
                a.palignr(t, m[(i + 2) & 3], 4)
                a.paddd(now, t)
                a.sha256msg2(now, m[(i + 3) & 3])
        a.paddd(s0, save0)
        a.paddd(s1, save1)
        a.add(rsi, 64)
        a.dec(rdx)
        a.jnz(block)
        a.pshufd(s0, s0, 0x1B)  # f e b a
        a.pshufd(s1, s1, 0xB1)  # d c h g
        a.movdqa(t, s0)
        a.pblendw(s0, s1, 0xF0)  # d c b a
        a.palignr(s1, t, 8)  # h g f e
        a.movdqu(rdi[0], s0)
        a.movdqu(rdi[16], s1)


def keccak_f(a):
    """24 rounds. Lanes are read from one buffer and written to another, by turns."""
    a.data("keccak_rc", b"".join(c.to_bytes(8, "little") for c in KECCAK_RC))
    c = [rax, rbx, rcx, rdx, rbp]
    d = [r8, r9, r10, r11, r12]
    t, rc, count = r13, r14, r15
    source = {KECCAK_DEST[i]: i for i in range(25)}
    with Function(a, "keccak_f", stack=200):
        a.mov(count.d, 12)
        a.lea(rc, a.at("keccak_rc"))
        top = a.here("rounds")

        def one(read, write):
            for x in range(5):
                a.mov(c[x], read(x))
                for y in range(5, 25, 5):
                    a.xor(c[x], read(x + y))
            for x in range(5):
                a.rorx(d[x], c[(x + 1) % 5], 63)
                a.xor(d[x], c[x - 1])
            for y in range(0, 25, 5):
                for x in range(5):
                    i = source[y + x]
                    a.mov(c[x], read(i))
                    a.xor(c[x], d[i % 5])
                    if KECCAK_ROT[i]:
                        a.rorx(c[x], c[x], 64 - KECCAK_ROT[i])
                for x in range(5):
                    a.andn(t, c[(x + 1) % 5], c[(x + 2) % 5])
                    a.xor(t, c[x])
                    if y + x == 0:
                        a.xor(t, rc[0])
                    a.mov(write(y + x), t)
            a.add(rc, 8)

        one(lambda i: rdi[8 * i], lambda i: rsp[8 * i])
        one(lambda i: rsp[8 * i], lambda i: rdi[8 * i])
        a.dec(count.d)
        a.jnz(top)


def emit(a):
    _sha2(a, "sha256", False)
    _sha2(a, "sha512", True)
    sha256_ni(a)
    _finish(a, "sha256_finish", "sha256", False)
    _finish(a, "sha256_ni_finish", "sha256_ni", False)
    _finish(a, "sha512_finish", "sha512", True)
    _hmac(a, "sha256", "sha256", False)
    _hmac(a, "sha256_ni", "sha256_ni", False)
    _hmac(a, "sha512", "sha512", True)
    keccak_f(a)
