"""net/dhcp6: an address and DNS from a server that the test plays (RFC 8415)."""

from stack.core.stats import Stats
from stack.net import addr6, dhcp6
from stack.net.dhcp6 import Dhcp6Client
from stack.wire import dhcp6 as wire
from tests.unit.net.support import Wire, counter_rng, host, run

MAC = 0x02000000000A
SEC = 1_000_000
SERVER = b"\x00\x03\x00\x01server"
ADDRESS = addr6.parse("2001:db8::77")[0]
DNS = addr6.parse("2001:db8::53")[0]


def ia(iaid, addresses=((ADDRESS, 1000, 2000),), t1=500, t2=800, status=None):
    out = iaid.to_bytes(4, "big") + t1.to_bytes(4, "big") + t2.to_bytes(4, "big")
    for a, preferred, valid in addresses:
        value = a + preferred.to_bytes(4, "big") + valid.to_bytes(4, "big")
        out += wire.option(wire.IA_ADDR, value)
    if status is not None:
        out += wire.option(wire.STATUS, status.to_bytes(2, "big"))
    return wire.option(wire.IA_NA, out)


class World:
    def __init__(self, stateful=True):
        self.now = SEC
        self.leases = []
        self.stats = Stats()
        self.c = Dhcp6Client(MAC, counter_rng(), self.stats, self.leases.append)
        self.c.start(stateful, self.now)

    def take(self):
        """The Message that is to be sent, or None."""
        out = self.c.out
        self.c.out = None
        if out is None:
            return None
        m = wire.parse(out, 0, len(out))
        assert m is not None and m.client == self.c.duid
        return m

    def wait(self, us=None):
        """Until the client wants its timer, or for us; what it sends then."""
        self.now = self.c.poll_at() if us is None else self.now + us
        self.c.on_timer(self.now)
        return self.take()

    def say(self, kind, body=b"", server=SERVER, xid=None, client=None):
        xid = self.c._xid if xid is None else xid
        m = bytes((kind,)) + xid.to_bytes(3, "big") + wire.option(1, client or self.c.duid)
        if server:
            m += wire.option(2, server)
        m += body
        self.c.receive(m, 0, len(m), self.now)
        return self.take()

    def bound(self):
        self.take()
        self.say(wire.ADVERTISE, ia(self.c.iaid) + wire.option(7, b"\xff"))
        self.say(wire.REPLY, ia(self.c.iaid) + wire.option(23, DNS))
        assert self.c.state == dhcp6.BOUND
        return self


def test_four_messages():
    w = World()
    m = w.take()
    assert m.type == wire.SOLICIT and m.rapid and m.iaid == w.c.iaid and m.server is None
    assert w.say(wire.ADVERTISE, ia(w.c.iaid)) is None  # others may still speak
    m = w.wait()
    assert m.type == wire.REQUEST and m.server == SERVER and m.addresses[0][0] == ADDRESS
    body = ia(w.c.iaid) + wire.option(23, DNS) + wire.option(24, b"\x04test\x00")
    w.say(wire.REPLY, body)
    (lease,) = w.leases
    assert lease.addresses == [(ADDRESS, w.now + 1000 * SEC, w.now + 2000 * SEC)]
    assert lease.dns == [DNS] and lease.domains == ["test"]


def test_the_better_server_is_chosen():
    w = World()
    w.take()
    w.say(wire.ADVERTISE, ia(w.c.iaid) + wire.option(7, b"\x01"), b"one")
    w.say(wire.ADVERTISE, ia(w.c.iaid) + wire.option(7, b"\x09"), b"two")
    w.say(wire.ADVERTISE, ia(w.c.iaid) + wire.option(7, b"\x05"), b"three")
    assert w.wait().server == b"two"
    w = World()
    w.take()
    m = w.say(wire.ADVERTISE, ia(w.c.iaid) + wire.option(7, b"\xff"))
    assert m.type == wire.REQUEST  # section 18.2.1: 255 ends the waiting


def test_rapid_commit():
    w = World()
    w.take()
    w.say(wire.REPLY, ia(w.c.iaid))
    assert w.c.state == dhcp6.SOLICITING and w.stats.dropped("dhcp6.unexpected") == 1
    w.say(wire.REPLY, ia(w.c.iaid) + wire.option(14, b""))
    assert w.c.state == dhcp6.BOUND


def test_what_does_not_count():
    w = World()
    w.take()
    good = ia(w.c.iaid) + wire.option(7, b"\xff")
    for why, args in (
        ("another transaction", (good, SERVER, w.c._xid ^ 1)),
        ("another client", (good, SERVER, None, b"other")),
        ("no server id", (good, b"")),
    ):
        assert w.say(wire.ADVERTISE, *args) is None, why
    assert w.stats.drops == {"dhcp6.not_ours": 3}
    for why, body in (
        ("no address", b""),
        ("status", ia(w.c.iaid, status=2) + wire.option(7, b"\xff")),
        ("preferred beyond valid", ia(w.c.iaid, ((ADDRESS, 9, 8),)) + wire.option(7, b"\xff")),
    ):
        assert w.say(wire.ADVERTISE, body) is None, why
    assert w.c.state == dhcp6.SOLICITING


def test_every_truncation_of_a_reply():
    w = World()
    m = bytes((7,)) + bytes(3) + wire.option(1, w.c.duid) + wire.option(2, SERVER)
    m += ia(w.c.iaid) + wire.option(23, DNS)
    whole = wire.parse(m, 0, len(m))
    assert whole.addresses and whole.dns
    for n in range(len(m)):
        found = wire.parse(m, 0, n)
        assert found is None or n in (4, 18, 34, 34 + 44) or not found.dns


