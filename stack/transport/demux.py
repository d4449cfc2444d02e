"""Which endpoint a segment belongs to: the table of flows and listeners, and port choice.

A dict by local port holds a `Port`; each Port holds a dict by one small int made
of the remote address and port. Endpoints with equal keys (several local
addresses, one remote) hang together by `flow_next` and are told apart in full.
A tuple as a key costs fifty times as much once the collector is on.

RFC 6056 (port randomisation: algorithm 4 for connections, 1 for listeners), RFC 6335 (the
dynamic range).

Not implemented: two listeners that share the connections of one port.
"""

from array import array

from micropython import const

from stack.core.errors import EADDRINUSE, EADDRNOTAVAIL
from stack.net.addr6 import ANY as ANY6
from stack.net.addr6 import V6

# RFC 6335, section 6: "the Dynamic Ports, ... from 49152-65535".
EPHEMERAL_FIRST = const(49152)
EPHEMERAL_COUNT = const(16384)
# RFC 6056, section 3.3.4: TABLE_LENGTH; counters of 16 bits.
_TABLE = const(64)


def key(addr, port):
    """The small int of a remote address (an IPv6 handle has 46 bits) and port."""
    return addr << 16 | port


def lowest(addr, dual=False):
    """The least of the local addresses that a socket at addr hears, an int; see highest.

    0 is any of IPv4, addr6.ANY any of IPv6, and with `dual` of both (RFC 3493, section 3.7).
    """
    return 0 if dual and addr == ANY6 else addr


def highest(addr):
    if not addr:
        return V6 - 1
    return V6 + V6 - 1 if addr == ANY6 else addr


class Port:
    """One local port: its flows and its listeners."""

    __slots__ = ("flows", "listeners")

    def __init__(self):
        self.flows = {}
        self.listeners = []


class FlowTable:
    """Endpoints have local_addr, local_port, remote_addr, remote_port, key and flow_next."""

    def __init__(self, rng, keyed_hash):
        """keyed_hash(text): 32 bits that nobody knows without our secret."""
        self._ports = {}
        self._rng = rng
        self._hash = keyed_hash
        self._counters = array("H", rng(2 * _TABLE))
        self.count = 0  # flows of every kind

    def find(self, local_addr, local_port, remote_addr, remote_port):
        """The endpoint of a four-tuple, or None. Allocates nothing."""
        p = self._ports.get(local_port)
        if p is None:
            return None
        e = p.flows.get(remote_addr << 16 | remote_port)
        while e is not None:
            if e.local_addr == local_addr and e.remote_addr == remote_addr:
                return e
            e = e.flow_next
        return None

    def listener(self, addr, port):
        """The listener for this local address, the one bound to it before one of any address."""
        p = self._ports.get(port)
        if p is None:
            return None
        found = None
        for l in p.listeners:
            if l.low <= addr <= l.high:
                if l.local_addr == addr:
                    return l
                found = l
        return found

    def add(self, e):
        """Enter an endpoint; its four-tuple must be free."""
        e.key = k = key(e.remote_addr, e.remote_port)
        flows = self._port(e.local_port).flows
        e.flow_next = flows.get(k)
        flows[k] = e
        self.count += 1

    def remove(self, e):
        """Take an endpoint out; nothing happens if it is not there."""
        p = self._ports.get(e.local_port)
        if p is None:
            return
        at = p.flows.get(e.key)
        if at is e:
            if e.flow_next is None:
                del p.flows[e.key]
            else:
                p.flows[e.key] = e.flow_next
        else:
            while at is not None and at.flow_next is not e:
                at = at.flow_next
            if at is None:
                return
            at.flow_next = e.flow_next
        e.flow_next = None
        self.count -= 1
        self._tidy(e.local_port, p)

    def replace(self, old, new):
        """Put `new` in the place of `old`, whose four-tuple it has."""
        self.remove(old)
        self.add(new)

    def add_listener(self, l, reuse):
        """Enter a listener; port 0 gets one chosen. OSError EADDRINUSE.

        reuse: connections of the port, such as TIME-WAIT, are no obstacle
        (SO_REUSEADDR); another listener on the same address always is one.
        """
        if not l.local_port:
            l.local_port = self.ephemeral(0, 0, 0)
        p = self._ports.get(l.local_port)
        if p is not None:
            for other in p.listeners:
                if other.low <= l.high and l.low <= other.high:
                    raise OSError(EADDRINUSE)
            if p.flows and not reuse:
                raise OSError(EADDRINUSE)
        self._port(l.local_port).listeners.append(l)

    def remove_listener(self, l):
        p = self._ports.get(l.local_port)
        if p is not None and l in p.listeners:
            p.listeners.remove(l)
            self._tidy(l.local_port, p)

    def ephemeral(self, local_addr, remote_addr, remote_port):
        """A free local port for a connection to the remote; remote_port 0: one that nobody uses.

        From a start that is of this remote and a secret, on from the port that was given last
        (RFC 6056, 3.3.4, double hash): who sees one of another remote learns nothing, and a port
        comes again as late as can be. With none: a random start (3.3.1).
        OSError EADDRNOTAVAIL when all 16,384 are taken.
        """
        if remote_port:
            # F and G of the RFC are two parts of one hash that do not meet.
            start = self._hash("port %s %s %d" % (local_addr, remote_addr, remote_port))
            which = start >> 16 & _TABLE - 1
            counters = self._counters
        else:
            r = self._rng(2)
            start = r[0] << 8 | r[1]
            counters = None
        n = 0
        for i in range(EPHEMERAL_COUNT):
            if counters is not None:
                n = counters[which]
                counters[which] = n + 1 & 0xFFFF
                i = 0
            port = EPHEMERAL_FIRST + (start + n + i) % EPHEMERAL_COUNT
            p = self._ports.get(port)
            if p is None:
                return port
            if remote_port and not p.listeners:
                if self.find(local_addr, port, remote_addr, remote_port) is None:
                    return port
        raise OSError(EADDRNOTAVAIL)

    def used(self, port):
        return port in self._ports

    def listeners(self):
        """Every listener, as a new list."""
        out = []
        for p in self._ports.values():
            out.extend(p.listeners)
        return out

    def endpoints(self):
        """Every listener and flow, as a new list."""
        out = []
        for p in self._ports.values():
            out.extend(p.listeners)
            for e in p.flows.values():
                while e is not None:
                    out.append(e)
                    e = e.flow_next
        return out

    def _port(self, port):
        p = self._ports.get(port)
        if p is None:
            self._ports[port] = p = Port()
        return p

    def _tidy(self, port, p):
        if not p.flows:
            if not p.listeners:
                del self._ports[port]
            else:
                # A MicroPython dict keeps the marks of what was deleted, and a
                # miss walks over them: begin afresh when it is empty.
                p.flows = {}
