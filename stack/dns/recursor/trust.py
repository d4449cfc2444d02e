"""Trust on the way down: keys from DS, DS from the parent, signatures on what is said.

RFC 4035, section 5. A zone's status is settled when it is delegated; data of a secure zone
has to be signed by it, data of an insecure one is not looked at. Where one server serves a
zone and its child, the child's answer comes without a referral: the signer's name, or
missing signatures, show that there must be a cut, and the parent is asked for it.

All generators of Exchanges; all raise Bogus, and Fail where nobody answers.
"""

from micropython import const

from stack.dns import dnssec, packet
from stack.dns import name as _name
from stack.dns.denial import Denial, well_formed
from stack.dns.dnssec import (
    EDE_NO_DENIAL,
    EDE_NO_KEY,
    INSECURE,
    SECURE,
    Bogus,
    signer,
    verify_rrset,
)
from stack.dns.rdata import DNSKEY, DS, NSEC, NSEC3
from stack.dns.recursor import aggressive, ask
from stack.dns.recursor.cache import FAILURE_TTL
from stack.dns.recursor.zone import Zone, insecure

# Keys are fetched again after this at the latest.
_KEYS_TTL_MAX = const(3600)
_DS_TTL_MAX = const(3600)


def ensure_keys(q, zone, depth):
    """See to it that a secure zone's keys are at hand; it may turn out to be insecure."""
    if not zone.signed() or zone.keys is not None and q.now < zone.keys_until:
        return
    if zone.bogus is not None:
        until, why = zone.bogus
        if q.now < until:
            raise Bogus(*why)
        zone.bogus = None
    tries = 0
    while True:
        reply = yield from ask.zone_servers(q, zone, zone.name, DNSKEY, depth)
        s = reply.rrset
        try:
            if s is None or s.type != DNSKEY:
                raise Bogus(EDE_NO_KEY, "%s has no DNSKEY" % _text(zone.name))
            keys = dnssec.check_keys(
                zone.name, s, zone.ds, q.recursor.unix_time(), q.budget
            )
            break
        except Bogus as e:
            tries += 1
            q.avoid.add(reply.server.address)
            if tries == 2:
                # RFC 9520, section 3: not for every name in it again.
                zone.bogus = (q.now + FAILURE_TTL * 1000000, e.args)
                raise
    if keys is None:
        zone.status = INSECURE
        return
    s.status = SECURE
    zone.keys = keys
    zone.keys_until = q.now + max(min(s.ttl, _KEYS_TTL_MAX), 1) * 1000000
    q.recursor.zones.changed(zone)


def delegation(q, zone, child, p, depth):
    """(DS of a child, seconds it may be kept) by a referral of secure `zone`; ([], s) if none."""
    unix = q.recursor.unix_time()
    for s in p.authority:
        if s.type == DS and s.name == child:
            verify_rrset(s, zone.name, zone.keys, unix, q.budget)
            return _usable(s)
    sets = _checked_proofs(q, zone, p)
    denial = Denial(sets, zone.name, q.budget)
    if denial.any() and denial.no_type(child, DS) and (denial.is_cut(child) or denial.insecure):
        return [], _least(sets)
    return (yield from _ask_ds(q, zone, child, depth))


def _usable(s):
    """A DS set of algorithms that we lack makes the child insecure."""
    good = [d for d in s.data if dnssec.usable_ds(d)]
    return good, min(s.ttl, _DS_TTL_MAX)


def _ask_ds(q, zone, child, depth):
    """The same by a question of its own. A name that is no cut raises Bogus."""
    found = yield from _cut(q, zone, child, depth)
    if found is None:
        raise Bogus(EDE_NO_DENIAL, "no proof that %s is unsigned" % _text(child))
    return found


def _cut(q, zone, child, depth):
    """(DS, seconds) of a cut of secure `zone` at `child`; None: proved to be no cut."""
    reply = yield from ask.zone_servers(q, zone, child, DS, depth)
    p = reply.packet
    s = reply.rrset
    if s is not None and s.type == DS and s.name == child:
        verify_rrset(s, zone.name, zone.keys, q.recursor.unix_time(), q.budget)
        return _usable(s)
    sets = _checked_proofs(q, zone, p)
    denial = Denial(sets, zone.name, q.budget)
    if denial.any():
        if p.rcode == packet.NXDOMAIN:
            if denial.no_name(child):
                return ([], _least(sets)) if denial.insecure else None
        elif denial.no_type(child, DS):
            return ([], _least(sets)) if denial.is_cut(child) or denial.insecure else None
    raise Bogus(EDE_NO_DENIAL, "no proof about a DS of %s" % _text(child))


def _checked_proofs(q, zone, p):
    """The NSEC and NSEC3 of an authority section whose signatures are the zone's."""
    out = []
    unix = q.recursor.unix_time()
    for s in p.authority:
        if s.type in (NSEC, NSEC3) and _name.under(s.name, zone.name):
            if not well_formed(s):
                continue
            labels = verify_rrset(s, zone.name, zone.keys, unix, q.budget)
            if labels < _name.count(s.name) and s.name[:2] != _name.WILDCARD:
                continue  # a denial made from a wildcard is none
            s.status = SECURE
            out.append(s)
    return out


