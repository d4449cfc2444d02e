"""The stack under CPython on a TAP (`barewire tap`) with this kernel as the peer, both ways."""

import hashlib
import random
import sys
import threading

import pytest

from barewire.netns import Namespaces
from barewire.paths import BarewireError

KERNEL, STACK = "10.88.0.1", "10.88.0.2"
SIZE = 3_000_000

# A client that uploads and downloads, then a server that echoes, as a board's program would.
PROGRAM = """
import socket, hashlib, sys
def connect(port):
    s = socket.socket()
    s.settimeout(30)
    s.connect(socket.getaddrinfo("10.88.0.1", port)[0][-1])
    return s
def digest(s):
    h, buf = hashlib.sha256(), bytearray(65536)
    while True:
        n = s.recv_into(buf)
        if not n:
            return h.hexdigest()
        h.update(memoryview(buf)[:n])
s = connect(int(sys.argv[1]))
print("down", digest(s), flush=True)
s.close()
s = connect(int(sys.argv[2]))
block = bytes(range(256)) * 256
h = hashlib.sha256()
for i in range(int(sys.argv[3]) // len(block)):
    s.write(block)
    h.update(block)
s.close()
print("up", h.hexdigest(), flush=True)
l = socket.socket()
l.bind(("0.0.0.0", 7))
l.listen(5)
l.settimeout(30)
print("listening", flush=True)
c, where = l.accept()
while True:
    data = c.recv(1000)
    if not data:
        break
    c.write(data)
c.close()
import net
print(where[0], net.stats()["drops"].get("tcp.checksum", 0), flush=True)
"""


def _space():
    try:
        return Namespaces()
    except BarewireError as e:
        pytest.skip(str(e))


@pytest.mark.bridge
@pytest.mark.parametrize("offloads", [True, False])
def test_tap_and_kernel(tmp_path, offloads):
    program = tmp_path / "program.py"
    program.write_text(PROGRAM)
    data = random.Random(1).randbytes(SIZE)
    heard = hashlib.sha256()
    namespaces = _space()
    space = namespaces.space(0)
    space.ip("link set lo up")
    down, up = space.listen(("0.0.0.0", 0), timeout=30), space.listen(("0.0.0.0", 0), timeout=30)

    def serve():
        with down, down.accept()[0] as s:
            s.sendall(data)
        with up, up.accept()[0] as s:
            s.settimeout(30)
            while piece := s.recv(1 << 16):
                heard.update(piece)

    thread = threading.Thread(target=serve, daemon=True)
    thread.start()
    p = space.popen(
        sys.executable, "-m", "barewire.cli", "tap", program,
        "--kernel", f"{KERNEL}/24", "--address", f"{STACK}/24",
        "--offloads" if offloads else "--no-offloads",
        down.getsockname()[1], up.getsockname()[1], SIZE, stdout=-1, text=True,
    )  # fmt: skip
    try:
        said = p.stdout.readline().split()
        assert said == ["down", hashlib.sha256(data).hexdigest()]
        said = p.stdout.readline().split()
        thread.join(30)
        assert said == ["up", heard.hexdigest()]
        assert p.stdout.readline() == "listening\n"
        with space.connect((STACK, 7), 30) as s:
            s.sendall(b"hello")
            assert s.recv(100) == b"hello"
        assert p.stdout.readline().split() == [KERNEL, "0"]
        assert p.wait(30) == 0
    finally:
        p.kill()
        p.communicate()
        namespaces.close()
