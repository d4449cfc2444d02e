"""The record layer: bytes into records and back, in place. RFC 8446, section 5; RFC 8449.

     0   1       3         5
    +---+-------+---------+----------------------------------------+
    |typ| 03 03 | length  | content | type | zeros | tag (16)      |
    +---+-------+---------+----------------------------------------+
                          |<------ encrypted ---->|

Receiving copies once, from the transport into `buf`; records are decrypted
where they lie, and the content is read from there. Sending copies once, from
the caller into `buf` behind the header, and encrypts there. Usual records need
not come by here: lane.py.

Not implemented: compression, and everything before TLS 1.3.
"""

import micropython
from micropython import const

from stack.core.mem import copy
from stack.tls import alert, lane, schedule
from stack.tls.alert import TlsError

CHANGE_CIPHER_SPEC = const(20)
ALERT = const(21)
HANDSHAKE = const(22)
APPLICATION_DATA = const(23)

HEADER = const(5)
TAIL = const(17)  # type and tag
OVERHEAD = const(22)
MAX_PLAINTEXT = const(16384)
_MAX_CIPHERTEXT = const(16384 + 256)
# Records that carry nothing, in a row. Middleboxes and padding make a few.
_MAX_IDLE = const(32)


class Keys:
    """One direction's cipher and sequence number, from a traffic secret."""

    # opens, seals: the cipher's kernels, called with `k` first; nonce, aad: made anew each time.
    __slots__ = ("suite", "secret", "seq", "iv", "nonce", "aad", "k", "opens", "seals")

    def __init__(self, suite, secret):
        key, self.iv = schedule.traffic_keys(suite, secret)
        self.suite = suite
        self.secret = secret
        self.seq = 0
        self.nonce = bytearray(12)
        self.aad = bytearray(HEADER)
        self.k, self.opens, self.seals = suite.aead(key).kernels()

    def next(self):
        """The Keys after a KeyUpdate."""
        secret = schedule.next_application_traffic_secret(self.suite.hash, self.secret)
        return Keys(self.suite, secret)

    def _prepare(self, buf, off, n):
        """Nonce and additional data of the record whose header is before buf[off:]."""
        if off < HEADER or n < 0 or off + n + TAIL - 1 > len(buf):
            raise ValueError("bounds")
        lane.nonce(self.nonce, self.iv, self.seq)
        copy(self.aad, 0, buf, off - HEADER, HEADER)

    def seal(self, buf, off, n):
        """Encrypt buf[off:off+n], a tag behind it; the record's header is before it."""
        self._prepare(buf, off, n)
        self.seq += 1  # whatever happens, never this one again
        self.seals(self.k, self.nonce, self.aad, buf, off, n)

    def open(self, buf, off, n):
        """False if the tag is wrong; the sequence number then stays."""
        self._prepare(buf, off, n)
        if self.opens(self.k, self.nonce, self.aad, buf, off, n):
            self.seq += 1
            return True
        return False


@micropython.viper
def _content_end(buf, off: int, end: int) -> int:
    """The index of the last byte in buf[off:end] that is not zero, or off - 1."""
    p = ptr8(buf)
    i = end - 1
    while i >= off:
        if p[i] != 0:
            return i
        i -= 1
    return i


_NOTHING = bytearray(0)


class Window:
    """Bytes buf[start:end] in a buffer that comes and goes with them."""

    def __init__(self, buffers):
        self._buffers = buffers
        self.buf = _NOTHING
        self.start = 0
        self.end = 0

    def __len__(self):
        return self.end - self.start

    def reserve(self, n):
        """Make room for n bytes at `end`. MemoryError if there is none to be had."""
        if self.start == self.end:
            self.start = self.end = 0
        have = self.end - self.start
        if self.end + n <= len(self.buf):
            return
        if have + n <= len(self.buf):
            copy(self.buf, 0, self.buf, self.start, have)
        else:
            fresh = self._buffers.alloc(have + n)
            copy(fresh, 0, self.buf, self.start, have)
            if len(self.buf):
                self._buffers.free(self.buf)
            self.buf = fresh
        self.start = 0
        self.end = have

    def append(self, data, off, n):
        self.reserve(n)
        copy(self.buf, self.end, data, off, n)
        self.end += n

    def release(self):
        """Give the buffer back."""
        if len(self.buf):
            self._buffers.free(self.buf)
            self.buf = _NOTHING
        self.start = self.end = 0


