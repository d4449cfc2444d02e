"""CONNECT through a proxy: RFC 9110, section 9.3.6. Not implemented: over HTTP/2."""

from stack.core.errors import ProtocolError
from stack.http import h1
from stack.http.h1write import build_request
from stack.http.message import basic


def open(stream, way, proxy, deadline):
    """Steps: after it, stream's bytes are the origin's. OSError where the proxy refuses."""
    host = "[" + way.host + "]" if ":" in way.host else way.host
    where = "%s:%d" % (host, way.port)
    fields = [("Host", where)]
    if proxy.user:
        fields.append(("Proxy-Authorization", basic(proxy.user.split(":", 1))))
    yield from stream.send_until(build_request("CONNECT", where, fields), deadline)
    p = h1.Response("CONNECT")
    buf = bytearray(1)
    while True:
        event = p.next_event()
        if event == h1.HEAD:
            break
        if event == h1.NEED_DATA:
            # Byte by byte: what follows the head is not ours to read.
            if (yield from stream.recv_until(buf, 0, 1, deadline)):
                p.receive(buf)
            else:
                p.receive_eof()
    if not p.switched:
        raise OSError("the proxy answered %d %s" % (p.status, p.reason))
    if p.has_data():
        raise ProtocolError("http", "the proxy spoke first")
