"""What people do with a board on a network, by the stock modules: mip, ntptime, requests, webrepl's
socket handlers, telnet, timers and the watchdog."""

import re

import pexpect
import pytest

from tests.boot import programs, tls_peers
from tests.boot.test_programs import tool, town  # noqa: F401
from tests.boot.test_programs_servers import chrony
from tests.vectors.tls.identities import HOST

pytestmark = [pytest.mark.boot, pytest.mark.bridge, pytest.mark.timeout(300)]


def test_mip_ntptime_requests(town):  # noqa: F811
    tls_peers.nginx_tls(town.gateway, town.files, "p256")
    www = town.files / "nginx-p256" / "www"
    made = programs.mip_index(
        www / "pi", "micropython-umqtt-simple", "micropython-umqtt-robust", "micropython-urequests"
    )
    guest = town.boot()
    index = f"https://{HOST}/pi"
    out = guest.exec(f"""
import mip
try:
    mip.install("umqtt.robust", index={index!r})
except OSError as e:
    print("refused:", e)
net.tls.trust("/root.pem")
mip.install("umqtt.robust", index={index!r})
import umqtt.robust, umqtt.simple
print(umqtt.robust.__file__, umqtt.simple.__file__)
""", timeout=60)  # fmt: skip
    assert "refused:" in out and "neither trusted" in out
    assert "Installing umqtt.simple" in out and out.count("Copying: /lib/umqtt/") == sum(
        len(made[n]) for n in ("umqtt.simple", "umqtt.robust")
    )
    assert "/lib/umqtt/robust.mpy /lib/umqtt/simple.mpy" in out
    # Again: all is there. As source, to another folder, one version; a file and a package by URL.
    (www / "one.py").write_text("ONE = 1\n")
    (www / "package.json").write_text(
        '{"urls": [["two/__init__.py", "one.py"]], "version": "1", "deps": []}'
    )
    out = guest.exec(f"""
mip.install("umqtt.robust", index={index!r})
mip.install("urequests", index={index!r}, target="/x", version="0.9.1", mpy=False)
print(open("/x/urequests/__init__.py").readline())
mip.install("https://{HOST}/one.py")
mip.install("https://{HOST}/package.json")
import one, two
print(one.ONE + two.ONE)
try:
    mip.install("nothing.of.this.name", index={index!r})
except OSError as e:
    print("missing:", e)
""", timeout=60)  # fmt: skip
    assert "Exists: /lib/umqtt/robust.mpy" in out and "import usocket" in out
    assert "\n2\n" in out and re.search("missing: .*404", out)
    # A file that is not what the index says is not installed.
    for path in (www / "pi" / "file").rglob("*"):
        if path.is_file():
            path.write_bytes(path.read_bytes() + b"#")
    out = guest.exec(f"""
try:
    mip.install("urequests", index={index!r}, target="/y")
except ValueError as e:
    print(e)
print(os.listdir("/y/urequests"))
""")
    assert "not what the index says" in out and out.splitlines()[-1] == "[]"

    chrony(town)
    year = guest.exec("""
import machine, ntptime, time
machine.RTC().datetime((2001, 2, 3, 5, 4, 5, 6, 0))
ntptime.settime()
print(abs(ntptime.time() - time.time()) < 60, time.gmtime()[0])
""").split()
    assert year[0] == "True" and int(year[1]) > 2024
    assert guest.exec(f"""
import requests, urequests
with requests.get("https://{HOST}/one.py") as r:
    print(r.status_code, r.text)
print(urequests.get("http://example.test/").status_code)
""").split() == ["200", "ONE", "=", "1", "200"]  # fmt: skip


