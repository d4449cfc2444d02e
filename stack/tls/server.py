"""The server's side of the handshake, top to bottom as in the figure of RFC 8446, section 2.

    ClientHello          -->
                         <--  [HelloRetryRequest]
    [ClientHello]        -->
                         <--  ServerHello, EncryptedExtensions, [CertificateRequest],
                              [Certificate, CertificateVerify], Finished
    [EndOfEarlyData], [Certificate, CertificateVerify], Finished  -->
                         <--  [NewSessionTicket ...]

Not implemented: stateless HelloRetryRequest (a cookie), post-handshake
authentication, external PSKs, data before the client's Finished.
"""

from micropython import const

from stack.tls import alert, groups, messages, schedule, signatures, verify
from stack.tls import events as ev
from stack.tls import extensions as ext
from stack.tls.alert import TlsError
from stack.tls.config import CLIENT_CERTIFICATE_REQUIRED, NO_CLIENT_CERTIFICATE
from stack.tls.connection import Connection
from stack.tls.extensions import TLS13
from stack.tls.messages import (
    CERTIFICATE,
    CERTIFICATE_VERIFY,
    CLIENT_HELLO,
    END_OF_EARLY_DATA,
    FINISHED,
)
from stack.tls.tickets import TicketState
from stack.tls.x509.certificate import Certificate

# Early data that we refuse may come in this many bytes of records before a client must have
# seen our answer: what clients are told at most by others (16 KB) with room for small records.
_SKIP_BYTES = const(65536)
_PSK_DHE_KE = const(1)


def _illegal(reason):
    return TlsError(alert.ILLEGAL_PARAMETER, reason)


class Server(Connection):
    """A server's connection. After HandshakeDone `host` is what the client asked for."""

    def _flow(self):
        return _handshake(self)




