"""What is known of each name server's address: how quick, how well, what it cannot do.

Round trips are kept as TCP keeps them (RFC 6298), failures double the wait and put a server
aside for a time. DNS cookies: RFC 7873 (the client's half).
"""

from micropython import const

from stack.dns.packet import COOKIE

# About 300 bytes each: 300 KB.
_MAX = const(1024)
# A server and a zone that it does not serve though it should: 400 bytes each, 100 KB.
_LAME_MAX = const(256)
# What is not known yet is guessed to be slower than a good server, quicker than a bad one.
_FIRST_US = const(376_000)
_LEAST_US = const(80_000)
_MOST_US = const(3_000_000)
# Three failures in a row: not asked for this long, if there is another.
_FAILURES = const(3)
_ASIDE_US = const(60_000_000)


class Server:
    __slots__ = ("address", "srtt", "rttvar", "failures", "until", "edns", "client", "cookie")

    def __init__(self, address, client):
        self.address = address
        self.client = client  # 8 bytes that only this server has seen from us
        self.srtt = self.rttvar = -1
        self.failures = 0
        self.until = 0
        self.edns = True
        self.cookie = b""  # the server's half, as it last gave it

    def timeout_us(self):
        t = _FIRST_US if self.srtt < 0 else self.srtt + 4 * self.rttvar
        t = max(t, _LEAST_US) << min(self.failures, 4)
        return min(t, _MOST_US)


class Servers:
    def __init__(self, rng):
        self._rng = rng
        self._map = {}
        self._lame = {}  # (address, zone) -> until

    def __len__(self):
        return len(self._map)

    def get(self, address):
        """The Server of an address."""
        s = self._map.get(address)
        if s is None:
            if len(self._map) >= _MAX:
                self._map.clear()  # what was learned is soon learned again
            self._map[address] = s = Server(address, self._rng(8))
        return s

    def order(self, addresses, zone, now):
        """Addresses, those first that are to be asked first. Without those known to be lame.

        Quick ones before slow ones, in bands, by chance within a band: so a forger cannot
        tell which will be asked, and what has become better is seen.
        """
        ranked = []
        dice = self._rng(len(addresses))
        for i in range(len(addresses)):
            s = self.get(addresses[i])
            if self._lame and self._lame.get((s.address, zone), 0) > now:
                continue
            rank = (s.timeout_us() >> 18) << 8 | dice[i]
            if s.failures >= _FAILURES and now < s.until:
                rank |= 1 << 30
            ranked.append((rank, i))
        ranked.sort()
        return [addresses[i] for _, i in ranked]

    def answered(self, s, rtt_us, now):
        s.failures = 0
        if s.srtt < 0:
            s.srtt = rtt_us
            s.rttvar = rtt_us >> 1
        else:
            s.rttvar = (3 * s.rttvar + abs(s.srtt - rtt_us)) >> 2
            s.srtt = (7 * s.srtt + rtt_us) >> 3

    def failed(self, s, now):
        s.failures += 1
        s.until = now + _ASIDE_US

    def lame(self, s, zone, now):
        """It does not know of `zone`: not asked about it for five minutes."""
        if len(self._lame) >= _LAME_MAX:
            self._lame.clear()
        self._lame[(s.address, zone)] = now + 300_000_000

    # Cookies.

    def cookie_option(self, s):
        """RFC 7873, section 4.1; drawn by chance, it is a function of the server as well."""
        return COOKIE, s.client + s.cookie

    def check_cookie(self, s, option):
        """False: an answer with another's cookie; it "MUST be discarded" (section 5.3)."""
        if option is None:
            return True
        if option[:8] != s.client:
            return False
        if 16 <= len(option) <= 40:
            s.cookie = bytes(option[8:])
        return True
