"""Our client with our server: every suite, group and signature; resumption and all options."""

from stack.core.timers import NEVER
from stack.tls import alert, groups, lane, schedule, signatures
from stack.tls.alert import TlsError
from stack.tls.config import CLIENT_CERTIFICATE_REQUIRED, CLIENT_CERTIFICATE_WELCOME, Config
from stack.tls.events import HandshakeDone, KeyUpdated, PeerClosed, TicketReceived
from stack.tls.tickets import Sessions, TicketKeys
from tests.unit.tls.pair import (
    HOST,
    NOW,
    START,
    Rng,
    client,
    client_config,
    connected,
    drain,
    identity,
    pump,
    roots,
    server,
    server_config,
)

_GROUPS = (groups.X25519, groups.SECP256R1, groups.SECP384R1, groups.X25519MLKEM768)
_SIGNERS = (
    ("p256", signatures.ECDSA_SECP256R1_SHA256),
    ("p384", signatures.ECDSA_SECP384R1_SHA384),
    ("ed25519", signatures.ED25519),
    ("rsa2048", signatures.RSA_PSS_RSAE_SHA256),
    ("rsa2048", signatures.RSA_PSS_RSAE_SHA384),
    ("rsa2048", signatures.RSA_PSS_RSAE_SHA512),
)


def _talk(c, s, times=50):
    """Data both ways, and the end."""
    c.send(b"question")
    s.send(b"answer" * times)
    ec, es = pump(c, s)
    assert es == [b"question"], es
    assert b"".join([e for e in ec if isinstance(e, bytes)]) == b"answer" * times
    c.send_close()
    s.send_close()
    ec, es = pump(c, s)
    assert isinstance(ec[-1], PeerClosed) and isinstance(es[-1], PeerClosed)


def _matrix(suite):
    for group in _GROUPS:
        # RSA's two longer hashes with the first group only: the guest has 200 s for this file.
        for kind, scheme in _SIGNERS if group == _GROUPS[0] else _SIGNERS[:4]:
            cc = client_config(suites=(suite,), groups=(group,), schemes=(scheme,))
            c, s = connected(cc, server_config(kind))
            assert c.suite is s.suite is suite
            assert c.group == s.group == group
            assert c.scheme == s.scheme == scheme
            assert c.exporter_secret == s.exporter_secret
            assert len(c.peer_path) == 3
            _talk(c, s)


def test_matrix_aes_128_gcm():
    _matrix(schedule.AES_128_GCM_SHA256)


def test_matrix_aes_256_gcm():
    _matrix(schedule.AES_256_GCM_SHA384)


def test_matrix_chacha20_poly1305():
    _matrix(schedule.CHACHA20_POLY1305_SHA256)


def test_defaults():
    c, s = connected(Config(roots=roots()))
    assert c.group == groups.X25519MLKEM768 and not c.retried
    _talk(c, s, 6000)


def test_retry():
    for group in _GROUPS:
        cc = client_config(groups=_GROUPS, key_shares=(groups.X25519,))
        if group == groups.X25519:
            cc.key_shares = (groups.SECP256R1,)
        c, s = connected(cc, server_config(groups=(group,)))
        assert c.retried and s.retried and c.group == group
        _talk(c, s)


def test_retry_without_a_share():
    c, s = connected(client_config(groups=(groups.X25519,), key_shares=()))
    assert c.retried
    _talk(c, s)


def _sessions_pair(**more):
    sc = more.pop("sc", {})
    cc = client_config(sessions=Sessions(), **more)
    sc = server_config(tickets=TicketKeys(Rng("tickets")), **sc)
    return cc, sc


def test_resumption():
    for suite in schedule.SUITES:
        cc, sc = _sessions_pair(suites=(suite,))
        c, s = connected(cc, sc)
        assert not c.resumed and len(cc.sessions) == 2
        _talk(c, s)
        for _n in range(3):
            c, s = connected(cc, sc)
            assert c.resumed and s.resumed and c.scheme is None
            assert c.peer is not None and c.suite is suite
            _talk(c, s)


