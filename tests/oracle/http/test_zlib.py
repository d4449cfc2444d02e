"""DEFLATE against zlib: every wrapping and level, cut at random, and what we pack, unpacked."""

import random
import zlib

import pytest

from stack.core import flate
from stack.core.deflate import deflate

WRAPS = ((flate.RAW, -15), (flate.ZLIB, 15), (flate.GZIP, 31), (flate.EITHER, 15),
         (flate.EITHER, -15))  # fmt: skip


def some(r, n):
    kind = r.randrange(3)
    if kind == 0:
        return r.randbytes(n)
    if kind == 1:
        return bytes(r.choice(b"abcde ") for _ in range(n))
    return (b"hello world %d " % r.randrange(9)) * (n // 10)


@pytest.mark.parametrize("seed", range(8))
def test_against_zlib(seed):
    r = random.Random(seed)
    for _ in range(6):
        data = some(r, r.choice([0, 1, 5, 100, 3000, 40000]))
        strategy = r.choice([zlib.Z_DEFAULT_STRATEGY, zlib.Z_HUFFMAN_ONLY, zlib.Z_FIXED])
        for wrap, bits in WRAPS:
            z = zlib.compressobj(r.choice([0, 1, 6, 9]), zlib.DEFLATED, bits, 8, strategy)
            packed = z.compress(data[: len(data) // 2]) + z.flush(zlib.Z_SYNC_FLUSH)
            packed += z.compress(data[len(data) // 2 :]) + z.flush()
            step = 1 if len(packed) < 300 else r.choice([100, 1000, len(packed)])
            ours, out = flate.Inflate(wrap), b""
            for i in range(0, len(packed), step):
                ours.receive(packed[i : i + step])
                while piece := ours.read():
                    out += piece
            assert out == data and ours.done
        for reach in (256, 32768):
            packed = deflate(data, reach)
            assert zlib.decompressobj(-(reach.bit_length() - 1)).decompress(packed) == data
