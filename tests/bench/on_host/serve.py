# One server of plain sockets, in turn: `serve.py echo|sink|source`. Runs on the kernel's sockets
# under CPython, and on the stack's under CPython (barewire tap) and MicroPython's unix port.
import socket
import sys

PORT = 5000
BLOCK = bytearray(256 * 1024)


def exactly(c, n):
    data = b""
    while len(data) < n:
        piece = c.recv(n - len(data))
        if not piece:
            raise OSError("the stream ended")
        data += piece
    return data


def echo(c):
    while True:
        data = c.recv(4096)
        if not data:
            return
        c.sendall(data)


def sink(c):
    """An 8-byte count, that many bytes; one byte back."""
    left = int.from_bytes(exactly(c, 8), "big")
    while left > 0:
        n = c.recv_into(BLOCK)
        if not n:
            return
        left -= n
    c.sendall(b".")


def source(c):
    """An 8-byte count; that many bytes back."""
    left = int.from_bytes(exactly(c, 8), "big")
    view = memoryview(BLOCK)
    while left:
        n = min(left, len(BLOCK))
        c.sendall(view[:n])
        left -= n


def main(serve):
    s = socket.socket()
    s.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    s.bind(("0.0.0.0", PORT))
    s.listen(64)
    print("listening")
    while True:
        c, _peer = s.accept()
        try:
            serve(c)
        except OSError:
            pass
        c.close()


main({"echo": echo, "sink": sink, "source": source}[sys.argv[1]])
