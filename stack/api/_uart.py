"""machine.UART on the ports of a virtio console: a second serial line, as a stream.

    u = UART(1)         the first virtconsole, hvc0; UART 0 is COM1, the prompt's
    u.read(n) u.readinto(buf) u.readline() u.write(buf) u.any() u.flush() u.txdone()
    os.dupterm(u)       the prompt is there as well

Speed, parity and pins are accepted and mean nothing. `timeout` (ms, 0) is how long a read
waits for its first byte, `timeout_char` (ms, 0) for each further one. A write waits for
room up to two seconds, then gives up what the host does not take, as COM1 does.

What goes out is the host's to keep: QEMU drops what the chardev of a virtconsole does not
take at once.

Not implemented: interrupts (`irq`), sendbreak.
"""

import io

from micropython import const

from stack.api import _runtime
from stack.core import errors
from stack.core.errors import POLLERR, POLLHUP, POLLIN

_POLL = const(3)
_CLOSE = const(4)
_WRITE_US = const(2_000_000)
_TYPED_MAX = const(4096)  # what is typed ahead at a prompt; more waits at the host


class UART(io.IOBase):
    """ValueError if there is no such port."""

    _waker = None
    _poll_entry = None

    def __init__(self, id=1, *args, **options):
        self._rt = rt = _runtime.current()
        ports = rt.devices.consoles if rt.devices is not None else ()
        if not 1 <= id <= len(ports):
            raise ValueError("UART(%d) doesn't exist" % id)
        self._port = ports[id - 1]
        self._one = bytearray(1)
        self._stalled = False
        self._typed = None  # bytes taken in ahead, while this is a prompt
        self._wait_us = self._char_us = 0
        self.init(*args, **options)

    def init(self, baudrate=9600, bits=8, parity=None, stop=1, timeout=0, timeout_char=0, **_pins):
        self._wait_us = timeout * 1000
        self._char_us = timeout_char * 1000

    def deinit(self):
        self.watch(False)

    def __repr__(self):
        return "<UART on %s>" % self._port.name

    # Reading.

    def _take(self, buf):
        """What is there now, into buf; how many bytes."""
        n = 0
        if self._typed:
            n = min(len(buf), len(self._typed))
            buf[:n] = self._typed[:n]
            self._typed = self._typed[n:]
        if n < len(buf):
            n += self._port.recv_into(memoryview(buf)[n:] if n else buf)
        return n

    def readinto(self, buf, nbytes=-1):
        """Bytes read, or None if none came in time."""
        rt = self._rt
        view = memoryview(buf)
        if nbytes >= 0:
            view = view[:nbytes]
        done, deadline = 0, rt.now() + self._wait_us
        while done < len(view):
            rt.lock()
            n = self._take(view[done:])
            rt.unlock()
            done += n
            if n:
                deadline = rt.now() + self._char_us
            elif rt.now() >= deadline:
                break
            else:
                rt.wait(deadline)
        return done or None

    def read(self, nbytes=-1):
        """Up to nbytes, all that is there without a number; None if none came in time."""
        if nbytes >= 0:
            buf = bytearray(nbytes)
            n = self.readinto(buf)
            return None if n is None else bytes(buf[:n])
        out = b""
        while True:
            buf = bytearray(256)
            n = self.readinto(buf)
            out += bytes(buf[: n or 0])
            if not n or n < 256:
                return out or None

    def readline(self):
        """Bytes through a newline, or what came in time; None if none did."""
        out = bytearray()
        while not out or out[-1] != 10:
            if not self.readinto(self._one):
                break
            out.extend(self._one)
        return bytes(out) or None

    def any(self):
        """Nonzero if there is something to read."""
        return len(self._typed or b"") or self.events() & POLLIN

    # Writing.

    def write(self, buf, n=-1, length=-1):
        """Bytes that the host took, or None if it took none within two seconds.

        write(buf), write(buf, n), write(buf, offset, n)."""
        rt = self._rt
        off = 0
        if length >= 0:
            off, n = n, length
        view = memoryview(buf)[off:]
        if n >= 0:
            view = view[:n]
        done = 0
        deadline = rt.now() + (0 if self._stalled else _WRITE_US)
        while done < len(view):
            rt.lock()
            try:
                n = self._port.send(view, done, len(view) - done)
            finally:
                rt.unlock()
            done += n
            if n:
                deadline = rt.now() + _WRITE_US
                self._stalled = False
            elif rt.now() >= deadline:
                self._stalled = True
                break
            else:
                rt.wait(deadline)
        return done or None

    def txdone(self):
        """Whether the host has taken all that was written."""
        self._rt.lock()
        idle = self._port.idle()
        self._rt.unlock()
        return idle

    def flush(self):
        """Wait for that. OSError(ETIMEDOUT) after two seconds."""
        deadline = self._rt.now() + _WRITE_US
        while not self.txdone():
            if self._rt.now() >= deadline:
                raise OSError(errors.ETIMEDOUT)
            self._rt.wait(min(deadline, self._rt.now() + 1000))

    # As a prompt: Ctrl-C is to be heard while a program runs.

    def watch(self, wanted):
        """Take bytes in as they come, and let Ctrl-C interrupt."""
        self._typed = b"" if wanted else None
        self._port.listener = self.on_bytes if wanted else None

    def on_bytes(self):
        if len(self._typed) >= _TYPED_MAX:
            return
        while self._port.recv_into(self._one):
            if not self._rt.hw.interrupt(self._one[0]):
                self._typed += self._one

    # Readiness.

    def events(self):
        self._rt.lock()
        ready = self._port.events() | (POLLIN if self._typed else 0)
        self._rt.unlock()
        return ready

    def poll_attach(self, waker):
        self._port.waker = waker

    def poll_detach(self, _waker):
        self._port.waker = None

    def ioctl(self, request, arg):
        if request == _POLL:
            return self.events() & (arg | POLLERR | POLLHUP)
        if request == _CLOSE:
            return 0
        return -errors.EINVAL
