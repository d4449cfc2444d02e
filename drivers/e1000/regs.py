"""Registers of the 82540EM and the 82574L: their places, reset, EEPROM, link.

"PCI/PCI-X Family of Gigabit Ethernet Controllers Software Developer's Manual"
(8254x) and "82574 GbE Controller Family Datasheet"; sections of the former, 13
and 14.3, describe each register, and of the latter, 10.2. A register has 32
bits and is read and written whole.

Not implemented: the PHY (it negotiates by itself after a reset), flash, wake-up,
statistics, VLAN filters, MSI and MSI-X.
"""

from micropython import const

from drivers.device import DeviceError

# Device id: (name, bits of EERD: done and where the address begins, largest MTU).
# 8254x 13.4.4, 82574L 10.2.2.5; frames of 16,128 bytes and of 9,018 (82574L, 1.4).
KINDS = {
    0x100E: ("e1000", 1 << 4, 8, 16110),  # 82540EM
    0x100F: ("e1000", 1 << 4, 8, 16110),  # 82545EM, its twin for servers
    0x10D3: ("e1000e", 1 << 1, 2, 9000),  # 82574L
}
E1000E = const(0x10D3)

BAR_LEN = const(0x5800)  # as much of BAR 0, which has 128 KB, as is used

CTRL = const(0x0000)
STATUS = const(0x0008)
_EERD = const(0x0014)
_CTRL_EXT = const(0x0018)
ICR = const(0x00C0)
ITR = const(0x00C4)
IMS = const(0x00D0)
IMC = const(0x00D8)
RCTL = const(0x0100)
TCTL = const(0x0400)
TIPG = const(0x0410)
RDBAL = const(0x2800)
RDT = const(0x2818)
TDBAL = const(0x3800)
TDH = const(0x3810)
TDT = const(0x3818)
TXDCTL = const(0x3828)
RXCSUM = const(0x5000)
_RAL = const(0x5400)
_RAH = const(0x5404)
# From the base address register of a ring: BAH, LEN, HEAD, TAIL.
_RING_HIGH, _RING_LEN, _RING_HEAD, _RING_TAIL = const(4), const(8), const(0x10), const(0x18)

_CTRL_FD = const(1 << 0)
_CTRL_NO_MASTER = const(1 << 2)  # 82574L: start no more DMA
_CTRL_ASDE = const(1 << 5)
_CTRL_SLU = const(1 << 6)  # set link up
_CTRL_RST = const(1 << 26)
_STATUS_LU = const(1 << 1)
_STATUS_MASTER = const(1 << 19)
_CTRL_EXT_DRV_LOAD = const(1 << 28)

ICR_LSC = const(1 << 2)
# Receive: a frame is there; few buffers are left; none was; transmit: written back; link.
ICR_RX = const(1 << 7 | 1 << 4 | 1 << 6)
ICR_TXDW = const(1 << 0)

# Enable; all unicast and multicast; frames of over 1,522 bytes; broadcast; buffers of
# 2,048 bytes; no FCS. 13.4.22.
RCTL_RUN = const(1 << 1 | 1 << 3 | 1 << 4 | 1 << 5 | 1 << 15 | 0 << 16 | 1 << 26)
RCTL_LOOP = const(1 << 6)  # what is sent is received, and nothing goes or comes
# Enable; pad short frames; collision threshold and distance for full duplex. 13.4.33.
TCTL_RUN = const(1 << 1 | 1 << 3 | 0x0F << 4 | 0x40 << 12)
TCTL_KEEP = const(1 << 28)  # 82574L: several outstanding reads, as it came
TIPG_COPPER = const(8 | 8 << 10 | 6 << 20)
TXDCTL_COUNT = const(1 << 22)  # 82574L, 10.2.6.12: "must be set to 1b"
RXCSUM_ON = const(1 << 8 | 1 << 9)  # IP and TCP/UDP

GONE = const(0xFFFFFFFF)  # what a read of a card that was pulled gives

_RESET_US = const(100_000)
_EEPROM_US = const(50_000)
_EEPROM_WORDS = const(64)
_EEPROM_SUM = const(0xBABA)


class Registers:
    """The register file at `base` of a card of `device` id."""

    def __init__(self, hw, base, device):
        self._hw = hw
        self.base = base
        self.name, self._eerd_done, self._eerd_shift, self.mtu_max = KINDS[device]
        self.pcie = device == E1000E

    def read(self, register):
        return self._hw.read32(self.base + register)

    def write(self, register, v):
        self._hw.write32(self.base + register, v)

    def _wait(self, register, mask, value, us):
        """Read until the bits of `mask` have `value`. The register, or None after `us`."""
        hw = self._hw
        until = hw.ticks_us() + us
        while True:
            v = self.read(register)
            if v & mask == value and v != GONE:
                return v
            if hw.ticks_us() >= until:
                return None

    def reset(self):
        """No interrupts, no DMA, then CTRL.RST. 14.2, 82574L 4.6. False if it does not finish."""
        self.write(IMC, GONE)
        self.write(RCTL, 0)
        self.write(TCTL, 1 << 3)
        if self.pcie:
            # 82574L, 5.2.5.1: DMA must be still; a card that does not say so is reset as well.
            self.write(CTRL, self.read(CTRL) & ~_CTRL_RST | _CTRL_NO_MASTER)
            self._wait(STATUS, _STATUS_MASTER, 0, 1000)
        # 8254x 13.4.1: self-clearing, "may take several microseconds".
        self.write(CTRL, self.read(CTRL) & ~_CTRL_NO_MASTER | _CTRL_RST)
        if self._wait(CTRL, _CTRL_RST, 0, _RESET_US) is None:
            return False
        self.read(ICR)
        return True

    def set_link_up(self):
        self.write(CTRL, self.read(CTRL) | _CTRL_SLU | _CTRL_ASDE | _CTRL_FD)
        if self.pcie:
            self.write(_CTRL_EXT, self.read(_CTRL_EXT) | _CTRL_EXT_DRV_LOAD)

    def set_ring(self, first, address, n):
        """A ring of n bytes at `address`, empty. `first`: RDBAL or TDBAL. 13.4.25 to 29."""
        self.write(first, address & 0xFFFFFFFF)
        self.write(first + _RING_HIGH, address >> 32)
        self.write(first + _RING_LEN, n)
        self.write(first + _RING_HEAD, 0)
        self.write(first + _RING_TAIL, 0)

    def mac(self):
        """The address in the EEPROM; if its checksum is wrong, what the card has loaded. 5.6."""
        words = []
        for i in range(_EEPROM_WORDS):
            self.write(_EERD, 1 | i << self._eerd_shift)
            v = self._wait(_EERD, self._eerd_done, self._eerd_done, _EEPROM_US)
            if v is None:
                break
            words.append(v >> 16)
        if len(words) == _EEPROM_WORDS and sum(words) & 0xFFFF == _EEPROM_SUM:
            mac = b"".join([w.to_bytes(2, "little") for w in words[:3]])
        else:
            mac = self.read(_RAL).to_bytes(4, "little")
            mac += (self.read(_RAH) & 0xFFFF).to_bytes(2, "little")
        if mac[0] & 1 or not any(mac):
            raise DeviceError("%s: neither EEPROM nor card has a MAC address" % self.name)
        return mac

    def link_up(self):
        """STATUS.LU; of a card that is gone False. 13.4.2."""
        v = self.read(STATUS)
        return v != GONE and v & _STATUS_LU != 0
