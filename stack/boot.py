"""From power-on to the program: command line, file systems, host, network, main.

firmware/main.c imports this at each start. Each step is a function; `main()` at the
end reads as the list of them. What the prompt does not need is not imported here.
"""

import os
import sys

from micropython import const

from stack import config, crypto

# How long a boot waits for an address before the prompt appears without one.
_LEASE_WAIT_US = const(2000000)
_BLOCK = const(4096)


def say(text):
    print(text)


# File systems.


class RamBlocks:
    """A block device in memory, for VfsLfs2."""

    def __init__(self, buf, copy):
        self._buf = buf
        self._copy = copy

    def readblocks(self, block, buf, off=0):
        self._copy(buf, 0, self._buf, block * _BLOCK + off, len(buf))

    def writeblocks(self, block, buf, off=0):
        self._copy(self._buf, block * _BLOCK + off, buf, 0, len(buf))

    def ioctl(self, op, _arg):
        if op == 4:
            return len(self._buf) // _BLOCK
        if op == 5:
            return _BLOCK
        return 0


def ram_disk_size(ram):
    """1/128 of memory, from 256 KB to 8 MB, in whole blocks. Touching a fresh MB costs 4 ms."""
    n = ram >> 7
    return min(max(n, 256 << 10), 8 << 20) // _BLOCK * _BLOCK


def mount_ram(hw):
    """A fresh file system in memory at /."""
    import vfs

    blocks = RamBlocks(hw.dma(ram_disk_size(hw.ram())), hw.copy)
    vfs.VfsLfs2.mkfs(blocks, readsize=256, progsize=256)
    vfs.mount(vfs.VfsLfs2(blocks, readsize=256, progsize=256, mtime=True), "/")
    os.chdir("/")


def mount_initrd(hw, say):
    """The initrd, a ROMFS, read-only at /app. True if there is one."""
    image = hw.initrd()
    if image is None:
        return False
    import vfs

    try:
        vfs.mount(vfs.VfsRom(image), "/app", readonly=True)
    except OSError:
        say("initrd: not a ROMFS image; ignored")
        return False
    return True


def mount_roots():
    """Mozilla's roots, frozen as a ROMFS, at /etc/ssl. They are read where they lie."""
    try:
        import cacerts
    except ImportError:
        return
    import vfs

    vfs.mount(vfs.VfsRom(memoryview(cacerts.ROMFS)), "/etc/ssl", readonly=True)


def search_path(app):
    """sys.path: the program's own modules, then what is frozen, then what was installed."""
    sys.path[:] = (["/app"] if app else []) + ["", ".frozen", "/lib"]


class Sys:
    """`sys` with `sys.net`: the built-in module cannot be given names, so this stands before it."""

    __name__ = "sys"

    def __getattr__(self, name):
        if name == "net":
            import net

            return net
        return getattr(sys, name)

    def __setattr__(self, name, value):
        setattr(sys, name, value)

    def __repr__(self):
        return repr(sys)


# The network.


def start_host(hw, cfg, say):
    """Devices, host and runtime. Returns the Runtime."""
    from drivers.probe import find_nics, places
    from stack.api import _runtime
    from stack.api._random import Random
    from stack.host import Host

    host = make_host(Host, hw, Random(hw), cfg.hostname)
    runtime = _runtime.Runtime(host, hw)
    at = places(hw, cfg.virtio_mmio)
    for device in find_nics(hw, host.stats, say, at):
        host.add_interface(device)
    hw.at_reset(host.stop)
    _runtime.install(runtime)
    return runtime


def make_host(Host, hw, rng, hostname):
    """A Host whose buffers and frames lie in DMA memory, in shares of what there is."""
    from drivers import dma
    from stack.core.mem import Buffers

    buffers = Buffers(hw.dma, hw.dma_left() >> 1)
    return Host(hw.ticks_us, rng, buffers, dma.frame_pool(hw), hostname)


def configure(runtime, cfg, say):
    """Give the first interface its addresses, and others what is said of them by name."""
    host = runtime.host
    hw = runtime.hw
    hw.lock()
    try:
        now = hw.ticks_us()
        first = True
        for iface in host.interfaces:
            if iface.loopback or not first:
                continue
            first = False
            configure_one(host, iface, cfg, now, say, tuple(cfg.dns), tuple(cfg.dns6))
        for name in sorted(cfg.others):
            iface = find_interface(host, name)
            if iface is None:
                say("no such interface: %s" % name)
            else:
                configure_one(host, iface, cfg.others[name], now, say)
        host.poll(now)
    finally:
        hw.unlock()
    hw.on_event(runtime.on_event)
    hw.timer(host.poll_at())


def configure_one(host, iface, said, now, say, dns=(), dns6=()):
    """Addresses of one interface as the command line has them."""
    try:
        host.configure(iface, said.ip, now, said.address, said.prefix, said.gateway, dns)
        mode, raw, length = said.ip6, None, 0
        if mode not in ("auto", "none"):
            raw, length = config.split6(mode)
            mode = "static"
        gateway = config.ip6(said.gateway6) if said.gateway6 else None
        host.configure6(iface, mode, now, raw, length, gateway, dns6)
    except (ValueError, OSError) as e:
        say("%s: %s" % (iface.name, e))


