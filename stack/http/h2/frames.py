"""HTTP/2 frames: their numbers and how they are written. RFC 9113, sections 4, 6, 7; RFC 9218.

    0                   1                   2                   3
    |                 Length (24)                   |   Type (8)    |
    |   Flags (8)   |R|                Stream Identifier (31)       |
    |                     Payload (Length bytes)                  ...

Not implemented: PUSH_PROMISE is never written, PRIORITY is read past (it is deprecated).
"""

import micropython
from micropython import const

DATA = const(0)
HEADERS = const(1)
PRIORITY = const(2)
RST_STREAM = const(3)
SETTINGS = const(4)
PUSH_PROMISE = const(5)
PING = const(6)
GOAWAY = const(7)
WINDOW_UPDATE = const(8)
CONTINUATION = const(9)
PRIORITY_UPDATE = const(16)  # RFC 9218, section 7.1

END_STREAM = const(1)
ACK = const(1)
END_HEADERS = const(4)
PADDED = const(8)
WITH_PRIORITY = const(32)

HEADER_TABLE_SIZE = const(1)
ENABLE_PUSH = const(2)
MAX_CONCURRENT_STREAMS = const(3)
INITIAL_WINDOW_SIZE = const(4)
MAX_FRAME_SIZE = const(5)
MAX_HEADER_LIST_SIZE = const(6)
ENABLE_CONNECT_PROTOCOL = const(8)  # RFC 8441
NO_RFC7540_PRIORITIES = const(9)  # RFC 9218

NO_ERROR = const(0)
PROTOCOL_ERROR = const(1)
INTERNAL_ERROR = const(2)
FLOW_CONTROL_ERROR = const(3)
SETTINGS_TIMEOUT = const(4)
STREAM_CLOSED = const(5)
FRAME_SIZE_ERROR = const(6)
REFUSED_STREAM = const(7)
CANCEL = const(8)
COMPRESSION_ERROR = const(9)
CONNECT_ERROR = const(10)
ENHANCE_YOUR_CALM = const(11)
INADEQUATE_SECURITY = const(12)
HTTP_1_1_REQUIRED = const(13)

PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"

HEADER_LEN = const(9)
FRAME_MAX = const(16384)  # we announce no more, so a peer that sends more is wrong
WINDOW_MAX = const(0x7FFFFFFF)
DEFAULT_WINDOW = const(65535)


_header = bytearray(HEADER_LEN)


@micropython.viper
def _fill(header, length: int, kind: int, flags: int, stream_id: int):
    p = ptr8(header)
    p[0] = length >> 16 & 0xFF
    p[1] = length >> 8 & 0xFF
    p[2] = length & 0xFF
    p[3] = kind
    p[4] = flags
    p[5] = stream_id >> 24 & 0xFF
    p[6] = stream_id >> 16 & 0xFF
    p[7] = stream_id >> 8 & 0xFF
    p[8] = stream_id & 0xFF


def push_header(out, length, kind, flags, stream_id):
    _fill(_header, length, kind, flags, stream_id)
    out.extend(_header)


def push32(out, v):
    out.append(v >> 24 & 255)
    out.append(v >> 16 & 255)
    out.append(v >> 8 & 255)
    out.append(v & 255)


def push_settings(out, pairs):
    push_header(out, 6 * len(pairs), SETTINGS, 0, 0)
    for key, value in pairs:
        out.append(0)
        out.append(key)
        push32(out, value)


def push_headers(out, stream_id, block, end_stream):
    """A field block as HEADERS and as many CONTINUATIONs as it takes."""
    first = True
    at = 0
    while first or at < len(block):
        n = min(FRAME_MAX, len(block) - at)
        flags = END_HEADERS if at + n == len(block) else 0
        if first and end_stream:
            flags |= END_STREAM
        push_header(out, n, HEADERS if first else CONTINUATION, flags, stream_id)
        out.extend(block if n == len(block) else memoryview(block)[at : at + n])
        at += n
        first = False


def get32(buf, at):
    return buf[at] << 24 | buf[at + 1] << 16 | buf[at + 2] << 8 | buf[at + 3]
