"""A TLS connection as an endpoint: on top a TCP connection's face, below another endpoint.

What reads and writes sockets, polls them or waits for them (socket.py, select.py,
_streams.py) takes one of these in the place of a connection and needs not know. The
machine (stack/tls) runs in the program's calls, `events` among them, so that a poll
tells about plaintext and not about records. Everything here is called under the lock.

Not implemented: DTLS.
"""

from micropython import const

from stack.core import errors
from stack.core.errors import POLLERR, POLLHUP, POLLIN, POLLOUT
from stack.core.mem import copy as _copy
from stack.tls import alert
from stack.tls.alert import CertificateError, TlsError
from stack.tls.events import Data, HandshakeDone, PeerClosed
from stack.tls.lane import open_record, seal_record

# mbedTLS's numbers, which programs for boards know: by alert, and for what is no alert.
EOF = const(-0x7280)
VERIFY_FAILED = const(-0x2700)
TIMED_OUT = const(-0x6800)
_FATAL_ALERT = const(-0x7780)
_NUMBERS = {
    alert.UNEXPECTED_MESSAGE: -0x7700,
    alert.BAD_RECORD_MAC: -0x7180,
    alert.RECORD_OVERFLOW: -0x7200,
    alert.HANDSHAKE_FAILURE: -0x6E00,
    alert.ILLEGAL_PARAMETER: -0x6600,
    alert.DECODE_ERROR: -0x7300,
    alert.DECRYPT_ERROR: -0x7A80,
    alert.PROTOCOL_VERSION: -0x6E80,
    alert.NO_APPLICATION_PROTOCOL: -0x7580,
    alert.CERTIFICATE_REQUIRED: -0x7480,
}
_OTHER = const(-0x7200)

# Read at once from the transport: two records.
_READ_MOST = const(32768)
# A record that is worth its 22 bytes and its cipher's start, unless the data end sooner.
_SEND_LEAST = const(512)
_OVERHEAD = const(22)
_HEADER = const(5)


class SSLError(OSError):
    """An OSError whose errno is mbedTLS's number; str() says in words what is wrong."""

    def __init__(self, number, words=""):
        super().__init__(number, words)
        self.reason = words

    def __str__(self):
        return self.reason


class SSLCertVerificationError(SSLError):
    """The peer's certificate was refused. `kind` is a word of stack/tls/README.md: "expired"."""

    kind = ""


def to_os_error(e):
    """The SSLError for a machine's TlsError."""
    if isinstance(e, CertificateError):
        error = SSLCertVerificationError(VERIFY_FAILED, e.reason)
        error.kind = e.kind
        return error
    if isinstance(e, alert.PeerAlert):
        return SSLError(_FATAL_ALERT, e.reason)
    if isinstance(e, alert.Truncated):
        return SSLError(EOF, e.reason)
    if isinstance(e, alert.TimedOut):
        return SSLError(TIMED_OUT, e.reason)
    return SSLError(_NUMBERS.get(e.code, _OTHER), str(e))


