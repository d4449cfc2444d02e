"""A WebSocket after its handshake, as a pure machine. RFC 6455, sections 5 to 7; RFC 7692.

    c = Connection(client, rng, deflate=None, most=1 << 20)
    c.receive(data) | c.receive_eof()      c.next_event() -> (kind, what) or None
        TEXT str | BINARY bytes | PING bytes | PONG bytes | CLOSE (code, reason)
    c.send(data, final=True)   str or bytes: a message, or a fragment of one
    c.ping(data)  c.close(code, reason)
    c.data_to_send()   c.buffered: bytes that wait for it

Pings and Close are answered by the machine. A broken peer gets a Close, and a
ProtocolError(close code, reason) is raised once, after which CLOSE is all that comes.
What a peer can make us hold: one message of `most` bytes, also when it grows out of
compressed bytes, and _PONGS answers to pings.
Not implemented: reading a message's fragments one by one.
"""

from micropython import const

from stack.core.errors import ProtocolError
from stack.ws.frames import (
    ABNORMAL,
    BAD_DATA,
    BINARY,
    CLOSE,
    CONTROL_MAX,
    FIN,
    NO_STATUS,
    NORMAL,
    PING,
    PONG,
    PROTOCOL_ERROR,
    RSV1,
    TEXT,
    TOO_BIG,
    apply_mask,
    check_utf8,
    close_code_is_valid,
    push_frame,
)

OPEN = const(0)
CLOSING = const(1)  # our Close is sent, the peer's has not come
CLOSED = const(2)
NAMES = ("open", "closing", "closed")

MESSAGE_MAX = const(1 << 20)
_PONGS = const(4096)  # bytes of answers that wait


