"""Pages over one HTTP/2 connection, all asked for at once, by stack.http.h2: HOST PORT PATH..."""

import socket
import sys

from stack.http.h2.connection import Connection
from stack.http.h2.events import DATA, RESET, RESPONSE


def send(s, data):
    while data:
        data = data[s.send(data) :]


def fetch(host, port, paths):
    """{path: (status, body)}. Plain ("prior knowledge"); over TLS offer the ALPN name b"h2"."""
    s = socket.socket()
    s.connect(socket.getaddrinfo(host, port)[0][-1])
    c = Connection(client=True)
    path_of, pages, open_streams = {}, {}, len(paths)
    for path in paths:
        fields = [(":method", "GET"), (":scheme", "http"), (":authority", host), (":path", path)]
        path_of[c.request(fields, end=True).id] = path
    while open_streams:
        event = c.next_event()
        send(s, c.data_to_send())
        if event is None:  # more has to come first
            data = s.recv(4096)
            if not data:
                raise OSError("the server went away")
            c.receive(data)
        elif event.kind == RESPONSE:
            pages[path_of[event.stream.id]] = [int(dict(event.fields)[":status"]), b""]
        elif event.kind == DATA:
            pages[path_of[event.stream.id]][1] += event.data
            c.consumed(event.stream, len(event.data))
        if event and (event.end or event.kind == RESET):
            open_streams -= 1
    c.goaway()
    send(s, c.data_to_send())
    s.close()
    return pages


for path, (status, body) in sorted(fetch(sys.argv[1], int(sys.argv[2]), sys.argv[3:]).items()):
    print(path, status, len(body), body[:60])
