"""A connection of HTTP/2 as a pure machine, client or server. RFC 9113, 8441, 9218.

    c = Connection(client=False)       c.data_to_send() -> bytes for the transport
    c.receive(data)                    c.next_event() -> Event or None
    s = c.request(fields, end)         the client's; a server gets its stream by REQUEST
    c.send_headers(s, fields, end)     1xx and the head of a message
    c.send_data(s, data, end) -> n     bytes taken; less than all: wait for WRITABLE
    c.send_trailers(s, fields)         c.reset(s, code)
    c.consumed(s, n)                   n bytes of DATA events were used up: gives credit
    c.ping(data)  c.goaway()  c.closing, c.streams

A broken connection raises ProtocolError(code, reason) once from next_event, with the
GOAWAY still to be sent, and says no more. A broken stream is reset and comes out as RESET.

What a peer can make us hold: flow.py's sum of unread bodies, _OUT_STREAM bytes to send
a stream, _BLOCK_MAX of one field block in _BLOCK_FRAMES frames, _CONTROL_MAX of answers
that it does not read, _ABUSE streams begun and broken off more than completed ones
(rapid reset), _EMPTY frames of DATA with nothing in them.
Not implemented: server push (refused), HTTP/2 by Upgrade (RFC 9113 dropped it).
"""

from micropython import const

from stack.http.h2 import flow, frames, hpack
from stack.http.h2.events import WRITABLE, Event
from stack.http.h2.frames import CANCEL, FRAME_MAX, NO_ERROR, PREFACE, push32, push_header
from stack.http.h2.inbound import DIRECT_MAX, STREAMS_MAX, Inbound
from stack.http.h2.stream import (
    CLOSED,
    HALF_LOCAL,
    OPEN,
    SEND_DATA,
    SEND_END,
    SEND_HEADERS,
    SEND_RST,
)

_WINDOW_SERVER = const(16384)  # 100 of them and GROWTH: 2.6 MB unread at most
_WINDOW_CLIENT = const(65535)  # 7.6 MB, if 100 responses are asked for and none is read
_OUT_STREAM = const(32768)
_OUT_MIN = const(1024)  # room that WRITABLE promises
_LIST_MAX = const(65536)
_RESET_IDS = const(128)  # streams that we reset: what was under way is swallowed


