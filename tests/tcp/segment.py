"""Segments as bytes: built from what a script says, read from what the stack emits.

Knows nothing of stack/wire: what the stack writes is read by other code than the stack's.
"""

import struct

FLAGS = "FSRPAUEC"
OUR, PEER = 0, 1  # whose stream: the stack's, the script's
KINDS = {"mss": 2, "wscale": 3, "sackok": 4, "sack": 5, "ts": 8, "uto": 28, "fastopen": 34}
_NAMES = {kind: name for name, kind in KINDS.items()}
_M = 0xFFFFFFFF


def stream(start, n, side):
    """n octets of a stream from octet `start` on: each tells its place and its side."""
    return bytes((i ^ i >> 8 ^ side * 0x55) & 0xFF for i in range(start, start + n))


def sum16(data, total=0):
    """The Internet checksum of bytes: RFC 1071."""
    if len(data) & 1:
        data += b"\0"
    total += sum(struct.unpack(f"!{len(data) // 2}H", data))
    while total >> 16:
        total = (total & 0xFFFF) + (total >> 16)
    return total ^ 0xFFFF


V6 = 1 << 45  # at and above it an int is an IPv6 address: fd00:: and its low 32 bits


def address(a):
    """The bytes of an address."""
    n = struct.pack("!I", a & 0xFFFFFFFF)
    return b"\xfd" + bytes(11) + n if a >= V6 else n


def pseudo(src, dst, n):
    return address(src) + address(dst) + struct.pack("!BBH", 0, 6, n)


def flag_bits(text):
    return sum(1 << FLAGS.index(f) for f in set(text))


def option_bytes(name, values):
    """One option as bytes. values: ints; of fastopen and raw, hex text."""
    if name == "nop":
        return b"\x01"
    if name == "eol":
        return b"\x00"
    if name == "raw":
        return bytes.fromhex("".join(values))
    if name == "mss":
        return struct.pack("!BBH", 2, 4, values[0])
    if name == "wscale":
        return struct.pack("!BBB", 3, 3, values[0])
    if name == "sackok":
        return b"\x04\x02"
    if name == "ts":
        return struct.pack("!BBII", 8, 10, values[0] & _M, values[1] & _M)
    if name == "sack":
        return struct.pack("!BB", 5, 2 + 4 * len(values)) + b"".join(
            struct.pack("!I", v & _M) for v in values
        )
    if name == "uto":
        return struct.pack("!BBH", 28, 4, values[0])
    if name == "fastopen":
        cookie = bytes.fromhex("".join(values))
        return struct.pack("!BB", 34, 2 + len(cookie)) + cookie
    raise ValueError(f"no option is called {name}")


class Packet:
    """A segment as it was on the wire. options: name -> list of ints (fastopen: bytes)."""

    __slots__ = (
        "src_port", "dst_port", "seq", "ack", "flags", "win", "urg", "options", "order", "data",
        "at", "src", "dst", "tos", "ttl",
    )  # fmt: skip

    @property
    def length(self):
        """SEG.LEN: SYN and FIN count."""
        return len(self.data) + ("S" in self.flags) + ("F" in self.flags)


def build(sport, dport, seq, ack, flags, win, urg, options, data, src, dst, corrupt=False,
          off=None, summed=True):  # fmt: skip
    """A segment with its checksum. options: bytes, padded here. corrupt: the sum is wrong.
    off: a data offset, in words, that need not be true. summed: False leaves the sum zero.
    """
    options += b"\0" * (-len(options) % 4)
    if len(options) > 40:
        raise ValueError("more than 40 bytes of options")
    head = struct.pack(
        "!HHIIBBHHH", sport, dport, seq & _M, ack & _M,
        (20 + len(options)) << 2 if off is None else off << 4,
        flag_bits(flags), win, 0, urg,
    )  # fmt: skip
    whole = head + options + data
    if not summed:
        return whole
    c = sum16(pseudo(src, dst, len(whole)) + whole) ^ (0x0100 if corrupt else 0)
    return whole[:16] + struct.pack("!H", c) + whole[18:]


def parse(raw, src, dst):
    """A Packet. ValueError when its form or its checksum is wrong."""
    if sum16(pseudo(src, dst, len(raw)) + bytes(raw)):
        raise ValueError("the checksum is wrong")
    p = Packet()
    p.src, p.dst = src, dst
    p.tos = p.ttl = None
    (p.src_port, p.dst_port, p.seq, p.ack, off, bits, p.win, _, p.urg) = struct.unpack(
        "!HHIIBBHHH", raw[:20]
    )
    n = off >> 4 << 2
    if off & 0x0F or n < 20 or n > len(raw):
        raise ValueError(f"data offset {off:#x}")
    p.flags = "".join(f for i, f in enumerate(FLAGS) if bits >> i & 1)
    p.options, p.order = _options(bytes(raw[20:n]))
    p.data = bytes(raw[n:])
    return p


def _options(b):
    found, order, i = {}, [], 0
    while i < len(b):
        if b[i] == 0:
            # MUST-69: "the content of the header beyond the End of Option List option must
            # be header padding of zeros".
            if any(b[i:]):
                raise ValueError(f"padding that is not zero: {b.hex()}")
            break
        if b[i] == 1:
            order.append("nop")
            i += 1
            continue
        n = b[i + 1] if i + 1 < len(b) else 0
        if n < 2 or i + n > len(b):
            raise ValueError(f"a malformed option: {b.hex()}")
        name = _NAMES.get(b[i], f"kind{b[i]}")
        body = b[i + 2 : i + n]
        if name in found:
            raise ValueError(f"{name} twice")
        order.append(name)
        found[name] = _values(name, body)
        i += n
    return found, order


def _values(name, body):
    form = {"mss": "!H", "wscale": "!B", "sackok": "", "ts": "!II", "uto": "!H"}.get(name)
    if name == "sack":
        if not body or len(body) % 8:
            raise ValueError("sack blocks of half a size")
        form = f"!{len(body) // 4}I"
    if form is None:
        return body
    if struct.calcsize(form or "!") != len(body):
        raise ValueError(f"{name} of {len(body)} bytes")
    return list(struct.unpack(form, body)) if form else []
