"""URLs: parts, what is refused, Location resolved as RFC 3986's own table has it."""

from stack.http.url import decode, encode, join, parse


def refused(text):
    try:
        parse(text)
    except ValueError:
        return True
    return False


def test_parts():
    for text, scheme, host, port, target in (
        ("http://example.test", "http", "example.test", 80, "/"),
        ("HTTP://Example.TEST/", "http", "example.test", 80, "/"),
        ("http://example.test:8080/a/b?c=d#e", "http", "example.test", 8080, "/a/b?c=d"),
        ("http://example.test?x", "http", "example.test", 80, "/?x"),
        ("http://example.test#x/y", "http", "example.test", 80, "/"),
        ("http://example.test/?u=http://x", "http", "example.test", 80, "/?u=http://x"),
        ("https://10.0.0.1/x", "https", "10.0.0.1", 443, "/x"),
        ("http://[fe80::1]:81/", "http", "fe80::1", 81, "/"),
        ("http://example.test:/", "http", "example.test", 80, "/"),
        ("http://h/\u00e4", "http", "h", 80, "/%C3%A4"),
    ):
        u = parse(text)
        assert (u.scheme, u.host, u.port, u.target) == (scheme, host, port, target), text


def test_user():
    u = parse("http://ann:s%40crt@h/")
    assert u.user == "ann:s@crt" and u.host == "h"
    assert "ann" not in str(u)


def test_authority():
    assert parse("http://h:80/").authority() == "h"
    assert parse("https://h:80/").authority() == "h:80"
    assert parse("http://[::1]:8080/").authority() == "[::1]:8080"
    assert str(parse("http://h:81/x?y#z")) == "http://h:81/x?y"


def test_refused():
    for text in (
        "", "example.test", "ftp://h/", "http:/h", "http://", "http:///x", "://h", "http://:80/",
        "http://h:0/", "http://h:65536/", "http://h:x/", "http://h:-1/", "http://h: 80/",
        "http://h\r\nX: y/", "http://h/a b", "http://h/\r\nHost: x", "http://h/\x00", "http://h/\x7f",
        "http://h\\x/", "http://[::1/", "http://[::1]x/", "http://[g]/", "http://a b/", "http://h%20/",
        "http://h:123456/",
    ):  # fmt: skip
        assert refused(text), text


def test_join():
    base = parse("http://a/b/c/d;p?q")
    for location, expected in (
        ("g", "http://a/b/c/g"),
        ("./g", "http://a/b/c/g"),
        ("g/", "http://a/b/c/g/"),
        ("/g", "http://a/g"),
        ("//g", "http://g/"),
        ("?y", "http://a/b/c/d;p?y"),
        ("g?y", "http://a/b/c/g?y"),
        ("#s", "http://a/b/c/d;p?q"),
        ("g#s", "http://a/b/c/g"),
        ("", "http://a/b/c/d;p?q"),
        (".", "http://a/b/c/"),
        ("./", "http://a/b/c/"),
        ("..", "http://a/b/"),
        ("../", "http://a/b/"),
        ("../g", "http://a/b/g"),
        ("../..", "http://a/"),
        ("../../g", "http://a/g"),
        ("../../../g", "http://a/g"),
        ("/./g", "http://a/g"),
        ("/../g", "http://a/g"),
        ("g..", "http://a/b/c/g.."),
        ("./../g", "http://a/b/g"),
        ("g?y/../x", "http://a/b/c/g?y/../x"),
        ("https://b:1/x", "https://b:1/x"),
    ):
        assert str(join(base, location)) == expected, location
    for location in ("ftp://x/", "/a b", "/a\r\nb", "http://"):
        try:
            join(base, location)
            raise AssertionError(location)
        except ValueError:
            pass


def test_escapes():
    assert encode("/a%20b") == "/a%20b"
    assert decode("a%2Fb") == "a/b"
    for bad in ("%", "%1", "%zz"):
        try:
            decode(bad)
            raise AssertionError(bad)
        except ValueError:
            pass
