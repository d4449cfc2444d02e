"""Damaged frames by a seed: valid ones to a guest, with bytes, lengths and order spoiled.

After most mutations the checksums are made right again, so that the damage reaches the layer
that it is for.
"""

import random

from tests.wire import frames as f
from tests.wire import packets as p

EDGES = (0, 1, 2, 4, 7, 8, 19, 20, 21, 40, 0x7F, 0x80, 0xFF, 0x100, 0x7FFF, 0x8000, 0xFFFF)


def _seeds(rng, guest_mac, guest_ip, host_mac, host_ip):
    """Valid frames to the guest, a fresh list of bytes."""
    port = rng.choice((80, 80, 80, 7, 49152, rng.randrange(65536)))
    sport, seq, ack = (rng.randrange(1 << n) for n in (16, 32, 32))
    src = rng.choice((host_ip, host_ip, bytes([10, 77, 0, rng.randrange(256)]), rng.randbytes(4)))
    to = dict(src=src, dst=guest_ip)
    data = rng.randbytes(rng.choice((0, 1, 8, 100, 1400)))
    mss = b"\x02\x04\x05\xb4\x01\x03\x03\x07\x04\x02\x08\x0a" + rng.randbytes(8)
    flags = " ".join(n for n in ("syn", "ack", "fin", "rst", "psh", "urg") if rng.random() < 0.4)
    quoted = f.ipv4("tcp", f.tcp(80, sport, "ack", seq, ack, src=guest_ip, dst=src), guest_ip, src)
    answer = f.dns_query("example.test")
    answer = answer[:2] + b"\x81\x80\0\1\0\1\0\0\0\0" + answer[12:]
    answer += b"\xc0\x0c\0\1\0\1\0\0\0\x3c\0\4" + host_ip
    options = [(54, host_ip), (51, b"\0\0\0\x3c"), (1, b"\xff\xff\xff\0"), (3, host_ip)]
    offer = f.dhcp(rng.choice((2, 5, 6)), "reply", guest_ip, options, guest_mac)
    ident = rng.randrange(1 << 16)
    big = f.udp(sport, port, rng.randbytes(2000), **to)
    cut = rng.randrange(1, 100)
    packets = [
        f.ipv4("tcp", f.tcp(sport, port, "syn", seq, options=mss, **to), **to),
        f.ipv4("tcp", f.tcp(sport, port, "ack psh", seq, ack, data, **to), **to),
        f.ipv4("tcp", f.tcp(sport, port, flags, seq, ack, data, **to), **to),
        f.ipv4("udp", f.udp(sport, port, data, **to), **to),
        f.ipv4("udp", f.udp(53, port, answer, **to), **to),
        f.ipv4("udp", f.udp(67, 68, offer, **to), **to),
        f.ipv4("icmp", f.icmp(8, 0, seq, data), **to),
        f.ipv4("icmp", f.icmp(rng.choice((3, 4, 5, 11, 12)), rng.randrange(16), 0, quoted), **to),
        f.ipv4("udp", big[:1400], id=ident, mf=True, **to),
        f.ipv4("udp", big[1400 - 8 * (cut % 20) :], id=ident, offset=175 - cut % 20, **to),
        f.ipv4("udp", big[:80], id=ident, mf=True, offset=8191 - cut, **to),
        f.ipv4("udp", f.udp(sport, port, data, **to), options=rng.randbytes(4 * (cut % 11)), **to),
    ]
    made = [f.ethernet(x, "ipv4", src=host_mac, dst=guest_mac) for x in packets]
    asks = f.arp("request", host_mac, src, bytes(6), guest_ip)
    made.append(f.ethernet(asks, "arp", src=host_mac, dst=f.BROADCAST))
    return made


def _spoil(rng, frame):
    """One mutation of a bytearray behind the Ethernet addresses."""
    kind = rng.randrange(7)
    if len(frame) < 16:
        return
    at = rng.randrange(12, min(len(frame), rng.choice((60, 60, 2000))))
    if kind == 0:
        frame[at] ^= 1 << rng.randrange(8)
    elif kind == 1:
        frame[at] = rng.randrange(256)
    elif kind == 2:
        frame[at : at + 2] = rng.choice(EDGES).to_bytes(2, "big")
    elif kind == 3:
        del frame[at:]
    elif kind == 4:
        frame[at:at] = rng.randbytes(rng.randrange(1, 40))
    elif kind == 5:
        del frame[at : at + rng.randrange(1, 12)]
    else:
        n = rng.randrange(1, 20)
        frame[at : at + n] = frame[-n:]


def _mend(frame):
    """Make the checksums right as far as the lengths allow."""
    if len(frame) < 34 or frame[12:14] != b"\x08\0":
        return
    ihl = (frame[14] & 15) * 4
    if ihl < 20 or len(frame) < 14 + ihl:
        return
    frame[24:26] = b"\0\0"
    frame[24:26] = p.internet_sum(bytes(frame[14 : 14 + ihl])).to_bytes(2, "big")
    total = int.from_bytes(frame[16:18], "big")
    start, end = 14 + ihl, min(len(frame), 14 + total)
    offset = {1: 2, 6: 16, 17: 6}.get(frame[23])
    if offset is None or end < start + offset + 2:
        return
    at = start + offset
    frame[at : at + 2] = b"\0\0"
    body = bytes(frame[start:end])
    pseudo = 0
    if frame[23] != 1:
        pseudo = p.pseudo_sum(bytes(frame[26:30]), bytes(frame[30:34]), frame[23], len(body))
    frame[at : at + 2] = p.internet_sum(body, pseudo).to_bytes(2, "big")


def _ip(text):
    return bytes(map(int, text.split(".")))


def frames(seed, count, guest_mac, guest_ip, host_mac, host_ip):
    """Yield `count` frames (bytes, 14 to 1514 long) for a guest; addresses as text."""
    rng = random.Random(seed)
    macs = [bytes.fromhex(m.replace(":", "")) for m in (guest_mac, host_mac)]
    made = 0
    while made < count:
        seeds = _seeds(rng, macs[0], _ip(guest_ip), macs[1], _ip(host_ip))
        # The seeds of one turn share ports and identifiers, so fragments meet and segments
        # follow each other, in any order.
        rng.shuffle(seeds)
        for seed_frame in seeds[: count - made]:
            frame = bytearray(seed_frame)
            for _ in range(rng.choice((0, 1, 1, 2, 4))):
                _spoil(rng, frame)
            if rng.random() < 0.7:
                _mend(frame)
            frame = frame.ljust(14, b"\0")
            yield bytes(frame[:1514])
            made += 1
