"""Grows programs of conversation.py: those that reach something new are kept and changed again.

The corpus is `tcp.corpus`, a line a program: base64 of its bytes. `python -m tests.fuzz` runs
it (`make fuzz`); a program that fails is made short and printed.
"""

import base64
import random
import time
from pathlib import Path

from tests.fuzz.conversation import OP, play

CORPUS = Path(__file__).with_name("tcp.corpus")
_MOST_OPS = 64
_SIZE = 400  # programs kept in the file


def read_corpus(path=CORPUS):
    """The programs of the file, bytes each."""
    if not path.exists():
        return []
    return [base64.b64decode(line) for line in path.read_text().split()]


def write_corpus(programs, path=CORPUS):
    lines = sorted({base64.b64encode(p).decode() for p in programs}, key=lambda x: (len(x), x))
    path.write_text("\n".join(lines) + "\n")


def ops_of(program):
    return [program[i : i + OP] for i in range(1, len(program) - OP + 1, OP)]


def join(first, ops):
    return bytes([first]) + b"".join(ops)


class Failure(Exception):
    """program, error: what it did."""

    def __init__(self, program, error):
        super().__init__(f"{type(error).__name__}: {error}")
        self.program, self.error = program, error


class Engine:
    def __init__(self, seed, programs=(), options=None):
        self.rng = random.Random(seed)
        self.options = options
        self.programs = []
        self.executions = self.checks = 0
        self.reached = set()
        for p in programs:
            self.try_one(p)

    def try_one(self, program):
        """Play it; keep it if it reached something new. Failure."""
        try:
            n, seen, checks = play(program, self.options)
        except Exception as e:
            raise Failure(program, e) from e
        self.executions += n
        self.checks += checks
        if not seen <= self.reached:
            self.reached |= seen
            self.programs.append(program)
            return True
        return False

    def next(self):
        """A new program: a changed one of those kept, seldom one from nothing."""
        rng = self.rng
        if not self.programs or rng.random() < 0.05:
            return rng.randbytes(1 + OP * rng.randrange(4, _MOST_OPS))
        # The newest reach farthest.
        i = len(self.programs) - 1 - int(len(self.programs) * rng.random() ** 2)
        base = self.programs[i]
        first, ops = base[0], ops_of(base)
        if rng.random() < 0.1:
            first = rng.randrange(256)
        for _ in range(rng.choice((1, 1, 2, 3, 5))):
            self._change(ops)
        return join(first, ops[:_MOST_OPS])

    def _change(self, ops):
        rng = self.rng
        what = rng.random()
        at = rng.randrange(len(ops) + 1)
        if what < 0.30:
            ops[at:at] = [rng.randbytes(OP) for _ in range(rng.choice((1, 1, 2, 4)))]
        elif what < 0.45 and len(ops) > 1:
            del ops[at - 1 : at - 1 + rng.choice((1, 1, 2, 4))]
        elif what < 0.75 and ops:
            b = bytearray(ops[at - 1])
            b[rng.randrange(OP)] = rng.randrange(256)
            ops[at - 1] = bytes(b)
        elif what < 0.85 and ops:
            ops[at:at] = [ops[at - 1]] * rng.choice((1, 2, 3, 8))
        elif what < 0.95 and self.programs:
            other = ops_of(rng.choice(self.programs))
            cut = rng.randrange(len(other) + 1)
            ops[at:] = other[cut:]
        elif len(ops) > 1:
            i, j = rng.randrange(len(ops)), rng.randrange(len(ops))
            ops[i], ops[j] = ops[j], ops[i]

    def run(self, executions, seconds, every=None):
        """Until so many executions or seconds; every(self) is called about once a second."""
        end = time.monotonic() + seconds
        tell = time.monotonic() + 1
        while self.executions < executions:
            self.try_one(self.next())
            now = time.monotonic()
            if now > end:
                break
            if every and now > tell:
                every(self)
                tell = now + 1


def shorten(program, options=None):
    """The same failure with as few operations as simple deletion finds."""

    def fails(p):
        try:
            play(p, options)
        except Exception as e:
            return type(e).__name__
        return None

    kind = fails(program)
    ops = ops_of(program)
    step = max(1, len(ops) // 2)
    while step:
        i = 0
        while i < len(ops):
            fewer = ops[:i] + ops[i + step :]
            if fails(join(program[0], fewer)) == kind:
                ops = fewer
            else:
                i += step
        step //= 2
    return join(program[0], ops)


def distil(programs, options=None):
    """The fewest programs, by greed, that reach what all reach; the shortest first."""
    kept, reached = [], set()
    for p in sorted(programs, key=len):
        seen = play(p, options)[1]
        if not seen <= reached:
            reached |= seen
            kept.append(p)
    return kept[:_SIZE]
