"""Where a page's blocks run: a bridge with a host 10.77.0.1, `example.test`, that gives addresses
and answers names (dnsmasq) and has pages on ports 80 and 443 (nginx), and guests.

It is what `--net bridge` makes, and TLS beside it: the guest has the root of example.test's
certificate in /root.pem. What a page needs besides is in PAGES.
"""

import os
import socket
import subprocess
import sys

from barewire import services
from barewire.paths import root
from barewire.pytest_plugin import wait_for_address

DOMAIN = services.DOMAIN


def _openssl(folder, *argv):
    subprocess.run(["openssl", *map(str, argv)], cwd=folder, check=True, capture_output=True)


def certificates(folder, ip):
    """root.pem (of "Root"), and cert.pem with key.pem for example.test below it, in `folder`."""
    folder.mkdir(parents=True, exist_ok=True)
    curve = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes"]
    _openssl(folder, "req", "-x509", *curve, "-keyout", "root.key", "-out", "root.pem",
             "-days", "30", "-subj", "/CN=Root")  # fmt: skip
    _openssl(folder, "req", *curve, "-keyout", "key.pem", "-out", "csr", "-subj", f"/CN={DOMAIN}")
    (folder / "names").write_text(
        f"subjectAltName=DNS:{DOMAIN},DNS:*.{DOMAIN},IP:{ip}\n"
        "basicConstraints=CA:FALSE\nextendedKeyUsage=serverAuth\n"
    )
    _openssl(folder, "x509", "-req", "-in", "csr", "-CA", "root.pem", "-CAkey", "root.key",
             "-CAcreateserial", "-days", "30", "-extfile", "names", "-out", "cert.pem")  # fmt: skip


class Place:
    """The lab of a page. `host` is its gateway; `guest(name)` boots a guest the first time."""

    def __init__(self, rig, folder, page):
        self.rig, self.folder, self.page = rig, folder, page
        self.lab = rig.lab(servers=False, capture=False)
        self.host = self.lab.gateway
        certificates(folder, self.host.ip)
        self.files = {}  # what lies in the page's folder, by name
        self.options = {}  # of guests, by name: what barewire.guest.Guest takes
        self.prepare = lambda guest, name: None  # before a guest's first block
        self._guests = {}
        PAGES.get(page, bridge)(self)

    def guest(self, name=""):
        if name not in self._guests:
            options = {"net": self.lab.tap(), "boot_timeout": 120, **self.options.get(name, {})}
            guest = self._guests[name] = self.rig.guest(**options)
            guest.ip = wait_for_address(guest, 60)
            guest.put("/root.pem", (self.folder / "root.pem").read_bytes())
            self.prepare(guest, name)
        return self._guests[name]


def bridge(place, *options):
    """The host's servers. options: of dnsmasq's."""
    services.dnsmasq(place.host, options=[
        f"--mx-host={DOMAIN},mail.{DOMAIN},10", "--local-ttl=300", *options,
    ])  # fmt: skip
    tls = (
        f"listen {place.host.ip}:443 ssl http2; ssl_protocols TLSv1.3; "
        f"ssl_certificate {place.folder}/cert.pem; ssl_certificate_key {place.folder}/key.pem;"
    )
    services.nginx(place.host, locations=tls)


def names(place):
    """docs/dns.md: a signed internet behind unbound at 10.77.0.60, avahi as `nas`, a neighbour."""
    from tests.boot.mdns_peers import Avahi
    from tests.oracle.dns.internet import ORACLE, Internet

    bridge(place)
    place.lab.add_host("empty", 2)  # it has no server: it refuses
    silent = place.lab.add_host("silent", 3)
    place.ears = silent.socket(kind=socket.SOCK_DGRAM)
    place.ears.bind((silent.ip, 53))
    only = (".", "aa", "ed.aa", "expired.aa")
    made = Internet(place.folder / "zones", place.lab.address, only=only)
    # Not beside dnsmasq, which takes every address that its interface gets.
    made.start(place.lab.add_host("names", 4))
    # The page has one address for the resolver that checks nothing for us.
    assert place.lab.address(ORACLE) == "10.77.0.60", place.lab.address(ORACLE)
    avahi = Avahi(place.host, "nas", place.folder / "avahi")
    services.Service(
        place.host, "publish", [*avahi._env, "avahi-publish", "-s", "Page", "_http._tcp", "80"],
        lambda: "Established" in avahi.host.lab.services[-1].log.read_text(), 60,
    )  # fmt: skip
    place.options["neighbour"] = {"append": {"mdns": "1"}}

    def prepare(guest, name):
        guest.put("/root.key", made.anchor.encode() + b"\n")
        if not name:
            place.guest("neighbour")

    place.prepare = prepare


