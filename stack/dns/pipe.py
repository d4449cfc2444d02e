"""Questions that share a connection: answers come in any order. RFC 7766, sections 6.2.1 and 7.

A pure machine over a stream (TCP or TLS):

    t = p.push(message)      a Ticket; p.out has bytes to be sent, which the shell takes away
    p.receive(data)          sets `answer` of the Tickets whose answers have come
    p.forget(t)              nobody waits for it any more

Each message gets an id that no other on the connection has; an answer has that of its
question again. Not implemented: RFC 8490 (session signalling), zone transfers.
"""

from micropython import const

from stack.core import errors

# Questions under way on one connection; with a message of at most 512 bytes each, 16 KB.
PIPELINE_MAX = const(32)


class Ticket:
    """A question on its way. `answer`: bytes once it is there; `lost`: none will come."""

    def __init__(self, id, message):
        self.id = id  # on the connection
        self.head = message[:2]
        self.answer = None
        self.lost = False
        self.waker = None


class Pipe:
    def __init__(self, rng, stats):
        self._rng = rng
        self._stats = stats
        self._open = {}
        self._in = bytearray()
        self.out = bytearray()

    def __len__(self):
        """How many questions are under way."""
        return len(self._open)

    def push(self, message):
        """A Ticket for a message (bytes). OSError(EAGAIN): too many are under way."""
        if len(self._open) >= PIPELINE_MAX:
            raise OSError(errors.EAGAIN)
        while True:
            seed = self._rng(2)
            id = seed[0] << 8 | seed[1]
            if id not in self._open:
                break
        t = Ticket(id, bytes(message[:2]))
        self._open[id] = t
        n = len(message)
        self.out.extend(bytes((n >> 8, n & 0xFF, id >> 8, id & 0xFF)))
        self.out.extend(message[2:])
        return t

    def tickets(self):
        return list(self._open.values())

    def forget(self, t):
        if self._open.get(t.id) is t:
            del self._open[t.id]

    def receive(self, data):
        """Bytes from the connection, in any pieces. A list of the Tickets that were answered."""
        s = self._in
        s.extend(data)
        done = []
        at = 0
        have = len(s)
        while have - at >= 2:
            n = s[at] << 8 | s[at + 1]
            if have - at < 2 + n:
                break
            t = self._open.get(s[at + 2] << 8 | s[at + 3]) if n >= 12 else None
            if t is None:
                # Late, or never asked for.
                self._stats.drop("dns.pipe_id")
            else:
                del self._open[t.id]
                t.answer = t.head + bytes(s[at + 4 : at + 2 + n])
                done.append(t)
            at += 2 + n
        if at:
            self._in = s[at:]
        return done

    def lose(self):
        """The connection is gone: all Tickets are lost; a list of them."""
        gone = list(self._open.values())
        self._open = {}
        for t in gone:
            t.lost = True
        return gone
