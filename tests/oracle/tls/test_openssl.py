"""Our machines against OpenSSL's s_server and s_client over real sockets."""

import contextlib
import os
import re
import threading
import time

import pytest

from stack.tls import alert, groups, schedule
from stack.tls.config import CLIENT_CERTIFICATE_REQUIRED
from stack.tls.events import KeyUpdated, TicketReceived
from stack.tls.keys import load_identity
from stack.tls.tickets import Sessions, TicketKeys
from stack.tls.x509.store import Roots
from tests.oracle.tls import minting
from tests.oracle.tls.peers import (
    HOST,
    IDENTITIES,
    KINDS,
    SUITES,
    TIMEOUT,
    Listener,
    client_config,
    dial,
    need,
    openssl_server,
    process,
    run,
    server_config,
)

GROUPS = {"X25519": groups.X25519, "P-256": groups.SECP256R1, "P-384": groups.SECP384R1}
BY_NAME = {s.name: s for s in schedule.SUITES}


def _ask(wire, text=b"hello there"):
    wire.send(text + b"\n")
    assert wire.line() == text[::-1]


# Our client


@pytest.mark.parametrize("kind", KINDS)
def test_client_matrix(files, kind):
    with openssl_server(files, kind, "-rev") as p:
        for suite in SUITES:
            for group in GROUPS.values():
                config = client_config(
                    suites=(BY_NAME[suite],), groups=(group,), key_shares=(group,)
                )
                with dial(p.port, config) as w:
                    _ask(w)
                    assert w.machine.suite.name == suite and w.machine.group == group
                    assert len(w.machine.peer_path) == 3


@pytest.mark.parametrize("scheme", (0x0804, 0x0805, 0x0806))
def test_client_rsa_pss_hashes(files, scheme):
    with openssl_server(files, "rsa2048", "-rev") as p:
        with dial(p.port, client_config(schemes=(scheme,))) as w:
            _ask(w)
            assert w.machine.scheme == scheme


@pytest.mark.parametrize("group", GROUPS)
def test_client_retry(files, group):
    first = groups.SECP256R1 if group == "X25519" else groups.X25519
    with openssl_server(files, "p256", "-rev", "-groups", group) as p:
        with dial(p.port, client_config(key_shares=(first,))) as w:
            _ask(w)
            assert w.machine.retried and w.machine.group == GROUPS[group]


def test_client_default_offer(files):
    """X25519MLKEM768 first: an older server takes the X25519 beside it."""
    with openssl_server(files, "p256", "-rev") as p, dial(p.port) as w:
        _ask(w)
        assert w.machine.group == groups.X25519 and not w.machine.retried


@pytest.mark.parametrize("suite", SUITES)
def test_client_resumption(files, suite):
    config = client_config(suites=(BY_NAME[suite],), sessions=Sessions())
    with openssl_server(files, "p256", "-rev") as p:
        for n in range(3):
            with dial(p.port, config) as w:
                assert w.machine.resumed == (n > 0)
                _ask(w)
                assert w.saw(TicketReceived)
                assert w.machine.peer is not None


def test_client_early_data(files):
    config = client_config(sessions=Sessions())
    arguments = ("-early_data", "-max_early_data", "4096", "-no_anti_replay")
    with openssl_server(files, "p256", *arguments) as p:
        with dial(p.port, config) as w:
            p.stdin.write(b"x\n")
            p.stdin.flush()
            w.line()
            w.until(lambda: w.saw(TicketReceived))
        with dial(p.port, config, early_data=b"sent early\n") as w:
            assert w.machine.early_data_accepted
            w.send(b"sent late\n")
            _wait(lambda: b"sent late" in p.log.read_bytes())
            assert b"sent early" in p.log.read_bytes()


def _wait(condition):
    end = time.monotonic() + TIMEOUT
    while not condition():
        assert time.monotonic() < end
        threading.Event().wait(0.01)


