"""What a program wants in the IP headers of what it sends: hop limit, Differentiated Services.

RFC 9293 MUST-48, MUST-49; RFC 2474 (the field), RFC 3493 5.1, RFC 3542 6.5. A socket may speak
both families, so it has one of each.
"""

from stack.net.addr6 import V6

# RFC 3168: the two low bits are ECN's, which TCP sets itself.
ECN_MASK = 3


class Marks:
    """ttl, hops: -1 for what is usual."""

    def __init__(self):
        self.ttl = self.hops = -1
        self.tos = self.tclass = 0

    def copy(self):
        m = Marks()
        m.ttl, m.hops, m.tos, m.tclass = self.ttl, self.hops, self.tos, self.tclass
        return m

    def path(self, ip, dst, src):
        """A Path of one's own from src (0: any) to dst whose packets are marked; None: no way."""
        path = ip.private_path(dst, src)
        if path is not None:
            self.put(path)
        return path

    def put(self, path):
        """Mark what goes along `path`, which is no other's."""
        if path.dst >= V6:
            path.set_ttl(self.hops, self.tclass)
        else:
            path.set_ttl(self.ttl, self.tos)
