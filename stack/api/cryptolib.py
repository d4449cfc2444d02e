"""cryptolib: MicroPython's AES in the modes ECB (1), CBC (2) and CTR (6). FIPS 197, SP 800-38A.

    aes(key, MODE_CBC, iv).encrypt(data[, out])        .decrypt(data[, out])

For programs that want it, of boards: TLS has ciphers of its own. Tables are looked up by secret
bytes, so it is not constant-time. Not implemented: other modes, keys of 192 bits.
"""

import struct

import micropython
from micropython import const

from stack.crypto.plain import aes_expand, aes_tables
from stack.crypto.viper import _SBOX, _TE, _aes

MODE_ECB = const(1)
MODE_CBC = const(2)
MODE_CTR = const(6)

_inverse = None


def _inverse_sbox():
    global _inverse
    if _inverse is None:
        table = bytearray(256)
        for i, s in enumerate(aes_tables()[0]):
            table[s] = i
        _inverse = bytes(table)
    return _inverse


@micropython.viper
def _decrypt(keys, rounds: int, inverse, state, other):
    """One block in state. FIPS 197, section 5.3; other: 16 bytes to work in."""
    K = ptr8(keys)
    V = ptr8(inverse)
    S = ptr8(state)
    T = ptr8(other)
    i = 0
    while i < 16:
        S[i] = S[i] ^ K[16 * rounds + i]
        i += 1
    r = rounds - 1
    while r >= 0:
        i = 0
        while i < 16:  # InvShiftRows, InvSubBytes, AddRoundKey
            T[i] = V[S[(i - 4 * (i & 3)) & 12 | i & 3]] ^ K[16 * r + i]
            i += 1
        i = 0
        while i < 16:
            if r:  # InvMixColumns: 14, 11, 13, 9 times the column's bytes from this one on
                x = 0
                j = 0
                while j < 4:
                    a = T[i & 12 | (i + j) & 3]
                    b = a << 1 ^ (a >> 7) * 0x11B
                    c = b << 1 ^ (b >> 7) * 0x11B
                    d = c << 1 ^ (c >> 7) * 0x11B
                    if j == 0:
                        x ^= d ^ c ^ b
                    elif j == 1:
                        x ^= d ^ b ^ a
                    elif j == 2:
                        x ^= d ^ c ^ a
                    else:
                        x ^= d ^ a
                    j += 1
                S[i] = x
            else:
                S[i] = T[i]
            i += 1
        r -= 1


class aes:
    def __init__(self, key, mode, iv=None):
        if mode not in (MODE_ECB, MODE_CBC, MODE_CTR):
            raise ValueError("mode")
        if len(key) not in (16, 32):
            raise ValueError("key")
        if mode != MODE_ECB and (iv is None or len(iv) != 16):
            raise ValueError("IV")
        words = aes_expand(bytes(key))
        self._keys = struct.pack("<%dI" % len(words), *words)
        self._last = len(words) - 4
        self._mode = mode
        self._iv = bytearray(iv or 16)
        self._stream = bytearray(16)
        self._used = 16  # bytes of the stream that are spent
        self._way = 0

    def _block(self, block, out):
        _aes(self._keys, self._last, _TE, _SBOX, block, out)

    def encrypt(self, in_buf, out_buf=None):
        return self._run(in_buf, out_buf, 1)

    def decrypt(self, in_buf, out_buf=None):
        return self._run(in_buf, out_buf, 2)

    def _run(self, data, out, way):
        n = len(data)
        if self._mode != MODE_CTR and n & 15:
            raise ValueError("blksize % 16")
        if out is not None and len(out) < n:
            raise ValueError("output too small")
        if self._way not in (0, way):
            raise ValueError("can't encrypt & decrypt")
        self._way = way
        result = bytearray(n) if out is None else out
        if self._mode == MODE_CTR:
            self._counter(data, result, n)
        else:
            for i in range(0, n, 16):
                block = bytearray(memoryview(data)[i : i + 16])
                result[i : i + 16] = self._seal(block) if way == 1 else self._open(block)
        return bytes(result) if out is None else None

    def _seal(self, block):
        out = bytearray(16)
        if self._mode == MODE_CBC:
            _xor(block, self._iv)
        self._block(block, out)
        if self._mode == MODE_CBC:
            self._iv = out
        return out

    def _open(self, block):
        before = bytes(block)
        _decrypt(self._keys, self._last >> 2, _inverse_sbox(), block, self._stream)
        if self._mode == MODE_CBC:
            _xor(block, self._iv)
            self._iv = before
        return block

    def _counter(self, data, result, n):
        for i in range(n):
            if self._used == 16:
                self._block(self._iv, self._stream)
                count = int.from_bytes(self._iv, "big") + 1 & (1 << 128) - 1
                self._iv = bytearray(count.to_bytes(16, "big"))
                self._used = 0
            result[i] = data[i] ^ self._stream[self._used]
            self._used += 1


def _xor(block, other):
    for i in range(16):
        block[i] ^= other[i]
