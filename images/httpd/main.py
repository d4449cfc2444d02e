"""The image httpd: the files of a romfs over HTTP/1.1 and HTTP/2, for as many clients as come.

The files lie in /app/www (the module of the ISO or disk, `-initrd` with the ELF), else on
the card's own disk in /www: with ETag, ranges and types. Port 80, and 443 over TLS where
/app/cert.pem and /app/key.pem are. All else is net.httpd (stack/api/httpd.py).

Not implemented: listing a folder.
"""

import asyncio
import os

from net import httpd

ROOTS = ("/app/www", "/www")


def exists(path):
    try:
        os.stat(path)
        return True
    except OSError:
        return False


def tls():
    """An SSLContext of the certificate that is there, or None."""
    if not exists("/app/cert.pem"):
        return None
    import ssl

    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain("/app/cert.pem", "/app/key.pem")
    context.set_alpn_protocols(["h2", "http/1.1"])
    return context


async def main(folder):
    server = await httpd.serve(httpd.static(folder), port=80)
    print("httpd: serving %s on port 80" % folder)
    context = tls()
    if context is not None:
        await server.listen(port=443, ssl=context)
        print("httpd: and on port 443")
    while True:
        await asyncio.sleep(3600)


FOLDER = next((f for f in ROOTS if exists(f)), None)
if FOLDER is None:
    print("httpd: neither /app/www nor /www is there: nothing to serve")
else:
    asyncio.run(main(FOLDER))
