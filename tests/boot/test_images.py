"""The images of images/: httpd built and booted in every form, programs over the default one."""

import functools
import os
import subprocess
import sys

import pytest

from barewire import romfs
from barewire.paths import root
from barewire.platform import PLATFORMS, Platform
from barewire.services import PAGE

pytestmark = [pytest.mark.boot, pytest.mark.bridge]


def packed(name, folder, **more):
    """An image's program and files as a romfs: what would be frozen lies in /app. Its path."""
    source = root() / "images" / name
    tree = romfs.read_tree(source, lambda p: p.suffix == ".py")
    if (source / "app").is_dir():
        tree |= romfs.read_tree(source / "app")
    path = folder / f"{name}.romfs"
    path.write_bytes(romfs.build(tree | more))
    return path


class File(Platform):
    """Boots from a file as it is."""

    def __init__(self, like, *arguments):
        super().__init__("", like.machine, like.nic, like.extra, like.least_mb, like.forgiven)
        self.arguments = arguments

    def boot(self, image, append, initrd):
        return list(self.arguments)


BIOS, UEFI = PLATFORMS["q35"], PLATFORMS["q35-disk-ovmf"]
WAYS = ["elf", "iso-bios", "qcow2-bios", "iso-uefi", "raw-uefi", "stick-bios"]
ALL = "BAREWIRE_SLOW" in os.environ  # `make test-images`: every image in every way
every_way = pytest.mark.parametrize("way", WAYS if ALL else WAYS[:1])


