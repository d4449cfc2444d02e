"""What `os` has beside MicroPython's own: urandom and a dupterm that hears Ctrl-C."""

import io

import hw
import uos
from micropython import const

from stack.api import _runtime

_POLL = const(3)
_CLOSE = const(4)
_TYPED_MAX = const(4096)  # what is typed ahead at a prompt; more waits in the stream


def urandom(n):
    """n bytes fit for keys. OSError(ENODEV) where there is neither RDRAND nor a virtio-rng."""
    if n < 0:
        raise ValueError("negative argument not allowed")
    return _runtime.current().host.rng.secret(n)


class _Term(io.IOBase):
    """A stream that is the prompt; dupterm_notify reads it ahead, so that Ctrl-C is heard."""

    def __init__(self, stream):
        self.stream = stream
        self._typed = b""
        self._writing = False
        self._missed = False
        self._behind = b""  # what callbacks print in the middle of a write

    def fill(self):
        if self._writing:  # a WebSocket is blocking while it writes, for reads too
            self._missed = True
            return
        one = bytearray(1)
        while len(self._typed) < _TYPED_MAX and self.stream.readinto(one):
            if not hw.interrupt(one[0]):
                self._typed += one

    def readinto(self, buf):
        hw.lock()  # or what notify takes meanwhile would come behind what is taken here
        try:
            n = min(len(buf), len(self._typed))
            if not n:
                return self.stream.readinto(buf)
            buf[:n] = self._typed[:n]
            self._typed = self._typed[n:]
            return n
        finally:
            hw.unlock()

    def write(self, buf):
        if self._writing:
            self._behind += buf
            return len(buf)
        self._writing = True
        try:
            n = self.stream.write(buf)
            while self._behind:
                behind, self._behind = self._behind, b""
                self.stream.write(behind)
        finally:
            self._writing = False
        if self._missed:
            self._missed = False
            self.fill()
        return n

    def ioctl(self, request, arg):
        if request == _CLOSE:
            self.stream.close()
            return 0
        if request == _POLL:
            return arg & 1 if self._typed else hw.poll(self.stream, arg)
        return -22


_terms = [None]


def dupterm(stream, index=0):
    """Put the prompt on a stream as well, or with None on none; returns the one before."""
    term = stream
    if stream is not None and not hasattr(stream, "watch"):
        term = _Term(stream)
    before = uos.dupterm(term, index)
    _terms[0] = term
    before = getattr(before, "stream", before)
    for s, wanted in ((before, False), (stream, True)):
        if hasattr(s, "watch"):
            s.watch(wanted)
    return before


def dupterm_notify(_stream):
    """Look at what was typed: what a program gives a socket as its handler."""
    term = _terms[0]
    if isinstance(term, _Term):
        term.fill()