def test_resumption_with_retry():
    both = (groups.X25519, groups.SECP256R1)
    cc, sc = _sessions_pair(groups=both, key_shares=both[:1])
    connected(cc, sc)
    sc.groups = both[1:]
    c, s = connected(cc, sc)
    assert c.retried and c.resumed
    _talk(c, s)


def test_a_ticket_is_used_once():
    cc, sc = _sessions_pair()
    sc.ticket_count = 1
    connected(cc, sc)
    sc.ticket_count = 0
    assert connected(cc, sc)[0].resumed
    assert not connected(cc, sc)[0].resumed


def test_no_resumption():
    """Each reason for which a ticket is not taken gives a full handshake, not a failure."""
    cc, sc = _sessions_pair()
    connected(cc, sc)
    sc.tickets = TicketKeys(Rng("other"))  # a server that started anew
    assert not connected(cc, sc)[0].resumed
    # the end of its life
    cc, sc = _sessions_pair()
    connected(cc, sc)
    c = client(cc, now=START + 86401 * 1000000)
    s = server(sc)
    pump(c, s)
    assert c.connected and not c.resumed
    # a suite that is not wanted any more
    cc, sc = _sessions_pair()
    connected(cc, sc)
    cc.suites = schedule.SUITES[1:]
    assert not connected(cc, sc)[0].resumed
    # not verified then, to be verified now
    cc, sc = _sessions_pair(dangerously_accept_any_certificate=True)
    connected(cc, sc)
    cc.dangerously_accept_any_certificate = False
    assert not connected(cc, sc)[0].resumed
    # pins look at a chain
    cc, sc = _sessions_pair()
    c, _ = connected(cc, sc)
    cc.pins = [c.peer.spki_sha256()]
    assert not connected(cc, sc)[0].resumed


def test_altered_ticket():
    cc, sc = _sessions_pair()
    connected(cc, sc)
    for session in cc.sessions._all:
        t = bytearray(session[1].ticket)
        t[30] ^= 1
        session[1].ticket = bytes(t)
    c, s = connected(cc, sc)
    assert not c.resumed


def test_client_certificate():
    for kind in ("p256", "p384", "ed25519", "rsa2048"):
        cc = client_config(identities=[identity(kind)])
        c, s = connected(cc, server_config(client_auth=CLIENT_CERTIFICATE_REQUIRED))
        assert s.peer.der == identity(kind).chain[0] and len(s.peer_path) == 3
        _talk(c, s)


def test_client_certificate_welcome():
    c, s = connected(None, server_config(client_auth=CLIENT_CERTIFICATE_WELCOME))
    assert s.peer is None
    _talk(c, s)


def test_client_certificate_resumed():
    cc, sc = _sessions_pair(
        identities=[identity("p256")], sc={"client_auth": CLIENT_CERTIFICATE_REQUIRED}
    )
    connected(cc, sc)
    c, s = connected(cc, sc)
    assert s.resumed and s.peer.der == identity("p256").chain[0]
    # A session without a certificate does not get around the demand for one.
    cc, sc = _sessions_pair()
    connected(cc, sc)
    sc.client_auth = CLIENT_CERTIFICATE_REQUIRED
    cc.identities = [identity("p256")]
    c, s = connected(cc, sc)
    assert not s.resumed and s.peer is not None


def _early(cc, sc, data=b"early", now=START + 5000000):
    c = client(cc, now=now, early_data=data)
    s = server(sc, now=now)
    return c, s, pump(c, s)


def test_early_data():
    cc, sc = _sessions_pair(alpn=[b"h2"], sc={"early_data": 1000, "alpn": [b"h2"]})
    connected(cc, sc)
    c, s, (ec, es) = _early(cc, sc)
    assert c.early_data_accepted and s.early_data_accepted
    assert es[0] == b"early" and isinstance(es[1], HandshakeDone)
    _talk(c, s)


