"""drivers/tap.py against the kernel, in a user and network namespace of its own."""

import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]

SCRIPT = r"""
import socket, struct, subprocess, sys, time
import micropython
from drivers.tap import Tap
from stack.core import checksum
from stack.core.frame import FramePool

offloads = sys.argv[1] == "1"
tap = Tap("bwtap", offloads=offloads, mac=bytes([2, 0, 0, 0, 0, 2]))
for command in (
    "sysctl -qw net.ipv6.conf.bwtap.disable_ipv6=1",
    "ip addr add 10.77.0.1/24 dev bwtap",
    "ip link set bwtap up",
    "ip neigh add 10.77.0.2 lladdr 02:00:00:00:00:02 dev bwtap",
):
    subprocess.run(command.split(), check=True)
pool = FramePool([bytearray(2048) for _ in range(4)])
host = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
host.bind(("10.77.0.1", 7))
host.settimeout(5)
host.sendto(b"to the stack", ("10.77.0.2", 9))
got = []
until = time.time() + 5
while not got and time.time() < until:
    tap.sleep()
    tap.rx(lambda f: got.append((bytes(f.buf[f.off:f.end]), f.csum_ok)), 64)
packet, vouched = got[0]
assert packet[:6] == tap.mac and packet[-12:] == b"to the stack", got
assert vouched == offloads
# And back: a header, and data from elsewhere.
data = b"x" + b"to the host"
f = pool.get()
ip = bytearray(struct.pack("!BBHHHBBH4s4s", 0x45, 0, 28 + 11, 1, 0, 64, 17, 0,
                           bytes([10, 77, 0, 2]), bytes([10, 77, 0, 1])))
ip[10:12] = struct.pack("!H", checksum.checksum(ip, 0, 20))
pseudo = bytearray(bytes(ip[12:20]) + struct.pack("!HH", 17, 19))
udp = bytearray(struct.pack("!HHHH", 9, 7, 19, 0))
if offloads:
    udp[6:8] = struct.pack("!H", checksum.add(pseudo, 0, 12, 0))
else:
    whole = pseudo + udp + data[1:]
    udp[6:8] = struct.pack("!H", checksum.checksum(whole, 0, len(whole)))
head = packet[6:12] + tap.mac + b"\x08\x00" + ip + udp
f.buf[f.off:f.off + len(head)] = head
f.end = f.off + len(head)
f.data, f.data_off, f.data_len = data, 1, 11
if offloads:
    f.csum_start, f.csum_offset = f.off + 34, 6
assert tap.tx(f) and pool.free == 4
assert host.recvfrom(100) == (b"to the host", ("10.77.0.2", 9))
subprocess.run("ip link set bwtap down".split(), check=True)
f = pool.get()
f.end += 60
assert tap.tx(f) and pool.free == 4 and tap.stats.dropped("tap.tx") == 1
tap.stop()
assert tap.rx(None, 1) == 0 and tap.tx(pool.get()) and pool.free == 4
print("fine")
"""


@pytest.mark.parametrize("offloads", [0, 1])
def test_tap(offloads):
    if not Path("/dev/net/tun").exists():
        pytest.skip("no /dev/net/tun")
    probe = subprocess.run(["unshare", "-r", "-n", "true"], capture_output=True, text=True)
    if probe.returncode:
        pytest.skip("no user and network namespaces: " + probe.stderr.strip())
    done = subprocess.run(
        ["unshare", "-r", "-n", sys.executable, "-c", SCRIPT, str(offloads)],
        cwd=ROOT,
        env={"PYTHONPATH": "host/shim:.", "PATH": "/usr/sbin:/usr/bin:/sbin:/bin"},
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert done.stdout == "fine\n", done.stdout + done.stderr
