"""WebSocket's opening handshake, both sides, by fields: RFC 6455, section 4; RFC 8441.

    client: key = new_key(rng); offer(key, protocols, compress) -> fields of the request
            check_answer(status, headers, key, protocols) -> Agreed
    server: answer(method, headers, protocols, compress, upgrade) -> (Agreed, fields)

ProtocolError says what is wrong; `code` is the status a server answers with (400, 426).
Not implemented: extensions other than permessage-deflate.
"""

import binascii

from stack.core.errors import ProtocolError
from stack.crypto.sha1 import sha1
from stack.ws import deflate

_GUID = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11"


class Agreed:
    """subprotocol: str or None. deflate: for Connection, or None."""

    def __init__(self, subprotocol, deflate):
        self.subprotocol = subprotocol
        self.deflate = deflate


def new_key(rng):
    """16 random bytes in base 64, as text."""
    return binascii.b2a_base64(rng(16)).decode().strip()


def accept_of(key):
    """What a server answers to a key. Section 4.2.2."""
    return binascii.b2a_base64(sha1(key.encode() + _GUID)).decode().strip()


def offer(key, protocols=(), compress=True):
    """The client's fields besides Host; key None: over HTTP/2."""
    fields = [("Sec-WebSocket-Version", "13")]
    if key is not None:
        fields.extend((("Upgrade", "websocket"), ("Connection", "Upgrade")))
        fields.append(("Sec-WebSocket-Key", key))
    if protocols:
        fields.append(("Sec-WebSocket-Protocol", ", ".join(protocols)))
    if compress:
        fields.append(("Sec-WebSocket-Extensions", deflate.OFFER))
    return fields


def check_answer(status, headers, key, protocols=()):
    """Agreed. ProtocolError where the server's answer is none. Section 4.1; key None: HTTP/2."""
    if status != (101 if key is not None else 200):
        raise ProtocolError(status, "the server answered %d" % status)
    if key is not None:
        if headers.get("Upgrade", "").lower() != "websocket":
            raise ProtocolError(status, "no Upgrade: websocket")
        words = headers.get("Connection", "").lower().split(",")
        if "upgrade" not in [w.strip() for w in words]:
            raise ProtocolError(status, "no Connection: Upgrade")
        if headers.get("Sec-WebSocket-Accept") != accept_of(key):
            raise ProtocolError(status, "wrong Sec-WebSocket-Accept")
    chosen = headers.get("Sec-WebSocket-Protocol")
    if chosen is not None and chosen not in protocols:
        raise ProtocolError(status, "subprotocol that was not offered")
    try:
        agreed = deflate.accept_answer(headers.get("Sec-WebSocket-Extensions"))
    except ValueError as e:
        raise ProtocolError(status, str(e))  # noqa: B904
    return Agreed(chosen, agreed)


def answer(method, headers, protocols=(), compress=True, upgrade=True):
    """(Agreed, fields of the answer: to be sent with 101, over HTTP/2 with 200)."""
    if headers.get("Sec-WebSocket-Version") != "13":
        raise ProtocolError(426, "Sec-WebSocket-Version is not 13")
    fields = []
    if upgrade:
        if method != "GET" or headers.get("Upgrade", "").lower() != "websocket":
            raise ProtocolError(426, "no Upgrade: websocket")
        key = headers.get("Sec-WebSocket-Key", "")
        try:
            good = len(key) == 24 and len(binascii.a2b_base64(key)) == 16
        except ValueError:
            good = False
        if not good:
            raise ProtocolError(400, "bad Sec-WebSocket-Key")
        fields.extend((("Upgrade", "websocket"), ("Connection", "Upgrade")))
        fields.append(("Sec-WebSocket-Accept", accept_of(key)))
    chosen = None
    offered = headers.get("Sec-WebSocket-Protocol", "")
    for p in [p.strip() for p in offered.split(",")]:
        if p and p in protocols:
            chosen = p
            fields.append(("Sec-WebSocket-Protocol", p))
            break
    agreed = None
    if compress:
        agreed, text = deflate.accept_offer(headers.get("Sec-WebSocket-Extensions"))
        if agreed is not None:
            fields.append(("Sec-WebSocket-Extensions", text))
    return Agreed(chosen, agreed), fields
