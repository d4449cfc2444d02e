"""A name's records, with DNSSEC checked here, by stack.dns: SERVER PORT NAME [TYPE [ROOT'S DS]].

SERVER resolves for us and is not believed: what is signed is followed from the root's key down."""

import os
import socket
import sys
import time

from stack.core.stats import Stats
from stack.dns import anchors, name, rdata, root
from stack.dns.recursor.forward import Forwarder
from stack.dns.upstream import UDP


def ask(server, port, text, type, trust):
    """A Question that is done: `rcode`, `status` ("secure", "insecure", "bogus"), `entries`."""
    epoch = 0 if time.gmtime(0)[0] == 1970 else 946684800  # many boards count from 2000
    now = lambda: int(time.time()) * 1000000
    servers = {b"it": socket.getaddrinfo(server, port)[0][-1]}
    keys = [ds for line in trust for ds in anchors.parse(line)]
    clock = lambda: int(time.time()) + epoch
    f = Forwarder(os.urandom, clock, servers, UDP, keys, Stats(), 65536)
    q = f.start(name.to_wire(text), rdata.type_number(type), now())
    s = None
    while not q.done:
        try:
            if t := q.transmit():
                kind, where, message = t
                if s:
                    s.close()
                s = socket.socket(socket.AF_INET, socket.SOCK_STREAM if kind else socket.SOCK_DGRAM)
                s.settimeout(3)
                s.connect(where)
                s.send(message)
            data = s.recv(4096)
        except OSError:
            data = b""
        if not data:
            q.on_failed(now())
        elif kind == UDP:
            q.on_datagram(data, q.server_address(), now())
        else:
            q.on_stream(data, now())
    return q


more = sys.argv[4:]
q = ask(sys.argv[1], int(sys.argv[2]), sys.argv[3], (more + ["A"])[0], more[1:] or root.ANCHORS)
print(q.status, "rcode", q.rcode, q.ede or "")
for entry in q.entries:
    for s in entry.answer:
        for data in s.data:
            print(name.to_text(s.name), s.ttl, rdata.type_name(s.type), rdata.text(s.type, data))
