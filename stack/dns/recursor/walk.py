"""From the root down to the zone that knows: RFC 1034, section 5.3.3, with RFC 9156.

    answer    the name, then where its aliases lead         -> [Entry, ...]
    lookup    one name: what is known, else                 -> Entry
    descend   ask zone after zone, a label more each time   -> Entry

All are generators of Exchanges (question.py), with the Question `q` as their first argument.
"""

from micropython import const

from stack.dns import name as _name
from stack.dns import packet
from stack.dns.cache import NEGATIVE_TTL_MAX
from stack.dns.dnssec import BOGUS, INSECURE, SECURE, Bogus
from stack.dns.packet import Rrset
from stack.dns.rdata import AAAA, CNAME, DNAME, DS, A
from stack.dns.recursor import aggressive, ask, trust
from stack.dns.recursor.cache import ANY_TYPE, FAILURE_TTL, Entry
from stack.dns.recursor.question import EDE_OTHER, Fail
from stack.dns.recursor.zone import ADDRESSES_MAX, NS_MAX, Zone, insecure

# Aliases followed for one question. unbound's and BIND's are 11 and 16.
_CHAIN_MAX = const(11)
# And their bytes: more would not fit into an answer.
_CHAIN_BYTES = const(1 << 17)
# RFC 9156, section 2.3: after so many labels one by one the rest is asked at once.
_MINIMISE_MAX = const(10)
# Zones on the way down: a name has 127 labels at most, real ones 5.
_CUTS_MAX = const(32)
# Servers are asked again elsewhere when an answer is bogus: one of several may be at fault.
_BOGUS_TRIES = const(3)

def answer(q):
    """The Question's answer: Entries from its name to the end of its aliases."""
    r = q.recursor
    try:
        return (yield from chain(q, q.name, q.type, 0))
    except (Fail, Bogus) as e:
        held = r.cache.stale(q.name, q.type, q.now)
        if held is not None and isinstance(e, Fail) and held.alias is None:
            r.stats.count("dns.stale")
            stale = Entry(held.name, held.type, held.rcode, held.status, held.answer,
                          held.authority, None, (3, "stale answer"))  # fmt: skip
            stale.until = q.now
            return [stale]
        status = BOGUS if isinstance(e, Bogus) else INSECURE
        failed = Entry(q.name, q.type, packet.SERVFAIL, status, (), (), None, e.args)
        if held is None:
            r.cache.put(failed, FAILURE_TTL, q.now)
        return [failed]


def chain(q, name, type, depth):
    out = []
    size = 0
    for _ in range(_CHAIN_MAX):
        e = yield from lookup(q, name, type, depth)
        out.append(e)
        size += e.size
        if e.alias is None or type == CNAME:
            return out
        if size > _CHAIN_BYTES:
            break
        name = e.alias
    raise Fail(EDE_OTHER, "too many aliases")


def lookup(q, name, type, depth):
    """The Entry for a name and type: from the cache, from what it proves, or by asking."""
    r = q.recursor
    e = r.cache.known(name, type, q.now)
    if e is not None and not (q.fresh and depth == 0 and name == q.name):
        if e.status == BOGUS or e.rcode == packet.SERVFAIL:
            raise (Bogus if e.status == BOGUS else Fail)(*e.ede)
        return e
    tries = 0
    while True:
        try:
            return (yield from descend(q, name, type, depth))
        except Bogus:
            tries += 1
            if tries >= _BOGUS_TRIES or not q.avoid:
                raise


def descend(q, name, type, depth):
    r = q.recursor
    start = name
    if type == DS and name[0]:
        start = _name.parent(name)  # RFC 4035, section 3.1.4.1: the parent has it
    zone = r.zones.closest(start, q.now)
    labels = _name.count(name)
    asked = _name.count(zone.name)
    steps = 0
    looked = None
    for _ in range(_CUTS_MAX + _MINIMISE_MAX):
        yield from trust.ensure_keys(q, zone, depth)
        if looked is not zone:
            looked = zone
            e = aggressive.lookup(q, zone, name, type)
            if e is not None:
                return e
        steps += 1
        asked = max(asked + 1, 1) if steps < _MINIMISE_MAX and not r.forward else labels
        whole = asked >= labels
        n = name if whole else _name.tail(name, asked)
        t = type if whole else A
        reply = yield from ask.zone_servers(q, zone, n, t, depth)
        kind = reply.kind
        if kind == ask.REFERRAL:
            zone = yield from delegated(q, zone, reply, depth)
            asked = _name.count(zone.name)
        elif whole:
            return (yield from conclude(q, zone, reply, name, type, depth))
        elif kind == ask.NEGATIVE and reply.packet.rcode == packet.NXDOMAIN:
            e = yield from conclude(q, zone, reply, n, t, depth)
            if e.status == SECURE:
                return e
            steps = _MINIMISE_MAX  # an old server may lie about empty names: RFC 9156, 3
    raise Fail(EDE_OTHER, "too many zone cuts")


