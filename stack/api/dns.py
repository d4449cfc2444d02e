"""net.dns: names to addresses and records.

    resolve("example.test")        "10.0.0.7"
    resolve("example.test", "MX")  [Record, ...]
    query("example.test", "TXT")   an Answer: .rcode .records .status
    servers() servers(["10.0.0.1"]) cache() flush()

    r = Resolver(root_hints=["10.0.0.1"], trust_anchor="20326 8 2 E06D...")
    r.query("example.test", "A").status     "secure", "insecure" or "bogus"
    Server(r).udp()                answers others: stack/api/dnsserver.py, images/resolver
    use(r)                         from now on all names go down from the root; use(None) ends it

`net.aio.dns` has the same resolve and query to be awaited, a Resolver has query_async.
"""

from stack.api import _address, _resolve, _runtime
from stack.dns import message


def resolve(name, type=None):
    """The address of a name, text; with a type the records. OSError(-2) if there is none."""
    rt = _runtime.current()
    return rt.run(resolve_steps(rt, name, type))


def query(name, type="A"):
    """The Answer of the servers, whatever its rcode. OSError(-3) when none answered."""
    rt = _runtime.current()
    return rt.run(_resolve.answer_steps(rt, name, message.type_number(type)))


def servers(new=None):
    """The servers' addresses; given a list, use those from now on ([]: DHCP's again)."""
    rt = _runtime.current()
    if new is not None:
        rt.dns_servers = [_server(rt, s) for s in new]
    return [_address.text(s) for s in _resolve.servers(rt)]


def _server(rt, text):
    a = _address.literal(rt, text)
    if a < 0:
        raise ValueError("not an address: %s" % text)
    return a


def __getattr__(name):
    # Only who asks for it pays for the resolver and its cryptography.
    if name == "Resolver":
        from stack.api._recursor import Resolver

        return Resolver
    if name == "Server":
        from stack.api.dnsserver import Server

        return Server
    raise AttributeError(name)


def use(resolver):
    """Resolve names by a Resolver instead of configured servers; None: by those again."""
    _runtime.current().recursor = resolver


def cache():
    """What is held: (name, type, seconds left, records) each; a Resolver has its own."""
    rt = _runtime.current()
    held = rt.resolver.cache.list(rt.now())
    return [(name, message.type_name(t), left, records) for name, t, left, records in held]


def flush():
    """Forget what is held."""
    _runtime.current().resolver.cache.clear()


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
