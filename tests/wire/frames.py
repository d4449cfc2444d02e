"""Frames built with the descriptions of packets.py: for the checks' tests and as fuzz seeds."""

from tests.wire import packets as p

GUEST_MAC = bytes.fromhex("026277200001")
HOST_MAC = bytes.fromhex("026277100001")
GUEST_IP, HOST_IP = bytes([10, 77, 0, 100]), bytes([10, 77, 0, 1])
GUEST_IP6 = bytes.fromhex("fd770000000000000000000000000100")
HOST_IP6 = bytes.fromhex("fd770000000000000000000000000001")
BROADCAST = b"\xff" * 6

_FLAGS = ("cwr", "ece", "urg", "ack", "psh", "rst", "syn", "fin")


def ethernet(payload, kind, src=GUEST_MAC, dst=HOST_MAC):
    return p.ETHERNET.build(dict(dst=dst, src=src, type=kind, payload=payload))


def ipv4(proto, payload, src=GUEST_IP, dst=HOST_IP, id=1, mf=False, offset=0, options=b""):
    """An IPv4 packet with a right checksum."""
    fields = dict(
        first=dict(version=4, ihl=5 + len(options) // 4), tos=0, id=id, ttl=64, proto=proto,
        total_length=20 + len(options) + len(payload), checksum=0, src=src, dst=dst,
        fragment=dict(reserved=False, df=False, mf=mf, offset=offset), options=options,
    )  # fmt: skip
    fields["checksum"] = p.internet_sum(p.IPV4.build(dict(fields, payload=b"")))
    return p.IPV4.build(dict(fields, payload=payload))


def _summed(description, fields, proto, src, dst):
    data = description.build(dict(fields, checksum=0))
    total = p.internet_sum(data, p.pseudo_sum(src, dst, proto, len(data)))
    return description.build(dict(fields, checksum=total or 0xFFFF))


def udp(sport, dport, payload, src=GUEST_IP, dst=HOST_IP):
    fields = dict(sport=sport, dport=dport, length=8 + len(payload), payload=payload)
    return _summed(p.UDP, fields, 17, src, dst)


def tcp(sport, dport, flags, seq=1, ack=0, payload=b"", options=b"", src=GUEST_IP, dst=HOST_IP):
    """flags: names, such as "syn ack"."""
    bits = dict.fromkeys(_FLAGS, False) | dict.fromkeys(flags.split(), True)
    bits |= dict(offset=5 + len(options) // 4, reserved=0)
    fields = dict(
        sport=sport, dport=dport, seq=seq, ack=ack, bits=bits, window=8192, urgent=0,
        options=options, payload=payload,
    )  # fmt: skip
    return _summed(p.TCP, fields, 6, src, dst)


def icmp(kind, code, rest, payload):
    fields = dict(type=kind, code=code, rest=rest, payload=payload)
    data = p.ICMP.build(dict(fields, checksum=0))
    return p.ICMP.build(dict(fields, checksum=p.internet_sum(data)))


def ipv6(proto, payload, src=None, dst=None, hops=64, length=None):
    return p.IPV6.build(dict(
        first=dict(version=6, tclass=0, flow=0), next=proto, hops=hops, src=src or GUEST_IP6,
        dst=dst or HOST_IP6, length=len(payload) if length is None else length, payload=payload,
    ))  # fmt: skip


def icmp6(kind, code, body, src=None, dst=None):
    fields = dict(type=kind, code=code, payload=body)
    return _summed(p.ICMP6, fields, 58, src or GUEST_IP6, dst or HOST_IP6)


def arp(op, sha, spa, tha, tpa):
    return p.ARP.build(dict(
        htype=1, ptype=0x0800, hlen=6, plen=4, op=op, sha=sha, spa=spa, tha=tha, tpa=tpa,
        padding=b"",
    ))  # fmt: skip


def dns_query(name, kind=1):
    labels = [dict(length=len(x), text=x.encode()) for x in name.split(".")]
    flags = dict(qr=False, opcode=0, aa=False, tc=False, rd=True, ra=False, z=0, rcode=0)
    question = {"name": labels + [dict(length=0, text=b"")], "type": kind, "class": 1}
    return p.DNS.build(dict(
        id=7, flags=flags, qdcount=1, ancount=0, nscount=0, arcount=0, questions=[question],
        records=[], end=None,
    ))  # fmt: skip


def dhcp(message, op="request", yiaddr=b"\0" * 4, options=(), chaddr=GUEST_MAC):
    """A DHCP message of that type (1 is DISCOVER), padded to 300 bytes."""
    zero = b"\0" * 4
    listed = [dict(code=53, data=bytes([message]))]
    listed += [dict(code=c, data=d) for c, d in options] + [dict(code=255, data=None)]
    fields = dict(
        op=op, htype=1, hlen=6, hops=0, xid=0x1234, secs=0, flags=0, ciaddr=zero, yiaddr=yiaddr,
        siaddr=zero, giaddr=zero, chaddr=chaddr.ljust(16, b"\0"), sname=b"\0" * 64,
        file=b"\0" * 128, options=listed, padding=b"",
    )  # fmt: skip
    short = 300 - len(p.DHCP.build(fields))
    return p.DHCP.build(dict(fields, padding=b"\0" * max(0, short)))


def valid():
    """One right frame of each kind from the guest: {name: bytes}."""
    any_ip, all_ip = b"\0" * 4, b"\xff" * 4
    mss = b"\x02\x04\x05\xb4"
    get = tcp(4000, 80, "ack psh", 5, 9, b"GET / HTTP/1.1\r\n\r\n")
    who_has = arp("request", GUEST_MAC, GUEST_IP, bytes(6), HOST_IP)
    bootp = udp(68, 67, dhcp(1), any_ip, all_ip)
    return {
        "arp": ethernet(who_has, "arp", dst=BROADCAST),
        "icmp": ethernet(ipv4("icmp", icmp(8, 0, 0x00010001, b"abcdefgh" * 7)), "ipv4"),
        "udp": ethernet(ipv4("udp", udp(5000, 5001, b"some bytes here")), "ipv4"),
        "dns": ethernet(ipv4("udp", udp(5000, 53, dns_query("example.test"))), "ipv4"),
        "dhcp": ethernet(ipv4("udp", bootp, any_ip, all_ip), "ipv4", dst=BROADCAST),
        "syn": ethernet(ipv4("tcp", tcp(4000, 80, "syn", options=mss + b"\1\3\3\7")), "ipv4"),
        "tcp": ethernet(ipv4("tcp", get), "ipv4"),
        **valid6(),
    }  # fmt: skip


def valid6():
    """The same of IPv6."""
    src, dst = GUEST_IP6, HOST_IP6
    group = bytes.fromhex("ff0200000000000000000001ff000001")
    solicit = bytes(4) + dst + b"\1\1" + GUEST_MAC
    local = bytes.fromhex("fe800000000000000000000000000100")
    routers = bytes.fromhex("ff020000000000000000000000000016")
    report = icmp6(143, 0, b"\0\0\0\1\4\0\0\0" + group, local, routers)
    return {
        "echo6": ethernet(ipv6(58, icmp6(128, 0, b"\0\1\0\2abcdefgh")), "ipv6"),
        "solicit": ethernet(ipv6(58, icmp6(135, 0, solicit, dst=group), dst=group, hops=255),
                            "ipv6"),
        "mld": ethernet(ipv6(0, b"\x3a\0\5\2\0\0\1\0" + report, local, routers, 1), "ipv6"),
        "udp6": ethernet(ipv6(17, udp(5000, 5001, b"some bytes", src, dst)), "ipv6"),
        "tcp6": ethernet(ipv6(6, tcp(4000, 80, "ack", 5, 9, b"bytes", b"", src, dst)), "ipv6"),
    }  # fmt: skip
