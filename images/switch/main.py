"""The image switch: all its network cards are ports of one learning bridge.

The switch itself is br0, with an address by DHCP. `stats()` at the prompt has the counters.
"""

import net
import network


def stats():
    """What each port saw and sent; drops by reason."""
    return {"ports": switch.info(), "drops": net.stats()["drops"]}


ports = sorted([i["name"] for i in net.interfaces() if i["driver"] != "loopback"])
switch = net.bridge(ports)
network.LAN(len(ports)).ipconfig(dhcp4=True)
print("switch: %s" % " ".join(ports))
