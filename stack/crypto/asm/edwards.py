"""Scalar multiplication on edwards25519 (RFC 8032) in machine code.

    ed_run (out, k, point, l, other)        out = k P + l Q, affine x, y, 32 bytes each

k and l are 32 bytes below 2^253; l may be a null pointer, then there is no Q. Extended
coordinates (X, Y, Z, T), with complete formulas: no case is special. Windows of four
bits, each table read whole: no branch and no address depends on k or l.
"""

from stack.crypto.asm.curve25519 import add, load, multiply, square, store, subtract
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
from stack.crypto.ec import ED_D, P25519

_SIZE = 40
_ENTRY = 4 * _SIZE


def _limbs(v):
    return b"".join((v >> 51 * i & (1 << 51) - 1).to_bytes(8, "little") for i in range(5))


class Edwards:
    # The frame: the running sum; the addend as (Y - X, Y + X, 2dT, 2Z); scratch.
    X, Y, Z, T, A0, A1, A2, A3, A, B, C, E, F, G, H = [_SIZE * i for i in range(15)]
    VARIABLES = _SIZE * 15
    OUT, I, AT = VARIABLES, VARIABLES + 8, VARIABLES + 16
    SCALARS = VARIABLES + 24  # k and l, pointers
    POINTS = VARIABLES + 40  # P and Q, pointers
    TABLES = VARIABLES + 64
    FRAME = TABLES + 2 * 16 * _ENTRY

    def __init__(self, a):
        self.a = a
        self.deep = 0  # 8 inside a subroutine

    def at(self, off):
        return lambda i: rsp[off + 8 * i + self.deep]

    def subroutines(self):
        """fe_mul (rdi, rsi, rdx), fe_square (rdi, rsi)."""
        a = self.a
        out = XMM[15]

        def put(k):
            if k == 0:
                a.movq(rax, out)
            return rax[8 * k]

        a.align(16)
        a.label("fe_mul")
        a.movq(out, rdi)
        multiply(a, put, lambda i: rsi[8 * i], lambda i: rdx[8 * i])
        a.ret()
        a.align(16)
        a.label("fe_square")
        a.movq(out, rdi)
        square(a, put, lambda i: rsi[8 * i])
        a.ret()

    def mul(self, out, f, g):
        a = self.a
        for r, x in ((rdi, out), (rsi, f), (rdx, g)):
            if isinstance(x, str):
                a.lea(r, a.at(x))
            else:
                a.lea(r, rsp[x + self.deep])
        a.call("fe_mul")

    def square(self, out, f):
        self.a.lea(rdi, rsp[out + self.deep])
        self.a.lea(rsi, rsp[f + self.deep])
        self.a.call("fe_square")

    def plus(self, out, f, g):
        add(self.a, self.at(out), self.at(f), self.at(g))

    def minus(self, out, f, g):
        subtract(self.a, self.at(out), self.at(f), self.at(g))

    def _finish(self):
        """X = EF, Y = GH, T = EH, Z = FG."""
        self.mul(self.X, self.E, self.F)
        self.mul(self.Y, self.G, self.H)
        self.mul(self.T, self.E, self.H)
        self.mul(self.Z, self.F, self.G)

    def double(self):
        """dbl-2008-hwcd, E, F, G, H all negated: so only products are subtracted."""
        a = self.a
        a.align(16)
        a.label("ed_double")
        self.deep = 8
        self.square(self.A, self.X)
        self.square(self.B, self.Y)
        self.square(self.C, self.Z)
        self.plus(self.C, self.C, self.C)
        self.plus(self.E, self.X, self.Y)
        self.square(self.E, self.E)
        self.plus(self.H, self.A, self.B)
        self.minus(self.E, self.H, self.E)  # A + B - (X + Y)^2
        self.minus(self.G, self.A, self.B)
        self.plus(self.F, self.G, self.C)
        self._finish()
        self.deep = 0
        a.ret()

    def add(self):
        """The running sum += the addend. add-2008-hwcd-3 for a = -1."""
        a = self.a
        a.align(16)
        a.label("ed_add")
        self.deep = 8
        self.minus(self.A, self.Y, self.X)
        self.mul(self.A, self.A, self.A0)
        self.plus(self.B, self.Y, self.X)
        self.mul(self.B, self.B, self.A1)
        self.mul(self.C, self.T, self.A2)
        self.mul(self.G, self.Z, self.A3)
        self.minus(self.E, self.B, self.A)
        self.minus(self.F, self.G, self.C)
        self.plus(self.G, self.G, self.C)
        self.plus(self.H, self.B, self.A)
        self._finish()
        self.deep = 0
        a.ret()

    def _addend(self):
        """The running sum in the addend's form."""
        self.minus(self.A0, self.Y, self.X)
        self.plus(self.A1, self.Y, self.X)
        self.mul(self.A2, self.T, "ed_2d")
        self.plus(self.A3, self.Z, self.Z)

    def _small(self, *values):
        """Constants: (offset, 0, 1 or 2)."""
        a = self.a
        for off, v in values:
            for i in range(5):
                a.mov(sized(rsp[off + 8 * i], 8), v if i == 0 else 0)

    def _store_entry(self):
        """The addend to the table at the variable AT, which moves on."""
        a = self.a
        a.mov(rbx, rsp[self.AT])
        for k in range(0, _ENTRY, 8):
            a.mov(rax, rsp[self.A0 + k])
            a.mov(rbx[k], rax)
        a.add(rbx, _ENTRY)
        a.mov(rsp[self.AT], rbx)

    def _table(self, j):
        a = self.a
        a.lea(rax, rsp[self.TABLES + 16 * _ENTRY * j])
        a.mov(rsp[self.AT], rax)
        self._small((self.A0, 1), (self.A1, 1), (self.A2, 0), (self.A3, 2))
        self._store_entry()
        a.mov(rbx, rsp[self.POINTS + 8 * j])
        load(a, self.X, rbx)
        a.add(rbx, 32)
        load(a, self.Y, rbx)
        self._small((self.Z, 1))
        self.mul(self.T, self.X, self.Y)
        self._addend()
        self._store_entry()
        # From here each entry is the one before plus the point.
        a.mov(sized(rsp[self.I], 8), 14)
        top = a.here("entry")
        a.lea(rbx, rsp[self.TABLES + (16 * j + 1) * _ENTRY])
        for k in range(0, _ENTRY, 8):
            a.mov(rax, rbx[k])
            a.mov(rsp[self.A0 + k], rax)
        a.call("ed_add")
        self._addend()
        self._store_entry()
        a.sub(sized(rsp[self.I], 8), 1)
        a.jnz(top)

    def _select(self, j):
        """The addend = entry of table j for the digit in rsi, reading all of it."""
        a = self.a
        regs = (rbp, r8, r9, r10, r11, r12, r13, r14, rbx, rdx)
        for begin in (0, 10):
            for r in regs:
                a.xor(r.d, r.d)
            a.lea(rdi, rsp[self.TABLES + 16 * _ENTRY * j + 8 * begin])
            a.xor(rcx.d, rcx.d)
            top = a.here("entry")
            for k, r in enumerate(regs):
                # The mask is formed anew each time: there is no register left for it.
                a.mov(rax, rcx)
                a.xor(rax, rsi)
                a.sub(rax, 1)
                a.sar(rax, 63)
                a.and_(rax, rdi[8 * k])
                a.or_(r, rax)
            a.add(rdi, _ENTRY)
            a.add(rcx, 1)
            a.cmp(rcx, 16)
            a.jb(top)
            for k, r in enumerate(regs):
                a.mov(rsp[self.A0 + 8 * (begin + k)], r)

    def run(self):
        a = self.a
        with Function(a, "ed_run", stack=self.FRAME):
            a.mov(rsp[self.OUT], rdi)
            for j, (k, p) in enumerate(((rsi, rdx), (rcx, r8))):
                a.mov(rsp[self.SCALARS + 8 * j], k)
                a.mov(rsp[self.POINTS + 8 * j], p)
            self._table(0)
            single = a.new("single")
            a.cmp(sized(rsp[self.SCALARS + 8], 8), 0)
            a.jz(single)
            self._table(1)
            a.label(single)
            self._small((self.X, 0), (self.Y, 1), (self.Z, 1), (self.T, 0))
            a.mov(sized(rsp[self.I], 8), 252)
            top = a.here("window")
            for _ in range(4):
                a.call("ed_double")
            for j in (0, 1):
                none = a.new("none")
                a.mov(rdx, rsp[self.SCALARS + 8 * j])
                a.test(rdx, rdx)
                a.jz(none)
                a.mov(rcx, rsp[self.I])
                a.mov(rax, rcx)
                a.shr(rax, 6)
                a.mov(rsi, rdx[rax, 8, 0])
                a.shrx(rsi, rsi, rcx)
                a.and_(rsi, 15)
                self._select(j)
                a.call("ed_add")
                a.label(none)
            a.sub(sized(rsp[self.I], 8), 4)
            a.jnc(top)

            a.lea(rdi, rsp[self.A])
            store(a, rdi, self.Z)
            a.lea(rdi, rsp[self.B])
            a.lea(rsi, rsp[self.A])
            a.lea(rdx, a.at("p25519_table"))
            a.call("inverse")
            a.lea(rbx, rsp[self.B])
            load(a, self.Z, rbx)
            for k, coordinate in ((0, self.X), (32, self.Y)):
                self.mul(coordinate, coordinate, self.Z)
                a.mov(rdi, rsp[self.OUT])
                if k:
                    a.add(rdi, k)
                store(a, rdi, coordinate)
            a.xor(rax.d, rax.d)
            a.mov(rdi, rsp)
            a.mov(rcx.d, self.FRAME // 8)
            with a.loop(rcx):
                a.mov(rdi[rcx, 8, -8], rax)


def emit(a):
    a.data("ed_2d", _limbs(2 * ED_D % P25519))
    e = Edwards(a)
    e.subroutines()
    e.double()
    e.add()
    e.run()
