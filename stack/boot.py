"""From power-on to the program: command line, file systems, host, network, main.

firmware/main.c imports this at each start. Each step is a function; `main()` at the
end reads as the list of them. What the prompt does not need is not imported here.
"""

import gc
import os
import sys

import micropython
from micropython import const

from drivers.device import DeviceError
from stack import config, crypto, files

# How long a boot waits for an address before the prompt appears without one.
_LEASE_WAIT_US = const(2000000)
# Bytes allocated between two collections: a pause grows with the heap that was touched since the
# last one (about 1 million instructions a MB), and a large heap would be touched whole.
_COLLECT_EVERY = const(4 << 20)


def say(text):
    print(text)


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


# Devices and file systems.


def image_defaults():
    """Keys that the image was built with (images/NAME/cmdline); those of the loader win."""
    try:
        from image_defaults import CMDLINE
    except ImportError:
        return ""
    return CMDLINE + " "


def read_config(hw, say):
    """The command line, and behind it what fw_cfg has of one. (Config, FwCfg or None)."""
    from stack.devices import CMDLINE, firmware_files

    fw_cfg = firmware_files(hw)
    line = image_defaults() + hw.cmdline()
    more = []
    try:
        if fw_cfg is not None and CMDLINE in fw_cfg.names():
            line += " " + fw_cfg.read(CMDLINE).decode()
    except (OSError, ValueError, DeviceError) as e:
        more.append("fw_cfg: %s: %s" % (CMDLINE, e))
    cfg, complaints = config.parse(line)
    complaints += more
    for text in complaints:
        say(text)
    return cfg, fw_cfg


def find_devices(hw, cfg, fw_cfg, say):
    """Everything but the network cards, started. A stack.devices.Devices."""
    from drivers.probe import places
    from stack.devices import Devices

    return Devices(hw, places(hw, cfg.virtio_mmio), say, fw_cfg)


def mount_root(hw, devices, say):
    """`/` from a disk that has one, else in memory. True if it is a disk's."""
    kept = False
    if devices.disks:
        from stack.disks import mount_disks

        devices.volumes, kept = mount_disks(hw, devices.disks, say)
    if not kept:
        files.mount_ram(hw)
    os.chdir("/")
    return kept


# The network.


def start_host(hw, cfg, devices, say, kept):
    """Host, network cards and runtime. Returns the Runtime. kept: `/` is a disk's."""
    from drivers import hotplug
    from drivers.probe import find_nics
    from stack.api import _runtime
    from stack.api._random import Random
    from stack.devices import SECRET6
    from stack.host import Host

    rng = Random(hw, devices.entropy)
    if not rng.strong:
        say("random: neither RDRAND nor a virtio-rng: no keys, and ports can be guessed")
    host = make_host(Host, hw, rng, cfg.hostname)
    fw_cfg = devices.fw_cfg
    if kept or fw_cfg is not None and SECRET6 in fw_cfg.names():
        from stack.identity import secret6

        host.secret6 = secret6(host.secret6, rng.strong, fw_cfg, kept, say)
    runtime = _runtime.Runtime(host, hw, devices)
    for device in find_nics(hw, host.stats, say, devices.at, cfg.forward):
        host.add_interface(device)
    runtime.watch_cards(hotplug.find(hw, devices.at))
    hw.at_reset(runtime.stop)
    _runtime.install(runtime)
    devices.look_after(host.timers, hw.ticks_us())
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


def announce(cfg):
    """With mdns=1 answer to our name under .local."""
    if cfg.mdns:
        from stack.api import dns

        dns.announce()


def log_keys(cfg, say):
    """Write TLS keys where the command line says: keylog=."""
    if cfg.keylog:
        from stack.api import tls

        tls.key_log(cfg.keylog)
        say("keylog: whoever reads %s reads all that TLS protects" % cfg.keylog)


def trace_tcp(cfg):
    """Trace TCP's connections to QEMU's debug port: trace=."""
    if cfg.trace >= 0:
        from stack.api import _trace, net

        net.trace(cfg.trace, _trace.DebugPort())


def tell_listeners(hw, cfg, tcp):
    """Say which ports are listened on to QEMU's debug port 0x5EA: listening=."""
    if cfg.listening:
        listen = tcp.listen

        def told(addr, port, *rest, **more):
            l = listen(addr, port, *rest, **more)
            if addr >> 24 != 127:
                for b in b"%d\n" % l.local_port:
                    hw.outb(0x5EA, b)
            return l

        tcp.listen = told


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


def find_main(cfg, app, kept=False):
    """What to run: ("file", path), ("module", name) or ("frozen", name).

    kept: `/` is a disk's, and its main.py the program of this machine."""
    if cfg.main:
        for folder in sys.path:
            if folder != ".frozen":
                path = folder + "/" + cfg.main.replace(".", "/") + ".py"
                if files.is_file(path):
                    return "file", path
        return "module", cfg.main
    if app and files.is_file("/app/main.py"):
        return "file", "/app/main.py"
    if app and files.is_file("/app/main.mpy"):
        return "module", "main"
    if kept and files.is_file("/main.py"):
        return "file", "/main.py"
    return "frozen", "main"


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
            module = __import__(what)
        except ImportError as e:
            if kind != "frozen" or str(e) != "no module named 'main'":
                raise
            return False
        if kind == "frozen":
            import __main__

            # The prompt finds what an image's program defines, as it does a file's.
            for name in dir(module):
                if not name.startswith("__"):
                    setattr(__main__, name, getattr(module, name))
    return True


def run_main(hw, cfg, app, runtime, kept=False):
    """Run the program if there is one. With exit=1 its end is the machine's."""
    kind, what = find_main(cfg, app, kept)
    runtime.in_main = True
    try:
        if kept and files.is_file("/boot.py"):
            run("file", "/boot.py")
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


def share_prompt(cfg, say):
    """With console=hvc0 the prompt is on that port too."""
    if cfg.console:
        from os import dupterm

        from stack.api._uart import UART

        try:
            dupterm(UART(cfg.console))
        except ValueError:
            say("command line: no console hvc%d" % (cfg.console - 1))


def main(hw):
    gc.threshold(_COLLECT_EVERY)
    micropython.alloc_emergency_exception_buf(256)
    cfg, fw_cfg = read_config(hw, say)
    devices = find_devices(hw, cfg, fw_cfg, say)
    kept = mount_root(hw, devices, say)
    app = files.mount_initrd(hw, say)
    files.mount_roots()
    search_path(app)
    sys.modules["sys"] = Sys()
    crypto.machine = hw
    runtime = start_host(hw, cfg, devices, say, kept)
    log_keys(cfg, say)
    trace_tcp(cfg)
    tell_listeners(hw, cfg, runtime.host.tcp)
    share_prompt(cfg, say)
    configure(runtime, cfg, say)
    wait_for_lease(runtime, cfg)
    for iface in runtime.host.interfaces:
        if not iface.loopback:
            say(describe(iface, runtime.host))
    announce(cfg)
    if not hw.raw():
        run_main(hw, cfg, app, runtime, kept)


try:
    import hw
except ImportError:
    hw = None
if hw is not None:
    main(hw)
