"""`Guest`: an image booted in QEMU, its prompt, its monitor, its end.

    with Guest(net=UserNet(), mem=64, append={"ip": "dhcp"}) as guest:
        guest.exec("print(1 + 1)")          # "2\\n"
        guest.eval("net.interfaces()")      # a list of dicts
        guest.child.sendline("1 + 1")       # pexpect, at the friendly prompt
        guest.monitor.command("set_link", name="net0", up=False)

QEMU runs on a pty of pexpect's, so its standard input and output are COM1, 8 bits clean.
Its messages about a guest's mistakes (`-d guest_errors`) go to a file that must be empty at
the end.
"""

import ctypes
import os
import shutil
import signal
import tempfile
import termios
import time
from pathlib import Path

import pexpect
import ptyprocess

from barewire import accel, qemu
from barewire import platform as platforms
from barewire.console import PROMPT, Console, ReplTimeout
from barewire.disk import as_disks
from barewire.net import forwarded
from barewire.paths import BarewireError, default_image

_CLK_TCK = os.sysconf("SC_CLK_TCK")
_PR_SET_PDEATHSIG = 1


class GuestFault(BarewireError):
    """The guest ended, or misused a device."""


class _Spawn(pexpect.spawn):
    """pexpect.spawn that hands descriptors on and dies with us."""

    def __init__(self, argv, pass_fds, **kwargs):
        self._pass_fds = tuple(pass_fds)
        self._libc = ctypes.CDLL(None)
        super().__init__(argv[0], argv[1:], preexec_fn=self._prepare, **kwargs)
        self.delaybeforesend = None
        self.delayafterread = None

    def _prepare(self):
        for fd in self._pass_fds:
            os.set_inheritable(fd, True)
        self._libc.prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
        # QEMU puts the terminal in raw mode but leaves output processing on: a newline that
        # the guest prints must not become two bytes.
        attributes = termios.tcgetattr(0)
        attributes[1] &= ~(termios.ONLCR | termios.OCRNL | termios.ONOCR)
        termios.tcsetattr(0, termios.TCSANOW, attributes)

    def _spawnpty(self, args, **kwargs):
        return ptyprocess.PtyProcess.spawn(args, pass_fds=self._pass_fds, **kwargs)


class _ChildStream:
    """barewire.console's stream over a pexpect child; takes what pexpect has read already."""

    def __init__(self, child):
        self.child = child

    def write(self, data):
        self.child.send(data)

    def read(self, timeout):
        if self.child.buffer:
            data, self.child.buffer = self.child.buffer, b""
            return data
        try:
            return self.child.read_nonblocking(65536, timeout)
        except pexpect.TIMEOUT:
            return b""
        except pexpect.EOF:
            raise EOFError("QEMU ended") from None


