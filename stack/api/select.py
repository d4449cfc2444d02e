"""select: wait for readiness of many objects. MicroPython's `select`, driving the stack itself.

What has a waker (sockets) is looked at only after it was woken, so a thousand
quiet ones cost nothing. Other streams (sys.stdin, objects with `ioctl`) are asked
each time something has happened.
"""

import errno
import sys

from micropython import const

from stack.api import _runtime
from stack.core.errors import POLLERR, POLLHUP, POLLIN, POLLOUT
from stack.core.timers import NEVER

_ALWAYS = const(56)  # POLLERR | POLLHUP | POLLNVAL: it was closed
_ONESHOT = const(1)
# A stream that is not ours may become ready without any event; look at it this often.
_OTHERS_US = const(50000)


class _Entry:
    """One registered object. Its `wake` puts it on its poll's list of those to look at.

    `source` has the object's events(); a mask below 0: not registered now. It stays at its
    object then, for programs register and unregister the same one over and over.
    """

    __slots__ = ("poll", "mask", "queued", "next", "source", "obj", "stays")

    def __init__(self, poll):
        self.poll = poll
        self.mask = -1
        self.queued = False
        self.next = None
        self.obj = None
        self.source = None
        self.stays = False

    def wake(self, _endpoint):
        if not self.queued and self.mask >= 0:
            self.queued = True
            p = self.poll
            self.next = p._woken
            p._woken = self


def open_connection(host, port, ssl=None, server_hostname=None):
    """What asyncio calls so, see _open.py."""
    from stack.api import _open

    return (yield from _open.connection(host, port, ssl, server_hostname))


