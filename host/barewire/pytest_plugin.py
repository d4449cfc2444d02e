"""The pytest plugin that comes with `pip install barewire`: guests for the tests of a program.

    def test_it_answers(barewire_guest):
        assert barewire_guest.eval("1 + 1") == 2

    @pytest.mark.barewire(program="app.py", ports=[80])
    def test_its_page(barewire_guest):
        barewire_guest.expect("serving")
        assert b"Hello" in urllib.request.urlopen(barewire_guest.url(80)).read()

    barewire_guest   a booted barewire.guest.Guest, on QEMU's user network with an address
    barewire_boot    a function that boots one more: barewire_boot(mem=16, ports=[80])

Options, of the marker, of barewire_boot and (those that have one) of the command line:

    program   a file or folder that runs, as `barewire run` does; then there is no prompt, and
              the test waits with guest.expect(pattern). By default there is a prompt: guest.exec,
              eval, put, get
    files     files and folders that lie at /app, where `import` finds them
    ports     ports of the guest to forward: guest.port(80), guest.url(80) say to where. Free ones
              are taken, so tests may run side by side; ("udp", 5353) for UDP
    mem       MB (--barewire-mem)        image    an ELF (--barewire-image)
    append    keys of the kernel command line, a dict
    online    whether the guest may reach the host and the world: True
    ...       and what else barewire.guest.Guest takes: machine, disk, net, extra

Paths are relative to the test's file. When a test fails its report has the console's last lines
and the paths of console.log, qemu.log and net.pcap of each guest, which are kept in
`barewire-artifacts` beside the pytest.ini (--barewire-artifacts DIR); a test that passes leaves
nothing.
"""

import contextlib
import re
import shutil
from pathlib import Path

import pytest

_failed = pytest.StashKey()
_bench = pytest.StashKey()


def pytest_addoption(parser):
    group = parser.getgroup("barewire", "MicroPython guests")
    group.addoption("--barewire-image", metavar="ELF", help="the image to boot")
    group.addoption("--barewire-mem", metavar="MB", type=int, help="memory of a guest (64)")
    group.addoption(
        "--barewire-artifacts", metavar="DIR", help="where failing tests leave their logs and "
        "captures (barewire-artifacts in the root folder)",
    )  # fmt: skip


def pytest_configure(config):
    config.addinivalue_line(
        "markers",
        "barewire(**options): what the guest of barewire_guest is booted with: program, files, "
        "ports, mem, image, append, online, ...",
    )


def left_behind(folder):
    """What a failed test left in `folder`, as text: paths, and the end of each console."""
    kept = sorted(p for p in folder.rglob("*") if p.suffix in (".log", ".pcap"))
    lines = [str(p) for p in kept]
    for log in [p for p in kept if p.name == "console.log"]:
        tail = log.read_bytes()[-3000:].decode(errors="replace").replace("\r\n", "\n")
        lines += [f"--- the end of {log.name} in {log.parent.name}", tail]
    return "\n".join(lines)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item, call):
    report = yield
    made = item.stash.get(_bench, None)
    if report.failed and made and made.guests:
        item.stash[_failed] = True
        made.flush()
        report.sections.append((f"Barewire's guests ({report.when})", left_behind(made.folder)))
    return report


def _artifacts(config):
    asked = config.getoption("--barewire-artifacts")
    return (Path(asked) if asked else config.rootpath / "barewire-artifacts").absolute()


def pytest_sessionfinish(session):
    """The folder goes if nothing is in it; of xdist's processes the first sees to it, the last."""
    if not hasattr(session.config, "workerinput"):
        with contextlib.suppress(OSError):
            _artifacts(session.config).rmdir()


class Bench:
    """The guests of one test."""

    def __init__(self, request):
        config = request.config
        name = re.sub(r"[^A-Za-z0-9_.=-]+", "-", request.node.nodeid).strip("-")[:150]
        self.folder = _artifacts(config) / name
        self.here = request.node.path.parent
        self.defaults = {
            "image": config.getoption("--barewire-image"),
            "mem": config.getoption("--barewire-mem") or 64,
        }
        self.guests = []
        shutil.rmtree(self.folder, ignore_errors=True)

    def boot(
        self, program=None, files=(), ports=(), online=True, net=None, address=True, **options
    ):  # fmt: skip
        """Boot a guest; the options are at the top of this file. It is ended by the fixture."""
        from barewire import romfs
        from barewire.guest import Guest
        from barewire.net import UserNet

        logs = self.folder / f"guest{len(self.guests)}"
        logs.mkdir(parents=True)
        options = {**self.defaults, **options}
        if program or files:
            files = [self.here / f for f in files]
            tree = (romfs.for_program(self.here / program, files) if program
                    else romfs.beside({}, files))  # fmt: skip
            options["initrd"] = logs / "app.romfs"
            options["initrd"].write_bytes(romfs.build(tree))
        options.setdefault("prompt", not program)
        own = net is None
        if own:
            pairs = [p if isinstance(p, tuple) else ("tcp", p) for p in ports]
            forwards = [(protocol, 0, guest) for protocol, guest in pairs]
            net = UserNet(forwards, restrict=not online, pcap=logs / "net.pcap")
        guest = Guest(net=net, logs=logs, **options)
        self.guests.append(guest)
        guest.start()
        if own and options["prompt"] and (options.get("append") or {}).get("ip") != "none":
            wait_for_address(guest)
        return guest

    def flush(self):
        """QEMU writes a capture as it goes; what is left is to let it end."""
        for guest in self.guests:
            guest.kill()

    def close(self):
        """End the guests; what QEMU found wrong with them, a list of str."""
        return close_guests(self.guests)


def close_guests(guests):
    """End guests, the last one first; what QEMU found wrong with them, a list of str."""
    from barewire.guest import GuestFault

    wrong = []
    for guest in reversed(guests):
        try:
            guest.close()
        except GuestFault as e:
            wrong.append(str(e))
    return wrong


_WAIT_FOR_ADDRESS = """
import net, time
_end = time.ticks_add(time.ticks_ms(), {ms})
while True:
    _ip = [i["ip4"] for i in net.interfaces() if i["ip4"] and not i["name"].startswith("lo")]
    if _ip or time.ticks_diff(_end, time.ticks_ms()) < 0:
        break
    time.sleep_ms(5)
print(_ip[0] if _ip else "")
"""


def wait_for_address(guest, timeout=10):
    """The guest's IPv4 address as "10.0.0.2" as soon as it has one. AssertionError if never."""
    text = guest.exec(_WAIT_FOR_ADDRESS.format(ms=timeout * 1000), timeout + 5)
    found = re.search(r"\d+\.\d+\.\d+\.\d+", text)
    assert found, f"the guest got no address in {timeout} s; net.interfaces() gave {text!r}"
    return found.group()


@pytest.fixture
def barewire_boot(request):
    """A function that boots a guest and returns it; at the end of the test it is ended."""
    made = Bench(request)
    request.node.stash[_bench] = made
    yield made.boot
    wrong = made.close()
    if request.node.stash.get(_failed, False):
        return
    if wrong:
        pytest.fail("\n".join(wrong), pytrace=False)
    shutil.rmtree(made.folder, ignore_errors=True)


@pytest.fixture
def barewire_guest(request, barewire_boot):
    """A booted guest with what @pytest.mark.barewire(...) says."""
    options = {}
    for marker in reversed(list(request.node.iter_markers("barewire"))):
        options.update(marker.kwargs)
    return barewire_boot(**options)
