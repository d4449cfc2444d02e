"""stack/tls/lane.py against the ordinary way: the same events, faults, alerts and bytes.

The machines here begin where a handshake ends, with keys of their own.
"""

from stack.tls import alert, events, lane, record, schedule
from stack.tls.alert import TlsError
from stack.tls.config import Config
from stack.tls.connection import Connection
from stack.tls.events import Data
from stack.tls.record import Keys
from tests.unit.tls import test_hostile_records
from tests.unit.tls.pair import Rng

_SUITES = (schedule.AES_128_GCM_SHA256, schedule.CHACHA20_POLY1305_SHA256)
_PLACE = 7  # where records are put in a buffer: an odd place, something before it and behind


class Bare(Connection):
    def __init__(self, suite, write, read, limits=None, **options):
        self._first = (
            (events.WRITE_KEY, suite, write),
            (events.READ_KEY, suite, read),
            (events.LIMITS,) + (limits or (16385, 16385)),
        )
        super().__init__(Config(**options), Rng("lane"), 10**9, 10**9)
        self.suite = suite

    def _flow(self):
        for action in self._first:
            yield action


def pair(suite=_SUITES[0], limits=None, **options):
    """Two that are connected, and have heard from each other."""
    n = suite.hash.digest_size
    a = Bare(suite, b"a" * n, b"b" * n, limits, **options)
    b = Bare(suite, b"b" * n, b"a" * n, limits and (limits[1], limits[0]))
    for one, other in ((a, b), (b, a)):
        one.next_event()  # HandshakeDone
        one.send(b"hello")
        other.receive(one.data_to_send())
    for one in (a, b):
        while one.next_event() is not None:
            pass
    return a, b


def ordinary(m, data):
    """What comes of the bytes: (data, names of events, alert), the ordinary way."""
    m.receive(data)
    return _drained(m, b"", [])


def by_lane(m, data, used=None):
    """The same as a transport does it: what the lane leaves goes the ordinary way."""
    buf = bytearray(b"\x17" * _PLACE + data + b"\x17" * 40)
    at, end = _PLACE, _PLACE + len(data)
    got = b""
    names = []
    while at < end:
        n = lane.open_record(m, buf, at, end - at)
        if not n:
            break
        if m.data_len:
            got += bytes(buf[at + 5 : at + 5 + m.data_len])
            if used is not None:
                used.append(n)
        else:
            m.opened(buf, at + 5, n - 21)
        at += n
        got, names, code = _drained(m, got, names)
        if code is not None:
            return got, names, code
    m.receive(buf[at:end])
    assert buf[end:] == b"\x17" * 40
    return _drained(m, got, names)


def _drained(m, got, names):
    try:
        while True:
            e = m.next_event()
            if e is None:
                return got, names, None
            if isinstance(e, Data):
                got += e.tobytes()
            else:
                names.append(e.__class__.__name__)
    except TlsError as e:
        return got, names, (e.code, e.reason)


def _same(why, make, suite=_SUITES[0], limits=None):
    """Both ways come to the same; what that is, and how many records took the lane."""
    found = []
    used = []
    for way in (ordinary, by_lane):
        victim, evil = pair(suite, limits)
        data = make(evil)
        r = way(victim, data, used) if way is by_lane else way(victim, data)
        # Where it stands then, in what it still sends and takes.
        seqs = (victim._reader.keys.seq, victim._writer.keys.seq) if r[2] is None else None
        found.append((r, victim.data_to_send(), seqs, victim.read_closed, victim.write_closed))
    assert found[0] == found[1], why
    return found[0], used


def test_every_case_of_hostile_records():
    for why, code, make in test_hostile_records.AFTER_CASES:
        (r, told, _, _, closed), _ = _same(why, make)
        assert r[2] is not None and r[2][0] == code, (why, r)
        assert told and closed, why


def _raw(inner):
    return lambda e: test_hostile_records._raw(e, inner)


