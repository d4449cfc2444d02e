"""Out-of-order data: kept in the receive ring at its own place (RFC 9293, 3.10.7.4).

Bytes that come early are stored in the ring's storage beyond `tail`, where they
belong; here lies only a short sorted list of which ranges are filled. So nothing
is copied again, and the memory is the receive window's, already counted.

Positions are the ring's absolute ones. Ranges do not touch or overlap. Which were added
to last is remembered, since SACK reports those first (RFC 2018, 4).
"""

from micropython import const

# Ranges a connection keeps. Each is two small ints in a list: 16 bytes, so at
# most 512 bytes a connection; the bytes themselves are bounded by the window.
MAX_RANGES = const(32)
_REPORTS = const(4)  # blocks of one SACK option


class Reassembly:
    __slots__ = (
        "ring", "at", "n", "dup_pos", "dup_len", "_recent", "_told", "_k", "_told_n", "_i",
    )  # fmt: skip

    def __init__(self, ring):
        self.ring = ring
        # start, end, start, end, ...: the first n. Never grows, so nothing is allocated.
        self.at = [0] * (2 * MAX_RANGES)
        self.n = 0
        self.dup_pos = self.dup_len = 0  # what the last `add` brought a second time
        self._recent = [0] * _REPORTS
        self._told = [0] * _REPORTS
        self._k = self._told_n = self._i = 0

    def __len__(self):
        return self.n >> 1

    @property
    def ranges(self):
        """[start, end, start, end, ...], a new list."""
        return self.at[: self.n]

    def held(self):
        """Bytes held beyond the ring's tail."""
        r = self.at
        n = 0
        for i in range(0, self.n, 2):
            n += r[i + 1] - r[i]
        return n

    def end(self):
        """The position after the last byte held, or the ring's tail."""
        return self.at[self.n - 1] if self.n else self.ring.tail

    def add(self, pos, buf, off, n):
        """Keep n bytes of buf[off:] whose place is pos > ring.tail.

        False if they were not kept: too many ranges, or no memory. The caller
        has cut them to the receive window.
        """
        ring = self.ring
        r = self.at
        end = pos + n
        # Find the ranges i..j (exclusive) that touch or overlap [pos, end).
        i = 0
        m = self.n
        while i < m and r[i + 1] < pos:
            i += 2
        j = i
        while j < m and r[j] <= end:
            j += 2
        self.dup_len = 0
        if i == j and m >= 2 * MAX_RANGES:
            return False
        # The ring copies head..tail when it grows: let that cover what is held.
        tail = ring.tail
        top = r[m - 1] if m else tail
        if top > tail:
            ring.tail = top
        room = ring.reserve(end - ring.tail) if end > ring.tail else 0
        fits = ring.tail + room >= end
        ring.tail = tail
        if not fits:
            return False
        # What came first stays (a later copy may be forged): fill only the gaps.
        lo = pos
        k = i
        while k < j:
            if lo < r[k]:
                ring.put(lo, buf, off + lo - pos, r[k] - lo)
                lo = r[k]
            if lo < r[k + 1]:
                if not self.dup_len and lo < end:
                    self.dup_pos = lo
                    self.dup_len = (end if end < r[k + 1] else r[k + 1]) - lo
                lo = r[k + 1]
            k += 2
        if lo < end:
            ring.put(lo, buf, off + lo - pos, end - lo)
        self._remember(pos)
        if i == j:
            self._move(i, m, 2)
            r[i] = pos
            r[i + 1] = end
        else:
            if r[i] < pos:
                pos = r[i]
            if r[j - 1] > end:
                end = r[j - 1]
            r[i] = pos
            r[i + 1] = end
            if j > i + 2:
                self._move(j, m, i + 2 - j)
        return True

    def _move(self, i, m, by):
        """Entries i..m to i + by; the list is that much longer."""
        r = self.at
        if by > 0:
            k = m - 1
            while k >= i:
                r[k + by] = r[k]
                k -= 1
        else:
            while i < m:
                r[i + by] = r[i]
                i += 1
        self.n = m + by

    def advance(self):
        """Move the ring's tail over what is now in order; returns the bytes that became so.

        Called after bytes were appended: ranges below the new tail are forgotten.
        """
        ring = self.ring
        r = self.at
        tail = ring.tail
        m = self.n
        i = 0
        while i < m and r[i] <= ring.tail:
            if r[i + 1] > ring.tail:
                ring.tail = r[i + 1]
            i += 2
        if i:
            self._move(i, m, -i)
        return ring.tail - tail

    def clear(self):
        self.n = 0

    # -- for SACK

    def _remember(self, pos):
        """pos lies in the range that was added to last; the others follow in their order."""
        q = self._recent
        k = 0
        while k < _REPORTS - 1 and q[k] != pos:
            k += 1
        while k:
            q[k] = q[k - 1]
            k -= 1
        q[0] = pos

    def begin_report(self):
        self._k = self._told_n = 0
        self._i = self.n

    def next_report(self):
        """Index in `at` of the next range to tell of: lately added to, then the others downwards.

        To be called no more than len(self) times after `begin_report`, and `_REPORTS` times.
        """
        while self._k < _REPORTS:
            pos = self._recent[self._k]
            self._k += 1
            i = self._find(pos)
            if i >= 0 and self._tell(i):
                return i
        while True:
            self._i -= 2
            if self._tell(self._i):
                return self._i

    def _find(self, pos):
        r = self.at
        i = 0
        while i < self.n:
            if r[i] <= pos < r[i + 1]:
                return i
            i += 2
        return -1

    def _tell(self, i):
        """False if range i was told already."""
        told = self._told
        k = 0
        while k < self._told_n:
            if told[k] == i:
                return False
            k += 1
        told[k] = i
        self._told_n = k + 1
        return True
