"""net/dhcp: the client against a scripted server on a virtual clock."""

from stack.core import be
from stack.core.stats import Stats
from stack.core.timers import NEVER
from stack.net import dhcp
from stack.wire import dhcp as wire

MAC = 0x02000000000A
SEC = 1_000_000
OURS = 0x0A000063
SERVER = 0x0A000001


def rng(n):
    return bytes([7] * n)


class Fixture:
    def __init__(self):
        self.now = 5 * SEC
        self.changes = []
        self.stats = Stats()
        self.c = dhcp.DhcpClient(MAC, rng, self.stats, "barewire", self.changes.append)

    def at(self, now):
        """Time passes to `now`, the machine called when it asks. What it sent: [(type, to, at)]."""
        out = []
        while self.c.poll_at() <= now:
            self.now = max(self.now, self.c.poll_at())
            self.c.on_timer(self.now)
            sent = self.take()
            if sent:
                out.append((sent, self.c.out_to, self.now))
        self.now = now
        return out

    def take(self):
        b = self.c.out
        self.c.out = None
        if b is None:
            return 0
        self.last = b
        return option(b, 53)[0]

    def give(self, kind, **kw):
        data = answer(kind, be.get32(self.last, 4), **kw)
        self.c.receive(data, 0, len(data), self.now)
        return self.take()

    def bound(self, **kw):
        self.c.start(self.now)
        self.at(self.now)
        assert self.give(wire.OFFER, **kw) == wire.REQUEST
        assert self.give(wire.ACK, **kw) == 0
        assert self.c.state == dhcp.BOUND
        self.since = self.now
        return self


def option(data, kind):
    i = 240
    while data[i] != 255:
        n = data[i + 1]
        if data[i] == kind:
            return bytes(data[i + 2 : i + 2 + n])
        i += 2 + n
    return None


def answer(kind, xid, yiaddr=OURS, server=SERVER, lease=3600, mac=MAC, more=b""):
    b = bytearray(240)
    b[0:3] = b"\x02\x01\x06"
    be.put32(b, 4, xid)
    be.put32(b, 16, yiaddr)
    be.put16(b, 28, mac >> 32)
    be.put32(b, 30, mac & 0xFFFFFFFF)
    b[236:240] = b"\x63\x82\x53\x63"
    b.extend(bytes((53, 1, kind)))
    for code, value in ((54, server), (51, lease), (1, 0xFFFFFF00), (3, SERVER), (6, SERVER)):
        if value:
            b.extend(bytes((code, 4)))
            b.extend(value.to_bytes(4, "big"))
    b.extend(more)
    b.append(255)
    return bytes(b)


def test_four_messages():
    f = Fixture()
    assert f.c.poll_at() == NEVER
    f.c.start(f.now)
    assert f.at(f.now) == [(wire.DISCOVER, 0, f.now)]
    assert f.c.state == dhcp.SELECTING
    assert f.give(wire.OFFER) == wire.REQUEST
    assert option(f.last, 50) == b"\x0a\x00\x00\x63"
    assert option(f.last, 54) == b"\x0a\x00\x00\x01"
    assert f.last[10] == 0x80  # the broadcast flag
    assert f.give(wire.ACK) == 0
    lease = f.changes[0]
    assert (lease.addr, lease.prefix, lease.routers, lease.dns) == (OURS, 24, [SERVER], [SERVER])
    assert f.c.poll_at() == f.now + 1800 * SEC


def test_discover_is_repeated_with_backoff():
    f = Fixture()
    f.c.start(f.now)
    sent = f.at(f.now + 300 * SEC)
    gaps = [(sent[i + 1][2] - sent[i][2]) / SEC for i in range(len(sent) - 1)]
    for i, expected in enumerate((1, 2, 4, 8, 16, 32, 64, 64)):
        assert abs(gaps[i] - expected) <= 0.5, gaps
    assert all([s[0] == wire.DISCOVER for s in sent])


def test_a_request_unanswered_begins_anew():
    f = Fixture()
    f.c.start(f.now)
    f.at(f.now)
    f.give(wire.OFFER)
    sent = f.at(f.now + 20 * SEC)
    kinds = [s[0] for s in sent]
    assert kinds[:4] == [wire.REQUEST, wire.REQUEST, wire.REQUEST, wire.DISCOVER]
    assert f.changes == []


def test_not_ours_is_ignored():
    for why, kw in (
        ("another machine's", {"mac": MAC + 1}),
        ("no server", {"server": 0}),
        ("no lease", {"lease": 0}),
        ("no address", {"yiaddr": 0}),
        ("a group as address", {"yiaddr": 0xE0000001}),
        ("loopback", {"yiaddr": 0x7F000001}),
        ("broadcast", {"yiaddr": 0xFFFFFFFF}),
    ):
        f = Fixture()
        f.c.start(f.now)
        f.at(f.now)
        assert f.give(wire.OFFER, **kw) == 0, why
        assert f.c.state == dhcp.SELECTING
    f = Fixture()
    f.c.start(f.now)
    f.at(f.now)
    data = answer(wire.OFFER, be.get32(f.last, 4) ^ 1)
    f.c.receive(data, 0, len(data), f.now)
    assert f.take() == 0
    assert f.stats.dropped("dhcp.not_ours") == 1
    f.c.receive(b"\x02garbage", 0, 8, f.now)
    assert f.stats.dropped("dhcp.truncated") == 1