class Connection:
    def __init__(self, client, rng, deflate=None, most=MESSAGE_MAX):
        self.client = client
        self.state = OPEN
        self.close_code = 0  # the peer's, once it has come
        self.close_reason = ""
        self._rng = rng
        self._deflate = deflate
        self._most = most
        self._buf = bytearray()
        self._pos = 0
        self._out = bytearray()
        self._parts = []  # of the message that comes
        self._size = 0
        self._opcode = 0
        self._packed = False
        self._utf8 = 0
        self._sending = 0  # the opcode of the message that is being sent in fragments
        self._pongs = 0
        self._told = False  # CLOSE was given out

    # Out.

    @property
    def buffered(self):
        return len(self._out)

    def data_to_send(self):
        out = self._out
        if not out:
            return b""
        self._out = bytearray()
        self._pongs = 0
        return out

    def _push(self, first, data):
        push_frame(self._out, first, data, self._rng(4) if self.client else None)

    def send(self, data, final=True):
        """Send a message, str as text, else binary; final=False: a part of one. ValueError."""
        if self.state != OPEN:
            raise ValueError("WebSocket is %s" % NAMES[self.state])
        first = TEXT if isinstance(data, str) else BINARY
        if isinstance(data, str):
            data = data.encode()
        if self._sending:
            if first != self._sending:
                raise ValueError("text and bytes in one message")
            first = 0
        elif not final:
            self._sending = first
        elif self._deflate is not None:
            packed = self._deflate.compress(data)
            if packed is not None:
                data = packed
                first |= RSV1
        if final:
            first |= FIN
            self._sending = 0
        self._push(first, data)

    def ping(self, data=b""):
        if self.state == OPEN:
            if len(data) > CONTROL_MAX:
                raise ValueError("ping too long")
            self._push(FIN | PING, data)

    def close(self, code=NORMAL, reason=""):
        """Begin to close, or answer; nothing when that was done before. ValueError."""
        if self.state != OPEN:
            return
        raw = reason.encode()
        if not close_code_is_valid(code) or len(raw) > CONTROL_MAX - 2:
            raise ValueError("bad close code or reason")
        self._push(FIN | CLOSE, bytes((code >> 8, code & 255)) + raw)
        self.state = CLOSING

    # In.

    def receive(self, data):
        if self._pos:
            self._buf[: self._pos] = b""
            self._pos = 0
        if self.state != CLOSED:
            self._buf.extend(data)

    def receive_eof(self):
        """The transport has ended."""
        if self.state != CLOSED:
            self.state = CLOSED
            self.close_code = ABNORMAL

    def next_event(self):
        """(kind, what), or None when more must be received."""
        while True:
            if self.state == CLOSED:
                if self._told:
                    return None
                self._told = True
                self._parts = []
                return CLOSE, (self.close_code, self.close_reason)
            event = self._frame()
            if event is not _AGAIN:
                return event

    def _fail(self, code, reason):
        if self.state == OPEN:
            self.close(code, reason)
        self.state = CLOSED
        self.close_code = code
        self.close_reason = reason
        raise ProtocolError(code, reason)

    def _frame(self):
        buf = self._buf
        p = self._pos
        have = len(buf) - p
        if have < 2:
            return None
        first = buf[p]
        n = buf[p + 1] & 127
        size = 2
        if first & 0x30 or first & RSV1 and (self._deflate is None or not 1 <= first & 15 <= 2):
            self._fail(PROTOCOL_ERROR, "reserved bit")
        if (buf[p + 1] & 128 != 0) == self.client:
            # Section 5.1: a client masks all frames, a server none.
            self._fail(PROTOCOL_ERROR, "masked as it must not be")
        if n > 125:
            size = 4 if n == 126 else 10
            least = 126 if n == 126 else 65536
            if have < size:
                return None
            n = int.from_bytes(buf[p + 2 : p + size], "big")
            if n < least or n >> 63:
                # "the minimal number of bytes MUST be used to encode the length"
                self._fail(PROTOCOL_ERROR, "length not as short as it could be")
        opcode = first & 15
        self._check_header(first, opcode, n)
        if not self.client:
            size += 4
        if have < size + n:
            return None
        at = p + size
        self._pos = at + n
        if not self.client:
            apply_mask(buf, at, at + n, bytes(buf[at - 4 : at]))
        data = bytes(memoryview(buf)[at : at + n])
        if opcode >= CLOSE:
            return self._control(opcode, data)
        return self._part(first, opcode, data)

    def _check_header(self, first, opcode, n):
        if opcode >= CLOSE:
            if opcode > PONG or n > CONTROL_MAX or not first & FIN:
                self._fail(PROTOCOL_ERROR, "bad control frame")
        elif opcode > BINARY:
            self._fail(PROTOCOL_ERROR, "unknown opcode")
        elif (opcode == 0) != (self._opcode != 0):
            self._fail(PROTOCOL_ERROR, "fragment where none belongs")
        elif self._size + n > self._most:
            self._fail(TOO_BIG, "message too long")

    def _part(self, first, opcode, data):
        last = first & FIN != 0
        if opcode:
            self._opcode = opcode
            self._packed = first & RSV1 != 0
            self._utf8 = 0
        if self._packed:
            try:
                data = self._deflate.decompress(data, last, self._most - self._size)
            except ProtocolError as e:
                self._fail(e.code, e.reason)
        self._size += len(data)
        if self._opcode == TEXT:
            self._utf8 = check_utf8(data, 0, len(data), self._utf8)
            if self._utf8 < 0 or last and self._utf8:
                self._fail(BAD_DATA, "not UTF-8")
        if self.state == CLOSING:
            # After our Close only the peer's matters, yet what comes must still be framed.
            data = b""
        if not last:
            self._parts.append(data)
            return _AGAIN
        if self._parts:
            self._parts.append(data)
            data = b"".join(self._parts)
            self._parts = []
        kind = self._opcode
        self._opcode = self._size = 0
        if self.state == CLOSING:
            return _AGAIN
        return kind, (str(data, "utf-8") if kind == TEXT else data)

    def _control(self, opcode, data):
        if opcode == CLOSE:
            return self._on_close(data)
        if opcode == PING and self.state == OPEN and self._pongs < _PONGS:
            # Section 5.5.3 lets us answer only the latest where several came.
            self._pongs += len(data) + 2
            self._push(FIN | PONG, data)
        return opcode, data

    def _on_close(self, data):
        code = NO_STATUS
        reason = ""
        if len(data) == 1:
            self._fail(PROTOCOL_ERROR, "bad Close")
        if data:
            code = data[0] << 8 | data[1]
            if not close_code_is_valid(code):
                self._fail(PROTOCOL_ERROR, "bad close code")
            if check_utf8(data, 2, len(data), 0):
                self._fail(BAD_DATA, "not UTF-8")
            reason = str(data[2:], "utf-8")
        if self.state == OPEN:
            self._push(FIN | CLOSE, data[:2])
        self.state = CLOSED
        self.close_code = code
        self.close_reason = reason
        return _AGAIN


_AGAIN = (0, b"")
