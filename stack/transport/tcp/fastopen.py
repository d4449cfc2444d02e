"""TCP Fast Open: data in the SYN, for a peer that has shown it can hear us. RFC 7413.

    client   a connection made with `fastopen` keeps its SYN back until the program has sent
             something, if a cookie of the peer is known (else the SYN asks for one)
    server   `listener.fastopen` is how many may be in SYN-RECEIVED by a cookie; a SYN with a
             good one is a connection at once, its data can be read, accept returns it

Off unless asked for (both are the program's choice: 6.1 says why data may come twice).

A lost SYN goes again without data and cookie, and the cookie is forgotten (4.1.3.1).

Not implemented: a server's data before the ACK of its SYN-ACK (4.2.2, a MAY); expiry of
cookies on the server but by a new boot's key; the experimental option (kind 254).
"""

from hashlib import sha256

from micropython import const

from stack.wire.tcp import HAS_COOKIE

COOKIE_LEN = const(8)  # ours; a peer's may have 4 to 16 (2.)
_MIN = const(4)
_MAX = const(16)
# Cookies of peers: 64 entries of about 150 bytes: 10 KB; the oldest goes.
MAX_COOKIES = const(64)


class FastOpen:
    def __init__(self, rng):
        self._rng = rng
        self._key = None
        self._cookies = {}  # remote address -> (cookie, mss)
        self._order = []

    # -- server

    def cookie(self, remote_addr, local_addr):
        """What we give this peer: only who hears us at that address knows it."""
        if self._key is None:
            self._key = self._rng(16)
        text = "fastopen %s %s" % (remote_addr, local_addr)
        return sha256(self._key + text.encode()).digest()[:COOKIE_LEN]

    def good(self, h, remote_addr, local_addr):
        """Does the SYN h carry the cookie that we gave this peer?"""
        if not h.options & HAS_COOKIE or h.cookie_len != COOKIE_LEN:
            return False
        want = self.cookie(remote_addr, local_addr)
        differ = 0
        for i in range(COOKIE_LEN):
            differ |= want[i] ^ h.buf[h.cookie_off + i]
        return not differ

    # -- client

    def known(self, remote_addr):
        """(cookie, MSS) of a peer, or None."""
        return self._cookies.get(remote_addr)

    def learn(self, remote_addr, h, mss):
        """A SYN-ACK: keep the cookie that it brings."""
        if not h.options & HAS_COOKIE or not _MIN <= h.cookie_len <= _MAX:
            return
        if remote_addr in self._cookies:
            self._order.remove(remote_addr)
        elif len(self._order) >= MAX_COOKIES:
            del self._cookies[self._order.pop(0)]
        self._order.append(remote_addr)
        self._cookies[remote_addr] = (
            bytes(h.buf[h.cookie_off : h.cookie_off + h.cookie_len]), mss,
        )

    def forget(self, remote_addr):
        if remote_addr in self._cookies:
            del self._cookies[remote_addr]
            self._order.remove(remote_addr)
