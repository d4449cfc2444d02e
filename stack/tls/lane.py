"""The usual record with few calls: application data, whole, without padding. RFC 8446, section 5.

    n = open_record(m, buf, at, have)               in place, where the transport has put it
    n = seal_record(m, buf, at, data, off, n)       built where the transport takes it from

Both give the length of the record, or 0 with nothing changed where it is anything else: then
the ordinary way (connection.py, record.py) is to be taken, which knows everything that is here
and says what is wrong; tests/unit/tls/test_lane.py compares the two. `m` is a connection of
stack/tls; steps are long and calls few as in transport/tcp/fast.py.

Not implemented: padding, records in parts, and what comes before the handshake is done.
"""

import micropython
from micropython import const

from stack.core.mem import copy

_DATA = const(23)  # APPLICATION_DATA
_HEADER = const(5)
_OVERHEAD = const(22)  # header, type, tag


@micropython.viper
def nonce(out, iv, seq: int):
    """5.3: the sequence number, padded to the left, xor the IV, 12 bytes."""
    o = ptr8(out)
    v = ptr8(iv)
    i = 0
    while i < 4:
        o[i] = v[i]
        i += 1
    s = 56
    while i < 12:
        o[i] = v[i] ^ (seq >> s & 0xFF)
        s -= 8
        i += 1


@micropython.viper
def _look(buf, at: int, have: int, aad) -> int:
    """The length of the record at buf[at : at + have] with its header, which is copied to aad; 0
    if it is not there whole, or cannot be protected data with a byte in it."""
    if have < 23:
        return 0
    p = ptr8(buf)
    n = p[at + 3] << 8 | p[at + 4]
    # 5.2: "The length MUST NOT exceed 2^14 + 256 bytes."
    if p[at] != 23 or n < 18 or n > 16640 or n + 5 > have:
        return 0
    a = ptr8(aad)
    i = 0
    while i < 5:
        a[i] = p[at + i]
        i += 1
    return n + 5


@micropython.viper
def _frame(buf, at: int, n: int, aad):
    """Put the header in front of n bytes of data, in aad too, and the type behind them."""
    p = ptr8(buf)
    a = ptr8(aad)
    k = n + 17
    p[at] = a[0] = 23
    p[at + 1] = a[1] = 3
    p[at + 2] = a[2] = 3
    p[at + 3] = a[3] = k >> 8 & 0xFF
    p[at + 4] = a[4] = k & 0xFF
    p[at + 5 + n] = 23


def open_record(m, buf, at, have):
    """Open the record at buf[at : at + have], if it is whole; its length.

    m.data_len bytes of data are at buf[at + 5:] then; 0: it is another record, and its
    plaintext of (length - 21) bytes there is to be given to `m.opened`.
    """
    r = m._reader
    w = m.arrived
    if (
        not m.connected
        or m.error is not None
        or m.read_closed
        or w.end != w.start
        or m._messages
        or m._events
        or at + have > len(buf)
    ):
        return 0
    keys = r.keys
    aad = keys.aad
    n = _look(buf, at, have, aad)
    if not n:
        return 0
    nonce(keys.nonce, keys.iv, keys.seq)
    if not keys.opens(keys.k, keys.nonce, aad, buf, at + _HEADER, n - 21):
        return 0  # it is as it was: the ordinary way will fail at it too, and say so
    keys.seq += 1
    k = n - _OVERHEAD
    # Not the last byte of padding, nor beyond what we said that we take.
    if buf[at + _HEADER + k] == _DATA and 0 < k < r.limit:
        r.idle = m._post = 0
        m.data_len = k
    else:
        m.data_len = 0
    return n


def seal_record(m, buf, at, data, off, n):
    """Make buf[at : at + n + 22] a record of data[off : off + n]; its length."""
    w = m._writer
    out = m.out
    keys = w.keys
    if (
        not m.connected
        or m.error is not None
        or m.write_closed
        or out.end != out.start
        or m._owes_update
        or w.pad > 1
        or not 0 < n < w.limit
        or keys.seq >= keys.suite.record_limit
        or at < 0
        or at + n + _OVERHEAD > len(buf)
    ):
        return 0
    copy(buf, at + _HEADER, data, off, n)
    _frame(buf, at, n, keys.aad)
    nonce(keys.nonce, keys.iv, keys.seq)
    keys.seq += 1  # whatever happens, never this one again
    keys.seals(keys.k, keys.nonce, keys.aad, buf, at + _HEADER, n + 1)
    return n + _OVERHEAD