class Guest:
    """One virtual machine. A context manager; or `start()` and `close()`.

    image: an ELF, build/barewire.elf by default. net: an attachment of barewire.net or
    barewire.lab, or a list of them. mem: MB. append: keys of the kernel command line.
    initrd: a romfs's path. platform: a name of barewire.platform or a Platform; or just machine:
    "q35", "pc" or "microvm". disk: a path, a barewire.disk.Disk, or a list of these; a file
    that is not there is made. extra: more of QEMU's arguments. logs: a folder for console.log
    and qemu.log, a temporary one by default. prompt: whether `start` waits for the prompt.
    console: "stdio" for this process to talk to it, "pty" to leave COM1 on a pty named by
    `console_path`, for mpremote, once the prompt is there.
    GuestFault when it does not come up."""

    def __init__(
        self, image=None, *, net=None, mem=64, append=None, initrd=None, machine="q35",
        platform=None, disk=None, extra=(), logs=None, prompt=True, console="stdio",
        boot_timeout=60, use_accel=None,
    ):  # fmt: skip
        self.image = Path(image) if image else default_image()
        self.net = net if isinstance(net, (list, tuple)) else [net] if net else []
        self.options = {"mem": mem, "append": append, "initrd": initrd, "disks": as_disks(disk)}
        self.platform = platforms.find(platform) if platform else platforms.on_machine(machine)
        self.extra, self.prompt, self.boot_timeout = list(extra), prompt, boot_timeout
        self.console_kind, self.use_accel = console, use_accel
        self._scratch = tempfile.mkdtemp(prefix="bw-")
        self.logs = Path(logs or self._scratch)
        self.logs.mkdir(parents=True, exist_ok=True)
        self.child = self._monitor = None
        self.status = self.boot_seconds = None

    def start(self):
        """Boot. Returns self."""
        pipe = self.console_kind == "stdio"
        log = self.logs / "console.log"
        kind = "stdio,signal=off" if pipe else self.console_kind
        serial = ["-chardev", f"{kind},id=com1,logfile={log}", "-serial", "chardev:com1"]
        self._errors = self.logs / "qemu.log"
        self._errors.unlink(missing_ok=True)
        extra = ["-d", "guest_errors", "-D", str(self._errors)]
        extra += ["-qmp", f"unix:{self._scratch}/qmp,server=on,wait=off", *self.extra]
        argv = qemu.command_line(
            self.image, accel=self.use_accel or accel.choose(self.image), net=self.net,
            platform=self.platform, serial=serial, extra=extra, **self.options,
        )  # fmt: skip
        for disk in self.options["disks"]:
            disk.create()
        fds = [fd for n in self.net for fd in n.pass_fds]
        began = time.monotonic()
        self.child = _Spawn(argv, fds, timeout=30, echo=False, dimensions=(50, 200))
        self.console = Console(_ChildStream(self.child))
        try:
            if self.prompt:
                self._await_prompt() if pipe else self._await_logged_prompt(log, began)
                self.boot_seconds = time.monotonic() - began
        except BaseException:
            self.kill()
            raise
        return self

    def _await_prompt(self):
        try:
            self.child.expect_exact(PROMPT, timeout=self.boot_timeout)
        except pexpect.EOF:
            said = self._tail()
            self._reap()
            raise GuestFault(f"QEMU ended with status {self.status}: {said}") from None
        except pexpect.TIMEOUT:
            raise GuestFault(f"no prompt in {self.boot_timeout} s: {self._tail()}") from None

    def _await_logged_prompt(self, log, began):
        """COM1 is on a line of others, who must not write before: firmware takes keys too."""
        while not (log.exists() and PROMPT in log.read_bytes()):
            if not self.child.isalive():
                raise GuestFault(f"QEMU ended before the prompt: {self._drain()}")
            if time.monotonic() > began + self.boot_timeout:
                said = log.read_bytes()[-3000:] if log.exists() else b""
                raise GuestFault(f"no prompt in {self.boot_timeout} s: {said}")
            time.sleep(0.005)  # a file says nothing by itself

    def _tail(self):
        text = (self.child.before or b"").decode(errors="replace")
        return text[-3000:] or "nothing was printed"

    # The prompt

    def exec(self, code, timeout=30):
        """Run code by the raw REPL; what it printed, as str. GuestError if it raised."""
        return self.console.exec(code, timeout)

    def eval(self, expression, timeout=30):
        """The value of an expression made of literals."""
        return self.console.eval(expression, timeout)

    def run_async(self, code, timeout=10):
        """Start code; a barewire.console.Running."""
        return self.console.start(code, timeout)

    def friendly(self):
        """To the friendly prompt; the pexpect child, with nothing read yet but the prompt."""
        self.console.leave_raw()
        return self.child

    def expect(self, pattern, timeout=30):
        """Wait until a program that runs since the boot (prompt=False) has printed what matches
        `pattern`, a regular expression; the match, of bytes. ReplTimeout, GuestFault."""
        try:
            self.child.expect(pattern, timeout=timeout)
        except pexpect.EOF:
            said = self._tail()
            self._reap()
            raise GuestFault(f"QEMU ended before {pattern!r} was printed: {said}") from None
        except pexpect.TIMEOUT:
            raise ReplTimeout(f"waited for {pattern!r}, got: {self._tail()}") from None
        return self.child.match

    def port(self, guest_port, protocol="tcp"):
        """The port of 127.0.0.1 that is forwarded to the guest's, of a UserNet. KeyError."""
        found = forwarded(
            self._ready_monitor().command(
                "human-monitor-command", **{"command-line": "info usernet"}
            )
        )
        ports = {(kind, guest): host for kind, host, guest in found}
        return ports[protocol, guest_port]

    def url(self, guest_port=80, scheme="http"):
        """The URL, without a slash at its end, that the guest's port is reached at from here."""
        return f"{scheme}://127.0.0.1:{self.port(guest_port)}"

    def put(self, path, data):
        """Write `data` (bytes) to a file in the guest."""
        self.exec(f"import binascii\n_f = open({path!r}, 'wb')")
        for i in range(0, len(data), 4096):
            self.exec(f"_f.write(binascii.a2b_base64({_base64(data[i : i + 4096])!r}))")
        self.exec("_f.close()\ndel _f")

    def get(self, path):
        """The bytes of a file in the guest."""
        text = self.exec(
            f"import binascii\nwith open({path!r}, 'rb') as f:\n"
            " while True:\n  b = f.read(1536)\n  if not b:\n   break\n"
            "  print(binascii.b2a_base64(b).decode(), end='')\n"
        )
        return b"".join(map(_from_base64, text.split()))

    # The machine

    @property
    def monitor(self):
        """QEMU's monitor: `.command(name, **arguments)`."""
        if self._monitor is None:
            self._monitor = qemu.Monitor(f"{self._scratch}/qmp")
        return self._monitor

    @property
    def pid(self):
        return self.child.pid

    @property
    def console_path(self):
        """The pty that COM1 is on, with console="pty"."""
        for chardev in self._ready_monitor().command("query-chardev"):
            if chardev["label"] == "com1":
                return chardev["filename"].removeprefix("pty:")
        raise GuestFault("QEMU has no com1")

    def _ready_monitor(self):
        deadline = time.monotonic() + 10
        while self._monitor is None:
            try:
                self._monitor = qemu.Monitor(f"{self._scratch}/qmp")
            except (FileNotFoundError, ConnectionRefusedError):
                if not self.child.isalive() or time.monotonic() > deadline:
                    raise GuestFault(f"QEMU did not start: {self._drain()}") from None
                time.sleep(0.005)  # its monitor comes a few ms after it; there is no event
        return self._monitor

    def cpu_seconds(self):
        """Host CPU time that QEMU has used, in seconds, all threads."""
        fields = Path(f"/proc/{self.pid}/stat").read_text().rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / _CLK_TCK

    def wait_exit(self, timeout=30):
        """Wait until QEMU ends: what the guest exited with, None if it did not choose.

        `.status` is QEMU's own (a negative signal number if one killed it)."""
        try:
            self.child.expect(pexpect.EOF, timeout=timeout)
        except pexpect.TIMEOUT:
            raise ReplTimeout(f"QEMU did not end in {timeout} s: {self._tail()}") from None
        self._reap()
        return qemu.exit_code(self.status)

    def _reap(self):
        self.child.wait() if self.child.isalive() else None
        signal_number = self.child.signalstatus
        self.status = self.child.exitstatus if signal_number is None else -signal_number

    def _drain(self):
        try:
            self.child.expect(pexpect.EOF, timeout=2)
        except pexpect.TIMEOUT:
            pass
        return self._tail()

    def kill(self):
        """End QEMU now and forget its files; no checks."""
        if self.child and self.status is None:
            self.child.kill(signal.SIGKILL)
            self._drain()
            self._reap()
        if self._monitor:
            self._monitor.close()
            self._monitor = None
        if self.child:
            self.child.close(force=True)
        if self._scratch != str(self.logs):
            shutil.rmtree(self._scratch, ignore_errors=True)

    def guest_errors(self):
        """What QEMU has to say about the guest's use of its devices; empty is right."""
        if not self._errors.exists():
            return ""
        lines = self._errors.read_text().splitlines(keepends=True)
        forgiven = self.platform.forgiven
        return "".join(s for s in lines if not forgiven or forgiven not in s)

    def close(self):
        """End QEMU. GuestFault if it found a mistake of the guest's (`-d guest_errors`)."""
        if self.child is None:
            return
        if self.status is None:
            try:
                self._ready_monitor().command("quit")
                self.wait_exit(10)
            except (OSError, BarewireError, ReplTimeout):
                pass
        self.kill()
        errors = self.guest_errors()
        if self._scratch == str(self.logs):
            shutil.rmtree(self._scratch, ignore_errors=True)
        self.child = None
        if errors:
            raise GuestFault(f"QEMU reports mistakes of the guest:\n{errors[:3000]}")

    def __enter__(self):
        return self.start()

    def __exit__(self, kind, error, trace):
        try:
            self.close()
        except GuestFault:
            if error is None:
                raise


def _base64(data):
    import binascii

    return binascii.b2a_base64(data, newline=False).decode()


def _from_base64(text):
    import binascii

    return binascii.a2b_base64(text)
