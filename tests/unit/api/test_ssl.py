"""ssl, tls and net.tls over the loopback: both ends in one program, nothing blocks."""

import io

from stack.api import ssl, tls
from stack.api.select import poll
from stack.api.socket import socket
from stack.core import errors
from stack.core.errors import POLLERR, POLLIN, POLLOUT
from stack.tls import groups
from stack.tls.x509.store import RootFile, make_index
from tests.unit.api.world import World
from tests.vectors.tls.identities import HOST, IDENTITIES, NOW, ROOT

PORT = 443
CHAIN, KEY = [text.encode() for text in IDENTITIES["p256"]]


def world():
    w = World()
    w.hw.unix_us = lambda: NOW * 1000000
    return w


def server_context(**options):
    c = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER, groups=(groups.X25519,), **options)
    c.load_cert_chain(CHAIN, KEY)
    return c


def client_context(roots=ROOT, **options):
    options.setdefault("groups", (groups.X25519,))
    options.setdefault("key_shares", (groups.X25519,))
    c = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT, **options)
    c.load_verify_locations(cadata=roots)
    return c


def tcp_pair(w):
    listener = socket()
    listener.bind(("127.0.0.1", 0))
    listener.listen()
    a = socket()
    a.connect(listener.getsockname())
    b, _ = listener.accept()
    listener.close()
    a.setblocking(False)
    b.setblocking(False)
    return a, b


def pair(w, cc=None, sc=None, host=HOST):
    """(client's, server's) SSLSockets, the handshake not begun."""
    a, b = tcp_pair(w)
    cc = cc or client_context()
    sc = sc or server_context()
    return (
        cc.wrap_socket(a, server_hostname=host, do_handshake_on_connect=False),
        sc.wrap_socket(b, server_side=True, do_handshake_on_connect=False),
    )


def shake(w, c, s):
    """Poll until both can be written to; an end that fails ends it too."""
    p = poll()
    p.register(c, POLLOUT)
    p.register(s, POLLOUT)
    for _ in range(50):
        w.settle(1000)
        if len(p.poll(0)) == 2:
            return
    raise AssertionError("no end of the handshake")


def connected(w, cc=None, sc=None, host=HOST):
    c, s = pair(w, cc, sc, host)
    shake(w, c, s)
    return c, s


def raises(function, *args):
    try:
        function(*args)
    except (OSError, ValueError) as e:
        return e
    raise AssertionError("nothing was raised")


def test_both_ends():
    with world() as w:
        for end in connected(w):
            end.close()
        w.settle(1000)  # the loopback has its arena now
        at_rest = w.host.buffers.in_use
        c, s = connected(w, client_context(alpn=[b"x", b"y"]), server_context(alpn=[b"y"]))
        assert c.write(b"a line\nand more") == 15
        w.settle(1000)
        assert s.readline() == b"a line\n"
        assert s.recv(3) == b"and"
        assert s.read(100) == b" more"
        assert s.read(100) is None
        assert s.send(b"back") == 4
        w.settle(1000)
        buf = bytearray(10)
        assert c.recv_into(buf) == 4 and buf[:4] == b"back"
        assert c.cipher()[1] == c.version() == "TLSv1.3"
        assert c.selected_alpn_protocol() == "y"
        assert c.getpeercert(True)[:1] == b"\x30" and s.getpeercert(True) is None
        found = tls.info(c)
        assert found["subject"] == "p256" and found["group"] == "x25519"
        assert tls.export(c, "label", b"context", 20) == tls.export(s, b"label", b"context", 20)
        c.close()
        w.settle(1000)
        assert s.read(10) == b"" and s.recv(10) == b""
        s.close()
        c.close()
        assert raises(s.recv, 1).args[0] == errors.EBADF
        w.settle(3000000)
        w.rt.kick(w.hw.t)  # TCP gives rings back when the device has passed them
        assert w.host.buffers.in_use == at_rest


