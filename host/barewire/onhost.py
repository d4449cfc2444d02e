"""The stack under CPython, on a Linux TAP: no QEMU, no image, the same Python.

    barewire tap FILE --address 10.88.0.2/24 --kernel 10.88.0.1/24

FILE sees MicroPython's `socket`, `select`, `net`, `network` and `requests`, which are the
stack's; its other end is this kernel, on the TAP. There are no interrupts here: the stack runs
while the program waits for it (in a blocking call, `select.poll`, `hw.wait`), not while it
computes. Needs /dev/net/tun and, for --kernel, the right to give an interface an address: root,
or a namespace of one's own (`unshare -Urn`).
"""

import importlib.util
import os
import runpy
import select
import shutil
import subprocess
import sys
import time

from barewire.paths import BarewireError, root

_NEVER = 1 << 60
# What MicroPython programs import that is not CPython's own here.
_MODULES = ("socket", "select", "net", "network", "requests")


class Hw:
    """What the stack and its API use of the firmware's module `hw`, made of a process."""

    def __init__(self):
        self.devices = []  # with fileno()
        self._handler = None
        self._armed = _NEVER
        self._locked = 0
        self._began = time.monotonic_ns()
        self._tables = {}
        hw = self

        class Guard:
            """Writes 1 to its byte when it is collected."""

            def __init__(self, addr):
                self.addr = addr

            def __del__(self):
                hw._write(self.addr)

        self.Guard = Guard

    def _write(self, addr):
        for base, table in self._tables.items():
            if 0 <= addr - base < len(table):
                table[addr - base] = 1

    def ticks_us(self):
        return (time.monotonic_ns() - self._began) // 1000 + 1_000_000

    def unix_us(self):
        return time.time_ns() // 1000

    def lock(self):
        self._locked += 1

    def unlock(self):
        self._locked -= 1

    def timer(self, at):
        self._armed = at

    def on_event(self, handler):
        self._handler = handler

    def wait(self, until):
        """Sleep until a frame comes, the timer fires or `until`; then let the stack run."""
        at = min(self._armed, until)
        left = None if at >= _NEVER else max(0, at - self.ticks_us()) / 1e6
        select.select(self.devices, [], [], left)
        if not self._locked:
            self._handler()

    def ram(self):
        return 256 << 20

    def dma(self, n, align=64):
        return bytearray(n)

    def addr(self, buf):
        base = (len(self._tables) + 1) << 32
        self._tables[base] = buf
        return base

    def rdrand(self):
        return int.from_bytes(os.urandom(8), "little")

    def cpuid(self, leaf, sub=0):
        return 0, 0, 0, 0


def start(device, address, gateway=None, dns=()):
    """A running host on `device` as the one that stack.api uses. Returns its Runtime.

    address: "10.88.0.2/24"; gateway, dns: addresses as strings."""
    _paths()
    from stack.api import _runtime
    from stack.host import Host
    from stack.net import addr

    hw = Hw()
    hw.devices.append(device)
    host = Host(hw.ticks_us, os.urandom)
    host.add_interface(device)
    runtime = _runtime.Runtime(host, hw)
    _runtime.install(runtime)
    text, _, prefix = address.partition("/")
    iface = host.interfaces[-1]
    now = hw.ticks_us()
    host.configure(
        iface, "static", now, addr.parse(text), int(prefix or 24),
        addr.parse(gateway) if gateway else 0, tuple(addr.parse(d) for d in dns),
    )  # fmt: skip
    hw.on_event(runtime.on_event)
    runtime.on_event()
    return runtime


def _paths():
    for path in (root() / "host" / "shim", root()):
        if str(path) not in sys.path:
            sys.path.insert(0, str(path))
    import micropython  # noqa: F401  (puts viper's names into builtins)


def _stock_modules():
    """The modules a MicroPython program imports by name, as modules of the stack."""
    for name in _MODULES:
        path = root() / "images" / "lib" / f"{name}.py"
        spec = importlib.util.spec_from_file_location(name, path)
        module = importlib.util.module_from_spec(spec)
        sys.modules[name] = module
        spec.loader.exec_module(module)


def give_kernel(ifname, address):
    """Give this kernel an address on the TAP and take it up. BarewireError."""
    tool = shutil.which("ip", path=f"{os.environ.get('PATH', '')}:/usr/sbin:/sbin")
    if not tool:
        raise BarewireError("no `ip` command: install iproute2")
    for words in (["addr", "add", address, "dev", ifname], ["link", "set", ifname, "up"]):
        done = subprocess.run([tool, *words], capture_output=True, text=True)
        if done.returncode:
            raise BarewireError(f"ip {' '.join(words)}: {done.stderr.strip()}")


def run(file, ifname, address, kernel=None, gateway=None, dns=(), offloads=True, args=()):
    """Run a program on the stack on TAP `ifname`. BarewireError when there is no TAP."""
    _paths()
    from drivers.device import DeviceError
    from drivers.tap import Tap

    try:
        tap = Tap(ifname, offloads=offloads)
    except DeviceError as e:
        raise BarewireError(str(e)) from None
    if kernel:
        give_kernel(tap.ifname, kernel)
    runtime = start(tap, address, gateway, dns)
    sys.argv = [str(file), *args]
    kept = {name: sys.modules.get(name) for name in _MODULES}
    try:
        _stock_modules()
        runpy.run_path(str(file), run_name="__main__")
    finally:
        for name, module in kept.items():
            if module is None:
                sys.modules.pop(name, None)
            else:
                sys.modules[name] = module
        _linger(runtime)
        runtime.host.stop()


def _linger(runtime, seconds=5):
    """What the program has given to send and closed goes out before the host stops."""
    end = runtime.now() + seconds * 1_000_000
    while runtime.now() < end and runtime.host.tcp.live:
        runtime.wait(runtime.now() + 50_000)
