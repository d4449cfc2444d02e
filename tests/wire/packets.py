"""What the protocols look like on the wire, as `construct` descriptions.

Written from the RFCs, apart from the stack's own parsers, to check it from outside. Each
name parses and builds: ETHERNET, ARP, IPV4, IPV6, ICMP, ICMP6, UDP, TCP, DHCP, DNS... Lengths
and checksums are plain fields here; tests/wire/check.py says whether they are right.
"""

from construct import (
    BitsInteger,
    Bitwise,
    Byte,
    Bytes,
    Const,
    Enum,
    Flag,
    GreedyBytes,
    GreedyRange,
    If,
    IfThenElse,
    Int16ub,
    Int32ub,
    OneOf,
    Prefixed,
    RepeatUntil,
    Select,
    Struct,
    Terminated,
    this,
)  # fmt: skip

MAC = Bytes(6)
IP = Bytes(4)

ETHERNET = Struct(
    "dst" / MAC,
    "src" / MAC,
    "type" / Enum(Int16ub, ipv4=0x0800, arp=0x0806, ipv6=0x86DD),
    "payload" / GreedyBytes,
)

# RFC 826, for Ethernet and IPv4
ARP = Struct(
    "htype" / Int16ub,
    "ptype" / Int16ub,
    "hlen" / Byte,
    "plen" / Byte,
    "op" / Enum(Int16ub, request=1, reply=2),
    "sha" / MAC,
    "spa" / IP,
    "tha" / MAC,
    "tpa" / IP,
    "padding" / GreedyBytes,
)

# RFC 791, section 3.1
IPV4_FLAGS = Bitwise(
    Struct("reserved" / Flag, "df" / Flag, "mf" / Flag, "offset" / BitsInteger(13))
)
IPV4 = Struct(
    "first" / Bitwise(Struct("version" / BitsInteger(4), "ihl" / BitsInteger(4))),
    "tos" / Byte,
    "total_length" / Int16ub,
    "id" / Int16ub,
    "fragment" / IPV4_FLAGS,
    "ttl" / Byte,
    "proto" / Enum(Byte, icmp=1, tcp=6, udp=17),
    "checksum" / Int16ub,
    "src" / IP,
    "dst" / IP,
    "options" / Bytes(lambda c: max(0, c.first.ihl * 4 - 20)),
    "payload" / GreedyBytes,
)

# RFC 8200, section 3, and its extension headers (4.3 to 4.6)
IP6 = Bytes(16)
IPV6 = Struct(
    "first" / Bitwise(Struct(
        "version" / BitsInteger(4), "tclass" / BitsInteger(8), "flow" / BitsInteger(20),
    )),
    "length" / Int16ub,
    "next" / Byte,
    "hops" / Byte,
    "src" / IP6,
    "dst" / IP6,
    "payload" / GreedyBytes,
)  # fmt: skip
IPV6_OPTIONS = Struct(
    "next" / Byte,
    "length" / Byte,
    "options" / Bytes(lambda c: c.length * 8 + 6),
    "payload" / GreedyBytes,
)
IPV6_FRAGMENT = Struct(
    "next" / Byte,
    "reserved" / Const(0, Byte),
    "bits" / Bitwise(Struct("offset" / BitsInteger(13), "zero" / BitsInteger(2), "more" / Flag)),
    "id" / Int32ub,
    "payload" / GreedyBytes,
)

# RFC 4443, section 2.1
ICMP6 = Struct("type" / Byte, "code" / Byte, "checksum" / Int16ub, "payload" / GreedyBytes)

# RFC 4861, section 4
ND_OPTION = Struct(
    "type" / Byte,
    "length" / Byte,
    "value" / Bytes(lambda c: c.length * 8 - 2),
)
ND_OPTIONS = Struct("list" / GreedyRange(ND_OPTION), "end" / Terminated)
ROUTER_SOLICIT = Struct("reserved" / Const(0, Int32ub), "options" / ND_OPTIONS)
NEIGHBOR_SOLICIT = Struct("reserved" / Const(0, Int32ub), "target" / IP6, "options" / ND_OPTIONS)
NEIGHBOR_ADVERT = Struct("flags" / Int32ub, "target" / IP6, "options" / ND_OPTIONS)

# RFC 3810, section 5.2
MLD2_REPORT = Struct(
    "reserved" / Const(0, Int16ub),
    "count" / Int16ub,
    "records" / Struct(
        "type" / Byte, "aux" / Const(0, Byte), "sources" / Const(0, Int16ub), "group" / IP6
    )[this.count],
    "end" / Terminated,
)

# RFC 3376, section 4.2
IGMP3_REPORT = Struct(
    "type" / Const(0x22, Byte),
    "reserved" / Const(0, Byte),
    "checksum" / Int16ub,
    "zero" / Const(0, Int16ub),
    "count" / Int16ub,
    "records" / Struct(
        "type" / Byte, "aux" / Const(0, Byte), "sources" / Const(0, Int16ub), "group" / IP
    )[this.count],
    "end" / Terminated,
)

# RFC 8415, section 8
DHCP6_OPTION = Struct("code" / Int16ub, "data" / Prefixed(Int16ub, GreedyBytes))
DHCP6 = Struct(
    "type" / Byte,
    "xid" / Bytes(3),
    "options" / GreedyRange(DHCP6_OPTION),
    "end" / Terminated,
)

