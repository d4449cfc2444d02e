"""A page over TLS 1.3, verified, by stack.tls over a socket of the host: HOST PORT ROOTS [PATH]."""

import os
import socket
import sys
import time

from stack.tls.client import Client
from stack.tls.config import Config
from stack.tls.events import Data, HandshakeDone, PeerClosed
from stack.tls.x509.store import Roots


def send(s, data):
    while data:
        data = data[s.send(data) :]


def fetch(host, port, pem, path="/"):
    """Head and body, bytes. TlsError: with whom we speak is not certain, or it broke off."""
    s = socket.socket()
    s.connect(socket.getaddrinfo(host, port)[0][-1])
    epoch = 0 if time.gmtime(0)[0] == 1970 else 946684800  # many boards count from 2000
    c = Client(Config(roots=Roots(pem)), host, os.urandom, 0, int(time.time()) + epoch)
    page = b""
    try:
        while True:
            send(s, c.data_to_send())
            event = c.next_event()
            if event is None:  # more has to come first
                data = s.recv(4096)
                c.receive(data) if data else c.receive_eof()
            elif isinstance(event, HandshakeDone):
                c.send(("GET %s HTTP/1.0\r\nHost: %s\r\n\r\n" % (path, host)).encode())
            elif isinstance(event, Data):
                page += event.tobytes()
            elif isinstance(event, PeerClosed):
                return page
    finally:
        send(s, c.data_to_send())  # an alert, if it failed
        s.close()


with open(sys.argv[3], "rb") as f:
    print(fetch(sys.argv[1], int(sys.argv[2]), f.read(), *sys.argv[4:]).decode())