class TlsEndpoint:
    """machine: a stack.tls Client or Server. below: a TCP connection or what looks like one."""

    def __init__(self, rt, below, machine):
        self._rt = rt
        self._below = below
        self.machine = machine
        self.waker = None
        self.error = 0  # none by number: what went wrong is raised with its words
        self.failure = None
        self._eof = False
        self.early = 0  # so many of the first bytes were sent before the handshake was done
        self._held = None
        self._buf = None
        self._off = 0
        self._left = 0
        self._told_eof = False
        self._exact = getattr(below, "exact", False)
        self._rcv = getattr(below, "rcv", None)  # TCP's ring: records can be opened in it
        self._in = machine.arrived
        self._out = machine.out
        self._send = False  # something waits in the connection below
        self.timer_at = 0
        self.timer_index = -1
        below.waker = self
        # A ticket in flight must not hold the answer behind it back until it is acknowledged.
        below.nodelay = True
        rt.host.timers.arm(self, machine.poll_at())
        self._flush(rt.now())

    # What the stack calls.

    def wake(self, _below):
        if self._out.end != self._out.start:
            self._flush(self._rt.now())
        if self.waker is not None:
            self.waker.wake(self)

    def poll_at(self):
        return self.machine.poll_at()

    def on_timer(self, now):
        self.machine.on_timer(now)
        self.wake(None)

    # A connection's face.

    # `ready` is the connection's below, by __getattr__: with a property in its class each store
    # to an instance costs MicroPython three look-ups more.

    def recv_len(self):
        return self._left

    def eof(self):
        return self._eof

    def events(self):
        """POLL bits of the plaintext: POLLOUT after the handshake, all when it has failed."""
        m = self.machine
        if self.failure is None:
            try:
                self.advance(self._rt.now())
            except OSError:
                pass  # raised again by who reads or writes
        if self.failure is not None:
            return POLLIN | POLLOUT | POLLERR | POLLHUP
        below = self._below.events()
        bits = 0
        if self._left or self._eof:
            bits = POLLIN
        if m.connected and below & POLLOUT and not len(self._out):
            bits |= POLLOUT
        if self._eof and below & POLLHUP:
            bits |= POLLHUP
        return bits

    def recv_into(self, buf, off, n, now):
        """Up to n bytes of plaintext into buf[off:]; 0 when there are none now. OSError."""
        left = self._left
        if not left:
            ring = self._rcv
            if ring is not None and ring.tail != ring.head and self.failure is None:
                at = ring.head
                k = ring.tail - at
                room = ring.size
                at &= room - 1
                held = ring.buf
                if at + k > room:  # it runs around the ring's end
                    held, at, k = self._unrolled(ring, at, k)
                m = self.machine
                k = open_record(m, held, at, k)
                if k:
                    got = m.data_len
                    if 0 < got <= n:
                        _copy(buf, off, held, at + _HEADER, got)
                        self._below.recv_into(None, 0, k, now)
                        return got
                    self._take_opened(held, at, k, now)
            if not self.advance(now):
                return 0
            left = self._left
        if n > left:
            n = left
        at = self._off
        _copy(buf, off, self._buf, at, n)
        self._off = at + n
        self._left = left - n
        return n

    def _unrolled(self, ring, at, k):
        """(buf, off, n): the next record of the k bytes in TCP's ring at `at`, as open_record
        wants it. What is opened elsewhere than in the ring is taken from there."""
        n = ring.size - at
        if n < _HEADER or n < _HEADER + (ring.buf[at + 3] << 8 | ring.buf[at + 4]):
            rt = self._rt
            if k > rt.scratch_len:
                k = rt.scratch_len
            ring.peek(ring.head, rt.scratch, 0, k)
            return rt.scratch, 0, k
        return ring.buf, at, n

    def _take_opened(self, buf, at, n, now):
        """A record was opened in TCP's ring that is no data, or more than is wanted now."""
        try:
            self.machine.opened(buf, at + _HEADER, n - _OVERHEAD + 1)
        except MemoryError:
            self._fail(OSError(errors.ENOMEM), now)
            raise self.failure  # noqa: B904
        self._below.recv_into(None, 0, n, now)
        if self._below.ready:
            self._send = True

    def more(self):
        """Whether there may be something to read of which no wake will tell."""
        ring = self._rcv
        w = self._in
        return (
            self._left
            or w.end != w.start
            or len(self.machine._events)
            or (self._below.recv_len() if ring is None else ring.tail != ring.head)
        )

    def find(self, byte, n):
        """How many bytes of plaintext, of n at most, go up to and with `byte` (bytes of one)."""
        if not self._left and not self.advance(self._rt.now()):
            return 0
        if n > self._left:
            n = self._left
        at = self._off
        end = bytes(memoryview(self._buf)[at : at + n]).find(byte)
        return n if end < 0 else end + 1

    def send(self, data, off, n, now):
        """How many bytes of data[off:] were taken; 0 without room or before the handshake's end.
        As with a connection the caller kicks, to have them leave."""
        m = self.machine
        if self.failure is not None:
            raise self.failure
        if not m.connected:
            self.advance(now)
            if not m.connected:
                return 0
        if m.write_closed:
            raise OSError(errors.EPIPE)
        below = self._below
        if 0 < n <= m.max_fragment and self._rcv is not None:
            # Most often it is one record.
            k = n + _OVERHEAD
            at = below.place(k)
            if 0 <= at:
                ring = below.snd
                if at + k <= ring.size and seal_record(m, ring.buf, at, data, off, n):
                    below.placed(k)
                    self._send = False
                    return n
        taken = 0
        # Only what the connection below takes, so that nothing lies here and waits.
        while taken < n:
            space = below.send_space() - _OVERHEAD
            k = n - taken
            if k > space:
                if space < _SEND_LEAST:
                    below.events()  # it takes note that somebody waits
                    break
                k = space
            if k > m.max_fragment:
                k = m.max_fragment
            sent = self._seal(data, off + taken, k, now)
            if sent:
                taken += sent
                continue
            if not self._flush(now):
                break
            taken += m.send(data, off + taken, k)
            self._flush(now)
        if taken:
            self._send = False  # who sends kicks
            return taken
        self._kick(now)
        if below.events() & (POLLERR | POLLHUP):
            raise OSError(below.error or errors.EPIPE)
        return 0

    def _seal(self, data, off, n, now):
        """A record with n bytes of data or less is made in TCP's ring; how many, 0: not there."""
        if self._rcv is None:
            return 0
        below = self._below
        at = below.place(n + _OVERHEAD)
        if at < 0:
            return 0
        ring = below.snd
        k = ring.size - at - _OVERHEAD
        if k < n:
            # Around the ring's end: less, or by way of other bytes.
            if k < _SEND_LEAST:
                return self._seal_aside(data, off, n, now)
            n = k
        k = seal_record(self.machine, ring.buf, at, data, off, n)
        if not k:
            return 0
        below.placed(k)
        return n

    def _seal_aside(self, data, off, n, now):
        rt = self._rt
        if n + _OVERHEAD > rt.scratch_len or data is rt.scratch or data is rt.scratch_view:
            return 0
        k = seal_record(self.machine, rt.scratch, 0, data, off, n)
        if not k:
            return 0
        self._below.send(rt.scratch, 0, k, now)  # there was room for it
        return n

    def push(self, now):
        """Send what the machine was told to say."""
        self._flush(now)
        self._kick(now)

    def shutdown(self, now):
        self._end(now)
        self._below.shutdown(now)

    def close(self, now):
        self.finish(now)
        self._below.close(now)

    def abort(self, now):
        self.finish(now)
        self._below.abort(now)

    def finish(self, now):
        """close_notify; the machine gives its buffers back. The connection below stays."""
        self._end(now)
        self._drain(now)
        self.waker = None
        self._below.waker = None
        self._left = 0
        self._rt.host.timers.cancel(self)
        self.machine.release()
        if self.failure is None:
            self.failure = OSError(errors.EBADF)

    def __getattr__(self, name):
        # Addresses, nodelay, keepalive, state; not the rings, which hold what is encrypted.
        if name[0] == "_" or name in ("rcv", "snd"):
            raise AttributeError(name)
        return getattr(self._below, name)

    # The machine's work.

    def handshake(self, now):
        """True when the handshake is done. OSError says why it failed."""
        m = self.machine
        if not m.connected:
            self.advance(now)
        return m.connected and not len(self._out)

    def advance(self, now):
        """Take in what has come until there is plaintext; False if there is none now. OSError."""
        if self.failure is not None:
            raise self.failure
        try:
            while not self._left:
                e = self.machine.next_event()
                if e is None:
                    if self._eof or not self._fill(now):
                        break
                elif not isinstance(e, Data):
                    self._on_event(e)
                elif e.early:
                    # Read after the handshake, which goes on behind it; the machine bounds it.
                    self._held = (self._held or b"") + e.tobytes()
                else:
                    self._buf = e.buf
                    self._off = e.off
                    self._left = e.n
            if len(self._out):
                self._flush(now)
            self._kick(now)
            return self._left > 0
        except TlsError as e:
            error = to_os_error(e)
        except MemoryError:
            error = OSError(errors.ENOMEM)
        except OSError as e:
            error = e
        self._fail(error, now)
        raise error

    def _on_event(self, e):
        if isinstance(e, PeerClosed):
            self._eof = True
        elif isinstance(e, HandshakeDone):
            self._rt.host.timers.cancel(self)
            if self._held is not None:
                self._buf = self._held
                self._off = 0
                self._left = self.early = len(self._held)
                self._held = None
        # Else a key update, or a ticket, which is in the context's sessions already.

    def _fill(self, now):
        """Bytes from below into the machine, or its end; False if there is neither."""
        m = self.machine
        below = self._below
        have = below.recv_len()
        if have:
            buf, off, space = m.receive_room(have if have < _READ_MOST else _READ_MOST)
            if self._exact:
                space = m.wanted()
            got = below.recv_into(buf, off, space, now)
            m.received(got, now)
            if below.ready:
                self._send = True
            if got:
                return True
        if self._told_eof:
            return False
        error = below.error
        if not error and not below.eof() and not below.events() & POLLHUP:
            return False
        self._told_eof = True
        if error and not (m.connected and m.read_closed):
            raise OSError(error)
        m.receive_eof()
        return True

    def _flush(self, now):
        """What the machine has to say goes below; True if all of it did. `_kick` sends it."""
        out = self._out
        n = out.end - out.start
        if not n:
            return True
        try:
            took = self._below.send(out.buf, out.start, n, now)
        except OSError:
            return False  # reading will tell what happened, and send does
        if took:
            self.machine.sent(took)
            self._send = True
        return took == n

    def _drain(self, now):
        """Take in what lies below, such as tickets: TCP resets a connection closed over data."""
        try:
            self._left = 0
            while self.failure is None and self.advance(now):
                self._left = 0
        except OSError:
            pass

    def _kick(self, now):
        if self._send:
            self._send = False
            self._rt.kick(now)

    def _end(self, now):
        m = self.machine
        if m.error is None and m.connected:
            m.send_close()
        self._flush(now)
        self._kick(now)

    def _fail(self, error, now):
        """Say the alert, if there is one, and stay failed."""
        self.failure = error
        self._left = 0
        self._rt.host.timers.cancel(self)
        self._flush(now)
        self._kick(now)
