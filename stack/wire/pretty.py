"""A frame in one line of text, as tcpdump would put it.

    10.0.0.2.40000 > 10.0.0.1.80: Flags [S], seq 1, win 64240, options [mss 1460], length 0

Reads nothing beyond the frame, whatever the frame claims; what is missing shows as
"[truncated]". Allocates as it likes: for logs and captures.

Not implemented: options of neighbour discovery, DNS and DHCP contents.
"""

from micropython import const

from stack.core import be
from stack.wire import ethernet

_TYPES = {0x8100: "802.1Q", 0x86DD: "IPv6", 0x88CC: "LLDP"}
_PROTOS = {
    0: "HBH", 1: "ICMP", 2: "IGMP", 6: "TCP", 17: "UDP", 41: "IPv6", 43: "routing", 44: "frag",
    50: "ESP", 58: "ICMP6", 59: "no next header", 60: "DSTOPT",
}  # fmt: skip
_ICMP6 = {
    1: "unreachable", 2: "packet too big", 3: "time exceeded", 4: "parameter problem",
    128: "echo request", 129: "echo reply", 130: "multicast listener query",
    131: "multicast listener report", 132: "multicast listener done", 133: "router solicitation",
    134: "router advertisement", 135: "neighbor solicitation, who has",
    136: "neighbor advertisement, tgt is", 137: "redirect", 143: "multicast listener report v2",
}  # fmt: skip
_EXTENSIONS = (0, 43, 44, 60)
_MAX_EXTENSIONS = const(8)
_UNREACHABLE = ("net", "host", "protocol", "port", "need to frag", "source route failed")
_TCP_FLAGS = ((2, "S"), (1, "F"), (4, "R"), (8, "P"), (32, "U"), (64, "E"), (128, "W"), (16, "."))
_MAX_OPTIONS = const(40)


def frame(buf, off=0, end=None):
    """The text of the Ethernet frame buf[off:end]."""
    if end is None:
        end = len(buf)
    if end - off < 14:
        return "[truncated] %d bytes" % max(0, end - off)
    kind = be.get16(buf, off + 12)
    if kind == ethernet.TYPE_IPV4:
        return packet(buf, off + 14, end)
    if kind == ethernet.TYPE_ARP:
        return _arp(buf, off + 14, end)
    if kind == ethernet.TYPE_IPV6:
        return packet6(buf, off + 14, end)
    if kind == ethernet.TYPE_VLAN and end - off >= 18:
        return "vlan %d, %s" % (be.get16(buf, off + 14) & 0xFFF, _inner(buf, off + 16, end))
    src = ethernet.format_mac(ethernet.get_mac(buf, off + 6))
    dst = ethernet.format_mac(ethernet.get_mac(buf, off))
    if kind < ethernet.MIN_TYPE:
        return "%s > %s, 802.3, length %d" % (src, dst, kind)
    name = _TYPES.get(kind) or "ethertype 0x%04x" % kind
    return "%s > %s, %s, length %d" % (src, dst, name, end - off)


def _inner(buf, o, end):
    """What is behind an 802.1Q tag: the type at o, the packet behind it."""
    kind = be.get16(buf, o)
    if kind == ethernet.TYPE_IPV4:
        return packet(buf, o + 2, end)
    if kind == ethernet.TYPE_IPV6:
        return packet6(buf, o + 2, end)
    if kind == ethernet.TYPE_ARP:
        return _arp(buf, o + 2, end)
    return "ethertype 0x%04x" % kind


def _addr(a):
    return "%d.%d.%d.%d" % (a >> 24, a >> 16 & 0xFF, a >> 8 & 0xFF, a & 0xFF)


def _arp(buf, o, end):
    if end - o < 28:
        return "ARP, [truncated]"
    op = be.get16(buf, o + 6)
    sender = _addr(be.get32(buf, o + 14))
    target = _addr(be.get32(buf, o + 24))
    if op == 1:
        return "ARP, Request who-has %s tell %s" % (target, sender)
    if op == 2:
        mac = ethernet.format_mac(ethernet.get_mac(buf, o + 8))
        return "ARP, Reply %s is-at %s" % (sender, mac)
    return "ARP, operation %d" % op


