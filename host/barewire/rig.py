"""The repository's own pytest fixtures: guests, labs, and what a failing test leaves behind.
(What users have is barewire.pytest_plugin.)

    guest           a Guest on QEMU's user network, which nothing leaves
    lab             a bridge with host `lab.gateway`: DHCP and DNS by dnsmasq, pages by nginx
    bridged_guest   a Guest on that bridge, with its address
    rig             to make more of both: `rig.lab(...)`, `rig.guest(...)`
    artifacts       the test's own folder, kept only if it fails
    platform        the barewire.platform.Platform that the test's guests are

Tests marked `core` run on every platform, others on `--platform` (a name of barewire.platform,
several with commas, or "all"; q35 with virtio-net by default). One marked `virtio` is about
virtio's properties and is skipped where the card is another.

`@pytest.mark.guest_options(mem=16)` and `@pytest.mark.lab_options(capture_limit=1000)` say
what `guest`, `bridged_guest` and `lab` are made with. At the end of a test every guest must
have left `-d guest_errors` empty, and every capture of a lab goes to the hook
`pytest_barewire_capture(path, macs)`, which returns what is wrong with it.
"""

import re
import shutil

import pytest

from barewire import platform as platforms
from barewire.pytest_plugin import close_guests, left_behind, wait_for_address

_failed = pytest.StashKey()
_rig = pytest.StashKey()


class Hooks:
    @pytest.hookspec
    def pytest_barewire_capture(self, path, macs):
        """A capture is complete: a list of str, what is wrong with the frames from `macs`."""


def pytest_addhooks(pluginmanager):
    pluginmanager.add_hookspecs(Hooks)


def pytest_addoption(parser):
    parser.addoption(
        "--platform", metavar="NAME", help="what the boot tests boot on: "
        f"{', '.join(platforms.PLATFORMS)}, several with commas, or all (default: "
        f"{platforms.DEFAULT}, and tests marked core on all)",
    )  # fmt: skip


def pytest_generate_tests(metafunc):
    """A test that boots is one test for each platform that it is to run on."""
    mark = metafunc.definition.get_closest_marker
    if "platform" not in metafunc.fixturenames or not mark("boot"):
        return
    asked = metafunc.config.getoption("--platform")
    if asked == "all" or (asked is None and mark("core")):
        names = list(platforms.PLATFORMS)
    else:
        names = (asked or platforms.DEFAULT).split(",")
    metafunc.parametrize("platform", [platforms.find(n) for n in names], ids=str, indirect=True)


def pytest_report_header(config):
    from barewire import accel
    from barewire.paths import BarewireError, default_image

    try:
        image = default_image()
        lines = []
        chosen = accel.choose(image, lines.append)
        return [f"barewire: {image.name}, {image.stat().st_size} bytes, under {chosen}", *lines]
    except BarewireError as e:
        return f"barewire: {e}"


def _folder(item):
    from barewire.paths import build_dir

    name = re.sub(r"[^A-Za-z0-9_.=-]+", "-", item.nodeid.removeprefix("tests/"))
    return build_dir() / "test-artifacts" / name.strip("-")[:150]


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item, call):
    report = yield
    if report.failed:
        item.stash[_failed] = True
        folder = _folder(item)
        if folder.exists():
            rig = item.stash.get(_rig, None)
            if rig:
                rig.flush()
            report.sections.append((f"Left behind by {report.when}", left_behind(folder)))
    return report


@pytest.fixture
def artifacts(request):
    """A folder for the test's files as a Path; deleted when the test has passed."""
    folder = _folder(request.node)
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    yield folder
    if not request.node.stash.get(_failed, False):
        shutil.rmtree(folder, ignore_errors=True)


class Rig:
    """Makes guests and labs for one test, and ends them in the right order."""

    def __init__(self, folder, hook, platform=None):
        self.folder, self._hook, self.platform = folder, hook, platform
        self.guests, self.labs = [], []

    def lab(self, servers=True, offload=True, **options):
        """A Lab whose first host is `.gateway`, with dnsmasq (`.dnsmasq`) and nginx (`.nginx`) on
        it unless servers is false."""
        from barewire import services
        from barewire.lab import Lab

        lab = Lab(directory=self.folder / f"lab{len(self.labs)}", **options)
        self.labs.append(lab)
        lab.gateway = lab.add_host("gw", 1, offload)
        if servers:
            lab.dnsmasq = services.dnsmasq(lab.gateway)
            lab.nginx = services.nginx(lab.gateway)
        return lab

    def guest(self, net=None, **options):
        """A booted Guest on the test's platform; its logs are among the artifacts."""
        from barewire.guest import Guest

        options.setdefault("platform", self.platform)
        guest = Guest(net=net, logs=self.folder / f"guest{len(self.guests)}", **options)
        self.guests.append(guest)
        return guest.start()

    def bridged(self, lab, port=None, **options):
        """A Guest on a port of the lab (a tap by default) that has its address by DHCP.

        `.ip` is it, as a string."""
        guest = self.guest(net=port or lab.tap(), **options)
        guest.ip = wait_for_address(guest)
        return guest

    def flush(self):
        for lab in self.labs:
            lab.captures()

    def close(self):
        """End everything; what was wrong, a list of str."""
        wrong = close_guests(self.guests)
        for lab in reversed(self.labs):
            try:
                for path, macs in lab.captures():
                    for problems in self._hook.pytest_barewire_capture(path=path, macs=macs):
                        if problems:
                            shown = problems[:20] + ["..."] * (len(problems) > 20)
                            wrong += [f"{len(problems)} wrong frames in {path}:", *shown]
            finally:
                lab.close()
        return wrong


def _options(request, name):
    options = {}
    for marker in reversed(list(request.node.iter_markers(name))):
        options.update(marker.kwargs)
    return options


@pytest.fixture
def platform(request):
    """The Platform that the test's guests are."""
    made = getattr(request, "param", None) or platforms.find()
    if request.node.get_closest_marker("virtio") and not made.virtio:
        pytest.skip(f"about properties of a virtio card; {made} has an {made.nic}")
    return made


@pytest.fixture
def rig(request, artifacts, platform):
    """A Rig; at the end its guests and captures are checked."""
    made = Rig(artifacts, request.config.hook, platform)
    request.node.stash[_rig] = made
    yield made
    wrong = made.close()
    # After a failure of the test itself what QEMU or a capture shows is a consequence.
    if wrong and not request.node.stash.get(_failed, False):
        request.node.stash[_failed] = True  # what shows it is kept
        pytest.fail("\n".join(wrong), pytrace=False)


@pytest.fixture
def guest(request, rig):
    """A Guest on QEMU's user network; nothing leaves it for the host or beyond."""
    from barewire.net import UserNet

    return rig.guest(net=UserNet(restrict=True), **_options(request, "guest_options"))


@pytest.fixture
def lab(request, rig):
    """A Lab with `.gateway`, `.dnsmasq` and `.nginx`."""
    return rig.lab(**_options(request, "lab_options"))


@pytest.fixture
def bridged_guest(request, rig, lab):
    """A Guest on `lab`'s bridge with an address by DHCP, `.ip`."""
    return rig.bridged(lab, **_options(request, "guest_options"))
