"""`barewire run` and `barewire repl`: QEMU on this terminal."""

import contextlib
import ctypes
import json
import os
import queue
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import threading
from contextlib import ExitStack
from pathlib import Path

import click

from barewire import accel, disk, qemu, romfs, terminal, tracing
from barewire.cli import pairs, ports, say
from barewire.cli.forward import Forwards
from barewire.net import UserNet, forwarded, listen, quoted
from barewire.paths import BarewireError, default_image


def _options(command):
    """What `run` and `repl` have in common."""
    for option in reversed((
        click.option("-p", "ports", multiple=True, callback=ports, metavar="HOST:GUEST",
                     help="Forward a port of 127.0.0.1; 0:80 takes a free one, udp: in front."),
        click.option("--net", type=click.Choice(["user", "bridge", "none"]), default="user",
                     show_default=True, help="QEMU's own network, a lab's, or no card."),
        click.option("-m", "mem", type=click.IntRange(min=5), default=64, show_default=True,
                     help="Memory in MB."),
        click.option("--append", multiple=True, callback=pairs, metavar="KEY=VALUE",
                     help="A key of the kernel command line: ip= gw= dns= hostname= main="),
        click.option("--pcap", type=click.Path(dir_okay=False),
                     help="Capture the guest's frames."),
        click.option("--keylog", type=click.Path(dir_okay=False),
                     help="Write the TLS keys: Wireshark then reads the capture."),
        click.option("--trace", metavar="tcp[:PORT]", callback=tracing.option,
                     help="Show what TCP connections do while they do it, on stderr."),
        click.option("--trace-file", type=click.Path(dir_okay=False),
                     help="Write the trace to a file instead, as CSV."),
        click.option("--disk", "disks", multiple=True, metavar="FILE[,SIZE][,ro]",
                     help="A disk to keep files on; made with 64M when it is not there."),
        click.option("--image", type=click.Path(exists=True, dir_okay=False),
                     help="An ELF to boot."),
        click.option("--machine", type=click.Choice(list(qemu.MACHINES)), default="q35",
                     show_default=True),
        click.option("--pty", is_flag=True, help="Leave the console on a pty, for mpremote."),
    )):  # fmt: skip
        command = option(command)
    return command


@click.command()
@click.argument("program", required=False, type=click.Path(exists=True))
@click.argument("files", nargs=-1, type=click.Path(exists=True))
@click.option("-i", "--interactive", is_flag=True, help="Stay at the prompt after the program.")
@_options
def run(program, files, interactive, **options):
    """Boot PROGRAM with the console on this terminal; Ctrl-A X leaves.

    PROGRAM, a file or a folder with main.py, is mounted at /app and run, FILES beside it. When
    it ends the machine does, and its exit status is the program's: of sys.exit(n) n, of an
    exception 1, else 0. Without PROGRAM there is a prompt."""
    tree = romfs.for_program(program, files) if program else None
    if tree is not None and not {"main.py", "main.mpy"} & set(tree):
        raise click.UsageError(f"{program} has no main.py: name the program, or `barewire repl`")
    boot(tree, stay=interactive or not program, **options)


@click.command()
@click.argument("files", nargs=-1, type=click.Path(exists=True))
@_options
def repl(files, **options):
    """Boot to the prompt, FILES at /app, where `import` finds them; Ctrl-A X leaves."""
    tree = romfs.beside({}, files) if files else None
    if tree and {"main.py", "main.mpy"} & set(tree):
        raise click.UsageError("a main.py would run instead: barewire run -i main.py")
    boot(tree, stay=True, **options)


