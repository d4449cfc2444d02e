"""Driving the DNS machine: datagrams, connections and waiting around stack/dns/stub.py."""

from micropython import const

from stack.api import _address, _streams
from stack.core.errors import POLLIN
from stack.dns import hosts, message
from stack.dns.stub import TIMEOUT, UDP, Resolver
from stack.net import addr, addr6, select6
from stack.net.addr6 import V6

_PORT = const(53)
# When neither the command line nor DHCP names a server.
_DEFAULT_SERVERS = ("1.1.1.1", "8.8.8.8")
_HOSTS_MAX = const(16384)


class Answer:
    """What a query came to: `.rcode` (0 NOERROR, 3 NXDOMAIN...), `.records`, `.name`.

    `.status`: "secure", "insecure" or "bogus". What configured servers say is not validated
    here, so "insecure". `.why`: what went wrong, in words, or None.
    """

    def __init__(self, name, rcode, records):
        self.name = name
        self.rcode = rcode
        self.records = records
        self.status = "insecure"
        self.why = None

    def __repr__(self):
        codes = message.RCODES
        rcode = codes[self.rcode] if 0 <= self.rcode < len(codes) else str(self.rcode)
        return "<Answer %s %s %s %s>" % (self.name, rcode, self.status, self.records)


def make(rt):
    r = Resolver(rt.host.rng)
    try:
        with open("/etc/hosts") as f:
            r.hosts = hosts.parse(f.read(_HOSTS_MAX))
    except OSError:
        pass
    return r


def servers(rt):
    """The addresses (ints) to ask: as configured, else from DHCP and routers, else public ones."""
    return rt.dns_servers or rt.host.dns or [addr.parse(s) for s in _DEFAULT_SERVERS]


def search(rt):
    """The domains that DHCP and routers named."""
    found = [rt.host.domain] if rt.host.domain else []
    for i in rt.host.interfaces:
        names = sorted(i.auto.search) + i.auto.dhcp_search
        found.extend([d for d in names if d not in found])
    return found


def answer_steps(rt, name, type):
    """Ask for records. Ends with an Answer; OSError(-3) when no server answered, ValueError."""
    if rt.recursor is not None and _global(rt, name, type):
        return (yield from rt.recursor.steps(name, type))
    resolver = rt.resolver
    resolver.servers = servers(rt)
    resolver.search = search(rt)
    r = resolver.start(name, type, rt.now())
    if not r.done:
        yield from _ask(rt, r)
    if r.rcode == TIMEOUT:
        raise OSError(_address.EAI_AGAIN)
    return Answer(r.name, r.rcode, r.records)


def address_steps(rt, name, af=0):
    """The first address of a name, as text. OSError(-2) if it has none, (-3) try again."""
    return _address.text((yield from lookup_steps(rt, name, af))[0])


def lookup_steps(rt, name, af=0):
    """The addresses of a name (ints), the best first (RFC 6724). OSError(-2), (-3).

    af 0: of the families for which this host has an address of its own.
    """
    a = _address.literal(rt, name)
    if a >= 0:
        if af and _address.family(a) != af:
            raise OSError(_address.EAI_NONAME)
        return [a]
    types = [t for t, f in _TYPES if f == af or (not af and _usable(rt, f))]
    if not types:
        types = [message.A]
    found = []
    code = _address.EAI_NONAME
    for answer in (yield from _answers(rt, name, types)):
        if answer is None:
            code = _address.EAI_AGAIN
            continue
        for record in answer.records:
            if record.type in types:
                found.append(_number(rt, record))
        if answer.rcode not in (message.NOERROR, message.NXDOMAIN):
            code = _address.EAI_AGAIN
    if not found:
        raise OSError(code)
    return order(rt, found)


def _global(rt, name, type):
    """False for names that are known here, or mean something on this network only."""
    low = name.lower()
    if hosts.lookup(rt.resolver.hosts, low, type) is not None:
        return False
    return "." in low and not low.endswith(".local")


_TYPES = ((message.AAAA, _address.AF_INET6), (message.A, _address.AF_INET))


def _usable(rt, af):
    """True if a card has an address of the family (RFC 3493: AI_ADDRCONFIG)."""
    for i in rt.host.interfaces:
        if not i.loopback:
            if af == _address.AF_INET:
                if i.addr:
                    return True
            else:
                for a in i.auto.addresses:
                    if a.state > 0 and a.origin != "link":
                        return True
    return False


def _number(rt, record):
    if record.type == message.A:
        return addr.parse(record.data)
    return rt.host.ip6.addresses.handle(addr6.parse(record.data)[0])


