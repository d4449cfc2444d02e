"""Names without a server: sockets and groups around stack/dns/mdns. RFC 6762.

Opened when a name under .local is first looked up, or when `announce` makes this host answer
for its own; closed with a goodbye. Everything that comes is handled within the stack's poll.
A message counts only if its sender is on the link (section 11): has an address of a subnet of
the interface, or a link-local one. Not implemented: hop limit 255 of what goes to one host.
"""

from micropython import const

from stack.api import _address, _resolve
from stack.core.errors import ENOBUFS, POLLIN, ProtocolError
from stack.core.timers import NEVER
from stack.dns import message, rdata
from stack.dns import name as _name
from stack.dns.mdns import GROUP4, GROUP6, PORT
from stack.dns.mdns import message as wire
from stack.dns.mdns.querier import Querier
from stack.dns.mdns.responder import SERVICES_MAX, Responder, Service
from stack.dns.rdata import AAAA
from stack.net import addr, addr6
from stack.net.addr6 import V6

# Section 17: "including the IP and UDP headers ... a maximum of 9000 bytes".
_MESSAGE_MAX = const(9000)
# Messages that are taken in one go.
_BATCH = const(32)
# Opcode and rcode, which have to be 0 (sections 18.3, 18.11).
_NONSENSE = const(0x780F)


def get(rt):
    """The host's Mdns, opened when it is first wanted."""
    names = rt.resolver
    if names.mdns is None:
        names.mdns = Mdns(rt)
    return names.mdns


def near(rt, iface, source):
    """Whether an address is on an interface's link, and not ours."""
    if rt.host.ip.is_local(source):
        return False
    if source < V6:
        mask = addr.mask(iface.prefix)
        return (iface.addr != 0 and (source ^ iface.addr) & mask == 0) or source >> 16 == 0xA9FE
    raw = rt.host.ip6.addresses.bytes(source)
    if raw is None:
        return False
    if addr6.is_link_local(raw):
        return addr6.zone(raw) == iface.index
    return any([addr6.in_prefix(raw, 0, a.raw, a.length) for a in iface.auto.addresses])


class Link:
    """An interface: endpoints of both families that have joined the group, and a responder."""

    def __init__(self, mdns, rt, iface):
        self.mdns = mdns
        self.iface = iface
        host = rt.host
        now = rt.now()
        self.responder = r = Responder(host.rng, mdns.host, host.stats, mdns.services)
        r.on_rename = mdns.on_rename
        self._group6 = host.ip6.addresses.handle(addr6.with_zone(GROUP6, iface.index))
        self._four = self._open(host, 0, now)
        self._six = self._open(host, addr6.ANY, now)
        self._joined4 = self._joined6 = False
        self._join(host, now)

    def _open(self, host, any, now):
        e = host.udp.open(any, PORT, now, reuse=True, iface=self.iface)
        e.group_iface = self.iface
        e.group_ttl = 255
        e.group_loop = False
        e.waker = self
        return e

    def _join(self, host, now):
        try:
            host.ip.join_on(self.iface, GROUP4, now)
            self._joined4 = True
            host.ip6.join(self.iface, GROUP6, now)
            self._joined6 = True
        except OSError:
            host.stats.drop("mdns.join")  # too many groups; what is joined works

    def close(self, host, now):
        for e in (self._four, self._six):
            e.waker = None
            e.close()
        if self._joined4:
            host.ip.leave_on(self.iface, GROUP4, now)
        if self._joined6:
            host.ip6.leave(self.iface, GROUP6, now)

    def addresses(self):
        """Our addresses on this link, 4 or 16 bytes each."""
        i = self.iface
        if not i.up:
            return []
        out = [i.addr.to_bytes(4, "big")] if i.addr else []
        return out + [addr6.without_zone(a.raw) for a in i.auto.addresses if a.state > 0]

    def send(self, data, to, now):
        """To the group in both families, or to one (address, port)."""
        if to is not None:
            self._put(self._six if to[0] >= V6 else self._four, data, to[0], to[1], now)
            return
        if self.iface.addr:
            self._put(self._four, data, GROUP4, PORT, now)
        if self.iface.auto.addresses:
            self._put(self._six, data, self._group6, PORT, now)

    def _put(self, e, data, address, port, now):
        try:
            e.send_to(data, 0, len(data), address, port, now)
        except OSError:
            self.mdns.stats.drop("mdns.unsent")  # no way there now; it is said again

    def wake(self, e):
        self.mdns.on_readable(self, e)


