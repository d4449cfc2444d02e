"""Intel's 8254x and 82574L: see README.md. This much is imported to look for one."""

VENDOR = 0x8086
# 82540EM, its twin for servers 82545EM, and 82574L.
DEVICES = (0x100E, 0x100F, 0x10D3)


def known(place):
    """Whether what is at a place of the bus is such a card."""
    return place.vendor == VENDOR and place.device in DEVICES
