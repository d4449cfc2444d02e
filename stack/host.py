"""A host: devices, clock, random source and layers, put together. The only place that knows all.

    poll(now)   devices -> interfaces -> layers; timers; what the layers have to send; devices

Not implemented: IPv6 forwarding.
"""

from micropython import const

from stack.core import errors
from stack.core.frame import FramePool
from stack.core.mem import Buffers
from stack.core.stats import Stats
from stack.core.timers import Timers
from stack.iface import Interface
from stack.leases import RETRY_US, Dhcp4, Dhcp6
from stack.link.loopback import Loopback
from stack.link.vlan import Vlan
from stack.net import addr as _addr
from stack.net.icmp import Icmp
from stack.net.icmp6 import Icmp6
from stack.net.igmp import IgmpInput
from stack.net.ipv4 import Ipv4
from stack.net.ipv6 import Ipv6
from stack.net.linklocal import LinkLocal
from stack.net.route import Routes
from stack.transport.rawip import RawIp
from stack.transport.udp import Udp

try:
    from stack.transport.tcp import Tcp
except ImportError:
    Tcp = None

# Frames taken from one device before the others have their turn, and turns of one poll:
# 256 frames at 20 us are 5 ms, then the program runs again.
_BUDGET = const(64)
_TURNS = const(4)

_MAX_INTERFACES = const(16)

# Where no pool is given: 256 frames of 2 KB.
_FRAMES = const(256)
_FRAME_SIZE = const(2048)


