"""Servers for a lab's hosts: dnsmasq for addresses and names, nginx for pages.

Each is started with what it needs in the lab's directory, waited for until it answers, and
ended with the lab. `log` is the path of what it said."""

import os
import shutil
import socket
import struct
import subprocess
import time
from pathlib import Path

from barewire.paths import BarewireError

PAGE = "<html><body><h1>It works</h1>A page of example.test.</body></html>\n"
DOMAIN = "example.test"


def _program(name):
    found = shutil.which(name, path=f"{os.environ.get('PATH', '')}:/usr/sbin:/sbin")
    if not found:
        raise BarewireError(f"no {name}: `make test` installs it")
    return found


class Service:
    """A server process on a host. ready() is asked until it is true."""

    def __init__(self, host, name, argv, ready, timeout=10):
        self.host, self.name = host, name
        self.directory = _directory(host, name)
        self.log = self.directory / "log"
        with open(self.log, "wb") as log:
            self.process = host.popen(*argv, stdout=log, stderr=subprocess.STDOUT)
        host.lab.services.append(self)
        deadline = time.monotonic() + timeout
        while not ready():
            if self.process.poll() is not None or time.monotonic() > deadline:
                raise BarewireError(f"{name} did not start: {self.log.read_text()[-1000:]}")
            time.sleep(0.01)  # the condition is asked for, a server has no event to wait on

    def stop(self):
        """End it. May be called again."""
        if self.process.poll() is None:
            self.process.terminate()
            try:
                self.process.wait(5)
            except subprocess.TimeoutExpired:
                self.process.kill()
                self.process.wait()


def _directory(host, name):
    path = Path(host.lab.directory) / f"{host.name}-{name}"
    path.mkdir(parents=True, exist_ok=True)
    return path


def _dns_answers(host, name):
    """Whether a server on the host answers a query for `name`."""
    question = b"".join(bytes([len(p)]) + p.encode() for p in name.split(".")) + b"\0"
    query = struct.pack(">6H", 0x6277, 0x0100, 1, 0, 0, 0) + question + b"\0\x01\0\x01"
    with host.socket(kind=socket.SOCK_DGRAM) as s:
        s.settimeout(0.2)
        try:
            s.sendto(query, (host.ip, 53))
            return s.recv(512)[:2] == query[:2]
        except OSError:
            return False


def dnsmasq(host, names=None, first=100, last=199, lease="1h", options=()):
    """DHCP (addresses first..last of the subnet, router and DNS server: this host) and DNS.

    names: {"example.test": "10.77.0.1"}; by default example.test is this host.
    options: more of dnsmasq's command line."""
    lab = host.lab
    names = names or {DOMAIN: host.ip}
    directory = _directory(host, "dnsmasq")
    hosts = directory / "hosts"
    hosts.write_text("".join(f"{ip} {name}\n" for name, ip in names.items()))
    argv = [
        _program("dnsmasq"), "--keep-in-foreground", "--conf-file=/dev/null", "--log-facility=-",
        "--user=", "--group=", "--no-resolv", "--no-hosts", f"--addn-hosts={hosts}",
        "--local=/test/", "--interface=eth0", "--bind-interfaces", "--pid-file=",
        f"--dhcp-leasefile={directory / 'leases'}", "--dhcp-authoritative", "--no-ping",
        f"--dhcp-range={lab.address(first)},{lab.address(last)},{lease}",
        f"--dhcp-option=option:router,{host.ip}", f"--dhcp-option=option:dns-server,{host.ip}",
        "--log-dhcp", "--log-queries", *options,
    ]  # fmt: skip
    return Service(host, "dnsmasq", argv, lambda: _dns_answers(host, next(iter(names))))


_NGINX = """
daemon off;
master_process off;
user root;
error_log {dir}/error.log;
pid {dir}/pid;
events {{ worker_connections 512; }}
http {{
    access_log {dir}/access.log;
    client_body_temp_path {dir}/body; client_max_body_size 0;
    proxy_temp_path {dir}/proxy; fastcgi_temp_path {dir}/fastcgi;
    uwsgi_temp_path {dir}/uwsgi; scgi_temp_path {dir}/scgi;
    types {{ text/html html; }} default_type application/octet-stream;
    sendfile on; tcp_nopush on;
    server {{
        listen {ip}:80;
        root {dir}/www;
        {locations}
    }}
}}
"""


def nginx(host, files=None, locations=""):
    """nginx on port 80 with `index.html` and `files` ({name: bytes, or a Path to link}).

    `.root` is its folder of pages; locations: more of the server's configuration."""
    directory = _directory(host, "nginx")
    root = directory / "www"
    root.mkdir(exist_ok=True)
    (root / "index.html").write_text(PAGE)
    for name, content in (files or {}).items():
        if isinstance(content, Path):
            (root / name).symlink_to(content)
        else:
            (root / name).write_bytes(content)
    config = directory / "nginx.conf"
    config.write_text(_NGINX.format(dir=directory, ip=host.ip, locations=locations))

    def ready():
        try:
            host.connect((host.ip, 80), timeout=1).close()
            return True
        except OSError:
            return False

    argv = [_program("nginx"), "-p", directory, "-c", config, "-e", directory / "error.log"]
    service = Service(host, "nginx", argv, ready)
    service.root = root
    return service
