"""ARP for IPv4 over Ethernet.

RFC 826. Layout (28 bytes; Ethernet pads the frame):

    0  hardware type = 1     2  protocol type = 0x0800
    4  hardware length = 6   5  protocol length = 4
    6  operation: 1 request, 2 reply
    8  sender MAC (6)        14 sender IPv4 (4)
    18 target MAC (6)        24 target IPv4 (4)

Not implemented: other hardware or protocol types, RARP (dropped).
"""

from micropython import const

from stack.core import be
from stack.wire import ethernet

LEN = const(28)
REQUEST = const(1)
REPLY = const(2)


class Arp:
    """The packet parsed last: `op`, MACs as 48-bit and addresses as 32-bit ints."""

    __slots__ = ("op", "sender_mac", "sender_addr", "target_mac", "target_addr", "why")

    def __init__(self):
        self.op = self.sender_mac = self.sender_addr = 0
        self.target_mac = self.target_addr = 0
        self.why = ""

    def parse(self, f):
        """Read the packet at f.off, trim f to it. False: drop, `why` names the counter."""
        b = f.buf
        o = f.off
        if f.end - o < LEN:
            self.why = "arp.truncated"
            return False
        # Hardware Ethernet, protocol IPv4, lengths 6 and 4.
        if be.get32(b, o) != 0x00010800 or be.get16(b, o + 4) != 0x0604:
            self.why = "arp.type"
            return False
        self.op = op = be.get16(b, o + 6)
        if op != REQUEST and op != REPLY:
            self.why = "arp.operation"
            return False
        self.sender_mac = ethernet.get_mac(b, o + 8)
        self.sender_addr = be.get32(b, o + 14)
        self.target_mac = ethernet.get_mac(b, o + 18)
        self.target_addr = be.get32(b, o + 24)
        f.end = o + LEN
        return True


def build(buf, off, op, sender_mac, sender_addr, target_mac, target_addr):
    """Write the 28 bytes of a packet at buf[off:]."""
    be.put32(buf, off, 0x00010800)
    be.put16(buf, off + 4, 0x0604)
    be.put16(buf, off + 6, op)
    ethernet.put_mac(buf, off + 8, sender_mac)
    be.put32(buf, off + 14, sender_addr)
    ethernet.put_mac(buf, off + 18, target_mac)
    be.put32(buf, off + 24, target_addr)


def emit(frame, op, sender_mac, sender_addr, target_mac, target_addr):
    """Put a packet in front of what the frame holds (nothing)."""
    build(
        frame.buf, frame.prepend(LEN), op, sender_mac, sender_addr, target_mac, target_addr
    )
