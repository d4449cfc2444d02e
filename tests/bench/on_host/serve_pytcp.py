"""The same server on PyTCP's sockets: `serve_pytcp.py TAP ADDRESS/PREFIX GATEWAY echo|sink|source`.

Run by a Python that has PyTCP; see tests/bench/host.py. Its listening socket has no backlog, its
close is not abortive, and what it logs goes nowhere.
"""

import sys

from pytcp import TcpIpStack, config
from pytcp.lib import socket

config.LOG_CHANEL = set()
PORT = 5000
BLOCK = bytes(64 * 1024)


def exactly(c, n):
    data = b""
    while len(data) < n:
        piece = c.recv(n - len(data))
        if not piece:
            raise OSError("the stream ended")
        data += piece
    return data


def send_all(c, data):
    data = bytes(data)
    while data:
        data = data[c.send(data) :]


def echo(c):
    while data := c.recv(4096):
        send_all(c, data)


def sink(c):
    left = int.from_bytes(exactly(c, 8), "big")
    while left > 0:
        data = c.recv(65536)
        if not data:
            return
        left -= len(data)
    send_all(c, b".")


def source(c):
    left = int.from_bytes(exactly(c, 8), "big")
    while left:
        n = min(left, len(BLOCK))
        send_all(c, BLOCK[:n])
        left -= n


def main(tap, address, gateway, mode):
    serve = {"echo": echo, "sink": sink, "source": source}[mode]
    TcpIpStack(interface=tap, ip4_address=address, ip4_gateway=gateway).start()
    s = socket.socket(family=socket.AF_INET4, type=socket.SOCK_STREAM)
    s.bind((address.partition("/")[0], PORT))
    s.listen()
    print("listening", flush=True)
    while True:
        c, _peer = s.accept()
        try:
            serve(c)
        except (OSError, socket.ReceiveTimeout):
            pass
        c.close()


main(*sys.argv[1:5])
