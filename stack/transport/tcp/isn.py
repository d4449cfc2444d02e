"""Initial sequence numbers: RFC 6528, a clock plus a keyed hash of the four addresses.

    ISN = M + F(localip, localport, remoteip, remoteport, secretkey)

M ticks every 4 microseconds; F is SHA-256 cut to 32 bits.
"""

from hashlib import sha256


class IsnSource:
    def __init__(self, rng):
        self._secret = rng(16)

    def __call__(self, local_addr, local_port, remote_addr, remote_port, now):
        """The ISN for a connection that begins at `now` (us)."""
        text = "%s %d %s %d" % (local_addr, local_port, remote_addr, remote_port)
        d = sha256(self._secret + text.encode()).digest()
        f = d[0] << 24 | d[1] << 16 | d[2] << 8 | d[3]
        return ((now >> 2) + f) & 0xFFFFFFFF