def test_early_data_refused():
    """Off, too old, another protocol, after a retry: the handshake goes on without them."""
    for why in ("off", "age", "alpn", "retry", "suite"):
        cc, sc = _sessions_pair(
            groups=_GROUPS[:2], key_shares=_GROUPS[:1], sc={"early_data": 1000}
        )
        connected(cc, sc)
        if why == "off":
            sc.early_data = 0
        elif why == "age":
            for _key, session in cc.sessions._all:
                session.age_add ^= 1 << 20
        elif why == "alpn":
            sc.alpn = cc.alpn = [b"h2"]
        elif why == "retry":
            sc.groups = _GROUPS[1:2]
        else:
            sc.suites = schedule.SUITES[2:]
        c, s, (ec, es) = _early(cc, sc, b"early" * 100)
        assert c.connected and not c.early_data_accepted and not s.early_data_accepted, why
        assert not [e for e in es if isinstance(e, bytes)], why
        assert s.resumed or why in ("suite",), why
        _talk(c, s)


def test_early_data_not_twice():
    """A recording of the first flight gives its early data to the server once."""
    cc, sc = _sessions_pair(sc={"early_data": 1000})
    connected(cc, sc)
    c = client(cc, early_data=b"pay")
    flight = c.data_to_send()
    got = []
    for n in range(2):
        s = server(sc, seed="s%d" % n)
        s.receive(flight)
        got.append([e for e in drain(s) if isinstance(e, bytes)])
    assert got == [[b"pay"], []]


def test_early_data_too_much():
    cc, sc = _sessions_pair(sc={"early_data": 10})
    connected(cc, sc)
    c, s, (ec, es) = _early(cc, sc, b"12345678901")
    assert c.connected and not c.early_data_accepted  # not even sent
    assert not [e for e in es if isinstance(e, bytes)]


def test_alpn():
    c, s = connected(client_config(alpn=[b"h2", b"http/1.1"]), server_config(alpn=[b"http/1.1"]))
    assert c.alpn == s.alpn == b"http/1.1"
    c, s = connected(client_config(alpn=[b"h2"]), server_config())
    assert c.alpn is s.alpn is None
    c, s = connected(client_config(), server_config(alpn=[b"h2"]))
    assert c.alpn is s.alpn is None


def test_server_picks_an_identity():
    sc = server_config(identities=[identity("p384"), identity("ed25519"), identity("p256")])
    cc = client_config(schemes=(signatures.ECDSA_SECP256R1_SHA256,))
    assert connected(cc, sc)[0].scheme == signatures.ECDSA_SECP256R1_SHA256
    assert connected(client_config(), sc)[0].scheme == signatures.ECDSA_SECP384R1_SHA384


def test_server_name():
    c, s = connected()
    assert s.host == HOST
    cc = client_config()
    c = client(cc, host="127.0.0.1")
    s = server()
    pump(c, s)
    assert c.connected and s.host is None  # an address is not sent, and is verified


def test_key_update():
    c, s = connected()
    for n in range(3):
        c.send_key_update(True)
        c.send(b"one")
        s.send_key_update(n == 1)
        s.send(b"two")
        ec, es = pump(c, s)
        assert b"one" in es and b"two" in ec
        assert [e for e in ec if isinstance(e, KeyUpdated)]
    assert c._writer.keys.secret == s._reader.keys.secret
    assert s._writer.keys.secret == c._reader.keys.secret
    _talk(c, s)


def test_key_updates_are_answered_once():
    c, s = connected()
    for _ in range(10):
        c.send_key_update(True)
    s.receive(c.data_to_send())
    drain(s)
    answer = s.data_to_send()
    assert len(answer) == 5 + 5 + 17, len(answer)


def test_key_is_changed_before_it_is_worn_out():
    c, s = connected()
    c._writer.keys.seq = s._reader.keys.seq = c.suite.record_limit - 1
    c.send(b"last")
    c.send(b"first")
    _, es = pump(c, s)
    assert es[0] == b"last" and isinstance(es[1], KeyUpdated) and es[2] == b"first"


def test_record_size_limit():
    cc, sc = client_config(record_size_limit=100), server_config(record_size_limit=200)
    c, s = connected(cc, sc)
    assert c.max_fragment == 199 and s.max_fragment == 99
    s.send(b"x" * 250)
    c.send(b"y" * 250)
    ec, es = pump(c, s)
    assert [len(e) for e in ec] == [99, 99, 52] and [len(e) for e in es] == [199, 51]