class Connection(Inbound):
    def __init__(self, client, max_streams=STREAMS_MAX, connect_protocol=True):
        self.client = client
        self.streams = {}
        self.closing = False  # a GOAWAY was sent or has come: no new streams
        self.failed = None
        self.settled = False  # the peer's SETTINGS have come
        self.peer_streams = STREAMS_MAX  # until it says otherwise, what 6.5.2 recommends
        self.peer_connect_protocol = False
        self.sent = 0  # bytes of bodies and heads handed out, for who watches progress
        self._buf = bytearray()
        self._pos = 0
        self._preface = 0 if client else len(PREFACE)
        self._events = []
        self._out = bytearray()
        self._ready = []  # streams with something to send, in turn
        self._encoder = hpack.Encoder()
        self._decoder = hpack.Decoder(_LIST_MAX)
        self._block = None
        self._block_flags = self._block_frames = 0
        self._block_stream = 0
        self._next_id = 1 if client else 2
        self._last_peer = 0
        self._reset_ids = []
        self._max_streams = max_streams
        self._abuse = self._empty = 0
        self._good = None
        # Flow control.
        w = _WINDOW_CLIENT if client else _WINDOW_SERVER
        self._stream_window = w
        self._acked = False  # until then the peer may go by the default window
        self._window = flow.Window(max_streams * w + flow.GROWTH)
        self._growth = flow.GROWTH
        self._send_window = frames.DEFAULT_WINDOW
        self._peer_window = frames.DEFAULT_WINDOW
        # Ours.
        settings = [(frames.MAX_HEADER_LIST_SIZE, _LIST_MAX), (frames.INITIAL_WINDOW_SIZE, w)]
        if client:
            self._out.extend(PREFACE)
            settings.append((frames.ENABLE_PUSH, 0))
        else:
            settings.append((frames.MAX_CONCURRENT_STREAMS, max_streams))
            settings.append((frames.NO_RFC7540_PRIORITIES, 1))
            if connect_protocol:
                settings.append((frames.ENABLE_CONNECT_PROTOCOL, 1))
        frames.push_settings(self._out, settings)
        push_header(self._out, 4, frames.WINDOW_UPDATE, 0, 0)
        push32(self._out, self._window.size - frames.DEFAULT_WINDOW)

    # Out.

    def can_open(self):
        """Whether the client may begin a stream now."""
        return not self.closing and len(self.streams) < self.peer_streams

    def request(self, fields, end=False, bodiless=False):
        """Begin a stream with a request's fields. bodiless: to HEAD. ValueError if not now."""
        if not self.client or not self.can_open():
            raise ValueError("no new stream")
        stream = self._make(self._next_id)
        stream.bodiless = bodiless
        self._next_id += 2
        self.send_headers(stream, fields, end)
        return stream

    def send_headers(self, stream, fields, end=False):
        """The head of a message, or a 1xx before it: pairs of str, pseudo-headers first."""
        stream.step(SEND_HEADERS)
        frames.push_headers(self._out, stream.id, self._encoder.encode(fields), end)
        if end:
            self._finished(stream)

    def send_data(self, stream, data, end=False):
        """How many bytes were taken; `end` holds once all are. ValueError on an ended stream."""
        n = len(data)
        stream.step(SEND_DATA)
        if (
            not stream.queued
            and not self._ready
            and n <= stream.send_window
            and n <= self._send_window
            and n <= FRAME_MAX
            and len(self._out) < DIRECT_MAX
        ):
            if n or end:
                self._push_data(stream, data, n, end)
            if end:
                self._finished(stream)
            return n
        if stream.out is None:
            stream.out = bytearray()
        room = _OUT_STREAM - len(stream.out)
        if n > room:
            stream.waiting = True
            n = room
            data = memoryview(data)[:n]
            end = False
        stream.out.extend(data)
        stream.out_end = end
        if (n or end) and not stream.queued:
            stream.queued = True
            self._ready.append(stream)
        return n

    def send_trailers(self, stream, fields):
        """Fields after the body; the end."""
        stream.step(SEND_HEADERS)
        if stream.queued:
            stream.trailers = fields
        else:
            frames.push_headers(self._out, stream.id, self._encoder.encode(fields), True)
            self._finished(stream)

    def room(self, stream):
        """Bytes that send_data would take now at least."""
        return _OUT_STREAM - stream.pending()

    def reset(self, stream, code=CANCEL):
        """Break a stream off; nothing where it is over already."""
        if stream.state != CLOSED:
            stream.step(SEND_RST)
            self._push_reset(stream.id, code)
            self._drop(stream)

    def consumed(self, stream, n):
        """n bytes of the stream's DATA were used up: the peer may send as many again."""
        n = min(n, stream.unread)
        stream.unread -= n
        if n and self.failed is None:
            self._give(n)
            self._update(stream, n)

    def ping(self, data):
        """8 bytes; PONG brings them back."""
        push_header(self._out, 8, frames.PING, 0, 0)
        self._out.extend(data)

    def goaway(self, code=NO_ERROR):
        """No new streams from here on; those that are go on to their ends."""
        if self.failed is None:
            self.closing = True
            push_header(self._out, 8, frames.GOAWAY, 0, 0)
            push32(self._out, self._last_peer)
            push32(self._out, code)

    def wants_to_send(self):
        return len(self._out) > 0 or self._next() is not None

    def data_to_send(self, limit=DIRECT_MAX):
        """Bytes for the transport, about `limit` at most: streams in turn, a frame each."""
        while len(self._out) < limit:
            stream = self._next()
            if stream is None:
                break
            self._emit(stream)
        out = self._out
        if not out:
            return b""
        self._out = bytearray()
        return out

    def _next(self):
        """Who sends the next frame: the most urgent, of those the longest waiting. RFC 9218, 10."""
        best = None
        for s in self._ready:
            if best is None or s.urgency < best.urgency:
                if not s.out or s.send_window > 0 and self._send_window > 0:
                    best = s
        return best

    def _emit(self, stream):
        self._ready.remove(stream)
        out = stream.out
        n = min(len(out), FRAME_MAX)
        if n:
            n = min(n, stream.send_window, self._send_window)
        last = n == len(out)
        end = last and stream.out_end and stream.trailers is None
        if n or end:
            self._push_data(stream, memoryview(out)[:n], n, end)
        if last:
            stream.out = None
            stream.queued = False
            if stream.trailers is not None:
                fields = self._encoder.encode(stream.trailers)
                frames.push_headers(self._out, stream.id, fields, True)
                end = True
            if end:
                self._finished(stream)
        else:
            stream.out = out[n:]
            self._ready.append(stream)
        if stream.waiting and self.room(stream) >= _OUT_MIN and stream.state != CLOSED:
            stream.waiting = False
            self._events.append(Event(WRITABLE, stream))

    def _push_data(self, stream, data, n, end):
        push_header(self._out, n, frames.DATA, frames.END_STREAM if end else 0, stream.id)
        self._out.extend(data)
        stream.send_window -= n
        self._send_window -= n

    def _finished(self, stream):
        stream.step(SEND_END)
        self._close_if_done(stream)

    def _push_reset(self, stream_id, code):
        push_header(self._out, 4, frames.RST_STREAM, 0, stream_id)
        push32(self._out, code)
        self._reset_ids.append(stream_id)
        if len(self._reset_ids) > _RESET_IDS:
            self._reset_ids.pop(0)

    def _drop(self, stream):
        """A stream is over before its end: forget what waits in it, either way."""
        if stream.queued:
            self._ready.remove(stream)
            stream.queued = False
        stream.out = None
        unread = stream.unread
        stream.unread = 0
        if unread and self.failed is None:
            self._give(unread)
        if stream.id in self.streams:
            del self.streams[stream.id]
            self._growth += stream.window.size - self._stream_window

    def _give(self, n):
        n = self._window.consumed(n)
        if n:
            push_header(self._out, 4, frames.WINDOW_UPDATE, 0, 0)
            push32(self._out, n)

    def _update(self, stream, n):
        if stream.state != OPEN and stream.state != HALF_LOCAL:
            return
        w = stream.window
        used_up = w.credit * 4 < w.size and not stream.unread
        n = w.consumed(n)
        if n:
            if used_up and w.size <= self._growth and w.size * 2 <= flow.STREAM_MAX:
                # The peer waits for us and the reader does not: more at once.
                self._growth -= w.size
                w.credit += w.size
                n += w.size
                w.size *= 2
            push_header(self._out, 4, frames.WINDOW_UPDATE, 0, stream.id)
            push32(self._out, n)
