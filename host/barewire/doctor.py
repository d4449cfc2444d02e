"""What is here for running, building and testing, found out by doing it.

`examine(image)` yields Findings: `name`, `state` ("ok", "note": something works less well or is
missing that not everybody needs, "missing": `barewire run` cannot work), `says`, and `do`, what
to do about it, or "".
"""

import os
import shutil
import subprocess
import time
from pathlib import Path

from barewire import accel, qemu
from barewire.paths import BarewireError, in_checkout

OK, NOTE, MISSING = "ok", "note", "missing"

# Files of firmware, in one of _FOLDERS, and who needs them.
_FOLDERS = ("/usr/share/seabios", "/usr/share/qemu", "/usr/share/OVMF")
_FIRMWARE = (
    ("firmware: BIOS", "bios-256k.bin", "seabios", "QEMU boots nothing without it"),
    ("firmware: microvm", "bios-microvm.bin", "seabios", "for --machine microvm"),
    ("firmware: qboot", "qboot.rom", "qemu-system-data", "for fast boots of q35"),
    ("firmware: UEFI", "OVMF_CODE_4M.fd", "ovmf", "for ISOs and disks by UEFI"),
)  # fmt: skip

_TOOLS = (
    ("tshark", "tshark", "reads what --pcap and --keylog wrote"),
    ("curl", "curl", "asks what listens on a forwarded port"),
    ("dnsmasq", "dnsmasq-base", "serves DHCP and DNS for --net bridge"),
    ("nginx", "nginx-light", "serves a page for --net bridge"),
    ("ip", "iproute2", "makes the bridge of --net bridge"),
    ("unshare", "util-linux", "makes the namespaces of --net bridge"),
)


class Finding:
    def __init__(self, name, state, says, do=""):
        self.name, self.state, self.says, self.do = name, state, str(says), do

    def as_dict(self):
        return {"name": self.name, "state": self.state, "says": self.says, "do": self.do}


def examine(image_of):
    """Look at everything; yields Findings. image_of: gives the image's path, or BarewireError."""
    try:
        yield Finding("qemu", OK, f"{qemu.version()} at {qemu.find()}")
        has_qemu = True
    except BarewireError as e:
        yield Finding("qemu", MISSING, e, "apt-get install qemu-system-x86")
        has_qemu = False
    try:
        image = image_of()
        yield Finding("image", OK, f"{image} ({image.stat().st_size / 1e6:.2f} MB)")
    except BarewireError as e:
        do = "make image" if in_checkout() else "pip install --force-reinstall barewire"
        yield Finding("image", MISSING, e, do)
        image = None
    if has_qemu:
        yield from _firmware()
    if has_qemu and image:
        yield from _accelerators(image)
        yield from _machines(image)
    yield _privileges()
    yield _tap_device()
    yield _bridge()
    yield from _tools()


def _firmware():
    for name, file, package, use in _FIRMWARE:
        found = next((p for f in _FOLDERS if (p := Path(f) / file).is_file()), None)
        if found:
            yield Finding(name, OK, found)
        else:
            yield Finding(name, NOTE, f"not found; {use}", f"apt-get install {package}")


def _boot(image, kind, machine="q35"):
    began = time.monotonic()
    works, why = accel.probe(image, kind, machine, seconds=30)
    return works, why or f"a prompt {time.monotonic() - began:.2f} s after the start of QEMU"


def _accelerators(image):
    """Each accelerator by booting with it, whatever was remembered."""
    works, says = _boot(image, "kvm")
    if works:
        yield Finding("accelerator: kvm", OK, says)
    elif not os.path.exists("/dev/kvm"):
        yield Finding("accelerator: kvm", NOTE, says, "nothing: TCG is used; a CPU with "
                      "virtualisation and the module kvm make bulk work faster")  # fmt: skip
    elif not os.access("/dev/kvm", os.R_OK | os.W_OK):
        yield Finding("accelerator: kvm", NOTE, says, "adduser $USER kvm, and log in again")
    else:
        yield Finding("accelerator: kvm", NOTE, f"is there and runs no guest: {says}",
                      "nothing: TCG is used")  # fmt: skip
    works, says = _boot(image, "tcg")
    yield Finding("accelerator: tcg", OK if works else MISSING, says,
                  "" if works else "look at `barewire run` without a program")  # fmt: skip
    chosen = accel.choose(image)
    by = "named by $BAREWIRE_ACCEL" if os.environ.get("BAREWIRE_ACCEL") else "what runs guests here"
    yield Finding("accelerator", OK, f"{chosen}, {by}")


def _machines(image):
    chosen = accel.choose(image)
    for machine in qemu.MACHINES[1:]:
        works, says = _boot(image, chosen, machine)
        yield Finding(f"machine: {machine}", OK if works else NOTE, says,
                      "" if works else "use --machine q35")  # fmt: skip


_CAP_NET_ADMIN = 12  # capabilities(7)


def _privileges():
    """Who we are to the kernel: only a bridge asks."""
    status = Path("/proc/self/status").read_text()
    mask = int(status.split("CapEff:")[1].split()[0], 16)
    may = "CAP_NET_ADMIN" if mask >> _CAP_NET_ADMIN & 1 else "no capability for networks"
    try:
        made = subprocess.run(["unshare", "-Urn", "true"], capture_output=True).returncode == 0
    except FileNotFoundError:
        made = False
    spaces = "user namespaces" if made else "no user namespaces"
    says = f"{'root' if os.geteuid() == 0 else f'user {os.geteuid()}'}, {may}, {spaces}"
    if mask >> _CAP_NET_ADMIN & 1 or made:
        return Finding("privileges", OK, says)
    do = "sysctl kernel.unprivileged_userns_clone=1, as root, lets a user make namespaces"
    return Finding("privileges", NOTE, f"{says}; --net bridge needs one of them", do)


def _tap_device():
    path = "/dev/net/tun"
    if not os.path.exists(path):
        return Finding("taps", NOTE, f"no {path}; --net bridge needs it", "modprobe tun, as root")
    if not os.access(path, os.R_OK | os.W_OK):
        return Finding("taps", NOTE, f"{path} is not open to us; --net bridge needs it",
                       "chmod 666 /dev/net/tun, as root: what Debian's udev does")  # fmt: skip
    return Finding("taps", OK, f"{path} is open to us")


def _bridge():
    try:
        from barewire.lab import Lab

        with Lab(capture=False) as lab:
            lab.tap()
    except (BarewireError, OSError) as e:
        do = "sysctl kernel.unprivileged_userns_clone=1, as root, lets a user make one"
        return Finding("bridge", NOTE, f"{e}; --net user needs none", do)
    how = "as root" if os.geteuid() == 0 else "without root"
    return Finding("bridge", OK, f"namespaces, a bridge and a tap can be made, {how}")


def _tools():
    path = f"{os.environ.get('PATH', '')}:/usr/sbin:/sbin"
    for tool, package, use in _TOOLS:
        found = shutil.which(tool, path=path)
        yield (Finding(tool, OK, found) if found else
               Finding(tool, NOTE, f"missing; {use}", f"apt-get install {package}"))  # fmt: skip