def test_padding():
    c, s = connected(client_config(pad=256), server_config(pad=1024))
    c.send(b"a")
    assert len(c.data_to_send()) == 5 + 256 + 17
    c, s = connected(client_config(pad=256), server_config(pad=1024))
    _talk(c, s)


def test_incompatible_and_no_grease():
    c, s = connected(client_config(compatible=False, grease=False))
    _talk(c, s)
    c = client(client_config(compatible=False, grease=False))
    hello = c.data_to_send()
    assert hello[43] == 0  # no session id


def test_exporter():
    c, s = connected()
    a = c.export(b"EXPORTER-test", b"context", 40)
    assert a == s.export(b"EXPORTER-test", b"context", 40) and len(a) == 40
    assert a != c.export(b"EXPORTER-test", b"", 40) != c.export(b"EXPORTER-other", b"", 40)


def test_key_log():
    lines = []
    c, s = connected(client_config(key_log=lines.append))
    labels = [line.split(" ")[0] for line in lines]
    assert labels == [
        "CLIENT_HANDSHAKE_TRAFFIC_SECRET", "SERVER_HANDSHAKE_TRAFFIC_SECRET",
        "CLIENT_TRAFFIC_SECRET_0", "SERVER_TRAFFIC_SECRET_0", "EXPORTER_SECRET",
    ]  # fmt: skip
    assert [len(x.split(" ")[1]) for x in lines] == [64] * 5
    theirs = []
    connected(client_config(), server_config(key_log=theirs.append))
    assert theirs == lines


def test_pins():
    c, _ = connected()
    pin = c.peer.spki_sha256()
    connected(client_config(pins=[pin]))
    c = client(client_config(pins=[bytes(32)]))
    s = server()
    try:
        pump(c, s)
        raise AssertionError("nothing was refused")
    except TlsError as e:
        assert e.kind == "wrong-pin"
    # A pin holds without verification too: one's own device without an authority.
    connected(client_config(pins=[pin], roots=server_config().roots,
                            dangerously_accept_any_certificate=True))  # fmt: skip


def test_verification_is_on():
    """Each thing that verification needs, when it is left out, fails the handshake."""
    for config, host, kind in (
        (Config(), HOST, "unknown-issuer"),
        (Config(roots=roots()), "other.example.org", "wrong-host"),
        (Config(roots=roots()), None, "wrong-host"),
        (Config(roots=roots()), "192.0.2.1", "wrong-host"),
    ):
        c = client(config, host=host)
        s = server()
        try:
            pump(c, s)
            raise AssertionError(kind)
        except alert.CertificateError as e:
            assert e.kind == kind
        assert not c.connected
    c, s = connected(Config(dangerously_accept_any_certificate=True), host="anything.test")
    assert c.connected


def test_expired_clock():
    from stack.tls.client import Client

    c = Client(client_config(), HOST, Rng("c"), START, NOW + 20 * 365 * 86400)
    s = server()
    try:
        pump(c, s)
        raise AssertionError("nothing was refused")
    except alert.CertificateError as e:
        assert e.kind == "expired" and "expired on 20" in e.reason


def test_timeout():
    c = client(client_config(handshake_us=5000000))
    assert c.poll_at() == START + 5000000
    c.on_timer(START + 4999999)
    assert c.error is None
    c.on_timer(START + 5000000)
    try:
        c.next_event()
        raise AssertionError("nothing was refused")
    except TlsError as e:
        assert "too long" in e.reason
    assert c.poll_at() == NEVER
    c, s = connected(client_config(handshake_us=5000000))
    assert c.poll_at() == NEVER


