"""IGMP: routers and switches are told which IPv4 groups we want.

RFC 3376 (version 3), RFC 2236 (version 2, where an old querier is heard), RFC 1112, section
7 (every host is in 224.0.0.1, and never says so). The machine is groups.py's.

Not implemented: source filters, version 1.
"""

from micropython import const

from stack.core import be, checksum
from stack.net.groups import Groups
from stack.wire import ethernet, ipv4
from stack.wire import igmp as wire

ALL_SYSTEMS = const(0xE0000001)
ALL_ROUTERS = const(0xE0000002)
IGMP_ROUTERS = const(0xE0000016)

_KINDS = (wire.TO_INCLUDE, wire.TO_EXCLUDE, wire.MODE_IS_EXCLUDE)  # of LEFT, JOINED, CURRENT
_HEADER = const(24)  # with the router alert


class Igmp(Groups):
    """The groups of `iface`; members' keys are the groups."""

    def __init__(self, iface, ip, pool, stats, timers):
        super().__init__(ip.random16, timers)
        self.iface = iface
        self.pool = pool
        self.stats = stats

    def is_silent(self, m):
        return m.key == ALL_SYSTEMS

    def report(self, records, now):
        f = self._frame()
        if f is not None:
            n = wire.put_report(f.buf, f.off, [(_KINDS[kind], g) for kind, g in records])
            self._send(f, n, IGMP_ROUTERS)

    def report_old(self, joined, group, now):
        f = self._frame()
        if f is not None:
            n = wire.put_v2(f.buf, f.off, wire.REPORT2 if joined else wire.LEAVE2, group)
            self._send(f, n, group if joined else ALL_ROUTERS)

    def _frame(self):
        f = self.pool.get()
        if f is None:
            self.stats.drop("igmp.no_frame")
        return f

    def _send(self, f, n, dst):
        iface = self.iface
        f.end = f.off + n
        o = f.prepend(_HEADER)
        b = f.buf
        # Section 4: TTL 1, type of service 0xc0, router alert; before there is an address 0.0.0.0.
        ipv4.build(b, o, iface.addr, dst, wire.PROTO, n + 4, 0, 0, 1, 0xC0)
        b[o] = 0x46
        be.put32(b, o + 20, 0x94040000)
        be.put16(b, o + 10, 0)
        be.put16(b, o + 10, checksum.checksum(b, o, _HEADER))
        ethernet.emit(f, ethernet.multicast_mac(dst), iface.mac, ethernet.TYPE_IPV4)
        self.stats.count("igmp.reports")
        size = f.end - f.off
        if iface.tx(f):
            iface.tx_frames += 1
            iface.tx_bytes += size
        else:
            f.release()

    def on_packet(self, h, f, now):
        """A message of IGMP. Section 4.1: also of an older version."""
        b = f.buf
        o = f.off
        n = f.end - o
        if n < wire.MIN_LEN or checksum.add(b, o, n, 0) != 0xFFFF:
            self.stats.drop("igmp.checksum")
            return
        if b[o] != wire.QUERY:
            self.stats.count("igmp.others")
            return
        # RFC 3376, section 9.1: without a router alert it may be forged from afar.
        if h.ttl() != 1 or (n >= wire.QUERY3_LEN and h.header_len() == 20):
            self.stats.drop("igmp.query")
            return
        code = b[o + 1]
        old = n < wire.QUERY3_LEN
        tenths = (code or 100) if old else wire.max_delay_tenths(code)
        group = be.get32(b, o + 4)
        self.on_query(group or None, tenths * 100_000, now, old)


class IgmpInput:
    """Gives what arrives to the Igmp of the interface it arrived on."""

    def __init__(self, ip):
        ip.handlers[wire.PROTO] = self

    def on_packet(self, h, f, now):
        if h.iface.igmp is not None:
            h.iface.igmp.on_packet(h, f, now)

    def on_error(self, code, h, f, now):
        pass