def _handshake(c):
    """Yields actions of events.py."""
    config = c.config
    transcript = schedule.Transcript()

    # ClientHello, [HelloRetryRequest, ClientHello]
    raw = yield ev.EXPECT, (CLIENT_HELLO,)
    hello = messages.pull_client_hello(raw)
    _check_hello(hello)
    suite, state = _choose_suite(c, hello)
    group, share = _choose_group(config, hello)
    skip = max(_SKIP_BYTES, 2 * config.early_data) if hello.early_data else 0
    if share is None:
        c.retried = True
        yield ev.SKIP_EARLY, skip
        skip = 0
        transcript.add(raw)
        transcript.choose(suite.hash)
        transcript.retry()
        raw = messages.push_server_hello(
            messages.RETRY_RANDOM,
            hello.session_id,
            suite.id,
            (
                (ext.EXT_SUPPORTED_VERSIONS, ext.u16_body(TLS13)),
                (ext.EXT_KEY_SHARE, ext.u16_body(group)),
            ),
        )
        transcript.add(raw)
        yield ev.SEND, raw
        if hello.session_id:
            yield (ev.SEND_CCS,)
        raw = yield ev.EXPECT, (CLIENT_HELLO,)
        first, hello = hello, messages.pull_client_hello(raw)
        _check_hello(hello)
        _check_second_hello(first, hello)
        if len(hello.key_shares) != 1 or hello.key_shares[0][0] != group:
            raise _illegal("a second ClientHello without the key share that was asked for")
        share = hello.key_shares[0][1]
        again, state = _choose_suite(c, hello, suite)
        if again is not suite:
            raise _illegal("a second ClientHello with other cipher suites")

    # Pre-shared key
    index = 0
    if state is not None:
        state, index = state
        psk = state.psk
        h = suite.hash
        digest = transcript.digest_with(h, memoryview(raw)[: hello.binders_at])
        key = schedule.binder_key(h, schedule.early_secret(h, psk))
        # 4.2.11: "If this value is not present or does not validate, the server MUST abort".
        schedule.check_finished(h, key, digest, hello.binders[index], "the PSK's binder is wrong")
    transcript.add(raw)
    if not c.retried:
        transcript.choose(suite.hash)
    c.suite, c.group = suite, group
    c.host = hello.server_name
    c.alpn = _choose_alpn(config, hello)
    c.resumed = state is not None
    h = suite.hash
    early = schedule.early_secret(h, psk if state is not None else None)
    c.early_data_accepted = _accepts_early(c, hello, state, index)
    if c.early_data_accepted:
        early_secret = schedule.client_early_traffic_secret(h, early, transcript.digest())
        c._log("CLIENT_EARLY_TRAFFIC_SECRET", hello.random, early_secret)

    yield ev.SKIP_EARLY, 0 if c.early_data_accepted else skip

    # ServerHello
    ours, secret = groups.generate(group, c.rng, False).answer(share)
    server_random = c.rng(32)
    extensions = [
        (ext.EXT_KEY_SHARE, ext.key_share_body(group, ours)),
        (ext.EXT_SUPPORTED_VERSIONS, ext.u16_body(TLS13)),
    ]
    if state is not None:
        extensions.insert(0, (ext.EXT_PRE_SHARED_KEY, ext.u16_body(index)))
    raw = messages.push_server_hello(server_random, hello.session_id, suite.id, extensions)
    transcript.add(raw)
    yield ev.SEND, raw
    if hello.session_id and not c.retried:
        yield (ev.SEND_CCS,)

    # Handshake keys
    secret = schedule.handshake_secret(h, early, secret)
    digest = transcript.digest()
    client_secret = schedule.client_handshake_traffic_secret(h, secret, digest)
    server_secret = schedule.server_handshake_traffic_secret(h, secret, digest)
    master = schedule.master_secret(h, secret)
    c._log("CLIENT_HANDSHAKE_TRAFFIC_SECRET", hello.random, client_secret)
    c._log("SERVER_HANDSHAKE_TRAFFIC_SECRET", hello.random, server_secret)
    yield ev.WRITE_KEY, suite, server_secret
    if not c.early_data_accepted:
        yield ev.READ_KEY, suite, client_secret
    else:
        yield ev.READ_KEY, suite, early_secret

    # EncryptedExtensions
    raw = messages.push_encrypted_extensions(_extensions(c, hello))
    transcript.add(raw)
    yield ev.SEND, raw
    if config.record_size_limit and hello.record_size_limit:
        yield ev.LIMITS, min(config.record_size_limit, 16385), min(hello.record_size_limit, 16385)

    # [CertificateRequest, Certificate, CertificateVerify]
    asks = state is None and config.client_auth != NO_CLIENT_CERTIFICATE
    if asks:
        raw = _certificate_request(c)
        transcript.add(raw)
        yield ev.SEND, raw
    if state is None:
        identity, c.scheme = verify.choose_identity(
            config.identities, hello.schemes, hello.server_name
        )
        if identity is None:
            why = "no signature scheme in common" if config.identities else "no certificate to show"
            raise TlsError(alert.HANDSHAKE_FAILURE, why)
        ocsp = identity.ocsp if hello.status_request else None
        raw = messages.push_certificate(b"", identity.chain, ocsp)
        transcript.add(raw)
        yield ev.SEND, raw
        content = signatures.content(signatures.SERVER_CONTEXT, transcript.digest())
        raw = messages.push_certificate_verify(
            c.scheme, identity.signer.sign(c.scheme, content, c.rng)
        )
        transcript.add(raw)
        yield ev.SEND, raw

    # Finished
    raw = messages.push_finished(schedule.finished(h, server_secret, transcript.digest()))
    transcript.add(raw)
    yield ev.SEND, raw

    # Application keys
    digest = transcript.digest()
    client_app = schedule.client_application_traffic_secret(h, master, digest)
    server_app = schedule.server_application_traffic_secret(h, master, digest)
    exporter_secret = schedule.exporter_master_secret(h, master, digest)
    c._log("CLIENT_TRAFFIC_SECRET_0", hello.random, client_app)
    c._log("SERVER_TRAFFIC_SECRET_0", hello.random, server_app)
    c._log("EXPORTER_SECRET", hello.random, exporter_secret)
    yield ev.WRITE_KEY, suite, server_app

    # [EndOfEarlyData]
    if c.early_data_accepted:
        yield ev.TAKE_EARLY, state.early_data
        raw = yield ev.EXPECT, (END_OF_EARLY_DATA,)
        messages.pull_end_of_early_data(raw)
        transcript.add(raw)
        yield ev.TAKE_EARLY, 0
        yield ev.READ_KEY, suite, client_secret

    # [Certificate, CertificateVerify]
    peer_until = 0
    if state is not None and state.peer:
        c.peer = Certificate(state.peer)
        peer_until = state.peer_until
    if asks:
        raw = yield ev.EXPECT, (CERTIFICATE,)
        verdict = _check_certificate(c, raw)
        transcript.add(raw)
        if verdict is not None:
            digest = transcript.digest()
            raw = yield ev.EXPECT, (CERTIFICATE_VERIFY,)
            scheme, signature = messages.pull_certificate_verify(raw)
            verify.check_verify(
                config, verdict.leaf, scheme, signature, signatures.CLIENT_CONTEXT, digest
            )
            transcript.add(raw)
            c.peer = verdict.leaf
            c.peer_path = verdict.path
            peer_until = min([x.not_after for x in verdict.path])

    # Finished
    digest = transcript.digest()
    raw = yield ev.EXPECT, (FINISHED,)
    data = messages.pull_finished(raw, h.digest_size)
    schedule.check_finished(h, client_secret, digest, data, "the client's Finished is wrong")
    transcript.add(raw)
    yield ev.READ_KEY, suite, client_app
    c.exporter_secret = exporter_secret

    # [NewSessionTicket]
    if config.tickets is not None and _PSK_DHE_KE in (hello.psk_modes or b""):
        resumption = schedule.resumption_master_secret(h, master, transcript.digest())
        # One for the one that was used up.
        for i in range(min(config.ticket_count, 1 if c.resumed else 8)):
            raw = _ticket(c, resumption, i, peer_until)
            if raw is not None:
                yield ev.SEND, raw