def packet(buf, off, end):
    """The text of the IPv4 packet buf[off:end]."""
    if end - off < 20:
        return "IP [truncated]"
    hl = (buf[off] & 0x0F) << 2
    total = be.get16(buf, off + 2)
    if buf[off] >> 4 != 4 or hl < 20 or total < hl:
        return "IP [bad header]"
    src = _addr(be.get32(buf, off + 12))
    dst = _addr(be.get32(buf, off + 16))
    proto = buf[off + 9]
    word = be.get16(buf, off + 6)
    cut = off + total > end
    end = min(end, off + total)
    o = off + hl
    if o > end:
        return "IP %s > %s: [truncated]" % (src, dst)
    start = (word & 0x1FFF) << 3
    note = ""
    if word & 0x3FFF:
        more = "+" if word & 0x2000 else ""
        note = " (frag %d:%d@%d%s)" % (be.get16(buf, off + 4), total - hl, start, more)
    if start:
        text = "%s > %s: %s" % (src, dst, _PROTOS.get(proto) or "proto %d" % proto)
    elif proto == 6:
        text = _tcp(buf, o, end, src, dst, total - hl)
    elif proto == 17:
        text = _udp(buf, o, end, src, dst)
    elif proto == 1:
        text = _icmp(buf, o, end, src, dst)
    else:
        name = _PROTOS.get(proto) or "proto %d" % proto
        text = "%s > %s: %s, length %d" % (src, dst, name, total - hl)
    if cut and "[truncated]" not in text:
        note += " [truncated]"
    return text + note


def addr6(b, o):
    """The text of the 16 bytes at b[o:] (RFC 5952)."""
    words = [be.get16(b, o + i) for i in range(0, 16, 2)]
    best = start = 0
    i = 0
    while i < 8:
        j = i
        while j < 8 and not words[j]:
            j += 1
        if j - i > best:
            best = j - i
            start = i
        i = j + 1
    text = ["%x" % w for w in words]
    if best < 2:
        return ":".join(text)
    return ":".join(text[:start]) + "::" + ":".join(text[start + best :])


def packet6(buf, off, end):
    """The text of the IPv6 packet buf[off:end]."""
    if end - off < 40:
        return "IP6 [truncated]"
    if buf[off] >> 4 != 6:
        return "IP6 [bad header]"
    n = be.get16(buf, off + 4)
    src = addr6(buf, off + 8)
    dst = addr6(buf, off + 24)
    o = off + 40
    cut = o + n > end
    end = min(end, o + n)
    proto = buf[off + 6]
    note = ""
    room = n
    count = 0
    while proto in _EXTENSIONS and count < _MAX_EXTENSIONS:
        if end - o < 8:
            return "%s > %s: %s [truncated]" % (src, dst, _PROTOS[proto])
        size = 8 if proto == 44 else (buf[o + 1] + 1) << 3
        following = buf[o]
        if proto == 44:
            word = be.get16(buf, o + 2)
            if word & 0xFFF9:
                more = "+" if word & 1 else ""
                note += " (frag %x:%d@%d%s)" % (
                    be.get32(buf, o + 4), room - 8, word & 0xFFF8, more
                )  # fmt: skip
            if word & 0xFFF8:
                return "%s > %s: %s%s" % (src, dst, _PROTOS.get(following) or following, note)
        else:
            note += " (%s)" % _PROTOS[proto]
        proto = following
        o += size
        room -= size
        count += 1
    if o > end:
        return "%s > %s: [truncated]" % (src, dst)
    if proto == 6:
        text = _tcp(buf, o, end, src, dst, room)
    elif proto == 17:
        text = _udp(buf, o, end, src, dst)
    elif proto == 58:
        text = _icmp6(buf, o, end, src, dst)
    else:
        name = _PROTOS.get(proto) or "proto %d" % proto
        text = "%s > %s: %s, length %d" % (src, dst, name, room)
    if cut and "[truncated]" not in text:
        note += " [truncated]"
    return text + note


