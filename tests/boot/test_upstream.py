"""MicroPython's own tests of the modules that Barewire has its own of, unchanged, in one guest; and
those of TCP between two guests. What they print has to be what their .exp files say, or what
CPython prints where they have none, as MicroPython's run-tests.py has it.
"""

import re
import subprocess
import sys

import pytest

from barewire.console import GuestError
from barewire.net import UserNet
from barewire.pytest_plugin import wait_for_address
from tests.boot.test_tls_upstream import MULTITEST, expected, folder

pytestmark = [pytest.mark.boot, pytest.mark.timeout(500)]

PATTERNS = (
    "extmod/asyncio_*", "extmod/select_*", "extmod/socket_*", "extmod/hashlib_*",
    "extmod/websocket_*", "extmod/machine_*", "extmod/ticks_*", "extmod/time_*",
    "extmod/deflate_*", "extmod/framebuf*", "extmod/random_*", "extmod/json_load*",
    "extmod/cryptolib_*", "net_hosted/a*", "micropython/*",
)  # fmt: skip
NOT = {
    "asyncio_heaplock": "looks at the heap of the asyncio of a debugging build",
    "asyncio_fair": "asserts how many turns fit in a time",
    "asyncio_set_exception_handler": "wants an address of a build",
    "deflate_compress_memory_error": "fills the heap of a small board",
    "hashlib_final": "wants update after digest refused; docs/differences.md",
    "machine_soft_timer": "asserts how many calls fit in a time",
    "machine_pinbase": "pins", "machine_signal": "pins", "machine_pulse": "pins",
    "machine_i2s_rate": "I2S", "machine_spi_rate": "SPI",
    "meminfo": "prints what the heap has", "memstats": "of a debugging build",
    "heapalloc_bytesio2": "of a debugging build",
    "machine_uart_irq_txidle": "UART.irq", "machine_uart_tx": "a UART's pins",
    "select_poll_fd": "numbers are not polled; docs/differences.md",
    "select_poll_eintr": "_thread",
    "extreme_exc": "locks the heap: a timer of the stack that is due meanwhile says so",
}  # fmt: skip


def wanted(path):
    """What a test has to print, as lines."""
    exp = path.with_suffix(".py.exp")
    if exp.exists():
        return exp.read_text().splitlines()
    argv = [sys.executable, path.name]
    return subprocess.run(
        argv, cwd=path.parent, capture_output=True, text=True, timeout=60
    ).stdout.splitlines()


def same(got, want):
    """Lines of dots or ######## in an .exp stand for anything, as in run-tests.py."""
    pattern = re.escape(want).replace(r"\#\#\#\#\#\#\#\#", ".*").replace(r"\.\.\.", ".*")
    return got == want or re.fullmatch(pattern, got)


def anew(guest):
    """A soft reset."""
    child = guest.friendly()
    child.send("\x04")
    child.expect_exact("soft reboot", timeout=60)
    child.expect_exact(">>> ", timeout=60)
    guest.exec("_keep = None\n_keep = list(globals())")


def test_of_modules(rig):
    guest = rig.guest(net=UserNet(restrict=True), mem=256)
    wait_for_address(guest)
    anew(guest)
    paths = sorted(p for pattern in PATTERNS for p in folder().glob(pattern + ".py"))
    assert len(paths) > 70, "MicroPython's tests are not there"
    bad = []
    for path in paths:
        if path.stem in NOT:
            continue
        if path.parent.name == "micropython" or path.stem.startswith(
            ("socket", "select", "accept", "asyncio_start")
        ):
            anew(guest)  # they leave sockets open, on the same ports; or handlers
        guest.exec(
            "for _k in list(globals()):\n if _k not in _keep and _k != '_k': del globals()[_k]\n"
            "import asyncio, gc; asyncio.new_event_loop(); del asyncio; gc.collect()"
        )
        try:
            got = guest.exec(path.read_text(), timeout=120)
        except GuestError as e:
            got = f"{e.output}{e}"
        got, want = got.splitlines(), wanted(path)
        if len(got) != len(want) or not all(map(same, got, want)):
            at = [(g, w) for g, w in zip(got + [""] * 99, want + [""] * 99) if g != w][:2]
            bad.append(f"{path.name}: (got, want) {at}")
    print(f"{len(paths) - len(NOT)} of MicroPython's tests, {len(bad)} fail")
    assert not bad, "\n".join(bad)


def on_cpython(path):
    """What the two instances of a test without .exp print on this kernel: [lines, lines]."""
    code = MULTITEST + "OWN = IP = '127.0.0.1'\n" + path.read_text()

    def begin(n):
        argv = [sys.executable, "-u", "-c", f"{code}\ninstance{n}()"]
        return subprocess.Popen(argv, stdout=subprocess.PIPE, text=True)

    with begin(0) as zero:
        assert zero.stdout.readline() == "NEXT\n"
        with begin(1) as one:
            out = [p.communicate(timeout=120)[0].splitlines() for p in (zero, one)]
    return [[line for line in lines if line.strip() and line != "NEXT"] for lines in out]


@pytest.mark.bridge
def test_of_tcp_between_two_guests(rig, lab):
    guests = rig.bridged(lab), rig.bridged(lab)
    bad = []
    tests = [p for kind in ("asyncio_tcp", "tcp")
             for p in sorted((folder() / "multi_net").glob(f"{kind}_*.py"))]  # fmt: skip
    assert len(tests) > 8
    for path in tests:
        if path.stem.endswith("tcp_client_rst"):
            # lwIP throws away what came before a reset; here it is read, as on Linux. Then each
            # recv tells of the reset, as lwIP's; on Linux the first.
            continue
        code = path.read_text()
        for g in guests:
            if not path.stem.startswith("asyncio"):
                anew(g)  # ports are taken again, and without SO_REUSEADDR
            g.exec(MULTITEST + f"OWN = {g.ip!r}\nIP = {guests[0].ip!r}\n" + code)
        running = [guests[0].run_async("instance0()", timeout=60)]
        running[0].expect("NEXT")
        running.append(guests[1].run_async("instance1()", timeout=60))
        exp = path.with_suffix(".py.exp")
        wants = expected(exp) if exp.exists() else on_cpython(path)
        for r, want in zip(running[::-1], wants[::-1]):
            try:
                out = r.wait(60)
            except GuestError as e:
                out = f"{r.output}{e}"
            lines = [x for x in out.splitlines() if x.strip() and x.strip() != "NEXT"]
            if lines != want:
                bad.append(f"{path.name}: got {lines}, want {want}")
    assert not bad, "\n".join(bad)
