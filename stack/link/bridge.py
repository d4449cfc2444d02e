"""A learning bridge: interfaces become ports, and the host has one interface on all of them.

IEEE 802.1D: 7.7 (forwarding), 7.8 (learning), 7.9.2 (ageing, 5 minutes), 7.12.6 (reserved group
addresses stay on their link). Where a station is, the MAC address tables of the ports
say (link/ethernet.py): the port that saw it last has it. Frames are copied from port to
port; devices must be started plain (`forward=1`), as for net/forward.py.

Not implemented: spanning tree (ports must not form a loop), VLANs, group membership (groups
are flooded), frames longer than a pool's buffer holds (dropped).
"""

from micropython import const

from stack.core.frame import HEADROOM
from stack.core.mem import copy
from stack.core.timers import NEVER
from stack.link.ethernet import AGE_US
from stack.wire import ethernet

_HEADER = const(14)
_MAX_PORTS = const(15)
_GROUP = const(0x010000000000)
_RESERVED = const(0x0180C2000000)  # and fifteen more


class Port:
    """An interface that belongs to a bridge. `received`, `forwarded`, `flooded`: its frames."""

    def __init__(self, bridge, iface):
        self.bridge = bridge
        self.iface = iface
        self.received = self.forwarded = self.flooded = self.sent = 0
        self.eth = ethernet.Ethernet()
        iface._sink = self.on_frame

    def on_frame(self, f):
        """A frame from the port's device, at its Ethernet header."""
        iface = self.iface
        off = f.off
        iface.rx_bytes += f.end - off
        if iface.raws:
            iface._show(f, False)
        self.received += 1
        eth = self.eth
        stats = iface.stats
        # LLC is bridged like any other: only the addresses count.
        if f.end - off < _HEADER:
            stats.drop("bridge.truncated")
            return
        eth.parse(f)
        f.off = off
        src = eth.src
        if src & _GROUP or not src:
            stats.drop("bridge.source")
            return
        iface.link.learn(src, iface.now)
        self.bridge.from_port(self, f, eth.dst, iface.now)


class Bridge:
    """Also the device of the host's own interface on it: see drivers/device.py for the contract.

    After `start` it has ports. `add_interface(bridge)` gives the host its own.
    """

    driver = "bridge"

    def __init__(self, name, ifaces, pool, stats):
        """ValueError: no ports, or too many."""
        if not 0 < len(ifaces) <= _MAX_PORTS:
            raise ValueError("a bridge of %d ports" % len(ifaces))
        self.name = name
        self.pool = pool
        self.stats = stats
        self.iface = None  # the host's, set by who adds it
        self.mac = ifaces[0].device.mac
        self.mtu = self.mtu_max = min([i.mtu for i in ifaces] + [pool.size - HEADROOM])
        self.caps = self.gso_max = 0
        self.error = None
        self.ports = [Port(self, i) for i in ifaces]

    # From a port.

    def from_port(self, port, f, dst, now):
        if dst & _GROUP:
            if dst & ~15 == _RESERVED:
                self.stats.drop("bridge.reserved")
                return
            port.flooded += 1
            self._flood(port, f)
        else:
            own = self.iface is not None and dst == self.iface.mac
            to = None if own else self.find(dst, now)
            if to is port:
                # Where it came from: the station has heard it already.
                self.stats.drop("bridge.same_port")
                return
            if to is not None:
                port.forwarded += 1
                self._copy(to, f, f.buf, f.off, f.end - f.off)
                return
            if not own:
                port.flooded += 1
                self._flood(port, f)
                return
        if self.iface is not None:
            self.iface.now = now
            self.iface.rx_frames += 1
            self.iface.on_frame(f)

    def find(self, mac, now):
        """The Port behind which a station is, or None if nobody has heard of it for 5 minutes."""
        best = None
        latest = max(now - AGE_US, -1)  # -1: never seen
        for p in self.ports:
            t = p.iface.link.last_seen(mac)
            if t > latest:
                latest = t
                best = p
        return best

    def _flood(self, port, f):
        for p in self.ports:
            if p is not port and p.iface.up:
                self._copy(p, f, f.buf, f.off, f.end - f.off)

    def _copy(self, port, f, buf, off, n):
        if n > self.pool.size - HEADROOM + _HEADER:
            self.stats.drop("bridge.too_long")
            return
        r = self.pool.get()
        if r is None:
            self.stats.drop("bridge.no_room")
            return
        r.off -= _HEADER
        copy(r.buf, r.off, buf, off, n)
        r.end = r.off + n
        if f is not None and f.data_len:
            copy(r.buf, r.end, f.data, f.data_off, f.data_len)
            r.end += f.data_len
        iface = port.iface
        if iface.tx(r):
            port.sent += 1
            iface.tx_frames += 1
            iface.tx_bytes += n
        else:
            r.release()
            self.stats.drop("bridge.ring_full")

    # The host's own interface: the contract of a device.

    @property
    def link_up(self):
        return any([p.iface.up for p in self.ports])

    def rx(self, sink, budget):
        """Nothing: ports hand over what is for this host as it comes."""
        return 0

    def tx(self, f):
        dst = ethernet.get_mac(f.buf, f.off)
        to = None if dst & _GROUP else self.find(dst, self.iface.now)
        n = f.end - f.off
        if n + f.data_len > self.pool.size - HEADROOM + _HEADER:
            self.stats.drop("bridge.too_long")
        elif to is not None:
            self._copy(to, f, f.buf, f.off, n)
        else:
            for p in self.ports:
                if p.iface.up:
                    self._copy(p, f, f.buf, f.off, n)
        f.release()
        return True

    def flush(self):
        pass

    def tx_space(self):
        return min([p.iface.device.tx_space() for p in self.ports])

    def tx_mark(self):
        return 0

    def tx_passed(self, mark):
        return True

    def sleep(self):
        return False

    def poll_at(self):
        return NEVER

    def on_interrupt(self):
        pass

    def stop(self):
        pass

    def info(self):
        """A list of dicts, one a port."""
        return [
            {
                "name": p.iface.name, "up": p.iface.up, "received": p.received, "sent": p.sent,
                "forwarded": p.forwarded, "flooded": p.flooded,
            }
            for p in self.ports
        ]
