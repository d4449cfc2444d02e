"""A small x86-64 assembler: what the kernels of this folder need, and no more.

    a = Asm()
    a.label("sum")                      # a global entry: its offset is in a.entries
    a.xor(eax, eax)
    with a.loop(rsi):                   # ... dec rsi; jnz
        a.add(rax, rdi[0])              # memory: base[disp], base[index, scale, disp]
        a.add(rdi, 8)
    a.ret()
    code = a.finish()

Operands are in Intel's order. `rax.d` is eax, `rax.b` is al, `x0.y` is ymm0.
`a.at("name")` is a RIP-relative operand, `a.data("name", bytes)` places a
constant behind the code. Every instruction is kept as text in `a.listing`, which
the tests hold against objdump's reading of the bytes.

An instruction that is not in the tables raises AttributeError. It runs on
CPython at build time only.
"""


class Reg:
    """A register: `n` 0..15, `size` in bytes; 16 and 32 are xmm and ymm."""

    def __init__(self, name, n, size):
        self.name = name
        self.n = n
        self.size = size

    def __repr__(self):
        return self.name

    def __getitem__(self, key):
        """Memory at [self + disp], [self + index], [self + index * scale + disp]."""
        if isinstance(key, int):
            return Mem(self, disp=key)
        if isinstance(key, Reg):
            return Mem(self, key)
        return Mem(self, *key)


class Mem:
    def __init__(self, base, index=None, scale=1, disp=0, label=None, size=0):
        self.base = base
        self.index = index
        self.scale = scale
        self.disp = disp
        self.label = label
        self.size = size

    def __repr__(self):
        if self.label:
            return "[rip:%s]" % self.label
        s = self.base.name
        if self.index:
            s += "+%s*%d" % (self.index.name, self.scale)
        if self.disp:
            s += "%s%#x" % ("-" if self.disp < 0 else "+", abs(self.disp))
        return "[%s]" % s

    def plus(self, n):
        """The same place, n bytes further."""
        return Mem(self.base, self.index, self.scale, self.disp + n, self.label, self.size)


def sized(mem, size):
    """A memory operand whose width no register tells: `sized(rdi[8], 4)`."""
    return Mem(mem.base, mem.index, mem.scale, mem.disp, mem.label, size)


_N64 = "rax rcx rdx rbx rsp rbp rsi rdi".split() + ["r%d" % i for i in range(8, 16)]
_N32 = "eax ecx edx ebx esp ebp esi edi".split() + ["r%dd" % i for i in range(8, 16)]
_N8 = "al cl dl bl spl bpl sil dil".split() + ["r%db" % i for i in range(8, 16)]

GPR = [Reg(n, i, 8) for i, n in enumerate(_N64)]
XMM = [Reg("xmm%d" % i, i, 16) for i in range(16)]
YMM = [Reg("ymm%d" % i, i, 32) for i in range(16)]
for _r, _d, _b in zip(GPR, _N32, _N8):
    _r.d = Reg(_d, _r.n, 4)
    _r.b = Reg(_b, _r.n, 1)
    _r.d.q = _r
for _x, _y in zip(XMM, YMM):
    _x.y = _y
    _y.x = _x
rax, rcx, rdx, rbx, rsp, rbp, rsi, rdi, r8, r9, r10, r11, r12, r13, r14, r15 = GPR
eax, ecx, edx, ebx, esp, ebp, esi, edi, r8d, r9d, r10d, r11d, r12d, r13d, r14d, r15d = [
    _r.d for _r in GPR
]

_CC = {
    "o": 0, "no": 1, "b": 2, "c": 2, "ae": 3, "nc": 3, "e": 4, "z": 4, "ne": 5, "nz": 5,
    "be": 6, "a": 7, "s": 8, "ns": 9, "l": 12, "ge": 13, "le": 14, "g": 15,
}  # fmt: skip
_CC_NAME = "o no b ae e ne be a s ns p np l ge le g".split()

_ALU = {"add": 0, "or_": 1, "adc": 2, "sbb": 3, "and_": 4, "sub": 5, "xor": 6, "cmp": 7}
_SHIFT = {"rol": 0, "ror": 1, "shl": 4, "shr": 5, "sar": 7}
_UNARY = {
    "not_": (0xF7, 2),
    "neg": (0xF7, 3),
    "mul": (0xF7, 4),
    "imul_wide": (0xF7, 5),
    "inc": (0xFF, 0),
    "dec": (0xFF, 1),
}

