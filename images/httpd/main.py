"""The image httpd: the files of a romfs by HTTP/1.1, for as many clients as come.

The files lie in /app/www (the module of the ISO or disk, `-initrd` with the ELF), else on
the card's own disk in /www. RFC 9110 for GET, HEAD and what answers them; RFC 9112 by stack/http.

Not implemented: ranges, validators, TLS, listing a folder.
"""

import asyncio
import errno
import os

from site_files import kind, locate

from stack.core.errors import ProtocolError
from stack.http import h1

PORT = 80
ROOTS = ("/app/www", "/www")
CLIENTS_MAX = 256  # tasks of about 3 KB with a buffer of 4 KB each: 2 MB
IDLE_S = 30  # how long a kept connection may say nothing
CHUNK = 4096

clients = 0


def root():
    """The folder that is served, or None."""
    for folder in ROOTS:
        try:
            os.stat(folder)
            return folder
        except OSError:
            pass
    return None


async def respond(writer, request, status, body, extra=()):
    """Answer with a short text of our own."""
    data = body.encode() + b"\n"
    fields = [("Content-Type", "text/plain; charset=utf-8")] + list(extra)
    if not request.keep_alive:
        fields.append(("Connection", "close"))
    writer.write(h1.build_response(status, fields, len(data)))
    if request.method != "HEAD":
        writer.write(data)
    await writer.drain()


async def send_file(writer, request, path, size):
    fields = [("Content-Type", kind(path))]
    if not request.keep_alive:
        fields.append(("Connection", "close"))
    writer.write(h1.build_response(200, fields, size))
    if request.method != "HEAD":
        with open(path, "rb") as f:
            buf = bytearray(CHUNK)
            view = memoryview(buf)
            while True:
                n = f.readinto(buf)
                if not n:
                    break
                writer.write(view[:n])
                await writer.drain()
    await writer.drain()


async def answer(writer, request, folder):
    """One request, whole. RFC 9110, sections 9.3.1, 9.3.2, 15."""
    if request.method not in ("GET", "HEAD"):
        # "The origin server MUST generate an Allow header field in a 405 response", 15.5.6.
        await respond(writer, request, 405, "Only GET and HEAD", [("Allow", "GET, HEAD")])
        return
    path, status, location = locate(folder, request.target)
    if status == 301:
        await respond(writer, request, 301, "There", [("Location", location)])
    elif status != 200:
        await respond(writer, request, status, "No such page")
    else:
        await send_file(writer, request, path, os.stat(path)[6])


async def next_request(reader, request):
    """Read until a request is complete. False: the client has gone, or said nothing for long."""
    while True:
        event = request.next_event()
        while event == h1.HEAD or event == h1.DATA:
            event = request.next_event()
        if event == h1.END:
            return request.method != ""
        try:
            data = await asyncio.wait_for(reader.read(CHUNK), IDLE_S)
        except asyncio.TimeoutError:
            return False
        if data:
            request.receive(data)
        else:
            request.receive_eof()


async def serve(reader, writer):
    global clients
    clients += 1
    request = h1.Request()
    try:
        while clients <= CLIENTS_MAX and await next_request(reader, request):
            await answer(writer, request, FOLDER)
            if not request.keep_alive:
                break
            request.again()
    except ProtocolError:
        request.keep_alive = False
        await respond(writer, request, request.fault_status, "Not understood")
    except OSError as e:
        if e.errno not in (errno.ECONNRESET, errno.EPIPE, errno.ETIMEDOUT):
            print("httpd:", e)
    finally:
        clients -= 1
        writer.close()
        try:
            await writer.wait_closed()
        except OSError:
            pass


async def main():
    server = await asyncio.start_server(serve, "0.0.0.0", PORT, backlog=64)
    print("httpd: serving %s on port %d" % (FOLDER, PORT))
    await server.wait_closed()


FOLDER = root()
if FOLDER is None:
    print("httpd: nothing to serve: no %s" % " and no ".join(ROOTS))
else:
    asyncio.run(main())
