"""Bounds-checked reading and writing of messages (DNS, DHCP, TLS, HTTP/2).

Reading beyond the end raises ProtocolError, never IndexError. Not for the
packet path: taking bytes allocates.
"""

from stack.core.errors import ProtocolError


class Reader:
    """Read big-endian fields of buf[pos:end] in order."""

    def __init__(self, buf, pos=0, end=None, code="truncated"):
        self.buf = buf
        self.pos = pos
        self.end = len(buf) if end is None else end
        self._code = code

    def left(self):
        return self.end - self.pos

    def _take(self, n):
        p = self.pos
        if n < 0 or p + n > self.end:
            raise ProtocolError(self._code, "message ends too early")
        self.pos = p + n
        return p

    def pull_u8(self):
        return self.buf[self._take(1)]

    def pull_u16(self):
        p = self._take(2)
        b = self.buf
        return b[p] << 8 | b[p + 1]

    def pull_u24(self):
        p = self._take(3)
        b = self.buf
        return b[p] << 16 | b[p + 1] << 8 | b[p + 2]

    def pull_u32(self):
        p = self._take(4)
        b = self.buf
        return b[p] << 24 | b[p + 1] << 16 | b[p + 2] << 8 | b[p + 3]

    def pull_bytes(self, n):
        p = self._take(n)
        return bytes(self.buf[p : p + n])

    def skip(self, n):
        self._take(n)

    def sub(self, n):
        """A Reader of the next n bytes, which this one skips."""
        p = self._take(n)
        return Reader(self.buf, p, p + n, self._code)


class Writer:
    """Append big-endian fields to `out`, a bytearray."""

    def __init__(self):
        self.out = bytearray()

    def push_u8(self, v):
        self.out.append(v)

    def push_u16(self, v):
        self.out.append(v >> 8)
        self.out.append(v & 0xFF)

    def push_u24(self, v):
        self.out.append(v >> 16)
        self.push_u16(v & 0xFFFF)

    def push_u32(self, v):
        self.push_u16(v >> 16)
        self.push_u16(v & 0xFFFF)

    def push_bytes(self, data):
        self.out.extend(data)

    def patch_u16(self, pos, v):
        """Overwrite two bytes at `pos`, for a length known only later."""
        self.out[pos] = v >> 8
        self.out[pos + 1] = v & 0xFF
