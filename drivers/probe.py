"""Find the network cards: every driver that knows a function on the PCI bus starts it.

A driver is a row of `_PCI`: (does it know this function, start it). e1000 comes
as another row; virtio over MMIO, which has no bus to scan, as another loop in
`find_nics`.
"""

from drivers import pci
from drivers.device import DeviceError
from drivers.virtio_net import transport


def _start_virtio(hw, function, name, stats):
    from drivers.virtio_net.nic import VirtioNet

    return VirtioNet(hw, transport.PciTransport(hw, function), name, stats)


_PCI = ((transport.is_virtio_net, _start_virtio),)


def find_nics(hw, stats=None, log=print):
    """The devices that work, named eth0, eth1... in PCI order.

    One that does not work is logged, and its name left out.
    """
    found = []
    n = 0
    for function in pci.scan(hw):
        for known, start in _PCI:
            if not known(function):
                continue
            name = "eth%d" % n
            n += 1
            try:
                found.append(start(hw, function, name, stats))
            except (DeviceError, MemoryError) as e:
                log("%s: pci %s: %s" % (name, function, e))
            break
    return found
