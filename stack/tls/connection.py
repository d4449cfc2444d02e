"""A TLS 1.3 connection as a pure machine: bytes in, events and bytes out.

    c = Client(config, "example.org", rng, now, unix_time)      (or Server)
    c.receive(data, now)        what the transport brought; receive_eof() at its end
    c.next_event()              an event of events.py, or None: more has to come first
    c.send(data)                after HandshakeDone; how many bytes were taken
    c.data_to_send()            bytes for the transport

next_event raises a TlsError when the peer broke the protocol; the alert for it
is in data_to_send, and the machine stays closed.

Without copies between: `receive_room(n)` and `received(n)` let the transport
write into the record buffer; `out`, a Window (record.py), and `sent(n)` let it
read from there. Usual records of data may go past both: lane.py.

The handshake is a generator (client.py, server.py) that yields what is to be
done in order: messages, key changes, what it waits for. RFC 8446.
"""

from micropython import const

from stack.core.errors import ProtocolError
from stack.core.timers import NEVER
from stack.tls import alert, messages, record, schedule
from stack.tls import events as ev
from stack.tls.alert import PeerAlert, TimedOut, TlsError, Truncated
from stack.tls.events import Data, KeyUpdated, PeerClosed
from stack.tls.record import Keys, RecordReader, RecordWriter

# A Certificate message with four RSA certificates has 6 KB; a client's with a long name list 10.
_MAX_MESSAGE = const(65536)
# Messages after the handshake without data between them: tickets and key updates.
_MAX_POST = const(32)
# Records of a full buffer: more than that has to wait until some is sent.
_MAX_OUT = const(65536)