# As uftpd, utelnetserver and webrepl are written: a handler of the socket, and dupterm.
TELNET = """
import io, os, socket

class Telnet(io.IOBase):
    def __init__(self, s):
        self.s = s
        self.skip = 0
    def readinto(self, buf):
        n = 0
        while n < len(buf):
            try:
                got = self.s.recv(1)
            except OSError as e:
                if e.args[0] == 11:
                    break
                raise
            if not got:
                return n
            if self.skip:
                self.skip -= 1
            elif got == b"\\xff":
                self.skip = 2
            elif got != b"\\0":
                buf[n] = got[0]
                n += 1
        return n or None
    def write(self, data):
        self.s.setblocking(True)
        self.s.write(data)
        self.s.setblocking(False)
        return len(data)
    def close(self):
        self.s.close()

def accept(listener):
    s, peer = listener.accept()
    os.dupterm(None)
    s.setblocking(False)
    s.setsockopt(socket.SOL_SOCKET, 20, os.dupterm_notify)
    s.write(b"\\xff\\xfb\\x01\\xff\\xfb\\x03")   # we echo, no go-ahead
    os.dupterm(Telnet(s))

server = socket.socket()
server.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
server.bind(("0.0.0.0", 23))
server.listen(1)
server.setsockopt(socket.SOL_SOCKET, 20, accept)
"""


def test_the_prompt_by_telnet(town):  # noqa: F811
    guest = town.boot()
    guest.exec(TELNET)
    guest.friendly()
    argv = [*town.namespaces.enter(town.gateway.space.index), tool("telnet"), guest.ip]
    for _ in range(2):  # the second client comes after the first has gone
        child = pexpect.spawn(str(argv[0]), [str(a) for a in argv[1:]], timeout=60, echo=False)
        try:
            child.expect_exact("Escape character")
            child.send("\r")
            child.expect_exact(">>> ")
            child.send("6 * 7\r")
            child.expect_exact("42")
            child.expect_exact(">>> ")
            child.send("while True: pass\r\r\r")
            child.expect_exact("... ")
            for _ in range(100):  # nothing shows that the loop has begun
                child.send("\x03")
                if child.expect(["KeyboardInterrupt", pexpect.TIMEOUT], timeout=0.5) == 0:
                    break
            else:
                pytest.fail("Ctrl-C was not heard")
            child.expect_exact(">>> ")
        finally:
            child.close(force=True)


# (expression, what it gives): network.LAN and its module, call by call. IP is the guest's own.
NETWORK = (
    ("lan.active()", "True"),
    ("lan.isconnected()", "True"),
    ("lan.status() == network.STAT_GOT_IP", "True"),
    ("lan.ifconfig() == (IP, '255.255.255.0', GW, GW)", "True"),
    ("lan.ipconfig('addr4') == (IP, '255.255.255.0')", "True"),
    ("lan.ipconfig('gw4') == GW, lan.ipconfig('dhcp4'), lan.ipconfig('has_dhcp4')",
     "(True, True, True)"),
    ("type(lan.ipconfig('addr6')), lan.ipconfig('autoconf6')", "(<class 'list'>, True)"),
    ("lan.ipconfig('nothing')", "ValueError"),
    ("lan.config('mac') == machine.unique_id()", "True"),
    ("lan.config('mtu'), lan.config('nothing')", "ValueError"),
    ("network.hostname('board-1'), network.hostname(), lan.config('hostname')",
     "(None, 'board-1', 'board-1')"),
    ("network.hostname('no good')", "ValueError"),
    ("network.country('at'), network.country()", "(None, 'AT')"),
    ("network.country('xyz')", "ValueError"),
    ("network.ipconfig('dns') == GW", "True"),
    ("network.ipconfig(prefer=4), network.ipconfig('prefer')", "(None, 4)"),
    ("any(['default' in r or '0.0.0.0/0' in r for r in network.route()])", "True"),
    ("network.LAN(7)", "OSError(19, 'no such interface: LAN(7)')"),
    ("network.WLAN(0)", "OSError(19, 'no such interface: WLAN')"),
    ("sys.net.wifi", "OSError(19, 'no such interface: wifi')"),
    ("sys.net.interfaces()[0]['ip4'].split('/')[0] == IP", "True"),
    ("sys.net.dns.resolve('example.test') == GW", "True"),
    ("lan.active(False), lan.active(), lan.isconnected()", "(None, False, False)"),
    ("lan.active(True), lan.active()", "(None, True)"),
    ("lan.ifconfig((IP, '255.255.255.0', GW, GW)), lan.ifconfig()[0] == IP", "(None, True)"),
    ("lan.ipconfig(dhcp4=False), lan.ifconfig()[0]", "(None, '0.0.0.0')"),
    ("lan.ipconfig(addr4=IP + '/24', gw4=GW), lan.ipconfig('gw4') == GW", "(None, True)"),
)  # fmt: skip


