"""Records that may not be: both machines refuse each with the alert that the RFC names.

A case is a table row: (why, alert, ...). The misbehaving peer is our own machine
with one message changed, so that everything else about it is right.
"""

from stack.tls import alert, messages, record
from stack.tls.alert import PeerAlert, TlsError
from stack.tls.tickets import Sessions, TicketKeys
from tests.unit.tls.hostile import (
    DECODE,
    FIN,
    ILLEGAL,
    MAC,
    OVERFLOW,
    SH,
    UNEXPECTED,
    VERSION,
    fails,
    refused,
)
from tests.unit.tls.pair import (
    EvilServer,
    Rng,
    client,
    client_config,
    connected,
    drain,
    on,
    resize,
    server,
    server_config,
)


def _wire(why, code, data, to_server=True, told=False):
    """The first bytes that a fresh machine gets."""
    victim = server() if to_server else client()
    victim.data_to_send()
    victim.receive(data)
    refused(victim, why, code)


FIRST_CASES = (
    ("HTTP", UNEXPECTED, b"GET / HTTP/1.1\r\n\r\n"),
    ("SSH", UNEXPECTED, b"SSH-2.0-OpenSSH_9.2\r\n"),
    ("SSL 2", UNEXPECTED, b"\x80\x2e\x01\x00\x02\x00\x15\x00\x00\x00\x10"),
    ("zeros", UNEXPECTED, bytes(20)),
    ("another major version", UNEXPECTED, b"\x16\x05\x01\x00\x05hello"),
    ("an unknown type of record", UNEXPECTED, b"\x18\x03\x03\x00\x01x"),
    ("heartbeat", UNEXPECTED, b"\x18\x03\x03\x00\x03\x01\x40\x00"),
    ("an empty handshake record", UNEXPECTED, b"\x16\x03\x01\x00\x00"),
    ("an empty alert", UNEXPECTED, b"\x15\x03\x01\x00\x00"),
    ("a record of 16385 bytes", OVERFLOW, b"\x16\x03\x01\x40\x01"),
    ("a record of 65535 bytes", OVERFLOW, b"\x16\x03\x01\xff\xff"),
    ("application data first", UNEXPECTED, b"\x17\x03\x03\x00\x05hello"),
    ("change_cipher_spec of 2 bytes", UNEXPECTED, b"\x14\x03\x03\x00\x02\x01\x01"),
    ("change_cipher_spec of value 2", UNEXPECTED, b"\x14\x03\x03\x00\x01\x02"),
    ("an empty change_cipher_spec", UNEXPECTED, b"\x14\x03\x03\x00\x00"),
    ("an alert of 1 byte", DECODE, b"\x15\x03\x03\x00\x01\x02"),
    ("two alerts in one record", DECODE, b"\x15\x03\x03\x00\x04\x01\x00\x01\x00"),
    ("change_cipher_spec without end", UNEXPECTED, b"\x14\x03\x03\x00\x01\x01" * 33),
    ("a handshake in parts, and other records between", UNEXPECTED,
     b"\x16\x03\x01\x00\x02\x01\x00\x15\x03\x01\x00\x02\x01\x5a"),
)  # fmt: skip


def test_first_records():
    for why, code, data in FIRST_CASES:
        _wire(why, code, data)
        if data[:3] != b"\x16\x03\x01" or len(data) < 8:
            _wire(why, code, data, False)


def _sealed(evil, kind, data):
    """A record of the evil machine's keys with any type inside."""
    evil._writer.put(kind, data, 0, len(data))
    return evil.data_to_send()


def _raw(evil, inner):
    """A record whose inner plaintext is just this."""
    keys = evil._writer.keys
    n = len(inner)
    buf = bytearray(5 + n + 16)
    buf[:5] = b"\x17\x03\x03" + (n + 16).to_bytes(2, "big")
    buf[5 : 5 + n] = inner
    keys.seal(buf, 5, n)
    return bytes(buf)


