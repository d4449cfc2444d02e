"""The client's side of the handshake, top to bottom as in the figure of RFC 8446, section 2.

    ClientHello          -->
                         <--  [HelloRetryRequest]
    [ClientHello]        -->
                         <--  ServerHello, EncryptedExtensions, [CertificateRequest],
                              [Certificate, CertificateVerify], Finished
    [EndOfEarlyData], [Certificate, CertificateVerify], Finished  -->

Not implemented: post-handshake authentication, external PSKs, ECH.
"""

from stack.tls import alert, groups, messages, schedule, signatures, verify
from stack.tls import events as ev
from stack.tls import extensions as ext
from stack.tls.alert import TlsError
from stack.tls.connection import Connection
from stack.tls.extensions import TLS12, TLS13
from stack.tls.messages import (
    CERTIFICATE,
    CERTIFICATE_REQUEST,
    CERTIFICATE_VERIFY,
    ENCRYPTED_EXTENSIONS,
    FINISHED,
    NEW_SESSION_TICKET,
    SERVER_HELLO,
)
from stack.tls.tickets import MAX_LIFETIME_S, Session
from stack.tls.x509.name import parse_ip, valid_dns


def _illegal(reason):
    return TlsError(alert.ILLEGAL_PARAMETER, reason)


class Client(Connection):
    """host: the name or the address that the certificate has to be for; None only without
    verification. session_key: under which `config.sessions` keeps tickets (default: host).
    early_data: bytes to send with the first message if a session allows; see
    `early_data_accepted`: if False after HandshakeDone, send them again.
    """

    is_client = True

    def __init__(self, config, host, rng, now, unix_time, session_key=None, early_data=b""):
        if host and parse_ip(host) is None and not valid_dns(host.lower().rstrip("."), False):
            raise ValueError("not a host name: %r" % host)
        self._early_data = early_data
        self._session_key = session_key or host
        self._resumption = None
        self._host = host
        super().__init__(config, rng, now, unix_time)

    def _flow(self):
        self.host = self._host
        self._writer.version = 0x0301  # 5.1: of an initial ClientHello, for old middleboxes
        return _handshake(self)

    def _hint(self, code):
        if self.connected or self.suite is not None:
            return ""
        if code in (alert.PROTOCOL_VERSION, alert.HANDSHAKE_FAILURE):
            return " (it may not speak TLS 1.3, and nothing older is spoken here)"
        return ""

    def _post_kind(self):
        return NEW_SESSION_TICKET

    def _on_post_message(self, raw):
        t = messages.pull_new_session_ticket(raw)
        if self.config.sessions is None or not t.lifetime_s:
            return
        s = Session()
        s.suite = self.suite
        s.psk = schedule.resumption_psk(self.suite.hash, self._resumption, t.nonce)
        s.ticket = t.ticket
        s.age_add = t.age_add
        s.received_us = self.now
        # "Clients MUST NOT cache tickets for longer than 7 days".
        s.lifetime_s = min(t.lifetime_s, MAX_LIFETIME_S)
        s.max_early_data = t.max_early_data
        s.alpn = self.alpn
        s.host = self.host
        s.peer = self.peer.der if self.peer is not None else None
        s.verified = self._verifies()
        self.config.sessions.put(self._session_key, s)
        self._events.append(ev.TicketReceived(s))

    def _verifies(self):
        c = self.config
        return not (c.dangerously_accept_any_certificate or c.dangerously_skip_host_check)

    def _take_session(self):
        """A Session to offer, or None."""
        config = self.config
        if config.sessions is None:
            return None
        s = config.sessions.take(self._session_key, self.now)
        if s is None or s.suite not in config.suites or s.host != self.host:
            return None
        if s.peer is not None and (self._verifies() or config.pins):
            # What was not verified then is not trusted now, and what was may have ended since.
            leaf = verify.Certificate(s.peer)
            if config.pins or not s.verified or self.unix_time > leaf.not_after:
                return None
            self.peer = leaf
        return s


