"""Servers that other people wrote for boards, unchanged, asked by those they were written for."""

import os
import re

import pytest

from barewire import services
from barewire.console import GuestError
from tests.boot import programs, tls_peers
from tests.boot.test_programs import curl, on_gateway, town  # noqa: F401
from tests.vectors.tls.identities import HOST

pytestmark = [pytest.mark.boot, pytest.mark.bridge, pytest.mark.timeout(400)]


def stop(running):
    """Ctrl-C to a server that runs for ever."""
    running.interrupt()
    with pytest.raises(GuestError, match="KeyboardInterrupt"):
        running.wait(60)


MICRODOT = """
fresh()
import asyncio, ssl
from microdot import Microdot, send_file, Response
from microdot.sse import with_sse
from microdot.websocket import with_websocket

app = Microdot()

@app.route("/")
async def index(request):
    return "<h1>Microdot</h1>", 200, {"Content-Type": "text/html"}

@app.post("/json")
async def add(request):
    return {"sum": sum(request.json["numbers"])}

@app.route("/static/<path:path>")
async def static(request, path):
    if ".." in path:
        return "Not found", 404
    return send_file("/www/" + path, max_age=86400)

@app.route("/events")
@with_sse
async def events(request, sse):
    for i in range(3):
        await asyncio.sleep_ms(20)
        await sse.send({"counter": i}, event="count")

@app.route("/echo")
@with_websocket
async def echo(request, ws):
    while True:
        await ws.send(await ws.receive())

@app.route("/stream")
async def stream(request):
    async def pieces():
        for i in range(5):
            yield "piece %d\\n" % i
    return pieces()

async def main():
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain("/p256.pem", "/p256.key")
    await asyncio.gather(app.start_server(port=80), app.start_server(port=443, ssl=context))
print("serving")
asyncio.run(main())
"""

WEBSOCKETS = """
import asyncio, ssl, sys
from websockets.asyncio.client import connect
async def main(url, root, pieces):
    c = ssl.create_default_context(cafile=root) if url.startswith("wss") else None
    more = dict(ssl=c, server_hostname={host!r}) if c else dict()
    async with connect(url, max_size=None, compression=None, **more) as ws:
        for m in ("hello", b"bytes" * 300, "x" * 12000)[:pieces]:
            await ws.send(m)
            assert await ws.recv() == m
    print("echoed")
asyncio.run(main({url!r}, {root!r}, {pieces}))
"""


def echoes(town, url, pieces=3):  # noqa: F811
    code = WEBSOCKETS.format(url=url, root=str(town.files / "root.pem"), pieces=pieces, host=HOST)
    return "echoed" in on_gateway(town, code)


def test_microdot_with_websocket_sse_files_and_tls(town):  # noqa: F811
    guest = town.boot("microdot")
    picture = os.urandom(50000)
    guest.put("/www/picture.bin", picture)
    tls_peers.put_identity(guest, town.files, "p256")
    running = guest.run_async(MICRODOT)
    running.expect("serving")
    url = f"http://{guest.ip}"
    tls = ("--cacert", town.files / "root.pem", "--resolve", f"{HOST}:443:{guest.ip}")
    retry = ("--retry", "20", "--retry-connrefused", "--retry-delay", "1")
    assert curl(town, *retry, url) == "<h1>Microdot</h1>"
    assert curl(town, *retry, *tls, f"https://{HOST}/") == "<h1>Microdot</h1>"
    for where in ((url,), (*tls, f"https://{HOST}")):
        *options, base = where
        sent = ("-H", "Content-Type: application/json", "-d", '{"numbers": [1, 2, 39]}')
        assert curl(town, *options, *sent, base + "/json") == '{"sum": 42}'
        got = town.files / "got.png"
        head = curl(town, *options, "-o", got, "-D", "-", base + "/static/picture.bin")
        assert got.read_bytes() == picture and "octet-stream" in head and "max-age=86400" in head
        assert curl(town, *options, base + "/static/none") != ""
        said = curl(town, *options, "-N", base + "/events")
        assert re.findall(r'event: count\ndata: (.*)\n', said) == [
            '{"counter": 0}', '{"counter": 1}', '{"counter": 2}',
        ]  # fmt: skip
        assert curl(town, *options, base + "/stream").splitlines()[-1] == "piece 4"
    assert echoes(town, f"ws://{guest.ip}/echo")
    assert echoes(town, f"wss://{guest.ip}/echo")
    stop(running)


PHEW = """
fresh()
from phew import server, dns, template
import phew.ntp
open("/www/page.html", "w").write("<p>{{name}} says {{6*7}}</p>")

@server.route("/hello", methods=["GET"])
def hello(request):
    return template.render_template("/www/page.html", name=request.query["name"])

@server.route("/form", methods=["POST"])
def form(request):
    return "got " + request.form["a"], 201

@server.catchall()
def catchall(request):
    return "no such page", 404

dns.run_catchall(OWN)
print("serving")
server.run("0.0.0.0", 80)
"""