def _check_hello(hello):
    """What has to be in every ClientHello. Sections 4.1.2, 4.2.1, 4.2.8, 9.2."""
    if hello.versions is None or TLS13 not in hello.versions:
        raise TlsError(
            alert.PROTOCOL_VERSION,
            "the client speaks nothing newer than TLS 1.2, and nothing older than TLS 1.3 is"
            " spoken here",
        )
    # "This vector MUST contain exactly one byte, set to zero".
    if hello.compressions != b"\x00":
        raise _illegal("a ClientHello with compression")
    # 9.2: which extensions there must be, and which go together.
    missing = None
    if hello.psks is not None and hello.psk_modes is None:
        missing = "psk_key_exchange_modes"
    elif hello.groups is None:
        missing = "supported_groups"
    elif hello.key_shares is None:
        missing = "key_share"
    elif hello.psks is None and hello.schemes is None:
        missing = "signature_algorithms"
    if missing:
        raise TlsError(alert.MISSING_EXTENSION, "a ClientHello without " + missing)
    seen = []
    for group, _ in hello.key_shares:
        # "Clients MUST NOT offer multiple KeyShareEntry values for the same group. Clients
        # MUST NOT offer any KeyShareEntry values for groups not listed".
        if group in seen or group not in hello.groups:
            raise _illegal("a key share twice, or of a group that is not listed")
        seen.append(group)


def _check_second_hello(first, second):
    """4.1.2: only key_share, early_data, cookie, pre_shared_key and padding may differ."""
    for name in (
        "version", "random", "session_id", "suites", "server_name", "groups", "schemes",
        "cert_schemes", "alpn", "versions", "psk_modes", "record_size_limit", "status_request",
    ):  # fmt: skip
        if getattr(first, name) != getattr(second, name):
            raise _illegal("the second ClientHello has other " + name)
    if second.early_data:
        raise _illegal("early data after HelloRetryRequest")


def _choose_suite(c, hello, retried=None):
    """(suite, (TicketState, index) or None). A session's suite goes before others."""
    config = c.config
    common = [s for s in config.suites if s.id in hello.suites]
    if not common:
        raise TlsError(alert.HANDSHAKE_FAILURE, "no cipher suite in common")
    found = _choose_psk(c, hello, common, retried)
    if found is not None:
        return retried or found[0].suite, found
    return common[0] if retried not in common else retried, None


def _choose_psk(c, hello, common, retried):
    """(TicketState, its index), or None for a full handshake. Section 4.2.11."""
    if hello.psks is None or c.config.tickets is None or _PSK_DHE_KE not in hello.psk_modes:
        return None
    for i, (ticket, _) in enumerate(hello.psks):
        state = c.config.tickets.open(ticket, c.now)
        if state is None or state.suite not in common or state.host != hello.server_name:
            continue
        if retried is not None and state.suite.hash is not retried.hash:
            continue
        if len(hello.binders[i]) != state.suite.hash.digest_size:
            raise _illegal("a binder of %d bytes" % len(hello.binders[i]))
        if not _may_resume(c, state):
            continue
        return state, i
    return None


