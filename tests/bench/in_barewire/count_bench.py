# Counts what each part of the stack costs, for tests/bench/instructions.py: under -icount a
# nanosecond of hw.ticks_us() is an instruction. A part is a method that is replaced by one
# that looks at the clock before and after.
from asyncio import core

import hw

from stack.api import _runtime

NAMES = []
SPENT = []
CALLS = []
EMPTY = [0]
MARK = [0]
_ticks = hw.ticks_us


def _wrap(o, name, label):
    f = getattr(o, name)
    i = len(NAMES)
    NAMES.append(label)
    SPENT.append(0)
    CALLS.append(0)

    def counted(a=None, b=None):
        t = _ticks()
        r = f() if a is None else f(a) if b is None else f(a, b)
        SPENT[i] += _ticks() - t
        CALLS[i] += 1
        return r

    setattr(o, name, counted)


def install():
    rt = _runtime.current()
    if not NAMES:
        EMPTY[0] = _empty()
        _wrap(rt.host, "poll", "host.poll")
        _wrap(rt.host, "flush", "host.flush")
        _wrap(rt.host, "poll_at", "host.poll_at")
        _wrap(rt.host.tcp, "flush", "tcp.flush")
        _wrap(rt, "kick", "kick")
        _wrap(rt, "on_event", "on_event")
        hw.on_event(rt.on_event)
        wait = rt.wait
        NAMES.append("idle")
        SPENT.append(0)
        CALLS.append(0)
        at = len(NAMES) - 1
        event = NAMES.index("on_event")

        def waits(until):
            t = _ticks() - SPENT[event]
            wait(until)
            SPENT[at] += _ticks() - SPENT[event] - t
            CALLS[at] += 1

        rt.wait = waits
        _wrap_poll(at)
    return zero()


def _wrap_poll(idle):
    """asyncio's look for ready tasks, less the waiting and the stack's work within it."""
    event, kick = NAMES.index("on_event"), NAMES.index("kick")
    queue = core._io_queue
    wait_io_event = queue.wait_io_event
    at = len(NAMES)
    NAMES.append("poll")
    SPENT.append(0)
    CALLS.append(0)

    def within():
        return SPENT[event] + SPENT[kick] + SPENT[idle]

    def polls(dt):
        before = within()
        t = _ticks()
        wait_io_event(dt)
        SPENT[at] += _ticks() - t - (within() - before)
        CALLS[at] += 1

    queue.wait_io_event = polls


def _empty():
    """What the look at the clock itself costs, in 1/1000 of a call."""

    class Nothing:
        def at_all(self):
            pass

    o = Nothing()
    _wrap(o, "at_all", "nothing")
    t = _ticks()
    for _ in range(1000):
        o.at_all()
    t = _ticks() - t
    NAMES.pop()
    SPENT.pop()
    CALLS.pop()
    return t


def zero():
    for i in range(len(NAMES)):
        SPENT[i] = CALLS[i] = 0
    MARK[0] = _ticks()


def take():
    """[microseconds in all, of one look, {part: [microseconds, calls]}] since the last `zero`."""
    t = _ticks() - MARK[0]
    return [t, EMPTY[0], {NAMES[i]: [SPENT[i], CALLS[i]] for i in range(len(NAMES))}]
