"""A host under mutated IPv6 frames: nothing raises, nothing grows beyond its bound, no frame is
lost from the pool, what it says is well-formed, and afterwards it still answers.

BAREWIRE_SEED=n repeats a run (it is printed); BAREWIRE_FRAMES=n makes it longer.
"""

import os
import random

import pytest

from stack.core import be
from stack.net import addr6
from stack.wire import ipv6, pretty
from tests.fuzz.corpus import INTERESTING, WIDE
from tests.unit.net import support6 as s6
from tests.unit.net import test_dhcp6, test_mld, test_nd, test_slaac
from tests.unit.net.support import Wire, host, run
from tests.wire.check import check_ethernet

SEED = int(os.environ.get("BAREWIRE_SEED", "20261125"))
FRAMES = int(os.environ.get("BAREWIRE_FRAMES", "60000"))
BATCH = 100
SEC = 1_000_000
P = addr6.parse
GROUP = P("ff12::1234")[0]
ADDRESSES = (s6.G, s6.H, s6.ROUTER, bytes(16), addr6.LOOPBACK, addr6.ALL_NODES, GROUP,
             addr6.solicited_node(s6.G), P("::ffff:10.0.0.1")[0], P("fe80::b")[0])  # fmt: skip


def samples():
    """(frame, how its transport is summed: offset of the checksum, or None)"""
    out = []
    all_nodes = addr6.ALL_NODES
    for n in (0, 8, 1400):
        out.append(s6.icmp(128, 0, b"\0\1\0\2" + bytes(n)))
        out.append(s6.icmp(129, 0, b"\0\1\0\2" + bytes(n)))
        out.append(s6.packet(17, s6.datagram(bytes(n))))
    out.append(s6.packet(17, s6.datagram(b"x", dport=9)))
    out.append(s6.icmp(135, 0, s6.solicit(), dst=addr6.solicited_node(s6.G)))
    out.append(s6.icmp(135, 0, s6.solicit()[:20], src=bytes(16), dst=addr6.solicited_node(s6.G)))
    out += [s6.icmp(136, 0, s6.advert()), s6.icmp(136, 0, s6.advert(flags=0), dst=all_nodes)]
    t = test_slaac
    for options in (t.prefix(), t.prefix(flags=0x40), t.route_info(P("2001:db8:7::")[0], 48, 0, 9),
                    t.rdnss(100, s6.H), t.dnssl(100, "a.test"), b"\5\1\0\0\0\0\5\x78"):  # fmt: skip
        out.append(t.ra(options + t.prefix(P("2001:db8:9::")[0])))
    out += [t.ra(flags=0xC0), t.ra(lifetime=0)]
    out.append(test_nd.redirect(test_nd.BETTER, test_nd.FAR))
    out += [test_mld.query(), test_mld.query(GROUP, dst=GROUP), test_mld.query(v1=True)]
    quote = s6.packet(17, s6.datagram(b"x", 5000, 53, s6.G, s6.H), s6.G, s6.H)[14:]
    for kind, code in ((1, 0), (1, 4), (2, 0), (3, 0), (3, 1), (4, 0), (4, 1)):
        out.append(s6.icmp(kind, code, (1400).to_bytes(4, "big") + quote))
    for kind in (0, 60, 43):
        for option in (b"\1\4\0\0\0\0", b"\5\2\0\0\1\0", b"\xc2\4\0\1\0\0", b"\x1e\4abcd"):
            out.append(s6.packet(kind, b"\x11\0" + option + s6.datagram(b"behind")))
    for at in (0, 8, 1400):
        out.append(s6.packet(44, s6.fragment(17, s6.datagram(bytes(1392)), at, True)))
        out.append(s6.packet(44, s6.fragment(17, bytes(16), at, False)))
    for flags in (2, 0x10, 0x12, 0x11, 4, 0x18):
        seg = bytearray(24)
        be.put16(seg, 0, 4000)
        be.put16(seg, 2, 80)
        seg[12] = 0x60
        seg[13] = flags
        be.put16(seg, 14, 65535)
        seg[20:24] = b"\2\4\5\xa0"
        out.append(s6.packet(6, s6.summed(6, seg, 16)))
    reply = bytes((7, 0, 0, 0)) + b"".join(
        [test_dhcp6.ia(1), b"\0\1\0\2ab", b"\0\2\0\2cd", b"\0\x17\0\x10" + s6.H]
    )
    out.append(s6.packet(17, s6.datagram(reply, 547, 546)))
    return out


SUMS = {58: 2, 17: 6, 6: 16}