class poll:
    def __init__(self):
        # MicroPython's asyncio, which runs as it is, makes a poll when it is loaded. Its own
        # open_connection blocks in a look-up and tries a host's first address only.
        a = sys.modules.get("asyncio")
        if a is not None and sys.implementation.name == "micropython":
            a.open_connection = open_connection
        self._rt = rt = _runtime.current()
        self._lock = rt.lock
        self._unlock = rt.unlock
        self._woken = None  # entries to look at: woken, new, changed, or ready last time
        self._others = {}  # id(obj) -> [obj, mask] of those without a waker
        self._more = {}  # id(obj) -> entry, where obj has one of another poll already
        self.stirred = False  # asyncio has tasks to run that came past this poll

    def register(self, obj, eventmask=POLLIN | POLLOUT):
        try:
            e = obj._poll_entry
        except AttributeError:
            if not hasattr(obj, "ioctl") and not hasattr(obj, "read"):
                raise TypeError("stream operation not supported")  # noqa: B904
            self._others[id(obj)] = [obj, eventmask]
            return
        if e is None or e.poll is not self:
            e = self._entry(obj, e)
        self._lock()
        e.obj = obj
        e.mask = eventmask
        if not e.queued:
            e.queued = True
            e.next = self._woken
            self._woken = e
        self._unlock()

    def _entry(self, obj, e):
        """This poll's entry of obj; e is what obj has, of another poll or None."""
        key = id(obj)
        found = self._more.get(key)
        if found is None:
            found = _Entry(self)
            found.source = obj
            self._lock()
            if e is None or e.mask < 0:
                if e is not None:
                    obj.poll_detach(e)
                obj._poll_entry = found
            else:
                self._more[key] = found
            obj.poll_attach(found)
            self._unlock()
        return found

    def modify(self, obj, eventmask):
        e = getattr(obj, "_poll_entry", None)
        if e is not None and e.poll is not self:
            e = self._more.get(id(obj))
        if e is None or e.mask < 0:
            other = self._others.get(id(obj))
            if other is None:
                raise OSError(errno.ENOENT)
            other[1] = eventmask
            return
        self._lock()
        e.mask = eventmask
        e.wake(None)
        self._unlock()

    def unregister(self, obj):
        """Forget obj, if it is registered."""
        try:
            e = obj._poll_entry
        except AttributeError:
            self._others.pop(id(obj), None)
            return
        if e is None or e.poll is not self:
            e = self._more.pop(id(obj), None)
            if e is None:
                return
            e.stays = False
        self._lock()
        e.mask = -1
        e.obj = None
        if self._woken is e:  # what was told first is unregistered first
            self._woken = e.next
            e.queued = False
        if not e.stays:
            obj.poll_detach(e)
            if obj._poll_entry is e:
                obj._poll_entry = None
        self._unlock()

    def poll(self, timeout=-1, flags=0):
        """[(obj, events), ...] of those that are ready; [] after `timeout` ms."""
        ready = []
        if self._woken is not None:
            self._look(ready, flags)
        if self._others:
            self._ask_others(ready, flags)
        if not ready and timeout != 0:
            self._wait(ready, timeout, flags)
        return ready

    def ipoll(self, timeout=-1, flags=0):
        """The same as an iterator. With flags 1, what is reported has its mask set to 0."""
        if timeout == 0 and self._woken is None and not self._others:
            return _NOTHING
        return iter(self.poll(timeout, flags))

    def _wait(self, ready, timeout, flags):
        rt = self._rt
        if rt.put_off:
            self._lock()
            rt.kick(rt.now())
            self._unlock()
        deadline = NEVER
        if timeout is not None and timeout >= 0:
            deadline = rt.now() + int(timeout * 1000)
        while True:
            # The lock tells hw.wait from when on events are news; with nothing woken
            # under it, whatever comes later ends the wait.
            self._lock()
            idle = self._woken is None
            stirred = self.stirred
            self.stirred = False
            self._unlock()
            if stirred and (deadline < NEVER or _tasks()):
                return
            if idle:
                if rt.now() >= deadline:
                    return
                until = deadline
                if self._others:
                    until = min(until, rt.now() + _OTHERS_US)
                rt.wait(until)
            if self._woken is not None:
                self._look(ready, flags)
            if self._others:
                self._ask_others(ready, flags)
            if ready:
                return

    def _look(self, ready, flags):
        """Go through the woken entries; those that are ready stay on the list, in this order."""
        self._lock()
        try:
            e = self._woken
            self._woken = first = last = None
            while e is not None:
                after = e.next
                ev = 0
                e.queued = False  # looking may run the stack (TLS), and that wake this one anew
                if e.mask >= 0:
                    # Level triggered: what is ready now is looked at again next time.
                    ev = e.source.events() & (e.mask | _ALWAYS)
                if ev:
                    ready.append((e.obj, ev))
                    if flags & _ONESHOT:
                        e.mask = 0
                    if not e.queued:
                        e.queued = True
                        if last is None:
                            first = e
                        else:
                            last.next = e
                        last = e
                elif not e.queued:
                    e.next = None
                e = after
            if last is not None:
                last.next = self._woken  # woken meanwhile
                self._woken = first
        finally:
            self._unlock()

    def _ask_others(self, ready, flags):
        ask = getattr(self._rt.hw, "poll", None)
        for other in list(self._others.values()):
            obj, mask = other
            ev = ask(obj, mask) if ask else obj.ioctl(3, mask)
            if ev:
                ready.append((obj, ev))
                if flags & _ONESHOT:
                    other[1] = 0


_NOTHING = iter(())


def _tasks():
    """Whether asyncio has a task to run."""
    from asyncio import core

    return core._task_queue.peek() is not None


def select(rlist, wlist, xlist=(), timeout=None):
    """Three lists of those that are ready. timeout in seconds, None for no end."""
    p = poll()
    masks = {}
    all_ = []
    for objects, mask in ((rlist, POLLIN), (wlist, POLLOUT), (xlist, 0)):
        for obj in objects:
            m = masks.get(id(obj), -1)
            if m < 0:
                m = 0
                all_.append(obj)
            masks[id(obj)] = m = m | mask
            p.register(obj, m)
    try:
        found = p.poll(-1 if timeout is None else int(timeout * 1000))
    finally:
        for obj in all_:
            p.unregister(obj)
    events = {id(obj): ev for obj, ev in found}
    return (
        [o for o in rlist if events.get(id(o), 0) & (POLLIN | POLLHUP | POLLERR)],
        [o for o in wlist if events.get(id(o), 0) & (POLLOUT | POLLHUP | POLLERR)],
        [o for o in xlist if events.get(id(o), 0) & (POLLHUP | POLLERR)],
    )


__all__ = ("poll", "select", "POLLIN", "POLLOUT", "POLLERR", "POLLHUP")
