"""The key schedule: a function per arrow of the figure. RFC 8446, sections 4.4.1, 4.4.4 and 7.

Every function takes the suite's hash class first; a secret is bytes(digest_size).
The transcript is the hash over the handshake messages so far.
"""

from stack.core.errors import ProtocolError
from stack.crypto.aead import Aes128Gcm, Aes256Gcm, ChaCha20Poly1305
from stack.crypto.bytesops import equal
from stack.crypto.hkdf import expand_label, extract
from stack.crypto.hmac import hmac
from stack.crypto.sha2 import Sha256, Sha384
from stack.tls import alert


class Suite:
    """A cipher suite. Appendix B.4."""

    __slots__ = ("id", "name", "key_len", "hash", "aead", "record_limit")

    def __init__(self, id, name, key_len, hash_class, aead, record_limit):
        self.id = id
        self.name = name
        self.key_len = key_len
        self.hash = hash_class
        self.aead = aead
        self.record_limit = record_limit  # records under one key, section 5.5


AES_128_GCM_SHA256 = Suite(0x1301, "TLS_AES_128_GCM_SHA256", 16, Sha256, Aes128Gcm, 1 << 24)
AES_256_GCM_SHA384 = Suite(0x1302, "TLS_AES_256_GCM_SHA384", 32, Sha384, Aes256Gcm, 1 << 24)
CHACHA20_POLY1305_SHA256 = Suite(
    0x1303, "TLS_CHACHA20_POLY1305_SHA256", 32, Sha256, ChaCha20Poly1305, 1 << 40
)
SUITES = (AES_128_GCM_SHA256, AES_256_GCM_SHA384, CHACHA20_POLY1305_SHA256)


def suite_by_id(id):
    for s in SUITES:
        if s.id == id:
            return s
    return None


# Section 7.1: the secrets, from top to bottom of the figure.


def derive_secret(hash_class, secret, label, transcript_hash):
    return expand_label(hash_class, secret, label, transcript_hash, hash_class.digest_size)


def _derived(hash_class, secret):
    return derive_secret(hash_class, secret, b"derived", hash_class().digest())


def early_secret(hash_class, psk=None):
    """HKDF-Extract(0, PSK), or of zeros without one."""
    zeros = bytes(hash_class.digest_size)
    return extract(hash_class, zeros, zeros if psk is None else psk)


def handshake_secret(hash_class, early, shared):
    return extract(hash_class, _derived(hash_class, early), shared)


def master_secret(hash_class, handshake):
    return extract(hash_class, _derived(hash_class, handshake), bytes(hash_class.digest_size))


def binder_key(hash_class, early, external=False):
    label = b"ext binder" if external else b"res binder"
    return derive_secret(hash_class, early, label, hash_class().digest())


def client_early_traffic_secret(hash_class, early, transcript_hash):
    return derive_secret(hash_class, early, b"c e traffic", transcript_hash)


def client_handshake_traffic_secret(hash_class, handshake, transcript_hash):
    return derive_secret(hash_class, handshake, b"c hs traffic", transcript_hash)


def server_handshake_traffic_secret(hash_class, handshake, transcript_hash):
    return derive_secret(hash_class, handshake, b"s hs traffic", transcript_hash)


def client_application_traffic_secret(hash_class, master, transcript_hash):
    return derive_secret(hash_class, master, b"c ap traffic", transcript_hash)


def server_application_traffic_secret(hash_class, master, transcript_hash):
    return derive_secret(hash_class, master, b"s ap traffic", transcript_hash)


def exporter_master_secret(hash_class, master, transcript_hash):
    return derive_secret(hash_class, master, b"exp master", transcript_hash)


def resumption_master_secret(hash_class, master, transcript_hash):
    return derive_secret(hash_class, master, b"res master", transcript_hash)


# Section 7.2


def next_application_traffic_secret(hash_class, secret):
    return expand_label(hash_class, secret, b"traffic upd", b"", hash_class.digest_size)


# Section 7.3


def traffic_keys(suite, secret):
    """(key, iv) of a direction."""
    key = expand_label(suite.hash, secret, b"key", b"", suite.key_len)
    return key, expand_label(suite.hash, secret, b"iv", b"", 12)


# Section 7.5


def exporter(hash_class, exporter_master, label, context, n):
    """n bytes of keying material for `label` and `context`."""
    secret = derive_secret(hash_class, exporter_master, label, hash_class().digest())
    return expand_label(hash_class, secret, b"exporter", hash_class(context).digest(), n)


# Section 4.4.4


def finished(hash_class, base_key, transcript_hash):
    """verify_data of Finished, and of a binder with its binder key."""
    key = expand_label(hash_class, base_key, b"finished", b"", hash_class.digest_size)
    return hmac(hash_class, key, transcript_hash)


def check_finished(hash_class, base_key, transcript_hash, verify_data, what):
    """Nothing, or a decrypt_error: "If the received verify_data is not correct"."""
    if not equal(finished(hash_class, base_key, transcript_hash), verify_data):
        raise alert.TlsError(alert.DECRYPT_ERROR, what)


# Section 4.6.1


def resumption_psk(hash_class, resumption_master, nonce):
    return expand_label(hash_class, resumption_master, b"resumption", nonce, hash_class.digest_size)


class Transcript:
    """The running hash of section 4.4.1; keeps the messages themselves until the hash is chosen."""

    __slots__ = ("_hash", "_early")

    def __init__(self):
        self._hash = None
        self._early = []

    def add(self, message):
        if self._hash is None:
            self._early.append(message)
        else:
            self._hash.update(message)

    def choose(self, hash_class):
        """The suite is known: hash what came so far."""
        self._hash = hash_class()
        for m in self._early:
            self._hash.update(m)
        self._early = None

    def retry(self):
        """Put message_hash in the place of the first ClientHello. Before HelloRetryRequest."""
        h = self._hash
        digest = h.digest()
        self._hash = type(h)(bytes((254, 0, 0, len(digest))) + digest)

    def digest(self):
        return self._hash.digest()

    def digest_with(self, hash_class, partial):
        """The hash as if `partial` came next: a ClientHello without its binders, section 4.2.11.2.

        A binder's hash is its PSK's, known before the suite is.
        """
        if self._hash is not None:
            if not isinstance(self._hash, hash_class):
                raise ProtocolError(alert.INTERNAL_ERROR, "binder of another hash")
            h = self._hash.copy()
        else:
            h = hash_class()
            for m in self._early:
                h.update(m)
        h.update(partial)
        return h.digest()
