"""Out-of-order data: kept in the receive ring at its own place (RFC 9293, 3.10.7.4).

Bytes that come early are stored in the ring's storage beyond `tail`, where they
belong; here lies only a short sorted list of which ranges are filled. So nothing
is copied again, and the memory is the receive window's, already counted.

Positions are the ring's absolute ones. Ranges do not touch or overlap.

Not implemented: SACK blocks made of the ranges (RFC 2018); `newest` is the one
that such a report begins with.
"""

from micropython import const

# Ranges a connection keeps. Each is two small ints in a list: 16 bytes, so at
# most 512 bytes a connection; the bytes themselves are bounded by the window.
MAX_RANGES = const(32)


class Reassembly:
    __slots__ = ("ring", "ranges", "newest")

    def __init__(self, ring):
        self.ring = ring
        self.ranges = []  # start, end, start, end, ...
        self.newest = 0  # start of the range that was added to last

    def __len__(self):
        return len(self.ranges) >> 1

    def held(self):
        """Bytes held beyond the ring's tail."""
        r = self.ranges
        n = 0
        for i in range(0, len(r), 2):
            n += r[i + 1] - r[i]
        return n

    def end(self):
        """The position after the last byte held, or the ring's tail."""
        r = self.ranges
        return r[-1] if r else self.ring.tail

    def add(self, pos, buf, off, n):
        """Keep n bytes of buf[off:] whose place is pos > ring.tail.

        False if they were not kept: too many ranges, or no memory. The caller
        has cut them to the receive window.
        """
        ring = self.ring
        r = self.ranges
        end = pos + n
        # Find the ranges i..j (exclusive) that touch or overlap [pos, end).
        i = 0
        m = len(r)
        while i < m and r[i + 1] < pos:
            i += 2
        j = i
        while j < m and r[j] <= end:
            j += 2
        if i == j and m >= 2 * MAX_RANGES:
            return False
        # The ring copies head..tail when it grows: let that cover what is held.
        tail = ring.tail
        top = self.end()
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
            if lo < r[k + 1]:
                lo = r[k + 1]
            k += 2
        if lo < end:
            ring.put(lo, buf, off + lo - pos, end - lo)
        if i == j:
            r.insert(i, end)
            r.insert(i, pos)
        else:
            if r[i] < pos:
                pos = r[i]
            if r[j - 1] > end:
                end = r[j - 1]
            r[i] = pos
            r[i + 1] = end
            while j > i + 2:
                r.pop(i + 2)
                r.pop(i + 2)
                j -= 2
        self.newest = pos
        return True

    def advance(self):
        """Move the ring's tail over what is now in order; returns the bytes that became so.

        Called after bytes were appended: ranges below the new tail are forgotten.
        """
        ring = self.ring
        r = self.ranges
        tail = ring.tail
        while r and r[0] <= ring.tail:
            if r[1] > ring.tail:
                ring.tail = r[1]
            r.pop(0)
            r.pop(0)
        return ring.tail - tail

    def clear(self):
        self.ranges = []