def test_retransmission():
    """Section 15: doubling, with jitter, up to SOL_MAX_RT."""
    w = World()
    w.take()
    gaps = []
    for _ in range(14):
        before = w.now
        m = w.wait()
        assert m.type == wire.SOLICIT
        gaps.append(w.now - before)
    assert SEC <= gaps[0] <= 1.1 * SEC
    for a, b in zip(gaps[:10], gaps[1:11]):
        assert 1.7 * a < b < 2.3 * a
    assert 0.9 * 3600 * SEC <= gaps[-1] <= 1.1 * 3600 * SEC
    w.say(wire.ADVERTISE, wire.option(82, (60).to_bytes(4, "big")))
    w.wait()
    before = w.now
    w.wait()
    assert w.now - before < 70 * SEC


def test_renew_rebind_and_the_end():
    w = World().bound()
    began = w.now
    m = w.wait()
    assert m.type == wire.RENEW and m.server == SERVER and w.now - began == 500 * SEC
    w.say(wire.REPLY, ia(w.c.iaid))
    assert w.c.state == dhcp6.BOUND and len(w.leases) == 2
    began = w.now
    kinds = []
    while w.c.state != dhcp6.SOLICITING:
        m = w.wait()
        kinds.append(m.type)
    assert kinds[0] == wire.RENEW and wire.REBIND in kinds and kinds[-1] == wire.SOLICIT
    assert w.now - began == 2000 * SEC and w.leases[-1] is None


def test_no_binding():
    """Section 18.2.10.1: the server has forgotten us: request it again."""
    w = World().bound()
    w.wait()
    m = w.say(wire.REPLY, ia(w.c.iaid, (), status=wire.NO_BINDING))
    assert m.type == wire.REQUEST and m.addresses[0][0] == ADDRESS


def test_a_refused_request_begins_anew():
    w = World()
    w.take()
    w.say(wire.ADVERTISE, ia(w.c.iaid) + wire.option(7, b"\xff"))
    w.say(wire.REPLY, ia(w.c.iaid, (), status=wire.NO_ADDRS))
    assert w.wait().type == wire.SOLICIT


def test_ten_requests_without_an_answer():
    w = World()
    w.take()
    w.say(wire.ADVERTISE, ia(w.c.iaid) + wire.option(7, b"\xff"))
    kinds = [w.wait().type for _ in range(10)]
    assert kinds == [wire.REQUEST] * 9 + [wire.SOLICIT]


def test_decline_and_release():
    w = World().bound()
    w.c.decline(ADDRESS, w.now)
    m = w.take()
    assert (m.type, m.server, m.addresses[0][0]) == (wire.DECLINE, SERVER, ADDRESS)
    assert w.leases[-1] is None and w.wait().type == wire.SOLICIT
    w = World().bound()
    w.c.stop(w.now)
    m = w.take()
    assert (m.type, m.addresses[0][0]) == (wire.RELEASE, ADDRESS) and w.c.poll_at() > 1 << 59


def test_information_only():
    w = World(False)
    m = w.take()
    assert m.type == wire.INFORMATION and m.iaid == -1
    w.say(wire.REPLY, wire.option(23, DNS) + wire.option(32, (1200).to_bytes(4, "big")))
    assert w.leases[0].dns == [DNS] and w.leases[0].addresses == []
    began = w.now
    assert w.wait().type == wire.INFORMATION and w.now - began == 1200 * SEC


def test_lifetimes_left_to_the_client():
    w = World()
    w.take()
    w.say(wire.ADVERTISE, ia(w.c.iaid) + wire.option(7, b"\xff"))
    w.say(wire.REPLY, ia(w.c.iaid, t1=0, t2=0))
    assert w.c.poll_at() == w.now + 500 * SEC
    w = World()
    w.take()
    for_ever = ((ADDRESS, 0xFFFFFFFF, 0xFFFFFFFF),)
    w.say(wire.REPLY, ia(w.c.iaid, for_ever, 0, 0) + wire.option(14, b""))
    assert w.c.poll_at() > 1 << 59


def test_the_driver_takes_and_drops_the_address():
    d = Wire()
    h = host(d)
    i = h.interfaces[1]
    h.configure6(i, "auto", h.clock.now)
    run(h.clock, 2 * SEC, h)
    i.auto.managed = True
    h._tell6(i)
    driver = h._dhcp6["eth0"]
    assert [f[20] for f in d.take() if f[20] == 17 and f[54:58] == b"\x02\x22\x02\x23"]
    driver._now = h.clock.now

    class Lease:
        addresses = [(ADDRESS, h.clock.now + 100 * SEC, h.clock.now + 200 * SEC)]
        dns = [DNS]
        domains = ["test"]

    driver._on_change(Lease())
    run(h.clock, 2 * SEC, h)
    a = i.auto.find(h.ip6.addresses.handle(ADDRESS))
    assert a.state == 1 and a.origin == "dhcp" and a.length == 128
    assert h.dns == [h.ip6.addresses.handle(DNS)]
    driver._on_change(None)
    assert i.auto.find(a.addr) is None and h.dns == []
    h.configure6(i, "none", h.clock.now)
    assert h._dhcp6 == {} and len(h.udp.endpoints()) == 0