_NP, _66, _F3, _F2 = 0, 1, 2, 3
_PREFIX = (b"", b"\x66", b"\xf3", b"\xf2")
_0F, _0F38, _0F3A = 1, 2, 3
_ESCAPE = (b"", b"\x0f", b"\x0f\x38", b"\x0f\x3a")

# SSE: name -> prefix, map, opcode, takes an immediate byte. VEX forms have a "v" in front
# and one more source, but for those in _TWO.
_SSE = {
    "movdqu": (_F3, _0F, 0x6F, False), "movdqa": (_66, _0F, 0x6F, False),
    "pxor": (_66, _0F, 0xEF, False), "por": (_66, _0F, 0xEB, False),
    "pand": (_66, _0F, 0xDB, False), "pandn": (_66, _0F, 0xDF, False),
    "paddd": (_66, _0F, 0xFE, False), "paddq": (_66, _0F, 0xD4, False),
    "paddw": (_66, _0F, 0xFD, False), "psubw": (_66, _0F, 0xF9, False),
    "pmullw": (_66, _0F, 0xD5, False), "pmulhw": (_66, _0F, 0xE5, False),
    "pmuludq": (_66, _0F, 0xF4, False),
    "punpckldq": (_66, _0F, 0x62, False), "punpckhdq": (_66, _0F, 0x6A, False),
    "punpcklqdq": (_66, _0F, 0x6C, False), "punpckhqdq": (_66, _0F, 0x6D, False),
    "pshufd": (_66, _0F, 0x70, True), "pshufb": (_66, _0F38, 0x00, False),
    "palignr": (_66, _0F3A, 0x0F, True), "pblendw": (_66, _0F3A, 0x0E, True),
    "pclmulqdq": (_66, _0F3A, 0x44, True),
    "aesenc": (_66, _0F38, 0xDC, False), "aesenclast": (_66, _0F38, 0xDD, False),
    "aeskeygenassist": (_66, _0F3A, 0xDF, True),
    "sha256rnds2": (_NP, _0F38, 0xCB, False), "sha256msg1": (_NP, _0F38, 0xCC, False),
    "sha256msg2": (_NP, _0F38, 0xCD, False),
}  # fmt: skip
_TWO = ("movdqu", "movdqa", "pshufd", "aeskeygenassist")
# AVX2 only: prefix, map, opcode, W, immediate, two operands.
_AVX = {
    "vperm2i128": (_66, _0F3A, 0x46, 0, True, False),
    "vinserti128": (_66, _0F3A, 0x38, 0, True, False),
    "vbroadcasti128": (_66, _0F38, 0x5A, 0, False, True),
    "vpbroadcastd": (_66, _0F38, 0x58, 0, False, True),
    "vpbroadcastw": (_66, _0F38, 0x79, 0, False, True),
}  # fmt: skip
# Shifts by an immediate: opcode, extension.
_VSHIFT = {
    "pslld": (0x72, 6), "psrld": (0x72, 2), "psllq": (0x73, 6), "psrlq": (0x73, 2),
    "pslldq": (0x73, 7), "psrldq": (0x73, 3), "psraw": (0x71, 4),
}  # fmt: skip
# BMI2 and ADX on general registers.
_BMI = {"shlx": _66, "sarx": _F3, "shrx": _F2}


