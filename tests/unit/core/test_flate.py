"""DEFLATE: RFC examples, cut anywhere, damaged anywhere, and back and forth with ourselves."""

from stack.core import flate
from stack.core.deflate import deflate
from stack.core.errors import ProtocolError
from stack.core.flate import EITHER, GZIP, RAW, ZLIB

TEXT = b"".join([b"line %d of a text that repeats itself\n" % i for i in range(20)])


def inflate(wrap, data, step=0):
    z = flate.Inflate(wrap)
    out = b""
    for i in range(0, len(data), step or len(data)):
        z.receive(data[i : i + (step or len(data))])
        while True:
            piece = z.read()
            if not piece:
                break
            out += piece
    return out, z.done, z.rest()


def gzip(data, flags=0, extra=b""):
    import binascii

    raw = deflate(data) + b"\x03\x00"  # an empty last block
    crc = binascii.crc32(data) & 0xFFFFFFFF
    head = b"\x1f\x8b\x08" + bytes((flags,)) + bytes(6) + extra
    return head + raw + crc.to_bytes(4, "little") + len(data).to_bytes(4, "little")


def adler(data):
    return flate._adler(data, 0, len(data), 1).to_bytes(4, "big")


SOME = (b"", b"a", b"abc" * 1000, bytes(range(256)) * 5, TEXT * 10, bytes(70000))


def test_back_and_forth():
    for data in SOME:
        raw = deflate(data) + b"\x03\x00"
        for wrap, packed in (
            (RAW, raw),
            (EITHER, raw),
            (ZLIB, b"\x78\x9c" + raw + adler(data)),
            (EITHER, b"\x78\x9c" + raw + adler(data)),
            (GZIP, gzip(data)),
            (GZIP, gzip(data, 4 | 8 | 16 | 2, b"\x02\x00xxname\x00comment\x00\x12\x34")),
        ):
            for step in (0, 1, 7) if len(packed) < 3000 else (0, 1000):
                assert inflate(wrap, packed, step) == (data, True, b""), (wrap, len(data), step)
            assert inflate(wrap, packed + b"rest")[2] == b"rest"
    assert len(deflate(bytes(70000))) < 1000


def test_stored_and_fixed():
    assert inflate(RAW, b"\x01\x05\x00\xfa\xffhello")[0] == b"hello"
    assert inflate(RAW, b"\x00\x02\x00\xfd\xffhe\x01\x03\x00\xfc\xffllo", 1)[:2] == (b"hello", True)
    assert inflate(RAW, b"\xf3H\xcd\xc9\xc9\x07\x00")[0] == b"Hello"  # RFC 7692, 7.2.3.1
    # 7.2.3.5: two blocks.
    assert inflate(RAW, b"\xf2H\x05\x00\x00\x00\xff\xff\xca\xc9\xc9\x07\x00")[0] == b"Hello"


def test_dynamic():
    """Codes of its own."""
    # Lengths: a (97) one bit, 256 one bit; written by hand after RFC 1951, section 3.2.7.
    bits = []

    def put(value, n):
        for i in range(n):
            bits.append(value >> i & 1)

    def code(value, n):
        for i in range(n - 1, -1, -1):
            bits.append(value >> i & 1)

    put(1, 1), put(2, 2), put(0, 5), put(0, 5), put(14, 4)
    # Order 16 17 18 0 8 7 9 6 10 5 11 4 12 3 13 2 14 1: lengths 18 -> 1 bit, 1 -> 2, 0 -> 2.
    lengths = {18: 1, 0: 2, 1: 2}
    for sym in (16, 17, 18, 0, 8, 7, 9, 6, 10, 5, 11, 4, 12, 3, 13, 2, 14, 1):
        put(lengths.get(sym, 0), 3)
    # Codes: 18 = 0, 0 = 10, 1 = 11.
    code(0, 1), put(97 - 11, 7)  # 97 zeros
    code(3, 2)  # a: one bit
    code(0, 1), put(138 - 11, 7)  # 138 zeros
    code(0, 1), put(20 - 11, 7)  # 20 more: up to 255
    code(3, 2)  # 256: one bit
    code(2, 2)  # one distance code, unused
    code(0, 1), code(0, 1), code(0, 1), code(1, 1)  # a a a end
    while len(bits) % 8:
        bits.append(0)
    data = bytes([sum([bits[i + j] << j for j in range(8)]) for i in range(0, len(bits), 8)])
    for step in (0, 1):
        assert inflate(RAW, data, step)[:2] == (b"aaa", True)


def test_faults():
    good = gzip(b"hello")
    for why, wrap, data in (
        ("block type", RAW, b"\x07"),
        ("stored length", RAW, b"\x01\x05\x00\xfa\xfehello"),
        ("distance beyond the start", RAW, b"\x02\x7f\x00\x00\x00\x00"),
        ("length code 286", RAW, b"\x1b\x03\x00\x00"),
        ("over-subscribed", RAW, b"\x05\xe0\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff"),
        ("too many codes", RAW, b"\xfd\xff\xff\xff\xff\xff"),
        ("gzip magic", GZIP, b"\x1f\x8c" + good[2:]),
        ("gzip method", GZIP, b"\x1f\x8b\x07" + good[3:]),
        ("gzip flags", GZIP, b"\x1f\x8b\x08\x20" + good[4:]),
        ("gzip checksum", GZIP, good[:-5] + b"\xff" + good[-4:]),
        ("gzip length", GZIP, good[:-1] + b"\xff"),
        ("zlib header", ZLIB, b"\x78\x9d\x03\x00"),
        ("zlib dictionary", ZLIB, b"\x78\xbb\x03\x00"),
        ("zlib checksum", ZLIB, b"\x78\x9c\x03\x00\x00\x00\x00\x02"),
    ):
        for step in (0, 1):
            try:
                got = inflate(wrap, data, step)
                raise AssertionError((why, got))
            except ProtocolError:
                pass


def test_truncated_is_not_done():
    for wrap, data in ((RAW, deflate(TEXT) + b"\x03\x00"), (GZIP, gzip(TEXT))):
        for n in range(0, len(data), 3):
            assert not inflate(wrap, data[:n] or b"")[1] if n else True


def test_damaged_anywhere():
    data = deflate(TEXT) + b"\x03\x00"
    for i in range(0, len(data), 2):
        for flip in (1, 0x80, 0xFF):
            bad = data[:i] + bytes([data[i] ^ flip]) + data[i + 1 :]
            try:
                inflate(RAW, bad)
            except ProtocolError:
                pass


def test_read_is_bounded():
    z = flate.Inflate(RAW)
    z.receive(deflate(bytes(1000000)))
    most = total = 0
    while True:
        piece = z.read()
        if not piece:
            break
        most = max(most, len(piece))
        total += len(piece)
    assert total == 1000000 and most <= 65536


def test_reach():
    """Nothing further back than the decoder's window is referred to."""
    block = bytes(range(256))
    data = block + bytes(300) + block
    assert len(deflate(data)) < len(deflate(data, 256))
