"""What is measured: a row is a name, a unit, and a function of (client host, peer) -> figure.

`client` is a barewire.lab.Host on the same bridge. All figures are rates or
times of whole runs; `better` says which way is better.
"""

import json
import re
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from barewire import services
from barewire.console import GuestError
from barewire.guest import Guest
from barewire.lab import Lab
from barewire.net import UserNet
from barewire.paths import BarewireError
from barewire.pytest_plugin import wait_for_address
from tests.bench.peers import (
    ECHO_PORT,
    HTTP_PORT,
    IPERF_PORT,
    SINK_PORT,
    SOURCE_PORT,
    retry_connect,
)

BULK = 256 << 20
CHUNK = 1 << 20


def _iperf(client, peer, *options):
    retry_connect(client, peer.address, IPERF_PORT).close()  # until it listens
    for _ in range(3):
        # iperf3 serves one test at a time and may still be ending the one before.
        done = client.run("iperf3", "-c", peer.address, "-t", "3", "-J", *options, check=False)
        report = json.loads(done.stdout)
        if "error" not in report:
            return report["end"]["sum_received"]["bits_per_second"] / 8e6
        time.sleep(0.5)
    raise RuntimeError(f"iperf3: {report['error']}")


def tcp_out(client, peer):
    """MB/s from the guest to the host: a stream of BULK bytes."""
    if peer.name == "linux":
        return max(_iperf(client, peer, "-R"), _fetch(client, peer))
    with retry_connect(client, peer.address, SOURCE_PORT) as s:
        buf = bytearray(CHUNK)
        began = time.monotonic()
        s.sendall(BULK.to_bytes(8, "big"))
        left = BULK
        while left:
            n = s.recv_into(buf)
            if not n:
                raise RuntimeError(f"the stream ended {left} bytes early")
            left -= n
        return BULK / (time.monotonic() - began) / 1e6


def _fetch(client, peer):
    """MB/s of nginx with sendfile, the fastest way out of a Linux guest."""
    with retry_connect(client, peer.address, 80) as s:
        buf = bytearray(CHUNK)
        began = time.monotonic()
        s.sendall(b"GET /big HTTP/1.0\r\n\r\n")
        total = 0
        while n := s.recv_into(buf):
            total += n
        return total / (time.monotonic() - began) / 1e6


