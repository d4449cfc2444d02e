"""permessage-deflate: messages compressed. RFC 7692.

Each message that we send is compressed by itself, which any peer can read whether it
keeps a window or not; so no window is held for sending. A window for receiving (64 KB)
is held only where the peer was not asked to do the same: a server asks always
(`client_no_context_takeover`), since it may hold a thousand connections.
Not implemented: compressing with what was sent before.
"""

from micropython import const

from stack.core import flate
from stack.core.deflate import deflate as pack
from stack.core.errors import ProtocolError
from stack.ws.frames import BAD_DATA, TOO_BIG

NAME = "permessage-deflate"
_LEAST = const(64)  # shorter messages are sent as they are
_TAIL = b"\x00\x00\xff\xff"


class Deflate:
    """One connection's. reach: the peer's window, bytes; fresh: the peer keeps no window."""

    def __init__(self, reach=32768, fresh=False):
        self._reach = reach
        self._fresh = fresh
        self._inflate = None

    def compress(self, data):
        """The compressed message, or None where it would not be shorter. Section 7.2.1."""
        if len(data) < _LEAST:
            return None
        out = pack(data, self._reach)
        return out[:-4] if len(out) - 4 < len(data) else None

    def decompress(self, data, last, most):
        """A payload decoded, `most` bytes at most. last: the message ends. Section 7.2.2."""
        z = self._inflate
        if z is None:
            z = self._inflate = flate.Inflate()
        z.receive(data)
        if last:
            z.receive(_TAIL)
        pieces = []
        try:
            while True:
                piece = z.read()
                if piece:
                    most -= len(piece)
                    if most < 0:
                        raise ProtocolError(TOO_BIG, "message too long")
                    pieces.append(piece)
                elif z.done:
                    z.next_message()
                else:
                    break
        except ProtocolError as e:
            if e.code == "deflate":
                raise ProtocolError(BAD_DATA, e.reason)  # noqa: B904
            raise
        if last and self._fresh:
            self._inflate = None
        return pieces[0] if len(pieces) == 1 else b"".join(pieces)


def parse(value):
    """[(name, {parameter: value or None})] of a Sec-WebSocket-Extensions field; ValueError."""
    out = []
    for part in value.split(","):
        words = [w.strip() for w in part.split(";")]
        parameters = {}
        for w in words[1:]:
            name, mark, v = w.partition("=")
            if name in parameters:
                raise ValueError("parameter twice")
            v = v.strip()
            if len(v) > 1 and v[0] == '"' and v[-1] == '"':
                v = v[1:-1]
            parameters[name.strip()] = v if mark else None
        out.append((words[0], parameters))
    return out


def _window(value):
    """The bytes of a window of so many bits; ValueError."""
    if len(value or "") not in (1, 2) or value[0] == "0" or not 8 <= int(value) <= 15:
        raise ValueError("bad window bits")
    return 1 << int(value)


OFFER = NAME + "; client_max_window_bits"


def accept_offer(value):
    """A server's choice: (Deflate, what to answer) or (None, ""). Section 7.1."""
    try:
        offers = parse(value) if value else ()
    except ValueError:
        return None, ""
    for name, p in offers:
        if name != NAME:
            continue
        reach = 32768
        answer = NAME + "; server_no_context_takeover; client_no_context_takeover"
        try:
            for key in p:
                if key == "server_max_window_bits":
                    reach = _window(p[key])
                    answer += "; server_max_window_bits=" + p[key]
                elif key == "client_max_window_bits":
                    if p[key] is not None:
                        _window(p[key])
                elif key not in ("server_no_context_takeover", "client_no_context_takeover"):
                    raise ValueError("unknown parameter")
                elif p[key] is not None:
                    raise ValueError("value where there is none")
        except ValueError:
            continue  # "MUST decline": the next offer, or none
        return Deflate(reach, True), answer
    return None, ""


def accept_answer(value):
    """What the server made of OFFER: a Deflate, or None where it declined. ValueError."""
    if not value:
        return None
    answers = parse(value)
    if len(answers) != 1 or answers[0][0] != NAME:
        raise ValueError("extension that was not offered")
    p = answers[0][1]
    reach = 32768
    for key in p:
        if key == "client_max_window_bits":
            reach = _window(p[key])
        elif key == "server_max_window_bits":
            _window(p[key])
        elif key not in ("server_no_context_takeover", "client_no_context_takeover"):
            raise ValueError("unknown parameter")
        elif p[key] is not None:
            raise ValueError("value where there is none")
    return Deflate(reach, "server_no_context_takeover" in p)
