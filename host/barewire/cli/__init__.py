"""The command `barewire`. One module of this package holds a group of commands; the table below
says which. A module is loaded when its command is used, so a program starts soon.

Exit status: 0 all is well; 1 the program ended with an exception, a test failed, something is
missing; 2 wrong usage; 125 Barewire itself could not do it (no QEMU, no image, a port in use);
127 the guest's firmware met a fault; of `run`, what the program gave to sys.exit, 0 to 126;
128 + n QEMU was ended by signal n. docs/cli.md has them all.
"""

import importlib
import sys

import click

from barewire import __version__
from barewire.paths import BarewireError

FAILED = 125  # as of env(1) and others that run programs: it is theirs, not the program's

# The command, its module, and what `barewire --help` says of it.
_COMMANDS = {
    "run": ("run", "Boot a program, or the prompt, with the console on this terminal."),
    "repl": ("run", "Boot to the prompt."),
    "test": ("test", "Run a folder of MicroPython tests in guests."),
    "doctor": ("doctor", "Say what is here, what works, and what to do about the rest."),
    "console": ("others", "Talk to a console on a pty or unix socket."),
    "export": ("others", "Write what another needs to run the image."),
    "completion": ("others", "Print the completion script for a shell."),
    "tap": ("others", "Run a program on the stack under CPython, without QEMU."),
    "build": ("others", "Build the image: what `make image` does."),
}


def say(line):
    """One line for the person at the terminal, apart from the guest's output."""
    click.echo(f"barewire: {line}", err=True)


class _Commands(click.Group):
    """Loads a command's module when it is named, and makes an error one line."""

    def list_commands(self, ctx):
        return list(_COMMANDS)

    def get_command(self, ctx, name):
        if name not in _COMMANDS:
            return None
        return getattr(importlib.import_module(f"barewire.cli.{_COMMANDS[name][0]}"), name)

    def format_commands(self, ctx, formatter):
        with formatter.section("Commands"):
            formatter.write_dl([(name, text) for name, (_, text) in _COMMANDS.items()])

    def invoke(self, ctx):
        try:
            return super().invoke(ctx)
        except BarewireError as e:
            say(e)
            sys.exit(FAILED)
        except KeyboardInterrupt:
            sys.exit(130)


@click.group(cls=_Commands, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__)
def main():
    """MicroPython on the bare metal of QEMU, with its network stack in Python."""


def pairs(ctx, param, values):
    """A callback for options of the form KEY=VALUE: a dict."""
    out = {}
    for value in values:
        key, equals, text = value.partition("=")
        if not equals or not key or " " in value:
            raise click.BadParameter(f"{value!r}: want KEY=VALUE without spaces")
        out[key] = text
    return out


def ports(ctx, param, values):
    """A callback for -p HOST:GUEST: a list of (protocol, host port, guest port)."""
    from barewire.net import parse_port

    try:
        return [parse_port(p) for p in values]
    except BarewireError as e:
        raise click.BadParameter(str(e)) from None