class _Offer:
    """What stays the same in both ClientHellos of a handshake, and the key shares."""

    def __init__(self, c):
        config = c.config
        self.c = c
        self.random = c.rng(32)
        self.session_id = c.rng(32) if config.compatible else b""
        self.session = c._take_session()
        self.early = False
        self.grease = bytes(c.rng(4)) if config.grease else None
        self.shares = {}
        for g in config.key_shares:
            if g in config.groups:
                self.shares[g] = groups.generate(g, c.rng, True)
        self.types = ()

    def hello(self, transcript, retry_group=0, cookie=None):
        """The whole message, with the binder over the transcript so far."""
        c, config, s = self.c, self.c.config, self.session
        suites = [x.id for x in config.suites]
        named = list(config.groups)
        versions = [TLS13]
        wanted = [retry_group] if retry_group else [g for g in config.key_shares if g in named]
        shares = [(g, self.shares[g].share) for g in wanted]
        x = []
        if self.grease:
            a, b, d, e = self.grease
            suites.insert(0, ext.grease(a))
            named.insert(0, ext.grease(b))
            versions.insert(0, ext.grease(d))
            if not retry_group:
                shares.insert(0, (ext.grease(b), b"\x00"))
            x.append((ext.grease(e), b""))
        if c.host and parse_ip(c.host) is None:
            x.append((ext.EXT_SERVER_NAME, ext.server_name_body(c.host.rstrip("."))))
        x.append((ext.EXT_SUPPORTED_GROUPS, ext.u16s_body(named)))
        x.append((ext.EXT_SIGNATURE_ALGORITHMS, ext.u16s_body(config.schemes)))
        x.append((
            ext.EXT_SIGNATURE_ALGORITHMS_CERT,
            ext.u16s_body(signatures.CERTIFICATE_SCHEMES),
        ))  # fmt: skip
        if config.alpn:
            x.append((ext.EXT_ALPN, ext.alpn_body(config.alpn)))
        if config.staple:
            x.append((ext.EXT_STATUS_REQUEST, b"\x01\x00\x00\x00\x00"))
        x.append((ext.EXT_SCT, b""))
        if config.record_size_limit:
            x.append((ext.EXT_RECORD_SIZE_LIMIT, ext.u16_body(config.record_size_limit)))
        x.append((ext.EXT_SUPPORTED_VERSIONS, ext.versions_body(versions)))
        if cookie is not None:
            x.append((ext.EXT_COOKIE, ext.cookie_body(cookie)))
        x.append((ext.EXT_PSK_KEY_EXCHANGE_MODES, b"\x01\x01"))
        x.append((ext.EXT_KEY_SHARE, ext.key_shares_body(shares)))
        if self.early:
            x.append((ext.EXT_EARLY_DATA, b""))
        if self.grease:
            x.append((ext.grease(e + 1), b"\x00"))
        if s is not None:
            size = s.suite.hash.digest_size
            ids = [(s.ticket, s.obfuscated_age(c.now))]
            x.append((ext.EXT_PRE_SHARED_KEY, ext.psk_body(ids, (size,))))
        self.types = tuple([kind for kind, _ in x])
        raw = messages.push_client_hello(self.random, self.session_id, suites, x)
        if s is not None:
            raw = self._bind(raw, transcript, s)
        transcript.add(raw)
        return raw

    def _bind(self, raw, transcript, s):
        """Write the binder, which covers all that stands before it. Section 4.2.11.2."""
        h = s.suite.hash
        cut = len(raw) - h.digest_size - 3
        key = schedule.binder_key(h, schedule.early_secret(h, s.psk))
        digest = transcript.digest_with(h, memoryview(raw)[:cut])
        return raw[: cut + 3] + schedule.finished(h, key, digest)


