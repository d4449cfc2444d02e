"""Alerts, and the errors that they become. RFC 8446, section 6.

    struct { AlertLevel level; AlertDescription description; } Alert;

A fault of the peer is a TlsError whose `code` is the alert that the RFC names
for it; the connection sends that alert and stays closed.
"""

from micropython import const

from stack.core.errors import ProtocolError

LEVEL_WARNING = const(1)
LEVEL_FATAL = const(2)

CLOSE_NOTIFY = const(0)
UNEXPECTED_MESSAGE = const(10)
BAD_RECORD_MAC = const(20)
RECORD_OVERFLOW = const(22)
HANDSHAKE_FAILURE = const(40)
BAD_CERTIFICATE = const(42)
UNSUPPORTED_CERTIFICATE = const(43)
CERTIFICATE_REVOKED = const(44)
CERTIFICATE_EXPIRED = const(45)
CERTIFICATE_UNKNOWN = const(46)
ILLEGAL_PARAMETER = const(47)
UNKNOWN_CA = const(48)
ACCESS_DENIED = const(49)
DECODE_ERROR = const(50)
DECRYPT_ERROR = const(51)
PROTOCOL_VERSION = const(70)
INSUFFICIENT_SECURITY = const(71)
INTERNAL_ERROR = const(80)
INAPPROPRIATE_FALLBACK = const(86)
USER_CANCELED = const(90)
MISSING_EXTENSION = const(109)
UNSUPPORTED_EXTENSION = const(110)
UNRECOGNIZED_NAME = const(112)
BAD_CERTIFICATE_STATUS_RESPONSE = const(113)
UNKNOWN_PSK_IDENTITY = const(115)
CERTIFICATE_REQUIRED = const(116)
NO_APPLICATION_PROTOCOL = const(120)

NAMES = {
    0: "close_notify",
    10: "unexpected_message",
    20: "bad_record_mac",
    22: "record_overflow",
    40: "handshake_failure",
    42: "bad_certificate",
    43: "unsupported_certificate",
    44: "certificate_revoked",
    45: "certificate_expired",
    46: "certificate_unknown",
    47: "illegal_parameter",
    48: "unknown_ca",
    49: "access_denied",
    50: "decode_error",
    51: "decrypt_error",
    70: "protocol_version",
    71: "insufficient_security",
    80: "internal_error",
    86: "inappropriate_fallback",
    90: "user_canceled",
    109: "missing_extension",
    110: "unsupported_extension",
    112: "unrecognized_name",
    113: "bad_certificate_status_response",
    115: "unknown_psk_identity",
    116: "certificate_required",
    120: "no_application_protocol",
}


def name(code):
    """The RFC's name of an alert's number."""
    return NAMES.get(code, "alert %s" % code)


class TlsError(ProtocolError):
    """The peer broke TLS: `code` is the alert that we send it, `reason` says it in words."""

    def __str__(self):
        return "%s (%s)" % (self.reason, name(self.code))


class CertificateError(TlsError):
    """The peer's certificate is refused. `kind` is a short word for programs, such as "expired"."""

    def __init__(self, code, kind, reason):
        super().__init__(code, reason)
        self.kind = kind


class PeerAlert(TlsError):
    """The peer sent a fatal alert: `code` is its number."""

    def __init__(self, code, hint=""):
        super().__init__(code, "the peer refused: " + name(code) + hint)

    def __str__(self):
        return self.reason


class Truncated(TlsError):
    """The transport ended without close_notify: what came may not be all that was sent."""

    def __init__(self, reason):
        super().__init__("truncated", reason)


class TimedOut(TlsError):
    """The handshake took longer than the configuration allows."""

    def __init__(self, reason):
        super().__init__(USER_CANCELED, reason)