def _least(sets):
    ttl = _DS_TTL_MAX
    for s in sets:
        ttl = min(ttl, s.ttl)
    return ttl


def owner_zone(q, zone, s, depth):
    """The zone that set `s`, in an answer of `zone`, belongs to: itself or one below it."""
    if not zone.signed():
        return zone
    below = None
    for sig in s.sigs:
        who = signer(sig)
        if who == zone.name:
            return zone
        if _name.below(who, zone.name) and _name.under(s.name, who):
            below = who
    if below is not None:
        return (yield from _zone_below(q, zone, below, depth))
    return (yield from _unsigned(q, zone, s, depth))


def _zone_below(q, zone, name, depth):
    """The secure Zone `name` that the servers of `zone` also serve."""
    known = q.recursor.zones.get(name, q.now)
    if known is not None:
        yield from ensure_keys(q, known, depth)
        return known
    n = _name.count(zone.name) + 1
    while zone.name != name:
        found = yield from _cut(q, zone, _name.tail(name, n), depth)
        if found is not None:
            ds, ttl = found
            zone = _made(q, zone, _name.tail(name, n), ds, ttl)
            yield from ensure_keys(q, zone, depth)
            if not zone.signed():
                return zone
        elif n >= _name.count(name):
            raise Bogus(EDE_NO_KEY, "%s signs, and is no zone" % _text(name))
        n += 1
    return zone


def _unsigned(q, zone, s, depth):
    """A set without a signature of use: an insecure zone below is to be proved."""
    last = _name.count(s.name)
    n = _name.count(zone.name) + 1
    while n <= last:
        name = _name.tail(s.name, n)
        known = q.recursor.zones.get(name, q.now)
        if known is not None:
            zone = known
        else:
            found = yield from _cut(q, zone, name, depth)
            if found is not None:
                zone = _made(q, zone, name, found[0], found[1])
        if zone.name == name:
            yield from ensure_keys(q, zone, depth)
            if not zone.signed():
                return zone
        n += 1
    return zone  # secure to the end: that the signature is missing will be found


def _made(q, zone, name, ds, ttl):
    until = q.now + ttl * 1000000
    if ds:
        child = Zone(name, zone.servers, SECURE, ds, until)
    else:
        child = insecure(name, zone.servers, until)
    q.recursor.zones.add(child)
    return child


def rrset(q, zone, s, p, depth):
    """(status, proofs) of a positive answer: proofs are what a wildcard needs."""
    owner = yield from owner_zone(q, zone, s, depth)
    if not owner.signed():
        s.status = INSECURE
        return INSECURE, _unchecked(q, owner, p)
    labels = verify_rrset(s, owner.name, owner.keys, q.recursor.unix_time(), q.budget)
    s.status = SECURE
    count = _name.count(s.name)
    if s.name[:2] == _name.WILDCARD:
        count -= 1
    if labels >= count:
        return SECURE, []
    # Made from a wildcard: that nothing closer exists, section 5.3.4.
    sets = _checked_proofs(q, owner, p)
    denial = Denial(sets, owner.name, q.budget)
    if not denial.any() or not denial.no_closer(s.name, labels):
        raise Bogus(EDE_NO_DENIAL, "%s comes from a wildcard, without proof" % _text(s.name))
    status = INSECURE if denial.insecure else SECURE
    s.status = status
    if status == SECURE:
        aggressive.remember(q, owner, None, sets)
        aggressive.remember_wild(q, owner, s, labels)
    return status, sets


def denial(q, zone, name, type, p, soa, depth):
    """(status, proofs) of a negative answer."""
    if not zone.signed():
        return INSECURE, _unchecked(q, zone, p)
    if soa is None:
        # Nothing says whose word it is.
        raise Bogus(EDE_NO_DENIAL, "a negative answer for %s without SOA" % _text(name))
    owner = yield from owner_zone(q, zone, soa, depth)
    if not owner.signed():
        return INSECURE, []
    verify_rrset(soa, owner.name, owner.keys, q.recursor.unix_time(), q.budget)
    soa.status = SECURE
    sets = _checked_proofs(q, owner, p)
    d = Denial(sets, owner.name, q.budget)
    if p.rcode == packet.NXDOMAIN:
        good = d.any() and d.no_name(name)
    else:
        good = d.any() and d.no_type(name, type)
    if not good:
        raise Bogus(EDE_NO_DENIAL, "%s: no proof of what does not exist" % _text(name))
    if d.insecure:
        return INSECURE, [soa] + sets
    aggressive.remember(q, owner, soa, sets)
    return SECURE, [soa] + sets


def _unchecked(q, zone, p):
    """What a recursor that validates nothing (CD) hands on to who does. RFC 4035, 3.2.2."""
    if q.recursor.zones.root.signed():
        return []
    return [
        s for s in p.authority if s.type in (NSEC, NSEC3) and _name.under(s.name, zone.name)
    ]


def _text(name):
    return _name.to_text(name) or "."
