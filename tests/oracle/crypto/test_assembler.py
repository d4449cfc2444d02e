"""The assembler against objdump: each instruction's text against the disassembly of its bytes."""

import re
import shutil
import subprocess

import pytest

from stack.crypto.asm import x86
from stack.crypto.asm.x86 import GPR, XMM, YMM, Asm, Mem, Reg, sized

pytestmark = pytest.mark.skipif(not shutil.which("objdump"), reason="no objdump installed")


def disassemble(code, tmp_path):
    """[(offset, text)] as objdump reads it."""
    path = tmp_path / "code.bin"
    path.write_bytes(code)
    out = subprocess.run(
        ["objdump", "-D", "-b", "binary", "-m", "i386:x86-64", "-M", "intel", "-w", str(path)],
        capture_output=True, text=True, check=True,
    ).stdout  # fmt: skip
    found = []
    for line in out.splitlines():
        m = re.match(r"\s*([0-9a-f]+):\t[0-9a-f ]+\t(.*)", line)
        if m:
            found.append((int(m.group(1), 16), m.group(2)))
    return found


def _operand(o, a, size):
    if isinstance(o, Reg):
        return o.name
    if isinstance(o, int):
        return hex(o & ((1 << 8 * size) - 1))
    if isinstance(o, str):
        return hex(a._labels[o])
    if o.label:
        return "[%#x]" % (a._labels[o.label] + o.disp)
    return repr(o).replace("*1]", "]").replace("*1+", "+").replace("*1-", "-")


def _ours(a, name, operands):
    regs = [o.size for o in operands if isinstance(o, (Reg, Mem)) and o.size]
    size = regs[0] if regs and regs[0] in (4, 8) else 1
    if name in (
        "shl",
        "shr",
        "sar",
        "rol",
        "ror",
        "rorx",
        "shld",
        "shrd",
        "pextrq",
        "pinsrq",
        "vpinsrd",
    ):
        size = 1
    if name == "movabs":
        size = 8
    if name == "mov16":
        name = "mov"
        operands = (
            operands[0],
            Reg({"e": "", "r": ""}.get(operands[1].name[0], "") + _word(operands[1]), 0, 2),
        )
    if name.endswith("pclmulqdq"):
        # objdump has a name for each choice of halves.
        alias = {0x00: "lqlq", 0x01: "hqlq", 0x10: "lqhq", 0x11: "hqhq"}[operands[-1]]
        name = name.replace("pclmulqdq", "pclmul%sdq" % alias)
        operands = operands[:-1]
    return name, ",".join(_operand(o, a, size) for o in operands)


def _word(reg):
    return reg.name[1:] if reg.name[0] == "e" else reg.name[:-1] + "w"


def _theirs(text):
    text = re.sub(r"\s+#.*\[?(0x[0-9a-f]+).*", r" #\1", text)
    m = re.match(r"(.*)\[rip[+-]0x[0-9a-f]+\](.*) #(0x[0-9a-f]+)", text)
    if m:
        text = "%s[%s]%s" % (m.group(1), m.group(3), m.group(2))
    text = re.sub(r"\b[A-Z]+ PTR ", "", text)
    name, _, rest = text.partition(" ")
    rest = rest.replace(" ", "")
    if name == "sha256rnds2":
        rest = rest[: -len(",xmm0")]  # its third operand is always that one
    return name, rest.replace("+0x0]", "]").replace("*1]", "]").replace("*1+", "+").replace(
        "*1-", "-"
    )


def check(a, tmp_path):
    """Every instruction of `a` reads back as it was meant. Returns how many."""
    code = a.finish()
    theirs = dict(disassemble(code[: a.text_size], tmp_path))
    for pos, name, operands in a.listing:
        assert pos in theirs, "%s at %#x is not where an instruction begins" % (name, pos)
        assert _theirs(theirs[pos]) == _ours(a, name, operands), theirs[pos]
    return len(a.listing)


_REGS = [GPR[i] for i in (0, 3, 4, 5, 7, 8, 12, 13, 15)]
_MEMS = (
    [r[0] for r in _REGS]
    + [r[-128] for r in _REGS[:4]]
    + [r[0x1234] for r in _REGS]
    + [r[i, 8, 16] for r in _REGS for i in (GPR[1], GPR[9], GPR[13])]
    + [GPR[5][GPR[0]], GPR[13][GPR[14], 4, 0]]
)