def test_large_data_and_key_updates():
    with world() as w:
        c, s = connected(w)
        data = bytes([i * 7 & 255 for i in range(100003)])
        got = b""
        sent = 0
        for _ in range(1000):
            if sent < len(data):
                sent += c.write(memoryview(data)[sent:]) or 0
            if len(got) in range(1, 20000):
                tls.update_key(c, True)
            w.settle(1000)
            got += s.read(30000) or b""
            c.read(1)
            if len(got) == len(data):
                break
        assert got == data


def test_messages_of_all_sizes_around_the_rings():
    """Read at once or in parts: what is in TCP's ring whole, around its end, or not yet."""
    with world() as w:
        c, s = connected(w)
        for n in range(1, 500, 3):
            data = bytes([n & 255]) + bytes(n - 1)
            for one, other in ((c, s), (s, c)):
                assert one.write(data) == n
                if n & 1:
                    assert one.write(b"behind") == 6
                w.settle(1000)
                got = other.recv(200 if n & 2 else 1000)
                while len(got) < n:
                    got += other.recv(700)
                if n & 1:
                    got = got if len(got) == n + 6 else got + other.recv(6)
                    assert got[n:] == b"behind"
                assert got[:n] == data
                assert other.read(1) is None
        data = bytes([i * 5 & 255 for i in range(30000)])
        assert c.write(data) == len(data)
        w.settle(1000)
        got = b""
        while len(got) < len(data):
            got += s.recv(1 + len(got) % 4000)
            w.settle(1000)
        assert got == data
        tls.update_key(s)
        s.write(b"after")
        w.settle(1000)
        assert c.recv(10) == b"after"


def test_a_bad_record_in_the_ring():
    """It ends the connection, whatever comes behind it, and the peer is told."""
    with world() as w:
        for end in (0, 1):
            both = connected(w)
            victim, other = both[end], both[1 - end]
            other.write(b"good")
            other._ep._below.send(b"\x17\x03\x03\x00\x30" + bytes(48), 0, 53, w.hw.t)
            other.write(b"more")
            w.settle(1000)
            assert victim.recv(100) == b"good"
            for _ in range(2):
                assert raises(victim.recv, 100).args[0] == -0x7180
            assert raises(victim.write, b"x").args[0] == -0x7180
            w.settle(1000)
            assert raises(other.recv, 1).args[0] == -0x7780
            both[0].close()
            both[1].close()


def test_poll_tells_about_plaintext():
    with world() as w:
        c, s = pair(w)
        p = poll()
        p.register(c, POLLIN | POLLOUT)
        assert p.poll(0) == []  # connected, and not yet to be written to
        shake(w, c, s)
        assert p.poll(0) == [(c, POLLOUT)]
        p.modify(c, POLLIN)
        s.write(b"abcdef")
        w.settle(1000)
        assert p.poll(0) == [(c, POLLIN)]
        assert c.read(2) == b"ab"
        # The connection below has nothing more; the plaintext is here.
        assert c._sock._ep.recv_len() == 0
        assert p.poll(0) == [(c, POLLIN)]
        assert c.ioctl(3, POLLIN) == POLLIN
        assert c.read(4) == b"cdef"
        assert p.poll(0) == []
        s.close()
        w.settle(1000)
        assert p.poll(0)[0][1] & POLLIN
        assert c.read(1) == b""


def test_refused_in_words():
    with world() as w:
        c, s = pair(w, host="other.example")
        p = poll()
        p.register(c, POLLIN)
        p.register(s, POLLIN)
        w.settle(1000)
        p.poll(0)
        w.settle(1000)
        ready = dict([(id(o), e) for o, e in p.poll(0)])
        assert ready[id(c)] & POLLERR
        e = raises(c.read, 1)
        assert isinstance(e, ssl.SSLCertVerificationError) and isinstance(e, OSError)
        assert e.errno == -0x2700 and e.kind == "wrong-host"
        assert "not for other.example but for " + HOST in str(e)
        w.settle(1000)
        e = raises(s.read, 1)
        assert isinstance(e, ssl.SSLError) and e.args[0] == -0x7780
        assert "bad_certificate" in str(e)
        assert raises(s.write, b"x") is e  # and stays so