def _bytes_of(step):
    """Every byte that both sides send in a talk with all the trimmings, fed by `step`."""
    cc, sc = _sessions_pair(
        groups=_GROUPS[:2], alpn=[b"h2"], pad=32,
        identities=[identity("ed25519")],
        sc={"alpn": [b"h2"], "client_auth": CLIENT_CERTIFICATE_REQUIRED, "early_data": 100},
    )  # fmt: skip
    out = []
    kinds = []
    for n in range(2):
        # The first asks for a retry, the second may send early data.
        cc.key_shares = _GROUPS[:n]
        c, s = client(cc, early_data=b"early"), server(sc)
        for phase in range(3):
            if phase == 1:
                c.send(b"a" * 300)
                s.send_key_update(True)
                s.send(b"b" * 700)
            elif phase == 2:
                c.send_close()
                s.send_close()
            sent = [b"", b""]
            while True:
                x, y = c.data_to_send(), s.data_to_send()
                if not x and not y:
                    break
                sent[0] += x
                sent[1] += y
                for data, sink in ((x, s), (y, c)):
                    size = step or len(data) or 1
                    for i in range(0, len(data), size):
                        sink.receive(data[i : i + size])
                        for e in drain(sink):
                            kinds.append(e if isinstance(e, bytes) else type(e).__name__)
            out.append(sent)
    return out, kinds


def test_whole_and_byte_by_byte_are_the_same():
    whole = _bytes_of(0)
    assert "TicketReceived" in whole[1] and b"early" in whole[1] and "PeerClosed" in whole[1]
    assert _bytes_of(1) == whole
    assert _bytes_of(7) == whole


def test_whole_stream_at_once():
    """A server's bytes of a whole conversation in one receive give the same events in order."""
    c, s = connected()
    s.send(b"one")
    s.send_key_update()
    s.send(b"two" * 10000)
    s.send_close()
    c.receive(memoryview(bytearray(s.data_to_send())))
    got = drain(c)
    assert got[0] == b"one" and isinstance(got[1], KeyUpdated)
    assert b"".join(got[2:-1]) == b"two" * 10000 and isinstance(got[-1], PeerClosed)


def test_truncation():
    c, s = connected()
    s.send(b"half")
    c.receive(s.data_to_send())
    assert drain(c) == [b"half"]
    c.receive_eof()
    try:
        c.next_event()
        raise AssertionError("nothing was refused")
    except alert.Truncated as e:
        assert "close_notify" in e.reason
    assert c.data_to_send() == b""


def test_half_close():
    c, s = connected()
    c.send_close()
    es = pump(c, s)[1]
    assert isinstance(es[-1], PeerClosed)
    s.send(b"still")
    assert pump(c, s)[0] == [b"still"]
    try:
        c.send(b"no")
        raise AssertionError("nothing was refused")
    except ValueError:
        pass


def test_sending_is_bounded():
    c, s = connected()
    data = bytearray(200000)
    n = c.send(data)
    assert 0 < n < 65536 and len(c.out) <= 65536
    assert c.send(data) == 0
    c.sent(len(c.out))
    assert c.send(data) == n


def test_bulk_without_copies():
    """Records sealed in the caller's buffer, and received straight into the record buffer."""
    c, s = connected()
    buf = bytearray(5 + 16384 + 17)
    for i in range(16384):
        buf[5 + i] = i & 255
    n = lane.seal_record(s, buf, 0, buf, 5, 16384)
    assert n == len(buf)
    got = b""
    at = 0
    while at < n:
        room, off, space = c.receive_room()
        k = min(space, n - at, 5000)
        room[off : off + k] = buf[at : at + k]
        c.received(k)
        at += k
        for e in drain(c):
            got += e
    assert got == bytes([i & 255 for i in range(16384)])


def test_buffers_are_given_back():
    cc, sc = client_config(), server_config()
    c, s = connected(cc, sc)
    _talk(c, s)
    assert cc.buffers.in_use == 0 and sc.buffers.in_use == 0
    c, s = connected(cc, sc)
    c.send(b"x" * 50000)
    s.receive(c.data_to_send()[:30000])
    c.send(b"y")
    c.release()
    s.release()
    assert cc.buffers.in_use == 0 and sc.buffers.in_use == 0


def test_session_store_is_bounded():
    store = Sessions(most=3, per_host=2)
    cc, sc = _sessions_pair()
    cc.sessions = store
    c, s = connected(cc, sc)
    session = store.take(HOST, START)
    for n in range(10):
        store.put("h%d" % (n % 5), session)
        store.put("h", session)
    assert len(store) <= 3


def test_tickets_are_announced():
    cc, sc = _sessions_pair()
    c, s = client(cc), server(sc)
    ec, _ = pump(c, s)
    assert len([e for e in ec if isinstance(e, TicketReceived)]) == 2
