"""A DHCPv6 client as a pure machine: fed messages and the time, it says what to send.

RFC 8415, sections 15 and 18: an address (IA_NA) and DNS with it, or DNS alone. States:

    STOPPED -> SOLICITING -> REQUESTING -> BOUND -> RENEWING -> REBINDING -> BOUND or SOLICITING
    STOPPED -> INFORMING -> INFORMED -> INFORMING ...

Left out: the random delay of up to a second before the first message (section 18.2.1).

Not implemented: CONFIRM (an address is asked for anew when the link comes back), several IAs,
prefix delegation, reconfigure, authentication.
"""

from micropython import const

from stack.core.timers import NEVER
from stack.wire import dhcp6 as wire

STOPPED = const(0)
SOLICITING = const(1)
REQUESTING = const(2)
BOUND = const(3)
RENEWING = const(4)
REBINDING = const(5)
INFORMING = const(6)
INFORMED = const(7)
NAMES = (
    "stopped", "soliciting", "requesting", "bound", "renewing", "rebinding", "informing",
    "informed",
)  # fmt: skip

# Section 7.6: initial and maximal retransmission time, by state.
_IRT_US = (0, 1_000_000, 1_000_000, 0, 10_000_000, 10_000_000, 1_000_000, 0)
_MRT_US = (0, 3_600_000_000, 30_000_000, 0, 600_000_000, 600_000_000, 3_600_000_000, 0)
_REQ_MAX_RC = const(10)
_INFINITE = const(0xFFFFFFFF)
_REFRESH_S = const(86400)  # IRT_DEFAULT
_REFRESH_MIN_S = const(600)  # IRT_MINIMUM
_MIN_S = const(10)  # a shorter lease would keep us busy with renewing
_SECOND = const(1_000_000)


class Lease6:
    """`addresses` [(16 bytes, preferred until, valid until)] in us, `dns` [16 bytes], `domains`."""

    def __init__(self, m, now):
        self.addresses = [(a, _until(now, p), _until(now, v)) for a, p, v in m.addresses if v]
        self.dns = m.dns
        self.domains = m.domains
        self.server = m.server


