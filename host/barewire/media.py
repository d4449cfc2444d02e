"""Images that firmware boots: a hybrid ISO by grub-mkrescue, a disk with an ESP. BIOS and UEFI.

Both hold GRUB, which hands our ELF over by multiboot2 with the words of its command line, and
a romfs as a module where there is one. The disk:

    0        MBR: GRUB's boot.img and one partition of type 0xef
    1        GRUB's core.img for BIOS, where boot.img and core.img look for it as they are built
    2048     the EFI system partition, FAT: /EFI/BOOT/BOOTX64.EFI, /boot/...

Nothing here needs root: mtools writes into the file. Standard library only, as barewire.build.
"""

import contextlib
import hashlib
import os
import shutil
import subprocess
import tempfile
import time
from pathlib import Path

SECTOR = 512
START = 2048  # the partition's first sector
GRUB = Path("/usr/lib/grub")
# As small as FAT16 is sure to be taken for FAT16 (more than 4,084 clusters), and room to spare.
LEAST_MB = 16

# A program or file that must be there, and the Debian package that has it.
TOOLS = {
    "iso": (("grub-mkrescue", "grub-common"), ("xorriso", "xorriso"), ("mformat", "mtools")),
    "disk": (("grub-mkimage", "grub-common"), ("mformat", "mtools"), ("qemu-img", "qemu-utils")),
}
PLATFORMS = (
    (GRUB / "i386-pc" / "boot.img", "grub-pc-bin"),
    (GRUB / "x86_64-efi" / "moddep.lst", "grub-efi-amd64-bin"),
)
_MODULES = "multiboot2 normal part_msdos fat search search_fs_file serial echo"
# What the EFI half of grub-mkrescue's own start-up asks for.
_PARTITIONS = "part_acorn part_amiga part_apple part_bsd part_dfly part_dvh part_gpt part_plan"
_PARTITIONS += " part_sun part_sunpc"


class MediaError(Exception):
    """Something is missing, or a tool failed: in words."""


def missing(kind):
    """The Debian packages that "iso" or "disk" needs and that are not here."""
    tools = [package for tool, package in TOOLS[kind] if not shutil.which(tool)]
    return sorted({*tools, *(package for path, package in PLATFORMS if not path.exists())})


def _check(kind):
    if packages := missing(kind):
        raise MediaError(f"the {kind} needs Debian's {' '.join(packages)}: apt-get install them")


def _run(*argv, **options):
    done = subprocess.run(
        [str(a) for a in argv], capture_output=True, text=True, env=dict(os.environ, LC_ALL="C"),
        **options,
    )  # fmt: skip
    if done.returncode:
        raise MediaError(f"{argv[0]}: {(done.stderr or done.stdout).strip()[-500:]}")


def _config(append, initrd):
    lines = [
        "set timeout=0",
        "serial --unit=0 --speed=115200",
        "terminal_output serial",
        "search --no-floppy --file --set=root /boot/barewire.elf",
        f"multiboot2 /boot/barewire.elf {append}".rstrip(),
    ]
    if initrd:
        lines.append("module2 /boot/app.romfs")
    return "\n".join([*lines, "boot", ""])


def _tree(folder, elf, append, initrd):
    """What both media hold under /boot."""
    boot = Path(folder) / "boot"
    (boot / "grub").mkdir(parents=True)
    shutil.copyfile(elf, boot / "barewire.elf")
    if initrd:
        shutil.copyfile(initrd, boot / "app.romfs")
    (boot / "grub" / "grub.cfg").write_text(_config(append, initrd))
    return boot


def iso(out, elf, append="", initrd=None):
    """Write a hybrid ISO (CD, or copied to a stick) to the path `out`. MediaError.

    append: the kernel command line, as text. initrd: the path of a romfs, or None."""
    _check("iso")
    with tempfile.TemporaryDirectory(prefix="barewire-") as folder:
        root = Path(folder) / "root"
        _tree(root, elf, append, initrd)
        made = Path(folder) / "made.iso"
        _run(
            "grub-mkrescue", "-o", made, "--compress=no", "--fonts=", "--locales=", "--themes=",
            f"--install-modules={_MODULES} iso9660 {_PARTITIONS}",
            root, "--", "-volid", "BAREWIRE",
        )  # fmt: skip
        _publish(made, out)


