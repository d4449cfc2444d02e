"""Run a program on the stack on a TAP, under MicroPython's unix port. `make unix-port` builds it.

    build/unix-port/micropython host/unixport/run.py TAP 10.88.0.2/24 FILE [ARG...]

The program finds MicroPython's modules as in the image. The kernel's end of the TAP is the
caller's to configure.
"""

import sys

import uos as os  # the port's own: `os` is the stack's, as in the image

_HERE = __file__.rsplit("/", 1)[0]
_TOP = _HERE + "/../.."
sys.path[:0] = [_HERE, _TOP, _TOP + "/images/lib"]


def start(ifname, address):
    """A running host on the TAP as the one that stack.api uses."""
    import hw
    from tap import Tap

    from stack.api import _runtime
    from stack.host import Host
    from stack.net import addr

    device = Tap(ifname)
    hw.devices.append(device)
    host = Host(hw.ticks_us, os.urandom)
    host.add_interface(device)
    runtime = _runtime.Runtime(host, hw)
    _runtime.install(runtime)
    text, prefix = address.split("/")
    iface = host.interfaces[-1]
    host.configure(iface, "static", hw.ticks_us(), addr.parse(text), int(prefix))
    hw.on_event(runtime.on_event)
    runtime.on_event()


start(sys.argv[1], sys.argv[2])
program = sys.argv[3]
sys.argv[:] = sys.argv[3:]
exec(compile(open(program).read(), program, "exec"), {"__name__": "__main__"})