def test_integer(tmp_path):
    a = Asm()
    for name in x86._ALU:
        f = getattr(a, name)
        for r in _REGS:
            f(r, _REGS[3])
            f(r.d, _REGS[5].d)
            f(r, 5)
            f(r, -129)
            f(r.d, 0x7FFFFFF)
        for m in _MEMS:
            f(m, GPR[9])
            f(GPR[2].d, m)
            f(sized(m, 4), 9)
            f(sized(m, 8), 1000)
    for r in _REGS:
        for name in x86._SHIFT:
            getattr(a, name)(r, 13)
            getattr(a, name)(r.d, 31)
        for name in x86._UNARY:
            getattr(a, name)(r)
            getattr(a, name)(r.d)
            getattr(a, name)(sized(r[8], 8))
        for name in x86._BMI:
            getattr(a, name)(r, GPR[9], GPR[1])
            getattr(a, name)(r.d, GPR[9].d, GPR[14].d)
        a.mov(r, GPR[2])
        a.mov(r.d, GPR[11].d)
        a.mov(r, 0x12345678)
        a.mov(r, -5)
        a.mov(r, 0x123456789ABCDEF0)
        a.mov(r.d, 0xFFFFFFFF)
        a.bswap(r)
        a.bswap(r.d)
        a.movzx8(GPR[9].d, r.b)
        a.setc(r.b)
        a.cmovz(r, GPR[10])
        a.cmovb(GPR[10].d, r.d)
        a.imul(r, GPR[14])
        a.imul(r, GPR[14], 38)
        a.imul(r.d, GPR[14].d, 121665)
        a.rorx(r, GPR[3], 63)
        a.rorx(GPR[12].d, r.d, 7)
        a.mulx(r, GPR[10], GPR[11])
        a.andn(r, GPR[10], GPR[11])
        a.andn(r.d, GPR[1].d, GPR[11].d)
        a.adcx(r, GPR[9])
        a.adox(GPR[1], r)
        a.shld(r, GPR[9], 5)
        a.shrd(r, GPR[2], 51)
        a.test(r, r)
        a.xchg(GPR[9], r)
        a.push(r)
        a.pop(r)
        a.movd(XMM[3], r.d)
        a.movd(r.d, XMM[11])
        a.movq(XMM[9], r)
        a.movq(r, XMM[2])
        a.pinsrq(XMM[9], r, 1)
        a.pextrq(r, XMM[2], 1)
        a.vpinsrd(XMM[9], XMM[2], r.d, 3)
    for m in _MEMS:
        a.mov(m, GPR[6])
        a.mov(m, GPR[6].b)
        a.mov(GPR[14].d, m)
        a.mov(sized(m, 4), 77)
        a.mov(sized(m, 8), -1)
        a.mov16(m, GPR[1].d)
        a.mov16(m, GPR[9].d)
        a.lea(GPR[3], m)
        a.movbe(GPR[3], m)
        a.movbe(m, GPR[13].d)
        a.movzx8(GPR[3].d, m)
        a.movzx16(GPR[3].d, m)
        a.mulx(GPR[8], GPR[9], m)
        a.adcx(GPR[8], m)
        a.imul(GPR[8], m)
    a.ret()
    a.cpuid()
    a.xgetbv()
    assert check(a, tmp_path) > 1500


def test_vector(tmp_path):
    a = Asm()
    a.data("constant", bytes(range(32)))
    xs = [XMM[i] for i in (0, 7, 8, 15)]
    for name, (_pp, _map, _op, imm) in x86._SSE.items():
        extra = (0x11,) if imm else ()
        for x in xs:
            for src in (
                *xs,
                GPR[4][0x40],
                GPR[9][GPR[10], 4, 3],
                a.at("constant"),
                a.at("constant", 16),
            ):
                if name.startswith("sha256rnds2"):
                    getattr(a, name)(x, src)
                    continue
                getattr(a, name)(x, src, *extra)
                if name.startswith("sha"):
                    continue
                for wide in (False, True):
                    if wide and name in ("aeskeygenassist",):
                        continue
                    reg = lambda r, wide=wide: r.y if isinstance(r, Reg) and wide else r
                    if name in x86._TWO:
                        getattr(a, "v" + name)(reg(x), reg(src), *extra)
                    else:
                        getattr(a, "v" + name)(reg(x), reg(xs[2]), reg(src), *extra)
    for x in xs:
        for name in x86._VSHIFT:
            getattr(a, name)(x, 7)
            getattr(a, "v" + name)(x, xs[2], 9)
            getattr(a, "v" + name)(x.y, YMM[3], 9)
        a.movdqu(GPR[7][0x10], x)
        a.vmovdqu(GPR[7][0x10], x.y)
        a.vperm2i128(x.y, YMM[2], YMM[9], 0x31)
        a.vinserti128(x.y, YMM[2], XMM[9], 1)
        a.vextracti128(XMM[9], x.y, 1)
        a.vextracti128(GPR[9][0], x.y, 1)
        a.vbroadcasti128(x.y, GPR[9][16])
        a.vpbroadcastd(x.y, x)
        a.vpbroadcastw(x.y, x)
    a.vzeroupper()
    assert check(a, tmp_path) > 1000


def test_jumps(tmp_path):
    a = Asm()
    a.label("start")
    a.jmp("end")
    back = a.here()
    for _ in range(200):
        a.align(8)
        a.call("start")
        a.jnz(back)
        a.jc("end")
    with a.loop(GPR[1]):
        a.add(GPR[0], 1)
    a.label("end")
    a.ret()
    assert check(a, tmp_path) > 600


def test_unknown_instruction():
    with pytest.raises(AttributeError):
        Asm().nosuch(GPR[0])


def test_every_kernel(tmp_path):
    from stack.crypto.asm.build import assemble

    assert check(assemble(), tmp_path) > 5000