@functools.cache
def made(name, formats):
    """The folder of what `make image IMAGE=name` makes."""
    argv = ["make", "--no-print-directory", "image", f"IMAGE={name}", f"FORMATS={formats}"]
    done = subprocess.run(argv, cwd=root(), capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    folder = "build" if name == "repl" else f"build/{name}"
    for end in ("elf", "iso", "raw", "qcow2") if "iso" in formats else ("elf",):
        assert f"{folder}/barewire.{end}" in done.stdout
    return root() / folder


def built(name, way, media=ALL):
    """The image, started in this way and without a command line: the frozen one counts."""
    folder = made(name, "elf iso disk" if media else "elf")
    kind, _, firmware = way.partition("-")
    path = folder / f"barewire.{'iso' if kind == 'stick' else kind}"
    if kind == "elf":
        app = folder / "app.romfs"
        arguments = ["-kernel", str(path), *(["-initrd", str(app)] if app.exists() else [])]
    elif kind == "iso":
        arguments = ["-cdrom", str(path)]
    else:
        # Hybrid: the ISO is a disk's image too, for who copies it to a stick.
        layout = "raw" if kind == "stick" else kind
        drive = f"if=none,id=d,format={layout},read-only=on,file={path}"
        arguments = ["-drive", drive, "-device", "virtio-blk-pci,drive=d"]
    return File(UEFI if firmware == "uefi" else BIOS, *arguments)


def address(guest):
    """The IPv4 address that the boot prints."""
    guest.child.expect(r"eth0 virtio-net \S+ ([\d.]+)/24", timeout=120)
    return guest.child.match[1].decode()


@pytest.mark.slow
@pytest.mark.parametrize("way", WAYS)
def test_httpd_in_every_form(rig, lab, way):
    guest = rig.guest(net=lab.tap(), platform=built("httpd", way, media=True), prompt=False)
    ip = address(guest)
    guest.child.expect_exact("httpd: serving /app/www on port 80", timeout=30)
    page = lab.gateway.run("curl", "-sSi", "--max-time", "20", f"http://{ip}/").stdout
    assert page.startswith("HTTP/1.1 200 OK") and "<h1>It serves</h1>" in page
    assert "Content-Type: text/html; charset=utf-8" in page


@pytest.mark.slow
@every_way
def test_router_as_it_is_built(rig, way):
    """images/router/cmdline frozen: forwarding, 192.168.77.1 inside, DHCP outside."""
    lab, inner = rig.lab(), rig.lab(servers=False, subnet="192.168.77.0/24")
    inner.gateway.ip_batch("addr flush dev eth0")
    host = inner.add_host("a", 10)
    host.ip_batch("route add default via 192.168.77.1")
    taps = [lab.tap(), inner.tap(mac="02:62:77:21:00:01")]
    guest = rig.guest(net=taps, platform=built("router", way))
    assert "0% packet loss" in host.run("ping", "-nc3", "-i.2", lab.gateway.ip).stdout
    page = host.run("curl", "-sS", "--max-time", "20", f"http://{lab.gateway.ip}/").stdout
    assert page == PAGE
    stats = guest.eval("stats()")
    assert stats["packets"] > 10 and stats["nat"]["made"] == 2, stats


@pytest.mark.slow
@every_way
def test_switch_as_it_is_built(rig, way):
    """images/switch/cmdline frozen: two cards, one network, the switch's own address by DHCP."""
    lab, far = rig.lab(), rig.lab(servers=False)
    far.gateway.ip_batch("addr flush dev eth0")
    host = far.add_host("b", 11)
    host.ip_batch("link set eth0 address 02:62:77:aa:00:02")
    taps = [lab.tap(), far.tap(mac="02:62:77:21:00:01")]
    guest = rig.guest(net=taps, platform=built("switch", way))
    assert " 0% packet loss" in host.run("ping", "-nc3", "-i.2", lab.gateway.ip).stdout
    page = host.run("curl", "-sS", "--max-time", "20", f"http://{lab.gateway.ip}/").stdout
    assert page == PAGE
    assert all(port["sent"] > 5 for port in guest.eval("stats()['ports']"))


RETRY = ("--retry", "20", "--retry-connrefused", "--retry-delay", "1")


@pytest.mark.slow
@every_way
def test_bench_as_it_is_built(rig, lab, way):
    """The servers of `make bench` run as the main program; port 80 answers."""
    guest = rig.guest(net=lab.tap(), platform=built("bench", way), prompt=False)
    assert curl(lab, *RETRY, f"http://{address(guest)}:8000/")


more_images = pytest.mark.skipif(not ALL, reason="make test-images has these images in every way")


@more_images
@pytest.mark.parametrize("way", WAYS)
def test_repl_in_every_form(rig, lab, way):
    guest = rig.bridged(lab, platform=built("repl", way))
    assert guest.eval("__import__('net').http.get('http://example.test/').text") == PAGE


@more_images
@pytest.mark.parametrize("way", WAYS)
def test_dashboard_in_every_form(rig, lab, way):
    guest = rig.guest(net=lab.tap(), platform=built("dashboard", way), prompt=False)
    page = curl(lab, *RETRY, f"http://{address(guest)}/")
    assert page.startswith("<!doctype html>") and "<title>Barewire" in page


@more_images
@pytest.mark.parametrize("way", WAYS)
def test_resolver_in_every_form(rig, lab, way):
    """It has no root servers here, and says so."""
    guest = rig.guest(net=lab.tap(), platform=built("resolver", way), prompt=False)
    ip = address(guest)
    guest.child.expect_exact("resolver: UDP and TCP 53", timeout=60)
    for how in ("+notcp", "+tcp"):
        said = lab.gateway.run("dig", f"@{ip}", how, "+tries=1", "+time=30", "www.test").stdout
        assert "status: SERVFAIL" in said, said


def curl(lab, *options):
    return lab.gateway.run("curl", "-sS", "--max-time", "20", *options).stdout


def test_httpd_serves_files(rig, lab, artifacts):
    big = os.urandom(300_000)
    site = {"www": {
        "index.html": b"<p>home", "a b.txt": b"spaces", "sub": {"index.html": b"<p>sub"},
        "big.bin": big, "x.json": b"{}", "empty": b"",
    }}  # fmt: skip
    guest = rig.guest(net=lab.tap(), initrd=packed("httpd", artifacts, **site), prompt=False)
    guest.child.expect(r"eth0 \S+ \S+ ([\d.]+)/24", timeout=30)
    base = f"http://{guest.child.match[1].decode()}"
    guest.child.expect_exact("serving", timeout=30)
    code = ["-o", "/dev/null", "-w", "%{http_code} %{content_type} %{redirect_url}"]
    for target, want in (
        ("/", "200 text/html; charset=utf-8 "),
        ("/?q=1", "200 text/html; charset=utf-8 "),
        ("/a%20b.txt", "200 text/plain; charset=utf-8 "),
        ("/x.json", "200 application/json "),
        ("/big.bin", "200 application/octet-stream "),
        ("/empty", "200 application/octet-stream "),
        ("/sub", f"301 text/plain; charset=utf-8 {base}/sub/"),
        ("/sub/", "200 text/html; charset=utf-8 "),
        ("/no", "404 text/plain; charset=utf-8 "),
        ("/../main.py", "404 text/plain; charset=utf-8 "),
        ("/%2e%2e/main.py", "404 text/plain; charset=utf-8 "),
        ("/%zz", "400 text/plain; charset=utf-8 "),
        ("/%00", "400 text/plain; charset=utf-8 "),
    ):
        assert curl(lab, "--path-as-is", *code, base + target) == want, target
    assert curl(lab, *code, "-X", "POST", "-d", "x", base + "/").startswith("405 ")
    # Byte for byte, and several requests on one connection.
    fetched = artifacts / "big.bin"
    both = ["-w", "%{num_connects} ", "-o", str(fetched), base + "/big.bin"]
    assert curl(lab, *both, "-o", "/dev/null", base + "/x.json") == "1 0 "
    assert fetched.read_bytes() == big
    assert "Allow: GET, HEAD" in curl(lab, "-i", "-X", "PUT", base + "/")
    head = curl(lab, "-I", base + "/big.bin")
    assert "Content-Length: 300000" in head
    # Thirty at once.
    argv = [sys.executable, "-c", _MANY, base.removeprefix("http://")]
    assert lab.gateway.run(*argv).stdout == "30 True\n"


_MANY = """
import http.client, sys, threading
got = []
def one():
    c = http.client.HTTPConnection(sys.argv[1], timeout=20)
    for _ in range(5):
        c.request("GET", "/a%20b.txt")
        r = c.getresponse()
        got.append(r.status == 200 and r.read() == b"spaces")
threads = [threading.Thread(target=one) for _ in range(30)]
[t.start() for t in threads], [t.join() for t in threads]
print(len(got) // 5, all(got))
"""