_SERVER = """import socket
s = socket.socket()
s.bind(("0.0.0.0", 80))
s.listen(4)
print("serving")
while True:
    c = s.accept()[0]
    while c.readline() not in (b"\\r\\n", b""):
        pass
    c.write(b"HTTP/1.0 200 OK\\r\\n\\r\\n" + open("/app/page.html", "rb").read())
    c.close()
"""


def command_line(place):
    """docs/cli.md: somebody's program and page."""
    bridge(place)
    place.files = {"app.py": _SERVER, "page.html": "Hello\n"}


def fleet(place):
    """docs/deploy.md: what `make image IMAGE=httpd` makes is there."""
    argv = [sys.executable, "-m", "barewire.build", "--image", "httpd"]
    subprocess.run([*argv, "--formats", "elf iso disk"], cwd=root(), check=True, timeout=850,
                   env={**os.environ, "PYTHONPATH": "host"})  # fmt: skip


def web(place):
    """docs/http.md: tests/boot/http_app.py on Hypercorn at 8443, tinyproxy at 3128, files for a
    server of the page."""
    bridge(place)
    host, folder = place.host, place.folder
    www = folder / "www"
    www.mkdir()
    (www / "body.bin").write_bytes(bytes(200_000))
    env = {**os.environ, "WWW": str(www), "PYTHONPATH": str(root())}

    argv = [sys.executable, "-m", "hypercorn", "tests.boot.http_app:app", "--bind",
            f"{host.ip}:8443", "--certfile", folder / "cert.pem", "--keyfile", folder / "key.pem"]
    services.Service(host, "hypercorn", ["env", *(f"{k}={v}" for k, v in env.items()), *argv],
                     lambda: _listens(host, 8443), 60)  # fmt: skip
    conf, hosts = folder / "tinyproxy.conf", folder / "hosts"
    conf.write_text(
        f"Port 3128\nListen {host.ip}\nTimeout 60\nAllow 0.0.0.0/0\nBasicAuth me pw\n"
    )
    hosts.write_text(f"127.0.0.1 localhost\n{host.ip} {DOMAIN}\n")
    as_there = 'mount --bind "$0" /etc/hosts && exec tinyproxy -d -c "$1"'
    services.Service(host, "tinyproxy", ["unshare", "-m", "sh", "-c", as_there, hosts, conf],
                     lambda: _listens(host, 3128), 60)  # fmt: skip
    place.files = {"www/page.txt": "0123456789\n"}


def kitchen(place):
    """docs/cookbook.md: mosquitto, an index of packages on the web server, 10.77.0.20."""
    from tests.boot import programs

    bridge(place)
    www = place.host.lab.services[-1].root
    programs.mip_index(www / "pi", "micropython-umqtt-simple")
    conf = place.folder / "mosquitto.conf"
    conf.write_text(f"listener 1883 {place.host.ip}\nallow_anonymous true\nuser root\n")
    services.Service(place.host, "mosquitto", [services._program("mosquitto"), "-c", conf],
                     lambda: _listens(place.host, 1883), 30)  # fmt: skip
    append = {"ip": "10.77.0.20/24", "gw": place.host.ip, "dns": place.host.ip}
    place.options[""] = {"append": append}


def _listens(host, port):
    try:
        host.connect((host.ip, port)).close()
        return True
    except OSError:
        return False


PAGES = {
    "docs/cli.md": command_line, "docs/cookbook.md": kitchen, "docs/deploy.md": fleet,
    "docs/dns.md": names, "docs/http.md": web,
}  # fmt: skip