class RecordReader:
    """What comes in. `next()` gives a record as kind, off, n: its content is buf[off:off+n]."""

    def __init__(self, buffers):
        self.window = Window(buffers)
        self.keys = None  # None: in the clear
        self.limit = MAX_PLAINTEXT + 1  # of TLSInnerPlaintext, RFC 8449 makes it less
        self.ccs_allowed = True  # until the peer's Finished
        self.skip = 0  # bytes of refused early data that may still come
        self.kind = 0
        self.off = 0
        self.n = 0
        self._protected = False  # a record was opened
        self._first = True
        self.idle = 0

    def next(self):
        """True if a record is there. TlsError for one that is not as it has to be."""
        w = self.window
        while w.end - w.start >= HEADER:
            buf = w.buf
            at = w.start
            kind = buf[at]
            n = buf[at + 3] << 8 | buf[at + 4]
            self._check_header(kind, buf[at + 1], n)
            if w.end - at < HEADER + n:
                return False
            w.start = at + HEADER + n
            self.off = at + HEADER
            self.n = n
            self._first = False
            if self._open(kind, at, n):
                return True
        if w.start == w.end:
            w.release()
        return False

    def wanted(self):
        """How many bytes are missing for the next record, as far as is known."""
        w = self.window
        have = w.end - w.start
        if have < HEADER:
            return HEADER - have
        return HEADER + (w.buf[w.start + 3] << 8 | w.buf[w.start + 4]) - have

    def _check_header(self, kind, major, n):
        if not CHANGE_CIPHER_SPEC <= kind <= APPLICATION_DATA or (self._first and major != 3):
            why = "record type %d" % kind
            if self._first:
                w = self.window
                why = "this is not TLS: it begins with %s" % bytes(w.buf[w.start : w.start + 5])
            raise TlsError(alert.UNEXPECTED_MESSAGE, why)
        # 5.1, 5.2: "An endpoint that receives a record that exceeds this length MUST
        # terminate the connection with a record_overflow alert."
        most = MAX_PLAINTEXT
        if kind == APPLICATION_DATA:
            most = _MAX_CIPHERTEXT
        if n > most:
            raise TlsError(alert.RECORD_OVERFLOW, "a record of %d bytes" % n)

    def _idled(self):
        self.idle += 1
        if self.idle > _MAX_IDLE:
            raise TlsError(alert.UNEXPECTED_MESSAGE, "too many records that carry nothing")

    def _open(self, kind, at, n):
        """True if the record at `at` is for the layer above."""
        if kind == CHANGE_CIPHER_SPEC:
            # 5: "An implementation which receives any other change_cipher_spec value or
            # which receives a protected change_cipher_spec record MUST abort".
            if n != 1 or self.window.buf[self.off] != 1 or not self.ccs_allowed:
                raise TlsError(alert.UNEXPECTED_MESSAGE, "a change_cipher_spec that may not be")
            self._idled()
            return False
        if self.keys is not None:
            return self._open_protected(kind, at, n)
        if kind == APPLICATION_DATA:
            if self._skipped(n):
                return False
            raise TlsError(alert.UNEXPECTED_MESSAGE, "application data before the handshake")
        # 5.1: "Implementations MUST NOT send zero-length fragments of Handshake types".
        if n == 0:
            raise TlsError(alert.UNEXPECTED_MESSAGE, "an empty record")
        self.kind = kind
        return True

    def _skipped(self, n):
        """True if a record that cannot be read may be early data that we refused. 4.2.10."""
        if self.skip < n or self.skip == 0:
            return False
        self.skip -= n
        return True

    def _open_protected(self, kind, at, n):
        w = self.window
        if kind != APPLICATION_DATA:
            # A peer that failed before it had our keys says so in the clear.
            if kind == ALERT and not self._protected and n == 2:
                self.kind = kind
                return True
            raise TlsError(alert.UNEXPECTED_MESSAGE, "a record in the clear after the key change")
        n -= TAIL - 1
        # Type and tag at least; less cannot be a record of ours.
        if n < 1 or not self.keys.open(w.buf, self.off, n):
            if self._skipped(n + TAIL - 1 if n > 0 else 1):
                return False
            raise TlsError(alert.BAD_RECORD_MAC, "a record that was altered, or of another key")
        self._protected = True
        self.skip = 0
        return self._opened(n)

    def accept(self, buf, off, n):
        """As `next`, of a record that lane.py has opened: its plaintext, copied from buf."""
        w = self.window
        w.append(buf, off, n)
        w.start = w.end
        self.off = w.end - n
        return self._opened(n)

    def _opened(self, n):
        """Look into a record's plaintext of n bytes at `off`."""
        w = self.window
        # 5.2: "If the TLSInnerPlaintext is longer than 2^14 + 1 octets, record_overflow".
        if n > self.limit:
            raise TlsError(alert.RECORD_OVERFLOW, "a record with %d bytes of plaintext" % n)
        last = _content_end(w.buf, self.off, self.off + n)
        # 5.4: "If a receiving implementation does not find a non-zero octet in the
        # cleartext, it MUST terminate the connection with an unexpected_message alert."
        if last < self.off:
            raise TlsError(alert.UNEXPECTED_MESSAGE, "a record of nothing but padding")
        self.kind = w.buf[last]
        self.n = last - self.off
        if self.n == 0:
            if self.kind != APPLICATION_DATA:
                raise TlsError(alert.UNEXPECTED_MESSAGE, "an empty record")
            self._idled()
        elif self.kind == APPLICATION_DATA:
            self.idle = 0
        if not ALERT <= self.kind <= APPLICATION_DATA:
            raise TlsError(alert.UNEXPECTED_MESSAGE, "record type %d" % self.kind)
        return True