class Mdns:
    def __init__(self, rt):
        self._rt = rt
        self.stats = rt.host.stats
        self.querier = Querier(self.stats)
        self.host = rt.hostname
        self.services = []
        self.announcing = False
        self._links = {}
        self._buf = bytearray(_MESSAGE_MAX)
        self._view = memoryview(self._buf)
        self.timer_at = 0
        self.timer_index = -1
        rt.lock()
        try:
            self._watcher = self._changed  # one object, to be found again
            rt.host.watchers.append(self._watcher)
            for i in rt.host.interfaces:
                self._changed(i)
            rt.kick(rt.now())
        finally:
            rt.unlock()

    def close(self):
        """Goodbye, and no more."""
        rt = self._rt
        rt.lock()
        try:
            now = rt.now()
            for link in self._links.values():
                link.responder.stop(now)
                self._flush(link, now)
                link.close(rt.host, now)
            self._links = {}
            rt.host.watchers.remove(self._watcher)
            rt.host.timers.cancel(self)
            rt.resolver.mdns = None
            rt.kick(now)
        finally:
            rt.unlock()

    # Our own names.

    def announce(self, service=None):
        """Answer for our name from now on; and for a Service. OSError(ENOBUFS)."""
        rt = self._rt
        rt.lock()
        try:
            now = rt.now()
            if service is not None:
                if len(self.services) >= SERVICES_MAX:
                    raise OSError(ENOBUFS)
                self.services.append(service)
            for link in self._links.values():
                if service is not None and self.announcing:
                    link.responder.rename(self.host, now)
                link.responder.set_addresses(link.addresses(), now)
                self._flush(link, now)
            self.announcing = True
            self._arm()
            rt.kick(now)
        finally:
            rt.unlock()

    def rename(self, host):
        rt = self._rt
        rt.lock()
        try:
            now = rt.now()
            self.host = host
            for link in self._links.values():
                link.responder.rename(host, now)
                self._flush(link, now)
            self._arm()
            rt.kick(now)
        finally:
            rt.unlock()

    def on_rename(self, responder):
        """A conflict on one link: the name is another one on all of them."""
        self.host = responder.host
        for link in self._links.values():
            if link.responder is not responder:
                link.responder.rename(self.host, self._rt.now())

    def names(self):
        """Names that are ours on every link where we speak, text."""
        speaking = [k.responder for k in self._links.values() if k.responder.state]
        found = [_name.to_text(n) for n in speaking[0].names()] if speaking else []
        return found if all([r.names() for r in speaking]) else []

    # What the stack calls.

    def _changed(self, iface):
        """An interface came, went, or has other addresses."""
        if iface.loopback:
            return
        now = self._rt.now()
        link = self._links.get(iface.index)
        if link is None:
            if iface not in self._rt.host.interfaces:
                return
            self._links[iface.index] = link = Link(self, self._rt, iface)
        if self.announcing:
            link.responder.set_addresses(link.addresses(), now)
            self._flush(link, now)
            self._arm()

    def on_readable(self, link, e):
        rt = self._rt
        now = rt.now()
        for _ in range(_BATCH):
            try:
                n = e.recv_into(self._buf, 0, _MESSAGE_MAX)
            except OSError:
                continue  # an ICMP error for something we sent
            if n < 0:
                break
            if e.length > _MESSAGE_MAX or not near(rt, link.iface, e.peer_addr):
                self.stats.drop("mdns.source")
                continue
            try:
                m = wire.read(self._view[:n])
            except ProtocolError:
                self.stats.drop("mdns.malformed")
                continue
            # Section 6: a response from another port "MUST be silently ignored".
            if m.flags & _NONSENSE or m.flags & wire.QR and e.peer_port != PORT:
                self.stats.drop("mdns.header")
                continue
            link.responder.on_message(m, (e.peer_addr, e.peer_port), e.peer_port, now)
            self.querier.on_message(m, link.iface.index, now)
        self._flush(link, now)
        self._arm()

    def _flush(self, link, now):
        while True:
            t = link.responder.transmit()
            if t is None:
                return
            link.send(t[0], t[1], now)

    def _arm(self):
        timers = self._rt.host.timers
        at = self.poll_at()
        if at < NEVER:
            timers.arm(self, at)
        else:
            timers.cancel(self)

    def poll_at(self):
        return min([k.responder.poll_at() for k in self._links.values()] + [NEVER])

    def on_timer(self, now):
        for link in self._links.values():
            link.responder.on_timer(now)
            self._flush(link, now)
        self._arm()

    # Others' names.

    def lookup_steps(self, name, types):
        """Steps: [(Record, interface's index, seconds left), ...]. ValueError."""
        rt = self._rt
        found = self.querier.start(_name.to_wire(name), types, rt.now())
        try:
            while not found.done:
                rt.lock()
                try:
                    now = rt.now()
                    data = found.transmit(now)
                    if data is not None:
                        for link in self._links.values():
                            link.send(data, None, now)
                        rt.kick(now)
                finally:
                    rt.unlock()
                yield found, POLLIN, found.poll_at()
                found.on_timer(rt.now())
        finally:
            found.close()
        return found.records

    def own(self, low, types):
        """(records of ours of that name as lookup_steps has them, whether nobody else has any)."""
        found = []
        ours = False
        for index, link in self._links.items():
            for r in link.responder.records:
                if r.low == low:
                    ours = ours or r.unique
                    if r.type in types:
                        found.append((r, index, r.ttl))
        return found, ours

    def cached(self):
        """As net.dns.cache() has it."""
        out = []
        for r, link, left in self.querier.entries(self._rt.now()):
            made = record(self._rt, r, link, left)
            out.append((made.name, message.type_name(r.type), left, [made]))
        return out


