"""Trust anchors from text: DS and DNSKEY records as zone files have them. RFC 4034, 1035 section 5.

    parse(text) -> [RDATA of a DS, ...]      ValueError, with the line that is none

One record a line: "20326 8 2 E06D...", ". IN DS 20326 8 2 E06D...", ". 172800 IN DNSKEY 257 3 8
AwEA...". What follows a `;` is a comment. Debian's dns-root-data has such files.

Not implemented: records over several lines, anchors of zones below the root.
"""

import binascii

from stack.dns import dnssec
from stack.dns import name as _name


def parse(text):
    out = []
    for line in text.split("\n"):
        words = line.split(";")[0].split()
        if words:
            out.append(_record(words, line.strip()))
    if not out:
        raise ValueError("no trust anchor in %r" % text[:40])
    return out


def _record(words, line):
    kind = "DS"
    for i in range(min(len(words), 4)):
        if words[i].upper() in ("DS", "DNSKEY"):
            kind = words[i].upper()
            if i and words[0] not in (".", "IN"):
                raise ValueError("a trust anchor of another zone than the root: %s" % line)
            words = words[i + 1 :]
            break
    try:
        numbers = [int(w) for w in words[:3]]
        made = _key(numbers, words[3:]) if kind == "DNSKEY" else _ds(numbers, words[3:])
        if made is not None:
            return made
    except (ValueError, OverflowError):
        pass
    raise ValueError("not a DS or DNSKEY record: %s" % line)


def _ds(numbers, rest):
    digest = bytes.fromhex("".join(rest))
    tag, algorithm, kind = numbers
    if len(digest) != {2: 32, 4: 48}.get(kind, -1):
        return None
    return tag.to_bytes(2, "big") + bytes((algorithm, kind)) + digest


def _key(numbers, rest):
    """The DS, by SHA-256, of a key-signing key."""
    flags, protocol, algorithm = numbers
    public = binascii.a2b_base64("".join(rest))
    key = flags.to_bytes(2, "big") + bytes((protocol, algorithm)) + public
    if not flags & 1 or not dnssec.usable_key(key):
        return None
    digest = dnssec.DIGESTS[2].of(_name.ROOT + key)
    return dnssec.key_tag(key).to_bytes(2, "big") + bytes((algorithm, 2)) + digest
