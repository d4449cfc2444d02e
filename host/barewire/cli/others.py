"""`barewire console`, `export`, `completion`, `tap`, `build`."""

import os
import re
import subprocess
import sys

import click

from barewire.cli import main, pairs, say
from barewire.paths import default_image, source_root


@click.command()
@click.argument("path", type=click.Path(exists=True))
def console(path):
    """Talk to a console on a pty or unix socket at PATH (of `run --pty`); Ctrl-] leaves."""
    from barewire.terminal import attach

    say(f"console at {path}; Ctrl-] leaves")
    attach(path)


@click.command()
@click.option("--libvirt", "form", flag_value="libvirt", help="A domain for `virsh define`.")
@click.option("--nomad", "form", flag_value="nomad", help="A job for `nomad job run -json`.")
@click.option("--kubevirt", "form", flag_value="kubevirt", help="For `kubectl apply -f`.")
@click.option("--image", type=click.Path(exists=True, dir_okay=False),
              help="An ELF, disk or ISO; build/barewire.elf by default.")  # fmt: skip
@click.option("--name", default="barewire", show_default=True)
@click.option("-m", "mem", default=64, show_default=True, help="Memory in MB.")
@click.option("--count", default=1, show_default=True, help="How many, for a scheduler.")
@click.option("--nics", default=1, show_default=True, help="Network cards, for libvirt.")
@click.option("--append", multiple=True, callback=pairs, metavar="KEY=VALUE")
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


@click.command()
@click.argument("shell", type=click.Choice(["bash", "zsh", "fish"]))
def completion(shell):
    """Print the completion script for SHELL; docs/cli.md says where it goes.

    bash: `source <(barewire completion bash)`, and so in zsh; fish:
    `barewire completion fish | source`."""
    from click.shell_completion import get_completion_class

    made = get_completion_class(shell)(main, {}, "barewire", "_BAREWIRE_COMPLETE")
    click.echo(made.source())


@click.command()
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
    source_root()
    from barewire import onhost

    onhost.run(file, args=args, **options)


@click.command()
@click.argument("arguments", nargs=-1, type=click.UNPROCESSED)
def build(arguments):
    """Build the image: what `make image` does. ARGUMENTS go to barewire.build."""
    argv = [sys.executable, "-m", "barewire.build", *arguments]
    env = dict(os.environ, PYTHONPATH="host")
    sys.exit(subprocess.call(argv, cwd=source_root(), env=env))