def _handshake(c):
    """Yields actions of events.py. Each message is checked before the next is waited for."""
    config = c.config
    transcript = schedule.Transcript()
    offer = _Offer(c)
    s = offer.session
    offer.early = _may_send_early(c, s)

    # ClientHello
    yield ev.SEND, offer.hello(transcript)
    ccs_due = config.compatible
    if offer.early:
        if ccs_due:
            ccs_due = False
            yield (ev.SEND_CCS,)
        h = s.suite.hash
        early = schedule.early_secret(h, s.psk)
        secret = schedule.client_early_traffic_secret(h, early, transcript.digest_with(h, b""))
        c._log("CLIENT_EARLY_TRAFFIC_SECRET", offer.random, secret)
        yield ev.WRITE_KEY, s.suite, secret
        yield ev.SEND_EARLY, c._early_data

    # [HelloRetryRequest], ServerHello
    raw = yield ev.EXPECT, (SERVER_HELLO,)
    hello = messages.pull_server_hello(raw, offer.types)
    suite = _check_server_hello(hello, offer, config)
    transcript.choose(suite.hash)
    if hello.retry:
        group, cookie = _check_retry(hello, offer, config)
        c.retried = True
        transcript.retry()
        transcript.add(raw)
        if offer.early:
            # 4.2.10: early data are refused by a retry; the second hello is in the clear.
            offer.early = False
            yield (ev.WRITE_KEY, None, None)
        if s is not None and s.suite.hash is not suite.hash:
            offer.session = s = None
        if ccs_due:
            ccs_due = False
            yield (ev.SEND_CCS,)
        if group:
            offer.shares = {group: groups.generate(group, c.rng, True)}
        yield ev.SEND, offer.hello(transcript, group, cookie)
        raw = yield ev.EXPECT, (SERVER_HELLO,)
        hello = messages.pull_server_hello(raw, offer.types)
        if hello.retry:
            raise TlsError(alert.UNEXPECTED_MESSAGE, "a second HelloRetryRequest")
        if _check_server_hello(hello, offer, config) is not suite:
            raise _illegal("another cipher suite than in HelloRetryRequest")
    transcript.add(raw)
    c.suite = suite
    resumed = _check_psk(hello, s, suite)
    c.group, secret = _agree(hello, offer)

    # Handshake keys
    h = suite.hash
    early = schedule.early_secret(h, s.psk if resumed else None)
    secret = schedule.handshake_secret(h, early, secret)
    digest = transcript.digest()
    client_secret = schedule.client_handshake_traffic_secret(h, secret, digest)
    server_secret = schedule.server_handshake_traffic_secret(h, secret, digest)
    master = schedule.master_secret(h, secret)
    c._log("CLIENT_HANDSHAKE_TRAFFIC_SECRET", offer.random, client_secret)
    c._log("SERVER_HANDSHAKE_TRAFFIC_SECRET", offer.random, server_secret)
    yield ev.READ_KEY, suite, server_secret
    if ccs_due:
        yield (ev.SEND_CCS,)
    if not offer.early:
        yield ev.WRITE_KEY, suite, client_secret

    # EncryptedExtensions
    raw = yield ev.EXPECT, (ENCRYPTED_EXTENSIONS,)
    found = messages.pull_encrypted_extensions(raw, offer.types)
    transcript.add(raw)
    c.early_data_accepted = _check_extensions(c, found, offer, resumed)
    if offer.early and not c.early_data_accepted:
        yield ev.WRITE_KEY, suite, client_secret
    if ext.EXT_RECORD_SIZE_LIMIT in found:
        theirs = ext.pull_record_size_limit(found[ext.EXT_RECORD_SIZE_LIMIT])
        ext.end(found[ext.EXT_RECORD_SIZE_LIMIT], "record_size_limit")
        yield ev.LIMITS, min(config.record_size_limit, 16385), min(theirs, 16385)

    # [CertificateRequest, Certificate, CertificateVerify]
    request = None
    if not resumed:
        c.peer = None
        raw = yield ev.EXPECT, (CERTIFICATE_REQUEST, CERTIFICATE)
        if raw[0] == CERTIFICATE_REQUEST:
            request = messages.pull_certificate_request(raw)
            # 4.3.2: "This field SHALL be zero length unless used for the post-handshake".
            if request.context:
                raise _illegal("a CertificateRequest with a context")
            transcript.add(raw)
            raw = yield ev.EXPECT, (CERTIFICATE,)
        leaf = _check_certificate(c, raw, offer.types)
        transcript.add(raw)
        digest = transcript.digest()
        raw = yield ev.EXPECT, (CERTIFICATE_VERIFY,)
        c.scheme, signature = messages.pull_certificate_verify(raw)
        verify.check_verify(
            config, leaf, c.scheme, signature, signatures.SERVER_CONTEXT, digest
        )
        transcript.add(raw)
    c.resumed = resumed

    # Finished
    digest = transcript.digest()
    raw = yield ev.EXPECT, (FINISHED,)
    data = messages.pull_finished(raw, h.digest_size)
    schedule.check_finished(h, server_secret, digest, data, "the server's Finished is wrong")
    transcript.add(raw)

    # Application keys
    digest = transcript.digest()
    client_app = schedule.client_application_traffic_secret(h, master, digest)
    server_app = schedule.server_application_traffic_secret(h, master, digest)
    c.exporter_secret = schedule.exporter_master_secret(h, master, digest)
    c._log("CLIENT_TRAFFIC_SECRET_0", offer.random, client_app)
    c._log("SERVER_TRAFFIC_SECRET_0", offer.random, server_app)
    c._log("EXPORTER_SECRET", offer.random, c.exporter_secret)
    yield ev.READ_KEY, suite, server_app

    # [EndOfEarlyData], [Certificate, CertificateVerify], Finished
    if c.early_data_accepted:
        raw = messages.push_end_of_early_data()
        transcript.add(raw)
        yield ev.SEND, raw
        yield ev.WRITE_KEY, suite, client_secret
    if request is not None:
        identity, scheme = verify.choose_identity(
            config.identities, request.schemes, None, request.authorities
        )
        raw = messages.push_certificate(b"", identity.chain if identity else ())
        transcript.add(raw)
        yield ev.SEND, raw
        if identity is not None:
            content = signatures.content(signatures.CLIENT_CONTEXT, transcript.digest())
            signature = identity.signer.sign(scheme, content, c.rng)
            raw = messages.push_certificate_verify(scheme, signature)
            transcript.add(raw)
            yield ev.SEND, raw
    raw = messages.push_finished(schedule.finished(h, client_secret, transcript.digest()))
    transcript.add(raw)
    yield ev.SEND, raw
    yield ev.WRITE_KEY, suite, client_app
    c._resumption = schedule.resumption_master_secret(h, master, transcript.digest())


