"""SHA3-256, SHA3-512, SHAKE128, SHAKE256 (FIPS 202), for ML-KEM.

    sha3_256(data) -> 32 bytes;  sha3_512(data) -> 64 bytes
    x = Shake128(data);  x.read(n);  x.read(n) ...   (absorbed whole, squeezed in pieces)

The permutation is a kernel on 25 little-endian 64-bit lanes in a bytearray(200).
"""

from stack.crypto import kernels


class _Sponge:
    """Absorb `data` with the domain suffix, then squeeze."""

    def __init__(self, rate, suffix, data):
        self._rate = rate
        self._state = s = bytearray(200)
        n = len(data)
        off = 0
        while n - off >= rate:
            _absorb(s, data, off, rate)
            kernels.keccak_f(s)
            off += rate
        last = bytearray(rate)
        last[: n - off] = memoryview(data)[off:]
        last[n - off] = suffix
        last[rate - 1] |= 0x80
        _absorb(s, last, 0, rate)
        kernels.keccak_f(s)
        self._pos = 0

    def read(self, n):
        """The next n bytes."""
        rate = self._rate
        pos = self._pos
        out = b""
        while n > 0:
            if pos == rate:
                kernels.keccak_f(self._state)
                pos = 0
            k = min(n, rate - pos)
            out += bytes(self._state[pos : pos + k])
            pos += k
            n -= k
        self._pos = pos
        return out


def _absorb(state, data, off, rate):
    a = int.from_bytes(state[:rate], "little")
    b = int.from_bytes(data[off : off + rate], "little")
    state[:rate] = (a ^ b).to_bytes(rate, "little")


def sha3_256(data):
    return _Sponge(136, 0x06, data).read(32)


def sha3_512(data):
    return _Sponge(72, 0x06, data).read(64)


class Shake128(_Sponge):
    rate = 168

    def __init__(self, data):
        super().__init__(168, 0x1F, data)


class Shake256(_Sponge):
    rate = 136

    def __init__(self, data):
        super().__init__(136, 0x1F, data)
