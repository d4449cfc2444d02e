"""What the tests of misbehaving peers share: how a refusal has to look, and small forgeries."""

from stack.tls import alert, groups, messages
from stack.tls.alert import PeerAlert, TlsError
from stack.tls.keys import Identity
from tests.unit.tls.pair import drain, identity, patch

BOTH = (groups.X25519, groups.SECP256R1)

UNEXPECTED = alert.UNEXPECTED_MESSAGE
ILLEGAL = alert.ILLEGAL_PARAMETER
DECODE = alert.DECODE_ERROR
DECRYPT = alert.DECRYPT_ERROR
MISSING = alert.MISSING_EXTENSION
UNSOLICITED = alert.UNSUPPORTED_EXTENSION
VERSION = alert.PROTOCOL_VERSION
HANDSHAKE = alert.HANDSHAKE_FAILURE
MAC = alert.BAD_RECORD_MAC
OVERFLOW = alert.RECORD_OVERFLOW


def fails(victim, evil, why, code, told=True):
    """Carry bytes until the victim fails; with this alert, closed, and the peer told."""
    error = None
    for _ in range(12):
        data = evil.data_to_send()
        victim.receive(data)
        try:
            drain(victim)
        except TlsError as e:
            error = e
            break
        evil.receive(victim.data_to_send())
        drain(evil)
    assert error is not None, why + ": nothing was refused"
    assert error.code == code, "%s: %s instead of %s" % (why, error, alert.name(code))
    stays_closed(victim, why)
    if told:
        was_told(victim, evil, why, code)


def stays_closed(victim, why):
    for _ in range(2):
        try:
            victim.next_event()
            raise AssertionError(why + ": it goes on")
        except TlsError:
            pass
    try:
        victim.send(b"secret")
        raise AssertionError(why + ": it still sends")
    except TlsError:
        pass


def was_told(victim, evil, why, code):
    evil.evil = None
    evil.receive(victim.data_to_send())
    try:
        drain(evil)
    except PeerAlert as e:
        assert e.code == code, why
        return
    except TlsError:
        pass  # it cannot read the alert: its own keys are of another transcript
    assert evil.error is not None, why + ": the peer was not told"


CT, CV, FIN = 11, 15, 20
CH, SH, EE, CR = 1, 2, 8, 13

P256 = {"client": {"groups": BOTH[1:]}}
HYBRID = {"client": {"groups": (groups.X25519MLKEM768,)}}


def refused(victim, why, code):
    try:
        drain(victim)
    except TlsError as e:
        assert e.code == code, "%s: %s" % (why, e)
        stays_closed(victim, why)
        return e
    raise AssertionError(why + ": nothing was refused")


def run(rows, function):
    for row in rows:
        function(row)


def other_chain(raw):
    return messages.push_certificate(b"", identity("p384").chain)


def entry_extension(raw):
    """An extension at the first certificate that was not asked for."""
    chain = messages.pull_certificate(raw, (5, 18)).chain
    body = len(chain[0]).to_bytes(3, "big") + chain[0] + b"\x00\x04\x12\x34\x00\x00"
    return messages.message(11, b"\0" + len(body).to_bytes(3, "big") + body)


def flip_last(raw):
    return raw[:-1] + bytes((raw[-1] ^ 1,))


def scheme(n):
    return patch(4, bytes((n >> 8, n & 255)))


class _OtherKey:
    """Signs with a key that is not the certificate's."""

    schemes = (0x0403,)

    def sign(self, scheme, message, rng):
        return identity("p256").signer.sign(scheme, message + b"x", rng)


def impostor():
    """Somebody's certificate in the hands of somebody else."""
    return Identity(identity("p256").chain, _OtherKey())
