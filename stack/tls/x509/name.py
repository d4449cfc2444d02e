"""Distinguished names, host names and addresses of certificates. RFC 5280 section 7, RFC 9525.

    Name ::= SEQUENCE OF SET OF SEQUENCE { type OID, value }

A name is kept as its DER. Two are equal if their canonical forms are: text
without regard to case (ASCII), with white space folded.

Not implemented: comparison of letters beyond ASCII without regard to case,
U-labels (a host name is given as it stands in the DNS, with xn-- labels).
"""

from stack.core.errors import ProtocolError
from stack.tls.x509 import der
from stack.tls.x509.der import Der, malformed

_CN = der.oid("2.5.4.3")
_ORG = der.oid("2.5.4.10")
_UNIT = der.oid("2.5.4.11")
_MAIL = der.oid("1.2.840.113549.1.9.1")
_SHORT = {
    _CN: "CN",
    _ORG: "O",
    _UNIT: "OU",
    der.oid("2.5.4.6"): "C",
    der.oid("2.5.4.7"): "L",
    der.oid("2.5.4.8"): "ST",
}

_TEXT = (der.UTF8_STRING, der.PRINTABLE_STRING, der.IA5_STRING, der.T61_STRING, der.NUMERIC_STRING,
         der.VISIBLE_STRING)  # fmt: skip


def attributes(raw):
    """List of RDNs, each a list of (type OID, tag, value bytes), of a Name's DER. Strict."""
    outer = Der(raw)
    rdns = outer.pull(der.SEQUENCE)
    outer.done("Name")
    out = []
    while rdns.left():
        rdn = rdns.pull(der.SET)
        one = []
        last = b""
        while rdn.left():
            whole = rdn.pull_whole(der.SEQUENCE)
            # X.690, 11.6: "The encodings of the component values of a set-of value shall
            # appear in ascending order".
            if whole < last:
                raise malformed("a set out of order")
            last = whole
            pair = Der(whole).pull(der.SEQUENCE)
            kind = pair.pull_oid()
            tag, _, start, end = pair.any()
            pair.done("a name's attribute")
            one.append((kind, tag, bytes(whole[start:end])))
        if not one:
            raise malformed("an empty part of a name")
        out.append(one)
    return out


def canonical(raw):
    """Bytes that are equal for equal names."""
    out = bytearray()
    for rdn in attributes(raw):
        parts = []
        for kind, tag, value in rdn:
            if tag in _TEXT or tag == der.BMP_STRING:
                value = b"t" + _fold(_utf8(tag, value))
            else:
                value = bytes((tag,)) + value
            parts.append(_framed(kind) + _framed(value))
        parts.sort()
        out.extend(_framed(b"".join(parts)))
    return bytes(out)


def _framed(b):
    return len(b).to_bytes(3, "big") + b


def _utf8(tag, value):
    if tag != der.BMP_STRING:
        return value
    if len(value) & 1:
        raise malformed("a BMPString of odd length")
    return "".join(
        [chr(value[i] << 8 | value[i + 1]) for i in range(0, len(value), 2)]
    ).encode()  # fmt: skip


def _fold(value):
    return b" ".join(bytes(value).lower().split())


def within(raw, base):
    """True if the name begins with all the parts of `base`: a directoryName constraint."""
    return canonical(raw).startswith(canonical(base))


def is_empty(raw):
    return len(raw) == 2


def text(raw):
    """A short text for messages: the common name, else the organisation, else all parts."""
    found = {}
    parts = []
    try:
        for rdn in attributes(raw):
            for kind, tag, value in rdn:
                s = _shown(_utf8(tag, value))
                found[kind] = s
                parts.append(_SHORT.get(kind, der.oid_text(kind)) + "=" + s)
    except ProtocolError:
        pass
    for kind in (_CN, _ORG, _UNIT):
        if found.get(kind):
            return found[kind]
    return ", ".join(parts) or "(no name)"


def _shown(value):
    """Printable ASCII for a message of ours, other bytes as dots: a peer wrote this."""
    return "".join([chr(b) if 32 <= b < 127 else "." for b in value[:64]])


def mail_attributes(raw):
    """The e-mail addresses within a Name, lower-case bytes."""
    return [v.lower() for rdn in attributes(raw) for k, _, v in rdn if k == _MAIL]


def common_names(raw):
    """The common names within a Name, lower-case bytes."""
    return [v.lower() for rdn in attributes(raw) for k, _, v in rdn if k == _CN]


# Hosts


def parse_ip(text):
    """4 or 16 bytes of an address's text, or None if it is not one."""
    if ":" in text:
        return _parse_ip6(text)
    parts = text.split(".")
    if len(parts) != 4:
        return None
    out = bytearray()
    for p in parts:
        if not p or len(p) > 3 or not _all_in(p, "0123456789") or int(p) > 255:
            return None
        out.append(int(p))
    return bytes(out)


def _all_in(text, letters):
    for c in text:
        if c not in letters:
            return False
    return True


def _parse_ip6(text):
    if text.startswith("[") and text.endswith("]"):
        text = text[1:-1]
    text = text.split("%")[0]
    halves = text.split("::")
    if len(halves) > 2:
        return None
    sides = []
    for half in halves:
        words = bytearray()
        groups = half.split(":") if half else []
        for i, g in enumerate(groups):
            if "." in g and i == len(groups) - 1:
                v4 = parse_ip(g)
                if v4 is None:
                    return None
                words.extend(v4)
            elif not g or len(g) > 4 or not _all_in(g, "0123456789abcdefABCDEF"):
                return None
            else:
                words.extend(int(g, 16).to_bytes(2, "big"))
        sides.append(words)
    if len(sides) == 1:
        return bytes(sides[0]) if len(sides[0]) == 16 else None
    gap = 16 - len(sides[0]) - len(sides[1])
    if gap < 2:
        return None
    return bytes(sides[0]) + bytes(gap) + bytes(sides[1])


def ip_text(data):
    """Text of 4 or 16 bytes."""
    if len(data) == 4:
        return ".".join([str(b) for b in data])
    return ":".join(["%x" % (data[i] << 8 | data[i + 1]) for i in range(0, len(data), 2)])


def valid_dns(pattern, wildcard):
    """True if the text is a host name in the preferred form, with `_` let through."""
    if not pattern or len(pattern) > 253:
        return False
    labels = pattern.split(".")
    for i, label in enumerate(labels):
        if wildcard and i == 0 and label == "*":
            continue
        if not label or len(label) > 63 or label[0] == "-" or label[-1] == "-":
            return False
        if not _all_in(label, "abcdefghijklmnopqrstuvwxyz0123456789-_"):
            return False
    return True


def match_host(pattern, host):
    """True if a dNSName, lower-case text, covers the host, lower-case. RFC 9525, 6.3.

    A wildcard is the whole left-most label and stands for one label; at least
    two labels follow it, so that nobody is given a whole top-level domain.
    """
    if not valid_dns(pattern, True):
        return False
    if not pattern.startswith("*."):
        return pattern == host
    rest = pattern[1:]
    if rest.count(".") < 2:
        return False
    dot = host.find(".")
    return dot > 0 and host[dot:] == rest