# RFC 792
ICMP = Struct(
    "type" / Byte,
    "code" / Byte,
    "checksum" / Int16ub,
    "rest" / Int32ub,
    "payload" / GreedyBytes,
)

# RFC 768
UDP = Struct(
    "sport" / Int16ub,
    "dport" / Int16ub,
    "length" / Int16ub,
    "checksum" / Int16ub,
    "payload" / GreedyBytes,
)

# RFC 9293, section 3.1, and its options (3.2); RFC 7323; RFC 2018; RFC 7413
TCP_OPTION = Select(
    Struct("kind" / Const(0, Byte)),
    Struct("kind" / Const(1, Byte)),
    Struct("kind" / Const(2, Byte), "length" / Const(4, Byte), "mss" / Int16ub),
    Struct("kind" / Const(3, Byte), "length" / Const(3, Byte), "shift" / Byte),
    Struct("kind" / Const(4, Byte), "length" / Const(2, Byte)),
    Struct(
        "kind" / Const(5, Byte),
        "length" / Byte,
        "edges" / Int32ub[lambda c: (c.length - 2) // 4],
    ),
    Struct(
        "kind" / Const(8, Byte), "length" / Const(10, Byte), "value" / Int32ub, "echo" / Int32ub
    ),
    Struct(  # empty: a request; a cookie has 4 to 16 bytes, an even number
        "kind" / Const(34, Byte),
        "length" / OneOf(Byte, (2, 6, 8, 10, 12, 14, 16, 18)),
        "cookie" / Bytes(lambda c: c.length - 2),
    ),
)
TCP_OPTIONS = Struct("list" / GreedyRange(TCP_OPTION), "rest" / GreedyBytes)
TCP = Struct(
    "sport" / Int16ub,
    "dport" / Int16ub,
    "seq" / Int32ub,
    "ack" / Int32ub,
    "bits" / Bitwise(Struct(
        "offset" / BitsInteger(4), "reserved" / BitsInteger(4),
        "cwr" / Flag, "ece" / Flag, "urg" / Flag, "ack" / Flag,
        "psh" / Flag, "rst" / Flag, "syn" / Flag, "fin" / Flag,
    )),
    "window" / Int16ub,
    "checksum" / Int16ub,
    "urgent" / Int16ub,
    "options" / Bytes(lambda c: max(0, c.bits.offset * 4 - 20)),
    "payload" / GreedyBytes,
)  # fmt: skip

# RFC 2131, section 2, and RFC 2132
DHCP_OPTION = Struct(
    "code" / Byte,
    "data" / If(lambda c: c.code not in (0, 255), Prefixed(Byte, GreedyBytes)),
)
DHCP = Struct(
    "op" / Enum(Byte, request=1, reply=2),
    "htype" / Byte,
    "hlen" / Byte,
    "hops" / Byte,
    "xid" / Int32ub,
    "secs" / Int16ub,
    "flags" / Int16ub,
    "ciaddr" / IP,
    "yiaddr" / IP,
    "siaddr" / IP,
    "giaddr" / IP,
    "chaddr" / Bytes(16),
    "sname" / Bytes(64),
    "file" / Bytes(128),
    "cookie" / Const(b"\x63\x82\x53\x63"),
    "options" / RepeatUntil(lambda o, _, __: o["code"] == 255, DHCP_OPTION),
    "padding" / GreedyBytes,
)

# RFC 1035, section 4.1
DNS_LABEL = Struct(
    "length" / Byte,
    "text" / IfThenElse(this.length < 0xC0, Bytes(this.length), Bytes(1)),
)
DNS_NAME = RepeatUntil(lambda o, _, __: o["length"] == 0 or o["length"] >= 0xC0, DNS_LABEL)
DNS_QUESTION = Struct("name" / DNS_NAME, "type" / Int16ub, "class" / Int16ub)
DNS_RECORD = Struct(
    "name" / DNS_NAME,
    "type" / Int16ub,
    "class" / Int16ub,
    "ttl" / Int32ub,
    "data" / Prefixed(Int16ub, GreedyBytes),
)
DNS = Struct(
    "id" / Int16ub,
    "flags" / Bitwise(Struct(
        "qr" / Flag, "opcode" / BitsInteger(4), "aa" / Flag, "tc" / Flag, "rd" / Flag,
        "ra" / Flag, "z" / BitsInteger(3), "rcode" / BitsInteger(4),
    )),
    "qdcount" / Int16ub,
    "ancount" / Int16ub,
    "nscount" / Int16ub,
    "arcount" / Int16ub,
    "questions" / DNS_QUESTION[this.qdcount],
    "records" / DNS_RECORD[this.ancount + this.nscount + this.arcount],
    "end" / Terminated,
)  # fmt: skip


def internet_sum(data, start=0):
    """The Internet checksum of RFC 1071 over bytes, as it stands in a header (complemented)."""
    if len(data) % 2:
        data += b"\0"
    total = start + sum(int.from_bytes(data[i : i + 2], "big") for i in range(0, len(data), 2))
    while total >> 16:
        total = (total & 0xFFFF) + (total >> 16)
    return total ^ 0xFFFF


def pseudo_sum(src, dst, proto, length):
    """The sum of the pseudo-header of RFC 9293, 3.1, or RFC 8200, 8.1 (not folded)."""
    data = src + dst
    total = sum(int.from_bytes(data[i : i + 2], "big") for i in range(0, len(data), 2))
    return total + proto + length
