"""The image dashboard: a page by the machine about itself, live over a WebSocket.

Port 80 over HTTP/1.1 and HTTP/2, and 443 over TLS where /app/cert.pem and /app/key.pem are.
The page lies in /app/www and loads nothing from elsewhere. `/live` sends twice a second

    {"uptime", "interfaces", "connections", "packets", "dns", "memory", "drops"}

as JSON: connections with cwnd, srtt and bytes in flight, packets since the last time, as
`net.capture` prints them. Nothing is watched while nobody looks.
"""

import asyncio
import gc
import json
import os
import time

import net
from net import httpd

from stack.api._raw import line

PERIOD_MS = 500
PACKETS_MAX = 40  # of one message; what comes in between is counted
CLIENTS_MAX = 32

POLICY = (
    ("Content-Security-Policy", "default-src 'self'; connect-src 'self' ws: wss:"),
    ("X-Content-Type-Options", "nosniff"),
)


class Watch:
    """The frames of a card, while there are clients."""

    def __init__(self):
        self.clients = 0
        self._raw = None

    def enter(self):
        self.clients += 1
        if self._raw is None:
            names = [i["name"] for i in net.interfaces() if i["driver"] != "loopback"]
            if names:
                self._raw = net.raw(names[0], outgoing=True)

    def leave(self):
        self.clients -= 1
        if not self.clients and self._raw is not None:
            self._raw.close()
            self._raw = None

    def take(self):
        """(lines, how many frames more there were)"""
        lines = []
        more = 0
        while self._raw is not None:
            frame = self._raw.recv(0)
            if frame is None:
                break
            if len(lines) < PACKETS_MAX:
                lines.append(line(frame, self._raw.when, self._raw.length))
            else:
                more += 1
        return lines, more


watch = Watch()
snapshot_at = 0
snapshot_text = ""


def memory():
    s = net.stats()["buffers"]
    return {
        "heap_used": gc.mem_alloc(),
        "heap_free": gc.mem_free(),
        "buffers_used": s["in_use"],
        "buffers_limit": s["limit"],
    }


def snapshot():
    """What a client is sent: made once for all that want it within the same half second."""
    global snapshot_at, snapshot_text
    now = time.ticks_ms()
    if not snapshot_text or time.ticks_diff(now, snapshot_at) >= PERIOD_MS - 20:
        packets, more = watch.take()
        snapshot_at = now
        snapshot_text = json.dumps(
            {
                "uptime": now // 1000,
                "hostname": os.uname()[1],
                "interfaces": net.interfaces(),
                "connections": [shown(c) for c in net.connections()],
                "packets": packets,
                "more_packets": more,
                "dns": [dns_line(*e) for e in net.dns.cache()],
                "memory": memory(),
                "drops": net.stats()["drops"],
                "clients": watch.clients,
            }
        )
    return snapshot_text


def dns_line(name, type, left, records):
    return name, type, ", ".join([str(r.data) for r in records]) or "no such name", left


KEYS = ("proto", "state", "local", "remote", "cwnd", "srtt_us", "rcv_wnd", "in_flight",
        "retransmits", "snd_buf", "rcv_buf")  # fmt: skip


def shown(c):
    return {k: c[k] for k in KEYS if k in c}


async def live(request):
    if watch.clients >= CLIENTS_MAX:
        raise httpd.HttpError(503)
    ws = await request.websocket()
    watch.enter()
    listening = asyncio.create_task(until_closed(ws))
    try:
        while not ws.closed:
            # A client that does not keep up gets fewer, not late ones.
            if ws.buffered_amount == 0:
                await ws.send(snapshot())
            await asyncio.sleep_ms(PERIOD_MS)
    except OSError:
        pass  # it has gone
    finally:
        watch.leave()
        await listening


async def until_closed(ws):
    """Pings and Close are answered while somebody receives. "dns NAME": look that up."""
    try:
        while True:
            message = await ws.recv()
            if message is None:
                return
            if isinstance(message, str) and message.startswith("dns "):
                asyncio.create_task(look_up(message[4:].strip()))
    except OSError:
        pass


async def look_up(name):
    try:
        await net.aio.dns.resolve(name)
    except (OSError, ValueError):
        pass


files = httpd.static("/app/www")


def app(request):
    if request.path == "/live":
        return live(request)
    if request.path == "/state":
        return httpd.Response(snapshot(), headers=POLICY, type="application/json")
    response = files(request)
    response.fields.extend(POLICY)
    return response


async def main():
    server = await httpd.serve(app, port=80)
    try:
        os.stat("/app/cert.pem")
    except OSError:
        print("dashboard: http on port 80")
    else:
        import ssl

        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain("/app/cert.pem", "/app/key.pem")
        context.set_alpn_protocols(["h2", "http/1.1"])
        await server.listen(port=443, ssl=context)
        print("dashboard: http on port 80, https on port 443")
    while True:
        await asyncio.sleep(3600)


asyncio.run(main())