def _flip(at):
    def change(evil):
        evil.send(b"some data")
        data = bytearray(evil.data_to_send())
        data[at] ^= 1
        return bytes(data)

    return change


def _two(evil):
    evil.send(b"first")
    a = evil.data_to_send()
    evil.send(b"second")
    return a, evil.data_to_send()


AFTER_CASES = (
    ("an altered tag", MAC, _flip(-1)),
    ("an altered ciphertext", MAC, _flip(6)),
    ("an altered version in the header", MAC, _flip(2)),
    ("a shortened record", MAC, lambda e: b"\x17\x03\x03\x00\x11" + bytes(17)),
    ("a record too short for a tag", MAC, lambda e: b"\x17\x03\x03\x00\x10" + bytes(16)),
    ("an empty record", MAC, lambda e: b"\x17\x03\x03\x00\x00"),
    ("a record left out", MAC, lambda e: _two(e)[1]),
    ("records in another order", MAC, lambda e: (lambda t: t[1] + t[0])(_two(e))),
    ("a record again", MAC, lambda e: (lambda t: t[0] + t[0])(_two(e))),
    ("a record of 16641 bytes", OVERFLOW, lambda e: b"\x17\x03\x03\x41\x01"),
    ("plaintext of 16385 bytes", OVERFLOW, lambda e: _raw(e, bytes(16385) + b"\x17")),
    ("plaintext with padding beyond 16385", OVERFLOW,
     lambda e: _raw(e, b"x\x17" + bytes(16384))),
    ("nothing but padding", UNEXPECTED, lambda e: _raw(e, bytes(100))),
    ("nothing but one zero", UNEXPECTED, lambda e: _raw(e, b"\0")),
    # Its header ends in 0x17, which a search that runs too far takes for a type.
    ("nothing but seven zeros", UNEXPECTED, lambda e: _raw(e, bytes(7))),
    ("an empty handshake fragment", UNEXPECTED, lambda e: _raw(e, b"\x16")),
    ("an empty alert", UNEXPECTED, lambda e: _raw(e, b"\x15")),
    ("a protected change_cipher_spec", UNEXPECTED, lambda e: _raw(e, b"\x01\x14")),
    ("an unknown type inside", UNEXPECTED, lambda e: _raw(e, b"x\x18")),
    ("a type of 255 inside", UNEXPECTED, lambda e: _raw(e, b"x\xff")),
    ("empty data without end", UNEXPECTED,
     lambda e: b"".join([_raw(e, b"\x17") for _ in range(33)])),
    ("an alert of 1 byte", DECODE, lambda e: _raw(e, b"\x02\x15")),
    ("an alert of 3 bytes", DECODE, lambda e: _raw(e, b"\x01\x00\x00\x15")),
    ("a handshake record in the clear", UNEXPECTED, lambda e: b"\x16\x03\x03\x00\x05\x18\0\0\1\0"),
    ("data in the clear", MAC, lambda e: b"\x17\x03\x03\x00\x20" + bytes(32)),
    ("an alert in the clear", UNEXPECTED, lambda e: b"\x15\x03\x03\x00\x02\x02\x28"),
    ("close_notify in the clear", UNEXPECTED, lambda e: b"\x15\x03\x03\x00\x02\x01\x00"),
    ("change_cipher_spec after the handshake", UNEXPECTED, lambda e: b"\x14\x03\x03\x00\x01\x01"),
    ("KeyUpdate of value 2", ILLEGAL, lambda e: _sealed(e, 22, b"\x18\0\0\1\2")),
    ("an empty KeyUpdate", DECODE, lambda e: _sealed(e, 22, b"\x18\0\0\0")),
    ("KeyUpdate with bytes after", DECODE, lambda e: _sealed(e, 22, b"\x18\0\0\2\0\0")),
    ("KeyUpdate and more in its record", UNEXPECTED,
     lambda e: _sealed(e, 22, b"\x18\0\0\1\0\x18\0\0\1\0")),
    ("data within a message", UNEXPECTED,
     lambda e: _sealed(e, 22, b"\x18\0\0") + _sealed(e, 23, b"x")),
    ("an alert within a message", UNEXPECTED,
     lambda e: _sealed(e, 22, b"\x18\0\0") + _sealed(e, 21, b"\1\0")),
    ("Finished again", UNEXPECTED, lambda e: _sealed(e, 22, b"\x14\0\0\x20" + bytes(32))),
    ("HelloRequest", UNEXPECTED, lambda e: _sealed(e, 22, b"\0\0\0\0")),
    ("a new ClientHello", UNEXPECTED, lambda e: _sealed(e, 22, b"\1\0\0\5hello")),
    ("a new ServerHello", UNEXPECTED, lambda e: _sealed(e, 22, b"\2\0\0\5hello")),
    ("a certificate later", UNEXPECTED, lambda e: _sealed(e, 22, b"\x0b\0\0\4\0\0\0\0")),
    ("CertificateRequest later", UNEXPECTED,
     lambda e: _sealed(e, 22, messages.push_certificate_request(b"c", [(13, b"\0\2\4\3")]))),
    ("EndOfEarlyData later", UNEXPECTED, lambda e: _sealed(e, 22, b"\5\0\0\0")),
    ("a message of TLS 1.2", UNEXPECTED, lambda e: _sealed(e, 22, b"\x10\0\0\0")),
)  # fmt: skip


