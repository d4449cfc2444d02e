"""An interface: a device and the layers that hear from it. The path of a frame begins here.

    device.rx -> on_frame -> wire.ethernet -> link.arp
                                           -> net.ipv4 -> net.icmp, transport.udp, transport.tcp
                                           -> net.ipv6 -> net.icmp6 -> net.nd, net.mld; the same
    Path.output, arp, nd, raw -> tx -> device.tx

                                           -> link.vlan -> on_frame of its own interface

Not implemented: more than one IPv4 address.
"""

from stack.link import raw
from stack.link.arp import Arp, permanent
from stack.link.ethernet import Link
from stack.net.igmp import Igmp
from stack.net.mld import Mld
from stack.net.nd import Nd
from stack.net.slaac import Autoconf
from stack.wire import ethernet
from stack.wire.ipv6 import MIN_MTU

# The smallest MTU that DHCP may set (RFC 791: every host takes 576 bytes).
_MIN_MTU = 576


def _not_taken(f, now):
    """Where there is no TCP, it takes no frames."""
    return False


class Interface:
    """`addr`, `prefix` (0: none), `mac` (an int), `mtu`, `up`, and counters of frames and bytes.

    `index` from 1 on is the zone of link-local addresses; `nd`, `auto`, `mld`: IPv6's parts.
    """

    def __init__(self, device, ip, pool, buffers, stats, timers, loopback=False, secret=b""):
        self.device = device
        self.name = device.name
        self.loopback = loopback
        self.mac = int.from_bytes(device.mac, "big")
        self.mtu = device.mtu
        self.addr = self.prefix = 0
        self.dns = ()  # name servers that DHCP gave
        self.enabled = True
        self.up = device.link_up
        self.ip = ip
        self.ip6 = ip.v6
        self.index = len(ip.interfaces) + 1
        self.mtu6 = 0  # what routers advertise; 0: as mtu
        self.pool = pool
        self.buffers = buffers
        self.stats = stats
        self.link = Link(self.mac)
        self.arp = Arp(self, pool, stats, timers, ip)
        self.igmp = Igmp(self, ip, pool, stats, timers)
        self.nd = Nd(self, ip.v6, pool, stats, timers)
        self.mld = Mld(self, ip.v6, pool, stats, timers)
        self.auto = Autoconf(self, ip.v6, stats, timers, secret)
        self.everyone = permanent(0 if loopback else ethernet.BROADCAST)
        self.eth = ethernet.Ethernet()
        self.to_group = False  # the frame in hand went to a broadcast or group address
        self.now = 0
        self.raws = []
        self.vlans = {}  # id -> Vlan
        self.rx_frames = self.rx_bytes = self.tx_frames = self.tx_bytes = 0
        # Our address and that of the sender of the last frame to us; for a second.
        self._known = bytearray(12)
        self._forget_at = 0
        self._known_src = 0
        self.last_src = 0  # the sender of the frame in hand
        # Bound once: passing a method as a value allocates.
        self._sink = self.on_frame
        self.tx = device.tx
        self.lanes = ip.lanes
        self._take = ip.lanes.take if ip.lanes is not None else _not_taken

    def poll(self, now, budget):
        """Take in up to `budget` frames; how many there were."""
        self.now = now
        if now >= self._forget_at:
            # So that the MAC address table stays fresh: parse the next one, unless it is ours.
            self._forget_at = now + 1_000_000
            ethernet.put_mac(self._known, 0, self.mac)
            ethernet.put_mac(self._known, 6, self.mac)
            self._known_src = self.mac
            if self.lanes is not None:
                self.lanes.forget()
        n = self.device.rx(self._sink, budget)
        self.rx_frames += n
        return n

    def on_frame(self, f):
        """A frame from the device, at its Ethernet header."""
        now = self.now
        off = f.off
        self.rx_bytes += f.end - off
        if self.raws:
            self._show(f, False)
        if self._take(f, now):
            return  # the next of a TCP connection
        end = f.end
        kind = ethernet.known_type(f.buf, off, end, self._known)
        if kind == 0x0800:
            self.to_group = False
            if end - off > 41 and f.buf[off + 23] == 1 and self.ip.icmp.take(f, off + 14, now):
                return  # an echo request, answered
            f.off = off + 14
            self.ip.on_frame(f, self, now)
        elif kind == 0x86DD:
            self.to_group = False
            self.last_src = self._known_src
            f.off = off + 14
            self.ip6.on_frame(f, self, now)
        else:
            self._on_other(f, now)
        if self.lanes is not None and self.lanes.candidate is not None:
            self.lanes.learn(f.buf, off, end)

    def _on_other(self, f, now):
        """A frame that is not IP to us from the sender of the one before."""
        eth = self.eth
        if not eth.parse(f):
            self.stats.drop(eth.why)
            return
        dst = eth.dst
        if eth.ethertype == 0x8100:
            self._on_tagged(f, now)
            return
        if dst == self.mac:
            self.to_group = False
        elif self.link.accepts(dst):
            self.to_group = True
        else:
            self.stats.drop("ethernet.not_ours")
            return
        src = eth.src
        if src & 0x010000000000:
            self.stats.drop("ethernet.source_group")
            return
        self.link.learn(src, now)
        self.last_src = src
        if not self.to_group:
            ethernet.put_mac(self._known, 6, src)
            self._known_src = src
        kind = eth.ethertype
        if kind == 0x0800:
            self.ip.on_frame(f, self, now)
        elif kind == 0x86DD:
            self.ip6.on_frame(f, self, now)
        elif kind == 0x0806:
            self.arp.on_frame(f, src, now)
        else:
            self.stats.drop("ethernet.type")

    def _on_tagged(self, f, now):
        """A frame with an 802.1Q tag, f behind the type: of a VLAN of ours, or nobody's."""
        o = f.off
        vlan = None
        if f.end - o >= 4:
            vid = (f.buf[o] & 0x0F) << 8 | f.buf[o + 1]
            vlan = self.vlans.get(vid)
        if vlan is None:
            self.stats.drop("ethernet.vlan")
            return
        f.off = o - 14
        vlan.receive(f, now)

    def add_vlan(self, vlan):
        """Give the frames of a link.vlan.Vlan to it."""
        self.vlans[vlan.vid] = vlan

    # Frames for programs.

    def raw(self, ethertype=0, accept=None, outgoing=False, snaplen=65549):
        """A RawEndpoint: sends frames, receives copies of those that pass. OSError."""
        ep = raw.open_raw(self, self.buffers, ethertype, accept, outgoing, snaplen)
        self.raws.append(ep)
        if outgoing:
            self.tx = self._tx_shown
        return ep

    def forget_raw(self, ep):
        self.raws.remove(ep)
        if not any([e.sees_outgoing for e in self.raws]):
            self.tx = self.device.tx

    def _tx_shown(self, f):
        # Shown before the device has it: afterwards the frame is not ours.
        if self.device.tx_space() < 1:
            return False
        self._show(f, True)
        return self.device.tx(f)

    def _show(self, f, outgoing):
        for ep in self.raws:
            ep.take(f, outgoing, self.now)

    # State.

    def set_mtu(self, mtu):
        """Use another MTU, up to the device's mtu_max; nonsense is ignored."""
        if _MIN_MTU <= mtu <= self.device.mtu_max:
            self.mtu = mtu
            self.ip.routes.changed()

    def set_mtu6(self, mtu):
        """What a router advertises for IPv6 (RFC 4861, section 6.3.4); nonsense is ignored."""
        if MIN_MTU <= mtu <= self.mtu and mtu != self.mtu6:
            self.mtu6 = mtu
            self.ip.routes.changed()

    def check_link(self):
        """Take over the device's link state and whether we want it; True if `up` changed."""
        up = self.enabled and self.device.link_up
        if up == self.up:
            return False
        self.up = up
        self.ip.routes.changed()
        return True
