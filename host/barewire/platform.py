"""The platforms that the boot tests run on: a machine, a network card, and a way to boot.

One more is one more row of `PLATFORMS`. Tests name none: `Guest(platform=...)` takes a name,
`pytest --platform NAME|all` chooses, and tests marked `core` run on every one of them.
"""

from barewire import media
from barewire.paths import BarewireError, build_dir

# A card of QEMU's: (what net.interfaces() calls its driver, properties that every use wants).
NICS = {
    "virtio-net-pci": ("virtio-net", ("disable-legacy=on", "romfile=")),
    "virtio-net-device": ("virtio-net", ()),
    "e1000": ("e1000", ("romfile=",)),
    "e1000-82545em": ("e1000", ("romfile=",)),
    "e1000e": ("e1000e", ("romfile=",)),
}


# QEMU's virtio-mmio devices are legacy ones unless it is told otherwise.
_MODERN_MMIO = ("-global", "virtio-mmio.force-legacy=false")


class Platform:
    """machine: "q35", "pc" or "microvm". nic: the card, a key of NICS. extra: more of QEMU's
    arguments. least_mb: memory that what comes before us needs. forgiven: what QEMU finds wrong
    with the firmware, a word of the line."""

    def __init__(
        self, name, machine, nic="virtio-net-pci", extra=(), least_mb=0, forgiven=None
    ):  # fmt: skip
        self.name, self.machine, self.nic, self.extra = name, machine, nic, tuple(extra)
        self.least_mb, self.forgiven = least_mb, forgiven

    def __repr__(self):
        return self.name

    @property
    def driver(self):
        """What net.interfaces() calls the driver of its cards."""
        return NICS[self.nic][0]

    @property
    def virtio(self):
        """Whether its cards are virtio's, with virtio's properties."""
        return self.nic.startswith("virtio-")

    @property
    def bus(self):
        """What the names of its virtio devices end with: "pci" or, over MMIO, "device"."""
        return "device" if self.machine.startswith("microvm") else "pci"

    def boot(self, image, append, initrd):
        """The arguments that boot `image` with the words `append`. initrd: a path or None."""
        argv = ["-kernel", str(image)]
        if append:
            argv += ["-append", append]
        return argv + (["-initrd", str(initrd)] if initrd else [])

    def card(self, netdev, mac=None, nic=None):
        """The value of -device for a card on `netdev`. nic: more properties; "device" among them
        names another card than the platform's."""
        properties = dict(nic or {})
        device = properties.pop("device", self.nic)
        usual = dict(word.split("=") for word in NICS[device][1])
        if mac:
            usual["mac"] = mac
        words = [f"{k}={v}" for k, v in {**usual, **properties}.items()]
        return ",".join([device, f"netdev={netdev}", *words])


class MediaPlatform(Platform):
    """Boots from an ISO or a disk with GRUB on it, by the firmware that the machine has."""

    def __init__(self, name, machine, kind, **options):
        super().__init__(name, machine, **options)
        self.kind = kind

    def boot(self, image, append, initrd):
        try:
            path = media.cached(self.kind, build_dir() / "media", image, append, initrd)
        except media.MediaError as e:
            raise BarewireError(str(e)) from None
        if self.kind == "iso":
            return ["-cdrom", str(path)]
        # Several guests may boot from it: nobody writes to the file. By SATA, which only the
        # firmware drives: a disk of the user's is the first that the guest sees, as everywhere.
        drive = f"if=none,id=boot,format=raw,snapshot=on,file={path}"
        return ["-drive", drive, "-device", "ide-hd,drive=boot,bootindex=0"]


_FIRMWARE = "/usr/share/OVMF/OVMF_"
_OVMF = {
    "extra": (
        "-drive", f"if=pflash,format=raw,readonly=on,file={_FIRMWARE}CODE_4M.fd",
        "-drive", f"if=pflash,format=raw,snapshot=on,file={_FIRMWARE}VARS_4M.fd",
    ),
    "least_mb": 96,
    "forgiven": "0xFED40",  # it looks for a TPM
}

PLATFORMS = {
    p.name: p
    for p in (
        Platform("q35", "q35"),
        Platform("pc-e1000", "pc", "e1000"),
        Platform("q35-e1000e", "q35", "e1000e"),
        Platform("microvm", "microvm", "virtio-net-device", _MODERN_MMIO),
        Platform("q35-qboot", "q35", extra=("-bios", "qboot.rom")),
        MediaPlatform("q35-iso", "q35", "iso"),
        MediaPlatform("q35-disk-ovmf", "q35", "disk", **_OVMF),
    )
}
DEFAULT = "q35"


def find(name=None):
    """The platform of that name, the default one for None; a Platform is returned as it is."""
    if isinstance(name, Platform):
        return name
    try:
        return PLATFORMS[name or DEFAULT]
    except KeyError:
        known = ", ".join(PLATFORMS)
        raise BarewireError(f"no platform {name}: there are {known}") from None


def on_machine(machine):
    """A machine type with the virtio card that fits it, as a Platform that may be outside of the
    table."""
    return PLATFORMS["microvm"] if machine == "microvm" else Platform(machine, machine)