def mutate(frame, rng):
    b = bytearray(frame)
    for _ in range(rng.choice((0, 1, 1, 2, 3))):
        what = rng.random()
        at = rng.randrange(14, len(b)) if len(b) > 14 else 0
        if not b:
            break
        if what < 0.2:
            b[at] = rng.choice(INTERESTING)
        elif what < 0.35 and at + 2 <= len(b):
            be.put16(b, at, rng.choice(WIDE))
        elif what < 0.5:
            b[at] ^= 1 << rng.randrange(8)
        elif what < 0.65 and len(b) >= 54:
            where = rng.choice((22, 38))
            b[where : where + 16] = rng.choice(ADDRESSES)
            if where == 38 and b[38] == 0xFF:
                b[0:6] = addr6.multicast_mac(b, 38).to_bytes(6, "big")
        elif what < 0.75:
            del b[at:]
        elif what < 0.85:
            b += rng.randbytes(rng.choice((1, 8, 24)))
        elif what < 0.93 and len(b) >= 54:
            # Another extension header in front of what is there.
            kind = rng.choice((0, 60, 43, 44))
            b[54:54] = bytes((b[20], 0)) + rng.choice((b"\1\4\0\0\0\0", rng.randbytes(6)))
            b[20] = kind
        else:
            del b[at : at + rng.choice((1, 2, 8))]
    if rng.random() < 0.8 and len(b) >= 54:
        be.put16(b, 18, len(b) - 54)
        at = SUMS.get(b[20])
        if at is not None and len(b) >= 54 + at + 2:
            be.put16(b, 54 + at, 0)
            fixed = s6.summed(b[20], b[54:], at, bytes(b[22:38]), bytes(b[38:54]))
            b[54:] = fixed
    return bytes(b)


class Target:
    def __init__(self, rng):
        self.rng = rng
        self.d = Wire(depth=10_000)
        self.h = h = host(self.d, frames=128)
        self.i = i = h.interfaces[1]
        h.configure6(i, "auto", h.clock.now)
        i.auto.add(s6.G, 64, "static", h.clock.now)
        h.ip6.join(i, GROUP, h.clock.now)
        run(h.clock, 3 * SEC, h)
        self.udp = h.udp.open(addr6.ANY, 5000, h.clock.now, dual=True)
        self.udp.connect(0, 0)
        self.listener = h.tcp.listen(addr6.ANY, 80, 16, h.clock.now, dual=True)
        self.accepted = 0
        self.buf = bytearray(70000)
        self.raw = h.rawip.open(addr6.ANY, 58)

    def settle(self, us):
        h = self.h
        run(h.clock, us, h)
        for ep in (self.udp, self.raw):
            while True:
                try:
                    if ep.recv_into(self.buf, 0, len(self.buf)) < 0:
                        break
                except OSError:
                    continue
        while True:
            c = self.listener.accept()
            if c is None:
                break
            self.accepted += 1
            c.abort(h.clock.now)
        for f in self.d.take():
            pretty.frame(f)
            if self.rng.random() < 0.1:
                bad = [w for w in check_ethernet(f) if "quotes less" not in w]
                assert not bad, (bad, f.hex())

    def check(self):
        h, i = self.h, self.i
        assert h.pool.free + i.nd._queued + i.arp._queued == len(h.pool.frames)
        assert len(i.nd.entries()) <= 256 and len(i.auto.addresses) <= 16
        assert len(i.auto.routers) <= 8 and len(i.auto.servers) <= 8 and len(i.auto.search) <= 8
        assert len(h.ip6.routes) <= 128 and len(h.ip6._paths) <= 256
        assert len(h.ip6._redirects) <= 64 and len(h.pmtu) <= 256
        r = h.ip6.reassembly
        assert len(r) <= 16 and r._bytes <= 512 * 1024
        assert len(i.mld.members) <= 64 and len(i.mld._left) <= 64
        assert len(h.stats.drops) < 256 and len(h.stats.counts) < 256
        # Two-hour rule and duplicate detection may take made addresses, never the one by hand.
        assert any(a.raw == s6.G for a in i.auto.addresses)


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_mutated_frames6():
    print(f"seed {SEED}")
    rng = random.Random(SEED)
    t = Target(rng)
    corpus = samples()
    given = 0
    last = []
    try:
        while given < FRAMES:
            last = [mutate(rng.choice(corpus), rng) for _ in range(BATCH)]
            for frame in last:
                t.d.inbox.append(frame)
                if rng.random() < 0.2:
                    t.settle(rng.choice((0, 100, 10_000)))
            t.settle(rng.choice((1000, 100_000, SEC, 5 * SEC)))
            t.check()
            given += len(last)
        t.settle(700 * SEC)
        s6.know_peer(t.h, t.d)
        t.d.inbox.append(s6.icmp(128, 0, b"\0\1\0\2still there?"))
        t.h.poll(t.h.clock.now)
        assert any(f[54] == 129 and f.endswith(b"still there?") for f in t.d.take())
        counts = t.h.stats.counts
        assert counts.get("reassembly.done") and counts.get("icmp6.errors_out"), counts
        assert t.i.auto.heard and ipv6.HEADER_LEN == 40
    except BaseException:
        print(f"seed {SEED}, {given} frames before; the batch:")
        for frame in last:
            print(frame.hex())
        raise
    print(f"{given} frames; accepted {t.accepted}; drops {t.h.stats.drops}")
