"""What a host does with DHCP: the machines of stack/net behind endpoints and timers.

`Dhcp4` and `Dhcp6` each drive a client, and do to the interface what its lease says.
Not implemented: see net/dhcp.py and net/dhcp6.py.
"""

from micropython import const

from stack.net import addr as _addr
from stack.net import addr6
from stack.net.dhcp import BOUND, DhcpClient
from stack.net.dhcp6 import Dhcp6Client
from stack.wire import dhcp as _dhcp_wire
from stack.wire import dhcp6 as _dhcp6_wire

# A sender that found no room is told to try again after this, should nothing else happen.
RETRY_US = const(1_000)

# How long an address that was just given may turn out to be another's.
_FRESH_US = const(5_000_000)


class Dhcp4:
    """Drives a DhcpClient by a UDP endpoint and a timer, and does what its lease says."""

    def __init__(self, host, iface, now):
        self.host = host
        self.iface = iface
        self.timer_at = 0
        self.timer_index = -1
        self._retry = False
        self._buf = bytearray(1500)
        self.client = DhcpClient(
            iface.mac, host.rng, host.stats, host.hostname, self._on_change
        )
        self.endpoint = host.udp.open(0, _dhcp_wire.CLIENT_PORT, now, True, iface)
        self.endpoint.broadcast = True
        self.endpoint.waker = self
        self._now = now
        self._fresh_until = 0
        iface.arp.watch = self
        self.client.start(now)
        self.on_timer(now)

    def close(self, now):
        """Give the address back and stop."""
        self._now = now
        self.client.on_change = None
        self.client.stop(now)
        self._send(now)
        self.host.timers.cancel(self)
        self.endpoint.close(now)
        if self.iface.arp.watch is self:
            self.iface.arp.watch = None

    def on_claim(self, addr, now):
        """Another station claims an address: if it is the one just given to us, it is declined."""
        if addr == self.iface.addr and now < self._fresh_until:
            self._now = now
            self._fresh_until = 0
            self.client.decline(now)
            self._send(now)
            self.host.timers.arm(self, self.poll_at())

    def link_up(self, now):
        """The link is back: an address is asked for again; until then the old one serves."""
        c = self.client
        if c.state < BOUND:
            c.start(now)
        else:
            c.renew(now)
        self.on_timer(now)

    def poll_at(self):
        return self._now + RETRY_US if self._retry else self.client.poll_at()

    def on_timer(self, now):
        self._now = now
        self.client.on_timer(now)
        self._send(now)
        self.host.timers.arm(self, self.poll_at())

    def wake(self, ep):
        """The endpoint has a datagram (or an error, which the retransmission will answer)."""
        now = self.host._now
        self._now = now
        buf = self._buf
        while True:
            try:
                n = ep.recv_into(buf, 0, len(buf))
            except OSError:
                continue
            if n < 0:
                break
            if ep.peer_port == _dhcp_wire.SERVER_PORT:
                self.client.receive(buf, 0, n, now)
        self._send(now)
        self.host.timers.arm(self, self.poll_at())

    def _send(self, now):
        c = self.client
        # A message may lead to the next at once, but not for ever.
        out = c.out
        if out is None:
            c.on_timer(now)
            out = c.out
        self._retry = False
        if out is None:
            return
        c.out = None
        try:
            ok = self.endpoint.send_to(
                out, 0, len(out), c.out_to or _addr.BROADCAST, _dhcp_wire.SERVER_PORT, now
            )
        except OSError:
            return  # no way there: the machine tries again in its own time
        if ok < 0:
            c.out = out
            self._retry = True

    def _on_change(self, lease):
        host = self.host
        iface = self.iface
        ip = host.ip
        now = self._now
        if lease is None:
            ip.remove_address(iface, now)
            iface.dns = ()
            host._tell(iface)
            return
        if iface.addr != lease.addr or iface.prefix != lease.prefix:
            ip.remove_address(iface, now)
            ip.add_address(iface, lease.addr, lease.prefix)
            # Used at once; whoever has it already answers the probe, and it is declined.
            self._fresh_until = now + _FRESH_US
            iface.arp.probe(lease.addr)
            iface.arp.announce(now)
        iface.dns = lease.dns
        routes = host.routes
        routes.remove_iface(iface, "dhcp")
        # RFC 3442: "the DHCP client MUST ignore the Router option" where it has routes.
        if lease.routes:
            for network, prefix, gateway in lease.routes:
                routes.add(network, prefix, gateway, iface, 0, "dhcp")
        elif lease.routers:
            routes.add(0, 0, lease.routers[0], iface, 0, "dhcp")
        if lease.mtu:
            iface.set_mtu(lease.mtu)
        host._tell(iface)


