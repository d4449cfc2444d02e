"""A DHCP client as a pure machine: it is fed messages and the time, and says what to send.

RFC 2131, section 4.4; RFC 2132; RFC 3442. States:

    STOPPED -> INIT -> SELECTING -> REQUESTING -> BOUND -> RENEWING -> REBINDING -> BOUND or INIT

The first offer is taken. Times are the RFC's but for the first retransmission, which
comes after 1 s instead of 4 (a guest's first frame is easily lost while its bridge port
comes up), and the random delay before the first message, which is left out.

Not implemented: INIT-REBOOT, INFORM, collecting several offers, authentication.
"""

from micropython import const

from stack.core.timers import NEVER
from stack.net import addr as _addr
from stack.wire import dhcp as wire

STOPPED = const(0)
INIT = const(1)
SELECTING = const(2)
REQUESTING = const(3)
BOUND = const(4)
RENEWING = const(5)
REBINDING = const(6)
NAMES = ("stopped", "init", "selecting", "requesting", "bound", "renewing", "rebinding")

_FIRST_US = const(1_000_000)
_LAST_US = const(64_000_000)
_JITTER_US = const(1_000_000)  # plus or minus half
_REQUEST_TRIES = const(4)
_RENEW_MIN_US = const(60_000_000)  # RFC 2131, section 4.4.5
_DECLINE_US = const(10_000_000)  # RFC 2131, section 3.1, 5
_NAK_US = const(1_000_000)  # a server that refuses what it offers does not get a storm
_INFINITE = const(0xFFFFFFFF)
_MIN_LEASE_S = const(10)  # a shorter lease would keep us busy with renewing


class Lease:
    """What a server gave: addresses as ints, times in us (NEVER: for ever)."""

    def __init__(self, m, now):
        self.addr = m.yiaddr
        self.prefix = _prefix(m.mask, m.yiaddr)
        self.server = m.server
        self.routers = m.routers
        self.routes = m.routes
        self.dns = m.dns
        self.domain = m.domain
        self.search = m.search
        self.mtu = m.mtu
        if m.lease_s == _INFINITE:
            self.t1_at = self.t2_at = self.expires_at = NEVER
            return
        s = max(m.lease_s, _MIN_LEASE_S)
        # RFC 2131, section 4.4.5: T1 is half the lease, T2 seven eighths, unless told.
        t1 = m.t1_s if 0 < m.t1_s < s else 0
        t2 = m.t2_s if t1 < m.t2_s < s else 0
        t1_us = t1 * 1_000_000 or s * 500_000
        t2_us = t2 * 1_000_000 or s * 875_000
        self.t1_at = now + min(t1_us, t2_us)
        self.t2_at = now + t2_us
        self.expires_at = now + s * 1_000_000


def _prefix(netmask, addr):
    try:
        n = _addr.prefix_of(netmask)
    except ValueError:
        n = 0
    if n:
        return n
    # Without a usable mask: the class of the address.
    top = addr >> 24
    return 8 if top < 128 else 16 if top < 192 else 24


