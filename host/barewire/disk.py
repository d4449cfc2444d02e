"""Disks of a guest: a file of the host behind a virtio-blk device.

    Disk("disk.img")                    created with 64 MB when it is not there
    parse("disk.img,1G,ro")             as on the command line

The format is the name's (`.qcow2`, else raw), never guessed from the content: a guest could
write another format's header, and name the host's files in it.
"""

import os
import re
import subprocess
from pathlib import Path

from barewire.paths import BarewireError

SIZE = 64 << 20
_UNITS = {"": 1, "K": 1 << 10, "M": 1 << 20, "G": 1 << 30}


class Disk:
    """path: the file. size: bytes when it is to be created. readonly: for the guest too.
    properties: more of QEMU's for the device, such as {"logical_block_size": 4096}."""

    def __init__(self, path, size=SIZE, readonly=False, properties=None):
        self.path, self.size, self.readonly = Path(path), size, readonly
        self.properties = dict(properties or {})

    @property
    def format(self):
        return "qcow2" if self.path.suffix == ".qcow2" else "raw"

    def create(self):
        """Make the file if it is not there; True if it was made. BarewireError."""
        if self.path.exists():
            return False
        if self.size < 64 << 10 or self.size % 4096:
            raise BarewireError(f"a disk of {self.size} bytes: want 64K or more, in 4K blocks")
        try:
            if self.format == "raw":
                with open(self.path, "xb") as f:
                    f.truncate(self.size)
            else:
                argv = ["qemu-img", "create", "-q", "-f", "qcow2", self.path, str(self.size)]
                subprocess.run(argv, check=True, capture_output=True, text=True)
        except FileNotFoundError as e:
            raise BarewireError(f"{self.path}: {e.strerror or e}") from None
        except subprocess.CalledProcessError as e:
            raise BarewireError(f"{self.path}: {e.stderr.strip()}") from None
        except OSError as e:
            raise BarewireError(f"{self.path}: {e.strerror}") from None
        return True

    def arguments(self, name, bus):
        """QEMU's arguments. Written through the host's cache, which a guest's flush empties."""
        path = os.path.abspath(self.path).replace(",", ",,")
        drive = f"if=none,id={name},file={path},format={self.format},cache=writeback,discard=unmap"
        if self.readonly:
            drive += ",readonly=on"
        words = [f"virtio-blk-{bus}", f"drive={name}"]
        if bus == "pci" and "disable-legacy" not in self.properties:
            words.append("disable-legacy=on")
        words += [f"{k}={v}" for k, v in self.properties.items()]
        return ["-drive", drive, "-device", ",".join(words)]


def as_disks(what):
    """None, a path, a Disk, or a list of these: a list of Disks."""
    if what is None:
        return []
    if not isinstance(what, (list, tuple)):
        what = [what]
    return [d if isinstance(d, Disk) else Disk(d) for d in what]


def parse(text):
    """PATH[,SIZE][,ro]: "disk.img", "disk.img,1G", "data.img,ro". BarewireError."""
    path, *words = text.split(",")
    disk = Disk(path)
    for word in words:
        number = re.fullmatch(r"(\d+)([KMG]?)", word)
        if word == "ro":
            disk.readonly = True
        elif number:
            disk.size = int(number[1]) * _UNITS[number[2]]
        else:
            raise BarewireError(f"--disk {text}: want PATH[,SIZE][,ro], SIZE as in 64M")
    if not path:
        raise BarewireError(f"--disk {text}: no path")
    return disk
