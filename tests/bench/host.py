"""`make bench ARGS=--host`: the stack at native speed, beside the kernel's sockets and PyTCP.

TCG's costs are not silicon's. Here the same Python runs without QEMU: on MicroPython's unix port
and on CPython, each on a TAP whose other end is this kernel; beside them a CPython program on
the kernel's own sockets across a veth pair, and PyTCP (PyPI) on a TAP. All serve the same
client, which is on the kernel's sockets, in turn, in one run.
"""

import os
import statistics
import subprocess
import sys
import time
from contextlib import contextmanager
from pathlib import Path

from rich.table import Table

from barewire.netns import Namespaces
from barewire.paths import BarewireError, build_dir, root
from tests.bench.record import write

HERE = Path(__file__).parent / "on_host"
PORT, TAP = 5000, "tap0"
NEAR, FAR = "10.88.0.1", "10.88.0.2"
PYTCP = "pytcp==2.7.6"
CHUNK = 1 << 20


class Server:
    """A program on a stack: `start(mode)` gives the Space from which it is reached at FAR."""

    bulk = 256 << 20  # bytes of a stream
    count = 3000  # round trips
    offloads = True

    def argv(self, mode):
        raise NotImplementedError

    @contextmanager
    def start(self, mode):
        spaces = Namespaces()
        try:
            space = spaces.space(0)
            server = self.wire(space, spaces)
            process = server.popen(*self.argv(mode), stdout=subprocess.PIPE, text=True, cwd=root())
            try:
                if process.stdout.readline() != "listening\n":
                    raise BarewireError(f"{self.name}: the server did not start")
                yield space
            finally:
                process.kill()
                process.communicate()
        finally:
            spaces.close()

    def wire(self, space, _spaces):
        """Make the TAP; the Space that the server runs in."""
        space.ip(
            f"tuntap add {TAP} mode tap{' vnet_hdr' if self.offloads else ''}",
            f"addr add {NEAR}/24 dev {TAP}", f"link set {TAP} up",
        )  # fmt: skip
        return space


class Kernel(Server):
    name = "kernel (CPython)"
    bulk = 1 << 30
    count = 20000

    def wire(self, space, spaces):
        far = spaces.space()
        space.ip(f"link add va type veth peer name vb netns {spaces.ns_path(far.index)}",
                 f"addr add {NEAR}/24 dev va", "link set va up")  # fmt: skip
        far.ip(f"addr add {FAR}/24 dev vb", "link set vb up")
        return far

    def argv(self, mode):
        return sys.executable, "-u", HERE / "serve.py", mode


class UnixPort(Server):
    name = "barewire (MicroPython)"
    count = 20000

    def argv(self, mode):
        micropython = build_dir() / "unix-port" / "micropython"
        run = root() / "host" / "unixport" / "run.py"
        return (micropython, "-X", "heapsize=256M", run, TAP, f"{FAR}/24", HERE / "serve.py", mode)


class OnCPython(Server):
    name = "barewire (CPython)"
    bulk = 64 << 20

    def argv(self, mode):
        return (sys.executable, "-u", "-m", "barewire.cli", "tap", "--ifname", TAP, "--address",
                f"{FAR}/24", HERE / "serve.py", mode)  # fmt: skip


class PyTcp(Server):
    name = "PyTCP (CPython)"
    bulk = 4 << 20
    count = 300
    offloads = False

    def argv(self, mode):
        return (self.python(), "-u", HERE / "serve_pytcp.py", TAP, f"{FAR}/24", NEAR, mode)

    def python(self):
        """A Python that has PyTCP: a virtual environment of its own, made once."""
        venv = build_dir() / "pytcp"
        python = venv / "bin" / "python"
        if not (venv / "made").exists():
            subprocess.run([sys.executable, "-m", "venv", "--clear", venv], check=True)
            subprocess.run([python, "-m", "pip", "install", "-q", PYTCP], check=True)
            (venv / "made").touch()
        return python


def stream_in(server):
    """MB/s into the server."""
    with server.start("sink") as space, _connect(space) as s:
        block = bytes(CHUNK)
        began = time.monotonic()
        s.sendall(server.bulk.to_bytes(8, "big"))
        for _ in range(server.bulk // CHUNK):
            s.sendall(block)
        if s.recv(1) != b".":
            raise BarewireError("the server did not take all")
        return server.bulk / (time.monotonic() - began) / 1e6


def stream_out(server):
    """MB/s out of the server."""
    with server.start("source") as space, _connect(space) as s:
        buf = bytearray(CHUNK)
        began = time.monotonic()
        s.sendall(server.bulk.to_bytes(8, "big"))
        left = server.bulk
        while left:
            n = s.recv_into(buf)
            if not n:
                raise BarewireError(f"the stream ended {left} bytes early")
            left -= n
        return server.bulk / (time.monotonic() - began) / 1e6


def round_trips(server):
    """64-byte requests and answers a second on one connection."""
    with server.start("echo") as space, _connect(space) as s:
        message = bytes(64)
        began = time.monotonic()
        for _ in range(server.count):
            s.sendall(message)
            left = 64
            while left:
                left -= len(s.recv(left))
        return server.count / (time.monotonic() - began)


def connections(server):
    """Connections a second, one after another: connect, 64 bytes there and back, close."""
    count = server.count // 10
    with server.start("echo") as space:
        _connect(space).close()
        began = time.monotonic()
        for _ in range(count):
            with space.connect((FAR, PORT), 10) as s:
                s.sendall(bytes(64))
                left = 64
                while left:
                    left -= len(s.recv(left))
        return count / (time.monotonic() - began)


def _connect(space):
    s = space.connect((FAR, PORT), 10)
    s.settimeout(120)
    return s


ROWS = (
    ("tcp out", "MB/s", stream_out),
    ("tcp in", "MB/s", stream_in),
    ("64 B round trips", "/s", round_trips),
    ("connections", "/s", connections),
)
SERVERS = (Kernel, UnixPort, OnCPython, PyTcp)


def main(out, pairs, words):
    """Measure each row on each server `pairs` times in turn; print and write the medians."""
    os.environ["PYTHONPATH"] = os.pathsep.join(sys.path)
    subprocess.run(["make", "--no-print-directory", "unix-port"], check=True, cwd=root())
    servers = [kind() for kind in SERVERS]
    table = Table("what (no emulator)", "unit", *(s.name for s in servers))
    record = []
    for name, unit, measure in ROWS:
        if words and not any(w in name for w in words):
            continue
        figures = {s.name: [] for s in servers}
        for _ in range(pairs):
            for server in servers:
                try:
                    figures[server.name].append(measure(server))
                except (BarewireError, OSError) as e:
                    out.print(f"[red]{name}: {server.name}: {e}")
        cells = [f"{statistics.median(v):.4g}" if v else "-" for v in figures.values()]
        table.add_row(name, unit, *cells)
        record.append({"row": name, "unit": unit, "better": "more", **figures})
    out.print(table)
    write(out, "host", record)
