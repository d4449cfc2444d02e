"""What others need to run an image: a libvirt domain, a Nomad job, a KubeVirt virtual machine.

Each function returns text. The libvirt domain boots the ELF straight by its kernel
element (or a disk), the Nomad job a disk or the ELF by QEMU's arguments, KubeVirt a
disk in a container, which is the form it knows.
"""

import json
import xml.etree.ElementTree as ET
from pathlib import Path


class Machine:
    """What is to be run. image: an ELF, or a disk or ISO (.raw .qcow2 .iso). append: dict."""

    def __init__(self, name, image, mem=64, append=None, initrd=None, nics=1, count=1):
        self.name, self.image, self.mem = name, Path(image).resolve(), mem
        self.cmdline = " ".join(f"{k}={v}" for k, v in (append or {}).items())
        self.initrd = Path(initrd).resolve() if initrd else None
        self.nics, self.count = nics, count

    @property
    def is_kernel(self):
        return self.image.suffix not in (".raw", ".qcow2", ".iso")


def libvirt(m, accel="kvm"):
    """A domain for `virsh define`; `virt-xml-validate` accepts it. accel: "kvm" or "tcg"."""
    domain = ET.Element("domain", type="kvm" if accel == "kvm" else "qemu")

    def add(parent, tag, text=None, **attributes):
        e = ET.SubElement(parent, tag, attributes)
        e.text = None if text is None else str(text)
        return e

    add(domain, "name", m.name)
    add(domain, "memory", m.mem, unit="MiB")
    add(domain, "vcpu", 1)
    os = add(domain, "os")
    add(os, "type", "hvm", arch="x86_64", machine="q35")
    if m.is_kernel:
        add(os, "kernel", m.image)
        if m.initrd:
            add(os, "initrd", m.initrd)
        if m.cmdline:
            add(os, "cmdline", m.cmdline)
    else:
        add(os, "boot", dev="cdrom" if m.image.suffix == ".iso" else "hd")
    add(add(domain, "features"), "acpi")
    add(domain, "cpu", mode="host-passthrough" if accel == "kvm" else "maximum")
    add(domain, "on_poweroff", "destroy")
    add(domain, "on_reboot", "restart")
    add(domain, "on_crash", "destroy")
    devices = add(domain, "devices")
    if not m.is_kernel:
        cd = m.image.suffix == ".iso"
        disk = add(devices, "disk", type="file", device="cdrom" if cd else "disk")
        add(disk, "driver", name="qemu", type="qcow2" if m.image.suffix == ".qcow2" else "raw")
        add(disk, "source", file=str(m.image))
        add(disk, "target", dev="sda" if cd else "vda", bus="sata" if cd else "virtio")
        add(disk, "readonly")
    for _ in range(m.nics):
        nic = add(devices, "interface", type="network")
        add(nic, "source", network="default")
        add(nic, "model", type="virtio")
    add(add(devices, "serial", type="pty"), "target", port="0")
    add(add(devices, "console", type="pty"), "target", type="serial", port="0")
    rng = add(devices, "rng", model="virtio")
    add(rng, "backend", "/dev/urandom", model="random")
    add(devices, "memballoon", model="none")
    ET.indent(domain)
    return ET.tostring(domain, encoding="unicode") + "\n"


def nomad(m, accel="kvm"):
    """A service job for `nomad job run -json`: the task driver "qemu", m.count instances."""
    arguments = ["-nodefaults", "-display", "none", "-serial", "stdio", "-no-reboot"]
    arguments += ["-netdev", "user,id=net0", "-device", "virtio-net-pci,netdev=net0,romfile="]
    if m.is_kernel:
        arguments += ["-kernel", f"local/{m.image.name}"]
        if m.initrd:
            arguments += ["-initrd", f"local/{m.initrd.name}"]
        if m.cmdline:
            arguments += ["-append", m.cmdline]
    config = {
        # The driver insists on an image; beside -kernel it is a drive that nobody reads.
        "image_path": f"local/{m.image.name}",
        "accelerator": accel,
        "args": arguments,
    }
    files = [p for p in (m.image, m.initrd) if p]
    task = {
        "Name": m.name,
        "Driver": "qemu",
        "Config": config,
        "Artifacts": [{"GetterSource": str(p), "RelativeDest": "local/"} for p in files],
        "Resources": {"CPU": 100, "MemoryMB": m.mem + 32},
    }
    group = {"Name": m.name, "Count": m.count, "Tasks": [task]}
    job = {"ID": m.name, "Name": m.name, "Type": "service", "Datacenters": ["*"]}
    return json.dumps({"Job": {**job, "TaskGroups": [group]}}, indent=2) + "\n"


def kubevirt(m, registry="registry.example"):
    """A VirtualMachineInstanceReplicaSet of m.count, as JSON, which `kubectl apply -f` takes.

    The image travels as a container disk: `FROM scratch` with the file under /disk/."""
    devices = {
        "disks": [{"name": "image", "disk": {"bus": "virtio", "readonly": True}}],
        "interfaces": [{"name": "default", "masquerade": {}, "model": "virtio"}],
        "rng": {},
        "autoattachGraphicsDevice": False,
        "autoattachMemBalloon": False,
    }
    spec = {
        "domain": {
            "cpu": {"cores": 1},
            "memory": {"guest": f"{m.mem}Mi"},
            "machine": {"type": "q35"},
            "devices": devices,
        },
        "networks": [{"name": "default", "pod": {}}],
        "volumes": [{"name": "image", "containerDisk": {"image": f"{registry}/{m.name}:latest"}}],
        "terminationGracePeriodSeconds": 0,
    }
    labels = {"app": m.name}
    whole = {
        "apiVersion": "kubevirt.io/v1",
        "kind": "VirtualMachineInstanceReplicaSet",
        "metadata": {"name": m.name},
        "spec": {
            "replicas": m.count,
            "selector": {"matchLabels": labels},
            "template": {"metadata": {"labels": labels}, "spec": spec},
        },
    }
    return json.dumps(whole, indent=2) + "\n"
