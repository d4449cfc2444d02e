"""What every virtio device shares (virtio 1.2): where such devices are, and how they are reached.

A transport is what a device looks like to its driver, whatever the bus; `pci.py`
(4.1) and `mmio.py` (4.2) have one each:

    kind                         device type: NET, BLOCK...; section 5
    legacy                       True for a device before virtio 1.0 (2.4, 3.1.2): no
                                 FEATURES_OK, no VERSION_1, features in 32 bits
    reset() -> bool              status 0, waited for; False if the device does not come back
    status(), add_status(bits)   2.1
    features(), accept(bits)     2.2, both as one 64-bit int
    queue_count(), queue_size(i)
    set_queue(q, entry)          give the device a ring.Queue and switch it on
    notify(address, index)       a plain function: tell the device of queue `index`
    config16(off), config_bytes(off, n)   device configuration space, 2.5
    set_interrupts(queues)       MSI-X, a line or nothing: `interrupts` says which ("msix",
                                 "intx", "line", "none"); the entry of each queue, for set_queue
    config_changed() -> bool     acknowledge; did the configuration change since last asked
    vector, seen                 there is something to acknowledge if hw.irq_count(vector) !=
                                 seen; vector -1: it must be asked
    gone()                       whether the device was pulled
    close()                      no more interrupts, no more DMA

Not implemented: devices behind channel I/O (4.3).
"""

from micropython import const

from drivers.virtio import mmio, pci

# Section 5, device types.
NET = const(1)
BLOCK = const(2)
CONSOLE = const(3)
ENTROPY = const(4)


def kind(place):
    """The device type of a place of `drivers.probe.places`; 0 if no virtio device is there."""
    return place.kind if isinstance(place, mmio.Slot) else pci.kind(place)


def transport(hw, place):
    """The transport of the virtio device there. DeviceError if it cannot be driven."""
    if isinstance(place, mmio.Slot):
        return mmio.MmioTransport(hw, place)
    return pci.PciTransport(hw, place)
