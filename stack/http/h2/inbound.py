"""The receiving half of HTTP/2: frames to events, faults to errors. RFC 9113, section 6.

Every frame is dispatched by _HANDLERS; `_known` takes its stream one step on in the
state table. Not implemented: see connection.py, whose base class this is.
"""

from micropython import const

from stack.core.errors import ProtocolError
from stack.http.h2 import fields as rules
from stack.http.h2 import frames
from stack.http.h2.events import (
    DATA,
    GOAWAY,
    INTERIM,
    PONG,
    REQUEST,
    RESET,
    RESPONSE,
    SETTINGS,
    TRAILERS,
    Event,
)
from stack.http.h2.frames import (
    COMPRESSION_ERROR,
    ENHANCE_YOUR_CALM,
    FLOW_CONTROL_ERROR,
    FRAME_MAX,
    FRAME_SIZE_ERROR,
    HEADER_LEN,
    PREFACE,
    PROTOCOL_ERROR,
    REFUSED_STREAM,
    STREAM_CLOSED,
    WINDOW_MAX,
    get32,
    push32,
    push_header,
)
from stack.http.h2.stream import (
    CLOSED,
    IS_CLOSED,
    PEER,
    RECV_DATA,
    RECV_END,
    RECV_HEADERS,
    RECV_RST,
    RECV_WINDOW,
    Stream,
)

STREAMS_MAX = const(100)
DIRECT_MAX = const(65536)  # answers beyond that wait in their streams
_BLOCK_MAX = const(65536)
_BLOCK_FRAMES = const(16)
_CONTROL_MAX = const(65536)
_ABUSE = const(200)
_EMPTY = const(100)


