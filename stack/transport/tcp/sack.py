"""What is out, by ranges: the scoreboard of RFC 6675, with the times that RFC 8985 wants.

Everything from SND.UNA to SND.NXT lies in ranges that touch. A range is what was sent at
one time, be it one segment or a frame of 64 KB that the device cut, until an
acknowledgment says more of a part of it:

    flag 0          on its way                          counts in the pipe
    SACKED          the peer has it                     (RFC 6675, Update)
    LOST            it must be sent again
    | RETX          was sent more than once             (Karn; RFC 8985, Segment.retransmitted)

`sacked` and `lost` are the bytes of each, so RFC 6675's pipe is what is out less both.
Where nothing is sacked or lost `snd_una` runs ahead of the board, and `append` catches up:
the ordinary acknowledgment costs nothing here.

Below are the receiver's blocks, RFC 2018 and 2883.

Not implemented: RFC 6675's NextSeg (3), (4) and its rescue retransmission: RFC 8985's
probes (rack.py) do their work.
"""

from micropython import const

from stack.core import be
from stack.transport.tcp.block import RCV_NXT

_M = const(0xFFFFFFFF)
_HALF = const(0x80000000)

SACKED = const(1)
LOST = const(2)
RETX = const(4)

# Ranges of a board: three lists of 64 small ints, 1.6 KB for a connection that has sent
# data. When full, ranges of one kind are joined; what then still does not fit is not
# noted, so it counts as on its way until the cumulative acknowledgment covers it.
MAX_RANGES = const(64)
_ROOM = const(4)  # free places that one block, one loss or one probe may need


