"""Putting IPv6 fragments together: reassembly.py's machine with IPv6's header.

RFC 8200, section 4.5; RFC 5722 (an overlap condemns the datagram). The time exceeded
message goes out when the first fragment has come and 60 seconds are over.

Not implemented: see reassembly.py.
"""

from micropython import const

from stack.core import be
from stack.net.reassembly import Reassembly
from stack.wire import ipv6 as wire

_MAX_PAYLOAD = const(65535)
_TIMEOUT_US = const(60_000_000)


class Reassembly6(Reassembly):
    def __init__(self, buffers, stats, timers, on_expired=None):
        super().__init__(buffers, stats, timers, on_expired)
        self.header = wire.HEADER_LEN
        self.max_payload = _MAX_PAYLOAD
        self.timeout_us = _TIMEOUT_US
        self._hdr = wire.Ipv6()

    def put_header(self, d, h, n):
        """The header of the first fragment, its chain up to the fragment header left out."""
        src = bytes(h.buf[h.start + 8 : h.start + 24])
        dst = bytes(h.buf[h.start + 24 : h.start + 40])
        wire.build(d.buf, 0, src, dst, h.proto, n, h.ttl(), h.tos())
        d.proto = h.proto

    def complete(self, d, h, f):
        be.put16(f.buf, 4, d.total)
        # "The Next Header field ... is obtained from the first fragment".
        h.proto = d.proto
        h.at = f.off

    def same(self, d, h, ident):
        return d.ident == ident and d.dst == h.dst

    def parse_header(self, h, f, d):
        h.src = d.src
        h.dst = d.dst
        return h.parse(f)
