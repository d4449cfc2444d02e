"""The stack on MicroPython's unix port and a TAP (host/unixport), with this kernel as the peer."""

import random
import subprocess
import threading

import pytest

from barewire.netns import Namespaces
from barewire.paths import BarewireError, root

KERNEL, STACK = "10.88.0.1", "10.88.0.2"
PROGRAM = """
import socket
l = socket.socket()
l.bind(("0.0.0.0", 7))
l.listen(5)
print("listening")
c, peer = l.accept()
n = 0
while True:
    data = c.recv(65536)
    if not data:
        break
    c.write(data)
    n += len(data)
c.close()
import net, sys
print(sys.implementation.name, peer[0], n, net.stats()["drops"].get("tcp.checksum", 0))
"""


@pytest.mark.bridge
@pytest.mark.timeout(600)
def test_unix_port_and_kernel(tmp_path):
    subprocess.run(["make", "-C", root(), "unix-port"], check=True, stdout=subprocess.DEVNULL)
    try:
        namespaces = Namespaces()
    except BarewireError as e:
        pytest.skip(str(e))
    program = tmp_path / "program.py"
    program.write_text(PROGRAM)
    data = random.Random(1).randbytes(3_000_000)
    space = namespaces.space(0)
    space.ip("tuntap add tap0 mode tap vnet_hdr", f"addr add {KERNEL}/24 dev tap0",
             "link set tap0 up")  # fmt: skip
    p = space.popen(
        root() / "build/unix-port/micropython", "-X", "heapsize=64M",
        root() / "host/unixport/run.py", "tap0", f"{STACK}/24", program,
        stdout=subprocess.PIPE, text=True,
    )  # fmt: skip
    try:
        assert p.stdout.readline() == "listening\n"
        with space.connect((STACK, 7), 30) as s:
            s.settimeout(60)
            sender = threading.Thread(target=s.sendall, args=(data,), daemon=True)
            sender.start()
            back = bytearray()
            while len(back) < len(data):
                piece = s.recv(1 << 20)
                assert piece
                back += piece
            sender.join(60)
        assert bytes(back) == data
        assert p.stdout.readline().split() == ["micropython", KERNEL, str(len(data)), "0"]
        assert p.wait(30) == 0
    finally:
        p.kill()
        p.communicate()
        namespaces.close()