# Going down.


def delegated(q, zone, reply, depth):
    """The Zone that a referral names, with its trust settled."""
    r = q.recursor
    ns = reply.rrset
    p = reply.packet
    glue = {}
    for s in p.additional:
        # Only addresses for names that the zone asked may speak for.
        if s.type in (A, AAAA) and _name.under(s.name, zone.name):
            glue.setdefault(s.name, []).extend(s.data[:ADDRESSES_MAX])
    servers = [[d.lower(), glue.get(d.lower(), [])] for d in ns.data[:NS_MAX]]
    ttl = min(ns.ttl, 86400)
    if not zone.signed():
        child = insecure(ns.name, servers, q.now + ttl * 1000000)
    else:
        try:
            ds, ds_ttl = yield from trust.delegation(q, zone, ns.name, p, depth)
        except Bogus:
            q.avoid.add(reply.server.address)
            raise
        until = q.now + min(ttl, ds_ttl) * 1000000
        if ds:
            child = Zone(ns.name, servers, SECURE, ds, until)
        else:
            child = insecure(ns.name, servers, until)
    r.zones.add(child)
    return child


# Making an Entry of a reply.


def conclude(q, zone, reply, name, type, depth):
    """The Entry that a reply makes, validated and kept. Bogus."""
    try:
        if reply.kind == ask.ANSWER:
            return (yield from _positive(q, zone, reply, name, type, depth))
        if reply.kind == ask.ALIAS:
            return (yield from _alias(q, zone, reply, name, depth))
        return (yield from _negative(q, zone, reply, name, type, depth))
    except Bogus:
        q.avoid.add(reply.server.address)
        raise


def _positive(q, zone, reply, name, type, depth):
    s = reply.rrset
    status, proof = yield from trust.rrset(q, zone, s, reply.packet, depth)
    e = Entry(name, type, packet.NOERROR, status, [s], proof)
    q.recursor.cache.put(e, s.ttl, q.now)
    return e


def _alias(q, zone, reply, name, depth):
    """A CNAME, or the one that a DNAME makes (RFC 6672, section 3.1)."""
    s = reply.rrset
    status, proof = yield from trust.rrset(q, zone, s, reply.packet, depth)
    sets = [s]
    target = s.data[0].lower()
    if s.type == DNAME:
        head = name[: len(name) - len(s.name)]
        target = head + target
        if len(target) > _name.NAME_MAX:
            # RFC 6672, section 2.2: YXDOMAIN.
            return Entry(name, CNAME, packet.YXDOMAIN, status, sets, proof)
        made = Rrset(name, CNAME, s.ttl, [target])
        made.status = status
        sets = [s, made]
    e = Entry(name, CNAME, packet.NOERROR, status, sets, proof, target)
    q.recursor.cache.put(e, s.ttl, q.now)
    return e


def _negative(q, zone, reply, name, type, depth):
    p = reply.packet
    missing = p.rcode == packet.NXDOMAIN
    status, proof = yield from trust.denial(q, zone, name, type, p, reply.soa, depth)
    ttl = 0
    if reply.soa is not None:
        # RFC 2308, section 5: the lesser of the SOA's TTL and its minimum.
        minimum = int.from_bytes(reply.soa.data[0][-4:], "big")
        ttl = min(reply.soa.ttl, minimum, NEGATIVE_TTL_MAX)
        for s in proof:
            ttl = min(ttl, s.ttl)
        if reply.soa not in proof:
            proof = [reply.soa] + proof
    e = Entry(name, ANY_TYPE if missing else type, p.rcode, status, (), proof)
    q.recursor.cache.put(e, ttl, q.now)
    return e


def _text(name):
    return _name.to_text(name) or "."
