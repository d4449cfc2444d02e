"""webrepl: the prompt in a WebSocket, by MicroPython's own `_webrepl` (files go both ways by it).

    webrepl.start(password="secret")    port 8266; webrepl.stop()

Without a password that of `webrepl_cfg.PASS`. One client at a time, the next takes over.
Not implemented: the page of the web client (open that of MicroPython, or use webrepl_cli.py).
"""

import io
import os

import _webrepl
import websocket

from stack.api import socket as _socket
from stack.core import errors
from stack.ws import handshake

_NOTIFY = 20  # socket's handler: stack/api/_notify.py
_HEADER_MAX = 4096

_listener = _client = None


def start(port=8266, password=None, accept_handler=None):
    """Listen. OSError(EADDRINUSE). ValueError for a password of more than nine bytes."""
    global _listener
    stop()
    if password is None:
        import webrepl_cfg

        password = webrepl_cfg.PASS
    _webrepl.password(password)
    s = _socket.socket()
    s.setsockopt(_socket.SOL_SOCKET, _socket.SO_REUSEADDR, 1)
    s.bind(("", port))
    s.listen(1)
    s.setsockopt(_socket.SOL_SOCKET, _NOTIFY, accept_handler or accept_conn)
    _listener = s
    for i in _interfaces():
        print("WebREPL server started on ws://%s:%d/" % (i.split("/")[0], port))


def _interfaces():
    from stack.api import net

    return [i["ip4"] for i in net.interfaces() if i["ip4"] and i["name"] != "lo"]


def stop():
    """End it, the client too."""
    global _listener, _client
    os.dupterm(None)
    for s in (_client, _listener):
        if s is not None:
            s.close()
    _listener = _client = None


def accept_conn(listener):
    """A connection has come: shake hands, and give it the prompt."""
    global _client
    s, peer = listener.accept()
    try:
        s.settimeout(5)
        s.write(_answer(s))
    except (OSError, ValueError) as e:
        print("WebREPL: %s: %s" % (peer[0], e))
        s.close()
        return
    if _client is not None:
        os.dupterm(None)
        _client.close()
    _client = s
    print("\nWebREPL connection from:", peer)
    stream = _webrepl._webrepl(websocket.websocket(_Whole(s), True))
    s.setblocking(False)
    s.setsockopt(_socket.SOL_SOCKET, _NOTIFY, os.dupterm_notify)
    os.dupterm(stream)


class _Whole(io.IOBase):
    """The socket as `websocket` sees it. That writes header and rest of a frame apart, between
    setblocking(True) and setblocking(False): here they leave together, in one segment."""

    def __init__(self, s):
        self._s = s
        self._out = None

    def setblocking(self, on):
        if on:
            self._out = bytearray()
            return
        out = self._out
        self._out = None
        self._s.setblocking(True)
        try:
            self._s.write(out)
        finally:
            self._s.setblocking(False)

    def write(self, data):
        if self._out is None:
            return self._s.write(data)
        self._out.extend(data)
        return len(data)

    def readinto(self, buf):
        return self._s.readinto(buf)

    def ioctl(self, request, arg):
        return self._s.ioctl(request, arg)


def _answer(s):
    """The server's half of the handshake (RFC 6455, section 4.2). ValueError."""
    s.readline()
    size, key = 0, None
    while size < _HEADER_MAX:
        line = s.readline()
        size += len(line)
        if line in (b"\r\n", b"\n", b""):
            break
        name, _, value = line.partition(b":")
        if name.lower() == b"sec-websocket-key":
            key = value.strip().decode()
    if key is None:
        s.write(b"HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\nConnection: close\r\n\r\n")
        raise OSError(errors.EINVAL, "no WebSocket")
    return (
        "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
        "Sec-WebSocket-Accept: %s\r\n\r\n" % handshake.accept_of(key)
    ).encode()