class Asm:
    def __init__(self):
        self.code = bytearray()
        self.entries = {}
        self.listing = []
        self._labels = {}
        self._fixups = []
        self._data = []
        self._serial = 0
        self._shown = set()

    # Labels and data

    def label(self, name):
        """Bind a name here. Names that start with "." are local."""
        assert name not in self._labels, name
        self._labels[name] = len(self.code)
        if not name.startswith("."):
            self.entries[name] = len(self.code)

    def new(self, hint=""):
        """A fresh local label's name."""
        self._serial += 1
        return ".%s%d" % (hint, self._serial)

    def here(self, hint=""):
        """A fresh local label, bound here."""
        name = self.new(hint)
        self.label(name)
        return name

    def align(self, n):
        """Pad with nops to a multiple of n."""
        while len(self.code) % n:
            self._text("nop")
            self.code.append(0x90)

    def data(self, name, content, align=32, entry=False):
        """A constant to be placed behind the code; `entry`: found in a.entries as well."""
        if entry:
            self._shown.add(name)
        if all(name != d[0] for d in self._data):
            self._data.append((name, bytes(content), align))
        return name

    def at(self, name, disp=0):
        return Mem(None, disp=disp, label=name)

    def finish(self):
        """The code with its constants; call it once."""
        self.text_size = len(self.code)
        for name, content, align in self._data:
            self.code.extend(bytes(-len(self.code) % align))
            self._labels[name] = len(self.code)
            if name in self._shown:
                self.entries[name] = len(self.code)
            self.code.extend(content)
        for pos, end, name, addend in self._fixups:
            rel = self._labels[name] + addend - end
            self.code[pos : pos + 4] = rel.to_bytes(4, "little", signed=True)
        return bytes(self.code)

    def loop(self, counter):
        """`with a.loop(reg):` repeats the body, decrementing reg, until it is zero."""
        return _Loop(self, counter)

    # Encoding

    def _text(self, name, *operands):
        self.listing.append((len(self.code), name.rstrip("_"), operands))

    def _modrm(self, field, rm, tail):
        """ModRM, SIB and displacement; `tail` bytes of immediate follow (for RIP-relative)."""
        out = self.code
        field = (field & 7) << 3
        if isinstance(rm, Reg):
            out.append(0xC0 | field | rm.n & 7)
            return
        if rm.label:
            out.append(field | 5)
            self._fixups.append((len(out), len(out) + 4 + tail, rm.label, rm.disp))
            out.extend(bytes(4))
            return
        b = rm.base.n & 7
        d = rm.disp
        # Base rbp or r13 cannot go without a displacement.
        mod = 0 if d == 0 and b != 5 else 0x40 if -128 <= d < 128 else 0x80
        if rm.index is not None:
            assert rm.index.n != 4, "rsp is no index"
            out.append(mod | field | 4)
            out.append({1: 0, 2: 1, 4: 2, 8: 3}[rm.scale] << 6 | (rm.index.n & 7) << 3 | b)
        elif b == 4:
            out.append(mod | field | 4)
            out.append(0x24)
        else:
            out.append(mod | field | b)
        if mod == 0x40:
            out.extend(d.to_bytes(1, "little", signed=True))
        elif mod == 0x80:
            out.extend(d.to_bytes(4, "little", signed=True))

    @staticmethod
    def _high(rm):
        """The X and B bits of an r/m operand."""
        if isinstance(rm, Reg):
            return 0, rm.n >> 3
        if rm.label:
            return 0, 0
        return (rm.index.n >> 3 if rm.index is not None else 0), rm.base.n >> 3

    def _legacy(self, opcode, field, rm, wide, prefix=b"", tail=0, byte=False):
        """[prefix] [REX] opcode ModRM. `byte`: a REX is needed to mean sil rather than dh."""
        x, b = self._high(rm)
        rex = wide << 3 | (field >> 3) << 2 | x << 1 | b
        self.code.extend(prefix)
        if rex or byte:
            self.code.append(0x40 | rex)
        self.code.extend(opcode)
        self._modrm(field, rm, tail)

    def _vex(self, pp, mmap, opcode, field, v, rm, w=0, l=0, tail=0):
        x, b = self._high(rm)
        r = field >> 3
        if mmap == _0F and not x and not b and not w:
            self.code.extend((0xC5, (r ^ 1) << 7 | (v ^ 15) << 3 | l << 2 | pp))
        else:
            self.code.extend(
                (
                    0xC4,
                    (r ^ 1) << 7 | (x ^ 1) << 6 | (b ^ 1) << 5 | mmap,
                    w << 7 | (v ^ 15) << 3 | l << 2 | pp,
                )
            )
        self.code.append(opcode)
        self._modrm(field, rm, tail)

    def _imm(self, value, n):
        self.code.extend((value & (1 << 8 * n) - 1).to_bytes(n, "little"))

    # Integer instructions

    def _alu(self, name, dst, src):
        self._text(name, dst, src)
        k = _ALU[name]
        size = dst.size if isinstance(dst, Reg) or not isinstance(src, Reg) else src.size
        wide = size == 8
        if isinstance(src, int):
            assert size in (4, 8), "width of an immediate"
            if -128 <= src < 128:
                self._legacy(b"\x83", k, dst, wide, tail=1)
                self._imm(src, 1)
            else:
                assert -(1 << 31) <= src < (1 << 31) or size == 4
                self._legacy(b"\x81", k, dst, wide, tail=4)
                self._imm(src, 4)
        elif isinstance(src, Mem):
            self._legacy(bytes((8 * k + 3,)), dst.n, src, wide)
        else:
            self._legacy(bytes((8 * k + 1,)), src.n, dst, wide)

    def mov(self, dst, src):
        if isinstance(src, int):
            size = dst.size
            if isinstance(dst, Reg) and 0 <= src < 1 << 32:
                dst = dst if size == 4 else dst.d  # upper half becomes zero
                self._text("mov", dst, src)
                if dst.n >> 3:
                    self.code.append(0x41)
                self.code.append(0xB8 | dst.n & 7)
                self._imm(src, 4)
            elif -(1 << 31) <= src < 1 << 31:
                self._text("mov", dst, src)
                self._legacy(b"\xc7", 0, dst, size == 8, tail=4)
                self._imm(src, 4)
            else:
                self._text("movabs", dst, src)
                self.code.extend((0x48 | dst.n >> 3, 0xB8 | dst.n & 7))
                self._imm(src, 8)
            return
        self._text("mov", dst, src)
        if isinstance(src, Mem):
            self._legacy(b"\x8b", dst.n, src, dst.size == 8)
        elif src.size == 1:
            self._legacy(b"\x88", src.n, dst, 0, byte=src.n >= 4)
        else:
            self._legacy(b"\x89", src.n, dst, src.size == 8)

    def lea(self, dst, src):
        self._text("lea", dst, src)
        self._legacy(b"\x8d", dst.n, src, dst.size == 8)

    def test(self, a, b):
        self._text("test", a, b)
        self._legacy(b"\x85", b.n, a, a.size == 8)

    def xchg(self, a, b):
        self._text("xchg", a, b)
        self._legacy(b"\x87", b.n, a, b.size == 8)

    def imul(self, dst, src, imm=None):
        if imm is None:
            self._text("imul", dst, src)
            self._legacy(b"\x0f\xaf", dst.n, src, dst.size == 8)
        else:
            self._text("imul", dst, src, imm)
            short = -128 <= imm < 128
            self._legacy(
                b"\x6b" if short else b"\x69", dst.n, src, dst.size == 8, tail=1 if short else 4
            )
            self._imm(imm, 1 if short else 4)

    def movzx8(self, dst, src):
        self._text("movzx", dst, src)
        byte = isinstance(src, Reg) and src.n >= 4
        self._legacy(b"\x0f\xb6", dst.n, src, dst.size == 8, byte=byte)

    def movzx16(self, dst, src):
        self._text("movzx", dst, src)
        self._legacy(b"\x0f\xb7", dst.n, src, dst.size == 8)

    def mov16(self, dst, src):
        """Store the low 16 bits of a 32-bit register."""
        self._text("mov16", dst, src)
        self._legacy(b"\x89", src.n, dst, 0, prefix=b"\x66")

    def movbe(self, dst, src):
        """Load or store with the bytes turned round."""
        self._text("movbe", dst, src)
        if isinstance(src, Mem):
            self._legacy(b"\x0f\x38\xf0", dst.n, src, dst.size == 8)
        else:
            self._legacy(b"\x0f\x38\xf1", src.n, dst, src.size == 8)

    def bswap(self, r):
        self._text("bswap", r)
        rex = (r.size == 8) << 3 | r.n >> 3
        if rex:
            self.code.append(0x40 | rex)
        self.code.extend((0x0F, 0xC8 | r.n & 7))

    def shld(self, dst, src, n):
        self._text("shld", dst, src, n)
        self._legacy(b"\x0f\xa4", src.n, dst, dst.size == 8, tail=1)
        self._imm(n, 1)

    def shrd(self, dst, src, n):
        self._text("shrd", dst, src, n)
        self._legacy(b"\x0f\xac", src.n, dst, dst.size == 8, tail=1)
        self._imm(n, 1)

    def push(self, *regs):
        for r in regs:
            self._text("push", r)
            if r.n >> 3:
                self.code.append(0x41)
            self.code.append(0x50 | r.n & 7)

    def pop(self, *regs):
        for r in regs:
            self._text("pop", r)
            if r.n >> 3:
                self.code.append(0x41)
            self.code.append(0x58 | r.n & 7)

    def ret(self):
        self._text("ret")
        self.code.append(0xC3)

    def cpuid(self):
        self._text("cpuid")
        self.code.extend(b"\x0f\xa2")

    def xgetbv(self):
        self._text("xgetbv")
        self.code.extend(b"\x0f\x01\xd0")

    def _branch(self, text, long, short, name):
        here = len(self.code)
        self._text(text, name)
        if short is not None and name in self._labels:
            rel = self._labels[name] - here - 2
            if rel >= -128:
                self.code.append(short)
                self._imm(rel, 1)
                return
        self.code.extend(long)
        self._fixups.append((len(self.code), len(self.code) + 4, name, 0))
        self.code.extend(bytes(4))

    def jmp(self, name):
        self._branch("jmp", b"\xe9", 0xEB, name)

    def call(self, name):
        self._branch("call", b"\xe8", None, name)

    # BMI2, ADX

    def rorx(self, dst, src, n):
        self._text("rorx", dst, src, n)
        self._vex(_F2, _0F3A, 0xF0, dst.n, 0, src, w=dst.size == 8, tail=1)
        self._imm(n, 1)

    def mulx(self, high, low, src):
        """high:low = rdx * src, without touching flags."""
        self._text("mulx", high, low, src)
        self._vex(_F2, _0F38, 0xF6, high.n, low.n, src, w=1)

    def andn(self, dst, a, b):
        """dst = ~a & b."""
        self._text("andn", dst, a, b)
        self._vex(_NP, _0F38, 0xF2, dst.n, a.n, b, w=dst.size == 8)

    def adcx(self, dst, src):
        self._text("adcx", dst, src)
        self._legacy(b"\x0f\x38\xf6", dst.n, src, 1, prefix=b"\x66")

    def adox(self, dst, src):
        self._text("adox", dst, src)
        self._legacy(b"\x0f\x38\xf6", dst.n, src, 1, prefix=b"\xf3")

    # SSE moves between register files

    def movd(self, dst, src):
        """32 bits between a general register (or memory) and an xmm register."""
        self._text("movd", dst, src)
        x, rm, op = (
            (dst, src, b"\x0f\x6e")
            if isinstance(dst, Reg) and dst.size == 16
            else (src, dst, b"\x0f\x7e")
        )
        self._legacy(op, x.n, rm, 0, prefix=b"\x66")

    def movq(self, dst, src):
        """64 bits between a general register and an xmm register."""
        self._text("movq", dst, src)
        x, rm, op = (dst, src, b"\x0f\x6e") if dst.size == 16 else (src, dst, b"\x0f\x7e")
        self._legacy(op, x.n, rm, 1, prefix=b"\x66")

    def pextrq(self, dst, x, n):
        self._text("pextrq", dst, x, n)
        self._legacy(b"\x0f\x3a\x16", x.n, dst, 1, prefix=b"\x66", tail=1)
        self._imm(n, 1)

    def pinsrq(self, x, src, n):
        self._text("pinsrq", x, src, n)
        self._legacy(b"\x0f\x3a\x22", x.n, src, 1, prefix=b"\x66", tail=1)
        self._imm(n, 1)

    def vpinsrd(self, dst, a, src, n):
        self._text("vpinsrd", dst, a, src, n)
        self._vex(_66, _0F3A, 0x22, dst.n, a.n, src, tail=1)
        self._imm(n, 1)

    def vextracti128(self, dst, src, n):
        self._text("vextracti128", dst, src, n)
        self._vex(_66, _0F3A, 0x39, src.n, 0, dst, l=1, tail=1)
        self._imm(n, 1)

    def vzeroupper(self):
        self._text("vzeroupper")
        self.code.extend(b"\xc5\xf8\x77")

    # What the tables describe

    def __getattr__(self, name):
        if name in _ALU:
            return lambda dst, src: self._alu(name, dst, src)
        if name in _SHIFT:
            return lambda dst, n: self._shift(name, dst, n)
        if name in _UNARY:
            return lambda rm: self._unary(name, rm)
        if name in _BMI:
            return lambda dst, src, count: self._shiftx(name, dst, src, count)
        if name in _SSE:
            return lambda *ops: self._sse(name, *ops)
        if name in _VSHIFT:
            return lambda x, n: self._vshift(name, x, n)
        if name[0] == "v" and (name in _AVX or name[1:] in _SSE or name[1:] in _VSHIFT):
            return lambda *ops: self._avx(name, *ops)
        if name[0] == "j" and name[1:] in _CC:
            cc = _CC[name[1:]]
            return lambda to: self._branch(
                "j" + _CC_NAME[cc], bytes((0x0F, 0x80 | cc)), 0x70 | cc, to
            )
        if name[:4] == "cmov" and name[4:] in _CC:
            return lambda dst, src: self._cmov(_CC[name[4:]], dst, src)
        if name[:3] == "set" and name[3:] in _CC:
            return lambda dst: self._setcc(_CC[name[3:]], dst)
        raise AttributeError(name)

    def _shift(self, name, dst, n):
        self._text(name, dst, n)
        self._legacy(b"\xc1", _SHIFT[name], dst, dst.size == 8, tail=1)
        self._imm(n, 1)

    def _unary(self, name, rm):
        # imul_wide: rdx:rax = rax * rm, signed.
        self._text("imul" if name == "imul_wide" else name, rm)
        opcode, ext = _UNARY[name]
        self._legacy(bytes((opcode,)), ext, rm, rm.size == 8)

    def _shiftx(self, name, dst, src, count):
        self._text(name, dst, src, count)
        self._vex(_BMI[name], _0F38, 0xF7, dst.n, count.n, src, w=dst.size == 8)

    def _cmov(self, cc, dst, src):
        self._text("cmov" + _CC_NAME[cc], dst, src)
        self._legacy(bytes((0x0F, 0x40 | cc)), dst.n, src, dst.size == 8)

    def _setcc(self, cc, dst):
        self._text("set" + _CC_NAME[cc], dst)
        self._legacy(bytes((0x0F, 0x90 | cc)), 0, dst, 0, byte=dst.n >= 4)

    def _sse(self, name, dst, src, imm=None):
        pp, mmap, opcode, has_imm = _SSE[name]
        self._text(name, dst, src, *([] if imm is None else [imm]))
        assert has_imm == (imm is not None), name
        if isinstance(dst, Mem):
            assert name in ("movdqu", "movdqa")
            dst, src, opcode = src, dst, 0x7F
        self._legacy(
            _ESCAPE[mmap] + bytes((opcode,)), dst.n, src, 0, _PREFIX[pp], tail=1 if has_imm else 0
        )
        if has_imm:
            self._imm(imm, 1)

    def _vshift(self, name, x, n):
        self._text(name, x, n)
        opcode, ext = _VSHIFT[name]
        self._legacy(bytes((0x0F, opcode)), ext, x, 0, b"\x66", tail=1)
        self._imm(n, 1)

    def _avx(self, name, *ops):
        self._text(name, *ops)
        imm = None
        if isinstance(ops[-1], int):
            imm = ops[-1]
            ops = ops[:-1]
        l = 1 if any(isinstance(o, Reg) and o.size == 32 for o in ops) else 0
        tail = 0 if imm is None else 1
        if name[1:] in _VSHIFT:
            opcode, ext = _VSHIFT[name[1:]]
            dst, src = ops
            self._vex(_66, _0F, opcode, ext, dst.n, src, l=l, tail=1)
        else:
            w = 0
            if name in _AVX:
                pp, mmap, opcode, w, _, two = _AVX[name]
            else:
                pp, mmap, opcode, _ = _SSE[name[1:]]
                two = name[1:] in _TWO
            if two:
                dst, src = ops
                if isinstance(dst, Mem):
                    dst, src, opcode = src, dst, 0x7F
                self._vex(pp, mmap, opcode, dst.n, 0, src, w, l, tail)
            else:
                dst, first, src = ops
                self._vex(pp, mmap, opcode, dst.n, first.n, src, w, l, tail)
        if imm is not None:
            self._imm(imm, 1)


class _Loop:
    def __init__(self, a, counter):
        self._a = a
        self._counter = counter

    def __enter__(self):
        self._top = self._a.here("loop")

    def __exit__(self, *_exc):
        self._a.dec(self._counter)
        self._a.jnz(self._top)


class Function:
    """`with Function(a, name, save, stack):` an entry that saves registers and takes `stack` bytes.

    The stack is a multiple of 64 in address, so that vector spills are aligned.
    """

    CALLEE = (rbx, rbp, r12, r13, r14, r15)

    def __init__(self, a, name, save=CALLEE, stack=0):
        self._a = a
        self._name = name
        self._save = save
        self._stack = (stack + 63) & ~63

    def __enter__(self):
        a = self._a
        a.align(64)
        a.label(self._name)
        a.push(*self._save)
        if self._stack:
            # The old stack pointer is kept above what the function uses.
            a.mov(rax, rsp)
            a.sub(rsp, self._stack + 64)
            a.and_(rsp, -64)
            a.mov(rsp[self._stack], rax)
        return a

    def __exit__(self, kind, *_exc):
        if kind is not None:
            return
        a = self._a
        if self._stack:
            a.mov(rsp, rsp[self._stack])
        a.pop(*reversed(self._save))
        a.ret()
