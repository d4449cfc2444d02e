"""Multicast listener discovery: routers and switches are told which groups we want.

RFC 3810 (version 2), RFC 2710 (version 1, where an old querier is heard), RFC 3590 (the
source address before there is one). The machine is groups.py's.

Not implemented: source filters.
"""

from micropython import const

from stack.core import be
from stack.net import addr6
from stack.net.groups import Groups
from stack.wire import icmp6, ipv6
from stack.wire import mld as wire

_KINDS = (  # of LEFT, JOINED, CURRENT
    wire.TO_INCLUDE, wire.TO_EXCLUDE, wire.MODE_IS_EXCLUDE,
)
_MAX_DELAY_MS = const(32_000)


class Mld(Groups):
    """The groups of `iface`. Members' keys are handles, `raw` is what is on the wire."""

    def __init__(self, iface, ip6, pool, stats, timers):
        super().__init__(ip6.random16, timers)
        self.iface = iface
        self.ip6 = ip6
        self.pool = pool
        self.stats = stats

    def is_silent(self, m):
        """Section 6: never for all-nodes, nor for scopes 0 and 1."""
        return m.raw == addr6.ALL_NODES or m.raw[1] & 0x0F < addr6.SCOPE_LINK

    def report(self, records, now):
        f = self.pool.get()
        if f is None:
            self.stats.drop("mld.no_frame")
            return
        f.off += ipv6.FRAGMENT_LEN
        n = wire.put_report(f.buf, f.off, [(_KINDS[kind], raw) for kind, raw in records])
        self._send(f, n, addr6.MLD_ROUTERS)

    def report_old(self, joined, raw, now):
        f = self.pool.get()
        if f is None:
            self.stats.drop("mld.no_frame")
            return
        f.off += ipv6.FRAGMENT_LEN
        kind = icmp6.MLD_REPORT if joined else icmp6.MLD_DONE
        n = wire.put_v1(f.buf, f.off, kind, raw)
        self._send(f, n, raw if joined else addr6.ALL_ROUTERS)

    def _send(self, f, n, dst):
        """Behind a router alert, with hop limit 1 (section 5)."""
        iface = self.iface
        src = iface.auto.link_local()
        src = src.raw if src is not None else addr6.UNSPECIFIED
        f.end = f.off + n
        b = f.buf
        o = f.off
        a = f.prepend(8)
        ipv6.put_router_alert(b, a, ipv6.PROTO_ICMP6)
        h = f.prepend(ipv6.HEADER_LEN)
        ipv6.build(b, h, src, dst, ipv6.HOP_BY_HOP, n + 8, 1)
        iface.nd.finish(f, h, o, n, addr6.multicast_mac(dst))
        self.stats.count("mld.reports")

    def on_message(self, h, f, kind, now):
        """A message of MLD, f at its start. RFC 3810, section 6.2."""
        b = f.buf
        o = f.off
        n = f.end - o
        if kind != icmp6.MLD_QUERY:
            self.stats.count("mld.others")
            return
        # "a link-local source, a hop limit of 1, and a router alert".
        if not addr6.is_link_local(b, h.start + 8) or h.ttl() != 1 or not h.alert:
            self.stats.drop("mld.query")
            return
        old = n == wire.V1_LEN
        if not old and n < wire.QUERY_LEN:
            self.stats.drop("mld.length")
            return
        code = be.get16(b, o + 4)
        ms = code if old else wire.max_delay_ms(code)
        key = None
        if not addr6.is_unspecified(b, o + 8):
            key = self.ip6.addresses.number(b, o + 8, self.iface.index)
        self.on_query(key, min(ms, _MAX_DELAY_MS) * 1000, now, old)