def test_the_ack_must_be_of_the_server_that_was_asked():
    for kw in ({"server": SERVER + 1}, {"yiaddr": OURS + 1}, {"lease": 0}):
        f = Fixture()
        f.c.start(f.now)
        f.at(f.now)
        f.give(wire.OFFER)
        f.give(wire.ACK, **kw)
        assert f.c.state == dhcp.REQUESTING
        assert f.stats.dropped("dhcp.ack") == 1


def test_nak_begins_anew():
    f = Fixture()
    f.c.start(f.now)
    f.at(f.now)
    f.give(wire.OFFER)
    f.give(wire.NAK, yiaddr=0, lease=0)
    assert f.c.state == dhcp.INIT
    assert f.at(f.now + SEC)[0][0] == wire.DISCOVER


def test_renews_at_half_the_lease():
    f = Fixture().bound()
    assert f.at(f.since + 1799 * SEC) == []
    sent = f.at(f.since + 1800 * SEC)
    # To the server itself, from the address, which goes into ciaddr and not into option 50.
    assert [s[:2] for s in sent] == [(wire.REQUEST, SERVER)]
    assert be.get32(f.last, 12) == OURS
    assert option(f.last, 50) is None and option(f.last, 54) is None
    assert f.last[10] == 0
    assert f.c.state == dhcp.RENEWING
    f.give(wire.ACK)
    assert f.c.state == dhcp.BOUND
    assert f.c.poll_at() == f.now + 1800 * SEC
    assert len(f.changes) == 2


def test_rebinds_and_loses_the_lease():
    f = Fixture().bound()
    sent = f.at(f.since + 3599 * SEC)
    unicast = [s for s in sent if s[1]]
    broadcast = [s for s in sent if not s[1]]
    # RFC 2131, section 4.4.5: half of what is left to T2, at least a minute.
    assert [(s[2] - f.since) // SEC for s in unicast] == [1800, 2475, 2812, 2981, 3065, 3125]
    assert (broadcast[0][2] - f.since) // SEC == 3150
    assert f.c.state == dhcp.REBINDING
    assert f.changes[-1] is not None
    f.at(f.since + 3600 * SEC)
    assert f.changes[-1] is None
    assert f.c.state == dhcp.SELECTING


def test_rebinding_takes_any_server():
    f = Fixture().bound()
    f.at(f.since + 3200 * SEC)
    f.give(wire.ACK, server=SERVER + 5)
    assert f.c.state == dhcp.BOUND
    assert f.c.lease.server == SERVER + 5


def test_nak_while_renewing_takes_the_address_away():
    f = Fixture().bound()
    f.at(f.since + 1800 * SEC)
    f.give(wire.NAK)
    assert f.changes[-1] is None
    assert f.c.state == dhcp.INIT


def test_another_address_while_renewing():
    f = Fixture().bound()
    f.at(f.since + 1800 * SEC)
    f.give(wire.ACK, yiaddr=OURS + 1)
    assert f.changes[-2] is None
    assert f.changes[-1].addr == OURS + 1


def test_infinite_lease():
    f = Fixture().bound(lease=0xFFFFFFFF)
    assert f.c.poll_at() == NEVER


def test_times_told():
    more = b"\x3a\x04\x00\x00\x00\x64\x3b\x04\x00\x00\x00\xc8"
    f = Fixture().bound(more=more)
    assert f.c.poll_at() == f.now + 100 * SEC
    assert f.c.lease.t2_at == f.now + 200 * SEC
    # Nonsense (T2 before T1, T1 beyond the lease) falls back to the RFC's fractions.
    for more in (
        b"\x3a\x04\x00\x01\x00\x00\x3b\x04\x00\x02\x00\x00",
        b"\x3a\x04\x00\x00\x00\x00\x3b\x04\x00\x00\x00\x00",
    ):
        f = Fixture().bound(more=more)
        assert f.c.lease.t1_at == f.now + 1800 * SEC
        assert f.c.lease.t2_at == f.now + 3150 * SEC


def test_tiny_lease_is_stretched():
    f = Fixture().bound(lease=1)
    assert f.c.lease.expires_at == f.now + 10 * SEC


def test_mask_missing():
    f = Fixture()
    m = wire.Dhcp()
    for addr, mask, prefix in (
        (0x0A000063, 0, 8),
        (0xAC100001, 0, 16),
        (0xC0A80001, 0, 24),
        (0xC0A80001, 0xFF00FF00, 24),
        (0xC0A80001, 0xFFFFFFFC, 30),
    ):
        m.yiaddr = addr
        m.mask = mask
        m.lease_s = 100
        assert dhcp.Lease(m, f.now).prefix == prefix


def test_stop_releases():
    f = Fixture().bound()
    f.c.stop(f.now)
    assert f.c.out_to == SERVER
    assert f.take() == wire.RELEASE
    assert f.changes[-1] is None
    assert f.c.poll_at() == NEVER