def test_phew_serves_pages_names_and_asks_the_time(town):  # noqa: F811
    guest = town.boot("micropython-phew")
    chrony(town)
    # phew/ntp.py is an NTP client: it asks pool.ntp.org, here chrony on the gateway.
    out = guest.exec(
        "import phew.ntp, machine\nmachine.RTC().datetime((2001, 2, 3, 5, 4, 5, 6, 0))\n"
        "print(phew.ntp.fetch())\nprint(machine.RTC().datetime()[0])"
    )
    year = on_gateway(town, "import time; print(time.gmtime().tm_year)").strip()
    assert f"({year}, " in out and out.splitlines()[-1] == year
    running = guest.run_async(f"OWN = {guest.ip!r}\n" + PHEW)
    running.expect("serving")
    url = f"http://{guest.ip}"
    retry = ("--retry", "20", "--retry-connrefused", "--retry-delay", "1")
    assert curl(town, *retry, url + "/hello?name=a+b").strip() == "<p>a b says 42</p>"
    assert curl(town, "-d", "a=5%20x&b=2", url + "/form") == "got 5 x"
    assert curl(town, url + "/nothing") == "no such page"
    dig = town.gateway.run("dig", f"@{guest.ip}", "+short", "+noedns", "+tries=5",
                           "+time=4", "any.name", "A")  # fmt: skip
    assert dig.stdout.strip() == guest.ip
    stop(running)


def chrony(town):  # noqa: F811
    """chronyd on the gateway, as a server of its own time."""
    ip = town.gateway.ip
    conf = town.files / "chrony.conf"
    conf.write_text(
        f"local stratum 3\nallow all\nbindaddress {ip}\ncmdport 0\nbindcmdaddress /\nuser root\n"
        f"pidfile {town.files}/chrony.pid\n"
    )

    def ready():
        import socket

        with town.gateway.socket(kind=socket.SOCK_DGRAM) as s:
            s.settimeout(0.3)
            try:
                s.sendto(b"\x23" + bytes(47), (ip, 123))
                return len(s.recv(100)) >= 48
            except OSError:
                return False

    argv = [programs.unpacked("chrony", "usr/sbin/chronyd"), "-x", "-d", "-u", "root", "-f", conf]
    return services.Service(town.gateway, "chrony", argv, ready, timeout=30)


SMALL = """
fresh()
import asyncio
import uaioweb
from uwebserver import WebServer

app = uaioweb.App(port=80)

@app.route("/")
async def index(r, w):
    w.write(b"HTTP/1.0 200 OK\\r\\nContent-Type: text/html\\r\\n\\r\\nuaioweb")
    await w.drain()

@app.route("/ws")
async def ws(r, w):
    ws = await uaioweb.WebSocket.upgrade(r, w)
    while True:
        event = await ws.recv()
        if event is None or event["type"] == "close":
            break
        if event["type"] in ("text", "bytes"):
            await ws.send(event["data"])

@app.route("/events")
async def events(r, w):
    source = await uaioweb.EventSource.upgrade(r, w)
    for i in range(3):
        await source.send("event %d" % i, id=i)

web = WebServer(port=81)

@web.route("/")
def hello(request, response):
    return "Hello world!"

async def main():
    await app.serve()
    print("serving")
    await web.run()
asyncio.run(main())
"""

MODBUS = """
fresh()
from umodbus.tcp import ModbusTCP
s = ModbusTCP()
s.bind(local_ip=OWN, local_port=502)
s.setup_registers(registers={
    "COILS": {"A": {"register": 1, "len": 1, "val": 1}},
    "HREGS": {"B": {"register": 10, "len": 3, "val": [7, 8, 9]}},
    "IREGS": {"C": {"register": 20, "len": 1, "val": 4711}},
})
print("serving")
while True:
    try:
        s.process()
    except OSError as e:
        if e.args[0] != 11:
            raise
"""

PYMODBUS = """
from pymodbus.client import ModbusTcpClient
c = ModbusTcpClient({ip!r}, port=502, timeout=20)
assert c.connect()
print(c.read_holding_registers(10, count=3, device_id=1).registers)
print(c.read_input_registers(20, count=1, device_id=1).registers)
print(c.read_coils(1, count=1, device_id=1).bits[0])
c.write_register(11, 99, device_id=1)
print(c.read_holding_registers(10, count=3, device_id=1).registers)
c.close()
"""

