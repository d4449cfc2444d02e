"""A small Linux to measure against: Debian's cloud kernel and an initramfs of Debian packages.

Nothing is installed on the host: packages are downloaded by apt into
`build/linux`, unpacked there, and packed into one initramfs. Built once.
"""

import gzip
import lzma
import os
import shutil
import stat
import subprocess
from pathlib import Path

# The kernel that a cloud would have; it has no drivers for cards that clouds have not.
CLOUD_KERNEL, FULL_KERNEL = "linux-image-cloud-amd64", "linux-image-amd64"
PACKAGES = (
    "busybox-static", "python3-minimal", "libpython3-stdlib", "iperf3", "nginx-light", "openssl",
    "unbound",
)  # fmt: skip
# virtio-net over PCI and the e1000 family; dependencies first.
MODULES = (
    "virtio_ring", "virtio", "virtio_pci_modern_dev", "virtio_pci_legacy_dev", "virtio_pci",
    "failover", "net_failover", "virtio_net", "e1000", "e1000e",
)
# What a server needs not: most of the bytes.
PRUNE = (
    "usr/share/doc", "usr/share/man", "usr/share/locale", "usr/share/info", "usr/share/perl",
    "usr/lib/x86_64-linux-gnu/perl-base", "usr/lib/x86_64-linux-gnu/gconv", "usr/share/zoneinfo",
    "usr/lib/python3", "usr/share/bash-completion", "usr/lib/x86_64-linux-gnu/perl", "var/lib",
    "usr/share/keyrings", "usr/share/common-licenses", "boot", "usr/share/iso-codes",
)

INIT = """#!/bin/busybox sh
/bin/busybox mkdir -p /proc /sys /dev /tmp /run /etc /var/log/nginx /var/lib/nginx
/bin/busybox --install -s /bin 2>/dev/null
export PATH=/bin:/sbin:/usr/bin:/usr/sbin
mount -t proc proc /proc; mount -t sysfs sys /sys; mount -t devtmpfs dev /dev
mount -t tmpfs tmp /tmp
for turn in 1 2; do for m in /modules/*.ko; do insmod $m 2>/dev/null; done; done
echo root:x:0:0::/:/bin/sh > /etc/passwd; echo root:x:0: > /etc/group
ip link set lo up
for word in $(cat /proc/cmdline); do case $word in
  guest_ip=*) ip addr add ${word#guest_ip=} dev eth0; ip link set eth0 up;;
  serve=*) python3 /bench/serve.py ${word#serve=} & ;;
esac; done
echo READY
setsid cttyhack sh </dev/ttyS0 >/dev/ttyS0 2>&1
poweroff -f
"""


def build(folder, meta=CLOUD_KERNEL):
    """Build kernel and initramfs in `folder` (a Path) unless they are there. Returns the two paths.

    meta: the Debian package that names the kernel.

    Raises subprocess.CalledProcessError where apt or dpkg-deb fails.
    """
    folder = folder.resolve()  # apt takes relative folders as its own
    kernel, initrd = folder / "vmlinuz", folder / "initramfs.gz"
    stamp = folder / "stamp"
    recipe = repr((PACKAGES, MODULES, PRUNE, INIT, _bench_files()))
    if stamp.exists() and stamp.read_text() == recipe:
        return kernel, initrd
    folder.mkdir(parents=True, exist_ok=True)
    root = folder / "root"
    shutil.rmtree(root, ignore_errors=True)
    root.mkdir()
    for deb in _download(folder, meta):
        subprocess.run(["dpkg-deb", "-x", deb, root], check=True)
    shutil.copy(next((root / "boot").glob("vmlinuz-*")), kernel)
    _take_modules(root)
    for path in PRUNE:
        shutil.rmtree(root / path, ignore_errors=True)
    for name, text in _bench_files().items():
        target = root / "bench" / name
        target.parent.mkdir(exist_ok=True)
        target.write_text(text)
    (root / "init").write_text(INIT)
    (root / "init").chmod(0o755)
    with gzip.open(initrd, "wb", compresslevel=6) as out:
        _write_cpio(root, out)
    shutil.rmtree(root)
    stamp.write_text(recipe)
    return kernel, initrd


def _bench_files():
    here = Path(__file__).parent / "in_linux"
    return {p.name: p.read_text() for p in sorted(here.glob("*.py"))}


def _download(folder, meta):
    """Every package that PACKAGES needs on an empty system, and the kernel; list of .deb paths."""
    archives = folder / "archives"
    (archives / "partial").mkdir(parents=True, exist_ok=True)
    empty = folder / "status"
    empty.touch()
    options = [
        "-o", f"Dir::State::status={empty}", "-o", f"Dir::Cache::archives={archives}",
        "-o", "APT::Sandbox::User=root", "-o", "Debug::NoLocking=1", "-qq",
    ]
    named = subprocess.run(
        ["apt-cache", "depends", meta], check=True, capture_output=True, text=True
    ).stdout
    image = next(w for w in named.split() if w.startswith("linux-image-6"))
    subprocess.run(
        ["apt-get", *options, "--no-install-recommends", "--download-only", "-y", "install",
         *PACKAGES],
        check=True, stdout=subprocess.DEVNULL,
    )
    subprocess.run(
        ["apt-get", *options, "download", image], check=True, cwd=archives,
        stdout=subprocess.DEVNULL,
    )
    return sorted(archives.glob("*.deb"))


def _take_modules(root):
    (root / "modules").mkdir()
    found = {p.name.split(".ko")[0]: p for p in (root / "lib/modules").rglob("*.ko*")}
    for order, name in enumerate(MODULES):
        path = found.get(name)
        if path is None:
            continue  # built into this kernel
        data = path.read_bytes()
        if path.suffix == ".xz":
            data = lzma.decompress(data)
        (root / "modules" / f"{order:02d}-{name}.ko").write_bytes(data)
    shutil.rmtree(root / "lib/modules")


def _write_cpio(root, out):
    """The tree as a newc archive, in sorted order, every owner root, every time zero."""
    paths = [Path("."), *sorted(p.relative_to(root) for p in root.rglob("*"))]
    for ino, rel in enumerate(paths, 1):
        path = root / rel
        info = os.lstat(path)
        mode = info.st_mode
        if stat.S_ISLNK(mode):
            data = os.readlink(path).encode()
        elif stat.S_ISREG(mode):
            data = path.read_bytes()
        elif stat.S_ISDIR(mode):
            data = b""
        else:
            continue
        _entry(out, ino, mode, str(rel), data)
    _entry(out, 0, 0, "TRAILER!!!", b"")


def _entry(out, ino, mode, name, data):
    raw = name.encode() + b"\0"
    fields = (ino, mode, 0, 0, 1, 0, len(data), 0, 0, 0, 0, len(raw), 0)
    head = b"070701" + b"".join(b"%08x" % v for v in fields) + raw
    out.write(head + b"\0" * (-len(head) % 4) + data + b"\0" * (-len(data) % 4))