class RecordWriter:
    """What goes out: window.buf[start:end] is to be sent."""

    def __init__(self, buffers, pad):
        self.window = Window(buffers)
        self.keys = None
        self.limit = MAX_PLAINTEXT + 1  # the peer's, of TLSInnerPlaintext
        self.version = 0x0303
        self.pad = pad
        self._messages = bytearray()  # handshake messages, to share records

    def pending(self):
        return self.window.end - self.window.start

    def message(self, raw):
        """A handshake message: it goes with its neighbours, before anything else does."""
        self._messages.extend(raw)

    def flush(self):
        n = len(self._messages)
        if n:
            data = self._messages
            self._messages = bytearray()
            self.put(HANDSHAKE, data, 0, n)

    def put(self, kind, data, off, n):
        """Records with data[off:off+n]."""
        self.flush()
        most = self.limit - 1
        while True:
            k = n if n < most else most
            self._record(kind, data, off, k)
            self.version = 0x0303  # only a first ClientHello goes by another
            off += k
            n -= k
            if not n:
                return

    def clear(self, kind, data):
        """A record without protection whatever the keys: change_cipher_spec."""
        self.flush()
        keys = self.keys
        self.keys = None
        self._record(kind, data, 0, len(data))
        self.keys = keys

    def _record(self, kind, data, off, n):
        w = self.window
        w.reserve(HEADER + self._padded(n) + TAIL)
        at = w.end
        copy(w.buf, at + HEADER, data, off, n)
        if self.keys is None:
            self._header(w.buf, at, kind, n)
            w.end = at + HEADER + n
        else:
            w.end = at + self._seal(kind, w.buf, at, n, self._padded(n))

    def _padded(self, n):
        """Content and padding, bytes; within the peer's limit."""
        if self.pad < 2:
            return n
        p = (n + self.pad - 1) // self.pad * self.pad
        return min(p, max(n, self.limit - 1))

    def _header(self, buf, at, kind, n):
        buf[at] = kind
        buf[at + 1] = 3
        buf[at + 2] = self.version & 0xFF if self.keys is None else 3
        buf[at + 3] = n >> 8
        buf[at + 4] = n & 0xFF

    def _seal(self, kind, buf, at, n, padded):
        """Protect the content at `at` + 5; how long the record is."""
        p = at + HEADER
        buf[p + n] = kind
        for i in range(p + n + 1, p + padded + 1):
            buf[i] = 0
        self._header(buf, at, APPLICATION_DATA, padded + TAIL)
        self.keys.seal(buf, p, padded + 1)
        return padded + OVERHEAD