ZEROCONF = """
from zeroconf import Zeroconf, ServiceInfo
z = Zeroconf(interfaces=[{own!r}])
for _ in range(10):
    info = z.get_service_info("_http._tcp.local.", "board._http._tcp.local.", timeout=6000)
    if info: break
print(info.parsed_addresses(), info.port, info.server, info.properties)
z.close()
"""


def test_small_servers(town):  # noqa: F811
    guest = town.boot(
        "micropython-uaioweb", "uwebserver", "micropython-modbus", "micropython-mdns",
        "micropython-captive-dns-server",
    )  # fmt: skip
    running = guest.run_async(SMALL)
    running.expect("serving")
    retry = ("--retry", "20", "--retry-connrefused", "--retry-delay", "1")
    assert curl(town, f"http://{guest.ip}/") == "uaioweb"
    assert curl(town, "-N", f"http://{guest.ip}/events").count("data: event") == 3
    assert echoes(town, f"ws://{guest.ip}/ws", 2)
    assert curl(town, *retry, f"http://{guest.ip}:81/") == "Hello world!"
    stop(running)

    running = guest.run_async(f"OWN = {guest.ip!r}" + MODBUS)
    running.expect("serving")
    assert on_gateway(town, PYMODBUS.format(ip=guest.ip)).splitlines() == [
        "[7, 8, 9]", "[4711]", "True", "[7, 99, 9]",
    ]  # fmt: skip
    stop(running)

    running = guest.run_async(
        "fresh()\nimport asyncio\nfrom mdns_client import Client\n"
        "from mdns_client.responder import Responder\n"
        f"client = Client({guest.ip!r})\n"
        f"responder = Responder(client, own_ip=lambda: {guest.ip!r}, host=lambda: 'board')\n"
        "def name(): return 'board'\nresponder.generate_random_postfix = name\n"
        "responder.advertise('_http', '_tcp', port=80, data={'path': '/'}, "
        "service_host_name='board')\n"
        "print('serving')\nasyncio.get_event_loop().run_forever()"
    )
    running.expect("serving")
    said = on_gateway(town, ZEROCONF.format(own=town.gateway.ip))
    assert guest.ip in said and " 80 " in said and "board.local" in said
    stop(running)

    running = guest.run_async(
        "fresh()\nimport asyncio\n"
        "from micropython_captive_dns_server.server import CaptiveDNSServer\n"
        "asyncio.run(CaptiveDNSServer().run('192.0.2.7'))"
    )
    running.expect("Starting server")
    dig = town.gateway.run("dig", f"@{guest.ip}", "+short", "+tries=5", "+time=4", "+noedns",
                           "captive.portal.example", "A")  # fmt: skip
    assert dig.stdout.strip() == "192.0.2.7"
    stop(running)


FTP = """
fresh()
import asyncio, uaioftp
async def main():
    ftp = uaioftp.uaioftpd(my_ip=OWN)
    await asyncio.start_server(ftp.server, "0.0.0.0", 21)
    print("serving")
    await asyncio.Event().wait()
asyncio.run(main())
"""

FTPLIB = """
import ftplib, io, os
f = ftplib.FTP()
f.connect({ip!r}, 21, timeout=60)
print(f.getwelcome(), f.login("anybody", "x"))
f.set_pasv(False)
data = os.urandom(40000)
print(f.storbinary("STOR up.bin", io.BytesIO(data)))
out = io.BytesIO()
f.retrbinary("RETR up.bin", out.write)
assert out.getvalue() == data
conn = f.transfercmd("LIST")
listing = conn.makefile().read()
conn.close()
f.voidresp()
assert "40000" in listing and "up.bin" in listing, listing
print(f.cwd("/"))
print(f.quit())
"""

OTA = "open('/updated', 'a').write('x')\nVERSION = 2\n"


def test_ftp_server_and_update_over_the_air(town):  # noqa: F811
    guest = town.boot("micropython-uaioftp", "micropython-logging", "micropython-ota")
    running = guest.run_async(f"OWN = {guest.ip!r}" + FTP)
    running.expect("serving")
    said = on_gateway(town, FTPLIB.format(ip=guest.ip))
    assert "Transfer complete" in said and "Bye" in said
    stop(running)

    # micropython_ota fetches a version and its files, and restarts into them.
    folder = town.nginx.root / "project"
    folder.mkdir()
    (folder / "version").write_text("v2\n")
    (folder / "v2_update.py").write_text(OTA)
    out = guest.exec(
        "fresh()\nimport micropython_ota\nmicropython_ota.ota_update('http://example.test', "
        "'project', ['update.py'], hard_reset_device=False)\n"
        "print(open('version').read(), open('update.py').read())\n"
        "import update; print(update.VERSION)"
    )
    assert out == f"v2 {OTA}\n2\n"
    again = guest.exec(
        "print(micropython_ota.check_version('http://example.test', 'project'))"
    )
    assert again.strip() == "(False, 'v2')"