def network_calls(town, guest):  # noqa: F811
    guest.exec(
        "import machine, network, sys\nlan = network.LAN(0)\n"
        f"IP, GW = {guest.ip!r}, {town.gateway.ip!r}\n"
        "def give(text):\n try:\n  return eval(text)\n except ValueError:\n"
        "  return 'ValueError'\n except OSError as e:\n  return 'OSError' + str(e.args)\n"
    )
    for call, want in NETWORK:
        got = guest.exec(f"_got = give({call!r})\nprint(_got)").strip()
        assert got == want, call
    assert town.gateway.ping(guest.ip)


def test_network_socket_handlers_timers_and_watchdog(town):  # noqa: F811
    guest = town.boot()
    network_calls(town, guest)
    # One callback a connection, however many wait; none after it was taken away.
    running = guest.run_async("""
import socket, time
taken = []
def handler(listener):
    s, peer = listener.accept()
    taken.append(peer)
    s.write(b"served\\n")
    s.close()
l = socket.socket()
l.bind(("0.0.0.0", 99))
l.listen(8)
l.setsockopt(socket.SOL_SOCKET, 20, handler)
print("ready")
while len(taken) < 5:
    time.sleep_ms(5)
l.setsockopt(socket.SOL_SOCKET, 20, None)
print("taken", len(taken))
""", timeout=60)  # fmt: skip
    running.expect("ready")
    held = [town.gateway.connect((guest.ip, 99), timeout=30) for _ in range(5)]
    assert [s.recv(100) for s in held] == [b"served\n"] * 5
    for s in held:
        s.close()
    running.expect("taken 5")
    running.wait()
    # A handler may wait for what has not come yet, as on a board; a timer's callback too.
    running = guest.run_async("""
import machine, socket, time
heard = []
def handler(listener):
    s, peer = listener.accept()
    print("accepted")
    s.settimeout(60)
    heard.append(s.readline())
    s.write(b"echo " + heard[0])
    s.close()
l = socket.socket()
l.bind(("0.0.0.0", 98))
l.listen(8)
l.setsockopt(socket.SOL_SOCKET, 20, handler)
print("ready")
while not heard:
    time.sleep_ms(5)
l.close()
def callback(t):
    s = socket.socket()
    s.connect((GW, 97))
    heard.append(s.readline())
    s.close()
t = machine.Timer(-1, mode=machine.Timer.ONE_SHOT, period=1, callback=callback)
while len(heard) < 2:
    time.sleep_ms(5)
print(heard)
""".replace("GW", repr(town.gateway.ip)), timeout=120)  # fmt: skip
    running.expect("ready")
    with town.gateway.listen((town.gateway.ip, 97), timeout=120) as listener:
        with town.gateway.connect((guest.ip, 98), timeout=30) as s:
            running.expect("accepted")
            s.sendall(b"late\n")
            s.settimeout(120)
            assert s.recv(100) == b"echo late\n"
        with listener.accept()[0] as s:
            s.sendall(b"by a timer\n")
            running.wait()
    assert running.output.split("\n")[-2] == "[b'late\\n', b'by a timer\\n']"
    assert guest.exec("""
import machine, time
ran = []
t = machine.Timer(-1, mode=machine.Timer.PERIODIC, period=5, callback=lambda t: ran.append(1))
r = machine.RTC()
r.irq(trigger=r.ALARM0, handler=lambda r: ran.append("alarm"), wake=machine.IDLE)
r.alarm(0, 100000)
assert 0 < r.alarm_left(0) <= 100000
r.alarm(0, 20)
while ran.count(1) < 3 or "alarm" not in ran:
    time.sleep_ms(1)
t.deinit()
r.alarm(0, 100000)
r.alarm_cancel(0)
print(r.alarm_left(), len(machine.unique_id()), 0 <= machine.rng() < 1 << 24)
""").split() == ["0", "6", "True"]  # fmt: skip
    # A fed watchdog waits; one that is not fed any more resets the machine, in a busy loop too.
    running = guest.run_async("""
w = machine.WDT(timeout=5000)
for _ in range(20):
    time.sleep_ms(100)
    w.feed()
print("fed")
while True:
    pass
""", timeout=60)  # fmt: skip
    running.expect("fed", 60)
    guest.wait_exit(60)  # QEMU is told to end where a machine would start anew
