"""virtio-rng, virtio-console and fw_cfg, as a program sees them."""

import socket
import tempfile

import pexpect
import pytest
from pexpect.fdpexpect import fdspawn

from barewire.console import GuestError
from barewire.net import UserNet

pytestmark = pytest.mark.boot

NO_RDRAND = ["-cpu", "max,-rdrand,-rdseed"]
QEMU64 = ["-cpu", "qemu64"]
OFFLINE = {"ip": "none"}
WARNING = b"random: neither RDRAND nor a virtio-rng"


def rng(platform):
    return ["-device", f"virtio-rng-{platform.bus}"]


# ---- randomness ----


@pytest.mark.core
def test_random_bytes_from_the_device(rig, platform):
    guest = rig.guest(extra=[*NO_RDRAND, *rng(platform)], append=OFFLINE)
    assert WARNING not in guest.child.before
    draws = guest.eval("[__import__('os').urandom(16) for _ in range(300)]")
    assert len(set(draws)) == 300
    assert guest.eval("__import__('machine').random_sources()") == ["virtio-rng"]


def test_random_bytes_from_both(rig, platform):
    guest = rig.guest(extra=rng(platform), append=OFFLINE)
    assert guest.eval("__import__('machine').random_sources()") == ["RDRAND", "virtio-rng"]
    again = rig.guest(append=OFFLINE)
    assert again.eval("__import__('machine').random_sources()") == ["RDRAND"]
    assert guest.eval("__import__('os').urandom(32)") != again.eval("__import__('os').urandom(32)")


@pytest.mark.parametrize("cpu", [NO_RDRAND, QEMU64], ids=["max-rdrand", "qemu64"])
def test_without_a_source_secrets_are_refused(rig, cpu):
    """And what needs none works: the network is up, and the boot says what is missing."""
    guest = rig.guest(net=UserNet(restrict=True), extra=cpu)
    assert WARNING in guest.child.before and b"10.0.2.15/24" in guest.child.before
    for code in (
        "import os\nos.urandom(16)",
        "import os\nos.urandom(1)",
        "import ssl, socket\ns, c = socket.socket(), socket.socket()\n"
        "s.bind(('127.0.0.1', 4433))\ns.listen(1)\nc.connect(('127.0.0.1', 4433))\n"
        "ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT).wrap_socket(c, server_hostname='a.test')",
        "from stack.api import tls\ntls.rng()(32)",
    ):
        with pytest.raises(GuestError) as caught:
            guest.exec(code)
        assert caught.value.kind == "OSError", (code, str(caught.value))
        assert "neither RDRAND nor a virtio-rng" in str(caught.value), code
    assert guest.eval("__import__('machine').random_sources()") == []


def test_a_host_without_random_bytes_is_no_source(rig, platform):
    """A virtio-rng that never answers: the boot goes on after a second, and refuses."""
    extra = [*NO_RDRAND, "-object", "rng-egd,id=r,chardev=egd", "-chardev", "null,id=egd"]
    guest = rig.guest(extra=[*extra, "-device", f"virtio-rng-{platform.bus},rng=r"], append=OFFLINE)
    assert WARNING in guest.child.before
    with pytest.raises(GuestError) as caught:
        guest.exec("import os\nos.urandom(1)")
    assert "neither RDRAND nor a virtio-rng" in str(caught.value)


# ---- the second console ----


@pytest.fixture
def console(rig, platform):
    """boot(**options) -> (guest, a pexpect spawn on its second console)."""
    made = []

    def boot(properties="", **options):
        path = f"{scratch}/hvc0"  # a unix socket's name must be short
        extra = ["-device", f"virtio-serial-{platform.bus}{properties}"]
        extra += ["-chardev", f"socket,id=hvc,path={path},server=on,wait=off"]
        guest = rig.guest(extra=[*extra, "-device", "virtconsole,chardev=hvc"], **options)
        line = socket.socket(socket.AF_UNIX)
        line.connect(path)
        made.append(line)
        return guest, fdspawn(line, timeout=20)

    with tempfile.TemporaryDirectory(prefix="bw-") as scratch:
        yield boot
    for line in made:
        line.close()


@pytest.mark.core
@pytest.mark.parametrize("properties", ["", ",vectors=0"])
def test_a_second_line_for_programs(console, platform, properties):
    if properties and platform.bus != "pci":
        pytest.skip("vectors are PCI's")
    guest, line = console(properties, append=OFFLINE)
    guest.exec("from machine import UART\nu = UART(1, 115200, timeout=10000)\nu.write('hello\\n')")
    line.expect_exact("hello\n")
    running = guest.run_async("print(u.readline())\nprint(u.any(), u.read())")
    line.send(b"from outside\n")
    running.expect("from outside")
    line.send(b"abc")
    assert "b'abc'" in running.wait()
    # More than the driver's buffers hold, both ways.
    running = guest.run_async("n = 0\nwhile n < 200000: n += len(u.read(1000))\nprint(n)")
    line.send(bytes(range(250)) * 800)
    assert running.wait().strip() == "200000"
    # In steps: what its chardev does not take at once, QEMU drops for a virtconsole.
    for _ in range(10):
        guest.exec("b = bytes(range(250)) * 80\nassert u.write(b) == 20000\nu.flush()")
        got = b""
        while len(got) < 20_000:
            got += line.read_nonblocking(65536)
        assert got == bytes(range(250)) * 80
    with pytest.raises(GuestError):
        guest.exec("UART(2)")


