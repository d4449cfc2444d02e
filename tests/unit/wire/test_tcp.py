"""The TCP header: reading, writing, and every way in which it can lie."""

from stack.core.frame import Frame
from stack.wire import tcp
from stack.wire.tcp import (
    ACK,
    FIN,
    HAS_MSS,
    HAS_SACK,
    HAS_SACK_OK,
    HAS_TS,
    HAS_WSCALE,
    PSH,
    SYN,
    Header,
)

_MSS = b"\x02\x04\x05\xb4"
_WSCALE = b"\x03\x03\x07"
_SACK_OK = b"\x04\x02"
_TS = b"\x08\x0a\x01\x02\x03\x04\xff\xfe\xfd\xfc"
_SACK = b"\x05\x0a" + bytes(range(8))
_NOP = b"\x01"
_END = b"\x00"


def _frame(data, off=0, tail=0):
    """data at `off` of a buffer with `tail` bytes behind it that belong to nobody."""
    f = Frame(bytearray(b"\xee" * off + bytes(data) + b"\x05" * tail))
    f.off = off
    f.end = off + len(data)
    return f


def _packet(options=b"", payload=b"", flags=ACK, hl=0):
    pad = bytes(options) + b"\x00" * (-len(options) % 4)
    b = bytearray(20 + len(pad))
    tcp.build(
        b, 0, 0x12345678, 0x9ABCDEF0, 0xFEDCBA98, tcp.control(hl or len(b), flags, 0xABCD), 0x1357
    )
    b[20:] = pad
    return b + payload


def _parse(data, off=0, tail=0):
    h = Header()
    f = _frame(data, off, tail)
    return (h if h.parse(f) else None), f


def test_fields():
    h, f = _parse(_packet(payload=b"data", flags=PSH | ACK), off=7)
    assert (h.src_port, h.dst_port) == (0x1234, 0x5678)
    assert (h.seq, h.ack, h.window) == (0x9ABCDEF0, 0xFEDCBA98, 0xABCD)
    assert h.flags == PSH | ACK and h.urgent == 0 and h.options == 0 and h.data_off == 20
    assert bytes(f.buf[f.off : f.end]) == b"data"


def test_build_is_what_the_rfc_draws():
    assert bytes(_packet(flags=SYN | FIN)) == (
        b"\x12\x34\x56\x78\x9a\xbc\xde\xf0\xfe\xdc\xba\x98\x50\x03\xab\xcd\x13\x57\x00\x00"
    )


def test_build_clears_what_was_there():
    b = bytearray(b"\xff" * 24)
    tcp.build(b, 2, 0, 0, 0, tcp.control(20, 0, 0), 0)
    assert bytes(b) == b"\xff\xff" + b"\x00" * 12 + b"\x50" + b"\x00" * 7 + b"\xff\xff"


def test_extremes():
    for v in (0, 1, 0x7FFFFFFF, 0x80000000, 0xFFFFFFFF):
        b = bytearray(20)
        tcp.build(b, 0, v, v, v, tcp.control(20, 0xFF, 0xFFFF), v & 0xFFFF)
        h, _ = _parse(b)
        assert (h.src_port, h.dst_port, h.seq, h.ack) == (v >> 16, v & 0xFFFF, v, v)
        assert h.flags == 0xFF and h.window == 0xFFFF


def test_every_truncation():
    """Shorter than its header says: dropped; shorter payload: just less of it."""
    whole = _packet(_MSS + _NOP + _WSCALE, b"abc")
    for n in range(len(whole)):
        h, f = _parse(whole[:n], off=3, tail=40)
        if n < 28:
            assert h is None, n
        else:
            assert h is not None and f.end - f.off == n - 28, n


def test_data_offset():
    """Below five words, or beyond the segment: dropped, whatever lies behind."""
    for words in range(16):
        b = _packet()
        b[12] = words << 4
        h, f = _parse(b + b"\x01" * 20, tail=60)
        assert (h is not None) == (5 <= words <= 10), words
        if h is not None:
            assert f.end - f.off == 40 - 4 * words


def test_reserved_bits_are_ignored():
    b = _packet()
    b[12] |= 0x0F
    h, _ = _parse(b)
    assert h is not None and h.data_off == 20


