"""net.dns: names to addresses and records.

    resolve("example.test")        "10.0.0.7"
    resolve("example.test", "MX")  [Record, ...]
    query("example.test", "TXT")   an Answer: .rcode .records .status
    reverse("10.0.0.7")            "example.test"
    cache() flush() search(["lan"], ndots=1)

    resolve("nas.local")           by Multicast DNS (RFC 6762)
    announce()                     answer to NAME.local, network.hostname() is the name
    announce("_http._tcp", 80, "My page", {"path": "/"})       a service of ours (RFC 6763)
    announced() withdraw()         names that are ours; goodbye

    use("tls://1.1.1.1#one.one.one.one")       all names from now on over TLS, or not at all
    use(["10.0.0.1", "10.0.0.2"])              or "https://dns.example/dns-query"
    servers()                                  who is asked

    r = Resolver(root_hints=["10.0.0.1"], trust_anchor="20326 8 2 E06D...")
    r.query("example.test", "A").status     "secure", "insecure" or "bogus"
    Server(r).udp()                answers others: stack/api/dnsserver.py, images/resolver
    use(r)                         from now on all names go down from the root; use(None) ends it

`net.aio.dns` has resolve, query and reverse to be awaited, a Resolver has query_async. More in
docs/dns.md.
"""

from stack.api import _address, _resolve, _runtime
from stack.dns import message
from stack.net import addr6
from stack.net.addr6 import V6


def resolve(name, type=None):
    """The address of a name, text; with a type the records. OSError(-2) if there is none."""
    rt = _runtime.current()
    return rt.run(resolve_steps(rt, name, type))


def query(name, type="A"):
    """The Answer of the servers, whatever its rcode. OSError(-3) when none answered."""
    rt = _runtime.current()
    return rt.run(_resolve.answer_steps(rt, name, message.type_number(type)))


def reverse(address):
    """The name of an address, text. OSError(-2) if it has none."""
    rt = _runtime.current()
    return rt.run(reverse_steps(rt, address))


def servers(new=None):
    """Who is asked; given a list, those from now on ([]: DHCP's again)."""
    rt = _runtime.current()
    if new is not None:
        _set(rt, new)
    from stack.api import _upstream

    return [_upstream.text(s) for s in _resolve.servers(rt)]


def _set(rt, new, **options):
    made = []
    if new:
        from stack.api import _upstream

        made = _upstream.made(rt, new, **options)
    for u in rt.dns_servers:
        if not isinstance(u, int) and u.session is not None:
            u.session.close()
    rt.dns_servers = made
    rt.resolver.channels.close()
    rt.resolver.cache.clear()


def __getattr__(name):
    # Only who asks for it pays for the resolver and its cryptography.
    if name == "Resolver":
        from stack.api._recursor import Resolver

        return Resolver
    if name == "Server":
        from stack.api.dnsserver import Server

        return Server
    raise AttributeError(name)


def use(who, verify=None, opportunistic=False, validate=False):
    """Resolve names by a Resolver, or by these servers (a text or a list); None: DHCP's again.

    tls:// and https:// servers have to show a certificate: verify is net.http's (None for
    Mozilla's roots, a PEM or its path, or an ssl.SSLContext). opportunistic=True takes any, and
    where there is no TLS asks in the clear (RFC 8310). validate=True checks DNSSEC here, from the
    root's trust anchor down: query() tells secure, insecure or bogus; or give a
    Resolver(forward=servers, trust_anchor=...). ValueError.
    """
    rt = _runtime.current()
    if hasattr(who, "steps"):
        rt.recursor = who
        return
    if validate and (opportunistic or not who):
        raise ValueError("validate needs servers, and no opportunistic ones")
    _set(rt, who or (), verify=verify, opportunistic=opportunistic)
    rt.recursor = None
    if validate:
        from stack.api._recursor import Resolver

        rt.recursor = Resolver(forward=who, verify=verify)


def search(domains=None, ndots=None):
    """The domains behind a short name; given a list, those ([]: none; "dhcp": as DHCP says).

    ndots: a name with so many dots is tried as it is first.
    """
    rt = _runtime.current()
    if domains is not None:
        rt.resolver.given_search = None if domains == "dhcp" else list(domains)
    if ndots is not None:
        rt.resolver.ndots = ndots
    return _resolve.search(rt)


def cache():
    """What is held: (name, type, seconds left, records) each, of whoever resolves names now."""
    rt = _runtime.current()
    if rt.recursor is not None:
        return [(name, t, left, records) for name, t, left, _, records in rt.recursor.cache()]
    held = rt.resolver.cache.list(rt.now())
    found = [(name, message.type_name(t), left, records) for name, t, left, records in held]
    return found + (rt.resolver.mdns.cached() if rt.resolver.mdns is not None else [])


def flush():
    """Forget what is held."""
    rt = _runtime.current()
    rt.resolver.cache.clear()
    if rt.recursor is not None:
        rt.recursor.flush()
    if rt.resolver.mdns is not None:
        rt.resolver.mdns.querier.flush()


def announce(service=None, port=0, name=None, txt=()):
    """Answer to our name under .local, and tell of a service like "_http._tcp" if one is given.

    The name is network.hostname(); of somebody else's name it becomes NAME-2, which announced()
    tells. name: the service's, for people. txt: a dict or a list of texts. ValueError.
    """
    from stack.api import _mdns

    rt = _runtime.current()
    made = None
    if service is not None:
        made = _mdns.service(service, port, name or rt.hostname, txt)
    _mdns.get(rt).announce(made)


def announced():
    """Names that are ours under .local: first the host's, then those of services."""
    m = _runtime.current().resolver.mdns
    return m.names() if m is not None else []


def withdraw():
    """Say goodbye, and answer to no name under .local any more."""
    m = _runtime.current().resolver.mdns
    if m is not None:
        m.close()


def resolve_steps(rt, name, type):
    if type is None:
        return _resolve.address_steps(rt, name)
    return _records_steps(rt, name, message.type_number(type))


def _records_steps(rt, name, number):
    answer = yield from _resolve.answer_steps(rt, name, number)
    found = [r for r in answer.records if r.type == number or number == message.ANY]
    if not found:
        raise OSError(-2)
    return found


def reverse_steps(rt, address):
    """Steps: see reverse."""
    a = _address.literal(rt, address)
    if a < 0:
        raise ValueError("not an address: %s" % address)
    plain = _address.text(a)
    for name, listed in rt.resolver.hosts.items():
        if plain in [text for _, text in listed]:
            return name
    pointer = _pointer(rt, a)
    try:
        return (yield from _records_steps(rt, pointer, message.PTR))[0].data
    except OSError as e:
        failed = e
    from stack.api import _mdns

    if any([_mdns.near(rt, i, a) for i in rt.host.interfaces if not i.loopback]):
        # A neighbour's: it may say itself what it is called.
        answer = yield from _mdns.answer_steps(rt, pointer, (message.PTR,))
        if answer.records:
            return answer.records[0].data
    raise failed


def _pointer(rt, a):
    """The name under which an address is found. RFC 1035, section 3.5; RFC 3596."""
    if a < V6:
        return "%d.%d.%d.%d.in-addr.arpa" % (a & 255, a >> 8 & 255, a >> 16 & 255, a >> 24)
    raw = addr6.without_zone(rt.host.ip6.addresses.bytes(a))
    digits = ["%x.%x" % (b & 15, b >> 4) for b in raw]
    digits.reverse()
    return ".".join(digits) + ".ip6.arpa"
