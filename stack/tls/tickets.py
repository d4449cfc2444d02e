"""Sessions that can be resumed: a client's memory, a server's sealed tickets. RFC 8446, 4.6.1.

A server keeps nothing: the ticket is its state, sealed with a key that it
alone has. A client uses a ticket once (C.4: a used one links connections).

    ticket = key name (8) || nonce (12) || sealed state || tag (16)

Not implemented: sharing ticket keys between servers.
"""

from micropython import const

from stack.core.cursor import Reader, Writer
from stack.core.errors import ProtocolError
from stack.crypto.aead import ChaCha20Poly1305
from stack.tls.extensions import pull_vec8, pull_vec16, push_vec8, push_vec16
from stack.tls.schedule import suite_by_id

# "Servers MUST NOT use any value greater than 604800 seconds (7 days)."
MAX_LIFETIME_S = const(604800)
_KEY_LIFE_US = const(12 * 3600 * 1000000)
_NAME_LEN = const(8)
_VERSION = const(1)
# A client's leaf certificate travels in the ticket up to this size, else there is no ticket.
_MAX_PEER = const(3000)


class Session:
    """What a client needs to resume. Times in us of the machine's own clock."""

    __slots__ = (
        "suite", "psk", "ticket", "age_add", "received_us", "lifetime_s", "max_early_data",
        "alpn", "verified", "peer", "host",
    )  # fmt: skip

    def fresh(self, now):
        return 0 <= now - self.received_us < self.lifetime_s * 1000000

    def obfuscated_age(self, now):
        # 4.2.11.1: in milliseconds, plus ticket_age_add modulo 2^32.
        return ((now - self.received_us) // 1000 + self.age_add) & 0xFFFFFFFF


class Sessions:
    """A client's tickets by a key of the caller's, such as "host:port"; the oldest go first."""

    def __init__(self, most=64, per_host=4):
        self._most = most
        self._per_host = per_host
        self._all = []  # (key, Session), oldest first

    def __len__(self):
        return len(self._all)

    def put(self, key, session):
        mine = [e for e in self._all if e[0] == key]
        if len(mine) >= self._per_host:
            self._all.remove(mine[0])
        elif len(self._all) >= self._most:
            self._all.pop(0)
        self._all.append((key, session))

    def take(self, key, now):
        """The newest fresh Session for the key, which is forgotten; or None."""
        self._all = [e for e in self._all if e[1].fresh(now)]
        for i in range(len(self._all) - 1, -1, -1):
            if self._all[i][0] == key:
                return self._all.pop(i)[1]
        return None


class TicketState:
    """What a server puts into a ticket."""

    __slots__ = ("suite", "psk", "issued_us", "age_add", "lifetime_s", "host", "alpn", "peer",
                 "early_data", "peer_until")  # fmt: skip


def _push_state(s):
    w = Writer()
    w.push_u8(_VERSION)
    w.push_u16(s.suite.id)
    push_vec8(w, s.psk)
    w.push_bytes(s.issued_us.to_bytes(8, "big"))
    w.push_u32(s.age_add)
    w.push_u32(s.lifetime_s)
    push_vec8(w, (s.host or "").encode())
    push_vec8(w, s.alpn or b"")
    w.push_u32(s.early_data)
    w.push_bytes(s.peer_until.to_bytes(8, "big"))
    push_vec16(w, s.peer or b"")
    return w.out


def _pull_state(data):
    r = Reader(data)
    s = TicketState()
    if r.pull_u8() != _VERSION:
        return None
    s.suite = suite_by_id(r.pull_u16())
    s.psk = pull_vec8(r)
    s.issued_us = int.from_bytes(r.pull_bytes(8), "big")
    s.age_add = r.pull_u32()
    s.lifetime_s = r.pull_u32()
    s.host = pull_vec8(r).decode() or None
    s.alpn = pull_vec8(r) or None
    s.early_data = r.pull_u32()
    s.peer_until = int.from_bytes(r.pull_bytes(8), "big")
    s.peer = pull_vec16(r) or None
    return s if s.suite else None


class TicketKeys:
    """Seals and opens tickets. The key changes every 12 hours; old ones open while tickets live."""

    def __init__(self, rng, lifetime_s=86400):
        self._rng = rng
        self.lifetime_s = min(lifetime_s, MAX_LIFETIME_S)
        self._keys = []  # (name, aead, made at), the newest first
        self.guard = ReplayGuard()

    def _current(self, now):
        if not self._keys or now - self._keys[0][2] >= _KEY_LIFE_US:
            fresh = (self._rng(_NAME_LEN), ChaCha20Poly1305(self._rng(32)), now)
            keep = 1 + (self.lifetime_s * 1000000 + _KEY_LIFE_US - 1) // _KEY_LIFE_US
            self._keys = ([fresh] + self._keys)[:keep]
        return self._keys[0]

    def seal(self, state, now):
        """A ticket, bytes; None if the state is too large to travel."""
        if state.peer and len(state.peer) > _MAX_PEER:
            return None
        name, aead, _ = self._current(now)
        plain = _push_state(state)
        nonce = self._rng(12)
        buf = bytearray(len(plain) + 16)
        buf[: len(plain)] = plain
        aead.seal(nonce, name, buf, 0, len(plain))
        return name + nonce + bytes(buf)

    def open(self, ticket, now):
        """The TicketState, or None for one that is not ours, altered or too old."""
        n = len(ticket) - _NAME_LEN - 28
        if n <= 0:
            return None
        for name, aead, _ in self._keys:
            if ticket[:_NAME_LEN] == name:
                buf = bytearray(ticket[_NAME_LEN + 12 :])
                if not aead.open(ticket[_NAME_LEN : _NAME_LEN + 12], name, buf, 0, n):
                    return None
                try:
                    state = _pull_state(bytes(buf[:n]))
                except ProtocolError:
                    return None
                if state and 0 <= now - state.issued_us < state.lifetime_s * 1000000:
                    return state
                return None
        return None


class ReplayGuard:
    """Strikes each 0-RTT hello off for as long as its age would let it in. RFC 8446, 8.2.

    It holds for one server that keeps running. Full, it refuses early data, not
    handshakes. 1024 entries of a 32-byte binder are 60 KB.
    """

    def __init__(self, most=1024, window_us=10000000):
        self._most = most
        self.window_us = window_us
        self._seen = {}
        self._swept = 0

    def first(self, binder, now):
        """True if the binder was not seen; it has been now."""
        if now - self._swept > self.window_us or len(self._seen) >= self._most:
            limit = now - 2 * self.window_us
            self._seen = {k: t for k, t in self._seen.items() if t > limit}
            self._swept = now
        if binder in self._seen or len(self._seen) >= self._most:
            return False
        self._seen[binder] = now
        return True
