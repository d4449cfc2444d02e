"""The command `barewire`: run, tap, build, console, doctor."""

import os
import re
import shutil
import subprocess
import sys
import tempfile
from contextlib import ExitStack
from pathlib import Path

import click
from rich.console import Console as Terminal

from barewire import __version__, accel, disk, qemu, romfs
from barewire.net import UserNet, parse_port
from barewire.paths import BarewireError, default_image, root

_err = Terminal(stderr=True, highlight=False)


def say(line):
    """One line for the person at the terminal, apart from the guest's output."""
    _err.print(f"barewire: {line}", markup=False, soft_wrap=True)


class _Commands(click.Group):
    def invoke(self, ctx):
        try:
            return super().invoke(ctx)
        except BarewireError as e:
            say(e)
            sys.exit(1)


@click.group(cls=_Commands)
@click.version_option(__version__)
def main():
    """MicroPython on the bare metal of QEMU, with its network stack in Python."""


def _pairs(ctx, param, values):
    out = {}
    for value in values:
        key, equals, text = value.partition("=")
        if not equals or not key or " " in value:
            raise click.BadParameter(f"{value!r}: want KEY=VALUE without spaces")
        out[key] = text
    return out


def _bridge(stack, ports):
    """A lab with DHCP, DNS and, where nginx is installed, a page for the guest; says how to
    reach it."""
    from barewire import services
    from barewire.lab import Lab

    if ports:
        raise BarewireError("-p goes with the user network; on a bridge the guest has an address")
    lab = stack.enter_context(Lab(capture=False))
    host = lab.add_host("host", 1)
    services.dnsmasq(host)
    enter = " ".join(lab.namespaces.enter(host.space.index)[:-4])
    page = ""
    if shutil.which("nginx", path=f"{os.environ.get('PATH', '')}:/usr/sbin:/sbin"):
        services.nginx(host)
        page = f", http://{services.DOMAIN}/ by nginx"
    say(f"bridge {lab.subnet}, this side is {host.ip}, DHCP and DNS by dnsmasq{page}")
    say(f"a shell on this side: {enter} bash")
    return lab.tap()


@main.command()
@click.argument("program", required=False, type=click.Path(exists=True))
@click.argument("files", nargs=-1, type=click.Path(exists=True))
@click.option("-p", "ports", multiple=True, metavar="HOST:GUEST", help="Forward a host port.")
@click.option("--net", type=click.Choice(["user", "bridge", "none"]), default="user")
@click.option("-m", "mem", default=64, show_default=True, help="Memory in MB.")
@click.option("--append", multiple=True, callback=_pairs, metavar="KEY=VALUE",
              help="A key of the kernel command line: ip= gw= dns= hostname= main=")  # fmt: skip
@click.option("--pcap", type=click.Path(dir_okay=False), help="Capture the guest's frames.")
@click.option("--keylog", type=click.Path(dir_okay=False),
              help="Write the TLS keys: Wireshark then reads the capture.")  # fmt: skip
@click.option("--disk", "disks", multiple=True, metavar="FILE[,SIZE][,ro]",
              help="A disk to keep files on; made with 64M when it is not there.")  # fmt: skip
@click.option("--image", type=click.Path(exists=True, dir_okay=False), help="An ELF to boot.")
@click.option("--machine", type=click.Choice(list(qemu.MACHINES)), default="q35")
@click.option("--pty", is_flag=True, help="Leave the console on a pty, for mpremote.")
def run(program, files, ports, net, mem, append, pcap, keylog, disks, image, machine, pty):
    """Boot the image with the console on this terminal; Ctrl-A X leaves.

    PROGRAM, a file or a folder with main.py, is mounted at /app and run, FILES beside it. The
    exit status is the guest's."""
    image = Path(image) if image else default_image()
    chosen = accel.choose(image, say)
    disks = [disk.parse(text) for text in disks]
    for d in disks:
        if d.create():
            say(f"{d.path}: a new disk of {d.size >> 10} KB")
    with ExitStack() as stack:
        initrd = None
        if program:
            scratch = stack.enter_context(tempfile.TemporaryDirectory(prefix="barewire-"))
            initrd = Path(scratch) / "app.romfs"
            initrd.write_bytes(romfs.build(romfs.for_program(program, files)))
        attachments = []
        if net == "user":
            attachments = [UserNet([parse_port(p) for p in ports], pcap=pcap)]
        elif net == "bridge":
            attachments = [_bridge(stack, ports)]
        extra = []
        if pcap and net == "bridge":
            extra = ["-object", f"filter-dump,id=dump0,netdev=net0,file={pcap}"]
        if keylog:
            append = {**(append or {}), "keylog": "debugcon"}
            extra += ["-debugcon", f"file:{keylog}"]
        argv = qemu.command_line(
            image, accel=chosen, machine=machine, mem=mem, append=append, initrd=initrd,
            net=attachments, disks=disks, extra=extra,
            serial=["-serial", "pty" if pty else "mon:stdio"],
        )  # fmt: skip
        fds = [fd for a in attachments for fd in a.pass_fds]
        status = _call(argv, fds)
    code = qemu.exit_code(status)
    sys.exit(status if code is None else code)


