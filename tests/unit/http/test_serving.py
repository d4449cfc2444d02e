"""What a server decides without a socket: dates, conditions, ranges, paths."""

from stack.http import conditional, dates, url
from stack.http.headers import Headers


def test_dates():
    for t, text in (
        (0, "Thu, 01 Jan 1970 00:00:00 GMT"),
        (784111777, "Sun, 06 Nov 1994 08:49:37 GMT"),
        (951782400, "Tue, 29 Feb 2000 00:00:00 GMT"),
        (1709164800, "Thu, 29 Feb 2024 00:00:00 GMT"),
        (4102444799, "Thu, 31 Dec 2099 23:59:59 GMT"),
    ):
        assert dates.format(t) == text and dates.parse(text) == t
    # RFC 9110, section 5.6.7: the three forms.
    for text in ("Sunday, 06-Nov-94 08:49:37 GMT", "Sun Nov  6 08:49:37 1994"):
        assert dates.parse(text) == 784111777
    for text in (
        "",
        "0",
        "yesterday",
        "Sun, 06 Nov 1994",
        "Sun, 32 Nov 1994 08:49:37 GMT",
        "Sun, 06 Nov 1994 25:00:00 GMT",
        "Sun, 06 Nov 1994 08:49 GMT",
        "a:b:c 6 Nov 1994",
    ):
        assert dates.parse(text) == -1, text
    for day in range(0, 60000, 37):
        assert dates.parse(dates.format(day * 86400 + 12345)) == day * 86400 + 12345


def test_ranges():
    for value, size, want in (
        ("bytes=0-9", 100, (0, 10)),
        ("bytes=90-", 100, (90, 100)),
        ("bytes=-10", 100, (90, 100)),
        ("bytes=-200", 100, (0, 100)),
        ("bytes=50-500", 100, (50, 100)),
        ("BYTES=0-0", 100, (0, 1)),
        ("bytes=100-", 100, (-1, 0)),
        ("bytes=-0", 100, (-1, 0)),
        ("bytes=0-", 0, (-1, 0)),
        ("bytes=9-5", 100, None),
        ("bytes=a-b", 100, None),
        ("bytes=-", 100, None),
        ("bytes=5", 100, None),
        ("bytes=+1-5", 100, None),
        ("bytes=0-1,3-4", 100, None),
        ("lines=0-1", 100, None),
        ("bytes=0-9999999999999999999", 100, None),
    ):
        h = Headers([("Range", value)])
        assert conditional.byte_range(h, '"e"', 5, size) == want, value
    for condition, whole in (('"e"', False), ('"f"', True), ('W/"e"', True), ("x", True)):
        h = Headers([("Range", "bytes=0-9"), ("If-Range", condition)])
        assert (conditional.byte_range(h, '"e"', 5, 100) is None) == whole, condition


def test_query():
    assert url.parse_query("a=1&b=%C3%A4+x&c&a=2") == {"a": "2", "b": "\u00e4 x", "c": ""}
    assert url.parse_query("") == {}
