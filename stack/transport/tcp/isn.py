"""Initial sequence numbers: RFC 6528, a clock plus a keyed hash of the four addresses.
The offset of the clock of timestamps: RFC 7323 7.1, a keyed hash of the two addresses.

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
        return (now >> 2) + self.hash(text) & 0xFFFFFFFF

    def hash(self, text):
        """32 bits that nobody knows who has not the secret."""
        d = sha256(self._secret + text.encode()).digest()
        return d[0] << 24 | d[1] << 16 | d[2] << 8 | d[3]

    def stamp_offset(self, local_addr, remote_addr):
        """Where our clock of timestamps stands for this pair of addresses."""
        return self.hash("stamp %s %s" % (local_addr, remote_addr))