def _call(argv, fds):
    """Run QEMU on this terminal; its status. Ctrl-C is the guest's while it runs."""
    process = subprocess.Popen(argv, pass_fds=fds)
    while True:
        try:
            return process.wait()
        except KeyboardInterrupt:
            # In raw mode Ctrl-C reaches the guest as a byte. A signal came from elsewhere.
            process.terminate()


@main.command()
@click.argument("file", type=click.Path(exists=True, dir_okay=False))
@click.argument("args", nargs=-1)
@click.option("--ifname", default="bw0", show_default=True, help="the TAP, made if it is not there")
@click.option("--address", default="10.88.0.2/24", show_default=True, help="the stack's")
@click.option("--kernel", help="ADDRESS/LENGTH for this kernel's side of the TAP")
@click.option("--gateway")
@click.option("--dns", multiple=True)
@click.option("--offloads/--no-offloads", default=True, show_default=True)
def tap(file, args, **options):
    """Run FILE on the stack under CPython, on a Linux TAP, without QEMU."""
    from barewire import onhost

    onhost.run(file, args=args, **options)


@main.command()
@click.argument("arguments", nargs=-1, type=click.UNPROCESSED)
def build(arguments):
    """Build the image: what `make image` does. ARGUMENTS go to barewire.build."""
    argv = [sys.executable, "-m", "barewire.build", *arguments]
    sys.exit(subprocess.call(argv, cwd=root(), env=dict(os.environ, PYTHONPATH="host")))


@main.command()
@click.option("--libvirt", "form", flag_value="libvirt", help="A domain for `virsh define`.")
@click.option("--nomad", "form", flag_value="nomad", help="A job for `nomad job run -json`.")
@click.option("--kubevirt", "form", flag_value="kubevirt", help="For `kubectl apply -f`.")
@click.option("--image", type=click.Path(exists=True, dir_okay=False),
              help="An ELF, disk or ISO; build/barewire.elf by default.")  # fmt: skip
@click.option("--name", default="barewire", show_default=True)
@click.option("-m", "mem", default=64, show_default=True, help="Memory in MB.")
@click.option("--count", default=1, show_default=True, help="How many, for a scheduler.")
@click.option("--nics", default=1, show_default=True, help="Network cards, for libvirt.")
@click.option("--append", multiple=True, callback=_pairs, metavar="KEY=VALUE")
@click.option("--initrd", type=click.Path(exists=True, dir_okay=False), help="A romfs.")
@click.option("--accel", "chosen", type=click.Choice(["kvm", "tcg"]), default="kvm")
@click.option("--registry", default="registry.example", help="Where KubeVirt gets its disk from.")
def export(form, image, name, mem, count, nics, append, initrd, chosen, registry):
    """Write what another needs to run the image: docs/deploy.md."""
    from barewire import export as made

    if form is None:
        raise click.UsageError("one of --libvirt, --nomad, --kubevirt")
    if not re.fullmatch(r"[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?", name):
        raise click.BadParameter(f"{name!r}: want letters, digits and hyphens, as in a host name")
    machine = made.Machine(name, image or default_image(), mem, append, initrd, nics, count)
    if form == "kubevirt":
        if machine.is_kernel:
            raise click.UsageError("KubeVirt boots a disk: --image build/NAME/barewire.qcow2")
        text = made.kubevirt(machine, registry)
    else:
        text = {"libvirt": made.libvirt, "nomad": made.nomad}[form](machine, chosen)
    click.echo(text, nl=False)


@main.command()
@click.argument("path", type=click.Path(exists=True))
def console(path):
    """Talk to a console on a pty or unix socket at PATH (of `run --pty`); Ctrl-] leaves."""
    from barewire.terminal import attach

    say(f"console at {path}; Ctrl-] leaves")
    attach(path)


@main.command()
def doctor():
    """Say what is here and what is missing for running and testing."""
    good = True

    def row(name, value, fine=True):
        nonlocal good
        good &= fine
        click.echo(f"{'ok ' if fine else 'NO '} {name:12} {value}")

    try:
        row("qemu", qemu.version())
    except BarewireError as e:
        row("qemu", e, False)
    try:
        image = default_image()
        row("image", f"{image} ({image.stat().st_size / 1e6:.2f} MB)")
        row("accelerator", accel.choose(image, lambda line: click.echo(f"    {line}")))
    except BarewireError as e:
        row("image", e, False)
    try:
        from barewire.lab import Lab

        with Lab(capture=False) as lab:
            lab.tap()
        row("bridge", "namespaces and taps work" + ("" if os.geteuid() == 0 else ", rootless"))
    except BarewireError as e:
        row("bridge", e, False)
    path = f"{os.environ.get('PATH', '')}:/usr/sbin:/sbin"
    for tool in ("dnsmasq", "nginx", "tshark", "curl", "ping", "nc"):
        found = shutil.which(tool, path=path)
        row(tool, found or "missing: `make test` installs it", bool(found))
    sys.exit(0 if good else 1)


if __name__ == "__main__":
    main()