def test_records_after_the_handshake():
    for why, code, make in AFTER_CASES:
        for side in (0, 1):
            pair = connected()
            victim, evil = pair[side], pair[1 - side]
            victim.receive(make(evil))
            refused(victim, why, code)
            # The evil one keys on: the victim's alert has to be readable, and be this one.
            evil.receive(victim.data_to_send())
            try:
                drain(evil)
                raise AssertionError(why)
            except PeerAlert as e:
                assert e.code == code, why


def test_key_updates_without_end():
    c, s = connected()
    out = b""
    for _ in range(33):
        s._update_key(False)
        out += s.data_to_send()
    c.receive(out)
    refused(c, "33 key updates", UNEXPECTED)


def test_tickets_without_end():
    c, s = connected()
    for _n in range(33):
        s._writer.message(messages.push_new_session_ticket(9, 9, b"n", b"t", []))
        s._writer.flush()
    c.receive(s.data_to_send())
    refused(c, "33 tickets", UNEXPECTED)


def test_ticket_from_a_client():
    c, s = connected()
    s.receive(_sealed(c, 22, messages.push_new_session_ticket(9, 9, b"n", b"t", [])))
    refused(s, "a ticket from a client", UNEXPECTED)


def test_bad_tickets():
    for why, code, raw in (
        ("cut short", DECODE, b"\4\0\0\3abc"),
        ("an empty ticket", DECODE, messages.push_new_session_ticket(9, 9, b"n", b"", [])),
        ("bytes after", DECODE,
         resize(messages.push_new_session_ticket(9, 9, b"n", b"t", []) + b"\0")),
        ("an extension twice", ILLEGAL,
         messages.push_new_session_ticket(9, 9, b"n", b"t", [(42, bytes(4)), (42, bytes(4))])),
        ("a short early_data", DECODE,
         messages.push_new_session_ticket(9, 9, b"n", b"t", [(42, b"\0")])),
    ):  # fmt: skip
        c, s = connected()
        c.receive(_sealed(s, 22, raw))
        refused(c, why, code)


def test_a_message_runs_over_a_key_change():
    """ServerHello and the beginning of another message in one record in the clear."""
    c = client()
    s = server(cls=EvilServer, evil=on(SH, lambda r: r + b"\x08\0"))
    fails(c, s, "over a key change", UNEXPECTED)


