"""Driving the DNS machine: datagrams, connections and waiting around stack/dns/stub.py."""

from micropython import const

from stack.api import _address, _streams
from stack.core.errors import POLLIN
from stack.dns import hosts, message
from stack.dns.stub import TIMEOUT, UDP, Resolver
from stack.net import addr

_PORT = const(53)
# When neither the command line nor DHCP names a server.
_DEFAULT_SERVERS = ("1.1.1.1", "8.8.8.8")
_HOSTS_MAX = const(16384)


class Answer:
    """What a query came to: `.rcode` (0 NOERROR, 3 NXDOMAIN...), `.records`, `.name`."""

    def __init__(self, r):
        self.name = r.name
        self.rcode = r.rcode
        self.records = r.records

    def __repr__(self):
        codes = message.RCODES
        rcode = codes[self.rcode] if 0 <= self.rcode < len(codes) else str(self.rcode)
        return "<Answer %s %s %s>" % (self.name, rcode, self.records)


def make(rt):
    r = Resolver(rt.host.rng)
    try:
        with open("/etc/hosts") as f:
            r.hosts = hosts.parse(f.read(_HOSTS_MAX))
    except OSError:
        pass
    return r


def servers(rt):
    """The addresses (ints) to ask: as configured, else from DHCP, else two public ones."""
    return rt.dns_servers or rt.host.dns or [addr.parse(s) for s in _DEFAULT_SERVERS]


def answer_steps(rt, name, type):
    """Ask for records. Ends with an Answer; OSError(-3) when no server answered, ValueError."""
    resolver = rt.resolver
    resolver.servers = servers(rt)
    resolver.search = [rt.host.domain] if rt.host.domain else []
    r = resolver.start(name, type, rt.now())
    if not r.done:
        yield from _ask(rt, r)
    if r.rcode == TIMEOUT:
        raise OSError(_address.EAI_AGAIN)
    return Answer(r)


def address_steps(rt, name):
    """The first IPv4 address of a name, as text. OSError(-2) if it has none, (-3) try again."""
    code = _address.EAI_NONAME
    try:
        answer = yield from answer_steps(rt, name, message.A)
        for record in answer.records:
            if record.type == message.A:
                return record.data
        if answer.rcode not in (message.NOERROR, message.NXDOMAIN):
            code = _address.EAI_AGAIN
    except ValueError:
        pass  # it is no name
    raise OSError(code)


def _ask(rt, r):
    """Carry the machine's messages until it is done."""
    carrier = None
    try:
        while not r.done:
            t = r.transmit()
            if t is not None:
                if carrier is not None:
                    carrier.close()
                    carrier = None
                transport, server, data = t
                try:
                    if transport == UDP:
                        carrier = _Datagrams(rt, server, data)
                    else:
                        carrier = _streams.TcpStream(rt)
                        yield from carrier.connect(server, _PORT, r.poll_at())
                        yield from carrier.send_until(data, r.poll_at())
                except OSError:
                    r.on_failed(rt.now())
                    continue
            yield from _step(rt, r, carrier)
    finally:
        if carrier is not None:
            carrier.close()


def _step(rt, r, carrier):
    """Take in what has come, or wait for it."""
    try:
        buf = carrier.receive()
    except OSError:
        r.on_failed(rt.now())
        return
    if buf is None:
        now = rt.now()
        if now >= r.poll_at():
            r.on_timer(now)
        else:
            yield carrier.endpoint, POLLIN, r.poll_at()
        return
    if not carrier.is_stream:
        r.on_datagram(buf, carrier.server, rt.now())
    elif buf:
        r.on_stream(buf, rt.now())
    else:
        r.on_failed(rt.now())


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
            self.endpoint = e = rt.host.udp.open(0, 0, now)
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
