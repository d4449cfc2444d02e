"""Finding QEMU, writing its command line, and its monitor."""

import json
import shutil
import socket
import subprocess
from functools import lru_cache

from barewire import platform as platforms
from barewire.paths import BarewireError

MACHINES = ("q35", "pc", "microvm")


@lru_cache
def find():
    """The path of qemu-system-x86_64. BarewireError when there is none."""
    path = shutil.which("qemu-system-x86_64")
    if not path:
        raise BarewireError("no qemu-system-x86_64: install the package qemu-system-x86")
    return path


@lru_cache
def version():
    """QEMU's version line, such as "QEMU emulator version 7.2.22 (...)"."""
    return subprocess.run([find(), "--version"], capture_output=True, text=True).stdout.split("\n")[
        0
    ]


def accel_arguments(accel):
    """The arguments for "tcg", "kvm" or "icount": TCG on a clock that counts instructions, 1 ns
    each."""
    if accel == "kvm":
        return ["-accel", "kvm", "-cpu", "host"]
    if accel == "icount":
        count = ["-icount", "shift=0,sleep=on,align=off"]
        return ["-accel", "tcg,thread=single", "-cpu", "max", *count]
    return ["-accel", "tcg,thread=multi", "-cpu", "max"]


def exit_code(status):
    """QEMU's exit status as the guest meant it: isa-debug-exit turns n into n * 2 + 1.

    None when the guest did not choose it: QEMU was told to quit, or failed."""
    return status >> 1 if status is not None and status & 1 and status > 0 else None


def command_line(
    image, *, accel="tcg", machine="q35", platform=None, mem=64, append=None, initrd=None,
    net=None, disks=(), serial=("-serial", "mon:stdio"), extra=(),
):  # fmt: skip
    """The argv that boots an image.

    platform: a Platform or a name of barewire.platform; without it a machine type will do.
    mem: MB. append: a dict of keys of the kernel command line. initrd: path of a romfs.
    net: attachments (barewire.net), one network card each. disks: Disks (barewire.disk).
    serial: where COM1 goes."""
    on = platforms.find(platform) if platform else platforms.on_machine(machine)
    argv = [find(), "-M", on.machine]
    argv += accel_arguments(accel)
    argv += ["-m", str(max(mem, on.least_mb))]
    argv += ["-nodefaults", "-no-user-config", "-display", "none", "-no-reboot"]
    argv += ["-device", "isa-debug-exit,iobase=0xf4,iosize=0x04"]
    words = [f"{k}={v}" for k, v in (append or {}).items()]
    argv += on.boot(image, " ".join(words), initrd)
    argv += on.extra
    for i, attachment in enumerate(net or []):
        name = f"net{i}"
        argv += attachment.arguments(name)
        argv += ["-device", on.card(name, attachment.mac, attachment.nic)]
    for i, disk in enumerate(disks):
        argv += disk.arguments(f"disk{i}", on.bus)
    return [*argv, *serial, *extra]


class Monitor:
    """QEMU's machine monitor (QMP) on a unix socket: command("set_link", name="net0", up=False)."""

    def __init__(self, path, timeout=10):
        self._socket = socket.socket(socket.AF_UNIX)
        self._socket.settimeout(timeout)
        self._socket.connect(str(path))
        self._file = self._socket.makefile("rwb")
        self._line()  # the greeting
        self.command("qmp_capabilities")

    def _line(self):
        line = self._file.readline()
        if not line:
            raise BarewireError("QEMU closed its monitor")
        return json.loads(line)

    def command(self, name, /, **arguments):
        """Run a command; its return value. Events on the way are passed over. BarewireError."""
        request = {"execute": name, "arguments": arguments}
        self._file.write(json.dumps(request).encode() + b"\n")
        self._file.flush()
        while True:
            reply = self._line()
            if "error" in reply:
                raise BarewireError(f"QEMU: {name}: {reply['error']['desc']}")
            if "return" in reply:
                return reply["return"]

    def close(self):
        self._file.close()
        self._socket.close()
