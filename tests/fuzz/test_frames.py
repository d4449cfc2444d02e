"""A host under 200,000 mutated frames: nothing raises, nothing grows beyond its bound, no frame
is lost from the pool, and afterwards it still answers.

BAREWIRE_SEED=n repeats a run (it is printed); BAREWIRE_FRAMES=n makes it longer.
"""

import os
import random

import pytest

from stack.core import be
from stack.dns.stub import Resolver
from stack.wire import pretty
from tests.fuzz import corpus, corpus6
from tests.fuzz.corpus import GW, MAC, A, B
from tests.unit.net.support import Wire, counter_rng, host, run
from tests.wire.check import check_ethernet

SEED = int(os.environ.get("BAREWIRE_SEED", "20261123"))
FRAMES = int(os.environ.get("BAREWIRE_FRAMES", "240000"))
HALVES = 2
BATCH = 200
MAC2 = 0x02000000000C
SEC = 1_000_000


class Target:
    """The host under test: eth0 with an address, a server on every transport; eth1 with DHCP."""

    def __init__(self, rng):
        self.rng = rng
        self.d0 = Wire(MAC.to_bytes(6, "big"), depth=10_000)
        self.d1 = Wire(MAC2.to_bytes(6, "big"), "eth1", depth=10_000)
        self.h = h = host(self.d0, frames=128)
        h.rng = counter_rng(SEED)
        h.add_interface(self.d1)
        self.eth0 = h.interface("eth0")
        self.eth1 = h.interface("eth1")
        self.raw = self.eth0.raw(outgoing=True)
        h.configure(self.eth0, "static", self.now, A, 24, GW)
        h.configure(self.eth1, "dhcp", self.now)
        h.configure6(self.eth0, "static", self.now, corpus6.G, 64, corpus6.ROUTER)
        h.configure6(self.eth1, "auto", self.now)
        self.udp = h.udp.open(0, corpus.UDP_PORT, self.now)
        self.dns = h.udp.open(0, corpus.DNS_PORT, self.now)
        self.dns.connect(GW, 53)
        self.resolver = Resolver(h.rng)
        self.resolver.servers = [GW]
        self.question = None
        self.listener = h.tcp.listen(0, corpus.TCP_PORT, 16, self.now)
        self.accepted = []
        self.buf = bytearray(70000)
        self.samples = corpus.static_samples() + corpus6.samples()
        self.flow_port = 20000
        self.flow = None  # [port, our next sequence number, the host's]
        self.xid = 0
        self.reached = {"lease": 0, "answer": 0, "accepted": 0, "echoed": 0}
        self.tell()

    @property
    def now(self):
        return self.h.clock.now

    def tell(self):
        """Let the host know B and the gateway."""
        self.give(corpus.arp_frame(1))
        self.give(corpus.arp_frame(1, sender=GW))

    def give(self, data, second=False):
        (self.d1 if second else self.d0).inbox.append(bytes(data))

    def settle(self, us):
        """Time passes; programs read; what the host sent is looked at."""
        run(self.h.clock, us, self.h)
        while self.udp.recv_into(self.buf, 0, len(self.buf)) >= 0:
            pass
        while self.raw.recv_into(self.buf, 0, 100) >= 0:
            pass
        self.read_dns()
        self.ask()
        self.serve()
        self.listen_to_host()

    def read_dns(self):
        while True:
            try:
                n = self.dns.recv_into(self.buf, 0, len(self.buf))
            except OSError:
                continue
            if n < 0:
                return
            if self.question is not None and not self.question.done:
                self.question.on_datagram(bytes(self.buf[:n]), GW, self.now)

    def ask(self):
        q = self.question
        if q is None or q.done:
            if q is not None and q.records:
                self.reached["answer"] += 1
            name = "host%d.example.test" % self.rng.randrange(1000)
            self.question = q = self.resolver.start(name, 1, self.now)
        elif q.poll_at() <= self.now:
            q.on_timer(self.now)
        t = q.transmit() if not q.done else None
        if t is None:
            return
        transport, _, self.query = t
        if transport:
            q.on_failed(self.now)  # no TCP here
            return
        try:
            self.dns.send_to(self.query, 0, len(self.query), 0, 0, self.now)
        except OSError:
            pass

    def serve(self):
        """An echo server of few words."""
        now = self.now
        while True:
            c = self.listener.accept()
            if c is None:
                break
            self.accepted.append(c)
            self.reached["accepted"] += 1
        keep = []
        for c in self.accepted:
            try:
                n = c.recv_into(self.buf, 0, 4096, now)
                if n > 0:
                    c.send(self.buf, 0, n, now)
                    self.reached["echoed"] += 1
            except OSError:
                pass  # reset, refused, timed out: c.error says so
            if c.error or c.eof() or len(self.accepted) > 40 and self.rng.random() < 0.5:
                c.close(now)
            else:
                keep.append(c)
        self.accepted = keep
        self.h.flush(now)

    def listen_to_host(self):
        """Learn from what the host sent what it expects next."""
        for data in self.d1.take():
            if be.get16(data, 12) == 0x0800 and data[23] == 17 and be.get16(data, 36) == 67:
                self.xid = be.get32(data, 46)
        for data in self.d0.take():
            pretty.frame(data)
            if self.rng.random() < 0.05:
                bad = check_ethernet(data)
                # What was too short itself is quoted whole.
                assert all("quotes less" in why for why in bad), (bad, data.hex())
            if be.get16(data, 12) == 0x0806 and data[21] == 1 and self.rng.random() < 0.5:
                target = be.get32(data, 38)
                if target in (B, GW):
                    self.give(corpus.arp_frame(2, sender=target))
            elif be.get16(data, 12) == 0x0800 and data[23] == 6 and len(data) >= 54:
                self.on_segment(data)

    def on_segment(self, data):
        f = self.flow
        if f is None or be.get16(data, 36) != f[0] or be.get32(data, 30) != B:
            return
        flags = data[47]
        if flags & 4:
            self.flow = None
        elif flags & 2 and flags & 16:
            f[1] = be.get32(data, 42)
            f[2] = be.get32(data, 38) + 1
        elif flags & 16:
            n = be.get16(data, 16) - 20 - (data[46] >> 4 << 2)
            f[2] = (be.get32(data, 38) + n) & 0xFFFFFFFF
            f[1] = be.get32(data, 42)

    def live_sample(self):
        """A sample that fits the host's present state, and whether it is for eth1."""
        rng = self.rng
        pick = rng.random()
        if pick < 0.25:
            kind = rng.choice(corpus.DHCP_KINDS)
            frame = corpus.dhcp_frame(kind, self.xid, MAC2, rng.choice(corpus.DHCP_OPTIONS))
            marks = tuple((282 + i, 1) for i in range(0, len(frame) - 283, 5)) + ((46, 4), (58, 4))
            return ("dhcp", bytes(frame), marks), True
        if pick < 0.45 and self.question is not None and not self.question.done:
            m = corpus.dns_answer(be.get16(self.query, 0), self.query)
            frame = corpus.udp_frame(m, 53, corpus.DNS_PORT, GW)
            marks = tuple((44 + i, 2) for i in range(0, 10, 2))
            marks += tuple((54 + i, 1) for i in range(0, len(m) - 13))
            return ("dns", bytes(frame), marks), False
        return ("tcp", bytes(self.segment()), ((38, 4), (42, 4), (46, 1), (47, 1), (48, 2))), False

    def segment(self):
        """A segment of the connection under way; without one, its beginning."""
        rng = self.rng
        if self.flow is None:
            self.flow_port = 20000 + (self.flow_port + 1) % 20000
            self.flow = [self.flow_port, 1000, 0]
            options = rng.choice(corpus.TCP_OPTIONS)
            return corpus.tcp_frame(2, 999, 0, self.flow_port, options=options)
        port, seq, ack = self.flow
        off = rng.choice((0, 0, 0, 0, -1, 1, 1000, 70000, -70000, 1 << 31))
        ack_off = rng.choice((0, 0, 0, 0, 1, -1, 100000, 1 << 31))
        flags = rng.choice((0x10, 0x10, 0x18, 0x18, 0x11, 0x14, 0x12, 0x04, 0x02, 0x30, 0x00))
        if flags & 4 and rng.random() < 0.8:
            flags = 0x10
        data = bytes(rng.choice((0, 0, 1, 100, 1400)))
        window = rng.choice((0, 1, 1000, 65535))
        options = rng.choice(corpus.TCP_OPTIONS) if rng.random() < 0.2 else b""
        return corpus.tcp_frame(
            flags, seq + off, ack + ack_off, port, window=window, options=options, data=data
        )

    def check(self):
        """What must hold after every batch."""
        h = self.h
        self.reached["lease"] += self.eth1.addr != 0
        pool = h.pool
        queued = sum(i.arp._queued + i.nd._queued for i in h.interfaces)
        assert queued <= 4 * (len(pool.frames) // 4)
        assert pool.free + queued == len(pool.frames)
        for i in h.interfaces:
            assert len(i.arp.entries()) <= 256
            assert len(i.arp._by_addr) <= 256
            assert len(i.link.seen(self.now)) <= 256
        r = h.ip.reassembly
        assert len(r) <= 16 and r._bytes <= 512 * 1024
        assert len(h.ip._paths) <= 256
        assert len(h.ip6._paths) <= 256 and len(h.ip6._redirects) <= 64
        for i in h.interfaces:
            assert len(i.auto.addresses) <= 16 and len(i.nd._by_addr) <= 256
        assert len(h.routes) <= 64
        assert len(h.icmp._pings) == 0
        assert len(h.stats.drops) < 256 and len(h.stats.counts) < 256
        assert len(h.timers) < 400
        assert h.tcp.live <= 200
        assert len(h.udp.endpoints()) == 3
        # Reassembly, the queues of UDP and raw, and the rings of connections.
        assert h.buffers.in_use <= 24 << 20, h.buffers.in_use
        # The address is ours to give, nobody else's to take.
        assert self.eth0.addr == A

    def still_works(self):
        """Ping, UDP and TCP, after the storm."""
        h = self.h
        self.settle(700 * SEC)
        self.d0.take()
        self.tell()
        self.settle(1000)
        self.give(corpus.icmp_frame(8, 0, 0x77770001, b"still there?"))
        h.poll(self.now)
        out = self.d0.take()
        assert any(x[23] == 1 and x[34] == 0 and x[42:] == b"still there?" for x in out), [
            pretty.frame(x) for x in out
        ]
        self.give(corpus6.icmp(135, 0, bytes(4) + corpus6.G + corpus6.link_option(1, corpus.PEER)))
        self.give(corpus6.icmp(128, 0, b"\0\7\0\1still?", hops=64))
        h.poll(self.now)
        out = self.d0.take()
        assert any(x[12:14] == b"\x86\xdd" and x[54] == 129 and x[62:] == b"still?" for x in out), [
            x.hex() for x in out
        ]
        self.give(corpus.udp_frame(b"hello"))
        h.poll(self.now)
        n = self.udp.recv_into(self.buf, 0, 100)
        assert bytes(self.buf[:n]) == b"hello"
        assert self.udp.send_to(b"back", 0, 4, self.udp.peer_addr, self.udp.peer_port, self.now)
        assert any(x[42:] == b"back" for x in self.d0.take())
        self.give(corpus.tcp_frame(2, 5000, 0, 19999))
        h.poll(self.now)
        assert any(x[23] == 6 and x[47] == 0x12 for x in self.d0.take())
        run(h.clock, 700 * SEC, h)
        assert h.pool.free == len(h.pool.frames)


@pytest.mark.slow
@pytest.mark.timeout(900)
@pytest.mark.parametrize("half", range(HALVES))
def test_mutated_frames(half):
    seed = SEED + half
    print(f"seed {SEED} half {half}")
    rng = random.Random(seed)
    t = Target(rng)
    given = 0
    last = []
    try:
        while given < FRAMES // HALVES:
            last = []
            while len(last) < BATCH:
                second = False
                if rng.random() < 0.35:
                    sample, second = t.live_sample()
                else:
                    sample = rng.choice(t.samples)
                data = corpus.mutate(sample, rng, t.samples)
                pieces = [data]
                if rng.random() < 0.04 and len(data) > 60 and data[12] == 8 and data[13] == 0:
                    pieces = corpus.fragments_of(data, rng)
                for piece in pieces:
                    last.append((piece, second))
                    t.give(piece, second)
                # Little steps, so that answers meet the state they are for.
                if rng.random() < 0.25:
                    t.settle(rng.choice((0, 0, 100, 10_000)))
            t.settle(rng.choice((1000, 10_000, 100_000, SEC, 5 * SEC)))
            t.check()
            given += len(last)
        t.still_works()
        # A storm that never got behind the first check would prove little.
        assert all(t.reached.values()), t.reached
    except BaseException:
        print(f"seed {SEED} half {half}, {given} frames before; the batch:")
        for data, second in last:
            print("eth1" if second else "eth0", data.hex())
        raise
    print(f"{given} frames; reached {t.reached}")
    print(f"drops {t.h.stats.drops}; counts {t.h.stats.counts}")
