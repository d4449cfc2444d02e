# The benchmark's HTTP server inside Barewire: net.httpd with one answer of 100 bytes.
import asyncio
import ssl

from net import httpd

ANSWER = httpd.Response(b"x" * 100, type="text/plain")


def app(request):
    return ANSWER


async def _start(chain, key):
    server = await httpd.serve(app, port=8088)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(chain, key)
    context.set_alpn_protocols(["h2", "http/1.1"])
    await server.listen(port=8443, ssl=context)


def start(chain, key):
    asyncio.create_task(_start(chain, key))
    return "started"