class Connection:
    """Client and Server are made of this. Attributes once HandshakeDone came:

    suite, group (number), scheme (number; None when resumed), alpn (bytes or None)
    host            the server's name: asked for, or asked for by the client
    resumed, retried, early_data_accepted
    max_fragment    the most bytes of one record that the peer takes
    peer            the peer's leaf Certificate, or None; peer_path: the verified path
    """

    is_client = False

    def __init__(self, config, rng, now, unix_time):
        self.config = config
        self.rng = rng
        self.now = now
        self.unix_time = unix_time
        self.suite = self.group = self.scheme = self.alpn = self.host = None
        self.peer = self.exporter_secret = None
        self.peer_path = ()
        self.scts = ()
        self.resumed = self.retried = self.early_data_accepted = False
        self.connected = False  # the handshake is done
        self.read_closed = False  # close_notify came
        self.write_closed = False  # close_notify was sent, or an alert
        self.error = None
        self._reader = RecordReader(config.buffers)
        self._writer = RecordWriter(config.buffers, config.pad)
        self.arrived = self._reader.window
        self.out = self._writer.window
        self.max_fragment = record.MAX_PLAINTEXT
        self.data_len = 0  # see lane.open_record
        self._events = []
        self._data = Data()
        self._messages = bytearray()  # a handshake message in parts
        self._expected = ()
        self._early_left = 0
        self._post = 0
        self._owes_update = False
        self._eof = False
        self._deadline = NEVER
        if config.handshake_us is not None:
            self._deadline = now + config.handshake_us
        self._handshake = self._flow()
        self._advance(None)

    def _flow(self):
        raise NotImplementedError

    # In

    def receive(self, data, now=None):
        """Bytes of the transport: bytes, bytearray or memoryview; they are copied."""
        if now is not None:
            self.now = now
        if self.error is None and not self.read_closed:
            self._reader.window.append(data, 0, len(data))

    def receive_room(self, n=0):
        """(buf, off, space): where the transport may write; at least n or the record's rest."""
        w = self._reader.window
        wanted = self._reader.wanted()
        w.reserve(n if n > wanted else wanted)
        return w.buf, w.end, len(w.buf) - w.end

    def received(self, n, now=None):
        """The transport wrote n bytes there."""
        if now is not None:
            self.now = now
        if self.error is None and not self.read_closed:
            self._reader.window.end += n

    def wanted(self):
        """How many bytes are missing for the next record, as far as is known; at least 1."""
        return self._reader.wanted()

    def receive_eof(self):
        """The transport has nothing more."""
        self._eof = True

    def next_event(self):
        """The next event, or None if there is none before more comes. Raises TlsError."""
        if self.error is None:
            try:
                return self._next_event()
            except TlsError as e:
                self._fail(e)
            except ProtocolError as e:  # the cursor's
                self._fail(TlsError(e.code, e.reason))
        raise self.error

    def opened(self, buf, off, n):
        """Take in a record that lane.py has opened and knows no more of: its plaintext is
        buf[off:off+n]. What comes of it, and what is wrong with it, next_event says."""
        try:
            self._reader.accept(buf, off, n)
            if self._on_record():
                self._events.append(self._data)
        except TlsError as e:
            self._fail(e)
        except ProtocolError as e:  # the cursor's
            self._fail(TlsError(e.code, e.reason))

    def unread(self):
        """Whether next_event might give something without more bytes from the transport."""
        w = self._reader.window
        return w.end > w.start or len(self._events) > 0

    def _next_event(self):
        while True:
            if self._events:
                return self._events.pop(0)
            if self.read_closed:
                self._reader.window.release()
                self._settle()
                return None
            if not self._reader.next():
                if self._eof:
                    raise self._truncated()
                self._settle()
                return None
            if self._on_record():
                return self._data

    def _truncated(self):
        if not self.connected:
            return Truncated("the peer ended the connection during the handshake")
        return Truncated("the peer ended the connection without close_notify")

    # Out

    def send(self, data, off=0, n=None):
        """Protect data[off:off+n] to be sent; how many bytes were taken, 0 when the buffer is full.

        ValueError before HandshakeDone and after send_close.
        """
        self._check_sending()
        if n is None:
            n = len(data) - off
        writer = self._writer
        taken = 0
        most = writer.limit - 1
        while taken < n:
            k = n - taken
            if k > most:
                k = most
            room = _MAX_OUT - writer.pending() - record.OVERHEAD
            if k > room:
                # Whole records, unless there is nothing to wait for.
                if writer.pending() or room <= 0:
                    break
                k = room
            self._settle_key()
            writer.put(record.APPLICATION_DATA, data, off + taken, k)
            taken += k
        return taken

    def send_key_update(self, request=False):
        """Change our key; `request`: the peer shall change its own."""
        self._check_sending()
        self._owes_update = False
        self._update_key(request)

    def send_close(self):
        """close_notify: we send no more; data may still come."""
        if not self.write_closed:
            self._send_alert(alert.LEVEL_WARNING, alert.CLOSE_NOTIFY)
            self.write_closed = True

    def data_to_send(self):
        """Everything to be sent, bytes."""
        w = self._writer.window
        out = bytes(w.buf[w.start : w.end])
        self.sent(len(out))
        return out

    def sent(self, n):
        """The transport took n bytes of `out`."""
        w = self._writer.window
        w.start += n
        if w.start >= w.end:
            w.release()

    def release(self):
        """Forget keys and give the buffers back: the connection is over."""
        self._reader.window.release()
        self._writer.window.release()
        self._reader.keys = self._writer.keys = None
        self._handshake = self.exporter_secret = None
        self.read_closed = self.write_closed = True

    # Time

    def poll_at(self):
        """When on_timer wants to be called, us."""
        return self._deadline

    def on_timer(self, now):
        """Fail the handshake that took too long: next_event raises TimedOut."""
        self.now = now
        if now >= self._deadline and self.error is None:
            self._fail(TimedOut("the handshake took too long"))

    # What a program may ask

    def export(self, label, context, n):
        """n bytes of keying material that both sides share. RFC 8446, 7.5; RFC 5705."""
        if self.exporter_secret is None:
            raise ValueError("not connected")
        return schedule.exporter(self.suite.hash, self.exporter_secret, label, context, n)

    # Inside

    def _check_sending(self):
        if self.error is not None:
            raise self.error
        if not self.connected or self.write_closed:
            raise ValueError("closed for sending" if self.write_closed else "not connected yet")

    def _settle(self):
        if self._owes_update and not self._writer.pending() and not self.write_closed:
            self._settle_key()

    def _settle_key(self):
        """Answer a KeyUpdate, once for however many; and change a key before it is worn out."""
        keys = self._writer.keys
        if self._owes_update or keys.seq >= keys.suite.record_limit:
            self._owes_update = False
            self._update_key(False)

    def _update_key(self, request):
        writer = self._writer
        writer.message(messages.push_key_update(request))
        writer.flush()
        writer.keys = writer.keys.next()

    def _send_alert(self, level, code):
        self._writer.put(record.ALERT, bytes((level, code)), 0, 2)

    def _fail(self, error):
        """The one way from a fault to an alert."""
        self.error = error
        self._deadline = NEVER
        self._handshake = None
        if isinstance(error.code, int) and not isinstance(error, PeerAlert):
            if not self.write_closed:
                self._send_alert(alert.LEVEL_FATAL, error.code)
        self.write_closed = True
        self._reader.window.release()

    def _on_record(self):
        """Take the reader's record; True if it is data for the program."""
        r = self._reader
        kind = r.kind
        if self._messages and kind != record.HANDSHAKE:
            # 5.1: "Handshake messages MUST NOT be interleaved with other record types."
            raise TlsError(alert.UNEXPECTED_MESSAGE, "a record within a handshake message")
        if kind == record.APPLICATION_DATA:
            return self._on_data(r)
        if kind == record.HANDSHAKE:
            self._on_handshake(r)
        else:
            self._on_alert(r)
        return False

    def _on_data(self, r):
        early = self._handshake is not None
        if early:
            if self._early_left < r.n or not self._early_left:
                raise TlsError(alert.UNEXPECTED_MESSAGE, "application data within the handshake")
            self._early_left -= r.n
        if r.n == 0:
            return False
        self._post = 0
        d = self._data
        d.buf = r.window.buf
        d.off = r.off
        d.n = r.n
        d.early = early
        return True

    def _on_alert(self, r):
        # 5.1: alerts "MUST NOT be fragmented", and one record has one.
        if r.n != 2:
            raise TlsError(alert.DECODE_ERROR, "an alert of %d bytes" % r.n)
        code = r.window.buf[r.off + 1]
        if code == alert.CLOSE_NOTIFY:
            self.read_closed = True
            if not self.connected:
                raise Truncated("the peer closed during the handshake")
            self._events.append(PeerClosed())
        elif code == alert.USER_CANCELED and not self.connected:
            pass  # 6.1: followed by close_notify
        else:
            # 6.2: any other is fatal, whatever its level says.
            raise PeerAlert(code, self._hint(code))

    def _hint(self, code):
        return ""

    def _on_handshake(self, r):
        """Cut the record into messages; one may begin in a record and end in another."""
        part = self._messages
        part.extend(memoryview(r.window.buf)[r.off : r.off + r.n])
        at = 0
        while len(part) - at >= 4:
            kind = part[at]
            n = part[at + 1] << 16 | part[at + 2] << 8 | part[at + 3]
            self._check_kind(kind)
            if n > _MAX_MESSAGE:
                raise TlsError(alert.ILLEGAL_PARAMETER, "a message of %d bytes" % n)
            if len(part) - at < 4 + n:
                break
            raw = bytes(part[at : at + 4 + n])
            at += 4 + n
            self._messages = part[at:]
            self._on_message(raw)
            if self.error is not None or self.read_closed:
                return
        self._messages = part[at:]

    def _check_kind(self, kind):
        if self._handshake is not None:
            if kind not in self._expected:
                raise self._unexpected(kind)
        elif kind != messages.KEY_UPDATE and kind != self._post_kind():
            raise self._unexpected(kind)

    def _unexpected(self, kind):
        what = messages.NAMES.get(kind, "message %d" % kind)
        if self._handshake is None:
            return TlsError(alert.UNEXPECTED_MESSAGE, what + " after the handshake")
        wanted = " or ".join([messages.NAMES[k] for k in self._expected])
        return TlsError(alert.UNEXPECTED_MESSAGE, "%s in the place of %s" % (what, wanted))

    def _on_message(self, raw):
        if self._handshake is not None:
            self._advance(raw)
            return
        self._post += 1
        if self._post > _MAX_POST:
            raise TlsError(alert.UNEXPECTED_MESSAGE, "too many messages without data")
        if raw[0] == messages.KEY_UPDATE:
            self._on_key_update(raw)
        else:
            self._on_post_message(raw)

    def _on_key_update(self, raw):
        if messages.pull_key_update(raw):
            self._owes_update = True
        self._end_of_record()
        self._reader.keys = self._reader.keys.next()
        self._events.append(KeyUpdated())

    def _post_kind(self):
        return -1

    def _on_post_message(self, raw):
        raise NotImplementedError

    def _end_of_record(self):
        # 5.1: "Handshake messages MUST NOT span key changes", and end with a record there.
        if len(self._messages):
            raise TlsError(alert.UNEXPECTED_MESSAGE, "a message runs over a key change")

    def _advance(self, raw):
        """Give the handshake its message, and do what it says up to the next that it waits for."""
        try:
            action = self._handshake.send(raw)
            while action[0] != ev.EXPECT:
                self._do(action)
                action = self._handshake.send(None)
            self._expected = action[1]
            self._writer.flush()
        except StopIteration:
            self._writer.flush()
            self._handshake = None
            self._expected = ()
            self._reader.ccs_allowed = False
            self._deadline = NEVER
            self.connected = True
            self._events.append(ev.HandshakeDone())

    def _do(self, action):
        what = action[0]
        writer = self._writer
        if what == ev.SEND:
            writer.message(action[1])
        elif what == ev.WRITE_KEY:
            writer.flush()
            writer.keys = None if action[1] is None else Keys(action[1], action[2])
        elif what == ev.READ_KEY:
            self._end_of_record()
            self._reader.keys = Keys(action[1], action[2])
        elif what == ev.SEND_CCS:
            writer.clear(record.CHANGE_CIPHER_SPEC, b"\x01")
        elif what == ev.SEND_EARLY:
            writer.put(record.APPLICATION_DATA, action[1], 0, len(action[1]))
        elif what == ev.SKIP_EARLY:
            self._reader.skip = action[1]
        elif what == ev.TAKE_EARLY:
            self._early_left = action[1]
        else:
            self._reader.limit = action[1]
            writer.limit = action[2]
            self.max_fragment = action[2] - 1

    def _log(self, label, random, secret):
        if self.config.key_log is not None:
            self.config.key_log("%s %s %s" % (label, _hex(random), _hex(secret)))


def _hex(data):
    return "".join(["%02x" % b for b in data])
