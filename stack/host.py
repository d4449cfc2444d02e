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
from stack.link.loopback import Loopback
from stack.net import addr as _addr
from stack.net.dhcp import BOUND, DhcpClient
from stack.net.icmp import Icmp
from stack.net.icmp6 import Icmp6
from stack.net.ipv4 import Ipv4
from stack.net.ipv6 import Ipv6
from stack.net.pmtu import PathMtu
from stack.net.route import Routes
from stack.transport.udp import Udp
from stack.wire import dhcp as _dhcp_wire

try:
    from stack.transport.tcp import Tcp
except ImportError:
    Tcp = None

# Frames taken from one device before the others have their turn, and turns of one poll:
# 256 frames at 20 us are 5 ms, then the program runs again.
_BUDGET = const(64)
_TURNS = const(4)

# A sender that found no room is told to try again after this, should nothing else happen.
_RETRY_US = const(1_000)

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
        self.pmtu = PathMtu(self.routes, self.timers)
        self.ip6 = Ipv6(self.routes, pool, self.buffers, self.stats, self.timers, rng, self.pmtu)
        self.ip.v6 = self.ip6
        self.ip.pmtu = self.pmtu
        self.interfaces = self.ip6.interfaces = self.ip.interfaces
        self.icmp6 = Icmp6(self.ip6, pool, self.buffers, self.stats, rng)
        self.icmp = Icmp(self.ip, pool, self.buffers, self.stats, rng)
        self.udp = Udp(self.ip, rng, self.stats, self.buffers, pool)
        self.tcp = None
        if Tcp is not None:
            self.tcp = Tcp(self.ip, self.timers, rng, self.stats, self.buffers, pool)
        self.watchers = []
        self._static_dns = []
        self._static_dns6 = []
        self._dhcp6 = {}
        self._dhcp = {}  # interface name -> _Dhcp
        self._now = 0
        self._again = False
        # RFC 7217: stable addresses are stable as long as this is. Set it before interfaces come.
        self.secret6 = rng(16)
        lo = self._add(Loopback(self.buffers), True)
        self.ip.loopback = lo
        self.ip.add_address(lo, _addr.LOOPBACK, 8)
        self.ip6.add_loopback(lo)

    # Running.

    def poll(self, now):
        """Take in, do what is due, send. Then interrupts are on, or poll_at() is past."""
        turn = 0
        while True:
            self._now = now
            for iface in self.interfaces:
                if iface.up != (iface.enabled and iface.device.link_up):
                    self._link_changed(iface, now)
                iface.poll(now, _BUDGET)
            self.timers.expire(now)
            self.flush(now)
            again = False
            for iface in self.interfaces:
                if iface.device.sleep():
                    again = True
            turn += 1
            if not again or turn == _TURNS:
                break
            now = self.clock()
        self._again = again
        if self.udp.blocked:
            self.udp.unblock()

    def flush(self, now):
        """Send what the layers have ready. After calls that gave them something."""
        self._now = now
        if self.tcp is not None:
            self.tcp.flush(now)
        for iface in self.interfaces:
            iface.device.flush()

    def poll_at(self):
        """When poll wants to be called though nothing happens: us, or NEVER."""
        at = self.timers.poll_at()
        if self._again:
            return self._now
        for iface in self.interfaces:
            t = iface.device.poll_at()
            if t < at:
                at = t
        if self.ip.loopback.device.waiting():
            return self._now
        if self.tcp is not None:
            t = self.tcp.poll_at()
            if t < at:
                at = t
        if self.udp.blocked and self._now + _RETRY_US < at:
            at = self._now + _RETRY_US
        return at

    # Interfaces.

    def add_interface(self, device):
        """An Interface on device, without an address. OSError when there are too many."""
        if len(self.interfaces) >= _MAX_INTERFACES:
            raise OSError(errors.ENOBUFS)
        return self._add(device, False)

    def _add(self, device, loopback):
        iface = Interface(
            device, self.ip, self.pool, self.buffers, self.stats, self.timers, loopback,
            self.secret6,
        )  # fmt: skip
        iface.auto.on_change = self._tell6
        self.interfaces.append(iface)
        return iface

    def interface(self, name):
        """The interface of that name, or None."""
        for iface in self.interfaces:
            if iface.name == name:
                return iface
        return None

    def configure(self, iface, mode, now, addr=0, prefix=0, gateway=0, dns=()):
        """Set up iface: "dhcp", "static" with addr and prefix (ints), or "none". ValueError."""
        dhcp = self._dhcp.pop(iface.name, None)
        if dhcp is not None:
            dhcp.close(now)
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
            self._dhcp[iface.name] = _Dhcp(self, iface, now)
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

    def dhcp(self, iface):
        """The DhcpClient of iface, or None."""
        d = self._dhcp.get(iface.name)
        return d.client if d is not None else None

    @property
    def dns(self):
        """Addresses of name servers: those set by hand, else those that DHCP gave."""
        if self._static_dns:
            return list(self._static_dns)
        out = []
        for iface in self.interfaces:
            out.extend(iface.dns)
        return out

    @property
    def domain(self):
        """The domain that DHCP named, or ""."""
        for d in self._dhcp.values():
            if d.client.lease is not None and d.client.lease.domain:
                return d.client.lease.domain
        return ""

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
            iface.mld.again(now)
        self._tell(iface)

    def _tell6(self, iface):
        """Addresses, routers or servers of IPv6 have changed."""
        self._tell(iface)

    def _tell(self, iface):
        for watcher in self.watchers:
            watcher(iface)


class _Dhcp:
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

    def link_up(self, now):
        """The link is back: an address is asked for again; until then the old one serves."""
        c = self.client
        if c.state < BOUND:
            c.start(now)
        else:
            c.renew(now)
        self.on_timer(now)

    def poll_at(self):
        return self._now + _RETRY_US if self._retry else self.client.poll_at()

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