@pytest.mark.parametrize("kind", KINDS)
def test_client_certificate(files, kind):
    config = client_config(identities=[load_identity(*IDENTITIES[kind])])
    more = ("-rev", "-Verify", "3", "-verify_return_error", "-CAfile", files / "root.pem")
    with openssl_server(files, "p256", *more) as p:
        with dial(p.port, config) as w:
            _ask(w)
        with pytest.raises(alert.PeerAlert), dial(p.port) as w:
            _ask(w)


def test_client_key_update(files):
    with openssl_server(files, "p256") as p, dial(p.port) as w:
        for command in (b"k", b"K"):
            p.stdin.write(command + b"\n")
            p.stdin.flush()
            w.until(lambda: w.saw(KeyUpdated))
            w.events.clear()
            p.stdin.write(b"after\n")
            p.stdin.flush()
            assert w.line() == b"after"
            w.send(b"mine after " + command + b"\n")
            _wait(lambda command=command: b"mine after " + command in p.log.read_bytes())
        for request in (False, True):
            w.machine.send_key_update(request)
            w.send(b"updated %d\n" % request)
            _wait(lambda request=request: b"updated %d" % request in p.log.read_bytes())
        p.stdin.write(b"an answer goes with the next write\n")
        p.stdin.flush()
        w.until(lambda: w.saw(KeyUpdated))


@pytest.mark.parametrize("more", (("-record_padding", "512"), ("-max_send_frag", "512")))
def test_client_odd_records(files, more):
    with openssl_server(files, "p256", "-rev", *more) as p:
        with dial(p.port, client_config(pad=100)) as w:
            _ask(w, b"abcdefgh" * 1000)


def test_client_bulk(files):
    body = bytes(range(256)) * 4000
    (files / "bulk").write_bytes(body)
    more = ("-WWW", "-http_server_binmode")
    with openssl_server(files, "p256", *more, cwd=files) as p, dial(p.port) as w:
        w.send(b"GET /bulk HTTP/1.0\r\n\r\n")
        with contextlib.suppress(alert.Truncated):
            while not w.machine.read_closed:
                w.step()
        assert w.data.split(b"\r\n\r\n", 1)[1] == body


def test_client_alpn(files):
    with openssl_server(files, "p256", "-rev", "-alpn", "h2,http/1.1") as p:
        with dial(p.port, client_config(alpn=[b"http/1.1"])) as w:
            _ask(w)
            assert w.machine.alpn == b"http/1.1"
        with pytest.raises(alert.PeerAlert) as e, dial(p.port, client_config(alpn=[b"x"])) as w:
            _ask(w)
        assert e.value.code == alert.NO_APPLICATION_PROTOCOL


def test_client_exporter_and_key_log(files):
    lines = []
    more = ("-keymatexport", "EXPORTER-barewire", "-keymatexportlen", "24", "-keylogfile",
            files / "keys.log")  # fmt: skip
    with openssl_server(files, "p256", *more) as p:
        with dial(p.port, client_config(key_log=lines.append)) as w:
            want = w.machine.export(b"EXPORTER-barewire", b"", 24).hex()
            _wait(lambda: want in p.log.read_text().lower())
        theirs = set((files / "keys.log").read_text().lower().split("\n"))
        assert set(x.lower() for x in lines) <= theirs and len(lines) == 5


def test_client_ocsp(files, tmp_path):
    top = minting.root(end=5000)
    middle = minting.issue("CA", top, ca=True, end=5000)
    node = minting.leaf(middle, end=5000)
    roots = Roots(minting.pem(top))
    (files / "stapled.pem").write_bytes(minting.pem(node, middle))
    (files / "stapled.key").write_bytes(minting.key_pem(node.key))
    today = (time.time() - minting.NOW) / 86400
    for state, kind in (("good", None), ("revoked", "revoked"), ("unknown", "bad-status")):
        response = minting.status(node, middle, state, this=today - 1, until=today + 1)
        (tmp_path / "ocsp").write_bytes(response)
        with openssl_server(files, "stapled", "-rev", "-status_file", tmp_path / "ocsp") as p:
            config = client_config(roots=roots)
            if kind is None:
                with dial(p.port, config) as w:
                    _ask(w)
                continue
            with pytest.raises(alert.CertificateError) as e, dial(p.port, config):
                pass
            assert e.value.kind == kind


