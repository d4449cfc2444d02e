"""Whether frames on the wire are right: by the descriptions of packets.py, and by tshark.

`check_capture(path, macs)` returns what is wrong with the frames sent by those addresses.
"""

import shutil
import subprocess

from construct import ConstructError

from barewire.pcap import read_pcap
from tests.wire import packets as p

# Reading a frame with construct costs about 0.2 ms. Of a longer capture the first half of
# these are checked in a row, the rest evenly; tshark sees every frame.
MOST_FRAMES = 6000

TSHARK_OPTIONS = [
    "ip.check_checksum:TRUE", "tcp.check_checksum:TRUE", "udp.check_checksum:TRUE",
    "tcp.analyze_sequence_numbers:FALSE", "tcp.desegment_tcp_streams:FALSE",
]  # fmt: skip
# Protocols whose messages lie across segments, where tshark takes the middle of one for the
# next; segment by segment it is Ethernet, IP and TCP that are looked at.
TSHARK_WITHOUT = ["http2", "websocket"]
# What counts as wrong: a frame that tshark cannot read, and a checksum that it finds bad.
TSHARK_BAD = (
    # A segment that begins with a line's end is none: a server wrote its header in pieces.
    "(_ws.malformed && !http.leading_crlf) || ip.checksum.status == 0 || icmp.checksum.status == 0"
    " || icmpv6.checksum.status == 0 || igmp.checksum.status == 0"
    # Not of what an ICMPv6 error quotes: of a packet of 1,500 bytes it has the first 1,232, whose
    # sum tshark takes for the whole. The last is the expert group "Checksum".
    " || (!(icmpv6.type < 128) && (tcp.checksum.status == 0 || udp.checksum.status == 0"
    " || _ws.expert.group == 0x01000000))"
)


def check_ethernet(frame):
    """The problems of one frame (bytes from the destination address on), a list of str."""
    try:
        ether = p.ETHERNET.parse(frame)
        if int(ether.type) == 0x8100:
            # 802.1Q: an id, no priority, and a frame as it would be without.
            tag = int.from_bytes(frame[14:16], "big")
            bad = [] if 0 < tag < 4095 else [f"a VLAN tag of {tag:#06x}"]
            return bad + check_ethernet(frame[:12] + frame[16:])
        if len(frame) > 1514:
            return [f"{len(frame)} bytes, more than 1514"]
        if ether.src[0] & 1:
            return ["the source address is a group"]
        if ether.type == "arp":
            return check_arp(p.ARP.parse(ether.payload), ether)
        if ether.type == "ipv4":
            return check_ipv4(ether.payload, len(frame))
        if ether.type == "ipv6":
            return check_ipv6(ether.payload, len(frame))
        return [f"an ethertype of {int(ether.type):#06x}"]
    except ConstructError as e:
        return [f"does not parse: {str(e).splitlines()[-1]}"]


def check_arp(arp, ether):
    """RFC 826."""
    bad = []
    if (arp.htype, arp.ptype, arp.hlen, arp.plen) != (1, 0x0800, 6, 4):
        bad.append("ARP is not for Ethernet and IPv4")
    if arp.op not in ("request", "reply"):
        bad.append(f"ARP operation {int(arp.op)}")
    if arp.sha != ether.src:
        bad.append("ARP's sender is not the frame's source")
    if arp.padding.strip(b"\0"):
        bad.append("ARP has bytes after its end that are not zero")
    return bad