def test_record_size_limit_is_held():
    c, s = connected(client_config(record_size_limit=100), server_config(record_size_limit=100))
    s._writer.limit = 200
    s.send(b"x" * 100)
    c.receive(s.data_to_send())
    refused(c, "beyond record_size_limit", OVERFLOW)


def test_early_data_beyond_the_limit():
    cc, sc = client_config(sessions=Sessions()), server_config(early_data=10)
    sc.tickets = TicketKeys(Rng("t"))
    connected(cc, sc)
    cc.sessions._all[-1][1].max_early_data = 1000
    c, s = client(cc, early_data=b"x" * 11), server(sc)
    s.receive(c.data_to_send())
    refused(s, "too much early data", UNEXPECTED)


def test_altered_early_data():
    """An altered record of accepted early data fails; it is not taken for refused data."""
    cc, sc = client_config(sessions=Sessions()), server_config(early_data=100)
    sc.tickets = TicketKeys(Rng("t"))
    connected(cc, sc)
    c, s = client(cc, early_data=b"early"), server(sc)
    flight = bytearray(c.data_to_send())
    flight[-1] ^= 1
    s.receive(flight)
    refused(s, "altered early data", MAC)


def test_refused_early_data_is_bounded():
    """Records that cannot be read are skipped up to a limit, not for ever."""
    cc, sc = client_config(sessions=Sessions()), server_config(early_data=100)
    sc.tickets = TicketKeys(Rng("t"))
    connected(cc, sc)
    sc.early_data = 0
    c, s = client(cc, early_data=b"early"), server(sc)
    s.receive(c.data_to_send())
    junk = b"\x17\x03\x03\x40\x00" + bytes(16384)
    s.receive(junk * 3)
    drain(s)
    s.receive(junk * 2)
    refused(s, "early data without end", MAC)


def test_data_before_the_handshake_is_done():
    """A server that sends data with its handshake keys, before Finished."""
    def evil(machine, raw):
        if raw[0] == FIN:
            machine._writer.put(record.APPLICATION_DATA, b"early", 0, 5)
        return [raw]

    fails(client(), server(cls=EvilServer, evil=evil), "data before Finished", UNEXPECTED)


def test_close_and_end_within_the_handshake():
    for data in (b"\x15\x03\x03\x00\x02\x01\x00", b""):
        c = client()
        c.data_to_send()
        c.receive(data)
        c.receive_eof()
        try:
            drain(c)
            raise AssertionError("nothing was refused")
        except alert.Truncated as e:
            assert "handshake" in e.reason
        assert not c.connected


def test_every_alert_of_the_peer():
    for level in (1, 2):
        for code in sorted(alert.NAMES) + [1, 41, 100, 255] if level == 2 else (0, 40, 90, 255):
            c, s = connected()
            s._send_alert(level, code)
            c.receive(s.data_to_send())
            try:
                drain(c)
                assert code == 0 and c.read_closed
            except PeerAlert as e:
                assert e.code == code != 0
            assert c.data_to_send() == b""


def test_alert_in_answer_to_client_hello():
    c = client()
    c.data_to_send()
    c.receive(b"\x15\x03\x03\x00\x02\x02\x46")
    try:
        drain(c)
        raise AssertionError("nothing was refused")
    except PeerAlert as e:
        assert e.code == VERSION and "TLS 1.3" in str(e)


def test_a_mute_transcript_change():
    """A man in the middle who changes one byte of any message in the clear is found out."""
    c0 = client()
    hello = c0.data_to_send()
    # Bytes of the random, the session id, the suites' GREASE and the key share.
    for at in (11, 44, 80, len(hello) - 3):
        c, s = client(), server()
        data = bytearray(c.data_to_send())
        data[at] ^= 0x10
        s.receive(data)
        try:
            drain(s)
            c.receive(s.data_to_send())
            drain(c)
            raise AssertionError(at)
        except TlsError:
            assert not c.connected