class Dhcp6:
    """Drives a Dhcp6Client on `iface`, once a router has said that there is a server."""

    def __init__(self, host, iface, stateful, now):
        self.host = host
        self.iface = iface
        self.stateful = stateful
        self.timer_at = 0
        self.timer_index = -1
        self._retry = False
        self._buf = bytearray(1500)
        self._now = now
        self.client = Dhcp6Client(iface.mac, host.rng, host.stats, self._on_change)
        self._all = host.ip6.addresses.keep(addr6.ALL_DHCP, iface.index)
        self.endpoint = host.udp.open(addr6.ANY, _dhcp6_wire.CLIENT_PORT, now, True, iface)
        self.endpoint.waker = self
        self.client.start(stateful, now)
        self.on_timer(now)

    def close(self, now):
        """Give the address back and stop."""
        self._now = now
        self.client.on_change = None
        self.client.stop(now)
        self._send(now)
        self.host.timers.cancel(self)
        self.endpoint.close(now)

    def again(self, now):
        """The link is back: ask anew, there may be another network."""
        self._now = now
        self.client.start(self.stateful, now)
        self.on_timer(now)

    def duplicate(self, a, now):
        """An address of the lease has turned out to be another's."""
        self._now = now
        self.client.decline(a.raw, now)
        self._send(now)
        self.host.timers.arm(self, self.poll_at())

    def poll_at(self):
        return self._now + RETRY_US if self._retry else self.client.poll_at()

    def on_timer(self, now):
        self._now = now
        if self.client.out is None:
            self.client.on_timer(now)
        self._send(now)
        self.host.timers.arm(self, self.poll_at())

    def wake(self, ep):
        now = self.host._now
        self._now = now
        buf = self._buf
        while True:
            try:
                n = ep.recv_into(buf, 0, len(buf))
            except OSError:
                continue
            if n < 0:
                break
            self.client.receive(buf, 0, n, now)
        self._send(now)
        self.host.timers.arm(self, self.poll_at())

    def _send(self, now):
        c = self.client
        out = c.out
        self._retry = False
        if out is None:
            return
        c.out = None
        try:
            ok = self.endpoint.send_to(
                out, 0, len(out), self._all, _dhcp6_wire.SERVER_PORT, now
            )
        except OSError:
            return  # no address yet to send from: the machine tries again in its own time
        if ok < 0:
            c.out = out
            self._retry = True

    def _on_change(self, lease):
        auto = self.iface.auto
        now = self._now
        keep = [a for a, _, _ in lease.addresses] if lease is not None else []
        for a in list(auto.addresses):
            if a.origin == "dhcp" and a.raw not in keep:
                auto.remove(a, now)
        auto.dhcp_servers = []
        auto.dhcp_search = []
        if lease is not None:
            for raw, preferred, valid in lease.addresses:
                a = auto.add(raw, 128, "dhcp", now, preferred, valid)
                if a is not None:
                    a.preferred_until = preferred
                    a.valid_until = valid
            auto.dhcp_servers = [addr6.with_zone(s, self.iface.index) for s in lease.dns]
            auto.dhcp_search = lease.domains
        self.host._tell(self.iface)
