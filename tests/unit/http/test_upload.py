"""Answers that come while the request is still being sent, over narrow pipes."""

from stack.core.errors import EPIPE
from stack.http.client import LAZY, Session
from stack.http.h2 import events
from stack.http.h2.connection import Connection

BODY = bytes([i * i & 255 for i in range(1000)]) * 200
PIPE = 1000


class Pipe:
    """A connection that takes PIPE bytes at most while as many of the answer are not read."""

    alpn = None

    def __init__(self):
        self.reply = bytearray()
        self.closed = False

    def send_until(self, data, deadline):
        at = 0
        while at < len(data):
            n = self.put(data, at, len(data) - at)
            at += n
            if not n:
                yield "send"

    def put(self, data, off, n):
        assert not self.closed
        n = min(n, PIPE - len(self.reply))
        if n <= 0:
            return 0
        self.on_data(bytes(memoryview(data)[off : off + n]))
        return n

    def take(self, buf, off, n):
        n = min(n, len(self.reply))
        if not n:
            return -1
        buf[off : off + n] = self.reply[:n]
        self.reply[:n] = b""
        return n

    def recv_until(self, buf, off, n, deadline):
        while True:
            got = self.take(buf, off, n)
            if got >= 0:
                return got
            yield "recv"

    def wait(self, write, deadline):
        yield "wait"

    def close(self):
        self.closed = True


class Echo(Pipe):
    """HTTP/1.1: sends back what comes, as it comes."""

    def __init__(self):
        super().__init__()
        self.seen = b""
        self.answered = False

    def on_data(self, data):
        if not self.answered:
            self.seen += data
            head, mark, data = self.seen.partition(b"\r\n\r\n")
            if not mark:
                return
            self.answered = True
            chunked = b"Transfer-Encoding: chunked" in head
            kind = b"Transfer-Encoding: chunked" if chunked else b"Content-Length: %d" % len(BODY)
            self.reply.extend(b"HTTP/1.1 200 OK\r\n" + kind + b"\r\n\r\n")
        self.reply.extend(data)


class Echo2(Pipe):
    """HTTP/2: sends back what comes, and gives credit for what it has sent back."""

    alpn = "h2"

    def __init__(self):
        super().__init__()
        self.c = Connection(False)
        self.held = bytearray()
        self.stream = None
        self.end = False

    def on_data(self, data):
        self.c.receive(data)
        while True:
            e = self.c.next_event()
            if e is None:
                break
            if e.kind == events.REQUEST:
                self.stream = e.stream
                self.c.send_headers(e.stream, [(":status", "200")])
            elif e.kind == events.DATA:
                self.held.extend(e.data)
            if e.end:
                self.end = True
        self.pump()

    def take(self, buf, off, n):
        self.pump()
        return super().take(buf, off, n)

    def pump(self):
        if self.held or self.end:
            n = self.c.send_data(self.stream, self.held, self.end)
            self.held[:n] = b""
            self.c.consumed(self.stream, n)
            if self.end and not self.held:
                self.end = False
        self.reply.extend(self.c.data_to_send())


class Refuses(Pipe):
    """Says no as soon as it has the head, reads no more, and hangs up if it is made to."""

    def on_data(self, data):
        if self.reply:
            raise OSError(EPIPE)
        if b"\r\n\r\n" in data:
            self.reply.extend(b"HTTP/1.1 413 Too much\r\nContent-Length: %d\r\n\r\n" % PIPE)
            self.reply.extend(b"x" * PIPE)


class Swallows(Pipe):
    """Says no as soon as it has the head, and takes all the same whatever comes, at once."""

    def put(self, data, off, n):
        self.on_data(bytes(memoryview(data)[off : off + n]))
        return n

    def on_data(self, data):
        if b"\r\n\r\n" in data:
            self.reply.extend(b"HTTP/1.1 413 Too much\r\nContent-Length: 0\r\n\r\n")


class Swallows2(Swallows):
    """HTTP/2, with windows that never close."""

    alpn = "h2"

    def __init__(self):
        super().__init__()
        self.c = Connection(False)

    def on_data(self, data):
        self.c.receive(data)
        e = self.c.next_event()
        while e is not None:
            if e.kind == events.REQUEST:
                self.c.send_headers(e.stream, [(":status", "413")], True)
            e = self.c.next_event()
        if not self.reply:
            out = self.c.data_to_send()
            self.reply.extend(out)
            # INITIAL_WINDOW_SIZE and the connection's window as large as they go.
            self.reply.extend(b"\0\0\x06\x04\0\0\0\0\0\0\x04\x7f\xff\xff\xff")
            self.reply.extend(b"\0\0\x04\x08\0\0\0\0\0\x7f\xfe\0\0")


class Transport:
    NEVER = 1 << 62

    def __init__(self, kind):
        self.kind = kind
        self.streams = []
        self.t = 0

    def now(self):
        return self.t

    def unix(self):
        return 1700000000

    def rng(self, n):
        return bytes(n)

    def call_at(self, at, function):
        pass

    def connect(self, way, deadline):
        self.streams.append(self.kind())
        return self.streams[-1]
        yield


def run(generator):
    turns = 0
    while True:
        try:
            generator.send(None)
        except StopIteration as e:
            return e.value
        turns += 1
        assert turns < 10000, "everybody waits"


def post(s, where, data, **options):
    """(the response, what upload_progress was called with)"""
    sent = []
    options["upload_progress"] = lambda n, of: sent.append(n)
    return run(s.request("POST", where, data=data, **options)), sent


def test_echo():
    for kind, where in ((Echo, "http://h/"), (Echo2, "https://h/")):
        for pieces in (False, True):
            for stream in (False, True, LAZY):
                t = Transport(kind)
                s = Session(t, run)
                data = iter([BODY[:70000], BODY[70000:70001], BODY[70001:]]) if pieces else BODY
                r, sent = post(s, where, data, stream=stream)
                # Who asks for a stream gets it while there is still something to send.
                assert r.uploading == (stream is True)
                if stream is True:
                    assert r.read(100) == BODY[:100] and r.read() == BODY[100:]
                else:
                    assert r.content == BODY, (kind, pieces, stream)
                assert sent[-1] == len(BODY) and not r.uploading
                assert not t.streams[0].closed  # it is kept


def test_refused():
    for data in (BODY, iter([BODY[:400], BODY])):
        t = Transport(Refuses)
        r, sent = post(Session(t, run), "http://h/", data)
        assert r.status_code == 413 and r.content == b"x" * PIPE
        assert t.streams[0].closed  # where the request ends is not clear to anybody
        assert not sent or sent[-1] < 1000


def test_refused_by_who_takes_all():
    """The answer is looked for also where nothing ever stops the sending."""
    for kind, where in ((Swallows, "http://h/"), (Swallows2, "https://h/")):
        for pieces in (False, True):
            data = iter([BODY[:20000]] * 100) if pieces else BODY
            r, sent = post(Session(Transport(kind), run), where, data)
            assert r.status_code == 413
            assert not sent or sent[-1] <= 65536, (kind, pieces, sent[-1])


def test_refused_before_it_was_sent():
    """A final answer in place of 100 (Continue): what comes next must not be taken for the body."""
    t = Transport(Refuses)
    s = Session(t, run)
    assert post(s, "http://h/", b"small", expect=True)[0].status_code == 413
    assert t.streams[0].closed