def _sealed(kind, data):
    return lambda e: test_hostile_records._sealed(e, kind, data)


def _sent(*pieces):
    def make(evil):
        for p in pieces:
            evil.send(p)
        return evil.data_to_send()

    return make


def _around_update(evil):
    evil.send(b"before")
    evil._update_key(True)
    evil.send(b"after")
    return evil.data_to_send()


def _closing(evil):
    evil.send(b"last")
    evil.send_close()
    return evil.data_to_send() + b"what comes behind is not looked at"


# why, make, how many of its records are for the lane
FINE = (
    ("a byte", _sent(b"x"), 1),
    ("several records", _sent(b"one", b"two" * 100, b"three"), 3),
    ("the largest", _sent(bytes(16384)), 1),
    ("two of the largest", _sent(b"y" * 32768), 2),
    ("data that ends in zeros", _sent(b"abc" + bytes(30)), 1),
    ("data that ends like a type", _sent(b"abc\x17\x16\x15"), 1),
    ("padding", _raw(b"abc\x17" + bytes(20)), 0),
    ("padding to the utmost", _raw(b"abc\x17" + bytes(16381)), 0),
    ("nothing", _raw(b"\x17"), 0),
    ("a key update", _around_update, 2),
    ("the end", _closing, 1),
    ("a part", lambda e: _sent(b"whole", b"in parts")(e)[:-3], 1),
    ("a header", lambda e: _sent(b"whole")(e) + b"\x17\x03\x03", 1),
)  # fmt: skip


def test_what_is_right():
    for suite in _SUITES:
        for why, make, n in FINE:
            (r, _, _, _, _), used = _same(why, make, suite)
            assert r[2] is None and len(used) == n, (why, len(used))


def test_altered_anywhere():
    """One bit of a record, wherever it is: neither way takes the record."""
    data = _sent(b"some data")(pair()[1])
    for at in range(len(data)):

        def make(evil, at=at):
            d = bytearray(_sent(b"some data")(evil))
            d[at] ^= 1 << at % 8
            return bytes(d)

        (r, _, _, _, _), used = _same("bit %d" % at, make)
        assert not used and not r[0], at


def test_limits_of_ours():
    (r, _, _, _, _), used = _same("just", _raw(b"z" * 99 + b"\x17"), limits=(100, 100))
    assert len(r[0]) == 99 and len(used) == 1
    (r, _, _, _, _), used = _same("more", _raw(b"z" * 100 + b"\x17"), limits=(100, 100))
    assert r[2][0] == alert.RECORD_OVERFLOW and not used and not r[0]


def test_only_when_nothing_is_before_it():
    """What has its turn first: bytes, events, a message in parts; and what must not be any more."""
    for why, change in (
        ("bytes", lambda m: m.receive(b"\x17\x03")),
        ("an event", lambda m: m._events.append(events.KeyUpdated())),
        ("a message in parts", lambda m: m._messages.extend(b"\x18\0")),
        ("the handshake", lambda m: setattr(m, "connected", False)),
        ("closed", lambda m: setattr(m, "read_closed", True)),
        ("failed", lambda m: setattr(m, "error", TlsError(alert.DECODE_ERROR, "x"))),
    ):
        victim, evil = pair()
        evil.send(b"data")
        buf = bytearray(evil.data_to_send())
        before = bytes(buf)
        change(victim)
        seq = victim._reader.keys.seq
        assert lane.open_record(victim, buf, 0, len(buf)) == 0, why
        assert bytes(buf) == before and victim._reader.keys.seq == seq, why


def test_within_the_buffer():
    a, b = pair()
    buf = bytearray(40)
    assert lane.open_record(a, buf, 20, 40) == 0
    for at, n in ((-1, 5), (20, 5), (0, 19), (0, 0), (0, -3)):
        assert lane.seal_record(a, buf, at, b"x" * 40, 0, n) == 0
    assert bytes(buf) == bytes(40)
    assert lane.seal_record(a, buf, 0, b"x" * 40, 0, 18) == 40