def check_ipv4(data, frame_length):
    """RFC 791 and RFC 1122, section 3.2.1, then what it carries."""
    ip = p.IPV4.parse(data)
    header = ip.first.ihl * 4
    if ip.first.version != 4 or header < 20:
        return [f"IP version {ip.first.version}, header of {header} bytes"]
    if not header <= ip.total_length <= len(data):
        return [f"IP total length {ip.total_length} in {len(data)} bytes"]
    bad = []
    if ip.total_length < len(data):
        if frame_length > 60:
            bad.append("bytes after the IP packet in a frame that needs no padding")
        if data[ip.total_length :].strip(b"\0"):
            bad.append("padding that is not zero")
    if p.internet_sum(data[:header]):
        bad.append("wrong IPv4 checksum")
    if ip.ttl == 0:
        bad.append("TTL 0")
    if ip.fragment.reserved:
        bad.append("the reserved flag is set")
    if ip.src[0] >= 224 or ip.src[0] == 127:
        bad.append("the source is no address of a host")
    if ip.fragment.mf or ip.fragment.offset:
        if ip.fragment.mf and (ip.total_length - header) % 8:
            bad.append("a fragment that is not the last has a length that is no multiple of 8")
        return bad
    payload = data[header : ip.total_length]
    checks = {"icmp": check_icmp, "udp": check_udp, "tcp": check_tcp, "2": check_igmp}
    if str(ip.proto) in checks:
        bad += checks[str(ip.proto)](payload, ip)
    return bad


def _transport_sum(data, ip):
    return p.internet_sum(data, p.pseudo_sum(ip.src, ip.dst, int(ip.proto), len(data)))


def check_igmp(data, ip):
    """RFC 3376, section 4: what a host sends."""
    bad = ["wrong IGMP checksum"] if p.internet_sum(data) else []
    if ip.ttl != 1 or ip.options != b"\x94\x04\0\0":
        bad.append("IGMP without TTL 1 and router alert")
    if data[0] == 0x22:
        if not 0 < p.IGMP3_REPORT.parse(data).count:
            bad.append("a report of nothing")
    elif data[0] not in (0x16, 0x17) or len(data) != 8:
        bad.append(f"IGMP type {data[0]:#x} of {len(data)} bytes")
    return bad


class _Pseudo:
    """What the checks of a transport ask of its IP header."""

    def __init__(self, ip, proto):
        self.src, self.dst, self.proto, self.hops = ip.src, ip.dst, proto, ip.hops


def check_ipv6(data, frame_length):
    """RFC 8200, then what it carries."""
    ip = p.IPV6.parse(data)
    if ip.first.version != 6:
        return [f"IP version {ip.first.version}"]
    if ip.length > len(ip.payload):
        return [f"IPv6 length {ip.length} in {len(ip.payload)} bytes"]
    bad = []
    if ip.length < len(ip.payload):
        bad.append("bytes after the IPv6 packet in a frame that needs no padding")
    if ip.hops == 0:
        bad.append("hop limit 0")
    if ip.src[0] == 0xFF or ip.src == bytes(15) + b"\1":
        bad.append("the source is no address of a host")
    if any(a[0] == 0xFE and a[1] & 0xC0 == 0x80 and a[1:8] != b"\x80" + bytes(6)
           for a in (ip.src, ip.dst)):  # fmt: skip
        bad.append("a link-local address with bits before its last 64")
    payload, proto, alert = ip.payload[: ip.length], ip.next, False
    if proto == 0:
        header = p.IPV6_OPTIONS.parse(payload)
        alert = header.options[:4] == b"\5\2\0\0"
        payload, proto = header.payload, header.next
    if proto == 44:
        piece = p.IPV6_FRAGMENT.parse(payload)
        if piece.bits.zero:
            bad.append("reserved bits of a fragment are set")
        if piece.bits.more and len(piece.payload) % 8:
            bad.append("a fragment that is not the last has a length that is no multiple of 8")
        if piece.bits.more or piece.bits.offset:
            return bad
        payload, proto = piece.payload, piece.next
    checks = {58: check_icmp6, 17: check_udp, 6: check_tcp}
    if proto not in checks:
        return [*bad, f"next header {proto}"]
    pseudo = _Pseudo(ip, proto)
    pseudo.alert = alert
    return bad + checks[proto](payload, pseudo)


