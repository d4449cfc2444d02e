"""The two guests that are measured: the same verbs, the same QEMU, the same kind of tap.

A peer is booted on a lab's tap, answers on `address`, and is a context manager.
`boot_seconds` is from exec of QEMU until it is ready to serve.
"""

import re
import time
from pathlib import Path

import pexpect

from barewire import accel, qemu
from barewire import platform as platforms
from barewire.guest import Guest
from barewire.paths import build_dir, default_image
from tests.bench import linux_image

SINK_PORT, SOURCE_PORT, ECHO_PORT, HTTP_PORT, IPERF_PORT = 5001, 5002, 8001, 8000, 5201
ORDER_PORT, ECHO_UDP_PORT = 5010, 8003
HERE = Path(__file__).parent


def retry_connect(client, address, port, seconds=15):
    """Connect to a server that may not listen yet."""
    deadline = time.monotonic() + seconds
    while True:
        try:
            return client.connect((address, port))
        except OSError:
            if time.monotonic() > deadline:
                raise


class Barewire:
    """Our image, running tests/bench/in_barewire/serve.py."""

    name = "barewire"

    def __init__(self, lab, mem=512, platform=None, port=None, accel=None):
        self.address = lab.address(20)
        net = f"{self.address}/{lab.subnet.prefixlen}"
        self._guest = Guest(
            net=port or lab.tap(), mem=mem, append={"ip": net}, platform=platform, use_accel=accel
        )

    def __enter__(self):
        self._guest.start()
        self.boot_seconds = self._guest.boot_seconds
        for path in sorted((HERE / "in_barewire").glob("*_bench.py")):
            self._guest.put(f"/{path.name}", path.read_bytes())
        self._running = self._guest.run_async((HERE / "in_barewire" / "serve.py").read_text())
        return self

    def ask(self, client, call):
        """The text of a value: call is "module.function(...)" of a file NAME_bench.py in there."""
        with retry_connect(client, self.address, ORDER_PORT) as s:
            s.settimeout(60)
            s.sendall(call.encode() + b"\n")
            text = b"".join(iter(lambda: s.recv(4096), b"")).decode().strip()
        if "Error" in text:
            raise RuntimeError(f"{call}: {text}")
        return text

    def __exit__(self, *_exc):
        self._guest.close()

    def cpu_seconds(self):
        return self._guest.cpu_seconds()


class Linux:
    """Debian's kernel with CPython, nginx and iperf3; see linux_image.py."""

    name = "linux"

    def __init__(self, lab, mem=512, platform=None, port=None, use_accel=None):
        if platforms.find(platform).virtio:
            kernel, initrd = linux_image.build(build_dir() / "linux")
        else:
            folder = build_dir() / "linux-full"
            kernel, initrd = linux_image.build(folder, linux_image.FULL_KERNEL)
        self.address = lab.address(30)
        port = port or lab.tap()
        self._fds = port.pass_fds
        argv = qemu.command_line(
            kernel, accel=use_accel or accel.choose(default_image()), platform=platform, mem=mem,
            net=[port], initrd=initrd,
            serial=("-serial", "stdio"),
            append={
                "console": "ttyS0", "mitigations": "off", "loglevel": "0", "serve": str(HTTP_PORT),
                "guest_ip": f"{self.address}/{lab.subnet.prefixlen}",
            },
        )  # fmt: skip
        self._argv = argv

    def __enter__(self):
        from barewire.guest import _Spawn

        began = time.monotonic()
        self._child = _Spawn(self._argv, self._fds, timeout=300, echo=False)
        self._child.expect_exact("READY")
        self.boot_seconds = time.monotonic() - began
        self._child.expect_exact("~ # ")
        self.shell("mkdir -p /tmp/www; dd if=/dev/zero of=/tmp/www/big bs=1M count=128 2>/dev/null")
        self.shell(_NGINX)
        self.shell("nginx -c /tmp/nginx.conf; iperf3 -s -D")
        return self

    def shell(self, command):
        """Run a command in the guest's shell; its output."""
        self._child.send(f"{command}; echo DO''NE $?\n")
        self._child.expect(r"DONE (\d+)\r?\n", timeout=300)
        text = self._child.before.decode(errors="replace")
        self._child.expect_exact("~ # ")
        return re.sub(r"^.*\n", "", text, count=1)

    def __exit__(self, *_exc):
        self._child.kill(9)
        try:
            self._child.expect(pexpect.EOF, timeout=5)
        except pexpect.TIMEOUT:
            pass
        self._child.close(force=True)

    def cpu_seconds(self):
        fields = Path(f"/proc/{self._child.pid}/stat").read_text().rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / 100


_NGINX = (
    "echo 'user root; worker_rlimit_nofile 4096; events { worker_connections 2048; } "
    "http { access_log off; sendfile on; "
    "keepalive_requests 1000000; server { listen 80; root /tmp/www; "
    'location = /small { return 200 "' + "x" * 100 + "\"; } } }' > /tmp/nginx.conf"
)
