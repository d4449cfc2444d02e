"""Names to addresses and records: which of the resolvers a name is for, and what came of it."""

from micropython import const

from stack.api import _address, _carry
from stack.dns import hosts, message
from stack.dns.stub import TIMEOUT, Resolver
from stack.net import addr, select6
from stack.net.addr6 import V6

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


class Names(Resolver):
    """The host's stub resolver, with the connections to its servers."""

    def __init__(self, rt):
        from stack.api._channel import Channels

        super().__init__(rt.host.rng)
        self.channels = Channels(rt)
        self.first = None  # see first()
        self.mdns = None  # stack/api/_mdns.py's Mdns, once it is wanted
        self.given_search = None  # instead of what DHCP and routers say

    def stop(self):
        """The host goes away: goodbye to who may know its name."""
        if self.mdns is not None:
            self.mdns.close()


def make(rt):
    r = Names(rt)
    try:
        with open("/etc/hosts") as f:
            r.hosts = hosts.parse(f.read(_HOSTS_MAX))
    except OSError:
        pass
    return r


def first(rt):
    """The stub that looks up servers which are given by name: it asks plain servers."""
    r = rt.resolver
    f = r.first
    if f is None:
        f = r.first = Resolver(rt.host.rng)
    f.hosts = r.hosts
    f.servers = _plain(rt)
    return f


def _plain(rt):
    return rt.host.dns or [addr.parse(s) for s in _DEFAULT_SERVERS]


def servers(rt):
    """Whom to ask, ints and Upstreams: as configured, else as DHCP and routers say, else public."""
    return rt.dns_servers or _plain(rt)


def search(rt):
    """The domains to search: as configured, else those that DHCP and routers named."""
    if rt.resolver.given_search is not None:
        return rt.resolver.given_search
    found = list(rt.host.search)
    for i in rt.host.interfaces:
        names = sorted(i.auto.search) + i.auto.dhcp_search
        found.extend([d for d in names if d not in found])
    return found


def answer_steps(rt, name, type, resolver=None):
    """Ask for records. Ends with an Answer; OSError(-3) when no server answered, ValueError.

    resolver: a stub instead of all that the host has.
    """
    if resolver is None:
        if _is_local(rt, name, type):
            return (yield from _link_steps(rt, name, (type,)))
        if rt.recursor is not None and _global(rt, name, type):
            return (yield from rt.recursor.steps(name, type))
        resolver = rt.resolver
        resolver.servers = servers(rt)
        resolver.search = search(rt)
    return (yield from _stub_steps(rt, resolver, name, type))


def _stub_steps(rt, resolver, name, type):
    r = resolver.start(name, type, rt.now())
    if not r.done:
        yield from _carry.ask(rt, r)
    if r.rcode == TIMEOUT:
        raise OSError(_address.EAI_AGAIN, _why(r))
    a = Answer(r.name, r.rcode, r.records)
    if r.rcode not in (message.NOERROR, message.NXDOMAIN):
        a.why = _why(r)
    return a


def _is_local(rt, name, type):
    """Whether a name is nobody's but the link's, for Multicast DNS: RFC 6762, sections 3 and 4."""
    low = name.lower()
    if low.endswith("."):
        low = low[:-1]
    ours = low.endswith(".local") or low.endswith(".254.169.in-addr.arpa")
    if not ours:
        ours = low.endswith(".e.f.ip6.arpa") and low[-14:-13] in ("8", "9", "a", "b")
    return ours and hosts.lookup(rt.resolver.hosts, low, type) is None


def _link_steps(rt, name, types):
    """Steps: an Answer from the link; where the network has a domain under .local, from its
    servers too.
    """
    from stack.api import _mdns

    answer = yield from _mdns.answer_steps(rt, name, types)
    domains = [d for d in search(rt) if d.lower() == "local" or d.lower().endswith(".local")]
    if not answer.records and domains:
        resolver = rt.resolver
        resolver.servers = servers(rt)
        for t in types:
            answer = yield from _stub_steps(rt, resolver, name, t)
            if answer.records:
                break
    return answer


def _why(r):
    """Who did not answer a resolution, and why, in words."""
    from stack.api import _upstream

    said = []
    for server, why in r.failures:
        line = "%s: %s" % (_upstream.text(server), why)
        if line not in said:
            said.append(line)
    return "no DNS server answers; " + ", ".join(said) if said else "there is no DNS server"


def address_steps(rt, name, af=0):
    """The first address of a name, as text. OSError(-2) if it has none, (-3) try again."""
    return _address.text((yield from lookup_steps(rt, name, af))[0])


def lookup_steps(rt, name, af=0, resolver=None):
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
    failed = OSError(_address.EAI_NONAME)
    if resolver is None and _is_local(rt, name, types[0]):
        asked = [_link_steps(rt, name, types)]
    else:
        # Side by side: what one family's question waits for is no matter for the other's.
        asked = [answer_steps(rt, name, t, resolver) for t in types]
    try:
        answers = yield from _carry.together(rt, asked)
    except ValueError:
        answers = ()  # it is no name
    for answer in answers:
        if isinstance(answer, OSError):
            failed = answer
            continue
        for record in answer.records:
            if record.type in types:
                found.append(_number(rt, record))
        if answer.rcode not in (message.NOERROR, message.NXDOMAIN):
            failed = OSError(_address.EAI_AGAIN, answer.why or "")
    if not found:
        raise failed
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
    return _address.literal(rt, record.data)


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