class Inbound:
    # In.

    def receive(self, data):
        """Bytes from the transport."""
        if self._pos:
            self._buf[: self._pos] = b""
            self._pos = 0
        self._buf.extend(data)

    def next_event(self):
        """An Event, or None when the bytes so far say no more."""
        while not self._events:
            if self.failed is not None:
                raise self.failed
            if not self._frame():
                return None
        return self._events.pop(0)

    def _frame(self):
        """Take one frame from the buffer; False when there is no whole one."""
        buf = self._buf
        p = self._pos
        have = len(buf) - p
        if self._preface:
            n = min(have, self._preface)
            at = len(PREFACE) - self._preface
            if bytes(buf[p : p + n]) != PREFACE[at : at + n]:
                self._fail(PROTOCOL_ERROR, "not a connection of HTTP/2")
            self._preface -= n
            self._pos += n
            return n > 0
        if have < HEADER_LEN:
            return False
        length = buf[p] << 16 | buf[p + 1] << 8 | buf[p + 2]
        kind = buf[p + 3]
        if length > FRAME_MAX:
            self._fail(FRAME_SIZE_ERROR, "frame longer than we allow")
        if not self.settled and kind != frames.SETTINGS:
            # Section 3.4: "SETTINGS ... MUST be the first frame".
            self._fail(PROTOCOL_ERROR, "SETTINGS must come first")
        if have < HEADER_LEN + length:
            return False
        self._pos = p + HEADER_LEN + length
        stream_id = get32(buf, p + 5) & 0x7FFFFFFF
        if self._block is not None and (
            kind != frames.CONTINUATION or stream_id != self._block_stream
        ):
            self._fail(PROTOCOL_ERROR, "a field block was interrupted")
        if kind < len(_HANDLERS):
            _HANDLERS[kind](self, buf[p + 4], stream_id, p + HEADER_LEN, length)
        elif kind == frames.PRIORITY_UPDATE:
            self._on_priority_update(stream_id, p + HEADER_LEN, length)
        # Section 4.1: "MUST ignore and discard frames of unknown type".
        return True

    def _fail(self, code, reason):
        self.failed = ProtocolError(code, reason)
        self.closing = True
        push_header(self._out, 8, frames.GOAWAY, 0, 0)
        push32(self._out, self._last_peer)
        push32(self._out, code)
        for stream in self._ready:
            stream.queued = False
        self._ready = []
        self._events = []
        raise self.failed

    def _stream_error(self, stream, stream_id, code, reason):
        """Section 5.4.2. Counted: who errs on purpose makes work as one who resets does."""
        self._count_abuse()
        if stream is not None:
            if stream.state == CLOSED:
                return
            self.reset(stream, code)
            self._events.append(Event(RESET, stream, None, reason, code))
        else:
            self._push_reset(stream_id, code)

    def _count_abuse(self):
        self._abuse += 1
        if self._abuse > _ABUSE:
            self._fail(ENHANCE_YOUR_CALM, "too many streams are broken off")

    def _calm(self):
        if len(self._out) > _CONTROL_MAX + DIRECT_MAX:
            self._fail(ENHANCE_YOUR_CALM, "too many frames that ask for an answer")

    def _known(self, stream_id, what):
        """The stream of a frame, its state moved on; None where the frame is to be left."""
        stream = self.streams.get(stream_id)
        if stream is None:
            ours = (stream_id & 1) == self.client
            last = self._next_id - 2 if ours else self._last_peer
            if not stream_id or stream_id > last:
                self._fail(PROTOCOL_ERROR, "frame on a stream that is idle")
            if what == RECV_WINDOW or what == RECV_RST or stream_id in self._reset_ids:
                return None
            self._fail(STREAM_CLOSED, "frame on a stream that is closed")
        new = stream.step(what)
        if new == PEER:
            self._fail(PROTOCOL_ERROR, "frame that this state does not allow")
        if new == IS_CLOSED:
            self._stream_error(stream, stream_id, STREAM_CLOSED, "frame after the end")
            return None
        return stream

    def _unpadded(self, flags, at, length):
        """(where the payload begins, its length) without padding (section 6.1)."""
        if not flags & frames.PADDED:
            return at, length
        if not length or self._buf[at] >= length:
            self._fail(PROTOCOL_ERROR, "padding longer than its frame")
        return at + 1, length - 1 - self._buf[at]

    def _on_data(self, flags, stream_id, at, length):
        if not stream_id:
            self._fail(PROTOCOL_ERROR, "DATA on stream 0")
        if not self._window.received(length):
            self._fail(FLOW_CONTROL_ERROR, "more than the connection's window")
        at, n = self._unpadded(flags, at, length)
        end = flags & frames.END_STREAM != 0
        stream = self._known(stream_id, RECV_DATA)
        if stream is None:
            self._give(length)
            return
        self._empty = 0 if n or end else self._empty + 1
        if self._empty > _EMPTY:
            self._fail(ENHANCE_YOUR_CALM, "too many empty frames")
        if not stream.window.received(length):
            self._give(length)
            self._stream_error(stream, stream_id, FLOW_CONTROL_ERROR, "more than the window")
            return
        if not stream.head:
            self._give(length)
            self._stream_error(stream, stream_id, PROTOCOL_ERROR, "DATA before the head")
            return
        stream.unread += n
        if n < length:  # padding counts, and is read at once
            self._give(length - n)
            self._update(stream, length - n)
        stream.received += n
        if not self._length_holds(stream, end):
            return
        if n or end:
            data = bytes(memoryview(self._buf)[at : at + n])
            self._events.append(Event(DATA, stream, None, data, 0, end))
        if end:
            self._ended(stream)

    def _length_holds(self, stream, end):
        """Section 8.1.1: content-length and what comes must agree."""
        if stream.expected < 0:
            return True
        if stream.received > stream.expected or end and stream.received < stream.expected:
            self._stream_error(stream, stream.id, PROTOCOL_ERROR, "content-length does not hold")
            return False
        return True

    def _ended(self, stream):
        stream.step(RECV_END)
        self._close_if_done(stream)

    def _close_if_done(self, stream):
        if stream.state == CLOSED and stream.id in self.streams:
            del self.streams[stream.id]
            self._growth += stream.window.size - self._stream_window
            if self._abuse:
                self._abuse -= 1

    def _on_headers(self, flags, stream_id, at, length):
        if not stream_id:
            self._fail(PROTOCOL_ERROR, "HEADERS on stream 0")
        at, length = self._unpadded(flags, at, length)
        if flags & frames.WITH_PRIORITY:
            if length < 5:
                self._fail(FRAME_SIZE_ERROR, "HEADERS too short")
            if get32(self._buf, at) & 0x7FFFFFFF == stream_id:
                self._fail(PROTOCOL_ERROR, "stream depends on itself")
            at += 5
            length -= 5
        self._block_flags = flags
        self._block_stream = stream_id
        block = memoryview(self._buf)[at : at + length]
        if flags & frames.END_HEADERS:
            self._on_block(bytes(block))
        else:
            self._block = bytearray(block)
            self._block_frames = 1

    def _on_continuation(self, flags, stream_id, at, length):
        if self._block is None:
            self._fail(PROTOCOL_ERROR, "CONTINUATION of nothing")
        self._block_frames += 1
        if len(self._block) + length > _BLOCK_MAX or self._block_frames > _BLOCK_FRAMES:
            self._fail(ENHANCE_YOUR_CALM, "field block too long")
        self._block.extend(memoryview(self._buf)[at : at + length])
        if flags & frames.END_HEADERS:
            block = bytes(self._block)
            self._block = None
            self._on_block(block)

    def _on_block(self, block):
        # Whatever becomes of the stream, the block must be read: the table depends on it.
        try:
            fields = self._decoder.decode(block)
        except ProtocolError as e:
            self._fail(COMPRESSION_ERROR, e.reason)
        stream_id = self._block_stream
        stream = self.streams.get(stream_id)
        end = self._block_flags & frames.END_STREAM != 0
        if stream is None:
            if self.client or stream_id <= self._last_peer or not stream_id & 1:
                if not self.client and not stream_id & 1:
                    self._fail(PROTOCOL_ERROR, "a client's streams have odd numbers")
                self._known(stream_id, RECV_HEADERS)  # closed: swallowed or refused
                return
            self._last_peer = stream_id
            if self.closing or len(self.streams) >= self._max_streams:
                self._count_abuse()
                self._push_reset(stream_id, REFUSED_STREAM)
                return
            stream = self._make(stream_id)
        if self._known(stream_id, RECV_HEADERS) is None:
            return
        fault = self._decoder.fault
        if stream.head:
            # Trailers end a message: section 8.1.
            fault = fault or rules.trailers_fault(fields) or (None if end else "a second head")
            kind = TRAILERS
        elif self.client:
            fault = fault or rules.response_fault(fields)
            kind = RESPONSE
        else:
            if fields is not self._good:
                fault = fault or rules.request_fault(fields)
            kind = REQUEST
        if fault is None and kind != TRAILERS:
            fault, kind = self._on_head(stream, fields, end, kind)
        if fault is not None:
            self._stream_error(stream, stream_id, PROTOCOL_ERROR, fault)
            return
        if end and not self._length_holds(stream, True):
            return
        self._events.append(Event(kind, stream, fields, b"", 0, end))
        if end:
            self._ended(stream)

    def _on_head(self, stream, fields, end, kind):
        """(what is wrong or None, the event's kind)"""
        if kind == RESPONSE:
            status = fields[0][1]
            if status[0] == "1":
                return ("1xx with END_STREAM" if end else None), INTERIM
            bodiless = stream.bodiless or status == "204" or status == "304"
        else:
            bodiless = False
            if fields is not self._good:
                self._good = fields
                for name, value in fields:
                    if name == "priority":
                        rules.priority(value, stream)
                        self._good = None
                    elif name == "content-length":
                        self._good = None
                    elif name == ":method" and value == "CONNECT":
                        stream.tunnel = True
                        self._good = None
        stream.head = True
        n = -1 if fields is self._good else rules.content_length(fields)
        if n == -2:
            return "bad content-length", kind
        if not bodiless:
            stream.expected = n
        elif stream.bodiless or not end:
            stream.expected = 0
        return None, kind

    def _make(self, stream_id):
        w = self._stream_window if self._acked else max(frames.DEFAULT_WINDOW, self._stream_window)
        stream = Stream(stream_id, self._stream_window, self._peer_window)
        stream.window.credit = w
        self.streams[stream_id] = stream
        return stream

    def _on_priority(self, _flags, stream_id, at, length):
        if not stream_id:
            self._fail(PROTOCOL_ERROR, "PRIORITY on stream 0")
        if length != 5:
            self._stream_error(
                self.streams.get(stream_id), stream_id, FRAME_SIZE_ERROR, "PRIORITY of other size"
            )
        elif get32(self._buf, at) & 0x7FFFFFFF == stream_id:
            self._stream_error(
                self.streams.get(stream_id), stream_id, PROTOCOL_ERROR, "stream depends on itself"
            )

    def _on_priority_update(self, stream_id, at, length):
        if stream_id or self.client or length < 4:
            self._fail(PROTOCOL_ERROR, "PRIORITY_UPDATE where it must not be")
        stream = self.streams.get(get32(self._buf, at) & 0x7FFFFFFF)
        if stream is not None:
            try:
                rules.priority(str(self._buf[at + 4 : at + length], "ascii"), stream)
            except (UnicodeError, ValueError):
                pass  # RFC 9218, section 7.1: what cannot be parsed may be ignored

    def _on_rst(self, _flags, stream_id, at, length):
        if length != 4:
            self._fail(FRAME_SIZE_ERROR, "RST_STREAM of other size")
        stream = self._known(stream_id, RECV_RST)
        if stream is not None:
            self._drop(stream)
            self._events.append(Event(RESET, stream, None, b"", get32(self._buf, at)))
            if not self.client:
                self._count_abuse()

    def _on_settings(self, flags, stream_id, at, length):
        if stream_id:
            self._fail(PROTOCOL_ERROR, "SETTINGS on a stream")
        if flags & frames.ACK:
            if length:
                self._fail(FRAME_SIZE_ERROR, "SETTINGS ACK with payload")
            if not self.settled:
                self._fail(PROTOCOL_ERROR, "SETTINGS must come first")
            self._on_settings_ack()
            return
        if length % 6:
            self._fail(FRAME_SIZE_ERROR, "SETTINGS of other size")
        for i in range(at, at + length, 6):
            self._setting(self._buf[i] << 8 | self._buf[i + 1], get32(self._buf, i + 2))
        self.settled = True
        self._calm()
        push_header(self._out, 0, frames.SETTINGS, frames.ACK, 0)
        self._events.append(Event(SETTINGS))

    def _on_settings_ack(self):
        if not self._acked:
            self._acked = True
            less = frames.DEFAULT_WINDOW - self._stream_window
            for s in self.streams.values():
                if less > 0:
                    s.window.credit -= less

    def _setting(self, key, value):
        if key == frames.HEADER_TABLE_SIZE:
            self._encoder.set_max_size(value)
        elif key == frames.ENABLE_PUSH:
            if value > 1 or value and self.client:
                self._fail(PROTOCOL_ERROR, "bad ENABLE_PUSH")
        elif key == frames.MAX_CONCURRENT_STREAMS:
            self.peer_streams = min(value, STREAMS_MAX)
        elif key == frames.INITIAL_WINDOW_SIZE:
            if value > WINDOW_MAX:
                self._fail(FLOW_CONTROL_ERROR, "bad INITIAL_WINDOW_SIZE")
            more = value - self._peer_window
            self._peer_window = value
            for s in self.streams.values():
                # Section 6.9.2: the window may become negative.
                s.send_window += more
                if s.send_window > WINDOW_MAX:
                    self._fail(FLOW_CONTROL_ERROR, "window too large")
        elif key == frames.MAX_FRAME_SIZE:
            if not FRAME_MAX <= value < 1 << 24:
                self._fail(PROTOCOL_ERROR, "bad MAX_FRAME_SIZE")
        elif key == frames.ENABLE_CONNECT_PROTOCOL:
            if value > 1 or self.peer_connect_protocol and not value:
                self._fail(PROTOCOL_ERROR, "bad ENABLE_CONNECT_PROTOCOL")
            self.peer_connect_protocol = value == 1
        elif key == frames.NO_RFC7540_PRIORITIES and value > 1:
            self._fail(PROTOCOL_ERROR, "bad NO_RFC7540_PRIORITIES")

    def _on_push(self, _flags, _stream_id, _at, _length):
        self._fail(PROTOCOL_ERROR, "PUSH_PROMISE was not allowed")

    def _on_ping(self, flags, stream_id, at, length):
        if stream_id:
            self._fail(PROTOCOL_ERROR, "PING on a stream")
        if length != 8:
            self._fail(FRAME_SIZE_ERROR, "PING of other size")
        data = bytes(self._buf[at : at + 8])
        if flags & frames.ACK:
            self._events.append(Event(PONG, None, None, data))
            return
        self._calm()
        push_header(self._out, 8, frames.PING, frames.ACK, 0)
        self._out.extend(data)

    def _on_goaway(self, _flags, stream_id, at, length):
        if stream_id:
            self._fail(PROTOCOL_ERROR, "GOAWAY on a stream")
        if length < 8:
            self._fail(FRAME_SIZE_ERROR, "GOAWAY too short")
        self.closing = True
        last = get32(self._buf, at) & 0x7FFFFFFF
        code = get32(self._buf, at + 4)
        if self.client:
            # Section 6.8: streams above it "were not or will not be processed".
            for s in [s for s in self.streams.values() if s.id > last]:
                s.state = CLOSED
                self._drop(s)
                self._events.append(Event(RESET, s, None, b"", REFUSED_STREAM))
        self._events.append(Event(GOAWAY, None, None, b"", code))

    def _on_window_update(self, _flags, stream_id, at, length):
        if length != 4:
            self._fail(FRAME_SIZE_ERROR, "WINDOW_UPDATE of other size")
        n = get32(self._buf, at) & 0x7FFFFFFF
        if not stream_id:
            self._send_window += n
            if not n:
                self._fail(PROTOCOL_ERROR, "WINDOW_UPDATE of 0")
            if self._send_window > WINDOW_MAX:
                self._fail(FLOW_CONTROL_ERROR, "window too large")
            return
        stream = self._known(stream_id, RECV_WINDOW)
        if stream is None or stream.state == CLOSED:
            return
        stream.send_window += n
        if not n:
            self._stream_error(stream, stream_id, PROTOCOL_ERROR, "WINDOW_UPDATE of 0")
        elif stream.send_window > WINDOW_MAX:
            self._stream_error(stream, stream_id, FLOW_CONTROL_ERROR, "window too large")


_HANDLERS = (
    Inbound._on_data,
    Inbound._on_headers,
    Inbound._on_priority,
    Inbound._on_rst,
    Inbound._on_settings,
    Inbound._on_push,
    Inbound._on_ping,
    Inbound._on_goaway,
    Inbound._on_window_update,
    Inbound._on_continuation,
)