def _may_send_early(c, s):
    if s is None or not c._early_data or len(c._early_data) > s.max_early_data:
        return False
    # 4.2.10: the protocol that the data are in has to be among those offered.
    return s.alpn is None or s.alpn in c.config.alpn


def _check_server_hello(hello, offer, config):
    """The suite of a ServerHello or HelloRetryRequest. Sections 4.1.3, 4.1.4, 4.2.1."""
    if ext.EXT_SUPPORTED_VERSIONS not in hello.extensions:
        # "TLS 1.3 clients ... MUST check that the last 8 bytes are not equal to either of
        # these values ... abort the handshake with an illegal_parameter alert."
        if hello.random[24:] in (messages.DOWNGRADE_TLS12, messages.DOWNGRADE_TLS11):
            raise _illegal("someone made a server of TLS 1.3 answer with an older version")
        raise TlsError(
            alert.PROTOCOL_VERSION,
            "the server speaks TLS 1.%d at most, and nothing before TLS 1.3 is spoken here"
            % max(0, min(hello.version - 0x0301, 2)),
        )
    version = ext.pull_u16_only(
        hello.extensions[ext.EXT_SUPPORTED_VERSIONS], "supported_versions"
    )
    if version != TLS13 or hello.version != TLS12:
        raise _illegal("the version 0x%04x was not offered" % version)
    if hello.session_id != offer.session_id:
        raise _illegal("the session id is not the one that was sent")
    if hello.compression:
        raise _illegal("compression")
    for suite in config.suites:
        if suite.id == hello.suite:
            return suite
    raise _illegal("the cipher suite 0x%04x was not offered" % hello.suite)


