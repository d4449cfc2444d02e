"""asyncio.open_connection, as MicroPython's own but for how the connection is made: by a look-up
that does not block, and to the first of all the host's addresses that answers (RFC 8305).
"""

from stack.api import _address, _connect, _runtime
from stack.api import socket as m
from stack.core.timers import NEVER


def connection(host, port, ssl, server_hostname):
    """To be awaited: (reader, writer). OSError of the first failure."""
    from asyncio import core
    from asyncio.stream import Stream

    rt = _runtime.current()
    e = yield from rt.run_async(_connect.steps(rt, host, port, NEVER))
    s = m.socket(_address.family(e.remote_addr), m.SOCK_STREAM, 0, endpoint=e)
    s.setblocking(False)
    if ssl:
        from stack.api import ssl as tls

        if ssl is True:
            ssl = tls.SSLContext(tls.PROTOCOL_TLS_CLIENT)
        s = ssl.wrap_socket(
            s, server_hostname=server_hostname or host, do_handshake_on_connect=False
        )
        s.setblocking(False)
    both = Stream(s)
    yield core._io_queue.queue_write(s)
    return both, both
