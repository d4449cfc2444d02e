"""A virtio device that answers requests: how it is started and stopped (virtio 1.2, 3.1.1).

Not implemented: renegotiating features, resetting one queue (2.6.1).
"""

from micropython import const

from drivers.device import DeviceError
from drivers.virtio.queue import RequestQueue

# 2.1 device status
_ACKNOWLEDGE = const(1)
_DRIVER = const(2)
_DRIVER_OK = const(4)
_FEATURES_OK = const(8)
_FAILED = const(128)

_F_VERSION_1 = const(1 << 32)
# Addresses are physical here: no IOMMU is switched on.
_F_ACCESS_PLATFORM = const(1 << 33)


class RequestDevice:
    """Starts the device behind `transport`, or raises DeviceError and leaves it reset.

    wanted: the device's feature bits that the driver knows. counts: the most descriptors
    of each queue."""

    def __init__(self, hw, transport, wanted, counts):
        self._hw = hw
        self._transport = t = transport
        self.error = None  # why the device was stopped, in words
        if not t.reset():
            raise DeviceError("virtio: the device does not come out of reset")
        try:
            t.add_status(_ACKNOWLEDGE)
            t.add_status(_DRIVER)
            self._negotiate(wanted | _F_VERSION_1 | _F_ACCESS_PLATFORM)
            self._configure()
            if t.queue_count() < len(counts):
                raise DeviceError("virtio: %d queues" % t.queue_count())
            self._queues = [RequestQueue(hw, t, i, n) for i, n in enumerate(counts)]
            for q in self._queues:
                q.interrupts(False)
            entries = t.set_interrupts(len(counts))
            self.interrupts = t.interrupts
            for q, entry in zip(self._queues, entries):
                t.set_queue(q, entry)
        except DeviceError:
            t.add_status(_FAILED)
            t.close()
            raise
        t.add_status(_DRIVER_OK)

    def _negotiate(self, wanted):
        t = self._transport
        offered = t.features()
        if not t.legacy and not offered & _F_VERSION_1:
            raise DeviceError("virtio: the device does not offer virtio 1.x")
        self.features = f = offered & wanted
        t.accept(f)
        if t.legacy:
            return
        t.add_status(_FEATURES_OK)
        if not t.status() & _FEATURES_OK:
            raise DeviceError("virtio: the device does not take the features 0x%x" % f)

    def _configure(self):
        """Read the device's configuration; before its queues are made."""

    def _config(self, off, n):
        """A little-endian number of the configuration space. 2.5."""
        return int.from_bytes(self._transport.config_bytes(off, n), "little")

    def on_interrupt(self):
        """Acknowledge; called with every event, so that a shared line comes to rest."""
        if self.error is None:
            self._transport.config_changed()

    def stop(self, why="stopped"):
        """Reset the device: after this it touches no memory."""
        if self.error is None:
            self.error = why
            self._transport.reset()
            self._transport.close()
