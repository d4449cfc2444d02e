"""The timers of a host: a heap of owners, ordered by when each wants to be called.

An owner has `timer_at` (us, ours to write), `timer_index` (ours; -1 when not
queued), `poll_at()` (when it next has something to do, or NEVER) and
`on_timer(now)`. Timers are lazy: an owner that moves its deadline later does
nothing, is called early once, and is queued again by its poll_at(). Only a
deadline that moves nearer needs `arm`. So an acknowledgment that restarts the
retransmission timer costs nothing here.
"""

from micropython import const

NEVER = const(1 << 60)
_AGAIN_US = const(10_000)  # after an owner that raised


class Timers:
    """`first_at`: when the next owner wants to be called, us, or NEVER."""

    def __init__(self):
        self._heap = []
        self._n = 0
        self.first_at = NEVER

    def __len__(self):
        return self._n

    def poll_at(self):
        return self.first_at

    def arm(self, owner, at):
        """Call owner.on_timer no later than `at`. Allocates only when the heap grows."""
        i = owner.timer_index
        if i >= 0:
            if at < owner.timer_at:
                owner.timer_at = at
                self._up(i)
                self.first_at = self._heap[0].timer_at
            return
        if at >= NEVER:
            return
        owner.timer_at = at
        i = self._n
        if i == len(self._heap):
            self._heap.append(owner)
        else:
            self._heap[i] = owner
        owner.timer_index = i
        self._n = i + 1
        self._up(i)
        self.first_at = self._heap[0].timer_at

    def cancel(self, owner):
        """Forget the owner (it is going away)."""
        i = owner.timer_index
        if i < 0:
            return
        owner.timer_index = -1
        h = self._heap
        self._n = n = self._n - 1
        last = h[n]
        h[n] = None
        if i < n:
            h[i] = last
            last.timer_index = i
            self._up(i)
            self._down(last.timer_index)
        self.first_at = h[0].timer_at if n else NEVER

    def expire(self, now):
        """Call every owner that is due, once, and queue it again by its poll_at()."""
        # As many as are queued now: an owner due again at once waits for the next poll.
        for _ in range(self._n):
            if not self._n:
                return
            owner = self._heap[0]
            if owner.timer_at > now:
                return
            self.cancel(owner)
            at = now + _AGAIN_US
            try:
                if owner.poll_at() <= now:
                    owner.on_timer(now)
                at = owner.poll_at()
            finally:
                # Also where memory ran out, or Ctrl-C came: else its time would never come again.
                if owner.timer_index < 0:
                    self.arm(owner, at)

    def _up(self, i):
        h = self._heap
        owner = h[i]
        at = owner.timer_at
        while i:
            parent = (i - 1) >> 1
            p = h[parent]
            if p.timer_at <= at:
                break
            h[i] = p
            p.timer_index = i
            i = parent
        h[i] = owner
        owner.timer_index = i

    def _down(self, i):
        h = self._heap
        n = self._n
        owner = h[i]
        at = owner.timer_at
        while True:
            child = 2 * i + 1
            if child >= n:
                break
            if child + 1 < n and h[child + 1].timer_at < h[child].timer_at:
                child += 1
            c = h[child]
            if c.timer_at >= at:
                break
            h[i] = c
            c.timer_index = i
            i = child
        h[i] = owner
        owner.timer_index = i