def test_unknown_issuer_expired_and_client_without_host():
    with world() as w:
        end = "-----END CERTIFICATE-----\n"
        other = IDENTITIES["ed25519"][0].split(end)[0] + end  # trusted, and not the issuer
        c, s = pair(w, client_context(other))
        shake(w, c, s)
        assert raises(c.read, 1).kind == "unknown-issuer"
        w.hw.unix_us = lambda: (NOW + 20 * 366 * 86400) * 1000000
        c, s = pair(w)
        shake(w, c, s)
        e = raises(c.read, 1)
        assert e.kind == "expired" and "expired on 20" in str(e)
        e = raises(client_context().wrap_socket, tcp_pair(w)[0])
        assert isinstance(e, ValueError) and "server_hostname" in str(e)


def test_the_images_roots():
    """With nothing loaded: a root found in a PEM file by its index."""
    end = "-----END CERTIFICATE-----\n"
    pem = (IDENTITIES["rsa2048"][0].split(end)[0] + end + ROOT).encode()
    read = []

    def read_root(at, n):
        read.append(n)
        return pem[at : at + n]

    before = tls._roots
    options = {"groups": (groups.X25519,), "key_shares": (groups.X25519,)}
    with world() as w:
        try:
            tls._roots = RootFile(read_root, make_index(pem))
            c, s = connected(w, ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT, **options))
            assert tls.info(c)["path"][-1] == "Barewire Test Root" and len(read) == 1
            pem = pem.replace(ROOT.encode()[40:80], b"A" * 40)  # another file than its index says
            c, s = pair(w, ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT, **options))
            shake(w, c, s)
            assert isinstance(raises(c.read, 1), ssl.SSLError)
            tls._roots = RootFile(read_root, make_index(pem[: pem.find(end.encode()) + 26]))
            c, s = pair(w, ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT, **options))
            shake(w, c, s)
            assert raises(c.read, 1).kind == "unknown-issuer"
        finally:
            tls._roots = before


def test_cert_none_by_name():
    with world() as w:
        cc = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        assert cc.verify_mode == ssl.CERT_REQUIRED
        cc.verify_mode = ssl.CERT_NONE
        c, s = connected(w, cc, host=None)
        assert tls.info(c)["path"] == ["p256"]
        assert tls.context(dangerously_accept_any_certificate=True).verify_mode == ssl.CERT_NONE


def test_client_certificates():
    with world() as w:
        for mode, mine, fails in (
            (ssl.CERT_NONE, True, False),
            (ssl.CERT_OPTIONAL, False, False),
            (ssl.CERT_OPTIONAL, True, False),
            (ssl.CERT_REQUIRED, True, False),
            (ssl.CERT_REQUIRED, False, True),
        ):
            sc = server_context()
            sc.verify_mode = mode
            sc.load_verify_locations(cadata=ROOT)
            cc = client_context()
            if mine:
                cc.load_cert_chain(*[t.encode() for t in IDENTITIES["ed25519"]])
            c, s = connected(w, cc, sc)
            if fails:
                assert "certificate" in str(raises(s.read, 1))
                assert "certificate_required" in str(raises(c.read, 1))
            else:
                assert (s.getpeercert(True) is not None) == (mine and mode != ssl.CERT_NONE)


def test_resumption_within_a_context():
    with world() as w:
        cc, sc = client_context(), server_context()
        a, b = tcp_pair(w)
        where = b.getsockname()
        a.close()
        b.close()
        listener = socket()
        listener.bind(where)
        listener.listen()
        for turn in range(3):
            a = socket()
            a.connect(where)
            b, _ = listener.accept()
            a.setblocking(False)
            b.setblocking(False)
            c = cc.wrap_socket(a, server_hostname=HOST, do_handshake_on_connect=False)
            s = sc.wrap_socket(b, server_side=True, do_handshake_on_connect=False)
            shake(w, c, s)
            w.settle(1000)
            assert c.read(1) is None  # and the tickets are taken in
            assert tls.info(c)["resumed"] == tls.info(s)["resumed"] == (turn > 0)
            assert len(cc._sessions) == 2  # two of the full handshake; one used, one new
            c.close()
            s.close()


