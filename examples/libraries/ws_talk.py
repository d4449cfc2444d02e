"""Messages to a WebSocket and its answers, by stack.ws: HOST PORT MESSAGE..."""

import os
import socket
import sys

from stack.http.headers import Headers
from stack.ws import connection, handshake


def send(s, data):
    while data:
        data = data[s.send(data) :]


def connect(host, port, path="/"):
    """(socket, Connection). ProtocolError if the server's answer is none."""
    s = socket.socket()
    s.connect(socket.getaddrinfo(host, port)[0][-1])
    key = handshake.new_key(os.urandom)
    fields = [("Host", "%s:%d" % (host, port))] + handshake.offer(key)
    lines = ["GET %s HTTP/1.1" % path] + ["%s: %s" % f for f in fields]
    send(s, ("\r\n".join(lines) + "\r\n\r\n").encode())
    head, status, fields = s.makefile("rb", 0), 0, []
    while (line := head.readline().decode().strip()) != "":
        if status:
            fields.append([part.strip() for part in line.split(":", 1)])
        else:
            status = int(line.split()[1])
    agreed = handshake.check_answer(status, Headers(fields), key)
    return s, connection.Connection(True, os.urandom, agreed.deflate)


def talk(host, port, messages):
    s, c = connect(host, port)
    for message in messages:
        c.send(message)
    answers = 0
    while True:
        event = c.next_event()  # (TEXT, str), (BINARY, bytes), (CLOSE, (code, reason))...
        send(s, c.data_to_send())  # pings are answered by the machine
        if event is None:
            data = s.recv(4096)
            c.receive(data) if data else c.receive_eof()
        elif event[0] == connection.CLOSE:
            print("closed", event[1][0])
            return s.close()
        elif event[0] == connection.TEXT:
            print(event[1])
            answers += 1
            if answers == len(messages):
                c.close()


talk(sys.argv[1], int(sys.argv[2]), sys.argv[3:])