class Host:
    """clock() is now in us; rng(n) n random bytes; buffers and pool: see core/mem, core/frame.

    `watchers` are called with an Interface whose link, address or servers changed.
    """

    def __init__(self, clock, rng, buffers=None, pool=None, hostname="barewire", stats=None):
        self.clock = clock
        self.rng = rng
        self.hostname = hostname
        self.stats = stats if stats is not None else Stats()
        self.timers = Timers()
        self.buffers = buffers if buffers is not None else Buffers()
        if pool is None:
            pool = FramePool([bytearray(_FRAME_SIZE) for _ in range(_FRAMES)])
        self.pool = pool
        self.routes = Routes()
        self.ip = Ipv4(self.routes, pool, self.buffers, self.stats, self.timers, rng)
        self.pmtu = self.ip.pmtu
        self.ip6 = Ipv6(self.routes, pool, self.buffers, self.stats, self.timers, rng, self.pmtu)
        self.ip.v6 = self.ip6
        self.interfaces = self.ip6.interfaces = self.ip.interfaces
        self.icmp6 = Icmp6(self.ip6, pool, self.buffers, self.stats, rng)
        self.icmp = Icmp(self.ip, pool, self.buffers, self.stats, rng)
        self.udp = Udp(self.ip, rng, self.stats, self.buffers, pool)
        IgmpInput(self.ip)
        self.rawip = RawIp(self.ip, self.stats, self.buffers, pool)
        self.tcp = None
        if Tcp is not None:
            self.tcp = Tcp(self.ip, self.timers, rng, self.stats, self.buffers, pool)
        self.watchers = []
        self._static_dns = []
        self._static_dns6 = []
        self._dhcp6 = {}
        self._link_local = {}
        self._dhcp = {}  # interface name -> Dhcp4
        self._now = 0
        self._again = False
        # RFC 7217: stable addresses are stable as long as this is. Set it before interfaces come.
        self.secret6 = rng(16)
        self._cards = []  # the interfaces without the loopback, which has no interrupts
        self._lo = self.ip.loopback = lo = self._add(Loopback(self.buffers), True)
        self.ip.add_address(lo, _addr.LOOPBACK, 8)
        self.ip6.add_loopback(lo)

    # Running.

    def poll(self, now):
        """Take in, do what is due, send. Then interrupts are on, or poll_at() is past."""
        turn = 0
        lo = self._lo
        timers = self.timers
        while True:
            self._now = now
            for iface in self._cards:
                if iface.up != (iface.enabled and iface.device.link_up):
                    self._link_changed(iface, now)
                iface.poll(now, _BUDGET)
            if lo.device.head is not None or lo.up != lo.enabled:
                self._poll_loopback(lo, now)
            if timers.first_at <= now:
                timers.expire(now)
            self.flush(now)
            again = lo.device.head is not None
            for iface in self._cards:
                if iface.device.sleep():
                    again = True
            turn += 1
            if not again or turn == _TURNS:
                break
            now = self.clock()
        self._again = again
        if self.udp.blocked:
            self.udp.unblock()
        if self.rawip.blocked:
            self.rawip.unblock()

    def _poll_loopback(self, lo, now):
        if lo.up != lo.enabled:
            self._link_changed(lo, now)
        lo.poll(now, _BUDGET)

    def flush(self, now):
        """Send what the layers have ready. After calls that gave them something."""
        self._now = now
        if self.tcp is not None:
            self.tcp.flush(now)
        for iface in self._cards:
            iface.device.flush()

    def poll_at(self):
        """When poll wants to be called though nothing happens: us, or NEVER."""
        if self._again or self._lo.device.head is not None:
            return self._now
        at = self.timers.first_at
        for iface in self._cards:
            t = iface.device.poll_at()
            if t < at:
                at = t
        tcp = self.tcp
        if tcp is not None and tcp.retry_at < at:
            at = tcp.retry_at
        if (self.udp.blocked or self.rawip.blocked) and self._now + RETRY_US < at:
            at = self._now + RETRY_US
        return at

    # Interfaces.

    def add_interface(self, device):
        """An Interface on device, without an address. OSError when there are too many."""
        if len(self.interfaces) >= _MAX_INTERFACES:
            raise OSError(errors.ENOBUFS)
        return self._add(device, False)

    def add_vlan(self, below, vid):
        """An Interface for VLAN `vid` of the interface `below`, "eth0.5". OSError, ValueError."""
        if vid in below.vlans:
            raise OSError(errors.EEXIST)
        vlan = Vlan(below, vid)
        vlan.iface = iface = self.add_interface(vlan)
        below.add_vlan(vlan)
        return iface

    def look_for_gone(self, now):
        """Remove the interfaces whose cards were pulled, with their addresses and routes.

        What a program has open stays open: it fails as without a route (ENETUNREACH)."""
        for iface in list(self.interfaces):
            if not iface.loopback and iface.device.gone():
                self.configure(iface, "none", now)
                self.configure6(iface, "none", now)
                self.interfaces.remove(iface)
                self._cards.remove(iface)
                self.routes.remove_iface(iface)
                iface.check_link()
                self._tell(iface)

    def _add(self, device, loopback):
        iface = Interface(
            device, self.ip, self.pool, self.buffers, self.stats, self.timers, loopback,
            self.secret6,
        )  # fmt: skip
        iface.auto.on_change = self._tell6
        self.interfaces.append(iface)
        if not loopback:
            self._cards.append(iface)
        return iface

    def interface(self, name):
        """The interface of that name, or None."""
        for iface in self.interfaces:
            if iface.name == name:
                return iface
        return None

    def configure(self, iface, mode, now, addr=0, prefix=0, gateway=0, dns=()):
        """Set up iface: "dhcp", "static" with addr and prefix (ints), "linklocal" (RFC 3927), or
        "none". ValueError.
        """
        dhcp = self._dhcp.pop(iface.name, None)
        if dhcp is not None:
            dhcp.close(now)
        local = self._link_local.pop(iface.name, None)
        if local is not None:
            local.close()
        self.ip.remove_address(iface, now)
        iface.dns = ()
        if dns:
            self._static_dns = list(dns)
        if mode == "static":
            self.ip.add_address(iface, addr, prefix)
            if gateway:
                self.routes.add(0, 0, gateway, iface)
            iface.arp.announce(now)
        elif mode == "dhcp":
            self._dhcp[iface.name] = Dhcp4(self, iface, now)
        elif mode == "linklocal":
            self._link_local[iface.name] = LinkLocal(
                iface.arp, iface.mac, self.rng, self.timers, self.stats,
                lambda addr, at: self._use_link_local(iface, addr, at), now,
            )  # fmt: skip
        elif mode != "none":
            raise ValueError("configure: %s" % mode)
        iface.device.flush()
        self._tell(iface)

    def configure6(self, iface, mode, now, addr=None, length=0, gateway=None, dns=()):
        """IPv6 of iface: "auto", "static" with addr and gateway (16 bytes each), or "none"."""
        dhcp = self._dhcp6.pop(iface.name, None)
        if dhcp is not None:
            dhcp.close(now)
        iface.auto.start(mode, now, addr, length, gateway)
        if dns:
            self._static_dns6 = list(dns)
        iface.device.flush()
        self._tell(iface)

    def _use_link_local(self, iface, addr, now):
        if addr:
            self.ip.add_address(iface, addr, 16)
        else:
            self.ip.remove_address(iface, now)
        self._tell(iface)

    def dhcp(self, iface):
        """The DhcpClient of iface, or None."""
        d = self._dhcp.get(iface.name)
        return d.client if d is not None else None

    @property
    def dns(self):
        """Addresses of name servers: those set by hand, else what DHCP and routers gave."""
        keep = self.ip6.addresses.keep
        if self._static_dns or self._static_dns6:
            return list(self._static_dns) + [keep(raw) for raw in self._static_dns6]
        out = []
        for iface in self.interfaces:
            out.extend(iface.dns)
        for iface in self.interfaces:
            for raw in list(iface.auto.servers) + iface.auto.dhcp_servers:
                a = keep(raw)
                if a not in out:
                    out.append(a)
        return out

    @property
    def search(self):
        """The domains that DHCP has for short names: its list (RFC 3397), else its domain."""
        for d in self._dhcp.values():
            lease = d.client.lease
            if lease is not None and (lease.search or lease.domain):
                return lease.search or [lease.domain]
        return []

    # For others.

    def forward(self, outside=None):
        """Be a router: a Forwarder (`.six`: of IPv6); NAT44 behind Interface `outside` if given."""
        from stack.net.forward import Forwarder
        from stack.net.forward6 import Forwarder6

        forwarder = Forwarder(self.ip, self.icmp, self.pool, self.stats)
        forwarder.six = Forwarder6(self.ip6, self.icmp6, self.pool, self.stats)
        if outside is not None:
            from stack.net.nat import Nat

            forwarder.nat = Nat(outside, self.stats, self.timers, self.rng, self._port_used)
        return forwarder

    def _port_used(self, proto, port):
        if proto == 6:
            return self.tcp.flows.used(port)
        return proto == 17 and self.udp.used(port)

    def bridge(self, name, ifaces, now):
        """Be a switch: a Bridge of these interfaces, which has an Interface `name` of its own."""
        from stack.link.bridge import Bridge

        for iface in ifaces:
            self.configure(iface, "none", now)
        bridge = Bridge(name, ifaces, self.pool, self.stats)
        bridge.iface = self.add_interface(bridge)
        return bridge

    def stop(self):
        """Stop the devices: after this they touch no memory."""
        for iface in self.interfaces:
            iface.device.stop()

    def _link_changed(self, iface, now):
        iface.check_link()
        if iface.up:
            # Another network, perhaps: ask again who is there (RFC 4436 in spirit).
            iface.arp.clear(now)
            d = self._dhcp.get(iface.name)
            if d is not None:
                d.link_up(now)
            iface.arp.announce(now)
            iface.auto.link_up(now)
            d = self._dhcp6.get(iface.name)
            if d is not None:
                d.again(now)
            iface.mld.again(now)
            iface.igmp.again(now)
        self._tell(iface)

    def _tell6(self, iface):
        """Addresses, routers or servers of IPv6 have changed."""
        auto = iface.auto
        now = self._now
        dhcp = self._dhcp6.get(iface.name)
        # RFC 4861, section 4.2: M "indicates that addresses are available via DHCPv6", O "other
        # configuration information"; M makes O redundant.
        if auto.managed or auto.other:
            if dhcp is not None and auto.managed and not dhcp.stateful:
                dhcp.close(now)
                dhcp = None
            if dhcp is None and auto.link_local() is not None:
                self._dhcp6[iface.name] = Dhcp6(self, iface, auto.managed, now)
        for a in auto.addresses:
            if dhcp is not None and a.origin == "dhcp" and a.state < 0:
                dhcp.duplicate(a, now)
                break
        self._tell(iface)

    def _tell(self, iface):
        for watcher in self.watchers:
            watcher(iface)