class Scoreboard:
    """Range i, first <= i < n, is [end[i - 1], end[i]), the first begins at `start`."""

    __slots__ = (
        "start", "first", "n", "end", "at", "flag", "sacked", "lost",
        # what the acknowledgment now being read delivered
        "delivered", "new_at", "new_end", "new_rtt", "original", "min_us", "high",
        # RFC 8985 (rack.py)
        "xmit_at", "xmit_end", "rtt", "fack", "reordering", "reo_mult", "reo_persist",
        "dsack_round", "tlp_end", "tlp_retx",
        # the episode of recovery (recovery.py)
        "prr_delivered", "prr_out", "recover_fs", "undo", "retx_bytes", "retx_stamp",
    )  # fmt: skip

    def __init__(self, una):
        self.end = [0] * MAX_RANGES
        self.at = [0] * MAX_RANGES  # us
        self.flag = [0] * MAX_RANGES
        self.clear(una)
        self.delivered = self.new_at = self.new_end = self.new_rtt = 0
        self.original = False
        self.min_us = 0
        self.high = una  # RFC 5682: what was sent before the timeout ends here
        self.xmit_at = self.rtt = 0
        self.xmit_end = self.fack = una
        self.reordering = False
        self.reo_mult = 1
        self.reo_persist = 16
        self.dsack_round = -1  # None in the RFC
        self.tlp_end = -1
        self.tlp_retx = False
        self.prr_delivered = self.prr_out = self.recover_fs = 0
        self.undo = 0
        self.retx_bytes = 0
        self.retx_stamp = -1

    def clear(self, una):
        """Nothing counts as out."""
        self.start = una
        self.first = self.n = 0
        self.sacked = self.lost = 0
        self.tlp_end = -1

    # -- the sender sends

    def append(self, begin, end, now, flag, una):
        """[begin, end) was sent; begin is where the board ends."""
        n = self.n
        if n == self.first or begin == una:
            # Nothing is out: what the board still has is acknowledged.
            self.first = n = 0
            self.start = begin
        elif self.at[n - 1] == now and self.flag[n - 1] == flag:
            self.end[n - 1] = end  # the same burst
            return
        elif n == MAX_RANGES:
            if not self.sacked and not self.lost:
                self._drop_to(una)
            if self.first == self.n:
                self.start = begin
            self._make_room(MAX_RANGES - _ROOM)
            n = self.n
            if n > MAX_RANGES - _ROOM and not self.flag[n - 1] & (SACKED | LOST):
                # Later than true for a part of it: found lost later, never too early.
                self.end[n - 1] = end
                self.at[n - 1] = now
                return
        self.end[n] = end
        self.at[n] = now
        self.flag[n] = flag
        self.n = n + 1

    def resent(self, i, end, now):
        """Range i was sent again up to `end`."""
        begin = self.begin(i)
        if end != self.end[i]:
            self._split(i, end)
        if self.flag[i] & LOST:
            self.lost -= self.end[i] - begin & _M
        self.flag[i] = RETX
        self.at[i] = now

    def begin(self, i):
        return self.end[i - 1] if i > self.first else self.start

    def next_lost(self):
        """The first range to be sent again, -1: none."""
        if self.lost:
            flag = self.flag
            i = self.first
            n = self.n
            while i < n:
                if flag[i] & LOST:
                    return i
                i += 1
        return -1

    def last_segment(self, mss):
        """The range that is the last segment sent, cut off for it; -1 when it was SACKed."""
        if self.n > MAX_RANGES - _ROOM:
            self._make_room(MAX_RANGES - _ROOM)
        i = self.n - 1
        if i < self.first or self.flag[i] & SACKED:
            return -1
        begin = self.begin(i)
        n = self.end[i] - begin & _M
        if n > mss and self._split(i, begin + (n - 1) // mss * mss & _M):
            i += 1
        return i

    # -- the peer acknowledges

    def begin_ack(self, una, clean, min_us):
        """An acknowledgment is about to be read. clean: the board may lie behind `una`."""
        if clean:
            self._drop_to(una)
        self.min_us = min_us
        self.delivered = 0
        self.original = False
        self.new_at = self.new_rtt = 0

    def acked(self, una, now):
        """All before `una` is acknowledged."""
        i = self.first
        n = self.n
        b = self.start
        end = self.end
        while i < n and una - end[i] & _M < _HALF:
            self._leave(i, end[i] - b & _M, now)
            b = end[i]
            i += 1
        if i < n:
            part = una - b & _M
            if 0 < part < _HALF:
                self._leave(i, part, now)
        if i == n:
            i = n = 0
            self.n = 0
        self.first = i
        self.start = una

    def _leave(self, i, size, now):
        flag = self.flag[i]
        if flag & SACKED:
            self.sacked -= size
            return
        if flag & LOST:
            self.lost -= size
        self._deliver(i, size, now)

    def _deliver(self, i, size, now):
        """RFC 8985 6.2, steps 2 and 3, for one range; the latest sent is kept in new_*."""
        self.delivered += size
        flag = self.flag[i]
        end = self.end[i]
        at = self.at[i]
        if flag & RETX:
            # "If rtt < RACK.min_RTT: continue": this answers the first copy.
            if now - at < self.min_us:
                return
        else:
            if self.high - end & _M < _HALF:
                self.original = True
            if 0 < self.fack - end & _M < _HALF:
                self.reordering = True
        if 0 < end - self.fack & _M < _HALF:
            self.fack = end
        if at > self.new_at or (at == self.new_at and 0 < end - self.new_end & _M < _HALF):
            self.new_at = at
            self.new_end = end
            self.new_rtt = now - at

    def sack(self, lo, hi, now):
        """The peer has [lo, hi): RFC 6675, Update()."""
        if self.n > MAX_RANGES - _ROOM:
            self._make_room(MAX_RANGES - _ROOM)
        ends = self.end
        flags = self.flag
        i = self.first
        b = self.start
        while i < self.n:
            e = ends[i]
            if lo - e & _M < _HALF:
                i += 1
                b = e
                continue
            if b - hi & _M < _HALF:
                return
            if not flags[i] & SACKED:
                if 0 < lo - b & _M < _HALF:
                    if not self._split(i, lo):
                        return
                    b = lo
                    i += 1
                if 0 < e - hi & _M < _HALF:
                    if not self._split(i, hi):
                        return
                    e = hi
                size = e - b & _M
                if flags[i] & LOST:
                    self.lost -= size
                self.sacked += size
                self._deliver(i, size, now)
                flags[i] = SACKED | flags[i] & RETX
            i += 1
            b = e

    # -- the sender finds what is lost

    def mark(self, i):
        """Range i is lost."""
        if not self.flag[i] & (SACKED | LOST):
            self.flag[i] |= LOST
            self.lost += self.end[i] - self.begin(i) & _M

    def mark_first(self, n):
        """The n bytes from the board's beginning are lost, whatever was said of them."""
        if self.first == self.n:
            return
        if self.n > MAX_RANGES - _ROOM:
            self._make_room(MAX_RANGES - _ROOM)
        i = self.first
        if self.end[i] - self.start & _M > n:
            self._split(i, self.start + n & _M)
        self.mark(i)

    def mark_all(self):
        i = self.first
        while i < self.n:
            self.mark(i)
            i += 1

    def forgive(self):
        """What was called lost is on its way after all."""
        flag = self.flag
        i = self.first
        while i < self.n:
            flag[i] &= ~LOST
            i += 1
        self.lost = 0

    def renege(self):
        """RFC 2018 8: the peer may have dropped what it had told us of."""
        flag = self.flag
        i = self.first
        while i < self.n:
            flag[i] &= ~SACKED
            i += 1
        self.sacked = 0

    def find_lost(self, now, wait):
        """RFC 8985 6.2 step 5: mark what was sent before something that has arrived and is out
        for longer than `wait` us; how long until the last of the others is, 0: none waits.
        """
        end = self.end
        at = self.at
        flag = self.flag
        xmit_at = self.xmit_at
        xmit_end = self.xmit_end
        longest = 0
        i = self.first
        n = self.n
        while i < n:
            if not flag[i] & (SACKED | LOST):
                t = at[i]
                if t < xmit_at or (t == xmit_at and 0 < xmit_end - end[i] & _M < _HALF):
                    left = t + wait - now
                    if left <= 0:
                        self.mark(i)
                    elif left > longest:
                        longest = left
            i += 1
        return longest

    def find_old(self, before):
        """Mark what was sent before `before` (us)."""
        i = self.first
        while i < self.n:
            if self.at[i] <= before:
                self.mark(i)
            i += 1

    # -- places

    def _drop_to(self, una):
        """Forget the ranges before una. Nothing is sacked or lost."""
        end = self.end
        i = self.first
        n = self.n
        while i < n and una - end[i] & _M < _HALF:
            i += 1
        if i == n:
            i = n = 0
            self.n = 0
        self.first = i
        self.start = self.fack = una

    def _split(self, i, seq):
        """Cut range i at seq. False: no place."""
        n = self.n
        if n == MAX_RANGES:
            return False
        end = self.end
        at = self.at
        flag = self.flag
        k = n
        while k > i:
            end[k] = end[k - 1]
            at[k] = at[k - 1]
            flag[k] = flag[k - 1]
            k -= 1
        end[i] = seq
        self.n = n + 1
        return True

    def _make_room(self, enough):
        """To the front of the lists; neighbours of one kind are joined until n <= enough."""
        self._join(SACKED | LOST)
        if self.n > enough:
            self._join(0)

    def _join(self, kinds):
        """Join neighbours with equal flags. kinds: which, 0: also what is on its way."""
        end = self.end
        at = self.at
        flag = self.flag
        i = self.first
        n = self.n
        k = 0
        joined = False  # of what is on its way two at a time: times stay near the truth
        while i < n:
            f = flag[i]
            if k and flag[k - 1] == f and (f & kinds or (not kinds and not joined)):
                if at[i] > at[k - 1]:
                    at[k - 1] = at[i]
                end[k - 1] = end[i]
                joined = True
            else:
                end[k] = end[i]
                at[k] = at[i]
                flag[k] = f
                k += 1
                joined = False
            i += 1
        self.first = 0
        self.n = k


# -- the receiver's side


def block_count(c, room):
    """How many SACK blocks the next segment should carry, of those that fit into `room` bytes.

    RFC 2018 4: "If sent at all, SACK options SHOULD be included in all ACKs which do not ACK
    the highest sequence number in the data receiver's queue."
    """
    n = 1 if c.dup_len else 0
    if c.ooo is not None:
        n += len(c.ooo)
    most = (room - 4) >> 3
    return n if n < most else most if most > 0 else 0


def write_blocks(c, buf, o, count):
    """Write NOP, NOP and the option with `count` blocks at buf[o:].

    RFC 2883 3: a duplicate is reported first, once. RFC 2018 4: then the block that holds
    the segment which came last, then those told of most recently.
    """
    buf[o] = buf[o + 1] = 1
    buf[o + 2] = 5
    buf[o + 3] = 2 + (count << 3)
    o += 4
    if c.dup_len:
        be.put32(buf, o, c.dup_seq)
        be.put32(buf, o + 4, c.dup_seq + c.dup_len & _M)
        c.dup_len = 0
        o += 8
        count -= 1
    ooo = c.ooo
    if ooo is None or not count:
        return
    base = c.w[RCV_NXT] - c.rcv.tail
    r = ooo.at
    ooo.begin_report()
    while count:
        i = ooo.next_report()
        be.put32(buf, o, base + r[i] & _M)
        be.put32(buf, o + 4, base + r[i + 1] & _M)
        o += 8
        count -= 1
