"""Scalar multiplication on P-256 and P-384 in machine code.

    {name}_run (out, u, v, point, checked) -> 1, or 0 for infinity

computes uG + vP and writes x, y, as little-endian bytes like all numbers here.
u or v may be a null pointer: then that part is left out.

    v: windows of four bits from the top, table of 0..15 times P
    u: a comb of four teeth, 2d bits apart, in two tables d bits apart (d = bits / 8):
       d doublings and 2d additions. Entry 15 j + e - 1 of the tables, e = 1..15, is
       the sum of 2^(jd + 2dt) G over the bits t of e; they are made at build time

Jacobian coordinates. With `checked` zero nothing depends on u and v but the time
on their presence: digits are selected by masks over the whole table, and additions
of a zero digit are made and thrown away. The scalars are below the order, and then
no other exceptional case can arise: the partial sum and the addend have no bits in
common, so they are neither equal nor opposite. For uG + vP that is no longer so:
`checked` adds the tests for it (for verification, whose inputs are public).
"""

from stack.crypto.asm.field import Field
from stack.crypto.asm.inverse import table
from stack.crypto.asm.x86 import (
    Function,
    r8,
    r9,
    r10,
    r11,
    r12,
    r13,
    r14,
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
from stack.crypto.p256 import P256
from stack.crypto.p384 import P384


class Weierstrass:
    def __init__(self, a, name, curve, w, n):
        self.a = a
        self.name = name
        self.bytes = curve.size
        self.words = curve.size // 8
        self.field = Field(name, curve.p, w, n)
        self.size = size = 8 * n
        a.data(name + "_r2", self.field.constant(self.field.R))
        a.data(name + "_one", self.field.constant(1))
        a.data(name + "_unit", (1).to_bytes(size, "little"))
        a.data(name + "_p", b"".join(x.to_bytes(8, "little") for x in self.field.limbs(curve.p)))
        a.data(name + "_p_table", table(curve.p, self.words))
        a.data(name + "_n_table", table(curve.n, self.words), entry=True)
        comb = [c for point in _comb(curve) for c in point]
        a.data(name + "_comb", b"".join(self.field.constant(c) for c in comb))
        # The frame: the running sum, the addend, the new sum, scratch; then variables.
        self.X, self.Y, self.Z, self.X2, self.Y2, self.Z2, self.X3, self.Y3, self.Z3 = [
            size * i for i in range(9)
        ]
        self.T = [size * i for i in range(9, 16)]
        at = size * 16
        for var in ("checked", "infinite", "i", "out", "u", "v", "digit", "met", "back"):
            setattr(self, var, at)
            at += 8
        self.multiples = at
        self.frame = at + 16 * 3 * size
        # Inside a subroutine the frame lies a return address further up.
        self.deep = 0

    # Operations on places of the frame (offsets), constants (names), or registers

    def _lea(self, r, x):
        if isinstance(x, str):
            self.a.lea(r, self.a.at(x))
        else:
            self.a.lea(r, rsp[x + self.deep])

    def mul(self, out, f, g):
        self._lea(rdi, out)
        self._lea(rsi, f)
        self._lea(rdx, g)
        self.a.call(self.name + "_mul")

    def linear(self, out, plus, minus=None, also=None):
        """out = c x + y - d z, in line: plus is (c, x), also y, minus (d, z)."""
        a = self.a

        def load(r, c, x):
            a.mov(r, x)
            if c in (3, 12):
                a.lea(r, r[r, 2, 0])
            shift = {1: 0, 3: 0, 2: 1, 4: 2, 12: 2, 8: 3}[c]
            if shift:
                a.shl(r, shift)

        for k in range(0, self.size, 8):
            load(rax, plus[0], rsp[plus[1] + k + self.deep])
            if also is not None:
                a.add(rax, rsp[also + k + self.deep])
            if minus:
                load(rcx, minus[0], rsp[minus[1] + k + self.deep])
                a.sub(rax, rcx)
                a.mov(rcx, self.field.bias[k // 8])
                a.add(rax, rcx)
            a.mov(rsp[out + k + self.deep], rax)

    def variable(self, off):
        return sized(rsp[off + self.deep], 8)

    def copy(self, out, x, count=1):
        for k in range(0, self.size * count, 8):
            self.a.mov(rax, rsp[x + k + self.deep])
            self.a.mov(rsp[out + k + self.deep], rax)

    # Point arithmetic, as subroutines on the frame

    def double(self):
        """(X, Y, Z) doubled in place. dbl-2001-b for a = -3, with the subtrahends kept small."""
        a = self.a
        a.align(16)
        a.label(self.name + "_double")
        self.deep = 8
        X, Y, Z = self.X, self.Y, self.Z
        delta, gamma, beta, t, u, alpha = self.T[:6]
        self.mul(delta, Z, Z)
        self.mul(gamma, Y, Y)
        self.mul(beta, X, gamma)
        self.linear(t, (1, X), (1, delta))
        self.linear(u, (1, X), also=delta)
        self.mul(alpha, t, u)
        self.linear(alpha, (3, alpha))
        self.mul(t, Y, Z)
        self.linear(Z, (2, t))
        self.mul(t, alpha, alpha)
        self.linear(X, (1, t), (8, beta))
        # 4 beta - X3 = 12 beta - alpha^2
        self.linear(u, (12, beta), (1, t))
        self.mul(u, u, alpha)
        self.mul(gamma, gamma, gamma)
        self.linear(Y, (1, u), (8, gamma))
        self.deep = 0
        a.ret()

    def add(self, suffix, mixed):
        """(X3, Y3, Z3) = (X, Y, Z) + (X2, Y2, Z2), or Z2 = 1 if mixed.

        H and R are taken with the other sign than usual, and Z3 with it: so what is
        subtracted is always fresh from a multiplication, as the field wants it.
        """
        a = self.a
        a.align(16)
        a.label(self.name + suffix)
        self.deep = 8
        X, Y, Z, X2, Y2, Z2 = self.X, self.Y, self.Z, self.X2, self.Y2, self.Z2
        zz, h, r, hh, v, rr, t = self.T
        # u1 = X Z2^2, s1 = Y Z2^3; they lie in X3, Y3 until those are formed.
        u1, s1 = X, Y
        if not mixed:
            self.mul(t, Z2, Z2)
            self.mul(self.X3, X, t)
            self.mul(t, t, Z2)
            self.mul(self.Y3, Y, t)
            u1, s1 = self.X3, self.Y3
        self.mul(zz, Z, Z)
        self.mul(h, X2, zz)
        self.mul(zz, zz, Z)
        self.mul(r, Y2, zz)
        self.linear(h, (1, u1), (1, h))
        self.linear(r, (1, s1), (1, r))
        self.mul(hh, h, h)
        self.mul(rr, r, r)
        self._check(hh, rr, t)
        self.mul(v, u1, hh)
        self.mul(zz, h, hh)  # -H^3
        self.mul(self.Z3, Z, h)
        if not mixed:
            self.mul(self.Z3, self.Z3, Z2)
        self.mul(t, s1, zz)
        # X3 = R^2 - H^3 - 2V;  V - X3 = 3V - (R^2 - H^3)
        self.linear(rr, (1, rr), also=zz)
        self.linear(self.X3, (1, rr), (2, v))
        self.linear(v, (3, v), (1, rr))
        self.mul(v, v, r)
        self.linear(self.Y3, (1, v), (1, t))
        self.deep = 0
        a.ret()

    def _check(self, hh, rr, t):
        """If this run is checked and H = 0: the sum is a doubling (R = 0) or infinity."""
        a = self.a
        usual, opposite = a.new("usual"), a.new("opposite")
        a.cmp(self.variable(self.checked), 0)
        a.jz(usual)
        self.is_zero(hh, t)
        a.test(rax, rax)
        a.jz(usual)
        self.is_zero(rr, t)
        a.test(rax, rax)
        a.jz(opposite)
        # Double the running sum, then let it be the new one.
        self.deep = 0
        a.pop(rax)
        a.mov(self.variable(self.back), rax)
        a.call(self.name + "_double")
        self.copy(self.X3, self.X, 3)
        a.mov(rax, self.variable(self.back))
        a.push(rax)
        self.deep = 8
        a.ret()
        a.label(opposite)
        a.xor(rax.d, rax.d)
        for k in range(0, 3 * self.size, 8):
            a.mov(rsp[self.X3 + k + self.deep], rax)
        a.mov(self.variable(self.met), 1)
        a.ret()
        a.label(usual)

    def is_zero(self, x, t):
        """rax = 1 if x = 0 mod p, else 0."""
        a = self.a
        # Times one, the Montgomery product is in 0..p: zero has two forms left.
        self.mul(t, x, self.name + "_unit")
        a.xor(rax.d, rax.d)
        a.xor(rcx.d, rcx.d)
        for k in range(0, self.size, 8):
            a.mov(rdx, rsp[t + k + self.deep])
            a.or_(rax, rdx)
            a.xor(rdx, a.at(self.name + "_p", k))
            a.or_(rcx, rdx)
        for r in (rax, rcx):
            a.cmp(r, 1)
            a.sbb(r, r)
            a.neg(r)
        a.or_(rax, rcx)

    # Between bytes and limbs

    def unpack(self, out, src):
        """Limbs at rsp[out] of the number at register src."""
        a, w = self.a, self.field.w
        for i in range(self.field.n):
            word, shift = divmod(w * i, 64)
            a.mov(rax, src[8 * word])
            if shift:
                if word + 1 < self.words and shift + w > 64:
                    a.mov(rcx, src[8 * word + 8])
                    a.shrd(rax, rcx, shift)
                else:
                    a.shr(rax, shift)
            a.shl(rax, 64 - w)
            a.shr(rax, 64 - w)
            a.mov(rsp[out + 8 * i], rax)

    def pack(self, dst, src):
        """The number at register dst of limbs at rsp[src], each below 2^w."""
        a, w = self.a, self.field.w
        for word in range(self.words):
            a.xor(rax.d, rax.d)
            for i in range(self.field.n):
                shift = w * i - 64 * word
                if -w < shift < 64:
                    a.mov(rcx, rsp[src + 8 * i])
                    if shift > 0:
                        a.shl(rcx, shift)
                    elif shift < 0:
                        a.shr(rcx, -shift)
                    a.or_(rax, rcx)
            a.mov(dst[8 * word], rax)

    def invert(self, out, z):
        """out = 1 / z, both in Montgomery form; takes T[0] and T[1]."""
        a = self.a
        t, u = self.T[:2]
        self.mul(out, z, self.name + "_unit")
        a.lea(rdi, rsp[t])
        self.pack(rdi, out)
        a.lea(rdi, rsp[u])
        a.lea(rsi, rsp[t])
        a.lea(rdx, a.at(self.name + "_p_table"))
        a.call("inverse")
        a.lea(rbx, rsp[u])
        self.unpack(out, rbx)
        self.mul(out, out, self.name + "_r2")

    # The run

    def run(self):
        a = self.a
        size = self.size
        X, X2, Y2, Z2, X3 = self.X, self.X2, self.Y2, self.Z2, self.X3
        bits = 8 * self.bytes
        d = bits // 8
        name = self.name
        with Function(a, name + "_run", stack=self.frame):
            for off, r in ((self.out, rdi), (self.u, rsi), (self.v, rdx), (self.checked, r8)):
                a.mov(rsp[off], r)
            a.mov(sized(rsp[self.infinite], 8), 1)
            a.mov(sized(rsp[self.met], 8), 0)
            a.xor(rax.d, rax.d)
            for k in range(0, 3 * size, 8):
                a.mov(rsp[X + k], rax)
            comb_only, start = a.new("comb"), a.new("start")
            a.test(rdx, rdx)
            a.jz(comb_only)
            self._multiples(rcx)
            a.mov(sized(rsp[self.i], 8), bits - 1)
            a.jmp(start)
            a.label(comb_only)
            a.mov(sized(rsp[self.i], 8), d - 1)
            a.label(start)

            top = a.here("bit")
            no_window, no_comb = a.new("window"), a.new("comb")
            a.call(name + "_double")
            a.mov(rcx, rsp[self.i])
            a.mov(rdx, rsp[self.v])
            a.test(rdx, rdx)
            a.jz(no_window)
            a.mov(rax.d, 3)
            a.test(rcx, rax)
            a.jnz(no_window)
            # The window: four bits of v at i.
            a.mov(rax, rcx)
            a.shr(rax, 3)
            a.movzx8(rax.d, rdx[rax])
            a.and_(rcx, 4)
            a.shrx(rax, rax, rcx)
            a.and_(rax, 15)
            a.lea(rbx, rsp[self.multiples])
            self._add_digit(rax, rbx, False)
            a.label(no_window)
            a.mov(rcx, rsp[self.i])
            a.mov(rdx, rsp[self.u])
            a.test(rdx, rdx)
            a.jz(no_comb)
            a.cmp(rcx, d)
            a.jae(no_comb)
            for j in (0, 1):
                a.mov(rcx, rsp[self.i])
                a.mov(rdx, rsp[self.u])
                a.xor(rbx.d, rbx.d)
                for t in range(4):
                    a.lea(rsi, rcx[j * d + t * 2 * d])
                    a.mov(rax, rsi)
                    a.shr(rax, 6)
                    a.mov(rax, rdx[rax, 8, 0])
                    a.shrx(rax, rax, rsi)
                    a.and_(rax, 1)
                    if t:
                        a.shl(rax, t)
                    a.or_(rbx, rax)
                a.mov(rax, rbx)
                a.lea(rbx, a.at(name + "_comb", j * 15 * 2 * size))
                self._add_digit(rax, rbx, True)
            a.label(no_comb)
            a.sub(sized(rsp[self.i], 8), 1)
            a.jnc(top)

            finite, done = a.new("finite"), a.new("done")
            a.cmp(sized(rsp[self.infinite], 8), 0)
            a.jz(finite)
            a.xor(rax.d, rax.d)
            a.jmp(done)
            a.label(finite)
            self.invert(X2, self.Z)
            self.mul(Y2, X2, X2)
            self.mul(Z2, Y2, X2)
            for k, (coordinate, factor) in enumerate(((X, Y2), (self.Y, Z2))):
                self.mul(X3, coordinate, factor)
                self.mul(X3, X3, name + "_unit")
                a.mov(rdi, rsp[self.out])
                if k:
                    a.add(rdi, self.bytes)
                self.pack(rdi, X3)
            # Nothing secret stays on the stack.
            a.xor(rax.d, rax.d)
            a.lea(rdi, rsp[0])
            a.mov(rcx.d, self.frame // 8)
            wipe = a.here("wipe")
            a.mov(rdi[rcx, 8, -8], rax)
            a.sub(rcx, 1)
            a.jnz(wipe)
            a.mov(rax.d, 1)
            a.label(done)

    def _add_digit(self, digit, table, mixed):
        """Add entry `digit` of the table at a register to the running sum."""
        a = self.a
        secret, have, skip = a.new("secret"), a.new("have"), a.new("skip")
        coordinates, first = (2, 1) if mixed else (3, 0)
        a.mov(rsp[self.digit], digit)
        a.cmp(sized(rsp[self.checked], 8), 0)
        a.jz(secret)
        # A checked run may tell a zero digit, and must not add one: it has no point.
        a.test(digit, digit)
        a.jz(skip)
        a.sub(digit, first)
        a.imul(digit, digit, coordinates * self.size)
        a.add(table, digit)
        for k in range(0, coordinates * self.size, 8):
            a.mov(rax, table[k])
            a.mov(rsp[self.X2 + k], rax)
        a.jmp(have)
        a.label(secret)
        self._select(table, coordinates, first)
        a.label(have)
        a.call(self.name + ("_add_mixed" if mixed else "_add"))
        self._accept(mixed)
        a.label(skip)

    def _multiples(self, point):
        """The table of 0..15 times the point at a register: Jacobian, in the frame."""
        a = self.a
        size = self.size
        entry = 3 * size
        X, X2, Y2, Z2 = self.X, self.X2, self.Y2, self.Z2
        a.mov(rbx, point)
        self.unpack(X2, rbx)
        a.add(rbx, self.bytes)
        self.unpack(Y2, rbx)
        self.mul(X2, X2, self.name + "_r2")
        self.mul(Y2, Y2, self.name + "_r2")
        for k in range(0, size, 8):
            a.mov(rax, a.at(self.name + "_one", k))
            a.mov(rsp[Z2 + k], rax)
        a.xor(rax.d, rax.d)
        for k in range(0, entry, 8):
            a.mov(rsp[self.multiples + k], rax)
        m = self.multiples
        self.copy(m + entry, X2, 3)
        self.copy(X, X2, 3)
        a.call(self.name + "_double")
        self.copy(m + 2 * entry, X, 3)
        # 3 .. 15: each the one before plus P, which differ for P has a large prime order.
        a.lea(rbx, rsp[m + 3 * entry])
        a.mov(rsp[self.digit], rbx)
        a.mov(sized(rsp[self.i], 8), 13)
        top = a.here("multiple")
        a.call(self.name + "_add_mixed")
        a.mov(rbx, rsp[self.digit])
        for k in range(0, entry, 8):
            a.mov(rax, rsp[self.X3 + k])
            a.mov(rsp[X + k], rax)
            a.mov(rbx[k], rax)
        a.add(rbx, entry)
        a.mov(rsp[self.digit], rbx)
        a.sub(sized(rsp[self.i], 8), 1)
        a.jnz(top)
        a.xor(rax.d, rax.d)
        for k in range(0, entry, 8):
            a.mov(rsp[X + k], rax)

    def _select(self, table, coordinates, first):
        """(X2, Y2[, Z2]) = entry `digit` of the table, whose first entry has number `first`.

        Every entry is read. A digit below `first` gives zeros.
        """
        a = self.a
        words = coordinates * self.size // 8
        # In groups of what fits in registers: each is read through the whole table.
        regs = (rbp, r8, r9, r10, r11, r12, r13, r14)
        for begin in range(0, words, len(regs)):
            part = regs[: min(len(regs), words - begin)]
            for r in part:
                a.xor(r.d, r.d)
            a.mov(rsi, rsp[self.digit])
            a.lea(rdi, table[8 * begin])
            a.mov(rcx.d, first)
            top = a.here("entry")
            # rdx = all ones if this is the entry
            a.mov(rdx, rcx)
            a.xor(rdx, rsi)
            a.sub(rdx, 1)
            a.sar(rdx, 63)
            for k, r in enumerate(part):
                a.mov(rax, rdi[8 * k])
                a.and_(rax, rdx)
                a.or_(r, rax)
            a.add(rdi, 8 * words)
            a.add(rcx.d, 1)
            a.cmp(rcx.d, 16)
            a.jb(top)
            for k, r in enumerate(part):
                a.mov(rsp[self.X2 + 8 * (begin + k)], r)

    def _accept(self, mixed):
        """The running sum becomes the new one; stays (digit 0); or is the addend (was infinite)."""
        a = self.a
        keep, was = rbx, rbp
        # keep = ones for digit 0; was = ones for an infinite sum before.
        a.mov(keep, rsp[self.digit])
        a.sub(keep, 1)
        a.sar(keep, 63)
        a.mov(was, rsp[self.infinite])
        a.neg(was)
        for k in range(0, 3 * self.size, 8):
            if mixed and k >= 2 * self.size:
                a.mov(rcx, a.at(self.name + "_one", k - 2 * self.size))
            else:
                a.mov(rcx, rsp[self.X2 + k])
            a.mov(rax, rsp[self.X3 + k])
            a.xor(rcx, rax)
            a.and_(rcx, was)
            a.xor(rax, rcx)  # new, or the addend
            a.mov(rcx, rsp[self.X + k])
            a.xor(rcx, rax)
            a.and_(rcx, keep)
            a.xor(rax, rcx)
            a.mov(rsp[self.X + k], rax)
        # It is infinite if it was and stays, or if a checked addition met its opposite.
        a.mov(rax, rsp[self.infinite])
        a.and_(rax, keep)
        a.or_(rax, rsp[self.met])
        a.mov(rsp[self.infinite], rax)
        a.mov(sized(rsp[self.met], 8), 0)

    def emit(self):
        self.field.emit(self.a)
        self.double()
        self.add("_add", False)
        self.add("_add_mixed", True)
        self.run()


def _comb(curve):
    """The 30 points of the comb's two tables, affine."""
    p = curve.p

    def plus(one, other):
        (x1, y1), (x2, y2) = one, other
        if one == other:
            slope = (3 * x1 * x1 - 3) * pow(2 * y1, -1, p)
        else:
            slope = (y2 - y1) * pow(x2 - x1, -1, p)
        x = (slope * slope - x1 - x2) % p
        return x, (slope * (x1 - x) - y1) % p

    d = curve.size
    teeth = [(curve.gx, curve.gy)]  # 2^(dk) G
    for _ in range(7):
        q = teeth[-1]
        for _ in range(d):
            q = plus(q, q)
        teeth.append(q)
    points = []
    for j in (0, 1):
        sums = {}
        for e in range(1, 16):
            top = 8 if e >= 8 else 4 if e >= 4 else 2 if e >= 2 else 1
            tooth = teeth[j + 2 * (top.bit_length() - 1)]
            sums[e] = plus(sums[e - top], tooth) if e > top else tooth
            points.append(sums[e])
    return points


def emit(a):
    Weierstrass(a, "p256", P256, 54, 5).emit()
    Weierstrass(a, "p384", P384, 57, 7).emit()