def test_stapled_response():
    with world() as w:
        options = {"certificate": CHAIN, "key": KEY, "groups": (groups.X25519,)}
        c, s = pair(w, sc=tls.context(server=True, ocsp=b"no response", **options))
        shake(w, c, s)
        assert raises(c.read, 1).kind == "bad-status"  # it was sent, and it was looked at


def test_truncation_and_reset():
    with world() as w:
        c, s = connected(w)
        s.write(b"some")
        s._sock.shutdown(1)  # TCP's end without TLS's
        w.settle(1000)
        assert c.read(4) == b"some"
        e = raises(c.read, 1)
        assert e.errno == -0x7280 and "close_notify" in str(e)
        c, s = connected(w)
        s._sock._ep.abort(w.hw.t)
        w.rt.kick(w.hw.t)
        w.settle(1000)
        assert raises(c.read, 1).args[0] == errors.ECONNRESET


def test_time_outs():
    with world() as w:
        c, s = connected(w)
        c.settimeout(2)
        t = w.hw.t
        assert raises(c.read, 1).args[0] == errors.ETIMEDOUT
        assert w.hw.t - t >= 2000000
        c._sock.settimeout(0)  # programs keep the socket below and use either
        assert c.read(1) is None
        a, b = tcp_pair(w)
        b.settimeout(3)
        e = raises(lambda: server_context().wrap_socket(b, server_side=True))
        assert e.args[0] == errors.ETIMEDOUT
        # Without a time-out the context's own limit ends it.
        a, b = tcp_pair(w)
        b.setblocking(True)
        e = raises(lambda: server_context().wrap_socket(b, server_side=True))
        assert isinstance(e, ssl.SSLError) and "too long" in str(e)


def test_a_peer_that_speaks_no_tls():
    with world() as w:
        a, b = tcp_pair(w)
        s = server_context().wrap_socket(b, server_side=True, do_handshake_on_connect=False)
        a.send(b"GET / HTTP/1.0\r\n\r\n")
        w.settle(1000)
        assert "not TLS" in str(raises(s.read, 1))
        w.settle(1000)
        assert a.recv(100) == b"\x15\x03\x03\x00\x02\x02\x0a"  # unexpected_message


def test_ciphers():
    with world() as w:
        cc = client_context()
        assert cc.get_ciphers()[0] == "TLS_AES_128_GCM_SHA256" and len(cc.get_ciphers()) == 3
        cc.set_ciphers(["TLS_AES_256_GCM_SHA384"])
        c, s = connected(w, cc)
        assert c.cipher()[0] == s.cipher()[0] == "TLS_AES_256_GCM_SHA384"
        assert raises(cc.set_ciphers, ["TLS_RSA_WITH_RC4_128_SHA"]).errno == -0x5E80
        cc.set_ciphers(["TLS1-3-CHACHA20-POLY1305-SHA256"])
        assert cc.get_ciphers() == ["TLS_CHACHA20_POLY1305_SHA256"]


def test_verify_callback():
    with world() as w:
        seen = []
        cc = client_context()
        cc.verify_callback = lambda der, depth: seen.append((depth, len(der)))
        connected(w, cc)
        assert [d for d, _ in seen] == [2, 1, 0]
        cc.verify_callback = lambda der, depth: depth == 0
        c, s = pair(w, cc)
        shake(w, c, s)
        assert raises(c.read, 1).kind == "refused"


