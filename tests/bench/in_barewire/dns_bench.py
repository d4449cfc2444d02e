# The benchmark's resolver inside Barewire: dns_bench.start(HINTS, ANCHOR) answers on port 53.
import asyncio

import net


def start(hints, anchor):
    server = net.dns.Server(net.dns.Resolver(hints, anchor))
    server.udp()
    asyncio.create_task(server.serve())
    return "ready"
