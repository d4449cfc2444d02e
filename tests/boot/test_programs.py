"""Programs for boards as their authors wrote them, each with the peer it was written for.

Which they are: tests/boot/programs.py. The code here is what their README files show: a guest
imports them from its /app and uses them.
"""

import re
import shutil
import subprocess
import sys

import pytest

from barewire import services
from tests.boot import programs, tls_peers
from tests.vectors.tls.identities import HOST

pytestmark = [pytest.mark.boot, pytest.mark.bridge, pytest.mark.timeout(400)]

SETUP = """
import gc, net, os
def fresh():
    gc.collect()
try: os.mkdir('/www')
except OSError: pass
"""


def tool(name):
    found = shutil.which(name, path="/usr/sbin:/usr/bin:/sbin:/bin")
    assert found, f"no {name}: `make test` installs it"
    return found


@pytest.fixture
def town(rig, artifacts):
    """A lab with DHCP and names, nginx on port 80 and over TLS; `.boot(*packages)` is a guest."""
    lab = rig.lab(servers=False)
    gw = lab.gateway
    names = {"example.test": gw.ip, HOST: gw.ip, "pool.ntp.org": gw.ip}
    services.dnsmasq(gw, names)
    lab.nginx = services.nginx(gw)
    lab.files = tls_peers.write_identities(artifacts)

    def boot(*packages, **more):
        app = artifacts / "app.romfs"
        app.write_bytes(programs.files(*packages, **more))
        guest = rig.bridged(lab, initrd=app)
        guest.exec(SETUP)
        guest.put("/root.pem", (lab.files / "root.pem").read_bytes())
        return guest

    lab.boot = boot
    return lab


def server(lab, name, argv, port, host=None):
    """Somebody's server on the gateway, waited for."""
    gw = lab.gateway

    def ready():
        try:
            gw.connect((gw.ip, port), timeout=1).close()
            return True
        except OSError:
            return False

    return services.Service(gw, name, argv, ready, timeout=60)


def mosquitto(lab):
    conf = lab.files / "mosquitto.conf"
    conf.write_text(f"listener 1883 {lab.gateway.ip}\nallow_anonymous true\nuser root\n")
    return server(lab, "mosquitto", [tool("mosquitto"), "-c", conf], 1883)


def on_gateway(lab, code, timeout=120):
    """What a program of CPython's prints on the gateway."""
    argv = [*lab.namespaces.enter(lab.gateway.space.index), sys.executable, "-c", code]
    done = subprocess.run(argv, capture_output=True, text=True, timeout=timeout)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def curl(lab, *words, timeout="30"):
    return lab.gateway.run("curl", "-sS", "--max-time", timeout, *words).stdout


# What a client of MQTT, of every author, is asked to do.


def test_mqtt_clients(town):
    broker = mosquitto(town)
    guest = town.boot(
        "micropython-umqtt-simple", "micropython-umqtt-robust", "micropython-umqtt-simple2",
        "micropython-umqtt-robust2", "aiomqttc",
    )  # fmt: skip
    ip = town.gateway.ip
    out = guest.exec(f"""
from umqtt.simple import MQTTClient
got = []
c = MQTTClient("simple", {ip!r}, keepalive=30)
c.set_callback(lambda topic, message: got.append((topic, message)))
c.set_last_will(b"gone", b"simple")
c.connect()
c.subscribe(b"a/#", 1)
c.publish(b"a/b", b"hello", qos=1)
c.publish(b"kept", b"x" * 5000, retain=True)
while not got:
    c.wait_msg()
c.ping()
c.wait_msg()
print(got)
c.disconnect()
""")
    assert "[(b'a/b', b'hello')]" in out
    # mosquitto's own client has the retained message of the guest's.
    kept = town.gateway.run("mosquitto_sub", "-h", ip, "-t", "kept", "-C", "1", "-W", "20").stdout
    assert kept.strip() == "x" * 5000
    out = guest.exec(f"""
fresh()
from umqtt.simple2 import MQTTClient
got = []
c = MQTTClient("simple2", {ip!r}, socket_timeout=10)
c.set_callback(lambda topic, message, retained, dup: got.append((topic, message, retained)))
c.connect()
c.subscribe(b"kept", 1)
while not got:
    c.wait_msg()
print(got[0][0], len(got[0][1]), got[0][2])
c.disconnect()
""")
    assert "b'kept' 5000 True" in out
    out = guest.exec(f"""
fresh()
import asyncio
from aiomqttc import MQTTClient
async def main():
    got = asyncio.Event()
    async def on_message(client, topic, message, retained):
        print("message", topic, message)
        got.set()
    c = MQTTClient(client_id="aio", server={ip!r}, port=1883)
    c.on_message = on_message
    assert await c.connect()
    await c.subscribe("a/#", qos=1)
    assert await c.publish("a/b", "from asyncio", qos=1)
    await asyncio.wait_for(got.wait(), 30)
    await c.disconnect()
asyncio.run(main())
""", timeout=60)  # fmt: skip
    assert "message a/b b'from asyncio'" in out
    # The "robust" client outlives its broker.
    running = guest.run_async(f"""
fresh()
from umqtt.robust import MQTTClient
got = []
c = MQTTClient("robust", {ip!r})
c.DELAY = 1
c.set_callback(lambda topic, message: got.append(message))
c.connect(clean_session=False)
c.subscribe(b"r/#", 1)
print("subscribed")
while b"after" not in got:
    c.wait_msg()
    print("got", got)
c.disconnect()
""", timeout=120)  # fmt: skip
    running.expect("subscribed")
    publish = ("mosquitto_pub", "-h", ip, "-t", "r/1", "-q", "1", "-m")
    town.gateway.run(*publish, "before")
    running.expect("got.*before")
    broker.stop()
    mosquitto(town)
    # The new broker knows no session, so it is the subscription of the reconnected client's
    # program that counts: it is told by a message to everybody who asks for it.
    running.interrupt()
    with pytest.raises(Exception, match="KeyboardInterrupt"):
        running.wait()
    out = guest.run_async("""
c.sock.close()
c.publish(b"r/2", b"again")      # fails, connects anew, and is sent
c.subscribe(b"r/#", 1)
print("subscribed")
while b"after" not in got:
    c.wait_msg()
c.disconnect()
""", timeout=120)  # fmt: skip
    out.expect("subscribed")
    town.gateway.run(*publish, "after")
    out.wait(60)


