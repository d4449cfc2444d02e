"""Address resolution: which MAC address has an IPv4 neighbour.

RFC 826; RFC 1122, section 2.3.2 (a queue, request rate, ageing); RFC 5227 (conflicts:
detected and defended). The table and its states are in neighbors.py.

Nobody's word is taken unasked: a reply counts only in INCOMPLETE (the first one) or,
from the address we know, in PROBE; a request addressed to us makes a new entry but does
not change one; a gratuitous ARP that contradicts an entry makes us ask.

An address of DHCP is used at once and probed for beside that: a server is trusted more
than RFC 5227, section 2.1, trusts it, and a boot does not wait for seconds. One that turns
out to be taken is declined (stack/leases.py); 169.254/16 is probed before (net/linklocal.py).

Not implemented: proxy ARP, giving up a static address that is in conflict.
"""

from micropython import const

from stack.core.timers import NEVER
from stack.link.neighbors import (  # noqa: F401
    FAILED,
    FREE,
    INCOMPLETE,
    NAMES,
    PROBE,
    REACHABLE,
    STALE,
    Neighbor,
    Neighbors,
    permanent,
)
from stack.wire import arp as wire
from stack.wire import ethernet

_REACHABLE_US = const(60_000_000)
_DEFEND_US = const(10_000_000)  # RFC 5227, section 2.4: DEFEND_INTERVAL


class Arp(Neighbors):
    """The neighbours of `iface`, which gives `mac`, `addr` and `tx(frame)`.

    `upper.on_unresolved(frame, now)` sees each frame that is given up, at its
    Ethernet header, before it is released.
    """

    def __init__(self, iface, pool, stats, timers, upper):
        super().__init__(iface, pool, stats, timers, upper, "arp")
        self._pkt = wire.Arp()
        self._defended = -_DEFEND_US
        self.watch = None  # who is told of a station that claims an address: on_claim(addr, now)

    # Sending.

    def announce(self, now):
        """Tell everyone our address (RFC 5227, section 2.3)."""
        addr = self.iface.addr
        if addr:
            self._send(wire.REQUEST, ethernet.BROADCAST, 0, addr)

    def probe(self, addr):
        """Ask whether anybody has addr, as one who has no address yet (RFC 5227, 2.1.1)."""
        self._send(wire.REQUEST, ethernet.BROADCAST, 0, addr, 0)

    def solicit(self, e, now):
        dst = e.mac if e.state == PROBE else ethernet.BROADCAST
        self._send(wire.REQUEST, dst, 0, e.addr)

    def _send(self, op, dst, target_mac, target_addr, sender=-1):
        iface = self.iface
        f = self.pool.get()
        if f is None:
            self.stats.drop("arp.no_frame")
            return
        if sender < 0:
            sender = iface.addr
        wire.emit(f, op, iface.mac, sender, target_mac, target_addr)
        ethernet.emit(f, dst, iface.mac, ethernet.TYPE_ARP)
        if iface.tx(f):
            iface.tx_frames += 1
            iface.tx_bytes += 42
        else:
            self.stats.drop("arp.ring_full")
            f.release()

    # Receiving.

    def on_frame(self, f, src_mac, now):
        """A frame of type ARP, at its payload; src_mac from the Ethernet header."""
        p = self._pkt
        if not p.parse(f):
            self.stats.drop(p.why)
            return
        mac = p.sender_mac
        addr = p.sender_addr
        top = addr >> 24
        if mac != src_mac or mac & ethernet.GROUP_BIT or top == 127 or top >= 224:
            self.stats.drop("arp.spoof")
            return
        ours = self.iface.addr
        if mac == self.iface.mac:
            self.stats.drop("arp.own")
            return
        if self.watch is not None:
            self._claim(addr, p.target_addr, ours, now)
            ours = self.iface.addr
        if ours and addr == ours:
            self._conflict(now)
        elif ours and p.target_addr == ours:
            if p.op == wire.REQUEST:
                self._on_request(mac, addr, now)
            else:
                self._on_reply(mac, addr, now)
        elif addr and addr == p.target_addr:
            self._on_gratuitous(mac, addr, now)
        else:
            self.stats.count("arp.others")

    def _on_request(self, mac, addr, now):
        self._send(wire.REPLY, mac, mac, addr)
        if not addr:  # a probe (RFC 5227, section 2.1.1) is answered, and teaches nothing
            return
        e = self._by_addr.get(addr)
        if e is None:
            e = self._make(addr, STALE - 2, now)
            if e is None:
                return
            self._set_mac(e, mac, now)
            e.state = STALE
        elif e.state == INCOMPLETE or e.state <= FAILED:
            # It speaks to us while we look for it; the answer to our own question follows.
            self._set_mac(e, mac, now)
            self._ask(e, PROBE, now)
            self._flush(e, now, False)
        else:
            self._heard(e, mac, now)

    def _on_reply(self, mac, addr, now):
        e = self._by_addr.get(addr)
        if e is None or not (e.state == INCOMPLETE or (e.state == PROBE and e.mac == mac)):
            self.stats.drop("arp.unsolicited")
            if e is not None:
                self._heard(e, mac, now)
            return
        self._set_mac(e, mac, now)
        e.state = REACHABLE
        e.until = now + _REACHABLE_US
        e.due = NEVER
        self._flush(e, now, False)

    def _on_gratuitous(self, mac, addr, now):
        e = self._by_addr.get(addr)
        if e is None:
            self.stats.count("arp.others")
        else:
            self._heard(e, mac, now)

    def _claim(self, addr, target, ours, now):
        """Tell the watch whose address the sender claims: its own, or one that it probes for."""
        if addr:
            self.watch.on_claim(addr, now)
        elif target != ours:
            # While we probe ourselves another's probe is a claim (RFC 5227, section 2.1.1).
            self.watch.on_claim(target, now)

    def _conflict(self, now):
        """Another station uses our address: defend it, not too often. RFC 5227, section 2.4 (b)."""
        self.stats.drop("arp.conflict")
        if now - self._defended >= _DEFEND_US:
            self._defended = now
            self.announce(now)