def _may_resume(c, state):
    """A session does not get around the client's certificate, nor outlive it."""
    if c.config.client_auth == CLIENT_CERTIFICATE_REQUIRED and not state.peer:
        return False
    return not state.peer or c.unix_time <= state.peer_until


def _choose_group(config, hello):
    """(group, the client's share or None): one with a share goes before one without."""
    common = [g for g in config.groups if g in hello.groups]
    for g in common:
        for group, share in hello.key_shares:
            if group == g:
                return g, share
    if not common:
        raise TlsError(alert.HANDSHAKE_FAILURE, "no group in common")
    return common[0], None


def _choose_alpn(config, hello):
    if not hello.alpn or not config.alpn:
        return None
    for p in config.alpn:
        if p in hello.alpn:
            return p
    # RFC 7301, 3.2
    raise TlsError(
        alert.NO_APPLICATION_PROTOCOL, "no protocol in common with %s" % b", ".join(hello.alpn)
    )


def _accepts_early(c, hello, state, index):
    """Section 4.2.10's conditions and 8.2's defence against replays."""
    if not hello.early_data or state is None or index or c.retried:
        return False
    if not c.config.early_data or not state.early_data:
        return False
    if c.suite is not state.suite or c.alpn != state.alpn:
        return False
    # 8.3: the age that the client saw against the age that we see.
    age_ms = (hello.psks[0][1] - state.age_add) & 0xFFFFFFFF
    guard = c.config.tickets.guard
    if abs(1000 * age_ms - (c.now - state.issued_us)) > guard.window_us:
        return False
    return guard.first(hello.binders[0], c.now)


def _extensions(c, hello):
    """The body of EncryptedExtensions, a list."""
    x = []
    if c.config.announce_groups:
        x.append((ext.EXT_SUPPORTED_GROUPS, ext.u16s_body(c.config.groups)))
    if c.config.record_size_limit and hello.record_size_limit:
        limit = ext.u16_body(c.config.record_size_limit)
        x.append((ext.EXT_RECORD_SIZE_LIMIT, limit))
    if hello.server_name:
        x.append((ext.EXT_SERVER_NAME, b""))
    if c.alpn is not None:
        x.append((ext.EXT_ALPN, ext.alpn_body([c.alpn])))
    if c.early_data_accepted:
        x.append((ext.EXT_EARLY_DATA, b""))
    return x


def _certificate_request(c):
    x = [
        (ext.EXT_SIGNATURE_ALGORITHMS, ext.u16s_body(c.config.schemes)),
        (
            ext.EXT_SIGNATURE_ALGORITHMS_CERT,
            ext.u16s_body(signatures.CERTIFICATE_SCHEMES),
        ),
    ]
    if c.config.grease:
        x.append((ext.grease(c.rng(1)[0]), b""))
    return messages.push_certificate_request(b"", x)


def _check_certificate(c, raw):
    """A Verdict on the client's certificate, None if it has none and needs none. 4.4.2.4."""
    m = messages.pull_certificate(raw, ())
    if m.context:
        raise _illegal("a client's Certificate with a context")
    if not m.chain:
        if c.config.client_auth == CLIENT_CERTIFICATE_REQUIRED:
            raise TlsError(alert.CERTIFICATE_REQUIRED, "the client has no certificate")
        return None
    return verify.judge_client(c.config, m, c.unix_time)


def _ticket(c, resumption, i, peer_until):
    """A NewSessionTicket, or None if the state is too large for one. Section 4.6.1."""
    config = c.config
    nonce = bytes((0, i))
    state = TicketState()
    state.suite = c.suite
    state.psk = schedule.resumption_psk(c.suite.hash, resumption, nonce)
    state.issued_us = c.now
    state.age_add = int.from_bytes(c.rng(4), "big")
    state.lifetime_s = config.tickets.lifetime_s
    state.host = c.host
    state.alpn = c.alpn
    state.early_data = config.early_data
    state.peer = c.peer.der if c.peer is not None else None
    state.peer_until = peer_until
    ticket = config.tickets.seal(state, c.now)
    if ticket is None:
        return None
    x = []
    if config.early_data:
        x.append((ext.EXT_EARLY_DATA, config.early_data.to_bytes(4, "big")))
    if config.grease:
        x.append((ext.grease(c.rng(1)[0]), b""))
    return messages.push_new_session_ticket(state.lifetime_s, state.age_add, nonce, ticket, x)