def answer_steps(rt, name, types):
    """Steps: an Answer with the records of several types."""
    m = get(rt)
    # We do not hear ourselves.
    found, ours = m.own(_name.to_wire(name).lower(), types)
    if not ours:
        found += yield from m.lookup_steps(name, types)
    records = [record(rt, r, link, left) for r, link, left in found]
    return _resolve.Answer(name, message.NOERROR if found else message.NXDOMAIN, records)


def record(rt, r, link, left):
    """A message.Record; a link-local address with its zone."""
    value = rdata.decode(r.type, r.data)
    if r.type == AAAA and addr6.is_link_local(r.data):
        value = _address.text_of(rt, addr6.with_zone(r.data, link))
    return message.Record(_name.to_text(r.name), r.type, 1, left, value, r.data)


def service(type, port, name, txt):
    """A Service as a program names it. ValueError."""
    labels = type.split(".")
    if len(labels) != 2 or labels[1] not in ("_tcp", "_udp") or labels[0][:1] != "_":
        raise ValueError('a service is like "_http._tcp", not %s' % type)
    if not 0 < port < 65536 or not 0 < len(name.encode()) < 64:
        raise ValueError("a service has a port and a name of 1 to 63 bytes")
    _name.to_wire(type)
    if hasattr(txt, "items"):
        txt = ["%s=%s" % pair for pair in txt.items()]
    data = b""
    for text in txt:
        text = text.encode()
        if len(text) > 255:
            raise ValueError("a text has 255 bytes at most")
        data += bytes((len(text),)) + text
    if len(data) > 1000:
        raise ValueError("texts of a service have 1,000 bytes at most")
    return Service(name, type, port, data or b"\0")