@pytest.mark.parametrize("why", ("host", "root"))
def test_client_refuses(files, why):
    """OpenSSL reads the alert that the RFC names."""
    with openssl_server(files, "p256", "-rev") as p:
        config = client_config(roots=Roots()) if why == "root" else client_config()
        host = HOST if why == "root" else "other.example.org"
        with pytest.raises(alert.CertificateError), dial(p.port, config, host=host):
            pass
        words = b"unknown ca" if why == "root" else b"bad certificate"
        _wait(lambda: words in p.log.read_bytes())


def test_client_refuses_tls_1_2(files):
    with openssl_server(files, "p256", "-rev", version="-tls1_2") as p:
        with pytest.raises(alert.TlsError) as e, dial(p.port):
            pass
        assert e.value.code in (alert.PROTOCOL_VERSION, alert.HANDSHAKE_FAILURE)
        assert "TLS 1.3" in str(e.value)


# Our server


def _s_client(files, port, *more, input=b"hello there\nQ\n", check=True):
    arguments = [need("openssl"), "s_client", "-connect", f"127.0.0.1:{port}", "-servername", HOST,
                 "-CAfile", files / "root.pem", "-verify_return_error", "-verify_hostname", HOST,
                 "-ign_eof"]  # fmt: skip
    return run(arguments + list(more), input=input, check=check)


@contextlib.contextmanager
def _talk(files, port, *more):
    """s_client with open pipes: the process and its log."""
    log = files / "s_client.log"
    arguments = [need("openssl"), "s_client", "-connect", f"127.0.0.1:{port}", "-servername", HOST,
                 "-CAfile", files / "root.pem", "-verify_return_error", *more]  # fmt: skip
    with process(arguments, log=log) as p:
        p.log = log

        def say(text, *answers):
            p.stdin.write(text)
            p.stdin.flush()
            for a in answers:
                _wait(lambda a=a: a in log.read_bytes())

        p.say = say
        yield p


@pytest.mark.parametrize("kind", KINDS)
def test_server_matrix(files, kind):
    with Listener(server_config(kind)) as s:
        for suite in SUITES:
            for group in GROUPS:
                more = ("-ciphersuites", suite, "-groups", group)
                with _talk(files, s.port, *more) as p:
                    p.say(b"hello there\n", b"ereht olleh", b"Verify return code: 0 (ok)")
                assert s.seen[-1].suite.name == suite and s.seen[-1].group == GROUPS[group]


@pytest.mark.parametrize("name", ("RSA-PSS+SHA256", "RSA-PSS+SHA384", "RSA-PSS+SHA512"))
def test_server_rsa_pss_hashes(files, name):
    with Listener(server_config("rsa2048")) as s:
        more = ("-sigalgs", f"{name}:RSA+SHA256:ECDSA+SHA256")
        with _talk(files, s.port, *more) as p:
            p.say(b"hello there\n", b"ereht olleh")


def test_server_retry(files):
    with Listener(server_config(groups=(groups.SECP384R1,))) as s:
        with _talk(files, s.port, "-groups", "X25519:P-384") as p:
            p.say(b"hello there\n", b"ereht olleh")
        assert s.seen[0].retried and s.seen[0].group == groups.SECP384R1