def boot(
    tree, stay, ports, net, mem, append, pcap, keylog, trace, trace_file, disks, image, machine,
    pty,
):  # fmt: skip
    """Boot with `tree` at /app, and end with its status. stay: the prompt comes after it."""
    if trace_file and trace is None:
        raise click.UsageError("--trace-file goes with --trace tcp")
    if ports and net != "user":
        raise click.UsageError("-p goes with the user network")
    if pcap and net == "none":
        raise click.UsageError("--pcap goes with a network")
    for path in filter(None, (pcap, keylog, trace_file)):
        _writable(path)
    named = [p[:2] for p in ports if p[1]]
    if len(named) > len(set(named)):
        raise click.UsageError("-p names a port of the host twice")
    image = Path(image) if image else default_image()
    with open(image, "rb") as f:
        if f.read(4) != b"\x7fELF":
            raise BarewireError(f"{image}: not an ELF; disks and ISOs: docs/deploy.md")
    qemu.find()
    forwards = Forwards([p for p in ports if p[0] == "tcp"], say)
    ports = [p for p in ports if p[0] != "tcp"]
    for protocol, host, guest in ports:
        listen(host, guest, protocol).close()  # QEMU would say less of what is wrong
    chosen = accel.choose(image, say)
    disks = [disk.parse(text) for text in disks]
    for d in disks:
        if d.create():
            say(f"{d.path}: a new disk of {d.size >> 10} KB")
    append = append if stay else {"exit": "1", **append}
    with ExitStack() as stack:
        initrd = None
        if tree:
            scratch = stack.enter_context(tempfile.TemporaryDirectory(prefix="barewire-"))
            initrd = Path(scratch) / "app.romfs"
            initrd.write_bytes(romfs.build(tree))
        attachments = {"user": lambda: [UserNet(ports)], "bridge": lambda: [_bridge(stack)],
                       "none": list}[net]()  # fmt: skip
        fds = [*forwards.fds, *(fd for a in attachments for fd in a.pass_fds)]
        append = {**append, **forwards.append}
        extra = list(forwards.arguments)
        if pcap:
            extra += ["-object", f"filter-dump,id=dump0,netdev=net0,file={quoted(pcap)}"]
        if keylog:
            append = {**append, "keylog": "debugcon"}
            extra += ["-debugcon", f"file:{keylog}"]
        if trace is not None:
            append = {**append, "trace": trace}
            words, more = stack.enter_context(tracing.channel(trace_file, say))
            extra, fds = extra + words, fds + more
        argv = qemu.command_line(
            image, accel=chosen, machine=machine, mem=mem, append=append, initrd=initrd,
            net=attachments, disks=disks, extra=extra,
            serial=["-serial", "pty" if pty else "mon:stdio"],
        )  # fmt: skip
        status = _call(argv, fds, forwards, [p for p in ports if not p[1]])
    sys.exit(status)


def _writable(path):
    try:
        open(path, "ab").close()
    except OSError as e:
        raise BarewireError(f"{path}: {os.strerror(e.errno)}") from None


def _bridge(stack):
    """A lab with DHCP, DNS and, where nginx is installed, a page for the guest; says how to
    reach it."""
    from barewire import services
    from barewire.lab import Lab

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


_PR_SET_PDEATHSIG = 1


def _call(argv, fds, forwards, free_ports):
    """Run QEMU on this terminal; the status to end with. Ctrl-C is the guest's meanwhile."""
    ours, theirs = socket.socketpair()
    monitor = ["-chardev", f"socket,id=qmp,fd={theirs.fileno()}"]
    monitor += ["-mon", "chardev=qmp,mode=control"]
    fds = [*fds, theirs.fileno()]
    prctl = ctypes.CDLL(None).prctl
    process = subprocess.Popen(
        [*argv, *monitor], pass_fds=fds,
        preexec_fn=lambda: prctl(_PR_SET_PDEATHSIG, signal.SIGKILL),  # nobody else would end it
    )  # fmt: skip
    theirs.close()
    qmp = _Monitor(ours)
    forwards.start(qmp.human)
    if free_ports:
        qmp.ask(_human("info usernet"), _say_ports)
    told = []

    def stop(number, _frame):
        # In raw mode Ctrl-C reaches the guest as a byte. A signal came from elsewhere.
        told.append(number)
        process.terminate()

    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, stop)
    with terminal.restored():
        status = process.wait()
    qmp.join()
    if told or status < 0:
        return 128 + (told[0] if told else -status)
    if not qmp.answered:
        raise BarewireError(f"QEMU did not start the machine (status {status}); it says why above")
    return qemu.exit_code(status) or 0


def _say_ports(answer):
    for protocol, host, guest in forwarded(answer):
        say(f"127.0.0.1:{host} is the guest's {protocol} port {guest}")


def _human(line):
    arguments = {"command-line": line}
    return {"execute": "human-monitor-command", "arguments": arguments}


class _Monitor:
    """QMP on a socket, answers by a thread. `answered`: QEMU made the machine."""

    def __init__(self, sock):
        self._socket, self._lock, self._waiting = sock, threading.Lock(), []
        self.answered = False
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()
        self.ask({"execute": "qmp_capabilities"}, lambda _: None)

    def ask(self, command, then):
        """then(answer): called in the reader's thread; with None when QEMU has ended."""
        with self._lock:
            self._waiting.append(then)  # answers come in the order of the questions
            with contextlib.suppress(OSError):
                self._socket.sendall(json.dumps(command).encode() + b"\n")

    def human(self, line):
        """A command of the human monitor; its words, or None when QEMU has ended."""
        answer = queue.SimpleQueue()
        self.ask(_human(line), answer.put)
        return answer.get()

    def join(self):
        self._reader.join()
        self._socket.close()

    def _read(self):
        with contextlib.suppress(ConnectionResetError):  # it ended without reading what we asked
            for line in self._socket.makefile("r"):
                reply = json.loads(line)
                if "return" in reply or "error" in reply:
                    self.answered = True
                    self._waiting.pop(0)(reply.get("return"))
        for then in self._waiting:
            then(None)
