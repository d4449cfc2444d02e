"""A device around a device that loses, doubles, reorders, corrupts, delays and slows frames.

Deterministic: the same seed, frames and times give the same faults, on every
runtime. Time comes from `clock()`; `poll_at()` says when a frame held back is
due, and rx, flush let it go.

Meant for tests: frames are copied. Faults of both directions are independent.
"""

from micropython import const

from drivers.device import Wrapper
from stack.core.frame import HEADROOM, Frame
from stack.core.mem import copy
from stack.core.timers import NEVER

# Frames held in one direction; more are lost, as in a router's queue.
_MAX_HELD = const(1000)


class Impairment:
    """What happens to the frames of one direction. Chances are per million; times in us."""

    def __init__(
        self,
        loss=0,
        duplicate=0,
        reorder=0,
        corrupt=0,
        delay_us=0,
        jitter_us=0,
        reorder_us=5000,
        bytes_per_s=0,
        queue=_MAX_HELD,
    ):
        self.loss = loss
        self.duplicate = duplicate
        self.reorder = reorder  # held back reorder_us more than the rest
        self.corrupt = corrupt  # one bit is flipped
        self.delay_us = delay_us
        self.jitter_us = jitter_us  # up to this much more, without changing the order
        self.reorder_us = reorder_us
        self.bytes_per_s = bytes_per_s  # 0: unlimited
        self.queue = queue  # frames held, at most


class _Random:
    """xorshift32: small, and the same everywhere."""

    def __init__(self, seed):
        self._x = (seed * 2654435761 + 1) & 0xFFFFFFFF or 1

    def below(self, n):
        x = self._x
        x ^= x << 13 & 0xFFFFFFFF
        x ^= x >> 17
        x ^= x << 5 & 0xFFFFFFFF
        self._x = x
        return x % n

    def chance(self, per_million):
        return per_million > 0 and self.below(1000000) < per_million


class _Line:
    """Frames of one direction on their way, ordered by when they are due."""

    def __init__(self, impairment, seed, stats):
        self._how = impairment
        self._random = _Random(seed)
        self._stats = stats
        self._held = []  # (due, frame)
        self._busy_until = 0  # the wire, at bytes_per_s
        self._last_due = 0

    def put(self, frame, now):
        """Copy the frame in, with what is to happen to it. It stays the caller's."""
        how, r = self._how, self._random
        if r.chance(how.loss):
            self._stats.drop("faults.loss")
            return
        twice = r.chance(how.duplicate)
        self._hold(frame, now)
        if twice:
            self._stats.count("faults.duplicate")
            self._hold(frame, now)

    def _hold(self, frame, now):
        how, r = self._how, self._random
        if len(self._held) >= how.queue:
            self._stats.drop("faults.queue")
            return
        f = _copy_of(frame)
        if r.chance(how.corrupt):
            self._stats.count("faults.corrupt")
            at = f.off + r.below(f.end - f.off)
            f.buf[at] ^= 1 << r.below(8)
            f.csum_ok = False
        due = now
        if how.bytes_per_s:
            start = max(now, self._busy_until)
            due = start + (f.end - f.off) * 1000000 // how.bytes_per_s
            self._busy_until = due
        due += how.delay_us
        if how.jitter_us:
            due += r.below(how.jitter_us + 1)
        if r.chance(how.reorder):
            self._stats.count("faults.reorder")
            due += how.reorder_us
        else:
            due = max(due, self._last_due)
            self._last_due = due
        self._insert(due, f)

    def _insert(self, due, f):
        held = self._held
        i = len(held)
        while i and held[i - 1][0] > due:
            i -= 1
        held.insert(i, (due, f))

    def get(self, now):
        """The next frame that is due, or None."""
        held = self._held
        if held and held[0][0] <= now:
            return held[0][1]
        return None

    def drop(self):
        """The frame that `get` gave was taken."""
        self._held.pop(0)

    def due(self):
        return self._held[0][0] if self._held else NEVER


def _copy_of(frame):
    n = frame.end - frame.off
    f = Frame(bytearray(HEADROOM + n + frame.data_len))
    copy(f.buf, HEADROOM, frame.buf, frame.off, n)
    if frame.data_len:
        copy(f.buf, HEADROOM + n, frame.data, frame.data_off, frame.data_len)
    f.end = len(f.buf)
    f.gso_size = frame.gso_size
    if frame.csum_start:
        f.csum_start = frame.csum_start - frame.off + HEADROOM
        f.csum_offset = frame.csum_offset
    f.csum_ok = frame.csum_ok
    return f


class Faults(Wrapper):
    """tx, rx: an Impairment, or None for none. clock(): now, us.

    Where frames are corrupted on the way out, checksums must be there before: the
    offloads of `inner` are hidden then.
    """

    def __init__(self, inner, clock, seed=1, tx=None, rx=None):
        super().__init__(inner)
        self._clock = clock
        self._tx = _Line(tx, seed, self.stats) if tx else None
        self._rx = _Line(rx, seed + 1000003, self.stats) if rx else None
        if tx and tx.corrupt:
            self.caps = 0
            self.gso_max = 0

    def rx(self, sink, budget):
        line = self._rx
        if line is None:
            self._send_due()
            return self.inner.rx(sink, budget)
        now = self._clock()
        self.inner.rx(lambda f: line.put(f, now), budget)
        n = 0
        while n < budget:
            f = line.get(now)
            if f is None:
                break
            line.drop()
            n += 1
            sink(f)
        self._send_due()
        return n

    def tx(self, frame):
        if self._tx is None:
            return self.inner.tx(frame)
        self._tx.put(frame, self._clock())
        frame.release()
        return True

    def flush(self):
        self._send_due()
        self.inner.flush()

    def _send_due(self):
        line = self._tx
        if line is None:
            return
        now = self._clock()
        f = line.get(now)
        while f is not None:
            if not self.inner.tx(f):
                return
            line.drop()
            f = line.get(now)

    def tx_space(self):
        return 1 if self._tx is not None else self.inner.tx_space()

    def tx_mark(self):
        return 0 if self._tx is not None else self.inner.tx_mark()

    def tx_passed(self, mark):
        # What we took was copied at once.
        return self._tx is not None or self.inner.tx_passed(mark)

    def sleep(self):
        if self.inner.sleep():
            return True
        now = self._clock()
        if self._tx is not None and self._tx.due() <= now and self.inner.tx_space():
            return True
        return self._rx is not None and self._rx.due() <= now

    def poll_at(self):
        at = self.inner.poll_at()
        if self._tx is not None:
            at = min(at, self._tx.due())
        if self._rx is not None:
            at = min(at, self._rx.due())
        return at
