"""Asking the servers of a zone, and what their answers are.

A server's word counts for names in the zone it was asked for, and for nothing else: glue is
used to reach the zone it came with, and never handed out. Generators of Exchanges.
"""

from micropython import const

from stack.dns import name as _name
from stack.dns import packet
from stack.dns.dnssec import INSECURE, Bogus
from stack.dns.rdata import AAAA, CNAME, DNAME, DS, NS, SOA, A
from stack.dns.recursor.cache import FAILURE_TTL, Entry
from stack.dns.recursor.question import (
    EDE_NETWORK,
    EDE_NO_AUTHORITY,
    EDE_OTHER,
    Exchange,
    Fail,
)
from stack.dns.recursor.zone import ADDRESSES_MAX

# Attempts at one zone before it counts as unreachable.
_TRIES = const(7)
# Names of servers without an address that are looked up: of one zone, for one question, and
# how deep such look-ups may lead to further ones ("NXNS", RFC-less; unbound takes 3 and 5).
_FETCH_ZONE = const(3)
_FETCH_ALL = const(12)
_DEPTH_MAX = const(4)

# What an answer is.
ANSWER = const(1)
ALIAS = const(2)
NEGATIVE = const(3)
REFERRAL = const(4)
LAME = const(5)


class Reply:
    """A Packet and what it means for (zone, name, type)."""

    __slots__ = ("kind", "packet", "rrset", "server", "soa")

    def __init__(self, kind, p, rrset, server, soa=None):
        self.kind = kind
        self.packet = p
        self.rrset = rrset
        self.server = server
        self.soa = soa


def zone_servers(q, zone, name, type, depth):
    """Ask the zone's servers until one has a Reply of use. Fail."""
    r = q.recursor
    tries = 0
    asked = {}
    fetched = 0
    while True:
        addresses = _addresses(r, zone, q.now)
        order = r.servers.order([a for a in addresses if a not in q.avoid], zone.name, q.now)
        order = order or r.servers.order(addresses, zone.name, q.now)
        # Each once, then each again more patiently.
        order.sort(key=lambda a: asked.get(a, 0))
        if not order or asked.get(order[0], 0):
            if fetched < _FETCH_ZONE and (yield from _fetch_addresses(q, zone, depth)):
                fetched += 1
                continue
        if not order:
            raise Fail(EDE_NO_AUTHORITY, "no server of %s can be found" % _text(zone.name))
        if tries >= _TRIES:
            raise Fail(EDE_NETWORK, "no server of %s answers" % _text(zone.name))
        tries += 1
        address = order[0]
        before = asked.get(address, 0)
        asked[address] = before + 1
        server = r.servers.get(address)
        # A few servers do not keep the case of letters: the last attempts go without.
        p = yield Exchange(server, name, type, server.edns, before < 2)
        if p is None:
            continue
        reply = _classify(p, zone, name, type, server)
        if reply.kind != LAME:
            return reply
        if p.rcode not in (packet.SERVFAIL, packet.NOERROR, packet.NXDOMAIN):
            r.servers.lame(server, zone.name, q.now)
        asked[address] += _TRIES  # it will say the same again
        if all([asked.get(a, 0) >= _TRIES for a in order]) and (
            fetched >= _FETCH_ZONE or not (yield from _fetch_addresses(q, zone, depth))
        ):
            raise Fail(EDE_NETWORK, "the servers of %s do not answer for it (%s)" % (
                _text(zone.name), _rcode_text(p.rcode)))  # fmt: skip


def _rcode_text(rcode):
    names = ("lame", "FORMERR", "SERVFAIL", "lame", "NOTIMP", "REFUSED")
    return names[rcode] if rcode < len(names) else "rcode %d" % rcode


def _classify(p, zone, name, type, server):
    """What a Packet says of (name, type), asked of `zone`. Out of bailiwick is out of sight."""
    if p.rcode not in (packet.NOERROR, packet.NXDOMAIN, packet.YXDOMAIN):
        return Reply(LAME, p, None, server)
    apex = zone.name
    alias = dname = None
    for s in p.answer:
        if not _name.under(s.name, apex):
            continue
        if s.name == name and s.type == type:
            return Reply(ANSWER, p, s, server)
        if s.name == name and s.type == CNAME:
            alias = s
        elif s.type == DNAME and _name.below(name, s.name):
            dname = s
    if dname is not None or alias is not None:
        return Reply(ALIAS, p, dname or alias, server)
    if p.rcode == packet.YXDOMAIN:
        return Reply(LAME, p, None, server)
    soa = referral = None
    for s in p.authority:
        if not _name.under(s.name, apex):
            continue
        if s.type == SOA and _name.under(name, s.name):
            soa = s
        elif s.type == NS and _name.below(s.name, apex) and _name.under(name, s.name):
            referral = s
    if p.rcode == packet.NXDOMAIN or soa is not None:
        return Reply(NEGATIVE, p, None, server, soa)
    if referral is not None and (type != DS or referral.name != name):
        return Reply(REFERRAL, p, referral, server)
    if p.flags & packet.AA:
        return Reply(NEGATIVE, p, None, server)  # no SOA: not to be kept (RFC 2308, 2.1)
    return Reply(LAME, p, None, server)


def _addresses(r, zone, now):
    """All addresses of the zone's servers that are known."""
    out = []
    for name, glue in zone.servers:
        found = glue
        if not found:
            found = []
            for type, want in ((A, r.ip4), (AAAA, r.ip6)):
                e = r.cache.get(name, type, now) if want else None
                if e is not None and e.alias is None and e.answer:
                    found = found + e.answer[0].data[:ADDRESSES_MAX]
        for a in found:
            if a not in out and (r.ip4 if len(a) == 4 else r.ip6):
                out.append(a)
    return out


def _fetch_addresses(q, zone, depth):
    """Look up one server's name that has no address yet. True if there was one to try."""
    r = q.recursor
    if depth >= _DEPTH_MAX:
        return False
    for name, glue in zone.servers:
        if glue or name in q.fetching:
            continue
        # A name in the zone itself cannot be found without glue.
        if zone.name[0] and _name.under(name, zone.name):
            continue
        for type, want in ((A, r.ip4), (AAAA, r.ip6)):
            if not want or r.cache.known(name, type, q.now) is not None:
                continue
            if q.fetches >= _FETCH_ALL:
                return False
            q.fetches += 1
            q.fetching.append(name)
            try:
                yield from r.chain(q, name, type, depth + 1)
            except (Fail, Bogus):
                # Not looked up again for a while.
                r.cache.put(Entry(name, type, packet.SERVFAIL, INSECURE, (), (), None,
                            (EDE_OTHER, "no address")), FAILURE_TTL, q.now)  # fmt: skip
            finally:
                q.fetching.remove(name)
            return True
    return False


def _text(name):
    return _name.to_text(name) or "."
