"""VLANs: an interface over an interface, whose frames carry an 802.1Q tag.

IEEE 802.1Q, section 9: behind the addresses 0x8100, then priority (3 bits), DEI, VLAN id (12).
A `Vlan` is a device to its own Interface; the interface below hands it the frames with its
id and sends what it has tagged.

Not implemented: stacked tags (802.1ad), priorities other than 0.
"""

from micropython import const

from stack.core import be
from stack.core.mem import copy
from stack.core.timers import NEVER
from stack.wire import ethernet

TAG_LEN = const(4)


class Vlan:
    """The device of VLAN `vid` (1 to 4094) on the Interface `below`. ValueError."""

    driver = "vlan"

    def __init__(self, below, vid):
        if not 0 < vid < 4095:
            raise ValueError("a VLAN id is 1 to 4094: %d" % vid)
        self.below = below
        self.vid = vid
        self.name = "%s.%d" % (below.name, vid)
        d = below.device
        self.mac = d.mac
        self.mtu = d.mtu
        self.caps = d.caps
        self.gso_max = d.gso_max
        self.error = None
        self.iface = None

    @property
    def link_up(self):
        return self.below.up

    def receive(self, f, now):
        """A frame of ours from below, at its Ethernet header: without the tag it goes up."""
        o = f.off
        # The addresses move up to the type behind the tag.
        copy(f.buf, o + TAG_LEN, f.buf, o, 12)
        f.off = o + TAG_LEN
        i = self.iface
        i.now = now
        i.rx_frames += 1
        i.on_frame(f)

    def tx(self, f):
        o = f.off - TAG_LEN
        b = f.buf
        copy(b, o, b, f.off, 12)
        be.put16(b, o + 12, ethernet.TYPE_VLAN)
        be.put16(b, o + 14, self.vid)
        f.off = o
        if self.below.tx(f):
            return True
        # Refused: as it was.
        copy(b, o + TAG_LEN, b, o, 12)
        f.off = o + TAG_LEN
        return False

    def rx(self, sink, budget):
        return 0

    def flush(self):
        pass  # the device below does, with its own

    def tx_space(self):
        return self.below.device.tx_space()

    def tx_mark(self):
        return self.below.device.tx_mark()

    def tx_passed(self, mark):
        return self.below.device.tx_passed(mark)

    def sleep(self):
        return False

    def poll_at(self):
        return NEVER

    def on_interrupt(self):
        pass

    def stop(self):
        pass