def _check_retry(hello, offer, config):
    """(group or 0, cookie or None) of a HelloRetryRequest. Section 4.1.4."""
    group, cookie = 0, None
    if ext.EXT_COOKIE in hello.extensions:
        r = hello.extensions[ext.EXT_COOKIE]
        cookie = ext.pull_vec16(r, 1)
        ext.end(r, "cookie")
    if ext.EXT_KEY_SHARE in hello.extensions:
        group = ext.pull_u16_only(hello.extensions[ext.EXT_KEY_SHARE], "key_share")
        # 4.2.8: "(1) the selected_group field corresponds to a group which was provided in
        # supported_groups ... and (2) does not correspond to a group ... in key_share".
        if group not in config.groups or group in offer.shares:
            raise _illegal("HelloRetryRequest for a group not offered, or sent already")
    # "Clients MUST abort the handshake with an illegal_parameter alert if the
    # HelloRetryRequest would not result in any change in the ClientHello."
    if not group and cookie is None:
        raise _illegal("HelloRetryRequest that changes nothing")
    return group, cookie


def _check_psk(hello, s, suite):
    """True if the server took our session. Section 4.2.11."""
    if ext.EXT_PRE_SHARED_KEY not in hello.extensions:
        return False
    index = ext.pull_u16_only(hello.extensions[ext.EXT_PRE_SHARED_KEY], "pre_shared_key")
    # "Clients MUST verify that the server's selected_identity is within the range supplied
    # ..., that the server selected a cipher suite indicating a Hash associated with the PSK".
    if index or s.suite.hash is not suite.hash:
        raise _illegal("a session that was not offered")
    return True


def _agree(hello, offer):
    """(group, shared secret)."""
    if ext.EXT_KEY_SHARE not in hello.extensions:
        raise TlsError(alert.MISSING_EXTENSION, "a ServerHello without key_share")
    group, share = ext.pull_key_share(hello.extensions[ext.EXT_KEY_SHARE])
    # 4.2.8: "MUST be in the same group as the KeyShareEntry value offered by the client".
    pair = offer.shares.get(group)
    if pair is None:
        raise _illegal("a key share of the group 0x%04x, which was not sent" % group)
    return group, pair.agree(share)


def _check_extensions(c, found, offer, resumed):
    """Take ALPN from EncryptedExtensions; True if early data were accepted."""
    c.alpn = None
    if ext.EXT_ALPN in found:
        protocols = ext.pull_alpn(found[ext.EXT_ALPN])
        ext.end(found[ext.EXT_ALPN], "ALPN")
        # RFC 7301, 3.1: "MUST contain exactly one ProtocolName".
        if len(protocols) != 1 or protocols[0] not in c.config.alpn:
            raise _illegal("a protocol that was not offered")
        c.alpn = protocols[0]
    if ext.EXT_SERVER_NAME in found:
        ext.end(found[ext.EXT_SERVER_NAME], "server_name")
    if ext.EXT_EARLY_DATA not in found:
        return False
    ext.end(found[ext.EXT_EARLY_DATA], "early_data")
    s = offer.session
    # 4.2.10: the server must have taken the first PSK, its suite and its ALPN.
    if not resumed or c.suite is not s.suite or c.alpn != s.alpn:
        raise _illegal("early data accepted, and not the session that they belong to")
    return True


def _check_certificate(c, raw, offered):
    """The server's leaf, verified. Section 4.4.2.4."""
    m = messages.pull_certificate(raw, offered)
    if m.context:
        raise _illegal("a server's Certificate with a context")
    # "If the server supplies an empty Certificate message, the client MUST abort the
    # handshake with a decode_error alert."
    if not m.chain:
        raise TlsError(alert.DECODE_ERROR, "the server has no certificate")
    verdict = verify.judge_server(c.config, m, c.host, c.unix_time)
    c.peer = verdict.leaf
    c.peer_path = verdict.path
    c.scts = verdict.scts
    return verdict.leaf