def test_sealed_is_the_same():
    for suite in _SUITES:
        for n in (1, 2, 100, 16384):
            data = b"<" + b"d" * n + b">"
            a, _ = pair(suite)
            b, _ = pair(suite)
            a.send(data, 1, n)
            buf = bytearray(n + 40)
            assert lane.seal_record(b, buf, 9, data, 1, n) == n + 22
            assert a.data_to_send() == bytes(buf[9 : 9 + n + 22])
            assert bytes(buf[:9]) == bytes(9) and bytes(buf[9 + n + 22 :]) == bytes(9)
            assert a._writer.keys.seq == b._writer.keys.seq


def test_sealed_not_by_the_lane():
    def worn(m):
        m._writer.keys.seq = m._writer.keys.suite.record_limit

    for why, change, n in (
        ("something is to be sent before", lambda m: m.send(b"x"), 5),
        ("a key update is owed", lambda m: setattr(m, "_owes_update", True), 5),
        ("a key is worn out", worn, 5),
        ("closed", lambda m: m.send_close(), 5),
        ("failed", lambda m: m._fail(TlsError(alert.DECODE_ERROR, "x")), 5),
        ("more than a record", lambda m: None, 16385),
    ):
        m, _ = pair()
        change(m)
        seq = m._writer.keys.seq
        buf = bytearray(20000)
        assert lane.seal_record(m, buf, 0, bytes(n), 0, n) == 0, why
        assert m._writer.keys.seq == seq and not any(buf), why
    m, _ = pair(pad=64)
    assert lane.seal_record(m, bytearray(100), 0, b"abc", 0, 3) == 0
    m, _ = pair(limits=(16385, 100))
    assert lane.seal_record(m, bytearray(200), 0, bytes(100), 0, 100) == 0
    assert lane.seal_record(m, bytearray(200), 0, bytes(100), 0, 99) == 121


def test_in_any_order_and_in_any_pieces():
    """A thousand records of all kinds, cut anywhere: by lane and ordinary ways in turn."""
    for seed in ("1", "2", "3"):
        rng = Rng(seed)
        a, b = pair()
        want = got = b""
        wire = b""
        for _ in range(100):
            what, n = rng(2)
            data = rng(n + 1)
            if what < 160:
                buf = bytearray(len(data) + 22)
                n = lane.seal_record(a, buf, 0, data, 0, len(data))
                if n:
                    wire += a.data_to_send() + bytes(buf)
                else:
                    a.send(data)
                want += data
            elif what < 200:
                a.send(data)
                want += data
            elif what < 230:
                wire += a.data_to_send()
                wire += test_hostile_records._raw(a, data + b"\x17" + bytes(n))
                want += data
            else:
                a.send_key_update(False)
            wire += a.data_to_send()
            k = rng(1)[0] * 3
            piece, wire = wire[:k], wire[k:]
            r = by_lane(b, piece) if what & 1 else ordinary(b, piece)
            assert r[2] is None, r
            got += r[0]
        got += ordinary(b, wire)[0]
        assert got == want, seed


def test_nonces():
    """RFC 8446, 5.3, beside arithmetic."""
    iv = bytes(range(200, 212))
    out = bytearray(12)
    for seq in (0, 1, 255, 256, 0x0102030405060708 & (1 << 62) - 1, (1 << 62) - 1):
        lane.nonce(out, iv, seq)
        assert bytes(out) == (int.from_bytes(iv, "big") ^ seq).to_bytes(12, "big"), seq
    k = Keys(_SUITES[0], b"s" * 32)
    buf = bytearray(b"\x17\x03\x03\x00\x1a" + bytes(9 + 17))
    for off, n in ((4, 5), (5, -1), (5, 11)):
        try:
            k.seal(buf, off, n)
            raise AssertionError("out of bounds")
        except ValueError:
            pass
    assert k.seq == 0
    assert record.HEADER == 5