def tcp_in(client, peer):
    """MB/s from the host into the guest."""
    if peer.name == "linux":
        return _iperf(client, peer)
    with retry_connect(client, peer.address, SINK_PORT) as s:
        s.settimeout(60)
        block = bytes(CHUNK)
        began = time.monotonic()
        s.sendall(BULK.to_bytes(8, "big"))
        for _ in range(BULK // CHUNK):
            s.sendall(block)
        if s.recv(1) != b".":
            raise RuntimeError("the guest did not take all")
        return BULK / (time.monotonic() - began) / 1e6


def round_trips(client, peer, count=3000):
    """64-byte requests and answers per second on one connection."""
    with retry_connect(client, peer.address, ECHO_PORT) as s:
        message = bytes(64)
        began = time.monotonic()
        for _ in range(count):
            s.sendall(message)
            left = 64
            while left:
                left -= len(s.recv(left))
        return count / (time.monotonic() - began)


def connections(client, peer, count=400):
    """Connections per second: connect, one request, one answer, close."""
    request = b"GET / HTTP/1.1\r\nHost: x\r\n\r\n"
    retry_connect(client, peer.address, HTTP_PORT).close()
    began = time.monotonic()
    for _ in range(count):
        with client.connect((peer.address, HTTP_PORT)) as s:
            s.sendall(request)
            got = 0
            while got < 100:
                got += len(s.recv(4096))
    return count / (time.monotonic() - began)


def requests_kept(client, peer, count=3000):
    """HTTP requests of 100 bytes per second on one kept connection (asyncio in both)."""
    request = b"GET / HTTP/1.1\r\nHost: x\r\n\r\n"
    with retry_connect(client, peer.address, HTTP_PORT) as s:
        s.sendall(request)
        size = 0
        while not size or size < 100:
            size += len(s.recv(4096))
        began = time.monotonic()
        for _ in range(count):
            s.sendall(request)
            left = size
            while left > 0:
                left -= len(s.recv(4096))
        return count / (time.monotonic() - began)


def ping(client, peer):
    """Median round trip of an echo request in ms."""
    text = client.run("ping", "-n", "-c", "200", "-i", "0.005", peer.address).stdout
    times = sorted(float(t) for t in re.findall(r"time=([\d.]+) ms", text))
    return times[len(times) // 2]


def idle_cpu(_client, peer):
    """Percent of one host core that the idle guest uses."""
    before = peer.cpu_seconds()
    began = time.monotonic()
    time.sleep(3)  # the thing measured is time passing
    return 100 * (peer.cpu_seconds() - before) / (time.monotonic() - began)


def boot(_client, peer):
    """Seconds from exec of QEMU until the guest is ready (prompt, or shell with the network up)."""
    return peer.boot_seconds


def boot_on(platform):
    """Seconds from exec of QEMU to the prompt on a platform of barewire.platform: the median of 9.

    With a card on QEMU's user network and its DHCP. None for Linux, which has its own row."""

    def measure(_client, peer):
        if peer.name == "linux":
            return None
        times = []
        for _ in range(9):
            with Guest(net=UserNet(restrict=True), platform=platform) as guest:
                times.append(guest.boot_seconds)
        return statistics.median(times)

    return measure


def run_a_program(_client, peer):
    """Seconds from exec of `barewire run app.py data.txt` to the program's first line: the median
    of 5. None for Linux."""
    if peer.name == "linux":
        return None
    times = []
    with tempfile.TemporaryDirectory() as folder:
        program = "print(open('/app/data.txt').read())\nimport sys\nsys.exit()\n"
        (Path(folder) / "app.py").write_text(program)
        (Path(folder) / "data.txt").write_text("the first line")
        argv = [sys.executable, "-m", "barewire.cli", "run", "app.py", "data.txt"]
        for _ in range(5):
            began = time.monotonic()
            with subprocess.Popen(
                argv, cwd=folder, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
            ) as process:
                if not any("the first line" in line for line in process.stdout):
                    raise RuntimeError("the program did not run")
                times.append(time.monotonic() - began)
    return statistics.median(times)


def memory(_client, peer):
    """The least -m, in MB, with which the image boots on q35, takes an address and fetches a page
    of 100 KB. Found by trying from 64 MB down. None for Linux."""
    if peer.name == "linux":
        return None
    least, too_little = 64, 0
    while least - too_little > 1:
        tried = (least + too_little) // 2
        if _fetches_a_page(tried):
            least = tried
        else:
            too_little = tried
    return least


def _fetches_a_page(mem):
    page = b"page " * 20000
    with Lab(capture=False) as lab:
        host = lab.add_host("host", 1)
        services.dnsmasq(host)
        services.nginx(host, {"page": page})
        guest = Guest(net=lab.tap(), mem=mem, boot_timeout=20)
        try:
            guest.start()
            wait_for_address(guest)
            guest.exec("import net")
            got = guest.eval(f"len(net.http.get('http://{services.DOMAIN}/page').content)")
            return got == len(page)
        except (BarewireError, GuestError, AssertionError):
            return False
        finally:
            guest.kill()


# name, unit, better ("more" or "less"), function
ROWS = (
    ("boot", "s", "less", boot),
    ("boot on microvm", "s", "less", boot_on("microvm")),
    ("boot on q35 with qboot", "s", "less", boot_on("q35-qboot")),
    ("barewire run app.py to its first line", "s", "less", run_a_program),
    ("least memory", "MB", "less", memory),
    ("tcp out", "MB/s", "more", tcp_out),
    ("tcp in", "MB/s", "more", tcp_in),
    ("64 B round trips, 1 connection", "/s", "more", round_trips),
    ("HTTP 100 B kept alive, 1 connection", "/s", "more", requests_kept),
    ("connections with one request", "/s", "more", connections),
    ("ping round trip", "ms", "less", ping),
    ("idle CPU of a host core", "%", "less", idle_cpu),
)
