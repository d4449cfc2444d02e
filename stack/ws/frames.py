"""WebSocket frames: masking, headers, UTF-8. RFC 6455, section 5.

    |F|R|R|R| opcode|M| length (7)  | 16 or 64 bits of length, if 126 or 127 | mask (32), if M |

Not implemented: RSV2 and RSV3, which no extension here uses.
"""

import micropython
from micropython import const

CONTINUATION = const(0)
TEXT = const(1)
BINARY = const(2)
CLOSE = const(8)
PING = const(9)
PONG = const(10)

FIN = const(0x80)
RSV1 = const(0x40)  # compressed: RFC 7692

CONTROL_MAX = const(125)

NORMAL = const(1000)
GOING_AWAY = const(1001)
PROTOCOL_ERROR = const(1002)
UNSUPPORTED = const(1003)
NO_STATUS = const(1005)  # never on the wire, as is the next
ABNORMAL = const(1006)
BAD_DATA = const(1007)
POLICY = const(1008)
TOO_BIG = const(1009)
EXTENSION = const(1010)
INTERNAL = const(1011)


@micropython.viper
def apply_mask(buf, off: int, end: int, key):
    """XOR buf[off:end] with the four bytes of key, in place. Section 5.3."""
    p = ptr8(buf)
    k = ptr8(key)
    i = 0
    while off < end:
        p[off] = int(p[off]) ^ int(k[i & 3])
        off += 1
        i += 1


@micropython.viper
def check_utf8(buf, off: int, end: int, state: int) -> int:
    """Go over bytes of a text that may be cut anywhere: the new state, 0 between characters,
    -1 for what is no UTF-8 (RFC 3629, section 4). The state: bytes to come, range of the next."""
    p = ptr8(buf)
    need = state & 0xFF
    lo = state >> 8 & 0xFF
    hi = state >> 16 & 0xFF
    while off < end:
        b = int(p[off])
        off += 1
        if need:
            if b < lo or b > hi:
                return -1
            need -= 1
            lo = 0x80
            hi = 0xBF
        elif b > 0x7F:
            lo = 0x80
            hi = 0xBF
            if b < 0xC2 or b > 0xF4:
                return -1
            if b < 0xE0:
                need = 1
            elif b < 0xF0:
                need = 2
                if b == 0xE0:
                    lo = 0xA0
                elif b == 0xED:
                    hi = 0x9F
            else:
                need = 3
                if b == 0xF0:
                    lo = 0x90
                elif b == 0xF4:
                    hi = 0x8F
    return need | lo << 8 | hi << 16 if need else 0


def push_frame(out, first, data, key):
    """Append a frame. first: FIN, RSV1 and the opcode; key: 4 bytes of mask, or None."""
    n = len(data)
    out.append(first)
    m = 0 if key is None else 0x80
    if n < 126:
        out.append(m | n)
    elif n < 65536:
        out.append(m | 126)
        out.append(n >> 8)
        out.append(n & 255)
    else:
        out.append(m | 127)
        out.extend(n.to_bytes(8, "big"))
    if key is None:
        out.extend(data)
    else:
        out.extend(key)
        at = len(out)
        out.extend(data)
        apply_mask(out, at, at + n, key)


def close_code_is_valid(code):
    """Whether a Close frame may carry it. Section 7.4."""
    return 1000 <= code <= 1014 and code not in (1004, 1005, 1006) or 3000 <= code <= 4999