class DhcpClient:
    """`out` is a message to send now, or None; `out_to` its destination, 0 for broadcast.

    Whoever drives it sends `out` and sets it to None. `on_change(lease)` is called with a
    new or renewed Lease, and with None when the address must not be used any more.
    """

    def __init__(self, mac, rng, stats, hostname="", on_change=None):
        self.mac = mac
        self.hostname = hostname
        self.on_change = on_change
        self.stats = stats
        self.state = STOPPED
        self.lease = None
        self.out = None
        self.out_to = 0
        self._rng = rng
        self._msg = wire.Dhcp()
        self._xid = 0
        self._offer = self._server = 0
        self._tries = 0
        self._began = 0  # for `secs`
        self._at = NEVER

    def start(self, now):
        """Begin to look for a server."""
        self._began = now
        self._enter_init(now, 0)

    def stop(self, now):
        """Give the address back and rest; `out` may hold the release."""
        had = self.lease
        self.state = STOPPED
        self._at = NEVER
        self.out = None
        if had is not None:
            self._emit(wire.RELEASE, now, ciaddr=had.addr, server=had.server)
            self.out_to = had.server
            self._lose()

    def decline(self, now):
        """Another station was found to have the address (RFC 2131, section 4.4.4): tell, and
        begin anew after ten seconds.
        """
        had = self.lease
        if had is None:
            return
        self.stats.count("dhcp.declined")
        self._lose()
        self._enter_init(now, _DECLINE_US)
        self._emit(wire.DECLINE, now, requested=had.addr, server=had.server)

    def renew(self, now):
        """Ask for the lease anew, now (the link was down). Before BOUND: nothing."""
        if self.state >= BOUND:
            self._at = now

    def poll_at(self):
        return self._at

    def on_timer(self, now):
        if now < self._at:
            return
        state = self.state
        if state == INIT:
            self.state = SELECTING
            self._xid = self._random32()
            self._tries = 0
            self._discover(now)
        elif state == SELECTING:
            self._discover(now)
        elif state == REQUESTING:
            if self._tries >= _REQUEST_TRIES:
                self._enter_init(now, 0)
            else:
                self._request(now)
        elif state >= BOUND:
            self._extend(now)

    def receive(self, buf, off, end, now):
        """A datagram to the client port."""
        m = self._msg
        if not m.parse(buf, off, end):
            self.stats.drop(m.why)
            return
        if self.state <= INIT or m.xid != self._xid or m.chaddr != self.mac:
            self.stats.drop("dhcp.not_ours")
            return
        state = self.state
        kind = m.type
        if kind == wire.OFFER:
            if state == SELECTING:
                self._on_offer(m, now)
        elif kind == wire.ACK:
            if state == REQUESTING or state >= RENEWING:
                self._on_ack(m, now)
        elif kind == wire.NAK:
            if (state == REQUESTING and m.server == self._server) or state >= RENEWING:
                self.stats.count("dhcp.nak")
                self._lose()
                self._enter_init(now, _NAK_US)
        else:
            self.stats.drop("dhcp.type")

    def _on_offer(self, m, now):
        # RFC 2131, table 3: an offer names the server, the address and the lease.
        if not m.server or not m.lease_s or not _addr.usable(m.yiaddr):
            self.stats.drop("dhcp.offer")
            return
        self._offer = m.yiaddr
        self._server = m.server
        self.state = REQUESTING
        self._tries = 0
        self._request(now)

    def _on_ack(self, m, now):
        if not m.lease_s or not _addr.usable(m.yiaddr):
            self.stats.drop("dhcp.ack")
            return
        if self.state == REQUESTING and (m.yiaddr != self._offer or m.server != self._server):
            self.stats.drop("dhcp.ack")
            return
        if not m.server:
            m.server = self._server
        self._server = m.server
        if self.lease is not None and self.lease.addr != m.yiaddr:
            self._lose()
        self.lease = Lease(m, now)
        self.state = BOUND
        self._at = self.lease.t1_at
        self.out = None
        if self.on_change is not None:
            self.on_change(self.lease)

    def _extend(self, now):
        """BOUND and later: ask the server that gave the lease, then anyone, then lose it."""
        lease = self.lease
        if now >= lease.expires_at:
            self.stats.count("dhcp.expired")
            self._lose()
            self._began = now
            self._enter_init(now, 0)
            return
        if self.state == BOUND:
            self._xid = self._random32()
            self._began = now
        if now >= lease.t2_at:
            self.state = REBINDING
            limit = lease.expires_at
            self.out_to = 0
        else:
            self.state = RENEWING
            limit = lease.t2_at
            self.out_to = lease.server
        # Half of what is left, but not below a minute; never beyond the next stage.
        self._at = min(limit, now + max((limit - now) // 2, _RENEW_MIN_US))
        to = self.out_to
        self._emit(wire.REQUEST, now, ciaddr=lease.addr)
        self.out_to = to

    def _enter_init(self, now, wait_us):
        self.state = INIT
        self._at = now + wait_us
        self.out = None

    def _discover(self, now):
        self._emit(wire.DISCOVER, now)
        self._backoff(now)

    def _request(self, now):
        self._emit(wire.REQUEST, now, requested=self._offer, server=self._server)
        self._backoff(now)

    def _backoff(self, now):
        """RFC 2131, section 4.1: randomized exponential backoff up to 64 s."""
        wait = min(_FIRST_US << min(self._tries, 6), _LAST_US)
        self._tries += 1
        jitter = min(_JITTER_US, wait)
        self._at = now + wait - jitter // 2 + self._random32() % jitter

    def _emit(self, kind, now, ciaddr=0, requested=0, server=0):
        secs = (now - self._began) // 1_000_000
        # The broadcast flag: until it has an address, this stack cannot receive unicast.
        self.out = wire.build(
            kind, self._xid, self.mac, secs, ciaddr, requested, server, self.hostname, not ciaddr
        )
        self.out_to = 0

    def _lose(self):
        if self.lease is not None:
            self.lease = None
            if self.on_change is not None:
                self.on_change(None)

    def _random32(self):
        r = self._rng(4)
        return r[0] << 24 | r[1] << 16 | r[2] << 8 | r[3]
