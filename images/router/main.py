"""The image router: IPv4 between two networks, the inner ones behind eth0's address (NAT44); IPv6.

eth0 is outside and has its address by DHCP (`ip=`); eth1 is inside, 192.168.77.1/24 (`eth1.ip=`).
`/app/publish.txt` has lines `tcp PORT ADDRESS PORT`: what comes to a port outside goes inside.
IPv6 is forwarded as it is, unfiltered, with `ip6=ADDR/LEN gw6=ADDR eth1.ip6=ADDR/LEN`; hosts inside
have their addresses and the route by hand (no advertisements).
`stats()` at the prompt has the counters.
"""

import net

from stack.net import addr

PROTOCOLS = {"tcp": 6, "udp": 17}


def publish(nat, lines):
    """Map ports as the lines say; what is wrong with one is printed."""
    for line in lines:
        words = line.split("#")[0].split()
        if not words:
            continue
        try:
            proto, outside, address, inside = words
            nat.publish(PROTOCOLS[proto], int(outside), addr.parse(address), int(inside))
        except (ValueError, KeyError) as e:
            print("publish.txt: %r: %s" % (line.strip(), e))


def stats():
    """Packets and bytes forwarded, translations under way, drops by reason."""
    return dict(router.info(), drops=net.stats()["drops"])


router = net.router("eth0")
try:
    with open("/app/publish.txt") as f:
        publish(router.nat, f)
except OSError:
    pass
for i in net.interfaces():
    if i["driver"] != "loopback":
        print("router: %s %s" % (i["name"], " ".join([i["ip4"] or "no address"] + i["ip6"])))
