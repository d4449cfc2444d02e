"""Montgomery multiplication at the bounds that the point formulas reach, and division steps."""

import platform
import random

import pytest

from stack.crypto.asm import inverse
from stack.crypto.asm.field import Field
from stack.crypto.asm.host import Host
from stack.crypto.asm.x86 import Asm, Function
from stack.crypto.p256 import P256
from stack.crypto.p384 import P384

pytestmark = pytest.mark.skipif(platform.machine() != "x86_64", reason="x86-64 machine code")


@pytest.fixture(scope="module")
def host():
    return Host()


@pytest.mark.parametrize("curve,w,n", ((P256, 54, 5), (P384, 57, 7)), ids=("p256", "p384"))
def test_montgomery_bounds(host, curve, w, n):
    field = Field("f", curve.p, w, n)
    a = Asm()
    field.emit(a)
    with Function(a, "entry"):
        a.call("f_mul")
    code = host.code(a.finish()) + a.entries["entry"]
    rnd = random.Random(1)
    # The largest operands of asm/weierstrass.py: differences of differences, below 132 p,
    # with limbs below 20 * 2^w (h and r of an addition).
    top = 132 * curve.p >> w * (n - 1)
    limit = [20 << w] * (n - 1) + [top]

    def operand(kind):
        if kind == 0:
            return [x - 1 for x in limit]
        if kind == 1:
            return [rnd.choice((0, x - 1)) for x in limit]
        return [rnd.randrange(x) for x in limit]

    inverse_r = pow(field.R, -1, curve.p)
    for i in range(2000):
        f, g = operand(i % 3), operand(i // 3 % 3)
        x, y = [sum(v << w * k for k, v in enumerate(z)) for z in (f, g)]
        fb, gb = [b"".join(v.to_bytes(8, "little") for v in z) for z in (f, g)]
        out = bytearray(8 * n)
        host.call(code, host.addr(out), host.addr(fb), host.addr(gb))
        limbs = [int.from_bytes(out[k : k + 8], "little") for k in range(0, 8 * n, 8)]
        assert max(limbs) < 1 << w
        value = sum(v << w * k for k, v in enumerate(limbs))
        assert value % curve.p == x * y * inverse_r % curve.p
        # (132 + the limbs' excess)^2 p / R + 1
        assert value < 3 * curve.p


@pytest.mark.parametrize(
    "m,words", ((P256.p, 4), (P256.n, 4), (P384.p, 6), (P384.n, 6), ((1 << 255) - 19, 4))
)
def test_inverse(host, m, words):
    a = Asm()
    inverse.inverse(a)
    code = host.code(a.finish())
    table = inverse.table(m, words)
    rnd = random.Random(2)
    special = [0, 1, 2, m - 1, m - 2, m // 2, m // 2 + 1, m // 3, 1 << m.bit_length() - 1]
    special += [1 << k for k in range(0, m.bit_length() - 1, 7)]
    for x in [v % m for v in special] + [rnd.randrange(m) for _ in range(1000)]:
        out = bytearray(8 * words)
        xb = x.to_bytes(8 * words, "little")
        host.call(code, host.addr(out), host.addr(xb), host.addr(table))
        assert int.from_bytes(out, "little") == (pow(x, -1, m) if x else 0)