def disk(out, elf, append="", initrd=None):
    """Write a raw disk with an ESP to the path `out`. MediaError. Arguments as for `iso`."""
    _check("disk")
    with tempfile.TemporaryDirectory(prefix="barewire-") as folder:
        boot = _tree(folder, elf, append, initrd)
        core = Path(folder) / "core.img"
        _mkimage("i386-pc", core, "(hd0,msdos1)/boot/grub", folder, ["biosdisk"])
        efi = Path(folder) / "EFI" / "BOOT" / "BOOTX64.EFI"
        efi.parent.mkdir(parents=True)
        _mkimage("x86_64-efi", efi, "/boot/grub", folder, [])
        used = sum(p.stat().st_size for p in Path(folder).rglob("*") if p.is_file())
        sectors = max(LEAST_MB << 20, used * 3 // 2 + (4 << 20)) // SECTOR // 2048 * 2048
        raw = Path(folder) / "disk.img"
        with open(raw, "wb") as f:
            f.write(_mbr(sectors) + core.read_bytes())
            if f.tell() > START * SECTOR:
                raise MediaError("GRUB's core.img does not fit in front of the partition")
            f.truncate((START + sectors) * SECTOR)
        volume = f"{raw}@@{START * SECTOR}"
        shape = ("-T", sectors, "-h", 64, "-s", 32, "-H", START)
        _run("mformat", "-i", volume, *shape, "-v", "BAREWIRE", "::")
        _run("mcopy", "-i", volume, "-s", boot, efi.parent.parent, "::")
        _publish(raw, out)


def qcow2(out, raw):
    """Convert a raw disk to qcow2. MediaError."""
    new = f"{out}.{os.getpid()}"
    _run("qemu-img", "convert", "-f", "raw", "-O", "qcow2", raw, new)
    os.replace(new, out)


def _publish(made, out):
    """Put a finished file in its place at once: a guest may be running from the one before."""
    new = f"{out}.{os.getpid()}"
    _run("cp", "--sparse=always", made, new)
    os.replace(new, out)


def _mkimage(platform, out, prefix, folder, modules):
    early = Path(folder) / "early.cfg"
    early.write_text(
        "search --no-floppy --file --set=root /boot/barewire.elf\nset prefix=($root)/boot/grub\n"
        "configfile $prefix/grub.cfg\n"
    )
    _run(
        "grub-mkimage", "-O", platform, "-o", out, "-p", prefix, "-c", early,
        "configfile", *_MODULES.split(), *modules,
    )  # fmt: skip
    early.unlink()


def _mbr(sectors):
    """boot.img with a partition table: one partition, active, of type 0xef (EFI system)."""
    mbr = bytearray((GRUB / "i386-pc" / "boot.img").read_bytes())
    assert len(mbr) == SECTOR
    entry = b"\x80\xfe\xff\xff\xef\xfe\xff\xff"
    entry += START.to_bytes(4, "little") + sectors.to_bytes(4, "little")
    mbr[440:510] = b"WIRE\0\0" + entry + bytes(48)
    mbr[510:512] = b"\x55\xaa"
    return bytes(mbr)


def cached(kind, folder, elf, append="", initrd=None):
    """The path of an "iso" or "disk" of these contents in `folder`, made if it is not there.

    What nobody asked for in the last hour is deleted."""
    digest = hashlib.sha256(Path(__file__).read_bytes() + Path(elf).read_bytes())
    digest.update(append.encode() + b"\0")
    if initrd:
        digest.update(Path(initrd).read_bytes())
    path = Path(folder) / f"{digest.hexdigest()[:24]}.{kind}"
    path.parent.mkdir(parents=True, exist_ok=True)
    if path.exists():
        os.utime(path)
        return path
    for old in path.parent.iterdir():
        with contextlib.suppress(FileNotFoundError):
            if old.stat().st_mtime < time.time() - 3600:
                old.unlink()
    new = path.with_suffix(f".{os.getpid()}")
    {"iso": iso, "disk": disk}[kind](new, elf, append, initrd)
    os.utime(new)
    new.replace(path)
    return path