def check_icmp6(data, ip):
    """RFC 4443, 4861, 3810."""
    icmp = p.ICMP6.parse(data)
    bad = ["wrong ICMPv6 checksum"] if _transport_sum(data, ip) else []
    body, kind = icmp.payload, icmp.type
    if kind < 128 and len(body) < 4 + 40:
        bad.append("an ICMPv6 error quotes less than a header")
    if 133 <= kind <= 137:
        if ip.hops != 255 or icmp.code:
            bad.append("neighbour discovery with another hop limit than 255, or a code")
        form = {133: p.ROUTER_SOLICIT, 135: p.NEIGHBOR_SOLICIT, 136: p.NEIGHBOR_ADVERT}
        if kind not in form:
            return [*bad, f"a host sends ICMPv6 type {kind}"]
        options = [o.type for o in form[kind].parse(body).options.list]
        if ip.src == bytes(16) and options:
            bad.append("a link-layer address of the unspecified address")
        if kind == 135 and ip.src != bytes(16) and ip.dst[0] == 0xFF and options != [1]:
            bad.append("a solicitation to a group without a source link-layer address")
    elif kind in (131, 132, 143):
        if ip.hops != 1 or not ip.alert:
            bad.append("MLD without hop limit 1 and router alert")
        if not (ip.src == bytes(16) or ip.src[:2] == b"\xfe\x80"):
            bad.append("MLD from an address that is not link-local")
        if kind == 143 and not p.MLD2_REPORT.parse(body).count:
            bad.append("a report of nothing")
    return bad


def check_dhcp6(data):
    """RFC 8415, section 16: what a client sends."""
    dhcp = p.DHCP6.parse(data)
    codes = [o.code for o in dhcp.options]
    bad = []
    if dhcp.type not in (1, 3, 5, 6, 8, 9, 11):
        bad.append(f"DHCPv6 message {dhcp.type}")
    if codes.count(1) != 1 or 8 not in codes:
        bad.append("no client id or elapsed time")
    if (2 in codes) != (dhcp.type in (3, 5, 8, 9)):
        bad.append("a server id where it must not be, or none where it must")
    return bad


def check_icmp(data, ip):
    """RFC 792: checksum, and an error quotes at least a header and 8 bytes."""
    icmp = p.ICMP.parse(data)
    bad = ["wrong ICMP checksum"] if p.internet_sum(data) else []
    if icmp.type in (3, 11, 12) and len(icmp.payload) < 28:
        bad.append("an ICMP error quotes less than a header and 8 bytes")
    elif icmp.type in (0, 8) and icmp.code:
        bad.append(f"echo with code {icmp.code}")
    return bad


def check_udp(data, ip):
    """RFC 768, then DHCP and DNS by their ports."""
    udp = p.UDP.parse(data)
    bad = []
    if udp.length != len(data):
        bad.append(f"UDP length {udp.length}, it has {len(data)}")
    if udp.checksum == 0:
        bad.append("UDP without a checksum")
    elif _transport_sum(data, ip):
        bad.append("wrong UDP checksum")
    if udp.dport == 547:
        bad += check_dhcp6(udp.payload)
    elif udp.dport == 67:
        bad += check_dhcp(udp.payload)
    elif udp.dport == 53:
        bad += check_dns_query(udp.payload)
    return bad


def check_tcp(data, ip):
    """RFC 9293, section 3.1."""
    tcp = p.TCP.parse(data)
    bits = tcp.bits
    if not 20 <= bits.offset * 4 <= len(data):
        return [f"TCP data offset {bits.offset} in {len(data)} bytes"]
    bad = []
    if _transport_sum(data, ip):
        bad.append("wrong TCP checksum")
    if bits.reserved:
        bad.append("reserved bits are set")
    if bits.syn and (bits.fin or bits.rst):
        bad.append("SYN with FIN or RST")
    if not bits.ack and not bits.syn and not bits.rst:
        bad.append("neither ACK nor SYN nor RST")
    if tcp.urgent and not bits.urg:
        bad.append("an urgent pointer without URG")
    options = p.TCP_OPTIONS.parse(tcp.options)
    if options.rest:
        bad.append(f"options that do not parse: {tcp.options.hex()}")
    kinds = [o.kind for o in options.list]
    if bits.syn and 2 not in kinds:
        bad.append("SYN without a maximum segment size")
    if not bits.syn and any(k in (2, 3, 4) for k in kinds):
        bad.append("an option of a SYN without SYN")
    return bad


