"""Presentation of nonsense: what a prompt prints must not raise."""

from stack.dns import rdata


def test_nonsense_in_known_types():
    for type, data, expected in (
        (rdata.NSEC, b"\0\0", "\\# 2 0000"),  # a window without its length
        (rdata.NSEC, b"\0\1\1\x40\0\1\x40", "\\# 7 00010140000140"),  # windows out of order
        (rdata.HTTPS, b"\0\1\0\0\1\0\3\1h", "\\# 9 000100000100030168"),  # a value cut short
        (rdata.HTTPS, b"\0\1\0\0\1\0\3\5h2", "\\# 10 00010000010003056832"),
        (rdata.TXT, b"\1\xff", '"\\255"'),
    ):
        assert rdata.text(type, data) == expected, (type, rdata.text(type, data))