class Dhcp6Client:
    """`out`: a message (bytes) to be sent to all servers, or None; the taker sets it to None.

    on_change(lease or None) is called when there is something new. mac: an int.
    """

    def __init__(self, mac, rng, stats, on_change):
        self._rng = rng
        self.stats = stats
        self.on_change = on_change
        self.duid = wire.duid_ll(mac)
        self.iaid = mac & 0x7FFFFFFF
        self.state = STOPPED
        self.lease = None
        self.out = None
        self._at = NEVER
        self._rt = 0
        self._tries = 0
        self._began = 0
        self._xid = 0
        self._best = None  # the Message of the server that was chosen
        self._valid_until = self._rebind_at = NEVER
        self._max_rt = {}

    # Orders.

    def start(self, stateful, now):
        """Ask for an address and DNS, or with stateful False for DNS alone."""
        self._lose()
        self._best = None
        self._enter(SOLICITING if stateful else INFORMING, now)

    def stop(self, now):
        """Give the address back, if there is one, and stop. Section 18.2.7, sent once."""
        if self.lease is not None and self.lease.addresses:
            self._new_xid(now)
            self._emit(wire.RELEASE, now, self.lease.server, self._held())
        else:
            self.out = None
        self.state = STOPPED
        self._at = NEVER
        self.lease = None

    def decline(self, raw, now):
        """The address was found to be in use (section 18.2.8): tell, and ask anew."""
        if self.lease is None:
            return
        self._new_xid(now)
        self._emit(wire.DECLINE, now, self.lease.server, [raw])
        self._lose()
        self.state = SOLICITING
        self._best = None
        self._tries = 0
        self._at = now + _SECOND
        self._rt = _SECOND

    def poll_at(self):
        return self._at

    # Time.

    def on_timer(self, now):
        if now < self._at:
            return
        s = self.state
        if s == SOLICITING and self._best is not None:
            self._enter(REQUESTING, now)
        elif s == REQUESTING and self._tries >= _REQ_MAX_RC:
            self._best = None
            self._enter(SOLICITING, now)
        elif s == BOUND:
            self._enter(RENEWING, now)
        elif s == RENEWING and now >= self._rebind_at:
            self._enter(REBINDING, now)
        elif s == REBINDING and now >= self._valid_until:
            self._lose()
            self._best = None
            self._enter(SOLICITING, now)
        elif s == INFORMED:
            self._enter(INFORMING, now)
        elif s != STOPPED:
            self._transmit(now)

    def _enter(self, state, now):
        self.state = state
        self._tries = 0
        self._began = now
        self._new_xid(now)
        self._transmit(now)

    def _new_xid(self, now):
        r = self._rng(3)
        self._xid = r[0] << 16 | r[1] << 8 | r[2]
        self._began = now

    def _transmit(self, now):
        """Send the message of the state, and say when again (section 15)."""
        s = self.state
        if s == SOLICITING:
            self._emit(wire.SOLICIT, now, None, (), rapid=True)
        elif s == REQUESTING:
            wanted = [a for a, _, _ in self._best.addresses]
            self._emit(wire.REQUEST, now, self._best.server, wanted)
        elif s == RENEWING:
            self._emit(wire.RENEW, now, self.lease.server, self._held())
        elif s == REBINDING:
            self._emit(wire.REBIND, now, None, self._held())
        elif s == INFORMING:
            self._emit(wire.INFORMATION, now, None, None)
        most = self._max_rt.get(s) or _MRT_US[s]
        rt = _IRT_US[s] if not self._tries else 2 * self._rt
        if rt > most:
            rt = most
        # RAND: between -0.1 and 0.1; of the first solicit above 0.
        r = self._rng(2)
        jitter = rt * ((r[0] << 8 | r[1]) - 32768) // 327680
        if s == SOLICITING and not self._tries and jitter < 0:
            jitter = -jitter
        self._rt = rt + jitter
        self._tries += 1
        self._at = now + self._rt
        if s == RENEWING and self._at > self._rebind_at:
            self._at = self._rebind_at
        elif s == REBINDING and self._at > self._valid_until:
            self._at = self._valid_until

    def _emit(self, kind, now, server, addresses, rapid=False):
        elapsed = (now - self._began) // 10_000
        iaid = self.iaid if addresses is not None else -1
        self.out = wire.build(
            kind, self._xid, self.duid, server, elapsed, iaid, addresses or (), rapid
        )

    def _held(self):
        return [a for a, _, _ in self.lease.addresses]

    # Messages.

    def receive(self, b, off, n, now):
        """A message came to our port."""
        m = wire.parse(b, off, n)
        if m is None:
            self.stats.drop("dhcp6.malformed")
            return
        # Sections 16.3 and 16.10: ours, and from a server that says who it is.
        if m.xid != self._xid or m.client != self.duid or m.server is None:
            self.stats.drop("dhcp6.not_ours")
            return
        if 60 <= m.sol_max_rt <= 86400:
            self._max_rt[SOLICITING] = m.sol_max_rt * _SECOND
        if 60 <= m.inf_max_rt <= 86400:
            self._max_rt[INFORMING] = m.inf_max_rt * _SECOND
        if m.type == wire.ADVERTISE and self.state == SOLICITING:
            self._on_advertise(m, now)
        elif m.type == wire.REPLY:
            self._on_reply(m, now)
        else:
            self.stats.drop("dhcp6.unexpected")

    def _on_advertise(self, m, now):
        """Section 18.2.9: the best of the first second, the first of later ones."""
        if m.status != wire.SUCCESS or m.ia_status != wire.SUCCESS or not m.addresses:
            self.stats.drop("dhcp6.no_address")
            return
        if self._best is None or m.preference > self._best.preference:
            self._best = m
        if m.preference == 255 or self._tries > 1:
            self._enter(REQUESTING, now)

    def _on_reply(self, m, now):
        s = self.state
        if s == INFORMING:
            self._inform(m, now)
        elif s == SOLICITING and not m.rapid:
            self.stats.drop("dhcp6.unexpected")
        elif s in (SOLICITING, REQUESTING, RENEWING, REBINDING):
            if s == REQUESTING and m.server != self._best.server:
                self.stats.drop("dhcp6.not_ours")
            elif m.iaid != self.iaid or wire.SUCCESS != m.status or m.ia_status != wire.SUCCESS:
                self._refused(m, now)
            else:
                self._bind(m, now)
        else:
            self.stats.drop("dhcp6.unexpected")

    def _refused(self, m, now):
        """Section 18.2.10.1."""
        self.stats.drop("dhcp6.refused")
        if self.state == REQUESTING or m.status == wire.NOT_ON_LINK:
            self._best = None
            self._lose()
            self.state = SOLICITING
            self._tries = 0
            self._at = now + _SECOND
        elif m.ia_status == wire.NO_BINDING:
            self._best = m
            m.addresses = [(a, 0, 0) for a in self._held()]
            self._enter(REQUESTING, now)

    def _bind(self, m, now):
        lease = Lease6(m, now)
        if not lease.addresses:
            self._refused(m, now)
            return
        preferred = min([p for _, p, _ in m.addresses])
        valid = max([v for _, _, v in m.addresses])
        t1 = m.t1
        t2 = m.t2
        # Section 21.4: 0 leaves it to the client: 0.5 and 0.8 of the preferred lifetime.
        if t1 > t2 > 0 or not t1 or not t2:
            t1 = preferred // 2 if preferred != _INFINITE else _INFINITE
            t2 = preferred * 4 // 5 if preferred != _INFINITE else _INFINITE
        self.lease = lease
        self.state = BOUND
        self._best = m
        self._at = _until(now, max(t1, _MIN_S))
        self._rebind_at = _until(now, max(t2, t1, _MIN_S))
        self._valid_until = _until(now, valid)
        if self.on_change is not None:
            self.on_change(lease)

    def _inform(self, m, now):
        if m.status != wire.SUCCESS:
            self.stats.drop("dhcp6.refused")
            return
        self.lease = Lease6(m, now)
        self.lease.addresses = []
        self.state = INFORMED
        self._at = _until(now, max(m.refresh or _REFRESH_S, _REFRESH_MIN_S))
        if self.on_change is not None:
            self.on_change(self.lease)

    def _lose(self):
        if self.lease is not None:
            self.lease = None
            if self.on_change is not None:
                self.on_change(None)


def _until(now, seconds):
    return NEVER if seconds == _INFINITE else now + seconds * _SECOND
