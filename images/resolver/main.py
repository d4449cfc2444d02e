"""The image resolver: a validating recursive resolver for its network.

UDP and TCP on port 53; TLS (RFC 7858) on 853 where a certificate is given. By default it
starts from IANA's root servers and trust anchors. /app/resolver.json (in the module of the
ISO or disk, `-initrd` with the ELF) may say otherwise:

    {"root_hints": ["10.0.0.1"], "trust_anchor": "20326 8 2 E06D..." or "/app/root.key",
     "cert": "/app/cert.pem", "key": "/app/key.pem", "cache": 1048576}
"""

import asyncio
import json
import ssl

import net

CONFIG = "/app/resolver.json"


def configuration():
    try:
        with open(CONFIG) as f:
            return json.load(f)
    except OSError:
        return {}


def start(said):
    """(Server, SSLContext or None) as the configuration says."""
    options = {k: said[k] for k in ("root_hints", "trust_anchor", "cache") if k in said}
    server = net.dns.Server(net.dns.Resolver(**options))
    server.udp()
    context = None
    if "cert" in said:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(said["cert"], said["key"])
    return server, context


async def main():
    global server
    server, context = start(configuration())
    await server.listen(tls=context)
    print("resolver: UDP and TCP 53" + (", TLS 853" if context else ""))
    await server.serve()


asyncio.run(main())