def order(rt, found):
    """Addresses sorted by RFC 6724, section 6, each with the source that it would have."""
    if rt.prefer == 4:
        return [a for a in found if a < V6] + [a for a in found if a >= V6]
    pairs = []
    ip = rt.host.ip
    for a in found:
        path = ip.path(a)
        if a < V6:
            source = select6.mapped(path.src) if path is not None else None
            pairs.append((select6.mapped(a), source, a))
        else:
            raw = rt.host.ip6.addresses.bytes(a)
            pairs.append((raw, bytes(path.src_raw) if path is not None else None, a))
    return [p[2] for p in select6.sort(pairs)]


def _answers(rt, name, types):
    """Steps: an Answer for each type, None where no server answered; asked side by side."""
    if rt.recursor is not None and _global(rt, name, types[0]):
        out = []
        for t in types:
            a = yield from rt.recursor.steps(name, t)
            out.append(a if a.rcode != message.SERVFAIL else None)
        return out
    resolver = rt.resolver
    resolver.servers = servers(rt)
    resolver.search = search(rt)
    asked = []
    try:
        asked = [_Question(rt, resolver.start(name, t, rt.now())) for t in types]
    except ValueError:
        pass  # it is no name
    try:
        while True:
            open = [q for q in asked if not q.r.done]
            if not open:
                break
            moved = False
            for q in open:
                moved = (yield from q.move()) or moved
            if not moved:
                open = [q for q in open if not q.r.done]
                ends = [q.carrier.endpoint for q in open if q.carrier is not None]
                until = min([q.r.poll_at() for q in open])
                if ends and rt.now() < until:
                    from stack.api import _connect

                    yield _connect._one(ends), POLLIN, until
    finally:
        for q in asked:
            q.close()
    return [
        None if q.r.rcode == TIMEOUT else Answer(q.r.name, q.r.rcode, q.r.records) for q in asked
    ]


def _ask(rt, r):
    """Carry the machine's messages until it is done."""
    q = _Question(rt, r)
    try:
        while not r.done:
            if not (yield from q.move()) and not r.done:
                yield q.carrier.endpoint, POLLIN, r.poll_at()
    finally:
        q.close()


class _Question:
    """One resolution under way, and what carries its messages."""

    def __init__(self, rt, r):
        self._rt = rt
        self.r = r
        self.carrier = None

    def move(self):
        """Steps: send what is to be sent, take in what has come. False: nothing to do but wait."""
        rt = self._rt
        r = self.r
        if r.done:
            return False
        t = r.transmit()
        if t is not None:
            self.close()
            transport, server, data = t
            try:
                if transport == UDP:
                    self.carrier = _Datagrams(rt, server, data)
                else:
                    self.carrier = c = _streams.TcpStream(rt)
                    yield from c.connect(server, _PORT, r.poll_at())
                    yield from c.send_until(data, r.poll_at())
            except OSError:
                r.on_failed(rt.now())
            return True
        return self._take()

    def _take(self):
        rt = self._rt
        r = self.r
        try:
            buf = self.carrier.receive()
        except OSError:
            r.on_failed(rt.now())
            return True
        if buf is None:
            now = rt.now()
            if now >= r.poll_at():
                r.on_timer(now)
                return True
            return False
        if not self.carrier.is_stream:
            r.on_datagram(buf, self.carrier.server, rt.now())
        elif buf:
            r.on_stream(buf, rt.now())
        else:
            r.on_failed(rt.now())
        return True

    def close(self):
        if self.carrier is not None:
            self.carrier.close()
            self.carrier = None


class _Datagrams:
    """A UDP endpoint of its own for each question: its random port is a fourth secret."""

    is_stream = False

    def __init__(self, rt, server, data):
        self._rt = rt
        self.server = server
        self.endpoint = None
        rt.lock()
        try:
            now = rt.now()
            any = addr6.ANY if server >= V6 else 0
            self.endpoint = e = rt.host.udp.open(any, 0, now)
            e.connect(server, _PORT)
            e.send_to(data, 0, len(data), 0, 0, now)  # no room: the machine sends it again
            rt.kick(now)
        except OSError:
            self.close()
            raise
        finally:
            rt.unlock()

    def receive(self):
        """A datagram, or None. OSError when the server refuses."""
        rt = self._rt
        rt.lock()
        try:
            n = self.endpoint.recv_into(rt.scratch, 0, len(rt.scratch))
            return bytes(rt.scratch_view[:n]) if n >= 0 else None
        finally:
            rt.unlock()

    def close(self):
        if self.endpoint is not None:
            self.endpoint.close()
            self.endpoint = None