def check_dhcp(data):
    """RFC 2131: what a client sends."""
    dhcp = p.DHCP.parse(data)
    options = {o.code: o.data for o in dhcp.options}
    bad = []
    if dhcp.op != "request" or (dhcp.htype, dhcp.hlen) != (1, 6):
        bad.append("not a request from Ethernet")
    if dhcp.chaddr[6:].strip(b"\0") or dhcp.padding.strip(b"\0"):
        bad.append("bytes that should be zero are not")
    if len(options.get(53) or b"") != 1:
        bad.append("no DHCP message type")
    if len(data) < 300:
        bad.append(f"{len(data)} bytes, a BOOTP message has 300 at least (RFC 1542, 2.1)")
    return bad


def check_dns_query(data):
    """RFC 1035: one question of class IN, names without pointers."""
    dns = p.DNS.parse(data)
    bad = []
    if dns.flags.qr or dns.flags.opcode or dns.flags.z & 4 or dns.flags.rcode:
        bad.append("the flags are not a query's")
    if dns.qdcount != 1 or dns.ancount or dns.nscount:
        bad.append("not one question and nothing else")
    for question in dns.questions:
        if question["class"] != 1:
            bad.append(f"class {question['class']}")
        if any(label.length > 63 for label in question.name):
            bad.append("a label over 63 bytes, or a pointer")
    return bad


def _chosen(count):
    if count <= MOST_FRAMES:
        return set(range(count))
    half = MOST_FRAMES // 2
    return set(range(half)) | set(range(half, count, max(1, (count - half) // half)))


def check_by_construct(path, macs):
    """Problems of the frames in a capture sent by `macs` ("02:..." strings): (number, text)."""
    senders = {bytes.fromhex(m.replace(":", "")) for m in macs}
    mine = [(n, f) for n, (_, f) in enumerate(read_pcap(path), 1) if f[6:12] in senders]
    chosen = _chosen(len(mine))
    found = []
    for i, (number, frame) in enumerate(mine):
        if i in chosen:
            found += [(number, text) for text in check_ethernet(frame)]
    return found


# What Linux, and QEMU for its e1000s, write where they complete a TCP checksum that comes to 0: to
# a receiver the same sum. tshark's other remarks on the frame, such as a request's line, follow.
_MANGLED = "TCP Checksum 0xffff instead of 0x0000 (see RFC 1624)"


def _only_mangled(remarks):
    rest = remarks.replace(_MANGLED, "", 1)
    return rest != remarks and "hecksum" not in rest and "alformed" not in rest


def check_by_tshark(path, macs):
    """What tshark finds malformed or wrongly summed in those frames: (number, text)."""
    tool = shutil.which("tshark")
    if not tool:
        raise RuntimeError("no tshark: `make test` installs it")
    sources = " || ".join(f"eth.src == {m}" for m in macs)
    argv = [tool, "-n", "-r", str(path), "-Y", f"({sources}) && ({TSHARK_BAD})"]
    argv += [a for option in TSHARK_OPTIONS for a in ("-o", option)]
    argv += [a for protocol in TSHARK_WITHOUT for a in ("--disable-protocol", protocol)]
    argv += ["-T", "fields", "-e", "frame.number", "-e", "_ws.col.Protocol", "-e", "_ws.col.Info"]
    argv += ["-e", "_ws.expert.message"]
    done = subprocess.run(argv, capture_output=True, text=True)
    if done.returncode:
        raise RuntimeError(f"tshark: {done.stderr.strip()}")
    rows = [line.split("\t", 1) for line in done.stdout.splitlines()]
    return [
        (int(number), "tshark: " + text)
        for number, text in rows
        if not _only_mangled(text.rpartition("\t")[2])
    ]


def check_capture(path, macs):
    """Both checks; the problems as lines. None found: []."""
    if not macs:
        return []
    found = sorted(check_by_construct(path, macs) + check_by_tshark(path, macs))
    return [f"frame {number}: {text}" for number, text in found]
