"""What every device has in common: the contract of ARCHITECTURE.md ("Devices"), with its defaults.

A device that wraps another passes on what it does not change (`Wrapper`).
"""

from stack.core.stats import Stats
from stack.core.timers import NEVER


class DeviceError(Exception):
    """A device that is not there, cannot be driven, or answers against its specification."""


class Device:
    driver = "none"

    def __init__(self, name, mac, mtu, stats=None):
        self.name = name
        self.mac = mac
        self.mtu = self.mtu_max = mtu
        self.caps = 0
        self.gso_max = 0
        self.link_up = True
        self.error = None  # why the device was stopped, in words
        self.stats = stats if stats is not None else Stats()

    def rx(self, sink, budget):
        return 0

    def tx(self, frame):
        frame.release()
        return True

    def flush(self):
        pass

    def tx_space(self):
        return 1

    def tx_mark(self):
        """A mark for tx_passed: behind all that tx has taken so far."""
        return 0

    def tx_passed(self, mark):
        """True when no frame taken before `mark` is read any more: its `data` may be freed."""
        return True

    def sleep(self):
        return False

    def poll_at(self):
        """When the device itself wants to be polled, us, without an interrupt; or NEVER."""
        return NEVER

    def on_interrupt(self):
        pass

    def gone(self):
        """True if the card was pulled; the device is stopped then."""
        return False

    def stop(self):
        self.link_up = False


class Wrapper(Device):
    """A device around a device, changing nothing."""

    def __init__(self, inner):
        self.inner = inner
        self.name = inner.name
        self.driver = inner.driver
        self.mac = inner.mac
        self.caps = inner.caps
        self.gso_max = inner.gso_max
        self.stats = inner.stats

    # What changes while the device runs is asked for each time.

    @property
    def mtu(self):
        return self.inner.mtu

    @property
    def mtu_max(self):
        return self.inner.mtu_max

    @property
    def link_up(self):
        return self.inner.link_up

    @property
    def error(self):
        return self.inner.error

    def rx(self, sink, budget):
        return self.inner.rx(sink, budget)

    def tx(self, frame):
        return self.inner.tx(frame)

    def flush(self):
        self.inner.flush()

    def tx_space(self):
        return self.inner.tx_space()

    def tx_mark(self):
        return self.inner.tx_mark()

    def tx_passed(self, mark):
        return self.inner.tx_passed(mark)

    def sleep(self):
        return self.inner.sleep()

    def poll_at(self):
        return self.inner.poll_at()

    def on_interrupt(self):
        self.inner.on_interrupt()

    def gone(self):
        return self.inner.gone()

    def stop(self):
        self.inner.stop()