def test_a_second_line_under_asyncio(console):
    guest, line = console(append=OFFLINE)
    running = guest.run_async(
        "import asyncio\nfrom machine import UART\n"
        "async def echo():\n"
        "  u = UART(1)\n  r, w = asyncio.StreamReader(u), asyncio.StreamWriter(u, {})\n"
        "  for _ in range(5):\n"
        "    line = await r.readline()\n    w.write(line.upper())\n    await w.drain()\n"
        "async def main():\n  t = asyncio.create_task(echo())\n  ticks = 0\n"
        "  while not t.done():\n    await asyncio.sleep_ms(1)\n    ticks += 1\n"
        "  print('ticked', ticks > 0)\nasyncio.run(main())"
    )
    for i in range(5):
        line.send(b"line %d\n" % i)
        line.expect_exact("LINE %d\n" % i)
    assert running.wait() == "ticked True\n"


@pytest.mark.core
def test_the_prompt_on_the_second_console(console):
    guest, line = console(append={**OFFLINE, "console": "hvc0"})
    line.send(b"6 * 7\r")
    line.expect_exact("42\r\n>>> ")
    # Both are the same prompt; each sees what the other does.
    guest.child.send("x = 'from com1'\r")
    line.expect_exact("from com1'\r\n>>> ")
    line.send(b"while True: pass\r\r")
    line.expect_exact("... ")
    # Nothing shows that the loop runs: Ctrl-C is typed until it is heard.
    while True:
        line.send(b"\x03")
        if line.expect_exact(["KeyboardInterrupt", pexpect.TIMEOUT], timeout=0.3) == 0:
            break
    line.expect_exact(">>> ")
    line.send(b"print(x, len('abc') * 7)\r")
    line.expect_exact("from com1 21\r\n")
    # And it survives a soft reset.
    line.expect_exact(">>> ")
    line.send(b"\x04")
    line.expect_exact("soft reboot")
    line.expect_exact(">>> ")
    line.send(b"40 + 2\r")
    line.expect_exact("42\r\n")


def test_no_such_console(rig):
    guest = rig.guest(append={**OFFLINE, "console": "hvc0"})
    assert b"no console hvc0" in guest.child.before


# ---- fw_cfg ----


@pytest.mark.core
def test_files_of_fw_cfg(rig, artifacts):
    blob = artifacts / "blob"
    blob.write_bytes(bytes(range(256)) * 300)
    extra = ["-fw_cfg", "name=opt/org.barewire/name,string=pearl"]
    extra += ["-fw_cfg", f"name=opt/org.example/blob,file={blob}"]
    guest = rig.guest(extra=extra, append=OFFLINE)
    guest.exec("import machine")
    assert guest.eval("machine.fw_cfg('opt/org.barewire/name')") == b"pearl"
    assert guest.eval("'opt/org.example/blob' in machine.fw_cfg()") is True
    assert guest.eval("machine.fw_cfg('opt/org.example/blob') == bytes(range(256)) * 300") is True
    with pytest.raises(GuestError):
        guest.exec("machine.fw_cfg('opt/nothing')")


def test_more_of_the_command_line_from_fw_cfg(rig):
    extra = ["-fw_cfg", "name=opt/org.barewire/cmdline,string=ip=10.0.2.77/24 colour=blue"]
    guest = rig.guest(net=UserNet(restrict=True), extra=extra)
    assert b"10.0.2.77/24" in guest.child.before and b"colour" in guest.child.before


# ---- the watchdog ----


def test_the_watchdog_resets_a_machine_whose_interpreter_hangs(rig, platform):
    """Interrupts off, the CPU halted: no code of ours could run. And not one that is fed."""
    if platform.bus != "pci":
        pytest.skip("no PCI, so no i6300esb")
    extra = ["-device", "i6300esb", "-action", "reboot=reset"]
    guest = rig.guest(extra=extra, append=OFFLINE)
    machine = "__import__('machine')"
    assert guest.eval(f"{machine}.reset_cause() == {machine}.PWRON_RESET")
    running = guest.run_async("""
import hw, machine, time
w = machine.WDT(timeout=3000)
began = time.ticks_ms()
while time.ticks_diff(time.ticks_ms(), began) < 9000:
    w.feed()
    time.sleep_ms(20)
print("fed")
hang = hw.exec(b"\\xfa\\xf4\\xeb\\xfd")  # cli; hlt; jmp to the hlt
hw.call(hang)
""", timeout=300)  # fmt: skip
    running.expect("fed", 300)
    # It starts anew, by itself.
    guest.child.expect_exact("MicroPython v1.25", timeout=300)
    guest.child.expect_exact(">>> ", timeout=300)
    guest.friendly()  # the raw prompt went with the reset
    assert guest.eval(f"{machine}.reset_cause() == {machine}.WDT_RESET")
    guest.exec("import machine")
    guest.friendly().send("machine.reset()\r")
    guest.child.expect_exact("MicroPython v1.25", timeout=300)
    guest.child.expect_exact(">>> ", timeout=300)
    assert guest.eval(f"{machine}.reset_cause() == {machine}.PWRON_RESET")