def test_clients_of_http_websocket_redis_modbus(town):
    gw = town.gateway
    (town.nginx.root / "j.json").write_text('{"a": [1, 2], "of": "nginx"}')
    tls_peers.nginx_tls(gw, town.files, "p256", pages={"s.json": b'{"secure": true}'})
    argv = [tool("redis-server"), "--bind", gw.ip, "--save", "", "--protected-mode", "no"]
    server(town, "redis", argv, 6379)
    guest = town.boot(
        "micropython-urequests", "micropython-uaiohttpclient", "picoredis",
        "micropython-async-websocket-client", "micropython-modbus",
    )  # fmt: skip
    assert guest.exec("""
import urequests
print(urequests.__file__)
r = urequests.get("http://example.test/j.json")
print(r.status_code, r.json())
r.close()
""").splitlines() == ["/app/urequests/__init__.py", "200 {'a': [1, 2], 'of': 'nginx'}"]  # fmt: skip
    # It names no root, as on a board; here it is verified all the same.
    out = guest.exec(f"""
try:
    urequests.get("https://{HOST}/s.json")
except OSError as e:
    print(e)
net.tls.trust("/root.pem")
print(urequests.get("https://{HOST}/s.json").json())
""")
    assert "neither trusted" in out and "{'secure': True}" in out
    assert "200 b'{\"a\": [1, 2], \"of\": \"nginx\"}'" in guest.exec("""
fresh()
import asyncio, uaiohttpclient
async def main():
    r = await uaiohttpclient.request("GET", "http://example.test/j.json")
    print(r.status, await r.read())
asyncio.run(main())
""")
    assert guest.exec(f"""
fresh()
from picoredis import Redis
r = Redis({gw.ip!r})
print(r.ping(), r.set("k", "v"), r.get("k"), r.rpush("l", 1, 2, 3), r.lrange("l", 0, -1))
try:
    r.hget("k", "x")
except Exception as e:
    print(type(e).__name__, e.args[0])
r.close()
""").splitlines() == [  # fmt: skip
        "b'PONG' b'OK' b'v' 3 [b'1', b'2', b'3']", "RedisError WRONGTYPE",
    ]  # fmt: skip
    websocket_clients(town, guest)
    modbus_client(town, guest)


ECHO = """
import asyncio, ssl, sys
from websockets.asyncio.server import serve
async def echo(ws):
    async for m in ws:
        await ws.send(m[::-1])
async def main():
    c = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    c.load_cert_chain(sys.argv[2] + "/p256.pem", sys.argv[2] + "/p256.key")
    async with serve(echo, sys.argv[1], 8001, max_size=None), \\
               serve(echo, sys.argv[1], 8002, ssl=c, max_size=None):
        await asyncio.Future()
asyncio.run(main())
"""


def websocket_clients(town, guest):
    argv = [sys.executable, "-c", ECHO, town.gateway.ip, town.files]
    server(town, "websockets", argv, 8002)
    out = guest.exec(f"""
fresh()
import asyncio
from async_websocket_client import AsyncWebsocketClient
async def talk(url, **options):
    ws = AsyncWebsocketClient()
    await ws.handshake(url, **options)
    for message in ("text", b"bytes", "x" * 200, "y" * 2000):
        await ws.send(message)
        answer = await ws.recv()
        assert answer == bytes(reversed(message)) if isinstance(message, bytes) \\
            else answer == "".join(reversed(message)), (message[:9], answer[:9])
    await ws.close()
    print("talked", url)
asyncio.run(talk("ws://{town.gateway.ip}:8001/x"))
asyncio.run(talk("wss://{HOST}:8002/x", cafile="/root.pem", cert_reqs=2))
""", timeout=120)  # fmt: skip
    assert out.count("talked") == 2


MODBUS = """
import asyncio, sys
from pymodbus.simulator import SimData, SimDevice, DataType
from pymodbus.server import StartAsyncTcpServer
regs = SimData(0, count=200, values=7, datatype=DataType.REGISTERS)
asyncio.run(StartAsyncTcpServer(context=SimDevice(1, simdata=regs), address=(sys.argv[1], 502)))
"""


def modbus_client(town, guest):
    server(town, "pymodbus", [sys.executable, "-c", MODBUS, town.gateway.ip], 502)
    out = guest.exec(f"""
fresh()
from umodbus.tcp import TCP
c = TCP(slave_ip={town.gateway.ip!r}, slave_port=502, timeout=10)
print(c.read_holding_registers(slave_addr=1, starting_addr=5, register_qty=3, signed=False))
print(c.write_single_register(slave_addr=1, register_address=6, register_value=4711, signed=False))
print(c.read_holding_registers(slave_addr=1, starting_addr=5, register_qty=3, signed=False))
""")
    assert [tuple(map(int, re.findall(r"\d+", x))) for x in out.splitlines() if "7," in x] == [
        (7, 7, 7), (7, 4711, 7),
    ]  # fmt: skip
