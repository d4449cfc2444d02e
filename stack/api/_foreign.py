"""A stream that is none of our sockets, with a connection's face: what TLS may be spoken over.

It is read by as many bytes as the next record lacks, since a blocking stream waits for
all that it is asked for; and with the stack's lock left, since it may wait for the network.
"""

from micropython import const

from stack.core.errors import POLLERR, POLLHUP, POLLOUT

_POLL = const(3)
_SPACE = const(65536)


class StreamEnd:
    exact = True
    remote_addr = remote_port = 0

    def __init__(self, stream, hw):
        self._stream = stream
        self._hw = hw
        self._ask = getattr(hw, "poll", None)
        self.waker = None
        self._eof = self.ready = False
        self.error = 0

    def recv_len(self):
        """A record's header: the machine asks for more when it knows of more."""
        return 0 if self._eof else 5

    def send_space(self):
        return _SPACE

    def eof(self):
        return self._eof

    def events(self):
        if self._ask is not None:
            return self._ask(self._stream, 5 | POLLERR | POLLHUP)
        if hasattr(self._stream, "ioctl"):
            return self._stream.ioctl(_POLL, 5 | POLLERR | POLLHUP)
        return POLLOUT

    def recv_into(self, buf, off, n, now):
        self._hw.unlock()
        try:
            got = self._stream.readinto(memoryview(buf)[off : off + n])
        finally:
            self._hw.lock()
        if got == 0:
            self._eof = True
        return got or 0

    def send(self, data, off, n, now):
        self._hw.unlock()
        try:
            return self._stream.write(memoryview(data)[off : off + n]) or 0
        finally:
            self._hw.lock()
