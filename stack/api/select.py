"""select: wait for readiness of many objects. MicroPython's `select`, driving the stack itself.

What has a waker (sockets) is looked at only after it was woken, so a thousand
quiet ones cost nothing. Other streams (sys.stdin, objects with `ioctl`) are asked
each time something has happened.
"""

import errno

from micropython import const

from stack.api import _runtime
from stack.core.errors import POLLERR, POLLHUP, POLLIN, POLLOUT
from stack.core.timers import NEVER

_ALWAYS = const(24)  # POLLERR | POLLHUP
_ONESHOT = const(1)
# A stream that is not ours may become ready without any event; look at it this often.
_OTHERS_US = const(50000)


class _Entry:
    """One registered object. Its `wake` puts it on its poll's list of those to look at."""

    __slots__ = ("obj", "mask", "poll", "queued", "next")

    def __init__(self, obj, poll):
        self.obj = obj
        self.mask = 0
        self.poll = poll
        self.queued = False
        self.next = None

    def wake(self, _endpoint):
        if not self.queued:
            self.queued = True
            p = self.poll
            self.next = p._woken
            p._woken = self


class poll:
    def __init__(self):
        self._rt = _runtime.current()
        self._entries = {}  # id(obj) -> entry, for objects with a waker
        self._others = {}
        self._woken = None  # entries to look at: woken, new, changed, or ready last time

    def register(self, obj, eventmask=POLLIN | POLLOUT):
        rt = self._rt
        key = id(obj)
        if not hasattr(obj, "poll_attach"):
            if hasattr(obj, "ioctl") or hasattr(obj, "read"):
                self._others[key] = [obj, eventmask]
                return
            raise TypeError("stream operation not supported")
        rt.lock()
        try:
            e = self._entries.get(key)
            if e is None:
                e = obj._poll_entry
                # Programs register and unregister the same object over and over.
                if e is None or e.poll is not self:
                    e = _Entry(obj, self)
                    if obj._poll_entry is None:
                        obj._poll_entry = e
                self._entries[key] = e
                obj.poll_attach(e)
            e.mask = eventmask
            e.wake(None)
        finally:
            rt.unlock()

    def modify(self, obj, eventmask):
        e = self._entries.get(id(obj))
        if e is not None:
            self._rt.lock()
            e.mask = eventmask
            e.wake(None)
            self._rt.unlock()
            return
        other = self._others.get(id(obj))
        if other is None:
            raise OSError(errno.ENOENT)
        other[1] = eventmask

    def unregister(self, obj):
        """Forget obj, if it is registered."""
        key = id(obj)
        e = self._entries.pop(key, None)
        if e is not None:
            e.mask = -1  # still on the list, perhaps: dropped when its turn comes
            obj.poll_detach(e)
        elif key in self._others:
            del self._others[key]

    def poll(self, timeout=-1, flags=0):
        """[(obj, events), ...] of those that are ready; [] after `timeout` ms."""
        rt = self._rt
        deadline = NEVER
        if timeout is not None and timeout >= 0:
            deadline = rt.now() + int(timeout * 1000)
        ready = []
        while True:
            if self._woken is not None:
                self._look(ready, flags)
            if self._others:
                self._ask_others(ready, flags)
            if ready or timeout == 0:
                return ready
            # The lock tells hw.wait from when on events are news; with nothing woken
            # under it, whatever comes later ends the wait.
            rt.lock()
            idle = self._woken is None
            rt.unlock()
            if idle:
                if rt.now() >= deadline:
                    return ready
                until = deadline
                if self._others:
                    until = min(until, rt.now() + _OTHERS_US)
                rt.wait(until)

    def ipoll(self, timeout=-1, flags=0):
        """The same as an iterator. With flags 1, what is reported has its mask set to 0."""
        return iter(self.poll(timeout, flags))

    def _look(self, ready, flags):
        """Go through the woken entries; those that are ready stay on the list."""
        rt = self._rt
        rt.lock()
        try:
            e = self._woken
            self._woken = None
            while e is not None:
                after = e.next
                e.next = None
                e.queued = False
                if e.mask >= 0:
                    # Level triggered: what is ready now is looked at again next time.
                    ev = e.obj.events() & (e.mask | _ALWAYS)
                    if ev:
                        ready.append((e.obj, ev))
                        if flags & _ONESHOT:
                            e.mask = 0
                        e.wake(None)
                e = after
        finally:
            rt.unlock()

    def _ask_others(self, ready, flags):
        ask = getattr(self._rt.hw, "poll", None)
        for other in list(self._others.values()):
            obj, mask = other
            ev = ask(obj, mask | _ALWAYS) if ask else obj.ioctl(3, mask | _ALWAYS)
            if ev:
                ready.append((obj, ev))
                if flags & _ONESHOT:
                    other[1] = 0


def select(rlist, wlist, xlist=(), timeout=None):
    """Three lists of those that are ready. timeout in seconds, None for no end."""
    p = poll()
    masks = {}
    for objects, mask in ((rlist, POLLIN), (wlist, POLLOUT), (xlist, 0)):
        for obj in objects:
            m = masks.get(id(obj), 0) | mask
            masks[id(obj)] = m
            p.register(obj, m)
    try:
        found = p.poll(-1 if timeout is None else int(timeout * 1000))
    finally:
        for obj in [e.obj for e in p._entries.values()]:
            p.unregister(obj)
    events = {id(obj): ev for obj, ev in found}
    return (
        [o for o in rlist if events.get(id(o), 0) & (POLLIN | POLLHUP | POLLERR)],
        [o for o in wlist if events.get(id(o), 0) & (POLLOUT | POLLHUP | POLLERR)],
        [o for o in xlist if events.get(id(o), 0) & (POLLHUP | POLLERR)],
    )


__all__ = ("poll", "select", "POLLIN", "POLLOUT", "POLLERR", "POLLHUP")
