"""Montgomery multiplication modulo a prime of few signed powers of two: P-256 and P-384.

    {name}_mul (rdi, rsi, rdx)          [rdi] = [rsi] [rdx] / R mod p

R = 2^(w n). An element is n limbs of w bits in 64-bit words; limbs and value may
be larger by some bits, which sums use: there is no carry chain and no
comparison anywhere, and nothing depends on the data. A product of factors below
x p and y p is below (1 + x y p / R) p, and p / R is at most 2^-14. A difference
is formed with `bias` added, for which the subtrahend has to be below 16 p and a
sum of at most eight products. Everything but rsp is clobbered.
"""

from stack.crypto.asm.x86 import (
    XMM,
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
)  # fmt: skip


class Field:
    def __init__(self, name, p, w, n):
        self.name = name
        self.p = p
        self.w = w
        self.n = n
        self.size = 8 * n
        self.R = 1 << w * n
        self.terms = _powers(p)
        # -1/p mod 2^w, as shifts: p = -1 + 2^s (mod 2^w) has the inverse 1 + 2^s + 2^2s ...
        self.inverse = -pow(p, -1, 1 << w) % (1 << w)
        self.bias = self._bias()

    def limbs(self, v):
        return [v >> self.w * i & (1 << self.w) - 1 for i in range(self.n - 1)] + [
            v >> self.w * (self.n - 1)
        ]

    def constant(self, v):
        """The bytes of v in Montgomery form."""
        return b"".join(x.to_bytes(8, "little") for x in self.limbs(v * self.R % self.p))

    def _bias(self):
        """64 p, with every limb at least what a limb of a subtrahend can be: 8 (2^w - 1)."""
        n, w = self.n, self.w
        big = 1 << w + 3
        v = self.limbs(64 * self.p)
        for i in range(n - 1):
            v[i] += big
            v[i + 1] -= big >> w
        assert min(v) >= 0 and sum(x << w * i for i, x in enumerate(v)) == 64 * self.p
        # The top limb of a subtrahend below 16 p.
        assert v[n - 1] > 16 * self.p >> w * (n - 1)
        return v

    def emit(self, a):
        n, w = self.n, self.w
        mask_value = (1 << w) - 1
        f = [rbx, rbp, r8, r9, r10, r13, r14][:n]
        low, high, mask = r11, r12, r15
        g = XMM[:n]
        m = XMM[n : 2 * n]
        a.align(64)
        a.label(self.name + "_mul")
        for i in range(n):
            a.mov(rax, rdx[8 * i])
            a.movq(g[i], rax)
        for i in range(n):
            a.mov(f[i], rsi[8 * i])
        a.mov(mask, mask_value)

        def shifted(q, shift, sign):
            """acc += sign * q * 2^shift, for q (an xmm register) below 2^w."""
            a.movq(rax, q)
            a.mov(rdx, rax)
            a.shl(rax, shift)
            a.shr(rdx, 64 - shift)
            if sign > 0:
                a.add(low, rax)
                a.adc(high, rdx)
            else:
                a.sub(low, rax)
                a.sbb(high, rdx)

        def by_limb(limb):
            """The terms of p in one limb, without the -1 of the lowest (see below)."""
            for sign, e in self.terms:
                if e and e // w == limb:
                    yield e - limb * w, sign

        for k in range(2 * n - 1):
            for i in range(max(0, k - n + 1), min(k, n - 1) + 1):
                a.movq(rax, g[k - i])
                a.mul(f[i])
                if k == 0:
                    a.mov(low, rax)
                    a.mov(high, rdx)
                else:
                    a.add(low, rax)
                    a.adc(high, rdx)
            for i in range(max(0, k - n + 1), min(k, n)):
                for shift, sign in by_limb(k - i):
                    shifted(m[i], shift, sign)
            if k < n:
                # m clears the lowest w bits: acc + m p = 0 mod 2^w.
                a.mov(rcx, low)
                for shift in self._inverse_shifts():
                    a.mov(rax, low)
                    a.shl(rax, shift)
                    a.add(rcx, rax)
                a.and_(rcx, mask)
                a.movq(m[k], rcx)
                for shift, sign in by_limb(0):
                    shifted(m[k], shift, sign)
                # The -1 of p would now take exactly the low bits away; the shift does.
            else:
                a.mov(rcx, low)
                a.and_(rcx, mask)
                a.mov(rdi[8 * (k - n)], rcx)
            a.shrd(low, high, w)
            a.sar(high, w)
        a.mov(rdi[8 * (n - 1)], low)
        a.ret()

    def _inverse_shifts(self):
        """The shifts s with inverse = 1 + sum of 2^s."""
        rest = self.inverse - 1
        return [s for s in range(self.w) if rest >> s & 1]


def _powers(p):
    """p as signed powers of two (the non-adjacent form): [(sign, exponent)]."""
    out = []
    e = 0
    while p:
        if p & 1:
            sign = 2 - (p & 3)
            out.append((sign, e))
            p -= sign
        p >>= 1
        e += 1
    return out