def _icmp6(buf, o, end, src, dst):
    if end - o < 8:
        return "%s > %s: ICMP6, [truncated]" % (src, dst)
    kind = buf[o]
    text = "%s > %s: ICMP6, %s" % (src, dst, _ICMP6.get(kind) or "type %d" % kind)
    if kind == 128 or kind == 129:
        text += ", id %d, seq %d" % (be.get16(buf, o + 4), be.get16(buf, o + 6))
    elif kind == 2:
        text += ", mtu %d" % be.get32(buf, o + 4)
    elif kind < 128:
        text += ", code %d" % buf[o + 1]
    elif (kind == 135 or kind == 136) and end - o >= 24:
        text += " " + addr6(buf, o + 8)
    return text + ", length %d" % (end - o)


def _udp(buf, o, end, src, dst):
    if end - o < 8:
        return "%s > %s: UDP [truncated]" % (src, dst)
    n = be.get16(buf, o + 4)
    if n < 8:
        return "%s > %s: UDP [bad length %d]" % (src, dst, n)
    return "%s.%d > %s.%d: UDP, length %d" % (
        src, be.get16(buf, o), dst, be.get16(buf, o + 2), n - 8
    )  # fmt: skip


def _tcp(buf, o, end, src, dst, room):
    if end - o < 20:
        return "%s > %s: TCP [truncated]" % (src, dst)
    hl = buf[o + 12] >> 4 << 2
    ends = "%s.%d > %s.%d" % (src, be.get16(buf, o), dst, be.get16(buf, o + 2))
    if hl < 20 or hl > room:
        return "%s: TCP [bad header length %d]" % (ends, hl)
    bits = buf[o + 13]
    flags = ""
    for bit, letter in _TCP_FLAGS:
        if bits & bit:
            flags += letter
    text = "%s: Flags [%s], seq %d" % (ends, flags or "none", be.get32(buf, o + 4))
    if bits & 16:
        text += ", ack %d" % be.get32(buf, o + 8)
    text += ", win %d" % be.get16(buf, o + 14)
    if hl > 20:
        text += ", options [%s]" % _options(buf, o + 20, min(o + hl, end))
    return text + ", length %d" % (room - hl)


def _options(buf, i, end):
    out = []
    while i < end and len(out) < _MAX_OPTIONS:
        kind = buf[i]
        if kind == 0:
            out.append("eol")
            break
        if kind == 1:
            out.append("nop")
            i += 1
            continue
        n = buf[i + 1] if i + 1 < end else 0
        if n < 2 or i + n > end:
            out.append("bad")
            break
        if kind == 2 and n == 4:
            out.append("mss %d" % be.get16(buf, i + 2))
        elif kind == 3 and n == 3:
            out.append("wscale %d" % buf[i + 2])
        elif kind == 4 and n == 2:
            out.append("sackOK")
        elif kind == 5 and n > 2 and (n - 2) & 7 == 0:
            out.append("sack %d" % ((n - 2) >> 3))
        elif kind == 8 and n == 10:
            out.append("TS val %d ecr %d" % (be.get32(buf, i + 2), be.get32(buf, i + 6)))
        else:
            out.append("kind %d" % kind)
        i += n
    return ",".join(out)


def _icmp(buf, o, end, src, dst):
    text = "%s > %s: ICMP " % (src, dst)
    if end - o < 8:
        return text + "[truncated]"
    kind = buf[o]
    code = buf[o + 1]
    if kind == 8 or kind == 0:
        text += "echo %s, id %d, seq %d" % (
            "request" if kind else "reply", be.get16(buf, o + 4), be.get16(buf, o + 6)
        )  # fmt: skip
    elif kind == 3:
        what = _UNREACHABLE[code] if code < len(_UNREACHABLE) else "code %d" % code
        text += "%s unreachable" % what if code < 4 else "unreachable - %s" % what
        if code == 4:
            text += " (mtu %d)" % be.get16(buf, o + 6)
    elif kind == 11:
        text += "time exceeded in-transit" if code == 0 else "ip reassembly time exceeded"
    else:
        text += "type %d, code %d" % (kind, code)
    return text + ", length %d" % (end - o)