def test_server_resumption_and_early_data(files):
    config = server_config("p256", tickets=TicketKeys(os.urandom), early_data=1000)
    session = files / "session.pem"
    with Listener(config) as s:
        with _talk(files, s.port, "-sess_out", session) as p:
            p.say(b"hello there\n", b"ereht olleh")
            _wait(session.exists)
        with _talk(files, s.port, "-sess_in", session) as p:
            p.say(b"hello there\n", b"ereht olleh", b"Reused, TLSv1.3")
        assert s.seen[-1].resumed
        (files / "early").write_bytes(b"sent early\n")
        with _talk(files, s.port, "-sess_in", session, "-early_data", files / "early") as p:
            p.say(b"hello there\n", b"ylrae tnes", b"ereht olleh", b"Early data was accepted")
        assert s.seen[-1].early_data_accepted


@pytest.mark.parametrize("kind", KINDS)
def test_server_client_certificate(files, kind):
    config = server_config("p256", client_auth=CLIENT_CERTIFICATE_REQUIRED)
    with Listener(config) as s:
        more = ("-cert", files / f"{kind}.pem", "-key", files / f"{kind}.key", "-cert_chain",
                files / f"{kind}.pem")  # fmt: skip
        with _talk(files, s.port, *more) as p:
            p.say(b"hello there\n", b"ereht olleh")
        assert s.seen[-1].peer.subject_text() == kind
        with _talk(files, s.port) as p:
            _wait(lambda: b"alert number 116" in p.log.read_bytes())


def test_server_key_update(files):
    def handler(wire):
        for n in range(4):
            line = wire.line()
            if n == 3:
                wire.machine.send_key_update(True)
            wire.send(line[::-1] + b"\n")
        wire.line()
        updates.append(sum(isinstance(e, KeyUpdated) for e in wire.events))

    updates = []
    with Listener(server_config("p256"), handler) as s:
        with _talk(files, s.port) as p:
            p.say(b"one two\n", b"owt eno")
            p.say(b"k\n", b"KEYUPDATE")
            p.say(b"three\n", b"eerht")
            p.say(b"K\n")
            _wait(lambda: p.log.read_bytes().count(b"KEYUPDATE") == 2)
            p.say(b"four\n", b"ruof")
            p.say(b"five\n", b"evif")
            p.say(b"end\n")
            _wait(lambda: updates)
    assert updates == [3]


def test_server_refuses_tls_1_2(files):
    with Listener(server_config("p256")) as s:
        out = _s_client(files, s.port, "-tls1_2", check=False)
        assert b"alert protocol version" in out
        _wait(lambda: s.errors)
        assert "TLS 1.2" in str(s.errors[0])


def test_server_alpn(files):
    with Listener(server_config("p256", alpn=[b"h2"])) as s:
        with _talk(files, s.port, "-alpn", "http/1.1,h2") as p:
            p.say(b"hello there\n", b"ereht olleh", b"ALPN protocol: h2")
        out = _s_client(files, s.port, "-alpn", "http/1.1", check=False)
        assert b"alert number 120" in out or b"no application protocol" in out


def test_server_staples(files):
    top = minting.root(end=5000)
    middle = minting.issue("CA", top, ca=True)
    node = minting.leaf(middle)
    identity = load_identity(minting.pem(node, middle), minting.key_pem(node.key))
    identity.ocsp = minting.status(node, middle)
    config = server_config("p256")
    config.identities = [identity]
    with Listener(config) as s:
        out = run([need("openssl"), "s_client", "-connect", f"127.0.0.1:{s.port}", "-status",
                   "-servername", HOST], input=b"", check=False)  # fmt: skip
        assert re.search(rb"OCSP Response Status: successful", out)


def test_server_exporter(files):
    with Listener(server_config("p256")) as s:
        more = ("-keymatexport", "EXPORTER-barewire", "-keymatexportlen", "24")
        with _talk(files, s.port, *more) as p:
            p.say(b"hello there\n", b"ereht olleh")
            want = s.seen[0].export(b"EXPORTER-barewire", b"", 24).hex().upper().encode()
            _wait(lambda: want in p.log.read_bytes())
