"""setsockopt(SOL_SOCKET, 20, handler): MicroPython's way to be called when a socket is readable.

handler(socket) is called between two bytecodes of the program, once for what has come since the
last call; of a listening socket again while connections wait.
"""

import micropython
from micropython import const

from stack.core.errors import POLLERR, POLLHUP, POLLIN

_READABLE = const(25)  # POLLIN | POLLHUP | POLLERR
assert _READABLE == POLLIN | POLLHUP | POLLERR


class Notifier:
    def __init__(self, socket, handler):
        self._socket = socket
        self._handler = handler
        self._scheduled = False
        self._call = self._run

    def wake(self, _endpoint):
        s = self._socket
        if not self._scheduled and s._ep is not None and s.events() & _READABLE:
            self._scheduled = True  # first: the call may come before schedule has returned
            try:
                micropython.schedule(self._call, None)
            except RuntimeError:
                self._scheduled = False  # the program is behind: the next event asks again

    def _run(self, _):
        self._scheduled = False
        s = self._socket
        if s._notifier is self and not s._closed:
            self._handler(s)
            if s._listening:
                self.wake(None)


def set(socket, handler):
    """Call handler from now on; None ends it."""
    if socket._notifier is not None:
        socket.poll_detach(socket._notifier)
        socket._notifier = None
    if handler is not None:
        socket._notifier = Notifier(socket, handler)
        socket.poll_attach(socket._notifier)
        socket._notifier.wake(None)
