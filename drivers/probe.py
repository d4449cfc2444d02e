"""Where the devices are, and which network cards among them a driver knows.

A driver is a row of `_DRIVERS`: (does it know what is at this place, start it).
"""

from drivers import e1000, pci, virtio
from drivers.device import DeviceError
from drivers.virtio import mmio


def places(hw, named=()):
    """What a driver may know: PCI functions, then the Slots of virtio over MMIO.

    named: (base, line) of the slots that the command line names. Without PCI the slots
    of QEMU's microvm are looked at as well.
    """
    functions = pci.scan(hw)
    return functions + mmio.scan(hw, named, not functions)


def _is_virtio_net(place):
    return virtio.kind(place) == virtio.NET


def _start_virtio(hw, place, name, stats, plain):
    from drivers.virtio_net.nic import VirtioNet

    return VirtioNet(hw, virtio.transport(hw, place), name, stats, plain)


def _start_e1000(hw, function, name, stats, plain):
    from drivers.e1000.nic import E1000

    card = E1000(hw, function, name, stats)
    card.join = not plain
    return card


_DRIVERS = ((_is_virtio_net, _start_virtio), (e1000.known, _start_e1000))


def find_nics(hw, stats=None, log=print, at=None, plain=False):
    """The network devices that work, named eth0, eth1... in the order of `at`.

    at: of `places`. One that does not work is logged, and its name left out. plain: what comes
    in is as it was on the wire, its checksums complete and no packet longer than the MTU.
    """
    found = []
    n = 0
    for place in places(hw) if at is None else at:
        for known, start in _DRIVERS:
            if not known(place):
                continue
            name = "eth%d" % n
            n += 1
            try:
                found.append(start(hw, place, name, stats, plain))
            except (DeviceError, MemoryError) as e:
                log("%s: %s: %s" % (name, place, e))
            break
    return found