def find_interface(host, name):
    """The Interface of a name; "eth0.5" is made, VLAN 5 of eth0. None if there is none."""
    iface = host.interface(name)
    i = name.rfind(".")
    if iface is None and i > 0:
        vid = config.number(name[i + 1 :], 4094)
        below = host.interface(name[:i])
        if below is not None and vid > 0:
            return host.add_vlan(below, vid)
    return iface


def has_address(iface, cfg):
    """True once there is an address to work with."""
    if cfg.ip != "none":
        return iface.addr != 0
    for a in iface.auto.addresses:
        if a.state > 0 and a.origin != "link":
            return True
    return False


def wait_for_lease(runtime, cfg):
    """Wait until the first interface has an address, for a while."""
    if cfg.ip != "dhcp" and not (cfg.ip == "none" and cfg.wait6):
        return
    end = runtime.now() + _LEASE_WAIT_US
    for iface in runtime.host.interfaces:
        if not iface.loopback:
            while not has_address(iface, cfg) and iface.up and runtime.now() < end:
                runtime.wait(end)
            return


def log_keys(cfg, say):
    """Write TLS keys where the command line says: keylog=."""
    if cfg.keylog:
        from stack.api import tls

        tls.key_log(cfg.keylog)
        say("keylog: whoever reads %s reads all that TLS protects" % cfg.keylog)


def describe(iface, host):
    """An interface in a line: eth0 virtio-net 52:54:00:12:34:56 10.0.2.15/24 gw ... dns ..."""
    from stack.net import addr

    mac = ":".join(["%02x" % (iface.mac >> i & 255) for i in range(40, -1, -8)])
    words = [iface.name, iface.device.driver, mac]
    six = [a.text() for a in iface.auto.addresses if a.state > 0 and a.origin != "link"]
    if not iface.up:
        words.append("no link")
    elif iface.addr or six:
        if iface.addr:
            words.append(addr.format_cidr(iface.addr, iface.prefix))
        words += six
        route = host.routes.default(iface)
        if route is not None and route.gateway:
            words += ["gw", addr.format(route.gateway)]
        if host.dns:
            words += ["dns", ",".join([_text(host, a) for a in host.dns])]
    elif host.dhcp(iface) is not None:
        return "%s: no DHCP answer yet, still asking" % " ".join(words)
    else:
        words.append("no address")
    return " ".join(words)


def _text(host, a):
    from stack.net import addr, addr6

    if a < addr6.V6:
        return addr.format(a)
    raw = host.ip6.addresses.bytes(a)
    return addr6.format(raw) if raw is not None else "?"


# The program.


def find_main(cfg, app):
    """What to run: ("file", path), ("module", name), or None."""
    if cfg.main:
        for folder in sys.path:
            if folder != ".frozen":
                path = folder + "/" + cfg.main.replace(".", "/") + ".py"
                if _is_file(path):
                    return "file", path
        return "module", cfg.main
    if app and _is_file("/app/main.py"):
        return "file", "/app/main.py"
    if app and _is_file("/app/main.mpy"):
        return "module", "main"
    return "frozen", "main"


def _is_file(path):
    try:
        return os.stat(path)[0] & 0x8000 != 0
    except OSError:
        return False


def run(kind, what):
    """Run the program; SystemExit and other exceptions pass."""
    if kind == "file":
        import __main__

        # As on a board: __name__ is "__main__", and the prompt finds its variables.
        with open(what) as f:
            code = compile(f.read(), what, "exec")
        exec(code, __main__.__dict__)
    else:
        try:
            __import__(what)
        except ImportError as e:
            if kind != "frozen" or str(e) != "no module named 'main'":
                raise
            return False
    return True


def run_main(hw, cfg, app, runtime):
    """Run the program if there is one. With exit=1 its end is the machine's."""
    kind, what = find_main(cfg, app)
    runtime.in_main = True
    try:
        ran = run(kind, what)
    except SystemExit:
        raise  # firmware/main.c ends the machine with its status
    except BaseException as e:
        sys.print_exception(e)
        if cfg.exit:
            hw.exit(1)
        return
    finally:
        runtime.in_main = False
    if ran and cfg.exit:
        hw.exit(0)


def main(hw):
    cfg, complaints = config.parse(hw.cmdline())
    for text in complaints:
        say(text)
    mount_ram(hw)
    app = mount_initrd(hw, say)
    mount_roots()
    search_path(app)
    sys.modules["sys"] = Sys()
    crypto.machine = hw
    runtime = start_host(hw, cfg, say)
    log_keys(cfg, say)
    configure(runtime, cfg, say)
    wait_for_lease(runtime, cfg)
    for iface in runtime.host.interfaces:
        if not iface.loopback:
            say(describe(iface, runtime.host))
    if not hw.raw():
        run_main(hw, cfg, app, runtime)


try:
    import hw
except ImportError:
    hw = None
if hw is not None:
    main(hw)