def test_pins():
    with world() as w:
        good = tls.pin(CHAIN)
        options = {"groups": (groups.X25519,), "key_shares": (groups.X25519,)}
        connected(w, tls.context(roots=ROOT, pins=[good], **options))
        c, s = pair(w, tls.context(roots=ROOT, pins=[bytes(32)], **options))
        shake(w, c, s)
        assert raises(c.read, 1).kind == "wrong-pin"
        assert isinstance(raises(tls._pin_bytes, b"short"), ValueError)


def test_key_log():
    lines = []
    with world() as w:
        cc = client_context()
        connected(w, cc)
        tls.key_log(lines.append)
        try:
            connected(w, cc)
        finally:
            tls.key_log(None)
        connected(w, cc)
    names = [line.split()[0] for line in lines]
    assert sorted(names) == sorted(2 * [
        "CLIENT_HANDSHAKE_TRAFFIC_SECRET", "SERVER_HANDSHAKE_TRAFFIC_SECRET",
        "CLIENT_TRAFFIC_SECRET_0", "SERVER_TRAFFIC_SECRET_0", "EXPORTER_SECRET",
    ])  # fmt: skip


def test_what_cannot_be_loaded():
    c = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    for function, args, words in (
        (c.load_cert_chain, (CHAIN, b"no key"), "invalid key"),
        (c.load_cert_chain, (b"no certificate", KEY), "invalid cert"),
        (c.load_cert_chain, (CHAIN, IDENTITIES["ed25519"][1].encode()), "does not belong"),
        (c.load_verify_locations, (None, b"nothing"), "invalid cert"),
        (c.load_verify_locations, (None, b"\x30\x03\x02\x01\x01"), "invalid cert"),
        (ssl.SSLContext, (7,), "protocol"),
    ):
        e = raises(function, *args)
        assert isinstance(e, ValueError) and words in str(e), (words, e)
    assert raises(c.load_verify_locations, "/no/such/file").args[0] == 2


def test_unwrap_gives_the_socket_back():
    with world() as w:
        c, s = connected(w)
        a = c.unwrap()
        w.settle(1000)
        assert s.read(10) == b""
        b = s.unwrap()
        w.settle(1000)
        a.send(b"in the clear")
        w.settle(1000)
        # What was sent after close_notify is below; what came with it went with the record.
        assert b.recv(100)[-5:] == b"clear"


class Pipe(io.IOBase):
    """One end of two queues: a stream of the program's own."""

    def __init__(self, incoming, outgoing):
        self.incoming = incoming
        self.outgoing = outgoing

    def readinto(self, buf):
        n = min(len(buf), len(self.incoming))
        if not n:
            return None
        buf[:n] = self.incoming[:n]
        self.incoming[:] = self.incoming[n:]
        return n

    def write(self, data):
        self.outgoing.extend(data)
        return len(data)

    def ioctl(self, request, arg):
        if request == 4:
            self.closed_by_tls = True
            return 0
        return (POLLIN if self.incoming else 0) | POLLOUT & arg

    def setblocking(self, flag):
        pass


def test_over_a_stream_of_the_programs_own():
    with world() as w:
        w.hw.lock()  # as for C: `unlock` within is allowed
        w.hw.unlock()
        one, two = bytearray(), bytearray()
        c = client_context().wrap_socket(
            Pipe(one, two), server_hostname=HOST, do_handshake_on_connect=False
        )
        s = server_context().wrap_socket(
            Pipe(two, one), server_side=True, do_handshake_on_connect=False
        )
        c.setblocking(False)
        s.setblocking(False)
        for _ in range(5):
            s.read(1)
            c.read(1)
        assert c.write(b"hello\nyou") == 9
        assert s.readline() == b"hello\n" and s.recv(10) == b"you"
        c.close()
        assert s.read(1) == b""


def test_closed_sockets():
    with world() as w:
        c, s = connected(w)
        p = poll()
        p.register(c, POLLIN)
        c.close()
        assert p.poll(0)[0][1] == 32  # POLLNVAL
        assert raises(c.write, b"x").args[0] == errors.EBADF
        assert raises(c.readline).args[0] == errors.EBADF