def test_options():
    for why, options, present in (
        ("none", b"", 0),
        ("mss", _MSS, HAS_MSS),
        ("window scale", _NOP + _WSCALE, HAS_WSCALE),
        ("sack permitted", _NOP + _NOP + _SACK_OK, HAS_SACK_OK),
        ("timestamps", _NOP + _NOP + _TS, HAS_TS),
        ("sack", _NOP + _NOP + _SACK, HAS_SACK),
        ("as Linux's SYN", _MSS + _SACK_OK + _TS + _NOP + _WSCALE,
         HAS_MSS | HAS_SACK_OK | HAS_TS | HAS_WSCALE),
        ("unknown ones are skipped", b"\xfe\x06abcd" + b"\x1e\x02" + _MSS, HAS_MSS),
        ("the end ends it", _END + _MSS, 0),
        ("only padding", _NOP * 4, 0),
        ("full", _NOP * 36 + _MSS, HAS_MSS),
        ("last byte is a kind", _NOP * 3 + b"\x02", 0),
        ("length 0 (MUST-7)", b"\x02\x00" + _MSS, 0),
        ("length 1", b"\x02\x01" + _MSS, 0),
        ("unknown of length 0", b"\xfe\x00" + _MSS, 0),
        ("longer than the header", b"\x02\x09\x05\xb4", 0),
        ("good before bad", _MSS + b"\x03\x00\x07\x00", HAS_MSS),
        ("mss of wrong length", b"\x02\x03\x05" + _NOP + _WSCALE, HAS_WSCALE),
        ("window scale of wrong length", b"\x03\x04\x07\x07" + _MSS, HAS_MSS),
        ("sack permitted of wrong length", b"\x04\x03\x00" + _NOP + _MSS, HAS_MSS),
        ("timestamps of wrong length", b"\x08\x0b" + _TS[2:] + b"\x00" + _NOP, 0),
        ("sack of no whole blocks", b"\x05\x0b" + bytes(9) + _NOP, 0),
        ("sack of no blocks", b"\x05\x02" + _NOP + _NOP, 0),
        ("sack of four blocks", _NOP + _NOP + b"\x05\x22" + bytes(32), HAS_SACK),
    ):  # fmt: skip
        h, f = _parse(_packet(options, b"x"), off=5, tail=10)
        assert h is not None, why
        assert h.options == present, (why, h.options)
        assert bytes(f.buf[f.off : f.end]) == b"x", why


def test_option_values():
    h, f = _parse(_packet(_MSS + _SACK_OK + _TS + _NOP + _WSCALE), off=9)
    assert (h.mss, h.wscale, h.ts_val, h.ts_ecr) == (1460, 7, 0x01020304, 0xFFFEFDFC)
    h, f = _parse(_packet(_NOP + _NOP + _SACK), off=9)
    assert bytes(f.buf[h.sack_off : h.sack_off + h.sack_len]) == bytes(range(8))


def test_window_scale_above_14():
    """RFC 7323, 2.3: "MUST use 14"."""
    for shift, want in ((0, 0), (14, 14), (15, 14), (255, 14)):
        h, _ = _parse(_packet(b"\x03\x03" + bytes([shift])))
        assert h.wscale == want


def test_last_of_two_counts():
    h, _ = _parse(_packet(_MSS + b"\x02\x04\x02\x18"))
    assert h.mss == 536


def test_options_are_not_read_beyond_the_header():
    """What follows the header looks like an option and is payload."""
    h, f = _parse(_packet(b"\x01\x01\x01\x02", b"\x04\x05\xb4"))
    assert h.options == 0 and f.end - f.off == 3


def test_a_header_forgets_the_last_one():
    h = Header()
    assert h.parse(_frame(_packet(_MSS)))
    assert h.options == HAS_MSS
    assert h.parse(_frame(_packet()))
    assert h.options == 0


def test_noise_is_survived():
    """5,000 headers of noise: parsed or not, never an exception, never beyond the frame."""
    x = 12345
    b = bytearray(60)
    h = Header()
    for i in range(5000):
        for j in range(60):
            x = (x * 1103515245 + 12345) & 0x7FFFFFFF
            b[j] = x >> 16 & 0xFF
            if j > 20 and b[j] > 40:
                b[j] &= 15
        if i & 1:
            b[12] |= 0x50
        f = _frame(b[: 20 + i % 41], off=i & 7)
        end = f.end
        if h.parse(f):
            assert f.off <= f.end == end
            assert h.wscale <= 14
            if h.options & HAS_SACK:
                assert h.sack_off + h.sack_len <= f.off
